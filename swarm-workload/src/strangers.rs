//! Nodes that are of no host of the file, as those of machines that joined by themselves: changed through the managers alone.

use crate::steps::{Data, Drained, Edited};
use std::collections::BTreeMap;
use std::time::Duration;
use swarm_core::ClusterSpec;
use swarm_core::engine::NodeChange;
use swarm_core::id::{HostName, NodeId};
use swarm_core::intent::{Intent, Next, SoFar, not_now};
use swarm_core::nodes::{NodeEdit, quorum_note};
use swarm_core::observe::{NodeFacts, Observed};
use swarm_core::plan::{Plan, Refusal, Risk, Step};
use swarm_core::spec::Availability;
use swarm_core::verify::{Finding, FindingKind, Verdict};

/// To change nodes that are of no host of the file. Roles are not changed: that takes a look at the host before and after.
#[derive(Debug, Clone)]
pub struct EditStrangers<'a> {
    /// The cluster's file.
    pub spec: &'a ClusterSpec,
    /// What is to be, by node.
    pub edits: BTreeMap<NodeId, NodeEdit>,
    /// How long a drained node may take to have no running task; `None` waits for none.
    pub patience: Option<Duration>,
}

fn node<'o>(observed: &'o Observed, id: &NodeId) -> Option<&'o NodeFacts> {
    observed.view().into_iter().flat_map(|v| &v.nodes).find(|n| n.id == *id)
}

/// What of an edit a node lacks.
fn lacks(edit: &NodeEdit, node: &NodeFacts) -> NodeChange {
    let change = match edit {
        NodeEdit::Role(role) => NodeChange { role: Some(*role), ..NodeChange::default() },
        NodeEdit::Availability(availability) => NodeChange { availability: Some(*availability), ..NodeChange::default() },
        NodeEdit::Labels(labels) => NodeChange { labels: labels.clone(), ..NodeChange::default() },
    };
    change.missing_on(node)
}

fn shown(edit: &NodeEdit) -> String {
    match edit {
        NodeEdit::Role(role) => role.to_string(),
        NodeEdit::Availability(availability) => availability.to_string(),
        NodeEdit::Labels(labels) => {
            let one = |(key, value): (&String, &Option<String>)| {
                value.as_ref().map_or_else(|| format!("{key} removed"), |v| format!("{key}={v}"))
            };
            labels.iter().map(one).collect::<Vec<_>>().join(", ")
        }
    }
}

impl EditStrangers<'_> {
    fn steps(&self, observed: &Observed) -> Result<Vec<Step>, Vec<Refusal>> {
        let (mut steps, mut refusals) = (Vec::new(), Vec::new());
        for (id, edit) in &self.edits {
            let mut refuse = |why: &str| refusals.push(Refusal::Unfit { host: HostName::new(id.as_str()), why: why.to_owned() });
            let Some(node) = node(observed, id) else {
                refuse("no manager lists this node");
                continue;
            };
            if matches!(edit, NodeEdit::Role(_)) {
                refuse("it is of no host of the file, and a change of role takes a look at its host; write the host there first");
                continue;
            }
            let change = lacks(edit, node);
            if change.is_empty() {
                continue;
            }
            let before = match edit {
                NodeEdit::Labels(_) => format!("node {}", node.hostname),
                _ => node.availability.to_string(),
            };
            let drains = change.availability == Some(Availability::Drain);
            let risk = if drains { Risk::Tasks } else { Risk::None };
            let data = Data::Edited(Edited { node: id.to_string(), change });
            let step = data.work().step(before, shown(edit), "it was asked for, and no host of the file has it", risk);
            let wait = self.patience.filter(|_| drains).map(|patience| {
                let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
                let data = Drained { host: node.hostname.clone(), node: id.to_string(), patience, stranger: true };
                let mut wait =
                    Data::Drained(data).work().step("its tasks run", "no task runs there", "its tasks move to other nodes", Risk::Tasks);
                wait.needs = vec![step.id.clone()];
                wait
            });
            steps.push(step);
            steps.extend(wait);
        }
        if refusals.is_empty() { Ok(steps) } else { Err(refusals) }
    }
}

impl Intent for EditStrangers<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        if let Some(next) = not_now(self.spec, observed, so_far) {
            return next;
        }
        match self.steps(observed) {
            Err(refusals) => Next::Refused(refusals),
            Ok(steps) => {
                let plan = Plan::of_work(self.spec, observed, steps, Vec::new());
                if plan.is_empty() { Next::Done(plan) } else { Next::Round(plan) }
            }
        }
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        let find = |(id, edit): (&NodeId, &NodeEdit)| {
            let message = match node(observed, id) {
                None => format!("no manager lists node {id}"),
                Some(node) if !lacks(edit, node).is_empty() => format!("node {id} is not as wanted ({})", shown(edit)),
                Some(_) => return None,
            };
            let kind = match edit {
                NodeEdit::Role(_) => FindingKind::Role,
                NodeEdit::Availability(_) => FindingKind::Availability,
                NodeEdit::Labels(_) => FindingKind::Labels,
            };
            Some(Finding { host: None, kind, message })
        };
        Verdict::of(self.edits.iter().filter_map(find).collect(), quorum_note(observed))
    }
}
