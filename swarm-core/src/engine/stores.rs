//! What an engine keeps for itself: images, volumes, containers. The swarm knows nothing of it.

use super::{EngineError, not_given};
use crate::secret::Secret;
use async_trait::async_trait;
use futures_util::stream::BoxStream;
use std::collections::BTreeMap;

/// A volume of an engine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VolumeFacts {
    /// Its name.
    pub name: String,
    /// Its driver, for example `local`.
    pub driver: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where it is on the host; empty where the driver does not say.
    pub mountpoint: String,
}

/// An image of an engine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageFacts {
    /// Its id, with `sha256:`.
    pub id: String,
    /// Its names with their tags; none where another image has them now.
    pub tags: Vec<String>,
    /// Its names with their digests.
    pub digests: Vec<String>,
    /// Its size in bytes.
    pub size: u64,
}

/// A container of an engine, whether it runs or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerFacts {
    /// Its id.
    pub id: String,
    /// Its image, by its id.
    pub image_id: String,
    /// The volumes that it has, by their names.
    pub volumes: Vec<String>,
    /// The service of its task; `None` where it is no task's.
    pub service: Option<String>,
}

/// A tar archive as it comes; an error is the last thing that comes.
pub type ArchiveOut = BoxStream<'static, Result<Vec<u8>, EngineError>>;
/// A tar archive as it goes.
pub type ArchiveIn = BoxStream<'static, Vec<u8>>;

fn none<T>(doing: &'static str) -> Result<T, EngineError> {
    not_given(doing, "this engine gives no access to its images, volumes and containers")
}

/// Questions about it. An engine that does not implement one refuses.
#[async_trait]
pub trait StoresRead: Send + Sync {
    /// Its volumes.
    async fn volumes(&self) -> Result<Vec<VolumeFacts>, EngineError> {
        none("listing the volumes")
    }

    /// Its images.
    async fn images(&self) -> Result<Vec<ImageFacts>, EngineError> {
        none("listing the images")
    }

    /// The layers of each of its images, from the lowest on, by the digests of their unpacked contents.
    async fn image_layers(&self) -> Result<Vec<Vec<String>>, EngineError> {
        none("reading the layers of the images")
    }

    /// An image as an archive, as `docker save` writes it.
    async fn save(&self, _image: &str) -> Result<ArchiveOut, EngineError> {
        none("saving the image")
    }

    /// Its containers, also those that do not run.
    async fn containers(&self) -> Result<Vec<ContainerFacts>, EngineError> {
        none("listing the containers")
    }

    /// A file or folder of a container as an archive, whose first entry is its own name.
    async fn copy_out(&self, _container: &str, _path: &str) -> Result<ArchiveOut, EngineError> {
        none("copying out of a container")
    }
}

/// Changes of it. An engine that does not implement one refuses.
#[async_trait]
pub trait Stores: StoresRead {
    /// Removes a volume. One that a container has is refused.
    async fn remove_volume(&self, _name: &str) -> Result<(), EngineError> {
        none("removing the volume")
    }

    /// Removes an image by one of its names, or by its id. One that a container has is refused.
    async fn remove_image(&self, _reference: &str) -> Result<(), EngineError> {
        none("removing the image")
    }

    /// Pulls an image, with a login to its registry where one is needed. It has ended when all of it is there.
    async fn pull(&self, _image: &str, _auth: Option<&Secret>) -> Result<(), EngineError> {
        none("pulling the image")
    }

    /// Loads images from an archive. Layers that the engine has already need not be in it. It has ended when all of it is there.
    async fn load(&self, _archive: ArchiveIn) -> Result<(), EngineError> {
        none("loading the image")
    }

    /// Unpacks an archive into a folder of a container. What is there under the same names is replaced.
    async fn copy_in(&self, _container: &str, _folder: &str, _archive: ArchiveIn) -> Result<(), EngineError> {
        none("copying into a container")
    }
}
