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

/// Another address of a host: its node comes back under it, with the role, the labels and the availability it had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_moves_to_another_address() {
    let lab = TestLab::up(3, 1);
    let text = lab.text(&lab.all("labels: { zone: a }"));
    converge(&text).await;
    let file = lab.file(&text);
    let file = file.to_str().unwrap();
    let run = |args: &[&str]| cli::run(&[args, &["-f", file]].concat());
    let mut seen = Vec::new();
    for (host, other) in [("w1", "10.215.0.21"), ("m2", "10.215.0.12")] {
        // The other hosts reach the new address over the link that is there, and what it sends comes from it; the old one is still there.
        let via = lab.host(host).address.to_string();
        let net = format!("{}.0/24", via.rsplit_once('.').unwrap().0);
        lab.host(host).exec(&["ip", "addr", "add", &format!("{other}/32"), "dev", "eth0"]).unwrap();
        lab.host(host).exec(&["ip", "route", "replace", &net, "dev", "eth0", "src", other]).unwrap();
        for peer in lab.lab.hosts.iter().filter(|h| h.name != host) {
            peer.exec(&["ip", "route", "add", &format!("{other}/32"), "via", &via]).unwrap();
        }
        lab.docker("m1", &["node", "update", "--availability", "pause", "--label-add", "by=hand", host]);
        let dry = run(&["node", "move", host, "--advertise", other, "--dry-run"]);
        assert!(dry.code == 2 && dry.out.contains("leave") && dry.err.contains("joins again at"), "{dry:?}");
        let moved = run(&["node", "move", host, "--advertise", other, "--yes"]);
        assert!(moved.code == 0 && moved.err.contains(&format!("write `advertise: {other}` for {host}")), "{moved:?}");
        let format = "{{.Status.Addr}} {{.Spec.Role}} {{.Spec.Availability}} {{.Spec.Labels.zone}} {{.Spec.Labels.by}}";
        seen.push(lab.docker("m1", &["node", "inspect", host, "--format", format]).trim().to_owned());
    }
    assert_eq!(seen, ["10.215.0.21 worker pause a hand", "10.215.0.12 manager pause a hand"]);
    assert_eq!(lab.docker("m1", &["node", "inspect", "m2", "--format", "{{.ManagerStatus.Addr}}"]).trim(), "10.215.0.12:2377");
    assert_eq!((lab.nodes("m1").len(), lab.docker("m2", &["node", "ls", "-q"]).lines().count()), (4, 4));
    // A single manager cannot go and come back: the swarm would be gone.
    let alone = TestLab::up(1, 0);
    let text = alone.text(&alone.all(""));
    converge(&text).await;
    let file = alone.file(&text);
    let refused = cli::run(&["node", "move", "m1", "--advertise", "10.215.0.99", "--yes", "-f", file.to_str().unwrap()]);
    assert!(refused.code == 1 && refused.err.contains("add a manager first"), "{refused:?}");
    assert_eq!(alone.nodes("m1").len(), 1);
}
