//! Performs one effect. The token is fetched here and goes straight into the join.

use super::gather::Gather;
use super::keys::KeyKeeper;
use super::tokens::Tokens;
use crate::advice::Advice;
use crate::engine::{Engine, EngineError, ErrorClass, Force, NodeChange, Payloads, Reason};
use crate::fleet::Fleet;
use crate::id::{HostName, NodeId};
use crate::machine::{Answer, Call, Effect};
use crate::observe::{ClusterFacts, LocalState, NodeFacts, NodeState, ReachError, ReachErrorKind, survives_without, unhealthy};
use crate::spec::{ClusterSpec, JOIN_LABEL, NAME_LABEL, Role};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long a manager may take to say again that it is in no swarm.
const AGAIN: Duration = Duration::from_secs(5);

/// What effects are performed with.
pub(super) struct Performer<'a> {
    pub(super) spec: &'a ClusterSpec,
    pub(super) fleet: &'a dyn Fleet,
    pub(super) keys: &'a dyn KeyKeeper,
    pub(super) payloads: &'a dyn Payloads,
    pub(super) tokens: Tokens,
    /// Managers that said that they are in no swarm.
    pub(super) in_none: Vec<HostName>,
    /// Whether they must say it once more before one is made: it was tried before.
    pub(super) ask_again: AtomicBool,
    /// Until when what they said counts without being asked again; `None` where they were not asked in this run.
    pub(super) fresh_until: Option<Instant>,
    /// Hosts on which this plan does something before they enter: where no engine is there yet, or none is up, it is in no swarm.
    pub(super) made_ready: BTreeSet<HostName>,
    /// Hosts whose engines were seen in a swarm while something else was under way for them.
    pub(super) in_one: Mutex<BTreeSet<HostName>>,
    /// Questions of steps that are put together.
    pub(super) gather: Gather,
}

impl Performer<'_> {
    /// Performs an effect to its answer. It never waits longer than the engine's own deadlines.
    pub(super) async fn perform(&self, effect: &Effect) -> Answer {
        match self.perform_or_fail(effect).await {
            Ok(answer) => answer,
            Err(error) => Answer::from_error(error),
        }
    }

    /// A swarm is made only beside managers that are in none, now.
    async fn still_in_no_swarm(&self, host: &HostName, first: &dyn Engine) -> Result<(), EngineError> {
        let again = self.ask_again.swap(true, Ordering::SeqCst);
        if !again && self.fresh_until.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        let doing = "asking the managers again";
        let refused = |message: String| EngineError { doing, class: ErrorClass::Refused, reason: Reason::Other, message };
        let asked = self.in_none.iter().filter(|name| *name != host).map(|name| async move {
            let info = timeout(AGAIN, async {
                let spec = self.spec.host(name).filter(|_| self.made_ready.contains(name));
                if let Some(host) = spec
                    && let Err(error) = self.fleet.actor(host).await
                    && matches!(error.kind, ReachErrorKind::NoEngine | ReachErrorKind::EngineDown)
                {
                    return Ok(None);
                }
                engine_of(self.spec, self.fleet, name).await?.info().await.map(Some)
            })
            .await;
            match info {
                Ok(Ok(None)) => Ok(()),
                Ok(Ok(Some(facts))) if *facts.swarm.state() == LocalState::Inactive => Ok(()),
                Ok(Ok(Some(_))) => Err(refused(format!("{name} was in no swarm when this was planned, and is in one now"))),
                Ok(Err(error)) => Err(refused(format!("{name} could not be asked again whether it is in no swarm: {}", error.message))),
                Err(_) => Err(refused(format!("{name} did not say again within {} s that it is in no swarm", AGAIN.as_secs()))),
            }
        });
        futures_util::future::try_join_all(asked).await?;
        // While the slowest of them thought, someone else may have made the swarm here, and others may be joining it already.
        let seen = first.info().await.map_err(not_sent)?.swarm;
        if *seen.state() == LocalState::Inactive {
            return Ok(());
        }
        let message = "the host is in a swarm now, and was in none when this was planned".into();
        Err(EngineError { doing, class: ErrorClass::Conflict, reason: Reason::AlreadyInSwarm, message })
    }

    /// What was seen of a host while something else is under way for it.
    fn note_state(&self, host: &HostName, state: &LocalState) {
        if let Ok(mut in_one) = self.in_one.lock() {
            match state {
                LocalState::Inactive => in_one.remove(host),
                _ => in_one.insert(host.clone()),
            };
        }
    }

    /// A host is not the node that it left behind: it may have joined since it was looked at.
    async fn is_another(&self, host: &HostName, node: &NodeId) -> Result<(), EngineError> {
        let engine = engine_of(self.spec, self.fleet, host).await?;
        let seen = engine.info().await.map_err(not_sent)?.swarm;
        self.note_state(host, seen.state());
        let doing = "asking the host that left a node behind";
        let (class, message) = if seen.node.as_ref() == Some(node) {
            (ErrorClass::Refused, format!("{host} is node {node} now"))
        } else if *seen.state() == LocalState::Pending {
            // Which node it will be shows when its join has ended.
            (ErrorClass::Conflict, format!("{host} is joining"))
        } else {
            return Ok(());
        };
        Err(EngineError { doing, class, reason: Reason::NodeInUse, message })
    }

    async fn perform_or_fail(&self, effect: &Effect) -> Result<Answer, EngineError> {
        let Self { spec, fleet, keys, tokens, .. } = self;
        if let Call::Ask(asks) = &effect.call {
            return self.ask(&effect.host, asks).await.map(Answer::Replies);
        }
        let engine = engine_of(spec, *fleet, &effect.host).await?;
        match &effect.call {
            Call::Init(request) => {
                self.still_in_no_swarm(&effect.host, engine.as_ref()).await?;
                engine.init(request).await?;
            }
            Call::Join { role, via, request, guarded } => {
                let manager = engine_of(spec, *fleet, via).await?;
                if *guarded {
                    all_healthy(&manager.nodes().await.map_err(not_sent)?, None)?;
                }
                // A token that could not be had means that nothing was sent to the joining engine: never in doubt.
                let token = tokens.take(via, manager.as_ref(), *role).await.map_err(not_sent)?;
                if self.in_one.lock().is_ok_and(|in_one| in_one.contains(&effect.host)) {
                    let message = "the host is in a swarm now, and was in none when this was planned".into();
                    let (class, reason) = (ErrorClass::Conflict, Reason::AlreadyInSwarm);
                    return Err(EngineError { doing: "joining the swarm", class, reason, message });
                }
                let joined = engine.join(request, &token).await;
                if matches!(&joined, Err(error) if matches!(error.reason, Reason::TokenRejected | Reason::ForeignCa)) {
                    tokens.forget(via, *role);
                }
                joined?;
            }
            Call::Leave { force, node, leaderless } => {
                if let Ok(mut in_one) = self.in_one.lock() {
                    in_one.remove(&effect.host);
                }
                return leave(engine.as_ref(), *force, node.as_ref(), *leaderless).await;
            }
            Call::UpdateNode { node, change } => {
                let facts = match change.role {
                    Some(role) => changeable(engine.nodes().await.map_err(not_sent)?, node, role)?,
                    None => engine.node(node).await.map_err(not_sent)?,
                };
                let missing = change.missing_on(&facts);
                // One that has its name now is alive, and not what a join left.
                if change.labels.contains_key(JOIN_LABEL) && !facts.hostname.is_empty() {
                    return Ok(Answer::AlreadySo);
                }
                if missing.is_empty() {
                    return Ok(Answer::AlreadySo);
                }
                engine.update_node(node, facts.version, &missing).await?;
            }
            Call::TakeBack { node, of } => {
                if let Some(of) = of {
                    self.is_another(of, node).await?;
                }
                return take_back(engine.as_ref(), node).await;
            }
            Call::UpdateSwarm(change) => {
                tokens.same_swarm(engine.as_ref()).await.map_err(not_sent)?;
                let key = change.root.as_ref().and_then(|root| root.key.as_ref()).map(|name| self.payloads.payload(name)).transpose();
                let key = key.map_err(|message| EngineError {
                    doing: "reading the root's private key",
                    class: ErrorClass::Refused,
                    reason: Reason::Other,
                    message,
                })?;
                engine.update_swarm(change, key).await?;
            }
            Call::Recover { advertise, listen } => engine.force_new_cluster(*advertise, listen).await?,
            Call::Unlock => {
                let Some(key) = keys.load() else {
                    let message = "no unlock key is kept: name its place in the file (swarm.unlock_key_file or swarm.unlock_key_command), or enter it".into();
                    let (class, reason) = (ErrorClass::Refused, Reason::Other);
                    return Err(EngineError { doing: "unlocking the manager", class, reason, message });
                };
                engine.unlock(&key).await?;
            }
            Call::StoreUnlockKey => {
                tokens.same_swarm(engine.as_ref()).await.map_err(not_sent)?;
                return store_unlock_key(engine.as_ref(), *keys).await;
            }
            Call::RemoveNode { node, of } => {
                if let Some(of) = of {
                    self.is_another(of, node).await?;
                }
                // The engine removes whatever is not `ready`; after a change of leader that is every node for some seconds.
                let facts = engine.node(node).await.map_err(not_sent)?;
                // An entry whose host died before it gave its name is never down: it stays unknown.
                let never_there = facts.hostname.is_empty() && facts.manager.is_none() && facts.state == NodeState::Unknown;
                if facts.state != NodeState::Down && !never_there {
                    let message = format!("node {node} is {}, and is removed only when it is down", facts.state);
                    return Err(EngineError { doing: "removing a node", class: ErrorClass::Conflict, reason: Reason::NodeInUse, message });
                }
                engine.remove_node(node, Force::No).await?;
            }
            Call::Ask(_) => {}
            Call::LookHost => {
                let seen = engine.info().await?.swarm;
                self.note_state(&effect.host, seen.state());
                return Ok(Answer::SawHost(seen));
            }
            Call::LookMade { name } => {
                let seen = engine.info().await?.swarm;
                if seen.control_available {
                    is_ours(&engine.cluster().await?, name)?;
                }
                return Ok(Answer::SawHost(seen));
            }
            Call::LookNew { name } => {
                let (cluster, nodes, ()) = tokio::join!(engine.cluster(), engine.nodes(), tokens.prepare(&effect.host, engine.as_ref()));
                is_ours(&cluster?, name)?;
                return Ok(Answer::SawCluster(nodes?));
            }
            Call::LookSwarm => return Ok(Answer::SawSwarm(Box::new(engine.cluster().await?))),
            Call::LookCluster => {
                let (nodes, ()) = tokio::join!(engine.nodes(), tokens.prepare(&effect.host, engine.as_ref()));
                return Ok(Answer::SawCluster(nodes?));
            }
        }
        Ok(Answer::Done)
    }
}

/// A swarm that does not carry our name was made by someone else.
fn is_ours(cluster: &ClusterFacts, name: &str) -> Result<(), EngineError> {
    let carries = cluster.labels.get(NAME_LABEL).map_or("", String::as_str);
    if carries == name {
        return Ok(());
    }
    let message = format!("the host is in swarm {} now, which is not the one that was to be made: someone else was faster", cluster.id);
    Err(EngineError { doing: "looking at the new swarm", class: ErrorClass::Refused, reason: Reason::AlreadyInSwarm, message })
}

pub(super) fn not_sent(error: EngineError) -> EngineError {
    EngineError { class: not_begun(error.class), ..error }
}

/// Managers are changed only while all others are healthy. What is dying as this is asked shows at the next change.
fn all_healthy(nodes: &[NodeFacts], changing: Option<&NodeId>) -> Result<(), EngineError> {
    let Some(node) = unhealthy(nodes, changing) else { return Ok(()) };
    let name = if node.hostname.is_empty() { "no host name" } else { node.hostname.as_str() };
    let message = format!(
        "manager {} ({name}) is not reached, and managers are changed only while all others are healthy: one more that fails could cost the quorum; {}",
        node.id,
        Advice::RemoveManager { node: node.id.clone() }
    );
    Err(EngineError { doing: "changing the managers", class: ErrorClass::Conflict, reason: Reason::Unhealthy, message })
}

/// Takes a member out of raft that no host is any more, if the rest is a majority.
async fn take_back(engine: &dyn Engine, id: &NodeId) -> Result<Answer, EngineError> {
    let nodes = engine.nodes().await.map_err(not_sent)?;
    let Some(node) = nodes.iter().find(|n| n.id == *id) else { return Ok(Answer::AlreadySo) };
    if node.manager.is_none() && node.role == Role::Worker {
        return Ok(Answer::AlreadySo);
    }
    let doing = "taking a dead manager back";
    if !survives_without(&nodes, id) {
        let message = format!("the managers without node {id} are no majority that is reached");
        return Err(EngineError { doing, class: ErrorClass::Refused, reason: Reason::Quorum, message });
    }
    engine.update_node(id, node.version, &NodeChange { role: Some(Role::Worker), ..NodeChange::default() }).await?;
    Ok(Answer::Done)
}

/// The node whose role is to change, if the managers allow it as they are now: they may be others than when this was planned. The engine
/// looks at the same thing, and has the last word.
fn changeable(nodes: Vec<NodeFacts>, id: &NodeId, role: Role) -> Result<NodeFacts, EngineError> {
    let doing = if role == Role::Worker { "demoting a manager" } else { "promoting a worker" };
    let dead = unhealthy(&nodes, None).is_some_and(|n| n.id == *id);
    let changes = nodes.iter().any(|n| n.id == *id && (n.role != role || n.manager.is_some() != (role == Role::Manager)));
    if changes && !dead {
        all_healthy(&nodes, Some(id))?;
    }
    if role == Role::Worker && !survives_without(&nodes, id) {
        let message = "the managers that are left would be no majority: they are fewer now than when this was planned".into();
        return Err(EngineError { doing, class: ErrorClass::Refused, reason: Reason::Quorum, message });
    }
    let found = nodes.into_iter().find(|n| n.id == *id);
    let message = format!("node {id} is not in the swarm any more");
    found.ok_or(EngineError { doing, class: ErrorClass::Conflict, reason: Reason::NotFound, message })
}

/// The key goes from the engine to its keeper, and is read back: done means that it is there.
async fn store_unlock_key(engine: &dyn Engine, keys: &dyn KeyKeeper) -> Result<Answer, EngineError> {
    let refused =
        |message: String| EngineError { doing: "storing the unlock key", class: ErrorClass::Refused, reason: Reason::Other, message };
    let key = engine.unlock_key().await?.ok_or_else(|| refused("the swarm has no unlock key".into()))?;
    if keys.fingerprint().as_deref() == Some(key.fingerprint().as_str()) {
        return Ok(Answer::AlreadySo);
    }
    keys.store(&key).map_err(refused)?;
    match keys.fingerprint() {
        Some(stored) if stored == key.fingerprint() => Ok(Answer::Done),
        _ => Err(refused(format!("the key was stored and does not read back; {}", Advice::ReadUnlockKey))),
    }
}

/// Leaving deletes a node's state: whose state it is, is checked in the same breath.
async fn leave(engine: &dyn Engine, force: Force, node: Option<&NodeId>, leaderless: bool) -> Result<Answer, EngineError> {
    let seen = engine.info().await.map_err(not_sent)?.swarm;
    let refused = |reason, message| Err(EngineError { doing: "leaving a swarm", class: ErrorClass::Refused, reason, message });
    match (node, &seen.node) {
        (Some(wanted), Some(is)) if wanted != is => {
            return refused(Reason::Other, format!("the host is node {is} now, and was {wanted} when this was planned"));
        }
        (Some(wanted), None) if matches!(seen.state(), LocalState::Pending | LocalState::Locked) => {
            let is = if *seen.state() == LocalState::Locked { "locked" } else { "joining a swarm" };
            return refused(Reason::Other, format!("the host is {is} now, and was node {wanted} when this was planned"));
        }
        _ if leaderless && seen.cluster.is_some() => {
            return refused(Reason::Other, "the host hears its leader again, and stays".into());
        }
        // What was to be left is a join that had not ended, or had failed.
        (None, _) if *seen.state() == LocalState::Active => {
            return refused(Reason::AlreadyInSwarm, "the host's join has ended meanwhile, and it is in a swarm now".into());
        }
        _ => {}
    }
    if *seen.state() == LocalState::Inactive {
        return Ok(Answer::AlreadySo);
    }
    engine.leave(force).await?;
    Ok(Answer::Done)
}

fn not_begun(class: ErrorClass) -> ErrorClass {
    if class == ErrorClass::Unknown { ErrorClass::Unreachable } else { class }
}

pub(super) async fn engine_of(spec: &ClusterSpec, fleet: &dyn Fleet, name: &HostName) -> Result<Arc<dyn Engine>, EngineError> {
    let unreachable = |message: String| EngineError { doing: "connecting", class: ErrorClass::Unreachable, reason: Reason::Other, message };
    let host = spec.host(name).ok_or_else(|| unreachable(format!("{name} is not in the file")))?;
    let actor = fleet.actor(host).await.map_err(|e: ReachError| unreachable(e.message))?;
    Ok(actor.engine)
}
