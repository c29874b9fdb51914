//! One connection to one host, over as many hops as it takes. Each hop's key is checked before a single byte proves who we are.

use crate::answer::Answers;
use crate::ask::Ask;
use crate::auth::log_in;
use crate::error::{Broken, SshError, clean};
use crate::hop::{Family, Hop};
use crate::host_key::{HostKeyVerdict, Trust};
use crate::identity::KeyStore;
use crate::known_hosts::{KnownHosts, fingerprint};
use crate::record::{Names, append};
use crate::revoked::Revoked;
use crate::stage::{Clock, Progress, Stage, Watched};
use russh::client::{Config, Handle, Handler, Msg, connect_stream};
use russh::keys::PublicKeyOrCertificate;
use russh::{Channel, Preferred, cipher, kex, mac};
use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use swarm_core::host::BoxStream;
use swarm_core::spec::HostKeyPolicy;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep, timeout};

/// How long a name may take to resolve.
const RESOLVE: Duration = Duration::from_secs(10);
/// How long a TCP connection may take, where ConnectTimeout says nothing.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a session or a socket may take to open, once we are in.
pub(crate) const OPEN: Duration = Duration::from_secs(10);
/// How long a connection is tried again where sshd closes it because too many knock at once.
const KNOCKING: Duration = Duration::from_secs(8);
/// How long a channel that no one uses is trusted to be open still.
const SPARE: Duration = Duration::from_secs(5);
/// Handshakes at once: more only makes each slower, and sshd's MaxStartups begins to drop them.
const HANDSHAKES: usize = 16;

/// The connection to one jump host, and the turn to make it.
type Bastion = Arc<Mutex<Option<Arc<Session>>>>;

/// A host key that was accepted and is not written down yet.
#[derive(Debug, Clone)]
struct Accepted {
    file: PathBuf,
    names: Names,
    algorithm: String,
    key: Vec<u8>,
    written: bool,
}

/// What all hosts of a run share.
pub(crate) struct Shared {
    pub(crate) keys: KeyStore,
    pub(crate) answers: Answers,
    pub(crate) clock: Clock,
    person: bool,
    handshakes: Semaphore,
    /// Connections to jump hosts: many hosts behind one of them share it, if all its settings are equal.
    bastions: Mutex<HashMap<String, Bastion>>,
    /// New host keys, by the file they belong in and the name they are looked up by.
    accepted: std::sync::Mutex<HashMap<(PathBuf, String), Accepted>>,
}

impl Shared {
    pub(crate) fn new(ask: Arc<dyn Ask>) -> Self {
        Self {
            keys: KeyStore::default(),
            answers: Answers::default(),
            person: ask.can_ask(),
            clock: Clock::new(ask),
            handshakes: Semaphore::new(HANDSHAKES),
            bastions: Mutex::default(),
            accepted: std::sync::Mutex::default(),
        }
    }

    /// Whether there is someone to ask.
    pub(crate) fn person(&self) -> bool {
        self.person
    }

    /// Writes the new host keys down that were accepted so far.
    pub(crate) fn record(&self) -> Result<(), String> {
        let Ok(mut accepted) = self.accepted.lock() else { return Ok(()) };
        for ((file, name), new) in accepted.iter_mut().filter(|(_, new)| !new.written) {
            append(file, name, new.names, &new.algorithm, &new.key)
                .map_err(|e| format!("the new host key of {name} was not written to {}: {e}", file.display()))?;
            new.written = true;
        }
        Ok(())
    }

    /// Accepts a key for as long as this process lives; it must then stay the same.
    fn accept(&self, hop: &Hop, name: String, algorithm: String, key: Vec<u8>) -> Result<(), String> {
        let file = hop.trust.known_hosts.first().cloned().ok_or("no known_hosts file is set, so a new key can be written nowhere")?;
        let names = if hop.trust.hash_names { Names::Hashed } else { Names::Plain };
        let mut accepted = self.accepted.lock().map_err(|e| e.to_string())?;
        let known =
            accepted.entry((file.clone(), name)).or_insert_with(|| Accepted { file, names, algorithm, key: key.clone(), written: false });
        if known.key == key {
            return Ok(());
        }
        Err(format!("it shows another key than a moment ago ({} then, to be written to {})", fingerprint(&known.key), known.file.display()))
    }
}

/// A connection that has logged in.
pub(crate) struct Session {
    pub(crate) handle: Handle<Keeper>,
    label: String,
    primed: AtomicBool,
    /// Whether a channel for the next command is being opened.
    opening: AtomicBool,
    /// Whether each command opens its own: sshd refused to have one more open, or the host has another server. dropbear answers no command on a
    /// channel that was opened while another command ran.
    crowded: AtomicBool,
    /// A session channel that no one has used yet, and when it was opened.
    spare: std::sync::Mutex<Option<(Instant, Channel<Msg>)>>,
    /// The connection this one goes through.
    _through: Option<Arc<Session>>,
}

impl Session {
    /// Connects over all hops.
    pub(crate) async fn connect(hops: &[Hop], shared: &Arc<Shared>) -> Result<Self, SshError> {
        let Some((target, bastions)) = hops.split_last() else {
            return Err(SshError::Settings { hop: String::new(), message: "there is no host to connect to".into() });
        };
        let mut through: Option<Arc<Self>> = None;
        let mut way = String::new();
        for hop in bastions {
            way = format!("{way}>{hop:?}");
            let slot = Arc::clone(shared.bastions.lock().await.entry(way.clone()).or_default());
            let mut slot = slot.lock().await;
            let alive = slot.as_ref().filter(|s| !s.handle.is_closed()).cloned();
            through = Some(match alive {
                Some(session) => session,
                None => {
                    let session = Arc::new(Self::connect_hop(hop, through, shared).await?);
                    *slot = Some(Arc::clone(&session));
                    session
                }
            });
        }
        Self::connect_hop(target, through, shared).await
    }

    /// Opens a stream to a socket of the host.
    ///
    /// Without a session channel sshd leaves Nagle's algorithm on, which costs 40 ms at the first forwarded answer. So the first time
    /// one is asked for in the same breath, which costs no round trip of its own, and is kept for the first command.
    pub(crate) async fn open_socket(&self, socket: &str) -> Result<Channel<Msg>, russh::Error> {
        let forward = self.handle.channel_open_direct_streamlocal(socket);
        if self.primed.swap(true, Ordering::Relaxed) {
            return forward.await;
        }
        // The order of the two requests is that of the futures: the session comes first.
        tokio::join!(biased; self.prime(), forward).1
    }

    /// Opens a session channel that is kept for the next command.
    async fn prime(&self) {
        match self.handle.channel_open_session().await {
            Ok(channel) => {
                let before = self.spare.lock().ok().and_then(|mut spare| spare.replace((Instant::now(), channel)));
                if let Some((_, unused)) = before {
                    let _ = unused.close().await;
                }
            }
            // sshd lets no more be open at a time (MaxSessions): commands open theirs when they need them.
            Err(_) => self.crowded.store(true, Ordering::Relaxed),
        }
    }

    /// While a command runs, the channel of the next one is opened: it then begins a round trip earlier.
    pub(crate) fn prime_next(self: &Arc<Self>) {
        let there = self.spare.lock().map_or(true, |spare| spare.is_some());
        if there || self.crowded.load(Ordering::Relaxed) || self.opening.swap(true, Ordering::Relaxed) {
            return;
        }
        let session = Arc::clone(self);
        tokio::spawn(async move {
            session.prime().await;
            session.opening.store(false, Ordering::Relaxed);
        });
    }

    /// A channel for a command: the one that is there already, unless the host has closed it, or may be about to, for being idle.
    pub(crate) async fn open_session(&self) -> Result<Channel<Msg>, russh::Error> {
        self.primed.store(true, Ordering::Relaxed);
        let spare = self.spare.lock().ok().and_then(|mut spare| spare.take());
        match spare {
            Some((opened, mut channel)) if opened.elapsed() < SPARE => tokio::select! {
                biased;
                // Nothing comes on an unused channel but its end.
                _ended = channel.wait() => {}
                () = std::future::ready(()) => return Ok(channel),
            },
            Some((_, channel)) => channel.close().await?,
            None => {}
        }
        self.handle.channel_open_session().await
    }

    /// For messages: `user@host:port`.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    async fn connect_hop(hop: &Hop, through: Option<Arc<Self>>, shared: &Arc<Shared>) -> Result<Self, SshError> {
        let until = Instant::now() + KNOCKING;
        let mut pause = Duration::from_millis(100);
        loop {
            let began = Instant::now();
            match Self::attempt(hop, through.clone(), shared).await {
                // sshd drops connections by chance when too many knock at once: a moment later there is room. Each waits for another
                // time, or all would come back together. What took long is no such thing.
                Err(SshError::Banner { .. }) if began.elapsed() < Duration::from_secs(2) && Instant::now() + pause < until => {
                    sleep(pause.mul_f64(0.5 + chance())).await;
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
                result => return result,
            }
        }
    }

    async fn attempt(hop: &Hop, through: Option<Arc<Self>>, shared: &Arc<Shared>) -> Result<Self, SshError> {
        let label = || hop.label.clone();
        let trust = trust_of(hop).map_err(|message| SshError::HostKey { hop: label(), message })?;
        let turn = shared.handshakes.acquire().await.map_err(|e| SshError::Connect { hop: label(), message: e.to_string() })?;
        let stream = dial(hop, through.as_deref()).await?;
        let progress = Arc::new(Progress::new(&shared.clock));
        let config = Arc::new(config_for(&trust, hop)?);
        let keeper = Keeper { hop: hop.clone(), trust, progress: Arc::clone(&progress), shared: Arc::clone(shared) };
        let watched = Watched::new(stream, Arc::clone(&progress));
        let shake = async {
            let mut handle = connect_stream(config, watched, keeper).await?;
            drop(turn);
            log_in(&mut handle, hop, &shared.keys, &shared.clock, shared.person).await?;
            Ok::<_, Broken>(handle)
        };
        let handle = match progress.in_time(shake).await {
            Ok(Ok(handle)) => handle,
            Ok(Err(Broken::Ours(error))) => return Err(error),
            Ok(Err(Broken::Library(error))) => return Err(failed(hop, progress.stage(), error)),
            Err(stage) => return Err(late(hop, stage)),
        };
        Ok(Self {
            handle,
            label: label(),
            primed: AtomicBool::new(false),
            opening: AtomicBool::new(false),
            crowded: AtomicBool::new(!progress.is_openssh()),
            spare: std::sync::Mutex::default(),
            _through: through,
        })
    }
}

/// An error of the library, by the stage it came in.
fn failed(hop: &Hop, stage: Stage, error: russh::Error) -> SshError {
    let label = hop.label.clone();
    if let russh::Error::NoCommonAlgo { kind, theirs, .. } = &error {
        let what = match kind {
            russh::AlgorithmKind::Key => "host key",
            russh::AlgorithmKind::Kex => "key exchange",
            russh::AlgorithmKind::Cipher => "cipher",
            russh::AlgorithmKind::Mac => "MAC",
            russh::AlgorithmKind::Compression => "compression",
        };
        let message = format!("no common {what} algorithm; the host offers {}", clean(&theirs.join(", ")));
        return SshError::KeyExchange { hop: label, message, no_common_algorithm: true };
    }
    let message = match error {
        russh::Error::Disconnect | russh::Error::HUP => "the server closed the connection".to_owned(),
        russh::Error::Version => "what it says is not the greeting of SSH 2".to_owned(),
        other => clean(&other.to_string()),
    };
    match stage {
        Stage::Banner => SshError::Banner { hop: label, message },
        Stage::KeyExchange => SshError::KeyExchange { hop: label, message, no_common_algorithm: false },
        Stage::Login => {
            SshError::Login { hop: label, user: hop.user.clone(), message: format!("the connection broke: {message}"), refused: false }
        }
    }
}

/// A stage that took too long.
fn late(hop: &Hop, stage: Stage) -> SshError {
    let label = hop.label.clone();
    let seconds = stage.limit().as_secs();
    match stage {
        Stage::Banner => SshError::Banner {
            hop: label,
            message: format!("nothing came within {seconds} s; is it an SSH server, and is the machine overloaded?"),
        },
        Stage::KeyExchange => {
            SshError::KeyExchange { hop: label, message: format!("it did not end within {seconds} s"), no_common_algorithm: false }
        }
        Stage::Login => {
            let message = format!("no answer within {seconds} s; sshd may wait for a name server (UseDNS) or a directory (PAM, LDAP)");
            SshError::Login { hop: label, user: hop.user.clone(), message, refused: false }
        }
    }
}

/// A number from 0 to 1 that differs between tasks: every hasher is seeded again.
fn chance() -> f64 {
    let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), ());
    (seed % 1000) as f64 / 1000.0
}

async fn dial(hop: &Hop, through: Option<&Session>) -> Result<BoxStream, SshError> {
    let failed = |message: String| SshError::Connect { hop: hop.label.clone(), message };
    let limit = hop.connect_timeout.unwrap_or(CONNECT);
    let late = || failed(format!("no answer within {} s; is the address right, and does a firewall drop it?", limit.as_secs()));
    if let Some(session) = through {
        let opened = session.handle.channel_open_direct_tcpip(hop.address.clone(), u32::from(hop.port), "127.0.0.1", 0);
        let channel = timeout(limit, opened).await.map_err(|_| late())?;
        let channel =
            channel.map_err(|e| failed(format!("the jump host {} could not connect: {}", session.label, clean(&e.to_string()))))?;
        return Ok(Box::new(channel.into_stream()));
    }
    let mut last = None;
    for address in resolve(hop).await? {
        match timeout(limit, connect(hop, address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok(Box::new(stream));
            }
            Ok(Err(error)) => last = Some(failed(format!("{error} ({address})"))),
            Err(_) => last = Some(late()),
        }
    }
    Err(last.unwrap_or_else(|| failed("it has no address that may be used".into())))
}

async fn resolve(hop: &Hop) -> Result<Vec<SocketAddr>, SshError> {
    let failed = |message: String| SshError::Name { hop: hop.label.clone(), message };
    let found = timeout(RESOLVE, tokio::net::lookup_host((hop.address.as_str(), hop.port))).await;
    let found = found.map_err(|_| failed(format!("no answer within {} s", RESOLVE.as_secs())))?.map_err(|e| failed(e.to_string()))?;
    let fits = |a: &SocketAddr| match hop.family {
        Family::Any => true,
        Family::V4 => a.is_ipv4(),
        Family::V6 => a.is_ipv6(),
    };
    let found: Vec<SocketAddr> = found.filter(fits).collect();
    match found.is_empty() {
        true => Err(failed("it has no address of the family that AddressFamily sets".into())),
        false => Ok(found),
    }
}

async fn connect(hop: &Hop, address: SocketAddr) -> std::io::Result<TcpStream> {
    let Some(bind) = &hop.bind else { return TcpStream::connect(address).await };
    let from: IpAddr = match bind.parse() {
        Ok(ip) => ip,
        Err(_) => {
            let found = tokio::net::lookup_host((bind.as_str(), 0)).await?.find(|a| a.is_ipv4() == address.is_ipv4());
            found.ok_or_else(|| std::io::Error::other(format!("BindAddress {bind} has no address")))?.ip()
        }
    };
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(address).await
}

fn trust_of(hop: &Hop) -> Result<Trust, String> {
    let files = &hop.trust;
    Ok(Trust {
        name: files.name.clone(),
        alias: files.alias,
        port: hop.port,
        known: KnownHosts::load(&[files.known_hosts.clone(), files.global_known_hosts.clone()].concat())?,
        revoked: files.revoked.as_deref().map(Revoked::load).transpose()?.unwrap_or_default(),
        host_key_algorithms: files.algorithms.clone(),
        ca_algorithms: files.ca_algorithms.clone(),
        rsa_bits: files.rsa_bits,
    })
}

/// What OpenSSH offers by itself besides what russh does (7.4 to 10), and dropbear.
const MORE_KEX: [kex::Name; 3] = [kex::ECDH_SHA2_NISTP256, kex::ECDH_SHA2_NISTP384, kex::ECDH_SHA2_NISTP521];
const MORE_CIPHERS: [cipher::Name; 1] = [cipher::AES_128_GCM];
const MORE_MACS: [mac::Name; 2] = [mac::HMAC_SHA1_ETM, mac::HMAC_SHA1];

fn config_for(trust: &Trust, hop: &Hop) -> Result<Config, SshError> {
    let mut config = Config {
        nodelay: true,
        keepalive_interval: Some(hop.alive.0),
        keepalive_max: hop.alive.1,
        inactivity_timeout: None,
        ..Config::default()
    };
    let (certificates, keys) = trust.algorithms(hop.trust.reorder);
    let none_of = |what: &str| SshError::KeyExchange {
        hop: hop.label.clone(),
        message: format!("ssh_config sets {what} to algorithms of which this client has none"),
        no_common_algorithm: true,
    };
    if keys.is_empty() && certificates.is_empty() {
        return Err(none_of("HostKeyAlgorithms"));
    }
    let default = Preferred::DEFAULT;
    let extensions = default.kex.iter().filter(|n| n.as_ref().starts_with("ext-") || n.as_ref().starts_with("kex-strict")).cloned();
    let all_kex: Vec<kex::Name> = default
        .kex
        .iter()
        .cloned()
        .chain(MORE_KEX)
        .filter(|n| !n.as_ref().starts_with("ext-") && !n.as_ref().starts_with("kex-strict"))
        .collect();
    let all_ciphers: Vec<cipher::Name> = default.cipher.iter().cloned().chain(MORE_CIPHERS).collect();
    let all_macs: Vec<mac::Name> = default.mac.iter().cloned().chain(MORE_MACS).collect();
    let mut kex = chosen(all_kex, &hop.kex).ok_or_else(|| none_of("KexAlgorithms"))?;
    kex.extend(extensions);
    config.preferred = Preferred {
        kex: Cow::Owned(kex),
        key: Cow::Owned(keys),
        host_key_certificates: Cow::Owned(certificates),
        cipher: Cow::Owned(chosen(all_ciphers, &hop.ciphers).ok_or_else(|| none_of("Ciphers"))?),
        mac: Cow::Owned(chosen(all_macs, &hop.macs).ok_or_else(|| none_of("MACs"))?),
        compression: default.compression,
    };
    Ok(config)
}

/// What there is of what is wanted, in the wanted order; all of it where nothing is wanted. `None` where there is nothing of it.
fn chosen<N: AsRef<str> + Clone>(all: Vec<N>, wanted: &[String]) -> Option<Vec<N>> {
    if wanted.is_empty() {
        return Some(all);
    }
    let found: Vec<N> = wanted.iter().filter_map(|name| all.iter().find(|a| a.as_ref() == name)).cloned().collect();
    (!found.is_empty()).then_some(found)
}

/// Keeps the door: it judges the host's key.
pub(crate) struct Keeper {
    hop: Hop,
    trust: Trust,
    progress: Arc<Progress>,
    shared: Arc<Shared>,
}

impl Handler for Keeper {
    type Error = Broken;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Broken> {
        let refuse = |message: String| Err(Broken::Ours(SshError::HostKey { hop: self.hop.label.clone(), message }));
        let key = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.clone(),
            PublicKeyOrCertificate::Certificate(certificate) => certificate.public_key().clone().into(),
        };
        let Ok(bytes) = key.to_bytes() else { return refuse("its host key cannot be read".into()) };
        let kind = key.algorithm();
        let algorithm = if kind.clone().is_rsa() { "ssh-rsa".to_owned() } else { kind.as_str().to_owned() };
        let print = fingerprint(&bytes);
        let name = self.trust.lookup();
        let file = self.hop.trust.known_hosts.first().cloned().unwrap_or_else(|| PathBuf::from("~/.ssh/known_hosts"));
        #[allow(clippy::disallowed_methods, reason = "a certificate is valid by the clock of this machine, as for ssh")]
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        match self.trust.judge(shown, now) {
            HostKeyVerdict::Ok => {}
            HostKeyVerdict::Revoked { place } => {
                return refuse(format!("its host key {print} is marked as revoked in {place}; someone may be in between"));
            }
            HostKeyVerdict::Changed { place, recorded } => {
                return refuse(format!(
                    "its host key has changed: it shows {algorithm} {print}, and {place} has {recorded}; someone may be in between. If the host was reinstalled, remove that line and run again"
                ));
            }
            HostKeyVerdict::Refused { why } => return refuse(format!("its host key {algorithm} {print} is not accepted: {why}")),
            HostKeyVerdict::Unknown if self.hop.trust.policy == HostKeyPolicy::AcceptNew => {
                if let Err(why) = self.shared.accept(&self.hop, name, algorithm, bytes) {
                    return refuse(format!("its host key {print} is new: {why}"));
                }
            }
            HostKeyVerdict::Unknown => {
                let port = if self.hop.port == 22 { String::new() } else { format!(" -p {}", self.hop.port) };
                return refuse(format!(
                    "its host key is not known: it shows {algorithm} {print} for {name}. Compare that with the host's console, then add it with: ssh-keyscan -t {}{port} {} >> {}",
                    algorithm.trim_start_matches("ssh-"),
                    self.trust.name,
                    file.display()
                ));
            }
        }
        self.progress.reach(Stage::Login);
        Ok(true)
    }
}
