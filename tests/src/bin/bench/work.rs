//! Workloads: what a plan of many services costs, a stack beside the docker CLI, the engines alone and Ansible, and an image for ten hosts.

use super::days::image;
use super::{Rows, ansible_program, engines, inventory, peak, settle, swarm, timed};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use swarm_core::engine::{Body, Kind, NoPayloads, Object, Objects, ObjectsRead, Query, Sealed};
use swarm_core::intent::{Intent, Next, SoFar};
use swarm_core::observe::{Fact, SeenAt};
use swarm_docker::DockerEngine;
use swarm_tests::lab::TestLab;
use swarm_workload::{Deploy, DeployOptions, NAMESPACE_LABEL, Resolve, ServiceWanted, Stack};

const ROUNDS: usize = 5;
/// Services of the stack that is brought up.
const SOME: usize = 20;
/// Services of the stack on which nothing is to do.
const FIFTY: usize = 50;

fn wanted(count: usize) -> Stack {
    let service = |i: usize| {
        let name = format!("app_s{i}");
        let spec = json!({
            "Name": name, "Labels": { NAMESPACE_LABEL: "app" }, "Mode": { "Replicated": { "Replicas": 2 } },
            "TaskTemplate": { "ContainerSpec": { "Image": "app:1", "Env": [format!("NUMBER={i}"), "COLOUR=blue"], "Args": ["sleep", "1000"] } },
            "EndpointSpec": { "Mode": "dnsrr" },
        });
        ServiceWanted { name, spec, after: BTreeMap::new() }
    };
    Stack { name: "app".into(), services: (0..count).map(service).collect(), ..Stack::default() }
}

/// Plans of many services in this process, and how many calls a deploy makes on which nothing is to do.
pub(super) fn plans() {
    println!("| services | all are new | nothing to do | peak memory of the process |\n|---|---|---|---|");
    for count in [1_000, 10_000] {
        let spec = swarm_tests::sim::spec(swarm_tests::sim::THREE);
        let mut observed = swarm_sim::run(async {
            let world = swarm_sim::World::of(&spec, 1);
            swarm_tests::sim::cluster(&world, swarm_tests::sim::THREE).await;
            swarm_core::Apply::new(&spec, &world.fleet("bench")).observe().await
        });
        let stack = wanted(count);
        let intent = Deploy { spec: &spec, stack: &stack, options: DeployOptions { resolve: Resolve::Never, ..DeployOptions::default() } };
        for query in intent.wants() {
            observed.objects.insert(query, Fact::Known(Vec::new(), SeenAt::default()));
        }
        let plan = |observed: &_| {
            let began = Instant::now();
            let next = intent.next(observed, SoFar::default());
            let took = began.elapsed();
            let steps = match next {
                Next::Round(plan) | Next::Done(plan) => plan.steps.len(),
                other => panic!("{other:?}"),
            };
            (took, steps)
        };
        let (new, steps) = plan(&observed);
        assert_eq!(steps, count);
        let there = stack
            .services
            .iter()
            .enumerate()
            .map(|(i, s)| Object::of(&json!({ "ID": format!("id{i:023}"), "Version": { "Index": i + 10 }, "Spec": s.spec })).unwrap());
        let services = there.collect();
        let listed = observed.objects.iter_mut().find(|(query, _)| query.kind == Kind::Service).unwrap();
        *listed.1 = Fact::Known(services, SeenAt::default());
        let (same, steps) = plan(&observed);
        assert_eq!(steps, 0);
        println!("| {count} | {:.3} s | {:.3} s | {} MB |", new.as_secs_f64(), same.as_secs_f64(), peak());
    }
    let calls: Vec<u64> = (0..12).map(calls).collect();
    let (least, most) = (calls.iter().min().unwrap(), calls.iter().max().unwrap());
    println!(
        "\nA deploy of {FIFTY} services on which nothing is to do makes {least} calls to engines; wanted are at most 10. In simulated worlds in which a look takes longer than two seconds, managers are asked again: then it makes {most}.\n"
    );
}

fn calls(seed: u64) -> u64 {
    use swarm_tests::sim::workload::{FILE, deploy, ready, service, stack};
    swarm_sim::run(async {
        let file = swarm_tests::sim::spec(FILE);
        let world = ready(&file, seed).await;
        let wanted = stack((0..FIFTY).map(|i| service(&format!("app_s{i}"), "app:1", 1)).collect());
        let options = || DeployOptions { resolve: Resolve::Never, ..DeployOptions::default() };
        deploy(&world, &file, &wanted, options()).await;
        let before = world.calls().0;
        deploy(&world, &file, &wanted, options()).await;
        world.calls().0 - before
    })
}

/// A Compose file of so many services.
fn compose(lab: &TestLab, count: usize) -> String {
    let mut text = String::from("version: \"3.8\"\nservices:\n");
    for i in 0..count {
        let _ = writeln!(
            text,
            "  s{i}:\n    image: app:1\n    command: [/bin/busybox, sleep, \"100000\"]\n    stop_grace_period: 1s\n    deploy: {{ endpoint_mode: dnsrr, update_config: {{ monitor: 1s }} }}"
        );
    }
    let path = lab.lab.dir.join(format!("app-{count}.yml"));
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

async fn until_running(engine: &DockerEngine, count: usize) {
    loop {
        let tasks = engine.list(&Query::all(Kind::Task)).await.unwrap();
        let running = tasks.iter().filter(|t| t.text("/Status/State").as_deref() == Some("running"));
        if running.count() >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Takes the stack away, until no task and no network of it is left.
async fn nothing(lab: &TestLab, engine: &DockerEngine) {
    for service in engine.list(&Query::all(Kind::Service)).await.unwrap() {
        engine.remove(Kind::Service, service.id()).await.unwrap();
    }
    loop {
        let containers: usize = lab.lab.hosts.iter().map(|h| lab.docker(&h.name, &["ps", "-aq"]).lines().count()).sum();
        let tasks = engine.list(&Query::all(Kind::Task)).await.unwrap().len();
        if containers == 0 && tasks == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for network in engine.list(&Query::all(Kind::Network)).await.unwrap() {
        if network.name().starts_with("app_") {
            while engine.remove(Kind::Network, network.id()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// What the engines themselves need: the network, then all services at once, until their tasks run.
async fn alone(engine: &DockerEngine) -> Duration {
    let seal = |spec: Value| Sealed::new(&Body::of(spec), &NoPayloads).unwrap();
    let began = Instant::now();
    let network = seal(json!({ "Name": "app_default", "Driver": "overlay" }));
    engine.create(Kind::Network, &network).await.unwrap();
    let all = (0..SOME).map(|i| {
        let (engine, body) = (
            engine.clone(),
            seal(json!({
                "Name": format!("app_s{i}"), "EndpointSpec": { "Mode": "dnsrr" }, "Mode": { "Replicated": { "Replicas": 1 } },
                "TaskTemplate": {
                    "Networks": [{ "Target": "app_default" }],
                    "ContainerSpec": { "Image": "app:1", "Args": ["/bin/busybox", "sleep", "100000"], "StopGracePeriod": 1_000_000_000 },
                },
            })),
        );
        tokio::spawn(async move { engine.create(Kind::Service, &body).await.unwrap() })
    });
    for one in all.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    until_running(engine, SOME).await;
    began.elapsed()
}

/// What makes a docker CLI of this machine go to the first manager as we do: over `ssh`, with the lab's key.
fn over_ssh(lab: &TestLab) -> [(&'static str, String); 2] {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = lab.lab.dir.join("bin");
    let ssh = folder.join("ssh");
    let script = format!(
        "#!/bin/sh\nexec /usr/bin/ssh -o BatchMode=yes -o UserKnownHostsFile={} -i {} \"$@\"\n",
        lab.lab.known_hosts().display(),
        lab.lab.key().display()
    );
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(&ssh, script).unwrap();
    std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    [("PATH", path), ("DOCKER_HOST", format!("ssh://root@{}", lab.host("m1").address))]
}

pub(super) fn work(rows: &mut Rows, runtime: &tokio::runtime::Runtime) {
    let lab = TestLab::up(3, 2);
    let file = lab.lab.file();
    let file = file.to_str().unwrap();
    swarm(&["apply", "-f", file, "--yes"]);
    image(&lab);
    let all = runtime.block_on(engines(&lab));
    let (some, fifty) = (compose(&lab, SOME), compose(&lab, FIFTY));
    let deploy = |compose: &str| swarm(&["stack", "deploy", "-f", file, "-c", compose, "app", "--resolve-image", "never", "--yes"]);
    let detached =
        |compose: &str| swarm(&["stack", "deploy", "-f", file, "-c", compose, "app", "--resolve-image", "never", "--detach", "--yes"]);
    let ansible = with_collection();
    // A docker CLI from 26 on waits too, for as long as the policy of each service's updates says.
    let waits = lab.docker("m1", &["stack", "deploy", "--help"]).contains("--detach");
    if !waits {
        println!("SKIPPED: the row of `docker stack deploy --detach=false`, which this docker CLI does not have");
    }
    for round in 0..ROUNDS {
        // Engines that have had many services are slower: each comes first, in the middle and last.
        for turn in 0..4 {
            settle(&lab);
            match (round + turn) % 4 {
                0 => rows.add("engines alone, 20 services until they run", runtime.block_on(alone(&all[0]))),
                1 => {
                    let began = Instant::now();
                    lab.docker("m1", &["stack", "deploy", "-c", &some, "--resolve-image", "never", "app"]);
                    runtime.block_on(until_running(&all[0], SOME));
                    rows.add("docker stack deploy, 20 services until they run", began.elapsed());
                }
                2 => {
                    let began = Instant::now();
                    timed(
                        Command::new("docker")
                            .args(["stack", "deploy", "-c", &some, "--resolve-image", "never", "app"])
                            .envs(over_ssh(&lab)),
                    );
                    runtime.block_on(until_running(&all[0], SOME));
                    rows.add("docker stack deploy over ssh, 20 services until they run", began.elapsed());
                }
                // Until the same is so as for the engines alone and the docker CLI; then until each task has run for a second.
                _ => {
                    let args = ["stack", "deploy", "-f", file, "-c", &some, "app", "--resolve-image", "never", "--yes"];
                    let began = Instant::now();
                    let mut whole = swarm_tests::cli::command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                    runtime.block_on(until_running(&all[0], SOME));
                    rows.add("swarm stack deploy, 20 services until they run", began.elapsed());
                    assert!(whole.wait().unwrap().success());
                    rows.add("swarm stack deploy, 20 services, the whole process", began.elapsed());
                }
            }
            runtime.block_on(nothing(&lab, &all[0]));
        }
        if waits {
            let args = ["stack", "deploy", "-c", &some, "--resolve-image", "never", "--detach=false", "app"];
            let began = Instant::now();
            lab.docker("m1", &args);
            rows.add("docker stack deploy --detach=false, 20 services", began.elapsed());
            runtime.block_on(nothing(&lab, &all[0]));
        }
        rows.add("swarm stack deploy --detach, 20 services", detached(&some));
        runtime.block_on(until_running(&all[0], SOME));
        runtime.block_on(nothing(&lab, &all[0]));
        if let Some(program) = ansible.as_deref().filter(|_| round < 2) {
            let (stack, services) = plays(&lab, &some);
            rows.add("ansible docker_stack, 20 services", play(program, &lab, &stack));
            runtime.block_on(until_running(&all[0], SOME));
            runtime.block_on(nothing(&lab, &all[0]));
            rows.add("ansible docker_swarm_service, 20 services", play(program, &lab, &services));
            runtime.block_on(nothing(&lab, &all[0]));
        }
    }
    deploy(&fifty);
    for _ in 0..ROUNDS {
        settle(&lab);
        rows.add("swarm stack deploy, 50 services, nothing to do", deploy(&fifty));
    }
    drop(lab);
    push(rows);
}

/// A changed top layer for ten hosts, beside one `docker save | ssh docker load`.
fn push(rows: &mut Rows) {
    let lab = TestLab::up(3, 7);
    let file = lab.lab.file();
    let file = file.to_str().unwrap();
    image(&lab);
    let layer = "docker rm -f made >/dev/null 2>&1; docker run --name made --network none app:1 /bin/busybox sh -c 'head -c 40000000 /dev/urandom > /layer' && docker commit made app:2 >/dev/null";
    let archive = lab.lab.dir.join("app.tar");
    let archive = archive.to_str().unwrap();
    let one = lab.host("w1").address;
    let load = format!(
        "ssh -o BatchMode=yes -o UserKnownHostsFile={} -i {} root@{one} docker load -q",
        lab.lab.known_hosts().display(),
        lab.lab.key().display()
    );
    let gone = || {
        for host in lab.lab.hosts.iter().filter(|h| h.name != "m1") {
            let _ = host.exec(&["sh", "-c", "docker rmi app:2 >/dev/null 2>&1"]);
        }
    };
    let mut round = |by_hand_row, push_row| {
        lab.host("m1").exec(&["sh", "-ec", layer]).unwrap();
        gone();
        let by_hand = format!("docker -H unix://{} save app:2 | {load}", lab.host("m1").socket().display());
        rows.add(by_hand_row, timed(Command::new("sh").args(["-c", &by_hand])));
        gone();
        lab.docker("m1", &["save", "-o", archive, "app:2"]);
        rows.add(push_row, swarm(&["image", "push", "-f", file, "-i", archive, "app:2"]));
    };
    for _ in 0..ROUNDS {
        round("docker save | ssh docker load, one host", "swarm image push, ten hosts");
    }
    // Ten hosts on two processors unpack one after the other; behind links of their own, what counts is that all are sent to at once.
    for host in &lab.lab.hosts {
        host.narrow(Duration::from_millis(1), 4_000_000).unwrap();
    }
    for _ in 0..ROUNDS {
        round("docker save | ssh docker load, one host, 4 MB a second", "swarm image push, ten hosts, 4 MB a second each");
    }
}

/// Ansible with the collection that has its modules for Docker, which the package `ansible` brings.
fn with_collection() -> Option<std::path::PathBuf> {
    let program = ansible_program()?;
    let folder = program.parent()?;
    if !folder.join("ansible-community").exists() {
        let packages = ["install", "-q", "ansible", "jsondiff", "pyyaml", "docker", "requests"];
        if !Command::new(folder.join("pip")).args(packages).status().ok()?.success() {
            println!("SKIPPED: the rows of Ansible's modules for stacks and services (pip install ansible failed)");
            return None;
        }
    }
    Some(program)
}

fn plays(lab: &TestLab, compose: &str) -> (String, String) {
    // The hosts' own Python, with the modules that came with Ansible.
    let venv = std::fs::canonicalize("target/bench-venv/lib").unwrap();
    let site = std::fs::read_dir(venv).unwrap().next().unwrap().unwrap().path().join("site-packages");
    let modules = format!("      environment: {{ PYTHONPATH: {} }}\n", site.display());
    let head = "- hosts: managers[0]\n  gather_facts: false\n  tasks:\n";
    let stack = format!(
        "{head}    - community.docker.docker_stack: {{ state: present, name: app, resolve_image: never, compose: [{compose}] }}\n{modules}"
    );
    let services = format!(
        "{head}    - community.docker.docker_network: {{ name: app_default, driver: overlay }}\n{modules}    - community.docker.docker_swarm_service:\n        name: \"app_s{{{{ item }}}}\"\n        image: app:1\n        resolve_image: false\n        command: [/bin/busybox, sleep, \"100000\"]\n        endpoint_mode: dnsrr\n        networks: [app_default]\n        stop_grace_period: 1s\n      loop: \"{{{{ range({SOME}) | list }}}}\"\n{modules}"
    );
    let write = |name: &str, text: &str| {
        let path = lab.lab.dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    (write("stack.yml", &stack), write("services.yml", &services))
}

fn play(program: &Path, lab: &TestLab, playbook: &str) -> Duration {
    let inventory = inventory(lab);
    timed(Command::new(program).arg("-i").arg(inventory).arg(playbook).env("ANSIBLE_PIPELINING", "True"))
}
