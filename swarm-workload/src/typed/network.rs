//! Networks.

use super::fields;
use serde_json::Value;
use std::collections::BTreeMap;

fields! {
    /// What is wanted of a network (the body of `POST /networks/create`).
    NetworkSpec {
        /// Its name.
        name: String,
        /// Its driver; `overlay` for one of the whole swarm.
        driver: String,
        /// `swarm` or `local`; follows from the driver.
        scope: String,
        /// Whether nothing beyond it is reached.
        internal: bool,
        /// Whether containers of single engines may join it.
        attachable: bool,
        /// Whether it is that of the routing mesh.
        ingress: bool,
        /// Whether others are made from it.
        config_only: bool,
        /// The network that it is made from.
        config_from: Option<ConfigFrom>,
        /// Its addresses.
        #[serde(rename = "IPAM")]
        ipam: Option<Ipam>,
        /// Whether it has addresses of IPv4; unset for yes (API 1.48).
        #[serde(rename = "EnableIPv4")]
        enable_ipv4: Option<bool>,
        /// Whether it has addresses of IPv6.
        #[serde(rename = "EnableIPv6")]
        enable_ipv6: Option<bool>,
        /// For its driver.
        options: BTreeMap<String, String>,
        /// Its labels.
        labels: BTreeMap<String, String>,
    }
}

fields! {
    /// The network that another is made from.
    ConfigFrom {
        /// Its name.
        network: String,
    }
}

fields! {
    /// Addresses of a network.
    Ipam {
        /// What gives them out; unset for `default`.
        driver: String,
        /// Its options.
        options: BTreeMap<String, String>,
        /// The ranges they are from; empty to let the engine choose.
        config: Vec<AddressPool>,
    }
}

fields! {
    /// A range of addresses.
    AddressPool {
        /// All of it, such as `10.1.0.0/24`.
        subnet: String,
        /// The part that containers get.
        #[serde(rename = "IPRange")]
        ip_range: String,
        /// The address of the way out.
        gateway: String,
        /// Addresses that are in use already, by the names of who has them.
        #[serde(alias = "AuxAddress")]
        auxiliary_addresses: BTreeMap<String, String>,
    }
}

fields! {
    /// A network as a manager has it.
    Network {
        /// Its id.
        #[serde(rename = "Id")]
        id: String,
        /// Its name.
        name: String,
        /// When it was made, RFC 3339.
        created: String,
        /// `swarm` or `local`.
        scope: String,
        /// Its driver.
        driver: String,
        /// Whether it has addresses of IPv4; unset on engines that do not say it.
        #[serde(rename = "EnableIPv4")]
        enable_ipv4: Option<bool>,
        /// Whether it has addresses of IPv6.
        #[serde(rename = "EnableIPv6")]
        enable_ipv6: bool,
        /// Its addresses.
        #[serde(rename = "IPAM")]
        ipam: Ipam,
        /// Whether nothing beyond it is reached.
        internal: bool,
        /// Whether containers of single engines may join it.
        attachable: bool,
        /// Whether it is that of the routing mesh.
        ingress: bool,
        /// Whether others are made from it.
        config_only: bool,
        /// The network that it was made from.
        config_from: ConfigFrom,
        /// Options of its driver.
        options: BTreeMap<String, String>,
        /// Its labels.
        labels: BTreeMap<String, String>,
    }
}

impl From<&NetworkSpec> for Value {
    fn from(spec: &NetworkSpec) -> Self {
        super::value(spec)
    }
}
