//! What the driver must do now, and the outcome. Effects carry ids, never secrets: the driver fetches a token when it joins.

use super::task::{Ask, Reply};
use crate::engine::{EngineError, ErrorClass, Force, InitRequest, JoinRequest, NodeChange, Reason, SwarmChange};
use crate::id::{HostName, NodeId, StepId};
use crate::observe::{ClusterFacts, LocalSwarm, NodeFacts};
use crate::spec::Role;
use std::net::IpAddr;

/// Names an effect; its answer comes back under the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectId(pub u64);

/// One call to one engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// Its name.
    pub id: EffectId,
    /// Whose engine is called.
    pub host: HostName,
    /// The step it is for; `None` for a look at the whole cluster.
    pub step: Option<StepId>,
    /// What is asked.
    pub call: Call,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Make the swarm.
    Init(InitRequest),
    /// Join it with a token that `via` gives for `role`.
    Join {
        /// The token's role.
        role: Role,
        /// A manager.
        via: HostName,
        /// Everything but the token.
        request: JoinRequest,
        /// Only while every other manager is healthy: the swarm runs already, or a join of this host failed before.
        guarded: bool,
    },
    /// Leave, if the engine's node id is still this one.
    Leave {
        /// Whether the engine may refuse.
        force: Force,
        /// The node id it must have.
        node: Option<NodeId>,
        /// Only while it is a manager that names no leader.
        leaderless: bool,
    },
    /// Read the node, send what it lacks with the version just read.
    UpdateNode {
        /// The node.
        node: NodeId,
        /// What it is to have.
        change: NodeChange,
    },
    /// Take a node out of raft that no host is any more.
    TakeBack {
        /// The node.
        node: NodeId,
        /// The host that it was. It is asked in the same breath: it must not be this node now. `None` where it
        /// is gone for good.
        of: Option<HostName>,
    },
    /// Read the swarm object, send what it lacks with the version just read.
    UpdateSwarm(SwarmChange),
    /// Give the engine the unlock key that is kept.
    Unlock,
    /// Make the engine the only manager of its swarm.
    Recover {
        /// The address other nodes use.
        advertise: IpAddr,
        /// Where it listens.
        listen: String,
    },
    /// Read the unlock key and give it to whoever keeps it.
    StoreUnlockKey,
    /// Remove a node that is down.
    RemoveNode {
        /// The node.
        node: NodeId,
        /// The host that left it behind. It is asked in the same breath: it must not be this node now. `None` where it
        /// is gone for good.
        of: Option<HostName>,
    },
    /// Look at the engine's own part.
    LookHost,
    /// The same after an init: a swarm that someone else made there meanwhile is recognised by its name as not ours.
    LookMade {
        /// The name ours carries.
        name: String,
    },
    /// Look at all nodes of the swarm that an init is making, if it is there already and carries this name.
    LookNew {
        /// The name ours carries.
        name: String,
    },
    /// Look at all nodes.
    LookCluster,
    /// Look at the swarm object.
    LookSwarm,
    /// What a step of a family asks for, side by side.
    Ask(Vec<Ask>),
}

/// The outcome of an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Done,
    /// There was nothing to do.
    AlreadySo,
    /// Not done, or no one knows.
    Failed(EngineError),
    /// The engine's own part.
    SawHost(LocalSwarm),
    /// All nodes.
    SawCluster(Vec<NodeFacts>),
    /// The swarm object.
    SawSwarm(Box<ClusterFacts>),
    /// The replies to everything that a step of a family asked for, in order.
    Replies(Vec<Reply>),
}

impl Answer {
    /// An answer for a call that failed; what was so already is no failure.
    pub fn from_error(error: EngineError) -> Self {
        if error.class == ErrorClass::AlreadySo { Self::AlreadySo } else { Self::Failed(error) }
    }

    /// The failure's reason.
    pub(super) fn failure(&self) -> Option<(ErrorClass, Reason)> {
        match self {
            Self::Failed(error) => Some((error.class, error.reason)),
            _ => None,
        }
    }
}
