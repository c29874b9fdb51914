//! `swarm new`.

use crate::args::{Format, NewArgs};
use crate::failure::Failure;
use crate::output;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use swarm_core::spec::Role;
use swarm_file::NewHost;

pub(super) fn new(args: &NewArgs, format: Format) -> Result<u8, Failure> {
    let managers = args.managers.unwrap_or(if args.hosts.len() >= 3 { 3 } else { 1 });
    let mut hosts = Vec::new();
    for (index, text) in args.hosts.iter().enumerate() {
        let (name, rest) = text.split_once('=').ok_or_else(|| Failure::Usage(format!("`{text}` is not NAME=[USER@]ADDRESS")))?;
        let (user, address) = rest.rsplit_once('@').map_or((None, rest), |(user, address)| (Some(user.to_owned()), address));
        let role = if index < managers { Role::Manager } else { Role::Worker };
        hosts.push(NewHost { name: name.to_owned(), user, address: address.to_owned(), role });
    }
    let text = swarm_file::example(&args.name, &hosts);
    // A file with wrong names or addresses is reported now, not at the next command.
    if let Err(problems) = swarm_file::parse(&text, &|_| None) {
        return Err(Failure::Usage(problems.to_string()));
    }
    if args.output.as_os_str() == "-" {
        output::data(&text);
        return Ok(0);
    }
    write_new(&args.output, &text)?;
    let shown = args.output.display();
    match format {
        Format::Json => output::json("new", &serde_json::json!({ "file": args.output, "hosts": hosts.len() })),
        _ => output::note(&format!("wrote {shown} with {} hosts; next: swarm plan -f {shown}", hosts.len())),
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
