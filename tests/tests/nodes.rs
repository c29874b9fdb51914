//! Single nodes on real engines: drained, activated, labelled, promoted, demoted, taken out, joined again, given up.

use crate::deploys::images;
use std::time::Duration;
use swarm_tests::cli;
use swarm_tests::lab::{TestLab, converge, eventually};

#[tokio::test]
async fn the_life_of_nodes() {
    let lab = TestLab::up(3, 1);
    let text = lab.text(&lab.all(""));
    converge(&text).await;
    images(&lab, &["app:1"]);
    let file = lab.file(&text);
    let swarm = |args: &[&str]| cli::run(&[args, &["-f", file.to_str().unwrap()]].concat());
    let create = ["service", "create", "-d", "--name", "web", "--endpoint-mode", "dnsrr", "--replicas", "4", "--stop-grace-period", "1s"];
    lab.docker("m1", &[&create[..], &["--no-resolve-image", "app:1", "/bin/sleep", "1000"]].concat());
    let tasks = |host: &str| lab.docker(host, &["ps", "-q", "--filter", "label=com.docker.swarm.service.name=web"]).lines().count();
    eventually("every host has a task", Duration::from_secs(30), || ["m1", "m2", "m3", "w1"].iter().all(|h| tasks(h) == 1)).await;

    let drained = swarm(&["node", "drain", "w1"]);
    assert!(drained.code == 0 && tasks("w1") == 0, "{drained:?}");
    assert!(drained.out.contains("wait-drained"), "{drained:?}");
    let again = swarm(&["node", "drain", "w1"]);
    assert!(again.code == 0 && again.out.contains("Nothing to do"), "{again:?}");
    let listed = swarm(&["node", "ps", "w1"]);
    assert!(listed.code == 0 && !listed.out.contains("web"), "{listed:?}");
    assert_eq!(swarm(&["node", "activate", "w1"]).code, 0);
    let labels = || lab.docker("m1", &["node", "inspect", "w1", "--format", "{{json .Spec.Labels}} {{.Spec.Availability}}"]);
    assert_eq!(swarm(&["node", "label", "w1", "rack=a", "zone=b"]).code, 0);
    assert_eq!(labels().trim(), r#"{"rack":"a","zone":"b"} active"#);
    assert_eq!(swarm(&["node", "label", "w1", "rack-"]).code, 0);
    assert_eq!(labels().trim(), r#"{"zone":"b"} active"#);

    // The file says worker: that is noted, and the next apply takes it back.
    let promoted = swarm(&["node", "promote", "w1"]);
    assert!(promoted.code == 0 && promoted.out.contains("write role: manager there"), "{promoted:?}");
    assert!(
        promoted.out.contains("3 managers") && promoted.out.contains("4 managers"),
        "the quorum is shown before and after: {promoted:?}"
    );
    assert!(lab.nodes("m1").contains(&"w1 manager Ready Active".to_owned()));
    assert_eq!(swarm(&["node", "demote", "w1"]).code, 0);

    // Taken out for good, and in again with one apply.
    let removed = swarm(&["node", "rm", "w1", "--yes"]);
    assert_eq!(removed.code, 0, "{removed:?}");
    assert_eq!(lab.nodes("m1").len(), 3);
    assert_eq!(lab.docker("w1", &["info", "--format", "{{.Swarm.LocalNodeState}}"]).trim(), "inactive");
    assert_eq!(swarm(&["node", "rm", "w1", "--yes"]).code, 0, "a second time there is nothing to do");
    let back = swarm(&["apply", "--yes"]);
    assert!(back.code == 0 && lab.nodes("m1").len() == 4, "{back:?}");

    // A manager that answers is not dead; one that is gone goes by name, and the quorum is kept.
    let alive = swarm(&["node", "rm", "--dead", "m3", "--yes"]);
    assert!(alive.code == 1 && alive.err.contains("it answers, so it is not dead"), "{alive:?}");
    lab.host("m3").kill(true).unwrap();
    eventually("m3 is down", Duration::from_secs(60), || lab.nodes("m1").iter().any(|n| n.starts_with("m3") && n.contains("Down"))).await;
    let too_many = swarm(&["node", "rm", "m2", "--dead", "m3", "--yes", "--dry-run"]);
    assert_eq!(too_many.code, 2, "{too_many:?}");
    let both = swarm(&["node", "demote", "m1", "m2"]);
    assert!(both.code == 1 && lab.nodes("m1").iter().filter(|n| n.contains("manager")).count() == 3, "{both:?}");
    let gone = swarm(&["node", "rm", "--dead", "m3", "--yes"]);
    assert_eq!(gone.code, 0, "{gone:?}");
    assert_eq!(lab.nodes("m1"), ["m1 manager Ready Active", "m2 manager Ready Active", "w1 worker Ready Active"]);
}

/// Nodes whose hosts went from the file: named as long as they are there, removed by name or with `--prune` once they are down, and by the file
/// itself where it owns them.
#[tokio::test]
async fn nodes_of_hosts_that_the_file_no_longer_has() {
    let lab = TestLab::up(1, 3);
    let owned = "policy: { prune: owned }";
    let with = |workers: &[&'static str]| {
        let mut hosts = vec![("m1", "manager", "")];
        hosts.extend(workers.iter().map(|w| (*w, "worker", "")));
        lab.text_with(&hosts, owned)
    };
    converge(&with(&["w1", "w2", "w3"])).await;
    let file = lab.file(&lab.text(&[("m1", "manager", "")]));
    let run = |args: &[&str]| cli::run(&[args, &["-f", file.to_str().unwrap()]].concat());
    let alive = run(&["node", "rm", "--dead", "w1", "--yes"]);
    assert!(alive.code == 1 && alive.err.contains("role: none"), "{alive:?}");
    let left = run(&["apply", "--prune", "--yes"]);
    assert!(left.code == 0 && left.out.contains("role: none") && lab.nodes("m1").len() == 4, "{left:?}");

    for worker in ["w1", "w2", "w3"] {
        lab.host(worker).kill(true).unwrap();
    }
    eventually("they are down", Duration::from_secs(60), || lab.nodes("m1").iter().filter(|n| n.contains("Down")).count() == 3).await;
    let id = lab.docker("m1", &["node", "inspect", "w1", "--format", "{{.ID}}"]);
    let removed = run(&["node", "rm", "--dead", id.trim(), "--yes"]);
    assert!(removed.code == 0 && lab.nodes("m1").len() == 3, "{removed:?}");
    let again = run(&["node", "rm", "--dead", id.trim(), "--yes"]);
    assert!(again.code == 0 && again.out.contains("nothing to do"), "{again:?}");

    // The file owns w2 and names it no more; w3 it still names, and w3 is only down.
    let owner = lab.file(&with(&["w3"]));
    let planned = cli::run(&["plan", "-f", owner.to_str().unwrap()]);
    assert!(planned.code == 2 && planned.out.contains("it is down, and the file does not name it"), "{planned:?}");
    let applied = cli::run(&["apply", "--yes", "-f", owner.to_str().unwrap()]);
    assert!(lab.nodes("m1").len() == 2, "{applied:?}");
    let pruned = run(&["apply", "--prune", "--yes"]);
    assert!(pruned.code == 0 && lab.nodes("m1") == ["m1 manager Ready Active"], "{pruned:?}");
}
