//! The command line as a user meets it: exit codes, documents, saved plans, and no secret anywhere.

use swarm_tests::cli::{Ran, begin, command, run};
use swarm_tests::lab::{TestLab, converge, sh};

fn json(ran: &Ran) -> serde_json::Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
}

#[test]
fn wrong_use_and_wrong_files_are_told_where_and_how() {
    assert_eq!(run(&["nonsense"]).code, 64);
    assert_eq!(run(&["plan", "--format", "xml"]).code, 64);
    assert_eq!(run(&["--help"]).code, 0);
    assert!(run(&["--help"]).out.contains("Exit codes"));
    let missing = run(&["plan", "-f", "/nosuchdir/swarm.yaml"]);
    assert_eq!(missing.code, 1);
    assert!(missing.err.contains("/nosuchdir/swarm.yaml") && missing.err.contains("swarm new"), "{missing:?}");

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("swarm.yaml");
    let path = file.to_str().unwrap();
    std::fs::write(
        &file,
        "name: Prod!\nhosts:\n  m1: { address: 10.0.0.300, role: manger, prot: 22 }\n  m1: { address: ${UNSET_HOST}, role: worker }\n",
    )
    .unwrap();
    let wrong = run(&["plan", "-f", path]);
    assert_eq!(wrong.code, 1);
    assert!(wrong.err.contains(&format!("{path}:")), "{}", wrong.err);
    std::fs::write(
        &file,
        "name: Prod!\nhosts:\n  m1: { address: 10.0.0.300, role: manger, prot: 22 }\n  m2: { address: \"${UNSET_HOST}\", role: worker }\n",
    )
    .unwrap();
    let wrong = run(&["plan", "-f", path]);
    for expected in [
        ":1:7: error: name: `Prod!`",
        ":3:18: error: hosts.m1.address",
        "did you mean `manager`?",
        "unknown key `prot`",
        "`UNSET_HOST` is not set",
    ] {
        assert!(wrong.err.contains(expected), "{expected} in:\n{}", wrong.err);
    }
    // Standard input, and a variable.
    let mut child = command(&["plan", "-f", "-", "--limit", "x9"]);
    let mut child = child
        .env("WHERE", "10.0.0.1")
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"name: a\nhosts: { m1: { address: '${WHERE}', role: manager } }\n")
        .unwrap();
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ran.code, 64);
    assert!(ran.err.contains("--limit x9 selects no host; there are m1"), "{ran:?}");
}

#[test]
fn a_new_file_the_schema_and_the_completions() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("swarm.yaml");
    let path = file.to_str().unwrap();
    let ran = run(&["new", "m1=root@10.0.0.1", "m2=root@10.0.0.2", "m3=ops@10.0.0.3", "w1=root@10.0.0.4", "--name", "prod", "-o", path]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let text = std::fs::read_to_string(&file).unwrap();
    let spec = swarm_tests::lab::spec(&text);
    assert_eq!((spec.name(), spec.managers().count(), spec.hosts().len()), ("prod", 3, 4));
    let again = run(&["new", "m1=10.0.0.1", "-o", path]);
    assert_eq!(again.code, 1);
    assert!(again.err.contains("not overwritten") && std::fs::read_to_string(&file).unwrap() == text, "{again:?}");
    assert_eq!(run(&["new", "m1=10.0.0.300", "-o", "-"]).code, 64);
    let schema = json(&run(&["schema"]));
    assert_eq!(schema["$defs"]["host"]["properties"]["role"]["enum"][0], "manager");
    assert!(run(&["completions", "bash"]).out.contains("_swarm"));
    assert!(run(&["version"]).out.starts_with("swarm 0."));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_are_saved_done_exactly_and_refused_when_stale() {
    let lab = TestLab::up(1, 2);
    let file = lab.file(&lab.text(&lab.all("")));
    let file = file.to_str().unwrap();
    let saved = lab.lab.dir.join("plan.json");
    let saved = saved.to_str().unwrap();

    let first = run(&["plan", "-f", file, "--format", "json", "-o", saved]);
    assert_eq!(first.code, 2, "{first:?}");
    let document = json(&first);
    assert_eq!((&document["version"], &document["command"]), (&1.into(), &"plan".into()));
    let bytes = std::fs::read(saved).unwrap();
    assert_eq!(run(&["plan", "-f", file, "-o", saved]).code, 2);
    assert_eq!(std::fs::read(saved).unwrap(), bytes, "the same input gives the same plan, byte for byte");

    // Without a terminal someone must say yes.
    let ran = run(&["apply", "-f", file]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("--yes"), "{ran:?}");
    assert_eq!(run(&["apply", "-f", file, "--dry-run"]).code, 2);
    assert_eq!(run(&["verify", "-f", file]).code, 3);

    // Something changed since: the plan is refused and says what.
    lab.docker("w1", &["swarm", "init", "--advertise-addr", &lab.host("w1").address.to_string()]);
    let stale = run(&["apply", saved, "-f", file, "--yes"]);
    assert_eq!(stale.code, 1);
    assert!(stale.err.contains("w1.state: was standalone, is foreign-swarm"), "{stale:?}");
    lab.docker("w1", &["swarm", "leave", "--force"]);

    // An edited plan is no plan of ours.
    let edited = lab.lab.dir.join("edited.json");
    std::fs::write(
        &edited,
        String::from_utf8(bytes.clone()).unwrap().replace("\"needs\": [\n        \"m1/init\"\n      ]", "\"needs\": [\"w9/none\"]"),
    )
    .unwrap();
    let ran = run(&["apply", edited.to_str().unwrap(), "-f", file, "--yes"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("breaks a rule"), "{ran:?}");

    // Exactly this plan; events come line by line.
    let ran = run(&["apply", saved, "-f", file, "--yes", "--format", "jsonl"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let events: Vec<serde_json::Value> = ran.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(events.iter().filter(|e| e["event"] == "step-finished" && e["outcome"] == "done").count(), 3);
    assert_eq!(events.last().unwrap()["report"]["ending"], "converged");
    assert_eq!(run(&["apply", saved, "-f", file, "--yes"]).code, 1, "done once, it is stale");
    assert_eq!(run(&["plan", "-f", file]).code, 0);
    assert_eq!(run(&["verify", "-f", file, "--timeout", "5s"]).code, 0);
    let status = run(&["status", "-f", file]);
    assert!(status.out.contains("leader") && status.out.contains("1 manager, tolerates 0 failures"), "{status:?}");
    assert_eq!(json(&run(&["status", "-f", file, "--format", "json"]))["hosts"][0]["node"]["manager"]["leader"], true);

    // Half of it, then the rest.
    for half in [
        &["destroy", "-f", file, "--yes"][..],
        &["apply", "-f", file, "--yes", "--limit", "m1,role=manager"],
        &["apply", "-f", file, "--yes", "--limit", "w*"],
        &["plan", "-f", file],
    ] {
        lab.lets_go();
        let ran = run(half);
        assert_eq!(ran.code, 0, "{half:?}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_any_output_log_or_command_line() {
    let lab = TestLab::up(2, 1);
    let file = lab.file(&lab.text(&lab.all("")));
    let file = file.to_str().unwrap();
    let saved = lab.lab.dir.join("plan.json");
    let saved = saved.to_str().unwrap();
    let mut all = String::new();
    let mut say = |args: &[&str]| {
        let ran: Ran = command(args).env("RUST_LOG", "trace").output().unwrap().into();
        all += &format!("{ran:?}\n");
    };
    say(&["plan", "-f", file, "-o", saved, "-vvv"]);
    // While it runs, every command line of this machine is looked at: hosts are namespaces, so theirs are among them.
    let mut run = command(&["apply", "-f", file, "--yes", "-vvv", "--format", "jsonl"])
        .env("RUST_LOG", "bollard=trace,hyper=trace,russh=trace,trace")
        .stdout(std::fs::File::create(lab.lab.dir.join("out")).unwrap())
        .stderr(std::fs::File::create(lab.lab.dir.join("err")).unwrap())
        .spawn()
        .unwrap();
    let mut lines = String::new();
    while run.try_wait().unwrap().is_none() {
        for entry in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            lines += &String::from_utf8_lossy(&std::fs::read(entry.path().join("cmdline")).unwrap_or_default());
        }
    }
    assert!(run.wait().unwrap().success());
    say(&["status", "-f", file, "-vvv", "--format", "json"]);
    say(&["verify", "-f", file, "-vvv"]);
    for name in ["out", "err", "plan.json"] {
        all += &std::fs::read_to_string(lab.lab.dir.join(name)).unwrap();
    }
    let key = std::fs::read_to_string(lab.lab.key()).unwrap();
    let mut secrets = vec![key.lines().nth(2).unwrap().to_owned()];
    for role in ["worker", "manager"] {
        let token = lab.docker("m1", &["swarm", "join-token", "-q", role]).trim().to_owned();
        assert!(token.starts_with("SWMTKN-1-"));
        secrets.push(token.rsplit('-').next().unwrap().to_owned());
    }
    assert!(all.len() > 5_000, "the logs are there: {}", all.len());
    for secret in secrets {
        assert!(!all.contains(&secret), "a secret is in the output");
        assert!(!lines.contains(&secret), "a secret is on a command line");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_host_says_does_not_reach_the_terminal_raw() {
    let lab = TestLab::up(1, 1);
    converge(&lab.text(&lab.all(""))).await;
    // A node whose label and host name carry escape sequences.
    lab.docker("m1", &["node", "update", "--label-add", "x=\u{1b}[31mred\u{202e}", "w1"]);
    let file = lab.file(&lab.text(&lab.all("")));
    let ran = run(&["status", "--wide", "-f", file.to_str().unwrap()]);
    assert!(ran.out.contains("31mred"), "{ran:?}");
    assert!(!ran.out.contains('\u{1b}') && !ran.out.contains('\u{202e}'), "{ran:?}");
    // As a document it stays readable, and the value whole.
    let ran = run(&["status", "-f", file.to_str().unwrap(), "--format", "json"]);
    assert!(!ran.out.contains('\u{1b}') && !ran.out.contains('\u{202e}'), "{ran:?}");
    assert_eq!(json(&ran)["hosts"][1]["node"]["labels"]["x"], "\u{1b}[31mred\u{202e}");
}

/// Takes a lab down when the test ends badly.
struct DownAtEnd(String);

impl Drop for DownAtEnd {
    fn drop(&mut self) {
        run(&["lab", "down", "--name", &self.0]);
    }
}

/// A folder that holds several labs, or none: no lab is touched unless it is named. `at` holds two.
fn lab_verbs_name_their_lab(at: &str) {
    let in_folder = |folder: &str, args: &[&str]| -> Ran { command(args).current_dir(folder).output().unwrap().into() };
    let several = in_folder(at, &["lab", "heal"]);
    assert!(several.code == 64 && several.err.contains("several labs") && several.err.contains("--name"), "{several:?}");
    let elsewhere = in_folder("/proc", &["lab", "down"]);
    assert!(elsewhere.code == 64 && elsewhere.err.contains("holds no lab"), "{elsewhere:?}");
    let none = in_folder(at, &["lab", "up", "--name", "none", "--managers", "0", "--workers", "0"]);
    assert!(none.code == 1 && none.err.contains("at least one host"), "{none:?}");
}

/// A full disk, lost packets, an engine that hangs and one that died: each shows, and ends.
fn lab_faults(name: &str) {
    let inside = |script: &str| run(&["lab", "exec", "--name", name, "w1", "sh", "-c", script]);
    let ask = "timeout 5 docker info --format '{{.Swarm.LocalNodeState}}' 2>/dev/null";
    let healed = || assert_eq!(run(&["lab", "heal", "--name", name]).code, 0);
    let full = run(&["lab", "fill", "--name", name, "w1"]);
    assert!(full.code == 0 && full.err.contains("w1: disk full"), "{full:?}");
    let join = inside("docker swarm init 2>&1");
    assert!(join.code != 0 && join.out.contains("no space left on device"), "{join:?}");
    healed();
    assert_eq!(inside("docker swarm init >/dev/null && docker swarm leave --force").code, 0);
    assert_eq!(run(&["lab", "freeze", "--name", name, "w1"]).code, 0);
    assert_ne!(inside(ask).out.trim(), "inactive", "a frozen engine answers nothing");
    healed();
    assert_eq!(inside(ask).out.trim(), "inactive");
    assert_eq!(run(&["lab", "loss", "--name", name, "w1", "100%"]).code, 0);
    let cut_off = inside("timeout 2 bash -c 'echo > /dev/tcp/10.214.0.1/22'; iptables -S | grep -c statistic");
    assert_eq!(cut_off.out.trim(), "2", "one rule for each direction: {cut_off:?}");
    assert_eq!(run(&["lab", "loss", "--name", name, "w1", "0%"]).code, 0);
    assert_eq!(inside("iptables -S | grep -c statistic").out.trim(), "0");
    assert_eq!(inside("kill -9 $(cat /run/docker.pid)").code, 0);
    assert_eq!(run(&["lab", "start", "--name", name, "w1"]).code, 0);
    assert_eq!(inside(ask).out.trim(), "inactive");
}

#[test]
fn a_lab_comes_goes_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let name = format!("c{}", std::process::id());
    let at = dir.path().to_str().unwrap();
    let _guards = [DownAtEnd(name.clone()), DownAtEnd(format!("{name}b"))];
    let ran = run(&["lab", "up", "--name", &name, "--managers", "1", "--workers", "1", "--dir", at, "--format", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let again = run(&["lab", "up", "--name", &name, "--dir", at]);
    assert!(again.code == 1 && again.err.contains("is up already"), "{again:?}");
    let second = format!("{name}b");
    assert_eq!(
        run(&["lab", "up", "--name", &second, "--managers", "1", "--workers", "0", "--dir", at]).code,
        0,
        "another one runs beside it"
    );
    let ls = run(&["lab", "ls"]).out;
    assert!(ls.contains(&name) && ls.contains(&second), "{ls}");
    assert_eq!(run(&["lab", "ssh", "--name", &name, "m1", "hostname"]).out, "m1\n");
    assert_eq!(run(&["lab", "exec", "--name", &name, "w1", "--", "hostname"]).out, "w1\n");
    assert_eq!(run(&["lab", "exec", "--name", &name, "w1", "hostname"]).out, "w1\n", "`--` is not needed");
    lab_verbs_name_their_lab(at);
    lab_faults(&name);
    let missing = run(&["lab", "exec", "--name", &name, "w9", "--", "true"]);
    assert!(missing.err.contains("it has m1, w1"), "{missing:?}");

    // A cut is a cut, and heals; a delay delays; a kill kills.
    let address = sh(&["sh", "-c", &format!("grep -o '10[.0-9]*' {at}/{name}/swarm.yaml | tail -1")]);
    let ping =
        ["lab", "exec", "--name", &name, "m1", "--", "timeout", "1", "bash", "-c", &format!("echo > /dev/tcp/{}/22", address.trim())];
    assert_eq!(run(&ping).code, 0);
    assert_eq!(run(&["lab", "cut", "--name", &name, "m1", "w1"]).code, 0);
    assert_ne!(run(&ping).code, 0);
    assert_eq!(run(&["lab", "heal", "--name", &name]).code, 0);
    assert_eq!(run(&ping).code, 0);
    assert_eq!(run(&["lab", "delay", "--name", &name, "200"]).code, 0);
    let began = std::time::Instant::now();
    assert_eq!(run(&["lab", "ssh", "--name", &name, "m1", "hostname"]).out, "m1\n");
    assert!(began.elapsed() >= std::time::Duration::from_millis(800), "a login takes several round trips: {:?}", began.elapsed());
    assert_eq!(run(&["lab", "delay", "--name", &name, "0"]).code, 0);
    assert_eq!(run(&["lab", "kill", "--name", &name, "w1", "--hard"]).code, 0);
    assert_ne!(run(&ping).code, 0);
    assert_eq!(run(&["lab", "start", "--name", &name, "w1"]).code, 0);
    assert_eq!(run(&ping).code, 0);

    // An image, made from a static busybox on one host, reaches the other.
    let make =
        "mkdir -p /run/i/bin && cp /bin/busybox /run/i/bin/ && tar -C /run/i -c . | docker import - bb:1 >/dev/null && docker save bb:1";
    let image = command(&["lab", "exec", "--name", &name, "m1", "--", "sh", "-c", make]).output().unwrap();
    assert!(image.status.success(), "{image:?}");
    let archive = dir.path().join("bb.tar");
    std::fs::write(&archive, image.stdout).unwrap();
    assert_eq!(run(&["lab", "load", "--name", &name, archive.to_str().unwrap()]).code, 0);
    let listed =
        run(&["lab", "exec", "--name", &name, "w1", "--", "docker", "image", "inspect", "bb:1", "--format", "{{index .RepoTags 0}}"]);
    assert_eq!(listed.out.trim(), "bb:1", "{listed:?}");

    for name in [&name, &second] {
        assert_eq!(run(&["lab", "down", "--name", name]).code, 0);
    }
    let left = sh(&[
        "sh",
        "-c",
        &format!(
            "(ip -o link; cat /proc/mounts; ls -d /var/lib/swarm-lab/{name}* /sys/fs/cgroup/*/swarm-lab/{name}* {at}/{name}*) 2>/dev/null | grep '{name}' || true"
        ),
    ]);
    assert_eq!(left, "");
    let processes =
        sh(&["sh", "-c", &format!("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c 'swarm-la[b]/{name}' || true")]);
    assert_eq!(processes.trim(), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_operators_at_once_make_one_cluster() {
    let lab = TestLab::up(3, 2);
    let file = lab.file(&lab.text(&lab.all("")));
    let runs: Vec<_> = (0..2).map(|_| begin(&["apply", "-f", file.to_str().unwrap(), "--yes"])).collect();
    for run in runs {
        let _ = run.wait_with_output().unwrap();
    }
    let last = run(&["apply", "-f", file.to_str().unwrap(), "--yes"]);
    assert_eq!(last.code, 0, "{last:?}");
    let ids: std::collections::BTreeSet<String> =
        ["m1", "m2", "m3"].iter().map(|m| lab.docker(m, &["info", "--format", "{{.Swarm.Cluster.ID}}"])).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(lab.nodes("m1").iter().filter(|n| n.contains("Ready")).count(), 5, "{:?}", lab.nodes("m1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_is_given_up_at_once() {
    let lab = TestLab::up(1, 0);
    // No one answers on this port, so the look takes until its deadline.
    lab.host("m1").drop_port(22).unwrap();
    let file = lab.file(&lab.text(&lab.all("")));
    let mut run = begin(&["apply", "-f", file.to_str().unwrap(), "--yes"]);
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(run.stderr.take().unwrap()));
    assert!(lines.next().unwrap().unwrap().contains("looking at 1 host"));
    sh(&["kill", "-INT", &run.id().to_string()]);
    assert_eq!(run.wait().unwrap().code(), Some(130));
    let said: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(said.iter().any(|l| l.contains("stopped before anything was changed")), "{said:?}");
}

/// `script` gives a command a terminal. What it wrote there, and its exit code.
fn on_a_terminal(line: &str, input: &str) -> (i32, String) {
    use std::io::Write;
    let mut child = std::process::Command::new("script")
        .args(["-qefc", line, "/dev/null"])
        .env("TERM", "xterm-256color")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.as_mut().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn on_a_terminal_progress_is_live_and_the_question_names_the_cluster() {
    let lab = TestLab::up(1, 1);
    let file = lab.file(&lab.text(&lab.all("")));
    let line = format!("{} apply -f {}", swarm_tests::cli::binary().display(), file.display());
    let (code, said) = on_a_terminal(&line, "n\n");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&format!("cluster `{}`? [y/N]", lab.lab.name)) && said.contains("nothing was changed"), "{said}");
    assert!(lab.host("m1").exec(&["docker", "node", "ls"]).is_err(), "no was taken for yes");
    let (code, said) = on_a_terminal(&line, "y\n");
    assert_eq!(code, 0, "{said}");
    // Lines are drawn and drawn over, one for each host, and the result stays.
    assert!(said.contains("\u{1b}[2K") || said.contains("\u{1b}[1A"), "{said:?}");
    assert!(said.contains("m1") && said.contains("w1") && said.contains("matches the file"), "{said}");
    // Without a terminal there is none of that.
    let plain = run(&["apply", "-f", file.to_str().unwrap(), "--yes"]);
    assert!(!plain.out.contains('\u{1b}') && !plain.err.contains('\u{1b}'), "{plain:?}");
}

const SIMULATED: &str = "name: prod\nhosts:
  m1: { address: 10.0.0.11, role: manager }
  m2: { address: 10.0.0.12, role: manager }
  m3: { address: 10.0.0.13, role: manager }
  w1: { address: 10.0.0.21, role: worker, labels: { rack: a } }\n";

#[test]
fn every_verb_works_in_a_simulated_world_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let file = at("swarm.yaml", SIMULATED);
    let all = at("all.yaml", "hosts: { m1: { state: member }, m2: { state: member }, m3: { state: member }, w1: { state: member } }\n");
    let some = at("some.yaml", "hosts:\n  m1: { state: member }\n  m2: { state: member }\n  m3: { state: unreachable }\nservices: 1\n");
    let says = |ran: &Ran| assert!(ran.out.starts_with("SIMULATED") && ran.err.lines().all(|l| l.starts_with("simulated: ")), "{ran:?}");

    let applied = run(&["apply", "-f", &file, "--simulate", "--yes"]);
    assert_eq!(applied.code, 0, "{applied:?}");
    says(&applied);
    assert!(applied.out.contains("cluster prod matches the file"), "{applied:?}");
    let all = format!("--simulate={all}");
    let some = format!("--simulate={some}");
    for (args, code, word) in [
        (vec!["plan", "-f", &file, "--simulate"], 2, "5 steps"),
        (vec!["plan", "-f", &file, &all], 0, "nothing"),
        (vec!["verify", "-f", &file, &all], 0, "matches the file"),
        (vec!["verify", "-f", &file, "--simulate"], 3, "there is no swarm"),
        (vec!["status", "-f", &file, &all], 0, "3 managers, tolerates 1 failure"),
        (vec!["status", "-f", &file, &some], 3, "m3"),
        (vec!["apply", "-f", &file, &some, "--yes"], 4, "drained until its labels are set"),
        (vec!["destroy", "-f", &file, &all, "--yes"], 0, "cluster prod is gone"),
    ] {
        let ran = run(&args);
        assert_eq!(ran.code, code, "{args:?}: {ran:?}");
        assert!(ran.out.contains(word), "{args:?}: {ran:?}");
        says(&ran);
    }
    let document = json(&run(&["status", "-f", &file, &all, "--format", "json"]));
    assert_eq!(document["simulated"], true);
    let lines = run(&["apply", "-f", &file, "--simulate", "--yes", "--format", "jsonl"]);
    assert!(lines.out.lines().all(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["simulated"] == true), "{lines:?}");
    // A plan that was saved there is the plan that is applied there, and no plan for a real cluster.
    let plan = dir.path().join("plan.json");
    let plan = plan.to_str().unwrap();
    assert_eq!(run(&["plan", "-f", &file, "--simulate", "-o", plan]).code, 2);
    assert_eq!(run(&["apply", plan, "-f", &file, "--simulate", "--yes"]).code, 0);
    let stale = run(&["apply", plan, "-f", &file, &all, "--yes"]);
    assert_eq!(stale.code, 1, "{stale:?}");
    assert!(stale.err.contains("the plan is stale"), "{stale:?}");
    // A description that is wrong is reported as a file is.
    let wrong = at("wrong.yaml", "hosts:\n  m9: { state: member }\n  m2: { state: memer }\n");
    let wrong = run(&["plan", "-f", &file, &format!("--simulate={wrong}")]);
    assert_eq!(wrong.code, 1);
    assert!(wrong.err.contains("wrong.yaml:2:3") && wrong.err.contains("write one of standalone, member"), "{wrong:?}");
}

/// I20: nothing that a host says of itself reaches a terminal as a command to it.
#[test]
fn a_host_name_cannot_move_the_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let (file, hosts) = (dir.path().join("swarm.yaml"), dir.path().join("hosts.yaml"));
    std::fs::write(&file, SIMULATED).unwrap();
    let odd = "\"evil\\e[2J\\u202e\\r\\x9b31m\"";
    std::fs::write(&hosts, format!("hosts:\n  m1: {{ state: member, hostname: {odd}, engine: {odd} }}\n")).unwrap();
    let file = file.to_str().unwrap();
    for verb in ["status", "plan", "verify"] {
        for format in ["text", "json"] {
            let ran = run(&[verb, "-f", file, &format!("--simulate={}", hosts.display()), "--format", format, "-vvv"]);
            let said = format!("{}{}", ran.out, ran.err);
            assert!(said.contains("evil") || verb != "status", "{said}");
            assert!(said.chars().all(|c| (!c.is_control() || c == '\n') && c != '\u{202e}'), "{verb}: {said:?}");
        }
    }
}
