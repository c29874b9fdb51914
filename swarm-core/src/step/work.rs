//! Steps of families that this crate does not know: data, and what everyone must know of it.

use super::effect::Call;
use super::kind::{Kind, Ways};
use super::state::{Stage, StepRun, Todo};
use super::{Action, Risk, Step, Target};
use crate::id::{HostName, StepId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// What a step of a family is: data, and what the runner must know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// Which family, for example `workload`.
    pub family: String,
    /// The verb, for example `create-service`. It names the kind of step within its family.
    pub verb: String,
    /// What it is about.
    pub target: Target,
    /// What only the family reads. No secret is in it.
    pub data: Value,
}

impl Work {
    /// A step of a plan.
    pub fn step(self, before: impl Into<String>, after: impl Into<String>, because: impl Into<String>, risk: Risk) -> Step {
        let id = match &self.target {
            Target::Object { kind, name } => format!("{kind}/{name}/{}", self.verb),
            other => format!("{other}/{}", self.verb),
        };
        let host = match &self.target {
            Target::Host(host) => Some(host.clone()),
            _ => None,
        };
        Step {
            id: StepId::new(id),
            host,
            action: Action::Work(self),
            before: before.into(),
            after: after.into(),
            needs: Vec::new(),
            expect: None,
            because: because.into(),
            risk,
        }
    }
}

impl Kind for Work {
    fn verb(&self) -> &str {
        &self.verb
    }

    fn rank(&self) -> u8 {
        11
    }

    fn target(&self, _host: Option<&HostName>) -> Target {
        self.target.clone()
    }

    fn sign(&self) -> char {
        match self.verb.split_once('-') {
            Some(("create", _)) => '+',
            Some(("remove", _)) => '-',
            _ => '~',
        }
    }

    /// Its family says what it asks for ([`super::Task`]).
    fn call(&self, _run: &StepRun, _ways: Ways<'_>) -> Option<(HostName, Call)> {
        None
    }

    fn answered(&self, run: &mut StepRun, _now: Duration) -> (Stage, Todo) {
        (run.done(), Todo::Nothing)
    }
}
