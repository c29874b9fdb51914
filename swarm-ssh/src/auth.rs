//! Proving who we are, in the order of `ssh`: the named key first, then the keys that both the agent and the configuration know, then the
//! agent's others, then the configuration's files, then what a person types.

use crate::error::{Broken, SshError, clean};
use crate::hop::{Hop, Method};
use crate::identity::{KeyStore, with_suffix};
use crate::stage::Clock;
use russh::client::{AuthResult, Handle, Handler, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, HashAlg, PrivateKey, PublicKey, load_openssh_certificate};
use russh::{AgentAuthError, MethodKind, Signer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use swarm_core::Secret;
use tokio::net::UnixStream;

/// sshd closes the connection after six tries by default (MaxAuthTries); one is left for a password that is at hand.
const TRIES_BEFORE_PASSWORD: usize = 5;

/// Logs in, or tells everything that was tried.
pub(crate) async fn log_in<H: Handler>(
    handle: &mut Handle<H>,
    hop: &Hop,
    keys: &KeyStore,
    clock: &Clock,
    person: bool,
) -> Result<(), Broken> {
    let mut login = Login { handle, hop, keys, clock, person, tries: 0, tried: Vec::new(), seen: Vec::new(), offered: None };
    let mut closed = None;
    for method in hop.login.methods.clone() {
        let done = match method {
            Method::PublicKey => login.with_keys().await,
            Method::KeyboardInteractive => login.with_questions().await,
            Method::Password => login.with_password().await,
        };
        match done {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(Broken::Library(error)) => {
                closed = Some(error);
                break;
            }
            Err(ours) => return Err(ours),
        }
    }
    Err(Broken::Ours(login.failed(closed)))
}

struct Login<'a, H: Handler> {
    handle: &'a mut Handle<H>,
    hop: &'a Hop,
    keys: &'a KeyStore,
    clock: &'a Clock,
    person: bool,
    tries: usize,
    tried: Vec<String>,
    seen: Vec<KeyData>,
    /// The methods that the host still offers; `None` before its first answer.
    offered: Option<Vec<MethodKind>>,
}

type Agent = AgentClient<UnixStream>;

impl<H: Handler> Login<'_, H> {
    fn failed(&self, closed: Option<russh::Error>) -> SshError {
        let tried = match self.tried.as_slice() {
            [] => "there was nothing to try".to_owned(),
            tried => format!("tried {}", tried.join(", ")),
        };
        let offers = match &self.offered {
            Some(offered) if !offered.is_empty() => {
                let names: Vec<&'static str> = offered.iter().map(Into::into).collect();
                format!("; the host offers {}", names.join(", "))
            }
            _ => String::new(),
        };
        let (hop, user) = (self.hop.label.clone(), self.hop.user.clone());
        match closed {
            // sshd closes the connection after MaxAuthTries, and a broken line looks the same: only the count tells.
            Some(error) if self.tries < 3 => {
                let message = format!("the connection broke during the login: {}; {tried}", clean(&error.to_string()));
                SshError::Login { hop, user, message, refused: false }
            }
            Some(_) => {
                let message = format!(
                    "the host closed the connection after {} tries: {tried}; name the right key with identity_file, or set IdentitiesOnly",
                    self.tries
                );
                SshError::Login { hop, user, message, refused: true }
            }
            None => {
                let fix = format!("put a public key into {user}'s authorized_keys there, or name the right key with identity_file");
                SshError::Login { hop, user, message: format!("{tried}{offers}; {fix}"), refused: true }
            }
        }
    }

    fn note(&mut self, result: &AuthResult) -> bool {
        match result {
            AuthResult::Success => true,
            AuthResult::Failure { remaining_methods, .. } => {
                self.offered = Some(remaining_methods.to_vec());
                false
            }
        }
    }

    fn offers(&self, kind: MethodKind) -> bool {
        self.offered.as_ref().is_none_or(|offered| offered.contains(&kind))
    }

    async fn with_keys(&mut self) -> Result<bool, Broken> {
        let mut agent = match &self.hop.login.agent {
            Some(path) => AgentClient::connect_uds(path).await.ok(),
            None => None,
        };
        let held = match &mut agent {
            Some(agent) => agent.request_identities().await.unwrap_or_default(),
            None => Vec::new(),
        };
        let mut files: Vec<PathBuf> = self.hop.login.named_identity.iter().cloned().collect();
        let named = files.len();
        files.extend(self.hop.login.identities.iter().filter(|f| !files.contains(f)).cloned().collect::<Vec<_>>());
        // A named key is the one that is meant: another key may open another account's door.
        for file in files.iter().take(named) {
            if self.with_file(file, &held, agent.as_mut(), true).await? {
                return Ok(true);
            }
        }
        // Keys of the configuration that the agent holds are likelier than the agent's others.
        for file in files.iter().skip(named) {
            if let Some(key) = public_of(file)
                && held_key(&held, &key)
                && self.with_agent(&key, &held, agent.as_mut(), &self.certificates_of(file, &key, &held)).await?
            {
                return Ok(true);
            }
        }
        if !self.hop.login.identities_only {
            for identity in &held {
                let (key, certificates) = match identity {
                    AgentIdentity::PublicKey { key, .. } => (key.key_data().clone(), self.certificates_for(key.key_data())),
                    AgentIdentity::Certificate { certificate, .. } => (certificate.public_key().clone(), vec![certificate.clone()]),
                };
                if self.with_agent(&key, &held, agent.as_mut(), &certificates).await? {
                    return Ok(true);
                }
            }
        }
        for file in files.iter().skip(named).filter(|f| f.exists()) {
            if self.with_file(file, &held, agent.as_mut(), false).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Certificates that go with a key, from CertificateFile.
    fn certificates_for(&self, key: &KeyData) -> Vec<Certificate> {
        let all = self.hop.login.certificates.iter().filter_map(|f| load_openssh_certificate(f).ok());
        all.filter(|c| c.public_key() == key).collect()
    }

    fn certificates_of(&self, file: &Path, key: &KeyData, held: &[AgentIdentity]) -> Vec<Certificate> {
        let mut all = self.certificates_for(key);
        all.extend(load_openssh_certificate(with_suffix(file, "-cert.pub")).ok().filter(|c| c.public_key() == key));
        all.extend(held.iter().filter_map(|i| match i {
            AgentIdentity::Certificate { certificate, .. } if certificate.public_key() == key => Some(certificate.clone()),
            _ => None,
        }));
        all
    }

    /// A key file: through the agent if that holds the key, else from the file itself, with its certificate if there is one.
    async fn with_file(&mut self, file: &Path, held: &[AgentIdentity], agent: Option<&mut Agent>, named: bool) -> Result<bool, Broken> {
        if let Some(key) = public_of(file).filter(|key| held_key(held, key)) {
            let certificates = self.certificates_of(file, &key, held);
            return self.with_agent(&key, held, agent, &certificates).await;
        }
        let key = match self.keys.load(file, self.hop, self.clock).await {
            Ok(key) => key,
            Err(message) => {
                // A usual file that is not there is no news; one that cannot be used is.
                if named || file.exists() {
                    self.tried.push(message);
                }
                return Ok(false);
            }
        };
        let data = key.public_key().key_data().clone();
        let mut signer = LocalSigner(Arc::clone(&key));
        for certificate in self.certificates_of(file, &data, &[]) {
            let what = format!("the certificate of {}", file.display());
            if self.certificate(certificate, what, &mut signer).await? {
                return Ok(true);
            }
        }
        self.key(key.public_key().clone(), file.display().to_string(), &mut signer).await
    }

    /// A key that the agent holds, after its certificates.
    async fn with_agent(
        &mut self,
        key: &KeyData,
        held: &[AgentIdentity],
        agent: Option<&mut Agent>,
        certificates: &[Certificate],
    ) -> Result<bool, Broken> {
        let Some(agent) = agent else { return Ok(false) };
        let comment = held.iter().find_map(|i| match i {
            AgentIdentity::PublicKey { key: k, comment } if k.key_data() == key => Some(comment.as_str()),
            _ => None,
        });
        let name = clean(comment.unwrap_or("without a name"));
        for certificate in certificates {
            if self.certificate(certificate.clone(), format!("the certificate of the agent's key {name}"), agent).await? {
                return Ok(true);
            }
        }
        if comment.is_none() {
            return Ok(false);
        }
        self.key(PublicKey::from(key.clone()), format!("the agent's key {name}"), agent).await
    }

    async fn certificate<S>(&mut self, certificate: Certificate, what: String, signer: &mut S) -> Result<bool, Broken>
    where
        S: Signer<Error = AgentAuthError> + Send,
    {
        let Some(hash) = self.hash_for(certificate.public_key(), "-cert-v01@openssh.com").await? else { return Ok(false) };
        if !self.may_try(what) {
            return Ok(false);
        }
        let result = self.handle.authenticate_certificate_with(&self.hop.user, certificate, hash, signer).await;
        self.after(result)
    }

    async fn key<S>(&mut self, key: PublicKey, what: String, signer: &mut S) -> Result<bool, Broken>
    where
        S: Signer<Error = AgentAuthError> + Send,
    {
        if self.seen.contains(key.key_data()) {
            return Ok(false);
        }
        let Some(hash) = self.hash_for(key.key_data(), "").await? else {
            self.tried.push(format!("{what} (not allowed by PubkeyAcceptedAlgorithms or RequiredRSASize)"));
            return Ok(false);
        };
        self.seen.push(key.key_data().clone());
        if !self.may_try(what) {
            return Ok(false);
        }
        let result = self.handle.authenticate_publickey_with(&self.hop.user, key, hash, signer).await;
        self.after(result)
    }

    fn after(&mut self, result: Result<AuthResult, AgentAuthError>) -> Result<bool, Broken> {
        match result {
            Ok(result) if matches!(&result, AuthResult::Failure { remaining_methods, .. } if remaining_methods.is_empty()) => {
                // No answer at all: the connection is gone.
                Err(Broken::Library(russh::Error::Disconnect))
            }
            Ok(result) => Ok(self.note(&result)),
            Err(AgentAuthError::Send(_)) => Err(Broken::Library(russh::Error::Disconnect)),
            Err(AgentAuthError::Key(_)) => Ok(false),
        }
    }

    /// With which hash a key may sign; `None` where the settings allow none. Only RSA has a choice.
    async fn hash_for(&mut self, key: &KeyData, ending: &str) -> Result<Option<Option<HashAlg>>, Broken> {
        let allowed = |name: &str| {
            let list = &self.hop.login.algorithms;
            if list.is_empty() { name != "ssh-rsa" } else { list.contains(&format!("{name}{ending}")) }
        };
        let KeyData::Rsa(rsa) = key else {
            return Ok(allowed(key.algorithm().as_str()).then_some(None));
        };
        if rsa.key_size() < self.hop.login.rsa_bits.max(1024) {
            return Ok(None);
        }
        let (long, short, old) = (allowed("rsa-sha2-512"), allowed("rsa-sha2-256"), allowed("ssh-rsa"));
        // What the server says it takes; `None` where it says nothing.
        let best = self.handle.best_supported_rsa_hash().await?;
        Ok(match best {
            Some(None) => old.then_some(None),
            Some(Some(HashAlg::Sha256)) => short.then_some(Some(HashAlg::Sha256)),
            _ if long => Some(Some(HashAlg::Sha512)),
            _ if short => Some(Some(HashAlg::Sha256)),
            _ => old.then_some(None),
        })
    }

    /// Where a person is there, or a password at hand: the host's questions.
    async fn with_questions(&mut self) -> Result<bool, Broken> {
        let mut password = self.password_at_hand();
        if (password.is_none() && !self.may_ask()) || !self.offered_at_all(MethodKind::KeyboardInteractive).await? {
            return Ok(false);
        }
        self.tried.push("its questions (keyboard-interactive)".into());
        self.tries += 1;
        let mut answer = self.handle.authenticate_keyboard_interactive_start(&self.hop.user, None::<String>).await?;
        // A server may ask without end; a person would have given up.
        for _ in 0..10 {
            let prompts = match answer {
                KeyboardInteractiveAuthResponse::Success => return Ok(true),
                KeyboardInteractiveAuthResponse::Failure { remaining_methods, .. } => {
                    self.offered = Some(remaining_methods.to_vec());
                    return Ok(false);
                }
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => prompts,
            };
            let mut answers = Vec::new();
            for prompt in prompts {
                let at_hand = if prompt.echo { None } else { password.take() };
                let given = match at_hand {
                    Some(password) => Some(password),
                    None if self.may_ask() => self.clock.ask(format!("{}: {} ", self.hop.label, clean(&prompt.prompt))).await,
                    None => None,
                };
                let Some(given) = given else { return Ok(false) };
                answers.push(given.expose().to_owned());
            }
            answer = self.handle.authenticate_keyboard_interactive_respond(answers).await?;
        }
        Ok(false)
    }

    async fn with_password(&mut self) -> Result<bool, Broken> {
        let at_hand = self.password_at_hand();
        if let (Some(name), None) = (&self.hop.login.password_env, &at_hand)
            && !self.may_ask()
        {
            self.tried.push(format!("no password: {name} is not set"));
        }
        if (at_hand.is_none() && !self.may_ask()) || !self.offered_at_all(MethodKind::Password).await? {
            return Ok(false);
        }
        let password = match at_hand {
            Some(password) => Some(password),
            None => self.clock.ask(format!("Password for {}: ", self.hop.label)).await,
        };
        let Some(password) = password else { return Ok(false) };
        self.tried.push("the password".into());
        self.tries += 1;
        let result = self.handle.authenticate_password(&self.hop.user, password.expose()).await?;
        Ok(self.note(&result))
    }

    fn password_at_hand(&self) -> Option<Secret> {
        self.hop.login.password_env.as_ref().and_then(|name| std::env::var(name).ok()).map(Secret::new)
    }

    fn may_ask(&self) -> bool {
        self.person && !self.hop.login.batch
    }

    /// Whether the host offers a method; it is asked, if nothing was tried yet.
    async fn offered_at_all(&mut self, kind: MethodKind) -> Result<bool, Broken> {
        if self.offered.is_none() {
            let result = self.handle.authenticate_none(&self.hop.user).await?;
            self.note(&result);
        }
        Ok(self.offers(kind))
    }

    fn may_try(&mut self, what: String) -> bool {
        if self.hop.login.password_env.is_some() && self.tries >= TRIES_BEFORE_PASSWORD {
            return false;
        }
        self.tried.push(what);
        self.tries += 1;
        self.offers(MethodKind::PublicKey)
    }
}

/// The public half of a key file, without its passphrase: from the file beside it, or the file itself where it is a public key.
fn public_of(file: &Path) -> Option<KeyData> {
    let beside = PublicKey::read_openssh_file(with_suffix(file, ".pub")).or_else(|_| PublicKey::read_openssh_file(file));
    beside.ok().map(|key| key.key_data().clone())
}

fn held_key(held: &[AgentIdentity], key: &KeyData) -> bool {
    held.iter().any(|i| matches!(i, AgentIdentity::PublicKey { key: k, .. } if k.key_data() == key))
}

/// Signs with a key of a file.
struct LocalSigner(Arc<PrivateKey>);

impl Signer for LocalSigner {
    type Error = AgentAuthError;

    async fn auth_sign(&mut self, _key: &AgentIdentity, hash: Option<HashAlg>, data: Vec<u8>) -> Result<Vec<u8>, AgentAuthError> {
        let failed = |_| AgentAuthError::Key(russh::keys::Error::CouldNotReadKey);
        let signature = match self.0.key_data() {
            KeypairData::Rsa(rsa) => russh::keys::signature::Signer::try_sign(&(rsa, hash), &data),
            _ => russh::keys::signature::Signer::try_sign(self.0.as_ref(), &data),
        };
        let signature: russh::keys::ssh_key::Signature = signature.map_err(failed)?;
        let mut blob = Vec::new();
        russh::keys::ssh_encoding::Encode::encode(&signature, &mut blob)
            .map_err(|_| AgentAuthError::Key(russh::keys::Error::CouldNotReadKey))?;
        let mut signed = data;
        signed.extend((blob.len() as u32).to_be_bytes());
        signed.extend(blob);
        Ok(signed)
    }
}
