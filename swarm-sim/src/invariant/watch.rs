//! One operator's run, and what it saw.

use super::Sent;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use swarm_core::engine::ErrorClass;
use swarm_core::id::{ClusterId, HostName, NodeId};
use swarm_core::observe::{ClusterFacts, EngineFacts, LocalState, LocalSwarm, NodeFacts};
use swarm_core::plan::{Action, Plan};
use swarm_core::spec::{ClusterSpec, NAME_LABEL, Role};

/// What a run may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Look and plan.
    Look,
    /// Bring the cluster about.
    Apply,
    /// End the cluster.
    Destroy,
}

/// What is changed, for the rule that a doubt is looked into before the next change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Object {
    Host(HostName),
    Node(NodeId),
}

pub(super) type Found = Vec<(&'static str, String)>;

#[derive(Debug)]
pub(crate) struct Watch {
    pub(super) spec: ClusterSpec,
    pub(crate) purpose: Purpose,
    pub(super) forced: BTreeSet<HostName>,
    /// The manager on which a swarm may be made though others cannot be asked.
    pub(crate) init_on: Option<HostName>,
    pub(super) plan: Option<Plan>,
    /// The nodes that were listed when the plan was shown.
    pub(super) before: BTreeSet<NodeId>,
    pub(super) infos: BTreeMap<HostName, LocalSwarm>,
    /// When a host was last found without an engine.
    pub(super) without: BTreeMap<HostName, Duration>,
    /// Every node that a host ever was, as it reports itself.
    pub(super) was: BTreeMap<NodeId, HostName>,
    /// The last list of each swarm that reported one: the hosts may be in several.
    pub(super) lists: BTreeMap<usize, BTreeMap<NodeId, NodeFacts>>,
    pub(super) known: BTreeSet<NodeId>,
    pub(super) versions: BTreeMap<NodeId, BTreeSet<u64>>,
    pub(super) cluster: Option<ClusterId>,
    /// Whether the newest version of the swarm object says that the root is being replaced.
    pub(super) rotating: (u64, bool),
    /// Whether the operator saw the services.
    pub(super) services: bool,
    pub(super) doubts: BTreeSet<Object>,
    pub(super) joins: BTreeMap<HostName, u32>,
    /// Hosts whose engines took this run's join while it knew of services.
    pub(super) brought_in: BTreeSet<HostName>,
    /// A change of managers that was sent and not seen to have ended.
    pub(super) open: Option<(HostName, Role, NodeId)>,
    /// The swarm that came to be during this run.
    pub(super) born: Option<usize>,
    pub(crate) calls: u64,
    pub(crate) mutations: u64,
}

impl Watch {
    pub(crate) fn new(spec: ClusterSpec, purpose: Purpose, forced: BTreeSet<HostName>) -> Self {
        Self {
            spec,
            purpose,
            forced,
            init_on: None,
            plan: None,
            before: BTreeSet::new(),
            infos: BTreeMap::new(),
            without: BTreeMap::new(),
            was: BTreeMap::new(),
            lists: BTreeMap::new(),
            known: BTreeSet::new(),
            versions: BTreeMap::new(),
            cluster: None,
            rotating: (0, false),
            services: false,
            doubts: BTreeSet::new(),
            joins: BTreeMap::new(),
            brought_in: BTreeSet::new(),
            open: None,
            born: None,
            calls: 0,
            mutations: 0,
        }
    }

    pub(crate) fn shown(&mut self, plan: &Plan) -> Found {
        self.before = self.lists.values().flat_map(BTreeMap::keys).cloned().collect();
        let enters = |a: &Action| matches!(a, Action::Init(_) | Action::Join(_));
        let entering = plan.steps.iter().filter(|s| enters(&s.action)).filter_map(|s| s.host.as_ref());
        let unseen = entering.filter(|host| !self.infos.contains_key(*host) && !self.without.contains_key(*host));
        let found = unseen.map(|host| ("I1", format!("{host} is to enter a swarm, and its engine reported nothing"))).collect();
        self.plan = Some(plan.clone());
        found
    }

    pub(crate) fn names(&self, host: &HostName) -> bool {
        self.spec.host(host).is_some()
    }

    pub(crate) fn labels(&self, host: &HostName) -> Option<&BTreeMap<String, Option<String>>> {
        self.spec.host(host).map(|h| &h.labels)
    }

    /// Whether two operators work from one file.
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        self.spec == other.spec
    }

    /// Whether a second birth is wanted: a host was taken out of another swarm by request, or one is made beside hosts that no one can ask.
    pub(crate) fn allows_new(&self) -> bool {
        !self.forced.is_empty() || self.init_on.is_some() || self.purpose == Purpose::Destroy
    }

    /// A swarm that someone else made after this run saw that the host is in none is as new as one of its own.
    pub(crate) fn swarm_born(&mut self, host: &HostName, swarm: usize, elsewhere: bool) {
        let in_none = self.infos.get(host).is_some_and(|i| *i.state() == LocalState::Inactive);
        if self.names(host) && (in_none || !elsewhere) {
            self.born = Some(swarm);
        }
    }

    /// No task lands on a node of the file before its labels are there.
    pub(crate) fn task_landed(&self, host: &HostName, labels: &BTreeMap<String, String>) -> Option<String> {
        let spec = self.spec.host(host)?;
        if !self.services || !self.brought_in.contains(host) {
            return None;
        }
        let missing = spec.labels.iter().find(|(key, value)| value.is_some() && labels.get(*key) != value.as_ref())?;
        Some(format!("a task landed on {host} before its label {} was there", missing.0))
    }

    pub(crate) fn told_info(&mut self, host: &HostName, facts: &EngineFacts) {
        self.doubts.remove(&Object::Host(host.clone()));
        self.infos.insert(host.clone(), facts.swarm.clone());
        if let Some(node) = &facts.swarm.node {
            self.was.insert(node.clone(), host.clone());
        }
        self.known.extend(facts.swarm.node.clone());
        // A join that came to nothing is no change under way.
        let ended = matches!(facts.swarm.state(), LocalState::Inactive | LocalState::Error);
        if ended && self.open.as_ref().is_some_and(|(h, role, _)| h == host && *role == Role::Manager) {
            self.open = None;
        }
        self.see_end_of_change();
    }

    pub(crate) fn told_cluster(&mut self, host: &HostName, facts: &ClusterFacts) {
        // A host that is to be in no swarm may lead one of its own.
        let named = facts.labels.get(NAME_LABEL).map(String::as_str) == Some(self.spec.name());
        if named || !self.spec.host(host).is_some_and(|h| h.absent) {
            self.cluster = Some(facts.id.clone());
        }
        // A rotation that someone begins while joins are under way is no one's fault, and harmless: tokens stay good until it ends.
        if self.purpose == Purpose::Look {
            self.rotating = self.rotating.max((facts.version, facts.root_rotation_in_progress));
        }
    }

    pub(crate) fn told_nodes(&mut self, swarm: usize, nodes: &[NodeFacts]) {
        for node in nodes {
            self.told_node(node);
        }
        self.lists.insert(swarm, nodes.iter().map(|n| (n.id.clone(), n.clone())).collect());
        self.see_end_of_change();
    }

    /// A node as the list of its swarm has it.
    pub(super) fn listed(&self, id: &NodeId) -> Option<&NodeFacts> {
        self.lists.values().find_map(|list| list.get(id))
    }

    /// A change of managers has ended when a list says so of the node that the host is.
    fn see_end_of_change(&mut self) {
        let ended = self.open.as_ref().is_some_and(|(host, role, id)| {
            let joined = self.infos.get(host).and_then(|i| i.node.as_ref());
            let node = self.listed(id).or_else(|| self.listed(joined?));
            match role {
                Role::Manager => node.is_some_and(NodeFacts::is_reachable_manager),
                Role::Worker => self.listed(id).is_none_or(|n| n.manager.is_none()),
            }
        });
        if ended {
            self.open = None;
        }
    }

    pub(crate) fn told_services(&mut self, count: usize) {
        self.services = count > 0;
    }

    /// The engine of a host took a join. What no one knew of when it was sent cannot be held back from it.
    pub(crate) fn took_join(&mut self, host: &HostName) {
        if self.services {
            self.brought_in.insert(host.clone());
        } else {
            self.forget_join(host);
        }
    }

    pub(crate) fn forget_join(&mut self, host: &HostName) {
        self.brought_in.remove(host);
    }

    pub(crate) fn told_node(&mut self, node: &NodeFacts) {
        self.known.insert(node.id.clone());
        self.versions.entry(node.id.clone()).or_default().insert(node.version);
        self.doubts.remove(&Object::Node(node.id.clone()));
        for list in self.lists.values_mut().filter(|list| list.contains_key(&node.id)) {
            list.insert(node.id.clone(), node.clone());
        }
    }

    pub(crate) fn failed(&mut self, host: &HostName, sent: &Sent<'_>, class: ErrorClass) {
        let object = match sent {
            Sent::Init | Sent::Join { .. } | Sent::Leave { .. } => Object::Host(host.clone()),
            Sent::UpdateNode { id, .. } | Sent::RemoveNode { id, .. } => Object::Node((*id).clone()),
            _ => return,
        };
        if class == ErrorClass::AlreadySo && matches!(sent, Sent::Leave { .. }) {
            self.infos.remove(host);
        }
        if class == ErrorClass::Unknown {
            self.doubts.insert(object);
        } else if self.open.as_ref().is_some_and(|(h, ..)| h == host) && matches!(sent, Sent::Join { .. }) {
            self.open = None;
        } else if let (Sent::UpdateNode { id, .. }, Some((_, _, open))) = (sent, &self.open)
            && *id == open
        {
            self.open = None;
        }
    }

    pub(crate) fn done(&mut self, host: &HostName, sent: &Sent<'_>) {
        if matches!(sent, Sent::Leave { .. }) {
            self.infos.remove(host);
        }
    }
}
