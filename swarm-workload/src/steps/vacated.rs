//! The tasks of a service leave a node, new ones running before old ones end. A constraint against the node is added, with updates start-first:
//! only tasks whose node does not meet the constraints are replaced (swarmkit `manager/orchestrator`, `IsTaskDirty`). When the node is drained
//! both are taken back, which replaces none. What was there before stands in a label from the first change to the last, so that any later
//! run can take it back.

use super::failed;
use crate::place::slot;
use crate::tasks::{Progress, progress};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use swarm_core::engine::{Body, ErrorClass, Kind, Object, Query, Reason};
use swarm_core::machine::{Ask, Event, Move, Outcome, Reply, Task};

/// The label of a service whose tasks leave a node: what is taken back.
const LABEL: &str = "swarm.drain.was";

const PAUSE: Duration = Duration::from_millis(200);
/// How long tasks may have trouble elsewhere before it is taken back.
const STUCK: Duration = Duration::from_secs(30);

/// What is taken back: the constraint, and how the service was updated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Was {
    /// The node.
    pub(crate) node: String,
    update: Value,
}

/// What a service says of a node that its tasks leave.
pub(crate) fn was(service: &Object) -> Option<Was> {
    serde_json::from_str(&service.label(LABEL)?).ok()
}

/// To make the tasks of a service leave a node, or to take back what made them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vacated {
    /// The service's name.
    pub(crate) name: String,
    /// Its id.
    pub(crate) id: String,
    /// The version that was seen; 0 where a step before this one changes it.
    pub(crate) version: u64,
    /// The node; empty where it is taken back.
    pub(crate) node: String,
    /// Its host, for people.
    pub(crate) host: String,
    /// How long its tasks may take, in milliseconds.
    pub(crate) patience: u64,
}

fn constraint(node: &str) -> String {
    format!("node.id!={node}")
}

/// The specification with the constraint against a node.
pub(crate) fn against(spec: &Value, node: &str) -> Value {
    let mut spec = spec.clone();
    let was = Was { node: node.to_owned(), update: spec.get("UpdateConfig").cloned().unwrap_or(Value::Null) };
    *slot(&mut spec, "/UpdateConfig/Order") = json!("start-first");
    if was.update.is_null() {
        *slot(&mut spec, "/UpdateConfig/Parallelism") = json!(1);
    }
    let constraints = slot(&mut spec, "/TaskTemplate/Placement/Constraints");
    match constraints.as_array_mut() {
        Some(list) => list.push(json!(constraint(node))),
        None => *constraints = json!([constraint(node)]),
    }
    if let Some(labels) = labels(&mut spec) {
        labels.insert(LABEL.into(), json!(serde_json::to_string(&was).unwrap_or_default()));
    }
    spec
}

fn labels(spec: &mut Value) -> Option<&mut serde_json::Map<String, Value>> {
    spec.as_object_mut()?.entry("Labels").or_insert_with(|| json!({})).as_object_mut()
}

/// The specification without it.
fn restored(spec: &Value, was: &Was) -> Value {
    let mut spec = spec.clone();
    if let Some(placement) = spec.pointer_mut("/TaskTemplate/Placement").and_then(Value::as_object_mut) {
        let ours = json!(constraint(&was.node));
        if let Some(list) = placement.get_mut("Constraints").and_then(Value::as_array_mut) {
            list.retain(|c| *c != ours);
        }
        if placement.get("Constraints").and_then(Value::as_array).is_some_and(Vec::is_empty) {
            placement.remove("Constraints");
        }
    }
    if let Some(map) = spec.as_object_mut() {
        match &was.update {
            Value::Null => map.remove("UpdateConfig"),
            before => map.insert("UpdateConfig".into(), before.clone()),
        };
    }
    if let Some(labels) = labels(&mut spec) {
        labels.remove(LABEL);
    }
    spec
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    /// Reads the service before the change.
    Read,
    /// The change is under way.
    Change,
    /// Waits for the tasks.
    Wait,
}

#[derive(Debug)]
pub(super) struct Vacate {
    data: Vacated,
    stage: Stage,
    since: Duration,
    stuck: Option<Duration>,
    /// Why it is taken back though tasks are still there.
    gave_up: Option<String>,
    last: String,
}

impl Vacate {
    pub(super) fn new(data: Vacated) -> Self {
        Self { data, stage: Stage::Read, since: Duration::ZERO, stuck: None, gave_up: None, last: String::new() }
    }

    fn leaves(&self) -> bool {
        !self.data.node.is_empty() && self.gave_up.is_none()
    }

    fn read(&mut self) -> Move {
        self.stage = Stage::Read;
        Move::Ask(vec![Ask::Get(Kind::Service, self.data.id.clone())])
    }

    fn look(&mut self) -> Move {
        self.stage = Stage::Wait;
        Move::Ask(vec![
            Ask::List(Query::all(Kind::Service).with("id", self.data.id.clone())),
            Ask::List(Query::all(Kind::Task).with("service", self.data.id.clone())),
        ])
    }

    /// The service as it is, before the change.
    fn seen(&mut self, service: &Object) -> Move {
        let spec = match (self.leaves(), was(service)) {
            (true, Some(was)) if was.node == self.data.node => return self.look(),
            (true, None) if self.data.version == 0 || service.version() == self.data.version => against(&service.spec(), &self.data.node),
            (true, _) => return Move::End(failed("the service was changed meanwhile by someone else; plan again")),
            (false, Some(was)) => restored(&service.spec(), &was),
            // The answer to the change was lost, and it was made.
            (false, None) => return self.look(),
        };
        self.stage = Stage::Change;
        let (id, version) = (self.data.id.clone(), service.version());
        Move::Ask(vec![Ask::Update { kind: Kind::Service, id, version, body: Body::of(spec), rollback: false }])
    }

    fn looked(&mut self, replies: &[Reply], now: Duration) -> Move {
        let [Reply::Objects(services), Reply::Objects(tasks)] = replies else { return Move::End(failed("its tasks were not listed")) };
        let Some(service) = services.iter().find(|s| s.id() == self.data.id) else {
            return Move::End(failed("the service was removed meanwhile by someone else"));
        };
        let seen = progress(service, tasks);
        if !self.leaves() {
            // Taking it back replaces no task, so there is nothing to wait for.
            return Move::End(match self.gave_up.take() {
                Some(why) => failed(why),
                None => Outcome::Done { changed: true },
            });
        }
        let still = tasks
            .iter()
            .filter(|t| t.text("/NodeID").as_deref() == Some(&*self.data.node) && t.text("/DesiredState").as_deref() == Some("running"));
        let still = still.count();
        if still == 0 && seen.running >= seen.wanted {
            return Move::End(Outcome::Done { changed: true });
        }
        let troubled = !seen.troubles.is_empty();
        let stuck = *self.stuck.get_or_insert(now);
        if !troubled {
            self.stuck = None;
        }
        if (troubled && now >= stuck + STUCK) || now >= self.since + Duration::from_millis(self.data.patience) {
            let why = seen.troubles.first().map_or_else(|| seen.line(), ToString::to_string);
            self.gave_up = Some(format!("its tasks do not run elsewhere ({why}), so they stay on {}", self.data.host));
            return self.read();
        }
        self.wait(&seen, still, now)
    }

    fn wait(&mut self, seen: &Progress, still: usize, now: Duration) -> Move {
        let line = format!("{}; {still} on {}", seen.line(), self.data.host);
        let progress = (line != self.last).then(|| line.clone());
        self.last = line;
        Move::Wait { until: now + PAUSE, progress }
    }
}

impl Task for Vacate {
    fn next(&mut self, event: Event<'_>, now: Duration) -> Move {
        match (event, self.stage) {
            (Event::Begin, _) => {
                self.since = now;
                self.read()
            }
            (Event::Time, Stage::Wait) => self.look(),
            (Event::Time, _) => self.read(),
            (Event::Answer(Ok(replies)), Stage::Read) => match replies.first() {
                Some(Reply::Object(service)) => self.seen(service),
                _ => Move::End(failed("the service was not read")),
            },
            (Event::Answer(Ok(_)), Stage::Change) => self.look(),
            (Event::Answer(Ok(replies)), Stage::Wait) => self.looked(replies, now),
            (Event::Answer(Err(error)), stage) => {
                // The engine changes a service too, as it gives it addresses and ports: read again. A lost answer: the label tells.
                let moved = error.reason == Reason::OutOfSequence && !self.leaves();
                if stage == Stage::Change && (moved || error.class == ErrorClass::Unknown) && now < self.since + STUCK {
                    self.stage = Stage::Read;
                    return Move::Wait { until: now + PAUSE, progress: Some(error.message.clone()) };
                }
                match (stage, error.class, error.reason) {
                    (Stage::Change, _, Reason::OutOfSequence) => {
                        Move::End(failed("the service was changed meanwhile by someone else; plan again"))
                    }
                    (Stage::Change, ErrorClass::Unknown, _) => Move::End(Outcome::InDoubt {
                        message: format!("the service may have a constraint too many; running again ends that: {}", error.message),
                    }),
                    _ => Move::End(failed(error.message.clone())),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_taken_back_to_the_letter() {
        for spec in [
            json!({ "Name": "a", "Labels": {}, "TaskTemplate": {} }),
            json!({ "Name": "a", "Labels": { "x": "y" }, "TaskTemplate": { "Placement": {} }, "UpdateConfig": { "Order": "stop-first", "Parallelism": 0 } }),
            json!({ "Name": "a", "Labels": {}, "TaskTemplate": { "Placement": { "Constraints": ["node.role==worker"] } } }),
        ] {
            let away = against(&spec, "n1");
            assert!(away.pointer("/TaskTemplate/Placement/Constraints").unwrap().to_string().contains("node.id!=n1"));
            assert_eq!(away.pointer("/UpdateConfig/Order"), Some(&json!("start-first")));
            let service = Object::of(&json!({ "ID": "s", "Version": { "Index": 1 }, "Spec": away })).unwrap();
            let back = restored(&away, &was(&service).unwrap());
            let bare = |spec: &Value| {
                let mut spec = spec.clone();
                // An empty placement is none.
                if spec.pointer("/TaskTemplate/Placement") == Some(&json!({})) {
                    spec["TaskTemplate"].as_object_mut().unwrap().remove("Placement");
                }
                spec
            };
            assert_eq!(bare(&back), bare(&spec));
        }
    }
}
