//! A step of a family of work, under way: what it asks for, what it hears, and what it does next.

use super::Work;
use super::outcome::Outcome;
use crate::engine::{Body, EngineError, Kind, Object, Query};
use crate::id::HostName;
use crate::observe::EngineFacts;
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// One call that a task asks for. All but a program and the question to one engine go to any manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// List objects.
    List(Query),
    /// Read one.
    Get(Kind, String),
    /// The digest and the platforms of an image as its registry has it. A registry that is not reached is not asked again.
    Distribution {
        /// The image.
        image: String,
        /// The name of the payload that is the login to the registry.
        login: Option<String>,
    },
    /// Make one.
    Create(Kind, Body),
    /// Replace the specification of one, if its version is still this one.
    Update {
        /// Its kind.
        kind: Kind,
        /// Its id.
        id: String,
        /// The version it must have.
        version: u64,
        /// What it is to be.
        body: Body,
        /// Whether the specification before the present one is put back instead.
        rollback: bool,
    },
    /// Remove one.
    Remove(Kind, String),
    /// What the engine of a host says of itself and of its part in the swarm. It is not asked again where it does not answer.
    Info(HostName),
    /// Run a program on a host.
    Run {
        /// The host.
        host: HostName,
        /// The program and its arguments.
        argv: Vec<String>,
        /// When it is given up.
        patience: Duration,
        /// The name of the payload that it reads on standard input.
        input: Option<String>,
    },
}

impl Ask {
    /// Whether it changes something.
    pub fn is_mutating(&self) -> bool {
        match self {
            Self::List(_) | Self::Get(..) | Self::Distribution { .. } | Self::Info(_) => false,
            Self::Create(..) | Self::Update { .. } | Self::Remove(..) | Self::Run { .. } => true,
        }
    }
}

/// The reply to one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The objects that fit.
    Objects(Vec<Object>),
    /// One object.
    Object(Object),
    /// What a registry has of an image.
    Distribution(Value),
    /// What an engine says of itself.
    Info(Box<EngineFacts>),
    /// It was made, and this is its id.
    Created(String),
    /// It was done.
    Done,
    /// A program ended.
    Ran {
        /// Its exit status; `None` where a signal ended it.
        status: Option<u32>,
        /// What it wrote to standard output and error, cleaned.
        output: String,
    },
}

/// What a task hears.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// The steps it needs have ended well.
    Begin,
    /// The answers to everything it asked for, in order; or the first of them that failed.
    Answer(&'a Result<Vec<Reply>, EngineError>),
    /// The time it waited for has come.
    Time,
}

/// What a task does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// All of these, side by side; their answers come together. Changes are asked for one at a time.
    Ask(Vec<Ask>),
    /// Wait until then.
    Wait {
        /// When, counted from the beginning of the run.
        until: Duration,
        /// What is to be shown meanwhile, if that has changed.
        progress: Option<String>,
    },
    /// It has ended.
    End(Outcome),
}

/// Gives the task of a step, or what of its data cannot be read.
pub type MakeTask<'a> = &'a dyn Fn(&Work) -> Result<Box<dyn Task>, String>;

/// A step of a family under way. Pure: what happened goes in, what to do comes out, and time is an argument.
pub trait Task: fmt::Debug + Send + Sync {
    /// The one function of it. It is called again only after what it asked for was answered, or the time it waited for has come.
    fn next(&mut self, event: Event<'_>, now: Duration) -> Move;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Before what changes something it is asked whether the swarm is still the one of the plan.
    #[test]
    fn what_changes_something_is_known() {
        let body = || Body::of(json!({ "Name": "a" }));
        let update = Ask::Update { kind: Kind::Service, id: "a".into(), version: 1, body: body(), rollback: false };
        let run = Ask::Run { host: "m1".into(), argv: vec!["true".into()], patience: Duration::from_secs(1), input: None };
        for ask in [Ask::Create(Kind::Secret, body()), update, Ask::Remove(Kind::Secret, "a".into()), run] {
            assert!(ask.is_mutating(), "{ask:?}");
        }
        let distribution = Ask::Distribution { image: "a:1".into(), login: None };
        for ask in [Ask::List(Query::all(Kind::Node)), Ask::Get(Kind::Node, "a".into()), Ask::Info("m1".into()), distribution] {
            assert!(!ask.is_mutating(), "{ask:?}");
        }
    }
}
