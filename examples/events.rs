//! A progress sink of one's own: every event goes down a channel, as it would to a web page.
#![allow(clippy::print_stdout, reason = "a program shows its result")]

use std::sync::mpsc::{Sender, channel};
use swarm_core::Apply;
use swarm_core::driver::{Progress, ProgressEvent};
use swarm_fleet::Connections;

struct Channel(Sender<ProgressEvent>);

impl Progress for Channel {
    fn report(&self, event: &ProgressEvent) {
        // Whoever listened may be gone; the run goes on.
        let _ = self.0.send(event.clone());
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "swarm.yaml".into());
    let cluster = swarm_file::parse(&std::fs::read_to_string(path)?, &|name| std::env::var(name).ok())?.spec;
    let (sender, events) = channel();
    let listener = std::thread::spawn(move || events.iter().for_each(|event| println!("{event:?}")));
    let fleet = Connections::default();
    let sink = Channel(sender);
    let apply = Apply::new(&cluster, &fleet).progress(&sink);
    let (plan, observed) = apply.plan().await?;
    let report = apply.run(&plan, &observed).await;
    drop(apply);
    drop(sink);
    let _ = listener.join();
    println!("{:?}", report.ending);
    Ok(())
}
