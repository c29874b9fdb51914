//! One host of a lab.

use crate::error::LabError;
use crate::files::{self, INIT};
use crate::process::{ask_to_end, find_processes, find_program, kill_now, run, wait_ended, wait_until};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What the lab's cluster file makes of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LabRole {
    /// A manager.
    Manager,
    /// A worker.
    Worker,
}

/// A host. It may be running or not.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LabHost {
    /// Name and host name.
    pub name: String,
    /// Its address, reached from this machine and from the other hosts.
    pub address: IpAddr,
    /// Its role in the lab's cluster file.
    pub role: LabRole,
    pub(crate) gateway: IpAddr,
    pub(crate) bridge: String,
    pub(crate) dir: PathBuf,
    pub(crate) cgroup: String,
    pub(crate) link: String,
    /// Its root filesystem, where it has one of its own.
    #[serde(default)]
    pub(crate) image: Option<PathBuf>,
}

/// How long sshd and dockerd may take. Ten at once on two cores need some seconds.
const UP_BUDGET: Duration = Duration::from_secs(60);

impl LabHost {
    /// The process id of the host's first process; `None` where it is not running.
    pub fn pid(&self) -> Option<i32> {
        let script = self.dir.join("init.sh");
        // `unshare` has the same argument, and so has for a moment what systemd starts; the first process of the host is the first inside.
        let is_first = |text: String| text.lines().any(|l| l.starts_with("NSpid:") && l.split_whitespace().next_back() == Some("1"));
        let first = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(is_first);
        find_processes(&[script.to_str()?]).into_iter().find(first)
    }

    pub(crate) fn running(&self) -> Result<i32, LabError> {
        self.pid().ok_or_else(|| LabError::NotRunning(self.name.clone()))
    }

    /// The engine's socket as this machine sees it.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("run/docker.sock")
    }

    /// The host's `/run`, seen from this machine: a socket made here is one inside the host too.
    pub fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// The host's `/etc/ssh`, seen from this machine.
    pub fn ssh_dir(&self) -> PathBuf {
        self.dir.join("etc-ssh")
    }

    /// The host's `/root`, seen from this machine.
    pub fn home_dir(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// The engine's data, seen from this machine.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("docker")
    }

    /// Starts the first process and gives the host its network. sshd and dockerd come up behind it.
    pub(crate) fn boot(&self) -> Result<(), LabError> {
        if self.pid().is_some() {
            return Ok(());
        }
        let sshd = find_program("sshd").ok_or_else(|| LabError::Missing(vec!["sshd (apt-get install openssh-server)".into()]))?;
        files::write(&self.dir.join("init.sh"), INIT, 0o644)?;
        files::write(&self.dir.join("cgroup"), &self.cgroup, 0o644)?;
        let log = std::fs::File::create(self.dir.join("init.log"))
            .map_err(|source| LabError::File { path: self.dir.join("init.log"), source })?;
        let errors = log.try_clone().map_err(|source| LabError::File { path: self.dir.join("init.log"), source })?;
        let mut command = Command::new("unshare");
        command
            .args(["--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "/bin/sh"])
            .arg(self.dir.join("init.sh"))
            .arg(&self.dir)
            .args([&self.name, &self.address.to_string(), &self.gateway.to_string(), &self.cgroup])
            .env("SSHD", sshd)
            .env("PATH", self.search_path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .current_dir("/")
            .process_group(0);
        let mut child = command.spawn().map_err(|e| LabError::Command { command: "unshare".into(), message: e.to_string() })?;
        // Reaped when it ends, so that no zombie keeps its name; the thread ends with the host.
        std::thread::spawn(move || child.wait());
        let mut pid = None;
        wait_until(Duration::from_secs(10), || {
            pid = self.pid();
            pid.is_some()
        });
        let pid = pid.ok_or_else(|| self.late("the first process", 10))?.to_string();
        let _ = run(&["ip", "link", "del", &self.link]);
        run(&[
            "ip",
            "link",
            "add",
            &self.link,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "address",
            &self.hardware_address(),
            "netns",
            &pid,
        ])?;
        run(&["ip", "link", "set", &self.link, "master", &self.bridge, "up"])?;
        Ok(())
    }

    /// From its next start on the engine is the one below this folder, in `usr/sbin` and `usr/bin` as its packages have it; `None` is
    /// the machine's own. Its data stays as it is.
    ///
    /// # Errors
    /// The host's folder cannot be written.
    pub fn use_engine(&self, folder: Option<&Path>) -> Result<(), LabError> {
        let text = folder.map_or(String::new(), |f| f.display().to_string());
        files::write(&self.dir.join("engine"), &text, 0o644)
    }

    fn search_path(&self) -> String {
        let own = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned();
        match std::fs::read_to_string(self.dir.join("engine")) {
            Ok(folder) if !folder.is_empty() => format!("{folder}/usr/sbin:{folder}/usr/bin:{own}"),
            _ => own,
        }
    }

    /// The same after every start, as that of a machine is: the others keep it in their neighbour tables.
    fn hardware_address(&self) -> String {
        let IpAddr::V4(address) = self.address else { return "02:42:00:00:00:01".into() };
        let [a, b, c, d] = address.octets();
        format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
    }

    /// The address of this machine on the lab's bridge, as the host sees it.
    pub fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// Whether it has a root filesystem of its own, which had no engine at first.
    pub fn is_bare(&self) -> bool {
        self.image.is_some()
    }

    /// Waits until sshd and dockerd answer; on a bare host, sshd alone.
    pub fn wait_up(&self) -> Result<(), LabError> {
        let socket = self.socket();
        if !self.is_bare() && !wait_until(UP_BUDGET, || ping(&socket)) {
            return Err(self.late("dockerd", UP_BUDGET.as_secs()));
        }
        let at = std::net::SocketAddr::new(self.address, 22);
        if !wait_until(UP_BUDGET, || std::net::TcpStream::connect_timeout(&at, Duration::from_secs(1)).is_ok()) {
            return Err(self.late("sshd", UP_BUDGET.as_secs()));
        }
        Ok(())
    }

    fn late(&self, what: &'static str, seconds: u64) -> LabError {
        let log = self.dir.join(if what == "dockerd" { "dockerd.log" } else { "init.log" });
        LabError::Late { host: self.name.clone(), what, seconds, log }
    }

    /// Starts a host that was killed, or the engine of one whose engine died. Its data is as it was; after a kill `/run` is empty, as
    /// after a reboot.
    pub fn start(&self) -> Result<(), LabError> {
        if self.pid().is_some() && !self.is_bare() && self.engine_pids().is_empty() {
            return self.start_engine();
        }
        self.boot()?;
        self.wait_up()
    }

    /// Ends the host. `hard` is a power cut; otherwise the engine is asked to stop first.
    pub fn kill(&self, hard: bool) -> Result<(), LabError> {
        let pid = self.running()?;
        if !hard {
            self.stop_engine();
        }
        kill_now(pid);
        // The first process of the host is its last to end.
        if !wait_ended(&[pid], Duration::from_secs(20)) {
            return Err(LabError::Command { command: format!("kill -9 {pid}"), message: format!("{} did not end within 20 s", self.name) });
        }
        let _ = run(&["ip", "link", "del", &self.link]);
        Ok(())
    }

    /// Asks dockerd to stop, and waits until it has.
    pub fn stop_engine(&self) {
        let pids = self.engine_pids();
        pids.iter().for_each(|pid| ask_to_end(*pid));
        if !wait_ended(&pids, Duration::from_secs(20)) {
            // One that does not end in time is ended.
            pids.iter().for_each(|pid| kill_now(*pid));
            wait_ended(&pids, Duration::from_secs(5));
        }
    }

    /// Sends a signal by name (`STOP`, `CONT`, `KILL`) to the host's dockerd. After `KILL` it has ended.
    pub fn signal_engine(&self, signal: &str) -> Result<(), LabError> {
        let pids = self.engine_pids();
        for pid in &pids {
            let sent = run(&["kill", &format!("-{signal}"), &pid.to_string()]);
            // What the engine starts for a moment may have ended since it was listed.
            if Path::new(&format!("/proc/{pid}")).exists() {
                sent?;
            }
        }
        if signal == "KILL" && !wait_ended(&pids, Duration::from_secs(10)) {
            return Err(LabError::Command { command: format!("kill -KILL {pids:?}"), message: "it did not end within 10 s".into() });
        }
        Ok(())
    }

    /// Starts dockerd again after [`LabHost::stop_engine`] or a signal that ended it.
    pub fn start_engine(&self) -> Result<(), LabError> {
        self.start_engine_with(&[])
    }

    /// The same, with further arguments for dockerd.
    pub fn start_engine_with(&self, more: &[&str]) -> Result<(), LabError> {
        let log = self.dir.join("dockerd.log");
        let script = format!(
            "rm -f /run/docker.pid; for p in $(cat /run/docker/containerd/containerd.pid 2>/dev/null); do kill -9 $p 2>/dev/null; done; \
             PATH={} setsid dockerd --host unix:///run/docker.sock --storage-driver overlay2 --cgroup-parent {} --userland-proxy=false --log-level warn {} >>{} 2>&1 </dev/null &",
            self.search_path(),
            self.cgroup,
            more.join(" "),
            log.display()
        );
        self.exec(&["sh", "-c", &script])?;
        self.wait_up()
    }

    /// The last lines of the engine's log, empty where it cannot be read.
    #[must_use]
    pub fn engine_log(&self, lines: usize) -> String {
        let log = std::fs::read_to_string(self.dir.join("dockerd.log")).unwrap_or_default();
        let mut last: Vec<&str> = log.lines().rev().take(lines).collect();
        last.reverse();
        last.join("\n")
    }

    pub(crate) fn engine_pids(&self) -> Vec<i32> {
        find_processes(&["--cgroup-parent", &self.cgroup])
            .into_iter()
            .filter(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c.trim() == "dockerd"))
            .collect()
    }

    /// The command that runs something inside the host.
    pub fn enter(&self) -> Result<Command, LabError> {
        let pid = self.running()?.to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--wd", "--"]);
        command.env("HOME", "/root");
        Ok(command)
    }

    /// Runs a command inside the host and gives its standard output.
    pub fn exec(&self, argv: &[&str]) -> Result<String, LabError> {
        let failed = |message: String| LabError::Command { command: format!("{}: {}", self.name, argv.join(" ")), message };
        let output = self.enter()?.args(argv).stdin(Stdio::null()).output().map_err(|e| failed(e.to_string()))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(failed(format!("{} {}", output.status, String::from_utf8_lossy(&output.stderr).trim())))
        }
    }

    /// Stops sshd and starts it with the configuration that is in [`LabHost::ssh_dir`] now. Sessions go on.
    pub fn restart_sshd(&self) -> Result<(), LabError> {
        let script = "if [ -f /run/sshd.pid ]; then kill $(cat /run/sshd.pid); while [ -f /run/sshd.pid ]; do sleep 0.02; done; fi; $0 -f /etc/ssh/sshd_config -E $1";
        let sshd = find_program("sshd").unwrap_or_else(|| "/usr/sbin/sshd".into());
        let log = self.dir.join("sshd.log").display().to_string();
        self.exec(&["sh", "-c", script, &sshd, &log])?;
        self.wait_up()
    }

    /// Memory of all processes of the host in bytes; pages shared with others count in part (`Pss`).
    pub fn memory(&self) -> u64 {
        let of = |text: String| {
            text.lines().find_map(|l| l.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        self.of_processes("smaps_rollup").into_iter().map(of).sum::<u64>() * 1024
    }

    /// What the host's processes, and those of theirs that have ended, took of the processors since the host was started last.
    pub fn processor_time(&self) -> Duration {
        // proc(5): the numbers 14 to 17 of a line, in hundredths of a second; the name in parentheses may hold blanks.
        let of = |text: String| -> u64 {
            let numbers = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(4);
            numbers.filter_map(|n| n.parse::<u64>().ok()).sum()
        };
        Duration::from_millis(self.of_processes("stat").into_iter().map(of).sum::<u64>() * 10)
    }

    /// A file of `/proc` for each process of the host.
    fn of_processes(&self, file: &str) -> Vec<String> {
        let Ok(pid) = self.running() else { return Vec::new() };
        let space = std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
        let own = entries.filter_map(Result::ok).filter(|e| space.is_some() && std::fs::read_link(e.path().join("ns/pid")).ok() == space);
        own.filter_map(|e| std::fs::read_to_string(e.path().join(file)).ok()).collect()
    }
}

/// Whether an engine answers on a socket.
pub(crate) fn ping(socket: &Path) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = UnixStream::connect(socket) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let mut answer = [0u8; 15];
    stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: lab\r\n\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer.ends_with(b"200 OK")
}
