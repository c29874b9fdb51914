//! Where the scheduler may put a service's tasks, node by node, from what managers list (swarmkit `manager/constraint`, `manager/scheduler`).

use crate::units::cpus_text;
use serde_json::Value;
use swarm_core::observe::{NodeFacts, NodeState};
use swarm_core::spec::Availability;

/// Why a node gets no task of a service; `None` where nothing that is known speaks against it.
pub(crate) fn misfit(spec: &Value, node: &NodeFacts) -> Option<String> {
    if node.state != NodeState::Ready {
        return Some(format!("it is {}", node.state));
    }
    if node.availability != Availability::Active {
        return Some(format!("its availability is {}", node.availability));
    }
    let constraints = spec.pointer("/TaskTemplate/Placement/Constraints").and_then(Value::as_array);
    let unmet = constraints.into_iter().flatten().filter_map(Value::as_str).find_map(|constraint| unmet(constraint, node));
    unmet.or_else(|| too_small(spec, node)).or_else(|| other_platform(spec, node))
}

/// A reservation that is more than all that a node has. What other tasks have of it is not looked at.
fn too_small(spec: &Value, node: &NodeFacts) -> Option<String> {
    let wants = |key: &str| spec.pointer(&format!("/TaskTemplate/Resources/Reservations/{key}")).and_then(Value::as_u64).unwrap_or(0);
    let (cpus, memory) = (wants("NanoCPUs"), wants("MemoryBytes"));
    if node.offers.nano_cpus > 0 && cpus > node.offers.nano_cpus {
        return Some(format!("it has {} CPUs, and each task reserves {}", cpus_text(node.offers.nano_cpus), cpus_text(cpus)));
    }
    (node.offers.memory > 0 && memory > node.offers.memory)
        .then(|| format!("it has {} MiB of memory, and each task reserves {}", node.offers.memory >> 20, memory >> 20))
}

/// An image for other platforms. Architectures have two names (swarmkit `manager/scheduler/filter.go`).
fn other_platform(spec: &Value, node: &NodeFacts) -> Option<String> {
    let platforms = spec.pointer("/TaskTemplate/Placement/Platforms").and_then(Value::as_array).filter(|all| !all.is_empty())?;
    if node.offers.os.is_empty() {
        return None;
    }
    let plain = |name: &str| match name {
        "x86_64" => "amd64".to_owned(),
        "aarch64" => "arm64".to_owned(),
        other => other.to_owned(),
    };
    let text = |platform: &Value, key: &str| platform.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let fits = |platform: &Value| {
        let (os, architecture) = (text(platform, "OS"), plain(&text(platform, "Architecture")));
        (os.is_empty() || os == node.offers.os) && (architecture.is_empty() || architecture == plain(&node.offers.architecture))
    };
    let mut named = platforms.iter().map(|p| format!("{}/{}", text(p, "OS"), plain(&text(p, "Architecture")))).collect::<Vec<_>>();
    named.dedup();
    (!platforms.iter().any(fits))
        .then(|| format!("it is {}/{}, and the image is for {}", node.offers.os, plain(&node.offers.architecture), named.join(", ")))
}

fn unmet(constraint: &str, node: &NodeFacts) -> Option<String> {
    let (key, wanted, equal) = match (constraint.split_once("!="), constraint.split_once("==")) {
        (Some((key, wanted)), _) => (key.trim(), wanted.trim(), false),
        (None, Some((key, wanted))) => (key.trim(), wanted.trim(), true),
        (None, None) => return None,
    };
    let role = node.role.to_string();
    let is = match key {
        "node.id" => Some(node.id.as_str()),
        "node.hostname" => Some(node.hostname.as_str()),
        "node.role" => Some(role.as_str()),
        // Of a node that has not reported what it is, nothing is said.
        "node.platform.os" => Some(node.offers.os.as_str()).filter(|os| !os.is_empty()),
        "node.platform.arch" => Some(node.offers.architecture.as_str()).filter(|architecture| !architecture.is_empty()),
        _ => match (key.strip_prefix("node.labels."), key.strip_prefix("engine.labels.")) {
            (Some(label), _) => Some(node.labels.get(label).map_or("", String::as_str)),
            (None, Some(label)) if !node.offers.os.is_empty() => Some(node.offers.labels.get(label).map_or("", String::as_str)),
            _ => None,
        },
    }?;
    // Values are compared without regard to case, as swarmkit does.
    let same = is.eq_ignore_ascii_case(wanted);
    (same != equal).then(|| {
        let shown = if is.is_empty() { "not set" } else { is };
        format!("{key} is {shown}, and {constraint} is wanted")
    })
}

/// For each node the reason, if every node has one.
pub(crate) fn nowhere(spec: &Value, nodes: &[NodeFacts]) -> Option<String> {
    let reasons: Vec<String> = nodes
        .iter()
        .map(|node| {
            misfit(spec, node).map(|why| format!("{}: {why}", if node.hostname.is_empty() { node.id.as_str() } else { &node.hostname }))
        })
        .collect::<Option<_>>()?;
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;
    use swarm_core::id::NodeId;
    use swarm_core::observe::Offers;
    use swarm_core::spec::Role;

    fn node(name: &str, availability: Availability, labels: &[(&str, &str)]) -> NodeFacts {
        NodeFacts {
            id: NodeId::new(format!("id-{name}")),
            version: 1,
            created_at: String::new(),
            hostname: name.into(),
            role: Role::Worker,
            availability,
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>(),
            state: NodeState::Ready,
            message: String::new(),
            address: String::new(),
            engine_version: String::new(),
            manager: None,
            root: String::new(),
            offers: Offers::default(),
        }
    }

    #[test]
    fn each_node_has_its_reason() {
        let spec = |constraint: &str| json!({ "TaskTemplate": { "Placement": { "Constraints": [constraint] } } });
        let nodes = [node("w1", Availability::Active, &[("disk", "HDD")]), node("w2", Availability::Drain, &[("disk", "ssd")])];
        let why = nowhere(&spec("node.labels.disk == ssd"), &nodes).unwrap();
        assert_eq!(why, "w1: node.labels.disk is HDD, and node.labels.disk == ssd is wanted; w2: its availability is drain");
        assert_eq!(nowhere(&spec("node.labels.disk==hdd"), &nodes), None);
        assert_eq!(nowhere(&spec("node.labels.disk != ssd"), &nodes), None);
        assert_eq!(nowhere(&spec("node.platform.os == windows"), &nodes), None);
        assert_eq!(
            nowhere(&spec("node.role == manager"), &nodes[..1]).unwrap(),
            "w1: node.role is worker, and node.role == manager is wanted"
        );
        assert_eq!(nowhere(&spec("x"), &[]), None);
    }

    #[test]
    fn what_a_node_is_too_small_for_and_what_it_is_not() {
        let mut node = node("w1", Availability::Active, &[]);
        let why = |template: Value, node: &NodeFacts| nowhere(&json!({ "TaskTemplate": template }), std::slice::from_ref(node));
        let reserves = |cpus: u64, memory: u64| json!({ "Resources": { "Reservations": { "NanoCPUs": cpus, "MemoryBytes": memory } } });
        let image = |os: &str, architecture: &str| json!({ "Placement": { "Platforms": [{ "OS": os, "Architecture": architecture }] } });
        let constraint = |text: &str| json!({ "Placement": { "Constraints": [text] } });
        // Nothing is said of a node that has not reported.
        for template in [reserves(1 << 60, 1 << 60), image("windows", "arm"), constraint("engine.labels.a == b")] {
            assert_eq!(why(template, &node), None);
        }
        node.offers =
            Offers { os: "linux".into(), architecture: "x86_64".into(), nano_cpus: 2_000_000_000, memory: 1 << 30, ..Offers::default() };
        assert_eq!(why(reserves(2_500_000_000, 0), &node).unwrap(), "w1: it has 2 CPUs, and each task reserves 2.5");
        assert_eq!(why(reserves(0, 2 << 30), &node).unwrap(), "w1: it has 1024 MiB of memory, and each task reserves 2048");
        assert_eq!(why(reserves(2_000_000_000, 1 << 30), &node), None);
        assert_eq!(why(image("linux", "aarch64"), &node).unwrap(), "w1: it is linux/amd64, and the image is for linux/arm64");
        for (os, architecture) in [("linux", "amd64"), ("linux", "x86_64"), ("", ""), ("linux", "")] {
            assert_eq!(why(image(os, architecture), &node), None, "{os} {architecture}");
        }
        assert!(why(constraint("node.platform.os == windows"), &node).unwrap().contains("node.platform.os is linux"));
        assert_eq!(why(constraint("node.platform.arch == X86_64"), &node), None);
        assert!(why(constraint("engine.labels.a == b"), &node).unwrap().contains("engine.labels.a is not set"));
        node.offers.labels.insert("a".into(), "b".into());
        assert_eq!(why(constraint("engine.labels.a == b"), &node), None);
    }
}
