//! `swarm check`.

use super::mesh::Mesh;
use super::names::Names;
use super::stack;
use super::work::Session;
use crate::args_common::{Common, Format};
use crate::args_swarm::{CheckArgs, CheckOutput};
use crate::failure::{self, Failure};
use crate::output;
use serde_json::json;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};
use swarm_core::Apply;
use swarm_core::engine::{Kind, Query};
use swarm_core::id::HostName;
use swarm_prepare::ports::{Matrix, matrix, wanted};
use swarm_prepare::{CHECKS, Found, Seen, Severity, check, let_go, look};

pub(super) async fn run(args: &CheckArgs, format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let spec = &session.spec;
    for unknown in spec.ignored_checks().keys().filter(|name| !CHECKS.iter().any(|c| c.name == name.as_str())) {
        output::note(&format!("warning: checks.ignore.{unknown}: there is no such check"));
    }
    let apply = Apply::new(spec, &session.fleet);
    let (observed, mut machines) = tokio::join!(apply.observe(), look(spec, &session.fleet));
    let_go(spec, &session.fleet, &observed, &mut machines).await;
    let certificates = apply.certificates(&observed).await;
    let ports = if args.no_ports {
        Matrix::default()
    } else {
        let encrypted = has_encrypted(&session, &args.common).await;
        matrix(spec, &session.fleet, &machines, &wanted(spec, &observed, encrypted)).await
    };
    let datapath = if args.datapath { Some(super::datapath::prove(&session, &machines).await?) } else { None };
    let names = if args.services { Some(super::names::ask(&session, &machines).await?) } else { None };
    let mesh = if args.mesh { Some(super::mesh::ask(&session, &machines).await?) } else { None };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let found = check(&Seen { spec, observed: &observed, machines: &machines, certificates: &certificates, ports: &ports, now });
    let hosts: Vec<&HostName> = spec.hosts().map(|h| &h.name).collect();
    match (args.output, format) {
        (Some(CheckOutput::Junit), _) => output::data(&junit(spec.name(), &hosts, &found)),
        (None, Format::Text) => output::data(&text(&hosts, &found, &ports, datapath.as_ref(), (names.as_ref(), mesh.as_ref()))),
        (None, _) => output::json(
            "check",
            &json!({ "cluster": spec.name(), "checks": CHECKS.len(), "found": found, "ports": ports, "datapath": datapath, "services": names, "mesh": mesh }),
        ),
    }
    let worst = found.iter().filter(|f| f.ignored.is_none()).map(|f| f.severity).min();
    let broken = datapath.is_some_and(|d| d.passages.is_empty() || d.passages.iter().any(|p| p.outcome.fails()));
    let broken = broken || names.is_some_and(|n| !n.wrong.is_empty()) || mesh.is_some_and(|m| m.is_broken());
    Ok(if broken || worst == Some(Severity::Error) { failure::NOT_CONVERGED } else { 0 })
}

/// Whether a network of the file, or one that the swarm has, is encrypted. A swarm that cannot be asked has none that is known.
async fn has_encrypted(session: &Session, common: &Common) -> bool {
    // What is wrong with the files of stacks is said where they are planned.
    let stacks = stack::of_cluster(&session.spec, &common.file, stack::Commands::Leave).unwrap_or_default();
    let query = Query::all(Kind::Network).with("scope", "swarm");
    let there = session.objects(std::slice::from_ref(&query)).await.map(|(_, lists)| lists).unwrap_or_default();
    stack::encrypts(&stacks) || there.iter().flatten().any(|network| stack::is_encrypted(&network.spec()))
}

fn text(
    hosts: &[&HostName],
    found: &[Found],
    ports: &Matrix,
    datapath: Option<&Matrix>,
    (names, mesh): (Option<&Names>, Option<&Mesh>),
) -> String {
    let mut out = String::new();
    for host in hosts {
        let own: Vec<&Found> = found.iter().filter(|f| f.host == **host).collect();
        if own.is_empty() {
            continue;
        }
        let _ = writeln!(out, "{host}");
        for f in own {
            match &f.ignored {
                Some(reason) => {
                    let _ = writeln!(out, "  ignored  {}: {} ({reason})", f.check, f.evidence);
                }
                None => {
                    let _ = writeln!(out, "  {:7}  {}: {}\n           {}; {}", f.severity, f.check, f.evidence, f.cause, f.fix);
                }
            }
        }
        out.push('\n');
    }
    if let Some(line) = ports.summary() {
        let _ = writeln!(out, "{line}");
    }
    if let Some(datapath) = datapath {
        for (host, why) in datapath.left_out.iter().chain(&datapath.without_probe) {
            let _ = writeln!(out, "overlay network: {host} was left out: {why}");
        }
        for (host, what) in datapath.lines() {
            let _ = writeln!(out, "overlay network: at {host}: {what}");
        }
        let line = datapath.summary().unwrap_or_else(|| "there are no two nodes for it".into());
        let _ = writeln!(out, "Overlay network: {}", line.replacen("Ports between", "between", 1));
    }
    if let Some(names) = names {
        for (host, why) in &names.left_out {
            let _ = writeln!(out, "services: {host} was left out: {why}");
        }
        for wrong in &names.wrong {
            let _ = writeln!(out, "services: at {}: {}", wrong.host, wrong.line());
        }
        let _ = match names.asked {
            0 => writeln!(out, "Services: none is in an overlay network with a task that runs"),
            asked => writeln!(out, "Services: {asked} names asked for, {} answered wrongly", names.wrong.len()),
        };
    }
    if let Some(mesh) = mesh {
        out += &mesh.text();
    }
    let count = |severity| found.iter().filter(|f| f.severity == severity && f.ignored.is_none()).count();
    let ignored = found.iter().filter(|f| f.ignored.is_some()).count();
    let more = if ignored > 0 { format!(", {ignored} ignored") } else { String::new() };
    let _ = write!(
        out,
        "{} checks on {} hosts: {} errors, {} warnings, {} notices{more}",
        CHECKS.len(),
        hosts.len(),
        count(Severity::Error),
        count(Severity::Warning),
        count(Severity::Notice)
    );
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A JUnit report: a suite for each host, a case for each check; errors fail, what is ignored is skipped.
fn junit(cluster: &str, hosts: &[&HostName], found: &[Found]) -> String {
    let mut out = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{}\">\n", escaped(cluster));
    for host in hosts {
        let own: Vec<&Found> = found.iter().filter(|f| f.host == **host).collect();
        let failures = own.iter().filter(|f| f.severity == Severity::Error && f.ignored.is_none()).count();
        let skipped = own.iter().filter(|f| f.ignored.is_some()).count();
        let tests = CHECKS.len();
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{tests}\" failures=\"{failures}\" skipped=\"{skipped}\">",
            escaped(host.as_str())
        );
        for check in CHECKS {
            let _ = write!(out, "    <testcase classname=\"{}\" name=\"{}\"", escaped(host.as_str()), check.name);
            let _ = match own.iter().find(|f| f.check == check.name) {
                None => writeln!(out, "/>"),
                Some(f) => {
                    let words = escaped(&format!("{}: {}; {}", f.evidence, f.cause, f.fix));
                    let inner = match (&f.ignored, f.severity) {
                        (Some(reason), _) => format!("<skipped message=\"{}\"/>", escaped(reason)),
                        (None, Severity::Error) => format!("<failure message=\"{words}\"/>"),
                        (None, _) => format!("<system-out>{words}</system-out>"),
                    };
                    writeln!(out, ">{inner}</testcase>")
                }
            };
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>");
    out
}
