//! The steps: an engine's state is copied, an engine is restarted, one that was left stopped is started, a state is put in place or moved aside.

use crate::scripts;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use swarm_core::engine::{Kind, Object, Query};
use swarm_core::family::Family;
use swarm_core::id::{HostName, NodeId};
use swarm_core::machine::{Ask, Event, Move, Outcome, Reply, Task};
use swarm_core::observe::Observed;
use swarm_core::plan::{Action, LintFinding, Plan, Target, Work};

/// The name of the payload that is the packed state.
pub const STATE: &str = "state";

/// How long a copy, with the engine's stop and start, may take.
const COPY: Duration = Duration::from_secs(900);
/// How long a manager may take to be heard again after its engine was started.
const BACK: Duration = Duration::from_secs(120);
/// How often it is looked for.
const PAUSE: Duration = Duration::from_millis(200);

/// Every kind of step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Kept {
    /// Stop the engine, copy its state, start it, and wait until it is a manager again. One that is locked waits for its key instead, and
    /// has no node here.
    Copy { host: HostName, node: Option<NodeId>, data_root: String },
    /// Stop the engine and start it: it waits for its key then.
    Restart { host: HostName, data_root: String },
    /// Start an engine that a backup or a drill stopped.
    Start { host: HostName, data_root: String },
    /// Put a state in the place of an engine that is in no swarm.
    Place { host: HostName, data_root: String },
    /// See that an engine is stopped and stays so.
    Stays { host: HostName, data_root: String },
    /// Move the state of a stopped engine aside.
    Aside { host: HostName, data_root: String },
}

impl Kept {
    pub(crate) fn work(self) -> Work {
        let (verb, host) = match &self {
            Self::Copy { host, .. } => ("copy-state", host),
            Self::Restart { host, .. } => ("restart-engine", host),
            Self::Start { host, .. } => ("start-engine", host),
            Self::Place { host, .. } => ("place-state", host),
            Self::Stays { host, .. } => ("see-stopped", host),
            Self::Aside { host, .. } => ("set-state-aside", host),
        };
        let target = Target::Host(host.clone());
        Work { family: NAME.into(), verb: verb.into(), target, data: serde_json::to_value(self).unwrap_or_default() }
    }
}

const NAME: &str = "backup";

/// The family of backups.
#[derive(Debug, Clone, Copy, Default)]
pub struct Backups;

impl Family for Backups {
    fn name(&self) -> &'static str {
        NAME
    }

    fn task(&self, work: &Work) -> Result<Box<dyn Task>, String> {
        let kept: Kept = serde_json::from_value(work.data.clone()).map_err(|e| e.to_string())?;
        let run = |host: HostName, argv: Vec<String>, input: Option<String>, node: Option<NodeId>| -> Box<dyn Task> {
            Box::new(Program { ask: Ask::Run { host, argv, patience: COPY, input }, node, until: None })
        };
        Ok(match kept {
            Kept::Copy { host, node, data_root } => run(host, scripts::copy(&data_root), None, node),
            Kept::Restart { host, data_root } => run(host, scripts::restart(&data_root), None, None),
            Kept::Start { host, data_root } => run(host, scripts::start(&data_root), None, None),
            Kept::Place { host, data_root } => run(host, scripts::place(&data_root), Some(STATE.into()), None),
            Kept::Stays { host, .. } => run(host, scripts::stays(), None, None),
            Kept::Aside { host, data_root } => run(host, scripts::set_aside(&data_root), None, None),
        })
    }

    /// One engine is stopped at a time, and nothing else is done in such a plan. What is done to engines that are stopped already goes along
    /// with anything.
    fn lint(&self, plan: &Plan, _observed: &Observed) -> Vec<LintFinding> {
        let stops = ["copy-state", "restart-engine", "place-state"];
        let is_kept = |action: &Action| matches!(action, Action::Work(work) if work.family == NAME && stops.contains(&work.verb.as_str()));
        let stops = plan.steps.iter().filter(|s| is_kept(&s.action)).count();
        let others = plan.steps.iter().filter(|s| !is_kept(&s.action) && s.action != Action::Unlock).count();
        if stops == 0 || (stops == 1 && others == 0) {
            return Vec::new();
        }
        let stops = plan.steps.iter().filter(|s| is_kept(&s.action));
        stops.map(|s| LintFinding::harmful(s, "stops an engine beside other steps")).collect()
    }
}

/// A program on a host, and then, where its engine is a manager, until the others hear it again.
#[derive(Debug)]
struct Program {
    ask: Ask,
    node: Option<NodeId>,
    until: Option<Duration>,
}

impl Program {
    fn look(&self) -> Move {
        Move::Ask(vec![Ask::List(Query::all(Kind::Node))])
    }

    /// The engine was started: it is looked for until the others hear it, or for so long.
    fn again(&self, why: &str, until: Duration, now: Duration) -> Move {
        if now < until {
            return Move::Wait { until: now + PAUSE, progress: Some("waiting until it is a manager again".into()) };
        }
        let waited = BACK.as_secs();
        Move::End(Outcome::InDoubt {
            message: format!("its state was copied, and the others did not hear it again within {waited} s: {why}"),
        })
    }
}

impl Task for Program {
    fn next(&mut self, event: Event<'_>, now: Duration) -> Move {
        match (event, self.until) {
            (Event::Begin, _) => Move::Ask(vec![self.ask.clone()]),
            (Event::Time, _) => self.look(),
            (Event::Answer(Ok(replies)), None) => match (replies.first(), &self.node) {
                (Some(Reply::Ran { status: Some(0), .. }), None) => Move::End(Outcome::Done { changed: true }),
                (Some(Reply::Ran { status: Some(0), .. }), Some(_)) => {
                    self.until = Some(now + BACK);
                    self.look()
                }
                (Some(Reply::Ran { output, status }), _) => {
                    let status = status.map_or("a signal".to_owned(), |s| format!("status {s}"));
                    Move::End(Outcome::Failed { message: format!("{} ({status})", output.trim().replace('\n', "; ")) })
                }
                _ => Move::End(Outcome::Failed { message: "nothing was answered".into() }),
            },
            (Event::Answer(Ok(replies)), Some(until)) => {
                let Some(node) = &self.node else { return Move::End(Outcome::Done { changed: true }) };
                match replies.first() {
                    Some(Reply::Objects(all)) if all.iter().any(|o| o.id() == node.as_str() && is_back(o)) => {
                        Move::End(Outcome::Done { changed: true })
                    }
                    _ => self.again("it is not listed as ready and reachable", until, now),
                }
            }
            (Event::Answer(Err(error)), Some(until)) => self.again(&error.message, until, now),
            (Event::Answer(Err(error)), None) => Move::End(match error.class {
                // The script goes on without us, and starts the engine again.
                swarm_core::engine::ErrorClass::Unknown => Outcome::InDoubt { message: error.message.clone() },
                _ => Outcome::Failed { message: error.message.clone() },
            }),
        }
    }
}

/// Whether a node is a manager that the others hear.
fn is_back(node: &Object) -> bool {
    let text = |pointer: &str| node.text(pointer).unwrap_or_default();
    text("/Status/State") == "ready" && text("/ManagerStatus/Reachability") == "reachable"
}
