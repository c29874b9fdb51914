//! Names of images.

/// The image with its tag: the docker CLI sends `:latest` where a name has neither tag nor digest.
pub fn image_with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') || image.is_empty() { image.to_owned() } else { format!("{image}:latest") }
}

/// The image without its digest.
pub fn without_digest(image: &str) -> &str {
    image.split('@').next().unwrap_or(image)
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
