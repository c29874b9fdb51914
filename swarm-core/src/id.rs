//! Names and identities. Each is its own type, so that a host's name can never be passed where a node's id is meant.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is; grammar is checked where the text enters the program.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

identity! {
    /// The name a host has in the cluster file. It is ours: the engine never sees it.
    HostName
}
identity! {
    /// The id a manager gave to a node. A node that leaves and joins again has a new one.
    NodeId
}
identity! {
    /// The id of a swarm. It survives everything but the swarm itself.
    ClusterId
}
identity! {
    /// The id an engine gave itself at its first start; it tells two addresses of one machine apart from two machines.
    DaemonId
}
identity! {
    /// One step of a plan, for example `m2/join`. Stable for the same input.
    StepId
}
