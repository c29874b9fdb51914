//! The end of a cluster: workers leave first, then managers one after the other, the last one with the whole state.

use super::{Action, Blocked, PLAN_VERSION, Plan, Planned, Refusal, Risk, Step, fingerprint, order};
use crate::condition::Condition;
use crate::engine::Force;
use crate::id::StepId;
use crate::observe::{HostState, NodeFacts, Observed, ObservedCluster};
use crate::spec::{ClusterSpec, HostSpec, Role};

/// Plans to take every member out. What the swarm has besides the hosts of the file is told.
pub fn build_destroy(spec: &ClusterSpec, observed: &Observed) -> Planned {
    match &observed.cluster {
        ObservedCluster::Several { swarms } => return Planned::Refused(vec![Refusal::SeveralSwarms { swarms: swarms.clone() }]),
        ObservedCluster::OtherName { cluster, name, .. } => {
            return Planned::Refused(vec![Refusal::OtherName {
                cluster: cluster.clone(),
                name: name.clone(),
                wanted: spec.name().to_owned(),
            }]);
        }
        ObservedCluster::NoQuorum { managers } => return Planned::Refused(vec![Refusal::NoQuorum { managers: managers.clone() }]),
        ObservedCluster::None | ObservedCluster::One { .. } => {}
    }
    let mut steps: Vec<Step> = Vec::new();
    let mut blocked = Vec::new();
    let mut managers: Vec<(&HostSpec, &NodeFacts)> = Vec::new();
    for host in spec.hosts() {
        let Some(seen) = observed.hosts.get(&host.name) else { continue };
        match (&seen.state, &seen.node) {
            (HostState::Member { .. }, Some(node)) if node.role == Role::Manager => managers.push((host, node)),
            (HostState::Member { .. }, Some(node)) => steps.push(leave(spec, host, node, Vec::new())),
            (HostState::Standalone, _) => {}
            (state, _) => {
                let why = state.detail().map_or(state.word().to_owned(), |d| format!("{}: {d}", state.word()));
                blocked.push(Blocked { host: host.name.clone(), why });
            }
        }
    }
    // Managers are demoted one by one, so that whoever is left can always be asked and a run that is cut short can go on. The leader
    // is the last: it need not hand anything over.
    managers.sort_by_key(|(_, node)| node.manager.as_ref().is_some_and(|m| m.leader));
    let last = managers.pop();
    let mut chain: Vec<StepId> = steps.iter().map(|s| s.id.clone()).collect();
    for (host, node) in managers {
        let id = StepId::new(format!("{}/demote", host.name));
        steps.push(Step {
            id: id.clone(),
            host: host.name.clone(),
            action: Action::Demote,
            before: "manager".into(),
            after: "worker".into(),
            needs: chain,
            expect: Some(Condition::Role(Role::Worker)),
            because: "the cluster is to be destroyed, and the managers that are left must stay a majority".into(),
            risk: Risk::Quorum,
        });
        let leave = leave(spec, host, node, vec![id]);
        chain = vec![leave.id.clone()];
        steps.push(leave);
    }
    if let Some((host, node)) = last {
        steps.push(leave(spec, host, node, chain));
    }
    let notes = observed
        .strangers
        .iter()
        .map(|n| format!("node {} ({}) is in the swarm and not in the file; it will be left behind without managers", n.id, n.hostname))
        .collect();
    let basis = observed.basis();
    Planned::Plan(Plan {
        version: PLAN_VERSION,
        cluster: spec.name().to_owned(),
        swarm: observed.view().map(|v| v.cluster.id.clone()),
        fingerprint: fingerprint(spec, &basis),
        basis,
        steps: order::sort(steps),
        notes,
        blocked,
    })
}

fn leave(spec: &ClusterSpec, host: &HostSpec, node: &NodeFacts, needs: Vec<StepId>) -> Step {
    Step {
        id: StepId::new(format!("{}/leave", host.name)),
        host: host.name.clone(),
        action: Action::Leave { force: Force::Yes, node: Some(node.id.clone()) },
        before: format!("{} of {}", node.role, spec.name()),
        after: "in no swarm".into(),
        needs,
        expect: None,
        because: "the cluster is to be destroyed".into(),
        risk: Risk::Host,
    }
}
