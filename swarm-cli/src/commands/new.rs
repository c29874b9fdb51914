//! `swarm new`.

use crate::args::NewArgs;
use crate::args_common::Format;
use crate::args_swarm::HostsFrom;
use crate::failure::{self, Failure};
use crate::{output, source};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use swarm_core::spec::Role;
use swarm_file::{ImportFrom, ImportedHost, NewHost};

/// The longest inventory or state that is taken.
const LIMIT: u64 = 16 << 20;

pub(super) fn new(args: &NewArgs, format: Format) -> Result<u8, Failure> {
    let managers = args.managers.unwrap_or(if args.hosts.len() >= 3 { 3 } else { 1 });
    let mut hosts = Vec::new();
    for (index, text) in args.hosts.iter().enumerate() {
        let (name, rest) = text.split_once('=').ok_or_else(|| Failure::Usage(format!("`{text}` is not NAME=[USER@]ADDRESS")))?;
        let (user, address) = rest.rsplit_once('@').map_or((None, rest), |(user, address)| (Some(user.to_owned()), address));
        let role = if index < managers { Role::Manager } else { Role::Worker };
        hosts.push(NewHost { name: name.to_owned(), user, address: address.to_owned(), role });
    }
    put("new", &swarm_file::example(&args.name, &hosts), hosts.len(), &args.output, format)
}

/// Reads hosts that something else knows.
pub(super) fn read(from: HostsFrom, path: &Path) -> Result<Vec<ImportedHost>, Failure> {
    let read = |path: &Path| -> Result<String, Failure> {
        let bytes = source::read_limited(path, LIMIT)?;
        String::from_utf8(bytes).map_err(|_| Failure::Io(path.to_owned(), "it is not UTF-8".into()))
    };
    let hosts_of = |kind: ImportFrom, path: &Path| {
        let wrong = |why: String| Failure::Io(path.to_owned(), why);
        swarm_file::import(kind, &read(path)?).map_err(wrong)
    };
    match from {
        HostsFrom::Ansible => hosts_of(ImportFrom::Ansible, path),
        HostsFrom::Terraform => hosts_of(ImportFrom::Terraform, path),
        HostsFrom::SshConfig => hosts_of(ImportFrom::SshConfig, path),
        HostsFrom::DockerMachine => {
            let machines = [path.join("machines"), path.join("machine/machines")].into_iter().find(|p| p.is_dir());
            let folder = machines.unwrap_or_else(|| path.to_owned());
            let io = |error: std::io::Error| Failure::Io(folder.clone(), error.to_string());
            let entries = std::fs::read_dir(&folder).map_err(io)?.collect::<Result<Vec<_>, _>>().map_err(io)?;
            let mut files: Vec<_> = entries.into_iter().map(|e| e.path().join("config.json")).filter(|p| p.is_file()).collect();
            files.sort();
            let mut hosts = Vec::new();
            for file in &files {
                hosts.extend(hosts_of(ImportFrom::DockerMachine, file)?);
            }
            if hosts.is_empty() {
                return Err(Failure::Io(folder, "there is no machine in it".into()));
            }
            Ok(hosts)
        }
    }
}

/// Writes a file that may lack something only its owner knows; what that is, is named.
pub(super) fn put_unfinished(command: &str, text: &str, hosts: usize, path: &Path, format: Format) -> Result<u8, Failure> {
    let Err(problems) = swarm_file::parse(text, &|_| None) else { return put(command, text, hosts, path, format) };
    if path.as_os_str() == "-" {
        output::data(text);
    } else {
        write_new(path, text)?;
        output::note(&format!("wrote {} with {hosts} hosts; complete it:", path.display()));
    }
    output::note(&problems.to_string());
    Ok(failure::NOT_CONVERGED)
}

fn put(command: &str, text: &str, hosts: usize, path: &Path, format: Format) -> Result<u8, Failure> {
    // A file with wrong names or addresses is reported now, not at the next command.
    if let Err(problems) = swarm_file::parse(text, &|_| None) {
        return Err(Failure::Usage(problems.to_string()));
    }
    if path.as_os_str() == "-" {
        output::data(text);
        return Ok(0);
    }
    write_new(path, text)?;
    let shown = path.display();
    match format {
        Format::Json => output::json(command, &serde_json::json!({ "file": path, "hosts": hosts })),
        _ => output::note(&format!("wrote {shown} with {hosts} host{}; next: swarm plan -f {shown}", if hosts == 1 { "" } else { "s" })),
    }
    Ok(0)
}

/// Writes a file that was not there before.
pub(super) fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    create(path, text.as_bytes(), 0o666)
}

/// The same for its owner alone.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    create(path, text.as_bytes(), 0o600)
}

fn create(path: &Path, content: &[u8], mode: u32) -> Result<(), Failure> {
    let failed = |e: std::io::Error| {
        let hint = if e.kind() == std::io::ErrorKind::AlreadyExists { "; it is not overwritten, -o names another" } else { "" };
        Failure::Io(path.to_owned(), format!("{e}{hint}"))
    };
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    file.write_all(content).map_err(failed)
}
