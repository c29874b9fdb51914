//! What an onlooker may know while a run goes on.

use crate::id::{HostName, StepId};
use crate::machine::Outcome;
use serde::Serialize;

/// Something that just happened. No event holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ProgressEvent {
    /// A look at this many hosts begins.
    InspectStarted {
        /// How many.
        hosts: usize,
    },
    /// A host was looked at.
    HostInspected {
        /// The host.
        host: HostName,
        /// Why its engine could not be asked, if it could not.
        error: Option<String>,
    },
    /// A step of the plan begins.
    StepStarted {
        /// The step.
        step: StepId,
        /// Its host; `None` for an object of the swarm.
        host: Option<HostName>,
        /// What it does.
        verb: String,
    },
    /// A call of a step failed; the step goes on.
    StepTrouble {
        /// The step.
        step: StepId,
        /// Its host; `None` for an object of the swarm.
        host: Option<HostName>,
        /// In words for people.
        message: String,
    },
    /// How far a step is.
    StepProgress {
        /// The step.
        step: StepId,
        /// Its host; `None` for an object of the swarm.
        host: Option<HostName>,
        /// In words for people.
        message: String,
    },
    /// A step ended.
    StepFinished {
        /// The step.
        step: StepId,
        /// Its host; `None` for an object of the swarm.
        host: Option<HostName>,
        /// How.
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// Something is between two states (an election, a join that has not ended, an entry that a failed join left): it is waited for.
    Waiting {
        /// For what.
        what: String,
    },
    /// The fresh look begins.
    VerifyStarted,
    /// What the fresh look found so far.
    VerifyLooked {
        /// How many things do not hold yet.
        findings: usize,
    },
}

/// Receives events. It is called from the run itself, so it should be quick.
pub trait Progress: Send + Sync {
    /// Something happened.
    fn report(&self, event: &ProgressEvent);
}

/// No one looks on.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn report(&self, _event: &ProgressEvent) {}
}
