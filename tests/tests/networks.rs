//! The addresses of a network, counted beside a real engine that runs out of them; and nodes that are too small for a task.

use crate::deploys::Bed;
use serde_json::Value;
use std::time::Duration;
use swarm_tests::lab::eventually;

#[tokio::test]
async fn a_network_says_how_many_addresses_are_left() {
    let bed = Bed::up(1, 1).await;
    let made = bed.swarm(&["network", "create", "small", "--subnet", "10.78.0.0/28"]);
    assert_eq!(made.code, 0, "{made:?}");
    let addresses = || -> (u64, u64) {
        let ran = bed.swarm(&["network", "inspect", "small", "--format", "json"]);
        let document: Value = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
        let row = &document["addresses"][0];
        assert_eq!(row["subnet"], "10.78.0.0/28", "{ran:?}");
        (row["used"].as_u64().unwrap(), row["free"].as_u64().unwrap())
    };
    assert_eq!(addresses(), (1, 13));
    let create = |name: &str, replicas: &str, more: &[&str]| {
        let service = ["service", "create", "--name", name, "--network", "small", "--endpoint-mode", "dnsrr", "--resolve-image", "never"];
        bed.swarm_first(
            &service,
            &[&["--replicas", replicas, "--stop-grace-period", "1s"], more, &["app:1", "/bin/sleep", "1000"]].concat(),
        )
    };
    let four = create("four", "4", &[]);
    assert_eq!(four.code, 0, "{four:?}");
    // The gateway, two nodes, four tasks.
    assert_eq!(addresses(), (7, 7));
    let text = bed.swarm(&["network", "inspect", "small"]);
    assert!(text.code == 0 && text.err.contains("10.78.0.0/28: 7 addresses used, 7 free"), "{text:?}");

    // The engine agrees: of twenty tasks more, as many run as addresses are left.
    let many = create("many", "20", &["--detach"]);
    assert_eq!(many.code, 0, "{many:?}");
    eventually("no address is left, and seven tasks more run", Duration::from_secs(60), || {
        addresses() == (14, 0) && bed.all_containers("many").len() == 7
    })
    .await;
    // A change that waits for them ends when it may not take longer, and says what it waited for.
    let late = bed.swarm(&["service", "scale", "many=21", "--timeout", "4s"]);
    assert!(late.code != 0 && late.err.contains("many"), "{late:?}");
    let gone = bed.swarm(&["service", "rm", "many", "four", "--yes"]);
    assert_eq!(gone.code, 0, "{gone:?}");
    eventually("they are free again", Duration::from_secs(60), || addresses() == (1, 13)).await;

    // What no node has is said before anything is made, node by node.
    let big = create("big", "1", &["--reserve-memory", "900g", "--dry-run"]);
    let said = format!("{}{}", big.out, big.err);
    assert!(big.code == 2 && said.contains("m1: it has") && said.contains("and each task reserves 921600"), "{big:?}");
    let arch = create("arch", "1", &["--constraint", "node.platform.arch==riscv64", "--dry-run"]);
    assert!(format!("{}{}", arch.out, arch.err).contains("node.platform.arch is"), "{arch:?}");
}
