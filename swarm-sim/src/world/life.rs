//! What swarms do by themselves while time passes: elections, heartbeats, changes of role and of the root.

use super::host::{EngineState, Local};
use super::op::Op;
use super::state::{Event, State};
use super::swarm::{HostName, NodeId, Swarm};
use std::time::Duration;
use swarm_core::observe::NodeState;
use swarm_core::spec::Role;

/// Three heartbeats of 5 s and a grace (swarmkit `manager/dispatcher`).
const DOWN_AFTER: Duration = Duration::from_millis(15_500);
/// When raft calls a member unreachable.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(2);
/// How long a leader without a majority still believes that it leads (raft's quorum check).
const LEADER_HOLDS: Duration = Duration::from_secs(10);
/// How long a promoted engine waits for an answer of the manager that it joined through.
const DIALS: Duration = Duration::from_secs(20);
/// The grain of what happens by itself.
const TICK: Duration = Duration::from_millis(250);

impl State {
    /// Something changed: every swarm looks after itself for a while.
    pub(crate) fn disturb(&mut self) {
        for index in 0..self.swarms.len() {
            if self.swarms.get_mut(index).is_some_and(|s| !std::mem::replace(&mut s.ticking, true)) {
                self.at(self.now, Event::Tick(index));
            }
        }
    }

    pub(super) fn tick(&mut self, index: usize) {
        self.elections(index);
        let steady =
            self.awake(index) & self.contacts(index) & self.heartbeats(index) & self.roles(index) & self.rotation(index) & self.work(index);
        let settled = self.leads(index).is_some() && self.swarms.get(index).is_some_and(|s| s.lost_since.is_none());
        let dead = self.swarms.get(index).is_some_and(|s| s.leader.is_none() && s.elect_at.is_none());
        if let Some(s) = self.swarms.get_mut(index) {
            s.ticking = !(steady && (settled || dead));
            if s.ticking {
                self.at(self.now + TICK, Event::Tick(index));
            }
        }
    }

    /// Whether there is a leader, and who is next.
    fn elections(&mut self, index: usize) {
        let leads = self.leads(index);
        let now = self.now;
        let candidate = match &leads {
            Some(_) => None,
            None => {
                let members: Vec<NodeId> = self.swarms.get(index).map(|s| s.raft.keys().cloned().collect()).unwrap_or_default();
                members.into_iter().find(|m| self.has_majority(index, m))
            }
        };
        let pause = Duration::from_millis(1000 + self.rng.u64(0..3000));
        let Some(s) = self.swarms.get_mut(index) else { return };
        if leads.is_some() {
            (s.lost_since, s.elect_at) = (None, None);
            return;
        }
        let lost = *s.lost_since.get_or_insert(now);
        match candidate {
            Some(member) => {
                if s.leader.as_ref() == Some(&member) {
                    s.lost_since = None;
                    return;
                }
                let at = *s.elect_at.get_or_insert(now + pause);
                if now >= at {
                    s.follow(&member, now);
                    if let Some(host) = self.host_of(index, &member) {
                        self.say(&host, "leads the swarm");
                    }
                }
            }
            None => {
                s.elect_at = None;
                if now >= lost + LEADER_HOLDS {
                    s.leader = None;
                }
            }
        }
    }

    /// Nodes that restarted find their swarm: a manager its leader, a worker a manager. Gives whether none is about to.
    fn awake(&mut self, index: usize) -> bool {
        let waking = |h: &&super::host::Host| h.waking && h.node().is_some_and(|(swarm, _)| swarm == index);
        let waking: Vec<HostName> = self.hosts.values().filter(waking).map(|h| h.name.clone()).collect();
        for name in waking {
            let found = match self.hosts.get(&name).map(|h| &h.local) {
                Some(Local::Active { control: true, .. }) => matches!(self.control(&name), super::state::Control::Yes { .. }),
                _ => self.reports(index, &name),
            };
            if let Some(host) = self.hosts.get_mut(&name).filter(|_| found) {
                host.waking = false;
            }
        }
        true
    }

    /// Which members the leader has contact with, also one that has lost its majority. Gives whether nothing is about to change.
    fn contacts(&mut self, index: usize) -> bool {
        let Some(leader) = self.swarms.get(index).and_then(|s| s.leader.clone()) else { return true };
        let Some(leads_on) = self.host_of(index, &leader).filter(|_| self.lives(index, &leader)) else { return true };
        let voters: Vec<NodeId> = self.swarms.get(index).map(|s| s.raft.keys().cloned().collect()).unwrap_or_default();
        let now = self.now;
        let mut steady = true;
        for id in voters {
            let host = self.host_of(index, &id);
            let linked = host.as_ref().is_some_and(|host| self.linked(&leads_on, host));
            let hears = self.lives(index, &id) && linked;
            let reached = hears || self.answers_for(index, &id);
            let Some(voter) = self.swarms.get_mut(index).and_then(|s| s.raft.get_mut(&id)) else { continue };
            if reached {
                voter.silent_since = None;
            } else {
                let since = *voter.silent_since.get_or_insert(now);
                steady &= now >= since + UNREACHABLE_AFTER;
            }
        }
        steady
    }

    /// Who reports. Gives whether nothing is about to change.
    fn heartbeats(&mut self, index: usize) -> bool {
        if self.leads(index).is_none() {
            return true;
        }
        let nodes: Vec<(NodeId, HostName, NodeState)> = self
            .swarms
            .get(index)
            .map(|s| s.nodes.values().map(|n| (n.id.clone(), n.host.clone(), n.state.clone())).collect())
            .unwrap_or_default();
        let goes_on = |op: &&Op| self.hosts.get(&op.host).is_some_and(|h| h.life == op.life && h.powered);
        let joins = self.ops.values().filter(|op| op.answer.is_none()).filter(goes_on);
        let under_way: std::collections::BTreeSet<NodeId> = joins.filter_map(|op| op.node.clone()).collect();
        let mut steady = true;
        let mut moved = false;
        for (id, host, state) in nodes {
            let joining = under_way.contains(&id);
            let hung = self.hosts.get(&host).is_some_and(|h| h.waking && h.is_mute());
            let there = self.lives(index, &id) && !hung || joining;
            let heard = there && self.reports(index, &host);
            let now = self.now;
            let pause = Duration::from_millis(200 + self.rng.u64(0..2500));
            let mut comes_back = false;
            let Some(s) = self.swarms.get_mut(index) else { return true };
            let Some(node) = s.nodes.get_mut(&id) else { continue };
            if heard {
                node.last_seen = now;
                if state != NodeState::Ready && !joining {
                    let at = *node.back_at.get_or_insert(now + pause);
                    steady = false;
                    comes_back = now >= at;
                }
            } else {
                node.back_at = None;
                let never_there = node.hostname.is_empty() && node.message.is_empty();
                if state != NodeState::Down && !never_there {
                    steady = false;
                    if now >= node.last_seen + DOWN_AFTER {
                        node.state = NodeState::Down;
                        node.message = "heartbeat failure".into();
                        s.version += 1;
                        node.version = s.version;
                        moved = true;
                    }
                }
            }
            if comes_back {
                self.register(index, &id);
                // A node that was away learns of its role when it is back.
                self.again(index, &id, Some(Duration::from_millis(300)));
            }
        }
        if moved {
            self.replace_tasks(index);
        }
        steady
    }

    /// Raft counts a member as reached if anyone answers on its address: a dead one looks alive where its successor has the same
    /// address (moby#34722).
    fn answers_for(&self, index: usize, id: &NodeId) -> bool {
        let Some(entry) = self.swarms.get(index).and_then(|s| s.nodes.get(id)) else { return false };
        self.by_address
            .get(&entry.advertise)
            .and_then(|h| self.hosts.get(h))
            .is_some_and(|h| h.runs() && matches!(&h.local, Local::Active { swarm, node, control: true } if *swarm == index && node != id))
    }

    /// Promotions and demotions follow the change of a role (swarmkit `manager/role_manager.go`). Gives whether none is due.
    fn roles(&mut self, index: usize) -> bool {
        let due: Vec<(NodeId, Role, Duration)> = self
            .swarms
            .get(index)
            .map(|s| s.nodes.values().filter_map(|n| Some((n.id.clone(), n.role, n.role_due?))).collect())
            .unwrap_or_default();
        let steady = due.is_empty();
        self.errors_go_on(index);
        for (id, role, at) in due {
            if self.now < at || self.leads(index).is_none() {
                continue;
            }
            let voter = self.swarms.get(index).is_some_and(|s| s.raft.contains_key(&id));
            match (role, voter) {
                (Role::Manager, false) if self.cannot_follow(index, &id) => {}
                (Role::Manager, false) => {
                    if self.lives(index, &id) && self.dials_back(index, &id) && !self.port_taken(index, &id) {
                        self.insert_voter(index, &id);
                        self.again(index, &id, Some(Duration::from_millis(500)));
                    } else {
                        self.again(index, &id, Some(Duration::from_secs(5)));
                    }
                }
                (Role::Manager, true) => {
                    if self.lives(index, &id) {
                        self.become_member(index, &id, true);
                        self.again(index, &id, None);
                    } else {
                        self.again(index, &id, Some(Duration::from_secs(5)));
                    }
                }
                (Role::Worker, true) if self.may_remove(index, &id) => {
                    // A leader that is demoted hands over before it goes (swarmkit `raft.go`, TransferLeadership).
                    let heirs: Vec<NodeId> = self.swarms.get(index).map(|s| s.raft.keys().cloned().collect()).unwrap_or_default();
                    let heir = heirs.into_iter().find(|v| *v != id && self.lives(index, v));
                    let now = self.now;
                    if let Some(s) = self.swarms.get_mut(index) {
                        s.raft.remove(&id);
                        match heir {
                            Some(heir) if s.leader.as_ref() == Some(&id) => s.follow(&heir, now),
                            None if s.leader.as_ref() == Some(&id) => s.leader = None,
                            _ => {}
                        }
                    }
                    self.again(index, &id, Some(Duration::from_millis(300)));
                }
                (Role::Worker, true) => self.again(index, &id, Some(Duration::from_secs(5))),
                (Role::Worker, false) => {
                    // One without a log does not hear of its role, and neither does one that reaches no manager: it goes on as a manager
                    // (seen on engine 20.10).
                    let host = self.host_of(index, &id);
                    let mute = host.as_ref().and_then(|h| self.hosts.get(h)).is_some_and(super::host::Host::is_mute);
                    let hears = self.lives(index, &id) && host.is_some_and(|h| self.reports(index, &h));
                    if hears && !mute {
                        self.become_member(index, &id, false);
                    }
                    self.again(index, &id, (!hears).then_some(Duration::from_secs(5)));
                }
            }
        }
        steady
    }

    /// An engine whose disk had no room for a log goes on trying: once taken out of raft, it gets itself in again, as dead as before, for
    /// as long as its node is listed (seen on engines 20.10).
    fn errors_go_on(&mut self, index: usize) {
        if self.leads(index).is_none() {
            return;
        }
        let Some(books) = self.swarms.get(index) else { return };
        let tries = |h: &super::host::Host| {
            let text = matches!(&h.local, Local::Error { text, .. } if *text == super::words::no_room_for_raft().text);
            let certificate = h.certificate.as_ref().filter(|c| text && h.runs() && c.cluster == books.id)?;
            let again = books.nodes.contains_key(&certificate.node) && !books.raft.contains_key(&certificate.node);
            again.then(|| certificate.node.clone())
        };
        let again: Vec<NodeId> = self.hosts.values().filter_map(tries).collect();
        for id in again {
            self.insert_voter(index, &id);
        }
    }

    /// A promoted engine dials the manager it once joined through. Where that one is a manager of the swarm no more, an engine 20.10 goes
    /// into error and stays there until it is restarted, and its node stops reporting; engines 26.1 and 28.5 start their node again, find
    /// another manager, and go on calling it `error`, without a reason, until they are restarted (seen on all three). Where the disk has no room for a log, the leader has
    /// already taken it in.
    fn cannot_follow(&mut self, index: usize, id: &NodeId) -> bool {
        let Some(host) = self.host_of(index, id) else { return false };
        let Some(h) = self.hosts.get(&host).filter(|h| h.runs() && h.node().is_some_and(|(s, n)| s == index && n == id)) else {
            return false;
        };
        if h.disk_low && self.dials_back(index, id) {
            self.insert_voter(index, id);
            self.set_local(&host, Local::Error { text: super::words::no_room_for_raft().text, node: None });
            self.again(index, id, None);
            self.disturb();
            return true;
        }
        let Some(through) = h.joined_through else { return false };
        // One that hears no manager does not know of its promotion (seen on engine 20.10).
        if !self.reports(index, &host) {
            return false;
        }
        let manages = |name: &HostName| {
            self.hosts.get(name).is_some_and(|m| {
                m.powered && self.linked(&host, name) && matches!(&m.local, Local::Active { swarm, control: true, .. } if *swarm == index)
            })
        };
        if self.by_address.get(&through).is_some_and(manages) {
            if let Some(h) = self.hosts.get_mut(&host) {
                h.dials_until = None;
            }
            return false;
        }
        // One that is silent is waited for (seen on engine 20.10: 20 s).
        let silent = self.by_address.get(&through).is_none_or(|name| {
            self.hosts.get(name).is_none_or(|m| !m.powered || m.engine == EngineState::Frozen || !self.linked(&host, name))
        });
        let (until, gives_up) = (h.dials_until.unwrap_or(self.now + DIALS), h.version.starts_with("20."));
        if let Some(h) = self.hosts.get_mut(&host) {
            h.dials_until = (silent && self.now < until).then_some(until);
        }
        if silent && self.now < until {
            self.again(index, id, Some(until - self.now));
            return true;
        }
        if !gives_up {
            if let Some(h) = self.hosts.get_mut(&host) {
                (h.stumbled, h.joined_through) = (true, None);
            }
            self.say(&host, "dials the manager it joined through without success, and its node starts again");
            return false;
        }
        let text = super::words::old_manager_gone(&format!("{through}:2377"));
        self.set_local(&host, Local::Error { text, node: None });
        self.say(&host, "cannot follow its promotion: the manager it joined through is gone");
        self.again(index, id, None);
        self.disturb();
        true
    }

    fn port_taken(&self, index: usize, id: &NodeId) -> bool {
        self.host_of(index, id).and_then(|h| self.hosts.get(&h)).is_some_and(|h| h.port_taken)
    }

    /// Looks at a node's role again after a while.
    pub(crate) fn again(&mut self, index: usize, id: &NodeId, after: Option<Duration>) {
        let now = self.now;
        if let Some(node) = self.swarms.get_mut(index).and_then(|s| s.nodes.get_mut(id)) {
            node.role_due = after.map(|a| now + a);
        }
    }

    /// Whether raft lets a member go: the rest must be a majority that is heard (swarmkit `membership/cluster.go`, CanRemoveMember).
    pub(crate) fn may_remove(&self, index: usize, id: &NodeId) -> bool {
        let (Some(s), Some(leader)) = (self.swarms.get(index), self.leads(index)) else { return false };
        let rest = s.raft.keys().filter(|v| *v != id);
        let heard = rest.clone().filter(|v| self.hears(index, &leader, v) || **v == leader).count();
        heard >= Swarm::majority(rest.count())
    }

    /// A new root reaches every node that is there; a node that is away holds it up (swarmkit `ca/reconciler.go`).
    fn rotation(&mut self, index: usize) -> bool {
        let Some(to) = self.swarms.get(index).and_then(|s| s.rotating_to) else { return true };
        let live: Vec<NodeId> =
            self.swarms.get(index).map(|s| s.nodes.keys().filter(|n| self.lives(index, n)).cloned().collect()).unwrap_or_default();
        let tokens = (self.id('w'), self.id('m'));
        let renews = self.rng.u64(0..4) == 0;
        let leads = self.leads(index).is_some();
        let Some(s) = self.swarms.get_mut(index) else { return true };
        if !leads {
            return true;
        }
        for id in live.iter().filter(|_| renews) {
            if let Some(node) = s.nodes.get_mut(id) {
                node.root = to;
            }
        }
        if s.nodes.values().all(|n| n.root == to) {
            s.root = to;
            s.rotating_to = None;
            s.tokens = tokens;
            s.version += 1;
            return true;
        }
        // Only those that are away are missing: nothing happens until they are back or gone.
        s.nodes.values().all(|n| n.root == to || !live.contains(&n.id))
    }
}
