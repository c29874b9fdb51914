//! From the document's tree to a [`ClusterSpec`]: every problem is collected, none stops the reading.

use super::KeyPlace;
use super::fields::{Fields, Reader, join};
use super::keys::{AVAILABILITIES, OWN_OBJECTS, PRUNES, ROLES, ROTATE_TOKENS};
use super::problem::{Problem, Problems, Severity};
use super::tree::{Entry, Node, Value};
use super::{
    Availability, ClusterSpec, Connection, ExternalCa, HostSpec, InitSettings, OWNER_LABEL, Policy, Preparation, Prune, Role, RotateTokens,
    SshSpec, StackFiles, SwarmSettings,
};
use crate::addr::{AddressSelector, HostAddress, ListenAddress, parse_network};
use crate::id::HostName;
use crate::quorum;
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
        let prepare = self.preparation(&fields, &Preparation::default());
        let machines = self.machines(&fields);
        let hosts = self.hosts(&fields, &ssh, &prepare);
        let (settings, init, key_place) = self.settings(&fields);
        let policy = self.policy(&fields);
        let stacks = self.stacks(&fields);
        let own_objects = self.own_objects(&fields);
        let ignored_checks = self.ignored_checks(&fields);
        // Machines are hosts that are reached by SSH, and are not known here.
        let ssh_node = if machines.is_none() { fields.node("ssh") } else { None };
        self.useless_of_cluster(ssh_node, &ssh, hosts.iter().flatten().map(|(_, host)| host));
        let (name, mut hosts) = (name?, hosts?);
        if policy.prune == Prune::Owned {
            for host in hosts.values_mut().filter(|h| !h.absent) {
                host.labels.insert(OWNER_LABEL.to_owned(), Some(name.clone()));
            }
        }
        Some(ClusterSpec { name, hosts, settings, init, key_place, policy, ignored_checks, stacks, own_objects, machines })
    }

    fn hosts(&mut self, fields: &Fields<'_>, default_ssh: &Fields<'_>, prepare: &Preparation) -> Option<BTreeMap<HostName, HostSpec>> {
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
            let Some(host) = self.host(entry, &path, default_ssh, prepare) else { continue };
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
        // What machines there are is not known here.
        let made = fields.node("machines").is_some();
        if entries.is_empty() && !made {
            self.error("hosts", node.at, "there is no host", "add at least one manager");
        } else if managers == 0 && readable && !made {
            self.error("hosts", node.at, "no host is a manager", "give at least one host `role: manager`; three make it highly available");
        } else if let Some(warning) = quorum::advice(managers) {
            self.push(Severity::Warning, "hosts".into(), node.at, warning, "use 1, 3, 5 or 7 managers".into());
        }
        Some(hosts)
    }

    fn host(&mut self, entry: &Entry, path: &str, default_ssh: &Fields<'_>, prepare: &Preparation) -> Option<HostSpec> {
        let fields = self.fields(path, "host", &entry.node)?;
        let address = self.parsed::<HostAddress>(&fields, "address", "write an IP address or a DNS name");
        let role = self.word(&fields, "role", ROLES).map(|w| (if w == "manager" { Role::Manager } else { Role::Worker }, w == "none"));
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
        if let Some(connection) = &connection {
            self.useless_of_host(&fields, connection);
        }
        let nat = self.boolean(&fields, "nat").unwrap_or(false);
        let prepare = self.preparation(&fields, prepare);
        let (role, absent) = role.unzip();
        if absent == Some(true) {
            self.useless_of_absent(&fields);
        }
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
            absent: absent?,
            advertise,
            listen,
            data_path,
            availability,
            labels,
            engine: engine.unwrap_or_default(),
            connection: connection?,
            nat,
            prepare,
        })
    }

    fn labels(&mut self, fields: &Fields<'_>) -> BTreeMap<String, Option<String>> {
        self.labels_of(fields, "labels")
    }

    fn labels_of(&mut self, fields: &Fields<'_>, of: &str) -> BTreeMap<String, Option<String>> {
        let mut labels = BTreeMap::new();
        let Some(node) = fields.node(of) else { return labels };
        let Value::Map(entries) = &node.value else {
            self.error(fields.path_of(of), node.at, format!("this is {}", node.value.kind()), "write a mapping such as { rack: a }");
            return labels;
        };
        for entry in entries {
            let path = join(&fields.path_of(of), &entry.key);
            let fits = entry.key.len() <= 253
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

    fn settings(&mut self, cluster: &Fields<'_>) -> (SwarmSettings, InitSettings, Option<KeyPlace>) {
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
            external_ca: self.external_ca(&fields),
            autolock: self.boolean(&fields, "autolock"),
        };
        let file = self.text(&fields, "unlock_key_file").map(PathBuf::from);
        let command: Vec<String> = self.texts(&fields, "unlock_key_command").into_iter().map(|(word, _)| word).collect();
        if file.is_some() && !command.is_empty() {
            let at = fields.node("unlock_key_command").and_then(|n| n.at);
            self.error(
                "swarm.unlock_key_command",
                at,
                "the unlock key has two places",
                "keep one of unlock_key_file and unlock_key_command",
            );
        }
        let key_place = file.map(KeyPlace::File).or_else(|| (!command.is_empty()).then_some(KeyPlace::Command(command)));
        if settings.autolock == Some(true) && key_place.is_none() {
            let at = fields.node("autolock").and_then(|n| n.at);
            let fix = "set `unlock_key_file` or `unlock_key_command`: without the key no manager comes back after a restart of all";
            self.error("swarm.unlock_key_file", at, "autolock has no place for its key", fix);
        }
        self.useless_of_swarm(&fields, settings.autolock);
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
        (settings, InitSettings { default_addr_pool: pools, default_addr_pool_mask_length: mask, data_path_port: port }, key_place)
    }

    fn external_ca(&mut self, fields: &Fields<'_>) -> Option<Vec<ExternalCa>> {
        let node = fields.node("external_ca")?;
        let Value::List(items) = &node.value else {
            self.error(
                "swarm.external_ca",
                node.at,
                format!("this is {}", node.value.kind()),
                "write a list of authorities, each with a `url`",
            );
            return None;
        };
        let mut all = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let Some(ca) = self.fields(&format!("swarm.external_ca.{index}"), "external_ca", item) else { continue };
            let url = self.text(&ca, "url");
            if let Some(wrong) = url.as_ref().filter(|u| !u.starts_with("https://")) {
                self.error(
                    ca.path_of("url"),
                    ca.node("url").and_then(|n| n.at),
                    format!("`{wrong}` is not an https:// address"),
                    "write https://…",
                );
            }
            let options = self.labels_of(&ca, "options").into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
            let protocol = self.text(&ca, "protocol").unwrap_or_else(|| "cfssl".into());
            let ca_cert = self.text(&ca, "ca_cert").map(|pem| pem.trim().to_owned());
            all.extend(url.map(|url| ExternalCa { protocol, url, ca_cert, options }));
        }
        Some(all)
    }

    /// Whether there is anything under the keys that are a Compose file's.
    fn own_objects(&mut self, cluster: &Fields<'_>) -> bool {
        let mut any = false;
        for name in OWN_OBJECTS {
            match cluster.node(name).map(|node| (&node.value, node.at)) {
                None | Some((Value::Null, _)) => {}
                Some((Value::Map(entries), _)) => any |= !entries.is_empty(),
                Some((other, at)) => self.error(*name, at, format!("this is {}", other.kind()), "write a mapping, as in a Compose file"),
            }
        }
        any
    }

    fn stacks(&mut self, cluster: &Fields<'_>) -> BTreeMap<String, StackFiles> {
        let Some(node) = cluster.node("stacks") else { return BTreeMap::new() };
        let Value::Map(entries) = &node.value else {
            self.error("stacks", node.at, format!("this is {}", node.value.kind()), "write a mapping of names to stacks");
            return BTreeMap::new();
        };
        let mut stacks = BTreeMap::new();
        for entry in entries {
            let path = join("stacks", &entry.key);
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if !entry.key.chars().all(fits) || !entry.key.starts_with(|c: char| c.is_ascii_alphanumeric()) {
                self.error(&path, entry.at, format!("`{}` is no name of a stack", entry.key), "use letters, digits, _ and -");
            }
            let Some(fields) = self.fields(&path, "stack", &entry.node) else { continue };
            let paths = |texts: Vec<(String, _)>| texts.into_iter().map(|(text, _)| PathBuf::from(text)).collect();
            let (compose, env_file) = (paths(self.texts(&fields, "compose")), paths(self.texts(&fields, "env_file")));
            let prune = self.boolean(&fields, "prune").unwrap_or(false);
            let with_registry_auth = self.boolean(&fields, "with_registry_auth").unwrap_or(false);
            if stacks.insert(entry.key.clone(), StackFiles { compose, env_file, prune, with_registry_auth }).is_some() {
                self.error(&path, entry.at, format!("the stack `{}` is here twice", entry.key), "remove one of them");
            }
        }
        stacks
    }

    fn ignored_checks(&mut self, cluster: &Fields<'_>) -> BTreeMap<String, String> {
        let fields = cluster.node("checks").and_then(|node| self.fields("checks", "checks", node));
        let ignored = fields.map(|fields| self.labels_of(&fields, "ignore")).unwrap_or_default();
        ignored.into_iter().filter_map(|(name, why)| Some((name, why?))).collect()
    }

    fn policy(&mut self, cluster: &Fields<'_>) -> Policy {
        let default = Policy::default();
        let Some(fields) = cluster.node("policy").and_then(|node| self.fields("policy", "policy", node)) else {
            return default;
        };
        Policy {
            concurrency: self.int(&fields, "concurrency").and_then(|c| usize::try_from(c).ok()).unwrap_or(default.concurrency),
            timeout: self.duration(&fields, "timeout").unwrap_or(default.timeout),
            rotate_tokens: match self.word(&fields, "rotate_tokens", ROTATE_TOKENS) {
                Some("after_apply") => RotateTokens::AfterApply,
                _ => default.rotate_tokens,
            },
            prune: match self.word(&fields, "prune", PRUNES) {
                Some("owned") => Prune::Owned,
                _ => default.prune,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tree::made::{map, text};

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
    fn what_is_beyond_membership_is_named() {
        let with = |more: Vec<(&str, Node)>| {
            let mut all = vec![("name", text("prod")), ("hosts", map([("m1", host("10.0.0.1", "manager"))]))];
            all.extend(more);
            let entries = all.into_iter().map(|(key, node)| crate::spec::Entry { key: key.into(), at: None, node }).collect();
            read(&Node { value: crate::spec::Value::Map(entries), at: None }).unwrap().spec.beyond_membership()
        };
        assert_eq!(with(Vec::new()), Vec::<&str>::new());
        assert_eq!(with(vec![("prepare", map([("firewall", text("open"))]))]), ["prepare"]);
        assert_eq!(with(vec![("prepare", map([("firewall", text("check"))]))]), Vec::<&str>::new());
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
            "hosts.m1.role: `manger` is not one of manager, worker, none; did you mean `manager`?",
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
    fn autolock_needs_a_place_for_its_key_and_authorities_an_address() {
        let yes = Node { value: Value::Bool(true), at: None };
        let ca = Node { value: Value::List(vec![map([("url", text("http://ca"))])]), at: None };
        let hosts = || map([("m1", host("10.0.0.1", "manager"))]);
        let all = wrong(&map([("name", text("x")), ("hosts", hosts()), ("swarm", map([("autolock", yes.clone()), ("external_ca", ca)]))]))
            .join("\n");
        assert!(all.contains("autolock has no place for its key") && all.contains("is not an https:// address"), "{all}");
        let good = map([("autolock", yes), ("unlock_key_file", text("~/k"))]);
        let spec = read(&map([("name", text("x")), ("hosts", hosts()), ("swarm", good)])).unwrap().spec;
        assert_eq!(spec.key_place(), Some(&KeyPlace::File(PathBuf::from("~/k"))));
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
