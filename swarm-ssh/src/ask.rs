//! Asking a person.

use swarm_core::Secret;

/// Asks a person, where there is one.
pub trait Ask: Send + Sync {
    /// Asks for a secret; `None` if no one can be asked. The question names what it is for.
    fn ask(&self, question: &str) -> Option<Secret>;

    /// Whether there is someone to ask.
    fn can_ask(&self) -> bool {
        false
    }
}

/// No one can be asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPrompt;

impl Ask for NoPrompt {
    fn ask(&self, _question: &str) -> Option<Secret> {
        None
    }
}
