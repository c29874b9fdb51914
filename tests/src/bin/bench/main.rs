//! Measures in one run, as ratios: this machine is noisy, and a number alone means little. Prints a table for docs/benchmarks.md.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a measuring program"
)]

mod cold;
mod days;
mod serviced;
mod work;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use swarm_core::engine::{Force, InitRequest, JoinRequest, Membership, MembershipRead};
use swarm_core::observe::{Fact, NodeState, SeenAt};
use swarm_core::spec::{Availability, InitSettings, Role, SwarmSettings};
use swarm_docker::DockerEngine;
use swarm_tests::lab::TestLab;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let given = |flag: &str| std::env::args().any(|a| a == flag);
    let mut rows = Rows::default();
    if given("--prepare") {
        serviced::bare(&mut rows);
        rows.print();
        return;
    }
    if given("--cold") {
        planner();
        cold::cold(&mut rows, &runtime);
        cold::lossy(&mut rows, &runtime);
        cold::forty(&mut rows, &runtime);
        rows.print();
        return;
    }
    if given("--days") {
        days::days(&mut rows, &runtime);
        rows.print();
        return;
    }
    if given("--serviced") {
        serviced::serviced(&mut rows);
        rows.print();
        return;
    }
    if given("--work") {
        work::plans();
        work::work(&mut rows, &runtime);
        rows.print();
        return;
    }
    planner();
    simulator();
    work::plans();
    if given("--without-lab") {
        return;
    }
    serviced::bare(&mut rows);
    serviced::serviced(&mut rows);
    days::days(&mut rows, &runtime);
    work::work(&mut rows, &runtime);
    cold::cold(&mut rows, &runtime);
    cold::lossy(&mut rows, &runtime);
    cold::forty(&mut rows, &runtime);
    rows.print();
}

/// 10,000 hosts through the reader and the planner, in this process.
fn planner() {
    let mut text = String::from("name: big\nhosts:\n");
    for i in 0..10_000u32 {
        let role = if i < 7 { "manager" } else { "worker" };
        let _ = writeln!(
            text,
            "  h{i}: {{ address: 10.{}.{}.{}, role: {role}, labels: {{ rack: r{} }} }}",
            1 + i / 60_000,
            i / 250 % 250,
            1 + i % 250,
            i % 40
        );
    }
    let began = Instant::now();
    let spec = swarm_file::parse(&text, &|_| None).unwrap().spec;
    let read = began.elapsed();
    let hosts = spec.hosts().map(|h| (h.name.clone(), alone(h.name.as_str()))).collect();
    let observation = swarm_core::observe::Observation { hosts, ..Default::default() };
    let began = Instant::now();
    let observed = swarm_core::observe::merge(&spec, &observation, &Default::default());
    let planned = swarm_core::plan::build(&spec, &observed, &Default::default());
    let elapsed = began.elapsed();
    let swarm_core::plan::Planned::Plan(plan) = planned else { panic!("refused") };
    println!("planner, 10,000 hosts: read {read:.2?}, plan of {} steps {elapsed:.2?}, {} MB at the peak", plan.steps.len(), peak());
}

/// Bootstraps of simulated clusters through the whole state machine: the cost of a host must not grow with their number.
fn simulator() {
    println!("| simulated hosts | bootstrap | a host | calls a host | peak memory |\n|---|---|---|---|---|");
    for hosts in [100, 1_000, 10_000] {
        let spec = swarm_tests::sim::spec(&swarm_tests::sim::many(hosts));
        let began = Instant::now();
        let calls = swarm_sim::run(async {
            let world = swarm_sim::World::of(&spec, 1);
            let fleet = world.fleet("bench");
            let apply = swarm_core::Apply::new(&spec, &fleet);
            let (plan, observed) = apply.plan().await.unwrap();
            assert_eq!(apply.run(&plan, &observed).await.ending, swarm_core::report::Ending::Converged);
            world.calls().0
        });
        let took = began.elapsed();
        println!(
            "| {hosts} | {:.2} s | {:.2} ms | {:.1} | {} MB |",
            took.as_secs_f64(),
            took.as_secs_f64() * 1000.0 / f64::from(hosts),
            calls as f64 / f64::from(hosts),
            peak()
        );
    }
    println!();
}

/// The most memory that this process has had, in MB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    peak.unwrap_or(0) / 1000
}

fn alone(name: &str) -> swarm_core::observe::HostReport {
    use swarm_core::observe::{EngineFacts, HostReport, MachineFacts};
    let engine = EngineFacts::outside(name.into(), name, "28.0.0");
    HostReport { machine: Fact::Known(MachineFacts::default(), SeenAt::default()), ..HostReport::of(Ok(engine)) }
}

#[derive(Default)]
struct Rows(Vec<(&'static str, Vec<Duration>)>);

impl Rows {
    /// Notes a time, and says it at once: a run that is cut off has said something.
    fn add(&mut self, name: &'static str, time: Duration) {
        eprintln!("{name}: {:.2} s", time.as_secs_f64());
        match self.0.iter_mut().find(|(n, _)| *n == name) {
            Some((_, times)) => times.push(time),
            None => self.0.push((name, vec![time])),
        }
    }

    fn median(&self, name: &str) -> Option<f64> {
        let mut times = self.0.iter().find(|(n, _)| *n == name)?.1.clone();
        times.sort();
        Some(times[times.len() / 2].as_secs_f64())
    }

    fn print(&self) {
        println!("| what | median | least | most | runs |\n|---|---|---|---|---|");
        for (name, times) in &self.0 {
            let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
            println!(
                "| {name} | {:.2} s | {:.2} s | {:.2} s | {} |",
                self.median(name).unwrap(),
                least.as_secs_f64(),
                most.as_secs_f64(),
                times.len()
            );
        }
        println!("\n| ratio | measured | wanted |\n|---|---|---|");
        let of = |name: &str| self.median(name).unwrap_or(f64::NAN);
        let (cold, again) = (of("swarm apply, cold"), of("swarm apply, nothing to do"));
        let ratio = |what: &str, value: Option<f64>, wanted: &str| match value.filter(|v| v.is_finite()) {
            Some(value) => println!("| {what} | {value:.2} | {wanted} |"),
            None => println!("| {what} | not measured | {wanted} |"),
        };
        ratio("cold / engines alone", self.median("engines alone, init and joins at once").map(|e| cold / e), "at most 1.15");
        ratio("nothing to do / ten times ssh", self.median("ten times `ssh HOST true` at once").map(|s| again / s), "at most 0.4");
        ratio(
            "50 ms link: round trips more than cold",
            self.median("swarm apply, cold, 50 ms link").map(|d| (d - cold) / 0.05),
            "at most 8",
        );
        ratio(
            "forty hosts, cold / engines alone",
            self.median("swarm apply, cold, forty hosts").zip(self.median("engines alone, forty hosts")).map(|(o, e)| o / e),
            "at most 1.2",
        );
        ratio("client openssh / native, cold", self.median("swarm apply, cold, client: openssh").map(|o| o / cold), "at most 1.5");
        ratio(
            "six bare hosts to a swarm / the slowest host's own packages",
            self.median("six bare hosts, swarm apply").zip(self.median("six bare hosts, apt alone")).map(|(o, a)| o / a),
            "at most 1.15",
        );
        for (what, ours, theirs, wanted) in [
            ("six bare hosts", "swarm apply", "ansible", ""),
            ("maintain of ten hosts", "swarm maintain, ten hosts", "ansible, ten hosts drained and restarted", ""),
        ] {
            let of = |name: &str| self.median(name).or_else(|| self.median(&format!("{what}, {name}")));
            ratio(&format!("{what}: ansible / swarm"), of(ours).zip(of(theirs)).map(|(o, t)| t / o), wanted);
        }
        for (what, ours, hand) in [
            ("maintain", "swarm maintain, ten hosts", "ten hosts drained and restarted by hand"),
            ("engine upgrade", "swarm engine upgrade, ten hosts", "ten hosts drained and upgraded by hand"),
        ] {
            let more = self.median(ours).zip(self.median(hand)).map(|(o, h)| (o - h) / 10.0);
            ratio(&format!("{what} of ten hosts: seconds a host more than by hand"), more, "at most 2");
        }
        ratio("check of ten hosts with every port, seconds", self.median("swarm check, ten hosts, every port"), "at most 2");
        for verb in ["drain", "activate", "promote", "demote"] {
            ratio(&format!("{verb}: seconds behind the engine"), self.median(&format!("behind the engine: {verb}")), "at most 0.5");
        }
        ratio(
            "backup: seconds more than stop, copy and start by hand",
            self.median("swarm backup").zip(self.median("backup by hand: stop, copy, start")).map(|(o, h)| o - h),
            "at most 1",
        );
        for verb in ["node ls", "certs", "adopt"] {
            let of = |verb: &str| self.median(&format!("swarm {verb}, forty hosts"));
            ratio(&format!("{verb} / status, forty hosts"), of(verb).zip(of("status")).map(|(v, s)| v / s), "at most 1");
        }
        let (ours, whole) = (
            self.median("swarm stack deploy, 20 services until they run"),
            self.median("swarm stack deploy, 20 services, the whole process"),
        );
        let beside = |name: &str| self.median(name).zip(ours);
        let (engines, docker) = ("engines alone, 20 services until they run", "docker stack deploy, 20 services until they run");
        ratio("20 services until they run: swarm / docker CLI", beside(docker).map(|(d, o)| o / d), "at most 1");
        ratio("20 services until they run: swarm / engines alone", beside(engines).map(|(e, o)| o / e), "at most 1.1");
        let remote = "docker stack deploy over ssh, 20 services until they run";
        ratio("20 services until they run, both over ssh: swarm / docker CLI", beside(remote).map(|(d, o)| o / d), "at most 1");
        let docker = "docker stack deploy --detach=false, 20 services";
        ratio(
            "20 services, both wait until they are up: swarm / docker CLI",
            self.median(docker).zip(whole).map(|(d, o)| o / d),
            "at most 1",
        );
        let detached = self.median("swarm stack deploy --detach, 20 services");
        for what in ["docker_stack", "docker_swarm_service"] {
            let ansible = self.median(&format!("ansible {what}, 20 services"));
            ratio(&format!("20 services, neither waits: ansible {what} / swarm"), ansible.zip(detached).map(|(a, o)| a / o), "at least 8");
        }
        ratio("50 services, nothing to do, seconds", self.median("swarm stack deploy, 50 services, nothing to do"), "at most 0.3");
        let pushed = self.median("swarm image push, ten hosts").zip(self.median("docker save | ssh docker load, one host"));
        ratio("image push to ten hosts / one save and load", pushed.map(|(p, l)| p / l), "at most 1.3");
        let narrow = self.median("swarm image push, ten hosts, 4 MB a second each");
        let pushed = narrow.zip(self.median("docker save | ssh docker load, one host, 4 MB a second"));
        ratio("the same, 4 MB a second to each host", pushed.map(|(p, l)| p / l), "at most 1.3");
        ratio("shell script / swarm, cold", self.median("shell script over ssh, cold").map(|s| s / cold), "");
        ratio("ansible / swarm, cold", self.median("ansible, cold").map(|a| a / cold), "at least 8");
        ratio("ansible / swarm, nothing to do", self.median("ansible, nothing to do").map(|a| a / again), "at least 15");
    }
}

fn timed(command: &mut Command) -> Duration {
    let began = Instant::now();
    let output = command.output().unwrap();
    let elapsed = began.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}{said}", String::from_utf8_lossy(&output.stdout));
    elapsed
}

fn swarm(args: &[&str]) -> Duration {
    timed(&mut swarm_tests::cli::command(args))
}

async fn engines(lab: &TestLab) -> Vec<DockerEngine> {
    let mut engines = Vec::new();
    for host in &lab.lab.hosts {
        engines.push(DockerEngine::local(host.socket().to_str().unwrap()).await.unwrap());
    }
    engines
}

/// Takes every engine out of its swarm.
async fn reset(lab: &TestLab) {
    let tasks: Vec<_> = engines(lab).await.into_iter().map(|e| tokio::spawn(async move { e.leave(Force::Yes).await })).collect();
    for task in tasks {
        let _ = task.await.unwrap();
    }
    lab.lets_go();
    settle(lab);
}

/// Waits until the engines have little to do: what they do after a join or a leave would count against what is measured next.
fn settle(lab: &TestLab) {
    let spent = || lab.lab.hosts.iter().map(swarm_lab::LabHost::processor_time).sum::<Duration>();
    let mut before = spent();
    for _ in 0..60 {
        std::thread::sleep(Duration::from_millis(500));
        let now = spent();
        if now.saturating_sub(before) < Duration::from_millis(60) {
            return;
        }
        before = now;
    }
}

/// What the engines themselves need: the init, then all joins at once, until a manager lists all as they are to be.
async fn by_hand(lab: &TestLab) -> Duration {
    let engines = engines(lab).await;
    let hosts = &lab.lab.hosts;
    let began = Instant::now();
    let (listen, availability) = ("0.0.0.0:2377".to_owned(), Availability::Active);
    let init = InitRequest {
        advertise: hosts[0].address,
        listen: listen.clone(),
        data_path: None,
        availability,
        settings: SwarmSettings::default(),
        init: InitSettings::default(),
        labels: Default::default(),
    };
    engines[0].init(&init).await.unwrap();
    let tokens = [engines[0].join_token(Role::Manager).await.unwrap(), engines[0].join_token(Role::Worker).await.unwrap()];
    let remote = format!("{}:2377", hosts[0].address);
    let joins: Vec<_> = (1..hosts.len())
        .map(|i| {
            let (engine, token) = (engines[i].clone(), tokens[usize::from(!hosts[i].name.starts_with('m'))].clone());
            let request =
                JoinRequest { advertise: hosts[i].address, listen: listen.clone(), data_path: None, availability, remote: remote.clone() };
            tokio::spawn(async move { engine.join(&request, &token).await.unwrap() })
        })
        .collect();
    for join in joins {
        join.await.unwrap();
    }
    loop {
        let nodes = engines[0].nodes().await.unwrap();
        let managers = nodes.iter().filter(|n| n.is_reachable_manager()).count();
        if managers == 3 && nodes.iter().filter(|n| n.state == NodeState::Ready).count() == hosts.len() {
            return began.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The same with `ssh` and the docker command line, as one would write it by hand: shared connections, joins side by side.
fn script(lab: &TestLab) -> Duration {
    let mut text = String::from("set -e\n");
    let control = lab.lab.dir.join("ctl-%h");
    let _ = writeln!(
        text,
        "S=\"ssh -o BatchMode=yes -o UserKnownHostsFile={} -o ControlMaster=auto -o ControlPersist=5 -o ControlPath={} -i {}\"",
        lab.lab.known_hosts().display(),
        control.display(),
        lab.lab.key().display()
    );
    let first = lab.lab.hosts[0].address;
    let state = "docker info --format '{{.Swarm.LocalNodeState}}'";
    let _ = writeln!(
        text,
        "[ \"$($S root@{first} \"{state}\")\" = active ] || $S root@{first} docker swarm init --advertise-addr {first} >/dev/null"
    );
    let _ =
        writeln!(text, "M=$($S root@{first} docker swarm join-token -q manager); W=$($S root@{first} docker swarm join-token -q worker)");
    for host in &lab.lab.hosts[1..] {
        let token = if host.name.starts_with('m') { "$M" } else { "$W" };
        let at = host.address;
        let _ = writeln!(
            text,
            "( [ \"$($S root@{at} \"{state}\")\" = active ] || $S root@{at} docker swarm join --token {token} --advertise-addr {at} {first}:2377 >/dev/null ) &"
        );
    }
    let count = lab.lab.hosts.len();
    let _ = writeln!(text, "wait\nuntil [ \"$($S root@{first} docker node ls | grep -c Ready)\" = {count} ]; do sleep 0.1; done");
    timed(Command::new("sh").arg("-c").arg(&text))
}

fn inventory(lab: &TestLab) -> PathBuf {
    let mut text = String::new();
    for (group, letter) in [("managers", 'm'), ("workers", 'w')] {
        let _ = writeln!(text, "[{group}]");
        for host in lab.lab.hosts.iter().filter(|h| h.name.starts_with(letter)) {
            let _ = writeln!(text, "{} ansible_host={}", host.name, host.address);
        }
    }
    let _ = writeln!(
        text,
        "[all:vars]\nansible_user=root\nansible_python_interpreter=/usr/bin/python3\nansible_ssh_private_key_file={}",
        lab.lab.key().display()
    );
    let _ = writeln!(text, "ansible_ssh_common_args=-o UserKnownHostsFile={}", lab.lab.known_hosts().display());
    let path = lab.lab.dir.join("inventory");
    std::fs::write(&path, text).unwrap();
    path
}

/// Ansible in an environment of its own below `target/`.
fn ansible_program() -> Option<PathBuf> {
    let venv = Path::new("target/bench-venv");
    let program = venv.join("bin/ansible-playbook");
    if !program.exists() {
        let made = Command::new("python3").args(["-m", "venv"]).arg(venv).status().ok()?.success();
        let installed = made && Command::new(venv.join("bin/pip")).args(["install", "-q", "ansible-core"]).status().ok()?.success();
        if !installed {
            return None;
        }
    }
    Some(program)
}

fn ansible(program: &Path, inventory: &Path) -> Duration {
    play(program, inventory, "swarm.yml")
}

/// A playbook of our own.
fn play(program: &Path, inventory: &Path, playbook: &str) -> Duration {
    let playbook = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench").join(playbook);
    timed(
        Command::new(program)
            .args(["-f", "50", "-i"])
            .arg(inventory)
            .arg(playbook)
            .env("ANSIBLE_PIPELINING", "True")
            .env("ANSIBLE_HOST_KEY_CHECKING", "True"),
    )
}
