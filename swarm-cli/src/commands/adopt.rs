//! `swarm adopt`.

use super::new::write_new;
use super::report::begin_report;
use crate::args_common::{Common, Format};
use crate::args_swarm::AdoptArgs;
use crate::failure::{self, Failure};
use crate::{fleet, output};
use std::path::{Path, PathBuf};
use swarm_core::id::{HostName, NodeId};
use swarm_core::observe::{NodeFacts, Observed};
use swarm_core::plan::Action;
use swarm_core::spec::{NAME_LABEL, Role};
use swarm_core::step;
use swarm_core::{Apply, ClusterSpec};
use swarm_file::{AdoptedHost, AdoptedSsh, adopted, adopted_name};

/// A host as it was named on the command line.
struct Named {
    name: Option<String>,
    user: Option<String>,
    address: String,
}

fn read(text: &str) -> Result<Named, Failure> {
    let (name, rest) = text.split_once('=').map_or((None, text), |(name, rest)| (Some(name.to_owned()), rest));
    let (user, address) = rest.rsplit_once('@').map_or((None, rest), |(user, address)| (Some(user.to_owned()), address));
    if address.is_empty() || name.as_deref() == Some("") {
        return Err(Failure::Usage(format!("`{text}` is not [NAME=][USER@]ADDRESS")));
    }
    Ok(Named { name, user, address: address.to_owned() })
}

fn parse(text: &str) -> Result<ClusterSpec, Failure> {
    swarm_file::parse(text, &|_| None).map(|read| read.spec).map_err(|problems| Failure::Usage(problems.to_string()))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn common(file: &Path) -> Common {
    Common { file: file.to_owned(), simulate: None }
}

pub(super) async fn adopt(args: &AdoptArgs, format: Format) -> Result<u8, Failure> {
    let named: Vec<Named> = args.hosts.iter().map(|text| read(text)).collect::<Result<_, _>>()?;
    let ssh = AdoptedSsh {
        user: named.iter().find_map(|n| n.user.clone()),
        port: None,
        identity_file: args.identity_file.as_deref().map(absolute),
        known_hosts: args.known_hosts.as_deref().map(absolute),
    };
    let (text, found) = ask(args, &named, &ssh).await?;
    let spec = parse(&text)?;
    if args.dry_run || args.output.as_os_str() == "-" {
        output::data(&text);
        return Ok(0);
    }
    // The file is the first thing that is there: whatever comes after can be done again with it.
    write_new(&args.output, &text)?;
    let shown = args.output.display();
    let (fleet, keys) = fleet::open(&common(&args.output), &spec).await?;
    let apply = Apply::new(&spec, &fleet).keys(keys.as_ref());
    let (plan, observed) = apply.plan().await?;
    let ours = |action: &Action| match action {
        Action::UpdateSwarm(step::UpdateSwarm { change }) => {
            change.settings == Default::default() && change.labels.keys().all(|key| key == NAME_LABEL)
        }
        Action::StoreUnlockKey => true,
        _ => false,
    };
    let other: Vec<&str> = plan.steps.iter().filter(|s| !ours(&s.action)).map(|s| s.id.as_str()).collect();
    let mut left: Vec<String> = plan.blocked.iter().map(|b| format!("{}: {}", b.host, b.why)).collect();
    if !other.is_empty() {
        left.push(format!("`swarm plan -f {shown}` would do: {}", other.join(", ")));
    } else if !plan.is_empty() {
        let report = apply.run(&plan, &observed).await;
        if !begin_report("adopt", &report, format) {
            return Ok(report.ending.exit_code());
        }
        left.extend(report.verdict.iter().flat_map(|v| &v.findings).map(output::finding));
    }
    match format {
        Format::Text => {
            left.iter().for_each(|what| output::note(what));
            let end = if left.is_empty() { "it matches what is there" } else { "what is named above does not match" };
            output::data(&format!("wrote {shown} with {found} hosts; {end}"));
        }
        _ => output::json("adopt", &serde_json::json!({ "file": args.output, "hosts": found, "differs": left })),
    }
    Ok(if left.is_empty() { 0 } else { failure::NOT_CONVERGED })
}

/// Asks the hosts that were named, and gives the file of the swarm that they are in, with how many hosts it has.
async fn ask(args: &AdoptArgs, named: &[Named], ssh: &AdoptedSsh) -> Result<(String, usize), Failure> {
    let first: Vec<AdoptedHost> = named
        .iter()
        .enumerate()
        .map(|(index, host)| AdoptedHost {
            name: format!("h{index}"),
            address: host.address.clone(),
            user: host.user.clone(),
            advertise: None,
            role: Role::Manager,
            availability: swarm_core::spec::Availability::Active,
            labels: Default::default(),
        })
        .collect();
    let question = parse(&adopted("adopt", ssh, &first, &Default::default(), &Default::default(), None))?;
    let (fleet, _) = fleet::open(&common(&args.output), &question).await?;
    let observed = Apply::new(&question, &fleet).observe().await;
    // The name that the swarm carries is not the question's: any manager that answers is asked.
    let view = observed.hosts.values().find_map(|h| h.report.view.known());
    let view = view.ok_or_else(|| Failure::Other(no_manager(&observed, named)))?;
    let carried = view.cluster.labels.get(NAME_LABEL).cloned();
    if let (Some(carried), Some(wanted)) = (&carried, &args.name)
        && carried != wanted
    {
        return Err(Failure::Usage(format!("the swarm carries the name `{carried}`; leave --name out")));
    }
    let name = carried.or_else(|| args.name.clone()).unwrap_or_else(|| "swarm".into());
    let node_of = |index: usize| -> Option<NodeId> {
        let seen = observed.hosts.get(&HostName::new(format!("h{index}")))?;
        seen.report.engine.as_ref().ok()?.swarm.node.clone()
    };
    let by_node: Vec<(Option<NodeId>, &Named)> = named.iter().enumerate().map(|(index, host)| (node_of(index), host)).collect();
    if let Some((_, host)) = by_node.iter().find(|(node, _)| !node.as_ref().is_some_and(|id| view.nodes.iter().any(|n| n.id == *id))) {
        return Err(Failure::Other(format!("{} is no node of swarm {}", host.address, view.cluster.id)));
    }
    let mut nodes: Vec<&NodeFacts> = view.nodes.iter().collect();
    nodes.sort_by(|a, b| (a.role, &a.hostname, &a.id).cmp(&(b.role, &b.hostname, &b.id)));
    let (mut hosts, mut names): (Vec<AdoptedHost>, Vec<String>) = (Vec::new(), Vec::new());
    for node in nodes {
        if node.hostname.is_empty() {
            output::note(&format!("node {} has no host name: its join never ended, and it is left out", node.id));
            continue;
        }
        let given = by_node.iter().find(|(id, _)| id.as_ref() == Some(&node.id)).map(|(_, host)| *host);
        let at = node.advertised().ok_or_else(|| Failure::Other(format!("{}: the swarm has no address for it", node.hostname)))?;
        let address = given.map_or_else(|| at.to_string(), |host| host.address.clone());
        let name = given.and_then(|host| host.name.clone()).unwrap_or_else(|| adopted_name(&node.hostname, &names));
        names.push(name.clone());
        hosts.push(AdoptedHost {
            name,
            user: given.and_then(|host| host.user.clone()),
            advertise: (address != at.to_string()).then_some(at),
            address,
            role: node.role,
            availability: node.availability,
            labels: node.labels.clone(),
        });
    }
    let beside = absolute(&args.output).parent().map(Path::to_owned).unwrap_or_default();
    let key = args.unlock_key_file.as_deref().map_or_else(|| beside.join(format!("{name}.unlock-key")), absolute);
    let key = key.display().to_string();
    Ok((adopted(&name, ssh, &hosts, &view.cluster.settings, &view.cluster.init, Some(&key)), hosts.len()))
}

fn no_manager(observed: &Observed, named: &[Named]) -> String {
    let of = |(index, host): (usize, &Named)| {
        let seen = observed.hosts.get(&HostName::new(format!("h{index}")))?;
        let why = seen.state.in_full();
        Some(format!("{}: {why}", host.address))
    };
    let each: Vec<String> = named.iter().enumerate().filter_map(of).collect();
    format!("none of these is a manager that answers: {}", each.join("; "))
}
