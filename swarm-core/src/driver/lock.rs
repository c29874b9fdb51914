//! Takes the lock of the swarm for a run, says that the run is alive, gives the lock back, and writes the run into the journal. Where a swarm
//! is still to be made, a folder on the host that makes it stands for the lock until there is one.

use super::progress::{Progress, ProgressEvent};
use super::stop::Stop;
use crate::engine::{Engine, EngineError, ErrorClass, Kind, NoPayloads, Object, Query, Reason, Sealed};
use crate::fleet::Fleet;
use crate::host::{Command, Host};
use crate::id::HostName;
use crate::observe::{Observed, ObservedCluster};
use crate::operators::{BEAT, Entry, Holder, JOURNAL, LOCK, Lock, QUIET, journal_body, judge, lock_body};
use crate::plan::{Action, Plan, PlanPurpose};
use crate::report::Report;
use crate::spec::ClusterSpec;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long one round of questions for the lock may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How long the end of a run may take: the journal, and the lock.
const END: Duration = Duration::from_secs(15);
/// How often a swarm that is being made is tried.
const SOON: Duration = Duration::from_millis(500);

/// On the host that makes a swarm. It is gone after a reboot.
const TAKE: &str = r#"d=/run/swarm-operator.lock
if mkdir -m 755 "$d" 2>/dev/null; then printf '%s' "$1" > "$d/holder"; echo taken; exit 0; fi
[ -d "$d" ] || { echo none; exit 0; }
echo "held $(( $(date +%s) - $(stat -c %Y "$d/holder" 2>/dev/null || stat -c %Y "$d") ))"
cat "$d/holder" 2>/dev/null"#;
const BREAK: &str = r#"d=/run/swarm-operator.lock; mv "$d" "$d.$1" 2>/dev/null && rm -rf "$d.$1""#;
const SIGN_OF_LIFE: &str = r#"d=/run/swarm-operator.lock; grep -q "$1" "$d/holder" && touch "$d/holder""#;
const GIVE_BACK: &str = r#"d=/run/swarm-operator.lock; grep -q "$1" "$d/holder" 2>/dev/null && rm -rf "$d""#;

/// Who asks for the lock, and how.
pub struct Operator<'a> {
    /// The run.
    pub holder: Holder,
    /// How long another run is waited for.
    pub wait: Duration,
    /// Whether a run is known to be gone, because it was on this machine and is not there any more.
    pub is_gone: &'a (dyn Fn(&Holder) -> bool + Sync),
    /// Who looks on.
    pub progress: &'a dyn Progress,
}

/// The answer to who asks for the lock.
pub enum Taken<'a, F: Fleet + ?Sized> {
    /// It is held now. `waited`: another run held it before, so that what was seen before is old.
    Held {
        /// The lock.
        lock: Box<Guard<'a, F>>,
        /// Whether another run was waited for.
        waited: bool,
    },
    /// Another run holds it, and is alive.
    Other(Holder),
}

/// The lock, held for a run.
pub struct Guard<'a, F: Fleet + ?Sized> {
    spec: &'a ClusterSpec,
    fleet: &'a F,
    holder: Holder,
    hosts: Vec<HostName>,
    silent: Mutex<BTreeSet<HostName>>,
    folder: Option<Arc<dyn Host>>,
    began: Instant,
    /// Whether there is no swarm and none is made: then there is no journal either.
    nowhere: bool,
    /// Why there is no lock in the swarm, where there is none.
    pub without: Option<String>,
    /// A run that was gone and whose lock was taken over.
    pub taken_over: Option<Holder>,
}

/// Whether a manager answered, or may have: no other one is asked then.
fn is_answer(error: &EngineError) -> bool {
    match error.reason {
        Reason::OutOfSequence | Reason::NotFound => true,
        Reason::Other => matches!(error.class, ErrorClass::AlreadySo | ErrorClass::Conflict | ErrorClass::Unknown),
        _ => false,
    }
}

impl<'a, F: Fleet + ?Sized> Guard<'a, F> {
    /// Asks for the lock of the swarm that was observed, or of the host that makes one by this plan. Where no manager gives one, the run
    /// goes on without: `without` says why.
    pub async fn take(spec: &'a ClusterSpec, fleet: &'a F, observed: &Observed, plan: &Plan, by: Operator<'_>) -> Taken<'a, F> {
        let guard = Self::of(spec, fleet, observed, by.holder.clone());
        if matches!(&observed.cluster, ObservedCluster::One { live, .. } if !live.is_empty()) {
            return guard.take_in_swarm(&by).await;
        }
        let init = plan.steps.iter().find(|s| matches!(s.action, Action::Init(_))).and_then(|s| s.host.clone());
        match init.as_ref().and_then(|name| spec.host(name)) {
            Some(host) => match fleet.machine(host).await {
                Ok(machine) => guard.take_on_host(machine, &by).await,
                Err(error) => guard.goes_without(error.to_string()),
            },
            None if matches!(observed.cluster, ObservedCluster::None) => {
                Self { nowhere: true, ..guard }.goes_without("there is no swarm".into())
            }
            None => guard.goes_without("no manager answers for the swarm".into()),
        }
    }

    /// No lock, for a run whose changes are safe beside those of others because each is made from the version that it saw: the run stands in
    /// the journal all the same.
    pub fn journal(spec: &'a ClusterSpec, fleet: &'a F, observed: &Observed, holder: Holder) -> Self {
        Self { without: Some("the run needs none".into()), ..Self::of(spec, fleet, observed, holder) }
    }

    fn of(spec: &'a ClusterSpec, fleet: &'a F, observed: &Observed, holder: Holder) -> Self {
        let mut hosts = match &observed.cluster {
            ObservedCluster::One { live, .. } => live.clone(),
            _ => Vec::new(),
        };
        hosts.extend(spec.managers().map(|m| m.name.clone()).filter(|name| !hosts.contains(name)).collect::<Vec<_>>());
        let (silent, began) = (Mutex::default(), Instant::now());
        Self { spec, fleet, holder, hosts, silent, folder: None, began, nowhere: false, without: None, taken_over: None }
    }

    fn goes_without(mut self, why: String) -> Taken<'a, F> {
        self.without = Some(why);
        Taken::Held { lock: Box::new(self), waited: false }
    }

    /// Asks managers one after the other until one answers.
    async fn ask<R>(&self, question: impl AsyncFn(Arc<dyn Engine>) -> Result<R, EngineError>) -> Result<R, EngineError> {
        let none = || EngineError {
            doing: "asking for the lock",
            class: ErrorClass::Unreachable,
            reason: Reason::Other,
            message: "no manager answers".into(),
        };
        let mut last = none();
        // Whoever did not answer is asked after the others from then on.
        let (silent, first): (Vec<_>, Vec<_>) = self.hosts.iter().partition(|name| self.is_silent(name));
        for host in first.into_iter().chain(silent).filter_map(|name| self.spec.host(name)) {
            let asked = async {
                match self.fleet.actor(host).await {
                    Ok(actor) => Some(question(actor.engine).await),
                    Err(_) => None,
                }
            };
            match timeout(ANSWER, asked).await {
                Ok(Some(Err(error))) if !is_answer(&error) => last = error,
                Ok(Some(answer)) => return answer,
                Ok(None) | Err(_) => last = none(),
            }
            if let Ok(mut silent) = self.silent.lock() {
                silent.insert(host.name.clone());
            }
        }
        Err(last)
    }

    fn is_silent(&self, name: &HostName) -> bool {
        self.silent.lock().is_ok_and(|silent| silent.contains(name))
    }

    async fn config(&self, name: &str) -> Result<Option<Object>, EngineError> {
        Ok(self.configs([name]).await?.into_iter().next().flatten())
    }

    /// These configs, by one question.
    async fn configs<const N: usize>(&self, names: [&str; N]) -> Result<[Option<Object>; N], EngineError> {
        let query = names.iter().fold(Query::all(Kind::Config), |query, name| query.with("name", *name));
        let found = self.ask(async |engine| engine.list(&query).await).await?;
        Ok(names.map(|name| found.iter().find(|o| o.name() == name).cloned()))
    }

    /// Puts this run's name on the lock: a new one, or in place of one of that version.
    async fn write(&self, lock: Option<&Object>, sign: u64) -> Result<(), EngineError> {
        let sealed = Sealed::new(&lock_body(&self.holder, sign), &NoPayloads)?;
        match lock {
            None => self.ask(async |engine| engine.create(Kind::Config, &sealed).await.map(|_| ())).await,
            Some(lock) => self.ask(async |engine| engine.update(Kind::Config, lock.id(), lock.version(), &sealed, false).await).await,
        }
    }

    async fn take_in_swarm(mut self, by: &Operator<'_>) -> Taken<'a, F> {
        let began = Instant::now();
        // The version of another's lock, and since when it has not moved.
        let mut seen: Option<(u64, Instant)> = None;
        let mut signs = 0;
        let mut reported = false;
        let mut failures = 0;
        loop {
            let lock = match self.config(LOCK).await {
                Ok(lock) => lock,
                Err(error) if failures > 2 => return self.goes_without(error.message),
                Err(_) => {
                    failures += 1;
                    sleep(SOON).await;
                    continue;
                }
            };
            let holder = match judge(lock.as_ref(), &self.holder.run) {
                Lock::Mine => return Taken::Held { lock: Box::new(self), waited: seen.is_some() },
                Lock::Unreadable => return self.goes_without(format!("the config {LOCK} was made by someone else")),
                Lock::Free => None,
                Lock::Held(holder) => Some(holder),
            };
            if let (Some(holder), Some(lock)) = (&holder, &lock) {
                let since = match seen {
                    Some((version, since)) if version == lock.version() => since,
                    Some(_) => {
                        signs += 1;
                        Instant::now()
                    }
                    None => Instant::now(),
                };
                seen = Some((lock.version(), since));
                let gone = (by.is_gone)(holder) || since.elapsed() >= QUIET;
                if !gone {
                    // One sign of life is enough to know that it is there.
                    if signs > 0 && began.elapsed() >= by.wait {
                        return Taken::Other(holder.clone());
                    }
                    if !std::mem::replace(&mut reported, true) {
                        by.progress.report(&ProgressEvent::Waiting { what: format!("another run holds the swarm ({holder})") });
                    }
                    sleep(Duration::from_secs(1)).await;
                    continue;
                }
            }
            match self.write(lock.as_ref(), 0).await {
                Ok(()) => {
                    self.taken_over = holder;
                    return Taken::Held { lock: Box::new(self), waited: seen.is_some() };
                }
                // Someone was faster, or the answer was lost: what is there now says it.
                Err(error) if is_answer(&error) => {}
                Err(error) if failures > 2 => return self.goes_without(error.message),
                Err(_) => failures += 1,
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn take_on_host(mut self, machine: Arc<dyn Host>, by: &Operator<'_>) -> Taken<'a, F> {
        let began = Instant::now();
        let mut waited = false;
        loop {
            // As an argument: sshd takes a command's input only a round trip after the command.
            let text = serde_json::to_string(&self.holder).unwrap_or_default();
            let ran = machine.run(&shell(TAKE, &[&text])).await;
            let said = match ran {
                Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
                Err(error) => return self.goes_without(error.to_string()),
            };
            let (first, rest) = said.split_once('\n').unwrap_or((&said, ""));
            if first == "taken" {
                self.folder = Some(machine);
                return Taken::Held { lock: Box::new(self), waited };
            }
            let Some(age) = first.strip_prefix("held ").and_then(|age| age.trim().parse::<u64>().ok()) else {
                return self.goes_without("the login may make no folder in /run on the host that makes the swarm".into());
            };
            let holder: Option<Holder> = serde_json::from_str(rest).ok();
            if age >= QUIET.as_secs() || holder.as_ref().is_some_and(|h| (by.is_gone)(h)) {
                if let Err(error) = machine.run(&shell(BREAK, &[&self.holder.run])).await {
                    return self.goes_without(error.to_string());
                }
                self.taken_over = holder;
                waited = true;
                continue;
            }
            if let Some(holder) = holder {
                // A sign of life is younger than the time between two.
                if age <= BEAT.as_secs() + 1 && began.elapsed() >= by.wait {
                    return Taken::Other(holder);
                }
                if !std::mem::replace(&mut waited, true) {
                    by.progress.report(&ProgressEvent::Waiting { what: format!("another run makes the swarm ({holder})") });
                }
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// Gives the lock back where no run came of it.
    pub async fn give_back(self) {
        if let Ok(Some(lock)) = self.config(LOCK).await
            && judge(Some(&lock), &self.holder.run) == Lock::Mine
        {
            let _taken_over_when_quiet = self.ask(async |engine| engine.remove(Kind::Config, lock.id()).await).await;
        }
        self.leave_host().await;
    }

    async fn leave_host(&self) {
        if let Some(machine) = &self.folder {
            let _gone_with_the_next_reboot = machine.run(&shell(GIVE_BACK, &[&self.holder.run])).await;
        }
    }

    /// Carries a run out and says all the while that it is alive. Where another run has taken the lock over, because this one could not say
    /// so for long, or someone has released it, the run is stopped in order. Then the lock is given back and the run stands in the journal; what of that failed is
    /// the second answer.
    pub async fn during(self, plan: &Plan, stop: &Stop, run: impl Future<Output = Report>) -> (Report, Option<String>) {
        let report = {
            let mut run = std::pin::pin!(run);
            tokio::select! {
                biased;
                report = &mut run => report,
                () = self.stays_alive(stop) => run.await,
            }
        };
        // A swarm that was taken down has no journal, and neither has one that was not made.
        let destroys = plan.purpose == PlanPurpose::Destroy;
        let gone = destroys && report.verdict.as_ref().is_some_and(|v| v.converged);
        let made = !self.nowhere && (self.folder.is_none() || report.steps.iter().any(|s| s.outcome.is_done()));
        let left = if gone || !made {
            self.leave_host().await;
            Ok(())
        } else {
            match timeout(if destroys { ANSWER } else { END }, self.end(plan, &report)).await {
                Ok(left) => left,
                Err(_) => {
                    self.leave_host().await;
                    Err("the run does not stand in the journal, and its lock may be there still: no manager answers in time".to_owned())
                }
            }
        };
        let left = if destroys { Ok(()) } else { left };
        (report, left.err())
    }

    /// Ends where the lock is not this run's any more.
    async fn stays_alive(&self, stop: &Stop) {
        let mut sign = 0;
        let mut held = self.without.is_none() && self.folder.is_none();
        loop {
            sleep(if held { BEAT } else { SOON }).await;
            if let Some(machine) = self.folder.as_ref().filter(|_| sign % 10 == 0) {
                let _seen_by_age = machine.run(&shell(SIGN_OF_LIFE, &[&self.holder.run])).await;
            }
            sign += 1;
            if self.without.is_some() && self.folder.is_none() {
                continue;
            }
            // A manager that does not answer now may answer at the next sign.
            let Ok(lock) = self.config(LOCK).await else { continue };
            match judge(lock.as_ref(), &self.holder.run) {
                // Someone released it, or took it.
                Lock::Free if held => {
                    stop.stop();
                    return;
                }
                Lock::Mine | Lock::Free => held = self.write(lock.as_ref(), sign).await.is_ok() || held,
                Lock::Held(_) => {
                    stop.stop();
                    return;
                }
                Lock::Unreadable => {}
            }
        }
    }

    /// Journal first: whoever waits for the lock sees it.
    async fn end(&self, plan: &Plan, report: &Report) -> Result<(), String> {
        let entry = entry(&self.holder, plan, report, self.began.elapsed());
        let (mut written, mut lock) = (Ok(()), None);
        for _ in 0..5 {
            (written, lock) = self.write_down(&entry).await;
            if !written.as_ref().is_err_and(is_answer) {
                break;
            }
        }
        let (given_back, ()) = tokio::join!(self.remove_lock(lock), self.leave_host());
        given_back?;
        written.map_err(|e| format!("the run does not stand in the journal: {}", e.message))
    }

    /// Removes the lock, if it is this run's. `read` is what it was a moment ago: so soon after that no one can have taken it over.
    async fn remove_lock(&self, mut read: Option<(Instant, Option<Object>)>) -> Result<(), String> {
        let mut kept = None;
        for _ in 0..3 {
            // Where there was none at first, one may have been made since; and one may be gone though the answer to that was lost.
            let lock = match read.take().filter(|(at, _)| at.elapsed() < BEAT) {
                Some((_, lock)) => lock,
                None => self.config(LOCK).await.map_err(|e| e.message)?,
            };
            let Some(lock) = lock.filter(|lock| judge(Some(lock), &self.holder.run) == Lock::Mine) else { return Ok(()) };
            kept =
                self.ask(async |engine| engine.remove(Kind::Config, lock.id()).await).await.err().filter(|e| e.reason != Reason::NotFound);
            if kept.is_none() {
                break;
            }
        }
        kept.map_or(Ok(()), |error| Err(format!("the lock was not given back: {}", error.message)))
    }

    /// Writes a run into the journal. The lock, and when it was read, is in the same answer as what stands there.
    async fn write_down(&self, entry: &Entry) -> (Result<(), EngineError>, Option<(Instant, Option<Object>)>) {
        let began = Instant::now();
        let [journal, lock] = match self.configs([JOURNAL, LOCK]).await {
            Ok(found) => found,
            Err(error) => return (Err(error), None),
        };
        let write = async {
            let sealed = Sealed::new(&journal_body(journal.as_ref(), entry), &NoPayloads)?;
            match &journal {
                None => self.ask(async |engine| engine.create(Kind::Config, &sealed).await.map(|_| ())).await,
                Some(there) => {
                    self.ask(async |engine| engine.update(Kind::Config, there.id(), there.version(), &sealed, false).await).await
                }
            }
        };
        (write.await, Some((began, lock)))
    }
}

fn shell(script: &str, arguments: &[&str]) -> Command {
    let argv = ["sh", "-c", script, "sh"].into_iter().chain(arguments.iter().copied());
    Command { timeout: ANSWER, elevated: true, ..Command::new(argv) }
}

/// A run as the journal has it.
fn entry(holder: &Holder, plan: &Plan, report: &Report, took: Duration) -> Entry {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    report.steps.iter().filter(|s| s.outcome.is_done()).for_each(|s| *counts.entry(s.verb.as_str()).or_default() += 1);
    let verbs: Vec<String> = counts.iter().map(|(verb, count)| format!("{count} {verb}")).collect();
    let images = plan.steps.iter().filter(|step| report.steps.iter().any(|s| s.id == step.id && s.outcome.is_done())).filter_map(|step| {
        let image = step.after.lines().find(|line| line.starts_with("Image: "))?;
        let (object, _) = step.id.as_str().rsplit_once('/')?;
        Some(format!("{object}: {image}"))
    });
    let images = images.collect();
    let Holder { who, from, why, since, .. } = holder.clone();
    let outcome = serde_json::to_value(report.ending).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    Entry {
        at: since,
        took: took.as_secs(),
        who,
        from,
        why,
        fingerprint: plan.fingerprint.clone(),
        verbs: verbs.join(", "),
        images,
        outcome,
    }
}
