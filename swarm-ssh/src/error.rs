//! What keeps us from a host, layer by layer.

use thiserror::Error;

/// Why there is no session. Each layer of a connection has its own deadline and its own words.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SshError {
    /// The settings cannot be used.
    #[error("{hop}: {message}")]
    Settings {
        /// Which hop.
        hop: String,
        /// What is wrong, and the fix.
        message: String,
    },
    /// The name has no address.
    #[error("{hop}: the name cannot be resolved: {message}")]
    Name {
        /// Which hop.
        hop: String,
        /// Why.
        message: String,
    },
    /// The TCP connection, or the connection through a jump host, was not made.
    #[error("{hop}: cannot connect: {message}")]
    Connect {
        /// Which hop.
        hop: String,
        /// Why.
        message: String,
    },
    /// Nothing that speaks SSH greeted us. sshd closes a connection so when too many knock at once (MaxStartups).
    #[error("{hop}: connected, but no SSH server greeted us: {message}")]
    Banner {
        /// Which hop.
        hop: String,
        /// Why.
        message: String,
    },
    /// The key exchange failed.
    #[error("{hop}: the key exchange failed: {message}")]
    KeyExchange {
        /// Which hop.
        hop: String,
        /// Why.
        message: String,
        /// Whether the two sides know no common algorithm, which stays so.
        no_common_algorithm: bool,
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
    #[error("{hop}: login as {user} {}: {message}", if *refused { "was refused" } else { "failed" })]
    Login {
        /// Which hop.
        hop: String,
        /// As whom.
        user: String,
        /// What was tried, and what to do.
        message: String,
        /// Whether the host refused; otherwise the connection broke, or it took too long.
        refused: bool,
    },
    /// We are in, and no session was opened.
    #[error("{hop}: logged in, but no session could be opened: {message}")]
    Session {
        /// Which hop.
        hop: String,
        /// Why.
        message: String,
    },
}

impl SshError {
    /// Whether the same may work a moment later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Settings { .. } | Self::HostKey { .. } => false,
            Self::Login { refused, .. } => !refused,
            Self::KeyExchange { no_common_algorithm, .. } => !no_common_algorithm,
            Self::Name { .. } | Self::Connect { .. } | Self::Banner { .. } | Self::Session { .. } => true,
        }
    }
}

/// Text of a server or a program, fit to be shown.
pub(crate) fn clean(text: &str) -> String {
    swarm_core::secret::clean(text, 1000)
}

/// The error that russh's handler wants: it can be made from russh's own, which must not be part of this crate's interface.
#[derive(Debug)]
pub(crate) enum Broken {
    /// One of ours.
    Ours(SshError),
    /// One of the library's.
    Library(russh::Error),
}

impl From<russh::Error> for Broken {
    fn from(error: russh::Error) -> Self {
        Self::Library(error)
    }
}

impl From<SshError> for Broken {
    fn from(error: SshError) -> Self {
        Self::Ours(error)
    }
}
