//! How far a connection has come, and how long each stage of it may take. A question to a person stops the clock, and so does our own
//! arithmetic: with groups of 8192 bits a key exchange costs this machine seconds, and more where many hosts are connected at once.

use crate::ask::Ask;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use swarm_core::Secret;
use swarm_core::host::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep};

/// The stages of one connection, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Waiting for the server's greeting.
    Banner = 0,
    /// Exchanging keys.
    KeyExchange = 1,
    /// The host's key was accepted.
    Login = 2,
}

impl Stage {
    /// How long it may take.
    pub(crate) fn limit(self) -> Duration {
        match self {
            Self::Banner | Self::KeyExchange => Duration::from_secs(10),
            Self::Login => Duration::from_secs(20),
        }
    }
}

/// What the stream, the handler and whoever waits know of one connection.
#[derive(Debug)]
pub(crate) struct Progress {
    stage: AtomicU8,
    closed: AtomicBool,
    /// Whether the greeting is OpenSSH's.
    openssh: AtomicBool,
    readers: Mutex<Vec<Waker>>,
    /// Bytes that came before the key was accepted.
    heard: AtomicUsize,
    stops: Arc<Stops>,
    /// Since bytes of the key exchange were taken, until more are asked for: the arithmetic is ours, and the host waits.
    computing: Mutex<Option<Stop>>,
}

/// The most that a server may say before it has shown its key: a greeting of some lines, and one key exchange.
const MOST_BEFORE_KEY: usize = 512 * 1024;

impl Progress {
    pub(crate) fn new(clock: &Clock) -> Self {
        Self {
            stage: AtomicU8::new(0),
            closed: AtomicBool::new(false),
            openssh: AtomicBool::new(false),
            readers: Mutex::default(),
            heard: AtomicUsize::new(0),
            stops: Arc::clone(&clock.stops),
            computing: Mutex::new(None),
        }
    }

    fn compute(&self, computing: bool) {
        let stop = computing.then(|| self.stops.stop());
        if let Ok(mut current) = self.computing.lock() {
            *current = stop;
        }
    }

    /// Whether the host's server is OpenSSH, by its greeting.
    pub(crate) fn is_openssh(&self) -> bool {
        self.openssh.load(Ordering::SeqCst)
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::SeqCst) {
            0 => Stage::Banner,
            1 => Stage::KeyExchange,
            _ => Stage::Login,
        }
    }

    pub(crate) fn reach(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::SeqCst);
    }

    /// Ends the connection: what reads from it gets an error.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        if let Ok(mut readers) = self.readers.lock() {
            readers.drain(..).for_each(Waker::wake);
        }
    }

    /// Waits for work, as long as each stage of it is in time. `Err` is the stage that was not.
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, Stage> {
        let mut work = std::pin::pin!(work);
        let mut stage = self.stage();
        let mut began = Instant::now();
        let mut stopped = self.stops.total();
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = sleep(Duration::from_millis(50)) => {}
            }
            if self.stage() != stage {
                (stage, began, stopped) = (self.stage(), Instant::now(), self.stops.total());
            }
            let spent = began.elapsed().saturating_sub(self.stops.total().saturating_sub(stopped));
            if spent > stage.limit() {
                self.close();
                return Err(stage);
            }
        }
    }
}

/// A connection's bytes, watched.
pub(crate) struct Watched {
    inner: BoxStream,
    progress: Arc<Progress>,
    /// The line of the greeting that is being read.
    line: Vec<u8>,
}

impl Watched {
    pub(crate) fn new(inner: BoxStream, progress: Arc<Progress>) -> Self {
        Self { inner, progress, line: Vec::new() }
    }

    fn watch(&mut self, bytes: &[u8]) -> io::Result<()> {
        let heard = self.progress.heard.fetch_add(bytes.len(), Ordering::SeqCst) + bytes.len();
        if heard > MOST_BEFORE_KEY {
            return Err(io::Error::other("the server says more than any server needs to before it shows its key"));
        }
        if self.progress.stage() == Stage::Banner {
            for byte in bytes {
                if *byte == b'\n' {
                    let version_2 = self.line.starts_with(b"SSH-2.0-") || self.line.starts_with(b"SSH-1.99-");
                    if self.line.starts_with(b"SSH-") && !version_2 {
                        return Err(io::Error::other("it speaks another version of the protocol than 2"));
                    }
                    if version_2 {
                        let software = self.line.strip_prefix(b"SSH-2.0-").unwrap_or_default();
                        self.progress.openssh.store(software.starts_with(b"OpenSSH"), Ordering::SeqCst);
                        self.progress.reach(Stage::KeyExchange);
                        self.line = Vec::new();
                        break;
                    }
                    self.line.clear();
                } else if self.line.len() < 256 {
                    self.line.push(*byte);
                }
            }
        }
        Ok(())
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Ok(mut readers) = self.progress.readers.lock() {
            readers.clear();
            readers.push(cx.waker().clone());
        }
        if self.progress.closed.load(Ordering::SeqCst) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "given up")));
        }
        self.progress.compute(false);
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if matches!(polled, Poll::Ready(Ok(()))) && self.progress.stage() < Stage::Login {
            let new = buf.filled().get(before..).unwrap_or_default().to_vec();
            self.watch(&new)?;
            self.progress.compute(!new.is_empty() && self.progress.stage() == Stage::KeyExchange);
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.progress.compute(false);
    }
}

/// When no deadline runs: the time in which one reason or more held it.
#[derive(Debug, Default)]
struct Stops(Mutex<Stopped>);

#[derive(Debug, Default)]
struct Stopped {
    reasons: usize,
    since: Option<Instant>,
    before: Duration,
}

impl Stops {
    fn stop(self: &Arc<Self>) -> Stop {
        if let Ok(mut stopped) = self.0.lock() {
            stopped.reasons += 1;
            stopped.since.get_or_insert_with(Instant::now);
        }
        Stop(Arc::clone(self))
    }

    fn total(&self) -> Duration {
        self.0.lock().map_or(Duration::ZERO, |stopped| stopped.before + stopped.since.map_or(Duration::ZERO, |since| since.elapsed()))
    }
}

/// One reason for which no deadline runs, for as long as it lives.
#[derive(Debug)]
struct Stop(Arc<Stops>);

impl Drop for Stop {
    fn drop(&mut self) {
        if let Ok(mut stopped) = self.0.0.lock() {
            stopped.reasons = stopped.reasons.saturating_sub(1);
            if stopped.reasons == 0
                && let Some(since) = stopped.since.take()
            {
                stopped.before += since.elapsed();
            }
        }
    }
}

/// Asks a person one question at a time, and stops the deadlines meanwhile.
pub(crate) struct Clock {
    ask: Arc<dyn Ask>,
    turn: tokio::sync::Mutex<()>,
    stops: Arc<Stops>,
}

impl Clock {
    pub(crate) fn new(ask: Arc<dyn Ask>) -> Self {
        Self { ask, turn: tokio::sync::Mutex::new(()), stops: Arc::default() }
    }

    /// Asks; nothing runs out meanwhile.
    pub(crate) async fn ask(&self, question: String) -> Option<Secret> {
        let ask = Arc::clone(&self.ask);
        self.while_asking(async { tokio::task::spawn_blocking(move || ask.ask(&question)).await.ok().flatten() }).await
    }

    /// Work in which a program asks by itself: no other question is open meanwhile, and no deadline passes.
    pub(crate) async fn while_asking<T>(&self, work: impl Future<Output = T>) -> T {
        let _stop = self.stops.stop();
        let _turn = self.turn.lock().await;
        work.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoPrompt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A key exchange of which `ours` is our arithmetic, `theirs` until the host says the next thing, and a login where it says nothing.
    async fn exchange(ours: Duration, theirs: Duration, login: bool) -> Result<(), Stage> {
        let clock = Clock::new(Arc::new(NoPrompt));
        let progress = Arc::new(Progress::new(&clock));
        let (near, mut far) = tokio::io::duplex(1024);
        let mut watched = Watched::new(Box::new(near), Arc::clone(&progress));
        let host = async {
            far.write_all(b"SSH-2.0-x\r\n").await.unwrap();
            sleep(theirs).await;
            far.write_all(b"key").await.unwrap();
            if login {
                std::future::pending::<()>().await;
            }
        };
        let us = async {
            let mut bytes = [0; 64];
            assert_eq!(watched.read(&mut bytes).await.unwrap(), 11);
            assert_eq!(progress.stage(), Stage::KeyExchange);
            sleep(ours).await;
            assert_eq!(watched.read(&mut bytes).await.unwrap(), 3);
            progress.reach(Stage::Login);
            if login {
                let _ = watched.read(&mut bytes).await;
            }
        };
        let ended = progress.in_time(async { tokio::join!(host, us) });
        tokio::time::timeout(Duration::from_secs(600), ended).await.unwrap().map(|_| ())
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_arithmetic_is_not_the_hosts_time() {
        let seconds = Duration::from_secs;
        assert_eq!(exchange(seconds(60), seconds(65), false).await, Ok(()));
        assert_eq!(exchange(seconds(1), seconds(9), false).await, Ok(()));
        assert_eq!(exchange(seconds(1), seconds(12), false).await, Err(Stage::KeyExchange));
        assert_eq!(exchange(seconds(60), seconds(72), false).await, Err(Stage::KeyExchange));
        assert_eq!(exchange(seconds(1), seconds(2), true).await, Err(Stage::Login));
    }

    #[tokio::test(start_paused = true)]
    async fn two_reasons_at_once_stop_the_clock_once() {
        let stops = Arc::new(Stops::default());
        let first = stops.stop();
        sleep(Duration::from_secs(2)).await;
        let second = stops.stop();
        sleep(Duration::from_secs(3)).await;
        drop(first);
        sleep(Duration::from_secs(4)).await;
        assert_eq!(stops.total(), Duration::from_secs(9));
        drop(second);
        sleep(Duration::from_secs(5)).await;
        assert_eq!(stops.total(), Duration::from_secs(9));
    }
}
