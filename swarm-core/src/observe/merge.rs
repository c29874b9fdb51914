//! From many hosts' answers to one view of the cluster, with the contradictions written down.

use super::classify::{HostState, Ours, classify};
use super::fact::{Fact, SeenAt};
use super::facts::{ClusterView, HostReport, LocalState, NodeFacts, Observation, ReachErrorKind, RemoteManager};
use super::objects::ObjectFacts;
use super::swarms::{Swarm, swarms_seen};
use crate::addr::{AddressSelector, ip_of};
use crate::id::{ClusterId, DaemonId, HostName, NodeId};
use crate::object::{JOURNAL, Kind, LOCK, Object, Query};
use crate::quorum;
use crate::spec::{ClusterSpec, HostSpec, NAME_LABEL, Role};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One host, judged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ObservedHost {
    /// What it is.
    pub state: HostState,
    /// What it and its engine said.
    pub report: HostReport,
    /// What the managers say of its node.
    pub node: Option<NodeFacts>,
    /// The node at the address of a host that cannot be asked: probably its own. It is shown, and nothing is decided by it.
    pub presumed: Option<NodeFacts>,
}

/// Which swarm the file's cluster is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObservedCluster {
    /// Every declared manager answered, and none is in a swarm.
    None,
    /// No manager answers for a swarm, and not every declared manager is known to be in none.
    Unknown {
        /// The declared managers that are in doubt, each with what is known of it.
        doubts: Vec<(HostName, String)>,
        /// The swarms that certificates of the hosts name.
        swarms: Vec<ClusterId>,
    },
    /// One swarm, and which of the file's hosts answer for it as managers.
    One {
        /// What the managers say.
        view: Box<ClusterView>,
        /// Hosts whose engines answer as its managers.
        live: Vec<HostName>,
    },
    /// Managers answer and hear no leader: an election, a leader that hangs, or a lost quorum.
    NoLeader {
        /// Those managers, with what they said.
        managers: Vec<(HostName, String)>,
        /// The swarm that their certificates name.
        swarm: Option<ClusterId>,
        /// How many managers the swarm has, as far as their engines know.
        members: usize,
        /// Managers that are proven gone, each with the proof.
        gone: Vec<(HostName, String)>,
    },
    /// Several swarms that could each be the one.
    Several {
        /// Each with its managers among the hosts, its number of nodes and services.
        swarms: Vec<(ClusterId, Vec<HostName>, usize, usize)>,
    },
    /// A swarm led by the file's managers that carries the name of another file.
    OtherName {
        /// The swarm.
        cluster: ClusterId,
        /// The name it carries.
        name: String,
        /// Its managers among the hosts.
        managers: Vec<HostName>,
    },
}

/// What does not fit together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "contradiction", rename_all = "kebab-case")]
pub enum Contradiction {
    /// Two hosts answer with one engine id: one machine under two names, or a copied disk.
    SameEngine {
        /// The hosts.
        hosts: (HostName, HostName),
        /// The engine id.
        daemon: DaemonId,
    },
    /// Two hosts answer as one node: one is a copy of the other.
    SameNode {
        /// The hosts.
        hosts: (HostName, HostName),
        /// The node.
        node: NodeId,
    },
    /// The managers of one swarm name different leaders: it is changing, or split in two.
    SeveralLeaders {
        /// The swarm.
        swarm: ClusterId,
        /// The nodes they name.
        leaders: Vec<NodeId>,
    },
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameEngine { hosts: (one, other), daemon } => {
                write!(f, "{one} and {other} are the same engine ({daemon}): one machine under two names, or a copied disk")
            }
            Self::SameNode { hosts: (one, other), node } => {
                write!(f, "{one} and {other} both report to be node {node}: one is a copy of the other")
            }
            Self::SeveralLeaders { swarm, leaders } => {
                let leaders: Vec<&str> = leaders.iter().map(NodeId::as_str).collect();
                write!(f, "the managers of swarm {swarm} name different leaders ({}): it is changing, or split in two", leaders.join(", "))
            }
        }
    }
}

/// Everything that is known after one look. As JSON it has what the engines answered: addresses, labels, specifications of services with
/// what stands in them, and no token and no key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Observed {
    /// When the look began.
    pub at: SeenAt,
    /// By host.
    pub hosts: BTreeMap<HostName, ObservedHost>,
    /// The cluster.
    pub cluster: ObservedCluster,
    /// What does not fit together, for people. Any of these stops changes.
    pub contradictions: Vec<Contradiction>,
    /// Nodes of the swarm that are no host of the file.
    pub strangers: Vec<NodeFacts>,
    /// Objects of the swarm, where a run asked for them.
    #[serde(with = "super::objects::pairs")]
    pub objects: ObjectFacts,
}

/// The facts a plan stands on, flat and ordered, so that two looks can be compared line by line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Basis(pub BTreeMap<String, String>);

impl ObservedCluster {
    /// The hosts that answer as its managers.
    pub fn live(&self) -> &[HostName] {
        match self {
            Self::One { live, .. } => live,
            _ => &[],
        }
    }

    /// Whether the quorum is proven to be lost: the managers that may still be there are no majority.
    pub fn quorum_is_lost(&self) -> bool {
        match self {
            Self::NoLeader { members, gone, .. } => members.saturating_sub(gone.len()) < quorum::needed(*members),
            _ => false,
        }
    }
}

impl Basis {
    /// Every fact that differs from another basis, as lines.
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let show = |v: Option<&String>| v.map_or("nothing".to_owned(), Clone::clone);
        let keys: BTreeSet<&String> = self.0.keys().chain(now.0.keys()).collect();
        let pairs = keys.into_iter().map(|key| (key, self.0.get(key), now.0.get(key)));
        pairs.filter(|(_, then, is)| then != is).map(|(key, then, is)| format!("  {key}: was {}, is {}", show(then), show(is))).collect()
    }
}

impl Observed {
    /// Hosts whose host or engine did not answer in this look.
    pub fn silent(&self) -> BTreeSet<HostName> {
        let silent =
            |h: &ObservedHost| matches!(h.state, HostState::Unreachable { .. } | HostState::EngineDown { .. }) && h.report.is_silent();
        self.hosts.iter().filter(|(_, h)| silent(h)).map(|(name, _)| name.clone()).collect()
    }

    /// The view of the one cluster.
    pub fn view(&self) -> Option<&ClusterView> {
        match &self.cluster {
            ObservedCluster::One { view, .. } => Some(view),
            _ => None,
        }
    }

    /// The host whose engine is this node.
    pub fn host_of(&self, node: &NodeId) -> Option<&HostName> {
        self.hosts.iter().find(|(_, h)| matches!(&h.state, HostState::Member { node: n } if n == node)).map(|(name, _)| name)
    }

    /// A node as people call it: its host of the file, its host name, or its id.
    pub fn name_of(&self, node: &NodeFacts) -> String {
        match self.host_of(&node.id) {
            Some(host) => host.to_string(),
            None if node.hostname.is_empty() => format!("node {}", node.id),
            None => node.hostname.clone(),
        }
    }

    /// A manager of the file that answers for the swarm.
    pub fn answering_manager(&self) -> Option<&HostName> {
        let answers = |h: &ObservedHost| h.node.as_ref().is_some_and(|n| n.role == Role::Manager) && h.report.view.is_known();
        self.hosts.iter().find(|(_, h)| answers(h)).map(|(name, _)| name)
    }

    /// What a plan made now would stand on: states and identities, no versions and no times.
    pub fn basis(&self) -> Basis {
        let mut facts = BTreeMap::new();
        for (name, host) in &self.hosts {
            let mut put = |key: &str, value: String| facts.insert(format!("{name}.{key}"), value);
            put("state", host.state.word().to_owned());
            if let Ok(engine) = &host.report.engine {
                put("daemon", engine.daemon.to_string());
                put("running-containers", if engine.running_containers > 0 { "some" } else { "none" }.into());
                if let Some(node) = &engine.swarm.node {
                    put("node", node.to_string());
                }
            }
            if let Some(node) = &host.node {
                put("role", node.role.to_string());
                put("availability", node.availability.to_string());
                put("manager", node.manager.as_ref().map_or("no".into(), |m| m.reachability.to_string()));
                for (key, value) in &node.labels {
                    put(&format!("labels.{key}"), value.clone());
                }
            }
        }
        if let Some(view) = self.view() {
            facts.insert("swarm.id".into(), view.cluster.id.to_string());
            facts.insert("swarm.settings".into(), serde_json::to_string(&view.cluster.settings).unwrap_or_default());
            facts.insert("swarm.name".into(), view.cluster.labels.get(NAME_LABEL).cloned().unwrap_or_default());
            facts.insert("swarm.services".into(), if view.services > 0 { "some" } else { "none" }.into());
            facts.insert("swarm.unlock-key".into(), view.unlock_key.clone().unwrap_or_default());
            let strangers: Vec<&str> = self.strangers.iter().map(|n| n.id.as_str()).collect();
            facts.insert("swarm.strangers".into(), strangers.join(","));
        }
        for (query, found) in &self.objects {
            // Tasks come and go by themselves.
            let Fact::Known(objects, _) = found else { continue };
            // Every run changes its lock and its journal.
            let own = |o: &&Object| query.kind == Kind::Config && [LOCK, JOURNAL].contains(&o.name());
            for object in objects.iter().filter(|o| query.kind != Kind::Task && !own(o)) {
                let what = if query.kind == Kind::Network {
                    object.id().to_owned()
                } else {
                    format!("{} version {}", object.id(), object.version())
                };
                facts.insert(format!("{}.{}", query.kind, object.name()), what);
            }
        }
        Basis(facts)
    }

    /// The objects that were asked for with a query, as far as they are known.
    pub fn objects_of(&self, query: &Query) -> Fact<&[Object]> {
        match self.objects.get(query) {
            Some(Fact::Known(objects, at)) => Fact::Known(objects, *at),
            Some(Fact::Unknown(why)) => Fact::Unknown(why.clone()),
            Some(Fact::NotAsked) | None => Fact::NotAsked,
        }
    }
}

/// Puts one look together. What the hosts of `given_up` lead is not taken for the cluster: their swarm is to be left.
pub fn merge(spec: &ClusterSpec, observation: &Observation, given_up: &BTreeSet<HostName>) -> Observed {
    let swarms = swarms_seen(observation, given_up);
    let named: Vec<&Swarm<'_>> = swarms.iter().filter(|s| s.name() == Some(spec.name())).collect();
    let led: Vec<&Swarm<'_>> =
        swarms.iter().filter(|s| s.managers.iter().any(|m| spec.host(m).is_some_and(|h| h.role == Role::Manager))).collect();
    let candidates = match (named.as_slice(), led.as_slice()) {
        ([], led) => led.to_vec(),
        // Two swarms led by the file's managers are a contradiction even if one of them carries the name.
        (named, led) => {
            let mut all = named.to_vec();
            all.extend(led.iter().filter(|l| !named.iter().any(|n| n.view.cluster.id == l.view.cluster.id)));
            all
        }
    };
    let cluster = match candidates.as_slice() {
        [] => no_candidate(spec, observation, given_up),
        [one] => match one.name() {
            Some(name) if name != spec.name() => {
                ObservedCluster::OtherName { cluster: one.view.cluster.id.clone(), name: name.to_owned(), managers: one.managers.clone() }
            }
            _ if !has_majority(one.view) => without_majority(spec, observation, one),
            _ => {
                let view = ClusterView { services: one.services, ..one.view.clone() };
                ObservedCluster::One { view: Box::new(view), live: one.managers.clone() }
            }
        },
        many => ObservedCluster::Several {
            swarms: many.iter().map(|s| (s.view.cluster.id.clone(), s.managers.clone(), s.view.nodes.len(), s.services)).collect(),
        },
    };
    let ours = match &cluster {
        ObservedCluster::One { view, .. } => Some(Ours::new(view)),
        ObservedCluster::NoLeader { swarm: Some(id), .. } => {
            let remembered = candidates.first().filter(|s| s.view.cluster.id == *id);
            Some(remembered.map_or_else(|| Ours::unlisted(id), |s| Ours::new(s.view)))
        }
        _ => None,
    };
    // An engine in error tells no node id; its certificate does.
    let node_of = |r: &'_ HostReport| -> Option<NodeId> {
        let engine = r.engine.as_ref().ok()?;
        let certified = || r.identity.known().map(|i| i.node.clone());
        engine.swarm.node.clone().or_else(|| (*engine.swarm.state() == LocalState::Error).then(certified).flatten())
    };
    let known: BTreeSet<NodeId> = observation.hosts.values().filter_map(node_of).collect();
    let all: &[NodeFacts] = match &cluster {
        ObservedCluster::One { view, .. } => &view.nodes,
        _ => &[],
    };
    // Nodes that none of the hosts that answered is.
    let unknown: Vec<&NodeFacts> = all.iter().filter(|n| !known.contains(&n.id)).collect();
    let hosts: BTreeMap<HostName, ObservedHost> = observation
        .hosts
        .iter()
        .map(|(name, report)| {
            let state = classify(report, ours.as_ref());
            let node = match (&state, &ours) {
                (HostState::Member { node }, Some(ours)) => ours.node(node).cloned(),
                _ => None,
            };
            let presumed = match (&report.engine, spec.host(name)) {
                (Err(_), Some(host)) => unknown.iter().find(|n| is_at(host, n)).map(|n| (*n).clone()),
                _ => None,
            };
            (name.clone(), ObservedHost { state, report: report.clone(), node, presumed })
        })
        .collect();
    let presumed: BTreeSet<&NodeId> = hosts.values().filter_map(|h| h.presumed.as_ref()).map(|n| &n.id).collect();
    let strangers = unknown.iter().filter(|n| !presumed.contains(&n.id)).map(|n| (*n).clone()).collect();
    let contradictions = contradictions(observation, &swarms);
    Observed { at: observation.at, hosts, cluster, contradictions, strangers, objects: ObjectFacts::new() }
}

/// Whether the managers see a node at the very address that the file has for a host.
fn is_at(host: &HostSpec, node: &NodeFacts) -> bool {
    let seen = node.manager.as_ref().map_or(node.address.as_str(), |m| m.address.as_str());
    matches!(host.advertise_selector(), Some(AddressSelector::Ip(ip)) if ip_of(seen) == Some(ip))
}

/// Whether the managers that are reached are a majority, by one manager's list.
fn has_majority(view: &ClusterView) -> bool {
    let voters = view.nodes.iter().filter(|n| n.manager.is_some());
    let reached = voters.clone().filter(|n| n.is_reachable_manager()).count();
    reached >= quorum::needed(voters.count())
}

/// A leader that has lost its majority lists what it remembers for some seconds.
fn without_majority(spec: &ClusterSpec, observation: &Observation, swarm: &Swarm<'_>) -> ObservedCluster {
    let address = |n: &NodeFacts| n.manager.as_ref().map(|m| RemoteManager { node: n.id.clone(), address: m.address.clone() });
    let known: Vec<RemoteManager> = swarm.view.nodes.iter().filter_map(address).collect();
    let reached = swarm.view.nodes.iter().filter(|n| n.is_reachable_manager()).count();
    let said = quorum::summary(known.len(), reached);
    let id = swarm.view.cluster.id.clone();
    ObservedCluster::NoLeader {
        managers: swarm.managers.iter().map(|host| (host.clone(), said.clone())).collect(),
        members: known.len(),
        gone: proven_gone(spec, observation, &known.iter().collect(), Some(&id)),
        swarm: Some(id),
    }
}

/// What is known where no manager answers for a swarm.
fn no_candidate(spec: &ClusterSpec, observation: &Observation, given_up: &BTreeSet<HostName>) -> ObservedCluster {
    let mut silent: Vec<(HostName, String)> = Vec::new();
    let mut known: BTreeSet<&RemoteManager> = BTreeSet::new();
    let mut named: BTreeSet<&ClusterId> = BTreeSet::new();
    for (name, report) in observation.hosts.iter().filter(|(name, _)| !given_up.contains(*name)) {
        let Ok(engine) = &report.engine else { continue };
        if !engine.swarm.manages() || report.view.is_known() {
            continue;
        }
        let said = report.view.why().map(str::to_owned).or_else(|| engine.swarm.error.clone());
        silent.push((name.clone(), said.unwrap_or_else(|| "it gives no reason".into())));
        known.extend(&engine.swarm.remotes);
        named.extend(report.identity.known().into_iter().map(|i| &i.cluster));
    }
    if silent.is_empty() {
        return unknown_or_none(spec, observation);
    }
    let mut named = named.into_iter();
    let swarm = match (named.next(), named.next()) {
        (Some(one), None) => Some(one.clone()),
        _ => None,
    };
    let gone = proven_gone(spec, observation, &known, swarm.as_ref());
    ObservedCluster::NoLeader { members: known.len().max(silent.len()), managers: silent, swarm, gone }
}

/// The managers that the swarm counts and that are proven to be none any more: each is matched to a host of the file by its node id or
/// by its address, and that host's engine is in no swarm, in another one, or not there at all.
pub(super) fn proven_gone(
    spec: &ClusterSpec,
    observation: &Observation,
    known: &BTreeSet<&RemoteManager>,
    swarm: Option<&ClusterId>,
) -> Vec<(HostName, String)> {
    let mut gone = Vec::new();
    for (name, report) in &observation.hosts {
        let at = spec.host(name).and_then(HostSpec::advertise_selector);
        let is_at = |m: &RemoteManager| matches!(at, Some(AddressSelector::Ip(ip)) if ip_of(&m.address) == Some(ip));
        let Some(counted) = known.iter().find(|m| is_at(m)) else { continue };
        let why = match &report.engine {
            Ok(engine) => match (engine.swarm.state(), &engine.swarm.node, report.identity.known()) {
                (LocalState::Inactive, ..) => Some("its engine is in no swarm".to_owned()),
                (LocalState::Active, Some(node), Some(id)) if *node != counted.node && swarm.is_some_and(|s| id.cluster != *s) => {
                    Some(format!("its engine is in swarm {}", id.cluster))
                }
                _ => None,
            },
            Err(error) if error.kind == ReachErrorKind::NoEngine => Some("it has no engine".to_owned()),
            Err(_) => None,
        };
        gone.extend(why.map(|why| (name.clone(), why)));
    }
    gone
}

/// No host answers as a manager: either every declared manager said that it is in no swarm, or it is not known.
fn unknown_or_none(spec: &ClusterSpec, observation: &Observation) -> ObservedCluster {
    let mut doubts = Vec::new();
    for host in spec.managers() {
        let doubt = match observation.hosts.get(&host.name) {
            None => Some("it was not looked at".to_owned()),
            Some(report) => match (&report.engine, classify(report, None)) {
                (_, HostState::Standalone | HostState::ForeignSwarm { .. }) => None,
                (_, state) => Some(state.in_full()),
            },
        };
        doubts.extend(doubt.map(|why| (host.name.clone(), why)));
    }
    if doubts.is_empty() {
        return ObservedCluster::None;
    }
    let identities = observation.hosts.values().filter_map(|r| r.identity.known());
    let swarms: BTreeSet<ClusterId> = identities.map(|i| i.cluster.clone()).collect();
    ObservedCluster::Unknown { doubts, swarms: swarms.into_iter().collect() }
}

fn contradictions(observation: &Observation, swarms: &[Swarm<'_>]) -> Vec<Contradiction> {
    let mut found = Vec::new();
    let mut daemons: BTreeMap<&str, &HostName> = BTreeMap::new();
    let mut nodes: BTreeMap<&NodeId, &HostName> = BTreeMap::new();
    for (name, report) in &observation.hosts {
        let Ok(engine) = &report.engine else { continue };
        if let Some(other) = daemons.insert(engine.daemon.as_str(), name) {
            found.push(Contradiction::SameEngine { hosts: (other.clone(), name.clone()), daemon: engine.daemon.clone() });
        } else if let Some(node) = &engine.swarm.node
            && let Some(other) = nodes.insert(node, name)
        {
            found.push(Contradiction::SameNode { hosts: (other.clone(), name.clone()), node: node.clone() });
        }
    }
    for swarm in swarms.iter().filter(|s| s.leaders.len() > 1) {
        let leaders = swarm.leaders.iter().map(|l| (*l).clone()).collect();
        found.push(Contradiction::SeveralLeaders { swarm: swarm.view.cluster.id.clone(), leaders });
    }
    found
}
