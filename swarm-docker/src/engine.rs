//! The engine behind swarm-core's traits.

use crate::client::{Doing, EngineClient};
use crate::facts;
use crate::list::Real;
use crate::stream::Target;
use crate::tls::TlsTarget;
use async_trait::async_trait;
use bollard::query_parameters::{DeleteNodeOptions, LeaveSwarmOptions};
use hyper::Method;
use serde_json::{Value, json};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use swarm_core::addr::HostAddress;
use swarm_core::engine::{
    EngineError, ErrorClass, Force, InitRequest, JoinRequest, Membership, MembershipRead, NodeChange, Part, Reason, SwarmChange,
};
use swarm_core::host::Host;
use swarm_core::id::NodeId;
use swarm_core::observe::{ClusterFacts, EngineFacts, NodeFacts, ReachError, ReachErrorKind};
use swarm_core::secret::Secret;
use swarm_core::spec::{Role, SwarmSettings, TlsFiles};
use tokio::time::Instant;

/// A Docker engine.
///
/// Cheap to clone. Its connections are made when needed and kept for half a minute. A dropped call closes its connection; what an
/// engine was asked for goes on in the engine.
#[derive(Clone)]
pub struct DockerEngine {
    client: EngineClient,
    bollard: bollard::Docker,
    /// The state that came along when it was connected, for whoever asks first.
    first: Arc<Mutex<Option<(Instant, EngineFacts)>>>,
}

/// How long that may be taken for what is.
const FIRST: Duration = Duration::from_millis(500);

impl fmt::Debug for DockerEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DockerEngine({})", self.client.prefix())
    }
}

impl DockerEngine {
    /// The engine behind a unix socket of this machine.
    ///
    /// # Errors
    /// [`ReachError`]: no socket, no permission, no one answers, or an API older than 1.41.
    pub async fn local(socket: &str) -> Result<Self, ReachError> {
        Self::connect(Target::Local(socket.to_owned())).await
    }

    /// The engine behind a unix socket of a host.
    ///
    /// # Errors
    /// As [`DockerEngine::local`], and whatever keeps the host from opening the socket.
    pub async fn on_host(host: Arc<dyn Host>, socket: &str) -> Result<Self, ReachError> {
        Self::connect(Target::Host(host, socket.to_owned())).await
    }

    /// The engine behind a TCP port, with mutual TLS. Only the CA in `files` is trusted.
    ///
    /// # Errors
    /// As [`DockerEngine::local`], and files that cannot be read or do not fit.
    pub async fn tls(address: HostAddress, port: u16, files: &TlsFiles) -> Result<Self, ReachError> {
        Self::connect(Target::Tls(Arc::new(TlsTarget::new(address, port, files)?))).await
    }

    async fn connect(target: Target) -> Result<Self, ReachError> {
        let (client, info) = EngineClient::connect(target).await?;
        let bollard = client.bollard().map_err(|e| ReachError { kind: ReachErrorKind::Unusable, message: e.to_string() })?;
        let first = info.and_then(|info| Some((Instant::now(), facts::engine(info).ok()?)));
        Ok(Self { client, bollard, first: Arc::new(Mutex::new(first)) })
    }

    /// The API version that was agreed on, for example `1.41`.
    pub fn api_version(&self) -> &str {
        self.client.prefix().trim_start_matches("/v")
    }

    /// What is about to change something: what it said before does not count any more.
    pub(crate) fn change(&self, what: &'static str) -> Doing {
        if let Ok(mut first) = self.first.lock() {
            *first = None;
        }
        Doing::change(what)
    }

    async fn bollard<T>(&self, doing: Doing, call: impl Future<Output = Result<T, bollard::errors::Error>>) -> Result<T, EngineError> {
        doing.within(async { call.await.map_err(|e| doing.bollard_error(&e)) }).await
    }

    /// The client.
    pub(crate) fn client(&self) -> &EngineClient {
        &self.client
    }

    pub(crate) async fn read(&self, doing: Doing, path: &str) -> Result<Value, EngineError> {
        self.client.call(doing, Method::GET, path, None).await?.ok_or_else(|| doing.unusable("the engine's answer is empty"))
    }
}

#[async_trait]
impl MembershipRead for DockerEngine {
    async fn info(&self) -> Result<EngineFacts, EngineError> {
        let doing = Doing::read("asking the engine for its state");
        let first = self.first.lock().ok().and_then(|mut first| first.take());
        if let Some((_, facts)) = first.filter(|(at, _)| at.elapsed() < FIRST) {
            return Ok(facts);
        }
        let info = self.bollard(doing, self.bollard.info()).await?;
        facts::engine(info).map_err(|what| doing.unusable(&what))
    }

    async fn cluster(&self) -> Result<ClusterFacts, EngineError> {
        // Not through bollard: the answer holds both join tokens.
        let doing = Doing::read("reading the swarm");
        let swarm = self.read(doing, "/swarm").await?;
        facts::cluster(&swarm).map_err(|what| doing.unusable(&what))
    }

    async fn nodes(&self) -> Result<Vec<NodeFacts>, EngineError> {
        let doing = Doing::read("listing the nodes");
        // A real node takes more than a kilobyte.
        self.client.list(doing, "/nodes", Real { least: 256, typed: true }, facts::node).await
    }

    async fn node(&self, id: &NodeId) -> Result<NodeFacts, EngineError> {
        let doing = Doing::read("reading a node");
        let node = self.bollard(doing, self.bollard.inspect_node(id.as_str())).await?;
        facts::node(node).map_err(|what| doing.unusable(&what))
    }

    async fn unlock_key(&self) -> Result<Option<Secret>, EngineError> {
        let answer = self.read(Doing::read("reading the unlock key"), "/swarm/unlockkey").await?;
        let key = answer.get("UnlockKey").and_then(Value::as_str).filter(|k| !k.is_empty());
        Ok(key.map(Secret::new))
    }

    async fn service_count(&self) -> Result<usize, EngineError> {
        // Not through bollard: specifications of services may hold passwords in their environment.
        let doing = Doing::read("listing the services");
        let services = self.client.list(doing, "/services", Real { least: 64, typed: false }, |_: serde::de::IgnoredAny| Ok(())).await?;
        Ok(services.len())
    }
}

#[async_trait]
impl Membership for DockerEngine {
    async fn init(&self, request: &InitRequest) -> Result<(), EngineError> {
        let mut spec = json!({ "Name": "default", "Labels": request.labels });
        apply_settings(&mut spec, &request.settings);
        let mut body = json!({
            "AdvertiseAddr": request.advertise.to_string(),
            "ListenAddr": request.listen,
            "DataPathAddr": request.data_path.map(|ip| ip.to_string()).unwrap_or_default(),
            "Availability": request.availability.to_string(),
            "ForceNewCluster": false,
            "Spec": spec,
        });
        if let Some(map) = body.as_object_mut() {
            if !request.init.default_addr_pool.is_empty() {
                map.insert("DefaultAddrPool".into(), json!(request.init.default_addr_pool));
                map.insert("SubnetSize".into(), json!(request.init.default_addr_pool_mask_length.unwrap_or(24)));
            } else if let Some(length) = request.init.default_addr_pool_mask_length {
                map.insert("SubnetSize".into(), json!(length));
            }
            if let Some(port) = request.init.data_path_port {
                map.insert("DataPathPort".into(), json!(port));
            }
        }
        self.client.call(self.change("making the swarm"), Method::POST, "/swarm/init", Some(&body)).await?;
        Ok(())
    }

    async fn force_new_cluster(&self, advertise: IpAddr, listen: &str) -> Result<(), EngineError> {
        let body = json!({ "AdvertiseAddr": advertise.to_string(), "ListenAddr": listen, "ForceNewCluster": true, "Spec": {} });
        self.client.call(self.change("making it the only manager"), Method::POST, "/swarm/init", Some(&body)).await?;
        Ok(())
    }

    async fn join(&self, request: &JoinRequest, token: &Secret) -> Result<(), EngineError> {
        let body = json!({
            "AdvertiseAddr": request.advertise.to_string(),
            "ListenAddr": request.listen,
            "DataPathAddr": request.data_path.map(|ip| ip.to_string()).unwrap_or_default(),
            "Availability": request.availability.to_string(),
            "RemoteAddrs": [request.remote],
            "JoinToken": token.expose(),
        });
        self.client.call(self.change("joining the swarm"), Method::POST, "/swarm/join", Some(&body)).await?;
        Ok(())
    }

    async fn leave(&self, force: Force) -> Result<(), EngineError> {
        let options = LeaveSwarmOptions { force: force == Force::Yes };
        self.bollard(self.change("leaving the swarm"), self.bollard.leave_swarm(Some(options))).await
    }

    async fn join_token(&self, role: Role) -> Result<Secret, EngineError> {
        let doing = Doing::read("reading the join token");
        let swarm = self.read(doing, "/swarm").await?;
        let key = if role == Role::Manager { "/JoinTokens/Manager" } else { "/JoinTokens/Worker" };
        let token = swarm.pointer(key).and_then(Value::as_str).filter(|t| t.starts_with("SWMTKN-"));
        token.map(Secret::new).ok_or_else(|| doing.unusable("the engine gave no join token"))
    }

    async fn unlock(&self, key: &Secret) -> Result<(), EngineError> {
        let body = json!({ "UnlockKey": key.expose() });
        self.client.call(self.change("unlocking the swarm"), Method::POST, "/swarm/unlock", Some(&body)).await?;
        Ok(())
    }

    async fn update_swarm(&self, change: &SwarmChange, root_key: Option<Secret>) -> Result<(), EngineError> {
        let doing = self.change("changing the swarm");
        let live = self.read(Doing::read("reading the swarm"), "/swarm").await?;
        let version = live
            .pointer("/Version/Index")
            .and_then(Value::as_u64)
            .ok_or_else(|| Doing::read(doing.what).unusable("the swarm has no version"))?;
        // The engine takes the whole specification and resets what is missing (moby `daemon/cluster/swarm.go` Update).
        let mut spec = live.get("Spec").cloned().unwrap_or_else(|| json!({}));
        apply_settings(&mut spec, &change.settings);
        for (key, value) in &change.labels {
            set(&mut spec, &["Labels", key], json!(value));
        }
        let mut path = format!("/swarm/update?version={version}");
        let mut is = facts::fingerprints(&live);
        if change.replace.contains_key(&Part::UnlockKey) {
            is.extend(self.unlock_key().await?.map(|key| (Part::UnlockKey, key.fingerprint())));
        }
        // What has another fingerprint by now was replaced already.
        let replaced = change.replace.iter().filter(|(part, was)| was.is_empty() || is.get(*part) == Some(*was)).map(|(part, _)| *part);
        for part in replaced {
            match part {
                Part::WorkerToken => path.push_str("&rotateWorkerToken=true"),
                Part::ManagerToken => path.push_str("&rotateManagerToken=true"),
                Part::UnlockKey => path.push_str("&rotateManagerUnlockKey=true"),
                Part::Root if live.get("RootRotationInProgress").and_then(Value::as_bool) == Some(true) => {}
                Part::Root => {
                    let times = spec.pointer("/CAConfig/ForceRotate").and_then(Value::as_u64).unwrap_or(0);
                    match &change.root {
                        // A higher number than before asks for another root (swarmkit `api/types.proto`, CAConfig.force_rotate).
                        None => set(&mut spec, &["CAConfig", "ForceRotate"], json!(times + 1)),
                        Some(root) => set(&mut spec, &["CAConfig", "SigningCACert"], json!(root.certificate)),
                    }
                    if let Some(key) = &root_key {
                        set(&mut spec, &["CAConfig", "SigningCAKey"], json!(key.expose()));
                    }
                }
            }
        }
        if live.get("Spec") == Some(&spec) && !path.contains('&') {
            return Err(already_so(doing));
        }
        self.client.call(doing, Method::POST, &path, Some(&spec)).await?;
        Ok(())
    }

    async fn update_node(&self, id: &NodeId, version: u64, change: &NodeChange) -> Result<(), EngineError> {
        let doing = self.change("changing a node");
        let live = self.read(Doing::read("reading a node"), &format!("/nodes/{id}")).await?;
        if live.pointer("/Version/Index").and_then(Value::as_u64) != Some(version) {
            return Err(EngineError {
                doing: doing.what,
                class: ErrorClass::Conflict,
                reason: Reason::OutOfSequence,
                message: "the node changed meanwhile".into(),
            });
        }
        let mut spec = live.get("Spec").cloned().unwrap_or_else(|| json!({}));
        if let Some(role) = change.role {
            set(&mut spec, &["Role"], json!(role));
        }
        if let Some(availability) = change.availability {
            set(&mut spec, &["Availability"], json!(availability));
        }
        for (key, value) in &change.labels {
            match value {
                Some(value) => set(&mut spec, &["Labels", key], json!(value)),
                None => {
                    if let Some(labels) = spec.get_mut("Labels").and_then(Value::as_object_mut) {
                        labels.remove(key);
                    }
                }
            }
        }
        self.client.call(doing, Method::POST, &format!("/nodes/{id}/update?version={version}"), Some(&spec)).await?;
        Ok(())
    }

    async fn remove_node(&self, id: &NodeId, force: Force) -> Result<(), EngineError> {
        let options = DeleteNodeOptions { force: force == Force::Yes };
        self.bollard(self.change("removing a node"), self.bollard.delete_node(id.as_str(), Some(options))).await
    }
}

fn already_so(doing: Doing) -> EngineError {
    EngineError { doing: doing.what, class: ErrorClass::AlreadySo, reason: Reason::Other, message: "already up to date".into() }
}

/// Puts the wanted options into a specification of the engine; all others stay.
fn apply_settings(spec: &mut Value, settings: &SwarmSettings) {
    let nanos = |d: std::time::Duration| json!(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX));
    let wanted = [
        (["Orchestration", "TaskHistoryRetentionLimit"], settings.task_history_limit.map(|v| json!(v))),
        (["Dispatcher", "HeartbeatPeriod"], settings.dispatcher_heartbeat.map(nanos)),
        (["CAConfig", "NodeCertExpiry"], settings.cert_expiry.map(nanos)),
        (["Raft", "SnapshotInterval"], settings.snapshot_interval.map(|v| json!(v))),
        (["Raft", "KeepOldSnapshots"], settings.max_snapshots.map(|v| json!(v))),
        (["EncryptionConfig", "AutoLockManagers"], settings.autolock.map(|v| json!(v))),
        (["CAConfig", "ExternalCAs"], settings.external_ca.as_ref().map(|all| all.iter().map(facts::external_ca_to_wire).collect())),
    ];
    for (path, value) in wanted {
        if let Some(value) = value {
            set(spec, &path, value);
        }
    }
}

/// Sets a value inside objects, which are made where they are missing.
fn set(object: &mut Value, path: &[&str], value: Value) {
    let Some((key, rest)) = path.split_first() else { return };
    if !object.is_object() {
        *object = json!({});
    }
    let Some(map) = object.as_object_mut() else { return };
    if rest.is_empty() {
        map.insert((*key).to_owned(), value);
    } else {
        set(map.entry((*key).to_owned()).or_insert_with(|| json!({})), rest, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn options_that_are_not_named_survive() {
        let mut spec =
            json!({ "Name": "default", "Labels": null, "CAConfig": { "NodeCertExpiry": 5, "ForceRotate": 2 }, "New": { "Field": true } });
        apply_settings(&mut spec, &SwarmSettings { cert_expiry: Some(Duration::from_secs(3600)), ..SwarmSettings::default() });
        set(&mut spec, &["Labels", "a"], json!("b"));
        let expected = json!({ "Name": "default", "Labels": { "a": "b" }, "CAConfig": { "NodeCertExpiry": 3_600_000_000_000u64, "ForceRotate": 2 }, "New": { "Field": true } });
        assert_eq!(spec, expected);
    }
}
