//! A parsed document with the place of every value, so that a wrong value can be pointed at.
//!
//! The reader of the file walks this tree rather than a serde type: serde stops at the first wrong value, and a person with
//! five mistakes in a file wants to hear of five.

/// A place in the document; lines and columns count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Location {
    /// Line.
    pub line: u64,
    /// Column, in characters.
    pub column: u64,
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it begins; `None` for a tree that did not come from text.
    pub at: Option<Location>,
}

/// One key of a mapping, with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub at: Option<Location>,
    /// What it is set to.
    pub node: Node,
}

/// What a document is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping; keys in the document's order, repeated ones kept.
    Map(Vec<Entry>),
}

impl Value {
    /// What kind of value this is, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Trees from nowhere, for tests.
#[cfg(test)]
pub(crate) mod made {
    use super::{Entry, Node, Value};

    pub(crate) fn text(value: &str) -> Node {
        Node { value: Value::Text(value.into()), at: None }
    }

    pub(crate) fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Node)>) -> Node {
        let entries = entries.into_iter().map(|(key, node)| Entry { key: key.into(), at: None, node }).collect();
        Node { value: Value::Map(entries), at: None }
    }
}
