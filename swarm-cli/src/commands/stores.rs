//! `swarm volume` and `swarm image`: what the engines of all hosts keep for themselves.

use super::agreed::agree;
use super::each::{CONCURRENCY, Failed, exit_code, hosts, on_nodes_with_tasks, size, tell};
use super::work::{Session, table};
use crate::args_common::{Common, Format, LimitArgs};
use crate::args_stores::{ImageCommand, VolumeCommand};
use crate::failure::{self, Failure};
use crate::registry::{self, WithLogins};
use crate::{output, source};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use swarm_core::engine::{ContainerFacts, Engine, EngineError, ImageFacts, Kind, NoPayloads, Object, Payloads, Query, VolumeFacts};
use swarm_core::fleet::{Fleet, FleetRead};
use swarm_core::id::HostName;
use swarm_core::observe::Observed;
use swarm_core::spec::HostSpec;
use swarm_workload::{services_of_volume, unused_images, unused_volumes};

/// What one engine keeps.
struct Kept {
    host: HostName,
    volumes: Vec<VolumeFacts>,
    images: Vec<ImageFacts>,
    containers: Vec<ContainerFacts>,
}

/// Asks every host at once.
async fn kept(session: &Session, hosts: &[&HostSpec], images: bool) -> (Vec<Kept>, Vec<Failed>) {
    let look = |host: &HostSpec| {
        let name = host.name.clone();
        let host = host.clone();
        async move {
            let ask = async {
                let engine = session.fleet.reader(&host).await.map_err(|e| e.message)?.engine;
                let said = |e: EngineError| e.to_string();
                let containers = engine.containers().await.map_err(said)?;
                let (volumes, images) = if images {
                    (Vec::new(), engine.images().await.map_err(said)?)
                } else {
                    (engine.volumes().await.map_err(said)?, Vec::new())
                };
                Ok::<_, String>(Kept { host: host.name.clone(), volumes, images, containers })
            };
            ask.await.map_err(|why| Failed { host: name, why })
        }
    };
    let (mut found, mut failed) = (Vec::new(), Vec::new());
    for answer in join_all(hosts.iter().map(|host| look(host))).await {
        match answer {
            Ok(kept) => found.push(kept),
            Err(error) => failed.push(error),
        }
    }
    (found, failed)
}

async fn services(session: &Session) -> Result<(Observed, Vec<Object>), Failure> {
    let (observed, mut lists) = session.objects(&[Query::all(Kind::Service)]).await?;
    Ok((observed, lists.pop().unwrap_or_default()))
}

/// Something of one host that is to be removed.
type Doomed = (HostName, String);

/// Removes things from hosts at once, and says what was removed and what failed.
async fn remove(session: &Session, doomed: &[Doomed], images: bool, command: &str, format: Format) -> u8 {
    let one = |(host, name): &Doomed| {
        let (host, name) = (host.clone(), name.clone());
        async move {
            let ask = async {
                let spec = session.spec.host(&host).ok_or("it is not in the file")?;
                let engine = session.fleet.actor(spec).await.map_err(|e| e.message)?.engine;
                let done = if images { engine.remove_image(&name).await } else { engine.remove_volume(&name).await };
                done.map_err(|e| e.to_string())
            };
            (host.clone(), name.clone(), ask.await)
        }
    };
    let ended: Vec<(HostName, String, Result<(), String>)> =
        stream::iter(doomed.iter().map(one).collect::<Vec<_>>()).buffered(CONCURRENCY).collect().await;
    let what = if images { "image" } else { "volume" };
    let failed: Vec<Failed> = ended
        .iter()
        .filter_map(|(host, name, result)| Some(Failed { host: host.clone(), why: format!("{what} {name}: {}", result.as_ref().err()?) }))
        .collect();
    let removed: Vec<(&HostName, &String)> = ended.iter().filter(|(_, _, r)| r.is_ok()).map(|(host, name, _)| (host, name)).collect();
    match format {
        Format::Text => {
            for (host, name) in &removed {
                output::data(&format!("{host}: {what} {name} removed"));
            }
        }
        _ => {
            let removed: Vec<_> = removed.iter().map(|(host, name)| json!({ "host": host, "name": name })).collect();
            output::json(command, &json!({ "removed": removed, "failed": failed.len() }));
        }
    }
    exit_code(&failed, removed.is_empty())
}

pub(super) async fn volume(command: &VolumeCommand, format: Format) -> Result<u8, Failure> {
    match command {
        VolumeCommand::Ls { common, limit } => volumes(common, limit, None, format).await,
        VolumeCommand::Inspect { common, limit, name } => volumes(common, limit, Some(name), format).await,
        VolumeCommand::Rm { common, host, names, yes } => {
            let session = Session::open(common).await?;
            let of: BTreeSet<HostName> = source::named(host, &session.spec, "--host")?.into_iter().collect();
            let (_, services) = services(&session).await?;
            for name in names {
                let users = services_of_volume(name, &services);
                if !users.is_empty() {
                    return Err(Failure::Other(format!(
                        "volume {name} is named by service {}: its tasks would get an empty one",
                        users.join(", ")
                    )));
                }
            }
            let doomed: Vec<Doomed> = of.iter().flat_map(|host| names.iter().map(|name| (host.clone(), name.clone()))).collect();
            agree(*yes, &format!("Remove {} with all data in it?", shown(&doomed)))?;
            Ok(remove(&session, &doomed, false, "volume rm", format).await)
        }
        VolumeCommand::Prune { common, limit, agree: how } => {
            let session = Session::open(common).await?;
            let (observed, services) = services(&session).await?;
            whole(&observed)?;
            let (found, failed) = kept(&session, &hosts(&session.spec, limit)?, false).await;
            let unused = |kept: &Kept| -> Vec<Doomed> {
                let of = unused_volumes(&kept.volumes, &kept.containers, &services);
                of.into_iter().map(|v| (kept.host.clone(), v.name.clone())).collect()
            };
            let doomed: Vec<Doomed> = found.iter().flat_map(unused).collect();
            prune(&session, &doomed, false, &failed, (how.dry_run, how.yes), format).await
        }
    }
}

/// What nothing needs is known only where the managers tell what services need.
fn whole(observed: &Observed) -> Result<(), Failure> {
    if observed.view().is_some() { Ok(()) } else { Err(Failure::Other("no manager answers: what services need is not known".into())) }
}

fn shown(doomed: &[Doomed]) -> String {
    doomed.iter().map(|(host, name)| format!("{name} on {host}")).collect::<Vec<_>>().join(", ")
}

async fn prune(
    session: &Session,
    doomed: &[Doomed],
    images: bool,
    failed: &[Failed],
    (dry_run, yes): (bool, bool),
    format: Format,
) -> Result<u8, Failure> {
    let (what, command) = if images { ("image", "image prune") } else { ("volume", "volume prune") };
    if format == Format::Text {
        for (host, name) in doomed {
            output::data(&format!("{host}: {what} {name} is needed by nothing"));
        }
    }
    let asked = tell(failed);
    if doomed.is_empty() {
        match format {
            Format::Text => output::data("nothing to remove"),
            _ => output::json(command, &json!({ "removed": [], "failed": failed.len() })),
        }
        return Ok(asked);
    }
    if dry_run {
        return Ok(failure::CHANGES);
    }
    let count = doomed.len();
    let data = if images { "" } else { ", with all data in them" };
    agree(yes, &format!("Remove {count} {what}{}{data}?", if count == 1 { "" } else { "s" }))?;
    Ok(remove(session, doomed, images, command, format).await.max(asked))
}

async fn volumes(common: &Common, limit: &LimitArgs, only: Option<&str>, format: Format) -> Result<u8, Failure> {
    let session = Session::open(common).await?;
    let hosts = hosts(&session.spec, limit)?;
    let ((found, failed), (_, services)) = {
        let (kept, services) = tokio::join!(kept(&session, &hosts, false), services(&session));
        (kept, services?)
    };
    let chosen = |v: &&VolumeFacts| only.is_none_or(|name| v.name == name);
    let users = |kept: &Kept, volume: &VolumeFacts| -> Vec<String> {
        let mut users: BTreeSet<String> = services_of_volume(&volume.name, &services).into_iter().collect();
        for container in kept.containers.iter().filter(|c| c.volumes.contains(&volume.name)) {
            users.insert(
                container.service.clone().unwrap_or_else(|| format!("container {}", container.id.get(..12).unwrap_or(&container.id))),
            );
        }
        users.into_iter().collect()
    };
    let all: Vec<(&Kept, &VolumeFacts)> =
        found.iter().flat_map(|kept| kept.volumes.iter().filter(chosen).map(move |v| (kept, v))).collect();
    if let (Some(name), true) = (only, all.is_empty()) {
        tell(&failed);
        return Err(Failure::Other(format!("no host that was asked has a volume {name}")));
    }
    match format {
        Format::Text if only.is_none() => {
            let rows = all.iter().map(|(kept, v)| vec![kept.host.to_string(), v.name.clone(), v.driver.clone(), users(kept, v).join(",")]);
            table(&["HOST", "NAME", "DRIVER", "USED BY"], rows.collect());
        }
        _ => {
            let row = |(kept, v): &(&Kept, &VolumeFacts)| json!({ "host": kept.host, "name": v.name, "driver": v.driver, "labels": v.labels, "mountpoint": v.mountpoint, "used_by": users(kept, v) });
            let rows: Vec<_> = all.iter().map(row).collect();
            match format {
                Format::Text => output::data(&serde_json::to_string_pretty(&rows).unwrap_or_default()),
                _ => output::json(if only.is_some() { "volume inspect" } else { "volume ls" }, &json!({ "volumes": rows })),
            }
        }
    }
    Ok(tell(&failed))
}

fn name_of(image: &ImageFacts) -> &str {
    image.tags.first().or_else(|| image.digests.first()).map_or(image.id.as_str(), String::as_str)
}

pub(super) async fn image(command: &ImageCommand, format: Format) -> Result<u8, Failure> {
    match command {
        ImageCommand::Ls { common, limit } => {
            let session = Session::open(common).await?;
            let (found, failed) = kept(&session, &hosts(&session.spec, limit)?, true).await;
            // One row for an image, with the hosts that have it: what is missing somewhere is seen at once.
            let mut rows: BTreeMap<(&str, &str, u64), Vec<&HostName>> = BTreeMap::new();
            for kept in &found {
                for image in &kept.images {
                    rows.entry((name_of(image), &image.id, image.size)).or_default().push(&kept.host);
                }
            }
            match format {
                Format::Text => {
                    let row = |((name, id, bytes), on): (&(&str, &str, u64), &Vec<&HostName>)| {
                        let on = if on.len() == found.len() {
                            "all".to_owned()
                        } else {
                            on.iter().map(|h| h.as_str()).collect::<Vec<_>>().join(",")
                        };
                        let id = id.strip_prefix("sha256:").unwrap_or(id);
                        vec![(*name).to_owned(), id.get(..12).unwrap_or(id).to_owned(), size(*bytes), on]
                    };
                    table(&["IMAGE", "ID", "SIZE", "HOSTS"], rows.iter().map(row).collect());
                }
                _ => {
                    let row = |((name, id, bytes), on): (&(&str, &str, u64), &Vec<&HostName>)| json!({ "image": name, "id": id, "size": bytes, "hosts": on });
                    output::json("image ls", &json!({ "images": rows.iter().map(row).collect::<Vec<_>>() }));
                }
            }
            Ok(tell(&failed))
        }
        ImageCommand::Pull { common, limit, image } => pull(common, limit, image, format).await,
        ImageCommand::Push { common, limit, input, image } => {
            super::push::run(common, limit, input.as_deref(), image.as_deref(), format).await
        }
        ImageCommand::Prune { common, limit, agree: how } => {
            let session = Session::open(common).await?;
            let (observed, services) = services(&session).await?;
            whole(&observed)?;
            let (found, failed) = kept(&session, &hosts(&session.spec, limit)?, true).await;
            let unused = |kept: &Kept| -> Vec<Doomed> {
                // An image of several names goes when each of them is removed.
                let names = |image: &ImageFacts| if image.tags.is_empty() { vec![image.id.clone()] } else { image.tags.clone() };
                let of = unused_images(&kept.images, &kept.containers, &services);
                of.into_iter().flat_map(|i| names(i).into_iter().map(|name| (kept.host.clone(), name))).collect()
            };
            let doomed: Vec<Doomed> = found.iter().flat_map(unused).collect();
            prune(&session, &doomed, true, &failed, (how.dry_run, how.yes), format).await
        }
    }
}

/// On every node that may get tasks.
async fn pull(common: &Common, limit: &LimitArgs, image: &str, format: Format) -> Result<u8, Failure> {
    let logins = registry::logins(&[image].into(), false)?;
    let auth = match logins.of.get(image) {
        Some(name) => Some(WithLogins(&NoPayloads, &logins).payload(name).map_err(Failure::Other)?),
        None => None,
    };
    let session = Session::open(common).await?;
    let work = async |engine: Arc<dyn Engine>| engine.pull(image, auth.as_ref()).await.map_err(|e| e.to_string());
    let (done, failed) = on_nodes_with_tasks(&session, limit, format, work, |()| format!("{image} is there")).await?;
    let done: Vec<HostName> = done.into_iter().map(|(host, ())| host).collect();
    if format != Format::Text {
        output::json("image pull", &json!({ "image": image, "hosts": done, "failed": failed.len() }));
    }
    Ok(exit_code(&failed, done.is_empty()))
}
