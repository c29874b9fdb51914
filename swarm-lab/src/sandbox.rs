//! An engine on a copy of a swarm's state, in a network of its own with nothing but loopback: no packet of it leaves, so that it can be asked
//! what it knows without being the member that it was. The state is in memory, in a mount namespace of its own, and goes with it.

use crate::error::LabError;
use crate::process::{find_program, wait_until};
use std::io::{Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long its engine may take to answer: one without its peers looks for them for 20 s first.
const UP_BUDGET: Duration = Duration::from_secs(90);

/// The first process. Arguments: the address and the host name that the manager had, and the size of the packed state, which comes on standard
/// input. That stays open for as long as whoever began this lives.
const INIT: &str = r#"set -e
address=$1 size=$3
hostname "$2"
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=700 tmpfs /run
mkdir /run/state
head -c "$size" | tar -C /run/state -xzf -
ip link set lo up
ip addr add "$address" dev lo
# The engine looks for its own address on the way to the manager it once joined through.
ip route add default dev lo
dockerd --host unix:///run/docker.sock --data-root /run/state --storage-driver vfs --bridge none --iptables=false \
  --userland-proxy=false --log-level warn </dev/null &
engine=$!
exec 3<&0
(cat <&3 >/dev/null; kill -9 "$engine") &
wait "$engine"
"#;

/// Such an engine. It ends when this is dropped, or when the program does that made it.
#[derive(Debug)]
pub struct Sandbox {
    child: Child,
    /// Closed, it ends the engine.
    _input: std::process::ChildStdin,
}

impl Sandbox {
    /// What it needs and is not there: root, and the programs.
    pub fn missing() -> Vec<String> {
        let mut missing = Vec::new();
        if !nix::unistd::geteuid().is_root() {
            missing.push("root".to_owned());
        }
        missing.extend(["dockerd", "unshare", "ip", "tar", "mount"].into_iter().filter(|p| find_program(p).is_none()).map(str::to_owned));
        missing
    }

    /// Starts an engine on a packed state (`swarm/…`, gzipped tar), as the manager that had this address and host name.
    ///
    /// # Errors
    /// Something is missing, or it does not come up.
    pub fn start(state: &[u8], address: std::net::IpAddr, hostname: &str) -> Result<Self, LabError> {
        let missing = Self::missing();
        if !missing.is_empty() {
            return Err(LabError::Missing(missing));
        }
        let failed = |message: String| LabError::Command { command: "dockerd".into(), message };
        let words = |e: std::io::Error| failed(e.to_string());
        // It has no name, and goes with its last reader.
        let mut log = tempfile::tempfile().map_err(words)?;
        let mut child = Command::new("unshare")
            .args(["--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", INIT, "sh"])
            .args([&address.to_string(), hostname, &state.len().to_string()])
            .stdin(Stdio::piped())
            .stdout(log.try_clone().map_err(words)?)
            .stderr(log.try_clone().map_err(words)?)
            .current_dir("/")
            .process_group(0)
            .spawn()
            .map_err(words)?;
        let mut input = child.stdin.take().ok_or_else(|| failed("it has no standard input".into()))?;
        // One that ends before it has read everything says why in its log.
        let _ = input.write_all(state);
        let mut sandbox = Self { child, _input: input };
        let socket = sandbox.socket();
        let ended = |sandbox: &mut Self| sandbox.child.try_wait().is_ok_and(|ended| ended.is_some());
        if wait_until(UP_BUDGET, || crate::host::ping(&socket) || ended(&mut sandbox)) && !ended(&mut sandbox) {
            return Ok(sandbox);
        }
        let mut said = String::new();
        let _ = log.rewind().and_then(|()| log.read_to_string(&mut said));
        let last: Vec<&str> = said.lines().rev().take(3).collect();
        Err(failed(last.into_iter().rev().collect::<Vec<_>>().join("; ")))
    }

    /// The engine's socket, as it is seen from outside of its namespaces.
    pub fn socket(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/run/docker.sock", self.child.id()))
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The first process of the namespaces ends with it, and everything in them.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
