//! To spread the tasks of services over the nodes that may have them: the engine places tasks as they are made, and never moves one.

use crate::deploy::there_now;
use crate::placement::misfit;
use crate::spec::is_stopped;
use crate::steps::{BALANCE_LABEL, Balanced, Data};
use crate::tasks::{Standing, standing};
use crate::there::{There, find, tasks, wants_tasks};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use swarm_core::ClusterSpec;
use swarm_core::engine::{Kind, Object, Query};
use swarm_core::intent::{Intent, Next, SoFar};
use swarm_core::observe::{NodeFacts, Observed};
use swarm_core::plan::{Plan, Refusal, Risk, Target};
use swarm_core::verify::{Finding, FindingKind, Verdict};

/// To spread the tasks of services.
#[derive(Debug, Clone)]
pub struct Rebalance<'a> {
    /// The cluster's file.
    pub spec: &'a ClusterSpec,
    /// The services, by their names; none for all of them.
    pub services: BTreeSet<String>,
}

/// How many tasks of a service run on each node that may have them.
type Counts<'o> = BTreeMap<&'o str, u64>;

/// How many tasks have to move so that no node has two more than another.
fn moves(counts: &[u64]) -> u64 {
    let (nodes, tasks) = (counts.len() as u64, counts.iter().sum::<u64>());
    let mut sorted = counts.to_vec();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    if nodes == 0 || sorted.first().zip(sorted.last()).is_none_or(|(most, least)| most - least < 2) {
        return 0;
    }
    // The fullest nodes keep one more where it does not come out even.
    let fair = |at: u64| tasks / nodes + u64::from(at < tasks % nodes);
    sorted.iter().zip(0..).map(|(count, at)| count.saturating_sub(fair(at))).sum()
}

/// Why a service's tasks cannot be elsewhere than they are.
pub(crate) fn stays(spec: &Value) -> Option<&'static str> {
    let list = |place: &str| spec.pointer(place).and_then(Value::as_array).into_iter().flatten();
    if spec.pointer("/Mode/Replicated").is_none() {
        return Some("only replicated services have tasks that can be elsewhere");
    }
    if list("/EndpointSpec/Ports").any(|p| p.get("PublishMode").and_then(Value::as_str) == Some("host")) {
        return Some("it has ports of its nodes");
    }
    if list("/TaskTemplate/ContainerSpec/Mounts").any(|m| matches!(m.get("Type").and_then(Value::as_str), Some("volume" | "bind"))) {
        return Some("it has data on its nodes");
    }
    is_stopped(spec).then_some("its update was stopped, and until that goes on its tasks stay")
}

/// Why a service is not spread evenly over the nodes.
fn left_out(spec: &Value) -> Option<&'static str> {
    let preferences = spec.pointer("/TaskTemplate/Placement/Preferences").and_then(Value::as_array);
    let spread = preferences.is_some_and(|list| !list.is_empty());
    stays(spec).or(spread.then_some("it has placement preferences, which spread it in another way"))
}

/// Why tasks of a service cannot be moved now.
fn obstacle(service: &Object, spec: &Value, counts: &Counts<'_>, more: u64) -> Option<&'static str> {
    if !matches!(standing(service), Standing::Settled) {
        return Some("an update of it is under way, or was paused");
    }
    let most = spec.pointer("/TaskTemplate/Placement/MaxReplicas").and_then(Value::as_u64).filter(|most| *most > 0);
    let room = most.map_or(u64::MAX, |most| counts.values().map(|count| most.saturating_sub(*count)).sum());
    left_out(spec).or((room < more).then_some("its limit of tasks per node leaves no room for more of them"))
}

fn shown(counts: &Counts<'_>) -> String {
    counts.iter().map(|(node, count)| format!("{node} {count}")).collect::<Vec<_>>().join(", ")
}

fn label_of(node: &NodeFacts) -> &str {
    if node.hostname.is_empty() { node.id.as_str() } else { &node.hostname }
}

impl Rebalance<'_> {
    fn chosen<'o>(&self, there: &There<'o>) -> Vec<&'o Object> {
        there.services.iter().copied().filter(|s| self.services.is_empty() || self.services.contains(s.name())).collect()
    }

    fn counts<'o>(service: &Object, spec: &Value, there: &There<'o>, tasks: &[Object]) -> Counts<'o> {
        let mut running: BTreeMap<String, u64> = BTreeMap::new();
        for task in tasks.iter().filter(|t| t.text("/ServiceID").as_deref() == Some(service.id())) {
            if task.text("/DesiredState").as_deref() == Some("running") {
                *running.entry(task.text("/NodeID").unwrap_or_default().into_owned()).or_default() += 1;
            }
        }
        let fit = there.nodes.iter().filter(|node| misfit(spec, node).is_none());
        fit.map(|node| (label_of(node), running.get(node.id.as_str()).copied().unwrap_or(0))).collect()
    }

    fn plan(&self, there: &There<'_>, tasks: &[Object], observed: &Observed, first: bool) -> Plan {
        let (mut steps, mut notes) = (Vec::new(), Vec::new());
        for service in self.chosen(there) {
            let spec = service.spec();
            let balanced = |replicas: u64, more: u64| {
                let (id, name) = (service.id().to_owned(), service.name().to_owned());
                Data::Balanced(Balanced { name, id, version: service.version(), replicas, more }).work()
            };
            if let Some(wanted) = service.label(BALANCE_LABEL).and_then(|text| text.parse::<u64>().ok()) {
                let is = service.number("/Spec/Mode/Replicated/Replicas").unwrap_or(0);
                let because = "a run that spread its tasks was cut off";
                steps.push(balanced(wanted, 0).step(format!("{is} tasks"), format!("{wanted} tasks"), because, Risk::Tasks));
                continue;
            }
            // Once is enough: what the scheduler then made of it is its decision.
            if !first {
                continue;
            }
            let counts = Self::counts(service, &spec, there, tasks);
            let more = moves(&counts.values().copied().collect::<Vec<_>>());
            let named = self.services.contains(service.name());
            match obstacle(service, &spec, &counts, more).filter(|_| more > 0 || named) {
                Some(why) => notes.push(format!("service {} is left out: {why}", service.name())),
                None if more == 0 => {}
                None => {
                    let replicas = service.number("/Spec/Mode/Replicated/Replicas").unwrap_or(1);
                    let tasks = if more == 1 { "1 task moves".to_owned() } else { format!("{more} tasks move") };
                    let is = shown(&counts);
                    let after = format!("{is}: {tasks}; {more} are added, and when all run the fullest nodes lose as many");
                    steps.push(balanced(replicas, more).step(is, after, "its tasks are not spread evenly", Risk::Tasks));
                }
            }
        }
        Plan::of_work(self.spec, observed, steps, notes)
    }
}

impl Intent for Rebalance<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        let there = match there_now(self.spec, observed, so_far) {
            Ok(there) => there,
            Err(next) => return *next,
        };
        let refusal = |name: &str, why: String| {
            let object = Target::Object { kind: Kind::Service.to_string(), name: name.to_owned() };
            Refusal::Object { object, why }
        };
        let tasks = match tasks(observed) {
            Ok(tasks) => tasks,
            Err(why) => return Next::Refused(vec![Refusal::Object { object: Target::Swarm, why }]),
        };
        let missing = self.services.iter().filter(|name| find(&there.services, name).is_none());
        let missing: Vec<Refusal> = missing.map(|name| refusal(name, "there is no such service".into())).collect();
        if !missing.is_empty() {
            return Next::Refused(missing);
        }
        let plan = self.plan(&there, tasks, observed, so_far.rounds == 0);
        if plan.is_empty() { Next::Done(plan) } else { Next::Round(plan) }
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        let say = |message: String| Finding { host: None, kind: FindingKind::Object, message };
        let (there, tasks) = match There::of(observed).and_then(|there| Ok((there, tasks(observed)?))) {
            Ok(both) => both,
            Err(why) => return Verdict::of(vec![say(why)], Vec::new()),
        };
        let mut findings = Vec::new();
        for service in self.chosen(&there) {
            let spec = service.spec();
            if service.label(BALANCE_LABEL).is_some() {
                findings.push(say(format!("service {}: its tasks are still being spread", service.name())));
            }
            let counts = Self::counts(service, &spec, &there, tasks);
            let more = moves(&counts.values().copied().collect::<Vec<_>>());
            if more > 0 && obstacle(service, &spec, &counts, more).is_none() {
                findings.push(say(format!("service {}: its tasks are not spread evenly: {}", service.name(), shown(&counts))));
            }
        }
        Verdict::of(findings, Vec::new())
    }

    fn wants(&self) -> Vec<Query> {
        wants_tasks()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What the engine makes of it: each task that is added goes where the fewest are, each that is taken away comes from where the most are.
    fn spread(counts: &[u64]) -> Vec<u64> {
        let (mut now, more) = (counts.to_vec(), moves(counts));
        for _ in 0..more {
            *now.iter_mut().min().unwrap() += 1;
        }
        for _ in 0..more {
            *now.iter_mut().max().unwrap() -= 1;
        }
        now
    }

    #[test]
    fn as_many_move_as_are_too_many_somewhere() {
        for (counts, count) in [
            (&[6, 0, 0][..], 4),
            (&[3, 0], 1),
            (&[5, 4, 0], 3),
            (&[4, 2, 2], 1),
            (&[2, 1, 1], 0),
            (&[1, 0], 0),
            (&[7], 0),
            (&[], 0),
            (&[0, 0], 0),
        ] {
            assert_eq!(moves(counts), count, "{counts:?}");
        }
    }

    #[test]
    fn what_holds_on_to_its_node_is_left_out() {
        let spec = |more: Value| {
            let mut spec = json!({ "Mode": { "Replicated": { "Replicas": 2 } } });
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            left_out(&spec)
        };
        assert_eq!(spec(json!({})), None);
        assert_eq!(spec(json!({ "EndpointSpec": { "Ports": [{ "TargetPort": 80, "PublishMode": "ingress" }] } })), None);
        assert!(spec(json!({ "EndpointSpec": { "Ports": [{ "TargetPort": 80, "PublishMode": "host" }] } })).is_some());
        assert!(spec(json!({ "Mode": { "Global": {} } })).is_some());
        assert!(spec(json!({ "TaskTemplate": { "ContainerSpec": { "Mounts": [{ "Type": "volume" }] } } })).is_some());
        assert_eq!(spec(json!({ "TaskTemplate": { "ContainerSpec": { "Mounts": [{ "Type": "tmpfs" }] } } })), None);
        assert!(spec(json!({ "TaskTemplate": { "Placement": { "Preferences": [{}] } } })).is_some());
        // One whose update was stopped, but not one whose policy someone has set since.
        let stopped = |delay: u64| spec(json!({ "Labels": { "swarm.update.stopped": "{}" }, "UpdateConfig": { "Delay": delay } }));
        assert!(stopped(crate::spec::NEVER).unwrap().contains("stopped"));
        assert_eq!(stopped(0), None);
    }

    proptest::proptest! {
        #[test]
        fn after_it_no_node_has_two_more_than_another(counts in proptest::collection::vec(0u64..12, 1..8)) {
            let after = spread(&counts);
            proptest::prop_assert!(after.iter().max().unwrap() - after.iter().min().unwrap() < 2, "{:?} -> {:?}", counts, after);
            proptest::prop_assert_eq!(after.iter().sum::<u64>(), counts.iter().sum::<u64>());
        }
    }
}
