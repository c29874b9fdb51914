//! Managers that others replace, in one edit of the file, with what runs on the cluster.

use crate::deploys::Bed;
use crate::rolling::Client;
use std::time::Duration;
use swarm_tests::lab::eventually;

const WEB: &str = "services:
  web:
    image: app:1
    command: /bin/httpd -f -p 80 -h /www
    networks: [front]
    configs: [{ source: page, target: /www/page }]
    deploy: { replicas: 3, endpoint_mode: dnsrr }
networks: { front: { attachable: true } }
configs: { page: { file: page } }
";

fn with_web(bed: &Bed) {
    bed.write("page", "page\n");
    bed.write("app.yml", WEB);
    let up = bed.deploy(&[]);
    assert_eq!(up.code, 0, "{up:?}");
}

/// All managers of a file are replaced by others in one edit and one apply: the swarm is the same one, its service runs on, the old hosts are in
/// no swarm and in no list, and there is nothing left to do.
#[tokio::test]
async fn all_managers_are_replaced_by_one_apply() {
    let bed = Bed::up(3, 4).await;
    let roles = |of: &dyn Fn(&str) -> &'static str| {
        let hosts: Vec<(&str, &str, &str)> = bed.lab.lab.hosts.iter().map(|h| (h.name.as_str(), of(&h.name), "")).collect();
        bed.lab.text(&hosts)
    };
    with_web(&bed);
    let id = bed.lab.docker("m1", &["info", "--format", "{{.Swarm.Cluster.ID}}"]);
    bed.describe(&roles(&|name| match name {
        "w1" | "w2" | "w3" => "manager",
        "w4" => "worker",
        _ => "none",
    }));
    let planned = bed.swarm(&["plan"]);
    assert!(planned.code == 2 && planned.out.contains("the file wants it in no swarm"), "{planned:?}");
    let (last_in, first_out) = (planned.out.rfind("promote").unwrap(), planned.out.find("demote").unwrap());
    assert!(last_in < first_out, "{planned:?}");
    let applied = bed.swarm(&["apply", "--yes"]);
    assert_eq!(applied.code, 0, "{applied:?}");
    assert_eq!(
        bed.lab.nodes("w1"),
        ["w1 manager Ready Active", "w2 manager Ready Active", "w3 manager Ready Active", "w4 worker Ready Active"]
    );
    assert_eq!(bed.lab.docker("w1", &["info", "--format", "{{.Swarm.Cluster.ID}}"]), id, "the same swarm");
    for old in ["m1", "m2", "m3"] {
        assert_eq!(bed.lab.docker(old, &["info", "--format", "{{.Swarm.LocalNodeState}}"]).trim(), "inactive", "{old}");
    }
    eventually("the service has its three tasks", Duration::from_secs(30), || bed.all_containers("app_web").len() == 3).await;
    let status = bed.swarm(&["status"]);
    assert!(status.out.contains("(none)") && !applied.err.contains("was down"), "{status:?} {applied:?}");
    for (verb, code) in [("plan", 0), ("verify", 0), ("apply", 0)] {
        let again = bed.swarm(&[verb]);
        assert_eq!(again.code, code, "{verb}: {again:?}");
    }
    // One of them comes back as a worker, and a host that was switched off is said to be that.
    bed.describe(&roles(&|name| match name {
        "w1" | "w2" | "w3" => "manager",
        "m1" | "w4" => "worker",
        _ => "none",
    }));
    assert_eq!(bed.swarm(&["apply", "--yes"]).code, 0);
    bed.lab.host("m2").kill(true).unwrap();
    let unknown = bed.swarm(&["verify", "--timeout", "1s"]);
    assert!(unknown.code == 3 && unknown.out.contains("m2") && unknown.out.contains("to be in no swarm"), "{unknown:?}");
}

/// Five managers become three and five again, while a client on the overlay asks all the time.
#[tokio::test]
async fn five_managers_become_three_and_five_again_and_no_request_fails() {
    let bed = Bed::up(5, 1).await;
    with_web(&bed);
    let managers = |count: usize| {
        let hosts = bed.lab.lab.hosts.iter().enumerate();
        let hosts: Vec<(&str, &str, &str)> =
            hosts.map(|(i, h)| (h.name.as_str(), if i < count { "manager" } else { "worker" }, "")).collect();
        bed.lab.text(&hosts)
    };
    let client = Client::start(&bed, "w1");
    for count in [3, 5] {
        bed.describe(&managers(count));
        let applied = bed.swarm(&["apply", "--yes"]);
        assert_eq!(applied.code, 0, "{applied:?}");
        let listed = bed.lab.nodes("m1").iter().filter(|n| n.contains(" manager Ready")).count();
        assert_eq!(listed, count);
    }
    client.saw_no_failure().await;
}
