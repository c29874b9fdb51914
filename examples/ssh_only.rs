//! SSH alone: connect as `ssh` would, run a command, stream over a socket. Names no cluster and needs no file.
#![allow(clippy::print_stdout, reason = "a program shows its result")]

use std::sync::Arc;
use swarm_ssh::{Command, Host, NoPrompt, SshConnector, SshError, SshSpec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let destination = std::env::args().nth(1).ok_or("usage: ssh_only [USER@]HOST[:PORT]")?;
    let connector = SshConnector::new(Arc::new(NoPrompt));
    // What is not set here is as ssh_config says.
    let host = connector.to(&destination, SshSpec::default())?;
    match host.connect().await {
        Ok(()) => {}
        Err(SshError::HostKey { message, .. }) => return Err(format!("not trusted: {message}").into()),
        Err(error) => return Err(format!("{error} (worth another try: {})", error.may_pass()).into()),
    }
    let output = host.run(&Command::new(["uname", "-n"])).await?;
    println!("{}", String::from_utf8_lossy(&output.stdout).trim());
    let mut engine = host.open_stream("/var/run/docker.sock").await?;
    engine.write_all(b"GET /_ping HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    engine.read_to_string(&mut answer).await?;
    println!("{}", answer.lines().last().unwrap_or_default());
    Ok(())
}
