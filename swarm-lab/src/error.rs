//! What can fail in a lab.

use std::path::PathBuf;
use thiserror::Error;

/// What failed, and on which part of the lab.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LabError {
    /// Something the lab needs is not there.
    #[error("the lab needs {}", .0.join("; "))]
    Missing(Vec<String>),
    /// The name cannot be used.
    #[error("`{0}` is not a lab name: use at most 20 of a-z, 0-9 and -")]
    Name(String),
    /// There is one already.
    #[error("the lab `{name}` is up already (in {dir}); `swarm lab down --name {name}` takes it down", dir = .dir.display())]
    Exists {
        /// The lab.
        name: String,
        /// Where its files are.
        dir: PathBuf,
    },
    /// No release has that name, or no service manager.
    #[error(
        "`{0}` is no release of Debian: write its name, for example bookworm, with a service manager bookworm:systemd or bookworm:openrc"
    )]
    Suite(String),
    /// A lab without hosts.
    #[error("a lab needs at least one host: give --managers or --workers a number above 0")]
    NoHosts,
    /// There is none.
    #[error("there is no lab `{0}`; `swarm lab up --name {0}` makes it")]
    NotFound(String),
    /// There is no such host in it.
    #[error("the lab `{lab}` has no host `{host}`; it has {hosts}")]
    NoHost {
        /// The lab.
        lab: String,
        /// What was asked for.
        host: String,
        /// What is there.
        hosts: String,
    },
    /// The host is not running.
    #[error("the host `{0}` is not running; `swarm lab start {0}` starts it")]
    NotRunning(String),
    /// A command failed.
    #[error("`{command}` failed: {message}")]
    Command {
        /// The command.
        command: String,
        /// What it said.
        message: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}", path = .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something did not come up in time.
    #[error("{what} of {host} did not come up within {seconds} s; its log is {log}", log = .log.display())]
    Late {
        /// The host.
        host: String,
        /// What.
        what: &'static str,
        /// How long it was waited for.
        seconds: u64,
        /// Where to look.
        log: PathBuf,
    },
}
