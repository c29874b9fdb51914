//! The top level of a Compose file: networks, volumes, secrets, configs.

use crate::reader::{Reader, TopNetwork, TopVolume};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::path::Path;
use swarm_core::spec::{Entry, Node, Value};
use swarm_workload::{ConfigWanted, NAMESPACE_LABEL, NetworkWanted, SecretWanted};

/// The largest secret that an engine takes.
const SECRET_LIMIT: usize = 500 * 1024;
/// The largest config that engines from 28 on take; older ones take 500 KiB.
const CONFIG_LIMIT: usize = 1000 * 1024;

impl Reader<'_> {
    /// A whole file.
    pub(crate) fn stack(&mut self, tree: &Node) {
        let entries = self.entries(tree, "");
        let mut services: Option<&Node> = None;
        for entry in entries {
            match entry.key.as_str() {
                // It was looked at file by file.
                "version" => {}
                "networks" => self.each(&entry.node, "networks", Self::network),
                "volumes" => self.each(&entry.node, "volumes", Self::volume),
                "secrets" => self.each(&entry.node, "secrets", Self::secret),
                "configs" => self.each(&entry.node, "configs", Self::config),
                "services" => services = Some(&entry.node),
                _ => self.unknown(entry, ""),
            }
        }
        if let Some(services) = services {
            self.each(services, "services", Self::service);
        }
        // What no service uses need not be there.
        let services = std::mem::take(&mut self.out.services);
        self.out.external_secrets.retain(|name| services.iter().any(|s| s.refers("Secrets", "SecretName").contains(name)));
        self.out.external_configs.retain(|name| services.iter().any(|s| s.refers("Configs", "ConfigName").contains(name)));
        self.out.services = services;
        let used: Vec<TopNetwork> = self.networks.values().filter(|n| n.used).cloned().collect();
        for network in used {
            if network.external {
                self.out.external_networks.insert(network.name);
            } else {
                self.out.networks.push(NetworkWanted { name: network.name, spec: network.spec });
            }
        }
        self.out.networks.sort_by(|a, b| a.name.cmp(&b.name));
        if !self.ignored.is_empty() {
            let keys: Vec<&str> = self.ignored.iter().map(String::as_str).collect();
            self.warnings.push(format!("keys without effect in a swarm: {}", keys.join(", ")));
        }
        for key in std::mem::take(&mut self.deprecated) {
            self.warnings.push(match key {
                "container_name" => "container_name has no effect: tasks are named by the engine".to_owned(),
                _ => format!("{key} has no effect: services of one network reach each other on every port"),
            });
        }
    }

    fn each(&mut self, node: &Node, path: &str, read: fn(&mut Self, &Entry, &str)) {
        for entry in self.entries_or_none(node, path) {
            let path = format!("{path}.{}", entry.key);
            if !is_name(&entry.key) {
                self.say(entry.at, &path, "this is no name", "use letters, digits, and . _ -");
            } else if !entry.key.starts_with("x-") {
                read(self, entry, &path);
            }
        }
    }

    /// `external: true`, or `external: { name: … }`; gives the other name, if it has one.
    fn external(&mut self, node: &Node, path: &str) -> (bool, Option<String>) {
        match &node.value {
            // What else it may have is a matter of its form (shape.rs).
            Value::Map(entries) => {
                let name = entries.iter().find(|entry| entry.key == "name");
                (true, name.and_then(|name| self.text(&name.node, &format!("{path}.name"))).filter(|name| !name.is_empty()))
            }
            _ => (self.boolean(node, path).unwrap_or(false), None),
        }
    }

    /// `name` and `external.name` are one thing.
    fn one_name(&mut self, entry: &Entry, path: &str, name: Option<String>, other: Option<String>) -> Option<String> {
        if name.is_some() && other.is_some() {
            self.say(entry.at, &format!("{path}.external.name"), "it has a name already", "write name: only, and external: true");
        }
        other.or(name)
    }

    fn stack_labels(&self, mut labels: BTreeMap<String, String>) -> Json {
        labels.insert(NAMESPACE_LABEL.to_owned(), self.out.name.clone());
        json!(labels)
    }

    fn network(&mut self, entry: &Entry, path: &str) {
        let mut spec = Map::new();
        let (mut name, mut external, mut labels) = (None, false, BTreeMap::new());
        let mut others = Vec::new();
        for key in self.entries_or_none(&entry.node, path) {
            let at = format!("{path}.{}", key.key);
            match key.key.as_str() {
                "name" => {
                    let own = self.text(&key.node, &at);
                    name = self.one_name(key, path, own, name);
                }
                "external" => {
                    let (yes, other) = self.external(&key.node, &at);
                    (external, name) = (yes, self.one_name(key, path, name, other));
                    continue;
                }
                "driver" => {
                    if let Some(driver) = self.text(&key.node, &at) {
                        spec.insert("Driver".into(), json!(driver));
                    }
                }
                "driver_opts" => {
                    let options = self.options(&key.node, &at);
                    spec.insert("Options".into(), json!(options));
                }
                "ipam" => {
                    if let Some(ipam) = self.ipam(&key.node, &at) {
                        spec.insert("IPAM".into(), ipam);
                    }
                }
                "internal" => {
                    if let Some(yes) = self.boolean(&key.node, &at) {
                        spec.insert("Internal".into(), json!(yes));
                    }
                }
                "attachable" => {
                    if let Some(yes) = self.boolean(&key.node, &at) {
                        spec.insert("Attachable".into(), json!(yes));
                    }
                }
                "labels" => labels = self.labels(&key.node, &at),
                _ => self.unknown(key, path),
            }
            if key.key != "name" {
                others.push(key);
            }
        }
        self.only_external(external, &others, path);
        spec.entry("Driver").or_insert_with(|| json!("overlay"));
        spec.insert("Labels".into(), self.stack_labels(labels));
        let name = name.unwrap_or_else(|| if external { entry.key.clone() } else { self.scoped(&entry.key) });
        self.networks.insert(entry.key.clone(), TopNetwork { name, external, spec: Json::Object(spec), used: self.own });
    }

    /// What is made elsewhere has nothing but its name: of a volume docker refuses the rest, of anything else it leaves it out.
    fn only_external(&mut self, external: bool, others: &[&Entry], path: &str) {
        let said = |entry: &Entry| match &entry.node.value {
            Value::Map(entries) => !entries.is_empty(),
            Value::List(items) => !items.is_empty(),
            Value::Text(text) => !text.is_empty(),
            _ => true,
        };
        let others: Vec<&&Entry> = others.iter().filter(|other| external && said(other)).collect();
        let Some(other) = others.first() else { return };
        if path.starts_with("volumes.") {
            let path = format!("{path}.{}", other.key);
            return self.say(other.at, &path, "what is external is made elsewhere, and has no such key", "remove it, or remove external");
        }
        let keys: Vec<&str> = others.iter().map(|other| other.key.as_str()).collect();
        self.warnings.push(format!("{path}: it is external, so {} without effect", no_effect(&keys)));
    }

    /// Options of a driver: texts and numbers.
    pub(crate) fn options(&mut self, node: &Node, path: &str) -> BTreeMap<String, String> {
        let entries = self.entries(node, path);
        entries.iter().filter_map(|e| Some((e.key.clone(), self.scalar(&e.node, &format!("{path}.{}", e.key))?))).collect()
    }

    fn ipam(&mut self, node: &Node, path: &str) -> Option<Json> {
        let mut ipam = Map::new();
        for key in self.entries(node, path) {
            let at = format!("{path}.{}", key.key);
            match key.key.as_str() {
                "driver" => {
                    if let Some(driver) = self.text(&key.node, &at) {
                        ipam.insert("Driver".into(), json!(driver));
                    }
                }
                "config" => {
                    let mut pools = Vec::new();
                    for (index, pool) in self.items(&key.node, &at).iter().enumerate() {
                        let at = format!("{at}[{index}]");
                        let mut out = Map::new();
                        for one in self.entries(pool, &at) {
                            match one.key.as_str() {
                                "subnet" => {
                                    out.extend(self.text(&one.node, &format!("{at}.subnet")).map(|s| ("Subnet".to_owned(), json!(s))))
                                }
                                _ => self.unknown(one, &at),
                            }
                        }
                        pools.push(out);
                    }
                    ipam.insert("Config".into(), json!(pools));
                }
                _ => self.unknown(key, path),
            }
        }
        (!ipam.is_empty()).then_some(Json::Object(ipam))
    }

    fn volume(&mut self, entry: &Entry, path: &str) {
        let mut volume = TopVolume::default();
        let mut others = Vec::new();
        for key in self.entries_or_none(&entry.node, path) {
            let at = format!("{path}.{}", key.key);
            match key.key.as_str() {
                "name" => {
                    let own = self.text(&key.node, &at);
                    volume.name = self.one_name(key, path, own, volume.name.take());
                }
                "external" => {
                    let (yes, other) = self.external(&key.node, &at);
                    volume.external = yes;
                    volume.name = self.one_name(key, path, volume.name.take(), other);
                    continue;
                }
                "driver" => volume.driver = self.text(&key.node, &at),
                "driver_opts" => volume.options = Some(self.options(&key.node, &at)),
                "labels" => volume.labels = self.labels(&key.node, &at),
                "x-cluster-spec" => self.cluster_volume(&key.node, &at),
                _ => self.unknown(key, path),
            }
            if key.key != "name" {
                others.push(key);
            }
        }
        if volume.external && volume.name.is_none() {
            volume.name = Some(entry.key.clone());
        }
        self.only_external(volume.external, &others, path);
        self.volumes.insert(entry.key.clone(), volume);
    }

    /// docker reads it and makes no such volume; sizes that are none are refused.
    fn cluster_volume(&mut self, node: &Node, path: &str) {
        let Value::Map(entries) = &node.value else { return };
        let range = entries.iter().find(|entry| entry.key == "capacity_range");
        let Some(Value::Map(sizes)) = range.map(|entry| &entry.node.value) else { return };
        for size in sizes.iter().filter(|size| matches!(size.key.as_str(), "required_bytes" | "limit_bytes")) {
            self.bytes(&size.node, &format!("{path}.capacity_range.{}", size.key));
        }
    }

    fn secret(&mut self, entry: &Entry, path: &str) {
        let Some(read) = self.file_object(entry, path) else {
            return;
        };
        self.secrets.insert(entry.key.clone(), read.name.clone());
        if read.external {
            self.out.external_secrets.insert(read.name);
            return;
        }
        let mut spec = read.spec;
        let payload = format!("secret:{}", read.name);
        match (read.driver, read.data) {
            (Some(driver), _) => {
                spec.insert("Driver".into(), driver);
                self.out.secrets.push(SecretWanted { name: read.name, spec: Json::Object(spec), payload: None });
            }
            (None, Some((data, node))) => {
                if data.is_empty() || data.len() > SECRET_LIMIT {
                    let message =
                        if data.is_empty() { "the secret is empty".to_owned() } else { format!("the secret has {} KiB", data.len() >> 10) };
                    self.say(node.at, path, message, "a secret has 1 byte to 500 KiB");
                }
                self.payloads.add(&payload, &data);
                self.out.secrets.push(SecretWanted { name: read.name, spec: Json::Object(spec), payload: Some(payload) });
            }
            (None, None) => {
                self.say(entry.at, path, "it has neither a file nor a driver", "add file:, environment:, command: or external: true")
            }
        }
    }

    fn config(&mut self, entry: &Entry, path: &str) {
        let Some(read) = self.file_object(entry, path) else { return };
        self.configs.insert(entry.key.clone(), read.name.clone());
        if read.external {
            self.out.external_configs.insert(read.name);
            return;
        }
        let Some((data, node)) = read.data else {
            return self.say(entry.at, path, "it has no file", "add file:, environment:, command: or external: true");
        };
        if data.is_empty() || data.len() > CONFIG_LIMIT {
            let message =
                if data.is_empty() { "the config is empty".to_owned() } else { format!("the config has {} KiB", data.len() >> 10) };
            self.say(node.at, path, message, "a config has 1 byte to 1000 KiB (500 KiB before engine 28)");
        }
        let payload = format!("config:{}", read.name);
        let digest = hmac_sha256::Hash::hash(&data).iter().map(|b| format!("{b:02x}")).collect();
        self.payloads.add(&payload, &data);
        self.out.configs.push(ConfigWanted { name: read.name, spec: Json::Object(read.spec), payload, digest });
    }

    fn file_object<'n>(&mut self, entry: &'n Entry, path: &str) -> Option<FileObject<'n>> {
        let (mut name, mut external, mut labels, mut driver, mut options) = (None, false, BTreeMap::new(), None, None);
        let mut sources: Vec<(ContentFrom, &Node)> = Vec::new();
        let mut spec = Map::new();
        let mut others = Vec::new();
        for key in self.entries(&entry.node, path) {
            let at = format!("{path}.{}", key.key);
            match key.key.as_str() {
                "name" => {
                    let own = self.text(&key.node, &at);
                    name = self.one_name(key, path, own, name);
                }
                "external" => {
                    let (yes, other) = self.external(&key.node, &at);
                    (external, name) = (yes, self.one_name(key, path, name, other));
                    continue;
                }
                "labels" => labels = self.labels(&key.node, &at),
                "file" => sources.extend(self.text(&key.node, &at).map(|file| (ContentFrom::File(file), &key.node))),
                "environment" => sources.extend(self.text(&key.node, &at).map(|name| (ContentFrom::Variable(name), &key.node))),
                "command" => sources.push((ContentFrom::Command(self.texts(&key.node, &at)), &key.node)),
                "driver" => driver = self.text(&key.node, &at),
                "driver_opts" => options = Some(self.options(&key.node, &at)),
                "template_driver" => {
                    spec.extend(self.text(&key.node, &at).map(|driver| ("Templating".to_owned(), json!({ "Name": driver }))));
                }
                _ => self.unknown(key, path),
            }
            if key.key != "name" {
                others.push(key);
            }
        }
        self.only_external(external, &others, path);
        let name = name.unwrap_or_else(|| if external { entry.key.clone() } else { self.scoped(&entry.key) });
        spec.insert("Labels".into(), self.stack_labels(labels));
        if let [_, (_, second), ..] = &sources[..] {
            self.say(second.at, path, "its content comes from two places", "write one of file:, environment: and command:");
            return None;
        }
        let sourced = !sources.is_empty();
        let data = match sources.pop().filter(|_| !external) {
            Some((from, node)) => match self.content(&from) {
                Ok(data) => Some((data, node)),
                Err((why, fix)) => {
                    self.say(node.at, &format!("{path}.{}", from.key()), why, fix);
                    return None;
                }
            },
            None => None,
        };
        if driver.as_ref().is_some_and(|driver| !driver.is_empty()) && !external && sourced {
            self.say(entry.at, path, "it has a driver and content of its own", "write driver:, or where its content comes from");
        }
        let driver = driver.map(|name| match options {
            Some(options) => json!({ "Name": name, "Options": options }),
            None => json!({ "Name": name }),
        });
        Some(FileObject { name, external, spec, driver, data })
    }
}

/// Where the content of a secret or a config comes from.
enum ContentFrom {
    File(String),
    Variable(String),
    Command(Vec<String>),
}

impl ContentFrom {
    fn key(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Variable(_) => "environment",
            Self::Command(_) => "command",
        }
    }
}

impl Reader<'_> {
    /// The content, or what is wrong and what to do.
    fn content(&self, from: &ContentFrom) -> Result<Vec<u8>, (String, &'static str)> {
        match from {
            ContentFrom::File(file) => {
                let full = self.context.folder.join(expand(file, self.context));
                (self.context.file)(&full).map_err(|why| (format!("{} cannot be read: {why}", full.display()), "correct the path"))
            }
            ContentFrom::Variable(name) => {
                let unset = || (format!("the variable {name} is not set"), "set it, or give it with --env-file");
                (self.context.variable)(name).map(String::into_bytes).ok_or_else(unset)
            }
            ContentFrom::Command(argv) if argv.is_empty() => Err(("it is empty".into(), "write the program and its arguments as a list")),
            ContentFrom::Command(argv) => {
                let failed = |why| (format!("{}: {why}", argv.first().map_or("", String::as_str)), "run it by hand to see why");
                (self.context.command)(argv).map_err(failed)
            }
        }
    }
}

struct FileObject<'n> {
    name: String,
    external: bool,
    spec: Map<String, Json>,
    driver: Option<Json>,
    data: Option<(Vec<u8>, &'n Node)>,
}

/// A path of which `~` is the user's folder.
pub(crate) fn expand(path: &str, context: &crate::Context<'_>) -> std::path::PathBuf {
    match (path.strip_prefix('~'), (context.variable)("HOME")) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => Path::new(&home).join(rest.trim_start_matches('/')),
        _ => Path::new(path).to_owned(),
    }
}

fn no_effect(keys: &[&str]) -> String {
    format!("{} {}", keys.join(", "), if keys.len() == 1 { "is" } else { "are" })
}

/// Names of services, networks and so on (`^[a-zA-Z0-9._-]+$`).
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}
