//! From the document's tree to a [`ClusterSpec`]: every problem is collected, none stops the reading.

use super::fields::{Fields, Reader, join};
use super::keys::{AVAILABILITIES, CONNECTIONS, HOST_KEYS, ROLES};
use super::problem::{Problem, Problems, Severity};
use super::tree::{Entry, Node, Value};
use super::{
    Availability, ClusterSpec, Connection, EngineEndpoint, HostKeyPolicy, HostSpec, InitSettings, Jump, Policy, Role, SshSpec,
    SwarmSettings, TlsFiles,
};
use crate::addr::{AddressSelector, HostAddress, ListenAddress, parse_network};
use crate::id::HostName;
use crate::plan::quorum;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A file that can be used, and what its author should know about it.
#[derive(Debug, Clone)]
pub struct ReadSpec {
    /// The cluster.
    pub spec: ClusterSpec,
    /// Warnings, in the order of their places.
    pub warnings: Vec<Problem>,
}

/// Reads a cluster from a document.
///
/// # Errors
/// [`Problems`] holds everything that is wrong, warnings too, in the order of the document.
pub fn read(document: &Node) -> Result<ReadSpec, Problems> {
    let mut reader = Reader::default();
    let spec = reader.cluster(document);
    let mut problems = reader.problems;
    problems.sort_by_key(|p| p.at);
    match spec {
        Some(spec) if problems.iter().all(|p| p.severity == Severity::Warning) => Ok(ReadSpec { spec, warnings: problems }),
        _ => Err(Problems(problems)),
    }
}

impl Reader {
    fn cluster(&mut self, document: &Node) -> Option<ClusterSpec> {
        let fields = self.fields("", "cluster", document)?;
        let name = self.text(&fields, "name");
        if let Some(name) = &name {
            let fits = name.len() <= 63
                && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
            if !fits {
                let at = fields.node("name").and_then(|n| n.at);
                self.error("name", at, format!("`{name}` is not a cluster name"), "use at most 63 of a-z, 0-9 and -, not beginning with -");
            }
        }
        let no_ssh = Fields { path: "ssh".into(), at: fields.at, found: BTreeMap::new() };
        let ssh = match fields.node("ssh") {
            Some(node) => self.fields("ssh", "ssh", node).unwrap_or(no_ssh),
            None => no_ssh,
        };
        // Read once for its own problems, even where every host overrides it.
        self.ssh(&ssh, SshSpec::default());
        let hosts = self.hosts(&fields, &ssh);
        let (settings, init) = self.settings(&fields);
        let policy = self.policy(&fields);
        Some(ClusterSpec { name: name?, hosts: hosts?, settings, init, policy })
    }

    fn hosts(&mut self, fields: &Fields<'_>, default_ssh: &Fields<'_>) -> Option<BTreeMap<HostName, HostSpec>> {
        let node = fields.node("hosts")?;
        let Value::Map(entries) = &node.value else {
            self.error("hosts", node.at, format!("this is {}", node.value.kind()), "write a mapping of host names to hosts");
            return None;
        };
        let mut hosts = BTreeMap::new();
        let mut by_endpoint: BTreeMap<(HostAddress, u16, String), &str> = BTreeMap::new();
        let mut seen: Vec<&str> = Vec::new();
        for entry in entries {
            let path = join("hosts", &entry.key);
            if seen.contains(&entry.key.as_str()) {
                self.error(
                    &path,
                    entry.at,
                    format!("the host `{}` is here twice", entry.key),
                    "give one of them another name or remove it",
                );
                continue;
            }
            seen.push(&entry.key);
            if HostAddress::from_str(&entry.key).is_err() || entry.key.contains('.') {
                self.error(&path, entry.at, format!("`{}` is not a host name", entry.key), "use letters, digits, - and _");
            }
            let Some(host) = self.host(entry, &path, default_ssh) else { continue };
            let port = match &host.connection {
                Connection::Ssh(ssh) => ssh.port.unwrap_or(22),
                _ => 0,
            };
            let endpoint = (host.address.clone(), port, host.engine.to_string());
            if let Some(other) = by_endpoint.insert(endpoint, &entry.key) {
                let message = format!("the address {} is already that of `{other}`", host.address);
                self.error(join(&path, "address"), entry.at, message, "one machine is one host; remove one of the two");
            }
            hosts.insert(host.name.clone(), host);
        }
        let managers = hosts.values().filter(|h| h.role == Role::Manager).count();
        let readable = hosts.len() == seen.len();
        if entries.is_empty() {
            self.error("hosts", node.at, "there is no host", "add at least one manager");
        } else if managers == 0 && readable {
            self.error("hosts", node.at, "no host is a manager", "give at least one host `role: manager`; three make it highly available");
        } else if let Some(warning) = quorum::advice(managers) {
            self.push(Severity::Warning, "hosts".into(), node.at, warning, "use 1, 3, 5 or 7 managers".into());
        }
        Some(hosts)
    }

    fn host(&mut self, entry: &Entry, path: &str, default_ssh: &Fields<'_>) -> Option<HostSpec> {
        let fields = self.fields(path, "host", &entry.node)?;
        let address = self.parsed::<HostAddress>(&fields, "address", "write an IP address or a DNS name");
        let role = self.word(&fields, "role", ROLES).map(|w| if w == "manager" { Role::Manager } else { Role::Worker });
        let selector_fix = "write an IP address, an interface name such as eth0, or a CIDR such as 10.0.0.0/24";
        let advertise = self.parsed::<AddressSelector>(&fields, "advertise", selector_fix);
        let data_path = self.parsed::<AddressSelector>(&fields, "data_path", selector_fix);
        let listen =
            self.parsed::<ListenAddress>(&fields, "listen", "write ADDRESS or ADDRESS:PORT, for example 0.0.0.0:2377").unwrap_or_default();
        let availability = self.word(&fields, "availability", AVAILABILITIES).map(|w| match w {
            "pause" => Availability::Pause,
            "drain" => Availability::Drain,
            _ => Availability::Active,
        });
        let labels = self.labels(&fields);
        let engine = self.engine(&fields);
        let connection = self.connection(&fields, default_ssh, &engine);
        let nat = self.boolean(&fields, "nat").unwrap_or(false);
        let address = address?;
        if advertise.is_none() && fields.node("advertise").is_none() && matches!(address, HostAddress::Name(_)) {
            let message = format!("`{address}` is a DNS name, and the engine advertises IP addresses only");
            self.error(join(path, "advertise"), fields.at, message, "set `advertise` to an IP address, an interface name or a CIDR");
        }
        if let (None, HostAddress::Ip(ip)) = (&advertise, &address)
            && let Err(wrong) = ip.to_string().parse::<AddressSelector>()
        {
            let fix = "set `advertise` to an address the other nodes can reach";
            self.error(join(path, "advertise"), fields.node("address").and_then(|n| n.at), format!("the default would be {wrong}"), fix);
        }
        Some(HostSpec {
            name: HostName::new(entry.key.clone()),
            address,
            role: role?,
            advertise,
            listen,
            data_path,
            availability,
            labels,
            engine: engine.unwrap_or_default(),
            connection: connection?,
            nat,
        })
    }

    fn engine(&mut self, fields: &Fields<'_>) -> Option<EngineEndpoint> {
        let text = self.text(fields, "engine")?;
        let fix = "write unix:///path/of/the/socket, or tcp://host:2376 with connection: docker";
        let parsed = if let Some(path) = text.strip_prefix("unix://") {
            (path.starts_with('/') && !path.contains(['\0', '\n'])).then(|| EngineEndpoint::Unix(path.to_owned()))
        } else {
            text.strip_prefix("tcp://").and_then(|rest| {
                let (address, port) = rest.rsplit_once(':')?;
                Some(EngineEndpoint::Tcp { address: address.parse().ok()?, port: port.parse().ok()? })
            })
        };
        if parsed.is_none() {
            self.error(
                fields.path_of("engine"),
                fields.node("engine").and_then(|n| n.at),
                format!("`{text}` is not an engine address"),
                fix,
            );
        }
        parsed
    }

    fn connection(&mut self, fields: &Fields<'_>, default_ssh: &Fields<'_>, engine: &Option<EngineEndpoint>) -> Option<Connection> {
        let kind = self.word(fields, "connection", CONNECTIONS).unwrap_or("ssh");
        let tls: Vec<Option<String>> = ["tls_ca", "tls_cert", "tls_key"].iter().map(|key| self.text(fields, key)).collect();
        let at = fields.node("connection").and_then(|n| n.at).or(fields.at);
        let tcp = matches!(engine, Some(EngineEndpoint::Tcp { .. }));
        if kind != "docker" && (tcp || tls.iter().any(Option::is_some)) {
            self.error(
                fields.path_of("connection"),
                at,
                "a tcp:// engine and TLS files need connection: docker",
                "set `connection: docker`, or remove them",
            );
            return None;
        }
        match kind {
            "local" => Some(Connection::Local),
            "docker" => {
                let files = match tls.as_slice() {
                    [Some(ca), Some(cert), Some(key)] if tcp => {
                        Some(TlsFiles { ca: PathBuf::from(ca), cert: PathBuf::from(cert), key: PathBuf::from(key) })
                    }
                    _ => None,
                };
                if files.is_none() {
                    let fix = "set `engine: tcp://host:2376`, `tls_ca`, `tls_cert` and `tls_key`; an engine port without TLS gives root to everyone who reaches it";
                    self.error(fields.path_of("connection"), at, "connection: docker needs a tcp:// engine and all three TLS files", fix);
                }
                files.map(Connection::Docker)
            }
            _ => {
                let base = self.silently(|quiet| quiet.ssh(default_ssh, SshSpec::default()));
                let ssh = match fields.node("ssh") {
                    Some(node) => {
                        let own = self.fields(&fields.path_of("ssh"), "ssh", node)?;
                        self.ssh(&own, base)
                    }
                    None => base,
                };
                Some(Connection::Ssh(ssh))
            }
        }
    }

    /// Reads again what was read and reported before.
    fn silently<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let mut quiet = Self::default();
        read(&mut quiet)
    }

    fn ssh(&mut self, fields: &Fields<'_>, base: SshSpec) -> SshSpec {
        let user = self.text(fields, "user");
        if let Some(name) = &user {
            let fits = !name.is_empty()
                && !name.starts_with('-')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '+'));
            if !fits {
                self.error(
                    fields.path_of("user"),
                    fields.node("user").and_then(|n| n.at),
                    format!("`{name}` is not a login name"),
                    "use letters, digits, - _ . and +",
                );
            }
        }
        let port = self.int(fields, "port").and_then(|p| u16::try_from(p).ok());
        let host_key =
            self.word(fields, "host_key", HOST_KEYS).map(|w| if w == "strict" { HostKeyPolicy::Strict } else { HostKeyPolicy::AcceptNew });
        let jump = fields.node("jump").is_some().then(|| {
            let mut hops = Vec::new();
            for (text, at) in self.texts(fields, "jump") {
                match parse_jump(&text) {
                    Some(hop) => hops.push(hop),
                    None => self.error(
                        fields.path_of("jump"),
                        at,
                        format!("`{text}` is not a jump host"),
                        "write user@host:port; user and port may be left out",
                    ),
                }
            }
            hops
        });
        SshSpec {
            user: user.or(base.user),
            port: port.or(base.port),
            identity_file: self.text(fields, "identity_file").map(PathBuf::from).or(base.identity_file),
            known_hosts: self.text(fields, "known_hosts").map(PathBuf::from).or(base.known_hosts),
            host_key: host_key.unwrap_or(base.host_key),
            jump: jump.or(base.jump),
            password_env: self.text(fields, "password_env").or(base.password_env),
            passphrase_env: self.text(fields, "passphrase_env").or(base.passphrase_env),
            sudo: self.boolean(fields, "sudo").unwrap_or(base.sudo),
        }
    }

    fn labels(&mut self, fields: &Fields<'_>) -> BTreeMap<String, Option<String>> {
        let mut labels = BTreeMap::new();
        let Some(node) = fields.node("labels") else { return labels };
        let Value::Map(entries) = &node.value else {
            self.error(fields.path_of("labels"), node.at, format!("this is {}", node.value.kind()), "write a mapping such as { rack: a }");
            return labels;
        };
        for entry in entries {
            let path = join(&fields.path_of("labels"), &entry.key);
            let fits = !entry.key.is_empty()
                && entry.key.len() <= 253
                && entry.key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'))
                && entry.key.starts_with(|c: char| c.is_ascii_alphanumeric())
                && entry.key.ends_with(|c: char| c.is_ascii_alphanumeric());
            if !fits {
                let fix = "use letters, digits and - _ . / with a letter or digit at both ends";
                self.error(&path, entry.at, format!("`{}` is not a label key", entry.key), fix);
            }
            let value = match &entry.node.value {
                Value::Null => None,
                Value::Text(text) => Some(text.clone()),
                Value::Bool(b) => Some(b.to_string()),
                Value::Int(i) => Some(i.to_string()),
                other => {
                    self.error(&path, entry.node.at, format!("a label's value is a text, this is {}", other.kind()), "put it in quotes");
                    continue;
                }
            };
            if labels.insert(entry.key.clone(), value).is_some() {
                self.error(&path, entry.at, "this label is here twice", "remove one of them");
            }
        }
        labels
    }

    fn settings(&mut self, cluster: &Fields<'_>) -> (SwarmSettings, InitSettings) {
        let Some(fields) = cluster.node("swarm").and_then(|node| self.fields("swarm", "swarm", node)) else {
            return Default::default();
        };
        let unsigned = |value: Option<i64>| value.and_then(|v| u64::try_from(v).ok());
        let cert_expiry = self.duration(&fields, "cert_expiry");
        // swarmkit ca/config.go: MinNodeCertExpiration.
        if cert_expiry.is_some_and(|d| d < Duration::from_secs(3600)) {
            let at = fields.node("cert_expiry").and_then(|n| n.at);
            self.error("swarm.cert_expiry", at, "certificates that expire in under an hour are refused by the engine", "write 1h or more");
        }
        let settings = SwarmSettings {
            task_history_limit: self.int(&fields, "task_history_limit"),
            dispatcher_heartbeat: self.duration(&fields, "dispatcher_heartbeat"),
            cert_expiry,
            snapshot_interval: unsigned(self.int(&fields, "snapshot_interval")),
            max_snapshots: unsigned(self.int(&fields, "max_snapshots")),
        };
        let mut pools: Vec<ipnet::IpNet> = Vec::new();
        for (text, at) in self.texts(&fields, "default_addr_pool") {
            match parse_network(&text) {
                Ok(net) => {
                    if let Some(other) = pools.iter().find(|p| p.contains(&net) || net.contains(*p)) {
                        self.error("swarm.default_addr_pool", at, format!("{net} overlaps {other}"), "use networks that do not overlap");
                    }
                    pools.push(net);
                }
                Err(wrong) => self.error("swarm.default_addr_pool", at, wrong.to_string(), "write a network such as 10.20.0.0/16"),
            }
        }
        let mask = self.int(&fields, "default_addr_pool_mask_length").and_then(|m| u8::try_from(m).ok());
        if let Some(pool) = pools.iter().find(|p| p.prefix_len() > mask.unwrap_or(24)) {
            let message = format!("subnets of /{} do not fit into {pool}", mask.unwrap_or(24));
            self.error("swarm.default_addr_pool_mask_length", fields.at, message, "make the mask longer or the pool larger");
        }
        let port = self.int(&fields, "data_path_port").and_then(|p| u16::try_from(p).ok());
        (settings, InitSettings { default_addr_pool: pools, default_addr_pool_mask_length: mask, data_path_port: port })
    }

    fn policy(&mut self, cluster: &Fields<'_>) -> Policy {
        let default = Policy::default();
        let Some(fields) = cluster.node("policy").and_then(|node| self.fields("policy", "policy", node)) else {
            return default;
        };
        Policy {
            concurrency: self.int(&fields, "concurrency").and_then(|c| usize::try_from(c).ok()).unwrap_or(default.concurrency),
            timeout: self.duration(&fields, "timeout").unwrap_or(default.timeout),
        }
    }
}

fn parse_jump(text: &str) -> Option<Jump> {
    let (user, rest) = match text.rsplit_once('@') {
        Some((user, rest)) if !user.is_empty() && !user.starts_with('-') => (Some(user.to_owned()), rest),
        Some(_) => return None,
        None => (None, text),
    };
    if let Ok(address) = rest.parse() {
        return Some(Jump { user, address, port: None });
    }
    let (host, port) = rest.rsplit_once(':')?;
    Some(Jump { user, address: host.parse().ok()?, port: Some(port.parse().ok().filter(|p| *p != 0)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Node {
        Node { value: Value::Text(value.into()), at: None }
    }

    fn map<const N: usize>(entries: [(&str, Node); N]) -> Node {
        let entries = entries.into_iter().map(|(key, node)| Entry { key: key.into(), at: None, node }).collect();
        Node { value: Value::Map(entries), at: None }
    }

    fn host(address: &str, role: &str) -> Node {
        map([("address", text(address)), ("role", text(role))])
    }

    fn wrong(document: &Node) -> Vec<String> {
        read(document).unwrap_err().0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_least_file_is_a_cluster_with_the_defaults() {
        let read = read(&map([("name", text("prod")), ("hosts", map([("m1", host("10.0.0.1", "manager"))]))])).unwrap();
        assert!(read.warnings.is_empty());
        let m1 = read.spec.host(&"m1".into()).unwrap();
        assert_eq!(m1.listen.to_string(), "0.0.0.0:2377");
        assert_eq!(m1.advertise_selector(), Some("10.0.0.1".parse().unwrap()));
        assert_eq!(read.spec.policy(), &Policy::default());
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let document = map([
            ("nmae", text("prod")),
            (
                "hosts",
                map([
                    ("m1", map([("address", text("10.0.0.300")), ("role", text("manger"))])),
                    ("m2", map([("address", text("host.example")), ("role", text("worker")), ("labels", map([("a b", text("x"))]))])),
                ]),
            ),
            ("swarm", map([("cert_expiry", text("5")), ("default_addr_pool", text("10.0.0.1/8"))])),
            ("policy", map([("concurrency", text("0"))])),
        ]);
        let all = wrong(&document).join("\n");
        for expected in [
            "nmae: unknown key `nmae`; did you mean `name`?",
            "name: `name` is missing",
            "hosts.m1.address: `10.0.0.300` is not an IP address",
            "hosts.m1.role: `manger` is not one of manager, worker; did you mean `manager`?",
            "hosts.m2.advertise: `host.example` is a DNS name",
            "hosts.m2.labels.a b: `a b` is not a label key",
            "swarm.cert_expiry: `5` is not a duration",
            "has bits set behind its prefix; write `10.0.0.0/8`",
            "policy.concurrency: 0 is out of range",
        ] {
            assert!(all.contains(expected), "missing: {expected}\nin:\n{all}");
        }
    }

    #[test]
    fn two_hosts_with_one_address_are_one_machine() {
        let document = map([("name", text("x")), ("hosts", map([("a", host("10.0.0.1", "manager")), ("b", host("10.0.0.1", "worker"))]))]);
        assert!(wrong(&document).join("\n").contains("is already that of `a`"));
    }

    #[test]
    fn even_manager_counts_are_warned_of() {
        let two = map([("name", text("x")), ("hosts", map([("a", host("10.0.0.1", "manager")), ("b", host("10.0.0.2", "manager"))]))]);
        let warnings = read(&two).unwrap().warnings;
        assert!(warnings.iter().any(|w| w.message.contains("tolerate")), "{warnings:?}");
        let none = map([("name", text("x")), ("hosts", map([("a", host("10.0.0.1", "worker"))]))]);
        assert!(wrong(&none).join("").contains("no host is a manager"));
    }

    #[test]
    fn a_host_overrides_single_ssh_keys() {
        let own = map([("address", text("10.0.0.1")), ("role", text("manager")), ("ssh", map([("port", text("2222"))]))]);
        let document = map([
            ("name", text("x")),
            ("ssh", map([("user", text("admin")), ("jump", text("ops@bastion:2200"))])),
            ("hosts", map([("a", own)])),
        ]);
        let spec = read(&document).unwrap().spec;
        let Connection::Ssh(ssh) = &spec.host(&"a".into()).unwrap().connection else { panic!("ssh") };
        assert_eq!((ssh.user.as_deref(), ssh.port), (Some("admin"), Some(2222)));
        assert_eq!(ssh.jump.as_ref().unwrap()[0].port, Some(2200));
    }

    #[test]
    fn an_engine_port_without_tls_is_refused() {
        let own = map([("address", text("10.0.0.1")), ("role", text("manager")), ("engine", text("tcp://10.0.0.1:2375"))]);
        assert!(wrong(&map([("name", text("x")), ("hosts", map([("a", own)]))])).join("").contains("connection: docker"));
    }
}
