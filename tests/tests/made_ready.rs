//! Hosts without an engine get one and become a swarm, in one plan, in simulated worlds: wherever a run is cut off, whatever an installation does
//! meanwhile, the next run arrives.

use std::collections::BTreeSet;
use std::time::Duration;
use swarm_core::family::Families;
use swarm_core::host::Command;
use swarm_core::intent::Converge;
use swarm_core::report::{Ending, Report};
use swarm_core::{Apply, ClusterSpec};
use swarm_prepare::prepare::{Ahead, Given, Options, Prepare, Preparing, look, promised};
use swarm_sim::{CallFault, CallKind, HostOptions, Program, Purpose, World};
use swarm_tests::sim::stories::POINTS;
use swarm_tests::sim::{Drawer, THREE, Tool, cut_off_and_again, no_violations, spec};

const TAKES: Duration = Duration::from_secs(7);

fn file() -> ClusterSpec {
    spec(&format!("{THREE}prepare: {{ install: distro, hooks: {{ before: greet }} }}\n"))
}

/// Hosts of which none has an engine but those that are named.
fn bare(wanted: &ClusterSpec, seed: u64, have: &[&str], installs: Program) -> World {
    let world = World::new(seed);
    for host in wanted.hosts() {
        let engine = have.contains(&host.name.as_str()).then(|| "28.0.0".to_owned());
        world.add_host(HostOptions { engine, ..HostOptions::of(host) });
    }
    world.has_program("look", Program::SaysReady);
    world.has_program("hook", Program::Ends(0));
    world.has_program("start", installs);
    world.has_program("install", installs);
    world
}

/// What `swarm apply` does.
async fn ready(world: &World, wanted: &ClusterSpec) -> Report {
    let fleet = Ahead::new(world.fleet("me"));
    world.watch("me", wanted, Purpose::Look, &[]);
    let (looked, given) = (look(wanted, &fleet).await, Given::default());
    fleet.promise(promised(wanted, &looked));
    let then = Converge { spec: wanted, options: Default::default() };
    let intent = Prepare { then, spec: wanted, looked: &looked, given: &given, options: Options::default() };
    let apply = Apply::new(wanted, &fleet).families(Families(&[&Preparing])).timeout(Duration::from_secs(1200));
    let (plan, observed) = apply.plan_for(&intent).await.unwrap_or_else(|e| panic!("{e:?}"));
    world.watch_on("me", Purpose::Apply);
    world.shown("me", &plan);
    fleet.works();
    apply.run_for(&intent, &plan, &observed).await
}

#[test]
fn hosts_are_made_ready_wherever_the_run_is_cut_off() {
    let mut cuts = 0;
    for point in POINTS {
        for call in 1..70 {
            cuts += u32::from(swarm_sim::run(async {
                let wanted = file();
                let world = bare(&wanted, call, &["w2"], Program::InstallsEngine(TAKES));
                cut_off_and_again(&world, &wanted, call, point, async || ready(&world, &wanted).await).await
            }));
        }
    }
    assert!(cuts > 100, "cut off at {cuts} calls");
}

/// An installation that fails half done keeps its own host out, and the next run goes on with it.
#[test]
fn an_installation_that_fails_is_gone_on_with() {
    swarm_sim::run(async {
        let wanted = file();
        let world = bare(&wanted, 1, &["m1", "m2", "m3"], Program::InstallsEngineAtLast(TAKES));
        let first = ready(&world, &wanted).await;
        assert_eq!(first.ending, Ending::Partial, "{first:#?}");
        let failed: BTreeSet<&str> = first.steps.iter().filter(|s| !s.outcome.is_done()).map(|s| s.id.as_str()).collect();
        assert_eq!(failed, ["w1/install-engine", "w1/join", "w2/configure", "w2/install-engine", "w2/join"].into(), "{first:#?}");
        let second = ready(&world, &wanted).await;
        assert_eq!(second.ending, Ending::Converged, "{second:#?}");
        assert!(Tool::new(&world, "after", &wanted, &Drawer::default()).plan().await.unwrap().is_empty());
        no_violations(&world, 1, "installations that fail");
    });
}

/// An answer that is lost leaves the installation going on; a host that loses its power has half of one. Neither is anything but a reason to run again.
/// A call that certainly did not arrive is made again by the same run.
#[test]
fn an_installation_is_waited_for_whatever_becomes_of_its_answer() {
    for (fault, power, arrives) in [
        (CallFault::FailBefore, false, true),
        (CallFault::AnswerLost, false, false),
        (CallFault::DoneButFailed, false, false),
        (CallFault::Late, true, false),
    ] {
        swarm_sim::run(async {
            let wanted = file();
            let world = bare(&wanted, 2, &[], Program::InstallsEngine(TAKES));
            // The host says how ready it is, then its hook runs, then the installation.
            world.fault(Some("m2"), CallKind::Run, 2, fault);
            let lost = async {
                if power {
                    tokio::time::sleep(Duration::from_secs(3)).await;
                    world.kill("m2");
                    tokio::time::sleep(Duration::from_secs(60)).await;
                    world.start("m2");
                }
            };
            let (first, ()) = tokio::join!(ready(&world, &wanted), lost);
            assert_eq!(first.ending == Ending::Converged, arrives, "{fault:?}: {first:#?}");
            world.no_more_faults();
            let second = ready(&world, &wanted).await;
            assert_eq!(second.ending, Ending::Converged, "{fault:?}: {second:#?}");
            no_violations(&world, 2, "answers that are lost");
        });
    }
}

#[test]
fn an_engine_installed_under_a_swarm_is_seen() {
    swarm_sim::run(async {
        let wanted = file();
        let world = bare(&wanted, 3, &[], Program::InstallsEngine(TAKES));
        assert_eq!(ready(&world, &wanted).await.ending, Ending::Converged);
        no_violations(&world, 3, "hosts made ready");
        world.fleet("me").host("m1").run(&Command::new(["sh", "-c", "…", "sh", "install"])).await.unwrap();
        let rules: Vec<&str> = world.violations().iter().map(|v| v.rule).collect();
        assert!(rules.contains(&"P1"), "{rules:?}");
    });
}
