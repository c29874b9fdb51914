//! The port of objects on a simulated engine.

use crate::fault::CallKind;
use crate::fleet::{Asked, SimHost};
use crate::invariant::Sent;
use async_trait::async_trait;
use serde_json::Value;
use swarm_core::engine::{
    EngineError, ErrorClass, Kind, Object, Objects, ObjectsRead, Query, Reason, Sealed, Stores, StoresRead, Streams, StreamsRead,
};
use swarm_core::secret::Secret;

#[async_trait]
impl ObjectsRead for SimHost {
    async fn list(&self, query: &Query) -> Result<Vec<Object>, EngineError> {
        let found = self.read(CallKind::ListObjects, "listing objects", |state| state.list_objects(&self.name, query)).await?;
        self.with(|state| state.note_objects(&self.fleet.operator, &found));
        Ok(found)
    }

    async fn get(&self, kind: Kind, id: &str) -> Result<Object, EngineError> {
        let found = self.read(CallKind::GetObject, "reading an object", |state| state.get_object(&self.name, kind, id)).await?;
        self.with(|state| state.note_objects(&self.fleet.operator, std::slice::from_ref(&found)));
        Ok(found)
    }

    async fn distribution(&self, image: &str, _auth: Option<&Secret>) -> Result<Value, EngineError> {
        let message = format!("no registry has {image}");
        Err(EngineError { doing: "asking the registry for the image", class: ErrorClass::Refused, reason: Reason::NotFound, message })
    }
}

impl StoresRead for SimHost {}

impl Stores for SimHost {}

impl StreamsRead for SimHost {}

impl Streams for SimHost {}

#[async_trait]
impl Objects for SimHost {
    async fn create(&self, kind: Kind, body: &Sealed) -> Result<String, EngineError> {
        let sent = Sent::CreateObject { kind, spec: body.expose() };
        let asked = Asked { kind: CallKind::CreateObject, doing: "creating an object", sent };
        self.call(asked, |state| state.create_object(&self.name, kind, body.expose())).await
    }

    async fn update(&self, kind: Kind, id: &str, version: u64, body: &Sealed, rollback: bool) -> Result<(), EngineError> {
        let sent = Sent::UpdateObject { kind, id, version, spec: body.expose() };
        let asked = Asked { kind: CallKind::UpdateObject, doing: "changing an object", sent };
        self.call(asked, |state| state.update_object(&self.name, kind, id, version, body.expose(), rollback)).await
    }

    async fn remove(&self, kind: Kind, id: &str) -> Result<(), EngineError> {
        let asked = Asked { kind: CallKind::RemoveObject, doing: "removing an object", sent: Sent::RemoveObject { kind, id } };
        self.call(asked, |state| state.remove_object(&self.name, kind, id)).await
    }
}
