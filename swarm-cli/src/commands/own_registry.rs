//! `swarm registry`: a registry that runs in the swarm, and hosts that trust it.

use super::stack::{Going, ReadIn, deploy, read_text};
use super::work::Session;
use crate::args_common::Format;
use crate::args_stores::{RegistryCommand, RegistryDeployArgs};
use crate::args_work::DeployHow;
use crate::failure::{self, Failure};
use crate::output;
use futures_util::future::join_all;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use std::path::Path;
use swarm_core::engine::{Kind, Query};
use swarm_core::fleet::Fleet;
use swarm_core::host::Command;
use swarm_core::observe::{NodeFacts, Observed};
use swarm_core::spec::{Availability, HostSpec, Role};

/// How long its certificates are valid, in years: there is no one who renews them.
const YEARS: i32 = 10;

pub(super) async fn run(command: &RegistryCommand, format: Format) -> Result<u8, Failure> {
    match command {
        RegistryCommand::Deploy(args) => put_up(args, format).await,
    }
}

/// The host that it runs on, its node's id and address.
fn place<'s>(session: &'s Session, observed: &Observed, args: &RegistryDeployArgs) -> Result<(&'s HostSpec, String, String), Failure> {
    let node = |host: &HostSpec| observed.hosts.get(&host.name).and_then(|seen| seen.node.clone());
    let fits = |host: &&HostSpec| node(host).is_some_and(|n| n.availability == Availability::Active);
    let host = match &args.host {
        Some(name) => Some(super::reach::one(&session.spec, name)?),
        None => {
            let of = |role| session.spec.hosts().filter(move |h| h.role == role && !h.absent);
            of(Role::Worker).find(fits).or_else(|| of(Role::Manager).find(fits))
        }
    };
    let host = host.ok_or_else(|| Failure::Other("no host of the file is a node that may get tasks".into()))?;
    let node = node(host).ok_or_else(|| Failure::Other(format!("{} is no node of the swarm that answers", host.name)))?;
    let address = node.advertised().ok_or_else(|| Failure::Other(format!("the address of {} is not known", host.name)))?;
    Ok((host, node.id.to_string(), address.to_string()))
}

/// An authority's certificate, and a certificate for an address with its key.
fn certificates(cluster: &str, address: &str) -> Result<(String, String, String), rcgen::Error> {
    let name = |what: &str| {
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, format!("{what} of swarm {cluster}"));
        name
    };
    let dated = |mut of: CertificateParams, what: &str| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        // A day in the past: the clocks of hosts differ.
        let year = 1970 + i32::try_from(now.saturating_sub(86_400) / 31_556_952).unwrap_or(0);
        (of.not_before, of.not_after) = (date_time_ymd(year, 1, 1), date_time_ymd(year + YEARS, 12, 31));
        of.distinguished_name = name(what);
        of
    };
    let mut authority = dated(CertificateParams::new(Vec::new())?, "registry authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    // Its key signs once and is kept nowhere.
    let authority_key = KeyPair::generate()?;
    let root = authority.self_signed(&authority_key)?;
    let mut own = dated(CertificateParams::new(vec![address.to_owned()])?, "registry");
    own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    own.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let certificate = own.signed_by(&key, &Issuer::new(authority, authority_key))?;
    Ok((root.pem(), certificate.pem(), key.serialize_pem()))
}

/// The stack, as a Compose file.
fn compose(args: &RegistryDeployArgs, node: &str) -> String {
    // Published at the node itself: that works without IPVS, and images are on that node alone anyhow.
    format!(
        "services:\n  registry:\n    image: {image:?}\n    environment:\n      REGISTRY_HTTP_ADDR: \":5000\"\n      REGISTRY_HTTP_TLS_CERTIFICATE: /run/secrets/cert\n      \
         REGISTRY_HTTP_TLS_KEY: /run/secrets/key\n      REGISTRY_STORAGE: filesystem\n      REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: /var/lib/registry\n      \
         REGISTRY_STORAGE_DELETE_ENABLED: \"true\"\n    secrets: [cert, key]\n    configs: [ca]\n    volumes: [\"data:/var/lib/registry\"]\n    ports:\n      \
         - {{ target: 5000, published: {port}, mode: host }}\n    deploy:\n      endpoint_mode: dnsrr\n      placement: {{ constraints: [\"node.id=={node}\"] }}\n\
         volumes:\n  data: {{}}\nsecrets:\n  cert: {{ file: ./cert }}\n  key: {{ file: ./key }}\nconfigs:\n  ca: {{ file: ./ca }}\n",
        image = args.image,
        port = args.port,
    )
}

async fn put_up(args: &RegistryDeployArgs, format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let wants = [Query::all(Kind::Service), Query::all(Kind::Config)];
    let (observed, lists) = session.objects(&wants).await?;
    let named = |at: usize, name: &str| lists.get(at).into_iter().flatten().find(|o| o.name() == format!("{}_{name}", args.name));
    let there = named(0, "registry");
    let root = match (there, named(1, "ca").map(|config| config.spec())) {
        (Some(_), Some(config)) => {
            use base64::Engine;
            let data = config.get("Data").and_then(|data| data.as_str()).unwrap_or_default();
            let bytes = base64::engine::general_purpose::STANDARD.decode(data).map_err(|e| Failure::Other(e.to_string()))?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        }
        (Some(_), None) => {
            return Err(Failure::Other(format!("the stack {} is there, and is no registry of `registry deploy`", args.name)));
        }
        (None, _) => None,
    };
    let (at, root) = match (there, root) {
        (Some(service), Some(root)) => {
            let spec = service.spec();
            let port = spec.pointer("/EndpointSpec/Ports/0/PublishedPort").and_then(serde_json::Value::as_u64).unwrap_or(5000);
            let on = spec
                .pointer("/TaskTemplate/Placement/Constraints/0")
                .and_then(|c| c.as_str()?.strip_prefix("node.id=="))
                .unwrap_or_default();
            let node = observed.view().into_iter().flat_map(|v| &v.nodes).find(|n| n.id.as_str() == on);
            let address = node.and_then(NodeFacts::advertised);
            let address = address.ok_or_else(|| {
                Failure::Other(format!("the registry's node {on} is not in the swarm; remove the stack {} and deploy it again", args.name))
            })?;
            output::note("the registry is there already; the stack's other options stay as they are");
            (authority(&address.to_string(), u16::try_from(port).unwrap_or(5000)), root)
        }
        _ => {
            let (host, node, address) = place(&session, &observed, args)?;
            let made = certificates(session.spec.name(), &address).map_err(|e| Failure::Other(format!("no certificate was made: {e}")))?;
            let (root, certificate, key) = made;
            let file = |path: &Path| match path.file_name().and_then(|name| name.to_str()) {
                Some("cert") => Ok(certificate.clone().into_bytes()),
                Some("key") => Ok(key.clone().into_bytes()),
                _ => Ok(root.clone().into_bytes()),
            };
            let read = read_text(&ReadIn { name: &args.name, text: compose(args, &node), file: &file })?;
            let how = DeployHow {
                prune: false,
                resolve_image: args.resolve_image,
                with_registry_auth: false,
                rotate: Vec::new(),
                compare_secrets: false,
            };
            let going = Going { dry_run: args.dry_run, detach: false, timeout: None, yes: args.yes };
            output::note(&format!("the registry runs on {}, and its images are kept there", host.name));
            let code = deploy(&session, &read, &how, format, going).await?;
            if code != 0 || args.dry_run {
                return Ok(code);
            }
            (authority(&address, args.port), root)
        }
    };
    if args.dry_run {
        return Ok(0);
    }
    trust(&session, &observed, &at, &root).await
}

fn authority(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// Puts the authority's certificate where engines look for it.
async fn trust(session: &Session, observed: &Observed, at: &str, root: &str) -> Result<u8, Failure> {
    const SCRIPT: &str = r#"set -e
umask 022
dir="/etc/docker/certs.d/$1"
new=$(cat; echo x); new=${new%x}
[ ! -f "$dir/ca.crt" ] || [ "$(cat "$dir/ca.crt"; echo x)" != "${new}x" ] || exit 0
mkdir -p "$dir"
printf %s "$new" > "$dir/.ca.crt.new"
mv "$dir/.ca.crt.new" "$dir/ca.crt""#;
    let hosts = session.spec.hosts().filter(|host| !host.absent);
    let all = hosts.map(async |host| {
        let written = async {
            let machine = session.fleet.machine(host).await.map_err(|e| e.message)?;
            let mut command = Command::new(["sh", "-c", SCRIPT, "sh", at]);
            (command.stdin, command.elevated) = (Some(root.as_bytes().to_vec()), true);
            let ran = machine.run(&command).await.map_err(|e| e.to_string())?;
            if ran.status == Some(0) { Ok(()) } else { Err(output::clean(&String::from_utf8_lossy(&ran.stderr))) }
        };
        written.await.map_err(|why: String| format!("{}: {why}", host.name))
    });
    let failed: Vec<String> = join_all(all).await.into_iter().filter_map(Result::err).collect();
    let strangers = observed.strangers.len();
    if strangers > 0 {
        output::note(&format!(
            "{strangers} node{} of no host of the file: put the authority there by hand, below /etc/docker/certs.d/{at}",
            if strangers == 1 { " is" } else { "s are" }
        ));
    }
    output::data(&format!("images are pushed to {at}/NAME and pulled from there by every host of the file"));
    if failed.is_empty() {
        return Ok(0);
    }
    output::note(&format!("hosts that do not trust it yet; run again when they can be reached:\n{}", failed.join("\n")));
    Ok(failure::PARTIAL)
}
