//! Hosts that are served, drained for that time: `swarm maintain`, `swarm reboot`, `swarm engine restart`; and `swarm exec`.

use super::work::{How, Session, carry};
use crate::args_common::{AgreeArgs, Format};
use crate::args_stores::{RebootArgs, ServeArgs, ServedArgs};
use crate::args_swarm::{ExecArgs, MaintainArgs};
use crate::failure::Failure;
use crate::{output, source};
use futures_util::stream::{self, StreamExt};
use serde_json::json;
use std::time::Duration;
use swarm_core::fleet::Fleet;
use swarm_core::host::Command;
use swarm_core::id::HostName;
use swarm_core::spec::{ClusterSpec, HostSpec};
use swarm_workload::Maintain;

/// Hosts that are worked on at once.
const CONCURRENCY: usize = 32;

/// A program that hosts are served with, and its words.
struct Service {
    argv: Vec<String>,
    name: Option<&'static str>,
    patience: Duration,
    reboots: bool,
    verb: &'static str,
}

/// An intent that serves hosts one after the other as the flags say, with nothing of its own yet.
pub(super) fn serving<'a>(spec: &'a ClusterSpec, hosts: Vec<HostName>, serve: &ServeArgs, patience: Duration) -> Maintain<'a> {
    Maintain {
        spec,
        hosts,
        argv: Vec::new(),
        own: Default::default(),
        name: None,
        batch: usize::from(serve.batch),
        drain: serve.drain_timeout,
        patience,
        accept_downtime: serve.accept_downtime,
        reboots: false,
    }
}

/// How such an intent is agreed to and carried out: always after a question, with the lock of the swarm, and with its whole time for every host.
pub(super) fn agreed<'a>(intent: &Maintain<'_>, agree: &AgreeArgs, (verb, format): (&'a str, Format)) -> How<'a> {
    How {
        dry_run: agree.dry_run,
        must_agree: true,
        yes: agree.yes,
        locks: Some(None),
        timeout: Some(intent.longest()),
        ..How::new(verb, format)
    }
}

/// Serves hosts; `words` makes the question and what is said in the end from their names.
async fn serve(args: &ServedArgs, with: Service, words: impl FnOnce(&str) -> (String, String), format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let hosts: Vec<HostName> = source::named(&args.hosts, &session.spec, "HOST")?.into_iter().collect();
    let (question, done) = words(&hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", "));
    let intent = Maintain {
        argv: with.argv,
        name: with.name.map(str::to_owned),
        reboots: with.reboots,
        ..serving(&session.spec, hosts, &args.serve, with.patience)
    };
    let how = How { question: Some(question), done, ..agreed(&intent, &args.agree, (with.verb, format)) };
    carry(&session, &intent, how).await
}

pub(super) async fn maintain(args: &MaintainArgs, format: Format) -> Result<u8, Failure> {
    let (argv, patience) = (args.command.clone(), args.command_timeout);
    let with = Service { argv, name: None, patience, reboots: false, verb: "maintain" };
    let words = |names: &str| {
        (format!("Drain {names} and run the command there?"), format!("the command ran on {names}, and their nodes are as they were"))
    };
    serve(&args.served, with, words, format).await
}

/// What restarts a host.
const REBOOT: &str = "if [ -d /run/systemd/system ]; then systemctl reboot; else reboot; fi";

pub(super) async fn reboot(args: &RebootArgs, format: Format) -> Result<u8, Failure> {
    let argv = match args.command.as_slice() {
        [] => ["sh", "-c", REBOOT].map(str::to_owned).to_vec(),
        own => own.to_vec(),
    };
    let with = Service { argv, name: Some("the restart of the host"), patience: args.back_timeout, reboots: true, verb: "reboot" };
    let words = |names: &str| (format!("Drain and restart {names}?"), format!("{names} restarted, and their nodes are as they were"));
    serve(&args.served, with, words, format).await
}

pub(super) async fn restart(args: &ServedArgs, format: Format) -> Result<u8, Failure> {
    let (argv, patience) = (swarm_service::restart(), swarm_service::PATIENCE);
    let with = Service { argv, name: Some("the restart of the engine"), patience, reboots: false, verb: "engine restart" };
    let words = |names: &str| {
        (
            format!("Drain {names} and restart the engines there?"),
            format!("the engines of {names} restarted, and their nodes are as they were"),
        )
    };
    serve(args, with, words, format).await
}

/// How a command ended on one host.
struct Ended {
    host: HostName,
    status: Option<u32>,
    out: String,
    error: Option<String>,
}

pub(super) async fn exec(args: &ExecArgs, format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let spec = &session.spec;
    let limit = source::limit(&args.limit, spec)?;
    let hosts = spec.hosts().filter(|h| limit.as_ref().is_none_or(|l| l.contains(&h.name)));
    let runs = hosts.map(|host| on(&session, host, args));
    let mut ended: Vec<Ended> = stream::iter(runs.collect::<Vec<_>>()).buffered(CONCURRENCY).collect().await;
    ended.sort_by(|a, b| a.host.cmp(&b.host));
    let failed = ended.iter().filter(|e| e.status != Some(0)).count();
    match format {
        Format::Text => {
            let width = ended.iter().map(|e| e.host.as_str().len()).max().unwrap_or(0);
            for one in &ended {
                for line in one.out.lines() {
                    output::data(&format!("{:width$} | {}", one.host, output::clean(line)));
                }
                match (&one.error, one.status) {
                    (Some(error), _) => output::note(&format!("{}: {error}", one.host)),
                    (None, Some(0)) => {}
                    (None, Some(status)) => output::note(&format!("{}: it ended with status {status}", one.host)),
                    (None, None) => output::note(&format!("{}: a signal ended it", one.host)),
                }
            }
            output::note(&format!("{} of {} hosts: ended well", ended.len() - failed, ended.len()));
        }
        _ => {
            let hosts: Vec<_> =
                ended.iter().map(|e| json!({ "host": e.host, "status": e.status, "output": e.out, "error": e.error })).collect();
            output::json("exec", &json!({ "hosts": hosts, "failed": failed }));
        }
    }
    Ok(u8::from(failed > 0))
}

async fn on(session: &Session, host: &HostSpec, args: &ExecArgs) -> Ended {
    let failed = |error: String| Ended { host: host.name.clone(), status: None, out: String::new(), error: Some(error) };
    let machine = match session.fleet.machine(host).await {
        Ok(machine) => machine,
        Err(error) => return failed(error.message),
    };
    let command = Command { timeout: args.timeout, elevated: true, ..Command::new(args.command.iter().cloned()) };
    match machine.run(&command).await {
        Ok(ran) => {
            let text = |bytes: &[u8]| swarm_core::secret::redact(&String::from_utf8_lossy(bytes));
            Ended { host: host.name.clone(), status: ran.status, out: text(&ran.stdout) + &text(&ran.stderr), error: None }
        }
        Err(error) => failed(error.to_string()),
    }
}
