//! Workloads and nodes in the simulator while everything around them fails: cut off at every call, random schedules, rules broken on purpose.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use swarm_core::engine::{Body, Kind, NoPayloads, Sealed};
use swarm_core::intent::Intent;
use swarm_core::nodes::{EditNodes, NodeEdit, RemoveNodes};
use swarm_core::report::Ending;
use swarm_core::spec::Role;
use swarm_sim::{CallFault, CallKind, CrashPoint, Incident};
use swarm_tests::sim::workload::{CALLS, FILE, carry, deploy, play, quiet, ready, service, stack};
use swarm_tests::sim::{cut_off, spec};
use swarm_workload::{Deploy, DeployOptions, Emptied, Remove};

/// The tool is cut off at every call of a deploy, an update and a removal; the next run finishes.
#[test]
fn a_crash_at_any_call_and_the_next_run_goes_on() {
    let file = spec(FILE);
    for (name, before, after) in [
        ("deploy", None, Some(stack(vec![service("app_web", "web:1", 2)]))),
        ("update", Some(stack(vec![service("app_web", "web:1", 2)])), Some(stack(vec![service("app_web", "web:2", 2)]))),
        ("remove", Some(stack(vec![service("app_web", "web:1", 2)])), None),
    ] {
        for point in [CrashPoint::BeforeSend, CrashPoint::AnswerLost, CrashPoint::AfterAnswer] {
            for call in 1..200 {
                let over = swarm_sim::run(async {
                    let world = ready(&file, 8).await;
                    if let Some(before) = &before {
                        deploy(&world, &file, before, DeployOptions::default()).await;
                    }
                    let deploying = after.as_ref().map(|stack| Deploy { spec: &file, stack, options: DeployOptions::default() });
                    let removing = Remove { spec: &file, stack: "app" };
                    let intent: &dyn Intent = deploying.as_ref().map_or(&removing, |d| d);
                    let ended = cut_off(&world, call, point, carry(&world, &file, intent)).await;
                    let reached = ended.is_some();
                    if let Some(report) = ended {
                        assert_eq!(report.unwrap().ending, Ending::Converged);
                    } else {
                        let report = carry(&world, &file, intent).await.unwrap_or_else(|e| panic!("{name} {point:?} {call}: {e}"));
                        assert_eq!(report.ending, Ending::Converged, "{name} {point:?} {call}: {report:?}\n{}", world.story());
                    }
                    quiet(&world);
                    reached
                });
                if over {
                    break;
                }
            }
        }
    }
}

/// Random faults of single calls, dead hosts and elections in the middle of a deploy: rules hold, and once all is well a run converges.
#[test]
fn random_schedules() {
    let count: u64 = std::env::var("WORKLOAD_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(5000);
    let mut struck: BTreeSet<(CallKind, CallFault)> = BTreeSet::new();
    for seed in 0..count {
        struck.extend(play(seed).1.into_keys());
    }
    // Every fault struck every one of these calls: a schedule that never meets one shows nothing.
    for call in CALLS {
        let missing: Vec<CallFault> = CallFault::ALL.into_iter().filter(|fault| !struck.contains(&(call, *fault))).collect();
        assert!(count < 5000 || missing.is_empty(), "{call}: never struck by {missing:?}");
    }
}

/// Each rule is broken on purpose, and the watch says so.
#[test]
fn every_rule_about_objects_can_be_broken() {
    swarm_sim::run(async {
        let file = spec(FILE);
        let world = ready(&file, 9).await;
        deploy(&world, &file, &stack(vec![service("app_web", "web:1", 1)]), DeployOptions::default()).await;
        quiet(&world);
        let engine = world.fleet("me").engine("m1");
        let body = |spec: Value| Sealed::new(&Body::of(spec), &NoPayloads).unwrap();
        let web = engine.get(Kind::Service, "app_web").await.unwrap();
        let broken = async |rule: &str| {
            let found: Vec<&'static str> = world.violations().iter().map(|v| v.rule).collect();
            assert!(found.contains(&rule), "{rule} is not among {found:?}");
        };
        let _ = engine.update(Kind::Service, web.id(), web.version() + 7, &body(web.spec().clone()), false).await;
        broken("W1").await;
        let secret = engine.get(Kind::Secret, "app_key").await.unwrap();
        let _ = engine.remove(Kind::Secret, secret.id()).await;
        broken("W2").await;
        let mut lost = service("app_lost", "web:1", 1).spec;
        lost["TaskTemplate"]["ContainerSpec"]["Secrets"][0]["SecretID"] = json!("nowhere");
        let _ = engine.create(Kind::Service, &body(lost)).await;
        broken("W3").await;
        let theirs = engine.create(Kind::Service, &body(json!({ "Name": "theirs", "TaskTemplate": {} }))).await.unwrap();
        let _ = engine.remove(Kind::Service, &theirs).await;
        broken("W4").await;
        let mut deadly = service("app_deadly", "web:1", 1).spec;
        deadly["RollbackConfig"] = json!({ "Parallelism": 1u64 << 63 });
        let _ = engine.create(Kind::Service, &body(deadly)).await;
        broken("W5").await;
    });
}

/// A manager and a worker are taken out for good, the tool is cut off at every call, and the next run finishes: drained, out of raft, out of
/// the list, and the majority was kept.
#[test]
fn nodes_are_taken_out_from_every_cut() {
    let file = spec(FILE);
    for point in [CrashPoint::BeforeSend, CrashPoint::AnswerLost, CrashPoint::AfterAnswer] {
        for call in 1..300 {
            let over = swarm_sim::run(async {
                let world = ready(&file, 11).await;
                deploy(&world, &file, &stack(vec![service("app_web", "web:1", 4)]), DeployOptions::default()).await;
                let inner = RemoveNodes { spec: &file, hosts: vec!["m3".into(), "w1".into()], dead: Vec::new(), entries: Vec::new() };
                let intent = Emptied { inner, patience: Duration::from_secs(60) };
                let ended = cut_off(&world, call, point, carry(&world, &file, &intent)).await;
                let reached = ended.is_some();
                if let Some(report) = ended {
                    assert_eq!(report.unwrap().ending, Ending::Converged, "{}", world.story());
                } else {
                    let report = carry(&world, &file, &intent).await.unwrap_or_else(|e| panic!("{point:?} {call}: {e}\n{}", world.story()));
                    assert_eq!(report.ending, Ending::Converged, "{point:?} {call}: {report:?}\n{}", world.story());
                }
                let nodes = world.fleet("onlooker").engine("m1").nodes().await.unwrap();
                let names: BTreeSet<&str> = nodes.iter().map(|n| n.hostname.as_str()).collect();
                assert_eq!(names, BTreeSet::from(["m1", "m2"]), "{point:?} {call}");
                quiet(&world);
                reached
            });
            if over {
                break;
            }
        }
    }
}

/// What would cost the majority is refused with the numbers, and a dead manager goes first.
#[test]
fn a_majority_is_kept_when_nodes_are_taken_out() {
    swarm_sim::run(async {
        let file = spec(FILE);
        let world = ready(&file, 12).await;
        world.cause(&Incident::PowerCut("m3".into()));
        tokio::time::sleep(Duration::from_secs(40)).await;
        let remove = |hosts: &[&str], dead: &[&str]| RemoveNodes {
            spec: &file,
            hosts: hosts.iter().map(|h| (*h).into()).collect(),
            dead: dead.iter().map(|h| (*h).into()).collect(),
            entries: Vec::new(),
        };
        let refused = carry(&world, &file, &remove(&["m2"], &[])).await.unwrap_err().to_string();
        assert!(refused.contains("no majority"), "{refused}");
        let alive = carry(&world, &file, &remove(&[], &["w1"])).await.unwrap_err().to_string();
        assert!(alive.contains("not dead"), "{alive}");
        let demote = EditNodes { spec: &file, edits: BTreeMap::from([("m2".into(), NodeEdit::Role(Role::Worker))]) };
        assert!(carry(&world, &file, &demote).await.is_err());
        let report = carry(&world, &file, &remove(&[], &["m3"])).await.unwrap();
        assert_eq!(report.ending, Ending::Converged, "{report:?}\n{}", world.story());
        assert_eq!(world.fleet("onlooker").engine("m1").nodes().await.unwrap().len(), 3);
        quiet(&world);
    });
}
