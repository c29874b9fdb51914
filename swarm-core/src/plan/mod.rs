//! What is to be done. A plan is so exact that carrying it out decides nothing.

mod absent;
mod bootstrap;
mod build;
mod destroy;
mod doubts;
mod envelope;
mod host_steps;
mod lint;
mod managers;
mod order;
mod raft;
mod refusal;
mod render;
mod tokens;

pub use crate::step::{Action, Rejoin, Risk, Step, Target, Work};
pub use build::{PlanOptions, Planned, build};
pub use destroy::build_destroy;
pub use envelope::{Allowance, Envelope, Ledger};
pub use lint::{LintFinding, LintSeverity, lint};
pub use refusal::{Refusal, of_cluster as refuse_cluster};
pub use render::render_text;

use crate::id::{ClusterId, HostName, StepId};
use crate::observe::{Basis, Observed};
use crate::spec::ClusterSpec;
use hmac_sha256::Hash;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The format of a saved plan.
pub const PLAN_VERSION: u32 = 5;

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanPurpose {
    /// To bring the cluster about.
    Converge,
    /// To take every host out of it.
    Destroy,
    /// Work of other families: objects of the swarm.
    Work,
    /// To take some hosts' nodes out for good.
    Remove,
    /// To go on with one manager where the quorum is lost for good.
    Recover,
}

/// An ordered list of steps, with what it stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Format of this document.
    pub version: u32,
    /// What it is for.
    pub purpose: PlanPurpose,
    /// Hosts that may be taken out of another swarm, as it was made with.
    pub force_leave: BTreeSet<HostName>,
    /// The hosts it works on, as it was made with; `None` is all.
    pub limit: Option<BTreeSet<HostName>>,
    /// The manager that makes the swarm though others cannot be asked, as it was made with.
    pub init_on: Option<HostName>,
    /// Name of the cluster in the file.
    pub cluster: String,
    /// The swarm as it was found; `None` where it is to be made.
    pub swarm: Option<ClusterId>,
    /// SHA-256 over the file's meaning and [`Plan::basis`].
    pub fingerprint: String,
    /// The facts the plan stands on.
    pub basis: Basis,
    /// What is agreed to with it: later rounds of the same run do nothing else.
    pub envelope: Envelope,
    /// What to do, in an order in which every step follows what it needs.
    pub steps: Vec<Step>,
    /// What the reader should know.
    pub notes: Vec<String>,
    /// Hosts that are left out, with the reason.
    pub blocked: Vec<Blocked>,
}

impl Plan {
    /// A plan of other families' steps, in the order they have; made from what was observed.
    pub fn of_work(spec: &ClusterSpec, observed: &Observed, steps: Vec<Step>, notes: Vec<String>) -> Self {
        let basis = observed.basis();
        Self {
            version: PLAN_VERSION,
            purpose: PlanPurpose::Work,
            force_leave: BTreeSet::new(),
            limit: None,
            init_on: None,
            cluster: spec.name().to_owned(),
            swarm: observed.view().map(|v| v.cluster.id.clone()),
            fingerprint: fingerprint(spec, &basis).unwrap_or_default(),
            basis,
            envelope: Envelope::of(&steps),
            steps,
            notes,
            blocked: Vec::new(),
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether it makes a swarm, or would if no host were left out.
    pub(crate) fn makes_one(&self) -> bool {
        self.purpose == PlanPurpose::Converge
    }

    /// All steps by their ids.
    pub fn by_id(&self) -> BTreeMap<&StepId, &Step> {
        self.steps.iter().map(|s| (&s.id, s)).collect()
    }

    /// The steps of one host.
    pub fn steps_of<'a>(&'a self, host: &'a HostName) -> impl Iterator<Item = &'a Step> {
        self.steps.iter().filter(move |s| s.host.as_ref() == Some(host))
    }
}

/// A host that cannot be worked on now, without harm to the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// The host.
    pub host: HostName,
    /// Why.
    pub why: String,
}

/// The fingerprint of a file's meaning and the facts a plan stands on.
///
/// # Errors
/// What of the file cannot be written down. A plan made from it has no fingerprint, and [`lint`] refuses it.
pub fn fingerprint(spec: &crate::spec::ClusterSpec, basis: &Basis) -> Result<String, String> {
    let mut hash = Hash::new();
    hash.update(serde_json::to_vec(spec).map_err(|e| e.to_string())?);
    hash.update([0]);
    hash.update(serde_json::to_vec(basis).map_err(|e| e.to_string())?);
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests;
