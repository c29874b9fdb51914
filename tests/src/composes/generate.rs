//! Compose files from the schema: every key in every form, with values that matter, and in half of the files one thing that is odd.

use super::schema::resolved;
use super::yaml::Yaml;
use fastrand::Rng;
use serde_json::Value;
use std::collections::BTreeMap;

/// A generated file.
#[derive(Debug, Clone)]
pub struct Made {
    /// Its content.
    pub tree: Yaml,
    /// Variables that it needs.
    pub variables: Vec<(String, String)>,
    /// The places of the schema that it sets.
    pub places: Vec<String>,
    /// The place where it is odd.
    pub odd: Option<String>,
}

/// Makes files; places that were set seldom come more often.
pub struct Generator<'a> {
    schema: &'a Value,
    rng: Rng,
    seen: BTreeMap<String, u32>,
    made: Made,
    /// How many leaves are left until the odd one; `None` in a file without one.
    until_odd: Option<u32>,
    /// Whether the odd one is a text that is nearly right.
    odd_text: bool,
    with_variables: bool,
    /// How likely a key is set that was set often enough, in percent.
    density: u32,
}

/// Values by the end of their place. The last column is for odd ones.
const VALUES: &[(&str, &[&str])] = &[
    (
        ".image",
        &[
            "busybox",
            "busybox:1.36",
            "localhost:5000/a/b:x",
            "ghcr.io/org/app",
            "busybox@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        ],
    ),
    (".command|0", &["sleep 1000", "sh -c 'echo \"a b\" # c'", "echo a\\ b", ""]),
    (".entrypoint|0", &["/bin/sh -c", "run 'x y'"]),
    (".environment|0.*", &["a", "", "b c", "x=y", "a # b"]),
    (".environment|1[]", &["A=1", "B=", "HOST_SET", "NOT_SET", "C=x=y", "D=a b"]),
    (".labels|1[]", &["a=b", "c", "d=", "e=f=g"]),
    (".env_file|0", &["files/app.env", "files/more.env"]),
    (".env_file|1[]", &["files/app.env", "files/more.env"]),
    ("ports[]|0", &["80", "8080"]),
    (
        "ports[]|1",
        &[
            "80",
            "8080:80",
            "9000-9002:90-92/udp",
            "127.0.0.1:8001:8001",
            "53:53/udp",
            "7000-7003:70",
            "3000-3002",
            "[::1]:81:81",
            "443:443/TCP",
            "0.0.0.0:82-83:82-83",
            "99:99/sctp",
        ],
    ),
    ("ports[]|2.mode", &["ingress", "host"]),
    ("ports[]|2.protocol", &["tcp", "udp", "sctp"]),
    ("ports[]|2.target", &["80", "443", "65535"]),
    ("ports[]|2.published", &["8080", "8443", "0"]),
    (
        "volumes[]|0",
        &[
            "data:/data",
            "cache:/cache:ro",
            "/etc:/host",
            "./files:/files:ro",
            "/anonymous",
            "~/x:/home",
            "data:/d:nocopy",
            "/a:/b:rslave,ro",
            "../up:/up",
            "data:/z:z",
            "data:/data2:rw",
            "named:/n",
        ],
    ),
    ("volumes[]|1.type", &["volume", "bind", "tmpfs"]),
    ("volumes[]|1.source", &["data", "cache", "/srv", "./files", ""]),
    ("volumes[]|1.target", &["/t1", "/t2", "/t3"]),
    (".consistency", &["consistent", "cached", "delegated"]),
    (".propagation", &["rprivate", "rshared", "slave"]),
    ("tmpfs.size", &["65536", "0", "1048576"]),
    (".networks|0[]", &["front", "back", "default"]),
    (".networks|1.*", &[]),
    (".aliases[]", &["db", "store", "web"]),
    (".cap_add[]", &["NET_ADMIN", "cap_sys_time", "ALL", "chown"]),
    (".cap_drop[]", &["ALL", "NET_ADMIN", "chown", "mknod"]),
    (".dns|0", &["10.0.0.53"]),
    ("dns|1[]", &["10.0.0.53", "8.8.8.8"]),
    (".dns_search|0", &["example.org"]),
    ("dns_search|1[]", &["example.org", "dc1.example.org"]),
    (".extra_hosts|0.*", &["10.0.0.1", "2001:db8::1", "[::1]"]),
    (".extra_hosts|1[]", &["db:10.0.0.9", "v6:2001:db8::1", "b=10.1.1.1", "c=[::1]", "nothing"]),
    (".isolation", &["default", "process"]),
    (".stop_signal", &["SIGINT", "15"]),
    (".user", &["1000:1000", "root"]),
    (".working_dir", &["/tmp", "/srv/app"]),
    (".restart", &["no", "always", "on-failure", "on-failure:3", "unless-stopped"]),
    (".condition", &["none", "on-failure", "any"]),
    (".failure_action", &["pause", "continue"]),
    (".order", &["start-first", "stop-first"]),
    (".max_failure_ratio", &["0.25", "0", "1"]),
    (".parallelism", &["0", "1", "3"]),
    ("deploy.mode", &["replicated", "global", "replicated-job", "global-job"]),
    (".endpoint_mode", &["vip", "dnsrr"]),
    (".replicas", &["0", "1", "5"]),
    (".max_replicas_per_node", &["0", "2"]),
    (".max_attempts", &["0", "4"]),
    (".cpus", &["0.5", "2", ".25", "0.001"]),
    (".memory", &["64M", "1g", "1.5gb", "512k", "1048576", "100 MB"]),
    (".pids", &["10", "0", "-1"]),
    ("discrete_resource_spec.kind", &["gpu", "ssd"]),
    ("discrete_resource_spec.value", &["1", "4"]),
    (".constraints[]", &["node.role == worker", "node.labels.zone!=a", "node.platform.os == linux"]),
    (".spread", &["node.labels.zone", "node.labels.rack"]),
    ("healthcheck.test|0", &["true || exit 1", "wget -q -O- http://localhost"]),
    ("healthcheck.test|1[]", &["CMD", "CMD-SHELL", "NONE", "true"]),
    (".retries", &["3", "0", "1"]),
    ("logging.driver", &["json-file", "syslog"]),
    ("sysctls|0.*", &["1024", "0"]),
    ("sysctls|1[]", &["net.core.somaxconn=1024", "net.ipv4.ip_forward"]),
    (".secrets[]|0", &["key", "cert", "outer"]),
    (".secrets[]|1.source", &["key", "cert", "outer"]),
    (".configs[]|0", &["conf", "motd", "outside"]),
    (".configs[]|1.source", &["conf", "motd", "outside"]),
    ("[]|1.target", &["/etc/x", "name"]),
    (".uid", &["0", "1000"]),
    (".gid", &["0", "1000"]),
    ("s[]|1.mode", &["0440", "292", "0"]),
    (".credential_spec.file", &["spec.json"]),
    (".credential_spec.registry", &["spec"]),
    (".credential_spec.config", &["conf", "motd"]),
    (".depends_on[]", &["web", "api"]),
    ("networks.*.driver", &["overlay", "bridge"]),
    ("volumes.*.driver", &["local", "nfs"]),
    ("secrets.*.driver", &["vault"]),
    (".template_driver", &["golang"]),
    ("secrets.*.file", &["files/one.txt", "./files/two.txt"]),
    ("configs.*.file", &["files/one.txt", "./files/two.txt"]),
    (".subnet", &["10.77.0.0/24", "10.78.0.0/16"]),
    ("ipam.driver", &["default"]),
    (".external.name", &["outer", "outside"]),
    ("networks.*.name", &["outer", "outside", "own"]),
    ("volumes.*.name", &["vol-1", "vol-2"]),
    ("secrets.*.name", &["outer", "outside", "own"]),
    ("configs.*.name", &["outer", "outside", "own"]),
    ("ulimits.*|0", &["1024", "-1", "65535"]),
    (".soft", &["10", "1024"]),
    (".hard", &["2048", "65535"]),
    (".scope", &["single", "multi"]),
    (".sharing", &["none", "all", "onewriter", "readonly"]),
    ("x-cluster-spec.availability", &["active", "pause", "drain"]),
    ("_bytes", &["1G", "100m", "1024"]),
    ("version", &["3.13", "3.13", "3.13", "3.13", "3.13", "3", "3", "3", "3.13", "3.13", "3.12", "3.9", "3.5", "3.2", "3.0"]),
];

/// Names of the entries of a mapping whose keys are free, by the end of its place.
const NAMES: &[(&str, &[&str])] = &[
    ("services", &["web", "api", "db_main", "job-1"]),
    ("services.*.networks|1", &["front", "back", "default"]),
    ("networks", &["front", "back", "default"]),
    ("volumes", &["data", "cache", "named"]),
    ("secrets", &["key", "cert", "outer"]),
    ("configs", &["conf", "motd", "outside"]),
    ("ulimits", &["nofile", "nproc", "core"]),
    ("environment|0", &["A", "B", "HOST_SET", "NOT_SET", "lower"]),
    ("sysctls|0", &["net.core.somaxconn", "net.ipv4.ip_forward"]),
    ("extra_hosts|0", &["db", "v6"]),
    ("driver_opts", &["encrypted", "size", "com.docker.network.driver.mtu"]),
];

/// The value of a variable that is not set.
pub const UNSET: &str = "\u{0}";

const ALPHABET: &[char] = &[
    'a', 'Z', '0', '7', '9', '-', '+', '.', ':', '/', '=', ',', ' ', '$', '{', '}', '"', '\'', '\\', '#', '~', '[', ']', '%', 'é', 's',
    'm', 'G', 'B',
];

const ODD: &[&str] = &[
    "~",
    "yes",
    "true",
    "'true'",
    "5",
    "'5'",
    "1.5",
    "-1",
    "0x1F",
    "0o17",
    "017",
    "1e3",
    ".5",
    "1_000",
    "''",
    "[]",
    "{}",
    "[a]",
    "{a: b}",
    "[[a]]",
    "[1]",
    "[~]",
    "2001-01-01",
    "12:30:45",
    "text",
    "' '",
    "a b",
    ".inf",
    "+3",
    "99999999999999999999",
    "'10'",
    "10s",
    "-5s",
    "'$$x'",
    "${NOT_SET}",
    "${NOT_SET:-5}",
    "${HOST_SET}",
    "!!str 5",
    "\"\\u00e9\"",
    "|\n          block\n",
];

/// A text with one to three characters more, less or others.
pub fn mutated(rng: &mut Rng, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..rng.u32(1..4) {
        let other = *ALPHABET.get(rng.usize(0..ALPHABET.len())).unwrap();
        let at = rng.usize(0..=chars.len());
        match rng.u32(0..3) {
            0 => chars.insert(at, other),
            1 if at < chars.len() => *chars.get_mut(at).unwrap() = other,
            _ if at < chars.len() => {
                chars.remove(at);
            }
            _ => {}
        }
    }
    chars.into_iter().collect()
}

impl<'a> Generator<'a> {
    /// A generator of the files of this seed.
    pub fn new(schema: &'a Value, seed: u64) -> Self {
        let made = Made { tree: Yaml::Null, variables: Vec::new(), places: Vec::new(), odd: None };
        Self {
            schema,
            rng: Rng::with_seed(seed),
            seen: BTreeMap::new(),
            made,
            until_odd: None,
            odd_text: false,
            with_variables: false,
            density: 20,
        }
    }

    /// The next file.
    pub fn file(&mut self, odd: bool) -> Made {
        self.made = Made { tree: Yaml::Null, variables: Vec::new(), places: Vec::new(), odd: None };
        self.odd_text = self.rng.u32(0..3) > 0;
        self.until_odd = odd.then(|| self.rng.u32(0..60));
        self.with_variables = self.rng.u32(0..3) == 0;
        self.density = [6, 12, 25].get(self.rng.usize(0..3)).copied().unwrap();
        let tree = self.node(self.schema, "");
        let mut made = std::mem::replace(&mut self.made, Made { tree: Yaml::Null, variables: Vec::new(), places: Vec::new(), odd: None });
        made.tree = tree;
        made
    }

    /// Notes that both clients took a file.
    pub fn taken(&mut self, made: &Made) {
        for place in &made.places {
            *self.seen.entry(place.clone()).or_default() += 1;
        }
    }

    /// How often each place was set in a file that both took.
    pub fn seen(&self, place: &str) -> u32 {
        self.seen.get(place).copied().unwrap_or(0)
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.u32(0..100) < percent
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from.get(self.rng.usize(0..from.len())).copied().unwrap()
    }

    fn node(&mut self, node: &Value, path: &str) -> Yaml {
        let node = resolved(self.schema, node);
        if !path.is_empty() {
            let near = values(path).filter(|values| !values.is_empty());
            match self.until_odd {
                Some(_) if self.odd_text && near.is_none() => {}
                Some(0) => {
                    self.until_odd = None;
                    self.made.odd = Some(path.to_owned());
                    return match near.filter(|_| self.odd_text) {
                        Some(values) => {
                            let text = self.pick(values).to_owned();
                            Yaml::Text(mutated(&mut self.rng, &text))
                        }
                        None => Yaml::Raw(self.pick(ODD).to_owned()),
                    };
                }
                Some(left) => self.until_odd = Some(left - 1),
                None => {}
            }
            self.made.places.push(path.to_owned());
        }
        if let Some(forms) = node.get("oneOf").and_then(Value::as_array) {
            let seldom = (0..forms.len()).min_by_key(|index| self.seen(&format!("{path}|{index}"))).unwrap();
            let index = if self.chance(30) { seldom } else { self.rng.usize(0..forms.len()) };
            return self.node(forms.get(index).unwrap(), &format!("{path}|{index}"));
        }
        let kind = match node.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            // A number is in the schema, and is refused later, or becomes nonsense.
            Some(Value::Array(_)) if path.ends_with(".shm_size") || path.ends_with("extra_hosts|0.*") => "string",
            Some(Value::Array(kinds)) => kinds.get(self.rng.usize(0..kinds.len())).and_then(Value::as_str).unwrap(),
            _ => "string",
        };
        match kind {
            "object" => self.map(node, path),
            "array" => self.list(node, path),
            "boolean" => {
                let yes = self.rng.bool();
                self.leaf(Yaml::Bool(yes), path)
            }
            "null" => Yaml::Null,
            "integer" | "number" => {
                let text = values(path).map_or("7", |values| self.pick(values)).to_owned();
                let number = text.starts_with(|c: char| c.is_ascii_digit() || c == '-') && text.parse::<f64>().is_ok();
                self.leaf(Yaml::Raw(if number { text } else { "7".into() }), path)
            }
            _ => {
                let duration = node.get("format").and_then(Value::as_str) == Some("duration");
                let text = match values(path) {
                    Some(values) if !values.is_empty() => self.pick(values),
                    _ if duration => self.pick(&["10s", "1m30s", "500ms", "0s", "1.5h", "2h45m", "1us"]),
                    _ => self.pick(&["abc", "x-y", "Some Text", "a/b"]),
                };
                let text = Yaml::text(text);
                self.leaf(text, path)
            }
        }
    }

    /// A value, or a variable that has it.
    fn leaf(&mut self, value: Yaml, path: &str) -> Yaml {
        if !self.with_variables || path == "version" || !self.chance(8) {
            return value;
        }
        let text = match &value {
            Yaml::Bool(yes) => yes.to_string(),
            Yaml::Raw(text) | Yaml::Text(text) => text.clone(),
            _ => return value,
        };
        let name = format!("V{}", self.made.variables.len());
        let simple = text.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c)) && !text.is_empty();
        let (set, form) = match self.rng.u32(0..5) {
            0 if simple => (None, format!("${{{name}:-{text}}}")),
            1 if simple => (None, format!("${{{name}-{text}}}")),
            2 => (Some(text), format!("${name}")),
            3 if !text.is_empty() => (Some(text), format!("${{{name}:?must be set}}")),
            _ => (Some(text), format!("${{{name}}}")),
        };
        // The number of a name that is left out stays taken.
        self.made.variables.push((name, set.unwrap_or_else(|| UNSET.to_owned())));
        Yaml::Text(form)
    }

    fn map(&mut self, node: &Value, path: &str) -> Yaml {
        let mut entries: Vec<(String, Yaml)> = Vec::new();
        let dot = if path.is_empty() { "" } else { "." };
        let required: Vec<&str> = node.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let mut properties: Vec<(String, Value)> =
            node.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
        self.rng.shuffle(&mut properties);
        for (key, value) in properties {
            let at = format!("{path}{dot}{key}");
            let seldom = self.seen(&at) < 3;
            let needed = required.contains(&key.as_str()) || needed(&at);
            let wanted = match depth(&at) {
                0 => self.chance(80),
                1 => self.chance(if seldom { 20 } else { self.density }),
                _ => self.chance(if seldom { 60 } else { 40 }),
            };
            if needed || wanted {
                let value = self.node(&value, &at);
                entries.push((key, value));
            }
        }
        let at = format!("{path}{dot}*");
        for (pattern, value) in node.get("patternProperties").and_then(Value::as_object).into_iter().flatten() {
            if pattern == "^x-" {
                if self.chance(4) {
                    entries.push(("x-own".into(), Yaml::Map(vec![("any".into(), Yaml::List(vec![Yaml::Int(1)]))])));
                }
                continue;
            }
            let names = NAMES.iter().find(|(end, _)| path.ends_with(end)).map_or(&["a", "b.c", "d-e"][..], |(_, names)| names);
            // What services refer to is there.
            let all = matches!(path, "networks" | "volumes" | "secrets" | "configs");
            for name in names {
                if all || self.chance(45) {
                    let value = self.node(value, &at);
                    entries.push(((*name).to_owned(), value));
                }
            }
        }
        if path == "networks" || path == "volumes" || path == "secrets" || path == "configs" {
            entries.iter_mut().for_each(|(name, value)| make_sound(path, name, value));
        }
        if self.until_odd == Some(0) && self.chance(20) {
            self.until_odd = None;
            self.made.odd = Some(format!("{path}{dot}another"));
            entries.push(("another".into(), Yaml::Int(1)));
        }
        if path == "services.*" {
            service(&mut entries);
        }
        if path.ends_with("volumes[]|1") {
            mount(&mut entries);
        }
        if path.ends_with("credential_spec") {
            entries.truncate(1);
        }
        if path.ends_with(".deploy") {
            let global = entries.iter().any(|(key, value)| key == "mode" && matches!(value, Yaml::Text(t) if t.starts_with("global")));
            let variable = entries.iter().any(|(key, value)| key == "mode" && matches!(value, Yaml::Text(t) if t.starts_with('$')));
            entries.retain(|(key, _)| key != "replicas" || !(global || variable));
        }
        if path.ends_with("healthcheck") {
            let disabled = entries.iter().any(|(key, value)| key == "disable" && *value != Yaml::Bool(false));
            entries.retain(|(key, _)| key != "test" || !disabled);
        }
        Yaml::Map(entries)
    }

    fn list(&mut self, node: &Value, path: &str) -> Yaml {
        let count = [0, 1, 1, 2, 2, 3].get(self.rng.usize(0..6)).copied().unwrap();
        let unique = node.get("uniqueItems").and_then(Value::as_bool).unwrap_or(false);
        let mut items: Vec<Yaml> = Vec::new();
        let Some(of) = node.get("items") else { return Yaml::List(items) };
        let variables = self.with_variables;
        // Two variables may have the same value.
        self.with_variables &= !unique || path.ends_with("ports");
        for _ in 0..count {
            let item = self.node(of, &format!("{path}[]"));
            if !unique || !items.contains(&item) {
                items.push(item);
            }
        }
        self.with_variables = variables;
        Yaml::List(items)
    }
}

fn depth(path: &str) -> usize {
    path.matches('.').count().saturating_sub(usize::from(path.contains(".*"))).min(2)
}

fn values(path: &str) -> Option<&'static [&'static str]> {
    VALUES.iter().find(|(end, _)| path.ends_with(end)).map(|(_, values)| *values)
}

/// Keys without which there is nothing to compare.
fn needed(path: &str) -> bool {
    ["services", "networks", "volumes", "secrets", "configs"].contains(&path)
        || ["services.*.image", "secrets.*.file", "configs.*.file", "volumes[]|1.target", "[]|1.source", "ports[]|2.target"]
            .iter()
            .any(|end| path.ends_with(end))
}

/// A top-level object whose keys do not contradict one another.
fn make_sound(kind: &str, name: &str, value: &mut Yaml) {
    let Yaml::Map(entries) = value else { return };
    let yes = |value: &Yaml| matches!(value, Yaml::Bool(true) | Yaml::Map(_) | Yaml::Text(_));
    let external = entries.iter().any(|(key, value)| key == "external" && yes(value));
    let by_mapping = entries.iter().any(|(key, value)| key == "external" && matches!(value, Yaml::Map(_)));
    if external {
        entries.retain(|(key, _)| key == "external" || if key == "name" { !by_mapping } else { kind != "volumes" });
        let named = matches!(name, "outer" | "outside");
        if kind != "volumes" && !by_mapping && !named && !entries.iter().any(|(key, _)| key == "name") {
            entries.push(("name".into(), Yaml::text("outer")));
        }
        entries.iter_mut().filter(|(key, _)| key == "name" && kind != "volumes").for_each(|(_, value)| *value = Yaml::text("outside"));
        if let Some(Yaml::Map(inner)) = entries.iter_mut().find(|(key, _)| key == "external").map(|(_, value)| value)
            && inner.is_empty()
        {
            inner.push(("name".into(), Yaml::text("outer")));
        }
    } else if kind == "secrets" && entries.iter().any(|(key, _)| key == "driver") {
        entries.retain(|(key, _)| key != "file");
    }
    if !external {
        // Two objects of one name are no case for this comparison.
        entries.iter_mut().filter(|(key, _)| key == "name").for_each(|(_, value)| *value = Yaml::text(&format!("own-{name}")));
    }
}

/// A service whose keys do not contradict one another.
fn service(entries: &mut [(String, Yaml)]) {
    // Each network, secret and config once.
    for (_, value) in entries.iter_mut().filter(|(key, _)| matches!(key.as_str(), "secrets" | "configs")) {
        let Yaml::List(items) = value else { continue };
        let mut names: Vec<String> = Vec::new();
        items.retain(|item| {
            let name = match item {
                Yaml::Map(_) => format!("{:?}", item.get("target").or(item.get("source"))),
                other => format!("{:?}", Some(other)),
            };
            let new = !names.contains(&name);
            names.push(name);
            new
        });
    }
}

/// A mount whose keys go together.
fn mount(entries: &mut Vec<(String, Yaml)>) {
    let kind = entries.iter().find(|(key, _)| key == "type").map(|(_, value)| value.clone());
    let Some(Yaml::Text(kind)) = kind.filter(|kind| !matches!(kind, Yaml::Text(t) if t.starts_with('$'))) else { return };
    let others = ["bind", "volume", "tmpfs"];
    entries.retain(|(key, _)| !others.contains(&key.as_str()) || *key == kind);
    for (key, value) in entries.iter_mut().filter(|(key, _)| key == "source") {
        debug_assert_eq!(key, "source");
        if kind == "volume" {
            *value = Yaml::text("data");
        } else if *value != Yaml::text("./files") {
            *value = Yaml::text("/srv");
        }
    }
    if kind == "tmpfs" {
        entries.retain(|(key, _)| key != "source");
    }
}
