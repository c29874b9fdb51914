//! The planner's decisions, each on a small world.

use super::*;
use crate::engine::{Force, NodeChange};
use crate::id::NodeId;
use crate::observe::{Fact, NodeState, Observed, merge};
use crate::spec::{Availability, ClusterSpec, Role};
use crate::step;
use crate::testkit::{Is, Wanted, node, spec, spec_with, world};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn look(spec: &ClusterSpec, hosts: &[(&str, Is)]) -> Observed {
    merge(spec, &world(hosts), &BTreeSet::new())
}

fn plan_of(spec: &ClusterSpec, observed: &Observed) -> Plan {
    match build(spec, observed, &PlanOptions::default()) {
        Planned::Plan(plan) => plan,
        Planned::Refused(reasons) => panic!("{reasons:?}"),
    }
}

fn steps(spec: &ClusterSpec, hosts: &[(&str, Is)]) -> Vec<String> {
    plan_of(spec, &look(spec, hosts)).steps.iter().map(|s| s.id.to_string()).collect()
}

fn refused(spec: &ClusterSpec, hosts: &[(&str, Is)]) -> Vec<Refusal> {
    match build(spec, &look(spec, hosts), &PlanOptions::default()) {
        Planned::Refused(reasons) => reasons,
        Planned::Plan(plan) => panic!("{plan:#?}"),
    }
}

fn promote() -> Action {
    let advertise = "10.0.2.1".parse().unwrap();
    Action::Promote(step::Promote {
        rejoin: Rejoin { advertise, listen: "0.0.0.0:2377".into(), data_path: None, node: NodeChange::default() },
    })
}

#[test]
fn nothing_becomes_a_cluster_with_all_joins_side_by_side() {
    let spec = spec(&["m1", "m2", "w1"]);
    let plan = plan_of(&spec, &look(&spec, &[("m1", Is::Alone), ("m2", Is::Alone), ("w1", Is::Alone)]));
    let needs: Vec<(&str, Vec<&str>)> = plan.steps.iter().map(|s| (s.id.as_str(), s.needs.iter().map(StepId::as_str).collect())).collect();
    assert_eq!(needs, [("m1/init", vec![]), ("m2/join", vec!["m1/init"]), ("w1/join", vec!["m1/init"])]);
}

#[test]
fn a_running_swarm_takes_managers_one_after_the_other() {
    let spec = spec(&["m1", "m2", "m3", "w1"]);
    let plan = plan_of(&spec, &look(&spec, &[("m1", Is::Manager), ("m2", Is::Alone), ("m3", Is::Alone), ("w1", Is::Alone)]));
    let needs: Vec<(&str, Vec<&str>)> = plan.steps.iter().map(|s| (s.id.as_str(), s.needs.iter().map(StepId::as_str).collect())).collect();
    assert_eq!(needs, [("m2/join", vec![]), ("m3/join", vec!["m2/join"]), ("w1/join", vec![])]);
}

#[test]
fn a_second_cluster_is_never_made() {
    let spec = spec(&["m1", "m2", "m3", "w1"]);
    // For each thing a declared manager can be besides alone: no init, whatever the others are.
    for doubt in [Is::Gone, Is::Joining, Is::Locked, Is::Foreign, Is::Removed] {
        let reasons = refused(&spec, &[("m1", Is::Alone), ("m2", doubt), ("m3", Is::Alone), ("w1", Is::Alone)]);
        assert!(!reasons.is_empty(), "{doubt:?}");
    }
    // Workers that cannot be asked are left out; workers that are in some swarm are not.
    assert_eq!(
        steps(&spec, &[("m1", Is::Alone), ("m2", Is::Alone), ("m3", Is::Alone), ("w1", Is::Gone)]),
        ["m1/init", "m2/join", "m3/join"]
    );
    let elsewhere = refused(&spec, &[("m1", Is::Alone), ("m2", Is::Alone), ("m3", Is::Alone), ("w1", Is::Foreign)]);
    assert!(matches!(elsewhere[..], [Refusal::ManagersElsewhere { .. }]), "{elsewhere:?}");
}

#[test]
fn a_removed_node_leaves_and_joins_a_foreign_one_is_refused() {
    let spec = spec(&["m1", "w1"]);
    assert_eq!(steps(&spec, &[("m1", Is::Manager), ("w1", Is::Removed)]), ["w1/leave", "w1/join"]);
    let reasons = refused(&spec, &[("m1", Is::Manager), ("w1", Is::Foreign)]);
    assert!(reasons[0].to_string().contains("worker of swarm theirs") && reasons[0].to_string().contains("swarm ours"), "{}", reasons[0]);
    let forced = PlanOptions { force_leave: ["w1".into()].into(), ..PlanOptions::default() };
    let observed = look(&spec, &[("m1", Is::Manager), ("w1", Is::Foreign)]);
    let Planned::Plan(plan) = build(&spec, &observed, &forced) else { panic!("refused") };
    assert!(matches!(plan.steps[0].action, Action::Leave(step::Leave { force: Force::Yes, node: Some(_), .. })));
    assert_eq!(lint(&plan, &spec, &observed, &forced.force_leave), []);
    assert!(!lint(&plan, &spec, &observed, &BTreeSet::new()).is_empty(), "without leave to do so it breaks a rule");
}

#[test]
fn promotions_come_before_demotions_and_never_beside_them() {
    let spec =
        spec_with(&[("m1", "manager", &[]), ("m2", "worker", &[]), ("m3", "worker", &[]), ("w1", "manager", &[]), ("w2", "manager", &[])]);
    let plan = plan_of(
        &spec,
        &look(&spec, &[("m1", Is::Manager), ("m2", Is::Manager), ("m3", Is::Manager), ("w1", Is::Worker), ("w2", Is::Worker)]),
    );
    let chain: Vec<(&str, Vec<&str>)> = plan.steps.iter().map(|s| (s.id.as_str(), s.needs.iter().map(StepId::as_str).collect())).collect();
    assert_eq!(
        chain,
        [("w1/promote", vec![]), ("w2/promote", vec!["w1/promote"]), ("m2/demote", vec!["w2/promote"]), ("m3/demote", vec!["m2/demote"])]
    );
}

#[test]
fn the_quorum_is_counted_with_lost_voters_as_lost() {
    let demote = spec_with(&[("m1", "manager", &[]), ("m2", "worker", &[]), ("m3", "manager", &[])]);
    let reasons = refused(&demote, &[("m1", Is::Manager), ("m2", Is::Manager), ("m3", Is::LostManager)]);
    assert!(
        reasons[0].to_string().contains("3 managers, 2 reachable; afterwards 2, which need 2, and 1 would surely be there"),
        "{}",
        reasons[0]
    );
    // Growing a swarm of two of which one is lost would leave it one failure from the end.
    let grow = spec(&["m1", "m2", "m3", "m4"]);
    assert!(matches!(
        refused(&grow, &[("m1", Is::Manager), ("m2", Is::Manager), ("m3", Is::LostManager), ("m4", Is::Alone)])[..],
        [Refusal::QuorumAtRisk { .. }]
    ));
    // No majority at all: nothing is planned.
    let lost = [("m1", Is::Manager), ("m2", Is::LostManager), ("m3", Is::LostManager), ("m4", Is::Alone)];
    assert!(matches!(refused(&grow, &lost)[..], [Refusal::NoLeader { .. }]));
}

#[test]
fn an_entry_that_a_host_left_behind_is_removed_by_proof_only() {
    let spec = spec(&["m1", "w1"]);
    let with_ghost = |state: NodeState, hostname: &str, address: &str| {
        let mut world = world(&[("m1", Is::Manager), ("w1", Is::Worker)]);
        let mut ghost = node("w1", Role::Worker, state, false);
        ghost.id = NodeId::new("ghost");
        ghost.hostname = hostname.into();
        ghost.address = address.into();
        let report = world.hosts.get_mut(&HostName::new("m1")).unwrap();
        report.view.known_mut().unwrap().nodes.push(ghost);
        plan_of(&spec, &merge(&spec, &world, &BTreeSet::new())).steps.iter().map(|s| s.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(with_ghost(NodeState::Down, "w1", "10.0.2.1"), ["w1/remove-ghost"]);
    // One that is not down yet is planned too: the step waits until the managers count it as down. Another name or address is no proof.
    assert_eq!(with_ghost(NodeState::Unknown, "w1", "10.0.2.1"), ["w1/remove-ghost"]);
    assert_eq!(with_ghost(NodeState::Ready, "w1", "10.0.2.1"), ["w1/remove-ghost"]);
    assert!(with_ghost(NodeState::Down, "other", "10.0.2.1").is_empty());
    assert!(with_ghost(NodeState::Down, "w1", "10.0.9.9").is_empty());
}

#[test]
fn a_full_disk_leaves_a_manager_out_and_another_data_folder_is_not_judged() {
    let spec = spec(&["m1", "m2"]);
    let planned = |free: u64, root: &str| {
        let mut world = world(&[("m1", Is::Manager), ("m2", Is::Alone)]);
        let report = world.hosts.get_mut(&HostName::new("m2")).unwrap();
        report.machine.known_mut().unwrap().disk_free = Some(free);
        report.engine.as_mut().unwrap().data_root = root.into();
        let plan = plan_of(&spec, &merge(&spec, &world, &BTreeSet::new()));
        (plan.steps.len(), plan.blocked.len())
    };
    assert_eq!(planned(10 << 20, "/var/lib/docker"), (0, 1));
    assert_eq!(planned(10 << 30, "/var/lib/docker"), (1, 0));
    assert_eq!(planned(10 << 20, "/data/docker"), (1, 0));
}

#[test]
fn a_node_at_the_address_of_a_silent_host_is_presumed_and_no_stranger() {
    let spec = spec(&["m1", "w1"]);
    let mut world = world(&[("m1", Is::Manager), ("w1", Is::Gone)]);
    let view = world.hosts.get_mut(&HostName::new("m1")).unwrap().view.known_mut().unwrap();
    view.nodes.push(node("w1", Role::Worker, NodeState::Down, false));
    let observed = merge(&spec, &world, &BTreeSet::new());
    assert_eq!(observed.hosts[&HostName::new("w1")].presumed.as_ref().map(|n| n.id.as_str()), Some("node-w1"));
    assert!(observed.strangers.is_empty());
    let plan = plan_of(&spec, &observed);
    assert!(plan.is_empty() && plan.notes.is_empty() && plan.blocked.len() == 1, "{plan:#?}");
}

#[test]
fn labels_hold_a_node_back_in_a_swarm_that_runs() {
    let spec = spec_with(&[("m1", "manager", &[]), ("w1", "worker", &[("disk", "ssd")])]);
    // Also where no service is seen: the first one may come between the look and the join.
    for services in [0, 3] {
        let mut world = world(&[("m1", Is::Manager), ("w1", Is::Alone)]);
        world.hosts.get_mut(&HostName::new("m1")).unwrap().view.known_mut().unwrap().services = services;
        let plan = plan_of(&spec, &merge(&spec, &world, &BTreeSet::new()));
        assert!(
            matches!(&plan.steps[0].action, Action::Join(step::Join { availability: a, .. }) if *a == Availability::Drain),
            "{plan:#?}"
        );
        let Action::Configure(step::Configure { change }) = &plan.steps[1].action else { panic!("{plan:#?}") };
        assert_eq!(change.availability, Some(Availability::Active));
    }
    // One that this run makes has none.
    let plan = plan_of(&spec, &look(&spec, &[("m1", Is::Alone), ("w1", Is::Alone)]));
    assert!(matches!(&plan.steps[1].action, Action::Join(step::Join { availability: Availability::Active, .. })), "{plan:#?}");
}

#[test]
fn a_drained_node_without_its_labels_is_an_interrupted_join() {
    let spec = spec_with(&[("m1", "manager", &[]), ("w1", "worker", &[("disk", "ssd")])]);
    let mut world = world(&[("m1", Is::Manager), ("w1", Is::Worker)]);
    let view = world.hosts.get_mut(&HostName::new("m1")).unwrap().view.known_mut().unwrap();
    view.nodes[1].availability = Availability::Drain;
    let plan = plan_of(&spec, &merge(&spec, &world, &BTreeSet::new()));
    let Action::Configure(step::Configure { change }) = &plan.steps[0].action else { panic!("{plan:#?}") };
    assert_eq!(change.availability, Some(Availability::Active));
}

#[test]
fn the_checker_finds_what_a_broken_planner_would_do() {
    let spec = spec(&["m1", "m2", "m3", "w1"]);
    let observed = look(&spec, &[("m1", Is::Manager), ("m2", Is::Manager), ("m3", Is::Manager), ("w1", Is::Worker)]);
    let empty = plan_of(&spec, &observed);
    assert!(empty.is_empty());
    let with = |actions: Vec<(&str, Action)>| {
        let mut plan = empty.clone();
        plan.steps = actions
            .into_iter()
            .enumerate()
            .map(|(i, (host, action))| Step {
                id: StepId::new(format!("{i}")),
                host: Some(HostName::new(host)),
                action,
                before: String::new(),
                after: String::new(),
                needs: Vec::new(),
                expect: None,
                because: String::new(),
                risk: Risk::None,
            })
            .collect();
        lint(&plan, &spec, &observed, &BTreeSet::new()).iter().map(|f| f.what.clone()).collect::<Vec<_>>().join("; ")
    };
    let join = |role| {
        Action::Join(step::Join {
            role,
            advertise: "10.0.0.1".parse().unwrap(),
            listen: String::new(),
            data_path: None,
            availability: Availability::Active,
        })
    };
    assert!(with(vec![("m1", Action::Demote), ("m2", Action::Demote), ("m3", Action::Demote)]).contains("without a majority"));
    assert!(with(vec![("w1", promote()), ("m2", Action::Demote)]).contains("may be under way"));
    assert!(with(vec![("w1", Action::Leave(step::Leave { force: Force::No, node: None, leaderless: false }))]).contains("healthy host"));
    assert!(with(vec![("w1", join(Role::Worker))]).contains("not free"));
    assert!(
        with(vec![("w1", Action::RemoveNode(step::RemoveNode { node: NodeId::new("node-w1"), demote: false, dead: false, stays: false }))])
            .contains("that one of the hosts is")
    );
    assert!(with(vec![("x9", promote())]).contains("not in the file"));
}

/// A plan without a fingerprint is not carried out.
#[test]
fn a_plan_that_does_not_say_what_it_was_made_from_is_refused() {
    let spec = spec(&["m1"]);
    let observed = look(&spec, &[("m1", Is::Alone)]);
    let mut plan = plan_of(&spec, &observed);
    assert_eq!(lint(&plan, &spec, &observed, &BTreeSet::new()), []);
    assert_eq!(fingerprint(&spec, &plan.basis).as_ref(), Ok(&plan.fingerprint));
    plan.fingerprint.clear();
    let found = lint(&plan, &spec, &observed, &BTreeSet::new());
    assert!(found.iter().any(|f| f.what.contains("what it was made from")), "{found:?}");
}

/// Nodes that no host of the file is go only when they are down, and the operator or the file said so.
#[test]
fn what_is_down_and_not_in_the_file_is_pruned_when_that_is_meant() {
    let spec = spec(&["m1", "m2", "m3"]);
    let with = |nodes: Vec<crate::observe::NodeFacts>| {
        let mut seen = world(&[("m1", Is::Manager), ("m2", Is::Manager), ("m3", Is::Manager)]);
        for report in seen.hosts.values_mut() {
            if let Fact::Known(view, _) = &mut report.view {
                view.nodes.extend(nodes.iter().cloned());
            }
        }
        merge(&spec, &seen, &BTreeSet::new())
    };
    let steps = |spec: &ClusterSpec, observed: &Observed, prune: bool| -> Vec<String> {
        let Planned::Plan(plan) = build(spec, observed, &PlanOptions { prune, ..PlanOptions::default() }) else { panic!("refused") };
        assert_eq!(lint(&plan, spec, observed, &BTreeSet::new()), []);
        plan.steps.iter().map(|s| s.id.to_string()).collect()
    };
    let mut down = node("x1", Role::Worker, NodeState::Down, false);
    let ready = node("x2", Role::Worker, NodeState::Ready, false);
    let seen = with(vec![down.clone(), ready]);
    assert_eq!(steps(&spec, &seen, true), ["swarm/remove-node-x1"]);
    assert_eq!(steps(&spec, &seen, false), [""; 0]);
    // By the file: only what carries its name.
    let owning = ClusterSpec::builder("c").prune_owned();
    let owning = ["m1", "m2", "m3"].iter().fold(owning, |b, m| b.host(crate::spec::HostSpec::manager(m, &crate::testkit::address(m))));
    let owning = owning.build().unwrap();
    let only =
        |observed: &Observed| -> Vec<String> { steps(&owning, observed, false).into_iter().filter(|id| id.contains("remove")).collect() };
    assert_eq!(only(&seen), [""; 0]);
    down.labels.insert(crate::spec::OWNER_LABEL.into(), "c".into());
    assert_eq!(only(&with(vec![down])), ["swarm/remove-node-x1"]);
}

fn any_is() -> impl Strategy<Value = Is> {
    prop::sample::select(vec![
        Is::Alone,
        Is::Alone,
        Is::Alone,
        Is::Manager,
        Is::Manager,
        Is::Worker,
        Is::Worker,
        Is::LostManager,
        Is::Removed,
        Is::Foreign,
        Is::Gone,
        Is::Joining,
        Is::Locked,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_plan_of_every_world_keeps_the_rules(kinds in prop::collection::vec((any_is(), any::<bool>(), any::<bool>()), 1..9)) {
        let names: Vec<String> = kinds.iter().enumerate().map(|(i, (_, manager, _))| format!("{}{}", if *manager || i == 0 { 'm' } else { 'w' }, i + 1)).collect();
        // The file may want another role than the host has.
        let wanted: Vec<Wanted<'_>> = names.iter().zip(&kinds).enumerate()
            .map(|(i, (n, (_, _, labelled)))| (n.as_str(), if n.starts_with('m') || i == 0 { "manager" } else { "worker" }, if *labelled { &[("a", "b")][..] } else { &[][..] }))
            .collect();
        let spec = spec_with(&wanted);
        let hosts: Vec<(&str, Is)> = names.iter().map(String::as_str).zip(kinds.iter().map(|k| k.0)).collect();
        let observed = look(&spec, &hosts);
        let first = build(&spec, &observed, &PlanOptions::default());
        prop_assert_eq!(&first, &build(&spec, &observed, &PlanOptions::default()), "the same input gives the same plan");
        // The order of hosts in the file changes nothing.
        let reversed = spec_with(&wanted.iter().rev().copied().collect::<Vec<_>>());
        prop_assert_eq!(&first, &build(&reversed, &observed, &PlanOptions::default()));
        if let Planned::Plan(plan) = first {
            prop_assert_eq!(lint(&plan, &spec, &observed, &BTreeSet::new()), vec![]);
            let text = serde_json::to_string(&plan).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Plan>(&text).unwrap(), &plan, "a saved plan is the plan");
            let inits = plan.steps.iter().filter(|s| matches!(s.action, Action::Init(_))).count();
            // A host that cannot be asked may be anything; a worker that is one does not keep the others from beginning.
            let bodies = kinds.iter().any(|k| !matches!(k.0, Is::Alone | Is::Gone | Is::LostManager));
            prop_assert!(inits == 0 || !bodies, "no birth beside a body");
        }
    }
}

/// Where no manager can be asked, only engines that answer and are in the swarm leave it; certificates alone say what was once.
#[test]
fn by_force_only_what_answers_leaves() {
    use crate::observe::{NodeIdentity, ReachError, ReachErrorKind, SeenAt};
    let spec = spec(&["m1", "m2", "m3", "w1"]);
    let mut look = world(&[("m1", Is::Manager), ("m2", Is::LostManager), ("m3", Is::LostManager), ("w1", Is::Alone)]);
    for (name, report) in &mut look.hosts {
        let node = crate::id::NodeId::new(format!("node-{name}"));
        report.identity = Fact::Known(NodeIdentity { cluster: ClusterId::new("ours"), node, role: Role::Manager }, SeenAt::default());
        if *name == "m2".into() {
            report.engine = Err(ReachError { kind: ReachErrorKind::EngineDown, message: "it is stopped".into() });
        }
        if let Ok(engine) = &mut report.engine {
            engine.swarm.cluster = None;
        }
        report.view = Fact::Unknown("no leader".into());
    }
    let Planned::Plan(plan) = build_destroy(&spec, &merge(&spec, &look, &BTreeSet::new()), Force::Yes) else { panic!("refused") };
    assert_eq!(plan.steps.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["m1/leave"], "{plan:#?}");
    assert_eq!(plan.blocked.iter().map(|b| b.host.as_str()).collect::<Vec<_>>(), ["m2", "m3"]);
}

/// Without the addresses of its managers there is none to keep in the file.
#[test]
fn a_swarm_whose_managers_are_not_known_is_not_gone_on_with() {
    let elsewhere = |managers: &[&str]| {
        let managers: Vec<String> = managers.iter().map(|m| (*m).to_owned()).collect();
        Refusal::ManagersElsewhere { host: "w1".into(), swarm: None, managers, gone: Vec::new(), running: 0 }.advice()
    };
    let leave = || crate::advice::Advice::ForceLeave { host: "w1".into() };
    assert_eq!(elsewhere(&[]), [leave()]);
    let keep = crate::advice::Advice::KeepAManager { managers: vec!["10.0.1.9:2377".into()] };
    assert_eq!(elsewhere(&["10.0.1.9:2377"]), [keep, leave()]);
}

/// What is about no host stands under a heading of its own, each with what it does to its object.
#[test]
fn objects_stand_apart_from_hosts() {
    let spec = spec(&["m1", "w1"]);
    let observed = look(&spec, &[("m1", Is::Manager), ("w1", Is::Alone)]);
    let hosts = render_text(&plan_of(&spec, &observed));
    assert!(hosts.contains("\nw1\n  + join") && !hosts.contains("the swarm\n"), "{hosts}");
    let of = |verb: &str| {
        let (family, target) = ("f".into(), Target::Object { kind: "service".into(), name: "web".into() });
        Work { family, verb: verb.into(), target, data: Default::default() }.step("", "Image: app:2", "the file says so", Risk::None)
    };
    for (verb, sign) in [("create-service", '+'), ("remove-service", '-'), ("update-service", '~')] {
        let shown = render_text(&Plan::of_work(&spec, &observed, vec![of(verb)], Vec::new()));
        let indent = " ".repeat(verb.len() + 6);
        let expected = format!("\nthe swarm\n  {sign} {verb}  service web\n{indent}Image: app:2\n");
        assert!(shown.contains(&expected), "{shown}");
        assert!(shown.ends_with("file says so\n\n1 step.\n"), "{shown}");
    }
    let noted = render_text(&Plan::of_work(&spec, &observed, vec![of("create-service")], vec!["it is new".into()]));
    assert!(noted.ends_with("file says so\n\nnote: it is new\n\n1 step.\n"), "{noted}");
}

/// A host that the file wants in no swarm leaves it only without a vote: as a worker, or after its own demotion.
#[test]
fn a_host_that_leaves_has_no_vote() {
    let spec =
        spec_with(&[("m1", "manager", &[]), ("m2", "manager", &[]), ("m3", "manager", &[]), ("m4", "none", &[]), ("m5", "none", &[])]);
    let all = ["m1", "m2", "m3", "m4", "m5"].map(|host| (host, Is::Manager));
    let observed = look(&spec, &all);
    let plan = plan_of(&spec, &observed);
    let found = |plan: &Plan, observed: &Observed| {
        let found = lint(plan, &spec, observed, &BTreeSet::new());
        found.iter().any(|f| f.step == Some(StepId::new("m4/leave")) && f.what.contains("takes a healthy host out"))
    };
    assert!(!found(&plan, &observed), "{plan:#?}");
    // What it needs instead: nothing, another host's demotion, another step of its own.
    for needs in [&[][..], &["m5/demote"], &["m4/configure"], &["m5/demote", "m4/configure"]] {
        let mut other = plan.clone();
        let leave = other.steps.iter_mut().find(|s| s.id.as_str() == "m4/leave").unwrap();
        leave.needs = needs.iter().map(|need| StepId::new(*need)).collect();
        assert!(found(&other, &observed), "{needs:?}");
    }
    // Without its demotion: one that only the role or only the address of raft calls a manager has its vote, too.
    let mut undone = plan.clone();
    undone.steps.iter_mut().filter(|s| s.id.as_str() == "m4/leave").for_each(|s| s.needs.clear());
    for (role, in_raft, votes) in
        [(Role::Manager, true, true), (Role::Manager, false, true), (Role::Worker, true, true), (Role::Worker, false, false)]
    {
        let mut look = world(&all);
        for view in look.hosts.values_mut().filter_map(|r| r.view.known_mut()) {
            for node in view.nodes.iter_mut().filter(|n| n.hostname == "m4") {
                node.role = role;
                node.manager = node.manager.take().filter(|_| in_raft);
            }
        }
        assert_eq!(found(&undone, &merge(&spec, &look, &BTreeSet::new())), votes, "{role:?} {in_raft}");
    }
}
