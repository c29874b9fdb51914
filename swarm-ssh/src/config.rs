//! How to reach a host: what the cluster file says, and for the rest what `ssh` itself would do.

use crate::error::SshError;
use std::path::{Path, PathBuf};
use swarm_core::addr::HostAddress;
use swarm_core::spec::{HostKeyPolicy, SshSpec};
use tokio::process::Command;
use tokio::sync::Mutex;

/// One hop, with everything settled.
#[derive(Debug, Clone)]
pub(crate) struct Hop {
    /// For messages: `user@host:port`.
    pub(crate) label: String,
    pub(crate) address: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    /// The file the cluster file names; it comes before everything else.
    pub(crate) named_identity: Option<PathBuf>,
    pub(crate) identities: Vec<PathBuf>,
    pub(crate) certificates: Vec<PathBuf>,
    pub(crate) identities_only: bool,
    pub(crate) agent: Option<PathBuf>,
    pub(crate) known_hosts: Vec<PathBuf>,
    pub(crate) global_known_hosts: Vec<PathBuf>,
    /// The name under which the key is recorded.
    pub(crate) key_name: String,
    pub(crate) policy: HostKeyPolicy,
    pub(crate) password_env: Option<String>,
    pub(crate) passphrase_env: Option<String>,
}

/// What `ssh` answered, where its configuration treats all hosts alike.
#[derive(Debug, Default)]
pub(crate) struct SshAnswers(Mutex<Option<Answered>>);

#[derive(Debug, Clone)]
struct Answered {
    name: String,
    user: Option<String>,
    port: Option<u16>,
    lines: Lines,
}

/// Keys in lower case, and their values.
type Lines = Vec<(String, String)>;

impl SshAnswers {
    /// Asks `ssh` once for all hosts of one user and port, if no line of its configuration could tell them apart.
    async fn ask(&self, name: &str, user: Option<&str>, port: Option<u16>) -> Result<Lines, SshError> {
        let mut known = self.0.lock().await;
        if let Some(answered) = known.as_ref().filter(|k| k.user.as_deref() == user && k.port == port) {
            let other =
                |(key, value): &(String, String)| (key.clone(), if *value == answered.name { name.to_owned() } else { value.clone() });
            return Ok(answered.lines.iter().map(other).collect());
        }
        if !treats_hosts_alike() {
            drop(known);
            return ask_ssh(name, user, port).await;
        }
        let lines = ask_ssh(name, user, port).await?;
        // A value that holds the name (a `%h` in a path) is told for each host anew.
        if lines.iter().all(|(_, value)| value == name || !value.contains(name)) {
            *known = Some(Answered { name: name.to_owned(), user: user.map(str::to_owned), port, lines: lines.clone() });
        }
        Ok(lines)
    }
}

/// Whether the files that `ssh` reads have no section for some hosts only.
fn treats_hosts_alike() -> bool {
    let mut files = vec![home("~/.ssh/config"), PathBuf::from("/etc/ssh/ssh_config")];
    let dropped = std::fs::read_dir("/etc/ssh/ssh_config.d").into_iter().flatten().filter_map(Result::ok).map(|e| e.path());
    files.extend(dropped);
    files.iter().filter_map(|f| std::fs::read_to_string(f).ok()).all(|text| alike(&text))
}

fn alike(text: &str) -> bool {
    text.lines().all(|line| {
        let mut words = line.split(|c: char| c.is_whitespace() || c == '=').filter(|w| !w.is_empty());
        let key = words.next().unwrap_or_default().to_ascii_lowercase();
        match key.as_str() {
            "host" => words.eq(["*"]),
            "match" => false,
            "include" => words.eq(["/etc/ssh/ssh_config.d/*.conf"]),
            _ => true,
        }
    })
}

/// Settles a host and the hops on the way to it, the nearest first.
pub(crate) async fn settle(address: &HostAddress, spec: &SshSpec, answers: &SshAnswers) -> Result<Vec<Hop>, SshError> {
    let (target, jumps) = settle_one(&address.to_string(), spec, spec.user.as_deref(), spec.port, answers).await?;
    let mut hops = Vec::new();
    for jump in jumps {
        let (hop, more) = settle_one(&jump.address, spec, jump.user.as_deref(), jump.port, answers).await?;
        if !more.is_empty() && spec.jump.is_none() {
            let message = "its own ssh_config names a jump host too; write the whole way as `jump` in the cluster file".to_owned();
            return Err(SshError::Settings { hop: hop.label, message });
        }
        hops.push(hop);
    }
    hops.push(target);
    Ok(hops)
}

struct JumpName {
    user: Option<String>,
    address: String,
    port: Option<u16>,
}

async fn settle_one(
    name: &str,
    spec: &SshSpec,
    user: Option<&str>,
    port: Option<u16>,
    answers: &SshAnswers,
) -> Result<(Hop, Vec<JumpName>), SshError> {
    let asked = answers.ask(name, user, port).await?;
    let value = |key: &str| asked.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
    let values = |key: &'static str| asked.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str());
    let wrong = |message: String| SshError::Settings { hop: name.to_owned(), message };
    if let Some(command) = value("proxycommand").filter(|v| *v != "none") {
        return Err(wrong(format!(
            "ssh_config sets ProxyCommand `{command}`, which is not supported; use ProxyJump, or `jump` in the cluster file"
        )));
    }
    let user = match user.or(value("user")) {
        Some(user) => user.to_owned(),
        None => std::env::var("USER").unwrap_or_else(|_| "root".into()),
    };
    let port = port.or_else(|| value("port")?.parse().ok()).unwrap_or(22);
    let address = value("hostname").unwrap_or(name).to_owned();
    let files =
        |key: &'static str| -> Vec<PathBuf> { values(key).flat_map(str::split_whitespace).filter(|v| *v != "none").map(home).collect() };
    let or_default =
        |found: Vec<PathBuf>, default: &[&str]| if found.is_empty() { default.iter().map(|d| home(d)).collect() } else { found };
    let known_hosts = match &spec.known_hosts {
        Some(file) => vec![home(&file.display().to_string())],
        None => or_default(files("userknownhostsfile"), &["~/.ssh/known_hosts", "~/.ssh/known_hosts2"]),
    };
    let agent = match value("identityagent") {
        Some("none") => None,
        Some(path) if path != "SSH_AUTH_SOCK" => Some(home(path)),
        _ => std::env::var_os("SSH_AUTH_SOCK").filter(|v| !v.is_empty()).map(PathBuf::from),
    };
    let jumps = match &spec.jump {
        Some(jumps) => jumps.iter().map(|j| JumpName { user: j.user.clone(), address: j.address.to_string(), port: j.port }).collect(),
        None => match value("proxyjump").filter(|v| *v != "none") {
            Some(text) => text
                .split(',')
                .map(parse_jump)
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| wrong(format!("ssh_config sets ProxyJump `{text}`, which cannot be read")))?,
            None => Vec::new(),
        },
    };
    let hop = Hop {
        label: format!("{user}@{address}:{port}"),
        key_name: value("hostkeyalias").map_or_else(|| address.clone(), str::to_owned),
        named_identity: spec.identity_file.as_ref().map(|f| home(&f.display().to_string())),
        identities: or_default(files("identityfile"), &["~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"]),
        certificates: files("certificatefile"),
        identities_only: value("identitiesonly") == Some("yes"),
        global_known_hosts: or_default(files("globalknownhostsfile"), &["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]),
        policy: spec.host_key,
        password_env: spec.password_env.clone(),
        passphrase_env: spec.passphrase_env.clone(),
        address,
        port,
        user,
        agent,
        known_hosts,
    };
    Ok((hop, jumps))
}

/// What `ssh` would do for a host: `ssh -G`, or a small part of ssh_config where there is no `ssh`.
async fn ask_ssh(name: &str, user: Option<&str>, port: Option<u16>) -> Result<Lines, SshError> {
    let mut command = Command::new("ssh");
    command.arg("-G").stdin(std::process::Stdio::null()).kill_on_drop(true);
    if let Some(user) = user {
        command.args(["-l", user]);
    }
    if let Some(port) = port {
        command.args(["-p", &port.to_string()]);
    }
    // A name can not begin with `-` (the file's grammar), and `--` makes sure of it.
    let wrong = |message: String| SshError::Settings { hop: name.to_owned(), message };
    match command.arg("--").arg(name).output().await {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            Ok(text.lines().filter_map(|l| l.split_once(' ')).map(|(k, v)| (k.to_ascii_lowercase(), v.trim().to_owned())).collect())
        }
        Ok(output) => Err(wrong(format!("ssh_config cannot be read: {}", String::from_utf8_lossy(&output.stderr).trim()))),
        Err(_) => match std::fs::read_to_string(home("~/.ssh/config")) {
            Ok(text) => subset(&text, name).map_err(wrong),
            Err(_) => Ok(Vec::new()),
        },
    }
}

/// The part of ssh_config that is read where there is no `ssh`: it refuses what it does not know rather than guess.
fn subset(text: &str, name: &str) -> Result<Lines, String> {
    let mut found = Lines::new();
    let mut applies = true;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once(|c: char| c.is_whitespace() || c == '=').unwrap_or((line, ""));
        let (key, value) = (key.to_ascii_lowercase(), value.trim_start_matches([' ', '\t', '=']).trim().trim_matches('"').to_owned());
        match key.as_str() {
            "host" => applies = value.split_whitespace().any(|pattern| pattern == "*" || pattern.eq_ignore_ascii_case(name)),
            "hostname" | "user" | "port" | "proxyjump" if applies && found.iter().all(|(k, _)| *k != key) => found.push((key, value)),
            "identityfile" if applies => found.push((key, value)),
            "hostname" | "user" | "port" | "proxyjump" | "identityfile" => {}
            _ => {
                return Err(format!(
                    "~/.ssh/config:{}: `{key}` needs the `ssh` program to be read rightly; install openssh-client",
                    index + 1
                ));
            }
        }
    }
    Ok(found)
}

/// Everything of this module that reads text which somebody else wrote, for the fuzzer.
#[doc(hidden)]
pub fn read_foreign_text(text: &str, name: &str) -> usize {
    let lines = subset(text, name).map_or(0, |lines| lines.len());
    lines + usize::from(alike(text)) + usize::from(text.lines().filter_map(parse_jump).count() > 0)
}

fn parse_jump(text: &str) -> Option<JumpName> {
    let text = text.trim().strip_prefix("ssh://").unwrap_or(text.trim());
    let (user, rest) = text.rsplit_once('@').map_or((None, text), |(user, rest)| (Some(user.to_owned()), rest));
    if let Some(inner) = rest.strip_prefix('[') {
        let (address, port) = inner.split_once(']')?;
        return Some(JumpName { user, address: address.to_owned(), port: port.strip_prefix(':').and_then(|p| p.parse().ok()) });
    }
    match rest.rsplit_once(':') {
        Some((address, port)) if !address.contains(':') => {
            Some(JumpName { user, address: address.to_owned(), port: Some(port.parse().ok()?) })
        }
        _ => (!rest.is_empty()).then(|| JumpName { user, address: rest.to_owned(), port: None }),
    }
}

/// A path whose `~` is the home directory.
pub(crate) fn home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subset_takes_the_first_value_and_refuses_what_it_does_not_know() {
        let text = "Host m1\n  User admin\n  Port 2222\nHost *\n  User other\n  IdentityFile ~/.ssh/k\n";
        let found = subset(text, "m1").unwrap();
        let expected = [("user", "admin"), ("port", "2222"), ("identityfile", "~/.ssh/k")];
        assert_eq!(found, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert!(subset("Match host x\n", "m1").unwrap_err().contains("openssh-client"));
    }

    #[test]
    fn a_section_for_some_hosts_is_seen() {
        assert!(alike("# Host x\nInclude /etc/ssh/ssh_config.d/*.conf\nHost *\n  SendEnv LANG\n"));
        for text in ["Host a*", "host=b", "Match all", "Include ~/.ssh/more", "Host * !x"] {
            assert!(!alike(text), "{text}");
        }
    }

    #[test]
    fn jumps() {
        let shown = |text: &str| parse_jump(text).map(|j| (j.user.unwrap_or_default(), j.address, j.port));
        assert_eq!(shown("a@b:2200"), Some(("a".into(), "b".into(), Some(2200))));
        assert_eq!(shown("fd00::1"), Some((String::new(), "fd00::1".into(), None)));
        assert_eq!(shown("[fd00::1]:22"), Some((String::new(), "fd00::1".into(), Some(22))));
        assert_eq!(shown("b:x"), None);
    }
}
