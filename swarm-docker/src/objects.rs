//! Objects of the swarm as raw JSON. Not through bollard: it writes bodies to its log, and specifications may hold passwords.

use crate::client::Doing;
use crate::engine::DockerEngine;
use crate::list::Real;
use async_trait::async_trait;
use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use serde_json::value::RawValue;
use swarm_core::engine::{EngineError, Kind, Object, Objects, ObjectsRead, Query, Sealed};
use swarm_core::secret::Secret;

/// Text as a part of a path or a query.
fn part(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn object(raw: Box<RawValue>) -> Result<Object, String> {
    Object::read(raw)
}

fn doing_list(kind: Kind) -> &'static str {
    match kind {
        Kind::Node => "listing the nodes",
        Kind::Service => "listing the services",
        Kind::Task => "listing the tasks",
        Kind::Network => "listing the networks",
        Kind::Secret => "listing the secrets",
        Kind::Config => "listing the configs",
    }
}

fn doing_change(kind: Kind, verb: &str) -> &'static str {
    match (kind, verb) {
        (Kind::Service, "create") => "creating the service",
        (Kind::Service, "update") => "updating the service",
        (Kind::Service, _) => "removing the service",
        (Kind::Network, "create") => "creating the network",
        (Kind::Network, _) => "removing the network",
        (Kind::Secret, "create") => "creating the secret",
        (Kind::Secret, "update") => "updating the secret",
        (Kind::Secret, _) => "removing the secret",
        (Kind::Config, "create") => "creating the config",
        (Kind::Config, "update") => "updating the config",
        (Kind::Config, _) => "removing the config",
        (Kind::Node, "update") => "changing a node",
        (Kind::Node, _) => "removing a node",
        (Kind::Task, _) => "changing a task",
    }
}

#[async_trait]
impl ObjectsRead for DockerEngine {
    async fn list(&self, query: &Query) -> Result<Vec<Object>, EngineError> {
        let filters = serde_json::to_string(&query.filters).unwrap_or_default();
        // Health of services' tasks is asked for in the same breath; engines that do not know it leave it out.
        let status = if query.kind == Kind::Service { "&status=true" } else { "" };
        let path = format!("{}?filters={}{status}", query.kind.path(), part(&filters));
        self.client().list(Doing::read(doing_list(query.kind)), &path, Real { least: 64, typed: false }, object).await
    }

    async fn get(&self, kind: Kind, id: &str) -> Result<Object, EngineError> {
        // As it is stored. `insertDefaults` would give a service that replaces all its tasks when it is sent back.
        let doing = Doing::read("reading an object");
        let value = self.read(doing, &format!("{}/{}", kind.path(), part(id))).await?;
        Object::of(&value).map_err(|e| doing.unusable(&e))
    }

    async fn distribution(&self, image: &str, auth: Option<&Secret>) -> Result<Value, EngineError> {
        // Slashes are part of an image's name, and of the path.
        let name: Vec<String> = image.split('/').map(part).collect();
        let path = format!("/distribution/{}/json", name.join("/"));
        let doing = Doing::read("asking the registry for the image");
        let answer = self.client().call_as(doing, Method::GET, &path, None, auth).await?;
        answer.ok_or_else(|| doing.unusable("the engine's answer is empty"))
    }
}

#[async_trait]
impl Objects for DockerEngine {
    async fn create(&self, kind: Kind, body: &Sealed) -> Result<String, EngineError> {
        let doing = self.change(doing_change(kind, "create"));
        let path = format!("{}/create", kind.path());
        let answer = self.client().call_as(doing, Method::POST, &path, Some(body.expose()), body.registry_auth()).await?;
        let id = answer.as_ref().and_then(|a| a.get("ID").or_else(|| a.get("Id"))?.as_str());
        id.map(str::to_owned).ok_or_else(|| doing.unusable("the engine gave no id"))
    }

    async fn update(&self, kind: Kind, id: &str, version: u64, body: &Sealed, rollback: bool) -> Result<(), EngineError> {
        let doing = self.change(doing_change(kind, "update"));
        let back = if rollback { "&rollback=previous" } else { "" };
        let path = format!("{}/{}/update?version={version}{back}", kind.path(), part(id));
        self.client().call_as(doing, Method::POST, &path, Some(body.expose()), body.registry_auth()).await?;
        Ok(())
    }

    async fn remove(&self, kind: Kind, id: &str) -> Result<(), EngineError> {
        let doing = self.change(doing_change(kind, "remove"));
        self.client().call(doing, Method::DELETE, &format!("{}/{}", kind.path(), part(id)), None).await?;
        Ok(())
    }
}
