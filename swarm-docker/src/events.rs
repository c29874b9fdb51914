//! What happens in a swarm, as its managers tell it: one JSON object after the other.

use crate::client::Doing;
use crate::engine::DockerEngine;
use crate::pieces::{line, of_body, pieces};
use bytes::BytesMut;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use swarm_core::engine::{EngineError, EventQuery, SwarmEvent, SwarmEvents};

const DOING: Doing = Doing::read("reading the events");

/// The longest event that is taken. A node's labels are in it.
const EVENT: usize = 1 << 20;

pub(crate) async fn events(engine: &DockerEngine, query: &EventQuery) -> Result<SwarmEvents, EngineError> {
    let part = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut filters = json!({ "scope": ["swarm"] });
    if let (false, Some(map)) = (query.types.is_empty(), filters.as_object_mut()) {
        map.insert("type".into(), json!(query.types));
    }
    let mut path = format!("/events?filters={}", part(&filters.to_string()));
    for (name, value) in [("since", &query.since), ("until", &query.until)] {
        if let Some(value) = value {
            path = format!("{path}&{name}={}", part(value));
        }
    }
    let (_, body) = engine.client().stream(DOING, &path).await?;
    Ok(pieces(of_body(body), DOING, take))
}

/// The next event of what came so far.
fn take(buffer: &mut BytesMut, ended: bool) -> Option<Result<SwarmEvent, EngineError>> {
    let line = line(buffer, ended, EVENT, DOING)?;
    Some(line.and_then(|line| read(&line).map_err(|why| DOING.unusable(&why))))
}

#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "Type", default)]
    kind: String,
    #[serde(rename = "Action", default)]
    action: String,
    #[serde(rename = "Actor", default)]
    actor: Actor,
    #[serde(rename = "timeNano", default)]
    time: i64,
}

#[derive(Deserialize, Default)]
struct Actor {
    #[serde(rename = "ID", default)]
    id: String,
    #[serde(rename = "Attributes", default)]
    attributes: Option<BTreeMap<String, String>>,
}

fn read(line: &[u8]) -> Result<SwarmEvent, String> {
    let wire: Wire = serde_json::from_slice(line).map_err(|e| format!("the engine's answer is no event: {e}"))?;
    let Wire { kind, action, actor, time } = wire;
    Ok(SwarmEvent { time, kind, action, id: actor.id, attributes: actor.attributes.unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_one_by_one() {
        let text = "{\"Type\":\"node\",\"Action\":\"update\",\"Actor\":{\"ID\":\"n\",\"Attributes\":{\"name\":\"w1\"}},\"timeNano\":7}\n\n{\"Type\":\"secret\"}";
        let mut buffer = BytesMut::new();
        let mut found = Vec::new();
        for byte in text.bytes() {
            buffer.extend_from_slice(&[byte]);
            found.extend(take(&mut buffer, false).map(Result::unwrap));
        }
        assert_eq!((found.len(), found[0].time, found[0].attributes["name"].as_str()), (1, 7, "w1"));
        assert_eq!(take(&mut buffer, true).unwrap().unwrap().kind, "secret");
        assert!(read(b"[1]").is_err() && take(&mut buffer, true).is_none());
        let mut endless = BytesMut::from(vec![b'x'; EVENT + 1].as_slice());
        assert!(take(&mut endless, false).unwrap().unwrap_err().message.contains("longer than 1 MiB"));
    }
}
