//! This machine as a host.

use async_trait::async_trait;
use std::process::Stdio;
use swarm_core::host::{BoxStream, Command, Host, HostError, HostProbe, Output};
use swarm_core::id::HostName;
use swarm_core::observe::{MachineFacts, PROBE_SCRIPT, ReachErrorKind, parse_probe};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// This machine.
#[derive(Debug)]
pub struct LocalHost {
    name: HostName,
}

impl LocalHost {
    /// Under its name in the file.
    pub fn new(name: HostName) -> Self {
        Self { name }
    }

    fn unexpected(&self, message: String) -> HostError {
        HostError::Unexpected { host: self.name.clone(), message }
    }
}

#[async_trait]
impl HostProbe for LocalHost {
    fn name(&self) -> &HostName {
        &self.name
    }

    async fn machine(&self) -> Result<MachineFacts, HostError> {
        let output = self.run(&Command::new(["sh", "-c", PROBE_SCRIPT])).await?;
        parse_probe(&String::from_utf8_lossy(&output.stdout)).map_err(|m| self.unexpected(m))
    }

    async fn probe(&self, script: &'static str) -> Result<String, HostError> {
        let output = self.run(&Command::new(["sh", "-c", script])).await?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn read_file(&self, path: &str, limit: usize) -> Result<Vec<u8>, HostError> {
        let file = tokio::fs::File::open(path).await.map_err(|e| self.unexpected(format!("{path}: {e}")))?;
        let mut bytes = Vec::new();
        file.take(limit as u64 + 1).read_to_end(&mut bytes).await.map_err(|e| self.unexpected(format!("{path}: {e}")))?;
        if bytes.len() > limit { Err(self.unexpected(format!("{path} has more than {limit} bytes"))) } else { Ok(bytes) }
    }
}

#[async_trait]
impl Host for LocalHost {
    async fn run(&self, command: &Command) -> Result<Output, HostError> {
        let (program, arguments) = command.argv.split_first().ok_or_else(|| self.unexpected("there is no command".into()))?;
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| self.unexpected(format!("{program}: {e}")))?;
        let work = async {
            if let Some(mut stdin) = child.stdin.take() {
                // A program that does not read its input is no error.
                let _ = stdin.write_all(command.stdin.as_deref().unwrap_or_default()).await;
            }
            child.wait_with_output().await.map_err(|e| self.unexpected(format!("{program}: {e}")))
        };
        let output = tokio::time::timeout(command.timeout, work).await.map_err(|_| HostError::TimedOut {
            host: self.name.clone(),
            doing: "a command",
            after: command.timeout,
        })??;
        if output.stdout.len() > command.output_limit || output.stderr.len() > command.output_limit {
            return Err(self.unexpected(format!("the command wrote more than {} bytes", command.output_limit)));
        }
        Ok(Output { status: output.status.code().and_then(|c| u32::try_from(c).ok()), stdout: output.stdout, stderr: output.stderr })
    }

    async fn open_stream(&self, socket: &str) -> Result<BoxStream, HostError> {
        let stream = tokio::net::UnixStream::connect(socket).await;
        let stream = stream.map_err(|e| HostError::NoSocket { message: format!("{socket}: {e}"), kind: ReachErrorKind::EngineDown })?;
        Ok(Box::new(stream))
    }

    async fn put_file(&self, path: &str, mode: u32, content: &[u8]) -> Result<(), HostError> {
        use std::os::unix::fs::OpenOptionsExt;
        let fresh = format!("{path}.new.{}", std::process::id());
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&fresh)?;
            std::io::Write::write_all(&mut file, content)?;
            file.sync_all()?;
            std::fs::rename(&fresh, path)
        };
        write().map_err(|e| self.unexpected(format!("{path} was not written: {e}")))
    }
}
