//! What a join as a manager that failed may leave behind: a member of raft that will never answer. It is taken out before the next try,
//! by its node id, or there is no next try.

use super::effect::Answer;
use super::state::{Outcome, Stage, StepRun, Then, Todo, failed};
use crate::addr::ip_of;
use crate::advice::Advice;
use crate::engine::{ErrorClass, Reason};
use crate::id::NodeId;
use crate::observe::NodeFacts;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// How long a dead member may take to be out of raft.
const CLEAR_BUDGET: Duration = Duration::from_secs(20);

/// What tells an entry of our own making from all others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Claim {
    /// The ids that the joining host itself reported or that its certificate had.
    pub(super) own: BTreeSet<NodeId>,
    /// The entries that were listed before the call.
    pub(super) before: BTreeSet<NodeId>,
    /// The address that the host advertises.
    pub(super) address: Option<IpAddr>,
}

impl Claim {
    /// The member of raft that our join left: the host said its id; or it has no description, came while the call was under way, and raft has
    /// the host's own address for it. The host's engine is in no swarm when this is asked, so it cannot be a live one.
    fn dead_member<'a>(&self, all: &'a BTreeMap<NodeId, NodeFacts>) -> Option<&'a NodeFacts> {
        all.values().find(|node| {
            let Some(manager) = &node.manager else { return false };
            let nameless = node.hostname.is_empty() && !self.before.contains(&node.id);
            let here = self.address.is_some() && ip_of(&manager.address) == self.address;
            !manager.leader && (self.own.contains(&node.id) || (nameless && here))
        })
    }
}

/// What comes when raft is clear again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum After {
    /// The join is tried again.
    Retry,
    /// The step ends.
    End(Outcome),
    /// A promotion goes on as a join.
    Rejoin,
}

impl StepRun {
    /// The managers' list is there: what this step left in raft is taken out.
    pub(super) fn claimed(&mut self, after: After, all: &BTreeMap<NodeId, NodeFacts>, now: Duration) -> (Stage, Todo) {
        match self.claim.dead_member(all) {
            None => self.after_clearing(after, now),
            Some(node) => {
                let node = node.id.clone();
                (Stage::Demoting { node: node.clone(), until: now + CLEAR_BUDGET, after }, Todo::Demote(node))
            }
        }
    }

    /// Takes a node out of raft, whatever its role is.
    pub(super) fn demote(&mut self, node: NodeId, after: After, now: Duration) -> (Stage, Todo) {
        (Stage::Demoting { node: node.clone(), until: now + CLEAR_BUDGET, after }, Todo::Demote(node))
    }

    pub(super) fn demotion_answered(
        &mut self,
        node: NodeId,
        until: Duration,
        after: After,
        answer: &Answer,
        now: Duration,
    ) -> (Stage, Todo) {
        match answer.failure() {
            None | Some((_, Reason::NotInRaft | Reason::NotFound)) => (Stage::Demoted { node, until, after }, Todo::Nothing),
            Some((class, _)) if class == ErrorClass::Refused || now >= until => {
                let why = match answer {
                    Answer::Failed(error) => error.message.clone(),
                    _ => String::new(),
                };
                self.not_cleared(
                    after,
                    format!("node {node} still counts as a manager ({why}); {}", Advice::RemoveManager { node: node.clone() }),
                )
            }
            Some(_) => {
                let then = Then::Demote { node, until, after };
                (Stage::Pausing { until: now + Duration::from_millis(500), then }, Todo::Nothing)
            }
        }
    }

    /// It is out of raft; its entry goes too, where the managers let it go at once. The others go at the end of the run.
    pub(super) fn taken_out(&mut self, node: NodeId, after: After, all: &BTreeMap<NodeId, NodeFacts>, now: Duration) -> (Stage, Todo) {
        let nameless = all.get(&node).is_some_and(|n| n.hostname.is_empty());
        if nameless && after != After::Rejoin {
            return (Stage::Removing { after }, Todo::Remove(node));
        }
        self.after_clearing(after, now)
    }

    pub(super) fn after_clearing(&mut self, after: After, now: Duration) -> (Stage, Todo) {
        match after {
            After::Retry => {
                let pause = Duration::from_millis(250 << self.attempts.min(5));
                (Stage::Pausing { until: now + pause, then: Then::Call }, Todo::Nothing)
            }
            After::End(outcome) => (Stage::Ended(outcome), Todo::Nothing),
            After::Rejoin => self.joins_again(),
        }
    }

    /// Something of ours is left in raft: nothing is tried again.
    pub(super) fn not_cleared(&mut self, after: After, why: String) -> (Stage, Todo) {
        let message = match after {
            After::End(Outcome::Failed { message } | Outcome::InDoubt { message }) => format!("{message}; {why}"),
            _ => format!("not tried again: {why}"),
        };
        (failed(message), Todo::Nothing)
    }
}
