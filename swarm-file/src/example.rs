//! A new cluster file, with a comment for every key: the comments are the table the reader itself uses.

use std::fmt::Write as _;
use swarm_core::spec::{Kind, Role, sections};

/// A host for a new file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHost {
    /// Its name.
    pub name: String,
    /// Its login name, if it was given.
    pub user: Option<String>,
    /// Its address.
    pub address: String,
    /// Its role.
    pub role: Role,
}

/// Writes a commented file for these hosts.
pub fn example(name: &str, hosts: &[NewHost]) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "# yaml-language-server: $schema=./swarm.schema.json (`swarm schema > swarm.schema.json` writes it)");
    let _ = writeln!(out, "# Docker Swarm cluster `{name}`. Keys behind # are optional; `swarm schema` prints the whole grammar.");
    let _ = writeln!(out, "name: {name}\n");
    let user = hosts.iter().find_map(|h| h.user.clone());
    out.push_str("ssh:\n");
    for key in keys("ssh") {
        let value = match key.0 {
            "user" => user.clone(),
            _ => None,
        };
        line(&mut out, 2, key.0, value.as_deref(), key.1, key.2);
    }
    out.push_str("\nhosts:\n");
    for (index, host) in hosts.iter().enumerate() {
        let _ = writeln!(out, "  {}:", host.name);
        let role = host.role.to_string();
        for key in keys("host").into_iter().filter(|k| k.0 != "ssh") {
            let value = match key.0 {
                "address" => Some(host.address.as_str()),
                "role" => Some(role.as_str()),
                _ => None,
            };
            if index == 0 || value.is_some() {
                line(&mut out, 4, key.0, value, if index == 0 { key.1 } else { "" }, key.2);
            }
        }
        if let Some(own) = host.user.as_ref().filter(|own| Some(*own) != user.as_ref()) {
            let _ = writeln!(out, "    ssh: {{ user: {own} }}");
        }
    }
    for section in ["swarm", "policy"] {
        let _ = writeln!(out, "\n# {section}:");
        for key in keys(section) {
            line(&mut out, 2, key.0, None, key.1, key.2);
        }
    }
    out
}

fn keys(section: &str) -> Vec<(&'static str, &'static str, &'static str)> {
    // What only one kind of connection takes, and lists of sections, are in the schema.
    let plain = |k: &&swarm_core::spec::Key| !k.name.starts_with("tls_") && !matches!(k.kind, Kind::Sections(_));
    sections().iter().filter(|s| s.name == section).flat_map(|s| s.keys).filter(plain).map(|k| (k.name, k.doc, k.shown)).collect()
}

fn line(out: &mut String, indent: usize, key: &str, value: Option<&str>, doc: &str, shown: &str) {
    let comment = if doc.is_empty() { String::new() } else { format!("  # {doc}") };
    let _ = match value {
        Some(value) => writeln!(out, "{:indent$}{key}: {value}{comment}", ""),
        None => writeln!(out, "{:indent$}# {key}: {}{comment}", "", shown),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_can_be_read_as_it_is() {
        let host =
            |name: &str, address: &str, role| NewHost { name: name.into(), user: Some("root".into()), address: address.into(), role };
        let text = example("prod", &[host("m1", "10.0.0.11", Role::Manager), host("w1", "10.0.0.12", Role::Worker)]);
        let read = crate::parse(&text, &|_| None).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(read.spec.hosts().len(), 2);
        // Every comment that is a key is accepted when its # is taken away.
        let uncomment = |line: &str| {
            let rest = line.trim_start();
            let key = rest
                .strip_prefix("# ")
                .filter(|r| r.split(':').next().is_some_and(|k| k.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
            key.map_or(line.to_owned(), |key| format!("{}{key}", " ".repeat(line.len() - rest.len())))
        };
        let whole: String = text.lines().map(|l| uncomment(l) + "\n").collect();
        let read = crate::parse(&whole, &|_| None).unwrap_or_else(|e| panic!("{e}\n{whole}"));
        assert!(read.spec.settings().cert_expiry.is_some() && read.spec.host(&"m1".into()).unwrap().availability.is_some(), "{whole}");
    }
}
