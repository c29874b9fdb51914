//! The steps of one host: leave what it is in, join, labels and availability, role.

use super::build::Builder;
use super::doubts::{broken_node, gone_managers};
use super::refusal::Refusal;
use super::{Action, Blocked, Rejoin, Risk, Step};
use crate::advice::Advice;
use crate::condition::Condition;
use crate::engine::{Force, NodeChange};
use crate::id::{NodeId, StepId};
use crate::observe::{HostState, NodeFacts, NodeState, ObservedHost};
use crate::spec::{Availability, HostSpec, Role};
use crate::step;
use std::collections::BTreeMap;

impl<'a> Builder<'a> {
    /// Steps that bring a host into the swarm; the id of its join.
    pub(super) fn enter(
        &mut self,
        host: &'a HostSpec,
        seen: &'a ObservedHost,
        needs: &[StepId],
        entry: Option<&NodeFacts>,
        running: bool,
    ) -> Option<StepId> {
        let blocked = matches!(
            seen.state,
            HostState::Unreachable { .. }
                | HostState::NoEngine { .. }
                | HostState::EngineDown { .. }
                | HostState::Locked { .. }
                | HostState::Unknown { .. }
        );
        if blocked {
            self.block(host, &seen.state);
            return None;
        }
        if self.is_under_way(host, seen) {
            return None;
        }
        self.unfit(host, seen);
        let mut needs = needs.to_vec();
        needs.extend(self.out_of_it(host, seen, entry));
        let advertise = self.address(host, seen)?;
        let data_path = self.data_path(host, seen);
        let wanted = host.availability.unwrap_or(Availability::Active);
        // Labels steer tasks: none may land before they are there. A swarm that runs may have its first service at any moment.
        let held = running && host.labels.values().any(Option::is_some) && wanted == Availability::Active;
        let availability = if held { Availability::Drain } else { wanted };
        let id = self.id(host, "join");
        self.push(Step {
            id: id.clone(),
            host: Some(host.name.clone()),
            action: Action::Join(step::Join { role: host.role, advertise, listen: host.listen.to_string(), data_path, availability }),
            before: seen.state.word().into(),
            after: format!("{}, at {advertise}{}", host.role, if held { ", drained until its labels are set" } else { "" }),
            needs,
            expect: Some(Condition::All(vec![Condition::Ready, Condition::Role(host.role), Condition::Address(advertise)])),
            because: "the file names it and the swarm does not have it".into(),
            risk: if host.role == Role::Manager { Risk::Quorum } else { Risk::None },
        });
        self.configure_new(host, &id, held.then_some(wanted));
        Some(id)
    }

    /// Whether a host is in the middle of a join that is better not disturbed. Then that is said.
    pub(super) fn is_under_way(&mut self, host: &HostSpec, seen: &ObservedHost) -> bool {
        if seen.state == HostState::Joining && self.is_voter_already(host, seen) {
            let look = Advice::LookAtEngine { host: host.name.clone() };
            let why = format!(
                "an earlier join has not ended, and it counts as a manager already: to leave now would cost a vote; run again when it is in, or {look}"
            );
            self.blocked.push(Blocked { host: host.name.clone(), why });
            return true;
        }
        if let Some(why) = self.looks_for_its_managers(host, seen) {
            self.blocked.push(Blocked { host: host.name.clone(), why });
            return true;
        }
        false
    }

    /// Steps that take a host out of what it is in, and away its entry; they are to be waited for.
    pub(super) fn out_of_it(&mut self, host: &HostSpec, seen: &ObservedHost, entry: Option<&NodeFacts>) -> Vec<StepId> {
        let left = self.leave_first(host, seen, entry);
        match entry {
            Some(entry) if !left.is_empty() => {
                let because = "its engine leaves: it is another node when it joins again";
                let id = self.remove_entry(host, entry, because, left.clone());
                std::iter::once(id).chain(left).collect()
            }
            _ => left,
        }
    }

    /// The steps by which this plan takes a host out of the swarm and out of its list.
    fn taken_out(&self, host: &HostSpec) -> Vec<StepId> {
        let of = |s: &&Step| s.host.as_ref() == Some(&host.name) && matches!(s.action, Action::Leave(_) | Action::RemoveNode(_));
        self.steps.iter().filter(of).map(|s| s.id.clone()).collect()
    }

    /// Why a host that seems to join is left alone: it is a node that once reported, and its engine has not found its managers since it was
    /// restarted. What runs there goes on.
    fn looks_for_its_managers(&self, host: &HostSpec, seen: &ObservedHost) -> Option<String> {
        let node = seen.report.engine.as_ref().ok()?.swarm.node.as_ref().filter(|_| seen.state == HostState::Joining)?;
        let listed = self.observed.view()?.nodes.iter().any(|n| n.id == *node && !n.hostname.is_empty());
        let open = Advice::OpenPort { host: None };
        let leave = Advice::ForceLeave { host: host.name.clone() };
        (listed && !self.options.force_leave.contains(&host.name))
            .then(|| format!("its engine is node {node} and has not found its managers since it was started: {open} for it; {leave}"))
    }

    /// Whether a member of raft is at the address of a host that cannot say which node it is.
    fn is_voter_already(&self, host: &HostSpec, seen: &ObservedHost) -> bool {
        let Ok(address) = self.resolve(host, seen) else { return false };
        let known = |id: &NodeId| self.observed.host_of(id).is_some();
        let at = |n: &NodeFacts| n.manager.as_ref().is_some_and(|m| crate::addr::ip_of(&m.address) == Some(address));
        self.observed.view().is_some_and(|v| v.nodes.iter().any(|n| at(n) && n.state != NodeState::Down && !known(&n.id)))
    }

    /// The step that takes a host out of what it is in, if it must and may.
    pub(super) fn leave_first(&mut self, host: &HostSpec, seen: &ObservedHost, entry: Option<&NodeFacts>) -> Vec<StepId> {
        let ours = self.observed.view().map(|v| v.cluster.id.clone());
        let forced = self.options.force_leave.contains(&host.name);
        let certificate = seen.report.identity.known();
        let was_manager =
            certificate.is_some_and(|c| c.role == Role::Manager) || seen.report.engine.as_ref().is_ok_and(|e| e.swarm.control_available);
        let force_if = |yes: bool| if yes { Force::Yes } else { Force::No };
        let (force, node, because) = match &seen.state {
            HostState::Joining => (Force::No, None, "an earlier join, or a restart, has not found a manager".to_owned()),
            // One that cannot answer its leader was taken out by steps of this plan.
            HostState::Member { .. } => return self.taken_out(host),
            HostState::StaleMember { node } => {
                (force_if(was_manager), Some(node.clone()), "the managers removed it and do not know its node id any more".to_owned())
            }
            HostState::Broken { cluster, error, .. } => {
                if !forced && cluster.is_some() && *cluster != ours {
                    self.refusals.push(Refusal::ForeignSwarm {
                        host: host.name.clone(),
                        ours,
                        theirs: cluster.clone(),
                        role: certificate.map_or(Role::Worker, |c| c.role),
                        running: running(seen),
                    });
                    return Vec::new();
                }
                let node = broken_node(seen);
                let in_raft = node
                    .as_ref()
                    .filter(|id| self.observed.view().is_some_and(|v| v.nodes.iter().any(|n| n.id == **id && n.manager.is_some())))
                    .filter(|id| entry.is_none_or(|e| e.id != **id));
                if in_raft.is_some() {
                    self.refusals.push(Refusal::UnknownState {
                        host: host.name.clone(),
                        why: format!("its engine is in error ({error}) and it still counts as a manager"),
                    });
                    return Vec::new();
                }
                // An engine in error tells no node id (moby `daemon/cluster/swarm.go`, Info), so none can be compared when it leaves.
                let reported = seen.report.engine.as_ref().ok().and_then(|e| e.swarm.node.clone());
                (force_if(was_manager || forced), reported, format!("its engine is in error: {error}"))
            }
            HostState::ForeignSwarm { cluster, role: Role::Worker, running, managers } if !forced && ours.is_none() => {
                let (gone, managers) = gone_managers(self.spec, self.observed, managers);
                let (host, swarm) = (host.name.clone(), cluster.clone());
                self.refusals.push(Refusal::ManagersElsewhere { host, swarm, managers, gone, running: *running });
                return Vec::new();
            }
            HostState::ForeignSwarm { cluster, role, running, .. } => {
                if !forced {
                    self.refusals.push(Refusal::ForeignSwarm {
                        host: host.name.clone(),
                        ours,
                        theirs: cluster.clone(),
                        role: *role,
                        running: *running,
                    });
                    return Vec::new();
                }
                let node = seen.report.engine.as_ref().ok().and_then(|e| e.swarm.node.clone());
                (Force::Yes, node, format!("the operator gave leave to take {} out of its swarm", host.name))
            }
            _ => return Vec::new(),
        };
        let id = self.id(host, "leave");
        self.push(Step {
            id: id.clone(),
            host: Some(host.name.clone()),
            action: Action::Leave(step::Leave { force, node, leaderless: false }),
            before: seen.state.detail().unwrap_or_else(|| seen.state.word().into()),
            after: "in no swarm".into(),
            needs: Vec::new(),
            expect: None,
            because,
            risk: Risk::Host,
        });
        vec![id]
    }

    /// Labels, and an availability that was held back, for a node that this plan makes.
    pub(super) fn configure_new(&mut self, host: &HostSpec, after: &StepId, held: Option<Availability>) {
        let labels: BTreeMap<_, _> = host.labels.iter().filter(|(_, v)| v.is_some()).map(|(k, v)| (k.clone(), v.clone())).collect();
        if labels.is_empty() && held.is_none() {
            return;
        }
        self.configure(
            host,
            NodeChange { role: None, availability: held, labels },
            "a new node".into(),
            vec![after.clone()],
            "file: labels and availability of this host",
        );
    }

    pub(super) fn configure_member(&mut self, host: &HostSpec, node: &NodeFacts) {
        let wanted = NodeChange { role: None, availability: host.availability, labels: host.labels.clone() };
        let mut change = wanted.missing_on(node);
        let mut because = "the file says otherwise";
        // A join that was cut short between joining drained and getting its labels: one call sets both, so none is there yet.
        if host.availability.is_none()
            && node.availability == Availability::Drain
            && node.labels.is_empty()
            && change.labels.values().any(Option::is_some)
        {
            change.availability = Some(Availability::Active);
            because = "an earlier run joined it drained and did not get to its labels";
        }
        if change.is_empty() {
            return;
        }
        let mut before = Vec::new();
        if change.availability.is_some() {
            before.push(node.availability.to_string());
        }
        before.extend(change.labels.keys().map(|k| node.labels.get(k).map_or(format!("no {k}"), |v| format!("{k}={v}"))));
        self.configure(host, change, before.join(", "), Vec::new(), because);
    }

    pub(super) fn configure(&mut self, host: &HostSpec, change: NodeChange, before: String, needs: Vec<StepId>, because: &str) {
        let mut after: Vec<String> = change.availability.iter().map(ToString::to_string).collect();
        after.extend(change.labels.iter().map(|(k, v)| v.as_ref().map_or(format!("no {k}"), |v| format!("{k}={v}"))));
        let mut expect = Vec::new();
        if let Some(availability) = change.availability {
            expect.push(Condition::Availability(availability));
        }
        if !change.labels.is_empty() {
            expect.push(Condition::Labels(change.labels.clone()));
        }
        let risk = if matches!(change.availability, Some(Availability::Drain)) { Risk::Tasks } else { Risk::None };
        self.push(Step {
            id: self.id(host, "configure"),
            host: Some(host.name.clone()),
            action: Action::Configure(step::Configure { change }),
            before,
            after: after.join(", "),
            needs,
            expect: Some(Condition::All(expect)),
            because: because.into(),
            risk,
        });
    }

    /// How a host that is to be promoted enters again, where its engine cannot follow.
    pub(super) fn rejoin(&mut self, host: &HostSpec, seen: &ObservedHost, node: &NodeFacts) -> Option<Rejoin> {
        let advertise = match crate::addr::ip_of(&node.address) {
            Some(ip) if !ip.is_unspecified() && host.advertise.is_none() && self.resolve(host, seen).is_err() => ip,
            _ => self.address(host, seen)?,
        };
        let mut labels: BTreeMap<_, _> = node.labels.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect();
        for (key, value) in &host.labels {
            match value {
                Some(_) => labels.insert(key.clone(), value.clone()),
                None => labels.remove(key),
            };
        }
        let availability = Some(host.availability.unwrap_or(node.availability));
        let data_path = self.data_path(host, seen);
        Some(Rejoin { advertise, listen: host.listen.to_string(), data_path, node: NodeChange { role: None, availability, labels } })
    }

    /// One node has one change at a time: each is read, changed and written back under a version.
    pub(super) fn role_step(&mut self, host: &HostSpec, node: &NodeFacts, action: Action, mut needs: Vec<StepId>) -> StepId {
        let id = self.id(host, action.verb());
        let configure = self.id(host, "configure");
        needs.extend(self.has(&configure).then_some(configure));
        self.push(Step {
            id: id.clone(),
            host: Some(host.name.clone()),
            action,
            before: node.role.to_string(),
            after: host.role.to_string(),
            needs,
            expect: Some(Condition::Role(host.role)),
            because: if host.absent { "the file wants it in no swarm".into() } else { format!("the file wants a {}", host.role) },
            risk: Risk::Quorum,
        });
        id
    }
}

fn running(seen: &ObservedHost) -> u64 {
    seen.report.engine.as_ref().map_or(0, |e| e.running_containers)
}
