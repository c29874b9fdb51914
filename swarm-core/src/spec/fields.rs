//! Reading single values: each wrong one becomes a problem with its path, its place and its fix.

use super::keys::{Key, Kind, section};
use super::problem::{Problem, Severity};
use super::tree::{Entry, Location, Node, Value};
use super::values::parse_duration;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

/// A mapping whose keys were checked against the table.
pub(super) struct Fields<'a> {
    pub(super) path: String,
    pub(super) at: Option<Location>,
    pub(super) found: BTreeMap<&'a str, &'a Entry>,
}

impl<'a> Fields<'a> {
    pub(super) fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// A value that was given; null counts as not given.
    pub(super) fn node(&self, key: &str) -> Option<&'a Node> {
        self.found.get(key).map(|e| &e.node).filter(|n| n.value != Value::Null)
    }
}

#[derive(Default)]
pub(super) struct Reader {
    pub(super) problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn error(&mut self, path: impl Into<String>, at: Option<Location>, message: impl Into<String>, fix: impl Into<String>) {
        self.push(Severity::Error, path.into(), at, message.into(), fix.into());
    }

    pub(super) fn push(&mut self, severity: Severity, path: String, at: Option<Location>, message: String, fix: String) {
        self.problems.push(Problem { severity, path, at, message, fix });
    }

    /// Checks a mapping's keys against the table: unknown, repeated and missing ones.
    pub(super) fn fields<'a>(&mut self, path: &str, section_name: &str, node: &'a Node) -> Option<Fields<'a>> {
        let keys = section(section_name);
        let Value::Map(entries) = &node.value else {
            let known: Vec<&str> = keys.iter().map(|k| k.name).collect();
            self.error(
                path,
                node.at,
                if path.is_empty() {
                    format!("the file holds {}, not a cluster", node.value.kind())
                } else {
                    format!("this is {}", node.value.kind())
                },
                format!("write a mapping with keys such as {}", known.join(", ")),
            );
            return None;
        };
        let mut found = BTreeMap::new();
        for entry in entries {
            let key_path = join(path, &entry.key);
            if !keys.iter().any(|k| k.name == entry.key) {
                self.error(key_path, entry.at, format!("unknown key `{}`", entry.key), suggestion(&entry.key, keys));
            } else if found.insert(entry.key.as_str(), entry).is_some() {
                self.error(key_path, entry.at, format!("the key `{}` is here twice", entry.key), "remove one of them");
            }
        }
        for key in keys.iter().filter(|k| k.required) {
            if found.get(key.name).is_none_or(|e| e.node.value == Value::Null) {
                let at = found.get(key.name).map_or(node.at, |e| e.at);
                self.error(join(path, key.name), at, format!("`{}` is missing", key.name), format!("add it: {}", first_sentence(key.doc)));
            }
        }
        Some(Fields { path: path.to_owned(), at: node.at, found })
    }

    pub(super) fn text(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        let node = fields.node(key)?;
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Int(number) => Some(number.to_string()),
            other => {
                // `20.10` is the number 20.1, and `yes` may be meant as a word.
                let fix = if matches!(other, Value::Float(_) | Value::Bool(_)) { "put it in quotes" } else { "write a text" };
                self.error(fields.path_of(key), node.at, format!("this is {}", other.kind()), fix);
                None
            }
        }
    }

    pub(super) fn texts(&mut self, fields: &Fields<'_>, key: &str) -> Vec<(String, Option<Location>)> {
        let Some(node) = fields.node(key) else { return Vec::new() };
        let items: Vec<&Node> = match &node.value {
            Value::List(items) => items.iter().collect(),
            Value::Text(_) => vec![node],
            other => {
                self.error(fields.path_of(key), node.at, format!("this is {}", other.kind()), "write a list of texts");
                return Vec::new();
            }
        };
        let mut texts = Vec::new();
        for item in items {
            match &item.value {
                Value::Text(text) => texts.push((text.clone(), item.at)),
                Value::Int(number) => texts.push((number.to_string(), item.at)),
                other => self.error(fields.path_of(key), item.at, format!("this is {}", other.kind()), "write a text"),
            }
        }
        texts
    }

    pub(super) fn parsed<T: FromStr<Err: ToString>>(&mut self, fields: &Fields<'_>, key: &str, fix: &str) -> Option<T> {
        let text = self.text(fields, key)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.error(fields.path_of(key), fields.node(key).and_then(|n| n.at), wrong.to_string(), fix);
                None
            }
        }
    }

    pub(super) fn word(&mut self, fields: &Fields<'_>, key: &str, words: &'static [&'static str]) -> Option<&'static str> {
        let node = fields.node(key)?;
        if let Value::Bool(_) | Value::Map(_) | Value::List(_) = &node.value {
            self.error(fields.path_of(key), node.at, format!("this is {}", node.value.kind()), format!("it can be {}", words.join(", ")));
            return None;
        }
        let text = self.text(fields, key)?;
        let found = words.iter().find(|w| **w == text).copied();
        if found.is_none() {
            self.error(
                fields.path_of(key),
                fields.node(key).and_then(|n| n.at),
                format!("`{text}` is not one of {}", words.join(", ")),
                nearest_word(&text, words),
            );
        }
        found
    }

    pub(super) fn boolean(&mut self, fields: &Fields<'_>, key: &str) -> Option<bool> {
        let node = fields.node(key)?;
        if let Value::Bool(value) = node.value {
            return Some(value);
        }
        self.error(fields.path_of(key), node.at, format!("this is {}", node.value.kind()), "write true or false");
        None
    }

    pub(super) fn int(&mut self, fields: &Fields<'_>, key: &str) -> Option<i64> {
        let node = fields.node(key)?;
        let Some(Key { kind: Kind::Int(low, high), .. }) = find_key(&fields.path, key) else { return None };
        let range = if *high == i64::MAX { format!("{low} or more") } else { format!("between {low} and {high}") };
        // `${PORT}` gives a text: the file means the number in it.
        let value = match &node.value {
            Value::Int(value) => Some(*value),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        match value {
            Some(value) if (*low..=*high).contains(&value) => Some(value),
            Some(value) => {
                self.error(fields.path_of(key), node.at, format!("{value} is out of range"), format!("write a whole number, {range}"));
                None
            }
            None => {
                self.error(
                    fields.path_of(key),
                    node.at,
                    format!("this is {}", node.value.kind()),
                    format!("write a whole number, {range}"),
                );
                None
            }
        }
    }

    pub(super) fn duration(&mut self, fields: &Fields<'_>, key: &str) -> Option<Duration> {
        let text = self.text(fields, key)?;
        let parsed = parse_duration(&text).filter(|d| !d.is_zero());
        if parsed.is_none() {
            let at = fields.node(key).and_then(|n| n.at);
            self.error(
                fields.path_of(key),
                at,
                format!("`{text}` is not a duration"),
                "write a number with its unit, such as 5s, 10m or 2160h",
            );
        }
        parsed
    }
}

/// The table's entry for a key at a path: the section is known by the path's last fixed name.
fn find_key(path: &str, key: &str) -> Option<&'static Key> {
    let name = path.rsplit('.').find(|part| !section(part).is_empty()).unwrap_or("host");
    section(name).iter().find(|k| k.name == key)
}

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn first_sentence(doc: &str) -> String {
    let end = doc.find(". ").unwrap_or(doc.len());
    let mut text = doc.get(..end).unwrap_or(doc).trim_end_matches('.').to_owned();
    if let Some(first) = text.get_mut(0..1) {
        first.make_ascii_lowercase();
    }
    text
}

fn suggestion(wrong: &str, keys: &[Key]) -> String {
    let names: Vec<&str> = keys.iter().map(|k| k.name).collect();
    nearest_word(wrong, &names)
}

/// What to write instead of a word that is none of these: the nearest of them, or all.
pub fn nearest_word(wrong: &str, words: &[&str]) -> String {
    let nearest = words.iter().map(|w| (distance(wrong, w), *w)).min();
    match nearest {
        Some((edits, word)) if edits <= 1 + wrong.len() / 4 => format!("did you mean `{word}`?"),
        _ => format!("it can be {}", words.join(", ")),
    }
}

/// Edits between two words (insert, delete, replace), for suggestions.
pub(super) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (cb, above) in b.iter().zip(row.iter().skip(1)) {
            left = (left + 1).min(above + 1).min(diagonal + usize::from(ca != *cb));
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
