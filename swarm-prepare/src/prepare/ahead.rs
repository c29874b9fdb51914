//! A fleet on which plans are made ahead: a host that is to get an engine is looked at as if that were there.

use super::promise::Promised;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use swarm_core::fleet::{Actor, Fleet, FleetRead, Reader};
use swarm_core::host::{Host, HostProbe};
use swarm_core::id::HostName;
use swarm_core::observe::{EngineFacts, ReachError, ReachErrorKind};
use swarm_core::spec::HostSpec;

/// A fleet, and the engines that are promised on it: where such a host has none, it is looked at as if it had. As soon as work has begun and
/// something is done on a host, it is what it is.
pub struct Ahead<F> {
    fleet: F,
    promised: Mutex<BTreeMap<HostName, EngineFacts>>,
    works: AtomicBool,
}

impl<F> Ahead<F> {
    /// Nothing is promised yet.
    pub fn new(fleet: F) -> Self {
        Self { fleet, promised: Mutex::default(), works: AtomicBool::new(false) }
    }

    /// The fleet itself.
    pub fn fleet(&self) -> &F {
        &self.fleet
    }

    /// From now on these hosts are looked at as if they had these engines, where they have none.
    pub fn promise(&self, engines: BTreeMap<HostName, EngineFacts>) {
        if let Ok(mut promised) = self.promised.lock() {
            *promised = engines;
        }
    }

    /// From now on a host is what it is, as soon as something is done on it.
    pub fn works(&self) {
        self.works.store(true, Ordering::SeqCst);
    }

    fn promised(&self, host: &HostName) -> Option<EngineFacts> {
        self.promised.lock().ok()?.get(host).cloned()
    }
}

#[async_trait]
impl<F: Fleet> FleetRead for Ahead<F> {
    async fn reader(&self, host: &HostSpec) -> Result<Reader, ReachError> {
        match self.fleet.reader(host).await {
            Err(error) if error.kind != ReachErrorKind::Unreachable => {
                let Some(engine) = self.promised(&host.name) else { return Err(error) };
                Ok(Reader { host: Some(self.machine_reader(host).await?), engine: Arc::new(Promised(engine)) })
            }
            reached => reached,
        }
    }

    async fn machine_reader(&self, host: &HostSpec) -> Result<Arc<dyn HostProbe>, ReachError> {
        self.fleet.machine_reader(host).await
    }
}

#[async_trait]
impl<F: Fleet> Fleet for Ahead<F> {
    async fn actor(&self, host: &HostSpec) -> Result<Actor, ReachError> {
        self.fleet.actor(host).await
    }

    async fn machine(&self, host: &HostSpec) -> Result<Arc<dyn Host>, ReachError> {
        if self.works.load(Ordering::SeqCst)
            && let Ok(mut promised) = self.promised.lock()
        {
            promised.remove(&host.name);
        }
        self.fleet.machine(host).await
    }

    async fn visit(&self, host: &HostSpec) -> Result<Arc<dyn Host>, ReachError> {
        self.fleet.visit(host).await
    }
}
