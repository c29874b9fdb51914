//! A run of a whole plan: which step may begin, through which manager, and who gets which answer.

use super::board::Board;
use super::families::{FamilyRun, Place};
use super::start::Start;
use crate::engine::{ErrorClass, Force, NodeChange, Reason};
use crate::id::{HostName, NodeId, StepId};
use crate::observe::NodeFacts;
use crate::plan::Plan;
use crate::spec::JOIN_LABEL;
use crate::step::{
    Answer, Call, Effect, EffectId, Event, Input, MakeTask, Outcome, PEEK_AT_JOIN, Rejoining, Stage, Step, StepRun, Todo, Voters, Ways, Why,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// The shortest and the longest time between two looks at the cluster.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// The longest time between two looks while an engine makes a swarm: nothing else can begin before. It holds for so many looks.
const LOOK_EVERY_INIT: Duration = Duration::from_millis(40);
const LOOKS_AT_INIT: u32 = 50;
/// How long a look at the cluster is apart from the last one for each node it lists: the list of a large swarm costs its managers something.
const LOOK_PER_NODE: Duration = Duration::from_micros(100);
/// A list of so many nodes costs nothing worth sparing.
const SHORT_LIST: usize = 50;

/// A plan being carried out. Times are durations since the run began.
#[derive(Debug)]
pub struct Run {
    pub(super) board: Board,
    /// Managers to ask, the one to ask first in front.
    pub(super) managers: VecDeque<(HostName, String)>,
    pub(super) nodes: BTreeMap<HostName, NodeId>,
    concurrency: usize,
    next_id: u64,
    /// What is under way, and who was asked.
    in_flight: BTreeMap<EffectId, (Flight, HostName)>,
    pub(super) queue: VecDeque<(usize, Todo)>,
    pub(super) look_at: Duration,
    look_pause: Duration,
    pub(super) looked_at: Duration,
    /// How far steps are, for onlookers.
    pub(super) progress: VecDeque<(StepId, String)>,
    looking: bool,
    looks_at_init: u32,
    pub(super) stopped: bool,
    failed_joins: u32,
    /// What managers said last, and when they were asked.
    pub(super) seen: Arc<BTreeMap<NodeId, NodeFacts>>,
    asked: Duration,
    /// The nodes that were listed before the run.
    listed: Arc<BTreeSet<NodeId>>,
    /// Whether the swarm was there before the run.
    pub(super) running: bool,
}

/// What an effect under way is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flight {
    /// A look at the whole cluster.
    View,
    /// The step's own call.
    Step(usize),
    /// A look at a step's host beside its call.
    Peek(usize),
}

impl Run {
    /// A run at its beginning. `task` gives the tasks of steps of other families.
    pub fn new(plan: &Plan, start: Start, task: MakeTask<'_>) -> Self {
        let mut run = Self {
            board: Board::new(plan, task),
            progress: VecDeque::new(),
            managers: start.managers.into(),
            nodes: start.nodes,
            concurrency: start.concurrency.max(1),
            next_id: 0,
            in_flight: BTreeMap::new(),
            queue: VecDeque::new(),
            look_at: Duration::ZERO,
            look_pause: LOOK_EVERY.0,
            looked_at: Duration::ZERO,
            looking: false,
            looks_at_init: 0,
            stopped: false,
            failed_joins: 0,
            seen: Arc::default(),
            asked: Duration::ZERO,
            listed: Arc::new(start.listed),
            running: plan.swarm.is_some(),
        };
        run.begin_what_can(Duration::ZERO);
        run
    }

    /// The next thing to do, or `None` for now.
    pub fn poll_effect(&mut self, now: Duration) -> Option<Effect> {
        while self.in_flight.len() < self.concurrency
            && let Some((index, todo)) = self.queue.pop_front()
        {
            if let Some(effect) = self.effect_for(index, &todo, now) {
                return Some(effect);
            }
        }
        if self.wants_view()
            && now >= self.look_at
            && let Some((host, call)) = self.whom_to_ask()
        {
            self.looking = true;
            self.asked = now;
            return Some(self.emit(host, Flight::View, call));
        }
        None
    }

    /// When [`Run::handle_timeout`] must be called at the latest.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let look = (self.wants_view() && self.whom_to_ask().is_some()).then_some(self.look_at);
        self.board.next_timer().into_iter().chain(look).min()
    }

    /// Tells the run the outcome of an effect. An answer no one waits for is dropped.
    pub fn handle_answer(&mut self, now: Duration, id: EffectId, answer: &Answer) {
        let Some((flight, at)) = self.in_flight.remove(&id) else { return };
        match flight {
            Flight::View => self.cluster_looked(now, &at, answer),
            Flight::Peek(index) => {
                self.learn(index, &at, answer);
                self.advance(index, &Input::Peeked(answer), now);
            }
            Flight::Step(index) if self.board.is_family(index) => self.family_answered(index, &at, answer, now),
            Flight::Step(index) => {
                self.learn(index, &at, answer);
                self.advance(index, &Input::Answer(answer), now);
                if matches!(answer, Answer::SawHost(_)) {
                    // The managers were asked at the same time: a node that is as it is to be in their answer was so a moment ago.
                    let node = self.node_of(index).and_then(|id| self.seen.get(&id)).cloned();
                    self.show(index, node.as_ref(), now);
                }
            }
        }
        self.begin_what_can(now);
    }

    /// Tells the run that time has passed.
    pub fn handle_timeout(&mut self, now: Duration) {
        for index in self.board.due(now) {
            if self.board.is_family(index) {
                self.hear(index, Event::Time, now);
            } else {
                self.advance(index, &Input::Time, now);
            }
        }
        self.begin_what_can(now);
    }

    /// Begins nothing more. What is under way goes on to its next answer.
    pub fn stop(&mut self) {
        self.stopped = true;
        let queued: BTreeSet<usize> = self.queue.drain(..).map(|(index, _)| index).collect();
        for index in 0..self.board.steps().len() {
            self.board.change(index, |run| match run.stage {
                Stage::Waiting => run.stage = Stage::Ended(Outcome::NotStarted),
                Stage::Calling if queued.contains(&index) && run.attempts <= 1 => run.stage = Stage::Ended(Outcome::NotStarted),
                Stage::Pausing { .. }
                | Stage::Confirming { .. }
                | Stage::Claiming { .. }
                | Stage::Searching { .. }
                | Stage::Demoted { .. } => run.stage = Stage::Ended(unconfirmed()),
                _ if queued.contains(&index) => run.stage = Stage::Ended(unconfirmed()),
                _ => {}
            });
            // What one of another family asked for is answered first.
            self.board.change_family(index, |run| {
                if !matches!(run.place, Place::Asking) || queued.contains(&index) {
                    run.begun &= !queued.contains(&index);
                    run.stop();
                }
            });
        }
    }

    /// Gives up on what is still under way.
    pub fn abandon(&mut self) {
        self.in_flight.clear();
        for index in 0..self.board.steps().len() {
            self.board.change(index, |run| {
                if run.outcome().is_none() {
                    let begun = run.attempts > 0;
                    let doubt = Outcome::InDoubt { message: "stopped while it was under way".into() };
                    run.stage = Stage::Ended(if begun { doubt } else { Outcome::NotStarted });
                }
            });
            self.board.change_family(index, FamilyRun::stop);
        }
    }

    /// Whether every step has ended.
    pub fn is_over(&self) -> bool {
        self.board.is_over()
    }

    /// How steps ended, in the plan's order; `None` for those that have not.
    pub fn outcomes(&self) -> impl Iterator<Item = (&Step, Option<&Outcome>)> {
        self.board.steps().iter().map(|seat| (seat.step(), seat.outcome()))
    }

    /// A step that ended since this was asked last, for onlookers.
    pub fn poll_ended(&mut self) -> Option<(&Step, &Outcome)> {
        self.board.poll_ended()
    }

    /// How far a step is, if that has changed since this was asked last.
    pub fn poll_progress(&mut self) -> Option<(StepId, String)> {
        self.progress.pop_front()
    }

    /// Joins that failed: each may have left an entry in the node list.
    pub fn failed_joins(&self) -> u32 {
        self.failed_joins
    }

    pub(super) fn emit(&mut self, host: HostName, flight: Flight, call: Call) -> Effect {
        self.next_id += 1;
        let id = EffectId(self.next_id);
        self.in_flight.insert(id, (flight, host.clone()));
        let step = match flight {
            Flight::View => None,
            Flight::Step(index) | Flight::Peek(index) => self.board.id(index),
        };
        Effect { id, host, step, call }
    }

    /// What is kept between two lists of all nodes.
    fn list_pause(&self) -> Duration {
        LOOK_PER_NODE * u32::try_from(self.seen.len().saturating_sub(SHORT_LIST)).unwrap_or(u32::MAX)
    }

    fn wants_view(&self) -> bool {
        !self.board.viewing().is_empty() && !self.stopped && !self.looking
    }

    /// The manager to look at the cluster with; before there is one, the engine that makes the swarm.
    fn whom_to_ask(&self) -> Option<(HostName, Call)> {
        let new = || {
            let run = self.making()?;
            Some((run.host.clone(), Call::LookNew { name: run.step.action.kind().makes()?.name().to_owned() }))
        };
        self.managers.front().map(|(host, _)| (host.clone(), Call::LookCluster)).or_else(new)
    }

    /// The step that makes the swarm, while its call is under way.
    fn making(&self) -> Option<&StepRun> {
        let index = self.board.viewing().first()?;
        self.board.get(*index).filter(|r| r.step.action.kind().makes().is_some() && r.stage == Stage::Calling)
    }

    fn node_of(&self, index: usize) -> Option<NodeId> {
        let run = self.board.get(index)?;
        run.step.action.kind().node().or_else(|| self.nodes.get(&run.host)).cloned()
    }

    fn advance(&mut self, index: usize, input: &Input<'_>, now: Duration) {
        let Some(run) = self.board.get(index) else { return };
        let was_confirming = run.stage.wants_view();
        let was_looking = run.stage == Stage::Looking(Why::Confirm);
        let Some(todo) = self.board.change(index, |run| run.next(input, now)) else { return };
        let Some(run) = self.board.get(index) else { return };
        let confirming = run.stage.wants_view();
        let failed = matches!(input, Input::Answer(Answer::Failed(error)) if error.class != ErrorClass::Unreachable && error.reason != Reason::Unhealthy);
        let rejoins = confirming && run.rejoin == Rejoining::Joins && !was_confirming;
        let kind = run.step.action.kind();
        if (failed && run.joins() && run.rejoin == Rejoining::No) || rejoins {
            self.failed_joins += 1;
        }
        if (confirming && !was_confirming) || (run.stage == Stage::Looking(Why::Confirm) && !was_looking) {
            self.look_at = now.max(self.looked_at + self.list_pause());
            self.look_pause = LOOK_EVERY.0;
        } else if kind.makes().is_some() && run.stage == Stage::Calling {
            self.look_at = now + LOOK_EVERY_INIT;
        }
        if todo != Todo::Nothing {
            if self.stopped {
                self.board.change(index, |run| run.stage = Stage::Ended(unconfirmed()));
            } else {
                self.queue.push_back((index, todo));
            }
        } else if self.stopped && confirming {
            self.board.change(index, |run| run.stage = Stage::Ended(unconfirmed()));
        }
        self.count_managers(index);
    }

    /// Begins every step whose needs have ended well, and ends those whose needs have not.
    pub(super) fn begin_what_can(&mut self, now: Duration) {
        while !self.stopped
            && let Some(index) = self.board.next_to_begin()
        {
            if self.board.is_family(index) {
                self.hear(index, Event::Begin, now);
            } else {
                self.advance(index, &Input::Begin, now);
            }
        }
    }

    fn no_manager(&mut self, index: usize, now: Duration) -> Option<Effect> {
        let message = "no manager is left that could be asked".to_owned();
        self.board.change(index, |run| run.stage = Stage::Ended(Outcome::Failed { message }));
        self.begin_what_can(now);
        None
    }

    fn effect_for(&mut self, index: usize, todo: &Todo, now: Duration) -> Option<Effect> {
        if *todo == Todo::CallElsewhere
            && let Some(last) = self.board.get(index).and_then(|run| run.via.clone())
        {
            self.put_last(&last);
        }
        if let Todo::Ask(asks) = todo {
            return self.ask(index, asks.clone(), now);
        }
        let run = self.board.get(index)?;
        let host = run.host.clone();
        let (at, call) = match todo {
            Todo::Nothing | Todo::Ask(_) => return None,
            Todo::Peek => return Some(self.emit(host, Flight::Peek(index), Call::LookHost)),
            Todo::Demote(node) => (self.ways().manager(&run.step)?, Call::TakeBack { node: node.clone(), of: Some(host) }),
            Todo::Mark(node) => {
                let labels = [(JOIN_LABEL.to_owned(), Some(host.to_string()))].into();
                let change = NodeChange { labels, ..NodeChange::default() };
                (self.ways().manager(&run.step)?, Call::UpdateNode { node: node.clone(), change })
            }
            Todo::Remove(node) => (self.ways().manager(&run.step)?, Call::RemoveNode { node: node.clone(), of: Some(host) }),
            Todo::Look => (host, run.step.action.kind().look()),
            Todo::LookSwarm => match self.ways().manager(&run.step) {
                Some(manager) => (manager, Call::LookSwarm),
                None => return self.no_manager(index, now),
            },
            Todo::Leave => (host, Call::Leave { force: Force::No, node: None, leaderless: false }),
            Todo::Call | Todo::CallElsewhere => match run.step.action.kind().call(run, self.ways()) {
                Some(call) => call,
                None => return self.no_manager(index, now),
            },
        };
        if let Call::Join { request, .. } = &call {
            // Only what a manager's join leaves is looked for; ten thousand workers are not to keep a list of nodes each.
            let claims = self.board.get(index).is_some_and(StepRun::joins_as_manager);
            let before = if claims { self.listed.iter().chain(self.seen.keys()).cloned().collect() } else { BTreeSet::new() };
            let (address, listed) = (Some(request.advertise), Arc::clone(&self.listed));
            self.board.change(index, |run| {
                // What came in an earlier try is new to this step too.
                if run.claim.address.is_none() {
                    run.claim.before = before;
                }
                run.claim.listed = listed;
                run.claim.address = address;
                run.peek_at = run.joins_as_manager().then_some(now + PEEK_AT_JOIN);
            });
        }
        if let Call::UpdateNode { node, .. } = &call
            && self.board.get(index)?.step.action.kind().may_rejoin()
        {
            let node = node.clone();
            self.board.change(index, |run| run.claim.own.insert(node));
        }
        // A look at the host itself says nothing of a manager.
        let via = match &call {
            Call::Join { via, .. } => Some(via.clone()),
            _ => (self.board.get(index)?.host != at).then(|| at.clone()),
        };
        if via.is_some() {
            self.board.change(index, |run| run.via = via);
        }
        Some(self.emit(at, Flight::Step(index), call))
    }

    /// A manager that gave no good answer is asked last next time. Several steps may have asked it at once.
    pub(super) fn put_last(&mut self, manager: &HostName) {
        if let Some(one) = self.managers.iter().position(|(m, _)| m == manager).and_then(|at| self.managers.remove(at)) {
            self.managers.push_back(one);
        }
    }

    /// Takes from an answer what other steps need to know.
    fn learn(&mut self, index: usize, at: &HostName, answer: &Answer) {
        let Some(run) = self.board.get(index) else { return };
        let host = run.host.clone();
        let address = run.step.action.kind().leads_at(answer);
        match answer {
            Answer::SawHost(swarm) => {
                if let Some(node) = &swarm.node {
                    self.nodes.insert(host.clone(), node.clone());
                    if run.joins_as_manager() {
                        let node = node.clone();
                        self.board.change(index, |run| run.claim.own.insert(node));
                    }
                }
            }
            Answer::Failed(error) if error.class != ErrorClass::Refused && error.reason != Reason::OutOfSequence => {
                self.put_last(at);
            }
            _ => {}
        }
        if let Some(address) = address {
            self.add_manager(host, address);
        }
    }

    /// Shows a step what managers say of its node.
    fn show(&mut self, index: usize, node: Option<&NodeFacts>, now: Duration) {
        let (all, asked) = (Arc::clone(&self.seen), self.asked);
        self.advance(index, &Input::View { node, all: &all, asked }, now);
    }

    pub(super) fn add_manager(&mut self, host: HostName, address: String) {
        if !self.managers.iter().any(|(m, _)| *m == host) {
            self.managers.push_back((host, address));
        }
    }

    fn cluster_looked(&mut self, now: Duration, at: &HostName, answer: &Answer) {
        self.looking = false;
        let soon = self.making().is_some() && self.looks_at_init < LOOKS_AT_INIT;
        self.looks_at_init += u32::from(soon);
        let longest = if soon { LOOK_EVERY_INIT } else { LOOK_EVERY.1 };
        self.look_pause = (self.look_pause * 3 / 2).min(longest);
        self.looked_at = now;
        self.look_at = now + self.look_pause.max(self.list_pause());
        let Answer::SawCluster(view) = answer else {
            self.put_last(at);
            self.handle_timeout(now);
            return;
        };
        self.seen = Arc::new(view.iter().map(|n| (n.id.clone(), n.clone())).collect());
        for index in self.board.viewing().clone() {
            let node = self.node_of(index).and_then(|id| self.seen.get(&id)).cloned();
            self.show(index, node.as_ref(), now);
        }
        self.notice_the_swarm(view);
    }

    /// An engine that answers as the leader of a swarm has made it, whether or not it has answered the call: others can join.
    fn notice_the_swarm(&mut self, view: &[NodeFacts]) {
        let made = |run: &StepRun| Some((run.host.clone(), run.step.action.kind().leads_at(&Answer::Done)?));
        let Some((host, address)) = self.making().and_then(made) else { return };
        let leads = |n: &NodeFacts| n.manager.as_ref().is_some_and(|m| m.leader && m.address == address);
        if view.iter().any(leads) {
            self.add_manager(host, address);
            let Some(index) = self.board.viewing().first().copied() else { return };
            self.board.change(index, |run| run.established = true);
        }
    }
}

impl Run {
    /// Whom steps can ask now.
    pub(super) fn ways(&self) -> Ways<'_> {
        Ways { managers: &self.managers, nodes: &self.nodes, running: self.running }
    }

    /// A host that a step made a manager can be asked from now on, and one that it made a worker cannot any more.
    fn count_managers(&mut self, index: usize) {
        let Some(run) = self.board.get(index).filter(|r| r.outcome().is_some_and(Outcome::is_done)) else { return };
        let (host, kind) = (run.host.clone(), run.step.action.kind());
        if kind.voters() == Voters::Less {
            return self.managers.retain(|(manager, _)| *manager != host);
        }
        let Some(at) = kind.manages_at() else { return };
        let listed = self.nodes.get(&host).and_then(|id| self.seen.get(id)?.manager.as_ref());
        let at = listed.map_or(at, |m| m.address.clone());
        self.add_manager(host, at);
    }
}

fn unconfirmed() -> Outcome {
    Outcome::InDoubt { message: "stopped before it was confirmed".into() }
}
