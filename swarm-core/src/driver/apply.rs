//! From a file to a verified cluster: look, plan, carry out, look again.

use super::inspect::{FRESH, inspect};
use super::keys::KeyKeeper;
use super::perform::Performer;
use super::progress::{Progress, ProgressEvent};
use super::settle::settle;
use super::tokens::Tokens;
use crate::fleet::{Fleet, FleetRead};
use crate::id::{HostName, NodeId, StepId};
use crate::machine::{Answer, EffectId, Outcome, Run, Start};
use crate::observe::{HostState, NodeState, Observed, ObservedCluster, ObservedHost, merge};
use crate::plan::{Action, LintFinding, Plan, PlanOptions, Planned, Refusal, Step, build, build_destroy, lint};
use crate::report::{Report, StepReport};
use crate::spec::ClusterSpec;
use crate::verify::{Finding, FindingKind, Verdict, verify, verify_key};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

/// How long calls under way may take to end after a stop.
const GRACE: Duration = Duration::from_secs(5);
/// How long entries that failed joins left behind are waited for until they count as down: three heartbeats and some.
const LEFT_BEHIND_BUDGET: Duration = Duration::from_secs(40);
/// How long an election is waited for before the plan takes it as it is.
const ELECTION_BUDGET: Duration = Duration::from_secs(15);
/// The same for a join that goes on by itself: an engine that nobody answers gives up after half a minute.
const JOINING_BUDGET: Duration = Duration::from_secs(60);
/// How long a fresh look may take to find everything in place after the last step.
const SETTLE_BUDGET: Duration = Duration::from_secs(30);

/// Stops a run: what is under way is finished or given up, nothing new begins.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<(AtomicBool, Notify)>);

impl Stop {
    /// Stops.
    pub fn stop(&self) {
        self.0.0.store(true, Ordering::SeqCst);
        self.0.1.notify_waiters();
    }

    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        self.0.0.load(Ordering::SeqCst)
    }

    /// Ends when it is stopped.
    pub async fn stopped(&self) {
        loop {
            let notified = self.0.1.notified();
            if self.is_stopped() {
                return;
            }
            notified.await;
        }
    }
}

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
    deadline: Instant,
    /// When the last look began.
    looked: Mutex<Option<Instant>>,
}

impl<'a, F: Fleet> Apply<'a, F> {
    /// With no options and nobody looking on. The policy's deadline runs from now.
    pub fn new(spec: &'a ClusterSpec, fleet: &'a F) -> Self {
        let deadline = Instant::now() + spec.policy().timeout;
        Self {
            spec,
            fleet,
            options: PlanOptions::default(),
            progress: &super::NoProgress,
            keys: &super::NoKeyKeeper,
            stop: Stop::default(),
            deadline,
            looked: Mutex::new(None),
        }
    }

    /// What is allowed and left out.
    #[must_use]
    pub fn options(mut self, options: PlanOptions) -> Self {
        self.options = PlanOptions { stored_key: self.keys.fingerprint(), ..options };
        self
    }

    /// Who keeps the unlock key.
    #[must_use]
    pub fn keys(mut self, keys: &'a dyn KeyKeeper) -> Self {
        self.keys = keys;
        self.options.stored_key = keys.fingerprint();
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
        let mut observed = merge(self.spec, &inspect(self.spec, fleet, self.progress).await, &self.options.force_leave);
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
            pause = (pause * 2).min(Duration::from_secs(1));
            self.looks();
            observed = merge(self.spec, &inspect(self.spec, fleet, &super::NoProgress).await, &self.options.force_leave);
        }
        observed
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
        let mut changes: Vec<String> = Vec::new();
        for key in plan.basis.0.keys().chain(now.0.keys()).collect::<BTreeSet<_>>() {
            let (then, is) = (plan.basis.0.get(key), now.0.get(key));
            if then != is {
                let show = |v: Option<&String>| v.map_or("nothing".to_owned(), Clone::clone);
                changes.push(format!("  {key}: was {}, is {}", show(then), show(is)));
            }
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

    /// Looks, and plans to take every host that is a member out of the swarm.
    ///
    /// # Errors
    /// [`ApplyError::Refused`] where it is not known which swarm that would be.
    pub async fn plan_destroy(&self) -> Result<(Plan, Observed), ApplyError> {
        let observed = self.observe().await;
        match build_destroy(self.spec, &observed) {
            Planned::Refused(refusals) => Err(ApplyError::Refused(refusals)),
            Planned::Plan(plan) => Ok((plan, observed)),
        }
    }

    /// Carries out a plan of [`Apply::plan_destroy`], then looks whether every host is out.
    pub async fn run_destroy(&self, plan: &Plan, observed: &Observed) -> Report {
        let (steps, _) = self.carry_out(plan, observed).await;
        if self.stop.is_stopped() {
            return Report::new(plan, steps, None, true);
        }
        let fleet: &dyn FleetRead = self.fleet;
        let after = merge(self.spec, &inspect(self.spec, fleet, &super::NoProgress).await, &BTreeSet::new());
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

    /// Carries out a plan that was made from `observed`, then verifies from a fresh look.
    pub async fn run(&self, plan: &Plan, observed: &Observed) -> Report {
        if plan.is_empty() && !self.stop.is_stopped() {
            // Nothing is done, so the look that the plan was made from is the fresh one.
            let verdict = verify(self.spec, observed, self.options.limit.as_ref());
            if verdict.converged {
                return Report::new(plan, Vec::new(), Some(verdict), false);
            }
        }
        let (mut steps, failed_joins) = self.carry_out(plan, observed).await;
        if self.stop.is_stopped() {
            return Report::new(plan, steps, None, true);
        }
        if failed_joins > 0 {
            steps.extend(self.clean_up(plan, observed).await);
        }
        let done = steps.iter().all(|s| s.outcome.is_done());
        let patience = if done { SETTLE_BUDGET } else { Duration::ZERO };
        let given_up: BTreeSet<HostName> = plan.blocked.iter().map(|b| b.host.clone()).collect();
        let until = self.deadline.min(Instant::now() + patience);
        let fleet: &dyn FleetRead = self.fleet;
        let verdict = tokio::select! {
            biased;
            (mut verdict, observed) = settle(self.spec, fleet, self.progress, self.options.limit.as_ref(), &given_up, until) => {
                verdict.findings.extend(verify_key(self.spec, &observed, self.keys.fingerprint().as_deref()));
                verdict.converged = verdict.findings.is_empty();
                Some(verdict)
            }
            () = self.stop.stopped() => None,
        };
        let stopped = verdict.is_none();
        Report::new(plan, steps, verdict, stopped)
    }

    /// Removes what this run's failed joins left in the node list, once it is proven to be that and counts as down. What was in the list
    /// before, or belongs to a host that did not join, is left for a plan that shows it.
    async fn clean_up(&self, shown: &Plan, before: &Observed) -> Vec<StepReport> {
        let until = self.deadline.min(Instant::now() + LEFT_BEHIND_BUDGET);
        self.progress.report(&ProgressEvent::CleanUpStarted);
        let fleet: &dyn FleetRead = self.fleet;
        loop {
            let observed = merge(self.spec, &inspect(self.spec, fleet, &super::NoProgress).await, &self.options.force_leave);
            if let Planned::Plan(mut plan) = build(self.spec, &observed, &self.options) {
                let old: BTreeSet<&NodeId> = before.view().iter().flat_map(|v| &v.nodes).map(|n| &n.id).collect();
                let joined = |host: &HostName| shown.steps_of(host).any(|s| matches!(s.action, Action::Join { .. }));
                plan.steps.retain(|s| matches!(&s.action, Action::RemoveNode { node, .. } if !old.contains(node) && joined(&s.host)));
                plan.steps.iter_mut().for_each(|s| s.needs.clear());
                if !plan.is_empty() && self.check(&plan, &observed).is_ok() {
                    return self.carry_out(&plan, &observed).await.0;
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

    async fn carry_out(&self, plan: &Plan, observed: &Observed) -> (Vec<StepReport>, u32) {
        let began = Instant::now();
        let old = self.looked.lock().is_ok_and(|at| at.is_none_or(|at| at.elapsed() > FRESH));
        let performer = Performer {
            spec: self.spec,
            fleet: self.fleet,
            keys: self.keys,
            tokens: Tokens::new(plan),
            in_none: said_to_be_in_none(self.spec, observed),
            ask_again: old.into(),
        };
        let mut run = Run::new(plan, self.start(observed));
        if self.stop.is_stopped() {
            run.stop();
        }
        let mut under_way: FuturesUnordered<BoxFuture<'_, (EffectId, StepId, Answer)>> = FuturesUnordered::new();
        let steps: BTreeMap<&StepId, &Step> = plan.steps.iter().map(|s| (&s.id, s)).collect();
        let mut told: BTreeSet<StepId> = BTreeSet::new();
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
            let deadline = give_up.unwrap_or(self.deadline);
            tokio::select! {
                // In this order: a stop is heard however many answers come in. The same world gives the same run.
                biased;
                () = self.stop.stopped(), if give_up.is_none() => {
                    run.stop();
                    give_up = Some(Instant::now() + GRACE);
                }
                Some((id, step, answer)) = under_way.next(), if !under_way.is_empty() => {
                    if let (Answer::Failed(error), Some(step)) = (&answer, steps.get(&step)) {
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
        Start { managers, nodes: nodes.into_iter().collect(), concurrency: self.spec.policy().concurrency }
    }

    fn tell_started(&self, step: &Step, told: &mut BTreeSet<StepId>) {
        if told.insert(step.id.clone()) {
            let event = ProgressEvent::StepStarted { step: step.id.clone(), host: step.host.clone(), verb: step.action.verb().into() };
            self.progress.report(&event);
        }
    }
}

/// Declared managers that said that they are in no swarm.
fn said_to_be_in_none(spec: &ClusterSpec, observed: &Observed) -> Vec<HostName> {
    let alone = |host: &HostName| observed.hosts.get(host).is_some_and(|h| h.state == HostState::Standalone);
    spec.managers().filter(|m| alone(&m.name)).map(|m| m.name.clone()).collect()
}

/// What is between two states, and will be in one of them in a moment.
fn between(observed: &Observed) -> Option<(String, Duration)> {
    if let ObservedCluster::NoQuorum { managers } = &observed.cluster
        && managers.iter().all(|(_, why)| why.contains("does not have a leader"))
    {
        return Some(("the managers have no leader; an election takes some seconds".into(), ELECTION_BUDGET));
    }
    let outside = |h: &ObservedHost| matches!(h.state, HostState::Standalone | HostState::StaleMember { .. });
    if observed.view().is_some_and(|v| v.cluster.root_rotation_in_progress) && observed.hosts.values().any(outside) {
        return Some(("the swarm's root certificate is being replaced".into(), ELECTION_BUDGET));
    }
    let joining: Vec<&str> = observed.hosts.iter().filter(|(_, h)| h.state == HostState::Joining).map(|(name, _)| name.as_str()).collect();
    (!joining.is_empty()).then(|| (format!("an earlier join of {} has not ended", joining.join(", ")), JOINING_BUDGET))
}
