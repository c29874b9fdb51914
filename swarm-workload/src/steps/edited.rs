//! A node, a secret or a config is changed by what managers keep of it: read, changed with the version that was read, and read again. Of secrets
//! and configs only labels can be changed.

use super::failed;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
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

/// To change the labels of a secret or a config.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Labelled {
    pub(crate) kind: Kind,
    /// Its id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// What is to be; `None` is a label that goes.
    pub(crate) labels: BTreeMap<String, Option<String>>,
}

#[derive(Debug)]
pub(super) struct EditObject {
    kind: Kind,
    id: String,
    change: NodeChange,
    changing: bool,
    sent: bool,
    tries: u32,
    doubt: Option<EngineError>,
}

impl EditObject {
    pub(super) fn node(data: Edited) -> Self {
        Self { kind: Kind::Node, id: data.node, change: data.change, changing: false, sent: false, tries: 0, doubt: None }
    }

    pub(super) fn labels(data: Labelled) -> Self {
        let change = NodeChange { labels: data.labels, ..NodeChange::default() };
        Self { kind: data.kind, id: data.id, change, changing: false, sent: false, tries: 0, doubt: None }
    }

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

impl EditObject {
    fn read(&mut self) -> Move {
        self.changing = false;
        Move::Ask(vec![Ask::Get(self.kind, self.id.clone())])
    }

    fn change(&mut self, object: &Object) -> Move {
        let Some(mut spec) = self.applied(&object.spec()) else { return Move::End(Outcome::Done { changed: self.sent }) };
        if self.tries >= TRIES {
            let why = self.doubt.as_ref().map_or("it is changed by someone else again and again", |e| e.message.as_str());
            return Move::End(failed(why));
        }
        (self.changing, self.sent, self.tries) = (true, true, self.tries + 1);
        // What a config holds stays as it is where none is sent (swarmkit `manager/controlapi/config.go`, UpdateConfig).
        if let Some(map) = spec.as_object_mut() {
            map.remove("Data");
        }
        let (kind, id, version) = (self.kind, self.id.clone(), object.version());
        let body = Body { spec, data: None, registry_auth: None };
        Move::Ask(vec![Ask::Update { kind, id, version, body, rollback: false }])
    }
}

impl Task for EditObject {
    fn next(&mut self, event: Event<'_>, now: Duration) -> Move {
        match event {
            Event::Begin | Event::Time => self.read(),
            Event::Answer(Ok(_)) if self.changing => self.read(),
            Event::Answer(Ok(replies)) => match replies.first() {
                Some(Reply::Object(object)) => self.change(object),
                _ => Move::End(failed("it was not read")),
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
        let edited = EditObject::node(Edited { node: "n".into(), change });
        let spec = json!({ "Name": "x", "Role": "worker", "Availability": "active", "Labels": { "b": "2", "c": "3" }, "Newer": [1] });
        let new = edited.applied(&spec).unwrap();
        assert_eq!(new, json!({ "Name": "x", "Role": "worker", "Availability": "drain", "Labels": { "a": "1", "c": "3" }, "Newer": [1] }));
        assert_eq!(edited.applied(&new), None);
        let change = NodeChange { labels: [("b".to_owned(), None)].into(), ..NodeChange::default() };
        let gone = EditObject::node(Edited { node: "n".into(), change });
        assert_eq!(gone.applied(&json!({ "Role": "worker", "Labels": null })), None);
    }
}
