//! The checks. Each looks at one host beside all others, and says what it saw there or nothing.

use crate::machine::Machine;
use crate::ports::{Matrix, Outcome, Protocol};
use ipnet::IpNet;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use swarm_core::ClusterSpec;
use swarm_core::addr::AddressSelector;
use swarm_core::id::HostName;
use swarm_core::observe::{Certificate, HostState, LocalState, Observed, ReachErrorKind};
use swarm_core::spec::{HostSpec, Install, Role};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The swarm will not work as it is to.
    Error,
    /// It works now, and something of it will not.
    Warning,
    /// Worth knowing.
    Notice,
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        })
    }
}

/// Everything that was seen.
#[derive(Debug, Clone)]
pub struct Seen<'a> {
    /// The file.
    pub spec: &'a ClusterSpec,
    /// The look at all hosts and their engines.
    pub observed: &'a Observed,
    /// What the machines said.
    pub machines: &'a BTreeMap<HostName, Result<Machine, String>>,
    /// The node certificates of hosts that are in a swarm.
    pub certificates: &'a BTreeMap<HostName, Result<Certificate, String>>,
    /// What arrives at each host from the others; empty where that was not tried.
    pub ports: &'a Matrix,
    /// Our own clock, seconds since 1970.
    pub now: u64,
}

/// A check.
pub struct Check {
    /// Its name, by which a file can ignore it.
    pub name: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// Why it matters.
    pub cause: &'static str,
    /// What to do.
    pub fix: &'static str,
    /// What was seen on a host, where it fires.
    pub fires: fn(&Seen<'_>, &HostSpec) -> Option<String>,
}

/// A check that fired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The host.
    pub host: HostName,
    /// The check.
    pub check: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What was seen.
    pub evidence: String,
    /// Why it matters.
    pub cause: &'static str,
    /// What to do.
    pub fix: &'static str,
    /// Why the file says that it does not matter here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored: Option<String>,
}

/// Every check on every host, by host and then by how much it matters.
pub fn check(seen: &Seen<'_>) -> Vec<Found> {
    let of = |host: &'_ HostSpec| -> Vec<Found> {
        let found = CHECKS.iter().filter_map(|check| {
            let evidence = (check.fires)(seen, host)?;
            let ignored = seen.spec.ignored_checks().get(check.name).cloned();
            let (severity, cause, fix) = (check.severity, check.cause, check.fix);
            Some(Found { host: host.name.clone(), check: check.name, severity, evidence, cause, fix, ignored })
        });
        let mut found: Vec<Found> = found.collect();
        found.sort_by_key(|f| f.severity);
        found
    };
    seen.spec.hosts().flat_map(of).collect()
}

impl<'a> Seen<'a> {
    fn machine(&self, host: &HostSpec) -> Option<&'a Machine> {
        self.machines.get(&host.name)?.as_ref().ok()
    }

    fn engine(&self, host: &HostSpec) -> Option<&'a swarm_core::observe::EngineFacts> {
        self.observed.hosts.get(&host.name)?.report.engine.as_ref().ok()
    }

    fn unreached(&self, host: &HostSpec, kind: ReachErrorKind) -> Option<String> {
        let error = self.observed.hosts.get(&host.name)?.report.engine.as_ref().err()?;
        (error.kind == kind).then(|| error.message.clone())
    }

    /// The other hosts that say the same of themselves.
    fn same<T: PartialEq>(&self, host: &HostSpec, of: impl Fn(&Self, &HostSpec) -> Option<T>) -> Option<(T, String)> {
        let own = of(self, host)?;
        let others: Vec<&str> =
            self.spec.hosts().filter(|h| h.name != host.name && of(self, h).as_ref() == Some(&own)).map(|h| h.name.as_str()).collect();
        (!others.is_empty()).then(|| (own, others.join(", ")))
    }

    fn lacks(&self, host: &HostSpec, module: &str) -> Option<String> {
        (self.machine(host)?.modules.get(module) == Some(&false)).then(|| format!("the kernel has no {module}"))
    }

    fn address(&self, host: &HostSpec) -> Option<std::net::IpAddr> {
        match host.advertise_selector()? {
            AddressSelector::Ip(ip) => Some(ip),
            _ => None,
        }
    }

    fn addresses(&self, host: &HostSpec) -> Option<&'a [swarm_core::addr::InterfaceAddress]> {
        let machine = self.observed.hosts.get(&host.name)?.report.machine.known()?;
        (!machine.addresses.is_empty()).then_some(machine.addresses.as_slice())
    }

    fn alone(&self, host: &HostSpec) -> bool {
        is_alone(self.observed, &host.name)
    }

    /// The ports of a swarm that the engine of a host holds though it is in none.
    fn held(&self, host: &HostSpec) -> Vec<u16> {
        self.machine(host).filter(|_| self.alone(host)).map_or_else(Vec::new, swarm_ports)
    }
}

/// Where managers and nodes listen.
const SWARM_PORTS: [u16; 2] = [2377, 7946];

fn is_alone(observed: &Observed, host: &HostName) -> bool {
    let engine = observed.hosts.get(host).and_then(|seen| seen.report.engine.as_ref().ok());
    engine.is_some_and(|e| *e.swarm.state() == LocalState::Inactive)
}

/// The ports of a swarm that a machine's engine listens on.
fn swarm_ports(machine: &Machine) -> Vec<u16> {
    SWARM_PORTS.into_iter().filter(|port| machine.engine_listens.contains(port)).collect()
}

/// The hosts whose engines are in no swarm and listen on its ports.
pub(crate) fn holding(observed: &Observed, machines: &BTreeMap<HostName, Result<Machine, String>>) -> BTreeSet<HostName> {
    let holds = |machine: &Result<Machine, String>| machine.as_ref().is_ok_and(|m| !swarm_ports(m).is_empty());
    machines.iter().filter(|(host, machine)| is_alone(observed, host) && holds(machine)).map(|(host, _)| host.clone()).collect()
}

/// The number before the first dot of a version.
fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

fn majors(seen: &Seen<'_>) -> Vec<u32> {
    let mut all: Vec<u32> = seen.spec.hosts().filter_map(|h| major(&seen.engine(h)?.version)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1u32 << 30))
}

/// The networks from which overlay networks get their subnets.
fn pools(spec: &ClusterSpec) -> Vec<IpNet> {
    let pools = spec.init().default_addr_pool.clone();
    if pools.is_empty() { "10.0.0.0/8".parse().into_iter().collect() } else { pools }
}

macro_rules! checks {
    ($($name:literal $severity:ident $cause:literal $fix:literal $fires:expr;)*) => {
        /// All checks.
        pub const CHECKS: &[Check] = &[$(Check { name: $name, severity: Severity::$severity, cause: $cause, fix: $fix, fires: $fires }),*];
    };
}

checks! {
    "ssh" Error
        "nothing can be done on a host that does not let us in"
        "make `ssh` work to the host with the same user and key"
        |s, h| s.unreached(h, ReachErrorKind::Unreachable);
    "privilege" Error
        "the engine's socket is for root and the group docker"
        "log in as root, or as a member of the group docker, or set `sudo: true`"
        |s, h| s.unreached(h, ReachErrorKind::NoPermission);
    "engine-missing" Error
        "a swarm is a set of engines"
        "install docker on the host, or let a run do it: `prepare: { install: distro }` in the file"
        |s, h| s.unreached(h, ReachErrorKind::NoEngine).filter(|_| h.prepare.install == Install::None);
    "engine-down" Error
        "a swarm is a set of engines that run"
        "start the engine (systemctl start docker), and look at its log where it does not come up"
        |s, h| s.unreached(h, ReachErrorKind::EngineDown);
    "engine-answer" Error
        "what the engine answers cannot be used"
        "look whether something else listens on the engine's socket"
        |s, h| s.unreached(h, ReachErrorKind::Unusable);
    "engine-too-old" Error
        "engines before 20.10 do not answer what is asked of them here"
        "upgrade the engine"
        |s, h| { let v = &s.engine(h)?.version; let mut n = v.split('.'); let (a, b): (u32, u32) = (n.next()?.parse().ok()?, n.next()?.parse().ok()?); ((a, b) < (20, 10)).then(|| format!("engine {v}")) };
    "engine-unsupported" Notice
        "moby mends faults in its newest releases only"
        "plan an upgrade, one host after the other"
        |s, h| { let v = &s.engine(h)?.version; (major(v)? < 25).then(|| format!("engine {v}")) };
    "engines-differ" Notice
        "engines of a swarm may differ during an upgrade, and are not tried together for longer"
        "bring all engines to one version"
        |s, h| { let all = majors(s); let own = &s.engine(h)?.version; (all.len() > 1 && major(own)? != *all.last()?).then(|| format!("engine {own}, and others have {}", all.last().copied().unwrap_or(0))) };
    "engines-28-and-29" Warning
        "encrypted overlay networks do not work between engines 28 and 29 (moby#51798)"
        "bring all engines to one side before a network is encrypted"
        |s, h| { let all = majors(s); let own = major(&s.engine(h)?.version)?; (own == 28 && all.contains(&29)).then(|| "engine 28 beside engine 29".to_owned()) };
    "live-restore" Error
        "an engine with live-restore refuses to be in a swarm"
        "remove \"live-restore\": true from /etc/docker/daemon.json and restart the engine"
        |s, h| s.engine(h)?.live_restore.then(|| "live-restore is on".to_owned());
    "rootless" Error
        "an engine without root cannot be in a swarm"
        "install the engine as root"
        |s, h| s.engine(h)?.rootless.then(|| "the engine runs without root".to_owned());
    "firewall-backend" Error
        "an engine whose firewall backend is nftables refuses to be in a swarm"
        "remove \"firewall-backend\" from /etc/docker/daemon.json and restart the engine"
        |s, h| (s.machine(h)?.firewall.as_deref() == Some("nftables")).then(|| "firewall-backend: nftables".to_owned());
    "snap" Warning
        "a docker from a snap sees parts of the file system only, and restarts when the snap is refreshed"
        "install docker from its own packages"
        |s, h| s.machine(h)?.snap.then(|| "docker is a snap".to_owned());
    "proxy" Warning
        "an engine behind a proxy dials other managers through it, unless they are left out"
        "name the hosts' addresses in the engine's NO_PROXY"
        |s, h| {
            let m = s.machine(h)?;
            let out = m.no_proxy.as_deref().unwrap_or("");
            let left_out = |ip: std::net::IpAddr| out.split(',').map(str::trim).any(|o| o == ip.to_string() || o == "*" || o.parse::<IpNet>().is_ok_and(|net| net.contains(&ip)));
            let missing: Vec<String> = s.spec.managers().filter_map(|m| s.address(m)).filter(|ip| !left_out(*ip)).map(|ip| ip.to_string()).collect();
            (m.proxy && !missing.is_empty()).then(|| format!("the engine has a proxy, and NO_PROXY does not name {}", missing.join(", ")))
        };
    "kernel-vxlan" Error
        "overlay networks are VXLAN networks"
        "use a kernel with VXLAN"
        |s, h| s.lacks(h, "vxlan");
    "kernel-veth" Error
        "containers are connected by veth pairs"
        "use a kernel with veth"
        |s, h| s.lacks(h, "veth");
    "kernel-overlayfs" Warning
        "images are stored with overlayfs; without it the engine copies every layer"
        "use a kernel with overlayfs"
        |s, h| s.lacks(h, "overlay");
    "kernel-bridge-netfilter" Warning
        "rules of the firewall do not see what crosses a bridge"
        "load br_netfilter"
        |s, h| s.lacks(h, "br_netfilter");
    "kernel-ipvs" Warning
        "the routing mesh and virtual IPs will not work: both are IPVS"
        "load ip_vs, or use `endpoint_mode: dnsrr` and ports of `mode: host`"
        |s, h| s.lacks(h, "ip_vs");
    "kernel-esp" Notice
        "encrypted overlay networks will not work: they are IPsec"
        "load esp4, or do without encrypted networks"
        |s, h| s.lacks(h, "esp4");
    "kernel-old" Error
        "engines need Linux 3.10"
        "upgrade the system"
        |s, h| { let k = s.machine(h)?.kernel.as_ref()?; let mut n = k.split(['.', '-']); let (a, b): (u32, u32) = (n.next()?.parse().ok()?, n.next()?.parse().ok()?); ((a, b) < (3, 10)).then(|| format!("kernel {k}")) };
    "cgroup-v1" Notice
        "distributions and container runtimes give cgroup v1 up"
        "plan a system with cgroup v2"
        |s, h| (s.machine(h)?.cgroup? == 1).then(|| "cgroup v1".to_owned());
    "ip-forward" Warning
        "without forwarding nothing reaches containers from other hosts"
        "set net.ipv4.ip_forward=1"
        |s, h| (s.machine(h)?.sysctls.get("net/ipv4/ip_forward")? == "0").then(|| "net.ipv4.ip_forward is 0".to_owned());
    "bridge-nf-call" Notice
        "published ports of services are rules that bridged packets must pass"
        "set net.bridge.bridge-nf-call-iptables=1"
        |s, h| (s.machine(h)?.sysctls.get("net/bridge/bridge-nf-call-iptables")? == "0").then(|| "net.bridge.bridge-nf-call-iptables is 0".to_owned());
    "same-hostname" Warning
        "every list of nodes shows their host names"
        "give each host a name of its own"
        |s, h| s.same(h, |s, h| Some(s.engine(h)?.hostname.clone())).map(|(name, others)| format!("host name {name}, as {others}"));
    "same-machine-id" Warning
        "hosts made from one image share a machine id, and what goes by it: DHCP leases, logs"
        "empty /etc/machine-id and run systemd-machine-id-setup"
        |s, h| s.same(h, |s, h| s.observed.hosts.get(&h.name)?.report.machine.known()?.machine_id.clone()).map(|(_, others)| format!("the machine id of {others}"));
    "same-engine-id" Error
        "engines that were copied with their id are one to a swarm"
        "remove /etc/docker/key.json and /var/lib/docker/engine-id, then restart the engine"
        |s, h| s.same(h, |s, h| Some(s.engine(h)?.daemon.clone())).map(|(_, others)| format!("the engine id of {others}"));
    "same-address" Error
        "two nodes at one address are one to the managers"
        "correct `address` or `advertise`"
        |s, h| s.same(h, |s, h| s.address(h)).map(|(ip, others)| format!("{ip}, as {others}"));
    "address-elsewhere" Warning
        "the address that other nodes are to use is not on the host: it must be translated to it, for 2377/tcp, 7946 and 4789/udp"
        "correct `advertise`, where nothing translates it"
        |s, h| { let ip = s.address(h)?; let all = s.addresses(h)?; (!all.iter().any(|a| a.address == ip)).then(|| format!("{ip} is on no interface")) };
    "two-addresses" Error
        "an interface with several addresses does not say which one other nodes are to use"
        "name the address itself in `advertise`"
        |s, h| {
            let Some(AddressSelector::Interface(name)) = h.advertise_selector() else { return None };
            let on: Vec<String> = s.addresses(h)?.iter().filter(|a| a.interface == name && a.address.is_ipv4()).map(|a| a.address.to_string()).collect();
            (on.len() > 1).then(|| format!("{name} has {}", on.join(", ")))
        };
    "clock" Error
        "certificates that are not valid yet are refused, and so are joins"
        "set the clock by NTP"
        |s, h| {
            let mut all: Vec<i64> = s.machines.values().filter_map(|m| m.as_ref().ok()?.ahead).collect();
            all.sort_unstable();
            let median = *all.get(all.len() / 2)?;
            let off = s.machine(h)?.ahead? - median;
            (off.abs() > 30).then(|| format!("its clock is {} s {} the others'", off.abs(), if off > 0 { "ahead of" } else { "behind" }))
        };
    "disk-manager" Error
        "raft writes its log in pieces of 64 MB with the next one made beforehand"
        "free disk space below /var/lib/docker"
        |s, h| { let (free, _) = s.machine(h)?.disk?; (h.role == Role::Manager && free < 256 << 20).then(|| format!("{} MB are free", free >> 20)) };
    "disk" Warning
        "images and logs fill what is left, and an engine with a full disk answers late or never"
        "free disk space below /var/lib/docker"
        |s, h| { let (free, all) = s.machine(h)?.disk?; (free < 2 << 30).then(|| format!("{} of {} are free", gib(free), gib(all))) };
    "inodes" Warning
        "every file of an image takes an inode"
        "remove files, or give /var/lib/docker a file system with more inodes"
        |s, h| { let (free, all) = s.machine(h)?.inodes?; (all > 0 && free < all / 20).then(|| format!("{free} of {all} inodes are free")) };
    "memory" Warning
        "an engine with its swarm takes some 200 MB before the first task"
        "give the host more memory"
        |s, h| { let m = s.machine(h)?.memory?; (m < 512 << 20).then(|| format!("{} MB of memory", m >> 20)) };
    "files" Notice
        "each container and connection of an engine takes open files"
        "raise LimitNOFILE of docker.service"
        |s, h| { let f = s.machine(h)?.files?; (f < 65_536).then(|| format!("the engine may open {f} files")) };
    "address-pool" Error
        "overlay networks would take addresses that the host reaches by another way"
        "choose `swarm.default_addr_pool` apart from the hosts' own networks"
        |s, h| {
            let m = s.machine(h)?;
            let given = !s.spec.init().default_addr_pool.is_empty();
            let own = |device: &str| device.starts_with("docker") || device.starts_with("br-") || device.starts_with("veth");
            // The engine's own pool skips what hosts use when it is made; one that the file names is meant to be free.
            let (net, device) = m.routes.iter().filter(|_| given).find(|(net, device)| !own(device) && pools(s.spec).iter().any(|p| p.contains(net) || net.contains(p)))?;
            Some(format!("{net} on {device} lies in {}", pools(s.spec).iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")))
        };
    "certificate" Warning
        "a node renews its certificate long before its end; one that does not is refused on that day"
        "look at the node's engine: it does not reach its managers, or its clock is wrong"
        |s, h| { let c = s.certificates.get(&h.name)?.as_ref().ok()?; let days = c.until.saturating_sub(s.now) / 86400; (days < 14).then(|| format!("{days} days are left")) };
    "selinux" Notice
        "volumes need labels (`:z`) where SELinux enforces"
        "nothing, where your services know it"
        |s, h| (s.machine(h)?.selinux.as_deref() == Some("Enforcing")).then(|| "SELinux enforces".to_owned());
    "boot" Warning
        "after a restart of the host its engine stays down"
        "have its service started at boot: systemctl enable docker, rc-update add docker, or update-rc.d docker defaults"
        |s, h| (s.machine(h)?.boot == Some(false)).then(|| "the engine is not started at boot".to_owned());
    "reboot-required" Notice
        "updates of the system wait for a restart"
        "restart the hosts one after the other, drained"
        |s, h| s.machine(h)?.reboot_required.then(|| "/var/run/reboot-required is there".to_owned());
    "port-taken" Error
        "managers listen on 2377/tcp and every node on 7946"
        "stop what listens there"
        |s, h| {
            let m = s.machine(h)?;
            let taken = |p: &&u16| m.listens.contains(p) && !m.engine_listens.contains(p);
            let ports: Vec<String> = SWARM_PORTS.iter().filter(taken).map(|p| format!("{p}/tcp")).collect();
            (s.alone(h) && !ports.is_empty()).then(|| format!("{} {} taken", ports.join(", "), if ports.len() == 1 { "is" } else { "are" }))
        };
    "port-held" Error
        "an engine that did not end its gossip as it left a swarm joins the next one, is ready there, and its overlay networks carry nothing (moby, networkdb: \"timeout waiting for leave broadcast\")"
        "restart the engine: `swarm engine restart` does that"
        |s, h| {
            let ports: Vec<String> = s.held(h).iter().map(|p| format!("{p}/tcp")).collect();
            (!ports.is_empty()).then(|| format!("its engine is in no swarm, and listens on {} all the same", ports.join(", ")))
        };
    "ports" Error
        "managers listen on 2377/tcp, nodes gossip on 7946 tcp and udp, and overlay networks are UDP on the data-path port (4789)"
        "open these ports between the hosts: in their own packet filters, and in the security groups of a cloud"
        |s, h| {
            let held = !s.held(h).is_empty();
            s.ports.at(&h.name, |p| p.outcome.fails() && p.protocol != Protocol::Esp && !(held && p.outcome == Outcome::InUse))
        };
    "ports-esp" Error
        "encrypted overlay networks are IPsec: protocol 50 between all nodes"
        "let protocol 50 (ESP) pass between the hosts, or do without encrypted networks"
        |s, h| s.ports.at(&h.name, |p| p.outcome.fails() && p.protocol == Protocol::Esp);
    "path-mtu" Warning
        "larger packets are lost on the way without a word: connections are made, and hang once they carry data"
        "set the MTU of the hosts' interfaces to what the path takes, or of the overlay networks (`com.docker.network.driver.mtu`) to 50 less"
        |s, h| s.ports.at(&h.name, |p| matches!(p.outcome, Outcome::Small { .. }));
    "ports-untested" Notice
        "what arrives at the host was not tried in full"
        "look at the reason; a host needs a shell, a processor that this build has a probe for, and a login that is root or becomes it"
        |s, h| s.ports.untested(&h.name).filter(|_| s.machine(h).is_some());
    "other-swarm" Error
        "a host is a node of one swarm at a time"
        "take it out of the other swarm, or out of the file"
        |s, h| { let state = &s.observed.hosts.get(&h.name)?.state; matches!(state, HostState::ForeignSwarm { .. }).then(|| state.detail().unwrap_or_else(|| "it is in another swarm".into())) };
    "architectures" Notice
        "a task fits where its image has the host's architecture"
        "use images of several architectures, or constraints on node.platform.arch"
        |s, h| { let own = s.machine(h)?.arch.as_ref()?; let first = s.machines.values().find_map(|m| m.as_ref().ok()?.arch.as_ref())?; (own != first).then(|| format!("{own}, and others are {first}")) };
    "facts" Notice
        "what the machine itself would say is not known, so checks of it did not fire"
        "reach it over SSH, with a POSIX shell"
        |s, h| s.machines.get(&h.name)?.as_ref().err().filter(|_| s.engine(h).is_some()).cloned();
}
