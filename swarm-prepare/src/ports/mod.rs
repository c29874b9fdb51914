//! The port matrix: whether what nodes of a swarm send each other arrives, from every host to every other.
//!
//! A small program is put on each host for the moment ([`swarm_probe`]). It listens where the node will, or behind the packet filter
//! where an engine listens already, and the receiver says what arrived: an echo could not tell which way was lost.
//! [`wanted`] and [`judge`] are pure; [`matrix`] goes to the hosts.

mod judge;
mod run;
mod words;

#[cfg(test)]
mod tests;

pub use judge::{Heard, judge};
pub use run::matrix;

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use swarm_core::ClusterSpec;
use swarm_core::addr::{AddressSelector, ip_of};
use swarm_core::id::HostName;
use swarm_core::observe::{HostState, Observed, ObservedCluster, ObservedHost, ReachErrorKind};
use swarm_core::spec::{HostSpec, Role};

/// Gossip between nodes: moby `libnetwork/networkdb`.
const GOSSIP: u16 = 7946;
/// Overlay traffic, where the swarm names no other port: moby `daemon/cluster/cluster.go`.
const DATA_PATH: u16 = 4789;

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// A connection.
    Tcp,
    /// Datagrams.
    Udp,
    /// Datagrams of many sizes, never in pieces, to the UDP port of overlay traffic.
    Mtu,
    /// Packets of IPsec (protocol 50): what encrypted overlay networks send.
    Esp,
}

/// One thing that is sent to one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// What is sent.
    pub protocol: Protocol,
    /// To which port; 0 for ESP, which has none.
    pub port: u16,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Protocol::Tcp => write!(f, "tcp/{}", self.port),
            Protocol::Udp => write!(f, "udp/{}", self.port),
            Protocol::Mtu => write!(f, "mtu/{}", self.port),
            Protocol::Esp => f.write_str("esp"),
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
    /// The connection came about.
    Open,
    /// The receiver saw it.
    Arrived,
    /// The connection was refused, though something listens there.
    Refused,
    /// The connection got no answer.
    Filtered,
    /// There is no way there, or something on the way rejects it.
    NoRoute,
    /// The sender's own packet filter lets it not out.
    Blocked,
    /// The receiver saw none of several.
    NotArrived,
    /// Something that is no engine holds the port, so what arrives cannot be seen.
    InUse,
    /// The connection came about, and not with this host.
    Elsewhere,
    /// Only smaller packets arrive.
    Small {
        /// The largest packet that was tried and arrived, bytes.
        passes: usize,
        /// What the sender's interface sends, bytes.
        of: usize,
    },
    /// It was not tried, or nothing could be known of it.
    NotTested {
        /// Why.
        why: String,
    },
}

impl Outcome {
    /// Whether it is as it has to be.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Open | Self::Arrived)
    }

    /// Whether it is known not to pass.
    pub fn fails(&self) -> bool {
        !self.passes() && !matches!(self, Self::NotTested { .. } | Self::Small { .. })
    }
}

/// One thing from one host to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Passage {
    /// The sender.
    pub from: HostName,
    /// The receiver.
    pub to: HostName,
    /// The address it was sent to.
    pub address: IpAddr,
    /// The port; none for ESP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What was sent.
    pub protocol: Protocol,
    /// What became of it.
    pub outcome: Outcome,
    /// Whether it fails while the same from the receiver to the sender passes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub one_way: bool,
}

/// What was found out about all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Matrix {
    /// Every passage, by sender and receiver.
    pub passages: Vec<Passage>,
    /// Hosts on which no probe ran, each with the reason. They sent with tools of their own where they have some: connections only.
    pub without_probe: BTreeMap<HostName, String>,
    /// Hosts that are left out, each with the reason.
    pub left_out: BTreeMap<HostName, String>,
}

/// A host of the matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Station {
    /// The host.
    pub host: HostName,
    /// The address at which the other nodes reach it.
    pub address: IpAddr,
    /// The address of its overlay traffic.
    pub data_path: IpAddr,
    /// Where it listens as a manager, if it is one or is to be one.
    pub manager: Option<u16>,
    /// Whether its engine is a node of a swarm: it then holds the ports.
    pub member: bool,
    /// Whether its engine is known to be in no swarm. Between the two are engines that do not answer, wait for their key, or are joining: they
    /// may hold the ports.
    pub idle: bool,
}

/// Who sends what to whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The hosts.
    pub stations: Vec<Station>,
    /// The UDP port of overlay traffic.
    pub data_path_port: u16,
    /// Whether encrypted networks are wanted, so that ESP is tried.
    pub encrypted: bool,
    /// Hosts that are left out, each with the reason.
    pub left_out: BTreeMap<HostName, String>,
    /// The hosts it is about, where it is not about all: between the others nothing is sent.
    pub about: Option<BTreeSet<HostName>>,
    /// The senders and receivers it is about, where it is not about all.
    pub only: Option<Pairs>,
}

/// Senders, each with a receiver.
pub type Pairs = BTreeSet<(HostName, HostName)>;

impl Wanted {
    /// Whether something is sent from one host to another.
    pub fn sends(&self, from: &Station, to: &Station) -> bool {
        from.host != to.host
            && self.about.as_ref().is_none_or(|about| about.contains(&from.host) || about.contains(&to.host))
            && self.only.as_ref().is_none_or(|only| only.contains(&(from.host.clone(), to.host.clone())))
    }

    /// The same between these alone.
    pub fn between(&self, pairs: Pairs) -> Self {
        let is_one = |station: &&Station| pairs.iter().any(|(from, to)| *from == station.host || *to == station.host);
        let stations = self.stations.iter().filter(is_one).cloned().collect();
        Self { stations, only: Some(pairs), ..self.clone() }
    }

    /// What a host sends to all others, as its probe reads it: a line for each thing, with the number of the receiver.
    pub fn targets(&self, from: usize) -> String {
        let mut lines = String::new();
        let Some(own) = self.stations.get(from) else { return lines };
        for (to, station) in self.stations.iter().enumerate().filter(|(_, to)| self.sends(own, to)) {
            for (item, address) in self.to(station) {
                let _ = writeln!(lines, "{to} {item} {address}");
            }
        }
        lines
    }

    /// What is sent to a host, with the address it is sent to.
    pub fn to(&self, station: &Station) -> Vec<(Item, IpAddr)> {
        let item = |protocol, port| Item { protocol, port };
        let mut all: Vec<(Item, IpAddr)> = station.manager.map(|port| (item(Protocol::Tcp, port), station.address)).into_iter().collect();
        all.push((item(Protocol::Tcp, GOSSIP), station.address));
        all.push((item(Protocol::Udp, GOSSIP), station.address));
        all.push((item(Protocol::Udp, self.data_path_port), station.data_path));
        all.push((item(Protocol::Mtu, self.data_path_port), station.data_path));
        if self.encrypted {
            all.push((item(Protocol::Esp, 0), station.data_path));
        }
        all
    }
}

/// Who is to reach whom, by the file and by what is there: a node's own address comes before what the file would give it.
pub fn wanted(spec: &ClusterSpec, observed: &Observed, encrypted: bool) -> Wanted {
    let running = match &observed.cluster {
        ObservedCluster::One { view, .. } => view.cluster.init.data_path_port,
        _ => None,
    };
    let data_path_port = running.or(spec.init().data_path_port).filter(|port| *port != 0).unwrap_or(DATA_PATH);
    let mut all = Wanted { stations: Vec::new(), data_path_port, encrypted, left_out: BTreeMap::new(), about: None, only: None };
    for host in spec.hosts().filter(|h| !h.absent) {
        let station = observed.hosts.get(&host.name).ok_or_else(|| "it was not looked at".to_owned()).and_then(|seen| of_host(host, seen));
        match station {
            Ok(station) => all.stations.push(station),
            Err(why) => drop(all.left_out.insert(host.name.clone(), why)),
        }
    }
    all
}

fn of_host(host: &HostSpec, seen: &ObservedHost) -> Result<Station, String> {
    if let Some(error) = seen.report.engine.as_ref().err().filter(|e| e.kind == ReachErrorKind::Unreachable) {
        return Err(error.message.clone());
    }
    let swarm = seen.report.engine.as_ref().ok().map(|engine| &engine.swarm);
    let member = matches!(seen.state, HostState::Member { .. } | HostState::ForeignSwarm { .. });
    let idle = matches!(seen.state, HostState::Standalone);
    let own = swarm.filter(|_| member).and_then(|swarm| ip_of(swarm.address.as_deref()?));
    let listed = seen.node.as_ref().and_then(|node| ip_of(&node.address));
    let address = match own.or(listed).filter(|ip| !ip.is_unspecified()) {
        Some(ip) => ip,
        None => resolved(
            &host.advertise_selector().ok_or("its address is a name; `advertise` is to say an IP address or interface")?,
            host,
            seen,
        )?,
    };
    let data_path = match &host.data_path {
        Some(selector) => resolved(selector, host, seen)?,
        None => address,
    };
    let manager = host.role == Role::Manager || swarm.is_some_and(|swarm| swarm.control_available);
    Ok(Station { host: host.name.clone(), address, data_path, manager: manager.then_some(host.listen.port), member, idle })
}

fn resolved(selector: &AddressSelector, host: &HostSpec, seen: &ObservedHost) -> Result<IpAddr, String> {
    match (selector, seen.report.machine.known()) {
        (AddressSelector::Ip(ip), _) if host.nat => Ok(*ip),
        (selector, Some(machine)) if !machine.addresses.is_empty() => selector.resolve(&machine.addresses).map_err(|e| e.to_string()),
        (AddressSelector::Ip(ip), _) => Ok(*ip),
        _ => Err("its interfaces are not known".to_owned()),
    }
}
