//! The command line of workloads: stacks, services, and what they need.

use crate::args_common::Common;
use crate::complete::hosts;
use crate::service_flags::ServiceFlags;
use clap::{Args, Subcommand, ValueEnum};
use clap_complete::ArgValueCompleter;
use std::path::PathBuf;

/// When the registry is asked for an image's digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ResolveImage {
    /// For images that changed. A registry that is down then fails nothing else.
    #[default]
    Changed,
    /// For every image.
    Always,
    /// For none.
    Never,
}

/// Compose files and what is put into them.
#[derive(Debug, Args)]
pub(crate) struct ComposeArgs {
    /// A Compose file; - is standard input. Later files are laid over earlier ones.
    #[arg(short, long, required = true, value_name = "FILE")]
    pub(crate) compose_file: Vec<PathBuf>,
    /// A variable for `${NAME}` in the files, before the environment's own. Once for each.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// A file of NAME=VALUE lines with variables for the files.
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
}

/// How a deploy goes on.
#[derive(Debug, Args)]
pub(crate) struct DeployHow {
    /// Remove services of the stack that the files no longer have.
    #[arg(long)]
    pub(crate) prune: bool,
    /// When the registry is asked for an image's digest.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) resolve_image: ResolveImage,
    /// Give nodes the login to each image's registry, from the docker configuration and its credential helpers, to pull the images with.
    #[arg(long)]
    pub(crate) with_registry_auth: bool,
    /// Replace a secret by a new one with what its file has now; the services that use it are updated. Secrets cannot be read back, so
    /// a changed file is not noticed by itself. Once for each secret, by its name in the swarm or in the file.
    #[arg(long, value_name = "SECRET")]
    pub(crate) rotate: Vec<String>,
    /// Ask a manager whether each secret holds what its file has, and replace those that do not. It is asked by a change that cannot be carried
    /// out, which its log may show.
    #[arg(long)]
    pub(crate) compare_secrets: bool,
}

/// What runs in a container of a task.
#[derive(Debug, Args)]
pub(crate) struct InsideArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Hand standard input on.
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the program a terminal.
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// As whom it runs: a user name or id, with :GROUP if wanted.
    #[arg(short, long)]
    pub(crate) user: Option<String>,
    /// The folder it runs in.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// A variable of its environment. Once for each.
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// A service (its first task that runs), SERVICE.SLOT, SERVICE.NODE, or the id of a task.
    #[arg(value_name = "TASK")]
    pub(crate) task: String,
    /// The program and its arguments, after --.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// A copy between this machine and a task.
#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// What is copied: `PATH` on this machine, `TASK:PATH`, or - for a tar archive from standard input.
    #[arg(value_name = "[TASK:]PATH")]
    pub(crate) source: String,
    /// Where to: into a folder that is there, or under this name. - writes a tar archive to standard output.
    #[arg(value_name = "[TASK:]PATH")]
    pub(crate) target: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StackCommand {
    /// Bring a stack up or up to date: show what differs, change that, and wait until its tasks run.
    Deploy {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        compose: ComposeArgs,
        /// Name of the stack.
        name: String,
        #[command(flatten)]
        how: DeployHow,
        /// Show what differs and stop, as `diff` does.
        #[arg(long)]
        dry_run: bool,
        /// Do not wait for tasks.
        #[arg(short, long)]
        detach: bool,
        /// How long it may take at most, for example 10m. Default: the file's `policy.timeout`.
        #[arg(long, value_name = "DURATION", value_parser = crate::args_common::duration)]
        timeout: Option<std::time::Duration>,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Show what a deploy would change. Changes nothing.
    Diff {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        compose: ComposeArgs,
        /// Name of the stack.
        name: String,
        #[command(flatten)]
        how: DeployHow,
    },
    /// List stacks.
    Ls {
        #[command(flatten)]
        common: Common,
    },
    /// List the tasks of a stack, with what fails and why.
    Ps {
        #[command(flatten)]
        common: Common,
        /// Name of the stack.
        name: String,
        /// Tasks that ended too.
        #[arg(short, long)]
        all: bool,
        /// Look again every two seconds, until Ctrl-C.
        #[arg(short = 'w', long)]
        watch: bool,
    },
    /// List the services of a stack.
    Services {
        #[command(flatten)]
        common: Common,
        /// Name of the stack.
        name: String,
    },
    /// Remove a stack: it ends when its tasks and networks are gone.
    Rm {
        #[command(flatten)]
        common: Common,
        /// Name of the stack.
        name: String,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Show the deploys and removals of a stack, oldest first, from the journal of the swarm. It has the last 50 runs of all kinds.
    History {
        #[command(flatten)]
        common: Common,
        /// Name of the stack.
        name: String,
        /// Only the newest ones.
        #[arg(long, value_name = "COUNT")]
        last: Option<usize>,
    },
    /// Check Compose files by themselves and print what they ask of the engine. No host is asked.
    Config {
        #[command(flatten)]
        compose: ComposeArgs,
        /// Name of the stack.
        #[arg(default_value = "stack")]
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// List services.
    Ls {
        #[command(flatten)]
        common: Common,
    },
    /// List the tasks of services, with what fails and why.
    Ps {
        #[command(flatten)]
        common: Common,
        /// Names of services.
        #[arg(required = true)]
        services: Vec<String>,
        /// Tasks that ended too.
        #[arg(short, long)]
        all: bool,
        /// Look again every two seconds, until Ctrl-C.
        #[arg(short = 'w', long)]
        watch: bool,
    },
    /// Print a service as its manager has it.
    Inspect {
        #[command(flatten)]
        common: Common,
        /// Name of the service.
        service: String,
    },
    /// Make a service, and wait until its tasks run.
    Create {
        #[command(flatten)]
        common: Common,
        /// Name of the service.
        #[arg(long)]
        name: String,
        /// A file of NAME=VALUE lines for its environment. Once for each.
        #[arg(long, value_name = "FILE")]
        env_file: Vec<PathBuf>,
        #[command(flatten)]
        flags: ServiceFlags<false>,
        #[command(flatten)]
        how: ChangeHow,
        #[command(flatten)]
        image_how: ImageHow,
        /// Its image.
        image: String,
        /// The command that is run instead of the image's own, with its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Change a service: what is not named stays, also what this program does not know.
    Update {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        flags: ServiceFlags<true>,
        /// Replace its tasks though nothing else changes.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        how: ChangeHow,
        #[command(flatten)]
        image_how: ImageHow,
        /// Name of the service.
        service: String,
    },
    /// Run a program in a container of a task, on whichever node it is. The exit code is the program's.
    Exec(InsideArgs),
    /// Copy a file or folder into a task or out of one, on whichever node it is. A task is named as for `exec`.
    Cp(CopyArgs),
    /// Change the number of replicas, of several services at once if wanted.
    Scale {
        #[command(flatten)]
        common: Common,
        /// `SERVICE=REPLICAS` for each.
        #[arg(required = true, value_name = "SERVICE=REPLICAS")]
        scales: Vec<String>,
        #[command(flatten)]
        how: ChangeHow,
    },
    /// Replace every task of services by a new one, by their update policies.
    Restart {
        #[command(flatten)]
        common: Common,
        /// Names of services.
        #[arg(required = true)]
        services: Vec<String>,
        #[command(flatten)]
        how: ChangeHow,
    },
    /// Remove services; it ends when their tasks are gone.
    Rm {
        #[command(flatten)]
        common: Common,
        /// Names of services.
        #[arg(required = true)]
        services: Vec<String>,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Show what the tasks of a service write.
    Logs {
        #[command(flatten)]
        common: Common,
        /// Name of the service.
        service: String,
        /// Go on with what is written from now on.
        #[arg(long)]
        follow: bool,
        /// Only so many of the last lines of each task.
        #[arg(long, value_name = "LINES")]
        tail: Option<u64>,
        /// Only lines of the last so long, for example 10m.
        #[arg(long, value_name = "DURATION", value_parser = crate::args_common::duration)]
        since: Option<std::time::Duration>,
        /// Only lines that hold this text.
        #[arg(long, value_name = "TEXT")]
        grep: Option<String>,
    },
    /// End a running update of services where it stands; at most one more task is replaced. `service update` goes on with it, `service rollback`
    /// goes back; the docker CLI's update needs --update-delay then.
    StopUpdate {
        #[command(flatten)]
        common: Common,
        /// Names of services.
        #[arg(required = true)]
        services: Vec<String>,
        /// Print the plan and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Put the specification before the present one back.
    Rollback {
        #[command(flatten)]
        common: Common,
        /// Names of services.
        #[arg(required = true)]
        services: Vec<String>,
        #[command(flatten)]
        how: ChangeHow,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List the cluster's hosts and nodes, as `status` does.
    Ls(crate::args_common::StatusArgs),
    /// Print the entries of hosts as a manager has them.
    Inspect(NodeArgs),
    /// List the tasks on hosts.
    Ps(NodeArgs),
    /// Make workers managers, one after the other.
    Promote(NodeArgs),
    /// Make managers workers, one after the other; never below a majority.
    Demote(NodeArgs),
    /// Move the tasks of hosts elsewhere, and wait until none runs there.
    Drain {
        #[command(flatten)]
        args: NodeArgs,
        /// How long to wait for tasks to end, for example 2m.
        #[arg(long, default_value = "5m", value_parser = crate::args_common::duration)]
        timeout: std::time::Duration,
        /// Let the tasks of replicated services run elsewhere before they end here. What will stop all the same is named first.
        #[arg(long)]
        zero_downtime: bool,
        /// Do not ask. Only --zero-downtime asks, where something will stop.
        #[arg(short, long)]
        yes: bool,
    },
    /// Let hosts take tasks again.
    Activate(NodeArgs),
    /// Let hosts keep their tasks and take no new ones.
    Pause(NodeArgs),
    /// Set labels (KEY=VALUE) and remove them (KEY-) on a host.
    Label {
        #[command(flatten)]
        common: Common,
        /// The host.
        #[arg(add = ArgValueCompleter::new(hosts))]
        host: String,
        /// `KEY=VALUE` or `KEY-` for each label.
        #[arg(required = true, value_name = "KEY=VALUE|KEY-")]
        labels: Vec<String>,
        /// Show what would change and stop.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        wait: crate::args_common::WaitArgs,
    },
    /// Give a host another advertise address: drained, out of the swarm, and in again under the new one, with the role, the labels and the
    /// availability it has.
    Move {
        #[command(flatten)]
        common: Common,
        /// The host.
        #[arg(add = ArgValueCompleter::new(hosts))]
        host: String,
        /// The new address: an IP address, an interface, or a network it is in.
        #[arg(long, value_name = "ADDRESS")]
        advertise: swarm_core::addr::AddressSelector,
        #[command(flatten)]
        out: OutArgs,
    },
    /// Take hosts out of the swarm for good: drained, demoted, left, and removed from the list.
    Rm {
        #[command(flatten)]
        common: Common,
        /// Hosts that answer.
        #[arg(add = ArgValueCompleter::new(hosts))]
        hosts: Vec<String>,
        /// A host, or a node by its name or id, that is gone and will not come back. Nothing is asked of it; what may still run there is not
        /// stopped. Once for each.
        #[arg(long, value_name = "HOST", add = ArgValueCompleter::new(hosts))]
        dead: Vec<String>,
        #[command(flatten)]
        out: OutArgs,
    },
}

/// How hosts are taken out of the swarm.
#[derive(Debug, Args)]
pub(crate) struct OutArgs {
    /// How long to wait for tasks to end, for example 2m.
    #[arg(long, default_value = "5m", value_parser = crate::args_common::duration)]
    pub(crate) timeout: std::time::Duration,
    /// Show what would be done and stop.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) wait: crate::args_common::WaitArgs,
}

/// Some hosts.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Hosts, by their names in the file, or as nodes by id, the beginning of an id, or host name.
    #[arg(required = true, value_name = "HOST", add = ArgValueCompleter::new(hosts))]
    pub(crate) hosts: Vec<String>,
    /// Show what would change and stop.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) wait: crate::args_common::WaitArgs,
}

/// How an image is asked for.
#[derive(Debug, Args)]
pub(crate) struct ImageHow {
    /// When the registry is asked for the image's digest.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) resolve_image: ResolveImage,
    /// Give nodes the login to the image's registry, from the docker configuration and its credential helpers, to pull the image with.
    #[arg(long)]
    pub(crate) with_registry_auth: bool,
}

/// How a change goes on.
#[derive(Debug, Args)]
pub(crate) struct ChangeHow {
    /// Show what would change and stop.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not wait for tasks.
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// How long it may take at most, for example 10m. Default: the file's `policy.timeout`.
    #[arg(long, value_name = "DURATION", value_parser = crate::args_common::duration)]
    pub(crate) timeout: Option<std::time::Duration>,
}
