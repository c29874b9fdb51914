//! From a file to a verified cluster: look, plan, carry out, look again.

use super::inspect::{inspect_after, silent as silent_hosts};
use super::judge::{failure, undone};
use super::keys::KeyKeeper;
use super::objects::add_objects;
use super::progress::{Progress, ProgressEvent};
use super::settle::Settling;
use super::stop::Stop;
use crate::engine::{Force, NoPayloads, Payloads, Query};
use crate::family::Families;
use crate::fleet::{Fleet, FleetRead};
use crate::id::HostName;
use crate::intent::{Converge, Destroy, Intent, Next, Scope, SoFar, waits};
use crate::machine::Outcome;
use crate::observe::{Observed, merge};
use crate::plan::{Action, Ledger, LintFinding, Plan, PlanOptions, PlanPurpose, Refusal};
use crate::report::{Report, StepReport};
use crate::spec::ClusterSpec;
use crate::verify::{Finding, FindingKind, Verdict};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;
use thiserror::Error;
use tokio::time::{Instant, sleep};

/// How many rounds a run has at most.
const ROUNDS: u32 = 8;
/// How old an observation may be when work starts; after that, hosts are looked at again first.
const STALE: Duration = Duration::from_secs(30);
/// How long a fresh look may take to find everything in place after the last step.
const SETTLE_BUDGET: Duration = Duration::from_secs(30);

/// Why nothing was done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// Acting could hurt.
    #[error("refused:\n{}", .0.iter().map(|r| format!("- {r}")).collect::<Vec<_>>().join("\n"))]
    Refused(Vec<Refusal>),
    /// The world is not what the plan stands on.
    #[error("the plan is stale; what changed since it was made:\n{}", .0.join("\n"))]
    Stale(Vec<String>),
    /// The plan would break a rule.
    #[error("the plan breaks a rule and is not carried out:\n{}", .0.iter().map(|f| format!("- {f}")).collect::<Vec<_>>().join("\n"))]
    Lint(Vec<LintFinding>),
}

/// A cluster to bring about.
///
/// ```text
/// let apply = Apply::new(&spec, &fleet);
/// let (plan, observed) = apply.plan().await?;      // looks only
/// let report = apply.run(&plan, &observed).await?; // does exactly that, then looks again
/// ```
pub struct Apply<'a, F: Fleet + ?Sized> {
    pub(super) spec: &'a ClusterSpec,
    pub(super) fleet: &'a F,
    options: PlanOptions,
    pub(super) progress: &'a dyn Progress,
    pub(super) keys: &'a dyn KeyKeeper,
    pub(super) stop: Stop,
    pub(super) families: Families<'a>,
    pub(super) payloads: &'a dyn Payloads,
    timeout: Option<Duration>,
    scope: Scope,
    /// When the last look began.
    pub(super) looked: Mutex<Option<Instant>>,
}

impl<'a, F: Fleet> Apply<'a, F> {
    /// With no options and no progress sink. The policy's deadline runs from the start of work.
    pub fn new(spec: &'a ClusterSpec, fleet: &'a F) -> Self {
        Self {
            spec,
            fleet,
            options: PlanOptions::default(),
            progress: &super::NoProgress,
            keys: &super::NoKeyKeeper,
            stop: Stop::default(),
            families: Families::default(),
            payloads: &NoPayloads,
            timeout: None,
            scope: Scope::All,
            looked: Mutex::new(None),
        }
    }

    /// What is allowed and left out. What it says of the unlock key does not count: that is asked of who keeps it.
    #[must_use]
    pub fn options(mut self, options: PlanOptions) -> Self {
        self.options = options;
        self
    }

    /// Who keeps the unlock key.
    #[must_use]
    pub fn keys(mut self, keys: &'a dyn KeyKeeper) -> Self {
        self.keys = keys;
        self
    }

    /// Who looks on.
    #[must_use]
    pub fn progress(mut self, progress: &'a dyn Progress) -> Self {
        self.progress = progress;
        self
    }

    /// What stops it.
    #[must_use]
    pub fn stop(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// The families whose steps plans may hold.
    #[must_use]
    pub fn families(mut self, families: Families<'a>) -> Self {
        self.families = families;
        self
    }

    /// Who gives the data of secrets and configs, and logins to registries.
    #[must_use]
    pub fn payloads(mut self, payloads: &'a dyn Payloads) -> Self {
        self.payloads = payloads;
        self
    }

    /// Which hosts [`Apply::observe`] and [`Apply::observe_objects`] look at. An intent says it itself.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// How long a run may take, instead of what the policy says.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Why the unlock key could not be stored, where the file has one to store.
    fn place_for_key(&self) -> Option<String> {
        self.spec.key_place()?;
        self.keys.ready().err()
    }

    fn looks(&self) {
        if let Ok(mut looked) = self.looked.lock() {
            *looked = Some(Instant::now());
        }
    }

    /// Looks at the hosts of its [scope](Apply::scope), all unless that is narrower, and judges them. What is between two states is looked at again for a while: an election, and a join or an
    /// init that goes on in an engine because its client went away.
    pub async fn observe(&self) -> Observed {
        self.observe_within(self.scope).await
    }

    async fn observe_within(&self, scope: Scope) -> Observed {
        self.observe_while((&[], scope), |observed, so_far| match waits(self.spec, observed, so_far) {
            Some(Next::Waiting { why, budget }) => Err((why, budget)),
            _ => Ok(()),
        })
        .await
        .1
    }

    /// The same, and asks for objects of the swarm.
    pub async fn observe_objects(&self, wants: &[Query]) -> Observed {
        let mut observed = self.observe().await;
        add_objects(self.spec, self.fleet, &mut observed, wants).await;
        observed
    }

    /// Looks until an answer is found. What is waited for is said once.
    async fn observe_while<R>(
        &self,
        (wants, scope): (&[Query], Scope),
        ask: impl Fn(&Observed, SoFar) -> Result<R, (String, Duration)>,
    ) -> (Option<R>, Observed) {
        let fleet: &dyn FleetRead = self.fleet;
        let mut silent = BTreeSet::new();
        let mut progress = self.progress;
        let began = Instant::now();
        let mut pause = Duration::from_millis(100);
        let mut reported = false;
        loop {
            self.looks();
            let observation = inspect_after(self.spec, fleet, progress, &silent, scope).await;
            let mut observed = merge(self.spec, &observation, &self.options.force_leave);
            add_objects(self.spec, fleet, &mut observed, wants).await;
            // Once the budget is used up, the answer is what can be said now.
            match ask(&observed, SoFar { waited: began.elapsed() + pause, ..SoFar::default() }) {
                Ok(answer) => return (Some(answer), observed),
                Err(_) if self.stop.is_stopped() => return (None, observed),
                Err((what, _)) if !std::mem::replace(&mut reported, true) => self.progress.report(&ProgressEvent::Waiting { what }),
                Err(_) => {}
            }
            (silent, progress) = (silent_hosts(&observation), &super::NoProgress);
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    /// Looks and plans; changes nothing.
    ///
    /// # Errors
    /// [`ApplyError::Refused`] with every reason, [`ApplyError::Lint`] if the planner has a bug.
    pub async fn plan(&self) -> Result<(Plan, Observed), ApplyError> {
        self.plan_for(&self.converge()).await
    }

    /// Looks, and plans to take every host that is a member out of the swarm; with force, also out of one that has no leader.
    ///
    /// # Errors
    /// [`ApplyError::Refused`] where it is not known which swarm that would be, [`ApplyError::Lint`] if the planner has a bug.
    pub async fn plan_destroy(&self, force: Force) -> Result<(Plan, Observed), ApplyError> {
        self.plan_for(&Destroy { spec: self.spec, force }).await
    }

    /// The first round of an intent; it may have no steps.
    ///
    /// # Errors
    /// [`ApplyError::Refused`] with every reason, [`ApplyError::Lint`] if a planner has a bug.
    pub async fn plan_for(&self, intent: &dyn Intent) -> Result<(Plan, Observed), ApplyError> {
        let (next, observed) = self
            .observe_while((&intent.wants(), intent.scope()), |observed, so_far| match intent.next(observed, so_far) {
                Next::Waiting { why, budget } => Err((why, budget)),
                next => Ok(next),
            })
            .await;
        let last_word = SoFar { waited: Duration::MAX, ..SoFar::default() };
        match next.unwrap_or_else(|| intent.next(&observed, last_word)) {
            Next::Refused(refusals) => Err(ApplyError::Refused(refusals)),
            Next::Waiting { why, .. } => Err(ApplyError::Stale(vec![format!("  {why}")])),
            Next::Done(plan) | Next::Round(plan) => {
                self.check(&plan, &observed)?;
                Ok((plan, observed))
            }
        }
    }

    /// Looks, and holds a saved plan against what is there now: also the objects that it was made with, which are asked for by these queries.
    ///
    /// # Errors
    /// [`ApplyError::Stale`] with every fact that changed, [`ApplyError::Lint`] if the plan breaks a rule.
    pub async fn recheck(&self, plan: &Plan, wants: &[Query]) -> Result<Observed, ApplyError> {
        let observed = self.observe_objects(wants).await;
        let now = observed.basis();
        let mut changes = plan.basis.differences(&now);
        let of = &self.options;
        if plan.force_leave != of.force_leave || plan.limit != of.limit || plan.init_on != of.init_on {
            changes.push("  the options: a saved plan is carried out with those it was made with".into());
        }
        match crate::plan::fingerprint(self.spec, &now) {
            Err(why) => changes.push(format!("  the file cannot be compared: {why}")),
            Ok(is) if changes.is_empty() && plan.fingerprint != is => changes.push("  the file".into()),
            Ok(_) => {}
        }
        if !changes.is_empty() {
            return Err(ApplyError::Stale(changes));
        }
        self.check(plan, &observed)?;
        Ok(observed)
    }

    fn check(&self, plan: &Plan, observed: &Observed) -> Result<(), ApplyError> {
        let findings = self.families.lint(plan, self.spec, observed, &self.options.force_leave);
        if findings.is_empty() { Ok(()) } else { Err(ApplyError::Lint(findings)) }
    }

    /// Why a plan is not carried out on what was observed: it was made from another observation, or the observation has become old and
    /// hosts are not what they were.
    async fn outdated(&self, intent: &dyn Intent, plan: &Plan, observed: &Observed) -> Vec<String> {
        let mut changes = plan.basis.differences(&observed.basis());
        let old = self.looked.lock().is_ok_and(|at| at.is_some_and(|at| at.elapsed() > STALE));
        if changes.is_empty() && old && !plan.is_empty() && !self.stop.is_stopped() {
            let mut now = self.observe_within(intent.scope()).await;
            add_objects(self.spec, self.fleet, &mut now, &intent.wants()).await;
            changes = plan.basis.differences(&now.basis());
        }
        changes
    }

    /// Carries out a plan that was made from `observed`, then looks again: a plan of [`Apply::plan`] is verified against the file, one of
    /// [`Apply::plan_destroy`] by every host being out. The policy's deadline runs from here.
    ///
    /// What a fresh look shows that is still to do is done too, round by round, as far as it is inside the plan's envelope: what the steps
    /// name, and the removal of what their failed attempts left behind. The rest is named.
    ///
    /// A plan that was made from another observation, or whose facts have changed since, is not carried out: every step of the report is
    /// not started, and its findings say what changed.
    pub async fn run(&self, plan: &Plan, observed: &Observed) -> Report {
        let intent = Destroy { spec: self.spec, force: Force::No };
        match plan.purpose {
            PlanPurpose::Destroy => self.run_fresh(&|| Box::new(intent.clone()), plan, observed).await,
            PlanPurpose::Converge => self.run_fresh(&|| Box::new(self.converge()), plan, observed).await,
            PlanPurpose::Work | PlanPurpose::Remove | PlanPurpose::Recover => {
                Report::outdated(plan, vec!["  its purpose: work of another family is carried out with what it is for (run_for)".into()])
            }
        }
    }

    /// The same for an intent that is made again for every round, where what it knows changes with them.
    pub async fn run_each(&self, intent: &(dyn Fn() -> Box<dyn Intent + 'a> + Sync), plan: &Plan, observed: &Observed) -> Report {
        self.run_fresh(intent, plan, observed).await
    }

    /// The same for a plan that [`Apply::plan_for`] made for an intent of any family.
    pub async fn run_for(&self, intent: &'a dyn Intent, plan: &Plan, observed: &Observed) -> Report {
        self.run_fresh(&|| Box::new(intent), plan, observed).await
    }

    async fn run_fresh(&self, intent: &(dyn Fn() -> Box<dyn Intent + 'a> + Sync), plan: &Plan, observed: &Observed) -> Report {
        let changes = self.outdated(intent().as_ref(), plan, observed).await;
        if !changes.is_empty() {
            return Report::outdated(plan, changes);
        }
        self.run_rounds(intent, plan, observed, Instant::now() + self.timeout.unwrap_or(self.spec.policy().timeout)).await
    }

    /// The intent of [`Apply::plan`], as the unlock key is kept now.
    pub fn converge(&self) -> Converge<'a> {
        let options = PlanOptions { stored_key: self.keys.fingerprint(), no_key_place: self.place_for_key(), ..self.options.clone() };
        Converge { spec: self.spec, options }
    }

    async fn run_rounds(
        &self,
        intent: &(dyn Fn() -> Box<dyn Intent + 'a> + Sync),
        plan: &Plan,
        observed: &Observed,
        deadline: Instant,
    ) -> Report {
        if plan.is_empty() && !self.stop.is_stopped() {
            // Nothing is done, so the look that the plan was made from is the fresh one.
            let verdict = intent().verify(observed);
            if verdict.converged {
                return Report::new(plan, Vec::new(), Some(verdict), false);
            }
        }
        let mut ledger = Ledger::new(&plan.envelope, observed);
        let mut steps: Vec<StepReport> = Vec::new();
        let mut so_far = SoFar::default();
        let mut later: Option<(Plan, Observed)> = None;
        loop {
            let (round, before) = later.as_ref().map_or((plan, observed), |(round, seen)| (round, seen));
            let (ended, failed_joins) = self.carry_out(round, before, deadline).await;
            let begun = |r: &&StepReport| !matches!(r.outcome, Outcome::NotStarted | Outcome::Blocked { .. });
            let by_id = round.by_id();
            ended.iter().filter(begun).filter_map(|r| by_id.get(&r.id)).for_each(|step| ledger.begun(step));
            steps.extend(ended);
            if self.stop.is_stopped() {
                return Report::new(plan, steps, None, true);
            }
            (so_far.rounds, so_far.failed_joins) = (so_far.rounds + 1, so_far.failed_joins + failed_joins);
            if so_far.failed_joins > 0
                && so_far.rounds < ROUNDS
                && let Some(next) = self.round_after(intent().as_ref(), &ledger, before, so_far, deadline).await
            {
                later = Some(next);
                continue;
            }
            let Some((mut verdict, after)) = self.settled(intent, plan, &steps, before, deadline).await else {
                return Report::new(plan, steps, None, true);
            };
            if intent().is_deed() {
                verdict.findings.extend(steps.iter().filter_map(failure));
            }
            if verdict.findings.is_empty()
                && let Next::Round(next) = intent().next(&after, so_far)
            {
                let inside = ledger.inside(&next);
                if !inside.is_empty() && so_far.rounds < ROUNDS && Instant::now() < deadline && self.check(&inside, &after).is_ok() {
                    later = Some((inside, after));
                    continue;
                }
                let left: Vec<&str> = next.steps.iter().map(|s| s.id.as_str()).collect();
                let message = format!("{} is left to do and not part of what was agreed to: run again", left.join(", "));
                verdict.findings.push(Finding { host: None, kind: FindingKind::Left, message });
            }
            verdict.converged = verdict.findings.is_empty();
            return Report::new(plan, steps, Some(verdict), false);
        }
    }

    /// After attempts to enter that failed: the next round, as far as it is inside. It is waited for.
    pub(super) async fn round_after(
        &self,
        intent: &dyn Intent,
        ledger: &Ledger<'_>,
        before: &Observed,
        mut so_far: SoFar,
        deadline: Instant,
    ) -> Option<(Plan, Observed)> {
        let fleet: &dyn FleetRead = self.fleet;
        let began = Instant::now();
        let mut reported = false;
        let mut silent = before.silent();
        loop {
            let mut observed = merge(
                self.spec,
                &inspect_after(self.spec, fleet, &super::NoProgress, &silent, intent.scope()).await,
                &self.options.force_leave,
            );
            add_objects(self.spec, fleet, &mut observed, &intent.wants()).await;
            silent = observed.silent();
            so_far.waited = began.elapsed();
            match intent.next(&observed, so_far) {
                Next::Round(next) => {
                    // What failed is not tried again in the same run: only what it left behind is taken away.
                    let mut inside = ledger.inside(&next);
                    inside.steps.retain(|s| matches!(s.action, Action::RemoveNode(_)));
                    inside.steps.iter_mut().for_each(|s| s.needs.clear());
                    return (!inside.is_empty() && self.check(&inside, &observed).is_ok()).then_some((inside, observed));
                }
                Next::Waiting { why, .. } if Instant::now() < deadline && !self.stop.is_stopped() => {
                    if !std::mem::replace(&mut reported, true) {
                        self.progress.report(&ProgressEvent::Waiting { what: why });
                    }
                    sleep(Duration::from_secs(1)).await;
                }
                Next::Waiting { .. } | Next::Done(_) | Next::Refused(_) => return None,
            }
        }
    }

    /// Looks until what is wanted holds, with what of this run's own changes someone has undone; `None` where it was stopped.
    async fn settled(
        &self,
        intent: &(dyn Fn() -> Box<dyn Intent + 'a> + Sync),
        plan: &Plan,
        steps: &[StepReport],
        before: &Observed,
        deadline: Instant,
    ) -> Option<(Verdict, Observed)> {
        let done = steps.iter().all(|s| s.outcome.is_done());
        let patience = if done { SETTLE_BUDGET } else { Duration::ZERO };
        let given_up: BTreeSet<HostName> = plan.blocked.iter().map(|b| b.host.clone()).collect();
        let until = deadline.min(Instant::now() + patience);
        let is_undone = |after: &Observed| !undone(plan, steps, after).is_empty();
        let verify = |after: &Observed| intent().verify(after);
        let wants = intent().wants();
        let settling = Settling {
            spec: self.spec,
            fleet: self.fleet,
            progress: self.progress,
            verify: &verify,
            given_up: &given_up,
            undone: &is_undone,
            wants: &wants,
            scope: intent().scope(),
        };
        tokio::select! {
            biased;
            (mut verdict, after) = settling.until(before.silent(), until) => {
                verdict.findings.extend(undone(plan, steps, &after));
                Some((verdict, after))
            }
            () = self.stop.stopped() => None,
        }
    }
}
