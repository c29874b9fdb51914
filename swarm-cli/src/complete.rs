//! What a shell completes from the cluster file: names of hosts.

use clap_complete::CompletionCandidate;
use std::ffi::OsStr;
use std::path::PathBuf;
use swarm_core::ClusterSpec;

/// The cluster file that a command without `-f` would read.
fn spec() -> Option<ClusterSpec> {
    let file = std::env::var_os("SWARM_FILE").map_or_else(|| PathBuf::from("swarm.yaml"), PathBuf::from);
    let bytes = crate::source::read(&file, swarm_file::SIZE_LIMIT as u64).ok()?;
    // Names of hosts stand in no variable.
    swarm_file::parse_bytes(&bytes, &|_| Some(String::new())).ok().map(|read| read.spec)
}

fn names(current: &str) -> Vec<String> {
    spec().iter().flat_map(|s| s.hosts()).map(|h| h.name.to_string()).filter(|name| name.starts_with(current)).collect()
}

/// Hosts.
pub(crate) fn hosts(current: &OsStr) -> Vec<CompletionCandidate> {
    names(&current.to_string_lossy()).into_iter().map(CompletionCandidate::new).collect()
}

/// Hosts and roles, of which several may stand behind one another.
pub(crate) fn selectors(current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let (before, last) = current.rsplit_once(',').map_or((String::new(), &*current), |(before, last)| (format!("{before},"), last));
    let roles = ["role=manager", "role=worker"].into_iter().filter(|r| r.starts_with(last)).map(str::to_owned);
    names(last).into_iter().chain(roles).map(|name| CompletionCandidate::new(format!("{before}{name}"))).collect()
}
