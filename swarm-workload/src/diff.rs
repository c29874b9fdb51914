//! What differs between two specifications, field by field, and what a change of it causes.

use crate::normal::normal;
use crate::spec::STOPPED_LABEL;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its path in the engine's terms, for example `TaskTemplate.ContainerSpec.Image`.
    pub field: String,
    /// What it is; `None` where it is not set.
    pub old: Option<String>,
    /// What it is to be; `None` where it is to be unset.
    pub new: Option<String>,
}

impl Change {
    /// Whether it replaces the tasks of a service, by the rule of swarmkit: whatever is part of a task's template does.
    pub fn replaces_tasks(&self) -> bool {
        self.field.starts_with("TaskTemplate.") || self.field.starts_with("EndpointSpec.Ports")
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".into());
        let name = self.field.rsplit_once("ContainerSpec.").map_or(self.field.as_str(), |(_, rest)| rest);
        let name = name.strip_prefix("TaskTemplate.").unwrap_or(name);
        write!(f, "{name}: {} -> {}", show(&self.old), show(&self.new))
    }
}

/// Every field that differs between what is there and what is wanted. `networks` gives the name of each network by its id.
pub fn differences(have: Value, want: Value, networks: &BTreeMap<String, String>) -> Vec<Change> {
    let mut found = Vec::new();
    compare("", Some(&normal(have, networks)), Some(&normal(want, networks)), &mut found);
    found
}

/// What of a network differs that a file can say. Engines fill in the rest.
pub(crate) fn network_differences(have: &Value, want: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or("overlay").to_owned();
    let (is, wanted) = (text(have, "Driver"), text(want, "Driver"));
    if is != wanted {
        lines.push(format!("Driver: {is} -> {wanted}"));
    }
    for key in ["Attachable", "Internal", "EnableIPv6"] {
        let of = |value: &Value| value.get(key).and_then(Value::as_bool).unwrap_or(false);
        if of(have) != of(want) {
            lines.push(format!("{key}: {} -> {}", of(have), of(want)));
        }
    }
    let none = serde_json::Map::new();
    let map = |value: &Value, key: &str| value.get(key).and_then(Value::as_object).cloned().unwrap_or_else(|| none.clone());
    // Engines add labels and options of their own; what the file has must be there.
    for (key, wanted) in ["Labels", "Options"].iter().flat_map(|key| map(want, key).into_iter().map(move |(k, v)| ((*key, k), v))) {
        let (list, name) = key;
        let is = map(have, list).get(&name).cloned();
        if is.as_ref() != Some(&wanted) {
            let shown = is.map_or("not set".to_owned(), |v| show(&name, &v));
            lines.push(format!("{list}.{name}: {shown} -> {}", show(&name, &wanted)));
        }
    }
    let subnets = |value: &Value| -> Vec<String> {
        let all = value.pointer("/IPAM/Config").and_then(Value::as_array).cloned().unwrap_or_default();
        all.iter().filter_map(|c| c.get("Subnet")?.as_str().map(str::to_owned)).collect()
    };
    if !subnets(want).is_empty() && subnets(have) != subnets(want) {
        lines.push(format!("Subnet: {} -> {}", subnets(have).join(", "), subnets(want).join(", ")));
    }
    lines
}

fn compare(path: &str, have: Option<&Value>, want: Option<&Value>, found: &mut Vec<Change>) {
    if have == want {
        return;
    }
    let under = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (have, want) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            keys.into_iter().for_each(|key| compare(&under(key), old.get(key), new.get(key), found));
        }
        (Some(Value::Object(old)), None) if !old.is_empty() => {
            old.iter().for_each(|(key, value)| compare(&under(key), Some(value), None, found));
        }
        (None, Some(Value::Object(new))) if !new.is_empty() => {
            new.iter().for_each(|(key, value)| compare(&under(key), None, Some(value), found));
        }
        // Lists of texts: what came and what went, by itself. An environment is one such list, by its names.
        (old, new) if is_texts(old) && is_texts(new) && path.ends_with(".Env") => variables(path, old, new, found),
        // Of a list only what came and what went.
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            let only = |a: &[Value], b: &[Value]| {
                let items: Vec<Value> = a.iter().filter(|item| !b.contains(item)).cloned().collect();
                (!items.is_empty()).then(|| show(path, &Value::Array(items)))
            };
            let (gone, come) = (only(old, new), only(new, old));
            // Where only the order differs, or how often one is there, both are shown whole.
            let whole = |items: &Vec<Value>| Some(show(path, &Value::Array(items.clone())));
            let (old, new) = if gone.is_none() && come.is_none() { (whole(old), whole(new)) } else { (gone, come) };
            found.push(Change { field: path.to_owned(), old, new });
        }
        (old, new) => found.push(Change { field: path.to_owned(), old: old.map(|v| show(path, v)), new: new.map(|v| show(path, v)) }),
    }
}

fn is_texts(value: Option<&Value>) -> bool {
    value.is_none_or(|v| v.as_array().is_some_and(|list| list.iter().all(Value::is_string)))
}

fn variables(path: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Change>) {
    let read = |value: Option<&Value>| -> BTreeMap<String, String> {
        let texts = value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        texts.map(|text| text.split_once('=').map_or((text.to_owned(), String::new()), |(k, v)| (k.to_owned(), v.to_owned()))).collect()
    };
    let (old, new) = (read(old), read(new));
    for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let shown = |values: &BTreeMap<String, String>| values.get(key).map(|value| shown_variable(key, value));
        if old.get(key) != new.get(key) {
            found.push(Change { field: format!("{path}.{key}"), old: shown(&old), new: shown(&new) });
        }
    }
}

/// The value of a variable as it may be shown.
fn shown_variable(name: &str, value: &str) -> String {
    if is_secret(name) { "***".to_owned() } else { without_login(value) }
}

/// The labels that an object lacks or has too many; empty where it has exactly the wanted ones.
pub(crate) fn label_changes(have: &Value, want: &Value) -> BTreeMap<String, Option<String>> {
    let labels = |spec: &Value| -> BTreeMap<String, String> {
        let map = spec.get("Labels").and_then(Value::as_object).into_iter().flatten();
        map.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    };
    let (have, want) = (labels(have), labels(want));
    let gone = have.keys().filter(|key| !want.contains_key(*key)).map(|key| (key.clone(), None));
    let new = want.iter().filter(|(key, value)| have.get(*key) != Some(value)).map(|(key, value)| (key.clone(), Some(value.clone())));
    gone.chain(new).collect()
}

/// A document as it may be shown: without the values of variables that are secrets by their names, and without logins in addresses. What is
/// carried out, or saved to be, keeps them.
pub fn without_secrets(document: Value) -> Value {
    match document {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(key, value)| match key.as_str() {
                    "Env" => (key, shown_list(value)),
                    // It holds a whole specification, with its variables.
                    STOPPED_LABEL => (key, Value::String("***".into())),
                    _ => (key, without_secrets(value)),
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_secrets).collect()),
        other => other,
    }
}

fn shown_list(variables: Value) -> Value {
    let show = |line: Value| match line.as_str().and_then(|text| text.split_once('=')) {
        Some((name, value)) => Value::String(format!("{name}={}", shown_variable(name, value))),
        None => line,
    };
    match variables {
        Value::Array(lines) => Value::Array(lines.into_iter().map(show).collect()),
        other => other,
    }
}

/// An address without the login in it: `scheme://***@host`.
fn without_login(value: &str) -> String {
    match value.split_once("://") {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((login, host)) if !login.contains('/') => format!("{scheme}://***@{host}"),
            _ => value.to_owned(),
        },
        None => value.to_owned(),
    }
}

/// Whether a variable by its name holds a secret: its value is not shown.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "secret", "token", "key", "credential", "auth", "dsn", "private"].iter().any(|word| name.contains(word))
}

/// A value on one line.
fn show(path: &str, value: &Value) -> String {
    let last = path.rsplit('.').next().unwrap_or(path);
    let nanoseconds = ["Delay", "Monitor", "Window", "StopGracePeriod", "Interval", "Timeout", "StartPeriod", "StartInterval"];
    match value {
        Value::String(_) if is_secret(last) && path.contains("Options") => "***".into(),
        Value::String(text) => text.clone(),
        Value::Number(number) if nanoseconds.contains(&last) => match number.as_u64() {
            Some(nanos) if nanos % 1_000_000_000 == 0 => format!("{}s", nanos / 1_000_000_000),
            Some(nanos) => format!("{}ms", nanos / 1_000_000),
            None => number.to_string(),
        },
        Value::Array(items) if items.iter().all(Value::is_string) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        Value::Array(items) => items.iter().map(|item| show(path, item)).collect::<Vec<_>>().join("; "),
        Value::Object(map) => {
            map.iter().map(|(key, value)| format!("{key} {}", show(&format!("{path}.{key}"), value))).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(have: Value, want: Value) -> Vec<String> {
        differences(have, want, &BTreeMap::new()).iter().map(Change::to_string).collect()
    }

    #[test]
    fn each_field_is_named_with_both_values() {
        let have = json!({ "TaskTemplate": { "ContainerSpec": { "Image": "web:1", "Env": ["A=1", "DB_PASSWORD=hunter2", "OLD=x", "URL=postgres://u:hunter2@db/x"] } } });
        let want = json!({ "TaskTemplate": { "ContainerSpec": { "Image": "web:2", "Env": ["A=2", "DB_PASSWORD=hunter3", "URL=postgres://u:hunter3@db/y"] } },
            "Mode": { "Replicated": { "Replicas": 3 } }, "UpdateConfig": { "Parallelism": 2, "Delay": 10_000_000_000u64 } });
        let lines = of(have, want);
        assert!(!lines.iter().any(|l| l.contains("hunter")), "{lines:?}");
        for line in [
            "Image: web:1 -> web:2",
            "Env.A: 1 -> 2",
            "Env.DB_PASSWORD: *** -> ***",
            "Env.OLD: x -> not set",
            "Env.URL: postgres://***@db/x -> postgres://***@db/y",
            "Mode.Replicated.Replicas: 1 -> 3",
            "UpdateConfig.Delay: not set -> 10s",
            "UpdateConfig.Parallelism: not set -> 2",
        ] {
            assert!(lines.iter().any(|l| l == line), "{line} is not in {lines:?}");
        }
        assert_eq!(lines.len(), 8, "{lines:?}");
    }

    #[test]
    fn a_document_is_shown_without_secrets() {
        let plan = json!({ "steps": [{ "data": { "Env": ["DB_PASSWORD=hunter2", "URL=redis://u:hunter2@c/0", "PLAIN=1", "NONE"], "Image": "a" } }] });
        let shown = without_secrets(plan);
        assert_eq!(shown.pointer("/steps/0/data/Env").unwrap(), &json!(["DB_PASSWORD=***", "URL=redis://***@c/0", "PLAIN=1", "NONE"]));
        assert_eq!(shown.pointer("/steps/0/data/Image").unwrap(), "a");
    }

    proptest::proptest! {
        #[test]
        fn nothing_differs_from_itself(image in "[a-z]{1,8}(:[0-9]{1,2})?", replicas in 0u64..9, env in proptest::collection::vec("[A-Z]{1,3}=[a-z]{0,3}", 0..5)) {
            let mut reversed = env.clone();
            reversed.reverse();
            let spec = |env: Vec<String>| json!({ "TaskTemplate": { "ContainerSpec": { "Image": image, "Env": env } }, "Mode": { "Replicated": { "Replicas": replicas } } });
            proptest::prop_assert!(of(spec(env), spec(reversed)).is_empty());
        }
    }

    #[test]
    fn labels_become_exactly_the_wanted_ones() {
        let changes = |have: Value, want: Value| label_changes(&json!({ "Labels": have }), &json!({ "Labels": want }));
        assert_eq!(changes(json!({ "a": "1" }), json!({ "a": "1" })), [].into());
        assert_eq!(changes(Value::Null, json!({})), [].into());
        let (gone, new) = (("a".to_owned(), None), ("c".to_owned(), Some("3".to_owned())));
        assert_eq!(changes(json!({ "a": "1", "b": "2" }), json!({ "b": "2", "c": "3" })), [gone, new].into());
        assert_eq!(changes(json!({ "a": "1" }), json!({ "a": "2" })), [("a".to_owned(), Some("2".to_owned()))].into());
    }
}
