//! The steps of a run and where each is, kept so that an event costs what it touches and not what the plan is long.

use super::state::{HEALTH_BUDGET, LAST_WORD, Outcome, Stage, StepRun, Why};
use crate::id::StepId;
use crate::plan::{Action, Plan, Step};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Board {
    steps: Vec<StepRun>,
    /// For each step, those it needs.
    needs: Vec<BTreeSet<usize>>,
    /// For each step, those that need it.
    waiters: Vec<Vec<usize>>,
    /// For each step, how many of its needs have not ended well.
    unmet: Vec<usize>,
    timers: BTreeSet<(Duration, usize)>,
    /// Steps for which managers are asked.
    viewing: BTreeSet<usize>,
    /// Steps that have not ended.
    open: usize,
    /// Steps that ended and were not reported yet.
    ended: VecDeque<usize>,
    /// Steps that may be able to begin.
    candidates: VecDeque<usize>,
}

impl Board {
    pub(super) fn new(plan: &Plan) -> Self {
        let by_id: BTreeMap<&StepId, usize> = plan.steps.iter().enumerate().map(|(index, s)| (&s.id, index)).collect();
        let mut waiters = vec![Vec::new(); plan.steps.len()];
        let needs: Vec<BTreeSet<usize>> =
            plan.steps.iter().map(|step| step.needs.iter().filter_map(|n| by_id.get(n).copied()).collect()).collect();
        for (index, needs) in needs.iter().enumerate() {
            for need in needs {
                if let Some(list) = waiters.get_mut(*need) {
                    list.push(index);
                }
            }
        }
        Self {
            steps: plan.steps.iter().cloned().map(StepRun::new).collect(),
            waiters,
            unmet: needs.iter().map(BTreeSet::len).collect(),
            needs,
            timers: BTreeSet::new(),
            viewing: BTreeSet::new(),
            open: plan.steps.len(),
            ended: VecDeque::new(),
            candidates: (0..plan.steps.len()).collect(),
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<&StepRun> {
        self.steps.get(index)
    }

    pub(super) fn steps(&self) -> &[StepRun] {
        &self.steps
    }

    /// Changes a step, and what is known about where it is.
    pub(super) fn change<R>(&mut self, index: usize, change: impl FnOnce(&mut StepRun) -> R) -> Option<R> {
        let run = self.steps.get_mut(index)?;
        let (had_ended, was_established) = (run.outcome().is_some(), is_established(run));
        if let Some(until) = timer(run) {
            self.timers.remove(&(until, index));
        }
        let result = change(run);
        if let Some(until) = timer(run) {
            self.timers.insert((until, index));
        }
        if is_viewing(run) {
            self.viewing.insert(index);
        } else {
            self.viewing.remove(&index);
        }
        let done = run.outcome().map(Outcome::is_done);
        let established = !was_established && is_established(run);
        if let (false, Some(done)) = (had_ended, done) {
            self.open -= 1;
            self.ended.push_back(index);
            for waiter in self.waiters.get(index).into_iter().flatten() {
                if let (true, Some(unmet)) = (done, self.unmet.get_mut(*waiter)) {
                    *unmet -= 1;
                }
                self.candidates.push_back(*waiter);
            }
        } else if established {
            self.candidates.extend(self.waiters.get(index).into_iter().flatten());
        }
        Some(result)
    }

    /// A step that may begin now, or that never will: then it ends here.
    pub(super) fn next_to_begin(&mut self) -> Option<usize> {
        while let Some(index) = self.candidates.pop_front() {
            let Some(run) = self.steps.get(index).filter(|r| r.stage == Stage::Waiting) else { continue };
            match self.unmet.get(index) {
                Some(0) => return Some(index),
                Some(1) if matches!(run.step.action, Action::Join { .. }) && self.needs(index).any(is_established) => return Some(index),
                _ => {}
            }
            let bad = self.needs(index).find(|n| n.outcome().is_some_and(|o| !o.is_done())).map(|n| n.step.id.clone());
            if let Some(by) = bad {
                self.change(index, |run| run.stage = Stage::Ended(Outcome::Blocked { by }));
            }
        }
        None
    }

    fn needs(&self, index: usize) -> impl Iterator<Item = &StepRun> {
        self.needs.get(index).into_iter().flatten().filter_map(|need| self.steps.get(*need))
    }

    pub(super) fn next_timer(&self) -> Option<Duration> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Steps whose time has come.
    pub(super) fn due(&self, now: Duration) -> Vec<usize> {
        self.timers.iter().take_while(|(at, _)| *at <= now).map(|(_, index)| *index).collect()
    }

    pub(super) fn viewing(&self) -> &BTreeSet<usize> {
        &self.viewing
    }

    pub(super) fn is_over(&self) -> bool {
        self.open == 0
    }

    /// The next step that ended since this was asked last.
    pub(super) fn poll_ended(&mut self) -> Option<(&Step, &Outcome)> {
        let run = self.steps.get(self.ended.pop_front()?)?;
        Some((&run.step, run.outcome()?))
    }
}

/// When a step wants to know that time has passed.
fn timer(run: &StepRun) -> Option<Duration> {
    let (waits, peeks) = match &run.stage {
        Stage::Pausing { until, .. } | Stage::Demoted { until, .. } => (Some(*until), false),
        Stage::Confirming { until } => (Some(*until + LAST_WORD), true),
        Stage::Claiming { since, .. } => (Some(*since + HEALTH_BUDGET), false),
        Stage::Calling => (None, true),
        _ => (None, false),
    };
    waits.into_iter().chain(run.peek_at.filter(|_| peeks)).min()
}

/// Whether a step waits for what managers say, or soon will: a joined engine is asked for its id at the same time, and an engine
/// that makes a swarm may answer as its manager before it answers the call.
fn is_viewing(run: &StepRun) -> bool {
    match (&run.step.action, &run.stage) {
        (_, Stage::Confirming { .. } | Stage::Claiming { .. } | Stage::Demoted { .. })
        | (Action::Init { .. } | Action::Join { .. }, Stage::Looking(Why::Confirm)) => true,
        (Action::Init { .. }, Stage::Calling) => !run.established,
        _ => false,
    }
}

/// Whether a step that makes a swarm has come so far that others can join.
fn is_established(run: &StepRun) -> bool {
    matches!(run.step.action, Action::Init { .. })
        && (run.established || matches!(run.stage, Stage::Confirming { .. } | Stage::Looking(Why::Confirm)))
}
