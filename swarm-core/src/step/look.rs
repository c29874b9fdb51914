//! What a look at the host's own engine means for a step that acts on it: a call that failed or was lost is decided by what the engine
//! is, never by the error alone.

use super::Kind;
use super::claim::After;
use super::effect::Answer;
use super::outcome::Outcome;
use super::state::{CONFIRM_BUDGET, DOUBT_BUDGET, JOIN_ATTEMPTS, PENDING_BUDGET, Stage, StepRun, Then, Todo, Why, failed};
use crate::engine::{EngineError, ErrorClass, Reason, classify_answer};
use crate::observe::{LocalState, LocalSwarm};
use std::time::Duration;

impl StepRun {
    /// The engine after a call that was to bring it into a swarm.
    pub(super) fn looked_after_entering(&mut self, why: Why, swarm: &LocalSwarm, now: Duration) -> (Stage, Todo) {
        match (swarm.state(), why) {
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
            // An init that fails leaves nothing, and what was answered well is a member: such an engine failed since, as one does whose log cannot
            // grow, and it takes a leave that is not forced, for while its manager is down it does not know that it is one (moby
            // `daemon/cluster/swarm.go`, Init and Leave).
            (LocalState::Error, why) if why == Why::Confirm || self.step.action.kind().makes().is_some() => {
                let said = swarm.error.as_deref().unwrap_or("the engine gives no reason");
                (failed(format!("it is in the swarm, and its engine failed since: {said}")), Todo::Nothing)
            }
            (LocalState::Error, _) => {
                let message = swarm.error.clone().unwrap_or_else(|| "the engine reports an error and no reason".into());
                let (class, reason) = classify_answer(500, &message, true);
                let message = self.explain(&EngineError { doing: "joining the swarm", class, reason, message });
                if self.joins_as_manager() {
                    return (Stage::Claiming { since: now, after: After::Leave { message } }, Todo::Nothing);
                }
                (Stage::Leaving { message }, Todo::Leave)
            }
            (LocalState::Pending, why) => {
                let (error, since) = match why {
                    Why::Doubt { error, since } => (error, since),
                    Why::Confirm => (goes_on("the join goes on in the background"), now),
                };
                if now >= since + PENDING_BUDGET {
                    // What goes on there is not ours: our call did not reach the engine, or it was in a swarm by then.
                    if error.reason == Reason::AlreadyInSwarm || error.class == ErrorClass::Unreachable {
                        return (failed(self.explain(&error)), Todo::Nothing);
                    }
                    // It has a certificate: a member that restarted and looks for its managers says the same.
                    if let Some(node) = &swarm.node {
                        let message = format!("{}; its engine is node {node} and has not found its managers", error.message);
                        return (Stage::Ended(Outcome::InDoubt { message }), Todo::Nothing);
                    }
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

    /// The host's own engine cannot be asked: wait, then the outcome is unknown.
    pub(super) fn look_failed(&self, why: Why, error: &EngineError, now: Duration) -> (Stage, Todo) {
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
            let may_have_left_something = self.joins() && !never_begun;
            let stage = if may_have_left_something { Stage::Searching { since: now, outcome } } else { Stage::Ended(outcome) };
            return (stage, Todo::Nothing);
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
        self.claim.suspected |= self.joins() && matches!(error.class, ErrorClass::Unknown | ErrorClass::Unreachable);
        let again = match error.reason {
            Reason::TokenRejected | Reason::ForeignCa => self.attempts < 2 && error.class == ErrorClass::Conflict,
            Reason::NoSpace => false,
            _ => self.attempts < JOIN_ATTEMPTS && error.class != ErrorClass::Refused,
        };
        if self.joins_as_manager() {
            // Before anything else: what this try left in raft costs the quorum.
            let after = if again { After::Retry } else { After::End(Outcome::Failed { message: self.explain(&error) }) };
            return (Stage::Claiming { since: now, after }, Todo::Nothing);
        }
        if again {
            let pause = Duration::from_millis(250 << self.attempts.min(5));
            return (Stage::Pausing { until: now + pause, then: Then::Call }, Todo::Nothing);
        }
        (failed(self.explain(&error)), Todo::Nothing)
    }

    /// A half-made join was left: it is tried again, or that was the last try.
    pub(super) fn left_a_join(&mut self, message: String, now: Duration) -> (Stage, Todo) {
        if self.joins_as_manager() {
            let after = if self.attempts < JOIN_ATTEMPTS { After::Retry } else { After::End(Outcome::Failed { message }) };
            return (Stage::Claiming { since: now, after }, Todo::Nothing);
        }
        if self.attempts < JOIN_ATTEMPTS {
            return (Stage::Pausing { until: now + Duration::from_millis(500), then: Then::Call }, Todo::Nothing);
        }
        (failed(message), Todo::Nothing)
    }

    /// What is half made was left, or not.
    pub(super) fn left(&mut self, kind: &dyn Kind, message: String, answer: &Answer, now: Duration) -> (Stage, Todo) {
        match answer.failure() {
            None => kind.left(self, message, now),
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
}

/// An engine says nothing of an error, and is not where it is to be yet.
pub(super) fn goes_on(message: &str) -> EngineError {
    EngineError { doing: "waiting", class: ErrorClass::Unknown, reason: Reason::JoinGoesOn, message: message.into() }
}
