//! Looks and plans, and cannot do more: what it holds gives readers only.
#![allow(clippy::print_stdout, reason = "a program shows its result")]

use std::collections::BTreeSet;
use swarm_core::FleetRead;
use swarm_core::driver::{NoProgress, inspect};
use swarm_core::observe::merge;
use swarm_core::plan::{PlanOptions, Planned, build, render_text};
use swarm_fleet::Connections;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "swarm.yaml".into());
    let cluster = swarm_file::parse(&std::fs::read_to_string(path)?, &|name| std::env::var(name).ok())?.spec;
    let connections = Connections::default();
    let fleet: &dyn FleetRead = &connections;
    let observed = merge(&cluster, &inspect(&cluster, fleet, &NoProgress).await, &BTreeSet::new());
    match build(&cluster, &observed, &PlanOptions::default()) {
        Planned::Plan(plan) => println!("{}", render_text(&plan)),
        Planned::Refused(reasons) => reasons.iter().for_each(|reason| println!("{reason}")),
    }
    Ok(())
}
