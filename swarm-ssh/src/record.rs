//! Writing a new host key down. A run holds root on every host, and the path of the file comes from a file that others may have
//! written: only a file that holds known_hosts lines, is ours alone and is reached without a symbolic link is written to.

use crate::known_hosts::{Line, hash_name, ours, parse_line};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path};

/// How a name is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// As it is.
    Plain,
    /// Hashed, as with `HashKnownHosts yes`.
    Hashed,
}

/// The largest known_hosts file that is added to.
const LARGEST: u64 = 64 << 20;

/// Adds a key for a name at the end of a file, which is made if it is not there (0600, its folder 0700).
///
/// # Errors
/// Why it is not written; the file is then as it was.
pub fn append(file: &Path, name: &str, names: Names, algorithm: &str, key: &[u8]) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']' | '%');
    if name.is_empty() || !name.chars().all(fits) || !name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[' || c == ':') {
        return Err(format!("{name:?} cannot be written as a host name"));
    }
    // A word that an authorized_keys file would take for an option is never written as it is.
    let plain = name.contains(['.', ':']) && names == Names::Plain;
    let shown = if plain { name.to_owned() } else { hash_name(&salt()?, name) };
    let line = format!("{shown} {algorithm} {}\n", STANDARD.encode(key));
    let mut open = open(file)?;
    let ends_open = check(&mut open, file)?;
    let text = if ends_open { format!("\n{line}") } else { line };
    // One write at the end of the file: two runs at once do not mix their lines.
    open.write_all(text.as_bytes()).and_then(|()| open.sync_data()).map_err(|e| e.to_string())
}

/// A host key that someone vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    /// The name or address, as it is connected to on port 22.
    pub name: String,
    /// Kind and key as known_hosts has them, with a blank between them.
    pub key: String,
    /// What the machine is, without blanks: another machine of the same address has another mark.
    pub mark: String,
}

/// Makes a file hold exactly these keys of an owner, whose lines end with `OWNER/MARK`. A line of any owner of this kind (`swarm:…`) for one of
/// these names goes: the address has another machine now. All other lines stay as they are. Says whether anything was written.
///
/// # Errors
/// Why it is not written; the file is then as it was.
pub fn keep(file: &Path, owner: &str, keys: &[Vouched]) -> Result<bool, String> {
    let text = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error.to_string()),
    };
    let mut wanted = Vec::new();
    for Vouched { name, key, mark } in keys {
        let line = format!("{name} {key} {owner}/{mark}");
        let plain = name.parse::<std::net::IpAddr>().is_ok()
            || (name.contains('.') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)));
        if !plain || line.contains(['\n', '\r']) || !matches!(parse_line(line.as_bytes()), Line::Key(_)) {
            return Err(format!("{line:?} is no line of known_hosts"));
        }
        wanted.push(line);
    }
    let lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
    let (mut kept, mut there): (Vec<&[u8]>, Vec<&str>) = (Vec::new(), Vec::new());
    for line in lines {
        // Lines that are not text are none of ours.
        let words: Vec<&str> = std::str::from_utf8(line).map(|l| l.split(' ').collect()).unwrap_or_default();
        let ours = match words.as_slice() {
            [name, _, _, mark] if mark.starts_with("swarm:") => {
                mark.split_once('/').is_some_and(|(of, _)| of == owner) || keys.iter().any(|k| k.name == *name)
            }
            _ => false,
        };
        match std::str::from_utf8(line) {
            Ok(line) if ours && wanted.iter().any(|w| w == line) && !there.contains(&line) => there.push(line),
            _ if ours => {}
            _ => kept.push(line),
        }
    }
    let same = there.len() == wanted.len() && kept.len() + there.len() == text.split(|b| *b == b'\n').count();
    if same {
        return Ok(false);
    }
    // What it is matters where it is written to.
    check(&mut open(file)?, file)?;
    let mut new = kept.join(&b'\n');
    if new.last().is_some_and(|last| *last != b'\n') {
        new.push(b'\n');
    }
    for line in &wanted {
        new.extend(line.bytes());
        new.push(b'\n');
    }
    // Another name first: a reader sees the old file or the new one.
    let mut beside = file.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = Path::new(&beside);
    let written = rustix::fs::open(beside, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))
        .map_err(std::io::Error::from)
        .and_then(|fd| {
            let mut made = File::from(fd);
            let mode = std::fs::metadata(file)?.permissions();
            made.set_permissions(mode)?;
            made.write_all(&new)?;
            made.sync_data()?;
            std::fs::rename(beside, file)
        });
    written.map(|()| true).map_err(|error| {
        let _ = std::fs::remove_file(beside);
        error.to_string()
    })
}

fn salt() -> Result<[u8; 20], String> {
    let mut salt = [0; 20];
    File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut salt)).map_err(|e| format!("/dev/urandom: {e}"))?;
    Ok(salt)
}

fn open(file: &Path) -> Result<File, String> {
    if file.components().any(|c| matches!(c, Component::ParentDir)) {
        return Err("its path goes up with `..`; write the path without".into());
    }
    let name = file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let other = matches!(name, "authorized_keys" | "authorized_keys2" | "config" | "rc" | "environment" | "shosts" | "rhosts");
    if other || name.is_empty() || name.ends_with(".pub") || (name.starts_with("id_") && !name.contains("known")) {
        return Err("its name is that of another kind of file".into());
    }
    if let Some(dir) = file.parent().filter(|d| !d.as_os_str().is_empty() && !d.exists()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = match rustix::fs::open(file, flags | OFlags::CREATE | OFlags::EXCL, Mode::from_raw_mode(0o600)) {
        Err(rustix::io::Errno::EXIST) => rustix::fs::open(file, flags, Mode::empty()),
        other => other,
    };
    opened.map(File::from).map_err(|error| match error {
        rustix::io::Errno::LOOP => "it is a symbolic link; name the file itself".into(),
        other => std::io::Error::from(other).to_string(),
    })
}

/// The file is ours alone and holds known_hosts lines. Gives whether its last line has no end.
fn check(open: &mut File, file: &Path) -> Result<bool, String> {
    let meta = open.metadata().map_err(|e| e.to_string())?;
    if !meta.is_file() {
        return Err("it is no regular file".into());
    }
    if meta.nlink() != 1 {
        return Err("it has another name as well (a hard link)".into());
    }
    ours(&meta, "it")?;
    if let Some(dir) = file.parent().filter(|d| !d.as_os_str().is_empty()) {
        let meta = std::fs::metadata(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        // The sticky bit keeps others from replacing what is not theirs.
        if meta.mode() & 0o1000 == 0 {
            ours(&meta, &dir.display().to_string())?;
        }
    }
    if meta.len() > LARGEST {
        return Err(format!("it has more than {} MiB", LARGEST >> 20));
    }
    let mut bytes = Vec::new();
    open.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    for (index, line) in bytes.split(|b| *b == b'\n').enumerate() {
        if matches!(parse_line(line), Line::Garbage) {
            return Err(format!("its line {} is not one of known_hosts, so it may be another kind of file", index + 1));
        }
    }
    Ok(bytes.last().is_some_and(|last| *last != b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn key() -> Vec<u8> {
        let mut key = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
        key.extend([9u8; 32]);
        key
    }

    fn add(file: &Path, name: &str) -> Result<(), String> {
        append(file, name, Names::Plain, "ssh-ed25519", &key())
    }

    #[test]
    fn a_new_file_is_ours_alone_and_lines_are_added_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("new/known_hosts");
        add(&file, "10.0.0.1").unwrap();
        std::fs::write(&file, std::fs::read_to_string(&file).unwrap().trim_end()).unwrap();
        add(&file, "[10.0.0.1]:2222").unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().map(|l| l.split(' ').next().unwrap()).collect::<Vec<_>>(), ["10.0.0.1", "[10.0.0.1]:2222"]);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn nothing_else_is_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("script"), "echo hello\n").unwrap();
        std::fs::write(at("good"), "").unwrap();
        symlink(at("good"), at("link")).unwrap();
        std::fs::write(at("twice"), "").unwrap();
        std::fs::hard_link(at("twice"), at("again")).unwrap();
        std::fs::write(at("open"), "").unwrap();
        std::fs::set_permissions(at("open"), std::fs::Permissions::from_mode(0o666)).unwrap();
        for (name, why) in [
            ("authorized_keys", "another kind"),
            ("id_rsa", "another kind"),
            ("script", "line 1"),
            ("link", "symbolic link"),
            ("again", "hard link"),
            ("open", "written by others"),
            ("x/../good", "`..`"),
        ] {
            let error = add(&at(name), "10.0.0.1").unwrap_err();
            assert!(error.contains(why), "{name}: {error}");
        }
        assert_eq!(std::fs::read_to_string(at("script")).unwrap(), "echo hello\n");
        for name in ["a b", "a,b", "a\nb", "!a", "*", "@revoked", "#a", "|1|x", ""] {
            assert!(add(&at("good"), name).is_err(), "{name:?}");
        }
        assert_eq!(std::fs::read(at("good")).unwrap(), b"");
    }

    #[test]
    fn keys_of_machines_replace_those_of_earlier_ones_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        let line = STANDARD.encode(key());
        let of = |name: &str, mark: &str| Vouched { name: name.into(), key: format!("ssh-ed25519 {line}"), mark: mark.into() };
        assert!(!keep(&file, "swarm:prod", &[]).unwrap() && !file.exists(), "nothing to write, nothing written");
        assert!(keep(&file, "swarm:prod", &[of("10.0.0.1", "m1/i-1"), of("10.0.0.2", "m2/i-2")]).unwrap());
        let mine = format!("10.0.0.1 ssh-ed25519 {line}\n# mine\n10.0.0.9 ssh-ed25519 {line} swarm:other/m1/i-9");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{mine}\n{text}")).unwrap();
        assert!(!keep(&file, "swarm:prod", &[of("10.0.0.2", "m2/i-2"), of("10.0.0.1", "m1/i-1")]).unwrap(), "it is so already");
        // m1 is another machine, at the address that one of another cluster had.
        assert!(keep(&file, "swarm:prod", &[of("10.0.0.9", "m1/i-3")]).unwrap());
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text, format!("10.0.0.1 ssh-ed25519 {line}\n# mine\n10.0.0.9 ssh-ed25519 {line} swarm:prod/m1/i-3\n"));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(keep(&file, "swarm:prod", &[]).unwrap());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("10.0.0.1 ssh-ed25519 {line}\n# mine\n"));
        for wrong in [of("10.0.0.1\n*", "x"), of("*", "x"), of("10.0.0.1", "a\nb"), Vouched { key: "none".into(), ..of("10.0.0.1", "x") }] {
            assert!(keep(&file, "swarm:prod", &[wrong]).unwrap_err().contains("no line of known_hosts"));
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        // A file that is not written to may be what it likes; one that would be is looked at first.
        let link = dir.path().join("link");
        symlink(&file, &link).unwrap();
        assert!(!keep(&link, "swarm:prod", &[]).unwrap());
        assert!(keep(&link, "swarm:prod", &[of("10.0.0.1", "m1/i-1")]).unwrap_err().contains("symbolic link"));
    }

    /// `pty` and a key would be a login in an authorized_keys file.
    #[test]
    fn a_bare_word_is_written_hashed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known");
        add(&file, "pty").unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("|1|") && !text.contains("pty"), "{text}");
        let mut known = crate::KnownHosts::default();
        known.add(text.as_bytes(), "f");
        assert_eq!(known.entries_of("pty").len(), 1);
        assert_eq!(known.entries_of("tty").len(), 0);
    }
}
