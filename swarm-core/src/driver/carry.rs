//! One round: a plan's steps are carried out, whatever is under way at once, until all have ended.

use super::apply::Apply;
use super::inspect::FRESH;
use super::judge::said_to_be_in_none;
use super::perform::Performer;
use super::progress::ProgressEvent;
use super::tokens::Tokens;
use crate::fleet::Fleet;
use crate::id::StepId;
use crate::machine::{Answer, EffectId, Outcome, Run, Start};
use crate::observe::Observed;
use crate::plan::{Action, Plan, Step};
use crate::report::StepReport;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How long calls under way may take to end after a stop.
const GRACE: Duration = Duration::from_secs(5);

impl<F: Fleet> Apply<'_, F> {
    /// Carries the steps out, until a time at most. Gives how each ended, and how many attempts to enter the swarm failed.
    pub(super) async fn carry_out(&self, plan: &Plan, observed: &Observed, until: Instant) -> (Vec<StepReport>, u32) {
        let began = Instant::now();
        let fresh_until = self.looked.lock().ok().and_then(|at| Some((*at)? + FRESH));
        let made_ready = plan.steps.iter().filter(|s| matches!(s.action, Action::Work(_))).filter_map(|s| s.host.clone()).collect();
        let performer = Performer {
            spec: self.spec,
            fleet: self.fleet,
            keys: self.keys,
            payloads: self.payloads,
            tokens: Tokens::new(plan, observed.view().map(|v| v.cluster.id.clone())),
            in_none: said_to_be_in_none(self.spec, observed),
            ask_again: false.into(),
            fresh_until,
            made_ready,
            in_one: Mutex::default(),
            gather: Default::default(),
        };
        let mut run = Run::new(plan, Start::of(observed, self.spec.policy().concurrency), &|work| self.families.task(work));
        if self.stop.is_stopped() {
            run.stop();
        }
        let mut under_way: FuturesUnordered<BoxFuture<'_, (EffectId, StepId, Answer)>> = FuturesUnordered::new();
        let steps: BTreeMap<&StepId, &Step> = plan.steps.iter().map(|s| (&s.id, s)).collect();
        let mut reported: BTreeSet<StepId> = BTreeSet::new();
        let mut troubles: BTreeMap<StepId, String> = BTreeMap::new();
        let mut give_up: Option<Instant> = None;
        loop {
            // In the order of cause: what ended comes before what that lets begin.
            while let Some((step, message)) = run.poll_progress() {
                let host = steps.get(&step).and_then(|s| s.host.clone());
                self.progress.report(&ProgressEvent::StepProgress { step, host, message });
            }
            while let Some((step, outcome)) = run.poll_ended() {
                let (step, host, outcome) = (step.id.clone(), step.host.clone(), outcome.clone());
                self.progress.report(&ProgressEvent::StepFinished { step, host, outcome });
            }
            while let Some(effect) = run.poll_effect(began.elapsed()) {
                if let Some(step) = effect.step.as_ref().and_then(|id| steps.get(id)) {
                    self.tell_started(step, &mut reported);
                }
                let performer = &performer;
                under_way.push(Box::pin(async move {
                    let answer = performer.perform(&effect).await;
                    (effect.id, effect.step.unwrap_or(StepId::new("")), answer)
                }));
            }
            if run.is_over() {
                break;
            }
            let wake = run.poll_timeout().map(|at| began + at);
            let deadline = give_up.unwrap_or(until);
            tokio::select! {
                // In this order: a stop is heard however many answers come in. The same world gives the same run.
                biased;
                () = self.stop.stopped(), if give_up.is_none() => {
                    run.stop();
                    give_up = Some(Instant::now() + GRACE);
                }
                Some((id, step, answer)) = under_way.next(), if !under_way.is_empty() => {
                    // The same trouble is reported once, however often it is met.
                    if let (Answer::Failed(error), Some(step)) = (&answer, steps.get(&step))
                        && troubles.insert(step.id.clone(), error.to_string()).as_ref() != Some(&error.to_string())
                    {
                        let (step, host) = (step.id.clone(), step.host.clone());
                        self.progress.report(&ProgressEvent::StepTrouble { step, host, message: error.to_string() });
                    }
                    run.handle_answer(began.elapsed(), id, &answer);
                }
                () = sleep_until(wake.unwrap_or(deadline).min(deadline)) => {
                    if Instant::now() >= deadline {
                        if give_up.is_some() {
                            run.abandon();
                        } else {
                            run.stop();
                            give_up = Some(Instant::now() + GRACE);
                        }
                    } else {
                        run.handle_timeout(began.elapsed());
                    }
                }
            }
        }
        let steps = run.outcomes().map(|(step, outcome)| StepReport {
            id: step.id.clone(),
            host: step.host.clone(),
            verb: step.action.verb().into(),
            outcome: outcome.cloned().unwrap_or(Outcome::NotStarted),
        });
        (steps.collect(), run.failed_joins())
    }

    fn tell_started(&self, step: &Step, reported: &mut BTreeSet<StepId>) {
        if reported.insert(step.id.clone()) {
            let event = ProgressEvent::StepStarted { step: step.id.clone(), host: step.host.clone(), verb: step.action.verb().into() };
            self.progress.report(&event);
        }
    }
}
