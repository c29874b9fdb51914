//! The checks as the first part of a plan that adds hosts.

use crate::failure::{Failure, found_lines};
use crate::fleet::AnyFleet;
use crate::output;
use swarm_core::ClusterSpec;
use swarm_core::observe::Observed;
use swarm_core::plan::Plan;
use swarm_prepare::{Found, Severity, preflight};

/// What stands against a plan that adds hosts is an error; what is worth a warning is said. `encrypted` says whether encrypted networks are
/// wanted.
pub(super) async fn before(plan: &Plan, spec: &ClusterSpec, fleet: &AnyFleet, seen: &Observed, encrypted: bool) -> Result<(), Failure> {
    let found = preflight(spec, fleet, plan, seen, encrypted).await;
    let (errors, others): (Vec<Found>, Vec<Found>) = found.into_iter().partition(|f| f.severity == Severity::Error);
    let (warnings, notes): (Vec<Found>, Vec<Found>) = others.into_iter().partition(|f| f.severity == Severity::Warning);
    for (word, found) in [("warning", warnings), ("note", notes)] {
        found_lines(&found).iter().for_each(|line| output::note(&format!("{word}: {line}")));
    }
    if errors.is_empty() { Ok(()) } else { Err(Failure::Checks(errors)) }
}
