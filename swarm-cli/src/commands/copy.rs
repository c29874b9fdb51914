//! `swarm service cp`: files into a task and out of one, on whichever node it runs.

use super::inside::{failed, task};
use super::work::Session;
use crate::args_work::CopyArgs;
use crate::failure::Failure;
use futures_util::StreamExt;
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use swarm_core::engine::{ArchiveIn, ArchiveOut, Engine, EngineError, Reason};
use tokio::sync::mpsc::{Receiver, channel};

/// How many pieces of an archive wait between the two sides.
const PIECES: usize = 16;

/// One side of a copy.
enum Side<'a> {
    /// A path on this machine; - is standard input or output.
    Here(&'a str),
    /// A path in a task.
    There(&'a str, &'a str),
}

/// As with `docker cp`: what stands before a colon is a task, unless there is a slash in it.
fn side(text: &str) -> Side<'_> {
    match text.split_once(':').filter(|(task, _)| !task.is_empty() && !task.contains('/')) {
        Some((task, path)) => Side::There(task, path),
        None => Side::Here(text),
    }
}

pub(super) async fn copy(args: &CopyArgs) -> Result<u8, Failure> {
    let (name, path, here, goes_in) = match (side(&args.source), side(&args.target)) {
        (Side::Here(here), Side::There(name, path)) => (name, path, here, true),
        (Side::There(name, path), Side::Here(here)) => (name, path, here, false),
        (Side::Here(_), Side::Here(_)) => {
            return Err(Failure::Usage("no path is in a task; write TASK:PATH, for example web.1:/etc/app.conf".into()));
        }
        (Side::There(..), Side::There(..)) => {
            return Err(Failure::Usage("files go between this machine and one task; copy in two steps".into()));
        }
    };
    if path.is_empty() {
        return Err(Failure::Usage("name a path in the task: TASK:PATH".into()));
    }
    if goes_in && here != "-" {
        // Said before any host is asked.
        std::fs::symlink_metadata(here).map_err(|e| Failure::Io(here.into(), e.to_string()))?;
    }
    let session = Session::open(&args.common).await?;
    let (host, container, engine) = task(&session, name).await?;
    let said = |error: EngineError| Failure::Other(format!("{}: {error}", host.name));
    if goes_in {
        put(engine.as_ref(), &container, here, path).await.map_err(|e| e.map_or_else(Failure::Other, said))?;
    } else {
        let archive = engine.copy_out(&container, path).await.map_err(said)?;
        if here == "-" { print(archive).await.map_err(said)? } else { unpack(archive, Path::new(here)).await? }
    }
    Ok(0)
}

/// What went wrong here, or on the engine.
enum Wrong {
    Here(String),
    There(EngineError),
}

impl Wrong {
    fn map_or_else(self, here: impl FnOnce(String) -> Failure, there: impl FnOnce(EngineError) -> Failure) -> Failure {
        match self {
            Self::Here(message) => here(message),
            Self::There(error) => there(error),
        }
    }
}

async fn put(engine: &dyn Engine, container: &str, here: &str, path: &str) -> Result<(), Wrong> {
    if here == "-" {
        let pieces = reading(std::io::stdin());
        return engine.copy_in(container, path, pieces).await.map_err(Wrong::There);
    }
    let local = PathBuf::from(here);
    let full = local.canonicalize().map_err(|e| Wrong::Here(format!("{here}: {e}")))?;
    let own = local.file_name().or_else(|| full.file_name()).map(|n| n.to_string_lossy().into_owned());
    let own = own.ok_or_else(|| Wrong::Here(format!("{here} has no name")))?;
    // Into the folder, if it is one; else under that name into the folder above it.
    let first = send(engine, container, &local, &own, path).await;
    let is_no_folder = |error: &EngineError| error.reason == Reason::NotFound || error.message.contains("not a directory");
    match first {
        Err(Wrong::There(error)) if is_no_folder(&error) && !path.ends_with('/') => {
            let (folder, name) = path.rsplit_once('/').unwrap_or((".", path));
            let folder = if folder.is_empty() { "/" } else { folder };
            send(engine, container, &local, name, folder).await
        }
        other => other,
    }
}

async fn send(engine: &dyn Engine, container: &str, local: &Path, name: &str, folder: &str) -> Result<(), Wrong> {
    let (local, name) = (local.to_owned(), name.to_owned());
    let (pieces, packing) = swarm_images::written(move |to| pack(&local, &name, to));
    let sent = engine.copy_in(container, folder, pieces).await;
    let packed = packing.await.unwrap_or_else(|e| Err(std::io::Error::other(e.to_string())));
    match (sent, packed) {
        // An engine that refuses reads no more: that the packing broke off then is no cause of its own.
        (Err(error), _) => Err(Wrong::There(error)),
        (Ok(()), Err(error)) => Err(Wrong::Here(error.to_string())),
        (Ok(()), Ok(())) => Ok(()),
    }
}

/// What can be read, by a thread of its own. Where it ends is not known before.
fn reading(mut from: impl Read + Send + 'static) -> ArchiveIn {
    swarm_images::written(move |to| std::io::copy(&mut from, to).map(drop)).0
}

fn pack(local: &Path, name: &str, out: &mut dyn Write) -> std::io::Result<()> {
    let mut builder = tar::Builder::new(out);
    builder.follow_symlinks(false);
    if std::fs::metadata(local)?.is_dir() {
        builder.append_dir_all(name, local)?;
    } else {
        // A link that is named itself stands for its file.
        let mut file = std::fs::File::open(local)?;
        builder.append_file(name, &mut file)?;
    }
    builder.finish()
}

async fn print(mut archive: ArchiveOut) -> Result<(), EngineError> {
    while let Some(piece) = archive.next().await {
        if std::io::stdout().write_all(&piece?).is_err() {
            // Who read it has had enough.
            return Ok(());
        }
    }
    Ok(())
}

/// What is read comes from the other side, in pieces.
struct Coming {
    receiver: Receiver<Result<Vec<u8>, String>>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Coming {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        while self.at >= self.piece.len() {
            match self.receiver.blocking_recv() {
                None => return Ok(0),
                Some(Err(why)) => return Err(std::io::Error::other(why)),
                Some(Ok(piece)) => (self.piece, self.at) = (piece, 0),
            }
        }
        let rest = self.piece.get(self.at..).unwrap_or_default();
        let count = rest.len().min(into.len());
        if let (Some(into), Some(rest)) = (into.get_mut(..count), rest.get(..count)) {
            into.copy_from_slice(rest);
        }
        self.at += count;
        Ok(count)
    }
}

/// An error with its causes: that of an archive says which file, and its cause says why.
fn whole(error: &std::io::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// A folder that goes away with us.
struct Aside(PathBuf);

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Unpacks beside the target, and puts it in its place when all of it is there. Nothing in an archive reaches out of its folder.
async fn unpack(mut archive: ArchiveOut, target: &Path) -> Result<(), Failure> {
    let io = |at: &Path, error: std::io::Error| Failure::Io(at.to_owned(), error.to_string());
    let is_folder = target.is_dir();
    if !is_folder && target.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(Failure::Io(target.to_owned(), "there is no such folder".into()));
    }
    let folder = if is_folder { target } else { target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")) };
    let aside = Aside(folder.join(format!(".swarm-cp-{}", std::process::id())));
    // What comes may be a secret until it has the mode that it came with.
    std::fs::DirBuilder::new().mode(0o700).create(&aside.0).map_err(|e| io(folder, e))?;
    let (sender, receiver) = channel::<Result<Vec<u8>, String>>(PIECES);
    let into = aside.0.clone();
    let unpacking = tokio::task::spawn_blocking(move || {
        let mut archive = tar::Archive::new(Coming { receiver, piece: Vec::new(), at: 0 });
        archive.unpack(into)
    });
    while let Some(piece) = archive.next().await {
        if sender.send(piece.map_err(|e| e.to_string())).await.is_err() {
            break;
        }
    }
    drop(sender);
    unpacking.await.map_err(failed)?.map_err(|e| Failure::Io(target.to_owned(), whole(&e)))?;
    let mut entries = std::fs::read_dir(&aside.0).map_err(|e| io(&aside.0, e))?;
    let entry = entries.next().ok_or_else(|| failed("the engine sent an empty archive"))?.map_err(|e| io(&aside.0, e))?;
    let place = if is_folder { target.join(entry.file_name()) } else { target.to_owned() };
    if place.is_dir() && !place.is_symlink() {
        return Err(Failure::Io(place, "it is there already; remove it first, or name another place".into()));
    }
    std::fs::rename(entry.path(), &place).map_err(|e| io(&place, e))
}
