//! To make a manager the only one of its swarm.

use super::effect::{Answer, Call};
use super::kind::{Kind, Ways, join_at};
use super::look::goes_on;
use super::state::{PENDING_BUDGET, Stage, StepRun, Then, Todo, Why, failed};
use crate::engine::ErrorClass;
use crate::id::HostName;
use crate::observe::{LocalState, LocalSwarm};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// Make this manager the only one of its swarm, which no longer has a quorum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recover {
    /// The address other nodes use.
    pub advertise: IpAddr,
    /// Where it listens.
    pub listen: String,
}

impl Kind for Recover {
    fn verb(&self) -> &str {
        "recover"
    }

    fn rank(&self) -> u8 {
        2
    }

    fn leads_at(&self, answer: &Answer) -> Option<String> {
        let leads = matches!(answer, Answer::SawHost(swarm) if has_recovered(swarm));
        leads.then(|| join_at(self.advertise, &self.listen))
    }

    fn call(&self, run: &StepRun, _ways: Ways<'_>) -> Option<(HostName, Call)> {
        Some((run.host.clone(), Call::Recover { advertise: self.advertise, listen: self.listen.clone() }))
    }

    fn is_decided_by_a_look(&self, _run: &StepRun) -> bool {
        true
    }

    fn answered(&self, _run: &mut StepRun, _now: Duration) -> (Stage, Todo) {
        (Stage::Looking(Why::Confirm), Todo::Look)
    }

    /// It leads its swarm, or it is said what it is instead. It is never asked twice.
    fn looked(&self, run: &mut StepRun, why: Why, swarm: &LocalSwarm, now: Duration) -> (Stage, Todo) {
        if has_recovered(swarm) {
            run.changed = true;
            return (run.done(), Todo::Nothing);
        }
        let (error, since) = match why {
            Why::Doubt { error, since } => (error, since),
            Why::Confirm => (goes_on("the engine said yes and does not lead its swarm yet"), now),
        };
        if now < since + PENDING_BUDGET && error.class != ErrorClass::Refused {
            let then = Then::Look(Why::Doubt { error, since });
            return (Stage::Pausing { until: now + Duration::from_millis(500), then }, Todo::Nothing);
        }
        let kept = if *swarm.state() == LocalState::Inactive { "; its state is kept: restart its engine to have it as it was" } else { "" };
        (failed(format!("{}{kept}", error.message)), Todo::Nothing)
    }
}

/// Whether a host that is asked to become the only manager has become it, as it says itself.
pub(super) fn has_recovered(swarm: &LocalSwarm) -> bool {
    *swarm.state() == LocalState::Active && swarm.control_available && swarm.cluster.is_some()
}
