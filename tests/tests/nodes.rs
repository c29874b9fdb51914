//! Single nodes on real engines: drained, activated, labelled, promoted, demoted, taken out, joined again, given up.

use crate::deploys::images;
use std::collections::BTreeMap;
use std::time::Duration;
use swarm_core::ClusterSpec;
use swarm_core::engine::NodeChange;
use swarm_core::intent::Intent;
use swarm_core::nodes::{EditNodes, NodeEdit};
use swarm_core::observe::NodeFacts;
use swarm_core::report::Ending;
use swarm_core::spec::{Availability, Role};
use swarm_sim::{HostOptions, Incident, World};
use swarm_tests::cli;
use swarm_tests::lab::{TestLab, converge, eventually};
use swarm_tests::sim::stories::POINTS;
use swarm_tests::sim::workload::carry;
use swarm_tests::sim::{Drawer, THREE, Tool, cluster, cut_off, no_violations, spec};
use swarm_workload::{EditStrangers, Moved};

/// A cluster of [`THREE`] in which m3 and w1 have a second address each.
async fn with_addresses(seed: u64) -> (World, ClusterSpec) {
    let world = World::new(seed);
    for host in spec(THREE).hosts() {
        let mut options = HostOptions::of(host);
        let second = match host.name.as_str() {
            "m3" => Some("10.0.1.3"),
            "w1" => Some("10.0.1.4"),
            _ => None,
        };
        options.more.extend(second.map(|ip| ("eth1".to_owned(), ip.parse().unwrap())));
        world.add_host(options);
    }
    let file = cluster(&world, THREE).await;
    (world, file)
}

async fn listed(world: &World, host: &str) -> Vec<NodeFacts> {
    let nodes = world.fleet("onlooker").engine("m1").nodes().await.unwrap();
    nodes.into_iter().filter(|n| n.hostname == host).collect()
}

fn edit(host: &str, edit: NodeEdit) -> BTreeMap<swarm_core::id::HostName, NodeEdit> {
    BTreeMap::from([(host.into(), edit)])
}

/// Cut off at every call, and at each in three ways; the next run arrives, and no rule is broken.
fn from_every_cut(
    by_hand: impl AsyncFn(&World, &ClusterSpec),
    intent: impl for<'a> Fn(&'a ClusterSpec) -> Box<dyn Intent + 'a>,
    host: &str,
    holds: &dyn Fn(&NodeFacts) -> bool,
) -> u32 {
    let mut cuts = 0;
    for point in POINTS {
        for call in 1..400 {
            let over = swarm_sim::run(async {
                let (world, file) = with_addresses(call).await;
                by_hand(&world, &file).await;
                let intent = intent(&file);
                let ended = cut_off(&world, call, point, carry(&world, &file, intent.as_ref())).await;
                let reached = ended.is_some();
                let report = match ended {
                    Some(report) => report,
                    None => carry(&world, &file, intent.as_ref()).await,
                };
                let report = report.unwrap_or_else(|e| panic!("{point:?} {call}: {e}\n{}", world.story()));
                assert_eq!(report.ending, Ending::Converged, "{point:?} {call}: {report:#?}\n{}", world.story());
                let nodes = listed(&world, host).await;
                assert!(nodes.len() == 1 && nodes.iter().all(holds), "{point:?} {call}: {nodes:#?}\n{}", world.story());
                no_violations(&world, call, "cut off");
                reached
            });
            if over {
                break;
            }
            cuts += 1;
        }
    }
    cuts
}

/// A promotion, a demotion and labels.
#[test]
fn nodes_are_changed_from_every_cut() {
    let nothing = async |_: &World, _: &ClusterSpec| {};
    let labels: BTreeMap<String, Option<String>> = [("zone".to_owned(), Some("b".to_owned())), ("rack".to_owned(), None)].into();
    type Case<'a> = (&'a str, NodeEdit, &'a dyn Fn(&NodeFacts) -> bool);
    let cases: [Case<'_>; 4] = [
        ("w1", NodeEdit::Role(Role::Manager), &|n| n.role == Role::Manager && n.is_reachable_manager()),
        ("m3", NodeEdit::Role(Role::Worker), &|n| n.role == Role::Worker && n.manager.is_none()),
        ("w2", NodeEdit::Labels(labels), &|n| n.labels == [("zone".to_owned(), "b".to_owned())].into()),
        ("w2", NodeEdit::Availability(Availability::Pause), &|n| n.availability == Availability::Pause),
    ];
    for (host, change, holds) in cases {
        let cuts = from_every_cut(nothing, |file| Box::new(EditNodes { spec: file, edits: edit(host, change.clone()) }), host, holds);
        assert!(cuts > 3, "{host}: cut off {cuts} times");
    }
    // The same through the managers alone, as for a node of no host of the file.
    let id = std::cell::RefCell::new(None);
    let look = async |world: &World, _: &ClusterSpec| {
        let found = listed(world, "w2").await.into_iter().next().map(|n| n.id);
        *id.borrow_mut() = found;
    };
    for (change, holds) in [
        (
            NodeEdit::Labels([("zone".to_owned(), Some("c".to_owned()))].into()),
            (&|n: &NodeFacts| n.labels["zone"] == "c") as &dyn Fn(&NodeFacts) -> bool,
        ),
        (NodeEdit::Availability(Availability::Drain), &|n| n.availability == Availability::Drain),
    ] {
        let edits = || BTreeMap::from([(id.borrow().clone().unwrap(), change.clone())]);
        let patience = Some(Duration::from_secs(60));
        let cuts = from_every_cut(look, |file| Box::new(EditStrangers { spec: file, edits: edits(), patience }), "w2", holds);
        assert!(cuts > 3, "{change:?}: cut off {cuts} times");
    }
}

/// A manager whose raft log cannot grow comes and goes: no other manager is changed meanwhile, it is taken out of nothing, and the only manager of
/// a swarm is not taken for one of another. With room all is as it was.
#[test]
fn a_manager_whose_log_cannot_grow_is_left_in_peace() {
    let said_by = |ended: &Result<swarm_core::report::Report, swarm_core::ApplyError>| match ended {
        Ok(report) => format!("{report:?}"),
        Err(error) => error.to_string(),
    };
    for (at, text) in [THREE, "name: c\nhosts:\n  m1: { address: 10.0.0.1, role: manager }\n  w1: { address: 10.0.0.4, role: worker }\n"]
        .into_iter()
        .enumerate()
    {
        // At every second of the time in which the engine says now this and now that.
        for second in 0..8 {
            swarm_sim::run(async {
                let world = World::of(&spec(text), second);
                let file = cluster(&world, text).await;
                let host = ["m2", "m1"][at];
                assert!(world.cause(&Incident::LogFull(host.into())));
                tokio::time::sleep(Duration::from_secs(30 + second)).await;
                let keys = Drawer::default();
                let mut applied = Tool::new(&world, "me", &file, &keys).apply().await;
                if applied.converged() {
                    // In the moment in which its engine has just started it, it is a manager like any other.
                    tokio::time::sleep(Duration::from_secs(3)).await;
                    applied = Tool::new(&world, "me", &file, &keys).apply().await;
                }
                let said = format!("{applied:?}");
                assert!(!applied.converged() && said.contains("MB of disk are free"), "second {second}: {said}\n{}", world.story());
                assert!(!said.contains("ForceLeave") && !said.contains("Foreign"), "second {second}: {said}");
                let others = if at == 0 { "m3" } else { "w1" };
                let role = if at == 0 { Role::Worker } else { Role::Manager };
                let changed = carry(&world, &file, &EditNodes { spec: &file, edits: edit(others, NodeEdit::Role(role)) }).await;
                let done = changed.as_ref().is_ok_and(|report| report.steps.iter().any(|s| s.outcome.is_done()));
                assert!(!done, "second {second}: {}\n{}", said_by(&changed), world.story());
                world.cause(&Incident::DiskFree(host.into()));
                tokio::time::sleep(Duration::from_secs(30)).await;
                assert!(Tool::new(&world, "me", &file, &keys).plan().await.unwrap().is_empty(), "{}", world.story());
                no_violations(&world, second, "a full log");
            });
        }
    }
    // Broken on purpose: a manager is demoted beside it.
    swarm_sim::run(async {
        let world = World::of(&spec(THREE), 3);
        let file = cluster(&world, THREE).await;
        world.watch("me", &file, swarm_sim::Purpose::Apply, &[]);
        world.cause(&Incident::LogFull("m2".into()));
        tokio::time::sleep(Duration::from_secs(30)).await;
        let engine = world.fleet("me").engine("m1");
        let m3 = engine.nodes().await.unwrap().into_iter().find(|n| n.hostname == "m3").unwrap();
        let change = NodeChange { role: Some(Role::Worker), ..NodeChange::default() };
        let _ = engine.update_node(&m3.id, m3.version, &change).await;
        let broken: Vec<String> = world.violations().iter().map(ToString::to_string).collect();
        assert!(broken.iter().any(|v| v.contains("I3") && v.contains("whose logs can grow")), "{broken:?}");
    });
}

/// A worker and a manager move to their second addresses. What was set by hand is there afterwards, wherever the run was cut off.
#[test]
fn nodes_move_from_every_cut() {
    for (host, to, role) in [("w1", "10.0.1.4", Role::Worker), ("m3", "10.0.1.3", Role::Manager)] {
        let holds = |n: &NodeFacts| {
            let at = n.manager.as_ref().map_or(n.address.as_str(), |m| m.address.trim_end_matches(":2377"));
            let own = n.labels == [("by".to_owned(), "hand".to_owned())].into();
            (at, n.role, n.availability, own) == (to, role, Availability::Pause, true)
        };
        let by_hand = async |world: &World, file: &ClusterSpec| {
            let label = NodeEdit::Labels([("by".to_owned(), Some("hand".to_owned()))].into());
            for change in [label, NodeEdit::Availability(Availability::Pause)] {
                carry(world, file, &EditNodes { spec: file, edits: edit(host, change) }).await.unwrap();
            }
        };
        let cuts = from_every_cut(
            by_hand,
            |file| Box::new(Moved { spec: file, host: host.into(), to: to.parse().unwrap(), patience: Duration::from_secs(30) }),
            host,
            &holds,
        );
        assert!(cuts > 30, "{host}: cut off {cuts} times");
    }
}

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

    // One that may run nowhere else, with a volume.
    let bound = ["--constraint", "node.hostname==w1", "--mount", "type=volume,source=kept,target=/kept", "app:1", "sleep", "100000"];
    lab.docker("m1", &[&["service", "create", "--detach", "--name", "bound", "--endpoint-mode", "dnsrr"], &bound[..]].concat());
    eventually("w1 has both", Duration::from_secs(30), || lab.docker("w1", &["ps", "-q"]).lines().count() == 2).await;
    let drained = swarm(&["node", "drain", "w1"]);
    assert!(drained.code == 0 && tasks("w1") == 0, "{drained:?}");
    let named = ["bound has no place elsewhere: no suitable node", "volumes that stay on w1: kept"];
    assert!(named.iter().all(|line| drained.err.contains(line)) && !drained.err.contains("web has no place"), "{drained:?}");
    lab.docker("m1", &["service", "rm", "bound"]);
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

    // By id, and by the beginning of one; what is of no host and no node is said to be that.
    let id = lab.docker("m1", &["node", "inspect", "w1", "--format", "{{.ID}}"]).trim().to_owned();
    assert_eq!(swarm(&["node", "label", &id, "zone-"]).code, 0);
    assert_eq!(labels().trim(), "{} active");
    let by_id = swarm(&["node", "drain", &id[..8], "m2"]);
    assert!(by_id.code == 0 && labels().contains("drain"), "{by_id:?}");
    assert_eq!(swarm(&["node", "activate", &id, "m2"]).code, 0);
    let inspected = swarm(&["node", "inspect", &id[..8]]);
    assert!(inspected.code == 0 && inspected.out.contains(&id), "{inspected:?}");
    let nothing = swarm(&["node", "drain", "w9"]);
    assert!(nothing.code == 64 && nothing.err.contains("no node with that id or host name"), "{nothing:?}");

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
    // Nodes of no host of the file, as of machines that joined by themselves, are shown, and changed through the managers; what takes a look at their
    // hosts is refused.
    let shown = run(&["node", "inspect", "w1"]);
    assert!(shown.code == 0 && shown.out.contains("\"Hostname\": \"w1\""), "{shown:?}");
    crate::deploys::images(&lab, &["app:1"]);
    let create =
        ["service", "create", "--detach", "--name", "web", "--mode", "global", "--endpoint-mode", "dnsrr", "app:1", "sleep", "100000"];
    lab.docker("m1", &create);
    let runs = || lab.docker("w1", &["ps", "-q"]).lines().count();
    eventually("w1 has a task", Duration::from_secs(30), || runs() == 1).await;
    let id = lab.docker("m1", &["node", "inspect", "w1", "--format", "{{.ID}}"]).trim().to_owned();
    let state =
        || lab.docker("m1", &["node", "inspect", "w1", "--format", "{{.Spec.Availability}} {{json .Spec.Labels}}"]).trim().to_owned();
    let owned = state().split_once(' ').unwrap().1.to_owned();
    let drained = run(&["node", "drain", &id[..10]]);
    assert!(drained.code == 0 && runs() == 0 && state() == format!("drain {owned}"), "{drained:?}");
    let again = run(&["node", "drain", "w1"]);
    assert!(again.code == 0 && again.out.contains("Nothing to do"), "{again:?}");
    assert_eq!(run(&["node", "activate", "w1"]).code, 0);
    assert_eq!(run(&["node", "label", "w1", "rack=a"]).code, 0);
    assert!(state().starts_with("active") && state().contains(r#""rack":"a""#), "{}", state());
    assert_eq!(run(&["node", "label", "w1", "rack-"]).code, 0);
    assert_eq!(state(), format!("active {owned}"));
    let mixed = run(&["node", "pause", "w1", "m1"]);
    assert!(mixed.code == 64 && mixed.err.contains("in two runs"), "{mixed:?}");
    let promoted = run(&["node", "promote", "w1"]);
    assert!(promoted.code == 1 && promoted.err.contains("write the host there first"), "{promoted:?}");
    let rest = run(&["node", "rm", "w1", "--yes"]);
    assert!(rest.code == 64 && rest.err.contains("of no host of the file"), "{rest:?}");
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
        assert!(dry.code == 2 && dry.out.contains("leave") && dry.out.contains("joins again at"), "{dry:?}");
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
