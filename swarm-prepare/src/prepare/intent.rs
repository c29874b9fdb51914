//! Hosts are made ready first, and then comes what another intent does on them: one plan, in which a host joins as soon as it is ready.

use super::content::Given;
use super::facts::Looked;
use super::steps::{Options, last, wanted};
use super::work::opens_firewall;
use std::collections::BTreeSet;
use swarm_core::ClusterSpec;
use swarm_core::engine::Query;
use swarm_core::id::{HostName, StepId};
use swarm_core::intent::{Intent, Next, SoFar};
use swarm_core::observe::Observed;
use swarm_core::plan::{Action, Envelope, Step};
use swarm_core::verify::Verdict;

/// To make hosts ready, and what another intent is for.
#[derive(Debug, Clone)]
pub struct Prepare<'a, I> {
    /// What comes then.
    pub then: I,
    /// The file.
    pub spec: &'a ClusterSpec,
    /// What the hosts said.
    pub looked: &'a Looked,
    /// Files of this machine.
    pub given: &'a Given,
    /// What is allowed.
    pub options: Options,
}

impl<I: Intent> Intent for Prepare<'_, I> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        let next = self.then.next(observed, so_far);
        // What hosts said holds for the first round: it is what that round changes.
        if so_far.rounds > 0 || self.looked.is_empty() {
            return next;
        }
        let all = wanted(self.spec, self.looked, observed, self.given, self.options);
        let mut plan = match next {
            Next::Done(plan) | Next::Round(plan) => plan,
            Next::Refused(refusals) => return Next::Refused([refusals, all.refusals].concat()),
            waiting @ Next::Waiting { .. } => return waiting,
        };
        if !all.refusals.is_empty() {
            return Next::Refused(all.refusals);
        }
        let ready = last(&all.steps);
        let about = |host: &HostName| plan.limit.as_ref().is_none_or(|limit| limit.contains(host));
        let first: Vec<Step> = all.steps.iter().filter(|(host, _)| about(host)).flat_map(|(_, steps)| steps.clone()).collect();
        let joins = |step: &Step| matches!(step.action, Action::Join(_));
        // A host that joins is let in by those that are there already, and by the one that makes the swarm.
        let joining: BTreeSet<HostName> = plan.steps.iter().filter(|s| joins(s)).filter_map(|s| s.host.clone()).collect();
        let opens = |step: &&Step| opens_firewall(step) && step.host.as_ref().is_some_and(|host| !joining.contains(host));
        let opened: Vec<StepId> = first.iter().filter(opens).map(|step| step.id.clone()).collect();
        for step in &mut plan.steps {
            let enters = joins(step) || matches!(step.action, Action::Init(_));
            if let Some(id) = step.host.as_ref().filter(|_| enters).and_then(|host| ready.get(host)) {
                step.needs.push(id.clone());
            }
            if joins(step) {
                step.needs.extend(opened.iter().cloned());
            }
        }
        plan.steps.splice(0..0, first);
        plan.notes.extend(all.notes);
        plan.envelope = Envelope::of(&plan.steps);
        if plan.is_empty() { Next::Done(plan) } else { Next::Round(plan) }
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        self.then.verify(observed)
    }

    fn wants(&self) -> Vec<Query> {
        self.then.wants()
    }
}
