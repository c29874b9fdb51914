//! A cluster in 20 lines: `cargo run --example bootstrap -- .lab/lab/swarm.yaml`.
#![allow(clippy::print_stdout, reason = "a program shows its result")]

use swarm_core::Apply;
use swarm_core::report::Ending;
use swarm_fleet::Connections;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "swarm.yaml".into());
    let cluster = swarm_file::parse(&std::fs::read_to_string(path)?, &|name| std::env::var(name).ok())?.spec;
    let fleet = Connections::default();
    // Where the file locks managers, their key needs a place.
    let keys = swarm_fleet::keeper(&cluster, Vec::new());
    let apply = Apply::new(&cluster, &fleet).keys(keys.as_ref());
    let (plan, observed) = apply.plan().await?;
    let report = apply.run(&plan, &observed).await;
    println!("{} steps, {:?}", report.steps.len(), report.ending);
    if report.ending == Ending::Converged { Ok(()) } else { Err("the cluster does not match the file".into()) }
}
