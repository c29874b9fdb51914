//! To stop an update of a service where it stands, and what a stopped update leaves for later.
//!
//! Managers have no call for that. An update of the update policy alone begins the update again: the manager takes one task, and then waits for
//! as long as the policy says before it takes the next (swarmkit `manager/orchestrator/update`, `worker`). So at most one more task is replaced.
//! A policy with no worker at all is no way: a parallelism of 2^63 or more ends the manager that reads it, and every one that leads after it
//! (seen on engine 20.10).

use crate::normal::normal;
use crate::spec::{NEVER, STOPPED_LABEL, is_stopped};
use crate::tasks::{Standing, standing};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use swarm_core::engine::Object;

/// The largest parallelism that is sent: the manager that leads starts a worker for each.
const MOST_WORKERS: u64 = 1_000_000;

/// What the label keeps, where it still counts.
fn kept(spec: &Value) -> Option<Value> {
    if !is_stopped(spec) {
        return None;
    }
    serde_json::from_str(spec.get("Labels")?.get(STOPPED_LABEL)?.as_str()?).ok()
}

/// The specification with which an update stops.
pub(crate) fn stopped(service: &Object) -> Value {
    let mut spec = service.spec();
    // An update that was stopped before may have gone on since, by another policy alone.
    let before = back(service).map(|(Back::Previous(spec) | Back::Kept(spec))| resumed(spec));
    let kept = json!({ "UpdateConfig": spec.get("UpdateConfig"), "Before": before });
    if let Some(map) = spec.as_object_mut() {
        let policy = map.entry("UpdateConfig").or_insert_with(|| json!({}));
        if let Some(policy) = policy.as_object_mut() {
            policy.insert("Parallelism".into(), json!(1));
            policy.insert("Delay".into(), json!(NEVER));
            // What would be rolled back to is the specification that was stopped.
            policy.insert("FailureAction".into(), json!("pause"));
        }
        let labels = map.entry("Labels").or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert(STOPPED_LABEL.into(), json!(kept.to_string()));
        }
    }
    spec
}

/// A specification with the policy that it had before its update was stopped. A policy that someone has set since stays.
pub(crate) fn resumed(mut spec: Value) -> Value {
    let kept = kept(&spec);
    if let Some(map) = spec.as_object_mut() {
        match kept.map(|kept| kept.get("UpdateConfig").filter(|policy| !policy.is_null()).cloned()) {
            Some(Some(policy)) => map.insert("UpdateConfig".into(), policy),
            Some(None) => map.remove("UpdateConfig"),
            None => None,
        };
        if let Some(labels) = map.get_mut("Labels").and_then(Value::as_object_mut) {
            labels.remove(STOPPED_LABEL);
        }
    }
    spec
}

/// What a rollback puts back.
#[derive(Debug, PartialEq)]
pub(crate) enum Back {
    /// What the manager itself has as the specification before the present one.
    Previous(Value),
    /// Another one: the manager's is the present one, or one with the policy of a stopped update.
    Kept(Value),
}

/// What a rollback of a service puts back; `None` where it has nothing before the present specification.
pub(crate) fn back(service: &Object) -> Option<Back> {
    let spec = service.spec();
    let before = |kept: Value| kept.get("Before").filter(|spec| !spec.is_null()).cloned();
    if let Some(kept) = kept(&spec) {
        return before(kept).map(Back::Kept);
    }
    let previous = service.part("/PreviousSpec")?;
    match kept(&previous) {
        None => Some(Back::Previous(previous)),
        // The update went on.
        Some(kept) if previous.get("TaskTemplate").map(made_from) == spec.get("TaskTemplate").map(made_from) => {
            before(kept).map(Back::Kept)
        }
        Some(_) => Some(Back::Kept(resumed(previous))),
    }
}

/// What a task was made from, as far as it tells new from old: where it may run is no part of that (swarmkit `orchestrator`, `IsTaskDirty`).
fn made_from(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(map) = template.as_object_mut() {
        map.remove("Placement");
    }
    let forced = template.get("ForceUpdate").and_then(Value::as_u64).unwrap_or(0);
    json!([normal(json!({ "TaskTemplate": template }), &BTreeMap::new()), forced])
}

/// How many of a service's tasks have its newest specification, and how many another.
pub(crate) fn new_and_old(service: &Object, tasks: &[Object]) -> (usize, usize) {
    let newest = made_from(&service.part("/Spec/TaskTemplate").unwrap_or_default());
    let mine = tasks.iter().filter(|t| t.text("/ServiceID").as_deref() == Some(service.id()));
    // One that is to take another's place is ready, and not yet to run.
    let wanted = mine.filter(|t| matches!(t.text("/DesiredState").as_deref(), Some("running" | "ready")));
    let (new, old): (Vec<&Object>, Vec<&Object>) = wanted.partition(|t| made_from(&t.part("/Spec").unwrap_or_default()) == newest);
    (new.len(), old.len())
}

/// The same for people.
pub(crate) fn shares(service: &Object, tasks: &[Object]) -> String {
    let (new, old) = new_and_old(service, tasks);
    format!("{new} of {} tasks have the newest specification, {old} an older one", new + old)
}

/// Why there is nothing to stop; `None` where an update goes on.
pub(crate) fn at_rest(service: &Object) -> Option<String> {
    match standing(service) {
        Standing::Going | Standing::RollingBack(_) => None,
        Standing::Paused(message) => Some(format!("its update is paused already: {message}")),
        Standing::Stopped => Some("its update was stopped already".into()),
        Standing::Settled | Standing::RolledBack(_) => Some("no update of it is under way".into()),
    }
}

/// Why a specification must not reach a manager.
pub(crate) fn harm(spec: &Value) -> Option<String> {
    ["UpdateConfig", "RollbackConfig"].iter().find_map(|policy| {
        let count = spec.get(policy)?.get("Parallelism")?.as_u64().filter(|count| *count > MOST_WORKERS)?;
        Some(format!(
            "{policy}.Parallelism is {count}: the manager that leads starts a worker for each, and ends where it cannot, and so does the one after it; write 0 for all tasks at once"
        ))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests")]
    use super::*;

    fn service(update: &str, policy: Value) -> Object {
        let mut spec = json!({ "Name": "web", "TaskTemplate": { "ContainerSpec": { "Image": "web:2" }, "ForceUpdate": 1 },
            "Mode": { "Replicated": { "Replicas": 3 } } });
        if !policy.is_null() {
            spec["UpdateConfig"] = policy;
        }
        let previous = json!({ "Name": "web", "TaskTemplate": { "ContainerSpec": { "Image": "web:1" }, "ForceUpdate": 1 } });
        Object::of(&json!({ "ID": "s", "Spec": spec, "PreviousSpec": previous, "UpdateStatus": { "State": update } })).unwrap()
    }

    fn with(spec: &Value) -> Object {
        Object::of(&json!({ "ID": "s", "Spec": spec, "UpdateStatus": { "State": "updating" } })).unwrap()
    }

    #[test]
    fn what_was_stopped_goes_on_with_its_own_policy() {
        for policy in [Value::Null, json!({ "Parallelism": 4, "Order": "start-first", "FailureAction": "rollback" })] {
            let live = service("updating", policy.clone());
            let spec = stopped(&live);
            assert_eq!(spec["UpdateConfig"]["Parallelism"], 1);
            assert_eq!(spec["UpdateConfig"]["FailureAction"], "pause");
            assert_eq!(spec["UpdateConfig"]["Delay"], 315_360_000_000_000_000u64);
            assert_eq!(spec["UpdateConfig"].get("Order"), policy.get("Order"));
            assert_eq!(spec["TaskTemplate"], live.spec()["TaskTemplate"]);
            let mut again = resumed(spec.clone());
            assert_eq!(again["Labels"], json!({}));
            again.as_object_mut().unwrap().remove("Labels");
            assert_eq!(again, live.spec());
            let Some(Back::Kept(before)) = back(&with(&spec)) else { panic!("{spec}") };
            assert_eq!(before, live.part("/PreviousSpec").unwrap());
            // Whoever looks at what changes does not see the keepsake, which may hold what variables hold.
            assert!(
                !crate::diff::differences(live.spec(), spec.clone(), &BTreeMap::new()).iter().any(|c| c.to_string().contains("Before"))
            );
            assert!(!crate::diff::without_secrets(spec).to_string().contains("web:1"));
        }
        assert_eq!(resumed(json!({ "Name": "web" })), json!({ "Name": "web" }));
    }

    #[test]
    fn a_rollback_never_puts_a_stopped_update_back() {
        let live = service("updating", Value::Null);
        let first = live.part("/PreviousSpec").unwrap();
        let of = |spec: Value, previous: Value| back(&Object::of(&json!({ "ID": "s", "Spec": spec, "PreviousSpec": previous })).unwrap());
        assert_eq!(of(live.spec(), first.clone()), Some(Back::Previous(first.clone())));
        // Stopped; gone on with since; changed to something else since; stopped once more.
        let still = stopped(&live);
        assert_eq!(of(still.clone(), live.spec()), Some(Back::Kept(first.clone())));
        assert_eq!(of(resumed(still.clone()), still.clone()), Some(Back::Kept(first.clone())));
        let mut third = resumed(still.clone());
        third["TaskTemplate"]["ContainerSpec"]["Image"] = json!("web:3");
        assert_eq!(of(third.clone(), still.clone()), Some(Back::Kept(resumed(still.clone()))));
        let again = Object::of(&json!({ "ID": "s", "Spec": third, "PreviousSpec": still })).unwrap();
        assert_eq!(of(stopped(&again), third), Some(Back::Kept(resumed(still.clone()))));
        // Gone on by the docker CLI with another policy, and stopped again.
        let mut gone_on = still.clone();
        gone_on["UpdateConfig"]["Delay"] = json!(0);
        let again = Object::of(&json!({ "ID": "s", "Spec": gone_on, "PreviousSpec": still })).unwrap();
        assert_eq!(of(stopped(&again), gone_on), Some(Back::Kept(first.clone())));
        // The first specification that it ever had.
        let new = Object::of(&json!({ "ID": "s", "Spec": live.spec() })).unwrap();
        assert_eq!(back(&new), None);
        assert_eq!(of(stopped(&new), live.spec()), None);
    }

    #[test]
    fn only_what_goes_on_is_stopped() {
        for (state, rest) in [
            ("updating", None),
            ("rollback_started", None),
            ("paused", Some("paused already")),
            ("rollback_paused", Some("paused already")),
            ("completed", Some("no update")),
            ("rollback_completed", Some("no update")),
            ("", Some("no update")),
        ] {
            let said = at_rest(&service(state, Value::Null));
            assert_eq!(said.is_none(), rest.is_none(), "{state}");
            assert!(rest.is_none_or(|rest| said.unwrap().contains(rest)), "{state}");
        }
        let mut spec = stopped(&service("updating", Value::Null));
        assert!(at_rest(&with(&spec)).unwrap().contains("stopped already"));
        // Someone has set another policy since, with the docker CLI, which keeps the label: it goes on, by that policy.
        spec["UpdateConfig"]["Delay"] = json!(0);
        assert_eq!(at_rest(&with(&spec)), None);
        let gone_on = resumed(spec.clone());
        assert_eq!((gone_on["Labels"].clone(), gone_on["UpdateConfig"].clone()), (json!({}), spec["UpdateConfig"].clone()));
    }

    #[test]
    fn new_tasks_are_known_by_what_they_were_made_from() {
        let live = service("updating", Value::Null);
        let task = |image: &str, forced: u64, desired: &str, of: &str| {
            let spec = json!({ "ContainerSpec": { "Image": image }, "ForceUpdate": forced, "Placement": { "Constraints": ["a==b"] } });
            Object::of(&json!({ "ID": "t", "ServiceID": of, "DesiredState": desired, "Spec": spec })).unwrap()
        };
        let tasks = [
            task("web:2", 1, "running", "s"),
            task("web:2", 0, "running", "s"),
            task("web:1", 1, "running", "s"),
            task("web:1", 1, "shutdown", "s"),
            task("web:2", 1, "running", "another"),
        ];
        assert_eq!(new_and_old(&live, &tasks), (1, 2));
        assert_eq!(shares(&live, &tasks), "1 of 3 tasks have the newest specification, 2 an older one");
    }

    #[test]
    fn a_parallelism_that_ends_managers_is_refused() {
        let of = |policy: &str, count: u64| harm(&json!({ policy: { "Parallelism": count } }));
        for policy in ["UpdateConfig", "RollbackConfig"] {
            assert_eq!(of(policy, 0), None);
            assert_eq!(of(policy, MOST_WORKERS), None);
            for count in [MOST_WORKERS + 1, 1 << 63, u64::MAX] {
                assert!(of(policy, count).unwrap().contains(&count.to_string()));
            }
        }
        assert_eq!(harm(&json!({})), None);
    }
}
