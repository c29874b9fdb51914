//! `swarm token`, `swarm certs`, `swarm unlock`.

use super::work::{How, Session, carry, table};
use crate::args_common::{AgreeArgs, Common, Format};
use crate::args_swarm::{CertsArgs, RoleName, TokenCommand, UnlockArgs};
use crate::failure::{self, Failure};
use crate::{output, source, terminal};
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};
use swarm_core::Apply;
use swarm_core::credential::Part;
use swarm_core::driver::KeyKeeper;
use swarm_core::engine::{NoPayloads, Payloads};
use swarm_core::observe::{Certificate, Observed, ObservedCluster, date};
use swarm_core::replace::{Replace, Stored};
use swarm_core::secret::Secret;
use swarm_core::spec::Role;
use swarm_core::unlock::Unlock;

/// From how many days before its end on a certificate is worth a warning: nodes renew theirs long before.
const SOON: u64 = 14;
/// What is read of a file with a key.
const KEY_LIMIT: u64 = 4096;

impl From<RoleName> for Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::Manager => Self::Manager,
            RoleName::Worker => Self::Worker,
        }
    }
}

pub(super) async fn token(command: &TokenCommand, format: Format) -> Result<u8, Failure> {
    match command {
        TokenCommand::Show { common, role } => {
            let session = Session::open(common).await?;
            let (token, address) = Apply::new(&session.spec, &session.fleet).join_token((*role).into()).await?;
            if format == Format::Text {
                output::secret(&token);
                output::note(&format!("an engine joins with it at {address}"));
            } else {
                // The one document that holds a secret: it was asked for by name.
                output::secret(&Secret::new(
                    serde_json::to_string_pretty(
                        &json!({ "version": 1, "command": "token show", "token": token.expose(), "address": address }),
                    )
                    .unwrap_or_default(),
                ));
            }
            Ok(0)
        }
        TokenCommand::Rotate { common, role, agree } => {
            let parts = role.map_or(vec![Part::WorkerToken, Part::ManagerToken], |role| vec![Part::token(role.into())]);
            let question = "Replace the join tokens? Machines that join by themselves need the new ones.";
            replace(common, &parts, agree, question, "token rotate", format).await
        }
    }
}

/// Replaces parts of the swarm.
pub(super) async fn replace(
    common: &Common,
    parts: &[Part],
    agree: &AgreeArgs,
    question: &str,
    command: &str,
    format: Format,
) -> Result<u8, Failure> {
    let session = Session::open(common).await?;
    replace_in(&session, parts, agree, question, (command, format), &NoPayloads, |_| {}).await
}

/// The same over a session that is there, with what is not the engine's choice.
pub(super) async fn replace_in(
    session: &Session,
    parts: &[Part],
    agree: &AgreeArgs,
    question: &str,
    (command, format): (&str, Format),
    payloads: &dyn Payloads,
    with: impl FnOnce(&mut Replace<'_>),
) -> Result<u8, Failure> {
    let observed = Apply::new(&session.spec, &session.fleet).observe().await;
    let stored = || session.keys.fingerprint();
    let stored: Stored<'_> = &stored;
    let mut intent = Replace::of(&session.spec, &observed, parts, stored).map_err(Failure::Other)?;
    with(&mut intent);
    let names: Vec<String> = parts.iter().map(Part::to_string).collect();
    let how = How {
        dry_run: agree.dry_run,
        question: Some(question.to_owned()),
        asks: true,
        yes: agree.yes,
        idle: format!("the {} was replaced meanwhile", names.join(" and the ")),
        done: format!("the {} {} replaced", names.join(" and the "), if parts.len() == 1 { "is" } else { "are" }),
        locks: Some(None),
        payloads,
        ..How::new(command, format)
    };
    carry(session, &intent, how).await
}

pub(super) fn no_manager(observed: &Observed) -> Failure {
    Failure::Other(match &observed.cluster {
        ObservedCluster::None => "there is no swarm".into(),
        _ => "no manager of the swarm answers".to_owned(),
    })
}

/// Days until a certificate ends; none if it has ended.
pub(super) fn days_left(certificate: &Certificate) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    certificate.until.saturating_sub(now) / 86400
}

/// What is to be said of certificates that end soon.
pub(super) async fn ending_soon(session: &Session, observed: &Observed) -> Vec<String> {
    let all = Apply::new(&session.spec, &session.fleet).certificates(observed).await;
    let soon = all.iter().filter_map(|(host, c)| Some((host, c.as_ref().ok().filter(|c| days_left(c) < SOON)?)));
    soon.map(|(host, c)| {
        format!(
            "{host}: its node certificate ends on {} ({} days): it does not renew it; `swarm certs` shows all",
            date(c.until),
            days_left(c)
        )
    })
    .collect()
}

pub(super) async fn certs(args: &CertsArgs, format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let apply = Apply::new(&session.spec, &session.fleet);
    let observed = apply.observe().await;
    let all = apply.certificates(&observed).await;
    let ending = all.values().any(|c| c.as_ref().map_or(true, |c| days_left(c) < SOON));
    if format == Format::Text {
        let rows = all.iter().map(|(host, certificate)| match certificate {
            Ok(c) => vec![
                host.to_string(),
                c.identity.node.as_str().get(..12).unwrap_or(c.identity.node.as_str()).to_owned(),
                c.identity.role.to_string(),
                c.issuer.clone(),
                date(c.from),
                date(c.until),
                days_left(c).to_string(),
            ],
            Err(why) => vec![host.to_string(), why.clone()],
        });
        table(&["HOST", "NODE", "ROLE", "ISSUER", "FROM", "REFUSED FROM", "DAYS"], rows.collect());
    } else {
        let rows: Vec<_> = all
            .iter()
            .map(|(host, certificate)| match certificate {
                Ok(c) => json!({
                    "host": host, "node": c.identity.node, "swarm": c.identity.cluster, "role": c.identity.role, "issuer": c.issuer,
                    "from": date(c.from), "until": date(c.until), "days": days_left(c),
                }),
                Err(why) => json!({ "host": host, "error": why }),
            })
            .collect();
        output::json("certs", &json!({ "certificates": rows }));
    }
    Ok(if ending { failure::NOT_CONVERGED } else { 0 })
}

/// A key that was given for this run.
struct Given(Secret);

impl KeyKeeper for Given {
    fn load(&self) -> Option<Secret> {
        Some(self.0.clone())
    }

    fn ready(&self) -> Result<(), String> {
        Err("this key was given for one run".into())
    }

    fn store(&self, _: &Secret) -> Result<(), String> {
        self.ready()
    }
}

pub(super) async fn unlock(args: &UnlockArgs, format: Format) -> Result<u8, Failure> {
    let session = Session::open(&args.common).await?;
    let hosts = source::named(&args.hosts, &session.spec, "HOST")?.into_iter().collect();
    let given = match &args.key_file {
        Some(path) => {
            let bytes = source::read_limited(path, KEY_LIMIT)?;
            Some(Given(Secret::new(String::from_utf8_lossy(&bytes).trim())))
        }
        None if session.keys.load().is_none() && terminal::is_there() => terminal::ask("unlock key: ").map(Given),
        None => None,
    };
    let keys = given.as_ref().map(|given| given as &dyn KeyKeeper);
    let how = How { keys, idle: "no manager is locked".into(), done: "unlocked".into(), ..How::new("unlock", format) };
    let intent = Unlock { spec: &session.spec, hosts };
    carry(&session, &intent, how).await
}
