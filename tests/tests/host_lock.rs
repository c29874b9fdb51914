//! The lock where a swarm is still to be made: a folder on the host that makes it. Its scripts run for real in a folder of the test, with a clock
//! of their own; everything else is simulated.

use async_trait::async_trait;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use swarm_core::driver::{Guard, NoProgress, Operator, Progress, Taken};
use swarm_core::engine::{Kind, Query};
use swarm_core::fleet::{Actor, Fleet, FleetRead, Reader};
use swarm_core::host::{BoxStream, Command, Host, HostError, HostProbe, Output};
use swarm_core::id::{HostName, StepId};
use swarm_core::machine::Outcome;
use swarm_core::observe::{MachineFacts, Observed, ReachError, ReachErrorKind};
use swarm_core::operators::{BEAT, Holder, JOURNAL, QUIET, runs};
use swarm_core::plan::Plan;
use swarm_core::report::{Ending, Report};
use swarm_core::spec::HostSpec;
use swarm_core::{Apply, ClusterSpec, Stop};
use swarm_sim::{SimFleet, World};
use swarm_tests::sim::{THREE, Waits, spec};
use tokio::time::{Instant, timeout};

/// The clock of the host, in seconds since 1970.
const NOW: u64 = 1_800_000_000;

/// What is on the host that makes the swarm.
struct Machine {
    name: HostName,
    folder: PathBuf,
    ran: Mutex<Vec<String>>,
}

impl Machine {
    fn lock(&self) -> PathBuf {
        self.folder.join("swarm-operator.lock")
    }

    /// Makes the lock as old as that.
    fn is_old(&self, age: Duration) {
        let then = format!("@{}", NOW - age.as_secs());
        let touched = std::process::Command::new("touch").args(["-d", &then]).arg(self.lock().join("holder")).status().unwrap();
        assert!(touched.success());
    }

    /// How often what this says was run.
    fn count(&self, part: &str) -> usize {
        self.ran.lock().unwrap().iter().filter(|script| script.contains(part)).count()
    }
}

#[async_trait]
impl HostProbe for Machine {
    fn name(&self) -> &HostName {
        &self.name
    }

    async fn machine(&self) -> Result<MachineFacts, HostError> {
        Ok(MachineFacts::default())
    }

    async fn probe(&self, _: &'static str) -> Result<String, HostError> {
        Ok(String::new())
    }

    async fn read_file(&self, _: &str, _: usize) -> Result<Vec<u8>, HostError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Host for Machine {
    async fn run(&self, command: &Command) -> Result<Output, HostError> {
        assert!(command.elevated && command.timeout == Duration::from_secs(5), "as root, and not for long: {command:?}");
        let own = self.lock().display().to_string();
        let script = command.argv[2].replace("/run/swarm-operator.lock", &own).replace("$(date +%s)", &NOW.to_string());
        self.ran.lock().unwrap().push(command.argv[2].clone());
        let mut child = std::process::Command::new("sh")
            .args(["-c", &script])
            .args(&command.argv[3..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let _closed_where_it_reads_nothing = input.write_all(command.stdin.as_deref().unwrap_or_default());
        drop(input);
        let out = child.wait_with_output().unwrap();
        Ok(Output { status: out.status.code().and_then(|c| u32::try_from(c).ok()), stdout: out.stdout, stderr: out.stderr })
    }

    async fn open_stream(&self, _: &str) -> Result<BoxStream, HostError> {
        Err(HostError::NoSocket { message: "none".into(), kind: ReachErrorKind::Unusable })
    }

    async fn put_file(&self, path: &str, _: u32, _: &[u8]) -> Result<(), HostError> {
        Err(HostError::Unexpected { host: self.name.clone(), message: path.into() })
    }
}

struct Hosts {
    engines: SimFleet,
    machine: Option<Arc<Machine>>,
}

#[async_trait]
impl FleetRead for Hosts {
    async fn reader(&self, host: &HostSpec) -> Result<Reader, ReachError> {
        self.engines.reader(host).await
    }
}

#[async_trait]
impl Fleet for Hosts {
    async fn actor(&self, host: &HostSpec) -> Result<Actor, ReachError> {
        self.engines.actor(host).await
    }

    async fn machine(&self, host: &HostSpec) -> Result<Arc<dyn Host>, ReachError> {
        match &self.machine {
            Some(machine) if host.name == machine.name => Ok(Arc::clone(machine) as _),
            _ => Err(ReachError { kind: ReachErrorKind::Unreachable, message: "it is not reached".into() }),
        }
    }
}

fn holder(run: &str) -> Holder {
    Holder { who: run.into(), from: "desk".into(), why: "apply".into(), run: run.into(), process: String::new(), since: 7 }
}

/// A world in which nothing is there yet, and a plan to make a swarm.
struct Bed {
    wanted: ClusterSpec,
    world: World,
    fleet: Hosts,
    plan: Plan,
    observed: Observed,
    _folder: tempfile::TempDir,
}

impl Bed {
    async fn new() -> Self {
        let wanted = spec(THREE);
        let world = World::of(&wanted, 1);
        let folder = tempfile::tempdir().unwrap();
        let engines = world.fleet("me");
        let (plan, observed) = Apply::new(&wanted, &engines).plan().await.unwrap();
        let name = plan.steps.iter().find(|s| s.action.verb() == "init").and_then(|s| s.host.clone()).unwrap();
        let machine = Machine { name, folder: folder.path().into(), ran: Mutex::default() };
        let fleet = Hosts { engines, machine: Some(Arc::new(machine)) };
        Self { wanted, world, fleet, plan, observed, _folder: folder }
    }

    fn machine(&self) -> &Machine {
        self.fleet.machine.as_ref().unwrap()
    }

    async fn takes<'a>(
        &'a self,
        run: &str,
        wait: u64,
        is_gone: &'a (dyn Fn(&Holder) -> bool + Sync),
        seen: &'a dyn Progress,
    ) -> Taken<'a, Hosts> {
        let by = Operator { holder: holder(run), wait: Duration::from_secs(wait), is_gone, progress: seen };
        Guard::take(&self.wanted, &self.fleet, &self.observed, &self.plan, by).await
    }

    async fn held<'a>(&'a self, run: &str) -> (Guard<'a, Hosts>, bool) {
        match self.takes(run, 0, &|_| false, &NoProgress).await {
            Taken::Held { lock, waited } => (*lock, waited),
            Taken::Other(other) => panic!("{other:?} holds it"),
        }
    }
}

#[test]
fn one_run_makes_a_swarm_and_another_waits_for_it() {
    swarm_sim::run(async {
        let bed = Bed::new().await;
        let (lock, waited) = bed.held("ann").await;
        assert!(!waited && lock.without.is_none() && lock.taken_over.is_none() && bed.machine().lock().is_dir());
        // One that lives is waited for as long as was asked, and said once.
        for (age, wait) in [(Duration::ZERO, 0), (BEAT, 3), (BEAT + Duration::from_secs(1), 3)] {
            bed.machine().is_old(age);
            let (began, waits) = (Instant::now(), Waits::default());
            let Taken::Other(other) = bed.takes("ben", wait, &|_| false, &waits).await else { panic!("it is held") };
            let took = began.elapsed();
            assert_eq!((other.run.as_str(), waits.count()), ("ann", u32::from(wait > 0)));
            assert!(took >= Duration::from_secs(wait) && took < Duration::from_secs(wait + 2), "{took:?}");
        }
        // One that gave no sign for longer may be gone or may not: it is waited for until that is known.
        for age in [BEAT + Duration::from_secs(2), QUIET - Duration::from_secs(1)] {
            bed.machine().is_old(age);
            let still = timeout(Duration::from_secs(90), bed.takes("ben", 3, &|_| false, &NoProgress)).await;
            assert!(still.is_err(), "{age:?}");
        }
        // Also where it cannot be read who it is.
        let text = std::fs::read_to_string(bed.machine().lock().join("holder")).unwrap();
        std::fs::write(bed.machine().lock().join("holder"), "nothing that can be read").unwrap();
        bed.machine().is_old(Duration::ZERO);
        assert!(timeout(Duration::from_secs(90), bed.takes("ben", 3, &|_| false, &NoProgress)).await.is_err());
        bed.machine().is_old(QUIET);
        let (unknown, waited) = bed.held("ben").await;
        assert!(waited && unknown.taken_over.is_none());
        unknown.give_back().await;
        assert!(!bed.machine().lock().exists(), "given back");
        std::fs::create_dir(bed.machine().lock()).unwrap();
        std::fs::write(bed.machine().lock().join("holder"), text).unwrap();
        // One that was quiet for long, or whose process is gone, is replaced, and named.
        bed.machine().is_old(QUIET);
        let (quiet, waited) = bed.held("ben").await;
        assert_eq!((quiet.taken_over.as_ref().map(|h| h.run.as_str()), waited), (Some("ann"), true));
        bed.machine().is_old(Duration::ZERO);
        let Taken::Held { lock: gone, waited } = bed.takes("cleo", 0, &|other| other.run == "ben", &NoProgress).await else {
            panic!("its process is gone")
        };
        assert_eq!((gone.taken_over.as_ref().map(|h| h.run.as_str()), waited), (Some("ben"), true));
        // What was taken over is not given back by whoever lost it.
        quiet.give_back().await;
        assert!(bed.machine().lock().is_dir());
        gone.give_back().await;
        assert!(!bed.machine().lock().exists());
    });
}

#[test]
fn a_run_goes_on_without_a_lock_where_the_host_gives_none() {
    swarm_sim::run(async {
        let mut bed = Bed::new().await;
        let nowhere = Machine { name: bed.machine().name.clone(), folder: "/nowhere".into(), ran: Mutex::default() };
        bed.fleet.machine = Some(Arc::new(nowhere));
        let (without, _) = bed.held("ann").await;
        assert!(without.without.as_deref().is_some_and(|why| why.contains("no folder in /run")), "{:?}", without.without);
        bed.fleet.machine = None;
        let (without, _) = bed.held("ann").await;
        assert!(without.without.as_deref().is_some_and(|why| why.contains("not reached")), "{:?}", without.without);
    });
}

/// The folder holds until there is a swarm, the run says that it lives, and what was done stands in the journal of the swarm it made.
#[test]
fn a_run_that_makes_a_swarm_stands_in_its_journal() {
    swarm_sim::run(async {
        let mut bed = Bed::new().await;
        let (lock, _) = bed.held("ann").await;
        let (stop, apply) = (Stop::default(), Apply::new(&bed.wanted, &bed.fleet));
        let work = async {
            // Nothing is there to write into yet: it says so on the host, every ten signs.
            tokio::time::sleep(Duration::from_secs(31)).await;
            assert_eq!(bed.machine().count("touch"), 7);
            let report = apply.run(&bed.plan, &bed.observed).await;
            tokio::time::sleep(Duration::from_secs(12)).await;
            report
        };
        let (report, left) = lock.during(&bed.plan, &stop, work).await;
        assert_eq!((report.ending, left, stop.is_stopped()), (Ending::Converged, None, false));
        assert!(!bed.machine().lock().exists(), "given back");
        let there = bed.fleet.engines.engine("m1").list(&Query::all(Kind::Config)).await.unwrap();
        let [journal] = &there[..] else { panic!("the journal alone: {there:?}") };
        let [run] = &runs(journal)[..] else { panic!("{journal:?}") };
        assert_eq!((journal.name(), run.who.as_str(), run.at, run.outcome.as_str()), (JOURNAL, "ann", 7, "converged"));
        let counted: BTreeMap<&str, usize> = report.steps.iter().fold(BTreeMap::new(), |mut counts, step| {
            *counts.entry(step.verb.as_str()).or_default() += 1;
            counts
        });
        let words: Vec<String> = counted.iter().map(|(verb, count)| format!("{count} {verb}")).collect();
        assert!(words.contains(&"4 join".to_owned()) && run.verbs == words.join(", ") && run.images.is_empty(), "{run:?}");
        assert!(run.took >= 43, "{run:?}");

        // Of images only those of steps that were done.
        let mut plan = bed.plan.clone();
        for (step, name) in plan.steps.iter_mut().zip(["web", "api"]) {
            step.id = StepId::new(format!("service/{name}/update"));
            step.after = format!("2 tasks\nImage: {name}:1 -> {name}:2\n");
        }
        bed.observed = Apply::new(&bed.wanted, &bed.fleet.engines).observe().await;
        let mut ended = Report::new(&plan, report.steps.clone(), None, false);
        ended.steps[0].id = StepId::new("service/web/update");
        ended.steps[1].id = StepId::new("service/api/update");
        ended.steps[1].outcome = Outcome::NotStarted;
        let (lock, waited) = bed.held("ben").await;
        assert!(!waited);
        let (_, left) = lock.during(&plan, &stop, async { ended }).await;
        assert_eq!(left, None);
        let journal = bed.fleet.engines.engine("m1").list(&Query::all(Kind::Config)).await.unwrap();
        let images: Vec<String> = runs(&journal[0]).into_iter().flat_map(|run| run.images).collect();
        assert_eq!(images, ["service/web: Image: web:1 -> web:2"]);
        assert!(bed.world.violations().is_empty());
    });
}

/// A run that did nothing leaves no journal and no folder.
#[test]
fn a_run_that_made_nothing_leaves_nothing() {
    swarm_sim::run(async {
        let bed = Bed::new().await;
        let (lock, _) = bed.held("ann").await;
        let nothing = async { Report::new(&bed.plan, Vec::new(), None, true) };
        let began = Instant::now();
        let (_, left) = lock.during(&bed.plan, &Stop::default(), nothing).await;
        assert_eq!((left, began.elapsed()), (None, Duration::ZERO), "no one is asked for a journal");
        assert!(!bed.machine().lock().exists());
    });
}
