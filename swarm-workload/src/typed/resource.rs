//! Objects as managers have them, over [`Api`](swarm_core::engine::Api).

use super::fields;
use super::network::Network;
use super::service::{EndpointSpec, Port, ServiceSpec};
use super::store::{ConfigSpec, SecretSpec};
use super::task::{GenericResource, TaskSpec};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use swarm_core::engine::{Kind, Object, Resource};

fn read<T: DeserializeOwned>(object: &Object) -> Result<T, String> {
    serde_json::from_value(object.value()).map_err(|e| e.to_string())
}

fields! {
    /// The version of an object, needed to change it.
    Version {
        /// It grows with each change in the swarm.
        index: u64,
    }
}

fields! {
    /// A service.
    Service {
        /// Its id.
        #[serde(rename = "ID")]
        id: String,
        /// Its version.
        version: Version,
        /// When it was made, RFC 3339.
        created_at: String,
        /// When it was changed last, RFC 3339.
        updated_at: String,
        /// What is wanted of it.
        spec: ServiceSpec,
        /// What was wanted of it before the last change.
        previous_spec: Option<ServiceSpec>,
        /// How it is reached.
        endpoint: Endpoint,
        /// How its last update goes.
        update_status: Option<UpdateStatus>,
        /// Of a job: which run of it there is.
        job_status: Option<JobStatus>,
    }
}

fields! {
    /// How a service is reached.
    Endpoint {
        /// What is wanted.
        spec: EndpointSpec,
        /// Its ports, with those that the engine chose.
        ports: Vec<Port>,
        /// Its addresses.
        #[serde(rename = "VirtualIPs")]
        virtual_ips: Vec<VirtualIp>,
    }
}

fields! {
    /// A service's address in a network.
    VirtualIp {
        /// The network's id.
        #[serde(rename = "NetworkID")]
        network_id: String,
        /// `ADDRESS/BITS`.
        addr: String,
    }
}

fields! {
    /// How an update goes.
    UpdateStatus {
        /// `updating`, `paused`, `completed`, `rollback_started`, `rollback_paused` or `rollback_completed`.
        state: String,
        /// When it began, RFC 3339.
        started_at: String,
        /// When it ended, RFC 3339.
        completed_at: String,
        /// In the manager's words.
        message: String,
    }
}

fields! {
    /// Which run of a job there is.
    JobStatus {
        /// Counted up whenever the job is run again.
        job_iteration: Version,
        /// When it was run last, RFC 3339.
        last_execution: String,
    }
}

fields! {
    /// A task.
    Task {
        /// Its id.
        #[serde(rename = "ID")]
        id: String,
        /// Its version.
        version: Version,
        /// When it was made, RFC 3339.
        created_at: String,
        /// When it was changed last, RFC 3339.
        updated_at: String,
        /// Its labels.
        labels: BTreeMap<String, String>,
        /// What it is.
        spec: TaskSpec,
        /// The service's id.
        #[serde(rename = "ServiceID")]
        service_id: String,
        /// Its place among the tasks of a replicated service, from 1; 0 for others.
        slot: i64,
        /// The node it is on; empty where it has none yet.
        #[serde(rename = "NodeID")]
        node_id: String,
        /// Where it is.
        status: TaskStatus,
        /// Where it is to be, such as `running` or `shutdown`.
        desired_state: String,
        /// What it got of what engines offer.
        generic_resources: Vec<GenericResource>,
        /// Of a job: which run of it the task is from.
        job_iteration: Option<Version>,
    }
}

fields! {
    /// Where a task is.
    TaskStatus {
        /// When, RFC 3339.
        timestamp: String,
        /// Such as `pending`, `running`, `complete`, `failed` or `rejected`.
        state: String,
        /// In the manager's or agent's words.
        message: String,
        /// What went wrong.
        err: String,
        /// Its container.
        container_status: Option<ContainerStatus>,
        /// Ports that are open on its node alone.
        port_status: PortStatus,
    }
}

fields! {
    /// A task's container.
    ContainerStatus {
        /// Its id.
        #[serde(rename = "ContainerID")]
        container_id: String,
        /// Its process on the node; 0 where none runs.
        #[serde(rename = "PID")]
        pid: i64,
        /// What it ended with.
        exit_code: i64,
    }
}

fields! {
    /// Ports that are open on a task's node alone.
    PortStatus {
        /// The ports.
        ports: Vec<Port>,
    }
}

fields! {
    /// A secret. Its data cannot be read back.
    Secret {
        /// Its id.
        #[serde(rename = "ID")]
        id: String,
        /// Its version.
        version: Version,
        /// When it was made, RFC 3339.
        created_at: String,
        /// When it was changed last, RFC 3339.
        updated_at: String,
        /// What it is.
        spec: SecretSpec,
    }
}

fields! {
    /// A config.
    Config {
        /// Its id.
        #[serde(rename = "ID")]
        id: String,
        /// Its version.
        version: Version,
        /// When it was made, RFC 3339.
        created_at: String,
        /// When it was changed last, RFC 3339.
        updated_at: String,
        /// What it is.
        spec: ConfigSpec,
    }
}

macro_rules! resource {
    ($($type:ident),*) => {$(
        impl Resource for $type {
            const KIND: Kind = Kind::$type;

            fn from_object(object: &Object) -> Result<Self, String> {
                read(object)
            }
        }
    )*};
}

resource!(Service, Task, Network, Secret, Config);
