//! Agents, certificates in them, and what programs and jump hosts are given: beside `ssh`, where it does the same.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use swarm_core::host::Host;
use swarm_core::spec::{Jump, SshSpec};
use swarm_ssh::{NoPrompt, SshConnector};
use swarm_tests::lab::{TestLab, sh};
use swarm_tests::openssh::servers::Keys;
use swarm_tests::openssh::{Bench, Layout, Verdict};

/// An agent of its own, with keys.
struct Agent {
    pid: String,
    socket: PathBuf,
}

impl Agent {
    fn start(dir: &Path, name: &str, keys: &[String]) -> Self {
        let socket = dir.join(name);
        let text = sh(&["ssh-agent", "-a", socket.to_str().unwrap()]);
        let pid = text.split_once("SSH_AGENT_PID=").unwrap().1.split(';').next().unwrap().to_owned();
        for key in keys {
            let output = Command::new("ssh-add").args(["-q", key]).env("SSH_AUTH_SOCK", &socket).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        Self { pid, socket }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(&self.pid).status();
    }
}

#[test]
fn an_agent_opens_the_doors_that_it_opens_for_ssh() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::new(&dir.path().join("keys"));
    std::fs::write(keys.at("authorized"), format!("{}\n{}\n", keys.public("user"), keys.public("userrsa"))).unwrap();
    let strangers: Vec<String> = (0..12)
        .map(|i| {
            let path = keys.at(&format!("stranger{i}"));
            sh(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &path]);
            path
        })
        .collect();
    let certified = keys.certify("wrong", "certified", "ca2", &["-n", "root"]);
    let rsa = keys.certify("rsaca", "rsacertified", "ca2", &["-n", "root"]);
    let (six, twenty) = (keys.serve("six", &["host"], ""), keys.serve("twenty", &["host"], "MaxAuthTries 20"));
    let known = keys.at("known");
    std::fs::write(&known, format!("* {}\n", keys.public("host"))).unwrap();
    // Only the public half of a key is on this machine.
    std::fs::copy(keys.at("user.pub"), keys.at("half.pub")).unwrap();
    let (user, half) = (keys.at("user"), keys.at("half"));
    let with = |port: u16, more: &str| {
        format!("{more}\n  HostName 127.0.0.1\n  Port {port}\n  User root\n  UserKnownHostsFile {known}\n  GlobalKnownHostsFile none\n")
    };
    let agent = |name: &str, held: &[String]| Agent::start(dir.path(), name, held);
    let (one, crowd, mixed) = (agent("one", std::slice::from_ref(&user)), agent("crowd", &strangers), {
        let mut all = strangers.clone();
        all.push(user.clone());
        agent("mixed", &all)
    });
    let (certs, rsa_certs) = (agent("certs", &[certified]), agent("rsa", &[rsa]));
    let none = "  IdentityFile none";
    let table: Vec<(&str, &Agent, String)> = vec![
        ("a key", &one, with(six.port, none)),
        ("only the public half, named", &one, with(six.port, &format!("  IdentityFile {half}\n  IdentitiesOnly yes"))),
        ("the public file, named", &one, with(six.port, &format!("  IdentityFile {half}.pub\n  IdentitiesOnly yes"))),
        ("twelve strangers", &crowd, with(six.port, none)),
        ("twelve strangers, and a file alone", &crowd, with(six.port, &format!("  IdentityFile {user}\n  IdentitiesOnly yes"))),
        ("twelve strangers before the right one", &mixed, with(six.port, none)),
        ("the right one first, because a file names it", &mixed, with(six.port, &format!("  IdentityFile {half}"))),
        ("twelve strangers, and a patient server", &mixed, with(twenty.port, none)),
        ("no agent", &one, with(six.port, "  IdentityAgent none\n  IdentityFile none")),
        ("another agent", &crowd, with(six.port, &format!("  IdentityAgent {}\n  IdentityFile none", one.socket.display()))),
        ("a variable that is not set", &one, with(six.port, "  IdentityAgent $NO_SUCH_VARIABLE\n  IdentityFile none")),
        ("a certificate", &certs, with(six.port, none)),
        ("an RSA certificate", &rsa_certs, with(six.port, none)),
        ("a certificate that is not allowed", &certs, with(six.port, "  PubkeyAcceptedAlgorithms ssh-ed25519\n  IdentityFile none")),
    ];
    let layouts: Vec<Layout> = table
        .iter()
        .enumerate()
        .map(|(i, (name, _, section))| Layout {
            production: Box::leak((*name).to_owned().into_boxed_str()),
            host: format!("a{i}"),
            section: section.clone(),
        })
        .collect();
    let bench = Bench::new(dir.path(), &layouts);
    let mut connected = 0;
    for (layout, (name, agent, _)) in layouts.iter().zip(&table) {
        let (theirs, said) = bench.openssh(&layout.host, Some(&agent.socket));
        let ours = bench.ours("auto", &[&layout.host], Some(&agent.socket)).remove(&layout.host).unwrap();
        assert_eq!(ours.0, theirs, "{name}: ssh: {said}\nwe: {}", ours.2);
        assert_eq!(ours.1, "native", "{name}");
        connected += usize::from(theirs == Verdict::Connects);
    }
    assert!(connected >= 7 && connected <= table.len() - 4, "{connected} connect");
}

/// A program that is started for a connection does not get the secrets that the cluster file took from the environment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_program_gets_a_secret_from_the_environment() {
    let lab = TestLab::up(1, 0);
    let dir = tempfile::tempdir().unwrap();
    let seen = dir.path().join("seen");
    let real = sh(&["sh", "-c", "command -v ssh"]);
    let wrapper = dir.path().join("ssh");
    std::fs::write(&wrapper, format!("#!/bin/sh\nenv >> {}\nexec {} \"$@\"\n", seen.display(), real.trim())).unwrap();
    sh(&["chmod", "755", wrapper.to_str().unwrap()]);
    for client in ["native", "openssh"] {
        let more = "password_env: POISON_PASSWORD, passphrase_env: POISON_PHRASE";
        let text = lab.text(&[("m1", "manager", "labels: { note: \"${POISON_LABEL}\" }")]);
        let file = lab.file(&text.replacen("ssh: {", &format!("ssh: {{ client: {client}, {more},"), 1));
        let mut command = swarm_tests::cli::command(&["status", "-f", file.to_str().unwrap()]);
        let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
        command.env("PATH", path).env("HARMLESS", "here");
        for name in ["POISON_PASSWORD", "POISON_PHRASE", "POISON_LABEL"] {
            command.env(name, "poison");
        }
        let ran: swarm_tests::cli::Ran = command.output().unwrap().into();
        assert!(ran.out.contains("standalone"), "{client}: {ran:?}");
        let text = std::fs::read_to_string(&seen).unwrap();
        assert!(text.contains("HARMLESS=here") && !text.contains("poison"), "{client}: {text}");
        std::fs::remove_file(&seen).unwrap();
    }
}

/// A connection to a jump host that one host's settings allow is not there for a host whose settings do not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jump_host_is_shared_only_where_its_settings_are_equal() {
    let lab = TestLab::up(1, 1);
    let (bastion, target) = (lab.host("m1"), lab.host("w1"));
    let dir = tempfile::tempdir().unwrap();
    let known = std::fs::read_to_string(lab.lab.known_hosts()).unwrap();
    let without: String = known.lines().filter(|l| !l.starts_with(&bastion.address.to_string())).map(|l| format!("{l}\n")).collect();
    let less = dir.path().join("less");
    std::fs::write(&less, without).unwrap();
    let jump = Jump { user: Some("root".into()), address: bastion.address.to_string().parse().unwrap(), port: None };
    let base = SshSpec {
        user: Some("root".into()),
        identity_file: Some(lab.lab.key()),
        known_hosts: Some(lab.lab.known_hosts()),
        jump: Some(vec![jump]),
        ..SshSpec::default()
    };
    let connector = SshConnector::new(Arc::new(NoPrompt));
    let host = |name: &str, spec: SshSpec| connector.host(name.into(), target.address.to_string().parse().unwrap(), spec);
    let first = host("first", base.clone());
    first.run(&swarm_core::host::Command::new(["true"])).await.unwrap();
    let error = host("second", SshSpec { known_hosts: Some(less), ..base.clone() }).connect().await.unwrap_err();
    assert!(error.to_string().contains(&bastion.address.to_string()) && error.to_string().contains("not known"), "{error}");
    host("third", base).connect().await.unwrap();
}

/// What `ssh -G` says of one host is used for no other, whatever the configuration and the environment are like: each of four hosts that are
/// asked for at once gets the verdict that `ssh` has for it.
#[test]
fn one_answer_of_ssh_belongs_to_one_host() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::new(&dir.path().join("keys"));
    std::fs::write(keys.at("authorized"), format!("{}\n", keys.public("user"))).unwrap();
    let server = keys.serve("plain", &["host"], "");
    for (file, key) in [("right", "host"), ("other", "wrong")] {
        std::fs::write(keys.at(file), format!("[127.0.0.1]:{} {}\n", server.port, keys.public(key))).unwrap();
    }
    let section = |known: &str, user: &str, port: u16| {
        format!(
            "  HostName 127.0.0.1\n  Port {port}\n  User {user}\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile none\n",
            keys.at("user"),
            keys.at(known)
        )
    };
    let sections = [
        section("right", "root", server.port),
        section("other", "root", server.port),
        section("right", "127.0.0.1", server.port),
        section("right", "root", 1),
    ];
    let layouts: Vec<Layout> = sections
        .iter()
        .enumerate()
        .map(|(number, section)| Layout { production: "one answer", host: format!("g{number}"), section: section.clone() })
        .collect();
    let plain: Vec<u8> = layouts.iter().flat_map(|l| format!("Host {}\n{}", l.host, l.section).into_bytes()).collect();
    let quoted: Vec<u8> = layouts.iter().flat_map(|l| format!("\"Host\" \"{}\"\n{}", l.host, l.section).into_bytes()).collect();
    let matched: Vec<u8> =
        layouts.iter().flat_map(|l| format!("Match exec \"test %n = {}\"\n{}", l.host, l.section).into_bytes()).collect();
    let latin = [&b"Host caf\xe9 *\n  ConnectTimeout 7\n"[..], &plain].concat();
    let expected = [Verdict::Connects, Verdict::Changed, Verdict::Refused, Verdict::Refused];
    let mut bench = Bench::new(dir.path(), &layouts);
    let hosts: Vec<&str> = layouts.iter().map(|l| l.host.as_str()).collect();
    for (what, config, home) in [
        ("as it is", &plain, Some("/root")),
        ("a Latin-1 byte", &latin, Some("/root")),
        ("quoted keywords and arguments", &quoted, Some("/root")),
        ("Match exec", &matched, Some("/root")),
        ("another HOME than the account's", &plain, Some("/nonexistent")),
        ("no HOME", &plain, None),
    ] {
        std::fs::write(dir.path().join("config"), config).unwrap();
        bench.variables = home.map(|home| ("HOME".to_owned(), home.to_owned())).into_iter().collect();
        bench.without = if home.is_none() { vec!["HOME"] } else { Vec::new() };
        let (theirs, ours) = (bench.all_openssh(&hosts), bench.ours("auto", &hosts, None));
        for (host, expected) in hosts.iter().zip(expected) {
            assert_eq!((theirs[*host].0, ours[*host].0), (expected, expected), "{what}, {host}: {:?} {:?}", theirs[*host], ours[*host]);
        }
    }
}

/// Who connects is said with `-v`, once for a host, and with the setting that made it so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_connects_is_said_once() {
    let lab = TestLab::up(1, 0);
    let dir = tempfile::tempdir().unwrap();
    let address = lab.host("m1").address;
    let layouts = [Layout { production: "said", host: address.to_string(), section: "  KnownHostsCommand /bin/true\n".into() }];
    let bench = Bench::new(dir.path(), &layouts);
    let file = lab.file(&lab.text(&lab.all("")));
    let run = |args: &[&str]| -> swarm_tests::cli::Ran {
        let mut command = swarm_tests::cli::command(&[args, &["-f", file.to_str().unwrap()]].concat());
        command.env("PATH", format!("{}:{}", bench.dir.join("bin").display(), std::env::var("PATH").unwrap()));
        command.output().unwrap().into()
    };
    let said = run(&["-v", "status"]);
    assert!(said.out.contains("standalone") && said.err.matches("your own ssh connects: knownhostscommand").count() == 1, "{said:?}");
    let quiet = run(&["status"]);
    assert!(quiet.out.contains("standalone") && !quiet.err.contains("your own ssh"), "{quiet:?}");
}
