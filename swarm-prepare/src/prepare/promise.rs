//! The engine that a host will have: it is in no swarm, and everything else is still to come.

use async_trait::async_trait;
use swarm_core::engine::{EngineError, ErrorClass, MembershipRead, ObjectsRead, Reason, StoresRead, StreamsRead};
use swarm_core::id::NodeId;
use swarm_core::observe::{ClusterFacts, EngineFacts, NodeFacts};
use swarm_core::secret::Secret;

/// Such an engine: a plan can be made with it before it is there. It can only be looked at.
#[derive(Debug, Clone)]
pub struct Promised(pub EngineFacts);

fn none<T>(doing: &'static str) -> Result<T, EngineError> {
    let message = "the engine is not installed yet".to_owned();
    Err(EngineError { doing, class: ErrorClass::Conflict, reason: Reason::NotManager, message })
}

#[async_trait]
impl MembershipRead for Promised {
    async fn info(&self) -> Result<EngineFacts, EngineError> {
        Ok(self.0.clone())
    }

    async fn cluster(&self) -> Result<ClusterFacts, EngineError> {
        none("reading the swarm")
    }

    async fn nodes(&self) -> Result<Vec<NodeFacts>, EngineError> {
        none("listing nodes")
    }

    async fn node(&self, _id: &NodeId) -> Result<NodeFacts, EngineError> {
        none("reading a node")
    }

    async fn unlock_key(&self) -> Result<Option<Secret>, EngineError> {
        none("reading the unlock key")
    }

    async fn service_count(&self) -> Result<usize, EngineError> {
        none("counting services")
    }
}

#[async_trait]
impl ObjectsRead for Promised {}
#[async_trait]
impl StreamsRead for Promised {}
#[async_trait]
impl StoresRead for Promised {}
