//! A swarm that someone made by hand, taken over: the file that is written for it has an empty plan.

use swarm_tests::cli;
use swarm_tests::lab::TestLab;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swarm_made_by_hand_is_adopted() {
    let lab = TestLab::up(2, 2);
    let at = |host: &str| lab.host(host).address.to_string();
    let init = ["swarm", "init", "--advertise-addr", &at("m1"), "--autolock", "--task-history-limit", "3", "--cert-expiry", "720h"];
    lab.docker("m1", &[&init[..], &["--default-addr-pool", "10.77.0.0/16", "--data-path-port", "5000"]].concat());
    for (host, role) in [("m2", "manager"), ("w1", "worker")] {
        let token = lab.docker("m1", &["swarm", "join-token", "-q", role]);
        let join = ["swarm", "join", "--token", token.trim(), "--advertise-addr", &at(host), &format!("{}:2377", at("m1"))];
        lab.docker(host, &join);
    }
    lab.docker("m1", &["node", "update", "--label-add", "rack=a b", "--label-add", "zone=", "--availability", "drain", "w1"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.yaml");
    let file = file.to_str().unwrap();
    let in_lab = |name: &str| lab.lab.dir.join(name).display().to_string();
    let (identity, known) = (in_lab("id_ed25519"), in_lab("known_hosts"));
    let adopt = |more: &[&str]| cli::run(&[&["adopt", "-i", &identity, "--known-hosts", &known, "-o", file], more].concat());

    // A worker cannot say what the swarm is, and a host outside of it is not of it.
    let worker = adopt(&[&format!("root@{}", at("w1"))]);
    assert!(worker.code == 1 && worker.err.contains("none of these is a manager that answers"), "{worker:?}");
    let stranger = adopt(&[&format!("root@{}", at("m1")), &format!("root@{}", at("w2"))]);
    assert!(stranger.code == 1 && stranger.err.contains("is no node of swarm"), "{stranger:?}");
    let version = || lab.docker("m1", &["info", "--format", "{{.Swarm.Cluster.Version.Index}}"]);
    let before = version();
    let shown = adopt(&[&format!("root@{}", at("m1")), "--name", "shop", "--dry-run"]);
    assert!(shown.code == 0 && shown.out.contains("name: shop") && version() == before, "{shown:?}");

    let adopted = adopt(&[&format!("first=root@{}", at("m1")), "--name", "shop"]);
    assert!(adopted.code == 0 && adopted.out.contains("with 3 hosts; it matches what is there"), "{adopted:?}");
    let text = std::fs::read_to_string(file).unwrap();
    for part in [
        "first:",
        "rack: \"a b\"",
        "zone: \"\"",
        "availability: drain",
        "task_history_limit: 3",
        "cert_expiry: 720h",
        "data_path_port: 5000",
        "10.77.0.0/16",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let planned = cli::run(&["plan", "-f", file]);
    assert!(planned.code == 0 && planned.out.contains("Nothing to do"), "{planned:?}");
    assert_eq!(cli::run(&["verify", "-f", file]).code, 0);
    // The unlock key is kept now; it was not in any output.
    let key = std::fs::read_to_string(folder.path().join("shop.unlock-key")).unwrap();
    assert!(key.starts_with("SWMKEY-1-") && !adopted.out.contains(key.trim()) && !adopted.err.contains(key.trim()));
    // A second time the file is not overwritten.
    let again = adopt(&[&format!("root@{}", at("m1"))]);
    assert!(again.code == 1 && again.err.contains("not overwritten"), "{again:?}");
    assert_eq!(std::fs::read_to_string(file).unwrap(), text);
}
