//! Lines that tasks write, as the engine streams them: frames of eight bytes and a payload, or raw bytes where a task has a terminal.

use crate::client::Doing;
use crate::engine::DockerEngine;
use crate::pieces::{of_body, pieces};
use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use swarm_core::engine::{EngineError, EventQuery, LogLine, LogLines, LogQuery, StreamsRead, SwarmEvents};

const DOING: Doing = Doing::read("reading the logs");

/// The longest line that is taken whole; the engine cuts at 16 KiB itself.
const LINE: usize = 64 * 1024;

#[async_trait]
impl StreamsRead for DockerEngine {
    async fn logs(&self, query: &LogQuery) -> Result<LogLines, EngineError> {
        let part = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let tail = query.tail.map_or("all".to_owned(), |tail| tail.to_string());
        let mut path =
            format!("/services/{}/logs?stdout=true&stderr=true&details=true&follow={}&tail={tail}", part(&query.service), query.follow);
        if let Some(since) = &query.since {
            path = format!("{path}&since={}", part(since));
        }
        let (raw, body) = self.client().stream(DOING, &path).await?;
        let take_line = move |buffer: &mut BytesMut, ended| take(buffer, raw, ended).map(Ok);
        Ok(pieces(of_body(body), DOING, take_line))
    }

    async fn events(&self, query: &EventQuery) -> Result<SwarmEvents, EngineError> {
        crate::events::events(self, query).await
    }
}

/// The next whole line of what came so far.
fn take(buffer: &mut BytesMut, raw: bool, ended: bool) -> Option<LogLine> {
    if raw {
        let end = buffer.iter().position(|b| *b == b'\n').map(|at| at + 1);
        let end = end.or((buffer.len() >= LINE || ended && !buffer.is_empty()).then_some(buffer.len()))?;
        return Some(line(&buffer.split_to(end).freeze(), false));
    }
    let header: [u8; 8] = buffer.get(..8)?.try_into().ok()?;
    let [kind, _, _, _, length @ ..] = header;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    if buffer.len() < 8 + length && !ended {
        return None;
    }
    buffer.advance(8);
    let payload = buffer.split_to(length.min(buffer.len())).freeze();
    Some(line(&payload, kind == 2))
}

/// A line with the details in front: `KEY=VALUE,KEY=VALUE text`.
fn line(bytes: &Bytes, error: bool) -> LogLine {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches(['\n', '\r']);
    let (details, rest) = text.split_once(' ').unwrap_or((text, ""));
    let task = details.split(',').find_map(|pair| pair.strip_prefix("com.docker.swarm.task.id="));
    match task {
        Some(task) => LogLine { task: task.to_owned(), error, text: rest.to_owned() },
        None => LogLine { task: String::new(), error, text: text.to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_one_by_one() {
        let frame = |kind: u8, text: &str| {
            let mut bytes = vec![kind, 0, 0, 0];
            bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
            bytes.extend(text.as_bytes());
            bytes
        };
        let details = "com.docker.swarm.node.id=n,com.docker.swarm.service.id=s,com.docker.swarm.task.id=t";
        let all = [frame(1, &format!("{details} hello world\n")), frame(2, "no details\n")].concat();
        let mut buffer = BytesMut::new();
        let mut lines = Vec::new();
        for byte in all {
            buffer.extend_from_slice(&[byte]);
            lines.extend(take(&mut buffer, false, false));
        }
        let of = |task: &str, error, text: &str| LogLine { task: task.into(), error, text: text.into() };
        assert_eq!(lines, [of("t", false, "hello world"), of("", true, "no details")]);
        // A frame that says it is longer than everything that comes ends with what came.
        buffer.extend_from_slice(&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, b'x']);
        assert_eq!(take(&mut buffer, false, false), None);
        assert_eq!(take(&mut buffer, false, true), Some(of("", false, "x")));
        buffer.extend_from_slice(b"raw one\nraw two");
        assert_eq!(take(&mut buffer, true, false), Some(of("", false, "raw one")));
        assert_eq!(take(&mut buffer, true, false), None);
        assert_eq!(take(&mut buffer, true, true), Some(of("", false, "raw two")));
    }
}
