//! `swarm check --mesh`: a published port asked for on every node, served by one task of a short-lived service.
//!
//! Tasks of the probe ask, from the other nodes: a host's own port leads from inside it elsewhere than from outside.

use super::datapath::{MARK, Node, Probed, create, failed, on_every_node, program, wait_for_tasks, with_probe};
use super::work::Session;
use crate::failure::Failure;
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use swarm_core::addr::ip_of;
use swarm_core::engine::{Engine, Kind, Query};
use swarm_core::id::HostName;
use swarm_core::observe::{NodeState, Observed};
use swarm_prepare::Machine;

/// The check that says the same of a host beforehand; a file that passes over it has the mesh tried all the same.
const CHECK: &str = "kernel-ipvs";
/// Where the task listens that serves the published port.
const PORT: u16 = 7946;
/// How long nodes may take to send what arrives at the port to the task, once it runs.
const PATIENCE: Duration = Duration::from_secs(20);
const AGAIN: Duration = Duration::from_secs(1);

/// What became of a published port.
#[derive(Debug, Default, Serialize)]
pub(super) struct Mesh {
    /// The port, and the node with the task behind it.
    #[serde(flatten)]
    pub(super) at: Option<At>,
    /// Every node asked from every other.
    pub(super) passages: Vec<Asked>,
    /// Hosts that are left out, each with the reason.
    pub(super) left_out: BTreeMap<HostName, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct At {
    port: u64,
    task: HostName,
}

/// One node asked from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Asked {
    from: HostName,
    to: HostName,
    address: IpAddr,
    /// Why there was no answer; nothing where the task answered.
    error: Option<String>,
}

impl Mesh {
    pub(super) fn is_broken(&self) -> bool {
        self.passages.is_empty() || self.passages.iter().any(|p| p.error.is_some())
    }

    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        for (host, why) in &self.left_out {
            let _ = writeln!(out, "routing mesh: {host} was left out: {why}");
        }
        for asked in &self.passages {
            if let Some(why) = &asked.error {
                let _ = writeln!(out, "routing mesh: at {} ({}): no answer to {}: {why}", asked.to, asked.address, asked.from);
            }
        }
        let answered = self.passages.iter().filter(|p| p.error.is_none()).count();
        let _ = match &self.at {
            Some(at) if !self.passages.is_empty() => {
                let all = self.passages.len();
                writeln!(out, "Routing mesh: port {} asked for {all} times, with its task on {}: {answered} answers", at.port, at.task)
            }
            _ => writeln!(out, "Routing mesh: there are no two nodes for it"),
        };
        out
    }
}

/// Where nodes are asked: every one that is ready, at the address that it has in the swarm.
fn targets(observed: &Observed, left_out: &BTreeMap<HostName, String>) -> Vec<(HostName, IpAddr)> {
    let of = |(host, seen): (&HostName, &swarm_core::observe::ObservedHost)| {
        let node = seen.node.as_ref().filter(|node| node.state == NodeState::Ready)?;
        Some((host.clone(), ip_of(&node.address)?))
    };
    observed.hosts.iter().filter(|(host, _)| !left_out.contains_key(*host)).filter_map(of).collect()
}

/// What the probe on one node said of the others, beside what it was asked.
fn answers(from: &HostName, targets: &[(HostName, IpAddr)], said: Result<String, String>) -> Vec<Asked> {
    let others = targets.iter().enumerate().filter(|(_, (to, _))| to != from);
    others
        .map(|(index, (to, address))| {
            let error = match &said {
                Err(why) => Some(why.clone()),
                Ok(said) => {
                    let own = said.lines().find_map(|line| line.strip_prefix(&format!("{index} tcp/"))?.split_once(' '));
                    match own.map(|(_, word)| word) {
                        Some("open probe") => None,
                        Some("open") => Some("something else answered".to_owned()),
                        Some("refused") => Some("the connection is refused".to_owned()),
                        Some("filtered") => Some("the connection got no answer".to_owned()),
                        Some("no-route") => Some("there is no route".to_owned()),
                        Some(other) => Some(crate::output::clean(other)),
                        None => Some("the probe did not say".to_owned()),
                    }
                }
            };
            Asked { from: from.clone(), to: to.clone(), address: *address, error }
        })
        .collect()
}

/// A service of one task of the probe on this node, with a published port; the port.
async fn publish(manager: &dyn Engine, probed: (&str, &str), node: &Node) -> Result<(String, u64), Failure> {
    let (nonce, tag) = probed;
    let listens = format!("tcp/{PORT}");
    let service = json!({
        "Name": format!("swarm-probe-{nonce}-mesh"), "Labels": { MARK: nonce }, "Mode": { "Replicated": { "Replicas": 1 } },
        "EndpointSpec": { "Mode": "vip", "Ports": [{ "Protocol": "tcp", "TargetPort": PORT, "PublishMode": "ingress" }] },
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": tag, "Command": ["/probe", "serve", "/", nonce, "180", "stay", listens], "StopGracePeriod": 1_000_000_000,
            },
            "RestartPolicy": { "Condition": "none" },
            "Placement": { "Constraints": [format!("node.id == {}", node.id)] },
        },
    });
    let service = create(manager, Kind::Service, service).await?;
    let until = Instant::now() + PATIENCE;
    loop {
        let found = manager.list(&Query::all(Kind::Service).with("id", &service)).await.map_err(|e| failed("looking for the port", e))?;
        let ports = found.first().and_then(|service| service.part("/Endpoint/Ports"));
        match ports.as_ref().and_then(|ports| ports.pointer("/0/PublishedPort")?.as_u64()) {
            Some(port) if port != 0 => return Ok((service, port)),
            _ if Instant::now() > until => return Err(Failure::Other("the swarm gave the probe's service no port".into())),
            _ => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// Asks every node from every other.
pub(super) async fn ask(session: &Session, machines: &BTreeMap<HostName, Result<Machine, String>>) -> Result<Mesh, Failure> {
    let tried = session.spec.ignored_checks().contains_key(CHECK);
    let lacks = |machine: &Result<Machine, String>| machine.as_ref().is_ok_and(|m| m.modules.get("ip_vs") == Some(&false));
    let without = machines.iter().filter(|(_, machine)| !tried && lacks(machine));
    let without: BTreeMap<HostName, String> =
        without.map(|(host, _)| (host.clone(), "its kernel has no ip_vs, which the routing mesh is made of".to_owned())).collect();
    let (observed, _) = session.objects(&[]).await?;
    let targets = targets(&observed, &without);
    if targets.len() < 2 {
        return Ok(Mesh { left_out: without, ..Mesh::default() });
    }
    with_probe(session, machines, async |probed: &mut Probed| {
        probed.nodes.retain(|node| !without.contains_key(&node.host));
        let (manager, nonce, tag) = (probed.manager.clone(), probed.nonce.clone(), probed.tag.clone());
        on_every_node(probed, &[]).await?;
        let mut left_out = probed.left_out.clone();
        left_out.extend(without.clone());
        // Workers first: that is where published ports are served in most swarms.
        let is_manager = |node: &&Node| observed.hosts.get(&node.host).and_then(|h| h.node.as_ref()).is_some_and(|n| n.manager.is_some());
        let Some(server) = probed.nodes.iter().filter(|node| node.task.is_some()).min_by_key(is_manager).map(Node::again) else {
            return Ok(Mesh { left_out, ..Mesh::default() });
        };
        let (service, port) = publish(manager.as_ref(), (&nonce, &tag), &server).await?;
        let at = At { port, task: server.host.clone() };
        let mut server = [server];
        wait_for_tasks(manager.as_ref(), &service, &mut server, &mut left_out).await?;
        let question: String = targets.iter().enumerate().map(|(index, (_, address))| format!("{index} tcp/{port} {address}\n")).collect();
        let until = Instant::now() + PATIENCE;
        loop {
            let asks = probed.nodes.iter().filter_map(|node| {
                let (container, _) = node.task.as_ref()?;
                let argv = ["/probe", "send", &nonce, "0", "all"].map(str::to_owned).to_vec();
                let said = program(node.engine.as_ref(), container, argv, question.clone());
                Some(async { answers(&node.host, &targets, said.await) })
            });
            let passages: Vec<Asked> = join_all(asks.collect::<Vec<_>>()).await.into_iter().flatten().collect();
            let mesh = Mesh { at: Some(at.clone()), passages, left_out: left_out.clone() };
            if !mesh.is_broken() || Instant::now() > until {
                return Ok(mesh);
            }
            tokio::time::sleep(AGAIN).await;
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_where_it_is_the_probes() {
        let at = |last: u8| IpAddr::from([192, 168, 7, last]);
        let targets = [("m1".into(), at(1)), ("w1".into(), at(2)), ("w2".into(), at(3))];
        let said = "0 tcp/30000 open probe\n1 tcp/30000 refused\n2 tcp/30000 open\nend\n".to_owned();
        let asked = answers(&"w1".into(), &targets, Ok(said));
        let errors: Vec<(&str, Option<&str>)> = asked.iter().map(|a| (a.to.as_str(), a.error.as_deref())).collect();
        assert_eq!(errors, [("m1", None), ("w2", Some("something else answered"))], "its own port is not asked for from inside");
        let asked = answers(&"m1".into(), &targets, Ok("1 tcp/30000 filtered\nend\n".into()));
        let errors: Vec<Option<&str>> = asked.iter().map(|a| a.error.as_deref()).collect();
        assert_eq!(errors, [Some("the connection got no answer"), Some("the probe did not say")]);
        let mut mesh = Mesh { at: Some(At { port: 30000, task: "w1".into() }), passages: asked, left_out: BTreeMap::new() };
        assert!(mesh.is_broken() && mesh.text().contains("at w1 (192.168.7.2): no answer to m1: the connection got no answer"));
        mesh.passages.iter_mut().for_each(|p| p.error = None);
        assert!(!mesh.is_broken() && mesh.text().contains("port 30000 asked for 2 times, with its task on w1: 2 answers"));
        assert!(Mesh::default().is_broken() && Mesh::default().text().contains("no two nodes"));
    }
}
