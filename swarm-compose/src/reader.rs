//! Reads values of a Compose file with their places, and keeps every problem.

use crate::{Context, FilePayloads};
use std::collections::{BTreeMap, BTreeSet};
use swarm_core::spec::{Entry, Location, Node, Problem, Severity, Value};
use swarm_workload::Stack;

/// Reads one stack.
pub(crate) struct Reader<'a> {
    pub(crate) context: &'a Context<'a>,
    pub(crate) problems: Vec<Problem>,
    /// Keys that are not read, where nothing else is said of them.
    pub(crate) unread: Vec<Problem>,
    pub(crate) warnings: Vec<String>,
    pub(crate) payloads: FilePayloads,
    pub(crate) out: Stack,
    /// Whether names stay as they are, and networks are made though no service is in them.
    pub(crate) own: bool,
    /// Places of values that came from variables.
    places: BTreeSet<Location>,
    taken: BTreeMap<Location, Vec<String>>,
    /// Top-level objects by their names in the file.
    pub(crate) networks: BTreeMap<String, TopNetwork>,
    pub(crate) volumes: BTreeMap<String, TopVolume>,
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) configs: BTreeMap<String, String>,
    /// Keys that have no effect, with where they were seen first.
    pub(crate) ignored: BTreeSet<String>,
    pub(crate) deprecated: BTreeSet<&'static str>,
}

/// A network of the file.
#[derive(Debug, Clone)]
pub(crate) struct TopNetwork {
    /// Its name in the swarm.
    pub(crate) name: String,
    pub(crate) external: bool,
    pub(crate) spec: serde_json::Value,
    pub(crate) used: bool,
}

/// A volume of the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct TopVolume {
    pub(crate) name: Option<String>,
    pub(crate) external: bool,
    pub(crate) driver: Option<String>,
    pub(crate) options: Option<BTreeMap<String, String>>,
    pub(crate) labels: BTreeMap<String, String>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(stack: &str, context: &'a Context<'a>, places: BTreeSet<Location>, taken: BTreeMap<Location, Vec<String>>) -> Self {
        Self {
            context,
            problems: Vec::new(),
            unread: Vec::new(),
            warnings: Vec::new(),
            payloads: FilePayloads::default(),
            out: Stack { name: stack.to_owned(), ..Stack::default() },
            own: false,
            places,
            taken,
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            secrets: BTreeMap::new(),
            configs: BTreeMap::new(),
            ignored: BTreeSet::new(),
            deprecated: BTreeSet::new(),
        }
    }

    /// The name of an object of the stack in the swarm.
    pub(crate) fn scoped(&self, name: &str) -> String {
        // The network of services that name none has no name of the user's own.
        if self.own && name != "default" { name.to_owned() } else { format!("{}_{name}", self.out.name) }
    }

    pub(crate) fn say(&mut self, at: Option<Location>, path: &str, message: impl Into<String>, fix: impl Into<String>) {
        let mut message = message.into();
        if let Some(names) = at.and_then(|at| self.taken.get(&at)) {
            message = format!("{message} (from {})", names.join(", "));
        }
        self.problems.push(Problem { severity: Severity::Error, path: path.to_owned(), at, message, fix: fix.into() });
    }

    fn wrong(&mut self, node: &Node, path: &str, wanted: &str) {
        let kind = node.value.kind();
        self.say(node.at, path, format!("this is {kind}"), format!("write {wanted}"));
    }

    /// Whether a value came from a variable: it may then stand for a number.
    fn is_variable(&self, node: &Node) -> bool {
        node.at.is_some_and(|at| self.places.contains(&at))
    }

    pub(crate) fn entries<'n>(&mut self, node: &'n Node, path: &str) -> &'n [Entry] {
        match &node.value {
            Value::Map(entries) => entries,
            _ => {
                self.wrong(node, path, "a mapping");
                &[]
            }
        }
    }

    /// The same where nothing at all says nothing.
    pub(crate) fn entries_or_none<'n>(&mut self, node: &'n Node, path: &str) -> &'n [Entry] {
        if node.value == Value::Null { &[] } else { self.entries(node, path) }
    }

    pub(crate) fn items<'n>(&mut self, node: &'n Node, path: &str) -> &'n [Node] {
        match &node.value {
            Value::List(items) => items,
            _ => {
                self.wrong(node, path, "a list");
                &[]
            }
        }
    }

    pub(crate) fn text(&mut self, node: &Node, path: &str) -> Option<String> {
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            _ => {
                self.wrong(node, path, "a text, in quotes if it looks like something else");
                None
            }
        }
    }

    pub(crate) fn texts(&mut self, node: &Node, path: &str) -> Vec<String> {
        let items = self.items(node, path);
        items.iter().enumerate().filter_map(|(index, item)| self.text(item, &format!("{path}[{index}]"))).collect()
    }

    /// A text or a list of texts.
    pub(crate) fn text_or_texts(&mut self, node: &Node, path: &str) -> Vec<String> {
        match &node.value {
            Value::Text(text) => vec![text.clone()],
            _ => self.texts(node, path),
        }
    }

    /// A text or a number, as a text.
    pub(crate) fn scalar(&mut self, node: &Node, path: &str) -> Option<String> {
        match &node.value {
            Value::Int(number) => Some(number.to_string()),
            Value::Float(number) => Some(go_float(*number)),
            Value::Text(text) => Some(text.clone()),
            _ => {
                self.wrong(node, path, "a text or a number");
                None
            }
        }
    }

    pub(crate) fn boolean(&mut self, node: &Node, path: &str) -> Option<bool> {
        match &node.value {
            Value::Bool(yes) => Some(*yes),
            Value::Text(text) if self.is_variable(node) => match text.to_ascii_lowercase().as_str() {
                "true" | "y" | "yes" | "on" => Some(true),
                "false" | "n" | "no" | "off" => Some(false),
                _ => {
                    self.wrong(node, path, "true or false");
                    None
                }
            },
            _ => {
                self.wrong(node, path, "true or false");
                None
            }
        }
    }

    pub(crate) fn integer(&mut self, node: &Node, path: &str) -> Option<i64> {
        let number = match &node.value {
            Value::Int(number) => Some(*number),
            Value::Float(number) if number.fract() == 0.0 => Some(*number as i64),
            Value::Text(text) if self.is_variable(node) => text.parse().ok(),
            _ => None,
        };
        if number.is_none() {
            self.wrong(node, path, "a whole number");
        }
        number
    }

    /// A whole number that is not below zero.
    pub(crate) fn count(&mut self, node: &Node, path: &str) -> Option<u64> {
        let number = self.integer(node, path)?;
        let count = u64::try_from(number).ok();
        if count.is_none() {
            self.say(node.at, path, format!("{number} is below zero"), "write 0 or more");
        }
        count
    }

    pub(crate) fn float(&mut self, node: &Node, path: &str) -> Option<f64> {
        let number = match &node.value {
            Value::Int(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            Value::Text(text) if self.is_variable(node) => text.parse().ok(),
            _ => None,
        };
        if number.is_none() {
            self.wrong(node, path, "a number");
        }
        number
    }

    /// Nanoseconds.
    pub(crate) fn duration(&mut self, node: &Node, path: &str) -> Option<u64> {
        let text = self.text(node, path)?;
        let found = swarm_workload::duration(&text);
        if found.is_none() {
            self.say(node.at, path, format!("`{text}` is no duration"), "write a number with its unit, such as 30s or 1m30s");
        }
        found
    }

    pub(crate) fn bytes(&mut self, node: &Node, path: &str) -> Option<i64> {
        let text = self.scalar(node, path)?;
        let found = swarm_workload::bytes(&text);
        if found.is_none() {
            self.say(node.at, path, format!("`{text}` is no number of bytes"), "write a number with its unit, such as 64M");
        }
        found
    }

    /// One of these words.
    pub(crate) fn word(&mut self, node: &Node, path: &str, words: &[&str]) -> Option<String> {
        let text = self.text(node, path)?;
        if words.contains(&text.as_str()) {
            return Some(text);
        }
        self.say(node.at, path, format!("`{text}` is none of {}", words.join(", ")), "write one of them");
        None
    }

    /// `a=b` lines or a mapping; a name without a value is `None`.
    pub(crate) fn pairs(&mut self, node: &Node, path: &str) -> BTreeMap<String, Option<String>> {
        let mut pairs = BTreeMap::new();
        match &node.value {
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    if let Some(text) = self.text(item, &format!("{path}[{index}]")) {
                        match text.split_once('=') {
                            Some((key, value)) => pairs.insert(key.to_owned(), Some(value.to_owned())),
                            None => pairs.insert(text, None),
                        };
                    }
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    let value = match &entry.node.value {
                        Value::Null => None,
                        Value::Bool(yes) => {
                            let (path, fix) = (format!("{path}.{}", entry.key), format!("write \"{yes}\" in quotes"));
                            self.say(entry.node.at, &path, "this is true or false", fix);
                            continue;
                        }
                        _ => self.scalar(&entry.node, &format!("{path}.{}", entry.key)),
                    };
                    pairs.insert(entry.key.clone(), value);
                }
            }
            _ => self.wrong(node, path, "a mapping, or a list of NAME=VALUE"),
        }
        pairs
    }

    /// The same, where a name without a value has an empty one.
    pub(crate) fn labels(&mut self, node: &Node, path: &str) -> BTreeMap<String, String> {
        self.pairs(node, path).into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect()
    }

    /// A key that is not read here. That it is no key is said by the form of the file (shape.rs), with the key that may be meant.
    pub(crate) fn unknown(&mut self, entry: &Entry, path: &str) {
        if entry.key.starts_with("x-") {
            return;
        }
        let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
        let (message, fix) = ("there is no such key here".to_owned(), "remove it".to_owned());
        self.unread.push(Problem { severity: Severity::Error, path, at: entry.at, message, fix });
    }
}

/// A number as Go prints it: with an exponent from a million on, and below a ten thousandth.
fn go_float(number: f64) -> String {
    let short = format!("{number:e}");
    let Some((digits, exponent)) = short.split_once('e').and_then(|(d, e)| Some((d, e.parse::<i32>().ok()?))) else {
        return match () {
            () if number.is_nan() => "NaN".into(),
            () if number < 0.0 => "-Inf".into(),
            () => "+Inf".into(),
        };
    };
    if (-4..6).contains(&exponent) || number == 0.0 {
        return number.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_go_prints_them() {
        for (number, text) in [
            (1.5, "1.5"),
            (1000.0, "1000"),
            (1e6, "1e+06"),
            (123_456_789.0, "1.23456789e+08"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e20, "1e+20"),
            (f64::INFINITY, "+Inf"),
            (0.0, "0"),
        ] {
            assert_eq!(go_float(number), text);
        }
    }
}
