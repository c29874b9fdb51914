//! The command line of engines and what they keep for themselves, volumes and images, and of what services need: networks, secrets, configs.

use crate::args_common::{AgreeArgs, Common, LimitArgs, duration};
use crate::args_work::ResolveImage;
use crate::complete::hosts;
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum EngineCommand {
    /// List the engines with their versions.
    Ls {
        #[command(flatten)]
        common: Common,
    },
    /// Bring engines to another version: one host after the other, drained for that time, managers last and one at a time, the leader at the
    /// end, stopping at the first failure.
    Upgrade(Box<UpgradeArgs>),
    /// Bring the configuration of engines that are in a swarm to what `prepare` of the file says: one host after the other, drained for that
    /// time, and restarted.
    Configure(Box<ConfigureArgs>),
    /// Restart engines by the service managers of their hosts: one host after the other, drained for that time, managers last and one at a
    /// time, the leader at the end, stopping at the first that does not come up.
    Restart(Box<ServedArgs>),
}

/// Hosts that are served, and how.
#[derive(Debug, Args)]
pub(crate) struct ServedArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The hosts. Workers are served first, then managers one by one, the leader last.
    #[arg(required = true, value_name = "HOST", add = ArgValueCompleter::new(hosts))]
    pub(crate) hosts: Vec<String>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    #[command(flatten)]
    pub(crate) agree: AgreeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ConfigureArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The hosts. Default: all whose engine is not configured so.
    #[arg(value_name = "HOST", add = ArgValueCompleter::new(hosts))]
    pub(crate) hosts: Vec<String>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    #[command(flatten)]
    pub(crate) agree: AgreeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RebootArgs {
    #[command(flatten)]
    pub(crate) served: ServedArgs,
    /// How long a host may take to be there again, for example 15m.
    #[arg(long, default_value = "10m", value_parser = duration)]
    pub(crate) back_timeout: std::time::Duration,
    /// Another command that restarts a host, after `--`. It runs as root, without a shell.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ResetArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The hosts.
    #[arg(required = true, value_name = "HOST", add = ArgValueCompleter::new(hosts))]
    pub(crate) hosts: Vec<String>,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// How hosts are served one after the other.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// How many workers are served at a time. Managers are served one at a time.
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) batch: u16,
    /// Serve managers also where the others are no healthy majority meanwhile, as with one or two of them.
    #[arg(long)]
    pub(crate) accept_downtime: bool,
    /// How long to wait for tasks to leave a node, for example 2m.
    #[arg(long, default_value = "5m", value_parser = duration)]
    pub(crate) drain_timeout: std::time::Duration,
}

#[derive(Debug, Args)]
pub(crate) struct UpgradeArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The hosts. Default: all. Those that have the version already are left out.
    #[arg(value_name = "HOST", add = ArgValueCompleter::new(hosts))]
    pub(crate) hosts: Vec<String>,
    /// The version, or its beginning: 28, 28.5, 28.5.2. Of several that fit, the newest that the package manager offers.
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    /// How long the upgrade of one host may take, for example 20m.
    #[arg(long, default_value = "20m", value_parser = duration)]
    pub(crate) command_timeout: std::time::Duration,
    #[command(flatten)]
    pub(crate) agree: AgreeArgs,
    /// A command of your own that upgrades a host, after `--`, where its engine is not from a package of apt, dnf, zypper or apk. It runs as
    /// root, without a shell. Whatever does it, the version is looked at afterwards.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Make a context of the docker command line for the engine of a manager, over SSH, or bring it up to date. What the file says of key, host
    /// keys and jump hosts is written into a part of ssh's configuration, which docker's `ssh` reads.
    Create {
        #[command(flatten)]
        args: ContextArgs,
        /// The host whose engine is meant. Default: a manager that answers.
        #[arg(long, value_name = "HOST", add = ArgValueCompleter::new(hosts))]
        host: Option<String>,
    },
    /// Remove the context, and its part of ssh's configuration.
    Rm {
        #[command(flatten)]
        args: ContextArgs,
    },
}

impl ContextCommand {
    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::Create { args, .. } | Self::Rm { args } => &args.common,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ContextArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The name of the context. Default: the cluster's.
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The configuration of ssh that the part is included from. Default: ~/.ssh/config.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) ssh_config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum VolumeCommand {
    /// List the volumes of all hosts, with what uses them.
    Ls {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        limit: LimitArgs,
    },
    /// Print a volume as each host has it.
    Inspect {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        limit: LimitArgs,
        /// Its name.
        name: String,
    },
    /// Remove volumes from hosts, with all data in them. One that a service names is refused.
    Rm {
        #[command(flatten)]
        common: Common,
        /// A host. Once for each.
        #[arg(long, required = true, value_name = "HOST", add = ArgValueCompleter::new(hosts))]
        host: Vec<String>,
        /// Their names.
        #[arg(required = true)]
        names: Vec<String>,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Remove the volumes that no container has and no service names, with all data in them.
    Prune {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        limit: LimitArgs,
        #[command(flatten)]
        agree: AgreeArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// List the images of all hosts, each with the hosts that have it.
    Ls {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        limit: LimitArgs,
    },
    /// Pull an image on every node that may get tasks, so that an update waits for no registry.
    Pull {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        limit: LimitArgs,
        /// The image.
        image: String,
    },
    /// Bring an image from this machine to every node that may get tasks, over the connections that are there and without a registry. Layers that a
    /// node has already are not sent.
    Push {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        limit: LimitArgs,
        /// An archive that `docker save` wrote, instead of the engine of this machine; - is standard input.
        #[arg(short, long, value_name = "FILE")]
        input: Option<PathBuf>,
        /// The image; of an archive with one image it may be left out.
        #[arg(required_unless_present = "input")]
        image: Option<String>,
    },
    /// Remove the images that no container has and no service names, neither now nor before its last update.
    Prune {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        limit: LimitArgs,
        #[command(flatten)]
        agree: AgreeArgs,
    },
}

/// Networks, secrets and configs.
#[derive(Debug, Subcommand)]
pub(crate) enum ObjectCommand {
    /// List them.
    Ls {
        #[command(flatten)]
        common: Common,
    },
    /// Print one as its manager has it. The data of a secret is never there.
    Inspect {
        #[command(flatten)]
        common: Common,
        /// Its name.
        name: String,
    },
    /// Make one.
    Create {
        #[command(flatten)]
        common: Common,
        /// Its name.
        name: String,
        /// The file with the data of a secret or config; - is standard input.
        data: Option<PathBuf>,
        /// A label. Once for each.
        #[arg(long, value_name = "KEY=VALUE")]
        label: Vec<String>,
        /// Driver of a network.
        #[arg(long, default_value = "overlay")]
        driver: String,
        /// An option of a network's driver. Once for each.
        #[arg(long, value_name = "KEY=VALUE")]
        opt: Vec<String>,
        /// Subnet of a network, for example 10.9.0.0/24.
        #[arg(long)]
        subnet: Option<String>,
        /// Containers beside services may use the network.
        #[arg(long)]
        attachable: bool,
        /// The network has no way out.
        #[arg(long)]
        internal: bool,
    },
    /// Remove some. What a service uses is refused by its name.
    Rm {
        #[command(flatten)]
        common: Common,
        /// Their names.
        #[arg(required = true)]
        names: Vec<String>,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
}

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
    pub(crate) resolve_image: ResolveImage,
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
