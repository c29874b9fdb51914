//! Hosts made ready: what the file wants of them, for `plan`, `apply` and `verify`.

use crate::failure::Failure;
use crate::fleet::AnyFleet;
use crate::{output, source};
use std::path::Path;
use std::time::Duration;
use swarm_core::engine::Payloads;
use swarm_core::intent::Intent;
use swarm_core::observe::Observed;
use swarm_core::plan::Plan;
use swarm_core::spec::Install;
use swarm_core::{Apply, ClusterSpec};
use swarm_prepare::prepare::{
    Bundle, Content, Given, Looked, Options, Prepare, WithContent, changes_a_host, look, prepares, promised, wanted,
};

/// The largest archive that is sent to hosts.
const BUNDLE_LIMIT: u64 = 1 << 30;
/// The largest key of a repository.
const KEY_LIMIT: u64 = 1 << 20;
/// How much longer a run may take that makes hosts ready.
const INSTALLING: Duration = Duration::from_secs(20 * 60);

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
        if output::is_simulated() {
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

    /// What of a plan's preparation a fresh look finds undone.
    pub(super) async fn undone(&self, spec: &ClusterSpec, fleet: &AnyFleet, plan: &Plan) -> Vec<String> {
        if !plan.steps.iter().any(changes_a_host) {
            return Vec::new();
        }
        let observed = Apply::new(spec, fleet).observe().await;
        left(spec, &look(spec, fleet).await, &observed, &self.given, self.options)
    }

    /// What of the file does not hold though nothing is planned for it: engines that are in a swarm are not changed by the way.
    pub(super) fn left(&self, spec: &ClusterSpec, observed: &Observed) -> Vec<String> {
        left(spec, &self.looked, observed, &self.given, self.options)
    }
}

/// How long a plan may take.
pub(super) fn timeout(spec: &ClusterSpec, plan: &Plan) -> Duration {
    if plan.steps.iter().any(prepares) { spec.policy().timeout + INSTALLING } else { spec.policy().timeout }
}

/// What is left to do on hosts, each in words.
fn left(spec: &ClusterSpec, looked: &Looked, observed: &Observed, given: &Given, options: Options) -> Vec<String> {
    let all = wanted(spec, looked, observed, given, options);
    let steps = all.steps.values().flatten().filter(|step| changes_a_host(step));
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
    if output::is_simulated() {
        return Ok(Vec::new());
    }
    let given = given(spec, file)?;
    Ok(left(spec, &look(spec, fleet).await, observed, &given, Options { encrypted, ..Options::default() }))
}

/// Reads the files that `prepare` names. Their paths start from the cluster file's folder.
pub(super) fn given(spec: &ClusterSpec, file: &Path) -> Result<Given, Failure> {
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
