//! A cluster that is there and does not match the file.

use swarm_core::Apply;
use swarm_core::driver::{Progress, ProgressEvent};
use swarm_core::report::Ending;
use swarm_core::verify::FindingKind;
use swarm_fleet::Connections;
use swarm_tests::lab::{TestLab, apply, converge, plan, spec};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn managers_are_locked_and_their_key_is_kept() {
    use std::os::unix::fs::PermissionsExt;
    let lab = TestLab::up(1, 1);
    let key = lab.lab.dir.join("keys/unlock");
    let text = |more: &str| lab.text_with(&lab.all(""), &format!("swarm: {{ unlock_key_file: {}, {more} }}", key.display()));
    let file = lab.file(&text("autolock: true"));
    let run = |verb: &str, more: &[&str]| swarm_tests::cli::run(&[&[verb, "-f", file.to_str().unwrap(), "-vvv"], more].concat());
    let live = || lab.docker("m1", &["swarm", "unlock-key", "-q"]).trim().to_owned();
    let kept = || std::fs::read_to_string(&key).unwrap().trim().to_owned();

    let made = run("apply", &["--yes"]);
    assert_eq!(made.code, 0, "{made:?}");
    assert!(kept().starts_with("SWMKEY-1-") && kept() == live());
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let again = run("plan", &[]);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(!format!("{made:?}{again:?}").contains(&kept()[9..]), "the key is shown nowhere");

    // Another key, or none in the file: it is stored, and the one before stays beside it.
    let before = kept();
    lab.docker("m1", &["swarm", "unlock-key", "--rotate", "-q"]);
    let rotated = run("plan", &[]);
    assert!(rotated.code == 2 && rotated.out.contains("another key is stored -> in"), "{rotated:?}");
    assert_eq!(run("apply", &["--yes"]).code, 0);
    assert_eq!(kept(), live());
    assert_eq!(std::fs::read_to_string(key.with_extension("previous")).unwrap().trim(), before);
    std::fs::remove_file(&key).unwrap();
    assert_eq!(run("apply", &["--yes"]).code, 0);
    assert_eq!(kept(), live());

    // A place that cannot be written is refused before anything is changed.
    std::fs::remove_file(&key).unwrap();
    std::fs::create_dir(&key).unwrap();
    let failed = run("apply", &["--yes"]);
    assert!(failed.code == 1 && failed.err.contains("is a folder"), "{failed:?}");
    assert_eq!(run("verify", &[]).code, 3);
    let names: Vec<_> = std::fs::read_dir(key.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|n| !n.contains(".new")), "no key is left lying about: {names:?}");
    std::fs::remove_dir(&key).unwrap();

    // Off again; and an authority outside the swarm, as the file names it.
    let ca = "autolock: false, external_ca: [{ url: \"https://ca.example.org:12381/api/v1/cfssl/sign\" }]";
    converge(&text(ca)).await;
    let cluster = lab.docker("m1", &["info", "--format", "{{json .Swarm.Cluster.Spec}}"]);
    assert!(cluster.contains("\"AutoLockManagers\":false") && cluster.contains("https://ca.example.org:12381"), "{cluster}");
    assert!(plan(&text(ca)).await.unwrap().0.is_empty());
}

/// Does something as soon as a step has ended.
struct After<'a>(&'a str, &'a (dyn Fn() + Sync));

impl Progress for After<'_> {
    fn report(&self, event: &ProgressEvent) {
        if let ProgressEvent::StepFinished { step, .. } = event
            && step.as_str() == self.0
        {
            (self.1)();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_finds_its_own_changes_undone_says_so() {
    let lab = TestLab::up(3, 1);
    converge(&lab.text(&lab.all(""))).await;
    let w1 = |role, more| lab.text(&[("m1", "manager", ""), ("m2", "manager", ""), ("m3", "manager", ""), ("w1", role, more)]);
    for (wanted, step, undo) in [
        (w1("worker", "labels: { rack: a }"), "w1/configure", &["node", "update", "--label-rm", "rack", "w1"][..]),
        (w1("worker", "availability: drain"), "w1/configure", &["node", "update", "--availability", "active", "w1"]),
        (w1("manager", ""), "w1/promote", &["node", "demote", "w1"]),
        (
            lab.text_with(&lab.all(""), "swarm: { task_history_limit: 3 }"),
            "swarm/update",
            &["swarm", "update", "--task-history-limit", "7"],
        ),
    ] {
        let wanted = spec(&wanted);
        let another = || drop(lab.docker("m1", undo));
        let (fleet, undone) = (Connections::default(), After(step, &another));
        let apply = Apply::new(&wanted, &fleet).progress(&undone);
        let (plan, observed) = apply.plan().await.unwrap();
        let report = apply.run(&plan, &observed).await;
        let found = report
            .verdict
            .as_ref()
            .unwrap()
            .findings
            .iter()
            .any(|f| f.kind == FindingKind::Undone && f.message.contains("another operator"));
        assert!(found && report.ending == Ending::Partial, "{undo:?}: {report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swarm_that_was_made_anew_since_the_look_is_neither_joined_nor_changed() {
    let lab = TestLab::up(1, 1);
    let first = lab.text(&[("m1", "manager", "")]);
    for (hosts, more) in [(lab.all(""), ""), (vec![("m1", "manager", "")], "swarm: { task_history_limit: 2 }")] {
        converge(&first).await;
        let wanted = spec(&lab.text_with(&hosts, more));
        let fleet = Connections::default();
        let apply = Apply::new(&wanted, &fleet);
        let (plan, observed) = apply.plan().await.unwrap();
        assert_eq!(plan.steps.len(), 1, "{plan:#?}");
        lab.docker("m1", &["swarm", "leave", "--force"]);
        lab.docker("m1", &["swarm", "init", "--advertise-addr", &lab.host("m1").address.to_string()]);
        let (was, is) = (observed.view().unwrap().cluster.id.to_string(), lab.docker("m1", &["info", "--format", "{{.Swarm.Cluster.ID}}"]));
        let report = apply.run(&plan, &observed).await;
        let said = format!("{report:?}");
        assert!(report.ending != Ending::Converged && said.contains(&was) && said.contains(is.trim()), "both ids: {said}");
        assert_eq!(lab.nodes("m1").len(), 1, "{:?}", lab.nodes("m1"));
        assert_eq!(lab.docker("w1", &["info", "--format", "{{.Swarm.LocalNodeState}}"]).trim(), "inactive");
        let limit = lab.docker("m1", &["info", "--format", "{{.Swarm.Cluster.Spec.Orchestration.TaskHistoryRetentionLimit}}"]);
        assert_eq!(limit.trim(), "5");
        lab.docker("m1", &["swarm", "leave", "--force"]);
    }
}
