//! What keeps us from a host.

use thiserror::Error;

/// Why there is no session.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SshError {
    /// The TCP connection, or the connection through a jump host, was not made.
    #[error("{hop}: cannot connect: {message}")]
    Connect {
        /// Which hop.
        hop: String,
        /// Why.
        message: String,
    },
    /// The connection broke while the two sides greeted each other: sshd does so when too many knock at once (MaxStartups).
    #[error("{hop}: the connection broke during the handshake: {message}")]
    Handshake {
        /// Which hop.
        hop: String,
        /// Why.
        message: String,
    },
    /// The host's key was not accepted. Nothing was sent that proves who we are.
    #[error("{hop}: {message}")]
    HostKey {
        /// Which hop.
        hop: String,
        /// Why, and what to do.
        message: String,
    },
    /// The host did not let us in.
    #[error("{hop}: login as {user} was refused: {message}")]
    Login {
        /// Which hop.
        hop: String,
        /// As whom.
        user: String,
        /// What was tried, and what to do.
        message: String,
    },
    /// The settings cannot be used.
    #[error("{hop}: {message}")]
    Settings {
        /// Which hop.
        hop: String,
        /// What is wrong, and the fix.
        message: String,
    },
    /// The SSH protocol failed.
    #[error("SSH: {0}")]
    Protocol(String),
}

impl SshError {
    /// Whether the same may work a moment later.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Handshake { .. } | Self::Protocol(_))
    }
}

impl From<russh::Error> for SshError {
    fn from(error: russh::Error) -> Self {
        Self::Protocol(error.to_string())
    }
}
