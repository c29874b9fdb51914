//! The command line of the root certificate.

use crate::args_common::{AgreeArgs, Common, duration};
use clap::{ArgGroup, Args, Subcommand};
use std::collections::BTreeMap;
use std::path::PathBuf;
use swarm_core::spec::ExternalCa;

#[derive(Debug, Subcommand)]
pub(crate) enum CaCommand {
    /// Show the root certificate: its digest, its end, how far a replacement is.
    Show {
        #[command(flatten)]
        common: Common,
        /// Print the certificate itself, as PEM.
        #[arg(long)]
        pem: bool,
    },
    /// Replace the root certificate and every node's certificate. Join tokens change with it.
    Rotate(RotateArgs),
}

/// What the new root is.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("signer").args(["ca_key", "external_ca"]).multiple(true))]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// How long new node certificates are valid, for example 720h.
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub(crate) cert_expiry: Option<std::time::Duration>,
    /// The new root certificate, PEM. Default: the engine makes one.
    #[arg(long, value_name = "FILE", requires = "signer")]
    pub(crate) ca_cert: Option<PathBuf>,
    /// The new root's private key, PEM; - is standard input.
    #[arg(long, value_name = "FILE", requires = "ca_cert")]
    pub(crate) ca_key: Option<PathBuf>,
    /// An authority that signs with the new root: its address, or protocol=cfssl,url=ADDRESS. Repeatable.
    #[arg(long, value_name = "AUTHORITY", value_parser = authority, requires = "ca_cert")]
    pub(crate) external_ca: Vec<ExternalCa>,
    #[command(flatten)]
    pub(crate) agree: AgreeArgs,
}

impl CaCommand {
    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::Show { common, .. } => common,
            Self::Rotate(args) => &args.common,
        }
    }
}

/// Reads an authority as `docker swarm ca --external-ca` has it; an address alone is one that speaks the only protocol there is.
fn authority(text: &str) -> Result<ExternalCa, String> {
    let mut ca = ExternalCa { protocol: "cfssl".into(), url: String::new(), ca_cert: None, options: BTreeMap::new() };
    if text.starts_with("https://") {
        text.clone_into(&mut ca.url);
        return Ok(ca);
    }
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("protocol", value)) if value.eq_ignore_ascii_case("cfssl") => {}
            Some(("protocol", value)) => return Err(format!("`{value}` is not a protocol that engines know; they know cfssl")),
            Some(("url", value)) => value.clone_into(&mut ca.url),
            Some(("cacert", _)) => return Err("its certificate is the new root: name it in --ca-cert".into()),
            Some((key, value)) => {
                ca.options.insert(key.to_owned(), value.to_owned());
            }
            None => return Err(format!("`{part}` is neither an https:// address nor KEY=VALUE")),
        }
    }
    if ca.url.starts_with("https://") { Ok(ca) } else { Err("it has no url=https://…".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_written_as_for_docker_or_as_an_address() {
        let plain = authority("https://ca.example:8888/api/v1/cfssl/sign").unwrap();
        assert_eq!(authority("protocol=cfssl,url=https://ca.example:8888/api/v1/cfssl/sign").unwrap(), plain);
        let labelled = authority("protocol=CFSSL,url=https://ca.example,label=nodes").unwrap();
        assert_eq!(labelled.options.get("label").map(String::as_str), Some("nodes"));
        for (wrong, says) in [
            ("http://ca.example", "KEY=VALUE"),
            ("protocol=cfssl", "no url=https"),
            ("protocol=acme,url=https://ca.example", "`acme`"),
            ("protocol=cfssl,url=http://ca.example", "no url=https"),
            ("url=https://ca.example,cacert=ca.pem", "--ca-cert"),
        ] {
            let why = authority(wrong).unwrap_err();
            assert!(why.contains(says), "{wrong}: {why}");
        }
    }
}
