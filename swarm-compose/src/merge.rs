//! Several files as one, by the docker CLI's rules (`cli/compose/loader/merge.go`): the later file wins, mappings are merged, some lists
//! are joined, and some are merged by what their entries are about.

use swarm_core::spec::{Entry, Node, Value};

/// A later file over an earlier one.
pub(crate) fn files(base: Node, over: Node) -> Node {
    merge_map(base, over, |key, base, over| match key {
        "services" => merge_map(base, over, |_, base, over| service(base, over)),
        "networks" | "volumes" | "secrets" | "configs" => merge_map(base, over, |_, base, over| deep(base, over)),
        _ => over,
    })
}

/// Two mappings as one; `both` is for keys that both have. Anything but two mappings is the later one.
fn merge_map(base: Node, over: Node, both: impl Fn(&str, Node, Node) -> Node) -> Node {
    match (base.value, over.value) {
        (Value::Map(base_entries), Value::Map(over_entries)) => {
            let mut merged: Vec<Entry> = base_entries;
            for entry in over_entries {
                match merged.iter_mut().find(|e| e.key == entry.key) {
                    Some(there) => {
                        let old = std::mem::replace(&mut there.node, Node { value: Value::Null, at: None });
                        there.node = both(&entry.key, old, entry.node);
                    }
                    None => merged.push(entry),
                }
            }
            Node { value: Value::Map(merged), at: over.at }
        }
        (base_value, Value::Null) => Node { value: base_value, at: base.at },
        (_, over_value) => Node { value: over_value, at: over.at },
    }
}

/// Mappings merged all the way down; anything else is the later one.
fn deep(base: Node, over: Node) -> Node {
    merge_map(base, over, |_, base, over| deep(base, over))
}

fn service(base: Node, over: Node) -> Node {
    merge_map(base, over, |key, base, over| match key {
        "environment" | "labels" | "sysctls" => pairs(base, over),
        "extra_hosts" | "dns" | "dns_search" | "dns_opt" | "cap_add" | "cap_drop" | "expose" | "tmpfs" | "security_opt" | "env_file"
        | "external_links" | "devices" => append(base, over),
        "ports" => keyed(base, over, port_key),
        "volumes" => sorted(keyed(base, over, volume_key), volume_key),
        "secrets" | "configs" => keyed(base, over, reference_key),
        "networks" => networks(base, over),
        "ulimits" => merge_map(base, over, |_, _, over| over),
        "deploy" => deploy(base, over),
        "healthcheck" | "credential_spec" => deep(base, over),
        "logging" => logging(base, over),
        "depends_on" => append(base, over),
        _ => over,
    })
}

fn deploy(base: Node, over: Node) -> Node {
    merge_map(base, over, |key, base, over| match key {
        "labels" => pairs(base, over),
        "placement" => merge_map(base, over, |_, _, over| over),
        _ => deep(base, over),
    })
}

/// `a=b` lines or a mapping, as a mapping.
fn as_map(node: Node) -> Node {
    let at = node.at;
    match node.value {
        Value::List(items) => {
            let entries = items.into_iter().map(|item| match &item.value {
                Value::Text(text) => {
                    let (key, value) = match text.split_once('=') {
                        Some((key, value)) => (key.to_owned(), Value::Text(value.to_owned())),
                        None => (text.clone(), Value::Null),
                    };
                    Entry { key, at: item.at, node: Node { value, at: item.at } }
                }
                _ => Entry { key: String::new(), at: item.at, node: item },
            });
            Node { value: Value::Map(entries.collect()), at }
        }
        value => Node { value, at },
    }
}

fn pairs(base: Node, over: Node) -> Node {
    merge_map(as_map(base), as_map(over), |_, _, over| over)
}

fn as_list(node: Node) -> Vec<Node> {
    match node.value {
        Value::List(items) => items,
        Value::Null => Vec::new(),
        value => vec![Node { value, at: node.at }],
    }
}

fn append(base: Node, over: Node) -> Node {
    // Mappings (extra hosts, conditions) stay mappings.
    if matches!(base.value, Value::Map(_)) && matches!(over.value, Value::Map(_)) {
        return deep(base, over);
    }
    let at = over.at;
    let mut all = as_list(base);
    for item in as_list(over) {
        if !all.iter().any(|there| there.value == item.value) {
            all.push(item);
        }
    }
    Node { value: Value::List(all), at }
}

/// Lists whose entries are about something: the later entry about the same thing wins.
fn keyed(base: Node, over: Node, key: fn(&Node) -> Vec<String>) -> Node {
    let at = over.at;
    let over = as_list(over);
    let taken: Vec<String> = over.iter().flat_map(key).collect();
    let mut all: Vec<Node> = as_list(base).into_iter().filter(|item| !key(item).iter().any(|k| taken.contains(k))).collect();
    all.extend(over);
    Node { value: Value::List(all), at }
}

/// In the order of what the entries are about, as docker has merged volumes.
fn sorted(mut node: Node, key: fn(&Node) -> Vec<String>) -> Node {
    if let Value::List(items) = &mut node.value {
        items.sort_by_key(key);
    }
    node
}

fn field(node: &Node, name: &str) -> Option<String> {
    let Value::Map(entries) = &node.value else { return None };
    match &entries.iter().find(|e| e.key == name)?.node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

fn text(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Ports are about the port that they publish.
fn port_key(node: &Node) -> Vec<String> {
    match text(node).and_then(|text| swarm_workload::short_ports(&text)) {
        Some((ports, _)) => ports.iter().map(|p| p.published.to_string()).collect(),
        None => vec![field(node, "published").unwrap_or_else(|| "0".to_owned())],
    }
}

fn volume_key(node: &Node) -> Vec<String> {
    match text(node).and_then(|text| crate::mounts::short(&text)) {
        Some(mount) => vec![mount.target],
        None => field(node, "target").into_iter().collect(),
    }
}

fn reference_key(node: &Node) -> Vec<String> {
    text(node).or_else(|| field(node, "source")).into_iter().collect()
}

fn networks(base: Node, over: Node) -> Node {
    let named = |node: Node| match node.value {
        Value::List(items) => {
            let entries = items.into_iter().map(|item| Entry {
                key: text(&item).unwrap_or_default(),
                at: item.at,
                node: Node { value: Value::Null, at: item.at },
            });
            Node { value: Value::Map(entries.collect()), at: node.at }
        }
        value => Node { value, at: node.at },
    };
    merge_map(named(base), named(over), |_, base, over| deep(base, over))
}

/// Options are merged for the same driver, and replaced for another.
fn logging(base: Node, over: Node) -> Node {
    let (old, new) = (field(&base, "driver"), field(&over, "driver"));
    if new.is_none() || old.is_none() || old == new { deep(base, over) } else { over }
}
