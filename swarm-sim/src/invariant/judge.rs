//! What one operator does, judged by what it saw and by the truth.

use super::Sent;
use super::watch::{Found, Object, Purpose, Watch};
use crate::world::host::Local;
use crate::world::state::State;
use std::time::Duration;
use swarm_core::engine::{Force, NodeChange};
use swarm_core::id::{HostName, NodeId};
use swarm_core::observe::{LocalState, NodeFacts, NodeState};
use swarm_core::plan::{Action, Plan};
use swarm_core::spec::{JOIN_LABEL, Role};
use swarm_core::step;

/// Joins of one host in one run.
const JOINS_PER_RUN: u32 = 3;

impl Watch {
    pub(crate) fn sent(&mut self, state: &State, host: &HostName, sent: &Sent<'_>) -> Found {
        self.calls += 1;
        let mut found = Vec::new();
        if let Sent::Token { role } = sent {
            let needs = |a: &Action| match a {
                Action::Join(step::Join { role: r, .. }) => r == role,
                Action::Promote(_) => *role == Role::Manager,
                _ => false,
            };
            let planned = |p: &Plan| p.steps.iter().any(|s| needs(&s.action));
            if !self.plan.as_ref().is_some_and(planned) {
                found.push(("I13", format!("the {role} token was asked for, and no join needs it")));
            }
        }
        if !sent.is_mutating() {
            return found;
        }
        self.mutations += 1;
        if self.purpose == Purpose::Look {
            found.push(("I16", format!("{host} was changed by a look: {sent:?}")));
        }
        self.fidelity(host, sent, &mut found);
        match sent {
            Sent::Init => self.init(host, state.now, &mut found),
            Sent::Join { role } => self.join(host, *role, state, &mut found),
            Sent::Leave { force } => self.leave(host, *force, state, &mut found),
            Sent::UpdateNode { id, version, change } => self.update(host, id, *version, change, state, &mut found),
            Sent::RemoveNode { id, force } => self.remove(id, *force, &mut found),
            Sent::UpdateSwarm { .. } | Sent::Unlock | Sent::ForceNewCluster | Sent::Read(_) | Sent::Token { .. } => {}
            Sent::Run { program, stops_engine } => {
                self.spared(host, *stops_engine, state, &mut found);
                if *program == "install" && state.host(host).is_some_and(|h| h.node().is_some()) {
                    found.push(("P1", format!("an engine is installed on {host}, whose engine is in a swarm")));
                }
            }
            // Objects have rules of their own.
            Sent::CreateObject { .. } | Sent::UpdateObject { .. } | Sent::RemoveObject { .. } => {}
        }
        found
    }

    /// I15: what is done was shown, but for taking back our own half-made joins.
    fn fidelity(&self, host: &HostName, sent: &Sent<'_>, found: &mut Found) {
        let Some(plan) = &self.plan else {
            if self.purpose != Purpose::Look {
                found.push(("I15", format!("{host} was changed before a plan was shown: {sent:?}")));
            }
            return;
        };
        let any = |fits: &dyn Fn(&Action, &HostName) -> bool| {
            plan.steps.iter().any(|s| s.host.as_ref().is_some_and(|host| fits(&s.action, host)))
        };
        // What our own failed joins left is removed without having been shown: entries that were not there before.
        let new = |id: &NodeId| !self.before.contains(id);
        let own = |id: &NodeId| self.infos.iter().find(|(_, i)| i.node.as_ref() == Some(id)).map(|(h, _)| h.clone());
        // A promotion whose engine cannot follow goes on as a join: the node that its host was is taken back.
        let promoted = |id: &NodeId| self.was.get(id).is_some_and(|of| any(&|a, h| h == of && matches!(a, Action::Promote(_))));
        let shown = match sent {
            Sent::Init => any(&|a, h| h == host && matches!(a, Action::Init(_))),
            Sent::Join { role } => any(&|a, h| {
                h == host
                    && (matches!(a, Action::Join(step::Join { role: r, .. }) if r == role)
                        || matches!(a, Action::Promote(_) if *role == Role::Manager))
            }),
            Sent::Leave { force: Force::No } => {
                any(&|a, h| h == host && matches!(a, Action::Leave(_) | Action::Join(_) | Action::Init(_) | Action::Promote(_)))
            }
            Sent::Leave { force: Force::Yes } => {
                any(&|a, h| h == host && matches!(a, Action::Leave(step::Leave { force: Force::Yes, .. })))
            }
            Sent::UpdateNode { id, change, .. } => {
                let of = own(id);
                let named = |a: &Action| matches!(a, Action::RemoveNode(step::RemoveNode { node, .. }) if node == *id);
                let taken_back = (new(id) || promoted(id)) && change.role == Some(Role::Worker) && of.is_none();
                // What may be a failed join's gets that host's name, and nothing else.
                let bare = |n: &NodeFacts| n.hostname.is_empty() && n.manager.is_none();
                let only_named = change.role.is_none() && change.availability.is_none() && change.labels.len() == 1;
                let name = change.labels.get(JOIN_LABEL).and_then(Option::as_deref).filter(|_| only_named);
                let joins = |a: &Action, h: &HostName| Some(h.as_str()) == name && matches!(a, Action::Join(_) | Action::Promote(_));
                let marked = new(id) && self.listed(id).is_some_and(bare) && any(&joins);
                taken_back
                    || marked
                    || any(&|a, h| {
                        named(a)
                            || (of.as_ref() == Some(h)
                                && match a {
                                    Action::Promote(step::Promote { rejoin }) => {
                                        let dressed = |(k, v)| rejoin.node.labels.get(k) == Some(v);
                                        let as_it_was = change.availability.is_none() || change.availability == rejoin.node.availability;
                                        change.role == Some(Role::Manager)
                                            || (change.role.is_none() && as_it_was && change.labels.iter().all(dressed))
                                    }
                                    Action::Demote => change.role == Some(Role::Worker),
                                    Action::Configure(step::Configure { change: shown }) => {
                                        change.role.is_none()
                                            && change.labels.iter().all(|(k, v)| shown.labels.get(k) == Some(v))
                                            && (change.availability.is_none() || change.availability == shown.availability)
                                    }
                                    _ => false,
                                })
                    })
            }
            Sent::RemoveNode { id, .. } => {
                new(id) || promoted(id) || any(&|a, _| matches!(a, Action::RemoveNode(step::RemoveNode { node, .. }) if node == *id))
            }
            Sent::CreateObject { .. } | Sent::UpdateObject { .. } | Sent::RemoveObject { .. } => true,
            Sent::UpdateSwarm { change } => any(&|a, _| matches!(a, Action::UpdateSwarm(step::UpdateSwarm { change: c }) if c == *change)),
            Sent::ForceNewCluster => any(&|a, h| h == host && matches!(a, Action::Recover(_))),
            Sent::Unlock | Sent::Read(_) | Sent::Token { .. } | Sent::Run { .. } => true,
        };
        if !shown {
            found.push(("I15", format!("{host} was changed otherwise than shown: {sent:?}")));
        }
    }

    fn looked_into(&self, object: &Object, found: &mut Found) {
        if self.doubts.contains(object) {
            found.push(("I10", format!("{object:?} was changed again while the outcome of the last change was not known")));
        }
    }

    fn init(&mut self, host: &HostName, now: Duration, found: &mut Found) {
        self.looked_into(&Object::Host(host.clone()), found);
        for manager in self.spec.managers() {
            match self.infos.get(&manager.name).map(swarm_core::observe::LocalSwarm::state) {
                Some(LocalState::Inactive) => {}
                None if self.init_on.as_ref() == Some(host) || self.was_without(&manager.name, now) => {}
                Some(LocalState::Active | LocalState::Error | LocalState::Pending) if self.forced.contains(&manager.name) => {}
                state => found.push(("I1", format!("a swarm is made while the manager {} is {state:?}", manager.name))),
            }
        }
        for (name, info) in &self.infos {
            // A host that is to be in no swarm may be in one of its own.
            let counts = self.spec.host(name).is_some_and(|h| !h.absent);
            if counts && *info.state() == LocalState::Active && !self.forced.contains(name) && name != host {
                found.push(("I2", format!("a swarm is made while {name} is in one")));
            }
        }
    }

    fn join(&mut self, host: &HostName, role: Role, state: &State, found: &mut Found) {
        self.looked_into(&Object::Host(host.clone()), found);
        let wanted = self.spec.host(host).filter(|h| !h.absent).map(|h| h.role);
        if wanted != Some(role) {
            found.push(("I13", format!("the {role} token went to {host}, which is no {role} in the file")));
        }
        if let Some(LocalState::Active | LocalState::Error | LocalState::Locked) =
            self.infos.get(host).map(swarm_core::observe::LocalSwarm::state)
        {
            found.push(("I5", format!("{host} is in a swarm and is asked to join one")));
        }
        if self.rotating.1 {
            found.push(("I19", format!("{host} joins while the root is being replaced")));
        }
        let joins = self.joins.entry(host.clone()).or_default();
        *joins += 1;
        if *joins > JOINS_PER_RUN {
            found.push(("I11", format!("{host} was asked to join {joins} times in one run")));
        }
        if role == Role::Manager && (self.born.is_none() || *joins > 1) {
            self.no_second_dead_member(host, state, found);
        }
        // A swarm that this run made holds nothing yet: its managers may come at once.
        if role == Role::Manager && self.born.is_none() {
            self.change_of_managers(host, Role::Manager, NodeId::new(""), state, found);
        }
    }

    fn leave(&mut self, host: &HostName, force: Force, state: &State, found: &mut Found) {
        self.looked_into(&Object::Host(host.clone()), found);
        let reported = self.infos.get(host);
        let proven = reported.and_then(|i| i.node.as_ref()).is_some_and(|n| self.listed(n).is_none()) && !self.lists.is_empty();
        // An engine in error names no node; its certificate does.
        let broken = state.host(host).filter(|h| matches!(h.local, Local::Error { .. }));
        let certified = broken.and_then(|h| h.certificate.as_ref()).is_some_and(|c| self.listed(&c.node).is_none());
        let proven = proven || (certified && !self.lists.is_empty());
        // One that has no log is a member in name only; one that is in no swarm has nothing to lose.
        let proven = proven || state.host(host).is_some_and(|h| h.is_mute() || h.local == Local::Inactive);
        if force == Force::Yes && !self.forced.contains(host) && self.purpose != Purpose::Destroy && !proven {
            found.push(("I7", format!("{host} leaves by force, and nothing proves that it is no member")));
        }
        // The truth, not what was reported: nothing of another swarm is ever ended unasked.
        if let Some(Local::Active { swarm, node, .. }) = state.host(host).map(|h| &h.local)
            && let Some(books) = state.swarms.get(*swarm)
            && !self.forced.contains(host)
        {
            let ours = self.cluster.as_ref().is_none_or(|c| *c == books.id) && self.cluster.is_some();
            if !ours && books.nodes.contains_key(node) {
                found.push(("I5", format!("{host} is taken out of swarm {}, which is not the one of the file", books.id)));
            }
            // What the file wants in no swarm leaves; unless it is forced, an engine with a vote refuses.
            let goes = self.spec.host(host).is_some_and(|h| h.absent) && (force == Force::No || !books.raft.contains_key(node));
            if ours && books.nodes.contains_key(node) && !proven && !goes && self.purpose != Purpose::Destroy {
                found.push(("I7", format!("{host} leaves, and is a member of the file's swarm")));
            }
            if books.raft.len() == 1 && books.raft.contains_key(node) && self.purpose != Purpose::Destroy {
                found.push(("I4", format!("{host} is the last manager and leaves")));
            }
            if books.raft.contains_key(node) && books.raft.len() > 1 && self.purpose == Purpose::Destroy && force == Force::Yes {
                let healthy = books.raft.keys().filter(|v| *v != node && state.lives(*swarm, v)).count();
                if healthy < books.raft.len() / 2 + 1 && state.leads(*swarm).is_some() {
                    found.push(("I3", format!("{host} leaves as one of {} managers, and takes the majority away", books.raft.len())));
                }
            }
        }
    }

    fn update(&mut self, host: &HostName, id: &NodeId, version: u64, change: &NodeChange, state: &State, found: &mut Found) {
        self.looked_into(&Object::Node(id.clone()), found);
        if !self.known.contains(id) {
            found.push(("I6", format!("node {id} is changed, and this run never saw it")));
        }
        if !self.versions.get(id).is_some_and(|reported| reported.contains(&version)) {
            found.push(("I8", format!("node {id} is changed with version {version}, which was not read for this")));
        }
        if let Some(role) = change.role {
            let of = self.infos.iter().find(|(_, i)| i.node.as_ref() == Some(id)).map_or(host.clone(), |(h, _)| h.clone());
            self.change_of_managers(&of, role, id.clone(), state, found);
        }
    }

    fn remove(&mut self, id: &NodeId, force: Force, found: &mut Found) {
        self.looked_into(&Object::Node(id.clone()), found);
        if force == Force::Yes {
            found.push(("I7", format!("node {id} is removed by force")));
        }
        if self.infos.values().any(|i| i.node.as_ref() == Some(id) && *i.state() == LocalState::Active) {
            found.push(("I6", format!("node {id} is removed, and one of the hosts is that node")));
        }
        match self.listed(id) {
            // An entry whose host died before it gave its name is never down.
            Some(node) if node.hostname.is_empty() && node.manager.is_none() && node.state == NodeState::Unknown => {}
            Some(node) if node.state != NodeState::Down => {
                found.push(("I6", format!("node {id} is removed while it is {:?}", node.state)));
            }
            Some(_) => {}
            None => found.push(("I6", format!("node {id} is removed, and no list names it"))),
        }
    }
}
