//! `swarm check --datapath`: an overlay network between every pair of nodes, proven by a short-lived service.
//!
//! The probe is the service: an image that holds it alone is loaded into every engine, so that no registry is needed. Everything that is
//! made has one label, and is taken away at the end; what a run that was killed left is taken away by the next.

use super::work::Session;
use crate::failure::Failure;
use crate::output;
use futures_util::future::join_all;
use futures_util::stream::StreamExt;
use serde_json::json;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use swarm_core::engine::{Body, Engine, ExecRequest, Kind, NoPayloads, Object, Query, Sealed};
use swarm_core::fleet::Fleet;
use swarm_core::id::HostName;
use swarm_core::observe::{NodeState, Observed};
use swarm_core::spec::Availability;
use swarm_images::program_image;
use swarm_prepare::Machine;
use swarm_prepare::ports::{Heard, Matrix, Station, Wanted, judge};
use tokio::io::AsyncWriteExt;

/// The label of what is made.
pub(super) const MARK: &str = "swarm.datapath";
/// Its image. No registry is there, so that no engine looks for it elsewhere.
const IMAGE: &str = "localhost:1/swarm-probe:";
/// How long tasks may take to run, and how long what they had may take to be free again.
const START: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(40);
/// How long a program in a task may take.
const RUNS: Duration = Duration::from_secs(40);
const AGAIN: Duration = Duration::from_millis(300);
/// The port that stands for overlay traffic: sizes of packets are tried on it.
const PORT: u16 = 4789;

/// A node that has the image.
pub(super) struct Node {
    pub(super) host: HostName,
    pub(super) id: String,
    pub(super) engine: Arc<dyn Engine>,
    /// Its task's container and address, once it runs.
    pub(super) task: Option<(String, IpAddr)>,
}

impl Node {
    /// The same node, for a task of another service.
    pub(super) fn again(&self) -> Self {
        Self { host: self.host.clone(), id: self.id.clone(), engine: self.engine.clone(), task: None }
    }
}

pub(super) fn failed(what: &str, error: impl std::fmt::Display) -> Failure {
    Failure::Other(format!("{what}: {error}"))
}

/// Nodes that have the image of the probe, and what it is called there.
pub(super) struct Probed {
    pub(super) manager: Arc<dyn Engine>,
    pub(super) nodes: Vec<Node>,
    pub(super) left_out: BTreeMap<HostName, String>,
    pub(super) nonce: String,
    pub(super) tag: String,
}

/// Loads the probe into the engines of all nodes that may have tasks, does something with it, and takes everything away again.
pub(super) async fn with_probe<T>(
    session: &Session,
    machines: &BTreeMap<HostName, Result<Machine, String>>,
    work: impl AsyncFnOnce(&mut Probed) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (observed, _) = session.objects(&[]).await?;
    let live = observed.cluster.live().iter().find_map(|name| session.spec.host(name));
    let live = live.ok_or_else(|| Failure::Other("no manager answers, so no task of the probe can be made".into()))?;
    let manager = session.fleet.actor(live).await.map_err(|e| failed(live.name.as_str(), e.message))?.engine;
    sweep(manager.as_ref()).await?;
    let nonce = format!("{:016x}", RandomState::new().hash_one(session.spec.name()));
    let tag = format!("{IMAGE}{nonce}");
    let mut left_out = BTreeMap::new();
    let mut nodes = Vec::new();
    for (host, loaded) in join_all(session.spec.hosts().map(|h| load(session, &observed, machines, &h.name, &tag))).await {
        match loaded {
            Ok(node) => nodes.push(node),
            Err(why) => drop(left_out.insert(host, why)),
        }
    }
    let mut probed = Probed { manager, nodes, left_out, nonce, tag };
    let done = work(&mut probed).await;
    // Whatever became of it: nothing stays.
    if let Err(error) = sweep(probed.manager.as_ref()).await {
        output::note(&format!("warning: {error}; the next such check takes it away"));
    }
    for gone in join_all(probed.nodes.iter().map(|node| unload(&node.host, node.engine.as_ref(), &probed.tag))).await {
        gone.into_iter().for_each(|why| output::note(&format!("warning: {why}")));
    }
    done
}

/// What of an overlay network passes between the nodes that may have tasks.
pub(super) async fn prove(session: &Session, machines: &BTreeMap<HostName, Result<Machine, String>>) -> Result<Matrix, Failure> {
    with_probe(session, machines, async |probed: &mut Probed| match probed.nodes.len() {
        0 | 1 => Ok(Matrix { left_out: probed.left_out.clone(), ..Matrix::default() }),
        _ => tried(probed).await,
    })
    .await
}

async fn load(
    session: &Session,
    observed: &Observed,
    machines: &BTreeMap<HostName, Result<Machine, String>>,
    name: &HostName,
    tag: &str,
) -> (HostName, Result<Node, String>) {
    let loaded = async {
        let node = observed.hosts.get(name).and_then(|h| h.node.as_ref()).ok_or("it is no node of the swarm")?;
        if node.state != NodeState::Ready || node.availability != Availability::Active {
            return Err(format!("its node gets no tasks: {} and {}", node.state, node.availability));
        }
        let arch = machines.get(name).and_then(|m| m.as_ref().ok()?.arch.clone()).ok_or("its processor is not known")?;
        let probe = swarm_probe::for_processor(&arch).ok_or_else(|| format!("this build has no probe for {arch}"))?;
        let program = probe.unpacked().map_err(|e| e.to_string())?;
        let go = if arch == "x86_64" { "amd64" } else { "arm64" };
        let image = program_image(tag, go, "probe", &program).map_err(|e| e.to_string())?;
        let spec = session.spec.host(name).ok_or("it is not in the file")?;
        let engine = session.fleet.actor(spec).await.map_err(|e| e.message)?.engine;
        // What a run left here that was killed.
        let images = engine.images().await.map_err(|e| e.to_string())?;
        for old in images.iter().flat_map(|image| &image.tags).filter(|old| old.starts_with(IMAGE)) {
            if let Some(why) = unload(name, engine.as_ref(), old).await {
                return Err(why);
            }
        }
        let pieces: Vec<Vec<u8>> = image.chunks(64 << 10).map(<[u8]>::to_vec).collect();
        engine.load(futures_util::stream::iter(pieces).boxed()).await.map_err(|e| e.to_string())?;
        Ok(Node { host: name.clone(), id: node.id.to_string(), engine, task: None })
    };
    (name.clone(), loaded.await)
}

/// A container keeps its image until it is gone.
async fn unload(host: &HostName, engine: &dyn Engine, tag: &str) -> Option<String> {
    let until = Instant::now() + END;
    loop {
        match engine.remove_image(tag).await {
            Ok(()) => return None,
            Err(error) if error.reason == swarm_core::engine::Reason::NotFound => return None,
            Err(error) if Instant::now() > until => return Some(format!("{host}: the image {tag} stays: {error}")),
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// Takes away every service and network with our label, and waits until they are gone.
async fn sweep(manager: &dyn Engine) -> Result<(), Failure> {
    let ours = |kind| Query::all(kind).with("label", MARK);
    for service in manager.list(&ours(Kind::Service)).await.map_err(|e| failed("looking for services of a run before", e))? {
        manager.remove(Kind::Service, service.id()).await.map_err(|e| failed("removing the service", e))?;
    }
    let until = Instant::now() + END;
    loop {
        let networks = manager.list(&ours(Kind::Network)).await.map_err(|e| failed("looking for networks of a run before", e))?;
        if networks.is_empty() {
            return Ok(());
        }
        let mut last = None;
        for network in networks {
            // It is refused for as long as a task has an address in it.
            last = manager.remove(Kind::Network, network.id()).await.err().or(last);
        }
        match last {
            Some(error) if Instant::now() > until => return Err(failed("a network stays", error)),
            _ => tokio::time::sleep(AGAIN).await,
        }
    }
}

pub(super) async fn create(manager: &dyn Engine, kind: Kind, spec: serde_json::Value) -> Result<String, Failure> {
    let sealed = Sealed::new(&Body::of(spec), &NoPayloads).map_err(|e| failed("the probe's service", e))?;
    manager.create(kind, &sealed).await.map_err(|e| failed(&format!("making the probe's {kind}"), e))
}

/// Waits until a task of a service of ours runs on each node, or says why none does.
pub(super) async fn wait_for_tasks(
    manager: &dyn Engine,
    service: &str,
    nodes: &mut [Node],
    left_out: &mut BTreeMap<HostName, String>,
) -> Result<(), Failure> {
    let until = Instant::now() + START;
    while nodes.iter().any(|node| node.task.is_none() && !left_out.contains_key(&node.host)) {
        let tasks = manager.list(&Query::all(Kind::Task).with("service", service)).await.map_err(|e| failed("listing the tasks", e))?;
        for node in nodes.iter_mut().filter(|node| node.task.is_none()) {
            let task = tasks.iter().find(|task| task.text("/NodeID").as_deref() == Some(node.id.as_str()));
            match task.map(at) {
                Some(Ok(Some(there))) => node.task = Some(there),
                Some(Err(why)) => drop(left_out.insert(node.host.clone(), why)),
                _ if Instant::now() > until => {
                    let why = format!("no task of the probe ran there within {} s", START.as_secs());
                    left_out.insert(node.host.clone(), why);
                }
                _ => {}
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
    Ok(())
}

/// A service of the probe on every node, in these networks, by their ids.
pub(super) async fn serve(
    manager: &dyn Engine,
    name: &str,
    nonce: &str,
    tag: &str,
    networks: &[String],
    ports: &[&str],
) -> Result<String, Failure> {
    let command = [&["/probe", "serve", "/", nonce, "180", "stay"], ports].concat();
    let networks: Vec<serde_json::Value> = networks.iter().map(|id| json!({ "Target": id })).collect();
    let service = json!({
        "Name": name, "Labels": { MARK: nonce }, "Mode": { "Global": {} }, "EndpointSpec": { "Mode": "dnsrr" },
        "TaskTemplate": {
            "ContainerSpec": { "Image": tag, "Command": command, "StopGracePeriod": 1_000_000_000 },
            "RestartPolicy": { "Condition": "none" },
            "Networks": networks,
        },
    });
    create(manager, Kind::Service, service).await
}

/// A task of the probe on every node, in an overlay network of its own, listening on these.
pub(super) async fn on_every_node(probed: &mut Probed, ports: &[&str]) -> Result<(), Failure> {
    let Probed { manager, nodes, left_out, nonce, tag } = probed;
    let (manager, nonce) = (manager.as_ref(), nonce.as_str());
    let name = format!("swarm-probe-{nonce}");
    let network = json!({ "Name": name, "Driver": "overlay", "Labels": { MARK: nonce }, "CheckDuplicate": true });
    let network = create(manager, Kind::Network, network).await?;
    let service = serve(manager, &name, nonce, tag, &[network], ports).await?;
    wait_for_tasks(manager, &service, nodes, left_out).await
}

async fn tried(probed: &mut Probed) -> Result<Matrix, Failure> {
    on_every_node(probed, &["tcp/7946", "udp/7946", "udp/4789"]).await?;
    let Probed { nodes, left_out, nonce, .. } = probed;
    let nonce = nonce.as_str();
    let left_out = left_out.clone();
    let there: Vec<(&Node, &str, IpAddr)> =
        nodes.iter().filter_map(|node| node.task.as_ref().map(|(container, address)| (node, container.as_str(), *address))).collect();
    let station = |(node, _, address): &(&Node, &str, IpAddr)| Station {
        host: node.host.clone(),
        address: *address,
        data_path: *address,
        manager: None,
        member: false,
        idle: true,
    };
    let wanted =
        Wanted { stations: there.iter().map(station).collect(), data_path_port: PORT, encrypted: false, left_out, about: None, only: None };
    let sends = there.iter().enumerate().map(|(from, (node, container, _))| {
        let targets = wanted.targets(from);
        program(
            node.engine.as_ref(),
            container,
            ["/probe".into(), "send".into(), nonce.into(), from.to_string(), "all".into()].into(),
            targets,
        )
    });
    let sent = join_all(sends).await;
    let collects = there.iter().map(|(node, container, _)| {
        program(node.engine.as_ref(), container, ["/probe", "collect", "/", nonce].map(str::to_owned).to_vec(), String::new())
    });
    let collected = join_all(collects).await;
    let mut without = BTreeMap::new();
    let heard = there.iter().zip(sent).zip(collected).map(|(((node, ..), sent), collected)| {
        let mut heard = Heard::default();
        // A task has these ports for itself.
        heard.began("bound tcp/7946\nbound udp/7946\nbound udp/4789\n");
        let whole = collected.map(|said| heard.ended(&said));
        let sent = sent.map(|said| heard.sent(&said));
        if let Some(why) = sent.err().or(whole.err()) {
            without.insert(node.host.clone(), why);
        }
        heard
    });
    let heard: Vec<Heard> = heard.collect();
    Ok(judge(&wanted, &heard, without))
}

/// The container and the address of a task that runs; nothing while it does not yet.
fn at(task: &Object) -> Result<Option<(String, IpAddr)>, String> {
    match task.text("/Status/State").as_deref() {
        Some("running") => {}
        Some("failed" | "rejected" | "complete" | "shutdown" | "orphaned") => {
            let why = task.text("/Status/Err").or_else(|| task.text("/Status/Message")).unwrap_or_default();
            return Err(format!("its task of the probe ended: {}", output::clean(&why)));
        }
        _ => return Ok(None),
    }
    let container = task.text("/Status/ContainerStatus/ContainerID").filter(|id| !id.is_empty());
    let networks = task.part("/NetworksAttachments").unwrap_or_default();
    let address = networks.pointer("/0/Addresses/0").and_then(|a| a.as_str()?.split('/').next()?.parse().ok());
    Ok(container.map(std::borrow::Cow::into_owned).zip(address))
}

/// Runs a program in a container to its end, and gives what it wrote.
pub(super) async fn program(engine: &dyn Engine, container: &str, argv: Vec<String>, input: String) -> Result<String, String> {
    let request = ExecRequest { container: container.to_owned(), argv, stdin: true, ..ExecRequest::default() };
    let run = async {
        let mut running = engine.exec(&request).await.map_err(|e| e.to_string())?;
        running.input.write_all(input.as_bytes()).await.map_err(|e| e.to_string())?;
        running.input.shutdown().await.map_err(|e| e.to_string())?;
        let mut said = Vec::new();
        while let Some(out) = running.output.next().await {
            said.extend(out.map_err(|e| e.to_string())?.bytes);
        }
        Ok(String::from_utf8_lossy(&said).into_owned())
    };
    tokio::time::timeout(RUNS, run).await.unwrap_or_else(|_| Err(format!("the probe did not end within {} s", RUNS.as_secs())))
}
