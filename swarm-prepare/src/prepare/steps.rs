//! What is left to do on hosts: pure, from the file, what hosts said, and what is known of their engines.

use super::content::{Given, chain, configuration, digest, proxy_lines, rules};
use super::facts::{Looked, Ready};
use super::work::{Data, Does};
use crate::upgrade::is_version;
use serde_json::Map;
use std::collections::BTreeMap;
use std::fmt;
use swarm_core::ClusterSpec;
use swarm_core::id::{DaemonId, HostName, StepId};
use swarm_core::machine::Ask;
use swarm_core::observe::{EngineFacts, HostState, Observed};
use swarm_core::plan::{Refusal, Risk, Step};
use swarm_core::spec::{Firewall, HostSpec, Install};

/// What is allowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether an engine may be restarted under running containers.
    pub allow_restart: bool,
    /// Whether encrypted networks are wanted.
    pub encrypted: bool,
}

/// What is left to do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wanted {
    /// The steps of each host, each needing the one before it.
    pub steps: BTreeMap<HostName, Vec<Step>>,
    /// What the reader should know.
    pub notes: Vec<String>,
    /// What stands against it.
    pub refusals: Vec<Refusal>,
}

/// The word that the script has for it.
fn word(install: Install) -> &'static str {
    match install {
        Install::None => "none",
        Install::Distro => "distro",
        Install::DockerCe => "docker-ce",
        Install::Offline => "offline",
    }
}

/// What of an engine's configuration is not what the file wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Keys of the configuration.
    pub keys: Vec<String>,
    /// Whether its proxy is not.
    pub proxy: bool,
}

impl Differences {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.proxy
    }

    /// What brings the engine there.
    fn mends(&self, ready: &Ready, allow_restart: bool) -> Does {
        let from = (!self.keys.is_empty()).then(|| ready.config.clone());
        Does::Configure { from, proxy: self.proxy, allow_restart }
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<&str> = self.keys.iter().map(String::as_str).chain(self.proxy.then_some("its proxy")).collect();
        f.write_str(&all.join(", "))
    }
}

/// Compares the configuration of a host's engine with what the file wants.
///
/// # Errors
/// The configuration cannot be read, and the file wants something of it.
pub fn differences(host: &HostSpec, ready: &Ready) -> Result<Differences, String> {
    let there = match &ready.daemon {
        Ok(there) => there.clone(),
        Err(_) if host.prepare.daemon.is_empty() => Map::new(),
        Err(why) => return Err(format!("its /etc/docker/daemon.json cannot be read as JSON ({why}); mend it first")),
    };
    let wanted = configuration(&there, &host.prepare.daemon);
    let keys = host.prepare.daemon.keys().filter(|key| there.get(*key) != wanted.get(*key)).cloned().collect();
    let proxy = !host.prepare.proxy.is_empty() && ready.proxy != Some(digest(proxy_lines(&host.prepare.proxy).as_bytes()));
    Ok(Differences { keys, proxy })
}

/// The engines that will run on hosts where none does: of a host that holds what an engine left of a swarm nothing is promised.
pub fn promised(spec: &ClusterSpec, looked: &Looked) -> BTreeMap<HostName, EngineFacts> {
    let new = |host: &HostSpec| {
        let version = host.prepare.version.clone().unwrap_or_else(|| "newest".into());
        EngineFacts::outside(DaemonId::new(format!("new engine of {}", host.name)), host.name.as_str(), version)
    };
    let has_none = |host: &&HostSpec| {
        let ready = looked.get(&host.name).and_then(|l| l.as_ref().ok());
        host.prepare.install != Install::None && ready.is_some_and(|ready| !ready.running && !ready.state)
    };
    spec.hosts().filter(has_none).map(|host| (host.name.clone(), new(host))).collect()
}

/// One host's steps while they are collected.
struct OfHost<'a> {
    host: &'a HostSpec,
    ready: &'a Ready,
    steps: Vec<Step>,
}

impl OfHost<'_> {
    fn step(&mut self, does: Does, before: &str, after: String, because: &str, risk: Risk) {
        let mut step = Data { host: self.host.name.clone(), does }.work().step(before, after, because, risk);
        step.needs = self.steps.last().map(|s| s.id.clone()).into_iter().collect();
        self.steps.push(step);
    }

    fn refused(&self, why: impl Into<String>) -> Refusal {
        Refusal::Unfit { host: self.host.name.clone(), why: why.into() }
    }

    /// The engine's configuration and proxy.
    fn configure(&mut self, options: Options, free: bool, running: u64, notes: &mut Vec<String>) -> Result<(), Refusal> {
        let what = differences(self.host, self.ready).map_err(|why| self.refused(why))?;
        if what.is_empty() {
            return Ok(());
        }
        if !free && self.ready.engine.is_some() {
            let name = &self.host.name;
            notes.push(format!("{name}: the configuration of its engine is not what the file wants ({what}); it is in a swarm, so `swarm engine configure {name}` changes it"));
            return Ok(());
        }
        if self.ready.running && running > 0 && !options.allow_restart {
            let why = format!("{running} containers run there, and its engine would be restarted for {what}; --allow-restart allows that");
            return Err(self.refused(why));
        }
        let does = what.mends(self.ready, options.allow_restart);
        let because = match (self.ready.running, running) {
            (true, 0) => "the file says so; the engine is restarted",
            (true, _) => "the file says so; the engine is restarted, and its containers with it",
            (false, _) => "the file says so",
        };
        let risk = if self.ready.running && running > 0 { Risk::Host } else { Risk::None };
        self.step(does, "as it is", format!("{what} from the file"), because, risk);
        Ok(())
    }

    fn install(&mut self, given: &Given) -> Result<(), Refusal> {
        let of = &self.host.prepare;
        let [id, version, ..] = &self.ready.os;
        let system = if id.is_empty() { "its system".to_owned() } else { format!("{id} {version}") };
        if let Some(name) = self.ready.replaced_as_a_whole() {
            let why = format!("{name} is replaced as a whole, and nothing is installed on it; use an image of it that has an engine");
            return Err(self.refused(why));
        }
        if of.install != Install::Offline && !matches!(self.ready.packages.as_str(), "apt" | "dnf" | "zypper" | "apk") {
            let why = format!("{system} has no package manager that is known here (apt, dnf, zypper, apk); use `install: offline`");
            return Err(self.refused(why));
        }
        if self.ready.services == "none" {
            return Err(self.refused("it has no service manager that could start an engine"));
        }
        let bundle = match (of.install, &of.bundle) {
            (Install::Offline, Some(path)) => match given.bundles.get(path) {
                Some(bundle) => bundle.digest.clone(),
                None => return Err(self.refused(format!("{} was not read", path.display()))),
            },
            _ => String::new(),
        };
        let ce = of.install == Install::DockerCe;
        let does = Does::Install {
            from: word(of.install).into(),
            version: if of.install == Install::Offline { String::new() } else { of.version.clone().unwrap_or_default() },
            repository: if ce { of.repository() } else { String::new() },
            key: ce && of.repository_key.is_some(),
            bundle,
        };
        let of_version = of.version.as_ref().map_or("the newest".to_owned(), |v| v.clone());
        let after = match of.install {
            Install::Distro => format!("{of_version} engine that {system} offers"),
            Install::DockerCe => format!("{of_version} engine of {}", of.repository()),
            Install::Offline => format!("the engine of {}", of.bundle.as_ref().map_or(String::new(), |b| b.display().to_string())),
            Install::None => String::new(),
        };
        let (before, because) = match self.ready.installing {
            true => ("an installation that did not end", "a run before was cut off"),
            false => ("no engine", "the file says so"),
        };
        self.step(does, before, after, because, Risk::None);
        Ok(())
    }

    /// The login's group; root needs none.
    fn group(&mut self) {
        let login = self.ready.login.clone();
        if self.host.prepare.docker_group && !self.ready.in_group && !login.is_empty() && login != "root" {
            let before = format!("{login} is not in the group docker");
            self.step(Does::Group { login }, &before, "it is, from its next login on".into(), "the file says so", Risk::None);
        }
    }

    fn firewall(&mut self, spec: &ClusterSpec, options: Options) -> Result<(), Refusal> {
        let rules = rules(spec, self.host, options.encrypted).map_err(|unknown| {
            let names = unknown.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ");
            self.refused(format!(
                "the file does not say from which address {names} comes: write it as `advertise`, or use `firewall: check`"
            ))
        })?;
        let (chain, sum) = (chain(spec.name()), digest(rules.as_bytes()));
        if rules.is_empty() || self.ready.firewall.get(&chain) == Some(&sum) {
            return Ok(());
        }
        let before = if self.ready.firewall.contains_key(&chain) { "other rules" } else { "no rules of ours" };
        let after = format!("{} rules in the chain {chain}", rules.lines().count());
        self.step(Does::Firewall { chain, rules: sum }, before, after, "what the swarm needs is let in from the other hosts", Risk::None);
        Ok(())
    }

    fn hooks(&mut self) {
        let of = &self.host.prepare;
        let hook = |when: &str, command: &String| Does::Hook { when: when.into(), command: command.clone() };
        if let Some(command) = &of.after {
            self.step(hook("after", command), "prepared", format!("`{command}` ran"), "the file says so", Risk::None);
        }
        if let Some(command) = &of.before {
            let work = Data { host: self.host.name.clone(), does: hook("before", command) }.work();
            let step = work.step("as it is", format!("`{command}` ran"), "the file says so", Risk::None);
            if let Some(first) = self.steps.first_mut() {
                first.needs = vec![step.id.clone()];
            }
            self.steps.insert(0, step);
        }
    }
}

/// What is left to do on the hosts of a file.
pub fn wanted(spec: &ClusterSpec, looked: &Looked, observed: &Observed, given: &Given, options: Options) -> Wanted {
    let mut all = Wanted::default();
    for host in spec.hosts() {
        let ready = match looked.get(&host.name) {
            Some(Ok(ready)) => ready,
            Some(Err(why)) => {
                all.notes.push(format!("{}: nothing is made ready there: {why}", host.name));
                continue;
            }
            None => continue,
        };
        let seen = observed.hosts.get(&host.name);
        let free = seen.is_none_or(|s| s.state == HostState::Standalone || s.state.is_silent());
        let running = seen.and_then(|s| s.report.engine.as_ref().ok()).map_or(0, |e| e.running_containers);
        let mut of = OfHost { host, ready, steps: Vec::new() };
        let notes = &mut all.notes;
        let collected = (|| {
            of.configure(options, free, running, notes)?;
            match &ready.engine {
                None if host.prepare.install != Install::None => of.install(given)?,
                Some(_) if ready.installing => of.install(given)?,
                Some(have) => {
                    if let Some(version) = host.prepare.version.as_ref().filter(|v| !is_version(have, v)) {
                        notes.push(format!("{}: it has an engine {have}, and the file says {version}; `swarm engine upgrade --to {version}` brings it there", host.name));
                    }
                    if !ready.running && host.prepare.install != Install::None {
                        of.step(
                            Does::Start,
                            "an engine that is stopped",
                            "it runs".into(),
                            "nothing can be done there without it",
                            Risk::None,
                        );
                    }
                }
                None => {}
            }
            of.group();
            if host.prepare.firewall == Firewall::Open {
                of.firewall(spec, options)?;
            }
            Ok::<(), Refusal>(())
        })();
        match collected {
            Err(refusal) => all.refusals.push(refusal),
            Ok(()) if of.steps.is_empty() => {}
            Ok(()) if ready.uid != 0 => {
                let why = "it is logged in to as a user that is not root, who can prepare nothing: set `sudo: true`, or log in as root";
                all.refusals.push(of.refused(why));
            }
            Ok(()) => {
                of.hooks();
                all.steps.insert(host.name.clone(), of.steps);
            }
        }
    }
    all
}

/// The program that brings the configuration of a host's engine to what the file says and restarts it, with the name of what it reads. What
/// runs there was moved away before.
pub fn configure(host: &HostSpec, ready: &Ready, what: &Differences) -> (Vec<String>, String) {
    let data = Data { host: host.name.clone(), does: what.mends(ready, true) };
    match data.ask() {
        Ask::Run { argv, input, .. } => (argv, input.unwrap_or_default()),
        _ => Default::default(),
    }
}

/// The last step of each host.
pub(super) fn last(steps: &BTreeMap<HostName, Vec<Step>>) -> BTreeMap<&HostName, StepId> {
    steps.iter().filter_map(|(host, steps)| Some((host, steps.last()?.id.clone()))).collect()
}
