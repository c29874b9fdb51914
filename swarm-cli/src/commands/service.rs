//! `swarm service`.

use super::work::{How, Picture, Session, carry, number, print_object, resolve, short, table, table_text, watched};
use crate::args_common::Format;
use crate::args_swarm::RebalanceArgs;
use crate::args_work::{ChangeHow, ImageHow, ResolveImage, ServiceCommand};
use crate::failure::Failure;
use crate::registry::{self, Logins, WithLogins};
use crate::{output, source};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use swarm_core::engine::{Kind, LogQuery, NoPayloads, Object, Query};
use swarm_core::fleet::FleetRead;
use swarm_core::observe::{Observed, ObservedCluster};
use swarm_workload::{Edit, EditServices, Given, ImageOptions, MakeService, Rebalance, apply_flags, new_service, without_digest};

pub(super) async fn run(command: &ServiceCommand, format: Format) -> Result<u8, Failure> {
    match command {
        ServiceCommand::Ls { common } => {
            let session = Session::open(common).await?;
            let (_, lists) = session.listed(&[Query::all(Kind::Service)]).await?;
            service_table("service ls", lists.first().map_or(&[], Vec::as_slice), format);
            Ok(0)
        }
        ServiceCommand::Ps { common, services, all, watch } => {
            let session = Session::open(common).await?;
            let wants = [Query::all(Kind::Task), Query::all(Kind::Service)];
            let look = async || {
                let (observed, lists) = session.listed(&wants).await?;
                let (tasks, known) = (lists.first().map_or(&[][..], Vec::as_slice), lists.get(1).map_or(&[][..], Vec::as_slice));
                let chosen: Vec<Object> = known.iter().filter(|s| services.iter().any(|n| n == s.name() || n == s.id())).cloned().collect();
                if let Some(missing) = services.iter().find(|n| !chosen.iter().any(|s| *n == s.name() || *n == s.id())) {
                    return Err(Failure::Other(format!("there is no service {missing}")));
                }
                let of = |t: &&Object| chosen.iter().any(|s| t.text("/ServiceID").as_deref() == Some(s.id()));
                let tasks: Vec<Object> = tasks.iter().filter(of).cloned().collect();
                Ok((task_picture(&tasks, &chosen, &observed, *all, format), 0))
            };
            watched("service ps", *watch, format, look).await
        }
        ServiceCommand::Inspect { common, service } => {
            let session = Session::open(common).await?;
            let (_, lists) = session.listed(&[Query::all(Kind::Service)]).await?;
            let found = lists.iter().flatten().find(|s| s.name() == service || s.id() == service);
            let found = found.ok_or_else(|| Failure::Other(format!("there is no service {service}")))?;
            print_object("service inspect", found, format);
            Ok(0)
        }
        ServiceCommand::Create { common, name, env_file, flags, how, image_how, image, command } => {
            let mut given = Vec::new();
            for path in env_file {
                let text = String::from_utf8(source::read_limited(path, 1 << 20)?);
                let text = text.map_err(|_| Failure::Usage(format!("{}: it is not UTF-8", path.display())))?;
                let own = |name: &str| std::env::var(name).ok();
                let line = |(name, value): (String, Option<String>)| match value.or_else(|| own(&name)) {
                    Some(value) => format!("{name}={value}"),
                    None => name,
                };
                given.extend(swarm_compose::env_lines(&text).into_iter().map(|pair| ("env".to_owned(), line(pair))));
            }
            given.extend(from_environment(&flags.0));
            let service = new_service(name, image, command, &given).map_err(|wrong| Failure::Usage(wrong.join("\n")))?;
            let (images, logins) = images(image_how, image)?;
            let session = Session::open(common).await?;
            let intent = MakeService { spec: &session.spec, service, images, detach: how.detach };
            let done = if how.detach { format!("service {name} was handed to the engine") } else { format!("service {name} runs") };
            let going = How {
                dry_run: how.dry_run,
                timeout: how.timeout,
                payloads: &WithLogins(&NoPayloads, &logins),
                done,
                ..How::new("service create", format)
            };
            carry(&session, &intent, going).await
        }
        ServiceCommand::Update { common, flags, force, how, image_how, service } => {
            let given = from_environment(&flags.0);
            if given.is_empty() && !force {
                return Err(Failure::Usage("say what is to change: see `swarm service update --help`".into()));
            }
            // What a flag's value is, is known without the service; whether that is a job is not.
            let wrong = |mode: &str| apply_flags(&mut json!({ "Mode": { mode: {} } }), &given).err().unwrap_or_default();
            let wrong = [wrong("Replicated"), wrong("ReplicatedJob")].into_iter().min_by_key(Vec::len).unwrap_or_default();
            if !wrong.is_empty() {
                return Err(Failure::Usage(wrong.join("\n")));
            }
            let image = given.iter().find(|(name, _)| name == "image").map_or("", |(_, image)| image.as_str());
            let (images, logins) = images(image_how, image)?;
            let session = Session::open(common).await?;
            let edits = BTreeMap::from([(service.clone(), Edit::Flags { given, force: *force })]);
            let intent = EditServices { spec: &session.spec, edits, detach: how.detach, images };
            let going = How {
                dry_run: how.dry_run,
                timeout: how.timeout,
                payloads: &WithLogins(&NoPayloads, &logins),
                ..How::new("service update", format)
            };
            carry(&session, &intent, going).await
        }
        ServiceCommand::Exec(args) => super::inside::exec(args).await,
        ServiceCommand::Cp(args) => super::copy::copy(args).await,
        ServiceCommand::Scale { common, scales, how } => {
            let mut edits = BTreeMap::new();
            for scale in scales {
                let parsed = scale.split_once('=').and_then(|(name, count)| Some((name.to_owned(), count.parse().ok()?)));
                let (name, count) =
                    parsed.ok_or_else(|| Failure::Usage(format!("`{scale}`: write SERVICE=REPLICAS, for example web=3")))?;
                edits.insert(name, Edit::Scale(count));
            }
            edit(common, edits, how, "service scale", format).await
        }
        ServiceCommand::Restart { common, services, how } => {
            let edits = services.iter().map(|name| (name.clone(), Edit::Restart)).collect();
            edit(common, edits, how, "service restart", format).await
        }
        ServiceCommand::Rm { common, services, yes } => super::objects::remove(common, Kind::Service, services, *yes, format).await,
        ServiceCommand::Logs { common, service, follow, tail, since, grep } => {
            let session = Session::open(common).await?;
            let since = since.and_then(|ago| {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
                Some(now.checked_sub(ago)?.as_secs().to_string())
            });
            let query = LogQuery { service: service.clone(), follow: *follow, tail: *tail, since };
            logs(&session, &query, grep.as_deref(), format).await
        }
        ServiceCommand::StopUpdate { common, services, dry_run } => {
            let edits = services.iter().map(|name| (name.clone(), Edit::StopUpdate)).collect();
            let how = ChangeHow { dry_run: *dry_run, detach: true, timeout: None };
            edit(common, edits, &how, "service stop-update", format).await
        }
        ServiceCommand::Rollback { common, services, how } => {
            let edits = services.iter().map(|name| (name.clone(), Edit::Rollback)).collect();
            edit(common, edits, how, "service rollback", format).await
        }
    }
}

/// A variable that is named without a value has the one of this environment, as with the docker CLI.
fn from_environment(given: &[Given]) -> Vec<Given> {
    let value = |(name, text): &Given| match (name.as_str(), text.contains('=')) {
        ("env" | "env-add", false) => (name.clone(), std::env::var(text).map_or_else(|_| text.clone(), |value| format!("{text}={value}"))),
        _ => (name.clone(), text.clone()),
    };
    given.iter().map(value).collect()
}

fn images(how: &ImageHow, image: &str) -> Result<(ImageOptions, Logins), Failure> {
    // Where no registry is asked and no node gets a login, none is looked for.
    let none = image.is_empty() || (how.resolve_image == ResolveImage::Never && !how.with_registry_auth);
    let logins = if none { Logins::default() } else { registry::logins(&[image].into(), how.with_registry_auth)? };
    let (resolve, send_logins) = (resolve(how.resolve_image), how.with_registry_auth);
    Ok((ImageOptions { resolve, logins: logins.of.clone(), send_logins }, logins))
}

/// Lines as they come, each with the task that wrote it.
async fn logs(session: &Session, query: &LogQuery, grep: Option<&str>, format: Format) -> Result<u8, Failure> {
    let (observed, lists) = session.listed(&[Query::all(Kind::Task), Query::all(Kind::Service)]).await?;
    let [tasks, services] = lists.as_slice() else { return Ok(1) };
    if !services.iter().any(|s| s.name() == query.service || s.id() == query.service) {
        return Err(Failure::Other(format!("there is no service {}", query.service)));
    }
    let place = |id: &str| {
        let task = tasks.iter().find(|t| t.id() == id);
        let slot = task.map_or(0, |t| number(t, "/Slot"));
        if slot > 0 { format!("{}.{slot}", query.service) } else { query.service.clone() }
    };
    let ObservedCluster::One { live, .. } = &observed.cluster else { return Err(Failure::Other("no manager could be asked".into())) };
    let manager = live.first().and_then(|name| session.spec.host(name));
    let manager = manager.ok_or_else(|| Failure::Other("no manager could be asked".into()))?;
    let reader = session.fleet.reader(manager).await.map_err(|e| Failure::Other(e.to_string()))?;
    let mut lines = reader.engine.logs(query).await.map_err(|e| Failure::Other(e.to_string()))?;
    while let Some(line) = lines.next().await {
        let line = line.map_err(|e| Failure::Other(e.to_string()))?;
        if grep.is_some_and(|text| !line.text.contains(text)) {
            continue;
        }
        match format {
            Format::Text => output::data(&format!("{} | {}", place(&line.task), line.text)),
            _ => output::json_line(
                &json!({ "task": place(&line.task), "stream": if line.error { "stderr" } else { "stdout" }, "line": line.text }),
            ),
        }
    }
    Ok(0)
}

async fn edit(
    common: &crate::args_common::Common,
    edits: BTreeMap<String, Edit>,
    how: &ChangeHow,
    command: &str,
    format: Format,
) -> Result<u8, Failure> {
    let session = Session::open(common).await?;
    let intent = EditServices { spec: &session.spec, edits, detach: how.detach, images: ImageOptions::default() };
    carry(&session, &intent, How { dry_run: how.dry_run, timeout: how.timeout, ..How::new(command, format) }).await
}

/// Spreads tasks over the nodes that may have them.
pub(super) async fn rebalance(args: &RebalanceArgs, format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let intent = Rebalance { spec: &session.spec, services: args.services.iter().cloned().collect() };
    let how = How {
        dry_run: args.agree.dry_run,
        question: Some("Move tasks as listed?".into()),
        asks: true,
        must_agree: true,
        yes: args.agree.yes,
        idle: "every service is spread evenly".into(),
        done: "every service is spread evenly".into(),
        ..How::new("rebalance", format)
    };
    carry(&session, &intent, how).await
}

/// Tasks that run and that are to run.
pub(super) fn replicas(service: &Object) -> (u64, u64) {
    (number(service, "/ServiceStatus/RunningTasks"), number(service, "/ServiceStatus/DesiredTasks"))
}

fn mode(service: &Object) -> String {
    let mode = service.part("/Spec/Mode");
    let word = mode.as_ref().and_then(|m| m.as_object()?.keys().next()).map_or("Replicated", String::as_str);
    match word {
        "Global" => "global",
        "GlobalJob" => "global-job",
        "ReplicatedJob" => "replicated-job",
        _ => "replicated",
    }
    .to_owned()
}

/// Services with how many of their tasks run.
pub(super) fn service_table(command: &str, services: &[Object], format: Format) {
    let mut services: Vec<&Object> = services.iter().collect();
    services.sort_by(|a, b| a.name().cmp(b.name()));
    let image = |s: &Object| without_digest(&s.text("/Spec/TaskTemplate/ContainerSpec/Image").unwrap_or_default()).to_owned();
    let ports = |s: &Object| {
        let all = s.part("/Endpoint/Ports").and_then(|p| p.as_array().cloned()).unwrap_or_default();
        let show = |p: &Value| {
            let of = |key: &str| p.get(key).and_then(Value::as_u64).unwrap_or(0);
            format!("{}->{}", of("PublishedPort"), of("TargetPort"))
        };
        all.iter().map(show).collect::<Vec<_>>().join(",")
    };
    match format {
        Format::Text => {
            let row = |s: &&Object| {
                let (running, wanted) = replicas(s);
                vec![s.name().to_owned(), mode(s), format!("{running}/{wanted}"), image(s), ports(s)]
            };
            table(&["NAME", "MODE", "TASKS", "IMAGE", "PORTS"], services.iter().map(row).collect());
        }
        _ => {
            let row = |s: &&Object| {
                let (running, wanted) = replicas(s);
                json!({ "id": s.id(), "name": s.name(), "mode": mode(s), "running": running, "wanted": wanted, "image": image(s) })
            };
            output::json(command, &json!({ "services": services.iter().map(row).collect::<Vec<_>>() }));
        }
    }
}

/// Tasks, the newest of each place first; older ones where they are wanted.
pub(super) fn task_picture(tasks: &[Object], services: &[Object], observed: &Observed, all: bool, format: Format) -> Picture {
    let names: BTreeMap<&str, &str> = services.iter().map(|s| (s.id(), s.name())).collect();
    let nodes: BTreeMap<&str, &str> =
        observed.view().map_or(&[][..], |v| &v.nodes).iter().map(|n| (n.id.as_str(), n.hostname.as_str())).collect();
    let host = |id: &str| {
        let id = swarm_core::id::NodeId::new(id);
        observed.host_of(&id).map(|h| h.to_string()).unwrap_or_else(|| nodes.get(id.as_str()).copied().unwrap_or_default().to_owned())
    };
    let text = |t: &Object, pointer: &str| t.text(pointer).unwrap_or_default().into_owned();
    let name = |t: &Object| {
        let service = names.get(text(t, "/ServiceID").as_str()).copied().unwrap_or("?").to_owned();
        match number(t, "/Slot") {
            0 => service,
            slot => format!("{service}.{slot}"),
        }
    };
    let mut rows: Vec<&Object> = tasks.iter().collect();
    rows.sort_by(|a, b| (name(a), text(b, "/CreatedAt")).cmp(&(name(b), text(a, "/CreatedAt"))));
    if !all {
        // What is to run, and of each place the newest that failed.
        let mut seen = std::collections::BTreeSet::new();
        let failed = |t: &Object| matches!(text(t, "/Status/State").as_str(), "failed" | "rejected" | "orphaned");
        rows.retain(|t| matches!(text(t, "/DesiredState").as_str(), "running" | "ready") || failed(t) && seen.insert(name(t)));
    }
    match format {
        Format::Text => {
            let row = |t: &&Object| {
                let error = text(t, "/Status/Err");
                vec![short(t.id()), name(t), host(&text(t, "/NodeID")), text(t, "/DesiredState"), text(t, "/Status/State"), error]
            };
            let table = table_text(&["ID", "NAME", "NODE", "DESIRED", "STATE", "ERROR"], rows.iter().map(row).collect());
            Picture::Text { table, warnings: Vec::new() }
        }
        _ => {
            let row = |t: &&Object| {
                json!({ "id": t.id(), "name": name(t), "node": host(&text(t, "/NodeID")), "desired": text(t, "/DesiredState"),
                    "state": text(t, "/Status/State"), "error": text(t, "/Status/Err") })
            };
            Picture::Json(json!({ "tasks": rows.iter().map(row).collect::<Vec<_>>() }))
        }
    }
}
