//! A quorum that is lost for good: one manager goes on, and every other is fenced first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use swarm_backup::{Backups, set_aside};
use swarm_core::family::Families;
use swarm_core::fleet::Fleet;
use swarm_core::id::HostName;
use swarm_core::plan::Refusal;
use swarm_core::recover::{Fenced, Recover};
use swarm_core::report::{Ending, Report};
use swarm_core::{Apply, ApplyError, ClusterSpec};
use swarm_sim::{Incident, Program, World};
use swarm_tests::cli;
use swarm_tests::lab::{TestLab, converge, eventually};
use swarm_tests::sim::stories::POINTS;
use swarm_tests::sim::{Drawer, THREE, Tool, cluster, cut_off, no_violations, spec};

/// What hosts say of engines that do not answer.
type Seen = BTreeMap<HostName, Result<Fenced, String>>;

async fn recover(world: &World, wanted: &ClusterSpec, host: &str, fenced: &[&str]) -> Result<Report, Vec<Refusal>> {
    recover_seen(world, wanted, host, fenced, BTreeMap::new()).await
}

/// The same, where hosts said what keeps their engines down.
async fn recover_seen(world: &World, wanted: &ClusterSpec, host: &str, fenced: &[&str], seen: Seen) -> Result<Report, Vec<Refusal>> {
    let fleet = world.fleet("me");
    let intent = Recover { spec: wanted, host: host.into(), fenced: fenced.iter().map(|f| (*f).to_owned()).collect(), seen };
    let apply = Apply::new(wanted, &fleet).families(Families(&[&Backups]));
    match apply.plan_for(&intent).await {
        Ok((plan, observed)) => Ok(apply.run_for(&intent, &plan, &observed).await),
        Err(ApplyError::Refused(refusals)) => Err(refusals),
        Err(error) => panic!("{error}\n{}", world.story()),
    }
}

/// The hosts that come back are nodes again after at most three runs, and no rule was broken.
async fn all_are_back(world: &World, wanted: &ClusterSpec, call: u64) {
    let keys = Drawer::default();
    let mut ended = Tool::new(world, "after", wanted, &keys).apply().await;
    for _ in 0..2 {
        if !ended.converged() {
            ended = Tool::new(world, "after", wanted, &keys).apply().await;
        }
    }
    assert!(ended.converged(), "call {call}: {ended:?}\n{}", world.story());
    no_violations(world, call, "recovering");
}

/// Two of three managers go in a way, and one recovers, cut off at every call; the next run ends it, and the hosts that come back join again.
fn goes_on_from_every_cut(gone: fn(HostName) -> Incident, fenced: &[&str], seen: &dyn Fn() -> Seen, back: &[fn(HostName) -> Incident]) {
    let mut cuts = 0;
    for point in POINTS {
        for call in 1..60 {
            cuts += u32::from(swarm_sim::run(async {
                let world = World::of(&spec(THREE), call);
                let wanted = cluster(&world, THREE).await;
                world.has_program("swarm-fence", Program::SetsStateAside);
                for host in ["m2", "m3"] {
                    world.cause(&gone(host.into()));
                }
                tokio::time::sleep(Duration::from_secs(30)).await;
                let run = || recover_seen(&world, &wanted, "m1", fenced, seen());
                let cut = cut_off(&world, call, point, run()).await.map(Result::unwrap).is_none();
                match run().await {
                    Ok(report) => assert_eq!(report.ending, Ending::Converged, "call {call}, {point:?}: {report:#?}\n{}", world.story()),
                    // It was done already.
                    Err(refusals) => assert!(format!("{refusals:?}").contains("nothing to recover"), "call {call}: {refusals:?}"),
                }
                for host in ["m2", "m3"] {
                    for comes in back {
                        world.cause(&comes(host.into()));
                    }
                }
                tokio::time::sleep(Duration::from_secs(30)).await;
                all_are_back(&world, &wanted, call).await;
                cut
            }));
        }
    }
    assert!(cuts > 30, "cut off at {cuts} calls");
}

/// They have no power, and come back with nothing.
#[test]
fn one_of_three_goes_on_wherever_the_run_is_cut_off() {
    goes_on_from_every_cut(Incident::PowerCut, &["m2", "m3"], &Seen::new, &[Incident::PowerOn, Incident::StateLost]);
}

/// Their hosts are reached, and their engines are stopped: their states are moved aside first, and the engines are started again.
#[test]
fn engines_that_are_stopped_are_kept_down_wherever_the_run_is_cut_off() {
    let seen = || ["m2", "m3"].map(|h| (h.into(), Ok(set_aside(&h.into(), "/var/lib/docker".into())))).into();
    goes_on_from_every_cut(Incident::EngineStops, &[], &seen, &[Incident::EngineStarts]);
}

/// What its host says of an engine counts only where the host is reached, and an engine that runs is none that is stopped: the step sees it.
#[test]
fn an_engine_that_runs_again_is_not_kept_down() {
    swarm_sim::run(async {
        let world = World::of(&spec(THREE), 5);
        let wanted = cluster(&world, THREE).await;
        world.has_program("swarm-fence", Program::SetsStateAside);
        let aside = |h: &str| (HostName::new(h), Ok(set_aside(&h.into(), "/var/lib/docker".into())));
        world.cause(&Incident::PowerCut("m2".into()));
        world.cause(&Incident::EngineStops("m3".into()));
        tokio::time::sleep(Duration::from_secs(30)).await;
        // What is not reached any more is not kept down either.
        let report = recover_seen(&world, &wanted, "m1", &[], [aside("m2"), aside("m3")].into()).await.unwrap();
        let done = |report: &Report| report.steps.iter().map(|s| (s.id.to_string(), s.outcome.is_done())).collect::<Vec<_>>();
        let expected = |of: &[(&str, bool)]| of.iter().map(|(id, done)| ((*id).to_owned(), *done)).collect::<Vec<_>>();
        assert_eq!(
            done(&report),
            expected(&[("m2/set-state-aside", false), ("m3/set-state-aside", true), ("m1/recover", false)]),
            "{report:#?}"
        );
        // It hangs: its process is there, and what was seen of it before is not so any more.
        let world = World::of(&spec(THREE), 6);
        let wanted = cluster(&world, THREE).await;
        world.has_program("swarm-fence", Program::SetsStateAside);
        world.cause(&Incident::PowerCut("m2".into()));
        world.cause(&Incident::EngineFreezes("m3".into()));
        tokio::time::sleep(Duration::from_secs(30)).await;
        let report = recover_seen(&world, &wanted, "m1", &["m2"], [aside("m3")].into()).await.unwrap();
        assert_eq!(done(&report), expected(&[("m3/set-state-aside", false), ("m1/recover", false)]), "{report:#?}");
        no_violations(&world, 5, "an engine that hangs");
    });
}

/// It is refused while there is a leader, while a manager may come back, for a host that is no manager; managers that are reached leave first.
#[test]
fn nothing_is_recovered_while_another_manager_may_go_on() {
    swarm_sim::run(async {
        let world = World::of(&spec(THREE), 7);
        let wanted = cluster(&world, THREE).await;
        let refused = |ended: Result<Report, Vec<Refusal>>| format!("{:?}", ended.unwrap_err());
        let whole = refused(recover(&world, &wanted, "m1", &["m2", "m3"]).await);
        assert!(whole.contains("nothing to recover"), "{whole}");
        world.cause(&Incident::PowerCut("m2".into()));
        world.cause(&Incident::PowerCut("m3".into()));
        tokio::time::sleep(Duration::from_secs(30)).await;
        let open = refused(recover(&world, &wanted, "m1", &["m3"]).await);
        assert!(open.contains("--fenced m2") && !open.contains("--fenced m3"), "{open}");
        let worker = refused(recover(&world, &wanted, "w1", &["m2", "m3"]).await);
        assert!(worker.contains("it is no manager of the swarm that answers; those are m1"), "{worker}");
        no_violations(&world, 7, "refusals");

        // What is reached is no matter of the operator's word: it leaves before another one goes on.
        let world = World::of(&spec(THREE), 8);
        let wanted = cluster(&world, THREE).await;
        for (a, b) in [("m1", "m2"), ("m1", "m3"), ("m2", "m3")] {
            world.cause(&Incident::Cut(a.into(), b.into()));
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
        let report = recover(&world, &wanted, "m1", &[]).await.unwrap();
        let ids: Vec<&str> = report.steps.iter().map(|s| s.id.as_str()).collect();
        assert_eq!((report.ending, ids), (Ending::Converged, vec!["m2/leave", "m3/leave", "m1/recover"]));
        no_violations(&world, 8, "reached managers leave");

        // Broken on purpose: the call itself, while the others are alive.
        let world = World::of(&spec(THREE), 9);
        let wanted = cluster(&world, THREE).await;
        let actor = world.fleet("me").actor(wanted.host(&"m1".into()).unwrap()).await.unwrap();
        actor.engine.force_new_cluster("10.0.0.1".parse().unwrap(), "0.0.0.0:2377").await.unwrap();
        let rules: BTreeSet<String> = world.violations().iter().map(|v| v.to_string()).collect();
        assert!(rules.iter().any(|v| v.contains("I9")), "{rules:?}");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full"]
async fn two_of_three_are_lost_and_what_runs_is_kept() {
    let lab = TestLab::up(3, 1);
    let text = lab.text(&lab.all(""));
    converge(&text).await;
    crate::deploys::images(&lab, &["app:1"]);
    let file = lab.file(&text);
    let swarm = |args: &[&str]| cli::run(&[args, &["-f", file.to_str().unwrap()]].concat());
    let create = ["service", "create", "-d", "--name", "web", "--endpoint-mode", "dnsrr", "--constraint", "node.role==worker"];
    lab.docker("m1", &[&create[..], &["--no-resolve-image", "app:1", "/bin/sleep", "1000"]].concat());
    lab.docker("m1", &["swarm", "update", "--task-history-limit", "7"]);
    let task = || lab.docker("w1", &["ps", "-q", "--filter", "label=com.docker.swarm.service.name=web"]).trim().to_owned();
    eventually("the task runs", Duration::from_secs(30), || !task().is_empty()).await;
    let before = task();
    let early = swarm(&["recover", "m1", "--fenced", "m2", "--fenced", "m3", "--yes"]);
    assert!(early.code == 1 && early.err.contains("nothing to recover"), "{early:?}");

    lab.host("m2").kill(true).unwrap();
    lab.host("m3").kill(true).unwrap();
    let open = swarm(&["recover", "m1", "--fenced", "m2", "--yes"]);
    assert!(open.code == 1 && open.err.contains("--fenced m3") && !open.err.contains("--fenced m2"), "{open:?}");
    let unasked = swarm(&["recover", "m1", "--fenced", "m2", "--fenced", "m3"]);
    assert!(unasked.code == 1 && unasked.err.contains("nothing was changed"), "{unasked:?}");
    let recovered = swarm(&["recover", "m1", "--fenced", "m2", "--fenced", "m3", "--yes"]);
    assert!(recovered.code == 0 && recovered.out.contains("m1 leads the swarm"), "{recovered:?}");
    // What ran was not touched: only managers that wait for the worker longer than it takes place its task again.
    assert_eq!(task(), before, "the task goes on");
    eventually("the worker reports again", Duration::from_secs(60), || lab.nodes("m1").contains(&"w1 worker Ready Active".to_owned()))
        .await;
    assert_eq!(lab.docker("m1", &["info", "--format", "{{.Swarm.Cluster.Spec.Orchestration.TaskHistoryRetentionLimit}}"]).trim(), "7");

    // The lost managers come back with nothing, and one apply makes three of one again.
    for host in ["m2", "m3"] {
        lab.host(host).start().unwrap();
        lab.docker(host, &["swarm", "leave", "--force"]);
    }
    eventually("everything is as the file says", Duration::from_secs(120), || swarm(&["apply", "--yes"]).code == 0).await;
    assert_eq!(lab.nodes("m1").len(), 4, "{:?}", lab.nodes("m1"));
    eventually("the service runs", Duration::from_secs(60), || !task().is_empty()).await;
}

/// What hosts say of engines that do not answer: one that hangs is not stopped; one that is stopped and not started at boot stays as it is, and
/// the state of one that would be started is moved aside. Nothing has to be said by name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full"]
async fn what_keeps_other_managers_down_is_seen_on_their_hosts() {
    let lab = TestLab::up(3, 1);
    let text = lab.text(&lab.all(""));
    converge(&text).await;
    let file = lab.file(&text);
    let swarm = |args: &[&str]| cli::run(&[args, &["-f", file.to_str().unwrap()]].concat());
    let inside = |host: &str, script: &str| lab.host(host).exec(&["sh", "-c", script]).unwrap_or_else(|e| e.to_string());
    lab.host("m2").stop_engine();
    lab.host("m3").signal_engine("STOP").unwrap();
    eventually("m1 hears no leader", Duration::from_secs(60), || lab.host("m1").exec(&["docker", "node", "ls"]).is_err()).await;
    let mut hangs = swarm(&["recover", "m1", "--dry-run"]);
    eventually("the leader is lost for good", Duration::from_secs(60), || {
        hangs = swarm(&["recover", "m1", "--dry-run"]);
        hangs.err.contains("--fenced m3")
    })
    .await;
    assert!(hangs.code == 1 && hangs.err.contains("its engine runs and does not answer"), "{hangs:?}");
    lab.host("m3").signal_engine("CONT").unwrap();
    lab.host("m3").stop_engine();
    // One is not started at boot, by a service manager without its links; the other is, as Debian's package has it.
    inside("m2", "for n in 2 3 4 5; do mount -t tmpfs none /etc/rc$n.d; done");
    inside("m3", "for n in 2 3 4 5; do mount -t tmpfs none /etc/rc$n.d; touch /etc/rc$n.d/S01docker; done");
    let shown = swarm(&["recover", "m1", "--dry-run"]);
    assert!(shown.code == 2 && shown.out.contains("m2: its engine is stopped, and is not started at boot"), "{shown:?}");
    assert!(shown.out.contains("m3: its engine is stopped; its state is moved to /var/lib/docker/swarm.before-recovery"), "{shown:?}");
    assert!(inside("m3", "ls /var/lib/docker").contains("swarm\n"), "a dry run moves nothing");
    let recovered = swarm(&["recover", "m1", "--yes"]);
    assert!(recovered.code == 0 && recovered.out.contains("m1 leads the swarm"), "{recovered:?}");
    let (m2, m3) = (inside("m2", "ls /var/lib/docker /var/lib/docker/swarm"), inside("m3", "ls /var/lib/docker"));
    assert!(m2.contains("docker-state.json") && !m2.contains("before-recovery"), "{m2}");
    assert!(m3.lines().any(|l| l == "swarm.before-recovery") && !m3.lines().any(|l| l == "swarm"), "{m3}");

    // Started again, the one is in no swarm and joins; the other finds that it was taken out, and an apply brings it back.
    for host in ["m2", "m3"] {
        lab.host(host).start_engine().unwrap();
    }
    assert_eq!(lab.docker("m3", &["info", "--format", "{{.Swarm.LocalNodeState}}"]).trim(), "inactive");
    let mut applied = swarm(&["apply", "--yes"]);
    eventually("everything is as the file says", Duration::from_secs(180), || {
        applied = swarm(&["apply", "--yes"]);
        applied.code == 0
    })
    .await;
    assert_eq!(lab.nodes("m1").len(), 4, "{:?} {applied:?}", lab.nodes("m1"));
    assert_eq!(swarm(&["verify"]).code, 0);
}

/// A minority lives on out of reach while the swarm is recovered without it, and comes back: without being named the run refuses; where it was
/// named wrongly, nothing that was committed before or after is lost, and the minority decides nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full"]
async fn a_minority_that_lives_out_of_reach_comes_back() {
    let lab = TestLab::up(5, 0);
    let text = lab.text(&lab.all(""));
    converge(&text).await;
    let file = lab.file(&text);
    let swarm = |args: &[&str]| cli::run(&[args, &["-f", file.to_str().unwrap()]].concat());
    let services = |host: &str| {
        let listed = lab.host(host).exec(&["docker", "service", "ls", "--format", "{{.Name}}"]).unwrap_or_else(|e| e.to_string());
        listed.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let create = |host: &str, name: &str| {
        let argv = ["docker", "service", "create", "-d", "--name", name, "--no-resolve-image", "--replicas", "0", "app:1"];
        lab.host(host).exec(&argv)
    };
    create("m1", "before").unwrap();
    for host in ["m4", "m5"] {
        for other in [lab.host("m1").address, lab.host("m2").address, lab.host("m3").address, lab.host(host).gateway()] {
            lab.host(host).cut(other).unwrap();
        }
    }
    for host in ["m2", "m3"] {
        lab.host(host).kill(true).unwrap();
    }
    eventually("m1 hears no leader", Duration::from_secs(90), || lab.host("m1").exec(&["docker", "node", "ls"]).is_err()).await;
    let dead = ["--fenced", "m2", "--fenced", "m3"];
    let refused = swarm(&[&["recover", "m1", "--yes"], &dead[..]].concat());
    assert!(refused.code == 1 && refused.err.contains("--fenced m4") && refused.err.contains("--fenced m5"), "{refused:?}");
    assert!(lab.host("m1").exec(&["docker", "node", "ls"]).is_err(), "nothing was changed");

    // The operator is wrong about two of them.
    let recovered = swarm(&[&["recover", "m1", "--yes", "--fenced", "m4", "--fenced", "m5"], &dead[..]].concat());
    assert!(recovered.out.contains("m1 leads the swarm"), "{recovered:?}");
    create("m1", "after").unwrap();
    assert!(create("m4", "theirs").is_err(), "a minority commits nothing");
    ["m4", "m5"].iter().for_each(|host| lab.host(host).heal().unwrap());
    // For half a minute, longer than elections take: it is the recovered manager's swarm all the time.
    let since = std::time::Instant::now();
    eventually("they have met", Duration::from_secs(60), || {
        assert_eq!(services("m1"), BTreeSet::from(["before".to_owned(), "after".to_owned()]));
        assert!(create("m5", "theirs").is_err(), "what was cut off decides nothing");
        since.elapsed() > Duration::from_secs(30)
    })
    .await;
    let mut applied = swarm(&["apply", "--yes"]);
    let there = |code: i32| [0, 3, 4].contains(&code);
    eventually("the two are members again", Duration::from_secs(180), || {
        applied = swarm(&["apply", "--yes", "--limit", "m1,m4,m5"]);
        there(applied.code) && lab.nodes("m1").iter().filter(|n| n.contains("manager Ready")).count() == 3
    })
    .await;
    assert_eq!(services("m4"), BTreeSet::from(["before".to_owned(), "after".to_owned()]), "{applied:?}");
}

/// Three of five managers are lost, and one of the two that are left was off while the others went on: the logs say which knows more, whatever
/// is chosen, and the one that is kept is the one that has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full"]
async fn of_the_managers_that_are_left_the_one_that_knows_more_is_named() {
    let lab = TestLab::up(5, 0);
    let text = lab.text(&lab.all(""));
    converge(&text).await;
    let file = lab.file(&text);
    let swarm = |args: &[&str]| cli::run(&[args, &["-f", file.to_str().unwrap()]].concat());
    for host in ["m4", "m5"] {
        lab.host(host).stop_engine();
    }
    for limit in ["7", "8", "9"] {
        lab.docker("m1", &["swarm", "update", "--task-history-limit", limit]);
    }
    for host in ["m1", "m2", "m5"] {
        lab.host(host).kill(true).unwrap();
    }
    lab.host("m4").start_engine().unwrap();
    let fenced = ["--fenced", "m1", "--fenced", "m2", "--fenced", "m5"];
    let dry = |host: &str| swarm(&[&["recover", host, "--dry-run"], &fenced[..]].concat());
    let mut behind = None;
    eventually("both say that they hear no leader", Duration::from_secs(60), || {
        let ran = dry("m4");
        let known = ran.err.contains("m3: its raft log ends") && ran.err.contains("m4: its raft log ends");
        behind = Some(ran);
        known
    })
    .await;
    let behind = behind.unwrap();
    assert!(behind.err.contains("warning: m3 knows more than m4") && behind.err.contains("keep m3 instead"), "{behind:?}");
    let ahead = dry("m3");
    assert!(ahead.code == 2 && !ahead.err.contains("knows more"), "{ahead:?}");
    let number = |said: &str, host: &str| -> u64 {
        let line = said.lines().find(|line| line.starts_with(&format!("{host}: its raft log ends"))).unwrap();
        line.split("index ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
    };
    assert!(number(&ahead.err, "m3") >= number(&ahead.err, "m4") + 3, "three settings and more: {ahead:?}");
    let recovered = swarm(&[&["recover", "m3", "--yes"], &fenced[..]].concat());
    assert_eq!(recovered.code, 0, "{recovered:?}");
    let limit = lab.docker("m3", &["info", "--format", "{{.Swarm.Cluster.Spec.Orchestration.TaskHistoryRetentionLimit}}"]);
    assert_eq!(limit.trim(), "9", "what was decided last");
}
