//! `swarm verify` and `swarm status`: they look and change nothing.

use crate::args::{Format, StatusArgs, VerifyArgs};
use crate::failure::{self, Failure};
use crate::{fleet, output, progress, source};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};
use std::time::Duration;
use swarm_core::driver::{NoProgress, settle};
use swarm_core::id::ClusterId;
use swarm_core::id::HostName;
use swarm_core::observe::{NodeFacts, NodeState, Observed, ObservedCluster, ObservedHost};
use swarm_core::plan::quorum;
use swarm_core::verify::verify_key;
use swarm_core::{Apply, ClusterSpec};

pub(super) async fn verify(args: &VerifyArgs, format: Format) -> Result<u8, Failure> {
    let spec = source::cluster(&args.common)?;
    let limit = source::limit(&args.common, &spec)?;
    let (fleet, keys) = fleet::open(&args.common, &spec).await?;
    let sink = progress::for_format(format);
    let deadline = tokio::time::Instant::now() + args.timeout.min(Duration::from_secs(86400));
    let (mut verdict, observed) = settle(&spec, &fleet, sink.as_ref(), limit.as_ref(), &std::collections::BTreeSet::new(), deadline).await;
    verdict.findings.extend(verify_key(&spec, &observed, keys.fingerprint().as_deref()));
    verdict.converged = verdict.findings.is_empty();
    if format == Format::Json {
        output::json("verify", &json!({ "cluster": spec.name(), "verdict": verdict }));
    } else {
        for note in &verdict.notes {
            output::note(note);
        }
        if verdict.converged {
            output::data(&format!("cluster {} is as the file says", spec.name()));
        } else {
            for finding in &verdict.findings {
                output::data(&output::finding(finding));
            }
        }
    }
    Ok(if verdict.converged { 0 } else { failure::NOT_CONVERGED })
}

pub(super) async fn status(args: &StatusArgs, format: Format) -> Result<u8, Failure> {
    let spec = source::cluster(&args.common)?;
    let limit = source::limit(&args.common, &spec)?;
    let (fleet, _) = fleet::open(&args.common, &spec).await?;
    let observed = Apply::new(&spec, &fleet).progress(&NoProgress).observe().await;
    let hosts: Vec<(&HostName, &ObservedHost)> =
        observed.hosts.iter().filter(|(name, _)| limit.as_ref().is_none_or(|l| l.contains(*name))).collect();
    if format == Format::Json {
        let rows: Vec<Value> = hosts.iter().map(|(name, host)| json_row(name, host)).collect();
        let strangers: Vec<Value> = observed.strangers.iter().map(json_node).collect();
        output::json(
            "status",
            &json!({ "cluster": spec.name(), "swarm": observed.view().map(|v| &v.cluster.id), "hosts": rows, "strangers": strangers, "quorum": quorum_line(&observed) }),
        );
    } else {
        output::data(&table(&spec, &hosts, &observed));
    }
    Ok(if is_healthy(&hosts, &observed) { 0 } else { failure::NOT_CONVERGED })
}

/// Whether there is one swarm, with all its managers reached, and every host shown is a ready node of it.
fn is_healthy(hosts: &[(&HostName, &ObservedHost)], observed: &Observed) -> bool {
    let Some(view) = observed.view() else { return false };
    let ready = |h: &ObservedHost| h.node.as_ref().is_some_and(|n| n.state == NodeState::Ready);
    quorum::unhealthy(&view.nodes, None).is_none() && hosts.iter().all(|(_, h)| ready(h))
}

fn json_row(name: &HostName, host: &ObservedHost) -> Value {
    json!({ "host": name, "state": host.state, "node": host.node.as_ref().map(json_node), "presumed": host.presumed.as_ref().map(json_node) })
}

fn json_node(node: &NodeFacts) -> Value {
    json!({
        "id": node.id, "hostname": node.hostname, "role": node.role, "availability": node.availability, "state": node.state,
        "address": node.address, "engine": node.engine_version, "labels": node.labels,
        "manager": node.manager.as_ref().map(|m| json!({ "leader": m.leader, "reachability": m.reachability, "address": m.address })),
    })
}

fn quorum_line(observed: &Observed) -> String {
    match observed.view() {
        Some(view) => {
            let managers: Vec<&NodeFacts> = view.nodes.iter().filter(|n| n.manager.is_some()).collect();
            let reachable = managers.iter().filter(|n| n.is_reachable_manager()).count();
            swarm_core::plan::quorum::summary(managers.len(), reachable)
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

fn table(spec: &ClusterSpec, hosts: &[(&HostName, &ObservedHost)], observed: &Observed) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["HOST", "NODE", "ROLE", "MANAGER", "AVAILABILITY", "STATE", "ADDRESS", "ENGINE", "LABELS"]);
    let text = |s: &str| output::clean(s).replace('\n', " ");
    for (name, host) in hosts {
        let engine = host.report.engine.as_ref().map(|e| e.version.as_str()).unwrap_or("");
        table.add_row(match (&host.node, &host.presumed) {
            (Some(node), _) => node_row(name.as_str(), node, engine).map(|cell| text(&cell)),
            // The managers' word on the node, and ours on the host.
            (None, Some(node)) => {
                let mut row = node_row(name.as_str(), node, &node.engine_version);
                row[5] = format!("{}, {}", row[5], host.state.word());
                row.map(|cell| text(&cell))
            }
            (None, None) => {
                let role = spec.host(name).map_or(String::new(), |h| format!("({})", h.role));
                let state = host.state.detail().map_or(host.state.word().to_owned(), |d| format!("{}: {d}", host.state.word()));
                [name.as_str(), "", &role, "", "", &state, "", engine, ""].map(text)
            }
        });
    }
    for node in &observed.strangers {
        table.add_row(node_row(&format!("- ({})", node.hostname), node, &node.engine_version).map(|cell| text(&cell)));
    }
    let swarm = heading(observed);
    let body: Vec<String> = table.to_string().lines().map(|l| l.trim_end().trim_start_matches(' ').to_owned()).collect();
    let mut why = String::new();
    for (name, host) in hosts.iter().filter(|(_, h)| h.presumed.is_some()) {
        why += &format!("{name}: {}\n", host.state.detail().unwrap_or_default());
    }
    format!("cluster {} ({swarm})\n\n{}\n\n{why}{}\n", spec.name(), body.join("\n"), quorum_line(observed))
}

fn node_row(name: &str, node: &NodeFacts, engine: &str) -> [String; 9] {
    let manager = match &node.manager {
        Some(m) if m.leader => "leader".to_owned(),
        Some(m) => format!("{:?}", m.reachability).to_lowercase(),
        None => String::new(),
    };
    let labels: Vec<String> = node.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    [
        name.to_owned(),
        node.id.to_string(),
        node.role.to_string(),
        manager,
        node.availability.to_string(),
        format!("{:?}", node.state).to_lowercase(),
        node.address.clone(),
        engine.to_owned(),
        labels.join(" "),
    ]
}
