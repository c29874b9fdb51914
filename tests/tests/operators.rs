//! One operator at a time: who holds the swarm is named, waited for, or found to be gone; and what was done stands in the journal.

use std::time::{Duration, Instant};
use swarm_core::driver::{Guard, NoProgress, Operator, Taken};
use swarm_core::engine::{Body, Kind, NoPayloads, Objects, Query, Sealed};
use swarm_core::operators::{Holder, JOURNAL, LOCK, QUIET, lock_body, runs};
use swarm_core::plan::Plan;
use swarm_core::report::{Ending, Report};
use swarm_core::{Apply, ClusterSpec, Stop};
use swarm_sim::{CallFault, CallKind, FaultRule, Incident, SimFleet, World};
use swarm_tests::cli::{self, Ran};
use swarm_tests::lab::{TestLab, converge, eventually};
use swarm_tests::sim::workload::{FILE, ready};
use swarm_tests::sim::{Waits, cluster, spec};

fn holder(run: &str) -> Holder {
    Holder { who: run.into(), from: "desk".into(), why: "apply".into(), run: run.into(), process: String::new(), since: 1_700_000_000 }
}

async fn take<'a>(file: &'a ClusterSpec, fleet: &'a SimFleet, run: &str, wait: Duration) -> (Taken<'a, SimFleet>, Plan) {
    let (plan, observed) = Apply::new(file, fleet).plan().await.unwrap();
    let by = Operator { holder: holder(run), wait, is_gone: &|_| false, progress: &NoProgress };
    (Guard::take(file, fleet, &observed, &plan, by).await, plan)
}

fn held<'a>(taken: Taken<'a, SimFleet>) -> (Guard<'a, SimFleet>, bool) {
    match taken {
        Taken::Held { lock, waited } => {
            assert_eq!(lock.without, None);
            (*lock, waited)
        }
        Taken::Other(other) => panic!("{other} holds it"),
    }
}

async fn configs(world: &World) -> Vec<String> {
    let found = world.fleet("onlooker").engine("m1").list(&Query::all(Kind::Config)).await.unwrap();
    let mut names: Vec<String> = found.iter().map(|o| o.name().to_owned()).filter(|name| name.starts_with("swarm.")).collect();
    names.sort();
    names
}

fn nothing(plan: &Plan) -> Report {
    Report::new(plan, Vec::new(), None, true)
}

#[test]
fn a_run_that_is_there_is_named_and_one_that_is_gone_is_followed() {
    let file = spec(FILE);
    swarm_sim::run(async {
        let world = ready(&file, 1).await;
        let (ann, ben) = (world.fleet("ann"), world.fleet("ben"));
        let (taken, plan) = take(&file, &ann, "ann", Duration::ZERO).await;
        let (lock, waited) = held(taken);
        assert!(!waited);
        assert_eq!(configs(&world).await, [LOCK]);
        // While it gives signs of life, no one else gets the lock: not at once, and not after a minute.
        let stop = Stop::default();
        let never = std::future::pending::<Report>();
        tokio::select! {
            _ = lock.during(&plan, &stop, never) => panic!("the run ended"),
            () = async {
                for wait in [Duration::ZERO, Duration::from_secs(60)] {
                    let began = tokio::time::Instant::now();
                    match take(&file, &ben, "ben", wait).await.0 {
                        Taken::Other(other) => assert_eq!(other, holder("ann")),
                        Taken::Held { .. } => panic!("two runs hold the lock"),
                    }
                    assert!(began.elapsed() >= wait && began.elapsed() < wait + Duration::from_secs(10), "{:?}", began.elapsed());
                }
            } => {}
        }
        assert!(!stop.is_stopped());
        // Now it is gone: the lock is taken over once it has been quiet.
        let began = tokio::time::Instant::now();
        let (lock, waited) = held(take(&file, &ben, "ben", Duration::ZERO).await.0);
        assert!(waited && lock.taken_over == Some(holder("ann")));
        assert!(began.elapsed() >= QUIET && began.elapsed() < QUIET + Duration::from_secs(10), "{:?}", began.elapsed());
        // It ends: the lock is free, and the run stands in the journal.
        let (_, left) = lock.during(&plan, &Stop::default(), async { nothing(&plan) }).await;
        assert_eq!((left, configs(&world).await), (None, vec![JOURNAL.to_owned()]));
        let journal = world.fleet("onlooker").engine("m1").get(Kind::Config, JOURNAL).await.unwrap();
        let [run] = &runs(&journal)[..] else { panic!("{journal:?}") };
        assert_eq!((run.who.as_str(), run.outcome.as_str(), run.at), ("ben", "interrupted", 1_700_000_000));
    });
}

/// Where no manager ever lists or takes the lock, a run goes on without one soon, and says why.
#[test]
fn a_lock_that_no_manager_gives_holds_no_run_up() {
    let file = spec(FILE);
    for (call, fault) in [
        (CallKind::ListObjects, CallFault::FailBefore),
        (CallKind::ListObjects, CallFault::Hang),
        (CallKind::CreateObject, CallFault::FailBefore),
    ] {
        swarm_sim::run(async {
            let world = ready(&file, 1).await;
            let fleet = world.fleet("ann");
            let (plan, observed) = Apply::new(&file, &fleet).plan().await.unwrap();
            world.fault_rule(FaultRule { host: None, call: Some(call), skip: 0, times: u32::MAX, fault });
            let by = Operator { holder: holder("ann"), wait: Duration::ZERO, is_gone: &|_| false, progress: &NoProgress };
            let taken = tokio::time::timeout(Duration::from_secs(120), Guard::take(&file, &fleet, &observed, &plan, by)).await;
            let Ok(Taken::Held { lock, waited }) = taken else { panic!("{call} {fault:?}: it ends with a run that goes on") };
            assert!(!waited && lock.without.is_some(), "{call} {fault:?}: {:?}", lock.without);
        });
    }
}

/// It is said once that another run is waited for.
#[test]
fn a_run_that_is_waited_for_is_named_once() {
    let file = spec(FILE);
    swarm_sim::run(async {
        let world = ready(&file, 1).await;
        let (ann, ben) = (world.fleet("ann"), world.fleet("ben"));
        let (taken, plan) = take(&file, &ann, "ann", Duration::ZERO).await;
        let (lock, _) = held(taken);
        let (waits, observed) = (Waits::default(), Apply::new(&file, &ben).observe().await);
        let by = Operator { holder: holder("ben"), wait: Duration::from_secs(12), is_gone: &|_| false, progress: &waits };
        let stop = Stop::default();
        tokio::select! {
            _ = lock.during(&plan, &stop, std::future::pending::<Report>()) => panic!("the run ended"),
            taken = Guard::take(&file, &ben, &observed, &plan, by) => assert!(matches!(taken, Taken::Other(_))),
        }
        assert_eq!(waits.count(), 1);
    });
}

/// The lock is asked for from the managers that there are, whatever the file makes of them.
#[test]
fn the_managers_that_there_are_give_the_lock() {
    swarm_sim::run(async {
        let hosts = |m1: &str, m2: &str| {
            format!("name: c\nhosts:\n  m1: {{ address: 10.0.0.1, role: {m1} }}\n  m2: {{ address: 10.0.0.2, role: {m2} }}\n")
        };
        let world = World::of(&spec(&hosts("manager", "manager")), 1);
        cluster(&world, "name: c\nhosts:\n  m1: { address: 10.0.0.1, role: manager }\n").await;
        let (swapped, fleet) = (spec(&hosts("worker", "manager")), world.fleet("ann"));
        let (plan, observed) = Apply::new(&swapped, &fleet).plan().await.unwrap();
        let by = Operator { holder: holder("ann"), wait: Duration::ZERO, is_gone: &|_| false, progress: &NoProgress };
        let Taken::Held { lock, .. } = Guard::take(&swapped, &fleet, &observed, &plan, by).await else { panic!("no one holds it") };
        assert_eq!(lock.without, None);
        assert_eq!(configs(&world).await, [LOCK]);
    });
}

#[test]
fn a_run_whose_lock_was_taken_stops_in_order() {
    let file = spec(FILE);
    swarm_sim::run(async {
        let world = ready(&file, 2).await;
        let (ann, ben) = (world.fleet("ann"), world.fleet("ben"));
        let (taken, plan) = take(&file, &ann, "ann", Duration::ZERO).await;
        let (lock, _) = held(taken);
        let stop = Stop::default();
        let run = async {
            stop.stopped().await;
            nothing(&plan)
        };
        let other = async {
            let engine = world.fleet("onlooker").engine("m1");
            engine.remove(Kind::Config, LOCK).await.unwrap();
            held(take(&file, &ben, "ben", Duration::ZERO).await.0).0
        };
        let ((report, _), bens) = tokio::join!(lock.during(&plan, &stop, run), other);
        assert_eq!(report.ending, Ending::Interrupted);
        // What is not its own it does not give back.
        assert_eq!(configs(&world).await, [JOURNAL, LOCK]);
        bens.give_back().await;
        assert_eq!(configs(&world).await, [JOURNAL]);
    });
}

/// What `lock release` says: a run that is there stops.
#[test]
fn a_run_whose_lock_was_released_stops_in_order() {
    let file = spec(FILE);
    swarm_sim::run(async {
        let world = ready(&file, 4).await;
        let ann = world.fleet("ann");
        let (taken, plan) = take(&file, &ann, "ann", Duration::ZERO).await;
        let stop = Stop::default();
        let run = async {
            stop.stopped().await;
            nothing(&plan)
        };
        let release = async { world.fleet("onlooker").engine("m1").remove(Kind::Config, LOCK).await.unwrap() };
        let ((report, left), ()) = tokio::join!(held(taken).0.during(&plan, &stop, run), release);
        assert_eq!((report.ending, left, configs(&world).await), (Ending::Interrupted, None, vec![JOURNAL.to_owned()]));
    });
}

#[test]
fn the_lock_goes_with_the_managers() {
    let file = spec(FILE);
    swarm_sim::run(async {
        let world = ready(&file, 3).await;
        let ann = world.fleet("ann");
        let (taken, plan) = take(&file, &ann, "ann", Duration::ZERO).await;
        let (lock, _) = held(taken);
        // The manager that gave the lock loses its power; the others take the sign of life, and the lock back.
        world.cause(&Incident::PowerCut("m1".into()));
        let stop = Stop::default();
        let run = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            nothing(&plan)
        };
        let (_, left) = lock.during(&plan, &stop, run).await;
        assert!(left.is_none() && !stop.is_stopped(), "{left:?}");
        let found = world.fleet("onlooker").engine("m2").list(&Query::all(Kind::Config)).await.unwrap();
        let names: Vec<&str> = found.iter().map(|o| o.name()).filter(|name| name.starts_with("swarm.")).collect();
        assert_eq!(names, [JOURNAL]);
    });
}

fn err(ran: &Ran) -> &str {
    assert_eq!(ran.code, 1, "{ran:?}");
    &ran.err
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_operators_work_one_after_the_other() {
    let lab = TestLab::up(1, 1);
    let text = lab.text(&lab.all(""));
    converge(&text).await;
    let file = lab.file(&text);
    let other = lab.lab.dir.join("other.yaml");
    std::fs::write(&other, lab.text_with(&lab.all(""), "swarm: { task_history_limit: 3 }")).unwrap();
    let (file, other) = (file.to_str().unwrap().to_owned(), other.to_str().unwrap().to_owned());
    let on = |args: &[&str]| cli::run(&[args, &["-f", &other]].concat());
    let lock = || lab.docker("m1", &["config", "ls", "--format", "{{.Name}}"]);
    let nothing = on(&["lock", "status"]);
    assert!(nothing.code == 0 && nothing.out.contains("no run holds the swarm"), "{nothing:?}");
    assert!(on(&["history"]).out.contains("no run stands"));

    // One serves a host; another, with another file, is refused by the first one's name, or waits.
    let go = lab.lab.dir.join("go");
    let until = format!("while [ ! -e {} ]; do sleep 0.2; done", go.display());
    let long = ["maintain", "w1", "-f", &file, "--yes", "--", "sh", "-c", &until];
    let first = cli::begin(&long);
    eventually("the first holds the lock", Duration::from_secs(20), || lock().contains("swarm.lock")).await;
    let refused = on(&["apply", "--yes"]);
    let said = err(&refused);
    assert!(said.contains("another run holds the swarm (maintain of") && said.contains("nothing was changed"), "{said}");
    let status = on(&["lock", "status"]);
    assert!(status.code == 0 && status.out.contains("it gives signs of life"), "{status:?}");
    assert_eq!(on(&["plan"]).code, 2, "whoever looks is not held up");
    let mut waiting = cli::begin(&["apply", "--yes", "--wait=60s", "-f", &other]);
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(waiting.stderr.take().unwrap()));
    assert!(lines.by_ref().map_while(Result::ok).any(|line| line.contains("another run holds the swarm (maintain of")));
    std::fs::write(&go, "").unwrap();
    let first: Ran = first.wait_with_output().unwrap().into();
    let waited: Ran = waiting.wait_with_output().unwrap().into();
    assert!(first.code == 0 && waited.code == 0, "{first:?}\n{waited:?}");
    assert_eq!(lock().trim(), "swarm.journal");
    let history = on(&["history", "--format", "json"]);
    let history: serde_json::Value = serde_json::from_str(&history.out).unwrap();
    let runs = history["runs"].as_array().unwrap();
    assert_eq!(runs.iter().map(|r| r["why"].as_str().unwrap()).collect::<Vec<_>>(), ["maintain", "apply"]);
    assert!(runs[1]["verbs"].as_str().unwrap().contains("1 update-swarm") && runs[1]["outcome"] == "converged", "{runs:?}");
    assert_eq!(on(&["history", "--last", "1", "--format", "json"]).out.matches("converged").count(), 1);

    // A run that is killed leaves its lock; the next one on the same machine sees that it is gone.
    std::fs::remove_file(&go).unwrap();
    let mut killed = cli::begin(&long);
    eventually("it holds the lock", Duration::from_secs(20), || lock().contains("swarm.lock")).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    std::fs::write(&go, "").unwrap();
    let began = Instant::now();
    let next = cli::run(&["node", "label", "w1", "zone=a", "-f", &file]);
    assert!(next.code == 0 && next.err.contains("the lock of a run that is gone was taken over (maintain of"), "{next:?}");
    assert!(began.elapsed() < QUIET, "it was not waited for");

    // One of another machine is not known to be gone: it is waited for until it has been quiet, or released by hand.
    let engine = swarm_docker::DockerEngine::local(lab.host("m1").socket().to_str().unwrap()).await.unwrap();
    let leave = async || {
        let body: Body = lock_body(&holder("ann"), 0);
        engine.create(Kind::Config, &Sealed::new(&body, &NoPayloads).unwrap()).await.unwrap();
    };
    leave().await;
    let quiet = on(&["lock", "status"]);
    assert!(quiet.out.contains("apply of ann on desk holds the swarm, begun 2023-11-14T22:13:20Z: no sign of life"), "{quiet:?}");
    let released = on(&["lock", "release", "--yes"]);
    assert!(released.code == 0 && lock().trim() == "swarm.journal", "{released:?}");
    leave().await;
    let began = Instant::now();
    let over = cli::run(&["node", "label", "w1", "zone-", "-f", &file]);
    assert!(over.code == 0 && over.err.contains("taken over (apply of ann on desk"), "{over:?}");
    assert!(began.elapsed() >= QUIET && lock().trim() == "swarm.journal");
}
