//! The part of a service under `deploy:`, its health check, its log driver and its restart policy.

use crate::reader::Reader;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use swarm_core::spec::{Node, Value};

/// What `deploy:` says.
#[derive(Debug, Default)]
pub(crate) struct Deploy {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) mode: Option<Json>,
    pub(crate) endpoint: Option<String>,
    pub(crate) update: Option<Json>,
    pub(crate) rollback: Option<Json>,
    pub(crate) resources: Json,
    pub(crate) restart: Option<Json>,
    pub(crate) placement: Json,
    /// Whether it has no replicas at all: then nothing else about them is asked.
    pub(crate) replicas: Option<u64>,
}

impl Reader<'_> {
    pub(crate) fn deploy(&mut self, node: &Node, path: &str) -> Deploy {
        let mut deploy = Deploy { resources: json!({}), placement: json!({}), ..Deploy::default() };
        let mut mode = (None, None);
        for entry in self.entries_or_none(node, path) {
            let at = format!("{path}.{}", entry.key);
            match entry.key.as_str() {
                "mode" => mode = (self.word(&entry.node, &at, &["replicated", "global", "replicated-job", "global-job"]), entry.at),
                "endpoint_mode" => deploy.endpoint = self.word(&entry.node, &at, &["vip", "dnsrr"]),
                "replicas" => deploy.replicas = self.count(&entry.node, &at),
                "labels" => deploy.labels = self.labels(&entry.node, &at),
                "update_config" => deploy.update = Some(self.update_config(&entry.node, &at)),
                "rollback_config" => deploy.rollback = Some(self.update_config(&entry.node, &at)),
                "resources" => deploy.resources = self.resources(&entry.node, &at),
                "restart_policy" => deploy.restart = Some(self.restart_policy(&entry.node, &at)),
                "placement" => deploy.placement = self.placement(&entry.node, &at),
                _ => self.unknown(entry, path),
            }
        }
        let replicas = deploy.replicas;
        let job = |count: Option<u64>| match count {
            Some(count) => json!({ "ReplicatedJob": { "MaxConcurrent": count, "TotalCompletions": count } }),
            None => json!({ "ReplicatedJob": {} }),
        };
        deploy.mode = Some(match mode.0.as_deref() {
            Some(kind @ ("global" | "global-job")) => {
                if replicas.is_some() {
                    self.say(
                        mode.1,
                        &format!("{path}.mode"),
                        format!("mode {kind} has no replicas"),
                        "remove replicas, or use mode replicated",
                    );
                }
                if kind == "global" { json!({ "Global": {} }) } else { json!({ "GlobalJob": {} }) }
            }
            Some("replicated-job") => job(replicas),
            _ => replicas.map_or_else(|| json!({ "Replicated": {} }), |count| json!({ "Replicated": { "Replicas": count } })),
        });
        deploy
    }

    fn update_config(&mut self, node: &Node, path: &str) -> Json {
        let mut config = Map::from_iter([("Parallelism".to_owned(), json!(1))]);
        for entry in self.entries(node, path) {
            let at = format!("{path}.{}", entry.key);
            let (key, value) = match entry.key.as_str() {
                "parallelism" => ("Parallelism", self.count(&entry.node, &at).map(|n| json!(n))),
                "delay" => ("Delay", self.duration(&entry.node, &at).map(|n| json!(n))),
                "failure_action" => {
                    let words: &[&str] =
                        if path.ends_with("rollback_config") { &["pause", "continue"] } else { &["pause", "continue", "rollback"] };
                    ("FailureAction", self.word(&entry.node, &at, words).map(|w| json!(w)))
                }
                "monitor" => ("Monitor", self.duration(&entry.node, &at).map(|n| json!(n))),
                "max_failure_ratio" => ("MaxFailureRatio", self.float(&entry.node, &at).map(|n| json!(n))),
                "order" => ("Order", self.word(&entry.node, &at, &["start-first", "stop-first"]).map(|w| json!(w))),
                _ => {
                    self.unknown(entry, path);
                    continue;
                }
            };
            if let Some(value) = value {
                config.insert(key.to_owned(), value);
            }
        }
        Json::Object(config)
    }

    fn resources(&mut self, node: &Node, path: &str) -> Json {
        let mut resources = Map::new();
        for entry in self.entries(node, path) {
            let at = format!("{path}.{}", entry.key);
            let limits = match entry.key.as_str() {
                "limits" => true,
                "reservations" => false,
                _ => {
                    self.unknown(entry, path);
                    continue;
                }
            };
            let mut out = Map::new();
            for one in self.entries(&entry.node, &at) {
                let at = format!("{at}.{}", one.key);
                match one.key.as_str() {
                    "cpus" => {
                        let Some(text) = self.scalar(&one.node, &at) else { continue };
                        match swarm_workload::cpus(&text) {
                            Some(nanos) => out.insert("NanoCPUs".into(), json!(nanos)),
                            None => {
                                self.say(one.node.at, &at, format!("`{text}` is no number of CPUs"), "write a number such as 0.5");
                                None
                            }
                        };
                    }
                    "memory" => {
                        if let Some(bytes) = self.bytes(&one.node, &at) {
                            out.insert("MemoryBytes".into(), json!(bytes));
                        }
                    }
                    "pids" if limits => {
                        if let Some(count) = self.integer(&one.node, &at) {
                            out.insert("Pids".into(), json!(count));
                        }
                    }
                    "generic_resources" if !limits => {
                        let found = self.generic_resources(&one.node, &at);
                        out.insert("GenericResources".into(), found);
                    }
                    _ if limits => self.unknown(one, &at),
                    _ => self.unknown(one, &at),
                }
            }
            resources.insert(if limits { "Limits" } else { "Reservations" }.into(), Json::Object(out));
        }
        Json::Object(resources)
    }

    fn generic_resources(&mut self, node: &Node, path: &str) -> Json {
        let mut all = Vec::new();
        for (index, item) in self.items(node, path).iter().enumerate() {
            let path = format!("{path}[{index}]");
            let mut out = Map::new();
            for entry in self.entries(item, &path) {
                let path = format!("{path}.{}", entry.key);
                if entry.key != "discrete_resource_spec" {
                    self.unknown(entry, &path);
                    continue;
                }
                let (mut kind, mut value) = (None, None);
                for one in self.entries(&entry.node, &path) {
                    match one.key.as_str() {
                        "kind" => kind = self.text(&one.node, &format!("{path}.kind")),
                        "value" => value = self.integer(&one.node, &format!("{path}.value")),
                        _ => self.unknown(one, &path),
                    }
                }
                out.insert("DiscreteResourceSpec".into(), json!({ "Kind": kind, "Value": value }));
            }
            all.push(out);
        }
        json!(all)
    }

    fn restart_policy(&mut self, node: &Node, path: &str) -> Json {
        let mut policy = Map::new();
        for entry in self.entries(node, path) {
            let at = format!("{path}.{}", entry.key);
            let (key, value) = match entry.key.as_str() {
                "condition" => ("Condition", self.word(&entry.node, &at, &["none", "on-failure", "any"]).map(|w| json!(w))),
                "delay" => ("Delay", self.duration(&entry.node, &at).map(|n| json!(n))),
                "max_attempts" => ("MaxAttempts", self.count(&entry.node, &at).map(|n| json!(n))),
                "window" => ("Window", self.duration(&entry.node, &at).map(|n| json!(n))),
                _ => {
                    self.unknown(entry, path);
                    continue;
                }
            };
            policy.extend(value.map(|value| (key.to_owned(), value)));
        }
        Json::Object(policy)
    }

    /// `restart:`, where there is no `deploy.restart_policy`.
    pub(crate) fn restart(&mut self, node: &Node, path: &str) -> Option<Json> {
        let text = self.text(node, path)?;
        let (name, count) = text.split_once(':').map_or((text.as_str(), None), |(name, count)| (name, Some(count)));
        match (name, count) {
            ("no" | "", None) => None,
            ("always" | "unless-stopped", None) => Some(json!({ "Condition": "any" })),
            ("on-failure", None) => Some(json!({ "Condition": "on-failure", "MaxAttempts": 0 })),
            ("on-failure", Some(count)) if count.parse::<u32>().is_ok() => {
                Some(json!({ "Condition": "on-failure", "MaxAttempts": count.parse::<u32>().unwrap_or(0) }))
            }
            _ => {
                self.say(node.at, path, format!("`{text}` is no restart policy"), "write no, always, unless-stopped or on-failure[:COUNT]");
                None
            }
        }
    }

    fn placement(&mut self, node: &Node, path: &str) -> Json {
        let mut placement = Map::new();
        for entry in self.entries(node, path) {
            let at = format!("{path}.{}", entry.key);
            match entry.key.as_str() {
                "constraints" => {
                    let list = self.texts(&entry.node, &at);
                    placement.insert("Constraints".into(), json!(list));
                }
                "preferences" => {
                    let mut list = Vec::new();
                    for (index, item) in self.items(&entry.node, &at).iter().enumerate() {
                        let at = format!("{at}[{index}]");
                        let mut spread = String::new();
                        for one in self.entries(item, &at) {
                            match one.key.as_str() {
                                "spread" => spread = self.text(&one.node, &format!("{at}.spread")).unwrap_or_default(),
                                _ => self.unknown(one, &at),
                            }
                        }
                        list.push(json!({ "Spread": { "SpreadDescriptor": spread } }));
                    }
                    placement.insert("Preferences".into(), json!(list));
                }
                "max_replicas_per_node" => {
                    if let Some(count) = self.count(&entry.node, &at) {
                        placement.insert("MaxReplicas".into(), json!(count));
                    }
                }
                _ => self.unknown(entry, path),
            }
        }
        Json::Object(placement)
    }

    pub(crate) fn healthcheck(&mut self, node: &Node, path: &str) -> Option<Json> {
        let mut check = Map::new();
        let (mut disable, mut test) = (false, Vec::new());
        for entry in self.entries(node, path) {
            let at = format!("{path}.{}", entry.key);
            let (key, value) = match entry.key.as_str() {
                "disable" => {
                    disable = self.boolean(&entry.node, &at).unwrap_or(false);
                    continue;
                }
                "test" => {
                    test = match &entry.node.value {
                        Value::Text(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
                        _ => self.texts(&entry.node, &at),
                    };
                    continue;
                }
                "interval" => ("Interval", self.duration(&entry.node, &at)),
                "timeout" => ("Timeout", self.duration(&entry.node, &at)),
                "start_period" => ("StartPeriod", self.duration(&entry.node, &at)),
                "start_interval" => ("StartInterval", self.duration(&entry.node, &at)),
                "retries" => ("Retries", self.count(&entry.node, &at)),
                _ => {
                    self.unknown(entry, path);
                    continue;
                }
            };
            check.extend(value.map(|value| (key.to_owned(), json!(value))));
        }
        if disable {
            if !test.is_empty() {
                self.say(node.at, path, "a check that is disabled has no test", "remove test, or disable");
            }
            return Some(json!({ "Test": ["NONE"] }));
        }
        if !test.is_empty() {
            check.insert("Test".into(), json!(test));
        }
        Some(Json::Object(check))
    }

    pub(crate) fn logging(&mut self, node: &Node, path: &str) -> Json {
        let mut driver = Map::new();
        for entry in self.entries(node, path) {
            let at = format!("{path}.{}", entry.key);
            match entry.key.as_str() {
                "driver" => driver.extend(self.text(&entry.node, &at).map(|name| ("Name".to_owned(), json!(name)))),
                "options" => {
                    let options: BTreeMap<String, String> = self.labels(&entry.node, &at);
                    driver.insert("Options".into(), json!(options));
                }
                _ => self.unknown(entry, path),
            }
        }
        Json::Object(driver)
    }
}
