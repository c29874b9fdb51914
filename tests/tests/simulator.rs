//! The whole tool on simulated worlds: cut off anywhere, in any weather, and broken on purpose.

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;
use swarm_core::driver::{Apply, NoProgress, settle};
use swarm_core::engine::Force;
use swarm_core::plan::Plan;
use swarm_core::report::Ending;
use swarm_sim::{CallFault, CallKind, Incident, Purpose, World};
use swarm_tests::sim::mutants::{Broken, Mutant};
use swarm_tests::sim::random::{WITH_ABSENT, play};
use swarm_tests::sim::stories::{POINTS, STORIES};
use swarm_tests::sim::{Drawer, Ended, THREE, Tool, cluster, no_violations, one_more, plan_of, spec};

/// Every story, cut off at every call, before it is sent, with its answer lost, and right after: each re-run arrives.
#[test]
fn a_tool_that_is_cut_off_anywhere_finishes_when_it_runs_again() {
    let mut cuts = 0;
    for story in STORIES {
        let calls = story.calls(1);
        for call in 1..=calls {
            for point in POINTS {
                story.cut_off(1, &[(call, point)]);
                cuts += 1;
            }
        }
    }
    assert!(cuts > 500, "only {cuts} cuts: the stories have become short");
}

/// How many random schedules a test run plays. `make explore` plays as many as there is time for.
const SCHEDULES: u64 = 10_000;
/// How many more have hosts that are to be in no swarm.
const GOING: u64 = 2_000;
/// How often each kind must have come to pass among them, at least.
const OFTEN: u64 = 50;

/// Plays these seeds, and as many of those with hosts that go, on two cores.
fn weather(seeds: Range<u64>, going: Range<u64>) -> BTreeMap<String, u64> {
    let half = |part: u64| seeds.clone().chain(going.clone().map(|s| s + WITH_ABSENT)).filter(move |s| s % 2 == part);
    let odd = half(1);
    let other = std::thread::spawn(move || half_of_the_weather(odd));
    let mut happened = half_of_the_weather(half(0));
    for (kind, times) in other.join().unwrap() {
        *happened.entry(kind).or_default() += times;
    }
    happened
}

fn half_of_the_weather(seeds: impl Iterator<Item = u64>) -> BTreeMap<String, u64> {
    let mut happened = BTreeMap::new();
    for seed in seeds {
        let played = play(seed, false);
        if !played.violations.is_empty() {
            let reported = play(seed, true);
            panic!("seed {seed}:\n{}\nstory:\n{}", reported.violations.join("\n"), reported.story);
        }
        for (kind, times) in played.happened {
            *happened.entry(kind).or_default() += times;
        }
    }
    happened
}

#[test]
fn in_any_weather_no_rule_is_broken() {
    let happened = weather(0..SCHEDULES, 0..GOING);
    // Kinds of calls by kinds of faults are many; each kind of fault counts, and each thing that can happen to a world.
    let kinds: BTreeMap<&String, &u64> = happened.iter().filter(|(kind, _)| !kind.contains(" at ")).collect();
    let seldom: Vec<_> = kinds.iter().filter(|(_, times)| ***times < OFTEN).collect();
    assert!(seldom.is_empty(), "too seldom to have shown anything: {seldom:?}");
    assert!(kinds.len() >= 40, "{} kinds of faults: {kinds:?}", kinds.len());
}

/// Seeds that once broke a rule; each found something that was then put right.
#[test]
fn seeds_that_once_broke_a_rule_do_not_any_more() {
    for seed in [
        1, 496, 1270, 1291, 1722, 1872, 2279, 2777, 3301, 4107, 8084, 11472, 29828, 34000, 36461, 37444, 57856, 72090, 79130, 91538,
        136682, 141806, 149324, 175242, 250695, 362544, 589566, 591847, 610181, 621564, 820020, 847249, 925136, 54338, 54482, 65301, 99297,
        103101, 103249, 115999, 126778, 143416, 152898, 164213, 21532, 31021, 38560, 66065, 268, 14936, 27804, 53542, 59523, 63634, 148419,
        175977, 208993, 220763, 61915, 4294967356, 4294967429, 4294968098, 4294968160, 4294971611, 4294974533, 4294975544, 4294981412,
        4295006334, 4295022215, 7758, 16913, 30721, 4294969926,
    ] {
        let played = play(seed, false);
        assert_eq!(played.violations, Vec::<String>::new(), "seed {seed}");
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in [3, 77, 1872] {
        assert_eq!(play(seed, true).story, play(seed, true).story);
    }
}

#[test]
fn examples_over_the_simulator_show_what_they_say() {
    for (name, expected) in [("conformance", "89 cases hold"), ("key_keeper", "Converged; a key is kept: true")] {
        let output = std::process::Command::new(swarm_tests::cli::example(name)).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains(expected), "{name}: {output:?}");
    }
}

/// The example that shows an embedder's test passes, as that test would.
#[test]
fn the_example_of_a_test_passes() {
    let output = std::process::Command::new(swarm_tests::cli::example("test_your_integration")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_node_that_is_down_though_its_engine_answers_is_told_with_what_to_do() {
    swarm_sim::run(async {
        let world = World::of(&spec(THREE), 3);
        let wanted = cluster(&world, THREE).await;
        world.cause(&Incident::Isolated("w1".into()));
        tokio::time::sleep(Duration::from_secs(40)).await;
        let ended = Tool::new(&world, "me", &wanted, &Drawer::default()).apply().await;
        let reported = format!("{ended:?}");
        assert!(!ended.converged() && reported.contains("no manager hears it: open 2377/tcp"), "{reported}");
    });
}

/// A look that shows only what cannot come any more ends at once; what may still come is waited for until the deadline.
#[test]
fn settling_waits_for_what_may_still_come_and_for_nothing_else() {
    swarm_sim::run(async {
        let world = World::of(&spec(THREE), 5);
        let wanted = cluster(&world, THREE).await;
        world.kill("w1");
        tokio::time::sleep(Duration::from_secs(30)).await;
        let took = async |given_up: &[&str]| {
            let given_up = given_up.iter().map(|h| (*h).into()).collect();
            let (fleet, began) = (world.fleet("me"), world.now());
            let until = tokio::time::Instant::now() + Duration::from_secs(120);
            let (verdict, _) = settle(&wanted, &fleet, &NoProgress, None, &given_up, until).await;
            assert!(!verdict.converged, "{verdict:?}");
            world.now() - began
        };
        let (at_once, waited, other) = (took(&["w1"]).await, took(&[]).await, took(&["w2"]).await);
        assert!(at_once < Duration::from_secs(30), "{at_once:?}");
        assert!(waited > Duration::from_secs(100) && other > Duration::from_secs(100), "{waited:?} {other:?}");
    });
}

/// L4: an engine that falls silent for good, at whatever it is asked, holds no run longer than its deadline.
#[test]
fn a_silent_engine_holds_no_run_for_ever() {
    for call in [CallKind::Info, CallKind::Nodes, CallKind::Join, CallKind::Init, CallKind::UpdateNode, CallKind::Connect] {
        swarm_sim::run(async {
            let world = World::of(&spec(THREE), 13);
            let wanted = spec(&format!("{THREE}policy: {{ timeout: 100s }}\n"));
            // What is asked once falls silent at once, what is asked of many after the first.
            let skip = u32::from(!matches!(call, CallKind::Init | CallKind::UpdateNode));
            let rule = swarm_sim::FaultRule { host: None, call: Some(call), skip, times: u32::MAX, fault: CallFault::Hang };
            world.fault_rule(rule);
            let keys = Drawer::default();
            let ended = Tool::new(&world, "me", &wanted, &keys).apply().await;
            assert!(!ended.converged(), "{call}: {ended:?}");
            no_violations(&world, 13, "a silent engine");
        });
    }
}

/// The order in which hosts answer changes nothing: the same plan, the same ends of the same steps.
#[test]
fn who_answers_first_does_not_matter() {
    let outcome = |seed: u64| {
        swarm_sim::run(async {
            let world = World::of(&spec(THREE), seed);
            let mut rng = fastrand::Rng::with_seed(seed);
            for host in world.hosts() {
                world.slow(host.as_str(), Duration::from_millis(rng.u64(0..400)));
            }
            let (wanted, keys) = (spec(THREE), Drawer::default());
            let ended = Tool::new(&world, "me", &wanted, &keys).apply().await;
            no_violations(&world, seed, "slow hosts");
            assert_eq!(world.differs_from(&wanted), Vec::<String>::new());
            let Ended::Report(report) = ended else { panic!("{ended:?}") };
            report.steps.into_iter().map(|s| (s.id, s.outcome)).collect::<Vec<_>>()
        })
    };
    let first = outcome(0);
    for seed in 1..100 {
        assert_eq!(outcome(seed), first, "seed {seed}");
    }
}

/// A run that is dropped leaves nothing running here; what an engine was asked for goes on there.
#[test]
fn a_dropped_run_makes_no_call_any_more() {
    for after in (1..1500).step_by(37) {
        swarm_sim::run(async {
            let world = World::of(&spec(THREE), 17);
            let (wanted, keys) = (spec(THREE), Drawer::default());
            let tool = Tool::new(&world, "me", &wanted, &keys);
            let ended = tokio::time::timeout(Duration::from_millis(after), tool.apply()).await;
            let calls = world.calls();
            tokio::time::sleep(Duration::from_secs(120)).await;
            assert_eq!(world.calls(), calls, "after {after} ms: {:?}", ended.is_ok());
            no_violations(&world, 17, "a dropped run");
        });
    }
}

/// I22 and M4: what happens to a worker is that worker's alone.
#[test]
fn a_failing_worker_changes_nothing_for_the_others() {
    let outcomes = |incident: Option<Incident>, broken: Option<Broken>| {
        swarm_sim::run(async {
            let world = World::of(&spec(THREE), 3);
            let wanted = spec(THREE);
            if let Some(what) = incident {
                world.cause(&what);
            }
            let keys = Drawer::default();
            let tool = Tool::new(&world, "me", &wanted, &keys);
            let ended = match broken {
                Some(broken) => tool.apply_over(&Mutant { honest: world.fleet("me"), broken }).await,
                None => tool.apply().await,
            };
            no_violations(&world, 3, "a failing worker");
            let Ended::Report(report) = ended else { panic!("{ended:?}") };
            report.steps.iter().filter(|s| s.host != Some("w1".into())).map(|s| (s.id.to_string(), s.outcome.is_done())).collect::<Vec<_>>()
        })
    };
    let calm = outcomes(None, None);
    let incidents = [
        Incident::PowerCut("w1".into()),
        Incident::OperatorCutOff("w1".into()),
        Incident::EngineStops("w1".into()),
        Incident::SocketForbidden("w1".into()),
        Incident::DiskFull("w1".into()),
        Incident::Cut("m1".into(), "w1".into()),
        Incident::ClockSkew("w1".into(), -4000),
    ];
    for what in incidents {
        assert_eq!(outcomes(Some(what.clone()), None), calm, "{what:?}");
    }
    assert_ne!(outcomes(Some(Incident::DiskFull("w1".into())), Some(Broken::OneFailureSpoilsAll)), calm);
}

/// M1, M2, M3, M5.
#[test]
fn order_and_names_mean_nothing_and_parts_make_the_whole() {
    let reversed: String = {
        let mut lines: Vec<&str> = THREE.lines().skip(2).collect();
        lines.reverse();
        format!("name: c\nhosts:\n{}\n", lines.join("\n"))
    };
    swarm_sim::run(async {
        let world = World::of(&spec(THREE), 5);
        let plan = plan_of(&world, THREE).await;
        assert_eq!(plan_of(&world, &reversed).await, plan, "M1");
        // Names that sort alike give the same plan, under the new names.
        let renamed = |text: &str| ["m1", "m2", "m3", "w1", "w2"].iter().fold(text.to_owned(), |t, n| t.replace(n, &format!("{n}x")));
        let world = World::of(&spec(&renamed(THREE)), 5);
        let other = plan_of(&world, &renamed(THREE)).await;
        let ids = |p: &Plan| p.steps.iter().map(|s| s.id.to_string()).collect::<Vec<_>>();
        assert_eq!(ids(&other), ids(&plan).iter().map(|id| renamed(id)).collect::<Vec<_>>(), "M2");
    });
    let end = |parts: &'static [&'static [&'static str]]| {
        swarm_sim::run(async {
            let world = World::of(&spec(THREE), 5);
            let (wanted, fleet) = (spec(THREE), world.fleet("me"));
            for part in parts {
                let limit = part.iter().map(|h| (*h).into()).collect();
                let options = swarm_core::plan::PlanOptions { limit: Some(limit), ..Default::default() };
                let apply = swarm_core::Apply::new(&wanted, &fleet).options(options);
                let (plan, observed) = apply.plan().await.unwrap();
                apply.run(&plan, &observed).await;
            }
            assert!(plan_of(&world, THREE).await.is_empty(), "M3");
            world.differs_from(&wanted)
        })
    };
    assert_eq!(end(&[&["m1", "w1"], &["m2", "m3", "w2"]]), Vec::<String>::new(), "M5");
    assert_eq!(end(&[&["m1", "m2", "m3", "w1", "w2"]]), Vec::<String>::new());
}

/// L3: two at once, with the same file, both end, and make one swarm.
#[test]
fn two_operators_with_one_file_make_one_swarm() {
    for seed in 0..50 {
        swarm_sim::run(async {
            let world = World::of(&spec(THREE), seed);
            let wanted = spec(THREE);
            let keys = Drawer::default();
            let (one, two) = (
                Tool { alone: false, ..Tool::new(&world, "one", &wanted, &keys) },
                Tool { alone: false, ..Tool::new(&world, "two", &wanted, &keys) },
            );
            let (first, second) = tokio::join!(one.apply(), two.apply());
            assert!(
                first.converged() || second.converged() || Tool::new(&world, "three", &wanted, &keys).apply().await.converged(),
                "{first:?} {second:?}"
            );
            assert_eq!(world.differs_from(&wanted), Vec::<String>::new());
            no_violations(&world, seed, "two operators");
        });
    }
}

/// No task lands on a node that has not its labels yet, and services are moved when a node is drained.
#[test]
fn tasks_wait_for_labels_and_leave_drained_nodes() {
    swarm_sim::run(async {
        let world = World::of(&spec(THREE), 9);
        let wanted = one_more(&world).await;
        assert!(world.service("m1", "on-a", None, Some(("rack", "a"))));
        assert!(world.service("m1", "everywhere", None, None));
        assert_eq!(world.tasks("on-a"), Vec::new());
        let keys = Drawer::default();
        assert!(Tool::new(&world, "me", &wanted, &keys).apply().await.converged());
        no_violations(&world, 9, "labels");
        assert_eq!(world.tasks("on-a"), ["w2".into()]);
        assert_eq!(world.tasks("everywhere").len(), 5);
        let drained = spec(&THREE.replace("labels: { rack: a }", "labels: { rack: a }, availability: drain"));
        assert!(Tool::new(&world, "me", &drained, &keys).apply().await.converged());
        assert_eq!(world.tasks("on-a"), Vec::new());
    });
}

/// A scripted engine: a swarm split by `--force-new-cluster` has two leaders and one id, and is left alone.
#[test]
fn a_split_swarm_is_a_contradiction_and_not_touched() {
    swarm_sim::run(async {
        let world = World::of(&spec(THREE), 11);
        let wanted = cluster(&world, THREE).await;
        world.cause(&Incident::ForcedNewCluster("m3".into()));
        tokio::time::sleep(Duration::from_secs(60)).await;
        let keys = Drawer::default();
        let before = world.calls().1;
        let ended = Tool::new(&world, "me", &wanted, &keys).apply().await;
        let Ended::Refused(refusals) = &ended else { panic!("{ended:?}") };
        assert!(refusals.iter().any(|r| r.to_string().contains("different leaders")), "{refusals:?}");
        assert_eq!(world.calls().1, before);
    });
}

/// The cost of a host does not grow with their number: 1,000 hosts take about ten times the calls of 100.
#[test]
fn the_calls_of_a_bootstrap_grow_with_the_hosts_and_no_faster() {
    let calls = |hosts: u32| {
        swarm_sim::run(async {
            let wanted = spec(&swarm_tests::sim::many(hosts));
            let world = World::of(&wanted, 1);
            let fleet = world.fleet("me");
            let apply = swarm_core::Apply::new(&wanted, &fleet);
            let (plan, observed) = apply.plan().await.unwrap();
            assert_eq!(apply.run(&plan, &observed).await.ending, Ending::Converged);
            assert_eq!(world.differs_from(&wanted), Vec::<String>::new());
            world.calls().0
        })
    };
    let (hundred, thousand) = (calls(100), calls(1000));
    assert!(thousand < hundred * 11, "{hundred} calls for 100 hosts, {thousand} for 1,000");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is there and whatever is wanted: the plan is the same twice, and once it is carried out there is none.
    #[test]
    fn a_plan_that_was_carried_out_leaves_nothing_to_plan(
        managers in 1usize..6,
        workers in 0usize..6,
        before in prop::collection::vec((any::<bool>(), 0u8..4, 0u8..4), 11),
        after in prop::collection::vec((0u8..4, 0u8..4), 11),
        services in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let host = |index: usize, role: &str, label: u8, availability: u8| {
            let availability = ["", ", availability: active", ", availability: pause", ", availability: drain"][usize::from(availability)];
            let labels = ["", "rack: a", "rack: b", "rack: a, zone: z"][usize::from(label)];
            format!("  h{index:02}: {{ address: 10.0.0.{}, role: {role}{availability}, labels: {{ {labels} }} }}\n", index + 1)
        };
        let role = |index: usize| if index < managers { "manager" } else { "worker" };
        let mut first = String::from("name: c\nhosts:\n");
        let mut second = first.clone();
        for index in 0..managers + workers {
            let (there, label, availability) = before[index];
            // The first host is always there, and a manager may have been a worker and the other way round.
            if index == 0 || there {
                first += &host(index, if index == 0 || label == 3 { "manager" } else { "worker" }, label, availability);
            }
            second += &host(index, role(index), after[index].0, after[index].1);
        }
        swarm_sim::run(async {
            let world = World::of(&spec(&second), seed);
            let keys = Drawer::default();
            cluster(&world, &first).await;
            if services {
                world.cause(&Incident::ServiceAppears);
            }
            let plan = plan_of(&world, &second).await;
            assert_eq!(plan_of(&world, &second).await, plan);
            let wanted = spec(&second);
            let ended = Tool::new(&world, "me", &wanted, &keys).apply().await;
            assert!(ended.converged(), "{first}{second}{ended:?}");
            assert!(plan_of(&world, &second).await.is_empty());
            no_violations(&world, seed, "any plan");
        });
    }
}

/// An engine that dies just after its join as a manager cannot answer its leader when it is back. It is taken out and joins again, and a
/// cluster that has such a host can be destroyed.
#[test]
fn a_manager_whose_raft_log_is_empty_costs_nothing() {
    let (mut mute, mut healed) = (0, 0);
    for seed in 0..100 {
        for destroys in [false, true] {
            swarm_sim::run(async {
                let wanted = spec(&format!("{THREE}  x1: {{ address: 10.0.0.9, role: manager }}\n"));
                let world = World::of(&wanted, seed);
                let keys = Drawer::default();
                assert!(Tool::new(&world, "me", &spec(THREE), &keys).apply().await.converged());
                let tool = Tool::new(&world, "me", &wanted, &keys);
                let dies = async {
                    tokio::time::sleep(Duration::from_millis(560 + 2 * seed)).await;
                    world.cause(&Incident::EngineStops("x1".into()));
                    tokio::time::sleep(Duration::from_secs(3)).await;
                    world.cause(&Incident::EngineStarts("x1".into()));
                    world.mute()
                };
                let (first, cannot_answer) = tokio::join!(tool.apply(), dies);
                if cannot_answer == 0 {
                    return;
                }
                assert!(!first.converged(), "seed {seed}: {first:?}");
                mute += 1;
                tokio::time::sleep(Duration::from_secs(if seed % 2 == 0 { 1 } else { 60 })).await;
                let tool = Tool::new(&world, "me", &wanted, &keys);
                if destroys {
                    let fleet = world.fleet("me");
                    world.watch("me", &wanted, Purpose::Destroy, &[]);
                    let apply = Apply::new(&wanted, &fleet).keys(&keys);
                    let (plan, observed) = apply.plan_destroy(Force::No).await.unwrap();
                    world.shown("me", &plan);
                    let report = apply.run(&plan, &observed).await;
                    assert!(report.verdict.as_ref().is_some_and(|v| v.converged), "seed {seed}: {report:?}");
                } else {
                    let ended = tool.apply().await;
                    assert!(ended.converged(), "seed {seed}: {ended:?}");
                    assert_eq!(world.mute(), 0, "seed {seed}");
                    assert!(tool.plan().await.unwrap().is_empty(), "seed {seed}");
                    healed += 1;
                }
                no_violations(&world, seed, "a manager whose raft log is empty");
            });
        }
    }
    assert!(mute >= 8 && healed >= 4, "{mute} managers could not answer, {healed} were healed");
}

/// An engine that dies after the managers made its node and before it has its certificate leaves an entry without a name. The next run
/// takes it away.
#[test]
fn an_engine_that_dies_at_any_moment_of_its_join_leaves_no_entry() {
    // Its engine is back while the first run still looks, or after it.
    for (role, back) in [("manager", 3), ("worker", 3), ("manager", 300), ("worker", 300)] {
        let mut nameless = 0;
        for after in (0..700).step_by(5) {
            swarm_sim::run(async {
                let wanted = spec(&format!("{THREE}  x1: {{ address: 10.0.0.9, role: {role} }}\n"));
                let world = World::of(&wanted, after);
                let keys = Drawer::default();
                assert!(Tool::new(&world, "me", &spec(THREE), &keys).apply().await.converged());
                let tool = Tool::new(&world, "me", &wanted, &keys);
                let dies = async {
                    tokio::time::sleep(Duration::from_millis(after)).await;
                    world.cause(&Incident::EngineStops("x1".into()));
                    let left = world.nameless() > 0;
                    tokio::time::sleep(Duration::from_secs(back)).await;
                    world.cause(&Incident::EngineStarts("x1".into()));
                    left
                };
                let (first, left) = tokio::join!(tool.apply(), dies);
                nameless += u32::from(left);
                tokio::time::sleep(Duration::from_secs(30)).await;
                let tool = Tool::new(&world, "me", &wanted, &keys);
                let ended = tool.apply().await;
                assert!(ended.converged(), "{role}, {back} s, {after} ms: {first:?}, then {ended:?}");
                assert_eq!(world.nameless(), 0, "{role}, {back} s, {after} ms");
                no_violations(&world, after, "an engine that dies as it joins");
            });
        }
        assert!(nameless > 3, "{role}, {back} s: {nameless} runs left an entry without a name");
    }
}
