//! A file beside what it may hold, and the schema for editors.

use crate::shape::{Key, NEWEST, Rest, Shape};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeSet;
use swarm_core::spec::{Entry, Location, Node, Problem, Severity, Value, nearest_word};

/// Looks for values of the wrong form.
pub(crate) struct Shaped<'a> {
    /// The version that the file says, without its 3.
    pub(crate) version: u8,
    /// Places of values that came from variables: those may stand for numbers, and for true and false.
    pub(crate) places: &'a BTreeSet<Location>,
    /// Places of what is a date: no key takes one.
    pub(crate) dates: &'a BTreeSet<Location>,
    pub(crate) found: Vec<Problem>,
}

impl Shaped<'_> {
    pub(crate) fn node(&mut self, shape: &Shape, node: &Node, path: &str) {
        match (shape, &node.value) {
            (Shape::List(item), Value::List(items)) => self.items(item, items, path),
            (Shape::Unique(item), Value::List(items)) => {
                self.items(item, items, path);
                let mut seen = BTreeSet::new();
                for (index, item) in items.iter().enumerate() {
                    if !seen.insert(canonical(item, self.places, false)) {
                        self.say(item.at, &format!("{path}[{index}]"), "it is in the list twice", "remove one");
                    }
                }
            }
            (Shape::Keys(keys, rest) | Shape::KeysOrNothing(keys, rest), Value::Map(entries)) => self.keys(keys, *rest, entries, path),
            (Shape::Named(shape), Value::Map(entries)) => {
                for entry in entries {
                    self.node(shape, &entry.node, &joined(path, &entry.key));
                }
            }
            (Shape::Either(shapes), _) => match shapes.iter().find(|shape| self.fits(shape, node)) {
                Some(shape) => self.node(shape, node, path),
                None => self.wrong(shape, node, path),
            },
            _ if node.at.is_some_and(|at| self.dates.contains(&at)) => self.say(node.at, path, "this is a date", "write it in quotes"),
            _ if self.fits(shape, node) => {}
            _ => self.wrong(shape, node, path),
        }
    }

    /// Whether a value is of a form's kind.
    fn fits(&self, shape: &Shape, node: &Node) -> bool {
        let variable = matches!(node.value, Value::Text(_)) && node.at.is_some_and(|at| self.places.contains(&at));
        match shape {
            Shape::Text => matches!(node.value, Value::Text(_)),
            Shape::TextOrNothing => matches!(node.value, Value::Text(_) | Value::Null),
            Shape::Bool => variable || matches!(node.value, Value::Bool(_)),
            Shape::Count => variable || matches!(node.value, Value::Int(_)),
            Shape::TextOrCount => matches!(node.value, Value::Text(_) | Value::Int(_)),
            Shape::Int => variable || matches!(node.value, Value::Int(_)) || matches!(node.value, Value::Float(n) if n.fract() == 0.0),
            Shape::Number => variable || matches!(node.value, Value::Int(_) | Value::Float(_)),
            Shape::Scalar => matches!(node.value, Value::Text(_) | Value::Int(_) | Value::Float(_)),
            Shape::ScalarOrNothing => matches!(node.value, Value::Text(_) | Value::Int(_) | Value::Float(_) | Value::Null),
            Shape::List(_) | Shape::Unique(_) => matches!(node.value, Value::List(_)),
            Shape::Keys(..) | Shape::Named(_) => matches!(node.value, Value::Map(_)),
            Shape::KeysOrNothing(..) => matches!(node.value, Value::Map(_) | Value::Null),
            Shape::Either(shapes) => shapes.iter().any(|shape| self.fits(shape, node)),
        }
    }

    fn items(&mut self, shape: &Shape, items: &[Node], path: &str) {
        for (index, item) in items.iter().enumerate() {
            self.node(shape, item, &format!("{path}[{index}]"));
        }
    }

    fn keys(&mut self, keys: &[Key], rest: Rest, entries: &[Entry], path: &str) {
        for entry in entries {
            let at = joined(path, &entry.key);
            match keys.iter().find(|key| key.name == entry.key) {
                // What begins with x- was free before it had a meaning.
                Some(key) if key.since > self.version && !(key.name.starts_with("x-") && self.version >= 7) => {
                    self.later(entry, &at, key.since)
                }
                Some(key) if key.since > self.version => {}
                Some(key) => self.node(&key.shape, &entry.node, &at),
                None => match rest {
                    Rest::Extensions(since) if entry.key.starts_with("x-") && since > self.version => self.later(entry, &at, since),
                    Rest::Anything(since) if since > self.version => self.later(entry, &at, since),
                    Rest::Anything(_) => {}
                    Rest::Extensions(_) if entry.key.starts_with("x-") => {}
                    _ => {
                        let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
                        let near = nearest_word(&entry.key, &names);
                        let own = if matches!(rest, Rest::Extensions(_)) { ", or begin it with x-" } else { "" };
                        let fix = if near.starts_with("did") { near } else { format!("remove it{own}") };
                        self.say(entry.at, &at, "there is no such key here", fix);
                    }
                },
            }
        }
    }

    fn later(&mut self, entry: &Entry, path: &str, since: u8) {
        let message = format!("this key came with version 3.{since}, and the file says 3.{}", self.version);
        self.say(entry.at, path, message, format!("write version: \"3.{NEWEST}\", or leave the version out"));
    }

    fn wrong(&mut self, shape: &Shape, node: &Node, path: &str) {
        let fix = format!("write {}", wanted(shape));
        self.say(node.at, path, format!("this is {}", node.value.kind()), fix);
    }

    fn say(&mut self, at: Option<Location>, path: &str, message: impl Into<String>, fix: impl Into<String>) {
        self.found.push(Problem { severity: Severity::Error, path: path.to_owned(), at, message: message.into(), fix: fix.into() });
    }
}

/// A text that two values have in common if they say the same; the order of keys says nothing, and a variable that is the value of a key may
/// stand for a number.
fn canonical(node: &Node, places: &BTreeSet<Location>, of_a_key: bool) -> String {
    match &node.value {
        Value::Map(entries) => {
            let mut all: Vec<String> = entries.iter().map(|e| format!("{:?}: {}", e.key, canonical(&e.node, places, true))).collect();
            all.sort();
            format!("{{{}}}", all.join(", "))
        }
        Value::List(items) => format!("[{}]", items.iter().map(|item| canonical(item, places, false)).collect::<Vec<_>>().join(", ")),
        Value::Text(text) if of_a_key && node.at.is_some_and(|at| places.contains(&at)) => {
            text.parse().map_or_else(|_| format!("{:?}", node.value), |number| format!("{:?}", Value::Int(number)))
        }
        other => format!("{other:?}"),
    }
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// What to write, in words.
fn wanted(shape: &Shape) -> String {
    match shape {
        Shape::Text | Shape::TextOrNothing => "a text, in quotes if it looks like something else".into(),
        Shape::Bool => "true or false".into(),
        Shape::Int | Shape::Count => "a whole number".into(),
        Shape::TextOrCount => "a text or a whole number".into(),
        Shape::Number => "a number".into(),
        Shape::Scalar | Shape::ScalarOrNothing => "a text or a number".into(),
        Shape::List(_) | Shape::Unique(_) => "a list".into(),
        Shape::Keys(..) | Shape::KeysOrNothing(..) | Shape::Named(_) => "a mapping".into(),
        Shape::Either(shapes) => shapes.iter().map(wanted).collect::<Vec<_>>().join(", or "),
    }
}

/// The JSON Schema of a form.
pub(crate) fn schema(shape: &Shape) -> Json {
    match shape {
        Shape::Text => json!({ "type": "string" }),
        Shape::TextOrNothing => json!({ "type": ["string", "null"] }),
        // A variable may stand for them.
        Shape::Bool => json!({ "type": ["boolean", "string"] }),
        Shape::Int | Shape::Count | Shape::TextOrCount => json!({ "type": ["integer", "string"] }),
        Shape::Number | Shape::Scalar => json!({ "type": ["number", "string"] }),
        Shape::ScalarOrNothing => json!({ "type": ["number", "string", "null"] }),
        Shape::List(item) => json!({ "type": "array", "items": schema(item) }),
        Shape::Unique(item) => json!({ "type": "array", "items": schema(item), "uniqueItems": true }),
        Shape::Named(item) => json!({ "type": ["object", "null"], "additionalProperties": schema(item) }),
        Shape::Keys(keys, rest) => mapping(keys, *rest, json!("object")),
        Shape::KeysOrNothing(keys, rest) => mapping(keys, *rest, json!(["object", "null"])),
        Shape::Either(shapes) => json!({ "anyOf": shapes.iter().map(schema).collect::<Vec<_>>() }),
    }
}

fn mapping(keys: &[Key], rest: Rest, kind: Json) -> Json {
    let properties: Map<String, Json> = keys.iter().map(|key| (key.name.to_owned(), schema(&key.shape))).collect();
    let mut out = json!({ "type": kind, "properties": properties, "additionalProperties": matches!(rest, Rest::Anything(_)) });
    if let (Rest::Extensions(_), Some(map)) = (rest, out.as_object_mut()) {
        map.insert("patternProperties".into(), json!({ "^x-": {} }));
    }
    out
}
