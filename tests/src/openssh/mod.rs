//! Our client and OpenSSH's, side by side: the same layout of keys, known_hosts and configuration, the same server, two verdicts.

mod keywords;
pub mod layouts;
pub mod servers;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What came of trying to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// A command ran.
    Connects,
    /// The host key is not known.
    Unknown,
    /// Another host key is known.
    Changed,
    /// The host key is revoked.
    Revoked,
    /// Everything else: the key or the login was refused, or the settings.
    Refused,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Connects => "connects",
            Self::Unknown => "unknown",
            Self::Changed => "changed",
            Self::Revoked => "revoked",
            Self::Refused => "refused",
        })
    }
}

/// One layout: a host of the configuration, and which rule it is about.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The rule or keyword.
    pub production: &'static str,
    /// The name under which both clients are asked for it.
    pub host: String,
    /// Its section of the configuration.
    pub section: String,
}

/// A folder with an `ssh` that reads our configuration, and what runs with it.
pub struct Bench {
    /// The folder.
    pub dir: PathBuf,
    /// Variables that both clients see besides those of this process.
    pub variables: Vec<(String, String)>,
    /// Variables that neither sees.
    pub without: Vec<&'static str>,
}

impl Bench {
    /// Writes the configuration of all layouts, and an `ssh` in front of the real one that reads it.
    pub fn new(dir: &Path, layouts: &[Layout]) -> Self {
        let config = dir.join("config");
        let text: String = layouts.iter().map(|l| format!("Host {}\n{}\n", l.host, l.section)).collect();
        std::fs::write(&config, text).unwrap();
        let real = crate::lab::sh(&["sh", "-c", "command -v ssh"]);
        // One line that `ssh` cannot read would make every host refused, and the comparison worth nothing.
        crate::lab::sh(&[real.trim(), "-F", config.to_str().unwrap(), "-G", "localhost"]);
        let bin = dir.join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        // What names a file of its own is left alone.
        let script = format!(
            "#!/bin/sh\nfor a; do [ \"$a\" != -F ] || exec {0} \"$@\"; done\nexec {0} -F {1} \"$@\"\n",
            real.trim(),
            config.display()
        );
        let ssh = bin.join("ssh");
        std::fs::write(&ssh, script).unwrap();
        crate::lab::sh(&["chmod", "755", ssh.to_str().unwrap()]);
        Self { dir: dir.to_owned(), variables: Vec::new(), without: Vec::new() }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let path = format!("{}:{}", self.dir.join("bin").display(), std::env::var("PATH").unwrap());
        command.env("PATH", path).env_remove("SSH_AUTH_SOCK").env_remove("KRB5CCNAME").stdin(Stdio::null());
        command.envs(self.variables.iter().map(|(k, v)| (k, v)));
        self.without.iter().for_each(|name| {
            command.env_remove(name);
        });
        command
    }

    /// What OpenSSH makes of a host, and what it says.
    pub fn openssh(&self, host: &str, agent: Option<&Path>) -> (Verdict, String) {
        // A command that never ends is no login.
        let mut command = self.command(Path::new("timeout"));
        command.arg("12").arg(self.dir.join("bin/ssh"));
        if let Some(agent) = agent {
            command.env("SSH_AUTH_SOCK", agent);
        }
        let output = command
            .args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=8", "-o", "StrictHostKeyChecking=yes", "-T", "--", host, "true"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let has = |text: &str| said.contains(text);
        let verdict = match () {
            () if output.status.success() => Verdict::Connects,
            () if has("revoked by file") || has("REVOKED") => Verdict::Revoked,
            () if has("HAS CHANGED") || has("has changed") => Verdict::Changed,
            () if has("host key is known") => Verdict::Unknown,
            () => Verdict::Refused,
        };
        (verdict, said)
    }

    /// What our client makes of hosts: verdict, who connected, and what it says, by host.
    pub fn ours(&self, client: &str, hosts: &[&str], agent: Option<&Path>) -> BTreeMap<String, (Verdict, String, String)> {
        let mut command = self.command(&probe());
        if let Some(agent) = agent {
            command.env("SSH_AUTH_SOCK", agent);
        }
        let output = command.arg(client).args(hosts).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "the probe failed");
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        lines
            .lines()
            .map(|line| {
                let mut fields = line.splitn(4, '\t');
                let mut next = || fields.next().unwrap().to_owned();
                let (host, word, way, said) = (next(), next(), next(), next());
                let verdict = match word.as_str() {
                    "connects" => Verdict::Connects,
                    "unknown" => Verdict::Unknown,
                    "changed" => Verdict::Changed,
                    "revoked" => Verdict::Revoked,
                    _ => Verdict::Refused,
                };
                (host, (verdict, way, said))
            })
            .collect()
    }

    /// OpenSSH's verdicts of all hosts, several at once.
    pub fn all_openssh(&self, hosts: &[&str]) -> BTreeMap<String, (Verdict, String)> {
        let next = AtomicUsize::new(0);
        let found = Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while let Some(host) = hosts.get(next.fetch_add(1, Ordering::SeqCst)) {
                        let verdict = self.openssh(host, None);
                        found.lock().unwrap().insert((*host).to_owned(), verdict);
                    }
                });
            }
        });
        found.into_inner().unwrap()
    }
}

fn probe() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.join("ssh_probe")
}
