//! What a new host is like.

use std::net::{IpAddr, Ipv4Addr};
use swarm_core::addr::HostAddress;
use swarm_core::id::HostName;
use swarm_core::spec::HostSpec;

/// A host to be added to a world.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// Its name in the cluster file.
    pub name: HostName,
    /// Its address, on `eth0`.
    pub address: IpAddr,
    /// Further addresses, each with its interface.
    pub more: Vec<(String, IpAddr)>,
    /// What it calls itself.
    pub hostname: String,
    /// Its engine's version; `None` has no engine.
    pub engine: Option<String>,
    /// The engine runs with `live-restore`, which excludes swarm mode.
    pub live_restore: bool,
}

impl HostOptions {
    /// A plain host.
    pub fn new(name: &str, address: IpAddr) -> Self {
        Self {
            name: HostName::new(name),
            address,
            more: Vec::new(),
            hostname: name.to_owned(),
            engine: Some("28.0.0".into()),
            live_restore: false,
        }
    }

    /// The host that a cluster file means. A host that the file knows by a DNS name gets an address made from that name.
    pub fn of(host: &HostSpec) -> Self {
        let advertised = host.advertise.as_ref().and_then(|selector| match selector {
            swarm_core::addr::AddressSelector::Ip(ip) if !host.nat => Some(*ip),
            swarm_core::addr::AddressSelector::Network(net) => net.hosts().nth(usize::from(sum(host.name.as_str()))),
            _ => None,
        });
        let address = match (&host.address, advertised) {
            (_, Some(ip)) => ip,
            (HostAddress::Ip(ip), None) => *ip,
            (HostAddress::Name(name), None) => IpAddr::V4(Ipv4Addr::from(0x0a40_0000 + u32::from(sum(name)))),
        };
        let mut options = Self::new(host.name.as_str(), address);
        if let Some(swarm_core::addr::AddressSelector::Interface(interface)) = &host.advertise
            && interface != "eth0"
        {
            options.more.push((interface.clone(), IpAddr::V4(Ipv4Addr::from(0x0a41_0000 + u32::from(sum(host.name.as_str()))))));
        }
        options
    }
}

/// A number that a name always gives, from 1 on.
fn sum(name: &str) -> u16 {
    name.bytes().fold(7u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(u16::from(byte))) % 60_000 + 1
}
