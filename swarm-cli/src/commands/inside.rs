//! `swarm service exec`: a program in a container of a task, on whichever node it runs, over the connection that is there.

use super::work::{Session, number};
use crate::args_work::InsideArgs;
use crate::failure::Failure;
use crate::terminal;
use futures_util::StreamExt;
use std::convert::Infallible;
use std::future::pending;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use swarm_core::engine::{Engine, Exec, ExecOutput, ExecRequest, Kind, Object, Query};
use swarm_core::fleet::Fleet;
use swarm_core::observe::Observed;
use swarm_core::spec::HostSpec;
use tokio::io::{AsyncWriteExt, copy};
use tokio::signal::unix::{SignalKind, signal};

pub(super) fn failed(error: impl ToString) -> Failure {
    Failure::Other(error.to_string())
}

pub(super) async fn exec(args: &InsideArgs) -> Result<u8, Failure> {
    if args.tty && !std::io::stdin().is_terminal() {
        return Err(Failure::Usage("-t gives the program a terminal, and standard input is none; leave -t out".into()));
    }
    let session = Session::open(&args.common).await?;
    let (host, container, engine) = task(&session, &args.task).await?;
    let request = ExecRequest {
        container,
        argv: args.command.clone(),
        stdin: args.interactive,
        terminal: args.tty.then(|| terminal::size().unwrap_or((24, 80))),
        env: args.env.clone(),
        user: args.user.clone(),
        workdir: args.workdir.clone(),
    };
    let running = engine.exec(&request).await.map_err(|e| Failure::Other(format!("{}: {e}", host.name)))?;
    let id = running.id.clone();
    follow(running, engine.as_ref(), args).await?;
    // The end of its output comes a moment before its exit code.
    for _ in 0..50 {
        if let Some(code) = engine.exec_code(&id).await.map_err(failed)? {
            return Ok(u8::try_from(code).unwrap_or(1));
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Err(failed("the connection to the program ended, and it still runs"))
}

/// A task by its name: its host, its container there, and the engine.
pub(super) async fn task<'s>(session: &'s Session, name: &str) -> Result<(&'s HostSpec, String, Arc<dyn Engine>), Failure> {
    let (observed, lists) = session.objects(&[Query::all(Kind::Task), Query::all(Kind::Service)]).await?;
    let [tasks, services] = lists.as_slice() else { return Err(failed("the tasks could not be listed")) };
    let (host, container) = place(session, chosen(name, tasks, services, &observed)?, &observed)?;
    let actor = session.fleet.actor(host).await.map_err(|e| Failure::Other(format!("{}: {e}", host.name)))?;
    Ok((host, container, actor.engine))
}

/// The task of a name: `SERVICE`, `SERVICE.SLOT` or `SERVICE.NODE`, or an id.
fn chosen<'t>(name: &str, tasks: &'t [Object], services: &[Object], observed: &Observed) -> Result<&'t Object, Failure> {
    let runs = |t: &&Object| t.text("/Status/State").as_deref() == Some("running");
    if let Some(task) = tasks.iter().find(|t| t.id() == name) {
        return if runs(&task) { Ok(task) } else { Err(failed(format!("task {name} does not run"))) };
    }
    let service_of = |name: &str| services.iter().find(|s| s.name() == name || s.id() == name);
    let (service, which) = match (service_of(name), name.rsplit_once('.')) {
        (Some(service), _) => (service, None),
        (None, Some((head, which))) => {
            let service = service_of(head).ok_or_else(|| failed(format!("there is no service {head}, and no task {name}")))?;
            (service, Some(which))
        }
        (None, None) => return Err(failed(format!("there is no service {name}, and no task of this id"))),
    };
    let node_is = |task: &Object, which: &str| {
        let id = task.text("/NodeID").unwrap_or_default();
        let listed = observed.view().and_then(|v| v.nodes.iter().find(|n| n.id.as_str() == id));
        id == which || listed.is_some_and(|n| n.hostname == which)
    };
    let is = |task: &Object, which: &str| which.parse() == Ok(number(task, "/Slot")) || node_is(task, which);
    let mut of: Vec<&Object> = tasks.iter().filter(|t| t.text("/ServiceID").as_deref() == Some(service.id())).filter(runs).collect();
    of.sort_by_key(|t| number(t, "/Slot"));
    let found = of.iter().find(|t| which.is_none_or(|which| is(t, which))).copied();
    found.ok_or_else(|| match which {
        Some(which) => failed(format!("service {} has no task {which} that runs; {} of its tasks run", service.name(), of.len())),
        None => failed(format!("no task of service {} runs", service.name())),
    })
}

/// The host that a task is on, and its container there.
fn place<'s>(session: &'s Session, task: &Object, observed: &Observed) -> Result<(&'s HostSpec, String), Failure> {
    let node = task.text("/NodeID").unwrap_or_default();
    let host = observed.hosts.iter().find(|(_, h)| h.node.as_ref().is_some_and(|n| n.id.as_str() == node)).map(|(name, _)| name);
    let host = host.and_then(|name| session.spec.host(name));
    let host = host.ok_or_else(|| failed(format!("the task runs on node {node}, which is no host of the file that is reached")))?;
    let container = task.text("/Status/ContainerStatus/ContainerID").filter(|id| !id.is_empty());
    Ok((host, container.ok_or_else(|| failed("the task has no container"))?.into_owned()))
}

/// Hands input in and output out, until the program ends. Neither waits for the other: a program may read only what it has room to answer.
async fn follow(running: Exec, engine: &dyn Engine, args: &InsideArgs) -> Result<(), Failure> {
    let _raw = if args.tty { terminal::raw() } else { None };
    let Exec { id, mut input, mut output } = running;
    let mut resized = signal(SignalKind::window_change()).map_err(failed)?;
    let sends = async {
        if args.interactive {
            // A program that ended reads nothing any more: what it wrote comes all the same.
            let _ = copy(&mut tokio::io::stdin(), &mut input).await;
            let _ = input.shutdown().await;
        }
        pending::<Infallible>().await
    };
    let resizes = async {
        while args.tty && resized.recv().await.is_some() {
            if let Some(size) = terminal::size() {
                let _ = engine.exec_resize(&id, size).await;
            }
        }
        pending::<Infallible>().await
    };
    let receives = async {
        while let Some(out) = output.next().await {
            write(&out.map_err(failed)?).map_err(failed)?;
        }
        Ok(())
    };
    tokio::select! {
        done = receives => done,
        never = sends => match never {},
        never = resizes => match never {},
    }
}

fn write(out: &ExecOutput) -> std::io::Result<()> {
    if out.error {
        return std::io::stderr().write_all(&out.bytes);
    }
    let mut stdout = std::io::stdout();
    stdout.write_all(&out.bytes)?;
    stdout.flush()
}
