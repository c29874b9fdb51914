//! A quorum that is lost for good: one manager goes on, and every other is fenced first.

use std::collections::BTreeSet;
use std::time::Duration;
use swarm_core::fleet::Fleet;
use swarm_core::plan::Refusal;
use swarm_core::recover::Recover;
use swarm_core::report::{Ending, Report};
use swarm_core::{Apply, ApplyError, ClusterSpec};
use swarm_sim::{Incident, World};
use swarm_tests::cli;
use swarm_tests::lab::{TestLab, converge, eventually};
use swarm_tests::sim::stories::POINTS;
use swarm_tests::sim::{Drawer, THREE, Tool, cluster, cut_off, no_violations, spec};

async fn recover(world: &World, wanted: &ClusterSpec, host: &str, fenced: &[&str]) -> Result<Report, Vec<Refusal>> {
    let fleet = world.fleet("me");
    let intent = Recover { spec: wanted, host: host.into(), fenced: fenced.iter().map(|f| (*f).to_owned()).collect() };
    let apply = Apply::new(wanted, &fleet);
    match apply.plan_for(&intent).await {
        Ok((plan, observed)) => Ok(apply.run_for(&intent, &plan, &observed).await),
        Err(ApplyError::Refused(refusals)) => Err(refusals),
        Err(error) => panic!("{error}\n{}", world.story()),
    }
}

/// Two of three are gone. Wherever the run is cut off, the next one ends it, and the hosts that come back empty join again.
#[test]
fn one_of_three_goes_on_wherever_the_run_is_cut_off() {
    let mut cuts = 0;
    for point in POINTS {
        for call in 1..40 {
            cuts += u32::from(swarm_sim::run(async {
                let world = World::of(&spec(THREE), call);
                let wanted = cluster(&world, THREE).await;
                world.cause(&Incident::PowerCut("m2".into()));
                world.cause(&Incident::PowerCut("m3".into()));
                tokio::time::sleep(Duration::from_secs(30)).await;
                let ended = cut_off(&world, call, point, recover(&world, &wanted, "m1", &["m2", "m3"])).await;
                let cut = ended.map(Result::unwrap).is_none();
                match recover(&world, &wanted, "m1", &["m2", "m3"]).await {
                    Ok(report) => assert_eq!(report.ending, Ending::Converged, "call {call}, {point:?}: {report:#?}"),
                    // It was done already.
                    Err(refusals) => assert!(format!("{refusals:?}").contains("nothing to recover"), "call {call}: {refusals:?}"),
                }
                for host in ["m2", "m3"] {
                    world.cause(&Incident::PowerOn(host.into()));
                    world.cause(&Incident::StateLost(host.into()));
                }
                tokio::time::sleep(Duration::from_secs(30)).await;
                let keys = Drawer::default();
                let mut ended = Tool::new(&world, "after", &wanted, &keys).apply().await;
                for _ in 0..2 {
                    if !ended.converged() {
                        ended = Tool::new(&world, "after", &wanted, &keys).apply().await;
                    }
                }
                assert!(ended.converged(), "call {call}, {point:?}: {ended:?}\n{}", world.story());
                no_violations(&world, call, "recovering");
                cut
            }));
        }
    }
    assert!(cuts > 30, "cut off at {cuts} calls");
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
