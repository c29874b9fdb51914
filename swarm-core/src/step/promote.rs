//! To make a worker a manager. An engine that becomes one dials the manager it once joined through (moby `daemon/cluster/noderunner.go`,
//! JoinAddr); where that one is a manager no more, it stays in error until it is restarted. Such a host leaves and joins again as a manager
//! through a live one.

use super::claim::After;
use super::effect::{Answer, Call};
use super::kind::{Kind, Voters, Ways, join_at};
use super::outcome::Outcome;
use super::state::{CONFIRM_BUDGET, Rejoining, Stage, StepRun, Todo, Why, failed};
use crate::advice::Advice;
use crate::condition::Condition;
use crate::engine::{EngineError, JoinRequest, NodeChange, Reason, classify_answer};
use crate::id::HostName;
use crate::observe::LocalState;
use crate::spec::{Availability, Role};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// How often the engine of a host that is being promoted is looked at.
const PEEK_EVERY: Duration = Duration::from_secs(2);
/// How often, once managers have it as a manager.
const PEEK_SOON: Duration = Duration::from_millis(100);
/// How long an engine may be in error until it counts as stuck: it starts its node again by itself for some seconds.
const STUCK_AFTER: Duration = Duration::from_secs(6);

/// Make the worker a manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promote {
    /// How its host enters again where its engine cannot follow: it dials the manager it once joined through, which may be gone.
    pub rejoin: Rejoin,
}

/// How a host joins again as a manager, with what its node had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejoin {
    /// The address other nodes use.
    pub advertise: IpAddr,
    /// Where it listens.
    pub listen: String,
    /// Address of overlay traffic.
    pub data_path: Option<IpAddr>,
    /// Availability and labels of its node.
    pub node: NodeChange,
}

impl Promote {
    /// The host's join in place of the change of its role.
    fn join(&self, host: HostName, ways: Ways<'_>) -> Option<(HostName, Call)> {
        let (via, remote) = ways.remote()?;
        let Rejoin { advertise, listen, data_path, node } = &self.rejoin;
        // Labels steer tasks: none lands before they are there.
        let wanted = node.availability.unwrap_or(Availability::Active);
        let held = !node.labels.is_empty() && wanted == Availability::Active;
        let availability = if held { Availability::Drain } else { wanted };
        let request = JoinRequest { advertise: *advertise, listen: listen.clone(), data_path: *data_path, availability, remote };
        Some((host, Call::Join { role: Role::Manager, via, request, guarded: true }))
    }
}

impl Kind for Promote {
    fn verb(&self) -> &str {
        "promote"
    }

    fn rank(&self) -> u8 {
        6
    }

    fn voters(&self) -> Voters {
        Voters::More
    }

    fn may_leave_an_entry(&self) -> bool {
        true
    }

    fn manages_at(&self) -> Option<String> {
        Some(join_at(self.rejoin.advertise, &self.rejoin.listen))
    }

    fn joins(&self, run: &StepRun) -> bool {
        run.rejoin == Rejoining::Joins
    }

    fn joins_as_manager(&self, run: &StepRun) -> bool {
        self.joins(run)
    }

    fn may_rejoin(&self) -> bool {
        true
    }

    fn call(&self, run: &StepRun, ways: Ways<'_>) -> Option<(HostName, Call)> {
        match run.rejoin {
            Rejoining::No => ways.update(run, NodeChange { role: Some(Role::Manager), ..NodeChange::default() }),
            Rejoining::Joins => self.join(run.host.clone(), ways),
            Rejoining::Dresses => ways.update(run, self.rejoin.node.clone()),
        }
    }

    fn is_decided_by_a_look(&self, run: &StepRun) -> bool {
        self.joins(run)
    }

    /// The managers are asked, and where the role was changed the engine beside them.
    fn answered(&self, run: &mut StepRun, now: Duration) -> (Stage, Todo) {
        if self.joins(run) {
            return (Stage::Looking(Why::Confirm), Todo::Look);
        }
        run.peek_at = (run.rejoin == Rejoining::No).then_some(now + PEEK_EVERY);
        (Stage::Confirming { until: now + CONFIRM_BUDGET }, Todo::Nothing)
    }

    fn expected(&self, run: &StepRun) -> Option<Condition> {
        match run.rejoin {
            Rejoining::No => run.step.expect.clone(),
            Rejoining::Joins => {
                Some(Condition::All(vec![Condition::Ready, Condition::Role(Role::Manager), Condition::Address(self.rejoin.advertise)]))
            }
            Rejoining::Dresses => {
                let availability = self.rejoin.node.availability.map(Condition::Availability);
                Some(Condition::All(availability.into_iter().chain([Condition::Labels(self.rejoin.node.labels.clone())]).collect()))
            }
        }
    }

    /// Managers have it as a manager. Its engine may still be starting its node again, so it is done when the engine says so too; where it
    /// has joined instead, its new node gets what the old one had.
    fn confirmed(&self, run: &mut StepRun, until: Duration, now: Duration) -> (Stage, Todo) {
        match run.rejoin {
            Rejoining::Joins => {
                run.rejoin = Rejoining::Dresses;
                if self.rejoin.node == NodeChange::default() { (run.done(), Todo::Nothing) } else { run.call(false) }
            }
            Rejoining::No if now < until => {
                if run.follows {
                    return (run.done(), Todo::Nothing);
                }
                if !std::mem::replace(&mut run.listed, true) {
                    run.peek_at = run.peek_at.map(|_| now);
                }
                (Stage::Confirming { until }, Todo::Nothing)
            }
            Rejoining::No | Rejoining::Dresses => run.joined(now),
        }
    }

    fn peeked(&self, run: &mut StepRun, until: Duration, answer: &Answer, now: Duration) -> (Stage, Todo) {
        run.peek_at = Some(now + if run.listed { PEEK_SOON } else { PEEK_EVERY });
        let Answer::SawHost(swarm) = answer else { return (Stage::Confirming { until }, Todo::Nothing) };
        if *swarm.state() != LocalState::Error {
            run.trouble = None;
            run.follows |= swarm.manages();
            if run.follows && run.listed {
                return (run.done(), Todo::Nothing);
            }
            return (Stage::Confirming { until }, Todo::Nothing);
        }
        let words = swarm.error.clone().unwrap_or_else(|| "the engine gives no reason".into());
        let since = run.trouble.as_ref().map_or(now, |(since, _)| *since);
        run.trouble = Some((since, words.clone()));
        if now < since + STUCK_AFTER {
            return (Stage::Confirming { until }, Todo::Nothing);
        }
        let advice = match classify_answer(500, &words, true).1 {
            Reason::RemoteUnreachable | Reason::NoLeader | Reason::NotManager | Reason::DialBack => None,
            Reason::NoSpace => Some(Advice::FreeDisk { host: run.host.clone() }),
            _ => Some(Advice::RestartEngine { host: run.host.clone() }),
        };
        if let (None, Some(other)) = (&advice, &run.unhealthy) {
            let why = format!("it does not leave and join again while manager {other} is not reached");
            return (failed(run.with_trouble(why)), Todo::Nothing);
        }
        // The engine goes on trying to be a manager by itself, so it leaves before it is taken out of raft.
        run.gives_up = advice.map(|advice| format!("its engine could not follow: {words}; it left the swarm; {advice}"));
        (Stage::Leaving { message: words }, Todo::Leave)
    }

    /// Its node is taken out of raft, and then it joins again, or the step ends.
    fn left(&self, run: &mut StepRun, message: String, now: Duration) -> (Stage, Todo) {
        if run.rejoin != Rejoining::No {
            return run.left_a_join(message, now);
        }
        run.changed = true;
        let after = match run.gives_up.take() {
            Some(message) => After::End(Outcome::Failed { message }),
            None => After::Rejoin,
        };
        match run.claim.own.first().cloned() {
            Some(node) => run.demote(node, after, now),
            None => run.after_clearing(after, now),
        }
    }

    fn hint(&self, run: &StepRun, error: &EngineError) -> Option<String> {
        super::join::hint(run, error)
    }
}

impl StepRun {
    /// The host has left: from here on the step is a join.
    pub(super) fn joins_again(&mut self) -> (Stage, Todo) {
        self.rejoin = Rejoining::Joins;
        self.changed = true;
        self.attempts = 0;
        self.trouble = None;
        self.call(false)
    }

    /// What is missing, with what the engine says.
    pub(super) fn with_trouble(&self, why: String) -> String {
        match &self.trouble {
            Some((_, words)) => {
                format!("{why}; its engine is in error: {words}; {}", Advice::RestartEngine { host: self.host.clone() })
            }
            None => why,
        }
    }
}
