//! Everything there is in a simulated world, and what happens in it when time passes.

use super::host::{Certificate, EngineState, Host, Local};
use super::swarm::{HostName, Node, NodeId, Swarm, Voter};
use super::words::{self, Words};
use crate::fault::Faults;
use crate::invariant::Watches;
use crate::trace::Trace;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;
use swarm_core::engine::{InitRequest, JoinRequest};
use swarm_core::observe::NodeState;
use swarm_core::spec::Role;

/// How long an engine waits for its own join before it answers (moby `daemon/cluster/cluster.go`, swarmConnectTimeout).
pub(crate) const JOIN_ANSWERS_AFTER: Duration = Duration::from_secs(20);
/// How long an engine waits for its swarm (swarmRequestTimeout).
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Five tries, two seconds apart (swarmkit `ca/config.go`, DownloadRootCA).
const REMOTE_TRIES: u32 = 5;
const REMOTE_PAUSE: Duration = Duration::from_secs(2);
/// When a join that nobody answers ends in an error.
const JOIN_GIVES_UP: Duration = Duration::from_secs(26);
/// Three heartbeats of 5 s and a grace (swarmkit `manager/dispatcher`).
const DOWN_AFTER: Duration = Duration::from_millis(15_500);
/// When raft calls a member unreachable.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(2);
/// How long a leader without a majority still believes that it leads (raft's quorum check).
const LEADER_HOLDS: Duration = Duration::from_secs(10);
/// The grain of what happens by itself.
const TICK: Duration = Duration::from_millis(250);

/// An init or a join that an engine carries out, whether or not anybody waits for it.
#[derive(Debug, Clone)]
pub(crate) struct Op {
    pub(crate) host: HostName,
    life: u32,
    pub(crate) began: Duration,
    kind: OpKind,
    tries: u32,
    node: Option<NodeId>,
    swarm: Option<usize>,
    /// Its answer to whoever asked.
    pub(crate) answer: Option<Result<(), Words>>,
    pub(crate) next: Duration,
}

#[derive(Debug, Clone)]
enum OpKind {
    Init(Box<InitRequest>),
    Join { request: JoinRequest, token: String },
}

#[derive(Debug, Clone)]
enum Event {
    Op(u64),
    Tick(usize),
}

/// The state of a world.
pub(crate) struct State {
    pub(crate) now: Duration,
    pub(crate) rng: fastrand::Rng,
    pub(crate) hosts: BTreeMap<HostName, Host>,
    pub(crate) by_address: HashMap<IpAddr, HostName>,
    pub(crate) swarms: Vec<Swarm>,
    pub(crate) ops: BTreeMap<u64, Op>,
    events: BTreeMap<(Duration, u64), Event>,
    next_event: u64,
    next_id: u64,
    /// What is dropped between hosts, from one to the other.
    pub(crate) cuts: BTreeSet<(HostName, HostName)>,
    pub(crate) trace: Trace,
    pub(crate) faults: Faults,
    pub(crate) watches: Watches,
    /// How long the way to a host takes, at least.
    pub(crate) latency: Duration,
}

impl State {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            rng: fastrand::Rng::with_seed(seed),
            hosts: BTreeMap::new(),
            by_address: HashMap::new(),
            swarms: Vec::new(),
            ops: BTreeMap::new(),
            events: BTreeMap::new(),
            next_event: 0,
            next_id: 0,
            cuts: BTreeSet::new(),
            trace: Trace::default(),
            faults: Faults::default(),
            watches: Watches::default(),
            latency: Duration::from_micros(500),
        }
    }

    /// Lets everything happen that is due until now.
    pub(crate) fn advance(&mut self, now: Duration) {
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > now {
                break;
            }
            self.now = self.now.max(entry.key().0);
            match entry.remove() {
                Event::Op(id) => self.op_goes_on(id),
                Event::Tick(swarm) => self.tick(swarm),
            }
        }
        self.now = self.now.max(now);
    }

    fn at(&mut self, when: Duration, event: Event) {
        self.next_event += 1;
        self.events.insert((when, self.next_event), event);
    }

    /// A new id of 25 characters, as swarmkit makes them (`identity/randomid.go`).
    pub(crate) fn id(&mut self, kind: char) -> String {
        self.next_id += 1;
        let rest: String = (0..18).map(|_| self.rng.alphanumeric().to_ascii_lowercase()).collect();
        format!("{kind}{:06}{rest}", self.next_id)
    }

    pub(crate) fn host(&self, name: &HostName) -> Option<&Host> {
        self.hosts.get(name)
    }

    pub(crate) fn say(&mut self, who: &HostName, what: impl Into<String>) {
        self.trace.add(self.now, who.as_str(), what.into());
    }

    // ---- who reaches whom

    /// Whether packets go from one host to another and back.
    pub(crate) fn linked(&self, a: &HostName, b: &HostName) -> bool {
        a == b || (!self.cuts.contains(&(a.clone(), b.clone())) && !self.cuts.contains(&(b.clone(), a.clone())))
    }

    /// Whether a node runs as the member it is in the books.
    pub(crate) fn lives(&self, swarm: usize, node: &NodeId) -> bool {
        self.host_of(swarm, node)
            .and_then(|h| self.hosts.get(&h))
            .is_some_and(|h| h.runs() && h.node().is_some_and(|(s, n)| s == swarm && n == node))
    }

    pub(crate) fn host_of(&self, swarm: usize, node: &NodeId) -> Option<HostName> {
        Some(self.swarms.get(swarm)?.nodes.get(node)?.host.clone())
    }

    /// Whether two managers hear each other.
    fn hears(&self, swarm: usize, a: &NodeId, b: &NodeId) -> bool {
        match (self.host_of(swarm, a), self.host_of(swarm, b)) {
            (Some(x), Some(y)) => self.lives(swarm, a) && self.lives(swarm, b) && self.linked(&x, &y),
            _ => false,
        }
    }

    /// How many voters a member hears, itself among them.
    fn heard_by(&self, swarm: usize, member: &NodeId) -> usize {
        self.swarms.get(swarm).map_or(0, |s| s.raft.keys().filter(|v| self.hears(swarm, member, v)).count())
    }

    fn has_majority(&self, swarm: usize, member: &NodeId) -> bool {
        let voters = self.swarms.get(swarm).map_or(0, |s| s.raft.len());
        self.swarms.get(swarm).is_some_and(|s| s.raft.contains_key(member)) && self.heard_by(swarm, member) >= Swarm::majority(voters)
    }

    /// The leader, if it really leads now.
    pub(crate) fn leads(&self, swarm: usize) -> Option<NodeId> {
        let leader = self.swarms.get(swarm)?.leader.clone()?;
        self.has_majority(swarm, &leader).then_some(leader)
    }

    /// Whether a manager's control API can do something now: it hears a leader that leads.
    pub(crate) fn control(&self, host: &HostName) -> Control {
        let Some(found) = self.hosts.get(host) else { return Control::No(words::not_in_swarm()) };
        match &found.local {
            Local::Inactive | Local::Error { .. } => Control::No(words::not_in_swarm()),
            Local::Pending => Control::No(words::being_prepared()),
            Local::Locked { .. } => Control::No(words::locked()),
            Local::Active { swarm, node, control: false } => {
                let wanted = self.swarms.get(*swarm).and_then(|s| s.nodes.get(node)).map(|n| n.role);
                Control::No(if wanted == Some(Role::Manager) { words::being_prepared() } else { words::worker_asked() })
            }
            Local::Active { swarm, node, control: true } => {
                let Some(books) = self.swarms.get(*swarm) else { return Control::No(words::not_in_swarm()) };
                match (&books.leader, self.leads(*swarm)) {
                    (_, Some(leader)) if self.hears(*swarm, node, &leader) => Control::Yes { swarm: *swarm },
                    // A leader that lost its majority answers questions from what it knows, until raft takes its lead away.
                    (Some(leader), None) if leader == node => Control::Stale { swarm: *swarm },
                    (None, _) => Control::No(words::no_leader()),
                    _ => Control::Wait,
                }
            }
        }
    }

    // ---- init, join, leave

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
        let id = self.new_op(host, OpKind::Join { request: request.clone(), token: token.to_owned() });
        self.set_local(host, Local::Pending);
        self.wake(id, Duration::from_millis(10));
        Ok(id)
    }

    pub(crate) fn set_local(&mut self, host: &HostName, local: Local) {
        if let Some(h) = self.hosts.get_mut(host) {
            h.local = local;
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

    fn op_goes_on(&mut self, id: u64) {
        let Some(op) = self.ops.get(&id).cloned() else { return };
        let host = self.hosts.get(&op.host);
        match host {
            Some(h) if h.life == op.life && h.powered && h.engine == EngineState::Frozen => return self.wake(id, Duration::from_secs(1)),
            Some(h) if h.life == op.life && h.runs() => {}
            _ => {
                self.ops.remove(&id);
                return;
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
    fn become_member(&mut self, swarm: usize, node: &NodeId, control: bool) {
        let Some(host) = self.host_of(swarm, node) else { return };
        let Some((cluster, role)) = self.swarms.get(swarm).and_then(|s| Some((s.id.clone(), s.nodes.get(node)?.role))) else { return };
        if let Some(h) = self.hosts.get_mut(&host) {
            h.local = Local::Active { swarm, node: node.clone(), control };
            h.certificate = Some(Certificate { cluster, node: node.clone(), role });
        }
        self.register(swarm, node);
        self.disturb();
    }

    /// The managers hear of a node.
    fn register(&mut self, swarm: usize, node: &NodeId) {
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
    }

    fn landed(&mut self, swarm: usize, tasks: Vec<super::swarm::Task>) {
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
            self.become_member(swarm, node, false);
            self.say(&op.host.clone(), "joined as a worker");
            self.answer(id, Ok(()));
            return;
        }
        if books.raft.contains_key(node) {
            // The voter's control API comes up last.
            self.become_member(swarm, node, true);
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
        self.insert_voter(swarm, node);
        self.register(swarm, node);
        let after = 400 + self.rng.u64(0..80);
        self.wake(id, Duration::from_millis(after));
    }

    fn insert_voter(&mut self, swarm: usize, node: &NodeId) {
        if let Some(s) = self.swarms.get_mut(swarm)
            && let Some(n) = s.nodes.get(node)
        {
            let address = std::net::SocketAddr::new(n.advertise, 2377).to_string();
            s.raft.insert(node.clone(), Voter { address, silent_since: None });
        }
    }

    /// The leader dials a new manager on the address it advertises (swarmkit `raft.go`, Join).
    fn dials_back(&self, swarm: usize, node: &NodeId) -> bool {
        let (Some(leader), Some(entry)) = (self.leads(swarm), self.swarms.get(swarm).and_then(|s| s.nodes.get(node))) else {
            return false;
        };
        let Some(leads_on) = self.host_of(swarm, &leader) else { return false };
        let there = self.by_address.get(&entry.advertise) == Some(&entry.host);
        there && self.linked(&leads_on, &entry.host) && self.hosts.get(&entry.host).is_some_and(|h| h.runs() && !h.port_closed)
    }

    // ---- what happens by itself

    /// Something changed: every swarm looks after itself for a while.
    pub(crate) fn disturb(&mut self) {
        for index in 0..self.swarms.len() {
            if self.swarms.get_mut(index).is_some_and(|s| !std::mem::replace(&mut s.ticking, true)) {
                self.at(self.now, Event::Tick(index));
            }
        }
    }

    fn tick(&mut self, index: usize) {
        self.elections(index);
        let steady = self.heartbeats(index) & self.roles(index) & self.rotation(index);
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
                    s.leader = Some(member.clone());
                    (s.lost_since, s.elect_at) = (None, None);
                    for node in s.nodes.values_mut().filter(|n| n.state != NodeState::Down) {
                        node.state = NodeState::Unknown;
                        node.message = "Node moved to \"unknown\" state due to leadership change in cluster".into();
                        node.last_seen = now;
                        node.back_at = None;
                    }
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

    /// Who reports. Gives whether nothing is about to change.
    fn heartbeats(&mut self, index: usize) -> bool {
        let Some(leader) = self.leads(index) else { return true };
        let Some(leads_on) = self.host_of(index, &leader) else { return true };
        let nodes: Vec<(NodeId, HostName, NodeState)> = self
            .swarms
            .get(index)
            .map(|s| s.nodes.values().map(|n| (n.id.clone(), n.host.clone(), n.state.clone())).collect())
            .unwrap_or_default();
        let mut steady = true;
        let mut moved = false;
        for (id, host, state) in nodes {
            let joining = self.ops.values().any(|op| op.node.as_ref() == Some(&id) && op.answer.is_none());
            let heard = (self.lives(index, &id) || joining) && self.linked(&leads_on, &host);
            let reached = heard && self.lives(index, &id) || self.answers_for(index, &id);
            let now = self.now;
            let pause = Duration::from_millis(200 + self.rng.u64(0..2500));
            let mut comes_back = false;
            let Some(s) = self.swarms.get_mut(index) else { return true };
            if let Some(voter) = s.raft.get_mut(&id) {
                if reached {
                    voter.silent_since = None;
                } else {
                    let since = *voter.silent_since.get_or_insert(now);
                    steady &= now >= since + UNREACHABLE_AFTER;
                }
            }
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

    /// Raft counts a member as reached if anybody answers on its address: a dead one looks alive where its successor has the same
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
        for (id, role, at) in due {
            if self.now < at || self.leads(index).is_none() {
                continue;
            }
            let voter = self.swarms.get(index).is_some_and(|s| s.raft.contains_key(&id));
            match (role, voter) {
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
                    if let Some(s) = self.swarms.get_mut(index) {
                        s.raft.remove(&id);
                        if s.leader.as_ref() == Some(&id) {
                            s.leader = None;
                        }
                    }
                    self.again(index, &id, Some(Duration::from_millis(300)));
                }
                (Role::Worker, true) => self.again(index, &id, Some(Duration::from_secs(5))),
                (Role::Worker, false) => {
                    let lives = self.lives(index, &id);
                    if lives {
                        self.become_member(index, &id, false);
                    }
                    self.again(index, &id, (!lives).then_some(Duration::from_secs(5)));
                }
            }
        }
        steady
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

/// What came of asking a remote manager to join.
enum Knock {
    In { swarm: usize, role: Role },
    Refused(Words),
    Silent(Words),
}

/// What a manager can do.
pub(crate) enum Control {
    Yes {
        swarm: usize,
    },
    /// It answers questions from what it remembers, and cannot change anything.
    Stale {
        swarm: usize,
    },
    /// It waits for a leader, up to [`REQUEST_TIMEOUT`].
    Wait,
    No(Words),
}

/// Root and secret of a token.
pub(crate) fn parse_token(token: &str) -> Option<(String, String)> {
    let rest = token.strip_prefix("SWMTKN-1-")?;
    let (root, secret) = rest.split_once('-')?;
    (root.len() == 50 && secret.len() == 25).then(|| (root.to_owned(), secret.to_owned()))
}
