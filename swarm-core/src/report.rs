//! What a run came to: a fold of the plan, how its steps ended, and what was found afterwards.

use crate::id::{HostName, StepId};
use crate::machine::Outcome;
use crate::plan::{Blocked, Plan};
use crate::verify::{Finding, FindingKind, Verdict};
use serde::Serialize;

/// How a run ended, from the caller's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Everything is as the file wants it, and a fresh look showed it.
    Converged,
    /// Something was done, and something is not as it is to be.
    Partial,
    /// Nothing was changed, and something is not as it is to be.
    Failed,
    /// There was nothing that could be done, and something is not as it is to be.
    Degraded,
    /// The outcome of a change is not known.
    InDoubt,
    /// The run was stopped.
    Interrupted,
    /// The engine stopped an update because tasks failed.
    Paused,
    /// The engine rolled an update back because tasks failed.
    RolledBack,
}

impl Ending {
    /// The exit code of a program that ran it, the same for every verb.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Converged => 0,
            Self::Failed => 1,
            Self::Degraded => 3,
            Self::Partial => 4,
            Self::InDoubt => 5,
            Self::Paused => 6,
            Self::RolledBack => 7,
            Self::Interrupted => 130,
        }
    }
}

/// One step's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepReport {
    /// The step.
    pub id: StepId,
    /// Its host; `None` for an object of the swarm.
    pub host: Option<HostName>,
    /// What it does.
    pub verb: String,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// A run's report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Name of the cluster.
    pub cluster: String,
    /// How it ended.
    pub ending: Ending,
    /// Every step of the plan.
    pub steps: Vec<StepReport>,
    /// Hosts that were left out. None where everything is as wished in the end.
    pub blocked: Vec<Blocked>,
    /// What a fresh look found; `None` where there was none.
    pub verdict: Option<Verdict>,
    /// What the plan wanted its reader to know.
    pub notes: Vec<String>,
}

impl Report {
    /// Of a plan that was not carried out, because hosts are not what it stands on.
    pub fn outdated(plan: &Plan, changes: Vec<String>) -> Self {
        let not_started = |s: &crate::plan::Step| StepReport {
            id: s.id.clone(),
            host: s.host.clone(),
            verb: s.action.verb().into(),
            outcome: Outcome::NotStarted,
        };
        let message = format!("the plan is stale; what changed since it was made:\n{}", changes.join("\n"));
        let finding = Finding { host: None, kind: FindingKind::Contradiction, message };
        let verdict = Verdict::of(vec![finding], Vec::new());
        let mut report = Self::new(plan, plan.steps.iter().map(not_started).collect(), Some(verdict), false);
        report.ending = Ending::Failed;
        report
    }

    /// Folds.
    pub fn new(plan: &Plan, steps: Vec<StepReport>, verdict: Option<Verdict>, stopped: bool) -> Self {
        let changed = steps.iter().any(|s| matches!(s.outcome, Outcome::Done { changed: true }));
        let doubt = steps.iter().any(|s| matches!(s.outcome, Outcome::InDoubt { .. }));
        let converged = verdict.as_ref().is_some_and(|v| v.converged);
        let idle = steps.is_empty();
        let any = |is: fn(&Outcome) -> bool| steps.iter().any(|s| is(&s.outcome));
        let ending = match (stopped, converged, doubt, changed) {
            (false, ..) if any(|o| matches!(o, Outcome::Paused { .. })) => Ending::Paused,
            (false, ..) if any(|o| matches!(o, Outcome::RolledBack { .. })) => Ending::RolledBack,
            (true, ..) => Ending::Interrupted,
            (_, true, ..) => Ending::Converged,
            (_, _, true, _) => Ending::InDoubt,
            (_, _, _, true) => Ending::Partial,
            _ if idle => Ending::Degraded,
            _ => Ending::Failed,
        };
        // What was left out of the plan may be as wished in the end: a step for its host brought its engine up.
        let blocked = if ending == Ending::Converged { Vec::new() } else { plan.blocked.clone() };
        Self { cluster: plan.cluster.clone(), ending, steps, blocked, verdict, notes: plan.notes.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ending, Report};
    use crate::observe::merge;
    use crate::plan::{PlanOptions, Planned, build};
    use crate::testkit::{Is, spec, world};
    use crate::verify::{Finding, FindingKind, Verdict};
    use std::collections::BTreeSet;

    /// A host that a plan left out is named in the end where something is not as wished.
    #[test]
    fn hosts_are_left_out_only_where_something_is_not_as_wished() {
        let spec = spec(&["m1", "w1"]);
        let observed = merge(&spec, &world(&[("m1", Is::Manager), ("w1", Is::Gone)]), &BTreeSet::new());
        let Planned::Plan(plan) = build(&spec, &observed, &PlanOptions::default()) else { panic!("a plan") };
        assert_eq!(plan.blocked.len(), 1);
        let named = |findings: Vec<Finding>| Report::new(&plan, Vec::new(), Some(Verdict::of(findings, Vec::new())), false).blocked.len();
        let wrong = Finding { host: None, kind: FindingKind::Left, message: "x".into() };
        assert_eq!((named(Vec::new()), named(vec![wrong])), (0, 1));
        assert_eq!(Report::new(&plan, Vec::new(), None, true).blocked.len(), 1, "nothing is known of the end");
    }

    /// The table of exit codes; `docs/failure-model.md` and `--help` have the same numbers.
    #[test]
    fn every_ending_has_its_exit_code() {
        let all = [
            (Ending::Converged, 0),
            (Ending::Failed, 1),
            (Ending::Degraded, 3),
            (Ending::Partial, 4),
            (Ending::InDoubt, 5),
            (Ending::Paused, 6),
            (Ending::RolledBack, 7),
            (Ending::Interrupted, 130),
        ];
        for (ending, code) in all {
            assert_eq!(ending.exit_code(), code, "{ending:?}");
        }
    }
}
