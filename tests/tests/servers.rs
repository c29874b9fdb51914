//! Hostile servers that speak SSH well: they stall or go on without end at the login, at a channel and after it.

use russh::keys::load_secret_key;
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey, run_stream};
use russh::{Channel, MethodKind, MethodSet};
use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use swarm_core::Secret;
use swarm_core::spec::SshSpec;
use swarm_ssh::{Ask, Command, Host, SshConnector, SshHost};
use swarm_tests::lab::sh;
use tokio::net::TcpListener;

/// What a server does that should have let us in.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// It never answers the first try to log in.
    StallsAtLogin,
    /// Every key is good and never enough.
    WantsOneMoreKey,
    /// It asks one question after the other.
    AsksWithoutEnd,
    /// It never answers the first channel.
    StallsAtChannel,
    /// The same, and all the while it says that it is there.
    KeepsAlive,
}

#[derive(Clone)]
struct Server {
    way: Way,
    asked: Arc<AtomicUsize>,
}

impl Handler for Server {
    type Error = russh::Error;

    async fn auth_none(&mut self, _user: &str) -> Result<Auth, Self::Error> {
        match self.way {
            Way::StallsAtLogin => pending().await,
            Way::AsksWithoutEnd => Ok(only(MethodKind::KeyboardInteractive)),
            _ => Ok(only(MethodKind::PublicKey)),
        }
    }

    async fn auth_publickey_offered(&mut self, user: &str, _offer: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        match self.way {
            Way::StallsAtLogin | Way::AsksWithoutEnd => self.auth_none(user).await,
            _ => Ok(Auth::Accept),
        }
    }

    async fn auth_publickey(&mut self, user: &str, _key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.way {
            Way::WantsOneMoreKey => {
                let again = Some(MethodSet::from(&[MethodKind::PublicKey][..]));
                Ok(Auth::Reject { proceed_with_methods: again, partial_success: true })
            }
            Way::StallsAtLogin | Way::AsksWithoutEnd => self.auth_none(user).await,
            Way::StallsAtChannel | Way::KeepsAlive => Ok(Auth::Accept),
        }
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _user: &str,
        _submethods: &str,
        _response: Option<russh::server::Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(Auth::Partial { name: "".into(), instructions: "".into(), prompts: vec![("Code".into(), false)].into() })
    }

    async fn channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        // Neither taken nor refused.
        std::mem::forget(reply);
        Ok(())
    }
}

fn only(method: MethodKind) -> Auth {
    Auth::Reject { proceed_with_methods: Some(MethodSet::from(&[method][..])), partial_success: false }
}

/// Answers every question at once.
struct Robot;

impl Ask for Robot {
    fn ask(&self, _question: &str) -> Option<Secret> {
        Some(Secret::new("123456"))
    }

    fn can_ask(&self) -> bool {
        true
    }
}

/// A server of one kind, and a host that is reached through it; beside them how often it was asked.
async fn served(way: Way, dir: &Path) -> (SshHost, Arc<AtomicUsize>) {
    // Whenever it has heard nothing for so long: a login says more than that.
    let keepalive_interval = (way == Way::KeepsAlive).then_some(Duration::from_millis(300));
    let key = load_secret_key(dir.join("host"), None).unwrap();
    let (rejection, first) = (Duration::ZERO, Some(Duration::ZERO));
    let config = Arc::new(Config {
        keys: vec![key],
        auth_rejection_time: rejection,
        auth_rejection_time_initial: first,
        max_auth_attempts: usize::MAX,
        keepalive_interval,
        keepalive_max: usize::MAX,
        ..Config::default()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = Server { way, asked: Arc::default() };
    let asked = Arc::clone(&server.asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (config, server) = (Arc::clone(&config), server.clone());
            tokio::spawn(async move {
                if let Ok(session) = run_stream(config, stream, server).await {
                    let _ = session.await;
                }
            });
        }
    });
    let known = dir.join(format!("known-{port}"));
    let public = std::fs::read_to_string(dir.join("host.pub")).unwrap();
    std::fs::write(&known, format!("[127.0.0.1]:{port} {public}")).unwrap();
    let spec = SshSpec {
        user: Some("root".into()),
        port: Some(port),
        identity_file: Some(dir.join("user")),
        known_hosts: Some(known),
        ..SshSpec::default()
    };
    (SshConnector::new(Arc::new(Robot)).host("h".into(), "127.0.0.1".parse().unwrap(), spec), asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_speak_ssh_and_never_come_to_an_end() {
    if !swarm_tests::cli::is_alone("servers::servers_that_speak_ssh_and_never_come_to_an_end") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for name in ["host", "user"] {
        sh(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", dir.path().join(name).to_str().unwrap()]);
    }
    let tries = [
        (Way::StallsAtLogin, "login", 20),
        (Way::WantsOneMoreKey, "login", 20),
        (Way::AsksWithoutEnd, "login", 20),
        (Way::StallsAtChannel, "session", 10),
        (Way::KeepsAlive, "session", 10),
    ];
    let before = crate::hostile::resident();
    let all = tries.map(|(way, layer, seconds)| {
        let dir = dir.path().to_owned();
        tokio::spawn(async move {
            let (host, asked) = served(way, &dir).await;
            let began = Instant::now();
            let logged_in = host.connect().await;
            if layer == "login" {
                let error = logged_in.unwrap_err();
                assert_eq!(crate::hostile::layer(&error), layer, "{way:?}: {error}");
            } else {
                logged_in.unwrap_or_else(|e| panic!("{way:?}: {e}"));
                let error = host.run(&Command::new(["true"])).await.unwrap_err().to_string();
                assert!(error.contains("session"), "{way:?}: {error}");
            }
            assert!(began.elapsed() < Duration::from_secs(seconds) + crate::hostile::SLACK, "{way:?} took {:?}", began.elapsed());
            // What is without end was begun, and given up.
            let asked = asked.load(Ordering::SeqCst);
            assert!(asked < 20 && (way == Way::StallsAtLogin || asked > 0), "{way:?}: asked {asked} times");
        })
    });
    for one in all {
        one.await.unwrap();
    }
    let grown = crate::hostile::resident().saturating_sub(before);
    assert!(grown < 32 * 1024 * tries.len() as u64, "{grown} KiB more");
}
