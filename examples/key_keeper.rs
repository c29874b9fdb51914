//! A place of one's own for the unlock key: here a map behind a lock, in your product a vault.
#![allow(clippy::print_stdout, reason = "a program shows its result")]

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use swarm_core::Apply;
use swarm_core::driver::KeyKeeper;
use swarm_core::secret::Secret;
use swarm_sim::World;

#[derive(Default)]
struct Vault {
    /// Every key by its version: an older one may still be needed by a manager that was away as the key changed.
    kept: Mutex<BTreeMap<usize, Secret>>,
}

impl KeyKeeper for Vault {
    fn load(&self) -> Option<Secret> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).last_key_value().map(|(_, key)| key.clone())
    }

    fn ready(&self) -> Result<(), String> {
        // Asked before managers are locked: say here that the vault is sealed, or that this login may not write.
        Ok(())
    }

    fn store(&self, key: &Secret) -> Result<(), String> {
        // Success is reported after this returns: the key must be durable by then.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let version = kept.len();
        kept.insert(version, key.clone());
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = "name: shop
hosts:
  m1: { address: 10.0.0.1, role: manager }
swarm: { autolock: true, unlock_key_file: in-the-vault }
";
    let cluster = swarm_file::parse(file, &|_| None)?.spec;
    let vault = Vault::default();
    swarm_sim::run(async {
        let world = World::of(&cluster, 1);
        let fleet = world.fleet("me");
        let apply = Apply::new(&cluster, &fleet).keys(&vault);
        let (plan, observed) = apply.plan().await?;
        let report = apply.run(&plan, &observed).await;
        println!("{:?}; a key is kept: {}", report.ending, vault.load().is_some());
        Ok(())
    })
}
