//! The port of objects, any kind of them. A kind gets its types where its family needs them ([`super::Api`]).

use super::{EngineError, ErrorClass, Reason, not_given};
use crate::object::{Kind, Object, Query};
use crate::secret::Secret;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// What is sent for a change. Secrets are not in it: they are put in at the moment of sending, from where they are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Body {
    /// The specification.
    pub spec: Value,
    /// The name of the payload that becomes its `Data`, in base64.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub data: Option<String>,
    /// The name of the payload that is sent as the login to an image's registry (`X-Registry-Auth`).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub registry_auth: Option<String>,
}

impl Body {
    /// A body without secrets.
    pub fn of(spec: Value) -> Self {
        Self { spec, data: None, registry_auth: None }
    }
}

/// Gives what must not stand in a plan: the data of secrets and configs, logins to registries. Asked at the moment of sending.
pub trait Payloads: Send + Sync {
    /// The payload of a name that a step has; data is in base64.
    ///
    /// # Errors
    /// Why it is not to be had, for people; never what it is.
    fn payload(&self, name: &str) -> Result<Secret, String>;
}

/// There is no payload.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPayloads;

impl Payloads for NoPayloads {
    fn payload(&self, name: &str) -> Result<Secret, String> {
        Err(format!("this program has no payload {name}"))
    }
}

/// A body with its secrets, ready to be sent. It is neither shown nor saved.
pub struct Sealed {
    spec: Value,
    registry_auth: Option<Secret>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(***)")
    }
}

impl Sealed {
    /// Puts the secrets in.
    ///
    /// # Errors
    /// [`ErrorClass::Refused`]: a payload that is not to be had; nothing was sent.
    pub fn new(body: &Body, payloads: &dyn Payloads) -> Result<Self, EngineError> {
        let take = |name: &str| {
            let refused =
                |message| EngineError { doing: "reading what is to be sent", class: ErrorClass::Refused, reason: Reason::Other, message };
            payloads.payload(name).map_err(refused)
        };
        let mut spec = body.spec.clone();
        if let (Some(name), Some(map)) = (&body.data, spec.as_object_mut()) {
            map.insert("Data".into(), Value::String(take(name)?.expose().to_owned()));
        }
        Ok(Self { spec, registry_auth: body.registry_auth.as_deref().map(take).transpose()? })
    }

    /// What is sent. It may hold a secret.
    pub fn expose(&self) -> &Value {
        &self.spec
    }

    /// The login to the registry, as the header has it.
    pub fn registry_auth(&self) -> Option<&Secret> {
        self.registry_auth.as_ref()
    }
}

fn none<T>(doing: &'static str) -> Result<T, EngineError> {
    not_given(doing, "this engine gives no access to the objects of its swarm")
}

/// Questions about the objects of a swarm. Managers only; none changes anything. An engine that does not implement it refuses.
#[async_trait]
pub trait ObjectsRead: Send + Sync {
    /// The objects that fit.
    async fn list(&self, _query: &Query) -> Result<Vec<Object>, EngineError> {
        none("listing objects")
    }

    /// One object, by its id or name. [`Reason::NotFound`] where there is none.
    async fn get(&self, _kind: Kind, _id: &str) -> Result<Object, EngineError> {
        none("reading an object")
    }

    /// The digest and the platforms of an image as its registry has it (`GET /distribution/NAME/json`).
    async fn distribution(&self, _image: &str, _auth: Option<&Secret>) -> Result<Value, EngineError> {
        none("asking the registry")
    }
}

/// Changes of the objects of a swarm. A call that fails with [`ErrorClass::Unknown`] may have been carried out: look again first.
#[async_trait]
pub trait Objects: ObjectsRead {
    /// Makes one; gives its id. [`ErrorClass::Conflict`] where the name is taken.
    async fn create(&self, _kind: Kind, _body: &Sealed) -> Result<String, EngineError> {
        none("creating an object")
    }

    /// Replaces its specification, if its version is still this one: [`Reason::OutOfSequence`] if not. `rollback` puts the one before
    /// back (services only).
    async fn update(&self, _kind: Kind, _id: &str, _version: u64, _body: &Sealed, _rollback: bool) -> Result<(), EngineError> {
        none("changing an object")
    }

    /// Whether a secret holds what the body has, with its name: what it holds can be read nowhere. An update from a version that no object
    /// ever had is refused as out of sequence where the data is the same, and for the data where it is not (swarmkit
    /// `manager/controlapi/secret.go`), so that nothing is changed either way.
    async fn holds(&self, secret: &str, body: &Sealed) -> Result<bool, EngineError> {
        match self.update(Kind::Secret, secret, 0, body, false).await {
            Err(error) if error.reason == Reason::OutOfSequence => Ok(true),
            Err(error) if error.reason == Reason::OnlyLabels => Ok(false),
            Err(error) => Err(error),
            Ok(()) => {
                let message = "the engine took a version that no secret can have".to_owned();
                Err(EngineError { doing: "comparing a secret", class: ErrorClass::Unknown, reason: Reason::Unreadable, message })
            }
        }
    }

    /// Removes it. The engine refuses what is in use.
    async fn remove(&self, _kind: Kind, _id: &str) -> Result<(), EngineError> {
        none("removing an object")
    }
}
