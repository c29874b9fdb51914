//! `swarm check` on real hosts.

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
