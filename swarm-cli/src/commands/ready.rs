//! Hosts made ready: what the file wants of them beside `plan`, `apply` and `verify`, `swarm engine configure` and `swarm reset`.

use super::apply::{agree, unless_stopped};
use super::work::{How, Session, carry};
use crate::args::Format;
use crate::args_stores::{ConfigureArgs, ResetArgs};
use crate::failure::{self, Failure};
use crate::fleet::AnyFleet;
use crate::{output, source};
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use swarm_core::engine::{NoPayloads, Payloads};
use swarm_core::host::Command;
use swarm_core::id::HostName;
use swarm_core::intent::Intent;
use swarm_core::observe::{HostState, Observed};
use swarm_core::plan::Plan;
use swarm_core::spec::Install;
use swarm_core::{Apply, ClusterSpec, Stop};
use swarm_prepare::prepare::{
    Bundle, Content, Given, Looked, Options, Prepare, WithContent, configure, differences, look, promised, reset, wanted,
};
use swarm_workload::Maintain;

/// The largest archive that is sent to hosts.
const BUNDLE_LIMIT: u64 = 1 << 30;
/// The largest key of a repository.
const KEY_LIMIT: u64 = 1 << 20;
/// How much longer a run may take that installs engines.
const INSTALLING: Duration = Duration::from_secs(20 * 60);
/// How long taking back what was done may take on a host.
const RESETTING: Duration = Duration::from_secs(10 * 60);

/// What hosts said of how ready they are, and what is sent to them.
#[derive(Default)]
pub(super) struct Preparation {
    looked: Looked,
    given: Given,
    options: Options,
}

impl Preparation {
    /// Looks at the hosts that the file wants something done on. From then on the fleet promises the engines that are to be installed.
    pub(super) async fn of(spec: &ClusterSpec, fleet: &AnyFleet, file: &Path, options: Options) -> Result<Self, Failure> {
        let given = given(spec, file)?;
        if fleet.is_simulated() {
            if spec.hosts().any(|h| !h.prepare.is_nothing()) {
                output::note("`prepare` of the file is left out: simulated hosts have an engine");
            }
            return Ok(Self { looked: Looked::new(), given, options });
        }
        let looked = look(spec, fleet).await;
        fleet.promise(promised(spec, &looked));
        Ok(Self { looked, given, options })
    }

    pub(super) fn before<'a, I: Intent>(&'a self, spec: &'a ClusterSpec, then: I) -> Prepare<'a, I> {
        Prepare { then, spec, looked: &self.looked, given: &self.given, options: self.options }
    }

    pub(super) fn payloads<'a>(&'a self, spec: &'a ClusterSpec, others: &'a dyn Payloads) -> WithContent<'a> {
        let content = Content { spec, looked: &self.looked, given: &self.given, encrypted: self.options.encrypted };
        WithContent { content, others }
    }

    /// How long a run may take.
    pub(super) fn timeout(&self, spec: &ClusterSpec) -> Duration {
        let installs = spec.hosts().any(|host| {
            let ready = self.looked.get(&host.name).and_then(|l| l.as_ref().ok());
            ready.is_some_and(|r| {
                (r.engine.is_none() && host.prepare.install != Install::None) || differences(host, r) != (Vec::new(), false)
            })
        });
        if installs { spec.policy().timeout + INSTALLING } else { spec.policy().timeout }
    }

    /// What of a plan's preparation a fresh look finds undone.
    pub(super) async fn undone(&self, spec: &ClusterSpec, fleet: &AnyFleet, plan: &Plan) -> Vec<String> {
        let begun = |host: &HostName| plan.steps_of(host).any(|step| is_ready_step(step.action.verb()));
        if !spec.hosts().any(|h| begun(&h.name)) {
            return Vec::new();
        }
        let observed = Apply::new(spec, fleet).observe().await;
        left(spec, &look(spec, fleet).await, &observed, &self.given, self.options)
    }
}

impl Preparation {
    /// What of the file does not hold though nothing is planned for it: engines that are in a swarm are not changed by the way.
    pub(super) fn left(&self, spec: &ClusterSpec, observed: &Observed) -> Vec<String> {
        left(spec, &self.looked, observed, &self.given, self.options)
    }
}

fn is_ready_step(verb: &str) -> bool {
    matches!(verb, "configure-engine" | "install-engine" | "start-engine" | "open-firewall")
}

/// What is left to do on hosts, each in words.
fn left(spec: &ClusterSpec, looked: &Looked, observed: &Observed, given: &Given, options: Options) -> Vec<String> {
    let all = wanted(spec, looked, observed, given, options);
    let steps = all.steps.values().flatten().filter(|step| is_ready_step(step.action.verb()));
    let steps = steps.map(|step| format!("{}: {}, not {}", step.id, step.before, step.after));
    steps.chain(all.notes).chain(all.refusals.iter().map(ToString::to_string)).collect()
}

/// What of the file's `prepare` does not hold, for `swarm verify`.
pub(super) async fn not_ready(
    spec: &ClusterSpec,
    fleet: &AnyFleet,
    file: &Path,
    observed: &Observed,
    encrypted: bool,
) -> Result<Vec<String>, Failure> {
    if fleet.is_simulated() {
        return Ok(Vec::new());
    }
    let given = given(spec, file)?;
    Ok(left(spec, &look(spec, fleet).await, observed, &given, Options { encrypted, ..Options::default() }))
}

/// Reads the files that `prepare` names. Their paths start from the cluster file's folder.
fn given(spec: &ClusterSpec, file: &Path) -> Result<Given, Failure> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut given = Given::default();
    for host in spec.hosts().filter(|h| !h.absent) {
        let of = &host.prepare;
        if let Some(path) = of.bundle.as_ref().filter(|path| of.install == Install::Offline && !given.bundles.contains_key(*path)) {
            let bundle = Bundle::new(source::read(&folder.join(path), BUNDLE_LIMIT)?);
            if let Some(sum) = of.bundle_sha256.as_ref().filter(|sum| **sum != bundle.digest) {
                let why = format!("its SHA-256 is {}, and the file says {sum}; nothing was changed", bundle.digest);
                return Err(Failure::Io(folder.join(path), why));
            }
            given.bundles.insert(path.clone(), bundle);
        }
        if let Some(path) = of.repository_key.as_ref().filter(|path| of.install == Install::DockerCe && !given.keys.contains_key(*path)) {
            let bytes = source::read(&folder.join(path), KEY_LIMIT)?;
            let text = String::from_utf8(bytes)
                .map_err(|_| Failure::Io(folder.join(path), "this is no key in text form (ASCII armour)".into()))?;
            given.keys.insert(path.clone(), text);
        }
    }
    Ok(given)
}

/// `swarm engine configure`: the configuration of engines that are in a swarm, each drained for that time.
pub(super) async fn configure_engines(args: &ConfigureArgs, format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let spec = &session.spec;
    let named = source::named(&args.hosts, spec, "HOST")?;
    let looked = look(spec, &session.fleet).await;
    let given = given(spec, &args.common.file)?;
    let chosen = |name: &HostName| named.is_empty() || named.contains(name);
    let mut argvs = std::collections::BTreeMap::new();
    let mut moves = Vec::new();
    for host in spec.hosts().filter(|h| !h.absent && chosen(&h.name)) {
        match looked.get(&host.name) {
            Some(Err(why)) => return Err(Failure::Other(format!("nothing was changed: {}: {why}", host.name))),
            Some(Ok(ready)) => {
                if let Err(why) = &ready.daemon {
                    let message = format!(
                        "nothing was changed: {}: its /etc/docker/daemon.json cannot be read as JSON ({why}); mend it first",
                        host.name
                    );
                    return Err(Failure::Other(message));
                }
                let (keys, proxy) = differences(host, ready);
                if !keys.is_empty() || proxy {
                    let what = keys.iter().map(String::as_str).chain(proxy.then_some("its proxy")).collect::<Vec<_>>().join(", ");
                    moves.push(format!("{} ({what})", host.name));
                    argvs.insert(host.name.clone(), configure(&host.name, host, ready));
                }
            }
            None => {}
        }
    }
    if argvs.is_empty() {
        match format {
            Format::Text => output::data("nothing to do: the configuration of engines is what the file wants"),
            _ => output::json("engine configure", &json!({ "configured": [] })),
        }
        return Ok(0);
    }
    let hosts: Vec<HostName> = argvs.keys().cloned().collect();
    let intent = Maintain {
        spec,
        hosts: hosts.clone(),
        argv: Vec::new(),
        own: argvs,
        name: Some("the new configuration of the engine".into()),
        batch: usize::from(args.serve.batch),
        drain: args.serve.drain_timeout,
        patience: Duration::from_secs(300),
        accept_downtime: args.serve.accept_downtime,
    };
    let encrypted = false;
    let content = Content { spec, looked: &looked, given: &given, encrypted };
    let payloads = WithContent { content, others: &NoPayloads };
    let how = How {
        dry_run: args.agree.dry_run,
        question: Some(format!("Configure the engines of {}, drained for that time and restarted?", moves.join(", "))),
        must_agree: true,
        yes: args.agree.yes,
        payloads: &payloads,
        done: format!(
            "the configuration of the engines of {} is what the file wants",
            hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")
        ),
        locks: Some(None),
        ..How::new("engine configure", format)
    };
    carry(&session, &intent, how).await
}

/// `swarm reset`: takes back what `prepare` did on hosts.
pub(super) async fn reset_hosts(args: &ResetArgs, format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let spec = &session.spec;
    let hosts = source::named(&args.hosts, spec, "HOST")?;
    let stop = Stop::default();
    let observed = unless_stopped(&stop, async { Ok(Apply::new(spec, &session.fleet).observe().await) }).await?;
    let mut refused = Vec::new();
    for host in &hosts {
        let Some(seen) = observed.hosts.get(host) else { continue };
        let running = seen.report.engine.as_ref().map_or(0, |e| e.running_containers);
        match &seen.state {
            HostState::Standalone | HostState::NoEngine { .. } | HostState::EngineDown { .. } if running == 0 => {}
            HostState::Standalone => refused.push(format!("{host}: {running} containers run there; end them first")),
            state => {
                let detail = state.detail().map_or(String::new(), |d| format!(": {d}"));
                refused
                    .push(format!("{host}: it is {}{detail}; take it out of its swarm first, as by `swarm node rm {host}`", state.word()));
            }
        }
    }
    if !refused.is_empty() {
        return Err(Failure::Other(format!("nothing was changed: {}", refused.join("\n"))));
    }
    let names = hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ");
    agree(args.yes, &format!("Take back what was prepared on {names}? An engine that was installed is removed."))?;
    let mut failed = Vec::new();
    let mut done = serde_json::Map::new();
    for host in hosts.iter().filter_map(|name| spec.host(name)) {
        let ran = async {
            let machine = swarm_core::fleet::Fleet::machine(&session.fleet, host).await.map_err(|e| e.message)?;
            let command = Command { elevated: true, timeout: RESETTING, ..Command::new(reset()) };
            let ran = machine.run(&command).await.map_err(|e| e.to_string())?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(output::clean).collect::<Vec<_>>();
            match ran.status {
                Some(0) => Ok(text(&ran.stdout)),
                _ => Err(text(&ran.stderr).last().cloned().unwrap_or_else(|| "it ended without a word".into())),
            }
        };
        match ran.await {
            Ok(lines) => {
                if format == Format::Text {
                    lines.iter().for_each(|line| output::data(&format!("{}: {line}", host.name)));
                }
                done.insert(host.name.to_string(), json!(lines));
            }
            Err(why) => failed.push(format!("{}: {why}", host.name)),
        }
    }
    if format != Format::Text {
        output::json("reset", &json!({ "done": done, "failed": failed }));
    }
    if failed.is_empty() {
        return Ok(0);
    }
    output::note(&failed.join("\n"));
    Ok(if done.is_empty() { 1 } else { failure::PARTIAL })
}
