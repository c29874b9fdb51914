//! Who may import whom, read from the sources and manifests. The table is in ARCHITECTURE.md.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the crates have their code.
const CRATES: &[&str] = &[
    "swarm-core/src",
    "swarm-machines/src",
    "swarm-ec2/src",
    "swarm-prepare/src",
    "swarm-probe/src",
    "swarm-backup/src",
    "swarm-service/src",
    "swarm-workload/src",
    "swarm-images/src",
    "swarm-compose/src",
    "swarm-file/src",
    "swarm-ssh/src",
    "swarm-docker/src",
    "swarm-fleet/src",
    "swarm-lab/src",
    "swarm-sim/src",
    "swarm-cli/src",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(dir: &str) -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
        if dir.is_file() {
            found.push((dir.to_owned(), fs::read_to_string(dir).unwrap()));
            return;
        }
        for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() || path.extension().is_some_and(|e| e == "rs") {
                walk(&path, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(dir), &mut found);
    assert!(!found.is_empty(), "{dir}");
    found
}

/// The code of a file: without comments, and without its tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap();
    text.lines().filter(|l| !l.trim_start().starts_with("//")).map(|l| format!("{l}\n")).collect()
}

fn never(dirs: &[&str], words: &[&str]) {
    for dir in dirs {
        for (path, text) in sources(dir) {
            for word in words {
                assert!(!code(&text).contains(word), "{} uses {word}", path.display());
            }
        }
    }
}

#[test]
fn the_rules_are_pure() {
    let pure = [
        "spec",
        "observe",
        "condition.rs",
        "object.rs",
        "quorum.rs",
        "plan",
        "intent.rs",
        "nodes.rs",
        "step",
        "machine",
        "verify",
        "report.rs",
        "operators.rs",
    ]
    .map(|m| format!("swarm-core/src/{m}"));
    let pure: Vec<&str> = pure.iter().map(String::as_str).collect();
    never(
        &pure,
        &[
            "tokio",
            "async ",
            ".await",
            "Instant::",
            "SystemTime",
            "std::fs",
            "std::net::Tcp",
            "std::env",
            "std::process",
            "crate::driver",
            "crate::fleet",
        ],
    );
    never(&pure, &["crate::host"]);
    // The runner carries steps out whose families it does not know, and objects are a leaf that both engines and observations use.
    never(&["swarm-core/src/machine"], &["crate::family", "crate::nodes"]);
    // Steps know neither who plans them nor who carries them out, and the runner knows no kind of them.
    never(&["swarm-core/src/step"], &["crate::plan", "crate::machine"]);
    let runner = ["board", "families", "hears", "run", "start"].map(|file| format!("swarm-core/src/machine/{file}.rs"));
    let runner: Vec<&str> = runner.iter().map(String::as_str).collect();
    let kinds = "Init Join Leave Configure Promote Demote UpdateSwarm StoreUnlockKey Unlock Recover RemoveNode";
    let kinds: Vec<String> = kinds.split(' ').map(|kind| format!("Action::{kind}")).collect();
    never(&runner, &kinds.iter().map(String::as_str).collect::<Vec<_>>());
    never(&["swarm-core/src/object.rs"], &["use crate", "use super"]);
    never(&["swarm-core/src/observe/objects.rs", "swarm-core/src/observe/merge.rs"], &["crate::engine"]);
    // Workloads and Compose files are rules from end to end.
    let families = ["swarm-workload/src", "swarm-compose/src"];
    never(
        &families,
        &["tokio", "async ", ".await", "Instant::", "SystemTime", "std::fs", "std::env", "std::process", "swarm_core::driver"],
    );
}

#[test]
fn the_checker_shares_nothing_with_what_it_checks() {
    never(&["swarm-core/src/plan/lint.rs"], &["super::build", "super::order", "plan::build", "plan::order"]);
    never(&["swarm-core/src/verify", "swarm-core/src/spec", "swarm-core/src/observe"], &["crate::machine", "crate::plan", "crate::intent"]);
    never(&["swarm-core/src/quorum.rs"], &["use "]);
}

#[test]
fn secrets_stay_with_the_driver() {
    never(
        &[
            "swarm-core/src/step",
            "swarm-core/src/machine",
            "swarm-core/src/plan",
            "swarm-core/src/observe",
            "swarm-core/src/verify",
            "swarm-core/src/report.rs",
        ],
        &["secret", "Secret"],
    );
}

#[test]
fn transports_do_not_know_what_they_carry() {
    let rules = ["swarm_core::spec::ClusterSpec", "swarm_core::plan", "swarm_core::machine", "swarm_core::driver", "swarm_core::verify"];
    never(&["swarm-ssh/src", "swarm-docker/src"], &rules);
    never(&["swarm-ssh/src"], &["bollard", "swarm_docker"]);
    never(&["swarm-docker/src"], &["russh", "swarm_ssh"]);
    never(&["swarm-core/src", "swarm-cli/src", "swarm-fleet/src", "swarm-file/src", "swarm-lab/src"], &["russh::", "bollard::"]);
}

#[test]
fn libraries_do_not_print_or_exit() {
    for dir in CRATES.iter().filter(|dir| **dir != "swarm-cli/src") {
        never(&[dir], &["println!", "eprintln!", "print!", "process::exit"]);
    }
}

/// What a person is to type stands in `advice.rs`, where a test follows each of it.
#[test]
fn no_message_holds_a_command_line_but_an_advice() {
    let typed = ["`docker ", "docker node ", "docker swarm ", "systemctl ", "--force", "swarm destroy", "swarm apply", "`swarm "];
    for (path, text) in sources("swarm-core/src") {
        // The table of the file's keys explains options by the docker CLI's names.
        if path.ends_with("advice.rs") || path.ends_with("spec/keys.rs") || path.ends_with("tests.rs") {
            continue;
        }
        for line in code(&text).lines() {
            let literals: String = line.split('"').skip(1).step_by(2).collect();
            for word in typed {
                assert!(!literals.contains(word), "{} holds a command line: {line}", path.display());
            }
        }
    }
}

#[test]
fn manifests_name_only_whom_they_may() {
    let allowed: &[(&str, &[&str])] = &[
        ("swarm-core", &[]),
        ("swarm-file", &["swarm-core"]),
        ("swarm-ssh", &["swarm-core"]),
        ("swarm-docker", &["swarm-core"]),
        ("swarm-fleet", &["swarm-core", "swarm-ssh", "swarm-docker"]),
        ("swarm-lab", &["swarm-core", "swarm-machines"]),
        ("swarm-sim", &["swarm-core", "swarm-file"]),
        ("swarm-machines", &["swarm-core"]),
        ("swarm-ec2", &["swarm-core", "swarm-machines"]),
        ("swarm-probe", &[]),
        ("swarm-service", &["swarm-core"]),
        ("swarm-prepare", &["swarm-core", "swarm-probe", "swarm-service", "swarm-file"]),
        ("swarm-backup", &["swarm-core", "swarm-service", "swarm-file"]),
        ("swarm-workload", &["swarm-core"]),
        ("swarm-images", &["swarm-core"]),
        ("swarm-compose", &["swarm-core", "swarm-file", "swarm-workload"]),
        (
            "swarm-cli",
            &[
                "swarm-core",
                "swarm-file",
                "swarm-fleet",
                "swarm-lab",
                "swarm-sim",
                "swarm-machines",
                "swarm-ec2",
                "swarm-prepare",
                "swarm-probe",
                "swarm-backup",
                "swarm-service",
                "swarm-workload",
                "swarm-compose",
                "swarm-images",
            ],
        ),
    ];
    for (name, may) in allowed {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let named: Vec<&str> =
            manifest.lines().filter_map(|l| l.split(['.', ' ', '=']).next()).filter(|w| w.starts_with("swarm-")).collect();
        assert!(named.iter().all(|n| may.contains(n)), "{name} names {named:?}");
    }
}

#[test]
fn files_stay_readable() {
    for dir in CRATES.iter().chain(&["swarm-probe/probe"]) {
        for (path, text) in sources(dir) {
            assert!(text.lines().count() <= 500, "{} has {} lines", path.display(), text.lines().count());
        }
    }
}

#[test]
fn the_documents_name_what_is_there() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for line in readme.lines().filter(|l| l.trim_start().starts_with("swarm ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let verb = words[1];
        let help = swarm_tests::cli::run(&[verb, "--help"]);
        assert_eq!(help.code, 0, "README names `swarm {verb}`");
        for flag in words.iter().filter(|w| w.starts_with("--")) {
            let whole = if verb == "lab" { swarm_tests::cli::run(&["lab", words[2], "--help"]).out } else { help.out.clone() };
            assert!(whole.contains(flag.split('=').next().unwrap()), "README names {flag} of `swarm {verb}`");
        }
    }
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for member in manifest.lines().filter_map(|l| l.trim().strip_prefix('"')?.split('"').next()) {
        assert!(architecture.contains(&format!("{member}/")), "ARCHITECTURE.md has no room {member}/");
    }
}

/// What an embedder builds for the rules alone, and the least that a program over them takes.
#[test]
fn the_rules_are_light_and_the_small_program_is_small() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let tree = swarm_tests::lab::sh(&[&cargo, "tree", "--locked", "-p", "swarm-core", "-e", "normal", "--prefix", "none"]);
    let crates: std::collections::BTreeSet<&str> = tree.lines().collect();
    assert!(crates.len() < 40, "{} lines: {crates:?}", crates.len());
    let small = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../swarm-bootstrap/src/main.rs")).unwrap();
    assert!(small.lines().count() < 60, "{} lines", small.lines().count());
}

#[test]
fn files_use_each_other_in_one_direction() {
    for dir in CRATES {
        assert_eq!(swarm_tests::circles::circles(&root().join(dir)), Vec::<Vec<String>>::new(), "{dir}");
    }
}
