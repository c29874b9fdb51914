//! Image archives as `docker save` writes them: which layers they have, and an archive of what of them an engine lacks.
//!
//! An engine that loads an archive opens the file of a layer only where it does not have the layer already (moby `image/tarexport/load.go`),
//! so a layer that is there can be left out. Which layer is which is said by the digests of their unpacked contents, in order: an engine has
//! a layer where an image of its own begins with the same ones.

mod program;
mod push;

pub use program::program_image;
pub use push::{PushError, Pushed, Source, push, written};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use tar::{Archive, Builder, EntryType, Header};

/// The largest manifest or configuration that is read, in bytes.
const LIMIT: u64 = 8 << 20;
/// The most files that an archive is read with.
const FILES: usize = 100_000;

/// Why an archive is not one of images, or cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It cannot be read, or is no tar archive.
    #[error("the archive cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// There is no manifest in it.
    #[error("the archive has no manifest.json: it is none that `docker save` wrote")]
    NoManifest,
    /// A file that is needed is not in it.
    #[error("the archive names {0} and does not have it")]
    Missing(String),
    /// A file of it is not what it should be.
    #[error("{file} of the archive: {why}")]
    Unreadable {
        /// Which one.
        file: String,
        /// What is wrong with it.
        why: String,
    },
}

fn unreadable(file: &str, why: impl Into<String>) -> ArchiveError {
    ArchiveError::Unreadable { file: file.to_owned(), why: why.into() }
}

/// A layer of an image in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The digest of its unpacked content, with `sha256:`.
    pub digest: String,
    /// Its size in the archive, in bytes.
    pub size: u64,
    file: String,
}

/// An image in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id, with `sha256:`: the digest of its configuration.
    pub id: String,
    /// Its names with their tags.
    pub tags: Vec<String>,
    /// The architecture that it is for, for example `amd64`; empty where it does not say.
    pub architecture: String,
    /// Its layers, from the lowest on.
    pub layers: Vec<Layer>,
    config: String,
}

impl Image {
    /// How many of its layers, from the lowest on, an engine has with these images; each is given by the digests of its layers.
    pub fn shared<'a>(&self, images: impl IntoIterator<Item = &'a [String]>) -> usize {
        let alike = |there: &[String]| self.layers.iter().zip(there).take_while(|(mine, theirs)| mine.digest == **theirs).count();
        images.into_iter().map(alike).max().unwrap_or(0)
    }

    /// The size of its layers from one on, in bytes.
    pub fn size_from(&self, first: usize) -> u64 {
        self.layers.iter().skip(first).map(|l| l.size).sum()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    at: u64,
    size: u64,
}

/// What an archive has. Its files are where they were read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageArchive {
    /// Its images.
    pub images: Vec<Image>,
    files: BTreeMap<String, Place>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    architecture: String,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<String>,
}

/// A path of an archive without what means nothing in it; `None` for one that leads out of it.
fn plain(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

fn read_at(from: &mut (impl Read + Seek), place: &Place, file: &str) -> Result<Vec<u8>, ArchiveError> {
    if place.size > LIMIT {
        return Err(unreadable(file, format!("it is larger than {} MiB", LIMIT >> 20)));
    }
    from.seek(SeekFrom::Start(place.at))?;
    let mut bytes = Vec::new();
    from.take(place.size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl ImageArchive {
    /// Reads what an archive has; its layers are passed over.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(mut from: impl Read + Seek) -> Result<Self, ArchiveError> {
        let (files, links) = index(&mut from)?;
        let find = |name: &str| {
            let mut name = plain(name)?;
            // Layers that are alike stand once; others link to them (moby `image/tarexport/save.go`).
            for _ in 0..8 {
                match links.get(&name) {
                    Some(target) => name.clone_from(target),
                    None => break,
                }
            }
            files.get(&name).map(|place| (name, place.clone()))
        };
        let (_, place) = find("manifest.json").ok_or(ArchiveError::NoManifest)?;
        let manifest = read_at(&mut from, &place, "manifest.json")?;
        let entries: Vec<Entry> = serde_json::from_slice(&manifest).map_err(|e| unreadable("manifest.json", e.to_string()))?;
        let mut images = Vec::new();
        for entry in entries {
            let (file, place) = find(&entry.config).ok_or_else(|| ArchiveError::Missing(entry.config.clone()))?;
            let bytes = read_at(&mut from, &place, &file)?;
            let config: Config = serde_json::from_slice(&bytes).map_err(|e| unreadable(&file, e.to_string()))?;
            let named = entry.layers.unwrap_or_default();
            let digests = config.rootfs.diff_ids;
            if named.len() != digests.len() {
                return Err(unreadable(&file, format!("it has {} layers, and the manifest {}", digests.len(), named.len())));
            }
            let mut layers = Vec::new();
            for (digest, name) in digests.into_iter().zip(named) {
                let (file, place) = find(&name).ok_or_else(|| ArchiveError::Missing(name.clone()))?;
                layers.push(Layer { digest, size: place.size, file });
            }
            let id = Sha256::digest(&bytes).iter().fold("sha256:".to_owned(), |id, b| format!("{id}{b:02x}"));
            let tags = entry.repo_tags.unwrap_or_default();
            images.push(Image { id, tags, architecture: config.architecture, layers, config: file });
        }
        if images.is_empty() {
            return Err(unreadable("manifest.json", "it names no image"));
        }
        Ok(Self { images, files })
    }

    /// Writes an archive of one image with its layers from one on; those below it must be where it is loaded.
    ///
    /// # Errors
    /// From reading the archive that this was read from, and from writing.
    pub fn write(&self, image: &Image, first: usize, mut from: impl Read + Seek, to: impl Write) -> Result<(), ArchiveError> {
        let mut out = Builder::new(to);
        let mut add = |name: &str, size: u64, content: &mut dyn Read| -> Result<(), ArchiveError> {
            let mut header = Header::new_gnu();
            header.set_entry_type(EntryType::Regular);
            header.set_mode(0o644);
            header.set_size(size);
            Ok(out.append_data(&mut header, name, content)?)
        };
        let names: Vec<String> = (0..image.layers.len()).map(|at| format!("layer-{at}.tar")).collect();
        let manifest = serde_json::json!([{ "Config": "config.json", "RepoTags": image.tags, "Layers": names }]).to_string();
        add("manifest.json", manifest.len() as u64, &mut manifest.as_bytes())?;
        let sent = image.layers.iter().zip(&names).skip(first).map(|(layer, name)| (layer.file.as_str(), name.as_str()));
        for (file, name) in std::iter::once((image.config.as_str(), "config.json")).chain(sent) {
            let place = self.files.get(file).ok_or_else(|| ArchiveError::Missing(file.to_owned()))?;
            from.seek(SeekFrom::Start(place.at))?;
            add(name, place.size, &mut (&mut from).take(place.size))?;
        }
        out.into_inner()?.flush()?;
        Ok(())
    }
}

type Index = (BTreeMap<String, Place>, BTreeMap<String, String>);

/// Where each file of an archive is, and what its links lead to.
fn index(from: &mut (impl Read + Seek)) -> Result<Index, ArchiveError> {
    let end = from.seek(SeekFrom::End(0))?;
    from.rewind()?;
    let (mut files, mut links) = (BTreeMap::new(), BTreeMap::new());
    let mut archive = Archive::new(from);
    for (count, entry) in archive.entries_with_seek()?.enumerate() {
        let entry = entry?;
        let Some(name) = plain(&String::from_utf8_lossy(&entry.path_bytes())) else { continue };
        if count > FILES {
            return Err(unreadable(&name, format!("it is one of more than {FILES} files")));
        }
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {
                let place = Place { at: entry.raw_file_position(), size: entry.size() };
                if place.at.saturating_add(place.size) > end {
                    return Err(unreadable(&name, "the archive ends within it"));
                }
                files.insert(name, place);
            }
            kind @ (EntryType::Symlink | EntryType::Link) => {
                let Some(target) = entry.link_name_bytes() else { continue };
                let target = String::from_utf8_lossy(&target).into_owned();
                // A symbolic link is seen from the folder that it is in.
                let folder = if kind == EntryType::Symlink { name.rsplit_once('/').map_or("", |(folder, _)| folder) } else { "" };
                if let Some(target) = plain(&format!("{folder}/{target}")) {
                    links.insert(name, target);
                }
            }
            _ => {}
        }
    }
    Ok((files, links))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::io::Cursor;

    enum Item<'a> {
        File(&'a str, Vec<u8>),
        Link(&'a str, &'a str),
    }

    fn archive(items: &[Item<'_>]) -> Vec<u8> {
        let mut out = Builder::new(Vec::new());
        for item in items {
            let mut header = Header::new_gnu();
            header.set_mode(0o644);
            match item {
                Item::File(name, content) => {
                    header.set_size(content.len() as u64);
                    out.append_data(&mut header, name, content.as_slice()).unwrap();
                }
                Item::Link(name, target) => {
                    header.set_entry_type(EntryType::Symlink);
                    header.set_size(0);
                    out.append_link(&mut header, name, target).unwrap();
                }
            }
        }
        out.into_inner().unwrap()
    }

    const CONFIG: &[u8] = br#"{"architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:a","sha256:b","sha256:c"]}}"#;

    pub(crate) fn saved() -> Vec<u8> {
        let manifest = br#"[{"Config":"./x.json","RepoTags":["app:1"],"Layers":["a/layer.tar","b/layer.tar","c/layer.tar"]}]"#;
        archive(&[
            Item::File("a/layer.tar", vec![1; 1500]),
            Item::File("b/layer.tar", vec![2; 10]),
            Item::Link("c/layer.tar", "../a/layer.tar"),
            Item::File("x.json", CONFIG.to_vec()),
            Item::File("manifest.json", manifest.to_vec()),
        ])
    }

    /// The names of the files of an archive.
    fn names(archive: &[u8]) -> BTreeSet<String> {
        index(&mut Cursor::new(archive)).unwrap().0.into_keys().collect()
    }

    fn digests(of: &[&str]) -> Vec<String> {
        of.iter().map(|d| format!("sha256:{d}")).collect()
    }

    #[test]
    fn an_archive_says_its_layers_and_links_are_followed() {
        let read = ImageArchive::read(Cursor::new(saved())).unwrap();
        let image = &read.images[0];
        assert_eq!((image.tags.as_slice(), image.architecture.as_str()), (["app:1".to_owned()].as_slice(), "amd64"));
        assert_eq!(
            image.layers.iter().map(|l| (l.digest.as_str(), l.size)).collect::<Vec<_>>(),
            [("sha256:a", 1500), ("sha256:b", 10), ("sha256:c", 1500)]
        );
        let (all, other, none) = (digests(&["a", "b", "c", "d"]), digests(&["a", "x", "c"]), digests(&["b"]));
        let shared = |images: &[&Vec<String>]| image.shared(images.iter().map(|i| i.as_slice()));
        assert_eq!((shared(&[&all]), shared(&[&other, &none]), shared(&[&none]), shared(&[])), (3, 1, 0, 0));
        assert_eq!((image.size_from(1), image.size_from(3)), (1510, 0));
    }

    #[test]
    fn an_archive_of_what_is_missing_is_read_again() {
        let whole = saved();
        let read = ImageArchive::read(Cursor::new(&whole)).unwrap();
        for first in 0..=3 {
            let mut out = Vec::new();
            read.write(&read.images[0], first, Cursor::new(&whole), &mut out).unwrap();
            let layers: Vec<String> = (first..3).map(|at| format!("layer-{at}.tar")).collect();
            assert_eq!(names(&out), layers.into_iter().chain(["config.json".into(), "manifest.json".into()]).collect());
            if first == 0 {
                let again = ImageArchive::read(Cursor::new(&out)).unwrap();
                assert_eq!((&again.images[0].id, &again.images[0].tags), (&read.images[0].id, &read.images[0].tags));
                assert_eq!(read_at(&mut Cursor::new(&out), &again.files["layer-2.tar"], "").unwrap(), vec![1; 1500]);
            }
        }
    }

    #[test]
    fn what_is_no_such_archive_is_refused() {
        let refused = |items: &[Item<'_>]| ImageArchive::read(Cursor::new(archive(items))).unwrap_err().to_string();
        let manifest = |text: &str| Item::File("manifest.json", text.as_bytes().to_vec());
        let config = || Item::File("x.json", CONFIG.to_vec());
        assert!(refused(&[]).contains("no manifest.json"));
        assert!(refused(&[manifest("{")]).contains("manifest.json of the archive"));
        assert!(refused(&[manifest("[]")]).contains("names no image"));
        assert!(refused(&[manifest(r#"[{"Config":"../../etc/passwd","Layers":[]}]"#)]).contains("does not have it"));
        assert!(refused(&[manifest(r#"[{"Config":"x.json","Layers":["a"]}]"#), config()]).contains("it has 3 layers"));
        assert!(refused(&[manifest(r#"[{"Config":"x.json","Layers":["a","b","c"]}]"#), config()]).contains("names a"));
        // Links that lead to each other end.
        let circle = [manifest(r#"[{"Config":"p","Layers":[]}]"#), Item::Link("p", "q"), Item::Link("q", "p")];
        assert!(refused(&circle).contains("names p"));
        let cut = saved();
        for at in [0, 100, 512, 1200, cut.len() / 2] {
            assert!(ImageArchive::read(Cursor::new(&cut[..at])).is_err(), "{at}");
        }
        assert!(ImageArchive::read(Cursor::new(b"not a tar archive at all".repeat(100))).is_err());
    }
}
