//! From what is wanted and what is there to a plan, or to the reasons why not. Synchronous, total, deterministic.

use super::doubts::rotation;
use super::raft::Raft;
use super::refusal::Refusal;
use super::{Action, Blocked, Envelope, PLAN_VERSION, Plan, PlanPurpose, Risk, Step, fingerprint, order};
use crate::addr::AddressSelector;
use crate::advice::Advice;
use crate::engine::SwarmChange;
use crate::id::{HostName, StepId};
use crate::observe::{ClusterView, Fact, HostState, NodeFacts, Observed, ObservedCluster, ObservedHost, cannot_answer, unsteady};
use crate::quorum;
use crate::spec::{ClusterSpec, HostSpec, NAME_LABEL, Role, SwarmSettings};
use crate::step::{self, Voters};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What the operator allows and leaves out.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// Hosts that may be taken out of another swarm.
    pub force_leave: BTreeSet<HostName>,
    /// Whether nodes that are down and that the file does not name are removed.
    pub prune: bool,
    /// Hosts to work on; `None` is all.
    pub limit: Option<BTreeSet<HostName>>,
    /// The manager that makes the swarm, where there is none, although other declared managers cannot be asked whether they are in one.
    pub init_on: Option<HostName>,
    /// The fingerprint of the unlock key that is stored already.
    pub stored_key: Option<String>,
    /// Why an unlock key could not be stored; `None` where it can.
    pub no_key_place: Option<String>,
}

/// A plan, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "one of it is there at a time")]
pub enum Planned {
    /// What to do; it may be nothing.
    Plan(Plan),
    /// Acting could hurt. All reasons, not the first.
    Refused(Vec<Refusal>),
}

/// Plans. The same input gives the same plan, and the order of hosts in the file changes nothing.
pub fn build(spec: &ClusterSpec, observed: &Observed, options: &PlanOptions) -> Planned {
    let mut builder = Builder { spec, observed, options, steps: Vec::new(), notes: Vec::new(), blocked: Vec::new(), refusals: Vec::new() };
    builder.refusals.extend(observed.contradictions.iter().map(|what| Refusal::Contradiction { what: what.clone() }));
    match &observed.cluster {
        ObservedCluster::None | ObservedCluster::Unknown { .. } => builder.bootstrap(),
        ObservedCluster::One { view, live } => builder.converge(view, live),
        other => builder.refusals.extend(super::refusal::of_cluster(spec, other)),
    }
    builder.finish()
}

pub(super) struct Builder<'a> {
    pub(super) spec: &'a ClusterSpec,
    pub(super) observed: &'a Observed,
    pub(super) options: &'a PlanOptions,
    pub(super) steps: Vec<Step>,
    pub(super) notes: Vec<String>,
    pub(super) blocked: Vec<Blocked>,
    pub(super) refusals: Vec<Refusal>,
}

impl<'a> Builder<'a> {
    fn finish(mut self) -> Planned {
        // One fact can stand in the way of two steps: it is reported once.
        let mut reported: Vec<Refusal> = Vec::new();
        for refusal in self.refusals.drain(..) {
            if !reported.contains(&refusal) {
                reported.push(refusal);
            }
        }
        if !reported.is_empty() {
            return Planned::Refused(reported);
        }
        self.tolerance();
        let basis = self.observed.basis();
        self.steps.extend(super::tokens::rotation(self.spec, self.observed, &self.steps));
        let steps = order::sort(self.steps);
        Planned::Plan(Plan {
            version: PLAN_VERSION,
            purpose: PlanPurpose::Converge,
            force_leave: self.options.force_leave.clone(),
            limit: self.options.limit.clone(),
            init_on: self.options.init_on.clone(),
            cluster: self.spec.name().to_owned(),
            swarm: self.observed.view().map(|v| v.cluster.id.clone()),
            fingerprint: fingerprint(self.spec, &basis).unwrap_or_default(),
            basis,
            envelope: Envelope::of(&steps),
            steps,
            notes: self.notes,
            blocked: self.blocked,
        })
    }

    /// What the managers survive before and after, where their number changes.
    fn tolerance(&mut self) {
        let nodes = self.observed.view().map_or(&[][..], |v| &v.nodes);
        let before = (nodes.iter().filter(|n| n.manager.is_some()).count(), nodes.iter().filter(|n| n.is_reachable_manager()).count());
        let (mut voters, mut reachable) = before;
        for step in &self.steps {
            match step.action.kind().voters() {
                Voters::Same => {}
                Voters::More => (voters, reachable) = (voters + 1, reachable + 1),
                Voters::Less => (voters, reachable) = (voters.saturating_sub(1), reachable.saturating_sub(1)),
                Voters::Lost => voters = voters.saturating_sub(1),
            }
        }
        if voters != before.0 {
            let was = if before.0 == 0 { "no manager".to_owned() } else { quorum::summary(before.0, before.1) };
            self.notes.insert(0, format!("{was} -> {}", quorum::summary(voters, reachable.min(voters))));
        }
    }

    fn chosen(&self, host: &HostName) -> bool {
        self.options.limit.as_ref().is_none_or(|limit| limit.contains(host))
    }

    pub(super) fn hosts(&self) -> Vec<(&'a HostSpec, &'a ObservedHost)> {
        self.spec.hosts().filter(|h| self.chosen(&h.name)).filter_map(|h| Some((h, self.observed.hosts.get(&h.name)?))).collect()
    }

    /// There is a swarm: bring every host to where the file wants it.
    fn converge(&mut self, view: &'a ClusterView, live: &[HostName]) {
        let mute = self.observed.hosts.values().filter_map(|seen| cannot_answer(self.observed, seen)).map(|n| &n.id).collect();
        let mut raft = Raft::of(view, &mute);
        if raft.healthy() < quorum::needed(raft.total()) {
            let managers = live.iter().map(|h| (h.clone(), quorum::summary(raft.total(), raft.healthy()))).collect();
            self.refusals.push(Refusal::NoLeader { managers, members: raft.total(), gone: Vec::new(), lost: false });
            return;
        }
        // There is a leader; on those that come and go no change of managers counts.
        raft = raft.unsteady(unsteady(self.observed));
        self.swarm_object(view, live);
        // A voter that is gone goes first: while it counts, every other change of managers is nearer to the edge.
        let mut chain = self.strangers(&mut raft);
        self.take_out_mute(&mut raft, &mut chain);
        let mut promotions: Vec<(&HostSpec, &NodeFacts)> = Vec::new();
        let mut demotions: Vec<(&HostSpec, &NodeFacts)> = Vec::new();
        for (host, seen) in self.hosts().into_iter().filter(|(h, _)| !h.absent) {
            match &seen.state {
                HostState::Member { .. } if cannot_answer(self.observed, seen).is_none() => {
                    let Some(node) = &seen.node else { continue };
                    match (node.role, host.role) {
                        (Role::Worker, Role::Manager) => promotions.push((host, node)),
                        (Role::Manager, Role::Worker) => demotions.push((host, node)),
                        _ => {}
                    }
                    self.configure_member(host, node);
                    self.note_address(host, seen, node);
                }
                // Why it is not taken out was said.
                HostState::Member { .. } if !self.has(&self.id(host, "leave")) => {}
                HostState::Member { .. }
                | HostState::Standalone
                | HostState::Joining
                | HostState::StaleMember { .. }
                | HostState::Broken { .. }
                | HostState::ForeignSwarm { .. } => {
                    if let Some(why) = rotation(view) {
                        self.blocked.push(Blocked { host: host.name.clone(), why });
                        continue;
                    }
                    if let HostState::ForeignSwarm { .. } = &seen.state
                        && !self.options.force_leave.contains(&host.name)
                    {
                        self.leave_first(host, seen, None);
                        continue;
                    }
                    let manager = host.role == Role::Manager;
                    let before = raft.clone();
                    let entry = self.dead_entry_of(host, seen, view, &mut raft);
                    if manager && !self.may_change(host, seen, &raft) {
                        // It stays in, with its vote.
                        raft = before;
                        continue;
                    }
                    let needs = if manager { chain.clone() } else { Vec::new() };
                    if let Some(join) = self.enter(host, seen, &needs, entry, true)
                        && manager
                    {
                        raft.grow();
                        chain = vec![join];
                    }
                }
                _ => self.block(host, &seen.state),
            }
        }
        for (host, node) in promotions {
            let Some(seen) = self.observed.hosts.get(&host.name) else { continue };
            // A promotion may have to go on as a join.
            if let Some(why) = rotation(view) {
                self.blocked.push(Blocked { host: host.name.clone(), why });
                continue;
            }
            if !self.may_change(host, seen, &raft) {
                continue;
            }
            let Some(rejoin) = self.rejoin(host, seen, node) else { continue };
            raft.grow();
            chain = vec![self.role_step(host, node, Action::Promote(step::Promote { rejoin }), chain)];
        }
        // A manager that is not healthy goes first: the others are changed only when it is gone. The leader goes last: each other order
        // costs one more election.
        demotions.sort_by_key(|(_, node)| (raft.is_healthy(&node.id), node.leads()));
        for (host, node) in demotions {
            let before = raft.clone();
            if !raft.shrink(&node.id) {
                self.refusals.push(raft.refusal(host, false));
                continue;
            }
            if before.is_healthy(&node.id) && self.waits_for_unhealthy(host, &before) {
                raft = before;
                continue;
            }
            chain = vec![self.role_step(host, node, Action::Demote, chain)];
        }
        self.absent(view, &mut raft, chain);
        if let Some(host) = live.first() {
            self.autolock(host, view.cluster.settings.autolock == Some(true), view.unlock_key.as_deref());
        }
    }

    pub(super) fn key_file(&self) -> Option<String> {
        self.spec.key_place().map(ToString::to_string)
    }

    /// The swarm object: what can change is changed, what is fixed at init is noted.
    fn swarm_object(&mut self, view: &ClusterView, live: &[HostName]) {
        let mut settings = view.cluster.lacks(self.spec.settings());
        // Locking has a step of its own, beside that of its key; unlocking is an option like any other.
        settings.autolock = settings.autolock.filter(|on| !on);
        let mut labels = BTreeMap::new();
        if view.cluster.labels.get(NAME_LABEL).map(String::as_str) != Some(self.spec.name()) {
            labels.insert(NAME_LABEL.to_owned(), self.spec.name().to_owned());
        }
        for key in self.spec.init().differing_from(&view.cluster.init) {
            self.notes.push(format!("swarm.{key} differs from the file and is immutable: it needs a new cluster"));
        }
        let change = SwarmChange { settings, labels, ..SwarmChange::default() };
        if change == SwarmChange::default() {
            return;
        }
        let Some(host) = live.first() else { return };
        let after = change.settings.entries();
        let mut before = view.cluster.settings.entries();
        before.retain(|(key, _)| after.iter().any(|(k, _)| k == key));
        let because = if change.labels.is_empty() { "the file says otherwise" } else { "the swarm does not carry the cluster's name yet" };
        self.push(Step {
            id: StepId::new("swarm/update"),
            host: Some(host.clone()),
            action: Action::UpdateSwarm(step::UpdateSwarm { change: change.clone() }),
            before: describe(&before, None),
            after: describe(&after, change.labels.get(NAME_LABEL)),
            needs: Vec::new(),
            expect: None,
            because: because.into(),
            risk: Risk::None,
        });
    }

    /// Locks the managers after every change of managers, then stores the key; or stores it again where the stored one is not the swarm's,
    /// also where someone else locked them.
    pub(super) fn autolock(&mut self, host: &HostName, on: bool, key: Option<&str>) {
        let wanted = self.spec.settings().autolock;
        let Some(place) = self.spec.key_place().filter(|_| wanted == Some(true) || (on && wanted.is_none())) else { return };
        let managers = |s: &&Step| s.action.kind().voters() != Voters::Same;
        let mut needs: Vec<StepId> = self.steps.iter().filter(managers).map(|s| s.id.clone()).collect();
        if on && key.is_some() && key == self.options.stored_key.as_deref() {
            return;
        }
        if let Some(why) = &self.options.no_key_place {
            self.refusals.push(Refusal::NoPlaceForKey { why: why.clone() });
            return;
        }
        if !on {
            let settings = SwarmSettings { autolock: Some(true), ..SwarmSettings::default() };
            let id = StepId::new("swarm/autolock");
            self.push(Step {
                id: id.clone(),
                host: Some(host.clone()),
                action: Action::UpdateSwarm(step::UpdateSwarm { change: SwarmChange { settings, ..SwarmChange::default() } }),
                before: "managers start by themselves".into(),
                after: "managers need the unlock key after a restart".into(),
                needs: std::mem::take(&mut needs),
                expect: None,
                because: "file: autolock is true".into(),
                risk: Risk::None,
            });
            needs = vec![id];
        } else {
            needs.clear();
        }
        self.push(Step {
            id: StepId::new("swarm/store-key"),
            host: Some(host.clone()),
            action: Action::StoreUnlockKey,
            before: if self.options.stored_key.is_some() { "another key is stored" } else { "the key is not stored" }.into(),
            after: format!("in {place}"),
            needs,
            expect: None,
            because: "without the key no manager comes back after a restart of all".into(),
            risk: Risk::None,
        });
    }

    fn note_address(&mut self, host: &HostSpec, seen: &ObservedHost, node: &NodeFacts) {
        if let Some((wanted, false)) = crate::observe::address_matches(host, &seen.report, node) {
            let at = node.manager.as_ref().map_or(node.address.as_str(), |m| m.address.as_str());
            self.notes.push(format!(
                "{} is known at {at}, and the file wants {wanted}: an address changes only by leaving and joining again",
                host.name
            ));
        }
    }

    pub(super) fn block(&mut self, host: &HostSpec, state: &HostState) {
        let mut why = state.in_full();
        if let HostState::Locked { .. } = state {
            let advice = Advice::Unlock { hosts: vec![host.name.clone()], key_file: self.key_file() };
            why = format!("{why}; {advice}");
        }
        self.blocked.push(Blocked { host: host.name.clone(), why });
    }

    pub(super) fn unfit(&mut self, host: &HostSpec, seen: &ObservedHost) {
        let Ok(engine) = &seen.report.engine else { return };
        let mut refuse = |why: &str| self.refusals.push(Refusal::Unfit { host: host.name.clone(), why: why.into() });
        if engine.live_restore {
            refuse(
                "its engine runs with live-restore, which excludes swarm mode; remove `\"live-restore\": true` from /etc/docker/daemon.json and restart the engine",
            );
        }
        if engine.rootless {
            refuse("its engine runs without root, which excludes swarm mode; install the engine as root");
        }
    }

    /// The address to advertise; a refusal where it cannot be settled.
    pub(super) fn address(&mut self, host: &HostSpec, seen: &ObservedHost) -> Option<IpAddr> {
        self.resolve(host, seen).map_err(|why| self.refusals.push(Refusal::Address { host: host.name.clone(), why })).ok()
    }

    pub(super) fn resolve(&self, host: &HostSpec, seen: &ObservedHost) -> Result<IpAddr, String> {
        let selector = host.advertise_selector().ok_or("no address to advertise is known")?;
        resolve_on(&selector, host.nat, seen)
    }

    pub(super) fn data_path(&mut self, host: &HostSpec, seen: &ObservedHost) -> Option<IpAddr> {
        let selector = host.data_path.as_ref()?;
        resolve_on(selector, host.nat, seen).map_err(|why| self.refusals.push(Refusal::Address { host: host.name.clone(), why })).ok()
    }

    pub(super) fn id(&self, host: &HostSpec, verb: &str) -> StepId {
        StepId::new(format!("{}/{verb}", host.name))
    }

    pub(super) fn has(&self, id: &StepId) -> bool {
        self.steps.iter().any(|s| s.id == *id)
    }

    pub(super) fn push(&mut self, step: Step) {
        self.steps.push(step);
    }
}

fn resolve_on(selector: &AddressSelector, nat: bool, seen: &ObservedHost) -> Result<IpAddr, String> {
    match (selector, &seen.report.machine) {
        (AddressSelector::Ip(ip), _) if nat => Ok(*ip),
        (AddressSelector::Ip(ip), Fact::Known(machine, _)) if machine.addresses.is_empty() => Ok(*ip),
        (selector, Fact::Known(machine, _)) => selector.resolve(&machine.addresses).map_err(|e| e.to_string()),
        (AddressSelector::Ip(ip), _) => Ok(*ip),
        (_, Fact::Unknown(why)) => Err(format!("its interfaces could not be read: {why}")),
        (_, Fact::NotAsked) => Err("its interfaces cannot be read over this connection; write an IP address".into()),
    }
}

/// Options as text.
fn describe(entries: &[(&'static str, String)], name: Option<&String>) -> String {
    let mut parts: Vec<String> = name.map(|n| format!("name={n}")).into_iter().collect();
    parts.extend(entries.iter().map(|(key, value)| format!("{key}={value}")));
    if parts.is_empty() { "unnamed".into() } else { parts.join(", ") }
}
