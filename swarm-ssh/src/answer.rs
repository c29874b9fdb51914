//! What `ssh` itself would do for a host: the answer of `ssh -G`, or the little of ssh_config that can be read for certain without it.

use crate::error::SshError;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use tokio::process::Command;
use tokio::sync::{OnceCell, Semaphore};

/// Questions at once; each is a process of some milliseconds.
const AT_ONCE: usize = 8;

/// The lines of an answer: keys in lower case, and their values.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer(Vec<(String, String)>);

impl Answer {
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    pub(crate) fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(k, _)| k.as_str())
    }

    /// A list with commas.
    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        self.value(key).map(|v| v.split(',').filter(|w| !w.is_empty()).map(str::to_owned).collect()).unwrap_or_default()
    }
}

/// Who was asked, and as whom: one answer belongs to one of them.
type Question = (String, Option<String>, Option<u16>);

/// The answers of this process.
#[derive(Debug)]
pub(crate) struct Answers {
    turns: Semaphore,
    known: Mutex<HashMap<Question, Arc<OnceCell<Answer>>>>,
    plain: OnceCell<Option<Answer>>,
    /// Environment variables that hold secrets: no child gets them.
    hidden: Mutex<BTreeSet<String>>,
}

impl Default for Answers {
    fn default() -> Self {
        Self { turns: Semaphore::new(AT_ONCE), known: Mutex::default(), plain: OnceCell::new(), hidden: Mutex::default() }
    }
}

impl Answers {
    /// Keeps environment variables from every child.
    pub(crate) fn hide(&self, names: impl IntoIterator<Item = String>) {
        if let Ok(mut hidden) = self.hidden.lock() {
            hidden.extend(names);
        }
    }

    /// What is kept from children.
    pub(crate) fn hidden_names(&self) -> Vec<String> {
        self.hidden.lock().map(|hidden| hidden.iter().cloned().collect()).unwrap_or_default()
    }

    /// A command of the user's own `ssh`, without what it must not know.
    pub(crate) fn ssh(&self) -> Command {
        let mut command = Command::new("ssh");
        if let Ok(hidden) = self.hidden.lock() {
            for name in hidden.iter() {
                command.env_remove(name);
            }
        }
        command.kill_on_drop(true);
        command
    }

    /// What `ssh` answers with no configuration at all; `None` where there is no `ssh`.
    pub(crate) async fn plain(&self) -> Option<&Answer> {
        let asked = self.plain.get_or_init(|| async {
            let output = self.ssh().args(["-F", "/dev/null", "-G", "localhost"]).stdin(Stdio::null()).output().await.ok()?;
            output.status.success().then(|| parse(&output.stdout).ok()).flatten()
        });
        asked.await.as_ref()
    }

    /// The home directory as `ssh` takes it: that of the account, not `$HOME`.
    pub(crate) async fn home(&self) -> PathBuf {
        let known = self.plain().await.and_then(|a| a.value("userknownhostsfile")?.split(' ').next()?.strip_suffix("/.ssh/known_hosts"));
        known.map(PathBuf::from).or_else(|| std::env::var_os("HOME").map(PathBuf::from)).unwrap_or_else(|| "/root".into())
    }

    /// What `ssh` would do for a host.
    pub(crate) async fn ask(&self, name: &str, user: Option<&str>, port: Option<u16>) -> Result<Answer, SshError> {
        let question = (name.to_owned(), user.map(str::to_owned), port);
        let wrong = |message: String| SshError::Settings { hop: name.to_owned(), message };
        let cell = match self.known.lock() {
            Ok(mut known) => Arc::clone(known.entry(question).or_default()),
            Err(_) => Arc::default(),
        };
        let answer = cell.get_or_try_init(|| async {
            let _turn = self.turns.acquire().await.map_err(|e| wrong(e.to_string()))?;
            if self.plain().await.is_none() {
                return without_ssh(name).map_err(wrong);
            }
            let mut command = self.ssh();
            command.arg("-G").stdin(Stdio::null());
            if let Some(user) = user {
                command.args(["-l", user]);
            }
            if let Some(port) = port {
                command.args(["-p", &port.to_string()]);
            }
            // A name cannot begin with `-` (the file's grammar), and `--` makes sure of it.
            let output = command.arg("--").arg(name).output().await.map_err(|e| wrong(format!("`ssh -G` could not be run: {e}")))?;
            if !output.status.success() {
                let said = crate::error::clean(&String::from_utf8_lossy(&output.stderr));
                return Err(wrong(format!("ssh_config cannot be read: {}", said.trim())));
            }
            parse(&output.stdout).map_err(wrong)
        });
        answer.await.cloned()
    }
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Answer, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "its ssh_config holds bytes that are not UTF-8, so its paths are not certain")?;
    let pairs = text.lines().map(|l| l.split_once(' ').unwrap_or((l, "")));
    Ok(Answer(pairs.map(|(k, v)| (k.to_ascii_lowercase(), v.trim().to_owned())).collect()))
}

/// The configuration without an `ssh` program: the user's file and the system's.
fn without_ssh(name: &str) -> Result<Answer, String> {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
    let mut all = Vec::new();
    for file in [home.join(".ssh/config"), PathBuf::from("/etc/ssh/ssh_config")] {
        match std::fs::read(&file) {
            Ok(bytes) => certain(&bytes, name, &file, &mut all)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{} cannot be read: {error}", file.display())),
        }
    }
    Ok(Answer(all))
}

/// The part of ssh_config that is certain without `ssh`. Whatever it cannot settle it refuses rather than guess.
pub(crate) fn certain(bytes: &[u8], name: &str, file: &Path, found: &mut Vec<(String, String)>) -> Result<(), String> {
    let fix = "install openssh-client, or name user, port and key in the cluster file and remove the line";
    let text = std::str::from_utf8(bytes).map_err(|_| format!("{} holds bytes that are not UTF-8; {fix}", file.display()))?;
    let mut applies = true;
    for (index, line) in text.lines().enumerate() {
        let refuse = |what: &str| {
            Err(format!("{}:{}: {what} cannot be read for certain without the `ssh` program; {fix}", file.display(), index + 1))
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once(|c: char| c.is_whitespace() || c == '=').unwrap_or((line, ""));
        let (key, value) = (key.to_ascii_lowercase(), value.trim_start_matches([' ', '\t', '=']).trim());
        if value.contains(['"', '\'', '\\', '#', '$', '%']) || key.contains(['"', '\'', '\\']) {
            return refuse("quoting, a token or a comment behind a value");
        }
        match key.as_str() {
            "host" => {
                let patterns: Vec<&str> = value.split_whitespace().collect();
                let sure = |p: &str| p == "*" || !p.contains(['*', '?', '!', ',']) && (p == name || !p.eq_ignore_ascii_case(name));
                if patterns.is_empty() || !patterns.iter().all(|p| sure(p)) {
                    return refuse("a pattern");
                }
                applies = patterns.iter().any(|p| *p == "*" || *p == name);
            }
            "match" | "include" => return refuse(&format!("`{key}`")),
            _ if !applies => {}
            "hostname" | "user" | "port" | "proxyjump" => {
                if found.iter().all(|(k, _)| *k != key) {
                    found.push((key, value.to_owned()));
                }
            }
            "identityfile" => found.push((key, value.to_owned())),
            "sendenv"
            | "setenv"
            | "hashknownhosts"
            | "loglevel"
            | "addkeystoagent"
            | "compression"
            | "serveraliveinterval"
            | "serveralivecountmax"
            | "tcpkeepalive"
            | "forwardagent"
            | "visualhostkey" => {}
            _ => return refuse(&format!("`{key}`")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, name: &str) -> Result<Vec<(String, String)>, String> {
        let mut found = Vec::new();
        certain(text.as_bytes(), name, Path::new("config"), &mut found)?;
        Ok(found)
    }

    #[test]
    fn what_is_certain_is_read_and_the_first_value_counts() {
        let text = "Host m1\n  User admin\n  Port=2222\nHost *\n  User other\n  IdentityFile ~/.ssh/k\n";
        let expected = [("user", "admin"), ("port", "2222"), ("identityfile", "~/.ssh/k")];
        assert_eq!(read(text, "m1").unwrap(), expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(read(text, "m2").unwrap().first().unwrap().1, "other");
    }

    #[test]
    fn what_is_not_certain_is_refused() {
        for text in [
            "Match all\n",
            "Include more\n",
            "Host a*\n",
            "Host * !m1\n",
            "Host M1\n",
            "Host \"m1\"\n",
            "\"Host\" m1\n",
            "User ad#min\n",
            "IdentityFile %d/k\n",
            "ProxyCommand nc\n",
            "RevokedHostKeys /x\n",
        ] {
            let error = read(text, "m1").unwrap_err();
            assert!(error.starts_with("config:1: ") && error.contains("openssh-client"), "{text}: {error}");
        }
        assert!(certain(b"Host \xe9\n", "m1", Path::new("config"), &mut Vec::new()).is_err());
        // What is in a section of others does not matter here.
        assert!(read("Host m2\n  ProxyCommand nc\n", "m1").unwrap().is_empty());
    }
}
