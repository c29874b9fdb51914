//! One function for each verb.

mod access;
mod adopt;
mod agreed;
mod apply;
mod backup;
mod ca;
mod check;
mod configure;
mod context;
mod copy;
mod datapath;
mod drill;
mod each;
mod events;
mod explain;
mod hosts;
mod inside;
mod lab;
mod lab_test;
mod look;
mod machines;
mod mesh;
mod names;
mod new;
mod node;
mod objects;
mod operators;
mod own_registry;
mod preflight;
mod push;
mod reach;
mod ready;
mod recover;
mod report;
mod service;
mod stack;
mod stores;
mod support;
mod unlock_key;
mod upgrade;
mod work;

use crate::args::{Cli, Command, LabCommand};
use crate::args_common::{Common, Format};
use crate::args_stores::{EngineCommand, ImageCommand, ObjectCommand, VolumeCommand};
use crate::args_swarm::HostsCommand;
use crate::args_work::{NodeCommand, ServiceCommand, StackCommand};
use crate::failure::Failure;
use crate::{output, source};
use clap::CommandFactory;
use std::sync::atomic::{AtomicBool, Ordering};
use swarm_core::engine::Kind;
use swarm_core::spec::Machines;

/// Whether a signal stops a run in order.
static STOPS_IN_ORDER: AtomicBool = AtomicBool::new(false);

/// Whether the first signal is for the run that goes on: it stops in order.
pub(crate) fn stops_in_order() -> bool {
    STOPS_IN_ORDER.load(Ordering::SeqCst)
}

/// Does what the command line says; gives the exit code.
pub(crate) fn run(cli: Cli) -> Result<u8, Failure> {
    let format = cli.format;
    if format == Format::Jsonl
        && !matches!(
            cli.command,
            Command::Apply(_)
                | Command::Lab(LabCommand::Up { .. })
                | Command::Node(_)
                | Command::Events(_)
                | Command::Stack(StackCommand::Deploy { .. } | StackCommand::Rm { .. })
                | Command::Service(
                    ServiceCommand::Scale { .. }
                        | ServiceCommand::Restart { .. }
                        | ServiceCommand::Rollback { .. }
                        | ServiceCommand::StopUpdate { .. }
                        | ServiceCommand::Logs { .. }
                )
        )
    {
        return Err(Failure::Usage("--format jsonl is for verbs that change something step by step".into()));
    }
    match cli.command {
        Command::New(args) => new::new(&args, format),
        Command::Adopt(args) => wait_for(adopt::adopt(&args, format)),
        Command::Validate(args) => {
            let spec = source::file(&args.file)?;
            let (hosts, managers) = (spec.hosts().len(), spec.managers().count());
            let stacks = stack::of_cluster(&spec, &args.file, stack::Commands::Leave)?.len();
            let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
            let mut more = if stacks == 0 { String::new() } else { format!(", {}", counted(stacks, "stack")) };
            match spec.machines() {
                None => {}
                Some(Machines::Aws(aws)) => more += &format!(", {} at AWS", counted(aws.hosts().len(), "machine")),
                Some(Machines::Lab(lab)) => more += &format!(", {} in a lab", counted(lab.hosts().len(), "host")),
                Some(_) => more += ", and those that its program makes",
            }
            match format {
                Format::Json => output::json(
                    "validate",
                    &serde_json::json!({ "cluster": spec.name(), "hosts": hosts, "managers": managers, "stacks": stacks }),
                ),
                _ => output::data(&format!(
                    "{} is a cluster file: cluster {}, {}, {}{more}",
                    args.file.display(),
                    spec.name(),
                    counted(hosts, "host"),
                    counted(managers, "manager")
                )),
            }
            Ok(0)
        }
        Command::Schema { compose } => {
            let schema = if compose { swarm_compose::schema() } else { swarm_core::spec::json_schema() };
            output::data(&serde_json::to_string_pretty(&schema).unwrap_or_default());
            Ok(0)
        }
        Command::Check(args) => wait(&args.common, check::run(&args, format)),
        Command::Plan(args) => wait(&args.common, apply::plan(&args, format)),
        Command::Apply(args) => wait(&args.common, apply::apply(&args, format)),
        Command::Destroy(args) => wait(&args.common, apply::destroy(&args, format)),
        Command::Verify(args) => wait(&args.common, look::verify(&args, format)),
        Command::Status(args) => wait(&args.common, look::status(&args, format)),
        Command::Stack(command) => match work_file(&command) {
            Some(common) => wait(common, stack::run(&command, format)),
            None => wait_for(stack::run(&command, format)),
        },
        Command::Node(command) => wait(node_file(&command), node::run(&command, format)),
        Command::Service(command) => wait(service_file(&command), service::run(&command, format)),
        Command::Network(command) => wait(object_file(&command), objects::run(Kind::Network, &command, format)),
        Command::Secret(command) => wait(object_file(&command), objects::run(Kind::Secret, &command, format)),
        Command::Config(command) => wait(object_file(&command), objects::run(Kind::Config, &command, format)),
        Command::Token(command) => wait(command.common(), access::token(&command, format)),
        Command::Ca(command) => wait(command.common(), ca::ca(&command, format)),
        Command::Certs(args) => wait(&args.common, access::certs(&args, format)),
        Command::Unlock(args) => wait(&args.common, access::unlock(&args, format)),
        Command::Support(args) => wait(&args.common, support::run(&args, format)),
        Command::Engine(EngineCommand::Ls { common }) => wait(&common, upgrade::ls(&common, format)),
        Command::Engine(EngineCommand::Restart(args)) => wait(&args.common, hosts::restart(&args, format)),
        Command::Engine(EngineCommand::Configure(args)) => wait(&args.common, configure::configure_engines(&args, format)),
        Command::Reboot(args) => wait(&args.served.common, hosts::reboot(&args, format)),
        Command::Reset(args) => wait(&args.common, configure::reset_hosts(&args, format)),
        Command::Engine(EngineCommand::Upgrade(args)) => wait(&args.common, upgrade::run(&args, format)),
        Command::Volume(command) => wait(volume_file(&command), stores::volume(&command, format)),
        Command::Image(command) => wait(image_file(&command), stores::image(&command, format)),
        Command::Registry(command) => wait(command.common(), own_registry::run(&command, format)),
        Command::Rebalance(args) => wait(&args.common, service::rebalance(&args, format)),
        Command::Maintain(args) => wait(&args.served.common, hosts::maintain(&args, format)),
        Command::Exec(args) => wait(&args.common, hosts::exec(&args, format)),
        Command::Ssh(args) => reach::ssh(&args),
        Command::Explain(args) if !args.error.is_empty() => explain::one(&args.error.join(" "), format),
        Command::Explain(args) => wait(&args.common, explain::all(&args.common, format)),
        Command::Scp(args) => reach::scp(&args),
        Command::Hosts(HostsCommand::Ls(args)) => reach::hosts(&args, format),
        Command::Hosts(HostsCommand::Import { from, path, name, managers, advertise, output }) => {
            let hosts = new::read(from, &path)?;
            let managers = managers.unwrap_or(if hosts.len() >= 3 { 3 } else { 1 });
            let text = swarm_file::imported(&name, &hosts, managers, advertise.as_deref());
            new::put_unfinished("hosts import", &text, hosts.len(), &output, format)
        }
        Command::Ip(args) => wait(&args.common, reach::ip(&args, format)),
        Command::Context(command) => wait(command.common(), context::run(&command)),
        Command::Env(args) => wait(&args.common, reach::env(&args)),
        Command::Lock(command) => wait(command.common(), operators::lock(&command, format)),
        Command::History(args) => wait(&args.common, operators::history(&args, format)),
        Command::Events(args) => wait(&args.common, events::events(&args, format)),
        Command::Docker(args) => wait(&args.common, reach::docker(&args)),
        Command::Backup(args) => match &args.command {
            Some(command) => wait_for(backup::command(command, format)),
            None => wait(&args.common, backup::run(&args, format)),
        },
        Command::Restore(args) => wait(&args.common, backup::restore(&args, format)),
        Command::Recover(args) => wait(&args.common, recover::run(&args, format)),
        Command::UnlockKey(command) => wait(command.common(), unlock_key::run(&command, format)),
        Command::Lab(command) => lab::run(command, format),
        Command::Completions { shell } => {
            output::data(&completions(shell)?);
            Ok(0)
        }
        Command::Man { dir } => {
            let written = std::fs::create_dir_all(&dir).and_then(|()| clap_mangen::generate_to(Cli::command(), &dir));
            written.map_err(|e| Failure::Io(dir, e.to_string()))?;
            Ok(0)
        }
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            match format {
                Format::Json => output::json("version", &serde_json::json!({ "swarm": version })),
                _ => output::data(&format!("swarm {version}")),
            }
            Ok(0)
        }
    }
}

/// What a shell sources: it asks this program for each completion, so that hosts of the cluster file are among them.
fn completions(shell: clap_complete::Shell) -> Result<String, Failure> {
    use clap_complete::env::{Bash, Elvish, EnvCompleter, Fish, Powershell, Zsh};
    let completer: &dyn EnvCompleter = match shell {
        clap_complete::Shell::Bash => &Bash,
        clap_complete::Shell::Elvish => &Elvish,
        clap_complete::Shell::Fish => &Fish,
        clap_complete::Shell::PowerShell => &Powershell,
        clap_complete::Shell::Zsh => &Zsh,
        other => return Err(Failure::Usage(format!("there are no completions for {other}"))),
    };
    let mut text = Vec::new();
    completer
        .write_registration(crate::complete::VARIABLE, "swarm", "swarm", "swarm", &mut text)
        .map_err(|e| Failure::Other(e.to_string()))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The file of a verb about stacks; none where no host is asked.
fn work_file(command: &StackCommand) -> Option<&Common> {
    match command {
        StackCommand::Deploy { common, .. }
        | StackCommand::Diff { common, .. }
        | StackCommand::Ls { common }
        | StackCommand::Ps { common, .. }
        | StackCommand::Services { common, .. }
        | StackCommand::History { common, .. }
        | StackCommand::Rm { common, .. } => Some(common),
        StackCommand::Config { .. } => None,
    }
}

fn volume_file(command: &VolumeCommand) -> &Common {
    match command {
        VolumeCommand::Ls { common, .. }
        | VolumeCommand::Inspect { common, .. }
        | VolumeCommand::Rm { common, .. }
        | VolumeCommand::Prune { common, .. } => common,
    }
}

fn image_file(command: &ImageCommand) -> &Common {
    match command {
        ImageCommand::Ls { common, .. }
        | ImageCommand::Pull { common, .. }
        | ImageCommand::Push { common, .. }
        | ImageCommand::Prune { common, .. } => common,
    }
}

fn service_file(command: &ServiceCommand) -> &Common {
    match command {
        ServiceCommand::Ls { common }
        | ServiceCommand::Ps { common, .. }
        | ServiceCommand::Inspect { common, .. }
        | ServiceCommand::Create { common, .. }
        | ServiceCommand::Update { common, .. }
        | ServiceCommand::Scale { common, .. }
        | ServiceCommand::Restart { common, .. }
        | ServiceCommand::Logs { common, .. }
        | ServiceCommand::Rm { common, .. }
        | ServiceCommand::StopUpdate { common, .. }
        | ServiceCommand::Rollback { common, .. } => common,
        ServiceCommand::Exec(args) => &args.common,
        ServiceCommand::Cp(args) => &args.common,
    }
}

fn node_file(command: &NodeCommand) -> &Common {
    match command {
        NodeCommand::Ls(args) => &args.common,
        NodeCommand::Inspect(args)
        | NodeCommand::Ps(args)
        | NodeCommand::Promote(args)
        | NodeCommand::Demote(args)
        | NodeCommand::Drain { args, .. }
        | NodeCommand::Activate(args)
        | NodeCommand::Pause(args) => &args.common,
        NodeCommand::Label { common, .. } | NodeCommand::Move { common, .. } | NodeCommand::Rm { common, .. } => common,
    }
}

fn object_file(command: &ObjectCommand) -> &Common {
    match command {
        ObjectCommand::Ls { common }
        | ObjectCommand::Inspect { common, .. }
        | ObjectCommand::Create { common, .. }
        | ObjectCommand::Rm { common, .. } => common,
    }
}

fn wait(common: &Common, work: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    if common.simulate.is_some() {
        return swarm_sim::run(work);
    }
    wait_for(work)
}

fn wait_for(work: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|e| Failure::Other(format!("the runtime could not be started: {e}")))?;
    let result = runtime.block_on(work);
    // Connections to hosts are not waited for.
    runtime.shutdown_background();
    result
}
