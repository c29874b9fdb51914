//! Commands and streams on a session's channels.

use russh::client::Msg;
use russh::{Channel, ChannelMsg};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use swarm_core::host::Output;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Why a command has no output.
pub(crate) enum RunError {
    /// The channel ended without an exit status: the connection was lost.
    Lost(String),
    /// It wrote more than is taken.
    TooMuch,
}

/// Runs a command line on a channel to its end.
pub(crate) async fn run(mut channel: Channel<Msg>, line: &str, stdin: Option<&[u8]>, limit: usize) -> Result<Output, RunError> {
    let lost = |e: russh::Error| RunError::Lost(e.to_string());
    channel.exec(true, line).await.map_err(lost)?;
    if let Some(bytes) = stdin {
        channel.data(bytes).await.map_err(lost)?;
    }
    channel.eof().await.map_err(lost)?;
    let mut output = Output { status: None, stdout: Vec::new(), stderr: Vec::new() };
    let mut ended = false;
    while let Some(message) = channel.wait().await {
        match message {
            ChannelMsg::Data { data } => output.stdout.extend_from_slice(&data),
            ChannelMsg::ExtendedData { data, .. } => output.stderr.extend_from_slice(&data),
            ChannelMsg::ExitStatus { exit_status } => {
                output.status = Some(exit_status);
                ended = true;
            }
            ChannelMsg::ExitSignal { .. } => ended = true,
            ChannelMsg::Failure => return Err(RunError::Lost("the host refuses to run commands".into())),
            _ => {}
        }
        if output.stdout.len() > limit || output.stderr.len() > limit {
            let _ = channel.close().await;
            return Err(RunError::TooMuch);
        }
    }
    // No exit status is not a status of 0: the connection was cut while the command ran.
    if ended { Ok(output) } else { Err(RunError::Lost("the channel closed before the command ended".into())) }
}

/// The two ways of a command's channel as one stream, with what it writes to standard error kept for messages.
pub(crate) struct CommandStream {
    reader: Pin<Box<dyn AsyncRead + Send>>,
    writer: Pin<Box<dyn AsyncWrite + Send>>,
    stderr: Arc<Mutex<String>>,
}

/// How much of a helper's complaints is kept.
const STDERR_LIMIT: usize = 4096;

impl CommandStream {
    /// Begins a command whose input and output are the stream.
    pub(crate) async fn begin(channel: Channel<Msg>, line: &str) -> Result<Self, russh::Error> {
        channel.exec(true, line).await?;
        let (mut read, write) = channel.split();
        let writer = Box::pin(write.make_writer());
        let stderr = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&stderr);
        let (reader, mut inner) = tokio::io::simplex(64 * 1024);
        // Ends with the channel, and with the stream: then its pipe is closed.
        tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            let _write = write;
            while let Some(message) = read.wait().await {
                match message {
                    ChannelMsg::Data { data } if inner.write_all(&data).await.is_err() => break,
                    ChannelMsg::Data { .. } => {}
                    ChannelMsg::ExtendedData { data, .. } => {
                        if let Ok(mut text) = heard.lock()
                            && text.len() < STDERR_LIMIT
                        {
                            text.push_str(&String::from_utf8_lossy(&data));
                        }
                    }
                    ChannelMsg::Eof | ChannelMsg::Close => break,
                    _ => {}
                }
            }
            let _ = inner.shutdown().await;
        });
        Ok(Self { reader: Box::pin(reader), writer, stderr })
    }
}

impl AsyncRead for CommandStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = self.reader.as_mut().poll_read(cx, buf);
        if matches!(polled, Poll::Ready(Ok(()))) && buf.filled().len() == before {
            let said = self.stderr.lock().map(|t| t.trim().to_owned()).unwrap_or_default();
            if !said.is_empty() {
                return Poll::Ready(Err(io::Error::other(said)));
            }
        }
        polled
    }
}

impl AsyncWrite for CommandStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.writer.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_shutdown(cx)
    }
}
