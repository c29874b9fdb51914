//! Which call a step of membership makes, and which engine it goes to.

use super::effect::Call;
use super::run::Run;
use super::state::{Outcome, Rejoining, StepRun};
use crate::engine::{InitRequest, JoinRequest, NodeChange};
use crate::id::HostName;
use crate::plan::{Action, Step};
use crate::spec::{Availability, Role};
use std::net::{IpAddr, SocketAddr};

impl Run {
    /// The call of a step, and the engine it goes to.
    pub(super) fn call_of(&self, run: &StepRun) -> Option<(HostName, Call)> {
        let host = run.host.clone();
        let node = self.nodes.get(&host).cloned();
        let update = |change: NodeChange| Some((self.manager_for(&run.step)?, Call::UpdateNode { node: node.clone()?, change }));
        match &run.step.action {
            Action::Init { request } => Some((host, Call::Init(request.clone()))),
            Action::Join { role, advertise, listen, data_path, availability } => {
                let (via, remote) = self.managers.front()?.clone();
                let (listen, availability) = (listen.clone(), *availability);
                let request = JoinRequest { advertise: *advertise, listen, data_path: *data_path, availability, remote };
                let guarded = *role == Role::Manager && (self.running || run.attempts > 1);
                Some((host, Call::Join { role: *role, via, request, guarded }))
            }
            Action::Leave { force, node, leaderless } => {
                Some((host, Call::Leave { force: *force, node: node.clone(), leaderless: *leaderless }))
            }
            Action::Configure { change } => update(change.clone()),
            Action::Promote { rejoin } => match run.rejoin {
                Rejoining::No => update(NodeChange { role: Some(Role::Manager), ..NodeChange::default() }),
                Rejoining::Dresses => update(rejoin.node.clone()),
                Rejoining::Joins => {
                    let (via, remote) = self.managers.front()?.clone();
                    // Labels steer tasks: none lands before they are there.
                    let held = !rejoin.node.labels.is_empty();
                    let wanted = rejoin.node.availability.unwrap_or(Availability::Active);
                    let availability = if held && wanted == Availability::Active { Availability::Drain } else { wanted };
                    let (advertise, listen, data_path) = (rejoin.advertise, rejoin.listen.clone(), rejoin.data_path);
                    let request = JoinRequest { advertise, listen, data_path, availability, remote };
                    Some((host, Call::Join { role: Role::Manager, via, request, guarded: true }))
                }
            },
            Action::Demote => update(NodeChange { role: Some(Role::Worker), ..NodeChange::default() }),
            Action::UpdateSwarm { change } => Some((self.manager_for(&run.step)?, Call::UpdateSwarm(change.clone()))),
            Action::Recover { advertise, listen } => {
                Some((run.host.clone(), Call::Recover { advertise: *advertise, listen: listen.clone() }))
            }
            Action::Unlock => Some((run.host.clone(), Call::Unlock)),
            Action::StoreUnlockKey => Some((self.manager_for(&run.step)?, Call::StoreUnlockKey)),
            Action::RemoveNode { node, demote, dead, .. } => {
                let via = self.manager_for(&run.step)?;
                let (node, of) = (node.clone(), (!dead).then_some(host));
                let call = if *demote && !run.demoted { Call::TakeBack { node, of } } else { Call::RemoveNode { node, of } };
                Some((via, call))
            }
            Action::Work(_) => None,
        }
    }

    /// A host that a step made a manager can be asked from now on, and one that it demoted cannot any more.
    pub(super) fn count_managers(&mut self, index: usize) {
        let Some(run) = self.board.get(index).filter(|r| r.outcome().is_some_and(Outcome::is_done)) else { return };
        let host = run.host.clone();
        let at = match &run.step.action {
            Action::Join { role: Role::Manager, advertise, listen, .. } => join_at(*advertise, listen),
            Action::Promote { rejoin } => join_at(rejoin.advertise, &rejoin.listen),
            Action::Demote => return self.managers.retain(|(m, _)| *m != host),
            _ => return,
        };
        let listed = self.nodes.get(&host).and_then(|id| self.seen.get(id)?.manager.as_ref());
        let at = listed.map_or(at, |m| m.address.clone());
        self.add_manager(host, at);
    }

    /// The manager to ask; never the one that the step demotes, unless it is the only one.
    pub(super) fn manager_for(&self, step: &Step) -> Option<HostName> {
        let other = self.managers.iter().find(|(m, _)| step.action != Action::Demote || Some(m) != step.host.as_ref());
        other.or(self.managers.front()).map(|(m, _)| m.clone())
    }
}

/// Where others join a swarm that was made so.
pub(super) fn join_address(request: &InitRequest) -> String {
    join_at(request.advertise, &request.listen)
}

/// Where others join a manager that listens there.
pub(super) fn join_at(advertise: IpAddr, listen: &str) -> String {
    let port = listen.rsplit(':').next().and_then(|p| p.parse().ok()).unwrap_or(crate::addr::DEFAULT_LISTEN_PORT);
    SocketAddr::new(advertise, port).to_string()
}
