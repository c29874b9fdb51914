//! Families of work that this crate does not know: how one plan holds their steps, and how a run carries them out.
//!
//! A family lives in a crate of its own. It makes steps (data, with a verb and a target), reads them back, and gives for each a [`Task`]:
//! a pure machine that says what to ask next. Everything else (needs across families, the envelope, deadlines, stopping, saving, showing)
//! is the runner's, and the same for every family.

use crate::id::HostName;
use crate::machine::Task;
use crate::observe::Observed;
use crate::plan::{Action, LintFinding, Plan, Work};
use crate::spec::ClusterSpec;
use std::collections::BTreeSet;
use std::fmt;

/// A family of work.
pub trait Family: Send + Sync {
    /// Its name, as [`Work::family`] has it.
    fn name(&self) -> &'static str;

    /// A step of it, ready to begin.
    ///
    /// # Errors
    /// What of its data cannot be read: the plan was edited, or made by another version.
    fn task(&self, work: &Work) -> Result<Box<dyn Task>, String>;

    /// What a plan must never do with its steps, judged without the planner.
    fn lint(&self, plan: &Plan, observed: &Observed) -> Vec<LintFinding>;
}

/// The families that a run knows.
#[derive(Clone, Copy, Default)]
pub struct Families<'a>(pub &'a [&'a dyn Family]);

impl fmt::Debug for Families<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|family| family.name())).finish()
    }
}

impl Families<'_> {
    /// The task of a step.
    pub(crate) fn task(&self, work: &Work) -> Result<Box<dyn Task>, String> {
        let family = self.0.iter().find(|f| f.name() == work.family);
        let family = family.ok_or_else(|| format!("this program knows no steps of the family {}", work.family))?;
        family.task(work)
    }

    /// What a plan must not do, by the rules of membership and by those of every family: what could hurt comes first.
    pub fn lint(&self, plan: &Plan, spec: &ClusterSpec, observed: &Observed, forced: &BTreeSet<HostName>) -> Vec<LintFinding> {
        let mut found = crate::plan::lint(plan, spec, observed, forced);
        found.extend(self.0.iter().flat_map(|family| family.lint(plan, observed)));
        for step in &plan.steps {
            if let Action::Work(work) = &step.action
                && let Err(what) = self.task(work)
            {
                found.push(LintFinding::malformed(step, what));
            }
        }
        found.sort_by_key(|finding| finding.severity);
        found
    }
}
