//! Predicates over what managers say. A step ends when its condition holds, never when a call returned.

use crate::addr::ip_of;
use crate::observe::{NodeFacts, NodeState};
use crate::spec::{Availability, Role};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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
    /// What does not hold, with the last value seen; `None` where everything does. `node` is `None` where no manager lists it.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::node;

    fn labels(pairs: &[(&str, Option<&str>)]) -> Condition {
        Condition::Labels(pairs.iter().map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned))).collect())
    }

    #[test]
    fn what_does_not_hold_is_said_with_what_was_seen() {
        let mut manager = node("m1", Role::Manager, NodeState::Ready, true);
        manager.labels = [("rack".to_owned(), "a".to_owned())].into();
        let mut silent = node("m1", Role::Manager, NodeState::Down, false);
        silent.message = "heartbeat failure".into();
        let worker = node("w1", Role::Worker, NodeState::Ready, false);
        let mut leaving = manager.clone();
        leaving.role = Role::Worker;
        let mut elsewhere = worker.clone();
        elsewhere.address = "10.9.9.9".into();
        let there = ip_of(&manager.manager.clone().unwrap().address).unwrap();
        for (condition, node, said) in [
            (Condition::Listed, &worker, None),
            (Condition::Ready, &worker, None),
            (Condition::Ready, &silent, Some("the node is down (heartbeat failure), not ready")),
            (Condition::Role(Role::Manager), &manager, None),
            (Condition::Role(Role::Manager), &silent, Some("it is not yet a manager that the others reach")),
            (Condition::Role(Role::Manager), &worker, Some("the role is worker, not manager")),
            (Condition::Role(Role::Worker), &worker, None),
            (Condition::Role(Role::Worker), &leaving, Some("it is not yet out of raft")),
            (Condition::Address(there), &manager, None),
            (Condition::Address(there), &elsewhere, Some("the managers see it at 10.9.9.9, not at")),
            (Condition::Availability(Availability::Active), &worker, None),
            (Condition::Availability(Availability::Drain), &worker, Some("the availability is active, not drain")),
            (labels(&[("rack", Some("a")), ("zone", None)]), &manager, None),
            (labels(&[("rack", Some("b"))]), &manager, Some("the label rack is a, not b")),
            (labels(&[("rack", Some("a")), ("zone", Some("z"))]), &manager, Some("the label zone=z is missing")),
            (labels(&[("rack", None)]), &manager, Some("the label rack is still there")),
            (Condition::All(vec![Condition::Ready, Condition::Role(Role::Worker)]), &worker, None),
            (Condition::All(vec![Condition::Ready, Condition::Role(Role::Manager)]), &worker, Some("the role is worker")),
        ] {
            let unmet = condition.unmet(Some(node));
            assert!(unmet.as_deref().unwrap_or_default().starts_with(said.unwrap_or_default()), "{condition:?}: {unmet:?}");
            assert_eq!(unmet.is_some(), said.is_some(), "{condition:?}: {unmet:?}");
            assert_eq!(Condition::All(vec![condition]).unmet(None).as_deref(), Some("no manager lists the node"));
        }
    }

    /// What someone changed is known from what only fails.
    #[test]
    fn only_what_someone_changed_is_undone() {
        let mut silent = node("m1", Role::Manager, NodeState::Down, false);
        silent.availability = Availability::Pause;
        for (condition, undone) in [
            (Condition::Ready, false),
            (Condition::Listed, false),
            (Condition::Address("10.9.9.9".parse().unwrap()), false),
            (Condition::Role(Role::Manager), false),
            (Condition::Role(Role::Worker), true),
            (Condition::Availability(Availability::Pause), false),
            (Condition::Availability(Availability::Active), true),
            (labels(&[("rack", Some("b"))]), true),
            (labels(&[("rack", None)]), false),
            (Condition::All(vec![Condition::Ready, Condition::Role(Role::Worker)]), true),
            (Condition::All(vec![Condition::Ready]), false),
        ] {
            assert_eq!(condition.undone(&silent).is_some(), undone, "{condition:?}");
        }
    }
}
