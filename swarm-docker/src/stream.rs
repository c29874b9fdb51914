//! Byte streams to an engine, and the connector that gives them to the HTTP client.

use crate::reached::NotReached;
use hyper::Uri;
use hyper::rt::ReadBufCursor;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use swarm_core::host::{BoxStream, Host, HostError};
use swarm_core::observe::{ReachError, ReachErrorKind};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tower_service::Service;

/// The longest list that is taken. Ten thousand nodes are about half of it.
const LIST_LIMIT: usize = 64 << 20;
/// The longest answer about one thing: an engine, a swarm, a node.
const ONE_LIMIT: usize = 4 << 20;

/// How long the answer to a request may be; `None` for bytes that do not begin one.
fn answer_limit(request: &[u8]) -> Option<usize> {
    let line = std::str::from_utf8(request.split(|b| *b == b'\r').next()?).ok()?;
    let path = line.strip_suffix(" HTTP/1.1")?.split(' ').nth(1)?;
    let path = path.split('?').next()?;
    // It lasts as long as it is read, and is read piece by piece.
    let is_archive = path.contains("/containers/") && path.ends_with("/archive");
    if path.ends_with("/logs") || path.ends_with("/events") || path.ends_with("/images/create") || is_archive {
        return Some(usize::MAX);
    }
    let lists = ["/nodes", "/services", "/tasks", "/networks", "/secrets", "/configs", "/images/json", "/containers/json", "/volumes"];
    Some(if lists.iter().any(|list| path.ends_with(list)) { LIST_LIMIT } else { ONE_LIMIT })
}

/// Where an engine is.
#[derive(Clone)]
pub(crate) enum Target {
    /// A socket of this machine.
    Local(String),
    /// A socket of a host that is reached some other way.
    Host(Arc<dyn Host>, String),
    /// A TCP port with mutual TLS.
    Tls(Arc<crate::tls::TlsTarget>),
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(f, "unix://{path}"),
            Self::Host(host, path) => write!(f, "{}:{path}", host.name()),
            Self::Tls(target) => write!(f, "{target}"),
        }
    }
}

impl Target {
    pub(crate) async fn dial(&self) -> Result<BoxStream, NotReached> {
        let reach = |kind, message: String| NotReached(ReachError { kind, message });
        match self {
            Self::Local(path) => {
                let stream = tokio::net::UnixStream::connect(path).await.map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => {
                        reach(ReachErrorKind::NoEngine, format!("there is no engine socket {path}; install or start the engine"))
                    }
                    io::ErrorKind::PermissionDenied => reach(
                        ReachErrorKind::NoPermission,
                        format!("no permission to use {path}; add the user to the docker group, or run as root"),
                    ),
                    io::ErrorKind::ConnectionRefused => reach(ReachErrorKind::EngineDown, format!("no engine answers on {path}; start it")),
                    _ => reach(ReachErrorKind::EngineDown, format!("{path}: {error}")),
                })?;
                Ok(Box::new(stream))
            }
            Self::Host(host, path) => host.open_stream(path).await.map_err(|error| match error {
                HostError::NoSocket { message, kind } => reach(kind, message),
                other => reach(ReachErrorKind::Unreachable, other.to_string()),
            }),
            Self::Tls(target) => target.dial().await,
        }
    }
}

/// Makes connections for the HTTP client.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    target: Target,
    reached: Arc<Notify>,
}

impl Connector {
    pub(crate) fn new(target: Target) -> Self {
        Self { target, reached: Arc::default() }
    }

    /// Notified when a connection is there.
    pub(crate) fn reached(&self) -> Arc<Notify> {
        Arc::clone(&self.reached)
    }
}

impl Service<Uri> for Connector {
    type Response = EngineIo;
    type Error = NotReached;
    type Future = Pin<Box<dyn Future<Output = Result<EngineIo, NotReached>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NotReached>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { target, reached } = self.clone();
        Box::pin(async move {
            let stream = target.dial().await?;
            reached.notify_one();
            Ok(EngineIo(TokioIo::new(Bounded { stream, read: 0, limit: ONE_LIMIT, endless: false })))
        })
    }
}

/// Whether this begins a stream of bytes without an end of its own: a program in a container.
fn begins_a_program(request: &[u8]) -> bool {
    let line = request.split(|b| *b == b'\r').next().and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
    line.starts_with("POST /") && line.contains("/exec/") && line.ends_with("/start HTTP/1.1")
}

/// A stream that gives no more bytes between two requests than what was asked can be long: bollard collects bodies without a bound.
struct Bounded {
    stream: BoxStream,
    read: usize,
    limit: usize,
    /// Whether it is a program's own from now on.
    endless: bool,
}

impl AsyncRead for Bounded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = polled {
            self.read += buf.filled().len() - before;
            if self.read > self.limit && !self.endless {
                return Poll::Ready(Err(io::Error::other(format!("the answer is longer than {} MiB", self.limit >> 20))));
            }
        }
        polled
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // HTTP/1.1 without pipelining: a write after a read begins the next request.
        self.read = 0;
        self.limit = answer_limit(buf).unwrap_or(self.limit);
        self.endless |= begins_a_program(buf);
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A connection as the HTTP client wants it.
pub(crate) struct EngineIo(TokioIo<Bounded>);

impl Connection for EngineIo {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for EngineIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for EngineIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn an_answer_is_as_long_as_what_was_asked_can_be() {
        for (request, limit) in [
            ("GET /v1.41/info HTTP/1.1\r\nhost: x\r\n\r\n", ONE_LIMIT),
            ("GET /v1.41/nodes/abc HTTP/1.1\r\n\r\n", ONE_LIMIT),
            ("GET /swarm HTTP/1.1\r\n\r\n", ONE_LIMIT),
            ("GET /v1.41/nodes?filters=x HTTP/1.1\r\n\r\n", LIST_LIMIT),
            ("GET /v1.41/services HTTP/1.1\r\n\r\n", LIST_LIMIT),
            ("GET /v1.41/containers/json?all=true HTTP/1.1\r\n\r\n", LIST_LIMIT),
            ("GET /v1.41/volumes/archive HTTP/1.1\r\n\r\n", ONE_LIMIT),
            ("GET /v1.41/services/logs-of/x HTTP/1.1\r\n\r\n", ONE_LIMIT),
        ] {
            let (ours, mut engine) = tokio::io::duplex(1 << 20);
            let mut bounded = Bounded { stream: Box::new(ours), read: 0, limit: 0, endless: false };
            bounded.write_all(request.as_bytes()).await.unwrap();
            // A body does not change what was asked.
            bounded.write_all(b"{}").await.unwrap();
            let floods = async move { while engine.write_all(&[b'x'; 65536]).await.is_ok() {} };
            let reads = async move {
                let (mut taken, mut buffer) = (0, vec![0; 65536]);
                loop {
                    match bounded.read(&mut buffer).await {
                        Ok(got) => taken += got,
                        Err(error) => return (taken, error),
                    }
                }
            };
            let ((), (taken, error)) = tokio::join!(floods, reads);
            assert!(taken <= limit && taken + 65536 >= limit, "{request}: {taken}");
            assert!(error.to_string().contains(&format!("longer than {} MiB", limit >> 20)), "{error}");
        }
    }
}
