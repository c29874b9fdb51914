//! The addresses of a network: how many are used, and how many are left for tasks. Pure; from what managers list.

use serde_json::Value;
use std::collections::BTreeSet;
use std::net::IpAddr;
use swarm_core::engine::Object;

/// The addresses of one subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The subnet, for example `10.0.1.0/24`.
    pub subnet: String,
    /// How many are used: by the gateway, by services' virtual addresses, by tasks, and one on each node that has such a task.
    pub used: u64,
    /// How many are left.
    pub free: u64,
}

/// A subnet's first address, and how many bits name a host in it.
fn subnet(text: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = text.split_once('/')?;
    let (address, length): (IpAddr, u32) = (address.parse().ok()?, length.parse().ok()?);
    let bits = if address.is_ipv4() { 32u32 } else { 128 };
    Some((address, bits.checked_sub(length).filter(|host| length > 0 && *host < 127)?))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The address in `10.0.1.5/24`.
fn plain(text: &str) -> Option<IpAddr> {
    text.split('/').next()?.parse().ok()
}

/// For each subnet of a network of the swarm, from the services and the tasks of the swarm. Each node on which a task of the network runs has an
/// address in it too (swarmkit `manager/allocator`, `allocateNode`), which no one lists.
pub fn addresses(network: &Object, services: &[Object], tasks: &[Object]) -> Vec<Addresses> {
    let of = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let mut used: BTreeSet<IpAddr> = BTreeSet::new();
    let mut nodes: BTreeSet<String> = BTreeSet::new();
    for service in services {
        let virtual_ips = service.part("/Endpoint/VirtualIPs");
        let here =
            virtual_ips.iter().filter_map(Value::as_array).flatten().filter(|ip| of(ip, "NetworkID").as_deref() == Some(network.id()));
        used.extend(here.filter_map(|ip| plain(&of(ip, "Addr")?)));
    }
    for task in tasks {
        // A task that has ended keeps none.
        let state = task.text("/Status/State").unwrap_or_default().into_owned();
        if matches!(state.as_str(), "complete" | "shutdown" | "failed" | "rejected" | "orphaned" | "remove") {
            continue;
        }
        let attachments = task.part("/NetworksAttachments");
        for attachment in attachments.iter().filter_map(Value::as_array).flatten() {
            if attachment.pointer("/Network/ID").and_then(Value::as_str) != Some(network.id()) {
                continue;
            }
            let own =
                attachment.get("Addresses").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).filter_map(plain);
            let before = used.len();
            used.extend(own);
            if let Some(node) = task.text("/NodeID").filter(|node| !node.is_empty() && used.len() > before) {
                nodes.insert(node.into_owned());
            }
        }
    }
    let configs = network.part("/IPAM/Config");
    let subnets = configs.iter().filter_map(Value::as_array).flatten().enumerate();
    let one = |(at, config): (usize, &Value)| {
        let text = of(config, "Subnet")?;
        let (first, host_bits) = subnet(&text)?;
        let mut here = used.clone();
        here.extend(of(config, "Gateway").as_deref().and_then(plain));
        let inside =
            here.iter().filter(|ip| ip.is_ipv4() == first.is_ipv4() && number(**ip) >> host_bits == number(first) >> host_bits).count();
        // Nodes have theirs in the first subnet that has room.
        let used = (inside + if at == 0 { nodes.len() } else { 0 }) as u64;
        // Neither the first nor the last one of a subnet is given away.
        let all = u64::try_from((1u128 << host_bits).saturating_sub(2)).unwrap_or(u64::MAX);
        Some(Addresses { subnet: text, used, free: all.saturating_sub(used) })
    };
    subnets.filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Object {
        Object::of(&value).unwrap()
    }

    #[test]
    fn what_is_used_is_counted_once() {
        let network =
            object(json!({ "Id": "n", "Name": "net", "IPAM": { "Config": [{ "Subnet": "10.0.1.0/28", "Gateway": "10.0.1.1" }] } }));
        let task = |id: &str, node: &str, state: &str, network: &str, address: &str| {
            let attachments = json!([{ "Network": { "ID": network }, "Addresses": [address] }]);
            object(json!({ "ID": id, "NodeID": node, "Status": { "State": state }, "NetworksAttachments": attachments }))
        };
        let services = [object(json!({ "ID": "s", "Endpoint": { "VirtualIPs": [
            { "NetworkID": "n", "Addr": "10.0.1.2/28" }, { "NetworkID": "other", "Addr": "10.0.1.3/28" }] } }))];
        let tasks = [
            task("a", "w1", "running", "n", "10.0.1.4/28"),
            task("b", "w1", "starting", "n", "10.0.1.5/28"),
            task("c", "w2", "running", "n", "10.0.1.6/28"),
            task("d", "w3", "failed", "n", "10.0.1.7/28"),
            task("e", "w3", "running", "other", "10.0.1.8/28"),
            object(json!({ "ID": "f", "Status": { "State": "new" } })),
        ];
        // The gateway, a virtual address, three tasks, and two nodes, of fourteen.
        assert_eq!(addresses(&network, &services, &tasks), [Addresses { subnet: "10.0.1.0/28".into(), used: 7, free: 7 }]);
        assert_eq!(addresses(&network, &[], &[]), [Addresses { subnet: "10.0.1.0/28".into(), used: 1, free: 13 }]);
        for config in [json!(null), json!([{ "Subnet": "x" }]), json!([{ "Subnet": "10.0.0.0/99" }]), json!([{ "Subnet": "::/0" }])] {
            let odd = object(json!({ "Id": "n", "Name": "net", "IPAM": { "Config": config } }));
            assert_eq!(addresses(&odd, &services, &tasks), []);
        }
    }
}
