//! Taking a backup: which manager, whether the others can do without it, and what there is to write down.

use crate::archive::{Manifest, Names};
use crate::family::Kept;
use crate::scripts;
use std::collections::{BTreeMap, BTreeSet};
use swarm_core::ClusterSpec;
use swarm_core::engine::{Kind, Query};
use swarm_core::fleet::Fleet;
use swarm_core::host::Command;
use swarm_core::id::{HostName, StepId};
use swarm_core::intent::{Intent, Next, SoFar, not_now, one_round};
use swarm_core::observe::{ClusterView, Fact, HostState, NodeFacts, NodeState, Observed, ObservedHost};
use swarm_core::plan::{Action, Plan, Refusal, Risk, Step, Target};
use swarm_core::quorum;
use swarm_core::verify::{Finding, FindingKind, Verdict};

/// Where engines keep their data if nothing else is known.
const DATA_ROOT: &str = "/var/lib/docker";
/// How large a packed state may be.
const LIMIT: usize = 2 << 30;

/// To copy the state of one manager.
#[derive(Debug, Clone)]
pub struct Backup<'a> {
    /// The file.
    pub spec: &'a ClusterSpec,
    /// The manager to take it from. Without one, a manager is chosen that does not lead ([`Backup::source`]), and whether it answers again is
    /// said by its step alone.
    pub from: Option<HostName>,
    /// Whether managers may be without a quorum while it is taken.
    pub accept_downtime: bool,
    /// What tells the unlock key that is kept from others.
    pub stored_key: Option<String>,
}

/// The managers while one of them is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    /// How many there are.
    pub managers: usize,
    /// How many of them are reached.
    pub reachable: usize,
    /// How many of those are left.
    pub left: usize,
    /// How many are needed.
    pub needed: usize,
}

impl Quorum {
    /// Without one manager.
    pub fn without(view: &ClusterView, node: &NodeFacts) -> Self {
        let managers: Vec<&NodeFacts> = view.nodes.iter().filter(|n| n.manager.is_some()).collect();
        let there = |n: &&&NodeFacts| n.is_reachable_manager() && n.state != NodeState::Down;
        let reachable = managers.iter().filter(there).count();
        let left = managers.iter().filter(there).filter(|n| n.id != node.id).count();
        Self { managers: managers.len(), reachable, left, needed: quorum::needed(managers.len()) }
    }

    /// Whether the others can do without it.
    pub fn holds(self) -> bool {
        self.left >= self.needed
    }
}

impl std::fmt::Display for Quorum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} managers, {} reachable; {} of them are left, and {} are needed",
            self.managers, self.reachable, self.left, self.needed
        )
    }
}

/// A manager whose engine may be stopped: its host's name, what was seen of it, its node.
pub type Spared<'o> = (&'o HostName, &'o ObservedHost, &'o NodeFacts);

/// The manager that is asked for, or one that answers, is healthy, and does not lead.
pub(crate) fn spared<'o>(observed: &'o Observed, asked: Option<&HostName>) -> Result<Spared<'o>, Refusal> {
    let answers = |h: &ObservedHost| matches!(h.state, HostState::Member { .. }) && h.report.view.is_known();
    let managers = observed.hosts.iter().filter_map(|(name, host)| {
        let node = host.node.as_ref().filter(|n| answers(host) && n.is_reachable_manager())?;
        Some((name, host, node))
    });
    let leads = |n: &NodeFacts| n.leads();
    match asked {
        Some(from) => managers.into_iter().find(|(name, ..)| *name == from).ok_or_else(|| Refusal::Unfit {
            host: from.clone(),
            why: "it is no manager of the swarm that answers, and only those have its state".into(),
        }),
        None => managers
            .into_iter()
            .min_by_key(|(_, host, node)| (leads(node), host.report.engine.as_ref().map_or(0, |e| e.running_containers)))
            .ok_or_else(|| Refusal::Object { object: Target::Swarm, why: "no manager answers for it".into() }),
    }
}

/// The step after a restart that leaves a manager locked.
pub(crate) fn unlock(host: &HostName, after: &StepId) -> Step {
    Step {
        id: StepId::new(format!("{host}/unlock")),
        host: Some(host.clone()),
        action: Action::Unlock,
        before: "locked".into(),
        after: "a manager that answers".into(),
        needs: vec![after.clone()],
        expect: None,
        because: "its engine waits for the unlock key after every start".into(),
        risk: Risk::None,
    }
}

impl Backup<'_> {
    /// The manager that is copied: the one that is asked for, or one that answers, is healthy, and does not lead.
    ///
    /// # Errors
    /// There is none.
    pub fn source<'o>(&self, observed: &'o Observed) -> Result<Spared<'o>, Refusal> {
        spared(observed, self.from.as_ref())
    }

    fn plan(&self, observed: &Observed) -> Result<Plan, Vec<Refusal>> {
        let Some(view) = observed.view() else { return Err(vec![Refusal::NoSwarm]) };
        let (host, seen, node) = self.source(observed).map_err(|refusal| vec![refusal])?;
        let mut refusals = Vec::new();
        let unfit = |why: String| Refusal::Unfit { host: host.clone(), why };
        let quorum = Quorum::without(view, node);
        if !quorum.holds() && !self.accept_downtime {
            refusals.push(unfit(format!("its engine is stopped for a backup, and the swarm would be without a quorum for that time: {quorum}; --accept-downtime allows that")));
        }
        if view.cluster.settings.autolock == Some(true) && (self.stored_key.is_none() || self.stored_key != view.unlock_key) {
            refusals
                .push(unfit("managers are locked, and the key that opens its state is not kept: a backup could never be opened".into()));
        }
        if view.cluster.root_rotation_in_progress {
            refusals.push(unfit("the swarm's root certificate is being replaced: what is copied now would have half of each".into()));
        }
        let Ok(engine) = &seen.report.engine else {
            return Err(vec![unfit("its engine does not answer".into())]);
        };
        if !refusals.is_empty() {
            return Err(refusals);
        }
        let mut notes = vec![if quorum.holds() {
            format!("while {host} is stopped: {quorum}")
        } else {
            format!("while {host} is stopped the swarm has no quorum: {quorum}; tasks elsewhere go on, and nothing can be changed")
        }];
        if engine.running_containers > 0 {
            notes.push(format!(
                "{} containers on {host} end with its engine; tasks are started again there or elsewhere",
                engine.running_containers
            ));
        }
        if node.leads() && quorum.managers > 1 {
            notes.push(format!("{host} leads the swarm: another manager takes over"));
        }
        notes.push("whoever has a backup has the swarm's secrets and the keys of its certificate authority".into());
        let locked = view.cluster.settings.autolock == Some(true);
        let copy = Kept::Copy { host: host.clone(), node: (!locked).then(|| node.id.clone()), data_root: engine.data_root.clone() };
        let step = copy.work().step(
            "its engine runs",
            "its state is copied, and its engine runs",
            "the log of a running engine cannot be copied",
            Risk::Quorum,
        );
        let unlock = locked.then(|| unlock(host, &step.id));
        let steps = [Some(step), unlock].into_iter().flatten().collect();
        Ok(Plan::of_work(self.spec, observed, steps, notes))
    }

    /// What the backup is of, and where the packed copy is, from a look that was made before. The time is RFC 3339.
    pub fn manifest(&self, observed: &Observed, plan: &Plan, taken: String) -> Option<Manifest> {
        let view = observed.view()?;
        let host = plan.steps.first()?.host.clone()?;
        let seen = observed.hosts.get(&host)?;
        let engine = seen.report.engine.as_ref().ok()?;
        let node = seen.node.as_ref()?;
        let names = |kind| match observed.objects_of(&Query::all(kind)) {
            Fact::Known(objects, _) => Names::of(objects),
            Fact::Unknown(_) | Fact::NotAsked => Vec::new(),
        };
        let mut nodes: Vec<String> = view.nodes.iter().map(|n| n.hostname.clone()).collect();
        nodes.sort();
        Some(Manifest {
            format: 0,
            taken,
            cluster: view.cluster.labels.get(swarm_core::spec::NAME_LABEL).cloned().unwrap_or_default(),
            swarm: view.cluster.id.clone(),
            host,
            node: node.id.clone(),
            hostname: node.hostname.clone(),
            address: node.manager.as_ref().map_or(node.address.clone(), |m| m.address.clone()),
            engine: engine.version.clone(),
            managers: view.nodes.iter().filter_map(|n| n.manager.as_ref()).map(|m| m.address.clone()).collect(),
            unlock_key: view.unlock_key.clone(),
            names: Names {
                nodes,
                services: names(Kind::Service),
                networks: names(Kind::Network),
                secrets: names(Kind::Secret),
                configs: names(Kind::Config),
            },
            files: BTreeMap::new(),
            state: String::new(),
        })
    }
}

impl Intent for Backup<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        match not_now(self.spec, observed, so_far).filter(|_| so_far.rounds == 0) {
            Some(next) => next,
            None => one_round(self.spec, observed, so_far, || self.plan(observed)),
        }
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        let silent = |name: &HostName| observed.hosts.get(name).filter(|h| !h.report.view.is_known());
        let finding = self.from.as_ref().and_then(|name| {
            let host = silent(name)?;
            let detail = host.state.detail().map_or(String::new(), |d| format!(": {d}"));
            let message = format!("it is {}{detail}, and does not answer as a manager", host.state.word());
            Some(Finding { host: Some(name.clone()), kind: FindingKind::Quorum, message })
        });
        Verdict::of(finding.into_iter().collect(), Vec::new())
    }

    fn wants(&self) -> Vec<Query> {
        [Kind::Service, Kind::Network, Kind::Secret, Kind::Config].map(Query::all).into()
    }
}

/// To start engines that a backup stopped and did not start again.
#[derive(Debug, Clone)]
pub struct Resume<'a> {
    /// The file.
    pub spec: &'a ClusterSpec,
    /// The hosts.
    pub hosts: BTreeSet<HostName>,
}

impl Intent for Resume<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        let step = |host: &HostName| {
            let start = Kept::Start { host: host.clone(), data_root: DATA_ROOT.into() };
            start.work().step("a backup stopped its engine", "its engine runs", "a backup was cut off", Risk::None)
        };
        let plan = || Ok(Plan::of_work(self.spec, observed, self.hosts.iter().map(step).collect(), Vec::new()));
        one_round(self.spec, observed, so_far, plan)
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        let down = |name: &&HostName| observed.hosts.get(*name).is_some_and(|h| h.report.engine.is_err());
        let finding = |name: &HostName| Finding {
            host: Some(name.clone()),
            kind: FindingKind::Unreachable,
            message: "its engine does not answer".into(),
        };
        Verdict::of(self.hosts.iter().filter(down).map(finding).collect(), Vec::new())
    }
}

/// The hosts whose engine a backup stopped and did not start again. Their files are looked at; nothing is changed.
pub async fn interrupted(spec: &ClusterSpec, fleet: &dyn Fleet, observed: &Observed) -> BTreeSet<HostName> {
    let mut found = BTreeSet::new();
    for (name, seen) in &observed.hosts {
        let (HostState::EngineDown { .. } | HostState::NoEngine { .. }, Some(host)) = (&seen.state, spec.host(name)) else { continue };
        if let Ok(machine) = fleet.machine_reader(host).await
            && machine.read_file(&scripts::marker(DATA_ROOT), 64).await.is_ok()
        {
            found.insert(name.clone());
        }
    }
    found
}

/// Takes the packed copy off its host, and removes it there.
///
/// # Errors
/// It could not be read; then it is still there, for whoever is root on the host.
pub async fn fetch(spec: &ClusterSpec, fleet: &dyn Fleet, name: &HostName, observed: &Observed) -> Result<Vec<u8>, String> {
    let root = observed.hosts.get(name).and_then(|h| h.report.engine.as_ref().ok()).map_or(DATA_ROOT, |e| e.data_root.as_str());
    let host = spec.host(name).ok_or("it is not in the file")?;
    let machine = fleet.machine(host).await.map_err(|e| e.message)?;
    let path = scripts::packed(root);
    let state = machine.read_file(&path, LIMIT).await.map_err(|e| format!("{path} on {name}: {e}"))?;
    let clear = Command { elevated: true, ..Command::new(scripts::clear(root)) };
    let cleared = machine.run(&clear).await.map_err(|e| e.to_string())?;
    if cleared.status == Some(0) { Ok(state) } else { Err(format!("{path} on {name} could not be removed: remove it by hand")) }
}
