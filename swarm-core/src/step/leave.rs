//! To take a host's engine out of whatever it is in.

use super::effect::Call;
use super::kind::{Kind, Ways};
use super::look::goes_on;
use super::state::{DOUBT_BUDGET, Stage, StepRun, Then, Todo, Why, failed};
use crate::engine::{ErrorClass, Force, Reason};
use crate::id::{HostName, NodeId};
use crate::observe::{LocalState, LocalSwarm};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long until its engine is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Take the host's engine out of whatever it is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leave {
    /// Whether the engine may refuse.
    pub force: Force,
    /// The node id it must have; the step fails if it has another.
    pub node: Option<NodeId>,
    /// Whether it leaves only as a manager that names no leader, and stays where it hears one when it is asked.
    #[serde(default)]
    pub leaderless: bool,
}

impl Kind for Leave {
    fn verb(&self) -> &str {
        "leave"
    }

    fn rank(&self) -> u8 {
        0
    }

    fn sign(&self) -> char {
        '-'
    }

    fn call(&self, run: &StepRun, _ways: Ways<'_>) -> Option<(HostName, Call)> {
        Some((run.host.clone(), Call::Leave { force: self.force, node: self.node.clone(), leaderless: self.leaderless }))
    }

    fn is_decided_by_a_look(&self, _run: &StepRun) -> bool {
        true
    }

    fn answered(&self, _run: &mut StepRun, _now: Duration) -> (Stage, Todo) {
        (Stage::Looking(Why::Confirm), Todo::Look)
    }

    /// It has ended when the engine is in no swarm.
    fn looked(&self, run: &mut StepRun, why: Why, swarm: &LocalSwarm, now: Duration) -> (Stage, Todo) {
        if *swarm.state() == LocalState::Inactive {
            return (run.done(), Todo::Nothing);
        }
        match why {
            // Managers have it out of raft, and its own engine has not heard of it: it takes itself for a manager for a moment.
            Why::Doubt { error, .. } if error.reason == Reason::Quorum && now < *run.gated.get_or_insert(now) + DOUBT_BUDGET => {
                (Stage::Pausing { until: now + LOOK_AGAIN, then: Then::Call }, Todo::Nothing)
            }
            Why::Doubt { error, .. } if error.class == ErrorClass::Refused => (failed(run.explain(&error)), Todo::Nothing),
            Why::Doubt { error, since } if now >= since + DOUBT_BUDGET => (failed(run.explain(&error)), Todo::Nothing),
            Why::Doubt { error, since } => {
                (Stage::Pausing { until: now + LOOK_AGAIN, then: Then::Look(Why::Doubt { error, since }) }, Todo::Nothing)
            }
            Why::Confirm => {
                let error = goes_on("the engine left and still shows its swarm");
                let then = Then::Look(Why::Doubt { error, since: now });
                (Stage::Pausing { until: now + Duration::from_millis(200), then }, Todo::Nothing)
            }
        }
    }
}
