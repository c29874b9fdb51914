//! Everything there is in a simulated world, and what happens in it when time passes.

use super::host::{Host, Local};
use super::kept::ImageKind;
use super::op::Op;
use super::paths::Paths;
use super::swarm::{Copied, HostName, NodeId, Swarm};
use super::words::{self, Words};
use crate::fault::Faults;
use crate::invariant::watches::Watches;
use crate::trace::Trace;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;
use swarm_core::spec::Role;

/// How long an engine waits for its own join before it answers (moby `daemon/cluster/cluster.go`, swarmConnectTimeout).
pub(crate) const JOIN_ANSWERS_AFTER: Duration = Duration::from_secs(20);
/// How long an engine waits for its swarm (swarmRequestTimeout).
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
#[derive(Debug, Clone)]
pub(super) enum Event {
    Op(u64),
    Tick(usize),
    /// An engine that a program stopped is started by it.
    Starts(HostName),
    /// An installation ends.
    Installed(HostName),
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
    pub(super) next_event: u64,
    next_id: u64,
    /// What is dropped between hosts, from one to the other.
    pub(crate) cuts: BTreeSet<(HostName, HostName)>,
    pub(crate) trace: Trace,
    pub(crate) faults: Faults,
    pub(crate) watches: Watches,
    /// How long the way to a host takes, at least.
    pub(crate) latency: Duration,
    /// What becomes of tasks, by their images.
    pub(crate) images: BTreeMap<String, ImageKind>,
    /// The programs that machines have, by a word of their command line.
    pub(crate) programs: BTreeMap<String, Program>,
    /// What lies between hosts, beside cuts.
    pub(super) paths: Paths,
    /// States of managers that were copied.
    pub(super) copies: Vec<Copied>,
}

/// What a program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// It ends with this status.
    Ends(u32),
    /// It stops the engine, starts it after so long whoever waits for it, and ends well.
    RestartsEngine(Duration),
    /// It stops the engine and ends well at once, and the engine does not start again: the init script of Debian's package does that where the
    /// engine does not take its configuration.
    StopsEngine,
    /// It stops the engine, gives it the state of this number ([`World::copy_state`](super::World::copy_state)), and starts it after so long,
    /// whoever waits for it.
    PlacesState(usize, Duration),
    /// It moves the state of a stopped engine aside; an engine that runs keeps it, and the program fails.
    SetsStateAside,
    /// It prints how ready the host is for an engine, as the script of swarm-prepare does for `look`.
    SaysReady,
    /// It installs an engine and starts it after so long, whoever waits for it, and ends well. One that is under way is waited for, as a package
    /// manager's lock is.
    InstallsEngine(Duration),
    /// The same, but on each host it fails the first time, half done.
    InstallsEngineAtLast(Duration),
}

/// How a program ends: after how long, with which status, and what it prints.
pub(crate) type Ran = (Duration, u32, String);

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
            images: BTreeMap::new(),
            programs: BTreeMap::new(),
            paths: Paths::default(),
            copies: Vec::new(),
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
                Event::Starts(host) => {
                    self.cause(&super::Incident::EngineStarts(host));
                    self.disturb();
                }
                Event::Installed(host) => self.is_installed(&host),
            }
        }
        self.now = self.now.max(now);
    }

    /// The program of a command line.
    pub(crate) fn program(&self, argv: &[String]) -> Option<(String, Program)> {
        argv.iter().rev().find_map(|word| self.programs.get(word).map(|program| (word.clone(), *program)))
    }

    /// Runs one.
    pub(crate) fn runs_program(&mut self, host: &HostName, program: Program) -> Ran {
        let soon = Duration::from_millis(20);
        let (takes, status) = match program {
            Program::Ends(status) => (soon, status),
            Program::RestartsEngine(after) => {
                if self.cause(&super::Incident::EngineStops(host.clone())) {
                    self.at(self.now + after, Event::Starts(host.clone()));
                    self.disturb();
                }
                (after + soon, 0)
            }
            Program::StopsEngine => {
                let _ = self.cause(&super::Incident::EngineStops(host.clone()));
                (soon, 0)
            }
            Program::PlacesState(copy, after) => (after + soon, u32::from(!self.places(host, copy, after))),
            Program::SetsStateAside => (soon, u32::from(!self.sets_aside(host))),
            Program::SaysReady => return (soon, 0, self.says_ready(host)),
            Program::InstallsEngine(after) => self.installs(host, after, false),
            Program::InstallsEngineAtLast(after) => self.installs(host, after, true),
        };
        (takes, status, String::new())
    }

    pub(super) fn at(&mut self, when: Duration, event: Event) {
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

    /// Whether some host still holds the state of a swarm.
    pub(crate) fn has_managers(&self, swarm: usize) -> bool {
        self.hosts.values().any(|h| h.holds(swarm))
    }

    pub(crate) fn host_of(&self, swarm: usize, node: &NodeId) -> Option<HostName> {
        Some(self.swarms.get(swarm)?.nodes.get(node)?.host.clone())
    }

    /// Whether the leader hears of a host: every manager passes on what a node says (swarmkit `manager/manager.go`, the raft proxies).
    pub(super) fn reports(&self, swarm: usize, host: &HostName) -> bool {
        let (Some(leader), Some(books)) = (self.leads(swarm), self.swarms.get(swarm)) else { return false };
        let passes_on = |m: &NodeId| *m == leader || self.hears(swarm, &leader, m);
        books.raft.keys().any(|m| passes_on(m) && self.host_of(swarm, m).is_some_and(|h| self.linked(&h, host)))
    }

    /// Whether two managers hear each other.
    pub(super) fn hears(&self, swarm: usize, a: &NodeId, b: &NodeId) -> bool {
        match (self.host_of(swarm, a), self.host_of(swarm, b)) {
            (Some(x), Some(y)) => {
                let answers = |h: &HostName| !self.hosts.get(h).is_some_and(Host::is_mute);
                let stuck = |h: &HostName| self.hosts.get(h).is_some_and(|h| h.is_stuck(self.now));
                let both = !stuck(&x) && !stuck(&y) && (x == y || answers(&x) && answers(&y));
                self.lives(swarm, a) && self.lives(swarm, b) && self.linked(&x, &y) && both
            }
            _ => false,
        }
    }

    /// How many voters a member hears, itself among them.
    fn heard_by(&self, swarm: usize, member: &NodeId) -> usize {
        self.swarms.get(swarm).map_or(0, |s| s.raft.keys().filter(|v| self.hears(swarm, member, v)).count())
    }

    pub(super) fn has_majority(&self, swarm: usize, member: &NodeId) -> bool {
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
            Local::Active { .. } if found.is_stuck(self.now) => Control::No(words::being_prepared()),
            Local::Active { swarm, node, control: true } => {
                let Some(books) = self.swarms.get(*swarm) else { return Control::No(words::not_in_swarm()) };
                match (&books.leader, self.leads(*swarm)) {
                    // Nothing has come from the leader yet, or never will.
                    _ if found.is_mute() || self.now < found.log_from => Control::Wait,
                    (_, Some(leader)) if self.hears(*swarm, node, &leader) => Control::Yes { swarm: *swarm },
                    // A leader that lost its majority answers questions from what it knows, until raft takes its lead away.
                    (Some(leader), None) if leader == node => Control::Stale { swarm: *swarm },
                    (None, _) => Control::No(words::no_leader()),
                    _ if found.waking => Control::No(words::no_leader()),
                    _ => Control::Wait,
                }
            }
        }
    }
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
