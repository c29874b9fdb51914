//! Our reader of Compose files and the docker CLI's, side by side: the same generated files, what each would send to an engine.

pub mod client;
pub mod flags;
pub mod generate;
pub mod schema;
pub mod values;
pub mod yaml;

use client::{Docker, Sent, THERE};
use generate::{Generator, Made};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use swarm_compose::{Context, Source};
use swarm_core::engine::Payloads as _;

/// Variables that are set beside those that a file needs.
pub const VARIABLES: &[(&str, &str)] = &[("HOST_SET", "from the host")];

/// What ours would send, and what it warns of; or why it refuses.
pub fn ours(files: &[PathBuf], variables: &[(String, String)], home: &Path) -> Result<(Sent, String), String> {
    let variable = |name: &str| match name {
        "HOME" => Some(home.to_string_lossy().into_owned()),
        "PATH" => Some("/usr/bin:/bin".into()),
        _ => variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()),
    };
    let file = |path: &Path| std::fs::read(path).map_err(|e| e.to_string());
    let folder = files.first().unwrap().parent().unwrap().to_owned();
    let command = |_: &[String]| Err("no programs here".to_owned());
    let sources: Vec<Source> = files
        .iter()
        .map(|path| Source { name: path.file_name().unwrap().to_string_lossy().into_owned(), text: std::fs::read_to_string(path).unwrap() })
        .collect();
    let read = swarm_compose::read("app", &sources, &Context { variable: &variable, file: &file, command: &command, folder })
        .map_err(|problems| problems.to_string())?;
    for name in read.stack.external_networks.iter().chain(&read.stack.external_secrets).chain(&read.stack.external_configs) {
        if !THERE.contains(&name.as_str()) {
            return Err(format!("{name} is not there"));
        }
    }
    let mut sent = Sent::new();
    let with = |spec: &Value, name: &str, payload: Option<&str>| {
        let mut body = spec.clone();
        let map = body.as_object_mut().unwrap();
        map.insert("Name".into(), json!(name));
        map.extend(payload.map(|payload| ("Data".to_owned(), json!(read.payloads.payload(payload).unwrap().expose()))));
        body
    };
    for network in &read.stack.networks {
        sent.insert(format!("networks {}", network.name), with(&network.spec, &network.name, None));
    }
    for secret in &read.stack.secrets {
        sent.insert(format!("secrets {}", secret.name), with(&secret.spec, &secret.name, secret.payload.as_deref()));
    }
    for config in &read.stack.configs {
        sent.insert(format!("configs {}", config.name), with(&config.spec, &config.name, Some(&config.payload)));
    }
    for service in &read.stack.services {
        sent.insert(format!("services {}", service.name), with(&service.spec, &service.name, None));
    }
    Ok((sent, read.warnings.join("\n")))
}

/// Numbers of which a zero says something else than their absence.
const ZERO_COUNTS: &[&str] = &["Replicas", "Parallelism", "TotalCompletions", "MaxConcurrent", "StopGracePeriod", "Mode"];
/// Mappings of the user's own, in which an empty text is a value.
const USERS_OWN: &[&str] = &["Labels", "Options", "Sysctls", "DriverOpts", "Segments"];

/// Without what is not there, and without what only one of the two has at this point. `within` is the key of the mapping around it.
pub fn comparable(within: &str, key: &str, value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(map) => {
            let kept = map.iter().filter(|(key, _)| !matches!(key.as_str(), "SecretID" | "ConfigID" | "CheckDuplicate"));
            let kept: serde_json::Map<_, _> = kept.filter_map(|(k, v)| Some((k.clone(), comparable(key, k, v)?))).collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(|item| comparable("", "", item).unwrap_or(Value::Null)).collect();
            // docker writes references to one object in an order of chance.
            if matches!(key, "Secrets" | "Configs") {
                items.sort_by_key(|item| item.pointer("/File/Name").map(Value::to_string));
            }
            (!items.is_empty()).then_some(Value::Array(items))
        }
        Value::String(text) if within == "CredentialSpec" && key == "Config" => {
            let name = text.strip_prefix("id-").unwrap_or(text);
            (!name.is_empty()).then(|| json!(name))
        }
        Value::String(text) if key == "Image" => Some(json!(swarm_workload::image_with_tag(text))),
        // The engine fills these in where they are left out.
        Value::String(text) if matches!((key, text.as_str()), ("Protocol", "tcp") | ("PublishMode", "ingress")) => None,
        Value::String(text) => (!text.is_empty() || key.is_empty() || USERS_OWN.contains(&within)).then(|| json!(text)),
        Value::Bool(yes) => (*yes || key == "Init").then(|| json!(yes)),
        Value::Number(number) => {
            // The engine fills the rest in.
            let kept = number.as_f64() != Some(0.0) || within == "RestartPolicy" || ZERO_COUNTS.contains(&key);
            kept.then(|| json!(number.as_f64()))
        }
    }
}

/// The two answers about one set of files.
pub enum Outcome {
    /// Both take them, and send the same.
    Same,
    /// Both refuse them.
    BothRefuse(String),
    /// They differ.
    Differ(String),
}

/// Asks both.
pub fn compare(docker: &Docker, name: &str, files: &[PathBuf], variables: &[(String, String)], home: &Path) -> Outcome {
    let theirs = docker.deploy(name, files, variables);
    let ours = ours(files, variables, home);
    match (theirs, ours) {
        (Err(theirs), Err(ours)) => Outcome::BothRefuse(format!("{} | {}", theirs.trim(), ours.trim())),
        (Err(why), Ok(_)) => Outcome::Differ(format!("laxer: docker refuses it: {}", why.trim())),
        (Ok(_), Err(why)) => Outcome::Differ(format!("stricter: ours refuses it: {}", why.trim())),
        (Ok((theirs, said)), Ok((ours, warned))) => {
            let mut wrong = Vec::new();
            for key in theirs.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
                let (a, b) = (theirs.get(key).and_then(|v| comparable("", "", v)), ours.get(key).and_then(|v| comparable("", "", v)));
                if a != b {
                    wrong.push(difference(key, a.as_ref(), b.as_ref()));
                }
            }
            for line in said.lines().filter_map(|line| line.strip_prefix("Ignoring unsupported options: ")) {
                wrong.extend(
                    line.split(", ")
                        .filter(|key| *key != "restart" && !warned.contains(*key))
                        .map(|key| format!("{key} is ignored without a word")),
                );
            }
            if wrong.is_empty() { Outcome::Same } else { Outcome::Differ(wrong.join("\n    ")) }
        }
    }
}

/// Where two values differ first.
fn difference(path: &str, a: Option<&Value>, b: Option<&Value>) -> String {
    if let (Some(Value::Object(x)), Some(Value::Object(y))) = (a, b) {
        let keys: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
        let found = keys.into_iter().filter(|key| x.get(*key) != y.get(*key));
        return found.map(|key| difference(&format!("{path}.{key}"), x.get(key), y.get(key))).collect::<Vec<_>>().join("\n    ");
    }
    let show = |v: Option<&Value>| v.map_or("not there".to_owned(), Value::to_string);
    format!("{path}: docker {} | ours {}", show(a), show(b))
}

/// The newest version of files that the docker CLI of 20.10 reads.
const OLDER: &str = "3.9";

/// The docker CLIs that ours is compared with.
#[derive(Debug)]
pub struct Clis<'a> {
    /// The one that is followed.
    pub newest: &'a Path,
    /// An older one, asked about what the newest one and ours take alike; then all files are of the newest version that it knows.
    pub older: Option<&'a Path>,
}

/// What came of many cases.
#[derive(Debug, Default)]
pub struct Report {
    /// Cases that both took and that mean the same.
    pub same: u32,
    /// Cases that both refuse.
    pub refused: u32,
    /// Why files without anything odd are refused: what the generator does not know.
    pub refusals: Vec<String>,
    /// What differs, each with its number and file.
    pub differ: Vec<String>,
    /// Cases that an older docker CLI reads like the newest one and ours.
    pub alike: u32,
    /// Cases that it refuses: they have what it does not know.
    pub newer: u32,
    /// What it sends otherwise than the newest one.
    pub unlike: Vec<String>,
    /// Places of the schema that no file of both sets twice.
    pub unset: Vec<String>,
}

/// Plays cases of a seed, each of so many files over one another. `known` says of a difference that it is known, with the reason.
pub fn play(clis: &Clis<'_>, dir: &Path, seed: u64, cases: u32, each: usize, known: &dyn Fn(&str, &str) -> bool) -> Report {
    let schema = if clis.older.is_some() { schema::of_version(clis.newest, OLDER) } else { schema::of(clis.newest) };
    let docker = Docker::new(clis.newest, dir);
    let older = clis.older.map(|cli| Docker::new(cli, dir));
    let mut generator = Generator::new(&schema, seed);
    let mut report = Report::default();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("compose/files");
    crate::lab::sh(&["cp", "-r", samples.to_str().unwrap(), dir.to_str().unwrap()]);
    for case in 0..cases {
        let mut made: Vec<Made> = (0..each).map(|index| generator.file(case % 2 == 1 && index + 1 == each)).collect();
        let mut variables: Vec<(String, String)> = VARIABLES.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        if clis.older.is_some() {
            made.iter_mut().for_each(|file| file.tree.set("version", yaml::Yaml::Text(OLDER.to_owned())));
        }
        if each > 1 {
            // Files of several versions are refused; one case in ten shows it.
            made.iter_mut().filter(|_| case % 10 != 0).for_each(|file| file.tree.remove("version"));
        }
        let (mut files, mut text) = (Vec::new(), String::new());
        for (index, file) in made.iter().enumerate() {
            // Each file has variables of its own.
            let content = file.tree.file().replace("${V", &format!("${{F{index}V")).replace("$V", &format!("$F{index}V"));
            let path = dir.join(format!("case-{case}-{index}.yml"));
            std::fs::write(&path, &content).unwrap();
            files.push(path);
            text.push_str(&content);
            let set = file.variables.iter().filter(|(_, value)| value != generate::UNSET);
            variables.extend(set.map(|(key, value)| (format!("F{index}{key}"), value.clone())));
        }
        let odd = made.iter().find_map(|file| file.odd.clone());
        match compare(&docker, &format!("case-{case}"), &files, &variables, dir) {
            Outcome::Same => {
                report.same += 1;
                made.iter().for_each(|file| generator.taken(file));
                if let Some(older) = &older {
                    match compare(older, &format!("older-{case}"), &files, &variables, dir) {
                        Outcome::Same => report.alike += 1,
                        Outcome::Differ(why) if why.starts_with("laxer") => report.newer += 1,
                        Outcome::Differ(why) => report.unlike.push(why),
                        Outcome::BothRefuse(why) => panic!("what ours has taken it refuses now: {why}"),
                    }
                }
            }
            Outcome::BothRefuse(why) => {
                report.refused += 1;
                if odd.is_none() {
                    report.refusals.push(format!("case {case} of seed {seed}: {why}"));
                }
            }
            Outcome::Differ(why) if known(&text, &why) => {}
            Outcome::Differ(why) => report.differ.push(format!("case {case} of seed {seed}, odd at {odd:?}:\n    {why}")),
        }
    }
    report.unset = schema::places(&schema).into_iter().filter(|place| generator.seen(place) < 2).collect();
    report
}

/// Differences that are wanted, by what is said of them; each stands in docs/compose.md.
pub fn known(text: &str, why: &str) -> bool {
    // A value of a variable may stand for a number or for true and false wherever one is wanted.
    let cast = ["must be a boolean", "must be a integer", "must be a number"].iter().any(|said| why.contains(said));
    // docker looks for a credential specification under another name than the config's own.
    let named = why.contains("invalid credential spec: spec specifies config");
    // It changes what is there under the name of an external object.
    let twice = why.contains("failed to update config") || why.contains("failed to update secret");
    // It writes numbers of hosts as nonsense, and a capability without a name.
    let nonsense = why.contains("%!s(") || why.contains("\"CAP_\"");
    // The engine refuses those; docker writes a date in Go's way, or fails.
    let word = why.contains("`0` is no port")
        || why.contains("is none of")
        || why.contains("this is a date")
        || why.contains("write a whole number");
    // Conditions are an extension.
    let after = why.contains("depends_on must be a list");
    match why.split(':').next() {
        Some("laxer") => cast && text.contains('$') || named || twice || after,
        Some("stricter") => word,
        _ => nonsense && why.lines().count() == 1,
    }
}

/// A document without what is zero, empty or `null`: an engine takes that for no such field. Parts that are there and empty stay, maps of it go.
pub fn pruned(value: &Value) -> Value {
    const MAPS: [&str; 5] = ["Labels", "Options", "Sysctls", "DriverOpts", "AuxiliaryAddresses"];
    let unset = |key: &str, value: &Value| match value {
        Value::Null | Value::Bool(false) => !matches!(key, "Init" | "EnableIPv4"),
        Value::Number(number) => number.as_f64() == Some(0.0) && !matches!(key, "Replicas" | "MemorySwappiness"),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty() && MAPS.contains(&key),
        Value::Bool(true) => false,
    };
    match value {
        Value::Object(map) => {
            let kept =
                map.iter().map(|(key, value)| (key.clone(), pruned(value))).filter(|(key, value)| !value.is_null() && !unset(key, value));
            Value::Object(kept.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(pruned).collect()),
        other => other.clone(),
    }
}
