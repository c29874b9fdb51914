//! Errors that engines and OpenSSH give, taken from them and handed to `swarm explain`. Each entry that it has is provoked here, or stands in
//! [`NOT_PROVOKED`] with the reason.

use crate::deploys::Bed;
use crate::registries::registry;
use crate::ssh::reconfigure;
use serde_json::json;
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;
use swarm_core::engine::{Body, Kind, NoPayloads, Objects, ObjectsRead, Query, Sealed};
use swarm_docker::DockerEngine;
use swarm_tests::cli;
use swarm_tests::lab::{TestLab, eventually};

/// What the engines of a healthy swarm say of wrong calls.
const CALLS: &[&str] = &[
    "address-not-its-own",
    "apt-disk-full",
    "bad-join-token",
    "changed-meanwhile",
    "dpkg-interrupted",
    "http-registry",
    "in-a-swarm-already",
    "in-use",
    "last-manager",
    "leave-as-manager",
    "live-restore",
    "mesh-port-taken",
    "network-in-use",
    "no-address-pool",
    "no-engine",
    "no-login",
    "no-manifest",
    "no-network",
    "no-right-to-engine",
    "no-space",
    "node-not-down",
    "not-a-manager",
    "old-join-token",
    "other-root",
    "pool-overlaps",
    "refused",
    "remove-manager",
    "several-addresses",
    "sudo-password",
    "unreached",
];
/// What managers and nodes say of tasks.
const TASKS: &[&str] = &[
    "constraints",
    "ended",
    "heartbeat",
    "host-port-taken",
    "killed",
    "no-addresses-left",
    "no-bind-source",
    "no-program",
    "no-resources",
    "no-such-image",
    "no-such-program",
    "too-many-per-node",
    "unhealthy",
    "unsupported-platform",
    "vxlan-exists",
];
/// What managers say that have lost one another.
const MANAGERS: &[&str] = &[
    "join-timed-out",
    "leader-does-not-answer",
    "locked",
    "manager-not-reached-back",
    "no-leader",
    "would-lose-quorum",
    "wrong-unlock-key",
];
/// What an engine says where packets to a registry are dropped: which of them, its own clocks decide.
const DROPPED: &[&str] = &["registry-silent", "request-timed-out", "swallowed"];
/// What OpenSSH says.
const SSH: &[&str] = &[
    "host-key-changed",
    "host-key-unknown",
    "no-forwarding",
    "no-name",
    "no-way",
    "ssh-closed",
    "ssh-key-refused",
    "ssh-refused",
    "timed-out",
    "too-many-keys",
];
/// What is taken from a host in a story of `prepared`.
const PACKAGES: &[&str] = &["apt-lists"];
/// What cannot be had here, and why.
const NOT_PROVOKED: &[(&str, &str)] = &[
    ("certificate-expired", "engines of the lab share this machine's clock, and no certificate lasts less than an hour"),
    ("pull-denied", "Docker's own registry answers so; the one here asks for a login instead (`no-login`)"),
    ("pull-limit", "only Docker's own registry answers so"),
];

/// What was explained, for comparing it with what a story promises.
#[derive(Default)]
struct Explained(BTreeSet<String>);

impl Explained {
    fn take(&mut self, said: &str, name: &str) {
        assert_eq!(explained(said), name, "{said}");
        self.0.insert(name.to_owned());
    }

    fn is(&self, promised: &[&str]) {
        assert_eq!(self.0.iter().map(String::as_str).collect::<Vec<_>>(), promised);
    }
}

#[test]
fn every_explanation_is_of_an_error_that_was_seen() {
    let mut promised: Vec<&str> = [CALLS, TASKS, MANAGERS, DROPPED, SSH, PACKAGES].concat();
    promised.extend(NOT_PROVOKED.iter().map(|(name, _)| name));
    promised.sort_unstable();
    let mut known: Vec<&str> = swarm_prepare::KNOWN.iter().map(|k| k.name).collect();
    known.sort_unstable();
    assert_eq!(promised, known);
}

/// The first entry that explains a text.
fn explained(text: &str) -> String {
    let ran = cli::run(&["explain", "--format", "json", "--", text]);
    let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
    document["explained"][0]["name"].as_str().unwrap_or_else(|| panic!("nothing explains: {text}")).to_owned()
}

#[tokio::test]
async fn what_engines_say_is_explained() {
    let bed = Bed::up(1, 2).await;
    let lab = &bed.lab;
    let mut seen = Explained::default();
    let sh = |host: &str, script: &str| lab.host(host).exec(&["sh", "-c", script]);
    let fails = |host: &str, script: &str| sh(host, script).map_or_else(|e| e.to_string(), |out| panic!("{script}: {out}"));
    let manager = format!("{}:2377", lab.host("m1").address);
    let healthy = bed.swarm_first(&["explain"], &[]);
    assert!(healthy.code == 0 && healthy.out.contains("no host, node or task"), "{healthy:?}");

    lab.docker("w2", &["swarm", "leave"]);
    let token = lab.docker("m1", &["swarm", "join-token", "-q", "worker"]).trim().to_owned();
    let parts: Vec<&str> = token.split('-').collect();
    let other = format!("SWMTKN-1-{}-{}", "1".repeat(parts[2].len()), parts[3]);
    lab.docker("m1", &["swarm", "join-token", "--rotate", "-q", "worker"]);
    lab.docker("m1", &["service", "create", "--detach", "--name", "port", "--publish", "8080:80", "--replicas", "0", "app:1"]);
    sh("m1", "printf x | docker secret create key -").unwrap();
    lab.docker("m1", &["service", "create", "--detach", "--name", "user", "--secret", "key", "--replicas", "0", "app:1"]);
    lab.docker("m1", &["network", "create", "-d", "overlay", "--subnet", "10.77.0.0/24", "one"]);
    lab.docker("m1", &["service", "create", "--detach", "--name", "on", "--network", "one", "--replicas", "0", "app:1"]);
    let _open = registry(lab, "m1", "0.0.0.0:5000", false);
    let _closed = registry(lab, "m1", "127.0.0.1:5001", true);
    eventually("the registries listen", Duration::from_secs(20), || {
        ["5000", "5001"].iter().all(|port| sh("m1", &format!("busybox nc -w 1 127.0.0.1 {port} </dev/null")).is_ok())
    })
    .await;
    std::fs::write(lab.lab.dir.join("external.yml"), EXTERNAL).unwrap();
    let external = lab.lab.dir.join("external.yml").display().to_string();
    let at = lab.host("m1").address;
    for (host, script, name) in [
        ("w1", "docker node ls", "not-a-manager"),
        ("m1", "docker swarm init", "in-a-swarm-already"),
        ("w2", &format!("docker swarm join --token nonsense {manager}"), "bad-join-token"),
        ("w2", &format!("docker swarm join --token {other} {manager}"), "other-root"),
        ("w2", &format!("docker swarm join --token {token} {manager}"), "old-join-token"),
        ("m1", "docker swarm leave", "leave-as-manager"),
        ("m1", "docker node rm w1", "node-not-down"),
        ("m1", "docker node rm m1", "remove-manager"),
        ("m1", "docker node demote m1", "last-manager"),
        ("m1", "docker service create --detach --publish 8080:80 app:1", "mesh-port-taken"),
        ("m1", "docker secret rm key", "in-use"),
        ("m1", "docker network rm one", "network-in-use"),
        ("m1", "docker -H unix:///nowhere.sock ps", "no-engine"),
        ("m1", "docker pull 127.0.0.1:1/app", "refused"),
        ("m1", "docker pull 127.0.0.1:5000/app:9", "no-manifest"),
        ("m1", "docker pull 127.0.0.1:5001/app:1", "no-login"),
        ("w1", &format!("docker pull {at}:5000/app:1"), "http-registry"),
        ("m1", &format!("docker stack deploy -c {external} app"), "no-network"),
        ("w1", "docker network create --subnet 10.88.0.0/24 a && docker network create --subnet 10.88.0.0/24 b", "pool-overlaps"),
        ("w1", "for i in $(seq 64); do docker network create net$i || exit 1; done", "no-address-pool"),
        ("w1", "ip route add unreachable 198.51.100.0/24; docker pull 198.51.100.1/app", "unreached"),
        ("w1", "chmod 660 /run/docker.sock; setpriv --reuid 65534 --clear-groups docker ps", "no-right-to-engine"),
        ("w1", "setpriv --reuid 65534 --clear-groups sudo -n true", "sudo-password"),
        ("w1", FULL, "apt-disk-full"),
        ("w1", INTERRUPTED, "dpkg-interrupted"),
        ("w2", "ip addr add 10.201.0.9/24 dev eth0; docker swarm init", "several-addresses"),
        ("w2", "docker swarm init --advertise-addr 203.0.113.5", "address-not-its-own"),
    ] {
        seen.take(&fails(host, script), name);
    }
    let w2 = lab.host("w2");
    w2.stop_engine();
    w2.start_engine_with(&["--live-restore"]).unwrap();
    seen.take(&fails("w2", &format!("docker swarm init --advertise-addr {}", w2.address)), "live-restore");
    w2.stop_engine();
    w2.start_engine().unwrap();
    w2.fill(0).unwrap();
    seen.take(&fails("w2", &format!("docker swarm init --advertise-addr {}", w2.address)), "no-space");
    let engine = DockerEngine::local(lab.host("m1").socket().to_str().unwrap()).await.unwrap();
    let services = engine.list(&Query::all(Kind::Service)).await.unwrap();
    let port = services.iter().find(|s| s.name() == "port").unwrap();
    let same = Sealed::new(&Body::of(port.spec()), &NoPayloads).unwrap();
    let stale = engine.update(Kind::Service, port.id(), port.version() - 1, &same, false).await.unwrap_err();
    seen.take(&stale.message, "changed-meanwhile");
    seen.is(CALLS);
}

/// No room for packages, in the host's own view of the file system.
const FULL: &str = "mount -t tmpfs -o size=64k none /var/cache/apt/archives; mkdir -p /var/cache/apt/archives/partial; \
    apt-get -y -d --reinstall install coreutils";
/// What dpkg leaves when it is killed.
const INTERRUPTED: &str = "mount -t tmpfs none /var/lib/dpkg/updates; touch /var/lib/dpkg/updates/0001; \
    apt-get -y --no-download --reinstall install coreutils";
const EXTERNAL: &str = "version: \"3.8\"
services: { web: { image: \"app:1\", networks: [front] } }
networks: { front: { external: true } }
";

#[tokio::test]
async fn what_is_said_of_tasks_is_explained() {
    let bed = Bed::up(1, 2).await;
    let lab = &bed.lab;
    let mut seen = Explained::default();
    let engine = DockerEngine::local(lab.host("m1").socket().to_str().unwrap()).await.unwrap();
    let sleeps = ["app:1", "/bin/sleep", "99"];
    let failing = [
        ("constraints", &["--constraint", "node.labels.no==where"][..], &sleeps[..]),
        ("no-resources", &["--reserve-memory", "900g"], &sleeps),
        ("host-port-taken", &["--replicas", "4", "--publish", "mode=host,published=7001,target=80"], &sleeps),
        ("too-many-per-node", &["--replicas", "4", "--replicas-max-per-node", "1"], &sleeps),
        ("no-such-image", &[], &["127.0.0.1:1/nothing:9"]),
        ("killed", &[], &["app:1", "/bin/sh", "-c", "exit 137"]),
        ("ended", &[], &["app:1", "/bin/sh", "-c", "exit 3"]),
        ("no-program", &[], &["app:1", "nothing"]),
        ("no-such-program", &[], &["app:1", "/bin/nothing"]),
        ("unhealthy", &["--health-cmd", "exit 1", "--health-interval", "1s", "--health-retries", "1"], &sleeps),
        ("no-bind-source", &["--mount", "type=bind,src=/nowhere,dst=/data"], &sleeps),
    ];
    for (name, args, command) in failing {
        let create = ["service", "create", "--detach", "--no-resolve-image", "--restart-condition", "none", "--name", name];
        lab.docker("m1", &[&create, args, command].concat());
    }
    // A network of five addresses, and one whose interface is there already.
    for (name, subnet, more) in [
        ("no-addresses-left", "10.98.0.0/29", &["--replicas", "9"]),
        ("vxlan-exists", "10.99.0.0/24", &["--constraint", "node.hostname==w2"]),
    ] {
        lab.docker("m1", &["network", "create", "-d", "overlay", "--subnet", subnet, name]);
        let number = "{{index .Options \"com.docker.network.driver.overlay.vxlanid_list\"}}";
        let number = lab.docker("m1", &["network", "inspect", name, "--format", number]);
        if name == "vxlan-exists" {
            lab.host("w2").exec(&["ip", "link", "add", "left", "type", "vxlan", "id", number.trim(), "dstport", "4789"]).unwrap();
        }
        let create = ["service", "create", "--detach", "--no-resolve-image", "--endpoint-mode", "dnsrr", "--name", name, "--network", name];
        lab.docker("m1", &[&create, &more[..], &sleeps].concat());
    }
    // The docker CLI has a registry's word on the platforms of an image, and no flag.
    let elsewhere = json!({ "Name": "unsupported-platform", "TaskTemplate": { "ContainerSpec": { "Image": "app:1" },
        "Placement": { "Platforms": [{ "Architecture": "s390x", "OS": "linux" }] } } });
    engine.create(Kind::Service, &Sealed::new(&Body::of(elsewhere), &NoPayloads).unwrap()).await.unwrap();
    for name in failing.iter().map(|(name, ..)| *name).chain(["unsupported-platform", "no-addresses-left", "vxlan-exists"]) {
        let mut said = String::new();
        eventually(&format!("a task of {name} says what is wrong"), Duration::from_secs(60), || {
            let all = lab.docker("m1", &["service", "ps", "--no-trunc", "--format", "{{.Error}}", name]);
            said = all.lines().find(|line| !line.is_empty()).unwrap_or_default().to_owned();
            !said.is_empty()
        })
        .await;
        seen.take(&said, name);
    }

    // Without an error, what the hosts, nodes and tasks say.
    lab.host("w1").kill(true).unwrap();
    eventually("w1 is missed", Duration::from_secs(60), || lab.nodes("m1").iter().any(|n| n.starts_with("w1") && n.contains("Down"))).await;
    seen.take(&lab.docker("m1", &["node", "inspect", "w1", "--format", "{{.Status.Message}}"]), "heartbeat");
    let all = bed.swarm_first(&["explain"], &[]);
    assert!(all.code == 3 && all.out.contains("heartbeat failure") && all.out.contains("no node has the labels"), "{all:?}");
    let unknown = cli::run(&["explain", "all", "is", "well"]);
    assert!(unknown.code == 1 && unknown.err.contains("nothing is known"), "{unknown:?}");
    seen.is(TASKS);
}

#[tokio::test]
#[ignore = "full"]
async fn what_managers_in_trouble_say_is_explained() {
    let bed = Bed::up(3, 1).await;
    let lab = &bed.lab;
    let mut seen = Explained::default();
    let fails = |host: &str, script: &str| {
        lab.host(host).exec(&["sh", "-c", script]).map_or_else(|e| e.to_string(), |out| panic!("{script}: {out}"))
    };
    let at = |host: &str| lab.host(host).address;
    lab.docker("w1", &["swarm", "leave"]);
    let token = |role: &str| lab.docker("m1", &["swarm", "join-token", "-q", role]).trim().to_owned();
    // The leader does not reach it at the address that it advertises; a worker finds no manager at all.
    let w1 = lab.host("w1");
    let rejects = ["-p", "tcp", "--dport", "2377", "-j", "REJECT", "--reject-with", "tcp-reset"];
    let filter = |how: &str| w1.exec(&[&["iptables", "-w", how, "INPUT"], &rejects[..]].concat()).unwrap();
    filter("-I");
    let join = format!("docker swarm join --token {} {}:2377", token("manager"), at("m1"));
    seen.take(&fails("w1", &join), "manager-not-reached-back");
    filter("-D");
    let _ = w1.exec(&["docker", "swarm", "leave", "--force"]);
    w1.cut(at("m1")).unwrap();
    let join = format!("docker swarm join --token {} {}:2377", token("worker"), at("m1"));
    seen.take(&fails("w1", &join), "join-timed-out");
    w1.heal().unwrap();

    lab.host("m3").drop_port(5000).unwrap();
    let said = fails("m1", &format!("docker pull {}:5000/app", at("m3")));
    assert!(DROPPED.contains(&&*explained(&said)), "{said}");

    lab.docker("m1", &["swarm", "update", "--autolock"]);
    lab.host("m3").stop_engine();
    lab.host("m3").start_engine().unwrap();
    eventually("m3 is locked", Duration::from_secs(30), || {
        lab.docker("m3", &["info", "-f", "{{.Swarm.LocalNodeState}}"]).trim() == "locked"
    })
    .await;
    seen.take(&fails("m3", "docker node ls"), "locked");
    let wrong = "SWMKEY-1-7c37Cc8654o6p38HnroywCi19pllOnGtbdZEgtKxZu8";
    seen.take(&fails("m3", &format!("echo {wrong} | docker swarm unlock")), "wrong-unlock-key");
    // m3 stays away: without m2 too there would be no majority.
    let leads = |host: &str| lab.docker(host, &["node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}"]);
    eventually("m3 is missed", Duration::from_secs(60), || leads("m1").contains("m3 Unreachable")).await;
    seen.take(&fails("m1", "docker node demote m2"), "would-lose-quorum");
    let leader = if leads("m1").contains("m1 Leader") { "m1" } else { "m2" };
    let follower = if leader == "m1" { "m2" } else { "m1" };
    lab.host(leader).freeze().unwrap();
    let mut said = fails(follower, "docker node ls");
    seen.take(&said, "leader-does-not-answer");
    eventually("no one leads", Duration::from_secs(60), || {
        said = lab.host(follower).exec(&["docker", "node", "ls"]).map_or_else(|e| e.to_string(), |_| String::new());
        said.contains("does not have a leader")
    })
    .await;
    seen.take(&said, "no-leader");
    lab.host(leader).heal().unwrap();
    seen.is(MANAGERS);
}

#[test]
fn what_openssh_says_is_explained() {
    let lab = TestLab::up(1, 0);
    let host = lab.host("m1");
    let (to, mut seen) = (format!("root@{}", host.address), Explained::default());
    let dir = lab.lab.dir.join("client");
    std::fs::create_dir_all(&dir).unwrap();
    let known = format!("UserKnownHostsFile={}", lab.lab.known_hosts().display());
    let (nothing, key) = (format!("UserKnownHostsFile={}/none", dir.display()), lab.lab.key().display().to_string());
    let keys: Vec<String> = (0..7).map(|i| dir.join(format!("key{i}")).display().to_string()).collect();
    for key in &keys {
        assert!(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", key]).status().unwrap().success());
    }
    // The key of the client stands for another host's.
    let line = std::fs::read_to_string(format!("{}.pub", keys[0])).unwrap();
    std::fs::write(dir.join("changed"), format!("{} {line}", host.address)).unwrap();
    let changed = format!("UserKnownHostsFile={}/changed", dir.display());
    let closes = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closes.local_addr().unwrap().port().to_string();
    std::thread::spawn(move || closes.incoming().flatten().for_each(drop));
    let ssh = |inside: bool, args: &[&str]| {
        let fixed = ["ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=2", "-o", "GlobalKnownHostsFile=none"];
        let mut command = if inside { host.enter().unwrap() } else { Command::new("env") };
        command.env_remove("SSH_AUTH_SOCK");
        let ran = command.args(fixed).args(args).stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&ran.stderr).into_owned()
    };
    let many: Vec<&str> = keys.iter().flat_map(|key| ["-i", key]).chain(["-o", "IdentitiesOnly=yes", "-o", &known, &to, "true"]).collect();
    host.exec(&["ip", "route", "add", "unreachable", "198.51.100.0/24"]).unwrap();
    host.exec(&["ip", "route", "add", "blackhole", "203.0.113.0/24"]).unwrap();
    let only = "IdentitiesOnly=yes";
    for (inside, args, name) in [
        (false, &["-p", "1", "127.0.0.1", "true"][..], "ssh-refused"),
        (false, &["nowhere.invalid", "true"], "no-name"),
        (false, &["-i", &keys[0], "-o", only, "-o", &known, &to, "true"], "ssh-key-refused"),
        (false, &many, "too-many-keys"),
        (false, &["-i", &key, "-o", &nothing, "-o", "StrictHostKeyChecking=yes", &to, "true"], "host-key-unknown"),
        (false, &["-i", &key, "-o", &changed, "-o", "HostKeyAlgorithms=ssh-ed25519", &to, "true"], "host-key-changed"),
        (false, &["-p", &port, "127.0.0.1", "true"], "ssh-closed"),
        (true, &["198.51.100.1", "true"], "no-way"),
    ] {
        seen.take(&ssh(inside, args), name);
    }
    reconfigure(host, "AllowTcpForwarding no");
    seen.take(&ssh(false, &["-i", &key, "-o", &known, "-W", "127.0.0.1:1", &to]), "no-forwarding");
    host.drop_port(22).unwrap();
    seen.take(&ssh(false, &["-i", &key, "-o", &known, &to, "true"]), "timed-out");
    seen.is(SSH);
}
