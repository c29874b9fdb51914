//! Objects of a swarm as managers have them: raw JSON with id, name and version, so that a field which a newer engine adds survives a
//! read and a write.

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// A kind of object that managers keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A node.
    Node,
    /// A service.
    Service,
    /// A task of a service. Only the engine makes and removes them.
    Task,
    /// A network.
    Network,
    /// A secret. Its data can be written and never read.
    Secret,
    /// A config.
    Config,
}

impl Kind {
    /// Where the engine has its objects, for example `/services`.
    pub fn path(self) -> &'static str {
        match self {
            Self::Node => "/nodes",
            Self::Service => "/services",
            Self::Task => "/tasks",
            Self::Network => "/networks",
            Self::Secret => "/secrets",
            Self::Config => "/configs",
        }
    }

    /// The word for one of it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Service => "service",
            Self::Task => "task",
            Self::Network => "network",
            Self::Secret => "secret",
            Self::Config => "config",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The name of the config that is the lock of a swarm ([`crate::operators`]).
pub const LOCK: &str = "swarm.lock";
/// The name of the config whose labels are the journal of runs.
pub const JOURNAL: &str = "swarm.journal";

/// An object as a manager has it, kept as its text: a parsed one costs some fifteen times its bytes. What is asked of it is read from there.
#[derive(Clone, PartialEq, Eq)]
pub struct Object {
    text: Box<str>,
    id: Box<str>,
    name: Box<str>,
    version: u64,
}

/// How deep a real object is at most, with room: specifications have 12 levels.
const DEEPEST: usize = 100;

/// A text that stays where it is as long as nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "ID", borrow)]
    id: Option<Text<'a>>,
    #[serde(rename = "Id", borrow)]
    network_id: Option<Text<'a>>,
    #[serde(rename = "Name", borrow)]
    name: Option<Text<'a>>,
    #[serde(rename = "Spec", borrow)]
    spec: Option<Named<'a>>,
    #[serde(rename = "Version")]
    version: Option<Version>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(rename = "Name", borrow)]
    name: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "Index")]
    index: Option<u64>,
}

impl Object {
    /// From its JSON.
    ///
    /// # Errors
    /// What of it is not as an object is. One without an id is none.
    pub fn read(text: impl Into<Box<str>>) -> Result<Self, String> {
        let text = text.into();
        if depth(&text) > DEEPEST {
            return Err("an object is deeper than any real one".into());
        }
        let head: Head<'_> = serde_json::from_str(&text).map_err(|e| format!("an object cannot be read: {e}"))?;
        let owned = |found: Option<Text<'_>>| found.map(|text| Box::from(text.0)).unwrap_or_default();
        let id: Box<str> = owned(head.id.or(head.network_id));
        if id.is_empty() {
            return Err("an object has no id".into());
        }
        let name = owned(head.spec.and_then(|s| s.name).or(head.name));
        let version = head.version.and_then(|v| v.index).unwrap_or_default();
        Ok(Self { id, name, version, text })
    }

    /// From a document.
    ///
    /// # Errors
    /// As [`Object::read`].
    pub fn of(value: &Value) -> Result<Self, String> {
        Self::read(value.to_string())
    }

    /// Its id (`ID`; `Id` for networks).
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its version, needed to change it; 0 for networks, which cannot be changed.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Its name; empty for tasks.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One of its labels.
    pub fn label(&self, key: &str) -> Option<Cow<'_, str>> {
        let at = |keys: &[&str]| peek::<Text<'_>>(&self.text, keys).map(|t| t.0);
        at(&["Spec", "Labels", key]).or_else(|| at(&["Labels", key]))
    }

    /// Its specification; for kinds without one the object itself.
    pub fn spec(&self) -> Value {
        self.part("/Spec").unwrap_or_else(|| self.value())
    }

    /// All of it.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// A part at a JSON pointer that names no place in a list; `None` where nothing or `null` is there.
    pub fn part(&self, pointer: &str) -> Option<Value> {
        self.at(pointer).filter(|part: &Value| !part.is_null())
    }

    /// A number at such a pointer.
    pub fn number(&self, pointer: &str) -> Option<u64> {
        self.at(pointer)
    }

    /// A text at such a pointer.
    pub fn text(&self, pointer: &str) -> Option<Cow<'_, str>> {
        self.at::<Text<'_>>(pointer).map(|t| t.0)
    }

    fn at<'a, T: Deserialize<'a>>(&'a self, pointer: &str) -> Option<T> {
        let keys: Vec<&str> = pointer.split('/').skip(1).collect();
        peek(&self.text, &keys)
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Object").field(&self.text).finish()
    }
}

impl Serialize for Object {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(&Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// How deep lists and maps are in each other.
fn depth(text: &str) -> usize {
    let (mut now, mut most, mut quoted, mut escaped) = (0usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                now += 1;
                most = most.max(now);
            }
            b'}' | b']' if !quoted => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// What is found under keys. What comes before it is passed over, and what comes after it is not read.
fn peek<'a, T: Deserialize<'a>>(text: &'a str, keys: &[&str]) -> Option<T> {
    let mut found = None;
    // The end of the reading is an error, whether the search ended or the object: what counts was put aside.
    let _ = Peek { keys, found: &mut found }.deserialize(&mut serde_json::Deserializer::from_str(text));
    found
}

struct Peek<'k, 'f, T> {
    keys: &'k [&'k str],
    found: &'f mut Option<T>,
}

impl<'a, T: Deserialize<'a>> DeserializeSeed<'a> for Peek<'_, '_, T> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.keys.is_empty() {
            *self.found = Some(T::deserialize(deserializer)?);
            return Ok(());
        }
        deserializer.deserialize_map(self)
    }
}

impl<'a, T: Deserialize<'a>> Visitor<'a> for Peek<'_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((first, rest)) = self.keys.split_first() else { return Ok(()) };
        while let Some(key) = map.next_key::<Text<'a>>()? {
            if key.0 == *first {
                map.next_value_seed(Peek { keys: rest, found: self.found })?;
                break;
            }
            map.next_value::<IgnoredAny>()?;
        }
        Err(serde::de::Error::custom("the search ended"))
    }
}

/// Which objects are listed: all of a kind, or those that fit every filter of the engine's own (`label`, `name`, `service`, …).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Query {
    /// The kind.
    pub kind: Kind,
    /// Filters by their names, with the values of which one must fit.
    pub filters: BTreeMap<String, Vec<String>>,
}

impl Query {
    /// All objects of a kind.
    pub fn all(kind: Kind) -> Self {
        Self { kind, filters: BTreeMap::new() }
    }

    /// Those of them that also fit this.
    #[must_use]
    pub fn with(mut self, filter: &str, value: impl Into<String>) -> Self {
        self.filters.entry(filter.to_owned()).or_default().push(value.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_asked_is_read_from_the_text() {
        let value = json!({ "ID": "s1", "Version": { "Index": 7 }, "Status": null, "Slot": 3,
            "Spec": { "Name": "web \"1\"", "Labels": { "a/b": "x\ty", "n": 1 }, "Mode": { "Global": {} } } });
        let object = Object::of(&value).unwrap();
        assert_eq!((object.id(), object.name(), object.version()), ("s1", "web \"1\"", 7));
        assert_eq!((object.label("a/b").as_deref(), object.label("n"), object.label("c")), (Some("x\ty"), None, None));
        assert_eq!((object.number("/Slot"), object.number("/ID"), object.text("/Slot")), (Some(3), None, None));
        assert_eq!((object.part("/Status"), object.part("/Spec/Mode/Global"), object.part("/Nothing")), (None, Some(json!({})), None));
        assert_eq!((object.spec(), object.value()), (value["Spec"].clone(), value.clone()));
        assert_eq!(serde_json::from_value::<Object>(serde_json::to_value(&object).unwrap()).unwrap(), object);
        let network = Object::of(&json!({ "Id": "n1", "Name": "net", "Labels": { "a": "b" } })).unwrap();
        assert_eq!((network.id(), network.name(), network.version(), network.label("a").as_deref()), ("n1", "net", 0, Some("b")));
        assert_eq!(network.spec(), network.value());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let deep = format!("{{\"ID\":\"a\",\"x\":{}{}}}", "[".repeat(200), "]".repeat(200));
        for text in ["", "[]", "{}", "{\"ID\":\"\"}", "{\"ID\":1}", "{\"ID\":\"a\"", &deep] {
            assert!(Object::read(text).is_err(), "{text}");
        }
        let quoted = format!("{{\"ID\":\"a\",\"x\":\"\\\"{}\"}}", "[".repeat(200));
        assert_eq!(Object::read(quoted.as_str()).unwrap().id(), "a");
        // As deep as it may be, and one more; brackets in a text close nothing.
        let lists = |count: usize, text: &str| format!("{{\"ID\":\"a\",\"x\":{}\"{text}\"{}}}", "[".repeat(count), "]".repeat(count));
        assert!(Object::read(lists(DEEPEST - 1, "").as_str()).is_ok() && Object::read(lists(DEEPEST, "").as_str()).is_err());
        assert_eq!((depth("[[\"]]\", [1]]]"), depth("[[]], [[[]]]"), depth("[]}}[[]]")), (3, 3, 2));
    }

    #[test]
    fn kinds_have_words() {
        let kinds = [Kind::Node, Kind::Service, Kind::Task, Kind::Network, Kind::Secret, Kind::Config];
        assert_eq!(kinds.map(|kind| format!("{kind:>8}").trim().to_owned()), ["node", "service", "task", "network", "secret", "config"]);
        assert_eq!(format!("{:>8}", Kind::Task), "    task");
    }

    proptest::proptest! {
        #[test]
        fn a_look_at_the_text_sees_what_a_parsed_object_has(keys in proptest::collection::vec("[a-c\"\\\\/é]{1,3}", 1..6), text in "\\PC{0,12}") {
            let mut inner = json!({ "z": text, "n": [1, { "q": text }] });
            for key in &keys {
                inner = json!({ "before": { "z": [text] }, key.clone(): inner });
            }
            let json = inner.to_string();
            let mut path: Vec<&str> = keys.iter().rev().map(String::as_str).collect();
            path.push("z");
            proptest::prop_assert_eq!(peek::<String>(&json, &path), Some(text));
            path.push("no");
            proptest::prop_assert_eq!(peek::<String>(&json, &path), None);
        }
    }
}
