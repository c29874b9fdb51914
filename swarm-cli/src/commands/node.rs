//! `swarm node`.

use super::work::{How, Session, carry, print_object, watched};
use crate::args_common::{Common, Format};
use crate::args_work::{NodeArgs, NodeCommand};
use crate::failure::Failure;
use crate::{output, source};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use swarm_core::Apply;
use swarm_core::addr::AddressSelector;
use swarm_core::engine::{Kind, Object, Query};
use swarm_core::id::{HostName, NodeId};
use swarm_core::nodes::{EditNodes, NodeEdit, RemoveNodes};
use swarm_core::observe::{Named, Observed};
use swarm_core::spec::{Availability, Role};
use swarm_workload::{EditStrangers, Emptied, Moved, QuietDrain};

pub(super) async fn run(command: &NodeCommand, format: Format) -> Result<u8, Failure> {
    let availability = |availability| NodeEdit::Availability(availability);
    match command {
        NodeCommand::Ls(args) => super::look::status(args, format).await,
        NodeCommand::Inspect(args) => {
            let (_, found) = entries(args).await?;
            found.iter().for_each(|(_, object)| print_object("node inspect", object, format));
            Ok(0)
        }
        NodeCommand::Ps(args) => ps(args, format).await,
        NodeCommand::Promote(args) => edit(args, &NodeEdit::Role(Role::Manager), "node promote", None, format).await,
        NodeCommand::Demote(args) => edit(args, &NodeEdit::Role(Role::Worker), "node demote", None, format).await,
        NodeCommand::Drain { args, timeout, zero_downtime: true, yes } => {
            let session = Session::open(&args.common).await?;
            let hosts = named(&session, &args.hosts).await?;
            let how = How {
                dry_run: args.dry_run,
                question: Some(format!("Drain {}?", args.hosts.join(", "))),
                asks: true,
                yes: *yes,
                locks: Some(args.wait.wait),
                idle: format!("nothing to do: {} drained", if hosts.len() == 1 { "it is" } else { "they are" }),
                done: format!("{} drained, and no service had fewer tasks for that but those that are named above", args.hosts.join(", ")),
                ..How::new("node drain", format)
            };
            carry(&session, &QuietDrain { spec: &session.spec, hosts, patience: *timeout }, how).await
        }
        NodeCommand::Drain { args, timeout, .. } => {
            edit(args, &availability(Availability::Drain), "node drain", Some(*timeout), format).await
        }
        NodeCommand::Activate(args) => edit(args, &availability(Availability::Active), "node activate", None, format).await,
        NodeCommand::Pause(args) => edit(args, &availability(Availability::Pause), "node pause", None, format).await,
        NodeCommand::Label { common, host, labels, dry_run, wait } => {
            let mut wanted = BTreeMap::new();
            for label in labels {
                match (label.split_once('='), label.strip_suffix('-')) {
                    (Some((key, value)), _) if !key.is_empty() => wanted.insert(key.to_owned(), Some(value.to_owned())),
                    (None, Some(key)) if !key.is_empty() => wanted.insert(key.to_owned(), None),
                    _ => return Err(Failure::Usage(format!("`{label}`: write KEY=VALUE, or KEY- to remove a label"))),
                };
            }
            let session = Session::open(common).await?;
            let how = How { dry_run: *dry_run, locks: Some(wait.wait), ..How::new("node label", format) };
            change(&session, std::slice::from_ref(host), &NodeEdit::Labels(wanted), None, how).await
        }
        NodeCommand::Move { common, host, advertise, out } => {
            let session = Session::open(common).await?;
            let (dry_run, yes, locks) = (out.dry_run, out.yes, Some(out.wait.wait));
            let how = How { dry_run, yes, locks, must_agree: true, ..How::new("node move", format) };
            readdress(&session, host, advertise, out.timeout, how).await
        }
        NodeCommand::Rm { common, hosts, dead, out } => {
            let session = Session::open(common).await?;
            // What is gone for good may be no host of the file any more.
            let (known, entries): (Vec<String>, Vec<String>) =
                dead.iter().cloned().partition(|name| session.spec.host(&HostName::new(name.clone())).is_some());
            let (hosts, dead) = (named(&session, hosts).await?, known.into_iter().map(HostName::new).collect::<Vec<_>>());
            let all: Vec<&str> = hosts.iter().chain(&dead).map(HostName::as_str).chain(entries.iter().map(String::as_str)).collect();
            if all.is_empty() {
                return Err(Failure::Usage("name a host, or --dead HOST".into()));
            }
            let question = format!("Take {} out of the swarm for good?", all.join(", "));
            let how = How {
                dry_run: out.dry_run,
                question: Some(question),
                must_agree: true,
                yes: out.yes,
                idle: "nothing to do: no such node is listed".into(),
                done: format!("{} is out of the swarm", all.join(", ")),
                locks: Some(out.wait.wait),
                ..How::new("node rm", format)
            };
            let inner = RemoveNodes { spec: &session.spec, hosts: hosts.clone(), dead: dead.clone(), entries: entries.clone() };
            carry(&session, &Emptied { inner, patience: out.timeout }, how).await
        }
    }
}

/// Hosts of the file by their names or as nodes, and nodes of none. The swarm is asked where a name is of no host.
async fn known(session: &Session, names: &[String]) -> Result<(BTreeSet<HostName>, BTreeSet<NodeId>), Failure> {
    if let Ok(hosts) = source::named(names, &session.spec, "HOST") {
        return Ok((hosts, BTreeSet::new()));
    }
    let observed = Apply::new(&session.spec, &session.fleet).observe().await;
    let (mut hosts, mut strangers) = (BTreeSet::new(), BTreeSet::new());
    for name in names {
        match resolved(&observed, name)? {
            Named::Host(host) => drop(hosts.insert(host)),
            Named::Stranger(node) => drop(strangers.insert(node)),
        }
    }
    Ok((hosts, strangers))
}

/// The same where the host itself takes part.
async fn named(session: &Session, names: &[String]) -> Result<Vec<HostName>, Failure> {
    let (hosts, strangers) = known(session, names).await?;
    match strangers.first() {
        None => Ok(hosts.into_iter().collect()),
        Some(node) => Err(Failure::Usage(format!(
            "node {node} is of no host of the file; write its host there first, or give it up with --dead where it is gone"
        ))),
    }
}

fn resolved(observed: &Observed, name: &str) -> Result<Named, Failure> {
    observed.named(name).map_err(|why| Failure::Usage(format!("{name}: {why}")))
}

/// The ids of nodes that are only looked at: of hosts of the file, and of others.
fn looked_at(observed: &Observed, names: &[String]) -> Result<Vec<(HostName, NodeId)>, Failure> {
    let node = |name: &String| match resolved(observed, name)? {
        Named::Host(host) => {
            let node = observed.hosts.get(&host).and_then(|h| h.node.as_ref().or(h.presumed.as_ref()));
            let node = node.ok_or_else(|| Failure::Other(format!("{host} is no node of the swarm")))?;
            Ok((host, node.id.clone()))
        }
        Named::Stranger(node) => Ok((HostName::new(name.clone()), node)),
    };
    names.iter().map(node).collect()
}

/// Takes a host out and in again under another address.
async fn readdress(session: &Session, name: &str, to: &AddressSelector, patience: Duration, how: How<'_>) -> Result<u8, Failure> {
    let hosts = named(session, &[name.to_owned()]).await?;
    let Some(host) = hosts.first() else { return Err(Failure::Usage("name one host".into())) };
    let dry_run = how.dry_run;
    let how = How {
        question: Some(format!("Take {host} out of the swarm, and in again at {to}?")),
        idle: format!("nothing to do: {host} is at {to}"),
        done: format!("{host} is at {to}"),
        limit: Some(BTreeSet::from([host.clone()])),
        ..how
    };
    let moved = Moved { spec: &session.spec, host: host.clone(), to: to.clone(), patience };
    let code = carry(session, &moved, how).await?;
    if code == 0 && !dry_run {
        output::note(&format!("write `advertise: {to}` for {host} in the file, or the next plan names the difference"));
    }
    Ok(code)
}

async fn edit(args: &NodeArgs, edit: &NodeEdit, command: &str, drains: Option<Duration>, format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let how = How { dry_run: args.dry_run, locks: Some(args.wait.wait), ..How::new(command, format) };
    change(&session, &args.hosts, edit, drains, how).await
}

/// Changes nodes: those of hosts of the file, or those of none.
async fn change(session: &Session, names: &[String], edit: &NodeEdit, drains: Option<Duration>, how: How<'_>) -> Result<u8, Failure> {
    let (hosts, strangers) = known(session, names).await?;
    if !strangers.is_empty() && !hosts.is_empty() {
        let why = "these are hosts of the file and others; change them in two runs";
        return Err(Failure::Usage(format!("{}: {why}", names.join(", "))));
    }
    if !strangers.is_empty() {
        let edits = strangers.into_iter().map(|node| (node, edit.clone())).collect();
        return carry(session, &EditStrangers { spec: &session.spec, edits, patience: drains }, how).await;
    }
    let edits = hosts.into_iter().map(|host| (host, edit.clone())).collect();
    let inner = EditNodes { spec: &session.spec, edits };
    match drains {
        Some(patience) => carry(session, &Emptied { inner, patience }, how).await,
        None => carry(session, &inner, how).await,
    }
}

/// The entries of hosts in the node list.
async fn entries(args: &NodeArgs) -> Result<(Observed, Vec<(HostName, Object)>), Failure> {
    let common: &Common = &args.common;
    let session = Session::open(common).await?;
    let (observed, lists) = session.objects(&[Query::all(Kind::Node)]).await?;
    let entry = |(host, node): (HostName, NodeId)| {
        let object = lists.iter().flatten().find(|o| o.id() == node.as_str()).cloned();
        Ok((host, object.ok_or_else(|| Failure::Other(format!("no manager lists node {node}")))?))
    };
    let found = looked_at(&observed, &args.hosts)?.into_iter().map(entry).collect::<Result<_, Failure>>()?;
    Ok((observed, found))
}

async fn ps(args: &NodeArgs, format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let (observed, lists) = session.objects(&[Query::all(Kind::Task), Query::all(Kind::Service)]).await?;
    let [tasks, services] = lists.as_slice() else { return Ok(1) };
    let nodes = looked_at(&observed, &args.hosts)?;
    let here: Vec<Object> =
        tasks.iter().filter(|t| t.text("/NodeID").is_some_and(|id| nodes.iter().any(|(_, node)| node.as_str() == id))).cloned().collect();
    let look = async || Ok((super::service::task_picture(&here, services, &observed, false, format), 0));
    watched("node ps", false, format, look).await
}
