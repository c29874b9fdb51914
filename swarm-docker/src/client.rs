//! One HTTP client for an engine, used by bollard and by the calls that must not pass through its logs.
//!
//! bollard writes request and answer bodies to the log at debug level, so whatever carries a token or a key is sent from here
//! instead. It also sends no API version (0.21.1), so the version is put into the path here, for both.

use crate::list::{self, Real};
use crate::reached::NotReached;
use crate::stream::{Connector, Target};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::http::request::Builder;
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde_json::Value;
use std::pin::pin;
use std::time::Duration;
use swarm_core::engine::{EngineError, ErrorClass, Reason, classify_answer};
use swarm_core::observe::{ReachError, ReachErrorKind};
use swarm_core::secret::Secret;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;

/// The oldest API this speaks: that of engine 20.10.
pub(crate) const OLDEST: (u32, u32) = (1, 41);
/// The newest API this was written for.
pub(crate) const NEWEST: (u32, u32) = (1, 53);

/// How long a question may take. A manager without a quorum needs 40 s to say so (moby `daemon/cluster/cluster.go`).
pub(crate) const READ: Duration = Duration::from_secs(45);
/// How long a change may take. The engine answers a join after 20 s at the latest.
pub(crate) const CHANGE: Duration = Duration::from_secs(40);

/// How long a connection to an engine may take to come about. SSH has deadlines of its own within it, and says what failed.
const DIAL: Duration = Duration::from_secs(32);
/// How long an engine may take to its first answer once it is connected.
const PING: Duration = Duration::from_secs(12);
/// How much longer than the version an engine's state may take to be used; a manager without a quorum takes very much longer.
const ALONG: Duration = Duration::from_millis(250);

/// What a call is, for errors and deadlines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doing {
    pub(crate) what: &'static str,
    pub(crate) mutating: bool,
}

impl Doing {
    pub(crate) const fn read(what: &'static str) -> Self {
        Self { what, mutating: false }
    }

    pub(crate) const fn change(what: &'static str) -> Self {
        Self { what, mutating: true }
    }

    pub(crate) fn deadline(self) -> Duration {
        if self.mutating { CHANGE } else { READ }
    }

    fn error(self, class: ErrorClass, reason: Reason, message: &str) -> EngineError {
        EngineError { doing: self.what, class, reason, message: clean(message) }
    }

    /// Nothing was sent.
    fn not_reached(self, error: &NotReached) -> EngineError {
        self.error(ErrorClass::Unreachable, Reason::Other, &error.0.message)
    }

    /// Something was sent, and no whole answer came.
    pub(crate) fn lost(self, message: &str) -> EngineError {
        let class = if self.mutating { ErrorClass::Unknown } else { ErrorClass::Unreachable };
        self.error(class, Reason::Other, message)
    }

    pub(crate) fn answered(self, status: u16, message: &str) -> EngineError {
        let (class, reason) = classify_answer(status, message, self.mutating);
        self.error(class, reason, message)
    }

    /// An answer that is not what it should be.
    pub(crate) fn unusable(self, message: &str) -> EngineError {
        self.error(if self.mutating { ErrorClass::Unknown } else { ErrorClass::Refused }, Reason::Unreadable, message)
    }

    pub(crate) async fn within<T>(self, work: impl Future<Output = Result<T, EngineError>>) -> Result<T, EngineError> {
        match tokio::time::timeout(self.deadline(), work).await {
            Ok(result) => result,
            Err(_) => Err(self.lost(&format!("no answer within {} s", self.deadline().as_secs()))),
        }
    }

    /// What a bollard error means.
    pub(crate) fn bollard_error(self, error: &bollard::errors::Error) -> EngineError {
        use bollard::errors::Error;
        match error {
            Error::DockerResponseServerError { status_code, message } => self.answered(*status_code, message),
            Error::IOError { err } => match err.get_ref().and_then(|e| e.downcast_ref::<NotReached>()) {
                Some(not_reached) => self.not_reached(not_reached),
                None => self.lost(&chain(err)),
            },
            Error::RequestTimeoutError => self.lost("no answer in time"),
            Error::JsonDataError { .. } | Error::JsonSerdeError { .. } => {
                self.unusable(&format!("the engine's answer cannot be read: {error}"))
            }
            other => self.lost(&chain(other)),
        }
    }
}

/// Text from an engine, fit to be shown: no secrets, no control characters, not endless.
pub(crate) fn clean(text: &str) -> String {
    swarm_core::secret::clean(text, 2000)
}

/// An error with what is behind it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = inner.source();
    }
    text
}

/// A client of one engine.
#[derive(Clone)]
pub(crate) struct EngineClient {
    http: Client<Connector, Body>,
    prefix: String,
}

impl EngineClient {
    /// Connects and agrees on an API version. The engine's state, which is what everybody asks for first, is asked for in the same
    /// breath, without a version; it is given if it comes as fast as the version does.
    pub(crate) async fn connect(target: Target) -> Result<(Self, Option<bollard::models::SystemInfo>), ReachError> {
        let connector = Connector::new(target.clone());
        let reached = connector.reached();
        let http = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(4)
            .pool_timer(TokioTimer::new())
            .build(connector);
        let mut client = Self { http, prefix: String::new() };
        let unusable = |message: String| ReachError { kind: ReachErrorKind::Unusable, message };
        let request = empty("/_ping").map_err(|e| unusable(e.to_string()))?;
        let state = empty("/info").map_err(|e| unusable(e.to_string()))?;
        let mut state = pin!(client.http.request(state));
        let mut ping = pin!(client.http.request(request));
        let mut given_up = pin!(async {
            if tokio::time::timeout(DIAL, reached.notified()).await.is_err() {
                let message = format!("no connection to {target:?} within {} s", DIAL.as_secs());
                return ReachError { kind: ReachErrorKind::Unreachable, message };
            }
            tokio::time::sleep(PING).await;
            let message = format!("the engine at {target:?} takes connections and does not answer: it hangs, or is overloaded");
            ReachError { kind: ReachErrorKind::EngineDown, message }
        });
        let mut early = None;
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut ping => break answer,
                error = &mut given_up => return Err(error),
                answer = &mut state, if early.is_none() => early = Some(answer),
            }
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Err(reach_error(&error)),
        };
        let header = answer.headers().get("api-version").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let newest = header
            .as_deref()
            .and_then(parse_version)
            .ok_or_else(|| unusable(format!("what answers at {target:?} is not a Docker engine: it names no API version")))?;
        if newest < OLDEST {
            let message = format!(
                "the engine speaks API {}.{}, and 1.41 (engine 20.10) is the oldest that is supported; upgrade it",
                newest.0, newest.1
            );
            return Err(unusable(message));
        }
        let version = newest.min(NEWEST);
        let info = async {
            let answer = match early {
                Some(early) => early,
                None => state.await,
            };
            serde_json::from_slice(&collect(answer.ok()?).await.ok()?).ok()
        };
        let info = tokio::time::timeout(ALONG, info).await.ok().flatten();
        client.prefix = format!("/v{}.{}", version.0, version.1);
        Ok((client, info))
    }

    /// The agreed version, for example `/v1.41`.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// bollard over this client.
    pub(crate) fn bollard(&self) -> Result<bollard::Docker, bollard::errors::Error> {
        let (http, prefix) = (self.http.clone(), self.prefix.clone());
        let transport = move |request: bollard::BollardRequest| {
            let (http, prefix) = (http.clone(), prefix.clone());
            async move {
                let (mut parts, body) = request.into_parts();
                parts.uri = versioned(&parts.uri, &prefix).map_err(std::io::Error::other)?;
                let body = body.map_err(BoxError::from).boxed_unsync();
                http.request(Request::from_parts(parts, body)).await.map_err(|e| bollard::errors::Error::IOError { err: io_error(e) })
            }
        };
        bollard::Docker::connect_with_custom_transport(transport, Some("http://engine"), CHANGE.as_secs(), bollard::API_DEFAULT_VERSION)
    }

    /// A call that does not pass through bollard. `None` is given for an empty answer.
    pub(crate) async fn call(&self, doing: Doing, method: Method, path: &str, body: Option<&Value>) -> Result<Option<Value>, EngineError> {
        self.call_as(doing, method, path, body, None).await
    }

    /// The same with a login to an image's registry, which the engine takes from a header.
    pub(crate) async fn call_as(
        &self,
        doing: Doing,
        method: Method,
        path: &str,
        body: Option<&Value>,
        login: Option<&Secret>,
    ) -> Result<Option<Value>, EngineError> {
        let bytes = doing.within(self.bytes(doing, method, path, body, login)).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|e| doing.unusable(&format!("the engine's answer is not JSON: {e}")))
    }

    /// A list, read entry by entry: what it holds never costs much more than its bytes.
    pub(crate) async fn list<W, T>(
        &self,
        doing: Doing,
        path: &str,
        real: Real,
        each: fn(W) -> Result<T, String>,
    ) -> Result<Vec<T>, EngineError>
    where
        W: serde::de::DeserializeOwned,
    {
        let bytes = doing.within(self.bytes(doing, Method::GET, path, None, None)).await?;
        list::read(&bytes, real, each).map_err(|e| doing.unusable(&format!("the engine's answer is not such a list: {e}")))
    }

    /// A body that lasts, once the engine has begun it; and whether its bytes come without frames.
    pub(crate) async fn stream(&self, doing: Doing, path: &str) -> Result<(bool, Incoming), EngineError> {
        let request = empty(&format!("{}{path}", self.prefix)).map_err(|e| doing.unusable(&e.to_string()))?;
        let answer = doing.within(self.send(doing, request)).await?;
        let kind = answer.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
        Ok((kind.contains("raw-stream"), answer.into_body()))
    }

    /// The same for a change, with a login to an image's registry.
    pub(crate) async fn post_stream(&self, doing: Doing, path: &str, login: Option<&Secret>) -> Result<Incoming, EngineError> {
        let request = self.request(doing, Method::POST, path, None, login)?;
        Ok(doing.within(self.send(doing, request)).await?.into_body())
    }

    /// Sends what comes, for as long as it comes. What the engine says to it follows.
    pub(crate) async fn put_stream(
        &self,
        doing: Doing,
        method: Method,
        path: &str,
        pieces: BoxStream<'static, Vec<u8>>,
    ) -> Result<Incoming, EngineError> {
        let frames = pieces.map(|piece| Ok::<_, BoxError>(Frame::data(Bytes::from(piece))));
        let request = self
            .to(method, path)
            .header("content-type", "application/x-tar")
            .body(StreamBody::new(frames).boxed_unsync())
            .map_err(|e| doing.unusable(&e.to_string()))?;
        Ok(self.send(doing, request).await?.into_body())
    }

    /// A call after which the connection is a stream of bytes both ways.
    pub(crate) async fn upgrade(&self, doing: Doing, path: &str, body: &Value) -> Result<TokioIo<Upgraded>, EngineError> {
        let bytes = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed_unsync();
        let request = self
            .to(Method::POST, path)
            .header("content-type", "application/json")
            .header("connection", "Upgrade")
            .header("upgrade", "tcp")
            .body(bytes)
            .map_err(|e| doing.unusable(&e.to_string()))?;
        let answer = doing.within(self.send(doing, request)).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(doing.unusable("the engine does not hand the connection over"));
        }
        hyper::upgrade::on(answer).await.map(TokioIo::new).map_err(|e| doing.lost(&chain(&e)))
    }

    /// The beginning of a request, with the agreed version.
    fn to(&self, method: Method, path: &str) -> Builder {
        Request::builder().method(method).uri(format!("http://engine{}{path}", self.prefix)).header("host", "engine")
    }

    /// The beginning of a good answer. Its body is still to come.
    async fn send(&self, doing: Doing, request: Request<Body>) -> Result<Response<Incoming>, EngineError> {
        let answer = self.http.request(request).await.map_err(|error| match not_reached(&error) {
            Some(not_reached) => doing.not_reached(not_reached),
            None => doing.lost(&chain(&error)),
        })?;
        let status = answer.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(answer);
        }
        let bytes = collect(answer).await.map_err(|e| doing.lost(&e))?;
        Err(doing.answered(status.as_u16(), &message_of(&bytes)))
    }

    async fn bytes(
        &self,
        doing: Doing,
        method: Method,
        path: &str,
        body: Option<&Value>,
        login: Option<&Secret>,
    ) -> Result<Bytes, EngineError> {
        let request = self.request(doing, method, path, body, login)?;
        collect(self.send(doing, request).await?).await.map_err(|e| doing.lost(&e))
    }

    fn request(
        &self,
        doing: Doing,
        method: Method,
        path: &str,
        body: Option<&Value>,
        login: Option<&Secret>,
    ) -> Result<Request<Body>, EngineError> {
        let bytes = body.map(|b| Bytes::from(b.to_string())).unwrap_or_default();
        let mut request = self.to(method, path).header("content-type", "application/json");
        if let Some(login) = login {
            // Marked, so that nothing between here and the wire shows it.
            let mut value = hyper::header::HeaderValue::from_str(login.expose())
                .map_err(|_| Doing::read(doing.what).unusable("the login is no text of a header"))?;
            value.set_sensitive(true);
            request = request.header("x-registry-auth", value);
        }
        request.body(Full::new(bytes).map_err(|never| match never {}).boxed_unsync()).map_err(|e| doing.unusable(&e.to_string()))
    }
}

/// What an error answer says.
fn message_of(bytes: &Bytes) -> String {
    let message = serde_json::from_slice::<Value>(bytes).ok().and_then(|v| v.get("message")?.as_str().map(str::to_owned));
    message.unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned())
}

async fn collect(answer: Response<Incoming>) -> Result<Bytes, String> {
    answer.into_body().collect().await.map(http_body_util::Collected::to_bytes).map_err(|e| chain(&e))
}

fn empty(path: &str) -> Result<Request<Body>, hyper::http::Error> {
    let body = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
    Request::builder().uri(format!("http://engine{path}")).header("host", "engine").body(body)
}

/// Puts the version in front of a path that has none.
fn versioned(uri: &Uri, prefix: &str) -> Result<Uri, hyper::http::Error> {
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let path = if path.starts_with("/v1.") { path.to_owned() } else { format!("{prefix}{path}") };
    Uri::builder().scheme("http").authority("engine").path_and_query(path).build()
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The connector's own error, if the request was never sent.
fn not_reached(error: &hyper_util::client::legacy::Error) -> Option<&NotReached> {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(found) = inner.downcast_ref::<NotReached>() {
            return Some(found);
        }
        source = inner.source();
    }
    None
}

fn io_error(error: hyper_util::client::legacy::Error) -> std::io::Error {
    match not_reached(&error) {
        Some(found) => std::io::Error::other(found.clone()),
        None => std::io::Error::other(error),
    }
}

fn reach_error(error: &hyper_util::client::legacy::Error) -> ReachError {
    match not_reached(error) {
        Some(found) => found.0.clone(),
        None => ReachError { kind: ReachErrorKind::EngineDown, message: format!("the engine does not answer: {}", clean(&chain(error))) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_gets_its_version_once() {
        let shown = |uri: &str| versioned(&uri.parse().unwrap(), "/v1.41").unwrap().to_string();
        assert_eq!(shown("http://x/info?a=b"), "http://engine/v1.41/info?a=b");
        assert_eq!(shown("http://x/v1.50/info"), "http://engine/v1.50/info");
    }

    #[test]
    fn what_an_engine_says_is_cleaned() {
        assert_eq!(clean("bad \x1b[31mtoken SWMTKN-1-abc-def\n"), "bad  [31mtoken SWMTKN-***");
    }
}
