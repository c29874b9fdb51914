//! To give an engine the unlock key that is kept.

use super::effect::Call;
use super::kind::{Kind, Ways};
use super::state::{Stage, StepRun, Todo};
use crate::id::HostName;
use std::time::Duration;

/// Give the host's engine the unlock key that is kept.
#[derive(Debug)]
pub(super) struct Unlock;

impl Kind for Unlock {
    fn verb(&self) -> &str {
        "unlock"
    }

    fn rank(&self) -> u8 {
        0
    }

    fn call(&self, run: &StepRun, _ways: Ways<'_>) -> Option<(HostName, Call)> {
        Some((run.host.clone(), Call::Unlock))
    }

    fn answered(&self, run: &mut StepRun, _now: Duration) -> (Stage, Todo) {
        (run.done(), Todo::Nothing)
    }
}
