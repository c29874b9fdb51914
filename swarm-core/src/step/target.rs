//! What a step is about.

use crate::id::{HostName, NodeId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a step is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// A host of the file.
    Host(HostName),
    /// An entry of the node list.
    Node(NodeId),
    /// The entries that attempts of this run leave behind when a host enters the swarm. Their ids are known only after that.
    LeftBy(HostName),
    /// The swarm itself.
    Swarm,
    /// An object of the swarm; it may not exist yet.
    Object {
        /// Its kind, for example `service`.
        kind: String,
        /// Its name.
        name: String,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => write!(f, "{host}"),
            Self::Node(node) => write!(f, "node {node}"),
            Self::LeftBy(host) => write!(f, "what {host} leaves in the node list"),
            Self::Swarm => f.write_str("the swarm"),
            Self::Object { kind, name } => write!(f, "{kind} {name}"),
        }
    }
}
