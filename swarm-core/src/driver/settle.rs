//! Looks again until everything holds, or the time is over.

use super::inspect::inspect_after;
use super::objects::add_objects;
use super::progress::{Progress, ProgressEvent};
use crate::engine::Query;
use crate::fleet::FleetRead;
use crate::id::HostName;
use crate::intent::Scope;
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
    let verify = |observed: &Observed| verify(spec, observed, limit);
    Settling { spec, fleet, progress, verify: &verify, given_up, undone: &|_| false, wants: &[], scope: Scope::All }
        .until(BTreeSet::new(), deadline)
        .await
}

/// How long a change of this run may look undone: a manager that lags behind the leader says so for a moment.
const LAGS: Duration = Duration::from_secs(3);

/// What is to hold, and who is asked.
pub(super) struct Settling<'a> {
    pub(super) spec: &'a ClusterSpec,
    pub(super) fleet: &'a dyn FleetRead,
    pub(super) progress: &'a dyn Progress,
    /// What does not hold.
    pub(super) verify: &'a (dyn Fn(&Observed) -> Verdict + Sync),
    pub(super) given_up: &'a BTreeSet<HostName>,
    /// Whether someone has undone what this run changed: then nothing is waited for.
    pub(super) undone: &'a (dyn Fn(&Observed) -> bool + Sync),
    /// The objects that must be known.
    pub(super) wants: &'a [Query],
    /// The hosts that are looked at.
    pub(super) scope: Scope,
}

impl Settling<'_> {
    /// Looks until then, after a look that the hosts in `silent` did not answer: they are given less time.
    pub(super) async fn until(self, mut silent: BTreeSet<HostName>, deadline: Instant) -> (Verdict, Observed) {
        let mut pause = Duration::from_millis(50);
        let mut undone_since: Option<Instant> = None;
        self.progress.report(&ProgressEvent::VerifyStarted);
        loop {
            let mut observed =
                merge(self.spec, &inspect_after(self.spec, self.fleet, &super::NoProgress, &silent, self.scope).await, &BTreeSet::new());
            add_objects(self.spec, self.fleet, &mut observed, self.wants).await;
            silent = observed.silent();
            let verdict = (self.verify)(&observed);
            self.progress.report(&ProgressEvent::VerifyLooked { findings: verdict.findings.len() });
            let passes = |kind: FindingKind| {
                !matches!(kind, FindingKind::Swarm | FindingKind::Settings | FindingKind::NotMember | FindingKind::Member)
            };
            // What is said of the swarm as a whole does not pass either while a host is given up that belongs to it.
            let comes = |host: &Option<HostName>| host.as_ref().map_or(self.given_up.is_empty(), |h| !self.given_up.contains(h));
            let hopeless = !verdict.findings.iter().any(|f| passes(f.kind) && comes(&f.host));
            undone_since = (self.undone)(&observed).then(|| undone_since.unwrap_or_else(Instant::now));
            let taken_back = undone_since.is_some_and(|since| since.elapsed() >= LAGS);
            if verdict.converged || hopeless || taken_back || Instant::now() + pause >= deadline {
                return (verdict, observed);
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }
}
