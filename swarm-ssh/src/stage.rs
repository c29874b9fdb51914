//! How far a connection has come, and how long each stage of it may take. A question to a person stops the clock.

use crate::auth::Ask;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
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
#[derive(Debug, Default)]
pub(crate) struct Progress {
    stage: AtomicU8,
    closed: AtomicBool,
    readers: Mutex<Vec<Waker>>,
    /// Bytes that came before the key was accepted.
    heard: AtomicUsize,
}

/// The most that a server may say before it has shown its key: a greeting of some lines, and one key exchange.
const MOST_BEFORE_KEY: usize = 512 * 1024;

impl Progress {
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
    pub(crate) async fn in_time<T>(&self, clock: &Clock, work: impl Future<Output = T>) -> Result<T, Stage> {
        let mut work = std::pin::pin!(work);
        let mut stage = self.stage();
        let mut began = Instant::now();
        let mut paused = clock.paused();
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = sleep(Duration::from_millis(50)) => {}
            }
            if self.stage() != stage {
                (stage, began, paused) = (self.stage(), Instant::now(), clock.paused());
            }
            let spent = began.elapsed().saturating_sub(clock.paused().saturating_sub(paused));
            if spent > stage.limit() && !clock.is_asking() {
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
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if matches!(polled, Poll::Ready(Ok(()))) && self.progress.stage() < Stage::Login {
            let new = buf.filled().get(before..).unwrap_or_default().to_vec();
            self.watch(&new)?;
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

/// Asks a person one question at a time, and knows how long that took.
pub(crate) struct Clock {
    ask: Arc<dyn Ask>,
    turn: tokio::sync::Mutex<()>,
    waiting: AtomicUsize,
    paused: AtomicU64,
}

impl Clock {
    pub(crate) fn new(ask: Arc<dyn Ask>) -> Self {
        Self { ask, turn: tokio::sync::Mutex::new(()), waiting: AtomicUsize::new(0), paused: AtomicU64::new(0) }
    }

    /// Asks; nothing runs out meanwhile.
    pub(crate) async fn ask(&self, question: String) -> Option<Secret> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let began = Instant::now();
        let answer = {
            let _turn = self.turn.lock().await;
            let ask = Arc::clone(&self.ask);
            tokio::task::spawn_blocking(move || ask.ask(&question)).await.ok().flatten()
        };
        self.paused.fetch_add(began.elapsed().as_millis() as u64, Ordering::SeqCst);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        answer
    }

    /// Work in which a program asks by itself: no other question is open meanwhile, and no deadline passes.
    pub(crate) async fn while_asking<T>(&self, work: impl Future<Output = T>) -> T {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let began = Instant::now();
        let done = {
            let _turn = self.turn.lock().await;
            work.await
        };
        self.paused.fetch_add(began.elapsed().as_millis() as u64, Ordering::SeqCst);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        done
    }

    /// Whether someone is being asked.
    pub(crate) fn is_asking(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    fn paused(&self) -> Duration {
        Duration::from_millis(self.paused.load(Ordering::SeqCst))
    }
}
