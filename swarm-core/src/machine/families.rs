//! Steps of other families in a run: one asks, waits, and ends; which manager it asks, and how often, is decided here.

use crate::engine::{EngineError, ErrorClass, Reason};
use crate::step::{Action, Ask, Event, MakeTask, Move, Outcome, Step, Task};
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
    pub(super) fn next(&mut self, event: Event<'_>, now: Duration) -> Vec<Ask> {
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
pub(super) fn is_retried(error: &EngineError) -> bool {
    error.class == ErrorClass::Unreachable
        || matches!((error.class, error.reason), (ErrorClass::Conflict, Reason::NotManager | Reason::NotReady))
}
