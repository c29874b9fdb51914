//! The cluster file of a swarm that runs already: what it says is what is there, so its plan is empty.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use swarm_core::spec::{Availability, InitSettings, JOIN_LABEL, Role, SwarmSettings, show_duration};

/// How the hosts of a file are logged in to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdoptedSsh {
    /// The login name.
    pub user: Option<String>,
    /// Port, where it is not the usual one.
    pub port: Option<u16>,
    /// Private key.
    pub identity_file: Option<PathBuf>,
    /// The file with the hosts' keys.
    pub known_hosts: Option<PathBuf>,
}

/// A node of the swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptedHost {
    /// The name in the file.
    pub name: String,
    /// Where it is logged in to.
    pub address: String,
    /// Its own login name, where it is another.
    pub user: Option<String>,
    /// The address that it advertises, where that is not the one it is logged in to.
    pub advertise: Option<IpAddr>,
    /// Its role.
    pub role: Role,
    /// Its availability.
    pub availability: Availability,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What an engine has where nothing was said (moby `daemon/cluster/swarm.go`, swarmkit `api/defaults`).
fn of_engines() -> SwarmSettings {
    SwarmSettings {
        task_history_limit: Some(5),
        dispatcher_heartbeat: Some(Duration::from_secs(5)),
        cert_expiry: Some(Duration::from_secs(2160 * 3600)),
        snapshot_interval: Some(10_000),
        max_snapshots: Some(0),
        external_ca: Some(Vec::new()),
        autolock: Some(false),
    }
}

/// Whether the file can name a label. One that it cannot name is left alone, as every label that it does not name.
fn fits_the_file(key: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    ends(key.chars().next()) && ends(key.chars().last()) && key.chars().all(inside)
}

/// A text of YAML that means exactly this, also where it holds `${`.
pub(crate) fn quoted(text: &str) -> String {
    let plain = !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'))
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && !matches!(text.to_ascii_lowercase().as_str(), "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n");
    if plain {
        return text.to_owned();
    }
    let mut out = String::from("\"");
    for c in text.replace("${", "$${").chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            // YAML has no such characters, or takes them for the end of a line.
            '\u{feff}' | '\u{fffe}' | '\u{ffff}' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Writes the file.
pub fn adopted(
    name: &str,
    ssh: &AdoptedSsh,
    hosts: &[AdoptedHost],
    settings: &SwarmSettings,
    init: &InitSettings,
    unlock_key_file: Option<&str>,
) -> String {
    let mut out =
        format!("# Docker Swarm cluster `{name}`, as it was found. `swarm schema` prints the whole grammar.\nname: {}\n", quoted(name));
    let path = |path: &PathBuf| quoted(&path.display().to_string());
    let login = [
        ("user", ssh.user.as_deref().map(quoted)),
        ("port", ssh.port.map(|p| p.to_string())),
        ("identity_file", ssh.identity_file.as_ref().map(path)),
        ("known_hosts", ssh.known_hosts.as_ref().map(path)),
    ];
    section(&mut out, "ssh", login.into_iter().filter_map(|(key, value)| Some((key, value?))));
    out.push_str("\nhosts:\n");
    for host in hosts {
        let _ = writeln!(out, "  {}:\n    address: {}\n    role: {}", host.name, quoted(&host.address), host.role);
        if let Some(advertise) = host.advertise {
            let _ = writeln!(out, "    advertise: {}", quoted(&advertise.to_string()));
        }
        if host.availability != Availability::Active {
            let _ = writeln!(out, "    availability: {}", host.availability);
        }
        let labels: Vec<String> = host
            .labels
            .iter()
            .filter(|(key, _)| *key != JOIN_LABEL && fits_the_file(key))
            .map(|(k, v)| format!("      {}: {}\n", quoted(k), quoted(v)))
            .collect();
        if !labels.is_empty() {
            let _ = write!(out, "    labels:\n{}", labels.concat());
        }
        if let Some(user) = host.user.as_ref().filter(|own| Some(*own) != ssh.user.as_ref()) {
            let _ = writeln!(out, "    ssh: {{ user: {} }}", quoted(user));
        }
    }
    let other = settings.missing_in(&of_engines());
    let mut options: Vec<(&str, String)> = Vec::new();
    options.extend(other.task_history_limit.map(|v| ("task_history_limit", v.to_string())));
    options.extend(other.dispatcher_heartbeat.map(|v| ("dispatcher_heartbeat", show_duration(v))));
    options.extend(other.cert_expiry.map(|v| ("cert_expiry", show_duration(v))));
    options.extend(other.snapshot_interval.map(|v| ("snapshot_interval", v.to_string())));
    options.extend(other.max_snapshots.map(|v| ("max_snapshots", v.to_string())));
    if other.autolock == Some(true) {
        options.push(("autolock", "true".into()));
        options.extend(unlock_key_file.map(|file| ("unlock_key_file", quoted(file))));
    }
    let pools: Vec<String> = init.default_addr_pool.iter().map(|p| quoted(&p.to_string())).collect();
    if pools != [quoted("10.0.0.0/8")] && !pools.is_empty() {
        options.push(("default_addr_pool", format!("[{}]", pools.join(", "))));
    }
    options.extend(init.default_addr_pool_mask_length.filter(|l| *l != 24).map(|l| ("default_addr_pool_mask_length", l.to_string())));
    options.extend(init.data_path_port.filter(|p| *p != 4789 && *p != 0).map(|p| ("data_path_port", p.to_string())));
    let authorities = other.external_ca.unwrap_or_default();
    if !authorities.is_empty() {
        let each = authorities.iter().map(|ca| {
            let mut item = format!("\n    - url: {}\n      protocol: {}", quoted(&ca.url), quoted(&ca.protocol));
            if let Some(pem) = &ca.ca_cert {
                let _ = write!(item, "\n      ca_cert: {}", quoted(pem));
            }
            if !ca.options.is_empty() {
                let all: Vec<String> = ca.options.iter().map(|(k, v)| format!("{}: {}", quoted(k), quoted(v))).collect();
                let _ = write!(item, "\n      options: {{ {} }}", all.join(", "));
            }
            item
        });
        options.push(("external_ca", each.collect::<String>()));
    }
    section(&mut out, "swarm", options.into_iter());
    out
}

fn section<'a>(out: &mut String, name: &str, entries: impl Iterator<Item = (&'a str, String)>) {
    let lines: Vec<String> = entries.map(|(key, value)| format!("  {key}: {value}\n").replace(": \n", ":\n")).collect();
    if !lines.is_empty() {
        let _ = write!(out, "\n{name}:\n{}", lines.concat());
    }
}

/// A name for the file from a node's host name: letters, digits, `-` and `_`, and no other node's.
pub fn adopted_name(hostname: &str, taken: &[String]) -> String {
    let short = hostname.split('.').next().unwrap_or(hostname);
    let mut name: String = short.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' }).collect();
    name = name.trim_matches('-').to_owned();
    if name.is_empty() {
        name = "node".into();
    }
    if !taken.contains(&name) {
        return name;
    }
    (2u32..).map(|n| format!("{name}-{n}")).find(|n| !taken.contains(n)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use swarm_core::spec::ExternalCa;

    /// Every character that may stand in a name or a label comes back as it is.
    #[test]
    fn characters_that_yaml_does_not_have() {
        for c in ['\u{0}', '\u{7f}', '\u{85}', '\u{feff}', '\u{fffd}', '\u{fffe}', '\u{ffff}', '\u{2028}', '\u{2029}', '\u{1f980}'] {
            let text = format!("a{c}b");
            let tree = crate::tree(&format!("x: {}\n", quoted(&text)));
            assert!(format!("{:?}", tree.unwrap()).contains(&format!("Text({text:?})")), "{c:?}");
        }
    }

    proptest! {
        /// Whatever a swarm has, the file means exactly that.
        #[test]
        fn the_file_means_what_is_there(
            labels in proptest::collection::btree_map("[a-z0-9][a-z0-9./_-]{0,8}", "\\PC{0,12}", 0..4),
            name in "[a-z][a-z0-9-]{0,10}",
            user in proptest::option::of("[a-z]{1,6}"),
            history in 0i64..20,
            heartbeat in 1u64..90,
            drain: bool,
            autolock: bool,
            port in proptest::option::of(1024u16..49151),
            url in "https://[a-z]{1,8}\\.example",
        ) {
            let hosts = [AdoptedHost {
                name: "m1".into(),
                address: "10.0.0.1".into(),
                user: user.clone(),
                advertise: Some("10.9.0.1".parse().unwrap()),
                role: Role::Manager,
                availability: if drain { Availability::Drain } else { Availability::Active },
                labels: labels.clone(),
            }];
            let ca = ExternalCa { protocol: "cfssl".into(), url, ca_cert: None, options: BTreeMap::new() };
            let settings = SwarmSettings {
                task_history_limit: Some(history),
                dispatcher_heartbeat: Some(Duration::from_secs(heartbeat)),
                autolock: Some(autolock),
                external_ca: Some(vec![ca]),
                ..of_engines()
            };
            let init = InitSettings { data_path_port: port, ..InitSettings::default() };
            let text = adopted(&name, &AdoptedSsh::default(), &hosts, &settings, &init, Some("/keys/one"));
            let read = crate::parse(&text, &|_| None).unwrap_or_else(|e| panic!("{e}\n{text}")).spec;
            let host = read.host(&"m1".into()).unwrap();
            let wanted: BTreeMap<String, Option<String>> = labels.into_iter().filter(|(k, _)| fits_the_file(k)).map(|(k, v)| (k, Some(v))).collect();
            prop_assert_eq!(&host.labels, &wanted, "{}", text);
            prop_assert_eq!(host.availability, drain.then_some(Availability::Drain));
            prop_assert!(read.settings().missing_in(&settings) == SwarmSettings::default(), "{}", text);
            prop_assert!(settings.missing_in(read.settings()).missing_in(&of_engines()) == SwarmSettings::default(), "{}", text);
            prop_assert!(read.init().differing_from(&init).is_empty());
        }
    }

    #[test]
    fn names_are_made_of_host_names() {
        assert_eq!(adopted_name("web.example.org", &[]), "web");
        assert_eq!(adopted_name("web", &["web".into(), "web-2".into()]), "web-3");
        assert_eq!(adopted_name("", &[]), "node");
    }
}
