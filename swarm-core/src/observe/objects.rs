//! Objects of the swarm, as far as a look was asked for them.

use super::fact::Fact;
use crate::object::{Object, Query};
use std::collections::BTreeMap;

/// What is known of the objects that were asked for.
pub type ObjectFacts = BTreeMap<Query, Fact<Vec<Object>>>;

/// As a list of pairs: keys of JSON are texts, and a query is none.
pub(super) mod pairs {
    use super::ObjectFacts;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::observe) fn serialize<S: Serializer>(facts: &ObjectFacts, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(facts)
    }

    pub(in crate::observe) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectFacts, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}
