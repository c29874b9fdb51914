//! To take a stack out of a swarm: it has ended when its tasks and networks are gone.

use crate::deploy::{removal, there_now};
use crate::there::{There, belongs, wants};
use swarm_core::ClusterSpec;
use swarm_core::engine::{Kind, Object, Query};
use swarm_core::id::StepId;
use swarm_core::intent::{Intent, Next, Scope, SoFar};
use swarm_core::observe::Observed;
use swarm_core::plan::{Plan, Refusal, Target};
use swarm_core::verify::{Finding, FindingKind, Verdict};

/// To remove a stack.
#[derive(Debug, Clone)]
pub struct Remove<'a> {
    /// The cluster's file.
    pub spec: &'a ClusterSpec,
    /// The stack's name.
    pub stack: &'a str,
}

impl Remove<'_> {
    fn objects<'o>(&self, there: &There<'o>) -> Vec<(Kind, &'o Object)> {
        let of = |kind: Kind, objects: &[&'o Object]| -> Vec<(Kind, &'o Object)> {
            objects.iter().copied().filter(|o| belongs(o, self.stack)).map(|o| (kind, o)).collect()
        };
        [
            of(Kind::Service, &there.services),
            of(Kind::Secret, &there.secrets),
            of(Kind::Config, &there.configs),
            of(Kind::Network, &there.networks),
        ]
        .concat()
    }
}

impl Intent for Remove<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        let there = match there_now(self.spec, observed, so_far) {
            Ok(there) => there,
            Err(next) => return *next,
        };
        let mut steps = Vec::new();
        let mut services: Vec<StepId> = Vec::new();
        let mut refusals = Vec::new();
        let objects = self.objects(&there);
        for (kind, object) in &objects {
            // What others use stays, and so does everything: half a stack is worse than one.
            let others: Vec<&Object> = there.services.iter().copied().filter(|s| !belongs(s, self.stack)).collect();
            let users = users_of(*kind, object, &others);
            if !users.is_empty() {
                let target = Target::Object { kind: kind.to_string(), name: object.name().to_owned() };
                refusals.push(Refusal::Object {
                    object: target,
                    why: format!("it is used by {}, which is not in the stack", users.join(", ")),
                });
            }
            let needs = if *kind == Kind::Service { Vec::new() } else { services.clone() };
            let step = removal(*kind, object, needs, "the stack is to be removed");
            if *kind == Kind::Service {
                services.push(step.id.clone());
            }
            steps.push(step);
        }
        if !refusals.is_empty() {
            return Next::Refused(refusals);
        }
        let plan = Plan::of_work(self.spec, observed, steps, Vec::new());
        if plan.is_empty() { Next::Done(plan) } else { Next::Round(plan) }
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        let say = |message: String| Finding { host: None, kind: FindingKind::Object, message };
        let findings: Vec<Finding> = match There::of(observed) {
            Ok(there) => self.objects(&there).iter().map(|(kind, o)| say(format!("{kind} {} is still there", o.name()))).collect(),
            Err(why) => vec![say(why)],
        };
        Verdict::of(findings, Vec::new())
    }

    fn scope(&self) -> Scope {
        Scope::Managers
    }

    fn wants(&self) -> Vec<Query> {
        wants()
    }
}

/// Services that use an object.
pub(crate) fn users_of(kind: Kind, object: &Object, services: &[&Object]) -> Vec<String> {
    let uses = |service: &&&Object| {
        let spec = service.spec();
        let refers = |list: &str, key: &str| {
            crate::spec::references(&spec, list).any(|r| r.get(key).and_then(serde_json::Value::as_str) == Some(object.id()))
        };
        match kind {
            Kind::Secret => refers("Secrets", "SecretID"),
            Kind::Config => refers("Configs", "ConfigID"),
            Kind::Network => {
                let networks = spec.pointer("/TaskTemplate/Networks").and_then(serde_json::Value::as_array);
                networks.into_iter().flatten().any(|n| n.get("Target").and_then(serde_json::Value::as_str) == Some(object.id()))
            }
            Kind::Node | Kind::Service | Kind::Task => false,
        }
    };
    services.iter().filter(uses).map(|s| format!("service {}", s.name())).collect()
}
