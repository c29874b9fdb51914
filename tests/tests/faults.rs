//! Lost answers, killed runs, killed leaders, closed ports: the next look finds out, and the next run finishes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;
use swarm_core::report::Ending;
use swarm_tests::cli;
use swarm_tests::lab::{TestLab, apply, converge, eventually, plan};
use swarm_tests::proxy::{ENGINE, Fault, Proxy, Record};

fn is_one_cluster(lab: &TestLab) {
    let ids: std::collections::BTreeSet<String> = lab
        .lab
        .hosts
        .iter()
        .filter(|h| h.name.starts_with('m'))
        .map(|h| lab.docker(&h.name, &["info", "--format", "{{.Swarm.Cluster.ID}}"]))
        .collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    // No entry that no one is, no entry twice.
    assert_eq!(lab.nodes("m1").len(), lab.lab.hosts.len(), "{:?}", lab.nodes("m1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_requests_and_answers_end_in_one_whole_cluster() {
    for fault in [Fault::DropAnswer, Fault::DropRequest, Fault::Answer500] {
        let lab = TestLab::up(2, 1);
        let record = Arc::new(Record::default());
        let _proxies: Vec<Proxy> = lab.lab.hosts.iter().map(|h| Proxy::start(h, &record)).collect();
        for (host, path) in [("m1", "/swarm/init"), ("m2", "/swarm/join"), ("w1", "/swarm/join"), ("w1", "/info")] {
            record.fault(host, path, fault);
        }
        let file = lab.text(&lab.all(ENGINE));
        // The faulted look at w1 leaves it out or not; the second run has no fault left and must finish.
        let first = apply(&file).await;
        assert!(matches!(&first, Ok(_) | Err(swarm_core::ApplyError::Refused(_))), "{first:?}");
        converge(&file).await;
        assert_eq!(record.faults_left(), 0, "{fault:?}");
        is_one_cluster(&lab);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full"]
async fn a_run_killed_at_ten_moments_is_finished_by_the_next() {
    let lab = TestLab::up(3, 2);
    let record = Arc::new(Record::default());
    let _proxies: Vec<Proxy> = lab.lab.hosts.iter().map(|h| Proxy::start(h, &record)).collect();
    let file = lab.file(&lab.text(&lab.all(ENGINE)));
    let file = file.to_str().unwrap();
    // Before and after the engine did each of the five changes.
    for moment in 0..10 {
        let pid = Arc::new(AtomicU32::new(0));
        let count = Arc::new(AtomicUsize::new(0));
        let (watched, counted) = (Arc::clone(&pid), Arc::clone(&count));
        record.watch(move |seen, answered| {
            if seen.is_mutating() && answered == (moment % 2 == 1) && counted.fetch_add(1, Ordering::SeqCst) == moment / 2 {
                while watched.load(Ordering::SeqCst) == 0 {
                    std::thread::yield_now();
                }
                swarm_tests::lab::sh(&["kill", "-9", &watched.load(Ordering::SeqCst).to_string()]);
            }
        });
        let mut run = cli::begin(&["apply", "-f", file, "--yes"]);
        pid.store(run.id(), Ordering::SeqCst);
        let status = run.wait().unwrap();
        assert!(!status.success(), "the run was killed at moment {moment}");
        record.watch(|_, _| {});

        let ran = cli::run(&["apply", "-f", file, "--yes"]);
        assert_eq!(ran.code, 0, "moment {moment}: {ran:?}");
        is_one_cluster(&lab);
        let ran = cli::run(&["destroy", "-f", file, "--yes"]);
        assert_eq!(ran.code, 0, "moment {moment}: {ran:?}");
        lab.lets_go();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_run_says_so_and_the_next_finishes() {
    let lab = TestLab::up(2, 1);
    let record = Arc::new(Record::default());
    let _proxies: Vec<Proxy> = lab.lab.hosts.iter().map(|h| Proxy::start(h, &record)).collect();
    record.fault("m2", "/swarm/join", Fault::Delay(Duration::from_secs(2)));
    let file = lab.file(&lab.text(&lab.all(ENGINE)));
    let run = cli::begin(&["apply", "-f", file.to_str().unwrap(), "--yes"]);
    eventually("m2 joins", Duration::from_secs(30), || record.seen().iter().any(|s| s.host == "m2" && s.path == "/swarm/join")).await;
    swarm_tests::lab::sh(&["kill", "-INT", &run.id().to_string()]);
    let ran: cli::Ran = run.wait_with_output().unwrap().into();
    assert_eq!(ran.code, 130, "{ran:?}");
    assert!(ran.out.contains("running again goes on from here"), "{ran:?}");
    assert!(ran.err.contains("m2/join: in doubt"), "{ran:?}");
    converge(&lab.text(&lab.all(ENGINE))).await;
    is_one_cluster(&lab);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_dies_while_others_join() {
    let lab = TestLab::up(3, 2);
    let record = Arc::new(Record::default());
    let _proxies: Vec<Proxy> = lab.lab.hosts.iter().map(|h| Proxy::start(h, &record)).collect();
    converge(&lab.text(&[("m1", "manager", ""), ("m2", "manager", ""), ("m3", "manager", "")])).await;
    // m1 made the swarm, leads it, and is the manager the joins are sent through first: it dies as the first of them comes.
    let pid = lab.host("m1").pid().unwrap();
    record.watch(move |seen, _| {
        if seen.path == "/swarm/join" {
            let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    });
    let all = lab.text(&[
        ("m1", "manager", ""),
        ("m2", "manager", ""),
        ("m3", "manager", ""),
        ("w1", "worker", ENGINE),
        ("w2", "worker", ENGINE),
    ]);
    let report = apply(&all).await.unwrap();
    assert_ne!(report.ending, Ending::Converged, "m1 is dead: {report:#?}");
    let joined = report.steps.iter().filter(|s| s.verb == "join" && s.outcome.is_done()).count();
    assert_eq!(joined, 2, "both workers joined through another manager: {report:#?}");
    record.watch(|_, _| {});
    lab.host("m1").start().unwrap();
    converge(&all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_port_is_told_and_leaves_no_ghost() {
    let lab = TestLab::up(2, 1);
    // Managers dial a joining manager back: the first one reaches m2 on every port but this.
    lab.host("m2").drop_port(2377).unwrap();
    let file = lab.text(&lab.all(""));
    let report = apply(&file).await.unwrap();
    assert_eq!(report.ending, Ending::Partial, "{report:#?}");
    let m2 = report.steps.iter().find(|s| s.id.as_str() == "m2/join").unwrap();
    let text = format!("{:?}", m2.outcome);
    assert!(text.contains("2377/tcp"), "the cause and the fix are named: {text}");
    assert_eq!(lab.nodes("m1").iter().filter(|n| n.contains("Ready")).count(), 2, "{:?}", lab.nodes("m1"));
    lab.host("m2").heal().unwrap();
    converge(&file).await;
    // What the failed join left in the list is taken away once the managers count it as down.
    eventually("the left-behind entry is down", Duration::from_secs(40), || !lab.nodes("m1").iter().any(|n| n.contains("Unknown"))).await;
    if !plan(&file).await.unwrap().0.is_empty() {
        converge(&file).await;
    }
    is_one_cluster(&lab);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_that_hangs_is_left_and_made_again() {
    let lab = TestLab::up(1, 1);
    converge(&lab.text(&[("m1", "manager", "")])).await;
    let token = lab.docker("m1", &["swarm", "join-token", "-q", "worker"]);
    // No one answers there: after 20 s the engine says so, and goes on in the background.
    lab.host("m1").drop_port(2377).unwrap();
    let remote = format!("{}:2377", lab.host("m1").address);
    let _ = lab.host("w1").exec(&["timeout", "2", "docker", "swarm", "join", "--token", token.trim(), &remote]);
    assert_eq!(lab.docker("w1", &["info", "--format", "{{.Swarm.LocalNodeState}}"]).trim(), "pending");
    lab.host("m1").heal().unwrap();
    converge(&lab.text(&lab.all(""))).await;
    assert_eq!(lab.nodes("m1").iter().filter(|n| n.contains("Ready")).count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_run_leaves_nothing_running() {
    let lab = TestLab::up(1, 1);
    let record = Arc::new(Record::default());
    let _proxies: Vec<Proxy> = lab.lab.hosts.iter().map(|h| Proxy::start(h, &record)).collect();
    record.fault("w1", "/swarm/join", Fault::Delay(Duration::from_secs(3)));
    let file = lab.text(&lab.all(ENGINE));
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    {
        let run = std::pin::pin!(apply(&file));
        let begun =
            eventually("w1 joins", Duration::from_secs(30), || record.seen().iter().any(|s| s.host == "w1" && s.path == "/swarm/join"));
        tokio::select! {
            report = run => panic!("it was to be dropped in the middle: {report:?}"),
            () = begun => {}
        }
    }
    // The proxies' own tasks end with the connections that the run made.
    eventually("no task of the run is left", Duration::from_secs(20), || metrics.num_alive_tasks() <= before).await;
    converge(&file).await;
    is_one_cluster(&lab);
}

/// The exit codes of runs that end in between: 5 where no one knows, 4 where some of it was done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doubt_and_a_part_have_exit_codes_of_their_own() {
    let lab = TestLab::up(1, 1);
    let record = Arc::new(Record::default());
    let _proxy = Proxy::start(lab.host("w1"), &record);
    converge(&lab.text(&[("m1", "manager", "")])).await;
    // The host dies with the join in its engine: whether it is in the swarm no one can say.
    let pid = lab.host("w1").pid().unwrap();
    record.watch(move |seen, answered| {
        if seen.path == "/swarm/join" && !answered {
            let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    });
    let file = |label: &str| lab.file(&lab.text(&[("m1", "manager", label), ("w1", "worker", ENGINE)]));
    let ran = cli::run(&["apply", "-f", file("").to_str().unwrap(), "--yes"]);
    assert_eq!(ran.code, 5, "{ran:?}");
    assert!(ran.err.contains("w1/join: in doubt"), "{ran:?}");
    // The other host gets its label, and this one cannot be reached.
    let ran = cli::run(&["apply", "-f", file("labels: { rack: a }").to_str().unwrap(), "--yes"]);
    assert_eq!(ran.code, 4, "{ran:?}");
}
