//! That an engine was not reached.

use swarm_core::observe::ReachError;

/// The engine was not reached: nothing was sent.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .0.message)]
pub(crate) struct NotReached(pub(crate) ReachError);
