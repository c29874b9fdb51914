//! What must never happen, watched at every effect of every run. The numbers are those of `docs/failure-model.md`.
//!
//! A watch knows what its operator saw, and judges each call by that: what no one could know is no one's fault, and what was
//! known and not minded is.

mod health;
mod objects;
mod oracle;
mod ready;
mod watch;

pub(crate) use objects::StackWatch;
pub use watch::Purpose;
pub(crate) use watch::Watch;

use crate::fault::CallKind;
use crate::world::host::Host;
use crate::world::state::State;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use swarm_core::engine::{ErrorClass, Force, Kind, NodeChange, Object, SwarmChange};
use swarm_core::id::{HostName, NodeId};
use swarm_core::observe::{ClusterFacts, EngineFacts, NodeFacts};
use swarm_core::plan::Plan;
use swarm_core::spec::Role;

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Its number, for example `I1`.
    pub rule: &'static str,
    /// When.
    pub at: Duration,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:.3} s: {}", self.rule, self.at.as_secs_f64(), self.what)
    }
}

/// A call as a watch sees it.
#[derive(Debug, Clone)]
pub(crate) enum Sent<'a> {
    Read(CallKind),
    Token { role: Role },
    Init,
    Join { role: Role },
    Leave { force: Force },
    Unlock,
    ForceNewCluster,
    UpdateSwarm { change: &'a SwarmChange },
    UpdateNode { id: &'a NodeId, version: u64, change: &'a NodeChange },
    RemoveNode { id: &'a NodeId, force: Force },
    CreateObject { kind: Kind, spec: &'a Value },
    UpdateObject { kind: Kind, id: &'a str, version: u64, spec: &'a Value },
    RemoveObject { kind: Kind, id: &'a str },
    Run { program: &'a str, stops_engine: bool },
}

impl Sent<'_> {
    /// Whether it is about objects, which have rules of their own.
    fn is_about_objects(&self) -> bool {
        matches!(self, Self::CreateObject { .. } | Self::UpdateObject { .. } | Self::RemoveObject { .. })
    }

    pub(crate) fn is_mutating(&self) -> bool {
        !matches!(self, Self::Read(_) | Self::Token { .. })
    }
}

/// All watches of a world.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    pub(crate) by_operator: BTreeMap<String, Watch>,
    /// Operators that work on a stack.
    pub(crate) stacks: BTreeMap<String, StackWatch>,
    pub(crate) violations: Vec<Violation>,
    /// Entries that joins made, by host.
    pub(crate) made: BTreeMap<HostName, Vec<NodeId>>,
    /// Swarms that were made by calls, with the host of each.
    pub(crate) born: Vec<(usize, HostName)>,
    /// When an init was last sent to each host.
    pub(crate) init_sent: BTreeMap<HostName, Duration>,
    /// When someone took each host out of its swarm by hand.
    pub(crate) taken_out: BTreeMap<HostName, Duration>,
    /// Someone else acts: births are not ours.
    pub(crate) elsewhere: bool,
    /// When the world last changed by itself.
    pub(crate) disturbed: Duration,
}

impl Watches {
    pub(crate) fn swarm_born(&mut self, at: Duration, host: &HostName, swarm: usize) {
        for watch in self.by_operator.values_mut() {
            watch.swarm_born(host, swarm, self.elsewhere);
        }
        // It is no one's fault either if a host is taken out of the first swarm while another init is on its way to it.
        let sent = self.init_sent.get(host);
        if self.elsewhere || sent.is_some_and(|sent| self.taken_out.get(host).is_some_and(|out| out > sent)) {
            return;
        }
        self.born.push((swarm, host.clone()));
        let mut found = Vec::new();
        // Two births among the hosts of one file, and no one destroyed the first.
        let agreed = self.by_operator.values().all(|w| self.by_operator.values().all(|o| w.agrees_with(o)));
        for watch in self.by_operator.values().filter(|w| agreed && !w.allows_new()) {
            let ours = self.born.iter().filter(|(_, h)| watch.names(h)).count();
            if ours > 1 && watch.names(host) {
                found.push(("I1", format!("{ours} swarms were made on the hosts of one file")));
            }
        }
        self.violations.extend(found.into_iter().map(|(rule, what)| Violation { rule, at, what }));
    }

    pub(crate) fn node_made(&mut self, host: &HostName, node: &NodeId) {
        self.made.entry(host.clone()).or_default().push(node.clone());
    }

    /// Someone else labels a node: what lands on it afterwards is judged by no one's file.
    pub(crate) fn relabelled(&mut self, host: &HostName) {
        for watch in self.by_operator.values_mut() {
            watch.forget_join(host);
        }
    }

    pub(crate) fn task_landed(&mut self, at: Duration, host: &HostName, labels: &BTreeMap<String, String>) {
        // Where two operators want different labels, one of them must find the other's.
        let wanted: Vec<_> = self.by_operator.values().filter_map(|w| w.labels(host)).collect();
        if wanted.windows(2).any(|pair| pair.first() != pair.last()) {
            return;
        }
        for watch in self.by_operator.values() {
            if let Some(what) = watch.task_landed(host, labels) {
                self.violations.push(Violation { rule: "labels-first", at, what });
            }
        }
    }
}

impl State {
    fn watched(&mut self, operator: &str, f: impl FnOnce(&mut Watch, &State) -> Vec<(&'static str, String)>) {
        let Some(mut watch) = self.watches.by_operator.remove(operator) else { return };
        let found = f(&mut watch, self);
        let at = self.now;
        for (rule, what) in found {
            self.trace.add(at, operator, format!("BREAKS {rule}: {what}"));
            self.watches.violations.push(Violation { rule, at, what });
        }
        self.watches.by_operator.insert(operator.to_owned(), watch);
    }

    pub(crate) fn note_shown(&mut self, operator: &str, plan: &Plan) {
        self.watched(operator, |watch, _| watch.shown(plan));
    }

    /// I14: nothing is asked of a host whose key is not the recorded one.
    pub(crate) fn note_stranger(&mut self, operator: &str, host: &HostName) {
        self.watched(operator, |_, _| vec![("I14", format!("{host} shows another host key and is asked all the same"))]);
    }

    pub(crate) fn note_sent(&mut self, operator: &str, host: &HostName, sent: &Sent<'_>) {
        if matches!(sent, Sent::Init) {
            self.watches.init_sent.insert(host.clone(), self.now);
        }
        if sent.is_mutating() {
            self.trace.add(self.now, operator, format!("-> {host}: {}", show(sent)));
        }
        if let Some(watch) = self.watches.stacks.remove(operator) {
            let at = self.now;
            for (rule, what) in watch.sent(self, sent) {
                self.trace.add(at, operator, format!("BREAKS {rule}: {what}"));
                self.watches.violations.push(Violation { rule, at, what });
            }
            self.watches.stacks.insert(operator.to_owned(), watch);
        }
        if sent.is_about_objects() {
            return;
        }
        self.watched(operator, |watch, state| watch.sent(state, host, sent));
    }

    pub(crate) fn note_objects(&mut self, operator: &str, objects: &[Object]) {
        if let Some(watch) = self.watches.stacks.get_mut(operator) {
            watch.saw(objects);
        }
    }

    pub(crate) fn note_done(&mut self, operator: &str, host: &HostName, sent: &Sent<'_>) {
        self.watched(operator, |watch, _| {
            watch.done(host, sent);
            Vec::new()
        });
    }

    pub(crate) fn note_failed(&mut self, operator: &str, host: &HostName, sent: &Sent<'_>, class: ErrorClass) {
        self.watched(operator, |watch, _| {
            watch.failed(host, sent, class);
            Vec::new()
        });
    }

    pub(crate) fn note_info(&mut self, operator: &str, host: &HostName, facts: &EngineFacts) {
        self.watched(operator, |watch, _| {
            watch.told_info(host, facts);
            Vec::new()
        });
    }

    pub(crate) fn note_cluster(&mut self, operator: &str, host: &HostName, facts: &ClusterFacts) {
        self.watched(operator, |watch, _| {
            watch.told_cluster(host, facts);
            Vec::new()
        });
    }

    pub(crate) fn note_nodes(&mut self, operator: &str, host: &HostName, nodes: &[NodeFacts]) {
        self.watched(operator, |watch, state| {
            if let Some((swarm, _)) = state.host(host).and_then(Host::node) {
                watch.told_nodes(swarm, nodes);
            }
            Vec::new()
        });
    }

    pub(crate) fn note_services(&mut self, operator: &str, count: usize) {
        self.watched(operator, |watch, _| {
            watch.told_services(count);
            Vec::new()
        });
    }

    pub(crate) fn note_node(&mut self, operator: &str, node: &NodeFacts) {
        self.watched(operator, |watch, _| {
            watch.told_node(node);
            Vec::new()
        });
    }
}

fn show(sent: &Sent<'_>) -> String {
    match sent {
        Sent::Read(kind) => kind.to_string(),
        Sent::Token { role } => format!("the {role} token"),
        Sent::Init => "init".into(),
        Sent::Join { role } => format!("join as {role}"),
        Sent::Leave { force } => format!("leave{}", if *force == Force::Yes { " by force" } else { "" }),
        Sent::Unlock => "unlock".into(),
        Sent::ForceNewCluster => "become the only manager".into(),
        Sent::UpdateSwarm { change } => format!("update the swarm: {:?}", change.settings.entries()),
        Sent::UpdateNode { id, change, .. } => format!("update node {id}: {change:?}"),
        Sent::RemoveNode { id, .. } => format!("remove node {id}"),
        Sent::CreateObject { kind, spec } => format!("create {kind} {}", spec.get("Name").and_then(Value::as_str).unwrap_or_default()),
        Sent::UpdateObject { kind, id, version, .. } => format!("update {kind} {id} from version {version}"),
        Sent::RemoveObject { kind, id } => format!("remove {kind} {id}"),
        Sent::Run { program, .. } => format!("run {program}"),
    }
}
