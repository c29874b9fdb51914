//! Objects of the swarm, as far as a look was asked for them.

use crate::object::{Object, Query};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is known of the objects that were asked for.
pub type ObjectFacts = BTreeMap<Query, Fact<Vec<Object>>>;

/// A fact: known, or why it is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact<T> {
    /// It is this.
    Known(T),
    /// No one asked.
    NotAsked,
    /// It was asked for, and could not be had.
    Unknown(String),
}

impl<T> Fact<T> {
    /// What it is, if it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::NotAsked | Self::Unknown(_) => None,
        }
    }
}
