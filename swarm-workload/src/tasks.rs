//! What a service's tasks say: how many run, what fails, and whether the service stands as it is wanted. Pure; from one look.

use crate::spec::is_stopped;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use swarm_core::engine::Object;

/// One task that failed, or that found no place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskTrouble {
    /// `SERVICE.SLOT`, or `SERVICE` on a node.
    pub task: String,
    /// Its state in the engine's word, for example `rejected`.
    pub state: String,
    /// Where it was to run; empty where it found no place.
    pub node: String,
    /// What the engine says.
    pub error: String,
}

impl std::fmt::Display for TaskTrouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is {}", self.task, self.state)?;
        if !self.node.is_empty() {
            write!(f, " on node {}", self.node)?;
        }
        if self.error.is_empty() { Ok(()) } else { write!(f, ": {}", self.error) }
    }
}

/// How far a service is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Tasks that run, and are healthy where they have a health check.
    pub running: u64,
    /// Tasks that are to run; for a job, those that are to end.
    pub wanted: u64,
    /// Tasks that ended as they were to.
    pub completed: u64,
    /// Whether it is a job: it has run to its end when all its tasks have.
    pub job: bool,
    /// The newest trouble of each place.
    pub troubles: Vec<TaskTrouble>,
    /// The newest task that failed, also where another runs in its place by now.
    pub last_failure: Option<TaskTrouble>,
    /// How often the task of one place failed, for the place where that was most often.
    pub failures: usize,
    /// Where an update of it stands.
    pub update: Standing,
}

/// Where an update of a service stands, in the engine's words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Standing {
    /// No update is under way.
    #[default]
    Settled,
    /// It goes on.
    Going,
    /// It stopped because tasks failed.
    Paused(String),
    /// The specification before it is being put back.
    RollingBack(String),
    /// The specification before it was put back.
    RolledBack(String),
    /// It was stopped where it stood, and goes on with the next change of the service.
    Stopped,
}

/// Where the last update of a service stands.
pub fn standing(service: &Object) -> Standing {
    let message = || text(service, "/UpdateStatus/Message").into_owned();
    match service.text("/UpdateStatus/State").as_deref() {
        Some("updating") if is_stopped(&service.spec()) => Standing::Stopped,
        Some("updating") => Standing::Going,
        Some("paused" | "rollback_paused") => Standing::Paused(message()),
        Some("rollback_started") => Standing::RollingBack(message()),
        Some("rollback_completed") => Standing::RolledBack(message()),
        _ => Standing::Settled,
    }
}

fn text<'a>(task: &'a Object, pointer: &str) -> Cow<'a, str> {
    task.text(pointer).unwrap_or_default()
}

/// The place of a task: its slot, or its node where there is one on each.
fn place(task: &Object) -> String {
    match task.number("/Slot") {
        Some(slot) if slot > 0 => slot.to_string(),
        _ => text(task, "/NodeID").into_owned(),
    }
}

/// How far a service is, from the service with its status and from all its tasks.
pub fn progress(service: &Object, tasks: &[Object]) -> Progress {
    let spec = service.spec();
    let job = spec.pointer("/Mode/ReplicatedJob").is_some() || spec.pointer("/Mode/GlobalJob").is_some();
    let name = service.name();
    let is_running = |t: &&Object| text(t, "/DesiredState") == "running" && text(t, "/Status/State") == "running";
    let mut places: BTreeMap<String, Vec<&Object>> = BTreeMap::new();
    // A job that was run again has tasks of its earlier runs.
    let iteration = service.number("/JobStatus/JobIteration/Index");
    let current = |t: &&Object| iteration.is_none() || t.number("/JobIteration/Index") == iteration;
    for task in tasks.iter().filter(current) {
        places.entry(place(task)).or_default().push(task);
    }
    for tasks in places.values_mut() {
        tasks.sort_by(|a, b| text(b, "/CreatedAt").cmp(&text(a, "/CreatedAt")));
    }
    let newest: Vec<&Object> = places.values().filter_map(|tasks| tasks.first().copied()).collect();
    let completed = newest.iter().filter(|t| text(t, "/Status/State") == "complete").count() as u64;
    let wanted = match (spec.pointer("/Mode/Replicated"), spec.pointer("/Mode/ReplicatedJob")) {
        (Some(mode), _) => mode.get("Replicas").and_then(Value::as_u64).unwrap_or(1),
        (_, Some(mode)) => {
            let at_once = mode.get("MaxConcurrent").and_then(Value::as_u64);
            mode.get("TotalCompletions").and_then(Value::as_u64).or(at_once).unwrap_or(1)
        }
        // One on each node that can have one: the engine made a task for each of them.
        _ => newest.iter().filter(|t| matches!(&*text(t, "/DesiredState"), "running" | "complete")).count() as u64,
    };
    let failed = |t: &Object| matches!(&*text(t, "/Status/State"), "failed" | "rejected" | "orphaned");
    let failures = places.values().map(|tasks| tasks.iter().filter(|t| failed(t)).count()).max().unwrap_or(0);
    let troubles = places.iter().filter_map(|(place, tasks)| trouble(name, place, tasks)).collect();
    let running = tasks.iter().filter(is_running).count() as u64;
    let newest_failure = tasks.iter().filter(|t| failed(t)).max_by_key(|t| text(t, "/CreatedAt"));
    let last_failure = newest_failure.map(|task| described(name, &place(task), task));
    Progress { last_failure, running, wanted, completed, job, troubles, failures, update: standing(service) }
}

/// The newest trouble of a place; none where its newest task runs well.
fn trouble(service: &str, place: &str, tasks: &[&Object]) -> Option<TaskTrouble> {
    let newest = tasks.first()?;
    if matches!(&*text(newest, "/Status/State"), "running" | "complete" | "shutdown" | "remove") {
        return None;
    }
    // What waited for a node and is not wanted any more is no trouble: the engine gives it a minute to end before the next one starts.
    let counts = |t: &&&Object| text(t, "/Status/State") != "pending" || text(t, "/DesiredState") == "running";
    let said = tasks.iter().filter(counts).find(|t| !text(t, "/Status/Err").is_empty())?;
    Some(described(service, place, said))
}

/// A task with what the engine says of it.
fn described(service: &str, place: &str, task: &Object) -> TaskTrouble {
    let slot = task.number("/Slot").unwrap_or(0);
    TaskTrouble {
        task: if slot > 0 { format!("{service}.{place}") } else { service.to_owned() },
        state: text(task, "/Status/State").into_owned(),
        node: text(task, "/NodeID").into_owned(),
        error: swarm_core::secret::clean(&text(task, "/Status/Err"), 500),
    }
}

impl Progress {
    /// Whether it stands as it is wanted.
    pub fn is_there(&self) -> bool {
        if self.job {
            self.completed >= self.wanted
        } else {
            self.running + self.completed >= self.wanted && matches!(self.update, Standing::Settled | Standing::Stopped)
        }
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let mut line = if self.job {
            format!("{} of {} tasks completed", self.completed, self.wanted)
        } else if self.completed > 0 {
            format!("{} of {} tasks run, {} completed", self.running, self.wanted, self.completed)
        } else {
            format!("{} of {} tasks run", self.running, self.wanted)
        };
        let update = match &self.update {
            Standing::Settled => None,
            Standing::Going => Some("updating".to_owned()),
            Standing::Paused(message) => Some(format!("paused: {message}")),
            Standing::RollingBack(message) => Some(format!("rolling back: {message}")),
            Standing::RolledBack(message) => Some(format!("rolled back: {message}")),
            Standing::Stopped => Some("its update was stopped".to_owned()),
        };
        for more in update.into_iter().chain(self.troubles.first().map(ToString::to_string)) {
            line = format!("{line}; {more}");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(replicas: u64, update: &str) -> Object {
        Object::of(&json!({ "ID": "s", "Spec": { "Name": "web", "Mode": { "Replicated": { "Replicas": replicas } } },
            "UpdateStatus": { "State": update, "Message": "task failed" } }))
        .unwrap()
    }

    fn task(slot: u64, at: &str, desired: &str, state: &str, error: &str) -> Object {
        Object::of(&json!({ "ID": at, "Slot": slot, "NodeID": "n", "CreatedAt": at, "DesiredState": desired,
            "Status": { "State": state, "Err": error } }))
        .unwrap()
    }

    #[test]
    fn a_service_is_there_when_its_tasks_run() {
        let two = [task(1, "1", "running", "running", ""), task(2, "1", "running", "preparing", "")];
        let seen = progress(&service(2, ""), &two);
        assert!(!seen.is_there() && seen.running == 1, "{seen:?}");
        let two = [task(1, "1", "running", "running", ""), task(2, "1", "running", "running", "")];
        assert!(progress(&service(2, "completed"), &two).is_there());
        assert!(!progress(&service(2, "updating"), &two).is_there());
        assert!(progress(&service(0, ""), &[]).is_there());
    }

    #[test]
    fn what_waited_for_a_node_and_goes_is_no_trouble() {
        let old = task(1, "1", "shutdown", "pending", "no suitable node");
        let seen = progress(&service(1, "rollback_started"), &[old.clone(), task(1, "2", "ready", "ready", "")]);
        assert_eq!(seen.troubles, []);
        let seen = progress(&service(1, "updating"), &[old, task(1, "2", "running", "pending", "no suitable node")]);
        assert_eq!(seen.troubles.len(), 1);
    }

    #[test]
    fn trouble_is_the_newest_of_its_place() {
        let tasks = [
            task(1, "1", "shutdown", "rejected", "No such image: app:9"),
            task(1, "2", "running", "preparing", ""),
            task(2, "1", "shutdown", "failed", "old"),
            task(2, "2", "running", "running", ""),
        ];
        let seen = progress(&service(2, "paused"), &tasks);
        assert_eq!(seen.troubles.len(), 1);
        assert_eq!(seen.troubles[0].to_string(), "web.1 is rejected on node n: No such image: app:9");
        assert_eq!((seen.failures, &seen.update), (1, &Standing::Paused("task failed".into())));
        assert!(seen.line().starts_with("1 of 2 tasks run; paused: task failed; web.1 is rejected"), "{}", seen.line());
    }
}
