//! Secrets and configs of a stack: which object holds what the file has, and what is made.

use super::{Deploy, Planner};
use crate::diff::label_changes;
use crate::steps::{Data, Labelled};
use crate::there::{There, belongs, config_name, current_secret, find};
use serde_json::Value;
use swarm_core::engine::{Body, Kind, Object};
use swarm_core::observe::Observed;
use swarm_core::plan::Risk;

/// A secret that is there, and what its file has, for a manager that compares them ([`swarm_core::Apply::secrets_that_differ`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The name that the file's secret has in the swarm, as [`super::DeployOptions::differ`] has it.
    pub secret: String,
    /// The id of the object.
    pub id: String,
    /// What it is compared with.
    pub body: Body,
}

impl Deploy<'_> {
    /// The secrets that a manager can compare with their files, from a look that asked for what this intent wants.
    pub fn comparisons(&self, observed: &Observed) -> Vec<Comparison> {
        let Ok(there) = There::of(observed) else { return Vec::new() };
        let compare = |wanted: &crate::SecretWanted| {
            let object = current_secret(&wanted.name, &there, &self.stack.name)?;
            let mut spec = wanted.spec.clone();
            spec.as_object_mut()?.insert("Name".into(), Value::String(object.name().to_owned()));
            let body = Body { spec, data: Some(wanted.payload.clone()?), registry_auth: None };
            Some(Comparison { secret: wanted.name.clone(), id: object.id().to_owned(), body })
        };
        self.stack.secrets.iter().filter_map(compare).collect()
    }
}

impl Planner<'_> {
    /// The labels of an object that is there become those of the file, as with the docker CLI.
    fn labels(&mut self, kind: Kind, there: &Object, wanted: &Value) {
        let labels = label_changes(&there.spec(), wanted);
        if labels.is_empty() {
            return;
        }
        let lines = labels.iter().map(|(key, value)| match value {
            Some(value) => format!("label {key}={value}"),
            None => format!("without label {key}"),
        });
        let after = lines.collect::<Vec<_>>().join("\n");
        let work =
            Data::Labelled(Labelled { kind, id: there.id().to_owned(), name: there.name().to_owned(), labels: labels.clone() }).work();
        self.steps.push(work.step("there", after, "its labels in the file are others", Risk::None));
    }

    pub(super) fn secrets(&mut self) {
        let stack = self.deploy.stack;
        for wanted in &stack.secrets {
            let current = current_secret(&wanted.name, self.there, self.stack());
            let foreign = find(&self.there.secrets, &wanted.name).filter(|o| !belongs(o, self.stack()));
            let options = &self.deploy.options;
            let differs = options.differ.contains(&wanted.name);
            let rotate = self.first && (differs || options.rotate.contains(&wanted.name));
            let name = match (current, foreign) {
                (_, Some(_)) => {
                    self.refuse(
                        Kind::Secret,
                        &wanted.name,
                        "a secret of this name is there and belongs to something else; make it external or name another one",
                    );
                    continue;
                }
                (Some(there), None) if !rotate => {
                    self.labels(Kind::Secret, there, &wanted.spec);
                    self.secret_names.insert(wanted.name.clone(), there.name().to_owned());
                    continue;
                }
                (Some(there), None) => {
                    let mark: String = hmac_sha256::Hash::hash(there.id().as_bytes()).iter().take(4).map(|b| format!("{b:02x}")).collect();
                    format!("{}_{mark}", wanted.name)
                }
                (None, None) => wanted.name.clone(),
            };
            let mut spec = wanted.spec.clone();
            if let Some(map) = spec.as_object_mut() {
                map.insert("Name".into(), Value::String(name.clone()));
            }
            let because = match (rotate, differs) {
                (true, true) => "it holds something else than its file",
                (true, false) => "it is to be replaced by a new one",
                (false, _) => "the stack has it",
            };
            let body = Body { spec, data: wanted.payload.clone(), registry_auth: None };
            self.create(Kind::Secret, &name, body, "secret".into(), because);
            self.secret_names.insert(wanted.name.clone(), name);
        }
        for name in &stack.external_secrets {
            if find(&self.there.secrets, name).is_none() && !self.comes(Kind::Secret, name) {
                self.refuse(Kind::Secret, name, "it is external and there is no such secret in the swarm; create it first");
            }
        }
        for name in &self.deploy.options.rotate {
            if !stack.secrets.iter().any(|s| s.name == *name) {
                self.refuse(Kind::Secret, name, "it is to be rotated and the file has no such secret");
            }
        }
    }

    pub(super) fn configs(&mut self) {
        let stack = self.deploy.stack;
        for wanted in &stack.configs {
            if find(&self.there.configs, &wanted.name).is_some_and(|o| !belongs(o, self.stack())) {
                self.refuse(
                    Kind::Config,
                    &wanted.name,
                    "a config of this name is there and belongs to something else; make it external or name another one",
                );
                continue;
            }
            let name = config_name(&wanted.name, &wanted.digest, self.there, self.stack());
            if let Some(there) = find(&self.there.configs, &name) {
                self.labels(Kind::Config, there, &wanted.spec);
            } else {
                let mut spec = wanted.spec.clone();
                if let Some(map) = spec.as_object_mut() {
                    map.insert("Name".into(), Value::String(name.clone()));
                }
                let because = if name == wanted.name { "the stack has it" } else { "its content changed, and a config cannot be changed" };
                let body = Body { spec, data: Some(wanted.payload.clone()), registry_auth: None };
                self.create(Kind::Config, &name, body, "config".into(), because);
            }
            self.config_names.insert(wanted.name.clone(), name);
        }
        for name in &stack.external_configs {
            if find(&self.there.configs, name).is_none() && !self.comes(Kind::Config, name) {
                self.refuse(Kind::Config, name, "it is external and there is no such config in the swarm; create it first");
            }
        }
    }
}
