//! Machines that a program makes: shown, created, bootstrapped, destroyed.

use std::path::Path;
use swarm_tests::cli::{self, Ran};
use swarm_tests::lab::TestLab;

/// The hosts of a lab as machines: they are there once they were created.
const PROGRAM: &str = r#"#!/bin/sh
[ "$1 $2" = "--group $SWARM_CLUSTER" ] || { echo "wrong group" >&2; exit 2; }
case "$3" in
  list)
    if [ -e made ]; then echo '{"hosts":{"m1":{"address":"@M1@","role":"manager"},"w1":{"address":"@W1@","role":"worker","labels":{"made":"yes"}}}}'
    else echo '{"missing":[{"name":"m1","what":"2 cores"},"w1"]}'; fi;;
  create)
    echo "making m1" >&2
    [ ! -e broken ] || { echo "the quota is used up" >&2; exit 3; }
    touch made;;
  destroy) rm -f made; echo "all are gone" >&2;;
  *) exit 64;;
esac
"#;

fn swarm(file: &Path, verb: &[&str], more: &[&str]) -> Ran {
    cli::run(&[verb, &["-f", file.to_str().unwrap()], more].concat())
}

#[test]
fn machines_are_created_made_a_swarm_and_destroyed() {
    let lab = TestLab::up(1, 1);
    let folder = lab.lab.dir.as_path();
    let program = PROGRAM.replace("@M1@", &lab.host("m1").address.to_string()).replace("@W1@", &lab.host("w1").address.to_string());
    std::fs::write(folder.join("machines.sh"), program).unwrap();
    let put =
        std::process::Command::new("install").arg("-m755").arg(folder.join("machines.sh")).arg(folder.join("machines")).status().unwrap();
    assert!(put.success());
    let name = &lab.lab.name;
    let (key, known) = (lab.lab.key(), lab.lab.known_hosts());
    let file = lab.file(&format!(
        "name: {name}\nssh: {{ user: root, identity_file: {}, known_hosts: {} }}\nmachines: {{ exec: {{ command: [./machines, --group, {name}] }} }}\n",
        key.display(),
        known.display()
    ));
    let made = || folder.join("made").exists();
    assert_eq!(swarm(&file, &["validate"], &[]).code, 0, "no program is asked");
    let plan = swarm(&file, &["plan"], &[]);
    assert!(plan.code == 2 && plan.out.contains("machines to create: m1 (2 cores), w1") && !made(), "{plan:?}");
    let unasked = swarm(&file, &["apply"], &[]);
    assert!(unasked.code != 0 && unasked.err.contains("--yes") && !made(), "{unasked:?}");
    std::fs::write(folder.join("broken"), "").unwrap();
    let broken = swarm(&file, &["apply"], &["--yes"]);
    assert!(
        broken.code == 1 && broken.err.contains("no machine was created") && broken.err.contains("status 3: the quota is used up"),
        "{broken:?}"
    );
    std::fs::remove_file(folder.join("broken")).unwrap();
    let done = swarm(&file, &["apply"], &["--yes"]);
    assert!(done.code == 0 && done.err.contains("machines: making m1"), "{done:?}");
    assert_eq!(lab.nodes("m1").len(), 2);
    let idle = swarm(&file, &["plan"], &[]);
    assert!(idle.code == 0 && idle.out.contains("Nothing to do"), "{idle:?}");
    assert_eq!(swarm(&file, &["verify"], &[]).code, 0);
    let gone = swarm(&file, &["destroy"], &["--machines", "--yes"]);
    assert!(gone.code == 0 && gone.err.contains("the machines are gone") && !made(), "{gone:?}");
    assert!(lab.docker("w1", &["info", "--format", "{{.Swarm.LocalNodeState}}"]).starts_with("inactive"));
    // Once more, where nothing is left.
    assert_eq!(swarm(&file, &["destroy"], &["--machines", "--yes"]).code, 0);
    // What it prints is checked as the file is.
    std::fs::write(folder.join("machines.sh"), "#!/bin/sh\necho '{\"hosts\":{\"m1\":{\"address\":\"10.0.0.300\",\"role\":\"boss\"}}}'\n")
        .unwrap();
    std::process::Command::new("install").arg("-m755").arg(folder.join("machines.sh")).arg(folder.join("machines")).status().unwrap();
    let wrong = swarm(&file, &["status"], &[]);
    assert!(wrong.code == 1 && wrong.err.contains("hosts.m1.role: `boss` is not one of"), "{wrong:?}");
}

/// Takes a lab down that no test value holds.
struct Down(String);

impl Drop for Down {
    fn drop(&mut self) {
        if let Ok(lab) = swarm_lab::Lab::find(&self.0) {
            let _gone_with_the_test = lab.down();
        }
    }
}

#[test]
fn a_lab_is_made_by_the_file_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("f{}", std::process::id());
    let _down = Down(name.clone());
    let write = |folder: &Path, lab: &str| {
        let file = folder.join("swarm.yaml");
        std::fs::write(&file, format!("name: {name}\nmachines: {{ lab: {{ {lab} }} }}\n")).unwrap();
        file
    };
    let lab = || swarm_lab::Lab::find(&name);
    let file = write(folder.path(), "workers: 1");
    let valid = swarm(&file, &["validate"], &[]);
    assert!(valid.code == 0 && valid.out.contains("2 hosts in a lab") && lab().is_err(), "{valid:?}");
    let plan = swarm(&file, &["plan"], &[]);
    let each = "machines to create: m1, w1 (each a host in a network namespace, this machine's files)";
    assert!(plan.code == 2 && plan.out.contains(each) && lab().is_err(), "{plan:?}");
    let done = swarm(&file, &["apply"], &["--yes"]);
    assert_eq!(done.code, 0, "{done:?}");
    let hosts = |of: &Ran| serde_json::from_str::<serde_json::Value>(&of.out).unwrap()["hosts"].as_array().map(Vec::len);
    let verified = swarm(&file, &["verify"], &[]);
    assert_eq!(verified.code, 0, "{verified:?}");
    let listed = swarm(&file, &["hosts", "ls"], &["--format", "json"]);
    assert_eq!(hosts(&listed), Some(2), "{listed:?}");

    // A host that was stopped is missing, and started again with what it has.
    lab().unwrap().host("w1").unwrap().kill(true).unwrap();
    let missing = swarm(&file, &["plan"], &[]);
    assert!(missing.err.contains("machines to create: w1") || missing.out.contains("machines to create: w1"), "{missing:?}");
    let again = swarm(&file, &["apply"], &["--yes"]);
    assert!(again.code == 0 && again.err.contains("machines: starting w1"), "{again:?}");
    assert!(!again.out.contains("join"), "it is the node that it was: {again:?}");

    // A lab of another file is left alone, and one does not grow.
    let elsewhere = tempfile::tempdir().unwrap();
    for verb in [&["plan"][..], &["apply", "--yes"], &["destroy", "--machines", "--yes"]] {
        let other = swarm(&write(elsewhere.path(), "workers: 1"), verb, &[]);
        assert!(other.code == 1 && other.err.contains("of another file"), "{other:?}");
    }
    let grown = swarm(&write(folder.path(), "workers: 2"), &["apply"], &["--yes"]);
    assert!(grown.code == 1 && grown.err.contains("keeps the hosts it was made with, and w2 is new"), "{grown:?}");

    // One whose making was cut off is made anew.
    assert_eq!(swarm(&write(folder.path(), "workers: 1"), &["destroy"], &["--machines", "--yes"]).code, 0);
    assert!(lab().is_err());
    let begun = swarm_lab::Lab::up(&swarm_lab::LabOptions {
        name: name.clone(),
        managers: 1,
        workers: 0,
        dir: folder.path().join(".lab"),
        ..swarm_lab::LabOptions::default()
    });
    let begun = begun.unwrap();
    begun.host("m1").unwrap().kill(true).unwrap();
    std::fs::remove_file(begun.file()).unwrap();
    let done = swarm(&file, &["apply"], &["--yes"]);
    assert!(done.code == 0 && lab().unwrap().hosts.len() == 2, "{done:?}");
    let gone = swarm(&file, &["destroy"], &["--machines", "--yes"]);
    assert!(gone.code == 0 && lab().is_err() && !folder.path().join(".lab").join(&name).exists(), "{gone:?}");
}

/// Two releases without an engine, from nothing to a verified swarm and to nothing again.
#[test]
#[ignore = "full"]
fn a_lab_of_two_releases_is_made_prepared_and_destroyed() {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("b{}", std::process::id());
    let _down = Down(name.clone());
    let file = folder.path().join("swarm.yaml");
    let text = "machines: { lab: { managers: 1, workers: 1, images: [bookworm, trixie] } }\nprepare: { install: distro }\n";
    std::fs::write(&file, format!("name: {name}\n{text}")).unwrap();
    let plan = swarm(&file, &["plan"], &[]);
    assert!(plan.code == 2 && plan.out.contains("m1 (a host in a network namespace, bookworm, without an engine), w1 (a"), "{plan:?}");
    let done = swarm(&file, &["apply"], &["--yes"]);
    assert_eq!(done.code, 0, "{done:?}");
    let engines = swarm(&file, &["engine", "ls"], &[]).out;
    assert!(engines.contains("20.10.24") && engines.contains("26.1"), "{engines}");
    assert_eq!((swarm(&file, &["verify"], &[]).code, swarm(&file, &["plan"], &[]).code), (0, 0));
    let gone = swarm(&file, &["destroy"], &["--machines", "--yes"]);
    assert!(gone.code == 0 && swarm_lab::Lab::find(&name).is_err(), "{gone:?}");
}
