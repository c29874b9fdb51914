//! Whether a host is who it should be: the rules of OpenSSH's `sshconnect.c`, check_host_key, over what [`KnownHosts`] and the revoked
//! keys say.

use crate::known_hosts::{Entry, KnownHosts, Marker, fingerprint, lookup_name};
use crate::revoked::{Revoked, authority_of};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, EcdsaCurve, HashAlg, PublicKey, PublicKeyOrCertificate};

/// What is to be made of the key that a host shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKeyVerdict {
    /// It is recorded for this host, or its certificate is signed by an authority for this host.
    Ok,
    /// Nothing is recorded for this host.
    Unknown,
    /// Another key is recorded for this host, be it of another type.
    Changed {
        /// `file:line` of a recorded key.
        place: String,
        /// Its fingerprint.
        recorded: String,
    },
    /// The key, or the authority that signed it, is marked as revoked.
    Revoked {
        /// Where the mark is.
        place: String,
    },
    /// The settings allow no such key.
    Refused {
        /// Which setting, and why.
        why: String,
    },
}

/// What a host's key is held against.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The name the host is recorded under, in lower case: its host name, or its HostKeyAlias.
    pub name: String,
    /// Whether the name is a HostKeyAlias, which goes without a port.
    pub alias: bool,
    /// Its port.
    pub port: u16,
    /// The known_hosts files.
    pub known: KnownHosts,
    #[doc(hidden)]
    pub revoked: Revoked,
    /// HostKeyAlgorithms; empty is all that this library knows.
    pub host_key_algorithms: Vec<String>,
    /// CASignatureAlgorithms; empty is all but those with SHA-1.
    pub ca_algorithms: Vec<String>,
    /// RequiredRSASize, in bits.
    pub rsa_bits: u32,
}

/// A key as it is judged.
struct Shown<'a> {
    key: Vec<u8>,
    public: PublicKey,
    certificate: Option<&'a Certificate>,
}

/// What the lines say of a key, before its certificate is looked at.
enum Status<'a> {
    Ok,
    New,
    Changed(&'a Entry),
    Revoked(&'a Entry),
}

impl Trust {
    /// The name with the port, where the host is recorded with one.
    pub(crate) fn lookup(&self) -> String {
        if self.alias { self.name.clone() } else { lookup_name(&self.name, self.port) }
    }

    /// Judges what a host shows. `now` is in seconds since 1970.
    pub(crate) fn judge(&self, shown: &PublicKeyOrCertificate, now: u64) -> HostKeyVerdict {
        let refused = |why: String| HostKeyVerdict::Refused { why };
        let certificate = match shown {
            PublicKeyOrCertificate::Certificate(certificate) => Some(certificate),
            PublicKeyOrCertificate::PublicKey { .. } => None,
        };
        let public = match shown {
            PublicKeyOrCertificate::Certificate(certificate) => PublicKey::from(certificate.public_key().clone()),
            PublicKeyOrCertificate::PublicKey { key, .. } => key.clone(),
        };
        let Ok(key) = public.to_bytes() else { return refused("it cannot be read".into()) };
        if let KeyData::Rsa(rsa) = public.key_data()
            && rsa.key_size() < self.rsa_bits.max(1024)
        {
            return refused(format!("it is an RSA key of {} bits, and RequiredRSASize is {}", rsa.key_size(), self.rsa_bits.max(1024)));
        }
        if certificate.is_some_and(|c| c.verify_signature().is_err()) {
            return refused("the signature of its certificate is wrong".into());
        }
        if self.revoked.holds(&key, certificate) {
            return HostKeyVerdict::Revoked { place: "RevokedHostKeys".into() };
        }
        self.check(&Shown { key, public, certificate }, &self.lookup(), now)
    }

    /// The same, for a bare key.
    pub fn judge_key(&self, key: &[u8]) -> HostKeyVerdict {
        match PublicKey::from_bytes(key) {
            Ok(key) => self.judge(&key.into(), 0),
            Err(error) => HostKeyVerdict::Refused { why: error.to_string() },
        }
    }

    /// The same, for a key as its `.pub` file has it.
    pub fn judge_text(&self, key: &str) -> HostKeyVerdict {
        match PublicKey::from_openssh(key) {
            Ok(key) => self.judge(&key.into(), 0),
            Err(error) => HostKeyVerdict::Refused { why: error.to_string() },
        }
    }

    /// The same, for a certificate as its `-cert.pub` file has it.
    pub fn judge_certificate(&self, certificate: &str, now: u64) -> HostKeyVerdict {
        match Certificate::from_openssh(certificate) {
            Ok(certificate) => self.judge(&certificate.into(), now),
            Err(error) => HostKeyVerdict::Refused { why: error.to_string() },
        }
    }

    fn check(&self, shown: &Shown<'_>, name: &str, now: u64) -> HostKeyVerdict {
        let mut certificate = shown.certificate;
        loop {
            let allowed = self.allows(&shown.public, certificate.is_some());
            let status = self.status(shown, certificate, name);
            if !allowed && (certificate.is_some() || shown.certificate.is_none() || matches!(status, Status::Ok)) {
                let kind = shown.public.algorithm();
                return HostKeyVerdict::Refused { why: format!("HostKeyAlgorithms does not allow {kind}") };
            }
            match status {
                Status::Revoked(entry) => return HostKeyVerdict::Revoked { place: entry.place.clone() },
                Status::Ok if certificate.is_none_or(|c| self.signed_for_us(c, now)) => return HostKeyVerdict::Ok,
                // An unknown host on another port is known if the same key is recorded without the port.
                Status::New if !self.alias && self.port != 22 && name != self.name => {
                    let without = self.check(shown, &self.name, now);
                    if matches!(without, HostKeyVerdict::Ok | HostKeyVerdict::Revoked { .. }) {
                        return without;
                    }
                    if certificate.is_none() {
                        return HostKeyVerdict::Unknown;
                    }
                }
                Status::New if certificate.is_none() => return HostKeyVerdict::Unknown,
                Status::Changed(entry) if certificate.is_none() => {
                    return HostKeyVerdict::Changed { place: entry.place.clone(), recorded: fingerprint(&entry.key) };
                }
                _ => {}
            }
            // No authority stands for it: what counts is the key in the certificate.
            certificate = None;
        }
    }

    /// `hostfile.c`, check_key_in_hostkeys.
    fn status(&self, shown: &Shown<'_>, certificate: Option<&Certificate>, name: &str) -> Status<'_> {
        let entries = self.known.entries_of(name);
        let authority = certificate.and_then(authority_of);
        let revoked = |e: &&&Entry| e.marker == Marker::Revoked && (e.key == shown.key || Some(&e.key) == authority.as_ref());
        if let Some(entry) = entries.iter().find(revoked) {
            return Status::Revoked(entry);
        }
        let (wanted, key) = match &authority {
            Some(authority) => (Marker::Authority, authority),
            None => (Marker::None, &shown.key),
        };
        let mut last = None;
        for entry in entries.into_iter().filter(|e| e.marker == wanted) {
            if entry.key == *key {
                return Status::Ok;
            }
            last.get_or_insert(entry);
        }
        match last {
            Some(entry) if certificate.is_none() => Status::Changed(entry),
            _ => Status::New,
        }
    }

    /// `sshkey.c`, sshkey_cert_check_host: a host's certificate, valid now, for this name or for any, with no option that is not
    /// understood, signed with an algorithm that is allowed.
    fn signed_for_us(&self, certificate: &Certificate, now: u64) -> bool {
        let principals = certificate.valid_principals();
        let signed_with = certificate.signature().algorithm().to_string();
        certificate.cert_type().is_host()
            && (certificate.valid_after()..certificate.valid_before()).contains(&now)
            && (principals.is_empty() || principals.contains(&self.name))
            && certificate.critical_options().is_empty()
            && if self.ca_algorithms.is_empty() { signed_with != "ssh-rsa" } else { self.ca_algorithms.contains(&signed_with) }
    }

    /// `sshconnect.c`, hostkey_accepted_by_hostkeyalgs.
    fn allows(&self, key: &PublicKey, certified: bool) -> bool {
        if self.host_key_algorithms.is_empty() {
            return true;
        }
        let names = match key.algorithm() {
            Algorithm::Rsa { .. } => vec!["rsa-sha2-512".to_owned(), "rsa-sha2-256".to_owned(), "ssh-rsa".to_owned()],
            other => vec![other.to_string()],
        };
        let ending = if certified { "-cert-v01@openssh.com" } else { "" };
        names.iter().any(|name| self.host_key_algorithms.contains(&format!("{name}{ending}")))
    }

    /// The host key algorithms to ask for, certificates apart: `sshconnect2.c`, order_hostkeyalgs. The first of each is preferred.
    pub(crate) fn algorithms(&self, reorder: bool) -> (Vec<Algorithm>, Vec<Algorithm>) {
        let all: Vec<(&str, Algorithm)> = ALGORITHMS.iter().map(|(name, algorithm)| (*name, algorithm.clone())).collect();
        let asked: Vec<(String, Algorithm, bool)> = if self.host_key_algorithms.is_empty() {
            let plain = all.iter().map(|(n, a)| ((*n).to_owned(), a.clone(), false));
            all.iter().map(|(n, a)| ((*n).to_owned(), a.clone(), true)).chain(plain).filter(|(n, ..)| n != "ssh-rsa").collect()
        } else {
            let of = |asked: &String| {
                let plain = asked.strip_suffix("-cert-v01@openssh.com");
                let name = plain.unwrap_or(asked).to_owned();
                let (_, algorithm) = all.iter().find(|(n, _)| *n == name)?;
                Some((name, algorithm.clone(), plain.is_some()))
            };
            self.host_key_algorithms.iter().filter_map(of).collect()
        };
        let name = self.lookup();
        let mut entries = self.known.entries_of(&name);
        if entries.is_empty() && !self.alias && self.port != 22 {
            entries = self.known.entries_of(&self.name);
        }
        let recorded = |name: &str| {
            let kind = if name.starts_with("rsa-") { "ssh-rsa" } else { name };
            entries.iter().any(|e| e.marker == Marker::None && e.algorithm == kind)
        };
        let verbatim = !reorder || asked.first().is_some_and(|(name, ..)| recorded(name)) || entries.is_empty();
        let authority = entries.iter().any(|e| e.marker == Marker::Authority);
        let mut first = Vec::new();
        let mut last = Vec::new();
        for (name, algorithm, certified) in asked {
            let preferred = verbatim || recorded(&name) || certified && authority;
            if preferred { &mut first } else { &mut last }.push((algorithm, certified));
        }
        // russh asks for certificates before keys: one that is not preferred would come before the recorded key.
        let certificates = first.iter().filter(|(_, c)| *c).map(|(a, _)| a.clone()).collect();
        let keys = first.iter().chain(&last).filter(|(_, c)| !*c).map(|(a, _)| a.clone()).collect();
        (certificates, keys)
    }
}

/// The host key algorithms that can be verified here.
const ALGORITHMS: [(&str, Algorithm); 7] = [
    ("ssh-ed25519", Algorithm::Ed25519),
    ("ecdsa-sha2-nistp256", Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }),
    ("ecdsa-sha2-nistp384", Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 }),
    ("ecdsa-sha2-nistp521", Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 }),
    ("rsa-sha2-512", Algorithm::Rsa { hash: Some(HashAlg::Sha512) }),
    ("rsa-sha2-256", Algorithm::Rsa { hash: Some(HashAlg::Sha256) }),
    ("ssh-rsa", Algorithm::Rsa { hash: None }),
];

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    fn key(body: u8) -> Vec<u8> {
        let mut key = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
        key.extend([body; 32]);
        key
    }

    fn line(hosts: &str, body: u8) -> String {
        format!("{hosts} ssh-ed25519 {}\n", STANDARD.encode(key(body)))
    }

    fn judge(text: &str, name: &str, port: u16, body: u8) -> HostKeyVerdict {
        let mut known = KnownHosts::default();
        known.add(text.as_bytes(), "f");
        Trust { name: name.into(), port, known, ..Trust::default() }.judge_key(&key(body))
    }

    #[test]
    fn the_four_verdicts() {
        let text = line("a", 1) + &line("a", 2) + &line("@revoked a", 2);
        assert_eq!(judge(&text, "a", 22, 1), HostKeyVerdict::Ok);
        assert_eq!(judge(&text, "b", 22, 1), HostKeyVerdict::Unknown);
        assert_eq!(judge(&text, "a", 22, 2), HostKeyVerdict::Revoked { place: "f:3".into() });
        assert!(matches!(judge(&text, "a", 22, 3), HostKeyVerdict::Changed { place, .. } if place == "f:1"));
    }

    #[test]
    fn patterns_negation_ports_and_blanks() {
        let text = format!("\t{}", line("*.example.org,!bad.example.org", 1).replace(' ', "\t"));
        assert_eq!(judge(&text, "www.example.org", 22, 1), HostKeyVerdict::Ok);
        assert_eq!(judge(&text, "bad.example.org", 22, 1), HostKeyVerdict::Unknown);
        let text = line("[10.0.0.*]:2222", 1);
        assert_eq!(judge(&text, "10.0.0.7", 2222, 1), HostKeyVerdict::Ok);
        assert_eq!(judge(&text, "10.0.0.7", 22, 1), HostKeyVerdict::Unknown);
        let text = line("h", 1);
        assert_eq!(judge(&text, "h", 2222, 1), HostKeyVerdict::Ok);
        assert_eq!(judge(&text, "h", 2222, 2), HostKeyVerdict::Unknown);
    }

    #[test]
    fn a_broken_line_hides_no_other_and_an_authority_is_no_key() {
        let text = format!("a ssh-ed25519 !!!\n{}a ssh-ed25519\n\0\n", line("a", 1));
        assert!(matches!(judge(&text, "a", 22, 2), HostKeyVerdict::Changed { .. }));
        assert_eq!(judge(&line("@cert-authority *", 1), "a", 22, 1), HostKeyVerdict::Unknown);
    }

    #[test]
    fn an_alias_has_no_port_and_settings_rule_keys_out() {
        let mut known = KnownHosts::default();
        known.add(line("alias", 1).as_bytes(), "f");
        let mut trust = Trust { name: "alias".into(), alias: true, port: 2222, known, ..Trust::default() };
        assert_eq!(trust.judge_key(&key(1)), HostKeyVerdict::Ok);
        trust.host_key_algorithms = vec!["rsa-sha2-512".into()];
        assert!(matches!(trust.judge_key(&key(1)), HostKeyVerdict::Refused { .. }));
        trust.host_key_algorithms.clear();
        trust.revoked = Revoked::parse(line("", 1).trim().as_bytes()).unwrap();
        assert!(matches!(trust.judge_key(&key(1)), HostKeyVerdict::Revoked { .. }));
        for broken in [&b"garbage"[..], b"SSHKRL\n\0", b"SSHKRL\n\0\0\0\0\x02"] {
            assert!(Revoked::parse(broken).is_err(), "{broken:?}");
        }
    }
}
