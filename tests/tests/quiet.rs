//! A node is drained and no service has fewer tasks for it: in the simulator, from every cut, and on real engines with a client that asks all
//! the while.

use crate::deploys::Bed;
use crate::rolling::{Client, serving};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use swarm_core::ClusterSpec;
use swarm_core::engine::{Kind, Query};
use swarm_core::id::HostName;
use swarm_core::report::Ending;
use swarm_core::spec::Availability;
use swarm_sim::{CrashPoint, ImageKind, World};
use swarm_tests::lab::eventually;
use swarm_tests::sim::workload::{FILE, carry, deploy, failed, from_every_cut, quiet, ready, service, stack};
use swarm_tests::sim::{cut_off, spec};
use swarm_workload::{DeployOptions, QuietDrain};

const REPLICAS: u64 = 6;

async fn running(file: &ClusterSpec, seed: u64) -> World {
    let world = ready(file, seed).await;
    deploy(&world, file, &stack(vec![service("app_web", "web:1", REPLICAS)]), DeployOptions::default()).await;
    world
}

fn drain<'a>(file: &'a ClusterSpec, hosts: &[&str]) -> QuietDrain<'a> {
    QuietDrain { spec: file, hosts: hosts.iter().map(|h| HostName::new(*h)).collect(), patience: Duration::from_secs(120) }
}

/// The tasks that are to run, with their nodes' names.
async fn tasks(world: &World) -> BTreeSet<(String, String)> {
    let engine = world.fleet("onlooker").engine("m1");
    let nodes = engine.nodes().await.unwrap();
    let name = |id: &str| nodes.iter().find(|n| n.id.as_str() == id).unwrap().hostname.clone();
    let tasks = engine.list(&Query::all(Kind::Task)).await.unwrap();
    let wanted = tasks.iter().filter(|t| t.text("/DesiredState").as_deref() == Some("running"));
    wanted.map(|t| (t.id().to_owned(), name(&t.text("/NodeID").unwrap()))).collect()
}

/// The service is as it was deployed, and the nodes are drained.
async fn is_over(world: &World, hosts: &[&str], what: &str) {
    let engine = world.fleet("onlooker").engine("m1");
    let live = engine.get(Kind::Service, "app_web").await.unwrap();
    assert_eq!((live.part("/Spec/TaskTemplate/Placement/Constraints"), live.part("/Spec/UpdateConfig")), (None, None), "{what}");
    assert_eq!(live.label("swarm.drain.was"), None, "{what}");
    for node in engine.nodes().await.unwrap() {
        let wanted = if hosts.contains(&node.hostname.as_str()) { Availability::Drain } else { Availability::Active };
        assert_eq!(node.availability, wanted, "{what}: {}", node.hostname);
    }
    let tasks = tasks(world).await;
    assert!(tasks.len() as u64 == REPLICAS && tasks.iter().all(|(_, node)| !hosts.contains(&node.as_str())), "{what}: {tasks:?}");
}

/// A service that is spread by labels can have its tasks elsewhere like any other.
#[test]
fn a_service_with_placement_preferences_moves_too() {
    let file = spec(FILE);
    swarm_sim::run(async {
        let world = ready(&file, 3).await;
        let mut web = service("app_web", "web:1", REPLICAS);
        web.spec["TaskTemplate"]["Placement"] = json!({ "Preferences": [{ "Spread": { "SpreadDescriptor": "node.labels.zone" } }] });
        deploy(&world, &file, &stack(vec![web]), DeployOptions::default()).await;
        let report = carry(&world, &file, &drain(&file, &["w1"])).await.unwrap();
        assert_eq!((report.ending, failed(&report)), (Ending::Converged, Vec::new()), "{}", world.story());
        assert_eq!(report.steps.iter().filter(|step| step.id.as_str().contains("app_web")).count(), 2, "{:?}", report.steps);
        is_over(&world, &["w1"], "it ended").await;
    });
}

#[test]
fn only_what_is_on_the_node_moves_and_nothing_is_missing_meanwhile() {
    let file = spec(FILE);
    swarm_sim::run(async {
        let world = running(&file, 1).await;
        let before = tasks(&world).await;
        let moves = before.iter().filter(|(_, node)| node == "w1" || node == "m2").count();
        assert!(moves > 1, "{before:?}");
        let intent = drain(&file, &["w1", "m2"]);
        let watch = async {
            loop {
                let tasks = world.fleet("watch").engine("m1").list(&Query::all(Kind::Task)).await.unwrap();
                let run = tasks.iter().filter(|t| t.text("/Status/State").as_deref() == Some("running")).count() as u64;
                assert!(run >= REPLICAS, "only {run} tasks run\n{}", world.story());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let report = tokio::select! {
            report = carry(&world, &file, &intent) => report.unwrap(),
            () = watch => unreachable!(),
        };
        assert_eq!(report.ending, Ending::Converged, "{report:?}\n{}", world.story());
        is_over(&world, &["w1", "m2"], "it ended").await;
        let kept = tasks(&world).await.intersection(&before).count();
        assert_eq!(kept, before.len() - moves, "what was elsewhere stays\n{}", world.story());
        let again = carry(&world, &file, &intent).await.unwrap();
        assert!(again.ending == Ending::Converged && again.steps.is_empty(), "{again:?}");
        quiet(&world);
    });
}

#[test]
fn a_run_that_was_cut_off_is_finished_by_the_next() {
    let file = spec(FILE);
    let begin = async || running(&file, 2).await;
    from_every_cut(&file, begin, &drain(&file, &["w1"]), async |world, what| is_over(world, &["w1"], what).await);
}

/// What a drain of another node left is taken back first.
#[test]
fn what_another_drain_left_is_taken_back() {
    let file = spec(FILE);
    for call in 1..60 {
        swarm_sim::run(async {
            let world = running(&file, 3).await;
            let first = drain(&file, &["w1"]);
            let _ = cut_off(&world, call, CrashPoint::AfterAnswer, carry(&world, &file, &first)).await;
            let engine = world.fleet("onlooker").engine("m1");
            let was = engine.nodes().await.unwrap().iter().any(|n| n.hostname == "w1" && n.availability == Availability::Drain);
            let report = carry(&world, &file, &drain(&file, &["m2"])).await.unwrap_or_else(|e| panic!("{call}: {e}"));
            assert_eq!(report.ending, Ending::Converged, "{call}: {report:?}\n{}", world.story());
            is_over(&world, if was { &["w1", "m2"] } else { &["m2"] }, &format!("{call}")).await;
            quiet(&world);
        });
    }
}

/// Tasks that do not run elsewhere stay where they are, the node is not drained, and that is said.
#[test]
fn what_does_not_run_elsewhere_stays() {
    let file = spec(FILE);
    swarm_sim::run(async {
        let world = running(&file, 4).await;
        let before = tasks(&world).await;
        world.image("web:1", ImageKind::Missing);
        let report = carry(&world, &file, &drain(&file, &["w1"])).await.unwrap();
        let said = format!("{:?}", failed(&report));
        assert!(report.ending != Ending::Converged && said.contains("they stay on w1") && said.contains("No such image"), "{said}");
        let live = world.fleet("onlooker").engine("m1").get(Kind::Service, "app_web").await.unwrap();
        assert_eq!((live.label("swarm.drain.was"), live.part("/Spec/TaskTemplate/Placement/Constraints")), (None, None));
        let kept = tasks(&world).await;
        assert!(before.iter().filter(|(_, node)| node == "w1").all(|task| kept.contains(task)), "{before:?} {kept:?}");
        quiet(&world);
    });
}

/// On engines: every request is answered while a node is drained, also of a service whose updates are stop-first; what cannot move is named.
#[tokio::test]
async fn a_client_sees_no_failure_of_a_drain() {
    let bed = Bed::up(1, 2).await;
    bed.write("page", "page\n");
    bed.write("app.yml", &serving("app:1", 4).replace("start-first", "stop-first"));
    let up = bed.deploy(&[]);
    assert_eq!(up.code, 0, "{up:?}");
    let create = ["service", "create", "-d", "--name", "all", "--mode", "global", "--endpoint-mode", "dnsrr", "--no-resolve-image"];
    bed.lab.docker("m1", &[&create[..], &["--stop-grace-period", "1s", "app:1", "/bin/sleep", "1000"]].concat());
    let replicas =
        |service: &str| bed.lab.docker("m1", &["service", "ls", "--filter", &format!("name={service}"), "--format", "{{.Replicas}}"]);
    eventually("the global service runs", Duration::from_secs(30), || replicas("all").trim() == "3/3").await;
    let web = || bed.lab.docker("m1", &["service", "ps", "app_web", "--filter", "desired-state=running", "--format", "{{.ID}} {{.Node}}"]);
    let inspect = || bed.lab.docker("m1", &["service", "inspect", "app_web", "--format", "{{json .Spec}}"]);
    let (tasks, spec) = (web(), inspect());
    assert!(tasks.contains(" w1"), "{tasks}");
    let client = Client::start(&bed, "w2");
    let dry = bed.swarm_first(&["node", "drain"], &["w1", "--zero-downtime", "--dry-run"]);
    assert!(
        dry.code == 2 && dry.out.contains("move-service") && dry.out.contains("service all: its 1 on w1 will stop before the drain ends"),
        "{dry:?}"
    );
    let drained = bed.swarm_first(&["node", "drain"], &["w1", "--zero-downtime", "--yes"]);
    assert_eq!(drained.code, 0, "{drained:?}");
    client.saw_no_failure().await;
    let after = web();
    assert!(after.lines().count() == 4 && !after.contains(" w1"), "{after}");
    for stays in tasks.lines().filter(|line| !line.ends_with(" w1")) {
        assert!(after.contains(stays), "{stays} was replaced: {after}");
    }
    assert_eq!(inspect(), spec, "the service is as it was deployed");
    assert_eq!(bed.swarm_first(&["node", "drain"], &["w1", "--zero-downtime"]).code, 0);
}
