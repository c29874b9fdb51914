//! The file of a backup: what it is of, in plain words, and the packed state, with a checksum of every part.

use flate2::read::GzDecoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::path::{Component, Path};
use swarm_core::engine::Object;
use swarm_core::id::{ClusterId, HostName, NodeId};
use thiserror::Error;

/// The version of the format.
const FORMAT: u32 = 1;
/// The names of the two parts.
const MANIFEST: &str = "manifest.json";
const STATE: &str = "state.tar.gz";
/// How large a manifest, and the state unpacked, may be.
const MANIFEST_LIMIT: u64 = 16 << 20;
const STATE_LIMIT: u64 = 8 << 30;

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the format.
    pub format: u32,
    /// When it was taken, RFC 3339, UTC.
    pub taken: String,
    /// The cluster's name in its file.
    pub cluster: String,
    /// The swarm.
    pub swarm: ClusterId,
    /// The manager it was taken from.
    pub host: HostName,
    /// Its node.
    pub node: NodeId,
    /// Its host name.
    pub hostname: String,
    /// The address it advertised.
    pub address: String,
    /// The version of its engine.
    pub engine: String,
    /// The managers, `ADDRESS:PORT`.
    pub managers: Vec<String>,
    /// What tells the unlock key that opens it from others, where managers are locked. The key is not in the backup.
    pub unlock_key: Option<String>,
    /// What the swarm had, by name.
    pub names: Names,
    /// SHA-256 of every file of the state.
    pub files: BTreeMap<String, String>,
    /// SHA-256 of the packed state.
    pub state: String,
}

/// What a swarm has, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    /// Host names of its nodes.
    pub nodes: Vec<String>,
    /// Its services.
    pub services: Vec<String>,
    /// Its networks.
    pub networks: Vec<String>,
    /// Its secrets.
    pub secrets: Vec<String>,
    /// Its configs.
    pub configs: Vec<String>,
}

impl Names {
    /// The names of objects of one kind, of those that belong to the swarm and not to one host.
    pub fn of<'a>(objects: impl IntoIterator<Item = &'a Object>) -> Vec<String> {
        let is_swarms = |o: &&Object| o.text("/Scope").is_none_or(|scope| scope == "swarm");
        let mut names: Vec<String> = objects.into_iter().filter(is_swarms).map(|o| o.name().to_owned()).collect();
        names.sort();
        names
    }
}

/// A backup: whoever has it has the swarm's secrets and the keys of its certificate authority.
#[derive(Clone)]
pub struct Archive {
    /// What it is of.
    pub manifest: Manifest,
    state: Vec<u8>,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

/// Why a file is no whole backup.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ArchiveError {
    /// It is something else.
    #[error("it is no backup of a swarm: {0}")]
    Other(String),
    /// It was made by a newer program.
    #[error("it has format {0}, and this program reads format {FORMAT}")]
    Newer(u32),
    /// It is not what was written.
    #[error("it is damaged: {0}")]
    Damaged(String),
}

impl Archive {
    /// A backup of a packed state. Everything but the checksums is taken from the manifest.
    ///
    /// # Errors
    /// The state is no whole tar file, or has something in it that is neither a file nor a folder below `swarm`.
    pub fn new(manifest: Manifest, state: Vec<u8>) -> Result<Self, ArchiveError> {
        let files = sums(&state)?;
        if !files.contains_key("swarm/docker-state.json") {
            return Err(ArchiveError::Damaged("the state has no docker-state.json".into()));
        }
        let manifest = Manifest { format: FORMAT, files, state: sum(&state), ..manifest };
        Ok(Self { manifest, state })
    }

    /// As a file.
    ///
    /// # Errors
    /// It could not be packed.
    pub fn write(&self) -> Result<Vec<u8>, ArchiveError> {
        let failed = |e: &dyn std::fmt::Display| ArchiveError::Other(e.to_string());
        let manifest = serde_json::to_vec_pretty(&self.manifest).map_err(|e| failed(&e))?;
        let mut tar = tar::Builder::new(Vec::new());
        for (name, data) in [(MANIFEST, &manifest), (STATE, &self.state)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(data.len() as u64);
            header.set_mode(0o600);
            header.set_cksum();
            tar.append_data(&mut header, name, data.as_slice()).map_err(|e| failed(&e))?;
        }
        tar.into_inner().map_err(|e| failed(&e))
    }

    /// From a file; every checksum is compared.
    ///
    /// # Errors
    /// It is no backup, of a newer format, or not what was written.
    pub fn read(file: &[u8]) -> Result<Self, ArchiveError> {
        let other = |e: std::io::Error| ArchiveError::Other(e.to_string());
        let (mut manifest, mut state) = (None, None);
        for entry in tar::Archive::new(file).entries().map_err(other)? {
            let mut entry = entry.map_err(other)?;
            let name = entry.path().map_err(other)?.display().to_string();
            let mut data = Vec::new();
            match name.as_str() {
                MANIFEST if manifest.is_none() => {
                    entry.by_ref().take(MANIFEST_LIMIT).read_to_end(&mut data).map_err(other)?;
                    manifest = Some(data);
                }
                STATE if state.is_none() => {
                    entry.read_to_end(&mut data).map_err(other)?;
                    state = Some(data);
                }
                _ => return Err(ArchiveError::Other(format!("it holds {name}"))),
            }
        }
        let (Some(manifest), Some(state)) = (manifest, state) else {
            return Err(ArchiveError::Other("it has no manifest, or no state".into()));
        };
        let format = serde_json::from_slice::<serde_json::Value>(&manifest).ok().and_then(|m| m.get("format")?.as_u64());
        match format.and_then(|f| u32::try_from(f).ok()) {
            Some(FORMAT) => {}
            Some(newer) => return Err(ArchiveError::Newer(newer)),
            None => return Err(ArchiveError::Other("its manifest names no format".into())),
        }
        let manifest: Manifest = serde_json::from_slice(&manifest).map_err(|e| ArchiveError::Damaged(format!("its manifest: {e}")))?;
        if sum(&state) != manifest.state {
            return Err(ArchiveError::Damaged("the state is not what its checksum says".into()));
        }
        let files = sums(&state)?;
        if let Some(name) = files.keys().chain(manifest.files.keys()).find(|name| files.get(*name) != manifest.files.get(*name)) {
            return Err(ArchiveError::Damaged(format!("{name} is not what its checksum says")));
        }
        Ok(Self { manifest, state })
    }

    /// The packed state.
    pub fn state(&self) -> &[u8] {
        &self.state
    }
}

/// SHA-256 in hexadecimal.
fn sum(data: &[u8]) -> String {
    hex(&Sha256::digest(data))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The checksum of every file of a packed state. Nothing else than files and folders below `swarm` may be in it: it is unpacked as root.
fn sums(state: &[u8]) -> Result<BTreeMap<String, String>, ArchiveError> {
    let damaged = |e: std::io::Error| ArchiveError::Damaged(format!("the packed state: {e}"));
    let mut all = BTreeMap::new();
    let mut left = STATE_LIMIT;
    for entry in tar::Archive::new(GzDecoder::new(state)).entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let path = entry.path().map_err(damaged)?.into_owned();
        let kind = entry.header().entry_type();
        if !is_below(&path) || !(kind.is_file() || kind.is_dir() || kind.is_gnu_sparse()) {
            return Err(ArchiveError::Damaged(format!("the packed state holds {}, which does not belong there", path.display())));
        }
        if kind.is_dir() {
            continue;
        }
        let mut digest = Sha256::new();
        let mut part = vec![0; 64 * 1024];
        loop {
            let read = entry.read(&mut part).map_err(damaged)?;
            if read == 0 {
                break;
            }
            left =
                left.checked_sub(read as u64).ok_or_else(|| ArchiveError::Damaged("the packed state is larger than any swarm's".into()))?;
            digest.update(part.get(..read).unwrap_or_default());
        }
        if all.insert(path.display().to_string(), hex(&digest.finalize())).is_some() {
            return Err(ArchiveError::Damaged(format!("the packed state holds {} twice", path.display())));
        }
    }
    Ok(all)
}

fn is_below(path: &Path) -> bool {
    path.starts_with("swarm") && path.components().all(|c| matches!(c, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn packed(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, kind, data) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            if kind.is_symlink() {
                header.set_link_name(data).unwrap();
            }
            let data = if kind.is_file() { data.as_bytes() } else { b"" };
            header.set_size(data.len() as u64);
            header.set_mode(0o600);
            header.set_cksum();
            tar.append(&header, data).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    fn manifest() -> Manifest {
        Manifest {
            format: 0,
            taken: "2026-11-26T10:00:00Z".into(),
            cluster: "c".into(),
            swarm: "s".into(),
            host: "m1".into(),
            node: "n".into(),
            hostname: "m1".into(),
            address: "10.0.0.1".into(),
            engine: "20.10.24".into(),
            managers: vec!["10.0.0.1:2377".into()],
            unlock_key: None,
            names: Names::default(),
            files: BTreeMap::new(),
            state: String::new(),
        }
    }

    const FILE: tar::EntryType = tar::EntryType::Regular;
    const GOOD: &[(&str, tar::EntryType, &str)] =
        &[("swarm/", tar::EntryType::Directory, ""), ("swarm/docker-state.json", FILE, "{}"), ("swarm/raft/x.wal", FILE, "log")];

    #[test]
    fn what_is_written_is_read_and_every_changed_byte_is_seen() {
        let archive = Archive::new(manifest(), packed(GOOD)).unwrap();
        assert_eq!(archive.manifest.files.len(), 2);
        let file = archive.write().unwrap();
        assert_eq!(Archive::read(&file).unwrap().manifest, archive.manifest);
        assert_eq!(Archive::read(&file).unwrap().state(), archive.state());
        let state = file.len() - 512 * 4;
        for at in (600..file.len().min(state)).step_by(7) {
            let mut changed = file.clone();
            changed[at] ^= 0x41;
            if let Ok(read) = Archive::read(&changed) {
                // Padding, and the text of the manifest that no checksum is about.
                assert_eq!(read.state(), archive.state(), "at {at}");
            }
        }
        assert!(matches!(Archive::read(&file[..file.len() / 2]), Err(ArchiveError::Other(_) | ArchiveError::Damaged(_))));
        assert!(matches!(Archive::read(b"no backup at all"), Err(ArchiveError::Other(_))));
    }

    #[test]
    fn a_state_that_would_write_elsewhere_is_refused() {
        for bad in [
            ("swarm/../../etc/passwd", FILE, "x"),
            ("/etc/passwd", FILE, "x"),
            ("swarm/link", tar::EntryType::Symlink, "/etc"),
            ("swarm/device", tar::EntryType::Char, ""),
            ("other/file", FILE, "x"),
        ] {
            let state = packed(&[GOOD, &[bad]].concat());
            let refused = Archive::new(manifest(), state).unwrap_err();
            assert!(matches!(&refused, ArchiveError::Damaged(why) if why.contains("does not belong")), "{bad:?}: {refused}");
        }
        let twice = packed(&[GOOD, &[GOOD[1]]].concat());
        assert!(matches!(Archive::new(manifest(), twice), Err(ArchiveError::Damaged(_))));
        assert!(matches!(Archive::new(manifest(), packed(&GOOD[..1])), Err(ArchiveError::Damaged(_))));
    }

    #[test]
    fn a_newer_format_is_named() {
        let mut archive = Archive::new(manifest(), packed(GOOD)).unwrap();
        archive.manifest.format = 7;
        assert_eq!(Archive::read(&archive.write().unwrap()).unwrap_err(), ArchiveError::Newer(7));
    }
}
