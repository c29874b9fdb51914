//! What is known of hosts without an engine.

use super::watch::Watch;
use super::watches::Watches;
use crate::world::swarm::HostName;
use std::time::Duration;

/// How long it counts that a host was found without an engine.
const COUNTS: Duration = Duration::from_secs(6);

impl Watch {
    /// Whether a host was found without an engine just now: such a host is in no swarm.
    pub(super) fn was_without(&self, host: &HostName, now: Duration) -> bool {
        self.without.get(host).is_some_and(|at| now <= *at + COUNTS)
    }
}

impl Watches {
    /// An operator found no engine on a host.
    pub(crate) fn found_without(&mut self, operator: &str, host: &HostName, now: Duration) {
        if let Some(watch) = self.by_operator.get_mut(operator) {
            watch.without.insert(host.clone(), now);
        }
    }
}
