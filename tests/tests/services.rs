//! Single services from the command line, on real engines.

use crate::deploys::Bed;
use serde_json::Value;
use std::io::BufRead;

#[tokio::test]
async fn a_service_is_made_and_changed_by_flags() {
    let bed = Bed::up(1, 1).await;
    let swarm = |args: &[&str]| bed.swarm_first(args.get(..2).unwrap(), args.get(2..).unwrap());
    let spec = |name: &str| -> Value {
        let ran = bed.swarm_first(&["service", "inspect"], &["--format", "json", name]);
        serde_json::from_str::<Value>(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran:?}"))["object"]["Spec"].clone()
    };

    // What cannot be read is named before any host is asked, all at once.
    let wrong = swarm(&["service", "create", "--name", "web", "--replicas", "x", "--publish", "1.1.1.1:80:80", "app:1"]);
    assert!(wrong.code == 64 && wrong.err.contains("--replicas x") && wrong.err.contains("--publish 1.1.1.1:80:80"), "{wrong:?}");
    let wrong = swarm(&["service", "create", "--name", "web", "--secret", "none", "app:1"]);
    assert!(wrong.code == 1 && wrong.err.contains("secret none") && wrong.err.contains("create it first"), "{wrong:?}");

    let create = [
        "service",
        "create",
        "--name",
        "web",
        "--replicas",
        "2",
        "--replicas-max-per-node",
        "1",
        "-e",
        "COLOUR=blue",
        "--endpoint-mode",
        "dnsrr",
        "--stop-grace-period",
        "1s",
        "--resolve-image",
        "never",
        "app:1",
        "/bin/sleep",
        "1000",
    ];
    let dry = swarm(&[&["service", "create", "--dry-run"], create.get(2..).unwrap()].concat());
    assert!(dry.code == 2 && dry.out.contains("web"), "{dry:?}");
    let made = swarm(&create);
    assert!(made.code == 0 && made.out.contains("service web runs") && !made.err.contains("login"), "{made:?}");
    assert_eq!(bed.all_containers("web").len(), 2);
    let again = swarm(&create);
    assert!(again.code == 1 && again.err.contains("service update"), "{again:?}");

    // Tasks that are watched are printed again when they change, and it ends with Ctrl-C.
    let mut watched = bed.begin_first(&["service", "ps"], &["web", "--watch"]);
    let mut lines = std::io::BufReader::new(watched.stdout.take().unwrap()).lines();
    let mut until = |word: &str| lines.by_ref().map_while(Result::ok).find(|line| line.contains("web.") && line.contains(word)).unwrap();
    until("running");
    bed.lab.docker("m1", &["service", "update", "-d", "--limit-cpu", "64", "--reserve-cpu", "64", "web"]);
    until("no suitable node");
    swarm_tests::lab::sh(&["kill", "-INT", &watched.id().to_string()]);
    assert_eq!(watched.wait().unwrap().code(), Some(130));
    let back = swarm(&["service", "rollback", "web"]);
    assert_eq!(back.code, 0, "{back:?}");

    let update = ["service", "update", "--env-add", "COLOUR=red", "--label-add", "team=a", "--resolve-image", "never", "web"];
    let dry = swarm(&[&["service", "update", "--dry-run"], update.get(2..).unwrap()].concat());
    assert!(dry.code == 2 && dry.out.contains("Env.COLOUR: blue -> red") && dry.out.contains("2 tasks are replaced"), "{dry:?}");
    let before = bed.all_containers("web");
    assert_eq!(swarm(&update).code, 0);
    let after = spec("web");
    assert_eq!(after["TaskTemplate"]["ContainerSpec"]["Env"], serde_json::json!(["COLOUR=red"]));
    assert_eq!(after["Labels"], serde_json::json!({ "team": "a" }));
    assert!(before.iter().all(|old| !bed.all_containers("web").contains(old)), "every task was replaced");
    // What it is already changes nothing, and is said.
    let same = swarm(&update);
    assert!(same.code == 0 && spec("web") == after, "{same:?}");
    let forced = swarm(&["service", "update", "--force", "web"]);
    assert!(forced.code == 0 && spec("web")["TaskTemplate"]["ForceUpdate"] == 1, "{forced:?}");
    // An image that no one has ends the wait, with the task's own word, and the service is paused.
    // One who never logged in is not warned about that.
    let asked = swarm(&["service", "update", "--label-add", "team=b", "--resolve-image", "always", "web"]);
    assert!(asked.code == 0 && !asked.err.contains("login"), "{asked:?}");
    let failing = swarm(&["service", "update", "--image", "nowhere:9", "--resolve-image", "never", "web"]);
    assert!(failing.code == 6 && format!("{}{}", failing.out, failing.err).contains("nowhere:9"), "{failing:?}");
    assert_eq!(swarm(&["service", "rollback", "web"]).code, 0);
    assert_eq!(spec("web")["TaskTemplate"]["ContainerSpec"]["Image"], "app:1");
    assert_eq!(swarm(&["service", "rm", "--yes", "web"]).code, 0);

    // What this kernel cannot do is said before anything is done: services with a virtual IP, ports of the routing mesh.
    assert_eq!(swarm(&["network", "create", "net"]).code, 0);
    let mesh = ["service", "create", "--dry-run", "--name", "mesh", "--network", "net", "--publish", "8080:80", "app:1"];
    let warned = swarm(&mesh);
    let said = |what: &str| warned.err.contains(&format!("{what} does not work on m1, w1: the kernel there has no ip_vs"));
    let has_ipvs = std::path::Path::new("/sys/module/ip_vs").exists();
    assert!(warned.code == 2 && (has_ipvs || said("virtual IP") && said("the routing mesh of port 8080")), "{warned:?}");
    let quiet = swarm(&["service", "create", "--dry-run", "--name", "mesh", "--network", "net", "--endpoint-mode", "dnsrr", "app:1"]);
    assert!(quiet.code == 2 && !quiet.err.contains("does not work"), "{quiet:?}");

    // A job runs to its end, and that ends the wait.
    let job = swarm(&[
        "service",
        "create",
        "--name",
        "job",
        "--mode",
        "replicated-job",
        "--replicas",
        "3",
        "--resolve-image",
        "never",
        "app:1",
        "/bin/true",
    ]);
    assert!(job.code == 0, "{job:?}");
}

/// Tasks that find no node: the reason, node by node, with who has what they want.
#[tokio::test]
async fn each_node_says_why_it_gets_no_task() {
    let bed = Bed::up(1, 1).await;
    let create = |name: &str, how: &[&str]| {
        let service =
            ["service", "create", "--name", name, "--endpoint-mode", "dnsrr", "--resolve-image", "never", "--stop-grace-period", "1s"];
        let all = [&service[..], how, &["app:1", "/bin/sleep", "1000"]].concat();
        bed.swarm_first(&all[..2], &all[2..])
    };
    let port = ["--publish", "mode=host,published=8080,target=80"];
    let held = create("held", &[&["--mode", "global"], &port[..]].concat());
    assert_eq!(held.code, 0, "{held:?}");
    let most = std::thread::available_parallelism().unwrap().get().to_string();
    let big = create("big", &["--constraint", "node.hostname==w1", "--reserve-cpu", &most]);
    assert_eq!(big.code, 0, "{big:?}");
    let (late, wide) = std::thread::scope(|scope| {
        let late = scope.spawn(|| create("late", &port));
        let wide = scope.spawn(|| create("wide", &["--constraint", "node.hostname==w1", "--reserve-cpu", "0.5"]));
        (late.join().unwrap(), wide.join().unwrap())
    });
    let said = |ran: &swarm_tests::cli::Ran, what: &str| format!("{}{}", ran.out, ran.err).contains(what);
    for host in ["m1", "w1"] {
        assert!(late.code == 1 && said(&late, &format!("{host}: its port 8080/tcp is taken by held")), "{late:?}");
    }
    let of_all = format!("w1: {most} of its {most} CPUs are reserved, and each task reserves 0.5");
    assert!(wide.code == 1 && said(&wide, &of_all) && said(&wide, "m1: node.hostname is m1"), "{wide:?}");
}

/// Volumes and images of all hosts: what uses them, and what nothing needs goes.
#[tokio::test]
async fn what_engines_keep_is_listed_and_pruned() {
    let bed = Bed::up(1, 1).await;
    let swarm = |args: &[&str]| bed.swarm_first(args.get(..2).unwrap(), args.get(2..).unwrap());
    let made = swarm(&[
        "service",
        "create",
        "--name",
        "db",
        "--constraint",
        "node.hostname==w1",
        "--mount",
        "source=data,target=/d",
        "--stop-grace-period",
        "1s",
        "--resolve-image",
        "never",
        "app:1",
        "/bin/sleep",
        "1000",
    ]);
    assert_eq!(made.code, 0, "{made:?}");
    for (host, volume) in [("w1", "left"), ("m1", "data")] {
        bed.lab.docker(host, &["volume", "create", volume]);
    }
    bed.lab.docker("m1", &["run", "-d", "--name", "own", "-v", "held:/h", "app:1", "/bin/sleep", "1000"]);
    let ls = swarm(&["volume", "ls"]);
    let rows: Vec<Vec<&str>> = ls.out.lines().skip(1).map(|l| l.split_whitespace().collect()).collect();
    assert!(ls.code == 0 && rows.contains(&vec!["w1", "data", "local", "db"]) && rows.contains(&vec!["w1", "left", "local"]), "{ls:?}");
    assert!(rows.iter().any(|r| r.get(..3) == Some(&["m1", "held", "local"][..]) && r.contains(&"container")), "{ls:?}");
    let inspect = swarm(&["volume", "inspect", "data"]);
    assert!(inspect.code == 0 && inspect.out.contains("\"mountpoint\"") && inspect.out.contains("\"db\""), "{inspect:?}");
    assert_eq!(swarm(&["volume", "inspect", "none"]).code, 1);
    // One that a service names stays, also on a host where no task has it now.
    let refused = swarm(&["volume", "rm", "--yes", "--host", "m1", "data"]);
    assert!(refused.code == 1 && refused.err.contains("service db"), "{refused:?}");
    let dry = swarm(&["volume", "prune", "--dry-run"]);
    assert!(dry.code == 2 && dry.out.contains("w1: volume left") && !dry.out.contains("data") && !dry.out.contains("held"), "{dry:?}");
    let unasked = swarm(&["volume", "prune"]);
    assert!(unasked.code == 1 && bed.lab.docker("w1", &["volume", "ls", "-q"]).contains("left"), "{unasked:?}");
    let pruned = swarm(&["volume", "prune", "--yes"]);
    assert!(pruned.code == 0 && !bed.lab.docker("w1", &["volume", "ls", "-q"]).contains("left"), "{pruned:?}");
    let idle = swarm(&["volume", "prune"]);
    assert!(idle.code == 0 && idle.out.contains("nothing to remove"), "{idle:?}");
    // What a container has is refused by its engine, and named.
    let held = swarm(&["volume", "rm", "--yes", "--host", "m1", "held"]);
    assert!(held.code == 1 && held.err.contains("m1: volume held") && held.err.contains("in use"), "{held:?}");

    // Images: what runs, what a service names and what was before stay.
    bed.lab.docker("w1", &["run", "--name", "once", "app:1", "/bin/true"]);
    bed.lab.docker("w1", &["commit", "once", "junk:1"]);
    bed.lab.docker("w1", &["rm", "once"]);
    assert_eq!(swarm(&["service", "update", "--image", "app:2", "--resolve-image", "never", "db"]).code, 0);
    let images = swarm(&["image", "ls"]);
    assert!(images.code == 0 && images.out.lines().any(|l| l.starts_with("app:1") && l.ends_with("all")), "{images:?}");
    let missing = swarm(&["image", "pull", "localhost:1/none:1"]);
    assert!(missing.code == 1 && missing.err.contains("m1: ") && missing.err.contains("w1: "), "{missing:?}");
    let pruned = swarm(&["image", "prune", "--yes"]);
    assert!(pruned.code == 0 && pruned.out.contains("w1: image junk:1 removed"), "{pruned:?}");
    for host in ["m1", "w1"] {
        let left = bed.lab.docker(host, &["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]);
        assert!(left.contains("app:1") && left.contains("app:2") && !left.contains("junk"), "{host}: {left}");
    }
}
