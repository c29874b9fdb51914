//! Who a host proves to be, by the rules of OpenSSH (`hostfile.c`, `sshconnect.c`).
//!
//! Written here because the checker that comes with russh accepts a key that is marked `@revoked`, takes a host whose recorded key is
//! of another type for unknown, and reads no wildcards. Keys are compared as bytes, so a key type that nobody here knows is still
//! told apart from the recorded one.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What known_hosts says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKeyVerdict {
    /// It is recorded for this host.
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
    /// The key is marked as revoked.
    Revoked {
        /// `file:line` of the mark.
        place: String,
    },
}

/// One line that can be used.
#[derive(Debug, Clone)]
struct Entry {
    revoked: bool,
    authority: bool,
    hosts: Vec<u8>,
    algorithm: String,
    key: Vec<u8>,
    place: String,
}

/// The contents of some known_hosts files.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts {
    entries: Vec<Entry>,
}

impl KnownHosts {
    /// Reads files in order; one that is not there is empty.
    ///
    /// # Errors
    /// A file that is there and cannot be read: its silence would turn a changed key into an unknown one.
    pub fn load(files: &[PathBuf]) -> Result<Self, String> {
        let mut known = Self::default();
        for file in files {
            match std::fs::read(file) {
                Ok(bytes) => known.add(&bytes, &file.display().to_string()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(format!("{} cannot be read, so no host key can be checked: {error}", file.display())),
            }
        }
        Ok(known)
    }

    /// Adds the lines of a file. What is not a line of known_hosts is passed over, as OpenSSH does.
    pub fn add(&mut self, bytes: &[u8], file: &str) {
        for (index, line) in bytes.split(|b| *b == b'\n').enumerate() {
            if let Some(mut entry) = parse_line(line) {
                entry.place = format!("{file}:{}", index + 1);
                self.entries.push(entry);
            }
        }
    }

    /// Judges a key that a host shows. `name` is the host as it was asked for, or its alias.
    pub fn check(&self, name: &str, port: u16, key: &[u8]) -> HostKeyVerdict {
        let with_port = lookup_name(name, port);
        match self.check_name(&with_port, key) {
            // sshconnect.c: an unknown host on another port is known if the same key is recorded without the port.
            HostKeyVerdict::Unknown if port != 22 => match self.check_name(&lookup_name(name, 22), key) {
                HostKeyVerdict::Changed { .. } => HostKeyVerdict::Unknown,
                other => other,
            },
            verdict => verdict,
        }
    }

    fn check_name(&self, name: &str, key: &[u8]) -> HostKeyVerdict {
        let matching: Vec<&Entry> = self.entries.iter().filter(|e| !e.authority && matches_host(&e.hosts, name)).collect();
        if let Some(revoked) = matching.iter().find(|e| e.revoked && e.key == key) {
            return HostKeyVerdict::Revoked { place: revoked.place.clone() };
        }
        let mut recorded = matching.iter().filter(|e| !e.revoked);
        if recorded.clone().any(|e| e.key == key) {
            return HostKeyVerdict::Ok;
        }
        match recorded.next() {
            Some(other) => HostKeyVerdict::Changed { place: other.place.clone(), recorded: fingerprint(&other.key) },
            None => HostKeyVerdict::Unknown,
        }
    }

    /// The key types recorded for a host, in the order of the files: those are asked for, so that nobody can answer with another.
    pub fn algorithms(&self, name: &str, port: u16) -> Vec<String> {
        let of = |name: &str| -> Vec<String> {
            let mut found: Vec<String> = Vec::new();
            for entry in self.entries.iter().filter(|e| !e.authority && !e.revoked && matches_host(&e.hosts, name)) {
                if !found.contains(&entry.algorithm) {
                    found.push(entry.algorithm.clone());
                }
            }
            found
        };
        let own = of(&lookup_name(name, port));
        if own.is_empty() && port != 22 { of(&lookup_name(name, 22)) } else { own }
    }
}

/// The name under which a host is recorded: `host`, or `[host]:port` where the port is not 22.
pub(crate) fn lookup_name(name: &str, port: u16) -> String {
    let name = name.to_ascii_lowercase();
    if port == 22 { name } else { format!("[{name}]:{port}") }
}

/// `SHA256:…`, as `ssh-keygen -l` shows it.
pub fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(key)))
}

/// Writes a new key down at the end of a file, which is made if it is not there.
///
/// # Errors
/// What kept it from being written.
pub fn append(file: &Path, name: &str, port: u16, algorithm: &str, key: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    if let Some(dir) = file.parent().filter(|d| !d.exists()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let ends_open = std::fs::read(file).is_ok_and(|b| b.last().is_some_and(|last| *last != b'\n'));
    let line = format!("{}{} {algorithm} {}\n", if ends_open { "\n" } else { "" }, lookup_name(name, port), STANDARD.encode(key));
    // One write at the end of the file: two runs at once do not mix their lines.
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(file)?.write_all(line.as_bytes())
}

fn parse_line(line: &[u8]) -> Option<Entry> {
    let mut words = line.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty());
    let mut first = words.next()?;
    if first.starts_with(b"#") {
        return None;
    }
    let (mut revoked, mut authority) = (false, false);
    if first.starts_with(b"@") {
        match first {
            b"@revoked" => revoked = true,
            b"@cert-authority" => authority = true,
            _ => return None,
        }
        first = words.next()?;
    }
    let algorithm = std::str::from_utf8(words.next()?).ok()?.to_owned();
    let key = STANDARD.decode(words.next()?).ok()?;
    // A key names its own type first (RFC 4253, 6.6): a line whose two names differ is not a line of known_hosts.
    let named = key.get(4..4 + u32::from_be_bytes(key.get(..4)?.try_into().ok()?) as usize)?;
    (named == algorithm.as_bytes()).then(|| Entry { revoked, authority, hosts: first.to_vec(), algorithm, key, place: String::new() })
}

/// Whether a list of patterns, or a hashed name, means this host.
fn matches_host(hosts: &[u8], name: &str) -> bool {
    if let Some(hashed) = hosts.strip_prefix(b"|1|") {
        let Some((salt, hash)) = std::str::from_utf8(hashed).ok().and_then(|h| h.split_once('|')) else { return false };
        let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else { return false };
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&salt) else { return false };
        mac.update(name.as_bytes());
        return mac.verify_slice(&hash).is_ok();
    }
    let mut found = false;
    for pattern in hosts.split(|b| *b == b',') {
        let (negated, pattern) = match pattern.strip_prefix(b"!") {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        if glob(&pattern.to_ascii_lowercase(), name.as_bytes()) {
            // match.c: one negated match rules the whole line out.
            if negated {
                return false;
            }
            found = true;
        }
    }
    found
}

/// `*` and `?` only, as in match.c. Iterative, so that a hostile pattern costs no more than its length times the name's.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || Some(c) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((star_p, star_t)) => {
                    p = star_p + 1;
                    t = star_t + 1;
                    star = Some((star_p, t));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(algorithm: &str, body: &str) -> Vec<u8> {
        let mut key = u32::try_from(algorithm.len()).unwrap().to_be_bytes().to_vec();
        key.extend(algorithm.as_bytes());
        key.extend(body.as_bytes());
        key
    }

    fn line(hosts: &str, algorithm: &str, body: &str) -> String {
        format!("{hosts} {algorithm} {}\n", STANDARD.encode(key(algorithm, body)))
    }

    fn check(text: &str, name: &str, port: u16, algorithm: &str, body: &str) -> HostKeyVerdict {
        let mut known = KnownHosts::default();
        known.add(text.as_bytes(), "f");
        known.check(name, port, &key(algorithm, body))
    }

    const ED: &str = "ssh-ed25519";

    #[test]
    fn the_four_verdicts() {
        let text = line("a", ED, "1") + &line("a", ED, "2") + &line("@revoked a", ED, "2");
        assert_eq!(check(&text, "a", 22, ED, "1"), HostKeyVerdict::Ok);
        assert_eq!(check(&text, "A", 22, ED, "1"), HostKeyVerdict::Ok);
        assert_eq!(check(&text, "b", 22, ED, "1"), HostKeyVerdict::Unknown);
        assert_eq!(check(&text, "a", 22, ED, "2"), HostKeyVerdict::Revoked { place: "f:3".into() });
        assert!(matches!(check(&text, "a", 22, ED, "3"), HostKeyVerdict::Changed { place, .. } if place == "f:1"));
        assert!(matches!(check(&text, "a", 22, "ecdsa-sha2-nistp256", "1"), HostKeyVerdict::Changed { .. }));
    }

    #[test]
    fn patterns_negation_ports_and_blanks() {
        let text = format!("\t{}", line("*.example.org,!bad.example.org", ED, "1").replace(' ', "\t"));
        assert_eq!(check(&text, "www.example.org", 22, ED, "1"), HostKeyVerdict::Ok);
        assert_eq!(check(&text, "bad.example.org", 22, ED, "1"), HostKeyVerdict::Unknown);
        let text = line("[10.0.0.*]:2222", ED, "1");
        assert_eq!(check(&text, "10.0.0.7", 2222, ED, "1"), HostKeyVerdict::Ok);
        assert_eq!(check(&text, "10.0.0.7", 22, ED, "1"), HostKeyVerdict::Unknown);
        let text = line("h", ED, "1");
        assert_eq!(check(&text, "h", 2222, ED, "1"), HostKeyVerdict::Ok);
        assert_eq!(check(&text, "h", 2222, ED, "2"), HostKeyVerdict::Unknown);
    }

    #[test]
    fn a_broken_line_hides_no_other() {
        let text = format!("a {ED} !!!\n{}a {ED}\n\0\n", line("a", ED, "1"));
        assert!(matches!(check(&text, "a", 22, ED, "2"), HostKeyVerdict::Changed { .. }));
    }

    #[test]
    fn authorities_are_no_keys() {
        assert_eq!(check(&line("@cert-authority *", ED, "1"), "a", 22, ED, "1"), HostKeyVerdict::Unknown);
    }
}
