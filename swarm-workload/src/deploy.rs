//! To bring a stack about: what differs, and the steps between.

mod data;

use crate::diff::{Change, differences};
use crate::names::{image_with_tag, rename, without_digest};
use crate::placement::nowhere;
use crate::show::{effect, summary};
use crate::spec::{IMAGE_LABEL, NAMESPACE_LABEL, ServiceWanted, Stack, StartAfter};
use crate::steps::{Create, Data, Put, Remove};
use crate::stopped::harm;
use crate::there::{There, belongs, find, is_rotation_of, kept_by, wants};
use crate::verify;
use crate::verify::lacks_tasks;
pub use data::Comparison;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use swarm_core::ClusterSpec;
use swarm_core::engine::{Body, Kind, Object, Query};
use swarm_core::id::StepId;
use swarm_core::intent::{Intent, Next, Scope, SoFar, not_now};
use swarm_core::observe::{Observed, ObservedCluster};
use swarm_core::plan::{Plan, Refusal, Risk, Step, Target};
use swarm_core::verify::Verdict;

/// How long managers that cannot list objects are asked again.
const UNKNOWN_BUDGET: Duration = Duration::from_secs(20);
/// How many objects that a rotation replaced are kept.
const KEEP: usize = 2;

/// Whether the registry is asked for an image's digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resolve {
    /// For images that changed.
    #[default]
    Changed,
    /// For every image.
    Always,
    /// For none.
    Never,
}

impl Resolve {
    /// Whether the registry is asked for an image, by whether it changed.
    pub(crate) fn asks(self, changed: bool) -> bool {
        match self {
            Self::Changed => changed,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// How a stack is deployed.
#[derive(Debug, Clone, Default)]
pub struct DeployOptions {
    /// Whether services that the file no longer has are removed.
    pub prune: bool,
    /// Whether the registry is asked.
    pub resolve: Resolve,
    /// Whether tasks are not waited for.
    pub detach: bool,
    /// Secrets that are replaced by new ones, by their names in the swarm.
    pub rotate: BTreeSet<String>,
    /// Secrets whose files a manager found to hold something else ([`Deploy::comparisons`]), by their names in the swarm: they are replaced too.
    pub differ: BTreeSet<String>,
    /// For each image that needs one, the name of the payload that is the login to its registry.
    pub logins: BTreeMap<String, String>,
    /// Whether nodes get these logins, to pull the images with; else only the registry is asked with them.
    pub send_logins: bool,
}

/// To bring a stack about.
#[derive(Debug, Clone)]
pub struct Deploy<'a> {
    /// The cluster's file.
    pub spec: &'a ClusterSpec,
    /// The stack.
    pub stack: &'a Stack,
    /// How.
    pub options: DeployOptions,
}

/// What is there for an intent about objects; or why it does not plan now.
pub(crate) fn there_now<'a>(spec: &ClusterSpec, observed: &'a Observed, so_far: SoFar) -> Result<There<'a>, Box<Next>> {
    if let Some(next) = not_now(spec, observed, so_far) {
        return Err(Box::new(next));
    }
    There::of(observed).map_err(|why| {
        Box::new(if so_far.waited < UNKNOWN_BUDGET {
            Next::Waiting { why, budget: UNKNOWN_BUDGET }
        } else {
            Next::Refused(vec![Refusal::Object { object: Target::Swarm, why }])
        })
    })
}

impl Deploy<'_> {
    /// Its steps and notes, also where the swarm is yet to be made; anything else is why there are none now.
    pub(crate) fn steps(&self, observed: &Observed, so_far: SoFar) -> Result<(Vec<Step>, Vec<String>), Box<Next>> {
        self.steps_after(observed, so_far, &mut Makes::new())
    }

    /// The same beside other stacks of one plan. `makes` has the objects that those make before, and gets those of this one.
    pub(crate) fn steps_after(&self, observed: &Observed, so_far: SoFar, makes: &mut Makes) -> Result<(Vec<Step>, Vec<String>), Box<Next>> {
        let there = match &observed.cluster {
            ObservedCluster::None => There::nothing(),
            _ => there_now(self.spec, observed, so_far)?,
        };
        let mut planner = Planner::new(self, &there);
        // What was rotated in the first round is new in the second.
        planner.first = so_far.rounds == 0;
        planner.makes.clone_from(makes);
        planner.networks();
        planner.secrets();
        planner.configs();
        planner.services();
        planner.leftovers();
        makes.clone_from(&planner.makes);
        if planner.refusals.is_empty() { Ok((planner.steps, planner.notes)) } else { Err(Box::new(Next::Refused(planner.refusals))) }
    }
}

impl Intent for Deploy<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        if matches!(observed.cluster, ObservedCluster::None) {
            return Next::Refused(vec![Refusal::NoSwarm]);
        }
        match self.steps(observed, so_far) {
            Ok((steps, notes)) => {
                let plan = Plan::of_work(self.spec, observed, steps, notes);
                if plan.is_empty() { Next::Done(plan) } else { Next::Round(plan) }
            }
            Err(next) => *next,
        }
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        verify::deployed(self.stack, self.options.detach, observed)
    }

    fn scope(&self) -> Scope {
        Scope::Managers
    }

    fn wants(&self) -> Vec<Query> {
        wants()
    }
}

/// The step that makes an object, by its kind and name.
pub(crate) type Makes = BTreeMap<(Kind, String), StepId>;

struct Planner<'a> {
    deploy: &'a Deploy<'a>,
    there: &'a There<'a>,
    steps: Vec<Step>,
    notes: Vec<String>,
    refusals: Vec<Refusal>,
    /// Whether this is the first round: what is done though nothing differs is done once.
    first: bool,
    makes: Makes,
    /// The names that secrets and configs of the file have in the swarm.
    secret_names: BTreeMap<String, String>,
    config_names: BTreeMap<String, String>,
}

impl<'a> Planner<'a> {
    fn new(deploy: &'a Deploy<'a>, there: &'a There<'a>) -> Self {
        Self {
            deploy,
            there,
            steps: Vec::new(),
            notes: Vec::new(),
            refusals: Vec::new(),
            first: false,
            makes: Makes::new(),
            secret_names: BTreeMap::new(),
            config_names: BTreeMap::new(),
        }
    }

    fn stack(&self) -> &'a str {
        &self.deploy.stack.name
    }

    fn refuse(&mut self, kind: Kind, name: &str, why: impl Into<String>) {
        self.refusals.push(Refusal::Object { object: Target::Object { kind: kind.to_string(), name: name.to_owned() }, why: why.into() });
    }

    /// Whether another stack of the plan makes it.
    fn comes(&self, kind: Kind, name: &str) -> bool {
        self.makes.contains_key(&(kind, name.to_owned()))
    }

    fn create(&mut self, kind: Kind, name: &str, body: Body, after: String, because: &str) {
        let step = Data::Create(Create { kind, body }).work().step("not there", after, because, Risk::None);
        self.makes.insert((kind, name.to_owned()), step.id.clone());
        self.steps.push(step);
    }

    fn networks(&mut self) {
        let stack = self.deploy.stack;
        for wanted in &stack.networks {
            match find(&self.there.networks, &wanted.name) {
                None => {
                    let mut spec = wanted.spec.clone();
                    if let Some(map) = spec.as_object_mut() {
                        map.insert("Name".into(), Value::String(wanted.name.clone()));
                    }
                    let driver = spec.get("Driver").and_then(Value::as_str).unwrap_or("overlay").to_owned();
                    self.create(Kind::Network, &wanted.name, Body::of(spec), format!("{driver} network"), "services of the stack use it");
                }
                Some(there) if !belongs(there, self.stack()) => {
                    self.refuse(
                        Kind::Network,
                        &wanted.name,
                        "a network of this name is there and belongs to something else; make it external or name another one",
                    );
                }
                Some(there) => {
                    for line in crate::diff::network_differences(&there.value(), &wanted.spec) {
                        self.notes.push(format!(
                            "network {} cannot be changed while it is there: {line}; remove the stack, or give the network another name",
                            wanted.name
                        ));
                    }
                }
            }
        }
        for name in &stack.external_networks {
            match find(&self.there.networks, name) {
                // Networks of the nodes themselves.
                None if matches!(name.as_str(), "host" | "bridge" | "none") || self.comes(Kind::Network, name) => {}
                None => self.refuse(Kind::Network, name, "it is external and there is no such network in the swarm; create it first"),
                Some(_) => {}
            }
        }
    }

    fn services(&mut self) {
        let mut waits_for: Vec<(StepId, Vec<String>)> = Vec::new();
        let wanted = &self.deploy.stack.services;
        // Of two of one name the first one counts.
        let there: BTreeMap<&str, &Object> = self.there.services.iter().rev().map(|o| (o.name(), *o)).collect();
        // Those that another service waits for until they have run to their end.
        let after = wanted.iter().flat_map(|other| &other.after);
        let awaited: BTreeSet<&str> = after.filter(|(_, start)| **start == StartAfter::Completed).map(|(name, _)| name.as_str()).collect();
        for wanted in wanted {
            let (mut spec, dropped) = kept_by(self.there.engine, &wanted.spec);
            for (field, since) in dropped {
                self.notes.push(format!(
                    "service {}: {field} needs engine {since}, and a manager has {}: it has no effect",
                    wanted.name, self.there.engine
                ));
            }
            rename(&mut spec, "Secrets", "SecretName", &self.secret_names);
            rename(&mut spec, "Configs", "ConfigName", &self.config_names);
            let live = there.get(wanted.name.as_str()).copied();
            if live.is_some_and(|o| !belongs(o, self.stack())) {
                self.refuse(
                    Kind::Service,
                    &wanted.name,
                    "a service of this name is there and does not belong to the stack; remove it, or name another stack",
                );
                continue;
            }
            if let Some(why) = harm(&spec) {
                self.refuse(Kind::Service, &wanted.name, why);
                continue;
            }
            let to_the_end = awaited.contains(wanted.name.as_str());
            let Some(mut step) = self.service(wanted, spec, live, to_the_end) else { continue };
            if let Some(why) = nowhere(&wanted.spec, self.there.nodes) {
                self.notes.push(format!("service {}: no node can have its tasks now ({why})", wanted.name));
            }
            for (list, key, kind) in [("Secrets", "SecretName", Kind::Secret), ("Configs", "ConfigName", Kind::Config)] {
                let names: BTreeSet<String> = wanted.refers(list, key);
                let renamed = if kind == Kind::Secret { &self.secret_names } else { &self.config_names };
                let names = names.into_iter().map(|name| renamed.get(&name).cloned().unwrap_or(name));
                step.needs.extend(names.filter_map(|name| self.makes.get(&(kind, name)).cloned()));
            }
            let networks = wanted.spec.pointer("/TaskTemplate/Networks").and_then(Value::as_array).into_iter().flatten();
            let networks = networks.filter_map(|n| n.get("Target")?.as_str());
            step.needs.extend(networks.filter_map(|name| self.makes.get(&(Kind::Network, name.to_owned())).cloned()));
            self.makes.insert((Kind::Service, wanted.name.clone()), step.id.clone());
            waits_for.push((step.id.clone(), wanted.after.keys().cloned().collect()));
            self.steps.push(step);
        }
        // What a service depends on is brought up before it.
        let mut waits_for: BTreeMap<StepId, Vec<String>> = waits_for.into_iter().collect();
        for step in &mut self.steps {
            let names = waits_for.remove(&step.id).into_iter().flatten();
            step.needs.extend(names.filter_map(|name| self.makes.get(&(Kind::Service, name)).cloned()));
        }
        let (steps, circle) = in_order(std::mem::take(&mut self.steps));
        self.steps = steps;
        if circle {
            self.notes
                .push("services depend on each other in a circle (depends_on): one of them is begun without what it depends on".into());
        }
    }

    /// The step that makes or changes a service, if it is not as wanted. `to_the_end` says whether another one waits until it has run to its end.
    fn service(&self, wanted: &ServiceWanted, spec: Value, live: Option<&Object>, to_the_end: bool) -> Option<Step> {
        let options = &self.deploy.options;
        let login = options.logins.get(wanted.image()).cloned();
        let (detach, send_login) = (options.detach, options.send_logins);
        let pulls = send_login && login.is_some();
        let put = |spec, live, changed, if_moved| {
            let resolve = options.resolve.asks(changed);
            let put = Put { resolve, if_moved, login, send_login, detach, to_the_end, ..Put::new(spec, live) };
            Data::Put(Box::new(put)).work()
        };
        let Some(there) = live else {
            let after = summary(&wanted.spec);
            return Some(put(spec, None, true, false).step("not there", after, "the stack has it", Risk::None));
        };
        let changes = differences(there.spec(), spec.clone(), &self.there.names);
        let live = crate::steps::Live { id: there.id().to_owned(), version: there.version() };
        if changes.is_empty() {
            let (before, live) = ("as the file has it", Some(live));
            return match options.resolve {
                _ if !self.first => None,
                _ if pulls && lacks_tasks(there) => {
                    let because = "its tasks do not run, and perhaps for want of a login";
                    Some(put(spec, live, true, false).step(before, "nodes get the login to its registry", because, Risk::None))
                }
                Resolve::Always => {
                    let after = "the registry is asked whether its tag has moved; where it has, its tasks are replaced";
                    Some(put(spec, live, true, true).step(before, after, "--resolve-image always", Risk::Tasks))
                }
                Resolve::Changed | Resolve::Never => None,
            };
        }
        let label = there.label(IMAGE_LABEL).map(|l| image_with_tag(&l));
        let same_image = label.is_none_or(|label| label == image_with_tag(wanted.image()))
            && image_with_tag(without_digest(&there.text("/Spec/TaskTemplate/ContainerSpec/Image").unwrap_or_default()))
                == image_with_tag(without_digest(wanted.image()));
        let risk = if changes.iter().any(Change::replaces_tasks) { Risk::Tasks } else { Risk::None };
        // The label that keeps the image says the same as the image.
        let shown = changes.iter().filter(|c| c.field != format!("Labels.{IMAGE_LABEL}") || changes.len() == 1);
        let mut after: Vec<String> = shown.map(Change::to_string).collect();
        after.push(effect(&changes, &wanted.spec, there));
        Some(put(spec, Some(live), !same_image, false).step("differs", after.join("\n"), "it differs from the file", risk))
    }

    /// Services that the file no longer has, and what rotations have left.
    fn leftovers(&mut self) {
        let stack = self.stack();
        let wanted: BTreeSet<&str> = self.deploy.stack.services.iter().map(|s| s.name.as_str()).collect();
        let gone: Vec<&Object> = self.there.services.iter().copied().filter(|o| belongs(o, stack) && !wanted.contains(o.name())).collect();
        for object in gone {
            if self.deploy.options.prune {
                self.remove(Kind::Service, object, Vec::new(), "the file no longer has it, and --prune was given");
            } else {
                self.notes.push(format!("service {} is in the stack and not in the file; --prune removes it", object.name()));
            }
        }
        // Nothing that a service may use goes beside a change of services.
        let services: Vec<StepId> = self.steps.iter().map(|s| s.id.clone()).collect();
        let mut used = BTreeSet::new();
        if !self.secret_names.is_empty() || !self.config_names.is_empty() {
            for spec in self.there.services.iter().map(|s| s.spec()) {
                used.extend(crate::spec::references(&spec, "Secrets").chain(crate::spec::references(&spec, "Configs")).filter_map(|r| {
                    let id = r.get("SecretID").or_else(|| r.get("ConfigID"))?;
                    id.as_str().map(str::to_owned)
                }));
            }
        }
        let mut old: Vec<(Kind, &Object)> = Vec::new();
        for (kind, names, objects) in
            [(Kind::Secret, &self.secret_names, &self.there.secrets), (Kind::Config, &self.config_names, &self.there.configs)]
        {
            for (base, current) in names {
                let mut before: Vec<&Object> = objects
                    .iter()
                    .copied()
                    .filter(|o| (o.name() == base || is_rotation_of(o.name(), base)) && o.name() != current && belongs(o, stack))
                    .collect();
                before.sort_by(|a, b| b.text("/CreatedAt").cmp(&a.text("/CreatedAt")));
                old.extend(before.into_iter().skip(KEEP).filter(|o| !used.contains(o.id())).map(|o| (kind, o)));
            }
        }
        for (kind, object) in old {
            self.remove(kind, object, services.clone(), "it was replaced, and two newer ones are kept");
        }
    }

    fn remove(&mut self, kind: Kind, object: &Object, needs: Vec<StepId>, because: &str) {
        self.steps.push(removal(kind, object, needs, because));
    }
}

/// The step that removes an object of a stack.
pub(crate) fn removal(kind: Kind, object: &Object, needs: Vec<StepId>, because: &str) -> Step {
    let stack = object.label(NAMESPACE_LABEL).map(Cow::into_owned);
    let remove = Remove { kind, id: object.id().to_owned(), name: object.name().to_owned(), stack };
    let risk = if kind == Kind::Service { Risk::Tasks } else { Risk::None };
    let mut step = Data::Remove(remove).work().step("there", "removed", because, risk);
    step.needs = needs;
    step
}

/// Steps in an order in which each follows what it needs, and whether services that depend on each other in a circle had to be taken as they
/// come.
fn in_order(steps: Vec<Step>) -> (Vec<Step>, bool) {
    let all: BTreeSet<StepId> = steps.iter().map(|s| s.id.clone()).collect();
    let mut done: BTreeSet<StepId> = BTreeSet::new();
    let mut waiting = steps;
    let mut sorted = Vec::with_capacity(waiting.len());
    let mut circle = false;
    loop {
        let (ready, rest): (Vec<Step>, Vec<Step>) =
            waiting.into_iter().partition(|s| s.needs.iter().all(|need| done.contains(need) || !all.contains(need)));
        waiting = rest;
        if ready.is_empty() {
            let Some(first) = waiting.first_mut() else { return (sorted, circle) };
            first.needs.retain(|need| done.contains(need) || !all.contains(need));
            circle = true;
            continue;
        }
        done.extend(ready.iter().map(|s| s.id.clone()));
        sorted.extend(ready);
    }
}
