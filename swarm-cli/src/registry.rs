//! Logins to registries, from the docker configuration and its credential helpers, as the docker CLI finds them.

use crate::failure::Failure;
use crate::output;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use docker_credential::{CredentialRetrievalError as Wrong, DockerCredential, get_credential};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use swarm_core::engine::Payloads;
use swarm_core::secret::{Secret, clean};

/// What the docker CLI calls Docker Hub in its configuration.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Logins to the registries of some images.
#[derive(Default)]
pub(crate) struct Logins {
    by_name: BTreeMap<String, Secret>,
    /// For each image that has one, the name of the payload that is the login to its registry.
    pub(crate) of: BTreeMap<String, String>,
}

/// Payloads, and logins beside them.
pub(crate) struct WithLogins<'a>(pub(crate) &'a dyn Payloads, pub(crate) &'a Logins);

impl Payloads for WithLogins<'_> {
    fn payload(&self, name: &str) -> Result<Secret, String> {
        self.1.by_name.get(name).map_or_else(|| self.0.payload(name), |login| Ok(login.clone()))
    }
}

/// The registry of an image, by its name in the docker configuration (distribution `reference`, `splitDockerDomain`).
fn registry_of(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => match first {
            "docker.io" | "index.docker.io" => DOCKER_HUB,
            registry => registry,
        },
        _ => DOCKER_HUB,
    }
}

/// Whether there is a docker configuration at all: most people who never logged in have none.
fn is_configured() -> bool {
    let own = std::env::var_os("DOCKER_CONFIG").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let folder = own.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")));
    // One that is there and cannot be read is not none.
    folder.is_some_and(|folder| folder.join("config.json").try_exists().unwrap_or(true))
}

/// Finds the logins of some images. One that cannot be had is an error where nodes are to get it, and else a note: the registry may answer
/// without one.
pub(crate) fn logins(images: &BTreeSet<&str>, needed: bool) -> Result<Logins, Failure> {
    let mut found = Logins::default();
    if !is_configured() {
        return Ok(found);
    }
    let mut failed: BTreeSet<&str> = BTreeSet::new();
    for image in images {
        let registry = registry_of(image);
        let name = format!("login/{registry}");
        if failed.contains(registry) {
            continue;
        }
        if !found.by_name.contains_key(&name) {
            match credential(registry) {
                Ok(credential) => drop(found.by_name.insert(name.clone(), header(registry, credential))),
                Err(Wrong::NoCredentialConfigured | Wrong::ConfigNotFound) => {
                    failed.insert(registry);
                    continue;
                }
                Err(wrong) => {
                    let message = format!("the login to {registry} could not be read: {}", why(&wrong));
                    if needed {
                        return Err(Failure::Other(message));
                    }
                    output::note(&format!("warning: {message}"));
                    failed.insert(registry);
                    continue;
                }
            }
        }
        found.of.insert((*image).to_owned(), name);
    }
    Ok(found)
}

/// How often a helper is asked again.
const TRIES: usize = 5;

/// A helper that ends before it was asked breaks the pipe, which looks as if it could not be run: it is asked again, for what it says.
fn credential(registry: &str) -> Result<DockerCredential, Wrong> {
    let mut found = get_credential(registry);
    for _ in 0..TRIES {
        if !matches!(found, Err(Wrong::HelperCommunicationError)) {
            break;
        }
        found = get_credential(registry);
    }
    found
}

/// `X-Registry-Auth`, as moby `api/types/registry` has it.
fn header(registry: &str, credential: DockerCredential) -> Secret {
    let login = match credential {
        DockerCredential::IdentityToken(token) => json!({ "identitytoken": token, "serveraddress": registry }),
        DockerCredential::UsernamePassword(user, password) => {
            json!({ "username": user, "password": password, "serveraddress": registry })
        }
    };
    Secret::new(URL_SAFE.encode(login.to_string()))
}

/// What went wrong. What a helper wrote to its standard output may be a secret.
fn why(wrong: &Wrong) -> String {
    match wrong {
        Wrong::HelperFailure { helper, stderr, .. } => format!("{helper} failed: {}", clean(stderr.trim(), 300)),
        Wrong::HelperCommunicationError => "its credential helper could not be run or asked; is docker-credential-… installed?".into(),
        Wrong::MalformedHelperResponse => "its credential helper gave an answer that cannot be read".into(),
        Wrong::CredentialDecodingError | Wrong::CredentialMismatchError => "its `auth` in the docker configuration cannot be read".into(),
        Wrong::ConfigReadError => "the docker configuration cannot be read".into(),
        Wrong::NoCredentialConfigured | Wrong::ConfigNotFound => "there is none".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_those_of_the_docker_cli() {
        for (image, registry) in [
            ("redis:7", DOCKER_HUB),
            ("library/redis", DOCKER_HUB),
            ("docker.io/library/redis", DOCKER_HUB),
            ("registry.example.org/team/app:1", "registry.example.org"),
            ("127.0.0.1:5000/app:1@sha256:0", "127.0.0.1:5000"),
            ("localhost/app", "localhost"),
            ("team:5000", DOCKER_HUB),
        ] {
            assert_eq!(registry_of(image), registry, "{image}");
        }
    }

    #[test]
    fn what_a_helper_printed_is_not_repeated() {
        let wrong = Wrong::HelperFailure { helper: "docker-credential-x".into(), stdout: "s3cret".into(), stderr: "no\u{1b}[2J".into() };
        let said = why(&wrong);
        assert!(said.contains("docker-credential-x failed: no") && !said.contains("s3cret") && !said.contains('\u{1b}'), "{said}");
    }
}
