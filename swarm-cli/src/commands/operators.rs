//! `swarm lock` and `swarm history`.

use super::agreed::agree;
use super::work::Session;
use crate::args_common::Format;
use crate::args_swarm::{HistoryArgs, LockCommand};
use crate::failure::Failure;
use crate::output;
use serde_json::json;
use std::time::Duration;
use swarm_core::engine::{Kind, Object, Query};
use swarm_core::fleet::Fleet;
use swarm_core::observe::{Observed, time};
use swarm_core::operators::{BEAT, LOCK, Lock, judge};

async fn config(session: &Session, name: &str) -> Result<(Observed, Option<Object>), Failure> {
    let (observed, lists) = session.listed(&[Query::all(Kind::Config).with("name", name)]).await?;
    Ok((observed, lists.into_iter().flatten().find(|o| o.name() == name)))
}

pub(super) async fn lock(command: &LockCommand, format: Format) -> Result<u8, Failure> {
    match command {
        LockCommand::Status { common } => {
            let session = Session::open(common).await?;
            let (_, there) = config(&session, LOCK).await?;
            let holder = match judge(there.as_ref(), "") {
                Lock::Held(holder) => holder,
                Lock::Unreadable => return Err(Failure::Other(format!("the config {LOCK} was made by someone else"))),
                Lock::Free | Lock::Mine => {
                    match format {
                        Format::Text => output::data("no run holds the swarm"),
                        _ => output::json("lock status", &json!({ "held": false })),
                    }
                    return Ok(0);
                }
            };
            // A run that is there gives a sign of life meanwhile.
            tokio::time::sleep(BEAT + Duration::from_secs(1)).await;
            let (_, later) = config(&session, LOCK).await?;
            let moved = later.as_ref().map(Object::version) != there.as_ref().map(Object::version);
            match format {
                Format::Text => output::data(&format!(
                    "{holder} holds the swarm, begun {}: {}",
                    time(holder.since),
                    if moved {
                        "it gives signs of life"
                    } else {
                        "no sign of life for 6 s; it is taken over after 16 s, or `swarm lock release` releases it"
                    }
                )),
                _ => output::json("lock status", &json!({ "held": true, "holder": holder, "alive": moved })),
            }
            Ok(0)
        }
        LockCommand::Release { common, yes } => {
            let session = Session::open(common).await?;
            let (observed, there) = config(&session, LOCK).await?;
            let Some(there) = there else {
                output::data("no run holds the swarm");
                return Ok(0);
            };
            let who = match judge(Some(&there), "") {
                Lock::Held(holder) => format!("the lock of {holder}, begun {}", time(holder.since)),
                _ => format!("the config {LOCK}, which no run made"),
            };
            agree(*yes, &format!("Release {who}? A run that is there stops."))?;
            let none = || Failure::Other("no manager answers for the swarm".into());
            let host = observed.answering_manager().and_then(|name| session.spec.host(name)).ok_or_else(none)?;
            let actor = session.fleet.actor(host).await.map_err(|e| Failure::Other(e.message))?;
            actor.engine.remove(Kind::Config, there.id()).await.map_err(|e| Failure::Other(e.to_string()))?;
            output::data("released");
            Ok(0)
        }
    }
}

pub(super) async fn history(args: &HistoryArgs, format: Format) -> Result<u8, Failure> {
    super::objects::runs_of(&Session::open(&args.common).await?, None, args.last, format).await
}
