//! What must never happen to objects, watched at every call: the rules W1 to W5 of `docs/failure-model.md`.

use super::Sent;
use super::stack::{NAMESPACE, StackWatch};
use crate::world::objects::refers_to;
use crate::world::state::State;
use serde_json::Value;
use swarm_core::engine::Kind;

impl StackWatch {
    pub(crate) fn sent(&self, state: &State, sent: &Sent<'_>) -> Vec<(&'static str, String)> {
        let stored = |id: &str| state.swarms.iter().find_map(|s| s.objects.stored.get(id));
        let ours = |id: &str| {
            stored(id).is_none_or(|o| o.spec.pointer(&format!("/Labels/{NAMESPACE}")).and_then(Value::as_str) == Some(&self.stack))
        };
        let mut found = Vec::new();
        if let Sent::CreateObject { kind: Kind::Service, spec } | Sent::UpdateObject { kind: Kind::Service, spec, .. } = sent {
            // The manager that leads counts its workers as a signed number, and ends where that is negative (seen on engine 20.10).
            let most = |policy: &str| spec.pointer(&format!("/{policy}/Parallelism")).and_then(Value::as_u64);
            if ["UpdateConfig", "RollbackConfig"].iter().filter_map(|policy| most(policy)).any(|count| i64::try_from(count).is_err()) {
                found.push(("W5", "a service's specification ends every manager that leads".into()));
            }
        }
        match sent {
            // No object ever has version 0: a manager is asked to compare a secret, and changes nothing.
            Sent::UpdateObject { kind: Kind::Secret, version: 0, .. } => {}
            Sent::UpdateObject { id, version, .. } => {
                if self.read.get(*id) != Some(version) {
                    found.push(("W1", format!("{id} is updated from version {version}, which is not the newest that was read")));
                }
                if !ours(id) {
                    found.push(("W4", format!("{id} is updated and does not belong to stack {}", self.stack)));
                }
            }
            Sent::RemoveObject { kind, id } => {
                let services = state.swarms.iter().flat_map(|s| s.objects.stored.values()).filter(|o| o.kind == Kind::Service);
                if let Some(user) = services.into_iter().find(|o| *kind != Kind::Service && refers_to(&o.spec, id)) {
                    found.push(("W2", format!("{kind} {id} is removed while {} uses it", user.name)));
                }
                if !ours(id) {
                    found.push(("W4", format!("{id} is removed and does not belong to stack {}", self.stack)));
                }
            }
            Sent::CreateObject { kind: Kind::Service, spec } => {
                let secrets = spec.pointer("/TaskTemplate/ContainerSpec/Secrets").and_then(Value::as_array);
                for secret in secrets.into_iter().flatten() {
                    let id = secret.get("SecretID").and_then(Value::as_str).unwrap_or_default();
                    if stored(id).is_none_or(|o| o.kind != Kind::Secret) {
                        found.push(("W3", format!("a service is made whose secret `{id}` is not there")));
                    }
                }
            }
            _ => {}
        }
        found
    }
}
