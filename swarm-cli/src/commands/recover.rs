//! `swarm recover`.

use super::work::{How, Session, carry};
use crate::args_common::Format;
use crate::args_swarm::RecoverArgs;
use crate::failure::Failure;
use crate::{output, source};
use std::collections::BTreeSet;
use swarm_backup::{fences, log_ends};
use swarm_core::Apply;
use swarm_core::id::HostName;
use swarm_core::intent::Converge;
use swarm_core::observe::Observed;
use swarm_core::plan::PlanOptions;
use swarm_core::recover::Recover;

/// How often the file is applied afterwards: an entry of an old node counts as down only after some seconds.
const ROUNDS: u32 = 3;

pub(super) async fn run(args: &RecoverArgs, format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let spec = &session.spec;
    let named: BTreeSet<HostName> = source::named(std::slice::from_ref(&args.host), spec, "HOST")?.into_iter().collect();
    let host = named.first().cloned().ok_or_else(|| Failure::Usage("name one host".into()))?;
    let observed = Apply::new(spec, &session.fleet).observe().await;
    let seen = fences(spec, &session.fleet, &observed).await;
    // Engines that are stopped do not come back with the others.
    let away: Vec<String> = args.fenced.iter().cloned().chain(seen.keys().map(HostName::to_string)).collect();
    let intent = Recover { spec, host: host.clone(), fenced: args.fenced.iter().cloned().collect(), seen };
    let how = How {
        dry_run: args.agree.dry_run,
        question: Some(format!("Make {host} the only manager? What only the others knew is lost.")),
        must_agree: true,
        yes: args.agree.yes,
        idle: "nothing to do".into(),
        done: format!("{host} leads the swarm"),
        ..How::new("recover", format)
    };
    if format == Format::Text {
        output::note("without the lock of the swarm: managers give it, and there is no quorum of them; see that no one else works on it");
    }
    let behind = knows(&session, &observed, &host, format).await;
    let how = match behind {
        Some(more) => How { question: how.question.map(|question| format!("{question} {more}")), ..how },
        None => how,
    };
    let code = carry(&session, &intent, how).await?;
    if code != 0 || args.agree.dry_run {
        return Ok(code);
    }
    let code = bring_back(&session, &away, args.agree.yes, "recover", format).await?;
    if format == Format::Text {
        output::note(&format!("next: look after what is lost, then `swarm apply -f {}`", args.common.file.display()));
    }
    Ok(code)
}

/// Says what each manager knows that answers, and what is lost with the choice; gives the latter where another one knows more.
async fn knows(session: &Session, observed: &Observed, host: &HostName, format: Format) -> Option<String> {
    let ends = log_ends(&session.spec, &session.fleet, observed).await;
    if format == Format::Text {
        for (name, end) in &ends {
            match end {
                Ok(end) => output::note(&format!("{name}: {end}")),
                Err(why) => output::note(&format!("{name}: how far its raft log goes is not known: {why}")),
            }
        }
    }
    let own = ends.get(host)?.as_ref().ok()?;
    let (most, end) = ends.iter().filter_map(|(name, end)| Some((name, end.as_ref().ok()?))).max_by_key(|(_, end)| **end)?;
    let more = (end.term, end.index) > (own.term, own.index);
    let lost = format!(
        "{most} knows more than {host}: its log ends at index {} of term {}, that of {host} at {} of {}; keep {most} instead, or lose what lies between.",
        end.index, end.term, own.index, own.term
    );
    if more && format == Format::Text {
        output::note(&format!("warning: {lost}"));
    }
    more.then_some(lost)
}

/// The others come back to what the file wants; those that are fenced are not there.
pub(super) async fn bring_back(session: &Session, fenced: &[String], yes: bool, command: &str, format: Format) -> Result<u8, Failure> {
    let spec = &session.spec;
    let there: BTreeSet<HostName> = spec.hosts().filter(|h| !fenced.contains(&h.name.to_string())).map(|h| h.name.clone()).collect();
    let options = PlanOptions { limit: Some(there), stored_key: session.keys.fingerprint(), ..PlanOptions::default() };
    let mut code = 0;
    for round in 0..ROUNDS {
        let converge = Converge { spec, options: options.clone() };
        if round == 0
            && Apply::new(spec, &session.fleet).options(options.clone()).keys(session.keys.as_ref()).plan_for(&converge).await?.0.is_empty()
        {
            break;
        }
        let question = Some("Bring the other hosts back to what the file wants?".to_owned());
        let done = "the hosts that are there match the file".to_owned();
        let how = How { question, must_agree: true, yes, done, limit: options.limit.clone(), ..How::new(command, format) };
        code = carry(session, &converge, how).await?;
        if code == 0 {
            break;
        }
    }
    Ok(code)
}
