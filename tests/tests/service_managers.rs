//! Engines under the service managers that hosts have: systemd of two releases, OpenRC, and Debian's own init script.

use std::path::Path;
use std::time::Duration;
use swarm_core::fleet::Fleet;
use swarm_fleet::Connections;
use swarm_service::{Manager, OnHost, ServiceManager, ServiceManagerRead};
use swarm_tests::cli::{self, Ran};
use swarm_tests::lab::{TestLab, eventually};

const HOSTS: [(&str, Manager); 4] = [("m1", Manager::Systemd), ("m2", Manager::OpenRc), ("m3", Manager::Systemd), ("w1", Manager::SysV)];

fn swarm(file: &Path, verb: &[&str], more: &[&str]) -> Ran {
    cli::run(&[verb, &["-f", file.to_str().unwrap()], more].concat())
}

fn sh(lab: &TestLab, host: &str, script: &str) -> String {
    lab.host(host).exec(&["sh", "-c", script]).unwrap_or_else(|e| panic!("{e}"))
}

fn pid(lab: &TestLab, host: &str) -> String {
    sh(lab, host, "pidof dockerd || true").trim().to_owned()
}

/// Where the tests of a lab stop an engine by a signal, a host of the field has a service manager: it starts the engine again, starts it on
/// the first question to its socket, says that it started what ended at once, or has its variables in a file of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full"]
async fn engines_under_every_service_manager_are_prepared_configured_stopped_and_taken_back() {
    let lab = TestLab::bare(3, 1, &["bookworm:systemd", "bookworm:openrc", "trixie:systemd", "bookworm"]);
    let prepared = |daemon: &str| {
        let proxy = "proxy: { http: \"http://me:hunter2@10.0.0.9:3128\", no_proxy: [localhost] }";
        lab.file(&lab.text_with(&lab.all(""), &format!("prepare: {{ install: distro, daemon: {{ {daemon} }}, {proxy}, firewall: open }}")))
    };
    let file = prepared("log-driver: local");
    let done = swarm(&file, &["apply"], &["--yes"]);
    assert_eq!(done.code, 0, "{done:?}");
    for (host, _) in HOSTS {
        let environment = sh(&lab, host, "tr '\\0' '\\n' </proc/$(pidof dockerd)/environ");
        assert!(environment.contains("HTTP_PROXY=http://me:hunter2@10.0.0.9:3128"), "{host}: {environment}");
    }

    // The port, on each of them.
    let (spec, fleet) = (swarm_tests::lab::spec(&std::fs::read_to_string(&file).unwrap()), Connections::default());
    for (host, manager) in HOSTS {
        let machine = fleet.machine(spec.host(&host.into()).unwrap()).await.unwrap();
        let service = OnHost(machine.as_ref());
        let state = service.state().await.unwrap();
        let before = pid(&lab, host);
        assert_eq!(
            (state.manager, state.at_boot, state.engine.map(|p| p.to_string())),
            (manager, Some(true), Some(before.clone())),
            "{host}"
        );
        service.restart().await.unwrap();
        let restarted = pid(&lab, host);
        assert!(restarted != before && !restarted.is_empty(), "{host}: {before} {restarted}");
        service.stop().await.unwrap();
        service.stop().await.unwrap();
        // Whoever asks on its socket does not start it again.
        let _asked = lab.host(host).exec(&["docker", "version"]);
        assert_eq!((service.state().await.unwrap().engine, pid(&lab, host)), (None, String::new()), "{host}");
        service.start().await.unwrap();
        service.start().await.unwrap();
        assert!(service.state().await.unwrap().engine.is_some(), "{host}");
        // One that does not start is not called started.
        sh(
            &lab,
            host,
            "cp /etc/docker/daemon.json /root/daemon.json; echo '{ \"storage-driver\": \"nonsense\" }' >/etc/docker/daemon.json",
        );
        let failed = service.restart().await.unwrap_err().to_string();
        assert!(failed.contains(&format!("the engine of {host} could not restart")), "{failed}");
        sh(&lab, host, "cp /root/daemon.json /etc/docker/daemon.json");
        service.start().await.unwrap();
        let again = || swarm(&file, &["verify"], &[]).code == 0;
        eventually("all is as the file says", Duration::from_secs(60), again).await;
    }

    // All of them, one after the other, drained for that time.
    let before = HOSTS.map(|(host, _)| pid(&lab, host));
    let restarted = swarm(&file, &["engine", "restart"], &["m1", "m2", "m3", "w1", "--yes", "--accept-downtime"]);
    assert_eq!(restarted.code, 0, "{restarted:?}");
    assert!(HOSTS.iter().zip(&before).all(|((host, _), was)| pid(&lab, host) != *was), "{before:?}");

    // A configuration that the engine does not start with is taken back, and no other host is touched.
    let nonsense = prepared("log-driver: local, storage-driver: nonsense");
    let before = HOSTS.map(|(host, _)| pid(&lab, host));
    let failed = swarm(&nonsense, &["engine", "configure"], &["--yes", "--accept-downtime"]);
    assert!(failed.code == 4 && failed.err.contains("it runs with the old one again"), "{failed:?}");
    let after = HOSTS.map(|(host, _)| pid(&lab, host));
    assert!(before[..3] == after[..3] && before[3] != after[3], "the worker comes first: {before:?} {after:?}");
    for (host, _) in &HOSTS[..3] {
        let failed = swarm(&nonsense, &["engine", "configure", host], &["--yes", "--accept-downtime"]);
        assert!(failed.code == 4 && failed.err.contains("it runs with the old one again"), "{failed:?}");
        assert!(!sh(&lab, host, "cat /etc/docker/daemon.json").contains("nonsense"), "{host}");
    }
    // The nodes that were drained for it get their tasks again.
    let debug = prepared("log-driver: local, debug: true");
    let configured = swarm(&debug, &["engine", "configure"], &["--yes", "--accept-downtime"]);
    assert_eq!(configured.code, 0, "{configured:?}");
    assert!(HOSTS.iter().all(|(host, _)| sh(&lab, host, "cat /etc/docker/daemon.json").contains("\"debug\": true")));

    // A backup stops and starts a manager's engine, whatever manages it.
    for host in ["m1", "m2", "m3"] {
        let backup = lab.lab.dir.join(format!("{host}.backup"));
        let taken = swarm(&debug, &["backup"], &["--from", host, "--accept-downtime", "--yes", "-o", backup.to_str().unwrap()]);
        assert_eq!(taken.code, 0, "{taken:?}");
        let whole = cli::run(&["backup", "verify", backup.to_str().unwrap(), "--checksums-only"]);
        assert_eq!(whole.code, 0, "{whole:?}");
    }

    // After a restart of its host each engine is there again, with the packet filter in place.
    for (host, _) in HOSTS {
        lab.host(host).kill(true).unwrap();
        lab.host(host).start().unwrap();
        let there = || sh(&lab, host, "iptables -S").contains("-j SWARM-") && swarm(&debug, &["verify"], &[]).code == 0;
        eventually("the host is as before", Duration::from_secs(90), there).await;
    }

    // An engine that is stopped and does not come up at boot is kept down, by what its service manager says; one that does is moved aside.
    sh(&lab, "m3", "systemctl disable --now docker.service docker.socket 2>&1");
    sh(&lab, "m2", "rc-update del docker default; rc-service docker stop");
    let shown = swarm(&debug, &["recover", "m1"], &["--dry-run"]);
    assert!(shown.code == 2 && shown.out.matches("see-stopped").count() == 2 && !shown.out.contains("set-state-aside"), "{shown:?}");
    sh(&lab, "m2", "rc-update add docker default");
    let shown = swarm(&debug, &["recover", "m1"], &["--dry-run"]);
    assert!(shown.code == 2 && shown.out.contains("m2\n  ~ set-state-aside") && shown.out.contains("m3\n  ~ see-stopped"), "{shown:?}");
    sh(&lab, "m2", "rc-service docker start");
    sh(&lab, "m3", "systemctl enable --now docker.service docker.socket 2>&1");
    let back = || swarm(&debug, &["verify"], &[]).code == 0;
    eventually("the managers are back", Duration::from_secs(90), back).await;

    // All of it is taken back.
    assert_eq!(swarm(&debug, &["destroy"], &["--yes"]).code, 0);
    let reset = swarm(&debug, &["reset", "m1", "m2", "m3", "w1"], &["--yes"]);
    assert_eq!(reset.code, 0, "{reset:?}");
    let left = "pidof dockerd; command -v dockerd; ls -d /var/lib/swarm-prepare; iptables -S | grep SWARM; \
        find /etc -name '*swarm-*'; grep -rl hunter2 /etc; true";
    for (host, _) in HOSTS {
        assert_eq!(sh(&lab, host, &format!("({left}) 2>/dev/null")), "", "{host}");
    }
    for ran in [&done, &failed, &configured, &reset] {
        assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
    }
}
