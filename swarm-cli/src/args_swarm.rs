//! The command line of what concerns the swarm as a whole: tokens, certificates, the unlock key.

use crate::args_common::{AgreeArgs, Common, LimitArgs, duration};
use crate::args_stores::ServedArgs;
use crate::complete::hosts;
use clap::{Args, Subcommand, ValueEnum};
use clap_complete::ArgValueCompleter;
use std::path::PathBuf;

/// A node's part in the swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleName {
    /// Holds the cluster state and votes.
    Manager,
    /// Runs tasks.
    Worker,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LockCommand {
    /// Show who holds the lock, and whether they still give signs of life.
    Status {
        #[command(flatten)]
        common: Common,
    },
    /// Release the lock of a run that is gone. A run that is there stops when it sees that.
    Release {
        #[command(flatten)]
        common: Common,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
}

impl LockCommand {
    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::Status { common } | Self::Release { common, .. } => common,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Only the newest ones.
    #[arg(long, value_name = "COUNT")]
    pub(crate) last: Option<usize>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Print the token that lets an engine join with this role, and nothing else. Whoever has it can join.
    Show {
        #[command(flatten)]
        common: Common,
        /// The role.
        role: RoleName,
    },
    /// Replace join tokens: the old ones let no engine in any more. Nodes that are in stay.
    Rotate {
        #[command(flatten)]
        common: Common,
        /// Only the token of this role.
        role: Option<RoleName>,
        #[command(flatten)]
        agree: AgreeArgs,
    },
}

impl TokenCommand {
    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::Show { common, .. } | Self::Rotate { common, .. } => common,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct CertsArgs {
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct UnlockArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The managers. Default: every one that is locked.
    #[arg(value_name = "HOST", add = ArgValueCompleter::new(hosts), conflicts_with = "all")]
    pub(crate) hosts: Vec<String>,
    /// Every manager that is locked, as without hosts.
    #[arg(long)]
    pub(crate) all: bool,
    /// A file that holds the key; - is standard input. Default: the place that the file names, else the terminal.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UnlockKeyCommand {
    /// Say whether the stored key is the swarm's, by their fingerprints. The key itself is not printed.
    Check {
        #[command(flatten)]
        common: Common,
    },
    /// Restart the engine of one manager and unlock it with the stored key: the proof that the key opens what it is kept for. The other
    /// managers go on meanwhile.
    Drill {
        #[command(flatten)]
        common: Common,
        /// The manager. Default: one that does not lead.
        #[arg(long, value_name = "HOST", add = ArgValueCompleter::new(hosts))]
        on: Option<String>,
        /// Do it also where managers are without a quorum meanwhile, as with one or two of them.
        #[arg(long)]
        accept_downtime: bool,
        #[command(flatten)]
        agree: AgreeArgs,
    },
    /// Replace the key and store the new one. The old one is kept beside it: a manager that is away still needs it.
    Rotate {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        agree: AgreeArgs,
    },
}

impl UnlockKeyCommand {
    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::Check { common } | Self::Rotate { common, .. } | Self::Drill { common, .. } => common,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct AdoptArgs {
    /// `[NAME=][USER@]ADDRESS[:PORT]` of one manager at least. Other nodes are looked for at the address they have in the swarm; those that
    /// are reached at another one are named here too.
    #[arg(required = true, value_name = "[NAME=][USER@]ADDRESS")]
    pub(crate) hosts: Vec<String>,
    /// Name of the cluster. Default: the one that the swarm carries, else `swarm`.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Private key of the logins. Default: as `ssh` finds it.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) identity_file: Option<PathBuf>,
    /// File with the hosts' keys. Default: as `ssh` finds it.
    #[arg(long, value_name = "FILE")]
    pub(crate) known_hosts: Option<PathBuf>,
    /// Where the unlock key is written if managers are locked. Default: NAME.unlock-key beside the file.
    #[arg(long, value_name = "FILE")]
    pub(crate) unlock_key_file: Option<PathBuf>,
    /// Where to write it; - is standard output. A file that is there is not overwritten.
    #[arg(short, long, default_value = "swarm.yaml")]
    pub(crate) output: PathBuf,
    /// Print the file and change nothing. Otherwise the swarm gets the cluster's name as its label, if it has none, and the unlock key is
    /// stored.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Another form of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckOutput {
    /// JUnit XML, for CI systems.
    Junit,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Another form of the report.
    #[arg(long, value_enum)]
    pub(crate) output: Option<CheckOutput>,
    /// Do not find out what arrives from every host at every other. For that a small program runs on the hosts for a moment: it is put into
    /// a folder of its own, and removed.
    #[arg(long)]
    pub(crate) no_ports: bool,
    /// Also prove an overlay network between every pair of nodes: a network and a service are made for a moment, whose tasks ask each other.
    /// Their image is loaded into the engines, without a registry, and everything is taken away again.
    #[arg(long)]
    pub(crate) datapath: bool,
    /// Also ask on every node for the addresses of every service in an overlay network, and compare with the tasks that run: for that tasks of
    /// the probe are in these networks for a moment.
    #[arg(long)]
    pub(crate) services: bool,
    /// Also ask for a published port on every node, from every other: a service with one task is there for a moment. Hosts whose kernels have
    /// no IPVS are left out and named, unless the file passes over the check `kernel-ipvs`.
    #[arg(long)]
    pub(crate) mesh: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RecoverArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The manager that is kept: the swarm goes on as it knows it.
    #[arg(value_name = "HOST", add = ArgValueCompleter::new(hosts))]
    pub(crate) host: String,
    /// Another manager that is not reached, and of which you say that it will not come back as what it was. By its name, or by its address
    /// where the file does not name it. Once for each. Not needed where a host is reached and its engine is stopped: if the engine is not
    /// started at boot it stays as it is, and if it is, its state is moved aside.
    #[arg(long, value_name = "HOST", add = ArgValueCompleter::new(hosts))]
    pub(crate) fenced: Vec<String>,
    #[command(flatten)]
    pub(crate) agree: AgreeArgs,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct BackupArgs {
    #[command(subcommand)]
    pub(crate) command: Option<BackupCommand>,
    #[command(flatten)]
    pub(crate) common: Common,
    /// Where to write it. A file that is there is not overwritten. Default: CLUSTER-TIME.swarm-backup.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The manager to take it from. Default: one that does not lead.
    #[arg(long, value_name = "HOST", add = ArgValueCompleter::new(hosts))]
    pub(crate) from: Option<String>,
    /// Take it also where managers are without a quorum meanwhile, as with one or two of them.
    #[arg(long)]
    pub(crate) accept_downtime: bool,
    /// Encrypt it to this age recipient (age1…). Once for each.
    #[arg(long, value_name = "RECIPIENT")]
    pub(crate) encrypt_to: Vec<String>,
    /// Keep this many of this cluster's backups in the folder, the newest ones; older ones are removed. Of those with default names.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) keep: Option<u32>,
    /// Remove backups of this cluster in the folder that are older, for example 30d. Of those with default names; the newest one stays.
    #[arg(long, value_name = "AGE", value_parser = duration)]
    pub(crate) keep_for: Option<std::time::Duration>,
    /// Take none: print a systemd service and a timer that take one at these times (systemd.time, for example daily), with these options.
    #[arg(long, value_name = "CALENDAR")]
    pub(crate) schedule: Option<String>,
    #[command(flatten)]
    pub(crate) agree: AgreeArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Check a backup: what it is of, that it is whole, and what an engine on this machine finds in it. That engine runs in a network of its
    /// own with nothing but loopback, so that it reaches no one; it needs root and dockerd here.
    Verify {
        /// The backup.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Compare checksums, and start no engine.
        #[arg(long)]
        checksums_only: bool,
        /// The unlock key, where the backup is locked.
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
        /// The age key file, where the backup is encrypted.
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The backup.
    #[arg(value_name = "BACKUP")]
    pub(crate) backup: PathBuf,
    /// The age key file, where the backup is encrypted.
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    /// The manager to put it onto. Default: the host of the file that it was taken from.
    #[arg(long, value_name = "HOST", add = ArgValueCompleter::new(hosts))]
    pub(crate) host: Option<String>,
    /// Another manager that is not reached, and of which you say that it will not come back as what it was. By its name, or by its address
    /// where the file does not name it. Once for each.
    #[arg(long, value_name = "HOST", add = ArgValueCompleter::new(hosts))]
    pub(crate) fenced: Vec<String>,
    #[command(flatten)]
    pub(crate) agree: AgreeArgs,
}

/// Which services are spread.
#[derive(Debug, Args)]
pub(crate) struct RebalanceArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Names of services. Without any, every replicated service.
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    #[command(flatten)]
    pub(crate) agree: AgreeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct MaintainArgs {
    #[command(flatten)]
    pub(crate) served: ServedArgs,
    /// How long the command may take, for example 10m.
    #[arg(long, default_value = "10m", value_parser = duration)]
    pub(crate) command_timeout: std::time::Duration,
    /// The command and its arguments, after `--`. It runs as root, without a shell.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) limit: LimitArgs,
    /// How long the command may take, for example 10m.
    #[arg(long, default_value = "1m", value_parser = duration)]
    pub(crate) timeout: std::time::Duration,
    /// The command and its arguments, after `--`. It runs without a shell, as root where the file has `sudo: true`.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// An error of an engine or of SSH, as it was printed. Without one, every host, node and task is asked what is wrong.
    #[arg(value_name = "ERROR")]
    pub(crate) error: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ScpArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Copy folders with what is in them.
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// What is copied and, last, where to: `PATH` on this machine or `HOST:PATH`.
    #[arg(required = true, num_args = 2.., value_name = "[HOST:]PATH")]
    pub(crate) paths: Vec<String>,
}

/// What hosts are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HostsFrom {
    /// An Ansible inventory, INI or YAML.
    Ansible,
    /// What `terraform output -json` or `terraform state pull` prints, and OpenTofu's.
    Terraform,
    /// An ssh_config: every Host without a pattern.
    SshConfig,
    /// The folder of docker-machine, or its folder of machines.
    DockerMachine,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HostsCommand {
    /// List the hosts of the file: where they are, what they are to be, how they are reached. None is asked.
    Ls(HostsArgs),
    /// Write a cluster file for hosts that something else knows already.
    Import {
        /// What they are read from.
        #[arg(long, value_enum)]
        from: HostsFrom,
        /// The file or folder; - is standard input.
        path: PathBuf,
        /// Name of the cluster.
        #[arg(long, default_value = "swarm")]
        name: String,
        /// How many of the hosts, from the front, are managers where nothing tells it. Default: 3 if there are that many, else 1.
        #[arg(long)]
        managers: Option<usize>,
        /// What hosts advertise that are reached by a name: an interface or a network.
        #[arg(long, value_name = "INTERFACE")]
        advertise: Option<String>,
        /// Where to write it; - is standard output. A file that is there is not overwritten.
        #[arg(short, long, default_value = "swarm.yaml")]
        output: PathBuf,
    },
}

/// Hosts that are asked about; all where none is named.
#[derive(Debug, Args)]
pub(crate) struct HostsArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Hosts. Without any, all of the file.
    #[arg(value_name = "HOST", add = ArgValueCompleter::new(hosts))]
    pub(crate) hosts: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct EnvArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The host whose engine is meant. Default: a manager that answers.
    #[arg(value_name = "HOST", add = ArgValueCompleter::new(hosts))]
    pub(crate) host: Option<String>,
    /// Print what takes it back.
    #[arg(long, conflicts_with = "host")]
    pub(crate) unset: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SshArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The host.
    #[arg(value_name = "HOST", add = ArgValueCompleter::new(hosts))]
    pub(crate) host: String,
    /// A command, after `--`, as `ssh` takes it; without one a shell.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Go on with what happens from now on. Where a manager goes, another one is asked.
    #[arg(long)]
    pub(crate) follow: bool,
    /// How far back, for example 10m. Managers keep the last 256 events each.
    #[arg(long, default_value = "10m", value_parser = duration)]
    pub(crate) since: std::time::Duration,
    /// Only events of a type: node, service, network, secret, config. Once for each.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DockerArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// The host whose engine is meant. Default: a manager that answers.
    #[arg(long, value_name = "HOST", add = ArgValueCompleter::new(hosts))]
    pub(crate) host: Option<String>,
    /// What the docker command line is asked, after `--`: `swarm docker -- node ls`.
    #[arg(last = true, required = true, value_name = "ARGUMENT")]
    pub(crate) arguments: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SupportArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Where to write it. A file that is there is not overwritten.
    #[arg(short, long, default_value = "swarm-support.json", value_name = "FILE")]
    pub(crate) output: PathBuf,
}
