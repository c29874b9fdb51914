//! Plans that no planner makes: steps drawn at random, and steps of real plans taken out of their order. What is found wrong with them is kept as sums
//! in `tests/data/lints.sums`.

use super::rare::look;
use super::{Draw, is_summed};
use crate::engine::{Force, InitRequest};
use crate::id::{HostName, NodeId, StepId};
use crate::observe::{Observed, merge};
use crate::plan::{Action, Envelope, Plan, PlanOptions, PlanPurpose, Planned, Rejoin, Risk, Step, Target, Work, build, lint};
use crate::spec::{Availability, ClusterSpec, Role};
use crate::step;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::Range;

const DRAWN: Range<u64> = 200_000..206_000;
const LISTEN: &str = "0.0.0.0:2377";

fn action(draw: &mut Draw, name: &HostName, observed: &Observed, likely: u64) -> Action {
    let advertise = IpAddr::from([10, 0, 1, 1]);
    let own = observed.hosts.get(name).and_then(|h| h.node.as_ref()).map(|n| n.id.clone());
    let listed: Vec<NodeId> = observed.view().into_iter().flat_map(|v| &v.nodes).map(|n| n.id.clone()).collect();
    let node = match draw.below(4) {
        0 => NodeId::new("gone"),
        1 if !listed.is_empty() => draw.of(&listed),
        _ => own.unwrap_or(NodeId::new("node-m2")),
    };
    let force = draw.of(&[Force::No, Force::Yes]);
    match if draw.one_in(2) { likely } else { draw.below(9) } {
        0 => Action::Init(step::Init {
            request: InitRequest {
                advertise,
                listen: LISTEN.into(),
                data_path: None,
                availability: Availability::Active,
                settings: Default::default(),
                init: Default::default(),
                labels: Default::default(),
            },
        }),
        1 => {
            let role = draw.of(&[Role::Manager, Role::Worker]);
            Action::Join(step::Join { role, advertise, listen: LISTEN.into(), data_path: None, availability: Availability::Active })
        }
        2 => Action::Leave(step::Leave { force, node: None, leaderless: false }),
        3 => Action::Promote(step::Promote {
            rejoin: Rejoin { advertise, listen: LISTEN.into(), data_path: None, node: Default::default() },
        }),
        4 => Action::Demote,
        5 => Action::Recover(step::Recover { advertise, listen: LISTEN.into() }),
        6 => Action::RemoveNode(step::RemoveNode { node, demote: draw.one_in(2), dead: draw.one_in(2), stays: draw.one_in(4) }),
        7 => Action::Work(Work { family: "f".into(), verb: "do".into(), target: Target::Host(name.clone()), data: Default::default() }),
        _ => Action::StoreUnlockKey,
    }
}

fn steps(draw: &mut Draw, names: &[HostName], observed: &Observed) -> Vec<Step> {
    let likely = draw.below(9);
    let mut all: Vec<Step> = Vec::new();
    for at in 0..1 + draw.below(5) {
        let host = if draw.one_in(20) { HostName::new("w9") } else { draw.of(names) };
        let action = action(draw, &host, observed, likely);
        let mut needs: Vec<StepId> = all.iter().filter(|_| draw.one_in(2)).map(|s| s.id.clone()).collect();
        if draw.one_in(30) {
            needs.push(StepId::new("later"));
        }
        let id = if draw.one_in(30) { StepId::new("0/same") } else { StepId::new(format!("{host}/{}-{at}", action.verb())) };
        let host = (!draw.one_in(20)).then_some(host);
        let (before, after, because) = (String::new(), String::new(), String::new());
        all.push(Step { id, host, action, before, after, needs, expect: None, because, risk: Risk::None });
    }
    all
}

/// A plan of such steps, or one of a planner that someone changed.
fn plan(draw: &mut Draw, spec: &ClusterSpec, observed: &Observed, forced: &BTreeSet<HostName>) -> Plan {
    let names: Vec<HostName> = spec.hosts().map(|h| h.name.clone()).collect();
    let options = PlanOptions { force_leave: forced.clone(), prune: true, ..PlanOptions::default() };
    let mut plan = match build(spec, observed, &options) {
        Planned::Plan(plan) if draw.one_in(3) && !plan.steps.is_empty() => plan,
        _ => {
            let drawn = steps(draw, &names, observed);
            Plan::of_work(spec, observed, drawn, Vec::new())
        }
    };
    let at = |draw: &mut Draw, plan: &Plan| draw.below(plan.steps.len() as u64) as usize;
    match draw.below(6) {
        0 => {
            let at = at(draw, &plan);
            plan.steps[at].needs.clear();
        }
        1 if plan.steps.len() > 1 => {
            let at = at(draw, &plan);
            plan.steps.remove(at);
        }
        2 => plan.steps.reverse(),
        3 => plan.envelope = Envelope::of(&plan.steps[1..]),
        _ => {}
    }
    use PlanPurpose::{Converge, Destroy, Recover, Remove, Work};
    plan.purpose = draw.of(&[Converge, Converge, Converge, Destroy, Work, Remove, Recover, Recover]);
    plan.init_on = draw.one_in(3).then(|| draw.of(&names));
    if draw.one_in(30) {
        plan.fingerprint.clear();
    }
    if draw.one_in(8) {
        plan.swarm = None;
    }
    plan
}

fn one(seed: u64) -> String {
    let (spec, look, mut draw, mut out) = look(seed);
    let forced: BTreeSet<HostName> = spec.hosts().map(|h| h.name.clone()).filter(|_| draw.one_in(4)).collect();
    let observed = merge(&spec, &look, &forced);
    for _ in 0..3 {
        let plan = plan(&mut draw, &spec, &observed, &forced);
        let _ = writeln!(out, "  {:?} {:?} {forced:?}", plan.purpose, plan.init_on);
        for step in &plan.steps {
            let _ = writeln!(out, "    {} {:?} {:?} {:?}", step.id, step.host, step.action, step.needs);
        }
        for finding in lint(&plan, &spec, &observed, &forced) {
            let _ = writeln!(out, "    {:?} {finding}", finding.severity);
        }
    }
    out
}

#[test]
fn what_is_wrong_with_plans_that_no_planner_makes_is_the_same() {
    is_summed("lints.sums", DRAWN, one);
}
