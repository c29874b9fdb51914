//! All watches of a world, and the rules that were broken in it. The world reports here what becomes of it; only the judges look at the world.

use super::stack::StackWatch;
use super::watch::Watch;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use swarm_core::id::{HostName, NodeId};

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
