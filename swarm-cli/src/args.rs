//! The command line.

use crate::args_ca::CaCommand;
use crate::args_common::{Common, Format, LimitArgs, StatusArgs, WaitArgs, duration};
use crate::args_stores::{
    ContextCommand, EngineCommand, ImageCommand, ObjectCommand, RebootArgs, RegistryCommand, ResetArgs, VolumeCommand,
};
use crate::args_swarm::{
    AdoptArgs, BackupArgs, CertsArgs, CheckArgs, DockerArgs, EnvArgs, EventsArgs, ExecArgs, ExplainArgs, HistoryArgs, HostsArgs,
    HostsCommand, LockCommand, MaintainArgs, RebalanceArgs, RecoverArgs, RestoreArgs, ScpArgs, SshArgs, SupportArgs, TokenCommand,
    UnlockArgs, UnlockKeyCommand,
};
use crate::args_work::{NodeCommand, ServiceCommand, StackCommand};
use crate::complete::hosts;
use clap::{Args, Parser, Subcommand};
use clap_complete::ArgValueCompleter;
use std::path::PathBuf;

const EXIT_CODES: &str = "Exit codes: 0 as wished · 1 error, nothing changed or all of it named · 2 changes are planned · 3 not as wished, degraded or unknown · 4 partly applied · 5 outcome in doubt · 6 update paused · 7 rolled back · 64 usage · 130 interrupted";

/// Bring Docker Swarm clusters up from one file, and look after them.
#[derive(Debug, Parser)]
#[command(name = "swarm", version, about, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Say more (-v, -vv, -vvv). Secrets stay hidden at every level.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// How to write the result, and what went wrong.
    #[arg(long, value_enum, default_value_t, global = true, env = "SWARM_FORMAT", hide_env_values = true)]
    pub(crate) format: Format,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a commented cluster file for some hosts.
    New(NewArgs),
    /// Write the cluster file of a swarm that runs already: what it says is what is there.
    Adopt(AdoptArgs),
    /// Check the cluster file by itself: no host is asked.
    Validate(ValidateArgs),
    /// Print the JSON Schema of the cluster file, or of Compose files, for editors.
    Schema {
        /// The schema of Compose files, as `swarm stack deploy` reads them.
        #[arg(long)]
        compose: bool,
    },
    /// Look on every host for what would break a swarm. Changes nothing.
    Check(CheckArgs),
    /// Collect into one file what someone who helps needs to know, without secrets.
    Support(SupportArgs),
    /// Look at every host and show what `apply` would do. Changes nothing.
    Plan(PlanArgs),
    /// Bring the cluster to what the file says, and verify it from a fresh look.
    Apply(ApplyArgs),
    /// Look at every host and say whether the cluster is what the file says.
    Verify(VerifyArgs),
    /// Show the cluster's hosts and nodes.
    Status(StatusArgs),
    /// Nodes of the swarm: promote, demote, drain, label, take out.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Applications from Compose files: diff, deploy, list, remove.
    #[command(subcommand)]
    Stack(StackCommand),
    /// Services of the swarm: list, look at, scale, restart, roll back.
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Networks of the swarm.
    #[command(subcommand)]
    Network(ObjectCommand),
    /// Secrets of the swarm.
    #[command(subcommand)]
    Secret(ObjectCommand),
    /// Configs of the swarm.
    #[command(subcommand)]
    Config(ObjectCommand),
    /// Join tokens: show one, replace them.
    #[command(subcommand)]
    Token(TokenCommand),
    /// The swarm's certificate authority: show its root, replace it.
    #[command(subcommand)]
    Ca(CaCommand),
    /// Show who issued each node's certificate and when it ends.
    Certs(CertsArgs),
    /// Unlock managers that wait for the unlock key after a restart.
    Unlock(UnlockArgs),
    /// The key that unlocks managers after a restart.
    #[command(subcommand)]
    UnlockKey(UnlockKeyCommand),
    /// Run a command on hosts whose nodes are drained for that time: one after the other, managers last, stopping at the first failure.
    Maintain(MaintainArgs),
    /// Restart hosts, drained for that time: one after the other, managers last, each waited for until its node is ready again.
    Reboot(RebootArgs),
    /// The engines of all hosts: list them, upgrade them, configure them.
    #[command(subcommand)]
    Engine(EngineCommand),
    /// Take back what `prepare` of the file did on hosts, and nothing else: an engine that was installed is removed.
    Reset(ResetArgs),
    /// Volumes of all hosts.
    #[command(subcommand)]
    Volume(VolumeCommand),
    /// Images of all hosts.
    #[command(subcommand)]
    Image(ImageCommand),
    /// A registry that runs in the swarm.
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// Spread the tasks of replicated services over the nodes that may have them, without taking one away before another runs.
    Rebalance(RebalanceArgs),
    /// Run a command on all hosts at once, each line of output with its host.
    Exec(ExecArgs),
    /// Open a shell on a host, or run a command there, by your own `ssh`, with what the file says of user, key, port and jump hosts.
    Ssh(SshArgs),
    /// Say what an error means and what to do; without one, what hosts, nodes and tasks say is wrong.
    Explain(ExplainArgs),
    /// Copy files to a host or from one, by your own `scp`, with what the file says of user, key, port and jump hosts.
    Scp(ScpArgs),
    /// Hosts of the file, and files from hosts that something else knows.
    #[command(subcommand)]
    Hosts(HostsCommand),
    /// Print the addresses of hosts, as the managers know them where they answer.
    Ip(HostsArgs),
    /// Print what a shell evaluates so that `docker` uses the engine of a host, over SSH.
    Env(EnvArgs),
    /// A context of the docker command line for the cluster: `docker --context NAME` goes to a manager.
    #[command(subcommand)]
    Context(ContextCommand),
    /// The docker command line of this machine against the engine of a host, over the connection that is there.
    Docker(DockerArgs),
    /// The lock that lets one run at a time change the cluster: show who holds it, release it.
    #[command(subcommand)]
    Lock(LockCommand),
    /// List the runs that changed the cluster: when, who, what, and how they ended.
    History(HistoryArgs),
    /// What happened in the swarm, and with --follow what happens, in one order.
    Events(EventsArgs),
    /// Copy the state of a manager that does not lead into a file, with its engine stopped for some seconds.
    Backup(BackupArgs),
    /// Put a backup onto a fresh host of the same address, and bring the other hosts back.
    Restore(RestoreArgs),
    /// Go on with one manager where the quorum is lost for good. The last resort: every other manager is fenced first.
    Recover(RecoverArgs),
    /// Take every host of the file out of the swarm. Everything the swarm runs ends.
    Destroy(DestroyArgs),
    /// Real hosts on this machine: network namespaces with their own sshd and dockerd.
    #[command(subcommand)]
    Lab(LabCommand),
    /// Print shell completions: verbs, flags and the hosts of the cluster file.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Write a manual page for each verb into a folder.
    #[command(hide = true)]
    Man {
        /// The folder.
        dir: PathBuf,
    },
    /// Print the version.
    Version,
}

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// `NAME=[USER@]ADDRESS` for each host. The first host, or the first three, become managers.
    #[arg(required = true, value_name = "NAME=[USER@]ADDRESS")]
    pub(crate) hosts: Vec<String>,
    /// Name of the cluster.
    #[arg(long, default_value = "swarm")]
    pub(crate) name: String,
    /// How many of the hosts, from the front, are managers. Default: 3 if there are that many, else 1.
    #[arg(long)]
    pub(crate) managers: Option<usize>,
    /// Where to write it; - is standard output. A file that is there is not overwritten.
    #[arg(short, long, default_value = "swarm.yaml")]
    pub(crate) output: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// The cluster file; - is standard input.
    #[arg(short, long, default_value = "swarm.yaml", value_name = "FILE", env = "SWARM_FILE", hide_env_values = true)]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) limit: LimitArgs,
    /// Plan nothing: say what still works when these hosts fail (`m2,m3=down`), or without a value after each failure of one host and of
    /// two managers.
    #[arg(long, value_name = "HOST,…=down", num_args = 0..=1, default_missing_value = "", conflicts_with = "output")]
    pub(crate) what_if: Option<String>,
    /// Save the plan for `apply PLAN`.
    #[arg(short, long, value_name = "PLAN")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) force: ForceArgs,
}

#[derive(Debug, Default, Args)]
pub(crate) struct ForceArgs {
    /// This host may be taken out of another swarm; what it runs there ends. Once for each host.
    #[arg(long, value_name = "HOST", add = ArgValueCompleter::new(hosts))]
    pub(crate) force_leave: Vec<String>,
    /// Remove nodes that are down and that the file does not name.
    #[arg(long)]
    pub(crate) prune: bool,
    /// Where there is no swarm, make it on this manager, also if other managers of the file cannot be asked whether they are in one. Each of
    /// them is named; if one of them is in the swarm of this file, there are two of it afterwards.
    #[arg(long, value_name = "HOST", add = ArgValueCompleter::new(hosts))]
    pub(crate) init_on: Option<String>,
    /// Engines that `prepare` of the file changes may be restarted under running containers.
    #[arg(long)]
    pub(crate) allow_restart: bool,
    /// Ask a manager whether each secret of the file's stacks holds what its file has, and replace those that do not. It is asked by a change that
    /// cannot be carried out, which its log may show.
    #[arg(long)]
    pub(crate) compare_secrets: bool,
}

impl ForceArgs {
    /// Whether any of them was given.
    pub(crate) fn is_any(&self) -> bool {
        !self.force_leave.is_empty() || self.prune || self.init_on.is_some() || self.compare_secrets
    }
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// A plan saved by `plan -o`: exactly that is done, or nothing.
    #[arg(value_name = "PLAN")]
    pub(crate) plan: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) limit: LimitArgs,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Show the plan and stop, as `plan` does.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) force: ForceArgs,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) limit: LimitArgs,
    /// How long to wait for what may still come, for example 30s.
    #[arg(long, default_value = "0s", value_parser = duration)]
    pub(crate) timeout: std::time::Duration,
}

#[derive(Debug, Args)]
pub(crate) struct DestroyArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Take a swarm down that has no leader, or of which no manager answers: each host that is reached leaves it by force.
    #[arg(long)]
    pub(crate) force: bool,
    /// Also destroy the machines that were made for `machines` in the file. With --force also where hosts are not out of the swarm.
    #[arg(long)]
    pub(crate) machines: bool,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

/// Which lab.
#[derive(Debug, Args)]
pub(crate) struct LabName {
    /// Name of the lab; labs with different names run side by side. Default: the lab of the working folder.
    #[arg(long)]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LabCommand {
    /// Make a lab. Writes DIR/NAME/swarm.yaml, a key and known_hosts.
    Up {
        /// Its name; labs with different names run side by side.
        #[arg(long, default_value = "lab")]
        name: String,
        /// How many managers its cluster file has.
        #[arg(long, default_value_t = 3)]
        managers: usize,
        /// How many workers its cluster file has.
        #[arg(long, default_value_t = 3)]
        workers: usize,
        /// Where its files are written.
        #[arg(long, default_value = ".lab")]
        dir: PathBuf,
        /// Hosts without an engine, with the files of these releases of Debian, one after the other: `bookworm,trixie:systemd`. They can
        /// install packages from the mirrors of this machine's apt.
        #[arg(long, value_delimiter = ',', value_name = "RELEASE")]
        bare: Vec<String>,
    },
    /// Make the files of hosts without an engine, which `up --bare` does where they are not there.
    Image {
        /// The release of Debian, for example bookworm, or with a service manager bookworm:systemd or bookworm:openrc.
        suite: String,
    },
    /// Serves packages to bare hosts.
    #[command(hide = true)]
    Packages {
        #[command(flatten)]
        lab: LabName,
    },
    /// Take a lab down, also one whose run crashed. Nothing is left.
    Down {
        #[command(flatten)]
        lab: LabName,
    },
    /// List labs and their hosts.
    Ls,
    /// Log in to a host.
    Ssh {
        #[command(flatten)]
        lab: LabName,
        /// The host.
        host: String,
        /// A command, instead of a shell.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Run a command inside a host, past SSH.
    Exec {
        #[command(flatten)]
        lab: LabName,
        /// The host.
        host: String,
        /// The command.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Stop a host.
    Kill {
        #[command(flatten)]
        lab: LabName,
        /// The host.
        host: String,
        /// As a power cut does: the engine is not asked first.
        #[arg(long)]
        hard: bool,
    },
    /// Start a host that was stopped, or the engine of one whose engine died.
    Start {
        #[command(flatten)]
        lab: LabName,
        /// The host.
        host: String,
    },
    /// Drop everything between two hosts.
    Cut {
        #[command(flatten)]
        lab: LabName,
        /// One host.
        a: String,
        /// The other host.
        b: String,
    },
    /// Lose this share of a host's packets, each way, for example 20%; 0% ends it.
    Loss {
        #[command(flatten)]
        lab: LabName,
        /// The host.
        host: String,
        /// How much of them.
        #[arg(value_parser = percent, value_name = "PERCENT")]
        share: u8,
    },
    /// Fill the disk that a host's engine keeps its swarm state on. An engine that is in a swarm restarts the first time.
    Fill {
        #[command(flatten)]
        lab: LabName,
        /// The host.
        host: String,
        /// How many bytes are left free.
        #[arg(long, default_value_t = 0, value_name = "BYTES")]
        leave: u64,
    },
    /// Stop a host's engine where it stands: it keeps its connections and answers nothing.
    Freeze {
        #[command(flatten)]
        lab: LabName,
        /// The host.
        host: String,
    },
    /// Try a cluster file on hosts of this machine: create, check, converge, second run, verify, failover, destroy. One line a stage.
    Test {
        /// The cluster file; its hosts become lab hosts with the same roles, labels and options. Default: three managers, three workers.
        #[arg(short, long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Leave the lab up, also where a stage fails.
        #[arg(long)]
        keep: bool,
    },
    /// Undo every cut, loss, full disk and frozen engine.
    Heal {
        #[command(flatten)]
        lab: LabName,
    },
    /// Delay what goes over SSH, in milliseconds there and back; 0 ends it.
    Delay {
        #[command(flatten)]
        lab: LabName,
        /// Milliseconds there and back.
        milliseconds: u64,
    },
    /// Load an image archive into every host.
    Load {
        #[command(flatten)]
        lab: LabName,
        /// A file that `docker save` wrote.
        image: PathBuf,
    },
    /// The process behind `delay`.
    #[command(hide = true)]
    Forward {
        /// The host's directory.
        dir: PathBuf,
        /// Milliseconds each way.
        milliseconds: u64,
    },
}

fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse().ok();
    number.filter(|share| *share <= 100).ok_or_else(|| "write a share from 0% to 100%".into())
}
