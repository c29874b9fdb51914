//! A machine and its engine.

use super::swarm::{ClusterId, HostName, NodeId};
use std::net::IpAddr;
use std::time::Duration;
use swarm_core::addr::InterfaceAddress;
use swarm_core::id::DaemonId;
use swarm_core::spec::Role;

/// What the engine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineState {
    Running,
    /// Its machine runs and the engine does not.
    Stopped,
    /// It is there and answers nothing.
    Frozen,
    /// It was never installed.
    Missing,
}

/// What the operator meets on the way to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Open,
    /// No one answers.
    Silent,
    /// The connection is refused.
    Refused,
    /// The login is refused.
    NoLogin,
    /// The host's key is another than the recorded one.
    KeyChanged,
    /// The login may not use the engine's socket.
    NoPermission,
}

/// An engine's part in a swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Local {
    Inactive,
    Pending,
    Active {
        swarm: usize,
        node: NodeId,
        /// Whether it answers as a manager.
        control: bool,
    },
    Error {
        text: String,
        node: Option<NodeId>,
    },
    Locked {
        swarm: usize,
        node: NodeId,
    },
}

/// The node certificate on its disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
    pub(crate) role: Role,
}

/// How far an installation on a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Installing {
    /// None was begun, or it has ended.
    #[default]
    No,
    /// It ends then.
    Until(Duration),
    /// It was cut off.
    Half,
}

impl Installing {
    /// The host loses its power: what was under way is half done.
    pub(super) fn is_cut_off(&mut self) {
        if matches!(self, Self::Until(_)) {
            *self = Self::Half;
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) name: HostName,
    pub(crate) hostname: String,
    pub(crate) address: IpAddr,
    pub(crate) interfaces: Vec<InterfaceAddress>,
    pub(crate) daemon: DaemonId,
    pub(crate) version: String,
    pub(crate) powered: bool,
    pub(crate) engine: EngineState,
    pub(crate) door: Door,
    pub(crate) local: Local,
    pub(crate) certificate: Option<Certificate>,
    /// Counts restarts of the engine: what was under way before has ended.
    pub(crate) life: u32,
    /// It restarted as a node and has found no manager that has a leader since: engines call it pending until then.
    pub(crate) waking: bool,
    /// Its node failed and was started again by the engine, which calls it `error` from then on.
    pub(crate) stumbled: bool,
    /// Until when the raft log of its last join as a manager has no entry.
    pub(crate) log_from: Duration,
    /// The node as which it died while its log had no entry. It hears its leader from then on, and cannot answer: the peers are in the log,
    /// and a join that has ended is not made again (swarmkit `manager/state/raft/raft.go`, JoinAndStart; seen on engines 20.10).
    pub(crate) mute: Option<NodeId>,
    pub(crate) slow: Duration,
    /// A fifth of its packets are lost.
    pub(crate) lossy: bool,
    pub(crate) disk_full: bool,
    /// There is room for a certificate and none for a raft log.
    pub(crate) disk_low: bool,
    /// Since when it is a manager whose raft log cannot grow: its engine starts the manager again and again, and each time it ends. For a
    /// moment it hears and answers as one, and then no more, while its node goes on. Once there is room it is a manager again (seen on
    /// engine 20.10).
    pub(crate) log_full: Option<Duration>,
    /// Its engine was started since: a join as a manager then gets as far as its host name before it fails (seen on engine 20.10).
    pub(crate) started_on_low: bool,
    /// The manager its engine joined through: a promotion dials it again (moby `daemon/cluster/noderunner.go`, JoinAddr).
    pub(crate) joined_through: Option<IpAddr>,
    /// Until when it waits for an answer of that one.
    pub(crate) dials_until: Option<Duration>,
    /// Seconds its clock is ahead of ours.
    pub(crate) skew: i64,
    /// Someone else listens on 2377.
    pub(crate) port_taken: bool,
    /// 2377 does not let anyone in.
    pub(crate) port_closed: bool,
    pub(crate) live_restore: bool,
    /// How far an installation of an engine is.
    pub(crate) installing: Installing,
    /// Whether anything was done there to make it ready.
    pub(crate) prepared: bool,
}

impl Host {
    /// Whether its engine takes part in anything.
    pub(crate) fn runs(&self) -> bool {
        self.powered && self.engine == EngineState::Running
    }

    /// Whether it holds the state of a swarm, as its manager.
    pub(crate) fn holds(&self, swarm: usize) -> bool {
        match &self.local {
            Local::Active { swarm: of, control: true, .. } | Local::Locked { swarm: of, .. } => *of == swarm,
            _ => false,
        }
    }

    /// Whether it is a manager that has no log.
    pub(crate) fn is_mute(&self) -> bool {
        self.mute.is_some() && self.mute.as_ref() == self.node().map(|(_, node)| node)
    }

    /// Since when it is a manager whose log cannot grow.
    pub(crate) fn stuck_since(&self) -> Option<Duration> {
        self.log_full.filter(|_| matches!(self.local, Local::Active { control: true, .. }))
    }

    /// Whether it is such a manager, and its engine has not just started it.
    pub(crate) fn is_stuck(&self, now: Duration) -> bool {
        self.stuck_since().is_some() && now.as_secs() % 8 != 5
    }

    /// The node it is now, if it is one.
    pub(crate) fn node(&self) -> Option<(usize, &NodeId)> {
        match &self.local {
            Local::Active { swarm, node, .. } => Some((*swarm, node)),
            _ => None,
        }
    }
}
