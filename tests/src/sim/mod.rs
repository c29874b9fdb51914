//! Runs of the whole tool on simulated worlds, judged by the rules.

mod explained;
mod files;
pub mod mutants;
pub mod random;
pub mod stories;
pub mod workload;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use swarm_core::driver::{KeyKeeper, Progress, ProgressEvent};
use swarm_core::engine::Force;
use swarm_core::fleet::Fleet;
use swarm_core::plan::{Plan, PlanOptions, Refusal};
use swarm_core::report::{Ending, Report};
use swarm_core::secret::Secret;
use swarm_core::{Apply, ApplyError, ClusterSpec, Stop};
use swarm_sim::{Purpose, World};

/// How much longer than its deadline a run may take: what is under way is waited for, and a last look is taken.
const SLACK: Duration = Duration::from_secs(130);
/// How long after something happened to the world its consequences may still come: missed heartbeats, an election.
const AFTERMATH: Duration = Duration::from_secs(20);

/// How a run ended.
#[derive(Debug)]
pub enum Ended {
    /// With a report.
    Report(Box<Report>),
    /// With typed reasons, and nothing done.
    Refused(Vec<Refusal>),
    /// It was cut off.
    Crashed,
}

impl Ended {
    /// Whether everything is as the file wants it.
    pub fn converged(&self) -> bool {
        matches!(self, Self::Report(report) if report.ending == Ending::Converged)
    }

    /// What its reader sees besides the steps.
    fn lines(&self) -> Vec<String> {
        match self {
            Self::Report(report) => report_lines(report),
            Self::Refused(refusals) => refusals.iter().map(|r| format!("refused: {r}")).collect(),
            Self::Crashed => vec!["cut off".to_owned()],
        }
    }
}

/// What the reader of a report sees besides the steps.
fn report_lines(report: &Report) -> Vec<String> {
    let mut lines = vec![format!("ended: {:?}", report.ending)];
    lines.extend(report.blocked.iter().map(|b| format!("left out: {}: {}", b.host, b.why)));
    let findings = report.verdict.iter().flat_map(|v| &v.findings);
    lines.extend(findings.map(|f| format!("finding: {:?} {:?} {}", f.host, f.kind, f.message)));
    lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
    lines
}

/// A place for the unlock key that outlives the tool.
#[derive(Debug, Default)]
pub struct Drawer(Mutex<Option<Secret>>);

impl KeyKeeper for Drawer {
    fn load(&self) -> Option<Secret> {
        self.0.lock().unwrap().clone()
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn store(&self, key: &Secret) -> Result<(), String> {
        *self.0.lock().unwrap() = Some(key.clone());
        Ok(())
    }
}

/// Counts how often it is said that something is waited for.
#[derive(Debug, Default)]
pub struct Waits(AtomicU32);

impl Waits {
    /// So often.
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Progress for Waits {
    fn report(&self, event: &ProgressEvent) {
        self.0.fetch_add(u32::from(matches!(event, ProgressEvent::Waiting { .. })), Ordering::SeqCst);
    }
}

/// An event in a line: its name, and what it says.
fn short(event: &ProgressEvent) -> String {
    let event = serde_json::to_value(event).unwrap();
    let words = event.as_object().into_iter().flatten().filter(|(key, _)| *key != "event" && *key != "host");
    let words = words.map(|(key, value)| format!(" {key}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
    format!("{}{}", event["event"].as_str().unwrap_or_default(), words.collect::<String>())
}

/// Everything that onlookers hear.
#[derive(Debug, Default)]
struct Heard {
    text: Mutex<String>,
    verified_from: Mutex<Option<Duration>>,
    clock: Option<World>,
}

impl Progress for Heard {
    fn report(&self, event: &ProgressEvent) {
        self.text.lock().unwrap().push_str(&format!("{event:?}\n"));
        if let (Some(world), false) = (&self.clock, matches!(event, ProgressEvent::HostInspected { error: None, .. })) {
            world.remark("tool", short(event));
        }
        if let (ProgressEvent::VerifyStarted, Some(world)) = (event, &self.clock) {
            *self.verified_from.lock().unwrap() = Some(world.now());
        }
    }
}

/// One process of the tool.
pub struct Tool<'a> {
    /// Where.
    pub world: &'a World,
    /// Who.
    pub operator: &'a str,
    /// What is wanted.
    pub spec: &'a ClusterSpec,
    /// Where the unlock key goes.
    pub keys: &'a Drawer,
    /// What stops it.
    pub stop: Stop,
    /// Hosts for which force was allowed.
    pub forced: Vec<&'a str>,
    /// Whether someone else changes things at the same time.
    pub alone: bool,
    /// How long it is held to at most, where that is not the file's own deadline.
    pub promised: Option<Duration>,
    /// A planner that is broken on purpose: what becomes of its plan before it is shown, and afterwards.
    pub mutate: (Mutate, Mutate),
}

/// What a broken planner does to a plan.
pub type Mutate = fn(&mut Plan);

impl<'a> Tool<'a> {
    /// A tool that no one disturbs.
    pub fn new(world: &'a World, operator: &'a str, spec: &'a ClusterSpec, keys: &'a Drawer) -> Self {
        Self {
            world,
            operator,
            spec,
            keys,
            stop: Stop::default(),
            forced: Vec::new(),
            alone: true,
            promised: None,
            mutate: (|_| {}, |_| {}),
        }
    }

    /// Runs `apply` once, as a process of its own, and holds it against the rules.
    pub async fn apply(&self) -> Ended {
        self.apply_over(&self.world.fleet(self.operator)).await
    }

    /// The same over any fleet: a broken one shows that the rules see it.
    pub async fn apply_over<F: Fleet>(&self, fleet: &F) -> Ended {
        let world = self.world;
        world.watch(self.operator, self.spec, Purpose::Look, &self.forced);
        let began = world.now();
        let heard = Heard { clock: Some(world.clone()), ..Heard::default() };
        let forced: BTreeSet<_> = self.forced.iter().map(|h| swarm_core::id::HostName::new(*h)).collect();
        let options = PlanOptions { force_leave: forced, ..PlanOptions::default() };
        let apply = Apply::new(self.spec, fleet).options(options).keys(self.keys).progress(&heard).stop(self.stop.clone());
        let run = async {
            match apply.plan().await {
                Err(ApplyError::Refused(refusals)) => Ended::Refused(refusals),
                Err(error) => {
                    world.accuse("lint", error.to_string());
                    Ended::Crashed
                }
                Ok((mut plan, observed)) => {
                    (self.mutate.0)(&mut plan);
                    self.no_secret(&format!("{plan:?}{}", serde_json::to_string(&plan).unwrap()));
                    world.watch_on(self.operator, Purpose::Apply);
                    world.shown(self.operator, &plan);
                    (self.mutate.1)(&mut plan);
                    Ended::Report(Box::new(apply.run(&plan, &observed).await))
                }
            }
        };
        let ended = tokio::select! {
            biased;
            () = world.crashed() => Ended::Crashed,
            ended = run => ended,
        };
        self.judge(&ended, began, &heard);
        ended.lines().into_iter().for_each(|line| world.remark(self.operator, line));
        ended
    }

    /// Runs `destroy` once, and holds it against the rules.
    pub async fn destroy(&self) -> Ended {
        let world = self.world;
        world.watch(self.operator, self.spec, Purpose::Destroy, &self.forced);
        let fleet = world.fleet(self.operator);
        let apply = Apply::new(self.spec, &fleet).keys(self.keys).stop(self.stop.clone());
        match apply.plan_destroy(Force::No).await {
            Err(ApplyError::Refused(refusals)) => Ended::Refused(refusals),
            Err(error) => {
                world.accuse("lint", error.to_string());
                Ended::Crashed
            }
            Ok((plan, observed)) => {
                self.no_secret(&format!("{plan:?}{}", serde_json::to_string(&plan).unwrap()));
                world.shown(self.operator, &plan);
                let ended = Ended::Report(Box::new(apply.run(&plan, &observed).await));
                self.no_secret(&format!("{ended:?}"));
                ended.lines().into_iter().for_each(|line| world.remark(self.operator, line));
                ended
            }
        }
    }

    /// Looks only, and holds that against the rules: nothing is changed.
    pub async fn plan(&self) -> Result<swarm_core::plan::Plan, ApplyError> {
        self.world.watch(self.operator, self.spec, Purpose::Look, &self.forced);
        let fleet = self.world.fleet(self.operator);
        let planned = Apply::new(self.spec, &fleet).keys(self.keys).plan().await.map(|(plan, _)| plan);
        if self.world.watched(self.operator).1 > 0 {
            self.world.accuse("I16", "a plan changed something".into());
        }
        planned
    }

    fn judge(&self, ended: &Ended, began: Duration, heard: &Heard) {
        let world = self.world;
        let took = world.now() - began;
        if took > self.promised.unwrap_or(self.spec.policy().timeout) + SLACK {
            world.accuse("L4", format!("a run took {} s", took.as_secs()));
        }
        let (calls, mutations) = world.watched(self.operator);
        let hosts = self.spec.hosts().len() as u64;
        if calls > 2_000 + hosts * 1_500 {
            world.accuse("I21", format!("a run on {hosts} hosts made {calls} calls"));
        }
        if matches!(ended, Ended::Refused(_)) && mutations > 0 {
            world.accuse("I16", "a run that was refused changed something".into());
        }
        self.no_secret(&format!("{ended:?}{}", heard.text.lock().unwrap()));
        let Ended::Report(report) = ended else { return };
        let converged = report.ending == Ending::Converged;
        let from = heard.verified_from.lock().unwrap().unwrap_or(began);
        let calm = self.alone && (world.disturbed() + AFTERMATH < from || world.disturbed() == Duration::ZERO);
        if converged && calm {
            for wrong in world.differs_from(self.spec) {
                world.accuse("I23", format!("converged was reported, and {wrong}"));
            }
        }
        if converged && report.steps.iter().any(|s| !s.outcome.is_done()) && report.verdict.as_ref().is_none_or(|v| !v.converged) {
            world.accuse("I23", "converged was reported, and no verdict says so".into());
        }
        if converged && self.spec.settings().autolock == Some(true) && self.keys.fingerprint().is_none() && self.alone {
            world.accuse("I18", "managers lock themselves, and the key is nowhere".into());
        }
        if converged && calm {
            let reported = format!("{report:?}");
            for ghost in world.left_behind() {
                if !reported.contains(ghost.as_str()) {
                    world.accuse("I11", format!("entry {ghost} was left behind and not reported"));
                }
            }
        }
    }

    /// I12: no secret in anything that is reported.
    fn no_secret(&self, text: &str) {
        for secret in self.world.secrets() {
            if text.contains(secret.expose()) {
                self.world.accuse("I12", "a secret was reported".into());
            }
        }
    }
}

/// Reads a cluster file's text.
pub fn spec(text: &str) -> ClusterSpec {
    crate::lab::spec(text)
}

/// Fails with the seed and the story if a rule was broken.
pub fn no_violations(world: &World, seed: u64, what: &str) {
    let violations = world.violations();
    assert!(
        violations.is_empty(),
        "{what}, seed {seed}:\n{}\nstory:\n{}",
        violations.iter().map(|v| format!("- {v}")).collect::<Vec<_>>().join("\n"),
        world.story()
    );
}

/// A cluster file of three managers and so many hosts in all.
pub fn many(hosts: u32) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("name: many\npolicy: { timeout: 30m }\nhosts:\n");
    for i in 0..hosts {
        let role = if i < 3 { "manager" } else { "worker" };
        let _ = writeln!(text, "  h{i:05}: {{ address: 10.{}.{}.{}, role: {role} }}", 1 + i / 60_000, i / 250 % 250, 1 + i % 250);
    }
    text
}

/// Three managers and two workers.
pub const THREE: &str = "name: c\nhosts:
  m1: { address: 10.0.0.1, role: manager }
  m2: { address: 10.0.0.2, role: manager }
  m3: { address: 10.0.0.3, role: manager }
  w1: { address: 10.0.0.4, role: worker }
  w2: { address: 10.0.0.5, role: worker, labels: { rack: a } }\n";

/// A converged cluster of these hosts.
pub async fn cluster(world: &World, text: &str) -> ClusterSpec {
    let wanted = spec(text);
    let ended = Tool::new(world, "before", &wanted, &Drawer::default()).apply().await;
    assert!(ended.converged(), "{ended:?}");
    wanted
}

/// A cluster that has everything of [`THREE`] but its last worker.
pub async fn one_more(world: &World) -> ClusterSpec {
    cluster(world, &THREE.replace("  w2: { address: 10.0.0.5, role: worker, labels: { rack: a } }\n", "")).await;
    spec(THREE)
}

/// What would be done.
pub async fn plan_of(world: &World, text: &str) -> Plan {
    let (wanted, keys) = (spec(text), Drawer::default());
    Tool::new(world, "me", &wanted, &keys).plan().await.unwrap()
}

/// Runs, and is cut off at this call: `None` then. Whoever ran it is back afterwards.
pub async fn cut_off<T>(world: &World, call: u64, point: swarm_sim::CrashPoint, run: impl Future<Output = T>) -> Option<T> {
    world.crash_at(call, point);
    let ended = tokio::select! {
        biased;
        () = world.crashed() => None,
        ended = run => Some(ended),
    };
    world.recover();
    ended
}

/// Runs something, cut off at a call; then again, which must arrive and leave nothing to plan. Gives whether it was cut off.
pub async fn cut_off_and_again(
    world: &World,
    wanted: &ClusterSpec,
    call: u64,
    point: swarm_sim::CrashPoint,
    run: impl AsyncFn() -> Report,
) -> bool {
    let arrives = |report: &Report| {
        assert_eq!(report.ending, Ending::Converged, "call {call}, {point:?}: {report:#?}\n{}", world.story());
    };
    let ended = cut_off(world, call, point, run()).await;
    ended.iter().for_each(arrives);
    tokio::time::sleep(Duration::from_secs(30)).await;
    arrives(&run().await);
    let keys = Drawer::default();
    assert!(Tool::new(world, "after", wanted, &keys).plan().await.unwrap().is_empty(), "call {call}, {point:?}");
    no_violations(world, call, "cut off and run again");
    ended.is_none()
}
