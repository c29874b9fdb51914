//! Objects of a simulated swarm, kept as raw JSON as a real one keeps them, and what becomes of services: a reconciler makes their tasks,
//! places them, lets them run or fail, and rolls updates (swarmkit `manager/orchestrator`, `manager/scheduler`, `manager/controlapi`).

use super::api::Said;
use super::kept::{Objects, SimTask, Stored};
use super::state::State;
use super::swarm::{HostName, Node, NodeId};
use super::words::{self, Words};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use swarm_core::engine::{Kind, NodeChange, Object, Query};
use swarm_core::observe::{NodeFacts, NodeState};
use swarm_core::spec::{Availability, Role};

/// How long after a failed task the next one of its place is made.
pub(super) const RESTART: Duration = Duration::from_secs(2);
/// How long tasks run at most that end by themselves.
pub(super) const RUNS: Duration = Duration::from_millis(400);

fn at(time: Duration) -> String {
    format!("{:016.6}", time.as_secs_f64())
}

pub(super) fn template(spec: &Value) -> Value {
    json!([spec.get("TaskTemplate"), spec.pointer("/EndpointSpec/Ports")])
}

pub(super) fn number(spec: &Value, pointer: &str) -> Option<u64> {
    spec.pointer(pointer).and_then(Value::as_u64)
}

pub(super) fn text<'a>(spec: &'a Value, pointer: &str) -> &'a str {
    spec.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The ids of objects that a service refers to.
pub(crate) fn refers_to(spec: &Value, id: &str) -> bool {
    let lists = [
        ("/TaskTemplate/ContainerSpec/Secrets", "SecretID"),
        ("/TaskTemplate/ContainerSpec/Configs", "ConfigID"),
        ("/TaskTemplate/Networks", "Target"),
    ];
    lists.iter().any(|(list, key)| {
        let entries = spec.pointer(list).and_then(Value::as_array);
        entries.into_iter().flatten().any(|entry| entry.get(key).and_then(Value::as_str) == Some(id))
    })
}

impl Objects {
    fn object(&self, id: &str, stored: &Stored) -> Object {
        let mut spec = stored.spec.clone();
        if let (Kind::Secret, Some(map)) = (stored.kind, spec.as_object_mut()) {
            map.remove("Data");
        }
        if stored.kind == Kind::Network {
            let mut network = spec;
            if let Some(map) = network.as_object_mut() {
                map.extend([
                    ("Id".to_owned(), json!(id)),
                    ("Scope".to_owned(), json!("swarm")),
                    ("Created".to_owned(), json!(at(stored.created))),
                ]);
            }
            return made(&network);
        }
        let mut object = json!({ "ID": id, "Version": { "Index": stored.version }, "CreatedAt": at(stored.created), "Spec": spec });
        if let (Kind::Service, Some(map)) = (stored.kind, object.as_object_mut()) {
            let wanted: Vec<&SimTask> = self.tasks.iter().filter(|t| t.service == id).collect();
            let running = wanted.iter().filter(|t| t.is_wanted() && t.state == "running").count();
            let completed = wanted.iter().filter(|t| t.state == "complete").count();
            let desired = match number(&stored.spec, "/Mode/Replicated/Replicas") {
                Some(count) => count,
                None if stored.spec.pointer("/Mode/Global").is_some() => wanted.iter().filter(|t| t.is_wanted()).count() as u64,
                None => 1,
            };
            map.insert("ServiceStatus".into(), json!({ "RunningTasks": running, "DesiredTasks": desired, "CompletedTasks": completed }));
            if let Some(previous) = &stored.previous {
                map.insert("PreviousSpec".into(), previous.clone());
            }
            if let Some((state, message, _)) = &stored.update {
                map.insert("UpdateStatus".into(), json!({ "State": state, "Message": message }));
            }
        }
        made(&object)
    }

    fn task(task: &SimTask) -> Object {
        made(&json!({
            "ID": task.id, "ServiceID": task.service, "Slot": task.slot, "NodeID": task.node.as_ref().map(NodeId::as_str).unwrap_or_default(),
            "DesiredState": task.desired, "CreatedAt": at(task.created), "Status": { "State": task.state, "Err": task.error },
            "Spec": task.template.get(0),
        }))
    }

    fn fits(object: &Object, query: &Query) -> bool {
        query.filters.iter().all(|(filter, values)| match filter.as_str() {
            "label" => values.iter().all(|label| match label.split_once('=') {
                Some((key, value)) => object.label(key).as_deref() == Some(value),
                None => object.label(label).is_some(),
            }),
            "name" => values.iter().any(|name| object.name().starts_with(name.as_str())),
            "id" => values.iter().any(|id| object.id() == id),
            "service" => values.iter().any(|id| object.text("/ServiceID").as_deref() == Some(id)),
            _ => true,
        })
    }

    fn list(&self, query: &Query) -> Vec<Object> {
        if query.kind == Kind::Task {
            return self.tasks.iter().map(Self::task).filter(|o| Self::fits(o, query)).collect();
        }
        let of_kind = self.stored.iter().filter(|(_, s)| s.kind == query.kind).map(|(id, s)| self.object(id, s));
        let ghosts = self.ghosts().filter(|_| query.kind == Kind::Network).map(|(id, s)| {
            let mut ghost = self.object(id, s).value();
            if let Some(map) = ghost.as_object_mut() {
                map.insert("Containers".into(), json!({}));
            }
            made(&ghost)
        });
        of_kind.chain(ghosts).filter(|o| Self::fits(o, query)).collect()
    }

    /// Networks that the swarm has no more, and that its engines list as long as tasks of removed services are ending in them.
    fn ghosts(&self) -> impl Iterator<Item = &(String, Stored)> {
        let used = |id: &str| self.tasks.iter().any(|t| !t.has_ended() && refers_to(&json!({ "TaskTemplate": t.template.get(0) }), id));
        self.ghosts.iter().filter(move |(id, _)| used(id))
    }

    fn named(&self, kind: Kind, name: &str) -> Option<&String> {
        self.stored.iter().find(|(id, s)| s.kind == kind && (s.name == name || *id == name)).map(|(id, _)| id)
    }
}

impl State {
    pub(crate) fn list_objects(&self, host: &HostName, query: &Query) -> Said<Vec<Object>> {
        if query.kind == Kind::Node {
            return match self.nodes(host) {
                Said::Now(nodes) => Said::Now(nodes.iter().map(node_object).collect()),
                Said::No(words) => Said::No(words),
                Said::Wait => Said::Wait,
            };
        }
        // A filter for a service that is not there is an error (moby `daemon/cluster/tasks.go`).
        if query.kind == Kind::Task {
            for service in query.filters.get("service").into_iter().flatten() {
                match self.asked(host, false, |s, _| s.objects.named(Kind::Service, service).is_some()) {
                    Said::Now(true) => {}
                    Said::Now(false) => return Said::No(words::no_such_object(Kind::Service, service)),
                    Said::No(words) => return Said::No(words),
                    Said::Wait => return Said::Wait,
                }
            }
        }
        self.asked(host, false, |s, _| s.objects.list(query))
    }

    pub(crate) fn get_object(&self, host: &HostName, kind: Kind, id: &str) -> Said<Object> {
        if kind == Kind::Node {
            return match self.nodes(host) {
                Said::Now(nodes) => match nodes.iter().find(|n| n.id.as_str() == id) {
                    Some(node) => Said::Now(node_object(node)),
                    None => Said::No(words::no_such_node(&NodeId::new(id))),
                },
                Said::No(words) => Said::No(words),
                Said::Wait => Said::Wait,
            };
        }
        match self.asked(host, false, |s, _| s.objects.named(kind, id).and_then(|id| Some(s.objects.object(id, s.objects.stored.get(id)?))))
        {
            Said::Now(Some(object)) => Said::Now(object),
            Said::Now(None) => Said::No(words::no_such_object(kind, id)),
            Said::No(words) => Said::No(words),
            Said::Wait => Said::Wait,
        }
    }

    /// What a change of objects works on; an answer where it cannot.
    fn books(&mut self, host: &HostName) -> Result<usize, Said<()>> {
        match self.asked(host, true, |_, index| index) {
            Said::Now(index) => Ok(index),
            Said::No(words) => Err(Said::No(words)),
            Said::Wait => Err(Said::Wait),
        }
    }

    pub(crate) fn create_object(&mut self, host: &HostName, kind: Kind, body: &Value) -> Said<String> {
        let index = match self.books(host) {
            Ok(index) => index,
            Err(Said::No(words)) => return Said::No(words),
            Err(_) => return Said::Wait,
        };
        let id = self.id(kind.word().chars().next().unwrap_or('o'));
        let now = self.now;
        let Some(s) = self.swarms.get_mut(index) else { return Said::No(words::not_in_swarm()) };
        let name = text(body, "/Name").to_owned();
        if s.objects.named(kind, &name).is_some() {
            return Said::No(words::name_taken(kind, &name));
        }
        if kind == Kind::Network && s.objects.ghosts().any(|(_, ghost)| ghost.name == name) {
            return Said::No(words::network_there(&name));
        }
        let mut spec = body.clone();
        if kind == Kind::Service
            && let Err(words) = s.objects.resolve(&mut spec)
        {
            return Said::No(words);
        }
        s.version += 1;
        let stored = Stored { kind, name: name.clone(), version: s.version, created: now, spec, previous: None, update: None };
        s.objects.stored.insert(id.clone(), stored);
        self.say(host, format!("created {kind} {name}"));
        self.disturb();
        Said::Now(id)
    }

    /// A node's whole specification takes the place of what it was.
    fn replace_node(&mut self, host: &HostName, id: &str, version: u64, spec: &Value) -> Said<()> {
        let nodes = match self.nodes(host) {
            Said::Now(nodes) => nodes,
            Said::No(words) => return Said::No(words),
            Said::Wait => return Said::Wait,
        };
        let id = NodeId::new(id);
        let Some(node) = nodes.iter().find(|n| n.id == id) else { return Said::No(words::no_such_node(&id)) };
        let mut labels: BTreeMap<String, Option<String>> = node.labels.keys().map(|key| (key.clone(), None)).collect();
        let given = spec.get("Labels").and_then(Value::as_object);
        labels.extend(given.into_iter().flatten().map(|(key, value)| (key.clone(), value.as_str().map(str::to_owned))));
        let availability = match text(spec, "/Availability") {
            "drain" => Availability::Drain,
            "pause" => Availability::Pause,
            _ => Availability::Active,
        };
        let role = if text(spec, "/Role") == "manager" { Role::Manager } else { Role::Worker };
        self.update_node(host, &id, version, &NodeChange { role: Some(role), availability: Some(availability), labels })
    }

    pub(crate) fn update_object(&mut self, host: &HostName, kind: Kind, id: &str, version: u64, body: &Value, rollback: bool) -> Said<()> {
        if kind == Kind::Node {
            return self.replace_node(host, id, version, body);
        }
        let index = match self.books(host) {
            Ok(index) => index,
            Err(said) => return said,
        };
        let now = self.now;
        let Some(s) = self.swarms.get_mut(index) else { return Said::No(words::not_in_swarm()) };
        let next = s.version + 1;
        let Some(id) = s.objects.named(kind, id).cloned() else { return Said::No(words::no_such_object(kind, id)) };
        let mut spec = body.clone();
        if kind == Kind::Service
            && let Err(words) = s.objects.resolve(&mut spec)
        {
            return Said::No(words);
        }
        let Some(stored) = s.objects.stored.get_mut(&id) else { return Said::No(words::no_such_object(kind, &id)) };
        // What else is to change is looked at before the version is.
        let data = spec.get("Data").filter(|data| data.as_str().is_some_and(|d| !d.is_empty()));
        if matches!(kind, Kind::Secret | Kind::Config)
            && (text(&spec, "/Name") != stored.name || data.is_some_and(|data| Some(data) != stored.spec.get("Data")))
        {
            return Said::No(words::only_labels());
        }
        if stored.version != version {
            return Said::No(words::out_of_sequence());
        }
        match kind {
            Kind::Service => {
                let new = if rollback { stored.previous.clone().unwrap_or(spec) } else { spec };
                // Tasks of before that an earlier update had not come to are taken now (swarmkit `manager/orchestrator/update`).
                let behind = |t: &SimTask| t.service == id && t.is_wanted() && t.template != template(&new);
                let rolls = template(&new) != template(&stored.spec) || s.objects.tasks.iter().any(behind);
                stored.previous = Some(std::mem::replace(&mut stored.spec, new));
                let state = if rollback { "rollback_started" } else { "updating" };
                stored.update = rolls.then(|| (state, "update in progress".to_owned(), now));
            }
            // Only labels can be changed.
            _ => {
                if let (Some(labels), Some(map)) = (spec.get("Labels"), stored.spec.as_object_mut()) {
                    map.insert("Labels".into(), labels.clone());
                }
            }
        }
        (stored.version, s.version) = (next, next);
        let name = stored.name.clone();
        self.say(host, format!("updated {kind} {name}"));
        self.disturb();
        Said::Now(())
    }

    pub(crate) fn remove_object(&mut self, host: &HostName, kind: Kind, id: &str) -> Said<()> {
        let index = match self.books(host) {
            Ok(index) => index,
            Err(said) => return said,
        };
        let now = self.now;
        let Some(s) = self.swarms.get_mut(index) else { return Said::No(words::not_in_swarm()) };
        let Some(id) = s.objects.named(kind, id).cloned() else { return Said::No(words::no_such_object(kind, id)) };
        let user = s.objects.stored.values().find(|o| o.kind == Kind::Service && refers_to(&o.spec, &id)).map(|o| o.name.clone());
        let task = kind == Kind::Network
            && s.objects
                .tasks
                .iter()
                .any(|t| !t.has_ended() && t.desired != "remove" && refers_to(&json!({ "TaskTemplate": t.template.get(0) }), &id));
        let name = s.objects.stored.get(&id).map(|o| o.name.clone()).unwrap_or_default();
        if let Some(user) = user {
            return Said::No(words::in_use(kind, &name, &user));
        }
        if task {
            return Said::No(words::network_in_use(&id));
        }
        if let Some(network) = s.objects.stored.remove(&id).filter(|o| o.kind == Kind::Network) {
            s.objects.ghosts.push((id.clone(), network));
        }
        for task in s.objects.tasks.iter_mut().filter(|t| t.service == id && t.is_wanted()) {
            (task.desired, task.since) = ("remove", now);
        }
        s.version += 1;
        self.say(host, format!("removed {kind} {name}"));
        self.disturb();
        Said::Now(())
    }

    /// One tick of the reconciler. Gives whether nothing is about to happen.
    pub(super) fn work(&mut self, index: usize) -> bool {
        if self.leads(index).is_none() {
            return true;
        }
        let now = self.now;
        let images = self.images.clone();
        let ids: Vec<String> = (0..64).map(|_| self.id('t')).collect();
        let mut ids = ids.into_iter();
        let Some(s) = self.swarms.get_mut(index) else { return true };
        let nodes: Vec<Node> = s.nodes.values().cloned().collect();
        s.objects.lives(&nodes, &images, now);
        let services: Vec<String> = s.objects.stored.iter().filter(|(_, o)| o.kind == Kind::Service).map(|(id, _)| id.clone()).collect();
        for id in &services {
            let changed = s.objects.reconcile(id, &nodes, now, &mut ids);
            if changed {
                s.version += 1;
                let version = s.version;
                if let Some(stored) = s.objects.stored.get_mut(id) {
                    stored.version = version;
                }
            }
        }
        s.objects.tasks.retain(|t| !(t.desired == "remove" && t.has_ended()));
        let waits = s.objects.tasks.iter().any(|t| t.is_wanted() && t.state != "running" || t.desired == "remove");
        let rolls = s.objects.stored.values().any(|o| matches!(o.update, Some(("updating" | "rollback_started", ..))));
        let young = s.objects.tasks.iter().any(|t| now < t.since + RESTART + RUNS);
        !(waits || rolls || young)
    }
}

impl Objects {
    /// Puts ids in place of names, as the engine does for networks; secrets and configs must be there by their ids.
    fn resolve(&self, spec: &mut Value) -> Result<(), Words> {
        for network in spec.pointer_mut("/TaskTemplate/Networks").and_then(Value::as_array_mut).into_iter().flatten() {
            let target = text(network, "/Target").to_owned();
            let id = self.named(Kind::Network, &target).ok_or_else(|| words::no_such_network(&target))?;
            if let Some(map) = network.as_object_mut() {
                map.insert("Target".into(), json!(id));
            }
        }
        for (list, key, kind) in [("Secrets", "SecretID", Kind::Secret), ("Configs", "ConfigID", Kind::Config)] {
            let entries = spec.pointer(&format!("/TaskTemplate/ContainerSpec/{list}")).and_then(Value::as_array);
            for entry in entries.into_iter().flatten() {
                let id = text(entry, &format!("/{key}"));
                if self.stored.get(id).is_none_or(|o| o.kind != kind) {
                    return Err(words::no_such_reference(kind, id));
                }
            }
        }
        Ok(())
    }
}

#[allow(clippy::expect_used, reason = "what the simulator makes has an id and a name")]
fn made(object: &Value) -> Object {
    Object::of(object).expect("an object with an id")
}

/// A node as the engine's API has it.
fn node_object(node: &NodeFacts) -> Object {
    let manager =
        node.manager.as_ref().map(|m| json!({ "Leader": m.leader, "Reachability": m.reachability.to_string(), "Addr": m.address }));
    let state = match &node.state {
        NodeState::Ready => "ready",
        NodeState::Down => "down",
        _ => "unknown",
    };
    made(&json!({
        "ID": node.id,
        "Version": { "Index": node.version },
        "Spec": { "Role": node.role.to_string(), "Availability": node.availability.to_string(), "Labels": node.labels },
        "Description": { "Hostname": node.hostname },
        "Status": { "State": state, "Message": node.message, "Addr": node.address },
        "ManagerStatus": manager,
    }))
}
