//! What is asked right before a change, over mocked engines.

use super::perform::Performer;
use super::tests::{Mocks, effect, init, tokens};
use super::{KeyKeeper, NoKeyKeeper};
use crate::engine::{ErrorClass, Reason};
use crate::host::Output;
use crate::machine::{Answer, Ask, Call, Reply};
use crate::observe::ReachErrorKind;
use crate::secret::Secret;
use crate::spec::NAME_LABEL;
use crate::testing::{MockDocker, MockMachine};
use crate::testkit::{Is, spec, world};
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

async fn perform(fleet: &Mocks, keys: &dyn KeyKeeper, host: &str, call: Call) -> Answer {
    let spec = spec(&["m1", "m2", "m3", "w1"]);
    Performer {
        spec: &spec,
        fleet,
        keys,
        payloads: &crate::engine::NoPayloads,
        tokens: tokens(),
        in_none: Vec::new(),
        ask_again: false.into(),
        fresh_until: Some(Instant::now() + Duration::from_secs(3600)),
        made_ready: Default::default(),
        in_one: Default::default(),
        gather: Default::default(),
    }
    .perform(&effect(host, call))
    .await
}

fn reason(answer: &Answer) -> Option<(ErrorClass, Reason)> {
    match answer {
        Answer::Failed(error) => Some((error.class, error.reason)),
        _ => None,
    }
}

/// What a manager says of its swarm, with a name.
fn named(name: &str) -> crate::observe::ClusterFacts {
    let mut look = world(&[("m1", Is::Manager)]);
    let mut facts = look.hosts.values_mut().find_map(|r| r.view.known_mut()).unwrap().cluster.clone();
    facts.labels = [(NAME_LABEL.to_owned(), name.to_owned())].into();
    facts
}

/// A swarm that someone else made on the host meanwhile is not taken for the one that was to be made.
#[tokio::test]
async fn a_new_swarm_is_ours_by_its_name() {
    for (name, ours) in [("c", true), ("theirs", false)] {
        let mut engine = MockDocker::new();
        engine.expect_cluster().returning(move || Ok(named(name)));
        engine.expect_nodes().returning(|| Ok(Vec::new()));
        engine.expect_join_token().returning(|_| Ok(Secret::new("SWMTKN-1-x-y")));
        let fleet = Mocks::default().with("m1", engine);
        let seen = perform(&fleet, &NoKeyKeeper, "m1", Call::LookNew { name: "c".into() }).await;
        let expected = (!ours).then_some((ErrorClass::Refused, Reason::AlreadyInSwarm));
        assert_eq!((reason(&seen), seen == Answer::SawCluster(Vec::new())), (expected, ours), "{seen:?}");
    }
}

/// A program of a step runs as root and for as long as the step says; where the machine is not to be had for it, that is no reason to try again.
#[tokio::test]
async fn a_program_of_a_step_runs_as_root_within_its_time() {
    let run = || Call::Ask(vec![Ask::Run { host: "m1".into(), argv: vec!["true".into()], patience: Duration::from_secs(77), input: None }]);
    let mut machine = MockMachine::new();
    machine
        .expect_run()
        .withf(|command| command.elevated && command.timeout == Duration::from_secs(77) && command.argv == ["true"])
        .times(1)
        .returning(|_| Ok(Output { status: Some(0), stdout: b"a\n".to_vec(), stderr: b"b\n".to_vec() }));
    let fleet = Mocks::default().with("m1", MockDocker::new()).with_machine("m1", machine);
    let answer = perform(&fleet, &NoKeyKeeper, "m1", run()).await;
    assert_eq!(answer, Answer::Replies(vec![Reply::Ran { status: Some(0), output: "a\nb\n".into() }]));
    let alone = Mocks::default().with("m1", MockDocker::new());
    let refused = perform(&alone, &NoKeyKeeper, "m1", run()).await;
    assert_eq!(reason(&refused).map(|(class, _)| class), Some(ErrorClass::Refused), "only its engine is reached: {refused:?}");
    let gone = perform(&Mocks::default(), &NoKeyKeeper, "m1", run()).await;
    assert_eq!(reason(&gone).map(|(class, _)| class), Some(ErrorClass::Unreachable), "{gone:?}");
}

/// A place that says that it stored a key and gives another, or none.
#[derive(Default)]
struct Forgets(Mutex<Option<Secret>>, Option<&'static str>);

impl KeyKeeper for Forgets {
    fn load(&self) -> Option<Secret> {
        self.0.lock().unwrap().clone()
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn store(&self, _: &Secret) -> Result<(), String> {
        *self.0.lock().unwrap() = self.1.map(Secret::new);
        Ok(())
    }
}

#[tokio::test]
async fn a_key_is_stored_once_it_reads_back() {
    for (gives, stored) in [(Some("SWMKEY-1-a"), true), (Some("SWMKEY-1-b"), false), (None, false)] {
        let mut engine = MockDocker::new();
        engine.expect_unlock_key().returning(|| Ok(Some(Secret::new("SWMKEY-1-a"))));
        let fleet = Mocks::default().with("m1", engine);
        let answer = perform(&fleet, &Forgets(Mutex::default(), gives), "m1", Call::StoreUnlockKey).await;
        assert_eq!(answer == Answer::Done, stored, "{gives:?}: {answer:?}");
    }
    let mut engine = MockDocker::new();
    engine.expect_unlock_key().returning(|| Ok(Some(Secret::new("SWMKEY-1-a"))));
    let without = perform(&Mocks::default().with("m1", engine), &NoKeyKeeper, "m1", Call::StoreUnlockKey).await;
    assert!(matches!(&without, Answer::Failed(error) if error.message.contains("no place for the unlock key")), "{without:?}");
    assert!(NoKeyKeeper.ready().is_err() && NoKeyKeeper.load().is_none());
}

/// What managers said counts for a moment. After that they are asked again, but for those that this plan makes ready and that have no engine yet.
#[tokio::test(start_paused = true)]
async fn a_manager_that_is_made_ready_is_in_no_swarm_while_it_has_no_engine() {
    use ReachErrorKind::{EngineDown, NoEngine, Unreachable};
    let hour = Duration::from_secs(3600);
    tokio::time::sleep(hour).await;
    for (fresh, prepared, kind, made) in [
        (true, false, Unreachable, true),
        (false, true, NoEngine, true),
        (false, true, EngineDown, true),
        (false, true, Unreachable, false),
        (false, false, NoEngine, false),
        (false, false, EngineDown, false),
    ] {
        let spec = spec(&["m1", "m2"]);
        let facts = world(&[("m1", Is::Alone)]).hosts.into_values().next().unwrap().engine.unwrap();
        let mut first = MockDocker::new();
        first.expect_info().returning(move || Ok(facts.clone()));
        first.expect_init().times(usize::from(made)).returning(|_| Ok(()));
        let mut fleet = Mocks::default().with("m1", first);
        fleet.kinds.insert("m2".into(), kind);
        let now = Instant::now();
        let performer = Performer {
            spec: &spec,
            fleet: &fleet,
            keys: &NoKeyKeeper,
            payloads: &crate::engine::NoPayloads,
            tokens: tokens(),
            in_none: vec!["m2".into()],
            ask_again: false.into(),
            fresh_until: Some(if fresh { now + hour } else { now - hour }),
            made_ready: prepared.then(|| "m2".into()).into_iter().collect(),
            in_one: Default::default(),
            gather: Default::default(),
        };
        let answer = performer.perform(&effect("m1", Call::Init(init()))).await;
        assert_eq!(answer == Answer::Done, made, "{fresh} {prepared} {kind:?}: {answer:?}");
    }
}
