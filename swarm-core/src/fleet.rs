//! The seam between the rules and the backends: from a host of the file to a connected host and engine.

use crate::engine::{Engine, EngineRead};
use crate::host::{Host, HostProbe};
use crate::observe::{ReachError, ReachErrorKind};
use crate::spec::HostSpec;
use async_trait::async_trait;
use std::sync::Arc;

/// A host and its engine, to look at.
#[derive(Clone)]
pub struct Reader {
    /// The machine; `None` where only the engine is reached (TCP).
    pub host: Option<Arc<dyn HostProbe>>,
    /// Its engine.
    pub engine: Arc<dyn EngineRead>,
}

/// A host and its engine, to act on.
#[derive(Clone)]
pub struct Actor {
    /// The machine; `None` where only the engine is reached (TCP).
    pub host: Option<Arc<dyn Host>>,
    /// Its engine.
    pub engine: Arc<dyn Engine>,
}

/// Gives readers. What takes a `FleetRead` cannot change anything: this is what a dry run gets.
///
/// Called again for a host it gives the same connection, or a new one if that was lost.
#[async_trait]
pub trait FleetRead: Send + Sync {
    /// Connects to a host for looking.
    async fn reader(&self, host: &HostSpec) -> Result<Reader, ReachError>;

    /// Connects to the machine alone, also where its engine does not run or is not there.
    async fn machine_reader(&self, host: &HostSpec) -> Result<Arc<dyn HostProbe>, ReachError> {
        self.reader(host).await?.host.ok_or_else(engine_only)
    }
}

/// The machine itself is not reached over this connection.
pub fn engine_only() -> ReachError {
    ReachError { kind: ReachErrorKind::Unusable, message: "only its engine is reached over this connection, not the host itself".into() }
}

/// Gives actors.
#[async_trait]
pub trait Fleet: FleetRead {
    /// Connects to a host for acting.
    async fn actor(&self, host: &HostSpec) -> Result<Actor, ReachError>;

    /// Connects to the machine alone, also where its engine does not run or is not there.
    async fn machine(&self, host: &HostSpec) -> Result<Arc<dyn Host>, ReachError> {
        self.actor(host).await?.host.ok_or_else(engine_only)
    }

    /// The same for running a program there that only looks, and leaves nothing behind: a fleet that writes down whom it acts on, as the host
    /// keys of SSH that were new, does not do so for this.
    async fn visit(&self, host: &HostSpec) -> Result<Arc<dyn Host>, ReachError> {
        self.machine(host).await
    }
}
