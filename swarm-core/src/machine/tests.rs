//! A run, played answer by answer: the exact effects, and what a lost answer leads to.

use super::*;
use crate::engine::{EngineError, ErrorClass, NodeChange, Reason};
use crate::id::{HostName, NodeId};
use crate::observe::{LocalState, LocalSwarm, NodeFacts, NodeState, merge};
use crate::plan::{Plan, PlanOptions, Planned, build};
use crate::spec::{ClusterSpec, Node, Role, Value, read};
use crate::testkit::{Is, address, map, node, spec, spec_with, text, world};
use std::collections::BTreeSet;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn plan(spec: &ClusterSpec, hosts: &[(&str, Is)]) -> Plan {
    match build(spec, &merge(spec, &world(hosts), &BTreeSet::new()), &PlanOptions::default()) {
        Planned::Plan(plan) => plan,
        Planned::Refused(reasons) => panic!("{reasons:?}"),
    }
}

/// A run and its clock.
struct Play {
    run: Run,
    now: Duration,
}

impl Play {
    fn new(spec: &ClusterSpec, hosts: &[(&str, Is)]) -> Self {
        let members = |wanted: &[Is]| -> Vec<HostName> {
            hosts.iter().filter(|(_, is)| wanted.contains(is)).map(|(n, _)| HostName::new(*n)).collect()
        };
        let start = Start {
            managers: members(&[Is::Manager])
                .into_iter()
                .map(|h| (h.clone(), format!("{}:2377", crate::testkit::address(h.as_str()))))
                .collect(),
            nodes: members(&[Is::Manager, Is::Worker]).into_iter().map(|h| (h.clone(), NodeId::new(format!("node-{h}")))).collect(),
            listed: hosts.iter().map(|(n, _)| NodeId::new(format!("node-{n}"))).collect(),
            concurrency: 8,
        };
        Self { run: Run::new(&plan(spec, hosts), start, &|_| Err("there is no other family".into())), now: Duration::ZERO }
    }

    /// All effects that are wanted now, in words.
    fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.run.poll_effect(self.now)).collect()
    }

    /// The one effect that is wanted now.
    fn one(&mut self) -> Effect {
        let mut effects = self.effects();
        assert_eq!(effects.len(), 1, "{effects:#?}");
        effects.remove(0)
    }

    fn answer(&mut self, effect: &Effect, answer: Answer) {
        self.run.handle_answer(self.now, effect.id, &answer);
    }

    /// Goes on to the next time the run wants to be woken.
    fn wait(&mut self) {
        self.now = self.run.poll_timeout().expect("nothing is waited for").max(self.now);
        self.run.handle_timeout(self.now);
    }

    fn outcomes(&self) -> Vec<Option<Outcome>> {
        self.run.outcomes().map(|(_, o)| o.cloned()).collect()
    }
}

fn local(name: &str, state: LocalState, manages: bool) -> Answer {
    let active = state == LocalState::Active;
    Answer::SawHost(LocalSwarm {
        reported: state,
        node: active.then(|| NodeId::new(format!("node-{name}"))),
        address: None,
        control_available: manages,
        cluster: None,
        error: None,
        remotes: Vec::new(),
    })
}

fn fails(class: ErrorClass, reason: Reason) -> Answer {
    Answer::Failed(EngineError { doing: "x", class, reason, message: "it failed".into() })
}

fn managers(names: &[&str]) -> Vec<NodeFacts> {
    names
        .iter()
        .enumerate()
        .map(|(i, n)| node(n, if n.starts_with('m') { Role::Manager } else { Role::Worker }, NodeState::Ready, i == 0))
        .collect()
}

#[test]
fn a_bootstrap_call_by_call() {
    let spec = spec(&["m1", "m2", "w1"]);
    let mut play = Play::new(&spec, &[("m1", Is::Alone), ("m2", Is::Alone), ("w1", Is::Alone)]);
    let init = play.one();
    assert!(matches!(&init.call, Call::Init(r) if r.listen == "0.0.0.0:2377" && r.advertise.to_string() == "10.0.1.1"));
    play.answer(&init, Answer::Done);
    // The joins begin while the first manager is still being looked at.
    let effects = play.effects();
    let joins: Vec<(&str, Role, &str)> = effects
        .iter()
        .filter_map(|e| match &e.call {
            Call::Join { role, via, request, .. } => {
                assert_eq!(via.as_str(), "m1");
                Some((e.host.as_str(), *role, request.remote.as_str()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(joins, [("m2", Role::Manager, "10.0.1.1:2377"), ("w1", Role::Worker, "10.0.1.1:2377")]);
    // Its engine and the managers are asked at the same time; whichever answers first, both are needed.
    let watch =
        effects.iter().find(|e| matches!(e.call, Call::LookCluster | Call::LookNew { .. })).expect("the managers are asked").clone();
    play.answer(&watch, Answer::SawCluster(managers(&["m1"])));
    assert_eq!(play.outcomes()[0], None);
    let look = effects.iter().find(|e| matches!(e.call, Call::LookHost | Call::LookMade { .. })).expect("the engine is asked").clone();
    assert_eq!(look.host.as_str(), "m1");
    play.answer(&look, local("m1", LocalState::Active, true));
    assert_eq!(play.outcomes()[0], Some(Outcome::Done { changed: true }));
    for join in effects.iter().filter(|e| matches!(e.call, Call::Join { .. })) {
        play.answer(join, Answer::Done);
    }
    let looks = play.effects();
    assert_eq!(looks.iter().filter(|e| matches!(e.call, Call::LookHost | Call::LookMade { .. })).count(), 2, "{looks:#?}");
    for look in looks.iter().filter(|e| matches!(e.call, Call::LookHost | Call::LookMade { .. })) {
        play.answer(look, local(look.host.as_str(), LocalState::Active, look.host.as_str() == "m2"));
    }
    // Done only when a manager lists both as they are to be.
    let watch = looks.iter().find(|e| matches!(e.call, Call::LookCluster | Call::LookNew { .. })).expect("the managers are asked").clone();
    let mut half = managers(&["m1", "m2", "w1"]);
    half[1].manager = None;
    play.answer(&watch, Answer::SawCluster(half));
    assert_eq!(play.outcomes()[1], None, "a manager that no one reaches is not there yet");
    play.wait();
    let watch = play.one();
    play.answer(&watch, Answer::SawCluster(managers(&["m1", "m2", "w1"])));
    assert!(play.run.is_over());
    assert_eq!(play.outcomes(), vec![Some(Outcome::Done { changed: true }); 3]);
}

#[test]
fn joins_begin_when_the_new_manager_answers_though_its_init_has_not() {
    let spec = spec(&["m1", "w1"]);
    let mut play = Play::new(&spec, &[("m1", Is::Alone), ("w1", Is::Alone)]);
    let init = play.one();
    play.wait();
    let look = play.one();
    assert_eq!((look.host.as_str(), &look.call), ("m1", &Call::LookNew { name: "c".into() }));
    play.answer(&look, fails(ErrorClass::Conflict, Reason::NotManager));
    assert_eq!(play.effects(), [], "there is nothing to join yet");
    play.wait();
    let look = play.one();
    play.answer(&look, Answer::SawCluster(managers(&["m1"])));
    let join = play.one();
    assert!(matches!(&join.call, Call::Join { request, .. } if request.remote == "10.0.1.1:2377"), "{join:?}");
    // The init itself is done only once it is answered and seen.
    assert_eq!(play.outcomes()[0], None);
    play.answer(&init, Answer::Done);
    assert_eq!(play.effects().iter().filter(|e| matches!(e.call, Call::LookHost | Call::LookMade { .. })).count(), 1);
}

#[test]
fn a_lost_answer_leads_to_a_look_and_never_to_a_blind_retry() {
    let spec = spec(&["m1", "w1"]);
    let mut play = Play::new(&spec, &[("m1", Is::Manager), ("w1", Is::Alone)]);
    let join = play.one();
    play.answer(&join, fails(ErrorClass::Unknown, Reason::Other));
    let look = play.one();
    assert_eq!((look.host.as_str(), &look.call), ("w1", &Call::LookHost));
    // It was done.
    play.answer(&look, local("w1", LocalState::Active, false));
    let watch = play.one();
    assert_eq!(watch.call, Call::LookCluster);
    play.answer(&watch, Answer::SawCluster(managers(&["m1", "w1"])));
    assert_eq!(play.outcomes(), [Some(Outcome::Done { changed: true })]);
}

#[test]
fn a_join_that_goes_on_is_waited_for_then_left_then_made_again() {
    let spec = spec(&["m1", "w1"]);
    let mut play = Play::new(&spec, &[("m1", Is::Manager), ("w1", Is::Alone)]);
    let join = play.one();
    play.now += 20 * SECOND;
    play.answer(&join, fails(ErrorClass::Unknown, Reason::JoinGoesOn));
    let mut looks = 0;
    loop {
        let effects = play.effects();
        if effects.is_empty() {
            play.wait();
        }
        for effect in effects {
            match effect.call {
                Call::LookHost => {
                    looks += 1;
                    play.answer(&effect, local("w1", LocalState::Pending, false));
                }
                Call::Leave { .. } => {
                    assert!(looks > 10, "it was waited for");
                    play.answer(&effect, Answer::Done);
                    play.wait();
                    assert!(matches!(play.one().call, Call::Join { .. }), "made again");
                    return;
                }
                other => panic!("while a join is pending nothing else may be sent: {other:?}"),
            }
        }
        assert!(play.now < 200 * SECOND, "it never gives up");
    }
}

#[test]
fn a_join_that_ends_well_just_before_it_is_left_is_not_left() {
    let spec = spec(&["m1", "w1"]);
    let mut play = Play::new(&spec, &[("m1", Is::Manager), ("w1", Is::Alone)]);
    let join = play.one();
    play.answer(&join, fails(ErrorClass::Unknown, Reason::JoinGoesOn));
    let look = play.one();
    play.answer(&look, local("w1", LocalState::Error, false));
    let leave = play.one();
    assert!(matches!(leave.call, Call::Leave { .. }), "{leave:?}");
    play.answer(&leave, fails(ErrorClass::Refused, Reason::AlreadyInSwarm));
    for look in play.effects() {
        let answer = match look.call {
            Call::LookHost => local("w1", LocalState::Active, false),
            Call::LookCluster => Answer::SawCluster(managers(&["m1", "w1"])),
            other => panic!("it is looked at, and nothing else: {other:?}"),
        };
        play.answer(&look, answer);
    }
    assert_eq!(play.outcomes(), [Some(Outcome::Done { changed: true })]);
}

#[test]
fn a_refused_join_ends_and_what_needs_it_is_blocked() {
    let spec = spec(&["m1", "m2", "m3"]);
    let mut play = Play::new(&spec, &[("m1", Is::Manager), ("m2", Is::Alone), ("m3", Is::Alone)]);
    let join = play.one();
    assert_eq!(join.host.as_str(), "m2");
    play.answer(&join, fails(ErrorClass::Refused, Reason::DialBack));
    let look = play.one();
    play.answer(&look, local("m2", LocalState::Inactive, false));
    assert!(play.run.is_over());
    let outcomes = play.outcomes();
    assert!(matches!(&outcomes[0], Some(Outcome::Failed { message }) if message.contains("2377/tcp")), "{outcomes:?}");
    assert!(matches!(&outcomes[1], Some(Outcome::Blocked { by }) if by.as_str() == "m2/join"), "{outcomes:?}");
    assert_eq!(play.run.failed_joins(), 1);
}

#[test]
fn another_manager_is_asked_when_one_does_not_answer() {
    let spec = spec_with(&[("m1", "manager", &[]), ("m2", "manager", &[]), ("m3", "manager", &[]), ("w1", "worker", &[("a", "b")])]);
    let hosts = [("m1", Is::Manager), ("m2", Is::Manager), ("m3", Is::Manager), ("w1", Is::Worker)];
    let mut play = Play::new(&spec, &hosts);
    let first = play.one();
    assert!(
        matches!(&first.call, Call::UpdateNode { node, change } if node.as_str() == "node-w1" && *change == NodeChange { labels: [("a".to_owned(), Some("b".to_owned()))].into(), ..NodeChange::default() })
    );
    play.answer(&first, fails(ErrorClass::Unreachable, Reason::Other));
    play.wait();
    let second = play.one();
    assert_ne!(first.host, second.host, "the next manager is asked");
    play.answer(&second, fails(ErrorClass::Conflict, Reason::OutOfSequence));
    play.wait();
    let third = play.one();
    play.answer(&third, Answer::AlreadySo);
    let watch = play.one();
    let mut nodes = managers(&["m1", "m2", "m3", "w1"]);
    nodes[3].labels = [("a".to_owned(), "b".to_owned())].into();
    play.answer(&watch, Answer::SawCluster(nodes));
    assert_eq!(play.outcomes(), [Some(Outcome::Done { changed: false })]);
}

/// A change that never shows ends with what the managers say instead, or with their silence.
#[test]
fn what_is_never_confirmed_is_told_with_the_reason() {
    for (answers, word) in [(true, "not yet a manager"), (false, "no manager could be asked")] {
        let spec = spec(&["m1", "m2"]);
        let mut play = Play::new(&spec, &[("m1", Is::Manager), ("m2", Is::Worker)]);
        let promote = play.one();
        play.answer(&promote, Answer::Done);
        let mut nodes = managers(&["m1", "m2"]);
        nodes[1].manager = None;
        while !play.run.is_over() {
            for look in play.effects() {
                // Each answer takes a moment, as on any network.
                play.now += Duration::from_millis(20);
                let seen = Answer::SawCluster(nodes.clone());
                play.answer(&look, if answers { seen } else { fails(ErrorClass::Unreachable, Reason::Other) });
            }
            if !play.run.is_over() {
                play.wait();
            }
        }
        let outcomes = play.outcomes();
        assert!(matches!(&outcomes[0], Some(Outcome::Failed { message }) if message.contains(word)), "{outcomes:?}");
    }
}

/// Managers count a promoted node before its engine has found its feet: an engine that starts its node again is still broken then.
#[test]
fn a_promotion_is_done_when_managers_and_the_engine_say_so() {
    let spec = spec(&["m1", "m2"]);
    let mut play = Play::new(&spec, &[("m1", Is::Manager), ("m2", Is::Worker)]);
    let promote = play.one();
    play.answer(&promote, Answer::Done);
    let look = |play: &mut Play, own: &dyn Fn() -> Answer| {
        let mut looked = false;
        while !looked && !play.run.is_over() {
            for look in play.effects() {
                looked |= look.call == Call::LookHost;
                let answer = if look.call == Call::LookHost { own() } else { Answer::SawCluster(managers(&["m1", "m2"])) };
                play.answer(&look, answer);
            }
            if !looked && !play.run.is_over() {
                play.wait();
            }
        }
    };
    let broken = |error: &str, node: bool, control: bool| {
        let mut said = local("m2", LocalState::Error, control);
        if let Answer::SawHost(swarm) = &mut said {
            (swarm.error, swarm.node) = (Some(error.to_owned()).filter(|e| !e.is_empty()), node.then(|| NodeId::new("node-m2")));
        }
        said
    };
    for not_yet in [broken("can't initialize raft node", false, false), broken("", false, false), local("m2", LocalState::Active, false)] {
        look(&mut play, &|| not_yet.clone());
        assert_eq!(play.outcomes(), [None], "{not_yet:?}");
    }
    // It goes on calling itself broken, without a reason, until it is restarted.
    look(&mut play, &|| broken("", true, true));
    assert_eq!(play.outcomes(), [Some(Outcome::Done { changed: true })]);
    assert!(play.now < 6 * SECOND, "{:?}", play.now);
}

#[test]
fn a_demotion_is_never_asked_of_the_one_that_is_demoted() {
    let spec = spec_with(&[("m1", "worker", &[]), ("m2", "manager", &[]), ("m3", "manager", &[]), ("m4", "manager", &[])]);
    let mut play = Play::new(&spec, &[("m1", Is::Manager), ("m2", Is::Manager), ("m3", Is::Manager), ("m4", Is::Manager)]);
    assert_ne!(play.one().host.as_str(), "m1");
}

#[test]
fn a_swarm_that_somebody_else_made_meanwhile_is_not_taken_for_ours() {
    let spec = spec(&["m1", "m2"]);
    let mut play = Play::new(&spec, &[("m1", Is::Alone), ("m2", Is::Alone)]);
    let init = play.one();
    play.answer(&init, fails(ErrorClass::Conflict, Reason::AlreadyInSwarm));
    let look = play.one();
    assert_eq!(look.call, Call::LookMade { name: "c".into() });
    play.answer(&look, fails(ErrorClass::Refused, Reason::AlreadyInSwarm));
    assert!(play.run.is_over(), "no one joins it");
    let outcomes = play.outcomes();
    assert!(matches!(&outcomes[..], [Some(Outcome::Failed { .. }), Some(Outcome::Blocked { .. })]), "{outcomes:?}");
}

#[test]
fn stopped_means_that_nothing_new_is_begun() {
    let spec = spec(&["m1", "w1", "w2"]);
    let mut play = Play::new(&spec, &[("m1", Is::Alone), ("w1", Is::Alone), ("w2", Is::Alone)]);
    let init = play.one();
    play.run.stop();
    play.answer(&init, Answer::Done);
    assert_eq!(play.effects(), []);
    assert!(play.run.is_over());
    let outcomes = play.outcomes();
    assert!(matches!(outcomes[0], Some(Outcome::InDoubt { .. })), "{outcomes:?}");
    assert_eq!(outcomes[1..], [Some(Outcome::NotStarted), Some(Outcome::NotStarted)]);
}

#[test]
fn an_engine_that_falls_silent_is_a_doubt_and_ends() {
    let spec = spec(&["m1"]);
    let mut play = Play::new(&spec, &[("m1", Is::Alone)]);
    let init = play.one();
    play.answer(&init, fails(ErrorClass::Unknown, Reason::Other));
    while !play.run.is_over() {
        for effect in play.effects() {
            assert_eq!(effect.call, Call::LookMade { name: "c".into() }, "an init in doubt is not sent again");
            play.answer(&effect, fails(ErrorClass::Unreachable, Reason::Other));
        }
        if !play.run.is_over() {
            play.wait();
        }
        assert!(play.now < 120 * SECOND, "it never ends");
    }
    assert!(matches!(play.outcomes()[0], Some(Outcome::InDoubt { .. })));
}

/// Two joins fail at once for the same dead manager: after a look at each host, both are made again through another one.
#[test]
fn joins_that_fail_for_a_dead_manager_go_through_another_one() {
    let spec = spec(&["m1", "m2", "m3", "w1", "w2"]);
    let hosts = [("m1", Is::Manager), ("m2", Is::Manager), ("m3", Is::Manager), ("w1", Is::Alone), ("w2", Is::Alone)];
    let mut play = Play::new(&spec, &hosts);
    let via = |effects: &[Effect]| -> Vec<String> {
        let of = |e: &Effect| match &e.call {
            Call::Join { via, .. } => via.to_string(),
            other => panic!("{other:?}"),
        };
        effects.iter().map(of).collect()
    };
    let joins = play.effects();
    assert_eq!(via(&joins), ["m1", "m1"]);
    for join in &joins {
        play.answer(join, fails(ErrorClass::Conflict, Reason::RemoteUnreachable));
    }
    for look in play.effects() {
        assert_eq!(look.call, Call::LookHost);
        play.answer(&look, local(look.host.as_str(), LocalState::Inactive, false));
    }
    play.wait();
    assert_eq!(via(&play.effects()), ["m2", "m2"]);
}

/// A change of the swarm has ended when a manager shows it; one that lags is asked again, and one that never shows it is no success.
#[test]
fn a_change_of_the_swarm_ends_when_a_manager_shows_it() {
    let file = map(vec![
        ("name", text("c")),
        ("swarm", map(vec![("task_history_limit", Node { value: Value::Int(7), at: None })])),
        ("hosts", map(vec![("m1", map(vec![("address", text(&address("m1"))), ("role", text("manager"))]))])),
    ]);
    let spec = read(&file).unwrap().spec;
    let swarm = |limit: i64| {
        let look = world(&[("m1", Is::Manager)]);
        let mut cluster = look.hosts.values().find_map(|r| r.view.known()).unwrap().cluster.clone();
        cluster.settings.task_history_limit = Some(limit);
        Answer::SawSwarm(Box::new(cluster))
    };
    let begin = || {
        let mut play = Play::new(&spec, &[("m1", Is::Manager)]);
        let update = play.one();
        assert!(matches!(&update.call, Call::UpdateSwarm(change) if change.settings.task_history_limit == Some(7)));
        play.answer(&update, Answer::Done);
        assert_eq!(play.outcomes(), [None]);
        play
    };
    let mut play = begin();
    for answer in [swarm(5), fails(ErrorClass::Unreachable, Reason::Other), swarm(7)] {
        let look = play.one();
        assert_eq!((&look.call, look.host.as_str()), (&Call::LookSwarm, "m1"));
        assert_eq!(play.outcomes(), [None]);
        let last = answer == swarm(7);
        play.answer(&look, answer);
        if !last {
            play.wait();
        }
    }
    assert_eq!(play.outcomes(), [Some(Outcome::Done { changed: true })]);

    for (answer, says) in [(swarm(5), "task_history_limit is 5, not 7"), (fails(ErrorClass::Unreachable, Reason::Other), "it failed")] {
        let mut play = begin();
        let ended = loop {
            let look = play.one();
            play.answer(&look, answer.clone());
            match play.outcomes().remove(0) {
                Some(outcome) => break outcome,
                None => play.wait(),
            }
        };
        assert!(play.now >= Duration::from_secs(20) && play.now < Duration::from_secs(21), "{:?}", play.now);
        match ended {
            Outcome::Failed { message } if answer == swarm(5) => assert!(message.contains(says), "{message}"),
            Outcome::InDoubt { message } => assert!(message.contains(says), "{message}"),
            other => panic!("{other:?}"),
        }
    }
}
