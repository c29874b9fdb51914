//! A host whose address changes: its node leaves and comes back under the new address, with the role, the labels and the availability it had.

use crate::nodes::with_waits;
use std::time::Duration;
use swarm_core::ClusterSpec;
use swarm_core::addr::AddressSelector;
use swarm_core::condition::Condition;
use swarm_core::engine::NodeChange;
use swarm_core::id::{HostName, NodeId, StepId};
use swarm_core::intent::{Converge, Intent, Next, SoFar, not_now};
use swarm_core::nodes::{RemoveNodes, quorum_note};
use swarm_core::observe::{Fact, HostState, LocalSwarm, NodeFacts, Observed, ObservedCluster, ObservedHost};
use swarm_core::plan::{Action, Envelope, Plan, PlanOptions, PlanPurpose, Refusal, Risk, Step};
use swarm_core::spec::{Availability, Role};
use swarm_core::step;
use swarm_core::verify::{Finding, FindingKind, Verdict};

/// The label of a node whose host is on its way to another address: the host, and the role and availability that it gets back, also by another
/// run than the one that took it out. The entry keeps it, with the node's other labels, until the host is back.
pub const MOVED_LABEL: &str = "swarm.move.was";

/// To give a host's node another address. One host at a time: managers keep their majority.
#[derive(Debug, Clone)]
pub struct Moved<'a> {
    /// The file.
    pub spec: &'a ClusterSpec,
    /// The host.
    pub host: HostName,
    /// The address that its node is to advertise.
    pub to: AddressSelector,
    /// How long tasks may take to leave the node.
    pub patience: Duration,
}

/// What a node was before it was taken out.
fn was(node: &NodeFacts, host: &HostName) -> Option<(Role, Availability)> {
    let mut words = node.labels.get(MOVED_LABEL)?.split(' ');
    if words.next() != Some(host.as_str()) {
        return None;
    }
    let role = if words.next()? == "manager" { Role::Manager } else { Role::Worker };
    let availability = match words.next()? {
        "active" => Availability::Active,
        "pause" => Availability::Pause,
        _ => Availability::Drain,
    };
    Some((role, availability))
}

impl Moved<'_> {
    fn unfit(&self, why: String) -> Next {
        Next::Refused(vec![Refusal::Unfit { host: self.host.clone(), why }])
    }

    /// Whether a node has the new address.
    fn is_there(&self, seen: &ObservedHost, node: &NodeFacts) -> bool {
        let at = node.advertised();
        let wanted = match (&self.to, seen.report.machine.known()) {
            (AddressSelector::Ip(ip), _) => Some(*ip),
            (selector, Some(machine)) => selector.resolve(&machine.addresses).ok(),
            _ => None,
        };
        at.is_some() && at == wanted
    }

    /// The entry that the host had before, with what it was.
    fn left<'o>(&self, observed: &'o Observed, now: Option<&NodeId>) -> Option<(&'o NodeFacts, Role, Availability)> {
        let nodes = observed.view().into_iter().flat_map(|v| &v.nodes).filter(|n| Some(&n.id) != now);
        nodes.into_iter().find_map(|n| was(n, &self.host).map(|(role, availability)| (n, role, availability)))
    }

    /// The file with the host at its new address, and as its node was.
    fn kept(&self, of: Option<(&NodeFacts, Role, Availability)>) -> ClusterSpec {
        self.spec.clone().with_host(&self.host, |wanted| {
            wanted.advertise = Some(self.to.clone());
            if let Some((node, role, availability)) = of {
                wanted.role = role;
                wanted.availability = Some(availability);
                let labels = node.labels.iter().filter(|(key, _)| *key != MOVED_LABEL);
                wanted.labels = labels.map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
            }
        })
    }

    /// What brings the host in, and makes it what it was.
    fn back(&self, spec: &ClusterSpec, observed: &Observed, so_far: SoFar) -> Result<Vec<Step>, Box<Next>> {
        let options = PlanOptions { limit: Some([self.host.clone()].into()), ..PlanOptions::default() };
        let plan = match (Converge { spec, options }).next(observed, so_far) {
            Next::Done(plan) | Next::Round(plan) => plan,
            other => return Err(Box::new(other)),
        };
        let brings = |s: &Step| matches!(s.action, Action::Join(_) | Action::Configure(_) | Action::Promote(_));
        let mut steps: Vec<Step> = plan.steps.into_iter().filter(|s| s.host.as_ref() == Some(&self.host) && brings(s)).collect();
        let ids: Vec<StepId> = steps.iter().map(|s| s.id.clone()).collect();
        steps.iter_mut().for_each(|s| s.needs.retain(|need| ids.contains(need)));
        Ok(steps)
    }

    /// What takes the host out; its entry stays, with what it was.
    fn out(&self, observed: &Observed, node: &NodeFacts, so_far: SoFar) -> Result<Vec<Step>, Box<Next>> {
        let remove =
            RemoveNodes { spec: self.spec, hosts: vec![self.host.clone()], dead: Vec::new(), entries: Vec::new() }.next(observed, so_far);
        let mut steps = match remove {
            Next::Done(plan) | Next::Round(plan) => plan.steps,
            other => return Err(Box::new(other)),
        };
        steps.retain(|s| !matches!(s.action, Action::RemoveNode(_)));
        // A run that was cut off may have drained and demoted it: what it was is on the label then.
        let (role, availability) = was(node, &self.host).unwrap_or((node.role, node.availability));
        let labels = [(MOVED_LABEL.to_owned(), Some(format!("{} {role} {availability}", self.host)))].into();
        let change = NodeChange { availability: Some(Availability::Drain), labels, ..NodeChange::default() };
        let expect = Condition::All(vec![Condition::Availability(Availability::Drain), Condition::Labels(change.labels.clone())]);
        let (drain, keeps) = (StepId::new(format!("{}/configure", self.host)), Action::Configure(step::Configure { change }));
        match steps.iter_mut().find(|s| matches!(s.action, Action::Configure(_))) {
            Some(step) => (step.action, step.expect) = (keeps, Some(expect)),
            None => {
                steps.iter_mut().filter(|s| s.needs.is_empty()).for_each(|s| s.needs.push(drain.clone()));
                let step = Step {
                    id: drain,
                    host: Some(self.host.clone()),
                    action: keeps,
                    before: node.availability.to_string(),
                    after: "drain, and what it was is written down".into(),
                    needs: Vec::new(),
                    expect: Some(expect),
                    because: "its host is to leave the swarm".into(),
                    risk: Risk::Tasks,
                };
                steps.insert(0, step);
            }
        }
        Ok(steps)
    }

    /// The observation as it is to be when the host is out.
    fn once_out(&self, observed: &Observed, node: &NodeFacts) -> Observed {
        let mut observed = observed.clone();
        if let Some(host) = observed.hosts.get_mut(&self.host) {
            (host.state, host.node, host.presumed) = (HostState::Standalone, None, None);
            if let Ok(engine) = &mut host.report.engine {
                engine.swarm = LocalSwarm::outside();
            }
            host.report.view = Fact::NotAsked;
        }
        if let ObservedCluster::One { view, live, .. } = &mut observed.cluster {
            view.nodes.retain(|n| n.id != node.id);
            live.retain(|name| *name != self.host);
        }
        observed
    }

    fn round(&self, observed: &Observed, steps: Vec<Step>, notes: Vec<String>) -> Next {
        let plan = Plan::of_work(self.spec, observed, steps, notes);
        if plan.is_empty() { Next::Done(plan) } else { Next::Round(plan) }
    }

    fn plan(&self, observed: &Observed, so_far: SoFar) -> Result<Next, Box<Next>> {
        let Some(seen) = observed.hosts.get(&self.host) else { return Err(Box::new(self.unfit("it is not in the file".into()))) };
        match (&seen.state, &seen.node) {
            (HostState::Member { .. }, Some(node)) if !self.is_there(seen, node) => {
                let own = was(node, &self.host).unwrap_or((node.role, node.availability));
                let steps = self.out(observed, node, so_far)?;
                // Known before it leaves: whether it can come back there.
                let spec = self.kept(Some((node, own.0, own.1)));
                let back = self.back(&spec, &self.once_out(observed, node), so_far)?;
                let note =
                    format!("then {} joins again at {}, as {} with availability {}, with its labels", self.host, self.to, own.0, own.1);
                let mut plan = Plan::of_work(self.spec, observed, steps, vec![note]);
                plan.purpose = PlanPurpose::Remove;
                let mut plan = with_waits(plan, observed, self.patience, |_| true);
                // What is agreed to is the way out and the way back.
                let both: Vec<Step> = plan.steps.iter().cloned().chain(back).chain([self.configured(), self.removed(node)]).collect();
                plan.envelope = Envelope::of(&both);
                Ok(Next::Round(plan))
            }
            (HostState::Member { .. }, Some(node)) => {
                let Some(left) = self.left(observed, Some(&node.id)) else { return Ok(self.round(observed, Vec::new(), Vec::new())) };
                let mut steps = self.back(&self.kept(Some(left)), observed, so_far)?;
                // Last: until then it says what the node is to be.
                let mut removed = self.removed(left.0);
                removed.needs = steps.iter().map(|s| s.id.clone()).collect();
                steps.push(removed);
                Ok(self.round(observed, steps, Vec::new()))
            }
            (HostState::Standalone, _) => {
                let left = self.left(observed, None);
                let steps = self.back(&self.kept(left), observed, so_far)?;
                let cut = left.is_some() && so_far.rounds == 0;
                let note = cut.then(|| format!("{} was on its way to another address when a run was cut off", self.host));
                let mut next = self.round(observed, steps, note.into_iter().collect());
                if let (Next::Round(plan), Some((node, ..))) = (&mut next, left) {
                    let both: Vec<Step> = plan.steps.iter().cloned().chain([self.configured(), self.removed(node)]).collect();
                    plan.envelope = Envelope::of(&both);
                }
                Ok(next)
            }
            (state, _) => {
                let why = state.in_full();
                Err(Box::new(self.unfit(format!("it is no node of the swarm that answers ({why})"))))
            }
        }
    }

    /// A change of the new node that the round after the join may find it needs.
    fn configured(&self) -> Step {
        self.step("configure", Action::Configure(step::Configure { change: NodeChange::default() }))
    }

    fn removed(&self, node: &NodeFacts) -> Step {
        self.step("remove-node", Action::RemoveNode(step::RemoveNode { node: node.id.clone(), demote: false, dead: false, stays: false }))
    }

    fn step(&self, verb: &str, action: Action) -> Step {
        Step {
            id: StepId::new(format!("{}/{verb}", self.host)),
            host: Some(self.host.clone()),
            action,
            before: "the entry it had at its old address".into(),
            after: "no such node".into(),
            needs: Vec::new(),
            expect: None,
            because: format!("its host is at {}", self.to),
            risk: Risk::None,
        }
    }
}

impl Intent for Moved<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        if let Some(next) = not_now(self.spec, observed, so_far) {
            return next;
        }
        self.plan(observed, so_far).unwrap_or_else(|refused| *refused)
    }

    /// Between its rounds, that the host is out is as it is to be: the next round brings it in, or the run says that this is left to do.
    fn verify(&self, observed: &Observed) -> Verdict {
        let seen = observed.hosts.get(&self.host);
        let node = seen.and_then(|h| h.node.as_ref().filter(|n| self.is_there(h, n)));
        let goes_on = matches!(self.next(observed, SoFar { rounds: 1, ..SoFar::default() }), Next::Round(_));
        let mut findings = Vec::new();
        let mut find = |message: String| findings.push(Finding { host: Some(self.host.clone()), kind: FindingKind::NotMember, message });
        if node.is_none() && !goes_on {
            find(format!("it is no node of the swarm at {}", self.to));
        }
        if let Some((left, ..)) = self.left(observed, node.map(|n| &n.id)).filter(|_| !goes_on) {
            find(format!("node {}, which it was, is still listed", left.id));
        }
        Verdict::of(findings, quorum_note(observed))
    }
}
