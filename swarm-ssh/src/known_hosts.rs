//! known_hosts files, read as OpenSSH reads them (`hostfile.c`, `match.c`), line by line and byte by byte.
//!
//! Written here because the checker that comes with russh accepts a key that is marked `@revoked`, takes a host whose recorded key is
//! of another type for unknown, and reads no wildcards. What decides is compared with `ssh` itself, by generated files
//! (`tests/tests/openssh.rs`).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, Mac};
use russh::keys::ssh_key;
use rustix::fs::{Mode, OFlags};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a line is marked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    /// A host's own key.
    None,
    /// An authority that signs host keys.
    Authority,
    /// A key, or an authority, that is trusted no more.
    Revoked,
}

/// One line that can be used.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) marker: Marker,
    hosts: Vec<u8>,
    pub(crate) algorithm: String,
    pub(crate) key: Vec<u8>,
    /// `file:line`.
    pub(crate) place: String,
}

/// The contents of some known_hosts files.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts {
    entries: Vec<Entry>,
}

/// What a line of a known_hosts file is.
pub(crate) enum Line {
    /// Blank, or a comment.
    Nothing,
    /// A key.
    Key(Entry),
    /// Neither; OpenSSH passes over it.
    Garbage,
}

impl KnownHosts {
    /// Reads files in order; one that is not there is empty.
    ///
    /// # Errors
    /// A file that is there and cannot be read: its silence would turn a changed key into an unknown one. A file that others can write, or
    /// that belongs to another user: whoever that is could make any host trusted. A symbolic link, but one of root's below `/etc`: who can
    /// change where it leads can do the same.
    pub fn load(files: &[PathBuf]) -> Result<Self, String> {
        let mut known = Self::default();
        for file in files {
            let read = || {
                let mut open = open(file)?;
                let meta = open.metadata()?;
                let mut bytes = Vec::new();
                open.read_to_end(&mut bytes)?;
                Ok((meta, bytes))
            };
            match read() {
                Ok((meta, bytes)) => {
                    if meta.is_file() {
                        ours(&meta, &file.display().to_string()).map_err(|why| format!("{why}, so it is not used"))?;
                    }
                    known.add(&bytes, &file.display().to_string());
                }
                Err(error) if std::io::Error::kind(&error) == std::io::ErrorKind::NotFound => {}
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                    return Err(format!("{} is a symbolic link, so it is not used; name the file itself", file.display()));
                }
                Err(error) => return Err(format!("{} cannot be read, so no host key can be checked: {error}", file.display())),
            }
        }
        Ok(known)
    }

    /// Adds the lines of a file. What is not a line of known_hosts is passed over, as OpenSSH does.
    pub fn add(&mut self, bytes: &[u8], file: &str) {
        for (index, line) in bytes.split(|b| *b == b'\n').enumerate() {
            if let Line::Key(mut entry) = parse_line(line) {
                entry.place = format!("{file}:{}", index + 1);
                self.entries.push(entry);
            }
        }
    }

    /// The lines that mean a host by this name, in order.
    pub(crate) fn entries_of(&self, name: &str) -> Vec<&Entry> {
        self.entries.iter().filter(|e| matches_host(&e.hosts, name)).collect()
    }
}

/// The name under which a host is recorded: `host`, or `[host]:port` where the port is not 22.
pub(crate) fn lookup_name(name: &str, port: u16) -> String {
    if port == 22 { name.to_owned() } else { format!("[{name}]:{port}") }
}

/// `SHA256:…`, as `ssh-keygen -l` shows it.
pub fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(key)))
}

const BLANKS: [u8; 2] = *b" \t";

fn skip_blanks(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|b| !BLANKS.contains(b)).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

/// The bytes up to the next blank, and the rest.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|b| BLANKS.contains(b)).unwrap_or(text.len()))
}

/// `hostfile.c`, hostkeys_foreach_file. To it a line is text of C, which ends at a NUL; only the one behind the host names is stepped over.
pub(crate) fn parse_line(line: &[u8]) -> Line {
    let mut rest = skip_blanks(line);
    if rest.is_empty() || rest.starts_with(b"#") || rest.starts_with(b"\0") {
        return Line::Nothing;
    }
    let Some(marker) = take_marker(&mut rest) else { return Line::Garbage };
    let end = rest.iter().position(|b| BLANKS.contains(b) || *b == 0).unwrap_or(rest.len());
    let (hosts, after) = rest.split_at(end);
    let after = after.get(1..).unwrap_or_default().split(|b| *b == 0).next().unwrap_or_default();
    let after = skip_blanks(after);
    if after.is_empty() || after.starts_with(b"#") {
        return Line::Garbage;
    }
    match parse_key(after) {
        Some((algorithm, key)) => Line::Key(Entry { marker, hosts: hosts.to_vec(), algorithm, key, place: String::new() }),
        None => Line::Garbage,
    }
}

/// `hostfile.c`, check_markers: one marker, ended by a blank; where a line holds a space anywhere, a tab does not end it.
fn take_marker(rest: &mut &[u8]) -> Option<Marker> {
    let mut found = Marker::None;
    while rest.starts_with(b"@") {
        if found != Marker::None {
            return None;
        }
        let text = rest.split(|b| *b == 0).next().unwrap_or_default();
        let end = text.iter().position(|b| *b == b' ').or_else(|| text.iter().position(|b| *b == b'\t'))?;
        let (marker, after) = rest.split_at(end);
        found = match marker {
            b"@cert-authority" => Marker::Authority,
            b"@revoked" => Marker::Revoked,
            _ => return None,
        };
        *rest = skip_blanks(after);
    }
    Some(found)
}

/// `sshkey.c`, sshkey_read: a type, and a key of that type in base64. `None` where OpenSSH takes it for no key.
pub(crate) fn parse_key(text: &[u8]) -> Option<(String, Vec<u8>)> {
    let (algorithm, after) = word(text);
    let algorithm = std::str::from_utf8(algorithm).ok()?;
    let (encoded, _) = word(skip_blanks(after));
    // `b64_pton` passes over every other white space, such as the CR of a file from elsewhere.
    let encoded: Vec<u8> = encoded.iter().copied().filter(|b| !b.is_ascii_whitespace() && *b != 0x0b).collect();
    let key = STANDARD.decode(encoded).ok()?;
    let named = key.get(4..4usize.checked_add(u32::from_be_bytes(key.get(..4)?.try_into().ok()?) as usize)?)?;
    let named = std::str::from_utf8(named).ok()?.to_owned();
    // The names of RSA signatures mean the same kind of key.
    let kind = if matches!(algorithm, "rsa-sha2-256" | "rsa-sha2-512") { "ssh-rsa" } else { algorithm };
    (named == kind && is_key(&named, &key)).then_some((named, key))
}

/// Whether OpenSSH would read this as a key: of a type it knows, whole, and no RSA key of less than 1024 bits.
fn is_key(algorithm: &str, key: &[u8]) -> bool {
    if algorithm.ends_with("-cert-v01@openssh.com") {
        return ssh_key::Certificate::from_bytes(key).is_ok();
    }
    match ssh_key::PublicKey::from_bytes(key) {
        Ok(public) => match public.key_data() {
            ssh_key::public::KeyData::Other(_) => false,
            ssh_key::public::KeyData::Rsa(rsa) => rsa.key_size() >= 1024,
            _ => true,
        },
        Err(_) => false,
    }
}

/// Whether a list of patterns, or a hashed name, means this host (`hostfile.c`, match_maybe_hashed).
fn matches_host(hosts: &[u8], name: &str) -> bool {
    if hosts.starts_with(b"|") {
        return hashed_as(hosts, name).is_some_and(|hashed| hashed.as_bytes() == hosts);
    }
    match_list(&name.to_ascii_lowercase(), hosts)
}

/// `hostfile.c`, host_hash: the name hashed with the salt of a line. What is not exactly as OpenSSH writes it matches no name.
fn hashed_as(hosts: &[u8], name: &str) -> Option<String> {
    let salt = std::str::from_utf8(hosts).ok()?.strip_prefix("|1|")?.split('|').next()?;
    let salt: [u8; 20] = STANDARD.decode(salt).ok()?.try_into().ok()?;
    Some(hash_name(&salt, name))
}

/// A name as `ssh` writes it with `HashKnownHosts yes`.
pub(crate) fn hash_name(salt: &[u8; 20], name: &str) -> String {
    let mut hash = Vec::new();
    if let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(salt) {
        mac.update(name.as_bytes());
        hash = mac.finalize().into_bytes().to_vec();
    }
    format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(hash))
}

/// `match.c`, match_pattern_list: some pattern fits, no negated one does, and none is longer than OpenSSH's buffer.
fn match_list(name: &str, patterns: &[u8]) -> bool {
    const LONGEST: usize = 1023;
    let mut found = false;
    for pattern in patterns.split(|b| *b == b',') {
        let (negated, pattern) = match pattern.strip_prefix(b"!") {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        if pattern.len() >= LONGEST {
            return false;
        }
        if glob(&pattern.to_ascii_lowercase(), name.as_bytes()) {
            if negated {
                return false;
            }
            found = true;
        }
    }
    found
}

/// `*` and `?` only, as in match.c. Iterative, so that a hostile pattern costs no more than its length times the name's.
pub(crate) fn glob(pattern: &[u8], text: &[u8]) -> bool {
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

/// Opens a file to read, and follows no symbolic link to it that others than root can have put there.
fn open(file: &Path) -> std::io::Result<std::fs::File> {
    let of_system = file.starts_with("/etc") && std::fs::symlink_metadata(file).is_ok_and(|link| link.uid() == 0);
    let follow = if of_system { OFlags::empty() } else { OFlags::NOFOLLOW };
    Ok(rustix::fs::open(file, OFlags::RDONLY | OFlags::CLOEXEC | follow, Mode::empty())?.into())
}

/// No one but this user and root can change it.
pub(crate) fn ours(meta: &std::fs::Metadata, what: &str) -> Result<(), String> {
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() != me && meta.uid() != 0 {
        return Err(format!("{what} belongs to another user"));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(format!("{what} can be written by others (mode {:o}); chmod go-w", meta.mode() & 0o777));
    }
    Ok(())
}
