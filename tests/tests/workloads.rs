//! Workloads in the simulator: what happens to a stack while everything around it fails, and the rules that watch every call.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;
use swarm_core::driver::{Progress, ProgressEvent};
use swarm_core::engine::Payloads;
use swarm_core::family::{Families, Family};
use swarm_core::intent::Intent;
use swarm_core::machine::Outcome;
use swarm_core::report::{Ending, Report};
use swarm_core::secret::Secret;
use swarm_core::{Apply, ApplyError, ClusterSpec};
use swarm_sim::{CallFault, CallKind, CrashPoint, FaultRule, ImageKind, Incident, World};
use swarm_tests::sim::spec;
use swarm_workload::{
    ConfigWanted, Deploy, DeployOptions, Edit, EditServices, IMAGE_LABEL, NAMESPACE_LABEL, NetworkWanted, Remove, SecretWanted,
    ServiceWanted, Stack, StartAfter, Workload,
};

const FILE: &str = "name: c\nhosts:\n  m1: { address: 10.0.0.1, role: manager }\n  m2: { address: 10.0.0.2, role: manager }\n  m3: { address: 10.0.0.3, role: manager }\n  w1: { address: 10.0.0.4, role: worker }\n";
const CONTENT: &str = "aHVudGVyMg==";
static FAMILIES: &[&dyn Family] = &[&Workload];

/// No rule was broken.
fn quiet(world: &World) {
    assert_eq!(world.violations(), Vec::new(), "{}", world.story());
}

/// The data of every secret and config.
struct Data;

impl Payloads for Data {
    fn payload(&self, _name: &str) -> Result<Secret, String> {
        Ok(Secret::new(CONTENT))
    }
}

/// Everything that an onlooker sees.
#[derive(Default)]
struct Seen(Mutex<String>);

impl Progress for Seen {
    fn report(&self, event: &ProgressEvent) {
        *self.0.lock().unwrap() += &serde_json::to_string(event).unwrap();
    }
}

fn service(name: &str, image: &str, replicas: u64) -> ServiceWanted {
    let spec = json!({
        "Name": name,
        "Labels": { NAMESPACE_LABEL: "app", IMAGE_LABEL: image },
        "Mode": { "Replicated": { "Replicas": replicas } },
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": image,
                "Secrets": [{ "File": { "Name": "key", "UID": "0", "GID": "0", "Mode": 292 }, "SecretName": "app_key" }],
                "Configs": [{ "File": { "Name": "conf", "UID": "0", "GID": "0", "Mode": 292 }, "ConfigName": "app_conf" }],
            },
            "Networks": [{ "Target": "app_default", "Aliases": [name] }],
        },
    });
    ServiceWanted { name: name.to_owned(), spec, after: BTreeMap::new() }
}

fn stack(services: Vec<ServiceWanted>) -> Stack {
    let labels = json!({ NAMESPACE_LABEL: "app" });
    // SHA-256 of what `CONTENT` is.
    let digest = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7".to_owned();
    Stack {
        name: "app".into(),
        networks: vec![NetworkWanted { name: "app_default".into(), spec: json!({ "Driver": "overlay", "Labels": labels }) }],
        secrets: vec![SecretWanted { name: "app_key".into(), spec: json!({ "Labels": labels }), payload: Some("secret:app_key".into()) }],
        configs: vec![ConfigWanted {
            name: "app_conf".into(),
            spec: json!({ "Labels": labels }),
            payload: "config:app_conf".into(),
            digest,
        }],
        services,
        ..Stack::default()
    }
}

fn apply<'a>(spec: &'a ClusterSpec, fleet: &'a swarm_sim::SimFleet, seen: &'a dyn Progress) -> Apply<'a, swarm_sim::SimFleet> {
    Apply::new(spec, fleet).families(Families(FAMILIES)).payloads(&Data).progress(seen)
}

async fn cluster(world: &World, file: &ClusterSpec) {
    let fleet = world.fleet("founder");
    let run = Apply::new(file, &fleet);
    let (plan, observed) = run.plan().await.unwrap();
    assert_eq!(run.run(&plan, &observed).await.ending, Ending::Converged);
}

async fn carry<'a>(world: &World, file: &'a ClusterSpec, intent: &'a dyn Intent) -> Result<Report, ApplyError> {
    let fleet = world.fleet("me");
    let run = apply(file, &fleet, &swarm_core::driver::NoProgress);
    let (plan, observed) = run.plan_for(&intent).await?;
    Ok(run.run_for(&intent, &plan, &observed).await)
}

async fn deploy(world: &World, file: &ClusterSpec, stack: &Stack, options: DeployOptions) -> Report {
    let intent = Deploy { spec: file, stack, options };
    carry(world, file, &intent).await.unwrap_or_else(|e| panic!("{e}\n{}", world.story()))
}

/// A world with a cluster, in which what `me` does to the stack is watched.
async fn ready(file: &ClusterSpec, seed: u64) -> World {
    let world = World::of(file, seed);
    world.record();
    cluster(&world, file).await;
    world.watch_stack("me", "app");
    world
}

fn failed(report: &Report) -> Vec<(String, String)> {
    let bad = report.steps.iter().filter(|s| !s.outcome.is_done());
    bad.map(|s| (s.id.to_string(), serde_json::to_string(&s.outcome).unwrap())).collect()
}

#[test]
fn a_stack_comes_up_and_then_nothing_is_to_do() {
    swarm_sim::run(async {
        let file = spec(FILE);
        let world = ready(&file, 1).await;
        let mut web = service("app_web", "web:1", 3);
        web.after.insert("app_db".into(), StartAfter::Started);
        let wanted = stack(vec![web, service("app_db", "db:1", 1)]);
        let report = deploy(&world, &file, &wanted, DeployOptions::default()).await;
        assert_eq!((report.ending, failed(&report)), (Ending::Converged, Vec::new()), "{}", world.story());
        let order: Vec<&str> = report.steps.iter().map(|s| s.id.as_str()).collect();
        let at = |name: &str| order.iter().position(|id| id.contains(name)).unwrap();
        assert!(at("app_default") < at("app_db") && at("app_db") < at("app_web"), "{order:?}");
        let (_, before) = world.calls();
        let again = deploy(&world, &file, &wanted, DeployOptions::default()).await;
        assert_eq!((again.ending, again.steps.len(), world.calls().1), (Ending::Converged, 0, before));
        let removed = carry(&world, &file, &Remove { spec: &file, stack: "app" }).await.unwrap();
        assert_eq!((removed.ending, removed.steps.len()), (Ending::Converged, 5), "{}", world.story());
        // The same name can be deployed at once.
        assert_eq!(deploy(&world, &file, &wanted, DeployOptions::default()).await.ending, Ending::Converged, "{}", world.story());
        quiet(&world);
    });
}

#[test]
fn updates_that_fail_say_what_failed() {
    for (action, ending) in [("pause", Ending::Paused), ("rollback", Ending::RolledBack)] {
        swarm_sim::run(async {
            let file = spec(FILE);
            let world = ready(&file, 2).await;
            world.image("web:bad", ImageKind::Missing);
            deploy(&world, &file, &stack(vec![service("app_web", "web:1", 3)]), DeployOptions::default()).await;
            let mut bad = service("app_web", "web:bad", 3);
            bad.spec["UpdateConfig"] = json!({ "FailureAction": action });
            let report = deploy(&world, &file, &stack(vec![bad]), DeployOptions::default()).await;
            assert_eq!(report.ending, ending, "{}", world.story());
            let said = serde_json::to_string(&report).unwrap();
            assert!(said.contains("No such image: web:bad") && said.contains("app_web."), "{said}");
            quiet(&world);
        });
    }
}

#[test]
fn a_new_service_that_cannot_run_ends_the_wait_with_its_reason() {
    let file = spec(FILE);
    for (image, constraint, reason) in
        [("gone:1", None, "No such image"), ("crash:1", None, "non-zero exit"), ("web:1", Some("node.labels.x==y"), "no suitable node")]
    {
        swarm_sim::run(async {
            let world = ready(&file, 3).await;
            world.image("gone:1", ImageKind::Missing);
            world.image("crash:1", ImageKind::Crashes);
            let mut bad = service("app_bad", image, 2);
            if let Some(constraint) = constraint {
                bad.spec["TaskTemplate"]["Placement"] = json!({ "Constraints": [constraint] });
            }
            let report = deploy(&world, &file, &stack(vec![bad, service("app_good", "web:1", 1)]), DeployOptions::default()).await;
            let bad = report.steps.iter().find(|s| s.id.as_str().contains("app_bad")).unwrap();
            assert!(matches!(&bad.outcome, Outcome::Failed { message } if message.contains(reason)), "{image}: {:?}", bad.outcome);
            assert!(report.steps.iter().find(|s| s.id.as_str().contains("app_good")).unwrap().outcome.is_done());
            quiet(&world);
        });
    }
}

#[test]
fn two_deploys_at_once_and_the_second_stops() {
    swarm_sim::run(async {
        let file = spec(FILE);
        let world = ready(&file, 4).await;
        deploy(&world, &file, &stack(vec![service("app_web", "web:1", 1)]), DeployOptions::default()).await;
        let (mine, theirs) = (stack(vec![service("app_web", "web:2", 1)]), stack(vec![service("app_web", "web:3", 1)]));
        let fleet = world.fleet("me");
        let run = apply(&file, &fleet, &swarm_core::driver::NoProgress);
        let intent = Deploy { spec: &file, stack: &mine, options: DeployOptions::default() };
        let (plan, observed) = run.plan_for(&intent).await.unwrap();
        let other = Deploy { spec: &file, stack: &theirs, options: DeployOptions::default() };
        let their_fleet = world.fleet("other");
        let their_run = apply(&file, &their_fleet, &swarm_core::driver::NoProgress);
        let (their_plan, their_look) = their_run.plan_for(&other).await.unwrap();
        assert_eq!(their_run.run_for(&other, &their_plan, &their_look).await.ending, Ending::Converged);
        let report = run.run_for(&intent, &plan, &observed).await;
        let said = serde_json::to_string(&report).unwrap();
        assert!(report.ending != Ending::Converged && said.contains("plan again"), "{said}");
        quiet(&world);
    });
}

#[test]
fn scale_restart_and_rollback_change_nothing_else() {
    swarm_sim::run(async {
        let file = spec(FILE);
        let world = ready(&file, 5).await;
        let mut first = service("app_web", "web:1", 1);
        first.spec["TaskTemplate"]["ContainerSpec"]["OfANewerEngine"] = json!({ "kept": true });
        deploy(&world, &file, &stack(vec![first.clone()]), DeployOptions::default()).await;
        let engine = world.fleet("onlooker").engine("m1");
        let live = async || engine.get(swarm_core::engine::Kind::Service, "app_web").await.unwrap();
        for (edit, check) in [
            (Edit::Scale(3), "/Spec/Mode/Replicated/Replicas"),
            (Edit::Restart, "/Spec/TaskTemplate/ForceUpdate"),
            (Edit::Rollback, "/Spec/Mode/Replicated/Replicas"),
        ] {
            let before = live().await;
            let intent = EditServices { spec: &file, edits: BTreeMap::from([("app_web".to_owned(), edit)]), detach: false };
            let report = carry(&world, &file, &intent).await.unwrap();
            assert_eq!(report.ending, Ending::Converged, "{edit:?}: {report:?}\n{}", world.story());
            let after = live().await;
            assert!(edit == Edit::Rollback || before.0.pointer(check) != after.0.pointer(check), "{edit:?}: {}", after.0);
            assert_eq!(after.0.pointer("/Spec/TaskTemplate/ContainerSpec/OfANewerEngine"), Some(&json!({ "kept": true })), "{edit:?}");
        }
        quiet(&world);
    });
}

#[test]
fn a_secret_is_rotated_and_the_old_ones_go() {
    swarm_sim::run(async {
        let file = spec(FILE);
        let world = ready(&file, 6).await;
        let wanted = stack(vec![service("app_web", "web:1", 1)]);
        deploy(&world, &file, &wanted, DeployOptions::default()).await;
        let engine = world.fleet("onlooker").engine("m1");
        let mut used = BTreeSet::new();
        for _ in 0..5 {
            let options = DeployOptions { rotate: BTreeSet::from(["app_key".to_owned()]), ..DeployOptions::default() };
            let report = deploy(&world, &file, &wanted, options).await;
            assert_eq!(report.ending, Ending::Converged, "{report:?}\n{}", world.story());
            let live = engine.get(swarm_core::engine::Kind::Service, "app_web").await.unwrap();
            used.insert(live.text("/Spec/TaskTemplate/ContainerSpec/Secrets/0/SecretName").unwrap().to_owned());
        }
        assert_eq!(used.len(), 5, "{used:?}");
        let left = engine.list(&swarm_core::engine::Query::all(swarm_core::engine::Kind::Secret)).await.unwrap();
        assert!(left.len() <= 4, "{} secrets are left", left.len());
        assert_eq!(deploy(&world, &file, &wanted, DeployOptions::default()).await.steps.len(), 0);
        quiet(&world);
    });
}

/// No secret's data is in a plan, an event, a report or the story of the calls.
#[test]
fn the_data_of_secrets_is_nowhere() {
    swarm_sim::run(async {
        let file = spec(FILE);
        let world = ready(&file, 7).await;
        let wanted = stack(vec![service("app_web", "web:1", 1)]);
        let (fleet, seen) = (world.fleet("me"), Seen::default());
        let run = apply(&file, &fleet, &seen);
        let intent = Deploy { spec: &file, stack: &wanted, options: DeployOptions::default() };
        let (plan, observed) = run.plan_for(&intent).await.unwrap();
        let report = run.run_for(&intent, &plan, &observed).await;
        assert_eq!(report.ending, Ending::Converged);
        let all = format!("{}{:?}{report:?}{}{}", serde_json::to_string(&plan).unwrap(), plan, seen.0.lock().unwrap(), world.story());
        assert!(!all.contains(CONTENT) && !all.contains("hunter2"));
        // It arrived all the same.
        let configs = fleet.engine("m1").list(&swarm_core::engine::Query::all(swarm_core::engine::Kind::Config)).await.unwrap();
        assert_eq!(configs[0].text("/Spec/Data"), Some(CONTENT));
    });
}

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
                    world.crash_at(call, point);
                    let reached = tokio::select! {
                        biased;
                        () = world.crashed() => false,
                        report = carry(&world, &file, intent) => {
                            assert_eq!(report.unwrap().ending, Ending::Converged);
                            true
                        }
                    };
                    world.recover();
                    if !reached {
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
    let file = spec(FILE);
    for seed in 0..count {
        swarm_sim::run(async {
            let world = ready(&file, seed).await;
            let mut rng = fastrand::Rng::with_seed(seed);
            let first = stack((0..rng.u64(1..4)).map(|n| service(&format!("app_s{n}"), "web:1", rng.u64(0..4))).collect());
            if rng.bool() {
                deploy(&world, &file, &first, DeployOptions::default()).await;
            }
            let second = stack(
                (0..rng.u64(1..4)).map(|n| service(&format!("app_s{n}"), &format!("web:{}", rng.u64(1..3)), rng.u64(0..4))).collect(),
            );
            for _ in 0..rng.u64(0..3) {
                let calls =
                    [CallKind::CreateObject, CallKind::UpdateObject, CallKind::RemoveObject, CallKind::ListObjects, CallKind::GetObject];
                world.fault_rule(FaultRule {
                    host: None,
                    call: Some(calls[rng.usize(0..calls.len())]),
                    skip: rng.u32(0..4),
                    times: rng.u32(1..3),
                    fault: CallFault::ALL[rng.usize(0..CallFault::ALL.len())],
                });
            }
            let prune = rng.bool();
            let mut chance = fastrand::Rng::with_seed(seed ^ 0x5eed);
            let trouble = async {
                let rng = &mut chance;
                tokio::time::sleep(Duration::from_millis(rng.u64(0..4000))).await;
                match rng.u64(0..4) {
                    0 => {
                        world.cause(&Incident::Reboot(["m1", "m2", "m3"][rng.usize(0..3)].into()));
                    }
                    1 => {
                        world.cause(&Incident::Isolated(["m1", "m2", "w1"][rng.usize(0..3)].into()));
                    }
                    _ => {}
                }
            };
            let options = DeployOptions { prune, ..DeployOptions::default() };
            let intent = Deploy { spec: &file, stack: &second, options };
            let (ended, ()) = tokio::join!(carry(&world, &file, &intent), trouble);
            world.no_more_faults();
            world.mend();
            tokio::time::sleep(Duration::from_secs(60)).await;
            let report = carry(&world, &file, &intent).await.unwrap_or_else(|e| panic!("seed {seed}: {e}\n{}", world.story()));
            assert_eq!(report.ending, Ending::Converged, "seed {seed}: {report:?}, first {ended:?}\n{}", world.story());
            quiet(&world);
        });
    }
}

/// Each rule is broken on purpose, and the watch says so.
#[test]
fn every_rule_about_objects_can_be_broken() {
    use swarm_core::engine::{Body, Kind, NoPayloads, Sealed};
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
    });
}

/// A manager and a worker are taken out for good, the tool is cut off at every call, and the next run finishes: drained, out of raft, out of
/// the list, and the majority was kept.
#[test]
fn nodes_are_taken_out_from_every_cut() {
    use swarm_core::nodes::RemoveNodes;
    use swarm_workload::Emptied;
    let file = spec(FILE);
    for point in [CrashPoint::BeforeSend, CrashPoint::AnswerLost, CrashPoint::AfterAnswer] {
        for call in 1..300 {
            let over = swarm_sim::run(async {
                let world = ready(&file, 11).await;
                deploy(&world, &file, &stack(vec![service("app_web", "web:1", 4)]), DeployOptions::default()).await;
                let inner = RemoveNodes { spec: &file, hosts: vec!["m3".into(), "w1".into()], dead: Vec::new() };
                let intent = Emptied { inner, patience: Duration::from_secs(60) };
                world.crash_at(call, point);
                let reached = tokio::select! {
                    biased;
                    () = world.crashed() => false,
                    report = carry(&world, &file, &intent) => {
                        assert_eq!(report.unwrap().ending, Ending::Converged, "{}", world.story());
                        true
                    }
                };
                world.recover();
                if !reached {
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
    use swarm_core::nodes::{EditNodes, NodeEdit, RemoveNodes};
    swarm_sim::run(async {
        let file = spec(FILE);
        let world = ready(&file, 12).await;
        world.cause(&Incident::PowerCut("m3".into()));
        tokio::time::sleep(Duration::from_secs(40)).await;
        let remove = |hosts: &[&str], dead: &[&str]| RemoveNodes {
            spec: &file,
            hosts: hosts.iter().map(|h| (*h).into()).collect(),
            dead: dead.iter().map(|h| (*h).into()).collect(),
        };
        let refused = carry(&world, &file, &remove(&["m2"], &[])).await.unwrap_err().to_string();
        assert!(refused.contains("no majority"), "{refused}");
        let alive = carry(&world, &file, &remove(&[], &["w1"])).await.unwrap_err().to_string();
        assert!(alive.contains("not dead"), "{alive}");
        let demote = EditNodes { spec: &file, edits: BTreeMap::from([("m2".into(), NodeEdit::Role(swarm_core::spec::Role::Worker))]) };
        assert!(carry(&world, &file, &demote).await.is_err());
        let report = carry(&world, &file, &remove(&[], &["m3"])).await.unwrap();
        assert_eq!(report.ending, Ending::Converged, "{report:?}\n{}", world.story());
        assert_eq!(world.fleet("onlooker").engine("m1").nodes().await.unwrap().len(), 3);
        quiet(&world);
    });
}

#[test]
fn services_wait_for_what_they_depend_on() {
    let file = spec(FILE);
    let once = |image: &str| {
        let mut once = service("app_once", image, 1);
        once.spec["TaskTemplate"]["RestartPolicy"] = json!({ "Condition": "none" });
        once
    };
    let web = |when: StartAfter| {
        let mut web = service("app_web", "web:1", 1);
        web.after.insert("app_once".into(), when);
        web
    };
    swarm_sim::run(async {
        let world = ready(&file, 13).await;
        world.image("once:1", ImageKind::Ends);
        world.image("once:bad", ImageKind::Crashes);
        let good = deploy(&world, &file, &stack(vec![web(StartAfter::Completed), once("once:1")]), DeployOptions::default()).await;
        assert_eq!(good.ending, Ending::Converged, "{good:?}\n{}", world.story());
        carry(&world, &file, &Remove { spec: &file, stack: "app" }).await.unwrap();
        let bad = deploy(&world, &file, &stack(vec![web(StartAfter::Completed), once("once:bad")]), DeployOptions::default()).await;
        let said = failed(&bad);
        assert!(said.iter().any(|(id, why)| id.contains("app_once") && why.contains("does not start it again")), "{said:?}");
        assert!(said.iter().any(|(id, why)| id.contains("app_web") && why.contains("blocked")), "{said:?}");
        quiet(&world);
    });
    // A circle is no order: one of them is begun without the other.
    swarm_sim::run(async {
        let world = ready(&file, 14).await;
        let mut a = service("app_a", "web:1", 1);
        a.after.insert("app_b".into(), StartAfter::Started);
        let mut b = service("app_b", "web:1", 1);
        b.after.insert("app_a".into(), StartAfter::Started);
        let report = deploy(&world, &file, &stack(vec![a, b]), DeployOptions::default()).await;
        assert_eq!(report.ending, Ending::Converged, "{report:?}");
        assert!(report.notes.iter().any(|n| n.contains("in a circle")), "{:?}", report.notes);
    });
}

/// What a rotation leaves goes after the services that are pruned, in one plan.
#[test]
fn pruning_and_rotating_in_one_plan() {
    swarm_sim::run(async {
        let file = spec(FILE);
        let world = ready(&file, 15).await;
        let services = |count: usize| (0..count).map(|n| service(&format!("app_s{n}"), "web:1", 1)).collect();
        deploy(&world, &file, &stack(services(6)), DeployOptions::default()).await;
        for count in [5, 4, 3, 2, 1] {
            let rotate = BTreeSet::from(["app_key".to_owned()]);
            let report =
                deploy(&world, &file, &stack(services(count)), DeployOptions { prune: true, rotate, ..DeployOptions::default() }).await;
            assert_eq!(report.ending, Ending::Converged, "{count}: {report:?}\n{}", world.story());
        }
        quiet(&world);
    });
}

/// Where no node can have a service's tasks, that is said before anything is changed, node by node.
#[test]
fn a_service_without_a_place_is_named_beforehand() {
    swarm_sim::run(async {
        let file = spec(FILE);
        let world = ready(&file, 16).await;
        let mut web = service("app_web", "web:1", 1);
        web.spec["TaskTemplate"]["Placement"] = json!({ "Constraints": ["node.labels.disk == ssd"] });
        let wanted = stack(vec![web]);
        let fleet = world.fleet("me");
        let run = apply(&file, &fleet, &swarm_core::driver::NoProgress);
        let intent = Deploy { spec: &file, stack: &wanted, options: DeployOptions::default() };
        let (plan, _) = run.plan_for(&intent).await.unwrap();
        let note = plan.notes.iter().find(|n| n.contains("no node can have its tasks")).unwrap();
        assert!(["m1", "m2", "m3", "w1"].iter().all(|n| note.contains(&format!("{n}: node.labels.disk is not set"))), "{note}");
    });
}
