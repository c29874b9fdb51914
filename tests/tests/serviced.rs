//! Hosts with nothing on them but SSH become a swarm, and are drained, worked on, restarted and upgraded under a client that asks all the while.

use crate::deploys::{Bed, images};
use crate::rolling::{Client, serving};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use swarm_tests::cli::{self, Ran};
use swarm_tests::lab::TestLab;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full"]
async fn bare_hosts_are_serviced_without_a_failed_request() {
    let lab = TestLab::bare(3, 3, &["bookworm", "trixie"]);
    let file = lab.file(&lab.text_with(&lab.all(""), "prepare: { install: distro }"));
    let dir = lab.lab.dir.join("app");
    std::fs::create_dir_all(&dir).unwrap();
    let bed = Bed { lab, file, dir };
    let lab = &bed.lab;
    let swarm = |args: &[&str]| -> Ran { cli::run(&[args, &["-f", bed.file.to_str().unwrap()]].concat()) };
    let ready = swarm(&["apply", "--yes"]);
    assert_eq!(ready.code, 0, "{ready:?}");
    images(lab, &["app:1"]);
    bed.write("page", "page\n");
    bed.write("app.yml", &serving("app:1", 3));
    let up = bed.deploy(&[]);
    assert_eq!(up.code, 0, "{up:?}");

    // The client lives on w1, which has the newer engine and is left alone.
    let client = Client::start(&bed, "w1");
    let drained = swarm(&["node", "drain", "w2", "--zero-downtime", "--yes"]);
    assert_eq!(drained.code, 0, "{drained:?}");
    assert_eq!(swarm(&["node", "activate", "w2"]).code, 0);
    client.saw_no_failure().await;
    lab.docker("w1", &["rm", "client"]);

    let client = Client::start(&bed, "w1");
    let served = bed.swarm_first(&["maintain", "w3", "m2"], &["--yes", "--", "/etc/init.d/docker", "restart"]);
    assert_eq!(served.code, 0, "{served:?}");
    client.saw_no_failure().await;
    lab.docker("w1", &["rm", "client"]);

    let client = Client::start(&bed, "w1");
    let stop = AtomicBool::new(false);
    let restarted = std::thread::scope(|scope| {
        // What a firmware does: power off, and on again.
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                for name in ["w2", "m3"] {
                    let host = lab.host(name);
                    if std::fs::remove_file(host.run_dir().join("please-restart")).is_ok() {
                        host.kill(true).unwrap();
                        host.start().unwrap();
                    }
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let restarted = bed.swarm_first(&["reboot", "w2", "m3"], &["--yes", "--", "touch", "/run/please-restart"]);
        stop.store(true, Ordering::SeqCst);
        restarted
    });
    assert_eq!(restarted.code, 0, "{restarted:?}");
    client.saw_no_failure().await;
    lab.docker("w1", &["rm", "client"]);

    // The older release gets the packages of the newer one: its engine, and the C library with it.
    let versions = || -> BTreeMap<String, String> {
        let ran = swarm(&["engine", "ls", "--format", "json"]);
        let list: serde_json::Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
        let word = |e: &serde_json::Value, key: &str| e[key].as_str().unwrap_or_default().to_owned();
        list["engines"].as_array().unwrap().iter().map(|e| (word(e, "host"), word(e, "version"))).collect()
    };
    let old = || versions().into_iter().filter(|(_, v)| v.starts_with("20.10")).map(|(host, _)| host).collect::<Vec<_>>();
    assert_eq!(old(), ["m1", "m3", "w2"]);
    for host in ["m1", "m3", "w2"] {
        lab.host(host).exec(&["sh", "-c", "sed -i p\\;s/bookworm/trixie/g /etc/apt/sources.list"]).unwrap();
    }
    let client = Client::start(&bed, "w1");
    let upgraded = swarm(&["engine", "upgrade", "--to", "26.1", "--yes"]);
    assert_eq!(upgraded.code, 0, "{upgraded:?}");
    client.saw_no_failure().await;
    assert_eq!(old(), [""; 0]);
    // The newer C library comes with a newer sshd, which the package restarts where an init system started it; here the lab did.
    let sshd = "kill $(cat /run/sshd.pid); /usr/sbin/sshd -f /etc/ssh/sshd_config";
    for host in ["m1", "m3", "w2"] {
        lab.host(host).exec(&["sh", "-c", sshd]).unwrap();
    }
    let verified = swarm(&["verify", "--timeout", "30s"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    let plan = swarm(&["plan"]);
    assert_eq!(plan.code, 0, "{plan:?}");
}
