//! What lies between hosts, and what listens there.

use std::collections::{BTreeMap, BTreeSet};
use swarm_core::id::HostName;

/// What lies between hosts, beside cuts, and the probes that listen.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    /// What packet filters of hosts drop of what comes in: an item, such as `udp/4789`.
    pub(super) drops: BTreeSet<(HostName, String)>,
    /// The largest packet that reaches a host, bytes.
    pub(super) narrow: BTreeMap<HostName, usize>,
    pub(super) listening: BTreeMap<(String, HostName), Listening>,
}

#[derive(Debug, Default)]
pub(super) struct Listening {
    pub(super) bound: BTreeSet<String>,
    pub(super) arrived: BTreeSet<String>,
}
