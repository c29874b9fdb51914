//! `swarm ssh` and `swarm docker`: other programs, on the way that the file describes.

use super::work::{Session, table};
use crate::args_common::Format;
use crate::args_swarm::{DockerArgs, EnvArgs, HostsArgs, ScpArgs, SshArgs};
use crate::failure::Failure;
use crate::{output, source};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use swarm_core::ClusterSpec;
use swarm_core::addr::ip_of;
use swarm_core::fleet::Fleet;
use swarm_core::host::Host;
use swarm_core::observe::NodeFacts;
use swarm_core::spec::{Connection, EngineEndpoint, HostSpec};
use swarm_fleet::{ssh_arguments, ssh_options};
use tokio::io::copy_bidirectional;
use tokio::net::UnixListener;
use tokio::task::JoinSet;

pub(super) fn one<'s>(spec: &'s swarm_core::ClusterSpec, name: &str) -> Result<&'s HostSpec, Failure> {
    let found = source::named(&[name.to_owned()], spec, "HOST")?;
    found.iter().find_map(|name| spec.host(name)).ok_or_else(|| Failure::Usage(format!("{name} is not in the file")))
}

/// Becomes `ssh`.
pub(super) fn ssh(args: &SshArgs) -> Result<u8, Failure> {
    let spec = source::cluster(&args.common)?;
    let host = one(&spec, &args.host)?;
    let Connection::Ssh(ssh) = &host.connection else {
        return Err(Failure::Usage(format!("{} is not reached by SSH, as the file has it", host.name)));
    };
    let mut command = Command::new("ssh");
    // No program gets what the file took from the environment.
    for name in source::taken() {
        command.env_remove(name);
    }
    let error = command.args(ssh_arguments(&host.address, ssh)).args(&args.command).exec();
    Err(Failure::Other(format!("`ssh` could not be run: {error}; install openssh-client")))
}

/// Becomes `scp`, with one host of the file on one side.
pub(super) fn scp(args: &ScpArgs) -> Result<u8, Failure> {
    let spec = source::cluster(&args.common)?;
    let mut remote: Option<&HostSpec> = None;
    let mut paths = Vec::new();
    for path in &args.paths {
        // As with `scp`, a colon after a slash is part of a path.
        let at = path.split_once(':').filter(|(host, _)| !host.contains('/'));
        let Some((name, there)) = at else {
            paths.push(path.clone());
            continue;
        };
        let host = one(&spec, name)?;
        if remote.is_some_and(|other| other.name != host.name) {
            return Err(Failure::Usage("files go between this machine and one host; copy from one host to another in two steps".into()));
        }
        remote = Some(host);
        let address = host.address.to_string();
        let address = if address.contains(':') { format!("[{address}]") } else { address };
        paths.push(format!("{address}:{there}"));
    }
    let host = remote.ok_or_else(|| Failure::Usage("no path is on a host; write HOST:PATH".into()))?;
    let Connection::Ssh(ssh) = &host.connection else {
        return Err(Failure::Usage(format!("{} is not reached by SSH, as the file has it", host.name)));
    };
    let mut command = Command::new("scp");
    for name in source::taken() {
        command.env_remove(name);
    }
    if args.recursive {
        command.arg("-r");
    }
    let error = command.args(ssh_options(ssh)).arg("--").args(paths).exec();
    Err(Failure::Other(format!("`scp` could not be run: {error}; install openssh-client")))
}

fn chosen<'s>(spec: &'s ClusterSpec, names: &[String]) -> Result<Vec<&'s HostSpec>, Failure> {
    let named = source::named(names, spec, "HOST")?;
    Ok(spec.hosts().filter(|host| names.is_empty() || named.contains(&host.name)).collect())
}

/// The hosts as the file has them.
pub(super) fn hosts(args: &HostsArgs, format: Format) -> Result<u8, Failure> {
    let spec = source::cluster(&args.common)?;
    let hosts = chosen(&spec, &args.hosts)?;
    let by = |host: &HostSpec| match &host.connection {
        Connection::Ssh(ssh) => {
            let user = ssh.user.as_ref().map_or(String::new(), |user| format!("{user}@"));
            let port = ssh.port.map_or(String::new(), |port| format!(":{port}"));
            format!("ssh {user}{}{port}", host.address)
        }
        Connection::Local => "this machine".into(),
        Connection::Docker(_) => format!("tcp {}", host.address),
    };
    let role = |host: &HostSpec| if host.absent { "none".to_owned() } else { host.role.to_string() };
    match format {
        Format::Text => {
            let row = |host: &&HostSpec| vec![host.name.to_string(), host.address.to_string(), role(host), by(host)];
            table(&["HOST", "ADDRESS", "ROLE", "REACHED BY"], hosts.iter().map(row).collect());
        }
        _ => {
            let row = |host: &&HostSpec| serde_json::json!({ "host": host.name, "address": host.address.to_string(), "role": role(host), "reached_by": by(host) });
            output::json("hosts ls", &serde_json::json!({ "hosts": hosts.iter().map(row).collect::<Vec<_>>() }));
        }
    }
    Ok(0)
}

/// The addresses that the swarm uses.
pub(super) async fn ip(args: &HostsArgs, format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let hosts = chosen(&session.spec, &args.hosts)?;
    let (observed, _) = session.objects(&[]).await?;
    let address = |host: &HostSpec| {
        let seen = observed.hosts.get(&host.name);
        let node = seen.and_then(|h| h.node.as_ref().or(h.presumed.as_ref()));
        let known = node.and_then(NodeFacts::advertised);
        let own = seen.and_then(|h| ip_of(h.report.engine.as_ref().ok()?.swarm.address.as_deref()?));
        known.or(own).map_or_else(|| host.address.to_string(), |ip| ip.to_string())
    };
    match format {
        Format::Text => match hosts.as_slice() {
            // One alone is what a script asks for.
            [host] => output::data(&address(host)),
            hosts => table(&["HOST", "ADDRESS"], hosts.iter().map(|h| vec![h.name.to_string(), address(h)]).collect()),
        },
        _ => {
            let row = |host: &&HostSpec| serde_json::json!({ "host": host.name, "address": address(host) });
            output::json("ip", &serde_json::json!({ "hosts": hosts.iter().map(row).collect::<Vec<_>>() }));
        }
    }
    Ok(0)
}

/// What a shell evaluates.
pub(super) async fn env(args: &EnvArgs) -> Result<u8, Failure> {
    if args.unset {
        output::data("unset DOCKER_HOST");
        return Ok(0);
    }
    let session = Session::open(&args.common).await?;
    let host = manager_or(&session, args.host.as_deref()).await?;
    let value = match (&host.connection, &host.engine) {
        (Connection::Ssh(ssh), EngineEndpoint::Unix(_)) => {
            let unknown = [
                (ssh.identity_file.is_some(), "identity_file"),
                (ssh.known_hosts.is_some(), "known_hosts"),
                (ssh.jump.is_some(), "jump"),
                (ssh.sudo, "sudo"),
            ];
            let unknown: Vec<&str> = unknown.into_iter().filter(|(is, _)| *is).map(|(_, key)| key).collect();
            if !unknown.is_empty() {
                let keys = unknown.join(", ");
                output::note(&format!(
                    "warning: docker does not know what the file says of {keys}; put it into ssh_config, or use `swarm docker`"
                ));
            }
            let user = ssh.user.as_ref().map_or(String::new(), |user| format!("{user}@"));
            let port = ssh.port.map_or(String::new(), |port| format!(":{port}"));
            let address = host.address.to_string();
            let address = if address.contains(':') { format!("[{address}]") } else { address };
            format!("ssh://{user}{address}{port}")
        }
        (Connection::Local, EngineEndpoint::Unix(socket)) => format!("unix://{socket}"),
        _ => return Err(Failure::Usage(format!("the engine of {} is a TCP port; give it to docker with -H and its TLS files", host.name))),
    };
    output::data(&format!("export DOCKER_HOST='{value}'"));
    Ok(0)
}

/// A host by its name, or a manager that answers.
pub(super) async fn manager_or<'s>(session: &'s Session, name: Option<&str>) -> Result<&'s HostSpec, Failure> {
    if let Some(name) = name {
        return one(&session.spec, name);
    }
    let (observed, _) = session.objects(&[]).await?;
    let live = observed.cluster.live().iter().find_map(|name| session.spec.host(name));
    live.ok_or_else(|| Failure::Other("no manager answers; name a host".into()))
}

/// A private folder with a socket, that goes away with us.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn folder() -> std::io::Result<Folder> {
    let chance = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), ()) & 0xffff_ffff;
    let dir = std::env::temp_dir().join(format!("swarm-docker-{}-{chance:x}", std::process::id()));
    // Not made if it is there: whoever made it is someone else.
    std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
    Ok(Folder(dir))
}

/// Runs `docker` with a socket of ours, behind which is the host's engine.
pub(super) async fn docker(args: &DockerArgs) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let host = manager_or(&session, args.host.as_deref()).await?;
    let EngineEndpoint::Unix(socket) = &host.engine else {
        return Err(Failure::Usage(format!("the engine of {} is a TCP port; give it to docker with -H and its TLS files", host.name)));
    };
    let machine = session.fleet.machine(host).await.map_err(|e| Failure::Other(format!("{}: {e}", host.name)))?;
    let io = |error: std::io::Error| Failure::Other(error.to_string());
    let dir = folder().map_err(io)?;
    let here = dir.0.join("docker.sock");
    let listener = UnixListener::bind(&here).map_err(io)?;
    let mut command = tokio::process::Command::new("docker");
    for name in source::taken() {
        command.env_remove(name);
    }
    command.env("DOCKER_HOST", format!("unix://{}", here.display())).env_remove("DOCKER_CONTEXT").args(&args.arguments);
    let mut child =
        command.spawn().map_err(|e| Failure::Other(format!("`docker` could not be run: {e}; install the docker command line")))?;
    // What is typed is for docker, and so is Ctrl-C.
    let mut interrupted = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).map_err(io)?;
    super::STOPS_IN_ORDER.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut connections = JoinSet::new();
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.map_err(io)?,
            accepted = listener.accept() => {
                let (client, _) = accepted.map_err(io)?;
                connections.spawn(forward(client, Arc::clone(&machine), socket.clone()));
            }
            _ = interrupted.recv() => {}
        }
    };
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

async fn forward(mut client: tokio::net::UnixStream, machine: Arc<dyn Host>, socket: String) {
    if let Ok(mut engine) = machine.open_stream(&socket).await {
        let _ = copy_bidirectional(&mut client, &mut engine).await;
    }
}
