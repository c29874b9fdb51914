//! Objects of one kind with their types, over the one untyped port.

use super::{EngineError, EngineRead, ErrorClass, Kind, Object, Query, Reason};
use std::marker::PhantomData;

/// A kind of object that has a type. A new one is one file: this, and what it converts to.
pub trait Resource: Sized + Send + Sync {
    /// Which kind.
    const KIND: Kind;

    /// From what a manager has. Fields that it does not know are left where they are.
    ///
    /// # Errors
    /// What of it is not as such an object is.
    fn from_object(object: &Object) -> Result<Self, String>;
}

/// Reads objects of one kind through an engine.
///
/// ```
/// # use swarm_core::engine::{Api, EngineRead};
/// # async fn f(engine: &dyn EngineRead) -> Result<(), swarm_core::engine::EngineError> {
/// use swarm_core::engine::ConfigFacts;
/// let configs = Api::<ConfigFacts>::new(engine).list().await?;
/// # Ok(())
/// # }
/// ```
pub struct Api<'a, K> {
    engine: &'a dyn EngineRead,
    kind: PhantomData<fn() -> K>,
}

impl<'a, K: Resource> Api<'a, K> {
    /// Over an engine that is a manager.
    pub fn new(engine: &'a dyn EngineRead) -> Self {
        Self { engine, kind: PhantomData }
    }

    /// All of them.
    ///
    /// # Errors
    /// The engine's, and [`Reason::Unreadable`] for an answer that is not such a list.
    pub async fn list(&self) -> Result<Vec<K>, EngineError> {
        self.select(&Query::all(K::KIND)).await
    }

    /// Those that fit a query of this kind.
    ///
    /// # Errors
    /// As [`Api::list`].
    pub async fn select(&self, query: &Query) -> Result<Vec<K>, EngineError> {
        self.engine.list(query).await?.iter().map(typed).collect()
    }

    /// One of them, by its id or name.
    ///
    /// # Errors
    /// As [`Api::list`]; [`Reason::NotFound`] where there is none.
    pub async fn get(&self, id: &str) -> Result<K, EngineError> {
        typed(&self.engine.get(K::KIND, id).await?)
    }
}

fn typed<K: Resource>(object: &Object) -> Result<K, EngineError> {
    K::from_object(object).map_err(|message| EngineError {
        doing: "reading an object",
        class: ErrorClass::Refused,
        reason: Reason::Unreadable,
        message: format!("{} {}: {message}", K::KIND, object.id()),
    })
}

/// A config, which can be read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFacts {
    /// Its id.
    pub id: String,
    /// Version of the object, needed to change its labels.
    pub version: u64,
    /// Its name.
    pub name: String,
    /// Its content, in base64 as the engine has it.
    pub data: String,
}

impl Resource for ConfigFacts {
    const KIND: Kind = Kind::Config;

    fn from_object(object: &Object) -> Result<Self, String> {
        let data = object.text("/Spec/Data").unwrap_or_default().into_owned();
        let name = object.name();
        if object.id().is_empty() || name.is_empty() {
            return Err("it has no id or no name".into());
        }
        Ok(Self { id: object.id().to_owned(), version: object.version(), name: name.to_owned(), data })
    }
}

/// A node's entry, of which the engine's port has more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeObject {
    /// Its id.
    pub id: String,
    /// Version of the object.
    pub version: u64,
    /// Host name.
    pub hostname: String,
}

impl Resource for NodeObject {
    const KIND: Kind = Kind::Node;

    fn from_object(object: &Object) -> Result<Self, String> {
        let hostname = object.text("/Description/Hostname").unwrap_or_default().into_owned();
        if object.id().is_empty() {
            return Err("it has no id".into());
        }
        Ok(Self { id: object.id().to_owned(), version: object.version(), hostname })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MockDocker;
    use serde_json::json;

    #[tokio::test]
    async fn what_is_read_has_its_type_and_what_is_not_one_is_named() {
        let mut engine = MockDocker::new();
        let config =
            |name: &str| Object::of(&json!({ "ID": "c1", "Version": { "Index": 7 }, "Spec": { "Name": name, "Data": "eA==", "New": 1 } }));
        engine.expect_list().returning(move |query| {
            assert_eq!(query.kind, Kind::Config);
            Ok(vec![config("motd").unwrap()])
        });
        engine.expect_get().returning(move |kind, id| {
            assert_eq!((kind, id), (Kind::Config, "motd"));
            Ok(config("").unwrap())
        });
        let api = Api::<ConfigFacts>::new(&engine);
        let expected = ConfigFacts { id: "c1".into(), version: 7, name: "motd".into(), data: "eA==".into() };
        assert_eq!(api.list().await.unwrap(), [expected]);
        let error = api.get("motd").await.unwrap_err();
        assert_eq!((error.reason, error.message.contains("no id or no name")), (Reason::Unreadable, true), "{error}");
    }
}
