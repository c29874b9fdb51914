//! A node is changed by what managers keep of it: read, changed with the version that was read, and read again.

use super::failed;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;
use swarm_core::engine::{Body, EngineError, ErrorClass, Kind, NodeChange, Object};
use swarm_core::machine::{Ask, Event, Move, Outcome, Reply, Task};

const PAUSE: Duration = Duration::from_millis(200);
/// How often someone else may change the node in between.
const TRIES: u32 = 10;

/// To change a node. Its role is not for this: that takes a look at its host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edited {
    /// Its id.
    pub(crate) node: String,
    /// What is to be.
    pub(crate) change: NodeChange,
}

impl Edited {
    /// The specification with the change; `None` where it has it already.
    fn applied(&self, spec: &Value) -> Option<Value> {
        let mut new = spec.clone();
        let map = new.as_object_mut()?;
        if let Some(availability) = self.change.availability {
            map.insert("Availability".into(), availability.to_string().into());
        }
        if !self.change.labels.is_empty() {
            let mut labels: Map<String, Value> = map.get("Labels").and_then(Value::as_object).cloned().unwrap_or_default();
            for (key, value) in &self.change.labels {
                match value {
                    Some(value) => labels.insert(key.clone(), value.clone().into()),
                    None => labels.remove(key),
                };
            }
            // Without a label an engine keeps none or an empty map: that is the same.
            if !(labels.is_empty() && map.get("Labels").is_none_or(|l| l.is_null() || l.as_object().is_some_and(Map::is_empty))) {
                map.insert("Labels".into(), labels.into());
            }
        }
        (new != *spec).then_some(new)
    }
}

#[derive(Debug)]
pub(super) struct EditNode {
    data: Edited,
    changing: bool,
    sent: bool,
    tries: u32,
    doubt: Option<EngineError>,
}

impl EditNode {
    pub(super) fn new(data: Edited) -> Self {
        Self { data, changing: false, sent: false, tries: 0, doubt: None }
    }

    fn read(&mut self) -> Move {
        self.changing = false;
        Move::Ask(vec![Ask::Get(Kind::Node, self.data.node.clone())])
    }

    fn change(&mut self, object: &Object) -> Move {
        let Some(spec) = self.data.applied(&object.spec()) else { return Move::End(Outcome::Done { changed: self.sent }) };
        if self.tries >= TRIES {
            let why = self.doubt.as_ref().map_or("it is changed by someone else again and again", |e| e.message.as_str());
            return Move::End(failed(why));
        }
        (self.changing, self.sent, self.tries) = (true, true, self.tries + 1);
        let (id, version) = (self.data.node.clone(), object.version());
        let body = Body { spec, data: None, registry_auth: None };
        Move::Ask(vec![Ask::Update { kind: Kind::Node, id, version, body, rollback: false }])
    }
}

impl Task for EditNode {
    fn next(&mut self, event: Event<'_>, now: Duration) -> Move {
        match event {
            Event::Begin | Event::Time => self.read(),
            Event::Answer(Ok(_)) if self.changing => self.read(),
            Event::Answer(Ok(replies)) => match replies.first() {
                Some(Reply::Object(object)) => self.change(object),
                _ => Move::End(failed("the node was not read")),
            },
            // The version was another, or the answer was lost: what is there decides.
            Event::Answer(Err(error)) if self.changing && matches!(error.class, ErrorClass::Conflict | ErrorClass::Unknown) => {
                self.doubt = Some(error.clone());
                Move::Wait { until: now + PAUSE, progress: None }
            }
            Event::Answer(Err(error)) if self.doubt.as_ref().is_some_and(|e| e.class == ErrorClass::Unknown) => {
                Move::End(Outcome::InDoubt { message: error.message.clone() })
            }
            Event::Answer(Err(error)) => Move::End(failed(error.message.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use swarm_core::spec::Availability;

    #[test]
    fn a_change_keeps_what_it_is_not_about() {
        let labels = [("a".to_owned(), Some("1".to_owned())), ("b".to_owned(), None)].into();
        let change = NodeChange { role: None, availability: Some(Availability::Drain), labels };
        let edited = Edited { node: "n".into(), change };
        let spec = json!({ "Name": "x", "Role": "worker", "Availability": "active", "Labels": { "b": "2", "c": "3" }, "Newer": [1] });
        let new = edited.applied(&spec).unwrap();
        assert_eq!(new, json!({ "Name": "x", "Role": "worker", "Availability": "drain", "Labels": { "a": "1", "c": "3" }, "Newer": [1] }));
        assert_eq!(edited.applied(&new), None);
        let gone = Edited { change: NodeChange { labels: [("b".to_owned(), None)].into(), ..NodeChange::default() }, ..edited };
        assert_eq!(gone.applied(&json!({ "Role": "worker", "Labels": null })), None);
    }
}
