//! `swarm events`: what happens in a swarm, from one manager at a time, so that it has one order. Each manager hears of everything.

use super::work::Session;
use crate::args_common::Format;
use crate::args_swarm::EventsArgs;
use crate::failure::Failure;
use crate::output;
use futures_util::StreamExt;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use swarm_core::engine::{ErrorClass, EventQuery, SwarmEvent};
use swarm_core::fleet::FleetRead;
use swarm_core::observe::time;
use swarm_core::spec::HostSpec;

/// How long no manager may answer before it is given up.
const PATIENCE: Duration = Duration::from_secs(60);

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn seconds(at: Duration) -> String {
    format!("{}.{:09}", at.as_secs(), at.subsec_nanos())
}

pub(super) async fn events(args: &EventsArgs, format: Format) -> Result<u8, Failure> {
    for kind in &args.types {
        if !["node", "service", "network", "secret", "config"].contains(&kind.as_str()) {
            return Err(Failure::Usage(format!("--type {kind}: write node, service, network, secret or config")));
        }
    }
    let session = Session::open(&args.common).await?;
    let mut since = now().saturating_sub(args.since);
    let until = (!args.follow).then(|| seconds(now()));
    // Of another manager the last ones come again.
    let mut shown: BTreeSet<(i64, String, String)> = BTreeSet::new();
    let mut silent_since = None;
    loop {
        let (observed, _) = session.objects(&[]).await?;
        let managers: Vec<&HostSpec> = observed.cluster.live().iter().filter_map(|name| session.spec.host(name)).collect();
        for manager in managers {
            let Ok(reader) = session.fleet.reader(manager).await else { continue };
            let query = EventQuery { since: Some(seconds(since)), until: until.clone(), types: args.types.clone() };
            let mut stream = match reader.engine.events(&query).await {
                Ok(stream) => stream,
                Err(error) if error.class == ErrorClass::Refused => return Err(Failure::Other(format!("{}: {error}", manager.name))),
                Err(_) => continue,
            };
            silent_since = None;
            let ended = loop {
                match stream.next().await {
                    None => break true,
                    Some(Err(error)) => {
                        output::note(&format!("{}: {error}; another manager is asked", manager.name));
                        break false;
                    }
                    Some(Ok(event)) => {
                        if shown.insert((event.time, event.id.clone(), event.action.clone())) {
                            tell(&event, format);
                        }
                        let at = Duration::from_nanos(u64::try_from(event.time).unwrap_or(0));
                        since = since.max(at);
                    }
                }
            };
            if ended && !args.follow {
                return Ok(0);
            }
            // What is old enough does not come again.
            let old = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX).saturating_sub(60_000_000_000);
            shown.retain(|(time, ..)| *time >= old);
        }
        let first = *silent_since.get_or_insert_with(std::time::Instant::now);
        if first.elapsed() >= PATIENCE {
            return Err(Failure::Other(format!("no manager has answered for {} s", PATIENCE.as_secs())));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn tell(event: &SwarmEvent, format: Format) {
    let when = time(u64::try_from(event.time).unwrap_or(0) / 1_000_000_000);
    let name = event.attributes.get("name").map_or(event.id.as_str(), String::as_str);
    if format != Format::Text {
        return output::json_line(&json!({
            "time": when, "nanoseconds": event.time, "type": event.kind, "action": event.action, "id": event.id, "name": name,
            "attributes": event.attributes,
        }));
    }
    let more: Vec<String> =
        event.attributes.iter().filter(|(key, _)| *key != "name").map(|(key, value)| format!("{key}={value}")).collect();
    output::data(&output::clean(format!("{when}  {} {} {name} {}", event.kind, event.action, more.join(" ")).trim_end()));
}
