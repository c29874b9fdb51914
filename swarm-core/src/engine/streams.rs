//! What lasts: lines that tasks write.

use super::{EngineError, ErrorClass, Reason};
use async_trait::async_trait;
use futures_util::stream::BoxStream;

/// Which lines are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// The service, by its id or name.
    pub service: String,
    /// Whether the stream goes on with what is written from now on.
    pub follow: bool,
    /// How many of the last lines of each task; `None` is all.
    pub tail: Option<u64>,
    /// Only lines from this time on: seconds since 1970, with a fraction if wanted.
    pub since: Option<String>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// The task that wrote it; empty where the engine does not say.
    pub task: String,
    /// Whether it was written to standard error.
    pub error: bool,
    /// What it says, as it was written: it may hold anything, control characters and secrets among them.
    pub text: String,
}

/// Lines as they come. It ends with the tasks, or with an error; dropping it ends the request.
pub type LogLines = BoxStream<'static, Result<LogLine, EngineError>>;

/// Questions whose answers last. Managers only. An engine that does not implement it refuses.
#[async_trait]
pub trait StreamsRead: Send + Sync {
    /// What the tasks of a service write.
    async fn logs(&self, _query: &LogQuery) -> Result<LogLines, EngineError> {
        let message = "this engine gives no access to what tasks write".to_owned();
        Err(EngineError { doing: "reading the logs", class: ErrorClass::Refused, reason: Reason::Other, message })
    }
}
