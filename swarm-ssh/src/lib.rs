//! A [`swarm_core::host::Host`] over SSH. It connects as `ssh` would: the same keys, the same known_hosts, the same ssh_config.
//!
//! What it does not do: forward an agent, accept a changed host key, rewrite known_hosts, or build shell text from values of a file.
//! No type of russh is part of this crate's interface.

mod auth;
mod channel;
mod config;
mod error;
mod host;
mod known_hosts;
mod relay;
mod session;

pub use auth::{Ask, AskNobody};
#[doc(hidden)]
pub use config::read_foreign_text;
pub use error::SshError;
pub use host::{SshConnector, SshHost};
pub use known_hosts::{HostKeyVerdict, KnownHosts, append, fingerprint};
