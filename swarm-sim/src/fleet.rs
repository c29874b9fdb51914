//! What swarm-core sees of a world: a fleet of hosts and engines.

use crate::fault::{CallFault, CallKind, CrashPoint};
use crate::invariant::Sent;
use crate::world::api::Said;
use crate::world::host::{Door, EngineState};
use crate::world::state::{REQUEST_TIMEOUT, State};
use crate::world::words::{self, Words};
use crate::world::{Shared, World};
use async_trait::async_trait;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use swarm_core::engine::{Engine, EngineError, EngineRead, ErrorClass, Reason, classify_answer};
use swarm_core::fleet::{Actor, Fleet, FleetRead, Reader};
use swarm_core::host::{Host, HostError, HostProbe};
use swarm_core::id::HostName;
use swarm_core::observe::{ReachError, ReachErrorKind};
use swarm_core::spec::HostSpec;
use tokio::time::sleep;

/// How long a question may take; `/info` of a manager that lost its quorum takes two of the engine's own deadlines.
const READ_DEADLINE: Duration = Duration::from_secs(45);
/// How long a change may take.
const CHANGE_DEADLINE: Duration = Duration::from_secs(60);
/// How long nothing is heard of a host until it counts as out of reach.
const SILENCE: Duration = Duration::from_secs(10);

/// One operator's connections to the hosts of a [`World`].
///
/// Hosts are found by the name they have in the cluster file. Each fleet is a process of its own: a new one connects again.
#[derive(Clone)]
pub struct SimFleet {
    shared: Arc<Shared>,
    pub(crate) operator: Arc<str>,
    connected: Arc<Mutex<BTreeSet<HostName>>>,
}

impl World {
    /// A fleet for one operator; each is a process of its own.
    pub fn fleet(&self, operator: &str) -> SimFleet {
        SimFleet::new(self, operator)
    }
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

    /// The machine of one host, in the same way.
    pub fn host(&self, host: &str) -> Arc<dyn Host> {
        Arc::new(SimHost { fleet: self.clone(), name: HostName::new(host), unchecked: true })
    }

    fn note_missing(&self, state: &mut State, host: &HostName, obstacle: Option<&(Duration, ReachError)>) {
        if obstacle.is_some_and(|(_, error)| error.kind == ReachErrorKind::NoEngine) {
            let now = state.now;
            state.watches.found_without(&self.operator, host, now);
        }
    }

    async fn connect(&self, host: &HostName) -> Result<Arc<SimHost>, ReachError> {
        self.connect_to(host, obstacle).await
    }

    async fn connect_to(&self, host: &HostName, obstacle: Obstacle) -> Result<Arc<SimHost>, ReachError> {
        // Where there is no engine, being on the host is not being at its engine.
        let keeps_out = self.shared.with(|state| match state.host(host)?.engine {
            EngineState::Missing if self.is_connected(host) => {
                let obstacle = obstacle(state, host);
                self.note_missing(state, host, obstacle.as_ref());
                obstacle
            }
            _ => None,
        });
        if self.is_connected(host) {
            return match keeps_out {
                None => Ok(self.member(host)),
                Some((wait, error)) => {
                    sleep(wait).await;
                    Err(error)
                }
            };
        }
        let (number, fault, obstacle, delay) = self.shared.with(|state| {
            let (number, fault) = state.faults.strike(host, CallKind::Connect);
            let delay = 8_000 + state.rng.u64(0..6_000);
            let obstacle = obstacle(state, host);
            self.note_missing(state, host, obstacle.as_ref());
            (number, fault, obstacle, Duration::from_micros(delay))
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

/// What keeps an operator from something, and how long that takes to show.
type Obstacle = fn(&State, &HostName) -> Option<(Duration, ReachError)>;

fn at(wait: u64, kind: ReachErrorKind, message: &str) -> Option<(Duration, ReachError)> {
    Some((Duration::from_millis(wait), ReachError { kind, message: message.into() }))
}

/// What keeps an operator from a host's engine.
fn obstacle(state: &State, host: &HostName) -> Option<(Duration, ReachError)> {
    on_the_way(state, host).or_else(|| match state.host(host)?.engine {
        EngineState::Missing => at(60, ReachErrorKind::NoEngine, "no engine is installed"),
        EngineState::Stopped => at(60, ReachErrorKind::EngineDown, "connection to /var/run/docker.sock refused"),
        EngineState::Frozen => at(45_000, ReachErrorKind::EngineDown, "the engine did not answer within 45 s"),
        EngineState::Running => None,
    })
}

/// What keeps an operator from a host.
fn on_the_way(state: &State, host: &HostName) -> Option<(Duration, ReachError)> {
    let Some(found) = state.host(host) else { return at(3000, ReachErrorKind::Unreachable, "no route to host") };
    match found.door {
        _ if !found.powered => at(10_000, ReachErrorKind::Unreachable, "no answer within 10 s"),
        Door::Silent => at(10_000, ReachErrorKind::Unreachable, "no answer within 10 s"),
        Door::Refused => at(1, ReachErrorKind::Unreachable, "connection refused"),
        Door::NoLogin => at(50, ReachErrorKind::Unreachable, "permission denied (publickey)"),
        Door::KeyChanged => at(5, ReachErrorKind::Unreachable, "the host key is not the recorded one"),
        Door::NoPermission => at(60, ReachErrorKind::NoPermission, "permission denied on /var/run/docker.sock"),
        Door::Open => None,
    }
}

#[async_trait]
impl FleetRead for SimFleet {
    async fn reader(&self, host: &HostSpec) -> Result<Reader, ReachError> {
        let member = self.connect(&host.name).await?;
        let (machine, engine): (Arc<dyn HostProbe>, Arc<dyn EngineRead>) = (Arc::clone(&member) as _, member);
        Ok(Reader { host: Some(machine), engine })
    }

    async fn machine_reader(&self, host: &HostSpec) -> Result<Arc<dyn HostProbe>, ReachError> {
        Ok(self.connect_to(&host.name, on_the_way).await?)
    }
}

#[async_trait]
impl Fleet for SimFleet {
    async fn actor(&self, host: &HostSpec) -> Result<Actor, ReachError> {
        let member = self.connect(&host.name).await?;
        let (machine, engine): (Arc<dyn Host>, Arc<dyn Engine>) = (Arc::clone(&member) as _, member);
        Ok(Actor { host: Some(machine), engine })
    }

    async fn machine(&self, host: &HostSpec) -> Result<Arc<dyn Host>, ReachError> {
        Ok(self.connect_to(&host.name, on_the_way).await?)
    }
}

/// A simulated host and its engine, as one operator sees them.
pub(crate) struct SimHost {
    pub(crate) fleet: SimFleet,
    pub(crate) name: HostName,
    /// Whether it is used without a connection that was checked.
    unchecked: bool,
}

/// A call whose answer someone waits for.
struct Awaited<'a> {
    host: &'a SimHost,
    number: Option<u64>,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.host.with(|state| state.faults.missed |= state.faults.crash.is_some_and(|(at, _)| at == number));
        }
    }
}

/// What is asked, for errors and watchers.
pub(crate) struct Asked<'a> {
    pub(crate) kind: CallKind,
    pub(crate) doing: &'static str,
    pub(crate) sent: Sent<'a>,
}

impl SimHost {
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        self.fleet.shared.with(f)
    }

    /// Makes a call: the way there, what goes wrong on it, the engine's part, the way back.
    pub(crate) async fn call<T>(&self, asked: Asked<'_>, mut engine: impl FnMut(&mut State) -> Said<T>) -> Result<T, EngineError> {
        let mut awaited = Awaited { host: self, number: None };
        let (number, fault) = self.set_out(&asked, &mut awaited).await?;
        let mut answer = self.engine_says(&mut engine).await;
        if fault == Some(CallFault::Repeated) {
            answer = self.engine_says(&mut engine).await;
        }
        let answer = self.come_back(&asked, number, fault, answer).await;
        awaited.number = None;
        answer
    }

    /// The way there. What fails here was not done, or no one knows.
    async fn set_out(&self, asked: &Asked<'_>, awaited: &mut Awaited<'_>) -> Result<(u64, Option<CallFault>), EngineError> {
        let (number, fault, way) = self.with(|state| {
            let (number, fault) = state.faults.strike(&self.name, asked.kind);
            let jitter = Duration::from_micros(state.rng.u64(0..1500));
            let slow = state.host(&self.name).map_or(Duration::ZERO, |h| h.slow);
            (number, fault, state.latency + jitter + slow)
        });
        awaited.number = Some(number);
        self.fleet.shared.crash(number, CrashPoint::BeforeSend).await;
        // A program runs on the host, whatever its engine does.
        let obstacle: Obstacle = if asked.kind == CallKind::Run { on_the_way } else { obstacle };
        if !self.unchecked
            && !self.fleet.is_connected(&self.name)
            && let Err(error) = self.fleet.connect_to(&self.name, obstacle).await
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
    pub(crate) async fn operate(&self, asked: Asked<'_>, begin: impl Fn(&mut State) -> Result<u64, Words>) -> Result<(), EngineError> {
        let mut awaited = Awaited { host: self, number: None };
        let (number, fault) = self.set_out(&asked, &mut awaited).await?;
        // What was begun here goes on in the engine, whether or not anybody waits.
        awaited.number = None;
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

    pub(crate) async fn read<T>(
        &self,
        kind: CallKind,
        doing: &'static str,
        engine: impl FnMut(&mut State) -> Said<T>,
    ) -> Result<T, EngineError> {
        self.call(Asked { kind, doing, sent: Sent::Read(kind) }, engine).await
    }

    /// Looks at the machine itself, past its engine.
    pub(crate) async fn look<T>(
        &self,
        kind: CallKind,
        doing: &'static str,
        look: impl FnOnce(&State) -> Result<T, String>,
    ) -> Result<T, HostError> {
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
