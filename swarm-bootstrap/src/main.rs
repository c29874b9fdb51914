//! One cluster file in, JSON events out: `swarm-bootstrap plan|apply|verify FILE`. Exit codes are those of `swarm`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "events are the output")]

use serde_json::{Value, json};
use std::{error::Error, process::ExitCode};
use swarm_core::driver::{Progress, ProgressEvent};
use swarm_core::intent::{Converge, Intent};
use swarm_core::{Apply, plan::PlanOptions, secret::redact};
use swarm_fleet::Connections;

struct Lines;

impl Progress for Lines {
    fn report(&self, event: &ProgressEvent) {
        emit(&serde_json::to_value(event).unwrap_or_default());
    }
}

fn emit(event: &Value) {
    println!("{}", redact(&event.to_string()));
}

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    ExitCode::from(match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [verb @ ("plan" | "apply" | "verify"), file] => run(verb, file).await.unwrap_or_else(|error| {
            emit(&json!({ "event": "failed", "error": error.to_string() }));
            1
        }),
        _ => {
            eprintln!("usage: swarm-bootstrap plan|apply|verify FILE");
            64
        }
    })
}

async fn run(verb: &str, file: &str) -> Result<u8, Box<dyn Error>> {
    let spec = swarm_file::parse_bytes(&std::fs::read(file)?, &|name| std::env::var(name).ok())?.spec;
    spec.beyond_membership().iter().for_each(|key| emit(&json!({ "event": "left-out", "key": key })));
    let fleet = Connections::default();
    let keys = swarm_fleet::keeper(&spec, Vec::new());
    let apply = Apply::new(&spec, &fleet).progress(&Lines).keys(keys.as_ref());
    if verb == "verify" {
        let wanted = Converge { spec: &spec, options: PlanOptions { stored_key: keys.fingerprint(), ..PlanOptions::default() } };
        let verdict = wanted.verify(&apply.observe().await);
        emit(&json!({ "event": "verified", "verdict": verdict }));
        return Ok(if verdict.converged { 0 } else { 3 });
    }
    let (plan, observed) = apply.plan().await?;
    emit(&json!({ "event": "planned", "plan": plan }));
    if verb == "plan" {
        return Ok(if plan.is_empty() { 0 } else { 2 });
    }
    let report = apply.run(&plan, &observed).await;
    emit(&json!({ "event": "ended", "report": report }));
    Ok(report.ending.exit_code())
}
