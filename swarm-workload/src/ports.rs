//! Published ports, in the forms that people write.

use serde_json::{Value as Json, json};

/// One port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// The port of the nodes; 0 where the engine chooses one.
    pub published: u64,
    /// The port that the task listens on.
    pub target: u64,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// `ingress` or `host`.
    pub mode: String,
}

impl Port {
    /// As the engine has it.
    pub fn json(&self) -> Json {
        let mut port = json!({ "Protocol": self.protocol, "TargetPort": self.target, "PublishMode": self.mode });
        if let (true, Some(map)) = (self.published > 0, port.as_object_mut()) {
            map.insert("PublishedPort".into(), json!(self.published));
        }
        port
    }
}

/// `1000` or `1000-1005`.
fn range(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last <= 65535 && first > 0).then_some((first, last))
}

/// `[IP:][PUBLISHED:]TARGET[/PROTOCOL]`, each possibly a range. `Some(true)` beside them says that an address is dropped.
pub fn short_ports(text: &str) -> Option<(Vec<Port>, bool)> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return None;
    }
    let (rest, target) = ports.rsplit_once(':').map_or((None, ports), |(rest, target)| (Some(rest), target));
    let (address, published) = match rest {
        None => (None, None),
        Some(rest) => rest.rsplit_once(':').map_or((None, Some(rest)), |(ip, port)| (Some(ip), Some(port))),
    };
    if let Some(address) = address {
        let plain = address.trim_start_matches('[').trim_end_matches(']');
        if !plain.is_empty() && plain.parse::<std::net::IpAddr>().is_err() {
            return None;
        }
    }
    let (first, last) = range(target)?;
    let port = |published, target| Port { published, target, protocol: protocol.clone(), mode: "ingress".to_owned() };
    let ports = match published.filter(|p| !p.is_empty()).map(range) {
        None => (first..=last).map(|target| port(0, target)).collect(),
        Some(None) => return None,
        Some(Some((from, to))) if last - first == to - from => (first..=last).map(|target| port(from + target - first, target)).collect(),
        // A range of published ports onto one target.
        Some(Some((from, to))) if first == last => (from..=to).map(|published| port(published, first)).collect(),
        Some(Some(_)) => return None,
    };
    Some((ports, address.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Vec<(u64, u64)>> {
        short_ports(text).map(|(ports, _)| ports.iter().map(|p| (p.published, p.target)).collect())
    }

    #[test]
    fn short_forms() {
        assert_eq!(of("80"), Some(vec![(0, 80)]));
        assert_eq!(of("8080:80/udp"), Some(vec![(8080, 80)]));
        assert_eq!(of("9090-9091:8080-8081"), Some(vec![(9090, 8080), (9091, 8081)]));
        assert_eq!(of("3000-3002"), Some(vec![(0, 3000), (0, 3001), (0, 3002)]));
        assert_eq!(of("8000-8001:80"), Some(vec![(8000, 80), (8001, 80)]));
        assert_eq!(of("127.0.0.1:5000:5000"), Some(vec![(5000, 5000)]));
        assert_eq!(of("[::1]:5000:5000"), Some(vec![(5000, 5000)]));
        assert!(short_ports("127.0.0.1:5000:5000").unwrap().1 && !short_ports("5000:5000").unwrap().1);
        for wrong in ["", "x", "80:", "0:80", "70000:80", "1-3:1-2", "80/icmp", "a:80:80", "5-4"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
