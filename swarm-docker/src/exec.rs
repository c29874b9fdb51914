//! Programs in containers: the connection becomes theirs. Without a terminal their two outputs come in frames.

use crate::client::Doing;
use crate::engine::DockerEngine;
use crate::pieces::{of_reader, pieces};
use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use swarm_core::engine::{EngineError, Exec, ExecOutput, ExecRequest, Streams};

const WHAT: &str = "running a program in a container";

fn part(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[async_trait]
impl Streams for DockerEngine {
    async fn exec(&self, request: &ExecRequest) -> Result<Exec, EngineError> {
        let doing = self.change(WHAT);
        let terminal = request.terminal.is_some();
        // Engines from 23.0 on (API 1.42) have the size from the first moment; older ones get it afterwards.
        let size = request.terminal.map(|(rows, columns)| [rows, columns]);
        let body = json!({
            "AttachStdin": request.stdin,
            "AttachStdout": true,
            "AttachStderr": true,
            "Tty": terminal,
            "ConsoleSize": size,
            "Cmd": request.argv,
            "Env": request.env,
            "User": request.user.clone().unwrap_or_default(),
            "WorkingDir": request.workdir.clone().unwrap_or_default(),
        });
        let start = json!({ "Detach": false, "Tty": terminal, "ConsoleSize": size });
        let path = format!("/containers/{}/exec", part(&request.container));
        let made = self.client().call(doing, Method::POST, &path, Some(&body)).await?;
        let id = made.as_ref().and_then(|m| m.get("Id")?.as_str()).ok_or_else(|| doing.unusable("the engine gave no id"))?.to_owned();
        let io = self.client().upgrade(doing, &format!("/exec/{}/start", part(&id)), &start).await?;
        if let Some(size) = request.terminal {
            self.exec_resize(&id, size).await?;
        }
        let (read, write) = tokio::io::split(io);
        let output = pieces(of_reader(read), Doing::change(WHAT), move |buffer, _| take(buffer, terminal).map(Ok));
        Ok(Exec { id, input: Box::new(write), output })
    }

    async fn exec_resize(&self, id: &str, (rows, columns): (u16, u16)) -> Result<(), EngineError> {
        let path = format!("/exec/{}/resize?h={rows}&w={columns}", part(id));
        self.client().call(Doing::change("resizing a terminal"), Method::POST, &path, None).await?;
        Ok(())
    }

    async fn exec_code(&self, id: &str) -> Result<Option<i64>, EngineError> {
        let found = self.read(Doing::read("asking for an exit code"), &format!("/exec/{}/json", part(id))).await?;
        let runs = found.get("Running").and_then(Value::as_bool) == Some(true);
        Ok(found.get("ExitCode").and_then(Value::as_i64).filter(|_| !runs))
    }
}

/// What has come so far of the next piece: a large frame is not waited for as a whole, so that no frame is kept in memory.
fn take(buffer: &mut BytesMut, raw: bool) -> Option<ExecOutput> {
    if raw {
        return (!buffer.is_empty()).then(|| ExecOutput { error: false, bytes: buffer.split().to_vec() });
    }
    let header: [u8; 8] = buffer.get(..8)?.try_into().ok()?;
    let [kind, a, b, c, length @ ..] = header;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    let there = (buffer.len() - 8).min(length);
    if there == 0 && length > 0 {
        return None;
    }
    buffer.advance(8);
    let bytes = buffer.split_to(there).to_vec();
    if there < length {
        // The rest comes as a frame of its own.
        let rest = u32::try_from(length - there).unwrap_or(u32::MAX).to_be_bytes();
        let mut again = BytesMut::from(&[kind, a, b, c][..]);
        again.extend_from_slice(&rest);
        again.unsplit(buffer.split());
        *buffer = again;
    }
    Some(ExecOutput { error: kind == 2, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn frames_come_whole_or_in_pieces_and_in_order() {
        let frame = |kind: u8, text: &str| {
            let length = u32::try_from(text.len()).unwrap().to_be_bytes();
            [&[kind, 0, 0, 0][..], &length, text.as_bytes()].concat()
        };
        let all = [frame(1, "hello "), frame(2, "trouble"), frame(1, ""), frame(1, "world")].concat();
        for size in [1, 3, 8, 9, 1000] {
            let (mut near, far) = tokio::io::duplex(size);
            let mut source = pieces(of_reader(far), Doing::change(WHAT), |buffer, _| take(buffer, false).map(Ok));
            let sent = all.clone();
            let writes = async move { near.write_all(&sent).await };
            let reads = async {
                let (mut out, mut err) = (Vec::new(), Vec::new());
                while let Some(piece) = source.next().await {
                    let piece = piece.unwrap();
                    if piece.error { err.extend(piece.bytes) } else { out.extend(piece.bytes) }
                }
                (out, err)
            };
            let (written, (out, err)) = tokio::join!(writes, reads);
            written.unwrap();
            assert_eq!((out.as_slice(), err.as_slice()), (&b"hello world"[..], &b"trouble"[..]), "{size}");
        }
    }
}
