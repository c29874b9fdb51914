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
