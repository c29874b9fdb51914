//! What still works when nodes fail: the arithmetic of raft on what was seen, and where tasks run.

use crate::id::NodeId;
use crate::observe::{NodeFacts, NodeState, Observed};
use crate::quorum;
use crate::spec::Availability;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A task that runs: its service and its node.
pub type Running = (String, NodeId);

/// What is left when some nodes are gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// The nodes that are gone, as people call them.
    pub down: Vec<String>,
    /// Members of raft, which stay as many when one fails.
    pub managers: usize,
    /// How many of them are still reached.
    pub reached: usize,
    /// How many must be.
    pub needed: usize,
    /// Whether anything can still be changed, and tasks be replaced.
    pub quorum: bool,
    /// Nodes that still take tasks.
    pub takers: usize,
    /// Tasks that end.
    pub tasks: usize,
    /// Services that have no task left until it is placed elsewhere.
    pub stopped: Vec<String>,
}

/// What is left when these nodes are gone.
pub fn loss(observed: &Observed, running: &[Running], down: &BTreeSet<NodeId>) -> Loss {
    let nodes = observed.view().map_or(&[][..], |v| &v.nodes);
    let voters = || nodes.iter().filter(|n| n.manager.is_some());
    let (managers, reached) = (voters().count(), voters().filter(|n| n.is_reachable_manager() && !down.contains(&n.id)).count());
    let takes = |n: &&NodeFacts| n.state == NodeState::Ready && n.availability == Availability::Active && !down.contains(&n.id);
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for (service, node) in running {
        *left.entry(service).or_default() += usize::from(!down.contains(node));
    }
    let mut names: Vec<String> = nodes.iter().filter(|n| down.contains(&n.id)).map(|n| observed.name_of(n)).collect();
    names.sort();
    Loss {
        down: names,
        managers,
        reached,
        needed: quorum::needed(managers),
        quorum: reached >= quorum::needed(managers),
        takers: nodes.iter().filter(takes).count(),
        tasks: running.iter().filter(|(_, node)| down.contains(node)).count(),
        stopped: left.into_iter().filter(|(_, tasks)| *tasks == 0).map(|(service, _)| service.to_owned()).collect(),
    }
}

/// Every failure of one node, and of two managers at once, that is worth a line: all managers, and each worker that runs something.
pub fn losses(observed: &Observed, running: &[Running]) -> Vec<Loss> {
    let mut nodes: Vec<&NodeFacts> = observed.view().into_iter().flat_map(|v| &v.nodes).collect();
    nodes.sort_by_key(|n| observed.name_of(n));
    let managers: Vec<&NodeId> = nodes.iter().filter(|n| n.manager.is_some()).map(|n| &n.id).collect();
    let of = |ids: &[&NodeId]| loss(observed, running, &ids.iter().map(|id| (*id).clone()).collect());
    let single = managers.iter().map(|id| of(&[id]));
    let pairs = managers.iter().enumerate().flat_map(|(at, a)| managers.iter().skip(at + 1).map(move |b| [*a, *b]));
    let workers = nodes.iter().filter(|n| n.manager.is_none() && running.iter().any(|(_, node)| *node == n.id));
    single.chain(pairs.map(|pair| of(&pair))).chain(workers.map(|n| of(&[&n.id]))).collect()
}

impl Loss {
    /// One line for people.
    pub fn line(&self) -> String {
        let s = |n: usize| if n == 1 { "" } else { "s" };
        let mut line = format!("{} down: ", self.down.join(", "));
        if self.quorum {
            line += &format!("quorum kept ({} of {} managers, {} needed)", self.reached, self.managers, self.needed);
        } else {
            line += &format!(
                "NO QUORUM ({} of {} managers, {} needed): what runs goes on, nothing can be changed and no task is replaced",
                self.reached, self.managers, self.needed
            );
        }
        if self.tasks > 0 {
            let end = if !self.quorum || self.takers == 0 { "end" } else { "move" };
            let end = if self.tasks == 1 { format!("{end}s") } else { end.to_owned() };
            line += &format!("; {} task{} {end}", self.tasks, s(self.tasks));
        }
        if !self.stopped.is_empty() {
            let until = if self.quorum && self.takers > 0 { "until it is placed elsewhere" } else { "and stays down" };
            line += &format!("; {} has no task left {until}", self.stopped.join(", "));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::merge;
    use crate::testkit::{Is, spec, world};

    #[test]
    fn the_arithmetic_of_failures() {
        let hosts = [("m1", Is::Manager), ("m2", Is::Manager), ("m3", Is::Manager), ("w1", Is::Worker)];
        let file = spec(&["m1", "m2", "m3", "w1"]);
        let observed = merge(&file, &world(&hosts), &BTreeSet::new());
        let at = |name: &str| NodeId::new(format!("node-{name}"));
        let running = [("web".to_owned(), at("w1")), ("web".to_owned(), at("m1")), ("db".to_owned(), at("w1"))];
        let all = losses(&observed, &running);
        let lines: Vec<String> = all.iter().map(Loss::line).collect();
        assert_eq!(all.len(), 3 + 3 + 1, "{lines:#?}");
        assert_eq!(all.iter().filter(|l| l.quorum).count(), 4, "{lines:#?}");
        assert_eq!(lines[0], "m1 down: quorum kept (2 of 3 managers, 2 needed); 1 task moves");
        assert!(lines[3].starts_with("m1, m2 down: NO QUORUM (1 of 3 managers, 2 needed)"), "{}", lines[3]);
        assert_eq!(
            lines[6],
            "w1 down: quorum kept (3 of 3 managers, 2 needed); 2 tasks move; db has no task left until it is placed elsewhere"
        );
    }

    #[test]
    fn who_takes_tasks_and_who_does_not() {
        let file = spec(&["m1", "w1", "w2", "w3"]);
        let mut look = world(&[("m1", Is::Manager), ("w1", Is::Worker), ("w2", Is::Worker), ("w3", Is::Worker)]);
        let Some(view) = look.hosts.get_mut(&"m1".into()).and_then(|h| h.view.known_mut()) else { panic!("a view") };
        for node in &mut view.nodes {
            match node.hostname.as_str() {
                "w2" => node.availability = Availability::Drain,
                "w3" => node.state = NodeState::Down,
                _ => {}
            }
        }
        let observed = merge(&file, &look, &BTreeSet::new());
        let at = |name: &str| NodeId::new(format!("node-{name}"));
        let running = [("db".to_owned(), at("w1"))];
        assert_eq!(loss(&observed, &running, &BTreeSet::new()).takers, 2);
        let one = loss(&observed, &running, &[at("m1")].into());
        assert_eq!((one.takers, one.quorum, one.tasks), (1, false, 0));
        assert_eq!(
            one.line(),
            "m1 down: NO QUORUM (0 of 1 managers, 1 needed): what runs goes on, nothing can be changed and no task is replaced"
        );
        let both = loss(&observed, &running, &[at("m1"), at("w1")].into());
        assert!(both.line().ends_with("; 1 task ends; db has no task left and stays down"), "{}", both.line());
        // Kept by its managers, and no node is left that takes tasks.
        let mut kept = loss(&observed, &running, &[at("w1")].into());
        assert_eq!((kept.takers, kept.quorum), (1, true));
        kept.takers = 0;
        assert!(kept.line().ends_with("; 1 task ends; db has no task left and stays down"), "{}", kept.line());
        // Workers on which nothing runs are worth no line.
        assert_eq!(losses(&observed, &running).iter().map(|l| l.down.join(",")).collect::<Vec<_>>(), ["m1", "w1"]);
    }
}
