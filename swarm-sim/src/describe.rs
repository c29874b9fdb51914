//! A world described by a file: what each host of a cluster file is like before anything is done.
//!
//! ```yaml
//! hosts:
//!   m1: { state: member }                          # standalone (default) | member | other-swarm | unreachable | engine-down | no-engine
//!   w1: { state: unreachable, engine: "27.3.1" }
//!   w2: { hostname: node-7, slow: 200ms }
//! services: 1                                      # each runs on every node
//! ```

use crate::{HostOptions, Incident, World};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use swarm_core::id::HostName;
use swarm_core::plan::PlanOptions;
use swarm_core::spec::{Location, Node, Problem, Problems, Severity, Value, parse_duration};
use swarm_core::{Apply, ClusterSpec};

const STATES: [&str; 6] = ["standalone", "member", "other-swarm", "unreachable", "engine-down", "no-engine"];

#[derive(Debug, Default, Clone)]
struct Described {
    state: String,
    engine: Option<String>,
    hostname: Option<String>,
    slow: Option<Duration>,
}

/// What a file says of a world.
#[derive(Debug, Default, Clone)]
pub struct Description {
    hosts: BTreeMap<HostName, Described>,
    services: usize,
}

impl Description {
    /// Reads a description. Its hosts must be those of the cluster file; those it does not name are standalone.
    ///
    /// # Errors
    /// Every problem, with its place and its fix.
    pub fn read(node: &Node, spec: &ClusterSpec) -> Result<Self, Problems> {
        let mut reader = Reader::default();
        let mut described = Self::default();
        for (key, at, value) in reader.map("", node) {
            match key.as_str() {
                "hosts" => {
                    for (name, at, host) in reader.map("hosts", value) {
                        let name = HostName::new(name);
                        if spec.host(&name).is_none() {
                            let known: Vec<&str> = spec.hosts().map(|h| h.name.as_str()).collect();
                            reader.say(
                                &format!("hosts.{name}"),
                                at,
                                "the cluster file has no such host",
                                &format!("it has {}", known.join(", ")),
                            );
                            continue;
                        }
                        let host = reader.host(&format!("hosts.{name}"), host);
                        described.hosts.insert(name, host);
                    }
                }
                "services" => match text(value).and_then(|t| t.parse().ok()) {
                    Some(count) => described.services = count,
                    None => reader.say("services", value.at, "this is no number", "write how many services there are"),
                },
                _ => reader.say(&key, at, "unknown key", "the keys are hosts, services"),
            }
        }
        if reader.0.is_empty() { Ok(described) } else { Err(Problems(reader.0)) }
    }

    /// Makes the world, with its members in a swarm already.
    pub async fn world(&self, spec: &ClusterSpec, seed: u64) -> World {
        let world = World::new(seed);
        for host in spec.hosts() {
            let mut options = HostOptions::of(host);
            if let Some(described) = self.hosts.get(&host.name) {
                options.hostname = described.hostname.clone().unwrap_or(options.hostname);
                options.engine = if described.state == "no-engine" { None } else { described.engine.clone().or(options.engine) };
            }
            world.add_host(options);
        }
        let members: BTreeSet<HostName> = self.in_state("member").cloned().collect();
        if !members.is_empty() {
            let fleet = world.fleet("before");
            let options = PlanOptions { limit: Some(members), ..PlanOptions::default() };
            let apply = Apply::new(spec, &fleet).options(options);
            if let Ok((plan, observed)) = apply.plan().await {
                apply.run(&plan, &observed).await;
            }
        }
        for _ in 0..self.services {
            world.cause(&Incident::ServiceAppears);
        }
        for host in self.in_state("other-swarm") {
            world.cause(&Incident::JoinsForeign(host.clone()));
        }
        for host in self.in_state("unreachable") {
            world.cause(&Incident::OperatorCutOff(host.clone()));
        }
        for host in self.in_state("engine-down") {
            world.cause(&Incident::EngineStops(host.clone()));
        }
        for (host, described) in &self.hosts {
            if let Some(slow) = described.slow {
                world.cause(&Incident::Slow(host.clone(), slow));
            }
        }
        world
    }

    fn in_state<'a>(&'a self, state: &'a str) -> impl Iterator<Item = &'a HostName> {
        self.hosts.iter().filter(move |(_, d)| d.state == state).map(|(name, _)| name)
    }
}

#[derive(Default)]
struct Reader(Vec<Problem>);

fn text(node: &Node) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => None,
    }
}

impl Reader {
    fn say(&mut self, path: &str, at: Option<Location>, message: &str, fix: &str) {
        self.0.push(Problem { severity: Severity::Error, path: path.into(), at, message: message.into(), fix: fix.into() });
    }

    fn map<'a>(&mut self, path: &str, node: &'a Node) -> Vec<(String, Option<Location>, &'a Node)> {
        match &node.value {
            Value::Map(entries) => entries.iter().map(|e| (e.key.clone(), e.at, &e.node)).collect(),
            Value::Null => Vec::new(),
            other => {
                self.say(path, node.at, &format!("this is {}", other.kind()), "write a mapping");
                Vec::new()
            }
        }
    }

    fn host(&mut self, path: &str, node: &Node) -> Described {
        let mut host = Described { state: "standalone".into(), ..Described::default() };
        for (key, at, value) in self.map(path, node) {
            let path = format!("{path}.{key}");
            let said = text(value);
            match (key.as_str(), said) {
                ("state", Some(state)) if STATES.contains(&state.as_str()) => host.state = state,
                ("state", _) => self.say(&path, value.at, "this is no state", &format!("write one of {}", STATES.join(", "))),
                ("engine", Some(version)) => host.engine = Some(version),
                ("hostname", Some(name)) => host.hostname = Some(name),
                ("slow", Some(time)) => match parse_duration(&time) {
                    Some(time) => host.slow = Some(time),
                    None => self.say(&path, value.at, "this is no duration", "write a number with its unit, such as 200ms"),
                },
                ("engine" | "hostname" | "slow", None) => self.say(&path, value.at, "this is no text", "write a text"),
                _ => self.say(&path, at, "unknown key", "the keys are state, engine, hostname, slow"),
            }
        }
        host
    }
}
