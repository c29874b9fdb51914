//! Random sequences of calls and faults, carried out on real engines and in the simulator, and compared side by side.
//!
//! Which manager leads after an election is chance, so a step names whom it strikes by part (the leader, a follower, a worker, one
//! outside), and what is compared does not name hosts: per host its state and the answer to its call, per manager what it lists. The
//! simulator goes first and says where a step comes to rest; the engines then have a minute to come to rest in the same place.

use crate::beds::{Real, simulated};
use crate::lab::TestLab;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use swarm_core::engine::{EngineError, Force, NodeChange, SwarmChange};
use swarm_core::observe::{LocalState, NodeFacts, NodeState};
use swarm_core::spec::{Role, SwarmSettings};
use swarm_sim::conformance::{Bed, init_request, join_request};
use tokio::time::{Instant, sleep, timeout};

/// The hosts of a sequence.
pub const HOSTS: [&str; 4] = ["m1", "m2", "m3", "m4"];
/// Nothing changed for so long: it is quiet.
const QUIET: Duration = Duration::from_secs(3);
/// How long the simulator, whose time costs nothing, must be quiet: longer than anything that happens by itself.
const AT_REST: Duration = Duration::from_secs(60);
/// The longest that engines have to come to rest where the simulator did.
const PATIENCE: Duration = Duration::from_secs(75);

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
    /// Another history limit.
    Settings(u8),
    /// Autolock on or off.
    Lock(bool),
    /// The same change of a node twice, because the answer to the first was lost.
    PromoteTwice,
    DemoteTwice(Part),
    /// The same, for a join.
    JoinTwice(Role),
    Kill(Part),
    StartAll,
    Restart(Part),
    /// A restart with an empty state folder.
    Wipe(Part),
    Freeze(Part),
    /// Nothing passes between the host and the others.
    Cut(Part),
    /// A fifth of the host's packets are lost.
    Lose(Part),
    /// No room for a raft log.
    Fill(Part),
    /// Ends every freeze, cut, loss and full disk.
    Heal,
}

impl Deed {
    /// Whether it is a call, whose answer is compared too.
    fn is_call(self) -> bool {
        use Deed::*;
        match self {
            Init | Join(_) | Leave(..) | Promote | Demote(_) | Remove(_) | Settings(_) | Lock(_) => true,
            PromoteTwice | DemoteTwice(_) | JoinTwice(_) => true,
            Kill(_) | StartAll | Restart(_) | Wipe(_) | Freeze(_) | Cut(_) | Lose(_) | Fill(_) | Heal => false,
        }
    }
}

/// The sequence of a seed.
pub fn sequence(seed: u64) -> Vec<Deed> {
    let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut deeds = vec![Deed::Init, Deed::Join(if rng.bool() { Role::Manager } else { Role::Worker }), Deed::Join(Role::Manager)];
    for _ in 0..rng.usize(2..6) {
        let part = [Part::Leader, Part::Follower, Part::Worker][rng.usize(0..3)];
        let role = if rng.bool() { Role::Manager } else { Role::Worker };
        deeds.push(match rng.usize(0..24) {
            0 | 1 => Deed::Join(role),
            2 => Deed::JoinTwice(role),
            3 => Deed::Leave(part, Force::No),
            4 => Deed::Leave(part, Force::Yes),
            5 => Deed::Promote,
            6 => Deed::PromoteTwice,
            7 => Deed::Demote(part),
            8 => Deed::DemoteTwice(part),
            9 => Deed::Remove(part),
            10 => Deed::Settings(rng.u8(1..9)),
            11 => Deed::Lock(rng.bool()),
            12 => Deed::Kill(part),
            13 | 14 => Deed::StartAll,
            15 => Deed::Restart(part),
            16 => Deed::Wipe(part),
            17 => Deed::Freeze(part),
            18 | 19 => Deed::Cut(part),
            20 => Deed::Lose(part),
            21 => Deed::Fill([Part::Worker, Part::Outside][rng.usize(0..2)]),
            _ => Deed::Heal,
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
        let state = match facts.swarm.reported {
            LocalState::Other(word) => word,
            state => format!("{state:?}").to_lowercase(),
        };
        Look { state, nodes, id: facts.swarm.node.map(|n| n.to_string()), manages }
    }

    async fn looks(&self) -> BTreeMap<&'static str, Look> {
        // All at once: one that hears no leader answers late, and the others go on meanwhile.
        let [a, b, c, d] = HOSTS;
        let looks = tokio::join!(self.look(a), self.look(b), self.look(c), self.look(d));
        HOSTS.into_iter().zip([looks.0, looks.1, looks.2, looks.3]).collect()
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
                        // Whether a manager whose join failed has said its name is chance (both seen in plays of one seed).
                        if n.state != NodeState::Ready && raft == "unreachable" {
                            return "dead manager".to_owned();
                        }
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

    /// Carries a step out, waits until all is at rest, and gives what is there. A step that no host fits changes nothing.
    pub async fn step(&mut self, deed: Deed, expected: Option<&Seen>) -> Seen {
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
            Deed::JoinTwice(role) => match (pick(Part::Outside), pick(Part::Leader)) {
                (Some(host), Some(leader)) => {
                    let _ = self.join(host, leader, role).await;
                    sleep(QUIET).await;
                    Some(self.join(host, leader, role).await)
                }
                _ => None,
            },
            Deed::PromoteTwice | Deed::DemoteTwice(_) => {
                let (part, role) = match deed {
                    Deed::DemoteTwice(part) => (part, Role::Worker),
                    _ => (Part::Worker, Role::Manager),
                };
                // Whoever lost the answer calls again a little later, and asks the one that leads then.
                let host = pick(part);
                let _ = self.change(&looks, part, Some(role)).await;
                sleep(QUIET).await;
                let looks = self.looks().await;
                match host {
                    Some(host) => self.change_host(&looks, host, Some(role)).await,
                    None => None,
                }
            }
            Deed::Settings(limit) => {
                let settings = SwarmSettings { task_history_limit: Some(i64::from(limit)), ..SwarmSettings::default() };
                self.settings(&looks, settings).await
            }
            Deed::Lock(on) => self.settings(&looks, SwarmSettings { autolock: Some(on), ..SwarmSettings::default() }).await,
            Deed::Promote => self.change(&looks, Part::Worker, Some(Role::Manager)).await,
            Deed::Demote(part) => self.change(&looks, part, Some(Role::Worker)).await,
            Deed::Remove(part) => self.change(&looks, part, None).await,
            Deed::Kill(part) => {
                if let Some(host) = pick(part) {
                    self.bed.kill(host).await;
                    self.frozen.retain(|f| *f != host);
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
            Deed::Wipe(part) => {
                if let Some(host) = pick(part) {
                    self.bed.wipe(host).await;
                }
                None
            }
            Deed::Cut(part) => {
                if let Some(host) = pick(part) {
                    for other in HOSTS.iter().filter(|o| **o != host && !self.off.contains(o)) {
                        self.bed.cut(host, other).await;
                    }
                }
                None
            }
            Deed::Lose(part) => {
                if let Some(host) = pick(part) {
                    self.bed.lose(host).await;
                }
                None
            }
            Deed::Fill(part) => {
                if let Some(host) = pick(part) {
                    self.bed.fill(host).await;
                }
                None
            }
            Deed::Heal => {
                // A host without power has nothing to heal, and comes back healed.
                self.bed.heal(&self.off).await;
                self.frozen.clear();
                None
            }
        };
        let said = match answer {
            None => "no host fits".to_owned(),
            Some(Ok(())) => "done".to_owned(),
            Some(Err(EngineError { class, reason, .. })) => format!("{class:?} {reason:?}"),
        };
        let said = deed.is_call().then_some(said);
        self.rest(said, expected).await
    }

    async fn join(&self, host: &str, leader: &str, role: Role) -> Result<(), EngineError> {
        let token = self.bed.engine(leader).await.join_token(role).await?;
        let request = join_request(self.bed.address(host), self.bed.address(leader));
        self.bed.engine(host).await.join(&request, &token).await
    }

    async fn change(&self, looks: &BTreeMap<&'static str, Look>, part: Part, role: Option<Role>) -> Option<Result<(), EngineError>> {
        self.change_host(looks, Self::pick(looks, part)?, role).await
    }

    async fn change_host(&self, looks: &BTreeMap<&'static str, Look>, host: &str, role: Option<Role>) -> Option<Result<(), EngineError>> {
        let leader = Self::pick(looks, Part::Leader)?;
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

    async fn settings(&self, looks: &BTreeMap<&'static str, Look>, settings: SwarmSettings) -> Option<Result<(), EngineError>> {
        let leader = Self::pick(looks, Part::Leader)?;
        Some(self.bed.engine(leader).await.update_swarm(&SwarmChange { settings, ..SwarmChange::default() }, None).await)
    }

    /// Waits for rest: where it is known where to, for that; else for as long as anything can happen by itself.
    async fn rest(&self, said: Option<String>, expected: Option<&Seen>) -> Seen {
        let began = Instant::now();
        let now = async || {
            let mut seen = Self::seen(&self.looks().await);
            if let Some(said) = &said {
                seen.insert(0, said.clone());
            }
            seen
        };
        let mut last = now().await;
        let mut since = Instant::now();
        loop {
            let there = expected.is_none_or(|e| *e == last);
            let quiet = since.elapsed() >= if expected.is_some() { QUIET } else { AT_REST };
            // An answer that differs stays so.
            let hopeless = expected.is_some_and(|e| said.is_some() && e.first() != last.first());
            if (there && quiet) || hopeless || began.elapsed() > if expected.is_some() { PATIENCE } else { 10 * AT_REST } {
                return last;
            }
            sleep(Duration::from_millis(500)).await;
            let seen = now().await;
            if seen != last {
                (last, since) = (seen, Instant::now());
            }
        }
    }
}

async fn played(bed: &dyn Bed, deeds: &[Deed], expected: Option<&[Seen]>) -> Vec<Seen> {
    let mut run = Run::new(bed);
    let mut seen: Vec<Seen> = Vec::new();
    for (index, deed) in deeds.iter().enumerate() {
        let expected = expected.and_then(|e| e.get(index));
        seen.push(run.step(*deed, expected).await);
        // After a difference the two go different ways.
        if expected.is_some() && expected != seen.last() {
            break;
        }
    }
    seen
}

/// What a sequence comes to on real engines, in a lab of its own, up to the first step that is not as expected.
pub async fn on_engines(deeds: &[Deed], expected: &[Seen]) -> Vec<Seen> {
    played(&Real(TestLab::up(HOSTS.len(), 0)), deeds, Some(expected)).await
}

/// What it comes to in the simulator.
pub fn in_memory(deeds: &[Deed]) -> Vec<Seen> {
    swarm_sim::run(async { played(&simulated(&HOSTS), deeds, None).await })
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

/// Plays sequences in so many labs at once. What differs is played again when all the others are done, alone, and counts if it differs each
/// of two times: on a busy machine an election more makes another host the leader, and a call reaches another manager. Gives the seeds that
/// differ, with both columns.
pub fn side_by_side(seeds: std::ops::Range<u64>, labs: usize, done: impl Fn(u64, usize, Option<&str>) + Sync) -> Vec<(u64, String)> {
    let next = AtomicU64::new(seeds.start);
    let suspects = Mutex::new(Vec::new());
    // A lab's cost is written down under the name of its thread.
    let name = std::thread::current().name().unwrap_or("differ").to_owned();
    let differs = |seed: u64| {
        let deeds = sequence(seed);
        let expected = in_memory(&deeds);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        (deeds.len(), difference(&deeds, &runtime.block_on(on_engines(&deeds, &expected)), &expected))
    };
    std::thread::scope(|scope| {
        for _ in 0..labs {
            let thread = std::thread::Builder::new().name(name.clone());
            let play = || {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if !seeds.contains(&seed) {
                        return;
                    }
                    match differs(seed) {
                        (steps, None) => done(seed, steps, None),
                        (_, Some(_)) => suspects.lock().unwrap().push(seed),
                    }
                }
            };
            thread.spawn_scoped(scope, play).unwrap();
        }
    });
    let again = |seed: u64| {
        let (steps, text) = match differs(seed) {
            (_, Some(_)) => differs(seed),
            same => same,
        };
        done(seed, steps, text.as_deref());
        text.map(|text| (seed, text))
    };
    suspects.into_inner().unwrap().into_iter().filter_map(again).collect()
}
