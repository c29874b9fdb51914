//! What is wrong with a file: all of it, each with its place and its fix.

use super::tree::Location;
use serde::Serialize;
use std::fmt;

/// Whether a problem stops the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, and its author should know.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Whether it stops the run.
    pub severity: Severity,
    /// The path of the value, for example `hosts.m2.address`.
    pub path: String,
    /// Where it stands.
    pub at: Option<Location>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}; {}", self.message, self.fix)
    }
}

/// All problems of a file, in the order of their places. At least one is an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            if let Some(at) = problem.at {
                write!(f, "{}:{}: ", at.line, at.column)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}
