//! The engine's API on a simulated world: what each call answers and changes at one moment.

use super::host::{EngineState, Host, Local};
use super::state::{Control, State};
use super::swarm::{ClusterId, HostName, Node, NodeId, Service, Swarm};
use super::words::{self, Words};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use swarm_core::credential::{Part, root_fingerprint};
use swarm_core::engine::{Force, InitRequest, Kind, NodeChange, SwarmChange};
use swarm_core::observe::{
    ClusterFacts, EngineFacts, LocalState, LocalSwarm, MachineFacts, ManagerFacts, NodeFacts, NodeState, Offers, Reachability,
    RemoteManager,
};
use swarm_core::secret::Secret;
use swarm_core::spec::{Availability, ExternalCa, Role, SwarmSettings};

/// A question or a change that may have to wait for a leader.
pub(crate) enum Said<T> {
    Now(T),
    No(Words),
    /// Ask again in a moment.
    Wait,
}

impl Swarm {
    pub(crate) fn new(id: ClusterId, request: &InitRequest, root_from: i64, tokens: (String, String)) -> Self {
        // What an engine takes where nothing is said (moby `daemon/cluster/swarm.go`, swarmkit `api/defaults`).
        let given = &request.settings;
        let settings = SwarmSettings {
            task_history_limit: given.task_history_limit.or(Some(5)),
            dispatcher_heartbeat: given.dispatcher_heartbeat.or(Some(Duration::from_secs(5))),
            cert_expiry: given.cert_expiry.or(Some(Duration::from_secs(2160 * 3600))),
            snapshot_interval: given.snapshot_interval.or(Some(10_000)),
            max_snapshots: given.max_snapshots.or(Some(0)),
            external_ca: given.external_ca.clone().or(Some(Vec::new())),
            autolock: given.autolock.or(Some(false)),
        };
        let mut init = request.init.clone();
        if init.default_addr_pool.is_empty() {
            init.default_addr_pool = "10.0.0.0/8".parse().into_iter().collect();
        }
        init.default_addr_pool_mask_length = init.default_addr_pool_mask_length.or(Some(24));
        init.data_path_port = init.data_path_port.or(Some(4789));
        Self {
            id,
            version: 10,
            labels: request.labels.clone(),
            settings,
            init,
            nodes: BTreeMap::new(),
            removed: BTreeSet::new(),
            raft: BTreeMap::new(),
            leader: None,
            lost_since: None,
            elect_at: None,
            root: 1,
            root_from,
            rotating_to: None,
            tokens,
            unlock_key: None,
            locked_at: Duration::ZERO,
            services: Vec::new(),
            objects: super::kept::Objects::default(),
            tasks: BTreeSet::new(),
            ticking: false,
        }
    }

    fn facts(&self) -> ClusterFacts {
        ClusterFacts {
            id: self.id.clone(),
            version: self.version,
            labels: self.labels.clone(),
            settings: self.settings.clone(),
            init: self.init.clone(),
            root_rotation_in_progress: self.rotating_to.is_some(),
            fingerprints: self.fingerprints(),
            root_digest: Some(super::swarm::digest(&self.id, self.root)),
            root: super::swarm::root(&self.id, self.root),
        }
    }
}

impl State {
    pub(super) fn asked<T>(&self, host: &HostName, write: bool, answer: impl FnOnce(&Swarm, usize) -> T) -> Said<T> {
        match self.control(host) {
            Control::No(words) => Said::No(words),
            Control::Wait => Said::Wait,
            Control::Stale { .. } if write => Said::Wait,
            Control::Yes { swarm } | Control::Stale { swarm } => match self.swarms.get(swarm) {
                Some(books) => Said::Now(answer(books, swarm)),
                None => Said::No(words::not_in_swarm()),
            },
        }
    }

    pub(crate) fn engine_facts(&self, host: &Host) -> Said<EngineFacts> {
        let (state, node, control, error) = match &host.local {
            // Between two starts of its manager the engine says that it is in error, and during one that it is active.
            Local::Active { .. } if host.is_stuck(self.now) && self.now.as_secs() % 8 < 3 => {
                (LocalState::Error, None, false, Some(words::log_cannot_grow().text))
            }
            Local::Active { node, .. } if host.is_stuck(self.now) => (LocalState::Active, Some(node.clone()), false, None),
            Local::Inactive => (LocalState::Inactive, None, false, None),
            Local::Pending => (LocalState::Pending, None, false, None),
            // It keeps the word until it is restarted, and names no reason.
            Local::Active { node, control, .. } if host.stumbled => (LocalState::Error, Some(node.clone()), *control, None),
            Local::Active { node, control, .. } if host.waking => (LocalState::Pending, Some(node.clone()), *control, None),
            Local::Active { node, control, .. } => (LocalState::Active, Some(node.clone()), *control, None),
            Local::Error { text, node } => (LocalState::Error, node.clone(), false, Some(text.clone())),
            Local::Locked { .. } => (LocalState::Locked, None, false, None),
        };
        let address = node.as_ref().and_then(|_| match &host.local {
            Local::Active { swarm, node, .. } => self.swarms.get(*swarm)?.nodes.get(node).map(|n| n.advertise.to_string()),
            _ => None,
        });
        let remotes = self.remotes_of(host);
        let (cluster, error) = match (control, self.asked(&host.name, false, |s, _| s.id.clone())) {
            (false, _) => (None, error),
            (true, Said::Now(id)) => (Some(id), None),
            (true, Said::No(words)) => (None, Some(words.text)),
            (true, Said::Wait) => return Said::Wait,
        };
        let running = match host.node() {
            Some((swarm, node)) => self.swarms.get(swarm).map_or(0, |s| s.tasks.iter().filter(|t| t.node == *node).count()),
            None => 0,
        };
        Said::Now(EngineFacts {
            daemon: host.daemon.clone(),
            hostname: host.hostname.clone(),
            version: host.version.clone(),
            swarm: LocalSwarm { reported: state, node, address, control_available: control, cluster, error, remotes },
            data_root: "/var/lib/docker".into(),
            running_containers: running as u64,
            live_restore: host.live_restore,
            rootless: false,
        })
    }

    /// The managers that a node of a swarm knows.
    fn remotes_of(&self, host: &Host) -> Vec<RemoteManager> {
        let Some(books) = host.node().and_then(|(swarm, _)| self.swarms.get(swarm)) else { return Vec::new() };
        books.raft.iter().map(|(node, voter)| RemoteManager { node: node.clone(), address: voter.address.clone() }).collect()
    }

    /// `/info` of a manager that has no leader, after it has waited for one.
    pub(crate) fn engine_facts_without_leader(&self, host: &Host) -> EngineFacts {
        let mut alone = host.clone();
        alone.local = Local::Inactive;
        let mut facts = match self.engine_facts(&alone) {
            Said::Now(facts) => facts,
            Said::No(_) | Said::Wait => return empty_facts(host),
        };
        facts.swarm.reported = match host {
            Host { stumbled: true, .. } => LocalState::Error,
            Host { waking: true, .. } if host.is_mute() => LocalState::Pending,
            _ => LocalState::Active,
        };
        facts.swarm.node = host.node().map(|(_, node)| node.clone());
        facts.swarm.control_available = true;
        facts.swarm.error = Some(words::deadline().text);
        facts.swarm.remotes = self.remotes_of(host);
        facts
    }

    pub(crate) fn machine_facts(&self, host: &Host) -> MachineFacts {
        MachineFacts {
            addresses: host.interfaces.clone(),
            machine_id: Some(format!("machine-{}", host.daemon)),
            boot_id: Some(format!("boot-{}-{}", host.daemon, host.life)),
            engine_installed: host.engine != EngineState::Missing,
            disk_free: Some(if host.disk_full || host.log_full.is_some() { 0 } else { 20 << 30 }),
        }
    }

    pub(crate) fn cluster(&self, host: &HostName) -> Said<ClusterFacts> {
        self.asked(host, false, |s, _| s.facts())
    }

    pub(crate) fn nodes(&self, host: &HostName) -> Said<Vec<NodeFacts>> {
        self.asked(host, false, |s, _| s.nodes.values().map(|n| self.node_facts(s, n)).collect())
    }

    pub(crate) fn node(&self, host: &HostName, id: &NodeId) -> Said<NodeFacts> {
        match self.asked(host, false, |s, _| s.nodes.get(id).map(|n| self.node_facts(s, n))) {
            Said::Now(Some(facts)) => Said::Now(facts),
            Said::Now(None) => Said::No(words::no_such_node(id)),
            Said::No(words) => Said::No(words),
            Said::Wait => Said::Wait,
        }
    }

    fn node_facts(&self, swarm: &Swarm, node: &Node) -> NodeFacts {
        let manager = swarm.raft.get(&node.id).map(|voter| ManagerFacts {
            leader: swarm.leader.as_ref() == Some(&node.id),
            reachability: match voter.silent_since {
                Some(since) if self.now >= since + Duration::from_secs(2) => Reachability::Unreachable,
                _ => Reachability::Reachable,
            },
            address: voter.address.clone(),
        });
        NodeFacts {
            id: node.id.clone(),
            version: node.version,
            created_at: format!("{:.3}", node.created.as_secs_f64()),
            hostname: node.hostname.clone(),
            role: node.role,
            availability: node.availability,
            labels: node.labels.clone(),
            state: node.state.clone(),
            message: node.message.clone(),
            address: node.address.map_or_else(|| "0.0.0.0".to_owned(), |ip| ip.to_string()),
            engine_version: if node.hostname.is_empty() { String::new() } else { node.engine.clone() },
            manager,
            root: root_fingerprint(&super::swarm::root(&swarm.id, node.root)),
            offers: Offers {
                os: "linux".into(),
                architecture: "x86_64".into(),
                nano_cpus: 2_000_000_000,
                memory: 4 << 30,
                ..Offers::default()
            },
        }
    }

    pub(crate) fn unlock_key(&self, host: &HostName) -> Said<Option<Secret>> {
        self.asked(host, false, |s, _| s.unlock_key.as_ref().map(|k| Secret::new(k.clone())))
    }

    pub(crate) fn service_count(&self, host: &HostName) -> Said<usize> {
        self.asked(host, false, |s, _| s.services.len() + s.objects.stored.values().filter(|o| o.kind == Kind::Service).count())
    }

    pub(crate) fn join_token(&self, host: &HostName, role: Role) -> Said<Secret> {
        self.asked(host, false, |s, _| Secret::new(s.token(role)))
    }

    /// `POST /swarm/leave`. Never asks the managers: a manager that is forced out stays a voter (moby `daemon/cluster/swarm.go`).
    pub(crate) fn leave(&mut self, host: &HostName, force: Force) -> Result<(), Words> {
        let Some(h) = self.hosts.get(host) else { return Err(words::nothing_to_leave()) };
        match (&h.local, force) {
            (Local::Inactive, _) => return Err(words::nothing_to_leave()),
            (Local::Locked { .. }, Force::No) => return Err(words::leave_locked()),
            (Local::Active { swarm, control: true, .. }, Force::No) => {
                let last = self.swarms.get(*swarm).is_none_or(|s| s.raft.len() <= 1);
                return Err(words::leave_as_manager(last));
            }
            _ => {}
        }
        if let Some(h) = self.hosts.get_mut(host) {
            h.local = Local::Inactive;
            h.certificate = None;
            // What was under way ends with it.
            h.life += 1;
        }
        self.say(host, "left its swarm");
        self.disturb();
        Ok(())
    }

    pub(crate) fn unlock(&mut self, host: &HostName, key: &Secret) -> Result<(), Words> {
        let Some(Local::Locked { swarm, node }) = self.hosts.get(host).map(|h| h.local.clone()) else { return Err(words::not_locked()) };
        if !key.expose().starts_with("SWMKEY-1-") {
            return Err(words::bad_key());
        }
        if self.swarms.get(swarm).and_then(|s| s.unlock_key.as_deref()) != Some(key.expose()) {
            return Err(words::wrong_key());
        }
        self.set_local(host, Local::Active { swarm, node, control: true });
        self.disturb();
        Ok(())
    }

    /// `POST /swarm/init` with ForceNewCluster: the members of raft are this manager alone, the entries of the others stay, and what the swarm
    /// is stays (measured on engines 20.10 and 28.5).
    pub(crate) fn force_new_cluster(&mut self, host: &HostName, advertise: std::net::IpAddr) -> Result<(), Words> {
        let Some(Local::Active { swarm, node, control: true }) = self.hosts.get(host).map(|h| h.local.clone()) else {
            return Err(words::not_in_swarm());
        };
        let others: Vec<NodeId> =
            self.swarms.get(swarm).map(|s| s.raft.keys().filter(|v| **v != node).cloned().collect()).unwrap_or_default();
        // One that is stuck lives: it is a manager again once it has room.
        let living = others.iter().filter(|v| self.lives(swarm, v)).filter_map(|v| self.host_of(swarm, v)).next();
        if let Some(other) = living {
            let what = format!("{host} becomes the only manager of its swarm while {other} is one too");
            self.watches.violations.push(crate::invariant::watches::Violation { rule: "I9", at: self.now, what });
            self.forced_new_cluster(host);
            return Ok(());
        }
        if let Some(s) = self.swarms.get_mut(swarm) {
            s.raft.retain(|v, _| *v == node);
            if let Some(voter) = s.raft.get_mut(&node) {
                let port = voter.address.rsplit(':').next().unwrap_or("2377").to_owned();
                (voter.address, voter.silent_since) =
                    (std::net::SocketAddr::new(advertise, port.parse().unwrap_or(2377)).to_string(), None);
            }
            s.version += 1;
            s.follow(&node, self.now);
            if let Some(own) = s.nodes.get_mut(&node) {
                own.state = NodeState::Ready;
            }
        }
        self.say(host, "became the only manager");
        self.disturb();
        Ok(())
    }

    /// `POST /swarm/update`, from the live object. `Ok(false)` means that there was nothing to change.
    pub(crate) fn update_swarm(&mut self, host: &HostName, change: &SwarmChange) -> Said<bool> {
        let swarm = match self.asked(host, true, |_, index| index) {
            Said::Now(index) => index,
            Said::No(words) => return Said::No(words),
            Said::Wait => return Said::Wait,
        };
        let key = format!("SWMKEY-1-{}", self.id('k'));
        let tokens = if change.replace.is_empty() { Default::default() } else { (self.id('w'), self.id('m')) };
        let now = self.now;
        let Some(s) = self.swarms.get_mut(swarm) else { return Said::No(words::not_in_swarm()) };
        let missing = change.settings.missing_in(&s.settings);
        let labels: BTreeMap<_, _> = change.labels.iter().filter(|(k, v)| s.labels.get(*k) != Some(v)).collect();
        let mut is = s.fingerprints();
        is.extend(s.unlock_key.as_ref().map(|k| (Part::UnlockKey, Secret::new(k.clone()).fingerprint())));
        let rotates = s.rotating_to.is_some();
        let replaced: Vec<Part> =
            change.replace.iter().filter(|(part, was)| was.is_empty() || is.get(*part) == Some(*was)).map(|(part, _)| *part).collect();
        let replaced: Vec<Part> = replaced.into_iter().filter(|part| *part != Part::Root || !rotates).collect();
        if missing == SwarmSettings::default() && labels.is_empty() && replaced.is_empty() {
            return Said::Now(false);
        }
        if let Some(root) = change.root.as_ref().filter(|root| root.key.is_none() && replaced.contains(&Part::Root)) {
            let signs = |ca: &ExternalCa| ca.ca_cert.as_deref().is_some_and(|pem| pem.trim() == root.certificate.trim());
            if !missing.external_ca.iter().chain(&s.settings.external_ca).flatten().any(signs) {
                return Said::No(words::no_authority());
            }
        }
        for part in replaced {
            match part {
                Part::WorkerToken => s.tokens.0.clone_from(&tokens.0),
                Part::ManagerToken => s.tokens.1.clone_from(&tokens.1),
                Part::UnlockKey => s.unlock_key = Some(key.clone()),
                Part::Root => s.rotating_to = Some(s.root + 1),
            }
        }
        s.labels.extend(labels.into_iter().map(|(k, v)| (k.clone(), v.clone())));
        match missing.autolock {
            Some(true) => (s.unlock_key, s.locked_at) = (Some(key), now),
            Some(false) => s.unlock_key = None,
            None => {}
        }
        s.settings = overlay(&s.settings, missing);
        s.version += 1;
        let rotates = s.rotating_to.is_some();
        self.say(host, "changed the swarm");
        if rotates {
            self.disturb();
        }
        Said::Now(true)
    }

    pub(crate) fn update_node(&mut self, host: &HostName, id: &NodeId, version: u64, change: &NodeChange) -> Said<()> {
        let swarm = match self.asked(host, true, |_, index| index) {
            Said::Now(index) => index,
            Said::No(words) => return Said::No(words),
            Said::Wait => return Said::Wait,
        };
        let may_go = self.may_remove(swarm, id);
        let now = self.now;
        let Some(s) = self.swarms.get_mut(swarm) else { return Said::No(words::not_in_swarm()) };
        let managers = s.nodes.values().filter(|n| n.role == Role::Manager).count();
        let voter = s.raft.contains_key(id);
        let next = s.version + 1;
        let Some(node) = s.nodes.get_mut(id) else { return Said::No(words::no_such_node(id)) };
        if node.version != version {
            return Said::No(words::out_of_sequence());
        }
        if change.role == Some(Role::Worker) && node.role == Role::Manager {
            // swarmkit `manager/controlapi/node.go`, UpdateNode.
            if managers <= 1 {
                return Said::No(words::last_manager());
            }
            if !voter {
                return Said::No(words::not_in_raft());
            }
            if voter && !may_go {
                return Said::No(words::loss_of_quorum());
            }
        }
        if let Some(role) = change.role.filter(|r| *r != node.role) {
            node.role = role;
            let after = if role == Role::Manager { 400 } else { 120 };
            node.role_due = Some(now + Duration::from_millis(after));
        }
        if let Some(availability) = change.availability {
            node.availability = availability;
        }
        for (key, value) in &change.labels {
            match value {
                Some(value) => node.labels.insert(key.clone(), value.clone()),
                None => node.labels.remove(key),
            };
        }
        node.version = next;
        s.version = next;
        let of = node.host.clone();
        self.say(host, format!("changed the node of {of}: {}", show(change)));
        self.replace_tasks(swarm);
        self.disturb();
        Said::Now(())
    }

    pub(crate) fn remove_node(&mut self, host: &HostName, id: &NodeId, force: Force) -> Said<()> {
        let swarm = match self.asked(host, true, |_, index| index) {
            Said::Now(index) => index,
            Said::No(words) => return Said::No(words),
            Said::Wait => return Said::Wait,
        };
        let Some(s) = self.swarms.get_mut(swarm) else { return Said::No(words::not_in_swarm()) };
        let Some(node) = s.nodes.get(id) else { return Said::No(words::no_such_node(id)) };
        if s.raft.contains_key(id) {
            return Said::No(words::member_of_raft(id));
        }
        // The check is for `ready`: a node that is `unknown` goes without force.
        if node.state == NodeState::Ready && force == Force::No {
            return Said::No(words::not_down(id));
        }
        let of = node.host.clone();
        s.nodes.remove(id);
        s.removed.insert(id.clone());
        s.version += 1;
        self.say(host, format!("removed node {id} of {of}"));
        self.replace_tasks(swarm);
        self.disturb();
        Said::Now(())
    }

    pub(crate) fn add_service(&mut self, host: &HostName, service: Service) -> bool {
        let Said::Now(swarm) = self.asked(host, true, |_, index| index) else { return false };
        if let Some(s) = self.swarms.get_mut(swarm) {
            s.services.push(service);
        }
        self.replace_tasks(swarm);
        true
    }

    /// The file a node keeps its identity in.
    pub(crate) fn certificate_pem(&self, host: &Host) -> Option<String> {
        let certificate = host.certificate.as_ref()?;
        crate::certificate::pem(certificate.cluster.as_str(), certificate.role, certificate.node.as_str())
    }
}

fn empty_facts(host: &Host) -> EngineFacts {
    let swarm = LocalSwarm { reported: LocalState::Active, control_available: true, ..LocalSwarm::outside() };
    let live_restore = host.live_restore;
    EngineFacts { swarm, live_restore, ..EngineFacts::outside(host.daemon.clone(), host.hostname.clone(), host.version.clone()) }
}

fn overlay(have: &SwarmSettings, given: SwarmSettings) -> SwarmSettings {
    SwarmSettings {
        task_history_limit: given.task_history_limit.or(have.task_history_limit),
        dispatcher_heartbeat: given.dispatcher_heartbeat.or(have.dispatcher_heartbeat),
        cert_expiry: given.cert_expiry.or(have.cert_expiry),
        snapshot_interval: given.snapshot_interval.or(have.snapshot_interval),
        max_snapshots: given.max_snapshots.or(have.max_snapshots),
        external_ca: given.external_ca.or_else(|| have.external_ca.clone()),
        autolock: given.autolock.or(have.autolock),
    }
}

fn show(change: &NodeChange) -> String {
    let mut parts: Vec<String> = change.role.iter().map(ToString::to_string).collect();
    parts.extend(change.availability.iter().map(Availability::to_string));
    parts.extend(change.labels.iter().map(|(k, v)| v.as_ref().map_or(format!("no {k}"), |v| format!("{k}={v}"))));
    parts.join(", ")
}
