//! To remove an entry from the node list.

use super::Target;
use super::effect::Call;
use super::kind::{Kind, Voters, Ways};
use super::state::{CONFIRM_BUDGET, Stage, StepRun, Todo};
use crate::id::{HostName, NodeId};
use crate::observe::NodeFacts;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Remove an entry this host left in the node list under an older id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveNode {
    /// The old id.
    pub node: NodeId,
    /// Whether it is still counted as a manager and must be demoted first.
    pub demote: bool,
    /// Whether the operator said that its host is gone for good: then that host is not asked.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub dead: bool,
    /// Whether it is only taken out of raft, and its entry stays: the swarm ends, and an entry counts as down only after some seconds.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub stays: bool,
}

impl Kind for RemoveNode {
    fn verb(&self) -> &str {
        if self.stays { "demote-node" } else { "remove-node" }
    }

    /// A voter that is lost goes before others come.
    fn rank(&self) -> u8 {
        if self.demote { 1 } else { 9 }
    }

    fn target(&self, _host: Option<&HostName>) -> Target {
        Target::Node(self.node.clone())
    }

    fn sign(&self) -> char {
        '-'
    }

    fn voters(&self) -> Voters {
        if self.demote { Voters::Lost } else { Voters::Same }
    }

    fn node(&self) -> Option<&NodeId> {
        Some(&self.node)
    }

    /// A voter has two calls: it is taken out of raft, and then its entry goes.
    fn call(&self, run: &StepRun, ways: Ways<'_>) -> Option<(HostName, Call)> {
        let (node, of) = (self.node.clone(), (!self.dead).then(|| run.host.clone()));
        let call = if self.demote && !run.demoted { Call::TakeBack { node, of } } else { Call::RemoveNode { node, of } };
        Some((ways.manager(&run.step)?, call))
    }

    fn answered(&self, run: &mut StepRun, now: Duration) -> (Stage, Todo) {
        if run.demoted || !self.demote {
            return (run.done(), Todo::Nothing);
        }
        (Stage::Confirming { until: now + CONFIRM_BUDGET }, Todo::Nothing)
    }

    fn is_done_without(&self) -> bool {
        true
    }

    fn unmet(&self, _run: &StepRun, node: Option<&NodeFacts>) -> Option<String> {
        node.filter(|n| n.manager.is_some()).map(|_| "it is still counted as a manager".to_owned())
    }

    fn confirmed(&self, run: &mut StepRun, _until: Duration, now: Duration) -> (Stage, Todo) {
        if self.stays {
            return run.joined(now);
        }
        run.demoted = true;
        run.call(false)
    }
}
