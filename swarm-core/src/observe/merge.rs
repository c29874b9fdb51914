//! From many hosts' answers to one view of the cluster, with the contradictions written down.

use super::classify::{HostState, Ours, classify};
use super::facts::{ClusterView, HostReport, LocalState, NodeFacts, Observation};
use crate::addr::{AddressSelector, ip_of};
use crate::id::{ClusterId, HostName, NodeId};
use crate::spec::{ClusterSpec, HostSpec, NAME_LABEL, Role};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One host, judged.
#[derive(Debug, Clone)]
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
#[derive(Debug, Clone)]
pub enum ObservedCluster {
    /// No host is a manager of a swarm, as far as hosts could be asked.
    None,
    /// One swarm, and which of the file's hosts answer for it as managers.
    One {
        /// What the managers say.
        view: Box<ClusterView>,
        /// Hosts whose engines answer as its managers.
        live: Vec<HostName>,
    },
    /// A manager was found and could not name its swarm: the quorum is lost, or being elected.
    NoQuorum {
        /// Those managers, with what they said.
        managers: Vec<(HostName, String)>,
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

/// Everything that is known after one look.
#[derive(Debug, Clone)]
pub struct Observed {
    /// By host.
    pub hosts: BTreeMap<HostName, ObservedHost>,
    /// The cluster.
    pub cluster: ObservedCluster,
    /// What does not fit together, for people. Any of these stops changes.
    pub contradictions: Vec<String>,
    /// Nodes of the swarm that are no host of the file.
    pub strangers: Vec<NodeFacts>,
}

/// The facts a plan stands on, flat and ordered, so that two looks can be compared line by line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Basis(pub BTreeMap<String, String>);

impl Observed {
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
                put("labels", format!("{:?}", node.labels));
                put("manager", node.manager.as_ref().map_or("no".into(), |m| format!("{:?}", m.reachability).to_lowercase()));
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
        Basis(facts)
    }
}

/// Puts one look together. What the hosts of `given_up` lead is not taken for the cluster: their swarm shall be left.
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
        [] => no_candidate(observation),
        [one] => match one.name() {
            Some(name) if name != spec.name() => {
                ObservedCluster::OtherName { cluster: one.view.cluster.id.clone(), name: name.to_owned(), managers: one.managers.clone() }
            }
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
        _ => None,
    };
    let known: BTreeSet<&NodeId> = observation.hosts.values().filter_map(|r| r.engine.as_ref().ok()?.swarm.node.as_ref()).collect();
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
    Observed { hosts, cluster, contradictions, strangers }
}

/// Whether the managers see a node at the very address that the file has for a host.
fn is_at(host: &HostSpec, node: &NodeFacts) -> bool {
    let seen = node.manager.as_ref().map_or(node.address.as_str(), |m| m.address.as_str());
    matches!(host.advertise_selector(), Some(AddressSelector::Ip(ip)) if ip_of(seen) == Some(ip))
}

/// One swarm as its managers among the hosts tell it.
struct Swarm<'a> {
    view: &'a ClusterView,
    managers: Vec<HostName>,
    leaders: BTreeSet<&'a NodeId>,
    /// The most that any of them tells: one that was asked a moment earlier may not know of a service yet.
    services: usize,
}

impl Swarm<'_> {
    fn name(&self) -> Option<&str> {
        self.view.cluster.labels.get(NAME_LABEL).map(String::as_str)
    }
}

fn swarms_seen<'a>(observation: &'a Observation, given_up: &BTreeSet<HostName>) -> Vec<Swarm<'a>> {
    let mut swarms: BTreeMap<&ClusterId, Swarm<'_>> = BTreeMap::new();
    for (name, report) in observation.hosts.iter().filter(|(name, _)| !given_up.contains(*name)) {
        let Some(Ok(view)) = &report.view else { continue };
        let leaders = view.nodes.iter().filter(|n| n.manager.as_ref().is_some_and(|m| m.leader)).map(|n| &n.id);
        let swarm =
            swarms.entry(&view.cluster.id).or_insert_with(|| Swarm { view, managers: Vec::new(), leaders: BTreeSet::new(), services: 0 });
        swarm.managers.push(name.clone());
        swarm.leaders.extend(leaders);
        swarm.services = swarm.services.max(view.services);
        // The newest word counts: a manager that lags behind has an older version of the swarm object.
        if view.cluster.version > swarm.view.cluster.version {
            swarm.view = view;
        }
    }
    swarms.into_values().collect()
}

fn no_candidate(observation: &Observation) -> ObservedCluster {
    let silent: Vec<(HostName, String)> = observation
        .hosts
        .iter()
        .filter_map(|(name, report)| {
            let engine = report.engine.as_ref().ok()?;
            let manager = engine.swarm.state == LocalState::Active && engine.swarm.control_available;
            let why = match &report.view {
                Some(Err(why)) => why.clone(),
                Some(Ok(_)) => return None,
                None => engine.swarm.error.clone().unwrap_or_default(),
            };
            manager.then(|| (name.clone(), why))
        })
        .collect();
    if silent.is_empty() { ObservedCluster::None } else { ObservedCluster::NoQuorum { managers: silent } }
}

fn contradictions(observation: &Observation, swarms: &[Swarm<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    let mut daemons: BTreeMap<&str, &HostName> = BTreeMap::new();
    let mut nodes: BTreeMap<&NodeId, &HostName> = BTreeMap::new();
    for (name, report) in &observation.hosts {
        let Ok(engine) = &report.engine else { continue };
        if let Some(other) = daemons.insert(engine.daemon.as_str(), name) {
            found
                .push(format!("{other} and {name} are the same engine ({}): one machine under two names, or a copied disk", engine.daemon));
        } else if let Some(node) = &engine.swarm.node
            && let Some(other) = nodes.insert(node, name)
        {
            found.push(format!("{other} and {name} both say they are node {node}: one is a copy of the other"));
        }
    }
    for swarm in swarms.iter().filter(|s| s.leaders.len() > 1) {
        let leaders: Vec<&str> = swarm.leaders.iter().map(|l| l.as_str()).collect();
        found.push(format!(
            "the managers of swarm {} name different leaders ({}): it is changing, or split in two",
            swarm.view.cluster.id,
            leaders.join(", ")
        ));
    }
    found
}
