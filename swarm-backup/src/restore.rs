//! Putting a backup back: onto a host of the same address whose engine is in no swarm, while nothing else can speak for the swarm.

use crate::archive::{Archive, Manifest};
use crate::family::{Kept, STATE};
use base64::Engine as _;
use std::collections::BTreeSet;
use std::net::IpAddr;
use swarm_core::ClusterSpec;
use swarm_core::addr::{AddressSelector, ip_of};
use swarm_core::engine::Payloads;
use swarm_core::id::HostName;
use swarm_core::intent::{Intent, Next, SoFar, one_round};
use swarm_core::observe::{HostState, Observed, ObservedCluster, ObservedHost};
use swarm_core::plan::{Plan, Refusal, Risk, Target};
use swarm_core::secret::Secret;
use swarm_core::spec::{HostSpec, Role};
use swarm_core::verify::{Finding, FindingKind, Verdict};

/// The packed state of a backup, as the run sends it.
pub struct State(Secret);

impl State {
    /// Of a backup.
    pub fn of(archive: &Archive) -> Self {
        Self(Secret::new(base64::engine::general_purpose::STANDARD.encode(archive.state())))
    }
}

impl Payloads for State {
    fn payload(&self, name: &str) -> Result<Secret, String> {
        if name == STATE { Ok(self.0.clone()) } else { Err(format!("a backup has no payload {name}")) }
    }
}

/// To put a backup's state onto a host.
#[derive(Debug, Clone)]
pub struct Restore<'a> {
    /// The file.
    pub spec: &'a ClusterSpec,
    /// What the backup is of.
    pub manifest: &'a Manifest,
    /// The host.
    pub host: HostName,
    /// Hosts that are not reached and of which the operator says that they will not come back as what they were.
    pub fenced: BTreeSet<String>,
    /// What tells the unlock key that is kept from others.
    pub stored_key: Option<String>,
}

impl Restore<'_> {
    fn refusals(&self, observed: &Observed) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let swarm = |why: String| Refusal::Object { object: Target::Swarm, why };
        if self.manifest.cluster != self.spec.name() {
            refusals.push(swarm(format!("the backup is of cluster {}, and the file is of {}", self.manifest.cluster, self.spec.name())));
        }
        if !matches!(observed.cluster, ObservedCluster::None | ObservedCluster::Unknown { .. }) {
            refusals.push(swarm("hosts of the file are managers of a swarm: destroy it first, or have it as it is".into()));
        }
        for (name, seen) in &observed.hosts {
            let manages = self.spec.host(name).is_some_and(|h| h.role == Role::Manager);
            if *name != self.host
                && let Some(why) = self.may_speak(name, seen, manages)
            {
                refusals.push(Refusal::Unfit { host: name.clone(), why });
            }
        }
        // Managers that the file does not name may be there as well.
        let known = |ip: IpAddr| {
            self.spec.hosts().any(|h| observed.hosts.get(&h.name).is_some_and(|seen| address_of(h, seen) == Some(ip)))
                || self.fenced.contains(&ip.to_string())
        };
        for address in self.manifest.managers.iter().filter(|a| !ip_of(a).is_some_and(known) && !self.fenced.contains(*a)) {
            refusals.push(swarm(format!(
                "the manager at {address} is not in the file and may go on; stop it for good, then say so with --fenced {address}"
            )));
        }
        let Some((host, seen)) = self.spec.host(&self.host).zip(observed.hosts.get(&self.host)) else {
            refusals.push(Refusal::Unfit { host: self.host.clone(), why: "it is not in the file".into() });
            return refusals;
        };
        refusals.extend(self.unfit(host, seen).into_iter().map(|why| Refusal::Unfit { host: self.host.clone(), why }));
        refusals
    }

    /// Why another host may go on as a member of the swarm that the backup is of, or of another one that the file means.
    fn may_speak(&self, name: &HostName, seen: &ObservedHost, manages: bool) -> Option<String> {
        match &seen.state {
            HostState::Standalone => None,
            HostState::ForeignSwarm { role: Role::Worker, cluster, .. } if cluster.as_ref() == Some(&self.manifest.swarm) => None,
            HostState::Unreachable { why } | HostState::EngineDown { why } | HostState::NoEngine { why } if manages => {
                let said = self.fenced.contains(name.as_str());
                (!said).then(|| format!("it may come back as a manager ({why}); stop it for good, then say so with --fenced {name}"))
            }
            state if manages => Some(format!("it is {}, and may speak for a swarm; take it out of it first", state.word())),
            _ => None,
        }
    }

    fn unfit(&self, host: &HostSpec, seen: &ObservedHost) -> Vec<String> {
        let mut why = Vec::new();
        let manifest = self.manifest;
        if host.role != Role::Manager {
            why.push("the file has it as a worker, and a backup makes a manager".into());
        }
        if seen.state != HostState::Standalone {
            why.push(format!("it is {}: a backup is put onto an engine that is in no swarm", seen.state.word()));
        }
        let wanted = ip_of(&manifest.address);
        match (wanted, address_of(host, seen)) {
            (Some(wanted), Some(is)) if wanted == is => {}
            (wanted, is) => {
                let show = |ip: Option<IpAddr>| ip.map_or("not known".to_owned(), |ip| ip.to_string());
                why.push(format!(
                    "its address is {}, and the manager of the backup had {}: workers and the other managers look for it there",
                    show(is),
                    show(wanted)
                ));
            }
        }
        if let Ok(engine) = &seen.report.engine
            && version(&engine.version) < version(&manifest.engine)
        {
            why.push(format!(
                "its engine is {}, older than that of the backup ({}): it may not read the state",
                engine.version, manifest.engine
            ));
        }
        if let Some(key) = &manifest.unlock_key {
            if self.stored_key.as_ref() != Some(key) {
                why.push("the backup is locked, and the key that opens it is not the one that is kept".into());
            }
            if manifest.managers.len() > 1 {
                // Measured on engine 20.10: it answers that it is locked, and stays out of its swarm until it is restarted.
                why.push(
                    "the backup is locked and of several managers, and an engine does not make a new cluster from a locked state".into(),
                );
            }
        }
        why
    }

    fn plan(&self, observed: &Observed) -> Result<Plan, Vec<Refusal>> {
        let refusals = self.refusals(observed);
        if !refusals.is_empty() {
            return Err(refusals);
        }
        let root = observed.hosts.get(&self.host).and_then(|h| h.report.engine.as_ref().ok()).map(|e| e.data_root.clone());
        let place = Kept::Place { host: self.host.clone(), data_root: root.unwrap_or_default() };
        let manifest = self.manifest;
        let step = place.work().step(
            "in no swarm",
            format!("manager of swarm {}, as {} had it", manifest.swarm, manifest.host),
            format!("the backup of {}", manifest.taken),
            Risk::Host,
        );
        let names = &manifest.names;
        let notes = vec![
            format!(
                "the backup has {} nodes, {} services, {} secrets, {} configs",
                names.nodes.len(),
                names.services.len(),
                names.secrets.len(),
                names.configs.len()
            ),
            format!("what the swarm agreed on after {} is lost", manifest.taken),
        ];
        Ok(Plan::of_work(self.spec, observed, vec![step], notes))
    }
}

/// The address that a host advertises, as the file or its interfaces say.
fn address_of(host: &HostSpec, seen: &ObservedHost) -> Option<IpAddr> {
    match (host.advertise_selector()?, seen.report.machine.known()) {
        (AddressSelector::Ip(ip), _) => Some(ip),
        (selector, Some(machine)) => selector.resolve(&machine.addresses).ok(),
        _ => None,
    }
}

/// The first two numbers of an engine's version.
fn version(text: &str) -> (u32, u32) {
    let mut numbers = text.split('.').map(|part| part.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

impl Intent for Restore<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        one_round(self.spec, observed, so_far, || self.plan(observed))
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        let seen = observed.hosts.get(&self.host);
        let is = seen.and_then(|h| h.report.engine.as_ref().ok()).and_then(|e| e.swarm.node.clone());
        let locked = seen.is_some_and(|h| matches!(h.state, HostState::Locked { .. }));
        let mut findings = Vec::new();
        if is.as_ref() != Some(&self.manifest.node) && !locked {
            let message = format!("its engine is not node {} of the backup", self.manifest.node);
            findings.push(Finding { host: Some(self.host.clone()), kind: FindingKind::NotMember, message });
        }
        Verdict::of(findings, Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_compare_by_number() {
        assert!(version("9.1") < version("20.10.24+dfsg1") && version("20.10.5") == version("20.10.24"));
        assert!(version("28.5.2") > version("26.1.5") && version("dev") == (0, 0));
    }
}
