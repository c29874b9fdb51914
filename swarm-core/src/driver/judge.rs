//! What observations mean for a run: who may make a swarm, and what was undone.

use crate::condition::{Condition, Seen};
use crate::id::HostName;
use crate::machine::Outcome;
use crate::observe::{HostState, Observed};
use crate::plan::{Action, Plan, Step};
use crate::report::StepReport;
use crate::spec::ClusterSpec;
use crate::step;
use crate::verify::{Finding, FindingKind};

/// Changes that this run made and that are different again.
pub(super) fn undone(plan: &Plan, steps: &[StepReport], after: &Observed) -> Vec<Finding> {
    let changed = |s: &StepReport| matches!(s.outcome, Outcome::Done { changed: true });
    let by_id = plan.by_id();
    // Of several changes that a plan makes to one node, the last one is what holds; of a host that left after them, none: it may be back as
    // another node.
    let is_node_change = |action: &Action| matches!(action, Action::Configure(_));
    let last = |report: &&StepReport| {
        let Some(at) = plan.steps.iter().position(|s| s.id == report.id) else { return true };
        let mut later = plan.steps.iter().skip(at + 1);
        let Some(step) = plan.steps.get(at) else { return true };
        let done = |s: &Step| s.host == step.host && steps.iter().any(|r| r.id == s.id && changed(r));
        if later.clone().any(|s| matches!(s.action, Action::Leave(_)) && done(s)) {
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
            Action::UpdateSwarm(step::UpdateSwarm { change }) => {
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

/// A step that failed, as a finding: of a deed nothing else may tell.
pub(super) fn failure(step: &StepReport) -> Option<Finding> {
    match &step.outcome {
        Outcome::Failed { message } | Outcome::InDoubt { message } => {
            Some(Finding { host: step.host.clone(), kind: FindingKind::Left, message: format!("{}: {message}", step.id) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::undone;
    use crate::condition::Condition;
    use crate::engine::{Force, NodeChange, SwarmChange};
    use crate::id::{HostName, StepId};
    use crate::machine::Outcome;
    use crate::observe::merge;
    use crate::plan::{Action, PlanOptions, Planned, Risk, Step, build};
    use crate::report::StepReport;
    use crate::spec::{Availability, SwarmSettings};
    use crate::step;
    use crate::testkit::{Is, spec, world};
    use std::collections::BTreeSet;

    fn step(id: &str, host: Option<&str>, action: Action, expect: Option<Condition>) -> Step {
        Step {
            id: StepId::new(id),
            host: host.map(HostName::new),
            expect,
            action,
            before: String::new(),
            after: String::new(),
            needs: Vec::new(),
            because: String::new(),
            risk: Risk::None,
        }
    }

    fn drains(id: &str, host: &str) -> Step {
        let change = NodeChange { availability: Some(Availability::Drain), ..NodeChange::default() };
        step(id, Some(host), Action::Configure(step::Configure { change }), Some(Condition::Availability(Availability::Drain)))
    }

    fn activates(id: &str, host: &str) -> Step {
        let change = NodeChange { availability: Some(Availability::Active), ..NodeChange::default() };
        step(id, Some(host), Action::Configure(step::Configure { change }), Some(Condition::Availability(Availability::Active)))
    }

    fn leaves(id: &str, host: &str) -> Step {
        step(id, Some(host), Action::Leave(step::Leave { force: Force::No, node: None, leaderless: false }), None)
    }

    /// All nodes are active now, and the swarm keeps five tasks.
    #[test]
    fn what_this_run_changed_and_is_different_again_is_named() {
        let spec = spec(&["m1", "w1", "w2"]);
        let observed = merge(&spec, &world(&[("m1", Is::Manager), ("w1", Is::Worker), ("w2", Is::Worker)]), &BTreeSet::new());
        let Planned::Plan(plan) = build(&spec, &observed, &PlanOptions::default()) else { panic!("a plan") };
        let keeps = |limit| {
            let settings = SwarmSettings { task_history_limit: Some(limit), ..SwarmSettings::default() };
            step(
                "swarm/update",
                None,
                Action::UpdateSwarm(step::UpdateSwarm { change: SwarmChange { settings, ..SwarmChange::default() } }),
                None,
            )
        };
        for (what, steps, changed, expected) in [
            ("changed", vec![drains("a", "w1")], vec!["a"], vec!["a"]),
            ("not changed", vec![drains("a", "w1")], vec![], vec![]),
            ("as it was made", vec![activates("a", "w1")], vec!["a"], vec![]),
            ("the last change holds", vec![drains("a", "w1"), activates("b", "w1")], vec!["a", "b"], vec![]),
            ("the last is another host's", vec![drains("a", "w1"), activates("b", "w2")], vec!["a", "b"], vec!["a"]),
            ("the last was not made", vec![drains("a", "w1"), activates("b", "w1")], vec!["a"], vec!["a"]),
            ("it left", vec![drains("a", "w1"), leaves("b", "w1")], vec!["a", "b"], vec![]),
            ("it did not leave", vec![drains("a", "w1"), leaves("b", "w1")], vec!["a"], vec!["a"]),
            ("another left", vec![drains("a", "w1"), leaves("b", "w2")], vec!["a", "b"], vec!["a"]),
            ("before, another change", vec![activates("b", "w1"), drains("a", "w1")], vec!["a", "b"], vec!["a"]),
            ("the swarm", vec![keeps(7)], vec!["swarm/update"], vec!["swarm/update"]),
            ("the swarm as it was made", vec![keeps(5)], vec!["swarm/update"], vec![]),
        ] {
            let reports: Vec<StepReport> = steps
                .iter()
                .map(|s| StepReport {
                    id: s.id.clone(),
                    host: s.host.clone(),
                    verb: s.action.verb().into(),
                    outcome: Outcome::Done { changed: changed.contains(&s.id.as_str()) },
                })
                .collect();
            let plan = crate::plan::Plan { steps, ..plan.clone() };
            let found = undone(&plan, &reports, &observed);
            let named: Vec<&str> = found.iter().filter_map(|f| f.message.split(':').next()).collect();
            assert_eq!(named, expected, "{what}: {found:?}");
            assert!(found.iter().all(|f| f.host.is_some() == (what != "the swarm")), "{what}: {found:?}");
        }
    }
}
