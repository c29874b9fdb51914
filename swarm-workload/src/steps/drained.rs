//! A node is drained when no task runs on it any more.

use super::failed;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use swarm_core::engine::{Kind, Object, Query};
use swarm_core::machine::{Ask, Event, Move, Outcome, Reply, Task};

const PAUSE: Duration = Duration::from_millis(200);

/// To wait until a node has no running task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drained {
    /// The host, for people.
    pub(crate) host: String,
    /// Its node.
    pub(crate) node: String,
    /// How long, in milliseconds.
    pub(crate) patience: u64,
    /// Whether it is a node of no host of the file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) stranger: bool,
}

#[derive(Debug)]
pub(super) struct WaitDrained {
    data: Drained,
    since: Duration,
    last: String,
}

impl WaitDrained {
    pub(super) fn new(data: Drained) -> Self {
        Self { data, since: Duration::ZERO, last: String::new() }
    }

    fn look(&self) -> Move {
        Move::Ask(vec![Ask::List(Query::all(Kind::Task).with("node", self.data.node.clone())), Ask::List(Query::all(Kind::Service))])
    }

    /// Services with tasks that run there, and local volumes of tasks that were there.
    fn seen(&self, tasks: &[Object], services: &[Object]) -> (BTreeSet<String>, BTreeSet<String>) {
        let name = |task: &Object| {
            let id = task.text("/ServiceID").unwrap_or_default();
            services.iter().find(|s| s.id() == id).map_or(id.into_owned(), |s| s.name().to_owned())
        };
        let here = |t: &&Object| t.text("/NodeID").as_deref() == Some(&self.data.node);
        let runs = |t: &&Object| {
            matches!(t.text("/Status/State").as_deref(), Some("running" | "starting" | "preparing" | "ready" | "assigned" | "accepted"))
        };
        let running = tasks.iter().filter(here).filter(runs).map(name).collect();
        let lists: Vec<Value> = tasks.iter().filter(here).filter_map(|t| t.part("/Spec/ContainerSpec/Mounts")).collect();
        let mounts = lists.iter().filter_map(Value::as_array).flatten();
        let volumes = mounts.filter(|m| m.get("Type").and_then(|t| t.as_str()) == Some("volume"));
        let volumes = volumes.filter_map(|m| m.get("Source")?.as_str()).map(str::to_owned).collect();
        (running, volumes)
    }
}

impl Task for WaitDrained {
    fn next(&mut self, event: Event<'_>, now: Duration) -> Move {
        match event {
            Event::Begin => {
                self.since = now;
                self.look()
            }
            Event::Time => self.look(),
            Event::Answer(Err(error)) => Move::End(failed(error.message.clone())),
            Event::Answer(Ok(replies)) => {
                let (running, volumes) = match replies.as_slice() {
                    [Reply::Objects(tasks), Reply::Objects(services)] => self.seen(tasks, services),
                    _ => return Move::End(failed("the tasks of the node were not listed")),
                };
                let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
                let left = if volumes.is_empty() {
                    String::new()
                } else {
                    format!("; volumes that stay on {}: {}", self.data.host, list(&volumes))
                };
                if running.is_empty() {
                    return Move::End(Outcome::Done { changed: true });
                }
                if now >= self.since + Duration::from_millis(self.data.patience) {
                    let after = Duration::from_millis(self.data.patience).as_secs();
                    return Move::End(failed(format!("after {after} s tasks of {} still run on {}{left}", list(&running), self.data.host)));
                }
                let line = format!("tasks of {} still run{left}", list(&running));
                let progress = (line != self.last).then(|| line.clone());
                self.last = line;
                Move::Wait { until: now + PAUSE, progress }
            }
        }
    }
}
