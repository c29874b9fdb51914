//! What keeps a host from being a manager, or from joining at all.

use crate::addr::{AddressSelector, ip_of};
use crate::advice::Advice;
use crate::id::{HostName, NodeId};
use crate::observe::{ClusterView, HostState, MANAGER_DISK, NodeFacts, NodeState, Observed, ObservedHost};
use crate::spec::{ClusterSpec, HostSpec};

/// What keeps hosts from joining while the swarm's root certificate is being replaced: a token would name the old root, and the new
/// one is not there yet. Every node must have a new certificate first, also those that are away (swarmkit `ca/reconciler.go`).
pub(super) fn rotation(view: &ClusterView) -> Option<String> {
    if !view.cluster.root_rotation_in_progress {
        return None;
    }
    let show = |n: &NodeFacts| if n.hostname.is_empty() { n.id.to_string() } else { format!("{} ({})", n.id, n.hostname) };
    let gone: Vec<&NodeFacts> = view.nodes.iter().filter(|n| n.state != NodeState::Ready).collect();
    let away: Vec<String> = gone.iter().map(|n| show(n)).collect();
    let waits = if away.is_empty() {
        "it ends by itself in some seconds".to_owned()
    } else {
        let remove: Vec<String> = gone.iter().map(|n| Advice::RemoveEntry { node: n.id.clone() }.to_string()).collect();
        format!("it waits for {}: bring them back, or {}", away.join(", "), remove.join(" and "))
    };
    Some(format!("the swarm's root certificate is being replaced, and no host can join before that has ended; {waits}"))
}

/// Why a host cannot become a manager, if its disk has no room for that.
pub(super) fn disk_too_full(host: &HostSpec, seen: &ObservedHost) -> Option<String> {
    // The probe looks below the engine's usual folder; of another one nothing is known.
    seen.report.engine.as_ref().ok().filter(|e| e.data_root == "/var/lib/docker")?;
    let free = seen.report.machine.known()?.disk_free?;
    (free < MANAGER_DISK).then(|| {
        let advice = Advice::FreeDisk { host: host.name.clone() };
        format!("{} MB of disk are free, and a manager needs {} MB for its raft log; {advice}", free >> 20, MANAGER_DISK >> 20)
    })
}

/// The node that an engine in error was: as it reports itself, or by its certificate.
pub(super) fn broken_node(seen: &ObservedHost) -> Option<NodeId> {
    let HostState::Broken { node, .. } = &seen.state else { return None };
    let certificate = seen.report.identity.known();
    node.clone().or_else(|| certificate.map(|c| c.node.clone()))
}

/// Parts the managers that a worker's engine knows (`ADDRESS:PORT`) into hosts of the file that are in no swarm, and all others.
pub(super) fn gone_managers(spec: &ClusterSpec, observed: &Observed, managers: &[String]) -> (Vec<HostName>, Vec<String>) {
    let mut gone = Vec::new();
    let mut others = Vec::new();
    for manager in managers {
        let ip = ip_of(manager);
        let is_at = |h: &&HostSpec| ip.is_some_and(|ip| h.advertise_selector() == Some(AddressSelector::Ip(ip)));
        let alone = |h: &&HostSpec| observed.hosts.get(&h.name).is_some_and(|seen| seen.state == HostState::Standalone);
        match spec.hosts().find(|h| is_at(h) && alone(h)) {
            Some(host) => gone.push(host.name.clone()),
            None => others.push(manager.clone()),
        }
    }
    (gone, others)
}
