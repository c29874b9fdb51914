//! What a swarm lets its nodes in with: join tokens, the root certificate, the unlock key. Here is what tells one from another; none of them
//! is kept here.

use crate::secret::Secret;
use crate::spec::Role;
use hmac_sha256::Hash;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Something of a swarm that can be replaced by a new one of the same kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The token that lets engines join as workers.
    WorkerToken,
    /// The token that lets engines join as managers.
    ManagerToken,
    /// The key that unlocks managers after a restart.
    UnlockKey,
    /// The root certificate: every node gets a new certificate.
    Root,
}

impl Part {
    /// The token of a role.
    pub fn token(role: Role) -> Self {
        match role {
            Role::Manager => Self::ManagerToken,
            Role::Worker => Self::WorkerToken,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::WorkerToken => "worker token",
            Self::ManagerToken => "manager token",
            Self::UnlockKey => "unlock key",
            Self::Root => "root certificate",
        })
    }
}

/// What a join token says besides its secret: the digest of the root certificate that the joining engine will ask for
/// (swarmkit `ca/config.go`, GenerateJoinToken).
pub fn token_root(token: &Secret) -> Option<&str> {
    token.expose().strip_prefix("SWMTKN-1-")?.split_once('-').map(|(root, _)| root)
}

/// What tells a join token from the one before it: its own secret, without the root that it names.
pub fn token_fingerprint(token: &str) -> String {
    Secret::new(token.rsplit('-').next().unwrap_or(token)).fingerprint()
}

/// What tells one root from another: of its public key, as engines give it (`CertIssuerPublicKey`).
pub fn root_fingerprint(key: &str) -> String {
    Hash::hash(key.trim().as_bytes()).iter().take(8).map(|b| format!("{b:02x}")).collect()
}

/// The digest of a root certificate as join tokens name it: the SHA-256 of its PEM to the base 36, at least 50 characters
/// (swarmkit `ca/config.go`, GenerateJoinToken).
pub fn root_digest(pem: &str) -> String {
    let mut number = Hash::hash(pem.as_bytes());
    let mut digits = Vec::new();
    while digits.len() < 50 || number.iter().any(|b| *b != 0) {
        let mut rest = 0u32;
        for byte in &mut number {
            let value = rest * 256 + u32::from(*byte);
            *byte = u8::try_from(value / 36).unwrap_or(0);
            rest = value % 36;
        }
        digits.push(char::from_digit(rest, 36).unwrap_or('0'));
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_the_root_it_is_for() {
        // From an engine 20.10: its root, and the middle part of the tokens that it gave.
        let pem = include_str!("../tests/data/root.pem");
        let digest = "2rfjduuj34m8sgtzmiewcldipc3uiu9zw3vbdmmh7kn9so19ko";
        assert_eq!(root_digest(pem), digest);
        assert_eq!(token_root(&Secret::new(format!("SWMTKN-1-{digest}-x"))), Some(digest));
        assert_eq!(token_root(&Secret::new("SWMTKN-2-a-b")), None);
        assert_eq!(token_fingerprint("SWMTKN-1-a-c"), token_fingerprint("SWMTKN-1-b-c"));
        assert_ne!(token_fingerprint("SWMTKN-1-a-c"), token_fingerprint("SWMTKN-1-a-d"));
    }

    #[test]
    fn digests_have_fifty_characters() {
        let digests: Vec<String> = (0..40).map(|text| root_digest(&text.to_string())).collect();
        assert!(digests.iter().all(|d| d.len() == 50), "{digests:?}");
        assert!(digests.iter().any(|d| d.starts_with('0')), "small numbers are filled up: {digests:?}");
    }

    #[test]
    fn parts_and_roots_are_named() {
        let part = |part: Part| part.to_string();
        assert_eq!([part(Part::token(Role::Worker)), part(Part::token(Role::Manager))], ["worker token", "manager token"]);
        assert_eq!([part(Part::UnlockKey), part(Part::Root)], ["unlock key", "root certificate"]);
        assert_eq!(root_fingerprint(" key\n"), root_fingerprint("key"));
        assert_ne!(root_fingerprint("key"), root_fingerprint("another"));
        assert!(root_fingerprint("key").len() == 16 && root_fingerprint("key").chars().all(|c| c.is_ascii_hexdigit()));
    }
}
