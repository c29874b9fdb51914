//! The same for what is asked for day by day: nodes changed and removed, a swarm recovered, tokens and root replaced, managers unlocked; in
//! `tests/data/intents.txt`.

use super::{Draw, SUMMED, WORLDS, drawn, is_summed, is_written, written};
use crate::credential::Part;
use crate::engine::{Force, GivenRoot};
use crate::id::{HostName, NodeId};
use crate::intent::{Converge, Destroy, Intent, Next, SoFar, not_now};
use crate::nodes::{EditNodes, NodeEdit, RemoveNodes, quorum_note};
use crate::observe::{NodeState, Observation, Observed, merge};
use crate::plan::{LintFinding, PlanOptions, Planned, lint};
use crate::recover::Recover;
use crate::replace::Replace;
use crate::spec::{Availability, ClusterSpec, ExternalCa, Role};
use crate::testkit::node;
use crate::unlock::Unlock;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

/// Fingerprints of every part, and nodes with certificates of one root or another.
fn with_parts(draw: &mut Draw, look: &mut Observation) {
    let old = draw.one_in(4);
    for report in look.hosts.values_mut() {
        let Some(view) = report.view.known_mut() else { continue };
        let parts = [(Part::WorkerToken, "worker"), (Part::ManagerToken, "manager"), (Part::Root, "root")];
        let generation = |draw: &mut Draw| if draw.one_in(3) { 2 } else { 1 };
        view.cluster.fingerprints = parts.map(|(part, name)| (part, format!("{name}-{}", if old { 1 } else { generation(draw) }))).into();
        for node in &mut view.nodes {
            node.root = format!("root-{}", generation(draw));
        }
    }
}

fn said(out: &mut String, what: &str, intent: &dyn Intent, spec: &ClusterSpec, look: &Observed, later: &Observed) {
    let _ = writeln!(out, "  {what}:");
    let so_fars =
        [SoFar::default(), SoFar { rounds: 1, ..SoFar::default() }, SoFar { waited: Duration::from_secs(3600), ..SoFar::default() }];
    let mut before = None;
    for so_far in so_fars {
        let next = intent.next(look, so_far);
        if before.as_ref() == Some(&next) {
            continue;
        }
        match &next {
            Next::Waiting { why, budget } => {
                let _ = writeln!(out, "    waiting: {why}, {} s", budget.as_secs());
            }
            Next::Refused(refusals) => written(&Planned::Refused(refusals.clone()), out),
            Next::Done(plan) | Next::Round(plan) => {
                let _ = writeln!(out, "    {}", if matches!(next, Next::Done(_)) { "done" } else { "round" });
                let found: Vec<LintFinding> = lint(plan, spec, look, &BTreeSet::new());
                assert_eq!(found, [], "{out}{plan:#?}");
                written(&Planned::Plan(plan.clone()), out);
            }
        }
        before = Some(next);
    }
    for (when, observed) in [("now", look), ("later", later)] {
        let verdict = intent.verify(observed);
        for finding in &verdict.findings {
            let _ = writeln!(out, "    {when}: {:?} {:?} {}", finding.host, finding.kind, finding.message);
        }
        for note in &verdict.notes {
            let _ = writeln!(out, "    {when}: {note}");
        }
    }
}

fn edit(draw: &mut Draw) -> NodeEdit {
    match draw.below(3) {
        0 => NodeEdit::Role(draw.of(&[Role::Manager, Role::Worker])),
        1 => NodeEdit::Availability(draw.of(&[Availability::Active, Availability::Pause, Availability::Drain])),
        _ => NodeEdit::Labels([("rack".to_owned(), draw.of(&[Some("a"), None]).map(str::to_owned))].into()),
    }
}

fn one(seed: u64) -> String {
    let (spec, mut look, mut out) = drawn(seed);
    let mut draw = Draw(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 78);
    with_parts(&mut draw, &mut look);
    let mut after = look.clone();
    with_parts(&mut draw, &mut after);
    let (seen, later) = (merge(&spec, &look, &BTreeSet::new()), merge(&spec, &after, &BTreeSet::new()));
    let names: Vec<HostName> = spec.hosts().map(|h| h.name.clone()).collect();
    let some = |draw: &mut Draw| -> Vec<HostName> { names.iter().filter(|_| draw.one_in(2)).cloned().collect() };
    let _ = writeln!(out, "\n  note: {:?}", quorum_note(&seen));
    let edits: BTreeMap<HostName, NodeEdit> = some(&mut draw).into_iter().map(|host| (host, edit(&mut draw))).collect();
    said(&mut out, &format!("edit {edits:?}"), &EditNodes { spec: &spec, edits: edits.clone() }, &spec, &seen, &later);
    let (hosts, entries) = (some(&mut draw), if draw.one_in(3) { vec![draw.of(&["node-old", "w1", "w9"]).to_owned()] } else { Vec::new() });
    let dead: Vec<HostName> = hosts.iter().filter(|_| draw.one_in(3)).cloned().collect();
    let what = format!("remove {hosts:?}, dead {dead:?}, {entries:?}");
    said(&mut out, &what, &RemoveNodes { spec: &spec, hosts, dead, entries }, &spec, &seen, &later);
    let host = draw.of(&names);
    let fenced: BTreeSet<String> = some(&mut draw).iter().map(ToString::to_string).collect();
    let what = format!("recover {host}, fenced {fenced:?}");
    said(&mut out, &what, &Recover { spec: &spec, host, fenced, seen: BTreeMap::new() }, &spec, &seen, &later);
    said(&mut out, "unlock", &Unlock { spec: &spec, hosts: some(&mut draw) }, &spec, &seen, &later);
    let all = [Part::WorkerToken, Part::ManagerToken, Part::UnlockKey, Part::Root];
    let parts: Vec<Part> = all.into_iter().filter(|_| draw.one_in(2)).collect();
    let stored = draw.of(&[Some("key-1"), Some("key-2"), None]).map(str::to_owned);
    match Replace::of(&spec, &seen, &parts, &|| stored.clone()) {
        Err(why) => {
            let _ = writeln!(out, "  replace {parts:?}: {why}");
        }
        Ok(mut replace) => {
            if draw.one_in(3) {
                replace.settings.cert_expiry = Some(Duration::from_secs(7200));
            }
            said(&mut out, &format!("replace {parts:?}"), &replace, &spec, &seen, &later);
        }
    }
    out
}

/// Old entries that still report, of hosts of the file or of none, in raft or not.
fn with_old_entries(draw: &mut Draw, look: &mut Observation) {
    let (name, state) = (draw.of(&["m1", "m2", "w1", "x9"]), draw.of(&[NodeState::Ready, NodeState::Unknown, NodeState::Down]));
    let mut old = node(name, draw.of(&[Role::Manager, Role::Worker]), state, false);
    old.id = NodeId::new("node-before");
    for report in look.hosts.values_mut() {
        if let Some(view) = report.view.known_mut() {
            view.nodes.push(old.clone());
        }
    }
}

/// So many of those that are summed are asked at many times.
const TIMED: u64 = 400;

/// Whether a run goes on, waits or ends, by how far it is, to the millisecond.
fn goes_on(seed: u64) -> String {
    let (spec, mut look, mut out) = drawn(seed);
    let mut draw = Draw(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 80);
    if draw.one_in(2) {
        with_old_entries(&mut draw, &mut look);
    }
    let observed = merge(&spec, &look, &BTreeSet::new());
    let quarter = spec.policy().timeout / 4;
    let converge = Converge { spec: &spec, options: PlanOptions::default() };
    let destroy = Destroy { spec: &spec, force: Force::Yes };
    let mut times: Vec<Duration> = vec![Duration::ZERO, quarter];
    for so_far in [SoFar::default(), SoFar { rounds: 1, failed_joins: 1, ..SoFar::default() }] {
        for intent in [&converge as &dyn Intent, &destroy] {
            if let Next::Waiting { budget, .. } = intent.next(&observed, so_far) {
                times.push(budget);
            }
        }
    }
    for waited in times.into_iter().flat_map(|at| [at.saturating_sub(Duration::from_millis(1)), at, at + Duration::from_millis(1)]) {
        for (rounds, failed_joins) in [(0, 0), (1, 0), (1, 1), (0, 2)] {
            for intent in [&converge as &dyn Intent, &destroy] {
                let next = match intent.next(&observed, SoFar { rounds, failed_joins, waited }) {
                    Next::Waiting { why, budget } => format!("waiting {why} {budget:?}"),
                    Next::Refused(refusals) => format!("refused {refusals:?}"),
                    Next::Done(_) => "done".into(),
                    Next::Round(plan) => plan.steps.iter().map(|s| s.id.to_string() + " ").collect(),
                };
                let _ = writeln!(out, "  {waited:?} {rounds} {failed_joins}: {next}");
            }
        }
    }
    let _ = writeln!(
        out,
        "  {:?} {:?} {:?}",
        converge.verify(&observed),
        destroy.verify(&observed),
        not_now(&spec, &observed, SoFar::default())
    );
    out
}

/// What is rarer: a root that is given, parts that no manager gives, entries of hosts that left, managers that the file does not have.
fn rarer(seed: u64) -> String {
    let (spec, mut look, mut out) = drawn(seed);
    let mut draw = Draw(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 81);
    with_parts(&mut draw, &mut look);
    if draw.one_in(2) {
        with_old_entries(&mut draw, &mut look);
    }
    let without = draw.of(&[Some(Part::WorkerToken), Some(Part::Root), None, None]);
    for report in look.hosts.values_mut() {
        if let (Some(view), Some(part)) = (report.view.known_mut(), without) {
            view.cluster.fingerprints.remove(&part);
        }
    }
    let seen = merge(&spec, &look, &BTreeSet::new());
    let names: Vec<HostName> = spec.hosts().map(|h| h.name.clone()).collect();
    let some = |draw: &mut Draw| -> Vec<HostName> { names.iter().filter(|_| draw.one_in(2)).cloned().collect() };
    let entries = draw.of(&[vec!["node-before".to_owned()], vec!["x1".into(), "node-before".into()], vec!["node-old".into()], Vec::new()]);
    let (hosts, dead) = (some(&mut draw), if draw.one_in(3) { some(&mut draw) } else { Vec::new() });
    said(
        &mut out,
        &format!("remove {hosts:?} {dead:?} {entries:?}"),
        &RemoveNodes { spec: &spec, hosts, dead, entries },
        &spec,
        &seen,
        &seen,
    );
    let host = draw.of(&names);
    let mut fenced: BTreeSet<String> = some(&mut draw).iter().map(ToString::to_string).collect();
    fenced.extend(draw.of(&[None, Some("10.9.9.9"), Some("10.9.9.9:2377"), Some("10.0.1.1")]).map(str::to_owned));
    said(
        &mut out,
        &format!("recover {host} {fenced:?}"),
        &Recover { spec: &spec, host, fenced, seen: BTreeMap::new() },
        &spec,
        &seen,
        &seen,
    );
    let parts = draw.of(&[vec![Part::Root], vec![Part::Root, Part::WorkerToken], vec![Part::WorkerToken], vec![Part::UnlockKey]]);
    match Replace::of(&spec, &seen, &parts, &|| None) {
        Err(why) => {
            let _ = writeln!(out, "  replace {parts:?}: {why}");
        }
        Ok(mut replace) => {
            replace.root = draw.one_in(2).then(|| GivenRoot {
                certificate: "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".into(),
                key: Some("key".into()),
            });
            if draw.one_in(2) {
                replace.authorities = vec![ExternalCa {
                    protocol: "cfssl".into(),
                    url: "https://ca.example:8443".into(),
                    ca_cert: None,
                    options: BTreeMap::new(),
                }];
            }
            said(&mut out, &format!("replace {parts:?}"), &replace, &spec, &seen, &seen);
        }
    }
    out
}

#[test]
fn what_is_asked_for_day_by_day_is_the_same_of_many_more() {
    is_summed("intents.sums", SUMMED, |seed| {
        one(seed) + &rarer(seed) + &(if seed < SUMMED.start + TIMED { goes_on(seed) } else { String::new() })
    });
}

#[test]
fn what_is_asked_for_day_by_day_is_as_written_down() {
    is_written("intents.txt", &(0..WORLDS / 2).map(one).collect::<String>());
}

/// An entry whose host died before it gave its name is taken out by its id; one that may only be starting, or is ready, is not.
#[test]
fn an_entry_without_a_name_is_taken_out_by_its_id() {
    let spec = crate::testkit::spec(&["m1"]);
    for (state, name, goes) in [
        (NodeState::Unknown, "", true),
        (NodeState::Down, "", true),
        (NodeState::Down, "gone", true),
        (NodeState::Unknown, "gone", false),
        (NodeState::Ready, "", false),
    ] {
        let mut look = crate::testkit::world(&[("m1", crate::testkit::Is::Manager)]);
        let entry = crate::observe::NodeFacts { hostname: name.into(), ..node("w9", Role::Worker, state.clone(), false) };
        look.hosts.values_mut().filter_map(|r| r.view.known_mut()).for_each(|view| view.nodes.push(entry.clone()));
        let entries = vec![entry.id.to_string()];
        let next = RemoveNodes { spec: &spec, hosts: Vec::new(), dead: Vec::new(), entries }
            .next(&merge(&spec, &look, &BTreeSet::new()), SoFar::default());
        match next {
            Next::Round(plan) => assert!(goes && plan.steps.len() == 1, "{state:?} {name}"),
            Next::Refused(_) => assert!(!goes, "{state:?} {name}"),
            other => panic!("{state:?} {name}: {other:?}"),
        }
    }
}
