//! A node is drained without a moment in which a service has fewer tasks: they run elsewhere before they end here.

use crate::deploy::there_now;
use crate::nodes::with_waits;
use crate::placement::misfit;
use crate::rebalance::stays;
use crate::steps::{Data, Vacated, against, was};
use crate::there::{There, tasks, wants_tasks};
use std::collections::BTreeSet;
use std::time::Duration;
use swarm_core::ClusterSpec;
use swarm_core::engine::{Object, Query};
use swarm_core::id::{HostName, StepId};
use swarm_core::intent::{Intent, Next, SoFar};
use swarm_core::nodes::{EditNodes, NodeEdit};
use swarm_core::observe::{NodeFacts, Observed};
use swarm_core::plan::{Action, Plan, Refusal, Risk, Step, Target};
use swarm_core::spec::Availability;
use swarm_core::verify::{Finding, FindingKind, Verdict};

/// To drain hosts one after the other, each when the services that can are running elsewhere.
#[derive(Debug, Clone)]
pub struct QuietDrain<'a> {
    /// The cluster's file.
    pub spec: &'a ClusterSpec,
    /// The hosts.
    pub hosts: Vec<HostName>,
    /// How long the tasks of a node may take.
    pub patience: Duration,
}

impl QuietDrain<'_> {
    fn drain(&self) -> EditNodes<'_> {
        let edits = self.hosts.iter().map(|host| (host.clone(), NodeEdit::Availability(Availability::Drain)));
        EditNodes { spec: self.spec, edits: edits.collect() }
    }

    fn step(&self, service: &Object, node: &str, host: &HostName, (before, after): (&str, String), because: &str) -> Step {
        let version = service.version();
        let data = Vacated {
            name: service.name().to_owned(),
            id: service.id().to_owned(),
            version,
            node: node.to_owned(),
            host: host.to_string(),
            patience: u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX),
        };
        let risk = if node.is_empty() { Risk::None } else { Risk::Tasks };
        let mut step = Data::Vacated(data).work().step(before.to_owned(), after, because, risk);
        // One service leaves one host after the other.
        step.id = StepId::new(format!("{}/{host}", step.id));
        step
    }

    /// What comes before and after the drain of a host, and what stops there.
    fn around(&self, host: &HostName, node: &NodeFacts, there: &There<'_>, tasks: &[Object]) -> (Vec<Step>, Vec<Step>, Vec<String>) {
        let (mut before, mut after, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        for service in &there.services {
            let here = tasks.iter().filter(|t| {
                t.text("/ServiceID").as_deref() == Some(service.id())
                    && t.text("/NodeID").as_deref() == Some(node.id.as_str())
                    && t.text("/DesiredState").as_deref() == Some("running")
            });
            let count = here.count();
            let begun = was(service).is_some_and(|was| was.node == node.id.as_str());
            if count == 0 && !begun {
                continue;
            }
            let spec = service.spec();
            let away = if begun { spec.clone() } else { against(&spec, node.id.as_str()) };
            let stops = match stays(&spec) {
                Some(why) => Some(why.to_owned()),
                None if there.nodes.iter().all(|n| misfit(&away, n).is_some()) => Some("no other node may have its tasks".to_owned()),
                None => None,
            };
            match stops {
                Some(why) => {
                    notes.push(format!("service {}: its {count} on {host} will stop before the drain ends: {why}", service.name()))
                }
                None => {
                    let after_it = format!("they run elsewhere, and then end on {host}");
                    let is = format!("{count} of its tasks on {host}");
                    before.push(self.step(service, node.id.as_str(), host, (&is, after_it), "no request is to meet fewer tasks"));
                    let back = ("a constraint against the node", "its own constraints".to_owned());
                    after.push(self.step(service, "", host, back, "the node is drained"));
                }
            }
        }
        (before, after, notes)
    }

    fn plan(&self, drains: Plan, there: &There<'_>, tasks: &[Object], observed: &Observed) -> Plan {
        let mut steps: Vec<Step> = Vec::new();
        let mut notes = drains.notes.clone();
        let node_of = |step: &Step| step.host.as_ref().and_then(|host| observed.hosts.get(host)?.node.as_ref());
        let going: Vec<&str> = drains.steps.iter().filter_map(node_of).map(|node| node.id.as_str()).collect();
        // What a run left that was cut off is taken back first, but where it was about a node that is drained now.
        let mut last: Vec<StepId> = Vec::new();
        for service in there.services.iter().filter(|s| was(s).is_some_and(|was| !going.contains(&was.node.as_str()))) {
            let back = ("a constraint against a node", "its own constraints".to_owned());
            let step = self.step(service, "", &HostName::new("back"), back, "a run that drained a node was cut off");
            last.push(step.id.clone());
            steps.push(step);
        }
        for mut drain in drains.steps {
            let (Some(host), Some(node)) = (drain.host.clone(), node_of(&drain)) else { continue };
            let (before, after, stops) = self.around(&host, node, there, tasks);
            notes.extend(stops);
            let ids = |steps: &[Step]| steps.iter().map(|s| s.id.clone()).collect::<Vec<_>>();
            let waits_for = std::mem::take(&mut last);
            let first = ids(&before);
            steps.extend(before.into_iter().map(|step| Step { needs: waits_for.clone(), ..step }));
            drain.needs.extend(waits_for);
            drain.needs.extend(first);
            last = ids(&after);
            last.push(drain.id.clone());
            let after: Vec<Step> = after.into_iter().map(|step| Step { needs: vec![drain.id.clone()], ..step }).collect();
            steps.push(drain);
            steps.extend(after);
        }
        // What an earlier step of this plan changes has another version by then.
        let mut changed: BTreeSet<Target> = BTreeSet::new();
        for step in &mut steps {
            let again = !changed.insert(step.target());
            if let Action::Work(work) = &mut step.action
                && again
                && let Some(version) = work.data.get_mut("version")
            {
                *version = 0.into();
            }
        }
        let plan = Plan::of_work(self.spec, observed, steps, notes);
        with_waits(plan, observed, self.patience, |_| true)
    }
}

impl Intent for QuietDrain<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        let there = match there_now(self.spec, observed, so_far) {
            Ok(there) => there,
            Err(next) => return *next,
        };
        let tasks = match tasks(observed) {
            Ok(tasks) => tasks,
            Err(why) => return Next::Refused(vec![Refusal::Object { object: Target::Swarm, why }]),
        };
        let drains = match self.drain().next(observed, so_far) {
            Next::Done(plan) | Next::Round(plan) => plan,
            other => return other,
        };
        let plan = self.plan(drains, &there, tasks, observed);
        if plan.is_empty() { Next::Done(plan) } else { Next::Round(plan) }
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        let mut verdict = self.drain().verify(observed);
        let say = |message: String| Finding { host: None, kind: FindingKind::Object, message };
        match There::of(observed) {
            Ok(there) => verdict.findings.extend(
                there
                    .services
                    .iter()
                    .filter(|s| was(s).is_some())
                    .map(|s| say(format!("service {}: it has a constraint against a node", s.name()))),
            ),
            Err(why) => verdict.findings.push(say(why)),
        }
        verdict.converged = verdict.findings.is_empty();
        verdict
    }

    fn wants(&self) -> Vec<Query> {
        wants_tasks()
    }
}
