//! What must never happen, watched at every effect of every run. The numbers are those of `docs/failure-model.md`.
//!
//! A watch knows what its operator saw, and judges each call by that: what no one could know is no one's fault, and what was
//! known and not minded is.

mod health;
mod judge;
mod objects;
mod oracle;
mod ready;
mod stack;
mod watch;
pub(crate) mod watches;

pub(crate) use stack::StackWatch;
pub use watch::Purpose;
pub(crate) use watch::Watch;
pub use watches::Violation;

use crate::fault::CallKind;
use crate::world::host::Host;
use crate::world::state::State;
use serde_json::Value;
use swarm_core::engine::{ErrorClass, Force, Kind, NodeChange, Object, SwarmChange};
use swarm_core::id::{HostName, NodeId};
use swarm_core::observe::{ClusterFacts, EngineFacts, NodeFacts};
use swarm_core::plan::Plan;
use swarm_core::spec::Role;

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
