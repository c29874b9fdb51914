//! The cluster file, and the hosts a command is about.

use crate::args::Common;
use crate::failure::Failure;
use crate::output;
use std::collections::BTreeSet;
use std::io::{IsTerminal, Read};
use std::path::Path;
use swarm_core::ClusterSpec;
use swarm_core::id::HostName;
use swarm_core::spec::Role;
use swarm_sim::Description;

/// Reads a file, or standard input for `-`, up to a bound.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let failed = |e: std::io::Error| Failure::Io(path.to_owned(), e.to_string());
    let mut bytes = Vec::new();
    if path.as_os_str() == "-" {
        std::io::stdin().lock().take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let file = std::fs::File::open(path).map_err(|e| {
            let hint = if e.kind() == std::io::ErrorKind::NotFound { "; `swarm new` writes one, -f names another" } else { "" };
            Failure::Io(path.to_owned(), format!("{e}{hint}"))
        })?;
        file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    Ok(bytes)
}

/// Reads the cluster file, telling every problem it has.
pub(crate) fn cluster(common: &Common) -> Result<ClusterSpec, Failure> {
    let bytes = read(&common.file, swarm_file::SIZE_LIMIT as u64)?;
    let name = if common.file.as_os_str() == "-" { "standard input".to_owned() } else { common.file.display().to_string() };
    let text = String::from_utf8_lossy(&bytes);
    let source = std::io::stderr().is_terminal().then_some(text.as_ref());
    match swarm_file::parse_bytes(&bytes, &|name| std::env::var(name).ok()) {
        Ok(read) => {
            if !read.warnings.is_empty() {
                output::note(&swarm_file::render(&read.warnings, &name, source));
            }
            Ok(read.spec)
        }
        Err(problems) => {
            let shown = swarm_file::render(&problems.0, &name, source);
            let count = problems.0.len();
            Err(Failure::File(format!("{name} has {count} problem{}\n{shown}", if count == 1 { "" } else { "s" })))
        }
    }
}

/// Reads what a simulated world is like.
pub(crate) fn description(path: &Path, spec: &ClusterSpec) -> Result<Description, Failure> {
    let bytes = read(path, swarm_file::SIZE_LIMIT as u64)?;
    let text = String::from_utf8_lossy(&bytes);
    let name = path.display().to_string();
    let source = std::io::stderr().is_terminal().then_some(text.as_ref());
    swarm_file::tree(&text).and_then(|tree| Description::read(&tree, spec)).map_err(|problems| {
        let count = problems.0.len();
        let shown = swarm_file::render(&problems.0, &name, source);
        Failure::File(format!("{name} has {count} problem{}\n{shown}", if count == 1 { "" } else { "s" }))
    })
}

/// The hosts that `--limit` selects; `None` where there is no limit.
pub(crate) fn limit(common: &Common, spec: &ClusterSpec) -> Result<Option<BTreeSet<HostName>>, Failure> {
    if common.limit.is_empty() {
        return Ok(None);
    }
    let mut chosen = BTreeSet::new();
    for pattern in &common.limit {
        let before = chosen.len();
        let fits = |name: &str, role: Role| match pattern.as_str() {
            "role=manager" => role == Role::Manager,
            "role=worker" => role == Role::Worker,
            pattern => glob(pattern, name),
        };
        chosen.extend(spec.hosts().filter(|h| fits(h.name.as_str(), h.role)).map(|h| h.name.clone()));
        if chosen.len() == before && !spec.hosts().any(|h| fits(h.name.as_str(), h.role)) {
            let names: Vec<&str> = spec.hosts().map(|h| h.name.as_str()).collect();
            return Err(Failure::Usage(format!("--limit {pattern} selects no host; there are {}", names.join(", "))));
        }
    }
    Ok(Some(chosen))
}

/// Hosts named one by one.
pub(crate) fn named(names: &[String], spec: &ClusterSpec, flag: &str) -> Result<BTreeSet<HostName>, Failure> {
    names
        .iter()
        .map(|name| {
            let host = HostName::new(name.clone());
            spec.host(&host)
                .map(|h| h.name.clone())
                .ok_or_else(|| Failure::Usage(format!("{flag} {name}: there is no such host in the file")))
        })
        .collect()
}

/// `*` stands for any text, anything else for itself.
fn glob(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => {
            name.strip_prefix(before).is_some_and(|rest| (0..=rest.len()).filter_map(|at| rest.get(at..)).any(|tail| glob(after, tail)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn globs() {
        assert!(glob("w*", "w12") && glob("*-a", "x-a") && glob("m1", "m1") && glob("*", ""));
        assert!(!glob("w*", "m1") && !glob("m1", "m12") && !glob("a*c", "ab"));
    }
}
