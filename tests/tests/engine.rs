//! A real engine's answers, and what this makes of them. Each case pins the engine's own words through the table in swarm-core.

use std::sync::Arc;
use std::time::{Duration, Instant};
use swarm_core::engine::{
    EngineError, ErrorClass, Force, InitRequest, JoinRequest, Membership, MembershipRead, NodeChange, Reason, SwarmChange,
};
use swarm_core::observe::{LocalState, NodeState};
use swarm_core::spec::{Role, SwarmSettings};
use swarm_core::{Secret, secret};
use swarm_docker::DockerEngine;
use swarm_lab::LabHost;
use swarm_sim::conformance::{init_request, join_request};
use swarm_tests::lab::{TestLab, eventually};
use swarm_tests::proxy::{Proxy, Record};

async fn engine(host: &LabHost) -> DockerEngine {
    DockerEngine::local(host.socket().to_str().unwrap()).await.unwrap()
}

fn init(host: &LabHost) -> InitRequest {
    init_request(host.address)
}

fn join(host: &LabHost, manager: &LabHost) -> JoinRequest {
    join_request(host.address, manager.address)
}

fn is<T: std::fmt::Debug>(result: Result<T, EngineError>, class: ErrorClass, reason: Reason) {
    let error = result.unwrap_err();
    assert_eq!((error.class, error.reason), (class, reason), "{error}");
}

/// An engine's version and state are asked for at once, and what came along so is never reported after a change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_that_comes_with_the_version_is_told_once_and_not_after_a_change() {
    let lab = TestLab::up(1, 0);
    let m1 = lab.host("m1");
    let record = Arc::new(Record::default());
    let proxy = Proxy::start(m1, &record);
    let asked = || record.seen().iter().filter(|s| s.path == "/info").count();
    // On a busy machine what came along may be too old for the next call, which then asks: that one is not counted.
    let mut in_time = false;
    for _ in 0..20 {
        let (before, began) = ((asked(), record.seen().len()), Instant::now());
        let one = DockerEngine::local(proxy.socket()).await.unwrap();
        let infos = asked();
        assert_eq!((infos, record.seen().len()), (before.0 + 1, before.1 + 2), "{:?}", record.seen());
        assert_eq!(one.info().await.unwrap().swarm.reported, LocalState::Inactive);
        in_time = began.elapsed() < Duration::from_millis(500);
        if in_time {
            assert_eq!(asked(), infos, "it came along");
            assert_eq!(one.info().await.unwrap().swarm.reported, LocalState::Inactive);
            assert_eq!(asked(), infos + 1, "once");
            break;
        }
    }
    assert!(in_time, "no two calls came within half a second");
    let before = asked();
    let another = DockerEngine::local(proxy.socket()).await.unwrap();
    // A change that is refused at once is a change.
    is(another.leave(Force::No).await, ErrorClass::AlreadySo, Reason::NotManager);
    another.info().await.unwrap();
    assert_eq!(asked(), before + 2, "asked again");
    another.init(&init(m1)).await.unwrap();
    assert_eq!(another.info().await.unwrap().swarm.reported, LocalState::Active);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engines_answers_are_classed_as_the_table_says() {
    let lab = TestLab::up(2, 1);
    let (m1, m2, w1) = (lab.host("m1"), lab.host("m2"), lab.host("w1"));
    let (e1, e2, e3) = (engine(m1).await, engine(m2).await, engine(w1).await);
    assert_eq!(e1.api_version(), "1.41");

    // No swarm yet.
    assert_eq!(e1.info().await.unwrap().swarm.reported, LocalState::Inactive);
    is(e1.nodes().await, ErrorClass::Conflict, Reason::NotManager);
    is(e1.cluster().await, ErrorClass::Conflict, Reason::NotManager);
    is(e1.leave(Force::No).await, ErrorClass::AlreadySo, Reason::NotManager);
    is(e3.join(&join(w1, m1), &Secret::new("garbage")).await, ErrorClass::Refused, Reason::TokenRejected);

    // A swarm of one.
    e1.init(&init(m1)).await.unwrap();
    is(e1.init(&init(m1)).await, ErrorClass::Conflict, Reason::AlreadyInSwarm);
    is(e1.leave(Force::No).await, ErrorClass::Refused, Reason::Quorum);
    let cluster = e1.cluster().await.unwrap();
    assert_eq!(cluster.labels.get("a").map(String::as_str), Some("b"));
    assert_eq!(e1.info().await.unwrap().swarm.cluster.as_ref(), Some(&cluster.id));
    let own = e1.nodes().await.unwrap().remove(0);
    is(
        e1.update_node(&own.id, own.version, &NodeChange { role: Some(Role::Worker), ..NodeChange::default() }).await,
        ErrorClass::Refused,
        Reason::Quorum,
    );
    is(e1.remove_node(&own.id, Force::Yes).await, ErrorClass::Conflict, Reason::NodeInUse);
    is(e1.node(&"nosuchnode".into()).await, ErrorClass::Conflict, Reason::NotFound);

    // Joins.
    let token = e1.join_token(Role::Worker).await.unwrap();
    e3.join(&join(w1, m1), &token).await.unwrap();
    is(e3.join(&join(w1, m1), &token).await, ErrorClass::Conflict, Reason::AlreadyInSwarm);
    is(e3.nodes().await, ErrorClass::Conflict, Reason::NotManager);
    assert_eq!(e3.info().await.unwrap().swarm.cluster, None, "a worker does not name its cluster");
    e2.join(&join(m2, m1), &e1.join_token(Role::Manager).await.unwrap()).await.unwrap();
    is(e2.leave(Force::No).await, ErrorClass::Refused, Reason::Quorum);

    // Updates: only what is named changes, a stale version is a conflict, and no change is no call.
    let id = e3.info().await.unwrap().swarm.node.unwrap();
    let before = e1.node(&id).await.unwrap();
    let labels = NodeChange { labels: [("x".to_owned(), Some("1".to_owned()))].into(), ..NodeChange::default() };
    e1.update_node(&id, before.version, &labels).await.unwrap();
    is(e1.update_node(&id, before.version, &labels).await, ErrorClass::Conflict, Reason::OutOfSequence);
    let after = e1.node(&id).await.unwrap();
    assert_eq!((after.availability, after.role, after.labels.len()), (before.availability, before.role, 1));
    let change =
        SwarmChange { settings: SwarmSettings { task_history_limit: Some(2), ..SwarmSettings::default() }, ..SwarmChange::default() };
    e2.update_swarm(&change, None).await.unwrap();
    is(e2.update_swarm(&change, None).await, ErrorClass::AlreadySo, Reason::Other);
    let updated = e1.cluster().await.unwrap();
    assert_eq!(updated.settings, SwarmSettings { task_history_limit: Some(2), ..cluster.settings }, "the other options survived");
    assert_eq!(updated.labels, cluster.labels);

    // The unlock key: none without autolock; with it, a restarted manager is locked, refuses a wrong key and takes the right one.
    assert!(e1.unlock_key().await.unwrap().is_none());
    is(e1.unlock(&Secret::new("SWMKEY-1-xx")).await, ErrorClass::AlreadySo, Reason::Other);
    lab.docker("m1", &["swarm", "update", "--autolock=true"]);
    let key = e1.unlock_key().await.unwrap().unwrap();
    assert!(key.expose().starts_with("SWMKEY-1-") && !format!("{key:?}").contains("SWMKEY"));
    m2.stop_engine();
    m2.start_engine().unwrap();
    let e2 = engine(m2).await;
    assert_eq!(e2.info().await.unwrap().swarm.reported, LocalState::Locked);
    is(e2.nodes().await, ErrorClass::Refused, Reason::Locked);
    is(e2.unlock(&Secret::new("no key")).await, ErrorClass::Refused, Reason::Other);
    is(e2.unlock(&Secret::new(format!("SWMKEY-1-{}", "A".repeat(43)))).await, ErrorClass::Refused, Reason::Locked);
    // It answers when there is a leader again: on a busy machine that was later than a call waits. Whether it took the key is seen below.
    if let Err(late) = e2.unlock(&key).await {
        assert_eq!(late.class, ErrorClass::Unknown, "{late}");
    }
    // Both elect a leader: raft gives each try 10 to 20 s, and two that try at the same time try again (swarmkit `manager/state/raft`).
    eventually("m2 is back", Duration::from_secs(60), || lab.lists("m1", "m2 manager Ready Active")).await;

    // A live node is not removed; one that left is, once it is down. After a change of leader none is taken for live until it is heard.
    eventually("w1 is heard", Duration::from_secs(40), || lab.lists("m1", "w1 worker Ready Active")).await;
    is(e1.remove_node(&id, Force::No).await, ErrorClass::Conflict, Reason::NodeInUse);
    e3.leave(Force::No).await.unwrap();
    eventually("w1 is down", Duration::from_secs(40), || lab.lists("m1", "w1 worker Down Active")).await;
    assert_eq!(e1.node(&id).await.unwrap().state, NodeState::Down);
    e1.remove_node(&id, Force::No).await.unwrap();
    is(e1.remove_node(&id, Force::No).await, ErrorClass::Conflict, Reason::NotFound);

    // One of two managers dies: no leader, whatever is asked.
    m2.kill(true).unwrap();
    eventually("m1 has lost its quorum", Duration::from_secs(60), || m1.exec(&["docker", "node", "ls"]).is_err()).await;
    let error = e1.nodes().await.unwrap_err();
    assert_eq!((error.class, error.reason), (ErrorClass::Unreachable, Reason::NoLeader), "{error}");
    let error = e1
        .update_swarm(
            &SwarmChange { settings: SwarmSettings { task_history_limit: Some(9), ..SwarmSettings::default() }, ..SwarmChange::default() },
            None,
        )
        .await
        .unwrap_err();
    assert_ne!(error.class, ErrorClass::AlreadySo, "{error}");

    // No one there: nothing was done.
    m1.kill(true).unwrap();
    let error = e1.init(&init(m1)).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unreachable, "{error}");
    let text = format!("{:?} {token:?} {error:?}", e1.info().await);
    assert!(!text.contains(token.expose()) && secret::redact(&text) == text, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp_with_tls_trusts_the_named_authority_only() {
    let lab = TestLab::up(1, 0);
    let host = lab.host("m1");
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let address = host.address.to_string();
    for ca in ["ca", "other"] {
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            &format!("/CN={ca}"),
            "-keyout",
            &at(&format!("{ca}.key")),
            "-out",
            &at(&format!("{ca}.pem")),
        ]);
    }
    for (name, usage) in [("server", "serverAuth"), ("client", "clientAuth")] {
        openssl(&[
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
            &at(&format!("{name}.key")),
            "-out",
            &at("csr"),
        ]);
        std::fs::write(at("ext"), format!("subjectAltName=IP:{address}\nextendedKeyUsage={usage}\n")).unwrap();
        openssl(&[
            "x509",
            "-req",
            "-days",
            "2",
            "-in",
            &at("csr"),
            "-CA",
            &at("ca.pem"),
            "-CAkey",
            &at("ca.key"),
            "-CAcreateserial",
            "-extfile",
            &at("ext"),
            "-out",
            &at(&format!("{name}.pem")),
        ]);
    }
    for file in ["ca.pem", "server.pem", "server.key"] {
        std::fs::copy(at(file), host.run_dir().join(file)).unwrap();
    }
    host.stop_engine();
    host.start_engine_with(&[
        "--host",
        "tcp://0.0.0.0:2376",
        "--tlsverify",
        "--tlscacert",
        "/run/ca.pem",
        "--tlscert",
        "/run/server.pem",
        "--tlskey",
        "/run/server.key",
    ])
    .unwrap();
    let files = |ca: &str| swarm_core::spec::TlsFiles { ca: at(ca).into(), cert: at("client.pem").into(), key: at("client.key").into() };
    let connect = |ca: &str| {
        let files = files(ca);
        let address = address.parse().unwrap();
        async move { DockerEngine::tls(address, 2376, &files).await }
    };
    let engine = connect("ca.pem").await.unwrap();
    assert_eq!(engine.info().await.unwrap().hostname, "m1");
    let error = connect("other.pem").await.unwrap_err();
    assert!(error.message.contains("certificate"), "{error:?}");

    // The same from a cluster file: a swarm is made over TLS alone, and a second run has nothing to do.
    let text = |ca: &str| {
        format!(
            "name: tls\nhosts:\n  m1:\n    address: {address}\n    role: manager\n    labels: {{ a: b }}\n    connection: docker\n    engine: tcp://{address}:2376\n    tls_ca: {}\n    tls_cert: {}\n    tls_key: {}\n",
            at(ca),
            at("client.pem"),
            at("client.key")
        )
    };
    let report = swarm_tests::lab::converge(&text("ca.pem")).await;
    assert_eq!(report.steps.len(), 2, "{report:?}");
    assert!(swarm_tests::lab::converge(&text("ca.pem")).await.steps.is_empty());
    let (observed, _) = (swarm_tests::lab::plan(&text("other.pem")).await, ());
    assert!(matches!(&observed, Err(swarm_core::ApplyError::Refused(r)) if r[0].to_string().contains("certificate")), "{observed:?}");
}

fn openssl(args: &[&str]) {
    swarm_tests::lab::sh(&[&["openssl"], args].concat());
}
