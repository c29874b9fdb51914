//! How engines get into swarms: an init or a join goes on whoever listens, and ends as it would in an engine.

use super::host::{Certificate, EngineState, Local};
use super::op::{Op, OpKind};
use super::state::{Control, Event, JOIN_ANSWERS_AFTER, State};
use super::swarm::{HostName, Node, NodeId, Swarm, Voter};
use super::words::{self, Words};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use swarm_core::engine::{InitRequest, JoinRequest};
use swarm_core::observe::NodeState;
use swarm_core::spec::Role;

/// Five tries, two seconds apart (swarmkit `ca/config.go`, DownloadRootCA).
const REMOTE_TRIES: u32 = 5;
const REMOTE_PAUSE: Duration = Duration::from_secs(2);
/// When managers have agreed on a new member that lose the packets to one another: later than a join waits.
const AGREED_LATE: Duration = Duration::from_secs(22);
/// When a join that no one answers ends in an error.
const JOIN_GIVES_UP: Duration = Duration::from_secs(26);

impl State {
    fn new_op(&mut self, host: &HostName, kind: OpKind) -> u64 {
        self.next_event += 1;
        let id = self.next_event;
        let life = self.hosts.get(host).map_or(0, |h| h.life);
        let op = Op { host: host.clone(), life, began: self.now, kind, tries: 0, node: None, swarm: None, answer: None, next: self.now };
        self.ops.insert(id, op);
        id
    }

    fn wake(&mut self, id: u64, after: Duration) {
        let when = self.now + after;
        if let Some(op) = self.ops.get_mut(&id) {
            op.next = when;
        }
        self.at(when, Event::Op(id));
    }

    /// What stands against an init or a join before it begins.
    fn unfit(&self, host: &HostName, listens: bool) -> Option<Words> {
        let h = self.hosts.get(host)?;
        if h.local != Local::Inactive {
            return Some(words::already_in());
        }
        if h.live_restore {
            return Some(words::live_restore());
        }
        if h.disk_full {
            return Some(words::disk_full());
        }
        (listens && h.port_taken).then(words::port_taken)
    }

    /// `POST /swarm/init`. The answer comes later; what is begun goes on whoever listens (moby `cluster_routes.go`).
    pub(crate) fn init(&mut self, host: &HostName, request: &InitRequest) -> Result<u64, Words> {
        if let Some(no) = self.unfit(host, true) {
            return Err(no);
        }
        let id = self.new_op(host, OpKind::Init(Box::new(request.clone())));
        self.set_local(host, Local::Pending);
        // Half a second more where the engine looks at itself just before it is ready (swarmkit `node/node.go`, its health check).
        let after = if self.rng.bool() { 120 } else { 520 };
        self.wake(id, Duration::from_millis(after));
        Ok(id)
    }

    /// `POST /swarm/join`.
    pub(crate) fn join(&mut self, host: &HostName, request: &JoinRequest, token: &str) -> Result<u64, Words> {
        if let Some(no) = self.unfit(host, false) {
            return Err(no);
        }
        if !token.is_empty() && parse_token(token).is_none() {
            return Err(words::bad_token());
        }
        let through = request.remote.rsplit_once(':').and_then(|(ip, _)| ip.trim_matches(['[', ']']).parse().ok());
        if let Some(h) = self.hosts.get_mut(host) {
            h.joined_through = through;
        }
        let id = self.new_op(host, OpKind::Join { request: request.clone(), token: token.to_owned() });
        self.set_local(host, Local::Pending);
        self.wake(id, Duration::from_millis(10));
        Ok(id)
    }

    pub(crate) fn set_local(&mut self, host: &HostName, local: Local) {
        if let Some(h) = self.hosts.get_mut(host) {
            h.local = local;
            h.waking = false;
            h.stumbled = false;
            // What has no log has none that is full; another one finds no room.
            h.log_full = h.stuck_since();
        }
    }

    /// An operation's answer, or how long to wait for it. An answer is given once.
    pub(crate) fn op_answer(&mut self, id: u64) -> Result<Result<(), Words>, Duration> {
        let Some(op) = self.ops.get_mut(&id) else { return Ok(Err(words::deadline())) };
        match op.answer.take() {
            Some(answer) => {
                // What goes on in the background is kept until it ends.
                if op.next <= self.now {
                    self.ops.remove(&id);
                } else {
                    self.ops.entry(id).and_modify(|op| op.answer = Some(answer.clone()));
                }
                Ok(answer)
            }
            None => {
                let patience = (op.began + JOIN_ANSWERS_AFTER).max(self.now + Duration::from_millis(1));
                Err(op.next.min(patience).saturating_sub(self.now).max(Duration::from_millis(1)))
            }
        }
    }

    /// Carries an operation out at once.
    pub(crate) fn finish(&mut self, id: u64) {
        self.op_goes_on(id);
        self.ops.remove(&id);
    }

    /// Makes a host a worker of a swarm at once.
    pub(crate) fn enrol(&mut self, swarm: usize, host: &HostName, advertise: IpAddr) {
        let node = self.add_node(swarm, host, Role::Worker, swarm_core::spec::Availability::Active, advertise);
        self.become_member(swarm, &node, false);
    }

    fn answer(&mut self, id: u64, answer: Result<(), Words>) {
        if let Some(op) = self.ops.get_mut(&id)
            && op.answer.is_none()
        {
            op.answer = Some(answer);
        }
    }

    pub(super) fn op_goes_on(&mut self, id: u64) {
        let Some(op) = self.ops.get(&id).cloned() else { return };
        let host = self.hosts.get(&op.host);
        match host {
            Some(h) if h.life == op.life && h.powered && h.engine == EngineState::Frozen => return self.wake(id, Duration::from_secs(1)),
            Some(h) if h.life == op.life && h.runs() => {}
            _ => {
                self.ops.remove(&id);
                return self.disturb();
            }
        }
        match &op.kind {
            OpKind::Init(request) => self.init_goes_on(id, &op, request),
            OpKind::Join { request, token } => self.join_goes_on(id, &op, request, token),
        }
    }

    fn init_goes_on(&mut self, id: u64, op: &Op, request: &InitRequest) {
        if op.swarm.is_some() {
            self.answer(id, Ok(()));
            return;
        }
        let cluster = self.id('c').as_str().into();
        let made_at = self.hosts.get(&op.host).map_or(0, |h| h.skew);
        let tokens = (self.id('w'), self.id('m'));
        let index = self.swarms.len();
        let swarm = Swarm::new(cluster, request, i64::try_from(self.now.as_secs()).unwrap_or(0) + made_at - 300, tokens);
        self.swarms.push(swarm);
        let node = self.add_node(index, &op.host, Role::Manager, request.availability, request.advertise);
        let port = request.listen.rsplit(':').next().unwrap_or("2377").to_owned();
        if let Some(swarm) = self.swarms.get_mut(index) {
            let address = std::net::SocketAddr::new(request.advertise, port.parse().unwrap_or(2377)).to_string();
            swarm.raft.insert(node.clone(), Voter { address, silent_since: None });
            swarm.leader = Some(node.clone());
        }
        self.become_member(index, &node, true);
        self.say(&op.host.clone(), "made a swarm");
        self.watches.swarm_born(self.now, &op.host, index);
        if let Some(op) = self.ops.get_mut(&id) {
            op.swarm = Some(index);
        }
        self.wake(id, Duration::from_millis(100));
    }

    /// A node object, as the CA makes it when a certificate is issued: whatever becomes of the join, it stays
    /// (swarmkit `ca/server.go`, IssueNodeCertificate).
    fn add_node(
        &mut self,
        swarm: usize,
        host: &HostName,
        role: Role,
        availability: swarm_core::spec::Availability,
        advertise: IpAddr,
    ) -> NodeId {
        let id = NodeId::new(self.id('n'));
        let engine = self.hosts.get(host).map_or_else(String::new, |h| h.version.clone());
        let now = self.now;
        if let Some(swarm) = self.swarms.get_mut(swarm) {
            swarm.version += 1;
            let node = Node {
                id: id.clone(),
                host: host.clone(),
                version: swarm.version,
                created: now,
                hostname: String::new(),
                address: None,
                advertise,
                engine,
                role,
                availability,
                labels: BTreeMap::new(),
                state: NodeState::Unknown,
                message: String::new(),
                last_seen: now,
                back_at: None,
                root: swarm.root,
                role_due: None,
            };
            swarm.nodes.insert(id.clone(), node);
        }
        id
    }

    /// The node registers with the managers, and its engine is in the swarm.
    pub(super) fn become_member(&mut self, swarm: usize, node: &NodeId, control: bool) {
        let Some(host) = self.host_of(swarm, node) else { return };
        let Some((cluster, role)) = self.swarms.get(swarm).and_then(|s| Some((s.id.clone(), s.nodes.get(node)?.role))) else { return };
        if let Some(h) = self.hosts.get_mut(&host) {
            // One that restarted as this node goes on looking for its swarm.
            h.waking &= h.node().is_some_and(|(s, n)| s == swarm && n == node);
            h.stumbled &= h.node().is_some_and(|(s, n)| s == swarm && n == node);
            h.local = Local::Active { swarm, node: node.clone(), control };
            h.certificate = Some(Certificate { cluster, node: node.clone(), role });
        }
        self.register(swarm, node);
        if self.swarms.get(swarm).is_some_and(|s| s.raft.contains_key(node) != control || role == Role::Manager) {
            self.disturb();
        }
    }

    /// The managers hear of a node.
    pub(super) fn register(&mut self, swarm: usize, node: &NodeId) {
        let Some(host) = self.host_of(swarm, node) else { return };
        let hostname = self.hosts.get(&host).map_or_else(String::new, |h| h.hostname.clone());
        let now = self.now;
        let new = self.swarms.get_mut(swarm).map(|s| {
            s.version += 1;
            let version = s.version;
            if let Some(n) = s.nodes.get_mut(node) {
                n.hostname = hostname;
                n.address = Some(n.advertise);
                n.state = NodeState::Ready;
                n.message = String::new();
                n.last_seen = now;
                n.back_at = None;
                n.version = version;
            }
            s.place()
        });
        self.landed(swarm, new.unwrap_or_default());
        // A root that is being replaced waits for every node.
        if self.swarms.get(swarm).is_some_and(|s| s.rotating_to.is_some()) {
            self.disturb();
        }
    }

    pub(super) fn landed(&mut self, swarm: usize, tasks: Vec<super::swarm::Task>) {
        for task in tasks {
            let labels = self.swarms.get(swarm).and_then(|s| s.nodes.get(&task.node)).map(|n| n.labels.clone()).unwrap_or_default();
            if let Some(host) = self.host_of(swarm, &task.node) {
                self.watches.task_landed(self.now, &host, &labels);
            }
        }
    }

    pub(crate) fn replace_tasks(&mut self, swarm: usize) {
        let new = self.swarms.get_mut(swarm).map(Swarm::place);
        self.landed(swarm, new.unwrap_or_default());
    }

    fn join_goes_on(&mut self, id: u64, op: &Op, request: &JoinRequest, token: &str) {
        let waited = self.now.saturating_sub(op.began);
        if waited >= JOIN_ANSWERS_AFTER {
            self.answer(id, Err(words::join_goes_on()));
        }
        if let (Some(swarm), Some(node)) = (op.swarm, &op.node) {
            return self.join_gets_in(id, op, swarm, node);
        }
        let host = op.host.clone();
        // What is refused at once is tried again and refused after ten seconds; what is silent, after the engine's own time-out.
        let refusal = match self.knock(&host, request, token) {
            Knock::In { swarm, role } => {
                let node = self.add_node(swarm, &host, role, request.availability, request.advertise);
                self.watches.node_made(&host, &node);
                if let Some(op) = self.ops.get_mut(&id) {
                    (op.swarm, op.node) = (Some(swarm), Some(node));
                }
                let after = if role == Role::Manager { 150 } else { 40 + self.rng.u64(0..80) };
                return self.wake(id, Duration::from_millis(after));
            }
            Knock::Refused(words) => Some(words),
            Knock::Silent(words) => {
                if waited >= JOIN_GIVES_UP {
                    return self.join_failed(id, &host, words, waited);
                }
                return self.wake(id, Duration::from_secs(2));
            }
        };
        if let Some(words) = refusal {
            if op.tries >= REMOTE_TRIES {
                return self.join_failed(id, &host, words, waited);
            }
            if let Some(op) = self.ops.get_mut(&id) {
                op.tries += 1;
            }
            self.wake(id, REMOTE_PAUSE);
        }
    }

    /// A join that failed within the engine's patience leaves no trace on its host; later it leaves an error behind.
    fn join_failed(&mut self, id: u64, host: &HostName, words: Words, waited: Duration) {
        let late = waited >= JOIN_ANSWERS_AFTER;
        self.set_local(host, if late { Local::Error { text: words.text.clone(), node: None } } else { Local::Inactive });
        self.say(host, format!("could not join: {}", words.text));
        self.answer(id, Err(words));
        self.ops.retain(|key, op| *key != id || op.answer.is_some());
    }

    /// The first word with the remote manager.
    fn knock(&self, host: &HostName, request: &JoinRequest, token: &str) -> Knock {
        let refused = || Knock::Refused(words::refused(&request.remote));
        let silent = || Knock::Silent(words::silent(&request.remote));
        let address = request.remote.rsplit_once(':').and_then(|(ip, _)| ip.trim_matches(['[', ']']).parse::<IpAddr>().ok());
        let Some(other) = address.and_then(|ip| self.by_address.get(&ip)).and_then(|n| self.hosts.get(n)) else { return silent() };
        if !other.powered || other.port_closed || !self.linked(host, &other.name) || other.engine == EngineState::Frozen {
            return silent();
        }
        let Local::Active { swarm, control: true, .. } = &other.local else { return refused() };
        if other.engine != EngineState::Running {
            return refused();
        }
        let Some(books) = self.swarms.get(*swarm) else { return refused() };
        let clock = self.hosts.get(host).map_or(0, |h| h.skew) + i64::try_from(self.now.as_secs()).unwrap_or(0);
        match parse_token(token) {
            Some((root, _)) if root != super::swarm::digest(&books.id, books.root) => {
                return Knock::Refused(words::foreign_ca(&root.chars().filter(char::is_ascii_hexdigit).collect::<String>()));
            }
            _ if clock < books.root_from => return Knock::Refused(words::not_yet_valid()),
            _ => {}
        }
        let role = match parse_token(token) {
            Some((_, secret)) if secret == books.tokens.0 => Role::Worker,
            Some((_, secret)) if secret == books.tokens.1 => Role::Manager,
            _ => return Knock::Refused(words::token_refused()),
        };
        match self.control(&other.name) {
            Control::Yes { swarm } => Knock::In { swarm, role },
            _ => Knock::Silent(words::no_leader()),
        }
    }

    /// The certificate is there: a worker registers; a manager is dialled back and becomes a voter.
    fn join_gets_in(&mut self, id: u64, op: &Op, swarm: usize, node: &NodeId) {
        let Some(books) = self.swarms.get(swarm) else { return };
        let Some(entry) = books.nodes.get(node).cloned() else {
            // Removed meanwhile.
            let host = op.host.clone();
            self.set_local(&host, Local::Error { text: format!("node {node} was removed from swarm"), node: Some(node.clone()) });
            return self.answer(id, Err(words::deadline()));
        };
        if entry.role == Role::Worker {
            if !self.reports(swarm, &op.host) {
                return self.wake(id, Duration::from_secs(1));
            }
            self.become_member(swarm, node, false);
            self.say(&op.host.clone(), "joined as a worker");
            self.answer(id, Ok(()));
            return;
        }
        if books.raft.contains_key(node) && self.hosts.get(&op.host).is_some_and(|h| h.disk_low) {
            // The leader has taken it in, and it cannot write its log (swarmkit `raft.go`, JoinAndStart): a member that never answers. It
            // did not come so far as to report to the managers.
            self.disturb();
            let waited = self.now.saturating_sub(op.began);
            return self.join_failed(id, &op.host, words::no_room_for_raft(), waited);
        }
        if books.raft.contains_key(node) {
            // The voter's control API comes up last.
            self.become_member(swarm, node, true);
            // The leader's first entries come after the answer: later where packets are lost.
            let mut chance = fastrand::Rng::with_seed(id ^ self.now.as_micros() as u64);
            let first = Duration::from_millis(if chance.u8(0..8) == 0 { 3000 } else { chance.u64(10..60) });
            let log_from = self.now + first;
            if let Some(h) = self.hosts.get_mut(&op.host) {
                h.log_from = log_from;
            }
            self.say(&op.host.clone(), "joined as a manager");
            return self.answer(id, Ok(()));
        }
        let waited = self.now.saturating_sub(op.began);
        if self.leads(swarm).is_none() {
            if waited >= JOIN_GIVES_UP {
                return self.join_failed(id, &op.host, words::no_leader(), waited);
            }
            return self.wake(id, Duration::from_secs(1));
        }
        if self.hosts.get(&op.host).is_some_and(|h| h.port_taken) {
            return self.join_failed(id, &op.host, words::port_taken(), waited);
        }
        if !self.dials_back(swarm, node) {
            if op.tries == 0 {
                if let Some(op) = self.ops.get_mut(&id) {
                    op.tries = 1;
                }
                // The entry that stays behind looks alive for three heartbeats.
                self.register(swarm, node);
                return self.wake(id, Duration::from_secs(5));
            }
            self.disturb();
            return self.join_failed(id, &op.host, words::no_dial_back(), waited);
        }
        if self.agrees_late(swarm) && waited < AGREED_LATE {
            return self.wake(id, Duration::from_secs(1));
        }
        self.insert_voter(swarm, node);
        // Without room for a log the node may come to report before its join ends, and may not (both seen on engine 20.10).
        let started_on_low = self.hosts.get(&op.host).filter(|h| h.disk_low).map(|h| h.started_on_low);
        if started_on_low.is_none_or(|so| so || self.rng.bool()) {
            self.register(swarm, node);
        }
        let after = 400 + self.rng.u64(0..80);
        self.wake(id, Duration::from_millis(after));
    }

    fn is_lossy(&self, host: &HostName) -> bool {
        self.hosts.get(host).is_some_and(|h| h.lossy)
    }

    /// Whether the leader loses packets, and so do so many other members that it has no majority without them: what is lost on the way there
    /// and on the way back adds up, and a new member is agreed on late (seen on engine 20.10).
    fn agrees_late(&self, swarm: usize) -> bool {
        let Some((leader, books)) = self.leads(swarm).zip(self.swarms.get(swarm)) else { return false };
        let loses = |node: &NodeId| self.host_of(swarm, node).is_some_and(|host| self.is_lossy(&host));
        let good = books.raft.keys().filter(|node| !loses(node)).count();
        loses(&leader) && good < books.raft.len() / 2
    }

    pub(super) fn insert_voter(&mut self, swarm: usize, node: &NodeId) {
        if let Some(s) = self.swarms.get_mut(swarm)
            && let Some(n) = s.nodes.get(node)
        {
            let address = std::net::SocketAddr::new(n.advertise, 2377).to_string();
            s.raft.insert(node.clone(), Voter { address, silent_since: None });
        }
    }

    /// The leader dials a new manager on the address it advertises (swarmkit `raft.go`, Join).
    pub(super) fn dials_back(&self, swarm: usize, node: &NodeId) -> bool {
        let (Some(leader), Some(entry)) = (self.leads(swarm), self.swarms.get(swarm).and_then(|s| s.nodes.get(node))) else {
            return false;
        };
        let Some(leads_on) = self.host_of(swarm, &leader) else { return false };
        let there = self.by_address.get(&entry.advertise) == Some(&entry.host);
        there && self.linked(&leads_on, &entry.host) && self.hosts.get(&entry.host).is_some_and(|h| h.runs() && !h.port_closed)
    }
}

/// The outcome of asking a remote manager to join.
enum Knock {
    In { swarm: usize, role: Role },
    Refused(Words),
    Silent(Words),
}

/// Root and secret of a token.
pub(crate) fn parse_token(token: &str) -> Option<(String, String)> {
    let rest = token.strip_prefix("SWMTKN-1-")?;
    let (root, secret) = rest.split_once('-')?;
    (root.len() == 50 && secret.len() == 25).then(|| (root.to_owned(), secret.to_owned()))
}
