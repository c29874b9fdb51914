//! RevokedHostKeys: a list of keys, or a key revocation list (OpenSSH's `PROTOCOL.krl`). A host whose key, or whose key's authority, is
//! in it is refused, and so is every host while the file cannot be read (`authfile.c`, sshkey_check_revoked).

use crate::known_hosts::parse_key;
use russh::keys::Certificate;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::Path;

/// What is revoked.
#[derive(Debug, Clone, Default)]
pub struct Revoked {
    keys: BTreeSet<Vec<u8>>,
    sha1: BTreeSet<Vec<u8>>,
    sha256: BTreeSet<Vec<u8>>,
    certificates: Vec<Section>,
}

/// The revoked certificates of one authority; of any, where it names none.
#[derive(Debug, Clone)]
struct Section {
    authority: Vec<u8>,
    serials: Vec<(u64, u64)>,
    ids: BTreeSet<String>,
}

const MAGIC: &[u8] = b"SSHKRL\n\0";

impl Revoked {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or holds something else.
    pub(crate) fn load(file: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(file).map_err(|e| format!("RevokedHostKeys {} cannot be read: {e}", file.display()))?;
        Self::parse(&bytes).map_err(|e| format!("RevokedHostKeys {}: {e}", file.display()))
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.starts_with(MAGIC) { Self::binary(bytes) } else { Self::text(bytes) }
    }

    fn text(bytes: &[u8]) -> Result<Self, String> {
        let mut revoked = Self::default();
        for (index, line) in bytes.split(|b| *b == b'\n').enumerate() {
            let line = line.split(|b| *b == 0).next().unwrap_or_default();
            let line = line.trim_ascii_start();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let (_, key) = parse_key(line).ok_or_else(|| format!("line {} is no key", index + 1))?;
            revoked.keys.insert(key);
        }
        Ok(revoked)
    }

    fn binary(bytes: &[u8]) -> Result<Self, String> {
        let mut file = Reader(bytes.get(MAGIC.len()..).unwrap_or_default());
        let mut revoked = Self::default();
        let whole = (|| {
            (file.u32()? == 1).then_some(())?;
            // Its version, its date and flags; nothing of it decides.
            file.take(24)?;
            file.string()?;
            file.string()?;
            while !file.0.is_empty() {
                let kind = file.u8()?;
                let mut body = Reader(file.string()?);
                match kind {
                    1 => revoked.certificates.push(Section::parse(&mut body)?),
                    2 => body.all(&mut revoked.keys)?,
                    3 => body.all(&mut revoked.sha1)?,
                    5 => body.all(&mut revoked.sha256)?,
                    // A signature of the list: OpenSSH checks none either. It stands at the end.
                    4 => return Some(()),
                    255 => {
                        // An extension that must be understood is not.
                        body.string()?;
                        (body.u8()? == 0).then_some(())?;
                    }
                    _ => return None,
                }
            }
            Some(())
        })();
        whole.map(|()| revoked).ok_or_else(|| "it is no key revocation list that can be read".into())
    }

    /// Whether a key is revoked, or the certificate that holds it, or the authority that signed that.
    pub(crate) fn holds(&self, key: &[u8], certificate: Option<&Certificate>) -> bool {
        if self.holds_key(key) {
            return true;
        }
        let Some(certificate) = certificate else { return false };
        // What cannot be encoded cannot be looked for: it is refused.
        let Some(authority) = authority_of(certificate) else { return true };
        self.holds_key(&authority) || self.certificates.iter().any(|s| s.holds(&authority, certificate))
    }

    fn holds_key(&self, key: &[u8]) -> bool {
        self.keys.contains(key) || self.sha1.contains(Sha1::digest(key).as_slice()) || self.sha256.contains(Sha256::digest(key).as_slice())
    }
}

/// The key that signed a certificate, as bytes.
pub(crate) fn authority_of(certificate: &Certificate) -> Option<Vec<u8>> {
    russh::keys::PublicKey::from(certificate.signature_key().clone()).to_bytes().ok()
}

impl Section {
    fn parse(body: &mut Reader<'_>) -> Option<Self> {
        let mut section = Self { authority: body.string()?.to_vec(), serials: Vec::new(), ids: BTreeSet::new() };
        body.string()?;
        while !body.0.is_empty() {
            let kind = body.u8()?;
            let mut part = Reader(body.string()?);
            match kind {
                0x20 => {
                    while !part.0.is_empty() {
                        let serial = part.u64()?;
                        section.serials.push((serial, serial));
                    }
                }
                0x21 => section.serials.push((part.u64()?, part.u64()?)),
                0x22 => {
                    let first = part.u64()?;
                    let bits = part.string()?;
                    for (index, byte) in bits.iter().rev().enumerate() {
                        for bit in (0..8u64).filter(|bit| byte >> bit & 1 == 1) {
                            let serial = first.checked_add(index as u64 * 8 + bit)?;
                            section.serials.push((serial, serial));
                        }
                    }
                }
                0x23 => {
                    while !part.0.is_empty() {
                        section.ids.insert(String::from_utf8(part.string()?.to_vec()).ok()?);
                    }
                }
                0x39 => {
                    part.string()?;
                    (part.u8()? == 0).then_some(())?;
                }
                _ => return None,
            }
        }
        Some(section)
    }

    fn holds(&self, authority: &[u8], certificate: &Certificate) -> bool {
        if !self.authority.is_empty() && self.authority != authority {
            return false;
        }
        // krl.c: a certificate without a serial is found by its id alone.
        let serial = certificate.serial();
        self.ids.contains(certificate.key_id()) || serial != 0 && self.serials.iter().any(|(lo, hi)| (*lo..=*hi).contains(&serial))
    }
}

/// The integers and strings of SSH.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    fn all(&mut self, into: &mut BTreeSet<Vec<u8>>) -> Option<()> {
        while !self.0.is_empty() {
            into.insert(self.string()?.to_vec());
        }
        Some(())
    }
}
