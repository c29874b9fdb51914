//! What both clients do alike, what only acting writes, and the questions they ask.

use crate::ssh::{SOCKET, connect, echo, reconfigure, spec};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use swarm_core::engine::MembershipRead;
use swarm_core::host::{Command, Host, HostProbe};
use swarm_core::spec::{Jump, SshClient, SshSpec};
use swarm_docker::DockerEngine;
use swarm_tests::lab::{TestLab, eventually, sh};

/// `plan`, `status` and `verify` write nothing, whatever the file says; `apply` writes, and to known_hosts files only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_apply_writes_a_new_host_key_and_only_where_host_keys_belong() {
    let lab = TestLab::up(1, 0);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let file = |known: &Path| {
        let text = lab.text(&[("m1", "manager", "")]).replace(&lab.lab.known_hosts().display().to_string(), &known.display().to_string());
        lab.file(&text.replacen("ssh: {", "ssh: { host_key: accept-new,", 1))
    };
    let run = |verb: &[&str], known: &Path| swarm_tests::cli::run(&[verb, &["-f", file(known).to_str().unwrap()]].concat());
    for verb in [&["plan"][..], &["status"], &["verify", "--timeout", "1s"], &["apply", "--dry-run"]] {
        let ran = run(verb, &at("known"));
        assert!(ran.code == 2 || ran.code == 3 || ran.code == 0, "{verb:?}: {ran:?}");
        assert!(!at("known").exists(), "{verb:?} wrote");
    }
    // What is not a known_hosts file is left as it is, and nothing is done to the host.
    std::fs::write(at("profile"), "umask 022\n").unwrap();
    std::os::unix::fs::symlink(at("profile"), at("link")).unwrap();
    for (wrong, why) in
        [("authorized_keys", "was not written to"), ("profile", "was not written to"), ("link", "is a symbolic link, so it is not used")]
    {
        let ran = run(&["apply", "--yes"], &at(wrong));
        assert!(ran.code != 0 && format!("{ran:?}").contains(why), "{wrong}: {ran:?}");
        assert_eq!(lab.docker("m1", &["info", "--format", "{{.Swarm.LocalNodeState}}"]).trim(), "inactive");
    }
    assert_eq!(std::fs::read_to_string(at("profile")).unwrap(), "umask 022\n");
    assert!(!at("authorized_keys").exists());
    for client in ["native", "openssh"] {
        let known = at(client);
        let path = file(&known);
        let text = std::fs::read_to_string(&path).unwrap().replacen("ssh: {", &format!("ssh: {{ client: {client},"), 1);
        std::fs::write(&path, text).unwrap();
        let ran = swarm_tests::cli::run(&["plan", "-f", path.to_str().unwrap()]);
        assert!((ran.code == 2 || ran.code == 0) && !known.exists(), "{client}: {ran:?}");
        let ran = swarm_tests::cli::run(&["apply", "--yes", "-f", path.to_str().unwrap()]);
        assert_eq!(ran.code, 0, "{client}: {ran:?}");
        let text = std::fs::read_to_string(&known).unwrap();
        sh(&["ssh-keygen", "-F", &lab.host("m1").address.to_string(), "-f", known.to_str().unwrap()]);
        assert_eq!(text.lines().count(), 1, "{client}: {text}");
    }
}

/// Both clients do the same on the same hosts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_clients_pass_one_table() {
    let lab = TestLab::up(1, 2);
    let m1 = lab.host("m1");
    m1.exec(&["sh", "-c", "groupadd -f docker 2>/dev/null; true"]).unwrap();
    let user = "cp /etc/passwd /run/passwd; printf 'op:x:4242:4242::/run/op:/bin/sh\nin:x:4243:4243::/run/in:/bin/sh\n' >> /run/passwd; mount --bind /run/passwd /etc/passwd; \
                cp /etc/shadow /run/shadow; printf 'op:*:19000:0:99999:7:::\nin:*:19000:0:99999:7:::\n' >> /run/shadow; mount --bind /run/shadow /etc/shadow; \
                for u in op in; do mkdir -p /run/$u/.ssh; cp /root/.ssh/authorized_keys /run/$u/.ssh/; chown -R $(id -u $u) /run/$u; chmod 755 /run/$u; done; \
                echo 'op ALL=(ALL) NOPASSWD: ALL' > /run/sudoers; chmod 440 /run/sudoers; mount --bind /run/sudoers /etc/sudoers; \
                chgrp 4243 /run/docker.sock; chmod 660 /run/docker.sock; for f in $(which -a docker); do mount --bind /dev/null $f; done";
    m1.exec(&["sh", "-c", user]).unwrap();
    let jump = |name: &str| Jump { user: Some("root".into()), address: lab.host(name).address.to_string().parse().unwrap(), port: None };
    let base = spec(&lab);
    let table: Vec<(&str, SshSpec)> = vec![
        ("root", base.clone()),
        ("in the group of the socket", SshSpec { user: Some("in".into()), ..base.clone() }),
        ("sudo, without a docker command line", SshSpec { user: Some("op".into()), sudo: true, ..base.clone() }),
        ("one jump host", SshSpec { jump: Some(vec![jump("w1")]), ..base.clone() }),
        ("two jump hosts", SshSpec { jump: Some(vec![jump("w1"), jump("w2")]), ..base.clone() }),
    ];
    for forwarding in ["yes", "no"] {
        reconfigure(m1, &format!("AllowStreamLocalForwarding {forwarding}"));
        for (what, ssh) in &table {
            for client in [SshClient::Native, SshClient::Openssh] {
                let name = format!("{what}, forwarding {forwarding}, {client:?}");
                let host = Arc::new(connect(m1, SshSpec { client, ..ssh.clone() }));
                assert_eq!(echo(&host, "a b").await.unwrap_or_else(|e| panic!("{name}: {e}")), "a b", "{name}");
                let failed = host.run(&Command::new(["sh", "-c", "cat; echo err >&2; exit 7"])).await.unwrap();
                assert_eq!((failed.status, failed.stderr.as_slice()), (Some(7), &b"err\n"[..]), "{name}");
                host.put_file("/tmp/table", 0o600, b"x\0y").await.unwrap_or_else(|e| panic!("{name}: {e}"));
                assert_eq!(host.read_file("/tmp/table", 10).await.unwrap(), b"x\0y", "{name}");
                m1.exec(&["rm", "-f", "/tmp/table"]).unwrap();
                let engine =
                    DockerEngine::on_host(Arc::clone(&host) as Arc<dyn Host>, SOCKET).await.unwrap_or_else(|e| panic!("{name}: {e:?}"));
                let (a, b) = tokio::join!(engine.info(), engine.info());
                assert_eq!((a.unwrap().hostname, b.unwrap().hostname), ("m1".to_owned(), "m1".to_owned()), "{name}");
            }
        }
    }
}

/// Nothing of OpenSSH's is left behind: not at the end, and not where we were killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_goes_with_us() {
    let lab = TestLab::up(1, 0);
    let left = |pid: u32| {
        let folders = std::fs::read_dir("/tmp").unwrap().filter_map(Result::ok);
        folders.filter(|e| e.file_name().to_string_lossy().starts_with(&format!("swarm-{pid}-"))).count()
    };
    let host = connect(lab.host("m1"), SshSpec { client: SshClient::Openssh, ..spec(&lab) });
    echo(&host, "x").await.unwrap();
    assert_eq!(host.by_openssh().await.as_deref(), Some("`client: openssh`"));
    let ours = || {
        let out = std::process::Command::new("pgrep").args(["-f", &format!("ssh -M .*{}", lab.host("m1").address)]).output().unwrap();
        String::from_utf8_lossy(&out.stdout).lines().count()
    };
    assert_eq!(ours(), 1);
    drop(host);
    eventually("the master ends with the host", Duration::from_secs(10), || ours() == 0).await;
    let text = lab.text(&[("m1", "manager", "ssh: { client: openssh }")]);
    let file = lab.file(&text);
    let mut child = swarm_tests::cli::command(&["verify", "--timeout", "60s", "-f", file.to_str().unwrap()]).spawn().unwrap();
    eventually("the program connects", Duration::from_secs(20), || ours() == 1 && left(child.id()) == 1).await;
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("nothing is left of a killed run", Duration::from_secs(10), || ours() == 0 && left(child.id()) == 0).await;
}

/// A question stops the clock, and the terminal is as it was however the question ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_waits_and_gives_the_terminal_back() {
    let lab = TestLab::up(1, 0);
    let dir = tempfile::tempdir().unwrap();
    let locked = dir.path().join("locked");
    sh(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "poison-passphrase", "-f", locked.to_str().unwrap()]);
    let public = std::fs::read_to_string(locked.with_extension("pub")).unwrap();
    std::fs::write(lab.host("m1").home_dir().join(".ssh/authorized_keys"), public).unwrap();
    let text = lab.text(&[("m1", "manager", "")]).replace(&lab.lab.key().display().to_string(), &locked.display().to_string());
    let program = swarm_tests::cli::command(&[]).get_program().to_string_lossy().into_owned();
    let session = |end: &dyn Fn(&str, &mut OnTerminal)| -> String {
        let file = lab.file(&text);
        let mut terminal = OnTerminal::run(&format!("trap : INT TERM HUP; '{program}' status -f {}", file.display()));
        terminal.until("it asks", |t| t.questions() == 1);
        end(file.to_str().unwrap(), &mut terminal);
        terminal.ends()
    };
    let echoes = |text: &str| text.contains(" echo ") && !text.contains("-echo ");
    for signal in ["INT", "TERM", "HUP"] {
        let text = session(&|file, _| drop(sh(&["pkill", &format!("-{signal}"), "-f", &format!("^{program} status -f {file}")])));
        assert!(echoes(&text), "{signal}: {text}");
    }
    // Longer than any deadline of a login.
    let text = session(&|_, terminal| {
        std::thread::sleep(Duration::from_secs(25));
        terminal.types("poison-passphrase\n");
    });
    assert!(text.contains("standalone") && echoes(&text) && !text.contains("poison"), "{text}");
    let text = session(&|_, terminal| terminal.types("wrong\n"));
    assert!(text.contains("is wrong") && echoes(&text), "{text}");
}

/// A program on a terminal of its own, whose output is kept as it comes.
struct OnTerminal {
    child: std::process::Child,
    input: std::process::ChildStdin,
    seen: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl OnTerminal {
    fn run(line: &str) -> Self {
        let mut child = std::process::Command::new("script")
            .args(["-qfec", &format!("stty cols 500; {line}; stty -a"), "/dev/null"])
            .env_remove("SSH_AUTH_SOCK")
            .env("SHELL", "/bin/sh")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let (input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let keeps = std::sync::Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            use std::io::Read;
            let mut buffer = [0; 1024];
            while let Ok(got @ 1..) = output.read(&mut buffer) {
                keeps.lock().unwrap().extend(&buffer[..got]);
            }
        });
        Self { child, input, seen, reader: Some(reader) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    fn questions(&self) -> usize {
        self.text().matches("Passphrase for").count()
    }

    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while !is_so(self) {
            assert!(std::time::Instant::now() < until, "not yet: {what}: {}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for its end; gives all it wrote.
    fn ends(&mut self) -> String {
        self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        self.text()
    }

    fn types(&mut self, text: &str) {
        use std::io::Write;
        self.input.write_all(text.as_bytes()).unwrap();
    }
}

/// A host's text with a key of its own that has a passphrase.
fn with_locked_key(lab: &TestLab, dir: &std::path::Path, host: &str) -> String {
    let locked = dir.join(host);
    sh(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "poison-passphrase", "-f", locked.to_str().unwrap()]);
    let public = std::fs::read_to_string(locked.with_extension("pub")).unwrap();
    std::fs::write(lab.host(host).home_dir().join(".ssh/authorized_keys"), public).unwrap();
    format!("ssh: {{ identity_file: {} }}", locked.display())
}

/// Ctrl-Z at a question gives the shell its terminal, and the question comes back with the program.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_survives_being_suspended() {
    let lab = TestLab::up(1, 0);
    let dir = tempfile::tempdir().unwrap();
    let m1 = with_locked_key(&lab, dir.path(), "m1");
    let file = lab.file(&lab.text(&[("m1", "manager", &m1)]));
    let program = swarm_tests::cli::command(&[]).get_program().to_string_lossy().into_owned();
    let mut terminal = OnTerminal::run(&format!("'{program}' status -f {}", file.display()));
    terminal.until("it asks", |t| t.questions() == 1);
    let pid = sh(&["pgrep", "-f", &format!("^{program} status -f {}", file.display())]).trim().to_owned();
    let device = std::fs::read_link(format!("/proc/{pid}/fd/0")).unwrap();
    let echoes = || sh(&["stty", "-a", "-F", device.to_str().unwrap()]).contains(" echo ");
    let stopped = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ");
    eventually("the echo is off", Duration::from_secs(5), || !echoes()).await;
    for _ in 0..2 {
        sh(&["kill", "-TSTP", &pid]);
        eventually("it is suspended", Duration::from_secs(5), stopped).await;
        assert!(echoes(), "the shell has its terminal");
        let before = terminal.questions();
        sh(&["kill", "-CONT", &pid]);
        eventually("it asks again", Duration::from_secs(5), || terminal.questions() == before + 1 && !echoes()).await;
    }
    terminal.types("poison-passphrase\n");
    let text = terminal.ends();
    assert!(text.contains("standalone") && !text.contains("poison") && !text.contains("-echo "), "{text}");
}

/// Two hosts want a passphrase at the same time: the second question comes when the first is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_question_is_on_the_terminal_at_a_time() {
    let lab = TestLab::up(2, 0);
    let dir = tempfile::tempdir().unwrap();
    let (m1, m2) = (with_locked_key(&lab, dir.path(), "m1"), with_locked_key(&lab, dir.path(), "m2"));
    let file = lab.file(&lab.text(&[("m1", "manager", &m1), ("m2", "manager", &m2)]));
    let program = swarm_tests::cli::command(&[]).get_program().to_string_lossy().into_owned();
    let mut terminal = OnTerminal::run(&format!("'{program}' status -f {}", file.display()));
    terminal.until("one is asked", |t| t.questions() >= 1);
    let asked = std::time::Instant::now();
    // Both hosts are connected to at once, so a second question would be there long before this ends.
    while asked.elapsed() < Duration::from_secs(4) {
        assert_eq!(terminal.questions(), 1, "{}", terminal.text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    terminal.types("poison-passphrase\n");
    terminal.until("the other is asked", |t| t.questions() == 2);
    terminal.types("poison-passphrase\n");
    let text = terminal.ends();
    assert!(text.matches("standalone").count() >= 2 && !text.contains("poison"), "{text}");
}
