//! Arguments of `swarm registry`.

use crate::args::Common;
use clap::{Args, Subcommand};

/// A registry in the swarm.
#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// Run a registry as a service of the swarm, and make every host of the file trust it. Run again, it makes hosts trust it that came later.
    ///
    /// The service has a certificate of its own; its authority is put on each host below /etc/docker/certs.d, which engines read without a restart.
    /// Images are kept in a volume of the node that the registry runs on. `swarm stack rm` removes the service and leaves the volume.
    Deploy(RegistryDeployArgs),
}

/// Arguments of `registry deploy`.
#[derive(Debug, Args)]
pub(crate) struct RegistryDeployArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The host that it runs on. Default: the first worker that may get tasks, else the first manager.
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// The port of that host's address that it is reached at.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,
    /// The image of the registry, which is configured by the variables REGISTRY_….
    #[arg(long, default_value = "registry:2")]
    pub(crate) image: String,
    /// When the image's registry is asked for its digest.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) resolve_image: crate::args_work::ResolveImage,
    /// The name of its stack.
    #[arg(long, default_value = "registry")]
    pub(crate) name: String,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

impl RegistryCommand {
    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::Deploy(args) => &args.common,
        }
    }
}
