//! Performs one effect. The token is fetched here and goes straight into the join.

use crate::engine::{Engine, EngineError, ErrorClass, Force, Reason};
use crate::fleet::Fleet;
use crate::id::HostName;
use crate::machine::{Answer, Call, Effect};
use crate::observe::ReachError;
use crate::spec::ClusterSpec;
use std::sync::Arc;

/// Performs an effect to its answer. It never waits longer than the engine's own deadlines.
pub(super) async fn perform(spec: &ClusterSpec, fleet: &dyn Fleet, effect: &Effect) -> Answer {
    match perform_or_fail(spec, fleet, effect).await {
        Ok(answer) => answer,
        Err(error) => Answer::from_error(error),
    }
}

async fn perform_or_fail(spec: &ClusterSpec, fleet: &dyn Fleet, effect: &Effect) -> Result<Answer, EngineError> {
    let engine = engine_of(spec, fleet, &effect.host).await?;
    match &effect.call {
        Call::Init(request) => engine.init(request).await?,
        Call::Join { role, via, request } => {
            let manager = engine_of(spec, fleet, via).await?;
            // A token that could not be had means that nothing was sent to the joining engine: never in doubt.
            let token = manager.join_token(*role).await.map_err(|e| EngineError { class: not_begun(e.class), ..e })?;
            engine.join(request, &token).await?;
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
        Call::RemoveNode { node } => engine.remove_node(node, Force::No).await?,
        Call::LookHost => return Ok(Answer::SawHost(engine.info().await?.swarm)),
        Call::LookCluster => return Ok(Answer::SawCluster(engine.nodes().await?)),
    }
    Ok(Answer::Done)
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
