//! No failing host may cost the swarm: joins that die after the leader took them in, managers gone for good, promotions that cannot
//! follow, leaders that hang.

use std::time::{Duration, Instant};
use swarm_core::Apply;
use swarm_core::report::{Ending, Report};
use swarm_fleet::Connections;
use swarm_tests::cli::{Ran, run};
use swarm_tests::lab::{TestLab, apply, converge, eventually, plan, spec};

/// The members of raft, with whether they are reached.
fn managers(lab: &TestLab, on: &str) -> Vec<String> {
    let out = lab.docker(on, &["node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}"]);
    let mut lines: Vec<String> = out.lines().filter(|l| l.trim().contains(' ') || l.starts_with(' ')).map(str::to_owned).collect();
    lines.retain(|l| ["Leader", "Reachable", "Unreachable"].iter().any(|s| l.ends_with(s)));
    lines.sort();
    lines
}

/// Every entry of the node list, also those without a name.
fn entries(lab: &TestLab, on: &str) -> usize {
    lab.docker(on, &["node", "ls", "-q"]).lines().count()
}

/// Plans, lets something happen, and carries the plan out.
async fn apply_after(text: &str, happens: impl FnOnce()) -> Report {
    let (wanted, fleet) = (spec(text), Connections::default());
    let apply = Apply::new(&wanted, &fleet);
    let (plan, observed) = apply.plan().await.unwrap();
    happens();
    apply.run(&plan, &observed).await
}

fn took(limit: u64, what: &str, work: impl FnOnce() -> Ran) -> Ran {
    let began = Instant::now();
    let ran = work();
    assert!(began.elapsed() < Duration::from_secs(limit), "{what} took {:?}: {ran:?}", began.elapsed());
    ran
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_without_room_for_its_log_costs_no_vote() {
    let lab = TestLab::up(4, 1);
    converge(&lab.text(&[("m1", "manager", ""), ("m2", "manager", ""), ("m3", "manager", ""), ("w1", "worker", "")])).await;
    let all = lab.text(&lab.all(""));
    // The leader takes m4 in, and then m4 cannot write its log. The disk fills after the look, which would have seen it.
    let report = apply_after(&all, || lab.host("m4").fill(30_000_000).unwrap()).await;
    assert_ne!(report.ending, Ending::Converged, "{report:#?}");
    let reported = format!("{report:?}");
    assert!(reported.contains("no space left on device") && !reported.contains("open 2377"), "the root cause is named: {reported}");
    assert_eq!(managers(&lab, "m1"), ["m1 Leader", "m2 Reachable", "m3 Reachable"]);
    assert_eq!(entries(&lab, "m1"), 4, "nothing nameless is left: {:?}", lab.nodes("m1"));
    // The next run sees the disk and leaves the host out, with the reason.
    let (planned, _) = plan(&all).await.unwrap();
    let blocked = planned.blocked.iter().find(|b| b.host.as_str() == "m4").unwrap();
    assert!(planned.is_empty() && blocked.why.contains("free disk space on m4"), "{planned:#?}");
    lab.host("m4").heal().unwrap();
    converge(&all).await;
    assert_eq!((managers(&lab, "m1").len(), entries(&lab, "m1")), (4, 5));
    // A promotion that meets a full disk is taken back, and costs no vote either.
    let promoted =
        lab.text(&[("m1", "manager", ""), ("m2", "manager", ""), ("m3", "manager", ""), ("m4", "manager", ""), ("w1", "manager", "")]);
    let report = apply_after(&promoted, || lab.host("w1").fill(1_000_000).unwrap()).await;
    let reported = format!("{report:?}");
    assert!(report.ending != Ending::Converged && reported.contains("no space left on device"), "{reported}");
    assert_eq!(managers(&lab, "m1").iter().filter(|m| m.ends_with("Unreachable")).count(), 0, "{:?}", managers(&lab, "m1"));
    lab.host("w1").heal().unwrap();
    eventually("everything matches the file", Duration::from_secs(150), || {
        let file = lab.file(&promoted);
        run(&["apply", "-f", file.to_str().unwrap(), "--yes"]).code == 0
    })
    .await;
    assert_eq!((managers(&lab, "m1").len(), entries(&lab, "m1")), (5, 5), "{:?}", lab.nodes("m1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full"]
async fn a_cluster_with_a_manager_gone_for_good_can_be_destroyed() {
    let lab = TestLab::up(3, 1);
    let file = lab.file(&lab.text(&lab.all("")));
    let file = file.to_str().unwrap();
    let state = |host: &str| lab.docker(host, &["info", "--format", "{{.Swarm.LocalNodeState}}"]).trim().to_owned();
    converge(&lab.text(&lab.all(""))).await;
    lab.host("m1").kill(true).unwrap();
    // Without a leader the managers cannot list anything.
    let missed =
        || lab.host("m2").exec(&["docker", "node", "ls"]).is_ok_and(|out| out.lines().any(|l| l.contains("m1") && l.contains("Down")));
    eventually("m1 is missed", Duration::from_secs(60), missed).await;
    let ran = run(&["destroy", "-f", file, "--yes"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.out.contains("is not reached; it is taken out of the swarm"), "{ran:?}");
    assert!(ran.err.contains("m1: ") && !ran.err.contains("m2: ") && !ran.err.contains("w1: "), "{ran:?}");
    assert_eq!(["m2", "m3", "w1"].map(state), ["inactive"; 3]);

    // Two of three gone: no leader, so it is asked for by force.
    lab.host("m1").start().unwrap();
    lab.docker("m1", &["swarm", "leave", "--force"]);
    converge(&lab.text(&lab.all(""))).await;
    lab.host("m1").kill(true).unwrap();
    lab.host("m2").kill(true).unwrap();
    let ran = run(&["destroy", "-f", file, "--yes"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("no leader is seen") && !ran.err.contains("quorum lost"), "nothing proves that they are gone: {ran:?}");
    let ran = run(&["destroy", "-f", file, "--yes", "--force"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert_eq!(["m3", "w1"].map(state), ["inactive"; 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_goes_on_where_the_first_manager_is_gone() {
    let lab = TestLab::up(3, 2);
    converge(&lab.text(&[("m1", "manager", ""), ("w1", "worker", "labels: { rack: a }"), ("w2", "worker", "")])).await;
    converge(&lab.text(&[("m1", "manager", ""), ("m2", "manager", ""), ("m3", "manager", ""), ("w1", "worker", ""), ("w2", "worker", "")]))
        .await;
    // m1, through which the workers joined, is no manager any more; then both workers become managers.
    converge(&lab.text(&[("m1", "worker", ""), ("m2", "manager", ""), ("m3", "manager", ""), ("w1", "worker", ""), ("w2", "worker", "")]))
        .await;
    let all = lab.text(&[("m1", "worker", ""), ("m2", "manager", ""), ("m3", "manager", ""), ("w1", "manager", ""), ("w2", "manager", "")]);
    converge(&all).await;
    assert_eq!(managers(&lab, "m2").len(), 4);
    assert_eq!(lab.docker("m2", &["node", "inspect", "w1", "--format", "{{index .Spec.Labels \"rack\"}}"]).trim(), "a", "labels are kept");
    assert!(plan(&all).await.unwrap().0.is_empty());
    assert_eq!(entries(&lab, "m2"), 5, "{:?}", lab.nodes("m2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn managers_that_were_all_replaced_in_one_edit_are_named() {
    let lab = TestLab::up(2, 1);
    converge(&lab.text(&[("m1", "manager", ""), ("w1", "worker", "")])).await;
    let file = lab.file(&lab.text(&[("m2", "manager", ""), ("w1", "worker", "")]));
    let ran = run(&["apply", "-f", file.to_str().unwrap(), "--yes"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let old = format!("{}:2377", lab.host("m1").address);
    assert!(ran.err.contains(&format!("keep one of its managers ({old}) in the file until the new ones are in")), "{ran:?}");
    // The advice, followed: the old one stays until the new one is in.
    converge(&lab.text(&[("m1", "manager", ""), ("m2", "manager", ""), ("w1", "worker", "")])).await;
    assert_eq!(lab.nodes("m2").len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_left_by_hand_comes_back_and_nothing_is_left_to_do() {
    let lab = TestLab::up(3, 1);
    let file = lab.text(&lab.all(""));
    converge(&file).await;
    for host in ["m3", "w1"] {
        lab.docker(host, &["swarm", "leave", "--force"]);
        converge(&file).await;
        assert_eq!(entries(&lab, "m1"), 4, "{:?}", lab.nodes("m1"));
        assert!(plan(&file).await.unwrap().0.is_empty());
    }
    assert_eq!(managers(&lab, "m1").len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full"]
async fn a_frozen_engine_is_named_in_time_and_the_others_are_worked_on() {
    let lab = TestLab::up(3, 3);
    let label = |value: &str| {
        lab.file(&lab.text(&[
            ("m1", "manager", ""),
            ("m2", "manager", ""),
            ("m3", "manager", ""),
            ("w1", "worker", ""),
            ("w2", "worker", &format!("labels: {{ rack: {value} }}")),
            ("w3", "worker", ""),
        ]))
    };
    let first = label("a");
    assert_eq!(run(&["apply", "-f", first.to_str().unwrap(), "--yes"]).code, 0);
    lab.host("w1").freeze().unwrap();
    let file = label("b");
    let file = file.to_str().unwrap();
    let named = |ran: &Ran| {
        assert!(
            format!("{}{}", ran.out, ran.err).contains("w1") && format!("{}{}", ran.out, ran.err).contains("does not answer"),
            "{ran:?}"
        )
    };
    let ran = took(45, "plan", || run(&["plan", "-f", file]));
    assert_eq!(ran.code, 2, "{ran:?}");
    named(&ran);
    let ran = took(45, "apply", || run(&["apply", "-f", file, "--yes"]));
    assert_eq!(ran.code, 4, "{ran:?}");
    named(&ran);
    for verb in ["verify", "status"] {
        let ran = took(45, verb, || run(&[verb, "-f", file]));
        assert_eq!(ran.code, 3, "{verb}: {ran:?}");
        named(&ran);
    }
    // A leader that hangs is no lost quorum: the others elect another one.
    lab.host("w1").heal().unwrap();
    let leader = lab.lab.hosts.iter().map(|h| h.name.clone()).find(|h| managers(&lab, "m1").contains(&format!("{h} Leader"))).unwrap();
    lab.host(&leader).freeze().unwrap();
    let ran = took(45, "status", || run(&["status", "-f", file]));
    assert!(ran.code == 3 && ran.out.contains("tolerates 0 more failures") && !ran.out.to_lowercase().contains("quorum lost"), "{ran:?}");
    let ran = took(45, "destroy", || run(&["destroy", "-f", file, "--yes"]));
    assert_eq!(ran.code, 4, "{ran:?}");
    lab.host(&leader).heal().unwrap();
    let states =
        lab.lab.hosts.iter().filter(|h| h.name != leader).map(|h| lab.docker(&h.name, &["info", "--format", "{{.Swarm.LocalNodeState}}"]));
    assert!(states.into_iter().all(|s| s.trim() == "inactive"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_quorum_is_named_with_its_proof() {
    let lab = TestLab::up(3, 1);
    let text = lab.text(&lab.all(""));
    converge(&text).await;
    for host in ["m2", "m3"] {
        lab.docker(host, &["swarm", "leave", "--force"]);
    }
    let file = lab.file(&text);
    let ran = run(&["plan", "-f", file.to_str().unwrap()]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("quorum lost: of 3 managers 2 are proven gone"), "{ran:?}");
    assert!(ran.err.contains("m2: its engine is in no swarm") && ran.err.contains("swarm destroy --force"), "{ran:?}");
    let id = lab.docker("w1", &["info", "--format", "{{.Swarm.NodeID}}"]);
    let status = run(&["status", "-f", file.to_str().unwrap()]);
    assert_eq!(status.code, 3, "{status:?}");
    assert!(status.out.contains("last known swarm") && !status.out.contains("foreign") && !id.is_empty(), "{status:?}");
    let verify = run(&["verify", "-f", file.to_str().unwrap()]);
    assert!(verify.code == 3 && verify.out.contains("quorum lost"), "{verify:?}");
    assert!(apply(&text).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn managers_that_someone_locked_have_their_key_stored() {
    let lab = TestLab::up(1, 1);
    let without = lab.file(&lab.text(&lab.all("")));
    let without = without.to_str().unwrap();
    assert_eq!(run(&["apply", "-f", without, "--yes"]).code, 0);
    lab.docker("m1", &["swarm", "update", "--autolock=true"]);
    for verb in ["verify", "plan"] {
        let ran = run(&[verb, "-f", without]);
        assert!(ran.code == 3 && ran.out.contains("the file keeps no key"), "{verb}: {ran:?}");
    }
    let key = lab.lab.dir.join("key");
    let with = lab.file(&lab.text_with(&lab.all(""), &format!("swarm: {{ unlock_key_file: {} }}", key.display())));
    let with = with.to_str().unwrap();
    assert_eq!(run(&["plan", "-f", with]).code, 2);
    assert_eq!(run(&["apply", "-f", with, "--yes"]).code, 0);
    assert_eq!(std::fs::read_to_string(&key).unwrap().trim(), lab.docker("m1", &["swarm", "unlock-key", "-q"]).trim());
    assert_eq!(run(&["verify", "-f", with]).code, 0);
    // A place that cannot be written is refused before anything is locked.
    lab.docker("m1", &["swarm", "update", "--autolock=false"]);
    let nowhere = "swarm: { autolock: true, unlock_key_file: /proc/nowhere/key }";
    let ran = run(&["apply", "-f", lab.file(&lab.text_with(&lab.all(""), nowhere)).to_str().unwrap(), "--yes"]);
    assert!(ran.code == 1 && ran.err.contains("cannot be written"), "{ran:?}");
    assert!(lab.docker("m1", &["info", "--format", "{{json .Swarm.Cluster.Spec}}"]).contains("\"AutoLockManagers\":false"));
}

/// Applies, and lets something happen when a step begins.
async fn apply_while(text: &str, step: &str, happens: &(dyn Fn() + Sync)) -> Report {
    let (wanted, fleet, happens) = (spec(text), Connections::default(), Before(step, happens));
    let apply = Apply::new(&wanted, &fleet).progress(&happens);
    let (plan, observed) = apply.plan().await.unwrap();
    apply.run(&plan, &observed).await
}

/// Does something as soon as a step begins.
struct Before<'a>(&'a str, &'a (dyn Fn() + Sync));

impl swarm_core::driver::Progress for Before<'_> {
    fn report(&self, event: &swarm_core::driver::ProgressEvent) {
        if let swarm_core::driver::ProgressEvent::StepStarted { step, .. } = event
            && step.as_str() == self.0
        {
            (self.1)();
        }
    }
}

/// Applies until the swarm is as the file says; what the last apply said is printed if it never is.
async fn arrives(lab: &TestLab, text: &str, after: u64) {
    let file = lab.file(text);
    let until = Instant::now() + Duration::from_secs(180);
    loop {
        let ran = run(&["apply", "-f", file.to_str().unwrap(), "--yes"]);
        if ran.code == 0 {
            return;
        }
        let engine = lab.host("m4").exec(&["docker", "info", "--format", "{{json .Swarm}}"]);
        let log = lab.host("m4").engine_log(30);
        assert!(
            Instant::now() < until,
            "killed after {after} ms, and never in: code {}\n{}\n{}\n{:?}\nm4: {engine:?}\n{log}",
            ran.code,
            ran.out,
            ran.err,
            lab.nodes("m1")
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_dies_as_it_joins_costs_no_vote() {
    let lab = TestLab::up(5, 0);
    let three = [("m1", "manager", ""), ("m2", "manager", ""), ("m3", "manager", "")];
    converge(&lab.text(&three)).await;
    let four = lab.text(&[&three[..], &[("m4", "manager", "")]].concat());
    // The engine dies some tenths of a second into its join, wherever the join is then.
    for after in [70, 250, 800] {
        let killing = std::sync::Mutex::new(None);
        let kill = || {
            let engine = lab.host("m4").clone();
            *killing.lock().unwrap() = Some(std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(after));
                engine.signal_engine("KILL").unwrap();
            }));
        };
        apply_while(&four, "m4/join", &kill).await;
        // A quick join may have ended before.
        killing.lock().unwrap().take().unwrap().join().unwrap();
        let dead = managers(&lab, "m1").iter().filter(|m| m.ends_with("Unreachable")).count();
        assert!(dead <= 1, "after {after} ms: {:?}", managers(&lab, "m1"));
        lab.host("m4").start().unwrap();
        arrives(&lab, &four, after).await;
        assert_eq!((managers(&lab, "m1").len(), entries(&lab, "m1")), (4, 4), "{:?}", lab.nodes("m1"));
        lab.docker("m1", &["node", "demote", "m4"]);
        eventually("m4 is out of raft", Duration::from_secs(60), || managers(&lab, "m1").len() == 3).await;
        eventually("m4 is a worker that can leave", Duration::from_secs(60), || {
            lab.host("m4").exec(&["docker", "swarm", "leave", "--force"]).is_ok()
        })
        .await;
        lab.docker("m1", &["node", "rm", "--force", "m4"]);
    }
}

/// The join ends, its engine dies before the leader's first entry has come, and nothing that is restarted makes it answer again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_whose_raft_log_is_empty_joins_again() {
    let lab = TestLab::up(4, 0);
    let three = [("m1", "manager", ""), ("m2", "manager", ""), ("m3", "manager", "")];
    converge(&lab.text(&three)).await;
    let leader = lab.host("m1").address.to_string();
    let token = lab.docker("m1", &["swarm", "join-token", "-q", "manager"]);
    // The leader looks once whether the new manager is there, and then its messages do not arrive.
    let m4 = lab.host("m4");
    let first = ["-p", "tcp", "--dport", "2377", "-s", &leader, "--syn"];
    let drops = [&first[..], &["-j", "DROP"]].concat();
    let once = [&first[..], &["-m", "limit", "--limit", "1/hour", "--limit-burst", "1", "-j", "ACCEPT"]].concat();
    for rule in [&drops, &once] {
        m4.exec(&[&["iptables", "-I", "INPUT", "1"], &rule[..]].concat()).unwrap();
    }
    m4.exec(&["docker", "swarm", "join", "--token", token.trim(), &format!("{leader}:2377")]).unwrap();
    m4.signal_engine("KILL").unwrap();
    for rule in [&drops, &once] {
        m4.exec(&[&["iptables", "-D", "INPUT"], &rule[..]].concat()).unwrap();
    }
    m4.start().unwrap();
    let four = lab.text(&[&three[..], &[("m4", "manager", "")]].concat());
    let file = lab.file(&four);
    let ran = run(&["apply", "-f", file.to_str().unwrap(), "--yes"]);
    assert!(ran.code == 0 && ran.out.contains("cannot answer its leader"), "{ran:?}");
    assert_eq!((managers(&lab, "m1").len(), entries(&lab, "m1")), (4, 4), "{:?}", lab.nodes("m1"));
    assert_eq!(lab.docker("m4", &["node", "ls", "-q"]).lines().count(), 4);
    assert_eq!(run(&["plan", "-f", file.to_str().unwrap()]).code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_joins_over_a_link_that_loses_packets_costs_no_vote() {
    let lab = TestLab::up(4, 0);
    let three = [("m1", "manager", ""), ("m2", "manager", ""), ("m3", "manager", "")];
    converge(&lab.text(&three)).await;
    let four = lab.text(&[&three[..], &[("m4", "manager", "")]].concat());
    // A fifth of all packets between m4 and the others is lost from the moment its join is sent.
    let report = apply_while(&four, "m4/join", &|| lab.host("m4").lose(20).unwrap()).await;
    let seen = managers(&lab, "m1");
    let healthy = seen.iter().filter(|m| !m.ends_with("Unreachable")).count();
    assert!(healthy >= 3 && seen.len() <= 4, "{seen:?} {report:#?}");
    lab.host("m4").heal().unwrap();
    let file = lab.file(&four);
    eventually("m4 is in", Duration::from_secs(180), || run(&["apply", "-f", file.to_str().unwrap(), "--yes"]).code == 0).await;
    assert_eq!((managers(&lab, "m1").len(), entries(&lab, "m1")), (4, 4), "no second entry is left: {:?}", lab.nodes("m1"));
}

/// Only what is proven to be ours is taken out: another operator's host joins in the same second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_operator_joins_in_the_same_second_survives_the_clean_up() {
    let lab = TestLab::up(4, 2);
    let three = [("m1", "manager", ""), ("m2", "manager", ""), ("m3", "manager", "")];
    converge(&lab.text(&three)).await;
    let token = |role: &str| lab.docker("m1", &["swarm", "join-token", "-q", role]).trim().to_owned();
    let (manager, worker) = (token("manager"), token("worker"));
    let remote = format!("{}:2377", lab.host("m1").address);
    let joining = std::sync::Mutex::new(Vec::new());
    let join = || {
        lab.host("m4").fill(30_000_000).unwrap();
        for (host, token) in [("w1", &manager), ("w2", &worker)] {
            let (host, token, remote) = (lab.host(host).clone(), token.clone(), remote.clone());
            joining.lock().unwrap().push(std::thread::spawn(move || host.exec(&["docker", "swarm", "join", "--token", &token, &remote])));
        }
    };
    let report = apply_while(&lab.text(&[&three[..], &[("m4", "manager", "")]].concat()), "m4/join", &join).await;
    let reported = format!("{report:?}");
    assert!(report.ending != Ending::Converged && reported.contains("no space left on device"), "{reported}");
    for joined in joining.lock().unwrap().drain(..) {
        joined.join().unwrap().unwrap();
    }
    // The other operator's two are there, and of m4 nothing is.
    assert_eq!(managers(&lab, "m1"), ["m1 Leader", "m2 Reachable", "m3 Reachable", "w1 Reachable"]);
    let mut names: Vec<String> = lab.docker("m1", &["node", "ls", "--format", "{{.Hostname}}"]).lines().map(str::to_owned).collect();
    names.sort();
    assert_eq!(names, ["m1", "m2", "m3", "w1", "w2"]);
}

/// It does not know of its demotion: it names no leader as one without a log does, and is whole. It is not taken out for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_manager_that_is_cut_off_stays_in() {
    let lab = TestLab::up(3, 0);
    converge(&lab.text(&lab.all(""))).await;
    let id = lab.docker("m3", &["info", "--format", "{{.Swarm.NodeID}}"]);
    for other in ["m1", "m2"] {
        lab.host("m3").cut(lab.host(other).address).unwrap();
        lab.host(other).cut(lab.host("m3").address).unwrap();
    }
    eventually("m3 is missed", Duration::from_secs(60), || managers(&lab, "m1").iter().any(|m| m.ends_with("Unreachable"))).await;
    lab.docker("m1", &["node", "demote", id.trim()]);
    let listed = |what: &str| lab.nodes("m1").iter().any(|n| n.contains(what));
    eventually("m3 is no manager", Duration::from_secs(60), || managers(&lab, "m1").len() == 2 && listed("worker Down")).await;
    let file = lab.file(&lab.text(&[("m1", "manager", ""), ("m2", "manager", ""), ("m3", "worker", "")]));
    let ran = run(&["apply", "-f", file.to_str().unwrap(), "--yes"]);
    assert!(ran.code == 3 || ran.code == 1, "{ran:?}");
    let is = lab.docker("m3", &["info", "--format", "{{.Swarm.LocalNodeState}} {{.Swarm.NodeID}} {{.Swarm.ControlAvailable}}"]);
    assert_eq!(is.trim(), format!("active {} true", id.trim()), "{ran:?}");
    ["m1", "m2", "m3"].iter().for_each(|host| lab.host(host).heal().unwrap());
    eventually("m3 is a worker", Duration::from_secs(120), || run(&["apply", "-f", file.to_str().unwrap(), "--yes"]).code == 0).await;
    assert_eq!(
        lab.docker("m3", &["info", "--format", "{{.Swarm.NodeID}} {{.Swarm.ControlAvailable}}"]).trim(),
        format!("{} false", id.trim())
    );
}
