//! What happens while it happens: live lines on a terminal, plain lines elsewhere, or JSON lines.

use crate::args_common::Format;
use crate::output;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::Duration;
use swarm_core::driver::{Progress, ProgressEvent};
use swarm_core::id::{HostName, StepId};
use swarm_core::machine::Outcome;

/// A progress sink for a format. With `-v` every event is in the log as well.
pub(crate) fn for_format(format: Format) -> Box<dyn Progress> {
    let shown: Box<dyn Progress> = match format {
        Format::Jsonl => Box::new(Lines),
        Format::Json => Box::new(swarm_core::driver::NoProgress),
        Format::Text if std::io::stderr().is_terminal() => Box::new(Live::new()),
        Format::Text => Box::new(Plain),
    };
    Box::new(Logged(shown))
}

/// Writes events to the log on their way.
struct Logged(Box<dyn Progress>);

impl Progress for Logged {
    fn report(&self, event: &ProgressEvent) {
        tracing::info!(target: "swarm::run", "{}", output::clean(&serde_json::to_string(event).unwrap_or_default()));
        self.0.report(event);
    }
}

struct Lines;

impl Progress for Lines {
    fn report(&self, event: &ProgressEvent) {
        output::json_line(event);
    }
}

struct Plain;

impl Progress for Plain {
    fn report(&self, event: &ProgressEvent) {
        if let Some(line) = describe(event) {
            output::note(&line);
        }
    }
}

/// One spinning line for each host that is being worked on.
struct Live {
    area: MultiProgress,
    lines: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Live {
    fn new() -> Self {
        Self { area: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()), lines: Mutex::default() }
    }

    fn spin(&self, host: &str, text: &str) {
        let Ok(mut lines) = self.lines.lock() else { return };
        let line = lines.entry(host.to_owned()).or_insert_with(|| {
            let line = self.area.add(ProgressBar::new_spinner());
            // The template is ours and whole.
            let style = ProgressStyle::with_template("{spinner} {msg}  {elapsed}").unwrap_or_else(|_| ProgressStyle::default_spinner());
            line.set_style(style);
            line.enable_steady_tick(Duration::from_millis(120));
            line
        });
        line.set_message(output::clean(text));
    }

    fn end(&self, host: &str) {
        if let Ok(mut lines) = self.lines.lock()
            && let Some(line) = lines.remove(host)
        {
            line.finish_and_clear();
        }
    }
}

impl Progress for Live {
    fn report(&self, event: &ProgressEvent) {
        match event {
            ProgressEvent::StepStarted { step, host, verb } => self.spin(line_of(step, host), &format!("{}  {verb}", line_of(step, host))),
            ProgressEvent::StepTrouble { step, host, message } => {
                self.spin(line_of(step, host), &format!("{}  {message}", line_of(step, host)));
            }
            ProgressEvent::StepProgress { step, host, message } => {
                self.spin(line_of(step, host), &format!("{}  {message}", line_of(step, host)));
            }
            ProgressEvent::StepFinished { step, host, .. } => {
                self.end(line_of(step, host));
                if let Some(line) = describe(event) {
                    let _ = self.area.println(output::clean(&line));
                }
            }
            ProgressEvent::Waiting { .. } => {
                if let Some(line) = describe(event) {
                    let _ = self.area.println(output::clean(&line));
                }
            }
            _ => {}
        }
    }
}

/// The line of a step: its host's, or its own.
fn line_of<'a>(step: &'a StepId, host: &'a Option<HostName>) -> &'a str {
    host.as_ref().map_or(step.as_str(), HostName::as_str)
}

fn describe(event: &ProgressEvent) -> Option<String> {
    match event {
        ProgressEvent::InspectStarted { hosts } => Some(format!("looking at {hosts} host{}", if *hosts == 1 { "" } else { "s" })),
        ProgressEvent::HostInspected { host, error: Some(error) } => Some(format!("{host}: {error}")),
        ProgressEvent::StepStarted { step, .. } => Some(format!("{step}: started")),
        ProgressEvent::StepTrouble { step, message, .. } => Some(format!("{step}: {message}")),
        ProgressEvent::StepProgress { step, message, .. } => Some(format!("{step}: {message}")),
        ProgressEvent::StepFinished { step, outcome, .. } => Some(format!("{step}: {}", outcome_text(outcome))),
        ProgressEvent::Waiting { what } => Some(format!("waiting: {what}")),
        ProgressEvent::VerifyStarted => Some("verifying from a fresh look".into()),
        _ => None,
    }
}

/// How a step ended, in words.
pub(crate) fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done { changed: true } => "done".into(),
        Outcome::Done { changed: false } => "already up to date".into(),
        Outcome::Failed { message } => format!("failed: {message}"),
        Outcome::InDoubt { message } => format!("in doubt: {message}"),
        Outcome::Paused { message } => format!("paused: {message}"),
        Outcome::RolledBack { message } => format!("rolled back: {message}"),
        Outcome::Blocked { by } => format!("skipped: {by} failed"),
        Outcome::NotStarted => "not started".into(),
    }
}
