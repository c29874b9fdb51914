//! To change services that are there: scale, restart, roll back. Everything else of them stays, also what this program does not know.

use crate::deploy::there_now;
use crate::diff::{Change, differences};
use crate::steps::{Data, Live, Put};
use crate::there::{There, find, wants};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use swarm_core::ClusterSpec;
use swarm_core::engine::{Kind, Object, Query};
use swarm_core::intent::{Intent, Next, SoFar};
use swarm_core::observe::Observed;
use swarm_core::plan::{Plan, Refusal, Risk, Step, Target};
use swarm_core::verify::{Finding, FindingKind, Verdict};

/// What is to change on a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// The number of its replicas.
    Scale(u64),
    /// Its tasks are replaced by new ones, by its update policy.
    Restart,
    /// The specification before the present one is put back.
    Rollback,
}

/// To change some services.
#[derive(Debug, Clone)]
pub struct EditServices<'a> {
    /// The cluster's file.
    pub spec: &'a ClusterSpec,
    /// What is to change, by the services' names.
    pub edits: BTreeMap<String, Edit>,
    /// Whether tasks are not waited for.
    pub detach: bool,
}

impl EditServices<'_> {
    fn step(&self, service: &Object, edit: Edit, names: &BTreeMap<String, String>) -> Result<Option<Step>, String> {
        let mut spec = service.spec();
        let live = Live { id: service.id().to_owned(), version: service.version() };
        let put = |spec: Value, force: bool, rollback: bool| {
            let put = Put {
                spec,
                live: Some(live),
                resolve: false,
                if_moved: false,
                login: None,
                send_login: false,
                detach: self.detach,
                rollback,
                force,
                to_the_end: false,
            };
            Data::Put(Box::new(put)).work()
        };
        match edit {
            Edit::Scale(replicas) => {
                let Some(mode) = spec.pointer_mut("/Mode/Replicated").and_then(Value::as_object_mut) else {
                    return Err("it has no replicas: it runs on every node, or is a job".into());
                };
                mode.insert("Replicas".into(), json!(replicas));
                let changes = differences(&service.spec(), &spec, names);
                if changes.is_empty() {
                    return Ok(None);
                }
                let after: Vec<String> = changes.iter().map(Change::to_string).collect();
                Ok(Some(put(spec, false, false).step("there", after.join("\n"), "its scale was asked for", Risk::Tasks)))
            }
            Edit::Restart => Ok(Some(put(spec, true, false).step(
                "there",
                "every task is replaced by a new one",
                "a restart was asked for",
                Risk::Tasks,
            ))),
            Edit::Rollback => {
                let Some(previous) = service.part("/PreviousSpec") else {
                    return Err("it has no specification before the present one".into());
                };
                let changes = differences(&service.spec(), &previous, names);
                let after: Vec<String> = changes.iter().map(Change::to_string).collect();
                Ok(Some(put(spec, false, true).step("there", after.join("\n"), "a rollback was asked for", Risk::Tasks)))
            }
        }
    }
}

impl Intent for EditServices<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        let there = match there_now(self.spec, observed, so_far) {
            Ok(there) => there,
            Err(next) => return *next,
        };
        let (mut steps, mut refusals) = (Vec::new(), Vec::new());
        for (name, edit) in &self.edits {
            // A restart or a rollback is done once.
            if so_far.rounds > 0 && !matches!(edit, Edit::Scale(_)) {
                continue;
            }
            let step = match find(&there.services, name) {
                Some(service) => self.step(service, *edit, &there.names),
                None => Err("there is no such service".to_owned()),
            };
            match step {
                Ok(step) => steps.extend(step),
                Err(why) => {
                    refusals.push(Refusal::Object { object: Target::Object { kind: Kind::Service.to_string(), name: name.clone() }, why })
                }
            }
        }
        if !refusals.is_empty() {
            return Next::Refused(refusals);
        }
        let plan = Plan::of_work(self.spec, observed, steps, Vec::new());
        if plan.is_empty() { Next::Done(plan) } else { Next::Round(plan) }
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        let say = |message: String| Finding { host: None, kind: FindingKind::Object, message };
        let there = match There::of(observed) {
            Ok(there) => there,
            Err(why) => return Verdict::of(vec![say(why)], Vec::new()),
        };
        let mut findings = Vec::new();
        let mut notes = Vec::new();
        for (name, edit) in &self.edits {
            let Some(service) = find(&there.services, name) else {
                findings.push(say(format!("service {name} is not there")));
                continue;
            };
            let count = |what: &str| service.number(&format!("/ServiceStatus/{what}")).unwrap_or(0);
            let replicas = service.number("/Spec/Mode/Replicated/Replicas");
            if let Edit::Scale(wanted) = edit
                && replicas != Some(*wanted)
            {
                findings.push(say(format!("service {name}: it has {} replicas, not {wanted}", replicas.unwrap_or(0))));
            }
            let (running, wanted) = (count("RunningTasks"), count("DesiredTasks"));
            if running < wanted && !self.detach {
                findings.push(say(format!("service {name}: {running} of {wanted} tasks run")));
            }
            notes.push(format!("{name}: {running} of {wanted} tasks run"));
        }
        Verdict::of(findings, vec![notes.join(", ")])
    }

    fn wants(&self) -> Vec<Query> {
        wants()
    }
}
