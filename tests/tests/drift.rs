//! A cluster that is there and not as the file says.

use swarm_core::report::Ending;
use swarm_tests::lab::{TestLab, apply, converge, plan};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_added_roles_swap_and_labels_change() {
    let lab = TestLab::up(3, 2);
    converge(&lab.text(&[
        ("m1", "manager", "labels: { rack: a, old: x }"),
        ("m2", "manager", ""),
        ("m3", "manager", ""),
        ("w1", "worker", ""),
    ]))
    .await;
    lab.docker("m1", &["node", "update", "--label-add", "foreign=kept", "m1"]);
    let id = lab.docker("m1", &["info", "--format", "{{.Swarm.Cluster.ID}}"]);

    // m3 and w1 swap roles, w2 comes, labels change, m1 is drained, an option changes.
    let file = lab.text_with(
        &[
            ("m1", "manager", "labels: { rack: b, old: null }, availability: drain"),
            ("m2", "manager", ""),
            ("m3", "worker", ""),
            ("w1", "manager", ""),
            ("w2", "worker", "labels: { disk: ssd }"),
        ],
        "swarm: { task_history_limit: 2 }",
    );
    let (planned, _) = plan(&file).await.unwrap();
    let steps: Vec<&str> = planned.steps.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(steps, ["swarm/update", "w2/join", "w1/promote", "m1/configure", "w2/configure", "m3/demote"]);
    converge(&file).await;
    assert_eq!(
        lab.nodes("m1"),
        [
            "m1 manager Ready Drain",
            "m2 manager Ready Active",
            "m3 worker Ready Active",
            "w1 manager Ready Active",
            "w2 worker Ready Active"
        ]
    );
    assert_eq!(
        lab.docker("m1", &["node", "inspect", "m1", "--format", "{{json .Spec.Labels}}"]).trim(),
        r#"{"foreign":"kept","rack":"b"}"#
    );
    assert_eq!(lab.docker("m1", &["info", "--format", "{{.Swarm.Cluster.ID}}"]), id, "the same swarm");
    let heartbeat = lab.docker(
        "m1",
        &[
            "info",
            "--format",
            "{{.Swarm.Cluster.Spec.Dispatcher.HeartbeatPeriod}} {{.Swarm.Cluster.Spec.Orchestration.TaskHistoryRetentionLimit}}",
        ],
    );
    assert!(heartbeat.starts_with("5s") || heartbeat.starts_with("5000000000"), "an option that was not named survived: {heartbeat}");
    assert!(plan(&file).await.unwrap().0.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_task_lands_on_a_new_node_before_its_labels() {
    let lab = TestLab::up(1, 1);
    converge(&lab.text(&[("m1", "manager", "")])).await;
    lab.docker(
        "m1",
        &[
            "service",
            "create",
            "--detach",
            "--no-resolve-image",
            "--mode",
            "global",
            "--name",
            "probe",
            "--constraint",
            "node.labels.disk!=ssd",
            "example.invalid/none:1",
        ],
    );
    let file = lab.text(&[("m1", "manager", ""), ("w1", "worker", "labels: { disk: ssd }")]);
    let (planned, _) = plan(&file).await.unwrap();
    assert!(planned.steps.iter().any(|s| s.id.as_str() == "w1/join" && s.after.contains("drained until its labels")), "{planned:#?}");
    converge(&file).await;
    assert_eq!(lab.nodes("m1"), ["m1 manager Ready Active", "w1 worker Ready Active"]);
    // The service keeps off nodes with this label: a task on w1 would have landed before the label did.
    let tasks = lab.docker("m1", &["service", "ps", "probe", "--format", "{{.Node}}"]);
    assert!(!tasks.contains("w1"), "{tasks}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_removed_behind_its_back_comes_back() {
    let lab = TestLab::up(1, 1);
    let file = lab.text(&lab.all(""));
    converge(&file).await;
    lab.docker("m1", &["node", "rm", "--force", "w1"]);
    let (planned, _) = plan(&file).await.unwrap();
    let steps: Vec<&str> = planned.steps.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(steps, ["w1/leave", "w1/join"]);
    converge(&file).await;
    assert_eq!(lab.nodes("m1"), ["m1 manager Ready Active", "w1 worker Ready Active"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_dead_worker_does_not_keep_the_others_waiting() {
    let lab = TestLab::up(1, 2);
    lab.host("w2").kill(true).unwrap();
    let file = lab.text(&lab.all(""));
    let report = apply(&file).await.unwrap();
    assert_eq!(report.ending, Ending::Partial, "{report:#?}");
    assert_eq!(lab.nodes("m1"), ["m1 manager Ready Active", "w1 worker Ready Active"]);
    assert_eq!(report.blocked[0].host.as_str(), "w2");
    lab.host("w2").start().unwrap();
    converge(&file).await;
    assert_eq!(lab.nodes("m1").len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_the_file_does_not_name_are_told_and_left_alone() {
    let lab = TestLab::up(1, 1);
    converge(&lab.text(&lab.all(""))).await;
    let (planned, _) = plan(&lab.text(&[("m1", "manager", "")])).await.unwrap();
    assert!(planned.is_empty(), "{planned:#?}");
    assert!(planned.notes.iter().any(|n| n.contains("w1") && n.contains("left alone")), "{:?}", planned.notes);
}
