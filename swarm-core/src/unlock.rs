//! Locked managers get their key: after a restart, before anything else can be asked of them.

use crate::id::{HostName, StepId};
use crate::intent::{Intent, Next, SoFar};
use crate::observe::{HostState, Observed};
use crate::plan::{Action, Plan, Risk, Step};
use crate::spec::ClusterSpec;
use crate::verify::{Finding, FindingKind, Verdict};

/// To unlock managers with the key that is kept.
#[derive(Debug, Clone)]
pub struct Unlock<'a> {
    /// The file.
    pub spec: &'a ClusterSpec,
    /// The hosts; none is every host that is locked.
    pub hosts: Vec<HostName>,
}

impl Unlock<'_> {
    fn locked<'o>(&self, observed: &'o Observed) -> impl Iterator<Item = &'o HostName> {
        let asked = |host: &HostName| self.hosts.is_empty() || self.hosts.contains(host);
        observed.hosts.iter().filter(move |(name, h)| matches!(h.state, HostState::Locked { .. }) && asked(name)).map(|(name, _)| name)
    }
}

impl Intent for Unlock<'_> {
    fn next(&self, observed: &Observed, _: SoFar) -> Next {
        let step = |host: &HostName| Step {
            id: StepId::new(format!("{host}/unlock")),
            host: Some(host.clone()),
            action: Action::Unlock,
            before: "locked".into(),
            after: "a manager that answers".into(),
            needs: Vec::new(),
            expect: None,
            because: "its engine waits for the unlock key".into(),
            risk: Risk::None,
        };
        let plan = Plan::of_work(self.spec, observed, self.locked(observed).map(step).collect(), Vec::new());
        if plan.is_empty() { Next::Done(plan) } else { Next::Round(plan) }
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        let locked = self.locked(observed).map(|host| Finding {
            host: Some(host.clone()),
            kind: FindingKind::NotReady,
            message: "its engine still waits for the unlock key".into(),
        });
        let silent = self.hosts.iter().filter(|host| observed.hosts.get(*host).is_none_or(|h| h.report.engine.is_err())).map(|host| {
            Finding { host: Some(host.clone()), kind: FindingKind::Unreachable, message: "its engine could not be asked".into() }
        });
        Verdict::of(locked.chain(silent).collect(), Vec::new())
    }
}
