//! `swarm explain`: from an error to its cause and what to do.

use super::work::Session;
use crate::args_common::{Common, Format};
use crate::failure::{self, Failure};
use crate::output;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use swarm_core::engine::{Kind, Object, Query};
use swarm_core::observe::{Fact, NodeState, Observed};
use swarm_prepare::{Known, explain};

fn row(known: &Known) -> Value {
    json!({ "name": known.name, "cause": known.cause, "fix": known.fix })
}

fn print(known: &Known, indent: &str) {
    output::data(&format!("{indent}{}\n{indent}  {}", known.cause, known.fix));
}

/// One error that someone has before them.
pub(super) fn one(text: &str, format: Format) -> Result<u8, Failure> {
    let found = explain(text);
    if found.is_empty() {
        return Err(Failure::Other(
            "nothing is known of this error; `swarm check` looks for what breaks a swarm, `swarm support` collects what a helper needs"
                .into(),
        ));
    }
    match format {
        Format::Text => found.iter().take(2).for_each(|known| print(known, "")),
        _ => output::json("explain", &json!({ "error": text, "explained": found.iter().map(|k| row(k)).collect::<Vec<_>>() })),
    }
    Ok(0)
}

/// What is wrong by the word of hosts, nodes and tasks: each error once, with where it was said.
fn wrong(observed: &Observed, tasks: &[Object], services: &[Object]) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut say = |text: &str, place: String| {
        if !text.is_empty() {
            all.entry(output::clean(text)).or_default().insert(place);
        }
    };
    for (name, host) in &observed.hosts {
        match &host.report.engine {
            Err(error) => say(&error.message, name.to_string()),
            Ok(engine) => say(engine.swarm.error.as_deref().unwrap_or_default(), name.to_string()),
        }
        if let Some(node) = host.node.as_ref().or(host.presumed.as_ref()).filter(|node| node.state != NodeState::Ready) {
            say(&node.message, name.to_string());
        }
    }
    for task in tasks {
        // What failed before and runs now is over.
        let wanted = matches!(task.text("/DesiredState").as_deref(), Some("running" | "ready"));
        let failed = matches!(task.text("/Status/State").as_deref(), Some("failed" | "rejected"));
        let service = task.text("/ServiceID").unwrap_or_default();
        let of = services.iter().find(|s| s.id() == service);
        let short = of.is_some_and(|s| s.number("/ServiceStatus/RunningTasks") < s.number("/ServiceStatus/DesiredTasks"));
        if wanted || (failed && short) {
            let place = of.map_or_else(|| service.to_string(), |s| format!("service {}", s.name()));
            say(&task.text("/Status/Err").unwrap_or_default(), place);
        }
    }
    all
}

pub(super) async fn all(common: &Common, format: Format) -> Result<u8, Failure> {
    let session = Session::open(common).await?;
    let (tasks, services) = (Query::all(Kind::Task), Query::all(Kind::Service));
    let wants = [tasks.clone(), services.clone()];
    let observed = swarm_core::Apply::new(&session.spec, &session.fleet).observe_objects(&wants).await;
    // Without a manager that answers, hosts are all there is.
    let list = |query: &Query| if let Fact::Known(objects, _) = observed.objects_of(query) { objects } else { &[] };
    let found = wrong(&observed, list(&tasks), list(&services));
    match format {
        Format::Text if found.is_empty() => output::data("no host, node or task says that anything is wrong"),
        Format::Text => {
            for (text, places) in &found {
                output::data(&format!("{}: {text}", places.iter().cloned().collect::<Vec<_>>().join(", ")));
                match explain(text).first() {
                    Some(known) => print(known, "  "),
                    None => output::data("  nothing more is known of it"),
                }
            }
        }
        _ => {
            let each = found.iter().map(|(text, places)| {
                json!({ "error": text, "where": places, "explained": explain(text).iter().map(|k| row(k)).collect::<Vec<_>>() })
            });
            output::json("explain", &json!({ "errors": each.collect::<Vec<_>>() }));
        }
    }
    Ok(if found.is_empty() { 0 } else { failure::NOT_CONVERGED })
}
