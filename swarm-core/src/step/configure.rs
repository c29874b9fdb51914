//! To change labels and availability of a node.

use super::effect::Call;
use super::kind::{Kind, Ways};
use super::state::{CONFIRM_BUDGET, Stage, StepRun, Todo};
use crate::engine::NodeChange;
use crate::id::HostName;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Change labels and availability of its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configure {
    /// What.
    pub change: NodeChange,
}

impl Kind for Configure {
    fn verb(&self) -> &str {
        "configure"
    }

    fn rank(&self) -> u8 {
        7
    }

    fn call(&self, run: &StepRun, ways: Ways<'_>) -> Option<(HostName, Call)> {
        ways.update(run, self.change.clone())
    }

    fn answered(&self, _run: &mut StepRun, now: Duration) -> (Stage, Todo) {
        (Stage::Confirming { until: now + CONFIRM_BUDGET }, Todo::Nothing)
    }
}
