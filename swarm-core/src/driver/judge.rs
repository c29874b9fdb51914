//! What observations mean for a run: what is between two states, and what was undone.

use crate::engine::SwarmChange;
use crate::id::HostName;
use crate::machine::Outcome;
use crate::observe::{ClusterFacts, HostState, NodeFacts, NodeState, Observed, ObservedCluster, ObservedHost};
use crate::plan::{Action, Plan};
use crate::report::StepReport;
use crate::spec::ClusterSpec;
use crate::verify::{Finding, FindingKind};
use std::time::Duration;

/// How long a rotation of the root is waited for before the plan takes it as it is.
const ROTATION_BUDGET: Duration = Duration::from_secs(15);
/// How long managers without a leader are asked again: an election takes some seconds, one after a hanging leader up to twenty.
const ELECTION_BUDGET: Duration = Duration::from_secs(30);
/// How long a manager that left counts as reached by the others, at the most.
const LEFT_BUDGET: Duration = Duration::from_secs(20);
/// How long a join that goes on by itself is waited for: an engine that is not answered gives up after half a minute.
const JOINING_BUDGET: Duration = Duration::from_secs(60);

/// Changes that this run made and that are different again.
pub(super) fn undone(plan: &Plan, steps: &[StepReport], after: &Observed) -> Vec<Finding> {
    let changed = |s: &&StepReport| matches!(s.outcome, Outcome::Done { changed: true });
    let of = |report: &StepReport| {
        let step = plan.step(&report.id)?;
        let (host, unmet) = match &step.action {
            Action::UpdateSwarm { change } => (None, undone_settings(change, &after.view()?.cluster)?),
            _ => (Some(step.host.clone()), step.expect.as_ref()?.undone(after.hosts.get(&step.host)?.node.as_ref()?)?),
        };
        let message =
            format!("{}: this run changed it and it is different again ({unmet}): another operator, or another file, is at work", step.id);
        Some(Finding { host, kind: FindingKind::Undone, message })
    };
    steps.iter().filter(changed).filter_map(of).collect()
}

/// Options of the swarm that do not have the value they were given.
fn undone_settings(change: &SwarmChange, is: &ClusterFacts) -> Option<String> {
    let have = is.settings.entries();
    let of = |key: &str| have.iter().find(|(k, _)| *k == key).map_or("not set", |(_, value)| value.as_str());
    let settings = change.settings.missing_in(&is.settings).entries();
    let settings = settings.iter().map(|(key, wanted)| format!("{key} is {}, not {wanted}", of(key)));
    let labels = change.labels.iter().filter(|(key, value)| is.labels.get(*key) != Some(value));
    let all: Vec<String> = settings.chain(labels.map(|(key, value)| format!("the label {key}={value} is missing"))).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// Declared managers that said that they are in no swarm.
pub(super) fn said_to_be_in_none(spec: &ClusterSpec, observed: &Observed) -> Vec<HostName> {
    let alone = |host: &HostName| observed.hosts.get(host).is_some_and(|h| h.state == HostState::Standalone);
    spec.managers().filter(|m| alone(&m.name)).map(|m| m.name.clone()).collect()
}

/// What is between two states, and will be in one of them in a moment.
pub(super) fn between(observed: &Observed) -> Option<(String, Duration)> {
    if let ObservedCluster::NoLeader { .. } = &observed.cluster
        && !observed.cluster.quorum_is_lost()
    {
        return Some(("no leader is seen; an election takes some seconds".into(), ELECTION_BUDGET));
    }
    // A manager that left by hand is missed by the others after some seconds; only then is its entry known to be dead.
    let left = |n: &&NodeFacts| {
        let is_out = |h: &ObservedHost| matches!(h.state, HostState::Standalone | HostState::StaleMember { .. });
        let named = |h: &ObservedHost| h.report.engine.as_ref().is_ok_and(|e| e.hostname == n.hostname);
        n.is_reachable_manager() && n.state == NodeState::Ready && observed.hosts.values().any(|h| is_out(h) && named(h))
    };
    if let Some(node) = observed.strangers.iter().find(left) {
        return Some((format!("{} left the swarm and still counts as a manager", node.hostname), LEFT_BUDGET));
    }
    let outside = |h: &ObservedHost| matches!(h.state, HostState::Standalone | HostState::StaleMember { .. });
    if observed.view().is_some_and(|v| v.cluster.root_rotation_in_progress) && observed.hosts.values().any(outside) {
        return Some(("the swarm's root certificate is being replaced".into(), ROTATION_BUDGET));
    }
    let joining: Vec<&str> = observed.hosts.iter().filter(|(_, h)| h.state == HostState::Joining).map(|(name, _)| name.as_str()).collect();
    (!joining.is_empty()).then(|| {
        (format!("{} has not found its swarm yet: an earlier join, or a restart, has not ended", joining.join(", ")), JOINING_BUDGET)
    })
}
