//! Where an unlock key is kept. The rules know its fingerprint only.

use crate::secret::Secret;

/// Keeps the unlock key of a cluster.
pub trait KeyKeeper: Send + Sync {
    /// [`Secret::fingerprint`] of the key that is kept; `None` where there is none, or it cannot be read.
    fn fingerprint(&self) -> Option<String> {
        self.load().as_ref().map(Secret::fingerprint)
    }

    /// The key that is kept; `None` where there is none, or it cannot be read.
    fn load(&self) -> Option<Secret>;

    /// Whether a key could be stored now, found out without storing one: asked before managers are locked.
    ///
    /// # Errors
    /// Why not, for people.
    fn ready(&self) -> Result<(), String>;

    /// Keeps a key, durably: when this returns, a power cut does not lose it. An older key is kept as well.
    ///
    /// # Errors
    /// What went wrong, for people; never the key.
    fn store(&self, key: &Secret) -> Result<(), String>;
}

/// Keeps nothing: for clusters without autolock.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoKeyKeeper;

impl KeyKeeper for NoKeyKeeper {
    fn load(&self) -> Option<Secret> {
        None
    }

    fn ready(&self) -> Result<(), String> {
        Err("this program has no place for the unlock key (Apply::keys)".into())
    }

    fn store(&self, _key: &Secret) -> Result<(), String> {
        self.ready()
    }
}
