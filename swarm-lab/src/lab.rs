//! A whole lab: up, found again, down.

use crate::error::LabError;
use crate::files;
use crate::host::{LabHost, LabRole};
use crate::image::manager_of;
use crate::process::{find_processes, find_program, kill_now, run, wait_ended, wait_until};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where hosts live. Short, because the path of a unix socket has at most 107 bytes.
const ROOT: &str = "/var/lib/swarm-lab";

/// What a lab is to be.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// Its name; labs with different names run side by side.
    pub name: String,
    /// How many hosts its cluster file calls managers.
    pub managers: usize,
    /// How many hosts its cluster file calls workers.
    pub workers: usize,
    /// Where the cluster file, the key and known_hosts are written, in a directory of the lab's name.
    pub dir: PathBuf,
    /// The folder of the engine that the hosts have; see [`LabHost::use_engine`].
    pub engine: Option<PathBuf>,
    /// Root filesystems ([`crate::image`]) of hosts without an engine, one after the other; none for hosts that have this machine's own files
    /// and its engine.
    pub images: Vec<PathBuf>,
}

impl Default for LabOptions {
    fn default() -> Self {
        Self { name: "lab".into(), managers: 3, workers: 3, dir: ".lab".into(), engine: None, images: Vec::new() }
    }
}

/// A lab.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lab {
    /// Its name.
    pub name: String,
    /// Its hosts: managers first.
    pub hosts: Vec<LabHost>,
    /// Where its files for the user are.
    pub dir: PathBuf,
    bridge: String,
}

/// What this machine lacks for a lab, each with the package that brings it.
pub fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        missing.push("root (sudo)".to_owned());
    }
    let programs = [
        ("dockerd", "docker.io"),
        ("containerd", "containerd"),
        ("sshd", "openssh-server"),
        ("ssh-keygen", "openssh-client"),
        ("ip", "iproute2"),
        ("ss", "iproute2"),
        ("iptables", "iptables"),
        ("unshare", "util-linux"),
        ("nsenter", "util-linux"),
    ];
    missing
        .extend(programs.iter().filter(|(p, _)| find_program(p).is_none()).map(|(p, package)| format!("{p} (apt-get install {package})")));
    missing
}

impl Lab {
    /// Makes a lab and waits until every host answers. What was begun is taken down again if it fails.
    pub fn up(options: &LabOptions) -> Result<Self, LabError> {
        let missing = missing();
        if !missing.is_empty() {
            return Err(LabError::Missing(missing));
        }
        let fits = !options.name.is_empty()
            && options.name.len() <= 20
            && options.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !fits {
            return Err(LabError::Name(options.name.clone()));
        }
        if options.managers + options.workers == 0 {
            return Err(LabError::NoHosts);
        }
        if Path::new(ROOT).join(&options.name).join("lab.json").exists() {
            let dir = Self::find(&options.name).map(|lab| lab.dir).unwrap_or_default();
            return Err(LabError::Exists { name: options.name.clone(), dir });
        }
        allow_neighbours(options.managers + options.workers);
        let lab = Self::lay_out(options)?;
        if let Err(error) = lab.boot() {
            let _ = lab.down();
            return Err(error);
        }
        Ok(lab)
    }

    /// Finds a lab that is up, or was.
    pub fn find(name: &str) -> Result<Self, LabError> {
        let path = Path::new(ROOT).join(name).join("lab.json");
        let text = std::fs::read_to_string(&path).map_err(|_| LabError::NotFound(name.to_owned()))?;
        serde_json::from_str(&text).map_err(|e| LabError::File { path, source: e.into() })
    }

    /// The names of all labs of this machine.
    pub fn all() -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(ROOT) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .filter_map(Result::ok)
            .filter(|e| e.path().join("lab.json").exists())
            .filter_map(|e| e.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// One host.
    pub fn host(&self, name: &str) -> Result<&LabHost, LabError> {
        self.hosts.iter().find(|h| h.name == name).ok_or_else(|| LabError::NoHost {
            lab: self.name.clone(),
            host: name.to_owned(),
            hosts: self.hosts.iter().map(|h| h.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    /// The cluster file.
    pub fn file(&self) -> PathBuf {
        self.dir.join("swarm.yaml")
    }

    /// The private key that every host lets in.
    pub fn key(&self) -> PathBuf {
        self.dir.join("id_ed25519")
    }

    /// The host keys.
    pub fn known_hosts(&self) -> PathBuf {
        self.dir.join("known_hosts")
    }

    fn root(name: &str) -> PathBuf {
        Path::new(ROOT).join(name)
    }

    fn lay_out(options: &LabOptions) -> Result<Self, LabError> {
        let root = Self::root(&options.name);
        files::make_dir(&root)?;
        files::make_dir(&options.dir)?;
        let absolute = options.dir.canonicalize().map_err(|source| LabError::File { path: options.dir.clone(), source })?;
        let dir = absolute.join(&options.name);
        files::make_dir(&dir)?;
        let (bridge, net) = make_bridge(&options.name)?;
        let names = (1..=options.managers)
            .map(|i| (format!("m{i}"), LabRole::Manager))
            .chain((1..=options.workers).map(|i| (format!("w{i}"), LabRole::Worker)));
        let hosts = names
            .zip(11u8..=250)
            .enumerate()
            .map(|(index, ((name, role), last))| LabHost {
                image: options.images.get(index % options.images.len().max(1)).cloned(),
                address: IpAddr::V4(Ipv4Addr::new(10, 214, net, last)),
                gateway: IpAddr::V4(Ipv4Addr::new(10, 214, net, 1)),
                bridge: bridge.clone(),
                dir: root.join(&name),
                cgroup: format!("/swarm-lab/{}/{name}", options.name),
                link: format!("{bridge}.{last}"),
                name,
                role,
            })
            .collect();
        let lab = Self { name: options.name.clone(), hosts, dir, bridge };
        lab.save()?;
        let _ = std::fs::remove_file(lab.key());
        run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "swarm-lab", "-f", &lab.key().display().to_string()])?;
        let public = lab.key().with_extension("pub");
        let public = std::fs::read_to_string(&public).map_err(|source| LabError::File { path: public.clone(), source })?;
        let mut known = String::new();
        for host in &lab.hosts {
            files::lay_out(&host.dir, &host.name, &host.address.to_string(), &public)?;
            if let Some(image) = &host.image {
                files::lay_out_bare(&host.dir, &host.name, (image, manager_of(image)), &host.cgroup, host.gateway)?;
            }
            if let Some(engine) = &options.engine {
                host.use_engine(Some(engine))?;
            }
            let key = host.ssh_dir().join("ssh_host_ed25519_key");
            if !key.exists() {
                run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", &host.name, "-f", &key.display().to_string()])?;
            }
            let line = std::fs::read_to_string(key.with_extension("pub")).map_err(|source| LabError::File { path: key.clone(), source })?;
            let _ = write!(known, "{} {line}", host.address);
        }
        files::write(&lab.known_hosts(), &known, 0o600)?;
        files::write(&lab.file(), &lab.cluster_file(), 0o644)?;
        Ok(lab)
    }

    fn save(&self) -> Result<(), LabError> {
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        files::write(&Self::root(&self.name).join("lab.json"), &text, 0o644)
    }

    fn cluster_file(&self) -> String {
        let mut text = format!(
            "name: {}\nssh:\n  user: root\n  identity_file: {}\n  known_hosts: {}\nhosts:\n",
            self.name,
            self.key().display(),
            self.known_hosts().display()
        );
        for host in &self.hosts {
            let role = if host.role == LabRole::Manager { "manager" } else { "worker" };
            let _ = writeln!(text, "  {}: {{ address: {}, role: {role} }}", host.name, host.address);
        }
        text
    }

    fn boot(&self) -> Result<(), LabError> {
        self.each(LabHost::boot)?;
        self.each(LabHost::wait_up)
    }

    /// Does something on all hosts at once; the first error counts.
    fn each(&self, work: impl Fn(&LabHost) -> Result<(), LabError> + Sync) -> Result<(), LabError> {
        std::thread::scope(|scope| {
            let work = &work;
            let threads: Vec<_> = self.hosts.iter().map(|host| scope.spawn(move || work(host))).collect();
            threads.into_iter().filter_map(|t| t.join().ok()).collect()
        })
    }

    /// Takes the lab down: no process, namespace, link, mount or cgroup is left, and no file but those in `dir` that are not the lab's.
    pub fn down(&self) -> Result<(), LabError> {
        let root = Self::root(&self.name);
        let mut pids = Vec::new();
        for host in &self.hosts {
            pids.extend(find_processes(&["lab", "forward", &host.dir.display().to_string()]));
            pids.extend(host.pid());
        }
        self.end_packages();
        pids.iter().for_each(|pid| kill_now(*pid));
        wait_ended(&pids, Duration::from_secs(20));
        for host in &self.hosts {
            let _ = run(&["ip", "link", "del", &host.link]);
        }
        let _ = run(&["ip", "link", "del", &self.bridge]);
        remove_cgroups(&self.name);
        let mut last = Ok(());
        // The kernel lets go of a dead host's mounts a moment after its last process.
        wait_until(Duration::from_secs(20), || {
            last = std::fs::remove_dir_all(&root);
            last.is_ok() || !root.exists()
        });
        if root.exists() {
            last.map_err(|source| LabError::File { path: root, source })?;
        }
        for file in [self.file(), self.key(), self.key().with_extension("pub"), self.known_hosts()] {
            let _ = std::fs::remove_file(file);
        }
        let _ = std::fs::remove_dir(&self.dir);
        Ok(())
    }

    /// Loads an image archive into every running host.
    pub fn load(&self, archive: &Path) -> Result<(), LabError> {
        let bytes = std::fs::read(archive).map_err(|source| LabError::File { path: archive.into(), source })?;
        self.each(|host| {
            use std::io::Write;
            if host.pid().is_none() {
                return Ok(());
            }
            let failed = |message: String| LabError::Command { command: format!("{}: docker load", host.name), message };
            let mut child = host
                .enter()?
                .args(["docker", "load", "--quiet"])
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::null())
                .spawn()
                .map_err(|e| failed(e.to_string()))?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(&bytes).map_err(|e| failed(e.to_string()))?;
            }
            let status = child.wait().map_err(|e| failed(e.to_string()))?;
            if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
        })
    }
}

/// The bridge of a lab and the third byte of its network. Making a link is atomic, so two labs never get the same one.
fn make_bridge(lab: &str) -> Result<(String, u8), LabError> {
    let mut last = LabError::Command { command: "ip link add".into(), message: "no network is free".into() };
    for net in 1..=250u8 {
        let bridge = format!("swlab{net}");
        match run(&["ip", "link", "add", &bridge, "type", "bridge"]) {
            Ok(_) => {
                run(&["ip", "link", "set", &bridge, "alias", lab])?;
                run(&["ip", "addr", "add", &format!("10.214.{net}.1/24"), "dev", &bridge])?;
                run(&["ip", "link", "set", &bridge, "up"])?;
                return Ok((bridge, net));
            }
            Err(LabError::Command { message, .. }) if message.contains("File exists") => {}
            Err(error) => {
                last = error;
                break;
            }
        }
    }
    Err(last)
}

/// All hosts of a lab share the kernel's table of neighbours, in which each may have every other: where it is full, packets are dropped
/// (arp(7)). The limits are only ever raised, and nothing is lost where they cannot be.
fn allow_neighbours(hosts: usize) {
    for (limit, share) in [("gc_thresh3", 1), ("gc_thresh2", 2), ("gc_thresh1", 4)] {
        let path = format!("/proc/sys/net/ipv4/neigh/default/{limit}");
        let wanted = hosts * hosts * 4 / share;
        let is = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<usize>().ok());
        if hosts > 12 && is.is_some_and(|is| is < wanted) {
            let _ = std::fs::write(&path, wanted.to_string());
        }
    }
}

/// Removes the lab's cgroups from every hierarchy, the innermost first.
fn remove_cgroups(lab: &str) {
    fn remove(dir: &Path) {
        let Ok(entries) = std::fs::read_dir(dir) else { return };
        for entry in entries.filter_map(Result::ok).filter(|e| e.path().is_dir()) {
            remove(&entry.path());
        }
        let _ = std::fs::remove_dir(dir);
    }
    let base = Path::new("/sys/fs/cgroup");
    let Ok(entries) = std::fs::read_dir(base) else { return };
    for hierarchy in entries.filter_map(Result::ok).map(|e| e.path()).chain([base.to_path_buf()]) {
        remove(&hierarchy.join("swarm-lab").join(lab));
        // The common parent goes with the last lab.
        let _ = std::fs::remove_dir(hierarchy.join("swarm-lab"));
    }
}
