//! Engines of several versions in one swarm, and an engine that is upgraded under it.

use std::collections::BTreeSet;
use swarm_lab::LabHost;
use swarm_tests::engines;
use swarm_tests::lab::{TestLab, converge, plan};

/// The version of each engine, as the managers list it.
fn versions(lab: &TestLab) -> BTreeSet<String> {
    let out = lab.docker("m2", &["node", "ls", "--format", "{{.EngineVersion}}"]);
    out.lines().map(str::to_owned).collect()
}

fn change_engine(host: &LabHost, folder: &std::path::Path) {
    host.stop_engine();
    host.use_engine(Some(folder)).unwrap();
    host.start_engine().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engines_of_several_versions_are_one_swarm() {
    let newer = engines::newer();
    let (Some(first), Some(last)) = (newer.first(), newer.last()) else { return };
    let lab = TestLab::up(3, 2);
    for (name, folder) in [("m2", first), ("m3", last), ("w1", first), ("w2", last)] {
        change_engine(lab.host(name), folder);
    }
    let hosts = lab.all("");
    let file = lab.text(&hosts);
    converge(&file).await;
    assert_eq!(versions(&lab).len(), newer.len() + 1, "{:?}", versions(&lab));
    assert!(plan(&file).await.unwrap().0.is_empty(), "there is nothing left to do");

    // The newest leads in the end: the oldest manager becomes a worker, and the newest worker a manager.
    let other = lab.text_with(
        &[
            ("m1", "worker", "labels: { rack: a }"),
            ("m2", "manager", ""),
            ("m3", "manager", "availability: drain"),
            ("w1", "worker", "labels: { rack: b }"),
            ("w2", "manager", ""),
        ],
        "swarm: { task_history_limit: 2, dispatcher_heartbeat: 7s }",
    );
    converge(&other).await;
    assert!(plan(&other).await.unwrap().0.is_empty(), "there is nothing left to do");

    // The oldest engine is upgraded where it is, and is the same node afterwards.
    let id = lab.docker("m1", &["info", "--format", "{{.Swarm.NodeID}}"]);
    change_engine(lab.host("m1"), last);
    converge(&other).await;
    assert_eq!(lab.docker("m1", &["info", "--format", "{{.Swarm.NodeID}}"]), id);
    assert_eq!(versions(&lab).len(), newer.len(), "{:?}", versions(&lab));
}
