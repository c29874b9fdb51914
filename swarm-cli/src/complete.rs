//! What a shell completes from the cluster file: names of hosts.

use clap_complete::CompletionCandidate;
use std::ffi::OsStr;
use std::path::PathBuf;
use swarm_core::spec::{Entry, Value};

/// What a shell sets when it asks for completions; a name that no one uses for something else.
pub(crate) const VARIABLE: &str = "_SWARM_COMPLETE";

/// The hosts of the cluster file that a command without `-f` would read, also where the file has problems elsewhere. Standard input
/// belongs to the shell.
fn host_names() -> Option<Vec<String>> {
    let file = std::env::var_os("SWARM_FILE").map_or_else(|| PathBuf::from("swarm.yaml"), PathBuf::from);
    let bytes = if file.as_os_str() == "-" { return None } else { crate::input::read(&file, swarm_file::SIZE_LIMIT as u64).ok()? };
    let entries = |value: Value| match value {
        Value::Map(entries) => entries,
        _ => Vec::<Entry>::new(),
    };
    let whole = swarm_file::tree(&String::from_utf8_lossy(&bytes)).ok()?;
    let hosts = entries(whole.value).into_iter().find(|e| e.key == "hosts")?;
    Some(entries(hosts.node.value).into_iter().map(|e| e.key).collect())
}

fn names(current: &str) -> Vec<String> {
    host_names().unwrap_or_default().into_iter().filter(|name| name.starts_with(current)).collect()
}

/// Hosts.
pub(crate) fn hosts(current: &OsStr) -> Vec<CompletionCandidate> {
    names(&current.to_string_lossy()).into_iter().map(CompletionCandidate::new).collect()
}

/// Hosts and roles, of which several may stand behind one another.
pub(crate) fn selectors(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let (before, last) = current.rsplit_once(',').map_or((String::new(), &*current), |(before, last)| (format!("{before},"), last));
    let roles = ["role=manager", "role=worker", "role=none"].into_iter().filter(|r| r.starts_with(last)).map(str::to_owned);
    names(last).into_iter().chain(roles).map(|name| CompletionCandidate::new(format!("{before}{name}"))).collect()
}
