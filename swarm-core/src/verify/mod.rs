//! Judges the world against the file, from a fresh look. It knows nothing of plans and intentions.

use crate::advice::Advice;
use crate::condition::Condition;
use crate::id::HostName;
use crate::observe::{HostState, NodeFacts, NodeState, Observed, ObservedCluster, ObservedHost, address_matches, cannot_answer, no_room};
use crate::quorum;
use crate::spec::{ClusterSpec, HostSpec, NAME_LABEL, Role};
use serde::Serialize;
use std::collections::BTreeSet;

/// What kind of thing does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// There is no swarm, or not one.
    Swarm,
    /// Managers without a majority, or without one leader.
    Quorum,
    /// The host's engine could not be asked.
    Unreachable,
    /// The host is not a node of the swarm.
    NotMember,
    /// The host is a node, and is to be in no swarm.
    Member,
    /// The node does not report.
    NotReady,
    /// Its role is another.
    Role,
    /// It is known at another address.
    Address,
    /// Its availability is another.
    Availability,
    /// Its labels are others.
    Labels,
    /// An option of the swarm is another.
    Settings,
    /// What hosts say does not fit together.
    Contradiction,
    /// It is not known which swarm the hosts are in.
    Unknown,
    /// A manager of the swarm that the file does not name.
    Undeclared,
    /// What this run changed is different again: someone else is at work.
    Undone,
    /// A run would still change something.
    Left,
    /// A token, a key or the root is not the new one yet.
    Access,
    /// An object of the swarm is another, or what it runs does not run.
    Object,
    /// The host is not ready in the way the file wants: its engine, its configuration, its packet filter.
    NotPrepared,
}

/// One thing that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The host it is about; `None` for the swarm.
    pub host: Option<HostName>,
    /// What kind of thing.
    pub kind: FindingKind,
    /// What was seen last, and what was wanted.
    pub message: String,
}

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether everything holds.
    pub converged: bool,
    /// What does not.
    pub findings: Vec<Finding>,
    /// What holds and is worth knowing.
    pub notes: Vec<String>,
}

impl Verdict {
    /// Everything holds where there are no findings.
    pub fn of(findings: Vec<Finding>, notes: Vec<String>) -> Self {
        Self { converged: findings.is_empty(), findings, notes }
    }
}

/// Judges. With `limit`, only these hosts and the swarm itself.
pub fn verify(spec: &ClusterSpec, observed: &Observed, limit: Option<&BTreeSet<HostName>>) -> Verdict {
    let mut judge = Judge { findings: Vec::new(), notes: Vec::new() };
    for what in &observed.contradictions {
        judge.say(None, FindingKind::Contradiction, what.to_string());
    }
    judge.swarm(spec, observed);
    for host in spec.hosts().filter(|h| limit.is_none_or(|l| l.contains(&h.name))) {
        match observed.hosts.get(&host.name) {
            Some(seen) => judge.host(host, seen, observed),
            None => judge.say(Some(host), FindingKind::Unreachable, "it was not looked at"),
        }
    }
    for node in &observed.strangers {
        judge.notes.push(format!(
            "node {} ({}) is in the swarm and not in the file",
            node.id,
            if node.hostname.is_empty() { "no host name" } else { &node.hostname }
        ));
    }
    Verdict::of(judge.findings, judge.notes)
}

/// Whether the unlock key of locked managers is the one that is stored, by its fingerprint.
pub fn verify_key(spec: &ClusterSpec, observed: &Observed, stored: Option<&str>) -> Option<Finding> {
    let view = observed.view().filter(|v| v.cluster.settings.autolock == Some(true))?;
    let key = view.unlock_key.as_deref()?;
    if stored == Some(key) {
        return None;
    }
    let why = "without it no manager comes back after a restart of all";
    let message = match spec.key_place() {
        Some(place) => format!("the unlock key is not in {place}; {why}"),
        None => format!(
            "managers are locked (autolock) and the file keeps no key; {why}; {}, or {}",
            Advice::NameAKeyFile,
            Advice::ReadUnlockKey
        ),
    };
    Some(Finding { host: None, kind: FindingKind::Settings, message })
}

struct Judge {
    findings: Vec<Finding>,
    notes: Vec<String>,
}

impl Judge {
    fn say(&mut self, host: Option<&HostSpec>, kind: FindingKind, message: impl Into<String>) {
        self.findings.push(Finding { host: host.map(|h| h.name.clone()), kind, message: message.into() });
    }

    fn swarm(&mut self, spec: &ClusterSpec, observed: &Observed) {
        let view = match &observed.cluster {
            ObservedCluster::One { view, .. } => view,
            ObservedCluster::None => return self.say(None, FindingKind::Swarm, "there is no swarm"),
            ObservedCluster::Unknown { doubts, swarms } => {
                let doubts: Vec<String> = doubts.iter().map(|(h, why)| format!("{h}: {why}")).collect();
                let swarms: Vec<&str> = swarms.iter().map(|s| s.as_str()).collect();
                let last =
                    if swarms.is_empty() { String::new() } else { format!("; hosts were last known to be in swarm {}", swarms.join(", ")) };
                return self.say(None, FindingKind::Unknown, format!("it is not known which swarm this is{last} ({})", doubts.join("; ")));
            }
            ObservedCluster::NoLeader { managers, swarm, members, gone } => {
                let said = |of: &[(HostName, String)]| of.iter().map(|(h, why)| format!("{h}: {why}")).collect::<Vec<_>>().join("; ");
                let id = swarm.as_ref().map_or(String::new(), |id| format!("swarm {id}: "));
                let what = if observed.cluster.quorum_is_lost() {
                    format!("{id}quorum lost: {} of {members} managers are proven gone ({})", gone.len(), said(gone))
                } else {
                    format!("{id}no leader is seen ({})", said(managers))
                };
                return self.say(None, FindingKind::Quorum, what);
            }
            ObservedCluster::Several { swarms } => {
                let ids: Vec<&str> = swarms.iter().map(|s| s.0.as_str()).collect();
                return self.say(None, FindingKind::Swarm, format!("the hosts lead several swarms: {}", ids.join(", ")));
            }
            ObservedCluster::OtherName { name, .. } => {
                return self.say(None, FindingKind::Swarm, format!("the swarm is that of the cluster `{name}`"));
            }
        };
        let managers: Vec<&NodeFacts> = view.nodes.iter().filter(|n| n.manager.is_some()).collect();
        let reachable = managers.iter().filter(|n| n.is_reachable_manager()).count();
        let leaders = managers.iter().filter(|n| n.leads()).count();
        if reachable < managers.len() || leaders != 1 {
            let s = if leaders == 1 { "" } else { "s" };
            self.say(None, FindingKind::Quorum, format!("{}, {leaders} leader{s}", quorum::summary(managers.len(), reachable)));
        }
        for key in spec.init().differing_from(&view.cluster.init) {
            self.say(None, FindingKind::Settings, format!("swarm.{key} differs from the file and is immutable: it needs a new cluster"));
        }
        for node in observed.strangers.iter().filter(|n| n.role == Role::Manager) {
            let name = if node.hostname.is_empty() { "no host name" } else { &node.hostname };
            self.say(None, FindingKind::Undeclared, format!("manager {} ({name}) is not in the file", node.id));
        }
        let mut addresses = BTreeSet::new();
        for node in &managers {
            let address = node.manager.as_ref().map_or("", |m| m.address.as_str());
            if !addresses.insert(address) {
                self.say(
                    None,
                    FindingKind::Quorum,
                    format!("two managers are counted at {address}: one of them is gone and still has a vote"),
                );
            }
        }
        if view.cluster.labels.get(NAME_LABEL).map(String::as_str) != Some(spec.name()) {
            self.say(None, FindingKind::Settings, "the swarm does not carry the cluster's name");
        }
        for (key, wanted) in view.cluster.lacks(spec.settings()).entries() {
            let have = view.cluster.settings.entries();
            let have = have.iter().find(|(k, _)| *k == key).map_or("not set", |(_, v)| v.as_str());
            self.say(None, FindingKind::Settings, format!("swarm.{key} is {have}, not {wanted}"));
        }
        self.notes.push(quorum::summary(managers.len(), reachable));
    }

    /// A host that is to be in no swarm. What is in another one is not this file's matter.
    fn absent(&mut self, host: &HostSpec, seen: &ObservedHost) {
        let node = match &seen.state {
            HostState::Member { node } | HostState::StaleMember { node } => Some(node),
            _ => seen.presumed.as_ref().map(|n| &n.id),
        };
        match node {
            Some(id) => self.say(Some(host), FindingKind::Member, format!("it is to be in no swarm, and is node {id}")),
            None if !matches!(seen.state, HostState::Standalone | HostState::ForeignSwarm { .. }) => {
                let detail = seen.state.detail().map_or(String::new(), |d| format!(" ({d})"));
                self.say(Some(host), FindingKind::Member, format!("it is to be in no swarm, and is {}{detail}", seen.state.word()));
            }
            None => {}
        }
    }

    fn host(&mut self, host: &HostSpec, seen: &ObservedHost, observed: &Observed) {
        if host.absent {
            return self.absent(host, seen);
        }
        let node = match (&seen.state, &seen.node) {
            (HostState::Member { .. }, Some(node)) => node,
            (HostState::Unreachable { why } | HostState::EngineDown { why } | HostState::NoEngine { why }, _) => {
                return self.say(Some(host), FindingKind::Unreachable, format!("{}: {why}", seen.state.word()));
            }
            (state, _) => {
                let detail = state.detail().map_or(String::new(), |d| format!(" ({d})"));
                return self.say(Some(host), FindingKind::NotMember, format!("it is {}{detail}, not a member", state.word()));
            }
        };
        let mut checks = vec![(FindingKind::NotReady, Condition::Ready), (FindingKind::Role, Condition::Role(host.role))];
        if let Some(availability) = host.availability {
            checks.push((FindingKind::Availability, Condition::Availability(availability)));
        }
        if !host.labels.is_empty() {
            checks.push((FindingKind::Labels, Condition::Labels(host.labels.clone())));
        }
        if let Some((wanted, _)) = address_matches(host, &seen.report, node) {
            checks.push((FindingKind::Address, Condition::Address(wanted)));
        }
        for (kind, condition) in checks {
            if let Some(mut unmet) = condition.unmet(Some(node)).map(|unmet| unmet.to_string()) {
                if kind == FindingKind::NotReady && node.state == NodeState::Down {
                    let open = Advice::OpenPort { host: None };
                    let restart = Advice::RestartEngine { host: host.name.clone() };
                    unmet.push_str(&format!("; its engine answers, and no manager hears it: {open} for it, or {restart}"));
                }
                self.say(Some(host), kind, unmet);
            }
        }
        if let Some(why) = seen.report.view.why() {
            let next = match cannot_answer(observed, seen) {
                Some(_) => "; where that lasts its raft log is lost: the next apply takes it out of the swarm and joins it again",
                None => "",
            };
            self.say(Some(host), FindingKind::Quorum, format!("its engine answers as a manager and hears no leader: {why}{next}"));
        }
        if seen.report.engine.as_ref().is_ok_and(|e| e.swarm.stumbled()) {
            self.notes.push(format!(
                "{}: its engine says `error` and is well: its node failed once and was started again, and the word stays until the engine \
                 is restarted",
                host.name
            ));
        }
        let local_manager = seen.report.engine.as_ref().is_ok_and(|e| e.swarm.control_available);
        if local_manager != (host.role == Role::Manager) && node.role == host.role {
            let room = no_room(&seen.report).filter(|_| host.role == Role::Manager).map_or(String::new(), |room| format!("; {room}"));
            let message = format!("managers call it a {}, and its own engine does not answer as one{room}", host.role);
            self.say(Some(host), FindingKind::Role, message);
        }
    }
}
