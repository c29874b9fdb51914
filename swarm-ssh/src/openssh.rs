//! The way out: the user's own `ssh` connects, with its own trust. One master per host in a private folder; commands, files and the
//! engine's socket go through it. A client that finds no master connects to nothing: its ProxyCommand is `false`.

use crate::answer::Answers;
use crate::channel::RunError;
use crate::config::home;
use crate::error::{SshError, clean};
use crate::known_hosts::{Line, parse_line};
use crate::record::{Names, append};
use crate::stage::Clock;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use swarm_core::addr::HostAddress;
use swarm_core::host::{BoxStream, Output};
use swarm_core::spec::{HostKeyPolicy, Jump, SshSpec};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

/// How long a login may take without a question.
const LOGIN: Duration = Duration::from_secs(40);
/// The same, where a person may have to type.
const LOGIN_ASKING: Duration = Duration::from_secs(180);
/// How long the master may take to answer us.
const ANSWER: Duration = Duration::from_secs(10);
/// How much of what `ssh` complains about is kept.
const COMPLAINTS: usize = 16 * 1024;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A connection made by `ssh`.
pub(crate) struct Master {
    /// What the host is called in messages.
    name: String,
    dir: Folder,
    control: PathBuf,
    /// The process; `None` for a master of the user's own that was running already.
    child: Option<Mutex<Child>>,
    answers: Arc<dyn Fn() -> Command + Send + Sync>,
    /// Sockets that are forwarded, each with the one here.
    forwards: Mutex<Vec<(String, PathBuf)>>,
    /// Where a new host key is to be written.
    record_in: Option<(PathBuf, Names)>,
    /// Ends when we do, however we end: then the master is stopped and the folder removed.
    _watchdog: Option<Child>,
}

/// A private folder that goes away with us.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let base = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|d| d.is_dir() && d.as_os_str().len() < 40);
        let base = base.unwrap_or_else(|| "/tmp".into());
        let chance = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), ()) & 0xff_ffff;
        let dir = base.join(format!("swarm-{}-{}-{chance:x}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst)));
        // Not made if it is there: whoever made it is someone else.
        std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A value of an option that may hold blanks.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('%', "%%"))
}

/// The options that the cluster file stands for, and those that keep a master to what it is for.
fn options(spec: &SshSpec, person: bool, known_hosts: Option<&str>) -> Vec<String> {
    let mut args: Vec<String> = Vec::new();
    let mut set = |option: String| args.extend(["-o".to_owned(), option]);
    let policy = if spec.host_key == HostKeyPolicy::AcceptNew { "accept-new" } else { "yes" };
    set(format!("StrictHostKeyChecking={policy}"));
    set("UpdateHostKeys=no".into());
    // A new name is read back, and then written as the configuration wants it.
    set("HashKnownHosts=no".into());
    set("ClearAllForwardings=yes".into());
    set("PermitLocalCommand=no".into());
    set("ForwardAgent=no".into());
    set("ForwardX11=no".into());
    if !person {
        set("BatchMode=yes".into());
    }
    if let Some(files) = known_hosts {
        set(format!("UserKnownHostsFile={files}"));
    }
    if let Some(file) = &spec.identity_file {
        set(format!("IdentityFile={}", quoted(&home(&file.display().to_string()))));
    }
    args
}

fn login(user: Option<&str>, port: Option<u16>) -> Vec<String> {
    let mut args = Vec::new();
    args.extend(user.into_iter().flat_map(|u| ["-l".to_owned(), u.to_owned()]));
    args.extend(port.into_iter().flat_map(|p| ["-p".to_owned(), p.to_string()]));
    args
}

/// A jump host of the cluster file, as a ProxyCommand: what the file says of trust is said to it as well.
fn proxy(jumps: &[Jump], spec: &SshSpec, person: bool, known_hosts: Option<&str>) -> Option<String> {
    let (last, before) = jumps.split_last()?;
    let mut words = vec!["ssh".to_owned()];
    words.extend(options(spec, person, known_hosts));
    if let Some(way) = proxy(before, spec, person, known_hosts) {
        words.extend(["-o".to_owned(), format!("ProxyCommand={way}")]);
    }
    words.extend(login(last.user.as_deref(), last.port));
    let line = shlex::try_join(words.iter().map(String::as_str)).ok()?;
    let to = shlex::try_quote(&last.address.to_string()).ok()?.into_owned();
    // The tokens are the next hop's; every other percent sign is one.
    Some(format!("{} -W '[%h]:%p' -- {to}", line.replace('%', "%%")))
}

/// The arguments with which a person's own `ssh` reaches a host as these settings say; the address is the last one. What they leave open is left to
/// ssh_config, and a question about a host key is asked by `ssh` itself.
pub fn arguments(address: &HostAddress, spec: &SshSpec) -> Vec<String> {
    let mut args = client_options(spec);
    args.extend(["--".to_owned(), address.to_string()]);
    args
}

/// The same settings as options of `ssh`, `scp` and `sftp` alike: `-o` and a keyword with its value, again and again.
pub fn client_options(spec: &SshSpec) -> Vec<String> {
    let known_hosts = spec.known_hosts.as_ref().map(|file| quoted(&home(&file.display().to_string())));
    let mut args: Vec<String> = Vec::new();
    let mut set = |option: String| args.extend(["-o".to_owned(), option]);
    if spec.host_key == HostKeyPolicy::AcceptNew {
        set("StrictHostKeyChecking=accept-new".into());
    }
    if let Some(file) = &known_hosts {
        set(format!("UserKnownHostsFile={file}"));
    }
    if let Some(file) = &spec.identity_file {
        set(format!("IdentityFile={}", quoted(&home(&file.display().to_string()))));
    }
    if let Some(way) = spec.jump.as_deref().and_then(|jumps| proxy(jumps, spec, true, known_hosts.as_deref())) {
        set(format!("ProxyCommand={way}"));
    }
    if let Some(user) = &spec.user {
        set(format!("User={user}"));
    }
    if let Some(port) = spec.port {
        set(format!("Port={port}"));
    }
    args
}

impl Master {
    /// Connects. `running` is a master of the user's own that is to be used.
    pub(crate) async fn connect(
        name: &str,
        spec: &SshSpec,
        running: Option<PathBuf>,
        answers: &Answers,
        clock: &Clock,
        person: bool,
    ) -> Result<Self, SshError> {
        let wrong = |message: String| SshError::Settings { hop: name.to_owned(), message };
        let dir = Folder::new().map_err(|e| wrong(format!("no private folder could be made: {e}")))?;
        let hidden = answers.hidden_names();
        let command: Arc<dyn Fn() -> Command + Send + Sync> = Arc::new(move || {
            let mut command = Command::new("ssh");
            hidden.iter().for_each(|name| {
                command.env_remove(name);
            });
            command.kill_on_drop(true);
            command
        });
        let made = |dir, control, child, record_in, watchdog| Self {
            name: name.to_owned(),
            dir,
            control,
            child,
            answers: Arc::clone(&command),
            forwards: Mutex::default(),
            record_in,
            _watchdog: watchdog,
        };
        if let Some(control) = running {
            return Ok(made(dir, control, None, None, None));
        }
        let asked = answers.ask(name, spec.user.as_deref(), spec.port).await?;
        // A new key goes into the private folder first: looking writes nothing.
        let files = match &spec.known_hosts {
            Some(file) => vec![home(&file.display().to_string())],
            None => asked
                .value("userknownhostsfile")
                .filter(|v| *v != "none")
                .unwrap_or_default()
                .split_whitespace()
                .map(PathBuf::from)
                .collect(),
        };
        let mut record_in = None;
        let known_hosts = if spec.host_key == HostKeyPolicy::AcceptNew {
            if files.is_empty() || files.iter().any(|f| !f.is_absolute()) {
                return Err(wrong(
                    "host_key: accept-new needs a known_hosts file whose path has no blanks; name one with `known_hosts`".into(),
                ));
            }
            let hashed = matches!(asked.value("hashknownhosts"), Some("yes" | "true"));
            record_in = files.first().map(|f| (f.clone(), if hashed { Names::Hashed } else { Names::Plain }));
            let all: Vec<String> = [dir.0.join("new")].iter().chain(&files).map(|f| quoted(f)).collect();
            Some(all.join(" "))
        } else {
            spec.known_hosts.is_some().then(|| files.iter().map(|f| quoted(f)).collect::<Vec<_>>().join(" "))
        };
        let control = dir.0.join("c");
        let mut ssh = command();
        ssh.args(["-M", "-N", "-T", "-x", "-a", "-S"]).arg(&control).args(["-o", "ControlPersist=no"]);
        ssh.args(options(spec, person, known_hosts.as_deref()));
        if let Some(way) = spec.jump.as_deref().and_then(|jumps| proxy(jumps, spec, person, known_hosts.as_deref())) {
            ssh.args(["-o", &format!("ProxyCommand={way}")]);
        }
        // What keeps a connection alive, where the configuration says nothing.
        if asked.value("serveraliveinterval").is_none_or(|v| v == "0") {
            ssh.args(["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]);
        }
        if asked.value("connecttimeout").is_none_or(|v| v == "none") {
            ssh.args(["-o", "ConnectTimeout=10"]);
        }
        ssh.args(login(spec.user.as_deref(), spec.port)).args(["--", name]);
        ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let connecting = async {
            let mut child = ssh.spawn().map_err(|e| wrong(format!("`ssh` could not be run: {e}")))?;
            let watchdog = child.id().and_then(|pid| watchdog(pid, &dir.0));
            let mut stderr = child.stderr.take();
            let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
            let reading = stderr.take().map(|mut stderr| {
                let heard = Arc::clone(&heard);
                tokio::spawn(async move {
                    let mut buffer = [0; 1024];
                    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
                        if let (Ok(mut heard), Some(new)) = (heard.lock(), buffer.get(..count))
                            && heard.len() < COMPLAINTS
                        {
                            heard.extend_from_slice(new);
                        }
                    }
                })
            });
            let until = Instant::now() + if person { LOGIN_ASKING } else { LOGIN };
            loop {
                if control.exists() {
                    return Ok((child, watchdog));
                }
                let ended = child.try_wait().ok().flatten().is_some();
                if ended || Instant::now() > until {
                    let _ = child.start_kill();
                    // What it said last is read to its end; a program of its own (ProxyCommand) may hold the pipe open.
                    if let Some(reading) = reading {
                        let _ = timeout(Duration::from_secs(1), reading).await;
                    }
                    let said = heard.lock().map(|h| String::from_utf8_lossy(&h).into_owned()).unwrap_or_default();
                    return Err(if ended { meaning(name, &said) } else { late(name, &said) });
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        // `ssh` asks by itself on the terminal: no other question may be open.
        let (child, watchdog) = if person { clock.while_asking(connecting).await? } else { connecting.await? };
        Ok(made(dir, control, Some(Mutex::new(child)), record_in, watchdog))
    }

    /// Whether the master is still there.
    pub(crate) async fn is_alive(&self) -> bool {
        match &self.child {
            Some(child) => child.lock().await.try_wait().is_ok_and(|ended| ended.is_none()),
            None => self.client().args(["-O", "check", "host"]).output().await.is_ok_and(|o| o.status.success()),
        }
    }

    /// `ssh` as a client of the master, and of nothing else.
    fn client(&self) -> Command {
        let mut ssh = (self.answers)();
        ssh.args(["-F", "/dev/null", "-o", "ProxyCommand=false", "-o", "BatchMode=yes", "-T", "-x", "-a", "-S"]).arg(&self.control);
        ssh.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        ssh
    }

    /// Writes the new host keys down that `ssh` accepted.
    pub(crate) fn record(&self) -> Result<(), String> {
        let Some((file, names)) = &self.record_in else { return Ok(()) };
        let new = self.dir.0.join("new");
        let Ok(bytes) = std::fs::read(&new) else { return Ok(()) };
        for line in bytes.split(|b| *b == b'\n') {
            let Line::Key(entry) = parse_line(line) else { continue };
            let Some(name) = std::str::from_utf8(line).ok().and_then(|l| l.split(' ').next()) else { continue };
            append(file, name, *names, &entry.algorithm, &entry.key)
                .map_err(|e| format!("the new host key of {name} was not written to {}: {e}", file.display()))?;
        }
        let _ = std::fs::remove_file(new);
        Ok(())
    }

    /// Runs a command line to its end.
    pub(crate) async fn run(&self, line: &str, stdin: Option<&[u8]>, limit: usize) -> Result<Output, RunError> {
        let lost = |e: io::Error| RunError::Lost(e.to_string());
        let mut ssh = self.client();
        ssh.args(["--", "host", line]).stdin(Stdio::piped());
        let mut child = ssh.spawn().map_err(lost)?;
        let (input, output, error) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let write = async {
            if let Some(mut input) = input {
                if let Some(bytes) = stdin {
                    let _ = input.write_all(bytes).await;
                }
                let _ = input.shutdown().await;
            }
        };
        let (stdout, stderr, ()) = tokio::join!(read(output, limit), read(error, limit), write);
        let (stdout, stderr) = (stdout?, stderr?);
        let status = child.wait().await.map_err(lost)?;
        // 255 is what `ssh` says of itself; a command may say it too, but then the master is there.
        if status.code() == Some(255) && !self.is_alive().await {
            return Err(RunError::Lost(clean(&String::from_utf8_lossy(&stderr))));
        }
        let code = status.code().and_then(|c| u32::try_from(c).ok()).filter(|c| *c != 255 || !stderr.is_empty());
        Ok(Output { status: code, stdout, stderr })
    }

    /// A stream to a socket of the host; `None` where sshd does not forward it.
    pub(crate) async fn forward(&self, socket: &str) -> io::Result<Option<BoxStream>> {
        let mut forwards = self.forwards.lock().await;
        let here = match forwards.iter().find(|(there, _)| there == socket) {
            Some((_, here)) => here.clone(),
            None => {
                let here = self.dir.0.join(format!("s{}", forwards.len()));
                let pair = format!("{}:{socket}", here.display());
                let mut ssh = self.client();
                ssh.args(["-O", "forward", "-L", &pair, "host"]);
                let output = timeout(ANSWER, ssh.output()).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                if !output.status.success() || !answers(&here).await {
                    return Ok(None);
                }
                forwards.push((socket.to_owned(), here.clone()));
                here
            }
        };
        drop(forwards);
        Ok(Some(Box::new(UnixStream::connect(here).await?)))
    }

    /// The two ways of a command as one stream.
    pub(crate) fn stream(&self, line: &str) -> io::Result<BoxStream> {
        let mut ssh = self.client();
        ssh.args(["--", "host", line]).stdin(Stdio::piped()).stderr(Stdio::null());
        let mut child = ssh.spawn()?;
        let missing = || io::Error::other("`ssh` has no pipes");
        let (input, output) = (child.stdin.take().ok_or_else(missing)?, child.stdout.take().ok_or_else(missing)?);
        Ok(Box::new(Piped { input: Some(input), output, _child: child }))
    }

    /// For messages.
    pub(crate) fn label(&self) -> &str {
        &self.name
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        // A master of the user's own keeps running, without what we asked of it.
        if self.child.is_none() {
            for (socket, here) in self.forwards.get_mut() {
                let pair = format!("{}:{socket}", here.display());
                let mut ssh = std::process::Command::new("ssh");
                ssh.args(["-F", "/dev/null", "-o", "ProxyCommand=false", "-S"]).arg(&self.control);
                let _ = ssh
                    .args(["-O", "cancel", "-L", &pair, "host"])
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status();
            }
        }
    }
}

/// Ends with us, however we end, and then stops the master and removes the folder.
fn watchdog(pid: u32, dir: &Path) -> Option<Child> {
    let script = r#"cat >/dev/null; kill "$1" 2>/dev/null; rm -rf -- "$2""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", &pid.to_string()]).arg(dir);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(false);
    // A Ctrl-C on the terminal is ours to handle.
    command.process_group(0);
    command.spawn().ok()
}

/// Whether something answers HTTP behind a forwarded socket: sshd says no only after the connection is there.
async fn answers(here: &Path) -> bool {
    let probe = async {
        let mut stream = UnixStream::connect(here).await?;
        stream.write_all(b"HEAD /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n").await?;
        let mut first = [0; 1];
        stream.read(&mut first).await
    };
    matches!(timeout(ANSWER, probe).await, Ok(Ok(1)))
}

async fn read(from: Option<impl AsyncRead + Unpin>, limit: usize) -> Result<Vec<u8>, RunError> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(limit as u64 + 1).read_to_end(&mut bytes).await.map_err(|e| RunError::Lost(e.to_string()))?;
    }
    if bytes.len() > limit { Err(RunError::TooMuch) } else { Ok(bytes) }
}

/// What `ssh` says of a login that failed, by layer.
fn meaning(name: &str, said: &str) -> SshError {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('@')).collect();
    let last = clean(lines.last().unwrap_or(&"`ssh` gave no reason"));
    let all = clean(&lines.join(" "));
    let (hop, has) = (name.to_owned(), |text: &str| said.contains(text));
    if has("Could not resolve hostname") {
        return SshError::Name { hop, message: last };
    }
    if has("Host key verification failed") || has("REMOTE HOST IDENTIFICATION HAS CHANGED") || has("REVOKED HOST KEY") {
        return SshError::HostKey { hop, message: format!("`ssh` does not accept its host key: {all}") };
    }
    if has("Permission denied") || has("Too many authentication failures") {
        let user = last.split_once('@').map_or(String::new(), |(user, _)| user.to_owned());
        return SshError::Login { hop, user, message: all, refused: true };
    }
    if has("Unable to negotiate") {
        return SshError::KeyExchange { hop, message: all, no_common_algorithm: true };
    }
    if has("kex_exchange_identification") || has("banner exchange") || has("Connection closed by") || has("Connection reset by") {
        return SshError::Banner { hop, message: all };
    }
    if has("Bad configuration option") || has("terminating, ") || has("percent_expand") {
        return SshError::Settings { hop, message: all };
    }
    SshError::Connect { hop, message: last }
}

fn late(name: &str, said: &str) -> SshError {
    let said = clean(said.lines().last().unwrap_or("it said nothing"));
    SshError::Connect { hop: name.to_owned(), message: format!("`ssh` did not log in within {} s: {said}", LOGIN.as_secs()) }
}

/// A command's pipes.
struct Piped {
    input: Option<ChildStdin>,
    output: ChildStdout,
    _child: Child,
}

impl AsyncRead for Piped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_read(cx, buf)
    }
}

impl AsyncWrite for Piped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.input {
            Some(input) => Pin::new(input).poll_write(cx, buf),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.input {
            Some(input) => Pin::new(input).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input = None;
        Poll::Ready(Ok(()))
    }
}
