//! The steps of preparation: each is a part of the script on one host.

use super::argv;
use super::content::name;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use swarm_core::engine::ErrorClass;
use swarm_core::family::Family;
use swarm_core::id::HostName;
use swarm_core::machine::{Ask, Event, Move, Outcome, Reply, Task};
use swarm_core::observe::{HostState, Observed};
use swarm_core::plan::{Action, LintFinding, Plan, Step, Target, Work};

/// The name of this family in plans.
const NAME: &str = "prepare";

/// What is done on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Does {
    /// A program of the operator's runs.
    Hook {
        /// When: `before` or `after` everything else.
        when: String,
        /// The program.
        command: String,
    },
    /// The engine's configuration is laid over, and its proxy written down.
    Configure {
        /// The digest of the configuration that it is made from; `None` where it stays.
        from: Option<String>,
        /// Whether the proxy's lines are written.
        proxy: bool,
        /// Whether containers may be restarted.
        allow_restart: bool,
    },
    /// An engine is installed and started.
    Install {
        /// From where: `distro`, `docker-ce` or `offline`.
        from: String,
        /// Its version, by its beginning; empty for the newest.
        version: String,
        /// The address of the repository.
        repository: String,
        /// Whether the key that signs it is sent.
        key: bool,
        /// The digest of the archive that is sent; empty for none.
        bundle: String,
    },
    /// The engine that is there is started.
    Start,
    /// The login becomes a member of the group `docker`.
    Group {
        /// The login.
        login: String,
    },
    /// What the swarm needs is let in.
    Firewall {
        /// The chain.
        chain: String,
        /// The digest of its rules.
        rules: String,
    },
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Data {
    pub(super) host: HostName,
    pub(super) does: Does,
}

impl Data {
    fn verb(&self) -> String {
        match &self.does {
            Does::Hook { when, .. } => format!("hook-{when}"),
            Does::Configure { .. } => "configure-engine".into(),
            Does::Install { .. } => "install-engine".into(),
            Does::Start => "start-engine".into(),
            Does::Group { .. } => "join-group".into(),
            Does::Firewall { .. } => "open-firewall".into(),
        }
    }

    pub(super) fn work(self) -> Work {
        let (verb, target) = (self.verb(), Target::Host(self.host.clone()));
        Work { family: NAME.into(), verb, target, data: serde_json::to_value(self).unwrap_or(Value::Null) }
    }

    pub(super) fn ask(&self) -> Ask {
        let minutes = |m: u64| Duration::from_secs(60 * m);
        let (arguments, patience, input): (Vec<String>, _, _) = match &self.does {
            Does::Hook { command, .. } => (vec!["hook".into(), command.clone()], minutes(15), None),
            Does::Configure { from, proxy, allow_restart } => {
                let of = |yes: bool, word: &str| (if yes { word } else { "keep" }).to_owned();
                let from = from.clone().unwrap_or_else(|| "keep".into());
                let allowed = if *allow_restart { "yes" } else { "no" }.to_owned();
                (vec!["configure".into(), from, of(*proxy, "write"), allowed], minutes(5), Some("configuration"))
            }
            Does::Install { from, version, repository, key, bundle } => {
                let given = if *key { "given" } else { "fetched" };
                let all = vec!["install".into(), from.clone(), version.clone(), repository.clone(), given.into(), bundle.clone()];
                let input = if *key { Some("key") } else { (!bundle.is_empty()).then_some("bundle") };
                (all, minutes(20), input)
            }
            Does::Start => (vec!["start".into()], minutes(3), None),
            Does::Group { login } => (vec!["group".into(), login.clone()], minutes(1), None),
            Does::Firewall { chain, rules } => (vec!["firewall".into(), chain.clone(), rules.clone()], minutes(2), Some("rules")),
        };
        let input = input.map(|what| name(&self.host, what));
        Ask::Run { host: self.host.clone(), argv: argv(arguments), patience, input }
    }
}

/// This family: hosts made ready.
#[derive(Debug, Clone, Copy, Default)]
pub struct Preparing;

fn read(work: &Work) -> Result<Data, String> {
    let data: Data = serde_json::from_value(work.data.clone()).map_err(|e| format!("its data cannot be read: {e}"))?;
    if data.verb() != work.verb || Target::Host(data.host.clone()) != work.target {
        return Err("its data is not about what it says it is about".into());
    }
    Ok(data)
}

/// The step's data, where it is one of this family.
fn data(step: &Step) -> Option<Data> {
    match &step.action {
        Action::Work(work) if work.family == NAME => read(work).ok(),
        _ => None,
    }
}

/// Whether a step changes how ready a host is; the operator's own programs do not count.
pub fn changes_a_host(step: &Step) -> bool {
    data(step).is_some_and(|data| !matches!(data.does, Does::Hook { .. }))
}

/// Whether a step lets in what the swarm needs.
pub fn opens_firewall(step: &Step) -> bool {
    data(step).is_some_and(|data| matches!(data.does, Does::Firewall { .. }))
}

/// Whether a step is one of this family.
pub fn prepares(step: &Step) -> bool {
    data(step).is_some()
}

impl Family for Preparing {
    fn name(&self) -> &'static str {
        NAME
    }

    fn task(&self, work: &Work) -> Result<Box<dyn Task>, String> {
        Ok(Box::new(Script { data: read(work)? }))
    }

    /// An engine that is in a swarm is neither installed nor restarted, and a host joins only after everything that is done on it.
    fn lint(&self, plan: &Plan, observed: &Observed) -> Vec<LintFinding> {
        let mut found = Vec::new();
        for step in &plan.steps {
            let Some(data) = data(step) else { continue };
            let mut say = |what: &str| found.push(LintFinding::harmful(step, what));
            let state = observed.hosts.get(&data.host).map(|h| &h.state);
            let free = state.is_some_and(|s| *s == HostState::Standalone || s.is_silent());
            if !free && matches!(data.does, Does::Install { .. } | Does::Configure { .. }) {
                say("changes an engine that is in a swarm");
            }
            let by_id = plan.by_id();
            for join in plan.steps.iter().filter(|s| s.host.as_ref() == Some(&data.host)) {
                if !matches!(join.action, Action::Init(_) | Action::Join(_)) {
                    continue;
                }
                let (mut open, mut seen) = (vec![join], BTreeSet::new());
                while let Some(next) = open.pop() {
                    open.extend(next.needs.iter().filter(|need| seen.insert(*need)).filter_map(|need| by_id.get(need).copied()));
                }
                if !seen.contains(&step.id) {
                    say("is done beside the join of its host");
                }
            }
        }
        found
    }
}

/// A part of the script under way.
#[derive(Debug)]
struct Script {
    data: Data,
}

impl Task for Script {
    fn next(&mut self, event: Event<'_>, _now: Duration) -> Move {
        match event {
            Event::Begin | Event::Time => Move::Ask(vec![self.data.ask()]),
            Event::Answer(Ok(replies)) => match replies.first() {
                Some(Reply::Ran { status: Some(0), .. }) => Move::End(Outcome::Done { changed: true }),
                Some(Reply::Ran { status, output }) => {
                    let last: Vec<&str> = output.lines().map(str::trim).filter(|line| !line.is_empty()).rev().take(4).collect();
                    let said = match last.is_empty() {
                        true => "nothing was said".to_owned(),
                        false => last.into_iter().rev().collect::<Vec<_>>().join("; "),
                    };
                    let how =
                        status.map_or(" (ended by a signal)".to_owned(), |s| if s == 1 { String::new() } else { format!(" (status {s})") });
                    Move::End(Outcome::Failed { message: format!("{said}{how}") })
                }
                _ => Move::End(Outcome::Failed { message: "nothing was run".into() }),
            },
            Event::Answer(Err(error)) if error.class == ErrorClass::Unknown => {
                Move::End(Outcome::InDoubt { message: format!("it may go on there: {}", error.message) })
            }
            Event::Answer(Err(error)) => Move::End(Outcome::Failed { message: error.message.clone() }),
        }
    }
}
