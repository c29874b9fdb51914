//! Every rule, broken on purpose, and seen to be caught.

use std::time::Duration;
use swarm_core::engine::Force;
use swarm_core::fleet::Fleet;
use swarm_core::plan::{Action, Plan, PlanOptions, Planned, Risk, Step, build_destroy};
use swarm_core::report::Ending;
use swarm_core::step;
use swarm_core::{Apply, ClusterSpec};
use swarm_sim::{CallFault, CallKind, FaultRule, Incident, World};
use swarm_tests::sim::mutants::{Broken, Mutant};
use swarm_tests::sim::{Drawer, Mutate, THREE, Tool, cluster, no_violations, one_more, spec};

/// Runs a tool that is broken so, and gives the rules that it broke.
fn caught(broken: Broken, prepare: impl AsyncFn(&World) -> ClusterSpec) -> Vec<&'static str> {
    swarm_sim::run(async {
        let world = World::of(&spec(THREE), 7);
        let wanted = prepare(&world).await;
        let keys = Drawer::default();
        let fleet = Mutant { honest: world.fleet("me"), broken };
        Tool::new(&world, "me", &wanted, &keys).apply_over(&fleet).await;
        world.violations().iter().map(|v| v.rule).collect()
    })
}

async fn nothing_yet(_: &World) -> ClusterSpec {
    spec(THREE)
}

/// Two managers run, and the third has room for a certificate and none for a log; its engine's first answer is lost.
async fn manager_without_room(world: &World) -> ClusterSpec {
    cluster(world, &THREE.replace("  m3: { address: 10.0.0.3, role: manager }\n", "")).await;
    world.cause(&Incident::DiskLow("m3".into()));
    world.fault_rule(FaultRule { host: Some("m3".into()), call: Some(CallKind::Join), skip: 0, times: 9, fault: CallFault::DoneButFailed });
    spec(THREE)
}

#[test]
fn a_broken_rule_is_caught_by_its_number() {
    let cases: Vec<(&str, Vec<&str>)> = vec![
        (
            "I1",
            caught(Broken::UnreachableIsStandalone, async |world| {
                world.cause(&Incident::OperatorCutOff("w1".into()));
                spec(THREE)
            }),
        ),
        (
            "I1",
            caught(Broken::UnreachableIsStandalone, async |world| {
                // A fresh replacement of m1, while m2 and m3 lead a swarm and cannot be asked.
                let two = "name: c\nhosts:\n  m2: { address: 10.0.0.2, role: manager }\n  m3: { address: 10.0.0.3, role: manager }\n";
                cluster(world, two).await;
                world.cause(&Incident::OperatorCutOff("m2".into()));
                world.cause(&Incident::SshRefused("m3".into()));
                spec(THREE)
            }),
        ),
        (
            "I2",
            caught(Broken::WorkersAreStandalone, async |world| {
                world.cause(&Incident::JoinsForeign("w1".into()));
                spec(THREE)
            }),
        ),
        (
            "I5",
            caught(Broken::WorkersAreStandalone, async |world| {
                let wanted = one_more(world).await;
                world.cause(&Incident::JoinsForeign("w2".into()));
                wanted
            }),
        ),
        (
            "I6",
            caught(Broken::WorkersAreDown, async |world| {
                // w1 left; its old entry goes once it counts as down, and not before.
                cluster(world, THREE).await;
                world.cause(&Incident::OperatorLeaves("w1".into()));
                spec(THREE)
            }),
        ),
        (
            "I7",
            caught(Broken::EveryLeaveIsForced, async |world| {
                world.cause(&Incident::PortClosed("m1".into()));
                spec(THREE)
            }),
        ),
        // Whoever goes by a list that is older than a member's join takes the member out.
        ("I7", caught(Broken::ListsLackWorkers, async |world| cluster(world, THREE).await)),
        ("I8", caught(Broken::VersionsAreGuessed, nothing_yet)),
        (
            "I10",
            caught(Broken::LostJoinsAreSentAgain, async |world| {
                world.fault(Some("w1"), CallKind::Join, 0, CallFault::AnswerLost);
                spec(THREE)
            }),
        ),
        (
            "I11",
            caught(Broken::JoinsAreTriedFiveTimes, async |world| {
                world.cause(&Incident::Cut("m1".into(), "w1".into()));
                spec(THREE)
            }),
        ),
        (
            "I12",
            caught(Broken::TokensAreQuoted, async |world| {
                world.cause(&Incident::DiskFull("w1".into()));
                spec(THREE)
            }),
        ),
        ("I13", caught(Broken::EverybodyGetsTheManagerToken, nothing_yet)),
        ("I13", caught(Broken::TokensAreAlwaysAskedFor, async |world| cluster(world, THREE).await)),
        (
            "I14",
            caught(Broken::HostKeysAreIgnored, async |world| {
                world.cause(&Incident::HostKeyChanges("w1".into()));
                spec(THREE)
            }),
        ),
        ("I16", caught(Broken::LooksChangeThings, nothing_yet)),
        (
            "I19",
            caught(Broken::RotationIsIgnored, async |world| {
                let wanted = one_more(world).await;
                world.cause(&Incident::PowerCut("w1".into()));
                world.cause(&Incident::RootRotated);
                wanted
            }),
        ),
        // m3 dies as the leader takes it in, and whoever does not see what that leaves in raft tries again.
        ("I24", caught(Broken::FailedJoinsAreForgotten, manager_without_room)),
        ("I21", caught(Broken::LooksNeverEnd, nothing_yet)),
        ("I23", caught(Broken::UpdatesAreSwallowed, nothing_yet)),
    ];
    for (rule, found) in &cases {
        assert!(found.contains(rule), "{rule} was broken, and {found:?} was seen");
    }
}

/// Plans that a broken planner could have made.
#[test]
fn a_broken_plan_is_caught_by_its_number() {
    fn no_order(plan: &mut Plan) {
        plan.steps.iter_mut().for_each(|s| s.needs.clear());
    }
    fn forces_w1_out(plan: &mut Plan) {
        let because = String::new();
        plan.steps.push(Step {
            id: "w1/leave".into(),
            host: Some("w1".into()),
            action: Action::Leave(step::Leave {
                force: Force::Yes,
                node: plan.basis.0.get("w1.node").map(|id| id.as_str().into()),
                leaderless: false,
            }),
            before: String::new(),
            after: String::new(),
            needs: Vec::new(),
            expect: None,
            because,
            risk: Risk::Host,
        });
    }
    fn honest(_: &mut Plan) {}
    let run = |prepare: &dyn Fn(&World), text: &'static str, before: &'static str, mutate: (Mutate, Mutate)| {
        swarm_sim::run(async {
            let world = World::of(&spec(THREE), 7);
            if !before.is_empty() {
                cluster(&world, before).await;
            }
            prepare(&world);
            let (wanted, keys) = (spec(text), Drawer::default());
            Tool { mutate, ..Tool::new(&world, "me", &wanted, &keys) }.apply().await;
            world.violations().iter().map(|v| v.rule).collect::<Vec<_>>()
        })
    };
    let one = "name: c\nhosts:\n  m1: { address: 10.0.0.1, role: manager }\n";
    // The managers come one after the other in a swarm that is there.
    assert!(run(&|_| {}, THREE, one, (no_order, honest)).contains(&"I3"));
    assert!(run(&|_| {}, THREE, one, (honest, honest)).is_empty());
    let without_w1 = "name: c\nhosts:
  m1: { address: 10.0.0.1, role: manager }
  w1: { address: 10.0.0.4, role: worker }\n";
    assert!(run(&|_| {}, without_w1, without_w1, (forces_w1_out, honest)).contains(&"I7"));
    // A worker that takes tasks before its labels are there.
    fn takes_tasks_at_once(plan: &mut Plan) {
        for step in &mut plan.steps {
            if let Action::Join(step::Join { availability, .. }) = &mut step.action {
                *availability = swarm_core::spec::Availability::Active;
            }
        }
    }
    let with_services = |world: &World| assert!(world.service("m1", "everywhere", None, None));
    assert!(run(&with_services, THREE, one, (takes_tasks_at_once, honest)).contains(&"labels-first"));
    assert!(run(&with_services, THREE, one, (honest, honest)).is_empty());
    // Something is done that was not shown.
    assert!(run(&|_| {}, THREE, without_w1, (honest, forces_w1_out)).contains(&"I15"));
}

/// A plan that ends the cluster, carried out as if it brought it about.
#[test]
fn the_last_manager_never_goes_but_by_destroy() {
    let rules = |purpose| {
        swarm_sim::run(async {
            let world = World::of(&spec(THREE), 7);
            let wanted = cluster(&world, THREE).await;
            let fleet = world.fleet("me");
            world.watch("me", &wanted, swarm_sim::Purpose::Look, &[]);
            let apply = swarm_core::Apply::new(&wanted, &fleet);
            let observed = apply.observe().await;
            let Planned::Plan(plan) = build_destroy(&wanted, &observed, Force::No) else { panic!("refused") };
            world.watch_on("me", purpose);
            world.shown("me", &plan);
            let report = apply.run(&plan, &observed).await;
            assert_eq!(report.ending, Ending::Converged, "{report:?}");
            world.violations().iter().map(|v| v.rule).collect::<Vec<_>>()
        })
    };
    assert_eq!(rules(swarm_sim::Purpose::Destroy), Vec::<&str>::new());
    assert!(rules(swarm_sim::Purpose::Apply).contains(&"I4"));
}

/// L1 and L2, broken: a tool that never arrives, and one that always finds something to do.
#[test]
fn a_tool_that_never_arrives_or_never_rests_is_seen() {
    let runs = |broken: Option<Broken>| {
        swarm_sim::run(async {
            let world = World::of(&spec(THREE), 7);
            let (wanted, keys) = (spec(THREE), Drawer::default());
            let mut last = (false, 0);
            for _ in 0..3 {
                let before = world.calls().1;
                let tool = Tool::new(&world, "me", &wanted, &keys);
                let ended = match broken {
                    Some(broken) => tool.apply_over(&Mutant { honest: world.fleet("me"), broken }).await,
                    None => tool.apply().await,
                };
                last = (ended.converged(), world.calls().1 - before);
            }
            last
        })
    };
    assert_eq!(runs(None), (true, 0));
    assert!(!runs(Some(Broken::OneFailureSpoilsAll)).0, "L1");
    assert!(runs(Some(Broken::LabelsAreForgotten)).1 > 0, "L2");
}

/// I9: only a recovery forces a new cluster, and only its own intent plans one; what it does is watched at the call. I17 holds by construction:
/// nothing changes what is fixed at init.
#[test]
fn only_a_recovery_forces_a_new_cluster() {
    let engine = include_str!("../../swarm-docker/src/engine.rs");
    let forced = |l: &&str| l.contains("ForceNewCluster") && l.contains("true");
    assert_eq!(engine.lines().filter(forced).count(), 1);
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../swarm-core/src");
    let holds = |what: &str| -> Vec<String> {
        let files = std::process::Command::new("grep").args(["-rlF", what]).arg(&root).output().unwrap();
        let text = String::from_utf8(files.stdout).unwrap();
        let name = |l: &str| l.trim_start_matches(root.to_str().unwrap()).trim_start_matches('/').to_owned();
        text.lines().map(name).collect()
    };
    assert_eq!(holds(".force_new_cluster("), ["driver/perform.rs"]);
    assert_eq!(holds("action: Action::Recover("), ["recover.rs"]);
    let change = serde_json::to_string(&swarm_core::engine::SwarmChange::default()).unwrap();
    assert!(!change.contains("addr_pool") && !change.contains("data_path"), "{change}");
}

/// I18: managers that lock themselves while the key has no place are no good end, whatever the plan said.
#[test]
fn a_lock_without_a_kept_key_is_no_good_end() {
    fn forgets_the_key(plan: &mut Plan) {
        plan.steps.retain(|s| s.action != Action::StoreUnlockKey);
    }
    let end = |mutate: (Mutate, Mutate)| {
        swarm_sim::run(async {
            let world = World::of(&spec(THREE), 7);
            let wanted = spec(&format!("{THREE}swarm: {{ autolock: true, unlock_key_file: /nowhere }}\n"));
            let keys = Drawer::default();
            let ended = Tool { mutate, ..Tool::new(&world, "me", &wanted, &keys) }.apply().await;
            no_violations(&world, 7, "autolock");
            ended.converged()
        })
    };
    assert!(end((|_| {}, |_| {})));
    assert!(!end((forgets_the_key, |_| {})));
}

/// L4, broken: a tool that is held to a shorter deadline than it keeps.
#[test]
fn a_run_that_outlasts_its_deadline_is_seen() {
    let rules = |promised: Option<Duration>| {
        swarm_sim::run(async {
            let world = World::of(&spec(THREE), 7);
            let rule = FaultRule { host: None, call: Some(CallKind::Join), skip: 0, times: u32::MAX, fault: CallFault::Hang };
            world.fault_rule(rule);
            let (wanted, keys) = (spec(THREE), Drawer::default());
            Tool { promised, ..Tool::new(&world, "me", &wanted, &keys) }.apply().await;
            world.violations().iter().map(|v| v.rule).collect::<Vec<_>>()
        })
    };
    assert_eq!(rules(None), Vec::<&str>::new());
    assert_eq!(rules(Some(Duration::from_secs(1))), ["L4"]);
}

/// M1 holds by construction; M2, M3 and M5, broken: a tool that goes by names or forgets what it saw is distinguished from one that does not.
#[test]
fn what_the_metamorphic_rules_compare_differs_for_a_broken_tool() {
    let mut lines: Vec<&str> = THREE.lines().skip(2).collect();
    lines.reverse();
    assert_eq!(spec(&format!("name: c\nhosts:\n{}\n", lines.join("\n"))), spec(THREE), "M1");
    // What is left undone by two parts of the file, and what a plan still finds.
    let left = |text: &str, broken: Option<Broken>| {
        swarm_sim::run(async {
            let (wanted, world) = (spec(text), World::of(&spec(text), 5));
            let names: Vec<_> = wanted.hosts().map(|h| h.name.clone()).collect();
            let honest = world.fleet("me");
            for part in [&names[..1], &names[1..]] {
                let options = PlanOptions { limit: Some(part.iter().cloned().collect()), ..PlanOptions::default() };
                match broken {
                    Some(broken) => part_of(&wanted, &Mutant { honest: honest.clone(), broken }, options).await,
                    None => part_of(&wanted, &honest, options).await,
                }
            }
            let mutant = Mutant { honest, broken: broken.unwrap_or(Broken::HostKeysAreIgnored) };
            let plan = Apply::new(&wanted, &mutant).plan().await.unwrap().0;
            (world.differs_from(&wanted).len(), plan.is_empty())
        })
    };
    let renamed = THREE.replace("w1:", "x1:").replace("w2:", "x2:");
    assert_eq!((left(THREE, None), left(&renamed, None)), ((0, true), (0, true)));
    let by_name = Some(Broken::OneFailureSpoilsAll);
    assert_ne!(left(THREE, by_name), left(&renamed, by_name), "M2");
    assert!(!left(THREE, Some(Broken::LabelsAreForgotten)).1, "M3");
    assert!(left(THREE, by_name).0 > 0, "M5");
}

async fn part_of<F: Fleet>(wanted: &ClusterSpec, fleet: &F, options: PlanOptions) {
    let apply = Apply::new(wanted, fleet).options(options);
    let (plan, observed) = apply.plan().await.unwrap();
    apply.run(&plan, &observed).await;
}

/// L3, broken: of two at once, one whose every worker fails, and whose failure is not the other's.
/// I1 again: a swarm that is made beside managers that cannot be asked is made where the operator said, and nowhere else.
#[test]
fn a_swarm_beside_silent_managers_is_made_only_where_it_was_allowed() {
    let rules = |chosen: &str| {
        swarm_sim::run(async {
            let wanted = spec(THREE);
            let world = World::of(&wanted, 7);
            world.cause(&Incident::PowerCut("m2".into()));
            world.watch("me", &wanted, swarm_sim::Purpose::Apply, &[]);
            world.allow_init_on("me", "m1");
            let (fleet, keys) = (world.fleet("me"), Drawer::default());
            let options = PlanOptions { init_on: Some(chosen.into()), ..PlanOptions::default() };
            let apply = Apply::new(&wanted, &fleet).options(options).keys(&keys);
            let (plan, observed) = apply.plan().await.unwrap();
            world.shown("me", &plan);
            let report = apply.run(&plan, &observed).await;
            assert_eq!(report.ending, Ending::Partial, "m2 is left out: {report:?}");
            world.violations().iter().map(|v| v.rule).collect::<Vec<_>>()
        })
    };
    assert_eq!(rules("m1"), Vec::<&str>::new());
    assert_eq!(rules("m3"), ["I1"]);
}

#[test]
fn of_two_operators_a_broken_one_is_told_from_the_other() {
    swarm_sim::run(async {
        let world = World::of(&spec(THREE), 3);
        let (wanted, keys) = (spec(THREE), Drawer::default());
        let tool = |who| Tool { alone: false, ..Tool::new(&world, who, &wanted, &keys) };
        let broken = Mutant { honest: world.fleet("one"), broken: Broken::OneFailureSpoilsAll };
        world.cause(&Incident::OperatorCutOff("w1".into()));
        let (one, two) = (tool("one"), tool("two"));
        let (first, second) = tokio::join!(one.apply_over(&broken), two.apply());
        assert!(!first.converged() && !second.converged(), "{first:?} {second:?}");
        world.mend();
        assert!(!tool("one").apply_over(&broken).await.converged());
        assert!(tool("two").apply().await.converged());
    });
}
