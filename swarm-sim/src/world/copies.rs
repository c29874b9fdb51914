//! The state of a manager's engine, copied and put in place later, elsewhere or again.

use super::host::{Certificate, EngineState, Local};
use super::state::{Event, State};
use super::swarm::{Copied, HostName};
use super::{Incident, World};
use crate::invariant::watches::Violation;
use std::time::Duration;
use swarm_core::spec::Role;

impl State {
    fn copy_of(&mut self, host: &HostName) -> Option<usize> {
        let Local::Active { swarm, node, control: true } = self.hosts.get(host)?.local.clone() else { return None };
        self.copies.push(Copied { swarm, books: self.swarms.get(swarm)?.clone(), node });
        Some(self.copies.len() - 1)
    }

    /// The engine stops, gets the state, and starts after so long. Nothing of the swarm that came after the copy is known any more, unless a
    /// manager of it is somewhere: then there are two swarms of one identity.
    pub(super) fn places(&mut self, host: &HostName, copy: usize, after: Duration) -> bool {
        let Some(Copied { swarm, mut books, node }) = self.copies.get(copy).cloned() else { return false };
        if !self.cause(&Incident::EngineStops(host.clone())) {
            return false;
        }
        self.at(self.now + after, Event::Starts(host.clone()));
        if let Some(other) = self.hosts.values().find(|h| h.name != *host && h.holds(swarm)) {
            let what = format!("{host} gets the state of a swarm of which {} is a manager", other.name);
            self.watches.violations.push(Violation { rule: "I9", at: self.now, what });
            return true;
        }
        // It leads no one until it hears a majority, or is made the only one.
        (books.leader, books.lost_since, books.elect_at) = (None, None, None);
        if let Some(own) = books.nodes.get_mut(&node) {
            own.host = host.clone();
        }
        let cluster = books.id.clone();
        if let Some(place) = self.swarms.get_mut(swarm) {
            *place = books;
        }
        if let Some(h) = self.hosts.get_mut(host) {
            h.local = Local::Active { swarm, node: node.clone(), control: true };
            h.certificate = Some(Certificate { cluster, node, role: Role::Manager });
        }
        self.say(host, "got a copied state");
        self.disturb();
        true
    }
}

impl State {
    /// An engine that is stopped starts in no swarm from now on.
    pub(super) fn sets_aside(&mut self, host: &HostName) -> bool {
        let Some(h) = self.hosts.get_mut(host).filter(|h| h.powered && h.engine == EngineState::Stopped) else { return false };
        (h.local, h.certificate, h.joined_through) = (Local::Inactive, None, None);
        self.say(host, "its state is moved aside");
        true
    }
}

impl World {
    /// Copies the state of a manager, as it is now; gives the copy's number, or `None` where the host is no manager.
    pub fn copy_state(&self, host: &str) -> Option<usize> {
        self.with(|state| state.copy_of(&host.into()))
    }
}
