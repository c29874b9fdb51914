//! An image that holds one static program and nothing else.

use serde_json::json;
use sha2::{Digest, Sha256};
use std::io;
use tar::{Builder, EntryType, Header};

fn file(archive: &mut Builder<Vec<u8>>, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, name, content)
}

/// An archive, as engines load it, of an image with one static program at `/NAME`. `architecture` is as Go names it: `amd64`, `arm64`.
///
/// # Errors
/// The program's name is not one of a file.
pub fn program_image(tag: &str, architecture: &str, name: &str, program: &[u8]) -> io::Result<Vec<u8>> {
    let mut layer = Builder::new(Vec::new());
    file(&mut layer, name, 0o755, program)?;
    let layer = layer.into_inner()?;
    let digest: String = Sha256::digest(&layer).iter().map(|byte| format!("{byte:02x}")).collect();
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
    });
    let manifest = json!([{ "Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"] }]);
    let mut image = Builder::new(Vec::new());
    file(&mut image, "config.json", 0o644, config.to_string().as_bytes())?;
    file(&mut image, "layer.tar", 0o644, &layer)?;
    file(&mut image, "manifest.json", 0o644, manifest.to_string().as_bytes())?;
    image.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageArchive;

    #[test]
    fn it_is_an_archive_of_one_image() {
        let archive = program_image("localhost:1/x:1", "amd64", "probe", b"a program").unwrap();
        let read = ImageArchive::read(&mut io::Cursor::new(archive)).unwrap();
        let image = read.images.first().unwrap();
        assert_eq!((image.tags.as_slice(), image.layers.len()), (&["localhost:1/x:1".to_owned()][..], 1));
    }
}
