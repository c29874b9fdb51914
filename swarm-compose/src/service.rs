//! One service of a Compose file.

use crate::reader::{Reader, TopNetwork};
use crate::task::Deploy;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use swarm_core::spec::{Entry, Node, Value};
use swarm_workload::{IMAGE_LABEL, NAMESPACE_LABEL, ServiceWanted, StartAfter, capabilities};

/// Keys that docker reads and does nothing with in a swarm.
const IGNORED: &[&str] = &[
    "build",
    "cgroupns_mode",
    "cgroup_parent",
    "devices",
    "domainname",
    "external_links",
    "ipc",
    "links",
    "mac_address",
    "network_mode",
    "pid",
    "privileged",
    "security_opt",
    "shm_size",
    "userns_mode",
    "tmpfs",
    // In the schema, and the newest docker CLI does nothing with it in a stack.
    "oom_score_adj",
];

/// Keys that docker refuses in a stack, with what to write instead.
const REFUSED: &[(&str, &str)] = &[
    ("extends", "write the service out, or give several files with -c"),
    ("volume_driver", "set the driver of the volume at the top level"),
    ("volumes_from", "mount a volume that is named at the top level"),
    ("cpu_quota", "use deploy.resources.limits.cpus"),
    ("cpu_shares", "use deploy.resources.limits.cpus"),
    ("cpuset", "use deploy.resources.limits.cpus"),
    ("mem_limit", "use deploy.resources.limits.memory"),
    ("memswap_limit", "use deploy.resources.limits.memory"),
];

impl Reader<'_> {
    #[allow(clippy::too_many_lines, reason = "one line for each key of a service")]
    pub(crate) fn service(&mut self, entry: &Entry, path: &str) {
        let mut container = Map::new();
        let mut deploy =
            Deploy { resources: json!({}), placement: json!({}), mode: Some(json!({ "Replicated": {} })), ..Deploy::default() };
        let (mut labels, mut restart, mut logging, mut ports) = (BTreeMap::new(), None, None, json!([]));
        let (mut environment, mut env_files, mut networks, mut after) = (BTreeMap::new(), Vec::new(), None, BTreeMap::new());
        let (mut add, mut drop, mut dns, mut search) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut image, mut credentials) = (None, None);
        for key in self.entries(&entry.node, path) {
            let at = format!("{path}.{}", key.key);
            let node = &key.node;
            let mut put = |name: &str, value: Option<Json>| container.extend(value.map(|value| (name.to_owned(), value)));
            match key.key.as_str() {
                "image" => image = self.text(node, &at).map(|image| (image, node)),
                "command" => put("Args", self.command(node, &at)),
                "entrypoint" => put("Command", self.command(node, &at)),
                "environment" => environment = self.pairs(node, &at),
                "env_file" => env_files = self.env_files(node, &at),
                "deploy" => deploy = self.deploy(node, &at),
                "networks" => networks = Some((node, at)),
                "ports" => ports = self.ports(node, &at),
                "volumes" => put("Mounts", Some(self.mounts(node, &at))),
                "secrets" => put("Secrets", Some(self.references(node, &at, true))),
                "configs" => put("Configs", Some(self.references(node, &at, false))),
                "labels" => labels = self.labels(node, &at),
                "healthcheck" => put("Healthcheck", self.healthcheck(node, &at)),
                "logging" => logging = Some(self.logging(node, &at)),
                "depends_on" => after = self.depends_on(node, &at),
                "hostname" => put("Hostname", self.text(node, &at).map(|t| json!(t))),
                "user" => put("User", self.text(node, &at).map(|t| json!(t))),
                "working_dir" => put("Dir", self.text(node, &at).map(|t| json!(t))),
                "stop_signal" => put("StopSignal", self.text(node, &at).map(|t| json!(t))),
                "stop_grace_period" => put("StopGracePeriod", self.duration(node, &at).map(|n| json!(n))),
                "isolation" => put("Isolation", self.text(node, &at).map(|t| json!(t))),
                "tty" => put("TTY", self.boolean(node, &at).map(|b| json!(b))),
                "stdin_open" => put("OpenStdin", self.boolean(node, &at).map(|b| json!(b))),
                "read_only" => put("ReadOnly", self.boolean(node, &at).map(|b| json!(b))),
                "init" => put("Init", self.boolean(node, &at).map(|b| json!(b))),
                "dns" => dns = self.text_or_texts(node, &at),
                "dns_search" => search = self.text_or_texts(node, &at),
                "extra_hosts" => put("Hosts", Some(json!(self.extra_hosts(node, &at)))),
                "sysctls" => put("Sysctls", Some(json!(self.labels(node, &at)))),
                "ulimits" => put("Ulimits", Some(self.ulimits(node, &at))),
                "cap_add" => add = self.texts(node, &at),
                "cap_drop" => drop = self.texts(node, &at),
                "credential_spec" => {
                    let (privileges, config) = self.credential_spec(node, &at);
                    put("Privileges", privileges);
                    credentials = config;
                }
                "restart" => restart = self.restart(node, &at),
                "container_name" => {
                    self.deprecated.insert("container_name");
                }
                "expose" => {
                    self.deprecated.insert("expose");
                }
                other if IGNORED.contains(&other) => {
                    self.ignored.insert(other.to_owned());
                }
                other => match REFUSED.iter().find(|(name, _)| *name == other) {
                    Some((_, fix)) => self.say(key.at, &at, "a stack has no such key", *fix),
                    None => self.unknown(key, path),
                },
            }
        }
        let Some((image, node)) = image else {
            return self.say(entry.at, path, "it has no image", "add image: (a stack builds none)");
        };
        if !is_reference(&image) {
            return self.say(node.at, &format!("{path}.image"), format!("`{image}` is no image"), "write [REGISTRY/]NAME[:TAG]");
        }
        container.insert("Image".into(), json!(image));
        if let Some(config) = credentials {
            // The runtime reads it; no file is put into the task.
            let list = container.entry("Configs").or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(json!({ "ConfigName": config, "Runtime": {} }));
                list.sort_by_key(|one| one.get("ConfigName").and_then(Json::as_str).map(str::to_owned));
            }
        }
        // The docker CLI always sends it, and engines from 23 on keep that it was there: without it docker's next deploy replaces tasks.
        container.entry("Privileges").or_insert_with(|| json!({}));
        let environment = self.environment(environment, env_files);
        if !environment.is_empty() {
            container.insert("Env".into(), json!(environment));
        }
        let (add, drop) = capabilities(&add, &drop);
        container.extend((!add.is_empty()).then(|| ("CapabilityAdd".to_owned(), json!(add))));
        container.extend((!drop.is_empty()).then(|| ("CapabilityDrop".to_owned(), json!(drop))));
        if !dns.is_empty() || !search.is_empty() {
            container.insert("DNSConfig".into(), json!({ "Nameservers": dns, "Search": search }));
        }
        labels.insert(NAMESPACE_LABEL.into(), self.out.name.clone());
        container.insert("Labels".into(), json!(labels));
        deploy.labels.insert(NAMESPACE_LABEL.into(), self.out.name.clone());
        deploy.labels.insert(IMAGE_LABEL.into(), image);
        let networks = self.service_networks(networks, &entry.key);
        let mut task = Map::from_iter([
            ("ContainerSpec".to_owned(), Json::Object(container)),
            ("Networks".to_owned(), networks),
            ("Resources".to_owned(), deploy.resources),
            ("Placement".to_owned(), deploy.placement),
        ]);
        task.extend(logging.map(|driver| ("LogDriver".to_owned(), driver)));
        task.extend(deploy.restart.or(restart).map(|policy| ("RestartPolicy".to_owned(), policy)));
        let mut endpoint = Map::from_iter([("Ports".to_owned(), ports)]);
        endpoint.extend(deploy.endpoint.map(|mode| ("Mode".to_owned(), json!(mode))));
        let name = self.scoped(&entry.key);
        let mut spec = Map::from_iter([
            ("Name".to_owned(), json!(name)),
            ("Labels".to_owned(), json!(deploy.labels)),
            ("TaskTemplate".to_owned(), Json::Object(task)),
            ("EndpointSpec".to_owned(), Json::Object(endpoint)),
        ]);
        spec.extend(deploy.mode.map(|mode| ("Mode".to_owned(), mode)));
        spec.extend(deploy.update.map(|config| ("UpdateConfig".to_owned(), config)));
        spec.extend(deploy.rollback.map(|config| ("RollbackConfig".to_owned(), config)));
        let after = after.into_iter().map(|(service, when)| (self.scoped(&service), when)).collect();
        self.out.services.push(ServiceWanted { name, spec: Json::Object(spec), after });
    }

    /// A text is split as a shell splits it; without a shell's variables.
    fn command(&mut self, node: &Node, path: &str) -> Option<Json> {
        match &node.value {
            Value::Null => None,
            Value::Text(text) => match shlex::split(text) {
                Some(words) => Some(json!(words)),
                None => {
                    self.say(node.at, path, "a quote in it has no end", "close the quote, or write a list");
                    None
                }
            },
            _ => Some(json!(self.texts(node, path))),
        }
    }

    fn env_files(&mut self, node: &Node, path: &str) -> Vec<(String, Option<String>)> {
        let mut lines = Vec::new();
        for name in self.text_or_texts(node, path) {
            let full = self.context.folder.join(crate::objects::expand(&name, self.context));
            let text = match (self.context.file)(&full) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(why) => {
                    self.say(node.at, path, format!("{} cannot be read: {why}", full.display()), "correct the path");
                    continue;
                }
            };
            for (key, value) in env_lines(&text) {
                match value {
                    Some(_) if key.is_empty() || key.contains(char::is_whitespace) => {
                        self.say(node.at, path, format!("{}: `{key}` is no name of a variable", full.display()), "correct the line");
                    }
                    Some(value) => lines.push((key, Some(value))),
                    // A name alone is taken from the environment, or left out.
                    None => lines.extend((self.context.variable)(&key).map(|value| (key, Some(value)))),
                }
            }
        }
        lines
    }

    /// Puts the variables of a service's files into its `environment`.
    pub(crate) fn resolve_variables(&mut self, entries: &mut Vec<Entry>, path: &str) {
        let find = |name: &str| entries.iter().find(|entry| entry.key == name).map(|entry| entry.node.clone());
        let (files, own) = (find("env_file"), find("environment"));
        let at = own.as_ref().or(files.as_ref()).and_then(|node| node.at);
        if at.is_none() {
            return;
        }
        let lines = files.map_or_else(Vec::new, |node| self.env_files(&node, &format!("{path}.env_file")));
        let own = own.map_or_else(BTreeMap::new, |node| self.pairs(&node, &format!("{path}.environment")));
        let variables = self.variables(own, lines).into_iter().map(|(key, value)| Entry {
            key,
            at,
            node: Node { value: value.map_or(Value::Null, Value::Text), at },
        });
        let node = Node { value: Value::Map(variables.collect()), at };
        entries.retain(|entry| !matches!(entry.key.as_str(), "env_file" | "environment"));
        entries.push(Entry { key: "environment".into(), at, node });
    }

    /// What has no value gets it from the environment.
    fn variables(
        &mut self,
        own: BTreeMap<String, Option<String>>,
        files: Vec<(String, Option<String>)>,
    ) -> BTreeMap<String, Option<String>> {
        let mut all: BTreeMap<String, Option<String>> = BTreeMap::new();
        for (key, value) in files.into_iter().chain(own) {
            let empty = value.as_deref().is_none_or(str::is_empty);
            let value = if empty { (self.context.variable)(&key).or(value) } else { value };
            all.insert(key, value);
        }
        all
    }

    /// `NAME=VALUE`, sorted.
    fn environment(&mut self, own: BTreeMap<String, Option<String>>, files: Vec<(String, Option<String>)>) -> Vec<String> {
        let all = self.variables(own, files);
        let mut lines: Vec<String> =
            all.into_iter().map(|(key, value)| value.map_or_else(|| key.clone(), |value| format!("{key}={value}"))).collect();
        lines.sort();
        lines
    }

    fn depends_on(&mut self, node: &Node, path: &str) -> BTreeMap<String, StartAfter> {
        let mut after = BTreeMap::new();
        match &node.value {
            Value::List(_) => after.extend(self.texts(node, path).into_iter().map(|name| (name, StartAfter::Started))),
            _ => {
                for entry in self.entries(node, path) {
                    let at = format!("{path}.{}", entry.key);
                    let mut when = StartAfter::Started;
                    for one in self.entries_or_none(&entry.node, &at) {
                        match one.key.as_str() {
                            "condition" => {
                                let words = ["service_started", "service_healthy", "service_completed_successfully"];
                                if self.word(&one.node, &format!("{at}.condition"), &words).as_deref()
                                    == Some("service_completed_successfully")
                                {
                                    when = StartAfter::Completed;
                                }
                            }
                            _ => self.unknown(one, &at),
                        }
                    }
                    after.insert(entry.key.clone(), when);
                }
            }
        }
        after
    }

    /// The privileges of the service, and the name of the config that it is in.
    fn credential_spec(&mut self, node: &Node, path: &str) -> (Option<Json>, Option<String>) {
        let mut spec = Map::new();
        let mut config = None;
        for entry in self.entries(node, path) {
            let at = format!("{path}.{}", entry.key);
            let key = match entry.key.as_str() {
                "file" => "File",
                "registry" => "Registry",
                "config" => "Config",
                _ => {
                    self.unknown(entry, path);
                    continue;
                }
            };
            let Some(mut text) = self.text(&entry.node, &at).filter(|text| !text.is_empty()) else { continue };
            if key == "Config" {
                let Some(name) = self.configs.get(&text).cloned() else {
                    let fix = "add it to configs: at the top level";
                    self.say(entry.node.at, &at, format!("there is no config `{text}` in the file"), fix);
                    continue;
                };
                config = Some(name.clone());
                text = name;
            }
            spec.insert(key.to_owned(), json!(text));
        }
        if spec.len() > 1 {
            self.say(node.at, path, "it has more than one of file, registry and config", "keep one");
        }
        ((spec.len() == 1).then(|| json!({ "CredentialSpec": spec })), config)
    }

    fn service_networks(&mut self, networks: Option<(&Node, String)>, service: &str) -> Json {
        let mut chosen: Vec<(String, Option<Node>, String)> = Vec::new();
        let mut at = None;
        if let Some((node, path)) = networks {
            at = node.at;
            match &node.value {
                Value::List(_) => chosen.extend(self.texts(node, &path).into_iter().map(|name| (name, None, path.clone()))),
                _ => {
                    for entry in self.entries(node, &path) {
                        chosen.push((entry.key.clone(), Some(entry.node.clone()), format!("{path}.{}", entry.key)));
                    }
                }
            }
        }
        if chosen.is_empty() {
            chosen.push(("default".to_owned(), None, String::new()));
        }
        let mut out: Vec<(String, Json)> = Vec::new();
        for (key, node, path) in chosen {
            if key == "default" && !self.networks.contains_key("default") {
                let spec = json!({ "Driver": "overlay", "Labels": { NAMESPACE_LABEL: self.out.name } });
                let name = self.scoped("default");
                self.networks.insert("default".into(), TopNetwork { name, external: false, spec, used: false });
            }
            let Some(network) = self.networks.get_mut(&key) else {
                self.say(at, &path, format!("there is no network `{key}` in the file"), format!("add networks: {{ {key}: {{}} }}"));
                continue;
            };
            network.used = true;
            let name = network.name.clone();
            let mut aliases = Vec::new();
            let mut options = None;
            if let Some(node) = node {
                for one in self.entries_or_none(&node, &path) {
                    let at = format!("{path}.{}", one.key);
                    match one.key.as_str() {
                        "aliases" => aliases = self.texts(&one.node, &at),
                        "driver_opts" => options = Some(self.options(&one.node, &at)),
                        "ipv4_address" | "ipv6_address" => {
                            self.ignored.insert(format!("networks.{}", one.key));
                        }
                        _ => self.unknown(one, &path),
                    }
                }
            }
            // Networks of the node itself have no names of services.
            if !matches!(name.as_str(), "host" | "bridge" | "none") {
                aliases.push(service.to_owned());
            }
            let mut attachment = json!({ "Target": name });
            if let Some(map) = attachment.as_object_mut() {
                map.extend((!aliases.is_empty()).then(|| ("Aliases".to_owned(), json!(aliases))));
                map.extend(options.map(|options| ("DriverOpts".to_owned(), json!(options))));
            }
            out.push((name, attachment));
        }
        out.sort_by(|a, b| a.0.cmp(&b.0));
        json!(out.into_iter().map(|(_, attachment)| attachment).collect::<Vec<_>>())
    }
}

/// The lines of a file of variables: each name with its value as it stands, or with none. Comments and empty lines are left out.
pub fn env_lines(text: &str) -> Vec<(String, Option<String>)> {
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim_start).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let pair = |line: &str| match line.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (line.trim_end().to_owned(), None),
    };
    lines.map(pair).collect()
}

/// Whether a text can name an image (distribution `reference/regexp.go`, without its finer points).
fn is_reference(text: &str) -> bool {
    let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
    if digest.is_some_and(|d| {
        let lengths = |kind: &str| match kind {
            "sha256" => 64..=64,
            "sha384" => 96..=96,
            "sha512" => 128..=128,
            _ => 32..=usize::MAX,
        };
        let fits = |(kind, hex): (&str, &str)| {
            !kind.is_empty() && lengths(kind).contains(&hex.len()) && hex.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
        };
        !d.split_once(':').is_some_and(fits)
    }) {
        return false;
    }
    let (path, tag) = match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (name, None),
    };
    let is_tag = |tag: &str| {
        !tag.is_empty()
            && tag.len() <= 128
            && !tag.starts_with(['.', '-'])
            && tag.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return false;
    }
    let parts: Vec<&str> = path.split('/').collect();
    let is_host = |part: &str| part.contains(['.', ':']) || part == "localhost";
    parts.iter().enumerate().all(|(index, part)| {
        let host = index == 0 && parts.len() > 1 && is_host(part);
        let fits =
            |c: char| c.is_ascii_digit() || "._-".contains(c) || c.is_ascii_lowercase() || (host && (c.is_ascii_uppercase() || c == ':'));
        !part.is_empty()
            && part.chars().all(fits)
            && part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::is_reference;

    #[test]
    fn references() {
        for good in [
            "nginx",
            "nginx:1.25",
            "localhost:5000/a/b:x",
            "ghcr.io/Org".to_lowercase().as_str(),
            "a__b/c-d",
            "x@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        ] {
            assert!(is_reference(good), "{good}");
        }
        for bad in ["", "Nginx", "a//b", "a:", "a b", "-a", "x@sha256:zz", "a:b:c"] {
            assert!(!is_reference(bad), "{bad}");
        }
    }
}
