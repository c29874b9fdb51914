//! What a new service is, and what a change of one causes, in a line for people.

use crate::diff::Change;
use serde_json::Value;
use swarm_core::engine::Object;

/// A new service in a line.
pub(crate) fn summary(spec: &Value) -> String {
    let image = spec.pointer("/TaskTemplate/ContainerSpec/Image").and_then(Value::as_str).unwrap_or_default();
    let mode = spec.get("Mode").cloned().unwrap_or(Value::Null);
    let how = if mode.get("Global").is_some() {
        "on every node".to_owned()
    } else if mode.get("GlobalJob").is_some() {
        "job on every node".to_owned()
    } else if let Some(job) = mode.get("ReplicatedJob") {
        let total = job.get("TotalCompletions").and_then(Value::as_u64).unwrap_or(1);
        format!("job, {total} to complete")
    } else {
        let replicas = mode.pointer("/Replicated/Replicas").and_then(Value::as_u64).unwrap_or(1);
        format!("{replicas} replica{}", if replicas == 1 { "" } else { "s" })
    };
    format!("{image}, {how}")
}

/// What a change causes.
pub(crate) fn effect(changes: &[Change], spec: &Value, there: &Object) -> String {
    if !changes.iter().any(Change::replaces_tasks) {
        return "no running task is replaced".into();
    }
    let text = |pointer: &str| spec.pointer(pointer).and_then(Value::as_str);
    let replicas = there.number("/ServiceStatus/RunningTasks");
    let tasks = match replicas {
        Some(0) => return "its tasks are started again".into(),
        Some(1) => "1 task is replaced".to_owned(),
        Some(count) => format!("{count} tasks are replaced"),
        None => "its tasks are replaced".to_owned(),
    };
    let at_once = match spec.pointer("/UpdateConfig/Parallelism").and_then(Value::as_u64) {
        Some(0) => "all at once".to_owned(),
        None | Some(1) => "one at a time".to_owned(),
        Some(count) => format!("{count} at a time"),
    };
    let order = text("/UpdateConfig/Order").unwrap_or("stop-first");
    let failure = text("/UpdateConfig/FailureAction").unwrap_or("pause");
    format!("{tasks}, {at_once}, {order}; on failure: {failure}")
}
