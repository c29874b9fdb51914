//! What an engine of this machine finds in a backup. It is a real manager's copy, so it is started only where it reaches no one.

use crate::failure::Failure;
use std::time::Duration;
use swarm_backup::{Archive, Names};
use swarm_core::ClusterSpec;
use swarm_core::addr::ip_of;
use swarm_core::engine::{Engine, EngineError, Kind, Query};
use swarm_core::fleet::Fleet;
use swarm_core::observe::LocalState;
use swarm_core::secret::Secret;
use swarm_fleet::Connections;
use swarm_lab::Sandbox;
use tokio::time::{Instant, sleep};

/// How long its engine may take to lead its swarm of one.
const BUDGET: Duration = Duration::from_secs(60);

/// How it went.
pub(super) enum Tried {
    /// No engine was started, and why.
    Not(String),
    /// What it has.
    Found(Names),
}

/// Starts an engine with the backup, alone, and asks it.
pub(super) async fn run(archive: &Archive, key: Option<&Secret>) -> Result<Tried, Failure> {
    let manifest = &archive.manifest;
    let missing = Sandbox::missing();
    if !missing.is_empty() {
        return Ok(Tried::Not(format!("that needs {} on this machine", missing.join(", "))));
    }
    match (&manifest.unlock_key, key) {
        (Some(_), _) if manifest.managers.len() > 1 => {
            let why = "it is locked and of several managers, and an engine makes no new cluster from a locked state";
            return Ok(Tried::Not(why.into()));
        }
        (Some(_), None) => return Ok(Tried::Not("it is locked; --key-file names the file with its key".into())),
        (Some(wanted), Some(key)) if key.fingerprint() != *wanted => {
            return Err(Failure::Other("that is not the key that opens the backup".into()));
        }
        _ => {}
    }
    let address = ip_of(&manifest.address).ok_or_else(|| Failure::Other(format!("{} is no address", manifest.address)))?;
    let (state, hostname) = (archive.state().to_vec(), manifest.hostname.clone());
    let started = tokio::task::spawn_blocking(move || Sandbox::start(&state, address, &hostname)).await;
    let sandbox = started.map_err(|e| Failure::Other(e.to_string()))?.map_err(|e| Failure::Other(e.to_string()))?;
    let text = format!(
        "name: copy\nhosts:\n  copy: {{ address: {address}, role: manager, connection: local, engine: \"unix://{}\" }}\n",
        sandbox.socket().display()
    );
    let spec: ClusterSpec = swarm_file::parse(&text, &|_| None).map_err(|p| Failure::Other(p.to_string()))?.spec;
    let host = spec.hosts().next().ok_or_else(|| Failure::Other("there is no host".into()))?;
    let engine = Connections::default().actor(host).await.map_err(|e| Failure::Other(e.message))?.engine;
    let found = ask(engine.as_ref(), manifest.managers.len() > 1, address, key).await;
    // It has the swarm's secrets: it goes before anything is said.
    let ended = tokio::task::spawn_blocking(move || drop(sandbox)).await;
    ended.map_err(|e| Failure::Other(e.to_string()))?;
    found.map(Tried::Found).map_err(|e| Failure::Other(format!("an engine that was started with the backup: {e}")))
}

async fn ask(engine: &dyn Engine, alone: bool, address: std::net::IpAddr, key: Option<&Secret>) -> Result<Names, EngineError> {
    let until = Instant::now() + BUDGET;
    if let Some(key) = key
        && *engine.info().await?.swarm.state() == LocalState::Locked
    {
        engine.unlock(key).await?;
    }
    if alone {
        engine.force_new_cluster(address, "0.0.0.0:2377").await?;
    }
    let nodes = loop {
        match engine.nodes().await {
            Ok(nodes) => break nodes,
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_) => sleep(Duration::from_millis(500)).await,
        }
    };
    let mut names = Names { nodes: nodes.into_iter().map(|n| n.hostname).collect(), ..Names::default() };
    names.nodes.sort();
    for (kind, into) in [
        (Kind::Service, &mut names.services),
        (Kind::Network, &mut names.networks),
        (Kind::Secret, &mut names.secrets),
        (Kind::Config, &mut names.configs),
    ] {
        *into = Names::of(&engine.list(&Query::all(kind)).await?);
    }
    Ok(names)
}

/// What of it the backup's list has and the engine has not, and the other way round.
pub(super) fn differences(listed: &Names, found: &Names) -> Vec<String> {
    let kinds = [
        ("node", &listed.nodes, &found.nodes),
        ("service", &listed.services, &found.services),
        ("network", &listed.networks, &found.networks),
        ("secret", &listed.secrets, &found.secrets),
        ("config", &listed.configs, &found.configs),
    ];
    let mut lines = Vec::new();
    for (kind, listed, found) in kinds {
        lines.extend(
            listed.iter().filter(|n| !found.contains(n)).map(|n| format!("{kind} {n} is in the backup's list, and the engine has none")),
        );
        lines.extend(
            found.iter().filter(|n| !listed.contains(n)).map(|n| format!("{kind} {n} is not in the backup's list, and the engine has one")),
        );
    }
    lines
}
