//! Predicates over what managers say. A step ends when its condition holds, never when a call returned.

use crate::addr::ip_of;
use crate::engine::SwarmChange;
use crate::id::HostName;
use crate::observe::{ClusterFacts, NodeFacts, NodeState, Observed};
use crate::spec::{Availability, Role};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// What must hold, of one host's node or of the swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// All of these.
    All(Vec<Condition>),
    /// At least one of these.
    Any(Vec<Condition>),
    /// This does not.
    Not(Box<Condition>),
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
    /// The swarm has these options and labels, and what was to be replaced is another.
    Swarm(Box<SwarmChange>),
}

/// What a condition is held against.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen<'a> {
    /// The host's node; `None` where no manager lists it.
    pub node: Option<&'a NodeFacts>,
    /// The swarm; `None` where no manager showed it.
    pub swarm: Option<&'a ClusterFacts>,
}

impl<'a> From<Option<&'a NodeFacts>> for Seen<'a> {
    fn from(node: Option<&'a NodeFacts>) -> Self {
        Self { node, swarm: None }
    }
}

/// Why a condition does not hold: what was seen instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "unmet", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Unmet {
    /// No manager answers for the swarm: nothing is known.
    Unknown,
    /// No manager lists the node.
    NotListed,
    /// The node does not report.
    NotReady {
        /// What it is instead.
        is: NodeState,
        /// The manager's word on it; may be empty.
        said: String,
    },
    /// It has the other role.
    OtherRole {
        /// The role it has.
        is: Role,
        /// The role it should have.
        wanted: Role,
    },
    /// It has the role of a manager, and the others do not reach it yet.
    NotReached,
    /// It has the role of a worker, and is still counted in raft.
    StillInRaft,
    /// The managers see it elsewhere.
    OtherAddress {
        /// Where.
        is: String,
        /// Where it should be.
        wanted: IpAddr,
    },
    /// It has another availability.
    OtherAvailability {
        /// The one it has.
        is: Availability,
        /// The one it should have.
        wanted: Availability,
    },
    /// Labels differ: each with what was seen and what should be there, `None` for no such label.
    Labels {
        /// By their keys.
        differ: BTreeMap<String, (Option<String>, Option<String>)>,
    },
    /// Options, labels or keys of the swarm differ: each with what was seen and what should be there.
    Swarm {
        /// Options, in words.
        settings: Vec<(String, String, String)>,
        /// Labels that are missing or have another value.
        labels: BTreeMap<String, String>,
        /// What is still what it was before.
        kept: Vec<String>,
    },
    /// None of several holds: why each does not.
    NoneOf {
        /// Of each.
        each: Vec<Unmet>,
    },
    /// What should not hold does.
    Holds {
        /// It.
        condition: Box<Condition>,
    },
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no manager answers for the swarm"),
            Self::NotListed => f.write_str("no manager lists the node"),
            Self::NotReady { is, said } if said.is_empty() => write!(f, "the node is {is}, not ready"),
            Self::NotReady { is, said } => write!(f, "the node is {is} ({said}), not ready"),
            Self::OtherRole { is, wanted } => write!(f, "the role is {is}, not {wanted}"),
            Self::NotReached => f.write_str("it is not yet a manager that the others reach"),
            Self::StillInRaft => f.write_str("it is not yet out of raft"),
            Self::OtherAddress { is, wanted } => write!(f, "the managers see it at {is}, not at {wanted}"),
            Self::OtherAvailability { is, wanted } => write!(f, "the availability is {is}, not {wanted}"),
            Self::Labels { differ } => {
                let line = |(key, (is, wanted)): (&String, &(Option<String>, Option<String>))| match (wanted, is) {
                    (Some(wanted), Some(is)) => format!("the label {key} is {is}, not {wanted}"),
                    (Some(wanted), None) => format!("the label {key}={wanted} is missing"),
                    (None, _) => format!("the label {key} is still there"),
                };
                f.write_str(&differ.iter().map(line).collect::<Vec<_>>().join(", "))
            }
            Self::Swarm { settings, labels, kept } => {
                let settings = settings.iter().map(|(key, is, wanted)| format!("{key} is {is}, not {wanted}"));
                let labels = labels.iter().map(|(key, value)| format!("the label {key}={value} is missing"));
                let kept = kept.iter().map(|part| format!("{part} is the one it was"));
                f.write_str(&settings.chain(labels).chain(kept).collect::<Vec<_>>().join(", "))
            }
            Self::NoneOf { each } => f.write_str(&each.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
            Self::Holds { condition } => write!(f, "{condition:?} holds"),
        }
    }
}

impl Condition {
    /// Why it does not hold, with what was seen; `None` where it does.
    pub fn unmet<'a>(&self, seen: impl Into<Seen<'a>>) -> Option<Unmet> {
        self.held_against(seen.into())
    }

    /// Why it does not hold of a host, as one look has it; `None` where it does. Without a manager that answers nothing is known to hold.
    pub fn unmet_in(&self, observed: &Observed, host: &HostName) -> Option<Unmet> {
        let Some(view) = observed.view() else { return Some(Unmet::Unknown) };
        let node = observed.hosts.get(host).and_then(|h| h.node.as_ref());
        self.held_against(Seen { node, swarm: Some(&view.cluster) })
    }

    fn held_against(&self, seen: Seen<'_>) -> Option<Unmet> {
        match self {
            Self::All(all) => all.iter().find_map(|c| c.held_against(seen)),
            Self::Any(any) => {
                let each: Vec<Unmet> = any.iter().map(|c| c.held_against(seen)).collect::<Option<_>>()?;
                // One of those that are not known may hold.
                Some(if each.contains(&Unmet::Unknown) { Unmet::Unknown } else { Unmet::NoneOf { each } })
            }
            Self::Not(condition) => match condition.held_against(seen) {
                None => Some(Unmet::Holds { condition: condition.clone() }),
                // What is not known is not known not to be so.
                Some(Unmet::Unknown) => Some(Unmet::Unknown),
                Some(_) => None,
            },
            Self::Swarm(change) => match seen.swarm {
                None => Some(Unmet::Unknown),
                Some(swarm) => unmet_swarm(change, swarm),
            },
            _ => match seen.node {
                None => Some(Unmet::NotListed),
                Some(node) => self.unmet_on(node),
            },
        }
    }

    /// What of it someone has changed, though it held: a role, an availability, labels, options; not what a node's health decides.
    pub fn undone<'a>(&self, seen: impl Into<Seen<'a>>) -> Option<Unmet> {
        let seen = seen.into();
        match self {
            Self::All(all) => all.iter().find_map(|c| c.undone(seen)),
            Self::Role(role) if seen.node.is_some_and(|node| node.role == *role) => None,
            Self::Role(_) | Self::Availability(_) | Self::Labels(_) => self.unmet_on(seen.node?),
            Self::Swarm(change) => unmet_swarm(change, seen.swarm?),
            Self::Any(_) | Self::Not(_) | Self::Listed | Self::Ready | Self::Address(_) => None,
        }
    }

    fn unmet_on(&self, node: &NodeFacts) -> Option<Unmet> {
        match self {
            Self::Ready => {
                let reports = node.state == NodeState::Ready;
                (!reports).then(|| Unmet::NotReady { is: node.state.clone(), said: node.message.clone() })
            }
            Self::Role(wanted) if node.role != *wanted => Some(Unmet::OtherRole { is: node.role, wanted: *wanted }),
            Self::Role(Role::Manager) => (!node.is_reachable_manager()).then_some(Unmet::NotReached),
            Self::Role(Role::Worker) => node.manager.is_some().then_some(Unmet::StillInRaft),
            Self::Address(wanted) => {
                let is = node.manager.as_ref().map_or(node.address.as_str(), |m| m.address.as_str());
                (ip_of(is) != Some(*wanted)).then(|| Unmet::OtherAddress { is: is.to_owned(), wanted: *wanted })
            }
            Self::Availability(wanted) => {
                (node.availability != *wanted).then_some(Unmet::OtherAvailability { is: node.availability, wanted: *wanted })
            }
            Self::Labels(labels) => {
                let differs = labels.iter().filter(|(key, value)| node.labels.get(*key) != value.as_ref());
                let differ: BTreeMap<_, _> =
                    differs.map(|(key, wanted)| (key.clone(), (node.labels.get(key).cloned(), wanted.clone()))).collect();
                (!differ.is_empty()).then_some(Unmet::Labels { differ })
            }
            Self::All(_) | Self::Any(_) | Self::Not(_) | Self::Listed | Self::Swarm(_) => None,
        }
    }
}

/// What the swarm lacks of a change.
fn unmet_swarm(change: &SwarmChange, is: &ClusterFacts) -> Option<Unmet> {
    let have = is.settings.entries();
    let of = |key: &str| have.iter().find(|(k, _)| *k == key).map_or("not set", |(_, value)| value.as_str()).to_owned();
    let lacking = is.lacks(&change.settings).entries();
    let settings: Vec<_> = lacking.into_iter().map(|(key, wanted)| (key.to_owned(), of(key), wanted)).collect();
    let labels = change.labels.iter().filter(|(key, value)| is.labels.get(*key) != Some(value));
    let labels: BTreeMap<String, String> = labels.map(|(key, value)| (key.clone(), value.clone())).collect();
    // Without a fingerprint of what it was, nothing tells whether it was replaced.
    let kept = change.replace.iter().filter(|(part, was)| !was.is_empty() && is.fingerprints.get(part) == Some(was));
    let kept: Vec<String> = kept.map(|(part, _)| part.to_string()).collect();
    let met = settings.is_empty() && labels.is_empty() && kept.is_empty();
    (!met).then_some(Unmet::Swarm { settings, labels, kept })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::Part;
    use crate::observe::merge;
    use crate::spec::{NAME_LABEL, SwarmSettings};
    use crate::testkit::{Is, node, spec, world};

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
            assert!(
                unmet.as_ref().map(ToString::to_string).unwrap_or_default().starts_with(said.unwrap_or_default()),
                "{condition:?}: {unmet:?}"
            );
            assert_eq!(unmet.is_some(), said.is_some(), "{condition:?}: {unmet:?}");
            assert_eq!(Condition::All(vec![condition]).unmet(None), Some(Unmet::NotListed));
        }
    }

    /// Of one look as a whole: with "or" and "not", of the swarm too, and never from what is not known.
    #[test]
    fn conditions_are_held_against_a_whole_look() {
        let spec = spec(&["m1", "w1"]);
        let mut look = world(&[("m1", Is::Manager), ("w1", Is::Worker)]);
        look.hosts.get_mut(&HostName::new("m1")).unwrap().view.known_mut().unwrap().cluster.fingerprints =
            [(Part::WorkerToken, "old".to_owned())].into();
        let seen = merge(&spec, &look, &Default::default());
        let silent = merge(&spec, &world(&[("m1", Is::Gone), ("w1", Is::Worker)]), &Default::default());
        let (m1, w1) = (HostName::new("m1"), HostName::new("w1"));
        let change = |limit, label: &str, was: &str| {
            Condition::Swarm(Box::new(SwarmChange {
                settings: SwarmSettings { task_history_limit: Some(limit), ..SwarmSettings::default() },
                labels: [(NAME_LABEL.to_owned(), label.to_owned())].into(),
                replace: [(Part::WorkerToken, was.to_owned())].into(),
                root: None,
            }))
        };
        let not = |condition| Condition::Not(Box::new(condition));
        let any = |all: &[Condition]| Condition::Any(all.to_vec());
        let (manager, worker) = (Condition::Role(Role::Manager), Condition::Role(Role::Worker));
        for (condition, host, said) in [
            (manager.clone(), &m1, None),
            (manager.clone(), &w1, Some("the role is worker, not manager")),
            (not(manager.clone()), &w1, None),
            (not(worker.clone()), &w1, Some("Role(Worker) holds")),
            (any(&[manager.clone(), worker.clone()]), &w1, None),
            (any(&[manager.clone(), not(Condition::Ready)]), &w1, Some("the role is worker, not manager; Ready holds")),
            (any(&[]), &w1, Some("")),
            (change(5, "c", "older"), &m1, None),
            (change(5, "c", ""), &m1, None),
            (
                change(7, "d", "old"),
                &m1,
                Some("task_history_limit is 5, not 7, the label swarm.cluster.name=d is missing, worker token is the one it was"),
            ),
            (Condition::Listed, &HostName::new("w9"), Some("no manager lists the node")),
        ] {
            assert_eq!(condition.unmet_in(&seen, host).map(|unmet| unmet.to_string()).as_deref(), said, "{condition:?}");
            assert_eq!(condition.unmet_in(&silent, host), Some(Unmet::Unknown), "{condition:?}");
        }
        // Neither is the opposite known.
        assert_eq!(not(change(5, "c", "old")).unmet(Seen::default()), Some(Unmet::Unknown));
        assert_eq!(not(any(&[change(5, "c", "old"), manager])).unmet(Seen::default()), Some(Unmet::Unknown));
        let undone = change(7, "c", "").undone(Seen { node: None, swarm: Some(&seen.view().unwrap().cluster) }).unwrap();
        assert!(matches!(&undone, Unmet::Swarm { settings, .. } if settings.len() == 1), "{undone:?}");
        let kept = serde_json::to_string(&undone).unwrap();
        assert_eq!(serde_json::from_str::<Unmet>(&kept).unwrap(), undone);
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
            assert_eq!(condition.undone(Some(&silent)).is_some(), undone, "{condition:?}");
        }
    }
}
