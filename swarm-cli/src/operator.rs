//! Who works on a swarm from here: the lock of the swarm is asked for with it.

use crate::failure::Failure;
use crate::output;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use swarm_core::driver::{Guard, Operator, Progress, Taken};
use swarm_core::fleet::Fleet;
use swarm_core::observe::{Observed, time};
use swarm_core::operators::Holder;
use swarm_core::plan::Plan;
use swarm_core::report::Report;
use swarm_core::{ClusterSpec, Stop};

fn line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// When a process began, in ticks since the machine's start: field 22 of its `stat` (proc(5)); the second one may hold blanks.
fn began(pid: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(19).map(str::to_owned)
}

/// Where process numbers mean the same: this start of this machine, and this namespace of processes.
fn room() -> Option<String> {
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    let boot = line("/proc/sys/kernel/random/boot_id");
    (!boot.is_empty()).then(|| format!("{boot} {}", namespace.display()))
}

/// This run.
fn holder(why: &str) -> Holder {
    let pid = std::process::id().to_string();
    let process = room().zip(began(&pid)).map(|(room, began)| format!("{room} {pid} {began}")).unwrap_or_default();
    let user = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let from = line("/proc/sys/kernel/hostname");
    let run = format!("{:x}-{pid}-{:08x}", now.as_micros(), fastrand::u32(..));
    Holder { who: user.unwrap_or_else(|| "root".into()), from, why: why.to_owned(), run, process, since: now.as_secs() }
}

/// Whether a run was on this machine and is not there any more.
fn is_gone(other: &Holder) -> bool {
    let Some(rest) = room().and_then(|room| other.process.strip_prefix(&format!("{room} ")).map(str::to_owned)) else { return false };
    rest.split_once(' ').is_some_and(|(pid, start)| began(pid).as_deref() != Some(start))
}

/// Takes the lock for a run; whether another one had it before.
pub(crate) async fn take<'a, F: Fleet + ?Sized>(
    spec: &'a ClusterSpec,
    fleet: &'a F,
    (plan, observed): (&Plan, &Observed),
    why: &str,
    wait: Option<Duration>,
    progress: &dyn Progress,
) -> Result<(Guard<'a, F>, bool), Failure> {
    let by = Operator { holder: holder(why), wait: wait.unwrap_or_default(), is_gone: &is_gone, progress };
    match Guard::take(spec, fleet, observed, plan, by).await {
        Taken::Held { lock, waited } => {
            if let Some(gone) = &lock.taken_over {
                output::note(&format!("the lock of a run that is gone was taken over ({gone}, begun {})", time(gone.since)));
            }
            if let Some(why) = lock.without.as_ref().filter(|_| !output::is_simulated()) {
                output::note(&format!("without the lock of the swarm, so another run would not be noticed: {why}"));
            }
            Ok((*lock, waited))
        }
        Taken::Other(other) => Err(Failure::Held(Box::new(other))),
    }
}

/// No lock, and a place in the journal.
pub(crate) fn journal<'a, F: Fleet + ?Sized>(spec: &'a ClusterSpec, fleet: &'a F, observed: &Observed, why: &str) -> Guard<'a, F> {
    Guard::journal(spec, fleet, observed, holder(why))
}

/// Looks again under the lock; it is given back where that fails.
pub(crate) async fn look_again<'a, F: Fleet + ?Sized>(
    lock: Guard<'a, F>,
    look: impl Future<Output = Result<(Plan, Observed), Failure>>,
) -> Result<(Guard<'a, F>, Plan, Observed), Failure> {
    match look.await {
        Ok((plan, observed)) => Ok((lock, plan, observed)),
        Err(failure) => {
            lock.give_back().await;
            Err(failure)
        }
    }
}

/// The same, and it is an error where another plan than the one that was agreed to comes of it.
pub(crate) async fn still<'a, F: Fleet + ?Sized>(
    lock: Guard<'a, F>,
    agreed: &Plan,
    look: impl Future<Output = Result<(Plan, Observed), Failure>>,
) -> Result<(Guard<'a, F>, Plan, Observed), Failure> {
    let same = async {
        let (now, seen) = look.await?;
        if now.steps != agreed.steps {
            return Err(Failure::Other("the swarm has changed since the plan was shown; run again".into()));
        }
        Ok((now, seen))
    };
    look_again(lock, same).await
}

/// Carries a run out under the lock, if it holds one.
pub(crate) async fn during<F: Fleet + ?Sized>(
    held: Option<Guard<'_, F>>,
    plan: &Plan,
    stop: &Stop,
    run: impl Future<Output = Report>,
) -> Report {
    let Some(lock) = held else { return run.await };
    let (report, left) = lock.during(plan, stop, run).await;
    left.iter().for_each(|why| output::note(why));
    report
}
