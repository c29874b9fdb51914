//! Looks again until everything holds, or the time is over.

use super::inspect::inspect_after;
use super::progress::{Progress, ProgressEvent};
use crate::fleet::FleetRead;
use crate::id::HostName;
use crate::observe::{Observed, merge};
use crate::spec::ClusterSpec;
use crate::verify::{FindingKind, Verdict, verify};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Verifies from fresh looks. Waits while something that is missing may still come, at most until `deadline`; the last word counts.
/// Nothing is expected of the hosts in `given_up`.
pub async fn settle(
    spec: &ClusterSpec,
    fleet: &dyn FleetRead,
    progress: &dyn Progress,
    limit: Option<&BTreeSet<HostName>>,
    given_up: &BTreeSet<HostName>,
    deadline: Instant,
) -> (Verdict, Observed) {
    settle_after(spec, fleet, progress, limit, given_up, BTreeSet::new(), deadline).await
}

/// The same after a look that the hosts in `silent` did not answer: they are given less time.
pub(super) async fn settle_after(
    spec: &ClusterSpec,
    fleet: &dyn FleetRead,
    progress: &dyn Progress,
    limit: Option<&BTreeSet<HostName>>,
    given_up: &BTreeSet<HostName>,
    mut silent: BTreeSet<HostName>,
    deadline: Instant,
) -> (Verdict, Observed) {
    let mut pause = Duration::from_millis(50);
    progress.report(&ProgressEvent::VerifyStarted);
    loop {
        let observed = merge(spec, &inspect_after(spec, fleet, &super::NoProgress, &silent).await, &BTreeSet::new());
        silent = observed.silent();
        let verdict = verify(spec, &observed, limit);
        progress.report(&ProgressEvent::VerifyLooked { findings: verdict.findings.len() });
        let passes = |kind: FindingKind| !matches!(kind, FindingKind::Swarm | FindingKind::Settings | FindingKind::NotMember);
        // What is said of the swarm as a whole does not pass either while a host is given up that belongs to it.
        let comes = |host: &Option<HostName>| host.as_ref().map_or(given_up.is_empty(), |h| !given_up.contains(h));
        let hopeless = !verdict.findings.iter().any(|f| passes(f.kind) && comes(&f.host));
        if verdict.converged || hopeless || Instant::now() + pause >= deadline {
            return (verdict, observed);
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}
