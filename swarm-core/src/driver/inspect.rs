//! Looks at every host at once. It holds readers only, so it cannot change anything.

use super::progress::{Progress, ProgressEvent};
use crate::addr::AddressSelector;
use crate::fleet::{FleetRead, Reader};
use crate::id::{HostName, NodeId};
use crate::observe::{HostReport, LocalState, Observation, ReachError, ReachErrorKind, identity_from_pem};
use crate::spec::{ClusterSpec, HostSpec};
use futures_util::stream::{self, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::timeout;

/// How much of a certificate file is read.
const CERTIFICATE_LIMIT: usize = 64 * 1024;

/// Looks at all hosts of the file, as many at a time as its policy says.
pub async fn inspect(spec: &ClusterSpec, fleet: &dyn FleetRead, progress: &dyn Progress) -> Observation {
    progress.report(&ProgressEvent::InspectStarted { hosts: spec.hosts().len() });
    let concurrency = spec.policy().concurrency;
    let looked: Vec<(HostName, HostReport, Option<Reader>)> = stream::iter(spec.hosts())
        .map(|host| async move {
            let patience = spec.policy().timeout;
            let (report, reader) = timeout(patience, look(host, fleet)).await.unwrap_or_else(|_| {
                let message = format!("it did not answer within {} s, the file's policy.timeout", patience.as_secs());
                (unreached(ReachError { kind: ReachErrorKind::Unreachable, message }), None)
            });
            let error = report.engine.as_ref().err().map(|e| e.message.clone());
            progress.report(&ProgressEvent::HostInspected { host: host.name.clone(), error });
            (host.name.clone(), report, reader)
        })
        .buffer_unordered(concurrency)
        .collect()
        .await;
    let known: BTreeSet<NodeId> =
        looked.iter().filter_map(|(_, r, _)| r.view.as_ref()?.as_ref().ok()).flat_map(|v| &v.nodes).map(|n| n.id.clone()).collect();
    let hosts: BTreeMap<HostName, HostReport> = stream::iter(looked)
        .map(|(name, mut report, reader)| {
            let known = &known;
            async move {
                if needs_certificate(&report, known) {
                    report.identity = Some(read_identity(&report, reader.as_ref()).await);
                }
                (name, report)
            }
        })
        .buffer_unordered(concurrency)
        .collect()
        .await;
    Observation { hosts }
}

fn unreached(error: ReachError) -> HostReport {
    HostReport { engine: Err(error), machine: None, identity: None, view: None }
}

async fn look(host: &HostSpec, fleet: &dyn FleetRead) -> (HostReport, Option<Reader>) {
    let reader = match fleet.reader(host).await {
        Ok(reader) => reader,
        Err(error) => return (unreached(error), None),
    };
    let engine = match reader.engine.info().await {
        Ok(engine) => engine,
        Err(error) => {
            return (unreached(ReachError { kind: ReachErrorKind::EngineDown, message: error.to_string() }), Some(reader));
        }
    };
    let swarm = &engine.swarm;
    let manages = swarm.state == LocalState::Active && swarm.control_available;
    // A manager without a quorum was asked twice inside its `/info` already, and says the same for each question: 20 s.
    let view = match (manages, &swarm.cluster) {
        (true, Some(_)) => Some(view(&reader).await),
        (true, None) => Some(Err(swarm.error.clone().unwrap_or_else(|| "it cannot name its swarm".into()))),
        (false, _) => None,
    };
    let wants_machine = swarm.state != LocalState::Active || !matches!(host.advertise_selector(), Some(AddressSelector::Ip(_)));
    let machine = match &reader.host {
        Some(machine) if wants_machine => Some(machine.machine().await.map_err(|e| e.to_string())),
        _ => None,
    };
    (HostReport { engine: Ok(engine), machine, identity: None, view }, Some(reader))
}

async fn view(reader: &Reader) -> Result<crate::observe::ClusterView, String> {
    let (cluster, nodes, services) = tokio::join!(reader.engine.cluster(), reader.engine.nodes(), reader.engine.service_count());
    let text = |e: crate::engine::EngineError| e.to_string();
    let cluster = cluster.map_err(text)?;
    let unlock_key = match cluster.settings.autolock {
        Some(true) => reader.engine.unlock_key().await.map_err(text)?.map(|key| key.fingerprint()),
        _ => None,
    };
    Ok(crate::observe::ClusterView { cluster, nodes: nodes.map_err(text)?, services: services.map_err(text)?, unlock_key })
}

/// Whether only the node's certificate can tell which swarm a host is in.
fn needs_certificate(report: &HostReport, known: &BTreeSet<NodeId>) -> bool {
    let Ok(engine) = &report.engine else { return false };
    match engine.swarm.state {
        LocalState::Active => !engine.swarm.node.as_ref().is_some_and(|n| known.contains(n)),
        LocalState::Error | LocalState::Locked => true,
        LocalState::Inactive | LocalState::Pending | LocalState::Other(_) => false,
    }
}

async fn read_identity(report: &HostReport, reader: Option<&Reader>) -> Result<crate::observe::NodeIdentity, String> {
    let host = reader.and_then(|r| r.host.as_ref()).ok_or("the host's files cannot be read over this connection")?;
    let root = report.engine.as_ref().map_or("/var/lib/docker", |e| e.data_root.as_str());
    let path = format!("{root}/swarm/certificates/swarm-node.crt");
    let pem = host.read_file(&path, CERTIFICATE_LIMIT).await.map_err(|e| format!("{path} could not be read: {e}"))?;
    identity_from_pem(&pem).map_err(|e| format!("{path}: {e}"))
}
