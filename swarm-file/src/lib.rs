//! The cluster file: YAML text to a [`ClusterSpec`](swarm_core::ClusterSpec), with every problem at its line.
//!
//! ```
//! let file = swarm_file::parse("name: prod\nhosts:\n  m1: { address: 10.0.0.11, role: manager }\n", &|_| None).unwrap();
//! assert_eq!(file.spec.managers().count(), 1);
//! ```

mod adopted;
mod environment;
mod example;
mod import;
mod snippet;
#[cfg(test)]
mod tests;
mod yaml;

pub use adopted::{AdoptedHost, AdoptedSsh, adopted, adopted_name};
pub use example::{NewHost, example};
pub use import::{ImportFrom, ImportedHost, import, imported};
pub use snippet::render;

use swarm_core::spec::{Entry, Location, Node, Problem, Problems, ReadSpec, Severity, Value, read};

/// The largest file that is read. Ten thousand hosts take about two.
pub const SIZE_LIMIT: usize = 8 << 20;

/// Parses a cluster file. `variable` gives environment variables for `${NAME}`.
///
/// # Errors
/// Every problem of the file, in the order of its lines. What is no YAML at all is one problem.
pub fn parse(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<ReadSpec, Problems> {
    parse_with(text, variable, &[])
}

/// The same with machines that are hosts beside those of the file, where it says who makes machines.
///
/// # Errors
/// As [`parse`].
pub fn parse_with(text: &str, variable: &dyn Fn(&str) -> Option<String>, machines: &[Entry]) -> Result<ReadSpec, Problems> {
    if text.len() > SIZE_LIMIT {
        return Err(whole_file(
            format!("the file is larger than {} MiB", SIZE_LIMIT >> 20),
            "a cluster file of ten thousand hosts has two".into(),
        ));
    }
    let mut tree = yaml::tree(text).map_err(|e| Problems(vec![e]))?;
    if tree.value == Value::Null {
        return Err(whole_file("the file is empty".into(), "`swarm new` writes one".into()));
    }
    let missing = environment::substitute(&mut tree, variable);
    add_machines(&mut tree, machines);
    match read(&tree) {
        Ok(spec) if missing.is_empty() => Ok(spec),
        Ok(_) => Err(Problems(missing)),
        Err(Problems(problems)) => {
            let mut all: Vec<Problem> = missing.into_iter().chain(problems).collect();
            all.sort_by_key(|p| p.at);
            Err(Problems(all))
        }
    }
}

/// Machines are hosts. A file that says who makes them need not name others.
fn add_machines(tree: &mut Node, machines: &[Entry]) {
    let Value::Map(entries) = &mut tree.value else { return };
    if !entries.iter().any(|e| e.key == "machines") {
        return;
    }
    if !entries.iter().any(|e| e.key == "hosts") {
        let node = Node { value: Value::Map(Vec::new()), at: None };
        entries.push(Entry { key: "hosts".into(), at: None, node });
    }
    for hosts in entries.iter_mut().filter(|e| e.key == "hosts") {
        if hosts.node.value == Value::Null {
            hosts.node.value = Value::Map(Vec::new());
        }
        if let Value::Map(hosts) = &mut hosts.node.value {
            hosts.extend(machines.iter().cloned());
        }
    }
}

/// Parses YAML into its tree, for files that are not cluster files.
///
/// # Errors
/// What is no YAML, at its place.
pub fn tree(text: &str) -> Result<Node, Problems> {
    if text.len() > SIZE_LIMIT {
        return Err(whole_file(format!("the file has {} MiB", text.len() >> 20), "it has at most 8 MiB".into()));
    }
    yaml::tree(text).map_err(|e| Problems(vec![e]))
}

/// Parses a file's bytes.
///
/// # Errors
/// As [`parse`]; also what is not UTF-8.
pub fn parse_bytes(bytes: &[u8], variable: &dyn Fn(&str) -> Option<String>) -> Result<ReadSpec, Problems> {
    parse_bytes_with(bytes, variable, &[])
}

/// As [`parse_with`], from bytes as they are in a file.
///
/// # Errors
/// As [`parse_bytes`].
pub fn parse_bytes_with(bytes: &[u8], variable: &dyn Fn(&str) -> Option<String>, machines: &[Entry]) -> Result<ReadSpec, Problems> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse_with(text.strip_prefix('\u{feff}').unwrap_or(text), variable, machines),
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.iter().filter(|b| **b == b'\n').count() as u64 + 1;
            let mut problems = whole_file("the file is not UTF-8 text".into(), "save it as UTF-8".into());
            problems.0.iter_mut().for_each(|p| p.at = Some(Location { line, column: 1 }));
            Err(problems)
        }
    }
}

fn whole_file(message: String, fix: String) -> Problems {
    Problems(vec![Problem { severity: Severity::Error, path: String::new(), at: None, message, fix }])
}
