//! `swarm plan`, `swarm apply`, `swarm destroy`.

use super::agreed::{agree, unless_stopped};
use super::ready::Preparation;
use super::report::{begin_report, listen, show};
use super::stack::{self, FileStack};
use super::work::FAMILIES;
use crate::args::{ApplyArgs, DestroyArgs, ForceArgs, PlanArgs};
use crate::args_common::{Format, LimitArgs};
use crate::failure::{self, Failure};
use crate::fleet::AnyFleet;
use crate::{fleet, operator, output, progress, source};
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};
use swarm_core::driver::{KeyKeeper, Progress};
use swarm_core::engine::Force;
use swarm_core::family::Families;
use swarm_core::id::HostName;
use swarm_core::intent::Intent;
use swarm_core::observe::Observed;
use swarm_core::plan::{Plan, PlanOptions, PlanPurpose, Risk};
use swarm_core::report::{Ending, Report};
use swarm_core::verify::{verify, verify_key};
use swarm_core::{Apply, ClusterSpec, Stop};
use swarm_prepare::prepare::Options;
use swarm_workload::Together;

/// The largest saved plan that is read.
const PLAN_LIMIT: u64 = 256 << 20;

fn options(limit: &LimitArgs, force: &ForceArgs, spec: &ClusterSpec) -> Result<PlanOptions, Failure> {
    Ok(PlanOptions {
        force_leave: source::named(&force.force_leave, spec, "--force-leave")?,
        limit: source::limit(limit, spec)?,
        prune: force.prune,
        init_on: source::named(force.init_on.as_slice(), spec, "--init-on")?.into_iter().next(),
        ..PlanOptions::default()
    })
}

pub(super) async fn plan(args: &PlanArgs, format: Format) -> Result<u8, Failure> {
    if let Some(hosts) = &args.what_if {
        return super::look::what_if(&args.common, hosts, format).await;
    }
    let spec = source::cluster(&args.common)?;
    if super::machines::planned(&spec, format, true) {
        return Ok(failure::CHANGES);
    }
    let (fleet, keys) = fleet::open(&args.common, &spec).await?;
    let sink = progress::for_format(format);
    let options = options(&args.limit, &args.force, &spec)?;
    let mut stacks = stacks_of(&spec, &args.common.file, &options, PlanPurpose::Converge)?;
    if args.force.compare_secrets {
        stack::compare(&spec, &fleet, &mut stacks).await?;
    }
    let prepare = preparation(&spec, &fleet, &args.common.file, &args.force, &stacks).await?;
    let apply = Apply::new(&spec, &fleet).options(options).progress(sink.as_ref()).keys(keys.as_ref()).families(Families(FAMILIES));
    let (plan, observed) = apply.plan_for(&prepare.before(&spec, together(&apply, &spec, &stacks))).await?;
    let checked = super::preflight::before(&plan, &spec, &fleet, &observed, stack::encrypts(&stacks));
    show_checked(&plan, format, true, checked).await?;
    super::work::warn_of_kernels(&plan, &spec, &fleet).await;
    if let Some(path) = &args.output {
        save(&plan, path)?;
        output::note(&format!("saved; `swarm apply {} -f {}` does exactly this", path.display(), args.common.file.display()));
    }
    let limit = plan.limit.as_ref();
    Ok(if plan.is_empty() && source::missing().is_empty() {
        as_wished(&spec, &observed, limit, keys.as_ref(), (&prepare, format))
    } else {
        failure::CHANGES
    })
}

/// What hosts still lack, where the file wants them made ready.
async fn preparation(
    spec: &ClusterSpec,
    fleet: &AnyFleet,
    file: &Path,
    force: &ForceArgs,
    stacks: &[FileStack],
) -> Result<Preparation, Failure> {
    let options = Options { allow_restart: force.allow_restart, encrypted: stack::encrypts(stacks) };
    Preparation::of(spec, fleet, file, options).await
}

/// What the file wants: the cluster, and the applications on it.
fn together<'a>(apply: &Apply<'a, AnyFleet>, spec: &'a ClusterSpec, stacks: &'a [FileStack]) -> Together<'a> {
    Together { converge: apply.converge(), deploys: stack::deploys(spec, stacks) }
}

/// The stacks that a run is about: none where it works on some hosts only, or takes the cluster down.
fn stacks_of(spec: &ClusterSpec, file: &Path, options: &PlanOptions, purpose: PlanPurpose) -> Result<Vec<FileStack>, Failure> {
    if purpose != PlanPurpose::Converge || spec.stacks().is_empty() && !spec.has_own_objects() {
        return Ok(Vec::new());
    }
    let mut stacks = stack::of_cluster(spec, file, stack::Commands::Run)?;
    if options.limit.is_some() {
        output::note("the stacks of the file are left out: --limit is about hosts");
        return Ok(Vec::new());
    }
    stack::log_in(&mut stacks)?;
    Ok(stacks)
}

/// There is nothing to do: whether that is because everything matches the file. What is not so is named last.
fn as_wished(
    spec: &ClusterSpec,
    observed: &Observed,
    limit: Option<&BTreeSet<HostName>>,
    keys: &dyn KeyKeeper,
    (prepare, format): (&Preparation, Format),
) -> u8 {
    let mut findings = verify(spec, observed, limit).findings;
    findings.extend(verify_key(spec, observed, keys.fingerprint().as_deref()));
    let mut lines: Vec<String> = findings.iter().map(output::finding).collect();
    lines.extend(prepare.left(spec, observed));
    if lines.is_empty() {
        return 0;
    }
    if format == Format::Text {
        output::data(&format!("does not match the file, and no run can change it now: {}", lines.join("; ")));
    }
    failure::NOT_CONVERGED
}

/// Shows a plan, and then what stands against it. A document says it all at once: it is shown when nothing does, if it is the answer.
async fn show_checked(
    plan: &Plan,
    format: Format,
    answer: bool,
    checked: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    if format != Format::Json {
        show(plan, format);
    }
    checked.await?;
    if format == Format::Json && answer {
        show(plan, format);
    }
    Ok(())
}

/// Writes a plan down for its owner alone: it holds the environment of services.
fn save(plan: &Plan, path: &Path) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(plan).map_err(|e| Failure::Other(e.to_string()))?;
    let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    written.and_then(|mut file| file.write_all((text + "\n").as_bytes())).map_err(|e| Failure::Io(path.to_owned(), e.to_string()))
}

fn load(path: &Path) -> Result<Plan, Failure> {
    let bytes = source::read(path, PLAN_LIMIT)?;
    let wrong = |message: String| Failure::Io(path.to_owned(), message);
    let looks_like_yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
    let plan: Plan = serde_json::from_slice(&bytes).map_err(|e| {
        if looks_like_yaml {
            return Failure::Usage(format!("{0} looks like a cluster file; name it with -f: swarm apply -f {0}", path.display()));
        }
        match serde_json::from_slice::<serde_json::Value>(&bytes).ok().and_then(|v| v.get("version")?.as_u64()) {
            Some(version) if version != u64::from(swarm_core::plan::PLAN_VERSION) => wrong(format!(
                "the plan has format {version}, and this version reads format {}; plan again",
                swarm_core::plan::PLAN_VERSION
            )),
            _ => wrong(format!("this is not a plan that `swarm plan -o` wrote: {e}")),
        }
    })?;
    if plan.version != swarm_core::plan::PLAN_VERSION {
        return Err(wrong(format!(
            "the plan has format {}, and this version reads format {}; plan again",
            plan.version,
            swarm_core::plan::PLAN_VERSION
        )));
    }
    Ok(plan)
}

pub(super) async fn apply(args: &ApplyArgs, format: Format) -> Result<u8, Failure> {
    let mut spec = source::cluster(&args.common)?;
    let stop = Stop::default();
    if super::machines::planned(&spec, format, args.dry_run) && args.dry_run {
        return Ok(failure::CHANGES);
    }
    // A saved plan is carried out as it is, or not at all.
    let creates = !args.dry_run && args.plan.is_none() && !source::missing().is_empty();
    if creates {
        listen(&stop);
        // What is wrong with the files of stacks is said where they are planned.
        let esp = stack::encrypts(&stack::of_cluster(&spec, &args.common.file, stack::Commands::Leave).unwrap_or_default());
        spec = super::machines::create(spec, &args.common, args.yes, esp, &stop).await?;
    }
    let (fleet, keys) = fleet::open(&args.common, &spec).await?;
    if !creates {
        listen(&stop);
    }
    let sink = progress::for_format(format);
    let saved = args.plan.as_deref().map(load).transpose()?;
    let given = options(&args.limit, &args.force, &spec)?;
    // A saved plan is carried out with the options it was made with.
    let options = match &saved {
        Some(_) if !args.limit.limit.is_empty() || args.force.is_any() => {
            return Err(Failure::Usage(
                "a saved plan keeps its own options; --limit, --force-leave, --prune, --init-on and --compare-secrets are given to `swarm plan`".into(),
            ));
        }
        Some(plan) => {
            PlanOptions { force_leave: plan.force_leave.clone(), limit: plan.limit.clone(), init_on: plan.init_on.clone(), ..given }
        }
        None => given,
    };
    // What a saved plan is for was decided when it was made.
    let purpose = saved.as_ref().map_or(PlanPurpose::Converge, |plan| plan.purpose);
    let mut stacks = stacks_of(&spec, &args.common.file, &options, purpose)?;
    if args.force.compare_secrets {
        unless_stopped(&stop, stack::compare(&spec, &fleet, &mut stacks)).await?;
    }
    let of_stacks = stack::AllPayloads(&stacks);
    let force = ForceArgs { allow_restart: args.force.allow_restart, ..ForceArgs::default() };
    let prepare = match purpose {
        PlanPurpose::Converge => preparation(&spec, &fleet, &args.common.file, &force, &stacks).await?,
        _ => Preparation::default(),
    };
    let payloads = prepare.payloads(&spec, &of_stacks);
    let apply = Apply::new(&spec, &fleet)
        .options(options)
        .progress(sink.as_ref())
        .keys(keys.as_ref())
        .stop(stop.clone())
        .families(Families(FAMILIES))
        .payloads(&payloads);
    let intent = prepare.before(&spec, together(&apply, &spec, &stacks));
    let wants = intent.wants();
    let look = async {
        match &saved {
            Some(plan) => Ok((plan.clone(), apply.recheck(plan, &wants).await?)),
            None => Ok::<_, Failure>(apply.plan_for(&intent).await?),
        }
    };
    let (mut plan, mut observed) = unless_stopped(&stop, look).await?;
    let checked = super::preflight::before(&plan, &spec, &fleet, &observed, stack::encrypts(&stacks));
    show_checked(&plan, format, args.dry_run, unless_stopped(&stop, checked)).await?;
    super::work::warn_of_kernels(&plan, &spec, &fleet).await;
    if args.dry_run {
        let limit = plan.limit.as_ref();
        return Ok(if plan.is_empty() && source::missing().is_empty() {
            as_wished(&spec, &observed, limit, keys.as_ref(), (&prepare, format))
        } else {
            failure::CHANGES
        });
    }
    if plan.is_empty() {
        fleet.fleet().record_host_keys().await?;
    }
    let mut shown_at = Instant::now();
    // A lock that is held where nothing is left to do is given back by the run.
    let mut held = None;
    let again = async || match &saved {
        Some(plan) => unless_stopped(&stop, async { Ok((plan.clone(), apply.recheck(plan, &wants).await?)) }).await,
        None => unless_stopped(&stop, async { Ok(apply.plan_for(&intent).await?) }).await,
    };
    while !plan.is_empty() {
        agree(args.yes, &question(&plan))?;
        let (lock, waited) = operator::take(&spec, &fleet, (&plan, &observed), "apply", args.wait.wait, sink.as_ref()).await?;
        // What was agreed to is checked again under the lock, but where there was no swarm a moment ago and no other run.
        if !waited && observed.view().is_none() && shown_at.elapsed() < ANSWER_HOLDS {
            held = Some(lock);
            break;
        }
        let (lock, now, seen) = operator::look_again(lock, again()).await?;
        shown_at = Instant::now();
        let same = now.steps == plan.steps;
        (plan, observed) = (now, seen);
        if !same {
            output::note("hosts have changed since the plan was shown; this is the plan now");
            show(&plan, format);
        }
        if same || args.yes {
            held = Some(lock);
            break;
        }
        lock.give_back().await;
    }
    fleet.works();
    let apply = apply.timeout(super::ready::timeout(&spec, &plan));
    let run = async {
        match purpose {
            PlanPurpose::Converge => {
                let intent = || -> Box<dyn Intent> { Box::new(prepare.before(&spec, together(&apply, &spec, &stacks))) };
                apply.run_each(&intent, &plan, &observed).await
            }
            PlanPurpose::Destroy | PlanPurpose::Work | PlanPurpose::Remove | PlanPurpose::Recover => apply.run(&plan, &observed).await,
        }
    };
    let report = operator::during(held, &plan, &stop, run).await;
    tell(if plan.purpose == PlanPurpose::Destroy { "destroy" } else { "apply" }, &report, format);
    let undone = match report.ending {
        Ending::Converged if plan.is_empty() => prepare.left(&spec, &observed),
        Ending::Converged => prepare.undone(&spec, &fleet, &plan).await,
        _ => Vec::new(),
    };
    undone.iter().for_each(|what| output::note(&format!("not what the file wants: {what}")));
    if format == Format::Text {
        whats_next(&report, &args.common.file);
    }
    Ok(match report.ending {
        _ if undone.is_empty() => report.ending.exit_code(),
        _ if plan.is_empty() => failure::NOT_CONVERGED,
        _ => failure::PARTIAL,
    })
}

pub(super) async fn destroy(args: &DestroyArgs, format: Format) -> Result<u8, Failure> {
    let spec = source::cluster(&args.common)?;
    if args.machines && spec.hosts().len() == 0 {
        let stop = Stop::default();
        listen(&stop);
        super::machines::destroy(&spec, &args.common, args.yes, &stop).await?;
        return Ok(0);
    }
    let (fleet, _) = fleet::open(&args.common, &spec).await?;
    let sink: Box<dyn Progress> = progress::for_format(format);
    let stop = Stop::default();
    listen(&stop);
    let apply = Apply::new(&spec, &fleet).progress(sink.as_ref()).stop(stop.clone());
    let force = if args.force { Force::Yes } else { Force::No };
    let (mut plan, mut observed) = unless_stopped(&stop, async { Ok(apply.plan_destroy(force).await?) }).await?;
    if format == Format::Text {
        show(&plan, Format::Text);
    }
    if !plan.is_empty() {
        agree(args.yes, &question(&plan))?;
    }
    let mut held = None;
    if !plan.is_empty() {
        let (lock, waited) = operator::take(&spec, &fleet, (&plan, &observed), "destroy", args.wait.wait, sink.as_ref()).await?;
        held = Some(lock);
        if let Some(lock) = held.take_if(|_| waited) {
            let again = unless_stopped(&stop, async { Ok(apply.plan_destroy(force).await?) });
            let (lock, now, seen) = operator::still(lock, &plan, again).await?;
            (held, plan, observed) = (Some(lock), now, seen);
        }
    }
    let report = operator::during(held, &plan, &stop, apply.run(&plan, &observed)).await;
    tell("destroy", &report, format);
    if args.machines {
        match report.ending {
            Ending::Interrupted => {}
            Ending::Converged => super::machines::destroy(&spec, &args.common, args.yes, &stop).await?,
            _ if args.force => {
                super::machines::destroy(&spec, &args.common, args.yes, &stop).await?;
                return Ok(0);
            }
            _ => output::note("the machines stay, because not every host is out of the swarm; --force destroys them all the same"),
        }
    }
    Ok(report.ending.exit_code())
}

/// How long an answer may take for the plan to be what is still there.
const ANSWER_HOLDS: Duration = Duration::from_secs(20);

fn question(plan: &Plan) -> String {
    match plan.purpose {
        PlanPurpose::Destroy => {
            let id = plan.swarm.as_ref().map_or("unknown", |id| id.as_str());
            format!("Destroy cluster `{}` (swarm {id})? Everything it runs ends, and its state is lost.", plan.cluster)
        }
        PlanPurpose::Converge | PlanPurpose::Work | PlanPurpose::Remove | PlanPurpose::Recover => {
            let s = if plan.steps.len() == 1 { "" } else { "s" };
            // A second swarm beside one that cannot be seen is what could be regretted.
            let risky = plan.steps.iter().find(|s| s.risk == Risk::Swarm);
            let anyway = risky.map_or(String::new(), |s| format!("{}: {}. ", s.id, s.because));
            format!("{anyway}Do {} step{s} on cluster `{}`?", plan.steps.len(), plan.cluster)
        }
    }
}

/// What a person would do now.
fn whats_next(report: &Report, file: &Path) {
    let made = report.steps.iter().any(|s| s.verb == "init" && s.outcome.is_done());
    let file = if file == Path::new("swarm.yaml") { String::new() } else { format!(" -f {}", file.display()) };
    match report.ending {
        Ending::Converged if made => output::note(&format!(
            "next: `swarm status{file}` shows the swarm; after a change of the file, `swarm plan{file}` shows what it would do"
        )),
        Ending::Partial | Ending::InDoubt | Ending::Paused | Ending::RolledBack | Ending::Interrupted => {
            output::note(&format!("next: `swarm status{file}` shows what is there; `swarm apply{file}` goes on"));
        }
        Ending::Failed | Ending::Degraded => output::note(&format!("next: put right what is named above, then `swarm plan{file}`")),
        Ending::Converged => {}
    }
}

fn tell(command: &str, report: &Report, format: Format) {
    if !begin_report(command, report, format) {
        return;
    }
    for blocked in &report.blocked {
        output::note(&format!("{}: left out: {}", blocked.host, blocked.why));
    }
    let reported = |host: &Option<HostName>| report.blocked.iter().any(|b| Some(&b.host) == host.as_ref());
    for finding in report.verdict.iter().flat_map(|v| &v.findings).filter(|f| !reported(&f.host)) {
        output::note(&output::finding(finding));
    }
    let quorum = report.verdict.iter().flat_map(|v| &v.notes).next().cloned().unwrap_or_default();
    output::data(&match report.ending {
        Ending::Converged if command == "destroy" => format!("cluster {} is gone", report.cluster),
        Ending::Converged => format!("cluster {} matches the file ({quorum})", report.cluster),
        Ending::Partial if command == "destroy" => {
            format!("cluster {}: what was reached is out; running again goes on from here", report.cluster)
        }
        Ending::Partial => {
            format!("cluster {}: some of it was done, and some does not match the file; running again goes on from here", report.cluster)
        }
        Ending::Degraded if command == "destroy" => {
            format!("cluster {}: no host was taken out, and not every host is known to be out", report.cluster)
        }
        Ending::Degraded => format!("cluster {}: does not match the file, and nothing could be done now", report.cluster),
        Ending::InDoubt => {
            format!("cluster {}: the outcome of a change is not known; running again looks first and goes on", report.cluster)
        }
        Ending::Interrupted => format!("cluster {}: stopped; running again goes on from here", report.cluster),
        _ => format!("cluster {}: nothing was changed, and it does not match the file", report.cluster),
    });
}
