//! Performs what steps of other families ask for. Payloads are put in here, and go straight into the call.

use super::perform::{Performer, engine_of};
use crate::engine::{Engine, EngineError, ErrorClass, Reason, Sealed};
use crate::host::{Command, HostError};
use crate::id::HostName;
use crate::machine::{Ask, Reply};
use crate::observe::ReachErrorKind;
use crate::secret::clean;
use futures_util::future::{BoxFuture, try_join_all};
use std::sync::Arc;

/// How much of a program's output is kept.
const OUTPUT: usize = 16 * 1024;

impl Performer<'_> {
    /// All of them side by side through one manager; the first that fails ends it.
    pub(super) async fn ask(&self, at: &HostName, asks: &[Ask]) -> Result<Vec<Reply>, EngineError> {
        if let [ask @ Ask::Run { host, .. }] = asks {
            return Ok(vec![self.run_on(host, ask).await?]);
        }
        let engine = engine_of(self.spec, self.fleet, at).await?;
        let calls = asks.iter().map(|ask| -> BoxFuture<'_, _> { Box::pin(self.ask_one(at, &engine, ask)) });
        try_join_all(calls.collect::<Vec<_>>()).await
    }

    async fn ask_one(&self, at: &HostName, engine: &Arc<dyn Engine>, ask: &Ask) -> Result<Reply, EngineError> {
        if ask.is_mutating() {
            self.tokens.same_swarm(engine.as_ref()).await.map_err(super::perform::not_sent)?;
        }
        Ok(match ask {
            Ask::List(query) => Reply::Objects(self.gather.list(at, Arc::clone(engine), query).await?),
            Ask::Get(kind, id) => Reply::Object(engine.get(*kind, id).await?),
            Ask::Distribution { image, login } => {
                let refused = |message| EngineError {
                    doing: "logging in to the registry",
                    class: ErrorClass::Refused,
                    reason: Reason::Other,
                    message,
                };
                let login = login.as_deref().map(|name| self.payloads.payload(name).map_err(refused)).transpose()?;
                Reply::Distribution(engine.distribution(image, login.as_ref()).await?)
            }
            Ask::Create(kind, body) => Reply::Created(engine.create(*kind, &Sealed::new(body, self.payloads)?).await?),
            Ask::Update { kind, id, version, body, rollback } => {
                engine.update(*kind, id, *version, &Sealed::new(body, self.payloads)?, *rollback).await?;
                Reply::Done
            }
            Ask::Remove(kind, id) => {
                engine.remove(*kind, id).await?;
                Reply::Done
            }
            // Of its own host, whoever is asked beside it.
            Ask::Info(host) => Reply::Info(Box::new(engine_of(self.spec, self.fleet, host).await?.info().await?)),
            Ask::Run { host, .. } => self.run_on(host, ask).await?,
        })
    }

    async fn run_on(&self, name: &HostName, ask: &Ask) -> Result<Reply, EngineError> {
        let Ask::Run { argv, patience, input, .. } = ask else { return Ok(Reply::Done) };
        let failed = |class, message: String| EngineError { doing: "running a program", class, reason: Reason::Other, message };
        let spec = self.spec.host(name).ok_or_else(|| failed(ErrorClass::Refused, format!("{name} is not in the file")))?;
        let host = self.fleet.machine(spec).await.map_err(|e| {
            let class = if e.kind == ReachErrorKind::Unusable { ErrorClass::Refused } else { ErrorClass::Unreachable };
            failed(class, e.message)
        })?;
        let input = input.as_deref().map(|name| self.payloads.payload(name)).transpose();
        let input = input.map_err(|message| failed(ErrorClass::Refused, message))?;
        let mut command = Command { timeout: *patience, elevated: true, ..Command::new(argv.iter().cloned()) };
        command.stdin = input.map(|secret| secret.expose().as_bytes().to_vec());
        match host.run(&command).await {
            Ok(ran) => {
                let output = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
                Ok(Reply::Ran { status: ran.status, output: output.lines().map(|line| clean(line, OUTPUT) + "\n").collect() })
            }
            Err(error @ (HostError::Lost { .. } | HostError::TimedOut { .. })) => Err(failed(ErrorClass::Unknown, error.to_string())),
            Err(error @ HostError::Unreachable { .. }) => Err(failed(ErrorClass::Unreachable, error.to_string())),
            Err(error) => Err(failed(ErrorClass::Refused, error.to_string())),
        }
    }
}
