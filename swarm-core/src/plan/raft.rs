//! The managers while a plan grows: how many there are, and how many would surely answer.

use super::refusal::Refusal;
use crate::id::NodeId;
use crate::observe::{ClusterView, is_unhealthy};
use crate::quorum;
use crate::spec::HostSpec;
use std::collections::{BTreeMap, BTreeSet};

/// The managers as raft counts them, while the plan grows. A voter no one reaches counts as lost.
#[derive(Debug, Clone)]
pub(super) struct Raft {
    voters: BTreeMap<NodeId, bool>,
    joined: usize,
    /// What is said of voters that come and go.
    unsteady: BTreeMap<NodeId, String>,
}

impl Raft {
    /// `mute` are members that the others reach and that cannot be counted on all the same.
    pub(super) fn of(view: &ClusterView, mute: &BTreeSet<&NodeId>) -> Self {
        let voters =
            view.nodes.iter().filter(|n| n.manager.is_some()).map(|n| (n.id.clone(), !is_unhealthy(n) && !mute.contains(&n.id))).collect();
        Self { voters, joined: 0, unsteady: BTreeMap::new() }
    }

    /// The same, where some of them come and go.
    pub(super) fn unsteady(mut self, unsteady: BTreeMap<NodeId, String>) -> Self {
        for (node, healthy) in &mut self.voters {
            *healthy &= !unsteady.contains_key(node);
        }
        Self { unsteady, ..self }
    }

    pub(super) fn total(&self) -> usize {
        self.voters.len() + self.joined
    }

    pub(super) fn healthy(&self) -> usize {
        self.voters.values().filter(|h| **h).count() + self.joined
    }

    /// Whether one more voter that may never come up leaves a majority. A whole cluster may always grow.
    pub(super) fn may_grow(&self) -> bool {
        self.healthy() == self.total() || self.healthy() >= quorum::needed(self.total() + 1)
    }

    /// A voter that is not reached, if there is one.
    pub(super) fn unhealthy(&self) -> Option<&NodeId> {
        self.voters.iter().find(|(_, healthy)| !**healthy).map(|(id, _)| id)
    }

    /// Whether a node is no voter, or one that is reached.
    pub(super) fn is_healthy(&self, node: &NodeId) -> bool {
        self.voters.get(node).copied().unwrap_or(true)
    }

    /// What is said of a voter that comes and goes.
    pub(super) fn said_of(&self, node: &NodeId) -> Option<&String> {
        self.unsteady.get(node)
    }

    pub(super) fn grow(&mut self) {
        self.joined += 1;
    }

    /// Takes a voter out, if the rest keeps a majority.
    pub(super) fn shrink(&mut self, node: &NodeId) -> bool {
        if !self.voters.contains_key(node) {
            // A promotion that has not ended, or never will: there is no vote to lose.
            return true;
        }
        let healthy = self.healthy() - usize::from(self.voters.get(node).copied().unwrap_or(false));
        let total = self.total().saturating_sub(1);
        let fits = healthy >= quorum::needed(total);
        if fits {
            self.voters.remove(node);
        }
        fits
    }

    pub(super) fn refusal(&self, host: &HostSpec, grows: bool) -> Refusal {
        let (total, healthy) = (self.total(), self.healthy());
        let after = if grows { total + 1 } else { total.saturating_sub(1) };
        let left = if grows { healthy } else { healthy.saturating_sub(1) };
        let numbers = format!(
            "{total} managers, {healthy} reachable; afterwards {after}, which need {}, and {left} would surely be there",
            quorum::needed(after)
        );
        // Those are put right on their hosts, and not taken out.
        let said = self.voters.keys().filter_map(|id| self.unsteady.get(id)).map(|why| format!("; {why}"));
        let numbers = said.fold(numbers, |numbers, why| numbers + &why);
        let lost = self.voters.iter().filter(|(id, healthy)| !**healthy && !self.unsteady.contains_key(*id));
        let unhealthy = lost.map(|(id, _)| id.clone()).collect();
        Refusal::QuorumAtRisk { host: host.name.clone(), numbers, unhealthy }
    }
}
