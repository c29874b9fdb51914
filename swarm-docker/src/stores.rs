//! What an engine keeps for itself: images, volumes, containers.

use crate::client::Doing;
use crate::engine::DockerEngine;
use crate::list::Real;
use crate::pieces::{line, of_body, pieces};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use swarm_core::engine::{ArchiveIn, ArchiveOut, ContainerFacts, EngineError, ImageFacts, Reason, Stores, StoresRead, VolumeFacts};
use swarm_core::secret::{Secret, clean};

const PULLING: Doing = Doing::read("pulling the image");
const LOADING: Doing = Doing::read("loading the image");
/// How many images are asked for their layers at the same time.
const AT_ONCE: usize = 8;
/// The longest line of what an engine says as it pulls.
const LINE: usize = 1 << 20;

fn part(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Volume {
    name: String,
    #[serde(default)]
    driver: String,
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    mountpoint: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Volumes {
    volumes: Option<Vec<Volume>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    id: String,
    repo_tags: Option<Vec<String>>,
    repo_digests: Option<Vec<String>>,
    #[serde(default)]
    size: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mount {
    #[serde(rename = "Type", default)]
    kind: String,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    id: String,
    #[serde(rename = "ImageID", default)]
    image: String,
    mounts: Option<Vec<Mount>>,
    labels: Option<BTreeMap<String, String>>,
}

#[async_trait]
impl StoresRead for DockerEngine {
    async fn volumes(&self) -> Result<Vec<VolumeFacts>, EngineError> {
        let doing = Doing::read("listing the volumes");
        let answer = self.read(doing, "/volumes").await?;
        let found: Volumes =
            serde_json::from_value(answer).map_err(|e| doing.unusable(&format!("the engine's answer is no such list: {e}")))?;
        let facts =
            |v: Volume| VolumeFacts { name: v.name, driver: v.driver, labels: v.labels.unwrap_or_default(), mountpoint: v.mountpoint };
        Ok(found.volumes.unwrap_or_default().into_iter().map(facts).collect())
    }

    async fn images(&self) -> Result<Vec<ImageFacts>, EngineError> {
        let facts = |image: Image| {
            let named =
                |names: Option<Vec<String>>| names.unwrap_or_default().into_iter().filter(|name| !name.contains("<none>")).collect();
            let (tags, digests) = (named(image.repo_tags), named(image.repo_digests));
            Ok(ImageFacts { id: image.id, tags, digests, size: u64::try_from(image.size).unwrap_or(0) })
        };
        self.client().list(Doing::read("listing the images"), "/images/json", Real { least: 128, typed: true }, facts).await
    }

    async fn image_layers(&self) -> Result<Vec<Vec<String>>, EngineError> {
        let doing = Doing::read("reading the layers of the images");
        let ids: Vec<String> = self.images().await?.into_iter().map(|image| image.id).collect();
        let layers = |id: String| async move {
            match self.read(doing, &format!("/images/{}/json", part(&id))).await {
                Ok(image) => {
                    let layers = image.pointer("/RootFS/Layers").and_then(Value::as_array);
                    Ok(layers.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect())
                }
                // It went meanwhile.
                Err(error) if error.reason == Reason::NotFound => Ok(Vec::new()),
                Err(error) => Err(error),
            }
        };
        stream::iter(ids.into_iter().map(layers)).buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn save(&self, image: &str) -> Result<ArchiveOut, EngineError> {
        let doing = Doing::read("saving the image");
        let (_, body) = self.client().stream(doing, &format!("/images/get?names={}", part(image))).await?;
        Ok(of_body(body).map(move |piece| piece.map(|bytes| bytes.to_vec()).map_err(|error| doing.lost(&error))).boxed())
    }

    async fn containers(&self) -> Result<Vec<ContainerFacts>, EngineError> {
        let facts = |container: Container| {
            let mounts = container.mounts.unwrap_or_default().into_iter().filter(|m| m.kind == "volume");
            let volumes = mounts.map(|m| m.name).collect();
            let service = container.labels.and_then(|mut labels| labels.remove("com.docker.swarm.service.name"));
            Ok(ContainerFacts { id: container.id, image_id: container.image, volumes, service })
        };
        self.client()
            .list(Doing::read("listing the containers"), "/containers/json?all=true", Real { least: 128, typed: true }, facts)
            .await
    }

    async fn copy_out(&self, container: &str, path: &str) -> Result<ArchiveOut, EngineError> {
        let doing = Doing::read("copying out of a container");
        let (_, body) = self.client().stream(doing, &format!("/containers/{}/archive?path={}", part(container), part(path))).await?;
        Ok(of_body(body).map(move |piece| piece.map(|bytes| bytes.to_vec()).map_err(|error| doing.lost(&error))).boxed())
    }
}

#[async_trait]
impl Stores for DockerEngine {
    async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        let doing = self.change("removing the volume");
        self.client().call(doing, Method::DELETE, &format!("/volumes/{}", part(name)), None).await.map(drop)
    }

    async fn remove_image(&self, reference: &str) -> Result<(), EngineError> {
        // Slashes are part of an image's name, and of the path.
        let name: Vec<String> = reference.split('/').map(part).collect();
        let doing = self.change("removing the image");
        self.client().call(doing, Method::DELETE, &format!("/images/{}", name.join("/")), None).await.map(drop)
    }

    async fn copy_in(&self, container: &str, folder: &str, archive: ArchiveIn) -> Result<(), EngineError> {
        let path = format!("/containers/{}/archive?path={}", part(container), part(folder));
        let doing = self.change("copying into a container");
        let body = self.client().put_stream(doing, Method::PUT, &path, archive).await?;
        of_body(body).try_for_each(|_| async { Ok(()) }).await.map_err(|error| doing.lost(&error))
    }

    async fn load(&self, archive: ArchiveIn) -> Result<(), EngineError> {
        let body = self.client().put_stream(LOADING, Method::POST, "/images/load?quiet=1", archive).await?;
        let mut lines = pieces(of_body(body), LOADING, said);
        while let Some(line) = lines.next().await {
            if let Some(error) = line?.get("error").and_then(Value::as_str) {
                return Err(LOADING.answered(500, &clean(error, 500)));
            }
        }
        Ok(())
    }

    async fn pull(&self, image: &str, auth: Option<&Secret>) -> Result<(), EngineError> {
        let body = self.client().post_stream(PULLING, &format!("/images/create?fromImage={}", part(image)), auth).await?;
        let mut lines = pieces(of_body(body), PULLING, said);
        while let Some(line) = lines.next().await {
            // What goes wrong after the beginning is a line like the others (moby `pkg/jsonmessage`).
            if let Some(error) = line?.get("error").and_then(Value::as_str) {
                return Err(PULLING.answered(500, &clean(error, 500)));
            }
        }
        Ok(())
    }
}

fn said(buffer: &mut BytesMut, ended: bool) -> Option<Result<Value, EngineError>> {
    let line = line(buffer, ended, LINE, PULLING)?;
    let read = |line: Bytes| {
        serde_json::from_slice(&line).map_err(|e| PULLING.unusable(&format!("a line of the engine's answer is not JSON: {e}")))
    };
    Some(line.and_then(read))
}
