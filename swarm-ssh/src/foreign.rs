//! The parsers of text that someone else wrote, each for its fuzz target.

use std::path::Path;

/// `ssh_config`, by our own reader: how many settings it finds for a host.
pub fn ssh_config(bytes: &[u8], name: &str) -> usize {
    let mut found = Vec::new();
    let _ = crate::answer::certain(bytes, name, Path::new("config"), &mut found);
    found.len()
}

/// A file of revoked keys, as text or as KRL: whether it can be read.
pub fn revoked_keys(bytes: &[u8]) -> bool {
    crate::revoked::Revoked::parse(bytes).is_ok()
}

/// A destination, or an element of ProxyJump: user, address and port.
pub fn destination(text: &str) -> Option<(Option<String>, String, Option<u16>)> {
    crate::config::destination_of(text).map(|d| (d.user, d.address, d.port))
}

/// A private key in the PEM of old, tried with a passphrase: whether it was opened.
pub fn private_key(text: &str, passphrase: &str) -> bool {
    match crate::pem::read(text) {
        crate::pem::Pem::Locked(key) => key.open(&swarm_core::Secret::new(passphrase)).is_some(),
        crate::pem::Pem::Other | crate::pem::Pem::Unknown(_) => false,
    }
}

/// What `ssh -G` prints: how many settings it has.
pub fn ssh_answer(bytes: &[u8]) -> Option<usize> {
    crate::answer::parse(bytes).ok().map(|answer| answer.keys().count())
}
