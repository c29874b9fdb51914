//! Random sequences of calls and faults, carried out on real engines and in the simulator, and compared side by side.
//!
//! Which manager leads after an election is chance, so a step names whom it strikes by part (the leader, a follower, a worker, one
//! outside), and what is compared does not name hosts: per host its state and the answer to its call, per manager what it lists.

use crate::conformance::beds::{Real, Simulated};
use crate::conformance::{Bed, init_request, join_request};
use crate::lab::TestLab;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;
use swarm_core::engine::{EngineError, Force, NodeChange};
use swarm_core::observe::{LocalState, NodeFacts};
use swarm_core::spec::Role;
use tokio::time::{Instant, sleep, timeout};

/// The hosts of a sequence.
pub const HOSTS: [&str; 4] = ["m1", "m2", "m3", "m4"];
/// Nothing changed for so long: it is quiet.
const QUIET: Duration = Duration::from_secs(3);
/// The longest that quiet is waited for.
const PATIENCE: Duration = Duration::from_secs(45);

/// Whom a step strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The manager that leads.
    Leader,
    /// A manager that does not.
    Follower,
    /// A worker.
    Worker,
    /// A host in no swarm.
    Outside,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the call or fault of that name")]
pub enum Deed {
    Init,
    Join(Role),
    Leave(Part, Force),
    Promote,
    Demote(Part),
    Remove(Part),
    Kill(Part),
    StartAll,
    Restart(Part),
    Freeze(Part),
    ThawAll,
}

/// The sequence of a seed.
pub fn sequence(seed: u64) -> Vec<Deed> {
    let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let parts = [Part::Leader, Part::Follower, Part::Worker];
    let mut deeds = vec![Deed::Init, Deed::Join(if rng.bool() { Role::Manager } else { Role::Worker }), Deed::Join(Role::Manager)];
    for _ in 0..rng.usize(2..5) {
        let part = parts[rng.usize(0..3)];
        deeds.push(match rng.usize(0..13) {
            0 | 1 => Deed::Join(Role::Worker),
            2 => Deed::Join(Role::Manager),
            3 => Deed::Leave(part, Force::No),
            4 => Deed::Leave(part, Force::Yes),
            5 => Deed::Promote,
            6 => Deed::Demote(part),
            7 => Deed::Remove(part),
            8 => Deed::Kill(part),
            9 => Deed::StartAll,
            10 => Deed::Restart(part),
            11 => Deed::Freeze(part),
            _ => Deed::ThawAll,
        });
    }
    deeds
}

/// What is compared after each step.
pub type Seen = Vec<String>;

/// A bed with what is known of its hosts.
pub struct Run<'a> {
    bed: &'a dyn Bed,
    off: Vec<&'static str>,
    frozen: Vec<&'static str>,
}

/// One host, as it answers now.
struct Look {
    state: String,
    nodes: Option<Vec<NodeFacts>>,
    id: Option<String>,
    manages: bool,
}

impl<'a> Run<'a> {
    /// A run on a bed whose hosts are in no swarm.
    pub fn new(bed: &'a dyn Bed) -> Self {
        Self { bed, off: Vec::new(), frozen: Vec::new() }
    }

    async fn look(&self, host: &'static str) -> Look {
        let silent = |state: &str| Look { state: state.into(), nodes: None, id: None, manages: false };
        if self.off.contains(&host) {
            return silent("off");
        }
        if self.frozen.contains(&host) {
            return silent("frozen");
        }
        let engine = self.bed.engine(host).await;
        let Ok(Ok(facts)) = timeout(Duration::from_secs(25), engine.info()).await else { return silent("no answer") };
        let manages = facts.swarm.control_available;
        let nodes = match manages {
            true => timeout(Duration::from_secs(25), engine.nodes()).await.ok().and_then(Result::ok),
            false => None,
        };
        let state = match facts.swarm.state {
            LocalState::Other(word) => word,
            state => format!("{state:?}").to_lowercase(),
        };
        Look { state, nodes, id: facts.swarm.node.map(|n| n.to_string()), manages }
    }

    async fn looks(&self) -> BTreeMap<&'static str, Look> {
        let looks = HOSTS.iter().map(|host| async move { (*host, self.look(host).await) });
        let mut all = BTreeMap::new();
        for look in looks {
            let (host, look) = look.await;
            all.insert(host, look);
        }
        all
    }

    fn seen(looks: &BTreeMap<&'static str, Look>) -> Seen {
        let mut lines: Vec<String> = Vec::new();
        for look in looks.values() {
            let part = if look.manages { "manager" } else { "-" };
            let mut line = format!("{} {part}", look.state);
            if let Some(nodes) = &look.nodes {
                let mut rows: Vec<String> = nodes
                    .iter()
                    .map(|n| {
                        let raft = n.manager.as_ref().map_or("-".to_owned(), |m| {
                            if m.leader { "leader".to_owned() } else { format!("{:?}", m.reachability).to_lowercase() }
                        });
                        let named = if n.hostname.is_empty() { "nameless" } else { "named" };
                        format!("{named} {} {:?} {raft}", n.role, n.state).to_lowercase()
                    })
                    .collect();
                rows.sort();
                let _ = write!(line, " [{}]", rows.join(" | "));
            }
            lines.push(line);
        }
        lines.sort();
        lines
    }

    fn pick(looks: &BTreeMap<&'static str, Look>, part: Part) -> Option<&'static str> {
        let leader = looks.values().filter_map(|l| l.nodes.as_ref()).flatten().find(|n| n.manager.as_ref().is_some_and(|m| m.leader));
        let leads = |l: &Look| l.id.is_some() && l.id.as_deref() == leader.map(|n| n.id.as_str());
        looks.iter().find_map(|(host, look)| {
            let fits = match part {
                Part::Leader => look.manages && leads(look),
                Part::Follower => look.manages && !leads(look),
                Part::Worker => look.state == "active" && !look.manages,
                Part::Outside => look.state == "inactive",
            };
            fits.then_some(*host)
        })
    }

    /// Carries a step out, waits until it is quiet, and gives what is there. A step that no host fits changes nothing.
    pub async fn step(&mut self, deed: Deed) -> Seen {
        let looks = self.looks().await;
        let pick = |part| Self::pick(&looks, part);
        let answer = match deed {
            Deed::Init => match pick(Part::Outside).filter(|_| pick(Part::Leader).is_none()) {
                Some(host) => Some(self.bed.engine(host).await.init(&init_request(self.bed.address(host))).await),
                None => None,
            },
            Deed::Join(role) => match (pick(Part::Outside), pick(Part::Leader)) {
                (Some(host), Some(leader)) => Some(self.join(host, leader, role).await),
                _ => None,
            },
            Deed::Leave(part, force) => match pick(part) {
                Some(host) => Some(self.bed.engine(host).await.leave(force).await),
                None => None,
            },
            Deed::Promote => self.change(&looks, Part::Worker, Some(Role::Manager)).await,
            Deed::Demote(part) => self.change(&looks, part, Some(Role::Worker)).await,
            Deed::Remove(part) => self.change(&looks, part, None).await,
            Deed::Kill(part) => {
                if let Some(host) = pick(part) {
                    self.bed.kill(host).await;
                    self.off.push(host);
                }
                None
            }
            Deed::StartAll => {
                for host in std::mem::take(&mut self.off) {
                    self.bed.start(host).await;
                }
                None
            }
            Deed::Restart(part) => {
                if let Some(host) = pick(part) {
                    self.bed.restart(host).await;
                }
                None
            }
            Deed::Freeze(part) => {
                if let Some(host) = pick(part) {
                    self.bed.freeze(host).await;
                    self.frozen.push(host);
                }
                None
            }
            Deed::ThawAll => {
                for host in std::mem::take(&mut self.frozen) {
                    self.bed.thaw(host).await;
                }
                None
            }
        };
        let mut seen = self.quiet().await;
        let said = match answer {
            None => "no host fits".to_owned(),
            Some(Ok(())) => "done".to_owned(),
            Some(Err(EngineError { class, reason, .. })) => format!("{class:?} {reason:?}"),
        };
        if !matches!(deed, Deed::Kill(_) | Deed::StartAll | Deed::Restart(_) | Deed::Freeze(_) | Deed::ThawAll) {
            seen.insert(0, said);
        }
        seen
    }

    async fn join(&self, host: &str, leader: &str, role: Role) -> Result<(), EngineError> {
        let token = self.bed.engine(leader).await.join_token(role).await?;
        let request = join_request(self.bed.address(host), self.bed.address(leader));
        self.bed.engine(host).await.join(&request, &token).await
    }

    async fn change(&self, looks: &BTreeMap<&'static str, Look>, part: Part, role: Option<Role>) -> Option<Result<(), EngineError>> {
        let (host, leader) = (Self::pick(looks, part)?, Self::pick(looks, Part::Leader)?);
        let id = looks.get(host)?.id.as_deref()?.into();
        let engine = self.bed.engine(leader).await;
        Some(
            async {
                let node = engine.node(&id).await?;
                match role {
                    Some(role) => engine.update_node(&id, node.version, &NodeChange { role: Some(role), ..NodeChange::default() }).await,
                    None => engine.remove_node(&id, Force::No).await,
                }
            }
            .await,
        )
    }

    async fn quiet(&self) -> Seen {
        let began = Instant::now();
        let mut last = Self::seen(&self.looks().await);
        let mut since = Instant::now();
        while since.elapsed() < QUIET && began.elapsed() < PATIENCE {
            sleep(Duration::from_millis(500)).await;
            let now = Self::seen(&self.looks().await);
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        last
    }
}

async fn played(bed: &dyn Bed, deeds: &[Deed]) -> Vec<Seen> {
    let mut run = Run::new(bed);
    let mut seen = Vec::new();
    for deed in deeds {
        seen.push(run.step(*deed).await);
    }
    seen
}

/// What a sequence comes to on real engines, in a lab of its own.
pub async fn on_engines(deeds: &[Deed]) -> Vec<Seen> {
    played(&Real(TestLab::up(HOSTS.len(), 0)), deeds).await
}

/// What it comes to in the simulator.
pub fn in_memory(deeds: &[Deed]) -> Vec<Seen> {
    swarm_sim::run(async { played(&Simulated::new(&HOSTS), deeds).await })
}

/// The first step after which two beds differ, with both columns.
pub fn difference(deeds: &[Deed], real: &[Seen], simulated: &[Seen]) -> Option<String> {
    let pairs = deeds.iter().zip(real.iter().zip(simulated));
    let (index, (_, (r, s))) = pairs.enumerate().find(|(_, (_, (r, s)))| r != s)?;
    let mut text = format!("after step {} of {deeds:?}\n", index + 1);
    for (name, column) in [("real", r), ("simulated", s)] {
        let _ = writeln!(text, "  {name}:");
        for line in column {
            let _ = writeln!(text, "    {line}");
        }
    }
    Some(text)
}
