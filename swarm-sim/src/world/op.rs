//! What an engine carries out beside its answers.

use super::words::Words;
use std::time::Duration;
use swarm_core::engine::{InitRequest, JoinRequest};
use swarm_core::id::{HostName, NodeId};

/// An init or a join that an engine carries out, whether or not anyone waits for it.
#[derive(Debug, Clone)]
pub(crate) struct Op {
    pub(crate) host: HostName,
    pub(super) life: u32,
    pub(crate) began: Duration,
    pub(super) kind: OpKind,
    pub(super) tries: u32,
    pub(super) node: Option<NodeId>,
    pub(super) swarm: Option<usize>,
    /// Its answer to whoever asked.
    pub(crate) answer: Option<Result<(), Words>>,
    pub(crate) next: Duration,
}

#[derive(Debug, Clone)]
pub(super) enum OpKind {
    Init(Box<InitRequest>),
    Join { request: JoinRequest, token: String },
}
