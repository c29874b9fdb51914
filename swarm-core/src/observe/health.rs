//! Which members of raft can be counted on.

use super::{HostReport, HostState, NodeFacts, NodeState, Observed, ObservedHost};
use crate::id::{HostName, NodeId};
use crate::quorum::needed;
use std::collections::BTreeMap;

/// Whether a majority of managers would surely be there if one of them were none any more. A node that has no vote costs none.
pub fn survives_without(nodes: &[NodeFacts], id: &NodeId) -> bool {
    if !nodes.iter().any(|n| n.id == *id && n.manager.is_some()) {
        return true;
    }
    let rest = nodes.iter().filter(|n| n.manager.is_some() && n.id != *id);
    let there = rest.clone().filter(|n| n.is_reachable_manager() && n.state != NodeState::Down).count();
    // Of no voters one would be needed.
    there >= needed(rest.count())
}

/// Whether a node is a member of raft that the others do not reach, or that does not report.
pub fn is_unhealthy(node: &NodeFacts) -> bool {
    node.manager.is_some() && (!node.is_reachable_manager() || node.state == NodeState::Down)
}

/// A member of raft that is not healthy, besides the one that is to be changed.
pub fn unhealthy<'a>(nodes: &'a [NodeFacts], changing: Option<&NodeId>) -> Option<&'a NodeFacts> {
    nodes.iter().find(|n| is_unhealthy(n) && Some(&n.id) != changing)
}

/// What a manager needs on its disk at least: raft writes its log in pieces of 64 MB, with the next one made beforehand, and an engine that
/// mends its log after it could not grow has it twice (etcd `wal.go`, `repair.go`).
pub(crate) const MANAGER_DISK: u64 = 256 << 20;

/// What is said of a manager whose raft log may have no room to grow. Once it has room its engine starts it again (seen on engine 20.10).
pub(crate) fn no_room(report: &HostReport) -> Option<String> {
    // The probe looks below the engine's usual folder; of another one nothing is known.
    report.engine.as_ref().ok().filter(|e| e.data_root == "/var/lib/docker")?;
    let free = report.machine.known()?.disk_free?;
    (free < MANAGER_DISK).then(|| {
        let (free, needed) = (free >> 20, MANAGER_DISK >> 20);
        format!("{free} MB of disk are free below /var/lib/docker, and a manager needs {needed} MB for its raft log: free some; one that ended for that comes back by itself")
    })
}

/// Managers that may be reached at one moment and gone at the next, with what their hosts say: an engine in error, or one whose raft log has no
/// room to grow, starts its manager again and again.
pub(crate) fn unsteady(observed: &Observed) -> BTreeMap<NodeId, String> {
    let of = |(name, seen): (&HostName, &ObservedHost)| match (&seen.state, &seen.node) {
        (HostState::Broken { error, node, .. }, _) => {
            let certificate = seen.report.identity.known();
            Some((node.clone().or_else(|| certificate.map(|c| c.node.clone()))?, format!("{name}: {error}")))
        }
        (_, Some(node)) if node.manager.is_some() => Some((node.id.clone(), format!("{name}: {}", no_room(&seen.report)?))),
        _ => None,
    };
    observed.hosts.iter().filter_map(of).collect()
}

/// The entry of a manager that the others reach and whose own engine names no leader, while they have one. After an election's time that is
/// no network: its engine ended after its join and before the leader's first entry was in its log, which is where the other members are. It
/// cannot answer its leader from then on, whatever is restarted (swarmkit `manager/state/raft/raft.go`, JoinAndStart; seen on engines 20.10). One
/// whose disk is full is none: its log is there.
pub fn cannot_answer<'a>(observed: &Observed, seen: &'a ObservedHost) -> Option<&'a NodeFacts> {
    let leads = |n: &&NodeFacts| n.leads();
    // It stays so when it is demoted: what it would learn of that, it would have to ask its leader. Where the managers do not hear it, it may
    // be cut off from them and not know of its demotion: then it is whole.
    let is_heard = |n: &&NodeFacts| n.is_reachable_manager() || (n.manager.is_none() && n.state == NodeState::Ready);
    let node = seen.node.as_ref().filter(|n| is_heard(n) && !leads(n))?;
    // A question that it did not answer proves nothing: it says itself that it names no swarm.
    let nameless = seen.report.engine.as_ref().is_ok_and(|e| e.swarm.manages() && e.swarm.cluster.is_none());
    let member = matches!(seen.state, HostState::Member { .. }) && no_room(&seen.report).is_none();
    (member && nameless && observed.view().is_some() && seen.report.view.why().is_some()).then_some(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demotion_that_leaves_no_majority_is_seen() {
        use crate::spec::Role::{Manager, Worker};
        use crate::testkit::node;
        let three = [
            node("m1", Manager, NodeState::Ready, true),
            node("m2", Manager, NodeState::Ready, false),
            node("m3", Manager, NodeState::Down, false),
        ];
        assert!(survives_without(&three, &"node-m3".into()) && !survives_without(&three, &"node-m2".into()));
        let one = [node("m1", Manager, NodeState::Ready, true), node("w1", Worker, NodeState::Ready, false)];
        assert!(!survives_without(&one, &"node-m1".into()) && survives_without(&one, &"node-w1".into()));
    }
}
