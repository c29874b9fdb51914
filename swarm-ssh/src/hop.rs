//! One hop on the way to a host, with everything settled.

use std::path::PathBuf;
use std::time::Duration;
use swarm_core::spec::HostKeyPolicy;

/// One hop, with everything settled. Two hops are one connection only if all of this is equal.
#[derive(Debug, Clone)]
pub(crate) struct Hop {
    /// For messages: `user@host:port`.
    pub(crate) label: String,
    pub(crate) address: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) family: Family,
    pub(crate) bind: Option<String>,
    pub(crate) connect_timeout: Option<Duration>,
    /// How often a silent host is asked whether it is there, and how often it may not answer.
    pub(crate) alive: (Duration, usize),
    pub(crate) trust: TrustFiles,
    pub(crate) login: LoginSettings,
    /// KexAlgorithms, Ciphers, MACs, where they are not OpenSSH's own defaults.
    pub(crate) kex: Vec<String>,
    pub(crate) ciphers: Vec<String>,
    pub(crate) macs: Vec<String>,
}

/// AddressFamily.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Any,
    V4,
    V6,
}

/// What a host's key is held against.
#[derive(Debug, Clone)]
pub(crate) struct TrustFiles {
    pub(crate) known_hosts: Vec<PathBuf>,
    pub(crate) global_known_hosts: Vec<PathBuf>,
    pub(crate) revoked: Option<PathBuf>,
    /// The name under which the key is recorded.
    pub(crate) name: String,
    /// Whether that is a HostKeyAlias.
    pub(crate) alias: bool,
    pub(crate) policy: HostKeyPolicy,
    pub(crate) hash_names: bool,
    pub(crate) algorithms: Vec<String>,
    /// Whether recorded keys come first: not where HostKeyAlgorithms sets an order.
    pub(crate) reorder: bool,
    pub(crate) ca_algorithms: Vec<String>,
    pub(crate) rsa_bits: u32,
}

/// How a login is tried.
#[derive(Debug, Clone)]
pub(crate) struct LoginSettings {
    /// The file the cluster file names; it comes before everything else.
    pub(crate) named_identity: Option<PathBuf>,
    pub(crate) identities: Vec<PathBuf>,
    pub(crate) certificates: Vec<PathBuf>,
    pub(crate) identities_only: bool,
    pub(crate) agent: Option<PathBuf>,
    /// PubkeyAcceptedAlgorithms; empty is all that this library knows.
    pub(crate) algorithms: Vec<String>,
    pub(crate) rsa_bits: u32,
    pub(crate) methods: Vec<Method>,
    pub(crate) password_env: Option<String>,
    pub(crate) passphrase_env: Option<String>,
    /// BatchMode: nothing is asked.
    pub(crate) batch: bool,
}

/// A way to prove who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    PublicKey,
    KeyboardInteractive,
    Password,
}
