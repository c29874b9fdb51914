//! Problems as text: file, line and column, the line itself with a mark under the place, and the fix.

use std::fmt::Write as _;
use swarm_core::spec::{Problem, Severity};

/// Renders problems. With `source`, each gets its line of the file.
pub fn render(problems: &[Problem], file: &str, source: Option<&str>) -> String {
    let mut out = String::new();
    for problem in problems {
        let word = if problem.severity == Severity::Error { "error" } else { "warning" };
        let place = problem.at.map_or(file.to_owned(), |at| format!("{file}:{}:{}", at.line, at.column));
        let path = if problem.path.is_empty() { String::new() } else { format!("{}: ", problem.path) };
        let _ = writeln!(out, "{place}: {word}: {path}{}", problem.message);
        let line = problem.at.and_then(|at| Some((at, source?.lines().nth(usize::try_from(at.line).ok()?.checked_sub(1)?)?)));
        if let Some((at, line)) = line {
            let line: String = line.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect();
            let number = at.line.to_string();
            let indent = usize::try_from(at.column).unwrap_or(1).saturating_sub(1).min(200);
            let _ = writeln!(out, "  {number} | {line}");
            let _ = writeln!(out, "  {:width$} | {:indent$}^", "", "", width = number.len());
        }
        let _ = writeln!(out, "  fix: {}", problem.fix);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stands_under_the_value() {
        let source = "name: prod\nhosts:\n  m1: { address: 10.0.0.300, role: manager }\n";
        let problems = crate::parse(source, &|_| None).unwrap_err().0;
        let expected = "swarm.yaml:3:18: error: hosts.m1.address: `10.0.0.300` is not an IP address or a host name\n  \
                        3 |   m1: { address: 10.0.0.300, role: manager }\n    |                  ^\n  \
                        fix: write an IP address or a DNS name\n";
        assert_eq!(render(&problems, "swarm.yaml", Some(source)), expected);
    }
}
