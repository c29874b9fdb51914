//! The driver over mocked engines: what is called, in which order, and what is never called.

use super::inspect::inspect;
use super::perform::Performer;
use super::tokens::Tokens;
use super::{NoKeyKeeper, NoProgress, Progress, ProgressEvent};
use crate::engine::{Engine, EngineError, EngineRead, ErrorClass, Force, InitRequest, JoinRequest, NodeChange, Reason};
use crate::fleet::{Actor, Fleet, FleetRead, Reader};
use crate::host::{Host, HostProbe};
use crate::id::{HostName, NodeId};
use crate::machine::{Answer, Call, Effect, EffectId};
use crate::observe::{HostState, ObservedCluster, ReachError, ReachErrorKind, merge};
use crate::plan::{PlanOptions, Planned, build};
use crate::secret::Secret;
use crate::spec::{Availability, ClusterSpec, HostSpec, Role};
use crate::testing::{MockDocker, MockMachine};
use crate::testkit::{Is, node, spec, world};
use async_trait::async_trait;
use mockall::predicate::eq;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Mocks by host; a host that has none cannot be reached.
#[derive(Default)]
pub(super) struct Mocks {
    engines: BTreeMap<HostName, Arc<MockDocker>>,
    machines: BTreeMap<HostName, Arc<MockMachine>>,
    /// Why others are not reached, where it is not that no one answers.
    pub(super) kinds: BTreeMap<HostName, ReachErrorKind>,
}

impl Mocks {
    pub(super) fn with(mut self, host: &str, engine: MockDocker) -> Self {
        self.engines.insert(HostName::new(host), Arc::new(engine));
        self
    }

    pub(super) fn with_machine(mut self, host: &str, machine: MockMachine) -> Self {
        self.machines.insert(HostName::new(host), Arc::new(machine));
        self
    }

    fn find(&self, host: &HostSpec) -> Result<(Arc<MockDocker>, Option<Arc<MockMachine>>), ReachError> {
        let kind = self.kinds.get(&host.name).copied().unwrap_or(ReachErrorKind::Unreachable);
        let gone = || ReachError { kind, message: "no route".into() };
        Ok((self.engines.get(&host.name).cloned().ok_or_else(gone)?, self.machines.get(&host.name).cloned()))
    }
}

#[async_trait]
impl FleetRead for Mocks {
    async fn reader(&self, host: &HostSpec) -> Result<Reader, ReachError> {
        let (engine, machine) = self.find(host)?;
        let engine: Arc<dyn EngineRead> = engine;
        Ok(Reader { host: machine.map(|m| -> Arc<dyn HostProbe> { m }), engine })
    }
}

#[async_trait]
impl Fleet for Mocks {
    async fn actor(&self, host: &HostSpec) -> Result<Actor, ReachError> {
        let (engine, machine) = self.find(host)?;
        let engine: Arc<dyn Engine> = engine;
        Ok(Actor { host: machine.map(|m| -> Arc<dyn Host> { m }), engine })
    }
}

fn failure(class: ErrorClass) -> EngineError {
    EngineError { doing: "x", class, reason: Reason::Other, message: "no".into() }
}

/// A swarm is to be made at m1.
pub(super) fn init() -> InitRequest {
    InitRequest {
        advertise: "10.0.1.1".parse().unwrap(),
        listen: "0.0.0.0:2377".into(),
        data_path: None,
        availability: Availability::Active,
        settings: Default::default(),
        init: Default::default(),
        labels: BTreeMap::new(),
    }
}

pub(super) fn effect(host: &str, call: Call) -> Effect {
    Effect { id: EffectId(1), host: HostName::new(host), step: None, call }
}

/// Tokens for a plan that joins workers.
pub(super) fn tokens() -> Tokens {
    let spec = spec(&["m1", "w1"]);
    let observed = merge(&spec, &world(&[("m1", Is::Manager), ("w1", Is::Alone)]), &BTreeSet::new());
    match build(&spec, &observed, &PlanOptions::default()) {
        Planned::Plan(plan) => Tokens::new(&plan, None),
        Planned::Refused(reasons) => panic!("{reasons:?}"),
    }
}

async fn perform(spec: &ClusterSpec, fleet: &Mocks, effect: &Effect) -> Answer {
    Performer {
        spec,
        fleet,
        keys: &NoKeyKeeper,
        payloads: &crate::engine::NoPayloads,
        tokens: tokens(),
        in_none: Vec::new(),
        ask_again: false.into(),
        fresh_until: Some(Instant::now() + Duration::from_secs(3600)),
        made_ready: Default::default(),
        in_one: Default::default(),
        gather: Default::default(),
    }
    .perform(effect)
    .await
}

fn join() -> Call {
    let request = JoinRequest {
        advertise: "10.0.2.1".parse().unwrap(),
        listen: "0.0.0.0:2377".into(),
        data_path: None,
        availability: Availability::Active,
        remote: "10.0.1.1:2377".into(),
    };
    Call::Join { role: Role::Worker, via: HostName::new("m1"), request, guarded: false }
}

#[tokio::test]
async fn a_token_goes_from_the_manager_to_the_joining_engine_and_nowhere_else() {
    let mut manager = MockDocker::new();
    manager.expect_join_token().with(eq(Role::Worker)).times(1).returning(|_| Ok(Secret::new("SWMTKN-1-x-y")));
    let mut worker = MockDocker::new();
    worker
        .expect_join()
        .withf(|r, token| r.remote == "10.0.1.1:2377" && token.expose() == "SWMTKN-1-x-y")
        .times(1)
        .returning(|_, _| Ok(()));
    let fleet = Mocks::default().with("m1", manager).with("w1", worker);
    assert_eq!(perform(&spec(&["m1", "w1"]), &fleet, &effect("w1", join())).await, Answer::Done);
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_again_when_it_was_refused() {
    let mut manager = MockDocker::new();
    let mut given = 0;
    manager.expect_join_token().with(eq(Role::Worker)).times(2).returning(move |_| {
        given += 1;
        Ok(Secret::new(format!("SWMTKN-1-x-{given}")))
    });
    manager.expect_nodes().times(1).returning(|| Ok(Vec::new()));
    let mut worker = MockDocker::new();
    let rejected = || EngineError { doing: "x", class: ErrorClass::Conflict, reason: Reason::TokenRejected, message: "no".into() };
    worker.expect_join().withf(|_, t| t.expose().ends_with('1')).times(1).returning(move |_, _| Err(rejected()));
    worker.expect_join().withf(|_, t| t.expose().ends_with('2')).times(2).returning(|_, _| Ok(()));
    let fleet = Mocks::default().with("m1", manager).with("w1", worker);
    let spec = spec(&["m1", "w1"]);
    let performer = Performer {
        spec: &spec,
        fleet: &fleet,
        keys: &NoKeyKeeper,
        payloads: &crate::engine::NoPayloads,
        tokens: tokens(),
        in_none: Vec::new(),
        ask_again: false.into(),
        fresh_until: Some(Instant::now() + Duration::from_secs(3600)),
        made_ready: Default::default(),
        in_one: Default::default(),
        gather: Default::default(),
    };
    // The look brings the token along.
    performer.perform(&effect("m1", Call::LookCluster)).await;
    assert!(matches!(performer.perform(&effect("w1", join())).await, Answer::Failed(_)));
    for _ in 0..2 {
        assert_eq!(performer.perform(&effect("w1", join())).await, Answer::Done);
    }
}

#[tokio::test(start_paused = true)]
async fn no_swarm_is_made_while_another_manager_is_in_one_or_silent() {
    let is = |is: Is| {
        let facts = world(&[("m1", Is::Manager), ("m2", is)]).hosts[&HostName::new("m2")].engine.clone();
        move || facts.clone().map_err(|_| failure(ErrorClass::Unreachable))
    };
    let init = init();
    let cases =
        [(Is::Alone, Is::Alone, true), (Is::Alone, Is::Worker, false), (Is::Alone, Is::Gone, false), (Is::Worker, Is::Alone, false)];
    for (this, second, made) in cases {
        let (mut first, mut other) = (MockDocker::new(), MockDocker::new());
        other.expect_info().times(1).returning(is(second));
        first.expect_info().returning(is(this));
        first.expect_init().times(usize::from(made)).returning(|_| Ok(()));
        let (spec, fleet) = (spec(&["m1", "m2"]), Mocks::default().with("m1", first).with("m2", other));
        let in_none = vec![HostName::new("m2")];
        let performer = Performer {
            spec: &spec,
            fleet: &fleet,
            keys: &NoKeyKeeper,
            payloads: &crate::engine::NoPayloads,
            tokens: tokens(),
            in_none,
            ask_again: true.into(),
            fresh_until: None,
            made_ready: Default::default(),
            in_one: Default::default(),
            gather: Default::default(),
        };
        let answer = performer.perform(&effect("m1", Call::Init(init.clone()))).await;
        assert_eq!(answer == Answer::Done, made, "{this:?}, {second:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_join_without_a_token_is_not_begun_and_so_never_in_doubt() {
    let mut manager = MockDocker::new();
    manager.expect_join_token().returning(|_| Err(failure(ErrorClass::Unknown)));
    let mut worker = MockDocker::new();
    worker.expect_join().never();
    let fleet = Mocks::default().with("m1", manager).with("w1", worker);
    let answer = perform(&spec(&["m1", "w1"]), &fleet, &effect("w1", join())).await;
    assert!(matches!(&answer, Answer::Failed(e) if e.class == ErrorClass::Unreachable), "{answer:?}");
}

#[tokio::test]
async fn an_update_sends_what_is_missing_with_the_version_just_read() {
    let change = NodeChange { role: Some(Role::Worker), labels: [("a".to_owned(), Some("b".to_owned()))].into(), ..NodeChange::default() };
    let missing = NodeChange { role: None, ..change.clone() };
    let mut manager = MockDocker::new();
    // To demote is decided on the managers as they are now.
    let facts = || crate::observe::NodeFacts { version: 42, ..node("w1", Role::Worker, crate::observe::NodeState::Ready, false) };
    manager.expect_nodes().returning(move || Ok(vec![facts(), node("m1", Role::Manager, crate::observe::NodeState::Ready, true)]));
    manager.expect_update_node().with(eq(NodeId::new("node-w1")), eq(42), eq(missing)).times(1).returning(|_, _, _| Ok(()));
    let fleet = Mocks::default().with("m1", manager);
    let call = Call::UpdateNode { node: NodeId::new("node-w1"), change };
    assert_eq!(perform(&spec(&["m1", "w1"]), &fleet, &effect("m1", call)).await, Answer::Done);
    // Nothing missing, nothing sent.
    let mut manager = MockDocker::new();
    manager.expect_nodes().returning(|| Ok(vec![node("w1", Role::Worker, crate::observe::NodeState::Ready, false)]));
    manager.expect_update_node().never();
    let call = Call::UpdateNode { node: NodeId::new("node-w1"), change: NodeChange { role: Some(Role::Worker), ..NodeChange::default() } };
    assert_eq!(perform(&spec(&["m1", "w1"]), &Mocks::default().with("m1", manager), &effect("m1", call)).await, Answer::AlreadySo);
}

#[tokio::test]
async fn a_host_that_became_another_node_is_not_made_to_leave() {
    let mut engine = MockDocker::new();
    engine.expect_info().returning(|| {
        let world = world(&[("m1", Is::Manager)]);
        world.hosts.values().next().unwrap().engine.clone().map_err(|_| failure(ErrorClass::Unreachable))
    });
    engine.expect_leave().never();
    let (spec, fleet) = (spec(&["m1"]), Mocks::default().with("m1", engine));
    // A leave that names no node is meant for a join that has not ended.
    for (node, word) in [(Some(NodeId::new("another")), "was another"), (None, "has ended meanwhile")] {
        let answer = perform(&spec, &fleet, &effect("m1", Call::Leave { force: Force::Yes, node, leaderless: false })).await;
        assert!(matches!(&answer, Answer::Failed(e) if e.class == ErrorClass::Refused && e.message.contains(word)), "{answer:?}");
    }
}

/// What a role's change is refused for, by the managers as they are when it is sent.
#[tokio::test]
async fn managers_change_only_while_all_others_are_healthy() {
    use crate::observe::NodeState::{Down, Ready};
    use Role::{Manager, Worker};
    let m = |name: &str, state| node(name, Manager, state, name == "m1");
    // One that is called a worker and has its vote still, and one that is called a manager and has none yet.
    let leaving = crate::observe::NodeFacts { role: Worker, ..m("m2", Ready) };
    let coming = crate::observe::NodeFacts { role: Manager, ..node("w1", Worker, Ready, false) };
    let w = node("w1", Worker, Ready, false);
    let (healthy, unhealthy) = (None, Some(Reason::Unhealthy));
    let quorum = Some(Reason::Quorum);
    for (what, nodes, host, role, want) in [
        ("three healthy ones, one goes", vec![m("m1", Ready), m("m2", Ready), m("m3", Ready)], "m2", Worker, healthy),
        ("a worker becomes one", vec![m("m1", Ready), m("m2", Ready), m("m3", Ready), w.clone()], "w1", Manager, healthy),
        ("beside a dead one", vec![m("m1", Ready), m("m2", Ready), m("m3", Down)], "m2", Worker, unhealthy),
        ("a worker beside a dead one", vec![m("m1", Ready), m("m2", Ready), m("m3", Down), w.clone()], "w1", Manager, unhealthy),
        ("the dead one itself", vec![m("m1", Ready), m("m2", Ready), m("m3", Down)], "m3", Worker, healthy),
        ("one of two dead ones", vec![m("m1", Ready), m("m2", Down), m("m3", Down)], "m3", Worker, unhealthy),
        ("the only one", vec![m("m1", Ready), w.clone()], "m1", Worker, quorum),
        ("one that goes already, beside a dead one", vec![m("m1", Ready), leaving, m("m3", Down)], "m2", Worker, unhealthy),
        (
            "one that comes already, beside a dead one",
            vec![m("m1", Ready), m("m2", Ready), m("m3", Down), coming],
            "w1",
            Manager,
            unhealthy,
        ),
        ("what it is already, beside a dead one", vec![m("m1", Ready), m("m2", Ready), m("m3", Down), w], "w1", Worker, healthy),
        ("one that is not there", vec![m("m1", Ready)], "w1", Manager, Some(Reason::NotFound)),
    ] {
        let mut manager = MockDocker::new();
        manager.expect_nodes().returning(move || Ok(nodes.clone()));
        manager.expect_update_node().returning(|_, _, _| Ok(()));
        let call = Call::UpdateNode {
            node: NodeId::new(format!("node-{host}")),
            change: NodeChange { role: Some(role), ..NodeChange::default() },
        };
        let answer = perform(&spec(&["m1"]), &Mocks::default().with("m1", manager), &effect("m1", call)).await;
        let got = match &answer {
            Answer::Failed(error) => Some(error.reason),
            _ => None,
        };
        assert_eq!(got, want, "{what}: {answer:?}");
        if let (Answer::Failed(error), Some(Reason::Quorum | Reason::NotFound)) = (&answer, want) {
            assert_eq!(error.doing, if role == Worker { "demoting a manager" } else { "promoting a worker" });
        }
    }
}

/// What a host is when it is to leave decides whether it does.
#[tokio::test]
async fn a_leave_is_held_against_what_the_host_is_now() {
    use crate::observe::LocalState::{Active, Error, Inactive, Locked, Pending};
    let (named, none, left) = (Some("node-m1"), None, None);
    for (what, state, is, cluster, node, leaderless, refused) in [
        ("its node", Active, named, Some("ours"), named, false, left),
        ("another node", Active, Some("node-x"), Some("ours"), named, false, Some("is node node-x now")),
        ("one that joins", Pending, none, none, named, false, Some("is joining a swarm now")),
        ("one that is locked", Locked, none, none, named, false, Some("is locked now")),
        ("one in error", Error, none, none, named, false, left),
        ("without a leader", Active, named, none, named, true, left),
        ("with one again", Active, named, Some("ours"), named, true, Some("hears its leader again")),
        ("a join that failed", Error, none, none, none, false, left),
        ("a join that ended", Active, named, none, none, false, Some("has ended meanwhile")),
        ("one that is out", Inactive, none, none, named, false, Some("already")),
    ] {
        let mut engine = MockDocker::new();
        let state = std::sync::Arc::new(state);
        let facts = std::sync::Arc::clone(&state);
        engine.expect_info().returning(move || {
            let swarm = crate::observe::LocalSwarm {
                reported: (*facts).clone(),
                node: is.map(NodeId::new),
                cluster: cluster.map(crate::id::ClusterId::new),
                control_available: cluster.is_some(),
                ..crate::observe::LocalSwarm::outside()
            };
            Ok(crate::observe::EngineFacts { swarm, ..crate::observe::EngineFacts::outside(crate::id::DaemonId::new("d"), "m1", "28") })
        });
        engine.expect_leave().times(usize::from(refused.is_none())).returning(|_| Ok(()));
        let call = Call::Leave { force: Force::Yes, node: node.map(NodeId::new), leaderless };
        let answer = perform(&spec(&["m1"]), &Mocks::default().with("m1", engine), &effect("m1", call)).await;
        match (&answer, refused) {
            (Answer::Done, None) => {}
            (Answer::AlreadySo, Some("already")) => {}
            (Answer::Failed(error), Some(word)) => assert!(error.message.contains(word), "{what}: {error:?}"),
            _ => panic!("{what}: {answer:?}"),
        }
    }
}

#[tokio::test]
async fn a_host_that_has_left_already_is_not_asked_to() {
    let mut engine = MockDocker::new();
    engine.expect_info().times(1).returning(|| {
        let world = world(&[("m1", Is::Alone)]);
        world.hosts.values().next().unwrap().engine.clone().map_err(|_| failure(ErrorClass::Unreachable))
    });
    engine.expect_leave().never();
    let call = Call::Leave { force: Force::Yes, node: Some(NodeId::new("node-m1")), leaderless: false };
    assert_eq!(perform(&spec(&["m1"]), &Mocks::default().with("m1", engine), &effect("m1", call)).await, Answer::AlreadySo);
}

#[derive(Default)]
struct Heard(Mutex<Vec<ProgressEvent>>);

impl Progress for Heard {
    fn report(&self, event: &ProgressEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

#[tokio::test]
async fn a_look_asks_and_changes_nothing_and_silence_is_not_standalone() {
    // A worker of which no one knows the swarm: its certificate is read. A host that has no mock cannot be reached.
    let facts = |name: &'static str, is: Is| {
        let report = world(&[("m1", Is::Manager), (name, is)]).hosts[&HostName::new(name)].clone();
        move || report.engine.clone().map_err(|_| failure(ErrorClass::Unreachable))
    };
    let mut worker = MockDocker::new();
    worker.expect_info().times(1).returning(facts("w1", Is::Foreign));
    let mut machine = MockMachine::new();
    machine
        .expect_read_file()
        .withf(|path, _| path == "/var/lib/docker/swarm/certificates/swarm-node.crt")
        .times(1)
        .returning(|_, _| Ok(b"not a certificate".to_vec()));
    let mut fleet = Mocks::default().with("w1", worker);
    fleet.machines.insert(HostName::new("w1"), Arc::new(machine));
    let spec = spec(&["m1", "w1"]);
    let heard = Heard::default();
    let observed = merge(&spec, &inspect(&spec, &fleet, &heard).await, &BTreeSet::new());
    assert!(matches!(&observed.hosts[&HostName::new("m1")].state, HostState::Unreachable { why } if why == "no route"));
    assert!(
        matches!(&observed.hosts[&HostName::new("w1")].state, HostState::Unknown { why } if why.contains("no certificate")),
        "{observed:?}"
    );
    let events = heard.0.lock().unwrap();
    assert!(events.contains(&ProgressEvent::HostInspected { host: HostName::new("m1"), error: Some("no route".into()) }), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_engine_does_not_hold_the_others_up() {
    // One engine takes 40 s, as a manager without a quorum does; the whole look takes no longer than that.
    let mut slow = MockDocker::new();
    slow.expect_info().returning(|| Err(failure(ErrorClass::Unreachable)));
    let spec = spec(&["m1", "m2"]);
    let fleet = Slow(Mocks::default().with("m1", slow));
    let began = tokio::time::Instant::now();
    let seen = inspect(&spec, &fleet, &NoProgress).await;
    assert_eq!(seen.hosts.len(), 2);
    assert_eq!(began.elapsed(), Duration::from_secs(40));
}

/// Connecting takes 40 s for every host.
struct Slow(Mocks);

#[async_trait]
impl FleetRead for Slow {
    async fn reader(&self, host: &HostSpec) -> Result<Reader, ReachError> {
        tokio::time::sleep(Duration::from_secs(40)).await;
        self.0.reader(host).await
    }
}

/// A manager that names its swarm and whose list cannot be read has not lost its quorum: its engine cannot be used.
#[tokio::test]
async fn a_list_that_cannot_be_read_is_no_lost_quorum() {
    let unreadable =
        || EngineError { doing: "listing the nodes", class: ErrorClass::Refused, reason: Reason::Unreadable, message: "{}".into() };
    let wanted = spec(&["m1"]);
    let world = world(&[("m1", Is::Manager)]);
    let report = world.hosts.values().next().unwrap();
    let (facts, view) = (report.engine.clone().unwrap(), report.view.known().cloned().unwrap());
    let mut manager = MockDocker::new();
    manager.expect_info().returning(move || Ok(facts.clone()));
    manager.expect_cluster().returning(move || Ok(view.cluster.clone()));
    manager.expect_nodes().returning(move || Err(unreadable()));
    manager.expect_service_count().returning(|| Ok(0));
    let fleet = Mocks::default().with("m1", manager);
    let observed = merge(&wanted, &inspect(&wanted, &fleet, &NoProgress).await, &BTreeSet::new());
    let said = format!("{:?}", observed.cluster);
    assert!(matches!(observed.cluster, ObservedCluster::Unknown { .. }) && said.contains("listing the nodes"), "{said}");
}
