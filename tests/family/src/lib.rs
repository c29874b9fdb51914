//! A small family of steps: it reads a file of a host, and keeps a note of a run in the swarm.
//!
//! This is all that a family takes: its data as a closed enum, a [`Task`] for each kind, and [`Family`]. Plans, the runner, the envelope, lint,
//! saving and showing know it by those alone.

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use swarm_core::engine::{Body, Kind, Query};
use swarm_core::family::Family;
use swarm_core::id::HostName;
use swarm_core::machine::{Ask, Event, Move, Outcome, Reply, Task};
use swarm_core::observe::Observed;
use swarm_core::plan::{Action, LintFinding, Plan, Target, Work};

/// Every kind of step. A new one does not compile until each `match` below has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Note {
    /// Check that a host has a file.
    CheckFile {
        /// The host.
        host: HostName,
        /// The file.
        path: String,
    },
    /// Keep a note in the swarm.
    Write {
        /// Its name.
        name: String,
        /// What it says.
        text: String,
    },
}

impl Note {
    /// As a step's work.
    pub fn work(self) -> Work {
        let (verb, target) = match &self {
            Self::CheckFile { host, .. } => ("check-file", Target::Host(host.clone())),
            Self::Write { name, .. } => ("create-note", Target::Object { kind: "config".into(), name: name.clone() }),
        };
        Work { family: NAME.into(), verb: verb.into(), target, data: serde_json::to_value(self).unwrap_or_default() }
    }
}

const NAME: &str = "notes";

/// The family.
#[derive(Debug, Clone, Copy, Default)]
pub struct Notes;

impl Family for Notes {
    fn name(&self) -> &'static str {
        NAME
    }

    fn task(&self, work: &Work) -> Result<Box<dyn Task>, String> {
        let note: Note = serde_json::from_value(work.data.clone()).map_err(|e| e.to_string())?;
        Ok(match note {
            Note::CheckFile { host, path } => Box::new(CheckFile { host, path }),
            Note::Write { name, text } => Box::new(WriteNote { name, text, written: false }),
        })
    }

    fn lint(&self, plan: &Plan, _observed: &Observed) -> Vec<LintFinding> {
        let mut names = BTreeSet::new();
        let mut found = Vec::new();
        for step in &plan.steps {
            if let Action::Work(work) = &step.action
                && work.family == NAME
                && let Target::Object { name, .. } = &work.target
                && !names.insert(name.clone())
            {
                found.push(LintFinding::malformed(step, format!("writes the note {name} twice")));
            }
        }
        found
    }
}

#[derive(Debug)]
struct CheckFile {
    host: HostName,
    path: String,
}

impl Task for CheckFile {
    fn next(&mut self, event: Event<'_>, _now: Duration) -> Move {
        match event {
            Event::Begin | Event::Time => {
                let argv = vec!["test".into(), "-e".into(), self.path.clone()];
                Move::Ask(vec![Ask::Run { host: self.host.clone(), argv, patience: Duration::from_secs(30), input: None }])
            }
            Event::Answer(Ok(replies)) => Move::End(match replies.first() {
                Some(Reply::Ran { status: Some(0), .. }) => Outcome::Done { changed: false },
                _ => Outcome::Failed { message: format!("{} has no {}", self.host, self.path) },
            }),
            Event::Answer(Err(error)) => Move::End(Outcome::Failed { message: error.message.clone() }),
        }
    }
}

#[derive(Debug)]
struct WriteNote {
    name: String,
    text: String,
    written: bool,
}

impl Task for WriteNote {
    fn next(&mut self, event: Event<'_>, now: Duration) -> Move {
        match event {
            Event::Begin => Move::Wait { until: now + Duration::from_millis(50), progress: Some("thinking of what to write".into()) },
            Event::Time => {
                let data = base64::engine::general_purpose::STANDARD.encode(&self.text);
                Move::Ask(vec![Ask::Create(Kind::Config, Body::of(json!({ "Name": self.name, "Data": data })))])
            }
            Event::Answer(Ok(_)) if !self.written => {
                self.written = true;
                Move::Ask(vec![Ask::List(Query::all(Kind::Config).with("name", self.name.clone()))])
            }
            // Done means that a manager lists it.
            Event::Answer(Ok(replies)) => {
                let listed = replies.iter().any(|r| matches!(r, Reply::Objects(all) if all.iter().any(|o| o.name() == self.name)));
                Move::End(if listed { Outcome::Done { changed: true } } else { Outcome::InDoubt { message: "no manager lists it".into() } })
            }
            Event::Answer(Err(error)) => Move::End(Outcome::Failed { message: error.message.clone() }),
        }
    }
}
