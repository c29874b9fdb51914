//! Several files as one, by the docker CLI's rules (`cli/compose/loader/merge.go`).
//!
//! Networks, volumes, secrets and configs of the later file replace those of the earlier one. Services are merged key by key: what is empty (an
//! empty text, false, zero) replaces nothing, except counts of which zero says something; lists are joined, and some are merged by what
//! their entries are about.

use std::collections::BTreeMap;
use swarm_core::spec::{Entry, Node, Value};

/// How two values of a key become one.
#[derive(Clone, Copy)]
enum Rule {
    /// The later one, unless it is empty.
    Filled,
    /// The later one, whatever it is.
    Given,
    /// The later one, unless it is an empty list or text.
    Words,
    /// Both lists, one after the other.
    Joined,
    /// The same of health checks, of which a text is for a shell.
    Test,
    /// Lists of `A=B`, or mappings: the later value of each name.
    Pairs,
    /// Variables: an empty one replaces nothing.
    Variables,
    /// Known keys, each by its rule.
    Keys(&'static [(&'static str, Rule)]),
    /// Keys of the user's own, each the later one.
    Named,
    Ports,
    Volumes,
    References,
    Networks,
    Logging,
    DependsOn,
}

const UPDATE: Rule = Rule::Keys(&[("parallelism", Rule::Given)]);

const SERVICE: &[(&str, Rule)] = &[
    ("command", Rule::Words),
    ("entrypoint", Rule::Words),
    ("environment", Rule::Variables),
    ("labels", Rule::Pairs),
    ("sysctls", Rule::Pairs),
    ("extra_hosts", Rule::Joined),
    ("dns", Rule::Joined),
    ("dns_search", Rule::Joined),
    ("cap_add", Rule::Joined),
    ("cap_drop", Rule::Joined),
    ("env_file", Rule::Joined),
    ("ports", Rule::Ports),
    ("volumes", Rule::Volumes),
    ("secrets", Rule::References),
    ("configs", Rule::References),
    ("networks", Rule::Networks),
    ("ulimits", Rule::Named),
    ("logging", Rule::Logging),
    ("depends_on", Rule::DependsOn),
    ("credential_spec", Rule::Keys(&[])),
    ("healthcheck", Rule::Keys(&[("test", Rule::Test), ("retries", Rule::Given)])),
    (
        "deploy",
        Rule::Keys(&[
            ("replicas", Rule::Given),
            ("labels", Rule::Pairs),
            ("update_config", UPDATE),
            ("rollback_config", UPDATE),
            ("restart_policy", Rule::Keys(&[("max_attempts", Rule::Given)])),
            ("placement", Rule::Keys(&[("constraints", Rule::Joined), ("preferences", Rule::Joined)])),
            ("resources", Rule::Keys(&[("limits", Rule::Keys(&[])), ("reservations", Rule::Keys(&[("generic_resources", Rule::Joined)]))])),
        ]),
    ),
];

/// A later file over an earlier one.
pub(crate) fn files(base: Node, over: Node) -> Node {
    merge_map(base, over, |key, base, over| match key {
        "services" => merge_map(base, over, |_, base, over| service(base, over)),
        "networks" | "volumes" | "secrets" | "configs" => merge_map(base, over, |_, _, over| over),
        _ => over,
    })
}

/// Two mappings as one; `both` is for keys that both have. Anything but two mappings is the later one.
fn merge_map(base: Node, over: Node, both: impl Fn(&str, Node, Node) -> Node) -> Node {
    match (base.value, over.value) {
        (Value::Map(base_entries), Value::Map(over_entries)) => {
            let mut merged: Vec<Entry> = base_entries;
            let mut places: BTreeMap<String, usize> = merged.iter().enumerate().map(|(index, e)| (e.key.clone(), index)).collect();
            for entry in over_entries {
                match places.get(&entry.key).and_then(|index| merged.get_mut(*index)) {
                    Some(there) => {
                        let old = std::mem::replace(&mut there.node, Node { value: Value::Null, at: None });
                        there.node = both(&entry.key, old, entry.node);
                    }
                    None => {
                        places.insert(entry.key.clone(), merged.len());
                        merged.push(entry);
                    }
                }
            }
            Node { value: Value::Map(merged), at: over.at }
        }
        (base_value, Value::Null) => Node { value: base_value, at: base.at },
        (_, over_value) => Node { value: over_value, at: over.at },
    }
}

/// docker puts these lists of the earlier file in order even where the later one says nothing of them.
fn service(mut base: Node, mut over: Node) -> Node {
    let by_subject = |key: &str| {
        let rule = SERVICE.iter().find(|(name, _)| *name == key).map(|(_, rule)| *rule);
        rule.filter(|rule| matches!(rule, Rule::Ports | Rule::Volumes | Rule::References))
    };
    let is_empty = |node: &Node| matches!(&node.value, Value::List(items) if items.is_empty());
    if let Value::Map(entries) = &mut base.value {
        for entry in entries {
            if let Some(rule) = by_subject(&entry.key) {
                let old = std::mem::replace(&mut entry.node, Node { value: Value::Null, at: None });
                entry.node = both(rule, old, Node { value: Value::List(Vec::new()), at: None });
            }
        }
    }
    // An empty list over nothing is nothing: what a third file has is then taken as it is.
    if let Value::Map(entries) = &mut over.value {
        entries.retain(|entry| by_subject(&entry.key).is_none() || !is_empty(&entry.node));
    }
    both(Rule::Keys(SERVICE), base, over)
}

fn both(rule: Rule, base: Node, over: Node) -> Node {
    match rule {
        Rule::Filled if is_empty(&over.value) => base,
        Rule::Words if matches!(&over.value, Value::List(items) if items.is_empty()) || is_empty(&over.value) => base,
        Rule::Filled | Rule::Given | Rule::Words => over,
        Rule::Joined => joined(base, over),
        Rule::Test => joined(in_shell(base), in_shell(over)),
        Rule::Pairs => merge_map(as_map(base), as_map(over), |_, _, over| over),
        Rule::Named => merge_map(base, over, |_, _, over| over),
        Rule::Variables => merge_map(as_map(base), as_map(over), |_, base, over| if is_blank(&over.value) { base } else { over }),
        Rule::Keys(rules) => merge_map(base, over, |key, base, over| {
            let rule = rules.iter().find(|(name, _)| *name == key).map_or(Rule::Filled, |(_, rule)| *rule);
            both(rule, base, over)
        }),
        Rule::Ports => keyed(ports(base), ports(over), |node| number(node, "published")),
        Rule::Volumes => keyed(base, over, volume_key),
        Rule::References => keyed(base, over, |node| text(node).or_else(|| field(node, "source")).unwrap_or_default()),
        Rule::Networks => merge_map(named(base), named(over), |_, base, over| attachment(base, over)),
        Rule::Logging => logging(base, over),
        Rule::DependsOn => match (&base.value, &over.value) {
            (Value::Map(_), Value::Map(_)) => merge_map(base, over, |_, _, over| over),
            _ => joined(base, over),
        },
    }
}

/// What replaces nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) | Value::Int(0) => true,
        Value::Float(number) => *number == 0.0,
        Value::Text(text) => text.is_empty() || swarm_workload::duration(text) == Some(0),
        _ => false,
    }
}

/// A variable without a value, or with an empty one.
fn is_blank(value: &Value) -> bool {
    *value == Value::Null || matches!(value, Value::Text(text) if text.is_empty())
}

/// `a=b` lines or a mapping, as a mapping.
fn as_map(node: Node) -> Node {
    let at = node.at;
    match node.value {
        Value::List(items) => {
            let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
            for item in items {
                let (key, value) = match &item.value {
                    Value::Text(text) => match text.split_once('=') {
                        Some((key, value)) => (key.to_owned(), Value::Text(value.to_owned())),
                        None => (text.clone(), Value::Null),
                    },
                    _ => (String::new(), item.value.clone()),
                };
                entries.insert(key.clone(), Entry { key, at: item.at, node: Node { value, at: item.at } });
            }
            Node { value: Value::Map(entries.into_values().collect()), at }
        }
        value => Node { value, at },
    }
}

fn as_list(node: Node) -> Vec<Node> {
    match node.value {
        Value::List(items) => items,
        Value::Null => Vec::new(),
        // A mapping of hosts to addresses; docker sorts it.
        Value::Map(mut entries) => {
            entries.sort_by(|a, b| a.key.cmp(&b.key));
            let line = |entry: Entry| {
                let value = text(&entry.node).filter(|_| entry.node.value != Value::Null)?;
                Some(Node { value: Value::Text(format!("{}={value}", entry.key)), at: entry.node.at })
            };
            entries.into_iter().filter_map(line).collect()
        }
        value => vec![Node { value, at: node.at }],
    }
}

fn in_shell(node: Node) -> Node {
    let at = node.at;
    match node.value {
        Value::Text(text) => {
            let words = ["CMD-SHELL".to_owned(), text].map(|word| Node { value: Value::Text(word), at });
            Node { value: Value::List(words.into()), at }
        }
        value => Node { value, at },
    }
}

fn joined(base: Node, over: Node) -> Node {
    let at = over.at;
    let mut all = as_list(base);
    all.extend(as_list(over));
    Node { value: Value::List(all), at }
}

/// Lists whose entries are about something: the later entry about the same thing wins, and they are put in order.
fn keyed<K: Ord>(base: Node, over: Node, key: impl Fn(&Node) -> K) -> Node {
    let at = over.at.or(base.at);
    let all: BTreeMap<K, Node> = as_list(base).into_iter().chain(as_list(over)).map(|item| (key(&item), item)).collect();
    Node { value: Value::List(all.into_values().collect()), at }
}

fn field(node: &Node, name: &str) -> Option<String> {
    let Value::Map(entries) = &node.value else { return None };
    text(&entries.iter().find(|e| e.key == name)?.node)
}

fn number(node: &Node, name: &str) -> u64 {
    field(node, name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn text(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Short forms in their long form: a range is several ports.
fn ports(node: Node) -> Node {
    let at = node.at;
    let mut all = Vec::new();
    for item in as_list(node) {
        let Some((ports, _)) = text(&item).and_then(|text| swarm_workload::short_ports(&text)) else {
            all.push(item);
            continue;
        };
        for port in ports {
            let entry = |key: &str, value: Value| Entry { key: key.to_owned(), at: item.at, node: Node { value, at: item.at } };
            let count = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
            let entries = vec![
                entry("target", count(port.target)),
                entry("published", count(port.published)),
                entry("protocol", Value::Text(port.protocol)),
                entry("mode", Value::Text(port.mode)),
            ];
            all.push(Node { value: Value::Map(entries), at: item.at });
        }
    }
    Node { value: Value::List(all), at }
}

fn volume_key(node: &Node) -> String {
    match text(node).and_then(|text| crate::mounts::short(&text)) {
        Some(mount) => mount.target,
        None => field(node, "target").unwrap_or_default(),
    }
}

/// Networks as a mapping.
fn named(node: Node) -> Node {
    match node.value {
        Value::List(items) => {
            let entries = items.into_iter().map(|item| Entry {
                key: text(&item).unwrap_or_default(),
                at: item.at,
                node: Node { value: Value::Null, at: item.at },
            });
            Node { value: Value::Map(entries.collect()), at: node.at }
        }
        value => Node { value, at: node.at },
    }
}

/// The later aliases, with the earlier options of the driver.
fn attachment(base: Node, over: Node) -> Node {
    match (base.value, over.value) {
        (Value::Map(base_entries), Value::Map(over_entries)) => {
            let mut entries: Vec<Entry> = over_entries.into_iter().filter(|entry| entry.key != "driver_opts").collect();
            entries.extend(base_entries.into_iter().filter(|entry| entry.key == "driver_opts"));
            Node { value: Value::Map(entries), at: over.at }
        }
        (base_value, Value::Null) => Node { value: base_value, at: base.at },
        (_, over_value) => Node { value: over_value, at: over.at },
    }
}

/// Options are merged for the same driver, and replaced for another.
fn logging(base: Node, over: Node) -> Node {
    let driver = |node: &Node| field(node, "driver").filter(|driver| !driver.is_empty());
    let (old, new) = (driver(&base), driver(&over));
    if old.is_some() && new.is_some() && old != new {
        return over;
    }
    // docker loses options where the earlier file has none.
    let kept = matches!(&base.value, Value::Map(entries) if entries.iter().any(|e| e.key == "options"));
    merge_map(base, over, |key, base, over| match key {
        "options" => merge_map(base, over, |_, _, over| over),
        _ => both(Rule::Filled, base, over),
    })
    .without("options", !kept)
}

trait Without {
    fn without(self, key: &str, yes: bool) -> Self;
}

impl Without for Node {
    fn without(mut self, key: &str, yes: bool) -> Self {
        if let (true, Value::Map(entries)) = (yes, &mut self.value) {
            entries.retain(|entry| entry.key != key);
        }
        self
    }
}
