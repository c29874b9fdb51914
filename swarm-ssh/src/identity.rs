//! Private keys in files.

use crate::error::clean;
use crate::hop::Hop;
use crate::pem;
use crate::stage::Clock;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use russh::keys::{PrivateKey, decode_secret_key};
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use swarm_core::Secret;
use tokio::sync::Mutex;

/// Private keys that were read, so that a passphrase is asked for once and not for every host.
#[derive(Default)]
pub(crate) struct KeyStore(Mutex<HashMap<PathBuf, Result<Arc<PrivateKey>, String>>>);

impl KeyStore {
    pub(crate) async fn load(&self, file: &Path, hop: &Hop, clock: &Clock) -> Result<Arc<PrivateKey>, String> {
        let mut keys = self.0.lock().await;
        if let Some(known) = keys.get(file) {
            return known.clone();
        }
        let loaded = load(file, hop, clock).await.map(Arc::new);
        keys.insert(file.to_owned(), loaded.clone());
        loaded
    }
}

/// `authfile.c`, sshkey_perm_ok: a key of ours that others may read is no secret.
fn private(file: &Path) -> Result<(), String> {
    let meta = std::fs::metadata(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let mode = meta.mode() & 0o777;
    if meta.uid() == rustix::process::getuid().as_raw() && mode & 0o077 != 0 {
        return Err(format!("{0} can be read by others (mode {mode:o}), so it is not used; chmod 600 {0}", file.display()));
    }
    Ok(())
}

/// Whether a file names a key in hardware (`sk-…`), which only OpenSSH's helper can use. The public half says it: beside the file, or
/// within, where it is never encrypted.
pub(crate) fn in_hardware(file: &Path) -> bool {
    let says = |bytes: &[u8]| [&b"sk-ssh-ed25519"[..], b"sk-ecdsa-sha2"].iter().any(|kind| bytes.windows(kind.len()).any(|w| w == *kind));
    let read = |path: PathBuf| std::fs::read_to_string(path).map(Secret::new).ok();
    let beside = read(with_suffix(file, ".pub")).is_some_and(|text| text.expose().starts_with("sk-"));
    beside
        || read(file.to_owned()).is_some_and(|text| {
            let body: String = text.expose().lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
            text.expose().starts_with("sk-") || STANDARD.decode(body).is_ok_and(|bytes| says(&bytes))
        })
}

/// A path with more at its end.
pub(crate) fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

async fn load(file: &Path, hop: &Hop, clock: &Clock) -> Result<PrivateKey, String> {
    let shown = file.display();
    private(file)?;
    match read(file.to_owned(), None).await {
        Ok(key) => return Ok(key),
        Err(Unread::Locked) => {}
        Err(Unread::Broken(why)) => return Err(format!("{shown}: {why}")),
    }
    let from_env = hop.login.passphrase_env.as_ref().and_then(|name| std::env::var(name).ok()).map(Secret::new);
    let passphrase = match from_env {
        Some(passphrase) => Some(passphrase),
        None if hop.login.batch => None,
        None => clock.ask(format!("Passphrase for {shown}: ")).await,
    };
    let passphrase = passphrase.ok_or_else(|| {
        format!("{shown} has a passphrase, and there is no terminal to ask for it; add the key to an agent (ssh-add {shown}), or set passphrase_env")
    })?;
    read(file.to_owned(), Some(passphrase)).await.map_err(|_| format!("the passphrase for {shown} is wrong"))
}

/// Why a key cannot be used.
enum Unread {
    Locked,
    Broken(String),
}

impl From<russh::keys::Error> for Unread {
    fn from(error: russh::keys::Error) -> Self {
        match error {
            russh::keys::Error::KeyIsEncrypted => Self::Locked,
            other => Self::Broken(clean(&other.to_string())),
        }
    }
}

/// Reading a key with a passphrase takes a tenth of a second of pure arithmetic.
async fn read(file: PathBuf, passphrase: Option<Secret>) -> Result<PrivateKey, Unread> {
    let work = move || {
        let text = std::fs::read_to_string(&file).map(Secret::new).map_err(|e| Unread::Broken(e.to_string()))?;
        match (pem::read(text.expose()), &passphrase) {
            // russh takes it for one without a passphrase, and fails in it.
            (pem::Pem::Other, None) if text.expose().contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") => Err(Unread::Locked),
            (pem::Pem::Other, _) => Ok(decode_secret_key(text.expose(), passphrase.as_ref().map(Secret::expose))?),
            (pem::Pem::Locked(_), None) => Err(Unread::Locked),
            (pem::Pem::Locked(key), Some(passphrase)) => {
                let plain = key.open(passphrase).ok_or(Unread::Locked)?;
                Ok(decode_secret_key(plain.expose(), None)?)
            }
            (pem::Pem::Unknown(cipher), _) => {
                let file = file.display();
                Err(Unread::Broken(format!("it is encrypted with {cipher}, which is not read here; `ssh-keygen -p -f {file}` rewrites it")))
            }
        }
    };
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Unread::Broken("it could not be read".into())))
}
