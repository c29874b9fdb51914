//! Random clusters, random files, random faults, one or two operators: whatever happens, no rule is broken, and when it stops happening the
//! next runs arrive or say why not.

use super::explained::{explains, fits};
use super::files::{Wanted, text};
use super::{Drawer, Ended, Tool};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use swarm_core::observe::LocalState;
use swarm_core::verify::FindingKind;
use swarm_core::{ClusterSpec, Stop};
use swarm_sim::{CallFault, CallKind, CrashPoint, FaultRule, Incident, World};
use tokio::time::sleep;

/// How often each kind of fault came to pass.
pub type Counter = BTreeMap<String, u64>;

/// What one seed came to.
#[derive(Debug)]
pub struct Played {
    /// Broken rules, each in a line.
    pub violations: Vec<String>,
    /// Which faults came to pass.
    pub happened: Counter,
    /// What happened, if it was to be reported.
    pub story: String,
    /// Whether the last run arrived; the others were refused with a reason that fits.
    pub arrived: bool,
}

/// From here on, seeds have files with hosts that are to be in no swarm.
pub const WITH_ABSENT: u64 = 1 << 32;

/// Plays one seed.
pub fn play(seed: u64, reported: bool) -> Played {
    swarm_sim::run(Schedule::new(seed).play(reported))
}

struct Schedule {
    seed: u64,
    rng: fastrand::Rng,
    /// For what was drawn later than the rest: what a seed was before, it still is.
    more: fastrand::Rng,
    happened: Counter,
}

impl Schedule {
    fn new(seed: u64) -> Self {
        // Not the world's own seed: what happens to it and what it is like are two things.
        Self {
            seed,
            rng: fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xfa17),
            more: fastrand::Rng::with_seed(seed ^ 0x006d_6f72_6521),
            happened: Counter::new(),
        }
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.rng.u32(0..n) == 0
    }

    fn count(&mut self, kind: impl Into<String>) {
        *self.happened.entry(kind.into()).or_default() += 1;
    }

    fn hosts(&mut self) -> Vec<Wanted> {
        let managers = [1, 1, 2, 3, 3, 3, 5][self.rng.usize(0..7)];
        let workers = self.rng.usize(0..4);
        let names = (1..=managers).map(|i| (format!("m{i}"), true)).chain((1..=workers).map(|i| (format!("w{i}"), false)));
        let names: Vec<(String, bool)> = names.collect();
        let mut hosts: Vec<Wanted> =
            names.into_iter().map(|(name, manager)| self.dress(Wanted { name, manager, ..Wanted::default() })).collect();
        if self.seed >= WITH_ABSENT {
            self.some_go(&mut hosts);
        }
        for host in &mut hosts {
            // One that is to be in no swarm has no interface to say.
            host.advertise = (self.more.u8(0..8) == 0 && !host.absent).then_some("eth1");
        }
        hosts
    }

    /// Some hosts are to be in no swarm, or all managers, with others in their place.
    fn some_go(&mut self, hosts: &mut Vec<Wanted>) {
        if self.one_in(3) {
            hosts.iter_mut().filter(|h| h.manager).for_each(|h| h.absent = true);
            let count = [1, 3][self.rng.usize(0..2)];
            hosts.extend((11..11 + count).map(|i| Wanted { name: format!("m{i}"), manager: true, ..Wanted::default() }));
        } else {
            for host in hosts.iter_mut().skip(1) {
                host.absent = self.one_in(3);
            }
        }
    }

    fn dress(&mut self, mut host: Wanted) -> Wanted {
        host.labels = ["rack", "zone"]
            .into_iter()
            .map(|key| (self.one_in(3), key.to_owned(), ["a", "b", "c"][self.rng.usize(0..3)].to_owned()))
            .filter(|(has, ..)| *has)
            .map(|(_, key, value)| (key, value))
            .collect();
        host.availability = if self.one_in(5) { Some(["active", "pause", "drain"][self.rng.usize(0..3)]) } else { None };
        host
    }

    fn options(&mut self) -> String {
        let mut options = Vec::new();
        if self.one_in(3) {
            options.push(format!("task_history_limit: {}", self.rng.u8(1..9)));
        }
        if self.one_in(6) {
            options.push("autolock: true, unlock_key_file: /nowhere".to_owned());
        }
        for option in ["dispatcher_heartbeat: 7s", "cert_expiry: 100h", "snapshot_interval: 500", "max_snapshots: 2"] {
            if self.more.u8(0..8) == 0 {
                options.push(option.to_owned());
            }
        }
        options.join(", ")
    }

    /// Another file for some of the hosts: other labels, other roles, fewer hosts.
    fn drift(&mut self, hosts: &[Wanted]) -> Vec<Wanted> {
        let mut other: Vec<Wanted> = hosts.iter().map(|h| if self.one_in(2) { self.dress(h.clone()) } else { h.clone() }).collect();
        if self.one_in(3) && other.len() > 2 {
            let index = self.rng.usize(1..other.len());
            other[index].manager = !other[index].manager;
        }
        if self.one_in(3) && other.len() > 2 {
            other.remove(self.rng.usize(1..other.len()));
        }
        // Two files that name different first managers make two swarms.
        if let Some(first) = hosts.iter().find(|h| h.manager && !h.absent).filter(|_| self.seed >= WITH_ABSENT) {
            match other.iter_mut().find(|h| h.name == first.name) {
                Some(host) => host.manager = true,
                None => other.push(first.clone()),
            }
        }
        other
    }

    async fn play(mut self, reported: bool) -> Played {
        let hosts = self.hosts();
        let spec = super::spec(&text(&hosts, &self.options()));
        let world = World::of(&spec, self.seed);
        if reported {
            world.record();
        }
        for host in spec.hosts() {
            // Old engines cannot follow a promotion whose first manager is gone; newer ones can, and call themselves broken afterwards.
            if fastrand::Rng::with_seed(self.seed ^ u64::from(host.name.as_str().bytes().map(u32::from).sum::<u32>())).bool() {
                world.runs_engine(&host.name, "20.10.24");
            }
        }
        let keys = Drawer::default();
        if self.one_in(2) {
            self.earlier(&world, &hosts, &keys).await;
        }
        let mut incidents = Vec::new();
        for _ in 0..self.rng.usize(1..3) {
            self.stormy_run(&world, &spec, &hosts, &keys, &mut incidents).await;
        }
        world.mend();
        let arrived = self.calm_runs(&world, &spec, &keys, &incidents).await;
        // One that is to be in no swarm may be in someone else's, and is left there.
        if arrived && self.more.u8(0..4) == 0 && spec.hosts().all(|h| !h.absent) {
            self.destroyed(&world, &spec, &keys).await;
        }
        for ((call, fault), times) in world.hits() {
            *self.happened.entry(format!("{fault:?}")).or_default() += times;
            *self.happened.entry(format!("{fault:?} at {call}")).or_default() += times;
        }
        Played {
            violations: world.violations().iter().map(ToString::to_string).collect(),
            happened: self.happened,
            story: world.story(),
            arrived,
        }
    }

    /// What was there before: a cluster of some of the hosts, and perhaps services.
    async fn earlier(&mut self, world: &World, hosts: &[Wanted], keys: &Drawer) {
        let mut before = self.drift(hosts);
        if hosts.iter().any(|h| h.absent) {
            before.retain(|h| h.name.len() < 3);
            before.iter_mut().for_each(|h| h.absent = false);
            before[0].manager = true;
        }
        let options = self.options();
        let earlier = super::spec(&text(&before, &options));
        let ended = Tool::new(world, "earlier", &earlier, keys).apply().await;
        if !ended.converged() {
            world.accuse("L1", format!("a calm first run did not arrive: {ended:?}"));
        }
        if self.one_in(2) {
            world.cause(&Incident::ServiceAppears);
        }
    }

    /// A run, or two at once, while things go wrong.
    async fn stormy_run(&mut self, world: &World, spec: &ClusterSpec, hosts: &[Wanted], keys: &Drawer, incidents: &mut Vec<Incident>) {
        let before = world.calls().0;
        for _ in 0..self.rng.usize(0..4) {
            let calls = [
                CallKind::Connect,
                CallKind::Machine,
                CallKind::Info,
                CallKind::Nodes,
                CallKind::Cluster,
                CallKind::Node,
                CallKind::JoinToken,
                CallKind::ServiceCount,
                CallKind::Init,
                CallKind::Join,
                CallKind::Join,
                CallKind::UpdateNode,
                CallKind::UpdateNode,
                CallKind::UpdateSwarm,
                CallKind::Leave,
                CallKind::RemoveNode,
            ];
            let call = calls[self.rng.usize(0..calls.len())];
            let fault = CallFault::ALL[self.rng.usize(0..CallFault::ALL.len())];
            world.fault_rule(FaultRule { host: None, call: Some(call), skip: self.rng.u32(0..3), times: self.rng.u32(1..3), fault });
        }
        let crash = self.one_in(4).then(|| {
            let point = [CrashPoint::BeforeSend, CrashPoint::AnswerLost, CrashPoint::AfterAnswer][self.rng.usize(0..3)];
            world.crash_at(self.rng.u64(1..80), point);
            point
        });
        let mut events: Vec<(Duration, Incident)> = (0..self.rng.usize(0..7)).map(|_| self.event(hosts)).collect();
        for index in 0..events.len() {
            if let Some(cure) = cure(&events[index].1).filter(|_| self.one_in(2)) {
                events.push((events[index].0 + Duration::from_millis(self.rng.u64(1..20_000)), cure));
            }
        }
        let stop = Stop::default();
        let stops_at = self.one_in(8).then(|| Duration::from_millis(self.rng.u64(1..3000)));
        let second = self.one_in(4);
        let contradicts = second && self.one_in(2);
        let other = if contradicts { super::spec(&text(&self.drift(hosts), "")) } else { spec.clone() };
        let mut happened = Vec::new();
        let alone = !second;
        let crashed = {
            let tool = Tool { stop: stop.clone(), alone, ..Tool::new(world, "me", spec, keys) };
            let another = Tool { stop: stop.clone(), alone, ..Tool::new(world, "other", &other, keys) };
            let storm = async {
                let mut events = events;
                events.sort_by_key(|(at, _)| *at);
                let mut now = Duration::ZERO;
                for (at, what) in events {
                    sleep(at - now).await;
                    now = at;
                    if world.cause(&what) {
                        happened.push(what);
                    }
                }
                std::future::pending::<()>().await
            };
            let stopper = async {
                match stops_at {
                    Some(at) => {
                        sleep(at).await;
                        stop.stop();
                        std::future::pending::<()>().await
                    }
                    None => std::future::pending::<()>().await,
                }
            };
            let runs = async {
                if second {
                    let (one, two) = tokio::join!(tool.apply(), another.apply());
                    matches!(one, Ended::Crashed) || matches!(two, Ended::Crashed)
                } else {
                    matches!(tool.apply().await, Ended::Crashed)
                }
            };
            tokio::select! {
                biased;
                crashed = runs => crashed,
                () = storm => false,
                () = stopper => false,
            }
        };
        world.recover();
        if crashed {
            self.count(format!("tool cut off, {:?}", crash.unwrap_or(CrashPoint::BeforeSend)));
        }
        if stop.is_stopped() {
            self.count("tool stopped");
        }
        if second {
            self.count(if contradicts { "second operator, another file" } else { "second operator, same file" });
        }
        for what in happened {
            self.count(kind(&what));
            incidents.push(what);
        }
        if world.calls().0 == before {
            world.accuse("schedule", "a run made no call".into());
        }
    }

    /// When, and what.
    fn event(&mut self, hosts: &[Wanted]) -> (Duration, Incident) {
        let within = [800, 2_500, 40_000][self.rng.usize(0..3)];
        let at = Duration::from_millis(self.rng.u64(0..within));
        let host = || hosts[fastrand::Rng::with_seed(self.rng.clone().u64(..)).usize(0..hosts.len())].name.as_str().into();
        let a = host();
        self.rng.u64(..);
        let b = hosts[self.rng.usize(0..hosts.len())].name.as_str().into();
        let what = match self.rng.usize(0..44) {
            0 | 1 => Incident::PowerCut(a),
            2 => Incident::Reboot(a),
            3 => Incident::EngineStops(a),
            4 => Incident::EngineFreezes(a),
            5 => Incident::OperatorCutOff(a),
            6 => Incident::SshRefused(a),
            7 => Incident::LoginRefused(a),
            8 => Incident::HostKeyChanges(a),
            9 => Incident::SocketForbidden(a),
            10 => Incident::OneWayCut(a, b),
            11 | 12 => Incident::Cut(a, b),
            13 => Incident::Isolated(a),
            14 => Incident::PortClosed(a),
            15 => Incident::PortTaken(a),
            16 if self.one_in(2) => Incident::DiskLow(a),
            16 if self.one_in(2) => Incident::LogFull(a),
            16 => Incident::DiskFull(a),
            17 if self.one_in(2) => Incident::Lossy(a, true),
            17 => Incident::Slow(a, Duration::from_millis(self.rng.u64(50..4000))),
            18 => Incident::ClockSkew(a, [-4000, -60, 60, 4000][self.rng.usize(0..4)]),
            19 => Incident::LiveRestore(a, true),
            20 => Incident::MakesOwnSwarm(a),
            21 => Incident::JoinsForeign(a),
            22 => Incident::OperatorPromotes(a),
            23 => Incident::OperatorDemotes(a),
            24 => Incident::OperatorDrains(a),
            25 => Incident::OperatorLabels(a),
            26 | 27 => Incident::OperatorTouches(a),
            28 => Incident::OperatorRemoves(a),
            29 => Incident::OperatorLeaves(a),
            30 => Incident::TokensRotated,
            31 => Incident::RootRotated,
            32 => Incident::AutolockOn,
            33 => Incident::OptionsChanged,
            34 => Incident::ServiceAppears,
            35 | 36 => Incident::LeaderPowerCut,
            37..=39 => Incident::AutolockOff,
            40 if self.one_in(2) => Incident::StateLost(a),
            40 => Incident::MakesOwnSwarm(a),
            41 | 42 => Incident::OperatorRemoves(a),
            _ => Incident::PowerCut(b),
        };
        (at, what)
    }

    /// The storm is over: one, two, at most three runs, and then either everything is so, or a typed reason that fits what happened.
    async fn calm_runs(&mut self, world: &World, spec: &ClusterSpec, keys: &Drawer, incidents: &[Incident]) -> bool {
        let mut last = None;
        for run in 0..4 {
            let before = world.calls().1;
            let ended = Tool::new(world, "me", spec, keys).apply().await;
            let changed = world.calls().1 - before;
            if matches!(&last, Some(Ended::Report(r)) if r.ending == swarm_core::report::Ending::Converged)
                && ended.converged()
                && changed == 0
            {
                return true;
            }
            if let Ended::Refused(refusals) = &ended
                && run >= 2
            {
                for refusal in refusals.iter().filter(|r| !fits(r, incidents)) {
                    world.accuse("L5", format!("nothing that happened explains: {refusal}"));
                }
                return false;
            }
            if let Ended::Report(report) = &ended
                && !ended.converged()
                && run >= 2
            {
                let blocked: BTreeSet<&str> = report.blocked.iter().map(|b| b.host.as_str()).collect();
                let findings = report.verdict.iter().flat_map(|v| &v.findings);
                let explained = report.blocked.iter().all(|b| explains(&b.why, incidents))
                    && findings.clone().all(|f| match &f.host {
                        // Whoever made a swarm there chose the address.
                        Some(host) if f.kind == FindingKind::Address => incidents.contains(&Incident::MakesOwnSwarm(host.clone())),
                        Some(host) => blocked.contains(host.as_str()),
                        // What a run that was cut off, or another's, left behind and no one can prove to be ours.
                        None if f.kind == FindingKind::Undeclared => true,
                        None if f.message.contains("autolock") => incidents.contains(&Incident::AutolockOn),
                        // What is the whole swarm's waits for a host that is blocked, and for nothing else.
                        None => !blocked.is_empty(),
                    });
                // A root that was made while a clock was ahead is valid only from then on.
                // While a locked manager counts as lost, the others may be too few for what is left to do.
                let locked = report.blocked.iter().any(|b| b.why.starts_with("locked") && explains(&b.why, incidents));
                let clocks =
                    incidents.iter().any(|b| matches!(b, Incident::ClockSkew(..))) && format!("{report:?}").contains("not yet valid");
                if !explained && !clocks && !locked {
                    world.accuse("L1", format!("run {run} in calm did not arrive: {report:?}"));
                }
                return false;
            }
            last = Some(ended);
            // Whoever runs it again reads the report first.
            sleep(Duration::from_secs(20)).await;
        }
        world.accuse("L2", format!("four runs in calm, and there is always something left: {last:?}"));
        false
    }
}

impl Schedule {
    /// What arrived is taken down again: every host is out of every swarm.
    async fn destroyed(&mut self, world: &World, spec: &ClusterSpec, keys: &Drawer) {
        let ended = Tool::new(world, "destroyer", spec, keys).destroy().await;
        self.count("destroyed");
        if !ended.converged() {
            world.accuse("L1", format!("a calm destroy did not arrive: {ended:?}"));
        }
        for host in spec.hosts() {
            let facts = world.fleet("onlooker").engine(host.name.as_str()).info().await;
            if !facts.as_ref().is_ok_and(|f| f.swarm.reported == LocalState::Inactive) {
                world.accuse("I23", format!("destroyed was reported, and {} is in {facts:?}", host.name));
            }
        }
    }
}

/// What ends a trouble while the run still goes on.
fn cure(what: &Incident) -> Option<Incident> {
    Some(match what.clone() {
        Incident::PowerCut(host) => Incident::PowerOn(host),
        Incident::EngineStops(host) => Incident::EngineStarts(host),
        Incident::EngineFreezes(host) => Incident::EngineThaws(host),
        Incident::OperatorCutOff(host)
        | Incident::SshRefused(host)
        | Incident::LoginRefused(host)
        | Incident::HostKeyChanges(host)
        | Incident::SocketForbidden(host) => Incident::DoorOpens(host),
        Incident::OneWayCut(..) | Incident::Cut(..) | Incident::Isolated(_) => Incident::Heal,
        Incident::PortClosed(host) | Incident::PortTaken(host) => Incident::PortFree(host),
        Incident::DiskFull(host) | Incident::DiskLow(host) | Incident::LogFull(host) => Incident::DiskFree(host),
        _ => return None,
    })
}

/// The kind of something that happened, for the counter.
fn kind(what: &Incident) -> String {
    let text = format!("{what:?}");
    text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned()
}
