//! A host backend of one's own: machines that are reached with some other program. Here that program is `nsenter`, and the engine's
//! socket is reached through `docker system dial-stdio`, as one would through `kubectl exec` or a serial console.
#![allow(clippy::print_stdout, reason = "a program shows its result")]

use async_trait::async_trait;
use std::process::Stdio;
use std::sync::Arc;
use swarm_core::engine::MembershipRead;
use swarm_core::host::{BoxStream, Command, Host, HostError, HostProbe, Output};
use swarm_core::id::HostName;
use swarm_core::observe::{MachineFacts, PROBE_SCRIPT, parse_probe};
use swarm_docker::DockerEngine;

struct Inside {
    name: HostName,
    pid: String,
}

impl Inside {
    fn command(&self, argv: &[String]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("nsenter");
        command.args(["--target", &self.pid, "--all", "--"]).args(argv).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn wrong(&self, error: impl ToString) -> HostError {
        HostError::Unexpected { host: self.name.clone(), message: error.to_string() }
    }
}

#[async_trait]
impl HostProbe for Inside {
    fn name(&self) -> &HostName {
        &self.name
    }

    async fn machine(&self) -> Result<MachineFacts, HostError> {
        let output = self.run(&Command::new(["sh", "-c", PROBE_SCRIPT])).await?;
        parse_probe(&String::from_utf8_lossy(&output.stdout)).map_err(|e| self.wrong(e))
    }

    async fn probe(&self, script: &'static str) -> Result<String, HostError> {
        let output = self.run(&Command::new(["sh", "-c", script])).await?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn read_file(&self, path: &str, limit: usize) -> Result<Vec<u8>, HostError> {
        let output = self.run(&Command::new(["cat", "--", path])).await?;
        if output.stdout.len() > limit { Err(self.wrong("too long")) } else { Ok(output.stdout) }
    }
}

#[async_trait]
impl Host for Inside {
    async fn run(&self, command: &Command) -> Result<Output, HostError> {
        let output = tokio::time::timeout(command.timeout, self.command(&command.argv).stdin(Stdio::null()).output()).await;
        let output = output.map_err(|_| HostError::TimedOut { host: self.name.clone(), doing: "a command", after: command.timeout })?;
        let output = output.map_err(|e| self.wrong(e))?;
        let status = output.status.code().and_then(|c| u32::try_from(c).ok());
        Ok(Output { status, stdout: output.stdout, stderr: output.stderr })
    }

    async fn open_stream(&self, socket: &str) -> Result<BoxStream, HostError> {
        let argv = ["docker", "-H", &format!("unix://{socket}"), "system", "dial-stdio"].map(str::to_owned);
        let mut child = self.command(&argv).spawn().map_err(|e| self.wrong(e))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else { return Err(self.wrong("no pipes")) };
        // The child ends when its input does.
        tokio::spawn(async move { child.wait().await });
        Ok(Box::new(tokio::io::join(output, input)))
    }

    async fn put_file(&self, path: &str, mode: u32, content: &[u8]) -> Result<(), HostError> {
        let _ = (path, mode, content);
        Err(self.wrong("this backend writes no files"))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pid = std::env::args().nth(1).ok_or("say the process id of a lab host's first process")?;
    let host = Arc::new(Inside { name: "inside".into(), pid });
    println!("{:?}", host.machine().await?);
    let engine = DockerEngine::on_host(host, "/run/docker.sock").await.map_err(|e| e.message)?;
    println!("{:?}", engine.info().await?.swarm);
    Ok(())
}
