//! A lab for one test, and what a test asks it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use swarm_core::driver::NoProgress;
use swarm_core::observe::Observed;
use swarm_core::plan::Plan;
use swarm_core::report::Report;
use swarm_core::{Apply, ApplyError, ClusterSpec};
use swarm_fleet::Connections;
use swarm_lab::{Lab, LabHost, LabOptions};
use tempfile::TempDir;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A lab that is taken down when the test ends, however it ends.
pub struct TestLab {
    /// The lab.
    pub lab: Lab,
    _dir: TempDir,
    began: Instant,
}

/// Names a file to which each lab adds a line: the story it was for, its seconds, its hosts.
const COSTS: &str = "SWARM_TEST_COSTS";

/// `docker node ls`, a line for each node: host name, role, state, availability.
const NODE_LS: &[&str] =
    &["node", "ls", "--format", "{{.Hostname}} {{if .ManagerStatus}}manager{{else}}worker{{end}} {{.Status}} {{.Availability}}"];

impl TestLab {
    /// Makes a lab of its own name.
    pub fn up(managers: usize, workers: usize) -> Self {
        Self::of(managers, workers, Vec::new())
    }

    /// Hosts without an engine, of these releases of Debian one after the other. They can install packages.
    pub fn bare(managers: usize, workers: usize, suites: &[&str]) -> Self {
        let images = suites.iter().map(|suite| swarm_lab::image(suite).unwrap_or_else(|e| panic!("{e}"))).collect();
        let lab = Self::of(managers, workers, images);
        lab.lab.give_packages(None).unwrap_or_else(|e| panic!("{e}"));
        lab
    }

    fn of(managers: usize, workers: usize, images: Vec<PathBuf>) -> Self {
        let name = format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let dir = tempfile::tempdir().unwrap();
        let began = Instant::now();
        let engine = std::env::var_os(crate::engines::ENGINE).filter(|e| !e.is_empty()).map(PathBuf::from);
        let lab =
            Lab::up(&LabOptions { name, managers, workers, dir: dir.path().to_owned(), engine, images }).unwrap_or_else(|e| panic!("{e}"));
        Self { lab, _dir: dir, began }
    }

    /// One host.
    pub fn host(&self, name: &str) -> &LabHost {
        self.lab.host(name).unwrap_or_else(|e| panic!("{e}"))
    }

    /// A cluster file with these hosts: name, role, and further keys in YAML flow form.
    pub fn text(&self, hosts: &[(&str, &str, &str)]) -> String {
        self.text_with(hosts, "")
    }

    /// The same, with further top-level lines.
    pub fn text_with(&self, hosts: &[(&str, &str, &str)], more: &str) -> String {
        let (key, known) = (self.lab.key(), self.lab.known_hosts());
        let mut text = format!(
            "name: {}\nssh: {{ user: root, identity_file: {}, known_hosts: {} }}\n{more}\nhosts:\n",
            self.lab.name,
            key.display(),
            known.display()
        );
        for (name, role, more) in hosts {
            let comma = if more.is_empty() { "" } else { ", " };
            let _ = writeln!(text, "  {name}: {{ address: {}, role: {role}{comma}{more} }}", self.host(name).address);
        }
        text
    }

    /// All hosts in the roles the lab gave them.
    pub fn all(&self, more: &'static str) -> Vec<(&str, &str, &'static str)> {
        self.lab.hosts.iter().map(|h| (h.name.as_str(), if h.name.starts_with('m') { "manager" } else { "worker" }, more)).collect()
    }

    /// Writes a cluster file for the command line.
    pub fn file(&self, text: &str) -> PathBuf {
        let path = self.lab.dir.join(format!("cluster-{}.yaml", NEXT.fetch_add(1, Ordering::SeqCst)));
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `docker …` inside a host.
    pub fn docker(&self, host: &str, args: &[&str]) -> String {
        self.host(host).exec(&[&["docker"], args].concat()).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Restarts engines that are in no swarm and keep its ports, as the check `port-held` says: on a busy machine moby does that now and then.
    pub fn lets_go(&self) {
        let holds = "[ \"$(docker info -f '{{.Swarm.LocalNodeState}}')\" = inactive ] && ss -lntH | grep -q :7946";
        std::thread::scope(|scope| {
            for host in &self.lab.hosts {
                scope.spawn(move || {
                    if host.exec(&["sh", "-c", holds]).is_ok() {
                        host.stop_engine();
                        host.start_engine().unwrap();
                    }
                });
            }
        });
    }

    /// Whether a manager lists this line of [`TestLab::nodes`]; false too where it cannot tell, as without a leader.
    pub fn lists(&self, manager: &str, line: &str) -> bool {
        self.host(manager).exec(&[&["docker"], NODE_LS].concat()).is_ok_and(|out| out.lines().any(|l| l == line))
    }

    /// What the managers list, as `docker node ls` tells it: host name, role or leadership, state, availability.
    pub fn nodes(&self, manager: &str) -> Vec<String> {
        let out = self.docker(manager, NODE_LS);
        let mut lines: Vec<String> = out.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        if let Some(file) = std::env::var_os(COSTS) {
            // The harness names a test's thread after the test.
            let story = std::thread::current().name().unwrap_or("?").to_owned();
            let processors: Duration = self.lab.hosts.iter().map(LabHost::processor_time).sum();
            let (seconds, hosts) = (self.began.elapsed().as_secs_f64(), self.lab.hosts.len());
            let line = format!("{seconds:.0}\t{:.0}\t{hosts}\t{story}\n", processors.as_secs_f64());
            let written = std::fs::OpenOptions::new().create(true).append(true).open(file).and_then(|mut f| f.write_all(line.as_bytes()));
            if let Err(error) = written {
                let _ = writeln!(std::io::stderr(), "the cost of {story} was not written: {error}");
            }
        }
        if std::env::var_os("KEEP_LAB").is_none()
            && let Err(error) = self.lab.down()
        {
            // A panic inside a panic would hide the first one.
            if !std::thread::panicking() {
                panic!("{error}");
            }
        }
    }
}

/// Reads a cluster file's text.
pub fn spec(text: &str) -> ClusterSpec {
    swarm_file::parse(text, &|_| None).unwrap_or_else(|e| panic!("{e}\n{text}")).spec
}

/// Plans and applies over fresh connections.
pub async fn apply(text: &str) -> Result<Report, ApplyError> {
    let spec = spec(text);
    let fleet = Connections::default();
    let apply = Apply::new(&spec, &fleet).progress(&NoProgress);
    let (plan, observed) = apply.plan().await?;
    Ok(apply.run(&plan, &observed).await)
}

/// Plans over fresh connections.
pub async fn plan(text: &str) -> Result<(Plan, Observed), ApplyError> {
    let spec = spec(text);
    let fleet = Connections::default();
    Apply::new(&spec, &fleet).plan().await
}

/// Applies, and wants everything to be as the file says.
pub async fn converge(text: &str) -> Report {
    let report = apply(text).await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(report.ending, swarm_core::report::Ending::Converged, "{report:#?}");
    report
}

/// Polls until something is so, and ends the test if it never is.
pub async fn eventually(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < until, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Runs a command on this machine.
pub fn sh(argv: &[&str]) -> String {
    let output = Command::new(argv[0]).args(&argv[1..]).output().unwrap_or_else(|e| panic!("{argv:?}: {e}"));
    assert!(output.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
