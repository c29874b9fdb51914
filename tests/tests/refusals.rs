//! Where acting could hurt: nothing is changed, and the reason is reported.

use std::sync::Arc;
use std::time::Duration;
use swarm_core::ApplyError;
use swarm_core::plan::Refusal;
use swarm_tests::cli;
use swarm_tests::lab::{TestLab, apply, converge, eventually, plan};
use swarm_tests::proxy::{ENGINE, Proxy, Record};

fn refusals(error: ApplyError) -> Vec<Refusal> {
    match error {
        ApplyError::Refused(refusals) => refusals,
        other => panic!("{other}"),
    }
}

fn address(lab: &TestLab, host: &str) -> String {
    lab.host(host).address.to_string()
}

fn cluster(lab: &TestLab, host: &str) -> String {
    lab.docker(host, &["info", "--format", "{{.Swarm.Cluster.ID}}"]).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_of_another_swarm_is_left_alone_until_it_is_named() {
    let lab = TestLab::up(2, 1);
    // m2 leads a swarm of its own, and w1 is a worker of it.
    lab.docker("m2", &["swarm", "init", "--advertise-addr", &address(&lab, "m2")]);
    let token = lab.docker("m2", &["swarm", "join-token", "-q", "worker"]);
    lab.docker("w1", &["swarm", "join", "--token", token.trim(), &format!("{}:2377", address(&lab, "m2"))]);
    let theirs = cluster(&lab, "m2");
    let record = Arc::new(Record::default());
    let _proxies: Vec<Proxy> = lab.lab.hosts.iter().map(|h| Proxy::start(h, &record)).collect();

    // Nothing of ours exists yet: both are refused, by name, and no engine was asked to change.
    let file = lab.text(&[("m1", "manager", ENGINE), ("w1", "worker", ENGINE)]);
    let found = refusals(apply(&file).await.unwrap_err());
    let text = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(
        matches!(&found[..], [Refusal::ManagersElsewhere { host, swarm: Some(id), managers, .. }] if host.as_str() == "w1" && id.as_str() == theirs && managers == &[format!("{}:2377", address(&lab, "m2"))]),
        "{text}"
    );
    assert!(text.contains("--force-leave w1") && text.contains("worker"), "{text}");
    assert_eq!(record.mutating(), []);

    // Our cluster exists: the same, with both cluster ids.
    converge(&lab.text(&[("m1", "manager", "")])).await;
    let found = refusals(plan(&file).await.unwrap_err());
    assert!(
        matches!(&found[..], [Refusal::ForeignSwarm { ours: Some(ours), theirs: Some(id), .. }] if ours.as_str() == cluster(&lab, "m1") && id.as_str() == theirs),
        "{found:?}"
    );

    // Named, it is taken out of that swarm and joins this one.
    let path = lab.file(&file);
    let ran = swarm_tests::cli::run(&["apply", "-f", path.to_str().unwrap(), "--yes", "--force-leave", "w1"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(lab.nodes("m1"), ["m1 manager Ready Active", "w1 worker Ready Active"]);
    assert_eq!(cluster(&lab, "m2"), theirs, "the other swarm lives on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_swarms_among_the_hosts_are_both_named() {
    let lab = TestLab::up(2, 0);
    for host in ["m1", "m2"] {
        lab.docker(host, &["swarm", "init", "--advertise-addr", &address(&lab, host)]);
    }
    let found = refusals(apply(&lab.text(&lab.all(""))).await.unwrap_err());
    let text = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(matches!(found[..], [Refusal::SeveralSwarms { .. }]), "{text}");
    for host in ["m1", "m2"] {
        assert!(text.contains(&cluster(&lab, host)) && text.contains(host), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_swarm_is_made_while_a_declared_manager_is_in_doubt() {
    let lab = TestLab::up(3, 0);
    let file = lab.text(&lab.all(""));
    converge(&file).await;
    // Two of three are gone and the first was reinstalled: this is how a second cluster is born elsewhere.
    lab.host("m2").kill(true).unwrap();
    lab.host("m3").kill(true).unwrap();
    lab.docker("m1", &["swarm", "leave", "--force"]);
    let found = refusals(apply(&file).await.unwrap_err());
    match &found[..] {
        [Refusal::InitInDoubt { doubts, .. }] => assert_eq!(doubts.iter().map(|(h, _)| h.as_str()).collect::<Vec<_>>(), ["m2", "m3"]),
        other => panic!("{other:?}"),
    }
    assert_eq!(lab.docker("m1", &["info", "--format", "{{.Swarm.LocalNodeState}}"]).trim(), "inactive");
}

/// `--init-on`: two of three machines are not there yet, and the operator knows that they are in no swarm.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swarm_is_made_beside_silent_managers_where_the_operator_says_so() {
    let lab = TestLab::up(3, 1);
    let path = lab.file(&lab.text(&lab.all("")));
    let swarm = |args: &[&str]| cli::run(&[args, &["-f", path.to_str().unwrap()]].concat());
    for host in ["m2", "m3"] {
        lab.host(host).kill(true).unwrap();
    }
    let without = swarm(&["apply", "--yes"]);
    assert!(without.code == 1 && without.err.contains("swarm apply --init-on m1"), "{without:?}");
    let worker = swarm(&["apply", "--yes", "--init-on", "w1"]);
    assert!(worker.code == 1 && worker.err.contains("w1: it is no manager in the file"), "{worker:?}");
    let asked = swarm(&["apply", "--init-on", "m1"]);
    assert!(asked.code == 1 && asked.out.contains("m2, m3 cannot be asked"), "no terminal to ask on: {asked:?}");
    assert_eq!(lab.docker("m1", &["info", "--format", "{{.Swarm.LocalNodeState}}"]).trim(), "inactive");
    let made = swarm(&["apply", "--yes", "--init-on", "m1"]);
    assert_eq!((made.code, lab.docker("m1", &["node", "ls", "-q"]).lines().count()), (4, 2), "{made:?}");
    for host in ["m2", "m3"] {
        lab.host(host).start().unwrap();
    }
    // It is there now: the flag means nothing, and nothing is made again.
    let rest = swarm(&["apply", "--yes", "--init-on", "m1"]);
    assert_eq!((rest.code, lab.docker("m1", &["node", "ls", "-q"]).lines().count()), (0, 4), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_quorum_is_not_read_as_no_swarm() {
    let lab = TestLab::up(3, 1);
    let file = lab.text(&[("m1", "manager", ""), ("m2", "manager", ""), ("m3", "manager", "")]);
    converge(&file).await;
    lab.host("m2").kill(true).unwrap();
    lab.host("m3").kill(true).unwrap();
    eventually("m1 notices", Duration::from_secs(60), || lab.host("m1").exec(&["docker", "node", "ls"]).is_err()).await;
    // A fresh worker as only other host: whoever takes the silence for "no swarm" would make one here.
    let found = refusals(apply(&lab.text(&[("m1", "manager", ""), ("w1", "worker", "")])).await.unwrap_err());
    assert!(found.iter().all(|r| matches!(r, Refusal::NoLeader { .. })), "{found:?}");
    assert_eq!(lab.docker("w1", &["info", "--format", "{{.Swarm.LocalNodeState}}"]).trim(), "inactive");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demotion_that_would_cost_the_quorum_is_refused_with_the_numbers() {
    let lab = TestLab::up(3, 0);
    converge(&lab.text(&lab.all(""))).await;
    lab.host("m3").kill(true).unwrap();
    eventually("m3 is unreachable", Duration::from_secs(60), || {
        lab.docker("m1", &["node", "ls", "--format", "{{.ManagerStatus}}"]).contains("Unreachable")
    })
    .await;
    let found = refusals(plan(&lab.text(&[("m1", "manager", ""), ("m2", "worker", ""), ("m3", "manager", "")])).await.unwrap_err());
    assert!(
        matches!(&found[..], [Refusal::QuorumAtRisk { host, numbers, .. }] if host.as_str() == "m2" && numbers.contains("3 managers, 2 reachable")),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_another_cluster_is_refused() {
    let lab = TestLab::up(1, 0);
    let file = lab.text(&lab.all(""));
    converge(&file).await;
    let other = file.replacen(&format!("name: {}", lab.lab.name), "name: other", 1);
    let found = refusals(apply(&other).await.unwrap_err());
    assert!(matches!(&found[..], [Refusal::OtherName { name, wanted, .. }] if *name == lab.lab.name && wanted == "other"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_manager_is_shown_and_left_out() {
    let lab = TestLab::up(3, 0);
    let file = lab.text(&lab.all(""));
    converge(&file).await;
    lab.docker("m1", &["swarm", "update", "--autolock=true"]);
    lab.host("m2").stop_engine();
    lab.host("m2").start_engine().unwrap();
    let (planned, observed) = plan(&file).await.unwrap();
    assert_eq!(observed.hosts[&"m2".into()].state.word(), "locked");
    assert!(planned.is_empty() && planned.blocked[0].host.as_str() == "m2", "{planned:#?}");
    assert_eq!(apply(&file).await.unwrap().ending, swarm_core::report::Ending::Degraded);
}
