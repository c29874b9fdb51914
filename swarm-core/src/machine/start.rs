//! What a run knows when it begins.

use crate::id::{HostName, NodeId};
use crate::observe::{HostState, Observed, ObservedCluster, ObservedHost};
use std::collections::{BTreeMap, BTreeSet};

/// What a run knows when it begins, besides its plan.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Managers that answer, with the address others join at.
    pub managers: Vec<(HostName, String)>,
    /// The node of each host that is a member.
    pub nodes: BTreeMap<HostName, NodeId>,
    /// The nodes that the managers list.
    pub listed: BTreeSet<NodeId>,
    /// Effects under way at once.
    pub concurrency: usize,
}

impl Start {
    /// What a look at the hosts says of it.
    pub fn of(observed: &Observed, concurrency: usize) -> Self {
        let live: &[HostName] = match &observed.cluster {
            ObservedCluster::One { live, .. } => live,
            _ => &[],
        };
        let node_of = |host: &HostName| observed.hosts.get(host).and_then(|h| h.node.as_ref());
        let own = |(name, host): (&HostName, &ObservedHost)| match &host.state {
            HostState::Member { node } => Some((name.clone(), node.clone())),
            _ => None,
        };
        Self {
            managers: live.iter().filter_map(|h| Some((h.clone(), node_of(h)?.manager.as_ref()?.address.clone()))).collect(),
            nodes: observed.hosts.iter().filter_map(own).collect(),
            listed: observed.view().iter().flat_map(|v| &v.nodes).map(|n| n.id.clone()).collect(),
            concurrency,
        }
    }
}
