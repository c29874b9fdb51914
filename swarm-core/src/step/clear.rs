//! What a join as a manager that failed may leave behind: a member of raft that will never answer. It is taken out before the next try,
//! by its node id, or there is no next try.

use super::claim::After;
use super::effect::Answer;
use super::outcome::Outcome;
use super::state::{Stage, StepRun, Then, Todo, failed};
use crate::advice::Advice;
use crate::engine::{ErrorClass, Reason};
use crate::id::NodeId;
use crate::observe::NodeFacts;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a dead member may take to be out of raft.
const CLEAR_BUDGET: Duration = Duration::from_secs(20);

/// How long a node that joins may have no name.
const NAMED_BY: Duration = Duration::from_secs(5);

impl StepRun {
    /// The managers' list is there: what this step left in raft is taken out.
    pub(super) fn claimed(&mut self, after: After, all: &BTreeMap<NodeId, NodeFacts>, now: Duration) -> (Stage, Todo) {
        if let After::Leave { message } = after {
            return match self.claim.live_member(all) {
                // A leave that is not forced takes it, for while its manager is down its engine does not know that it is one.
                Some(node) => {
                    (failed(format!("it is in the swarm, as node {}, and its engine failed since: {message}", node.id)), Todo::Nothing)
                }
                None => (Stage::Leaving { message }, Todo::Leave),
            };
        }
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

    /// The host cannot be asked what it is, so nothing is taken away now. An entry that its join may have left gets the host's name, by which
    /// the next run knows it.
    pub(super) fn marks(&mut self, outcome: Outcome, all: &BTreeMap<NodeId, NodeFacts>) -> (Stage, Todo) {
        match self.claim.nameless(all) {
            Some(node) => (Stage::Marking { outcome }, Todo::Mark(node.id.clone())),
            None => (Stage::Ended(outcome), Todo::Nothing),
        }
    }

    /// The join has ended well. Where an earlier try may have left an entry, it is looked for when whatever lives has its name.
    pub(super) fn joined(&self, now: Duration) -> (Stage, Todo) {
        let (done, since) = (self.done(), now + NAMED_BY);
        match done {
            Stage::Ended(outcome) if self.claim.suspected => (Stage::Searching { since, outcome }, Todo::Nothing),
            done => (done, Todo::Nothing),
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
            After::Leave { message } => (Stage::Leaving { message }, Todo::Leave),
        }
    }

    /// Something of ours is left in raft: nothing is tried again.
    pub(super) fn not_cleared(&mut self, after: After, why: String) -> (Stage, Todo) {
        let message = match after {
            After::End(Outcome::Failed { message } | Outcome::InDoubt { message }) | After::Leave { message } => {
                format!("{message}; {why}")
            }
            _ => format!("not tried again: {why}"),
        };
        (failed(message), Todo::Nothing)
    }
}
