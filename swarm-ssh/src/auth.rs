//! Proving who we are: the named key first, then keys of the agent, then the usual files, then a password.

use crate::config::Hop;
use crate::error::{Broken, SshError};
use crate::session::Keeper;
use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Certificate, PrivateKey, PrivateKeyWithHashAlg, PublicKey, load_openssh_certificate, load_secret_key};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use swarm_core::Secret;
use tokio::sync::Mutex;

/// sshd closes the connection after six tries by default (MaxAuthTries); one is left for it.
const MAX_TRIES: usize = 5;

/// Asks a person, where there is one.
pub trait Ask: Send + Sync {
    /// Asks for a secret; `None` if nobody can be asked. The question names what it is for.
    fn ask(&self, question: &str) -> Option<Secret>;
}

/// Nobody can be asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct AskNobody;

impl Ask for AskNobody {
    fn ask(&self, _question: &str) -> Option<Secret> {
        None
    }
}

/// Private keys that were read, so that a passphrase is asked for once and not for every host.
#[derive(Default)]
pub(crate) struct KeyStore(Mutex<HashMap<PathBuf, Result<Arc<PrivateKey>, String>>>);

impl KeyStore {
    async fn load(&self, file: &Path, hop: &Hop, ask: &Arc<dyn Ask>) -> Result<Arc<PrivateKey>, String> {
        let mut keys = self.0.lock().await;
        if let Some(known) = keys.get(file) {
            return known.clone();
        }
        let (path, passphrase_env, ask) = (file.to_owned(), hop.passphrase_env.clone(), Arc::clone(ask));
        // Reading a key with a passphrase takes a tenth of a second of pure arithmetic.
        let loaded = tokio::task::spawn_blocking(move || load(&path, passphrase_env.as_deref(), ask.as_ref())).await;
        let loaded = loaded.unwrap_or_else(|e| Err(e.to_string())).map(Arc::new);
        keys.insert(file.to_owned(), loaded.clone());
        loaded
    }
}

fn load(file: &Path, passphrase_env: Option<&str>, ask: &dyn Ask) -> Result<PrivateKey, String> {
    let shown = file.display();
    match load_secret_key(file, None) {
        Ok(key) => Ok(key),
        Err(russh::keys::Error::KeyIsEncrypted) => {
            let from_env = passphrase_env.and_then(|name| std::env::var(name).ok()).map(Secret::new);
            let passphrase = from_env
                .or_else(|| ask.ask(&format!("Passphrase for {shown}: ")))
                .ok_or_else(|| format!("{shown} has a passphrase and nobody can be asked for it; add the key to an agent (ssh-add {shown}), or set passphrase_env"))?;
            load_secret_key(file, Some(passphrase.expose())).map_err(|_| format!("the passphrase for {shown} is wrong"))
        }
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

/// Logs in, or tells everything that was tried.
pub(crate) async fn log_in(handle: &mut Handle<Keeper>, hop: &Hop, keys: &KeyStore, ask: &Arc<dyn Ask>) -> Result<(), Broken> {
    let mut login = Login { handle, hop, keys, ask, tries: 0, tried: Vec::new(), seen: Vec::new() };
    if login.with_keys().await? || login.with_password().await? {
        return Ok(());
    }
    let tried = if login.tried.is_empty() { "there was no key to try".to_owned() } else { format!("tried {}", login.tried.join(", ")) };
    let message = format!("{tried}; put a public key into {}'s authorized_keys there, or name the right key with identity_file", hop.user);
    Err(Broken(SshError::Login { hop: hop.label.clone(), user: hop.user.clone(), message }))
}

struct Login<'a> {
    handle: &'a mut Handle<Keeper>,
    hop: &'a Hop,
    keys: &'a KeyStore,
    ask: &'a Arc<dyn Ask>,
    tries: usize,
    tried: Vec<String>,
    seen: Vec<PublicKey>,
}

impl Login<'_> {
    async fn with_keys(&mut self) -> Result<bool, Broken> {
        let mut agent = match &self.hop.agent {
            Some(path) => AgentClient::connect_uds(path).await.ok(),
            None => None,
        };
        let offered = match &mut agent {
            Some(agent) => agent.request_identities().await.unwrap_or_default(),
            None => Vec::new(),
        };
        let named: Vec<&PathBuf> = self.hop.named_identity.iter().collect();
        // A named key is the one that is meant: another key may open another account's door.
        for file in named {
            if self.with_file(file, &offered, agent.as_mut(), true).await? {
                return Ok(true);
            }
        }
        if !self.hop.identities_only {
            for identity in &offered {
                if self.with_agent(identity, agent.as_mut()).await? {
                    return Ok(true);
                }
            }
        }
        let files: Vec<&PathBuf> =
            self.hop.identities.iter().filter(|f| Some(*f) != self.hop.named_identity.as_ref() && f.exists()).collect();
        for file in files {
            if self.with_file(file, &offered, agent.as_mut(), false).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A key file: through the agent if that holds the key, else from the file itself, with its certificate if there is one.
    async fn with_file<S>(
        &mut self,
        file: &Path,
        offered: &[AgentIdentity],
        agent: Option<&mut AgentClient<S>>,
        named: bool,
    ) -> Result<bool, Broken>
    where
        S: russh::keys::agent::client::AgentStream + Send + Unpin,
    {
        let public = PublicKey::read_openssh_file(with_suffix(file, ".pub")).ok();
        let held = public
            .as_ref()
            .and_then(|p| offered.iter().find(|i| matches!(i, AgentIdentity::PublicKey { key, .. } if key.key_data() == p.key_data())));
        if let Some(identity) = held {
            return self.with_agent(identity, agent).await;
        }
        let key = match self.keys.load(file, self.hop, self.ask).await {
            Ok(key) => key,
            Err(message) if named => {
                self.tried.push(message);
                return Ok(false);
            }
            Err(_) => return Ok(false),
        };
        let certificates = self.hop.certificates.iter().cloned().chain([with_suffix(file, "-cert.pub")]);
        let certificate = certificates
            .filter_map(|f| load_openssh_certificate(f).ok())
            .find(|c: &Certificate| *c.public_key() == *key.public_key().key_data());
        if let Some(certificate) = certificate
            && self.may_try()
        {
            self.tried.push(format!("the certificate of {}", file.display()));
            let result = self.handle.authenticate_openssh_cert(&self.hop.user, Arc::clone(&key), certificate).await?;
            if matches!(result, AuthResult::Success) {
                return Ok(true);
            }
        }
        if self.seen.iter().any(|k| k.key_data() == key.public_key().key_data()) || !self.may_try() {
            return Ok(false);
        }
        self.seen.push(key.public_key().clone());
        self.tried.push(file.display().to_string());
        let hash = if key.algorithm().is_rsa() { self.handle.best_supported_rsa_hash().await?.flatten() } else { None };
        let result = self.handle.authenticate_publickey(&self.hop.user, PrivateKeyWithHashAlg::new(key, hash)).await?;
        Ok(matches!(result, AuthResult::Success))
    }

    async fn with_agent<S>(&mut self, identity: &AgentIdentity, agent: Option<&mut AgentClient<S>>) -> Result<bool, Broken>
    where
        S: russh::keys::agent::client::AgentStream + Send + Unpin,
    {
        let (Some(agent), AgentIdentity::PublicKey { key, comment }) = (agent, identity) else { return Ok(false) };
        if self.seen.iter().any(|k| k.key_data() == key.key_data()) || !self.may_try() {
            return Ok(false);
        }
        self.seen.push(key.clone());
        self.tried.push(format!("the agent's key {comment}"));
        let hash = if key.algorithm().is_rsa() { self.handle.best_supported_rsa_hash().await?.flatten() } else { None };
        match self.handle.authenticate_publickey_with(&self.hop.user, key.clone(), hash, agent).await {
            Ok(result) => Ok(matches!(result, AuthResult::Success)),
            Err(_) => Ok(false),
        }
    }

    async fn with_password(&mut self) -> Result<bool, Broken> {
        let Some(name) = &self.hop.password_env else { return Ok(false) };
        let from_env = std::env::var(name).ok().map(Secret::new);
        let Some(password) = from_env.or_else(|| self.ask.ask(&format!("Password for {}: ", self.hop.label))) else {
            self.tried.push(format!("no password: {name} is not set"));
            return Ok(false);
        };
        self.tried.push("the password".into());
        let result = self.handle.authenticate_password(&self.hop.user, password.expose()).await?;
        Ok(matches!(result, AuthResult::Success))
    }

    fn may_try(&mut self) -> bool {
        self.tries += 1;
        self.tries <= MAX_TRIES
    }
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
