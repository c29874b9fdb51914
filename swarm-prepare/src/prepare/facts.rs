//! What a host is like before it is made ready.

use super::argv;
use base64::Engine as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;
use swarm_core::ClusterSpec;
use swarm_core::fleet::Fleet;
use swarm_core::host::Command;
use swarm_core::id::HostName;
use swarm_core::secret::clean;
use swarm_core::spec::HostSpec;

/// How long a host may take to say it.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the hosts said, by host; an error is a text for people. Hosts that nothing is wanted on were not asked.
pub type Looked = BTreeMap<HostName, Result<Ready, String>>;

/// What one host said.
#[derive(Debug, Clone, PartialEq)]
pub struct Ready {
    /// The user that the script ran as.
    pub uid: u32,
    /// The user that was logged in to; empty where that is not known.
    pub login: String,
    /// Whether that one is in the group `docker`.
    pub in_group: bool,
    /// The system: its name, its version, its release's name and its variant, as `os-release` has them; `-` where it does not.
    pub os: [String; 4],
    /// Whether nothing can be installed on it: the system is replaced as a whole.
    pub immutable: bool,
    /// Its package manager: `apt`, `dnf`, `zypper`, `apk` or `none`.
    pub packages: String,
    /// Its service manager: `systemd`, `openrc`, `sysv` or `none`.
    pub services: String,
    /// The version of the engine that is installed.
    pub engine: Option<String>,
    /// Whether that engine runs.
    pub running: bool,
    /// Whether an installation of ours was begun and did not end.
    pub installing: bool,
    /// Whether an engine there was in a swarm, as its data says.
    pub state: bool,
    /// The digest of the engine's configuration; `none` where there is none.
    pub config: String,
    /// That configuration; an error where it is none.
    pub daemon: Result<Map<String, Value>, String>,
    /// The digest of the proxy's lines that an earlier run wrote.
    pub proxy: Option<String>,
    /// Chains of the packet filter that an earlier run made and that are in force, each with the digest of its rules.
    pub firewall: BTreeMap<String, String>,
    /// Whether an earlier run did something there.
    pub prepared: bool,
}

impl Default for Ready {
    fn default() -> Self {
        Self {
            uid: 0,
            login: String::new(),
            in_group: false,
            os: Default::default(),
            immutable: false,
            packages: String::new(),
            services: String::new(),
            engine: None,
            running: false,
            installing: false,
            state: false,
            config: "none".into(),
            daemon: Ok(Map::new()),
            proxy: None,
            firewall: BTreeMap::new(),
            prepared: false,
        }
    }
}

/// Reads what the script printed.
///
/// # Errors
/// A text for people, if it is not whole.
pub fn parse_ready(output: &str) -> Result<Ready, String> {
    let mut ready = Ready::default();
    let mut lines = output.lines().map(str::trim_end).skip_while(|line| *line != "swarm-prepare-begin").skip(1);
    loop {
        let Some(line) = lines.next() else { return Err("the host's answer is not whole".into()) };
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["swarm-prepare-end"] => return Ok(ready),
            ["os", id, version, codename, variant] => ready.os = [*id, *version, *codename, *variant].map(str::to_owned),
            ["uid", uid] => ready.uid = uid.parse().map_err(|_| "its user is not known".to_owned())?,
            ["login", name] => ready.login = (*name).to_owned(),
            ["in-group"] => ready.in_group = true,
            ["immutable"] => ready.immutable = true,
            ["packages", name] => ready.packages = (*name).to_owned(),
            ["services", name] => ready.services = (*name).to_owned(),
            ["engine", version] => ready.engine = Some((*version).to_owned()),
            ["running"] => ready.running = true,
            ["installing"] => ready.installing = true,
            ["state"] => ready.state = true,
            ["config", digest] => ready.config = (*digest).to_owned(),
            ["json"] => ready.daemon = Ok(Map::new()),
            ["json", text] => ready.daemon = configuration(text),
            ["proxy", digest] => ready.proxy = Some((*digest).to_owned()),
            ["firewall", chain, digest] => {
                ready.firewall.insert((*chain).to_owned(), (*digest).to_owned());
            }
            ["prepared"] => ready.prepared = true,
            _ => {}
        }
    }
}

fn configuration(text: &str) -> Result<Map<String, Value>, String> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|e| e.to_string())?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    serde_json::from_slice(&bytes).map_err(|e| e.to_string())
}

impl Ready {
    /// The system that is replaced as a whole, by its name.
    pub fn replaced_as_a_whole(&self) -> Option<&str> {
        let [id, _, _, variant] = &self.os;
        (self.immutable || id == "flatcar" || variant == "coreos").then_some(id.as_str())
    }
}

/// Asks the hosts on which the file wants something done, as many at a time as its policy says.
pub async fn look(spec: &ClusterSpec, fleet: &dyn Fleet) -> Looked {
    let hosts = spec.hosts().filter(|h| !h.absent && !h.prepare.is_nothing());
    let looks = hosts.map(|host| -> BoxFuture<'_, _> { Box::pin(async move { (host.name.clone(), ask(host, fleet).await) }) });
    stream::iter(looks.collect::<Vec<_>>()).buffer_unordered(spec.policy().concurrency).collect().await
}

async fn ask(host: &HostSpec, fleet: &dyn Fleet) -> Result<Ready, String> {
    let machine = fleet.visit(host).await.map_err(|e| e.message)?;
    let command = Command { elevated: true, timeout: PATIENCE, ..Command::new(argv(["look"])) };
    let ran = machine.run(&command).await.map_err(|e| e.to_string())?;
    match ran.status {
        Some(0) => parse_ready(&String::from_utf8_lossy(&ran.stdout)),
        _ => Err(format!("it could not be looked at: {}", clean(&String::from_utf8_lossy(&ran.stderr), 300))),
    }
}
