//! To change the swarm object. It has ended when a manager shows it, not when the call was answered.

use super::Target;
use super::effect::{Answer, Call};
use super::kind::{Kind, Ways};
use super::outcome::Outcome;
use super::state::{Stage, StepRun, Then, Todo, failed};
use crate::condition::{Condition, Seen};
use crate::engine::SwarmChange;
use crate::id::HostName;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long managers may take to show a change of the swarm: one that lags behind its leader shows it a moment later.
const SHOWN_BUDGET: Duration = Duration::from_secs(20);
/// How often they are asked.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Change the swarm object, through this host or any other manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateSwarm {
    /// What.
    pub change: SwarmChange,
}

impl Kind for UpdateSwarm {
    fn verb(&self) -> &str {
        "update-swarm"
    }

    fn rank(&self) -> u8 {
        3
    }

    fn target(&self, _host: Option<&HostName>) -> Target {
        Target::Swarm
    }

    fn call(&self, run: &StepRun, ways: Ways<'_>) -> Option<(HostName, Call)> {
        Some((ways.manager(&run.step)?, Call::UpdateSwarm(self.change.clone())))
    }

    fn answered(&self, _run: &mut StepRun, now: Duration) -> (Stage, Todo) {
        (Stage::Showing { until: now + SHOWN_BUDGET }, Todo::LookSwarm)
    }

    fn shown(&self, run: &mut StepRun, until: Duration, answer: &Answer, now: Duration) -> (Stage, Todo) {
        let again = (Stage::Pausing { until: now + LOOK_AGAIN, then: Then::LookSwarm { until } }, Todo::Nothing);
        match answer {
            Answer::SawSwarm(swarm) => {
                match Condition::Swarm(Box::new(self.change.clone())).unmet(Seen { node: None, swarm: Some(swarm) }) {
                    None => (run.done(), Todo::Nothing),
                    Some(unmet) if now >= until => (failed(format!("it was changed, and the managers show that {unmet}")), Todo::Nothing),
                    Some(_) => again,
                }
            }
            Answer::Failed(error) if now >= until => {
                let message = format!("it was changed, and no manager could be asked whether it shows: {}", error.message);
                (Stage::Ended(Outcome::InDoubt { message }), Todo::Nothing)
            }
            _ => again,
        }
    }
}
