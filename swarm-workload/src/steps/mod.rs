//! Steps of workloads: each kind is a file with its data, what it asks, and what ends it.

mod balanced;
mod drained;
mod edited;
mod object;
mod served;
mod service;
mod vacated;

use balanced::Spread;
use drained::WaitDrained;
use edited::EditObject;
use object::{CreateObject, RemoveObject};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use served::Serve;
use service::PutService;
use std::collections::BTreeSet;
use swarm_core::engine::Kind;
use swarm_core::family::Family;
use swarm_core::id::{HostName, NodeId, StepId};
use swarm_core::machine::{Outcome, Task};
use swarm_core::observe::Observed;
use swarm_core::plan::{Action, LintFinding, Plan, PlanPurpose, Step, Target, Work};
use vacated::Vacate;

pub(crate) use balanced::{Balanced, LABEL as BALANCE_LABEL};
pub(crate) use drained::Drained;
pub(crate) use edited::{Edited, Labelled};
pub(crate) use object::{Create, Remove};
pub(crate) use served::Served;
pub(crate) use service::{Live, Put};
pub(crate) use vacated::{Vacated, against, was};

/// The name of this family in plans.
pub(crate) const NAME: &str = "workload";

/// Every kind of step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Data {
    /// Make a network, a secret or a config.
    Create(Create),
    /// Make or change a service, and wait for its tasks.
    Put(Box<Put>),
    /// Remove an object; a service's tasks are waited for.
    Remove(Remove),
    /// Wait until no task runs on a node.
    Drained(Drained),
    /// Change a node by what managers keep of it.
    Edited(Edited),
    /// Change the labels of a secret or a config.
    Labelled(Labelled),
    /// Run a program on a drained host.
    Served(Served),
    /// Spread the tasks of a service.
    Balanced(Balanced),
    /// Make the tasks of a service leave a node, or take back what made them.
    Vacated(Vacated),
}

impl Data {
    fn verb(&self) -> String {
        match self {
            Self::Create(create) => format!("create-{}", create.kind),
            Self::Put(put) if put.is_new() => "create-service".into(),
            Self::Put(_) => "update-service".into(),
            Self::Remove(remove) => format!("remove-{}", remove.kind),
            Self::Drained(_) => "wait-drained".into(),
            Self::Edited(_) => "edit-node".into(),
            Self::Labelled(labelled) => format!("label-{}", labelled.kind),
            Self::Served(_) => "run".into(),
            Self::Balanced(_) => "spread-service".into(),
            Self::Vacated(vacated) if vacated.node.is_empty() => "restore-service".into(),
            Self::Vacated(_) => "move-service".into(),
        }
    }

    fn target(&self) -> Target {
        let (kind, name) = match self {
            Self::Create(create) => (create.kind, create.name()),
            Self::Put(put) => (Kind::Service, put.name()),
            Self::Remove(remove) => (remove.kind, remove.name.as_str()),
            Self::Balanced(balanced) => (Kind::Service, balanced.name.as_str()),
            Self::Vacated(vacated) => (Kind::Service, vacated.name.as_str()),
            Self::Labelled(labelled) => (labelled.kind, labelled.name.as_str()),
            Self::Edited(edited) => return Target::Node(NodeId::new(edited.node.clone())),
            Self::Drained(drained) if drained.stranger => return Target::Node(NodeId::new(drained.node.clone())),
            Self::Drained(drained) => return Target::Host(HostName::new(drained.host.clone())),
            Self::Served(served) => return Target::Host(HostName::new(served.host.clone())),
        };
        Target::Object { kind: kind.to_string(), name: name.to_owned() }
    }

    pub(crate) fn work(self) -> Work {
        let (verb, target) = (self.verb(), self.target());
        Work { family: NAME.into(), verb, target, data: serde_json::to_value(self).unwrap_or(Value::Null) }
    }
}

/// This family: services and what they need.
#[derive(Debug, Clone, Copy, Default)]
pub struct Workload;

fn read(work: &Work) -> Result<Data, String> {
    let data: Data = serde_json::from_value(work.data.clone()).map_err(|e| format!("its data cannot be read: {e}"))?;
    if data.verb() != work.verb || data.target() != work.target {
        return Err("its data is not about what it says it is about".into());
    }
    Ok(data)
}

impl Family for Workload {
    fn name(&self) -> &'static str {
        NAME
    }

    fn task(&self, work: &Work) -> Result<Box<dyn Task>, String> {
        Ok(match read(work)? {
            Data::Create(create) => Box::new(CreateObject::new(create)),
            Data::Put(put) => Box::new(PutService::new(*put)),
            Data::Remove(remove) => Box::new(RemoveObject::new(remove)),
            Data::Drained(drained) => Box::new(WaitDrained::new(drained)),
            Data::Edited(edited) => Box::new(EditObject::node(edited)),
            Data::Labelled(labelled) => Box::new(EditObject::labels(labelled)),
            Data::Served(served) => Box::new(Serve::new(served)),
            Data::Balanced(balanced) => Box::new(Spread::new(balanced)),
            Data::Vacated(vacated) => Box::new(Vacate::new(vacated)),
        })
    }

    fn lint(&self, plan: &Plan, _observed: &Observed) -> Vec<LintFinding> {
        let steps: Vec<(&Step, Data)> = plan
            .steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::Work(work) if work.family == NAME => Some((step, read(work).ok()?)),
                _ => None,
            })
            .collect();
        let mut found = Vec::new();
        let mut say = |step: &Step, what: String| found.push(LintFinding::harmful(step, what));
        for (step, data) in &steps {
            match data {
                // What a service refers to and this plan makes comes first.
                Data::Put(put) => {
                    for (other, made) in &steps {
                        if let Data::Create(create) = made
                            && put.refers_to(create.kind, create.name())
                            && !follows(plan, step, &other.id)
                        {
                            say(step, format!("refers to {} {} and does not come after it", create.kind, create.name()));
                        }
                    }
                }
                // Nothing is removed that a service of this plan refers to, or before the services that are removed.
                Data::Remove(remove) => {
                    for (other, data) in &steps {
                        match data {
                            Data::Put(put) if put.refers_to(remove.kind, &remove.name) => {
                                say(step, format!("removes {} {}, which {} refers to", remove.kind, remove.name, put.name()));
                            }
                            Data::Remove(service)
                                if service.kind == Kind::Service && remove.kind != Kind::Service && !follows(plan, step, &other.id) =>
                            {
                                say(step, format!("removes {} {} beside service {}", remove.kind, remove.name, service.name));
                            }
                            _ => {}
                        }
                    }
                    if remove.stack.is_none() && plan.purpose != PlanPurpose::Remove {
                        say(step, "removes what belongs to no stack".into());
                    }
                }
                Data::Create(_) | Data::Drained(_) | Data::Edited(_) | Data::Labelled(_) => {}
                Data::Served(_) | Data::Balanced(_) | Data::Vacated(_) => {}
            }
        }
        found
    }
}

/// Whether a step comes after another by what it needs.
fn follows(plan: &Plan, step: &Step, other: &StepId) -> bool {
    let by_id = plan.by_id();
    let mut open = vec![step];
    let mut seen = BTreeSet::new();
    while let Some(step) = open.pop() {
        for need in &step.needs {
            if need == other {
                return true;
            }
            if seen.insert(need) {
                open.extend(by_id.get(need).copied());
            }
        }
    }
    false
}

pub(crate) fn failed(message: impl Into<String>) -> Outcome {
    Outcome::Failed { message: message.into() }
}
