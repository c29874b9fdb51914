//! To bring an image to an engine: what it lacks is sent, and then it is looked for.

use crate::{ArchiveError, Image, ImageArchive};
use futures_util::{StreamExt, stream};
use std::io::{Read, Seek, Write};
use swarm_core::engine::{ArchiveIn, EngineError, Stores};
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::{JoinHandle, spawn_blocking};

/// How many pieces of an archive wait between the two sides.
const PIECES: usize = 16;
/// The size of a piece, in bytes.
const PIECE: usize = 64 << 10;

/// What an archive is read from.
pub trait Source: Read + Seek + Send {}

impl<T: Read + Seek + Send> Source for T {}

/// What was done for one engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// How many layers were sent.
    pub layers: usize,
    /// The size of these layers, in bytes.
    pub bytes: u64,
    /// Whether it was there already, under all its names.
    pub was_there: bool,
}

/// Why an image was not brought to an engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The engine's own.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The archive cannot be read again.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The engine took all of it and does not have the image.
    #[error("the engine took the archive and has no image {0}; look at its log")]
    NotThere(String),
}

/// Brings an image of an archive to an engine. `open` opens the archive, perhaps more than once: where an engine has layers of the image, only
/// those that it lacks are sent, and all of them where it did not take that.
///
/// # Errors
/// Why it is not there now.
pub async fn push(
    engine: &(impl Stores + ?Sized),
    archive: &ImageArchive,
    image: &Image,
    open: impl Fn() -> std::io::Result<Box<dyn Source>>,
) -> Result<Pushed, PushError> {
    if is_there(engine, image).await? {
        return Ok(Pushed { layers: 0, bytes: 0, was_there: true });
    }
    let there = engine.image_layers().await?;
    let shared = image.shared(there.iter().map(Vec::as_slice));
    let mut first = shared;
    loop {
        let from = open().map_err(ArchiveError::from)?;
        let (archive, image) = (archive.clone(), image.clone());
        let wanted = image.clone();
        let (pieces, writing) = written(move |to| archive.write(&image, first, from, to));
        let loaded = engine.load(pieces).await;
        let written = writing.await.map_err(|e| ArchiveError::Io(std::io::Error::other(e.to_string())))?;
        match (loaded, written) {
            (Ok(()), Ok(())) if is_there(engine, &wanted).await? => {
                let layers = wanted.layers.len() - first;
                return Ok(Pushed { layers, bytes: wanted.size_from(first), was_there: false });
            }
            // An engine that keeps its images in another way needs all of them; and a layer may have gone meanwhile.
            _ if first > 0 => first = 0,
            // An engine that refuses reads no more: that the writing broke off then is no cause of its own.
            (Err(error), _) => return Err(error.into()),
            (Ok(()), Err(error)) => return Err(error.into()),
            (Ok(()), Ok(())) => return Err(PushError::NotThere(wanted.tags.first().unwrap_or(&wanted.id).clone())),
        }
    }
}

/// Whether an engine has an image under all its names.
async fn is_there(engine: &(impl Stores + ?Sized), image: &Image) -> Result<bool, EngineError> {
    let images = engine.images().await?;
    let found = images.iter().find(|there| there.id == image.id);
    Ok(found.is_some_and(|there| image.tags.iter().all(|tag| there.tags.contains(tag))))
}

/// An archive that is written by a thread of its own while it is sent.
pub fn written<E: From<std::io::Error> + Send + 'static>(
    write: impl FnOnce(&mut dyn Write) -> Result<(), E> + Send + 'static,
) -> (ArchiveIn, JoinHandle<Result<(), E>>) {
    let (sender, receiver) = channel(PIECES);
    let writing = spawn_blocking(move || {
        let mut pieces = Pieces { sender, last: Vec::new() };
        write(&mut pieces)?;
        Ok(pieces.flush()?)
    });
    let pieces = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    (pieces.boxed(), writing)
}

/// Hands what is written on, in pieces.
struct Pieces {
    sender: Sender<Vec<u8>>,
    last: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.last.extend_from_slice(bytes);
        if self.last.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let piece = std::mem::take(&mut self.last);
        if piece.is_empty() {
            return Ok(());
        }
        self.sender.blocking_send(piece).map_err(|_| std::io::Error::other("the engine reads no more"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::saved;
    use async_trait::async_trait;
    use std::io::Cursor;
    use std::sync::Mutex;
    use swarm_core::engine::{ErrorClass, ImageFacts, Reason, StoresRead};

    /// An engine that has the lowest layer; each load, by how many layers it had.
    #[derive(Default)]
    struct Fake {
        takes_parts: bool,
        forgets: bool,
        loads: Mutex<Vec<usize>>,
        images: Mutex<Vec<ImageFacts>>,
    }

    #[async_trait]
    impl StoresRead for Fake {
        async fn images(&self) -> Result<Vec<ImageFacts>, EngineError> {
            Ok(self.images.lock().unwrap().clone())
        }

        async fn image_layers(&self) -> Result<Vec<Vec<String>>, EngineError> {
            Ok(vec![vec!["sha256:a".into()]])
        }
    }

    #[async_trait]
    impl Stores for Fake {
        async fn load(&self, archive: ArchiveIn) -> Result<(), EngineError> {
            let bytes = archive.concat().await;
            let mut archive = tar::Archive::new(bytes.as_slice());
            let entries = archive.entries().unwrap();
            let layers = entries.filter(|e| e.as_ref().unwrap().path().unwrap().to_str().unwrap().starts_with("layer-")).count();
            self.loads.lock().unwrap().push(layers);
            if layers < 3 && !self.takes_parts {
                let message = "content is missing".to_owned();
                return Err(EngineError { doing: "loading the image", class: ErrorClass::Refused, reason: Reason::Other, message });
            }
            if !self.forgets {
                let image = ImageArchive::read(Cursor::new(saved())).unwrap().images.remove(0);
                let facts = ImageFacts { id: image.id, tags: image.tags, digests: Vec::new(), size: 1 };
                self.images.lock().unwrap().push(facts);
            }
            Ok(())
        }
    }

    async fn pushed(engine: &Fake) -> Result<Pushed, PushError> {
        let archive = ImageArchive::read(Cursor::new(saved())).unwrap();
        push(engine, &archive, &archive.images[0], || Ok(Box::new(Cursor::new(saved())))).await
    }

    #[tokio::test]
    async fn what_an_engine_does_not_take_in_part_is_sent_whole() {
        let engine = Fake { takes_parts: true, ..Fake::default() };
        assert_eq!(pushed(&engine).await.unwrap(), Pushed { layers: 2, bytes: 1510, was_there: false });
        assert_eq!(pushed(&engine).await.unwrap(), Pushed { layers: 0, bytes: 0, was_there: true });
        assert_eq!(*engine.loads.lock().unwrap(), [2]);

        let engine = Fake::default();
        assert_eq!(pushed(&engine).await.unwrap(), Pushed { layers: 3, bytes: 3010, was_there: false });
        assert_eq!(*engine.loads.lock().unwrap(), [2, 3]);

        // One that takes all of it and does not have it then is no success.
        let engine = Fake { takes_parts: true, forgets: true, ..Fake::default() };
        assert!(matches!(pushed(&engine).await, Err(PushError::NotThere(name)) if name == "app:1"));
        assert_eq!(*engine.loads.lock().unwrap(), [2, 3]);
    }
}
