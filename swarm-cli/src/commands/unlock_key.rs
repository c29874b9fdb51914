//! `swarm unlock-key`.

use super::access::{no_manager, replace};
use super::backup::start_what_was_left;
use super::work::{How, Session, carry};
use crate::args_common::Format;
use crate::args_swarm::UnlockKeyCommand;
use crate::failure::{self, Failure};
use crate::{output, source};
use serde_json::json;
use swarm_backup::Drill;
use swarm_core::Apply;
use swarm_core::credential::Part;
use swarm_core::observe::HostState;
use swarm_core::replace::fingerprint_of;

pub(super) async fn run(command: &UnlockKeyCommand, format: Format) -> Result<u8, Failure> {
    match command {
        UnlockKeyCommand::Check { common } => {
            let session = Session::open(common).await?;
            let observed = Apply::new(&session.spec, &session.fleet).observe().await;
            let locked: Vec<&str> =
                observed.hosts.iter().filter(|(_, h)| matches!(h.state, HostState::Locked { .. })).map(|(n, _)| n.as_str()).collect();
            let view = observed.view().ok_or_else(|| match locked.as_slice() {
                [] => no_manager(&observed),
                locked => Failure::Other(format!("{} wait for the key: `swarm unlock` enters it", locked.join(", "))),
            })?;
            let (stored, live) = (session.keys.fingerprint(), fingerprint_of(view, Part::UnlockKey));
            let same = stored.as_ref() == live;
            let text = match (live, &stored) {
                (None, _) => "autolock is off: there is no unlock key".to_owned(),
                (Some(live), Some(_)) if same => format!("the stored key is the swarm's ({live})"),
                (Some(live), Some(stored)) => {
                    format!("the stored key ({stored}) is not the swarm's ({live}); `swarm apply` stores that one")
                }
                (Some(live), None) => {
                    format!("no key is stored; the swarm's is {live}; `swarm apply` stores it where the file names a place")
                }
            };
            match format {
                Format::Text => output::data(&text),
                _ => output::json("unlock-key check", &json!({ "stored": stored, "swarm": live, "same": same })),
            }
            Ok(if same || live.is_none() { 0 } else { failure::NOT_CONVERGED })
        }
        UnlockKeyCommand::Drill { common, on, accept_downtime, agree } => {
            let session = Session::open(common).await?;
            let spec = &session.spec;
            let observed = start_what_was_left(&session, agree.dry_run, "unlock-key drill", format).await?;
            let on = source::named(on.as_slice(), spec, "--on")?.into_iter().next();
            let mut intent = Drill { spec, on, accept_downtime: *accept_downtime, stored_key: session.keys.fingerprint() };
            // Chosen now, so that it is known of which manager the end is to be verified.
            intent.on = intent.manager(&observed).ok().cloned().or(intent.on);
            let how = How {
                dry_run: agree.dry_run,
                question: Some("Restart this manager's engine, and unlock it with the stored key?".into()),
                must_agree: true,
                yes: agree.yes,
                done: "restarted: the stored key opened it, and it answers as a manager again".into(),
                ..How::new("unlock-key drill", format)
            };
            carry(&session, &intent, how).await
        }
        UnlockKeyCommand::Rotate { common, agree } => {
            let question = "Replace the unlock key?";
            replace(common, &[Part::UnlockKey], agree, question, "unlock-key rotate", format).await
        }
    }
}
