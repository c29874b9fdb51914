//! A change of the swarm has ended when a manager shows it, not when the call was answered.

use super::effect::Answer;
use super::state::{Outcome, Stage, StepRun, Then, Todo, failed};
use crate::condition::{Condition, Seen};
use crate::plan::Action;
use std::time::Duration;

/// How long managers may take to show a change of the swarm: one that lags behind its leader shows it a moment later.
pub(super) const SHOWN_BUDGET: Duration = Duration::from_secs(20);
/// How often they are asked.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

impl StepRun {
    /// The change was answered well.
    pub(super) fn sent(&self, now: Duration) -> (Stage, Todo) {
        (Stage::Showing { until: now + SHOWN_BUDGET }, Todo::LookSwarm)
    }

    /// A manager showed the swarm, or could not.
    pub(super) fn shown(&self, until: Duration, answer: &Answer, now: Duration) -> (Stage, Todo) {
        let again = (Stage::Pausing { until: now + LOOK_AGAIN, then: Then::LookSwarm { until } }, Todo::Nothing);
        let Action::UpdateSwarm { change } = &self.step.action else { return (self.done(), Todo::Nothing) };
        match answer {
            Answer::SawSwarm(swarm) => match Condition::Swarm(Box::new(change.clone())).unmet(Seen { node: None, swarm: Some(swarm) }) {
                None => (self.done(), Todo::Nothing),
                Some(unmet) if now >= until => (failed(format!("it was changed, and the managers show that {unmet}")), Todo::Nothing),
                Some(_) => again,
            },
            Answer::Failed(error) if now >= until => {
                let message = format!("it was changed, and no manager could be asked whether it shows: {}", error.message);
                (Stage::Ended(Outcome::InDoubt { message }), Todo::Nothing)
            }
            _ => again,
        }
    }
}
