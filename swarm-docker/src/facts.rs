//! From the engine's models to swarm-core's facts.

use bollard::models::{
    Node, NodeSpecAvailabilityEnum, NodeSpecRoleEnum, NodeState as WireState, PeerNode, Reachability as WireReach, SystemInfo,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use swarm_core::credential::{Part, root_digest, root_fingerprint, token_fingerprint};
use swarm_core::id::{ClusterId, DaemonId, NodeId};
use swarm_core::observe::{
    ClusterFacts, EngineFacts, LocalState, LocalSwarm, ManagerFacts, NodeFacts, NodeState, Offers, Reachability, RemoteManager,
};
use swarm_core::spec::{Availability, ExternalCa, InitSettings, Role, SwarmSettings};

/// Reads bytes as each answer an engine could give, for the fuzzer. Gives how many it could be.
#[doc(hidden)]
pub fn read_foreign_answer(bytes: &[u8]) -> usize {
    let engines = serde_json::from_slice(bytes).map(engine).is_ok_and(|r| r.is_ok());
    let nodes = serde_json::from_slice(bytes).map(node).is_ok_and(|r| r.is_ok());
    let clusters = serde_json::from_slice(bytes).map(|v: Value| cluster(&v)).is_ok_and(|r| r.is_ok());
    [engines, nodes, clusters].into_iter().filter(|read| *read).count()
}

/// An empty text means that the engine has nothing to say.
fn said(text: Option<String>) -> Option<String> {
    text.filter(|t| !t.is_empty())
}

pub(crate) fn engine(info: SystemInfo) -> Result<EngineFacts, String> {
    let swarm = info.swarm.ok_or("the answer has no swarm part: this is not a Docker engine, or one without swarm mode")?;
    let state = match swarm.local_node_state.map(|s| s.to_string()).unwrap_or_default().as_str() {
        // Engines leave the word empty where swarm mode was never used.
        "inactive" | "" => LocalState::Inactive,
        "pending" => LocalState::Pending,
        "active" => LocalState::Active,
        "error" => LocalState::Error,
        "locked" => LocalState::Locked,
        other => LocalState::Other(other.to_owned()),
    };
    Ok(EngineFacts {
        daemon: DaemonId::new(info.id.unwrap_or_default()),
        hostname: info.name.unwrap_or_default(),
        version: info.server_version.unwrap_or_default(),
        swarm: LocalSwarm {
            reported: state,
            node: said(swarm.node_id).map(NodeId::new),
            address: said(swarm.node_addr),
            control_available: swarm.control_available.unwrap_or(false),
            cluster: swarm.cluster.and_then(|c| said(c.id)).map(ClusterId::new),
            error: said(swarm.error).map(|e| crate::client::clean(&e)),
            remotes: swarm.remote_managers.unwrap_or_default().into_iter().filter_map(remote).collect(),
        },
        data_root: said(info.docker_root_dir).unwrap_or_else(|| "/var/lib/docker".into()),
        running_containers: info.containers_running.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        live_restore: info.live_restore_enabled.unwrap_or(false),
        rootless: info.security_options.unwrap_or_default().iter().any(|o| o.contains("name=rootless")),
    })
}

fn remote(peer: PeerNode) -> Option<RemoteManager> {
    Some(RemoteManager { node: NodeId::new(said(peer.node_id)?), address: said(peer.addr)? })
}

pub(crate) fn node(node: Node) -> Result<NodeFacts, String> {
    let id = node.id.ok_or("a node has no id")?;
    let spec = node.spec.unwrap_or_default();
    let status = node.status.unwrap_or_default();
    let description = node.description.unwrap_or_default();
    let (platform, resources) = (description.platform.unwrap_or_default(), description.resources.unwrap_or_default());
    let engine = description.engine.unwrap_or_default();
    let count = |number: Option<i64>| number.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let offers = Offers {
        os: platform.os.unwrap_or_default(),
        architecture: platform.architecture.unwrap_or_default(),
        nano_cpus: count(resources.nano_cpus),
        memory: count(resources.memory_bytes),
        labels: engine.labels.unwrap_or_default().into_iter().collect(),
    };
    Ok(NodeFacts {
        id: NodeId::new(id),
        version: node.version.and_then(|v| v.index).unwrap_or(0),
        created_at: node.created_at.unwrap_or_default(),
        hostname: description.hostname.unwrap_or_default(),
        role: match spec.role {
            Some(NodeSpecRoleEnum::MANAGER) => Role::Manager,
            _ => Role::Worker,
        },
        availability: match spec.availability {
            Some(NodeSpecAvailabilityEnum::PAUSE) => Availability::Pause,
            Some(NodeSpecAvailabilityEnum::DRAIN) => Availability::Drain,
            _ => Availability::Active,
        },
        labels: spec.labels.unwrap_or_default().into_iter().collect(),
        state: match status.state {
            Some(WireState::READY) => NodeState::Ready,
            Some(WireState::DOWN) => NodeState::Down,
            Some(WireState::DISCONNECTED) => NodeState::Disconnected,
            Some(WireState::UNKNOWN) | None => NodeState::Unknown,
        },
        message: status.message.map(|m| crate::client::clean(&m)).unwrap_or_default(),
        address: status.addr.unwrap_or_default(),
        engine_version: engine.engine_version.unwrap_or_default(),
        manager: node.manager_status.map(|m| ManagerFacts {
            leader: m.leader.unwrap_or(false),
            reachability: match m.reachability {
                Some(WireReach::REACHABLE) => Reachability::Reachable,
                Some(WireReach::UNREACHABLE) => Reachability::Unreachable,
                Some(WireReach::UNKNOWN) | None => Reachability::Unknown,
            },
            address: m.addr.unwrap_or_default(),
        }),
        root: description.tls_info.and_then(|t| t.cert_issuer_public_key).map(|key| root_fingerprint(&key)).unwrap_or_default(),
        offers,
    })
}

/// The swarm object, from its JSON: read here so that the tokens beside it reach no log and no type.
pub(crate) fn cluster(swarm: &Value) -> Result<ClusterFacts, String> {
    let text = |path: &str| swarm.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let number = |path: &str| swarm.pointer(path).and_then(Value::as_u64);
    let nanos = |path: &str| number(path).map(Duration::from_nanos);
    let id = text("/ID").filter(|id| !id.is_empty()).ok_or("the swarm has no id")?;
    let labels: BTreeMap<String, String> = swarm
        .pointer("/Spec/Labels")
        .and_then(Value::as_object)
        .map(|map| map.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect())
        .unwrap_or_default();
    let pools = swarm.pointer("/DefaultAddrPool").and_then(Value::as_array).cloned().unwrap_or_default();
    Ok(ClusterFacts {
        id: ClusterId::new(id),
        version: number("/Version/Index").ok_or("the swarm has no version")?,
        labels,
        settings: SwarmSettings {
            task_history_limit: swarm.pointer("/Spec/Orchestration/TaskHistoryRetentionLimit").and_then(Value::as_i64),
            dispatcher_heartbeat: nanos("/Spec/Dispatcher/HeartbeatPeriod"),
            cert_expiry: nanos("/Spec/CAConfig/NodeCertExpiry"),
            snapshot_interval: number("/Spec/Raft/SnapshotInterval"),
            max_snapshots: number("/Spec/Raft/KeepOldSnapshots"),
            external_ca: Some(
                swarm.pointer("/Spec/CAConfig/ExternalCAs").and_then(Value::as_array).into_iter().flatten().map(external_ca).collect(),
            ),
            autolock: Some(swarm.pointer("/Spec/EncryptionConfig/AutoLockManagers").and_then(Value::as_bool).unwrap_or(false)),
        },
        init: InitSettings {
            default_addr_pool: pools.iter().filter_map(|p| p.as_str()?.parse().ok()).collect(),
            default_addr_pool_mask_length: number("/SubnetSize").and_then(|n| u8::try_from(n).ok()),
            data_path_port: number("/DataPathPort").and_then(|n| u16::try_from(n).ok()),
        },
        root_rotation_in_progress: swarm.pointer("/RootRotationInProgress").and_then(Value::as_bool).unwrap_or(false),
        fingerprints: fingerprints(swarm),
        root_digest: text("/TLSInfo/TrustRoot").map(|pem| root_digest(&pem)),
        root: text("/TLSInfo/TrustRoot").unwrap_or_default(),
    })
}

/// What tells the swarm's tokens and its root from others.
pub(crate) fn fingerprints(swarm: &Value) -> BTreeMap<Part, String> {
    let text = |path: &str| swarm.pointer(path).and_then(Value::as_str).filter(|t| !t.is_empty());
    let worker = text("/JoinTokens/Worker").map(|t| (Part::WorkerToken, token_fingerprint(t)));
    let manager = text("/JoinTokens/Manager").map(|t| (Part::ManagerToken, token_fingerprint(t)));
    let root = text("/TLSInfo/CertIssuerPublicKey").map(|key| (Part::Root, root_fingerprint(key)));
    worker.into_iter().chain(manager).chain(root).collect()
}

fn external_ca(value: &Value) -> ExternalCa {
    let text = |key: &str| value.get(key).and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned);
    let options = value.get("Options").and_then(Value::as_object).into_iter().flatten();
    ExternalCa {
        protocol: text("Protocol").unwrap_or_else(|| "cfssl".into()),
        url: text("URL").unwrap_or_default(),
        ca_cert: text("CACert").map(|pem| pem.trim().to_owned()),
        options: options.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect(),
    }
}

pub(crate) fn external_ca_to_wire(ca: &ExternalCa) -> Value {
    json!({ "Protocol": ca.protocol, "URL": ca.url, "CACert": ca.ca_cert.clone().unwrap_or_default(), "Options": ca.options })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_swarm_object_is_read_without_its_tokens() {
        let facts = cluster(&json!({
            "ID": "c1", "Version": { "Index": 7 }, "JoinTokens": { "Worker": "SWMTKN-1-secret" },
            "Spec": { "Labels": { "a": "b" }, "CAConfig": { "NodeCertExpiry": 7_776_000_000_000_000u64 }, "Raft": { "SnapshotInterval": 10000 } },
            "DefaultAddrPool": ["10.20.0.0/16"], "SubnetSize": 24, "DataPathPort": 4789
        }))
        .unwrap();
        assert!(!format!("{facts:?}").contains("secret"));
        assert_eq!(facts.settings.cert_expiry, Some(Duration::from_secs(2160 * 3600)));
        assert_eq!(facts.init.default_addr_pool, ["10.20.0.0/16".parse().unwrap()]);
        assert!(cluster(&json!({ "Version": { "Index": 7 } })).is_err());
    }

    #[test]
    fn an_answer_without_a_swarm_part_is_no_engine() {
        assert!(engine(SystemInfo::default()).unwrap_err().contains("not a Docker engine"));
    }
}
