//! What observations mean for a run: who may make a swarm, and what was undone.

use crate::condition::{Condition, Seen};
use crate::id::HostName;
use crate::machine::Outcome;
use crate::observe::{HostState, Observed};
use crate::plan::{Action, Plan, Step};
use crate::report::StepReport;
use crate::spec::ClusterSpec;
use crate::verify::{Finding, FindingKind};

/// Changes that this run made and that are different again.
pub(super) fn undone(plan: &Plan, steps: &[StepReport], after: &Observed) -> Vec<Finding> {
    let changed = |s: &StepReport| matches!(s.outcome, Outcome::Done { changed: true });
    let by_id = plan.by_id();
    // Of several changes that a plan makes to one node, the last one is what holds; of a host that left after them, none: it may be back as
    // another node.
    let is_node_change = |action: &Action| matches!(action, Action::Configure { .. });
    let last = |report: &&StepReport| {
        let Some(at) = plan.steps.iter().position(|s| s.id == report.id) else { return true };
        let mut later = plan.steps.iter().skip(at + 1);
        let Some(step) = plan.steps.get(at) else { return true };
        let done = |s: &Step| s.host == step.host && steps.iter().any(|r| r.id == s.id && changed(r));
        if later.clone().any(|s| matches!(s.action, Action::Leave { .. }) && done(s)) {
            return false;
        }
        if !is_node_change(&step.action) {
            return true;
        }
        !later.any(|s| is_node_change(&s.action) && done(s))
    };
    let of = |report: &StepReport| {
        let step = by_id.get(&report.id)?;
        let (host, unmet) = match &step.action {
            Action::UpdateSwarm { change } => {
                let swarm = Some(&after.view()?.cluster);
                (None, Condition::Swarm(Box::new(change.clone())).undone(Seen { node: None, swarm })?)
            }
            _ => {
                let node = after.hosts.get(step.host.as_ref()?)?.node.as_ref();
                (step.host.clone(), step.expect.as_ref()?.undone(node)?)
            }
        };
        let message =
            format!("{}: this run changed it and it is different again ({unmet}): another operator, or another file, is at work", step.id);
        Some(Finding { host, kind: FindingKind::Undone, message })
    };
    steps.iter().filter(|s| changed(s)).filter(last).filter_map(of).collect()
}

/// Declared managers that said that they are in no swarm.
pub(super) fn said_to_be_in_none(spec: &ClusterSpec, observed: &Observed) -> Vec<HostName> {
    let alone = |host: &HostName| observed.hosts.get(host).is_some_and(|h| h.state == HostState::Standalone);
    spec.managers().filter(|m| alone(&m.name)).map(|m| m.name.clone()).collect()
}
