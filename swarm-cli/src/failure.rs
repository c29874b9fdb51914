//! Why a command ended without its result, and the exit code that says so.

use crate::args_common::Format;
use crate::output;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use swarm_core::ApplyError;
use swarm_core::observe::time;
use swarm_core::operators::Holder;
use swarm_core::report::Ending;
use swarm_lab::LabError;
use swarm_prepare::Found;
use thiserror::Error;

/// Wrong use of the command line (sysexits.h EX_USAGE).
pub(crate) const USAGE: u8 = 64;
/// `plan`: there are changes.
pub(crate) const CHANGES: u8 = 2;
/// Some of it was done.
pub(crate) const PARTIAL: u8 = 4;
/// `verify`: it does not hold.
pub(crate) const NOT_CONVERGED: u8 = 3;

/// What went wrong.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    File(String),
    #[error("{path}: {message}", path = .0.display(), message = .1)]
    Io(PathBuf, String),
    #[error("{0}")]
    Apply(#[from] ApplyError),
    #[error("{0}")]
    Lab(#[from] LabError),
    #[error(
        "nothing was changed: another run holds the swarm ({0}, begun {begun}); --wait waits for it, and `swarm lock status` shows it",
        begun = time(.0.since)
    )]
    Held(Box<Holder>),
    #[error("{0}")]
    Usage(String),
    #[error("nothing was changed: {}\nmend it and apply again; `checks: {{ ignore: {{ NAME: REASON }} }}` in the file passes over a check", refused(.0))]
    Checks(Vec<Found>),
    #[error("nothing was changed: {0}")]
    Declined(&'static str),
    #[error("stopped before anything was changed")]
    Stopped,
    #[error("stopped: {0}")]
    StoppedMaking(&'static str),
    #[error("{0}")]
    Other(String),
}

fn refused(found: &[Found]) -> String {
    let s = if found.len() == 1 { "check stands" } else { "checks stand" };
    format!("{} {s} against adding hosts\n{}", found.len(), found_lines(found).join("\n"))
}

/// What checks found, a line for each. What is the same on several hosts, why it matters and what to do, is said once, behind them.
pub(crate) fn found_lines(found: &[Found]) -> Vec<String> {
    let several = |check: &str| found.iter().filter(|f| f.check == check).count() > 1;
    let mut lines = Vec::new();
    let mut said = BTreeMap::new();
    for f in found {
        let line = format!("{}: {}: {}", f.host, f.check, f.evidence);
        if several(f.check) {
            lines.push(line);
            said.insert(f.check, format!("{}: {}; {}", f.check, f.cause, f.fix));
        } else {
            lines.push(format!("{line}; {}; {}", f.cause, f.fix));
        }
    }
    lines.extend(said.into_values());
    lines
}

impl Failure {
    /// As a document: programs read reasons by their type.
    pub(crate) fn tell(&self, format: Format) {
        let refusals = match self {
            Self::Apply(ApplyError::Refused(refusals)) => json!(refusals),
            Self::Checks(found) => json!(found),
            _ => json!([]),
        };
        let error = self.to_string();
        match format {
            Format::Jsonl => output::json_line(&json!({ "event": "failed", "error": error, "refusals": refusals })),
            _ => output::json("error", &json!({ "error": error, "refusals": refusals })),
        }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Stopped | Self::StoppedMaking(_) => Ending::Interrupted.exit_code(),
            _ => 1,
        }
    }
}
