//! What of a stack does not hold, from a fresh look. It shares the comparison with the planner, and nothing else.

use crate::diff::{differences, label_changes};
use crate::names::rename;
use crate::spec::Stack;
use crate::there::{There, belongs, config_name, current_secret, find, kept_by};
use serde_json::Value;
use std::collections::BTreeMap;
use swarm_core::engine::Object;
use swarm_core::observe::Observed;
use swarm_core::verify::{Finding, FindingKind, Verdict};

fn say(message: String) -> Finding {
    Finding { host: None, kind: FindingKind::Object, message }
}

/// Whether a stack is there as it is wanted, and its tasks run.
pub(crate) fn deployed(stack: &Stack, detach: bool, observed: &Observed) -> Verdict {
    let there = match There::of(observed) {
        Ok(there) => there,
        Err(why) => return Verdict::of(vec![say(why)], Vec::new()),
    };
    let mut findings = Vec::new();
    for network in stack.networks.iter().filter(|n| find(&there.networks, &n.name).is_none()) {
        findings.push(say(format!("network {} is not there", network.name)));
    }
    let mut secrets = BTreeMap::new();
    for wanted in &stack.secrets {
        match current_secret(&wanted.name, &there, &stack.name) {
            Some(secret) => {
                findings.extend(other_labels("secret", secret, &wanted.spec));
                secrets.insert(wanted.name.clone(), secret.name().to_owned());
            }
            None => findings.push(say(format!("secret {} is not there", wanted.name))),
        }
    }
    let mut configs = BTreeMap::new();
    for wanted in &stack.configs {
        let name = config_name(&wanted.name, &wanted.digest, &there, &stack.name);
        match find(&there.configs, &name) {
            Some(config) => findings.extend(other_labels("config", config, &wanted.spec)),
            None => findings.push(say(format!("config {} is not there with this content", wanted.name))),
        }
        configs.insert(wanted.name.clone(), name);
    }
    let (mut running, mut wanted_tasks) = (0, 0);
    // Of two of one name the first one counts.
    let services: BTreeMap<&str, &Object> = there.services.iter().rev().map(|o| (o.name(), *o)).collect();
    for wanted in &stack.services {
        let Some(service) = services.get(wanted.name.as_str()).copied().filter(|s| belongs(s, &stack.name)) else {
            findings.push(say(format!("service {} is not there", wanted.name)));
            continue;
        };
        let (mut spec, _) = kept_by(there.engine, &wanted.spec);
        rename(&mut spec, "Secrets", "SecretName", &secrets);
        rename(&mut spec, "Configs", "ConfigName", &configs);
        for change in differences(service.spec(), spec, &there.names) {
            findings.push(say(format!("service {}: {change}", wanted.name)));
        }
        if detach {
            continue;
        }
        let (has, is_to_have) = (count(service, "RunningTasks"), count(service, "DesiredTasks"));
        (running, wanted_tasks) = (running + has, wanted_tasks + is_to_have);
        if lacks_tasks(service) {
            findings.push(say(format!("service {}: {has} of {is_to_have} tasks run", wanted.name)));
        }
    }
    let s = if stack.services.len() == 1 { "" } else { "s" };
    let notes = vec![format!("{} service{s}, {running} of {wanted_tasks} tasks run", stack.services.len())];
    Verdict::of(findings, notes)
}

fn other_labels(kind: &str, there: &Object, wanted: &Value) -> Option<Finding> {
    let labels: Vec<String> = label_changes(&there.spec(), wanted).into_keys().collect();
    (!labels.is_empty()).then(|| say(format!("{kind} {}: its labels differ from the file: {}", there.name(), labels.join(", "))))
}

/// Whether fewer of its tasks run than are to.
pub(crate) fn lacks_tasks(service: &Object) -> bool {
    count(service, "RunningTasks") < count(service, "DesiredTasks") && !ends_by_itself(&service.spec())
}

fn count(service: &Object, what: &str) -> u64 {
    service.number(&format!("/ServiceStatus/{what}")).unwrap_or(0)
}

/// Whether its tasks are to end: a job, or a service that is not restarted.
fn ends_by_itself(spec: &Value) -> bool {
    let job = spec.pointer("/Mode/ReplicatedJob").is_some() || spec.pointer("/Mode/GlobalJob").is_some();
    let condition = spec.pointer("/TaskTemplate/RestartPolicy/Condition").and_then(Value::as_str);
    job || matches!(condition, Some("none" | "on-failure"))
}
