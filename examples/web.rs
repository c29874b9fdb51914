//! A web service that bootstraps clusters: POST a cluster file, and its events come back as they happen (server-sent events).
//!
//! `cargo run --example web`, then `curl -N --data-binary @swarm.yaml http://127.0.0.1:8080/clusters`.
#![allow(clippy::print_stdout, reason = "a program shows its result")]

use axum::Router;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::routing::post;
use serde_json::{Value, json};
use std::convert::Infallible;
use swarm_core::driver::{Progress, ProgressEvent};
use swarm_core::secret::redact;
use swarm_core::{Apply, ClusterSpec, Stop};
use swarm_fleet::Connections;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_stream::{Stream, StreamExt};

struct ToBrowser(UnboundedSender<Value>);

impl Progress for ToBrowser {
    fn report(&self, event: &ProgressEvent) {
        // Whoever listened may be gone; the run is stopped below.
        let _ = self.0.send(serde_json::to_value(event).unwrap_or_default());
    }
}

/// A browser that goes away stops the run in order: what is under way ends, nothing new begins.
async fn bootstrap(cluster: ClusterSpec, events: UnboundedSender<Value>) {
    let (fleet, sink, stop) = (Connections::default(), ToBrowser(events.clone()), Stop::default());
    let apply = Apply::new(&cluster, &fleet).progress(&sink).stop(stop.clone());
    let run = async {
        match apply.plan().await {
            Ok((plan, observed)) => json!({ "event": "ended", "report": apply.run(&plan, &observed).await }),
            Err(refused) => json!({ "event": "failed", "error": refused.to_string() }),
        }
    };
    tokio::pin!(run);
    let last = tokio::select! {
        last = &mut run => last,
        () = events.closed() => {
            stop.stop();
            run.await
        }
    };
    let _ = events.send(last);
}

type Events = Sse<std::pin::Pin<Box<dyn Stream<Item = Result<Event, Infallible>> + Send>>>;

async fn create(text: String) -> Result<Events, (StatusCode, String)> {
    // A file from the network takes nothing from the environment of this service.
    let cluster = swarm_file::parse(&text, &|_| None).map_err(|problems| (StatusCode::UNPROCESSABLE_ENTITY, problems.to_string()))?.spec;
    let (sender, events): (_, UnboundedReceiver<Value>) = unbounded_channel();
    tokio::spawn(bootstrap(cluster, sender));
    let events = UnboundedReceiverStream::new(events).map(|event| Ok(Event::default().data(redact(&event.to_string()))));
    Ok(Sse::new(Box::pin(events)))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, Router::new().route("/clusters", post(create))).await
}
