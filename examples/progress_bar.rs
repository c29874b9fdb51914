//! A progress bar over a run: how many steps have ended, how many failed, and which one is under way.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program shows its result, and how far it is")]

use std::sync::atomic::{AtomicUsize, Ordering};
use swarm_core::Apply;
use swarm_core::driver::{Progress, ProgressEvent};
use swarm_core::machine::Outcome;
use swarm_fleet::Connections;

#[derive(Default)]
struct Bar {
    steps: AtomicUsize,
    ended: AtomicUsize,
    failed: AtomicUsize,
}

impl Bar {
    fn draw(&self, what: &str) {
        let (all, ended) = (self.steps.load(Ordering::Relaxed).max(1), self.ended.load(Ordering::Relaxed));
        let filled = (ended * 30 / all).min(30);
        let failed = self.failed.load(Ordering::Relaxed);
        eprintln!("[{}{}] {ended}/{all}, {failed} failed: {what}", "#".repeat(filled), ".".repeat(30 - filled));
    }
}

impl Progress for Bar {
    fn report(&self, event: &ProgressEvent) {
        match event {
            ProgressEvent::StepStarted { step, .. } => self.draw(step.as_str()),
            ProgressEvent::StepProgress { step, message, .. } => self.draw(&format!("{step}: {message}")),
            ProgressEvent::StepFinished { step, outcome, .. } => {
                self.ended.fetch_add(1, Ordering::Relaxed);
                if !matches!(outcome, Outcome::Done { .. }) {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                }
                self.draw(step.as_str());
            }
            ProgressEvent::VerifyStarted => self.draw("looking at the result"),
            // Kinds of events are added over time: a bar shows those that it knows.
            _ => {}
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "swarm.yaml".into());
    let cluster = swarm_file::parse(&std::fs::read_to_string(path)?, &|name| std::env::var(name).ok())?.spec;
    let (fleet, bar) = (Connections::default(), Bar::default());
    let apply = Apply::new(&cluster, &fleet).progress(&bar);
    let (plan, observed) = apply.plan().await?;
    bar.steps.store(plan.steps.len(), Ordering::Relaxed);
    let report = apply.run(&plan, &observed).await;
    println!("{:?}: {} of {} steps ended", report.ending, bar.ended.load(Ordering::Relaxed), plan.steps.len());
    Ok(())
}
