//! An engine on a copy of a swarm's state, in a network of its own with nothing but loopback: no packet of it leaves, so that it can be asked
//! what it knows without being the member that it was.

use crate::error::LabError;
use crate::files::{make_dir, write};
use crate::process::{find_program, wait_until};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long its engine may take to answer: one without its peers looks for them for 20 s first.
const UP_BUDGET: Duration = Duration::from_secs(90);

/// The first process. Arguments: directory, the address and the host name that the manager had.
const INIT: &str = r#"set -e
dir=$1 address=$2
hostname "$3"
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
ip link set lo up
ip addr add "$address" dev lo
# The engine looks for its own address on the way to the manager it once joined through.
ip route add default dev lo
exec dockerd --host "unix://$dir/docker.sock" --data-root "$dir/docker" --exec-root "$dir/exec" --pidfile "$dir/docker.pid" \
  --storage-driver vfs --bridge none --iptables=false --userland-proxy=false --log-level warn
"#;

/// Such an engine. It ends, and its files go, when this is dropped.
#[derive(Debug)]
pub struct Sandbox {
    dir: PathBuf,
    child: Child,
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
        let dir = std::env::temp_dir().join(format!("swarm-sandbox-{}", std::process::id()));
        std::fs::remove_dir_all(&dir)
            .or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
            .map_err(|source| LabError::File { path: dir.clone(), source })?;
        make_dir(&dir)?;
        private(&dir)?;
        make_dir(&dir.join("docker"))?;
        unpack(state, &dir.join("docker"))?;
        write(&dir.join("init.sh"), INIT, 0o644)?;
        let log_path = dir.join("dockerd.log");
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| LabError::File { path, source }
        };
        let log = std::fs::File::create(&log_path).map_err(failed(&log_path))?;
        let errors = log.try_clone().map_err(failed(&log_path))?;
        let child = Command::new("unshare")
            .args(["--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "/bin/sh"])
            .arg(dir.join("init.sh"))
            .arg(&dir)
            .arg(address.to_string())
            .arg(hostname)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .current_dir("/")
            .process_group(0)
            .spawn()
            .map_err(|e| LabError::Command { command: "unshare".into(), message: e.to_string() })?;
        let mut sandbox = Self { dir, child };
        let socket = sandbox.socket();
        let up = wait_until(UP_BUDGET, || crate::host::ping(&socket) || sandbox.child.try_wait().is_ok_and(|ended| ended.is_some()));
        if up && crate::host::ping(&socket) {
            return Ok(sandbox);
        }
        let said = std::fs::read_to_string(&log_path).unwrap_or_default();
        let last: Vec<&str> = said.lines().rev().take(3).collect();
        Err(LabError::Command { command: "dockerd".into(), message: last.into_iter().rev().collect::<Vec<_>>().join("; ") })
    }

    /// The engine's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("docker.sock")
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The first process of the namespace ends with it, and everything in it.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = wait_until(Duration::from_secs(10), || std::fs::remove_dir_all(&self.dir).is_ok());
    }
}

fn private(dir: &Path) -> Result<(), LabError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).map_err(|source| LabError::File { path: dir.into(), source })
}

fn unpack(state: &[u8], into: &Path) -> Result<(), LabError> {
    let failed = |message: String| LabError::Command { command: "tar".into(), message };
    let mut child = Command::new("tar")
        .arg("-C")
        .arg(into)
        .args(["-xzf", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| failed(e.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(state).map_err(|e| failed(e.to_string()))?;
    }
    let output = child.wait_with_output().map_err(|e| failed(e.to_string()))?;
    if output.status.success() { Ok(()) } else { Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())) }
}
