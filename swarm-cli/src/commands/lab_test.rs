//! `swarm lab test`: a cluster file from nothing to nothing, on hosts of this machine.

use crate::args_common::Format;
use crate::failure::Failure;
use crate::{output, source};
use serde_json::json;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use swarm_core::ClusterSpec;
use swarm_core::spec::Role;
use swarm_lab::{Lab, LabOptions};

/// How long another manager may take to lead.
const FAILOVER: Duration = Duration::from_secs(60);

/// Options of a swarm that need more than its hosts: an authority, and a place for a key.
const NEED_MORE: [&str; 2] = ["external_ca", "autolock"];

/// What a file says besides, and what is not tried.
fn untried(spec: &ClusterSpec) -> Vec<&'static str> {
    let options = spec.settings().entries().into_iter().map(|(key, _)| key).filter(|key| NEED_MORE.contains(key));
    options.chain(spec.beyond_membership()).collect()
}

/// One stage's row.
struct Stage {
    name: &'static str,
    took: Duration,
    failed: Option<String>,
}

pub(super) fn run(file: Option<&Path>, keep: bool, format: Format) -> Result<u8, Failure> {
    let wanted = file.map(source::file).transpose()?;
    let count = |role: Role, default: usize| wanted.as_ref().map_or(default, |spec| spec.hosts().filter(|h| h.role == role).count());
    let (managers, workers) = (count(Role::Manager, 3), count(Role::Worker, 3));
    let untried = wanted.as_ref().map(untried).unwrap_or_default();
    if !untried.is_empty() {
        output::note(&format!("not tried here: {}", untried.join(", ")));
    }
    let name = format!("test-{}", std::process::id());
    let dir = std::env::temp_dir().join(format!("swarm-lab-{name}"));
    let mut test = Test { name: name.clone(), file: dir.join("cluster.yaml"), stages: Vec::new(), format };
    let made = test
        .stage("create", || Ok(Lab::up(&LabOptions { name: name.clone(), managers, workers, dir: dir.clone(), ..LabOptions::default() })?));
    let Some(lab) = made else { return test.end() };
    let text = match &wanted {
        Some(spec) => rewritten(spec, &lab),
        None => std::fs::read_to_string(lab.file()).unwrap_or_default(),
    };
    std::fs::write(&test.file, text).map_err(|e| Failure::Io(test.file.clone(), e.to_string()))?;
    // A stage that failed has its row; the stages after it do not run.
    let _ = test.pipeline(&lab, managers);
    if keep {
        output::note(&format!("the lab {name} stays up; its cluster file is {}", test.file.display()));
    } else {
        lab.down()?;
        let _ = std::fs::remove_dir_all(&dir);
    }
    test.end()
}

struct Test {
    name: String,
    file: PathBuf,
    stages: Vec<Stage>,
    format: Format,
}

impl Test {
    /// Every stage in its order; `None` where one failed.
    fn pipeline(&mut self, lab: &Lab, managers: usize) -> Option<()> {
        self.verb("check the file", &["validate"], 0)?;
        self.verb("converge", &["apply", "--yes"], 0)?;
        self.verb("second run", &["plan"], 0)?;
        self.verb("verify", &["verify", "--timeout", "30s"], 0)?;
        if managers >= 3 {
            let file = self.file.clone();
            self.stage("failover", || failover(lab, &file))?;
        }
        self.verb("destroy", &["destroy", "--yes"], 0)
    }

    fn stage<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T, Failure>) -> Option<T> {
        let began = Instant::now();
        let result = work();
        let stage = Stage { name, took: began.elapsed(), failed: result.as_ref().err().map(ToString::to_string) };
        if self.format == Format::Text {
            let ended = stage.failed.as_ref().map_or("ok".to_owned(), |why| format!("FAILED: {why}"));
            output::data(&format!("{name:16} {:6.1} s  {ended}", stage.took.as_secs_f64()));
        }
        self.stages.push(stage);
        result.ok()
    }

    fn verb(&mut self, name: &'static str, args: &[&str], code: i32) -> Option<()> {
        let file = self.file.clone();
        self.stage(name, || {
            let ran = swarm(args, &file)?;
            if ran.status.code() == Some(code) { Ok(()) } else { Err(Failure::Other(said(&ran))) }
        })
    }

    fn end(self) -> Result<u8, Failure> {
        let good = self.stages.iter().all(|s| s.failed.is_none());
        if self.format == Format::Json {
            let row = |s: &Stage| json!({ "stage": s.name, "seconds": s.took.as_secs_f64(), "failed": s.failed });
            let rows: Vec<_> = self.stages.iter().map(row).collect();
            output::json("lab-test", &json!({ "lab": self.name, "good": good, "stages": rows }));
        }
        Ok(u8::from(!good))
    }
}

fn swarm(args: &[&str], file: &Path) -> Result<Output, Failure> {
    let program = std::env::current_exe().map_err(|e| Failure::Other(e.to_string()))?;
    Command::new(program).args(args).arg("-f").arg(file).output().map_err(|e| Failure::Other(e.to_string()))
}

/// What a run said, for the row of a stage that failed.
fn said(ran: &Output) -> String {
    let all = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    format!("{}\n{}", ran.status, all.trim())
}

/// The leader loses its power; another one leads; it comes back and everything matches the file.
fn failover(lab: &Lab, file: &Path) -> Result<(), Failure> {
    let leader = || -> Result<Option<String>, Failure> {
        let ran = swarm(&["status", "--format", "json"], file)?;
        let status: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap_or_default();
        let hosts = status.get("hosts").and_then(|h| h.as_array()).cloned().unwrap_or_default();
        let leads = hosts.iter().find(|h| h.pointer("/node/manager/leader").and_then(serde_json::Value::as_bool) == Some(true));
        Ok(leads.and_then(|h| h.get("host")?.as_str().map(str::to_owned)))
    };
    let first = leader()?.ok_or_else(|| Failure::Other("no leader is seen".into()))?;
    let address = source::file(file)?.host(&first.as_str().into()).map(|h| h.address.to_string()).unwrap_or_default();
    let host =
        lab.hosts.iter().find(|h| h.address.to_string() == address).ok_or_else(|| Failure::Other(format!("{first} is no lab host")))?;
    host.kill(true)?;
    let until = Instant::now() + FAILOVER;
    while leader()?.is_none_or(|now| now == first) {
        if Instant::now() >= until {
            return Err(Failure::Other(format!("{first} was powered off and no other manager leads after {} s", FAILOVER.as_secs())));
        }
    }
    host.start()?;
    let ran = swarm(&["verify", "--timeout", "60s"], file)?;
    if ran.status.success() { Ok(()) } else { Err(Failure::Other(said(&ran))) }
}

/// The user's cluster on the lab's hosts: roles, labels, availability and options are the file's, addresses and login the lab's.
fn rewritten(spec: &ClusterSpec, lab: &Lab) -> String {
    let mut text = format!(
        "name: {}\nssh: {{ user: root, identity_file: {}, known_hosts: {} }}\nhosts:\n",
        spec.name(),
        lab.key().display(),
        lab.known_hosts().display()
    );
    let mut free: Vec<_> = lab.hosts.iter().collect();
    for host in spec.hosts() {
        let wanted = if host.role == Role::Manager { swarm_lab::LabRole::Manager } else { swarm_lab::LabRole::Worker };
        let Some(index) = free.iter().position(|h| h.role == wanted) else { continue };
        let on = free.remove(index);
        let labels: Vec<String> = host.labels.iter().filter_map(|(k, v)| Some(format!("{}: {}", json!(k), json!(v.as_ref()?)))).collect();
        let availability = host.availability.map_or(String::new(), |a| format!(", availability: {a}"));
        let _ = writeln!(
            text,
            "  {}: {{ address: {}, role: {}{availability}, labels: {{ {} }} }}",
            host.name,
            on.address,
            host.role,
            labels.join(", ")
        );
    }
    let options = spec.settings().entries();
    let init = spec.init();
    let pool: Vec<String> = init.default_addr_pool.iter().map(ToString::to_string).collect();
    let fixed = [
        ("default_addr_pool", (!pool.is_empty()).then(|| format!("[{}]", pool.join(", ")))),
        ("default_addr_pool_mask_length", init.default_addr_pool_mask_length.map(|v| v.to_string())),
        ("data_path_port", init.data_path_port.map(|v| v.to_string())),
    ];
    let plain = options.into_iter().filter(|(key, _)| !NEED_MORE.contains(key));
    let all = plain.chain(fixed.into_iter().filter_map(|(key, value)| Some((key, value?))));
    let options: Vec<String> = all.map(|(key, value)| format!("{key}: {value}")).collect();
    if !options.is_empty() {
        let _ = writeln!(text, "swarm: {{ {} }}", options.join(", "));
    }
    text
}
