//! I24: in a running swarm, members of raft that are not healthy never become more than one by our own act, and no change of managers
//! begins while one is.

use super::Purpose;
use super::watch::{Found, Watch};
use crate::world::host::{Door, Host, Local};
use crate::world::state::State;
use std::collections::BTreeMap;
use std::time::Duration;
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
        let harmless =
            |n: &&NodeFacts| dead(n) || is_gone(state, &n.id) || (role == Role::Worker && (n.manager.is_none() || n.hostname.is_empty()));
        if list.get(id).as_ref().is_some_and(harmless) {
            return;
        }
        if let Some(other) = list.values().find(|n| dead(n) && n.id != *id) {
            found.push(("I24", format!("the managers are changed on {host} while {} is not healthy", other.id)));
        }
    }

    /// I3: one change of managers at a time, each seen to have ended; and never below a majority.
    pub(super) fn change_of_managers(&mut self, host: &HostName, role: Role, id: NodeId, state: &State, found: &mut Found) {
        if self.born.is_none() {
            self.others_are_healthy(host, role, &id, state, found);
        }
        // What takes a dead member out is a repair, and waits for nothing.
        let repair = role == Role::Worker && is_gone(state, &id);
        if let Some((other, as_role, of)) = &self.open
            && !repair
            && other != host
            && (of.as_str().is_empty() || *of != id)
        {
            found.push(("I3", format!("{host} becomes a {role} while {other} is still becoming a {as_role}")));
        }
        if role == Role::Worker {
            let list = self.lists.values().find(|list| list.contains_key(&id));
            let voters = list.into_iter().flat_map(BTreeMap::values).filter(|n| n.manager.is_some());
            let left = voters.clone().filter(|n| n.id != id).count();
            let healthy = voters.filter(|n| n.id != id && n.is_reachable_manager() && n.state != NodeState::Down).count();
            if healthy < left / 2 + 1 {
                found.push(("I3", format!("{healthy} of {left} managers would be left after the demotion of {id}")));
            }
            self.counts_on_none_that_ends(&id, state, found);
            if left == 0 && self.purpose != Purpose::Destroy {
                found.push(("I4", "the last manager is demoted".into()));
            }
        }
        self.open = Some((host.clone(), role, id));
    }

    /// I3, by the truth: a majority is left of managers whose logs can grow. A host whose log is full says so to whoever looks at it.
    fn counts_on_none_that_ends(&self, id: &NodeId, state: &State, found: &mut Found) {
        let swarm = state.swarms.iter().enumerate().rev().find(|(_, s)| s.raft.contains_key(id));
        let Some((swarm, books)) = swarm else { return };
        let ends = |v: &&NodeId| {
            let host = state.host_of(swarm, v).and_then(|h| state.host(&h));
            let since = host.filter(|h| h.powered && h.door == Door::Open).and_then(Host::stuck_since);
            since.is_some_and(|since| state.now > since + Duration::from_secs(20))
        };
        let left = books.raft.keys().filter(|v| *v != id).count();
        let lasting = books.raft.keys().filter(|v| *v != id && !ends(v)).count();
        if lasting < left / 2 + 1 && self.purpose != Purpose::Destroy {
            found.push(("I3", format!("{lasting} of {left} managers whose logs can grow would be left after the demotion of {id}")));
        }
    }
}

/// Whether no engine that runs is a node.
fn is_gone(state: &State, id: &NodeId) -> bool {
    !(0..state.swarms.len()).any(|swarm| state.lives(swarm, id))
}

impl Watch {
    /// I3, by the truth: a program that stops a manager's engine for a while leaves a majority of the others. One that is the only manager has
    /// no others.
    pub(super) fn spared(&self, host: &HostName, stops_engine: bool, state: &State, found: &mut Found) {
        let Some((swarm, node)) = state.host(host).and_then(|h| h.node()).filter(|_| stops_engine) else { return };
        let Some(books) = state.swarms.get(swarm).filter(|s| s.raft.contains_key(node) && s.raft.len() > 1) else { return };
        let left = books.raft.keys().filter(|v| *v != node && state.lives(swarm, v)).count();
        if left < books.raft.len() / 2 + 1 {
            found.push(("I3", format!("the engine of {host} is stopped, and {left} of {} managers are left", books.raft.len())));
        }
    }
}
