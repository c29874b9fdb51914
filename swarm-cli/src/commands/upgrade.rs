//! `swarm engine ls` and `swarm engine upgrade`.

use super::hosts::{agreed, serving};
use super::work::{How, Session, carry, table};
use crate::args_common::{Common, Format};
use crate::args_stores::UpgradeArgs;
use crate::failure::{self, Failure};
use crate::{output, source};
use futures_util::stream::{self, StreamExt};
use serde_json::json;
use std::time::Duration;
use swarm_core::Apply;
use swarm_core::engine::{Kind, Query};
use swarm_core::fleet::Fleet;
use swarm_core::host::Command;
use swarm_core::id::HostName;
use swarm_core::observe::{Fact, Observed};
use swarm_prepare::{UPGRADE_SCRIPT, is_version, upgrade_of};
use swarm_workload::Maintain;

/// Hosts that are asked at once.
const CONCURRENCY: usize = 16;
/// How long a package manager may take to read its lists, another run of it included.
const LOOK: Duration = Duration::from_secs(360);

/// The version of a host's engine, or why it is not known.
fn version(observed: &Observed, host: &HostName) -> Result<String, String> {
    let seen = observed.hosts.get(host).ok_or_else(|| "it was not looked at".to_owned())?;
    seen.report.engine.as_ref().map(|engine| engine.version.clone()).map_err(|e| e.message.clone())
}

pub(super) async fn ls(common: &Common, format: Format) -> Result<u8, Failure> {
    let session = Session::open(common).await?;
    let observed = Apply::new(&session.spec, &session.fleet).observe().await;
    let rows: Vec<(&HostName, Result<String, String>)> =
        session.spec.hosts().map(|host| (&host.name, version(&observed, &host.name))).collect();
    match format {
        Format::Text => {
            let role = |host: &HostName| {
                let node = observed.hosts.get(host).and_then(|h| h.node.as_ref());
                node.map_or("-", |n| {
                    if n.leads() {
                        "leader"
                    } else if n.manager.is_some() {
                        "manager"
                    } else {
                        "worker"
                    }
                })
                .to_owned()
            };
            let row = |(host, version): &(&HostName, Result<String, String>)| {
                vec![host.to_string(), role(host), version.clone().unwrap_or_else(|why| format!("not known: {why}"))]
            };
            table(&["HOST", "ROLE", "ENGINE"], rows.iter().map(row).collect());
        }
        _ => {
            let row = |(host, version): &(&HostName, Result<String, String>)| match version {
                Ok(version) => json!({ "host": host, "version": version }),
                Err(why) => json!({ "host": host, "error": why }),
            };
            output::json("engine ls", &json!({ "engines": rows.iter().map(row).collect::<Vec<_>>() }));
        }
    }
    Ok(if rows.iter().all(|(_, version)| version.is_ok()) { 0 } else { failure::NOT_CONVERGED })
}

pub(super) async fn run(args: &UpgradeArgs, format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let spec = &session.spec;
    let hosts: Vec<HostName> = match args.hosts.is_empty() {
        true => spec.hosts().filter(|h| !h.absent).map(|h| h.name.clone()).collect(),
        false => source::named(&args.hosts, spec, "HOST")?.into_iter().collect(),
    };
    let query = Query::all(Kind::Network).with("scope", "swarm");
    let observed = Apply::new(spec, &session.fleet).observe_objects(std::slice::from_ref(&query)).await;
    let encrypted = match observed.objects_of(&query) {
        Fact::Known(networks, _) => networks.iter().any(|network| super::stack::is_encrypted(&network.spec())),
        _ => false,
    };
    let of = upgrade_of(spec, &observed, &hosts, &args.to, encrypted);
    if !of.refusals.is_empty() {
        return Err(Failure::Other(format!("nothing was changed: {}", of.refusals.join("\n"))));
    }
    if of.hosts.is_empty() {
        let there: Vec<&str> = of.there.iter().map(HostName::as_str).collect();
        if format == Format::Text {
            output::data(&format!("nothing to do: {} have an engine {} already", there.join(", "), args.to));
        } else {
            output::json("engine upgrade", &json!({ "upgraded": [], "there": there }));
        }
        return Ok(0);
    }
    if args.command.is_empty() {
        offered(&session, &of.hosts, &args.to).await?;
    }
    let moves: Vec<String> = of.hosts.iter().map(|(host, have)| format!("{host} ({have})")).collect();
    let mut argv: Vec<String> = ["sh", "-c", UPGRADE_SCRIPT, "sh", "do", &args.to].map(str::to_owned).to_vec();
    argv.extend(args.command.iter().cloned());
    let hosts = of.hosts.iter().map(|(host, _)| host.clone()).collect();
    let intent = Maintain {
        argv,
        name: Some(format!("the upgrade to engine {}", args.to)),
        ..serving(spec, hosts, &args.serve, args.command_timeout)
    };
    let how = How {
        question: Some(format!("Upgrade {} to engine {}, drained for that time?", moves.join(", "), args.to)),
        done: format!("{} have engine {}", names(&intent.hosts), args.to),
        ..agreed(&intent, &args.agree, ("engine upgrade", format))
    };
    let code = carry(&session, &intent, how).await?;
    if code != 0 || args.agree.dry_run {
        return Ok(code);
    }
    // What runs counts, not what was installed.
    let after = Apply::new(spec, &session.fleet).observe().await;
    let wrong: Vec<String> = intent
        .hosts
        .iter()
        .filter_map(|host| match version(&after, host) {
            Ok(version) if is_version(&version, &args.to) => None,
            Ok(version) => Some(format!("{host} runs engine {version}")),
            Err(why) => Some(format!("{host}: {why}")),
        })
        .collect();
    if wrong.is_empty() {
        return Ok(0);
    }
    output::note(&format!("not as wanted: {}", wrong.join("; ")));
    Ok(failure::NOT_CONVERGED)
}

/// Asks the package managers of all hosts for the version before the first of them is drained.
async fn offered(session: &Session, hosts: &[(HostName, String)], wanted: &str) -> Result<(), Failure> {
    let ask = |host: HostName| async move {
        let Some(spec) = session.spec.host(&host) else { return Ok(()) };
        let machine = session.fleet.visit(spec).await.map_err(|e| format!("{host}: {}", e.message))?;
        let argv = ["sh", "-c", UPGRADE_SCRIPT, "sh", "look", wanted];
        let command = Command { elevated: true, timeout: LOOK, ..Command::new(argv) };
        let output = machine.run(&command).await.map_err(|e| format!("{host}: {e}"))?;
        let said = |bytes: &[u8]| output::clean(String::from_utf8_lossy(bytes).trim());
        match output.status {
            Some(0) => {
                for version in said(&output.stdout).lines().filter_map(|line| line.strip_prefix("offers ")) {
                    output::note(&format!("{host}: its package manager offers {version}"));
                }
                Ok(())
            }
            _ => Err(format!("{host}: {}", said(&output.stderr).lines().last().unwrap_or("its package manager cannot be asked"))),
        }
    };
    let asked = stream::iter(hosts.iter().map(|(host, _)| ask(host.clone())).collect::<Vec<_>>()).buffered(CONCURRENCY);
    let failed: Vec<String> = asked.filter_map(|asked: Result<(), String>| async { asked.err() }).collect().await;
    if failed.is_empty() { Ok(()) } else { Err(Failure::Other(format!("nothing was changed: {}", failed.join("\n")))) }
}

fn names(hosts: &[HostName]) -> String {
    hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")
}
