//! Tasks of a service are spread evenly. The engine moves no task: the service is scaled up by as many as are to move, which the scheduler puts
//! where the fewest are, and scaled down again, which takes them from where the most are (swarmkit `manager/orchestrator/replicated`). How
//! many it is to have stands in a label from the first change to the last, so that any later run can finish.

use super::failed;
use crate::tasks::{Progress, progress};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use swarm_core::engine::{Body, ErrorClass, Kind, Object, Query, Reason};
use swarm_core::machine::{Ask, Event, Move, Outcome, Reply, Task};

/// The label of a service whose tasks are being spread: how many it is to have.
pub(crate) const LABEL: &str = "swarm.rebalance.replicas";

const PAUSE: Duration = Duration::from_millis(300);
/// How long the tasks that are added may have trouble before the step ends.
const STUCK: Duration = Duration::from_secs(30);
/// How long they may take at most.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long all of them run before any is taken away.
const STEADY: Duration = Duration::from_secs(1);

/// To spread the tasks of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Balanced {
    /// Its name.
    pub(crate) name: String,
    /// Its id.
    pub(crate) id: String,
    /// The version that was seen.
    pub(crate) version: u64,
    /// How many tasks it is to have.
    pub(crate) replicas: u64,
    /// How many are added for a while; 0 where a run before was cut off after that.
    pub(crate) more: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    /// Reads the service before it is scaled up.
    Before,
    Up,
    /// Waits until all tasks run.
    Added,
    /// Reads the service before it is scaled down.
    Between,
    Down,
    /// Waits until the service has its number again.
    Removed,
}

#[derive(Debug)]
pub(super) struct Spread {
    data: Balanced,
    stage: Stage,
    since: Duration,
    steady: Option<Duration>,
    stuck: Option<Duration>,
    last: String,
}

impl Spread {
    pub(super) fn new(data: Balanced) -> Self {
        // What a run before added is waited for, and then taken away from where the most are.
        let stage = if data.more > 0 { Stage::Before } else { Stage::Added };
        Self { data, stage, since: Duration::ZERO, steady: None, stuck: None, last: String::new() }
    }

    fn read(&self) -> Move {
        Move::Ask(vec![Ask::Get(Kind::Service, self.data.id.clone())])
    }

    fn look(&self) -> Move {
        Move::Ask(vec![
            Ask::List(Query::all(Kind::Service).with("id", self.data.id.clone())),
            Ask::List(Query::all(Kind::Task).with("service", self.data.id.clone())),
        ])
    }

    fn update(&self, service: &Object, replicas: u64, marked: bool) -> Move {
        let mut spec = service.spec();
        if let Some(mode) = spec.pointer_mut("/Mode/Replicated").and_then(Value::as_object_mut) {
            mode.insert("Replicas".into(), json!(replicas));
        }
        if let Some(map) = spec.as_object_mut() {
            let labels = map.entry("Labels").or_insert_with(|| json!({}));
            if let Some(labels) = labels.as_object_mut() {
                labels.remove(LABEL);
                labels.extend(marked.then(|| (LABEL.to_owned(), json!(self.data.replicas.to_string()))));
            }
        }
        let (id, version) = (self.data.id.clone(), service.version());
        Move::Ask(vec![Ask::Update { kind: Kind::Service, id, version, body: Body::of(spec), rollback: false }])
    }

    fn is_marked(&self, service: &Object) -> bool {
        service.label(LABEL).as_deref() == Some(self.data.replicas.to_string().as_str())
    }

    /// The service as it is, before a change of it.
    fn seen(&mut self, service: &Object) -> Move {
        let replicas = service.number("/Spec/Mode/Replicated/Replicas");
        match self.stage {
            // The answer to the change was lost, and it was made.
            Stage::Before if self.is_marked(service) => self.added(),
            Stage::Before if service.version() != self.data.version => {
                Move::End(failed("the service was changed meanwhile by someone else; plan again"))
            }
            Stage::Before => {
                self.stage = Stage::Up;
                self.update(service, self.data.replicas + self.data.more, true)
            }
            _ if self.is_marked(service) => {
                self.stage = Stage::Down;
                self.update(service, self.data.replicas, false)
            }
            _ if replicas == Some(self.data.replicas) => {
                self.stage = Stage::Removed;
                self.look()
            }
            _ => Move::End(failed("the service was changed meanwhile by someone else: how many tasks it is to have is theirs")),
        }
    }

    fn added(&mut self) -> Move {
        self.stage = Stage::Added;
        self.look()
    }

    fn looked(&mut self, replies: &[Reply], now: Duration) -> Move {
        let [Reply::Objects(services), Reply::Objects(tasks)] = replies else { return Move::End(failed("its tasks were not listed")) };
        let Some(service) = services.iter().find(|s| s.id() == self.data.id) else {
            return Move::End(failed("the service was removed meanwhile by someone else"));
        };
        let seen = progress(service, tasks);
        if self.stage == Stage::Removed {
            // Also those that never ran are taken away a moment later.
            let wanted = tasks.iter().filter(|t| t.text("/DesiredState").as_deref() == Some("running")).count() as u64;
            return self.ended(&seen, wanted, now);
        }
        if seen.is_there() {
            if now >= *self.steady.get_or_insert(now) + STEADY {
                self.stage = Stage::Between;
                return self.read();
            }
        } else {
            self.steady = None;
            if seen.troubles.is_empty() {
                self.stuck = None;
            } else {
                self.stuck.get_or_insert(now);
            }
            let stuck = self.stuck.is_some_and(|since| now >= since + STUCK);
            if stuck || now >= self.since + PATIENCE {
                // To take them away is not in our hands: the engine ends those whose node has the most, which are the ones that run
                // (swarmkit `manager/orchestrator/replicated/services.go`).
                let why = seen.troubles.first().map_or_else(|| seen.line(), ToString::to_string);
                let replicas = self.data.replicas;
                return Move::End(failed(format!(
                    "tasks that were added do not run ({why}). They stay, because the engine would end tasks that run instead of them: put it right and run this again, which goes on, and the service has its {replicas} in the end"
                )));
            }
        }
        self.wait(&seen, now)
    }

    fn ended(&mut self, seen: &Progress, wanted: u64, now: Duration) -> Move {
        if wanted > self.data.replicas {
            return self.wait(seen, now);
        }
        Move::End(Outcome::Done { changed: true })
    }

    fn wait(&mut self, seen: &Progress, now: Duration) -> Move {
        let line = seen.line();
        let progress = (line != self.last).then(|| line.clone());
        self.last = line;
        Move::Wait { until: now + PAUSE, progress }
    }
}

impl Task for Spread {
    fn next(&mut self, event: Event<'_>, now: Duration) -> Move {
        match (event, self.stage) {
            (Event::Begin, _) => {
                self.since = now;
                if self.stage == Stage::Added { self.look() } else { self.read() }
            }
            (Event::Time, Stage::Before | Stage::Between | Stage::Up | Stage::Down) => self.read(),
            (Event::Time, Stage::Added | Stage::Removed) => self.look(),
            (Event::Answer(Ok(replies)), Stage::Before | Stage::Between) => match replies.first() {
                Some(Reply::Object(service)) => self.seen(service),
                _ => Move::End(failed("the service was not read")),
            },
            (Event::Answer(Ok(_)), Stage::Up) => self.added(),
            (Event::Answer(Ok(_)), Stage::Down) => {
                self.stage = Stage::Removed;
                self.look()
            }
            (Event::Answer(Ok(replies)), Stage::Added | Stage::Removed) => self.looked(replies, now),
            (Event::Answer(Err(error)), stage) => {
                // The engine changes a service too, as it gives it addresses and ports: read again. A lost answer: the label tells.
                let again = error.reason == Reason::OutOfSequence && stage == Stage::Down
                    || error.class == ErrorClass::Unknown && matches!(stage, Stage::Up | Stage::Down);
                if again && now < self.since + PATIENCE {
                    self.stage = if stage == Stage::Up { Stage::Before } else { Stage::Between };
                    return Move::Wait { until: now + PAUSE, progress: Some(error.message.clone()) };
                }
                match stage {
                    Stage::Before => Move::End(failed(error.message.clone())),
                    Stage::Up if error.reason == Reason::OutOfSequence => {
                        Move::End(failed("the service was changed meanwhile by someone else; plan again"))
                    }
                    Stage::Up if error.class != ErrorClass::Unknown => Move::End(failed(error.message.clone())),
                    _ => Move::End(Outcome::InDoubt {
                        message: format!("the service may have more tasks than it is to have; running again ends that: {}", error.message),
                    }),
                }
            }
        }
    }
}
