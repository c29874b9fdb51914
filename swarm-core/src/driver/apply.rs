//! From a file to a verified cluster: look, plan, carry out, look again.

use super::inspect::{FRESH, inspect_after, silent};
use super::judge::{between, said_to_be_in_none, undone};
use super::keys::KeyKeeper;
use super::perform::Performer;
use super::progress::{Progress, ProgressEvent};
use super::settle::Settling;
use super::stop::Stop;
use super::tokens::Tokens;
use crate::engine::Force;
use crate::fleet::{Fleet, FleetRead};
use crate::id::{HostName, NodeId, StepId};
use crate::machine::{Answer, EffectId, Outcome, Run, Start};
use crate::observe::{HostState, NodeState, Observed, ObservedCluster, merge};
use crate::plan::{Action, LintFinding, Plan, PlanOptions, PlanPurpose, Planned, Refusal, Step, build, build_destroy, lint};
use crate::report::{Report, StepReport};
use crate::spec::ClusterSpec;
use crate::verify::{Finding, FindingKind, Verdict, verify, verify_key};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;
use thiserror::Error;
use tokio::time::{Instant, sleep, sleep_until};

/// How long calls under way may take to end after a stop.
const GRACE: Duration = Duration::from_secs(5);
/// How long entries that failed joins left behind are waited for until they count as down: three heartbeats and some.
const LEFT_BEHIND_BUDGET: Duration = Duration::from_secs(40);
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
    spec: &'a ClusterSpec,
    fleet: &'a F,
    options: PlanOptions,
    progress: &'a dyn Progress,
    keys: &'a dyn KeyKeeper,
    stop: Stop,
    /// When the last look began.
    looked: Mutex<Option<Instant>>,
}

impl<'a, F: Fleet> Apply<'a, F> {
    /// With no options and no progress sink. The policy's deadline runs from the start of work.
    pub fn new(spec: &'a ClusterSpec, fleet: &'a F) -> Self {
        Self {
            spec,
            fleet,
            options: PlanOptions { no_key_place: super::NoKeyKeeper.ready().err(), ..PlanOptions::default() },
            progress: &super::NoProgress,
            keys: &super::NoKeyKeeper,
            stop: Stop::default(),
            looked: Mutex::new(None),
        }
    }

    /// What is allowed and left out.
    #[must_use]
    pub fn options(mut self, options: PlanOptions) -> Self {
        self.options = PlanOptions { stored_key: self.keys.fingerprint(), no_key_place: self.place_for_key(), ..options };
        self
    }

    /// Who keeps the unlock key.
    #[must_use]
    pub fn keys(mut self, keys: &'a dyn KeyKeeper) -> Self {
        self.keys = keys;
        self.options.stored_key = keys.fingerprint();
        self.options.no_key_place = self.place_for_key();
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

    /// Why the unlock key could not be stored, where the file has one to store.
    fn place_for_key(&self) -> Option<String> {
        self.spec.unlock_key_file()?;
        self.keys.ready().err()
    }

    fn looks(&self) {
        if let Ok(mut looked) = self.looked.lock() {
            *looked = Some(Instant::now());
        }
    }

    /// Looks at all hosts and judges them. What is between two states is looked at again for a while: an election, and a join or an
    /// init that goes on in an engine because its client went away.
    pub async fn observe(&self) -> Observed {
        let fleet: &dyn FleetRead = self.fleet;
        self.looks();
        let mut observation = inspect_after(self.spec, fleet, self.progress, &BTreeSet::new()).await;
        let mut observed = merge(self.spec, &observation, &self.options.force_leave);
        let began = Instant::now();
        let mut pause = Duration::from_millis(100);
        let mut told = false;
        while let Some((what, budget)) = between(&observed)
            && Instant::now() + pause < began + budget.min(self.spec.policy().timeout / 4)
            && !self.stop.is_stopped()
        {
            if !std::mem::replace(&mut told, true) {
                self.progress.report(&ProgressEvent::Waiting { what });
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
            self.looks();
            observation = inspect_after(self.spec, fleet, &super::NoProgress, &silent(&observation)).await;
            observed = merge(self.spec, &observation, &self.options.force_leave);
        }
        observed
    }

    /// One more look, which is short with hosts that did not answer the last one.
    async fn look_again(&self, before: &Observed, given_up: &BTreeSet<HostName>) -> Observed {
        let fleet: &dyn FleetRead = self.fleet;
        merge(self.spec, &inspect_after(self.spec, fleet, &super::NoProgress, &before.silent()).await, given_up)
    }

    /// Looks and plans; changes nothing.
    ///
    /// # Errors
    /// [`ApplyError::Refused`] with every reason, [`ApplyError::Lint`] if the planner has a bug.
    pub async fn plan(&self) -> Result<(Plan, Observed), ApplyError> {
        let observed = self.observe().await;
        match build(self.spec, &observed, &self.options) {
            Planned::Refused(refusals) => Err(ApplyError::Refused(refusals)),
            Planned::Plan(plan) => {
                self.check(&plan, &observed)?;
                Ok((plan, observed))
            }
        }
    }

    /// Looks, and holds a saved plan against what is there now.
    ///
    /// # Errors
    /// [`ApplyError::Stale`] with every fact that changed, [`ApplyError::Lint`] if the plan breaks a rule.
    pub async fn recheck(&self, plan: &Plan) -> Result<Observed, ApplyError> {
        let observed = self.observe().await;
        let now = observed.basis();
        let mut changes = plan.basis.differences(&now);
        if plan.force_leave != self.options.force_leave || plan.limit != self.options.limit {
            changes.push("  the options: a saved plan is carried out with those it was made with".into());
        }
        if changes.is_empty() && plan.fingerprint != crate::plan::fingerprint(self.spec, &now) {
            changes.push("  the file".into());
        }
        if !changes.is_empty() {
            return Err(ApplyError::Stale(changes));
        }
        self.check(plan, &observed)?;
        Ok(observed)
    }

    /// Looks, and plans to take every host that is a member out of the swarm; with force, also out of one that has no leader.
    ///
    /// # Errors
    /// [`ApplyError::Refused`] where it is not known which swarm that would be.
    pub async fn plan_destroy(&self, force: Force) -> Result<(Plan, Observed), ApplyError> {
        let observed = self.observe().await;
        match build_destroy(self.spec, &observed, force) {
            Planned::Refused(refusals) => Err(ApplyError::Refused(refusals)),
            Planned::Plan(plan) => Ok((plan, observed)),
        }
    }

    /// Carries out a plan of [`Apply::plan_destroy`], then looks whether every host is out.
    async fn run_destroy(&self, plan: &Plan, observed: &Observed, deadline: Instant) -> Report {
        let (steps, _) = self.carry_out(plan, observed, deadline).await;
        if self.stop.is_stopped() {
            return Report::new(plan, steps, None, true);
        }
        let after = self.look_again(observed, &BTreeSet::new()).await;
        let findings: Vec<Finding> = after
            .hosts
            .iter()
            .filter(|(_, host)| host.state != HostState::Standalone)
            .map(|(name, host)| {
                let detail = host.state.detail().map_or(String::new(), |d| format!(": {d}"));
                Finding {
                    host: Some(name.clone()),
                    kind: FindingKind::NotMember,
                    message: format!("it is {}{detail}, not out of the swarm", host.state.word()),
                }
            })
            .collect();
        let verdict = Verdict { converged: findings.is_empty(), findings, notes: Vec::new() };
        Report::new(plan, steps, Some(verdict), false)
    }

    fn check(&self, plan: &Plan, observed: &Observed) -> Result<(), ApplyError> {
        let findings = lint(plan, self.spec, observed, &self.options.force_leave);
        if findings.is_empty() { Ok(()) } else { Err(ApplyError::Lint(findings)) }
    }

    /// Why a plan is not carried out on what was observed: it was made from another observation, or the observation has become old and
    /// hosts are not what they were.
    async fn outdated(&self, plan: &Plan, observed: &Observed) -> Vec<String> {
        let mut changes = plan.basis.differences(&observed.basis());
        let old = self.looked.lock().is_ok_and(|at| at.is_some_and(|at| at.elapsed() > STALE));
        if changes.is_empty() && old && !plan.is_empty() && !self.stop.is_stopped() {
            changes = plan.basis.differences(&self.observe().await.basis());
        }
        changes
    }

    /// Carries out a plan that was made from `observed`, then looks again: a plan of [`Apply::plan`] is verified against the file, one of
    /// [`Apply::plan_destroy`] by every host being out. The policy's deadline runs from here.
    ///
    /// A plan that was made from another observation, or whose facts have changed since, is not carried out: every step of the report is
    /// not started, and its findings say what changed.
    pub async fn run(&self, plan: &Plan, observed: &Observed) -> Report {
        let changes = self.outdated(plan, observed).await;
        if !changes.is_empty() {
            return Report::outdated(plan, changes);
        }
        let deadline = Instant::now() + self.spec.policy().timeout;
        match plan.purpose {
            PlanPurpose::Destroy => self.run_destroy(plan, observed, deadline).await,
            PlanPurpose::Converge => self.run_converge(plan, observed, deadline).await,
        }
    }

    async fn run_converge(&self, plan: &Plan, observed: &Observed, deadline: Instant) -> Report {
        if plan.is_empty() && !self.stop.is_stopped() {
            // Nothing is done, so the look that the plan was made from is the fresh one.
            let verdict = self.with_key(verify(self.spec, observed, self.options.limit.as_ref()), observed);
            if verdict.converged {
                return Report::new(plan, Vec::new(), Some(verdict), false);
            }
        }
        let (mut steps, failed_joins) = self.carry_out(plan, observed, deadline).await;
        if self.stop.is_stopped() {
            return Report::new(plan, steps, None, true);
        }
        if failed_joins > 0 {
            steps.extend(self.clean_up(plan, observed, deadline).await);
        }
        let done = steps.iter().all(|s| s.outcome.is_done());
        let patience = if done { SETTLE_BUDGET } else { Duration::ZERO };
        let given_up: BTreeSet<HostName> = plan.blocked.iter().map(|b| b.host.clone()).collect();
        let until = deadline.min(Instant::now() + patience);
        let fleet: &dyn FleetRead = self.fleet;
        let is_undone = |after: &Observed| !undone(plan, &steps, after).is_empty();
        let limit = self.options.limit.as_ref();
        let settling = Settling { spec: self.spec, fleet, progress: self.progress, limit, given_up: &given_up, undone: &is_undone };
        let verdict = tokio::select! {
            biased;
            (verdict, after) = settling.until(observed.silent(), until) => {
                let mut verdict = self.with_key(verdict, &after);
                verdict.findings.extend(undone(plan, &steps, &after));
                if verdict.findings.is_empty() {
                    verdict.findings.extend(self.still_planned(&after));
                }
                verdict.converged = verdict.findings.is_empty();
                Some(verdict)
            }
            () = self.stop.stopped() => None,
        };
        let stopped = verdict.is_none();
        Report::new(plan, steps, verdict, stopped)
    }

    fn with_key(&self, mut verdict: Verdict, observed: &Observed) -> Verdict {
        verdict.findings.extend(verify_key(self.spec, observed, self.keys.fingerprint().as_deref()));
        verdict.converged = verdict.findings.is_empty();
        verdict
    }

    /// What a plan made now would still do: a run that ends well leaves nothing to the next one.
    fn still_planned(&self, after: &Observed) -> Option<Finding> {
        let options = PlanOptions { stored_key: self.keys.fingerprint(), ..self.options.clone() };
        let Planned::Plan(next) = build(self.spec, after, &options) else { return None };
        let left: Vec<&str> = next.steps.iter().map(|s| s.id.as_str()).collect();
        let message = format!("{} is left to do: run again", left.join(", "));
        (!left.is_empty()).then_some(Finding { host: None, kind: FindingKind::Left, message })
    }

    /// Removes what this run's failed joins left in the node list, once it is proven to be that and counts as down. What was in the list
    /// before, or belongs to a host that did not join, is left for a plan that shows it.
    async fn clean_up(&self, shown: &Plan, before: &Observed, deadline: Instant) -> Vec<StepReport> {
        let until = deadline.min(Instant::now() + LEFT_BEHIND_BUDGET);
        self.progress.report(&ProgressEvent::CleanUpStarted);
        loop {
            let observed = self.look_again(before, &self.options.force_leave).await;
            if let Planned::Plan(mut plan) = build(self.spec, &observed, &self.options) {
                let old: BTreeSet<&NodeId> = before.view().iter().flat_map(|v| &v.nodes).map(|n| &n.id).collect();
                let joined =
                    |host: &HostName| shown.steps_of(host).any(|s| matches!(s.action, Action::Join { .. } | Action::Promote { .. }));
                // What a promotion that went on as a join left is the node that its host was.
                let was =
                    |host: &HostName, node: &NodeId| before.hosts.get(host).is_some_and(|h| h.node.as_ref().is_some_and(|n| n.id == *node));
                let ours = |host: &HostName, node: &NodeId| joined(host) && (!old.contains(node) || was(host, node));
                plan.steps.retain(|s| matches!(&s.action, Action::RemoveNode { node, .. } if ours(&s.host, node)));
                plan.steps.iter_mut().for_each(|s| s.needs.clear());
                if !plan.is_empty() && self.check(&plan, &observed).is_ok() {
                    return self.carry_out(&plan, &observed, deadline).await.0;
                }
            }
            let names: BTreeSet<&str> =
                observed.hosts.values().filter_map(|h| h.report.engine.as_ref().ok()).map(|e| e.hostname.as_str()).collect();
            let coming = observed.strangers.iter().any(|n| names.contains(n.hostname.as_str()) && n.state != NodeState::Down);
            if !coming || Instant::now() >= until || self.stop.is_stopped() {
                return Vec::new();
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    async fn carry_out(&self, plan: &Plan, observed: &Observed, until: Instant) -> (Vec<StepReport>, u32) {
        let began = Instant::now();
        let old = self.looked.lock().is_ok_and(|at| at.is_none_or(|at| at.elapsed() > FRESH));
        let performer = Performer {
            spec: self.spec,
            fleet: self.fleet,
            keys: self.keys,
            tokens: Tokens::new(plan, observed.view().map(|v| v.cluster.id.clone())),
            in_none: said_to_be_in_none(self.spec, observed),
            ask_again: old.into(),
            in_one: Mutex::default(),
        };
        let mut run = Run::new(plan, self.start(observed));
        if self.stop.is_stopped() {
            run.stop();
        }
        let mut under_way: FuturesUnordered<BoxFuture<'_, (EffectId, StepId, Answer)>> = FuturesUnordered::new();
        let steps: BTreeMap<&StepId, &Step> = plan.steps.iter().map(|s| (&s.id, s)).collect();
        let mut told: BTreeSet<StepId> = BTreeSet::new();
        let mut troubles: BTreeMap<StepId, String> = BTreeMap::new();
        let mut give_up: Option<Instant> = None;
        loop {
            while let Some(effect) = run.poll_effect(began.elapsed()) {
                if let Some(step) = effect.step.as_ref().and_then(|id| steps.get(id)) {
                    self.tell_started(step, &mut told);
                }
                let performer = &performer;
                under_way.push(Box::pin(async move {
                    let answer = performer.perform(&effect).await;
                    (effect.id, effect.step.unwrap_or(StepId::new("")), answer)
                }));
            }
            while let Some((step, outcome)) = run.poll_ended() {
                let (step, host, outcome) = (step.id.clone(), step.host.clone(), outcome.clone());
                self.progress.report(&ProgressEvent::StepFinished { step, host, outcome });
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

    /// What the run knows when it begins.
    fn start(&self, observed: &Observed) -> Start {
        let live: &[HostName] = match &observed.cluster {
            ObservedCluster::One { live, .. } => live,
            _ => &[],
        };
        let node_of = |host: &HostName| observed.hosts.get(host).and_then(|h| h.node.as_ref());
        let managers = live.iter().filter_map(|h| Some((h.clone(), node_of(h)?.manager.as_ref()?.address.clone()))).collect();
        let nodes: Vec<(HostName, NodeId)> = observed
            .hosts
            .iter()
            .filter_map(|(name, host)| match &host.state {
                HostState::Member { node } => Some((name.clone(), node.clone())),
                _ => None,
            })
            .collect();
        let listed = observed.view().iter().flat_map(|v| &v.nodes).map(|n| n.id.clone()).collect();
        Start { managers, nodes: nodes.into_iter().collect(), listed, concurrency: self.spec.policy().concurrency }
    }

    fn tell_started(&self, step: &Step, told: &mut BTreeSet<StepId>) {
        if told.insert(step.id.clone()) {
            let event = ProgressEvent::StepStarted { step: step.id.clone(), host: step.host.clone(), verb: step.action.verb().into() };
            self.progress.report(&event);
        }
    }
}
