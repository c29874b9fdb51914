//! What tasks are, and where they run.

use super::container::ContainerSpec;
use super::mount::Driver;
use super::{Nanoseconds, fields, words};
use std::collections::BTreeMap;

fields! {
    /// What a task is (`TaskSpec`).
    TaskSpec {
        /// Its container; unset for plugins and for attachments to networks.
        container_spec: Option<ContainerSpec>,
        /// A plugin instead of a container.
        plugin_spec: Option<PluginSpec>,
        /// A container that an engine attached to a network by itself.
        network_attachment_spec: Option<Attachment>,
        /// What it needs and may use.
        resources: Option<Resources>,
        /// When it is started again.
        restart_policy: Option<RestartPolicy>,
        /// Where it may run.
        placement: Option<Placement>,
        /// Counted up to replace tasks though nothing else changes.
        force_update: u64,
        /// `container` or `plugin`; unset for containers.
        runtime: String,
        /// Its networks.
        networks: Vec<NetworkAttachment>,
        /// Where its output goes; unset for the engine's own.
        log_driver: Option<Driver>,
    }
}

fields! {
    /// A plugin.
    PluginSpec {
        /// Its name on the node.
        name: String,
        /// Where it comes from.
        remote: String,
        /// Whether it is installed and off.
        disabled: bool,
        /// What it may do.
        plugin_privilege: Vec<PluginPrivilege>,
    }
}

fields! {
    /// What a plugin may do.
    PluginPrivilege {
        /// Its name.
        name: String,
        /// What it means.
        description: String,
        /// Of what.
        value: Vec<String>,
    }
}

fields! {
    /// A container that an engine attached to a network by itself.
    Attachment {
        /// The container.
        #[serde(rename = "ContainerID")]
        container_id: String,
    }
}

fields! {
    /// What a task needs and may use.
    Resources {
        /// What it may use at most.
        limits: Option<Limits>,
        /// What a node must have free for it.
        reservations: Option<Reservations>,
        /// Memory and swap together, in bytes; -1 for no limit (API 1.52).
        swap_bytes: Option<i64>,
        /// How readily the kernel swaps, 0 to 100 (API 1.52).
        memory_swappiness: Option<i64>,
    }
}

fields! {
    /// What a task may use at most.
    Limits {
        /// Processors, in billionths of one.
        #[serde(rename = "NanoCPUs")]
        nano_cpus: i64,
        /// Memory, in bytes.
        memory_bytes: i64,
        /// Processes; 0 for no limit.
        pids: i64,
    }
}

fields! {
    /// What a node must have free for a task.
    Reservations {
        /// Processors, in billionths of one.
        #[serde(rename = "NanoCPUs")]
        nano_cpus: i64,
        /// Memory, in bytes.
        memory_bytes: i64,
        /// What engines offer by configuration, such as graphics cards.
        generic_resources: Vec<GenericResource>,
    }
}

fields! {
    /// Something that engines offer by configuration: named, or counted.
    GenericResource {
        /// A named one.
        named_resource_spec: Option<NamedResource>,
        /// So many of a kind.
        discrete_resource_spec: Option<DiscreteResource>,
    }
}

fields! {
    /// A named resource.
    NamedResource {
        /// Its kind.
        kind: String,
        /// Its name.
        value: String,
    }
}

fields! {
    /// So many of a kind.
    DiscreteResource {
        /// The kind.
        kind: String,
        /// How many.
        value: i64,
    }
}

words! {
    /// When a task is started again.
    RestartCondition {
        /// Whenever it ends.
        #[default]
        Any = "any",
        /// When it fails.
        OnFailure = "on-failure",
        /// Never.
        None = "none",
    }
}

fields! {
    /// When a task is started again.
    RestartPolicy {
        /// When.
        condition: Option<RestartCondition>,
        /// What is waited before.
        delay: Option<Nanoseconds>,
        /// How often at most; unset and 0 for ever.
        max_attempts: Option<u64>,
        /// Over which time attempts are counted; unset and 0 for all.
        window: Option<Nanoseconds>,
    }
}

fields! {
    /// Where a task may run.
    Placement {
        /// What a node must be, such as `node.role==worker`.
        constraints: Vec<String>,
        /// Over what tasks are spread, the first the widest.
        preferences: Vec<Preference>,
        /// How many tasks of the service a node runs at most; 0 for no limit (API 1.40).
        max_replicas: u64,
        /// Platforms that its image is made for; empty for any.
        platforms: Vec<Platform>,
    }
}

fields! {
    /// Over what tasks are spread.
    Preference {
        /// Over a label's values.
        spread: Option<Spread>,
    }
}

fields! {
    /// Over a label's values.
    Spread {
        /// The label, such as `node.labels.rack`.
        spread_descriptor: String,
    }
}

fields! {
    /// A platform.
    Platform {
        /// Such as `amd64` or `x86_64`.
        architecture: String,
        /// Such as `linux`.
        #[serde(rename = "OS")]
        os: String,
    }
}

fields! {
    /// A network of a task.
    NetworkAttachment {
        /// Its name or id.
        target: String,
        /// Further names that the tasks have in it.
        aliases: Vec<String>,
        /// For the network's driver.
        driver_opts: BTreeMap<String, String>,
    }
}
