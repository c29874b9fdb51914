//! The rounds of a run: a stubbed intent says what comes next, over a mocked manager.

use super::tests::Mocks;
use super::{Apply, Guard, Operator, Progress, ProgressEvent, Stop, Taken};
use crate::engine::{EngineError, ErrorClass, Reason};
use crate::intent::{Intent, Next, SoFar};
use crate::machine::Outcome;
use crate::observe::{Fact, NodeState, Observed, merge};
use crate::operators::Holder;
use crate::plan::{Envelope, Ledger, Plan, PlanOptions, Planned, build};
use crate::spec::{ClusterSpec, Role};
use crate::testing::MockDocker;
use crate::testkit::{Is, node, spec_with, world};
use crate::verify::{Finding, FindingKind, Verdict};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::{Instant, timeout};

const SECOND: Duration = Duration::from_secs(1);
const HOSTS: [(&str, Is); 2] = [("m1", Is::Manager), ("w1", Is::Worker)];

/// A manager that answers always the same, and the worker's own engine.
fn fleet() -> Mocks {
    let look = world(&HOSTS);
    let mut mocks = Mocks::default();
    for (name, report) in look.hosts {
        let (engine, view) = (report.engine.unwrap(), report.view.known().cloned());
        let mut mock = MockDocker::new();
        mock.expect_info().returning(move || Ok(engine.clone()));
        if let Some(view) = view {
            mock.expect_cluster().returning(move || Ok(view.cluster.clone()));
            mock.expect_nodes().returning(move || Ok(view.nodes.clone()));
            mock.expect_service_count().returning(|| Ok(0));
            mock.expect_node().returning(|_| Ok(node("w1", Role::Worker, NodeState::Ready, false)));
            let refused = || EngineError { doing: "x", class: ErrorClass::Refused, reason: Reason::Other, message: "no".into() };
            mock.expect_update_node().returning(move |_, _, _| Err(refused()));
        }
        mocks = mocks.with(name.as_str(), mock);
    }
    mocks
}

fn file() -> ClusterSpec {
    spec_with(&[("m1", "manager", &[]), ("w1", "worker", &[("rack", "a")])])
}

/// A plan with one step, which gives the worker its label.
fn plan(spec: &ClusterSpec, observed: &Observed) -> Plan {
    match build(spec, observed, &PlanOptions::default()) {
        Planned::Plan(plan) if plan.steps.len() == 1 => plan,
        other => panic!("{other:?}"),
    }
}

fn seen(spec: &ClusterSpec) -> Observed {
    merge(spec, &world(&HOSTS), &BTreeSet::new())
}

/// Says these one after the other, the last one again and again.
struct Says {
    next: Mutex<VecDeque<Next>>,
    /// How often it was asked.
    asked: Mutex<usize>,
    /// How many of the first looks do not find what is wanted.
    not_yet: Mutex<usize>,
}

impl Says {
    fn new(next: impl IntoIterator<Item = Next>) -> Self {
        Self { next: Mutex::new(next.into_iter().collect()), asked: Mutex::new(0), not_yet: Mutex::new(0) }
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

impl Intent for Says {
    fn next(&self, _: &Observed, _: SoFar) -> Next {
        *self.asked.lock().unwrap() += 1;
        let mut next = self.next.lock().unwrap();
        if next.len() > 1 { next.pop_front().unwrap() } else { next[0].clone() }
    }

    fn verify(&self, _: &Observed) -> Verdict {
        let mut not_yet = self.not_yet.lock().unwrap();
        let finding = Finding { host: None, kind: FindingKind::Left, message: "not yet".into() };
        let found = if *not_yet > 0 { vec![finding] } else { Vec::new() };
        *not_yet = not_yet.saturating_sub(1);
        Verdict::of(found, Vec::new())
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Progress for Heard {
    fn report(&self, event: &ProgressEvent) {
        if let ProgressEvent::Waiting { what } = event {
            self.0.lock().unwrap().push(what.clone());
        }
    }
}

fn waiting() -> Next {
    Next::Waiting { why: "it is between two states".into(), budget: 60 * SECOND }
}

/// After a join that failed, what it left is waited for: until it is known, until the deadline, or until someone stops the run.
#[tokio::test(start_paused = true)]
async fn what_a_failed_join_left_is_waited_for() {
    let (spec, fleet) = (file(), fleet());
    let observed = seen(&spec);
    let plan = plan(&spec, &observed);
    for (says, deadline, stopped, took, waits) in [
        (vec![waiting(), waiting(), Next::Done(plan.clone())], 60, false, 2, 1),
        (vec![Next::Done(plan.clone())], 60, false, 0, 0),
        (vec![waiting()], 5, false, 5, 1),
        (vec![waiting()], 60, true, 0, 0),
    ] {
        let (heard, stop, intent) = (Heard::default(), Stop::default(), Says::new(says));
        if stopped {
            stop.stop();
        }
        let apply = Apply::new(&spec, &fleet).progress(&heard).stop(stop);
        let ledger = Ledger::new(&plan.envelope, &observed);
        let began = Instant::now();
        let deadline = began + deadline * SECOND;
        let next = timeout(100 * SECOND, apply.round_after(&intent, &ledger, &observed, SoFar::default(), deadline)).await;
        assert!(next.expect("it ends").is_none());
        assert_eq!(began.elapsed(), took * SECOND);
        assert_eq!(heard.0.lock().unwrap().len(), waits, "it is said once");
    }
}

/// Another round begins only where something of it was agreed to and there is time; what is left is named.
#[tokio::test(start_paused = true)]
async fn a_round_begins_while_something_is_inside_and_there_is_time() {
    let (spec, fleet) = (file(), fleet());
    let observed = seen(&spec);
    let whole = plan(&spec, &observed);
    let nothing = Plan { steps: Vec::new(), ..whole.clone() };
    let outside = Plan { envelope: Envelope::default(), ..nothing.clone() };
    for (plan, time, asked) in [(&nothing, 60, 2), (&nothing, 0, 1), (&outside, 60, 1)] {
        let intent = Says::new([Next::Round(whole.clone()), Next::Done(nothing.clone())]);
        *intent.not_yet.lock().unwrap() = 1;
        let report = Apply::new(&spec, &fleet).timeout(time * SECOND).run_for(&intent, plan, &observed).await;
        assert_eq!(intent.asked(), asked, "{report:?}");
        let findings = &report.verdict.as_ref().unwrap().findings;
        if asked == 1 {
            assert!(findings.len() == 1 && findings[0].message.contains("w1/configure is left to do"), "{findings:?}");
            assert!(report.steps.is_empty());
        } else {
            // The mocked manager refuses the step of the second round.
            assert!(matches!(report.steps.as_slice(), [step] if matches!(step.outcome, Outcome::Failed { .. })), "{report:?}");
        }
    }
}

/// A look that is made for itself waits out an election too, as long as the file gives it.
#[tokio::test(start_paused = true)]
async fn a_look_waits_for_a_leader() {
    let spec = file();
    for answers in [2, usize::MAX] {
        let look = world(&HOSTS);
        let (mut mocks, mut asked) = (Mocks::default(), 0);
        for (name, report) in look.hosts {
            let (engine, view) = (report.engine.unwrap(), report.view.known().cloned());
            let mut mock = MockDocker::new();
            let manages = view.is_some();
            mock.expect_info().returning(move || {
                let mut engine = engine.clone();
                asked += 1;
                if manages && asked <= answers {
                    engine.swarm.cluster = None;
                }
                Ok(engine)
            });
            if let Some(view) = view {
                mock.expect_cluster().returning(move || Ok(view.cluster.clone()));
                mock.expect_nodes().returning(move || Ok(view.nodes.clone()));
                mock.expect_service_count().returning(|| Ok(0));
            }
            mocks = mocks.with(name.as_str(), mock);
        }
        let heard = Heard::default();
        let began = Instant::now();
        let observed = Apply::new(&spec, &mocks).progress(&heard).observe().await;
        assert_eq!(heard.0.lock().unwrap().len(), 1, "it is said once");
        assert_eq!(observed.view().is_some(), answers == 2, "{:?}", observed.cluster);
        assert!(matches!(&observed.hosts[&"m1".into()].report.view, Fact::Known(..)) == (answers == 2));
        let took = began.elapsed();
        assert!(if answers == 2 { took < SECOND } else { took > 20 * SECOND && took < 40 * SECOND }, "{took:?}");
    }
}

/// A run stands in the journal of the swarm: where there is none, there is no journal and nothing to say of it, and where no manager answers
/// it is said that the run is not there.
#[tokio::test(start_paused = true)]
async fn where_there_is_no_swarm_there_is_no_journal() {
    let spec = file();
    for (m1, journal) in [(Is::Alone, false), (Is::Gone, true)] {
        let observed = merge(&spec, &world(&[("m1", m1), ("w1", Is::Alone)]), &BTreeSet::new());
        let (fleet, heard, stop) = (Mocks::default(), Heard::default(), Stop::default());
        let work = Plan::of_work(&spec, &observed, Vec::new(), Vec::new());
        let [who, from, why, run, process] = ["ann", "there", "maintain", "a", ""].map(str::to_owned);
        let holder = Holder { who, from, why, run, process, since: 0 };
        let by = Operator { holder, wait: Duration::ZERO, is_gone: &|_| false, progress: &heard };
        let Taken::Held { lock, .. } = Guard::take(&spec, &fleet, &observed, &work, by).await else { panic!("no one holds it") };
        assert_eq!(lock.without.as_deref(), Some(if journal { "no manager answers for the swarm" } else { "there is no swarm" }));
        let (_, left) = lock.during(&work, &stop, Apply::new(&spec, &fleet).run(&work, &observed)).await;
        assert_eq!(left.is_some(), journal, "{left:?}");
        assert!(left.is_none_or(|left| left.contains("no manager answers")));
    }
}
