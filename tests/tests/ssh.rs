//! SSH against a real sshd.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use swarm_core::engine::MembershipRead;
use swarm_core::host::{Command, Host, HostError, HostProbe};
use swarm_core::observe::ReachErrorKind;
use swarm_core::spec::{HostKeyPolicy, Jump, SshSpec};
use swarm_docker::DockerEngine;
use swarm_lab::LabHost;
use swarm_ssh::{NoPrompt, SshConnector, SshHost};
use swarm_tests::lab::{TestLab, eventually, sh};
use tempfile::TempDir;

pub(crate) const SOCKET: &str = "/run/docker.sock";

pub(crate) fn spec(lab: &TestLab) -> SshSpec {
    SshSpec {
        user: Some("root".into()),
        identity_file: Some(lab.lab.key()),
        known_hosts: Some(lab.lab.known_hosts()),
        ..SshSpec::default()
    }
}

pub(crate) fn connect(host: &LabHost, spec: SshSpec) -> SshHost {
    SshConnector::new(Arc::new(NoPrompt)).host(host.name.as_str().into(), host.address.to_string().parse().unwrap(), spec)
}

pub(crate) async fn echo(host: &SshHost, text: &str) -> Result<String, HostError> {
    let output = host.run(&Command::new(["printf", "%s", text])).await?;
    assert_eq!(output.status, Some(0));
    Ok(String::from_utf8(output.stdout).unwrap())
}

fn message(error: &HostError) -> String {
    assert!(matches!(error, HostError::Unreachable { retry: false, .. }), "{error:?}");
    error.to_string()
}

/// Writes sshd's configuration with further lines and restarts it.
pub(crate) fn reconfigure(host: &LabHost, more: &str) {
    let path = host.ssh_dir().join("sshd_config");
    let kept: String = std::fs::read_to_string(&path)
        .unwrap()
        .lines()
        .filter(|l| !more.contains(l.split(' ').next().unwrap_or("?")))
        .map(|l| format!("{l}\n"))
        .collect();
    std::fs::write(&path, kept + more + "\n").unwrap();
    host.restart_sshd().unwrap();
}

fn sshd_log(host: &LabHost) -> String {
    std::fs::read_to_string(host.ssh_dir().parent().unwrap().join("sshd.log")).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_files_and_streams() {
    let lab = TestLab::up(1, 0);
    let host = connect(lab.host("m1"), spec(&lab));
    // Nothing of an argument is read by a shell.
    let hostile = "$(touch /root/pwned); `id` 'x' \"y\" \\ * ~ \n -n é";
    assert_eq!(echo(&host, hostile).await.unwrap(), hostile);
    assert!(!lab.host("m1").home_dir().join("pwned").exists());
    assert!(host.run(&Command::new(["a\0b"])).await.is_err());

    let failed = host.run(&Command::new(["sh", "-c", "echo out; echo err >&2; exit 7"])).await.unwrap();
    assert_eq!((failed.status, failed.stdout.as_slice(), failed.stderr.as_slice()), (Some(7), &b"out\n"[..], &b"err\n"[..]));
    assert_eq!(host.run(&Command::new(["sh", "-c", "kill -9 $$"])).await.unwrap().status, None);
    let mut endless = Command::new(["yes"]);
    endless.output_limit = 10_000;
    assert!(matches!(host.run(&endless).await, Err(HostError::Unexpected { .. })));
    let mut slow = Command::new(["sleep", "60"]);
    slow.timeout = Duration::from_millis(300);
    assert!(matches!(host.run(&slow).await, Err(HostError::TimedOut { .. })));

    host.put_file("/root/a file;$(x)", 0o640, b"content\0\n").await.unwrap();
    assert_eq!(host.read_file("/root/a file;$(x)", 100).await.unwrap(), b"content\0\n");
    assert_eq!(lab.host("m1").exec(&["stat", "-c", "%a", "/root/a file;$(x)"]).unwrap().trim(), "640");
    assert!(host.read_file("/root/a file;$(x)", 3).await.is_err());
    assert!(host.read_file("/nosuchfile", 3).await.unwrap_err().to_string().contains("No such file"));

    let machine = host.machine().await.unwrap();
    assert!(machine.addresses.iter().any(|a| a.interface == "eth0" && a.address == lab.host("m1").address), "{machine:?}");
    assert!(machine.engine_installed && machine.machine_id.is_some());

    // Two hundred answers over one connection.
    let host: Arc<dyn Host> = Arc::new(host);
    let engine = DockerEngine::on_host(host, SOCKET).await.unwrap();
    for _ in 0..200 {
        engine.info().await.unwrap();
    }
    assert_eq!(sshd_log(lab.host("m1")).matches("Accepted publickey").count(), 1, "one login for everything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_keys_are_judged_before_anything_is_said() {
    let lab = TestLab::up(1, 0);
    let host = lab.host("m1");
    let dir = tempfile::tempdir().unwrap();
    let known = |text: &str| {
        let path = dir.path().join("known");
        std::fs::write(&path, text).unwrap();
        SshSpec { known_hosts: Some(path), ..spec(&lab) }
    };
    let right = std::fs::read_to_string(lab.lab.known_hosts()).unwrap();
    let other_key = |kind: &str| {
        let path = dir.path().join(format!("key-{kind}"));
        sh(&["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path.to_str().unwrap()]);
        let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        format!("{} {public}", host.address)
    };

    // Unknown: refused with the command that would add it, and nothing is written.
    let text = message(&echo(&connect(host, known("")), "x").await.unwrap_err());
    assert!(text.contains("SHA256:") && text.contains(&format!("ssh-keyscan -t ed25519 {}", host.address)), "{text}");
    assert_eq!(std::fs::read_to_string(dir.path().join("known")).unwrap(), "");
    // accept-new connects, and writes nothing until the host is acted on: then once, so that `ssh` knows it too.
    let accept = SshSpec { host_key: HostKeyPolicy::AcceptNew, ..known("") };
    let looked_at = connect(host, accept.clone());
    echo(&looked_at, "x").await.unwrap();
    assert_eq!(std::fs::read_to_string(dir.path().join("known")).unwrap(), "", "looking writes nothing");
    looked_at.record_host_key().await.unwrap();
    looked_at.record_host_key().await.unwrap();
    echo(&connect(host, accept.clone()), "x").await.unwrap();
    let written = std::fs::read_to_string(dir.path().join("known")).unwrap();
    assert_eq!(written.lines().count(), 1, "{written}");
    let found = sh(&["ssh-keygen", "-F", &host.address.to_string(), "-f", dir.path().join("known").to_str().unwrap()]);
    assert!(found.contains(right.split_whitespace().nth(2).unwrap()), "{found}");

    // Changed, of the same and of another type: reported with its place, under either policy, and the file stays.
    for kind in ["ed25519", "ecdsa"] {
        for policy in [HostKeyPolicy::Strict, HostKeyPolicy::AcceptNew] {
            let wrong = other_key(kind);
            let _ = std::fs::remove_file(dir.path().join(format!("key-{kind}")));
            let text = echo(&connect(host, SshSpec { host_key: policy, ..known(&format!("# first line\n{wrong}")) }), "x")
                .await
                .unwrap_err()
                .to_string();
            assert!(text.contains("has changed") && text.contains("known:2"), "{kind}: {text}");
            assert_eq!(text.matches("SHA256:").count(), 2, "{text}");
            assert_eq!(std::fs::read_to_string(dir.path().join("known")).unwrap(), format!("# first line\n{wrong}"));
        }
    }
    // Revoked, although it is recorded as right.
    let text = message(&echo(&connect(host, known(&format!("{right}@revoked {right}"))), "x").await.unwrap_err());
    assert!(text.contains("revoked"), "{text}");
    // An unreadable file is not an empty one.
    let unreadable = SshSpec { known_hosts: Some(dir.path().to_owned()), ..spec(&lab) };
    assert!(echo(&connect(host, unreadable), "x").await.unwrap_err().to_string().contains("cannot be read"));
    // Only the two good connections ever tried to log in.
    let log = sshd_log(host);
    assert_eq!((log.matches("Accepted").count(), log.matches("Failed").count()), (2, 0), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_is_told_with_what_was_tried() {
    let lab = TestLab::up(1, 0);
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("stranger");
    sh(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key.to_str().unwrap()]);
    let text = message(&echo(&connect(lab.host("m1"), SshSpec { identity_file: Some(key.clone()), ..spec(&lab) }), "x").await.unwrap_err());
    assert!(text.contains("login as root was refused") && text.contains("stranger") && text.contains("authorized_keys"), "{text}");

    // A key with a passphrase: no one can be asked, then the environment knows it.
    let locked = dir.path().join("locked");
    sh(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "poison-passphrase", "-f", locked.to_str().unwrap()]);
    let public = std::fs::read_to_string(locked.with_extension("pub")).unwrap();
    let authorized = lab.host("m1").home_dir().join(".ssh/authorized_keys");
    std::fs::write(&authorized, std::fs::read_to_string(&authorized).unwrap() + &public).unwrap();
    let with_key = SshSpec { identity_file: Some(locked), ..spec(&lab) };
    let text = message(&echo(&connect(lab.host("m1"), with_key.clone()), "x").await.unwrap_err());
    assert!(text.contains("has a passphrase") && !text.contains("poison"), "{text}");
    let file = lab.file(&lab.text(&[(
        "m1",
        "manager",
        &format!("ssh: {{ identity_file: {}, passphrase_env: LOCKED }}", dir.path().join("locked").display()),
    )]));
    let output = swarm_tests::cli::command(&["status", "-f", file.to_str().unwrap()]).env("LOCKED", "poison-passphrase").output().unwrap();
    let ran: swarm_tests::cli::Ran = output.into();
    assert!(ran.out.contains("standalone"), "{ran:?}");
    let output = swarm_tests::cli::command(&["status", "-f", file.to_str().unwrap(), "-vvv"])
        .env("LOCKED", "wrong")
        .env("RUST_LOG", "trace")
        .output()
        .unwrap();
    let ran: swarm_tests::cli::Ran = output.into();
    assert!(ran.out.contains("passphrase") && ran.out.contains("wrong") && !format!("{ran:?}").contains("poison"), "{ran:?}");
}

struct Agent {
    socket: PathBuf,
    pid: String,
    _dir: TempDir,
}

impl Agent {
    fn start(keys: &[&Path]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent");
        let out = sh(&["ssh-agent", "-s", "-a", socket.to_str().unwrap()]);
        let pid = out.split("SSH_AGENT_PID=").nth(1).unwrap().split(';').next().unwrap().to_owned();
        for key in keys {
            let status = std::process::Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &socket).status().unwrap();
            assert!(status.success());
        }
        Self { socket, pid, _dir: dir }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = std::process::Command::new("kill").arg(&self.pid).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_opens_the_door_and_a_named_file_comes_before_it() {
    let lab = TestLab::up(1, 0);
    let dir = tempfile::tempdir().unwrap();
    let strangers: Vec<PathBuf> = (0..8).map(|i| dir.path().join(format!("k{i}"))).collect();
    for key in &strangers {
        sh(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key.to_str().unwrap()]);
    }
    let known = lab.lab.known_hosts();
    let plain = format!(
        "name: x\nssh: {{ user: root, known_hosts: {} }}\nhosts:\n  m1: {{ address: {}, role: manager }}\n",
        known.display(),
        lab.host("m1").address
    );
    let named = plain.replace("user: root", &format!("user: root, identity_file: {}", lab.lab.key().display()));
    let status = |file: &str, agent: &Agent| -> swarm_tests::cli::Ran {
        let file = lab.file(file);
        let home = dir.path().to_str().unwrap();
        swarm_tests::cli::command(&["status", "-f", file.to_str().unwrap()])
            .env("SSH_AUTH_SOCK", &agent.socket)
            .env("HOME", home)
            .output()
            .unwrap()
            .into()
    };
    let good = Agent::start(&[&lab.lab.key()]);
    assert!(status(&plain, &good).out.contains("standalone"));
    // Eight keys that fit nothing: sshd would close the door after six, but the named file is tried first.
    let bad = Agent::start(&strangers.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    assert!(status(&named, &bad).out.contains("standalone"));
    let refused = status(&plain, &bad);
    assert!(refused.out.contains("refused") && refused.out.contains("agent"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_is_told_and_made_again() {
    let lab = TestLab::up(1, 0);
    let host = Arc::new(connect(lab.host("m1"), spec(&lab)));
    echo(&host, "x").await.unwrap();
    let running = tokio::spawn({
        let host = Arc::clone(&host);
        async move { host.run(&Command::new(["sh", "-c", "touch /run/begun; sleep 30"])).await }
    });
    let begun = lab.host("m1").run_dir().join("begun");
    eventually("the command runs", Duration::from_secs(10), || begun.exists()).await;
    lab.host("m1").exec(&["pkill", "-9", "-f", "sshd: root"]).unwrap();
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(error, HostError::Lost { .. }), "no exit status is not a status of 0: {error:?}");
    assert_eq!(echo(&host, "again").await.unwrap(), "again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sshd_that_forwards_no_sockets_or_has_one_session_is_enough() {
    let lab = TestLab::up(1, 0);
    let m1 = lab.host("m1");
    reconfigure(m1, "AllowStreamLocalForwarding no\nMaxSessions 1");
    let host: Arc<dyn Host> = Arc::new(connect(m1, spec(&lab)));
    let engine = DockerEngine::on_host(Arc::clone(&host), SOCKET).await.unwrap();
    let (a, b, c) = tokio::join!(engine.info(), engine.info(), engine.info());
    assert_eq!((a.unwrap().hostname, b.is_ok(), c.is_ok()), ("m1".into(), true, true));
    m1.exec(&["pgrep", "-f", "system dial-stdio"]).expect("the bytes go through a command on the host");
    drop(engine);
    // The whole way with one session at a time.
    swarm_tests::lab::converge(&lab.text(&lab.all(""))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sshd_that_drops_connections_by_chance_is_tried_again() {
    let lab = TestLab::up(1, 0);
    reconfigure(lab.host("m1"), "MaxStartups 1:90:3");
    let connector = SshConnector::new(Arc::new(NoPrompt));
    let address: swarm_core::addr::HostAddress = lab.host("m1").address.to_string().parse().unwrap();
    let tasks: Vec<_> = (0..12)
        .map(|i| {
            let host = connector.host(format!("h{i}").as_str().into(), address.clone(), spec(&lab));
            tokio::spawn(async move { echo(&host, "x").await.map(|_| ()) })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jump_hosts_are_checked_and_shared() {
    let lab = TestLab::up(1, 2);
    let (bastion, target) = (lab.host("m1"), lab.host("w1"));
    for host in ["w1", "w2"] {
        // Only the bastion reaches it.
        lab.host(host).cut(bastion_gateway(bastion)).unwrap();
    }
    let jump = Jump { user: Some("root".into()), address: bastion.address.to_string().parse().unwrap(), port: Some(22) };
    let through = SshSpec { jump: Some(vec![jump]), ..spec(&lab) };
    let connector = SshConnector::new(Arc::new(NoPrompt));
    for name in ["w1", "w2"] {
        let host = connector.host(name.into(), lab.host(name).address.to_string().parse().unwrap(), through.clone());
        assert_eq!(host.run(&Command::new(["hostname"])).await.unwrap().stdout, format!("{name}\n").as_bytes());
    }
    assert_eq!(sshd_log(bastion).matches("Accepted publickey").count(), 1, "one connection to the bastion for both");
    // The bastion's key is checked as well, and nothing goes on behind it.
    let dir = tempfile::tempdir().unwrap();
    let known = dir.path().join("known");
    let lines: String = std::fs::read_to_string(lab.lab.known_hosts())
        .unwrap()
        .lines()
        .filter(|l| !l.starts_with(&bastion.address.to_string()))
        .map(|l| format!("{l}\n"))
        .collect();
    std::fs::write(&known, lines).unwrap();
    let error = echo(&connect(target, SshSpec { known_hosts: Some(known), ..through }), "x").await.unwrap_err();
    assert!(message(&error).contains(&format!("root@{}:22", bastion.address)), "{error}");
}

fn bastion_gateway(host: &LabHost) -> std::net::IpAddr {
    let text = host.address.to_string();
    format!("{}.1", text.rsplit_once('.').unwrap().0).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_an_engine_is_not_reached() {
    let lab = TestLab::up(1, 0);
    let m1 = lab.host("m1");
    m1.stop_engine();
    let _ = std::fs::remove_file(m1.socket());
    let reach = |host: SshHost| async move { DockerEngine::on_host(Arc::new(host), SOCKET).await.unwrap_err() };
    let error = reach(connect(m1, spec(&lab))).await;
    assert_eq!(error.kind, ReachErrorKind::EngineDown, "{error:?}");
    assert!(error.message.contains("systemctl start docker"), "{error:?}");
    m1.start_engine().unwrap();

    // A user outside the docker group: both ways out are named.
    let user = "cp /etc/passwd /run/passwd; echo 'op:x:4242:4242::/run/op:/bin/sh' >> /run/passwd; mount --bind /run/passwd /etc/passwd; cp /etc/shadow /run/shadow; echo 'op:*:19000:0:99999:7:::' >> /run/shadow; mount --bind /run/shadow /etc/shadow; \
                mkdir -p /run/op/.ssh; cp /root/.ssh/authorized_keys /run/op/.ssh/; chown -R 4242:4242 /run/op; chmod 755 /run/op; chmod 660 /run/docker.sock";
    m1.exec(&["sh", "-c", user]).unwrap();
    let op = SshSpec { user: Some("op".into()), ..spec(&lab) };
    let error = reach(connect(m1, op.clone())).await;
    assert_eq!(error.kind, ReachErrorKind::NoPermission, "{error:?}");
    assert!(error.message.contains("usermod -aG docker op") && error.message.contains("sudo: true"), "{error:?}");
    // sudo that wants a password is reported as such; sudo that does not is enough for the whole way.
    let with_sudo = SshSpec { sudo: true, ..op };
    let error = reach(connect(m1, with_sudo.clone())).await;
    assert_eq!(error.kind, ReachErrorKind::NoPermission, "{error:?}");
    assert!(error.message.contains("sudo -n does not work for op"), "{error:?}");
    let sudoers = "echo 'root ALL=(ALL) ALL' > /run/sudoers; echo 'op ALL=(ALL) NOPASSWD: ALL' >> /run/sudoers; chmod 440 /run/sudoers; mount --bind /run/sudoers /etc/sudoers";
    m1.exec(&["sh", "-c", sudoers]).unwrap();
    let host = Arc::new(connect(m1, with_sudo));
    assert_eq!(DockerEngine::on_host(Arc::clone(&host) as Arc<dyn Host>, SOCKET).await.unwrap().info().await.unwrap().hostname, "m1");
    // No docker command line is needed: whatever of five programs the host has carries the bytes.
    // Also where only a login looks.
    let hide = |program: &str| {
        format!(
            "for f in $(PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/bin:/bin which -a {program} | sort -u); do mount --bind /dev/null $f; done"
        )
    };
    reconfigure(m1, "AllowStreamLocalForwarding no");
    for (gone, next) in [("docker", "python3"), ("python3", "perl")] {
        m1.exec(&["sh", "-c", &hide(gone)]).unwrap();
        let again = Arc::new(connect(m1, SshSpec { user: Some("op".into()), sudo: true, ..spec(&lab) }));
        let engine = DockerEngine::on_host(Arc::clone(&again) as Arc<dyn Host>, SOCKET).await.unwrap_or_else(|e| panic!("{next}: {e:?}"));
        assert_eq!(engine.info().await.unwrap().hostname, "m1", "{next}");
    }
    m1.exec(&["sh", "-c", &hide("perl")]).unwrap();
    let error = reach(connect(m1, SshSpec { user: Some("op".into()), sudo: true, ..spec(&lab) })).await;
    assert!(error.message.contains("has none of docker, socat, nc"), "{error:?}");
    host.put_file("/run/owned-by-root", 0o600, b"x").await.unwrap();
    assert_eq!(m1.exec(&["stat", "-c", "%U %a", "/run/owned-by-root"]).unwrap().trim(), "root 600");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_and_passwords_open_the_door() {
    let lab = TestLab::up(1, 0);
    let m1 = lab.host("m1");
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    for key in ["ca", "user"] {
        sh(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &at(key)]);
    }
    let with_key = SshSpec { identity_file: Some(at("user").into()), ..spec(&lab) };
    assert!(echo(&connect(m1, with_key.clone()), "x").await.is_err(), "the key alone opens nothing");
    sh(&["ssh-keygen", "-q", "-s", &at("ca"), "-I", "op", "-n", "root", &format!("{}.pub", at("user"))]);
    std::fs::copy(at("ca.pub"), m1.ssh_dir().join("user_ca.pub")).unwrap();
    // A password as well, for whoever has no key: root's, in a shadow file of this host alone.
    let hash = sh(&["openssl", "passwd", "-6", "poison-password"]);
    let shadow = format!(
        "cp /etc/shadow /run/shadow; sed -i 's|^root:[^:]*:|root:{}:|' /run/shadow; mount --bind /run/shadow /etc/shadow",
        hash.trim()
    );
    m1.exec(&["sh", "-c", &shadow]).unwrap();
    reconfigure(m1, "TrustedUserCAKeys /etc/ssh/user_ca.pub\nPermitRootLogin yes\nPasswordAuthentication yes");
    echo(&connect(m1, with_key), "x").await.unwrap();
    assert!(sshd_log(m1).contains("ED25519-CERT"), "{}", sshd_log(m1));

    let text = lab
        .text(&[("m1", "manager", "ssh: { password_env: LAB_PASSWORD }")])
        .replace(&format!("identity_file: {},", lab.lab.key().display()), "");
    let file = lab.file(&text);
    let status = |password: &str| -> swarm_tests::cli::Ran {
        let mut command = swarm_tests::cli::command(&["status", "-vvv", "-f", file.to_str().unwrap()]);
        command.env("LAB_PASSWORD", password).env("HOME", dir.path()).env_remove("SSH_AUTH_SOCK").output().unwrap().into()
    };
    assert!(status("poison-password").out.contains("standalone"));
    let wrong = status("poison-wrong");
    assert!(wrong.out.contains("the password") && !format!("{wrong:?}").contains("poison"), "{wrong:?}");
    // The same password as the answer to the host's question, where that is all it offers.
    reconfigure(
        m1,
        "UsePAM yes\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication yes\nPubkeyAuthentication no",
    );
    let asked = status("poison-password");
    assert!(asked.out.contains("standalone"), "{asked:?}\n{}", sshd_log(m1));
    let wrong = status("poison-wrong");
    assert!(wrong.out.contains("keyboard-interactive") && !format!("{wrong:?}").contains("poison"), "{wrong:?}");
}
