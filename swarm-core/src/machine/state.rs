//! One step's life: a single pure function from where it is and what came to where it goes and what is to be done.

use super::effect::Answer;
use crate::engine::{EngineError, ErrorClass, Force, Reason, classify_answer};
use crate::id::StepId;
use crate::observe::{LocalState, LocalSwarm, NodeFacts};
use crate::plan::{Action, Step};
use crate::spec::Role;
use serde::Serialize;
use std::time::Duration;

/// How often a join is tried in one run. Each try that gets past the token check leaves an entry in the node list.
const JOIN_ATTEMPTS: u32 = 3;
/// How often an update is tried again after the object changed under it, or no manager answered.
const UPDATE_ATTEMPTS: u32 = 40;
/// How long a join may go on behind our back. The engine gives up after about 26 s where nothing answers.
const PENDING_BUDGET: Duration = Duration::from_secs(75);
/// How long managers may take to see a joined or promoted node as it shall be.
const CONFIRM_BUDGET: Duration = Duration::from_secs(90);
/// How much longer the managers' last word may take to come.
pub(super) const LAST_WORD: Duration = Duration::from_secs(5);
/// How long an engine that was in doubt is looked at before the doubt is told.
const DOUBT_BUDGET: Duration = Duration::from_secs(20);

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// It is as the step wants it, and managers say so.
    Done {
        /// Whether anything had to be changed.
        changed: bool,
    },
    /// It is not, and why.
    Failed {
        /// In words for people.
        message: String,
    },
    /// The answer was lost, and looking did not settle it.
    InDoubt {
        /// What is known.
        message: String,
    },
    /// It was not begun, because of another step.
    Blocked {
        /// That step.
        by: StepId,
    },
    /// It was not begun, because the run was stopped.
    NotStarted,
}

impl Outcome {
    /// Whether steps that need this one may begin.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done { .. })
    }
}

/// Where a step is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
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
    /// Has ended.
    Ended(Outcome),
}

/// Why a step looks at the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// The call was answered well.
    Confirm,
    /// The call failed or its answer was lost.
    Doubt { error: EngineError, since: Duration },
}

/// What comes after a pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Then {
    Call,
    Look(Why),
}

/// What came.
pub(super) enum Input<'a> {
    /// The steps it needs have ended well.
    Begin,
    /// The answer to what it asked for.
    Answer(&'a Answer),
    /// A manager's list, and this step's node in it.
    View(Option<&'a NodeFacts>),
    /// Time passed.
    Time,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Todo {
    Nothing,
    /// Make the step's call.
    Call,
    /// The same, through another manager than last time.
    CallElsewhere,
    /// Look at the host's engine.
    Look,
    /// Leave without force.
    Leave,
}

/// A step under way.
#[derive(Debug, Clone)]
pub(super) struct StepRun {
    pub(super) step: Step,
    pub(super) stage: Stage,
    pub(super) attempts: u32,
    /// A removal of a lost voter has two calls: demote, then remove.
    pub(super) demoted: bool,
    /// The swarm it makes answers already, though its call has not ended.
    pub(super) established: bool,
    pub(super) changed: bool,
}

impl StepRun {
    pub(super) fn new(step: Step) -> Self {
        Self { step, stage: Stage::Waiting, attempts: 0, demoted: false, established: false, changed: false }
    }

    pub(super) fn outcome(&self) -> Option<&Outcome> {
        match &self.stage {
            Stage::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Whether the step takes the host into the swarm.
    fn enters(&self) -> bool {
        matches!(self.step.action, Action::Init { .. } | Action::Join { .. })
    }

    /// The one function of this module.
    pub(super) fn next(&mut self, input: &Input<'_>, now: Duration) -> Todo {
        let (stage, todo) = match (std::mem::replace(&mut self.stage, Stage::Waiting), input) {
            (Stage::Waiting, Input::Begin) => self.call(false),
            (Stage::Calling, Input::Answer(answer)) => self.called(answer, now),
            (Stage::Looking(why), Input::Answer(answer)) => self.looked(why, answer, now),
            (Stage::Leaving { message }, Input::Answer(answer)) => self.left(message, answer, now),
            (Stage::Pausing { until, then }, _) if now >= until => match then {
                Then::Call => self.call(true),
                Then::Look(why) => (Stage::Looking(why), Todo::Look),
            },
            (Stage::Confirming { until }, Input::View(node)) => self.confirm(until, *node, now),
            (Stage::Confirming { until }, Input::Time) if now >= until + LAST_WORD => {
                (failed(format!("no manager could be asked whether {} is done", self.step.id)), Todo::Nothing)
            }
            // Nothing else moves a step: an answer that nobody waits for is old.
            (same, _) => (same, Todo::Nothing),
        };
        self.stage = stage;
        todo
    }

    fn call(&mut self, elsewhere: bool) -> (Stage, Todo) {
        self.attempts += 1;
        (Stage::Calling, if elsewhere { Todo::CallElsewhere } else { Todo::Call })
    }

    fn called(&mut self, answer: &Answer, now: Duration) -> (Stage, Todo) {
        match answer {
            Answer::Done | Answer::AlreadySo => {
                self.changed |= *answer == Answer::Done;
                self.established |= matches!(self.step.action, Action::Init { .. });
                self.after_call(now)
            }
            Answer::Failed(error) if self.enters() || matches!(self.step.action, Action::Leave { .. }) => self.host_call_failed(error, now),
            Answer::Failed(error) => self.manager_call_failed(error, now),
            Answer::SawHost(_) | Answer::SawCluster(_) => (Stage::Calling, Todo::Nothing),
        }
    }

    fn after_call(&mut self, now: Duration) -> (Stage, Todo) {
        match &self.step.action {
            Action::Init { .. } | Action::Join { .. } | Action::Leave { .. } => (Stage::Looking(Why::Confirm), Todo::Look),
            Action::UpdateSwarm { .. } | Action::StoreUnlockKey => (self.done(), Todo::Nothing),
            Action::RemoveNode { demote, .. } if self.demoted || !*demote => (self.done(), Todo::Nothing),
            Action::Configure { .. } | Action::Promote | Action::Demote | Action::RemoveNode { .. } => {
                (Stage::Confirming { until: now + CONFIRM_BUDGET }, Todo::Nothing)
            }
        }
    }

    fn done(&self) -> Stage {
        Stage::Ended(Outcome::Done { changed: self.changed })
    }

    /// A call to the step's own host failed: its engine is looked at before anything else.
    fn host_call_failed(&mut self, error: &EngineError, now: Duration) -> (Stage, Todo) {
        let why = Why::Doubt { error: error.clone(), since: now };
        (Stage::Looking(why), Todo::Look)
    }

    /// A call through a manager failed. Each such call reads before it writes, so it may be made again through another manager.
    fn manager_call_failed(&mut self, error: &EngineError, now: Duration) -> (Stage, Todo) {
        if error.reason == Reason::NotFound && matches!(self.step.action, Action::RemoveNode { .. }) {
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

    fn looked(&mut self, why: Why, answer: &Answer, now: Duration) -> (Stage, Todo) {
        let swarm = match answer {
            Answer::SawHost(swarm) => swarm,
            Answer::Failed(error) => return Self::look_failed(why, error, now),
            _ => return (Stage::Looking(why), Todo::Nothing),
        };
        if matches!(self.step.action, Action::Leave { .. }) {
            return self.looked_after_leave(why, swarm, now);
        }
        match (&swarm.state, why) {
            // It was not asked to make one, so whatever it is in now is not what was planned.
            (LocalState::Active, Why::Doubt { error, .. }) if error.class == ErrorClass::Refused => (failed(error.message), Todo::Nothing),
            (LocalState::Active, why) if swarm.node.is_some() => {
                if let Why::Doubt { .. } = why {
                    self.changed = true;
                }
                (Stage::Confirming { until: now + CONFIRM_BUDGET }, Todo::Nothing)
            }
            (LocalState::Inactive, Why::Doubt { error, since }) => self.not_in(error, since, now),
            (LocalState::Locked, _) => (failed("the engine is locked and waits for the unlock key".into()), Todo::Nothing),
            (LocalState::Error, _) => {
                let message = swarm.error.clone().unwrap_or_else(|| "the engine reports an error and no reason".into());
                let (class, reason) = classify_answer(500, &message, true);
                let message = self.explain(&EngineError { doing: "joining the swarm", class, reason, message });
                (Stage::Leaving { message }, Todo::Leave)
            }
            (LocalState::Pending, why) => {
                let (error, since) = match why {
                    Why::Doubt { error, since } => (error, since),
                    Why::Confirm => (goes_on("the join goes on in the background"), now),
                };
                if now >= since + PENDING_BUDGET {
                    let message = format!("{} ({})", error.message, swarm.error.clone().unwrap_or_else(|| "no reason given".into()));
                    return (Stage::Leaving { message }, Todo::Leave);
                }
                let then = Then::Look(Why::Doubt { error, since });
                (Stage::Pausing { until: now + Duration::from_millis(300), then }, Todo::Nothing)
            }
            (_, why) => {
                // Answered well, and not there yet: the next look will tell.
                let (error, since) = match why {
                    Why::Doubt { error, since } => (error, since),
                    Why::Confirm => (goes_on("the engine said yes and does not show it"), now),
                };
                if now >= since + DOUBT_BUDGET {
                    return (Stage::Ended(Outcome::InDoubt { message: error.message }), Todo::Nothing);
                }
                (Stage::Pausing { until: now + Duration::from_millis(300), then: Then::Look(Why::Doubt { error, since }) }, Todo::Nothing)
            }
        }
    }

    /// The host's own engine cannot be asked: wait, then tell that nobody knows.
    fn look_failed(why: Why, error: &EngineError, now: Duration) -> (Stage, Todo) {
        if (error.class, error.reason) == (ErrorClass::Refused, Reason::AlreadyInSwarm) {
            return (failed(error.message.clone()), Todo::Nothing);
        }
        let (first, since) = match why {
            Why::Doubt { error, since } => (error, since),
            Why::Confirm => (error.clone(), now),
        };
        if now >= since + DOUBT_BUDGET {
            let never_begun = first.class == ErrorClass::Unreachable;
            let message = if first == *error { first.message } else { format!("{}; then {}", first.message, error.message) };
            let outcome = if never_begun { Outcome::Failed { message } } else { Outcome::InDoubt { message } };
            return (Stage::Ended(outcome), Todo::Nothing);
        }
        (Stage::Pausing { until: now + Duration::from_millis(500), then: Then::Look(Why::Doubt { error: first, since }) }, Todo::Nothing)
    }

    /// The engine is in no swarm after a call that was to bring it into one.
    fn not_in(&mut self, error: EngineError, since: Duration, now: Duration) -> (Stage, Todo) {
        if self.established {
            // Others have joined it, or are about to: a second one beside it is the last thing to make.
            return (failed("the swarm was made, and this host is not in it any more".into()), Todo::Nothing);
        }
        // An init or a join whose answer was lost may not have begun yet: the engine does not stop for a client that went away.
        if error.class == ErrorClass::Unknown && error.reason != Reason::RemoteUnreachable && now < since + Duration::from_secs(3) {
            return (
                Stage::Pausing { until: now + Duration::from_millis(300), then: Then::Look(Why::Doubt { error, since }) },
                Todo::Nothing,
            );
        }
        let again = match error.reason {
            Reason::TokenRejected | Reason::ForeignCa => self.attempts < 2 && error.class == ErrorClass::Conflict,
            _ => self.attempts < JOIN_ATTEMPTS && error.class != ErrorClass::Refused,
        };
        if again {
            let pause = Duration::from_millis(250 << self.attempts.min(5));
            return (Stage::Pausing { until: now + pause, then: Then::Call }, Todo::Nothing);
        }
        (failed(self.explain(&error)), Todo::Nothing)
    }

    fn looked_after_leave(&mut self, why: Why, swarm: &LocalSwarm, now: Duration) -> (Stage, Todo) {
        if swarm.state == LocalState::Inactive {
            return (self.done(), Todo::Nothing);
        }
        match why {
            Why::Doubt { error, .. } if error.class == ErrorClass::Refused => (failed(self.explain(&error)), Todo::Nothing),
            Why::Doubt { error, since } if now >= since + DOUBT_BUDGET => (failed(self.explain(&error)), Todo::Nothing),
            Why::Doubt { error, since } => {
                (Stage::Pausing { until: now + Duration::from_millis(500), then: Then::Look(Why::Doubt { error, since }) }, Todo::Nothing)
            }
            Why::Confirm => {
                let error = goes_on("the engine left and still shows its swarm");
                (
                    Stage::Pausing { until: now + Duration::from_millis(200), then: Then::Look(Why::Doubt { error, since: now }) },
                    Todo::Nothing,
                )
            }
        }
    }

    /// The half-made join was left, or not.
    fn left(&mut self, message: String, answer: &Answer, now: Duration) -> (Stage, Todo) {
        match answer.failure() {
            None if self.attempts < JOIN_ATTEMPTS => {
                (Stage::Pausing { until: now + Duration::from_millis(500), then: Then::Call }, Todo::Nothing)
            }
            None => (failed(message), Todo::Nothing),
            // It ended well after all.
            Some((_, Reason::AlreadyInSwarm)) => {
                self.changed = true;
                (Stage::Looking(Why::Confirm), Todo::Look)
            }
            Some((class, _)) => {
                let text = format!("{message}; the half-made join could not be left");
                let outcome =
                    if class == ErrorClass::Unknown { Outcome::InDoubt { message: text } } else { Outcome::Failed { message: text } };
                (Stage::Ended(outcome), Todo::Nothing)
            }
        }
    }

    fn confirm(&mut self, until: Duration, node: Option<&NodeFacts>, now: Duration) -> (Stage, Todo) {
        let unmet = match &self.step.action {
            // Somebody else removed it meanwhile.
            Action::RemoveNode { .. } if node.is_none() => return (self.done(), Todo::Nothing),
            Action::RemoveNode { .. } => node.filter(|n| n.manager.is_some()).map(|_| "it is still counted as a manager".to_owned()),
            _ => self.step.expect.as_ref().and_then(|c| c.unmet(node)),
        };
        match unmet {
            None if matches!(self.step.action, Action::RemoveNode { .. }) => {
                self.demoted = true;
                self.call(false)
            }
            None => (self.done(), Todo::Nothing),
            Some(why) if now >= until => (failed(why), Todo::Nothing),
            Some(_) => (Stage::Confirming { until }, Todo::Nothing),
        }
    }

    /// The engine's words, and what they usually mean.
    fn explain(&self, error: &EngineError) -> String {
        let joins_as_manager = matches!(self.step.action, Action::Join { role: Role::Manager, .. });
        let hint = match error.reason {
            _ if error.message.contains("not yet valid") => {
                "; the clocks differ: set this host's and the managers' clocks to the same time"
            }
            Reason::DialBack | Reason::NoLeader if joins_as_manager => {
                "; a manager could not reach this host on the address it advertises: open its port 2377/tcp, or correct `advertise`"
            }
            Reason::RemoteUnreachable | Reason::JoinGoesOn => {
                "; this host could not reach the manager: open 2377/tcp on the managers for it"
            }
            Reason::ForeignCa => {
                "; the manager this host reached has another CA than the token: a CA rotation, or another machine on that address"
            }
            Reason::TokenRejected => "; the token was refused: it was rotated meanwhile",
            Reason::AlreadyInSwarm => "; somebody else joined it meanwhile",
            _ => "",
        };
        format!("{}{hint}", error.message)
    }

    /// The force a step leaves with.
    pub(super) fn leave_force(&self) -> Force {
        match self.step.action {
            Action::Leave { force, .. } => force,
            _ => Force::No,
        }
    }
}

fn failed(message: String) -> Stage {
    Stage::Ended(Outcome::Failed { message })
}

fn goes_on(message: &str) -> EngineError {
    EngineError { doing: "waiting", class: ErrorClass::Unknown, reason: Reason::JoinGoesOn, message: message.into() }
}
