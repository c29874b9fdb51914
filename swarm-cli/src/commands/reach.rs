//! `swarm ssh` and `swarm docker`: other programs, on the way that the file describes.

use super::work::Session;
use crate::args_swarm::{DockerArgs, SshArgs};
use crate::failure::Failure;
use crate::source;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use swarm_core::fleet::Fleet;
use swarm_core::host::Host;
use swarm_core::spec::{Connection, EngineEndpoint, HostSpec};
use swarm_fleet::ssh_arguments;
use tokio::io::copy_bidirectional;
use tokio::net::UnixListener;
use tokio::task::JoinSet;

fn one<'s>(spec: &'s swarm_core::ClusterSpec, name: &str) -> Result<&'s HostSpec, Failure> {
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
    let host = match &args.host {
        Some(name) => one(&session.spec, name)?,
        None => {
            let (observed, _) = session.objects(&[]).await?;
            let live = observed.cluster.live().iter().find_map(|name| session.spec.host(name));
            live.ok_or_else(|| Failure::Other("no manager answers; name a host with --host".into()))?
        }
    };
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
