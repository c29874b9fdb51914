//! An independent look at a plan, before it is carried out. It shares no code with the builder: a finding is a bug of ours,
//! or a plan file that someone edited.

use super::{Action, Plan, PlanPurpose, Step, Target};
use crate::engine::Force;
use crate::id::{HostName, StepId};
use crate::observe::{HostState, Observed, ObservedCluster, cannot_answer};
use crate::quorum;
use crate::spec::{ClusterSpec, Role};
use crate::step;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a finding means. A plan with a finding of either kind is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LintSeverity {
    /// Carried out, it could cost the swarm its managers, or a host the swarm that it is in.
    Harmful,
    /// It contradicts itself, the file, or what was agreed to: someone edited it, or a planner has a bug.
    Malformed,
}

/// Something a plan must never contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LintFinding {
    /// The step, if it is about one.
    pub step: Option<StepId>,
    /// What it means.
    pub severity: LintSeverity,
    /// What is wrong.
    pub what: String,
}

impl LintFinding {
    fn of(severity: LintSeverity, step: Option<&Step>, what: impl Into<String>) -> Self {
        Self { step: step.map(|s| s.id.clone()), severity, what: what.into() }
    }

    /// About a step that could hurt.
    pub fn harmful(step: &Step, what: impl Into<String>) -> Self {
        Self::of(LintSeverity::Harmful, Some(step), what)
    }

    /// About a step that cannot be meant so.
    pub fn malformed(step: &Step, what: impl Into<String>) -> Self {
        Self::of(LintSeverity::Malformed, Some(step), what)
    }
}

impl fmt::Display for LintFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            Some(step) => write!(f, "{step}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// Checks a plan against what was observed. `forced` are the hosts for which `--force-leave` was given. What could hurt comes first.
pub fn lint(plan: &Plan, spec: &ClusterSpec, observed: &Observed, forced: &BTreeSet<HostName>) -> Vec<LintFinding> {
    let mut findings = harms(plan, spec, observed, forced);
    let mut say = |step: Option<&Step>, what: &str| findings.push(LintFinding::of(LintSeverity::Malformed, step, what));
    if plan.fingerprint.is_empty() {
        say(None, "does not say what it was made from");
    }
    let mut earlier: BTreeSet<&StepId> = BTreeSet::new();
    let mut agreed: BTreeMap<(&str, Target), u32> = BTreeMap::new();
    for one in &plan.envelope.0 {
        *agreed.entry((one.verb.as_str(), one.target.clone())).or_default() += one.times;
    }
    for step in &plan.steps {
        if step.needs.iter().any(|n| !earlier.contains(n)) {
            say(Some(step), "needs a step that does not come before it");
        }
        if !earlier.insert(&step.id) {
            say(Some(step), "is in the plan twice");
        }
        match agreed.get_mut(&(step.action.verb(), step.target())) {
            Some(times) if *times > 0 => *times -= 1,
            _ => say(Some(step), "is not in what the plan says it may do"),
        }
        match &step.host {
            Some(host) if spec.host(host).is_none() => say(Some(step), "is about a host that is not in the file"),
            None if !matches!(step.action, Action::Work(_)) => say(Some(step), "is about no host"),
            _ => {}
        }
    }
    findings
}

/// What could cost the swarm its managers, or a host the swarm that it is in.
fn harms(plan: &Plan, spec: &ClusterSpec, observed: &Observed, forced: &BTreeSet<HostName>) -> Vec<LintFinding> {
    let mut findings = Vec::new();
    let mut say = |step: Option<&Step>, what: &str| findings.push(LintFinding::of(LintSeverity::Harmful, step, what));
    let state_of = |host: &HostName| observed.hosts.get(host).map(|h| &h.state);
    let inits: Vec<&Step> = plan.steps.iter().filter(|s| matches!(s.action, Action::Init(_))).collect();
    if inits.len() > 1 {
        say(None, "makes more than one swarm");
    }
    for init in inits {
        if !matches!(observed.cluster, ObservedCluster::None | ObservedCluster::Unknown { .. }) {
            say(Some(init), "makes a swarm where there is one");
        }
        let accepted = |state: &HostState| plan.init_on == init.host && state.is_silent();
        let proven = |host: &HostName| {
            state_of(host).is_some_and(|state| *state == HostState::Standalone || accepted(state)) || forced.contains(host)
        };
        if !spec.managers().all(|m| proven(&m.name)) {
            say(Some(init), "makes a swarm while a declared manager may be in one");
        }
    }
    for step in plan.steps.iter().filter(|s| matches!(s.action, Action::Recover(_))) {
        if plan.purpose != PlanPurpose::Recover || !matches!(observed.cluster, ObservedCluster::NoLeader { .. }) {
            say(Some(step), "makes one manager the only one where the quorum is not lost, or no one asked for that");
        }
        let ours = match &observed.cluster {
            ObservedCluster::NoLeader { swarm, .. } => swarm.as_ref(),
            _ => None,
        };
        let lives = |s: &HostState| match s {
            HostState::Standalone => false,
            silent if silent.is_silent() => false,
            HostState::ForeignSwarm { cluster, role, .. } => {
                cluster.is_none() || ours.is_none() || (*role == Role::Manager && cluster.as_ref() == ours)
            }
            _ => true,
        };
        let leaves = |h: &HostName| {
            plan.steps.iter().any(|s| s.host.as_ref() == Some(h) && matches!(s.action, Action::Leave(_)) && step.needs.contains(&s.id))
        };
        if spec.managers().any(|m| Some(&m.name) != step.host.as_ref() && state_of(&m.name).is_some_and(lives) && !leaves(&m.name)) {
            say(Some(step), "makes one manager the only one while another one may go on");
        }
    }
    // What the file wants in no swarm is taken out of it.
    let goes = |host: &HostName| plan.purpose == PlanPurpose::Converge && spec.host(host).is_some_and(|h| h.absent);
    let lost_log = |host: &HostName| observed.hosts.get(host).is_some_and(|seen| cannot_answer(observed, seen).is_some());
    for step in &plan.steps {
        let Some(host) = &step.host else { continue };
        match (&step.action, state_of(host)) {
            (Action::Leave(_), Some(HostState::Member { .. }))
                if matches!(plan.purpose, PlanPurpose::Destroy | PlanPurpose::Remove | PlanPurpose::Recover) => {}
            (Action::Leave(_), Some(HostState::Member { .. }))
                if lost_log(host) || (goes(host) && no_voter(plan, observed, host, step)) => {}
            (Action::Leave(_), Some(HostState::Member { .. } | HostState::Standalone)) => {
                say(Some(step), "takes a healthy host out of its swarm")
            }
            // What it is in is this swarm: no manager answers, so it does not count as a member.
            (Action::Leave(_), Some(HostState::ForeignSwarm { cluster: Some(cluster), .. }))
                if plan.purpose == PlanPurpose::Recover
                    && matches!(&observed.cluster, ObservedCluster::NoLeader { swarm: Some(ours), .. } if ours == cluster) => {}
            (Action::Leave(step::Leave { force: Force::Yes, .. }), Some(HostState::ForeignSwarm { .. })) if !forced.contains(host) => {
                say(Some(step), "takes a host out of another swarm without leave to do so");
            }
            (Action::Join(_) | Action::Init(_), Some(state)) if !matches!(state, HostState::Standalone) => {
                let left =
                    plan.steps.iter().any(|s| s.host == step.host && matches!(s.action, Action::Leave(_)) && step.needs.contains(&s.id));
                if !left {
                    say(Some(step), "joins a host that is not free");
                }
            }
            (Action::Join(_) | Action::Init(_) | Action::Promote(_), _) if goes(host) => {
                say(Some(step), "brings a host in that is to be in no swarm");
            }
            (Action::Join(_) | Action::Init(_) | Action::Leave(_), None) => say(Some(step), "acts on a host that was not looked at"),
            (Action::Promote(_) | Action::Demote, state) if !matches!(state, Some(HostState::Member { .. })) => {
                say(Some(step), "changes the role of a host that is no member");
            }
            // A node that is taken out leaves first.
            (Action::RemoveNode(step::RemoveNode { node, .. }), _) => {
                if let Some(of) = observed.host_of(node)
                    && !((plan.purpose == PlanPurpose::Remove || lost_log(of) || goes(of)) && leaves_before(plan, of, step))
                {
                    say(Some(step), "removes a node that one of the hosts is");
                }
            }
            _ => {}
        }
    }
    roles_never_overlap(plan, &mut say);
    quorum_holds(plan, observed, &mut say);
    findings
}

/// Whether a host has no vote when a step of it comes: it is a worker, or the step needs its demotion.
fn no_voter(plan: &Plan, observed: &Observed, host: &HostName, step: &Step) -> bool {
    let demoted = |s: &&Step| s.host.as_ref() == Some(host) && s.action == Action::Demote && step.needs.contains(&s.id);
    let votes = observed.hosts.get(host).and_then(|h| h.node.as_ref()).is_some_and(|n| n.role == Role::Manager || n.manager.is_some());
    !votes || plan.steps.iter().any(|s| demoted(&s))
}

/// Whether a step needs that a host has left.
fn leaves_before(plan: &Plan, host: &HostName, step: &Step) -> bool {
    let leaves = |s: &&Step| s.host.as_ref() == Some(host) && matches!(s.action, Action::Leave(_)) && step.needs.contains(&s.id);
    plan.steps.iter().any(|s| leaves(&s))
}

/// Membership changes of an existing swarm come one after the other; a promotion never runs beside a demotion.
fn roles_never_overlap(plan: &Plan, say: &mut impl FnMut(Option<&Step>, &str)) {
    if plan.swarm.is_none() {
        return;
    }
    let changes: Vec<&Step> = plan
        .steps
        .iter()
        .filter(|s| matches!(s.action, Action::Promote(_) | Action::Demote | Action::Join(step::Join { role: Role::Manager, .. })))
        .collect();
    let by_id: BTreeMap<&StepId, &Step> = plan.steps.iter().map(|s| (&s.id, s)).collect();
    for pair in changes.windows(2) {
        let [before, after] = pair else { continue };
        let mut open = vec![*after];
        let mut seen = BTreeSet::new();
        let mut follows = false;
        while let Some(step) = open.pop() {
            follows |= step.id == before.id;
            for need in &step.needs {
                if seen.insert(need) {
                    open.extend(by_id.get(need).copied());
                }
            }
        }
        if !follows {
            say(Some(after), "changes the managers while another such change may be under way");
        }
    }
}

/// Walks the plan and counts: after every loss of a voter the rest must be a majority.
fn quorum_holds(plan: &Plan, observed: &Observed, say: &mut impl FnMut(Option<&Step>, &str)) {
    let Some(view) = observed.view() else { return };
    let mut total = view.nodes.iter().filter(|n| n.manager.is_some()).count();
    let mut there = view.nodes.iter().filter(|n| n.is_reachable_manager()).count();
    for step in &plan.steps {
        match &step.action {
            Action::Join(step::Join { role: Role::Manager, .. }) | Action::Promote(_) => {
                total += 1;
                there += 1;
            }
            Action::Demote => {
                let node = step.host.as_ref().and_then(|host| observed.hosts.get(host)).and_then(|h| h.node.as_ref());
                total = total.saturating_sub(usize::from(node.is_some_and(|n| n.manager.is_some())));
                there = there.saturating_sub(usize::from(node.is_some_and(|n| n.is_reachable_manager())));
            }
            Action::RemoveNode(step::RemoveNode { node, demote: true, .. })
                if view.nodes.iter().any(|n| n.id == *node && n.manager.is_some()) =>
            {
                total = total.saturating_sub(1);
                let counted = view.nodes.iter().any(|n| n.id == *node && n.is_reachable_manager());
                there = there.saturating_sub(usize::from(counted));
            }
            _ => continue,
        }
        if there < quorum::needed(total) || total == 0 {
            say(Some(step), "leaves the swarm without a majority of managers");
        }
    }
}
