//! Private keys in the PEM of old (RFC 1421 with OpenSSL's `DEK-Info`), which russh reads for RSA with AES-128 only: they are opened here
//! and handed on without encryption.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, KeyIvInit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use swarm_core::Secret;

/// What a key's file is.
pub(crate) enum Pem {
    /// Not encrypted in this way; whatever it is, russh reads it.
    Other,
    /// Encrypted, so it needs a passphrase.
    Locked(Locked),
    /// Encrypted in a way that is not known here.
    Unknown(String),
}

/// An encrypted key.
pub(crate) struct Locked {
    label: String,
    cipher: Cipher,
    salt: Vec<u8>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Cipher {
    Aes128,
    Aes192,
    Aes256,
}

/// Reads the headers of a key's file.
pub(crate) fn read(text: &str) -> Pem {
    let Some((_, rest)) = text.split_once("-----BEGIN ") else { return Pem::Other };
    let Some((label, rest)) = rest.split_once("-----") else { return Pem::Other };
    let Some((body, _)) = rest.split_once("-----END ") else { return Pem::Other };
    let Some(info) = body.lines().find_map(|l| l.strip_prefix("DEK-Info:")) else { return Pem::Other };
    let (name, salt) = info.trim().split_once(',').unwrap_or((info.trim(), ""));
    let cipher = match name {
        "AES-128-CBC" => Cipher::Aes128,
        "AES-192-CBC" => Cipher::Aes192,
        "AES-256-CBC" => Cipher::Aes256,
        other => return Pem::Unknown(other.to_owned()),
    };
    let encoded: String = body.lines().filter(|l| !l.contains(':')).map(str::trim).collect();
    match (STANDARD.decode(encoded), from_hex(salt)) {
        (Ok(bytes), Some(salt)) if salt.len() == 16 => Pem::Locked(Locked { label: label.to_owned(), cipher, salt, bytes }),
        _ => Pem::Other,
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.trim().chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    digits.chunks(2).map(|pair| Some(pair.first()? << 4 | pair.get(1)?)).collect()
}

impl Locked {
    /// The key without its encryption, as PEM; `None` for a wrong passphrase.
    pub(crate) fn open(&self, passphrase: &Secret) -> Option<Secret> {
        let mut bytes = self.bytes.clone();
        let size = match self.cipher {
            Cipher::Aes128 => 16,
            Cipher::Aes192 => 24,
            Cipher::Aes256 => 32,
        };
        let key = derive(passphrase.expose().as_bytes(), self.salt.get(..8)?, size);
        let plain = match self.cipher {
            Cipher::Aes128 => cbc::Decryptor::<aes::Aes128>::new_from_slices(&key, &self.salt).ok()?.decrypt_padded::<Pkcs7>(&mut bytes),
            Cipher::Aes192 => cbc::Decryptor::<aes::Aes192>::new_from_slices(&key, &self.salt).ok()?.decrypt_padded::<Pkcs7>(&mut bytes),
            Cipher::Aes256 => cbc::Decryptor::<aes::Aes256>::new_from_slices(&key, &self.salt).ok()?.decrypt_padded::<Pkcs7>(&mut bytes),
        }
        .ok()?;
        Some(Secret::new(format!("-----BEGIN {0}-----\n{1}\n-----END {0}-----\n", self.label, STANDARD.encode(plain))))
    }
}

/// OpenSSL's `EVP_BytesToKey` with MD5 and one round.
fn derive(passphrase: &[u8], salt: &[u8], size: usize) -> Vec<u8> {
    let mut key = Vec::new();
    let mut last: Vec<u8> = Vec::new();
    while key.len() < size {
        last = md5::compute([&last, passphrase, salt].concat()).0.to_vec();
        key.extend_from_slice(&last);
    }
    key.truncate(size);
    key
}
