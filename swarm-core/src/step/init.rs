//! To make the swarm.

use super::effect::{Answer, Call};
use super::kind::{Kind, Voters, Ways, join_at};
use super::state::{Stage, StepRun, Todo, Why};
use crate::engine::{EngineError, InitRequest};
use crate::id::HostName;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Make the swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Init {
    /// How.
    pub request: InitRequest,
}

impl Kind for Init {
    fn verb(&self) -> &str {
        "init"
    }

    fn rank(&self) -> u8 {
        2
    }

    fn sign(&self) -> char {
        '+'
    }

    fn voters(&self) -> Voters {
        Voters::More
    }

    fn makes(&self) -> Option<&InitRequest> {
        Some(&self.request)
    }

    fn enters(&self) -> bool {
        true
    }

    fn leads_at(&self, answer: &Answer) -> Option<String> {
        let leads = match answer {
            Answer::SawHost(swarm) => swarm.control_available,
            answer => *answer == Answer::Done,
        };
        leads.then(|| join_at(self.request.advertise, &self.request.listen))
    }

    fn call(&self, run: &StepRun, _ways: Ways<'_>) -> Option<(HostName, Call)> {
        Some((run.host.clone(), Call::Init(self.request.clone())))
    }

    fn is_decided_by_a_look(&self, _run: &StepRun) -> bool {
        true
    }

    /// A swarm that someone else made there meanwhile is known by its name.
    fn look(&self) -> Call {
        Call::LookMade { name: self.request.name().to_owned() }
    }

    fn answered(&self, run: &mut StepRun, _now: Duration) -> (Stage, Todo) {
        run.established = true;
        (Stage::Looking(Why::Confirm), Todo::Look)
    }

    fn hint(&self, run: &StepRun, error: &EngineError) -> Option<String> {
        super::join::hint(run, error)
    }
}
