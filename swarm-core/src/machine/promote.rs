//! A promotion whose engine cannot follow. An engine that becomes a manager dials the manager it once joined through (moby
//! `daemon/cluster/noderunner.go`, JoinAddr); where that one is a manager no more, it stays in error until it is restarted. Such a host
//! leaves and joins again as a manager through a live one.

use super::clear::After;
use super::effect::Answer;
use super::state::{CONFIRM_BUDGET, Outcome, Rejoining, Stage, StepRun, Todo, failed};
use crate::advice::Advice;
use crate::condition::Condition;
use crate::engine::{NodeChange, Reason, classify_answer};
use crate::observe::LocalState;
use crate::plan::Action;
use crate::spec::Role;
use std::time::Duration;

/// How often the engine of a host that is being promoted is looked at.
const PEEK_EVERY: Duration = Duration::from_secs(2);
/// How often, once managers have it as a manager.
const PEEK_SOON: Duration = Duration::from_millis(100);
/// How long an engine may be in error until it counts as stuck: it starts its node again by itself for some seconds.
const STUCK_AFTER: Duration = Duration::from_secs(6);

impl StepRun {
    pub(super) fn is_promotion(&self) -> bool {
        matches!(self.step.action, Action::Promote { .. })
    }

    /// The role was changed, or labels after a join in its place: the managers are asked, and the engine beside them.
    pub(super) fn promoted(&mut self, now: Duration) -> (Stage, Todo) {
        self.peek_at = (self.rejoin == Rejoining::No).then_some(now + PEEK_EVERY);
        (Stage::Confirming { until: now + CONFIRM_BUDGET }, Todo::Nothing)
    }

    /// What managers must say of the node.
    pub(super) fn expected(&self) -> Option<Condition> {
        match (&self.step.action, self.rejoin) {
            (Action::Promote { rejoin }, Rejoining::Joins) => {
                Some(Condition::All(vec![Condition::Ready, Condition::Role(Role::Manager), Condition::Address(rejoin.advertise)]))
            }
            (Action::Promote { rejoin }, Rejoining::Dresses) => {
                let availability = rejoin.node.availability.map(Condition::Availability);
                Some(Condition::All(availability.into_iter().chain([Condition::Labels(rejoin.node.labels.clone())]).collect()))
            }
            _ => self.step.expect.clone(),
        }
    }

    /// The managers have it as a manager. Its engine may still be starting its node again, so it is done when the engine says so too.
    pub(super) fn promotion_listed(&mut self, until: Duration, now: Duration) -> (Stage, Todo) {
        if self.follows {
            return (self.done(), Todo::Nothing);
        }
        if !std::mem::replace(&mut self.listed, true) {
            self.peek_at = self.peek_at.map(|_| now);
        }
        (Stage::Confirming { until }, Todo::Nothing)
    }

    /// The engine was looked at while the managers were asked.
    pub(super) fn peeked(&mut self, until: Duration, answer: &Answer, now: Duration) -> (Stage, Todo) {
        self.peek_at = Some(now + if self.listed { PEEK_SOON } else { PEEK_EVERY });
        let Answer::SawHost(swarm) = answer else { return (Stage::Confirming { until }, Todo::Nothing) };
        if *swarm.state() != LocalState::Error {
            self.trouble = None;
            self.follows |= swarm.manages();
            if self.follows && self.listed {
                return (self.done(), Todo::Nothing);
            }
            return (Stage::Confirming { until }, Todo::Nothing);
        }
        let words = swarm.error.clone().unwrap_or_else(|| "the engine gives no reason".into());
        let since = self.trouble.as_ref().map_or(now, |(since, _)| *since);
        self.trouble = Some((since, words.clone()));
        if now < since + STUCK_AFTER {
            return (Stage::Confirming { until }, Todo::Nothing);
        }
        let advice = match classify_answer(500, &words, true).1 {
            Reason::RemoteUnreachable | Reason::NoLeader | Reason::NotManager | Reason::DialBack => None,
            Reason::NoSpace => Some(Advice::FreeDisk { host: self.host.clone() }),
            _ => Some(Advice::RestartEngine { host: self.host.clone() }),
        };
        if let (None, Some(other)) = (&advice, &self.unhealthy) {
            let why = format!("it does not leave and join again while manager {other} is not reached");
            return (failed(self.with_trouble(why)), Todo::Nothing);
        }
        // The engine goes on trying to be a manager by itself, so it leaves before it is taken out of raft.
        self.gives_up = advice.map(|advice| format!("its engine could not follow: {words}; it left the swarm; {advice}"));
        (Stage::Leaving { message: words }, Todo::Leave)
    }

    /// The host has left: its node is taken out of raft, and then it joins again, or the step ends.
    pub(super) fn left_after_promotion(&mut self, now: Duration) -> (Stage, Todo) {
        self.changed = true;
        let after = match self.gives_up.take() {
            Some(message) => After::End(Outcome::Failed { message }),
            None => After::Rejoin,
        };
        match self.claim.own.first().cloned() {
            Some(node) => self.demote(node, after, now),
            None => self.after_clearing(after, now),
        }
    }

    /// The host has left: from here on the step is a join.
    pub(super) fn joins_again(&mut self) -> (Stage, Todo) {
        self.rejoin = Rejoining::Joins;
        self.changed = true;
        self.attempts = 0;
        self.trouble = None;
        self.call(false)
    }

    /// It has joined: its new node gets what the old one had.
    pub(super) fn dress(&mut self) -> (Stage, Todo) {
        self.rejoin = Rejoining::Dresses;
        match &self.step.action {
            Action::Promote { rejoin } if rejoin.node != NodeChange::default() => self.call(false),
            _ => (self.done(), Todo::Nothing),
        }
    }

    /// What is missing, with what the engine says.
    pub(super) fn with_trouble(&self, why: String) -> String {
        match &self.trouble {
            Some((_, words)) => {
                format!("{why}; its engine is in error: {words}; {}", Advice::RestartEngine { host: self.host.clone() })
            }
            None => why,
        }
    }
}
