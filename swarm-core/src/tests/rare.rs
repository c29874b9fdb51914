//! Looks in which more goes wrong at once: joins that have not ended, engines in error, entries of earlier lives at the same address. What is planned of
//! them is kept as sums in `tests/data/rare.sums`.

use super::{Draw, drawn, is_summed, read_again, written};
use crate::engine::Force;
use crate::id::{ClusterId, HostName, NodeId};
use crate::observe::{Fact, HostReport, LocalState, NodeFacts, NodeIdentity, NodeState, Observation, SeenAt, merge};
use crate::plan::{PlanOptions, Planned, build, build_destroy, lint};
use crate::spec::{Availability, Role};
use crate::testkit::{address, node};
use crate::verify::verify;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

/// So many are drawn, others than those of the other sums.
const RARE: Range<u64> = 100_000..104_000;

fn certificate(draw: &mut Draw, name: &HostName) -> Fact<NodeIdentity> {
    let node = NodeId::new(format!("{}-{name}", draw.of(&["node", "node", "late"])));
    let (cluster, role) = (ClusterId::new(draw.of(&["ours", "ours", "theirs"])), draw.of(&[Role::Manager, Role::Worker]));
    match draw.below(6) {
        0 => Fact::NotAsked,
        1 => Fact::Unknown("no certificate".into()),
        _ => Fact::Known(NodeIdentity { cluster, node, role }, SeenAt::default()),
    }
}

/// An engine that is between two states, or in error.
fn unwell(draw: &mut Draw, name: &HostName, report: &mut HostReport) {
    let identity = certificate(draw, name);
    let Ok(engine) = &mut report.engine else { return };
    engine.running_containers = draw.of(&[0, 0, 1, 3]);
    if !draw.one_in(3) {
        return;
    }
    let swarm = &mut engine.swarm;
    swarm.reported = draw.of(&[LocalState::Pending, LocalState::Pending, LocalState::Error, LocalState::Error, LocalState::Locked]);
    swarm.node = draw.of(&[None, Some("node"), Some("node"), Some("late"), Some("other")]).map(|id| NodeId::new(format!("{id}-{name}")));
    swarm.control_available = draw.one_in(4);
    swarm.cluster = draw.of(&[None, None, Some("ours"), Some("theirs")]).map(ClusterId::new);
    let failed = swarm.reported == LocalState::Error && !draw.one_in(6);
    swarm.error = failed.then(|| draw.of(&["no space left on device", "manager stopped", "certificate has expired"]).to_owned());
    (report.identity, report.view) = (identity, Fact::NotAsked);
}

/// Entries of hosts under other ids, and entries that say little.
fn with_entries(draw: &mut Draw, names: &[HostName], nodes: &mut Vec<NodeFacts>) {
    for name in names {
        if !draw.one_in(3) {
            continue;
        }
        let state = draw.of(&[NodeState::Ready, NodeState::Down, NodeState::Unknown]);
        let mut late = node(name.as_str(), draw.of(&[Role::Manager, Role::Worker]), state, false);
        late.id = NodeId::new(format!("late-{name}"));
        if draw.one_in(2) {
            late.hostname = String::new();
        }
        late.availability = draw.of(&[Availability::Active, Availability::Drain]);
        nodes.push(late);
    }
    for one in nodes {
        let plain = address(one.id.as_str().split_once('-').map_or("m1", |(_, name)| name));
        if draw.one_in(6) {
            one.address = draw.of(&["0.0.0.0", "10.7.7.7", plain.as_str()]).to_owned();
        }
        if let Some(manager) = &mut one.manager
            && draw.one_in(5)
        {
            manager.address = draw.of(&["0.0.0.0:2377", "10.9.9.9:2377", "10.0.1.2:2377", "10.0.2.1:2377"]).to_owned();
        }
    }
}

pub(super) fn look(seed: u64) -> (crate::spec::ClusterSpec, Observation, Draw, String) {
    let (spec, mut look, out) = drawn(seed);
    let mut draw = Draw(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 83);
    let names: Vec<HostName> = spec.hosts().map(|h| h.name.clone()).collect();
    let first = look.hosts.iter().find(|(_, report)| report.view.is_known()).map(|(name, _)| name.clone());
    for (name, report) in &mut look.hosts {
        // One manager stays what it is, so that there is a swarm in most of them.
        if Some(name) != first.as_ref() || draw.one_in(8) {
            unwell(&mut draw, name, report);
        }
    }
    let drawn = draw.0;
    for report in look.hosts.values_mut() {
        if let Some(view) = report.view.known_mut() {
            with_entries(&mut Draw(drawn), &names, &mut view.nodes);
        }
    }
    (spec, look, draw, out)
}

fn one(seed: u64) -> String {
    let (spec, look, mut draw, mut out) = look(seed);
    let names: Vec<HostName> = spec.hosts().map(|h| h.name.clone()).collect();
    let options = PlanOptions {
        force_leave: names.iter().filter(|_| draw.one_in(4)).cloned().collect(),
        prune: draw.one_in(3),
        limit: draw.one_in(10).then(|| [draw.of(&names)].into()),
        ..PlanOptions::default()
    };
    let observed = read_again(&merge(&spec, &look, &options.force_leave));
    let _ = writeln!(out, "\n  {options:?}");
    let planned = build(&spec, &observed, &options);
    if let Planned::Plan(plan) = &planned {
        assert_eq!(lint(plan, &spec, &observed, &options.force_leave), [], "{out}{plan:#?}");
    }
    written(&planned, &mut out);
    let _ = writeln!(out, "  {:?}", verify(&spec, &observed, options.limit.as_ref()));
    for force in [Force::No, Force::Yes] {
        let _ = writeln!(out, "  destroy {force:?}");
        written(&build_destroy(&spec, &merge(&spec, &look, &BTreeSet::new()), force), &mut out);
    }
    out + &super::seen_in(&observed)
}

#[test]
fn the_decisions_about_looks_in_which_more_goes_wrong_are_the_same() {
    is_summed("rare.sums", RARE, one);
}
