//! What a cluster goes through: a power cut of everything, an operator cut off from half of it, its secrets replaced while hosts join.

use crate::deploys::Bed;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use swarm_tests::cli::{self, Ran};
use swarm_tests::lab::{TestLab, eventually};

const WEB: &str = "services:
  web:
    image: app:1
    command: /bin/httpd -f -p 80
    networks: [front]
    deploy: { replicas: 3, endpoint_mode: dnsrr }
networks: { front: {} }
";

/// Every host loses its power at once, with managers that are locked after a restart: said for what it is, unlocked by one verb, and all
/// that ran runs again.
#[tokio::test]
#[ignore = "full"]
async fn everything_comes_back_after_a_power_cut() {
    let bed = Bed::up(3, 1).await;
    let key = bed.lab.lab.dir.join("key");
    let text = format!("{}swarm: {{ autolock: true, unlock_key_file: {} }}\n", bed.lab.text(&bed.lab.all("")), key.display());
    bed.describe(&text);
    assert_eq!(bed.swarm(&["apply", "--yes"]).code, 0);
    bed.write("app.yml", WEB);
    assert_eq!(bed.deploy(&[]).code, 0);
    let id = bed.lab.docker("m1", &["info", "--format", "{{.Swarm.Cluster.ID}}"]);

    for host in &bed.lab.lab.hosts {
        host.kill(true).unwrap();
    }
    let dark = bed.swarm(&["status"]);
    assert!(dark.code == 3 && !dark.out.contains("no swarm"), "unknown is not none: {dark:?}");
    let refused = bed.swarm(&["apply", "--yes"]);
    assert_eq!(refused.code, 1, "nothing can be done: {refused:?}");
    for host in &bed.lab.lab.hosts {
        host.start().unwrap();
        host.wait_up().unwrap();
    }
    // Locked managers are no lost quorum and no new cluster.
    let locked = bed.swarm(&["plan"]);
    assert_eq!(locked.code, 1, "{locked:?}");
    let said = format!("{}{}", locked.out, locked.err);
    assert!(said.contains("unlock") && !said.contains("force-new-cluster") && !said.contains("recover"), "{said}");
    let unlocked = bed.swarm(&["unlock", "--all"]);
    assert_eq!(unlocked.code, 0, "{unlocked:?}");
    let mut last = None;
    eventually("it is as the file wants it", Duration::from_secs(90), || {
        let verified = bed.swarm(&["verify"]);
        let done = verified.code == 0;
        last = Some(verified);
        done
    })
    .await;
    assert_eq!(bed.swarm(&["plan"]).code, 0);
    assert_eq!(bed.lab.docker("m1", &["info", "--format", "{{.Swarm.Cluster.ID}}"]), id, "the same swarm: {last:?}");
    eventually("the service runs again", Duration::from_secs(60), || bed.all_containers("app_web").len() == 3).await;
    let again = bed.deploy(&[]);
    assert!(again.code == 0 && again.out.contains("as its files want it"), "{again:?}");
}

/// The operator reaches two of four managers, and the swarm is whole: nothing untrue is said, what needs no other host is done through those
/// that answer, no majority is put at risk, and afterwards one apply finishes.
#[tokio::test]
#[ignore = "full"]
async fn an_operator_who_reaches_half_of_the_managers_does_no_harm() {
    let lab = TestLab::up(4, 1);
    let file = lab.file(&lab.text(&lab.all("")));
    let swarm = |args: &[&str], file: &std::path::Path| -> Ran { cli::run(&[args, &["-f", file.to_str().unwrap()]].concat()) };
    assert_eq!(swarm(&["apply", "--yes"], &file).code, 0);
    let id = lab.docker("m1", &["info", "--format", "{{.Swarm.Cluster.ID}}"]);
    let before = lab.nodes("m1");
    // Packets from us are dropped, as a firewall in front of a site does; the hosts still reach each other.
    for host in ["m1", "m2"] {
        lab.host(host).exec(&["iptables", "-I", "INPUT", "-p", "tcp", "--dport", "22", "-j", "DROP"]).unwrap();
    }
    let status = swarm(&["status"], &file);
    assert!(status.code == 3 && status.out.contains(id.trim()), "{status:?}");
    let said = format!("{}{}", status.out, status.err);
    assert!(!said.contains("quorum is lost") && !said.contains("lost quorum") && !said.contains("no swarm"), "{said}");
    let planned = swarm(&["plan"], &file);
    assert!(planned.code == 3 && !planned.out.contains("init"), "nothing to do, and not as wished: {planned:?}");

    // A label of a node that no one needs to log in for, and one of a host that is not reached: both are the managers' to change.
    let labels = [
        ("m1", "manager", "labels: { site: a }"),
        ("m2", "manager", ""),
        ("m3", "manager", ""),
        ("m4", "manager", ""),
        ("w1", "worker", "labels: { site: b }"),
    ];
    let labelled = lab.file(&lab.text(&labels));
    let applied = swarm(&["apply", "--yes"], &labelled);
    let label = |host: &str| lab.docker("m3", &["node", "inspect", host, "--format", "{{index .Spec.Labels \"site\"}}"]);
    assert_eq!(label("w1").trim(), "b", "{applied:?}");
    assert!([3, 4].contains(&applied.code), "not all of it is known to be as wished: {applied:?}");

    // To take out the managers that are not reached would leave two of four: a majority is not put at risk for it.
    let fewer = [("m1", "none", ""), ("m2", "none", ""), ("m3", "manager", ""), ("m4", "manager", ""), ("w1", "worker", "")];
    let fewer = lab.file(&lab.text(&fewer));
    let taken = swarm(&["apply", "--yes"], &fewer);
    assert_ne!(taken.code, 0, "{taken:?}");
    let managers = lab.nodes("m3").iter().filter(|n| n.contains(" manager Ready")).count();
    assert!(managers >= 3, "a majority of what was there: {:?} {taken:?}", lab.nodes("m3"));
    assert_eq!(lab.docker("m3", &["info", "--format", "{{.Swarm.Cluster.ID}}"]), id);

    for host in ["m1", "m2"] {
        lab.host(host).exec(&["iptables", "-F", "INPUT"]).unwrap();
    }
    let healed = swarm(&["apply", "--yes"], &labelled);
    assert_eq!(healed.code, 0, "{healed:?}");
    assert_eq!(lab.nodes("m1"), before);
    assert_eq!((label("m1").trim(), label("w1").trim()), ("a", "b"));
    assert_eq!(swarm(&["plan"], &labelled).code, 0);
}

/// Someone replaces the join tokens all the time, and the root once, while hosts join: every host is in at the end, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_and_the_root_are_replaced_while_hosts_join() {
    let lab = TestLab::up(3, 3);
    let first = lab.file(&lab.text(&[("m1", "manager", "")]));
    let all = lab.file(&lab.text(&lab.all("")));
    let swarm = |args: &[&str], file: &std::path::Path| -> Ran { cli::run(&[args, &["-f", file.to_str().unwrap()]].concat()) };
    assert_eq!(swarm(&["apply", "--yes"], &first).code, 0);
    let over = AtomicBool::new(false);
    let (applied, rotated) = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut rotated = 0;
            while !over.load(Ordering::SeqCst) {
                for role in ["worker", "manager"] {
                    // While managers come in, the engine may have no leader for a moment.
                    rotated += usize::from(lab.host("m1").exec(&["docker", "swarm", "join-token", "--rotate", "-q", role]).is_ok());
                }
                if rotated == 4 {
                    lab.host("m1").exec(&["docker", "swarm", "ca", "--rotate", "--detach"]).ok();
                }
            }
            rotated
        });
        let applied = swarm(&["apply", "--yes"], &all);
        over.store(true, Ordering::SeqCst);
        (applied, other.join().unwrap())
    });
    assert!(rotated >= 2, "it happened meanwhile: {rotated}");
    // Where tokens are replaced faster than a host can use one, or a root is, some of it is left to the next run, which says so.
    assert!(matches!(applied.code, 0 | 1 | 4), "{applied:?}");
    let until = Instant::now() + Duration::from_secs(110);
    loop {
        let again = swarm(&["apply", "--yes"], &all);
        if again.code == 0 {
            break;
        }
        assert!(Instant::now() < until, "{again:?}");
    }
    assert_eq!(swarm(&["verify"], &all).code, 0);
    assert_eq!(lab.nodes("m1").len(), 6, "no host twice: {:?} {applied:?}", lab.nodes("m1"));
    assert!(lab.nodes("m1").iter().all(|n| n.contains(" Ready ")), "{:?}", lab.nodes("m1"));
    assert_eq!(swarm(&["plan"], &all).code, 0);
    let certificates = swarm(&["certs"], &all);
    assert_eq!(certificates.code, 0, "{certificates:?}");
}

/// Writes so much into a swarm that its raft log needs room for more; what the engine answers to that is its own matter.
fn fill_the_log(lab: &TestLab, manager: &str) {
    let script = "head -c 480000 /dev/urandom >/run/blob; for i in $(seq 1 150); do \
                  timeout 20 docker config create c$i /run/blob >/dev/null || break; done; rm /run/blob";
    lab.host(manager).exec(&["sh", "-c", script]).unwrap();
}

/// The disk of one manager of three, and of the only one of another swarm, is full, and their raft logs cannot grow: their engines start the
/// manager again and again. The cause is named, nothing is taken for what it is not, no one is taken out; with room it is as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full"]
async fn a_manager_whose_disk_is_full_is_named_and_left_in_peace() {
    let (three, one) = (TestLab::up(3, 0), TestLab::up(1, 1));
    let files = [&three, &one].map(|lab| lab.file(&lab.text(&lab.all(""))));
    let run = |lab: usize, args: &[&str]| cli::run(&[args, &["-f", files[lab].to_str().unwrap()]].concat());
    for lab in [0, 1] {
        let applied = run(lab, &["apply", "--yes"]);
        assert_eq!(applied.code, 0, "{applied:?}");
    }
    let id = |lab: &TestLab| lab.docker("m1", &["info", "--format", "{{.Swarm.Cluster.ID}}"]);
    let (ids, node) = ([id(&three), id(&one)], three.docker("m2", &["info", "--format", "{{.Swarm.NodeID}}"]));
    three.host("m2").fill(0).unwrap();
    one.host("m1").fill(0).unwrap();
    let names_it = |ran: &Ran| format!("{}{}", ran.out, ran.err).contains("MB of disk are free below /var/lib/docker");

    // One of three: the others go on, and it stays a member.
    fill_the_log(&three, "m1");
    eventually("m2 is missed", Duration::from_secs(60), || {
        three.nodes("m1").iter().any(|n| n.contains("m2 manager Ready"))
            && three.docker("m1", &["node", "inspect", "m2", "--format", "{{.ManagerStatus.Reachability}}"]).trim() == "unreachable"
    })
    .await;
    let seen = run(0, &["verify"]);
    assert!(seen.code == 3 && seen.out.contains("m2") && names_it(&seen), "{seen:?}");
    let applied = run(0, &["apply", "--yes"]);
    assert!([3, 4].contains(&applied.code) && names_it(&applied) && !applied.out.contains("leave"), "{applied:?}");
    let risky = run(0, &["node", "demote", "m3"]);
    assert!(risky.code != 0 && names_it(&risky), "no change of managers while one is not healthy: {risky:?}");
    assert_eq!(three.nodes("m1").iter().filter(|n| n.contains(" manager ")).count(), 3, "{risky:?}");
    three.host("m2").heal().unwrap();
    eventually("m2 is a manager again", Duration::from_secs(120), || run(0, &["verify"]).code == 0).await;
    assert_eq!((id(&three), three.docker("m2", &["info", "--format", "{{.Swarm.NodeID}}"])), (ids[0].clone(), node));

    // The only one: whose manager it is cannot be asked, so no other swarm is spoken of, and no way out that would cost this one.
    fill_the_log(&one, "m1");
    let down = || one.docker("m1", &["info", "--format", "{{.Swarm.ControlAvailable}}"]).trim() == "false";
    eventually("its manager is down", Duration::from_secs(60), down).await;
    for verb in [&["plan"][..], &["apply", "--yes"], &["status"], &["destroy", "--yes"]] {
        let ran = run(1, verb);
        let all = format!("{}{}", ran.out, ran.err);
        assert!([1, 3].contains(&ran.code) && !all.contains("--force-leave m1") && !all.contains("in no swarm yet"), "{verb:?}: {ran:?}");
        assert!(names_it(&ran) || verb[0] == "destroy", "{verb:?}: {ran:?}");
    }
    one.host("m1").heal().unwrap();
    eventually("it is a manager again", Duration::from_secs(120), || run(1, &["verify"]).code == 0).await;
    assert_eq!(id(&one), ids[1]);
}
