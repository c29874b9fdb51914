//! The end of a cluster: workers leave first, then managers one after the other, the last one with the whole state.

use super::refusal::of_cluster;
use super::{Action, Blocked, Envelope, PLAN_VERSION, Plan, PlanPurpose, Planned, Refusal, Risk, Step, fingerprint, order};
use crate::condition::Condition;
use crate::engine::Force;
use crate::id::{ClusterId, NodeId, StepId};
use crate::observe::{ClusterView, HostState, NodeFacts, Observed, ObservedCluster, ObservedHost, cannot_answer, is_unhealthy, unhealthy};
use crate::spec::{ClusterSpec, HostSpec, Role};
use crate::step;

/// Plans to take every member out. What the swarm has besides the hosts of the file is named. With `force` a swarm without a leader is
/// taken down too: each host that is reached leaves it.
pub fn build_destroy(spec: &ClusterSpec, observed: &Observed, force: Force) -> Planned {
    let mut ending = Destroy { spec, observed, steps: Vec::new(), blocked: Vec::new(), notes: Vec::new() };
    match (&observed.cluster, force) {
        (ObservedCluster::None, _) => ending.leave_out_the_rest(),
        (ObservedCluster::One { view, .. }, _) => ending.in_order(view),
        (ObservedCluster::NoLeader { swarm: Some(id), members, .. }, Force::Yes) => {
            ending.notes.push(format!(
                "swarm {id} has no leader: its {members} managers lose its state, and what is not reached keeps its part of it"
            ));
            ending.by_force(id);
        }
        (ObservedCluster::Unknown { swarms, .. }, Force::Yes) if swarms.len() == 1 => {
            let Some(id) = swarms.first() else { return Planned::Refused(Vec::new()) };
            ending.notes.push(format!("no manager of swarm {id} answers; what is not reached keeps its part of it"));
            ending.by_force(id);
        }
        (cluster, _) => {
            let refusals: Vec<Refusal> = of_cluster(spec, cluster).into_iter().collect();
            return Planned::Refused(refusals);
        }
    }
    ending.finish()
}

struct Destroy<'a> {
    spec: &'a ClusterSpec,
    observed: &'a Observed,
    steps: Vec<Step>,
    blocked: Vec<Blocked>,
    notes: Vec<String>,
}

impl<'a> Destroy<'a> {
    fn hosts(&self) -> Vec<(&'a HostSpec, &'a ObservedHost)> {
        self.spec.hosts().filter_map(|h| Some((h, self.observed.hosts.get(&h.name)?))).collect()
    }

    /// A swarm with a leader: its dead managers are taken out of raft, workers leave, managers are demoted one by one and leave, so that
    /// whoever is left can always be asked and a run that is cut short can go on. The leader is the last: it hands nothing over.
    fn in_order(&mut self, view: &ClusterView) {
        let mut managers: Vec<(&HostSpec, &NodeFacts)> = Vec::new();
        let mut mute: Vec<(&HostSpec, &NodeFacts)> = Vec::new();
        let mut workers: Vec<(&HostSpec, &NodeFacts)> = Vec::new();
        for (host, seen) in self.hosts() {
            match (&seen.state, &seen.node) {
                (_, Some(node)) if node.manager.is_some() && cannot_answer(self.observed, seen).is_some() => mute.push((host, node)),
                (HostState::Member { .. }, Some(node)) if node.role == Role::Manager => managers.push((host, node)),
                (HostState::Member { .. }, Some(node)) => workers.push((host, node)),
                _ => {}
            }
        }
        // One that is not healthy goes first: the others are changed only when it is gone.
        managers.sort_by_key(|(_, node)| (node.leads(), !is_unhealthy(node)));
        let by = managers.last().map(|(host, _)| *host);
        let answering: Vec<_> = managers.iter().chain(&mute).copied().collect();
        let mut chain = self.dead_managers(view, by, &answering);
        for (host, node) in mute {
            let left = self.leave(host, Some(node.id.clone()), node.role, std::mem::take(&mut chain));
            chain = by.map_or(vec![left.clone()], |by| vec![self.demote_node(by, node, vec![left])]);
        }
        let first = chain.clone();
        let leaves: Vec<StepId> =
            workers.into_iter().map(|(host, node)| self.leave(host, Some(node.id.clone()), node.role, first.clone())).collect();
        chain.extend(leaves);
        let last = managers.pop();
        for (host, node) in managers {
            let id = StepId::new(format!("{}/demote", host.name));
            self.steps.push(Step {
                id: id.clone(),
                host: Some(host.name.clone()),
                action: Action::Demote,
                before: "manager".into(),
                after: "worker".into(),
                needs: chain,
                expect: Some(Condition::Role(Role::Worker)),
                because: "the cluster is to be destroyed, and the managers that are left must stay a majority".into(),
                risk: Risk::Quorum,
            });
            chain = vec![self.leave(host, Some(node.id.clone()), node.role, vec![id])];
        }
        if let Some((host, node)) = last {
            self.leave(host, Some(node.id.clone()), node.role, chain);
        }
        for node in &self.observed.strangers {
            self.notes.push(format!(
                "node {} ({}) is in the swarm and not in the file; it is left behind without managers",
                node.id, node.hostname
            ));
        }
        self.leave_out_the_rest();
    }

    /// Managers that no other reaches count until they are out of raft: while they do, no healthy one can go.
    fn dead_managers(&mut self, view: &ClusterView, by: Option<&HostSpec>, ours: &[(&HostSpec, &NodeFacts)]) -> Vec<StepId> {
        let Some(by) = by else { return Vec::new() };
        let mut chain = Vec::new();
        let mut left: Vec<NodeFacts> = view.nodes.clone();
        while let Some(dead) = unhealthy(&left, None).cloned() {
            left.retain(|n| n.id != dead.id);
            let answers = ours.iter().any(|(_, node)| node.id == dead.id);
            let name = if dead.hostname.is_empty() { "no host name" } else { dead.hostname.as_str() };
            self.notes.push(format!(
                "manager {} ({name}) is not reached; it is taken out of the swarm{}",
                dead.id,
                if answers { "" } else { ", and keeps its state on its disk" }
            ));
            if answers {
                continue;
            }
            chain = vec![self.demote_node(by, &dead, chain)];
        }
        chain
    }

    /// Takes a manager that does not answer the others out of raft.
    fn demote_node(&mut self, by: &HostSpec, dead: &NodeFacts, needs: Vec<StepId>) -> StepId {
        let name = if dead.hostname.is_empty() { "no host name" } else { dead.hostname.as_str() };
        let id = StepId::new(format!("{}/demote-{}", by.name, dead.id));
        self.steps.push(Step {
            id: id.clone(),
            host: Some(by.name.clone()),
            action: Action::RemoveNode(step::RemoveNode { node: dead.id.clone(), demote: true, dead: false, stays: true }),
            before: format!("manager {} ({name}), which does not answer", dead.id),
            after: "no manager".into(),
            needs,
            expect: None,
            because: "it does not answer, and while it counts no healthy manager can be taken out".into(),
            risk: Risk::Quorum,
        });
        id
    }

    /// No manager can be asked: each host that is in this swarm as it reports itself leaves it.
    fn by_force(&mut self, swarm: &ClusterId) {
        for (host, seen) in self.hosts() {
            let certificate = seen.report.identity.known();
            let in_it = certificate.is_some_and(|c| c.cluster == *swarm);
            let reached = seen.report.engine.is_ok() && !matches!(seen.state, HostState::Standalone);
            if in_it && reached {
                let reported = seen.report.engine.as_ref().ok().and_then(|e| e.swarm.node.clone());
                let role = certificate.map_or(Role::Worker, |c| c.role);
                self.leave(host, reported, role, Vec::new());
            }
        }
        self.leave_out_the_rest();
    }

    /// Hosts that no step takes out and that are not known to be out.
    fn leave_out_the_rest(&mut self) {
        for (host, seen) in self.hosts() {
            let worked_on = self.steps.iter().any(|s| s.host.as_ref() == Some(&host.name) && matches!(s.action, Action::Leave(_)));
            if worked_on || seen.state == HostState::Standalone {
                continue;
            }
            let why = seen.state.in_full();
            self.blocked.push(Blocked { host: host.name.clone(), why });
        }
    }

    fn leave(&mut self, host: &HostSpec, node: Option<NodeId>, role: Role, needs: Vec<StepId>) -> StepId {
        let id = StepId::new(format!("{}/leave", host.name));
        self.steps.push(Step {
            id: id.clone(),
            host: Some(host.name.clone()),
            action: Action::Leave(step::Leave { force: Force::Yes, node, leaderless: false }),
            before: format!("{role} of {}", self.spec.name()),
            after: "in no swarm".into(),
            needs,
            expect: None,
            because: "the cluster is to be destroyed".into(),
            risk: Risk::Host,
        });
        id
    }

    fn finish(self) -> Planned {
        let basis = self.observed.basis();
        let steps = order::sort(self.steps);
        Planned::Plan(Plan {
            version: PLAN_VERSION,
            purpose: PlanPurpose::Destroy,
            force_leave: Default::default(),
            init_on: None,
            limit: None,
            cluster: self.spec.name().to_owned(),
            swarm: self.observed.view().map(|v| v.cluster.id.clone()),
            fingerprint: fingerprint(self.spec, &basis).unwrap_or_default(),
            basis,
            envelope: Envelope::of(&steps),
            steps,
            notes: self.notes,
            blocked: self.blocked,
        })
    }
}
