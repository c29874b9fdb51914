//! A host over SSH: run a command, read and write files, open a stream to a socket. It connects as `ssh` would: the same keys, the same known_hosts, the same ssh_config. Where
//! ssh_config asks for what this client does not do, the user's own `ssh` program connects; `docs/ssh.md` has every keyword.
//!
//! What it does not do: forward an agent, accept a changed host key, write to a file that holds anything but known_hosts lines, or build
//! shell text from values of a file. No type of russh is part of what others need of this crate.

#![doc = include_str!("../README.md")]

mod answer;
mod ask;
mod auth;
mod channel;
mod config;
mod error;
#[doc(hidden)]
pub mod foreign;
mod hop;
mod host;
mod host_key;
mod identity;
mod keywords;
mod known_hosts;
mod openssh;
mod pem;
mod record;
mod relay;
mod revoked;
mod session;
mod stage;
mod words;

pub use ask::{Ask, NoPrompt};
pub use error::SshError;
pub use host::{SshConnector, SshHost};
pub use host_key::{HostKeyVerdict, Trust};
pub use keywords::{Handling, KEYWORDS, handling};
pub use known_hosts::{KnownHosts, fingerprint};
pub use openssh::{arguments, client_options};
pub use record::{Names, Vouched, append, keep};
pub use revoked::Revoked;
pub use swarm_core::host::{BoxStream, ByteStream, Command, Host, HostError, HostProbe, Output};
pub use swarm_core::spec::{HostKeyPolicy, Jump, SshClient, SshSpec};
