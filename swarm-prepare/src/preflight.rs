//! The checks as the first part of a plan that adds hosts: what would break a host that is to join is found before anything is touched.

use crate::checks::{Found, Seen, Severity, check, holding};
use crate::machine::{Machine, look_at};
use crate::ports::{Matrix, matrix, wanted};
use crate::prepare::opens_firewall;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use swarm_core::ClusterSpec;
use swarm_core::fleet::{Fleet, FleetRead};
use swarm_core::id::HostName;
use swarm_core::observe::Observed;
use swarm_core::plan::{Action, Plan};
use swarm_core::spec::Firewall;

/// How long finding out what arrives may take before a plan goes on without it.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long an engine that has just left a swarm may take to let its ports go: it waits for its gossip, and for its ingress network for 5 s
/// (moby `daemon/cluster`).
const LETS_GO: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(1);

/// Checks about what arrives: they are the receiver's, which may be a host that is there already.
const PORTS: [&str; 4] = ["ports", "ports-esp", "path-mtu", "ports-untested"];

/// The hosts that a plan adds to the swarm.
pub fn added(plan: &Plan) -> BTreeSet<HostName> {
    plan.steps.iter().filter(|s| matches!(s.action, Action::Init(_) | Action::Join(_))).filter_map(|s| s.host.clone()).collect()
}

/// Looks again at hosts whose engines are in no swarm and listen on its ports, for ten seconds at most: one that has just left lets them go.
pub async fn let_go(
    spec: &ClusterSpec,
    fleet: &dyn FleetRead,
    observed: &Observed,
    machines: &mut BTreeMap<HostName, Result<Machine, String>>,
) {
    let began = Instant::now();
    loop {
        let holding = holding(observed, machines);
        if holding.is_empty() || began.elapsed() >= LETS_GO {
            return;
        }
        tokio::time::sleep(PAUSE).await;
        machines.extend(look_at(spec, fleet, spec.hosts().filter(|h| holding.contains(&h.name))).await);
    }
}

fn not_in_time(hosts: &BTreeSet<HostName>) -> Matrix {
    let why = format!("it was not tried within {} s; `swarm check` takes its time", PATIENCE.as_secs());
    Matrix { left_out: hosts.iter().map(|host| (host.clone(), why.clone())).collect(), ..Matrix::default() }
}

/// What stands against adding a plan's hosts: checks with [`Severity::Error`] on them, and what does not pass between them and the managers,
/// or could not be tried, that a file does not pass over. Empty where the plan adds none. `encrypted` says whether encrypted networks are wanted.
///
/// Of hosts that are nodes already only managers take part: this is asked before each such plan, and `swarm check` tries all.
pub async fn preflight(spec: &ClusterSpec, fleet: &dyn Fleet, plan: &Plan, observed: &Observed, encrypted: bool) -> Vec<Found> {
    let added = added(plan);
    if added.is_empty() {
        return Vec::new();
    }
    let mut all = wanted(spec, observed, encrypted);
    all.stations.retain(|station| added.contains(&station.host) || station.member && station.manager.is_some());
    all.about = Some(added.clone());
    let part: BTreeSet<&HostName> = all.stations.iter().map(|station| &station.host).chain(&added).collect();
    let mut machines = look_at(spec, fleet, spec.hosts().filter(|h| part.contains(&h.name))).await;
    let_go(spec, fleet, observed, &mut machines).await;
    let ports = match spec.ignored_checks().contains_key("ports") {
        true => Matrix::default(),
        // A host that takes its time does not hold the plan up.
        false => tokio::time::timeout(PATIENCE, matrix(spec, fleet, &machines, &all)).await.unwrap_or_else(|_| not_in_time(&added)),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let seen = Seen { spec, observed, machines: &machines, certificates: &BTreeMap::new(), ports: &ports, now };
    // What is let in by a step of the plan does not pass yet, and what the file wants neither tried nor changed is not tried.
    let untried =
        |host: &HostName| plan.steps_of(host).any(opens_firewall) || spec.host(host).is_some_and(|h| h.prepare.firewall == Firewall::None);
    // What swarm a host is in is the planner's: a host that is to leave another one first is in the plan.
    let about = |found: &Found| match PORTS.contains(&found.check) {
        true => !untried(&found.host),
        false => found.severity == Severity::Error && added.contains(&found.host),
    };
    check(&seen).into_iter().filter(|found| found.ignored.is_none() && found.check != "other-swarm" && about(found)).collect()
}
