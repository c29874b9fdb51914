//! A node is drained when no task runs on it any more. What has no place elsewhere, and what stays behind, is named.

use super::failed;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use swarm_core::engine::{Kind, Object, Query};
use swarm_core::machine::{Ask, Event, Move, Outcome, Reply, Task};

const PAUSE: Duration = Duration::from_millis(200);
/// How long the managers may take to say why a task has no place.
const PLACING: Duration = Duration::from_secs(3);

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

#[derive(Debug, PartialEq)]
enum Stage {
    /// Tasks run there.
    Emptying,
    /// None does, since then: it is looked at what became of them.
    Elsewhere(Duration),
    /// All is said.
    Over,
}

#[derive(Debug)]
pub(super) struct WaitDrained {
    data: Drained,
    since: Duration,
    stage: Stage,
    last: String,
    /// Services that have or had tasks there, with their names, and the volumes of those.
    services: BTreeMap<String, String>,
    volumes: BTreeSet<String>,
}

fn list<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().cloned().collect::<Vec<_>>().join(", ")
}

impl WaitDrained {
    pub(super) fn new(data: Drained) -> Self {
        let (services, volumes) = (BTreeMap::new(), BTreeSet::new());
        Self { data, since: Duration::ZERO, stage: Stage::Emptying, last: String::new(), services, volumes }
    }

    fn look(&self) -> Move {
        let tasks = match self.stage {
            Stage::Emptying => Query::all(Kind::Task).with("node", self.data.node.clone()),
            _ => Query::all(Kind::Task),
        };
        Move::Ask(vec![Ask::List(tasks), Ask::List(Query::all(Kind::Service))])
    }

    /// The services with tasks that run there, with what each may take to end.
    fn seen(&mut self, tasks: &[Object], services: &[Object]) -> BTreeSet<String> {
        let service = |task: &Object| services.iter().find(|s| task.text("/ServiceID").as_deref() == Some(s.id()));
        let mut running = BTreeSet::new();
        for task in tasks.iter().filter(|t| t.text("/NodeID").as_deref() == Some(&self.data.node)) {
            let id = task.text("/ServiceID").unwrap_or_default().into_owned();
            let name = service(task).map_or(id.clone(), |s| s.name().to_owned());
            self.services.insert(id, name.clone());
            let mounts = task.part("/Spec/ContainerSpec/Mounts");
            let mounts = mounts.as_ref().and_then(Value::as_array).into_iter().flatten();
            let volumes = mounts.filter(|m| m.get("Type").and_then(|t| t.as_str()) == Some("volume"));
            self.volumes.extend(volumes.filter_map(|m| m.get("Source")?.as_str()).map(str::to_owned));
            let state = task.text("/Status/State");
            if matches!(state.as_deref(), Some("running" | "starting" | "preparing" | "ready" | "assigned" | "accepted")) {
                let grace = task.number("/Spec/ContainerSpec/StopGracePeriod").map(|ns| ns / 1_000_000_000).filter(|s| *s > 10);
                running.insert(grace.map_or(name.clone(), |s| format!("{name} (may take {s} s to end)")));
            }
        }
        running
    }

    /// What has no place elsewhere, in the managers' words; `None` where they have not said yet.
    fn without_place(&self, tasks: &[Object]) -> Option<BTreeSet<String>> {
        let name = |task: &Object| self.services.get(&*task.text("/ServiceID")?).cloned();
        let waits =
            |t: &&Object| t.text("/DesiredState").as_deref() == Some("running") && t.text("/Status/State").as_deref() == Some("pending");
        let waiting = tasks.iter().filter(waits).filter_map(|task| Some((name(task)?, task.text("/Status/Err").unwrap_or_default())));
        waiting.map(|(name, why)| (!why.is_empty()).then(|| format!("{name} has no place elsewhere: {why}"))).collect()
    }

    fn left_behind(&self) -> Option<String> {
        (!self.volumes.is_empty()).then(|| format!("volumes that stay on {}: {}", self.data.host, list(&self.volumes)))
    }

    /// Says the last word, if there is one.
    fn end(&mut self, mut lines: BTreeSet<String>, now: Duration) -> Move {
        lines.extend(self.left_behind());
        if lines.is_empty() {
            return Move::End(Outcome::Done { changed: true });
        }
        self.stage = Stage::Over;
        Move::Wait { until: now, progress: Some(lines.into_iter().collect::<Vec<_>>().join("; ")) }
    }
}

impl Task for WaitDrained {
    fn next(&mut self, event: Event<'_>, now: Duration) -> Move {
        let replies = match event {
            Event::Begin => {
                self.since = now;
                return self.look();
            }
            Event::Time if self.stage == Stage::Over => return Move::End(Outcome::Done { changed: true }),
            Event::Time => return self.look(),
            Event::Answer(Err(error)) => return Move::End(failed(error.message.clone())),
            Event::Answer(Ok(replies)) => replies,
        };
        let [Reply::Objects(tasks), Reply::Objects(services)] = replies.as_slice() else {
            return Move::End(failed("the tasks of the node were not listed"));
        };
        if let Stage::Elsewhere(since) = self.stage {
            return match self.without_place(tasks) {
                None if now < since + PLACING => Move::Wait { until: now + PAUSE, progress: None },
                lines => self.end(lines.unwrap_or_default(), now),
            };
        }
        let running = self.seen(tasks, services);
        if running.is_empty() {
            self.stage = Stage::Elsewhere(now);
            return self.look();
        }
        if now >= self.since + Duration::from_millis(self.data.patience) {
            let after = Duration::from_millis(self.data.patience).as_secs();
            let left = self.left_behind().map(|left| format!("; {left}")).unwrap_or_default();
            return Move::End(failed(format!("after {after} s tasks of {} still run on {}{left}", list(&running), self.data.host)));
        }
        let line = format!("tasks of {} still run", list(&running));
        let progress = (line != self.last).then(|| line.clone());
        self.last = line;
        Move::Wait { until: now + PAUSE, progress }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn objects(all: &[Value]) -> Reply {
        Reply::Objects(all.iter().map(|value| Object::of(value).unwrap()).collect())
    }

    #[test]
    fn what_has_no_place_and_what_stays_is_named_before_the_end() {
        let data = Drained { host: "w1".into(), node: "n".into(), patience: 60_000, stranger: false };
        let mut wait = WaitDrained::new(data);
        let task = |state: &str| {
            json!({ "ID": "t", "ServiceID": "s", "NodeID": "n", "DesiredState": "shutdown", "Status": { "State": state },
                "Spec": { "ContainerSpec": { "StopGracePeriod": 60_000_000_000u64, "Mounts": [{ "Type": "volume", "Source": "data" }] } } })
        };
        let services = || objects(&[json!({ "ID": "s", "Spec": { "Name": "web" } })]);
        let now = Duration::from_secs;
        assert!(matches!(wait.next(Event::Begin, now(0)), Move::Ask(_)));
        let replies = Ok(vec![objects(&[task("running")]), services()]);
        let Move::Wait { progress: Some(line), .. } = wait.next(Event::Answer(&replies), now(1)) else { panic!() };
        assert_eq!(line, "tasks of web (may take 60 s to end) still run");
        let ended = Ok(vec![objects(&[task("shutdown")]), services()]);
        assert!(matches!(wait.next(Event::Answer(&ended), now(2)), Move::Ask(_)));
        // The managers have not said yet why.
        let pending =
            |why: &str| json!({ "ID": "u", "ServiceID": "s", "DesiredState": "running", "Status": { "State": "pending", "Err": why } });
        let silent = Ok(vec![objects(&[pending("")]), services()]);
        assert!(matches!(wait.next(Event::Answer(&silent), now(3)), Move::Wait { progress: None, .. }));
        let said = Ok(vec![objects(&[pending("no suitable node (insufficient resources on 2 nodes)")]), services()]);
        let Move::Wait { progress: Some(line), .. } = wait.next(Event::Answer(&said), now(4)) else { panic!() };
        assert_eq!(line, "volumes that stay on w1: data; web has no place elsewhere: no suitable node (insufficient resources on 2 nodes)");
        assert!(matches!(wait.next(Event::Time, now(4)), Move::End(Outcome::Done { changed: true })));
    }
}
