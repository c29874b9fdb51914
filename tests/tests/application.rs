//! The application of `examples/application`: brought up with its cluster, used, updated, drained, removed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use swarm_tests::cli::{self, Ran};
use swarm_tests::lab::{TestLab, eventually};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples/application")
}

/// The image of a version, as an archive that `docker save` wrote.
fn archive(lab: &TestLab, version: &str) -> PathBuf {
    let built = Command::new(folder().join("build")).arg(version).stderr(Stdio::inherit()).output().unwrap();
    assert!(built.status.success());
    let root = lab.lab.dir.join("root.tar");
    std::fs::write(&root, built.stdout).unwrap();
    let tag = format!("shop:{version}");
    lab.docker("m1", &["import", root.to_str().unwrap(), &tag]);
    let saved = lab.lab.dir.join(format!("shop-{version}.tar"));
    lab.docker("m1", &["save", "-o", saved.to_str().unwrap(), &tag]);
    saved
}

/// What a customer gets from the front of a node.
fn ask(lab: &TestLab, host: &str, what: &str) -> Option<String> {
    let address = format!("http://{}:8080/cgi-bin/buy?{what}", lab.host(host).address);
    lab.host("m1").exec(&["timeout", "5", "busybox", "wget", "-qO-", &address]).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_of_five_services_comes_up_is_updated_drained_and_removed() {
    let lab = TestLab::up(1, 2);
    let stacks = format!("stacks: {{ shop: {{ compose: [{}] }} }}", folder().join("compose.yaml").display());
    let text = lab.text_with(&[("m1", "manager", ""), ("w1", "worker", "labels: { orders: \"yes\" }"), ("w2", "worker", "")], &stacks);
    let file = lab.file(&text);
    let file = file.to_str().unwrap();
    let swarm = |api: &str, args: &[&str]| -> Ran { cli::command(args).env("API", api).output().unwrap().into() };
    // The hosts are in no swarm yet: the image is brought to them first, so that one apply does the rest.
    let first = archive(&lab, "1");
    let pushed = swarm("1", &["image", "push", "-f", file, "-i", first.to_str().unwrap()]);
    assert_eq!(pushed.code, 0, "{pushed:?}");
    let up = swarm("1", &["apply", "-f", file, "--yes"]);
    assert_eq!(up.code, 0, "{up:?}");
    assert_eq!(swarm("1", &["plan", "-f", file]).code, 0, "the same again is nothing to do");
    // It does its work: an order goes from the front to the database, by way of all five.
    for host in ["m1", "w1", "w2"] {
        assert_eq!(ask(&lab, host, "order").as_deref(), Some("welcome\nordered\n"), "{host}");
    }
    let long = Duration::from_secs(60);
    eventually("the orders are in the database", long, || ask(&lab, "w2", "").as_deref() == Some("welcome\nversion 1, 3 orders\n")).await;
    // The front is in no network of the database.
    let front = lab.docker("w1", &["ps", "-q", "--filter", "label=com.docker.swarm.service.name=shop_front"]);
    assert!(lab.host("w1").exec(&["docker", "exec", front.trim(), "timeout", "3", "wget", "-qO-", "http://database:6379"]).is_err());

    // A new api, while customers ask: the plan shows what is replaced, no request fails, no order is lost.
    let second = archive(&lab, "2");
    assert_eq!(swarm("1", &["image", "push", "-f", file, "-i", second.to_str().unwrap()]).code, 0);
    let shown = swarm("2", &["plan", "-f", file]);
    assert!(shown.code == 2 && shown.out.contains("shop_api") && !shown.out.contains("shop_worker"), "{shown:?}");
    let mut update =
        cli::command(&["apply", "-f", file, "--yes"]).env("API", "2").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (mut asked, mut failed) = (0, Vec::new());
    while update.try_wait().unwrap().is_none() {
        asked += 1;
        match ask(&lab, "m1", "") {
            Some(answer) if answer.contains("3 orders") => {}
            other => failed.push(other),
        }
    }
    assert!(update.wait().unwrap().success() && asked > 10 && failed.is_empty(), "{asked} asked, failed: {failed:?}");
    assert_eq!(ask(&lab, "m1", "").as_deref(), Some("welcome\nversion 2, 3 orders\n"));

    // A worker is emptied: what ran there runs elsewhere, and the application serves on.
    let drained = swarm("2", &["node", "drain", "-f", file, "w2"]);
    assert_eq!(drained.code, 0, "{drained:?}");
    eventually("the application answers after the drain", long, || ask(&lab, "w1", "order").as_deref() == Some("welcome\nordered\n")).await;
    eventually("the order is in the database", long, || ask(&lab, "w1", "").is_some_and(|a| a.contains("4 orders"))).await;
    assert_eq!(swarm("2", &["node", "activate", "-f", file, "w2"]).code, 0);

    // Gone but for its volume; the password was in nothing that was printed.
    let removed = swarm("2", &["stack", "rm", "-f", file, "shop", "--yes"]);
    assert_eq!(removed.code, 0, "{removed:?}");
    assert!(lab.docker("m1", &["service", "ls", "-q"]).is_empty() && lab.docker("m1", &["secret", "ls", "-q"]).is_empty());
    assert!(lab.docker("w1", &["volume", "ls", "-q"]).contains("shop_orders"));
    for ran in [&up, &shown, &removed] {
        assert!(!format!("{ran:?}").contains("an-example-and-no-password"), "{ran:?}");
    }
}
