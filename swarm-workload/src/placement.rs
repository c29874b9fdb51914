//! Where the scheduler may put a service's tasks, node by node, from what managers list (swarmkit `manager/constraint`, `manager/scheduler`).

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
    constraints.into_iter().flatten().filter_map(Value::as_str).find_map(|constraint| unmet(constraint, node))
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
        _ => match key.strip_prefix("node.labels.") {
            Some(label) => Some(node.labels.get(label).map_or("", String::as_str)),
            // Platforms and labels of engines are not in a node's facts: nothing is said of them.
            None => return None,
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
}
