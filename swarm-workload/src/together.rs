//! A cluster and the applications of its file in one plan: hosts first, then what runs on them.

use crate::deploy::{Deploy, Makes};
use crate::nodes::with_waits;
use crate::there::wants;
use std::collections::BTreeSet;
use std::time::Duration;
use swarm_core::engine::Query;
use swarm_core::id::{HostName, StepId};
use swarm_core::intent::{Converge, Intent, Next, SoFar};
use swarm_core::observe::Observed;
use swarm_core::plan::{Action, Envelope};
use swarm_core::verify::Verdict;

/// How long what runs on a host that is to leave may take to move away.
const LEAVING_PATIENCE: Duration = Duration::from_secs(120);

/// To bring a cluster about, and stacks on it.
#[derive(Debug, Clone)]
pub struct Together<'a> {
    /// The cluster.
    pub converge: Converge<'a>,
    /// Its stacks.
    pub deploys: Vec<Deploy<'a>>,
}

impl Intent for Together<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        let mut plan = match self.converge.next(observed, so_far) {
            Next::Done(plan) | Next::Round(plan) => plan,
            other => return other,
        };
        // What runs on a host that is to leave moves away first.
        let leaving: BTreeSet<HostName> =
            plan.steps.iter().filter(|s| matches!(s.action, Action::Leave(_))).filter_map(|s| s.host.clone()).collect();
        plan = with_waits(plan, observed, LEAVING_PATIENCE, |host| leaving.contains(host));
        let hosts: Vec<StepId> = plan.steps.iter().map(|s| s.id.clone()).collect();
        let (mut refusals, mut makes) = (Vec::new(), Makes::new());
        for deploy in &self.deploys {
            match deploy.steps_after(observed, so_far, &mut makes) {
                Ok((steps, notes)) => {
                    plan.notes.extend(notes);
                    plan.steps.extend(steps.into_iter().map(|mut step| {
                        // What runs comes when the hosts are as they are to be.
                        step.needs.extend(hosts.iter().cloned());
                        step
                    }));
                }
                Err(other) => match *other {
                    Next::Refused(found) => refusals.extend(found),
                    waiting => return waiting,
                },
            }
        }
        if !refusals.is_empty() {
            return Next::Refused(refusals);
        }
        plan.envelope = Envelope::of(&plan.steps);
        if plan.is_empty() { Next::Done(plan) } else { Next::Round(plan) }
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        let mut verdict = self.converge.verify(observed);
        for deploy in &self.deploys {
            let found = deploy.verify(observed);
            verdict.findings.extend(found.findings);
            verdict.notes.extend(found.notes.into_iter().map(|note| format!("stack {}: {note}", deploy.stack.name)));
        }
        verdict.converged = verdict.findings.is_empty();
        verdict
    }

    fn wants(&self) -> Vec<Query> {
        if self.deploys.is_empty() { Vec::new() } else { wants() }
    }
}
