//! Which swarms the managers among the hosts answer for.

use super::fact::Fact;
use super::facts::{ClusterView, Observation};
use crate::id::{ClusterId, HostName, NodeId};
use crate::spec::NAME_LABEL;
use std::collections::{BTreeMap, BTreeSet};

/// One swarm as its managers among the hosts tell it.
pub(super) struct Swarm<'a> {
    pub(super) view: &'a ClusterView,
    pub(super) managers: Vec<HostName>,
    pub(super) leaders: BTreeSet<&'a NodeId>,
    /// The most that any of them tells: one that was asked a moment earlier may not know of a service yet.
    pub(super) services: usize,
}

impl Swarm<'_> {
    pub(super) fn name(&self) -> Option<&str> {
        self.view.cluster.labels.get(NAME_LABEL).map(String::as_str)
    }
}

/// Every swarm that managers among the hosts answer for.
pub(super) fn swarms_seen<'a>(observation: &'a Observation, given_up: &BTreeSet<HostName>) -> Vec<Swarm<'a>> {
    let mut swarms: BTreeMap<&ClusterId, Swarm<'_>> = BTreeMap::new();
    for (name, report) in observation.hosts.iter().filter(|(name, _)| !given_up.contains(*name)) {
        let Fact::Known(view, _) = &report.view else { continue };
        let leaders = view.nodes.iter().filter(|n| n.leads()).map(|n| &n.id);
        let swarm =
            swarms.entry(&view.cluster.id).or_insert_with(|| Swarm { view, managers: Vec::new(), leaders: BTreeSet::new(), services: 0 });
        swarm.managers.push(name.clone());
        swarm.leaders.extend(leaders);
        swarm.services = swarm.services.max(view.services);
        // The newest word counts: a manager that lags behind has an older version of the swarm object.
        if view.cluster.version > swarm.view.cluster.version {
            swarm.view = view;
        }
    }
    // Those that name the same swarm and were not asked what is in it.
    for (name, report) in observation.hosts.iter().filter(|(name, _)| !given_up.contains(*name)) {
        let Ok(engine) = &report.engine else { continue };
        let named = engine.swarm.cluster.as_ref().filter(|_| engine.swarm.manages() && report.view == Fact::NotAsked);
        if let Some(swarm) = named.and_then(|id| swarms.get_mut(id)) {
            swarm.managers.push(name.clone());
        }
    }
    swarms.into_values().collect()
}
