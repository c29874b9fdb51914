//! A node as someone names it: by its host in the file, its id, the beginning of its id, or its host name.

use super::facts::NodeFacts;
use super::merge::Observed;
use crate::id::{HostName, NodeId};
use std::fmt;
use thiserror::Error;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// A host of the file, in the swarm or not.
    Host(HostName),
    /// A node of the swarm that is of no host of the file.
    Stranger(NodeId),
}

/// Why a name stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unnamed {
    /// No host and no node has it.
    #[error("there is no such host in the file, and no node with that id or host name in the swarm")]
    Nothing,
    /// There is no such host in the file, and no manager answers with the nodes of the swarm.
    #[error("there is no such host in the file, and no manager answers that could say whether it is a node")]
    NotAsked,
    /// Several nodes have it.
    #[error("it is the name of several nodes; give the id of one: {}", list(.0))]
    Several(Vec<NodeId>),
}

fn list(ids: &[NodeId]) -> impl fmt::Display {
    ids.iter().map(NodeId::as_str).collect::<Vec<_>>().join(", ")
}

impl Observed {
    /// What a name stands for. As with the docker CLI an id comes before a host name, and a host name before the beginning of an id
    /// (moby `daemon/cluster/helpers.go`, `getNode`); a host of the file comes before all.
    ///
    /// # Errors
    /// It stands for nothing, or for several nodes.
    pub fn named(&self, name: &str) -> Result<Named, Unnamed> {
        if let Some((host, _)) = self.hosts.get_key_value(&HostName::new(name)) {
            return Ok(Named::Host(host.clone()));
        }
        let Some(view) = self.view() else { return Err(Unnamed::NotAsked) };
        let ways: [&dyn Fn(&NodeFacts) -> bool; 3] =
            [&|n| n.id.as_str() == name, &|n| n.hostname == name, &|n| !name.is_empty() && n.id.as_str().starts_with(name)];
        let mut found = ways.iter().map(|is| view.nodes.iter().filter(|n| is(n)).collect::<Vec<_>>());
        match found.find(|nodes| !nodes.is_empty()).as_deref() {
            None | Some([]) => Err(Unnamed::Nothing),
            Some([node]) => Ok(self.owner(&node.id).map_or_else(|| Named::Stranger(node.id.clone()), |host| Named::Host(host.clone()))),
            Some(several) => Err(Unnamed::Several(several.iter().map(|n| n.id.clone()).collect())),
        }
    }

    /// The host whose node it is, also where that host is not reached.
    fn owner(&self, node: &NodeId) -> Option<&HostName> {
        let is = |n: &Option<NodeFacts>| n.as_ref().is_some_and(|n| n.id == *node);
        self.hosts.iter().find(|(_, h)| is(&h.node) || is(&h.presumed)).map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::merge;
    use crate::testkit::{Is, spec, world};
    use std::collections::BTreeSet;

    #[test]
    fn hosts_ids_host_names_and_beginnings() {
        let file = spec(&["m1", "m2", "w1"]);
        let all = [("m1", Is::Manager), ("m2", Is::Manager), ("w1", Is::Alone)];
        let mut observed = merge(&file, &world(&all), &BTreeSet::new());
        let ids: Vec<String> = observed.view().unwrap().nodes.iter().map(|n| n.id.to_string()).collect();
        let host = |name: &str| Ok(Named::Host(name.into()));
        assert_eq!((observed.named("m2"), observed.named("w1")), (host("m2"), host("w1")));
        let m2 = observed.hosts[&HostName::new("m2")].node.clone().unwrap();
        assert!(ids.contains(&m2.id.to_string()));
        assert_eq!(observed.named(m2.id.as_str()), host("m2"), "by its id");
        let shared = |len: usize| ids.iter().filter(|id| id.starts_with(&m2.id.as_str()[..len])).count();
        let unique = (1..=m2.id.as_str().len()).find(|len| shared(*len) == 1).unwrap();
        assert_eq!(observed.named(&m2.id.as_str()[..unique]), host("m2"), "by the beginning of its id");
        if unique > 1 {
            assert!(matches!(observed.named(&m2.id.as_str()[..unique - 1]), Err(Unnamed::Several(these)) if these.len() > 1));
        }
        assert_eq!(observed.named("nothing"), Err(Unnamed::Nothing));
        assert_eq!(observed.named(""), Err(Unnamed::Nothing));

        // A node that the file does not name, and two of one host name.
        let stranger = NodeFacts { id: NodeId::new("zz1"), hostname: "other".into(), ..m2.clone() };
        let twin = NodeFacts { id: NodeId::new("zz2"), ..stranger.clone() };
        let crate::observe::ObservedCluster::One { view, .. } = &mut observed.cluster else { panic!("there is a swarm") };
        view.nodes.push(stranger);
        assert_eq!(observed.named("other"), Ok(Named::Stranger(NodeId::new("zz1"))));
        let crate::observe::ObservedCluster::One { view, .. } = &mut observed.cluster else { panic!("there is a swarm") };
        view.nodes.push(twin);
        assert_eq!(observed.named("other"), Err(Unnamed::Several(vec![NodeId::new("zz1"), NodeId::new("zz2")])));
        assert_eq!(observed.named("zz2"), Ok(Named::Stranger(NodeId::new("zz2"))));

        // No manager answers: it is not said that there is none.
        observed.cluster = crate::observe::ObservedCluster::None;
        assert_eq!((observed.named("other"), observed.named("m1")), (Err(Unnamed::NotAsked), host("m1")));
    }
}
