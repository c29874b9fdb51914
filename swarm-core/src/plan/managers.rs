//! The managers of a running swarm: which change of them may begin, and which entries have to go first.

use super::build::Builder;
use super::doubts::{broken_node, disk_too_full};
use super::raft::Raft;
use super::refusal::Refusal;
use super::{Action, Blocked, Risk, Step};
use crate::advice::Advice;
use crate::engine::Force;
use crate::id::StepId;
use crate::observe::{ClusterView, HostState, NodeFacts, NodeState, ObservedHost, cannot_answer};
use crate::spec::{HostSpec, JOIN_LABEL, OWNER_LABEL, Prune};
use crate::step;

impl<'a> Builder<'a> {
    /// Whether the managers may become one more: the arithmetic refuses the plan, a manager that is not healthy and a full
    /// disk leave the host out.
    pub(super) fn may_change(&mut self, host: &HostSpec, seen: &ObservedHost, raft: &Raft) -> bool {
        if !raft.may_grow() {
            self.refusals.push(raft.refusal(host, true));
            return false;
        }
        if let Some(why) = disk_too_full(host, seen) {
            self.blocked.push(Blocked { host: host.name.clone(), why });
            return false;
        }
        !self.waits_for_unhealthy(host, raft)
    }

    /// No change of managers begins while one is not healthy.
    pub(super) fn waits_for_unhealthy(&mut self, host: &HostSpec, raft: &Raft) -> bool {
        let Some(node) = raft.unhealthy() else { return false };
        if let Some(said) = raft.said_of(node) {
            let why = format!("managers are changed only while all others are healthy, and one may end at any moment: {said}");
            self.blocked.push(Blocked { host: host.name.clone(), why });
            return true;
        }
        let listed = self.observed.view().and_then(|v| v.nodes.iter().find(|n| n.id == *node));
        let shown = listed.map_or(String::new(), |n| {
            let at = n.manager.as_ref().map_or(n.address.as_str(), |m| m.address.as_str());
            if n.hostname.is_empty() { at.to_owned() } else { format!("{} at {at}", n.hostname) }
        });
        let presumed = || self.observed.hosts.iter().find(|(_, h)| h.presumed.as_ref().is_some_and(|p| p.id == *node)).map(|(n, _)| n);
        let of = self.observed.host_of(node).or_else(presumed).cloned();
        let why = Refusal::UnhealthyManager { host: host.name.clone(), node: node.clone(), of, shown };
        let why = why.to_string();
        let why = why.strip_prefix(&format!("{}: ", host.name)).unwrap_or(&why).to_owned();
        self.blocked.push(Blocked { host: host.name.clone(), why });
        true
    }

    /// The entry of a host whose engine is in error. Its engine goes on trying by itself, also to be a manager again, so it leaves first;
    /// then the entry is taken out of raft and removed. Nothing where raft still reaches it, or cannot spare it.
    pub(super) fn dead_entry_of(
        &mut self,
        host: &HostSpec,
        seen: &ObservedHost,
        view: &'a ClusterView,
        raft: &mut Raft,
    ) -> Option<&'a NodeFacts> {
        let id = broken_node(seen)?;
        let entry = view.nodes.iter().find(|n| n.id == id)?;
        if entry.manager.is_some() && (entry.is_reachable_manager() || !raft.shrink(&id)) {
            self.refusals.push(raft.refusal(host, false));
            return None;
        }
        Some(entry)
    }

    /// Managers that cannot answer their leader leave, one after the other, and their entries are taken out: with nothing running there, or with
    /// leave to lose that.
    pub(super) fn take_out_mute(&mut self, raft: &mut Raft, chain: &mut Vec<StepId>) {
        for (host, seen) in self.hosts() {
            let Some(node) = cannot_answer(self.observed, seen) else { continue };
            let runs = seen.report.engine.as_ref().map_or(0, |e| e.running_containers);
            if runs > 0 && !self.options.force_leave.contains(&host.name) {
                let restart = Advice::RestartEngine { host: host.name.clone() };
                let leave = Advice::ForceLeave { host: host.name.clone() };
                let why = format!(
                    "its engine does not hear the leader that reaches it, and {runs} containers run there; {restart}; where that does not \
                     help, its raft log is lost: {leave}"
                );
                self.blocked.push(Blocked { host: host.name.clone(), why });
                continue;
            }
            if !raft.shrink(&node.id) {
                self.refusals.push(raft.refusal(host, false));
                continue;
            }
            let leave = self.id(host, "leave");
            self.push(Step {
                id: leave.clone(),
                host: Some(host.name.clone()),
                action: Action::Leave(step::Leave { force: Force::Yes, node: Some(node.id.clone()), leaderless: true }),
                before: "a manager that cannot answer its leader".into(),
                after: "in no swarm".into(),
                needs: std::mem::take(chain),
                expect: None,
                because: "its engine ended before its raft log had an entry, and no restart brings that back".into(),
                risk: Risk::Host,
            });
            let because = "its engine leaves: it is another node when it joins again";
            *chain = vec![self.remove_entry(host, node, because, vec![leave])];
        }
    }

    /// A step that removes an entry; one that is a member of raft is demoted first.
    pub(super) fn remove_entry(&mut self, host: &HostSpec, node: &NodeFacts, because: &str, needs: Vec<StepId>) -> StepId {
        self.remove(host, node, because, needs, false)
    }

    /// Whether a node that is no host of the file is removed: it is down, and the operator or the file said so.
    fn is_pruned(&self, node: &NodeFacts) -> bool {
        let owned = node.labels.get(OWNER_LABEL).is_some_and(|of| of == self.spec.name());
        let meant = self.options.prune || (owned && self.spec.policy().prune == Prune::Owned);
        meant && node.state == NodeState::Down && !node.is_reachable_manager()
    }

    /// The same; an entry that `dead` is of no host of the file, and is removed through this one.
    fn remove(&mut self, host: &HostSpec, node: &NodeFacts, because: &str, needs: Vec<StepId>, dead: bool) -> StepId {
        let of = if dead { "swarm" } else { host.name.as_str() };
        let id = StepId::new(format!("{of}/remove-{}", node.id));
        let demote = node.manager.is_some();
        let name = if node.hostname.is_empty() { "no host name" } else { node.hostname.as_str() };
        self.push(Step {
            id: id.clone(),
            host: Some(host.name.clone()),
            action: Action::RemoveNode(step::RemoveNode { node: node.id.clone(), demote, dead, stays: false }),
            before: format!("entry {} ({name})", node.id),
            after: "no such entry".into(),
            needs,
            expect: None,
            because: because.into(),
            risk: if demote { Risk::Quorum } else { Risk::None },
        });
        id
    }

    /// Nodes of the swarm that are no host of the file: entries our hosts left behind go, the others are named and left alone.
    /// Gives the last step that takes a lost voter out of raft.
    pub(super) fn strangers(&mut self, raft: &mut Raft) -> Vec<StepId> {
        let mut chain: Vec<StepId> = Vec::new();
        for node in &self.observed.strangers {
            match self.left_behind_by(node) {
                Some(host) => {
                    let voter = node.manager.is_some();
                    if voter && !raft.shrink(&node.id) {
                        self.refusals.push(raft.refusal(host, false));
                        continue;
                    }
                    let needs = if voter { std::mem::take(&mut chain) } else { Vec::new() };
                    let because = "the host left it behind: it has this host's address, and the host is another node now, or none";
                    let id = self.remove_entry(host, node, because, needs);
                    if voter {
                        chain = vec![id];
                    }
                }
                None if self.is_pruned(node) => {
                    let voter = node.manager.is_some();
                    let live = self.observed.cluster.live().iter().find_map(|name| self.spec.host(name));
                    let Some(through) = live else { continue };
                    if voter && !raft.shrink(&node.id) {
                        self.refusals.push(raft.refusal(through, false));
                        continue;
                    }
                    let needs = if voter { std::mem::take(&mut chain) } else { Vec::new() };
                    let because = "it is down, and the file does not name it";
                    let id = self.remove(through, node, because, needs, true);
                    if voter {
                        chain = vec![id];
                    }
                }
                None => {
                    let name = if node.hostname.is_empty() { "no host name".to_owned() } else { node.hostname.clone() };
                    let advice = if node.manager.is_some() {
                        Advice::RemoveManager { node: node.id.clone() }
                    } else {
                        Advice::RemoveEntry { node: node.id.clone() }
                    };
                    self.notes.push(format!(
                        "node {} ({name}, {}, {}) is in the swarm and not in the file; it is left alone; to have it taken out, name its \
                         host in the file with `role: none`; where there is no such host any more, {advice}",
                        node.id, node.role, node.state
                    ));
                }
            }
        }
        chain
    }

    /// The host that left an entry behind. Its engine is known to be another node, or none. An entry with a host name is identified by name and
    /// address; one whose host died before it could give its name by the address that raft has for it, or by the mark of the run that saw it
    /// come.
    pub(super) fn left_behind_by(&self, node: &NodeFacts) -> Option<&'a HostSpec> {
        self.hosts().into_iter().find_map(|(host, seen)| {
            let engine = seen.report.engine.as_ref().ok()?;
            let identity_known = match seen.state {
                HostState::Standalone | HostState::Member { .. } | HostState::StaleMember { .. } => true,
                // An engine is one node: what is one of another swarm is none of this one.
                HostState::ForeignSwarm { .. } => host.absent && engine.swarm.node.is_some(),
                _ => false,
            };
            // A voter that the others reach is alive, or its successor has its address: then its state is down.
            let alive = node.is_reachable_manager() && node.state != NodeState::Down;
            if !identity_known || alive || engine.swarm.node.as_ref() == Some(&node.id) {
                return None;
            }
            let address = self.resolve(host, seen).ok()?;
            let in_raft = node.manager.as_ref().map(|m| m.address.as_str());
            let proven = if node.hostname.is_empty() {
                let marked = || node.state == NodeState::Unknown && node.labels.get(JOIN_LABEL).is_some_and(|of| *of == host.name.as_str());
                match in_raft {
                    Some(at) => !node.is_reachable_manager() && crate::addr::ip_of(at) == Some(address),
                    None => marked(),
                }
            } else {
                let at = crate::addr::ip_of(in_raft.unwrap_or(&node.address));
                let same_place = at == Some(address) || at.is_some_and(|ip| ip.is_unspecified());
                engine.hostname == node.hostname && same_place
            };
            proven.then_some(host)
        })
    }
}
