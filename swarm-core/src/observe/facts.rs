//! What engines and hosts answered, before anyone judges it.

use super::certificate::NodeIdentity;
use super::fact::{Fact, SeenAt};
use crate::addr::{InterfaceAddress, ip_of};
use crate::credential::Part;
use crate::id::{ClusterId, DaemonId, HostName, NodeId};
use crate::spec::{Availability, InitSettings, Role, SwarmSettings};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// What an engine says of its own part in a swarm (`LocalNodeState`, moby `api/types/swarm/node.go`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LocalState {
    /// In no swarm.
    Inactive,
    /// A join goes on.
    Pending,
    /// In a swarm, as far as the engine knows: a removed worker says so too.
    Active,
    /// A join or a start failed.
    Error,
    /// A manager whose state is encrypted and waits for the unlock key.
    Locked,
    /// A word this version does not know.
    Other(String),
}

/// The swarm part of an engine's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalSwarm {
    /// The word it uses for its state. What it means is [`LocalSwarm::state`].
    pub reported: LocalState,
    /// Its node id.
    pub node: Option<NodeId>,
    /// The address it advertises.
    pub address: Option<String>,
    /// Whether it answers as a manager.
    pub control_available: bool,
    /// The cluster; only managers with a quorum say it.
    pub cluster: Option<ClusterId>,
    /// What went wrong, in the engine's words.
    pub error: Option<String>,
    /// The managers it knows (`RemoteManagers`). Any node of a swarm reports them, also where the managers have no leader.
    pub remotes: Vec<RemoteManager>,
}

impl LocalSwarm {
    /// That of an engine in no swarm.
    pub fn outside() -> Self {
        Self {
            reported: LocalState::Inactive,
            node: None,
            address: None,
            control_available: false,
            cluster: None,
            error: None,
            remotes: Vec::new(),
        }
    }

    /// Its state: the word it uses, unless that word is an old one ([`LocalSwarm::stumbled`]).
    pub fn state(&self) -> &LocalState {
        if self.stumbled() { &LocalState::Active } else { &self.reported }
    }

    /// Whether its node failed once, was started again by the engine, and is well: the engine says `error`, names its node, and gives no
    /// reason or answers as a manager (the reason is then its question to the leader that failed). Engines keep that word until they are
    /// restarted (moby `daemon/cluster/noderunner.go`, State: `cancelReconnect` is not taken back; `swarm.go`, Info).
    pub fn stumbled(&self) -> bool {
        self.reported == LocalState::Error && self.node.is_some() && (self.error.is_none() || self.control_available)
    }

    /// Whether it is a manager of a swarm: one that answers, or one that restarted and finds too few of the others to have a leader.
    /// Engines call the second `pending`, as they call a join (moby `daemon/cluster/noderunner.go`).
    pub fn manages(&self) -> bool {
        self.control_available && (*self.state() == LocalState::Active || self.reported == LocalState::Pending && self.node.is_some())
    }
}

/// A manager as another node's engine knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RemoteManager {
    /// Its node id.
    pub node: NodeId,
    /// `ADDRESS:PORT`.
    pub address: String,
}

/// What an engine says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineFacts {
    /// Its id.
    pub daemon: DaemonId,
    /// Host name.
    pub hostname: String,
    /// For example `20.10.24+dfsg1`.
    pub version: String,
    /// Its part in a swarm.
    pub swarm: LocalSwarm,
    /// Where its data is.
    pub data_root: String,
    /// Running containers.
    pub running_containers: u64,
    /// `live-restore`, which excludes swarm mode.
    pub live_restore: bool,
    /// Runs without root, which excludes swarm mode.
    pub rootless: bool,
}

impl EngineFacts {
    /// Those of an engine in no swarm, on which nothing runs and of which nothing was set.
    pub fn outside(daemon: DaemonId, hostname: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            daemon,
            hostname: hostname.into(),
            version: version.into(),
            swarm: LocalSwarm::outside(),
            data_root: "/var/lib/docker".into(),
            running_containers: 0,
            live_restore: false,
            rootless: false,
        }
    }
}

/// Whether managers hear of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// It reports.
    Ready,
    /// It missed its heartbeats.
    Down,
    /// No one knows: after a change of leader every node is `unknown` for some seconds. This is not `down`.
    Unknown,
    /// It said good-bye for now.
    Disconnected,
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ready => "ready",
            Self::Down => "down",
            Self::Unknown => "unknown",
            Self::Disconnected => "disconnected",
        })
    }
}

/// Whether the other managers reach a manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reachability {
    /// They do.
    Reachable,
    /// They do not.
    Unreachable,
    /// Not known yet.
    Unknown,
}

impl fmt::Display for Reachability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Reachable => "reachable",
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
        })
    }
}

/// A node's part in raft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerFacts {
    /// Whether it leads.
    pub leader: bool,
    /// Whether it is reached.
    pub reachability: Reachability,
    /// `ADDRESS:PORT` other managers use.
    pub address: String,
}

/// A node as a manager lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    /// Its id.
    pub id: NodeId,
    /// Version of the object, needed to change it.
    pub version: u64,
    /// When it first appeared, RFC 3339.
    pub created_at: String,
    /// Host name; empty for an entry whose host died early in its join.
    pub hostname: String,
    /// Wanted role.
    pub role: Role,
    /// Availability.
    pub availability: Availability,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it reports.
    pub state: NodeState,
    /// The manager's word on the state.
    pub message: String,
    /// The address the manager sees.
    pub address: String,
    /// Engine version.
    pub engine_version: String,
    /// Its part in raft; `None` for workers, and for managers that are not there yet.
    pub manager: Option<ManagerFacts>,
    /// [`fingerprint`](crate::credential::root_fingerprint) of the root that its certificate is from; empty where it has not reported one.
    pub root: String,
    /// What its engine offers.
    pub offers: Offers,
}

/// What a node's engine offers to tasks, as it reported it; empty and 0 where it has not yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offers {
    /// Operating system, for example `linux`.
    pub os: String,
    /// Architecture in the kernel's words, for example `x86_64`.
    pub architecture: String,
    /// Processors, in billionths of one.
    pub nano_cpus: u64,
    /// Memory in bytes.
    pub memory: u64,
    /// Labels of the engine itself, from its configuration.
    pub labels: BTreeMap<String, String>,
}

impl NodeFacts {
    /// Whether it is a manager that the others reach.
    pub fn is_reachable_manager(&self) -> bool {
        self.manager.as_ref().is_some_and(|m| m.reachability == Reachability::Reachable)
    }

    /// The address that it advertises, as the managers have it: a manager's own, else where they see it. `None` where that is no IP address.
    pub fn advertised(&self) -> Option<IpAddr> {
        ip_of(self.manager.as_ref().map_or(self.address.as_str(), |m| m.address.as_str()))
    }

    /// Whether it leads the managers.
    pub fn leads(&self) -> bool {
        self.manager.as_ref().is_some_and(|m| m.leader)
    }
}

/// The swarm object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterFacts {
    /// Its id.
    pub id: ClusterId,
    /// Version of the object, needed to change it.
    pub version: u64,
    /// Labels of the swarm.
    pub labels: BTreeMap<String, String>,
    /// Every changeable option; all are known.
    pub settings: SwarmSettings,
    /// The options fixed at init.
    pub init: InitSettings,
    /// Whether the CA is being replaced.
    pub root_rotation_in_progress: bool,
    /// What tells the swarm's join tokens and its root certificate from others of their kind.
    pub fingerprints: BTreeMap<Part, String>,
    /// The digest of the root as join tokens name it (swarmkit `ca/config.go`); `None` where the manager did not give its root.
    pub root_digest: Option<String>,
    /// The root certificate itself, PEM.
    pub root: String,
}

impl ClusterFacts {
    /// The options named here that the swarm lacks or has otherwise. An authority without a certificate signs for the swarm's own root, which
    /// is the same as one that names that root.
    pub fn lacks(&self, wanted: &SwarmSettings) -> SwarmSettings {
        let own = |settings: &SwarmSettings| {
            let mut settings = settings.clone();
            for authority in settings.external_ca.iter_mut().flatten() {
                authority.ca_cert = authority.ca_cert.take().filter(|pem| pem.trim() != self.root.trim());
            }
            settings
        };
        own(wanted).missing_in(&own(&self.settings))
    }
}

/// What one manager says of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    /// The swarm object.
    pub cluster: ClusterFacts,
    /// All nodes.
    pub nodes: Vec<NodeFacts>,
    /// How many services there are.
    pub services: usize,
    /// What tells one unlock key from another, if managers are locked after a restart.
    pub unlock_key: Option<String>,
}

/// What a machine says, seen without its engine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MachineFacts {
    /// Addresses of its interfaces.
    pub addresses: Vec<InterfaceAddress>,
    /// `/etc/machine-id`.
    pub machine_id: Option<String>,
    /// The id of its last start.
    pub boot_id: Option<String>,
    /// Whether a `docker` or `dockerd` program is installed.
    pub engine_installed: bool,
    /// Bytes that are free where engines keep their swarm state; `None` where that was not reported.
    pub disk_free: Option<u64>,
}

/// What kind of thing kept us from an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReachErrorKind {
    /// The host did not answer, or did not let us in.
    Unreachable,
    /// There is no engine.
    NoEngine,
    /// The engine does not answer.
    EngineDown,
    /// The engine is there and we may not speak to it.
    NoPermission,
    /// It answered something we cannot use.
    Unusable,
    /// It was not asked: the look was at others.
    NotAsked,
}

/// Why an engine was not reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ReachError {
    /// What kind of thing.
    pub kind: ReachErrorKind,
    /// What happened and what to do, for people.
    pub message: String,
}

/// Everything one host and its engine answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// The engine's word.
    pub engine: Result<EngineFacts, ReachError>,
    /// The machine's word.
    pub machine: Fact<MachineFacts>,
    /// The node certificate's word.
    pub identity: Fact<NodeIdentity>,
    /// The cluster; only managers are asked.
    pub view: Fact<ClusterView>,
}

impl HostReport {
    /// Of a host that said nothing but what its engine is, or why that was not reached.
    pub fn of(engine: Result<EngineFacts, ReachError>) -> Self {
        Self { engine, machine: Fact::NotAsked, identity: Fact::NotAsked, view: Fact::NotAsked }
    }

    /// Whether its engine was asked and not reached.
    pub fn is_silent(&self) -> bool {
        self.engine.as_ref().is_err_and(|error| error.kind != ReachErrorKind::NotAsked)
    }
}

/// One look at all hosts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Observation {
    /// When it began.
    pub at: SeenAt,
    /// By host.
    pub hosts: BTreeMap<HostName, HostReport>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_keeps_an_old_word_is_judged_by_the_rest() {
        let said = |reported, node: bool, error: Option<&str>, control| LocalSwarm {
            reported,
            node: node.then(|| NodeId::new("n")),
            address: None,
            control_available: control,
            cluster: None,
            error: error.map(str::to_owned),
            remotes: Vec::new(),
        };
        // Seen on engines 26.1 and 28.5 after a promotion that they could not follow at once.
        let manager = said(LocalState::Error, true, None, true);
        assert!(manager.stumbled() && manager.manages() && *manager.state() == LocalState::Active);
        assert_eq!(*said(LocalState::Error, true, None, false).state(), LocalState::Active);
        // Its question to the leader failed: that is no reason why its node failed.
        assert!(said(LocalState::Error, true, Some("context deadline exceeded"), true).manages());
        for failed in [
            said(LocalState::Error, false, None, false),
            said(LocalState::Error, false, Some("can't initialize raft node"), false),
            said(LocalState::Error, true, Some("can't initialize raft node"), false),
        ] {
            assert!(!failed.stumbled() && !failed.manages() && *failed.state() == LocalState::Error, "{failed:?}");
        }
    }
}
