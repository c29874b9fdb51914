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
    /// The two sides know no common algorithm.
    #[error("SSH: no common algorithm; the host offers {offered}")]
    NoCommonAlgorithm {
        /// Whether it is about host keys.
        host_key: bool,
        /// What the host offers.
        offered: String,
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

/// The error that russh's handler wants: it can be made from russh's own, which must not be part of this crate's interface.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) SshError);

impl From<russh::Error> for Broken {
    fn from(error: russh::Error) -> Self {
        Self(match error {
            russh::Error::NoCommonAlgo { kind, theirs, .. } => {
                SshError::NoCommonAlgorithm { host_key: matches!(kind, russh::AlgorithmKind::Key), offered: theirs.join(", ") }
            }
            other => SshError::Protocol(other.to_string()),
        })
    }
}

impl From<SshError> for Broken {
    fn from(error: SshError) -> Self {
        Self(error)
    }
}
