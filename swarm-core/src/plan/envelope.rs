//! What an operator agreed to: which verbs on which targets, how often, and what a run may clean up behind itself. Later rounds of a run do
//! what is inside and nothing else.

use super::{Action, Plan, Step, Target};
use crate::id::{HostName, NodeId, StepId};
use crate::observe::Observed;
use crate::step;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How many entries one host's attempts to enter may leave behind: one for each try, and the node that it was.
const ENTRIES_LEFT: u32 = 4;

/// One verb on one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowance {
    /// The verb, as [`Action::verb`] has it.
    pub verb: String,
    /// On what.
    pub target: Target,
    /// How often at most.
    pub times: u32,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Envelope(pub Vec<Allowance>);

impl Envelope {
    /// What is agreed to with these steps: each of them once, and the removal of what a host's failed attempts to enter leave behind.
    pub fn of(steps: &[Step]) -> Self {
        let mut all: Vec<(&str, Target, u32)> = Vec::with_capacity(steps.len());
        for step in steps {
            all.push((step.action.verb(), step.target(), 1));
            if let Some(host) = step.host.as_ref().filter(|_| step.action.kind().may_leave_an_entry()) {
                all.push(("remove-node", Target::LeftBy(host.clone()), ENTRIES_LEFT));
            }
        }
        all.sort_unstable();
        all.dedup_by(|next, kept| {
            let same = (next.0, &next.1) == (kept.0, &kept.1);
            kept.2 += if same { next.2 } else { 0 };
            same
        });
        Self(all.into_iter().map(|(verb, target, times)| Allowance { verb: verb.to_owned(), target, times }).collect())
    }

    /// Each allowance by its verb and target, with its place.
    fn index(&self) -> BTreeMap<(&str, &Target), usize> {
        self.0.iter().enumerate().map(|(place, a)| ((a.verb.as_str(), &a.target), place)).collect()
    }
}

/// An envelope, and what of it is used up.
#[derive(Debug)]
pub struct Ledger<'a> {
    envelope: &'a Envelope,
    index: BTreeMap<(&'a str, &'a Target), usize>,
    spent: Vec<u32>,
    /// The nodes that were listed before the run: none of them was left behind by it.
    listed: BTreeSet<NodeId>,
    /// The node that each host was. A promotion that goes on as a join leaves it behind.
    was: BTreeMap<HostName, NodeId>,
}

impl<'a> Ledger<'a> {
    /// Nothing is used up.
    pub fn new(envelope: &'a Envelope, before: &Observed) -> Self {
        let listed = before.view().iter().flat_map(|v| &v.nodes).map(|n| n.id.clone()).collect();
        let was = before.hosts.iter().filter_map(|(name, host)| Some((name.clone(), host.node.as_ref()?.id.clone()))).collect();
        Self { envelope, index: envelope.index(), spent: vec![0; envelope.0.len()], listed, was }
    }

    /// Which allowance a step would use; `None` where it is outside.
    fn allowance(&self, step: &Step, more: &[u32]) -> Option<usize> {
        let room = |place: &usize| {
            let used = self.spent.get(*place).into_iter().chain(more.get(*place)).sum::<u32>();
            self.envelope.0.get(*place).is_some_and(|allowed| used < allowed.times)
        };
        let of = |target: &Target| self.index.get(&(step.action.verb(), target)).copied().filter(room);
        of(&step.target()).or_else(|| match (&step.action, &step.host) {
            (Action::RemoveNode(step::RemoveNode { node, .. }), Some(host))
                if !self.listed.contains(node) || self.was.get(host) == Some(node) =>
            {
                of(&Target::LeftBy(host.clone()))
            }
            _ => None,
        })
    }

    /// Whether a step is inside, with what was used up so far.
    pub fn allows(&self, step: &Step) -> bool {
        self.allowance(step, &[]).is_some()
    }

    /// A step was begun.
    pub fn begun(&mut self, step: &Step) {
        if let Some(spent) = self.allowance(step, &[]).and_then(|index| self.spent.get_mut(index)) {
            *spent += 1;
        }
    }

    /// The part of a plan that is inside. A step that needs one that is outside is outside too; the removal of what was left behind needs
    /// nothing.
    pub fn inside(&self, plan: &Plan) -> Plan {
        let mut used = vec![0; self.spent.len()];
        let mut kept: BTreeSet<StepId> = BTreeSet::new();
        let mut steps = Vec::new();
        for step in &plan.steps {
            let removes = matches!(step.action, Action::RemoveNode(_));
            let Some(index) = self.allowance(step, &used) else { continue };
            if !removes && step.needs.iter().any(|need| !kept.contains(need)) {
                continue;
            }
            if let Some(used) = used.get_mut(index) {
                *used += 1;
            }
            kept.insert(step.id.clone());
            let needs = step.needs.iter().filter(|need| kept.contains(need)).cloned().collect();
            steps.push(Step { needs, ..step.clone() });
        }
        Plan { steps, ..plan.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Force, NodeChange, SwarmChange};
    use crate::observe::merge;
    use crate::plan::{PlanOptions, Planned, Rejoin, Risk, build};
    use crate::spec::{Availability, Role};
    use crate::testkit::{Is, spec, world};

    fn step(host: &str, action: Action, needs: &[&str]) -> Step {
        Step {
            id: StepId::new(format!("{host}/{}", action.verb())),
            host: Some(host.into()),
            action,
            before: String::new(),
            after: String::new(),
            needs: needs.iter().map(|n| StepId::new(*n)).collect(),
            expect: None,
            because: String::new(),
            risk: Risk::None,
        }
    }

    fn join(role: Role) -> Action {
        let advertise = "10.0.2.1".parse().unwrap();
        Action::Join(step::Join { role, advertise, listen: "0.0.0.0:2377".into(), data_path: None, availability: Availability::Active })
    }

    fn promote() -> Action {
        let advertise = "10.0.2.2".parse().unwrap();
        Action::Promote(step::Promote {
            rejoin: Rejoin { advertise, listen: "0.0.0.0:2377".into(), data_path: None, node: NodeChange::default() },
        })
    }

    fn remove(node: &str) -> Action {
        Action::RemoveNode(step::RemoveNode { node: NodeId::new(node), demote: false, dead: false, stays: false })
    }

    fn configure() -> Action {
        Action::Configure(step::Configure { change: NodeChange::default() })
    }

    fn update() -> Action {
        Action::UpdateSwarm(step::UpdateSwarm { change: SwarmChange::default() })
    }

    fn leave() -> Action {
        Action::Leave(step::Leave { force: Force::No, node: None, leaderless: false })
    }

    /// A swarm of m1, m3 (managers) and w2 (a worker); w1, w3 and w4 are outside.
    fn before() -> Observed {
        let hosts =
            [("m1", Is::Manager), ("m3", Is::Manager), ("w1", Is::Alone), ("w2", Is::Worker), ("w3", Is::Removed), ("w4", Is::Alone)];
        merge(&spec(&["m1", "m3", "w1", "w2", "w3", "w4"]), &world(&hosts), &BTreeSet::new())
    }

    fn agreed() -> Envelope {
        Envelope::of(&[
            step("w1", join(Role::Worker), &[]),
            step("w1", configure(), &[]),
            step("w2", promote(), &[]),
            step("m3", Action::Demote, &[]),
            step("w3", leave(), &[]),
            step("w3", remove("node-old"), &[]),
            step("m1", update(), &[]),
            step("m1", Action::StoreUnlockKey, &[]),
        ])
    }

    #[test]
    fn what_was_agreed_to_is_inside_and_nothing_else() {
        let (envelope, before) = (agreed(), before());
        // Steps that were begun before, the step that is asked about, and whether it is inside.
        let table: Vec<(Vec<Step>, Step, bool)> = vec![
            (vec![], step("w1", join(Role::Worker), &[]), true),
            (vec![step("w1", join(Role::Worker), &[])], step("w1", join(Role::Worker), &[]), false),
            (vec![], step("w4", join(Role::Worker), &[]), false),
            (vec![], step("w1", leave(), &[]), false),
            (vec![], step("w3", leave(), &[]), true),
            (vec![step("w3", leave(), &[])], step("w3", leave(), &[]), false),
            (vec![], step("w1", configure(), &[]), true),
            (vec![], step("w2", configure(), &[]), false),
            (vec![], step("w2", promote(), &[]), true),
            (vec![], step("w1", promote(), &[]), false),
            (vec![step("w2", promote(), &[])], step("w2", promote(), &[]), false),
            (vec![], step("m3", Action::Demote, &[]), true),
            (vec![], step("m1", Action::Demote, &[]), false),
            // The swarm is the target, whichever manager is asked.
            (vec![], step("m3", update(), &[]), true),
            (vec![step("m1", update(), &[])], step("m3", update(), &[]), false),
            (vec![], step("m1", Action::StoreUnlockKey, &[]), true),
            // An entry that was named; one that was listed before and is someone's; one that appeared since, by whose host.
            (vec![], step("w3", remove("node-old"), &[]), true),
            (vec![step("w3", remove("node-old"), &[])], step("w3", remove("node-old"), &[]), false),
            (vec![], step("w1", remove("node-m3"), &[]), false),
            (vec![], step("w1", remove("node-new"), &[]), true),
            (vec![], step("w4", remove("node-new"), &[]), false),
            (vec![], step("w3", remove("node-new"), &[]), false),
            // What a promotion that went on as a join leaves is the node that its host was, and not another one.
            (vec![], step("w2", remove("node-w2"), &[]), true),
            (vec![], step("w1", remove("node-w2"), &[]), false),
            // One for each try, and no more.
            ((1..=4).map(|i| step("w1", remove(&format!("node-{i}-new")), &[])).collect(), step("w1", remove("node-new"), &[]), false),
        ];
        for (row, (begun, asked, inside)) in table.iter().enumerate() {
            let mut ledger = Ledger::new(&envelope, &before);
            begun.iter().for_each(|s| ledger.begun(s));
            assert_eq!(ledger.allows(asked), *inside, "row {row}: {} after {} steps", asked.id, begun.len());
        }
    }

    /// A saved plan that someone wrote a step into, or whose envelope was cut down, breaks a rule.
    #[test]
    fn a_plan_that_goes_beyond_its_own_envelope_is_found() {
        let (before, spec) = (before(), spec(&["m1", "m3", "w1", "w2", "w3", "w4"]));
        let Planned::Plan(plan) = build(&spec, &before, &PlanOptions::default()) else { panic!("a plan") };
        let found = |plan: &Plan| {
            let findings = crate::plan::lint(plan, &spec, &before, &BTreeSet::new());
            findings.into_iter().filter(|f| f.what.contains("may do")).filter_map(|f| f.step).map(|s| s.to_string()).collect::<Vec<_>>()
        };
        assert!(!plan.is_empty() && found(&plan).is_empty(), "{plan:#?}");
        let mut more = plan.clone();
        more.steps.extend([step("m3", Action::Demote, &[]), step("w1", remove("node-old"), &[])]);
        assert_eq!(found(&more), ["m3/demote", "w1/remove-node"]);
        let mut none_left = plan.clone();
        none_left.envelope.0.iter_mut().for_each(|allowed| allowed.times = 0);
        assert_eq!(found(&none_left).len(), plan.steps.len());
    }

    #[test]
    fn of_a_plan_only_what_is_inside_is_left_and_what_needs_nothing_else() {
        let (envelope, before) = (agreed(), before());
        let spec = spec(&["m1", "m3", "w1", "w2", "w3", "w4"]);
        let Planned::Plan(plan) = build(&spec, &before, &PlanOptions::default()) else { panic!("a plan") };
        let with = |steps: Vec<Step>| Plan { steps, ..plan.clone() };
        let left = |plan: &Plan| plan.steps.iter().map(|s| (s.id.to_string(), s.needs.len())).collect::<Vec<_>>();
        let ledger = Ledger::new(&envelope, &before);
        let steps = vec![
            step("w4", join(Role::Worker), &[]),
            step("w2", promote(), &[]),
            step("m3", Action::Demote, &["w2/promote"]),
            step("w1", configure(), &["w4/join"]),
            step("w1", remove("node-new"), &["w4/join"]),
        ];
        assert_eq!(
            left(&ledger.inside(&with(steps))),
            [("w2/promote".to_owned(), 0), ("m3/demote".to_owned(), 1), ("w1/remove-node".to_owned(), 0)]
        );
        // Once is once, also within one plan.
        let twice = vec![step("m1", update(), &[]), step("m3", update(), &[])];
        assert_eq!(left(&ledger.inside(&with(twice))), [("m1/update-swarm".to_owned(), 0)]);
        assert!(Envelope::of(&[]).0.is_empty() && Ledger::new(&Envelope::default(), &before).inside(&plan).is_empty());
    }
}
