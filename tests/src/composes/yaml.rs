//! Values of a generated file, and how they are written.

use std::fmt::Write as _;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Yaml {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A text; in quotes where it needs them.
    Text(String),
    /// What stands there as it is: a number in an unusual form, a word without quotes.
    Raw(String),
    /// A list.
    List(Vec<Yaml>),
    /// A mapping.
    Map(Vec<(String, Yaml)>),
}

impl Yaml {
    /// A text.
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &str) {
        if let Self::Map(entries) = self {
            entries.retain(|(name, _)| name != key);
        }
    }

    /// Puts a key in, in place of one that is there.
    pub fn set(&mut self, key: &str, value: Self) {
        self.remove(key);
        if let Self::Map(entries) = self {
            entries.push((key.to_owned(), value));
        }
    }

    /// The whole file.
    pub fn file(&self) -> String {
        let mut out = String::new();
        self.block(0, &mut out);
        out
    }

    fn block(&self, indent: usize, out: &mut String) {
        let space = " ".repeat(indent);
        match self {
            Self::Map(entries) if !entries.is_empty() => {
                for (key, value) in entries {
                    let _ = write!(out, "{space}{}:", quoted(key));
                    value.after(indent, out);
                }
            }
            Self::List(items) if !items.is_empty() => {
                for item in items {
                    let _ = write!(out, "{space}-");
                    item.after(indent, out);
                }
            }
            other => {
                let _ = writeln!(out, "{space}{}", other.flow());
            }
        }
    }

    /// What follows a key or a dash.
    fn after(&self, indent: usize, out: &mut String) {
        match self {
            Self::Map(entries) if !entries.is_empty() => {
                out.push('\n');
                self.block(indent + 2, out);
            }
            Self::List(items) if !items.is_empty() => {
                out.push('\n');
                self.block(indent + 2, out);
            }
            Self::Null => out.push('\n'),
            other => {
                let _ = writeln!(out, " {}", other.flow());
            }
        }
    }

    fn flow(&self) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Bool(yes) => yes.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Text(text) => quoted(text),
            Self::Raw(text) => text.clone(),
            Self::List(items) => format!("[{}]", items.iter().map(Self::flow).collect::<Vec<_>>().join(", ")),
            Self::Map(entries) => {
                let all: Vec<String> = entries.iter().map(|(key, value)| format!("{}: {}", quoted(key), value.flow())).collect();
                format!("{{{}}}", all.join(", "))
            }
        }
    }
}

fn quoted(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.'));
    let word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text);
    if plain && !word { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}
