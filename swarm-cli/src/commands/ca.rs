//! `swarm ca`.

use super::access::{no_manager, replace_in};
use super::work::Session;
use crate::args_ca::{CaCommand, RotateArgs};
use crate::args_common::Format;
use crate::failure::Failure;
use crate::{output, source};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use swarm_core::Apply;
use swarm_core::credential::Part;
use swarm_core::engine::{GivenRoot, Payloads};
use swarm_core::observe::{date, expiry_from_pem};
use swarm_core::replace::{new_root, root_progress};
use swarm_core::secret::Secret;

/// What is read of a certificate and of a key.
const LIMIT: u64 = 64 * 1024;
/// How long a new root must be valid at least (swarmkit `manager/controlapi/ca_rotation.go`).
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// The name of the new root's private key.
const KEY: &str = "root-key";

/// Has the private key of the new root, if it was given.
struct RootKey(Option<Secret>);

impl Payloads for RootKey {
    fn payload(&self, name: &str) -> Result<Secret, String> {
        self.0.clone().filter(|_| name == KEY).ok_or_else(|| "the root's private key was not given to this run".to_owned())
    }
}

pub(super) async fn ca(command: &CaCommand, format: Format) -> Result<u8, Failure> {
    match command {
        CaCommand::Rotate(args) => rotate(args, format).await,
        CaCommand::Show { common, pem } => {
            let session = Session::open(common).await?;
            let observed = Apply::new(&session.spec, &session.fleet).observe().await;
            let view = observed.view().ok_or_else(|| no_manager(&observed))?;
            let until = expiry_from_pem(view.cluster.root.as_bytes()).ok();
            let progress = root_progress(&observed);
            if *pem && format == Format::Text {
                output::data(&view.cluster.root);
                return Ok(0);
            }
            if format == Format::Text {
                let digest = view.cluster.root_digest.as_deref().unwrap_or("unknown");
                let mut lines = vec![format!("root {digest}")];
                lines.extend(until.map(|u| format!("valid until {}", date(u))));
                lines.push(match &progress {
                    None => format!("in force on all {} nodes", view.nodes.len()),
                    Some((done, late)) => format!("being replaced: {}", new_root(*done, late)),
                });
                output::data(&lines.join("\n"));
            } else {
                let progress = progress.map(|(done, late)| json!({ "done": done, "late": late }));
                let until = until.map(date);
                output::json(
                    "ca show",
                    &json!({ "root": view.cluster.root_digest, "until": until, "replacement": progress, "pem": view.cluster.root }),
                );
            }
            Ok(0)
        }
    }
}

async fn rotate(args: &RotateArgs, format: Format) -> Result<u8, Failure> {
    let root = args.ca_cert.as_deref().map(|path| certificate(path, args.ca_key.is_some())).transpose()?;
    let key = args.ca_key.as_deref().map(|path| source::read_limited(path, LIMIT)).transpose()?;
    let key = RootKey(key.map(|bytes| Secret::new(String::from_utf8_lossy(&bytes))));
    let session = Session::open(&args.common).await?;
    let file = session.spec.settings();
    let lost = |what: &str| {
        output::note(&format!("the file says something else of swarm.{what}: write it there, or the next apply takes this back"))
    };
    if args.cert_expiry.is_some_and(|wanted| file.cert_expiry.is_some_and(|had| had != wanted)) {
        lost("cert_expiry");
    }
    let urls = |all: &[swarm_core::spec::ExternalCa]| all.iter().map(|ca| ca.url.clone()).collect::<Vec<_>>();
    if !args.external_ca.is_empty() && file.external_ca.as_deref().is_some_and(|had| urls(had) != urls(&args.external_ca)) {
        lost("external_ca");
    }
    let question = "Replace the root certificate and every node's certificate?";
    replace_in(&session, &[Part::Root], &args.agree, question, ("ca rotate", format), &key, |intent| {
        intent.settings.cert_expiry = args.cert_expiry;
        intent.authorities.clone_from(&args.external_ca);
        intent.root = root;
    })
    .await
}

/// Reads the new root, and finds what engines would refuse before one is asked.
fn certificate(path: &Path, has_key: bool) -> Result<GivenRoot, Failure> {
    let bytes = source::read_limited(path, LIMIT)?;
    let wrong = |why: String| Failure::Other(format!("{}: {why}", path.display()));
    let until = expiry_from_pem(&bytes).map_err(wrong)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if until < (now + YEAR).as_secs() {
        return Err(wrong(format!("it ends on {}; engines take a root that is valid for a year or longer", date(until))));
    }
    let certificate = String::from_utf8_lossy(&bytes).trim().to_owned() + "\n";
    if certificate.contains("PRIVATE KEY") {
        return Err(wrong("there is a private key in it; the key goes into --ca-key".into()));
    }
    if certificate.matches("-----BEGIN CERTIFICATE-----").count() != 1 {
        return Err(wrong("it holds several certificates; a root is one".into()));
    }
    Ok(GivenRoot { certificate, key: has_key.then(|| KEY.to_owned()) })
}
