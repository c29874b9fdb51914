//! I24: in a running swarm, members of raft that are not healthy never become more than one by our own act, and no change of managers
//! begins while one is.

use super::watch::{Found, Watch};
use crate::world::host::Local;
use crate::world::state::State;
use swarm_core::id::{HostName, NodeId};
use swarm_core::observe::{NodeFacts, NodeState};
use swarm_core::spec::Role;

impl Watch {
    /// I24, by the truth: a join as a manager may leave a dead member of raft. While one of our making is there, no other begins.
    pub(super) fn no_second_dead_member(&self, host: &HostName, state: &State, found: &mut Found) {
        let Some((swarm, books)) = state.swarms.iter().enumerate().rev().find(|(_, s)| self.cluster.as_ref() == Some(&s.id)) else {
            return;
        };
        let ours = state.watches.made.iter().filter(|(h, _)| self.names(h)).flat_map(|(h, made)| made.iter().map(move |id| (h, id)));
        // What someone took out by hand is not of our making.
        let ours = ours.filter(|(of, _)| !state.watches.taken_out.contains_key(*of));
        for (of, id) in ours.filter(|(_, id)| books.raft.contains_key(*id)) {
            let engine = state.host(of);
            let abandoned = engine.is_some_and(|h| h.runs() && h.node().is_none_or(|(_, is)| is != id) && h.local != Local::Pending);
            // A member that has just died still counts as reached for a moment, and no list says otherwise.
            let reported = self.listed(id).is_none_or(|n| !n.is_reachable_manager());
            if abandoned && reported && !state.lives(swarm, id) {
                found.push(("I24", format!("{host} joins as a manager while {id}, which a join of {of} left in raft, is dead")));
            }
        }
    }

    /// I24: no change of managers begins while another one is known not to be healthy.
    pub(super) fn others_are_healthy(&self, host: &HostName, role: Role, id: &NodeId, state: &State, found: &mut Found) {
        let Some(list) = self.lists.iter().next_back().map(|(_, list)| list) else { return };
        let dead = |n: &&NodeFacts| n.manager.is_some() && (!n.is_reachable_manager() || n.state == NodeState::Down);
        // What takes a dead member out, or a wish back that never became a member, or what a failed join left, is no further risk.
        let gone = |n: &NodeFacts| !(0..state.swarms.len()).any(|swarm| state.lives(swarm, &n.id));
        let harmless = |n: &&NodeFacts| dead(n) || gone(n) || (role == Role::Worker && (n.manager.is_none() || n.hostname.is_empty()));
        if list.get(id).as_ref().is_some_and(harmless) {
            return;
        }
        if let Some(other) = list.values().find(|n| dead(n) && n.id != *id) {
            found.push(("I24", format!("the managers are changed on {host} while {} is not healthy", other.id)));
        }
    }
}

/// I3, by the truth: a program that stops a manager's engine for a while leaves a majority of the others. One that is the only manager has
/// no others.
pub(super) fn spared(host: &HostName, stops_engine: bool, state: &State, found: &mut Found) {
    let Some((swarm, node)) = state.host(host).and_then(|h| h.node()).filter(|_| stops_engine) else { return };
    let Some(books) = state.swarms.get(swarm).filter(|s| s.raft.contains_key(node) && s.raft.len() > 1) else { return };
    let left = books.raft.keys().filter(|v| *v != node && state.lives(swarm, v)).count();
    if left < books.raft.len() / 2 + 1 {
        found.push(("I3", format!("the engine of {host} is stopped, and {left} of {} managers are left", books.raft.len())));
    }
}
