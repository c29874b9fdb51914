//! Who makes machines that are hosts beside those of the file.

use super::fields::{Fields, Reader};
use serde::Serialize;

/// A program that lists, creates and destroys machines (docs/machines.md). What it lists are hosts beside those that the file names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machines {
    /// The program and its first arguments. What is wanted comes last: `list`, `create` or `destroy`.
    pub command: Vec<String>,
}

impl Reader {
    pub(super) fn machines(&mut self, cluster: &Fields<'_>) -> Option<Machines> {
        let machines = cluster.node("machines").and_then(|node| self.fields("machines", "machines", node))?;
        let exec = machines.node("exec").and_then(|node| self.fields("machines.exec", "exec", node))?;
        let command: Vec<String> = self.texts(&exec, "command").into_iter().map(|(word, _)| word).collect();
        if command.is_empty() {
            let at = exec.node("command").and_then(|n| n.at);
            self.error("machines.exec.command", at, "no program is named", "write for example [./machines, --group, prod]");
            return None;
        }
        Some(Machines { command })
    }
}
