//! One connection to one host, over as many hops as it takes. Each hop's key is checked before a single byte proves who we are.

use crate::auth::{Ask, KeyStore, log_in};
use crate::config::{Hop, SshAnswers};
use crate::error::{Broken, SshError};
use crate::known_hosts::{HostKeyVerdict, KnownHosts, append, fingerprint, lookup_name};
use russh::Channel;
use russh::client::{Config, Handle, Handler, Msg, connect_stream};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKeyOrCertificate};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use swarm_core::host::BoxStream;
use swarm_core::spec::HostKeyPolicy;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep, timeout};

const CONNECT: Duration = Duration::from_secs(10);
const HANDSHAKE: Duration = Duration::from_secs(20);
/// How long a connection is tried again where sshd closes it because too many knock at once.
const HANDSHAKE_BUDGET: Duration = Duration::from_secs(30);
/// How long a channel that nobody uses is trusted to be open still.
const SPARE: Duration = Duration::from_secs(5);
/// Handshakes at once: more only makes each slower, and sshd's MaxStartups begins to drop them.
const HANDSHAKES: usize = 16;

/// The connection to one jump host, and the turn to make it.
type Bastion = Arc<Mutex<Option<Arc<Session>>>>;

/// What all hosts of a run share.
pub(crate) struct Shared {
    pub(crate) keys: KeyStore,
    pub(crate) answers: SshAnswers,
    pub(crate) ask: Arc<dyn Ask>,
    handshakes: Semaphore,
    /// Connections to jump hosts: many hosts behind one of them share it.
    bastions: Mutex<HashMap<String, Bastion>>,
}

impl Shared {
    pub(crate) fn new(ask: Arc<dyn Ask>) -> Self {
        Self {
            keys: KeyStore::default(),
            answers: SshAnswers::default(),
            ask,
            handshakes: Semaphore::new(HANDSHAKES),
            bastions: Mutex::default(),
        }
    }
}

/// A connection that has logged in.
pub(crate) struct Session {
    pub(crate) handle: Handle<Keeper>,
    primed: AtomicBool,
    /// A session channel that nobody has used yet, and when it was opened.
    spare: std::sync::Mutex<Option<(Instant, Channel<Msg>)>>,
    /// The connection this one goes through.
    _through: Option<Arc<Session>>,
}

impl Session {
    /// Connects over all hops.
    pub(crate) async fn connect(hops: &[Hop], shared: &Shared) -> Result<Self, SshError> {
        let Some((target, bastions)) = hops.split_last() else {
            return Err(SshError::Settings { hop: String::new(), message: "there is no host to connect to".into() });
        };
        let mut through: Option<Arc<Self>> = None;
        let mut way = String::new();
        for hop in bastions {
            way = format!("{way}>{}", hop.label);
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
        let prime = async {
            if let (Ok(channel), Ok(mut spare)) = (self.handle.channel_open_session().await, self.spare.lock()) {
                *spare = Some((Instant::now(), channel));
            }
        };
        // The order of the two requests is that of the futures: the session comes first.
        tokio::join!(biased; prime, forward).1
    }

    /// A channel for a command: the one that is there already, if sshd cannot have closed it for being idle.
    pub(crate) async fn open_session(&self) -> Result<Channel<Msg>, russh::Error> {
        let spare = self.spare.lock().ok().and_then(|mut spare| spare.take());
        match spare {
            Some((opened, channel)) if opened.elapsed() < SPARE => return Ok(channel),
            Some((_, channel)) => channel.close().await?,
            None => {}
        }
        self.handle.channel_open_session().await
    }

    async fn connect_hop(hop: &Hop, through: Option<Arc<Self>>, shared: &Shared) -> Result<Self, SshError> {
        let until = Instant::now() + HANDSHAKE_BUDGET;
        let mut pause = Duration::from_millis(100);
        loop {
            match Self::attempt(hop, through.clone(), shared).await {
                // sshd drops connections by chance when too many knock at once: a moment later there is room. Each waits for another
                // time, or all would come back together.
                Err(SshError::Handshake { .. }) if Instant::now() + pause < until => {
                    sleep(pause.mul_f64(0.5 + chance())).await;
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
                result => return result,
            }
        }
    }

    async fn attempt(hop: &Hop, through: Option<Arc<Self>>, shared: &Shared) -> Result<Self, SshError> {
        let connect_error = |message: String| SshError::Connect { hop: hop.label.clone(), message };
        let _turn = shared.handshakes.acquire().await.map_err(|e| connect_error(e.to_string()))?;
        let stream = timeout(CONNECT, dial(hop, through.as_deref())).await.map_err(|_| {
            connect_error(format!("no answer within {} s; is the address right, and does a firewall drop it?", CONNECT.as_secs()))
        })??;
        let known = KnownHosts::load(&[hop.known_hosts.clone(), hop.global_known_hosts.clone()].concat())
            .map_err(|message| SshError::HostKey { hop: hop.label.clone(), message })?;
        let config = Arc::new(config_for(&known, hop));
        // What is told if the host shows no key of a recorded type: that is a changed key, whatever its type.
        let recorded = match known.check(&hop.key_name, hop.port, &[]) {
            HostKeyVerdict::Changed { place, recorded } => format!("{place} has {recorded}"),
            _ => "another type is recorded".into(),
        };
        let keeper = Keeper { hop: hop.clone(), known };
        let shake = async {
            let mut handle = connect_stream(config, stream, keeper).await?;
            log_in(&mut handle, hop, &shared.keys, &shared.ask).await?;
            Ok::<_, Broken>(handle)
        };
        let handle = match timeout(HANDSHAKE, shake).await {
            Ok(Ok(handle)) => handle,
            Ok(Err(Broken(SshError::Protocol(message)))) => return Err(SshError::Handshake { hop: hop.label.clone(), message }),
            Ok(Err(Broken(SshError::NoCommonAlgorithm { host_key: true, offered }))) => {
                let message = format!(
                    "its host key has changed: it has keys of type {offered} only, and {recorded}; somebody may be in between. If the host was reinstalled, remove that line and run again"
                );
                return Err(SshError::HostKey { hop: hop.label.clone(), message });
            }
            Ok(Err(Broken(error))) => return Err(error),
            Err(_) => return Err(connect_error(format!("the login took longer than {} s", HANDSHAKE.as_secs()))),
        };
        Ok(Self { handle, primed: AtomicBool::new(false), spare: std::sync::Mutex::default(), _through: through })
    }
}

/// A number from 0 to 1 that differs between tasks: every hasher is seeded anew.
fn chance() -> f64 {
    let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), ());
    (seed % 1000) as f64 / 1000.0
}

async fn dial(hop: &Hop, through: Option<&Session>) -> Result<BoxStream, SshError> {
    let failed = |message: String| SshError::Connect { hop: hop.label.clone(), message };
    match through {
        Some(session) => {
            let opened = session.handle.channel_open_direct_tcpip(hop.address.clone(), u32::from(hop.port), "127.0.0.1", 0).await;
            let channel = opened.map_err(|e| failed(format!("the jump host could not connect: {e}")))?;
            Ok(Box::new(channel.into_stream()))
        }
        None => {
            let stream = TcpStream::connect((hop.address.as_str(), hop.port)).await.map_err(|e| failed(e.to_string()))?;
            let _ = stream.set_nodelay(true);
            Ok(Box::new(stream))
        }
    }
}

fn config_for(known: &KnownHosts, hop: &Hop) -> Config {
    let mut config = Config {
        nodelay: true,
        keepalive_interval: Some(Duration::from_secs(5)),
        keepalive_max: 3,
        inactivity_timeout: None,
        ..Config::default()
    };
    // Only what is recorded is asked for: whoever sits in between cannot answer with a key of another type.
    let recorded: Vec<Algorithm> = known.algorithms(&hop.key_name, hop.port).iter().flat_map(|name| algorithms_of(name)).collect();
    if !recorded.is_empty() {
        config.preferred.key = Cow::Owned(recorded);
    }
    config
}

/// The signature algorithms of a recorded key type; RSA keys sign with SHA-2.
fn algorithms_of(key_type: &str) -> Vec<Algorithm> {
    match key_type {
        "ssh-ed25519" => vec![Algorithm::Ed25519],
        "ecdsa-sha2-nistp256" => vec![Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }],
        "ecdsa-sha2-nistp384" => vec![Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 }],
        "ecdsa-sha2-nistp521" => vec![Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 }],
        "ssh-rsa" => vec![Algorithm::Rsa { hash: Some(HashAlg::Sha512) }, Algorithm::Rsa { hash: Some(HashAlg::Sha256) }],
        _ => Vec::new(),
    }
}

/// Keeps the door: it judges the host's key.
pub(crate) struct Keeper {
    hop: Hop,
    known: KnownHosts,
}

impl Handler for Keeper {
    type Error = Broken;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Broken> {
        let key = shown.public_key();
        let refuse = |message: String| Err(Broken(SshError::HostKey { hop: self.hop.label.clone(), message }));
        let Ok(bytes) = key.to_bytes() else { return refuse("its host key cannot be read".into()) };
        let algorithm = key.algorithm().as_str().to_owned();
        let print = fingerprint(&bytes);
        let name = lookup_name(&self.hop.key_name, self.hop.port);
        let file = self.hop.known_hosts.first().cloned().unwrap_or_else(|| PathBuf::from("~/.ssh/known_hosts"));
        match self.known.check(&self.hop.key_name, self.hop.port, &bytes) {
            HostKeyVerdict::Ok => Ok(true),
            HostKeyVerdict::Revoked { place } => {
                refuse(format!("its host key {print} is marked as revoked in {place}; somebody may be in between"))
            }
            HostKeyVerdict::Changed { place, recorded } => refuse(format!(
                "its host key has changed: it shows {algorithm} {print}, and {place} has {recorded}; somebody may be in between. If the host was reinstalled, remove that line and run again"
            )),
            HostKeyVerdict::Unknown if self.hop.policy == HostKeyPolicy::AcceptNew => {
                match append(&file, &self.hop.key_name, self.hop.port, &algorithm, &bytes) {
                    Ok(()) => Ok(true),
                    Err(error) => refuse(format!("its host key {print} is new and could not be written to {}: {error}", file.display())),
                }
            }
            HostKeyVerdict::Unknown => {
                let port = if self.hop.port == 22 { String::new() } else { format!(" -p {}", self.hop.port) };
                refuse(format!(
                    "its host key is not known: it shows {algorithm} {print} for {name}. Compare that with the host's console, then add it with: ssh-keyscan -t {}{port} {} >> {}",
                    algorithm.trim_start_matches("ssh-"),
                    self.hop.key_name,
                    file.display()
                ))
            }
        }
    }
}
