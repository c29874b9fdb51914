//! What an engine of one's own refuses as long as it does not implement it.

use super::*;
use crate::secret::Secret;
use futures_util::stream;

/// It implements nothing.
struct Bare;

impl ObjectsRead for Bare {}
impl Objects for Bare {}
impl StoresRead for Bare {}
impl Stores for Bare {}
impl StreamsRead for Bare {}
impl Streams for Bare {}

struct Key;

impl Payloads for Key {
    fn payload(&self, name: &str) -> Result<Secret, String> {
        if name == "none" { Err("it is not there".into()) } else { Ok(Secret::new("hunter2")) }
    }
}

#[tokio::test]
async fn what_an_engine_does_not_implement_it_refuses() {
    let body = Sealed::new(&Body::of(serde_json::json!({ "Name": "a" })), &NoPayloads).unwrap();
    let request = ExecRequest::default();
    let mut refused: Vec<(&str, Option<EngineError>)> = Vec::new();
    refused.push(("objects", Bare.list(&Query::all(Kind::Node)).await.err()));
    refused.push(("objects", Bare.get(Kind::Node, "a").await.err()));
    refused.push(("objects", Bare.distribution("a:1", None).await.err()));
    refused.push(("objects", Bare.create(Kind::Secret, &body).await.err()));
    refused.push(("objects", Bare.update(Kind::Secret, "a", 1, &body, false).await.err()));
    refused.push(("objects", Bare.remove(Kind::Secret, "a").await.err()));
    refused.push(("objects", Bare.holds("a", &body).await.err()));
    refused.push(("images", Bare.volumes().await.err()));
    refused.push(("images", Bare.images().await.err()));
    refused.push(("images", Bare.image_layers().await.err()));
    refused.push(("images", Bare.save("a:1").await.err()));
    refused.push(("images", Bare.containers().await.err()));
    refused.push(("images", Bare.copy_out("a", "/b").await.err()));
    refused.push(("images", Bare.remove_volume("a").await.err()));
    refused.push(("images", Bare.remove_image("a").await.err()));
    refused.push(("images", Bare.pull("a:1", None).await.err()));
    refused.push(("images", Bare.load(Box::pin(stream::empty())).await.err()));
    refused.push(("images", Bare.copy_in("a", "/b", Box::pin(stream::empty())).await.err()));
    refused.push(("programs", Bare.exec(&request).await.err()));
    refused.push(("programs", Bare.exec_resize("a", (1, 2)).await.err()));
    refused.push(("programs", Bare.exec_code("a").await.err()));
    for (index, (what, error)) in refused.into_iter().enumerate() {
        let error = error.unwrap_or_else(|| panic!("{what}, {index}: it was taken"));
        assert!(error.class == ErrorClass::Refused && error.message.contains(what), "{index}: {error:?}");
    }
}

#[test]
fn a_sealed_body_has_its_secrets_and_shows_none() {
    let body = Body { data: Some("key".into()), registry_auth: Some("login".into()), ..Body::of(serde_json::json!({ "Name": "a" })) };
    let sealed = Sealed::new(&body, &Key).unwrap();
    assert_eq!(sealed.expose()["Data"], "hunter2");
    assert_eq!(sealed.registry_auth().map(|login| login.expose().to_owned()).as_deref(), Some("hunter2"));
    assert_eq!(format!("{sealed:?}"), "Sealed(***)");
    assert!(Sealed::new(&Body::of(serde_json::json!({})), &Key).unwrap().registry_auth().is_none());
    let refused = Sealed::new(&Body { data: Some("none".into()), ..body }, &Key).unwrap_err();
    assert_eq!((refused.class, refused.message.as_str()), (ErrorClass::Refused, "it is not there"));
}

#[test]
fn every_kind_has_its_place_in_the_api() {
    let all = [Kind::Node, Kind::Service, Kind::Task, Kind::Network, Kind::Secret, Kind::Config];
    for kind in all {
        assert_eq!(kind.path(), format!("/{}s", kind.word()));
    }
}
