//! Steps: what a plan consists of and a run carries out. Each kind of step is one file: its data, its place in a plan, the call that it
//! makes, how long it may take, what its errors usually mean, and what must hold for it to have ended. [`Action`] is the closed list of them.

mod claim;
mod clear;
mod configure;
mod demote;
mod effect;
mod init;
mod join;
mod kind;
mod leave;
mod look;
mod outcome;
mod promote;
mod recover;
mod remove_node;
mod state;
mod store_key;
mod target;
mod task;
mod unlock;
mod update_swarm;
mod work;

pub use configure::Configure;
pub use effect::{Answer, Call, Effect, EffectId};
pub use init::Init;
pub use join::Join;
pub(crate) use kind::{Kind, Voters, Ways};
pub use leave::Leave;
pub use outcome::Outcome;
pub use promote::{Promote, Rejoin};
pub use recover::Recover;
pub use remove_node::RemoveNode;
pub(crate) use state::{HEALTH_BUDGET, Input, LAST_WORD, PEEK_AT_JOIN, Rejoining, Stage, StepRun, Todo, Why};
#[cfg(test)]
pub(crate) use state::{PENDING_BUDGET, Then};
pub use target::Target;
pub use task::{Ask, Event, MakeTask, Move, Reply, Task};
pub use update_swarm::UpdateSwarm;
pub use work::Work;

use crate::condition::Condition;
use crate::id::{HostName, StepId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its id.
    pub id: StepId,
    /// The host it is about; `None` where it is about an object of the swarm.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub host: Option<HostName>,
    /// What to do.
    pub action: Action,
    /// What is there now.
    pub before: String,
    /// What will be there.
    pub after: String,
    /// Steps that must have ended well before.
    pub needs: Vec<StepId>,
    /// What managers must say of the node for the step to have ended.
    pub expect: Option<Condition>,
    /// Why it is in the plan.
    pub because: String,
    /// What it can hurt.
    pub risk: Risk,
}

impl Step {
    /// What the step is about.
    pub fn target(&self) -> Target {
        self.action.kind().target(self.host.as_ref())
    }
}

/// What a step can hurt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// Nothing that runs.
    None,
    /// Where tasks run.
    Tasks,
    /// The quorum while it goes on.
    Quorum,
    /// What is on the host: its containers of that swarm end.
    Host,
    /// The cluster: there may be two swarms of it afterwards.
    Swarm,
}

/// What a step does.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Action {
    /// Make the swarm.
    Init(Init),
    /// Join it.
    Join(Join),
    /// Take the host's engine out of whatever it is in.
    Leave(Leave),
    /// Change labels and availability of its node.
    Configure(Configure),
    /// Make the worker a manager.
    Promote(Promote),
    /// Make the manager a worker.
    Demote,
    /// Change the swarm object, through this host or any other manager.
    UpdateSwarm(UpdateSwarm),
    /// Read the unlock key and put it where the file says.
    StoreUnlockKey,
    /// Give the host's engine the unlock key that is kept.
    Unlock,
    /// Make this manager the only one of its swarm, which no longer has a quorum.
    Recover(Recover),
    /// Remove an entry this host left in the node list under an older id.
    RemoveNode(RemoveNode),
    /// Work of another family.
    Work(Work),
}

/// As its kind writes itself: the name of one is the name of the other.
impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Work(work) => f.debug_tuple("Work").field(work).finish(),
            own => fmt::Debug::fmt(own.kind(), f),
        }
    }
}

impl Action {
    /// The kind of it, which answers for it.
    pub(crate) fn kind(&self) -> &dyn Kind {
        match self {
            Self::Init(init) => init,
            Self::Join(join) => join,
            Self::Leave(leave) => leave,
            Self::Configure(configure) => configure,
            Self::Promote(promote) => promote,
            Self::Demote => &demote::Demote,
            Self::UpdateSwarm(update) => update,
            Self::StoreUnlockKey => &store_key::StoreUnlockKey,
            Self::Unlock => &unlock::Unlock,
            Self::Recover(recover) => recover,
            Self::RemoveNode(remove) => remove,
            Self::Work(work) => work,
        }
    }

    /// One word, as it stands in step ids and tables.
    pub fn verb(&self) -> &str {
        self.kind().verb()
    }
}
