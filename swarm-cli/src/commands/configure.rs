//! `swarm engine configure` and `swarm reset`: what `prepare` of the file says for engines that run, and what it did taken back.

use super::agreed::{agree, unless_stopped};
use super::hosts::{agreed, serving};
use super::ready::given;
use super::work::{How, Session, carry};
use crate::args_common::Format;
use crate::args_stores::{ConfigureArgs, ResetArgs};
use crate::failure::{self, Failure};
use crate::{output, source};
use serde_json::json;
use std::time::Duration;
use swarm_core::engine::NoPayloads;
use swarm_core::host::Command;
use swarm_core::id::HostName;
use swarm_core::observe::HostState;
use swarm_core::{Apply, Stop};
use swarm_prepare::prepare::{Content, WithContent, configure, differences, look, reset};
use swarm_workload::Maintain;

/// How long taking back what was done may take on a host.
const RESETTING: Duration = Duration::from_secs(10 * 60);

/// `swarm engine configure`: the configuration of engines that are in a swarm, each drained for that time.
pub(super) async fn configure_engines(args: &ConfigureArgs, format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let spec = &session.spec;
    let named = source::named(&args.hosts, spec, "HOST")?;
    let looked = look(spec, &session.fleet).await;
    let given = given(spec, &args.common.file)?;
    let chosen = |name: &HostName| named.is_empty() || named.contains(name);
    let mut argvs = std::collections::BTreeMap::new();
    let mut moves = Vec::new();
    for host in spec.hosts().filter(|h| !h.absent && chosen(&h.name)) {
        match looked.get(&host.name) {
            Some(Err(why)) => return Err(Failure::Other(format!("nothing was changed: {}: {why}", host.name))),
            Some(Ok(ready)) => {
                let what = differences(host, ready).map_err(|why| Failure::Other(format!("nothing was changed: {}: {why}", host.name)))?;
                if !what.is_empty() {
                    moves.push(format!("{} ({what})", host.name));
                    argvs.insert(host.name.clone(), configure(host, ready, &what));
                }
            }
            None => {}
        }
    }
    if argvs.is_empty() {
        match format {
            Format::Text => output::data("nothing to do: the configuration of engines is what the file wants"),
            _ => output::json("engine configure", &json!({ "configured": [] })),
        }
        return Ok(0);
    }
    let hosts: Vec<HostName> = argvs.keys().cloned().collect();
    let intent = Maintain {
        own: argvs,
        name: Some("the new configuration of the engine".into()),
        ..serving(spec, hosts.clone(), &args.serve, Duration::from_secs(300))
    };
    let encrypted = false;
    let content = Content { spec, looked: &looked, given: &given, encrypted };
    let payloads = WithContent { content, others: &NoPayloads };
    let how = How {
        question: Some(format!("Configure the engines of {}, drained for that time and restarted?", moves.join(", "))),
        payloads: &payloads,
        done: format!(
            "the configuration of the engines of {} is what the file wants",
            hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")
        ),
        ..agreed(&intent, &args.agree, ("engine configure", format))
    };
    carry(&session, &intent, how).await
}

/// `swarm reset`: takes back what `prepare` did on hosts.
pub(super) async fn reset_hosts(args: &ResetArgs, format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let spec = &session.spec;
    let hosts = source::named(&args.hosts, spec, "HOST")?;
    let stop = Stop::default();
    let observed = unless_stopped(&stop, async { Ok(Apply::new(spec, &session.fleet).observe().await) }).await?;
    let mut refused = Vec::new();
    for host in &hosts {
        let Some(seen) = observed.hosts.get(host) else { continue };
        let running = seen.report.engine.as_ref().map_or(0, |e| e.running_containers);
        match &seen.state {
            HostState::Standalone | HostState::NoEngine { .. } | HostState::EngineDown { .. } if running == 0 => {}
            HostState::Standalone => refused.push(format!("{host}: {running} containers run there; end them first")),
            state => {
                let detail = state.detail().map_or(String::new(), |d| format!(": {d}"));
                refused
                    .push(format!("{host}: it is {}{detail}; take it out of its swarm first, as by `swarm node rm {host}`", state.word()));
            }
        }
    }
    if !refused.is_empty() {
        return Err(Failure::Other(format!("nothing was changed: {}", refused.join("\n"))));
    }
    let names = hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ");
    agree(args.yes, &format!("Take back what was prepared on {names}? An engine that was installed is removed."))?;
    let mut failed = Vec::new();
    let mut done = serde_json::Map::new();
    for host in hosts.iter().filter_map(|name| spec.host(name)) {
        let ran = async {
            let machine = swarm_core::fleet::Fleet::machine(&session.fleet, host).await.map_err(|e| e.message)?;
            let command = Command { elevated: true, timeout: RESETTING, ..Command::new(reset()) };
            let ran = machine.run(&command).await.map_err(|e| e.to_string())?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(output::clean).collect::<Vec<_>>();
            match ran.status {
                Some(0) => Ok(text(&ran.stdout)),
                _ => Err(text(&ran.stderr).last().cloned().unwrap_or_else(|| "it ended without a word".into())),
            }
        };
        match ran.await {
            Ok(lines) => {
                if format == Format::Text {
                    lines.iter().for_each(|line| output::data(&format!("{}: {line}", host.name)));
                }
                done.insert(host.name.to_string(), json!(lines));
            }
            Err(why) => failed.push(format!("{}: {why}", host.name)),
        }
    }
    if format != Format::Text {
        output::json("reset", &json!({ "done": done, "failed": failed }));
    }
    if failed.is_empty() {
        return Ok(0);
    }
    output::note(&failed.join("\n"));
    Ok(if done.is_empty() { 1 } else { failure::PARTIAL })
}
