//! The truth: whether a world is what a file wants, judged from what is there and not from what anyone says.

use crate::world::host::Local;
use crate::world::state::State;
use swarm_core::addr::AddressSelector;
use swarm_core::observe::NodeState;
use swarm_core::spec::{ClusterSpec, NAME_LABEL, Role};

impl State {
    /// Everything that is not as the file wants it.
    pub(crate) fn differs_from(&self, spec: &ClusterSpec) -> Vec<String> {
        let mut wrong = Vec::new();
        let of = |host| match self.host(host).map(|h| &h.local) {
            Some(Local::Active { swarm, node, control }) => Some((*swarm, node, *control)),
            _ => None,
        };
        let Some((index, ..)) = spec.managers().find_map(|m| of(&m.name)) else { return vec!["no manager is in a swarm".into()] };
        let Some(swarm) = self.swarms.get(index) else { return wrong };
        if self.leads(index).is_none() {
            wrong.push("no one leads".into());
        }
        if swarm.labels.get(NAME_LABEL).map(String::as_str) != Some(spec.name()) {
            wrong.push("it does not carry the name".into());
        }
        if spec.settings().missing_in(&swarm.settings) != Default::default() {
            wrong.push("its options differ".into());
        }
        for host in spec.hosts() {
            let name = &host.name;
            if host.absent {
                if of(name).is_some_and(|(at, ..)| at == index) {
                    wrong.push(format!("{name} is in the swarm"));
                }
                continue;
            }
            let Some((at, id, control)) = of(name) else {
                wrong.push(format!("{name} is in no swarm"));
                continue;
            };
            let Some(node) = swarm.nodes.get(id).filter(|_| at == index) else {
                wrong.push(format!("{name} is in another swarm, or was removed"));
                continue;
            };
            let manager = host.role == Role::Manager;
            if node.role != host.role || control != manager || swarm.raft.contains_key(id) != manager {
                wrong.push(format!("{name} is no {}", host.role));
            }
            if node.state != NodeState::Ready || !self.lives(index, id) {
                wrong.push(format!("{name} is not ready"));
            }
            if host.availability.is_some_and(|a| a != node.availability) {
                wrong.push(format!("{name} is {}", node.availability));
            }
            if host.labels.iter().any(|(k, v)| node.labels.get(k) != v.as_ref()) {
                wrong.push(format!("{name} has other labels"));
            }
            if let Some(AddressSelector::Ip(ip)) = host.advertise_selector()
                && ip != node.advertise
            {
                wrong.push(format!("{name} is known at {}", node.advertise));
            }
        }
        wrong
    }
}
