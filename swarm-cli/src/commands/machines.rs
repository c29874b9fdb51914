//! Machines that a program makes: what is missing is shown by `plan`, created by `apply`, and all of it destroyed by `destroy --machines`.

use super::agreed::{agree, unless_stopped};
use crate::args::{Common, Format};
use crate::failure::Failure;
use crate::{fleet, output, source};
use futures_util::future::join_all;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use swarm_core::fleet::Fleet;
use swarm_core::id::HostName;
use swarm_core::{ClusterSpec, Stop};
use swarm_machines::{Exec, Missing, Provisioner};
use tokio::time::Instant;

/// How long new machines may take to let us in.
const BOOTS: Duration = Duration::from_secs(300);
const AGAIN: Duration = Duration::from_secs(1);

fn line(missing: &Missing) -> String {
    if missing.what.is_empty() { missing.name.clone() } else { format!("{} ({})", missing.name, missing.what) }
}

/// Shows what machines are to be created; whether there is nothing else that could be planned: no host is there yet. A document says it where it
/// is the answer.
pub(super) fn planned(spec: &ClusterSpec, format: Format, answer: bool) -> bool {
    let missing = source::missing();
    if missing.is_empty() {
        return false;
    }
    let alone = spec.hosts().len() == 0;
    let names: Vec<String> = missing.iter().map(line).collect();
    let then = if alone { "; what is done on them is planned when they are there" } else { "" };
    match format {
        Format::Text => output::data(&format!("machines to create: {}{then}", names.join(", "))),
        _ if alone && answer => {
            let of = |m: &Missing| json!({ "name": m.name, "what": m.what });
            output::json("plan", &json!({ "machines": { "create": missing.iter().map(of).collect::<Vec<_>>() } }));
        }
        _ => output::note(&format!("machines to create: {}", names.join(", "))),
    }
    alone
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Failure::Other(e.to_string()))
}

fn provisioner(spec: &ClusterSpec, common: &Common) -> Result<Exec, Failure> {
    source::provisioner(spec, &common.file).ok_or_else(|| Failure::Usage("the file names no `machines`".into()))
}

/// Creates what is missing, and gives the cluster with it. Nothing is asked where nothing is missing.
pub(super) async fn create(spec: ClusterSpec, common: &Common, yes: bool, stop: &Stop) -> Result<ClusterSpec, Failure> {
    let missing = source::missing();
    if missing.is_empty() {
        return Ok(spec);
    }
    let before: BTreeSet<HostName> = spec.hosts().map(|h| h.name.clone()).collect();
    let names: Vec<String> = missing.iter().map(line).collect();
    agree(yes, &format!("Create {}?", names.join(", ")))?;
    let exec = provisioner(&spec, common)?;
    let made = blocking(move || exec.create(&|line| output::note(&format!("machines: {line}")))).await?;
    let spec = source::cluster(common)?;
    let left: Vec<String> = source::missing().iter().map(line).collect();
    match made {
        Err(error) if spec.hosts().len() == before.len() => return Err(Failure::Other(format!("no machine was created: {error}"))),
        Err(error) => {
            let why = format!("{error}; missing are {}; run again: what is there stays", left.join(", "));
            return Err(Failure::Other(why));
        }
        Ok(()) if !left.is_empty() => {
            return Err(Failure::Other(format!("the program ended well, and {} is still missing; run again", left.join(", "))));
        }
        Ok(()) => {}
    }
    let new = spec.hosts().filter(|h| !before.contains(&h.name));
    unless_stopped(stop, let_in(&spec, common, new.map(|h| h.name.clone()).collect())).await?;
    Ok(spec)
}

/// Waits until new machines let us in.
async fn let_in(spec: &ClusterSpec, common: &Common, new: Vec<HostName>) -> Result<(), Failure> {
    let (fleet, _) = fleet::open(common, spec).await?;
    output::note(&format!("waiting for SSH on {}", new.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")));
    let until = Instant::now() + BOOTS;
    let waits = new.iter().filter_map(|name| spec.host(name)).map(|host| {
        let fleet = &fleet;
        async move {
            loop {
                match fleet.visit(host).await {
                    Ok(_) => return None,
                    Err(error) if Instant::now() > until => return Some(format!("{}: {}", host.name, error.message)),
                    Err(_) => tokio::time::sleep(AGAIN).await,
                }
            }
        }
    });
    let failed: Vec<String> = join_all(waits).await.into_iter().flatten().collect();
    if failed.is_empty() {
        return Ok(());
    }
    let seconds = BOOTS.as_secs();
    Err(Failure::Other(format!("machines were created and did not let us in within {seconds} s:\n{}", failed.join("\n"))))
}

/// Destroys all machines of the file.
pub(super) async fn destroy(spec: &ClusterSpec, common: &Common, yes: bool) -> Result<(), Failure> {
    let exec = provisioner(spec, common)?;
    let hosts: Vec<&str> = spec.hosts().map(|h| h.name.as_str()).collect();
    let of = if hosts.is_empty() { "none is listed".to_owned() } else { format!("hosts of the file: {}", hosts.join(", ")) };
    agree(yes, &format!("Destroy all machines of cluster `{}` for good ({of})?", spec.name()))?;
    let gone = blocking(move || exec.destroy(&|line| output::note(&format!("machines: {line}")))).await?;
    gone.map_err(|e| Failure::Other(format!("machines may be left: {e}; run again")))?;
    output::note("the machines are gone");
    Ok(())
}
