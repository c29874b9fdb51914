//! Ten hosts serviced one after the other, beside the same by hand and by Ansible; their engines upgraded; six bare hosts made ready.

use super::{Rows, ansible_program, inventory, play, settle, swarm};
use crate::days::service;
use std::time::{Duration, Instant};
use swarm_tests::lab::TestLab;

const ROUNDS: usize = 3;
const RESTART: [&str; 2] = ["/etc/init.d/docker", "restart"];

/// Workers first, as everyone does it.
fn names(lab: &TestLab) -> Vec<String> {
    let (managers, workers): (Vec<String>, Vec<String>) = lab.lab.hosts.iter().map(|h| h.name.clone()).partition(|n| n.starts_with('m'));
    workers.into_iter().chain(managers).collect()
}

/// Until a script on a host prints what is wanted.
fn until(lab: &TestLab, host: &str, script: &str, wanted: &str) {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        let said = lab.host(host).exec(&["sh", "-c", script]).unwrap_or_default();
        if said.trim() == wanted {
            return;
        }
        assert!(Instant::now() < end, "{host}: `{script}` says {said}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Sets a node's availability: an election may be under way, and then it is asked for again.
fn set(lab: &TestLab, by: &str, host: &str, availability: &str) {
    until(lab, by, &format!("docker node update --availability {availability} {host} 2>/dev/null"), host);
}

/// Each host is drained, its engine restarted by this command, and it is activated again when it is ready: the sum of these.
fn by_hand(lab: &TestLab, restart: &[&str]) -> Duration {
    let began = Instant::now();
    for host in names(lab) {
        let other = if host == "m1" { "m2" } else { "m1" };
        set(lab, other, &host, "drain");
        until(lab, &host, "docker ps -q", "");
        lab.host(&host).exec(restart).unwrap();
        let state = format!(
            "docker node inspect -f '{{{{.Status.State}}}} {{{{if .ManagerStatus}}}}{{{{.ManagerStatus.Reachability}}}}{{{{else}}}}reachable{{{{end}}}}' {host}"
        );
        until(lab, other, &state, "ready reachable");
        set(lab, other, &host, "active");
    }
    began.elapsed()
}

/// A command that puts another engine in the place of the one that is there, as a package does.
fn replaces(lab: &TestLab, engine: &std::path::Path) -> String {
    let engine = engine.display();
    for host in &lab.lab.hosts {
        let folder = host.run_dir();
        let kept = folder.parent().unwrap().join("engine");
        let script = format!(
            "#!/bin/sh\nprintf %s '{engine}' >'{}'\nmount --bind '{engine}/usr/sbin/dockerd' /usr/sbin/dockerd\n/etc/init.d/docker restart\n",
            kept.display()
        );
        std::fs::write(folder.join("replace"), script).unwrap();
        host.exec(&["chmod", "755", "/run/replace"]).unwrap();
    }
    "/run/replace".to_owned()
}

pub(super) fn serviced(rows: &mut Rows) {
    let lab = TestLab::up(3, 7);
    let file = lab.lab.file();
    let file = file.to_str().unwrap();
    swarm(&["apply", "-f", file, "--yes"]);
    service(&lab);
    let all = names(&lab);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let program = ansible_program();
    for round in 0..ROUNDS {
        settle(&lab);
        rows.add("ten hosts drained and restarted by hand", by_hand(&lab, &RESTART));
        settle(&lab);
        rows.add("swarm maintain, ten hosts", swarm(&[&["maintain"], &all[..], &["-f", file, "--yes", "--"], &RESTART].concat()));
        if let (Some(program), true) = (&program, round < 2) {
            settle(&lab);
            rows.add("ansible, ten hosts drained and restarted", play(program, &inventory(&lab), "maintain.yml"));
        }
    }
    drop(lab);
    let newer = swarm_tests::engines::newer().first().filter(|_| swarm_tests::engines::version().starts_with("20.10"));
    let Some(engine) = newer else {
        println!("SKIPPED: the upgrade of ten hosts takes engine 20.10 and a newer one");
        return;
    };
    for _ in 0..2 {
        for ours in [false, true] {
            let lab = TestLab::up(3, 7);
            let file = lab.lab.file();
            let file = file.to_str().unwrap();
            swarm(&["apply", "-f", file, "--yes"]);
            service(&lab);
            let command = replaces(&lab, engine);
            settle(&lab);
            match ours {
                true => {
                    let upgrade = ["engine", "upgrade", "-f", file, "--to", "26.1", "--yes", "--", &command];
                    rows.add("swarm engine upgrade, ten hosts", swarm(&upgrade));
                }
                false => rows.add("ten hosts drained and upgraded by hand", by_hand(&lab, &[&command])),
            }
        }
    }
}

/// Six hosts of two releases that have nothing but SSH: their own package manager alone, a whole `swarm apply`, and Ansible.
pub(super) fn bare(rows: &mut Rows) {
    let apt = "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Options::=--force-confold install \
        --no-install-recommends docker.io ca-certificates && /etc/init.d/docker start && until [ -S /run/docker.sock ]; do sleep 0.05; done";
    let suites = ["bookworm", "trixie"];
    let program = ansible_program();
    // The first time packages are fetched from afar; from then on they are kept.
    for round in 0..4 {
        let lab = TestLab::bare(3, 3, &suites);
        let began = Instant::now();
        std::thread::scope(|scope| {
            for host in &lab.lab.hosts {
                scope.spawn(|| host.exec(&["sh", "-c", apt]).unwrap());
            }
        });
        if round > 0 {
            rows.add("six bare hosts, apt alone", began.elapsed());
        }
        drop(lab);
        let lab = TestLab::bare(3, 3, &suites);
        let file = lab.file(&lab.text_with(&lab.all(""), "prepare: { install: distro }"));
        let took = swarm(&["apply", "-f", file.to_str().unwrap(), "--yes"]);
        if round > 0 {
            rows.add("six bare hosts, swarm apply", took);
        }
        drop(lab);
        if let (Some(program), true) = (&program, round < 3) {
            let lab = TestLab::bare(3, 3, &suites);
            let inventory = inventory(&lab);
            let took = play(program, &inventory, "prepare.yml") + play(program, &inventory, "swarm.yml");
            if round > 0 {
                rows.add("six bare hosts, ansible", took);
            }
        }
    }
}
