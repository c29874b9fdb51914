//! A cluster from nothing: beside the engines alone, `ssh`, a shell script and Ansible, over slow links and bad ones, and of forty hosts.

use super::{Rows, ansible, ansible_program, by_hand, inventory, reset, script, settle, swarm};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use swarm_tests::lab::TestLab;

const ROUNDS: usize = 5;

pub(super) fn cold(rows: &mut Rows, runtime: &tokio::runtime::Runtime) {
    let lab = TestLab::up(3, 7);
    let file = lab.lab.file();
    let file = file.to_str().unwrap();
    let all: Vec<String> = lab.lab.hosts.iter().map(|h| h.name.clone()).collect();
    // The same hosts by the user's own `ssh`.
    let by_openssh = lab.lab.dir.join("by-openssh.yaml");
    let text = std::fs::read_to_string(file).unwrap().replacen("ssh:\n", "ssh:\n  client: openssh\n", 1);
    std::fs::write(&by_openssh, text).unwrap();
    let by_openssh = by_openssh.to_str().unwrap();

    for _ in 0..ROUNDS {
        runtime.block_on(reset(&lab));
        rows.add("engines alone, init and joins at once", runtime.block_on(by_hand(&lab)));
        runtime.block_on(reset(&lab));
        rows.add("swarm apply, cold", swarm(&["apply", "-f", file, "--yes"]));
        settle(&lab);
        rows.add("swarm apply, nothing to do", swarm(&["apply", "-f", file, "--yes"]));
        rows.add("ten times `ssh HOST true` at once", ssh_true(&lab));
        rows.add("swarm plan, nothing to do", swarm(&["plan", "-f", file]));
        rows.add("swarm check, ten hosts, every port", swarm(&["check", "-f", file]));
        rows.add("swarm plan, nothing to do, client: openssh", swarm(&["plan", "-f", by_openssh]));
        runtime.block_on(reset(&lab));
        rows.add("swarm apply, cold, client: openssh", swarm(&["apply", "-f", by_openssh, "--yes"]));
        runtime.block_on(reset(&lab));
        rows.add("shell script over ssh, cold", script(&lab));
        settle(&lab);
        rows.add("shell script over ssh, nothing to do", script(&lab));
    }
    for host in &lab.lab.hosts {
        host.delay(Duration::from_millis(25), None).unwrap();
    }
    for _ in 0..ROUNDS {
        runtime.block_on(reset(&lab));
        rows.add("swarm apply, cold, 50 ms link", swarm(&["apply", "-f", file, "--yes"]));
    }
    for host in &lab.lab.hosts {
        host.delay(Duration::ZERO, None).unwrap();
    }
    match ansible_program() {
        Some(program) => {
            let inventory = inventory(&lab);
            for _ in 0..2 {
                runtime.block_on(reset(&lab));
                rows.add("ansible, cold", ansible(&program, &inventory));
                settle(&lab);
                rows.add("ansible, nothing to do", ansible(&program, &inventory));
            }
        }
        None => println!("SKIPPED: ansible could not be installed (python3 -m venv, pip install ansible-core); its rows are missing"),
    }
    let memory = lab.lab.hosts.iter().map(swarm_lab::LabHost::memory).max().unwrap_or(0) / 1_000_000;
    println!("{} hosts, the largest uses {memory} MB\n", all.len());
}

/// A link of 100 ms on which every hundredth packet is lost, each way.
pub(super) fn lossy(rows: &mut Rows, runtime: &tokio::runtime::Runtime) {
    let lab = TestLab::up(3, 7);
    let file = lab.lab.file();
    let file = file.to_str().unwrap();
    for host in &lab.lab.hosts {
        host.delay(Duration::from_millis(50), None).unwrap();
        for [chain, way, port] in [["INPUT", "-i", "--dport"], ["OUTPUT", "-o", "--sport"]] {
            let loss = ["iptables", "-w", "-I", chain, way, "eth0", "-p", "tcp", port, "2022", "-m", "statistic", "--mode", "random"];
            host.exec(&[&loss[..], &["--probability", "0.01", "-j", "DROP"]].concat()).unwrap();
        }
    }
    for _ in 0..ROUNDS {
        runtime.block_on(reset(&lab));
        rows.add("swarm apply, cold, 100 ms link that loses 1 %", swarm(&["apply", "-f", file, "--yes"]));
    }
}

/// What `ssh` itself needs to be on ten hosts at once.
fn ssh_true(lab: &TestLab) -> Duration {
    let began = Instant::now();
    let known = format!("UserKnownHostsFile={}", lab.lab.known_hosts().display());
    let running: Vec<_> = lab
        .lab
        .hosts
        .iter()
        .map(|host| {
            let mut ssh = Command::new("ssh");
            ssh.args(["-o", "BatchMode=yes", "-o", &known, "-i"]).arg(lab.lab.key()).arg(format!("root@{}", host.address)).arg("true");
            ssh.stdin(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut ssh in running {
        assert!(ssh.wait().unwrap().success());
    }
    began.elapsed()
}

/// Runs the program and gives how long it took and the most memory that it had, in MB.
fn with_peak(args: &[&str]) -> (Duration, u64) {
    let began = Instant::now();
    let mut child = swarm_tests::cli::command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let now = status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
        peak = peak.max(now.unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return (began.elapsed(), peak / 1000);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Forty hosts on the same processors.
pub(super) fn forty(rows: &mut Rows, runtime: &tokio::runtime::Runtime) {
    let lab = TestLab::up(3, 37);
    let file = lab.lab.file();
    let file = file.to_str().unwrap();
    let mut most = 0;
    for _ in 0..3 {
        runtime.block_on(reset(&lab));
        rows.add("engines alone, forty hosts", runtime.block_on(by_hand(&lab)));
        runtime.block_on(reset(&lab));
        let (took, peak) = with_peak(&["apply", "-f", file, "--yes"]);
        rows.add("swarm apply, cold, forty hosts", took);
        most = most.max(peak);
    }
    println!("forty hosts, cold: the program has {most} MB at the most; wanted are 40\n");
}
