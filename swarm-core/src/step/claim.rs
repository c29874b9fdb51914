//! What tells an entry that a failed join left from all others, and what comes when it is gone.

use super::outcome::Outcome;
use crate::addr::ip_of;
use crate::id::NodeId;
use crate::observe::{NodeFacts, NodeState};
use crate::spec::JOIN_LABEL;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// What tells an entry of our own making from all others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Claim {
    /// The ids that the joining host itself reported or that its certificate had.
    pub(crate) own: BTreeSet<NodeId>,
    /// The entries that were listed before the first call.
    pub(crate) before: BTreeSet<NodeId>,
    /// The entries that were listed when the run began.
    pub(crate) listed: Arc<BTreeSet<NodeId>>,
    /// Whether a try ended with its answer lost and the engine in no swarm: it may have died in it, and left an entry without a name.
    pub(crate) suspected: bool,
    /// The address that the host advertises.
    pub(crate) address: Option<IpAddr>,
}

impl Claim {
    /// The member of raft that our join left: the host said its id; or it has no description, came while the call was under way, and raft has
    /// the host's own address for it. The host's engine is in no swarm when this is asked, so it cannot be a live one.
    pub(super) fn dead_member<'a>(&self, all: &'a BTreeMap<NodeId, NodeFacts>) -> Option<&'a NodeFacts> {
        all.values().find(|node| {
            let Some(manager) = &node.manager else { return false };
            let nameless = node.hostname.is_empty() && !self.before.contains(&node.id);
            let here = self.address.is_some() && ip_of(&manager.address) == self.address;
            !manager.leader && (self.own.contains(&node.id) || (nameless && here))
        })
    }

    /// The manager at the host's own address that reports and that the others hear: a join that had ended well.
    pub(super) fn live_member<'a>(&self, all: &'a BTreeMap<NodeId, NodeFacts>) -> Option<&'a NodeFacts> {
        all.values().find(|node| {
            let here = node.manager.as_ref().is_some_and(|m| self.address.is_some() && ip_of(&m.address) == self.address);
            here && node.is_reachable_manager() && node.state == NodeState::Ready && !node.hostname.is_empty()
        })
    }

    /// The entry that came while the join was under way and has no host name, no place in raft and no mark: where it is the only one.
    pub(super) fn nameless<'a>(&self, all: &'a BTreeMap<NodeId, NodeFacts>) -> Option<&'a NodeFacts> {
        let is_new = |n: &&NodeFacts| !self.before.contains(&n.id) && !self.listed.contains(&n.id);
        let is_bare = |n: &&NodeFacts| n.hostname.is_empty() && n.manager.is_none() && !n.labels.contains_key(JOIN_LABEL);
        let mut found = all.values().filter(is_new).filter(is_bare);
        found.next().filter(|_| found.next().is_none())
    }
}

/// What comes when raft is clear again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum After {
    /// The join is tried again.
    Retry,
    /// The step ends.
    End(Outcome),
    /// A promotion goes on as a join.
    Rejoin,
    /// The host leaves, unless managers hear it as one of them.
    Leave {
        /// What its engine says.
        message: String,
    },
}
