//! `swarm check --services`: on every node the names of services are asked for in their networks, and compared with the tasks that run.

use super::datapath::{Probed, failed, program, serve, wait_for_tasks, with_probe};
use super::work::Session;
use crate::failure::Failure;
use futures_util::future::join_all;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use swarm_core::engine::{Engine, Kind, Object, Query};
use swarm_core::id::HostName;
use swarm_prepare::Machine;

/// Where a container's engine answers for names (libnetwork `resolver.go`).
const SERVER: &str = "127.0.0.11";
/// How often what differs is looked at again: tasks come and go, and nodes hear of it from each other.
const LOOKS: u32 = 6;
const AGAIN: Duration = Duration::from_secs(1);

/// What every node says of the names of services.
#[derive(Debug, Default, Serialize)]
pub(super) struct Names {
    /// How many names were asked for on all nodes.
    pub(super) asked: usize,
    /// What a node says that is not so.
    pub(super) wrong: Vec<Wrong>,
    /// Nodes that were not asked, each with the reason.
    pub(super) left_out: BTreeMap<HostName, String>,
}

/// A name that a node answers in another way than the managers have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Wrong {
    pub(super) host: HostName,
    pub(super) network: String,
    pub(super) name: String,
    /// What is so and was not answered.
    pub(super) missing: BTreeSet<String>,
    /// What was answered and is not so.
    pub(super) stale: BTreeSet<String>,
    /// Why there was no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

impl Wrong {
    pub(super) fn line(&self) -> String {
        let list = |set: &BTreeSet<String>| set.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let mut parts = Vec::new();
        if let Some(why) = &self.error {
            parts.push(format!("no answer ({why})"));
        }
        if !self.missing.is_empty() {
            parts.push(format!("{} is missing", list(&self.missing)));
        }
        if !self.stale.is_empty() {
            parts.push(format!("{} is none of its tasks", list(&self.stale)));
        }
        format!("{} in network {}: {}", self.name, self.network, parts.join("; "))
    }
}

/// Names of a network with their addresses, as the managers have them.
type Expected = BTreeMap<String, BTreeSet<String>>;

/// The names of services in a network: `tasks.NAME` for the tasks that run, and NAME for those or its virtual address.
fn expected(network: &str, services: &[Object], tasks: &[Object]) -> Expected {
    let plain = |text: &str| text.split('/').next().unwrap_or(text).to_owned();
    let mut all = Expected::new();
    for service in services {
        let of_service = |task: &&Object| task.text("/ServiceID").as_deref() == Some(service.id());
        let runs = |task: &&Object| {
            task.text("/Status/State").as_deref() == Some("running") && task.text("/DesiredState").as_deref() == Some("running")
        };
        let mut addresses = BTreeSet::new();
        for task in tasks.iter().filter(of_service).filter(runs) {
            let attachments = task.part("/NetworksAttachments");
            for attachment in attachments.iter().filter_map(Value::as_array).flatten() {
                if attachment.pointer("/Network/ID").and_then(Value::as_str) == Some(network) {
                    let own = attachment.pointer("/Addresses").and_then(Value::as_array).into_iter().flatten();
                    addresses.extend(own.filter_map(Value::as_str).map(plain));
                }
            }
        }
        if addresses.is_empty() {
            continue;
        }
        let ips = service.part("/Endpoint/VirtualIPs");
        let own = ips.iter().filter_map(Value::as_array).flatten();
        let mut own = own.filter(|ip| ip.get("NetworkID").and_then(Value::as_str) == Some(network));
        let virtual_ip = own.find_map(|ip| ip.get("Addr").and_then(Value::as_str)).map(plain);
        all.insert(format!("tasks.{}", service.name()), addresses.clone());
        all.insert(service.name().to_owned(), virtual_ip.map_or(addresses, |ip| BTreeSet::from([ip])));
    }
    all
}

/// The networks that services are in, by their ids.
fn used(services: &[Object]) -> BTreeSet<String> {
    let of = |service: &Object| {
        let networks = service.part("/Spec/TaskTemplate/Networks").or_else(|| service.part("/Spec/Networks"));
        let targets = networks.iter().filter_map(Value::as_array).flatten().filter_map(|n| n.get("Target")?.as_str().map(str::to_owned));
        targets.collect::<Vec<_>>()
    };
    services.iter().flat_map(of).collect()
}

async fn listed(manager: &dyn Engine, kind: Kind) -> Result<Vec<Object>, Failure> {
    manager.list(&Query::all(kind)).await.map_err(|e| failed(&format!("listing {kind}s"), e))
}

/// Asks on every node.
pub(super) async fn ask(session: &Session, machines: &BTreeMap<HostName, Result<Machine, String>>) -> Result<Names, Failure> {
    let (_, lists) = session.listed(&[Query::all(Kind::Service), Query::all(Kind::Network)]).await?;
    let [services, networks] = lists.as_slice() else { return Ok(Names::default()) };
    let used = used(services);
    let overlay = |n: &&Object| used.contains(n.id()) && n.text("/Driver").as_deref() == Some("overlay");
    let networks: Vec<(String, String)> = networks.iter().filter(overlay).map(|n| (n.id().to_owned(), n.name().to_owned())).collect();
    if networks.is_empty() {
        return Ok(Names::default());
    }
    with_probe(session, machines, async |probed: &mut Probed| {
        let mut names = Names::default();
        // One network at a time: a container is asked for names of all its networks at once.
        for (index, (id, name)) in networks.iter().enumerate() {
            let called = format!("swarm-probe-{}-{index}", probed.nonce);
            let service = serve(probed.manager.as_ref(), &called, &probed.nonce, &probed.tag, std::slice::from_ref(id), &[]).await?;
            probed.nodes.iter_mut().for_each(|node| node.task = None);
            let mut left_out = probed.left_out.clone();
            wait_for_tasks(probed.manager.as_ref(), &service, &mut probed.nodes, &mut left_out).await?;
            in_network(probed, (id, name), &service, &mut names).await?;
            names.left_out.extend(left_out);
            probed.manager.remove(Kind::Service, &service).await.map_err(|e| failed("removing the service", e))?;
        }
        Ok(names)
    })
    .await
}

/// Asks in one network, until nothing differs or it goes on to.
async fn in_network(probed: &Probed, (id, network): (&str, &str), ours: &str, names: &mut Names) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    let mut asked = 0;
    for look in 0..LOOKS {
        if look > 0 {
            tokio::time::sleep(AGAIN).await;
        }
        let mut services = listed(probed.manager.as_ref(), Kind::Service).await?;
        services.retain(|service| service.id() != ours);
        let tasks = listed(probed.manager.as_ref(), Kind::Task).await?;
        let expected = expected(id, &services, &tasks);
        let question: String = expected.keys().map(|name| format!("{name}\n")).collect();
        let asks = probed.nodes.iter().filter_map(|node| {
            let (container, _) = node.task.as_ref()?;
            let argv = ["/probe", "resolve", SERVER].map(str::to_owned).to_vec();
            let said = program(node.engine.as_ref(), container, argv, question.clone());
            Some(async move { (node.host.clone(), said.await) })
        });
        let answers = join_all(asks.collect::<Vec<_>>()).await;
        asked = expected.len() * answers.len();
        wrong = answers.into_iter().flat_map(|(host, said)| differences(&host, network, &expected, said)).collect();
        if wrong.is_empty() {
            break;
        }
    }
    names.asked += asked;
    names.wrong.extend(wrong);
    Ok(())
}

/// What a node said, beside what is so.
fn differences(host: &HostName, network: &str, expected: &Expected, said: Result<String, String>) -> Vec<Wrong> {
    let of = |name: &str, missing: BTreeSet<String>, stale, error| Wrong {
        host: host.clone(),
        network: network.to_owned(),
        name: name.to_owned(),
        missing,
        stale,
        error,
    };
    let said = match said {
        Ok(said) => said,
        Err(why) => return expected.iter().map(|(name, all)| of(name, all.clone(), BTreeSet::new(), Some(why.clone()))).collect(),
    };
    let mut wrong = Vec::new();
    for (name, all) in expected {
        let line = said.lines().find_map(|line| line.strip_prefix(name.as_str())?.strip_prefix(' '));
        let (found, error) = match line {
            Some(line) => match line.strip_prefix("! ") {
                Some(why) => (BTreeSet::new(), Some(crate::output::clean(why))),
                None => (line.split_whitespace().map(str::to_owned).collect::<BTreeSet<_>>(), None),
            },
            None => (BTreeSet::new(), Some("the probe did not say".to_owned())),
        };
        if found != *all {
            wrong.push(of(name, all.difference(&found).cloned().collect(), found.difference(all).cloned().collect(), error));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_stand_for_tasks_that_run_or_a_virtual_address() {
        let service = |id: &str, ips: Value| {
            Object::of(&json!({ "ID": id, "Spec": { "Name": id, "TaskTemplate": { "Networks": [{ "Target": "n" }] } }, "Endpoint": { "VirtualIPs": ips } })).unwrap()
        };
        let task = |id: &str, service: &str, state: &str, address: &str| {
            Object::of(&json!({ "ID": id, "ServiceID": service, "DesiredState": "running", "Status": { "State": state },
                "NetworksAttachments": [{ "Network": { "ID": "n" }, "Addresses": [address] }, { "Network": { "ID": "other" }, "Addresses": ["10.9.9.9/24"] }] }))
            .unwrap()
        };
        let services = [
            service("web", json!([{ "NetworkID": "n", "Addr": "10.0.1.2/24" }])),
            service("db", json!(null)),
            service("none", json!(null)),
        ];
        let tasks = [
            task("1", "web", "running", "10.0.1.3/24"),
            task("2", "web", "failed", "10.0.1.4/24"),
            task("3", "db", "running", "10.0.1.5/24"),
            task("4", "none", "pending", "10.0.1.6/24"),
        ];
        let all = expected("n", &services, &tasks);
        let of = |name: &str| all.get(name).map(|set| set.iter().cloned().collect::<Vec<_>>());
        assert_eq!((of("web"), of("tasks.web")), (Some(vec!["10.0.1.2".into()]), Some(vec!["10.0.1.3".into()])));
        assert_eq!((of("db"), of("none"), used(&services).len()), (Some(vec!["10.0.1.5".into()]), None, 1));
        let said = |text: &str| differences(&"w1".into(), "app", &all, Ok(text.into()));
        assert_eq!(said("web 10.0.1.2\ntasks.web 10.0.1.3\ndb 10.0.1.5\ntasks.db 10.0.1.5\nend\n"), []);
        let wrong = said("web 10.0.1.2\ntasks.web 10.0.1.9\ndb ! timed out\ntasks.db 10.0.1.5\nend\n");
        let lines: Vec<String> = wrong.iter().map(Wrong::line).collect();
        assert_eq!(
            lines,
            [
                "db in network app: no answer (timed out); 10.0.1.5 is missing",
                "tasks.web in network app: 10.0.1.3 is missing; 10.0.1.9 is none of its tasks"
            ]
        );
    }
}
