//! A drill: one manager's engine is restarted, and the unlock key that is kept opens it, or it does not, while the others go on.

use crate::create::{Quorum, spared};
use crate::family::Kept;
use swarm_core::ClusterSpec;
use swarm_core::id::HostName;
use swarm_core::intent::{Intent, Next, SoFar, not_now, one_round};
use swarm_core::observe::{HostState, Observed};
use swarm_core::plan::{Plan, Refusal, Risk, Target};
use swarm_core::verify::{Finding, FindingKind, Verdict};

/// To restart one manager and to unlock it with the key that is kept.
#[derive(Debug, Clone)]
pub struct Drill<'a> {
    /// The file.
    pub spec: &'a ClusterSpec,
    /// The manager. Without one, a manager is chosen that does not lead ([`Drill::manager`]), and whether it answers again is said by its
    /// steps alone.
    pub on: Option<HostName>,
    /// Whether managers may be without a quorum meanwhile.
    pub accept_downtime: bool,
    /// What tells the unlock key that is kept from others.
    pub stored_key: Option<String>,
}

impl Drill<'_> {
    /// The manager that is restarted: the one that is asked for, or one that answers, is healthy, and does not lead.
    ///
    /// # Errors
    /// There is none.
    pub fn manager<'o>(&self, observed: &'o Observed) -> Result<&'o HostName, Refusal> {
        spared(observed, self.on.as_ref()).map(|(name, ..)| name)
    }

    fn plan(&self, observed: &Observed) -> Result<Plan, Vec<Refusal>> {
        let Some(view) = observed.view() else { return Err(vec![Refusal::NoSwarm]) };
        let (host, seen, node) = spared(observed, self.on.as_ref()).map_err(|refusal| vec![refusal])?;
        let of_swarm = |why: &str| vec![Refusal::Object { object: Target::Swarm, why: why.into() }];
        if view.cluster.settings.autolock != Some(true) {
            return Err(of_swarm("its managers are not locked: no key opens them"));
        }
        // Known beforehand: a manager that is restarted with a wrong key at hand stays locked.
        if self.stored_key.is_none() || self.stored_key != view.unlock_key {
            return Err(of_swarm("the key that is kept is not the swarm's, or there is none: a manager that restarts would stay locked"));
        }
        let quorum = Quorum::without(view, node);
        if !quorum.holds() && !self.accept_downtime {
            let why = format!(
                "its engine is restarted for a drill, and the swarm would be without a quorum for that time: {quorum}; --accept-downtime allows that"
            );
            return Err(vec![Refusal::Unfit { host: host.clone(), why }]);
        }
        let Ok(engine) = &seen.report.engine else {
            return Err(vec![Refusal::Unfit { host: host.clone(), why: "its engine does not answer".into() }]);
        };
        let mut notes = vec![format!("while {host} is restarted and locked: {quorum}")];
        if engine.running_containers > 0 {
            notes.push(format!("{} containers on {host} end with its engine; tasks are started again", engine.running_containers));
        }
        if node.leads() && quorum.managers > 1 {
            notes.push(format!("{host} leads the swarm: another manager takes over"));
        }
        let restart = Kept::Restart { host: host.clone(), data_root: engine.data_root.clone() }.work().step(
            "its engine runs, unlocked",
            "its engine runs, and waits for the key",
            "only a restart shows that the key that is kept opens it",
            Risk::Quorum,
        );
        let unlock = crate::create::unlock(host, &restart.id);
        Ok(Plan::of_work(self.spec, observed, vec![restart, unlock], notes))
    }
}

impl Intent for Drill<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        match not_now(self.spec, observed, so_far).filter(|_| so_far.rounds == 0) {
            Some(next) => next,
            None => one_round(self.spec, observed, so_far, || self.plan(observed)),
        }
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        let finding = self.on.as_ref().and_then(|name| {
            let host = observed.hosts.get(name)?;
            let message = match &host.state {
                HostState::Locked { .. } => "it is still locked: the key that is kept does not open it".to_owned(),
                _ if host.report.view.is_known() => return None,
                state => format!("it is {}, and does not answer as a manager", state.word()),
            };
            Some(Finding { host: Some(name.clone()), kind: FindingKind::NotReady, message })
        });
        Verdict::of(finding.into_iter().collect(), Vec::new())
    }
}
