//! A stack on a simulated cluster, for stories about workloads.

use super::stories::POINTS;
use super::{cut_off, report_lines, short};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;
use swarm_core::driver::{Progress, ProgressEvent};
use swarm_core::engine::Payloads;
use swarm_core::family::{Families, Family};
use swarm_core::intent::Intent;
use swarm_core::report::{Ending, Report};
use swarm_core::secret::Secret;
use swarm_core::{Apply, ApplyError, ClusterSpec};
use swarm_sim::{CallFault, CallKind, FaultRule, Incident, SimFleet, World};
use swarm_workload::{
    ConfigWanted, Deploy, DeployOptions, IMAGE_LABEL, NAMESPACE_LABEL, NetworkWanted, SecretWanted, ServiceWanted, Stack, Workload,
};

/// Three managers and a worker.
pub const FILE: &str = "name: c\nhosts:\n  m1: { address: 10.0.0.1, role: manager }\n  m2: { address: 10.0.0.2, role: manager }\n  m3: { address: 10.0.0.3, role: manager }\n  w1: { address: 10.0.0.4, role: worker }\n";
/// What every secret and config holds, in base64.
pub const CONTENT: &str = "aHVudGVyMg==";
static FAMILIES: &[&dyn Family] = &[&Workload];

/// No rule was broken.
pub fn quiet(world: &World) {
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
pub struct Seen(pub Mutex<String>);

impl Progress for Seen {
    fn report(&self, event: &ProgressEvent) {
        *self.0.lock().unwrap() += &serde_json::to_string(event).unwrap();
    }
}

/// A replicated service of the stack `app` with its secret, its config and its network.
pub fn service(name: &str, image: &str, replicas: u64) -> ServiceWanted {
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

/// The stack `app` with these services.
pub fn stack(services: Vec<ServiceWanted>) -> Stack {
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

/// The runner with the family of workloads, and data for its payloads.
pub fn apply<'a>(spec: &'a ClusterSpec, fleet: &'a SimFleet, seen: &'a dyn Progress) -> Apply<'a, SimFleet> {
    Apply::new(spec, fleet).families(Families(FAMILIES)).payloads(&Data).progress(seen)
}

async fn cluster(world: &World, file: &ClusterSpec) {
    let fleet = world.fleet("founder");
    let run = Apply::new(file, &fleet);
    let (plan, observed) = run.plan().await.unwrap();
    assert_eq!(run.run(&plan, &observed).await.ending, Ending::Converged);
}

/// Cuts a run off at each of its calls, at each point of one, and lets the next run finish: it arrives, no rule is broken, and `is_over` says
/// what came of it.
pub fn from_every_cut(file: &ClusterSpec, begin: impl AsyncFn() -> World, intent: &dyn Intent, is_over: impl AsyncFn(&World, &str)) {
    for point in POINTS {
        for call in 1..200 {
            let what = format!("{point:?} {call}");
            let over = swarm_sim::run(async {
                let world = begin().await;
                let ended = cut_off(&world, call, point, carry(&world, file, intent)).await;
                let reached = ended.is_some();
                ended.into_iter().for_each(|report| assert_eq!(report.unwrap().ending, Ending::Converged, "{what}"));
                let report = carry(&world, file, intent).await.unwrap_or_else(|e| panic!("{what}: {e}"));
                assert_eq!(report.ending, Ending::Converged, "{what}: {report:?}\n{}", world.story());
                is_over(&world, &what).await;
                quiet(&world);
                reached
            });
            if over {
                break;
            }
        }
    }
}

/// Plans and carries out, as the operator `me`.
///
/// # Errors
/// Why nothing was done.
pub async fn carry<'a>(world: &World, file: &'a ClusterSpec, intent: &'a dyn Intent) -> Result<Report, ApplyError> {
    let (fleet, remarks) = (world.fleet("me"), Remarks(world));
    let run = apply(file, &fleet, &remarks);
    let (plan, observed) = run.plan_for(&intent).await?;
    let report = run.run_for(&intent, &plan, &observed).await;
    report_lines(&report).into_iter().for_each(|line| world.remark("me", line));
    Ok(report)
}

/// What is heard is part of the story.
struct Remarks<'a>(&'a World);

impl Progress for Remarks<'_> {
    fn report(&self, event: &ProgressEvent) {
        self.0.remark("tool", short(event));
    }
}

/// The calls about objects.
pub const CALLS: [CallKind; 5] =
    [CallKind::CreateObject, CallKind::UpdateObject, CallKind::RemoveObject, CallKind::ListObjects, CallKind::GetObject];

/// A random deploy: faults of single calls, a dead host or an election in the middle of it. Rules hold, and once all is well a run converges.
/// Gives what happened, line by line, and which faults struck which calls.
pub fn play(seed: u64) -> (String, BTreeMap<(CallKind, CallFault), u64>) {
    let file = super::spec(FILE);
    swarm_sim::run(async {
        let world = ready(&file, seed).await;
        let mut rng = fastrand::Rng::with_seed(seed);
        let first = stack((0..rng.u64(1..4)).map(|n| service(&format!("app_s{n}"), "web:1", rng.u64(0..4))).collect());
        if rng.bool() {
            deploy(&world, &file, &first, DeployOptions::default()).await;
        }
        let second =
            stack((0..rng.u64(1..4)).map(|n| service(&format!("app_s{n}"), &format!("web:{}", rng.u64(1..3)), rng.u64(0..4))).collect());
        for _ in 0..rng.u64(0..3) {
            world.fault_rule(FaultRule {
                host: None,
                call: Some(CALLS[rng.usize(0..CALLS.len())]),
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
        let intent = Deploy { spec: &file, stack: &second, options: DeployOptions { prune, ..DeployOptions::default() } };
        let (ended, ()) = tokio::join!(carry(&world, &file, &intent), trouble);
        world.no_more_faults();
        world.mend();
        tokio::time::sleep(Duration::from_secs(60)).await;
        let report = carry(&world, &file, &intent).await.unwrap_or_else(|e| panic!("seed {seed}: {e}\n{}", world.story()));
        assert_eq!(report.ending, Ending::Converged, "seed {seed}: {report:?}, first {ended:?}\n{}", world.story());
        quiet(&world);
        (world.story(), world.hits())
    })
}

/// Deploys a stack, as the operator `me`.
pub async fn deploy(world: &World, file: &ClusterSpec, stack: &Stack, options: DeployOptions) -> Report {
    let intent = Deploy { spec: file, stack, options };
    carry(world, file, &intent).await.unwrap_or_else(|e| panic!("{e}\n{}", world.story()))
}

/// A world with a cluster, in which what `me` does to the stack is watched.
pub async fn ready(file: &ClusterSpec, seed: u64) -> World {
    let world = World::of(file, seed);
    world.record();
    cluster(&world, file).await;
    world.watch_stack("me", "app");
    world
}

/// Steps that are not done, with how they ended.
pub fn failed(report: &Report) -> Vec<(String, String)> {
    let bad = report.steps.iter().filter(|s| !s.outcome.is_done());
    bad.map(|s| (s.id.to_string(), serde_json::to_string(&s.outcome).unwrap())).collect()
}
