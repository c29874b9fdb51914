//! An engine that has left a swarm and keeps listening on its ports.

use std::time::Duration;
use swarm_tests::cli;
use swarm_tests::lab::{TestLab, eventually};

/// Leaves the swarm with an engine that is held up again and again, so that it does not end its gossip: whether it still listens then.
fn leaves_and_holds(lab: &TestLab, host: &str) -> bool {
    std::thread::scope(|scope| {
        let leaving = scope.spawn(|| lab.docker(host, &["swarm", "leave", "--force"]));
        while !leaving.is_finished() {
            // Longer than moby waits for its broadcast, which is one second; what is between is too short to send it.
            lab.host(host).signal_engine("STOP").unwrap();
            std::thread::sleep(Duration::from_millis(1_200));
            lab.host(host).signal_engine("CONT").unwrap();
            std::thread::sleep(Duration::from_millis(100));
        }
        leaving.join().unwrap();
    });
    lab.host(host).exec(&["sh", "-c", "ss -lntH | grep -c :7946 || :"]).unwrap().trim() != "0"
}

/// moby keeps the ports of its gossip where it could not say goodbye in time. Such an engine joins, is ready, and its networks carry nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_keeps_its_ports_is_restarted_before_it_joins() {
    let lab = TestLab::up(1, 1);
    let text = lab.text(&lab.all(""));
    let file = lab.file(&text);
    let file = file.to_str().unwrap();
    let swarm = |args: &[&str]| cli::run(&[args, &["-f", file]].concat());
    // Where there is no swarm a host is served as it is, and how the program ended is the end.
    for (program, code) in [("true", 0), ("false", 1)] {
        let ran = cli::run(&["maintain", "w1", "-f", file, "--yes", "--", program]);
        assert!(ran.code == code && ran.err.contains("there is no swarm") && !ran.err.contains("swarm manager"), "{ran:?}");
    }
    eventually("the engine keeps its ports", Duration::from_secs(240), || {
        assert_eq!(swarm(&["apply", "--yes"]).code, 0);
        leaves_and_holds(&lab, "w1")
    })
    .await;
    for verb in [&["plan"][..], &["apply", "--yes"]] {
        let ran = swarm(verb);
        let says = "w1: port-held: its engine is in no swarm, and listens on 7946/tcp all the same";
        assert!(ran.code == 1 && ran.err.contains(says) && !ran.err.contains("something else"), "{ran:?}");
    }

    // What the check says is so: where it is passed over, the node is ready and its networks carry nothing.
    let passed = lab.file(&format!("{text}checks: {{ ignore: {{ port-held: it is tried }} }}\n"));
    let passed = passed.to_str().unwrap();
    let ran = cli::run(&["apply", "--yes", "-f", passed]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let nodes = lab.docker("m1", &["node", "ls", "--format", "{{.Status}}"]);
    assert_eq!(nodes.lines().collect::<Vec<_>>(), ["Ready", "Ready"]);
    let proven = || swarm(&["check", "--no-ports", "--datapath"]).code;
    assert_eq!(proven(), 3);

    // A host in no swarm is restarted without one to drain it in.
    lab.docker("w1", &["swarm", "leave", "--force"]);
    let ran = swarm(&["engine", "restart", "w1", "--yes"]);
    assert!(ran.code == 0, "{ran:?}");
    let ran = swarm(&["apply", "--yes"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(proven(), 0);
}
