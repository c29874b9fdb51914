//! What verbs share that do the same on the engine of each host.

use super::work::Session;
use crate::args_common::{Format, LimitArgs};
use crate::failure::{self, Failure};
use crate::{output, source};
use futures_util::stream::{self, StreamExt};
use std::sync::Arc;
use swarm_core::ClusterSpec;
use swarm_core::engine::Engine;
use swarm_core::fleet::Fleet;
use swarm_core::id::HostName;
use swarm_core::observe::{HostState, NodeState, Observed};
use swarm_core::spec::{Availability, HostSpec};

/// How many engines pull or remove at the same time.
pub(super) const CONCURRENCY: usize = 16;

/// A host that could not be asked, or on which something failed.
pub(super) struct Failed {
    pub(super) host: HostName,
    pub(super) why: String,
}

pub(super) fn hosts<'s>(spec: &'s ClusterSpec, limit: &LimitArgs) -> Result<Vec<&'s HostSpec>, Failure> {
    let limit = source::limit(limit, spec)?;
    Ok(spec.hosts().filter(|h| limit.as_ref().is_none_or(|l| l.contains(&h.name))).collect())
}

/// Names hosts that failed. What was asked for is not whole then.
pub(super) fn tell(failed: &[Failed]) -> u8 {
    for one in failed {
        output::note(&format!("{}: {}", one.host, one.why));
    }
    if failed.is_empty() { 0 } else { failure::NOT_CONVERGED }
}

/// The exit code of a change on several hosts.
pub(super) fn exit_code(failed: &[Failed], nothing_done: bool) -> u8 {
    match (tell(failed), nothing_done) {
        (0, _) => 0,
        (_, true) => 1,
        (_, false) => failure::PARTIAL,
    }
}

pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes / 1_000),
        1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{}.{} GB", bytes / 1_000_000_000, bytes % 1_000_000_000 / 100_000_000),
    }
}

/// Whether a host gets tasks, or will once it is a node: images may be there before the swarm is.
fn gets_tasks(observed: &Observed, host: &HostSpec) -> bool {
    let Some(seen) = observed.hosts.get(&host.name) else { return false };
    let will = !host.absent && host.availability.is_none_or(|a| a == Availability::Active);
    match &seen.node {
        Some(node) => node.state == NodeState::Ready && node.availability == Availability::Active,
        None => seen.state == HostState::Standalone && will,
    }
}

/// Does the same on every node that may get tasks, some at once; those that may not are named. A line is printed for each that it was done on.
pub(super) async fn on_nodes_with_tasks<T>(
    session: &Session,
    limit: &LimitArgs,
    format: Format,
    work: impl AsyncFn(Arc<dyn Engine>) -> Result<T, String>,
    line: impl Fn(&T) -> String,
) -> Result<(Vec<(HostName, T)>, Vec<Failed>), Failure> {
    let (observed, _) = session.objects(&[]).await?;
    let (able, away): (Vec<&HostSpec>, Vec<&HostSpec>) =
        hosts(&session.spec, limit)?.into_iter().partition(|host| gets_tasks(&observed, host));
    for host in &away {
        output::note(&format!("{}: left out, for it gets no tasks now", host.name));
    }
    if able.is_empty() {
        return Err(Failure::Other("nothing was done: no host gets tasks".into()));
    }
    let work = &work;
    let one = |host: HostSpec| async move {
        let done = match session.fleet.actor(&host).await {
            Ok(actor) => work(actor.engine).await,
            Err(error) => Err(error.message),
        };
        (host.name, done)
    };
    let mut ending = stream::iter(able.into_iter().cloned().map(one).collect::<Vec<_>>()).buffer_unordered(CONCURRENCY);
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    while let Some((host, result)) = ending.next().await {
        match result {
            Ok(what) => {
                if format == Format::Text {
                    output::data(&format!("{host}: {}", line(&what)));
                }
                done.push((host, what));
            }
            Err(why) => failed.push(Failed { host, why }),
        }
    }
    Ok((done, failed))
}
