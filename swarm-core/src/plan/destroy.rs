//! The end of a cluster: workers leave first, then managers one after the other, the last one with the whole state.

use super::{Action, Blocked, PLAN_VERSION, Plan, Planned, Refusal, Risk, Step, fingerprint, order};
use crate::engine::Force;
use crate::id::StepId;
use crate::observe::{HostState, Observed, ObservedCluster};
use crate::spec::{ClusterSpec, Role};

/// Plans to take every member out. What the swarm has besides the hosts of the file is told.
pub fn build_destroy(spec: &ClusterSpec, observed: &Observed) -> Planned {
    match &observed.cluster {
        ObservedCluster::Several { swarms } => return Planned::Refused(vec![Refusal::SeveralSwarms { swarms: swarms.clone() }]),
        ObservedCluster::OtherName { cluster, name, .. } => {
            return Planned::Refused(vec![Refusal::OtherName { cluster: cluster.clone(), name: name.clone(), wanted: spec.name().to_owned() }]);
        }
        ObservedCluster::NoQuorum { managers } => return Planned::Refused(vec![Refusal::NoQuorum { managers: managers.clone() }]),
        ObservedCluster::None | ObservedCluster::One { .. } => {}
    }
    let mut steps: Vec<Step> = Vec::new();
    let mut blocked = Vec::new();
    let mut chain: Vec<StepId> = Vec::new();
    let is_manager = |host: &crate::spec::HostSpec| observed.hosts.get(&host.name).and_then(|h| h.node.as_ref()).is_some_and(|n| n.role == Role::Manager);
    for pass in [Role::Worker, Role::Manager] {
        let workers: Vec<StepId> = steps.iter().map(|s| s.id.clone()).collect();
        for host in spec.hosts().filter(|h| is_manager(h) == (pass == Role::Manager)) {
            let Some(seen) = observed.hosts.get(&host.name) else { continue };
            match &seen.state {
                HostState::Member { node } => {
                    let id = StepId::new(format!("{}/leave", host.name));
                    let needs = if pass == Role::Worker {
                        Vec::new()
                    } else if chain.is_empty() {
                        workers.clone()
                    } else {
                        chain.clone()
                    };
                    if pass == Role::Manager {
                        chain = vec![id.clone()];
                    }
                    steps.push(Step {
                        id,
                        host: host.name.clone(),
                        action: Action::Leave { force: Force::Yes, node: Some(node.clone()) },
                        before: format!("{pass} of {}", spec.name()),
                        after: "in no swarm".into(),
                        needs,
                        expect: None,
                        because: "the cluster is to be destroyed".into(),
                        risk: Risk::Host,
                    });
                }
                HostState::Standalone => {}
                state => {
                    let why = state.detail().map_or(state.word().to_owned(), |d| format!("{}: {d}", state.word()));
                    blocked.push(Blocked { host: host.name.clone(), why });
                }
            }
        }
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
