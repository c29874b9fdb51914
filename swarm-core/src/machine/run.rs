//! A run of a whole plan: which step may begin, through which manager, and who gets which answer.

use super::effect::{Answer, Call, Effect, EffectId};
use super::state::{Input, Outcome, Stage, StepRun, Todo, Why};
use crate::engine::{ErrorClass, JoinRequest, NodeChange, Reason};
use crate::id::{HostName, NodeId, StepId};
use crate::observe::NodeFacts;
use crate::plan::{Action, Plan, Step};
use crate::spec::Role;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// What a run knows when it begins, besides its plan.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Managers that answer, with the address others join at.
    pub managers: Vec<(HostName, String)>,
    /// The node of each host that is a member.
    pub nodes: BTreeMap<HostName, NodeId>,
    /// Effects under way at once.
    pub concurrency: usize,
}

/// The shortest and the longest time between two looks at the cluster.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// A plan being carried out. Times are durations since the run began.
#[derive(Debug)]
pub struct Run {
    steps: Vec<StepRun>,
    by_id: BTreeMap<StepId, usize>,
    /// Managers to ask, the one to ask first in front.
    managers: VecDeque<(HostName, String)>,
    nodes: BTreeMap<HostName, NodeId>,
    concurrency: usize,
    next_id: u64,
    in_flight: BTreeMap<EffectId, Option<usize>>,
    queue: VecDeque<(usize, Todo)>,
    look_at: Duration,
    look_pause: Duration,
    looking: bool,
    looks: u64,
    stopped: bool,
    failed_joins: u32,
    /// What managers said last.
    seen: Vec<NodeFacts>,
}

impl Run {
    /// A run at its beginning.
    pub fn new(plan: &Plan, start: Start) -> Self {
        let steps: Vec<StepRun> = plan.steps.iter().cloned().map(StepRun::new).collect();
        let by_id = plan.steps.iter().enumerate().map(|(index, s)| (s.id.clone(), index)).collect();
        let mut run = Self {
            steps,
            by_id,
            managers: start.managers.into(),
            nodes: start.nodes,
            concurrency: start.concurrency.max(1),
            next_id: 0,
            in_flight: BTreeMap::new(),
            queue: VecDeque::new(),
            look_at: Duration::ZERO,
            look_pause: LOOK_EVERY.0,
            looking: false,
            looks: 0,
            stopped: false,
            failed_joins: 0,
            seen: Vec::new(),
        };
        run.begin_what_can(Duration::ZERO);
        run
    }

    /// The next thing to do, or `None` for now.
    pub fn poll_effect(&mut self, now: Duration) -> Option<Effect> {
        if self.in_flight.len() < self.concurrency
            && let Some((index, todo)) = self.queue.pop_front()
        {
            return self.effect_for(index, &todo, now).or_else(|| self.poll_effect(now));
        }
        if self.wants_view() && !self.looking && now >= self.look_at {
            let host = self.managers.front()?.0.clone();
            self.looking = true;
            self.looks += 1;
            return Some(self.emit(host, None, Call::LookCluster));
        }
        None
    }

    /// When [`Run::handle_timeout`] must be called at the latest.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let steps = self.steps.iter().filter_map(|s| match s.stage {
            Stage::Pausing { until, .. } | Stage::Confirming { until } => Some(until),
            _ => None,
        });
        let look = (self.wants_view() && !self.looking).then_some(self.look_at);
        steps.chain(look).min()
    }

    /// Tells the run what came of an effect. An answer nobody waits for is dropped.
    pub fn handle_answer(&mut self, now: Duration, id: EffectId, answer: &Answer) {
        let Some(step) = self.in_flight.remove(&id) else { return };
        match step {
            None => self.cluster_looked(now, answer),
            Some(index) => {
                self.learn(index, answer);
                self.advance(index, &Input::Answer(answer), now);
                if matches!(answer, Answer::SawHost(_)) {
                    // The managers were asked at the same time: a node that is as it shall be in their answer was so a moment ago.
                    let view = std::mem::take(&mut self.seen);
                    self.show(index, view.iter().find(|n| self.nodes.get(&self.host_of(index)) == Some(&n.id)), now);
                    self.seen = view;
                }
            }
        }
        self.begin_what_can(now);
    }

    /// Tells the run that time has passed.
    pub fn handle_timeout(&mut self, now: Duration) {
        for index in 0..self.steps.len() {
            self.advance(index, &Input::Time, now);
        }
        self.begin_what_can(now);
    }

    /// Begins nothing more. What is under way goes on to its next answer.
    pub fn stop(&mut self) {
        self.stopped = true;
        self.queue.clear();
        for run in &mut self.steps {
            match run.stage {
                Stage::Waiting => run.stage = Stage::Ended(Outcome::NotStarted),
                Stage::Pausing { .. } | Stage::Confirming { .. } => {
                    run.stage = Stage::Ended(Outcome::InDoubt { message: "stopped before it was confirmed".into() });
                }
                _ => {}
            }
        }
    }

    /// Gives up on what is still under way.
    pub fn abandon(&mut self) {
        self.in_flight.clear();
        for run in &mut self.steps {
            if run.outcome().is_none() {
                let begun = run.attempts > 0;
                run.stage = Stage::Ended(if begun {
                    Outcome::InDoubt { message: "stopped while it was under way".into() }
                } else {
                    Outcome::NotStarted
                });
            }
        }
    }

    /// Whether every step has ended.
    pub fn is_over(&self) -> bool {
        self.steps.iter().all(|s| s.outcome().is_some())
    }

    /// How steps ended, in the plan's order; `None` for those that have not.
    pub fn outcomes(&self) -> impl Iterator<Item = (&Step, Option<&Outcome>)> {
        self.steps.iter().map(|s| (&s.step, s.outcome()))
    }

    /// Joins that failed: each may have left an entry in the node list.
    pub fn failed_joins(&self) -> u32 {
        self.failed_joins
    }

    fn emit(&mut self, host: HostName, step: Option<usize>, call: Call) -> Effect {
        self.next_id += 1;
        let id = EffectId(self.next_id);
        self.in_flight.insert(id, step);
        Effect { id, host, step: step.and_then(|i| self.steps.get(i)).map(|s| s.step.id.clone()), call }
    }

    /// Whether some step waits for what managers say, or soon will: a joined engine is asked for its id at the same time.
    fn wants_view(&self) -> bool {
        self.steps.iter().any(|s| {
            let entered = matches!(s.step.action, Action::Init { .. } | Action::Join { .. }) && s.stage == Stage::Looking(Why::Confirm);
            entered || matches!(s.stage, Stage::Confirming { .. })
        })
    }

    fn host_of(&self, index: usize) -> HostName {
        self.steps.get(index).map_or(HostName::new(""), |s| s.step.host.clone())
    }

    fn advance(&mut self, index: usize, input: &Input<'_>, now: Duration) {
        let Some(run) = self.steps.get_mut(index) else { return };
        let was_confirming = matches!(run.stage, Stage::Confirming { .. });
        let todo = run.next(input, now);
        let confirming = matches!(run.stage, Stage::Confirming { .. });
        let failed = matches!(input, Input::Answer(Answer::Failed(error)) if error.class != ErrorClass::Unreachable);
        if failed && matches!(run.step.action, Action::Join { .. }) {
            self.failed_joins += 1;
        }
        if (confirming && !was_confirming) || run.stage == Stage::Looking(Why::Confirm) {
            self.look_at = now;
            self.look_pause = LOOK_EVERY.0;
        }
        if todo != Todo::Nothing {
            if self.stopped {
                self.end_stopped(index);
            } else {
                self.queue.push_back((index, todo));
            }
        } else if self.stopped && confirming {
            self.end_stopped(index);
        }
    }

    fn end_stopped(&mut self, index: usize) {
        if let Some(run) = self.steps.get_mut(index) {
            run.stage = Stage::Ended(Outcome::InDoubt { message: "stopped before it was confirmed".into() });
        }
    }

    /// Begins every step whose needs have ended well, and ends those whose needs have not.
    fn begin_what_can(&mut self, now: Duration) {
        if self.stopped {
            return;
        }
        for index in 0..self.steps.len() {
            let Some(run) = self.steps.get(index) else { continue };
            if run.stage != Stage::Waiting {
                continue;
            }
            let needs: Vec<&StepRun> = run.step.needs.iter().filter_map(|n| self.by_id.get(n)).filter_map(|i| self.steps.get(*i)).collect();
            if let Some(bad) = needs.iter().find(|n| n.outcome().is_some_and(|o| !o.is_done())) {
                let by = bad.step.id.clone();
                if let Some(run) = self.steps.get_mut(index) {
                    run.stage = Stage::Ended(Outcome::Blocked { by });
                }
            } else if needs.iter().all(|n| is_enough(n, &run.step)) {
                self.advance(index, &Input::Begin, now);
            }
        }
    }

    fn effect_for(&mut self, index: usize, todo: &Todo, now: Duration) -> Option<Effect> {
        if *todo == Todo::CallElsewhere {
            self.managers.rotate_left(usize::from(self.managers.len() > 1));
        }
        let run = self.steps.get(index)?;
        let host = run.step.host.clone();
        let (at, call) = match todo {
            Todo::Nothing => return None,
            Todo::Look => (host, Call::LookHost),
            Todo::Leave => {
                let force = run.leave_force();
                (host, Call::Leave { force, node: None })
            }
            Todo::Call | Todo::CallElsewhere => match self.call_of(run) {
                Some(call) => call,
                None => {
                    let message = "no manager is left that could be asked".to_owned();
                    if let Some(run) = self.steps.get_mut(index) {
                        run.stage = Stage::Ended(Outcome::Failed { message });
                    }
                    self.begin_what_can(now);
                    return None;
                }
            },
        };
        Some(self.emit(at, Some(index), call))
    }

    /// The call of a step, and the engine it goes to.
    fn call_of(&self, run: &StepRun) -> Option<(HostName, Call)> {
        let host = run.step.host.clone();
        let node = self.nodes.get(&host).cloned();
        let update = |change: NodeChange| Some((self.manager_for(&run.step)?, Call::UpdateNode { node: node.clone()?, change }));
        match &run.step.action {
            Action::Init { request } => Some((host, Call::Init(request.clone()))),
            Action::Join { role, advertise, listen, data_path, availability } => {
                let (via, remote) = self.managers.front()?.clone();
                let request = JoinRequest {
                    advertise: *advertise,
                    listen: listen.clone(),
                    data_path: *data_path,
                    availability: *availability,
                    remote,
                };
                Some((host, Call::Join { role: *role, via, request }))
            }
            Action::Leave { force, node } => Some((host, Call::Leave { force: *force, node: node.clone() })),
            Action::Configure { change } => update(change.clone()),
            Action::Promote => update(NodeChange { role: Some(Role::Manager), ..NodeChange::default() }),
            Action::Demote => update(NodeChange { role: Some(Role::Worker), ..NodeChange::default() }),
            Action::UpdateSwarm { change } => Some((self.manager_for(&run.step)?, Call::UpdateSwarm(change.clone()))),
            Action::StoreUnlockKey => Some((self.manager_for(&run.step)?, Call::StoreUnlockKey)),
            Action::RemoveNode { node, demote } => {
                let via = self.manager_for(&run.step)?;
                let call = if *demote && !run.demoted {
                    Call::UpdateNode { node: node.clone(), change: NodeChange { role: Some(Role::Worker), ..NodeChange::default() } }
                } else {
                    Call::RemoveNode { node: node.clone() }
                };
                Some((via, call))
            }
        }
    }

    /// The manager to ask; never the one that the step demotes, unless it is the only one.
    fn manager_for(&self, step: &Step) -> Option<HostName> {
        let other = self.managers.iter().find(|(m, _)| step.action != Action::Demote || *m != step.host);
        other.or(self.managers.front()).map(|(m, _)| m.clone())
    }

    /// Takes from an answer what other steps need to know.
    fn learn(&mut self, index: usize, answer: &Answer) {
        let Some(run) = self.steps.get(index) else { return };
        let host = run.step.host.clone();
        let made_by = match (&run.step.action, answer) {
            (Action::Init { request }, Answer::Done) => Some(request),
            (Action::Init { request }, Answer::SawHost(swarm)) if swarm.control_available => Some(request),
            _ => None,
        };
        let address = made_by.map(|request| {
            let port = request.listen.rsplit(':').next().and_then(|p| p.parse().ok()).unwrap_or(crate::addr::DEFAULT_LISTEN_PORT);
            SocketAddr::new(request.advertise, port).to_string()
        });
        match answer {
            Answer::SawHost(swarm) => {
                if let Some(node) = &swarm.node {
                    self.nodes.insert(host.clone(), node.clone());
                }
            }
            Answer::Failed(error) if error.class != ErrorClass::Refused && error.reason != Reason::OutOfSequence => {
                // Whoever gave no good answer is asked last next time.
                self.managers.rotate_left(usize::from(
                    self.managers.len() > 1 && !matches!(run.step.action, Action::Join { .. } | Action::Init { .. } | Action::Leave { .. }),
                ));
            }
            _ => {}
        }
        if let Some(address) = address {
            self.add_manager(host, address);
        }
    }

    /// Shows a step what managers say of its node; a host that is a manager now can be asked from now on.
    fn show(&mut self, index: usize, node: Option<&NodeFacts>, now: Duration) {
        self.advance(index, &Input::View(node), now);
        let Some(run) = self.steps.get(index) else { return };
        let manages = matches!(run.step.action, Action::Join { role: Role::Manager, .. } | Action::Promote);
        if let (true, true, Some(manager)) = (manages, run.outcome().is_some_and(Outcome::is_done), node.and_then(|n| n.manager.as_ref())) {
            self.add_manager(run.step.host.clone(), manager.address.clone());
        }
    }

    fn add_manager(&mut self, host: HostName, address: String) {
        if !self.managers.iter().any(|(m, _)| *m == host) {
            self.managers.push_back((host, address));
        }
    }

    fn cluster_looked(&mut self, now: Duration, answer: &Answer) {
        self.looking = false;
        self.look_pause = (self.look_pause * 3 / 2).min(LOOK_EVERY.1);
        self.look_at = now + self.look_pause;
        let Answer::SawCluster(view) = answer else {
            self.managers.rotate_left(usize::from(self.managers.len() > 1));
            self.handle_timeout(now);
            return;
        };
        let by_id: BTreeMap<&NodeId, &NodeFacts> = view.iter().map(|n| (&n.id, n)).collect();
        for index in 0..self.steps.len() {
            let Some(run) = self.steps.get(index) else { continue };
            let id = match &run.step.action {
                Action::RemoveNode { node, .. } => Some(node),
                _ => self.nodes.get(&run.step.host),
            };
            let node = id.and_then(|id| by_id.get(id).copied());
            self.show(index, node, now);
        }
        self.seen.clone_from(view);
        let demoted: Vec<HostName> = self
            .steps
            .iter()
            .filter(|r| r.step.action == Action::Demote && r.outcome().is_some_and(Outcome::is_done))
            .map(|r| r.step.host.clone())
            .collect();
        self.managers.retain(|(m, _)| !demoted.contains(m));
    }
}

/// Whether a step has come far enough for another that needs it. A swarm can be joined as soon as its first manager runs.
fn is_enough(need: &StepRun, waiting: &Step) -> bool {
    let established =
        matches!(need.step.action, Action::Init { .. }) && matches!(need.stage, Stage::Confirming { .. } | Stage::Looking(Why::Confirm));
    need.outcome().is_some_and(Outcome::is_done) || (established && matches!(waiting.action, Action::Join { .. }))
}
