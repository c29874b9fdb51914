//! Predicates that much rests on, each held against what it is to say.

use super::health::{survives_without, unsteady};
use super::merge::proven_gone;
use super::*;
use crate::engine::{Kind, Object, Query};
use crate::id::{ClusterId, HostName, NodeId};
use crate::operators::{JOURNAL, LOCK};
use crate::spec::{ExternalCa, NAME_LABEL, Role, SwarmSettings};
use crate::testkit::{Is, node, spec, world};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

const THREE: [(&str, Is); 3] = [("m1", Is::Manager), ("m2", Is::Manager), ("w1", Is::Worker)];

fn merged(hosts: &[(&str, Is)], change: impl Fn(&HostName, &mut HostReport)) -> Observed {
    let mut look = world(hosts);
    look.hosts.iter_mut().for_each(|(name, report)| change(name, report));
    merge(&spec(&hosts.iter().map(|(name, _)| *name).collect::<Vec<_>>()), &look, &BTreeSet::new())
}

fn identity(cluster: &str, node: &str, role: Role) -> Fact<NodeIdentity> {
    Fact::Known(NodeIdentity { cluster: ClusterId::new(cluster), node: NodeId::new(node), role }, SeenAt::default())
}

fn basis(observed: &Observed) -> serde_json::Value {
    serde_json::to_value(observed.basis()).unwrap()
}

#[test]
fn a_manager_answers_or_looks_for_its_majority() {
    for (reported, error, control, node, manages) in [
        (LocalState::Active, None, true, true, true),
        (LocalState::Active, None, false, true, false),
        (LocalState::Pending, None, true, true, true),
        (LocalState::Pending, None, true, false, false),
        (LocalState::Pending, None, false, true, false),
        (LocalState::Locked, None, true, true, false),
        (LocalState::Inactive, None, true, true, false),
    ] {
        let node = node.then(|| NodeId::new("n"));
        let swarm = LocalSwarm { reported: reported.clone(), error, control_available: control, node, ..LocalSwarm::outside() };
        assert_eq!(swarm.manages(), manages, "{swarm:?}");
    }
}

#[test]
fn an_authority_for_the_swarms_own_root_is_one_without_a_root() {
    let authority = |root: Option<&str>| {
        let ca_cert = root.map(str::to_owned);
        let url = "https://ca.example:8443".to_owned();
        SwarmSettings {
            external_ca: Some(vec![ExternalCa { protocol: "cfssl".into(), url, ca_cert, options: BTreeMap::new() }]),
            ..SwarmSettings::default()
        }
    };
    let mut look = world(&[("m1", Is::Manager)]);
    let mut facts = look.hosts.values_mut().find_map(|r| r.view.known_mut()).unwrap().cluster.clone();
    facts.root = "OWN\n".into();
    for (there, wanted, lacks) in [(None, Some("OWN"), false), (Some("OWN"), None, false), (None, Some("OTHER"), true), (None, None, false)]
    {
        facts.settings = authority(there);
        let missing = facts.lacks(&authority(wanted));
        assert_eq!(missing.external_ca.is_some(), lacks, "{there:?} {wanted:?}: {missing:?}");
    }
}

#[test]
fn a_member_that_is_down_keeps_no_majority_though_it_is_reached() {
    let mut three = [
        node("m1", Role::Manager, NodeState::Ready, true),
        node("m2", Role::Manager, NodeState::Ready, false),
        node("m3", Role::Manager, NodeState::Ready, false),
    ];
    assert!(survives_without(&three, &"node-m1".into()));
    three[2].state = NodeState::Down;
    assert!(!survives_without(&three, &"node-m1".into()) && survives_without(&three, &"node-m3".into()));
    let worker = node("w1", Role::Worker, NodeState::Ready, false);
    assert!(!survives_without(&[three[0].clone(), worker], &"node-m1".into()));
}

#[test]
fn only_managers_are_unsteady_for_want_of_room() {
    let observed = merged(&THREE, |name, report| {
        if let (Some(machine), true) = (report.machine.known_mut(), name.as_str() != "m1") {
            machine.disk_free = Some(1 << 20);
        }
    });
    let found: Vec<NodeId> = unsteady(&observed).into_keys().collect();
    assert_eq!(found, [NodeId::new("node-m2")]);
}

#[test]
fn a_manager_that_is_not_heard_is_cut_off_and_no_more() {
    let asked = |manager: bool, state: NodeState, reached: Reachability| {
        let observed = merged(&THREE, |name, report| {
            if let Some(view) = report.view.known_mut() {
                let two = view.nodes.iter_mut().find(|n| n.hostname == "m2").unwrap();
                two.state = state.clone();
                match &mut two.manager {
                    Some(manages) if manager => manages.reachability = reached.clone(),
                    _ => (two.manager, two.role) = (None, Role::Worker),
                }
            }
            if name.as_str() == "m2" {
                report.view = Fact::Unknown("no leader".into());
                if let Ok(engine) = &mut report.engine {
                    engine.swarm.cluster = None;
                }
            }
        });
        cannot_answer(&observed, &observed.hosts[&HostName::new("m2")]).is_some()
    };
    assert!(asked(true, NodeState::Ready, Reachability::Reachable));
    assert!(!asked(true, NodeState::Ready, Reachability::Unreachable));
    assert!(asked(false, NodeState::Ready, Reachability::Reachable));
    assert!(!asked(false, NodeState::Down, Reachability::Reachable));
}

/// A certificate proves a member where no list does, by the swarm and the node both.
#[test]
fn without_a_list_a_certificate_says_whose_a_host_is() {
    let of = |cluster: &str, node: &str| {
        let observed = merged(&[("m1", Is::Manager), ("m2", Is::Manager), ("m3", Is::Manager), ("w1", Is::Worker)], |name, report| {
            report.view = match &report.view {
                Fact::Known(..) => Fact::Unknown("no leader".into()),
                other => other.clone(),
            };
            report.identity = identity("ours", &format!("node-{name}"), Role::Manager);
            if let (Ok(engine), "w1") = (&mut report.engine, name.as_str()) {
                engine.swarm.node = Some(NodeId::new("node-w1"));
                report.identity = identity(cluster, node, Role::Worker);
            }
            if let Ok(engine) = &mut report.engine {
                engine.swarm.cluster = None;
            }
        });
        assert!(matches!(observed.cluster, ObservedCluster::NoLeader { swarm: Some(_), .. }), "{:?}", observed.cluster);
        matches!(observed.hosts[&HostName::new("w1")].state, HostState::Member { .. })
    };
    assert!(of("ours", "node-w1"));
    assert!(!of("ours", "node-before") && !of("theirs", "node-w1"));
}

#[test]
fn nodes_are_called_by_host_by_host_name_or_by_id() {
    let observed = merged(&THREE, |_, _| {});
    let stranger = node("x1", Role::Worker, NodeState::Ready, false);
    let nameless = NodeFacts { hostname: String::new(), ..stranger.clone() };
    let own = NodeFacts { hostname: "another".into(), ..node("w1", Role::Worker, NodeState::Ready, false) };
    assert_eq!([&stranger, &nameless, &own].map(|n| observed.name_of(n)), ["x1", "node node-x1", "w1"]);
}

/// A plan stands on what is there, and not on how much of it.
#[test]
fn a_basis_counts_as_some_or_none() {
    for count in [0, 1, 7] {
        let observed = merged(&THREE, |_, report| {
            if let Ok(engine) = &mut report.engine {
                engine.running_containers = count;
            }
            if let Some(view) = report.view.known_mut() {
                view.services = count as usize;
            }
        });
        let word = if count == 0 { "none" } else { "some" };
        let basis = basis(&observed);
        assert_eq!((&basis["w1.running-containers"], &basis["swarm.services"]), (&json!(word), &json!(word)), "{count}");
    }
}

/// Objects are part of it by their version, networks by their id, and tasks, the lock and the journal not at all.
#[test]
fn a_basis_holds_the_objects_that_were_asked_for() {
    let mut observed = merged(&THREE, |_, _| {});
    let object = |id: &str, name: &str| {
        Object::of(&json!({ "ID": id, "Id": id, "Name": name, "Version": { "Index": 4 }, "Spec": { "Name": name } })).unwrap()
    };
    for (kind, names) in [
        (Kind::Config, vec!["app", LOCK, JOURNAL]),
        (Kind::Network, vec!["net"]),
        (Kind::Task, vec!["task"]),
        (Kind::Service, vec!["web", LOCK]),
    ] {
        let objects = names.iter().map(|name| object(&format!("id-{name}"), name)).collect();
        observed.objects.insert(Query::all(kind), Fact::Known(objects, SeenAt::default()));
    }
    observed.objects.insert(Query::all(Kind::Node), Fact::Unknown("no answer".into()));
    let basis = basis(&observed);
    let kinds = ["config.", "network.", "task.", "service.", "node."];
    let objects: BTreeMap<&String, &serde_json::Value> =
        basis.as_object().unwrap().iter().filter(|(key, _)| kinds.iter().any(|kind| key.starts_with(kind))).collect();
    let expected = json!({
        "config.app": "id-app version 4", format!("service.{LOCK}"): format!("id-{LOCK} version 4"), "network.net": "id-net",
        "service.web": "id-web version 4",
    });
    assert_eq!(json!(objects), expected);
    // A look is kept with them, and read again.
    let kept = serde_json::to_value(&observed).unwrap();
    let read: Observed = serde_json::from_value(kept.clone()).unwrap();
    assert_eq!((serde_json::to_value(&read).unwrap(), read.objects.len()), (kept, 5));
}

#[test]
fn a_swarm_of_another_name_is_not_this_files() {
    for (name, one) in [(Some("c"), true), (Some("theirs"), false), (None, true)] {
        let observed = merged(&THREE, |_, report| {
            if let Some(view) = report.view.known_mut() {
                view.cluster.labels = name.map(|name| (NAME_LABEL.to_owned(), name.to_owned())).into_iter().collect();
            }
        });
        assert_eq!(observed.view().is_some(), one, "{name:?}");
        assert_eq!(matches!(observed.cluster, ObservedCluster::OtherName { .. }), !one, "{name:?}");
    }
}

/// Of two managers the one with the newer word is heard, and the one that knows of more services.
#[test]
fn the_newest_word_of_a_swarm_counts() {
    for (versions, expected) in [((5, 9), 9), ((9, 5), 9)] {
        let observed = merged(&THREE, |name, report| {
            if let Some(view) = report.view.known_mut() {
                let first = name.as_str() == "m1";
                view.cluster.version = if first { versions.0 } else { versions.1 };
                view.services = if first { 0 } else { 3 };
            }
        });
        let view = observed.view().unwrap();
        assert_eq!((view.cluster.version, view.services), (expected, 3));
    }
    let observed = merged(&THREE, |name, report| {
        if let Some(view) = report.view.known_mut() {
            view.services = if name.as_str() == "m1" { 3 } else { 0 };
        }
    });
    assert_eq!(observed.view().unwrap().services, 3);
}

/// An engine in error names no node; its certificate does. One that is well and names none is none.
#[test]
fn an_engine_in_error_is_the_node_of_its_certificate() {
    for (reported, known) in [(LocalState::Error, true), (LocalState::Active, false), (LocalState::Pending, false)] {
        let observed = merged(&THREE, |name, report| {
            if let (Ok(engine), "w1") = (&mut report.engine, name.as_str()) {
                (engine.swarm.reported, engine.swarm.node) = (reported.clone(), None);
                engine.swarm.error = (reported == LocalState::Error).then(|| "it failed".to_owned());
                report.identity = identity("ours", "node-w1", Role::Worker);
            }
        });
        assert_eq!(observed.strangers.is_empty(), known, "{reported:?}: {:?}", observed.strangers);
    }
}

/// What proves that a manager is gone, and what does not.
#[test]
fn a_manager_is_gone_only_where_its_host_says_so() {
    let ours = ClusterId::new("ours");
    let counted = RemoteManager { node: NodeId::new("node-m2"), address: "10.0.1.2:2377".into() };
    let gone = |change: &dyn Fn(&mut HostReport), swarm: Option<&ClusterId>| {
        let mut look = world(&[("m1", Is::Manager), ("m2", Is::Manager)]);
        change(look.hosts.get_mut(&HostName::new("m2")).unwrap());
        let found = proven_gone(&spec(&["m1", "m2"]), &look, &BTreeSet::from([&counted]), swarm);
        found.into_iter().map(|(name, why)| format!("{name}: {why}")).collect::<Vec<_>>()
    };
    let node = |id: &'static str, cluster: &'static str| {
        move |report: &mut HostReport| {
            if let Ok(engine) = &mut report.engine {
                engine.swarm.node = Some(NodeId::new(id));
            }
            report.identity = identity(cluster, id, Role::Manager);
        }
    };
    let fails = |kind: ReachErrorKind| move |report: &mut HostReport| report.engine = Err(ReachError { kind, message: "no".into() });
    assert_eq!(gone(&node("node-m2", "ours"), Some(&ours)), [""; 0]);
    assert_eq!(gone(&node("node-new", "ours"), Some(&ours)), [""; 0], "another node of the same swarm");
    assert_eq!(gone(&node("node-m2", "theirs"), Some(&ours)), [""; 0], "the node that is counted");
    assert_eq!(gone(&node("node-new", "theirs"), None), [""; 0], "it is not known which swarm it would be");
    assert_eq!(gone(&node("node-new", "theirs"), Some(&ours)), ["m2: its engine is in swarm theirs"]);
    assert_eq!(gone(&fails(ReachErrorKind::NoEngine), Some(&ours)), ["m2: it has no engine"]);
    assert_eq!(gone(&fails(ReachErrorKind::Unreachable), Some(&ours)), [""; 0]);
    let out = |report: &mut HostReport| {
        if let Ok(engine) = &mut report.engine {
            engine.swarm = LocalSwarm::outside();
        }
    };
    assert_eq!(gone(&out, Some(&ours)), ["m2: its engine is in no swarm"]);
}
