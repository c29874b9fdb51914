//! Small clusters for unit tests.

use crate::addr::InterfaceAddress;
use crate::id::{ClusterId, DaemonId, HostName, NodeId};
use crate::observe::{
    ClusterFacts, ClusterView, EngineFacts, Fact, HostReport, LocalState, LocalSwarm, MachineFacts, ManagerFacts, NodeFacts, NodeIdentity,
    NodeState, Observation, ReachError, ReachErrorKind, Reachability, SeenAt,
};
use crate::spec::{Availability, ClusterSpec, Entry, InitSettings, NAME_LABEL, Node, Role, SwarmSettings, Value, read};
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) fn text(value: &str) -> Node {
    Node { value: Value::Text(value.into()), at: None }
}

pub(crate) fn map(entries: Vec<(&str, Node)>) -> Node {
    Node { value: Value::Map(entries.into_iter().map(|(k, node)| Entry { key: k.into(), at: None, node }).collect()), at: None }
}

/// A cluster `c` of hosts by name: `m…` are managers. Host number i has the address 10.0.0.i, by its place in the list.
pub(crate) fn spec(hosts: &[&str]) -> ClusterSpec {
    spec_with(&hosts.iter().map(|h| (*h, if h.starts_with('m') { "manager" } else { "worker" }, &[][..])).collect::<Vec<_>>())
}

/// Name, role and labels of a wanted host.
pub(crate) type Wanted<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// The same, with a role and labels for each.
pub(crate) fn spec_with(hosts: &[Wanted<'_>]) -> ClusterSpec {
    let hosts = hosts.iter().map(|(name, role, labels)| {
        let labels = map(labels.iter().map(|(k, v)| (*k, text(v))).collect());
        (*name, map(vec![("address", text(&address(name))), ("role", text(role)), ("labels", labels)]))
    });
    read(&map(vec![("name", text("c")), ("hosts", map(hosts.collect()))])).unwrap().spec
}

/// `m2` is at 10.0.1.2, `w2` at 10.0.2.2.
pub(crate) fn address(name: &str) -> String {
    let net = if name.starts_with('m') { 1 } else { 2 };
    format!("10.0.{net}.{}", name.get(1..).unwrap_or("1"))
}

/// What a host is, for [`world`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Is {
    Alone,
    Manager,
    LostManager,
    Worker,
    Removed,
    Foreign,
    Gone,
    Joining,
    Locked,
}

fn engine(name: &str, state: LocalState, node: bool, manages: bool, cluster: Option<&str>) -> EngineFacts {
    let swarm = LocalSwarm {
        reported: state,
        node: node.then(|| NodeId::new(format!("node-{name}"))),
        address: node.then(|| address(name)),
        control_available: manages,
        cluster: cluster.map(ClusterId::new),
        ..LocalSwarm::outside()
    };
    EngineFacts { swarm, ..EngineFacts::outside(DaemonId::new(format!("daemon-{name}")), name, "20.10.24") }
}

/// A node as managers list it.
pub(crate) fn node(name: &str, role: Role, state: NodeState, leader: bool) -> NodeFacts {
    let reachability = if state == NodeState::Ready { Reachability::Reachable } else { Reachability::Unreachable };
    NodeFacts {
        id: NodeId::new(format!("node-{name}")),
        version: 10,
        created_at: String::new(),
        hostname: name.into(),
        role,
        availability: Availability::Active,
        labels: BTreeMap::new(),
        state,
        message: String::new(),
        address: address(name),
        engine_version: "20.10.24".into(),
        manager: (role == Role::Manager).then(|| ManagerFacts { leader, reachability, address: format!("{}:2377", address(name)) }),
        root: String::new(),
        offers: Default::default(),
    }
}

/// An observation of hosts, each being something.
pub(crate) fn world(hosts: &[(&str, Is)]) -> Observation {
    let leader = hosts.iter().find(|(_, is)| *is == Is::Manager).map(|(name, _)| *name);
    let nodes: Vec<NodeFacts> = hosts
        .iter()
        .filter_map(|(name, is)| match is {
            Is::Manager => Some(node(name, Role::Manager, NodeState::Ready, Some(*name) == leader)),
            Is::LostManager => Some(node(name, Role::Manager, NodeState::Down, false)),
            Is::Worker => Some(node(name, Role::Worker, NodeState::Ready, false)),
            _ => None,
        })
        .collect();
    let view = ClusterView {
        cluster: ClusterFacts {
            id: ClusterId::new("ours"),
            version: 5,
            labels: [(NAME_LABEL.to_owned(), "c".to_owned())].into(),
            settings: SwarmSettings {
                task_history_limit: Some(5),
                cert_expiry: Some(Duration::from_secs(7_776_000)),
                ..SwarmSettings::default()
            },
            init: InitSettings::default(),
            root_rotation_in_progress: false,
            fingerprints: BTreeMap::new(),
            root_digest: None,
            root: String::new(),
        },
        nodes,
        services: 0,
        unlock_key: None,
    };
    let identity = |name: &str, cluster: &str| NodeIdentity {
        cluster: ClusterId::new(cluster),
        node: NodeId::new(format!("node-{name}")),
        role: Role::Worker,
    };
    let report = |name: &str, is: Is| {
        let machine = MachineFacts {
            addresses: vec![InterfaceAddress { interface: "eth0".into(), address: address(name).parse().unwrap() }],
            ..MachineFacts::default()
        };
        let plain = |engine| HostReport { machine: Fact::Known(machine.clone(), SeenAt::default()), ..HostReport::of(Ok(engine)) };
        match is {
            Is::Alone => plain(engine(name, LocalState::Inactive, false, false, None)),
            Is::Manager => HostReport {
                view: Fact::Known(view.clone(), SeenAt::default()),
                ..plain(engine(name, LocalState::Active, true, true, Some("ours")))
            },
            Is::Worker => plain(engine(name, LocalState::Active, true, false, None)),
            Is::Removed => HostReport {
                identity: Fact::Known(identity(name, "ours"), SeenAt::default()),
                ..plain(engine(name, LocalState::Active, true, false, None))
            },
            Is::Foreign => HostReport {
                identity: Fact::Known(identity(name, "theirs"), SeenAt::default()),
                ..plain(engine(name, LocalState::Active, true, false, None))
            },
            Is::Joining => plain(engine(name, LocalState::Pending, false, false, None)),
            Is::Locked => plain(engine(name, LocalState::Locked, false, false, None)),
            Is::Gone | Is::LostManager => {
                HostReport::of(Err(ReachError { kind: ReachErrorKind::Unreachable, message: "no answer".into() }))
            }
        }
    };
    let hosts = hosts.iter().map(|(name, is)| (HostName::new(*name), report(name, *is))).collect();
    Observation { at: SeenAt::default(), hosts }
}
