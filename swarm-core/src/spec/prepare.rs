//! How a host is made ready before it joins: `prepare:` of the file, for all hosts and key by key for one.

use super::fields::{Fields, Reader, join};
use super::keys::{FIREWALLS, INSTALLS};
use super::problem::Severity;
use super::tree::{Node, Value};
use crate::secret::Secret;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json};
use std::path::PathBuf;

/// Where Docker keeps its packages.
const DOCKER: &str = "https://download.docker.com";

/// Where a host without an engine gets one from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Install {
    /// It gets none.
    #[default]
    None,
    /// From its own distribution.
    Distro,
    /// From a repository that is laid out as Docker's is.
    DockerCe,
    /// From an archive that is sent to it.
    Offline,
}

/// What is done about packet filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firewall {
    /// What the swarm needs is tried before hosts join.
    #[default]
    Check,
    /// What the swarm needs is let in, from the other hosts of the file alone.
    Open,
    /// Nothing is tried and nothing is changed.
    None,
}

/// What the engine goes through on its way to registries. The addresses may hold passwords.
#[derive(Debug, Clone, Default)]
pub struct Proxy {
    /// For `http://`.
    pub http: Option<Secret>,
    /// For `https://`.
    pub https: Option<Secret>,
    /// What it is not used for, as `NO_PROXY` has it.
    pub no_proxy: Option<String>,
}

impl Proxy {
    fn shown(&self) -> (Option<String>, Option<String>, Option<&String>) {
        (self.http.as_ref().map(Secret::fingerprint), self.https.as_ref().map(Secret::fingerprint), self.no_proxy.as_ref())
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.shown() == (None, None, None)
    }
}

impl PartialEq for Proxy {
    fn eq(&self, other: &Self) -> bool {
        self.shown() == other.shown()
    }
}

impl Eq for Proxy {}

impl Serialize for Proxy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (http, https, no_proxy) = self.shown();
        let mut all = serializer.serialize_struct("Proxy", 3)?;
        all.serialize_field("http", &http)?;
        all.serialize_field("https", &https)?;
        all.serialize_field("no_proxy", &no_proxy)?;
        all.end()
    }
}

/// How a host is made ready.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Preparation {
    /// Where its engine is from, if it has none.
    pub install: Install,
    /// The version of that engine, by its beginning; `None` is the newest that is offered.
    pub version: Option<String>,
    /// The archive for [`Install::Offline`]: static programs, or packages.
    pub bundle: Option<PathBuf>,
    /// SHA-256 of that archive; one with another is refused.
    pub bundle_sha256: Option<String>,
    /// The repository for [`Install::DockerCe`]; `None` is Docker's own.
    pub repository: Option<String>,
    /// The key that signs it, a file of this machine; `None` is fetched from the repository.
    pub repository_key: Option<PathBuf>,
    /// What is laid over the engine's own configuration (`daemon.json`). A key that is null is taken away.
    pub daemon: Map<String, Json>,
    /// What the engine goes through on its way to registries.
    pub proxy: Proxy,
    /// What is done about packet filters.
    pub firewall: Firewall,
    /// Whether the login becomes a member of the group `docker`, which may do as root on the host.
    pub docker_group: bool,
    /// A program of the host's shell that runs before anything else is done there.
    pub before: Option<String>,
    /// The same after everything else, before the host joins.
    pub after: Option<String>,
}

impl Preparation {
    /// Whether there is nothing that could be done.
    pub fn is_nothing(&self) -> bool {
        self.install == Install::None
            && self.daemon.is_empty()
            && self.proxy.is_empty()
            && self.firewall != Firewall::Open
            && !self.docker_group
    }

    /// The repository's address without a slash at its end.
    pub fn repository(&self) -> String {
        self.repository.as_deref().unwrap_or(DOCKER).trim_end_matches('/').to_owned()
    }
}

fn is_default(preparation: &Preparation) -> bool {
    *preparation == Preparation::default()
}

/// For a host of the file: what is as if nothing had been said is left out of what is written.
pub(super) fn is_left_out(preparation: &Preparation) -> bool {
    is_default(preparation)
}

/// A value of the file as JSON has it; a number that JSON does not have is none.
fn json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::Int(i) => Json::from(*i),
        Value::Float(f) => Json::from(*f),
        Value::Text(text) => Json::String(text.clone()),
        Value::List(items) => Json::Array(items.iter().map(json).collect()),
        Value::Map(entries) => Json::Object(entries.iter().map(|e| (e.key.clone(), json(&e.node))).collect()),
    }
}

impl Reader {
    /// `prepare:` below `cluster` or a host; what it does not say is as in `base`.
    pub(super) fn preparation(&mut self, parent: &Fields<'_>, base: &Preparation) -> Preparation {
        let path = join(&parent.path, "prepare");
        let Some(fields) = parent.node("prepare").and_then(|node| self.fields(&path, "prepare", node)) else { return base.clone() };
        let install = self.word(&fields, "install", INSTALLS).map(|word| match word {
            "distro" => Install::Distro,
            "docker-ce" => Install::DockerCe,
            "offline" => Install::Offline,
            _ => Install::None,
        });
        let firewall = self.word(&fields, "firewall", FIREWALLS).map(|word| match word {
            "open" => Firewall::Open,
            "none" => Firewall::None,
            _ => Firewall::Check,
        });
        let version = self.text(&fields, "version");
        let at = |key: &str| fields.node(key).and_then(|n| n.at);
        if let Some(wrong) = version.as_ref().filter(|v| !is_version(v)) {
            self.error(
                fields.path_of("version"),
                at("version"),
                format!("`{wrong}` is no version"),
                "write for example \"28\" or \"28.5.2\"",
            );
        }
        let repository = self.text(&fields, "repository");
        if let Some(wrong) = repository.as_ref().filter(|r| !is_address(r, &["http://", "https://"])) {
            let fix = format!("write the address that has the folders of the distributions in it, such as {DOCKER}");
            self.error(fields.path_of("repository"), at("repository"), format!("`{wrong}` is no address of a repository"), fix);
        }
        let bundle_sha256 = self.text(&fields, "bundle_sha256").map(|sum| sum.to_ascii_lowercase());
        if bundle_sha256.as_ref().is_some_and(|sum| sum.len() != 64 || !sum.chars().all(|c| c.is_ascii_hexdigit())) {
            let fix = "write the 64 digits that `sha256sum` prints";
            self.error(fields.path_of("bundle_sha256"), at("bundle_sha256"), "this is no SHA-256", fix);
        }
        let mut daemon = base.daemon.clone();
        daemon.extend(self.daemon(&fields));
        let hooks = fields.node("hooks").and_then(|node| self.fields(&fields.path_of("hooks"), "hooks", node));
        let mut hook = |key: &str, base: &Option<String>| hooks.as_ref().and_then(|h| self.text(h, key)).or_else(|| base.clone());
        let (before, after) = (hook("before", &base.before), hook("after", &base.after));
        let prepared = Preparation {
            install: install.unwrap_or(base.install),
            version: version.or_else(|| base.version.clone()),
            bundle: self.text(&fields, "bundle").map(PathBuf::from).or_else(|| base.bundle.clone()),
            bundle_sha256: bundle_sha256.or_else(|| base.bundle_sha256.clone()),
            repository: repository.or_else(|| base.repository.clone()),
            repository_key: self.text(&fields, "repository_key").map(PathBuf::from).or_else(|| base.repository_key.clone()),
            daemon,
            proxy: self.proxy(&fields, &base.proxy),
            firewall: firewall.unwrap_or(base.firewall),
            docker_group: self.boolean(&fields, "docker_group").unwrap_or(base.docker_group),
            before,
            after,
        };
        self.fits(&fields, &prepared);
        prepared
    }

    /// What of it does not go together.
    fn fits(&mut self, fields: &Fields<'_>, of: &Preparation) {
        if of.install == Install::Offline && of.bundle.is_none() {
            let fix = "set `bundle` to an archive (.tgz) of Docker's static programs, or of packages";
            self.error(fields.path_of("bundle"), fields.node("install").and_then(|n| n.at), "`install: offline` has nothing to send", fix);
        }
        let only = [
            ("bundle", of.install == Install::Offline, "it is for `install: offline`"),
            ("bundle_sha256", of.install == Install::Offline, "it is for `install: offline`"),
            ("repository", of.install == Install::DockerCe, "it is for `install: docker-ce`"),
            ("repository_key", of.install == Install::DockerCe, "it is for `install: docker-ce`"),
            ("version", of.install != Install::None, "no engine is installed without `install`"),
        ];
        for (key, counts, why) in only {
            if let Some(node) = fields.node(key).filter(|_| !counts) {
                let message = format!("this key changes nothing: {why}");
                self.push(Severity::Warning, fields.path_of(key), node.at, message, "remove it, or change `install`".into());
            }
        }
        let open = of.install == Install::DockerCe && of.repository_key.is_none() && of.repository().starts_with("http://");
        if let Some(node) = fields.node("repository").filter(|_| open) {
            let message = "the key that signs it is fetched over http: whoever is on the way can put another one in its place";
            let fix = "write https://…, or name a file with the key in `repository_key`";
            self.push(Severity::Warning, fields.path_of("repository"), node.at, message.into(), fix.into());
        }
    }

    fn daemon(&mut self, fields: &Fields<'_>) -> Map<String, Json> {
        let Some(node) = fields.node("daemon") else { return Map::new() };
        let Value::Map(entries) = &node.value else {
            let message = format!("this is {}", node.value.kind());
            self.error(fields.path_of("daemon"), node.at, message, "write a mapping with keys of the engine's daemon.json");
            return Map::new();
        };
        for entry in entries {
            let path = join(&fields.path_of("daemon"), &entry.key);
            match (entry.key.as_str(), &entry.node.value) {
                // moby daemon/config: both exclude swarm mode.
                ("live-restore", Value::Bool(true)) => {
                    self.error(path, entry.at, "an engine with live-restore cannot be in a swarm", "remove it, or set it to false");
                }
                ("hosts", _) => {
                    let message = "packages start the engine with a socket already, and it does not start with both";
                    self.error(path, entry.at, message, "remove it; `engine` of a host says where its engine listens");
                }
                _ => {}
            }
        }
        entries.iter().map(|e| (e.key.clone(), json(&e.node))).collect()
    }

    fn proxy(&mut self, fields: &Fields<'_>, base: &Proxy) -> Proxy {
        let Some(proxy) = fields.node("proxy").and_then(|node| self.fields(&fields.path_of("proxy"), "proxy", node)) else {
            return base.clone();
        };
        let mut address = |key: &str, base: &Option<Secret>| {
            let given = self.text(&proxy, key);
            // The value is not shown: it may hold a password.
            if given.as_ref().is_some_and(|a| !is_address(a, &["http://", "https://", "socks5://"])) {
                let at = proxy.node(key).and_then(|n| n.at);
                self.error(proxy.path_of(key), at, "this is no address of a proxy", "write for example http://proxy.example.org:3128");
            }
            given.map(Secret::new).or_else(|| base.clone())
        };
        let (http, https) = (address("http", &base.http), address("https", &base.https));
        let no_proxy: Vec<String> = self.texts(&proxy, "no_proxy").into_iter().map(|(text, _)| text).collect();
        if no_proxy.iter().any(|text| text.contains(['\n', '"', '\''])) {
            let at = proxy.node("no_proxy").and_then(|n| n.at);
            self.error(proxy.path_of("no_proxy"), at, "a quote or a line end cannot be in it", "write names, addresses and networks");
        }
        let no_proxy = (!no_proxy.is_empty()).then(|| no_proxy.join(",")).or_else(|| base.no_proxy.clone());
        Proxy { http, https, no_proxy }
    }
}

fn is_version(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_alphanumeric() || ".+~-".contains(c))
}

fn is_address(text: &str, schemes: &[&str]) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '`' | '\\' | '$');
    schemes.iter().any(|s| text.strip_prefix(s).is_some_and(|rest| !rest.is_empty())) && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use crate::spec::tree::made::{map, text};
    use crate::spec::{Firewall, Install, Node, Value, read};

    fn cluster(all: Node, one: Node) -> Node {
        let host = |more: Vec<(&'static str, Node)>, address: &str| {
            map([vec![("address", text(address)), ("role", text("manager"))], more].concat())
        };
        let hosts = map(vec![("a", host(vec![("prepare", one)], "10.0.0.1")), ("b", host(vec![], "10.0.0.2"))]);
        map(vec![("name", text("x")), ("prepare", all), ("hosts", hosts)])
    }

    fn wrong(all: Vec<(&str, Node)>) -> String {
        let problems = read(&cluster(map(all), map(vec![]))).unwrap_err();
        problems.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_host_says_single_keys_of_its_own() {
        let all = map(vec![
            ("install", text("distro")),
            ("version", text("28")),
            ("daemon", map(vec![("log-driver", text("local")), ("debug", Node { value: Value::Bool(true), at: None })])),
            ("proxy", map(vec![("https", text("http://me:hunter2@proxy:3128"))])),
        ]);
        let one = map(vec![
            ("install", text("docker-ce")),
            ("firewall", text("open")),
            ("daemon", map(vec![("debug", Node { value: Value::Null, at: None })])),
            ("hooks", map(vec![("before", text("true"))])),
        ]);
        let spec = read(&cluster(all, one)).unwrap().spec;
        let (a, b) = (&spec.host(&"a".into()).unwrap().prepare, &spec.host(&"b".into()).unwrap().prepare);
        assert_eq!((a.install, a.version.as_deref(), a.firewall), (Install::DockerCe, Some("28"), Firewall::Open));
        assert_eq!((b.install, b.firewall, b.before.as_deref()), (Install::Distro, Firewall::Check, None));
        assert_eq!(
            (a.before.as_deref(), a.daemon["log-driver"].as_str(), a.daemon["debug"].is_null()),
            (Some("true"), Some("local"), true)
        );
        assert_eq!(b.daemon["debug"], true);
        // The password is in nothing that is shown or written down.
        let shown = format!("{a:?}{}", serde_json::to_string(&spec).unwrap());
        assert!(!shown.contains("hunter2") && a.proxy == b.proxy, "{shown}");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_at_its_place() {
        let yes = Node { value: Value::Bool(true), at: None };
        assert!(wrong(vec![("install", text("offline"))]).contains("prepare.bundle: `install: offline` has nothing to send"));
        assert!(wrong(vec![("install", text("distr"))]).contains("did you mean `distro`?"));
        let firewall = wrong(vec![("firewall", yes.clone())]);
        assert!(firewall.contains("prepare.firewall: this is true or false") && firewall.contains("it can be "), "{firewall}");
        assert!(
            wrong(vec![("daemon", map(vec![("live-restore", yes)]))]).contains("prepare.daemon.live-restore: an engine with live-restore")
        );
        assert!(wrong(vec![("install", text("distro")), ("version", text("$(x)"))]).contains("is no version"));
        let number = Node { value: Value::Float(20.1), at: None };
        assert!(wrong(vec![("install", text("distro")), ("version", number)]).contains("put it in quotes"));
        let proxy = wrong(vec![("proxy", map(vec![("https", text("me:hunter2@proxy"))]))]);
        assert!(proxy.contains("prepare.proxy.https: this is no address of a proxy") && !proxy.contains("hunter2"), "{proxy}");
        let useless = read(&cluster(map(vec![("bundle", text("x.tgz"))]), map(vec![]))).unwrap().warnings;
        assert!(useless.iter().any(|w| w.path == "prepare.bundle"), "{useless:?}");
        let warned = |more: Vec<(&str, Node)>| {
            let all = [vec![("install", text("docker-ce")), ("repository", text("http://mirror/linux"))], more].concat();
            read(&cluster(map(all), map(vec![]))).unwrap().warnings.iter().any(|w| w.message.contains("fetched over http"))
        };
        assert!(warned(vec![]) && !warned(vec![("repository_key", text("docker.asc"))]));
    }
}
