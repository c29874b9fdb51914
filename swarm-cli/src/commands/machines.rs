//! Machines that are made: what is missing is shown by `plan`, created by `apply`, and all of it destroyed by `destroy --machines`.

use super::agreed::{agree, unless_stopped};
use crate::args_common::{Common, Format};
use crate::failure::Failure;
use crate::{fleet, output, source};
use futures_util::future::join_all;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use swarm_core::fleet::Fleet;
use swarm_core::id::HostName;
use swarm_core::{ClusterSpec, Stop};
use swarm_machines::{Missing, Provisioner};
use tokio::time::Instant;

/// How long new machines may take to let us in.
const BOOTS: Duration = Duration::from_secs(300);
const AGAIN: Duration = Duration::from_secs(1);
/// After how long it is said what keeps a machine.
const PATIENT: Duration = Duration::from_secs(20);

/// Those of one kind together: `m1, m2 (t3.small)`.
fn line(missing: &[Missing]) -> String {
    let kinds = missing.chunk_by(|a, b| a.what == b.what).map(|of| {
        let names = of.iter().map(|m| m.name.as_str()).collect::<Vec<_>>().join(", ");
        let each = if of.len() > 1 { "each " } else { "" };
        let what = of.first().map(|m| m.what.as_str()).unwrap_or_default();
        if what.is_empty() { names } else { format!("{names} ({each}{what})") }
    });
    kinds.collect::<Vec<_>>().join(", ")
}

/// Shows what machines are to be created; whether there is nothing else that could be planned: no host is there yet. A document says it where it
/// is the answer.
pub(super) fn planned(spec: &ClusterSpec, format: Format, answer: bool) -> bool {
    let missing = source::missing();
    if missing.is_empty() {
        return false;
    }
    let alone = spec.hosts().len() == 0;
    let names = line(&missing);
    let then = if alone { "; what is done on them is planned when they are there" } else { "" };
    match format {
        Format::Text => output::data(&format!("machines to create: {names}{then}")),
        _ if alone && answer => {
            let of = |m: &Missing| json!({ "name": m.name, "what": m.what });
            output::json("plan", &json!({ "machines": { "create": missing.iter().map(of).collect::<Vec<_>>() } }));
        }
        _ => output::note(&format!("machines to create: {names}")),
    }
    alone
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Failure::Other(e.to_string()))
}

fn provisioner(spec: &ClusterSpec, common: &Common, esp: bool) -> Result<Box<dyn Provisioner>, Failure> {
    source::provisioner(spec, &common.file, esp).ok_or_else(|| Failure::Usage("the file names no `machines`".into()))
}

/// Creates what is missing, and gives the cluster with it. Nothing is asked where nothing is missing. `esp` says whether an encrypted network is declared.
pub(super) async fn create(spec: ClusterSpec, common: &Common, yes: bool, esp: bool, stop: &Stop) -> Result<ClusterSpec, Failure> {
    let missing = source::missing();
    if missing.is_empty() {
        return Ok(spec);
    }
    let before: BTreeSet<HostName> = spec.hosts().map(|h| h.name.clone()).collect();
    agree(yes, &format!("Create {}?", line(&missing)))?;
    let maker = provisioner(&spec, common, esp)?;
    let until = stop.clone();
    let made = blocking(move || maker.create(&|line| output::note(&format!("machines: {line}")), &until)).await?;
    if made.is_err() && stop.is_stopped() {
        return Err(Failure::StoppedMaking("machines may have been made; run again, what is there is found"));
    }
    let spec = source::cluster(common)?;
    let left = line(&source::missing());
    match made {
        Err(error) if spec.hosts().len() == before.len() => return Err(Failure::Other(format!("no machine was created: {error}"))),
        Err(error) => {
            let why = format!("{error}; missing are {}; run again: what is there stays", left);
            return Err(Failure::Other(why));
        }
        Ok(()) if !left.is_empty() => {
            return Err(Failure::Other(format!("all was done, and {} is still missing; run again", left)));
        }
        Ok(()) => {}
    }
    let new = spec.hosts().filter(|h| !before.contains(&h.name));
    match unless_stopped(stop, let_in(&spec, common, new.map(|h| h.name.clone()).collect())).await {
        Err(Failure::Stopped) => Err(Failure::StoppedMaking("the machines are there, and not all of them let us in yet; run again")),
        other => other.map(|()| spec),
    }
}

/// Waits until new machines let us in.
async fn let_in(spec: &ClusterSpec, common: &Common, new: Vec<HostName>) -> Result<(), Failure> {
    let (fleet, _) = fleet::open(common, spec).await?;
    output::note(&format!("waiting for SSH on {}", new.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")));
    let (until, said) = (Instant::now() + BOOTS, Instant::now() + PATIENT);
    let waits = new.iter().filter_map(|name| spec.host(name)).map(|host| {
        let fleet = &fleet;
        async move {
            let mut silent = true;
            loop {
                match fleet.visit(host).await {
                    Ok(_) => return None,
                    // What does not mend itself is seen before the time is up.
                    Err(error) if silent && Instant::now() > said => {
                        silent = false;
                        output::note(&format!("still waiting for {}: {}", host.name, error.message));
                    }
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
pub(super) async fn destroy(spec: &ClusterSpec, common: &Common, yes: bool, stop: &Stop) -> Result<(), Failure> {
    let maker = provisioner(spec, common, false)?;
    let hosts: Vec<&str> = spec.hosts().map(|h| h.name.as_str()).collect();
    let of = if hosts.is_empty() { "none is listed".to_owned() } else { format!("hosts of the file: {}", hosts.join(", ")) };
    agree(yes, &format!("Destroy all machines of cluster `{}` for good ({of})?", spec.name()))?;
    let until = stop.clone();
    let gone = blocking(move || maker.destroy(&|line| output::note(&format!("machines: {line}")), &until)).await?;
    if gone.is_err() && stop.is_stopped() {
        return Err(Failure::StoppedMaking("machines may be left; run again"));
    }
    gone.map_err(|e| Failure::Other(format!("machines may be left: {e}; run again")))?;
    source::forget_keys(spec);
    output::note("the machines are gone");
    Ok(())
}
