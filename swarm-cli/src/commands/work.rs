//! What the verbs of workloads share: a session with the swarm, an intent carried out, tables.

use super::agreed::{agree, unless_stopped};
use super::report::{begin_report, listen, show};
use crate::args_common::{Common, Format};
use crate::args_work::ResolveImage;
use crate::failure::{self, Failure};
use crate::fleet::AnyFleet;
use crate::{fleet, operator, output, progress, source};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::time::Duration;
use swarm_backup::Backups;
use swarm_core::driver::KeyKeeper;
use swarm_core::engine::{NoPayloads, Object, Payloads, Query};
use swarm_core::family::{Families, Family};
use swarm_core::id::HostName;
use swarm_core::intent::{Intent, Scope};
use swarm_core::observe::{Fact, Observed};
use swarm_core::plan::{Plan, PlanOptions};
use swarm_core::report::{Ending, Report};
use swarm_core::{Apply, ClusterSpec, Stop};
use swarm_prepare::prepare::Preparing;
use swarm_workload::{Resolve, Workload, kernel_needs, without_secrets};

/// The families of this program.
pub(super) const FAMILIES: &[&dyn Family] = &[&Workload, &Backups, &Preparing];

/// The file, and connections to its hosts.
pub(super) struct Session {
    pub(super) spec: ClusterSpec,
    pub(super) fleet: AnyFleet,
    pub(super) keys: Box<dyn KeyKeeper>,
}

impl Session {
    pub(super) async fn open(common: &Common) -> Result<Self, Failure> {
        let spec = source::cluster(common)?;
        let (fleet, keys) = fleet::open(common, &spec).await?;
        Ok(Self { spec, fleet, keys })
    }

    /// Objects of the swarm, each list as it was asked for.
    pub(super) async fn objects(&self, wants: &[Query]) -> Result<(Observed, Vec<Vec<Object>>), Failure> {
        self.objects_within(wants, Scope::All).await
    }

    /// The same without a look at workers.
    pub(super) async fn listed(&self, wants: &[Query]) -> Result<(Observed, Vec<Vec<Object>>), Failure> {
        self.objects_within(wants, Scope::Managers).await
    }

    async fn objects_within(&self, wants: &[Query], scope: Scope) -> Result<(Observed, Vec<Vec<Object>>), Failure> {
        let observed = Apply::new(&self.spec, &self.fleet).scope(scope).observe_objects(wants).await;
        let mut lists = Vec::new();
        for query in wants {
            match observed.objects_of(query) {
                Fact::Known(objects, _) => lists.push(objects.to_vec()),
                Fact::Unknown(why) => return Err(Failure::Other(format!("the swarm's {}s are not known: {why}", query.kind))),
                Fact::NotAsked => lists.push(Vec::new()),
            }
        }
        Ok((observed, lists))
    }
}

/// How an intent is carried out.
pub(super) struct How<'a> {
    pub(super) command: &'a str,
    pub(super) dry_run: bool,
    /// Asked before, if there is something to ask about and a terminal to ask on.
    pub(super) question: Option<String>,
    /// Whether it is asked though nothing is removed.
    pub(super) asks: bool,
    /// Whether it is refused where no one can be asked.
    pub(super) must_agree: bool,
    pub(super) yes: bool,
    pub(super) payloads: &'a dyn Payloads,
    /// The unlock key, where it is another than the file's.
    pub(super) keys: Option<&'a dyn KeyKeeper>,
    /// Whether it holds the lock of the swarm meanwhile, and how long it waits for it.
    pub(super) locks: Option<Option<Duration>>,
    /// As what it stands in the journal, where it holds no lock.
    pub(super) journal: Option<String>,
    /// How long it may take at most, where that is not what the file says.
    pub(super) timeout: Option<Duration>,
    /// Only these hosts.
    pub(super) limit: Option<BTreeSet<HostName>>,
    pub(super) format: Format,
    /// What is said where nothing is to be done.
    pub(super) idle: String,
    /// What is said at the end.
    pub(super) done: String,
}

impl<'a> How<'a> {
    pub(super) fn new(command: &'a str, format: Format) -> Self {
        Self {
            command,
            dry_run: false,
            question: None,
            asks: false,
            must_agree: false,
            yes: false,
            payloads: &NoPayloads,
            keys: None,
            locks: None,
            journal: None,
            timeout: None,
            limit: None,
            format,
            idle: "nothing to do".into(),
            done: "done".into(),
        }
    }
}

/// Plans, shows, asks, carries out, reports.
pub(super) async fn carry(session: &Session, intent: &dyn Intent, how: How<'_>) -> Result<u8, Failure> {
    Ok(carry_seen(session, intent, how).await?.0)
}

/// The same, and gives the plan with what it was made from.
pub(super) async fn carry_seen(session: &Session, intent: &dyn Intent, how: How<'_>) -> Result<(u8, Plan, Observed), Failure> {
    let sink = progress::for_format(how.format);
    let stop = Stop::default();
    listen(&stop);
    let apply = Apply::new(&session.spec, &session.fleet)
        .options(PlanOptions { limit: how.limit.clone(), ..PlanOptions::default() })
        .progress(sink.as_ref())
        .stop(stop.clone())
        .families(Families(FAMILIES))
        .keys(how.keys.unwrap_or(session.keys.as_ref()))
        .payloads(how.payloads)
        .timeout(how.timeout.unwrap_or(session.spec.policy().timeout));
    let (mut plan, mut observed) = unless_stopped(&stop, async { Ok(apply.plan_for(intent).await?) }).await?;
    if how.format != Format::Json || how.dry_run {
        show(&plan, how.format);
    }
    warn_of_kernels(&plan, &session.spec, &session.fleet).await;
    if how.dry_run {
        return Ok((if plan.is_empty() { 0 } else { failure::CHANGES }, plan, observed));
    }
    let removes = plan.steps.iter().any(|s| s.action.verb().starts_with("remove-"));
    if let Some(question) = how.question.filter(|_| !plan.is_empty() && !how.yes)
        && (removes || how.asks || how.must_agree)
    {
        match output::confirm(&question) {
            Some(true) => {}
            None if !how.must_agree => {}
            _ => agree(false, &question)?,
        }
    }
    let idle = plan.is_empty();
    let mut held = None;
    if let Some(wait) = how.locks.filter(|_| !idle) {
        let (lock, _) = operator::take(&session.spec, &session.fleet, (&plan, &observed), how.command, wait, sink.as_ref()).await?;
        // What was agreed to is checked again under the lock.
        let again = unless_stopped(&stop, async { Ok(apply.plan_for(intent).await?) });
        let (lock, now, seen) = operator::still(lock, &plan, again).await?;
        (held, plan, observed) = (Some(lock), now, seen);
    }
    if let Some(why) = how.journal.as_ref().filter(|_| !idle) {
        held = Some(operator::journal(&session.spec, &session.fleet, &observed, why));
    }
    let report = operator::during(held, &plan, &stop, apply.run_for(intent, &plan, &observed)).await;
    tell(how.command, &report, how.format, if idle { &how.idle } else { &how.done });
    Ok((report.ending.exit_code(), plan, observed))
}

/// Says what of a plan the kernels of hosts cannot do. Hosts that cannot be asked are left out.
pub(super) async fn warn_of_kernels(plan: &Plan, spec: &ClusterSpec, fleet: &AnyFleet) {
    let needs = kernel_needs(plan);
    if needs.is_empty() {
        return;
    }
    // It is a warning: a host that takes its time does not hold the work up.
    let looking = tokio::time::timeout(std::time::Duration::from_secs(10), swarm_prepare::look(spec, fleet));
    let Ok(machines) = looking.await else { return };
    for need in needs {
        let lacks = |machine: &swarm_prepare::Machine| machine.modules.get(need.module) == Some(&false);
        let without = machines.iter().filter(|(_, machine)| machine.as_ref().is_ok_and(lacks));
        let without: Vec<&str> = without.map(|(host, _)| host.as_str()).collect();
        if !without.is_empty() {
            let (what, module, hosts) = (&need.what, need.module, without.join(", "));
            output::note(&format!("warning: {what} does not work on {hosts}: the kernel there has no {module}; {}", need.instead));
        }
    }
}

fn tell(command: &str, report: &Report, format: Format, done: &str) {
    if !begin_report(command, report, format) {
        return;
    }
    for finding in report.verdict.iter().flat_map(|v| &v.findings) {
        output::note(&output::finding(finding));
    }
    let notes = report.verdict.iter().flat_map(|v| &v.notes).next().cloned().unwrap_or_default();
    let notes = if notes.is_empty() { String::new() } else { format!(" ({notes})") };
    output::data(&match report.ending {
        Ending::Converged => format!("{done}{notes}"),
        Ending::Paused => "the engine paused an update because tasks failed; what failed is named above".into(),
        Ending::RolledBack => "the engine rolled an update back because tasks failed; what failed is named above".into(),
        Ending::InDoubt => "the outcome of a change is not known; running again looks first and goes on".into(),
        Ending::Interrupted => "stopped; running again goes on from here".into(),
        Ending::Partial => format!("some of it was done, and some is not as wanted; running again goes on from here{notes}"),
        _ => format!("not as wanted, and nothing was changed{notes}"),
    });
}

/// What one look shows.
#[derive(PartialEq)]
pub(super) enum Picture {
    Text { table: String, warnings: Vec<String> },
    Json(serde_json::Value),
}

impl Picture {
    fn show(&self, command: &str, over: bool) {
        match self {
            Self::Text { table, warnings } => {
                if over {
                    output::clear_screen();
                }
                output::data(table);
                warnings.iter().for_each(|warning| output::note(&format!("warning: {warning}")));
            }
            Self::Json(document) => output::json(command, document),
        }
    }
}

/// How often a picture that is watched is taken.
const AGAIN: Duration = Duration::from_secs(2);

/// Shows what a look gives, and where it is watched again whenever it differs. The answer is that of the first look.
pub(super) async fn watched<T>(
    command: &str,
    watch: bool,
    format: Format,
    mut look: impl AsyncFnMut() -> Result<(Picture, T), Failure>,
) -> Result<T, Failure> {
    let (mut shown, answer) = look().await?;
    shown.show(command, false);
    if !watch {
        return Ok(answer);
    }
    loop {
        tokio::time::sleep(AGAIN).await;
        // What cannot be had now can be had at the next look.
        let Ok((now, _)) = look().await else { continue };
        if now != shown {
            now.show(command, format == Format::Text && std::io::stdout().is_terminal());
        }
        shown = now;
    }
}

/// A table for people.
pub(super) fn table(header: &[&str], rows: Vec<Vec<String>>) {
    output::data(&table_text(header, rows));
}

pub(super) fn table_text(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    for row in rows {
        table.add_row(row.into_iter().map(|cell| output::clean(&cell).replace('\n', " ")).collect::<Vec<_>>());
    }
    let lines: Vec<String> = table.to_string().lines().map(|l| l.trim_end().trim_start_matches(' ').to_owned()).collect();
    lines.join("\n")
}

/// Prints one object without anything that is a secret.
pub(super) fn print_object(command: &str, object: &Object, format: Format) {
    let object = without_secrets(object.value());
    match format {
        Format::Text => output::data(&serde_json::to_string_pretty(&object).unwrap_or_default()),
        _ => output::json(command, &json!({ "object": object })),
    }
}

/// A number in an object.
pub(super) fn number(object: &Object, pointer: &str) -> u64 {
    object.number(pointer).unwrap_or(0)
}

/// An id as people read it.
pub(super) fn short(id: &str) -> String {
    id.get(..12).unwrap_or(id).to_owned()
}

/// When digests are asked for.
pub(super) fn resolve(how: ResolveImage) -> Resolve {
    match how {
        ResolveImage::Changed => Resolve::Changed,
        ResolveImage::Always => Resolve::Always,
        ResolveImage::Never => Resolve::Never,
    }
}
