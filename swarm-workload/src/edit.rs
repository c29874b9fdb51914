//! To change services that are there: scale, restart, roll back, stop an update. Everything else of them stays, also what this program does not know.

use crate::deploy::{Resolve, there_now};
use crate::diff::{Change, differences};
use crate::flags::{Given, apply_flags};
use crate::show::effect;
use crate::spec::{image_of, is_stopped};
use crate::steps::{Data, Live, Put};
use crate::stopped::{Back, at_rest, back, harm, resumed, shares, stopped};
use crate::there::{There, find, tasks, wants, wants_tasks};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use swarm_core::ClusterSpec;
use swarm_core::engine::{Kind, Object, Query};
use swarm_core::intent::{Intent, Next, Scope, SoFar};
use swarm_core::observe::Observed;
use swarm_core::plan::{Plan, Refusal, Risk, Step, Target};
use swarm_core::verify::{Finding, FindingKind, Verdict};

/// What is to change on a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// The number of its replicas.
    Scale(u64),
    /// Its tasks are replaced by new ones, by its update policy.
    Restart,
    /// The specification before the present one is put back.
    Rollback,
    /// An update of it that is under way ends where it stands; at most one more task is replaced.
    StopUpdate,
    /// What flags of `docker service update` say.
    Flags {
        /// The flags, each with its value.
        given: Vec<Given>,
        /// Whether its tasks are replaced though nothing else changes.
        force: bool,
    },
}

/// How an image is asked for.
#[derive(Debug, Clone, Default)]
pub struct ImageOptions {
    /// When the registry is asked for an image's digest.
    pub resolve: Resolve,
    /// For each image that has one, the name of the payload that is the login to its registry.
    pub logins: BTreeMap<String, String>,
    /// Whether nodes get the login too, to pull the image with.
    pub send_logins: bool,
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
    /// How images are asked for, where one changes.
    pub images: ImageOptions,
}

/// A specification whose networks are named as people name them.
fn named(mut spec: Value, names: &BTreeMap<String, String>) -> Value {
    for network in spec.pointer_mut("/TaskTemplate/Networks").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(name) = network.get("Target").and_then(Value::as_str).and_then(|id| names.get(id)).cloned()
            && let Some(map) = network.as_object_mut()
        {
            map.insert("Target".into(), Value::String(name));
        }
    }
    spec
}

impl EditServices<'_> {
    fn step(&self, service: &Object, edit: &Edit, first: bool, names: &BTreeMap<String, String>) -> Result<Option<Step>, String> {
        let mut spec = service.spec();
        let was_stopped = is_stopped(&spec);
        let live = Live { id: service.id().to_owned(), version: service.version() };
        let put = |spec: Value, force: bool, rollback: bool| {
            let put = Put { detach: self.detach, rollback, force, ..Put::new(spec, Some(live.clone())) };
            Data::Put(Box::new(put)).work()
        };
        match edit {
            Edit::Scale(replicas) => {
                let Some(mode) = spec.pointer_mut("/Mode/Replicated").and_then(Value::as_object_mut) else {
                    return Err("it has no replicas: it runs on every node, or is a job".into());
                };
                mode.insert("Replicas".into(), json!(*replicas));
                let changes = differences(service.spec(), spec.clone(), names);
                if changes.is_empty() {
                    return Ok(None);
                }
                let mut after: Vec<String> = changes.iter().map(Change::to_string).collect();
                if was_stopped {
                    after.push("its update was stopped: a change of the scale takes one task more".into());
                }
                Ok(Some(put(spec, false, false).step("there", after.join("\n"), "its scale was asked for", Risk::Tasks)))
            }
            Edit::Restart => Ok(Some(put(resumed(spec), true, false).step(
                "there",
                "every task is replaced by a new one",
                "a restart was asked for",
                Risk::Tasks,
            ))),
            Edit::Flags { given, force } => {
                let before = service.spec();
                spec = named(if first { resumed(spec) } else { spec }, names);
                apply_flags(&mut spec, given).map_err(|wrong| wrong.join("; "))?;
                if let Some(why) = harm(&spec) {
                    return Err(why);
                }
                let changes = differences(before.clone(), spec.clone(), names);
                let force = *force && first;
                if changes.is_empty() && !force {
                    return Ok(None);
                }
                let moved = changes.iter().any(|c| c.field == "Image");
                let login = self.images.logins.get(image_of(&spec)).cloned();
                let mut after: Vec<String> = changes.iter().map(Change::to_string).collect();
                after.push(if changes.is_empty() {
                    "every task is replaced by a new one".into()
                } else {
                    effect(&changes, &spec, service)
                });
                if was_stopped {
                    after.push("the update that was stopped goes on".into());
                }
                let risk = if force || changes.iter().any(Change::replaces_tasks) { Risk::Tasks } else { Risk::None };
                let put = Put {
                    resolve: self.images.resolve.asks(moved),
                    send_login: self.images.send_logins,
                    login,
                    detach: self.detach,
                    force,
                    ..Put::new(spec, Some(live))
                };
                let work = Data::Put(Box::new(put)).work();
                Ok(Some(work.step("there", after.join("\n"), "an update was asked for", risk)))
            }
            Edit::StopUpdate => {
                if at_rest(service).is_some() {
                    return Ok(None);
                }
                let put = Put { detach: true, exact: true, ..Put::new(stopped(service), Some(live)) };
                let after = "the update stops; at most one more task is replaced, and what is new stays";
                Ok(Some(Data::Put(Box::new(put)).work().step("an update goes on", after, "it was asked for", Risk::Tasks)))
            }
            Edit::Rollback => {
                let (previous, work) = match back(service).ok_or("it has no specification before the present one")? {
                    Back::Previous(previous) => (previous, put(spec, false, true)),
                    Back::Kept(kept) => {
                        let put = Put { detach: self.detach, exact: true, ..Put::new(kept.clone(), Some(live.clone())) };
                        (kept, Data::Put(Box::new(put)).work())
                    }
                };
                let changes = differences(service.spec(), previous.clone(), names);
                let after: Vec<String> = changes.iter().map(Change::to_string).collect();
                Ok(Some(work.step("there", after.join("\n"), "a rollback was asked for", Risk::Tasks)))
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
        let (mut steps, mut refusals, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        for (name, edit) in &self.edits {
            // A restart or a rollback is done once.
            if so_far.rounds > 0 && matches!(edit, Edit::Restart | Edit::Rollback) {
                continue;
            }
            if let (Edit::StopUpdate, Some(why)) = (edit, find(&there.services, name).and_then(at_rest)) {
                notes.push(format!("service {name}: {why}"));
            }
            let step = match find(&there.services, name) {
                Some(service) => self.step(service, edit, so_far.rounds == 0, &there.names),
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
        let plan = Plan::of_work(self.spec, observed, steps, if so_far.rounds == 0 { notes } else { Vec::new() });
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
            if *edit == Edit::StopUpdate {
                if let Ok(tasks) = tasks(observed) {
                    notes.push(format!("{name}: {}", shares(service, tasks)));
                }
                continue;
            }
            if running < wanted && !self.detach {
                findings.push(say(format!("service {name}: {running} of {wanted} tasks run")));
            }
            notes.push(format!("{name}: {running} of {wanted} tasks run"));
        }
        Verdict::of(findings, vec![notes.join(", ")])
    }

    fn scope(&self) -> Scope {
        Scope::Managers
    }

    fn wants(&self) -> Vec<Query> {
        if self.edits.values().any(|edit| *edit == Edit::StopUpdate) { wants_tasks() } else { wants() }
    }
}
