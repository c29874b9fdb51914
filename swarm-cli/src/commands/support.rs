//! `swarm support`.

use super::look::{json_row, quorum_line};
use super::new::write_private;
use super::work::Session;
use crate::args_common::Format;
use crate::args_swarm::SupportArgs;
use crate::failure::Failure;
use crate::output;
use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use swarm_core::fleet::FleetRead;
use swarm_core::observe::date;
use swarm_core::plan::render_text;
use swarm_core::verify::verify;
use swarm_core::{Apply, ApplyError};
use swarm_prepare::ports::Matrix;
use swarm_prepare::{LOG_SCRIPT, Seen, check, look};
use swarm_workload::without_secrets;

/// How much of one host's log is kept.
const LOG_LIMIT: usize = 64 << 10;

/// Collects what someone who helps needs to know. What looks like a secret is taken out by type and by pattern.
pub(super) async fn run(args: &SupportArgs, format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let spec = &session.spec;
    let apply = Apply::new(spec, &session.fleet).keys(session.keys.as_ref());
    let (observed, machines) = tokio::join!(apply.observe(), look(spec, &session.fleet));
    let (certificates, logs) = tokio::join!(apply.certificates(&observed), logs(&session));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let planned = match apply.plan().await {
        Ok((plan, _)) => render_text(&plan),
        Err(ApplyError::Refused(refusals)) => refusals.iter().map(|r| format!("refused: {r}\n")).collect(),
        Err(error) => error.to_string(),
    };
    let found =
        check(&Seen { spec, observed: &observed, machines: &machines, certificates: &certificates, ports: &Matrix::default(), now });
    let certs: Map<String, Value> = certificates
        .iter()
        .map(|(host, c)| {
            let said = c.as_ref().map_or_else(|why| json!({ "error": why }), |c| json!({ "issuer": c.issuer, "until": date(c.until) }));
            (host.to_string(), said)
        })
        .collect();
    let engines: Map<String, Value> = observed
        .hosts
        .iter()
        .filter_map(|(host, seen)| {
            let e = seen.report.engine.as_ref().ok()?;
            let swarm =
                json!({ "state": e.swarm.reported, "node": e.swarm.node, "manages": e.swarm.control_available, "error": e.swarm.error });
            Some((host.to_string(), json!({ "version": e.version, "containers": e.running_containers, "swarm": swarm })))
        })
        .collect();
    let document = json!({
        "version": 1,
        "command": "support",
        "swarm": env!("CARGO_PKG_VERSION"),
        "at": date(now),
        "cluster": spec,
        "quorum": quorum_line(&observed),
        "hosts": observed.hosts.iter().map(|(name, host)| json_row(name, host)).collect::<Vec<_>>(),
        "engines": engines,
        "settings": observed.view().map(|v| v.cluster.settings.entries()),
        "fingerprints": observed.view().map(|v| &v.cluster.fingerprints),
        "stored_key": session.keys.fingerprint(),
        "plan": planned,
        "verify": verify(spec, &observed, None),
        "checks": found,
        "certificates": certs,
        "logs": logs,
    });
    let text = serde_json::to_string_pretty(&without_secrets(document)).map_err(|e| Failure::Other(e.to_string()))?;
    write_private(&args.output, &output::clean(&text))?;
    match format {
        Format::Text => output::data(&format!("wrote {}; look through it before you send it", args.output.display())),
        _ => output::json("support", &json!({ "file": args.output, "hosts": observed.hosts.len() })),
    }
    Ok(0)
}

/// The last lines of each engine's log.
async fn logs(session: &Session) -> Map<String, Value> {
    let fleet: &dyn FleetRead = &session.fleet;
    let asked = session.spec.hosts().map(|host| async move {
        let said = async {
            let reader = fleet.reader(host).await.map_err(|e| e.message)?;
            let machine = reader.host.as_ref().ok_or("the host itself cannot be asked over this connection")?;
            machine.probe(LOG_SCRIPT).await.map_err(|e| e.to_string())
        };
        let said = tokio::time::timeout(session.spec.policy().timeout, said).await;
        let text = said.unwrap_or_else(|_| Err("it did not answer in time".to_owned())).unwrap_or_else(|why| format!("not read: {why}"));
        let mut lines: Vec<String> = Vec::new();
        let mut size = 0;
        for line in text.lines().rev() {
            size += line.len();
            if size > LOG_LIMIT {
                break;
            }
            lines.push(line.to_owned());
        }
        lines.reverse();
        (host.name.to_string(), json!(lines))
    });
    join_all(asked).await.into_iter().collect()
}
