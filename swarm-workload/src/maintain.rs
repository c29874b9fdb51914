//! Hosts are served one after the other: the node is drained, a program runs, the node is waited for and gets back the availability it had.
//! On a host in no swarm the program runs, and its engine is waited for.

use crate::steps::{Data, Drained, Served};
use std::collections::BTreeMap;
use std::time::Duration;
use swarm_core::ClusterSpec;
use swarm_core::condition::Condition;
use swarm_core::engine::NodeChange;
use swarm_core::id::{HostName, StepId};
use swarm_core::intent::{Intent, Next, SoFar, not_now, one_round};
use swarm_core::observe::{HostState, NodeFacts, NodeState, Observed};
use swarm_core::plan::{Action, Plan, Refusal, Risk, Step};
use swarm_core::spec::Availability;
use swarm_core::step;
use swarm_core::verify::{Finding, FindingKind, Verdict};

/// The label of a node that is being served: the availability that it gets back, also by another run than the one that drained it.
pub const WAS_LABEL: &str = "swarm.maintain.was";

/// To run a program on hosts whose nodes are drained for that time.
#[derive(Debug, Clone)]
pub struct Maintain<'a> {
    /// The file.
    pub spec: &'a ClusterSpec,
    /// The hosts. Workers come first, then managers, the leader last.
    pub hosts: Vec<HostName>,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Programs of hosts that have one of their own, each with the name of the payload that it reads.
    pub own: BTreeMap<HostName, (Vec<String>, String)>,
    /// What the program is called in plans, where that is not what it is given as.
    pub name: Option<String>,
    /// How many workers are served at a time. Managers are served one at a time.
    pub batch: usize,
    /// How long tasks may take to leave a node.
    pub drain: Duration,
    /// How long the program may take.
    pub patience: Duration,
    /// Whether managers may be without a majority meanwhile, as a single one is.
    pub accept_downtime: bool,
    /// Whether the hosts restart by the program.
    pub reboots: bool,
}

/// The availability that a node has when it is not being served.
fn own(node: &NodeFacts) -> Availability {
    match node.labels.get(WAS_LABEL).map(String::as_str) {
        Some("active") => Availability::Active,
        Some("pause") => Availability::Pause,
        _ => node.availability,
    }
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

/// Whether a host is in no swarm, with an engine that answers.
fn is_alone(observed: &Observed, host: &HostName) -> bool {
    observed.hosts.get(host).is_some_and(|seen| matches!(seen.state, HostState::Standalone))
}

/// How long a node may take to be ready after the program, and what else a host takes.
const REST: Duration = Duration::from_secs(330);

impl Maintain<'_> {
    /// How long all of it may take: every host its whole time, and what the file allows a run besides.
    pub fn longest(&self) -> Duration {
        let each = self.drain + self.patience + REST;
        self.spec.policy().timeout + each * u32::try_from(self.hosts.len()).unwrap_or(u32::MAX)
    }

    fn step(host: &HostName, verb: &str, change: NodeChange, before: Availability, because: &str, needs: Vec<StepId>) -> Step {
        let availability = change.availability.unwrap_or(before);
        Step {
            id: StepId::new(format!("{host}/{verb}")),
            host: Some(host.clone()),
            expect: Some(Condition::All(vec![Condition::Availability(availability), Condition::Labels(change.labels.clone())])),
            action: Action::Configure(step::Configure { change }),
            before: before.to_string(),
            after: availability.to_string(),
            needs,
            because: because.into(),
            risk: if availability == Availability::Drain { Risk::Tasks } else { Risk::None },
        }
    }

    /// The step that runs the program.
    fn run(&self, host: &HostName, node: Option<&NodeFacts>, (before, after): (&str, &str), risk: Risk) -> Step {
        let served = Served {
            host: host.to_string(),
            node: node.map(|node| node.id.to_string()),
            argv: self.own.get(host).map_or_else(|| self.argv.clone(), |(argv, _)| argv.clone()),
            input: self.own.get(host).map(|(_, input)| input.clone()),
            patience: millis(self.patience),
            accept_downtime: self.accept_downtime,
            reboots: self.reboots,
        };
        let program = self.name.clone().unwrap_or_else(|| self.argv.join(" "));
        Data::Served(served).work().step(before, format!("`{program}` ran, and {after}"), "it is asked for", risk)
    }

    /// The steps of one host; the last of them.
    fn serve(&self, host: &HostName, node: &NodeFacts, needs: &[StepId], steps: &mut Vec<Step>) -> StepId {
        let was = own(node);
        let mut last = needs.to_vec();
        if was != Availability::Drain {
            let labels = [(WAS_LABEL.to_owned(), Some(was.to_string()))].into();
            let change = NodeChange { availability: Some(Availability::Drain), labels, ..NodeChange::default() };
            let drain = Self::step(host, "drain", change, node.availability, "its tasks move away before the program runs", last);
            last = vec![drain.id.clone()];
            steps.push(drain);
        }
        let wait = Drained { host: host.to_string(), node: node.id.to_string(), patience: millis(self.drain), stranger: false };
        let mut wait = Data::Drained(wait).work().step("its tasks run", "no task runs there", "its tasks move to other nodes", Risk::Tasks);
        wait.needs = last;
        let risk = if node.manager.is_some() { Risk::Quorum } else { Risk::Host };
        let mut run = self.run(host, Some(node), ("drained", "its node is ready"), risk);
        run.needs = vec![wait.id.clone()];
        let mut end = run.id.clone();
        steps.push(wait);
        steps.push(run);
        if was != Availability::Drain {
            let change = NodeChange { availability: Some(was), labels: [(WAS_LABEL.to_owned(), None)].into(), ..NodeChange::default() };
            let restore = Self::step(host, "restore", change, Availability::Drain, "the availability it had", vec![end]);
            end = restore.id.clone();
            steps.push(restore);
        }
        end
    }

    fn plan(&self, observed: &Observed) -> Result<Plan, Vec<Refusal>> {
        let (mut alone, mut workers, mut managers, mut refusals) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for host in &self.hosts {
            let Some(seen) = observed.hosts.get(host) else { continue };
            match (&seen.state, &seen.node) {
                (HostState::Member { .. }, Some(node)) if node.manager.is_some() => managers.push((host, node)),
                (HostState::Member { .. }, Some(node)) => workers.push((host, node)),
                (HostState::Standalone, _) => alone.push(host),
                (state, _) => {
                    let why = state.in_full();
                    refusals.push(Refusal::Unfit { host: host.clone(), why: format!("it is no node of the swarm that answers ({why})") });
                }
            }
        }
        if !refusals.is_empty() {
            return Err(refusals);
        }
        managers.sort_by_key(|(_, node)| node.leads());
        let mut steps = Vec::new();
        let mut needs: Vec<StepId> = Vec::new();
        for batch in workers.chunks(self.batch.max(1)).chain(managers.chunks(1)) {
            let before = std::mem::take(&mut needs);
            needs.extend(batch.iter().map(|(host, node)| self.serve(host, node, &before, &mut steps)));
        }
        let mut notes = Vec::new();
        for host in alone {
            steps.push(self.run(host, None, ("in no swarm", "its engine answers"), Risk::Host));
            let running = observed.hosts.get(host).and_then(|seen| seen.report.engine.as_ref().ok()).map_or(0, |e| e.running_containers);
            if running > 0 {
                let s = if running == 1 { "container runs" } else { "containers run" };
                notes.push(format!("{host} is in no swarm, so nothing moves away from it before the program runs: {running} {s} there"));
            }
        }
        for (host, node) in workers.iter().chain(&managers) {
            if own(node) == Availability::Drain {
                notes.push(format!("{host} is drained already, and stays so"));
            } else if node.labels.contains_key(WAS_LABEL) {
                notes.push(format!("{host} was being served when a run was cut off: it gets back `{}`", own(node)));
            }
        }
        Ok(Plan::of_work(self.spec, observed, steps, notes))
    }
}

impl Intent for Maintain<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        // A swarm is not needed where all of them are in none.
        let needs_one = observed.view().is_some() || !self.hosts.iter().all(|host| is_alone(observed, host));
        match not_now(self.spec, observed, so_far).filter(|_| so_far.rounds == 0 && needs_one) {
            Some(next) => next,
            None => one_round(self.spec, observed, so_far, || self.plan(observed)),
        }
    }

    fn is_deed(&self) -> bool {
        true
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        let mut findings = Vec::new();
        for host in self.hosts.iter().filter(|host| !is_alone(observed, host)) {
            let node = observed.hosts.get(host).and_then(|h| h.node.as_ref());
            let none = Condition::Labels([(WAS_LABEL.to_owned(), None)].into());
            for (kind, condition) in [(FindingKind::NotReady, Condition::Ready), (FindingKind::Availability, none)] {
                findings.extend(condition.unmet(node).map(|unmet| Finding { host: Some(host.clone()), kind, message: unmet.to_string() }));
            }
        }
        // After another manager took over, nodes are unknown until they have reported to it.
        let others = observed.hosts.iter().filter(|(name, _)| !self.hosts.contains(name));
        let unknown = others.filter(|(_, h)| h.node.as_ref().is_some_and(|n| n.state == NodeState::Unknown));
        findings.extend(unknown.filter_map(|(name, h)| {
            let message = Condition::Ready.unmet(h.node.as_ref())?.to_string();
            Some(Finding { host: Some(name.clone()), kind: FindingKind::NotReady, message })
        }));
        Verdict::of(findings, Vec::new())
    }
}
