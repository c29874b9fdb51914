//! Other programs on the way that the file describes: `ssh`, and the docker command line against a host's engine.

use std::io::{BufRead, Write};
use std::process::Stdio;
use swarm_tests::cli::{self, Ran};
use swarm_tests::lab::{TestLab, converge};

#[tokio::test]
async fn ssh_and_docker_go_where_the_file_says() {
    let lab = TestLab::up(1, 1);
    let text = lab.text(&lab.all(""));
    converge(&text).await;
    let file = lab.file(&text);
    let run = |verb: &str, args: &[&str]| cli::run(&[&[verb, "-f", file.to_str().unwrap()], args].concat());

    let named = run("ssh", &["w1", "--", "hostname"]);
    assert!(named.code == 0 && named.out == "w1\n", "{named:?}");
    assert_eq!(run("ssh", &["w1", "--", "exit", "7"]).code, 7);
    let unknown = run("ssh", &["w9"]);
    assert!(unknown.code == 64 && unknown.err.contains("HOST w9"), "{unknown:?}");

    // A manager that answers, or the host that is named; exit codes and input are docker's.
    let nodes = run("docker", &["--", "node", "ls", "--format", "{{.Hostname}}"]);
    let mut names: Vec<&str> = nodes.out.lines().collect();
    names.sort_unstable();
    assert!(nodes.code == 0 && names == ["m1", "w1"], "{nodes:?}");
    let on_w1 = run("docker", &["--host", "w1", "--", "info", "--format", "{{.Name}} {{.Swarm.ControlAvailable}}"]);
    assert!(on_w1.code == 0 && on_w1.out == "w1 false\n", "{on_w1:?}");
    assert_eq!(run("docker", &["--", "inspect", "nothing"]).code, 1);
    let folder = lab.lab.dir.join("tmp");
    std::fs::create_dir_all(&folder).unwrap();
    let mut command = cli::command(&["docker", "-f", file.to_str().unwrap(), "--", "secret", "create", "key", "-"]);
    let mut child = command.env("TMPDIR", &folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hush").unwrap();
    let created: Ran = child.wait_with_output().unwrap().into();
    assert!(created.code == 0 && lab.docker("m1", &["secret", "ls", "--format", "{{.Name}}"]).trim() == "key", "{created:?}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "the folder of the socket is left");

    // Files, addresses, and what a shell evaluates.
    let (here, back) = (folder.join("here"), folder.join("back"));
    std::fs::write(&here, "page").unwrap();
    let to = run("scp", &[here.to_str().unwrap(), "w1:/tmp/there"]);
    assert_eq!((to.code, run("ssh", &["w1", "--", "cat", "/tmp/there"]).out.as_str()), (0, "page"), "{to:?}");
    let from = run("scp", &["w1:/tmp/there", back.to_str().unwrap()]);
    assert!(from.code == 0 && std::fs::read_to_string(&back).unwrap() == "page", "{from:?}");
    let both = run("scp", &["w1:/tmp/there", "m1:/tmp/there"]);
    assert!(both.code == 64 && both.err.contains("two steps"), "{both:?}");
    assert_eq!(run("scp", &[here.to_str().unwrap(), back.to_str().unwrap()]).code, 64);
    let hosts = cli::run(&["hosts", "ls", "-f", file.to_str().unwrap()]);
    let address = lab.host("w1").address.to_string();
    assert!(hosts.code == 0 && hosts.out.lines().any(|l| l.starts_with("w1") && l.contains(&address) && l.contains("worker")), "{hosts:?}");
    let ip = run("ip", &["w1"]);
    assert_eq!((ip.code, ip.out.trim()), (0, address.as_str()), "{ip:?}");
    assert!(run("ip", &[]).out.lines().any(|l| l.starts_with("m1") && l.ends_with(&lab.host("m1").address.to_string())));
    let env = run("env", &["w1"]);
    assert!(env.code == 0 && env.out.starts_with("export DOCKER_HOST='ssh://") && env.out.contains(&address), "{env:?}");
    assert!(env.err.contains("docker does not know") && env.err.contains("identity_file"), "{env:?}");
    assert_eq!(run("env", &["--unset"]).out.trim(), "unset DOCKER_HOST");

    // A picture that is watched is printed again when it changes, and ends with Ctrl-C.
    let mut watched = cli::command(&["node", "ls", "--watch", "-f", file.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(watched.stdout.take().unwrap()).lines();
    let mut until = |word: &str| lines.by_ref().map_while(Result::ok).find(|line| line.contains("w1") && line.contains(word)).unwrap();
    until("active");
    lab.docker("m1", &["node", "update", "--availability", "drain", "w1"]);
    until("drain");
    swarm_tests::lab::sh(&["kill", "-INT", &watched.id().to_string()]);
    assert_eq!(watched.wait().unwrap().code(), Some(130));
}

/// A context of the docker command line goes to a manager by docker's own `ssh`, with the key and the host keys of the cluster's file, which stand in
/// a part of ssh's configuration; the rest of that configuration stays as it was.
#[tokio::test]
async fn a_docker_context_goes_where_the_file_says() {
    let lab = TestLab::up(1, 1);
    let text = lab.text(&lab.all(""));
    converge(&text).await;
    let file = lab.file(&text);
    let dir = tempfile::tempdir().unwrap();
    let (config, bin, docker) = (dir.path().join("ssh/config"), dir.path().join("bin"), dir.path().join("docker"));
    for folder in [config.parent().unwrap(), &bin, &docker] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let mine = "# mine\nHost other\n  User someone\n";
    std::fs::write(&config, mine).unwrap();
    // docker starts `ssh` with no file of its own: this one has another home.
    let draft = dir.path().join("draft");
    let include = format!(
        "#!/bin/sh\nsed 's|^Include swarm|Include {0}/swarm|' {0}/config >{0}/whole\nexec /usr/bin/ssh -F {0}/whole \"$@\"\n",
        config.parent().unwrap().display()
    );
    std::fs::write(&draft, include).unwrap();
    swarm_tests::lab::sh(&["install", "-m", "700", draft.to_str().unwrap(), bin.join("ssh").to_str().unwrap()]);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let context = |verb: &str, args: &[&str]| -> Ran {
        let all = [&["context", verb, "-f", file.to_str().unwrap(), "--ssh-config", config.to_str().unwrap()], args].concat();
        cli::command(&all).env("DOCKER_CONFIG", &docker).output().unwrap().into()
    };
    let by_docker = |args: &[&str]| -> Ran {
        let mut command = std::process::Command::new("docker");
        command.args(args).env("DOCKER_CONFIG", &docker).env("PATH", &path).env_remove("DOCKER_HOST").output().unwrap().into()
    };

    let made = context("create", &["prod"]);
    assert!(
        made.code == 0 && made.out.contains("context prod is the engine of m1") && made.err.contains("is its first line now"),
        "{made:?}"
    );
    let nodes = by_docker(&["--context", "prod", "node", "ls", "--format", "{{.Hostname}}"]);
    let mut names: Vec<&str> = nodes.out.lines().collect();
    names.sort_unstable();
    assert!(nodes.code == 0 && names == ["m1", "w1"], "{nodes:?}");
    assert_eq!(std::fs::read_to_string(&config).unwrap(), format!("Include swarm/*.conf\n\n{mine}"));
    // Again, for another host: the same context, and ssh's configuration is not changed a second time.
    let other = context("create", &["prod", "--host", "w1"]);
    assert!(other.code == 0 && other.err.is_empty(), "{other:?}");
    let on_w1 = by_docker(&["--context", "prod", "info", "--format", "{{.Name}}"]);
    assert_eq!((on_w1.code, on_w1.out.trim()), (0, "w1"), "{on_w1:?}");
    assert_eq!(std::fs::read_to_string(&config).unwrap(), format!("Include swarm/*.conf\n\n{mine}"));
    let bad = context("create", &["a b"]);
    assert!(bad.code == 64 && bad.err.contains("no name of a docker context"), "{bad:?}");
    let removed = context("rm", &["prod"]);
    assert!(removed.code == 0 && removed.out.contains("context prod is removed"), "{removed:?}");
    assert!(!config.parent().unwrap().join("swarm/prod.conf").exists());
    assert!(!by_docker(&["context", "ls", "--format", "{{.Name}}"]).out.contains("prod"));
    assert_eq!(context("rm", &["prod"]).code, 0, "there is none any more");
}
