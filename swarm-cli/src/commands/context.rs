//! `swarm context`: a context of the docker command line for a cluster of the file.

use super::reach::manager_or;
use super::work::Session;
use crate::args_stores::{ContextArgs, ContextCommand};
use crate::failure::Failure;
use crate::{output, source};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use swarm_core::spec::{Connection, EngineEndpoint, HostSpec, SshSpec};
use swarm_fleet::ssh_options;

/// The folder of our files beside ssh's configuration, and the line that has them read.
const FOLDER: &str = "swarm";
const INCLUDE: &str = "Include swarm/*.conf";
/// The longest ssh_config that is read.
const CONFIG_LIMIT: usize = 1 << 20;

pub(super) async fn run(command: &ContextCommand) -> Result<u8, Failure> {
    match command {
        ContextCommand::Create { args, host } => create(args, host.as_deref()).await,
        ContextCommand::Rm { args } => remove(args),
    }
}

/// The name of the context: what is given, or the cluster's.
fn name_of(args: &ContextArgs, cluster: &str) -> Result<String, Failure> {
    let name = args.name.clone().unwrap_or_else(|| cluster.to_owned());
    // As the docker command line takes them (docker/cli `cli/context/store/store.go`).
    let fits = name.len() > 1 && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if name == "default" || !fits || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_.+-".contains(c)) {
        return Err(Failure::Usage(format!("`{name}` is no name of a docker context; give another: letters, digits, and _ . + -")));
    }
    Ok(name)
}

async fn create(args: &ContextArgs, host: Option<&str>) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let name = name_of(args, session.spec.name())?;
    let host = manager_or(&session, host).await?;
    let at = match (&host.connection, &host.engine) {
        (Connection::Ssh(ssh), EngineEndpoint::Unix(_)) => over_ssh(args, &name, host, ssh)?,
        (Connection::Local, EngineEndpoint::Unix(socket)) => format!("unix://{socket}"),
        _ => {
            return Err(Failure::Usage(format!(
                "the engine of {} is a TCP port; give it to `docker context create` with its TLS files",
                host.name
            )));
        }
    };
    let known = docker(&["context", "inspect", &name], true)?;
    let verb = if known { "update" } else { "create" };
    let description = format!("swarm {}, by {}", session.spec.name(), host.name);
    let endpoint = format!("host={at}");
    if !docker(&["context", verb, &name, "--description", &description, "--docker", &endpoint], false)? {
        return Err(Failure::Other(format!("docker did not {verb} the context {name}")));
    }
    output::data(&format!(
        "context {name} is the engine of {}; `docker --context {name} node ls`, or `docker context use {name}`",
        host.name
    ));
    Ok(0)
}

fn remove(args: &ContextArgs) -> Result<u8, Failure> {
    let spec = source::cluster(&args.common)?;
    let name = name_of(args, spec.name())?;
    let file = ssh_config(args)?.parent().unwrap_or(Path::new("")).join(FOLDER).join(format!("{name}.conf"));
    let had = match fs::remove_file(&file) {
        Ok(()) => true,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(Failure::Io(file, error.to_string())),
    };
    if !docker(&["context", "inspect", &name], true)? {
        output::data(&format!("there is no context {name}{}", if had { "; its part of ssh_config is removed" } else { "" }));
        return Ok(0);
    }
    // Without force docker keeps one that is in use, and says so.
    if !docker(&["context", "rm", &name], false)? {
        return Err(Failure::Other(format!("docker did not remove the context {name}")));
    }
    output::data(&format!("context {name} is removed"));
    Ok(0)
}

/// Runs `docker` without what the file took from the environment; whether it ended well.
fn docker(arguments: &[&str], quiet: bool) -> Result<bool, Failure> {
    let mut command = Command::new("docker");
    for name in source::taken() {
        command.env_remove(name);
    }
    let ended = command.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT").args(arguments).stdin(Stdio::null()).output();
    let ended = ended.map_err(|e| Failure::Other(format!("`docker` could not be run: {e}; install the docker command line")))?;
    // It also says there what it did.
    if !quiet && !ended.status.success() {
        output::note(&format!("docker: {}", output::clean(String::from_utf8_lossy(&ended.stderr).trim())));
    }
    Ok(ended.status.success())
}

/// The address of a host's engine for docker. What the file says of key, host keys and way stands in a part of ssh's configuration, for
/// docker has no place for it.
fn over_ssh(args: &ContextArgs, name: &str, host: &HostSpec, ssh: &SshSpec) -> Result<String, Failure> {
    if ssh.sudo {
        return Err(Failure::Usage(format!("{} is reached with sudo, which docker does not do; use `swarm docker`", host.name)));
    }
    let options: Vec<String> = ssh_options(ssh).into_iter().filter(|word| word != "-o").collect();
    if options.is_empty() {
        return Ok(format!("ssh://{}", bracketed(&host.address.to_string())));
    }
    let config = ssh_config(args)?;
    let alias = format!("swarm-{name}");
    let mut text = format!("# Of the docker context {name}: `swarm context rm` removes it.\nHost {alias}\n  HostName {}\n", host.address);
    for option in options {
        text += &format!("  {option}\n");
    }
    let folder = config.parent().unwrap_or(Path::new("")).join(FOLDER);
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| Failure::Io(path, error.to_string())
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(io(&folder))?;
    let part = folder.join(format!("{name}.conf"));
    put(&part, &text, 0o600).map_err(io(&part))?;
    include(&config)?;
    Ok(format!("ssh://{alias}"))
}

fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

/// Has ssh read our parts: first, for the first value of a keyword counts.
fn include(config: &Path) -> Result<(), Failure> {
    let add = format!("add the line `{INCLUDE}` at its beginning");
    let failed = |why: String| Failure::Io(config.to_owned(), why);
    let (old, mode) = match fs::symlink_metadata(config) {
        Ok(meta) if meta.file_type().is_symlink() => {
            let text = source::read(config, CONFIG_LIMIT as u64)?;
            if includes(&String::from_utf8_lossy(&text)) {
                return Ok(());
            }
            return Err(failed(format!("it is a symbolic link, so it is not changed; {add}")));
        }
        Ok(meta) => (source::read(config, CONFIG_LIMIT as u64)?, meta.permissions().mode() & 0o777),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (Vec::new(), 0o600),
        Err(error) => return Err(failed(error.to_string())),
    };
    let old = String::from_utf8(old).map_err(|_| failed(format!("it is no text; {add}")))?;
    if includes(&old) {
        return Ok(());
    }
    put(config, &format!("{INCLUDE}\n\n{old}"), mode).map_err(|e| failed(format!("{e}; {add}")))?;
    output::note(&format!("{}: `{INCLUDE}` is its first line now", config.display()));
    Ok(())
}

fn includes(text: &str) -> bool {
    text.lines()
        .map(str::trim)
        .take_while(|line| !line.to_ascii_lowercase().starts_with("host "))
        .any(|line| line.eq_ignore_ascii_case(INCLUDE))
}

/// Writes a file at once and whole.
fn put(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.new", std::process::id()));
    let draft = PathBuf::from(draft);
    let written = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&draft, path)).inspect_err(|_| drop(fs::remove_file(&draft)))
}

/// The user's own configuration of ssh, in the home folder of the account, where `ssh` looks for it.
fn ssh_config(args: &ContextArgs) -> Result<PathBuf, Failure> {
    if let Some(file) = &args.ssh_config {
        return Ok(file.clone());
    }
    let asked = Command::new("ssh").args(["-F", "/dev/null", "-G", "localhost"]).stdin(Stdio::null()).output();
    let asked = asked.map_err(|e| Failure::Other(format!("`ssh` could not be run: {e}; install openssh-client")))?;
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    let known_hosts = text.lines().find_map(|line| line.strip_prefix("userknownhostsfile ")?.split(' ').next());
    let folder = known_hosts.and_then(|file| Path::new(file).parent());
    folder
        .map(|folder| folder.join("config"))
        .ok_or_else(|| Failure::Other("ssh does not say where its configuration is; give --ssh-config".into()))
}

#[cfg(test)]
mod tests {
    use super::includes;

    #[test]
    fn a_line_that_is_read_for_every_host_counts() {
        assert!(includes("# mine\ninclude swarm/*.conf\nHost a\n") && includes("Include swarm/*.conf"));
        assert!(!includes("Host a\n  Include swarm/*.conf\n") && !includes("") && !includes("Include other/*.conf\n"));
    }
}
