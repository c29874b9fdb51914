//! The command line of what engines keep for themselves: volumes and images.

use crate::args::{Common, LimitArgs};
use crate::args_swarm::AgreeArgs;
use crate::complete::hosts;
use clap::Subcommand;
use clap_complete::ArgValueCompleter;

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
