//! A proxy before an engine's socket. It records every request, and can lose a request, lose an answer, answer 500 or wait.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use swarm_lab::LabHost;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It never reaches the engine.
    DropRequest,
    /// The engine does it, and its answer is lost.
    DropAnswer,
    /// The engine does it, and the answer says 500.
    Answer500,
    /// It reaches the engine later.
    Delay(Duration),
}

/// One request that came by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Host whose engine was asked.
    pub host: String,
    /// Method.
    pub method: String,
    /// Path without the version.
    pub path: String,
}

impl Seen {
    /// Whether it would change something.
    pub fn is_mutating(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD")
    }
}

type Watcher = dyn Fn(&Seen, bool) + Send + Sync;

/// What all proxies of a test write to, and read their faults from.
#[derive(Default)]
pub struct Record {
    seen: Mutex<Vec<Seen>>,
    faults: Mutex<Vec<(String, String, Fault)>>,
    watcher: Mutex<Option<Arc<Watcher>>>,
}

impl Record {
    /// Everything that came by.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// What came by and would change something.
    pub fn mutating(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(Seen::is_mutating).collect()
    }

    /// Forgets what came by.
    pub fn clear(&self) {
        self.seen.lock().unwrap().clear();
    }

    /// The next request of this host whose path begins so meets a fault, once.
    pub fn fault(&self, host: &str, path: &str, fault: Fault) {
        self.faults.lock().unwrap().push((host.to_owned(), path.to_owned(), fault));
    }

    /// Faults that no request met.
    pub fn faults_left(&self) -> usize {
        self.faults.lock().unwrap().len()
    }

    /// Called for each request: before it reaches the engine (`false`), and after the engine answered (`true`).
    pub fn watch(&self, watcher: impl Fn(&Seen, bool) + Send + Sync + 'static) {
        *self.watcher.lock().unwrap() = Some(Arc::new(watcher));
    }

    fn take_fault(&self, seen: &Seen) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let at = faults.iter().position(|(host, path, _)| *host == seen.host && seen.path.starts_with(path.as_str()))?;
        Some(faults.remove(at).2)
    }

    fn tell(&self, seen: &Seen, answered: bool) {
        let watcher = self.watcher.lock().unwrap().clone();
        if let Some(watcher) = watcher {
            watcher(seen, answered);
        }
    }
}

/// A running proxy. Its socket is `/run/proxy.sock` inside the host.
pub struct Proxy {
    task: JoinHandle<()>,
    path: PathBuf,
}

/// How a cluster file names the proxy.
pub const ENGINE: &str = "engine: \"unix:///run/proxy.sock\"";

impl Proxy {
    /// Where it listens, on this side.
    pub fn socket(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Begins to listen.
    pub fn start(host: &LabHost, record: &Arc<Record>) -> Self {
        let path = host.run_dir().join("proxy.sock");
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let (name, engine, record) = (host.name.clone(), host.socket(), Arc::clone(record));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (name, engine, record) = (name.clone(), engine.clone(), Arc::clone(&record));
                tokio::spawn(async move {
                    let _ = serve(client, &name, &engine, &record).await;
                });
            }
        });
        Self { task, path }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve(mut client: UnixStream, host: &str, engine: &PathBuf, record: &Record) -> std::io::Result<()> {
    let mut server = UnixStream::connect(engine).await?;
    loop {
        let Some(request) = message(&mut client, true).await? else { return Ok(()) };
        let line = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned();
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default());
        let path = path.strip_prefix("/v1.").and_then(|p| p.find('/').and_then(|at| p.get(at..))).unwrap_or(path).to_owned();
        let seen = Seen { host: host.to_owned(), method, path };
        record.seen.lock().unwrap().push(seen.clone());
        record.tell(&seen, false);
        let fault = record.take_fault(&seen);
        match fault {
            Some(Fault::DropRequest) => return Ok(()),
            Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
            _ => {}
        }
        server.write_all(&request).await?;
        let answer = message(&mut server, false).await?.unwrap_or_default();
        record.tell(&seen, true);
        match fault {
            Some(Fault::DropAnswer) => return Ok(()),
            Some(Fault::Answer500) => {
                let body = "{\"message\":\"the proxy says no\"}";
                let text = format!(
                    "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                client.write_all(text.as_bytes()).await?;
            }
            _ => client.write_all(&answer).await?,
        }
    }
}

/// Reads one HTTP/1.1 message: its head, and its body by length or in chunks.
async fn message(stream: &mut (impl AsyncRead + Unpin), request: bool) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = find(&bytes, b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|l| l.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    if let Some(length) = length {
        while bytes.len() < head + length {
            if stream.read_buf(&mut bytes).await? == 0 {
                break;
            }
        }
    } else if text.contains("transfer-encoding: chunked") {
        while !bytes.ends_with(b"0\r\n\r\n") {
            if stream.read_buf(&mut bytes).await? == 0 {
                break;
            }
        }
    } else {
        assert!(request || text.contains(" 204 ") || text.contains(" 304 "), "an answer without a length: {text}");
    }
    Ok(Some(bytes))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|w| w == wanted)
}
