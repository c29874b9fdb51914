//! One step's life: a single pure function from where it is and what came to where it goes and what is to be done.

use super::claim::{After, Claim};
use super::effect::Answer;
use super::outcome::Outcome;
use super::task::Ask;
use super::{Kind, Step};
use crate::advice::Advice;
use crate::engine::{EngineError, ErrorClass, Reason};
use crate::id::{HostName, NodeId};
use crate::observe::NodeFacts;
use crate::observe::is_unhealthy;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often a join is tried in one run. Each try that gets past the token check leaves an entry in the node list.
pub(crate) const JOIN_ATTEMPTS: u32 = 3;
/// How often an update is tried again after the object changed under it, or no manager answered.
const UPDATE_ATTEMPTS: u32 = 40;
/// How long a join may go on behind our back. The engine gives up after about 26 s where nothing answers.
pub(crate) const PENDING_BUDGET: Duration = Duration::from_secs(75);
/// How long managers may take to see a joined or promoted node as it is to be.
pub(crate) const CONFIRM_BUDGET: Duration = Duration::from_secs(90);
/// How much longer the managers' last word may take to come.
pub(crate) const LAST_WORD: Duration = Duration::from_secs(5);
/// How often the engine of a host that joins as a manager is asked for its node id: a join that fails takes it away.
pub(crate) const PEEK_AT_JOIN: Duration = Duration::from_secs(1);
/// How long a change of managers waits for the others to be healthy.
pub(crate) const HEALTH_BUDGET: Duration = Duration::from_secs(20);
/// How long an engine that was in doubt is looked at before the doubt is reported.
pub(crate) const DOUBT_BUDGET: Duration = Duration::from_secs(20);

/// Where a step is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waits for other steps.
    Waiting,
    /// Its call is under way.
    Calling,
    /// Looks at the host's engine.
    Looking(Why),
    /// Waits until a time.
    Pausing { until: Duration, then: Then },
    /// Waits for managers to say what it expects.
    Confirming { until: Duration },
    /// Takes the host out of a join that failed.
    Leaving { message: String },
    /// Waits for a list of the managers that was asked for after `since`, to see what its join left in raft.
    Claiming { since: Duration, after: After },
    /// Takes a node out of raft again: its role is being changed.
    Demoting { node: NodeId, until: Duration, after: After },
    /// Waits for managers to say that the node is out of raft.
    Demoted { node: NodeId, until: Duration, after: After },
    /// Removes the node from the list, if the managers let it go.
    Removing { after: After },
    /// Waits for a list of the managers that was asked for after `since`, to see whether its join left an entry without a name.
    Searching { since: Duration, outcome: Outcome },
    /// Marks that entry.
    Marking { outcome: Outcome },
    /// Asks a manager whether it shows the change of the swarm, at most until a time.
    Showing { until: Duration },
    /// Has ended.
    Ended(Outcome),
}

impl Stage {
    /// Whether it waits for a list of the managers.
    pub(crate) fn wants_view(&self) -> bool {
        matches!(self, Self::Confirming { .. } | Self::Claiming { .. } | Self::Searching { .. } | Self::Demoted { .. })
    }
}

/// Why a step looks at the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// The call was answered well.
    Confirm,
    /// The call failed or its answer was lost.
    Doubt { error: EngineError, since: Duration },
}

/// What comes after a pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Then {
    Call,
    Look(Why),
    LookSwarm { until: Duration },
    Demote { node: NodeId, until: Duration, after: After },
}

/// What came.
pub(crate) enum Input<'a> {
    /// The steps it needs have ended well.
    Begin,
    /// The answer to what it asked for.
    Answer(&'a Answer),
    /// A manager's list, when it was asked for, and this step's node in it.
    View { node: Option<&'a NodeFacts>, all: &'a BTreeMap<NodeId, NodeFacts>, asked: Duration },
    /// The host's engine, looked at beside what the step waits for.
    Peeked(&'a Answer),
    /// Time passed.
    Time,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Todo {
    Nothing,
    /// Make the step's call.
    Call,
    /// The same, through another manager than last time.
    CallElsewhere,
    /// Look at the host's engine.
    Look,
    /// Look at the swarm through a manager.
    LookSwarm,
    /// Leave without force.
    Leave,
    /// Look at the host's engine beside what the step waits for.
    Peek,
    /// Make a node a worker, whichever host it is.
    Demote(NodeId),
    /// Remove a node from the list.
    Remove(NodeId),
    /// Label a node as what the host's join left.
    Mark(NodeId),
    /// Ask for what a family's step wants.
    Ask(Vec<Ask>),
}

/// A step under way.
#[derive(Debug, Clone)]
pub(crate) struct StepRun {
    pub(crate) step: Arc<Step>,
    /// The host that it is about.
    pub(crate) host: HostName,
    pub(crate) stage: Stage,
    pub(crate) attempts: u32,
    /// A removal of a lost voter has two calls: demote, then remove.
    pub(crate) demoted: bool,
    /// The swarm it makes answers already, though its call has not ended.
    pub(crate) established: bool,
    pub(crate) changed: bool,
    /// What tells an entry that a failed join of this step left.
    pub(crate) claim: Claim,
    /// Since when the change waits for other managers to be healthy.
    pub(crate) gated: Option<Duration>,
    /// The manager that it asked last, or joined through.
    pub(crate) via: Option<HostName>,
    /// When to look at the engine of a host that is being promoted.
    pub(crate) peek_at: Option<Duration>,
    /// Whether that engine answers as a manager.
    pub(crate) follows: bool,
    /// Whether managers say of it what they are to say.
    pub(crate) listed: bool,
    /// Since when that engine is in error, and its words.
    pub(crate) trouble: Option<(Duration, String)>,
    /// Another manager that is not healthy, as the last list has it.
    pub(crate) unhealthy: Option<NodeId>,
    /// Why a promotion ends when its host has left.
    pub(crate) gives_up: Option<String>,
    /// How far a promotion is that goes on as a join.
    pub(crate) rejoin: Rejoining,
}

/// How far a promotion is that goes on as a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rejoining {
    /// It does not.
    No,
    /// The host joins as a manager.
    Joins,
    /// It has joined, and its new node gets the labels of the old one.
    Dresses,
}

impl StepRun {
    pub(crate) fn new(step: Step, host: HostName) -> Self {
        Self {
            step: Arc::new(step),
            host,
            stage: Stage::Waiting,
            attempts: 0,
            demoted: false,
            established: false,
            changed: false,
            claim: Claim::default(),
            gated: None,
            via: None,
            peek_at: None,
            follows: false,
            listed: false,
            trouble: None,
            unhealthy: None,
            gives_up: None,
            rejoin: Rejoining::No,
        }
    }

    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        match &self.stage {
            Stage::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Whether the step makes its host a node by a join.
    pub(crate) fn joins(&self) -> bool {
        self.step.action.kind().joins(self)
    }

    /// Whether the step makes its host a manager by a join.
    pub(crate) fn joins_as_manager(&self) -> bool {
        self.step.action.kind().joins_as_manager(self)
    }

    /// The one function of this module.
    pub(crate) fn next(&mut self, input: &Input<'_>, now: Duration) -> Todo {
        let step = Arc::clone(&self.step);
        let kind = step.action.kind();
        let (stage, todo) = match (std::mem::replace(&mut self.stage, Stage::Waiting), input) {
            (Stage::Waiting, Input::Begin) => self.call(false),
            (Stage::Calling, Input::Answer(Answer::Failed(error))) if waits_for_health(error) => self.wait_for_health(error, now),
            (Stage::Calling, Input::Answer(answer)) => self.called(kind, answer, now),
            (Stage::Looking(why), Input::Answer(Answer::SawHost(swarm))) => kind.looked(self, why, swarm, now),
            (Stage::Looking(why), Input::Answer(Answer::Failed(error))) => self.look_failed(why, error, now),
            (Stage::Showing { until }, Input::Answer(answer)) => kind.shown(self, until, answer, now),
            (Stage::Leaving { message }, Input::Answer(answer)) => self.left(kind, message, answer, now),
            (Stage::Pausing { until, then }, _) if now >= until => match then {
                Then::Call => self.call(true),
                Then::Look(why) => (Stage::Looking(why), Todo::Look),
                Then::LookSwarm { until } => (Stage::Showing { until }, Todo::LookSwarm),
                Then::Demote { node, until, after } => (Stage::Demoting { node: node.clone(), until, after }, Todo::Demote(node)),
            },
            (Stage::Confirming { until }, Input::View { node, all, .. }) => {
                let own = self.claim.own.first();
                self.unhealthy = all.values().find(|n| is_unhealthy(n) && Some(&n.id) != own).map(|n| n.id.clone());
                self.confirm(kind, until, *node, now)
            }
            (Stage::Confirming { until }, Input::Peeked(answer)) => kind.peeked(self, until, answer, now),
            (Stage::Calling, Input::Peeked(_)) => {
                self.peek_at = Some(now + PEEK_AT_JOIN);
                (Stage::Calling, Todo::Nothing)
            }
            (Stage::Confirming { until }, Input::Time) if now >= until + LAST_WORD => {
                (failed(format!("no manager could be asked whether {} is done", self.step.id)), Todo::Nothing)
            }
            (stage @ (Stage::Confirming { .. } | Stage::Calling), Input::Time) if self.peek_at.is_some_and(|at| now >= at) => {
                self.peek_at = None;
                (stage, Todo::Peek)
            }
            (Stage::Claiming { since, after }, Input::View { all, asked, .. }) if *asked >= since => self.claimed(after, all, now),
            (Stage::Claiming { since, after }, Input::Time) if now >= since + HEALTH_BUDGET => {
                self.not_cleared(after, "no manager could be asked what it left in raft".to_owned())
            }
            (Stage::Demoting { node, until, after }, Input::Answer(answer)) => self.demotion_answered(node, until, after, answer, now),
            (Stage::Demoted { node, after, .. }, Input::View { all, .. }) if all.get(&node).is_none_or(|n| n.manager.is_none()) => {
                self.taken_out(node, after, all, now)
            }
            (Stage::Demoted { node, until, after }, Input::Time) if now >= until => {
                self.not_cleared(after, format!("node {node} still counts as a manager"))
            }
            (Stage::Searching { since, outcome }, Input::View { all, asked, .. }) if *asked >= since => self.marks(outcome, all),
            (Stage::Searching { since, outcome }, Input::Time) if now >= since + HEALTH_BUDGET => (Stage::Ended(outcome), Todo::Nothing),
            (Stage::Marking { outcome }, Input::Answer(_)) => (Stage::Ended(outcome), Todo::Nothing),
            (Stage::Removing { after }, Input::Answer(_)) => self.after_clearing(after, now),
            // Nothing else moves a step: an answer that no one waits for is old.
            (same, _) => (same, Todo::Nothing),
        };
        self.stage = stage;
        todo
    }

    pub(crate) fn call(&mut self, elsewhere: bool) -> (Stage, Todo) {
        self.attempts += 1;
        (Stage::Calling, if elsewhere { Todo::CallElsewhere } else { Todo::Call })
    }

    fn called(&mut self, kind: &dyn Kind, answer: &Answer, now: Duration) -> (Stage, Todo) {
        match answer {
            Answer::Done | Answer::AlreadySo => {
                self.changed |= *answer == Answer::Done;
                kind.answered(self, now)
            }
            Answer::Failed(error) if kind.is_decided_by_a_look(self) => {
                (Stage::Looking(Why::Doubt { error: error.clone(), since: now }), Todo::Look)
            }
            Answer::Failed(error) => self.manager_call_failed(error, now),
            Answer::SawHost(_) | Answer::SawCluster(_) | Answer::SawSwarm(_) | Answer::Replies(_) => (Stage::Calling, Todo::Nothing),
        }
    }

    /// Another manager is not healthy: the call was not made, and is made when that has passed.
    fn wait_for_health(&mut self, error: &EngineError, now: Duration) -> (Stage, Todo) {
        let since = *self.gated.get_or_insert(now);
        self.attempts = self.attempts.saturating_sub(1);
        if now >= since + HEALTH_BUDGET {
            return (failed(error.message.clone()), Todo::Nothing);
        }
        (Stage::Pausing { until: now + Duration::from_secs(1), then: Then::Call }, Todo::Nothing)
    }

    pub(crate) fn done(&self) -> Stage {
        Stage::Ended(Outcome::Done { changed: self.changed })
    }

    /// A call through a manager failed. Each such call reads before it writes, so it may be made again through another manager.
    fn manager_call_failed(&mut self, error: &EngineError, now: Duration) -> (Stage, Todo) {
        if error.reason == Reason::NotFound && self.step.action.kind().is_done_without() {
            return (self.done(), Todo::Nothing);
        }
        if error.class == ErrorClass::Refused {
            return (failed(error.to_string()), Todo::Nothing);
        }
        if self.attempts >= UPDATE_ATTEMPTS {
            let stage = if error.class == ErrorClass::Unknown {
                Outcome::InDoubt { message: error.to_string() }
            } else {
                Outcome::Failed { message: error.to_string() }
            };
            return (Stage::Ended(stage), Todo::Nothing);
        }
        let pause = if error.reason == Reason::OutOfSequence { 50 } else { 250 * u64::from(self.attempts.min(8)) };
        (Stage::Pausing { until: now + Duration::from_millis(pause), then: Then::Call }, Todo::Nothing)
    }

    fn confirm(&mut self, kind: &dyn Kind, until: Duration, node: Option<&NodeFacts>, now: Duration) -> (Stage, Todo) {
        // Someone else removed it meanwhile.
        if node.is_none() && kind.is_done_without() {
            return (self.done(), Todo::Nothing);
        }
        match kind.unmet(self, node) {
            None => kind.confirmed(self, until, now),
            Some(why) if now >= until => (failed(self.with_trouble(why)), Todo::Nothing),
            Some(_) => (Stage::Confirming { until }, Todo::Nothing),
        }
    }

    /// The engine's words, and what they usually mean.
    pub(crate) fn explain(&self, error: &EngineError) -> String {
        let hint = match error.reason {
            _ if error.message.contains("not yet valid") => {
                Some("the clocks differ: set this host's and the managers' clocks to the same time".to_owned())
            }
            Reason::NoSpace => Some(Advice::FreeDisk { host: self.host.clone() }.to_string()),
            _ => self.step.action.kind().hint(self, error),
        };
        hint.into_iter().fold(error.message.clone(), |words, hint| format!("{words}; {hint}"))
    }
}

/// Whether a change of managers was not made because another manager is not healthy.
fn waits_for_health(error: &EngineError) -> bool {
    (error.class, error.reason) == (ErrorClass::Conflict, Reason::Unhealthy)
}

pub(crate) fn failed(message: String) -> Stage {
    Stage::Ended(Outcome::Failed { message })
}
