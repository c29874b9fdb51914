//! A plan as text, grouped by host.

use super::{Plan, Risk, Step};
use crate::id::HostName;
use std::fmt::Write as _;

/// The plan for people. Contains only what the plan contains; no secret can be in it.
pub fn render_text(plan: &Plan) -> String {
    let mut out = String::new();
    let swarm = plan
        .swarm
        .as_ref()
        .map_or_else(|| if plan.makes_one() { "a new swarm" } else { "swarm unknown" }.to_owned(), |id| format!("swarm {id}"));
    let _ = writeln!(out, "cluster {} ({swarm})", plan.cluster);
    let mut hosts: Vec<&HostName> = Vec::new();
    for step in &plan.steps {
        if let Some(host) = step.host.as_ref().filter(|host| !hosts.contains(host)) {
            hosts.push(host);
        }
    }
    let width = plan.steps.iter().map(|s| s.action.verb().len()).max().unwrap_or(0);
    for host in hosts {
        let _ = writeln!(out, "\n{host}");
        for step in plan.steps_of(host) {
            let _ = writeln!(out, "  {} {:width$}  {} -> {}", step.action.kind().sign(), step.action.verb(), step.before, step.after);
            let _ = writeln!(out, "    {:width$}  because {}{}", "", step.because, risk(step));
        }
    }
    let objects: Vec<&Step> = plan.steps.iter().filter(|s| s.host.is_none()).collect();
    if !objects.is_empty() {
        let _ = writeln!(out, "\nthe swarm");
    }
    for step in objects {
        let _ = writeln!(out, "  {} {:width$}  {}", step.action.kind().sign(), step.action.verb(), step.target());
        for line in step.after.lines() {
            let _ = writeln!(out, "    {:width$}  {line}", "");
        }
        let _ = writeln!(out, "    {:width$}  because {}{}", "", step.because, risk(step));
    }
    for blocked in &plan.blocked {
        let _ = writeln!(out, "\n{}\n  ! left out: {}", blocked.host, blocked.why);
    }
    if !plan.notes.is_empty() {
        out.push('\n');
    }
    for note in &plan.notes {
        let _ = writeln!(out, "note: {note}");
    }
    let steps = plan.steps.len();
    let _ = match steps {
        0 if !plan.blocked.is_empty() => {
            let s = if plan.blocked.len() == 1 { " is" } else { "s are" };
            writeln!(out, "\nNothing to do for the others; {} host{s} left out.", plan.blocked.len())
        }
        0 => writeln!(out, "\nNothing to do."),
        1 => writeln!(out, "\n1 step."),
        _ => writeln!(out, "\n{steps} steps."),
    };
    out
}

fn risk(step: &Step) -> &'static str {
    match step.risk {
        Risk::None => "",
        Risk::Tasks => " (moves tasks)",
        Risk::Quorum => " (touches the quorum)",
        Risk::Host => " (ends what the host runs there)",
        Risk::Swarm => " (there may be a second swarm afterwards)",
    }
}
