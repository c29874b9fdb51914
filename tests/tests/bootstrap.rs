//! A cluster from nothing, and the second run.

use std::sync::Arc;
use swarm_core::machine::Outcome;
use swarm_tests::lab::{TestLab, converge, plan};
use swarm_tests::proxy::{ENGINE, Proxy, Record};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_managers_and_three_workers_then_nothing_to_do() {
    let lab = TestLab::up(3, 3);
    let record = Arc::new(Record::default());
    let _proxies: Vec<Proxy> = lab.lab.hosts.iter().map(|h| Proxy::start(h, &record)).collect();
    let file = lab.text(&lab.all(ENGINE));

    let report = converge(&file).await;
    assert_eq!(report.steps.len(), 6);
    assert!(report.steps.iter().all(|s| s.outcome == Outcome::Done { changed: true }), "{report:#?}");
    let expected: Vec<String> = ["m1", "m2", "m3"]
        .iter()
        .map(|m| format!("{m} manager Ready Active"))
        .chain(["w1", "w2", "w3"].iter().map(|w| format!("{w} worker Ready Active")))
        .collect();
    assert_eq!(lab.nodes("m2"), expected);
    let inits = record.mutating().iter().filter(|s| s.path.starts_with("/swarm/init")).count();
    assert_eq!((inits, record.mutating().len()), (1, 6), "one init, five joins: {:?}", record.mutating());

    // The second run: nothing planned, no changing call, and the engines themselves saw no event.
    record.clear();
    let since = lab.host("m1").exec(&["date", "+%s.%N"]).unwrap();
    let report = converge(&file).await;
    assert!(report.steps.is_empty());
    assert_eq!(record.mutating(), []);
    assert!(
        lab.lab.hosts.iter().all(|h| record.seen().iter().any(|s| s.host == h.name && s.path == "/info")),
        "every engine was asked: {:?}",
        record.seen()
    );
    let until = lab.host("m1").exec(&["date", "+%s.%N"]).unwrap();
    let events = lab.docker("m1", &["events", "--since", since.trim(), "--until", until.trim(), "--filter", "scope=swarm"]);
    assert_eq!(events, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_addresses_labels_and_availability_are_there_from_the_start() {
    let lab = TestLab::up(1, 1);
    let net = lab.host("m1").address.to_string();
    let net = net.rsplit_once('.').unwrap().0;
    let hosts = [
        ("m1", "manager", "advertise: eth0, availability: drain"),
        ("w1", "worker", &*format!("advertise: {net}.0/24, labels: {{ rack: a, zone.name: \"1\" }}, availability: pause")),
    ];
    let settings = "swarm: { task_history_limit: 3, dispatcher_heartbeat: 7s, cert_expiry: 720h, snapshot_interval: 5000, default_addr_pool: [10.77.0.0/16], default_addr_pool_mask_length: 26, data_path_port: 4799 }";
    let file = lab.text_with(&hosts, settings);
    // The tool needs no docker command line on the host.
    lab.host("w1").exec(&["mount", "--bind", "/dev/null", "/usr/bin/docker"]).unwrap();
    converge(&file).await;
    assert_eq!(lab.nodes("m1"), ["m1 manager Ready Drain", "w1 worker Ready Pause"]);
    assert_eq!(
        lab.docker("m1", &["node", "inspect", "w1", "--format", "{{index .Spec.Labels \"rack\"}} {{index .Spec.Labels \"zone.name\"}}"])
            .trim(),
        "a 1"
    );
    let info = lab.docker("m1", &["info", "--format", "{{json .Swarm.Cluster}}"]);
    let swarm: serde_json::Value = serde_json::from_str(&info).unwrap();
    assert_eq!(swarm["Spec"]["Orchestration"]["TaskHistoryRetentionLimit"], 3);
    assert_eq!(swarm["Spec"]["Dispatcher"]["HeartbeatPeriod"], 7_000_000_000u64);
    assert_eq!(swarm["Spec"]["CAConfig"]["NodeCertExpiry"], 720u64 * 3600 * 1_000_000_000);
    assert_eq!(swarm["Spec"]["Raft"]["SnapshotInterval"], 5000);
    assert_eq!(swarm["DefaultAddrPool"][0], "10.77.0.0/16");
    assert_eq!((&swarm["SubnetSize"], &swarm["DataPathPort"]), (&26.into(), &4799.into()));
    assert_eq!(swarm["Spec"]["Labels"]["swarm.cluster.name"], lab.lab.name.as_str());
    assert!(plan(&file).await.unwrap().0.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_of_twenty_lines_makes_a_cluster() {
    let lab = TestLab::up(1, 1);
    let examples = swarm_tests::cli::binary().with_file_name("examples");
    for (name, expected) in [
        ("bootstrap", "2 steps, Converged"),
        ("progress_bar", "Converged: 0 of 0 steps ended"),
        ("plan_only", "Nothing to do."),
        ("events", "Converged"),
        ("custom_engine", "matches the file: true"),
    ] {
        let output = std::process::Command::new(examples.join(name)).arg(lab.lab.file()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains(expected), "{name}: {text}{}", String::from_utf8_lossy(&output.stderr));
    }
    // A specification with its types, as an engine takes it and gives it back.
    for steps in ["2 steps", "0 steps"] {
        let output =
            std::process::Command::new(examples.join("typed_service")).arg(lab.lab.file()).args(["nothing:1", "0"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let expected = format!("{steps}, Converged; Some(Replicated(Replicated {{ replicas: Some(0)");
        assert!(output.status.success() && text.contains(&expected) && text.contains("Some(StartFirst)"), "{text}{output:?}");
    }
    let pid = lab.host("m1").pid().unwrap().to_string();
    let output = std::process::Command::new(examples.join("custom_host")).arg(pid).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("control_available: true"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_of_this_machine_and_an_address_that_is_translated() {
    let lab = TestLab::up(1, 0);
    // This machine's own engine socket, whose swarm is reached at an address that no interface here carries.
    let more = format!("connection: local, engine: \"unix://{}\"", lab.host("m1").socket().display());
    let refused = plan(&lab.text(&[("m1", "manager", &more)])).await.unwrap_err().to_string();
    assert!(refused.contains("is not an address of this host") && refused.contains("set `advertise`"), "{refused}");
    converge(&lab.text(&[("m1", "manager", &format!("{more}, nat: true"))])).await;
    assert_eq!(lab.nodes("m1"), ["m1 manager Ready Active"]);
}

/// The small program for images, and the web service: the same library, events as they happen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_small_program_and_the_web_service_bring_clusters_up() {
    use std::io::BufRead;
    let lab = TestLab::up(1, 1);
    let file = lab.file(&lab.text(&lab.all("")));
    let small = |verb: &str| {
        let program = swarm_tests::cli::binary().with_file_name("swarm-bootstrap");
        let output = std::process::Command::new(program).arg(verb).arg(&file).output().unwrap();
        let events: Vec<serde_json::Value> =
            String::from_utf8_lossy(&output.stdout).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        (output.status.code().unwrap(), events)
    };
    let last = |events: &[serde_json::Value]| events.last().unwrap()["event"].as_str().unwrap().to_owned();
    let (code, events) = small("plan");
    assert_eq!((code, last(&events)), (2, "planned".into()));
    let (code, events) = small("verify");
    assert_eq!((code, last(&events)), (3, "verified".into()));
    let (code, events) = small("apply");
    assert_eq!((code, last(&events)), (0, "ended".into()), "{events:?}");
    assert!(events.iter().any(|e| e["event"] == "step-finished" && e["step"] == "w1/join"), "{events:?}");
    assert_eq!(events.last().unwrap()["report"]["ending"], "converged");
    assert_eq!((small("verify").0, small("plan").0, small("destroy").0), (0, 0, 64));
    // What it does not do of a file, it says.
    let left_out = |events: &[serde_json::Value]| -> Vec<String> {
        events.iter().filter(|e| e["event"] == "left-out").map(|e| e["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(left_out(&small("plan").1), Vec::<String>::new());
    let plain = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{plain}prepare: {{ firewall: open }}\nservices: {{ web: {{ image: app }} }}\n")).unwrap();
    let (code, events) = small("plan");
    assert_eq!((code, left_out(&events)), (0, vec!["prepare".to_owned(), "services".to_owned()]), "{events:?}");
    std::fs::write(&file, plain).unwrap();

    // The web service goes on from there: a label is new.
    let web = swarm_tests::cli::example("web");
    let mut web = std::process::Command::new(web).arg("127.0.0.1:0").stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufReader::new(web.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().rsplit(' ').next().unwrap().to_owned();
    let post = |text: String| {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        write!(stream, "POST /clusters HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}", text.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let wrong = post("hosts: {}".into());
    let right = post(lab.text(&[("m1", "manager", ""), ("w1", "worker", "labels: { rack: a }")]));
    web.kill().unwrap();
    web.wait().unwrap();
    assert!(wrong.starts_with("HTTP/1.1 422") && wrong.contains("name"), "{wrong}");
    assert!(right.starts_with("HTTP/1.1 200") && right.contains("data: {") && right.contains("w1/configure"), "{right}");
    assert!(right.contains("\"ending\":\"converged\""), "{right}");
    assert_eq!(lab.docker("m1", &["node", "inspect", "w1", "--format", "{{.Spec.Labels.rack}}"]).trim(), "a");
}
