//! What lasts, piece by piece: bytes come as they come, and become log lines, events, or the output of a program.

use crate::client::{Doing, chain};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use swarm_core::engine::EngineError;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes as they come; an error is the last thing that comes.
pub(crate) type Source = BoxStream<'static, Result<Bytes, String>>;

/// The data of a body.
pub(crate) fn of_body(body: Incoming) -> Source {
    let next = |mut body: Incoming| async move {
        loop {
            match body.frame().await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Some((Ok(data), body));
                    }
                }
                Err(error) => return Some((Err(chain(&error)), body)),
            }
        }
    };
    stream::unfold(body, next).boxed()
}

/// What can be read, until its end.
pub(crate) fn of_reader(reader: impl AsyncRead + Send + Unpin + 'static) -> Source {
    let next = |mut reader| async move {
        let mut piece = BytesMut::with_capacity(16 * 1024);
        match AsyncReadExt::read_buf(&mut reader, &mut piece).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(piece.freeze()), reader)),
            Err(error) => Some((Err(error.to_string()), reader)),
        }
    };
    stream::unfold(reader, next).boxed()
}

/// The next line of what came so far that is not blank, of at most so many bytes.
pub(crate) fn line(buffer: &mut BytesMut, ended: bool, longest: usize, doing: Doing) -> Option<Result<Bytes, EngineError>> {
    loop {
        let end = buffer.iter().position(|b| *b == b'\n').map(|at| at + 1).or((ended && !buffer.is_empty()).then_some(buffer.len()));
        let Some(end) = end else {
            let message = format!("a line of the engine's answer is longer than {} MiB", longest >> 20);
            return (buffer.len() > longest).then(|| Err(doing.unusable(&message)));
        };
        let line = buffer.split_to(end).freeze();
        if !line.iter().all(u8::is_ascii_whitespace) {
            return Some(Ok(line));
        }
    }
}

struct Pieces<F> {
    /// `None` when nothing more can come.
    source: Option<Source>,
    buffer: BytesMut,
    take: F,
}

impl<F> Pieces<F> {
    async fn next<T>(&mut self, doing: Doing) -> Option<Result<T, EngineError>>
    where
        F: FnMut(&mut BytesMut, bool) -> Option<Result<T, EngineError>>,
    {
        loop {
            if let Some(piece) = (self.take)(&mut self.buffer, self.source.is_none()) {
                if piece.is_err() {
                    self.source = None;
                    self.buffer.clear();
                }
                return Some(piece);
            }
            match self.source.as_mut()?.next().await {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(error)) => {
                    self.source = None;
                    return Some(Err(doing.lost(&error)));
                }
                None => self.source = None,
            }
        }
    }
}

/// Takes pieces out of what has come so far; `take` is given whether that is all. An error ends it.
pub(crate) fn pieces<T: Send + 'static>(
    source: Source,
    doing: Doing,
    take: impl FnMut(&mut BytesMut, bool) -> Option<Result<T, EngineError>> + Send + 'static,
) -> BoxStream<'static, Result<T, EngineError>> {
    let state = Pieces { source: Some(source), buffer: BytesMut::new(), take };
    stream::unfold(state, move |mut state| async move { state.next(doing).await.map(|piece| (piece, state)) }).boxed()
}
