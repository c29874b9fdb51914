//! What runs come to seldom: each part asked by itself.

use super::run::Run;
use super::{Answer, Ask, Call, Event, Move, Outcome, Start, Task};
use crate::condition::Condition;
use crate::engine::{Body, EngineError, ErrorClass, Kind, NodeChange, Query, Reason};
use crate::id::{ClusterId, HostName, NodeId};
use crate::observe::{LocalState, LocalSwarm, NodeState, merge};
use crate::plan::{Action, Plan, PlanOptions, Planned, Rejoin, Risk, Step, Target, Work, build};
use crate::spec::{Availability, Role};
use crate::step::{self, Input, PENDING_BUDGET, Rejoining, Stage, StepRun, Then, Todo, Why};
use crate::testkit::{Is, node, spec, spec_with, world};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const MILLI: Duration = Duration::from_millis(1);

fn run_of(plan: &Plan) -> Run {
    let start = Start {
        managers: vec![(HostName::new("m1"), "10.0.1.1:2377".into())],
        nodes: [(HostName::new("m1"), NodeId::new("node-m1")), (HostName::new("w1"), NodeId::new("node-w1"))].into(),
        listed: BTreeSet::new(),
        concurrency: 8,
    };
    Run::new(plan, start, &|_| Err("there is no other family".into()))
}

/// A plan in which a worker becomes a manager.
fn promotion() -> Plan {
    let spec = spec_with(&[("m1", "manager", &[]), ("w1", "manager", &[])]);
    let observed = merge(&spec, &world(&[("m1", Is::Manager), ("w1", Is::Worker)]), &BTreeSet::new());
    match build(&spec, &observed, &PlanOptions::default()) {
        Planned::Plan(plan) => plan,
        Planned::Refused(reasons) => panic!("{reasons:?}"),
    }
}

fn promoted(plan: &Plan) -> (Step, Rejoin) {
    let found = plan.steps.iter().find_map(|step| match &step.action {
        Action::Promote(step::Promote { rejoin }) => Some((step.clone(), rejoin.clone())),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("{plan:#?}"))
}

fn labels() -> NodeChange {
    NodeChange { labels: [("rack".to_owned(), Some("a".to_owned()))].into(), ..NodeChange::default() }
}

/// A host that joins in place of a promotion gets no task before it has the labels that steer them.
#[test]
fn a_join_in_place_of_a_promotion_is_drained_until_it_has_its_labels() {
    let plan = promotion();
    let (step, rejoin) = promoted(&plan);
    let paused = Some(Availability::Pause);
    for (node, availability) in [
        (NodeChange::default(), Availability::Active),
        (labels(), Availability::Drain),
        (NodeChange { availability: paused, ..NodeChange::default() }, Availability::Pause),
        (NodeChange { availability: paused, ..labels() }, Availability::Pause),
    ] {
        let run = run_of(&plan);
        let action = Action::Promote(step::Promote { rejoin: Rejoin { node: node.clone(), ..rejoin.clone() } });
        let mut one = StepRun::new(Step { action, ..step.clone() }, HostName::new("w1"));
        one.rejoin = Rejoining::Joins;
        let call = one.step.action.kind().call(&one, run.ways());
        assert!(
            matches!(&call, Some((_, Call::Join { role: Role::Manager, request, .. })) if request.availability == availability),
            "{node:?}: {call:?}"
        );
    }
}

#[test]
fn a_join_in_place_of_a_promotion_is_done_when_its_node_has_what_the_old_one_had() {
    let (step, rejoin) = promoted(&promotion());
    for (node, dressed) in [(NodeChange::default(), false), (labels(), true)] {
        let action = Action::Promote(step::Promote { rejoin: Rejoin { node: node.clone(), ..rejoin.clone() } });
        let mut one = StepRun::new(Step { action: action.clone(), ..step.clone() }, HostName::new("w1"));
        (one.changed, one.rejoin) = (true, Rejoining::Joins);
        let (stage, todo) = action.kind().confirmed(&mut one, MILLI, Duration::ZERO);
        let expected = if dressed { (Stage::Calling, Todo::Call) } else { (Stage::Ended(Outcome::Done { changed: true }), Todo::Nothing) };
        assert_eq!((stage, todo), expected);
        assert_eq!(one.rejoin, Rejoining::Dresses);
        assert_eq!(one.step.action.kind().expected(&one), Some(Condition::All(vec![Condition::Labels(node.labels.clone())])));
        assert_ne!(one.step.action.kind().expected(&one), one.step.expect);
    }
}

fn swarm(reported: LocalState, manages: bool, cluster: bool) -> LocalSwarm {
    LocalSwarm {
        node: (reported == LocalState::Active).then(|| NodeId::new("node-m1")),
        control_available: manages,
        cluster: cluster.then(|| ClusterId::new("ours")),
        reported,
        ..LocalSwarm::outside()
    }
}

fn recovery() -> Step {
    let action = Action::Recover(step::Recover { advertise: "10.0.1.1".parse().unwrap(), listen: "0.0.0.0:2377".into() });
    Step { action, ..promoted(&promotion()).0 }
}

fn error(class: ErrorClass) -> EngineError {
    EngineError { doing: "x", class, reason: Reason::Other, message: "it failed".into() }
}

/// A manager that was asked to be the only one is waited for, unless it refused, and never for longer than a join is.
#[test]
fn a_recovered_manager_leads_or_it_is_said_what_it_is() {
    let mute = swarm(LocalState::Active, true, false);
    let (since, last) = (Duration::from_secs(5), Duration::from_secs(5) + PENDING_BUDGET);
    let doubt = |class| Why::Doubt { error: error(class), since };
    let kept = "it failed; its state is kept: restart its engine to have it as it was";
    for (why, swarm, now, ended) in [
        (doubt(ErrorClass::Unknown), &mute, since, None),
        (doubt(ErrorClass::Unknown), &mute, last - MILLI, None),
        (doubt(ErrorClass::Unknown), &mute, last, Some("it failed")),
        (doubt(ErrorClass::Refused), &mute, since, Some("it failed")),
        (doubt(ErrorClass::Refused), &swarm(LocalState::Inactive, false, false), since, Some(kept)),
        (Why::Confirm, &mute, last, None),
    ] {
        let mut run = StepRun::new(recovery(), HostName::new("m1"));
        let (stage, todo) = recovery().action.kind().looked(&mut run, why.clone(), swarm, now);
        match (&stage, ended) {
            (Stage::Ended(Outcome::Failed { message }), Some(words)) => assert_eq!(message, words),
            (Stage::Pausing { until, then: Then::Look(Why::Doubt { .. }) }, None) => assert_eq!(*until, now + 500 * MILLI),
            _ => panic!("{why:?} {swarm:?} {now:?}: {stage:?}"),
        }
        assert_eq!((todo, run.changed), (Todo::Nothing, false));
    }
    for (state, manages, cluster, leads) in
        [(LocalState::Active, true, true, true), (LocalState::Active, false, true, false), (LocalState::Pending, true, true, false)]
    {
        let answer = Answer::SawHost(swarm(state, manages, cluster));
        assert_eq!(recovery().action.kind().leads_at(&answer).is_some(), leads);
    }
    let mut run = StepRun::new(recovery(), HostName::new("m1"));
    let done = recovery().action.kind().looked(&mut run, Why::Confirm, &swarm(LocalState::Active, true, true), last);
    assert_eq!(done, (Stage::Ended(Outcome::Done { changed: true }), Todo::Nothing));
}

/// Others join through it from the moment that it leads, and not before.
#[test]
fn a_recovered_manager_is_asked_from_then_on() {
    let plan = Plan { steps: vec![Step { needs: Vec::new(), ..recovery() }], ..promotion() };
    for (leads, known) in [(false, 0), (true, 1)] {
        let start = Start { managers: Vec::new(), nodes: Default::default(), listed: BTreeSet::new(), concurrency: 8 };
        let mut run = Run::new(&plan, start, &|_| Err("none".into()));
        let call = run.poll_effect(Duration::ZERO).unwrap();
        run.handle_answer(Duration::ZERO, call.id, &Answer::Done);
        let look = run.poll_effect(Duration::ZERO).unwrap();
        run.handle_answer(Duration::ZERO, look.id, &Answer::SawHost(swarm(LocalState::Active, true, leads)));
        assert_eq!(run.managers.len(), known, "{:?}", run.managers);
    }
}

/// The list of a large swarm is asked for the more seldom the longer it is, counted from when it was asked for last.
#[test]
fn a_long_list_is_not_asked_for_again_at_once() {
    for (nodes, next) in [(10, 12_000), (50, 12_000), (20_050, 12_000), (50_050, 15_000)] {
        let mut run = run_of(&promotion());
        let call = run.poll_effect(Duration::ZERO).unwrap();
        let one = node("w9", Role::Worker, NodeState::Ready, false);
        run.seen = Arc::new((0..nodes).map(|n| (NodeId::new(format!("n{n}")), one.clone())).collect());
        run.looked_at = Duration::from_secs(10);
        run.handle_answer(Duration::from_secs(12), call.id, &Answer::Done);
        assert_eq!(run.look_at, Duration::from_millis(next), "{nodes} nodes");
    }
}

/// Asks once, and ends.
#[derive(Debug)]
struct Asks(Vec<Ask>);

impl Task for Asks {
    fn next(&mut self, event: Event<'_>, _: Duration) -> Move {
        match event {
            Event::Begin => Move::Ask(self.0.clone()),
            Event::Answer(_) | Event::Time => Move::End(Outcome::Done { changed: false }),
        }
    }
}

/// What was only asked, or not even that, was not begun; what was answered after the stop, or changes something, is in doubt.
#[test]
fn a_stop_knows_what_a_family_had_begun() {
    let spec = spec(&["m1", "w1"]);
    let observed = merge(&spec, &world(&[("m1", Is::Manager), ("w1", Is::Worker)]), &BTreeSet::new());
    let step = |name: &str, needs: &[&Step]| {
        let target = Target::Object { kind: "thing".into(), name: name.into() };
        let work = Work { family: "things".into(), verb: "make".into(), target, data: json!(null) };
        let mut step = work.step("", "", "", Risk::None);
        step.needs = needs.iter().map(|step| step.id.clone()).collect();
        step
    };
    let list = || vec![Ask::List(Query::all(Kind::Node))];
    let make = || vec![Ask::Create(Kind::Config, Body::of(json!({ "Name": "a" })))];
    let first = step("a", &[]);
    let second = step("b", &[&first]);
    let plan = Plan::of_work(&spec, &observed, vec![first, second], Vec::new());
    let (doubt, not_started) = ("in-doubt", "not-started");
    let replies = || Answer::Replies(Vec::new());
    let refused = || Answer::Failed(error(ErrorClass::Refused));
    for (what, asks, polled, answer, now, then) in [
        ("a question under way that is answered", list(), true, replies(), None, doubt),
        ("a question under way that fails", list(), true, refused(), None, not_started),
        ("a change under way that fails", make(), true, refused(), None, doubt),
        ("a question that was not sent", list(), false, replies(), Some(not_started), not_started),
        ("a change that was not sent", make(), false, replies(), Some(not_started), not_started),
    ] {
        let start = Start { managers: vec![("m1".into(), "10.0.1.1:2377".into())], ..Start::of(&observed, 8) };
        let mut run = Run::new(&plan, start, &|_| Ok(Box::new(Asks(asks.clone()))));
        let effect = polled.then(|| run.poll_effect(Duration::ZERO).unwrap());
        run.stop();
        let word = |run: &Run, index: usize| {
            let outcome = run.outcomes().nth(index).unwrap().1.cloned();
            outcome.map(|outcome| serde_json::to_value(outcome).unwrap()["outcome"].as_str().unwrap().to_owned())
        };
        assert_eq!(word(&run, 0).as_deref(), now, "{what}");
        assert_eq!(word(&run, 1).as_deref(), Some(not_started), "{what}: what waits for it");
        if let Some(effect) = effect {
            run.handle_answer(Duration::ZERO, effect.id, &answer);
        }
        assert_eq!(word(&run, 0).as_deref(), Some(then), "{what}");
        assert!(run.is_over() && run.poll_effect(Duration::ZERO).is_none(), "{what}");
    }
}

/// An entry that someone else removed while it was demoted is not asked about once more.
#[test]
fn an_entry_that_is_gone_is_removed() {
    let action = Action::RemoveNode(step::RemoveNode { node: NodeId::new("old"), demote: true, dead: true, stays: false });
    let mut run = StepRun::new(Step { action, ..recovery() }, HostName::new("m1"));
    run.stage = Stage::Confirming { until: Duration::from_secs(90) };
    let todo = run.next(&Input::View { node: None, all: &Default::default(), asked: Duration::ZERO }, Duration::from_secs(1));
    assert_eq!((todo, run.outcome()), (Todo::Nothing, Some(&Outcome::Done { changed: false })));
}
