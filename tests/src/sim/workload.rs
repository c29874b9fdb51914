//! A stack on a simulated cluster, for stories about workloads.

use super::cut_off;
use super::stories::POINTS;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Mutex;
use swarm_core::driver::{NoProgress, Progress, ProgressEvent};
use swarm_core::engine::Payloads;
use swarm_core::family::{Families, Family};
use swarm_core::intent::Intent;
use swarm_core::report::{Ending, Report};
use swarm_core::secret::Secret;
use swarm_core::{Apply, ApplyError, ClusterSpec};
use swarm_sim::{SimFleet, World};
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
    let fleet = world.fleet("me");
    let run = apply(file, &fleet, &NoProgress);
    let (plan, observed) = run.plan_for(&intent).await?;
    Ok(run.run_for(&intent, &plan, &observed).await)
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
