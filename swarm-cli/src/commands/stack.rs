//! `swarm stack`.

use super::service::{replicas, task_picture};
use super::work::{How, Session, carry, resolve, table, watched};
use crate::args_common::Format;
use crate::args_work::{ComposeArgs, DeployHow, ResolveImage, StackCommand};
use crate::failure::Failure;
use crate::fleet::AnyFleet;
use crate::registry::{self, Logins, WithLogins};
use crate::{output, source};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use swarm_compose::{Context, ReadStack, Source};
use swarm_core::engine::{Body, Kind, Object, Payloads, Query};
use swarm_core::intent::Intent;
use swarm_core::observe::{Observed, ObservedCluster};
use swarm_core::secret::Secret;
use swarm_core::spec::StackFiles;
use swarm_core::{Apply, ClusterSpec};
use swarm_workload::{Deploy, DeployOptions, NAMESPACE_LABEL, Remove, ServiceWanted, without_secrets};

/// The largest file that a stack is read from, and the largest that a secret or config is.
const LIMIT: u64 = 8 << 20;

pub(super) async fn run(command: &StackCommand, format: Format) -> Result<u8, Failure> {
    match command {
        StackCommand::Deploy { common, compose, name, how, dry_run, detach, timeout, yes } => {
            let read = read(compose, name, Commands::Run)?;
            let session = Session::open(common).await?;
            deploy(&session, &read, how, format, Going { dry_run: *dry_run, detach: *detach, timeout: *timeout, yes: *yes }).await
        }
        StackCommand::Diff { common, compose, name, how } => {
            let read = read(compose, name, Commands::Run)?;
            let session = Session::open(common).await?;
            deploy(&session, &read, how, format, Going { dry_run: true, detach: false, timeout: None, yes: false }).await
        }
        StackCommand::Ls { common } => ls(&Session::open(common).await?, format).await,
        StackCommand::Ps { common, name, all, watch } => {
            let session = Session::open(common).await?;
            let label = format!("{NAMESPACE_LABEL}={name}");
            let wants = [Query::all(Kind::Task).with("label", label.clone()), Query::all(Kind::Service).with("label", label)];
            let look = async || {
                let (observed, lists) = session.listed(&wants).await?;
                let services = lists.get(1).filter(|s| !s.is_empty()).ok_or_else(|| Failure::Other(format!("there is no stack {name}")))?;
                Ok((task_picture(lists.first().map_or(&[], Vec::as_slice), services, &observed, *all, format), 0))
            };
            watched("stack ps", *watch, format, look).await
        }
        StackCommand::Services { common, name } => {
            let session = Session::open(common).await?;
            let wants = [Query::all(Kind::Service).with("label", format!("{NAMESPACE_LABEL}={name}"))];
            let (_, lists) = session.listed(&wants).await?;
            super::service::service_table("stack services", lists.first().map_or(&[], Vec::as_slice), format);
            Ok(0)
        }
        StackCommand::Rm { common, name, yes } => {
            let session = Session::open(common).await?;
            let intent = Remove { spec: &session.spec, stack: name };
            let how = How {
                question: Some(format!("Remove stack `{name}` with everything that is listed?")),
                must_agree: true,
                yes: *yes,
                journal: Some(format!("stack rm {name}")),
                idle: format!("there is no stack {name}"),
                done: format!("stack {name} is gone"),
                ..How::new("stack rm", format)
            };
            carry(&session, &intent, how).await
        }
        StackCommand::History { common, name, last } => {
            let session = Session::open(common).await?;
            super::objects::runs_of(&session, Some(name), *last, format).await
        }
        StackCommand::Config { compose, name } => {
            let read = read(compose, name, Commands::Leave)?;
            let stack = without_secrets(json!(read.stack));
            match format {
                Format::Text => output::data(&serde_json::to_string_pretty(&stack).unwrap_or_default()),
                _ => output::json("stack config", &json!({ "stack": stack })),
            }
            Ok(0)
        }
    }
}

/// How a deploy goes on.
pub(super) struct Going {
    pub(super) dry_run: bool,
    pub(super) detach: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) yes: bool,
}

pub(super) async fn deploy(session: &Session, read: &ReadStack, how: &DeployHow, format: Format, going: Going) -> Result<u8, Failure> {
    let stack = &read.stack;
    let images = stack.services.iter().map(ServiceWanted::image).collect();
    let none = how.resolve_image == ResolveImage::Never && !how.with_registry_auth;
    let logins = if none { Logins::default() } else { registry::logins(&images, how.with_registry_auth)? };
    let rotate: BTreeSet<String> = how
        .rotate
        .iter()
        .map(|name| {
            let scoped = format!("{}_{name}", stack.name);
            if stack.secrets.iter().any(|s| s.name == scoped) { scoped } else { name.clone() }
        })
        .collect();
    let options = DeployOptions {
        prune: how.prune,
        resolve: resolve(how.resolve_image),
        detach: going.detach,
        rotate,
        logins: logins.of.clone(),
        send_logins: how.with_registry_auth,
        ..DeployOptions::default()
    };
    let mut intent = Deploy { spec: &session.spec, stack, options };
    if how.compare_secrets {
        intent.options.differ = compared(session, read, &intent).await?;
    } else if going.dry_run && !stack.secrets.is_empty() {
        output::note("secrets that are there count as unchanged, for none can be read back; --compare-secrets asks a manager");
    }
    let asks_about_a_secret = !(intent.options.rotate.is_empty() && intent.options.differ.is_empty());
    let how = How {
        dry_run: going.dry_run,
        question: Some(format!("Deploy stack `{}` as listed?", stack.name)),
        must_agree: false,
        yes: going.yes,
        timeout: going.timeout,
        journal: Some(format!("stack deploy {}", stack.name)),
        asks: asks_about_a_secret,
        payloads: &WithLogins(&read.payloads, &logins),
        idle: format!("stack {} is as its files want it", stack.name),
        done: if going.detach { format!("stack {} was handed to the engine", stack.name) } else { format!("stack {} runs", stack.name) },
        ..How::new(if going.dry_run { "stack diff" } else { "stack deploy" }, format)
    };
    carry(session, &intent, how).await
}

/// The secrets of a stack that hold something else than their files.
async fn compared(session: &Session, read: &ReadStack, intent: &Deploy<'_>) -> Result<BTreeSet<String>, Failure> {
    let (observed, _) = session.listed(&intent.wants()).await?;
    differing(&Apply::new(&session.spec, &session.fleet).payloads(&read.payloads), intent, &observed).await
}

/// A stack of a cluster file.
pub(super) struct FileStack {
    read: ReadStack,
    files: StackFiles,
    logins: Logins,
    /// Secrets that hold something else than their files, where that was asked.
    differ: BTreeSet<String>,
}

/// Asks a manager which secrets of stacks hold something else than their files. A swarm that is yet to be made has none.
pub(super) async fn compare(spec: &ClusterSpec, fleet: &AnyFleet, stacks: &mut [FileStack]) -> Result<(), Failure> {
    let intents = deploys(spec, stacks);
    let found = intents.iter().zip(&*stacks).map(|(intent, of)| async move {
        let apply = Apply::new(spec, fleet).payloads(&of.read.payloads);
        let observed = apply.observe_objects(&intent.wants()).await;
        if matches!(observed.cluster, ObservedCluster::None) {
            return Ok(BTreeSet::new());
        }
        differing(&apply, intent, &observed).await
    });
    let found: Vec<BTreeSet<String>> = futures_util::future::try_join_all(found).await?;
    drop(intents);
    stacks.iter_mut().zip(found).for_each(|(stack, differ)| stack.differ = differ);
    Ok(())
}

async fn differing(apply: &Apply<'_, AnyFleet>, intent: &Deploy<'_>, observed: &Observed) -> Result<BTreeSet<String>, Failure> {
    let comparisons = intent.comparisons(observed);
    let asked: Vec<(String, Body)> = comparisons.iter().map(|c| (c.id.clone(), c.body.clone())).collect();
    let differ = apply.secrets_that_differ(observed, &asked).await?;
    Ok(comparisons.into_iter().filter(|c| differ.contains(&c.id)).map(|c| c.secret).collect())
}

/// Whether a network's spec encrypts it.
pub(super) fn is_encrypted(spec: &Value) -> bool {
    spec.pointer("/Options/encrypted").is_some_and(|v| v != "false")
}

/// Whether stacks make encrypted networks.
pub(super) fn encrypts(stacks: &[FileStack]) -> bool {
    stacks.iter().flat_map(|stack| &stack.read.stack.networks).any(|network| is_encrypted(&network.spec))
}

/// Reads the stacks of a cluster file; paths start from its folder.
pub(super) fn of_cluster(spec: &ClusterSpec, file: &Path, commands: Commands) -> Result<Vec<FileStack>, Failure> {
    let folder = file.parent().filter(|_| file.as_os_str() != "-").unwrap_or(Path::new(""));
    let here = |paths: &[std::path::PathBuf]| paths.iter().map(|path| folder.join(path)).collect();
    let of = |(name, files): (&String, &StackFiles)| {
        let args = ComposeArgs { compose_file: here(&files.compose), env: Vec::new(), env_file: here(&files.env_file) };
        Ok(FileStack { read: read(&args, name, commands)?, files: files.clone(), logins: Logins::default(), differ: BTreeSet::new() })
    };
    // What stacks refer to comes before them.
    let mut all = Vec::new();
    if spec.has_own_objects() {
        if file.as_os_str() == "-" {
            let why = "a cluster file with services, networks, secrets or configs of its own is read twice, and standard input cannot be; give a file";
            return Err(Failure::Usage(why.into()));
        }
        let args = ComposeArgs { compose_file: vec![file.to_owned()], env: Vec::new(), env_file: Vec::new() };
        let files = StackFiles { compose: args.compose_file.clone(), env_file: Vec::new(), prune: false, with_registry_auth: false };
        all.push(FileStack {
            read: read_with(&args, spec.name(), commands, true)?,
            files,
            logins: Logins::default(),
            differ: BTreeSet::new(),
        });
    }
    let stacks: Result<Vec<FileStack>, Failure> = spec.stacks().iter().map(of).collect();
    all.extend(stacks?);
    Ok(all)
}

/// Finds the logins to the registries of their images.
pub(super) fn log_in(stacks: &mut [FileStack]) -> Result<(), Failure> {
    for stack in stacks {
        let images = stack.read.stack.services.iter().map(ServiceWanted::image).collect();
        stack.logins = registry::logins(&images, stack.files.with_registry_auth)?;
    }
    Ok(())
}

/// The data of several stacks.
pub(super) struct AllPayloads<'a>(pub(super) &'a [FileStack]);

impl Payloads for AllPayloads<'_> {
    fn payload(&self, name: &str) -> Result<Secret, String> {
        let mut found = self.0.iter().map(|stack| WithLogins(&stack.read.payloads, &stack.logins).payload(name));
        found.find(Result::is_ok).unwrap_or_else(|| Err(format!("the data of {name} is not known here")))
    }
}

/// The intents of a cluster's stacks.
pub(super) fn deploys<'a>(spec: &'a ClusterSpec, stacks: &'a [FileStack]) -> Vec<Deploy<'a>> {
    let of = |of: &'a FileStack| {
        let (prune, send_logins, logins) = (of.files.prune, of.files.with_registry_auth, of.logins.of.clone());
        Deploy {
            spec,
            stack: &of.read.stack,
            options: DeployOptions { prune, send_logins, logins, differ: of.differ.clone(), ..DeployOptions::default() },
        }
    };
    stacks.iter().map(of).collect()
}

/// Whether programs that write secrets and configs are run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Commands {
    Run,
    /// Where only the files are looked at.
    Leave,
}

/// How long such a program may take.
const PROGRAM: Duration = Duration::from_secs(60);

/// What a program writes. Its errors are shown, and never what it wrote.
fn written_by(argv: &[String], folder: &Path) -> Result<Vec<u8>, String> {
    let [program, arguments @ ..] = argv else { return Err("it is empty".into()) };
    let mut command = std::process::Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("it cannot be run: {e}"))?;
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else { return Err("its output cannot be read".into()) };
    let (send, ended) = mpsc::channel();
    let errors = send.clone();
    std::thread::spawn(move || send.send((true, limited(out, LIMIT))));
    std::thread::spawn(move || errors.send((false, limited(err, 64 << 10))));
    let until = Instant::now() + PROGRAM;
    let (mut written, mut said) = (Ok(Vec::new()), Ok(Vec::new()));
    for _ in 0..2 {
        match ended.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok((true, bytes)) => written = bytes,
            Ok((false, bytes)) => said = bytes,
            Err(_) => {
                let _ended_anyway = child.kill();
                return Err(format!("it did not end within {} s", PROGRAM.as_secs()));
            }
        }
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    if !status.success() {
        let said = String::from_utf8_lossy(&said.unwrap_or_default()).into_owned();
        let last = said.lines().last().map_or(String::new(), |line| format!(": {}", output::clean(line)));
        return Err(format!("it ended with {status}{last}"));
    }
    written
}

fn limited(from: impl Read, limit: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    from.take(limit + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > limit { Err(format!("it is larger than {} KiB", limit >> 10)) } else { Ok(bytes) }
}

/// A Compose file that is not in the file system, with the files that it refers to.
pub(super) struct ReadIn<'a> {
    pub(super) name: &'a str,
    pub(super) text: String,
    pub(super) file: &'a dyn Fn(&Path) -> Result<Vec<u8>, String>,
}

/// Reads one.
pub(super) fn read_text(of: &ReadIn<'_>) -> Result<ReadStack, Failure> {
    let context =
        Context { variable: &|_| None, file: of.file, command: &|_| Err("no program is run".into()), folder: std::path::PathBuf::new() };
    let sources = [Source { name: of.name.to_owned(), text: of.text.clone() }];
    swarm_compose::read(of.name, &sources, &context).map_err(|problems| Failure::File(problems.to_string()))
}

/// Reads Compose files with what they refer to.
fn read(args: &ComposeArgs, name: &str, commands: Commands) -> Result<ReadStack, Failure> {
    read_with(args, name, commands, false)
}

/// The same, of a cluster file's own objects too.
fn read_with(args: &ComposeArgs, name: &str, commands: Commands, own: bool) -> Result<ReadStack, Failure> {
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.is_empty() || !name.chars().all(named) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(Failure::Usage(format!("`{name}` is no name of a stack; use letters, digits, _ and -")));
    }
    let mut sources = Vec::new();
    for path in &args.compose_file {
        let bytes = source::read_limited(path, LIMIT)?;
        let text = String::from_utf8(bytes).map_err(|_| Failure::Io(path.clone(), "the file is not UTF-8 text".into()))?;
        let name = if path.as_os_str() == "-" { "standard input".to_owned() } else { path.display().to_string() };
        sources.push(Source { name, text });
    }
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    for path in &args.env_file {
        let bytes = source::read_limited(path, LIMIT)?;
        let lines = swarm_compose::env_lines(&String::from_utf8_lossy(&bytes));
        variables.extend(lines.into_iter().filter_map(|(key, value)| Some((key, value?))));
    }
    for pair in &args.env {
        let (key, value) = pair.split_once('=').ok_or_else(|| Failure::Usage(format!("--env {pair}: write NAME=VALUE")))?;
        variables.insert(key.to_owned(), value.to_owned());
    }
    let here = std::env::current_dir().map_err(|e| Failure::Other(format!("the working folder is not known: {e}")))?;
    let first = args.compose_file.first().map(Path::new).filter(|p| p.as_os_str() != "-");
    let folder = first.and_then(Path::parent).map_or_else(|| here.clone(), |parent| here.join(parent));
    let context = Context {
        variable: &|name| variables.get(name).cloned().or_else(|| std::env::var(name).ok()),
        file: &|path| limited(std::fs::File::open(path).map_err(|e| e.to_string())?, LIMIT),
        command: &|argv| match commands {
            Commands::Run => written_by(argv, &folder),
            Commands::Leave => Ok(b"not run".to_vec()),
        },
        folder: folder.clone(),
    };
    let read = match sources.first().filter(|_| own) {
        Some(source) => swarm_compose::read_own(name, source, &context),
        None => swarm_compose::read(name, &sources, &context),
    };
    let read = read.map_err(|problems| {
        let count = problems.0.len();
        let what = if own { "the services and what is beside them" } else { "the Compose files" };
        Failure::File(format!("{what} have {count} problem{}\n{problems}", if count == 1 { "" } else { "s" }))
    })?;
    for warning in &read.warnings {
        output::note(&format!("warning: {warning}"));
    }
    Ok(read)
}

async fn ls(session: &Session, format: Format) -> Result<u8, Failure> {
    let (_, lists) = session.listed(&[Query::all(Kind::Service).with("label", NAMESPACE_LABEL)]).await?;
    let mut stacks: BTreeMap<Cow<'_, str>, Vec<&Object>> = BTreeMap::new();
    for service in lists.iter().flatten() {
        stacks.entry(service.label(NAMESPACE_LABEL).unwrap_or_default()).or_default().push(service);
    }
    let counts = |services: &[&Object]| services.iter().map(|s| replicas(s)).fold((0, 0), |(r, w), (a, b)| (r + a, w + b));
    match format {
        Format::Text => {
            let row = |(name, services): (&Cow<'_, str>, &Vec<&Object>)| {
                let (running, wanted) = counts(services);
                vec![name.to_string(), services.len().to_string(), format!("{running}/{wanted}")]
            };
            table(&["NAME", "SERVICES", "TASKS"], stacks.iter().map(row).collect());
        }
        _ => {
            let row = |(name, services): (&Cow<'_, str>, &Vec<&Object>)| {
                let (running, wanted) = counts(services);
                json!({ "name": name, "services": services.len(), "running": running, "wanted": wanted })
            };
            output::json("stack ls", &json!({ "stacks": stacks.iter().map(row).collect::<Vec<_>>() }));
        }
    }
    Ok(0)
}
