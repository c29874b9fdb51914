//! Where a command goes: over real connections, or into a simulated world.

use crate::args_common::Common;
use crate::failure::Failure;
use crate::{output, source, terminal};
use async_trait::async_trait;
use std::sync::{Arc, Mutex};
use swarm_core::ClusterSpec;
use swarm_core::driver::KeyKeeper;
use swarm_core::fleet::{Actor, Fleet, FleetRead, Reader};
use swarm_core::host::{Host, HostProbe};
use swarm_core::observe::ReachError;
use swarm_core::secret::Secret;
use swarm_core::spec::HostSpec;
use swarm_fleet::{Ask, Connections};
use swarm_prepare::prepare::Ahead;
use swarm_sim::{Description, SimFleet};

/// Every simulated world of the command line is the same one.
const SEED: u64 = 1;

/// The fleet of a command: plans are made ahead of the engines that it installs.
pub(crate) type AnyFleet = Ahead<Connected>;

/// Real connections, or a simulated world.
pub(crate) enum Connected {
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
        return Ok((Ahead::new(Connected::Real(connections)), keys));
    };
    output::simulated();
    let description = match described {
        Some(path) => source::description(path, spec)?,
        None => Description::default(),
    };
    let world = description.world(spec, SEED).await;
    Ok((Ahead::new(Connected::Simulated(world.fleet("swarm"))), Box::new(Drawer::default())))
}

impl Connected {
    /// Writes the host keys down that were new and accepted.
    pub(crate) async fn record_host_keys(&self) -> Result<(), Failure> {
        match self {
            Self::Real(fleet) => fleet.record_host_keys().await.map_err(Failure::Other),
            Self::Simulated(_) => Ok(()),
        }
    }
}

#[async_trait]
impl FleetRead for Connected {
    async fn reader(&self, host: &HostSpec) -> Result<Reader, ReachError> {
        match self {
            Self::Real(fleet) => fleet.reader(host).await,
            Self::Simulated(fleet) => fleet.reader(host).await,
        }
    }

    async fn machine_reader(&self, host: &HostSpec) -> Result<Arc<dyn HostProbe>, ReachError> {
        match self {
            Self::Real(fleet) => fleet.machine_reader(host).await,
            Self::Simulated(fleet) => fleet.machine_reader(host).await,
        }
    }
}

#[async_trait]
impl Fleet for Connected {
    async fn actor(&self, host: &HostSpec) -> Result<Actor, ReachError> {
        match self {
            Self::Real(fleet) => fleet.actor(host).await,
            Self::Simulated(fleet) => fleet.actor(host).await,
        }
    }

    async fn machine(&self, host: &HostSpec) -> Result<Arc<dyn Host>, ReachError> {
        match self {
            Self::Real(fleet) => fleet.machine(host).await,
            Self::Simulated(fleet) => fleet.machine(host).await,
        }
    }

    async fn visit(&self, host: &HostSpec) -> Result<Arc<dyn Host>, ReachError> {
        match self {
            Self::Real(fleet) => fleet.visit(host).await,
            Self::Simulated(fleet) => fleet.visit(host).await,
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
