//! Each check fires where it is to, and not on hosts on which all is well.

use super::*;
use crate::ports::{Matrix, Outcome, Passage, Protocol};
use std::collections::{BTreeMap, BTreeSet};
use swarm_core::id::{DaemonId, HostName, NodeId};
use swarm_core::observe::{
    Certificate, EngineFacts, Fact, HostReport, LocalState, MachineFacts, NodeIdentity, Observation, ReachError, ReachErrorKind, SeenAt,
    merge,
};
use swarm_core::spec::Role;

const NOW: u64 = 1_800_000_000;

struct World {
    text: String,
    hosts: BTreeMap<HostName, HostReport>,
    machines: BTreeMap<HostName, Result<Machine, String>>,
    certificates: BTreeMap<HostName, Result<Certificate, String>>,
    ports: Matrix,
}

const HOSTS: [(&str, &str); 3] = [("m1", "manager"), ("m2", "manager"), ("w1", "worker")];

/// Three hosts on which all is well.
fn good() -> World {
    let mut world = World {
        text: "name: c\nhosts:\n".into(),
        hosts: BTreeMap::new(),
        machines: BTreeMap::new(),
        certificates: BTreeMap::new(),
        ports: Matrix::default(),
    };
    for (at, (name, role)) in HOSTS.iter().enumerate() {
        let address = format!("192.168.7.{}", at + 1);
        world.text += &format!("  {name}: {{ address: {address}, role: {role} }}\n");
        let engine = EngineFacts::outside(DaemonId::new(format!("daemon-{name}")), *name, "28.5.2");
        let interface = swarm_core::addr::InterfaceAddress { interface: "eth0".into(), address: address.parse().unwrap() };
        let machine = MachineFacts { addresses: vec![interface], machine_id: Some(format!("id-{name}")), ..MachineFacts::default() };
        let report = HostReport { machine: Fact::Known(machine, SeenAt::default()), ..HostReport::of(Ok(engine)) };
        world.hosts.insert(HostName::new(*name), report);
        let yes = |names: &[&str]| names.iter().map(|n| ((*n).to_owned(), true)).collect();
        let machine = Machine {
            uid: Some(0),
            ahead: Some(2),
            kernel: Some("6.12.1".into()),
            arch: Some("x86_64".into()),
            os: Some("debian 13".into()),
            cgroup: Some(2),
            modules: yes(&["vxlan", "veth", "overlay", "br_netfilter", "ip_vs", "esp4"]),
            sysctls: [
                ("net/ipv4/ip_forward".to_owned(), "1".to_owned()),
                ("net/bridge/bridge-nf-call-iptables".to_owned(), "1".to_owned()),
            ]
            .into(),
            memory: Some(8 << 30),
            disk: Some((50 << 30, 100 << 30)),
            inodes: Some((900_000, 1_000_000)),
            files: Some(1 << 20),
            boot: Some(true),
            selinux: Some("Permissive".into()),
            firewall: Some("iptables".into()),
            routes: vec![("192.168.7.0/24".parse().unwrap(), "eth0".into())],
            listens: [22].into(),
            ..Machine::default()
        };
        world.machines.insert(HostName::new(*name), Ok(machine));
        let identity = NodeIdentity { cluster: "c".into(), node: NodeId::new(*name), role: Role::Worker };
        let certificate = Certificate { identity, issuer: "swarm-ca".into(), from: NOW - 1, until: NOW + 60 * 86400 };
        world.certificates.insert(HostName::new(*name), Ok(certificate));
    }
    for (from, to) in [("w1", "m1"), ("m1", "w1")] {
        for (protocol, port, outcome) in [
            (Protocol::Tcp, Some(7946), Outcome::Open),
            (Protocol::Udp, Some(4789), Outcome::Arrived),
            (Protocol::Esp, None, Outcome::Arrived),
            (Protocol::Mtu, Some(4789), Outcome::Arrived),
        ] {
            let (from, to, address) = (HostName::new(from), HostName::new(to), "192.168.7.1".parse().unwrap());
            world.ports.passages.push(Passage { from, to, address, port, protocol, outcome, one_way: false });
        }
    }
    world
}

impl World {
    /// What comes from `w1` to `m1`.
    fn passage(&mut self, protocol: Protocol, outcome: Outcome) {
        self.ports.passages.iter_mut().find(|p| p.protocol == protocol).unwrap().outcome = outcome;
    }

    fn engine(&mut self) -> &mut EngineFacts {
        self.hosts.get_mut(&HostName::new("m1")).unwrap().engine.as_mut().unwrap()
    }

    fn machine(&mut self) -> &mut Machine {
        self.machines.get_mut(&HostName::new("m1")).unwrap().as_mut().unwrap()
    }

    fn facts(&mut self) -> &mut MachineFacts {
        self.hosts.get_mut(&HostName::new("m1")).unwrap().machine.known_mut().unwrap()
    }

    fn unreached(&mut self, kind: ReachErrorKind) {
        self.hosts.get_mut(&HostName::new("m1")).unwrap().engine = Err(ReachError { kind, message: "no".into() });
    }

    fn lacks(&mut self, module: &str) {
        self.machine().modules.insert(module.into(), false);
    }

    fn sysctl(&mut self, key: &str) {
        self.machine().sysctls.insert(key.into(), "0".into());
    }

    fn found(&self) -> Vec<Found> {
        let spec = swarm_file::parse(&self.text, &|_| None).unwrap().spec;
        let observed = merge(&spec, &Observation { hosts: self.hosts.clone(), ..Observation::default() }, &BTreeSet::new());
        check(&Seen {
            spec: &spec,
            observed: &observed,
            machines: &self.machines,
            certificates: &self.certificates,
            ports: &self.ports,
            now: NOW,
        })
    }
}

type Break = fn(&mut World);

/// What makes each check fire on `m1`.
const BREAKS: &[(&str, Break)] = &[
    ("ssh", |w| w.unreached(ReachErrorKind::Unreachable)),
    ("privilege", |w| w.unreached(ReachErrorKind::NoPermission)),
    ("engine-missing", |w| w.unreached(ReachErrorKind::NoEngine)),
    ("engine-down", |w| w.unreached(ReachErrorKind::EngineDown)),
    ("engine-answer", |w| w.unreached(ReachErrorKind::Unusable)),
    ("engine-too-old", |w| w.engine().version = "19.03.15".into()),
    ("engine-unsupported", |w| w.engine().version = "20.10.24+dfsg1".into()),
    ("engines-differ", |w| w.engine().version = "27.5.1".into()),
    ("engines-28-and-29", |w| w.hosts.get_mut(&HostName::new("w1")).unwrap().engine.as_mut().unwrap().version = "29.1.0".into()),
    ("live-restore", |w| w.engine().live_restore = true),
    ("rootless", |w| w.engine().rootless = true),
    ("firewall-backend", |w| w.machine().firewall = Some("nftables".into())),
    ("snap", |w| w.machine().snap = true),
    ("proxy", |w| (w.machine().proxy, w.machine().no_proxy) = (true, Some("localhost,192.168.7.1".into()))),
    ("kernel-vxlan", |w| w.lacks("vxlan")),
    ("kernel-veth", |w| w.lacks("veth")),
    ("kernel-overlayfs", |w| w.lacks("overlay")),
    ("kernel-bridge-netfilter", |w| w.lacks("br_netfilter")),
    ("kernel-ipvs", |w| w.lacks("ip_vs")),
    ("kernel-esp", |w| w.lacks("esp4")),
    ("kernel-old", |w| w.machine().kernel = Some("2.6.32-754.el6".into())),
    ("cgroup-v1", |w| w.machine().cgroup = Some(1)),
    ("ip-forward", |w| w.sysctl("net/ipv4/ip_forward")),
    ("bridge-nf-call", |w| w.sysctl("net/bridge/bridge-nf-call-iptables")),
    ("same-hostname", |w| w.engine().hostname = "w1".into()),
    ("same-machine-id", |w| w.facts().machine_id = Some("id-w1".into())),
    ("same-engine-id", |w| w.engine().daemon = DaemonId::new("daemon-w1")),
    ("same-address", |w| w.text = w.text.replace("address: 192.168.7.1,", "address: 192.168.7.1, advertise: 192.168.7.3,")),
    ("address-elsewhere", |w| w.text = w.text.replace("address: 192.168.7.1,", "address: 192.168.7.1, advertise: 10.0.0.9,")),
    ("two-addresses", |w| {
        w.text = w.text.replace("address: 192.168.7.1,", "address: 192.168.7.1, advertise: eth0,");
        let second = swarm_core::addr::InterfaceAddress { interface: "eth0".into(), address: "192.168.8.1".parse().unwrap() };
        w.facts().addresses.push(second);
    }),
    ("clock", |w| w.machine().ahead = Some(-600)),
    ("disk-manager", |w| w.machine().disk = Some((100 << 20, 100 << 30))),
    ("disk", |w| w.machine().disk = Some((1 << 30, 100 << 30))),
    ("inodes", |w| w.machine().inodes = Some((10, 1000))),
    ("memory", |w| w.machine().memory = Some(256 << 20)),
    ("files", |w| w.machine().files = Some(1024)),
    ("address-pool", |w| w.text += "swarm: { default_addr_pool: [192.168.0.0/16] }\n"),
    ("certificate", |w| w.certificates.get_mut(&HostName::new("m1")).unwrap().as_mut().unwrap().until = NOW + 3 * 86400),
    ("selinux", |w| w.machine().selinux = Some("Enforcing".into())),
    ("boot", |w| w.machine().boot = Some(false)),
    ("reboot-required", |w| w.machine().reboot_required = true),
    ("port-taken", |w| w.machine().listens.extend([2377])),
    ("port-held", |w| {
        w.machine().listens.extend([7946]);
        w.machine().engine_listens.extend([7946]);
    }),
    ("ports", |w| w.passage(Protocol::Udp, Outcome::NotArrived)),
    ("ports-esp", |w| w.passage(Protocol::Esp, Outcome::NotArrived)),
    ("path-mtu", |w| w.passage(Protocol::Mtu, Outcome::Small { passes: 1450, of: 9000 })),
    ("ports-untested", |w| w.passage(Protocol::Tcp, Outcome::NotTested { why: "nothing listens there yet".into() })),
    ("other-swarm", |w| {
        let swarm = &mut w.engine().swarm;
        (swarm.reported, swarm.node) = (LocalState::Active, Some(NodeId::new("n1")));
        let identity = NodeIdentity { cluster: "theirs".into(), node: NodeId::new("n1"), role: Role::Worker };
        w.hosts.get_mut(&HostName::new("m1")).unwrap().identity = Fact::Known(identity, SeenAt::default());
    }),
    ("architectures", |w| {
        w.machines.get_mut(&HostName::new("w1")).unwrap().as_mut().unwrap().arch = Some("aarch64".into());
    }),
    ("facts", |w| {
        w.machines.insert(HostName::new("m1"), Err("it has no shell".into()));
    }),
];

#[test]
fn nothing_fires_where_all_is_well() {
    assert_eq!(good().found(), Vec::new());
}

#[test]
fn every_check_fires_where_it_is_to() {
    let names: Vec<&str> = BREAKS.iter().map(|(name, _)| *name).collect();
    let all: Vec<&str> = CHECKS.iter().map(|c| c.name).collect();
    assert_eq!(names, all, "each check has its test");
    assert!(CHECKS.len() >= 30);
    for (name, breaks) in BREAKS {
        let mut world = good();
        breaks(&mut world);
        let found = world.found();
        let one = found.iter().find(|f| f.check == *name);
        let on = one.map(|f| f.host.as_str().to_owned());
        let expected = if *name == "architectures" { "w1" } else { "m1" };
        assert_eq!(on.as_deref(), Some(expected), "{name}: {found:#?}");
        let evidence = &one.unwrap().evidence;
        assert!(!evidence.is_empty() && !evidence.contains("{"), "{name}: {evidence}");
        // What is wrong on one host is said of others only where it is about both.
        let shared = ["engines-differ", "engines-28-and-29", "same-hostname", "same-machine-id", "same-engine-id", "same-address", "proxy"];
        let others: Vec<&Found> = found.iter().filter(|f| f.host.as_str() != expected && f.check == *name).collect();
        assert!(others.is_empty() || shared.contains(name) || *name == "address-pool", "{name}: {others:#?}");
        // A file that gives a reason passes over it.
        world.text += &format!("checks: {{ ignore: {{ {name}: it is meant so }} }}\n");
        let found = world.found();
        let ignored = found.iter().filter(|f| f.check == *name).all(|f| f.ignored.as_deref() == Some("it is meant so"));
        assert!(ignored, "{name}: {found:#?}");
    }
}

/// A port that the engine itself holds is not called taken by another program, whatever the senders saw; in a swarm it is as it should be.
#[test]
fn a_port_that_the_engine_holds_is_no_other_programs() {
    let mut world = good();
    world.machine().listens.extend([2377, 7946]);
    world.machine().engine_listens.extend([2377, 7946]);
    world.passage(Protocol::Tcp, Outcome::InUse);
    let found = world.found();
    let names: Vec<&str> = found.iter().map(|f| f.check).collect();
    assert_eq!(names, ["port-held"], "{found:#?}");
    assert_eq!(found[0].evidence, "its engine is in no swarm, and listens on 2377/tcp, 7946/tcp all the same");
    world.machine().engine_listens.remove(&2377);
    let names: Vec<&str> = world.found().iter().map(|f| f.check).collect();
    assert_eq!(names, ["port-taken", "port-held"]);
    let swarm = &mut world.engine().swarm;
    (swarm.reported, swarm.node) = (LocalState::Active, Some(NodeId::new("n1")));
    assert!(!world.found().iter().any(|f| f.check == "port-held"));
}

/// `docs/checks.md` is written from the table: `BLESS=1 cargo test -p swarm-prepare` writes it again.
#[test]
fn the_document_is_the_table() {
    let mut text = String::from(
        "# Checks\n\n`swarm check` looks on every host for what would break a swarm. It changes nothing. What arrives from every host at every other is found out by a small\n\
         static program that is on the hosts for that moment (`--no-ports` leaves it out). An error gives exit code 3. A check is passed over\n\
         with a reason: `checks: { ignore: { cgroup-v1: as it is meant } }`. What a host does not say is unknown, and no check fires on it.\n\n\
         | check | | why it matters | what to do |\n|---|---|---|---|\n",
    );
    for c in CHECKS {
        text += &format!("| `{}` | {} | {} | {} |\n", c.name, c.severity, c.cause, c.fix);
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/checks.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), text, "BLESS=1 writes it again");
}

/// What stands against an upgrade is said before anything is drained.
#[test]
fn an_upgrade_that_breaks_what_is_in_use_is_refused() {
    let of = |world: &World, to: &str, encrypted: bool| {
        let spec = swarm_file::parse(&world.text, &|_| None).unwrap().spec;
        let observed = merge(&spec, &Observation { hosts: world.hosts.clone(), ..Observation::default() }, &BTreeSet::new());
        let hosts: Vec<HostName> = spec.hosts().map(|h| h.name.clone()).collect();
        upgrade_of(&spec, &observed, &hosts, to, encrypted)
    };
    let mut world = good();
    let plain = of(&world, "29", false);
    assert!(plain.refusals.is_empty() && plain.hosts.len() == 3 && plain.there.is_empty(), "{plain:?}");
    let broken = of(&world, "29", true);
    assert!(broken.refusals.len() == 1 && broken.refusals[0].contains("moby#51798"), "{broken:?}");
    assert!(of(&world, "28.6", true).refusals.is_empty(), "on one side of it");
    let there = of(&world, "28.5", false);
    assert!(there.hosts.is_empty() && there.there.len() == 3, "{there:?}");
    world.engine().version = "29.1.0".into();
    let older = of(&world, "28", false);
    assert!(older.refusals.len() == 1 && older.refusals[0].starts_with("m1: it has 29.1.0, which is newer"), "{older:?}");
    // Where one is across already, it is broken, and going on makes it whole again.
    assert!(of(&world, "29", true).refusals.is_empty());
    world.unreached(ReachErrorKind::EngineDown);
    assert!(of(&world, "29", false).refusals[0].contains("does not say its version"));
}
