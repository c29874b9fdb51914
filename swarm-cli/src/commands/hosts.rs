//! `swarm maintain` and `swarm exec`.

use super::work::{How, Session, carry};
use crate::args::Format;
use crate::args_stores::{RebootArgs, RestartArgs};
use crate::args_swarm::{ExecArgs, MaintainArgs};
use crate::failure::Failure;
use crate::{output, source};
use futures_util::stream::{self, StreamExt};
use serde_json::json;
use std::time::Duration;
use swarm_core::fleet::Fleet;
use swarm_core::host::Command;
use swarm_core::id::HostName;
use swarm_core::spec::HostSpec;
use swarm_workload::Maintain;

/// Hosts that are worked on at once.
const CONCURRENCY: usize = 32;

pub(super) async fn maintain(args: &MaintainArgs, format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let hosts: Vec<HostName> = source::named(&args.hosts, &session.spec, "HOST")?.into_iter().collect();
    let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
    let intent = Maintain {
        spec: &session.spec,
        hosts: hosts.clone(),
        argv: args.command.clone(),
        own: Default::default(),
        name: None,
        batch: usize::from(args.serve.batch),
        drain: args.serve.drain_timeout,
        patience: args.command_timeout,
        accept_downtime: args.serve.accept_downtime,
        reboots: false,
    };
    let how = How {
        dry_run: args.agree.dry_run,
        question: Some(format!("Drain {} and run the command there?", names.join(", "))),
        must_agree: true,
        yes: args.agree.yes,
        done: format!("the command ran on {}, and their nodes are as they were", names.join(", ")),
        locks: Some(None),
        timeout: Some(intent.longest()),
        ..How::new("maintain", format)
    };
    carry(&session, &intent, how).await
}

/// What restarts a host.
const REBOOT: &str = "if [ -d /run/systemd/system ]; then systemctl reboot; else reboot; fi";

pub(super) async fn reboot(args: &RebootArgs, format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let hosts: Vec<HostName> = source::named(&args.hosts, &session.spec, "HOST")?.into_iter().collect();
    let names = hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ");
    let argv = match args.command.as_slice() {
        [] => ["sh", "-c", REBOOT].map(str::to_owned).to_vec(),
        own => own.to_vec(),
    };
    let intent = Maintain {
        spec: &session.spec,
        hosts,
        argv,
        own: Default::default(),
        name: Some("the restart of the host".into()),
        batch: usize::from(args.serve.batch),
        drain: args.serve.drain_timeout,
        patience: args.back_timeout,
        accept_downtime: args.serve.accept_downtime,
        reboots: true,
    };
    let how = How {
        dry_run: args.agree.dry_run,
        question: Some(format!("Drain and restart {names}?")),
        must_agree: true,
        yes: args.agree.yes,
        done: format!("{names} restarted, and their nodes are as they were"),
        locks: Some(None),
        timeout: Some(intent.longest()),
        ..How::new("reboot", format)
    };
    carry(&session, &intent, how).await
}

/// How long an engine may take to be there again: it ends the tasks that are left first.
const RESTART: Duration = Duration::from_secs(180);

pub(super) async fn restart(args: &RestartArgs, format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let hosts: Vec<HostName> = source::named(&args.hosts, &session.spec, "HOST")?.into_iter().collect();
    let names = hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ");
    let intent = Maintain {
        spec: &session.spec,
        hosts,
        argv: swarm_service::restart(),
        own: Default::default(),
        name: Some("the restart of the engine".into()),
        batch: usize::from(args.serve.batch),
        drain: args.serve.drain_timeout,
        patience: RESTART,
        accept_downtime: args.serve.accept_downtime,
        reboots: false,
    };
    let how = How {
        dry_run: args.agree.dry_run,
        question: Some(format!("Drain {names} and restart the engines there?")),
        must_agree: true,
        yes: args.agree.yes,
        done: format!("the engines of {names} restarted, and their nodes are as they were"),
        locks: Some(None),
        timeout: Some(intent.longest()),
        ..How::new("engine restart", format)
    };
    carry(&session, &intent, how).await
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
