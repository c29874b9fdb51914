//! What lasts: lines that tasks write, and programs in containers.

use super::{EngineError, not_given};
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use std::collections::BTreeMap;
use std::fmt;
use tokio::io::AsyncWrite;

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

/// Which events of a swarm are wanted. Times are seconds since 1970, with a fraction if wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// From when on; an engine keeps the last 256. `None` is from now on.
    pub since: Option<String>,
    /// Until when; `None` is without an end.
    pub until: Option<String>,
    /// Only events of these types: `node`, `service`, `network`, `secret`, `config`.
    pub types: Vec<String>,
}

/// Something that happened in a swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwarmEvent {
    /// When, in nanoseconds since 1970, by the clock of the manager that wrote it down.
    pub time: i64,
    /// To what: `node`, `service`, `network`, `secret`, `config`.
    pub kind: String,
    /// What: `create`, `update`, `remove`.
    pub action: String,
    /// The id of the object.
    pub id: String,
    /// Its name, and what changed: `availability.new`, `state.old`, ….
    pub attributes: BTreeMap<String, String>,
}

/// Events as they come. It ends with the connection, with `until`, or with an error; dropping it ends the request.
pub type SwarmEvents = BoxStream<'static, Result<SwarmEvent, EngineError>>;

/// Questions whose answers last. Managers only. An engine that does not implement it refuses.
#[async_trait]
pub trait StreamsRead: Send + Sync {
    /// What happens in the swarm. Each manager hears of everything.
    async fn events(&self, _query: &EventQuery) -> Result<SwarmEvents, EngineError> {
        not_given("reading the events", "this engine does not say what happens in its swarm")
    }

    /// What the tasks of a service write.
    async fn logs(&self, _query: &LogQuery) -> Result<LogLines, EngineError> {
        not_given("reading the logs", "this engine gives no access to what tasks write")
    }
}

/// A program to run in a container that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecRequest {
    /// The container, by its id.
    pub container: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Whether it reads what is written to it.
    pub stdin: bool,
    /// Rows and columns of a terminal for it; `None` where it gets none.
    pub terminal: Option<(u16, u16)>,
    /// Variables beside those of the container, as `NAME=VALUE`.
    pub env: Vec<String>,
    /// As whom it runs; `None` is as the container.
    pub user: Option<String>,
    /// Where it runs; `None` is where the container does.
    pub workdir: Option<String>,
}

/// What a program wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// Whether to standard error; never where it has a terminal.
    pub error: bool,
    /// The bytes, as they came.
    pub bytes: Vec<u8>,
}

/// A program that runs in a container. Dropping it closes its input and output, and does not end it.
pub struct Exec {
    /// Its id in the engine, for [`Streams::exec_code`].
    pub id: String,
    /// What it reads. Shutting it down is the end of its input.
    pub input: Box<dyn AsyncWrite + Send + Unpin>,
    /// What it writes, until it ends.
    pub output: BoxStream<'static, Result<ExecOutput, EngineError>>,
}

impl fmt::Debug for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exec({})", self.id)
    }
}

fn no_programs<T>() -> Result<T, EngineError> {
    not_given("running a program in a container", "this engine runs no programs in containers")
}

/// Programs in containers of an engine, whether it is a manager or not. An engine that does not implement it refuses.
#[async_trait]
pub trait Streams: StreamsRead {
    /// Begins a program. [`Reason::NotFound`](super::Reason::NotFound) where there is no such container.
    async fn exec(&self, _request: &ExecRequest) -> Result<Exec, EngineError> {
        no_programs()
    }

    /// Tells the program's terminal its size: rows, columns.
    async fn exec_resize(&self, _id: &str, _size: (u16, u16)) -> Result<(), EngineError> {
        no_programs()
    }

    /// The exit code of a program that has ended; `None` while it runs.
    async fn exec_code(&self, _id: &str) -> Result<Option<i64>, EngineError> {
        no_programs()
    }
}
