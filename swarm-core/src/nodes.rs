//! Work on single nodes beside what the file says: roles, availability, labels, and taking a node out for good. Each is an intent like any
//! other: the same planner, quorum rules, lint and verification as for a whole file.

use crate::addr::AddressSelector;
use crate::engine::{Force, NodeChange};
use crate::id::{HostName, NodeId, StepId};
use crate::intent::{Converge, Intent, Next, SoFar, not_now};
use crate::observe::{HostState, NodeFacts, NodeState, Observed, ObservedHost, unsteady};
use crate::plan::{Action, Envelope, Plan, PlanOptions, PlanPurpose, Refusal, Risk, Step};
use crate::quorum;
use crate::spec::{Availability, ClusterSpec, Role};
use crate::step;
use crate::verify::{Finding, FindingKind, Verdict};
use std::collections::BTreeMap;

/// What is to be of a host's node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeEdit {
    /// Its role.
    Role(Role),
    /// Its availability.
    Availability(Availability),
    /// Its labels: those to set, and those to remove.
    Labels(BTreeMap<String, Option<String>>),
}

/// To change the nodes of some hosts.
#[derive(Debug, Clone)]
pub struct EditNodes<'a> {
    /// The file.
    pub spec: &'a ClusterSpec,
    /// What is to be, by host.
    pub edits: BTreeMap<HostName, NodeEdit>,
}

/// What keeps an intent about some hosts from planning: the cluster, or a host that is no node of it.
fn hosts_not_now<'h>(spec: &ClusterSpec, observed: &Observed, so_far: SoFar, hosts: impl Iterator<Item = &'h HostName>) -> Option<Next> {
    if let Some(next) = not_now(spec, observed, so_far) {
        return Some(next);
    }
    let unfit = hosts.filter_map(|host| {
        let seen = observed.hosts.get(host)?;
        let why = match &seen.state {
            HostState::Member { .. } => return None,
            state => state.in_full(),
        };
        Some(Refusal::Unfit { host: host.clone(), why: format!("it is no node of the swarm that answers ({why})") })
    });
    let unfit: Vec<Refusal> = unfit.collect();
    (!unfit.is_empty()).then_some(Next::Refused(unfit))
}

impl EditNodes<'_> {
    /// The file with these hosts as they are, but for what is to change.
    fn edited(&self, observed: &Observed) -> ClusterSpec {
        self.edits.iter().fold(self.spec.clone(), |spec, (name, edit)| {
            let node = observed.hosts.get(name).and_then(|h| h.node.as_ref());
            spec.with_host(name, |host| {
                host.role = node.map_or(host.role, |n| n.role);
                host.availability = None;
                host.labels = BTreeMap::new();
                match edit {
                    NodeEdit::Role(role) => host.role = *role,
                    NodeEdit::Availability(availability) => host.availability = Some(*availability),
                    NodeEdit::Labels(labels) => host.labels.clone_from(labels),
                }
            })
        })
    }

    /// Where the file says something else, the next apply takes the change back: that is worth a note.
    fn against_the_file(&self) -> impl Iterator<Item = String> {
        self.edits.iter().filter_map(|(name, edit)| {
            let host = self.spec.host(name)?;
            let differs = match edit {
                NodeEdit::Role(role) => (host.role != *role).then(|| format!("role: {role}")),
                NodeEdit::Availability(availability) => {
                    host.availability.is_some_and(|a| a != *availability).then(|| format!("availability: {availability}"))
                }
                NodeEdit::Labels(labels) => {
                    let other = labels.iter().find(|(key, value)| host.labels.get(*key).is_some_and(|v| v != *value));
                    other.map(|(key, _)| format!("labels.{key}"))
                }
            }?;
            Some(format!("the file says something else of {name}: write {differs} there, or the next apply takes this back"))
        })
    }
}

impl Intent for EditNodes<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        if let Some(next) = hosts_not_now(self.spec, observed, so_far, self.edits.keys()) {
            return next;
        }
        let spec = self.edited(observed);
        let options = PlanOptions { limit: Some(self.edits.keys().cloned().collect()), ..PlanOptions::default() };
        let mut plan = match (Converge { spec: &spec, options }).next(observed, so_far) {
            Next::Done(plan) | Next::Round(plan) => plan,
            other => return other,
        };
        // Only what was asked for, and what failed attempts leave behind.
        let asked = |step: &Step| {
            let edit = step.host.as_ref().and_then(|host| self.edits.get(host));
            match &step.action {
                Action::Promote(_) | Action::Demote => matches!(edit, Some(NodeEdit::Role(_))),
                Action::Configure(_) => edit.is_some(),
                // What a host is goes only after that host has left, which was not asked for.
                Action::RemoveNode(step::RemoveNode { node, .. }) => so_far.rounds > 0 && observed.host_of(node).is_none(),
                _ => false,
            }
        };
        plan.steps.retain(asked);
        let kept: Vec<StepId> = plan.steps.iter().map(|s| s.id.clone()).collect();
        for step in &mut plan.steps {
            step.needs.retain(|need| kept.contains(need));
            if !matches!(step.action, Action::RemoveNode(_)) {
                step.because = "it was asked for".into();
            }
        }
        plan.limit = None;
        plan.notes.extend(self.against_the_file());
        plan.envelope = Envelope::of(&plan.steps);
        if plan.is_empty() { Next::Done(plan) } else { Next::Round(plan) }
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        use crate::condition::Condition;
        let mut findings = Vec::new();
        for (name, edit) in &self.edits {
            let node = observed.hosts.get(name).and_then(|h| h.node.as_ref());
            let (kind, condition) = match edit {
                NodeEdit::Role(role) => (FindingKind::Role, Condition::Role(*role)),
                NodeEdit::Availability(availability) => (FindingKind::Availability, Condition::Availability(*availability)),
                NodeEdit::Labels(labels) => (FindingKind::Labels, Condition::Labels(labels.clone())),
            };
            findings.extend(condition.unmet(node).map(|unmet| Finding { host: Some(name.clone()), kind, message: unmet.to_string() }));
        }
        Verdict::of(findings, quorum_note(observed))
    }
}

/// The managers of the swarm and how many of them are reached, as a note of a verdict.
pub fn quorum_note(observed: &Observed) -> Vec<String> {
    let managers = || observed.view().into_iter().flat_map(|v| &v.nodes).filter(|n| n.manager.is_some());
    vec![quorum::summary(managers().count(), managers().filter(|n| n.is_reachable_manager()).count())]
}

/// To take the nodes of hosts out of the swarm for good: drained, demoted, left, and removed from the list. One after the other.
#[derive(Debug, Clone)]
pub struct RemoveNodes<'a> {
    /// The file.
    pub spec: &'a ClusterSpec,
    /// The hosts.
    pub hosts: Vec<HostName>,
    /// Those of them that are gone and will not come back: nothing is asked of them.
    pub dead: Vec<HostName>,
    /// Nodes by their host names or ids, of hosts that are not named here: removed if they are down.
    pub entries: Vec<String>,
}

/// One host on its way out.
struct Leaving<'a> {
    steps: &'a mut Vec<Step>,
    host: &'a HostName,
    last: Vec<StepId>,
}

impl Leaving<'_> {
    fn push(&mut self, action: Action, before: String, after: &str, because: &str, risk: Risk) {
        let id = StepId::new(format!("{}/{}", self.host, action.verb()));
        let needs = std::mem::replace(&mut self.last, vec![id.clone()]);
        let expect = match &action {
            Action::Demote => Some(crate::condition::Condition::Role(Role::Worker)),
            Action::Configure(step::Configure { change }) => change.availability.map(crate::condition::Condition::Availability),
            _ => None,
        };
        let (host, after, because) = (Some(self.host.clone()), after.to_owned(), because.to_owned());
        self.steps.push(Step { id, host, action, before, after, needs, expect, because, risk });
    }
}

impl RemoveNodes<'_> {
    /// The node of a host: its own, or the one that a dead host had.
    fn node<'o>(&self, observed: &'o Observed, host: &HostName) -> Option<&'o NodeFacts> {
        let seen = observed.hosts.get(host)?;
        match seen.state {
            _ if self.dead.contains(host) => seen.node.as_ref().or(seen.presumed.as_ref()),
            // It left, and its entry is still there: it has the host's name and address.
            HostState::Standalone => self.left_behind(observed, host),
            _ => seen.node.as_ref(),
        }
    }

    /// The entry that a host left behind which is in no swarm now.
    fn left_behind<'o>(&self, observed: &'o Observed, host: &HostName) -> Option<&'o NodeFacts> {
        let engine = observed.hosts.get(host)?.report.engine.as_ref().ok()?;
        let at = match self.spec.host(host)?.advertise_selector() {
            Some(AddressSelector::Ip(ip)) => Some(ip),
            _ => None,
        };
        observed.strangers.iter().find(|n| n.hostname == engine.hostname && (at.is_none() || n.advertised() == at))
    }

    fn plan(&self, observed: &Observed) -> Result<Vec<Step>, Vec<Refusal>> {
        let nodes = || observed.view().into_iter().flat_map(|v| &v.nodes);
        let unsteady = unsteady(observed);
        let counts = |n: &NodeFacts| n.is_reachable_manager() && !unsteady.contains_key(&n.id);
        let (mut voters, mut reachable) = (nodes().filter(|n| n.manager.is_some()).count(), nodes().filter(|n| counts(n)).count());
        let (mut steps, mut refusals, mut last) = (Vec::new(), Vec::new(), Vec::new());
        // Those that are gone go first: while they count, fewer of the others can.
        for host in self.dead.iter().chain(&self.hosts) {
            let Some(node) = self.node(observed, host) else { continue };
            let dead = self.dead.contains(host);
            if dead && answers(observed.hosts.get(host)) {
                let why = "it answers, so it is not dead; take it out without --dead".to_owned();
                refusals.push(Refusal::Unfit { host: host.clone(), why });
                continue;
            }
            if node.manager.is_some() {
                voters -= 1;
                reachable -= usize::from(counts(node));
                if reachable < quorum::needed(voters) || voters == 0 {
                    let why = format!("without it {}, and that is no majority; add a manager first", quorum::summary(voters, reachable));
                    refusals.push(Refusal::Unfit { host: host.clone(), why });
                }
            }
            let mut leaving = Leaving { steps: &mut steps, host, last: std::mem::take(&mut last) };
            let what = format!("{} node {}", node.role, node.id);
            if observed.hosts.get(host).is_some_and(|h| h.state == HostState::Standalone) {
                let demote = node.manager.is_some();
                let because = "its host has left the swarm";
                leaving.push(
                    Action::RemoveNode(step::RemoveNode { node: node.id.clone(), demote, dead, stays: false }),
                    what,
                    "no such node",
                    because,
                    Risk::None,
                );
            } else if dead {
                let demote = node.role == Role::Manager;
                let because = "its host is gone for good; what may still run there is not stopped";
                leaving.push(
                    Action::RemoveNode(step::RemoveNode { node: node.id.clone(), demote, dead, stays: false }),
                    what,
                    "no such node",
                    because,
                    Risk::Quorum,
                );
            } else {
                self.leave(&mut leaving, node, what);
            }
            last = leaving.last;
        }
        for name in &self.entries {
            let mut refuse = |why: String| refusals.push(Refusal::Unfit { host: HostName::new(name.clone()), why });
            let found = self.entry(observed, name);
            let (node, through) = match (found.as_slice(), observed.cluster.live().first()) {
                ([], _) | (_, None) => continue,
                ([node], Some(through)) => (*node, through),
                (several, _) => {
                    let ids: Vec<&str> = several.iter().map(|n| n.id.as_str()).collect();
                    refuse(format!("several nodes have this name; give the id of one: {}", ids.join(", ")));
                    continue;
                }
            };
            if let Some(host) = observed.host_of(&node.id).filter(|host| answers(observed.hosts.get(*host))) {
                refuse(format!("it is {host}, which answers, so it is not dead; take it out by its name"));
                continue;
            }
            // An entry whose host died before it gave its name is never down.
            let gone = node.state == NodeState::Down || (node.state == NodeState::Unknown && node.hostname.is_empty());
            if !gone || node.is_reachable_manager() {
                refuse(format!("it is {}; name its host in the file with `role: none`, and the next apply takes it out", node.state));
                continue;
            }
            if node.manager.is_some() {
                voters -= 1;
                if reachable < quorum::needed(voters) {
                    refuse(format!("without it {}, and that is no majority", quorum::summary(voters, reachable)));
                }
            }
            let id = StepId::new(format!("swarm/remove-{}", node.id));
            let demote = node.role == Role::Manager;
            steps.push(Step {
                id: id.clone(),
                host: Some(through.clone()),
                action: Action::RemoveNode(step::RemoveNode { node: node.id.clone(), demote, dead: true, stays: false }),
                before: format!("{} node {} ({})", node.role, node.id, node.hostname),
                after: "no such node".into(),
                needs: std::mem::replace(&mut last, vec![id]),
                expect: None,
                because: "it is down, and said to be gone for good".into(),
                risk: if demote { Risk::Quorum } else { Risk::None },
            });
        }
        if refusals.is_empty() { Ok(steps) } else { Err(refusals) }
    }

    /// The nodes of a name or id.
    fn entry<'o>(&self, observed: &'o Observed, name: &str) -> Vec<&'o NodeFacts> {
        let nodes = observed.view().into_iter().flat_map(|v| &v.nodes);
        nodes.filter(|n| n.hostname == name || n.id.as_str() == name).collect()
    }

    fn leave(&self, leaving: &mut Leaving<'_>, node: &NodeFacts, what: String) {
        let because = "its host is to leave the swarm";
        if node.availability != Availability::Drain {
            let change = NodeChange { availability: Some(Availability::Drain), ..NodeChange::default() };
            leaving.push(Action::Configure(step::Configure { change }), node.availability.to_string(), "drain", because, Risk::Tasks);
        }
        if node.role == Role::Manager {
            leaving.push(Action::Demote, "manager".into(), "worker", because, Risk::Quorum);
        }
        leaving.push(
            Action::Leave(step::Leave { force: Force::No, node: Some(node.id.clone()), leaderless: false }),
            what.clone(),
            "in no swarm",
            because,
            Risk::Host,
        );
        let remove = Action::RemoveNode(step::RemoveNode { node: node.id.clone(), demote: false, dead: false, stays: false });
        leaving.push(remove, what, "no such node", because, Risk::None);
    }
}

fn answers(seen: Option<&ObservedHost>) -> bool {
    seen.is_some_and(|h| !matches!(h.state, HostState::Unreachable { .. } | HostState::EngineDown { .. } | HostState::NoEngine { .. }))
}

impl Intent for RemoveNodes<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        // A host that is out already has nothing left to do.
        let left = self.hosts.iter().filter(|h| observed.hosts.get(*h).is_none_or(|h| h.state != HostState::Standalone));
        if let Some(next) = hosts_not_now(self.spec, observed, so_far, left) {
            return next;
        }
        match self.plan(observed) {
            Err(refusals) => Next::Refused(refusals),
            Ok(steps) => {
                let mut plan = Plan::of_work(self.spec, observed, steps, Vec::new());
                plan.purpose = PlanPurpose::Remove;
                let named: Vec<&str> = self.hosts.iter().chain(&self.dead).map(HostName::as_str).collect();
                if !named.is_empty() {
                    plan.notes.push(format!("take {} out of the file too, or the next apply brings it back", named.join(", ")));
                }
                if plan.is_empty() { Next::Done(plan) } else { Next::Round(plan) }
            }
        }
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        let mut findings = Vec::new();
        for host in self.hosts.iter().chain(&self.dead) {
            let say = |message: String| Finding { host: Some(host.clone()), kind: FindingKind::NotMember, message };
            let listed: Option<&NodeId> = self.node(observed, host).map(|n| &n.id);
            findings.extend(listed.map(|id| say(format!("node {id} is still listed"))));
            let out = observed.hosts.get(host).is_some_and(|h| h.state == HostState::Standalone);
            if !self.dead.contains(host) && !out {
                findings.push(say("it is not out of the swarm".into()));
            }
        }
        for name in &self.entries {
            let listed = |node: &NodeFacts| Finding {
                host: None,
                kind: FindingKind::NotMember,
                message: format!("node {} ({name}) is still listed", node.id),
            };
            findings.extend(self.entry(observed, name).into_iter().map(listed));
        }
        Verdict::of(findings, quorum_note(observed))
    }
}
