//! A swarm: its object, its nodes, its managers' raft, its tokens, its services.

use super::kept::Objects;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;
use swarm_core::credential::{Part, root_fingerprint, token_fingerprint};
pub(crate) use swarm_core::id::{ClusterId, HostName, NodeId};
use swarm_core::observe::NodeState;
use swarm_core::spec::{Availability, InitSettings, Role, SwarmSettings};

/// A member of raft.
#[derive(Debug, Clone)]
pub(crate) struct Voter {
    pub(crate) address: String,
    /// Since when the leader has no contact with it.
    pub(crate) silent_since: Option<Duration>,
}

/// A node object.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    /// The machine it is, as the simulation knows it.
    pub(crate) host: HostName,
    pub(crate) version: u64,
    pub(crate) created: Duration,
    /// What the node reported of itself; empty until it registered.
    pub(crate) hostname: String,
    pub(crate) address: Option<IpAddr>,
    pub(crate) advertise: IpAddr,
    pub(crate) engine: String,
    pub(crate) role: Role,
    pub(crate) availability: Availability,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) state: NodeState,
    pub(crate) message: String,
    pub(crate) last_seen: Duration,
    /// When a node that came back is registered again.
    pub(crate) back_at: Option<Duration>,
    /// The generation of the root its certificate is from.
    pub(crate) root: u32,
    /// When its role was last changed; the change of raft follows.
    pub(crate) role_due: Option<Duration>,
}

/// What runs.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) name: String,
    /// `None` is one task on every node.
    pub(crate) replicas: Option<usize>,
    /// A node label and its value that a node must have.
    pub(crate) constraint: Option<(String, String)>,
}

/// A task of a service on a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Task {
    pub(crate) service: String,
    pub(crate) node: NodeId,
}

#[derive(Debug, Clone)]
pub(crate) struct Swarm {
    pub(crate) id: ClusterId,
    pub(crate) version: u64,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) settings: SwarmSettings,
    pub(crate) init: InitSettings,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) removed: BTreeSet<NodeId>,
    pub(crate) raft: BTreeMap<NodeId, Voter>,
    pub(crate) leader: Option<NodeId>,
    /// Since when the leader in the books has not had a majority.
    pub(crate) lost_since: Option<Duration>,
    /// When the next leader is elected, if a majority lasts so long.
    pub(crate) elect_at: Option<Duration>,
    /// The root's generation; a token names it.
    pub(crate) root: u32,
    /// The root is not valid before this, in the time of whoever made it.
    pub(crate) root_from: i64,
    pub(crate) rotating_to: Option<u32>,
    pub(crate) tokens: (String, String),
    pub(crate) unlock_key: Option<String>,
    /// Since when managers lock themselves.
    pub(crate) locked_at: Duration,
    pub(crate) services: Vec<Service>,
    pub(crate) tasks: BTreeSet<Task>,
    pub(crate) objects: Objects,
    /// Whether a tick is under way.
    pub(crate) ticking: bool,
}

/// A copy of a manager's state: the swarm as that manager knew it.
#[derive(Debug, Clone)]
pub(crate) struct Copied {
    pub(crate) swarm: usize,
    pub(crate) books: Swarm,
    pub(crate) node: NodeId,
}

impl Swarm {
    /// How many of `voters` are a majority (raft).
    pub(crate) fn majority(voters: usize) -> usize {
        voters / 2 + 1
    }

    /// Another leader: it has heard of no node yet.
    pub(crate) fn follow(&mut self, leader: &NodeId, now: Duration) {
        self.leader = Some(leader.clone());
        (self.lost_since, self.elect_at) = (None, None);
        for node in self.nodes.values_mut().filter(|n| n.state != NodeState::Down) {
            node.state = NodeState::Unknown;
            node.message = "Node moved to \"unknown\" state due to leadership change in cluster".into();
            node.last_seen = now;
            node.back_at = None;
        }
    }

    pub(crate) fn token(&self, role: Role) -> String {
        let (worker, manager) = &self.tokens;
        let secret = if role == Role::Manager { manager } else { worker };
        format!("SWMTKN-1-{}-{secret}", digest(&self.id, self.root))
    }

    /// Whether a node may get new tasks.
    pub(crate) fn takes_tasks(node: &Node) -> bool {
        node.state == NodeState::Ready && node.availability == Availability::Active
    }

    /// Places tasks again: away from nodes that are drained, down or gone, and onto those that can take them
    /// (swarmkit `manager/scheduler`, `manager/orchestrator`). Gives the tasks that are new.
    pub(crate) fn place(&mut self) -> Vec<Task> {
        if self.services.is_empty() {
            return Vec::new();
        }
        let before = self.tasks.clone();
        let nodes = &self.nodes;
        let fits =
            |service: &Service, node: &Node| service.constraint.as_ref().is_none_or(|(key, value)| node.labels.get(key) == Some(value));
        let by_name: BTreeMap<&str, &Service> = self.services.iter().map(|s| (s.name.as_str(), s)).collect();
        self.tasks.retain(|task| {
            let node = nodes.get(&task.node);
            let stays = |n: &Node| n.availability != Availability::Drain && n.state != NodeState::Down;
            node.is_some_and(|n| stays(n) && by_name.get(task.service.as_str()).is_some_and(|s| fits(s, n)))
        });
        for service in &self.services {
            let able: Vec<&NodeId> = nodes.values().filter(|n| Self::takes_tasks(n) && fits(service, n)).map(|n| &n.id).collect();
            match service.replicas {
                None => {
                    self.tasks.extend(able.iter().map(|id| Task { service: service.name.clone(), node: (*id).clone() }));
                }
                Some(wanted) => {
                    // One task of a service on a node is enough for what is asked here: spread, one each.
                    let mut have = self.tasks.iter().filter(|t| t.service == service.name).count();
                    for id in able {
                        if have >= wanted {
                            break;
                        }
                        have += usize::from(self.tasks.insert(Task { service: service.name.clone(), node: id.clone() }));
                    }
                }
            }
        }
        self.tasks.difference(&before).cloned().collect()
    }
}

impl Swarm {
    /// What tells its tokens and its root from others.
    pub(crate) fn fingerprints(&self) -> BTreeMap<Part, String> {
        let (worker, manager) = &self.tokens;
        [
            (Part::WorkerToken, token_fingerprint(worker)),
            (Part::ManagerToken, token_fingerprint(manager)),
            // The new one from the first moment of a replacement on (swarmkit `ca.IssuerFromAPIRootCA`).
            (Part::Root, root_fingerprint(&root(&self.id, self.rotating_to.unwrap_or(self.root)))),
        ]
        .into()
    }
}

/// The text of a root: not one that anyone could read, but another one for each generation.
pub(crate) fn root(cluster: &ClusterId, root: u32) -> String {
    format!("root {root} of {cluster}")
}

/// What a token says of the root: fifty characters of base 36, as the engine's.
pub(crate) fn digest(cluster: &ClusterId, root: u32) -> String {
    let mut text = format!("{root:02}{cluster}");
    text.truncate(50);
    while text.len() < 50 {
        text.push('0');
    }
    text
}
