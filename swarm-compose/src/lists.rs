//! Smaller lists of a service: extra hosts, limits, references to secrets and configs.

use crate::reader::Reader;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeSet;
use swarm_core::spec::{Node, Value};

impl Reader<'_> {
    /// `HOST:IP` or `HOST=IP`, or a mapping; as the engine has it: `IP HOST`.
    pub(crate) fn extra_hosts(&mut self, node: &Node, path: &str) -> Vec<String> {
        match &node.value {
            Value::List(items) => {
                let mut hosts = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    let Some(text) = self.text(item, &path) else { continue };
                    match text.split_once('=').or_else(|| text.split_once(':')) {
                        Some((host, ip)) => hosts.push(as_line(host, ip)),
                        None => self.warnings.push(format!("{path}: `{text}` has no address, and is left out; write HOST:ADDRESS")),
                    }
                }
                hosts
            }
            _ => self.pairs(node, path).into_iter().filter_map(|(host, ip)| Some(as_line(&host, &ip?))).collect(),
        }
    }

    pub(crate) fn ulimits(&mut self, node: &Node, path: &str) -> Json {
        let mut all = Vec::new();
        for entry in self.entries(node, path) {
            let at = format!("{path}.{}", entry.key);
            let (mut soft, mut hard) = (None, None);
            match &entry.node.value {
                Value::Map(entries) => {
                    for one in entries {
                        match one.key.as_str() {
                            "soft" => soft = self.integer(&one.node, &format!("{at}.soft")),
                            "hard" => hard = self.integer(&one.node, &format!("{at}.hard")),
                            _ => self.unknown(one, &at),
                        }
                    }
                    if soft.is_none() || hard.is_none() {
                        self.say(entry.at, &at, "it has not both limits", "write soft and hard, or one number");
                    }
                }
                _ => {
                    soft = self.integer(&entry.node, &at);
                    hard = soft;
                }
            }
            let mut limit = Map::from_iter([("Name".to_owned(), json!(entry.key))]);
            limit.extend(soft.map(|n| ("Soft".to_owned(), json!(n))));
            limit.extend(hard.map(|n| ("Hard".to_owned(), json!(n))));
            all.push(limit);
        }
        all.sort_by_key(|limit| limit.get("Name").map(Json::to_string));
        json!(all)
    }

    /// What a service mounts of the file's secrets or configs.
    pub(crate) fn references(&mut self, node: &Node, path: &str, of_secrets: bool) -> Json {
        let (what, name_key) = if of_secrets { ("secret", "SecretName") } else { ("config", "ConfigName") };
        let (mut all, mut targets): (Vec<(String, Json)>, BTreeSet<String>) = (Vec::new(), BTreeSet::new());
        for (index, item) in self.items(node, path).iter().enumerate() {
            let path = format!("{path}[{index}]");
            let (mut source, mut target, mut uid, mut gid, mut mode) = (None, None, "0".to_owned(), "0".to_owned(), 0o444);
            match &item.value {
                Value::Map(entries) => {
                    for entry in entries {
                        let at = format!("{path}.{}", entry.key);
                        match entry.key.as_str() {
                            "source" => source = self.text(&entry.node, &at),
                            "target" => target = self.text(&entry.node, &at),
                            "uid" => uid = self.text(&entry.node, &at).unwrap_or(uid),
                            "gid" => gid = self.text(&entry.node, &at).unwrap_or(gid),
                            "mode" => mode = self.count(&entry.node, &at).unwrap_or(mode),
                            other => {
                                self.ignored.insert(format!("{what}s.{other}"));
                            }
                        }
                    }
                }
                _ => source = self.text(item, &path),
            }
            let Some(source) = source else {
                self.say(item.at, &path, "it has no source", format!("add source:, the {what}'s name in the file"));
                continue;
            };
            let known = if of_secrets { self.secrets.get(&source) } else { self.configs.get(&source) };
            let Some(name) = known.cloned() else {
                self.say(
                    item.at,
                    &path,
                    format!("there is no {what} `{source}` in the file"),
                    format!("add it to {what}s: at the top level"),
                );
                continue;
            };
            let target = target.filter(|target| !target.is_empty()).unwrap_or(source);
            if !targets.insert(target.clone()) {
                self.say(item.at, &path, format!("another {what} has the target {target} already"), "give one of them another target");
                continue;
            }
            let (uid, gid) = (or_root(uid), or_root(gid));
            let reference = json!({ "File": { "Name": target, "UID": uid, "GID": gid, "Mode": mode }, name_key: name });
            all.push((name, reference));
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        json!(all.into_iter().map(|(_, reference)| reference).collect::<Vec<_>>())
    }
}

/// As the engine has it; an address in brackets without them.
fn as_line(host: &str, ip: &str) -> String {
    let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).filter(|ip| !ip.is_empty()).unwrap_or(ip);
    format!("{bare} {host}")
}

fn or_root(id: String) -> String {
    if id.is_empty() { "0".to_owned() } else { id }
}
