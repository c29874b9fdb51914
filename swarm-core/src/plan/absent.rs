//! Hosts that are to be in no swarm: each is drained, demoted, left and removed, the leader last, and no manager before those that the file
//! wants instead are there.

use super::build::Builder;
use super::raft::Raft;
use super::{Action, Blocked, Risk, Step};
use crate::advice::Advice;
use crate::engine::{Force, NodeChange};
use crate::id::StepId;
use crate::observe::{ClusterView, HostState, NodeFacts, ObservedHost, cannot_answer};
use crate::quorum;
use crate::spec::{Availability, HostSpec, NAME_LABEL, Role};
use crate::step;

impl<'a> Builder<'a> {
    /// Steps for every host that is to be in no swarm. `chain` is the last change of managers before them.
    pub(super) fn absent(&mut self, view: &'a ClusterView, raft: &mut Raft, mut chain: Vec<StepId>) {
        let mut members: Vec<(&HostSpec, &NodeFacts)> = Vec::new();
        let named = view.cluster.labels.get(NAME_LABEL).map(String::as_str) == Some(self.spec.name());
        for (host, seen) in self.hosts().into_iter().filter(|(h, _)| h.absent) {
            match (&seen.state, &seen.node) {
                (HostState::Member { .. }, _) if cannot_answer(self.observed, seen).is_some() => {}
                (HostState::Member { .. }, Some(node)) => members.push((host, node)),
                (HostState::Standalone, _) => {}
                // While this swarm does not carry the file's name, the other one may be the file's.
                (HostState::ForeignSwarm { .. }, _) if named && !self.options.force_leave.contains(&host.name) => {
                    self.notes.push(format!("{} is in another swarm, and is left there", host.name));
                }
                (HostState::Joining | HostState::StaleMember { .. } | HostState::Broken { .. } | HostState::ForeignSwarm { .. }, _) => {
                    if !self.is_under_way(host, seen) {
                        let entry = self.dead_entry_of(host, seen, view, raft);
                        self.out_of_it(host, seen, entry);
                    }
                }
                _ => self.out_of_reach(host, seen),
            }
        }
        // What is to run elsewhere finds the new nodes there.
        let entered: Vec<StepId> = self.steps.iter().filter(|s| matches!(s.action, Action::Join(_))).map(|s| s.id.clone()).collect();
        members.sort_by_key(|(_, node)| (node.manager.is_some(), raft.is_healthy(&node.id), node.leads()));
        let wanted = self.spec.managers().count();
        for (host, node) in members {
            if node.manager.is_none() && node.role == Role::Worker {
                self.take_out(host, node, &entered, &mut Vec::new());
                continue;
            }
            let healthy = raft.is_healthy(&node.id);
            if healthy && raft.healthy() <= wanted {
                let why = format!(
                    "it stays a manager until the {wanted} that the file wants are there; now {}",
                    quorum::summary(raft.total(), raft.healthy())
                );
                self.blocked.push(Blocked { host: host.name.clone(), why });
                continue;
            }
            if healthy && self.waits_for_unhealthy(host, raft) {
                continue;
            }
            if !raft.shrink(&node.id) {
                self.refusals.push(raft.refusal(host, false));
                continue;
            }
            self.take_out(host, node, &entered, &mut chain);
        }
    }

    /// A host that cannot be asked, with what managers know of it.
    fn out_of_reach(&mut self, host: &HostSpec, seen: &ObservedHost) {
        let Some(node) = &seen.presumed else { return self.block(host, &seen.state) };
        let advice = match node.manager {
            Some(_) => Advice::RemoveManager { node: node.id.clone() },
            None => Advice::RemoveEntry { node: node.id.clone() },
        };
        let why = format!("it is {}, and managers list it as node {}; {advice}", seen.state.word(), node.id);
        self.blocked.push(Blocked { host: host.name.clone(), why });
    }

    /// Drained, demoted, left, removed. The last step that changes managers becomes the chain's.
    fn take_out(&mut self, host: &HostSpec, node: &NodeFacts, entered: &[StepId], chain: &mut Vec<StepId>) {
        let because = "the file wants it in no swarm";
        let mut last: Vec<StepId> = entered.to_vec();
        if node.availability != Availability::Drain {
            let change = NodeChange { availability: Some(Availability::Drain), ..NodeChange::default() };
            self.configure(host, change, node.availability.to_string(), std::mem::take(&mut last), because);
            last = vec![self.id(host, "configure")];
        }
        // Also where a demotion has not ended: with a vote no one leaves.
        if node.role == Role::Manager || node.manager.is_some() {
            let needs = [std::mem::take(chain), last].concat();
            let demote = self.role_step(host, node, Action::Demote, needs);
            *chain = vec![demote.clone()];
            last = vec![demote];
        }
        let leave = self.id(host, "leave");
        self.push(Step {
            id: leave.clone(),
            host: Some(host.name.clone()),
            action: Action::Leave(step::Leave { force: Force::No, node: Some(node.id.clone()), leaderless: false }),
            before: format!("{} node {}", node.role, node.id),
            after: "in no swarm".into(),
            needs: last,
            expect: None,
            because: because.into(),
            risk: Risk::Host,
        });
        let id = self.id(host, "remove-node");
        self.push(Step {
            id,
            host: Some(host.name.clone()),
            action: Action::RemoveNode(step::RemoveNode { node: node.id.clone(), demote: false, dead: false, stays: false }),
            before: format!("entry {}", node.id),
            after: "no such entry".into(),
            needs: vec![leave],
            expect: None,
            because: because.into(),
            risk: Risk::None,
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::observe::{Observed, merge};
    use crate::plan::{Plan, PlanOptions, Planned, build, lint};
    use crate::spec::ClusterSpec;
    use crate::testkit::{Is, Wanted, spec_with, world};
    use crate::verify::{FindingKind, verify};
    use std::collections::BTreeSet;

    fn file(hosts: &[(&'static str, &'static str)]) -> ClusterSpec {
        let wanted: Vec<Wanted<'_>> = hosts.iter().map(|(name, role)| (*name, *role, &[][..])).collect();
        spec_with(&wanted)
    }

    fn look(spec: &ClusterSpec, hosts: &[(&str, Is)]) -> Observed {
        merge(spec, &world(hosts), &BTreeSet::new())
    }

    fn plan(spec: &ClusterSpec, observed: &Observed) -> Plan {
        let Planned::Plan(plan) = build(spec, observed, &PlanOptions::default()) else { panic!("refused") };
        assert_eq!(lint(&plan, spec, observed, &BTreeSet::new()), []);
        plan
    }

    fn steps(plan: &Plan) -> Vec<String> {
        let needs = |step: &crate::plan::Step| step.needs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        plan.steps.iter().map(|s| format!("{} < {}", s.id, needs(s)).trim_end_matches([' ', '<']).to_owned()).collect()
    }

    #[test]
    fn a_worker_is_drained_and_leaves_when_the_new_ones_are_there() {
        let spec = file(&[("m1", "manager"), ("w1", "none"), ("w2", "worker")]);
        let observed = look(&spec, &[("m1", Is::Manager), ("w1", Is::Worker), ("w2", Is::Alone)]);
        let planned = plan(&spec, &observed);
        assert_eq!(steps(&planned), ["w2/join", "w1/configure < w2/join", "w1/leave < w1/configure", "w1/remove-node < w1/leave"]);
        assert!(verify(&spec, &observed, None).findings.iter().any(|f| f.kind == FindingKind::Member));
        let out = look(&spec, &[("m1", Is::Manager), ("w1", Is::Alone), ("w2", Is::Worker)]);
        assert!(plan(&spec, &out).is_empty() && verify(&spec, &out, None).converged);
    }

    #[test]
    fn all_managers_are_replaced_in_one_plan_the_leader_last() {
        let spec = file(&[("m1", "none"), ("m2", "none"), ("m3", "none"), ("m4", "manager"), ("m5", "manager"), ("m6", "manager")]);
        let old = [("m1", Is::Manager), ("m2", Is::Manager), ("m3", Is::Manager)];
        let new = [("m4", Is::Alone), ("m5", Is::Alone), ("m6", Is::Alone)];
        let planned = plan(&spec, &look(&spec, &[old, new].concat()));
        let managers: Vec<&str> =
            planned.steps.iter().map(|s| s.id.as_str()).filter(|id| id.ends_with("join") || id.ends_with("demote")).collect();
        assert_eq!(managers, ["m4/join", "m5/join", "m6/join", "m2/demote", "m3/demote", "m1/demote"]);

        // One of the new ones cannot be asked: as many old ones stay as keep the number that the file wants.
        let missing = [("m4", Is::Alone), ("m5", Is::Alone), ("m6", Is::Gone)];
        let planned = plan(&spec, &look(&spec, &[old, missing].concat()));
        let ids: Vec<&str> = planned.steps.iter().map(|s| s.id.as_str()).filter(|id| id.ends_with("demote")).collect();
        assert_eq!(ids, ["m2/demote", "m3/demote"]);
        assert!(planned.blocked.iter().any(|b| b.host.as_str() == "m1" && b.why.contains("until the 3")), "{:?}", planned.blocked);
    }

    #[test]
    fn no_swarm_is_made_while_a_host_that_may_lead_the_old_one_is_in_doubt() {
        let spec = file(&[("m1", "none"), ("m2", "manager")]);
        for doubt in [Is::Gone, Is::Joining, Is::Locked] {
            let planned = build(&spec, &look(&spec, &[("m1", doubt), ("m2", Is::Alone)]), &PlanOptions::default());
            assert!(matches!(planned, Planned::Refused(_)), "{doubt:?}");
        }
        let apart = look(&spec, &[("m1", Is::Alone), ("m2", Is::Alone)]);
        assert_eq!(steps(&plan(&spec, &apart)), ["m2/init"]);
    }

    #[test]
    fn what_is_out_of_reach_is_left_out_and_named() {
        let spec = file(&[("m1", "manager"), ("w1", "none")]);
        let planned = plan(&spec, &look(&spec, &[("m1", Is::Manager), ("w1", Is::Gone)]));
        assert!(planned.is_empty() && planned.blocked[0].why.starts_with("unreachable"), "{planned:?}");
        let mut seen = world(&[("m1", Is::Manager), ("w1", Is::Worker)]);
        let gone = world(&[("w1", Is::Gone)]).hosts;
        seen.hosts.extend(gone);
        let observed = merge(&spec, &seen, &BTreeSet::new());
        let planned = plan(&spec, &observed);
        assert!(planned.is_empty() && planned.blocked[0].why.contains("node rm --dead node-w1"), "{planned:?}");
        assert!(verify(&spec, &observed, None).findings.iter().any(|f| f.kind == FindingKind::Member));
    }

    /// A swarm that does not carry the file's name may be another one than the file's, and the file's the one that the host is in.
    #[test]
    fn a_host_of_another_swarm_is_left_there_once_this_one_has_the_name() {
        let spec = file(&[("m1", "manager"), ("w1", "none")]);
        let mut seen = world(&[("m1", Is::Manager), ("w1", Is::Foreign)]);
        let observed = merge(&spec, &seen, &BTreeSet::new());
        assert!(plan(&spec, &observed).is_empty() && verify(&spec, &observed, None).converged);
        if let Some(view) = seen.hosts.get_mut(&"m1".into()).and_then(|h| h.view.known_mut()) {
            view.cluster.labels.clear();
        }
        let unnamed = merge(&spec, &seen, &BTreeSet::new());
        assert!(matches!(build(&spec, &unnamed, &PlanOptions::default()), Planned::Refused(_)));
    }

    /// A plan that was changed by hand is not carried out.
    #[test]
    fn a_manager_that_leaves_with_its_vote_breaks_a_rule() {
        let spec = file(&[("m1", "manager"), ("m2", "manager"), ("m3", "none")]);
        let observed = look(&spec, &[("m1", Is::Manager), ("m2", Is::Manager), ("m3", Is::Manager)]);
        let mut planned = plan(&spec, &observed);
        planned.steps.iter_mut().filter(|s| s.id.as_str() == "m3/leave").for_each(|s| s.needs.clear());
        planned.steps.retain(|s| s.id.as_str() != "m3/demote");
        let found = lint(&planned, &spec, &observed, &BTreeSet::new());
        assert!(found.iter().any(|f| f.what.contains("takes a healthy host out")), "{found:?}");
    }
}
