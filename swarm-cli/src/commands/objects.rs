//! `swarm network`, `swarm secret`, `swarm config`.

use super::work::{How, Session, carry, print_object, short, table};
use crate::args_common::{Common, Format};
use crate::args_stores::ObjectCommand;
use crate::failure::Failure;
use crate::{output, source};
use serde_json::json;
use std::collections::BTreeMap;
use swarm_compose::FilePayloads;
use swarm_core::engine::{Body, Kind, Object, Query};
use swarm_core::observe::time;
use swarm_core::operators::{JOURNAL, runs};
use swarm_workload::{MakeObject, RemoveObjects, addresses, without_secrets};

/// Networks, secrets, configs.
pub(super) async fn run(kind: Kind, command: &ObjectCommand, format: Format) -> Result<u8, Failure> {
    match command {
        ObjectCommand::Ls { common } => {
            let session = Session::open(common).await?;
            let query = if kind == Kind::Network { Query::all(kind).with("scope", "swarm") } else { Query::all(kind) };
            let (_, lists) = session.listed(&[query]).await?;
            let mut objects: Vec<&Object> = lists.iter().flatten().collect();
            objects.sort_by(|a, b| a.name().cmp(b.name()));
            let stack = |o: &Object| o.label(swarm_workload::NAMESPACE_LABEL).unwrap_or_default().into_owned();
            match format {
                Format::Text => {
                    let row = |o: &&Object| {
                        vec![short(o.id()), o.name().to_owned(), stack(o), o.text("/Driver").unwrap_or_default().into_owned()]
                    };
                    let header: &[&str] = if kind == Kind::Network { &["ID", "NAME", "STACK", "DRIVER"] } else { &["ID", "NAME", "STACK"] };
                    let rows = objects.iter().map(row).map(|mut row| {
                        row.truncate(header.len());
                        row
                    });
                    table(header, rows.collect());
                }
                _ => {
                    let row = |o: &&Object| json!({ "id": o.id(), "name": o.name(), "stack": stack(o) });
                    output::json(&format!("{kind} ls"), &json!({ format!("{kind}s"): objects.iter().map(row).collect::<Vec<_>>() }));
                }
            }
            Ok(0)
        }
        ObjectCommand::Inspect { common, name } => {
            let session = Session::open(common).await?;
            let mut wants = vec![Query::all(kind)];
            if kind == Kind::Network {
                wants.extend([Query::all(Kind::Service), Query::all(Kind::Task)]);
            }
            let (_, lists) = session.listed(&wants).await?;
            let found = lists.first().into_iter().flatten().find(|o| o.name() == name || o.id() == name);
            let found = found.ok_or_else(|| Failure::Other(format!("there is no {kind} {name}")))?;
            match lists.as_slice() {
                [_, services, tasks] => print_network(found, services, tasks, format),
                _ => print_object(&format!("{kind} inspect"), found, format),
            }
            Ok(0)
        }
        ObjectCommand::Create { common, name, data, label, driver, opt, subnet, attachable, internal } => {
            let mut spec = json!({ "Labels": pairs("--label", label)? });
            let mut payloads = FilePayloads::default();
            let mut body = Body::of(json!({}));
            match (kind, data) {
                (Kind::Network, Some(_)) => return Err(Failure::Usage("a network has no data".into())),
                (Kind::Network, None) => {
                    let ipam = subnet.as_ref().map(|subnet| json!({ "Config": [{ "Subnet": subnet }] }));
                    let more = json!({ "Driver": driver, "Options": pairs("--opt", opt)?, "IPAM": ipam, "Attachable": attachable, "Internal": internal });
                    if let (Some(spec), serde_json::Value::Object(more)) = (spec.as_object_mut(), more) {
                        spec.extend(more.into_iter().filter(|(_, value)| !value.is_null()));
                    }
                }
                (_, None) => return Err(Failure::Usage(format!("name the file with the {kind}'s data, or - for standard input"))),
                (_, Some(path)) => {
                    let content = source::read_limited(path, 1 << 20)?;
                    payloads.add(name, &content);
                    body.data = Some(name.clone());
                }
            }
            body.spec = spec;
            let session = Session::open(common).await?;
            let intent = MakeObject { spec: &session.spec, kind, name: name.clone(), body };
            let how = How { payloads: &payloads, done: format!("{kind} {name} is there"), ..How::new("create", format) };
            carry(&session, &intent, how).await
        }
        ObjectCommand::Rm { common, names, yes } => remove(common, kind, names, *yes, format).await,
    }
}

/// Removes objects by their names.
pub(super) async fn remove(common: &Common, kind: Kind, names: &[String], yes: bool, format: Format) -> Result<u8, Failure> {
    let session = Session::open(common).await?;
    let intent = RemoveObjects { spec: &session.spec, kind, names: names.to_vec() };
    let question = Some(format!("Remove {kind} {}?", names.join(", ")));
    let done = format!("{kind} {} removed", names.join(", "));
    carry(&session, &intent, How { question, must_agree: true, yes, done, ..How::new("rm", format) }).await
}

fn pairs(flag: &str, texts: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |text: &String| text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    texts.iter().map(|text| pair(text).ok_or_else(|| Failure::Usage(format!("{flag} {text}: write KEY=VALUE")))).collect()
}

/// A network as its manager has it, and how many of its addresses are used.
fn print_network(network: &Object, services: &[Object], tasks: &[Object], format: Format) {
    // Networks of single nodes have addresses that no manager knows of.
    let of_swarm = network.text("/Scope").as_deref() == Some("swarm");
    let all = if of_swarm { addresses(network, services, tasks) } else { Vec::new() };
    match format {
        Format::Text => {
            output::data(&serde_json::to_string_pretty(&without_secrets(network.value())).unwrap_or_default());
            for a in &all {
                output::note(&format!("{}: {} addresses used, {} free", a.subnet, a.used, a.free));
            }
        }
        _ => {
            let rows: Vec<_> = all.iter().map(|a| json!({ "subnet": a.subnet, "used": a.used, "free": a.free })).collect();
            output::json("network inspect", &json!({ "object": without_secrets(network.value()), "addresses": rows }));
        }
    }
}

/// The runs of the journal, or those about one stack.
pub(super) async fn runs_of(session: &Session, stack: Option<&str>, last: Option<usize>, format: Format) -> Result<u8, Failure> {
    let (_, lists) = session.listed(&[Query::all(Kind::Config).with("name", JOURNAL)]).await?;
    let mut all = lists.iter().flatten().find(|o| o.name() == JOURNAL).map(runs).unwrap_or_default();
    let about = |why: &str, stack: &str| ["stack deploy ", "stack rm "].iter().any(|verb| why.strip_prefix(verb) == Some(stack));
    all.retain(|run| stack.is_none_or(|stack| about(&run.why, stack)));
    let older = all.len().saturating_sub(last.unwrap_or(usize::MAX));
    all.drain(..older);
    match format {
        Format::Text if all.is_empty() => output::data(&match stack {
            Some(stack) => format!("no run about stack {stack} stands in the journal of the swarm"),
            None => "no run stands in the journal of the swarm".to_owned(),
        }),
        Format::Text => table(
            &["WHEN", "WHO", "FROM", "WHAT", "TOOK", "DONE", "OUTCOME"],
            all.into_iter()
                .map(|e| {
                    vec![
                        time(e.at),
                        e.who,
                        e.from,
                        e.why,
                        format!("{} s", e.took),
                        if e.verbs.is_empty() {
                            "-".into()
                        } else {
                            std::iter::once(e.verbs).chain(e.images).collect::<Vec<_>>().join("; ")
                        },
                        e.outcome,
                    ]
                })
                .collect(),
        ),
        _ => output::json(if stack.is_some() { "stack history" } else { "history" }, &json!({ "runs": all })),
    }
    Ok(0)
}
