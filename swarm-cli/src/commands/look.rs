//! `swarm verify` and `swarm status`: they look and change nothing.

use super::work::{Picture, Session, watched};
use crate::args::VerifyArgs;
use crate::args_common::{Common, Format, StatusArgs};
use crate::failure::{self, Failure};
use crate::{fleet, output, progress, source};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use swarm_core::driver::{NoProgress, settle};
use swarm_core::engine::{Kind, Object, Query};
use swarm_core::id::ClusterId;
use swarm_core::id::{HostName, NodeId};
use swarm_core::intent::Intent;
use swarm_core::observe::{NodeFacts, NodeState, Observed, ObservedCluster, ObservedHost, Reachability, unhealthy};
use swarm_core::spec::Role;
use swarm_core::verify::{Finding, FindingKind, verify_key};
use swarm_core::what_if::{Loss, loss, losses};
use swarm_core::{Apply, ClusterSpec};

pub(super) async fn verify(args: &VerifyArgs, format: Format) -> Result<u8, Failure> {
    let spec = source::cluster(&args.common)?;
    let limit = source::limit(&args.limit, &spec)?;
    let (fleet, keys) = fleet::open(&args.common, &spec).await?;
    let sink = progress::for_format(format);
    let deadline = tokio::time::Instant::now() + args.timeout.min(Duration::from_secs(86400));
    let (mut verdict, observed) = settle(&spec, &fleet, sink.as_ref(), limit.as_ref(), &std::collections::BTreeSet::new(), deadline).await;
    verdict.findings.extend(verify_key(&spec, &observed, keys.fingerprint().as_deref()));
    let stacks =
        if limit.is_some() { Vec::new() } else { super::stack::of_cluster(&spec, &args.common.file, super::stack::Commands::Run)? };
    let deploys = super::stack::deploys(&spec, &stacks);
    if let Some(wants) = deploys.first().map(Intent::wants) {
        let observed = Apply::new(&spec, &fleet).observe_objects(&wants).await;
        for found in deploys.iter().map(|deploy| deploy.verify(&observed)) {
            verdict.findings.extend(found.findings);
            verdict.notes.extend(found.notes);
        }
    }
    let unready = super::ready::not_ready(&spec, &fleet, &args.common.file, &observed, super::stack::encrypts(&stacks)).await?;
    verdict.findings.extend(unready.into_iter().map(|message| Finding { host: None, kind: FindingKind::NotPrepared, message }));
    verdict.converged = verdict.findings.is_empty();
    if format == Format::Json {
        output::json("verify", &json!({ "cluster": spec.name(), "verdict": verdict }));
    } else {
        for note in &verdict.notes {
            output::note(note);
        }
        if verdict.converged {
            output::data(&format!("cluster {} matches the file", spec.name()));
        } else {
            for finding in &verdict.findings {
                output::data(&output::finding(finding));
            }
        }
    }
    Ok(if verdict.converged { 0 } else { failure::NOT_CONVERGED })
}

pub(super) async fn status(args: &StatusArgs, format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let limit = source::limit(&args.limit, &session.spec)?;
    let look = async || Ok(picture(&session, limit.as_ref(), args.wide, format).await);
    let healthy = watched("status", args.watch, format, look).await?;
    Ok(if healthy { 0 } else { failure::NOT_CONVERGED })
}

async fn picture(session: &Session, limit: Option<&BTreeSet<HostName>>, wide: bool, format: Format) -> (Picture, bool) {
    let spec = &session.spec;
    let observed = Apply::new(spec, &session.fleet).progress(&NoProgress).observe().await;
    let ending = super::access::ending_soon(session, &observed).await;
    let hosts: Vec<(&HostName, &ObservedHost)> =
        observed.hosts.iter().filter(|(name, _)| limit.is_none_or(|l| l.contains(*name))).collect();
    let shown = if format == Format::Json {
        let rows: Vec<Value> = hosts.iter().map(|(name, host)| json_row(name, host)).collect();
        let strangers: Vec<Value> = observed.strangers.iter().map(json_node).collect();
        Picture::Json(
            json!({ "cluster": spec.name(), "swarm": observed.view().map(|v| &v.cluster.id), "hosts": rows, "strangers": strangers, "quorum": quorum_line(&observed), "warnings": ending }),
        )
    } else {
        let width = if wide { Width::Wide } else { Width::Narrow };
        Picture::Text { table: table(spec, &hosts, &observed, width), warnings: ending }
    };
    (shown, is_healthy(&hosts, &observed))
}

/// What still works when hosts fail. Nothing is planned.
pub(super) async fn what_if(common: &Common, down: &str, format: Format) -> Result<u8, Failure> {
    let session = Session::open(common).await?;
    let (observed, lists) = session.objects(&[Query::all(Kind::Task), Query::all(Kind::Service)]).await?;
    let [tasks, services] = lists.as_slice() else { return Ok(1) };
    let name_of = |id: &str| services.iter().find(|s| s.id() == id).map_or(id, |s| s.name()).to_owned();
    let runs = |t: &&Object| t.text("/Status/State").as_deref() == Some("running");
    let running: Vec<_> =
        tasks.iter().filter(runs).filter_map(|t| Some((name_of(&t.text("/ServiceID")?), NodeId::new(t.text("/NodeID")?)))).collect();
    let losses = if down.is_empty() {
        losses(&observed, &running)
    } else {
        let names: Vec<String> = down.strip_suffix("=down").unwrap_or(down).split(',').map(str::to_owned).collect();
        let mut nodes = BTreeSet::new();
        for host in source::named(&names, &session.spec, "--what-if")? {
            let node = observed.hosts.get(&host).and_then(|h| h.node.as_ref().or(h.presumed.as_ref()));
            nodes.insert(node.ok_or_else(|| Failure::Other(format!("{host} is no node of the swarm")))?.id.clone());
        }
        vec![loss(&observed, &running, &nodes)]
    };
    if format == Format::Text {
        let lines: Vec<String> = std::iter::once(format!("now: {}", quorum_line(&observed))).chain(losses.iter().map(Loss::line)).collect();
        output::data(&lines.join("\n"));
    } else {
        output::json("plan", &json!({ "now": quorum_line(&observed), "what_if": losses }));
    }
    Ok(0)
}

/// Whether there is one swarm, with all its managers reached, and every host shown is a ready node of it.
fn is_healthy(hosts: &[(&HostName, &ObservedHost)], observed: &Observed) -> bool {
    let Some(view) = observed.view() else { return false };
    let ready = |h: &ObservedHost| h.node.as_ref().is_some_and(|n| n.state == NodeState::Ready);
    unhealthy(&view.nodes, None).is_none() && hosts.iter().all(|(_, h)| ready(h))
}

pub(super) fn json_row(name: &HostName, host: &ObservedHost) -> Value {
    json!({ "host": name, "state": host.state, "node": host.node.as_ref().map(json_node), "presumed": host.presumed.as_ref().map(json_node) })
}

fn json_node(node: &NodeFacts) -> Value {
    json!({
        "id": node.id, "hostname": node.hostname, "role": node.role, "availability": node.availability, "state": node.state,
        "address": node.address, "engine": node.engine_version, "labels": node.labels,
        "manager": node.manager.as_ref().map(|m| json!({ "leader": m.leader, "reachability": m.reachability, "address": m.address })),
    })
}

pub(super) fn quorum_line(observed: &Observed) -> String {
    match observed.view() {
        Some(view) => {
            let managers: Vec<&NodeFacts> = view.nodes.iter().filter(|n| n.manager.is_some()).collect();
            let reachable = managers.iter().filter(|n| n.is_reachable_manager()).count();
            swarm_core::quorum::summary(managers.len(), reachable)
        }
        None => match &observed.cluster {
            ObservedCluster::None => "no swarm".into(),
            cluster => verify_cluster(cluster),
        },
    }
}

/// What is known of a swarm whose nodes cannot be listed.
fn verify_cluster(cluster: &ObservedCluster) -> String {
    match cluster {
        ObservedCluster::NoLeader { members, gone, .. } if cluster.quorum_is_lost() => {
            format!("quorum lost: {} of {members} managers are proven gone", gone.len())
        }
        ObservedCluster::NoLeader { members, managers, .. } => {
            format!("no leader is seen; {} of {members} managers answer", managers.len())
        }
        ObservedCluster::Several { swarms } => format!("{} swarms are led by hosts of this file", swarms.len()),
        ObservedCluster::OtherName { name, .. } => format!("the swarm is that of the cluster `{name}`"),
        _ => "no manager could be asked".into(),
    }
}

/// The swarm in the heading.
fn heading(observed: &Observed) -> String {
    let last_known = |ids: &[ClusterId]| match ids {
        [] => "swarm unknown".to_owned(),
        ids => format!("last known swarm {}", ids.iter().map(ClusterId::as_str).collect::<Vec<_>>().join(", ")),
    };
    match &observed.cluster {
        ObservedCluster::One { view, .. } => format!("swarm {}", view.cluster.id),
        ObservedCluster::None => "no swarm".into(),
        ObservedCluster::NoLeader { swarm, .. } => last_known(swarm.as_slice()),
        ObservedCluster::Unknown { swarms, .. } => last_known(swarms),
        ObservedCluster::Several { .. } => "several swarms".into(),
        ObservedCluster::OtherName { cluster, .. } => format!("swarm {cluster}"),
    }
}

/// What a table shows: what fits 80 columns, or everything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    Narrow,
    Wide,
}

fn table(spec: &ClusterSpec, hosts: &[(&HostName, &ObservedHost)], observed: &Observed, width: Width) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    let narrow = ["HOST", "NODE", "ROLE", "AVAILABILITY", "STATE", "ADDRESS", "ENGINE"];
    let more = if width == Width::Wide { &["LABELS"][..] } else { &[] };
    table.set_header(narrow.iter().chain(more));
    let text = |s: String| output::clean(&s).replace('\n', " ");
    let mut add = |mut row: Vec<String>| {
        row.truncate(narrow.len() + more.len());
        table.add_row(row.into_iter().map(text).collect::<Vec<_>>());
    };
    // What is behind a word stands below the table: it may be long.
    let mut why = String::new();
    for (name, host) in hosts {
        let engine = host.report.engine.as_ref().map(|e| e.version.as_str()).unwrap_or("");
        let role = spec.host(name).map_or(String::new(), |h| if h.absent { "(none)".into() } else { format!("({})", h.role) });
        let detail = || host.state.detail().map_or(String::new(), |d| format!("{name}: {}\n", d.replace('\n', " ")));
        match (&host.node, &host.presumed) {
            (Some(node), _) => add(node_row(name.as_str(), node, engine, width)),
            // The managers' word on the node, and ours on the host.
            (None, Some(node)) => {
                let mut row = node_row(name.as_str(), node, &node.engine_version, width);
                if let Some(state) = row.get_mut(4) {
                    *state = format!("{state}, {}", host.state.word());
                }
                why += &detail();
                add(row);
            }
            (None, None) => {
                let state = host.state.word().to_owned();
                why += &detail();
                let (name, engine) = (name.to_string(), short_version(engine, width).to_owned());
                add(vec![name, String::new(), role, String::new(), state, String::new(), engine, String::new()]);
            }
        }
    }
    for node in &observed.strangers {
        add(node_row(&format!("- ({})", node.hostname), node, &node.engine_version, width));
    }
    let swarm = heading(observed);
    let body: Vec<String> = table.to_string().lines().map(|l| l.trim_end().trim_start_matches(' ').to_owned()).collect();
    format!("cluster {} ({swarm})\n\n{}\n\n{why}{}\n", spec.name(), body.join("\n"), quorum_line(observed))
}

/// A version without what its packager added.
fn short_version(version: &str, width: Width) -> &str {
    if width == Width::Wide { version } else { version.split(['+', '~']).next().unwrap_or(version) }
}

fn node_row(name: &str, node: &NodeFacts, engine: &str, width: Width) -> Vec<String> {
    let state = node.state.to_string();
    // A manager that the others do not reach may still report as a node.
    let (role, state) = match &node.manager {
        Some(m) if m.leader => ("leader".to_owned(), state),
        Some(m) if m.reachability == Reachability::Reachable => (node.role.to_string(), state),
        Some(m) => (node.role.to_string(), format!("{state}, {}", m.reachability)),
        None if node.role == Role::Manager => (node.role.to_string(), format!("{state}, no manager yet")),
        None => (node.role.to_string(), state),
    };
    let labels: Vec<String> = node.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let id = node.id.as_str();
    vec![
        name.to_owned(),
        if width == Width::Wide { id } else { id.get(..12).unwrap_or(id) }.to_owned(),
        role,
        node.availability.to_string(),
        state,
        node.address.clone(),
        short_version(engine, width).to_owned(),
        labels.join(" "),
    ]
}
