//! What steps of other families ask for in a run, and what they hear: which manager is asked, and how often, is decided here.

use super::families::{Place, is_retried};
use super::run::{Flight, Run};
use crate::id::HostName;
use crate::step::{Answer, Ask, Call, Effect, Event, Outcome, Todo};
use std::time::Duration;

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
