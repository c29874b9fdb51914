//! Addresses as the file writes them, parsed once and resolved against what a host really has.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use thiserror::Error;

/// The port managers listen on for the other nodes (moby `daemon/cluster/listen_addr.go`).
pub const DEFAULT_LISTEN_PORT: u16 = 2377;

/// Why a text is not the address it should be, or why it cannot be resolved on a host.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Neither an IP address nor a host name.
    #[error("`{0}` is not an IP address or a host name")]
    NotAHost(String),
    /// Not an IP address, an interface name or a CIDR.
    #[error("`{0}` is not an IP address, an interface name or a CIDR")]
    NotASelector(String),
    /// An address no other node could reach.
    #[error("`{0}` cannot be reached by other nodes ({1})")]
    NotReachable(String, &'static str),
    /// A CIDR whose host part is not zero.
    #[error("`{0}` has bits set behind its prefix; write `{1}`")]
    HostBits(String, String),
    /// Not `ADDRESS[:PORT]`.
    #[error("`{0}` is not an address with an optional port")]
    NotAListen(String),
    /// The host has no such address.
    #[error("`{wanted}` is not an address of this host; it has {have}")]
    NotOnHost {
        /// The address asked for.
        wanted: String,
        /// What the host has, for people.
        have: String,
    },
    /// The selector fits nothing.
    #[error("`{wanted}` selects no address of this host; it has {have}")]
    NoMatch {
        /// The selector.
        wanted: String,
        /// What the host has, for people.
        have: String,
    },
    /// The selector fits more than one address.
    #[error("`{wanted}` selects more than one address of this host: {found}")]
    Ambiguous {
        /// The selector.
        wanted: String,
        /// The addresses it fits.
        found: String,
    },
}

/// Where SSH goes: an IP address or a DNS name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum HostAddress {
    /// An IP address.
    Ip(IpAddr),
    /// A DNS name, in lower case.
    Name(String),
}

impl FromStr for HostAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse() {
            return Ok(Self::Ip(ip));
        }
        let labels_fit = !text.is_empty()
            && text.len() <= 253
            && text.split('.').all(|label| {
                !label.is_empty()
                    && label.len() <= 63
                    && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            });
        // `300.1.2.3` has the grammar of a name, and is a mistyped address.
        let looks_like_ip = text.split('.').all(|label| label.chars().all(|c| c.is_ascii_digit()));
        if labels_fit && !looks_like_ip { Ok(Self::Name(text.to_ascii_lowercase())) } else { Err(AddressError::NotAHost(text.to_owned())) }
    }
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => write!(f, "{ip}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// An address that one of a host's interfaces carries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InterfaceAddress {
    /// For example `eth0`.
    pub interface: String,
    /// The address, without its prefix.
    pub address: IpAddr,
}

/// How the file picks the address a node advertises: as it is, by interface, or by network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum AddressSelector {
    /// This address.
    Ip(IpAddr),
    /// The one usable address inside this network.
    Network(IpNet),
    /// The one usable address of this interface.
    Interface(String),
}

impl FromStr for AddressSelector {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return match unreachable_reason(ip) {
                Some(reason) => Err(AddressError::NotReachable(text.to_owned(), reason)),
                None => Ok(Self::Ip(ip)),
            };
        }
        if text.contains('/') {
            return parse_network(text).map(Self::Network);
        }
        // Linux: at most 15 bytes, no blank, no slash (net/core/dev.c dev_valid_name).
        let fits = !text.is_empty()
            && text.len() <= 15
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@'));
        if fits { Ok(Self::Interface(text.to_owned())) } else { Err(AddressError::NotASelector(text.to_owned())) }
    }
}

impl fmt::Display for AddressSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => write!(f, "{ip}"),
            Self::Network(net) => write!(f, "{net}"),
            Self::Interface(name) => f.write_str(name),
        }
    }
}

impl AddressSelector {
    /// The address this selects among those a host has.
    ///
    /// The engine's own choice takes one IPv4 address, or one IPv6 address where there is no IPv4 (moby
    /// `daemon/cluster/listen_addr.go` resolveInterfaceAddr); so does this.
    ///
    /// # Errors
    /// [`AddressError::NotOnHost`], [`AddressError::NoMatch`] or [`AddressError::Ambiguous`], each with what the host has.
    pub fn resolve(&self, have: &[InterfaceAddress]) -> Result<IpAddr, AddressError> {
        let usable = have.iter().filter(|a| unreachable_reason(a.address).is_none());
        let fitting: Vec<&InterfaceAddress> = match self {
            Self::Ip(ip) => {
                return if have.iter().any(|a| a.address == *ip) {
                    Ok(*ip)
                } else {
                    Err(AddressError::NotOnHost { wanted: self.to_string(), have: list(have) })
                };
            }
            Self::Network(net) => usable.filter(|a| net.contains(&a.address)).collect(),
            Self::Interface(name) => usable.filter(|a| a.interface == *name).collect(),
        };
        let v4: Vec<_> = fitting.iter().filter(|a| a.address.is_ipv4()).collect();
        let chosen = if v4.is_empty() { fitting.iter().collect() } else { v4 };
        match chosen.as_slice() {
            [] => Err(AddressError::NoMatch { wanted: self.to_string(), have: list(have) }),
            [one] => Ok(one.address),
            many => Err(AddressError::Ambiguous { wanted: self.to_string(), found: list(many.iter().map(|a| **a)) }),
        }
    }
}

/// A network in CIDR notation, whose host bits must be zero.
pub fn parse_network(text: &str) -> Result<IpNet, AddressError> {
    let net: IpNet = text.parse().map_err(|_| AddressError::NotASelector(text.to_owned()))?;
    if net.trunc() == net { Ok(net) } else { Err(AddressError::HostBits(text.to_owned(), net.trunc().to_string())) }
}

/// Where a manager listens: an address or interface, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListenAddress {
    /// The address or interface, as the engine takes it.
    pub on: String,
    /// The TCP port.
    pub port: u16,
}

impl Default for ListenAddress {
    fn default() -> Self {
        Self { on: "0.0.0.0".to_owned(), port: DEFAULT_LISTEN_PORT }
    }
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError::NotAListen(text.to_owned());
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return if socket.port() == 0 { Err(wrong()) } else { Ok(Self { on: socket.ip().to_string(), port: socket.port() }) };
        }
        if text.parse::<IpAddr>().is_ok() {
            return Ok(Self { on: text.to_owned(), port: DEFAULT_LISTEN_PORT });
        }
        let (on, port) = match text.rsplit_once(':') {
            Some((on, port)) => (on, port.parse().map_err(|_| wrong())?),
            None => (text, DEFAULT_LISTEN_PORT),
        };
        match on.parse() {
            Ok(AddressSelector::Interface(name)) if port != 0 => Ok(Self { on: name, port }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.on.contains(':') { write!(f, "[{}]:{}", self.on, self.port) } else { write!(f, "{}:{}", self.on, self.port) }
    }
}

/// Splits `ADDRESS:PORT` as the engine reports it; `None` where there is no IP address in it.
pub fn ip_of(reported: &str) -> Option<IpAddr> {
    if let Ok(socket) = reported.parse::<SocketAddr>() {
        return Some(socket.ip());
    }
    reported.parse().ok()
}

fn unreachable_reason(ip: IpAddr) -> Option<&'static str> {
    if ip.is_unspecified() {
        Some("it means every address")
    } else if ip.is_loopback() {
        Some("it is a loopback address")
    } else if ip.is_multicast() {
        Some("it is a multicast address")
    } else {
        let link_local = match ip {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        link_local.then_some("it is a link-local address")
    }
}

fn list<'a>(addresses: impl IntoIterator<Item = &'a InterfaceAddress>) -> String {
    let shown: Vec<String> =
        addresses.into_iter().filter(|a| !a.address.is_loopback()).map(|a| format!("{} ({})", a.address, a.interface)).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(interface: &str, address: &str) -> InterfaceAddress {
        InterfaceAddress { interface: interface.into(), address: address.parse().unwrap() }
    }

    #[test]
    fn a_mistyped_address_is_not_a_host_name() {
        assert_eq!("10.0.0.11".parse(), Ok(HostAddress::Ip("10.0.0.11".parse().unwrap())));
        assert_eq!("Web-1.Example.org".parse(), Ok(HostAddress::Name("web-1.example.org".into())));
        let (label, name) = ("a".repeat(64), "abcdefghi.".repeat(25));
        let wrong = ["", "300.1.2.3", "a b", "-oProxyCommand=x", "$(id)", "a..b", "10.0.0", "a-", "a.-b.c", &label, &format!("{name}abcd")];
        for wrong in wrong {
            assert!(wrong.parse::<HostAddress>().is_err(), "{wrong}");
        }
        for right in ["a_b", "a-b", "1a", &"a".repeat(63), &format!("{name}abc")] {
            assert_eq!(right.parse::<HostAddress>().map(|a| a.to_string()), Ok(right.to_owned()));
        }
    }

    #[test]
    fn addresses_nobody_can_reach_are_refused() {
        for wrong in ["0.0.0.0", "127.0.0.1", "169.254.1.1", "fe80::1", "::", "10.0.0.1/8", "eth 0", "", "0eth", "e$", "abcdefghijklmnop"] {
            assert!(wrong.parse::<AddressSelector>().is_err(), "{wrong}");
        }
        for right in ["10.0.0.1", "10.0.0.0/8", "fd00::/8", "eth0", "en-p_0.1@x", "abcdefghijklmno"] {
            assert_eq!(right.parse::<AddressSelector>().map(|a| a.to_string()), Ok(right.to_owned()));
        }
    }

    #[test]
    fn a_selector_takes_exactly_one_address() {
        let have = [on("lo", "127.0.0.1"), on("eth0", "10.0.0.5"), on("eth0", "fe80::5"), on("eth1", "10.1.0.5"), on("eth1", "10.1.0.6")];
        let pick = |text: &str| text.parse::<AddressSelector>().unwrap().resolve(&have);
        assert_eq!(pick("eth0"), Ok("10.0.0.5".parse().unwrap()));
        assert_eq!(pick("10.0.0.0/24"), Ok("10.0.0.5".parse().unwrap()));
        assert_eq!(pick("10.1.0.6"), Ok("10.1.0.6".parse().unwrap()));
        let both = pick("eth1").unwrap_err().to_string();
        assert!(both.contains("10.1.0.5 (eth1), 10.1.0.6 (eth1)"), "{both}");
        assert!(matches!(pick("eth7"), Err(AddressError::NoMatch { .. })));
        assert!(matches!(pick("10.9.9.9"), Err(AddressError::NotOnHost { .. })));
    }

    #[test]
    fn listen_addresses_keep_brackets_where_they_belong() {
        let shown = |text: &str| text.parse::<ListenAddress>().map(|l| l.to_string());
        assert_eq!(shown("0.0.0.0"), Ok("0.0.0.0:2377".into()));
        assert_eq!(shown("[fd00::1]:2400"), Ok("[fd00::1]:2400".into()));
        assert_eq!(shown("fd00::1"), Ok("[fd00::1]:2377".into()));
        assert_eq!(shown("eth0:2400"), Ok("eth0:2400".into()));
        for wrong in ["0.0.0.0:0", "0.0.0.0:99999", "x y", "", "eth0:0", "eth0:99999", "10.0.0.0/8:2377"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
