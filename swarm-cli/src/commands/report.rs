//! What the verbs that change something share: the plan shown, signals that stop a run in order, the report begun.

use crate::args_common::Format;
use crate::{output, progress};
use serde_json::json;
use swarm_core::Stop;
use swarm_core::plan::{Plan, render_text};
use swarm_core::report::Report;
use swarm_workload::without_secrets;

/// Shows a plan.
pub(super) fn show(plan: &Plan, format: Format) {
    let document = || without_secrets(json!(plan));
    match format {
        Format::Text => output::data(&render_text(plan)),
        Format::Json => output::json("plan", &json!({ "plan": document() })),
        Format::Jsonl => output::json_line(&json!({ "event": "planned", "plan": document() })),
    }
}

/// The first signal stops the run in order, the second at once.
pub(super) fn listen(stop: &Stop) {
    // A simulated run is over before anybody could press a key, and its clock knows no signals.
    if output::is_simulated() {
        return;
    }
    let stop = stop.clone();
    super::STOPS_IN_ORDER.store(true, std::sync::atomic::Ordering::SeqCst);
    use tokio::signal::unix::{SignalKind, signal};
    // Heard from here on: what is said next may be answered with a signal at once.
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        return;
    };
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        };
        next().await;
        output::note("stopping: what is under way is finished or given up; once more ends at once");
        stop.stop();
        next().await;
        std::process::exit(130);
    });
}

/// Writes a report as a document, or begins it for people with the steps that are not done: then the rest is up to the caller.
pub(super) fn begin_report(command: &str, report: &Report, format: Format) -> bool {
    match format {
        Format::Json => output::json(command, &json!({ "report": report })),
        Format::Jsonl => output::json_line(&json!({ "event": "ended", "report": report })),
        Format::Text => {
            for step in report.steps.iter().filter(|s| !s.outcome.is_done()) {
                output::note(&format!("{}: {}", step.id, progress::outcome_text(&step.outcome)));
            }
        }
    }
    format == Format::Text
}
