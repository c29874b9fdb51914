//! Options of the swarm itself.

use super::values::show_duration;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The options of `docker swarm init` and `docker swarm update`; `None` leaves what the swarm has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SwarmSettings {
    /// Task history per slot.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub task_history_limit: Option<i64>,
    /// How often a node reports to its manager.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dispatcher_heartbeat: Option<Duration>,
    /// How long node certificates are valid.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cert_expiry: Option<Duration>,
    /// Raft log entries between snapshots.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub snapshot_interval: Option<u64>,
    /// Old snapshots kept beside the newest.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_snapshots: Option<u64>,
    /// Authorities outside the swarm that sign node certificates.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub external_ca: Option<Vec<ExternalCa>>,
    /// Whether managers need the unlock key after a restart. Never set at init: the key must have a place before it is needed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub autolock: Option<bool>,
}

/// An authority outside the swarm that signs node certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalCa {
    /// How it is spoken to; engines know `cfssl`.
    pub protocol: String,
    /// Where it is.
    pub url: String,
    /// Its certificate in PEM; `None` takes the swarm's own root.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ca_cert: Option<String>,
    /// Further options of the protocol.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub options: BTreeMap<String, String>,
}

/// Options that only `docker swarm init` takes; afterwards they cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InitSettings {
    /// Networks from which overlay networks get their subnets. Empty leaves the engine's own.
    pub default_addr_pool: Vec<IpNet>,
    /// Prefix length of each such subnet.
    pub default_addr_pool_mask_length: Option<u8>,
    /// UDP port of the overlay traffic.
    pub data_path_port: Option<u16>,
}

impl InitSettings {
    /// The options named here that a swarm has otherwise. None of them can be changed.
    pub fn differing_from(&self, have: &Self) -> Vec<&'static str> {
        let pools = !self.default_addr_pool.is_empty() && self.default_addr_pool != have.default_addr_pool;
        let mask = self.default_addr_pool_mask_length.is_some() && self.default_addr_pool_mask_length != have.default_addr_pool_mask_length;
        let port = self.data_path_port.is_some() && self.data_path_port != have.data_path_port;
        [("default_addr_pool", pools), ("default_addr_pool_mask_length", mask), ("data_path_port", port)]
            .into_iter()
            .filter_map(|(key, differs)| differs.then_some(key))
            .collect()
    }
}

impl SwarmSettings {
    /// The options named here that another set lacks or has otherwise.
    pub fn missing_in(&self, have: &Self) -> Self {
        fn keep<T: PartialEq + Clone>(wanted: &Option<T>, have: &Option<T>) -> Option<T> {
            wanted.clone().filter(|w| have.as_ref() != Some(w))
        }
        Self {
            task_history_limit: keep(&self.task_history_limit, &have.task_history_limit),
            dispatcher_heartbeat: keep(&self.dispatcher_heartbeat, &have.dispatcher_heartbeat),
            cert_expiry: keep(&self.cert_expiry, &have.cert_expiry),
            snapshot_interval: keep(&self.snapshot_interval, &have.snapshot_interval),
            max_snapshots: keep(&self.max_snapshots, &have.max_snapshots),
            external_ca: keep(&self.external_ca, &have.external_ca),
            autolock: keep(&self.autolock, &have.autolock),
        }
    }

    /// The options that are named, each under its key in the file and as text.
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        [
            ("task_history_limit", self.task_history_limit.map(|v| v.to_string())),
            ("dispatcher_heartbeat", self.dispatcher_heartbeat.map(show_duration)),
            ("cert_expiry", self.cert_expiry.map(show_duration)),
            ("snapshot_interval", self.snapshot_interval.map(|v| v.to_string())),
            ("max_snapshots", self.max_snapshots.map(|v| v.to_string())),
            ("external_ca", self.external_ca.as_ref().map(|all| all.iter().map(|ca| ca.url.as_str()).collect::<Vec<_>>().join(" "))),
            ("autolock", self.autolock.map(|v| v.to_string())),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
    }
}
