//! The steps of a run and where each is, kept so that an event costs what it touches and not what the plan is long.

use super::families::{FamilyRun, Place};
use crate::id::StepId;
use crate::plan::Plan;
use crate::step::{Action, HEALTH_BUDGET, LAST_WORD, MakeTask, Outcome, Stage, Step, StepRun, Why};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// A step under way: of membership, or of another family.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "they live in one list for as long as the run")]
pub(super) enum Seat {
    Member(StepRun),
    Family(FamilyRun),
}

impl Seat {
    fn new(step: &Step, task: MakeTask<'_>) -> Self {
        match (&step.action, &step.host) {
            (Action::Work(_), _) | (_, None) => Self::Family(FamilyRun::new(step.clone(), task)),
            (_, Some(host)) => Self::Member(StepRun::new(step.clone(), host.clone())),
        }
    }

    pub(super) fn step(&self) -> &Step {
        match self {
            Self::Member(run) => &run.step,
            Self::Family(run) => &run.step,
        }
    }

    pub(super) fn outcome(&self) -> Option<&Outcome> {
        match self {
            Self::Member(run) => run.outcome(),
            Self::Family(run) => run.outcome(),
        }
    }

    fn is_waiting(&self) -> bool {
        match self {
            Self::Member(run) => run.stage == Stage::Waiting,
            Self::Family(run) => matches!(run.place, Place::Waiting),
        }
    }

    fn timer(&self) -> Option<Duration> {
        match self {
            Self::Member(run) => timer(run),
            Self::Family(run) => run.timer(),
        }
    }

    fn is_viewing(&self) -> bool {
        matches!(self, Self::Member(run) if is_viewing(run))
    }

    fn is_established(&self) -> bool {
        matches!(self, Self::Member(run) if is_established(run))
    }

    /// Whether its host enters a swarm by a join.
    fn joins(&self) -> bool {
        matches!(self, Self::Member(run) if run.joins())
    }

    fn end(&mut self, outcome: Outcome) {
        match self {
            Self::Member(run) => run.stage = Stage::Ended(outcome),
            Self::Family(run) => run.place = Place::Ended(outcome),
        }
    }
}

#[derive(Debug)]
pub(super) struct Board {
    steps: Vec<Seat>,
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
    pub(super) fn new(plan: &Plan, task: MakeTask<'_>) -> Self {
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
            steps: plan.steps.iter().map(|step| Seat::new(step, task)).collect(),
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

    /// A step of membership.
    pub(super) fn get(&self, index: usize) -> Option<&StepRun> {
        match self.steps.get(index)? {
            Seat::Member(run) => Some(run),
            Seat::Family(_) => None,
        }
    }

    pub(super) fn is_family(&self, index: usize) -> bool {
        matches!(self.steps.get(index), Some(Seat::Family(_)))
    }

    pub(super) fn id(&self, index: usize) -> Option<StepId> {
        self.steps.get(index).map(|seat| seat.step().id.clone())
    }

    pub(super) fn take_progress(&mut self, index: usize) -> Option<(StepId, String)> {
        match self.steps.get_mut(index)? {
            Seat::Family(run) => Some((run.step.id.clone(), run.progress.take()?)),
            Seat::Member(_) => None,
        }
    }

    pub(super) fn steps(&self) -> &[Seat] {
        &self.steps
    }

    /// Changes a step of membership.
    pub(super) fn change<R>(&mut self, index: usize, change: impl FnOnce(&mut StepRun) -> R) -> Option<R> {
        self.change_seat(index, |seat| match seat {
            Seat::Member(run) => Some(change(run)),
            Seat::Family(_) => None,
        })?
    }

    /// Changes a step of another family.
    pub(super) fn change_family<R>(&mut self, index: usize, change: impl FnOnce(&mut FamilyRun) -> R) -> Option<R> {
        self.change_seat(index, |seat| match seat {
            Seat::Family(run) => Some(change(run)),
            Seat::Member(_) => None,
        })?
    }

    /// Changes a step, and what is known about where it is.
    fn change_seat<R>(&mut self, index: usize, change: impl FnOnce(&mut Seat) -> R) -> Option<R> {
        let run = self.steps.get_mut(index)?;
        let (had_ended, was_established) = (run.outcome().is_some(), run.is_established());
        if let Some(until) = run.timer() {
            self.timers.remove(&(until, index));
        }
        let result = change(run);
        if let Some(until) = run.timer() {
            self.timers.insert((until, index));
        }
        if run.is_viewing() {
            self.viewing.insert(index);
        } else {
            self.viewing.remove(&index);
        }
        let done = run.outcome().map(Outcome::is_done);
        let established = !was_established && run.is_established();
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
            let Some(run) = self.steps.get(index).filter(|seat| seat.is_waiting()) else { continue };
            match self.unmet.get(index) {
                Some(0) => return Some(index),
                Some(1) if run.joins() && self.needs(index).any(Seat::is_established) => {
                    return Some(index);
                }
                _ => {}
            }
            let bad = self.needs(index).find(|n| n.outcome().is_some_and(|o| !o.is_done())).map(|n| n.step().id.clone());
            if let Some(by) = bad {
                self.change_seat(index, |seat| seat.end(Outcome::Blocked { by }));
            }
        }
        None
    }

    fn needs(&self, index: usize) -> impl Iterator<Item = &Seat> {
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
        Some((run.step(), run.outcome()?))
    }
}

/// When a step wants to know that time has passed.
fn timer(run: &StepRun) -> Option<Duration> {
    let (waits, peeks) = match &run.stage {
        Stage::Pausing { until, .. } | Stage::Demoted { until, .. } => (Some(*until), false),
        Stage::Confirming { until } => (Some(*until + LAST_WORD), true),
        Stage::Claiming { since, .. } | Stage::Searching { since, .. } => (Some(*since + HEALTH_BUDGET), false),
        Stage::Calling => (None, true),
        _ => (None, false),
    };
    waits.into_iter().chain(run.peek_at.filter(|_| peeks)).min()
}

/// Whether a step waits for what managers say, or soon will: a joined engine is asked for its id at the same time, and an engine
/// that makes a swarm may answer as its manager before it answers the call.
fn is_viewing(run: &StepRun) -> bool {
    let kind = run.step.action.kind();
    match &run.stage {
        stage if stage.wants_view() => true,
        Stage::Looking(Why::Confirm) => kind.enters(),
        Stage::Calling => kind.makes().is_some() && !run.established,
        _ => false,
    }
}

/// Whether a step that makes a swarm has come so far that others can join.
fn is_established(run: &StepRun) -> bool {
    run.step.action.kind().makes().is_some()
        && (run.established || matches!(run.stage, Stage::Confirming { .. } | Stage::Looking(Why::Confirm)))
}
