//! Steps of other families in a run: one asks, waits, and ends; which manager it asks, and how often, is decided here.

use super::effect::{Answer, Call, Effect};
use super::run::{Flight, Run};
use super::state::{Outcome, Todo};
use super::task::{Ask, Event, MakeTask, Move, Task};
use crate::engine::{EngineError, ErrorClass, Reason};
use crate::id::HostName;
use crate::plan::{Action, Step};
use std::time::Duration;

/// How often a question, or a change that was certainly not made, is asked again.
const TRIES: u32 = 40;

/// Where such a step is.
#[derive(Debug)]
pub(super) enum Place {
    Waiting,
    Asking,
    Pausing { until: Duration, again: bool },
    Ended(Outcome),
}

/// A step of a family under way.
#[derive(Debug)]
pub(super) struct FamilyRun {
    pub(super) step: Step,
    task: Result<Box<dyn Task>, String>,
    pub(super) place: Place,
    asked: Vec<Ask>,
    tries: u32,
    /// Whether a change was asked for.
    pub(super) begun: bool,
    /// What is to be shown.
    pub(super) progress: Option<String>,
}

impl FamilyRun {
    pub(super) fn new(step: Step, task: MakeTask<'_>) -> Self {
        let task = match &step.action {
            Action::Work(work) => task(work),
            _ => Err("it is about no host".to_owned()),
        };
        Self { step, task, place: Place::Waiting, asked: Vec::new(), tries: 0, begun: false, progress: None }
    }

    pub(super) fn outcome(&self) -> Option<&Outcome> {
        match &self.place {
            Place::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }

    pub(super) fn timer(&self) -> Option<Duration> {
        match &self.place {
            Place::Pausing { until, .. } => Some(*until),
            _ => None,
        }
    }

    /// What is to be asked now, if anything.
    fn next(&mut self, event: Event<'_>, now: Duration) -> Vec<Ask> {
        let retry = matches!(self.place, Place::Pausing { again: true, .. });
        match (&self.place, &event) {
            (Place::Waiting, Event::Begin) => {}
            (Place::Pausing { until, .. }, Event::Time) if now >= *until => {}
            (Place::Asking, Event::Answer(answer)) => {
                if let Err(error) = answer
                    && is_retried(error)
                    && !self.asked.iter().any(|ask| matches!(ask, Ask::Distribution { .. } | Ask::Info(_)))
                    && self.tries < TRIES
                {
                    let pause = Duration::from_millis(250 * u64::from(self.tries.min(8)));
                    self.place = Place::Pausing { until: now + pause, again: true };
                    return Vec::new();
                }
            }
            _ => return Vec::new(),
        }
        if retry {
            return self.ask_again();
        }
        let task = match &mut self.task {
            Ok(task) => task,
            Err(why) => {
                self.place = Place::Ended(Outcome::Failed { message: why.clone() });
                return Vec::new();
            }
        };
        match task.next(event, now) {
            Move::Ask(asks) => {
                self.asked = asks;
                self.tries = 0;
                self.ask_again()
            }
            Move::Wait { until, progress } => {
                self.place = Place::Pausing { until: until.max(now + Duration::from_millis(1)), again: false };
                self.progress = progress;
                Vec::new()
            }
            Move::End(outcome) => {
                self.place = Place::Ended(outcome);
                Vec::new()
            }
        }
    }

    fn ask_again(&mut self) -> Vec<Ask> {
        self.tries += 1;
        self.begun |= self.asked.iter().any(Ask::is_mutating);
        self.place = Place::Asking;
        self.asked.clone()
    }

    /// Nothing more is begun. What was not begun is not started; what was is in doubt.
    pub(super) fn stop(&mut self) {
        if self.outcome().is_some() {
            return;
        }
        self.place = Place::Ended(if self.begun {
            Outcome::InDoubt { message: "stopped before it was confirmed".into() }
        } else {
            Outcome::NotStarted
        });
    }
}

/// Nothing was done, and another manager, or the same one later, may do it.
fn is_retried(error: &EngineError) -> bool {
    error.class == ErrorClass::Unreachable
        || matches!((error.class, error.reason), (ErrorClass::Conflict, Reason::NotManager | Reason::NotReady))
}

impl Run {
    /// A step of a family hears something.
    pub(super) fn hear(&mut self, index: usize, event: Event<'_>, now: Duration) {
        let Some(asks) = self.board.change_family(index, |run| run.next(event, now)) else { return };
        if let Some((step, message)) = self.board.take_progress(index) {
            self.progress.push_back((step, message));
        }
        if !asks.is_empty() {
            self.queue.push_back((index, Todo::Ask(asks)));
        }
    }

    /// The effect of what it asks.
    pub(super) fn ask(&mut self, index: usize, asks: Vec<Ask>, now: Duration) -> Option<Effect> {
        let host = match asks.first() {
            Some(Ask::Run { host, .. } | Ask::Info(host)) => Some(host.clone()),
            _ => self.managers.front().map(|(host, _)| host.clone()),
        };
        match host {
            Some(host) => Some(self.emit(host, Flight::Step(index), Call::Ask(asks))),
            None => {
                let message = "no manager is left that could be asked".to_owned();
                self.board.change_family(index, |run| run.place = Place::Ended(Outcome::Failed { message }));
                self.begin_what_can(now);
                None
            }
        }
    }

    /// The answer to it.
    pub(super) fn family_answered(&mut self, index: usize, at: &HostName, answer: &Answer, now: Duration) {
        let answer = match answer {
            Answer::Replies(replies) => Ok(replies.clone()),
            Answer::Failed(error) => {
                if is_retried(error) {
                    self.put_last(at);
                }
                Err(error.clone())
            }
            Answer::Done | Answer::AlreadySo | Answer::SawHost(_) | Answer::SawCluster(_) | Answer::SawSwarm(_) => Ok(Vec::new()),
        };
        if self.stopped {
            let ended = answer.is_err();
            self.board.change_family(index, |run| {
                run.begun |= !ended;
                run.stop();
            });
            return;
        }
        self.hear(index, Event::Answer(&answer), now);
    }
}
