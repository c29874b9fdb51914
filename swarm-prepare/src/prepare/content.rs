//! What is written on hosts: the engine's configuration, its proxy, the packet filter's rules, archives. None of it is in a plan.

use super::facts::Looked;
use base64::Engine as _;
use hmac_sha256::Hash;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use swarm_core::ClusterSpec;
use swarm_core::addr::{AddressSelector, HostAddress};
use swarm_core::engine::Payloads;
use swarm_core::id::HostName;
use swarm_core::secret::Secret;
use swarm_core::spec::{HostSpec, Proxy, Role};

/// What of a payload's name says that it is ours.
const PREFIX: &str = "prepare/";
/// The line between the configuration and the proxy's lines.
const BETWEEN: &str = "swarm-prepare-proxy";

pub(super) fn digest(bytes: &[u8]) -> String {
    Hash::hash(bytes).iter().fold(String::new(), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}

/// An archive that is sent to hosts.
#[derive(Clone)]
pub struct Bundle {
    bytes: Vec<u8>,
    /// Its SHA-256.
    pub digest: String,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle").field("bytes", &self.bytes.len()).field("digest", &self.digest).finish()
    }
}

impl Bundle {
    /// From what is in the file.
    pub fn new(bytes: Vec<u8>) -> Self {
        let digest = digest(&bytes);
        Self { bytes, digest }
    }
}

/// Files of this machine that the file names, by the path that it names them by.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Archives.
    pub bundles: BTreeMap<PathBuf, Bundle>,
    /// Keys of repositories.
    pub keys: BTreeMap<PathBuf, String>,
}

/// Lays what is wanted over what is there: mappings key by key, everything else as a whole; null takes a key away.
pub fn configuration(there: &Map<String, Value>, wanted: &Map<String, Value>) -> Map<String, Value> {
    let mut all = there.clone();
    for (key, value) in wanted {
        match (all.get(key), value) {
            (_, Value::Null) => {
                all.remove(key);
            }
            (Some(Value::Object(old)), Value::Object(new)) => {
                let inner = configuration(old, new);
                all.insert(key.clone(), Value::Object(inner));
            }
            (_, new) => {
                all.insert(key.clone(), new.clone());
            }
        }
    }
    all
}

/// The variables of an engine's proxy, one a line. They may hold a password.
pub(super) fn proxy_lines(proxy: &Proxy) -> String {
    let mut lines = String::new();
    let of = [("HTTP_PROXY", proxy.http.as_ref().map(Secret::expose)), ("HTTPS_PROXY", proxy.https.as_ref().map(Secret::expose))];
    for (name, value) in of.into_iter().chain([("NO_PROXY", proxy.no_proxy.as_deref())]) {
        if let Some(value) = value {
            let _ = writeln!(lines, "{name}={value}");
        }
    }
    lines
}

/// The chain of the packet filter that is a cluster's: at most 28 letters (iptables, `XT_EXTENSION_MAXNAMELEN`).
pub(super) fn chain(cluster: &str) -> String {
    match cluster.len() {
        ..=22 => format!("SWARM-{cluster}"),
        _ => format!("SWARM-{}-{}", cluster.get(..14).unwrap_or_default(), digest(cluster.as_bytes()).get(..7).unwrap_or_default()),
    }
}

/// The addresses that a host of the file sends from, where the file names them.
fn addresses(host: &HostSpec) -> BTreeSet<IpAddr> {
    let of = |selector: &Option<AddressSelector>| match selector {
        Some(AddressSelector::Ip(ip)) => Some(*ip),
        _ => None,
    };
    let own = match &host.address {
        HostAddress::Ip(ip) => Some(*ip),
        HostAddress::Name(_) => None,
    };
    [of(&host.advertise), of(&host.data_path), own].into_iter().flatten().collect()
}

/// The rules that let the other hosts of the file in to what the swarm needs of one: `4` or `6`, and the rule. An error names the hosts whose
/// addresses the file does not say.
pub(super) fn rules(spec: &ClusterSpec, host: &HostSpec, encrypted: bool) -> Result<String, Vec<HostName>> {
    let peers: Vec<&HostSpec> = spec.hosts().filter(|h| h.name != host.name && !h.absent).collect();
    let unknown: Vec<HostName> = peers.iter().filter(|h| addresses(h).is_empty()).map(|h| h.name.clone()).collect();
    if !unknown.is_empty() {
        return Err(unknown);
    }
    let data_path = spec.init().data_path_port.unwrap_or(4789);
    let mut ports = vec!["-p tcp --dport 7946".to_owned(), "-p udp --dport 7946".into(), format!("-p udp --dport {data_path}")];
    if host.role == Role::Manager {
        ports.insert(0, format!("-p tcp --dport {}", host.listen.port));
    }
    if encrypted {
        ports.push("-p esp".into());
    }
    let mut text = String::new();
    for address in peers.into_iter().flat_map(addresses).collect::<BTreeSet<_>>() {
        let family = if address.is_ipv4() { 4 } else { 6 };
        for port in &ports {
            let _ = writeln!(text, "{family} -s {address} {port} -j ACCEPT");
        }
    }
    Ok(text)
}

/// The name of what a step on a host reads.
pub(super) fn name(host: &HostName, what: &str) -> String {
    format!("{PREFIX}{host}/{what}")
}

/// Gives what the steps on hosts read.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// The file.
    pub spec: &'a ClusterSpec,
    /// What the hosts said.
    pub looked: &'a Looked,
    /// Files of this machine.
    pub given: &'a Given,
    /// Whether encrypted networks are wanted.
    pub encrypted: bool,
}

impl Payloads for Content<'_> {
    fn payload(&self, name: &str) -> Result<Secret, String> {
        let none = || format!("{name} is not known here");
        let (host, what) = name.strip_prefix(PREFIX).and_then(|rest| rest.rsplit_once('/')).ok_or_else(none)?;
        let host = self.spec.host(&host.into()).ok_or_else(none)?;
        match what {
            "configuration" => {
                let ready = self.looked.get(&host.name).and_then(|l| l.as_ref().ok()).ok_or_else(none)?;
                let there = ready.daemon.clone().unwrap_or_default();
                let text = serde_json::to_string_pretty(&configuration(&there, &host.prepare.daemon)).map_err(|e| e.to_string())?;
                let lines = proxy_lines(&host.prepare.proxy);
                Ok(Secret::new(format!("{text}\n{BETWEEN}\n{}\n{lines}", digest(lines.as_bytes()))))
            }
            "bundle" => {
                let path = host.prepare.bundle.as_ref().ok_or_else(none)?;
                let bundle = self.given.bundles.get(path).ok_or_else(none)?;
                Ok(Secret::new(base64::engine::general_purpose::STANDARD.encode(&bundle.bytes)))
            }
            "key" => {
                let path = host.prepare.repository_key.as_ref().ok_or_else(none)?;
                Ok(Secret::new(self.given.keys.get(path).ok_or_else(none)?.clone()))
            }
            "rules" => rules(self.spec, host, self.encrypted).map(Secret::new).map_err(|_| none()),
            _ => Err(none()),
        }
    }
}

/// The same beside what other steps read.
#[derive(Clone, Copy)]
pub struct WithContent<'a> {
    /// What the steps of preparation read.
    pub content: Content<'a>,
    /// What all others read.
    pub others: &'a dyn Payloads,
}

impl Payloads for WithContent<'_> {
    fn payload(&self, name: &str) -> Result<Secret, String> {
        if name.starts_with(PREFIX) { self.content.payload(name) } else { self.others.payload(name) }
    }
}
