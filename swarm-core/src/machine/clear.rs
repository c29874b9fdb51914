//! What a join as a manager that failed may leave behind: a member of raft that will never answer. It is taken out before the next try,
//! by its node id, or there is no next try.

use super::effect::Answer;
use super::state::{Outcome, Stage, StepRun, Then, Todo, failed};
use crate::addr::ip_of;
use crate::advice::Advice;
use crate::engine::{ErrorClass, Reason};
use crate::id::NodeId;
use crate::observe::{NodeFacts, NodeState};
use crate::spec::JOIN_LABEL;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a dead member may take to be out of raft.
const CLEAR_BUDGET: Duration = Duration::from_secs(20);

/// How long a node that joins may have no name.
const NAMED_BY: Duration = Duration::from_secs(5);

/// What tells an entry of our own making from all others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Claim {
    /// The ids that the joining host itself reported or that its certificate had.
    pub(super) own: BTreeSet<NodeId>,
    /// The entries that were listed before the first call.
    pub(super) before: BTreeSet<NodeId>,
    /// The entries that were listed when the run began.
    pub(super) listed: Arc<BTreeSet<NodeId>>,
    /// Whether a try ended with its answer lost and the engine in no swarm: it may have died in it, and left an entry without a name.
    pub(super) suspected: bool,
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

    /// The manager at the host's own address that reports and that the others hear: a join that had ended well.
    fn live_member<'a>(&self, all: &'a BTreeMap<NodeId, NodeFacts>) -> Option<&'a NodeFacts> {
        all.values().find(|node| {
            let here = node.manager.as_ref().is_some_and(|m| self.address.is_some() && ip_of(&m.address) == self.address);
            here && node.is_reachable_manager() && node.state == NodeState::Ready && !node.hostname.is_empty()
        })
    }

    /// The entry that came while the join was under way and has no host name, no place in raft and no mark: where it is the only one.
    fn nameless<'a>(&self, all: &'a BTreeMap<NodeId, NodeFacts>) -> Option<&'a NodeFacts> {
        let is_new = |n: &&NodeFacts| !self.before.contains(&n.id) && !self.listed.contains(&n.id);
        let is_bare = |n: &&NodeFacts| n.hostname.is_empty() && n.manager.is_none() && !n.labels.contains_key(JOIN_LABEL);
        let mut found = all.values().filter(is_new).filter(is_bare);
        found.next().filter(|_| found.next().is_none())
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
    /// The host leaves, unless managers hear it as one of them.
    Leave {
        /// What its engine says.
        message: String,
    },
}

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
