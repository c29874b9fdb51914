//! To make a manager a worker.

use super::effect::Call;
use super::kind::{Kind, Voters, Ways};
use super::state::{CONFIRM_BUDGET, Stage, StepRun, Todo};
use crate::engine::NodeChange;
use crate::id::HostName;
use crate::spec::Role;
use std::time::Duration;

/// Make the manager a worker.
#[derive(Debug)]
pub(super) struct Demote;

impl Kind for Demote {
    fn verb(&self) -> &str {
        "demote"
    }

    fn rank(&self) -> u8 {
        8
    }

    fn voters(&self) -> Voters {
        Voters::Less
    }

    fn call(&self, run: &StepRun, ways: Ways<'_>) -> Option<(HostName, Call)> {
        ways.update(run, NodeChange { role: Some(Role::Worker), ..NodeChange::default() })
    }

    fn answered(&self, _run: &mut StepRun, now: Duration) -> (Stage, Todo) {
        (Stage::Confirming { until: now + CONFIRM_BUDGET }, Todo::Nothing)
    }
}
