//! Compose files, as `docker stack deploy` reads them, to a [`Stack`] of swarm-workload.
//!
//! Every key that the docker CLI maps is mapped, every key that it ignores is named in a warning, and what it refuses is refused, at its
//! place and with the fix. Where it is known that docker CLI versions differ, the newest one is followed (`docs/compose.md`).
//!
//! ```
//! use swarm_compose::{Source, read};
//! let source = Source { name: "app.yml".into(), text: "services:\n  web: { image: nginx }\n".into() };
//! let no_files = |_: &std::path::Path| Err("there are no files here".to_owned());
//! let read = read("app", &[source], &swarm_compose::Context {
//!     variable: &|_| None, file: &no_files, command: &|_| Err("no commands".into()), folder: "/".into(),
//! }).unwrap();
//! assert_eq!(read.stack.services[0].name, "app_web");
//! ```

mod interpolate;
mod lists;
mod merge;
mod mounts;
mod objects;
mod ports;
mod reader;
mod scalars;
mod service;
mod shape;
mod shaped;
mod task;

use interpolate::Interpolation;
use reader::Reader;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use swarm_core::engine::Payloads;
use swarm_core::secret::Secret;
use swarm_core::spec::{Location, Node, OWN_OBJECTS, Problem, Severity, Value};
use swarm_workload::Stack;

pub use service::env_lines;
pub use swarm_workload::{bytes, duration};

/// One Compose file.
#[derive(Debug, Clone)]
pub struct Source {
    /// What it is called in messages.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// Runs a program and its arguments; gives what it wrote, or why there is nothing.
pub type RunProgram<'a> = dyn Fn(&[String]) -> Result<Vec<u8>, String> + 'a;

/// Where values come from that are not in the files.
pub struct Context<'a> {
    /// The value of a variable; `None` where it is not set.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Reads a file.
    pub file: &'a dyn Fn(&Path) -> Result<Vec<u8>, String>,
    /// Runs a program, of a secret or a config whose content it writes; the error never holds what it wrote.
    pub command: &'a RunProgram<'a>,
    /// What relative paths start from: the folder of the first file.
    pub folder: PathBuf,
}

/// What is wrong with Compose files: each problem with the file it is in.
#[derive(Debug, Clone, PartialEq)]
pub struct ComposeProblems(pub Vec<(String, Problem)>);

impl std::fmt::Display for ComposeProblems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (file, problem)) in self.0.iter().enumerate() {
            let at = problem.at.map_or(String::new(), |at| format!(":{}:{}", at.line, at.column));
            let path = if problem.path.is_empty() { String::new() } else { format!("{}: ", problem.path) };
            let newline = if index > 0 { "\n" } else { "" };
            write!(f, "{newline}{file}{at}: {path}{}; {}", problem.message, problem.fix)?;
        }
        Ok(())
    }
}

impl std::error::Error for ComposeProblems {}

/// A stack that was read.
#[derive(Debug)]
pub struct ReadStack {
    /// What is wanted.
    pub stack: Stack,
    /// What the reader should know: keys without effect, addresses that are dropped.
    pub warnings: Vec<String>,
    /// The data of its secrets and configs.
    pub payloads: FilePayloads,
}

/// Data of secrets and configs, read from files.
#[derive(Debug, Default)]
pub struct FilePayloads(BTreeMap<String, Secret>);

impl FilePayloads {
    /// Adds the data of a secret or config.
    pub fn add(&mut self, name: &str, data: &[u8]) {
        use base64::Engine;
        self.0.insert(name.to_owned(), Secret::new(base64::engine::general_purpose::STANDARD.encode(data)));
    }
}

impl Payloads for FilePayloads {
    fn payload(&self, name: &str) -> Result<Secret, String> {
        self.0.get(name).cloned().ok_or_else(|| format!("the data of {name} is not known here; plan from the Compose file"))
    }
}

/// Lines of the file of this index; it says which file a place is in while several are read as one.
const FILE: u64 = 1 << 32;

/// Reads the files of a stack, the later ones over the earlier ones.
///
/// # Errors
/// Every problem of every file.
pub fn read(stack: &str, sources: &[Source], context: &Context<'_>) -> Result<ReadStack, ComposeProblems> {
    read_as(stack, sources, context, false)
}

/// Reads services, networks, volumes, secrets and configs of a file that has other keys too, which are left alone: those of a cluster file.
/// They belong to the stack, and their names are as the file has them.
///
/// # Errors
/// Every problem with them.
pub fn read_own(stack: &str, source: &Source, context: &Context<'_>) -> Result<ReadStack, ComposeProblems> {
    read_as(stack, std::slice::from_ref(source), context, true)
}

fn read_as(stack: &str, sources: &[Source], context: &Context<'_>, own: bool) -> Result<ReadStack, ComposeProblems> {
    let names: Vec<String> = sources.iter().map(|s| s.name.clone()).collect();
    let mut problems: Vec<Problem> = Vec::new();
    let mut interpolation = Interpolation::new(context.variable);
    let mut misshapen: Vec<Problem> = Vec::new();
    let (mut merged, mut first): (Option<Node>, Option<u8>) = (None, None);
    for (index, source) in sources.iter().enumerate() {
        let mut tree = match swarm_file::tree(source.text.strip_prefix('\u{feff}').unwrap_or(&source.text)) {
            Ok(tree) => tree,
            Err(found) => {
                problems.extend(found.0.into_iter().map(|p| Problem { at: p.at.map(|at| in_file(at, index)), ..p }));
                continue;
            }
        };
        let lines = scalars::Lines::of(&source.text);
        let mut dates = BTreeSet::new();
        mark(&mut tree, index, &lines, &mut dates);
        if !matches!(tree.value, Value::Map(_)) {
            let message = "a Compose file is a mapping".to_owned();
            let at = Some(in_file(Location { line: 1, column: 1 }, index));
            let fix = "write services: and what follows".to_owned();
            problems.push(Problem { severity: Severity::Error, path: String::new(), at, message, fix });
            continue;
        }
        if let (true, Value::Map(entries)) = (own, &mut tree.value) {
            entries.retain(|entry| OWN_OBJECTS.contains(&entry.key.as_str()));
        }
        interpolation.file(&mut tree);
        let said = version(&tree).unwrap_or_else(|problem| {
            problems.push(problem);
            shape::NEWEST
        });
        let mut check = shaped::Shaped { version: said, places: &interpolation.places, dates: &dates, found: Vec::new() };
        check.node(&shape::FILE, &tree, "");
        misshapen.append(&mut check.found);
        if first.is_some_and(|first| first != said) {
            let at = Some(in_file(Location { line: 1, column: 1 }, index));
            let message = format!("this file is of version 3.{said}, and the first of 3.{}", first.unwrap_or(said));
            let fix = "write the same version in all, or in none".to_owned();
            problems.push(Problem { severity: Severity::Error, path: "version".into(), at, message, fix });
        }
        first = first.or(Some(said));
        if sources.len() > 1 {
            problems.append(&mut own_variables(stack, context, &mut tree));
        }
        merged = Some(match merged {
            None => tree,
            Some(base) => merge::files(base, tree),
        });
    }
    problems.append(&mut interpolation.problems);
    let mut reader = Reader::new(stack, context, interpolation.places, interpolation.taken);
    reader.own = own;
    if let Some(tree) = &merged {
        reader.stack(tree);
    }
    problems.append(&mut reader.problems);
    // What the reader has said of a place already is said better.
    let said: BTreeSet<Option<Location>> = problems.iter().map(|problem| problem.at).collect();
    misshapen.retain(|one| !said.contains(&one.at));
    problems.append(&mut misshapen);
    let said: BTreeSet<Option<Location>> = problems.iter().map(|problem| problem.at).collect();
    problems.extend(reader.unread.drain(..).filter(|one| !said.contains(&one.at)));
    if merged.is_some() && problems.is_empty() {
        return Ok(ReadStack { stack: reader.out, warnings: reader.warnings, payloads: reader.payloads });
    }
    problems.sort_by_key(|p| p.at);
    let of = |problem: Problem| {
        let index = problem.at.map_or(0, |at| (at.line / FILE) as usize);
        let at = problem.at.map(|at| Location { line: at.line % FILE, column: at.column });
        (names.get(index).cloned().unwrap_or_default(), Problem { at, ..problem })
    };
    Err(ComposeProblems(problems.into_iter().map(of).collect()))
}

/// Each file's services get the variables of its own `env_file` before another file is laid over it: a later file's come before all of an
/// earlier one's.
fn own_variables(stack: &str, context: &Context<'_>, tree: &mut Node) -> Vec<Problem> {
    let mut reader = Reader::new(stack, context, BTreeSet::new(), BTreeMap::new());
    let Value::Map(top) = &mut tree.value else { return Vec::new() };
    let services = top.iter_mut().find(|entry| entry.key == "services").map(|entry| &mut entry.node.value);
    let Some(Value::Map(services)) = services else { return Vec::new() };
    for service in services {
        let path = format!("services.{}", service.key);
        if let Value::Map(entries) = &mut service.node.value {
            reader.resolve_variables(entries, &path);
        }
    }
    reader.problems
}

/// The version that a file says, without its 3: the newest where it says none. `Err` where there is no such version.
fn version(tree: &Node) -> Result<u8, Problem> {
    let Value::Map(entries) = &tree.value else { return Ok(shape::NEWEST) };
    let Some(node) = entries.iter().find(|e| e.key == "version").map(|e| &e.node) else { return Ok(shape::NEWEST) };
    // Anything but a text is of the wrong form, which is said elsewhere.
    let Value::Text(text) = &node.value else { return Ok(shape::NEWEST) };
    let minor = match text.split_once('.') {
        None if matches!(text.as_str(), "3" | "") => return Ok(shape::NEWEST),
        Some(("3", minor)) => minor.parse::<u8>().ok().filter(|known| *known <= shape::NEWEST && known.to_string() == minor),
        _ => None,
    };
    minor.ok_or_else(|| Problem {
        severity: Severity::Error,
        path: "version".into(),
        at: node.at,
        message: format!("{text} is no version that a stack can have"),
        fix: format!("write \"3.{}\", or leave it out", shape::NEWEST),
    })
}

/// The JSON Schema of Compose files as they are read here, for editors.
pub fn schema() -> serde_json::Value {
    let mut schema = shaped::schema(&shape::FILE);
    if let Some(map) = schema.as_object_mut() {
        map.insert("$schema".into(), "http://json-schema.org/draft-07/schema#".into());
        map.insert("title".into(), "Compose file of a stack".into());
    }
    schema
}

fn in_file(at: Location, index: usize) -> Location {
    Location { line: at.line + FILE * index as u64, column: at.column }
}

/// Puts the file's index into every place, and reads plain scalars as docker reads them. `dates` collects those that are dates.
fn mark(node: &mut Node, index: usize, lines: &scalars::Lines<'_>, dates: &mut BTreeSet<Location>) {
    if let Some(at) = node.at {
        match scalars::plain(&node.value, at, lines) {
            scalars::Plain::AsRead => {}
            scalars::Plain::Is(value) => node.value = value,
            scalars::Plain::Date => {
                dates.insert(in_file(at, index));
            }
        }
    }
    node.at = node.at.map(|at| in_file(at, index));
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| mark(item, index, lines, dates)),
        Value::Map(entries) => {
            for entry in entries {
                entry.at = entry.at.map(|at| in_file(at, index));
                mark(&mut entry.node, index, lines, dates);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// YAML 1.1 reads a number with a zero in front as an octal one, and so does docker.
    #[test]
    fn octal_numbers() {
        let text = "a: 0440\nb: { c: 0644, d: 440, e: 0 }\nf: \"0440\"\n";
        let mut tree = swarm_file::tree(text).unwrap();
        mark(&mut tree, 0, &scalars::Lines::of(text), &mut BTreeSet::new());
        let shown = format!("{tree:?}");
        for value in ["Int(288)", "Int(420)", "Int(440)", "Int(0)", "Text(\"0440\")"] {
            assert!(shown.contains(value), "{value} is not in {shown}");
        }
    }
}
