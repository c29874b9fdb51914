//! What a run does with what it hears: plans of every kind are carried out, and every call gets a drawn answer, fitting or not, at a drawn time;
//! in `tests/data/steps.txt`. A look at an engine and a list of the managers stay what they are for a while, as they do in the world.

use super::{Draw, drawn, is_summed, is_written};
use crate::credential::Part;
use crate::engine::{EngineError, ErrorClass, Force, NodeChange, Reason};
use crate::id::{ClusterId, HostName, NodeId};
use crate::intent::{Intent, Next, SoFar};
use crate::machine::{Answer, Call, Effect, Outcome, Run, Start};
use crate::nodes::RemoveNodes;
use crate::observe::{LocalState, LocalSwarm, NodeFacts, NodeState, Observation, Observed, Reachability, merge};
use crate::plan::{Plan, PlanOptions, Planned, build, build_destroy};
use crate::recover::Recover;
use crate::replace::Replace;
use crate::spec::{Availability, ClusterSpec, JOIN_LABEL, Role};
use crate::testkit::{Is, Wanted, node, spec_with, world};
use crate::unlock::Unlock;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

const RUNS: u64 = 150;
/// Further ones, of which only a sum is kept.
const SUMMED: Range<u64> = RUNS..RUNS + 10_000;
/// Answers that a run gets at most.
const ANSWERS: usize = 45;

/// What hosts are, and what the file makes of them.
const KINDS: [&[(&str, Is, &str)]; 8] = [
    &[("m1", Is::Alone, "manager"), ("m2", Is::Alone, "manager"), ("w1", Is::Alone, "worker")],
    &[("m1", Is::Manager, "manager"), ("m2", Is::Alone, "manager")],
    &[("m1", Is::Manager, "manager"), ("w1", Is::Alone, "worker"), ("w2", Is::Removed, "worker")],
    &[("m1", Is::Manager, "manager"), ("w1", Is::Worker, "manager")],
    &[("m1", Is::Manager, "manager"), ("m2", Is::Manager, "manager"), ("m3", Is::Manager, "worker")],
    &[("m1", Is::Manager, "manager"), ("m2", Is::Manager, "manager"), ("w1", Is::Worker, "none")],
    &[("m1", Is::Manager, "manager"), ("m2", Is::LostManager, "manager"), ("m3", Is::Joining, "manager")],
    &[("m1", Is::Manager, "manager"), ("m2", Is::Locked, "manager"), ("m3", Is::Manager, "manager")],
];

/// A plan with steps, and what it was made from.
fn a_plan(draw: &mut Draw, seed: u64) -> Option<(Plan, ClusterSpec, Observed)> {
    let (spec, look): (ClusterSpec, Observation) = if draw.one_in(3) {
        let (spec, look, _) = drawn(seed);
        (spec, look)
    } else {
        let hosts = draw.of(&KINDS);
        let labels: &[(&str, &str)] = draw.of(&[&[][..], &[("rack", "a")][..]]);
        let wanted: Vec<Wanted<'_>> =
            hosts.iter().map(|(name, _, role)| (*name, *role, if *role == "none" { &[][..] } else { labels })).collect();
        (spec_with(&wanted), world(&hosts.iter().map(|(name, is, _)| (*name, *is)).collect::<Vec<_>>()))
    };
    let observed = merge(&spec, &look, &BTreeSet::new());
    let names: Vec<HostName> = spec.hosts().map(|h| h.name.clone()).collect();
    let one = draw.of(&names);
    let round = |intent: &dyn Intent| match intent.next(&observed, SoFar::default()) {
        Next::Round(plan) => Some(plan),
        _ => None,
    };
    let planned = |planned: Planned| match planned {
        Planned::Plan(plan) => Some(plan),
        Planned::Refused(_) => None,
    };
    let plan = match draw.below(16) {
        0 => planned(build_destroy(&spec, &observed, draw.of(&[Force::No, Force::Yes]))),
        1 | 2 => round(&RemoveNodes {
            spec: &spec,
            hosts: vec![one.clone()],
            dead: if draw.one_in(2) { vec![one] } else { Vec::new() },
            entries: Vec::new(),
        }),
        3 | 4 => round(&Recover { spec: &spec, host: one, fenced: names.iter().map(ToString::to_string).collect(), seen: BTreeMap::new() }),
        5 => {
            let parts = draw.of(&[vec![Part::Root], vec![Part::WorkerToken], vec![Part::UnlockKey]]);
            Replace::of(&spec, &observed, &parts, &|| None).ok().and_then(|replace| round(&replace))
        }
        6 => round(&Unlock { spec: &spec, hosts: names }),
        _ => planned(build(&spec, &observed, &PlanOptions { prune: true, force_leave: [one].into(), ..PlanOptions::default() })),
    };
    plan.filter(|p| !p.steps.is_empty()).map(|p| (p, spec, observed))
}

/// What answers: engines and managers that stay as they are for a while.
struct World {
    draw: Draw,
    engines: BTreeMap<HostName, LocalSwarm>,
    listed: BTreeMap<NodeId, NodeFacts>,
    hosts: Vec<HostName>,
    /// How many of ten answers are good.
    mood: u64,
}

const REASONS: [Reason; 22] = [
    Reason::Other,
    Reason::Unreadable,
    Reason::AlreadyInSwarm,
    Reason::NotManager,
    Reason::NotReady,
    Reason::JoinGoesOn,
    Reason::NoLeader,
    Reason::OutOfSequence,
    Reason::TokenRejected,
    Reason::ForeignCa,
    Reason::DialBack,
    Reason::RemoteUnreachable,
    Reason::Locked,
    Reason::Quorum,
    Reason::Unhealthy,
    Reason::Unhealthy,
    Reason::NoSpace,
    Reason::NotInRaft,
    Reason::NodeInUse,
    Reason::NotFound,
    Reason::Removed,
    Reason::Quorum,
];

impl World {
    fn fails(&mut self) -> Answer {
        let class =
            self.draw.of(&[ErrorClass::Unknown, ErrorClass::Unknown, ErrorClass::Unreachable, ErrorClass::Conflict, ErrorClass::Refused]);
        let reason = self.draw.of(&REASONS);
        let class = if reason == Reason::Unhealthy { ErrorClass::Conflict } else { class };
        let message = if self.draw.one_in(12) { "certificate is not yet valid" } else { "it failed" };
        Answer::Failed(EngineError { doing: "x", class, reason, message: message.into() })
    }

    fn engine(&mut self, host: &HostName) -> Answer {
        if self.draw.one_in(12) {
            return self.fails();
        }
        if !self.draw.one_in(3)
            && let Some(swarm) = self.engines.get(host)
        {
            return Answer::SawHost(swarm.clone());
        }
        let draw = &mut self.draw;
        let reported = match draw.below(12 + self.mood) {
            0..3 => LocalState::Inactive,
            3 | 4 => LocalState::Pending,
            5 | 6 => LocalState::Error,
            7 => LocalState::Locked,
            8 => LocalState::Other("odd".into()),
            _ => LocalState::Active,
        };
        let with_node = match reported {
            LocalState::Active => !draw.one_in(8),
            LocalState::Inactive => false,
            _ => draw.one_in(2),
        };
        let error = (reported == LocalState::Error || draw.one_in(8)).then(|| {
            draw.of(&[
                "no space left on device",
                "rpc error: code = Unavailable desc = connection refused",
                "manager stopped: failed to listen",
                "context deadline exceeded",
            ])
            .to_owned()
        });
        let swarm = LocalSwarm {
            node: with_node.then(|| NodeId::new(format!("{}-{host}", draw.of(&["node", "node", "new"])))),
            control_available: reported == LocalState::Active && !draw.one_in(3),
            cluster: (reported == LocalState::Active && !draw.one_in(3)).then(|| ClusterId::new("ours")),
            error: error.filter(|_| !draw.one_in(6)),
            reported,
            ..LocalSwarm::outside()
        };
        self.engines.insert(host.clone(), swarm.clone());
        Answer::SawHost(swarm)
    }

    /// A list in which one node is another than it was in the last.
    fn list(&mut self) -> Answer {
        if self.draw.one_in(12) {
            return self.fails();
        }
        for _ in 0..1 + self.draw.below(2) {
            let host = self.draw.of(&self.hosts);
            let draw = &mut self.draw;
            let role = if draw.one_in(4) == host.as_str().starts_with('m') { Role::Worker } else { Role::Manager };
            let state = draw.of(&[NodeState::Ready, NodeState::Ready, NodeState::Down, NodeState::Unknown]);
            let mut one = node(host.as_str(), role, state, draw.one_in(5));
            one.id = NodeId::new(format!("{}-{host}", draw.of(&["node", "node", "new", "late"])));
            if draw.one_in(4) {
                one.hostname = String::new();
            }
            if draw.one_in(6) {
                one.labels =
                    [draw.of(&[(JOIN_LABEL, "m2"), ("rack", "a"), ("rack", "a")])].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
            }
            if draw.one_in(6) {
                one.availability = draw.of(&[Availability::Drain, Availability::Pause]);
            }
            if let Some(manager) = &mut one.manager {
                if draw.one_in(5) {
                    manager.reachability = draw.of(&[Reachability::Reachable, Reachability::Unreachable]);
                }
                if draw.one_in(8) {
                    manager.address = "10.9.9.9:2377".into();
                }
            }
            if draw.one_in(5) {
                self.listed.remove(&one.id);
            } else {
                self.listed.insert(one.id.clone(), one);
            }
        }
        Answer::SawCluster(self.listed.values().cloned().collect())
    }

    /// The node of a call becomes what the call makes of it, or does not.
    fn update(&mut self, id: &NodeId, change: &NodeChange) {
        let Some(one) = self.listed.get_mut(id) else { return };
        if let Some(role) = change.role {
            let was = node(one.hostname.strip_prefix("node-").unwrap_or("m1"), role, one.state.clone(), false);
            (one.role, one.manager) =
                (role, was.manager.map(|m| crate::observe::ManagerFacts { address: format!("{}:2377", one.address), ..m }));
        }
        one.availability = change.availability.unwrap_or(one.availability);
        for (key, value) in &change.labels {
            match value {
                Some(value) => one.labels.insert(key.clone(), value.clone()),
                None => one.labels.remove(key),
            };
        }
    }

    fn answer(&mut self, effect: &Effect) -> Answer {
        match &effect.call {
            Call::LookHost | Call::LookMade { .. } => self.engine(&effect.host),
            Call::LookCluster | Call::LookNew { .. } => self.list(),
            Call::LookSwarm => self.fails(),
            Call::Ask(_) => Answer::Replies(Vec::new()),
            _ if self.draw.below(10) >= self.mood => self.fails(),
            _ if self.draw.one_in(8) => Answer::AlreadySo,
            call => {
                match call {
                    Call::UpdateNode { node, change } => self.update(node, change),
                    Call::TakeBack { node, .. } => self.update(node, &NodeChange { role: Some(Role::Worker), ..NodeChange::default() }),
                    Call::RemoveNode { node, .. } => {
                        self.listed.remove(node);
                    }
                    _ => {}
                }
                Answer::Done
            }
        }
    }
}

fn called(call: &Call) -> String {
    match call {
        Call::Init(request) => format!("init {}", request.advertise),
        Call::Join { role, via, request, guarded } => {
            format!("join as {role} via {via} at {}, {}{}", request.remote, request.availability, if *guarded { ", guarded" } else { "" })
        }
        Call::Leave { force, node, leaderless } => format!("leave {force:?} {node:?} {leaderless}"),
        Call::UpdateNode { node, change } => format!("update {node} {:?} {:?} {:?}", change.role, change.availability, change.labels),
        Call::TakeBack { node, of } => format!("take back {node} of {of:?}"),
        Call::RemoveNode { node, of } => format!("remove {node} of {of:?}"),
        Call::UpdateSwarm(_) => "update swarm".into(),
        Call::Recover { advertise, listen } => format!("recover {advertise} {listen}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn answered(answer: &Answer) -> String {
    match answer {
        Answer::Failed(error) => {
            format!("{:?} {:?} {}", error.class, error.reason, if error.message.contains("valid") { "clock" } else { "" })
        }
        Answer::SawHost(swarm) => {
            let node = swarm.node.as_ref().map_or("-", NodeId::as_str);
            format!("{:?} {node} {} {} {:?}", swarm.reported, swarm.control_available, swarm.cluster.is_some(), swarm.error)
        }
        Answer::SawCluster(nodes) => {
            let one = |n: &NodeFacts| {
                let manager =
                    n.manager.as_ref().map(|m| format!("{}{:?}@{}", if m.leader { "leader " } else { "" }, m.reachability, m.address));
                let name = if n.hostname.is_empty() { "nameless " } else { "" };
                format!(
                    "{name}{} {:?} {} {:?} {}",
                    n.id,
                    n.state,
                    n.availability,
                    n.labels.values().collect::<Vec<_>>(),
                    manager.unwrap_or_default()
                )
            };
            nodes.iter().map(one).collect::<Vec<_>>().join(" | ")
        }
        other => format!("{other:?}").to_lowercase(),
    }
}

fn play(seed: u64, out: &mut String) {
    let mut draw = Draw(seed.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ 79);
    let Some((plan, spec, observed)) = a_plan(&mut draw, seed) else { return };
    let mut world = World {
        engines: BTreeMap::new(),
        listed: observed.view().iter().flat_map(|v| &v.nodes).map(|n| (n.id.clone(), n.clone())).collect(),
        hosts: spec.hosts().map(|h| h.name.clone()).collect(),
        mood: 4 + draw.below(6),
        draw: Draw(draw.0 ^ 5),
    };
    let steps: Vec<&str> = plan.steps.iter().map(|s| s.id.as_str()).collect();
    let _ = writeln!(out, "{seed}: {:?} {}", plan.purpose, steps.join(" "));
    let mut run = Run::new(&plan, Start::of(&observed, 2), &|_| Err("there is no other family".into()));
    let (mut now, mut under_way): (Duration, Vec<(Duration, Effect)>) = Default::default();
    for count in 0..ANSWERS {
        while let Some(effect) = run.poll_effect(now) {
            let _ = writeln!(out, "  {:>6.1} {} {}", now.as_secs_f64(), effect.host, called(&effect.call));
            let latency = world.draw.of(&[0, 0, 100, 500, 1000, 3000, 26_000]);
            under_way.push((now + Duration::from_millis(latency), effect));
        }
        while let Some((step, outcome)) = run.poll_ended() {
            let _ = writeln!(out, "         {}: {}", step.id, serde_json::to_string(outcome).unwrap());
        }
        while let Some((step, said)) = run.poll_progress() {
            let _ = writeln!(out, "         {step}: {said}");
        }
        if run.is_over() {
            break;
        }
        if count + 1 == ANSWERS || draw.one_in(400) {
            run.abandon();
            continue;
        }
        if draw.one_in(120) {
            let _ = writeln!(out, "  stopped");
            run.stop();
            continue;
        }
        under_way.sort_by_key(|(due, effect)| (*due, effect.id));
        let due = under_way.first().map(|(due, _)| *due);
        let timer = run.poll_timeout().map(|at| at.max(now));
        if let Some(at) = timer.filter(|at| due.is_none_or(|due| *at < due)) {
            now = at;
            run.handle_timeout(now);
        } else if let Some(due) = due {
            now = due.max(now);
            let (_, effect) = under_way.remove(0);
            let answer = world.answer(&effect);
            let _ = writeln!(out, "  {:>6.1} {} <- {}", now.as_secs_f64(), effect.host, answered(&answer));
            run.handle_answer(now, effect.id, &answer);
        } else {
            let _ = writeln!(out, "  nothing is under way, and nothing is waited for");
            break;
        }
    }
    let outcomes: Vec<Option<&Outcome>> = run.outcomes().map(|(_, outcome)| outcome).collect();
    assert!(outcomes.iter().all(Option::is_some), "{seed}: {outcomes:?}\n{out}");
    for (step, outcome) in run.outcomes() {
        let _ = writeln!(out, "  {}: {}", step.id, serde_json::to_string(&outcome).unwrap());
    }
    let _ = writeln!(out, "  {} joins failed", run.failed_joins());
}

#[test]
fn what_a_run_does_is_the_same_in_many_more() {
    is_summed("steps.sums", SUMMED, |seed| {
        let mut out = String::new();
        play(seed, &mut out);
        out
    });
}

#[test]
fn what_a_run_does_with_what_it_hears_is_as_written_down() {
    let mut out = String::new();
    (0..RUNS).for_each(|seed| play(seed, &mut out));
    is_written("steps.txt", &out);
}
