//! The wiring: a host of the cluster file becomes a connected host and engine, over SSH, a local socket, or TCP with TLS.
//!
//! This is the one place that knows both transports; an embedder with another one implements [`swarm_core::Fleet`] instead.

mod key_command;
mod key_file;
mod local;

pub use key_command::KeyCommand;
pub use key_file::KeyFile;
pub use local::LocalHost;
pub use swarm_ssh::{Ask, NoPrompt, Vouched, arguments as ssh_arguments, client_options as ssh_options, keep};

use async_trait::async_trait;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use swarm_core::addr::HostAddress;
use swarm_core::engine::{Engine, EngineRead};
use swarm_core::fleet::{Actor, Fleet, FleetRead, Reader, engine_only};
use swarm_core::host::{Host, HostProbe};
use swarm_core::id::HostName;
use swarm_core::observe::{ReachError, ReachErrorKind};
use swarm_core::spec::{Connection, EngineEndpoint, HostSpec, SshSpec};
use swarm_docker::DockerEngine;
use swarm_ssh::{SshConnector, SshHost};
use tokio::sync::Mutex;

/// A connected host. What SSH accepted of it is written down when it is acted on.
#[derive(Clone)]
struct Connected {
    actor: Actor,
    ssh: Option<Arc<SshHost>>,
}

/// What is known of one host: the login, which may be there without an engine, and both.
#[derive(Default)]
struct Known {
    ssh: Option<Arc<SshHost>>,
    connected: Option<Connected>,
}

type Slot = Arc<Mutex<Known>>;

/// Connections to the hosts of a cluster file. Each host is connected once; a lost connection is made again at the next use.
pub struct Connections {
    ssh: SshConnector,
    slots: Mutex<HashMap<HostName, Slot>>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connections")
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self::new(Arc::new(NoPrompt))
    }
}

impl Connections {
    /// `ask` is asked for passphrases and passwords.
    pub fn new(ask: Arc<dyn Ask>) -> Self {
        Self { ssh: SshConnector::new(ask), slots: Mutex::default() }
    }

    /// Environment variables that hold secrets: no program that is started for a connection gets them.
    pub fn hide_variables(&self, names: impl IntoIterator<Item = String>) {
        self.ssh.hide_variables(names);
    }

    /// Writes the new host keys down that were accepted (`host_key: accept-new`). Looking alone writes nothing; acting on a host writes
    /// its key, and this is for a run that had nothing to do.
    ///
    /// # Errors
    /// Why one could not be written.
    pub async fn record_host_keys(&self) -> Result<(), String> {
        let slots: Vec<Slot> = self.slots.lock().await.values().cloned().collect();
        for slot in slots {
            if let Some(ssh) = &slot.lock().await.ssh {
                ssh.record_host_key().await?;
            }
        }
        self.ssh.record_host_keys()
    }

    async fn slot(&self, host: &HostSpec) -> Slot {
        Arc::clone(self.slots.lock().await.entry(host.name.clone()).or_default())
    }

    async fn connected(&self, host: &HostSpec) -> Result<Connected, ReachError> {
        let slot = self.slot(host).await;
        let mut known = slot.lock().await;
        if let Some(connected) = &known.connected {
            return Ok(connected.clone());
        }
        let connected = self.connect(host, &mut known).await?;
        known.connected = Some(connected.clone());
        Ok(connected)
    }

    /// The login to a host, made where it is not there.
    async fn login(&self, host: &HostSpec, spec: &SshSpec, known: &mut Known) -> Result<Arc<SshHost>, ReachError> {
        let new = || Arc::new(self.ssh.host(host.name.clone(), host.address.clone(), spec.clone()));
        let ssh = Arc::clone(known.ssh.get_or_insert_with(new));
        // Every layer of SSH has a deadline of its own, and a question to a person has none: the engine's begins behind it.
        ssh.connect().await.map_err(|e| ReachError { kind: ReachErrorKind::Unreachable, message: e.to_string() })?;
        Ok(ssh)
    }

    /// The machine alone; nothing where the connection is to an engine.
    async fn only_machine(&self, host: &HostSpec) -> Result<(Option<Arc<dyn Host>>, Option<Arc<SshHost>>), ReachError> {
        match &host.connection {
            Connection::Ssh(spec) => {
                let slot = self.slot(host).await;
                let ssh = self.login(host, spec, &mut *slot.lock().await).await?;
                Ok((Some(ssh.clone()), Some(ssh)))
            }
            Connection::Local => Ok((Some(Arc::new(LocalHost::new(host.name.clone()))), None)),
            Connection::Docker(_) => Ok((None, None)),
        }
    }

    async fn connect(&self, host: &HostSpec, known: &mut Known) -> Result<Connected, ReachError> {
        let socket = match &host.engine {
            EngineEndpoint::Unix(path) => path.as_str(),
            EngineEndpoint::Tcp { .. } => "",
        };
        match &host.connection {
            Connection::Ssh(spec) => {
                let ssh = self.login(host, spec, known).await?;
                let machine: Arc<dyn Host> = ssh.clone();
                let engine = DockerEngine::on_host(Arc::clone(&machine), socket).await?;
                Ok(Connected { actor: Actor { host: Some(machine), engine: Arc::new(engine) }, ssh: Some(ssh) })
            }
            Connection::Local => {
                let machine: Arc<dyn Host> = Arc::new(LocalHost::new(host.name.clone()));
                let engine = DockerEngine::local(socket).await?;
                Ok(Connected { actor: Actor { host: Some(machine), engine: Arc::new(engine) }, ssh: None })
            }
            Connection::Docker(files) => {
                let (address, port): (HostAddress, u16) = match &host.engine {
                    EngineEndpoint::Tcp { address, port } => (address.clone(), *port),
                    EngineEndpoint::Unix(_) => {
                        return Err(ReachError {
                            kind: ReachErrorKind::Unusable,
                            message: "connection: docker needs a tcp:// engine".into(),
                        });
                    }
                };
                let engine = Arc::new(DockerEngine::tls(address, port, files).await?);
                Ok(Connected { actor: Actor { host: None, engine }, ssh: None })
            }
        }
    }
}

/// The engine of this machine at a socket, for example `/var/run/docker.sock`.
///
/// # Errors
/// Why it does not answer.
pub async fn engine_here(socket: &str) -> Result<Arc<dyn Engine>, ReachError> {
    Ok(Arc::new(DockerEngine::local(socket).await?))
}

#[async_trait]
impl Fleet for Connections {
    async fn actor(&self, host: &HostSpec) -> Result<Actor, ReachError> {
        let Connected { actor, ssh } = self.connected(host).await?;
        if let Some(ssh) = ssh {
            let refused = |message| ReachError { kind: ReachErrorKind::Unusable, message };
            ssh.record_host_key().await.map_err(refused)?;
        }
        Ok(actor)
    }

    async fn machine(&self, host: &HostSpec) -> Result<Arc<dyn Host>, ReachError> {
        let (machine, ssh) = self.only_machine(host).await?;
        if let Some(ssh) = ssh {
            let refused = |message| ReachError { kind: ReachErrorKind::Unusable, message };
            ssh.record_host_key().await.map_err(refused)?;
        }
        machine.ok_or_else(engine_only)
    }

    async fn visit(&self, host: &HostSpec) -> Result<Arc<dyn Host>, ReachError> {
        self.only_machine(host).await?.0.ok_or_else(engine_only)
    }
}

#[async_trait]
impl FleetRead for Connections {
    async fn reader(&self, host: &HostSpec) -> Result<Reader, ReachError> {
        let Actor { host, engine } = self.connected(host).await?.actor;
        let host: Option<Arc<dyn HostProbe>> = match host {
            Some(host) => Some(host),
            None => None,
        };
        let engine: Arc<dyn EngineRead> = as_reader(engine);
        Ok(Reader { host, engine })
    }

    async fn machine_reader(&self, host: &HostSpec) -> Result<Arc<dyn HostProbe>, ReachError> {
        let machine: Arc<dyn HostProbe> = self.only_machine(host).await?.0.ok_or_else(engine_only)?;
        Ok(machine)
    }
}

fn as_reader(engine: Arc<dyn Engine>) -> Arc<dyn EngineRead> {
    engine
}

/// Who keeps the unlock key of a cluster, as its file says. Programs do not get the environment variables that are named as hidden.
pub fn keeper(spec: &swarm_core::ClusterSpec, hidden: Vec<String>) -> Box<dyn swarm_core::driver::KeyKeeper> {
    use swarm_core::spec::KeyPlace;
    match spec.key_place() {
        Some(KeyPlace::File(path)) => Box::new(KeyFile::new(path)),
        Some(KeyPlace::Command(argv)) => Box::new(KeyCommand::new(argv, hidden)),
        None => Box::new(swarm_core::driver::NoKeyKeeper),
    }
}
