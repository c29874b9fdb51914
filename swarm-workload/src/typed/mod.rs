//! Specifications and objects with their types, for programs: every field of the API as engines of 20.10 (1.41) to the newest (1.53) name it, in `snake_case`.
//! A field that is not known here is kept in `other` and goes back as it came, so what a newer engine adds survives a read and a write.
//!
//! Zero, `false` and an empty text or list are the same as no such field, as for the engine itself; where it tells the two apart, the field is an
//! `Option`. A part that is there and empty stays there: engines replace tasks where one comes or goes.
//!
//! ```
//! use swarm_workload::typed::{ContainerSpec, Mode, ServiceSpec, TaskSpec};
//! let web = ServiceSpec {
//!     name: "web".into(),
//!     mode: Some(Mode::replicated(3)),
//!     task_template: TaskSpec {
//!         container_spec: Some(ContainerSpec { image: "nginx:1.27".into(), ..ContainerSpec::default() }),
//!         ..TaskSpec::default()
//!     },
//!     ..ServiceSpec::default()
//! };
//! assert_eq!(serde_json::Value::from(&web)["Mode"]["Replicated"]["Replicas"], 3);
//! ```

mod container;
mod mount;
mod network;
mod resource;
mod service;
mod store;
mod task;
#[cfg(test)]
mod tests;

pub use container::{
    AppArmor, Capability, ConfigReference, ContainerSpec, CredentialSpec, Dns, HealthCheck, Privileges, ReferenceFile, SeLinuxContext,
    Seccomp, SecretReference, Ulimit,
};
pub use mount::{BindOptions, Driver, ImageOptions, Mount, MountType, TmpfsOptions, VolumeOptions};
pub use network::{AddressPool, ConfigFrom, Ipam, Network, NetworkSpec};
pub use resource::{
    Config, ContainerStatus, Endpoint, JobStatus, PortStatus, Secret, Service, Task, TaskStatus, UpdateStatus, Version, VirtualIp,
};
pub use service::{
    EndpointMode, EndpointSpec, FailureAction, Mode, Port, Protocol, PublishMode, Replicated, ReplicatedJob, ServiceSpec, UpdateConfig,
    UpdateOrder,
};
pub use store::{ConfigSpec, SecretSpec};
pub use task::{
    Attachment, DiscreteResource, GenericResource, Limits, NamedResource, NetworkAttachment, Placement, Platform, PluginPrivilege,
    PluginSpec, Preference, Reservations, Resources, RestartCondition, RestartPolicy, Spread, TaskSpec,
};

use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Fields that are not known here, as the engine has them.
pub type Other = BTreeMap<String, serde_json::Value>;

/// A time span in nanoseconds, as engines count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nanoseconds(pub i64);

impl From<Duration> for Nanoseconds {
    fn from(span: Duration) -> Self {
        Self(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
    }
}

/// The document of a specification. What is in one has texts for keys, so it is never refused.
fn value<T: Serialize>(spec: &T) -> serde_json::Value {
    serde_json::to_value(spec).unwrap_or_default()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Engines write `null` for lists and maps that are empty.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A struct of the API: names in `PascalCase` unless they are said, nothing written that is unset, and what is not known kept.
macro_rules! fields {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, rename_all = "PascalCase")]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(skip_serializing_if = "crate::typed::is_default", deserialize_with = "crate::typed::or_default")]
                pub $field: $type,
            )*
            /// Fields that are not known here.
            #[serde(flatten)]
            pub other: crate::typed::Other,
        }
    };
}

/// Words of the API; one that is not known is kept.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$word_meta:meta])* $word:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $(
                $(#[$word_meta])*
                #[serde(rename = $text)]
                $word,
            )*
            /// Another word, as it is.
            #[serde(untagged)]
            Other(String),
        }
    };
}

pub(crate) use {fields, words};
