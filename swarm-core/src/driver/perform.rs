//! Performs one effect. The token is fetched here and goes straight into the join.

use super::keys::KeyKeeper;
use super::tokens::Tokens;
use crate::engine::{Engine, EngineError, ErrorClass, Force, Reason};
use crate::fleet::Fleet;
use crate::id::HostName;
use crate::machine::{Answer, Call, Effect};
use crate::observe::ReachError;
use crate::spec::ClusterSpec;
use std::sync::Arc;

/// Performs an effect to its answer. It never waits longer than the engine's own deadlines.
pub(super) async fn perform(spec: &ClusterSpec, fleet: &dyn Fleet, keys: &dyn KeyKeeper, tokens: &Tokens, effect: &Effect) -> Answer {
    match perform_or_fail(spec, fleet, keys, tokens, effect).await {
        Ok(answer) => answer,
        Err(error) => Answer::from_error(error),
    }
}

async fn perform_or_fail(
    spec: &ClusterSpec,
    fleet: &dyn Fleet,
    keys: &dyn KeyKeeper,
    tokens: &Tokens,
    effect: &Effect,
) -> Result<Answer, EngineError> {
    let engine = engine_of(spec, fleet, &effect.host).await?;
    match &effect.call {
        Call::Init(request) => engine.init(request).await?,
        Call::Join { role, via, request } => {
            let manager = engine_of(spec, fleet, via).await?;
            // A token that could not be had means that nothing was sent to the joining engine: never in doubt.
            let token = tokens.take(via, manager.as_ref(), *role).await.map_err(|e| EngineError { class: not_begun(e.class), ..e })?;
            let joined = engine.join(request, &token).await;
            if matches!(&joined, Err(error) if matches!(error.reason, Reason::TokenRejected | Reason::ForeignCa)) {
                tokens.forget(via, *role).await;
            }
            joined?;
        }
        Call::Leave { force, node } => return leave(engine.as_ref(), *force, node.as_ref()).await,
        Call::UpdateNode { node, change } => {
            let facts = engine.node(node).await.map_err(|e| EngineError { class: not_begun(e.class), ..e })?;
            let missing = change.missing_on(&facts);
            if missing.is_empty() {
                return Ok(Answer::AlreadySo);
            }
            engine.update_node(node, facts.version, &missing).await?;
        }
        Call::UpdateSwarm(change) => engine.update_swarm(change).await?,
        Call::StoreUnlockKey => return store_unlock_key(engine.as_ref(), keys).await,
        Call::RemoveNode { node } => engine.remove_node(node, Force::No).await?,
        Call::LookHost => return Ok(Answer::SawHost(engine.info().await?.swarm)),
        Call::LookCluster => {
            let (nodes, ()) = tokio::join!(engine.nodes(), tokens.prepare(&effect.host, engine.as_ref()));
            return Ok(Answer::SawCluster(nodes?));
        }
    }
    Ok(Answer::Done)
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
async fn leave(engine: &dyn Engine, force: Force, node: Option<&crate::id::NodeId>) -> Result<Answer, EngineError> {
    let seen = engine.info().await.map_err(|e| EngineError { class: not_begun(e.class), ..e })?.swarm;
    if let (Some(wanted), Some(is)) = (node, &seen.node)
        && wanted != is
    {
        return Err(EngineError {
            doing: "leaving a swarm",
            class: ErrorClass::Refused,
            reason: Reason::Other,
            message: format!("the host is node {is} now, and was {wanted} when this was planned"),
        });
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
