//! Why a task found no node, node by node: what the scheduler's filters look at (swarmkit `manager/scheduler/filter.go`), with who has it instead.
//! The managers say how many nodes fail by each filter, and not which.

use crate::placement::misfit;
use crate::units::cpus_text;
use serde_json::Value;
use std::collections::BTreeMap;
use swarm_core::engine::Object;
use swarm_core::id::NodeId;
use swarm_core::observe::{NodeFacts, NodeState, Offers};
use swarm_core::spec::{Availability, Role};

/// What placement needs of a node, from the object as managers list it.
fn facts(node: &Object) -> NodeFacts {
    let text = |at: &str| node.text(at).unwrap_or_default().into_owned();
    let labels = |at: &str| -> BTreeMap<String, String> {
        let map = node.part(at);
        let entries = map.as_ref().and_then(Value::as_object).into_iter().flatten();
        entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    };
    NodeFacts {
        id: NodeId::new(node.id()),
        version: node.version(),
        created_at: String::new(),
        hostname: text("/Description/Hostname"),
        role: if text("/Spec/Role") == "manager" { Role::Manager } else { Role::Worker },
        availability: match text("/Spec/Availability").as_str() {
            "pause" => Availability::Pause,
            "drain" => Availability::Drain,
            _ => Availability::Active,
        },
        labels: labels("/Spec/Labels"),
        state: match text("/Status/State").as_str() {
            "ready" => NodeState::Ready,
            "down" => NodeState::Down,
            "disconnected" => NodeState::Disconnected,
            _ => NodeState::Unknown,
        },
        message: String::new(),
        address: String::new(),
        engine_version: String::new(),
        manager: None,
        root: String::new(),
        offers: Offers {
            os: text("/Description/Platform/OS"),
            architecture: text("/Description/Platform/Architecture"),
            nano_cpus: node.number("/Description/Resources/NanoCPUs").unwrap_or(0),
            memory: node.number("/Description/Resources/MemoryBytes").unwrap_or(0),
            labels: labels("/Description/Engine/Labels"),
        },
    }
}

/// The ports of the nodes themselves that a specification publishes.
fn host_ports(spec: &Value) -> Vec<String> {
    let ports = spec.pointer("/EndpointSpec/Ports").and_then(Value::as_array).into_iter().flatten();
    let on_hosts = ports.filter(|p| p.get("PublishMode").and_then(Value::as_str) == Some("host"));
    let number = |p: &Value| p.get("PublishedPort").and_then(Value::as_u64).filter(|port| *port > 0);
    let protocol = |p: &Value| p.get("Protocol").and_then(Value::as_str).unwrap_or("tcp").to_owned();
    on_hosts.filter_map(|p| Some(format!("{}/{}", number(p)?, protocol(p)))).collect()
}

fn reserved(spec: &Value, what: &str) -> u64 {
    spec.pointer(&format!("/Resources/Reservations/{what}")).and_then(Value::as_u64).unwrap_or(0)
}

/// Whether a task takes its place on its node: it is wanted, or has not ended yet.
fn takes_place(task: &Object) -> bool {
    let ended =
        matches!(task.text("/Status/State").as_deref(), Some("complete" | "shutdown" | "failed" | "rejected" | "remove" | "orphaned"));
    !ended && task.text("/NodeID").is_some_and(|node| !node.is_empty())
}

/// For each node that gets no task of a service the reason: `HOST: why`.
pub(crate) fn reasons(spec: &Value, nodes: &[Object], services: &[Object], tasks: &[Object]) -> Vec<String> {
    let name = spec.get("Name").and_then(Value::as_str).unwrap_or_default();
    let own = services.iter().find(|s| s.name() == name).map(Object::id);
    let of_service = |task: &Object| services.iter().find(|s| task.text("/ServiceID").as_deref() == Some(s.id()));
    let why = |node: &NodeFacts| -> Option<String> {
        if let Some(why) = misfit(spec, node) {
            return Some(why);
        }
        let here: Vec<&Object> =
            tasks.iter().filter(|t| takes_place(t) && t.text("/NodeID").as_deref() == Some(node.id.as_str())).collect();
        let most = spec.pointer("/TaskTemplate/Placement/MaxReplicas").and_then(Value::as_u64).filter(|most| *most > 0);
        let mine = here.iter().filter(|t| own.is_some() && t.text("/ServiceID").as_deref() == own).count() as u64;
        if let Some(most) = most.filter(|most| mine >= *most) {
            return Some(format!("it has {mine} tasks of the service, and at most {most} are allowed on a node"));
        }
        let wanted = host_ports(spec);
        let taken = here.iter().filter_map(|task| of_service(task)).find_map(|other| {
            let port = host_ports(&other.spec()).into_iter().find(|port| wanted.contains(port))?;
            Some(format!("its port {port} is taken by {}", other.name()))
        });
        if taken.is_some() {
            return taken;
        }
        let template = spec.get("TaskTemplate").unwrap_or(&Value::Null);
        let used = |what: &str| here.iter().map(|t| reserved(&t.part("/Spec").unwrap_or_default(), what)).sum::<u64>();
        let (cpus, memory) = (reserved(template, "NanoCPUs"), reserved(template, "MemoryBytes"));
        if cpus > 0 && node.offers.nano_cpus > 0 && used("NanoCPUs") + cpus > node.offers.nano_cpus {
            let (used, all) = (cpus_text(used("NanoCPUs")), cpus_text(node.offers.nano_cpus));
            return Some(format!("{used} of its {all} CPUs are reserved, and each task reserves {}", cpus_text(cpus)));
        }
        if memory > 0 && node.offers.memory > 0 && used("MemoryBytes") + memory > node.offers.memory {
            let (used, all) = (used("MemoryBytes") >> 20, node.offers.memory >> 20);
            return Some(format!("{used} of its {all} MiB of memory are reserved, and each task reserves {}", memory >> 20));
        }
        None
    };
    let label = |node: &NodeFacts| if node.hostname.is_empty() { node.id.to_string() } else { node.hostname.clone() };
    nodes.iter().map(facts).filter_map(|node| Some(format!("{}: {}", label(&node), why(&node)?))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests")]
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Object {
        Object::of(&value).unwrap()
    }

    fn node(name: &str) -> Object {
        object(json!({ "ID": format!("id-{name}"), "Spec": { "Role": "worker", "Availability": "active", "Labels": { "disk": "ssd" } },
            "Description": { "Hostname": name, "Platform": { "OS": "linux", "Architecture": "x86_64" },
                "Resources": { "NanoCPUs": 2_000_000_000u64, "MemoryBytes": 1u64 << 30 } },
            "Status": { "State": "ready" } }))
    }

    fn service(name: &str, ports: Value) -> Object {
        object(json!({ "ID": format!("s-{name}"), "Spec": { "Name": name, "EndpointSpec": { "Ports": ports } } }))
    }

    fn task(of: &str, on: &str, state: &str, reservations: Value) -> Object {
        object(json!({ "ID": format!("{of}-{on}"), "ServiceID": format!("s-{of}"), "NodeID": format!("id-{on}"),
            "Status": { "State": state }, "Spec": { "Resources": { "Reservations": reservations } } }))
    }

    fn host_port(port: u64) -> Value {
        json!([{ "PublishMode": "host", "PublishedPort": port, "TargetPort": 80, "Protocol": "tcp" }])
    }

    #[test]
    fn who_has_the_port() {
        let nodes = [node("w1"), node("w2"), node("w3")];
        let services = [service("web", host_port(80)), service("old", host_port(80)), service("far", host_port(81))];
        let tasks = [
            task("old", "w1", "running", json!({})),
            task("far", "w2", "running", json!({})),
            task("web", "w2", "starting", json!({})),
            task("old", "w3", "shutdown", json!({})),
        ];
        let spec = json!({ "Name": "web", "EndpointSpec": { "Ports": host_port(80) } });
        assert_eq!(
            reasons(&spec, &nodes, &services, &tasks),
            ["w1: its port 80/tcp is taken by old", "w2: its port 80/tcp is taken by web"]
        );
        // The mesh has each port once, on all nodes, and its own refusal.
        let mesh = json!({ "Name": "web", "EndpointSpec": { "Ports": [{ "PublishMode": "ingress", "PublishedPort": 80 }] } });
        assert_eq!(reasons(&mesh, &nodes, &services, &tasks), Vec::<String>::new());
        let udp =
            json!({ "Name": "web", "EndpointSpec": { "Ports": [{ "PublishMode": "host", "PublishedPort": 80, "Protocol": "udp" }] } });
        assert_eq!(reasons(&udp, &nodes, &services, &tasks), Vec::<String>::new());
    }

    #[test]
    fn how_much_is_reserved() {
        let nodes = [node("w1"), node("w2")];
        let services = [service("web", json!([])), service("big", json!([]))];
        let reserves = |cpus: u64, memory: u64| json!({ "NanoCPUs": cpus, "MemoryBytes": memory });
        let tasks = [
            task("big", "w1", "running", reserves(1_500_000_000, 0)),
            task("big", "w1", "failed", reserves(1_500_000_000, 1 << 30)),
            task("big", "w2", "running", reserves(0, 600 << 20)),
        ];
        let spec =
            |cpus: u64, memory: u64| json!({ "Name": "web", "TaskTemplate": { "Resources": { "Reservations": reserves(cpus, memory) } } });
        assert_eq!(
            reasons(&spec(1_000_000_000, 512 << 20), &nodes, &services, &tasks),
            [
                "w1: 1.5 of its 2 CPUs are reserved, and each task reserves 1",
                "w2: 600 of its 1024 MiB of memory are reserved, and each task reserves 512"
            ]
        );
        assert_eq!(reasons(&spec(500_000_000, 424 << 20), &nodes, &services, &tasks), Vec::<String>::new());
        assert_eq!(reasons(&spec(3_000_000_000, 0), &nodes[..1], &services, &tasks), ["w1: it has 2 CPUs, and each task reserves 3"]);
    }

    #[test]
    fn what_is_allowed_on_a_node() {
        let nodes = [node("w1"), node("w2")];
        let services = [service("web", json!([]))];
        let tasks =
            [task("web", "w1", "running", json!({})), task("web", "w1", "running", json!({})), task("web", "w2", "running", json!({}))];
        let spec = |most: u64| json!({ "Name": "web", "TaskTemplate": { "Placement": { "MaxReplicas": most } } });
        assert_eq!(
            reasons(&spec(2), &nodes, &services, &tasks),
            ["w1: it has 2 tasks of the service, and at most 2 are allowed on a node"]
        );
        assert_eq!(reasons(&spec(0), &nodes, &services, &tasks), Vec::<String>::new());
        let constraint = json!({ "Name": "web", "TaskTemplate": { "Placement": { "Constraints": ["node.labels.disk == hdd"] } } });
        assert_eq!(reasons(&constraint, &nodes, &services, &tasks).len(), 2);
    }

    #[test]
    fn a_node_is_read_as_managers_list_it() {
        let mut value = node("w1").value();
        for (availability, state) in
            [("drain", "ready"), ("pause", "ready"), ("active", "down"), ("active", "disconnected"), ("active", "x")]
        {
            value["Spec"]["Availability"] = json!(availability);
            value["Status"]["State"] = json!(state);
            let said = reasons(&json!({ "Name": "web" }), &[object(value.clone())], &[], &[]);
            let word = if state == "ready" {
                availability
            } else if state == "x" {
                "unknown"
            } else {
                state
            };
            assert!(said.len() == 1 && said[0].contains(word), "{said:?}");
        }
        let mut manager = node("m1").value();
        manager["Spec"]["Role"] = json!("manager");
        let spec = json!({ "Name": "web", "TaskTemplate": { "Placement": { "Constraints": ["node.role == worker"] } } });
        assert_eq!(reasons(&spec, &[object(manager), node("w1")], &[], &[]).len(), 1);
    }
}
