//! How a step ended.

use crate::id::StepId;
use serde::Serialize;

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// It is as the step wants it, and managers say so.
    Done {
        /// Whether anything had to be changed.
        changed: bool,
    },
    /// It is not, and why.
    Failed {
        /// In words for people.
        message: String,
    },
    /// The answer was lost, and looking did not settle it.
    InDoubt {
        /// What is known.
        message: String,
    },
    /// The engine stopped the update because tasks failed: some are new, and some are old.
    Paused {
        /// In words for people.
        message: String,
    },
    /// The engine put back what was before the update, because tasks failed.
    RolledBack {
        /// In words for people.
        message: String,
    },
    /// It was not begun, because of another step.
    Blocked {
        /// That step.
        by: StepId,
    },
    /// It was not begun, because the run was stopped.
    NotStarted,
}

impl Outcome {
    /// Whether steps that need this one may begin.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done { .. })
    }
}
