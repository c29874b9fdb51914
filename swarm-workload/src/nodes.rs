//! Nodes with what runs on them: a drain ends when no task runs there, and a node is taken out only after that.

use crate::steps::{Data, Drained};
use std::time::Duration;
use swarm_core::id::{HostName, StepId};
use swarm_core::intent::{Intent, Next, SoFar};
use swarm_core::observe::Observed;
use swarm_core::plan::{Action, Envelope, Plan, Risk, Step};
use swarm_core::spec::Availability;
use swarm_core::step;
use swarm_core::verify::Verdict;

/// An intent about nodes of which each drain is waited for.
#[derive(Debug, Clone)]
pub struct Emptied<I> {
    /// The intent.
    pub inner: I,
    /// How long a node may take to have no running task.
    pub patience: Duration,
}

/// After each drain of such a host comes the wait for it, and everything that needed the drain needs the wait.
pub(crate) fn with_waits(mut plan: Plan, observed: &Observed, patience: Duration, of: impl Fn(&HostName) -> bool) -> Plan {
    let mut steps: Vec<Step> = Vec::with_capacity(plan.steps.len());
    for mut step in std::mem::take(&mut plan.steps) {
        let drains =
            matches!(&step.action, Action::Configure(step::Configure { change }) if change.availability == Some(Availability::Drain));
        for done in &steps {
            if let Action::Work(work) = &done.action
                && work.verb == "wait-drained"
                && done.needs.iter().any(|drain| step.needs.contains(drain))
            {
                step.needs.push(done.id.clone());
            }
        }
        let wait = step.host.clone().filter(|host| drains && of(host)).and_then(|host| wait(&host, observed, &step.id, patience));
        steps.push(step);
        steps.extend(wait);
    }
    plan.envelope = Envelope::of(&steps);
    plan.steps = steps;
    plan
}

fn wait(host: &HostName, observed: &Observed, after: &StepId, patience: Duration) -> Option<Step> {
    let node = observed.hosts.get(host)?.node.as_ref()?;
    let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    let data = Drained { host: host.to_string(), node: node.id.to_string(), patience, stranger: false };
    let work = Data::Drained(data).work();
    let mut step = work.step("its tasks run", "no task runs there", "its tasks move to other nodes", Risk::Tasks);
    step.needs = vec![after.clone()];
    Some(step)
}

impl<I: Intent> Intent for Emptied<I> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        match self.inner.next(observed, so_far) {
            Next::Round(plan) => Next::Round(with_waits(plan, observed, self.patience, |_| true)),
            other => other,
        }
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        self.inner.verify(observed)
    }
}
