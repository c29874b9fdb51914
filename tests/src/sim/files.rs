//! Cluster files of random hosts.

use std::fmt::Write as _;

/// A random host of the file.
#[derive(Clone, Default)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) manager: bool,
    pub(super) absent: bool,
    pub(super) labels: Vec<(String, String)>,
    pub(super) availability: Option<&'static str>,
    /// Another interface than the one that its address is on.
    pub(super) advertise: Option<&'static str>,
}

fn address(name: &str) -> String {
    let number: u32 = name[1..].parse().unwrap();
    format!("10.0.{}.{number}", if name.starts_with('m') { 1 } else { 2 })
}

/// The file of these hosts.
pub(super) fn text(hosts: &[Wanted], options: &str) -> String {
    let mut text = String::from("name: c\npolicy: { timeout: 120s }\n");
    if !options.is_empty() {
        let _ = writeln!(text, "swarm: {{ {options} }}");
    }
    text.push_str("hosts:\n");
    for host in hosts {
        if host.absent {
            let _ = writeln!(text, "  {}: {{ address: {}, role: none }}", host.name, address(&host.name));
            continue;
        }
        let role = if host.manager { "manager" } else { "worker" };
        let labels: Vec<String> = host.labels.iter().map(|(k, v)| format!("{k}: {v}")).collect();
        let word = |key: &str, word: Option<&str>| word.map_or(String::new(), |word| format!(", {key}: {word}"));
        let (availability, advertise) = (word("availability", host.availability), word("advertise", host.advertise));
        let _ = writeln!(
            text,
            "  {}: {{ address: {}, role: {role}{availability}{advertise}, labels: {{ {} }} }}",
            host.name,
            address(&host.name),
            labels.join(", ")
        );
    }
    text
}
