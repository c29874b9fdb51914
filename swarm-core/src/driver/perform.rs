//! Performs one effect. The token is fetched here and goes straight into the join.

use super::keys::KeyKeeper;
use super::tokens::Tokens;
use crate::engine::{Engine, EngineError, ErrorClass, Force, Reason};
use crate::fleet::Fleet;
use crate::id::{HostName, NodeId};
use crate::machine::{Answer, Call, Effect};
use crate::observe::{ClusterFacts, LocalState, NodeFacts, NodeState, ReachError};
use crate::plan::quorum;
use crate::spec::{ClusterSpec, NAME_LABEL, Role};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// How long a manager may take to say again that it is in no swarm.
const AGAIN: Duration = Duration::from_secs(5);

/// What effects are performed with.
pub(super) struct Performer<'a> {
    pub(super) spec: &'a ClusterSpec,
    pub(super) fleet: &'a dyn Fleet,
    pub(super) keys: &'a dyn KeyKeeper,
    pub(super) tokens: Tokens,
    /// Managers that said that they are in no swarm.
    pub(super) in_none: Vec<HostName>,
    /// Whether they must say it once more before one is made: it is long since they were asked, or it was tried before.
    pub(super) ask_again: AtomicBool,
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
        if !self.ask_again.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let doing = "asking the managers again";
        let refused = |message: String| EngineError { doing, class: ErrorClass::Refused, reason: Reason::Other, message };
        let asked = self.in_none.iter().filter(|name| *name != host).map(|name| async move {
            let info = timeout(AGAIN, async { engine_of(self.spec, self.fleet, name).await?.info().await }).await;
            match info {
                Ok(Ok(facts)) if facts.swarm.state == LocalState::Inactive => Ok(()),
                Ok(Ok(_)) => Err(refused(format!("{name} was in no swarm when this was planned, and is not so any more"))),
                Ok(Err(error)) => Err(refused(format!("{name} could not be asked again whether it is in no swarm: {}", error.message))),
                Err(_) => Err(refused(format!("{name} did not say again within {} s that it is in no swarm", AGAIN.as_secs()))),
            }
        });
        futures_util::future::try_join_all(asked).await?;
        // While the slowest of them thought, somebody else may have made the swarm here, and others may be joining it already.
        let seen = first.info().await.map_err(|e| EngineError { class: not_begun(e.class), ..e })?.swarm;
        if seen.state == LocalState::Inactive {
            return Ok(());
        }
        let message = "the host is in a swarm now, and was in none when this was planned".into();
        Err(EngineError { doing, class: ErrorClass::Conflict, reason: Reason::AlreadyInSwarm, message })
    }

    async fn perform_or_fail(&self, effect: &Effect) -> Result<Answer, EngineError> {
        let Self { spec, fleet, keys, tokens, .. } = self;
        let engine = engine_of(spec, *fleet, &effect.host).await?;
        match &effect.call {
            Call::Init(request) => {
                self.still_in_no_swarm(&effect.host, engine.as_ref()).await?;
                engine.init(request).await?;
            }
            Call::Join { role, via, request } => {
                let manager = engine_of(spec, *fleet, via).await?;
                // A token that could not be had means that nothing was sent to the joining engine: never in doubt.
                let token = tokens.take(via, manager.as_ref(), *role).await.map_err(|e| EngineError { class: not_begun(e.class), ..e })?;
                let joined = engine.join(request, &token).await;
                if matches!(&joined, Err(error) if matches!(error.reason, Reason::TokenRejected | Reason::ForeignCa)) {
                    tokens.forget(via, *role);
                }
                joined?;
            }
            Call::Leave { force, node } => return leave(engine.as_ref(), *force, node.as_ref()).await,
            Call::UpdateNode { node, change } => {
                let before = |e: EngineError| EngineError { class: not_begun(e.class), ..e };
                let facts = match change.role {
                    Some(Role::Worker) => demotable(engine.nodes().await.map_err(before)?, node)?,
                    _ => engine.node(node).await.map_err(before)?,
                };
                let missing = change.missing_on(&facts);
                if missing.is_empty() {
                    return Ok(Answer::AlreadySo);
                }
                engine.update_node(node, facts.version, &missing).await?;
            }
            Call::UpdateSwarm(change) => engine.update_swarm(change).await?,
            Call::StoreUnlockKey => return store_unlock_key(engine.as_ref(), *keys).await,
            Call::RemoveNode { node } => {
                // The engine removes whatever is not `ready`; after a change of leader that is every node for some seconds.
                let facts = engine.node(node).await.map_err(|e| EngineError { class: not_begun(e.class), ..e })?;
                if facts.state != NodeState::Down {
                    let message = format!("node {node} is {:?} now, and was down when this was planned", facts.state).to_lowercase();
                    return Err(EngineError { doing: "removing a node", class: ErrorClass::Conflict, reason: Reason::NodeInUse, message });
                }
                engine.remove_node(node, Force::No).await?;
            }
            Call::LookHost => return Ok(Answer::SawHost(engine.info().await?.swarm)),
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
            Call::LookCluster => {
                let (nodes, ()) = tokio::join!(engine.nodes(), tokens.prepare(&effect.host, engine.as_ref()));
                return Ok(Answer::SawCluster(nodes?));
            }
        }
        Ok(Answer::Done)
    }
}

/// A swarm that does not carry our name was made by somebody else.
fn is_ours(cluster: &ClusterFacts, name: &str) -> Result<(), EngineError> {
    let carries = cluster.labels.get(NAME_LABEL).map_or("", String::as_str);
    if carries == name {
        return Ok(());
    }
    let message = format!("the host is in swarm {} now, which is not the one that was to be made: somebody else was faster", cluster.id);
    Err(EngineError { doing: "looking at the new swarm", class: ErrorClass::Refused, reason: Reason::AlreadyInSwarm, message })
}

/// The node to demote, if the managers still are a majority without it: they may be others than when this was planned. The engine looks
/// at the same thing, and has the last word.
fn demotable(nodes: Vec<NodeFacts>, id: &NodeId) -> Result<NodeFacts, EngineError> {
    let doing = "demoting a manager";
    if !quorum::survives_without(&nodes, id) {
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
        _ => Err(refused("the key was stored and does not read back; it can be read with `docker swarm unlock-key` on a manager".into())),
    }
}

/// Leaving deletes a node's state: whose state it is, is checked in the same breath.
async fn leave(engine: &dyn Engine, force: Force, node: Option<&NodeId>) -> Result<Answer, EngineError> {
    let seen = engine.info().await.map_err(|e| EngineError { class: not_begun(e.class), ..e })?.swarm;
    let refused = |reason, message| Err(EngineError { doing: "leaving a swarm", class: ErrorClass::Refused, reason, message });
    match (node, &seen.node) {
        (Some(wanted), Some(is)) if wanted != is => {
            return refused(Reason::Other, format!("the host is node {is} now, and was {wanted} when this was planned"));
        }
        (Some(wanted), None) if seen.state == LocalState::Pending => {
            return refused(Reason::Other, format!("the host is joining a swarm now, and was node {wanted} when this was planned"));
        }
        // What was to be left is a join that had not ended, or had failed.
        (None, _) if seen.state == LocalState::Active => {
            return refused(Reason::AlreadyInSwarm, "the host's join has ended meanwhile, and it is in a swarm now".into());
        }
        _ => {}
    }
    if seen.state == LocalState::Inactive {
        return Ok(Answer::AlreadySo);
    }
    engine.leave(force).await?;
    Ok(Answer::Done)
}

fn not_begun(class: ErrorClass) -> ErrorClass {
    if class == ErrorClass::Unknown { ErrorClass::Unreachable } else { class }
}

async fn engine_of(spec: &ClusterSpec, fleet: &dyn Fleet, name: &HostName) -> Result<Arc<dyn Engine>, EngineError> {
    let unreachable = |message: String| EngineError { doing: "connecting", class: ErrorClass::Unreachable, reason: Reason::Other, message };
    let host = spec.host(name).ok_or_else(|| unreachable(format!("{name} is not in the file")))?;
    let actor = fleet.actor(host).await.map_err(|e: ReachError| unreachable(e.message))?;
    Ok(actor.engine)
}
