//! `swarm check` on real hosts.

use std::collections::BTreeSet;
use std::time::Duration;
use swarm_tests::cli;
use swarm_tests::lab::{TestLab, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_break_a_swarm_is_found_before_anything_is_touched() {
    let lab = TestLab::up(1, 3);
    let text = format!("{}swarm: {{ default_addr_pool: [10.208.0.0/12] }}\n", lab.text(&lab.all("")));
    let file = lab.file(&text);
    let check = |more: &[&str]| cli::run(&[&["check", "-f", file.to_str().unwrap()], more].concat());
    let found = || -> Vec<(String, String)> {
        let ran = check(&["--format", "json"]);
        let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let word = |f: &serde_json::Value, key: &str| f[key].as_str().unwrap().to_owned();
        report["found"].as_array().unwrap().iter().map(|f| (word(f, "host"), word(f, "check"))).collect()
    };
    let has = |all: &[(String, String)], host: &str, name: &str| all.iter().any(|(h, c)| h == host && c == name);
    // The kernel of this machine and the engine of the lab are what they are; the pool is where the hosts are.
    let first = found();
    assert!(has(&first, "m1", "address-pool") && has(&first, "m1", "kernel-ipvs"), "{first:?}");
    assert!(!["facts", "clock", "same-engine-id", "port-taken", "ssh"].iter().any(|c| has(&first, "m1", c)), "{first:?}");

    // A host that is off, an engine that is down, a host that has made a swarm of its own.
    lab.host("w1").kill(true).unwrap();
    lab.host("w2").signal_engine("KILL").unwrap();
    lab.docker("w3", &["swarm", "init", "--advertise-addr", &lab.host("w3").address.to_string()]);
    eventually("each is found", Duration::from_secs(30), || {
        let all = found();
        // The machine is looked at, whatever its engine does.
        [("w1", "ssh"), ("w2", "engine-down"), ("w2", "kernel-ipvs"), ("w3", "other-swarm")]
            .iter()
            .all(|(host, name)| has(&all, host, name))
    })
    .await;
    let ran = check(&[]);
    assert!(ran.code == 3 && ran.out.contains("w1\n  error    ssh: "), "{ran:?}");
    let junit = check(&["--output", "junit"]).out;
    assert!(junit.contains("<testsuite name=\"w2\"") && junit.contains("name=\"engine-down\"><failure message=\""), "{junit}");
    assert_eq!(lab.docker("m1", &["info", "--format", "{{.Swarm.LocalNodeState}}"]).trim(), "inactive", "nothing was changed");

    // What the file passes over, with its reason.
    let text =
        format!("{text}checks: {{ ignore: {{ ssh: it is in the post, engine-down: x, other-swarm: x, address-pool: x, nosuch: x }} }}\n");
    let ran = cli::run(&["check", "-f", lab.file(&text).to_str().unwrap()]);
    assert!(ran.code == 0 && ran.out.contains("(it is in the post)") && ran.err.contains("checks.ignore.nosuch"), "{ran:?}");
}

/// Every passage of a report that does not pass, as `from to port/protocol outcome`, with `!` where it is one direction only.
fn closed(report: &serde_json::Value) -> BTreeSet<String> {
    let word = |p: &serde_json::Value, key: &str| p[key].as_str().unwrap_or_default().to_owned();
    let passages = report["ports"]["passages"].as_array().unwrap().iter();
    let passes = |p: &&serde_json::Value| !["open", "arrived"].contains(&p["outcome"]["is"].as_str().unwrap());
    let line = |p: &serde_json::Value| {
        let size = p["outcome"]["passes"].as_u64().map(|size| format!(" {size} of {}", p["outcome"]["of"])).unwrap_or_default();
        let one_way = if p["one_way"] == true { " !" } else { "" };
        let (port, protocol) = (p["port"].as_u64().unwrap_or(0), word(p, "protocol"));
        format!("{} {} {port}/{protocol} {}{size}{one_way}", word(p, "from"), word(p, "to"), p["outcome"]["is"].as_str().unwrap())
    };
    passages.filter(passes).map(line).collect()
}

/// The hosts of a lab share folders of this machine, where probes of other labs come and go: from here on this host has its own.
const OWN_FOLDERS: &str = "mount -t tmpfs tmpfs /var/tmp
mkdir /run/kept && mount --rbind \"$1\" /run/kept && mount -t tmpfs tmpfs /tmp && mkdir -p \"$1\" && mount --rbind /run/kept \"$1\"";

/// Nothing of the probe is on the hosts of a lab: no folder, and no process in the network of one of them.
fn is_clean(lab: &TestLab) -> bool {
    let left = "ls -d /tmp/swarm-probe.* /var/tmp/swarm-probe.* /run/swarm-probe.* /root/swarm-probe.* 2>/dev/null
for each in /proc/[0-9]*; do
  [ \"$(readlink $each/ns/net)\" != \"$(readlink /proc/self/ns/net)\" ] || readlink $each/exe | grep swarm-probe || true
done";
    ["m1", "m2", "w1", "w2"].iter().all(|host| lab.host(host).exec(&["sh", "-c", left]).unwrap().trim().is_empty())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_are_tried_from_every_host_to_every_other_before_and_after_they_join() {
    let lab = TestLab::up(2, 2);
    let text = lab.text(&lab.all(""));
    let file = lab.file(&text);
    let file = file.to_str().unwrap();
    let ports = |file: &str| -> (i32, BTreeSet<String>, serde_json::Value) {
        let ran = cli::run(&["check", "-f", file, "--format", "json"]);
        let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
        (ran.code, closed(&report), report)
    };
    let on = |host: &str, line: &str| {
        let argv: Vec<&str> = line.split(' ').collect();
        lab.host(host).exec(&argv).unwrap();
    };
    let set = |lines: &[&str]| -> BTreeSet<String> { lines.iter().map(|line| (*line).to_owned()).collect() };
    let m1 = lab.host("m1").address.to_string();

    for host in &lab.lab.hosts {
        host.exec(&["sh", "-ec", OWN_FOLDERS, "sh", lab.lab.dir.to_str().unwrap()]).unwrap();
    }

    // All is open: each manager gets five things from three hosts, each worker four.
    let (code, found, report) = ports(file);
    assert_eq!((code, found), (0, set(&[])), "{report}");
    assert_eq!(report["ports"]["passages"].as_array().unwrap().len(), 2 * 3 * 5 + 2 * 3 * 4);
    eventually("nothing of it is there", Duration::from_secs(20), || is_clean(&lab)).await;

    // What is lost the first time, all five of it, arrives the second time and is not said to be lost.
    on("w1", &format!("iptables -I INPUT -p udp --dport 7946 -s {m1} -m quota --quota 400 -j DROP"));
    let (code, found, report) = ports(file);
    let dropped = lab.host("w1").exec(&["iptables", "-L", "INPUT", "-v", "-x", "-n"]).unwrap();
    let dropped: u32 = dropped.lines().nth(2).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    assert!((5..10).contains(&dropped), "{dropped} packets");
    assert_eq!((code, found), (0, set(&[])), "{report}");
    on("w1", "iptables -F INPUT");

    // Each kind of filter, each in one direction; a path that takes less than its ends.
    on("w1", "iptables -I INPUT -p udp --dport 7946 -j DROP");
    on("w1", "iptables -I INPUT -p tcp --dport 7946 -j DROP");
    on("m1", "iptables -I INPUT -p tcp --dport 2377 -j REJECT --reject-with tcp-reset");
    on("m2", "iptables -I INPUT -p tcp --dport 2377 -j REJECT --reject-with icmp-host-prohibited");
    on("m2", &format!("iptables -I OUTPUT -p udp --dport 4789 -d {m1} -j DROP"));
    on("w2", "ip link set eth0 mtu 1400");
    let before = set(&[
        "m1 m2 2377/tcp no-route",
        "m1 w1 7946/tcp filtered !",
        "m1 w1 7946/udp not-arrived !",
        "m1 w2 4789/mtu small 1400 of 1500",
        "m2 m1 2377/tcp refused",
        "m2 m1 4789/udp blocked !",
        "m2 w1 7946/tcp filtered !",
        "m2 w1 7946/udp not-arrived !",
        "m2 w2 4789/mtu small 1400 of 1500",
        "w1 m1 2377/tcp refused",
        "w1 m2 2377/tcp no-route",
        "w1 w2 4789/mtu small 1400 of 1500",
        "w2 m1 2377/tcp refused",
        "w2 m2 2377/tcp no-route",
        "w2 w1 7946/tcp filtered !",
        "w2 w1 7946/udp not-arrived !",
    ]);
    let (code, found, report) = ports(file);
    assert_eq!((code, found), (3, before), "{report}");
    eventually("nothing of it is there", Duration::from_secs(20), || is_clean(&lab)).await;
    let ran = cli::run(&["check", "-f", file]);
    let says = [
        "7946/udp from m1, m2, w2 does not arrive (6 tries), in this direction only",
        "4789/udp to m1 is blocked by its own packet filter",
    ];
    assert!(says.iter().all(|words| ran.out.contains(words)) && ran.out.contains("Ports between 4 hosts: "), "{ran:?}");
    for host in ["m1", "m2", "w1"] {
        on(host, "iptables -F");
    }
    on("w2", "ip link set eth0 mtu 1500");

    // Now engines and the kernel hold the ports: what comes to them is seen behind the packet filter.
    let applied = cli::run(&["apply", "-f", file, "--yes"]);
    assert_eq!(applied.code, 0, "{applied:?}");
    let (code, found, report) = ports(file);
    assert_eq!((code, found), (0, set(&[])), "{report}");
    on("w1", "iptables -I INPUT -p udp --dport 7946 -j DROP");
    on("w2", "iptables -I INPUT -p udp --dport 4789 -j DROP");
    on("w2", "iptables -I INPUT -p tcp --dport 7946 -j REJECT --reject-with tcp-reset");
    let after = set(&[
        "m1 w1 7946/udp not-arrived !",
        "m2 w1 7946/udp not-arrived !",
        "w2 w1 7946/udp not-arrived !",
        "m1 w2 4789/udp not-arrived !",
        "m2 w2 4789/udp not-arrived !",
        "w1 w2 4789/udp not-arrived !",
        "m1 w2 7946/tcp refused !",
        "m2 w2 7946/tcp refused !",
        "w1 w2 7946/tcp refused !",
    ]);
    let (code, found, report) = ports(file);
    assert_eq!((code, found), (3, after), "{report}");
    for host in ["w1", "w2"] {
        on(host, "iptables -F INPUT");
    }

    // An encrypted network is IPsec.
    let encrypted = format!("{text}networks: {{ private: {{ driver: overlay, driver_opts: {{ encrypted: \"\" }} }} }}\n");
    let encrypted = lab.file(&encrypted);
    let encrypted = encrypted.to_str().unwrap();
    let (code, found, report) = ports(encrypted);
    assert_eq!((code, found), (0, set(&[])), "{report}");
    assert!(report["ports"]["passages"].as_array().unwrap().iter().any(|p| p["protocol"] == "esp"), "{report}");
    on("w1", "iptables -I INPUT -p esp -j DROP");
    let (code, found, report) = ports(encrypted);
    let esp = set(&["m1 w1 0/esp not-arrived !", "m2 w1 0/esp not-arrived !", "w2 w1 0/esp not-arrived !"]);
    assert_eq!((code, found), (3, esp), "{report}");

    on("w1", "iptables -F INPUT");

    // A host where no program can be put and started: connections with its own tools, and the report says so.
    on("w2", "mount -t tmpfs -o noexec tmpfs /tmp");
    on("w2", "mount -t tmpfs -o noexec tmpfs /var/tmp");
    on("w2", "mount --bind /root /root");
    on("w2", "mount -o remount,bind,noexec /root");
    on("w2", "mount -o remount,bind,noexec /run");
    let (code, found, report) = ports(file);
    let errors: Vec<_> = report["found"].as_array().unwrap().iter().filter(|f| f["severity"] == "error").collect();
    assert_eq!(code, 0, "{errors:#?} {found:#?}");
    let why = report["ports"]["without_probe"]["w2"].as_str().unwrap();
    assert!(why.contains("no folder where a program may be put and started"), "{why}");
    let is = |from: &str, to: &str, port: u64, outcome: &str| {
        let passages = report["ports"]["passages"].as_array().unwrap();
        passages.iter().any(|p| p["from"] == from && p["to"] == to && p["port"] == port && p["outcome"]["is"] == outcome)
    };
    assert!(is("w2", "m1", 2377, "open") && is("m1", "w2", 7946, "open") && is("m1", "w2", 4789, "not-tested"), "{report}");
    eventually("nothing of it is there", Duration::from_secs(20), || is_clean(&lab)).await;
}

/// What would break a host that is to join stands against the plan, before anything is changed; a file can pass over it; a warning is no
/// refusal; and of hosts that are nodes only managers take part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_adds_hosts_begins_with_their_checks() {
    let lab = TestLab::up(1, 3);
    let on = |host: &str, line: &str| {
        let argv: Vec<&str> = line.split(' ').collect();
        lab.host(host).exec(&argv).unwrap();
    };
    let state = |host: &str| lab.docker(host, &["info", "--format", "{{.Swarm.LocalNodeState}}"]).trim().to_owned();
    let two = [("m1", "manager", ""), ("w1", "worker", "")];
    let text = lab.text(&two);
    let file = lab.file(&text);
    let file = file.to_str().unwrap();
    on("w1", "iptables -I INPUT -p udp --dport 7946 -j DROP");
    for verb in [&["plan"][..], &["apply", "--yes"], &["apply", "--dry-run"]] {
        let ran = cli::run(&[verb, &["-f", file]].concat());
        assert!(ran.code == 1 && ran.err.contains("w1: ports: 7946/udp from m1 does not arrive"), "{verb:?}: {ran:?}");
        assert!(ran.err.contains("nothing was changed") && ran.err.contains("passes over a check"), "{verb:?}: {ran:?}");
    }
    let ran = cli::run(&["apply", "--yes", "--format", "json", "-f", file]);
    let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("one document: {ran:?}"));
    assert_eq!((ran.code, document["refusals"][0]["check"].as_str()), (1, Some("ports")), "{document}");
    assert_eq!((state("m1").as_str(), state("w1").as_str()), ("inactive", "inactive"));
    let passed = lab.file(&format!("{text}checks: {{ ignore: {{ ports: the office opens it on Monday }} }}\n"));
    let applied = cli::run(&["apply", "--yes", "-f", passed.to_str().unwrap()]);
    assert_eq!(applied.code, 0, "{applied:?}");

    // A third host: the closed port of w1, which is in, is none of its matter; what it does not get from the manager is.
    let three = lab.text(&[&two[..], &[("w2", "worker", "")]].concat());
    let three = lab.file(&three);
    on("m1", &format!("iptables -I INPUT -p tcp --dport 2377 -s {} -j DROP", lab.host("w2").address));
    let refused = cli::run(&["apply", "--yes", "-f", three.to_str().unwrap()]);
    assert!(refused.code == 1 && refused.err.contains("m1: ports: 2377/tcp from w2 is filtered"), "{refused:?}");
    assert!(!refused.err.contains("7946/udp"), "{refused:?}");
    assert_eq!(state("w2"), "inactive");
    on("m1", "iptables -F INPUT");
    on("w2", "ip link set eth0 mtu 1400");
    let warned = cli::run(&["apply", "--yes", "-f", three.to_str().unwrap()]);
    assert!(
        warned.code == 0 && warned.err.contains("warning: w2: path-mtu: packets from m1 of up to 1400 bytes pass, of 1500"),
        "{warned:?}"
    );
    assert_eq!(state("w2"), "active");
    // Something else holds a port of the last one.
    let all = lab.file(&lab.text(&lab.all("")));
    lab.host("w3").exec(&["sh", "-c", "setsid busybox nc -ll -p 7946 -e true >/dev/null 2>&1 </dev/null &"]).unwrap();
    let taken = || cli::run(&["plan", "-f", all.to_str().unwrap()]);
    eventually("it is seen", Duration::from_secs(20), || taken().code == 1).await;
    let taken = taken();
    assert!(taken.err.contains("w3: port-taken: 7946/tcp is taken"), "{taken:?}");
}

/// An overlay network is proven between every pair of nodes, by the probe as a service; what is blocked on the way is seen there, and nothing of it
/// stays, also not of a run that was killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overlay_network_is_proven_between_all_nodes() {
    let lab = TestLab::up(1, 2);
    let file = lab.file(&lab.text(&lab.all("")));
    let swarm = |args: &[&str]| cli::run(&[args, &["-f", file.to_str().unwrap()]].concat());
    assert_eq!(swarm(&["apply", "--yes"]).code, 0);
    let prove = || -> (i32, serde_json::Value) {
        let ran = swarm(&["check", "--no-ports", "--datapath", "--format", "json"]);
        (ran.code, serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}")))
    };
    let datapath = |report: &serde_json::Value| closed(&serde_json::json!({ "ports": report["datapath"] }));
    let nothing_stays = |lab: &TestLab| {
        let made = ["service", "network"].map(|kind| lab.docker("m1", &[kind, "ls", "-q", "--filter", "label=swarm.datapath"]));
        let images: Vec<String> =
            ["m1", "w1", "w2"].iter().map(|host| lab.docker(host, &["images", "-q", "localhost:1/swarm-probe"])).collect();
        made.iter().chain(&images).all(|out| out.trim().is_empty())
    };
    let (code, report) = prove();
    assert_eq!((code, datapath(&report)), (0, BTreeSet::new()), "{report}");
    assert_eq!(report["datapath"]["passages"].as_array().unwrap().len(), 3 * 2 * 4, "{report}");
    assert!(nothing_stays(&lab));

    // A killed run leaves something, and the next one takes it away.
    let mut killed = cli::begin(&["check", "--no-ports", "--datapath", "-f", file.to_str().unwrap()]);
    eventually("its service is there", Duration::from_secs(30), || !lab.docker("m1", &["service", "ls", "-q"]).trim().is_empty()).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    // Overlay traffic to one node is dropped: what a check of ports would see is seen in the network itself.
    lab.host("w2").exec(&["iptables", "-I", "INPUT", "-p", "udp", "--dport", "4789", "-j", "DROP"]).unwrap();
    let (code, report) = prove();
    let closed = datapath(&report);
    assert!(
        code == 3 && closed.iter().any(|line| line.starts_with("m1 w2 ")) && closed.iter().any(|line| line.starts_with("w2 w1 ")),
        "{closed:?}"
    );
    assert!(!closed.iter().any(|line| line.starts_with("m1 w1 ") || line.starts_with("w1 m1 ")), "the others hear each other: {closed:?}");
    assert!(nothing_stays(&lab));
    lab.host("w2").exec(&["iptables", "-F", "INPUT"]).unwrap();
    lab.docker("m1", &["node", "update", "--availability", "drain", "w2"]);
    let text = swarm(&["check", "--no-ports", "--datapath"]);
    assert!(
        text.code == 0
            && text.out.contains("w2 was left out: its node gets no tasks")
            && text.out.contains("Overlay network: between 2 hosts: 8 of 8 ways pass"),
        "{text:?}"
    );
    assert!(nothing_stays(&lab));
}

/// On every node the names of services stand for the tasks that run; where a node does not hear of the others, it is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full"]
async fn names_of_services_are_asked_for_on_every_node() {
    let lab = TestLab::up(1, 2);
    let file = lab.file(&lab.text(&lab.all("")));
    let swarm = |args: &[&str]| cli::run(&[args, &["-f", file.to_str().unwrap()]].concat());
    assert_eq!(swarm(&["apply", "--yes"]).code, 0);
    let none = swarm(&["check", "--no-ports", "--services"]);
    assert!(none.code == 0 && none.out.contains("Services: none is in an overlay network"), "{none:?}");
    crate::deploys::images(&lab, &["app:1"]);
    lab.docker("m1", &["network", "create", "-d", "overlay", "back"]);
    let create = |name: &str| {
        let args = [
            "service",
            "create",
            "-d",
            "--no-resolve-image",
            "--network",
            "back",
            "--endpoint-mode",
            "dnsrr",
            "--mode",
            "global",
            "--name",
            name,
        ];
        lab.docker("m1", &[&args[..], &["app:1", "/bin/sleep", "1000"]].concat());
    };
    let running = |name: &str| {
        lab.docker("m1", &["service", "ps", name, "--filter", "desired-state=running", "--format", "{{.CurrentState}}"])
            .matches("Running")
            .count()
    };
    create("web");
    eventually("its tasks run", Duration::from_secs(60), || running("web") == 3).await;
    let report = || -> (i32, serde_json::Value) {
        let ran = swarm(&["check", "--no-ports", "--services", "--format", "json"]);
        (ran.code, serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}")))
    };
    let (code, well) = report();
    assert_eq!(
        (code, &well["services"]["asked"], &well["services"]["wrong"]),
        (0, &serde_json::json!(6), &serde_json::json!([])),
        "{well}"
    );
    // A node that hears no gossip knows nothing of what comes from then on.
    for protocol in ["tcp", "udp"] {
        lab.host("w2").exec(&["iptables", "-I", "INPUT", "-p", protocol, "--dport", "7946", "-j", "DROP"]).unwrap();
        lab.host("w2").exec(&["iptables", "-I", "OUTPUT", "-p", protocol, "--dport", "7946", "-j", "DROP"]).unwrap();
    }
    create("late");
    eventually("its tasks run", Duration::from_secs(60), || running("late") == 3).await;
    let (code, report) = report();
    let wrong = report["services"]["wrong"].as_array().unwrap();
    let is_of =
        |host: &str| wrong.iter().any(|w| w["host"] == host && w["name"] == "tasks.late" && !w["missing"].as_array().unwrap().is_empty());
    assert!(code == 3 && is_of("w2"), "{report}");
    assert!(wrong.iter().all(|w| w["network"] == "back"), "{report}");
    // Nothing of it stays.
    let ours = lab.docker("m1", &["service", "ls", "-q", "--filter", "label=swarm.datapath"]);
    assert!(ours.trim().is_empty() && lab.docker("m1", &["network", "inspect", "back"]).contains("overlay"), "{ours}");
}

/// This kernel has no IPVS: that is said, and where it is passed over the port is asked for and no node answers. With rules of the packet filter
/// that do what the mesh does, every node answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_published_port_is_asked_for_on_every_node() {
    let lab = TestLab::up(1, 2);
    let text = lab.text(&lab.all(""));
    let file = lab.file(&text);
    assert_eq!(cli::run(&["apply", "--yes", "-f", file.to_str().unwrap()]).code, 0);
    let mesh = |file: &std::path::Path| -> (i32, serde_json::Value) {
        let ran = cli::run(&["check", "--no-ports", "--mesh", "--format", "json", "-f", file.to_str().unwrap()]);
        let mut report: serde_json::Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
        (ran.code, report["mesh"].take())
    };
    let (code, report) = mesh(&file);
    assert_eq!((code, report["passages"].as_array().unwrap().len()), (3, 0), "{report}");
    for host in ["m1", "w1", "w2"] {
        assert!(report["left_out"][host].as_str().unwrap().contains("no ip_vs"), "{report}");
    }
    let passed = lab.file(&format!("{text}checks: {{ ignore: {{ kernel-ipvs: it is tried }} }}\n"));
    let (code, report) = mesh(&passed);
    let passages = report["passages"].as_array().unwrap().clone();
    let silent = |p: &&serde_json::Value| p["error"].is_string();
    assert_eq!((code, passages.len(), passages.iter().filter(silent).count()), (3, 6, 6), "{report}");
    let text = cli::run(&["check", "--no-ports", "--mesh", "-f", passed.to_str().unwrap()]);
    assert!(text.code == 3 && text.out.contains("with its task on w1: 0 answers"), "{text:?}");
    assert!(text.out.contains(&format!("routing mesh: at m1 ({}): no answer to w", lab.host("m1").address)), "{text:?}");

    let on = |host: &str, command: &str| lab.host(host).exec(&["sh", "-c", command]).unwrap_or_default();
    let task = || {
        let gateway = "docker network inspect docker_gwbridge -f '{{range $id, $c := .Containers}}{{$id}} {{$c.IPv4Address}}\n{{end}}'";
        let id = on("w1", "docker ps -q --no-trunc -f name=-mesh");
        let there = on("w1", gateway).lines().find_map(|l| l.strip_prefix(id.trim())?.trim().split('/').next().map(str::to_owned));
        there.filter(|_| !id.trim().is_empty())
    };
    let asking = std::thread::scope(|scope| {
        let asking = scope.spawn(|| mesh(&passed));
        while !asking.is_finished() {
            let Some(address) = task() else { continue };
            let ports = "-p tcp --dport 30000:32767";
            on(
                "w1",
                &format!("iptables -t nat -I PREROUTING {ports} -j DNAT --to-destination {address}:7946; iptables -I FORWARD -j ACCEPT"),
            );
            for host in ["m1", "w2"] {
                let to = lab.host("w1").address;
                on(
                    host,
                    &format!(
                        "iptables -t nat -I PREROUTING {ports} -j DNAT --to-destination {to}; iptables -I FORWARD -j ACCEPT; iptables -t nat -I POSTROUTING {ports} -j MASQUERADE"
                    ),
                );
            }
            break;
        }
        asking.join().unwrap()
    });
    let (code, report) = asking;
    assert_eq!(code, 0, "{report}");
    let passages = report["passages"].as_array().unwrap();
    assert_eq!((passages.len(), passages.iter().filter(silent).count()), (6, 0), "{report}");
    let made = ["service", "network"].map(|kind| lab.docker("m1", &[kind, "ls", "-q", "--filter", "label=swarm.datapath"]));
    assert!(made.iter().all(|out| out.trim().is_empty()), "nothing stays: {made:?}");
}
