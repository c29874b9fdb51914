//! A machine we reach: run a command on it, open its sockets, put and read files. What it runs is none of its business.

use crate::id::HostName;
use crate::observe::MachineFacts;
use async_trait::async_trait;
use std::fmt;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

/// A two-way byte stream.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A two-way byte stream of any kind.
pub type BoxStream = Box<dyn ByteStream>;

/// A program and its arguments. There is no shell in it: an argument reaches the program as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// What the program reads. It may be a secret, and is shown nowhere.
    pub stdin: Option<Vec<u8>>,
    /// When to give up.
    pub timeout: Duration,
    /// How many bytes of standard output, and of standard error, are taken; more is an error.
    pub output_limit: usize,
    /// Whether it runs as root, where the login is another user that may become root (`sudo: true`).
    pub elevated: bool,
}

impl Command {
    /// A command with a deadline of 30 s and up to 1 MiB of output.
    pub fn new<I: IntoIterator<Item = S>, S: Into<String>>(argv: I) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            stdin: None,
            timeout: Duration::from_secs(30),
            output_limit: 1 << 20,
            elevated: false,
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stdin = self.stdin.as_ref().map(|input| format!("{} bytes", input.len()));
        f.debug_struct("Command")
            .field("argv", &self.argv)
            .field("stdin", &stdin)
            .field("timeout", &self.timeout)
            .field("output_limit", &self.output_limit)
            .field("elevated", &self.elevated)
            .finish()
    }
}

/// What a command left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit status; `None` where a signal ended it. A connection that broke is an error, not a `None`.
    pub status: Option<u32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

/// What failed between us and a host.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HostError {
    /// The host could not be reached or did not let us in. Nothing was done.
    #[error("{message}")]
    Unreachable {
        /// What happened, and what to do.
        message: String,
        /// Whether the same call may work later: false for refused keys and logins.
        retry: bool,
    },
    /// The connection was lost while something was under way. It may have been done.
    #[error("the connection to {host} was lost while {doing}: {message}")]
    Lost {
        /// The host.
        host: HostName,
        /// What we were doing.
        doing: &'static str,
        /// What happened.
        message: String,
    },
    /// The deadline passed. It may have been done.
    #[error("{host} did not finish {doing} within {} s", after.as_secs())]
    TimedOut {
        /// The host.
        host: HostName,
        /// What we were doing.
        doing: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// A socket could not be opened.
    #[error("{message}")]
    NoSocket {
        /// Why, and what to do.
        message: String,
        /// What kind of thing it was.
        kind: crate::observe::ReachErrorKind,
    },
    /// The host answered something else than was asked for.
    #[error("{host}: {message}")]
    Unexpected {
        /// The host.
        host: HostName,
        /// What it answered.
        message: String,
    },
}

/// Looking at a machine: typed facts, one fixed script, files. Nothing here changes it.
#[async_trait]
pub trait HostProbe: Send + Sync {
    /// Which host this is.
    fn name(&self) -> &HostName;

    /// Asks the machine for its addresses and ids.
    async fn machine(&self) -> Result<MachineFacts, HostError>;

    /// Runs one fixed script of a POSIX shell that only looks, and gives what it printed.
    async fn probe(&self, script: &'static str) -> Result<String, HostError>;

    /// Reads a file of at most `limit` bytes.
    async fn read_file(&self, path: &str, limit: usize) -> Result<Vec<u8>, HostError>;
}

/// Acting on a machine: programs with their arguments, byte streams, files.
#[async_trait]
pub trait Host: HostProbe {
    /// Runs a command to its end. A status other than 0 is an answer, not an error.
    async fn run(&self, command: &Command) -> Result<Output, HostError>;

    /// Opens a byte stream to a unix socket of the host.
    async fn open_stream(&self, socket: &str) -> Result<BoxStream, HostError>;

    /// Writes a file at once and whole: a reader sees the old one or the new one.
    async fn put_file(&self, path: &str, mode: u32, content: &[u8]) -> Result<(), HostError>;
}

#[cfg(test)]
mod tests {
    use super::Command;

    #[test]
    fn what_a_program_reads_is_shown_nowhere() {
        let command = Command { stdin: Some(b"SWMKEY-1-secret".to_vec()), ..Command::new(["sh", "-c", "cat"]) };
        let shown = format!("{command:?}");
        assert!(shown.contains("15 bytes") && shown.contains("cat") && !shown.contains("secret"), "{shown}");
    }
}
