//! Faults of single calls, by host, kind and attempt.

use std::collections::BTreeMap;
use std::fmt;
use swarm_core::id::HostName;

/// A call of the [`Engine`](swarm_core::engine::Engine) or [`Host`](swarm_core::host::Host) traits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is the trait's method of that name")]
pub enum CallKind {
    Connect,
    Machine,
    ReadFile,
    Info,
    Cluster,
    Nodes,
    Node,
    UnlockKey,
    ServiceCount,
    JoinToken,
    Init,
    Join,
    Leave,
    Unlock,
    UpdateSwarm,
    UpdateNode,
    RemoveNode,
    ListObjects,
    GetObject,
    CreateObject,
    UpdateObject,
    RemoveObject,
    /// A program on the machine.
    Run,
}

impl CallKind {
    /// Whether the call changes anything.
    pub fn is_mutating(self) -> bool {
        let objects = matches!(self, Self::CreateObject | Self::UpdateObject | Self::RemoveObject);
        objects
            || matches!(
                self,
                Self::Init | Self::Join | Self::Leave | Self::Unlock | Self::UpdateSwarm | Self::UpdateNode | Self::RemoveNode | Self::Run
            )
    }
}

impl fmt::Display for CallKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Connect => "connect",
            Self::Machine => "machine",
            Self::ReadFile => "read-file",
            Self::Info => "info",
            Self::Cluster => "cluster",
            Self::Nodes => "nodes",
            Self::Node => "node",
            Self::UnlockKey => "unlock-key",
            Self::ServiceCount => "services",
            Self::JoinToken => "join-token",
            Self::Init => "init",
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Unlock => "unlock",
            Self::UpdateSwarm => "update-swarm",
            Self::UpdateNode => "update-node",
            Self::RemoveNode => "remove-node",
            Self::ListObjects => "list-objects",
            Self::GetObject => "get-object",
            Self::CreateObject => "create-object",
            Self::UpdateObject => "update-object",
            Self::RemoveObject => "remove-object",
            Self::Run => "run",
        })
    }
}

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallFault {
    /// It never reaches the engine, and the caller knows.
    FailBefore,
    /// The engine does nothing and answers with an error no one has seen before.
    Odd,
    /// The engine does it and answers with an error no one has seen before.
    DoneButFailed,
    /// It is done, and the answer never arrives.
    AnswerLost,
    /// It never reaches the engine, and the caller waits until its own deadline.
    Hang,
    /// It arrives twice; the second answer is the one that is seen.
    Repeated,
    /// It takes ten seconds longer.
    Late,
}

impl CallFault {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::FailBefore, Self::Odd, Self::DoneButFailed, Self::AnswerLost, Self::Hang, Self::Repeated, Self::Late];
}

/// When a fault strikes.
#[derive(Debug, Clone)]
pub struct FaultRule {
    /// On this host; `None` is any.
    pub host: Option<HostName>,
    /// At this call; `None` is any.
    pub call: Option<CallKind>,
    /// After this many that fit have gone well.
    pub skip: u32,
    /// So many times.
    pub times: u32,
    /// What goes wrong.
    pub fault: CallFault,
}

/// Where a tool is cut off at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CrashPoint {
    /// Before it was sent.
    BeforeSend,
    /// It is done, and the tool is gone before the answer comes.
    AnswerLost,
    /// Right after the answer came.
    AfterAnswer,
}

/// The schedule, and what of it came to pass.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) rules: Vec<FaultRule>,
    pub(crate) hits: BTreeMap<(CallKind, CallFault), u64>,
    /// Calls so far.
    pub(crate) calls: u64,
    /// Calls so far that change something.
    pub(crate) mutating: u64,
    pub(crate) crash: Option<(u64, CrashPoint)>,
    pub(crate) crashed: bool,
    /// The tool dropped the call at which it was to be cut off.
    pub(crate) missed: bool,
}

impl Faults {
    /// The number of a new call, and what goes wrong with it.
    pub(crate) fn strike(&mut self, host: &HostName, call: CallKind) -> (u64, Option<CallFault>) {
        self.calls += 1;
        self.mutating += u64::from(call.is_mutating());
        let number = self.calls;
        let fits = |r: &FaultRule| r.host.as_ref().is_none_or(|h| h == host) && r.call.is_none_or(|c| c == call) && r.times > 0;
        let mut struck = None;
        for rule in self.rules.iter_mut().filter(|r| fits(r)) {
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if struck.is_none() {
                rule.times -= 1;
                struck = Some(rule.fault);
            }
        }
        self.rules.retain(|r| r.times > 0);
        if let Some(fault) = struck {
            *self.hits.entry((call, fault)).or_default() += 1;
        }
        (number, struck)
    }

    /// Whether the tool is cut off here.
    pub(crate) fn crashes(&mut self, number: u64, point: CrashPoint) -> bool {
        let now = self.crash == Some((number, point));
        self.crashed |= now;
        now || self.crashed
    }
}
