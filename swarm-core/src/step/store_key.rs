//! To keep the unlock key where the file says.

use super::Target;
use super::effect::Call;
use super::kind::{Kind, Ways};
use super::state::{Stage, StepRun, Todo};
use crate::id::HostName;
use std::time::Duration;

/// Read the unlock key and put it where the file says.
#[derive(Debug)]
pub(super) struct StoreUnlockKey;

impl Kind for StoreUnlockKey {
    fn verb(&self) -> &str {
        "store-key"
    }

    fn rank(&self) -> u8 {
        10
    }

    fn target(&self, _host: Option<&HostName>) -> Target {
        Target::Swarm
    }

    fn call(&self, run: &StepRun, ways: Ways<'_>) -> Option<(HostName, Call)> {
        Some((ways.manager(&run.step)?, Call::StoreUnlockKey))
    }

    fn answered(&self, run: &mut StepRun, _now: Duration) -> (Stage, Todo) {
        (run.done(), Todo::Nothing)
    }
}
