//! What swarm-core sees of a world: a fleet of hosts and engines.

use crate::fault::{CallFault, CallKind, CrashPoint};
use crate::invariant::Sent;
use crate::world::api::Said;
use crate::world::host::{Door, EngineState};
use crate::world::state::{REQUEST_TIMEOUT, State, parse_token};
use crate::world::words::{self, Words};
use crate::world::{Shared, World};
use async_trait::async_trait;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use swarm_core::engine::{
    Engine, EngineError, EngineRead, ErrorClass, Force, InitRequest, JoinRequest, NodeChange, Reason, SwarmChange, classify_answer,
};
use swarm_core::fleet::{Actor, Fleet, FleetRead, Reader};
use swarm_core::host::{BoxStream, Command, Host, HostError, HostRead, Output};
use swarm_core::id::{HostName, NodeId};
use swarm_core::observe::{ClusterFacts, EngineFacts, MachineFacts, NodeFacts, ReachError, ReachErrorKind};
use swarm_core::secret::Secret;
use swarm_core::spec::{HostSpec, Role};
use tokio::time::sleep;

/// How long a question may take; `/info` of a manager that lost its quorum takes two of the engine's own deadlines.
const READ_DEADLINE: Duration = Duration::from_secs(45);
/// How long a change may take.
const CHANGE_DEADLINE: Duration = Duration::from_secs(60);
/// How long nothing is heard of a host until it counts as out of reach.
const SILENCE: Duration = Duration::from_secs(10);

/// One operator's connections to the hosts of a [`World`].
///
/// Hosts are found by the name they have in the cluster file. Each fleet is a process of its own: a new one connects anew.
#[derive(Clone)]
pub struct SimFleet {
    shared: Arc<Shared>,
    operator: Arc<str>,
    connected: Arc<Mutex<BTreeSet<HostName>>>,
}

impl fmt::Debug for SimFleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimFleet({})", self.operator)
    }
}

impl SimFleet {
    pub(crate) fn new(world: &World, operator: &str) -> Self {
        Self { shared: world.shared(), operator: operator.into(), connected: Arc::default() }
    }

    fn is_connected(&self, host: &HostName) -> bool {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner).contains(host)
    }

    fn set_connected(&self, host: &HostName, yes: bool) {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if yes {
            connected.insert(host.clone());
        } else {
            connected.remove(host);
        }
    }

    fn member(&self, host: &HostName) -> Arc<SimHost> {
        Arc::new(SimHost { fleet: self.clone(), name: host.clone(), unchecked: false })
    }

    /// The engine of one host, without a connection being made first: for tests that ask one engine.
    pub fn engine(&self, host: &str) -> Arc<dyn Engine> {
        Arc::new(SimHost { fleet: self.clone(), name: HostName::new(host), unchecked: true })
    }

    async fn connect(&self, host: &HostName) -> Result<Arc<SimHost>, ReachError> {
        if self.is_connected(host) {
            return Ok(self.member(host));
        }
        let (number, fault, obstacle, delay) = self.shared.with(|state| {
            let (number, fault) = state.faults.strike(host, CallKind::Connect);
            let delay = 8_000 + state.rng.u64(0..6_000);
            (number, fault, obstacle(state, host), Duration::from_micros(delay))
        });
        self.shared.crash(number, CrashPoint::BeforeSend).await;
        sleep(delay).await;
        if let Some((wait, error)) = obstacle {
            sleep(wait).await;
            return Err(error);
        }
        let unreachable = |message: &str| ReachError { kind: ReachErrorKind::Unreachable, message: message.into() };
        match fault {
            Some(CallFault::Hang | CallFault::AnswerLost) => {
                sleep(SILENCE).await;
                return Err(unreachable("no answer within 10 s"));
            }
            Some(CallFault::Late) => sleep(Duration::from_secs(5)).await,
            Some(CallFault::FailBefore | CallFault::Odd | CallFault::DoneButFailed) => return Err(unreachable("connection reset by peer")),
            Some(CallFault::Repeated) | None => {}
        }
        self.shared.crash(number, CrashPoint::AnswerLost).await;
        self.set_connected(host, true);
        self.shared.crash(number, CrashPoint::AfterAnswer).await;
        Ok(self.member(host))
    }
}

/// What keeps an operator from a host's engine, and how long that takes to show.
fn obstacle(state: &State, host: &HostName) -> Option<(Duration, ReachError)> {
    let at =
        |wait: u64, kind: ReachErrorKind, message: &str| Some((Duration::from_millis(wait), ReachError { kind, message: message.into() }));
    let Some(found) = state.host(host) else { return at(3000, ReachErrorKind::Unreachable, "no route to host") };
    match found.door {
        _ if !found.powered => at(10_000, ReachErrorKind::Unreachable, "no answer within 10 s"),
        Door::Silent => at(10_000, ReachErrorKind::Unreachable, "no answer within 10 s"),
        Door::Refused => at(1, ReachErrorKind::Unreachable, "connection refused"),
        Door::NoLogin => at(50, ReachErrorKind::Unreachable, "permission denied (publickey)"),
        Door::KeyChanged => at(5, ReachErrorKind::Unreachable, "the host key is not the recorded one"),
        Door::NoPermission => at(60, ReachErrorKind::NoPermission, "permission denied on /var/run/docker.sock"),
        Door::Open => match found.engine {
            EngineState::Missing => at(60, ReachErrorKind::NoEngine, "no engine is installed"),
            EngineState::Stopped => at(60, ReachErrorKind::EngineDown, "connection to /var/run/docker.sock refused"),
            EngineState::Frozen => at(45_000, ReachErrorKind::EngineDown, "the engine did not answer within 45 s"),
            EngineState::Running => None,
        },
    }
}

#[async_trait]
impl FleetRead for SimFleet {
    async fn reader(&self, host: &HostSpec) -> Result<Reader, ReachError> {
        let member = self.connect(&host.name).await?;
        let (machine, engine): (Arc<dyn HostRead>, Arc<dyn EngineRead>) = (Arc::clone(&member) as _, member);
        Ok(Reader { host: Some(machine), engine })
    }
}

#[async_trait]
impl Fleet for SimFleet {
    async fn actor(&self, host: &HostSpec) -> Result<Actor, ReachError> {
        let member = self.connect(&host.name).await?;
        let (machine, engine): (Arc<dyn Host>, Arc<dyn Engine>) = (Arc::clone(&member) as _, member);
        Ok(Actor { host: Some(machine), engine })
    }
}

/// A simulated host and its engine, as one operator sees them.
struct SimHost {
    fleet: SimFleet,
    name: HostName,
    /// Whether it is used without a connection that was checked.
    unchecked: bool,
}

/// What is asked, for errors and watchers.
struct Asked<'a> {
    kind: CallKind,
    doing: &'static str,
    sent: Sent<'a>,
}

impl SimHost {
    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        self.fleet.shared.with(f)
    }

    /// Makes a call: the way there, what goes wrong on it, the engine's part, the way back.
    async fn call<T>(&self, asked: Asked<'_>, mut engine: impl FnMut(&mut State) -> Said<T>) -> Result<T, EngineError> {
        let (number, fault) = self.set_out(&asked).await?;
        let mut answer = self.engine_says(&mut engine).await;
        if fault == Some(CallFault::Repeated) {
            answer = self.engine_says(&mut engine).await;
        }
        self.come_back(&asked, number, fault, answer).await
    }

    /// The way there. What fails here was not done, or nobody knows.
    async fn set_out(&self, asked: &Asked<'_>) -> Result<(u64, Option<CallFault>), EngineError> {
        let (number, fault, way) = self.with(|state| {
            let (number, fault) = state.faults.strike(&self.name, asked.kind);
            let jitter = Duration::from_micros(state.rng.u64(0..1500));
            let slow = state.host(&self.name).map_or(Duration::ZERO, |h| h.slow);
            (number, fault, state.latency + jitter + slow)
        });
        self.fleet.shared.crash(number, CrashPoint::BeforeSend).await;
        if !self.unchecked
            && !self.fleet.is_connected(&self.name)
            && let Err(error) = self.fleet.connect(&self.name).await
        {
            // A lost connection is made again at the next use; where that fails nothing is sent.
            return Err(self.failed(asked, ErrorClass::Unreachable, Reason::Other, error.message));
        }
        let known = !self.unchecked;
        self.with(|state| {
            if !known && state.host(&self.name).is_some_and(|h| h.door == Door::KeyChanged) {
                state.note_stranger(&self.fleet.operator, &self.name);
            }
            state.note_sent(&self.fleet.operator, &self.name, &asked.sent);
        });
        sleep(way).await;
        let mutating = asked.kind.is_mutating();
        let deadline = if mutating { CHANGE_DEADLINE } else { READ_DEADLINE };
        if let Some((wait, error)) = self.with(|state| obstacle(state, &self.name)) {
            // The connection is there, so what is written to it may have arrived before the host fell silent.
            let silent = wait >= SILENCE;
            sleep(if silent { SILENCE } else { Duration::from_millis(1) }).await;
            self.fleet.set_connected(&self.name, false);
            let class = if mutating && silent { ErrorClass::Unknown } else { ErrorClass::Unreachable };
            return Err(self.failed(asked, class, Reason::Other, error.message));
        }
        match fault {
            Some(CallFault::FailBefore) => Err(self.failed(asked, ErrorClass::Unreachable, Reason::Other, "broken pipe".into())),
            Some(CallFault::Odd) => Err(self.words(asked, words::odd())),
            Some(CallFault::Hang) => {
                sleep(deadline).await;
                let class = if mutating { ErrorClass::Unknown } else { ErrorClass::Unreachable };
                Err(self.failed(asked, class, Reason::Other, format!("no answer within {} s", deadline.as_secs())))
            }
            Some(CallFault::Late) => {
                sleep(Duration::from_secs(10)).await;
                Ok((number, fault))
            }
            _ => Ok((number, fault)),
        }
    }

    /// The engine's part: it may have to wait for a leader.
    async fn engine_says<T>(&self, engine: &mut impl FnMut(&mut State) -> Said<T>) -> Result<T, Words> {
        let began = tokio::time::Instant::now();
        loop {
            match self.with(&mut *engine) {
                Said::Now(value) => return Ok(value),
                Said::No(words) => return Err(words),
                Said::Wait if began.elapsed() >= REQUEST_TIMEOUT => return Err(words::deadline()),
                Said::Wait => sleep(Duration::from_millis(250)).await,
            }
        }
    }

    /// The way back.
    async fn come_back<T>(
        &self,
        asked: &Asked<'_>,
        number: u64,
        fault: Option<CallFault>,
        answer: Result<T, Words>,
    ) -> Result<T, EngineError> {
        self.fleet.shared.crash(number, CrashPoint::AnswerLost).await;
        sleep(self.with(|state| state.latency)).await;
        let mutating = asked.kind.is_mutating();
        let lost = if mutating { ErrorClass::Unknown } else { ErrorClass::Unreachable };
        let gone = self.with(|state| state.host(&self.name).is_none_or(|h| !h.powered || h.door != Door::Open));
        let result = match (fault, answer) {
            (Some(CallFault::AnswerLost), _) => {
                self.fleet.set_connected(&self.name, false);
                Err(self.failed(asked, lost, Reason::Other, "connection closed before message completed".into()))
            }
            (Some(CallFault::DoneButFailed), _) => Err(self.words(asked, words::odd())),
            _ if gone => {
                sleep(SILENCE).await;
                self.fleet.set_connected(&self.name, false);
                Err(self.failed(asked, lost, Reason::Other, "the connection was lost".into()))
            }
            (_, Ok(value)) => Ok(value),
            (_, Err(words)) => Err(self.words(asked, words)),
        };
        if result.is_ok() {
            self.with(|state| state.note_done(&self.fleet.operator, &self.name, &asked.sent));
        }
        self.fleet.shared.crash(number, CrashPoint::AfterAnswer).await;
        result
    }

    fn words(&self, asked: &Asked<'_>, words: Words) -> EngineError {
        let (class, reason) = classify_answer(words.status, &words.text, asked.kind.is_mutating());
        self.failed(asked, class, reason, words.text)
    }

    fn failed(&self, asked: &Asked<'_>, class: ErrorClass, reason: Reason, message: String) -> EngineError {
        self.with(|state| {
            state.note_failed(&self.fleet.operator, &self.name, &asked.sent, class);
            let text = format!("{} on {}: {message}", asked.kind, self.name);
            state.trace.add(state.now, &self.fleet.operator, text);
        });
        EngineError { doing: asked.doing, class, reason, message }
    }

    /// An init or a join: begun at once, answered later; the engine goes on whoever waits.
    async fn operate(&self, asked: Asked<'_>, begin: impl Fn(&mut State) -> Result<u64, Words>) -> Result<(), EngineError> {
        let (number, fault) = self.set_out(&asked).await?;
        let life = self.with(|state| state.host(&self.name).map(|h| h.life));
        let mut begun = self.with(&begin);
        if fault == Some(CallFault::Repeated) {
            let _first = begun;
            begun = self.with(&begin);
        }
        let answer = match begun {
            Err(words) => Err(words),
            Ok(id) => loop {
                match self.with(|state| state.op_answer(id)) {
                    Ok(answer) => break answer,
                    Err(next) => {
                        // An engine that ends takes its open requests with it.
                        if self.with(|state| state.host(&self.name).map(|h| h.life)) != life {
                            self.fleet.set_connected(&self.name, false);
                            let message = "connection closed before message completed".into();
                            return Err(self.failed(&asked, ErrorClass::Unknown, Reason::Other, message));
                        }
                        sleep(next).await;
                    }
                }
            },
        };
        self.come_back(&asked, number, fault, answer).await
    }

    async fn read<T>(&self, kind: CallKind, doing: &'static str, engine: impl FnMut(&mut State) -> Said<T>) -> Result<T, EngineError> {
        self.call(Asked { kind, doing, sent: Sent::Read(kind) }, engine).await
    }

    /// Looks at the machine itself, past its engine.
    async fn look<T>(&self, kind: CallKind, doing: &'static str, look: impl FnOnce(&State) -> Result<T, String>) -> Result<T, HostError> {
        let lost = |message: &str| HostError::Lost { host: self.name.clone(), doing, message: message.into() };
        let (number, fault) = self.with(|state| state.faults.strike(&self.name, kind));
        self.fleet.shared.crash(number, CrashPoint::BeforeSend).await;
        sleep(Duration::from_millis(8)).await;
        let open = self.with(|state| state.host(&self.name).is_some_and(|h| h.powered && h.door == Door::Open));
        match fault {
            Some(CallFault::Hang) => {
                sleep(Duration::from_secs(30)).await;
                return Err(HostError::TimedOut { host: self.name.clone(), doing, after: Duration::from_secs(30) });
            }
            Some(CallFault::Late) => sleep(Duration::from_secs(10)).await,
            Some(CallFault::Repeated) | None => {}
            Some(_) => return Err(lost("the channel was closed")),
        }
        if !open {
            self.fleet.set_connected(&self.name, false);
            return Err(lost("no answer"));
        }
        self.fleet.shared.crash(number, CrashPoint::AnswerLost).await;
        let seen = self.with(|state| look(state)).map_err(|message| HostError::Unexpected { host: self.name.clone(), message });
        self.fleet.shared.crash(number, CrashPoint::AfterAnswer).await;
        seen
    }
}

#[async_trait]
impl HostRead for SimHost {
    fn name(&self) -> &HostName {
        &self.name
    }

    async fn machine(&self) -> Result<MachineFacts, HostError> {
        let look = |state: &State| state.host(&self.name).map(|h| state.machine_facts(h)).ok_or_else(|| "there is no such host".to_owned());
        self.look(CallKind::Machine, "looking at the machine", look).await
    }

    async fn read_file(&self, path: &str, limit: usize) -> Result<Vec<u8>, HostError> {
        let look = |state: &State| {
            let pem = state.host(&self.name).and_then(|h| state.certificate_pem(h));
            match pem.filter(|_| path.ends_with("swarm-node.crt")) {
                Some(pem) if pem.len() <= limit => Ok(pem.into_bytes()),
                Some(_) => Err(format!("{path} is too large")),
                None => Err(format!("{path}: no such file or directory")),
            }
        };
        self.look(CallKind::ReadFile, "reading a file", look).await
    }
}

#[async_trait]
impl Host for SimHost {
    async fn run(&self, command: &Command) -> Result<Output, HostError> {
        let program = command.argv.first().cloned().unwrap_or_default();
        Err(HostError::Unexpected { host: self.name.clone(), message: format!("a simulated host has no program {program}") })
    }

    async fn open_stream(&self, socket: &str) -> Result<BoxStream, HostError> {
        let message = format!("a simulated host has no socket {socket}");
        Err(HostError::NoSocket { message, kind: ReachErrorKind::Unusable })
    }

    async fn put_file(&self, path: &str, _mode: u32, _content: &[u8]) -> Result<(), HostError> {
        Err(HostError::Unexpected { host: self.name.clone(), message: format!("a simulated host has no place for {path}") })
    }
}

#[async_trait]
impl EngineRead for SimHost {
    async fn info(&self) -> Result<EngineFacts, EngineError> {
        let began = tokio::time::Instant::now();
        let asked = Asked { kind: CallKind::Info, doing: "asking the engine for its state", sent: Sent::Read(CallKind::Info) };
        let engine = |state: &mut State| {
            let Some(host) = state.host(&self.name).cloned() else { return Said::No(words::not_in_swarm()) };
            match state.engine_facts(&host) {
                // A manager without a leader says so in the end, and still is an engine that answers.
                Said::Wait if began.elapsed() + Duration::from_secs(1) >= REQUEST_TIMEOUT => {
                    Said::Now(state.engine_facts_without_leader(&host))
                }
                said => said,
            }
        };
        let facts = self.call(asked, engine).await?;
        self.with(|state| state.note_info(&self.fleet.operator, &self.name, &facts));
        Ok(facts)
    }

    async fn cluster(&self) -> Result<ClusterFacts, EngineError> {
        let facts = self.read(CallKind::Cluster, "reading the swarm", |state| state.cluster(&self.name)).await?;
        self.with(|state| state.note_cluster(&self.fleet.operator, &facts));
        Ok(facts)
    }

    async fn nodes(&self) -> Result<Vec<NodeFacts>, EngineError> {
        let nodes = self.read(CallKind::Nodes, "listing the nodes", |state| state.nodes(&self.name)).await?;
        self.with(|state| state.note_nodes(&self.fleet.operator, &nodes));
        Ok(nodes)
    }

    async fn node(&self, id: &NodeId) -> Result<NodeFacts, EngineError> {
        let node = self.read(CallKind::Node, "reading a node", |state| state.node(&self.name, id)).await?;
        self.with(|state| state.note_node(&self.fleet.operator, &node));
        Ok(node)
    }

    async fn unlock_key(&self) -> Result<Option<Secret>, EngineError> {
        self.read(CallKind::UnlockKey, "reading the unlock key", |state| state.unlock_key(&self.name)).await
    }

    async fn service_count(&self) -> Result<usize, EngineError> {
        let count = self.read(CallKind::ServiceCount, "listing the services", |state| state.service_count(&self.name)).await?;
        self.with(|state| state.note_services(&self.fleet.operator, count));
        Ok(count)
    }
}

#[async_trait]
impl Engine for SimHost {
    async fn init(&self, request: &InitRequest) -> Result<(), EngineError> {
        let asked = Asked { kind: CallKind::Init, doing: "making the swarm", sent: Sent::Init };
        self.operate(asked, |state| state.init(&self.name, request)).await
    }

    async fn join(&self, request: &JoinRequest, token: &Secret) -> Result<(), EngineError> {
        let secret = parse_token(token.expose()).map(|(_, secret)| secret);
        let role = self.with(|state| {
            let is = |role: Role| state.swarms.iter().any(|s| Some(s.token(role)) == Some(token.expose().to_owned()));
            // A token that was rotated away is told by its first letter, which says what it was made for.
            let was = secret.as_ref().is_some_and(|s| s.starts_with('m'));
            if is(Role::Manager) || was { Role::Manager } else { Role::Worker }
        });
        let asked = Asked { kind: CallKind::Join, doing: "joining the swarm", sent: Sent::Join { role } };
        let begin = |state: &mut State| {
            let id = state.join(&self.name, request, token.expose())?;
            if let Some(watch) = state.watches.by_operator.get_mut(&*self.fleet.operator) {
                watch.brought_in.insert(self.name.clone());
            }
            Ok(id)
        };
        self.operate(asked, begin).await
    }

    async fn leave(&self, force: Force) -> Result<(), EngineError> {
        let asked = Asked { kind: CallKind::Leave, doing: "leaving the swarm", sent: Sent::Leave { force } };
        self.call(asked, |state| state.leave(&self.name, force).map_or_else(Said::No, Said::Now)).await
    }

    async fn join_token(&self, role: Role) -> Result<Secret, EngineError> {
        let asked = Asked { kind: CallKind::JoinToken, doing: "reading the join token", sent: Sent::Token { role } };
        self.call(asked, |state| state.join_token(&self.name, role)).await
    }

    async fn unlock(&self, key: &Secret) -> Result<(), EngineError> {
        let asked = Asked { kind: CallKind::Unlock, doing: "unlocking the swarm", sent: Sent::Unlock };
        self.call(asked, |state| state.unlock(&self.name, key).map_or_else(Said::No, Said::Now)).await
    }

    async fn update_swarm(&self, change: &SwarmChange) -> Result<(), EngineError> {
        let asked = Asked { kind: CallKind::UpdateSwarm, doing: "changing the swarm", sent: Sent::UpdateSwarm { change } };
        let doing = asked.doing;
        match self.call(asked, |state| state.update_swarm(&self.name, change)).await? {
            true => Ok(()),
            false => {
                let message = "it is so already".into();
                Err(EngineError { doing, class: ErrorClass::AlreadySo, reason: Reason::Other, message })
            }
        }
    }

    async fn update_node(&self, id: &NodeId, version: u64, change: &NodeChange) -> Result<(), EngineError> {
        let asked = Asked { kind: CallKind::UpdateNode, doing: "changing a node", sent: Sent::UpdateNode { id, version, change } };
        self.call(asked, |state| state.update_node(&self.name, id, version, change)).await
    }

    async fn remove_node(&self, id: &NodeId, force: Force) -> Result<(), EngineError> {
        let asked = Asked { kind: CallKind::RemoveNode, doing: "removing a node", sent: Sent::RemoveNode { id, force } };
        self.call(asked, |state| state.remove_node(&self.name, id, force)).await
    }
}
