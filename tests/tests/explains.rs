//! Errors that engines and OpenSSH give, taken from them and handed to `swarm explain`.

use crate::deploys::Bed;
use std::process::Command;
use std::time::Duration;
use swarm_tests::cli;
use swarm_tests::lab::eventually;

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
    let fails = |host: &str, args: &[&str]| lab.host(host).exec(&[&["docker"], args].concat()).unwrap_err().to_string();
    let manager = format!("{}:2377", lab.host("m1").address);
    let healthy = bed.swarm_first(&["explain"], &[]);
    assert!(healthy.code == 0 && healthy.out.contains("no host, node or task"), "{healthy:?}");

    lab.docker("w2", &["swarm", "leave"]);
    let token = lab.docker("m1", &["swarm", "join-token", "-q", "worker"]).trim().to_owned();
    let parts: Vec<&str> = token.split('-').collect();
    let other = format!("SWMTKN-1-{}-{}", "1".repeat(parts[2].len()), parts[3]);
    lab.docker("m1", &["service", "create", "--detach", "--name", "port", "--publish", "8080:80", "--replicas", "0", "app:1"]);
    let secret = format!("printf x | docker secret create {} -", "key");
    lab.host("m1").exec(&["sh", "-c", &secret]).unwrap();
    lab.docker("m1", &["service", "create", "--detach", "--name", "user", "--secret", "key", "--replicas", "0", "app:1"]);
    lab.docker("m1", &["network", "create", "-d", "overlay", "--subnet", "10.77.0.0/24", "one"]);
    for (host, args, name) in [
        ("w1", &["node", "ls"][..], "not-a-manager"),
        ("m1", &["swarm", "init"], "in-a-swarm-already"),
        ("w2", &["swarm", "join", "--token", "nonsense", &manager], "bad-join-token"),
        ("w2", &["swarm", "join", "--token", &other, &manager], "other-root"),
        ("m1", &["swarm", "leave"], "leave-as-manager"),
        ("m1", &["node", "rm", "w1"], "node-not-down"),
        ("m1", &["node", "rm", "m1"], "remove-manager"),
        ("m1", &["node", "demote", "m1"], "last-manager"),
        ("m1", &["service", "create", "--detach", "--publish", "8080:80", "app:1"], "mesh-port-taken"),
        ("m1", &["secret", "rm", "key"], "in-use"),
        ("m1", &["-H", "unix:///nowhere.sock", "ps"], "no-engine"),
        ("m1", &["pull", "127.0.0.1:1/app"], "refused"),
    ] {
        let said = fails(host, args);
        assert_eq!(explained(&said), name, "{said}");
    }

    // What the scheduler says of tasks.
    let failing = [
        ("constraints", &["--constraint", "node.labels.no==where"][..], &["app:1", "/bin/sleep", "99"][..]),
        ("no-resources", &["--reserve-memory", "900g"], &["app:1", "/bin/sleep", "99"]),
        ("host-port-taken", &["--replicas", "4", "--publish", "mode=host,published=7001,target=80"], &["app:1", "/bin/sleep", "99"]),
        ("too-many-per-node", &["--replicas", "4", "--replicas-max-per-node", "1"], &["app:1", "/bin/sleep", "99"]),
    ];
    for (name, args, command) in failing {
        let create = ["service", "create", "--detach", "--no-resolve-image", "--restart-condition", "none", "--name", name];
        lab.docker("m1", &[&create, args, command].concat());
    }
    for (name, ..) in failing {
        let mut said = String::new();
        eventually(&format!("a task of {name} says what is wrong"), Duration::from_secs(60), || {
            let all = lab.docker("m1", &["service", "ps", "--no-trunc", "--format", "{{.Error}}", name]);
            said = all.lines().find(|line| !line.is_empty()).unwrap_or_default().to_owned();
            !said.is_empty()
        })
        .await;
        assert_eq!(explained(&said), name, "{said}");
    }

    // Without an error, what the hosts, nodes and tasks say.
    lab.host("w1").kill(true).unwrap();
    eventually("w1 is missed", Duration::from_secs(60), || lab.nodes("m1").iter().any(|n| n.starts_with("w1") && n.contains("Down"))).await;
    let all = bed.swarm_first(&["explain"], &[]);
    assert!(all.code == 3 && all.out.contains("heartbeat failure") && all.out.contains("no node has the labels"), "{all:?}");
    let unknown = cli::run(&["explain", "all", "is", "well"]);
    assert!(unknown.code == 1 && unknown.err.contains("nothing is known"), "{unknown:?}");
}

#[test]
fn what_openssh_says_is_explained() {
    let ssh = |args: &[&str]| {
        let ran = Command::new("ssh").args(["-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]).args(args).output().unwrap();
        String::from_utf8_lossy(&ran.stderr).into_owned()
    };
    for (args, name) in [(&["-p", "1", "127.0.0.1", "true"][..], "ssh-refused"), (&["nowhere.invalid", "true"], "no-name")] {
        let said = ssh(args);
        assert_eq!(explained(&said), name, "{said}");
    }
}
