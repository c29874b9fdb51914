//! `swarm lab test`: a cluster file from nothing to nothing.

use swarm_tests::cli::{self, Ran};

/// Runs it on a file, and gives the stages with whether each ended well.
fn tried(text: &str) -> (Ran, Vec<(String, bool)>) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("swarm.yaml");
    std::fs::write(&file, text).unwrap();
    let child = cli::begin(&["lab", "test", "-f", file.to_str().unwrap()]);
    let name = format!("test-{}", child.id());
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert!(swarm_lab::Lab::find(&name).is_err(), "{name} stays up: {ran:?}");
    let stage = |line: &str| {
        let (name, rest) = line.split_at_checked(16)?;
        rest.contains(" s  ").then(|| (name.trim().to_owned(), rest.ends_with("ok")))
    };
    let stages = ran.out.lines().filter_map(stage).collect();
    (ran, stages)
}

fn all_well(stages: &[&str]) -> Vec<(String, bool)> {
    stages.iter().map(|stage| ((*stage).to_owned(), true)).collect()
}

/// A line a stage with its time; the first that fails ends it, and nothing stays up.
#[test]
fn a_file_is_tried_from_nothing_to_nothing() {
    let hosts = "hosts:\n  m1: { address: 192.0.2.1, role: manager }\n  w1: { address: 192.0.2.2, role: worker, labels: { rack: a } }\n";
    let (ran, stages) = tried(&format!("name: c\n{hosts}"));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(stages, all_well(&["create", "check the file", "converge", "second run", "verify", "destroy"]), "{ran:?}");
    // Checks that are not passed are named in the row of the stage that they end.
    let (ran, stages) = tried(&format!("name: c\n{hosts}swarm: {{ default_addr_pool: [10.208.0.0/12] }}\nprepare: {{ firewall: open }}\n"));
    assert_eq!(ran.code, 1, "{ran:?}");
    let failed = vec![("create".to_owned(), true), ("check the file".to_owned(), true), ("converge".to_owned(), false)];
    assert!(stages == failed && ran.out.contains("FAILED: ") && ran.out.contains("10.208.0.0/12"), "{ran:?}");
    assert!(ran.err.contains("not tried here: prepare"), "{ran:?}");
}

/// With three managers the leader loses its power, and another one leads.
#[test]
#[ignore = "full"]
fn a_failover_is_part_of_it_where_there_are_three_managers() {
    let hosts: Vec<String> = (1..=3).map(|n| format!("  m{n}: {{ address: 192.0.2.{n}, role: manager }}\n")).collect();
    let (ran, stages) = tried(&format!("name: c\nhosts:\n{}", hosts.concat()));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(stages, all_well(&["create", "check the file", "converge", "second run", "verify", "failover", "destroy"]), "{ran:?}");
}
