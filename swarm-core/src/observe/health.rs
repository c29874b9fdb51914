//! Which members of raft can be counted on.

use super::{HostState, NodeFacts, NodeState, Observed, ObservedHost};
use crate::id::NodeId;
use crate::quorum::needed;

/// Whether a majority of managers would surely be there if one of them were none any more. A node that has no vote costs none.
pub fn survives_without(nodes: &[NodeFacts], id: &NodeId) -> bool {
    if !nodes.iter().any(|n| n.id == *id && n.manager.is_some()) {
        return true;
    }
    let rest = nodes.iter().filter(|n| n.manager.is_some() && n.id != *id);
    let there = rest.clone().filter(|n| n.is_reachable_manager() && n.state != NodeState::Down).count();
    let voters = rest.count();
    voters > 0 && there >= needed(voters)
}

/// Whether a node is a member of raft that the others do not reach, or that does not report.
pub fn is_unhealthy(node: &NodeFacts) -> bool {
    node.manager.is_some() && (!node.is_reachable_manager() || node.state == NodeState::Down)
}

/// A member of raft that is not healthy, besides the one that is to be changed.
pub fn unhealthy<'a>(nodes: &'a [NodeFacts], changing: Option<&NodeId>) -> Option<&'a NodeFacts> {
    nodes.iter().find(|n| is_unhealthy(n) && Some(&n.id) != changing)
}

/// The entry of a manager that the others reach and whose own engine names no leader, while they have one. After an election's time that is
/// no network: its engine ended after its join and before the leader's first entry was in its log, which is where the other members are. It
/// cannot answer its leader from then on, whatever is restarted (swarmkit `manager/state/raft/raft.go`, JoinAndStart; seen on engines 20.10).
pub fn cannot_answer<'a>(observed: &Observed, seen: &'a ObservedHost) -> Option<&'a NodeFacts> {
    let leads = |n: &&NodeFacts| n.leads();
    // It stays so when it is demoted: what it would learn of that, it would have to ask its leader. Where the managers do not hear it, it may
    // be cut off from them and not know of its demotion: then it is whole.
    let is_heard = |n: &&NodeFacts| n.is_reachable_manager() || (n.manager.is_none() && n.state == NodeState::Ready);
    let node = seen.node.as_ref().filter(|n| is_heard(n) && !leads(n))?;
    // A question that it did not answer proves nothing: it says itself that it names no swarm.
    let nameless = seen.report.engine.as_ref().is_ok_and(|e| e.swarm.manages() && e.swarm.cluster.is_none());
    let member = matches!(seen.state, HostState::Member { .. });
    (member && nameless && observed.view().is_some() && matches!(seen.report.view, Some(Err(_)))).then_some(node)
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
