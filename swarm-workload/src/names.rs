//! Names of images, and of what services refer to.

use serde_json::Value;
use std::collections::BTreeMap;

/// The image with its tag: the docker CLI sends `:latest` where a name has neither tag nor digest.
pub fn image_with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') || image.is_empty() { image.to_owned() } else { format!("{image}:latest") }
}

/// The image without its digest.
pub fn without_digest(image: &str) -> &str {
    image.split('@').next().unwrap_or(image)
}

/// References get the names that objects have in the swarm.
pub(crate) fn rename(spec: &mut Value, list: &str, key: &str, names: &BTreeMap<String, String>) {
    let at = format!("/TaskTemplate/ContainerSpec/{list}");
    for reference in spec.pointer_mut(&at).and_then(Value::as_array_mut).into_iter().flatten() {
        let name = reference.get(key).and_then(Value::as_str).and_then(|name| names.get(name)).cloned();
        if let (Some(name), Some(map)) = (name, reference.as_object_mut()) {
            map.insert(key.to_owned(), Value::String(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_tag() {
        assert_eq!(image_with_tag("localhost:5000/app"), "localhost:5000/app:latest");
        assert_eq!(image_with_tag("app:1"), "app:1");
        assert_eq!(image_with_tag("app@sha256:0"), "app@sha256:0");
        assert_eq!(without_digest("a/b:1@sha256:0"), "a/b:1");
    }
}
