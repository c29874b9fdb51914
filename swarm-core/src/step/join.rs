//! To join the swarm.

use super::effect::Call;
use super::kind::{Kind, Voters, Ways, join_at};
use super::state::{Stage, StepRun, Todo, Why};
use crate::advice::Advice;
use crate::engine::{EngineError, JoinRequest, Reason};
use crate::id::HostName;
use crate::spec::{Availability, Role};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// Join the swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// As what.
    pub role: Role,
    /// The address other nodes use.
    pub advertise: IpAddr,
    /// Where it listens.
    pub listen: String,
    /// Address of overlay traffic.
    pub data_path: Option<IpAddr>,
    /// Availability from the first moment on.
    pub availability: Availability,
}

impl Kind for Join {
    fn verb(&self) -> &str {
        "join"
    }

    /// Managers come before workers: there are more of them to ask then.
    fn rank(&self) -> u8 {
        if self.role == Role::Manager { 4 } else { 5 }
    }

    fn sign(&self) -> char {
        '+'
    }

    fn voters(&self) -> Voters {
        if self.role == Role::Manager { Voters::More } else { Voters::Same }
    }

    fn may_leave_an_entry(&self) -> bool {
        true
    }

    fn enters(&self) -> bool {
        true
    }

    fn manages_at(&self) -> Option<String> {
        (self.role == Role::Manager).then(|| join_at(self.advertise, &self.listen))
    }

    fn joins(&self, _run: &StepRun) -> bool {
        true
    }

    fn joins_as_manager(&self, _run: &StepRun) -> bool {
        self.role == Role::Manager
    }

    fn call(&self, run: &StepRun, ways: Ways<'_>) -> Option<(HostName, Call)> {
        let (via, remote) = ways.remote()?;
        let (listen, availability) = (self.listen.clone(), self.availability);
        let request = JoinRequest { advertise: self.advertise, listen, data_path: self.data_path, availability, remote };
        let guarded = self.role == Role::Manager && (ways.running || run.attempts > 1);
        Some((run.host.clone(), Call::Join { role: self.role, via, request, guarded }))
    }

    fn is_decided_by_a_look(&self, _run: &StepRun) -> bool {
        true
    }

    fn answered(&self, _run: &mut StepRun, _now: Duration) -> (Stage, Todo) {
        (Stage::Looking(Why::Confirm), Todo::Look)
    }

    fn hint(&self, run: &StepRun, error: &EngineError) -> Option<String> {
        hint(run, error)
    }
}

/// What an error of an engine that enters a swarm usually means.
pub(super) fn hint(run: &StepRun, error: &EngineError) -> Option<String> {
    let hint = match error.reason {
        Reason::DialBack | Reason::NoLeader if run.joins_as_manager() => {
            let open = Advice::OpenPort { host: Some(run.host.clone()) };
            format!("a manager could not reach this host on the address it advertises: {open}")
        }
        Reason::RemoteUnreachable | Reason::JoinGoesOn => {
            format!("this host could not reach the manager: {} for it", Advice::OpenPort { host: None })
        }
        Reason::ForeignCa => {
            "the manager this host reached has another CA than the token: a CA rotation, or another machine on that address".to_owned()
        }
        Reason::TokenRejected => "the token was refused: it was rotated meanwhile".to_owned(),
        Reason::AlreadyInSwarm => "another operator joined it meanwhile".to_owned(),
        _ => return None,
    };
    Some(hint)
}
