//! The flags of `docker service create` and `docker service update`, and what each does to a service's specification. Pure: a table, and how
//! its values are read.

use crate::place::slot;
use crate::{bytes, capabilities, cpus, duration};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use values::{credential, domain, generic, host, mount, network, publish, reference, server, ulimit};

macro_rules! at {
    ($rest:literal) => {
        concat!("/TaskTemplate/ContainerSpec/", $rest)
    };
}
macro_rules! task {
    ($rest:literal) => {
        concat!("/TaskTemplate/", $rest)
    };
}

mod table;
mod values;

use table::Put;
pub use table::{FLAGS, Flag, Given, On};

/// A word among capabilities: none of those that were there.
const RESET: &str = "CAP_RESET";

/// Puts flags into a specification, in the table's order: what is removed and added in one call is added.
///
/// # Errors
/// Each flag whose value cannot be read, or that does not fit, with what to write.
pub fn apply_flags(spec: &mut Value, given: &[Given]) -> Result<(), Vec<String>> {
    let mut wrong = Vec::new();
    let removes = |flag: &Flag| flag.name.ends_with("-rm");
    let mode = |flag: &Flag| flag.name == "mode";
    let ordered = FLAGS.iter().filter(|f| mode(f)).chain(FLAGS.iter().filter(|f| removes(f)));
    for flag in ordered.chain(FLAGS.iter().filter(|f| !mode(f) && !removes(f))) {
        for (_, value) in given.iter().filter(|(name, _)| name == flag.name) {
            if let Err(why) = put(flag.put, spec, value) {
                wrong.push(if value.is_empty() { format!("--{}: {why}", flag.name) } else { format!("--{} {value}: {why}", flag.name) });
            }
        }
    }
    change_capabilities(spec, given);
    let job = ["/Mode/ReplicatedJob", "/Mode/GlobalJob"].iter().any(|mode| spec.pointer(mode).is_some_and(Value::is_object));
    let policies = given.iter().filter(|(name, _)| name.starts_with("update-") || name.starts_with("rollback-"));
    wrong.extend(policies.filter(|_| job).map(|(name, _)| format!("--{name}: a job has no updates; leave it out")));
    let everywhere = ["/Mode/Global", "/Mode/GlobalJob"].iter().any(|mode| spec.pointer(mode).is_some_and(Value::is_object));
    let limited = given.iter().filter(|(name, value)| name == "replicas-max-per-node" && value != "0");
    wrong.extend(limited.filter(|_| everywhere).map(|(name, _)| format!("--{name}: only services with replicas have it")));
    let off = given.iter().any(|(name, value)| name == "no-healthcheck" && value == "true");
    let health = given.iter().filter(|(name, _)| name.starts_with("health-"));
    wrong.extend(health.filter(|_| off).map(|(name, _)| format!("--{name}: it does not go with --no-healthcheck; leave one out")));
    // A policy that says nothing of it is sent as 0, which is all at once; the docker CLI sends its default.
    for policy in ["UpdateConfig", "RollbackConfig"] {
        if let Some(map) = spec.get_mut(policy).and_then(Value::as_object_mut) {
            map.entry("Parallelism").or_insert(json!(1));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// A new service with an image, a command and flags, as the docker CLI makes one.
///
/// # Errors
/// As [`apply_flags`].
pub fn new_service(name: &str, image: &str, command: &[String], given: &[Given]) -> Result<Value, Vec<String>> {
    let mut container = json!({ "Image": image, "Init": false });
    if let (false, Some(map)) = (command.is_empty(), container.as_object_mut()) {
        map.insert("Args".into(), json!(command));
    }
    let mut service = json!({ "Name": name, "TaskTemplate": { "ContainerSpec": container }, "Mode": { "Replicated": {} } });
    apply_flags(&mut service, given)?;
    Ok(service)
}

/// Changes a list at a place.
fn items(spec: &mut Value, place: &str, change: impl FnOnce(&mut Vec<Value>)) {
    let here = slot(spec, place);
    let mut list = match here.take() {
        Value::Array(list) => list,
        _ => Vec::new(),
    };
    change(&mut list);
    *here = Value::Array(list);
}

fn field<'a>(entry: &'a Value, path: &str) -> Option<&'a Value> {
    entry.pointer(&format!("/{path}"))
}

fn put(how: Put, spec: &mut Value, text: &str) -> Result<(), String> {
    let count = |text: &str| text.parse::<u64>().map_err(|_| "write a whole number, 0 or more".to_owned());
    match how {
        Put::Text(place) => *slot(spec, place) = json!(text),
        Put::Word(_, words) if !words.contains(&text) => return Err(format!("write {}", words.join(" or "))),
        Put::Word(place, _) => *slot(spec, place) = json!(text),
        Put::Words(place) => {
            *slot(spec, place) = json!(shlex::split(text).ok_or("a quote in it has no end")?);
        }
        Put::Switch(place) => {
            *slot(spec, place) = json!(text.parse::<bool>().map_err(|_| "write true or false")?);
        }
        Put::Count(place) => *slot(spec, place) = json!(count(text)?),
        Put::Ratio(place) => {
            let ratio: f64 = text.parse().ok().filter(|r| (0.0..=1.0).contains(r)).ok_or("write a number from 0 to 1")?;
            *slot(spec, place) = json!(ratio);
        }
        Put::Time(place) => *slot(spec, place) = json!(duration(text).ok_or("write a duration, for example 10s or 1m30s")?),
        Put::Bytes(place) => *slot(spec, place) = json!(bytes(text).ok_or("write a number of bytes, for example 256m or 1g")?),
        Put::Cpus(place) => *slot(spec, place) = json!(cpus(text).ok_or("write a number of CPUs, for example 0.5")?),
        Put::Add(place) => {
            items(spec, place, |list| {
                if !list.contains(&json!(text)) {
                    list.push(json!(text));
                }
            });
        }
        Put::Remove(place) => items(spec, place, |list| list.retain(|item| item != text)),
        Put::Pair(place) => {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            if key.is_empty() || key.contains(char::is_whitespace) {
                return Err("write KEY=VALUE, without spaces in the key".into());
            }
            // A key may hold a slash: it is no place.
            let here = slot(spec, place);
            if !here.is_object() {
                *here = Value::Object(Map::new());
            }
            here[key] = json!(value);
        }
        Put::Unpair(place) => {
            if let Some(map) = spec.pointer_mut(place).and_then(Value::as_object_mut) {
                map.remove(text);
            }
        }
        Put::Other(change) => change(spec, text)?,
        Put::Together => {}
        Put::Health(part) => {
            let check = slot(spec, at!("Healthcheck"));
            if let Some(map) = check.as_object_mut().filter(|map| map.get("Test") == Some(&json!(["NONE"]))) {
                map.remove("Test");
            }
            put(*part, spec, text)?;
        }
        Put::Entry(place, read, alike) => {
            let entries = read(text)?;
            // A range of ports is as many entries as there are ports.
            let about = |entry: &Value| -> String {
                if alike.is_empty() {
                    return entry.to_string();
                }
                alike.iter().map(|path| field(entry, path).map_or_else(String::new, Value::to_string)).collect::<Vec<_>>().join("\n")
            };
            items(spec, place, |list| {
                let mut there: BTreeMap<String, usize> = BTreeMap::new();
                for (index, entry) in list.iter().enumerate() {
                    there.entry(about(entry)).or_insert(index);
                }
                for entry in entries {
                    let about = about(&entry);
                    match there.get(&about).and_then(|index| list.get_mut(*index)) {
                        Some(old) => *old = entry,
                        None => {
                            there.insert(about, list.len());
                            list.push(entry);
                        }
                    }
                }
            });
        }
        Put::Without(place, paths) => {
            // What the runtime alone uses is none of these.
            let is = |entry: &Value| {
                entry.get("Runtime").is_none() && paths.iter().any(|path| field(entry, path).and_then(Value::as_str) == Some(text))
            };
            items(spec, place, |list| list.retain(|entry| !is(entry)));
        }
    }
    Ok(())
}

fn secret(text: &str) -> Result<Vec<Value>, String> {
    reference(text, "SecretName")
}

fn config(text: &str) -> Result<Vec<Value>, String> {
    reference(text, "ConfigName")
}

fn without_variable(spec: &mut Value, name: &str) {
    items(spec, at!("Env"), |list| list.retain(|line| line.as_str().is_none_or(|line| line.split('=').next() != Some(name))));
}

fn set_variable(spec: &mut Value, text: &str) -> Result<(), String> {
    let name = text.split('=').next().unwrap_or_default();
    if name.is_empty() {
        return Err("write NAME=VALUE".into());
    }
    without_variable(spec, name);
    items(spec, at!("Env"), |list| list.push(json!(text)));
    Ok(())
}

fn remove_variable(spec: &mut Value, name: &str) -> Result<(), String> {
    without_variable(spec, name);
    Ok(())
}

fn texts(spec: &Value, place: &str) -> Vec<String> {
    let list = spec.pointer(place).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Capabilities that are added and dropped, as the docker CLI changes them: adding one that was dropped takes it out of the dropped ones, and
/// the other way round; adding comes before dropping; RESET empties the list.
fn change_capabilities(spec: &mut Value, given: &[Given]) {
    let of = |flag: &str| -> Vec<String> { given.iter().filter(|(name, _)| name == flag).map(|(_, value)| value.clone()).collect() };
    let (add, drop) = (of("cap-add"), of("cap-drop"));
    if add.is_empty() && drop.is_empty() {
        return;
    }
    let normal = |list: &[String]| -> BTreeSet<String> { capabilities(list, &[]).0.into_iter().collect() };
    let (mut added, mut dropped) = (normal(&texts(spec, at!("CapabilityAdd"))), normal(&texts(spec, at!("CapabilityDrop"))));
    let each = |list: &[String]| -> BTreeSet<String> { list.iter().flat_map(|one| normal(std::slice::from_ref(one))).collect() };
    let (mut add, mut drop) = (each(&add), each(&drop));
    if add.remove(RESET) {
        added.clear();
    }
    if drop.remove(RESET) {
        dropped.clear();
    }
    for name in drop.iter().filter(|name| !add.contains(*name)) {
        if !added.remove(name) {
            dropped.insert(name.clone());
        }
    }
    for name in &add {
        if !dropped.remove(name) {
            added.insert(name.clone());
        }
    }
    let list = |set: &BTreeSet<String>| normal(&set.iter().cloned().collect::<Vec<_>>()).into_iter().collect::<Vec<_>>();
    *slot(spec, at!("CapabilityAdd")) = json!(list(&added));
    *slot(spec, at!("CapabilityDrop")) = json!(list(&dropped));
}

/// A driver comes without the options of the one before.
fn set_log_driver(spec: &mut Value, name: &str) -> Result<(), String> {
    *slot(spec, "/TaskTemplate/LogDriver") = json!({ "Name": name });
    Ok(())
}

fn set_credential(spec: &mut Value, text: &str) -> Result<(), String> {
    let credential = credential(text)?;
    // One in a config is given to the runtime; it is no file of the tasks.
    items(spec, at!("Configs"), |list| {
        list.retain(|config| config.get("Runtime").is_none());
        list.extend(credential.get("Config").map(|name| json!({ "ConfigName": name, "Runtime": {} })));
    });
    *slot(spec, at!("Privileges/CredentialSpec")) = credential;
    Ok(())
}

fn set_mode(spec: &mut Value, mode: &str) -> Result<(), String> {
    let mode = match mode {
        "replicated" => "Replicated",
        "global" => "Global",
        "replicated-job" => "ReplicatedJob",
        "global-job" => "GlobalJob",
        _ => return Err("write replicated, global, replicated-job or global-job".into()),
    };
    *slot(spec, "/Mode") = json!({ mode: {} });
    Ok(())
}

fn whole(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "write a whole number, 0 or more".to_owned())
}

fn set_replicas(spec: &mut Value, text: &str) -> Result<(), String> {
    let count = json!(whole(text)?);
    if spec.pointer("/Mode/Replicated").is_some() {
        *slot(spec, "/Mode/Replicated/Replicas") = count;
    } else if spec.pointer("/Mode/ReplicatedJob").is_some() {
        *slot(spec, "/Mode/ReplicatedJob/TotalCompletions") = count.clone();
        if spec.pointer("/Mode/ReplicatedJob/MaxConcurrent").is_none() {
            *slot(spec, "/Mode/ReplicatedJob/MaxConcurrent") = count;
        }
    } else {
        return Err("only services of mode replicated and replicated-job have replicas".into());
    }
    Ok(())
}

fn set_concurrent(spec: &mut Value, text: &str) -> Result<(), String> {
    if spec.pointer("/Mode/ReplicatedJob").is_none() {
        return Err("only services of mode replicated-job have it".into());
    }
    *slot(spec, "/Mode/ReplicatedJob/MaxConcurrent") = json!(whole(text)?);
    Ok(())
}

/// The kernel's range (proc(5), `oom_score_adj`). Without a value an engine has 0.
fn set_oom(spec: &mut Value, text: &str) -> Result<(), String> {
    const PLACE: &str = "/TaskTemplate/ContainerSpec";
    let number = text.parse::<i64>().ok().filter(|n| (-1000..=1000).contains(n)).ok_or("write a whole number from -1000 to 1000")?;
    let here = slot(spec, PLACE);
    if let (0, Some(map)) = (number, here.as_object_mut()) {
        map.remove("OomScoreAdj");
        return Ok(());
    }
    *slot(spec, &format!("{PLACE}/OomScoreAdj")) = json!(number);
    Ok(())
}

fn preference(text: &str) -> Result<Value, String> {
    match text.split_once('=') {
        Some(("spread", label)) if !label.is_empty() => Ok(json!({ "Spread": { "SpreadDescriptor": label } })),
        _ => Err("write spread=LABEL, for example spread=node.labels.zone".into()),
    }
}

fn add_preference(spec: &mut Value, text: &str) -> Result<(), String> {
    let entry = preference(text)?;
    items(spec, task!("Placement/Preferences"), |list| list.push(entry));
    Ok(())
}

fn remove_preference(spec: &mut Value, text: &str) -> Result<(), String> {
    let entry = preference(text)?;
    items(spec, task!("Placement/Preferences"), |list| list.retain(|other| *other != entry));
    Ok(())
}

fn remove_generic(spec: &mut Value, kind: &str) -> Result<(), String> {
    let is = |entry: &Value| entry.as_object().and_then(|e| e.values().next()?.get("Kind")?.as_str()) == Some(kind);
    let mut found = false;
    items(spec, task!("Resources/Reservations/GenericResources"), |list| {
        let before = list.len();
        list.retain(|entry| !is(entry));
        found = list.len() < before;
    });
    if found { Ok(()) } else { Err("the service asks for no such resource".into()) }
}

fn unpublish(spec: &mut Value, text: &str) -> Result<(), String> {
    let (target, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let target: u64 = target.parse().map_err(|_| "write the port of the task, for example 80 or 53/udp")?;
    let goes = |port: &Value| {
        port.get("TargetPort").and_then(Value::as_u64) == Some(target)
            && port.get("Protocol").and_then(Value::as_str).unwrap_or("tcp") == protocol
    };
    items(spec, "/EndpointSpec/Ports", |list| list.retain(|port| !goes(port)));
    Ok(())
}

fn remove_host(spec: &mut Value, text: &str) -> Result<(), String> {
    let (name, address) = text.split_once(':').map_or((text, None), |(name, address)| (name, Some(address)));
    let goes = |line: &str| {
        let mut words = line.split_whitespace();
        let (ip, host) = (words.next(), words.next());
        host == Some(name) && address.is_none_or(|address| ip == Some(address))
    };
    items(spec, at!("Hosts"), |list| list.retain(|line| !line.as_str().is_some_and(goes)));
    Ok(())
}

fn set_health(spec: &mut Value, text: &str) -> Result<(), String> {
    *slot(spec, at!("Healthcheck/Test")) = json!(["CMD-SHELL", text]);
    Ok(())
}

fn no_health(spec: &mut Value, text: &str) -> Result<(), String> {
    if text.parse::<bool>().map_err(|_| "write true or false")? {
        *slot(spec, at!("Healthcheck")) = json!({ "Test": ["NONE"] });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
