//! What a run is for, asked round by round: look, ask what comes next, do that, look again, until nothing comes. Pure, total and
//! deterministic: the same observation gives the same answer.

use crate::engine::{Force, Query};
use crate::observe::{HostState, NodeFacts, NodeState, Observed, ObservedCluster, ObservedHost, cannot_answer};
use crate::plan::{Action, Plan, PlanOptions, Planned, Refusal, build, build_destroy, refuse_cluster};
use crate::spec::ClusterSpec;
use crate::verify::{Finding, FindingKind, Verdict, verify, verify_key};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a rotation of the root is waited for before the plan takes it as it is.
const ROTATION_BUDGET: Duration = Duration::from_secs(15);
/// How long managers without a leader are asked again: an election takes some seconds, one after a hanging leader up to twenty.
const ELECTION_BUDGET: Duration = Duration::from_secs(30);
/// How long a manager that hears no leader is asked again while the others have one. Its engine takes 20 s to say so where that lasts, and is
/// asked once more before anything is done.
const MUTE_BUDGET: Duration = Duration::from_secs(10);
/// How long a manager that left counts as reached by the others, at the most.
const LEFT_BUDGET: Duration = Duration::from_secs(20);
/// How long a join that goes on by itself is waited for: an engine that is not answered gives up after half a minute.
const JOINING_BUDGET: Duration = Duration::from_secs(60);
/// How long entries that failed joins left behind are waited for until they count as down: three heartbeats and some.
const LEFT_BEHIND_BUDGET: Duration = Duration::from_secs(40);

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "one of it is there at a time")]
pub enum Next {
    /// Nothing that this intent could do. The plan has no steps; its notes and the hosts that are left out are worth knowing.
    Done(Plan),
    /// These steps.
    Round(Plan),
    /// Something is between two states, and will be in one of them by itself.
    Waiting {
        /// What.
        why: String,
        /// How long it is waited for at most, from when the waiting began.
        budget: Duration,
    },
    /// Acting could hurt. All reasons, not the first.
    Refused(Vec<Refusal>),
}

/// What a run has done before it asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SoFar {
    /// How long it has waited, because of [`Next::Waiting`], since it last did something.
    pub waited: Duration,
    /// Rounds that were carried out.
    pub rounds: u32,
    /// Attempts to enter the swarm that failed in them: each may have left an entry in the node list.
    pub failed_joins: u32,
}

/// Which hosts a look is at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// All of the file.
    #[default]
    All,
    /// The file's managers, and what the swarm is from one of them where all that answer name the same swarm: enough for its objects.
    Managers,
}

/// What a run is for.
pub trait Intent: Send + Sync {
    /// What comes next.
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next;

    /// What of it does not hold.
    fn verify(&self, observed: &Observed) -> Verdict;

    /// The objects of the swarm that it must know of: each look asks for them.
    fn wants(&self) -> Vec<Query> {
        Vec::new()
    }

    /// Which hosts it must know of.
    fn scope(&self) -> Scope {
        Scope::All
    }

    /// Whether it is for what its steps do, as a program that runs, and not for what is there afterwards: a step that failed then counts whatever a
    /// look shows.
    fn is_deed(&self) -> bool {
        false
    }
}

impl<T: Intent + ?Sized> Intent for &T {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        (**self).next(observed, so_far)
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        (**self).verify(observed)
    }

    fn wants(&self) -> Vec<Query> {
        (**self).wants()
    }

    fn scope(&self) -> Scope {
        (**self).scope()
    }

    fn is_deed(&self) -> bool {
        (**self).is_deed()
    }
}

/// To bring the cluster of a file about.
#[derive(Debug, Clone)]
pub struct Converge<'a> {
    /// The file.
    pub spec: &'a ClusterSpec,
    /// What is allowed and left out.
    pub options: PlanOptions,
}

/// To take every host of a file out of its cluster.
#[derive(Debug, Clone)]
pub struct Destroy<'a> {
    /// The file.
    pub spec: &'a ClusterSpec,
    /// Whether a swarm without a leader is taken down too.
    pub force: Force,
}

impl Intent for Converge<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        if let Some(waiting) = waits(self.spec, observed, so_far) {
            return waiting;
        }
        let plan = match build(self.spec, observed, &self.options) {
            Planned::Refused(reasons) => return Next::Refused(reasons),
            Planned::Plan(plan) => plan,
        };
        let removes = plan.steps.iter().any(|s| matches!(s.action, Action::RemoveNode(_)));
        if so_far.failed_joins > 0 && !removes && so_far.waited < LEFT_BEHIND_BUDGET && something_is_left_behind(observed) {
            let why = "what a failed join left in the node list counts as down after some seconds".to_owned();
            return Next::Waiting { why, budget: LEFT_BEHIND_BUDGET };
        }
        next(plan)
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        let mut verdict = verify(self.spec, observed, self.options.limit.as_ref());
        verdict.findings.extend(verify_key(self.spec, observed, self.options.stored_key.as_deref()));
        verdict.converged = verdict.findings.is_empty();
        verdict
    }
}

impl Intent for Destroy<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        if let Some(waiting) = waits(self.spec, observed, so_far) {
            return waiting;
        }
        match build_destroy(self.spec, observed, self.force) {
            Planned::Refused(reasons) => Next::Refused(reasons),
            Planned::Plan(plan) => next(plan),
        }
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        let finding = |(name, host): (&crate::id::HostName, &ObservedHost)| {
            let detail = host.state.detail().map_or(String::new(), |d| format!(": {d}"));
            let message = format!("it is {}{detail}, not out of the swarm", host.state.word());
            Finding { host: Some(name.clone()), kind: FindingKind::NotMember, message }
        };
        let findings: Vec<Finding> = observed.hosts.iter().filter(|(_, host)| host.state != HostState::Standalone).map(finding).collect();
        Verdict::of(findings, Vec::new())
    }
}

fn next(plan: Plan) -> Next {
    if plan.is_empty() { Next::Done(plan) } else { Next::Round(plan) }
}

/// What comes next for an intent of one round: its plan, and after that nothing.
pub fn one_round(spec: &ClusterSpec, observed: &Observed, so_far: SoFar, plan: impl FnOnce() -> Result<Plan, Vec<Refusal>>) -> Next {
    if so_far.rounds > 0 {
        return Next::Done(Plan::of_work(spec, observed, Vec::new(), Vec::new()));
    }
    plan().map_or_else(Next::Refused, next)
}

/// What keeps an intent that works in a swarm from planning now: something between two states, or that there is no swarm with a leader.
pub fn not_now(spec: &ClusterSpec, observed: &Observed, so_far: SoFar) -> Option<Next> {
    if let Some(waiting) = waits(spec, observed, so_far) {
        return Some(waiting);
    }
    let none = || observed.view().is_none().then_some(Refusal::NoSwarm);
    let refusal = refuse_cluster(spec, &observed.cluster).or_else(none)?;
    Some(Next::Refused(vec![refusal]))
}

/// Before the first round, what is between two states is waited for: at most for its budget, and a quarter of the file's deadline.
pub(crate) fn waits(spec: &ClusterSpec, observed: &Observed, so_far: SoFar) -> Option<Next> {
    let (why, budget) = between(observed).filter(|_| so_far.rounds == 0)?;
    let budget = budget.min(spec.policy().timeout / 4);
    (so_far.waited < budget).then_some(Next::Waiting { why, budget })
}

/// Whether an entry of a host of the file is still to count as down: only then is it proven that no one is that node.
fn something_is_left_behind(observed: &Observed) -> bool {
    let names: BTreeSet<&str> =
        observed.hosts.values().filter_map(|h| h.report.engine.as_ref().ok()).map(|e| e.hostname.as_str()).collect();
    observed.strangers.iter().any(|n| names.contains(n.hostname.as_str()) && n.state != NodeState::Down)
}

/// What is between two states, and will be in one of them in a moment.
fn between(observed: &Observed) -> Option<(String, Duration)> {
    if let ObservedCluster::NoLeader { .. } = &observed.cluster
        && !observed.cluster.quorum_is_lost()
    {
        return Some(("no leader is seen; an election takes some seconds".into(), ELECTION_BUDGET));
    }
    if let Some((name, _)) = observed.hosts.iter().find(|(_, h)| cannot_answer(observed, h).is_some()) {
        return Some((format!("{name} answers as a manager and does not hear the leader yet"), MUTE_BUDGET));
    }
    // A manager that left by hand is missed by the others after some seconds; only then is its entry known to be dead.
    let left = |n: &&NodeFacts| {
        let is_out = |h: &ObservedHost| matches!(h.state, HostState::Standalone | HostState::StaleMember { .. });
        let named = |h: &ObservedHost| h.report.engine.as_ref().is_ok_and(|e| e.hostname == n.hostname);
        n.is_reachable_manager() && n.state == NodeState::Ready && observed.hosts.values().any(|h| is_out(h) && named(h))
    };
    if let Some(node) = observed.strangers.iter().find(left) {
        return Some((format!("{} left the swarm and still counts as a manager", node.hostname), LEFT_BUDGET));
    }
    let outside = |h: &ObservedHost| matches!(h.state, HostState::Standalone | HostState::StaleMember { .. });
    if observed.view().is_some_and(|v| v.cluster.root_rotation_in_progress) && observed.hosts.values().any(outside) {
        return Some(("the swarm's root certificate is being replaced".into(), ROTATION_BUDGET));
    }
    let joining: Vec<&str> = observed.hosts.iter().filter(|(_, h)| h.state == HostState::Joining).map(|(name, _)| name.as_str()).collect();
    (!joining.is_empty()).then(|| {
        (format!("{} has not found its swarm yet: an earlier join, or a restart, has not ended", joining.join(", ")), JOINING_BUDGET)
    })
}
