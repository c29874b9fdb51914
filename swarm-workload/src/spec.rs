//! What is wanted of a stack, in the engine's own terms.

use crate::typed;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The label that tells which stack an object belongs to, as the docker CLI has it.
pub const NAMESPACE_LABEL: &str = "com.docker.stack.namespace";
/// The label that keeps a service's image as the file has it.
pub const IMAGE_LABEL: &str = "com.docker.stack.image";
/// On a service whose update was stopped: the policy and the specification of before, for whoever goes on or goes back.
pub(crate) const STOPPED_LABEL: &str = "swarm.update.stopped";
/// What the policy of a stopped update waits between one task and the next: ten years, in nanoseconds.
pub(crate) const NEVER: u64 = 10 * 365 * 24 * 3600 * 1_000_000_000;

/// Whether a service's update was stopped, and no one has set another policy since: the docker CLI keeps the label.
pub(crate) fn is_stopped(spec: &Value) -> bool {
    let labelled = spec.get("Labels").and_then(|labels| labels.get(STOPPED_LABEL)).is_some();
    labelled && spec.pointer("/UpdateConfig/Delay").and_then(Value::as_u64) == Some(NEVER)
}

/// A stack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// Networks that it makes.
    pub networks: Vec<NetworkWanted>,
    /// Networks that must be there already.
    pub external_networks: BTreeSet<String>,
    /// Secrets that it makes.
    pub secrets: Vec<SecretWanted>,
    /// Secrets that must be there already.
    pub external_secrets: BTreeSet<String>,
    /// Configs that it makes.
    pub configs: Vec<ConfigWanted>,
    /// Configs that must be there already.
    pub external_configs: BTreeSet<String>,
    /// Services.
    pub services: Vec<ServiceWanted>,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkWanted {
    /// Its name in the swarm.
    pub name: String,
    /// The body of `POST /networks/create`, without its name.
    pub spec: Value,
}

/// A secret. Its data is not here: it is asked for by its payload's name when it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretWanted {
    /// Its name in the swarm.
    pub name: String,
    /// Its specification, without data.
    pub spec: Value,
    /// The name of the payload that is its data; `None` where a driver keeps it.
    pub payload: Option<String>,
}

/// A config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigWanted {
    /// Its name in the swarm.
    pub name: String,
    /// Its specification, without data.
    pub spec: Value,
    /// The name of the payload that is its data.
    pub payload: String,
    /// SHA-256 of its data, as hex: configs are compared by content.
    pub digest: String,
}

/// When a service may be begun, seen from one that it depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartAfter {
    /// When that one runs; where it has a health check, when it is healthy.
    Started,
    /// When that one has run to its end.
    Completed,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceWanted {
    /// Its name in the swarm.
    pub name: String,
    /// The engine's `ServiceSpec`. Networks, secrets and configs are referred to by their names; ids are put in when it is sent.
    pub spec: Value,
    /// Services of the stack, by their names in the swarm, that are brought up before it.
    pub after: BTreeMap<String, StartAfter>,
}

impl NetworkWanted {
    /// From a typed specification.
    pub fn of(spec: &typed::NetworkSpec) -> Self {
        Self { name: spec.name.clone(), spec: Value::from(&typed::NetworkSpec { name: String::new(), ..spec.clone() }) }
    }
}

impl SecretWanted {
    /// From a typed specification; its data is the payload of this name.
    pub fn of(spec: &typed::SecretSpec, payload: impl Into<String>) -> Self {
        let nameless = typed::SecretSpec { name: String::new(), ..spec.clone() };
        Self { name: spec.name.clone(), payload: spec.driver.is_none().then(|| payload.into()), spec: Value::from(&nameless) }
    }
}

impl ServiceWanted {
    /// From a typed specification that names networks, secrets and configs; it waits for no other service.
    pub fn of(spec: &typed::ServiceSpec) -> Self {
        Self { name: spec.name.clone(), spec: Value::from(spec), after: BTreeMap::new() }
    }

    /// The image as the file has it.
    pub fn image(&self) -> &str {
        image_of(&self.spec)
    }

    /// Names of the secrets or configs that it refers to.
    pub fn refers(&self, list: &str, name: &str) -> BTreeSet<String> {
        references(&self.spec, list).filter_map(|r| r.get(name)?.as_str()).map(str::to_owned).collect()
    }
}

/// Where a specification has its image.
pub(crate) const IMAGE: &str = "/TaskTemplate/ContainerSpec/Image";

/// The image of a specification.
pub(crate) fn image_of(spec: &Value) -> &str {
    spec.pointer(IMAGE).and_then(Value::as_str).unwrap_or_default()
}

/// The entries of `Secrets` or `Configs` in a service's specification.
pub(crate) fn references<'a>(spec: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    spec.pointer(&format!("/TaskTemplate/ContainerSpec/{list}")).and_then(Value::as_array).into_iter().flatten()
}
