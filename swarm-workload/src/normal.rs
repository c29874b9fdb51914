//! The normal form of a service's specification: what engines fill in is taken out, and what has no order is put into one. Two
//! specifications that mean the same have the same normal form.
//!
//! The defaults are swarmkit's (`api/defaults/service.go`) and the engine's (moby `daemon/cluster/convert/service.go`).

use crate::names::{image_with_tag, without_digest};
use crate::spec::STOPPED_LABEL;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Keys of which a zero says something else than their absence.
const ZERO_COUNTS: &[&str] =
    &["Replicas", "Parallelism", "TotalCompletions", "MaxConcurrent", "StopGracePeriod", "MemorySwappiness", "PublishedPort", "Mode"];
/// Keys whose values are mappings of the user's own: an empty text in them is a value.
const USERS_OWN: &[&str] = &["Labels", "Options", "Sysctls", "DriverOpts"];

/// The normal form. `networks` gives the name of each network by its id; names stay as they are.
pub fn normal(mut spec: Value, networks: &BTreeMap<String, String>) -> Value {
    if let Some(image) = part(&mut spec, "/TaskTemplate/ContainerSpec/Image") {
        *image = json!(image_with_tag(without_digest(image.as_str().unwrap_or_default())));
    }
    for key in ["/Networks", "/TaskTemplate/Networks"] {
        for network in part(&mut spec, key).and_then(Value::as_array_mut).into_iter().flatten() {
            let target = network.get("Target").and_then(Value::as_str);
            let name = target.map(|t| networks.get(t).map_or_else(|| of_the_node(t), Clone::clone));
            if let (Some(name), Some(network)) = (name, network.as_object_mut()) {
                network.insert("Target".into(), json!(name));
            }
        }
    }
    for key in ["UpdateConfig", "RollbackConfig"] {
        drop_defaults(
            &mut spec,
            &format!("/{key}"),
            &[
                ("Parallelism", Number(1)),
                ("FailureAction", Text("pause")),
                ("Order", Text("stop-first")),
                ("Monitor", Number(5_000_000_000)),
            ],
        );
    }
    // What a stopped update left is no part of what is wanted.
    if let Some(labels) = spec.get_mut("Labels").and_then(Value::as_object_mut) {
        labels.remove(STOPPED_LABEL);
    }
    drop_defaults(&mut spec, "/TaskTemplate/RestartPolicy", &[("Condition", Text("any")), ("Delay", Number(5_000_000_000))]);
    drop_defaults(&mut spec, "/TaskTemplate", &[("Runtime", Text("container"))]);
    drop_defaults(&mut spec, "/EndpointSpec", &[("Mode", Text("vip"))]);
    drop_defaults(&mut spec, "/TaskTemplate/ContainerSpec", &[("Isolation", Text("default")), ("StopGracePeriod", Number(10_000_000_000))]);
    // Platforms go with a digest, which is not compared; forced updates are no part of what is wanted.
    for (at, key) in [("/TaskTemplate/Placement", "Platforms"), ("/TaskTemplate", "ForceUpdate")] {
        if let Some(map) = part(&mut spec, at).and_then(Value::as_object_mut) {
            map.remove(key);
        }
    }
    for reference in ["Secrets", "Configs"] {
        let list = part(&mut spec, &format!("/TaskTemplate/ContainerSpec/{reference}")).and_then(Value::as_array_mut);
        for one in list.into_iter().flatten().filter_map(Value::as_object_mut) {
            one.retain(|key, _| key != "SecretID" && key != "ConfigID");
        }
    }
    // Which config it is in is compared by the name in the list of configs.
    if let Some(config) = part(&mut spec, "/TaskTemplate/ContainerSpec/Privileges/CredentialSpec/Config")
        && config.as_str().is_some_and(|id| !id.is_empty())
    {
        *config = json!("a config");
    }
    for port in part(&mut spec, "/EndpointSpec/Ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let defaults = [("Protocol", Text("tcp")), ("PublishMode", Text("ingress")), ("PublishedPort", Number(0)), ("Name", Text(""))];
        drop_defaults(port, "", &defaults);
    }
    // Engines take it and do not keep it.
    for mount in part(&mut spec, "/TaskTemplate/ContainerSpec/Mounts").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(map) = mount.as_object_mut() {
            map.remove("Consistency");
        }
    }
    if let Some(job) = part(&mut spec, "/Mode/ReplicatedJob").and_then(Value::as_object_mut) {
        let at_once = job.get("MaxConcurrent").filter(|n| !n.is_null()).cloned().unwrap_or(json!(1));
        let total = job.get("TotalCompletions").filter(|n| !n.is_null()).cloned().unwrap_or(at_once.clone());
        job.insert("MaxConcurrent".into(), at_once);
        job.insert("TotalCompletions".into(), total);
    }
    // A mode that is not named is one replica.
    let mode = spec.get("Mode").cloned().unwrap_or(Value::Null);
    if let Some(map) = spec.as_object_mut()
        && (mode.is_null() || mode == json!({}) || mode.get("Replicated").is_some())
    {
        let replicas = mode.pointer("/Replicated/Replicas").filter(|r| !r.is_null()).cloned().unwrap_or(json!(1));
        map.insert("Mode".into(), json!({ "Replicated": { "Replicas": replicas } }));
    }
    if !says_something("", &mut spec) {
        spec = Value::Null;
    }
    sort(&mut spec);
    spec
}

/// What an engine fills in.
enum Default {
    Text(&'static str),
    Number(u64),
}
use Default::{Number, Text};

impl Default {
    fn is(&self, value: &Value) -> bool {
        match self {
            Text(text) => value.as_str() == Some(text),
            Number(number) => value.as_u64() == Some(*number),
        }
    }
}

/// Networks of the nodes themselves are not among a swarm's networks: engines give them an id that no list has.
fn of_the_node(target: &str) -> String {
    let is_id = target.len() == 25 && target.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if is_id || matches!(target, "host" | "bridge" | "none") { "a network of the node".to_owned() } else { target.to_owned() }
}

/// A part of a value, by the keys of maps.
fn part<'a>(value: &'a mut Value, at: &str) -> Option<&'a mut Value> {
    at.split('/').skip(1).try_fold(value, |value, key| value.as_object_mut()?.get_mut(key))
}

fn drop_defaults(spec: &mut Value, at: &str, defaults: &[(&str, Default)]) {
    let Some(map) = part(spec, at).and_then(Value::as_object_mut) else { return };
    for (key, default) in defaults {
        if map.get(*key).is_some_and(|value| default.is(value)) {
            map.remove(*key);
        }
    }
}

/// Whether a value says anything. What in it does not is taken out.
fn says_something(key: &str, value: &mut Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        // Whether an init process runs is asked for, refused, or left to the engine.
        Value::Bool(yes) => *yes || key == "Init",
        Value::Number(number) => number.as_f64() != Some(0.0) || ZERO_COUNTS.contains(&key),
        Value::Array(items) => {
            items.retain_mut(|item| item.is_string() || says_something("", item));
            !items.is_empty()
        }
        Value::Object(map) if USERS_OWN.contains(&key) => {
            map.retain(|_, value| !value.is_null());
            !map.is_empty()
        }
        Value::Object(map) => {
            map.retain(|key, value| says_something(key, value));
            // A global mode has nothing in it and says everything.
            let marks = ["Global", "GlobalJob", "Replicated", "ReplicatedJob", "TmpfsOptions", "Spread"];
            !map.is_empty() || marks.contains(&key)
        }
    }
}

/// Lists that have no order are put into one.
fn sort(spec: &mut Value) {
    const SETS: &[&str] = &[
        "/TaskTemplate/ContainerSpec/Env",
        "/TaskTemplate/ContainerSpec/Secrets",
        "/TaskTemplate/ContainerSpec/Configs",
        "/TaskTemplate/ContainerSpec/Mounts",
        "/TaskTemplate/ContainerSpec/Hosts",
        "/TaskTemplate/ContainerSpec/Ulimits",
        "/TaskTemplate/ContainerSpec/CapabilityAdd",
        "/TaskTemplate/ContainerSpec/CapabilityDrop",
        "/TaskTemplate/ContainerSpec/Groups",
        "/TaskTemplate/Placement/Constraints",
        "/TaskTemplate/Resources/Reservations/GenericResources",
        "/TaskTemplate/Networks",
        "/Networks",
        "/EndpointSpec/Ports",
    ];
    for network in part(spec, "/TaskTemplate/Networks").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(aliases) = network.get_mut("Aliases").and_then(Value::as_array_mut) {
            aliases.sort_by_cached_key(Value::to_string);
            aliases.dedup();
        }
    }
    for at in SETS {
        if let Some(list) = part(spec, at).and_then(Value::as_array_mut) {
            list.sort_by_cached_key(Value::to_string);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: Value, b: Value) {
        let names = BTreeMap::from([("n1".to_owned(), "app_default".to_owned())]);
        assert_eq!(normal(a.clone(), &names), normal(b.clone(), &names));
    }

    #[test]
    fn what_engines_fill_in_makes_no_difference() {
        same(
            json!({ "Name": "app_web", "TaskTemplate": { "ContainerSpec": { "Image": "nginx", "Env": ["B=1", "A="] },
                "Networks": [{ "Target": "app_default", "Aliases": ["web"] }], "Resources": {}, "Placement": {} } }),
            json!({ "Name": "app_web", "Labels": {}, "TaskTemplate": { "ContainerSpec": { "Image": "nginx:latest@sha256:00", "Env": ["A=", "B=1"],
                "Isolation": "default", "StopGracePeriod": 10_000_000_000u64, "DNSConfig": {} }, "Networks": [{ "Target": "n1", "Aliases": ["web"] }],
                "ForceUpdate": 3, "Runtime": "container", "Resources": { "Limits": {}, "Reservations": {} },
                "RestartPolicy": { "Condition": "any", "Delay": 5_000_000_000u64, "MaxAttempts": 0 },
                "Placement": { "Platforms": [{ "Architecture": "amd64", "OS": "linux" }] } },
                "Mode": { "Replicated": { "Replicas": 1 } }, "EndpointSpec": { "Mode": "vip" },
                "UpdateConfig": { "Parallelism": 1, "FailureAction": "pause", "MaxFailureRatio": 0, "Order": "stop-first" } }),
        );
    }

    /// Docker CLIs write them in the order of a map, which is another one each time.
    #[test]
    fn generic_resources_have_no_order() {
        let of = |kinds: [&str; 2]| {
            let list = kinds.map(|kind| json!({ "DiscreteResourceSpec": { "Kind": kind, "Value": 1 } }));
            json!({ "TaskTemplate": { "Resources": { "Reservations": { "GenericResources": list } } } })
        };
        same(of(["gpu", "fpga"]), of(["fpga", "gpu"]));
        let none = BTreeMap::new();
        assert_ne!(normal(of(["gpu", "gpu"]), &none), normal(of(["fpga", "gpu"]), &none));
    }

    #[test]
    fn zero_is_not_absent() {
        let none = BTreeMap::new();
        let of = |replicas: Value| normal(json!({ "Mode": { "Replicated": { "Replicas": replicas } } }), &none);
        assert_ne!(of(json!(0)), of(json!(1)));
        assert_eq!(of(json!(1)), of(Value::Null));
        let at_once = normal(json!({ "UpdateConfig": { "Parallelism": 0 } }), &none);
        assert_ne!(at_once, normal(json!({ "UpdateConfig": { "Parallelism": 1 } }), &none));
        assert_ne!(normal(json!({ "Mode": { "Global": {} } }), &none), normal(json!({}), &none));
        let init = |on: Value| normal(json!({ "TaskTemplate": { "ContainerSpec": { "Init": on } } }), &none);
        assert_ne!(init(json!(false)), init(Value::Null));
    }
}
