//! Looks at every host at once. It holds readers only, so it cannot change anything.

use super::progress::{Progress, ProgressEvent};
use crate::addr::AddressSelector;
use crate::engine::{EngineError, Reason};
use crate::fleet::{FleetRead, Reader};
use crate::id::{HostName, NodeId};
use crate::intent::Scope;
use crate::observe::{Fact, HostReport, LocalState, Observation, ReachError, ReachErrorKind, SeenAt, identity_from_pem};
use crate::spec::{ClusterSpec, HostSpec, Role};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How much of a certificate file is read.
pub(super) const CERTIFICATE_LIMIT: usize = 64 * 1024;

/// How long what was seen may be taken for what is. After that, as when someone thought about a plan before saying yes, managers are asked
/// again before anything is decided by their word.
pub(super) const FRESH: Duration = Duration::from_secs(2);

/// How long a host that did not answer the last look may take for this one.
const SHORT: Duration = Duration::from_secs(4);

/// Hosts whose engine was not reached in a look.
pub(super) fn silent(observation: &Observation) -> BTreeSet<HostName> {
    observation.hosts.iter().filter(|(_, report)| report.is_silent()).map(|(name, _)| name.clone()).collect()
}

/// Looks at all hosts of the file, as many at a time as its policy says.
pub async fn inspect(spec: &ClusterSpec, fleet: &dyn FleetRead, progress: &dyn Progress) -> Observation {
    inspect_after(spec, fleet, progress, &BTreeSet::new(), Scope::All).await
}

/// The same after a look that the hosts in `silent` did not answer: they are given less time.
pub(super) async fn inspect_after(
    spec: &ClusterSpec,
    fleet: &dyn FleetRead,
    progress: &dyn Progress,
    silent: &BTreeSet<HostName>,
    scope: Scope,
) -> Observation {
    let (asked, others): (Vec<&HostSpec>, Vec<&HostSpec>) =
        spec.hosts().partition(|host| scope == Scope::All || host.role == Role::Manager);
    progress.report(&ProgressEvent::InspectStarted { hosts: asked.len() });
    let concurrency = spec.policy().concurrency;
    let (at, began) = (now(), Instant::now());
    let first = spec.managers().next().map(|host| &host.name);
    let whole = |host: &HostSpec| scope == Scope::All || first == Some(&host.name);
    let looks = asked.into_iter().map(|host| look_within(spec, host, fleet, progress, (silent.contains(&host.name), whole(host))));
    let mut looked = ask_the_others(side_by_side(looks.collect(), concurrency).await, concurrency).await;
    let mut left = others;
    if !looked.iter().any(|(_, report, _)| report.view.is_known()) {
        // Its managers may be other hosts than those that the file has as managers.
        let looks = left.drain(..).map(|host| look_within(spec, host, fleet, progress, (silent.contains(&host.name), true)));
        looked.extend(side_by_side(looks.collect(), concurrency).await);
    }
    let looked = list_again(looked, began, concurrency).await;
    let known = listed(&looked);
    let hosts: BTreeMap<HostName, HostReport> = stream::iter(looked)
        .map(|(name, mut report, reader)| {
            let known = &known;
            async move {
                if needs_certificate(&report, known) {
                    report.identity = Fact::of(read_identity(&report, reader.as_ref()).await, now());
                }
                (name, report)
            }
        })
        .buffer_unordered(concurrency)
        .collect()
        .await;
    let left = left.into_iter().map(|host| {
        let error = ReachError { kind: ReachErrorKind::NotAsked, message: "it was not asked".into() };
        (host.name.clone(), unreached(error))
    });
    Observation { at, hosts: hosts.into_iter().chain(left).collect() }
}

/// So many looks at a time.
async fn side_by_side(looks: Vec<BoxFuture<'_, One>>, concurrency: usize) -> Looked {
    stream::iter(looks).buffer_unordered(concurrency).collect().await
}

/// One host's look, as long as it may take: less where it did not answer the last one.
fn look_within<'a>(
    spec: &'a ClusterSpec,
    host: &'a HostSpec,
    fleet: &'a dyn FleetRead,
    progress: &'a dyn Progress,
    (was_silent, whole): (bool, bool),
) -> BoxFuture<'a, One> {
    // Boxed: a future whose type names its closure cannot be spawned by an embedder (rust-lang/rust#102211).
    Box::pin(async move {
        let limit = spec.policy().timeout;
        let patience = if was_silent { limit.min(SHORT) } else { limit };
        let (report, reader) = timeout(patience, look(host, fleet, whole)).await.unwrap_or_else(|_| {
            let message = format!("it did not answer within {} s", patience.as_secs());
            (unreached(ReachError { kind: ReachErrorKind::Unreachable, message }), None)
        });
        let error = report.engine.as_ref().err().map(|e| e.message.clone());
        progress.report(&ProgressEvent::HostInspected { host: host.name.clone(), error });
        (host.name.clone(), report, reader)
    })
}

/// The time of an answer that comes in now; 0 where the clock is before 1970.
#[allow(clippy::disallowed_methods, reason = "it is kept for the reader, and decides nothing")]
pub(super) fn now() -> SeenAt {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    SeenAt(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A host, what it said, and what it can be asked more with.
type One = (HostName, HostReport, Option<Reader>);
type Looked = Vec<One>;

fn listed(looked: &Looked) -> BTreeSet<NodeId> {
    looked.iter().filter_map(|(_, r, _)| r.view.known()).flat_map(|v| &v.nodes).map(|n| n.id.clone()).collect()
}

/// A node that no manager lists may have joined after the managers were asked. They are asked again, so that their word is the later
/// one: only then does it mean that the node was removed. The same where some host took long to answer.
async fn list_again(looked: Looked, began: Instant, concurrency: usize) -> Looked {
    let known = listed(&looked);
    let unlisted = |report: &HostReport| {
        let swarm = report.engine.as_ref().map(|e| &e.swarm);
        swarm.is_ok_and(|s| {
            matches!(s.state(), LocalState::Active | LocalState::Pending) && s.node.as_ref().is_some_and(|n| !known.contains(n))
        })
    };
    if began.elapsed() < FRESH && !looked.iter().any(|(_, report, _)| unlisted(report)) {
        return looked;
    }
    stream::iter(looked)
        .map(|(name, mut report, reader)| async move {
            if let (true, Some(reader)) = (report.view.is_known(), &reader) {
                report.view = Fact::of(view(reader).await, now());
            }
            (name, report, reader)
        })
        .buffer_unordered(concurrency)
        .collect()
        .await
}

fn unreached(error: ReachError) -> HostReport {
    HostReport::of(Err(error))
}

/// Where one manager was asked what is in the swarm for all: the others are asked too, if it gave no answer or one of them names another swarm.
async fn ask_the_others(looked: Looked, concurrency: usize) -> Looked {
    let manages = |report: &HostReport| report.engine.as_ref().is_ok_and(|e| e.swarm.manages() && e.swarm.cluster.is_some());
    let left_out = |report: &HostReport| manages(report) && report.view == Fact::NotAsked;
    let swarms: BTreeSet<_> = looked.iter().filter_map(|(_, r, _)| r.engine.as_ref().ok()?.swarm.cluster.clone()).collect();
    let known = looked.iter().any(|(_, report, _)| report.view.is_known());
    if !looked.iter().any(|(_, report, _)| left_out(report)) || known && swarms.len() == 1 {
        return looked;
    }
    stream::iter(looked)
        .map(|(name, mut report, reader)| async move {
            if let (true, Some(reader)) = (left_out(&report), &reader) {
                report.view = Fact::of(view(reader).await, now());
            }
            (name, report, reader)
        })
        .buffer_unordered(concurrency)
        .collect()
        .await
}

async fn look(host: &HostSpec, fleet: &dyn FleetRead, whole: bool) -> (HostReport, Option<Reader>) {
    match fleet.reader(host).await {
        Ok(reader) => (ask(host, &reader, whole).await, Some(reader)),
        Err(error) => (unreached(error), None),
    }
}

/// Asks one host; what is in the swarm only where `whole` says so.
async fn ask(host: &HostSpec, reader: &Reader, whole: bool) -> HostReport {
    let mut early = pin!(view(reader));
    let mut seen = None;
    let info = {
        let mut info = pin!(reader.engine.info());
        match info.as_mut().now_or_never() {
            Some(info) => info,
            // A host that is to be a manager probably is one: what only managers tell is asked for without waiting for the answer.
            None if whole && (host.role == Role::Manager || host.absent) => loop {
                tokio::select! {
                    biased;
                    info = &mut info => break info,
                    view = &mut early, if seen.is_none() => seen = Some(view),
                }
            },
            None => info.await,
        }
    };
    let engine = match info {
        Ok(engine) => engine,
        Err(error) => {
            return unreached(ReachError { kind: ReachErrorKind::EngineDown, message: error.to_string() });
        }
    };
    let swarm = &engine.swarm;
    let manages = swarm.manages();
    // A manager without a quorum was asked twice inside its `/info` already, and says the same for each question: 20 s.
    let view = match (manages, &swarm.cluster) {
        (true, Some(_)) if !whole => Fact::NotAsked,
        (true, Some(cluster)) => {
            let early = match seen {
                Some(view) => view,
                None => early.await,
            };
            let looked = match early {
                Ok(view) if view.cluster.id == *cluster => Ok(view),
                _ => view(reader).await,
            };
            match looked {
                // It leads, or hears who leads, and what it says cannot be read: that is no lost quorum.
                Err(error) if error.reason == Reason::Unreadable => {
                    return unreached(ReachError { kind: ReachErrorKind::Unusable, message: error.to_string() });
                }
                looked => Fact::of(looked, now()),
            }
        }
        (true, None) => Fact::Unknown(swarm.error.clone().unwrap_or_else(|| "it cannot name its swarm".into())),
        (false, _) => Fact::NotAsked,
    };
    let promoted = host.role == Role::Manager && !swarm.control_available;
    let wants_machine =
        *swarm.state() != LocalState::Active || promoted || !matches!(host.advertise_selector(), Some(AddressSelector::Ip(_)));
    let machine = match &reader.host {
        Some(machine) if wants_machine => Fact::of(machine.machine().await, now()),
        _ => Fact::NotAsked,
    };
    HostReport { machine, view, ..HostReport::of(Ok(engine)) }
}

async fn view(reader: &Reader) -> Result<crate::observe::ClusterView, EngineError> {
    let (cluster, nodes, services) = tokio::join!(reader.engine.cluster(), reader.engine.nodes(), reader.engine.service_count());
    let cluster = cluster?;
    let unlock_key = match cluster.settings.autolock {
        Some(true) => reader.engine.unlock_key().await?.map(|key| key.fingerprint()),
        _ => None,
    };
    Ok(crate::observe::ClusterView { cluster, nodes: nodes?, services: services?, unlock_key })
}

/// Whether only the node's certificate can tell which swarm a host is in.
fn needs_certificate(report: &HostReport, known: &BTreeSet<NodeId>) -> bool {
    let Ok(engine) = &report.engine else { return false };
    match engine.swarm.state() {
        LocalState::Pending if engine.swarm.node.is_none() => false,
        LocalState::Active | LocalState::Pending => !engine.swarm.node.as_ref().is_some_and(|n| known.contains(n)),
        LocalState::Error | LocalState::Locked => true,
        LocalState::Inactive | LocalState::Other(_) => false,
    }
}

async fn read_identity(report: &HostReport, reader: Option<&Reader>) -> Result<crate::observe::NodeIdentity, String> {
    let host = reader.and_then(|r| r.host.as_ref()).ok_or("the host's files cannot be read over this connection")?;
    let root = report.engine.as_ref().map_or("/var/lib/docker", |e| e.data_root.as_str());
    let path = format!("{root}/swarm/certificates/swarm-node.crt");
    let pem = host.read_file(&path, CERTIFICATE_LIMIT).await.map_err(|e| format!("{path} could not be read: {e}"))?;
    identity_from_pem(&pem).map_err(|e| format!("{path}: {e}"))
}
