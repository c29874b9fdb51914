//! Predicates over what managers say. A step ends when its condition holds, never when a call returned.

use crate::addr::ip_of;

use crate::observe::{NodeFacts, NodeState};
use crate::spec::{Availability, Role};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// What must hold of one host's node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// All of these.
    All(Vec<Condition>),
    /// A manager lists the node.
    Listed,
    /// The node reports.
    Ready,
    /// It has this role; a manager is also reached by the others, and a worker is out of raft.
    Role(Role),
    /// The managers see it at this address.
    Address(IpAddr),
    /// It has this availability.
    Availability(Availability),
    /// It has these labels, and lacks those that are `None`.
    Labels(BTreeMap<String, Option<String>>),
}

impl Condition {
    /// Whether it holds. `node` is `None` where no manager lists it.
    pub fn holds(&self, node: Option<&NodeFacts>) -> bool {
        self.unmet(node).is_none()
    }

    /// What does not hold, with the last value seen; `None` where everything does.
    pub fn unmet(&self, node: Option<&NodeFacts>) -> Option<String> {
        match self {
            Self::All(all) => all.iter().find_map(|c| c.unmet(node)),
            _ => match node {
                None => Some("no manager lists the node".into()),
                Some(node) => self.unmet_on(node),
            },
        }
    }

    /// What of it someone has changed, though it held: a role, an availability, labels; not what a node's health decides.
    pub fn undone(&self, node: &NodeFacts) -> Option<String> {
        match self {
            Self::All(all) => all.iter().find_map(|c| c.undone(node)),
            Self::Role(role) if node.role == *role => None,
            Self::Role(_) | Self::Availability(_) | Self::Labels(_) => self.unmet_on(node),
            Self::Listed | Self::Ready | Self::Address(_) => None,
        }
    }

    fn unmet_on(&self, node: &NodeFacts) -> Option<String> {
        match self {
            Self::Ready => (node.state != NodeState::Ready).then(|| {
                let said = if node.message.is_empty() { String::new() } else { format!(" ({})", node.message) };
                format!("the node is {}{said}, not ready", node.state)
            }),
            Self::Role(role) if node.role != *role => Some(format!("the role is {}, not {role}", node.role)),
            Self::Role(Role::Manager) if !node.is_reachable_manager() => Some("it is not yet a manager that the others reach".into()),
            Self::Role(Role::Worker) if node.manager.is_some() => Some("it is not yet out of raft".into()),
            Self::Address(wanted) => {
                let seen = node.manager.as_ref().map_or(node.address.as_str(), |m| m.address.as_str());
                (ip_of(seen) != Some(*wanted)).then(|| format!("the managers see it at {seen}, not at {wanted}"))
            }
            Self::Availability(a) => (node.availability != *a).then(|| format!("the availability is {}, not {a}", node.availability)),
            Self::Labels(labels) => {
                let wrong: Vec<String> = labels
                    .iter()
                    .filter(|(key, value)| node.labels.get(*key) != value.as_ref())
                    .map(|(key, value)| match (value, node.labels.get(key)) {
                        (Some(v), Some(seen)) => format!("the label {key} is {seen}, not {v}"),
                        (Some(v), None) => format!("the label {key}={v} is missing"),
                        (None, _) => format!("the label {key} is still there"),
                    })
                    .collect();
                (!wrong.is_empty()).then(|| wrong.join(", "))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(all) => {
                for (index, one) in all.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    one.fmt(f)?;
                }
                Ok(())
            }
            Self::Listed => f.write_str("listed"),
            Self::Ready => f.write_str("ready"),
            Self::Role(Role::Manager) => f.write_str("reachable manager"),
            Self::Role(Role::Worker) => f.write_str("worker"),
            Self::Address(ip) => write!(f, "at {ip}"),
            Self::Availability(a) => write!(f, "{a}"),
            Self::Labels(labels) => write!(f, "{} labels", labels.len()),
        }
    }
}
