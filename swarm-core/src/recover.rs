//! A swarm whose quorum is lost for good goes on with one manager. Everything that only the others knew is lost, so every other manager is
//! fenced first: it left, it is in no swarm, its engine is seen to be stopped and kept so, or the operator says of it by name that it will not
//! come back as what it was.

use crate::addr::{AddressSelector, ip_of};
use crate::condition::Condition;
use crate::engine::Force;
use crate::id::{HostName, StepId};
use crate::intent::{Intent, Next, SoFar, waits};
use crate::observe::{HostState, Observed, ObservedCluster, ObservedHost};
use crate::plan::{Action, Plan, PlanPurpose, Refusal, Risk, Step, Target};
use crate::spec::{ClusterSpec, HostSpec, Role};
use crate::step;
use crate::verify::{Finding, FindingKind, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// To make one manager the only one.
#[derive(Debug, Clone)]
pub struct Recover<'a> {
    /// The file.
    pub spec: &'a ClusterSpec,
    /// The manager that is kept.
    pub host: HostName,
    /// Managers of which the operator says that they will not come back as what they were: hosts of the file, or addresses of others.
    pub fenced: BTreeSet<String>,
    /// Managers whose hosts are reached and whose engines do not answer, as was seen there: how they are kept down, or why they are not.
    pub seen: BTreeMap<HostName, Result<Fenced, String>>,
}

/// A manager whose engine is seen to be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fenced {
    /// What keeps it from coming back, for people.
    pub what: String,
    /// Sees to that, right before another manager becomes the only one.
    pub step: Step,
}

/// How another manager is kept from speaking for the swarm.
enum Fence {
    /// It is in no swarm, or in another one.
    Out,
    /// It is reached, and leaves.
    Leaves,
    /// Its host says so.
    Seen(Box<Fenced>),
    /// The operator says so.
    Said,
    /// It is not, and why.
    Open(String),
}

impl Recover<'_> {
    fn fence(&self, observed: &Observed, name: &HostName, seen: &ObservedHost) -> Fence {
        let ours = match &observed.cluster {
            ObservedCluster::NoLeader { swarm, .. } => swarm.as_ref(),
            _ => None,
        };
        match &seen.state {
            HostState::Standalone => Fence::Out,
            // While no manager answers, members of this swarm are among those whose swarm is another than the file's as far as is known.
            HostState::ForeignSwarm { cluster: Some(theirs), role, .. } if ours.is_some() => match role {
                Role::Manager if Some(theirs) == ours => Fence::Leaves,
                _ => Fence::Out,
            },
            HostState::ForeignSwarm { .. } => Fence::Open("nothing proves that the swarm it is in is another one".into()),
            HostState::Unreachable { why } | HostState::NoEngine { why } | HostState::EngineDown { why } => match self.seen.get(name) {
                _ if self.fenced.contains(name.as_str()) => Fence::Said,
                Some(Ok(fenced)) => Fence::Seen(Box::new(fenced.clone())),
                Some(Err(reason)) => Fence::Open(reason.clone()),
                None => Fence::Open(format!("{}: {why}", seen.state.word())),
            },
            _ => Fence::Leaves,
        }
    }

    /// The managers of the swarm besides the one that is kept: hosts of the file, and addresses of those that are not in it.
    fn others(&self, observed: &Observed) -> (Vec<HostName>, Vec<String>) {
        let mut hosts: BTreeSet<HostName> = self.spec.managers().map(|m| m.name.clone()).collect();
        let mut strangers = Vec::new();
        let remotes = observed.hosts.get(&self.host).and_then(|h| h.report.engine.as_ref().ok()).map_or(&[][..], |e| &e.swarm.remotes);
        for remote in remotes {
            let ip = ip_of(&remote.address);
            match self.spec.hosts().find(|h| ip.is_some() && self.address_of(observed, h) == ip) {
                Some(host) => {
                    hosts.insert(host.name.clone());
                }
                None => strangers.push(remote.address.clone()),
            }
        }
        hosts.remove(&self.host);
        (hosts.into_iter().collect(), strangers)
    }

    /// The address that a host is known at.
    fn address_of(&self, observed: &Observed, host: &HostSpec) -> Option<IpAddr> {
        let said = observed.hosts.get(&host.name).and_then(|h| h.report.engine.as_ref().ok()).and_then(|e| e.swarm.address.as_deref());
        said.and_then(ip_of).or(match host.advertise_selector() {
            Some(AddressSelector::Ip(ip)) => Some(ip),
            _ => None,
        })
    }

    /// Why it is not done, whoever is fenced.
    fn unfit(&self, observed: &Observed) -> Vec<Refusal> {
        let swarm = |why: String| Refusal::Object { object: Target::Swarm, why };
        let host = |why: String| Refusal::Unfit { host: self.host.clone(), why };
        match &observed.cluster {
            ObservedCluster::NoLeader { managers, .. } if managers.iter().any(|(name, _)| *name == self.host) => {
                if self.spec.settings().autolock == Some(true) {
                    // Measured on engine 20.10: it answers that it is locked, and stays out of its swarm until it is restarted.
                    return vec![host(
                        "its managers are locked by a key, and an engine does not make a new cluster from a locked state".into(),
                    )];
                }
                Vec::new()
            }
            ObservedCluster::NoLeader { managers, .. } => {
                let these: Vec<&str> = managers.iter().map(|(name, _)| name.as_str()).collect();
                vec![host(format!("it is no manager of the swarm that answers; those are {}", these.join(", ")))]
            }
            ObservedCluster::One { .. } | ObservedCluster::OtherName { .. } => {
                vec![swarm("it has a leader and a quorum: there is nothing to recover".into())]
            }
            ObservedCluster::Several { .. } => vec![swarm("hosts of the file lead several swarms".into())],
            ObservedCluster::None => vec![Refusal::NoSwarm],
            ObservedCluster::Unknown { .. } => vec![host("it does not answer as a manager that hears no leader".into())],
        }
    }

    fn plan(&self, observed: &Observed) -> Result<Plan, Vec<Refusal>> {
        let mut refusals = self.unfit(observed);
        if !refusals.is_empty() {
            return Err(refusals);
        }
        let (hosts, strangers) = self.others(observed);
        let (mut steps, mut notes): (Vec<Step>, Vec<String>) = (Vec::new(), Vec::new());
        for name in hosts {
            let Some(seen) = observed.hosts.get(&name) else { continue };
            match self.fence(observed, &name, seen) {
                Fence::Out => notes.push(format!("{name} is in no swarm that could be this one")),
                Fence::Seen(fenced) => {
                    notes.push(format!("{name}: {}", fenced.what));
                    steps.push(fenced.step);
                }
                Fence::Said => notes.push(format!("{name} is not reached; you say that it will not come back as what it was")),
                Fence::Open(why) => refusals.push(Refusal::Unfit {
                    host: name.clone(),
                    why: match seen.report.engine {
                        Ok(_) => format!("it may be a manager of this swarm ({why}); take it out of its swarm first"),
                        Err(_) => format!(
                            "it may come back as a manager of this swarm ({why}); stop it for good, then say so with --fenced {name}"
                        ),
                    },
                }),
                Fence::Leaves => steps.push(Step {
                    id: StepId::new(format!("{name}/leave")),
                    host: Some(name.clone()),
                    action: Action::Leave(step::Leave {
                        force: Force::Yes,
                        node: seen.report.engine.as_ref().ok().and_then(|e| e.swarm.node.clone()),
                        leaderless: false,
                    }),
                    before: "a manager without a leader".into(),
                    after: "in no swarm".into(),
                    needs: Vec::new(),
                    expect: None,
                    because: "two managers must not go on apart: this one gives up what it knows".into(),
                    risk: Risk::Host,
                }),
            }
        }
        for address in strangers {
            if self.fenced.contains(&address) || ip_of(&address).is_some_and(|ip| self.fenced.contains(&ip.to_string())) {
                notes.push(format!("the manager at {address} is not in the file; you say that it will not come back as what it was"));
            } else {
                let why = format!(
                    "the manager at {address} is not in the file and may come back; stop it for good, then say so with --fenced {address}"
                );
                refusals.push(Refusal::Object { object: Target::Swarm, why });
            }
        }
        let host = self.spec.host(&self.host);
        let Some((host, advertise)) = host.and_then(|h| Some((h, self.address_of(observed, h)?))) else {
            refusals.push(Refusal::Unfit { host: self.host.clone(), why: "the address that it advertises is not known".into() });
            return Err(refusals);
        };
        if !refusals.is_empty() {
            return Err(refusals);
        }
        notes.push(format!("what the swarm agreed on after {} last heard a leader is lost; tasks that run go on", self.host));
        let needs = steps.iter().map(|s| s.id.clone()).collect();
        steps.push(Step {
            id: StepId::new(format!("{}/recover", self.host)),
            host: Some(self.host.clone()),
            action: Action::Recover(step::Recover { advertise, listen: host.listen.to_string() }),
            before: "a manager without a leader".into(),
            after: "the only manager, with the swarm as it knows it".into(),
            needs,
            expect: Some(Condition::Role(Role::Manager)),
            because: "the quorum is lost for good".into(),
            risk: Risk::Quorum,
        });
        let mut plan = Plan::of_work(self.spec, observed, steps, notes);
        plan.purpose = PlanPurpose::Recover;
        Ok(plan)
    }

    fn leads(&self, observed: &Observed) -> bool {
        let seen = observed.hosts.get(&self.host).and_then(|h| h.node.as_ref());
        seen.is_some_and(|n| n.leads())
    }
}

impl Intent for Recover<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        if let Some(waiting) = waits(self.spec, observed, so_far) {
            return waiting;
        }
        if so_far.rounds > 0 && self.leads(observed) {
            return Next::Done(Plan::of_work(self.spec, observed, Vec::new(), Vec::new()));
        }
        match self.plan(observed) {
            Ok(plan) => Next::Round(plan),
            Err(refusals) => Next::Refused(refusals),
        }
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        let mut findings = Vec::new();
        if !self.leads(observed) {
            let message = "it does not lead the swarm".into();
            findings.push(Finding { host: Some(self.host.clone()), kind: FindingKind::Quorum, message });
        }
        let nodes = observed.view().map_or(0, |v| v.nodes.len());
        let services = observed.view().map_or(0, |v| v.services);
        let many = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        Verdict::of(findings, vec![format!("what is known: {}, {}", many(nodes, "node"), many(services, "service"))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ClusterId;
    use crate::observe::merge;
    use crate::testkit::{Is, spec, world};

    /// While no manager answers, a member of this swarm may be classified as one of another: it is a fence only if it is another.
    #[test]
    fn a_manager_of_this_swarm_is_no_fence_whatever_it_is_called() {
        let file = spec(&["m1", "m2"]);
        let mut observed = merge(&file, &world(&[("m1", Is::Manager), ("m2", Is::Alone)]), &BTreeSet::new());
        let managers = vec![(HostName::new("m1"), "no leader".to_owned())];
        observed.cluster = ObservedCluster::NoLeader { managers, swarm: Some(ClusterId::new("ours")), members: 2, gone: Vec::new() };
        let recover = Recover { spec: &file, host: "m1".into(), fenced: BTreeSet::new(), seen: BTreeMap::new() };
        let in_swarm = |observed: &Observed, cluster: Option<&str>, role: Role| {
            let mut observed = observed.clone();
            let cluster = cluster.map(ClusterId::new);
            observed.hosts.get_mut(&HostName::new("m2")).unwrap().state =
                HostState::ForeignSwarm { cluster, role, running: 0, managers: Vec::new() };
            let planned = recover.plan(&observed);
            if let Ok(plan) = &planned {
                assert_eq!(crate::plan::lint(plan, &file, &observed, &BTreeSet::new()), Vec::new());
            }
            planned.map(|plan| plan.steps.iter().map(|s| s.id.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(in_swarm(&observed, Some("ours"), Role::Manager).unwrap(), ["m2/leave", "m1/recover"]);
        assert_eq!(in_swarm(&observed, Some("ours"), Role::Worker).unwrap(), ["m1/recover"]);
        assert_eq!(in_swarm(&observed, Some("theirs"), Role::Manager).unwrap(), ["m1/recover"]);
        let unknown = format!("{:?}", in_swarm(&observed, None, Role::Manager).unwrap_err());
        assert!(unknown.contains("nothing proves"), "{unknown}");
    }
}
