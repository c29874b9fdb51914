//! The cluster file, and the hosts a command is about.

use crate::args_common::{Common, LimitArgs};
use crate::failure::Failure;
use crate::{input, output};
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use swarm_core::ClusterSpec;
use swarm_core::id::HostName;
use swarm_core::spec::{Connection, Entry, HostSpec, Machines, Node, Problem, Role, Severity, Value};
use swarm_ec2::{Around, Ec2};
use swarm_fleet::{Vouched, keep};
use swarm_lab::LabMachines;
use swarm_machines::{Exec, HostKey, Missing, Provisioner};
use swarm_sim::Description;

/// Reads a file, or standard input for `-`, up to a bound.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    input::read(path, limit).map_err(|e| Failure::Io(path.to_owned(), e.to_string()))
}

/// Reads a cluster file.
fn read_cluster(path: &Path) -> Result<Vec<u8>, Failure> {
    read(path, swarm_file::SIZE_LIMIT as u64).map_err(|failure| match failure {
        Failure::Io(path, why) if !path.exists() => Failure::Io(path, format!("{why}; `swarm new` writes one, -f names another")),
        other => other,
    })
}

/// Reads a file, or standard input for `-`; a larger one is an error.
pub(crate) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let bytes = read(path, limit)?;
    if bytes.len() as u64 > limit {
        return Err(Failure::Io(path.to_owned(), format!("the file is larger than {} MiB", limit >> 20)));
    }
    Ok(bytes)
}

/// Environment variables that a cluster file took a value from.
static TAKEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// The environment variables that a cluster file took a value from: they may be secrets.
pub(crate) fn taken() -> Vec<String> {
    TAKEN.lock().map(|taken| taken.iter().cloned().collect()).unwrap_or_default()
}

/// Reads the cluster file of a command, with every problem it has.
///
/// Where the file says who makes machines, those that are there are hosts of it, and those that are not are [`missing`].
pub(crate) fn cluster(common: &Common) -> Result<ClusterSpec, Failure> {
    let bytes = read_cluster(&common.file)?;
    let spec = parsed(&common.file, &bytes, &[])?;
    let Some(maker) = provisioner(&spec, &common.file, false).filter(|_| common.simulate.is_none()) else { return Ok(spec) };
    let listed = maker.list().map_err(|e| Failure::Other(format!("it is not known what machines there are: {e}")))?;
    if let Ok(mut missing) = MISSING.lock() {
        *missing = listed.missing;
    }
    let spec = parsed(&common.file, &bytes, &listed.hosts)?;
    keep_keys(&spec, &listed.host_keys);
    Ok(spec)
}

/// The known_hosts file that holds what is known of a host.
fn known_hosts(host: &HostSpec) -> Option<PathBuf> {
    let Connection::Ssh(ssh) = &host.connection else { return None };
    Some(home(ssh.known_hosts.as_deref().unwrap_or(Path::new("~/.ssh/known_hosts"))))
}

/// Writes down the host keys that a provider vouches for, and takes away those of machines that are gone.
pub(crate) fn keep_keys(spec: &ClusterSpec, keys: &[HostKey]) {
    let mut files: BTreeMap<PathBuf, Vec<Vouched>> = BTreeMap::new();
    for key in keys {
        let Some(file) = spec.host(&HostName::new(key.host.clone())).and_then(known_hosts) else { continue };
        let vouched = Vouched { name: key.address.clone(), key: key.key.clone(), mark: format!("{}/{}", key.host, key.id) };
        files.entry(file).or_default().push(vouched);
    }
    for (file, keys) in files {
        if let Err(why) = keep(&file, &format!("swarm:{}", spec.name()), &keys) {
            output::note(&format!("warning: host keys are not written to {}: {why}", file.display()));
        }
    }
}

/// Takes the host keys away that were written down for the hosts of a cluster.
pub(crate) fn forget_keys(spec: &ClusterSpec) {
    let files: BTreeSet<PathBuf> = spec.hosts().filter_map(known_hosts).collect();
    for file in files {
        if let Err(why) = keep(&file, &format!("swarm:{}", spec.name()), &[]) {
            output::note(&format!("warning: host keys stay in {}: {why}", file.display()));
        }
    }
}

/// A path with the home directory for `~`.
fn home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => path.to_owned(),
    }
}

/// Machines that are to be created, as the program said that was asked last.
static MISSING: Mutex<Vec<Missing>> = Mutex::new(Vec::new());

/// Machines of the file that are to be created.
pub(crate) fn missing() -> Vec<Missing> {
    MISSING.lock().map(|missing| missing.clone()).unwrap_or_default()
}

/// Who makes the machines of a file. `esp` says whether an encrypted network is declared.
pub(crate) fn provisioner(spec: &ClusterSpec, file: &Path, esp: bool) -> Option<Box<dyn Provisioner>> {
    let folder = file.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match spec.machines()? {
        Machines::Exec { command } => Some(Box::new(Exec::new(command, spec.name(), folder, taken()))),
        Machines::Aws(aws) => {
            let identity = home(&aws.key);
            let mut public = identity.clone().into_os_string();
            public.push(".pub");
            let read = std::fs::read_to_string(&public).map(|text| text.trim().to_owned());
            let public_key =
                read.map_err(|e| format!("machines.aws.key: {}: {e}; `ssh-keygen -y` prints it", Path::new(&public).display()));
            let data_path_port = spec.init().data_path_port.unwrap_or(4789);
            Some(Box::new(Ec2::new(spec.name(), aws, Around { data_path_port, esp, identity, public_key })))
        }
        Machines::Lab(wanted) => {
            let program = std::env::current_exe().unwrap_or("swarm".into());
            Some(Box::new(LabMachines::new(spec.name(), wanted, &folder.join(".lab"), &program)))
        }
        // Kinds that this program does not know yet.
        _ => None,
    }
}

/// Reads a cluster file, with every problem it has. Nothing but files of this machine is looked at.
pub(crate) fn file(path: &Path) -> Result<ClusterSpec, Failure> {
    parsed(path, &read_cluster(path)?, &[])
}

fn parsed(path: &Path, bytes: &[u8], machines: &[Entry]) -> Result<ClusterSpec, Failure> {
    let name = if path.as_os_str() == "-" { "standard input".to_owned() } else { path.display().to_string() };
    let text = String::from_utf8_lossy(bytes);
    let source = std::io::stderr().is_terminal().then_some(text.as_ref());
    let variable = |name: &str| {
        if let Ok(mut taken) = TAKEN.lock() {
            taken.insert(name.to_owned());
        }
        std::env::var(name).ok()
    };
    let problems = match swarm_file::parse_bytes_with(bytes, &variable, machines) {
        Ok(read) => {
            let missing = missing_files(&text);
            if missing.is_empty() {
                if !read.warnings.is_empty() {
                    output::note(&swarm_file::render(&read.warnings, &name, source));
                }
                return Ok(read.spec);
            }
            missing
        }
        Err(problems) => problems.0,
    };
    let shown = swarm_file::render(&problems, &name, source);
    let count = problems.len();
    Err(Failure::File(format!("{name} has {count} problem{}\n{shown}", if count == 1 { "" } else { "s" })))
}

/// Key files that the cluster file names and that are not there.
fn missing_files(text: &str) -> Vec<Problem> {
    fn walk(node: &Node, path: &str, found: &mut Vec<Problem>) {
        let Value::Map(entries) = &node.value else { return };
        for entry in entries {
            let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
            match &entry.node.value {
                Value::Text(file)
                    if matches!(entry.key.as_str(), "identity_file" | "tls_ca" | "tls_cert" | "tls_key") || path == "machines.aws.key" =>
                {
                    let at = home(Path::new(file));
                    // A value from the environment is looked at where it is used.
                    if !file.contains("${") && !file.contains('%') && !at.exists() {
                        let message = format!("there is no file {file}");
                        let fix = "correct the path, or remove the key to use an agent's".to_owned();
                        found.push(Problem { severity: Severity::Error, path, at: entry.node.at, message, fix });
                    }
                }
                _ => walk(&entry.node, &path, found),
            }
        }
    }
    let mut found = Vec::new();
    if let Ok(tree) = swarm_file::tree(text) {
        walk(&tree, "", &mut found);
    }
    found
}

/// Reads what a simulated world is like.
pub(crate) fn description(path: &Path, spec: &ClusterSpec) -> Result<Description, Failure> {
    let bytes = read(path, swarm_file::SIZE_LIMIT as u64)?;
    let text = String::from_utf8_lossy(&bytes);
    let name = path.display().to_string();
    let source = std::io::stderr().is_terminal().then_some(text.as_ref());
    swarm_file::tree(&text).and_then(|tree| Description::read(&tree, spec)).map_err(|problems| {
        let count = problems.0.len();
        let shown = swarm_file::render(&problems.0, &name, source);
        Failure::File(format!("{name} has {count} problem{}\n{shown}", if count == 1 { "" } else { "s" }))
    })
}

/// The hosts that `--limit` selects; `None` where there is no limit.
pub(crate) fn limit(args: &LimitArgs, spec: &ClusterSpec) -> Result<Option<BTreeSet<HostName>>, Failure> {
    if args.limit.is_empty() {
        return Ok(None);
    }
    let mut chosen = BTreeSet::new();
    for pattern in &args.limit {
        let before = chosen.len();
        let fits = |host: &HostSpec| match pattern.as_str() {
            "role=manager" => host.role == Role::Manager,
            "role=worker" => host.role == Role::Worker && !host.absent,
            "role=none" => host.absent,
            pattern => glob(pattern, host.name.as_str()),
        };
        chosen.extend(spec.hosts().filter(|h| fits(h)).map(|h| h.name.clone()));
        if chosen.len() == before && !spec.hosts().any(fits) {
            let names: Vec<&str> = spec.hosts().map(|h| h.name.as_str()).collect();
            return Err(Failure::Usage(format!("--limit {pattern} selects no host; there are {}", names.join(", "))));
        }
    }
    Ok(Some(chosen))
}

/// Hosts named one by one.
pub(crate) fn named(names: &[String], spec: &ClusterSpec, flag: &str) -> Result<BTreeSet<HostName>, Failure> {
    names
        .iter()
        .map(|name| {
            let host = HostName::new(name.clone());
            spec.host(&host)
                .map(|h| h.name.clone())
                .ok_or_else(|| Failure::Usage(format!("{flag} {name}: there is no such host in the file")))
        })
        .collect()
}

/// `*` stands for any text, anything else for itself.
fn glob(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => {
            name.strip_prefix(before).is_some_and(|rest| (0..=rest.len()).filter_map(|at| rest.get(at..)).any(|tail| glob(after, tail)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn globs() {
        assert!(glob("w*", "w12") && glob("*-a", "x-a") && glob("m1", "m1") && glob("*", ""));
        assert!(!glob("w*", "m1") && !glob("m1", "m12") && !glob("a*c", "ab"));
    }
}
