//! What of a plan's services and networks works only where the kernels of the nodes can do it. Engines take all of it without a word.

use crate::steps::{Data, NAME};
use serde_json::Value;
use swarm_core::engine::Kind;
use swarm_core::plan::{Action, Plan};

/// Something that needs a module of the kernel on every node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelNeed {
    /// The module, for example `ip_vs`.
    pub module: &'static str,
    /// What needs it, for people: `service web: the routing mesh of port 8080`.
    pub what: String,
    /// What to write instead.
    pub instead: &'static str,
}

/// What the steps of a plan need.
pub fn kernel_needs(plan: &Plan) -> Vec<KernelNeed> {
    let mut needs = Vec::new();
    for step in &plan.steps {
        let Action::Work(work) = &step.action else { continue };
        if work.family != NAME {
            continue;
        }
        match serde_json::from_value(work.data.clone()) {
            Ok(Data::Put(put)) => needs.extend(of_service(put.name(), &put.spec)),
            Ok(Data::Create(create)) if create.kind == Kind::Network => {
                let option = |key: &str| create.body.spec.pointer(&format!("/Options/{key}")).is_some_and(|v| v != "false");
                if option("encrypted") {
                    let what = format!("network {}: encryption", create.name());
                    needs.push(KernelNeed { module: "esp4", what, instead: "leave `encrypted` out, or use another kernel" });
                }
            }
            _ => {}
        }
    }
    needs
}

fn of_service(name: &str, spec: &Value) -> Vec<KernelNeed> {
    let list = |place: &str| spec.pointer(place).and_then(Value::as_array).into_iter().flatten();
    let mesh = list("/EndpointSpec/Ports").filter(|p| p.get("PublishMode").and_then(Value::as_str) != Some("host"));
    let ports: Vec<String> =
        mesh.filter_map(|p| p.get("PublishedPort").or_else(|| p.get("TargetPort"))?.as_u64()).map(|p| p.to_string()).collect();
    let mut needs = Vec::new();
    if !ports.is_empty() {
        let what = format!("service {name}: the routing mesh of port {}", ports.join(", "));
        needs.push(KernelNeed { module: "ip_vs", what, instead: "publish the port with `mode: host`" });
    }
    let own = |network: &Value| matches!(network.get("Target").and_then(Value::as_str), Some("host" | "bridge" | "none"));
    let dnsrr = spec.pointer("/EndpointSpec/Mode").and_then(Value::as_str) == Some("dnsrr");
    if !dnsrr && list("/TaskTemplate/Networks").any(|n| !own(n)) {
        let what = format!("service {name}: its virtual IP");
        needs.push(KernelNeed { module: "ip_vs", what, instead: "use `endpoint_mode: dnsrr`" });
    }
    needs
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(spec: Value) -> Vec<String> {
        of_service("web", &spec).into_iter().map(|n| n.what).collect()
    }

    #[test]
    fn what_needs_the_kernel_is_named() {
        let on = json!([{ "Target": "front" }]);
        assert_eq!(of(json!({ "TaskTemplate": { "Networks": on }, "EndpointSpec": { "Mode": "dnsrr" } })), Vec::<String>::new());
        assert_eq!(of(json!({ "TaskTemplate": { "Networks": on } })), ["service web: its virtual IP"]);
        assert_eq!(of(json!({ "TaskTemplate": { "Networks": [{ "Target": "host" }] } })), Vec::<String>::new());
        let ports = json!([{ "TargetPort": 80, "PublishedPort": 8080 }, { "TargetPort": 81, "PublishMode": "host" }, { "TargetPort": 82 }]);
        assert_eq!(of(json!({ "EndpointSpec": { "Ports": ports } })), ["service web: the routing mesh of port 8080, 82"]);
    }
}
