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
}

impl Raft {
    /// `mute` are members that the others reach and that cannot answer.
    pub(super) fn of(view: &ClusterView, mute: &BTreeSet<&NodeId>) -> Self {
        let voters =
            view.nodes.iter().filter(|n| n.manager.is_some()).map(|n| (n.id.clone(), !is_unhealthy(n) && !mute.contains(&n.id))).collect();
        Self { voters, joined: 0 }
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
        let fits = total > 0 && healthy >= quorum::needed(total);
        if fits {
            self.voters.remove(node);
        }
        fits
    }

    pub(super) fn refusal(&self, host: &HostSpec, change: i8) -> Refusal {
        let (total, healthy) = (self.total(), self.healthy());
        let after = if change > 0 { total + 1 } else { total.saturating_sub(1) };
        let left = if change > 0 { healthy } else { healthy.saturating_sub(1) };
        let numbers = format!(
            "{total} managers, {healthy} reachable; afterwards {after}, which need {}, and {left} would surely be there",
            quorum::needed(after)
        );
        let unhealthy = self.voters.iter().filter(|(_, healthy)| !**healthy).map(|(id, _)| id.clone()).collect();
        Refusal::QuorumAtRisk { host: host.name.clone(), numbers, unhealthy }
    }
}
