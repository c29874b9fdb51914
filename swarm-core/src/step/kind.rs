//! What every kind of step answers, in its own file: first of its place in a plan, then of how it is carried out.

use super::Target;
use super::effect::{Answer, Call};
use super::state::{Stage, StepRun, Todo, Why};
use crate::condition::Condition;
use crate::engine::{EngineError, InitRequest};
use crate::id::{HostName, NodeId};
use crate::observe::{LocalSwarm, NodeFacts};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What a step does to the managers of the swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voters {
    /// Nothing.
    Same,
    /// There is one more.
    More,
    /// The host of the step is one no longer.
    Less,
    /// One that is lost counts no longer.
    Lost,
}

/// The managers that can be asked and the nodes of hosts, as a run knows them now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ways<'a> {
    /// Managers with the address that others join at, the one to ask first in front.
    pub(crate) managers: &'a VecDeque<(HostName, String)>,
    /// The node of each host.
    pub(crate) nodes: &'a BTreeMap<HostName, NodeId>,
    /// Whether the swarm was there before the run.
    pub(crate) running: bool,
}

impl Ways<'_> {
    /// The manager to join through, and where.
    pub(super) fn remote(&self) -> Option<(HostName, String)> {
        self.managers.front().cloned()
    }

    /// The manager to ask for a step; never the one that it makes a worker, unless that is the only one.
    pub(crate) fn manager(&self, step: &super::Step) -> Option<HostName> {
        let goes = step.host.as_ref().filter(|_| step.action.kind().voters() == Voters::Less);
        let other = self.managers.iter().find(|(manager, _)| Some(manager) != goes);
        other.or(self.managers.front()).map(|(manager, _)| manager.clone())
    }

    /// A change of the step's own node, through a manager.
    pub(super) fn update(&self, run: &StepRun, change: crate::engine::NodeChange) -> Option<(HostName, Call)> {
        Some((self.manager(&run.step)?, Call::UpdateNode { node: self.nodes.get(&run.host)?.clone(), change }))
    }
}

/// A kind of step. The defaults are those of a change that one call to a manager makes and the list of nodes shows.
pub(crate) trait Kind: fmt::Debug {
    /// One word, as it stands in step ids and tables.
    fn verb(&self) -> &str;

    /// Where it stands among steps that could begin at the same time, the lowest first.
    fn rank(&self) -> u8;

    /// What it is about; `host` is the step's.
    fn target(&self, host: Option<&HostName>) -> Target {
        host.cloned().map_or(Target::Swarm, Target::Host)
    }

    /// How a plan that people read marks it: `+` for what comes, `-` for what goes, `~` for what changes.
    fn sign(&self) -> char {
        '~'
    }

    /// What it does to the managers.
    fn voters(&self) -> Voters {
        Voters::Same
    }

    /// Whether a failed attempt can leave an entry in the node list.
    fn may_leave_an_entry(&self) -> bool {
        false
    }

    /// The swarm that it makes.
    fn makes(&self) -> Option<&InitRequest> {
        None
    }

    /// Whether it brings the host into a swarm as a new node, whatever happens.
    fn enters(&self) -> bool {
        false
    }

    /// The node that it is about, where that is not the host's.
    fn node(&self) -> Option<&NodeId> {
        None
    }

    /// Where others join through its host once it has ended well, if that is a manager then.
    fn manages_at(&self) -> Option<String> {
        None
    }

    /// Where others join through its host once this was answered, though it has not ended.
    fn leads_at(&self, _answer: &Answer) -> Option<String> {
        None
    }

    /// Whether what it does is, as far as this run of it has come, a join.
    fn joins(&self, _run: &StepRun) -> bool {
        false
    }

    /// The same as a manager.
    fn joins_as_manager(&self, _run: &StepRun) -> bool {
        false
    }

    /// Whether the node that it changes is left behind where it goes on as a join.
    fn may_rejoin(&self) -> bool {
        false
    }

    /// Its call, and the engine that it goes to; `None` where no manager can be asked.
    fn call(&self, run: &StepRun, ways: Ways<'_>) -> Option<(HostName, Call)>;

    /// Whether its call goes to the host's own engine and changes what that is in: where it fails, a look at the engine decides.
    fn is_decided_by_a_look(&self, _run: &StepRun) -> bool {
        false
    }

    /// The look at the host's own engine.
    fn look(&self) -> Call {
        Call::LookHost
    }

    /// Its call was answered well.
    fn answered(&self, run: &mut StepRun, now: Duration) -> (Stage, Todo);

    /// Whether it has ended where a manager does not know what it is about.
    fn is_done_without(&self) -> bool {
        false
    }

    /// The host's own engine was looked at.
    fn looked(&self, run: &mut StepRun, why: Why, swarm: &LocalSwarm, now: Duration) -> (Stage, Todo) {
        run.looked_after_entering(why, swarm, now)
    }

    /// The host's own engine was looked at while managers are asked.
    fn peeked(&self, _run: &mut StepRun, until: Duration, _answer: &Answer, _now: Duration) -> (Stage, Todo) {
        (Stage::Confirming { until }, Todo::Nothing)
    }

    /// The host has left what its engine could not go on with, for this reason.
    fn left(&self, run: &mut StepRun, message: String, now: Duration) -> (Stage, Todo) {
        run.left_a_join(message, now)
    }

    /// What managers must say of the node for it to have ended.
    fn expected(&self, run: &StepRun) -> Option<Condition> {
        run.step.expect.clone()
    }

    /// What is missing, as managers see the node.
    fn unmet(&self, run: &StepRun, node: Option<&NodeFacts>) -> Option<String> {
        self.expected(run).and_then(|wanted| wanted.unmet(node)).map(|unmet| unmet.to_string())
    }

    /// Managers say of the node what they are to say.
    fn confirmed(&self, run: &mut StepRun, _until: Duration, now: Duration) -> (Stage, Todo) {
        run.joined(now)
    }

    /// A manager showed the swarm, or could not.
    fn shown(&self, run: &mut StepRun, _until: Duration, _answer: &Answer, _now: Duration) -> (Stage, Todo) {
        (run.done(), Todo::Nothing)
    }

    /// What an error of it usually means, to stand behind the engine's words.
    fn hint(&self, _run: &StepRun, _error: &EngineError) -> Option<String> {
        None
    }
}

/// Where others join a manager that listens there.
pub(super) fn join_at(advertise: IpAddr, listen: &str) -> String {
    let port = listen.rsplit(':').next().and_then(|p| p.parse().ok()).unwrap_or(crate::addr::DEFAULT_LISTEN_PORT);
    SocketAddr::new(advertise, port).to_string()
}
