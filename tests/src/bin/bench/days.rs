//! Day two: how long after the engine's own end a verb ends, a backup beside the same by hand, and what is read of forty hosts.

use super::{Rows, engines, swarm};
use std::time::{Duration, Instant};
use swarm_core::engine::{Kind, MembershipRead, ObjectsRead, Query};
use swarm_core::observe::NodeFacts;
use swarm_core::spec::{Availability, Role};
use swarm_docker::DockerEngine;
use swarm_tests::lab::TestLab;

/// How often each verb is measured.
const ROUNDS: usize = 5;
/// How many hosts are read from.
const MANY: usize = 40;

/// What has to be so, besides what a manager lists of the node.
#[derive(Clone, Copy, PartialEq)]
enum Also {
    Nothing,
    /// No task runs there.
    NoTask,
    /// Its own engine answers as a manager.
    Manages,
}

/// Runs a verb on a host, and gives how long after the engines had done it the verb ended. The engines are the first manager's and the host's.
async fn behind(engines: [&DockerEngine; 2], done: fn(&NodeFacts) -> bool, also: Also, host: &'static str, args: &[&str]) -> Duration {
    let [engine, own] = engines.map(Clone::clone);
    let watcher = tokio::spawn(async move {
        loop {
            let nodes = engine.nodes().await.unwrap_or_default();
            let is = match (nodes.iter().find(|n| n.hostname == host).filter(|n| done(n)), also) {
                (None, _) => false,
                (Some(_), Also::Nothing) => true,
                (Some(_), Also::Manages) => own.info().await.is_ok_and(|facts| facts.swarm.control_available),
                (Some(node), Also::NoTask) => {
                    let tasks = engine.list(&Query::all(Kind::Task)).await.unwrap();
                    let here = |t: &swarm_core::engine::Object| {
                        t.text("/NodeID").as_deref() == Some(node.id.as_str()) && t.text("/Status/State").as_deref() == Some("running")
                    };
                    !tasks.iter().any(here)
                }
            };
            if is {
                return Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
    let run = tokio::task::spawn_blocking(move || {
        swarm(&args.iter().map(String::as_str).collect::<Vec<_>>());
        Instant::now()
    });
    let ended = run.await.unwrap();
    ended.saturating_duration_since(watcher.await.unwrap())
}

/// An image of busybox, `app:1`, in every host.
pub(super) fn image(lab: &TestLab) {
    let image =
        "cd /run && rm -rf i && mkdir -p i/bin && cp \"$(command -v busybox)\" i/bin/ && tar -C i -c . | docker import - app:1 >/dev/null";
    for host in &lab.lab.hosts {
        host.exec(&["sh", "-ec", image]).unwrap();
    }
}

/// A service whose tasks end within a second.
pub(super) fn service(lab: &TestLab) {
    image(lab);
    let create = [
        "service",
        "create",
        "--detach=false",
        "-q",
        "--name",
        "app",
        "--replicas",
        "6",
        "--stop-grace-period",
        "1s",
        "--no-resolve-image",
    ];
    lab.docker("m1", &[&create[..], &["app:1", "/bin/busybox", "sleep", "100000"]].concat());
}

pub(super) fn days(rows: &mut Rows, runtime: &tokio::runtime::Runtime) {
    let lab = TestLab::up(3, 2);
    let file = lab.lab.file();
    let file = file.to_str().unwrap();
    swarm(&["apply", "-f", file, "--yes"]);
    service(&lab);
    let all = runtime.block_on(engines(&lab));
    let w1 = lab.lab.hosts.iter().position(|h| h.name == "w1").unwrap();
    let to = lab.lab.dir.join("bench.swarm-backup");
    for _ in 0..ROUNDS {
        let drained: fn(&NodeFacts) -> bool = |n| n.availability == Availability::Drain;
        let active: fn(&NodeFacts) -> bool = |n| n.availability == Availability::Active;
        let member: fn(&NodeFacts) -> bool = NodeFacts::is_reachable_manager;
        let out: fn(&NodeFacts) -> bool = |n| n.role == Role::Worker && n.manager.is_none();
        let of =
            |done, also, verb: &str| runtime.block_on(behind([&all[0], &all[w1]], done, also, "w1", &["node", verb, "w1", "-f", file]));
        rows.add("behind the engine: drain", of(drained, Also::NoTask, "drain"));
        rows.add("behind the engine: activate", of(active, Also::Nothing, "activate"));
        rows.add("behind the engine: promote", of(member, Also::Manages, "promote"));
        rows.add("behind the engine: demote", of(out, Also::Nothing, "demote"));
        // By hand: stop, copy, start, and wait until the others hear it again.
        let by_hand = "/etc/init.d/docker stop >/dev/null; while kill -0 \"$(cat /run/docker.pid 2>/dev/null)\" 2>/dev/null; do sleep 0.05; done; \
            cp -a /var/lib/docker/swarm /run/copy; /etc/init.d/docker start >/dev/null; tar -C /run -czf /run/copy.tgz copy; rm -rf /run/copy /run/copy.tgz; \
            until docker node ls >/dev/null 2>&1; do sleep 0.05; done";
        let began = Instant::now();
        lab.host("m2").exec(&["sh", "-c", by_hand]).unwrap();
        rows.add("backup by hand: stop, copy, start", began.elapsed());
        let _ = std::fs::remove_file(&to);
        rows.add("swarm backup", swarm(&["backup", "-f", file, "--yes", "--from", "m2", "-o", to.to_str().unwrap()]));
    }
    drop(lab);

    let lab = TestLab::up(3, MANY - 3);
    let file = lab.lab.file();
    let file = file.to_str().unwrap();
    swarm(&["apply", "-f", file, "--yes"]);
    let manager = format!("m1=root@{}", lab.host("m1").address);
    let (identity, known) = (lab.lab.dir.join("id_ed25519"), lab.lab.dir.join("known_hosts"));
    let (identity, known) = (identity.to_str().unwrap(), known.to_str().unwrap());
    for _ in 0..ROUNDS {
        rows.add("swarm status, forty hosts", swarm(&["status", "-f", file]));
        rows.add("swarm node ls, forty hosts", swarm(&["node", "ls", "-f", file]));
        rows.add("swarm certs, forty hosts", swarm(&["certs", "-f", file]));
        let adopt = ["adopt", "-i", identity, "--known-hosts", known, "--dry-run", &manager];
        rows.add("swarm adopt, forty hosts", swarm(&adopt));
    }
}
