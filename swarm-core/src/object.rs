//! Objects of a swarm as managers have them: raw JSON with id, version and labels, so that a field which a newer engine adds survives a
//! read and a write.

use serde::{Deserialize, Serialize};
use serde_json::Value;
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

/// An object as a manager has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Object(pub Value);

impl Object {
    /// Its id (`ID`; `Id` for networks).
    pub fn id(&self) -> &str {
        self.text("/ID").or_else(|| self.text("/Id")).unwrap_or_default()
    }

    /// Its version, needed to change it; 0 for networks, which cannot be changed.
    pub fn version(&self) -> u64 {
        self.0.pointer("/Version/Index").and_then(Value::as_u64).unwrap_or_default()
    }

    /// Its name; empty for tasks.
    pub fn name(&self) -> &str {
        self.text("/Spec/Name").or_else(|| self.text("/Name")).unwrap_or_default()
    }

    /// One of its labels.
    pub fn label(&self, key: &str) -> Option<&str> {
        let labels = self.0.pointer("/Spec/Labels").or_else(|| self.0.get("Labels"))?;
        labels.get(key)?.as_str()
    }

    /// Its specification; for kinds without one the object itself.
    pub fn spec(&self) -> &Value {
        self.0.get("Spec").unwrap_or(&self.0)
    }

    /// A text at a JSON pointer.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.0.pointer(pointer)?.as_str()
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
