//! The engine of a host: what can be asked of it, and what can be changed.
//!
//! The two are different traits, so that a dry run is a type: what holds an [`EngineRead`] cannot change anything.

mod answer;
mod api;
mod objects;
mod stores;
mod streams;
#[cfg(test)]
mod tests;

pub use answer::{ErrorClass, Reason, classify_answer};
pub use api::{Api, ConfigFacts, NodeObject, Resource};
pub use objects::{Body, NoPayloads, Objects, ObjectsRead, Payloads, Sealed};
pub use stores::{ArchiveIn, ArchiveOut, ContainerFacts, ImageFacts, Stores, StoresRead, VolumeFacts};
pub use streams::{EventQuery, Exec, ExecOutput, ExecRequest, LogLine, LogLines, LogQuery, Streams, StreamsRead, SwarmEvent, SwarmEvents};

pub use crate::credential::Part;
pub use crate::object::{Kind, Object, Query};

use crate::id::NodeId;
use crate::observe::{ClusterFacts, EngineFacts, NodeFacts};
use crate::secret::Secret;
use crate::spec::{Availability, InitSettings, NAME_LABEL, Role, SwarmSettings};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use thiserror::Error;

/// An engine's "no", or its silence.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{doing}: {message}")]
pub struct EngineError {
    /// What was asked for.
    pub doing: &'static str,
    /// What it means for what was asked.
    pub class: ErrorClass,
    /// What it means for what to do next.
    pub reason: Reason,
    /// In the engine's words, without secrets.
    pub message: String,
}

/// `POST /swarm/init`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitRequest {
    /// The address other nodes use.
    pub advertise: IpAddr,
    /// Where it listens.
    pub listen: String,
    /// Address of overlay traffic.
    pub data_path: Option<IpAddr>,
    /// Availability from the first moment on.
    pub availability: Availability,
    /// Changeable options.
    pub settings: SwarmSettings,
    /// Options fixed at init.
    pub init: InitSettings,
    /// Labels of the swarm.
    pub labels: BTreeMap<String, String>,
}

impl InitRequest {
    /// The name of the cluster, which the swarm carries from its first moment on; empty if it carries none.
    pub fn name(&self) -> &str {
        self.labels.get(NAME_LABEL).map_or("", String::as_str)
    }
}

/// `POST /swarm/join`. The token comes on its own, so that this can be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The address other nodes use.
    pub advertise: IpAddr,
    /// Where it listens, once it is a manager.
    pub listen: String,
    /// Address of overlay traffic.
    pub data_path: Option<IpAddr>,
    /// Availability from the first moment on.
    pub availability: Availability,
    /// `ADDRESS:PORT` of one manager. The engine reads the first only (moby `daemon/cluster/swarm.go` Join), so there is one.
    pub remote: String,
}

/// What is to change on a node. What is not named stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeChange {
    /// New role.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub role: Option<Role>,
    /// New availability.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub availability: Option<Availability>,
    /// Labels to set (`Some`) and to remove (`None`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub labels: BTreeMap<String, Option<String>>,
}

impl NodeChange {
    /// What of this change a node still lacks.
    pub fn missing_on(&self, node: &NodeFacts) -> Self {
        Self {
            role: self.role.filter(|role| *role != node.role),
            availability: self.availability.filter(|a| *a != node.availability),
            labels: self
                .labels
                .iter()
                .filter(|(key, value)| node.labels.get(*key) != value.as_ref())
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
        }
    }

    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.role.is_none() && self.availability.is_none() && self.labels.is_empty()
    }
}

/// What is to change on the swarm object. What is not named stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SwarmChange {
    /// Options to set.
    pub settings: SwarmSettings,
    /// Labels to set.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub labels: BTreeMap<String, String>,
    /// What is replaced by a new one, with the fingerprint that it has now: what has another one was replaced already, and stays. So a
    /// call whose answer was lost can be made again. An empty one is any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub replace: BTreeMap<Part, String>,
    /// The root that takes the place of the one that is replaced; `None` lets the engine make it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub root: Option<GivenRoot>,
}

/// A root certificate from outside of the swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenRoot {
    /// The certificate, PEM.
    pub certificate: String,
    /// The name of the [payload](Payloads) that is its private key, PEM. `None` where an authority outside of the swarm signs with it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<String>,
}

/// Whether the engine may refuse to protect the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Force {
    /// It may.
    No,
    /// It may not: someone proved or decided that it is right.
    Yes,
}

/// Questions to an engine about its part in a swarm. Each has a deadline of its own; none changes anything.
#[async_trait]
pub trait MembershipRead: Send + Sync {
    /// The engine itself and its part in a swarm. Slow while a quorum is lost: up to 40 s.
    async fn info(&self) -> Result<EngineFacts, EngineError>;

    /// The swarm object. Managers only.
    async fn cluster(&self) -> Result<ClusterFacts, EngineError>;

    /// All nodes. Managers only.
    async fn nodes(&self) -> Result<Vec<NodeFacts>, EngineError>;

    /// One node. Managers only.
    async fn node(&self, id: &NodeId) -> Result<NodeFacts, EngineError>;

    /// The key that unlocks managers after a restart; `None` where autolock is off. Managers only.
    async fn unlock_key(&self) -> Result<Option<Secret>, EngineError>;

    /// How many services the swarm has. Managers only.
    async fn service_count(&self) -> Result<usize, EngineError>;
}

/// Changes of an engine's membership and of the swarm's nodes.
///
/// A call that fails with [`ErrorClass::Unknown`] may have been carried out: look again before anything else. A dropped future
/// does not take a call back either; the engine goes on with an init or a join (moby `cluster_routes.go`).
#[async_trait]
pub trait Membership: MembershipRead {
    /// Makes this engine the first manager of a new swarm.
    async fn init(&self, request: &InitRequest) -> Result<(), EngineError>;

    /// Makes this manager, whose swarm has lost its quorum, the only one: the others are out of raft, and what only they knew is lost. The
    /// engine keeps the swarm's own specification.
    async fn force_new_cluster(&self, advertise: IpAddr, listen: &str) -> Result<(), EngineError>;

    /// Joins this engine to a swarm.
    async fn join(&self, request: &JoinRequest, token: &Secret) -> Result<(), EngineError>;

    /// Takes this engine out of its swarm. Said again, it is [`ErrorClass::AlreadySo`].
    async fn leave(&self, force: Force) -> Result<(), EngineError>;

    /// The token that lets an engine join with this role. Managers only.
    async fn join_token(&self, role: Role) -> Result<Secret, EngineError>;

    /// Unlocks a locked manager. One that is not locked is [`ErrorClass::AlreadySo`].
    async fn unlock(&self, key: &Secret) -> Result<(), EngineError>;

    /// Changes the swarm object, from the live one and with its version. [`ErrorClass::Conflict`] if it changed meanwhile. `root_key` is the
    /// private key of [`SwarmChange::root`].
    async fn update_swarm(&self, change: &SwarmChange, root_key: Option<Secret>) -> Result<(), EngineError>;

    /// Changes a node, from the live one, if its version is still `version`. [`ErrorClass::Conflict`] if not.
    async fn update_node(&self, id: &NodeId, version: u64, change: &NodeChange) -> Result<(), EngineError>;

    /// Removes a node from the list. The engine refuses nodes that are up, and members of raft.
    async fn remove_node(&self, id: &NodeId, force: Force) -> Result<(), EngineError>;
}

/// The answer of a port that an engine does not implement: nothing was done.
fn not_given<T>(doing: &'static str, message: &str) -> Result<T, EngineError> {
    Err(EngineError { doing, class: ErrorClass::Refused, reason: Reason::Other, message: message.to_owned() })
}

/// Everything that can be asked of an engine. What holds one cannot change anything.
pub trait EngineRead: MembershipRead + ObjectsRead + StreamsRead + StoresRead {}
impl<T: MembershipRead + ObjectsRead + StreamsRead + StoresRead + ?Sized> EngineRead for T {}

/// Everything that can be asked of an engine and changed through it.
pub trait Engine: EngineRead + Membership + Objects + Streams + Stores {}
impl<T: EngineRead + Membership + Objects + Streams + Stores + ?Sized> Engine for T {}
