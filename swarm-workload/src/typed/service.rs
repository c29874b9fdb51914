//! Services.

use super::task::{NetworkAttachment, TaskSpec};
use super::{Nanoseconds, Other, fields, words};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

fields! {
    /// What is wanted of a service (`ServiceSpec`).
    ServiceSpec {
        /// Its name.
        name: String,
        /// Its labels. Tasks do not have them; [`ContainerSpec::labels`](super::ContainerSpec::labels) they have.
        labels: BTreeMap<String, String>,
        /// What its tasks are.
        task_template: TaskSpec,
        /// How many tasks there are; unset for one.
        mode: Option<Mode>,
        /// How tasks are replaced in an update.
        update_config: Option<UpdateConfig>,
        /// How tasks are replaced when an update is taken back.
        rollback_config: Option<UpdateConfig>,
        /// Its networks where clients of API 1.24 and before put them; engines move them to the task template.
        networks: Vec<NetworkAttachment>,
        /// How it is reached.
        endpoint_spec: Option<EndpointSpec>,
    }
}

/// How many tasks a service has, and whether they end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Mode {
    /// So many tasks, which run until they are replaced.
    Replicated(Replicated),
    /// One on each node that fits.
    Global(Other),
    /// So many tasks that run to their end (API 1.41).
    ReplicatedJob(ReplicatedJob),
    /// One on each node that fits, which runs to its end (API 1.41).
    GlobalJob(Other),
    /// A mode that is not known here.
    #[serde(untagged)]
    Other(Value),
}

impl Mode {
    /// So many tasks.
    pub fn replicated(replicas: u64) -> Self {
        Self::Replicated(Replicated { replicas: Some(replicas), ..Replicated::default() })
    }

    /// One task on each node.
    pub fn global() -> Self {
        Self::Global(Other::new())
    }
}

fields! {
    /// So many tasks.
    Replicated {
        /// How many; unset for one, and 0 for none.
        replicas: Option<u64>,
    }
}

fields! {
    /// So many tasks that run to their end.
    ReplicatedJob {
        /// How many at a time; unset for one.
        max_concurrent: Option<u64>,
        /// How many in all; unset for as many as at a time.
        total_completions: Option<u64>,
    }
}

words! {
    /// What becomes of an update whose tasks fail.
    FailureAction {
        /// It stops where it is.
        #[default]
        Pause = "pause",
        /// It goes on.
        Continue = "continue",
        /// It is taken back.
        Rollback = "rollback",
    }
}

words! {
    /// Which comes first in an update.
    UpdateOrder {
        /// The old task stops, then the new one starts.
        #[default]
        StopFirst = "stop-first",
        /// The new task runs, then the old one stops.
        StartFirst = "start-first",
    }
}

fields! {
    /// How tasks are replaced.
    UpdateConfig {
        /// How many at a time; 0 for all at once.
        parallelism: u64,
        /// What is waited between two of them.
        delay: Nanoseconds,
        /// What becomes of the update when tasks fail.
        failure_action: Option<FailureAction>,
        /// How long after its start a task that fails counts against the update; 0 for the engine's own 5 s.
        monitor: Nanoseconds,
        /// Which part of the tasks may fail, from 0 to 1.
        max_failure_ratio: f64,
        /// Which comes first.
        order: Option<UpdateOrder>,
    }
}

words! {
    /// How a service's name resolves.
    EndpointMode {
        /// To one virtual address.
        #[default]
        Vip = "vip",
        /// To the addresses of its tasks.
        DnsRr = "dnsrr",
    }
}

fields! {
    /// How a service is reached.
    EndpointSpec {
        /// How its name resolves.
        mode: Option<EndpointMode>,
        /// Ports that it publishes.
        ports: Vec<Port>,
    }
}

words! {
    /// What a port carries.
    Protocol {
        /// TCP.
        #[default]
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
        /// SCTP.
        Sctp = "sctp",
    }
}

words! {
    /// Where a port is open.
    PublishMode {
        /// On every node, by the routing mesh.
        #[default]
        Ingress = "ingress",
        /// On the node of each task.
        Host = "host",
    }
}

fields! {
    /// A published port.
    Port {
        /// A name for it.
        name: String,
        /// What it carries.
        protocol: Option<Protocol>,
        /// The port in the task.
        target_port: u16,
        /// The port that others use; 0 lets the engine choose.
        published_port: u16,
        /// Where it is open.
        publish_mode: Option<PublishMode>,
    }
}

impl From<&ServiceSpec> for Value {
    fn from(spec: &ServiceSpec) -> Self {
        super::value(spec)
    }
}
