//! From one host's facts, and what the managers say, to one word on the host.

use super::facts::{ClusterView, EngineFacts, HostReport, LocalState, NodeFacts, ReachErrorKind};
use super::health::no_room;
use crate::addr::ip_of;
use crate::id::{ClusterId, NodeId};
use crate::spec::{HostSpec, Role};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::IpAddr;

/// What a host is, seen from the cluster of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum HostState {
    /// It could not be asked. It may be anything.
    Unreachable {
        /// Why.
        why: String,
    },
    /// There is no engine on it.
    NoEngine {
        /// How we know.
        why: String,
    },
    /// Its engine does not answer.
    EngineDown {
        /// How we know.
        why: String,
    },
    /// Its engine is in no swarm.
    Standalone,
    /// A join goes on.
    Joining,
    /// It is a node of this cluster.
    Member {
        /// Its node id.
        node: NodeId,
    },
    /// It believes to be a node of this cluster, and the managers do not know it any more.
    StaleMember {
        /// The node id it had.
        node: NodeId,
    },
    /// It is in another swarm.
    ForeignSwarm {
        /// Which one, if it is known.
        cluster: Option<ClusterId>,
        /// Its role there.
        role: Role,
        /// Containers that run on it.
        running: u64,
        /// The managers of that swarm, as its engine knows them: `ADDRESS:PORT`.
        managers: Vec<String>,
    },
    /// A manager that waits for the unlock key.
    Locked {
        /// The swarm it belongs to, if its certificate could be read.
        cluster: Option<ClusterId>,
    },
    /// Its engine reports an error of its swarm part.
    Broken {
        /// In the engine's words.
        error: String,
        /// The node id it holds.
        node: Option<NodeId>,
        /// The swarm its certificate names.
        cluster: Option<ClusterId>,
    },
    /// It answered, and the answer proves nothing.
    Unknown {
        /// What is in doubt.
        why: String,
    },
}

impl HostState {
    /// One word, as it stands in tables.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::NoEngine { .. } => "no-engine",
            Self::EngineDown { .. } => "engine-down",
            Self::Standalone => "standalone",
            Self::Joining => "joining",
            Self::Member { .. } => "member",
            Self::StaleMember { .. } => "stale-member",
            Self::ForeignSwarm { .. } => "foreign-swarm",
            Self::Locked { .. } => "locked",
            Self::Broken { .. } => "broken",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// The word, and what is behind it.
    pub fn in_full(&self) -> String {
        self.detail().map_or(self.word().to_owned(), |detail| format!("{}: {detail}", self.word()))
    }

    /// Whether no engine answers there, so that nothing is known of the host's swarm.
    pub fn is_silent(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::NoEngine { .. } | Self::EngineDown { .. })
    }

    /// What is behind the word, if there is anything to say.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Unreachable { why } | Self::NoEngine { why } | Self::EngineDown { why } | Self::Unknown { why } => Some(why.clone()),
            Self::Broken { error, .. } => Some(error.clone()),
            Self::ForeignSwarm { cluster, role, running, .. } => {
                let id = cluster.as_ref().map_or("another swarm".to_owned(), |c| format!("swarm {c}"));
                Some(format!("{role} of {id}, {running} running containers"))
            }
            Self::Locked { cluster } => cluster.as_ref().map(|c| format!("manager of swarm {c}")),
            Self::Standalone | Self::Joining | Self::Member { .. } | Self::StaleMember { .. } => None,
        }
    }
}

/// The cluster a host is judged against.
pub(super) struct Ours<'a> {
    pub(super) id: &'a ClusterId,
    /// Its nodes; `None` while no manager can list them.
    nodes: Option<HashMap<&'a NodeId, &'a NodeFacts>>,
}

impl<'a> Ours<'a> {
    pub(super) fn new(view: &'a ClusterView) -> Self {
        Self { id: &view.cluster.id, nodes: Some(view.nodes.iter().map(|n| (&n.id, n)).collect()) }
    }

    /// A cluster whose managers have no leader: only certificates tell who belongs to it.
    pub(super) fn unlisted(id: &'a ClusterId) -> Self {
        Self { id, nodes: None }
    }

    pub(super) fn node(&self, id: &NodeId) -> Option<&'a NodeFacts> {
        self.nodes.as_ref()?.get(id).copied()
    }
}

/// Judges one host. `ours` is `None` where no cluster of the file is known.
pub(super) fn classify(report: &HostReport, ours: Option<&Ours<'_>>) -> HostState {
    let engine = match &report.engine {
        Ok(engine) => engine,
        Err(error) => {
            let why = error.message.clone();
            return match error.kind {
                ReachErrorKind::Unreachable | ReachErrorKind::NoPermission | ReachErrorKind::NotAsked => HostState::Unreachable { why },
                ReachErrorKind::NoEngine => HostState::NoEngine { why },
                ReachErrorKind::EngineDown => HostState::EngineDown { why },
                ReachErrorKind::Unusable => HostState::Unknown { why },
            };
        }
    };
    let certificate = report.identity.known();
    match engine.swarm.state() {
        LocalState::Inactive => HostState::Standalone,
        LocalState::Pending if engine.swarm.manages() => active(report, engine, ours),
        LocalState::Pending => match (&engine.swarm.node, ours) {
            // A node that was restarted looks for its managers, and says what a join says: it may be one of another swarm.
            (Some(node), Some(ours)) if ours.node(node).is_none() => active(report, engine, Some(ours)),
            // Where no swarm is known, a worker is not the one that is being made.
            (Some(_), None) if certificate.is_some_and(|c| c.role == Role::Worker) => active(report, engine, None),
            _ => HostState::Joining,
        },
        LocalState::Locked => HostState::Locked { cluster: certificate.map(|c| c.cluster.clone()) },
        LocalState::Error => HostState::Broken {
            error: {
                let said = engine.swarm.error.clone().unwrap_or_else(|| "the engine gives no reason".into());
                let room = no_room(report).filter(|_| certificate.is_some_and(|c| c.role == Role::Manager));
                room.map_or(said.clone(), |room| format!("{said}; {room}"))
            },
            node: engine.swarm.node.clone(),
            cluster: certificate.map(|c| c.cluster.clone()),
        },
        LocalState::Other(word) => HostState::Unknown { why: format!("the engine calls its swarm state `{word}`") },
        LocalState::Active => active(report, engine, ours),
    }
}

/// An engine that says it is in a swarm: which one must be proven.
fn active(report: &HostReport, engine: &EngineFacts, ours: Option<&Ours<'_>>) -> HostState {
    let Some(node) = &engine.swarm.node else {
        return HostState::Unknown { why: "the engine is in a swarm and tells no node id".into() };
    };
    let certificate = report.identity.known();
    let managers = || engine.swarm.remotes.iter().map(|r| r.address.clone()).collect();
    let foreign = |cluster: Option<ClusterId>, role| HostState::ForeignSwarm {
        cluster,
        role,
        running: engine.running_containers,
        managers: managers(),
    };
    let role = if engine.swarm.control_available { Role::Manager } else { Role::Worker };
    if let Some(ours) = ours {
        let unlisted = ours.nodes.is_none() && certificate.is_some_and(|c| c.cluster == *ours.id && c.node == *node);
        if ours.node(node).is_some() || unlisted {
            return HostState::Member { node: node.clone() };
        }
        if let Some(cluster) = &engine.swarm.cluster {
            return if cluster == ours.id { HostState::StaleMember { node: node.clone() } } else { foreign(Some(cluster.clone()), role) };
        }
        return match certificate {
            Some(c) if c.cluster == *ours.id => HostState::StaleMember { node: node.clone() },
            Some(c) => foreign(Some(c.cluster.clone()), c.role),
            None => HostState::Unknown { why: format!("it is node {node} of a swarm that cannot be named: {}", no_certificate(report)) },
        };
    }
    if engine.swarm.control_available && engine.swarm.cluster.is_none() {
        let said = report.view.why().map(str::to_owned).or(engine.swarm.error.clone());
        return HostState::Unknown {
            why: format!("it is a manager that cannot name its swarm, as when the quorum is lost: {}", said.unwrap_or_default()),
        };
    }
    match (&engine.swarm.cluster, certificate) {
        (Some(cluster), _) => foreign(Some(cluster.clone()), role),
        // Its manager ends as often as its engine starts it, as where its raft log cannot grow: it cannot be asked which swarm it is of, and it
        // may be the one of the file (seen on engine 20.10 with a full disk).
        (None, Some(c)) if c.role == Role::Manager => {
            let room = no_room(report).map_or(String::new(), |room| format!("; {room}"));
            HostState::Unknown {
                why: format!("it has the certificate of a manager of swarm {}, and does not answer as one{room}", c.cluster),
            }
        }
        (None, Some(c)) => foreign(Some(c.cluster.clone()), c.role),
        (None, None) => {
            HostState::Unknown { why: format!("it is node {node} of a swarm that cannot be named: {}", no_certificate(report)) }
        }
    }
}

fn no_certificate(report: &HostReport) -> String {
    report.identity.why().unwrap_or("its node certificate was not read").to_owned()
}

/// Whether the address managers see is the one the file wants; `None` where that is not known.
pub fn address_matches(host: &HostSpec, report: &HostReport, node: &NodeFacts) -> Option<(IpAddr, bool)> {
    let selector = host.advertise_selector()?;
    let wanted = match (&selector, report.machine.known()) {
        (crate::addr::AddressSelector::Ip(ip), _) => *ip,
        (selector, Some(machine)) => selector.resolve(&machine.addresses).ok()?,
        _ => return None,
    };
    let seen = node.manager.as_ref().and_then(|m| ip_of(&m.address)).or_else(|| ip_of(&node.address))?;
    Some((wanted, wanted == seen))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Fact, NodeIdentity, SeenAt};
    use crate::testkit::{Is, world};

    /// An engine that is pending with a node id: what it is hangs on its certificate and on what the managers list.
    #[test]
    fn a_pending_engine_is_a_join_an_init_or_a_node_that_was_restarted() {
        let observation = world(&[("m1", Is::Manager), ("m2", Is::Joining)]);
        let view = observation.hosts.values().find_map(|r| r.view.known().cloned()).unwrap();
        let pending = |node: &str, cluster: &str, role: Role| {
            let mut report = observation.hosts.values().find(|r| r.engine.as_ref().is_ok_and(|e| e.hostname == "m2")).unwrap().clone();
            report.engine.as_mut().unwrap().swarm.node = Some(node.into());
            report.identity = Fact::Known(NodeIdentity { cluster: cluster.into(), node: node.into(), role }, SeenAt::default());
            report
        };
        let ours = Ours::new(&view);
        assert_eq!(classify(&pending("node-m1", "ours", Role::Manager), Some(&ours)), HostState::Joining);
        let removed = classify(&pending("old", "ours", Role::Worker), Some(&ours));
        assert_eq!(removed, HostState::StaleMember { node: "old".into() });
        let theirs = classify(&pending("other", "theirs", Role::Worker), Some(&ours));
        assert!(matches!(theirs, HostState::ForeignSwarm { role: Role::Worker, .. }), "{theirs:?}");
        // No swarm is known: a manager may be the one that is being made, a worker is of another swarm.
        assert_eq!(classify(&pending("new", "new", Role::Manager), None), HostState::Joining);
        let worker = classify(&pending("other", "theirs", Role::Worker), None);
        assert!(matches!(worker, HostState::ForeignSwarm { role: Role::Worker, .. }), "{worker:?}");
    }
}
