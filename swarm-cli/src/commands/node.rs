//! `swarm node`.

use super::work::{How, Session, carry, print_object, watched};
use crate::args::{Common, Format};
use crate::args_work::{NodeArgs, NodeCommand};
use crate::failure::Failure;
use crate::{output, source};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use swarm_core::addr::AddressSelector;
use swarm_core::engine::{Kind, Object, Query};
use swarm_core::id::HostName;
use swarm_core::intent::{Converge, Intent, Next, SoFar};
use swarm_core::nodes::{EditNodes, NodeEdit, RemoveNodes};
use swarm_core::observe::Observed;
use swarm_core::plan::PlanOptions;
use swarm_core::spec::{Availability, Role};
use swarm_core::verify::Verdict;
use swarm_workload::{Emptied, QuietDrain};

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
            let hosts = named(&session, &args.hosts)?;
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
            let edits = named(&session, std::slice::from_ref(host))?.into_iter().map(|h| (h, NodeEdit::Labels(wanted.clone()))).collect();
            let intent = EditNodes { spec: &session.spec, edits };
            carry(&session, &intent, How { dry_run: *dry_run, locks: Some(wait.wait), ..How::new("node label", format) }).await
        }
        NodeCommand::Move { common, host, advertise, out } => {
            let session = Session::open(common).await?;
            let (dry_run, yes, locks) = (out.dry_run, out.yes, Some(out.wait.wait));
            let how = How { dry_run, yes, locks, must_agree: true, ..How::new("node move", format) };
            readdress(session, host, advertise, out.timeout, how).await
        }
        NodeCommand::Rm { common, hosts, dead, out } => {
            let session = Session::open(common).await?;
            // What is gone for good may be no host of the file any more.
            let (known, entries): (Vec<String>, Vec<String>) =
                dead.iter().cloned().partition(|name| session.spec.host(&HostName::new(name.clone())).is_some());
            let (hosts, dead) = (named(&session, hosts)?, named(&session, &known)?);
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

fn named(session: &Session, names: &[String]) -> Result<Vec<HostName>, Failure> {
    source::named(names, &session.spec, "HOST").map(|hosts| hosts.into_iter().collect())
}

/// Hosts that are taken out to come back: what is to be done for them to stay out is not said.
struct ForNow<'a>(RemoveNodes<'a>);

impl Intent for ForNow<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        let mut next = self.0.next(observed, so_far);
        if let Next::Round(plan) | Next::Done(plan) = &mut next {
            plan.notes.clear();
        }
        next
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        self.0.verify(observed)
    }
}

/// Takes a host out and in again under another address.
async fn readdress(mut session: Session, name: &str, to: &AddressSelector, patience: Duration, how: How<'_>) -> Result<u8, Failure> {
    let hosts = named(&session, &[name.to_owned()])?;
    let Some(host) = hosts.first() else { return Err(Failure::Usage("name one host".into())) };
    let (observed, _) = session.objects(&[]).await?;
    let node = observed.hosts.get(host).and_then(|h| h.node.as_ref());
    // What it has is kept; where a run was cut off when it was out, what the file says of it.
    let spec = session.spec.clone().with_host(host, |wanted| {
        wanted.advertise = Some(to.clone());
        if let Some(node) = node {
            wanted.role = node.role;
            wanted.availability = Some(node.availability);
            wanted.labels = node.labels.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        }
    });
    let (command, format, locks, dry_run) = (how.command, how.format, how.locks, how.dry_run);
    if node.is_some() {
        let question = Some(format!("Take {host} out of the swarm, and in again at {to}?"));
        let how = How { question, idle: "it is out".into(), done: format!("{host} is out; it comes back at {to}"), ..how };
        let inner = RemoveNodes { spec: &session.spec, hosts: hosts.clone(), dead: Vec::new(), entries: Vec::new() };
        let code = carry(&session, &Emptied { inner: ForNow(inner), patience }, how).await?;
        if dry_run {
            output::note(&format!("then {host} joins again at {to}, with the role, labels and availability it has"));
        }
        if code != 0 || dry_run {
            return Ok(code);
        }
    }
    let limit = Some(BTreeSet::from([host.clone()]));
    let options = PlanOptions { limit: limit.clone(), ..PlanOptions::default() };
    session.spec = spec;
    let intent = Converge { spec: &session.spec, options };
    let how = How { limit, locks, dry_run, done: format!("{host} is at {to}"), ..How::new(command, format) };
    let code = carry(&session, &intent, how).await?;
    output::note(&format!("write `advertise: {to}` for {host} in the file, or the next plan names the difference"));
    Ok(code)
}

async fn edit(args: &NodeArgs, edit: &NodeEdit, command: &str, drains: Option<Duration>, format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let edits = named(&session, &args.hosts)?.into_iter().map(|host| (host, edit.clone())).collect();
    let inner = EditNodes { spec: &session.spec, edits };
    let how = How { dry_run: args.dry_run, locks: Some(args.wait.wait), ..How::new(command, format) };
    match drains {
        Some(patience) => carry(&session, &Emptied { inner, patience }, how).await,
        None => carry(&session, &inner, how).await,
    }
}

/// The entries of hosts in the node list.
async fn entries(args: &NodeArgs) -> Result<(Observed, Vec<(HostName, Object)>), Failure> {
    let common: &Common = &args.common;
    let session = Session::open(common).await?;
    let (observed, lists) = session.objects(&[Query::all(Kind::Node)]).await?;
    let mut found = Vec::new();
    for host in named(&session, &args.hosts)? {
        let node = observed.hosts.get(&host).and_then(|h| h.node.as_ref().or(h.presumed.as_ref()));
        let node = node.ok_or_else(|| Failure::Other(format!("{host} is no node of the swarm")))?;
        let entry = lists.iter().flatten().find(|o| o.id() == node.id.as_str());
        found.push((host, entry.cloned().ok_or_else(|| Failure::Other(format!("no manager lists node {}", node.id)))?));
    }
    Ok((observed, found))
}

async fn ps(args: &NodeArgs, format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let (observed, lists) = session.objects(&[Query::all(Kind::Task), Query::all(Kind::Service)]).await?;
    let [tasks, services] = lists.as_slice() else { return Ok(1) };
    let ids: Vec<&str> =
        named(&session, &args.hosts)?.iter().filter_map(|host| observed.hosts.get(host)?.node.as_ref().map(|n| n.id.as_str())).collect();
    let here: Vec<Object> = tasks.iter().filter(|t| t.text("/NodeID").is_some_and(|id| ids.contains(&&*id))).cloned().collect();
    let look = async || Ok((super::service::task_picture(&here, services, &observed, false, format), 0));
    watched("node ps", false, format, look).await
}
