//! A host over SSH.

use crate::ask::Ask;
use crate::channel::{CommandStream, RunError, run};
use crate::config::{Way, destination_of, settle};
use crate::error::{SshError, clean};
use crate::hop::Hop;
use crate::openssh::Master;
use crate::relay::{FIND, RELAY};
use crate::session::{OPEN, Session, Shared};
use async_trait::async_trait;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use swarm_core::addr::HostAddress;
use swarm_core::host::{BoxStream, Command, Host, HostError, HostProbe, Output};
use swarm_core::id::HostName;
use swarm_core::observe::{MachineFacts, PROBE_SCRIPT, ReachErrorKind, parse_probe};
use swarm_core::spec::{SshClient, SshSpec};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep, timeout};

/// How long a refused channel is tried again: with `MaxSessions 1` the other one must end first.
const CHANNEL_BUDGET: Duration = Duration::from_secs(8);

/// Makes hosts that share keys, prompts and connections to jump hosts.
#[derive(Clone)]
pub struct SshConnector {
    shared: Arc<Shared>,
}

impl fmt::Debug for SshConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SshConnector")
    }
}

impl SshConnector {
    /// `ask` is asked for passphrases and passwords.
    pub fn new(ask: Arc<dyn Ask>) -> Self {
        Self { shared: Arc::new(Shared::new(ask)) }
    }

    /// A host by its destination: `[user@]host[:port]`, where `host` may be a name of ssh_config. What the destination says goes before
    /// `settings`, and those go before ssh_config. Nothing is connected before the host is used.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use swarm_ssh::{NoPrompt, SshConnector, SshSpec};
    /// let connector = SshConnector::new(Arc::new(NoPrompt));
    /// assert!(connector.to("admin@web.example.org:2200", SshSpec::default()).is_ok());
    /// assert!(connector.to("-oProxyCommand=reboot", SshSpec::default()).is_err());
    /// ```
    ///
    /// # Errors
    /// [`SshError::Settings`] for a destination that cannot be read.
    pub fn to(&self, destination: &str, settings: SshSpec) -> Result<SshHost, SshError> {
        let wrong = || SshError::Settings {
            hop: clean(destination),
            message: "this is no destination; it is [user@]host[:port], an IPv6 address with a port in brackets".into(),
        };
        let to = destination_of(destination).ok_or_else(wrong)?;
        let address: HostAddress = to.address.parse().map_err(|_| wrong())?;
        let settings = SshSpec { user: to.user.or(settings.user), port: to.port.or(settings.port), ..settings };
        Ok(self.host(HostName::new(destination), address, settings))
    }

    /// A host whose name, for messages, is not its address. Nothing is connected before it is used.
    pub fn host(&self, name: HostName, address: HostAddress, spec: SshSpec) -> SshHost {
        SshHost {
            name,
            address,
            spec,
            shared: Arc::clone(&self.shared),
            line: Mutex::new(None),
            way: Mutex::new(None),
            commands: Semaphore::new(1),
            relays: Mutex::new(false),
        }
    }

    /// Environment variables that hold secrets: no program that is started for a connection gets them.
    pub fn hide_variables(&self, names: impl IntoIterator<Item = String>) {
        self.shared.answers.hide(names);
    }

    /// Writes the host keys down that were new and accepted (`host_key: accept-new`). Connecting alone writes nothing.
    ///
    /// # Errors
    /// The first one that could not be written, and why.
    pub fn record_host_keys(&self) -> Result<(), String> {
        self.shared.record()
    }
}

/// What carries commands and streams.
#[derive(Clone)]
enum Line {
    Native(Arc<Session>),
    OpenSsh(Arc<Master>),
}

impl Line {
    async fn is_alive(&self) -> bool {
        match self {
            Self::Native(session) => !session.handle.is_closed(),
            Self::OpenSsh(master) => master.is_alive().await,
        }
    }

    fn label(&self) -> &str {
        match self {
            Self::Native(session) => session.label(),
            Self::OpenSsh(master) => master.label(),
        }
    }
}

/// A host over SSH: one TCP connection, many channels.
///
/// A lost connection is made again at the next use; what was under way is reported as [`HostError::Lost`]. A dropped call closes its
/// channel and leaves the connection.
pub struct SshHost {
    name: HostName,
    address: HostAddress,
    spec: SshSpec,
    shared: Arc<Shared>,
    way: Mutex<Option<Way>>,
    line: Mutex<Option<Line>>,
    /// Commands one at a time: sshd may allow a single session.
    commands: Semaphore,
    /// Whether sshd does not forward to the engine's socket, and a command on the host copies bytes instead.
    relays: Mutex<bool>,
}

impl fmt::Debug for SshHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SshHost({} at {})", self.name, self.address)
    }
}

impl SshHost {
    /// Connects and logs in, if that was not done yet. Each layer has its own deadline, and its failure its own words.
    ///
    /// # Errors
    /// The layer that failed.
    pub async fn connect(&self) -> Result<(), SshError> {
        self.line().await.map(|_| ())
    }

    /// Which setting makes the user's own `ssh` connect; `None` for the built-in client, and before the first connection.
    pub async fn by_openssh(&self) -> Option<String> {
        match self.way.lock().await.as_ref() {
            Some(Way::OpenSsh { because, .. }) => Some(because.clone()),
            _ => None,
        }
    }

    /// Writes the host key down, if it was new and accepted.
    ///
    /// # Errors
    /// Why it could not be written.
    pub async fn record_host_key(&self) -> Result<(), String> {
        if let Some(Line::OpenSsh(master)) = self.line.lock().await.as_ref() {
            master.record()?;
        }
        self.shared.record()
    }

    async fn line(&self) -> Result<Line, SshError> {
        let mut slot = self.line.lock().await;
        if let Some(line) = slot.as_ref()
            && line.is_alive().await
        {
            return Ok(line.clone());
        }
        let mut way = self.way.lock().await;
        let settled = match way.as_ref() {
            Some(way) => way.clone(),
            None => way.insert(settle(&self.address, &self.spec, &self.shared.answers).await?).clone(),
        };
        let line = match settled {
            Way::Native(hops) => match self.native(&hops).await {
                // What this client cannot negotiate, `ssh` may.
                Err(SshError::KeyExchange { no_common_algorithm: true, message, .. })
                    if self.spec.client == SshClient::Auto && self.shared.answers.plain().await.is_some() =>
                {
                    let opened = self.openssh(None).await?;
                    *way = Some(Way::OpenSsh { because: message, running: None });
                    opened
                }
                other => other?,
            },
            Way::OpenSsh { running, because } => {
                tracing::info!(host = %self.name, "your own ssh connects: {}", clean(&because));
                self.openssh(running).await?
            }
        };
        *slot = Some(line.clone());
        Ok(line)
    }

    async fn native(&self, hops: &[Hop]) -> Result<Line, SshError> {
        Ok(Line::Native(Arc::new(Session::connect(hops, &self.shared).await?)))
    }

    async fn openssh(&self, running: Option<PathBuf>) -> Result<Line, SshError> {
        let Shared { answers, clock, .. } = self.shared.as_ref();
        let master = Master::connect(&self.address.to_string(), &self.spec, running, answers, clock, self.shared.person()).await?;
        Ok(Line::OpenSsh(Arc::new(master)))
    }

    async fn connected(&self) -> Result<Line, HostError> {
        self.line().await.map_err(|error| HostError::Unreachable { message: error.to_string(), retry: error.may_pass() })
    }

    fn lost(&self, doing: &'static str, message: impl Into<String>) -> HostError {
        HostError::Lost { host: self.name.clone(), doing, message: clean(&message.into()) }
    }

    /// A channel for a command; waits while sshd has no room for another one.
    async fn command_channel(&self, session: &Session, doing: &'static str) -> Result<russh::Channel<russh::client::Msg>, HostError> {
        let until = Instant::now() + CHANNEL_BUDGET;
        let unreachable = |message: String| {
            let error = SshError::Session { hop: session.label().to_owned(), message };
            HostError::Unreachable { message: error.to_string(), retry: true }
        };
        loop {
            match timeout(OPEN, session.open_session()).await {
                Ok(Ok(channel)) => return Ok(channel),
                Ok(Err(russh::Error::ChannelOpenFailure(reason))) if Instant::now() >= until => {
                    return Err(unreachable(format!("sshd opens none for {doing} ({reason:?}); raise MaxSessions in its sshd_config")));
                }
                Ok(Err(russh::Error::ChannelOpenFailure(_))) => sleep(Duration::from_millis(100)).await,
                Ok(Err(error)) => return Err(self.lost(doing, error.to_string())),
                Err(_) => return Err(unreachable(format!("no answer within {} s", OPEN.as_secs()))),
            }
        }
    }

    async fn run_line(&self, line: &str, command: &Command, doing: &'static str) -> Result<Output, HostError> {
        let _turn = self.commands.acquire().await.map_err(|e| self.lost(doing, e.to_string()))?;
        // Connecting has deadlines of its own.
        let connected = self.connected().await?;
        let work = async {
            let done = match &connected {
                Line::Native(session) => {
                    let channel = self.command_channel(session, doing).await?;
                    session.prime_next();
                    run(channel, line, command.stdin.as_deref(), command.output_limit).await
                }
                Line::OpenSsh(master) => master.run(line, command.stdin.as_deref(), command.output_limit).await,
            };
            done.map_err(|error| match error {
                RunError::Lost(message) => self.lost(doing, message),
                RunError::TooMuch => HostError::Unexpected {
                    host: self.name.clone(),
                    message: format!("the command wrote more than {} bytes", command.output_limit),
                },
            })
        };
        match timeout(command.timeout, work).await {
            Ok(result) => result,
            Err(_) => Err(HostError::TimedOut { host: self.name.clone(), doing, after: command.timeout }),
        }
    }

    fn quote(&self, argv: &[String]) -> Result<String, HostError> {
        let words = argv.iter().map(String::as_str);
        shlex::try_join(words)
            .map_err(|e| HostError::Unexpected { host: self.name.clone(), message: format!("the command cannot be quoted: {e}") })
    }

    fn elevated(&self, argv: &[&str]) -> Vec<String> {
        let sudo: &[&str] = if self.spec.sudo { &["sudo", "-n", "--"] } else { &[] };
        sudo.iter().chain(argv).map(|s| (*s).to_owned()).collect()
    }

    async fn forward(&self, socket: &str) -> Result<Option<BoxStream>, HostError> {
        let doing = "opening the engine's socket";
        match self.connected().await? {
            Line::Native(session) => match timeout(OPEN, session.open_socket(socket)).await {
                Ok(Ok(channel)) => Ok(Some(Box::new(channel.into_stream()))),
                Ok(Err(russh::Error::ChannelOpenFailure(_))) => Ok(None),
                Ok(Err(error)) => Err(self.lost(doing, error.to_string())),
                Err(_) => {
                    let message = format!("{}: sshd did not open {socket} within {} s", session.label(), OPEN.as_secs());
                    Err(HostError::NoSocket { message, kind: ReachErrorKind::Unreachable })
                }
            },
            Line::OpenSsh(master) => master.forward(socket).await.map_err(|e| self.lost(doing, e.to_string())),
        }
    }

    async fn relay(&self, socket: &str) -> Result<BoxStream, HostError> {
        let argv = self.elevated(&["sh", "-c", RELAY, "sh", socket]);
        let line = self.quote(&argv)?;
        let doing = "opening the engine's socket";
        match self.connected().await? {
            Line::Native(session) => {
                let channel = self.command_channel(&session, doing).await?;
                let stream = CommandStream::begin(channel, &line).await.map_err(|e| self.lost(doing, e.to_string()))?;
                Ok(Box::new(stream))
            }
            Line::OpenSsh(master) => master.stream(&line).map_err(|e| self.lost(doing, e.to_string())),
        }
    }

    /// Why sshd did not open the socket: it says `open failed` to everything, so the host itself is asked. Nothing is wrong if a command
    /// can open it.
    async fn why_closed(&self, socket: &str) -> Result<(), HostError> {
        let script = r#"s=$1; PATH="$PATH:/usr/sbin:/sbin"
if [ ! -e "$s" ]; then if command -v dockerd >/dev/null 2>&1; then echo down; else echo none; fi
elif [ ! -S "$s" ]; then echo nosocket
elif [ ! -w "$s" ]; then echo denied
else
found=$(sh -c "$2")
if [ -z "$found" ]; then echo notool
elif [ $found != docker ] || docker -H "unix://$s" version >/dev/null 2>&1; then echo relay
else echo dead; fi
fi"#;
        let mut command = Command::new(self.elevated(&["sh", "-c", script, "sh", socket, FIND]));
        command.timeout = Duration::from_secs(30);
        let output = self.run(&command).await?;
        let word = String::from_utf8_lossy(&output.stdout);
        let label = self.connected().await?.label().to_owned();
        let user = self.spec.user.as_deref().or(label.split_once('@').map(|(user, _)| user)).unwrap_or("the user");
        let name = &self.name;
        let (kind, message) = match word.lines().last().map(str::trim) {
            Some("relay") => return Ok(()),
            Some("none") => (ReachErrorKind::NoEngine, format!("{name} has no Docker engine; install it (apt-get install docker.io)")),
            Some("down") => (
                ReachErrorKind::EngineDown,
                format!("the engine of {name} is not running: there is no {socket}; start it (systemctl start docker)"),
            ),
            Some("dead") => (
                ReachErrorKind::EngineDown,
                format!("the engine of {name} does not answer on {socket}; look at `journalctl -u docker` there"),
            ),
            Some("nosocket") => {
                (ReachErrorKind::EngineDown, format!("{socket} on {name} is no socket; correct `engine` in the cluster file"))
            }
            Some("denied") => (
                ReachErrorKind::NoPermission,
                format!(
                    "{user} may not use {socket} on {name}; add {user} to the docker group (usermod -aG docker {user}), or set `sudo: true` in the cluster file"
                ),
            ),
            Some("notool") => (
                ReachErrorKind::Unusable,
                format!(
                    "{name} has none of docker, socat, nc (with -U), python3 and perl to reach {socket} with; install socat, or set AllowStreamLocalForwarding yes in its sshd_config and add {user} to the docker group"
                ),
            ),
            _ if self.spec.sudo => (
                ReachErrorKind::NoPermission,
                format!(
                    "sudo -n does not work for {user} on {name}: {}; allow it without a password, or add {user} to the docker group and remove `sudo: true`",
                    first_line(&output.stderr)
                ),
            ),
            _ => {
                (ReachErrorKind::Unusable, format!("{name} could not be asked why {socket} does not open: {}", first_line(&output.stderr)))
            }
        };
        Err(HostError::NoSocket { message, kind })
    }
}

fn first_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    clean(text.lines().next().unwrap_or("no output")).chars().take(200).collect()
}

#[async_trait]
impl HostProbe for SshHost {
    fn name(&self) -> &HostName {
        &self.name
    }

    async fn machine(&self) -> Result<MachineFacts, HostError> {
        let output = self.run(&Command::new(["sh", "-c", PROBE_SCRIPT])).await?;
        parse_probe(&String::from_utf8_lossy(&output.stdout)).map_err(|message| HostError::Unexpected { host: self.name.clone(), message })
    }

    async fn probe(&self, script: &'static str) -> Result<String, HostError> {
        let output = self.run(&Command::new(self.elevated(&["sh", "-c", script]))).await?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn read_file(&self, path: &str, limit: usize) -> Result<Vec<u8>, HostError> {
        let mut command = Command::new(self.elevated(&["cat", "--", path]));
        // Room for a word of complaint, where there is no file.
        command.output_limit = limit.max(4096);
        let output = self.run(&command).await?;
        if output.stdout.len() > limit {
            return Err(HostError::Unexpected { host: self.name.clone(), message: format!("{path} has more than {limit} bytes") });
        }
        if output.status == Some(0) {
            Ok(output.stdout)
        } else {
            Err(HostError::Unexpected { host: self.name.clone(), message: first_line(&output.stderr) })
        }
    }
}

#[async_trait]
impl Host for SshHost {
    async fn run(&self, command: &Command) -> Result<Output, HostError> {
        let argv: Vec<&str> = command.argv.iter().map(String::as_str).collect();
        let line = self.quote(&if command.elevated { self.elevated(&argv) } else { command.argv.clone() })?;
        self.run_line(&line, command, "a command").await
    }

    async fn open_stream(&self, socket: &str) -> Result<BoxStream, HostError> {
        // Forwarding acts with the login's own rights; only a command can be elevated. Several streams open at once, and one finds out.
        if !self.spec.sudo
            && !*self.relays.lock().await
            && let Some(stream) = self.forward(socket).await?
        {
            return Ok(stream);
        }
        let mut relays = self.relays.lock().await;
        if !*relays {
            self.why_closed(socket).await?;
            *relays = true;
        }
        drop(relays);
        self.relay(socket).await
    }

    async fn put_file(&self, path: &str, mode: u32, content: &[u8]) -> Result<(), HostError> {
        let script = r#"set -e; umask 077; t="$1.new.$$"; trap 'rm -f "$t"' EXIT; cat > "$t"; chmod "$2" "$t"; sync "$t" 2>/dev/null || true; mv -f "$t" "$1""#;
        let mut command = Command::new(self.elevated(&["sh", "-c", script, "sh", path, &format!("{mode:o}")]));
        command.stdin = Some(content.to_vec());
        let output = self.run(&command).await?;
        if output.status == Some(0) {
            Ok(())
        } else {
            Err(HostError::Unexpected {
                host: self.name.clone(),
                message: format!("{path} was not written: {}", first_line(&output.stderr)),
            })
        }
    }
}
