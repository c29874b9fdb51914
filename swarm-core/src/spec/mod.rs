//! What the user wants. Values here are valid by construction and never change.

mod builder;
mod fields;
mod keys;
mod machines;
mod prepare;
mod problem;
mod read;
mod read_connection;
mod schema;
mod settings;
mod tree;
mod useless;
mod values;

pub use builder::{ClusterBuilder, HostBuilder, SshBuilder};
pub use fields::nearest_word;
pub use keys::{Key, Kind, OWN_OBJECTS, Section, sections};
pub use machines::{Aws, LabHosts, Machines};
pub use prepare::{Firewall, Install, Preparation, Proxy};
pub use problem::{Problem, Problems, Severity};
pub use read::{ReadSpec, read};
pub use schema::json_schema;
pub use settings::{ExternalCa, InitSettings, SwarmSettings};
pub use tree::{Entry, Location, Node, Value};
pub use values::{parse_duration, show_duration};

use crate::addr::{AddressSelector, HostAddress, ListenAddress};
use crate::id::HostName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The swarm label that carries the cluster's name, so that a file and a swarm can be matched.
pub const NAME_LABEL: &str = "swarm.cluster.name";

/// The node label that says whose failed join made an entry: written on one that has no host name and came while the host's join was under
/// way, so that a later run knows it.
pub const JOIN_LABEL: &str = "swarm.join.host";

/// The node label that says which cluster's file a node is from: written where `policy.prune` is `owned`.
pub const OWNER_LABEL: &str = "swarm.owner";

/// A node's part in the swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Holds the cluster state and votes.
    Manager,
    /// Runs tasks.
    Worker,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Manager => "manager",
            Self::Worker => "worker",
        })
    }
}

/// Whether a node takes tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Availability {
    /// Takes new tasks.
    Active,
    /// Keeps its tasks, takes no new ones.
    Pause,
    /// Its tasks move away, it takes no new ones.
    Drain,
}

impl fmt::Display for Availability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Active => "active",
            Self::Pause => "pause",
            Self::Drain => "drain",
        })
    }
}

/// Where the engine of a host listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineEndpoint {
    /// A unix socket on that host.
    Unix(String),
    /// TCP with mutual TLS, spoken to directly from here.
    Tcp {
        /// Address or DNS name.
        address: HostAddress,
        /// TCP port, 2376 by custom.
        port: u16,
    },
}

impl Default for EngineEndpoint {
    fn default() -> Self {
        Self::Unix("/var/run/docker.sock".to_owned())
    }
}

impl fmt::Display for EngineEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{path}"),
            Self::Tcp { address, port } => write!(f, "tcp://{address}:{port}"),
        }
    }
}

/// What to do with a host key that known_hosts does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostKeyPolicy {
    /// Refuse, and print the command that would add it.
    #[default]
    Strict,
    /// Accept it once and write it down. A changed key is refused all the same.
    AcceptNew,
}

/// Who makes SSH connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SshClient {
    /// The built-in client, and the user's own `ssh` program for a host whose ssh_config asks for what only that can do.
    #[default]
    Auto,
    /// The built-in client; such a host is refused.
    Native,
    /// The user's own `ssh` program for every host.
    Openssh,
}

/// One hop on the way to a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Jump {
    /// User on the jump host; the host's own user where not given.
    pub user: Option<String>,
    /// Where the jump host is.
    pub address: HostAddress,
    /// Its SSH port; 22 where not given.
    pub port: Option<u16>,
}

/// How to log in to a host. What is `None` is left to ssh_config and the defaults of `ssh`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SshSpec {
    /// Login name.
    pub user: Option<String>,
    /// TCP port.
    pub port: Option<u16>,
    /// Private key; it is tried before any key of an agent.
    pub identity_file: Option<PathBuf>,
    /// The known_hosts file of the user; the global one is read too.
    pub known_hosts: Option<PathBuf>,
    /// What to do with an unknown host key.
    pub host_key: HostKeyPolicy,
    /// Hops on the way, in order. `None` leaves it to ssh_config.
    pub jump: Option<Vec<Jump>>,
    /// Name of the environment variable that holds the password.
    pub password_env: Option<String>,
    /// Name of the environment variable that holds the passphrase of the identity file.
    pub passphrase_env: Option<String>,
    /// Whether to reach the engine through `sudo -n`.
    pub sudo: bool,
    /// Who connects.
    pub client: SshClient,
}

/// TLS files for an engine that listens on TCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TlsFiles {
    /// The only CA that is trusted for this engine.
    pub ca: PathBuf,
    /// Client certificate.
    pub cert: PathBuf,
    /// Client key.
    pub key: PathBuf,
}

/// How a host's engine is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Connection {
    /// Over SSH.
    Ssh(SshSpec),
    /// The engine of this machine.
    Local,
    /// Straight to the engine's TCP port with mutual TLS.
    Docker(TlsFiles),
}

/// One host of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostSpec {
    /// The key in the file.
    pub name: HostName,
    /// Where to connect to.
    pub address: HostAddress,
    /// Wanted role; of a host that is to be in no swarm, worker.
    pub role: Role,
    /// Whether it is to be in no swarm (`role: none`): a run takes it out of this one for good.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
    /// Which address the node advertises; `None` takes [`HostSpec::address`] if it is an IP address.
    pub advertise: Option<AddressSelector>,
    /// Where it listens as a manager.
    pub listen: ListenAddress,
    /// Which address carries overlay traffic; `None` leaves it to the advertised one.
    pub data_path: Option<AddressSelector>,
    /// Wanted availability; `None` joins as active and leaves a node that is there as it is.
    pub availability: Option<Availability>,
    /// Wanted node labels; `None` as a value means that the label must be absent. Others are left alone.
    pub labels: BTreeMap<String, Option<String>>,
    /// Where the engine listens on that host.
    pub engine: EngineEndpoint,
    /// How it is reached.
    pub connection: Connection,
    /// The advertised address is not on the host, by intent: it is translated on the way.
    pub nat: bool,
    /// How it is made ready.
    #[serde(skip_serializing_if = "prepare::is_left_out")]
    pub prepare: Preparation,
}

impl HostSpec {
    /// How the advertised address is chosen; `None` where the file leaves it to a DNS name.
    pub fn advertise_selector(&self) -> Option<AddressSelector> {
        match (&self.advertise, &self.address) {
            (Some(selector), _) => Some(selector.clone()),
            (None, HostAddress::Ip(ip)) => Some(AddressSelector::Ip(*ip)),
            (None, HostAddress::Name(_)) => None,
        }
    }
}

/// How the tool itself behaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Hosts worked on at once.
    pub concurrency: usize,
    /// One deadline for the whole run.
    pub timeout: Duration,
    /// When join tokens are replaced.
    pub rotate_tokens: RotateTokens,
    /// Which nodes that the file does not name are removed.
    #[serde(skip_serializing_if = "Prune::is_never")]
    pub prune: Prune,
}

/// Which nodes that the file does not name, and that are down, a run removes without having been asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Prune {
    /// None.
    #[default]
    Never,
    /// Those that were nodes of this file: each of its nodes has a label with the cluster's name.
    Owned,
}

impl Prune {
    fn is_never(&self) -> bool {
        *self == Self::Never
    }
}

/// When join tokens are replaced without having been asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RotateTokens {
    /// Never: machines that join by themselves keep working.
    #[default]
    Never,
    /// After a run in which hosts joined: a token is good for one run only.
    AfterApply,
}

impl Default for Policy {
    fn default() -> Self {
        Self { concurrency: 32, timeout: Duration::from_secs(300), rotate_tokens: RotateTokens::Never, prune: Prune::Never }
    }
}

/// Where the unlock key of locked managers is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyPlace {
    /// A file of this machine, for its owner alone.
    File(PathBuf),
    /// A program with its arguments. What is wanted is its last one: `ready`, `load` (it prints the key) or `store` (it reads the key).
    Command(Vec<String>),
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Command(argv) => write!(f, "`{}`", argv.join(" ")),
        }
    }
}

/// A whole cluster as the file describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterSpec {
    name: String,
    hosts: BTreeMap<HostName, HostSpec>,
    settings: SwarmSettings,
    init: InitSettings,
    key_place: Option<KeyPlace>,
    policy: Policy,
    #[serde(skip)]
    ignored_checks: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    stacks: BTreeMap<String, StackFiles>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    own_objects: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    machines: Option<Machines>,
}

/// The files of an application. What is in them is read by whoever deploys it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StackFiles {
    /// Compose files; later ones are laid over earlier ones.
    pub compose: Vec<PathBuf>,
    /// Files with variables.
    pub env_file: Vec<PathBuf>,
    /// Whether services that the files no longer have are removed.
    pub prune: bool,
    /// Whether nodes get the logins to the images' registries that whoever runs the tool has.
    pub with_registry_auth: bool,
}

impl ClusterSpec {
    /// Checks that `swarm check` passes over, each with the reason.
    pub fn ignored_checks(&self) -> &BTreeMap<String, String> {
        &self.ignored_checks
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All hosts, by name: their order in the file means nothing.
    pub fn hosts(&self) -> impl ExactSizeIterator<Item = &HostSpec> {
        self.hosts.values()
    }

    /// One host.
    pub fn host(&self, name: &HostName) -> Option<&HostSpec> {
        self.hosts.get(name)
    }

    /// The hosts that are to be managers, by name.
    pub fn managers(&self) -> impl Iterator<Item = &HostSpec> {
        self.hosts().filter(|h| h.role == Role::Manager)
    }

    /// The same with one host changed. Its name stays.
    #[must_use]
    pub fn with_host(mut self, name: &HostName, change: impl FnOnce(&mut HostSpec)) -> Self {
        if let Some(host) = self.hosts.get_mut(name) {
            change(host);
            host.name = name.clone();
        }
        self
    }

    /// Swarm options that can change.
    pub fn settings(&self) -> &SwarmSettings {
        &self.settings
    }

    /// Swarm options that are fixed at init.
    pub fn init(&self) -> &InitSettings {
        &self.init
    }

    /// Where the unlock key is kept, if managers are to be locked.
    pub fn key_place(&self) -> Option<&KeyPlace> {
        self.key_place.as_ref()
    }

    /// Applications, by the names of their stacks.
    pub fn stacks(&self) -> &BTreeMap<String, StackFiles> {
        &self.stacks
    }

    /// Whether the file has services, networks, volumes, secrets or configs of the swarm itself. What is in them is read by whoever deploys it.
    pub fn has_own_objects(&self) -> bool {
        self.own_objects
    }

    /// The keys of the file that ask for more than who is in the swarm and as what: `prepare`, `machines`, `stacks`, and `services` for the swarm's
    /// own objects. Whoever only plans and applies membership leaves these out, and says so.
    pub fn beyond_membership(&self) -> Vec<&'static str> {
        let prepares = self.hosts().any(|host| !host.absent && !host.prepare.is_nothing());
        let asked = [
            ("prepare", prepares),
            ("machines", self.machines.is_some()),
            ("stacks", !self.stacks.is_empty()),
            ("services", self.own_objects),
        ];
        asked.into_iter().filter(|(_, asked)| *asked).map(|(key, _)| key).collect()
    }

    /// Who makes machines that are hosts beside those that the file names.
    pub fn machines(&self) -> Option<&Machines> {
        self.machines.as_ref()
    }

    /// How the tool behaves.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}

#[cfg(test)]
mod tests_direct;
