//! How to reach a host: what the cluster file says, and for the rest what `ssh` itself would do.

use crate::answer::{Answer, Answers};
use crate::error::SshError;
use crate::hop::{Family, Hop, LoginSettings, Method, TrustFiles};
use crate::identity::in_hardware;
use crate::keywords::{Handling, handling};
use crate::words::Words;
use std::path::{Path, PathBuf};
use std::time::Duration;
use swarm_core::addr::HostAddress;
use swarm_core::spec::{SshClient, SshSpec};

/// Who connects.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// This library, over these hops, the nearest first.
    Native(Vec<Hop>),
    /// The user's own `ssh`.
    OpenSsh {
        /// Which setting asks for it.
        because: String,
        /// A master of the user's own that is running (ControlPath).
        running: Option<PathBuf>,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub(crate) user: Option<String>,
    pub(crate) address: String,
    pub(crate) port: Option<u16>,
}

struct Settled {
    hop: Hop,
    jumps: Vec<Destination>,
    /// Settings that only OpenSSH honours.
    needs: Vec<String>,
    /// Its ControlPath, where a master listens on it.
    running: Option<PathBuf>,
}

/// The most hops on the way to a host.
const LONGEST_WAY: usize = 8;

/// Settles who connects to a host, and how.
pub(crate) async fn settle(address: &HostAddress, spec: &SshSpec, answers: &Answers) -> Result<Way, SshError> {
    let name = address.to_string();
    answers.hide(spec.password_env.iter().chain(&spec.passphrase_env).cloned());
    let program = answers.plain().await.is_some();
    if spec.client == SshClient::Openssh {
        return match program {
            true => Ok(Way::OpenSsh { because: "`client: openssh`".into(), running: None }),
            false => {
                Err(SshError::Settings { hop: name, message: "`client: openssh` needs the `ssh` program; install openssh-client".into() })
            }
        };
    }
    let mut needs = Vec::new();
    let own = spec.jump.as_ref().map(|jumps| {
        jumps.iter().map(|j| Destination { user: j.user.clone(), address: j.address.to_string(), port: j.port }).collect::<Vec<_>>()
    });
    let target = settle_one(&name, spec.user.as_deref(), spec.port, spec, answers).await?;
    let jumps = own.clone().unwrap_or(target.jumps);
    // A way that the cluster file names replaces the configuration's own, as `ssh -J` does.
    needs.extend(target.needs.into_iter().filter(|n| own.is_none() || n != "ProxyCommand"));
    let mut hops = vec![target.hop];
    let mut rest = jumps;
    while !rest.is_empty() {
        // `ssh -J a,b host` runs `ssh -J a b`, and that runs `ssh a`: only the first has a way of its own.
        let mut own_way = Vec::new();
        for (index, jump) in rest.iter().enumerate().rev() {
            let settled = settle_one(&jump.address, jump.user.as_deref(), jump.port, spec, answers).await?;
            needs.extend(settled.needs.into_iter().filter(|n| index == 0 || n != "ProxyCommand"));
            if index == 0 {
                own_way = settled.jumps;
            }
            hops.insert(0, settled.hop);
            if hops.len() > LONGEST_WAY {
                let message = format!("the way to it has more than {LONGEST_WAY} hops; does a jump host go through itself?");
                return Err(SshError::Settings { hop: name, message });
            }
        }
        rest = own_way;
    }
    if needs.is_empty() {
        return Ok(Way::Native(hops));
    }
    needs.sort();
    needs.dedup();
    let needs = needs.join(", ");
    match (spec.client, program) {
        (SshClient::Native, _) => Err(SshError::Settings {
            hop: name,
            message: format!("only OpenSSH honours {needs} of ssh_config, and the cluster file says `client: native`; set `client: auto`"),
        }),
        (_, false) => Err(SshError::Settings { hop: name, message: format!("{needs} needs the `ssh` program; install openssh-client") }),
        _ => Ok(Way::OpenSsh { because: needs, running: target.running }),
    }
}

async fn settle_one(name: &str, user: Option<&str>, port: Option<u16>, spec: &SshSpec, answers: &Answers) -> Result<Settled, SshError> {
    let asked = answers.ask(name, user, port).await?;
    let nothing = Answer::default();
    let plain = answers.plain().await.unwrap_or(&nothing);
    let wrong = |message: String| SshError::Settings { hop: name.to_owned(), message };
    let mut needs = needs_of(&asked, plain).map_err(wrong)?;
    let value = |key: &str| asked.value(key);
    let yes = |key: &str| matches!(value(key), Some("yes" | "true"));
    let user = match user.or(value("user")) {
        Some(user) => user.to_owned(),
        None => std::env::var("USER").unwrap_or_else(|_| "root".into()),
    };
    let port = port.or_else(|| value("port")?.parse().ok()).unwrap_or(22);
    let address = value("hostname").unwrap_or(name).to_ascii_lowercase();
    let words = Words {
        home: answers.home().await,
        host: address.clone(),
        given: name.to_owned(),
        alias: value("hostkeyalias").map(str::to_owned),
        port,
        user: user.clone(),
        local: plain.value("user").map(str::to_owned),
    };
    let default_files = |key: &str, defaults: [&str; 2]| -> Result<Vec<PathBuf>, String> {
        match value(key) {
            None => Ok(defaults.iter().map(|d| words.tilde(d)).collect()),
            Some("none") => Ok(Vec::new()),
            Some(text) => text.split(' ').map(|word| sure_path(word, &words).ok_or_else(|| key.to_owned())).collect(),
        }
    };
    let mut files = |key: &str, defaults| match default_files(key, defaults) {
        Ok(files) => files,
        // `ssh -G` prints several paths on one line: one with a blank in it looks like two.
        Err(key) => {
            needs.push(format!("{key} with blanks"));
            Vec::new()
        }
    };
    let known_hosts = match &spec.known_hosts {
        Some(file) => vec![home(&file.display().to_string())],
        None => files("userknownhostsfile", ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"]),
    };
    let global_known_hosts = files("globalknownhostsfile", ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]);
    let mut expand = |key: &str| -> Vec<PathBuf> {
        let values = asked.values(key).filter(|v| *v != "none");
        let expanded: Vec<Option<PathBuf>> = values.map(|v| words.expand(v)).collect();
        if expanded.iter().any(Option::is_none) {
            needs.push(format!("a token in {key}"));
        }
        expanded.into_iter().flatten().collect()
    };
    let mut identities = expand("identityfile");
    if value("identityfile").is_none() {
        identities = ["~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519"].iter().map(|d| words.tilde(d)).collect();
    }
    let certificates = expand("certificatefile");
    let named_identity = spec.identity_file.as_ref().map(|f| home(&f.display().to_string()));
    if let Some(file) = named_identity.iter().chain(&identities).find(|f| in_hardware(f)) {
        needs.push(format!("the security key {}", file.display()));
    }
    let from_env = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let agent = match value("identityagent") {
        Some("none") => None,
        None | Some("SSH_AUTH_SOCK") => from_env("SSH_AUTH_SOCK"),
        Some(variable) if variable.starts_with('$') && !variable.starts_with("${") => from_env(variable.trim_start_matches('$')),
        Some(path) => {
            let path = words.expand(path);
            if path.is_none() {
                needs.push("a token in identityagent".into());
            }
            path
        }
    };
    let jumps = match value("proxyjump").filter(|v| *v != "none") {
        Some(text) => text
            .split(',')
            .map(destination_of)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| wrong(format!("ssh_config sets ProxyJump `{text}`, which cannot be read")))?,
        None => Vec::new(),
    };
    // What is OpenSSH's own default restricts nothing; anything else is a choice.
    let chosen = |key: &str| if asked.value(key) == plain.value(key) { Vec::new() } else { asked.list(key) };
    let number = |key: &str| value(key).and_then(|v| v.parse::<u64>().ok());
    let rsa_bits = number("requiredrsasize").and_then(|b| u32::try_from(b).ok()).unwrap_or(1024);
    let alias = value("hostkeyalias").map(str::to_owned);
    let trust = TrustFiles {
        known_hosts,
        global_known_hosts,
        revoked: value("revokedhostkeys").filter(|v| *v != "none").map(PathBuf::from),
        alias: alias.is_some(),
        name: alias.unwrap_or_else(|| address.clone()),
        policy: spec.host_key,
        hash_names: yes("hashknownhosts"),
        algorithms: asked.list("hostkeyalgorithms"),
        reorder: asked.value("hostkeyalgorithms") == plain.value("hostkeyalgorithms"),
        ca_algorithms: asked.list("casignaturealgorithms"),
        rsa_bits,
    };
    let login = LoginSettings {
        named_identity,
        identities,
        certificates,
        identities_only: yes("identitiesonly"),
        agent,
        algorithms: asked.list("pubkeyacceptedalgorithms"),
        rsa_bits,
        methods: methods(&asked),
        password_env: spec.password_env.clone(),
        passphrase_env: spec.passphrase_env.clone(),
        batch: yes("batchmode"),
    };
    let hop = Hop {
        label: format!("{user}@{address}:{port}"),
        family: match value("addressfamily") {
            Some("inet") => Family::V4,
            Some("inet6") => Family::V6,
            _ => Family::Any,
        },
        bind: value("bindaddress").filter(|v| *v != "none").map(str::to_owned),
        connect_timeout: number("connecttimeout").filter(|s| *s > 0).map(Duration::from_secs),
        alive: (
            Duration::from_secs(number("serveraliveinterval").filter(|s| *s > 0).unwrap_or(5)),
            number("serveralivecountmax").and_then(|n| usize::try_from(n).ok()).unwrap_or(3),
        ),
        kex: chosen("kexalgorithms"),
        ciphers: chosen("ciphers"),
        macs: chosen("macs"),
        address,
        port,
        user,
        trust,
        login,
    };
    let running = value("controlpath").filter(|v| *v != "none" && Path::new(v).exists()).map(PathBuf::from);
    Ok(Settled { hop, jumps, needs, running })
}

/// Lists that allow nothing where they are empty, as after `-*`.
const EMPTY_IS_NOTHING: [&str; 6] =
    ["hostkeyalgorithms", "casignaturealgorithms", "pubkeyacceptedalgorithms", "ciphers", "macs", "kexalgorithms"];
/// Keywords whose value may be the program `false`.
const TAKES_A_COMMAND: [&str; 4] = ["proxycommand", "knownhostscommand", "pkcs11provider", "securitykeyprovider"];

/// The settings of an answer that are not at their defaults and that only OpenSSH honours, by name.
///
/// # Errors
/// One that rules the host out.
fn needs_of(asked: &Answer, plain: &Answer) -> Result<Vec<String>, String> {
    let mut needs = Vec::new();
    for key in asked.keys() {
        let value = asked.value(key).unwrap_or_default();
        // `none` is how most keywords are taken back; a session of none is a session of none.
        if plain.value(key) == Some(value) || (value == "none" && key != "sessiontype") {
            continue;
        }
        if value.is_empty() && EMPTY_IS_NOTHING.contains(&key) {
            return Err(format!("ssh_config sets {key} to a list that allows nothing"));
        }
        match handling(key) {
            Handling::Honoured | Handling::Meaningless => {}
            // A master that runs is what `ssh` would use; one that does not is not started.
            Handling::ByOpenSsh if key == "controlpath" => {
                if Path::new(value).exists() {
                    needs.push("ControlPath".into());
                }
            }
            Handling::ByOpenSsh if matches!(value, "no" | "false") && !TAKES_A_COMMAND.contains(&key) => {}
            // Debian sets it for everybody; without a ticket it proves nothing.
            Handling::ByOpenSsh if key.starts_with("gssapi") && !has_ticket() => {}
            Handling::ByOpenSsh if key == "proxycommand" => needs.push("ProxyCommand".into()),
            Handling::ByOpenSsh => needs.push(key.to_owned()),
            Handling::Refused => {
                return Err(format!(
                    "ssh_config sets {key} to `{}`, with which `ssh` runs no command; remove it for this host",
                    crate::error::clean(value)
                ));
            }
        }
    }
    needs.dedup();
    Ok(needs)
}

/// Whether there may be a Kerberos ticket: in a file that the environment names, in the usual one, or wherever krb5.conf says.
fn has_ticket() -> bool {
    let usual = format!("/tmp/krb5cc_{}", rustix::process::getuid().as_raw());
    let named =
        std::env::var_os("KRB5_CONFIG").map_or_else(|| vec![PathBuf::from("/etc/krb5.conf")], |v| std::env::split_paths(&v).collect());
    let elsewhere = |file: &PathBuf| std::fs::read_to_string(file).is_ok_and(|text| text.contains("default_ccache_name"));
    std::env::var_os("KRB5CCNAME").is_some() || Path::new(&usual).exists() || named.iter().any(elsewhere)
}

/// PreferredAuthentications, without what is switched off.
fn methods(asked: &Answer) -> Vec<Method> {
    let off = |key: &str| matches!(asked.value(key), Some("no" | "false"));
    let order = match asked.value("preferredauthentications") {
        Some(text) => text.split(',').map(str::to_owned).collect(),
        None => vec!["publickey".to_owned(), "keyboard-interactive".to_owned(), "password".to_owned()],
    };
    let known = order.iter().filter_map(|name| match name.as_str() {
        "publickey" if !off("pubkeyauthentication") => Some(Method::PublicKey),
        "keyboard-interactive" if !off("kbdinteractiveauthentication") => Some(Method::KeyboardInteractive),
        "password" if !off("passwordauthentication") => Some(Method::Password),
        _ => None,
    });
    known.collect()
}

/// A path that `ssh -G` printed beside others: it has no blank if it is absolute.
fn sure_path(word: &str, words: &Words) -> Option<PathBuf> {
    (word.starts_with('/') || word.starts_with("~/")).then(|| words.tilde(word))
}

/// A destination, or one element of ProxyJump: `[user@]host[:port]` or `ssh://[user@]host[:port]`.
pub(crate) fn destination_of(text: &str) -> Option<Destination> {
    let text = text.trim().strip_prefix("ssh://").unwrap_or(text.trim()).trim_end_matches('/');
    let (user, rest) = text.rsplit_once('@').map_or((None, text), |(user, rest)| (Some(user.to_owned()), rest));
    let fits = |word: &str| !word.is_empty() && !word.starts_with('-') && word.chars().all(|c| !c.is_whitespace() && !c.is_control());
    if user.as_deref().is_some_and(|u| !fits(u)) {
        return None;
    }
    let port = |text: &str| text.parse::<u16>().ok().filter(|p| *p != 0);
    let (address, port) = if let Some(inner) = rest.strip_prefix('[') {
        let (address, after) = inner.split_once(']')?;
        match after {
            "" => (address, None),
            _ => (address, Some(port(after.strip_prefix(':')?)?)),
        }
    } else {
        match rest.rsplit_once(':') {
            Some((address, number)) if !address.contains(':') => (address, Some(port(number)?)),
            _ => (rest, None),
        }
    };
    fits(address).then(|| Destination { user, address: address.to_owned(), port })
}

/// A path of the cluster file, whose `~` is `$HOME`, as in a shell.
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
    fn jumps() {
        let shown = |text: &str| destination_of(text).map(|j| (j.user.unwrap_or_default(), j.address, j.port));
        assert_eq!(shown("a@b:2200"), Some(("a".into(), "b".into(), Some(2200))));
        assert_eq!(shown("ssh://a@b:2200"), Some(("a".into(), "b".into(), Some(2200))));
        assert_eq!(shown("fd00::1"), Some((String::new(), "fd00::1".into(), None)));
        assert_eq!(shown("[fd00::1]:22"), Some((String::new(), "fd00::1".into(), Some(22))));
        for wrong in ["b:x", "b:0", "", "-oProxyCommand=x", "-l@b", "[::1]x", "a b"] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
    }
}
