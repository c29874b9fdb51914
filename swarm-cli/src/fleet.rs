//! Where a command goes: over real connections, or into a simulated world.

use crate::args::Common;
use crate::failure::Failure;
use crate::{output, source, terminal};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use swarm_core::ClusterSpec;
use swarm_core::driver::KeyKeeper;
use swarm_core::fleet::{Actor, Fleet, FleetRead, Reader};
use swarm_core::host::{Host, HostRead};
use swarm_core::id::HostName;
use swarm_core::observe::{EngineFacts, ReachError, ReachErrorKind};
use swarm_core::secret::Secret;
use swarm_core::spec::HostSpec;
use swarm_fleet::{Ask, Connections};
use swarm_prepare::prepare::Promised;
use swarm_sim::{Description, SimFleet};

/// Every simulated world of the command line is the same one.
const SEED: u64 = 1;

/// The fleet of a command.
pub(crate) struct AnyFleet {
    of: Of,
    /// Engines that are to be installed: until work begins on their hosts, plans are made as if they were there.
    promised: Mutex<BTreeMap<HostName, EngineFacts>>,
    works: AtomicBool,
}

enum Of {
    Real(Connections),
    Simulated(SimFleet),
}

/// The fleet that the command line asks for, and who keeps the unlock key there.
pub(crate) async fn open(common: &Common, spec: &ClusterSpec) -> Result<(AnyFleet, Box<dyn KeyKeeper>), Failure> {
    let Some(described) = &common.simulate else {
        let keys = swarm_fleet::keeper(spec, source::taken());
        terminal::watch();
        let connections = Connections::new(Arc::new(AskTerminal));
        connections.hide_variables(source::taken());
        return Ok((AnyFleet::new(Of::Real(connections)), keys));
    };
    output::simulated();
    let description = match described {
        Some(path) => source::description(path, spec)?,
        None => Description::default(),
    };
    let world = description.world(spec, SEED).await;
    Ok((AnyFleet::new(Of::Simulated(world.fleet("swarm"))), Box::new(Drawer::default())))
}

impl AnyFleet {
    fn new(of: Of) -> Self {
        Self { of, promised: Mutex::default(), works: AtomicBool::new(false) }
    }

    pub(crate) fn is_simulated(&self) -> bool {
        matches!(self.of, Of::Simulated(_))
    }

    /// From now on these hosts are looked at as if they had these engines, where they have none.
    pub(crate) fn promise(&self, engines: BTreeMap<HostName, EngineFacts>) {
        if let Ok(mut promised) = self.promised.lock() {
            *promised = engines;
        }
    }

    /// From now on a host is what it is, as soon as something is done on it.
    pub(crate) fn works(&self) {
        self.works.store(true, Ordering::SeqCst);
    }

    fn promised(&self, host: &HostName) -> Option<EngineFacts> {
        self.promised.lock().ok()?.get(host).cloned()
    }

    /// Writes the host keys down that were new and accepted.
    pub(crate) async fn record_host_keys(&self) -> Result<(), Failure> {
        match &self.of {
            Of::Real(fleet) => fleet.record_host_keys().await.map_err(Failure::Other),
            Of::Simulated(_) => Ok(()),
        }
    }
}

#[async_trait]
impl FleetRead for AnyFleet {
    async fn reader(&self, host: &HostSpec) -> Result<Reader, ReachError> {
        let reached = match &self.of {
            Of::Real(fleet) => fleet.reader(host).await,
            Of::Simulated(fleet) => fleet.reader(host).await,
        };
        match reached {
            Err(error) if error.kind != ReachErrorKind::Unreachable => {
                let Some(engine) = self.promised(&host.name) else { return Err(error) };
                Ok(Reader { host: Some(self.machine_reader(host).await?), engine: Arc::new(Promised(engine)) })
            }
            reached => reached,
        }
    }

    async fn machine_reader(&self, host: &HostSpec) -> Result<Arc<dyn HostRead>, ReachError> {
        match &self.of {
            Of::Real(fleet) => fleet.machine_reader(host).await,
            Of::Simulated(fleet) => fleet.machine_reader(host).await,
        }
    }
}

#[async_trait]
impl Fleet for AnyFleet {
    async fn actor(&self, host: &HostSpec) -> Result<Actor, ReachError> {
        match &self.of {
            Of::Real(fleet) => fleet.actor(host).await,
            Of::Simulated(fleet) => fleet.actor(host).await,
        }
    }

    async fn machine(&self, host: &HostSpec) -> Result<Arc<dyn Host>, ReachError> {
        if self.works.load(Ordering::SeqCst)
            && let Ok(mut promised) = self.promised.lock()
        {
            promised.remove(&host.name);
        }
        match &self.of {
            Of::Real(fleet) => fleet.machine(host).await,
            Of::Simulated(fleet) => fleet.machine(host).await,
        }
    }

    async fn visit(&self, host: &HostSpec) -> Result<Arc<dyn Host>, ReachError> {
        match &self.of {
            Of::Real(fleet) => fleet.visit(host).await,
            Of::Simulated(fleet) => fleet.visit(host).await,
        }
    }
}

/// Keeps the key of a simulated swarm for as long as the command runs: no file is written.
#[derive(Default)]
struct Drawer(Mutex<Option<Secret>>);

impl KeyKeeper for Drawer {
    fn load(&self) -> Option<Secret> {
        self.0.lock().ok()?.clone()
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn store(&self, key: &Secret) -> Result<(), String> {
        *self.0.lock().map_err(|e| e.to_string())? = Some(key.clone());
        Ok(())
    }
}

/// Asks on the terminal for what connections need.
struct AskTerminal;

impl Ask for AskTerminal {
    fn ask(&self, question: &str) -> Option<Secret> {
        terminal::ask(question)
    }

    fn can_ask(&self) -> bool {
        terminal::is_there()
    }
}
