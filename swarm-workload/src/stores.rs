//! What engines keep that nothing needs any more. Pure; from what engines and managers list.

use crate::names::{image_with_tag, without_digest};
use crate::spec::image_of;
use serde_json::Value;
use std::collections::BTreeSet;
use swarm_core::engine::{ContainerFacts, ImageFacts, Object, VolumeFacts};

/// The specifications of services, the present ones and those that a rollback would put back.
fn specs(services: &[Object]) -> impl Iterator<Item = Value> + '_ {
    services.iter().flat_map(|service| [Some(service.spec()), service.part("/PreviousSpec")]).flatten()
}

/// Images that no container has and no service names, neither in its present specification nor in the one before it.
pub fn unused_images<'i>(images: &'i [ImageFacts], containers: &[ContainerFacts], services: &[Object]) -> Vec<&'i ImageFacts> {
    let had: BTreeSet<&str> = containers.iter().map(|c| c.image_id.as_str()).collect();
    let (mut tags, mut digests) = (BTreeSet::new(), BTreeSet::new());
    for spec in specs(services) {
        let image = image_of(&spec);
        tags.insert(image_with_tag(without_digest(image)));
        digests.extend(image.split_once('@').map(|(_, digest)| digest.to_owned()));
    }
    let named = |image: &ImageFacts| {
        image.tags.iter().any(|tag| tags.contains(&image_with_tag(tag)))
            || image.digests.iter().any(|name| name.split_once('@').is_some_and(|(_, digest)| digests.contains(digest)))
    };
    images.iter().filter(|image| !had.contains(image.id.as_str()) && !named(image)).collect()
}

/// The services that name a volume, whether a task of them has it now or not.
pub fn services_of_volume(volume: &str, services: &[Object]) -> Vec<String> {
    let names = |spec: &Value| {
        let mounts = spec.pointer("/TaskTemplate/ContainerSpec/Mounts").and_then(Value::as_array);
        mounts.into_iter().flatten().any(|m| {
            let text = |key: &str| m.get(key).and_then(Value::as_str);
            text("Type").is_none_or(|kind| kind == "volume") && text("Source") == Some(volume)
        })
    };
    let of = |service: &&Object| [Some(service.spec()), service.part("/PreviousSpec")].into_iter().flatten().any(|spec| names(&spec));
    services.iter().filter(of).map(|s| s.name().to_owned()).collect()
}

/// Volumes that no container has and no service names.
pub fn unused_volumes<'v>(volumes: &'v [VolumeFacts], containers: &[ContainerFacts], services: &[Object]) -> Vec<&'v VolumeFacts> {
    let had: BTreeSet<&str> = containers.iter().flat_map(|c| &c.volumes).map(String::as_str).collect();
    let unused = |v: &&VolumeFacts| !had.contains(v.name.as_str()) && services_of_volume(&v.name, services).is_empty();
    volumes.iter().filter(unused).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(image: &str, before: &str, volume: &str) -> Object {
        let spec = |image: &str| {
            json!({ "Name": "web", "TaskTemplate": { "ContainerSpec": { "Image": image,
            "Mounts": [{ "Type": "volume", "Source": volume, "Target": "/d" }, { "Type": "bind", "Source": "bound", "Target": "/b" }] } } })
        };
        Object::of(&json!({ "ID": "s", "Spec": spec(image), "PreviousSpec": spec(before) })).unwrap()
    }

    fn image(id: &str, tags: &[&str], digests: &[&str]) -> ImageFacts {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        ImageFacts { id: id.into(), tags: owned(tags), digests: owned(digests), size: 1 }
    }

    fn container(image: &str, volumes: &[&str]) -> ContainerFacts {
        let volumes = volumes.iter().map(|s| (*s).to_owned()).collect();
        ContainerFacts { id: "c".into(), image_id: image.into(), volumes, service: None }
    }

    #[test]
    fn what_a_service_or_a_container_needs_is_kept() {
        let images = [
            image("now", &["web:2"], &[]),
            image("before", &["web:1"], &[]),
            image("by-digest", &[], &["reg/web@sha256:aa"]),
            image("runs", &["tool:1"], &[]),
            image("latest", &["plain:latest"], &[]),
            image("old", &["web:0"], &["web@sha256:bb"]),
            image("bare", &[], &[]),
        ];
        let services = [service("web:2", "web:1", "data"), service("reg/web:9@sha256:aa", "plain", "")];
        let unused = unused_images(&images, &[container("runs", &[])], &services);
        assert_eq!(unused.iter().map(|i| i.id.as_str()).collect::<Vec<_>>(), ["old", "bare"]);

        let volume =
            |name: &str| VolumeFacts { name: name.into(), driver: "local".into(), labels: Default::default(), mountpoint: String::new() };
        let volumes = ["data", "bound", "had", "left"].map(volume);
        let unused = unused_volumes(&volumes, &[container("runs", &["had"])], &services);
        assert_eq!(unused.iter().map(|v| v.name.as_str()).collect::<Vec<_>>(), ["bound", "left"]);
        assert_eq!(services_of_volume("data", &services), ["web"]);
    }
}
