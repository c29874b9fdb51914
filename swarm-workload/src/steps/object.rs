//! Networks, secrets and configs: made once, and removed when nothing refers to them any more.

use super::failed;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use swarm_core::engine::{Body, EngineError, ErrorClass, Kind, Object, Query, Reason};
use swarm_core::machine::{Ask, Event, Move, Outcome, Reply, Task};

/// How long an object may be in use by tasks that are ending.
const IN_USE: Duration = Duration::from_secs(60);
/// How long the tasks of a removed service may take to end.
const TASKS_END: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(300);

/// To make an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Create {
    pub(crate) kind: Kind,
    pub(crate) body: Body,
}

impl Create {
    pub(crate) fn name(&self) -> &str {
        self.body.spec.get("Name").and_then(|n| n.as_str()).unwrap_or_default()
    }
}

#[derive(Debug)]
pub(super) struct CreateObject {
    data: Create,
    doubt: Option<EngineError>,
    tries: u32,
    since: Duration,
}

impl CreateObject {
    pub(super) fn new(data: Create) -> Self {
        Self { data, doubt: None, tries: 0, since: Duration::ZERO }
    }

    fn create(&mut self) -> Move {
        self.tries += 1;
        Move::Ask(vec![Ask::Create(self.data.kind, self.data.body.clone())])
    }
}

/// A query for the one object of a name. The engine's filter fits parts of names too.
pub(super) fn by_name(kind: Kind, name: &str) -> Query {
    Query::all(kind).with("name", name)
}

/// The object of exactly this name.
pub(super) fn named<'a>(replies: &'a [Reply], name: &str) -> Option<&'a Object> {
    replies.iter().find_map(|reply| match reply {
        // One that is there comes before one that is going.
        Reply::Objects(objects) => {
            let mut found = objects.iter().filter(|o| o.name() == name);
            let first = found.next()?;
            Some(found.find(|o| crate::there::is_going(first) && !crate::there::is_going(o)).unwrap_or(first))
        }
        _ => None,
    })
}

impl Task for CreateObject {
    fn next(&mut self, event: Event<'_>, now: Duration) -> Move {
        match (event, &self.doubt) {
            (Event::Begin, _) => {
                self.since = now;
                self.create()
            }
            (Event::Answer(Ok(_)), None) => Move::End(Outcome::Done { changed: true }),
            // The answer was lost, or the name is taken: what is there decides.
            (Event::Answer(Err(error)), None) if matches!(error.class, ErrorClass::Unknown | ErrorClass::Conflict) => {
                self.doubt = Some(error.clone());
                Move::Ask(vec![Ask::List(by_name(self.data.kind, self.data.name()))])
            }
            (Event::Answer(Err(error)), None) => Move::End(failed(error.message.clone())),
            (Event::Answer(Ok(replies)), Some(doubt)) => {
                let going = self.data.kind == Kind::Network && named(replies, self.data.name()).is_some_and(crate::there::is_going);
                let there = !going && named(replies, self.data.name()).is_some();
                if going && now < self.since + IN_USE {
                    (self.doubt, self.tries) = (None, 0);
                    let progress = "the network of before is still in use by tasks that are ending".to_owned();
                    return Move::Wait { until: now + PAUSE, progress: Some(progress) };
                }
                match (there, doubt.class) {
                    (true, ErrorClass::Unknown) => Move::End(Outcome::Done { changed: true }),
                    (true, _) => {
                        Move::End(failed(format!("a {} of this name was made meanwhile by someone else; plan again", self.data.kind)))
                    }
                    (false, _) if self.tries >= 3 => Move::End(failed(doubt.message.clone())),
                    (false, _) => {
                        self.doubt = None;
                        Move::Wait { until: now + PAUSE, progress: None }
                    }
                }
            }
            (Event::Answer(Err(error)), Some(doubt)) => {
                Move::End(Outcome::InDoubt { message: format!("{}; then {}", doubt.message, error.message) })
            }
            (Event::Time, _) => self.create(),
        }
    }
}

/// To remove an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Remove {
    pub(crate) kind: Kind,
    pub(crate) id: String,
    pub(crate) name: String,
    /// The stack that it belongs to, by its label. Nothing else is ever removed.
    pub(crate) stack: Option<String>,
}

#[derive(Debug)]
pub(super) struct RemoveObject {
    data: Remove,
    stage: Stage,
    since: Duration,
}

#[derive(Debug, PartialEq)]
enum Stage {
    Checking,
    Removing,
    TasksEnding,
}

impl RemoveObject {
    pub(super) fn new(data: Remove) -> Self {
        Self { data, stage: Stage::Checking, since: Duration::ZERO }
    }

    fn check(&mut self) -> Move {
        self.stage = Stage::Checking;
        Move::Ask(vec![Ask::Get(self.data.kind, self.data.id.clone())])
    }

    fn tasks(&mut self) -> Move {
        self.stage = Stage::TasksEnding;
        // Engines refuse a filter for a service that is gone, so all tasks are asked for.
        Move::Ask(vec![Ask::List(Query::all(Kind::Task))])
    }

    fn gone(&mut self, changed: bool) -> Move {
        if self.data.kind == Kind::Service { self.tasks() } else { Move::End(Outcome::Done { changed }) }
    }
}

impl Task for RemoveObject {
    fn next(&mut self, event: Event<'_>, now: Duration) -> Move {
        match (event, &self.stage) {
            (Event::Begin, _) => {
                self.since = now;
                self.check()
            }
            (Event::Time, Stage::TasksEnding) => self.tasks(),
            (Event::Time, _) => self.check(),
            (Event::Answer(Ok(replies)), Stage::Checking) => {
                // The label is looked at in the same breath: an id is never used again, but labels can be changed.
                let stack = replies.iter().find_map(|reply| match reply {
                    Reply::Object(object) => object.label(crate::NAMESPACE_LABEL),
                    _ => None,
                });
                if stack.as_deref() != self.data.stack.as_deref() {
                    return Move::End(failed("it does not belong to the stack any more"));
                }
                self.stage = Stage::Removing;
                Move::Ask(vec![Ask::Remove(self.data.kind, self.data.id.clone())])
            }
            (Event::Answer(Err(error)), Stage::Checking) if error.reason == Reason::NotFound => self.gone(false),
            (Event::Answer(Ok(_)), Stage::Removing) => self.gone(true),
            (Event::Answer(Err(error)), Stage::Removing) if error.reason == Reason::NotFound => self.gone(true),
            // Tasks that are ending hold on to their networks and secrets for some seconds.
            (Event::Answer(Err(error)), Stage::Removing) if now < self.since + IN_USE => {
                let message = error.message.clone();
                Move::Wait { until: now + PAUSE, progress: (error.class != ErrorClass::Unknown).then_some(message) }
            }
            (Event::Answer(Ok(replies)), Stage::TasksEnding) => {
                let alive = |o: &&Object| {
                    o.text("/ServiceID").as_deref() == Some(&self.data.id) && {
                        let state = o.text("/Status/State").unwrap_or_default();
                        !matches!(&*state, "complete" | "shutdown" | "failed" | "rejected" | "orphaned" | "remove")
                    }
                };
                let left: usize =
                    replies.iter().map(|r| if let Reply::Objects(all) = r { all.iter().filter(alive).count() } else { 0 }).sum();
                match left {
                    0 => Move::End(Outcome::Done { changed: true }),
                    left if now >= self.since + TASKS_END => Move::End(failed(format!(
                        "the service is removed, and {left} of its tasks have not ended after {} s",
                        TASKS_END.as_secs()
                    ))),
                    left => Move::Wait { until: now + PAUSE, progress: Some(format!("{left} tasks are ending")) },
                }
            }
            (Event::Answer(Err(error)), _) if error.class == ErrorClass::Unknown => {
                Move::End(Outcome::InDoubt { message: error.message.clone() })
            }
            (Event::Answer(Err(error)), _) => Move::End(failed(error.message.clone())),
        }
    }
}
