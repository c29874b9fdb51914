//! `swarm image push`: an image from this machine to the nodes, without a registry.

use super::each::{exit_code, on_nodes_with_tasks, size};
use super::work::Session;
use crate::args_common::{Common, Format, LimitArgs};
use crate::failure::Failure;
use crate::output;
use futures_util::StreamExt;
use serde_json::json;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use swarm_core::engine::Engine;
use swarm_core::id::HostName;
use swarm_images::{Image, ImageArchive, Pushed, Source, push};

/// Where the engine of this machine listens, if nothing else is said.
const SOCKET: &str = "/var/run/docker.sock";

/// An archive on this machine.
struct Archive {
    /// Where it is.
    path: PathBuf,
    /// Goes away with us, where it was made by us.
    _ours: Option<tempfile::TempPath>,
    what: ImageArchive,
}

pub(super) async fn run(
    common: &Common,
    limit: &LimitArgs,
    input: Option<&Path>,
    name: Option<&str>,
    format: Format,
) -> Result<u8, Failure> {
    let session = Session::open(common).await?;
    let (archive, saved) = match (input, name) {
        (Some(path), _) => (given(path)?, false),
        (None, name) => (from_engine(name.unwrap_or_default()).await?, true),
    };
    // An engine saves what was asked for, whatever its names are.
    let image = chosen(&archive.what, name.filter(|_| !saved))?;
    let work = async |engine: Arc<dyn Engine>| {
        let open = || File::open(&archive.path).map(|file| Box::new(file) as Box<dyn Source>);
        push(engine.as_ref(), &archive.what, image, open).await.map_err(|e| e.to_string())
    };
    let (done, failed) = on_nodes_with_tasks(&session, limit, format, work, |pushed| line(image, *pushed)).await?;
    if format != Format::Text {
        let row = |(host, p): &(HostName, Pushed)| json!({ "host": host, "layers": p.layers, "bytes": p.bytes, "was_there": p.was_there });
        let rows: Vec<_> = done.iter().map(row).collect();
        output::json("image push", &json!({ "image": named(image), "id": image.id, "hosts": rows, "failed": failed.len() }));
    }
    Ok(exit_code(&failed, done.is_empty()))
}

fn named(image: &Image) -> &str {
    image.tags.first().unwrap_or(&image.id)
}

fn line(image: &Image, pushed: Pushed) -> String {
    let (name, all) = (named(image), image.layers.len());
    match pushed {
        Pushed { was_there: true, .. } => format!("{name} was there"),
        Pushed { layers: 0, .. } => format!("{name} is there; no layer was sent"),
        Pushed { layers, bytes, .. } => format!("{name} is there; {layers} of {all} layers sent, {}", size(bytes)),
    }
}

/// A file, or standard input put aside.
fn given(path: &Path) -> Result<Archive, Failure> {
    if path.as_os_str() == "-" {
        let mut file = temporary()?;
        std::io::copy(&mut std::io::stdin().lock(), &mut file).map_err(|e| Failure::Io(path.to_owned(), e.to_string()))?;
        return read_aside(file);
    }
    let unusable = |why: String| Failure::Io(path.to_owned(), why);
    let file = File::open(path).map_err(|e| unusable(e.to_string()))?;
    let what = ImageArchive::read(file).map_err(|e| unusable(e.to_string()))?;
    Ok(Archive { path: path.to_owned(), _ours: None, what })
}

/// An archive in a file of ours: it is read more than once.
fn read_aside(mut file: tempfile::NamedTempFile) -> Result<Archive, Failure> {
    file.flush().map_err(|e| Failure::Io(file.path().to_owned(), e.to_string()))?;
    let what = ImageArchive::read(file.as_file_mut()).map_err(|e| Failure::Other(e.to_string()))?;
    let path = file.into_temp_path();
    Ok(Archive { path: path.to_path_buf(), _ours: Some(path), what })
}

fn temporary() -> Result<tempfile::NamedTempFile, Failure> {
    tempfile::NamedTempFile::new().map_err(|e| Failure::Io(std::env::temp_dir(), e.to_string()))
}

/// From the engine of this machine.
async fn from_engine(name: &str) -> Result<Archive, Failure> {
    let socket = match std::env::var("DOCKER_HOST") {
        Ok(host) if !host.is_empty() => host.strip_prefix("unix://").map(str::to_owned).ok_or_else(|| {
            Failure::Usage(format!("the engine here is asked through a unix socket, and DOCKER_HOST is {host}; give an archive by --input"))
        })?,
        _ => SOCKET.to_owned(),
    };
    let here = |why: String| Failure::Other(format!("the engine of this machine ({socket}): {why}; an archive can be given by --input"));
    let engine = swarm_fleet::engine_here(&socket).await.map_err(|e| here(e.message))?;
    let mut pieces = engine.save(name).await.map_err(|e| here(format!("{name}: {e}")))?;
    let mut file = temporary()?;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|e| here(e.to_string()))?;
        file.write_all(&piece).map_err(|e| Failure::Io(file.path().to_owned(), e.to_string()))?;
    }
    read_aside(file)
}

/// The image that is meant.
fn chosen<'a>(archive: &'a ImageArchive, name: Option<&str>) -> Result<&'a Image, Failure> {
    let has = || archive.images.iter().map(named).collect::<Vec<_>>().join(", ");
    match (name, archive.images.as_slice()) {
        (None, [image]) => Ok(image),
        (None, _) => Err(Failure::Usage(format!("the archive has several images ({}); name one", has()))),
        (Some(name), images) => {
            let latest = format!("{name}:latest");
            let found = images.iter().find(|i| i.tags.iter().any(|tag| tag == name || *tag == latest) || i.id == name);
            found.ok_or_else(|| Failure::Usage(format!("the archive has no image {name}; it has {}", has())))
        }
    }
}
