//! What happens in a swarm, in one order, also when the manager that it comes from goes.

use std::io::{BufRead, BufReader};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use swarm_tests::cli;
use swarm_tests::lab::{TestLab, converge, eventually};

#[tokio::test]
async fn events_go_on_when_the_manager_that_they_come_from_goes() {
    let lab = TestLab::up(3, 1);
    let text = lab.text(&lab.all(""));
    converge(&text).await;
    let file = lab.file(&text);
    lab.docker("m1", &["node", "update", "--label-add", "before=1", "w1"]);
    // A manager hears of it a moment after it was done.
    eventually("the manager that is asked has heard of it", Duration::from_secs(30), || {
        let past = cli::run(&["events", "--type", "node", "-f", file.to_str().unwrap()]);
        assert_eq!(past.code, 0, "{past:?}");
        past.out.contains("node update w1")
    })
    .await;
    let none = cli::run(&["events", "--since", "0s", "-f", file.to_str().unwrap()]);
    assert!(none.code == 0 && none.out.is_empty(), "{none:?}");
    let wrong = cli::run(&["events", "--type", "container", "-f", file.to_str().unwrap()]);
    assert!(wrong.code == 64 && wrong.err.contains("--type container"), "{wrong:?}");

    let mut child = cli::begin(&["--format", "jsonl", "events", "--follow", "--since", "0s", "-f", file.to_str().unwrap()]);
    let lines: Arc<Mutex<Vec<serde_json::Value>>> = Arc::default();
    let (into, out) = (Arc::clone(&lines), child.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            into.lock().unwrap().push(serde_json::from_str(&line).unwrap());
        }
    });
    let secrets = || -> Vec<String> {
        let lines = lines.lock().unwrap();
        let created = lines.iter().filter(|l| l["type"] == "secret" && l["action"] == "create");
        created.map(|l| l["name"].as_str().unwrap().to_owned()).collect()
    };
    // A call whose answer was lost may have made it.
    let made = |manager: &str, name: &str| {
        let script = format!("docker secret inspect {name} >/dev/null 2>&1 || echo x | docker secret create {name} -");
        lab.host(manager).exec(&["sh", "-c", &script]).is_ok()
    };
    // It follows when the first one is there: which one that is does not matter.
    let mut first = 0;
    eventually("it shows what happens", Duration::from_secs(30), || {
        first += 1;
        assert!(made("m2", &format!("first-{first}")));
        secrets().iter().any(|s| s.starts_with("first-"))
    })
    .await;
    lab.host("m1").kill(true).unwrap();
    eventually("the others have a leader", Duration::from_secs(60), || made("m2", "during")).await;
    eventually("so says each of them", Duration::from_secs(30), || made("m3", "after")).await;
    eventually("it comes from another manager", Duration::from_secs(90), || secrets().contains(&"after".to_owned())).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let shown = secrets();
    assert!(shown.contains(&"during".to_owned()), "nothing in between is lost: {shown:?}");
    let mut once = shown.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), shown.len(), "nothing is shown twice: {shown:?}");
    let times: Vec<i64> = lines.lock().unwrap().iter().filter_map(|l| l["nanoseconds"].as_i64()).collect();
    assert!(times.is_sorted(), "{times:?}");
}
