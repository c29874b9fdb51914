//! The command line at a desk: what fits a terminal, what comes from the environment, what a shell completes.

use swarm_core::Apply;
use swarm_core::engine::Force;
use swarm_fleet::Connections;
use swarm_tests::cli::{Ran, command, run};
use swarm_tests::lab::{TestLab, converge, spec};

fn file(dir: &tempfile::TempDir, more: &str) -> String {
    let path = dir.path().join("c.yaml");
    let hosts: String = (1..=3)
        .map(|i| format!("  m{i}: {{ address: 10.20.30.{i}, role: manager }}\n  w{i}: {{ address: 10.20.40.{i}, role: worker{more} }}\n"))
        .collect();
    std::fs::write(&path, format!("name: prod\nhosts:\n{hosts}")).unwrap();
    path.to_str().unwrap().to_owned()
}

fn states(dir: &tempfile::TempDir, text: &str) -> String {
    let path = dir.path().join("hosts.yaml");
    std::fs::write(&path, format!("hosts: {{ {text} }}\n")).unwrap();
    format!("--simulate={}", path.display())
}

#[test]
fn status_fits_eighty_columns_and_says_below_what_is_long() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(&dir, ", labels: { disk: ssd, rack: some-very-long-name-of-a-rack }");
    let world = states(
        &dir,
        "m1: { state: member }, m2: { state: member }, m3: { state: member }, w1: { state: unreachable }, w2: { state: member }, w3: { state: no-engine }",
    );
    let ran = run(&["status", "-f", &file, &world]);
    assert_eq!(ran.code, 3, "{ran:?}");
    let long: Vec<&str> = ran.out.lines().filter(|l| l.chars().count() > 80 && !l.starts_with("w3: ")).collect();
    assert!(long.is_empty(), "{long:?}");
    let table: Vec<&str> = ran.out.lines().skip_while(|l| !l.starts_with("HOST")).take_while(|l| !l.is_empty()).collect();
    assert!(table.len() == 7 && table[1].contains("leader"), "{table:#?}");
    let w1 = table.iter().find(|l| l.starts_with("w1")).unwrap();
    assert!(w1.ends_with("unreachable"), "the reason is below: {w1}");
    assert!(ran.out.contains("\nw1: no answer") && ran.out.contains("\nw3: "), "{}", ran.out);
    assert!(!ran.out.contains("disk=ssd"));
    let wide = run(&["status", "-f", &file, &world, "--wide"]);
    assert!(wide.out.contains("disk=ssd rack=some-very-long-name-of-a-rack"), "{}", wide.out);
    let id = wide.out.lines().find(|l| l.starts_with("m1")).unwrap().split_whitespace().nth(1).unwrap().to_owned();
    assert!(id.len() == 25 && table[1].contains(&format!(" {} ", &id[..12])), "{id} {table:?}");
}

#[test]
fn the_environment_names_the_file_and_the_format() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(&dir, "");
    let asked = |args: &[&str], format: Option<&str>| -> Ran {
        let mut command = command(args);
        command.env("SWARM_FILE", &file).current_dir(dir.path());
        if let Some(format) = format {
            command.env("SWARM_FORMAT", format);
        }
        command.output().unwrap().into()
    };
    let ran = asked(&["validate"], None);
    assert!(ran.code == 0 && ran.out.contains("cluster prod, 6 hosts, 3 managers"), "{ran:?}");
    let ran = asked(&["validate"], Some("json"));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&ran.out).unwrap()["managers"], 3);
    // What is said on the command line goes before.
    let ran = asked(&["validate", "-f", "other.yaml"], None);
    assert!(ran.code == 1 && ran.err.contains("other.yaml"), "{ran:?}");
    let ran = asked(&["validate", "--format", "text"], Some("json"));
    assert!(ran.out.contains("is a cluster file"), "{ran:?}");
}

#[test]
fn plans_say_what_the_managers_survive_and_runs_say_what_comes_next() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(&dir, "");
    let ran = run(&["plan", "-f", &file, "--simulate"]);
    assert!(ran.out.contains("note: no manager -> 3 managers, tolerates 1 failure"), "{ran:?}");
    let some = states(&dir, "m1: { state: member }, m2: { state: standalone }, m3: { state: standalone }, w1: { state: member }");
    let ran = run(&["plan", "-f", &file, &some]);
    assert!(ran.out.contains("note: 1 manager, tolerates 0 failures -> 3 managers, tolerates 1 failure"), "{ran:?}");
    let ran = run(&["apply", "-f", &file, "--simulate", "--yes"]);
    assert!(ran.code == 0 && ran.err.contains(&format!("next: `swarm status -f {file}`")), "{ran:?}");
    // Nothing to do is nothing to go on with.
    let all = states(&dir, &["m1", "m2", "m3", "w1", "w2", "w3"].map(|h| format!("{h}: {{ state: member }}")).join(", "));
    let ran = run(&["apply", "-f", &file, &all, "--yes"]);
    assert!(ran.code == 0 && !ran.err.contains("next:") && !ran.out.contains("note:"), "{ran:?}");
}

#[test]
fn a_shell_completes_hosts_and_every_verb_has_its_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(&dir, "");
    let completed = |words: &[&str]| -> Vec<String> {
        let mut command = command(&[&["--", "swarm"], words].concat());
        command.env("SWARM_FILE", &file).env("_SWARM_COMPLETE", "bash").env("_CLAP_COMPLETE_COMP_TYPE", "9");
        let ran: Ran = command.env("_CLAP_COMPLETE_INDEX", words.len().to_string()).env("IFS", "\n").output().unwrap().into();
        ran.out.split(['\n', '\u{b}']).map(str::to_owned).collect()
    };
    assert_eq!(completed(&["plan", "--limit", "w"]), ["w1", "w2", "w3"]);
    assert_eq!(completed(&["plan", "--limit", "m1,role=w"]), ["m1,role=worker"]);
    assert_eq!(completed(&["apply", "--force-leave", "m"]), ["m1", "m2", "m3"]);
    // A file with a problem, or with a variable that is not set, has hosts all the same.
    let text = std::fs::read_to_string(&file).unwrap().replacen("10.20.30.1", "\"${NOT_SET_ANYWHERE}\"", 1);
    std::fs::write(&file, text).unwrap();
    assert_eq!(run(&["validate", "-f", &file]).code, 1);
    assert_eq!(completed(&["plan", "--limit", "m"]), ["m1", "m2", "m3"]);
    assert!(completed(&["st"]).contains(&"status".to_owned()));
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&["completions", shell]);
        assert!(ran.code == 0 && ran.out.contains("_SWARM_COMPLETE"), "{shell}: {ran:?}");
    }
    let pages = dir.path().join("man");
    assert_eq!(run(&["man", pages.to_str().unwrap()]).code, 0);
    let help = run(&["--help"]).out;
    let verbs = help.lines().skip_while(|l| *l != "Commands:").skip(1).take_while(|l| !l.is_empty());
    // A line that goes on is indented further.
    let verbs = verbs.filter(|l| !l.starts_with("   "));
    let verbs: Vec<&str> = verbs.filter_map(|l| l.split_whitespace().next()).filter(|v| *v != "help").collect();
    assert!(verbs.len() >= 11, "{verbs:?}");
    for verb in verbs {
        let page = std::fs::read_to_string(pages.join(format!("swarm-{verb}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{verb}");
        assert_eq!(run(&["help", verb]).out, run(&[verb, "--help"]).out, "{verb}");
    }
    // A flag that a verb could only refuse is not there.
    assert!(!run(&["destroy", "--help"]).out.contains("--limit"));
}

/// What a saved plan is for was decided when it was made: one that takes the cluster down is judged by every host being out.
#[tokio::test]
async fn a_saved_plan_is_carried_out_for_its_purpose() {
    let lab = TestLab::up(1, 1);
    let text = lab.text(&lab.all(""));
    converge(&text).await;
    let cluster = spec(&text);
    let fleet = Connections::default();
    let (plan, _) = Apply::new(&cluster, &fleet).plan_destroy(Force::No).await.unwrap();
    let saved = lab.lab.dir.join("destroy.json");
    std::fs::write(&saved, serde_json::to_string(&plan).unwrap()).unwrap();
    let file = lab.file(&text);
    let ran = run(&["apply", saved.to_str().unwrap(), "-f", file.to_str().unwrap(), "--yes"]);
    assert!(ran.code == 0 && ran.out.contains("is gone"), "{ran:?}");
    for host in ["m1", "w1"] {
        assert_eq!(lab.docker(host, &["info", "--format", "{{.Swarm.LocalNodeState}}"]).trim(), "inactive");
    }
}
