//! An engine of one's own between the rules and the real one: this one counts what is asked, and refuses every change.
#![allow(clippy::print_stdout, reason = "a program shows its result")]

use async_trait::async_trait;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use swarm_core::Secret;
use swarm_core::driver::{NoProgress, settle};
use swarm_core::engine::{EngineError, EngineRead, MembershipRead, Object, ObjectsRead, Query, StoresRead, StreamsRead};
use swarm_core::fleet::{FleetRead, Reader};
use swarm_core::id::NodeId;
use swarm_core::observe::{ClusterFacts, EngineFacts, NodeFacts, ReachError};
use swarm_core::spec::HostSpec;
use swarm_fleet::Connections;

/// Implements reading only: whoever holds it cannot change anything.
struct Counting {
    inner: Arc<dyn EngineRead>,
    asked: Arc<AtomicUsize>,
}

impl Counting {
    fn count(&self) -> &dyn EngineRead {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.inner.as_ref()
    }
}

#[async_trait]
impl MembershipRead for Counting {
    async fn info(&self) -> Result<EngineFacts, EngineError> {
        self.count().info().await
    }

    async fn cluster(&self) -> Result<ClusterFacts, EngineError> {
        self.count().cluster().await
    }

    async fn nodes(&self) -> Result<Vec<NodeFacts>, EngineError> {
        self.count().nodes().await
    }

    async fn node(&self, id: &NodeId) -> Result<NodeFacts, EngineError> {
        self.count().node(id).await
    }

    async fn unlock_key(&self) -> Result<Option<Secret>, EngineError> {
        self.count().unlock_key().await
    }

    async fn service_count(&self) -> Result<usize, EngineError> {
        self.count().service_count().await
    }
}

#[async_trait]
impl ObjectsRead for Counting {
    async fn list(&self, query: &Query) -> Result<Vec<Object>, EngineError> {
        self.count().list(query).await
    }
}

/// What it does not give: the lines that tasks write, images and volumes.
impl StreamsRead for Counting {}
impl StoresRead for Counting {}

struct CountingFleet {
    connections: Connections,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl FleetRead for CountingFleet {
    async fn reader(&self, host: &HostSpec) -> Result<Reader, ReachError> {
        let Reader { host, engine } = self.connections.reader(host).await?;
        Ok(Reader { host, engine: Arc::new(Counting { inner: engine, asked: Arc::clone(&self.asked) }) })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "swarm.yaml".into());
    let cluster = swarm_file::parse(&std::fs::read_to_string(path)?, &|name| std::env::var(name).ok())?.spec;
    let fleet = CountingFleet { connections: Connections::default(), asked: Arc::default() };
    let (verdict, _) = settle(&cluster, &fleet, &NoProgress, None, &std::collections::BTreeSet::new(), tokio::time::Instant::now()).await;
    println!("matches the file: {}, asked {} times", verdict.converged, fleet.asked.load(Ordering::Relaxed));
    Ok(())
}
