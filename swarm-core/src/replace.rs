//! Join tokens, the root certificate and the unlock key replaced by new ones. What is replaced is named by the fingerprint that it had when
//! this was asked for, so a run that was cut off goes on where it was, and two operators do not replace one thing twice.

use crate::credential::{Part, root_digest};
use crate::engine::{GivenRoot, SwarmChange};
use crate::id::{HostName, StepId};
use crate::intent::{Intent, Next, SoFar, not_now};
use crate::observe::{ClusterView, NodeFacts, NodeState, Observed};
use crate::plan::{Action, Plan, Refusal, Risk, Step, Target};
use crate::spec::{ClusterSpec, ExternalCa, SwarmSettings};
use crate::step;
use crate::verify::{Finding, FindingKind, Verdict};
use std::collections::BTreeMap;

/// To replace parts of what the swarm lets its nodes in with.
pub struct Replace<'a> {
    /// The file.
    pub spec: &'a ClusterSpec,
    /// What, with the fingerprint that it has before.
    pub parts: BTreeMap<Part, String>,
    /// Options of the swarm that are set in the same call: certificate expiry.
    pub settings: SwarmSettings,
    /// The root that takes the place of the old one; `None` lets the engine make it.
    pub root: Option<GivenRoot>,
    /// The authorities that sign with that root. They take the place of those that signed with the old one.
    pub authorities: Vec<ExternalCa>,
    /// Gives the [`fingerprint`](crate::secret::Secret::fingerprint) of the unlock key that is stored when it is asked.
    pub stored: Stored<'a>,
}

/// Gives the fingerprint of the unlock key that is stored.
pub type Stored<'a> = &'a (dyn Fn() -> Option<String> + Send + Sync);

/// What tells a part of the swarm from the one before it, as one manager says.
pub fn fingerprint_of(view: &ClusterView, part: Part) -> Option<&String> {
    match part {
        Part::UnlockKey => view.unlock_key.as_ref(),
        part => view.cluster.fingerprints.get(&part),
    }
}

/// The swarm as each manager that answers sees it.
fn views(observed: &Observed) -> impl Iterator<Item = (&HostName, &ClusterView)> {
    observed.hosts.iter().filter_map(|(name, seen)| Some((name, seen.report.view.known()?)))
}

impl<'a> Replace<'a> {
    /// Parts as they are now.
    ///
    /// # Errors
    /// A text for people, where a part is not there or not known.
    pub fn of(spec: &'a ClusterSpec, observed: &Observed, parts: &[Part], stored: Stored<'a>) -> Result<Self, String> {
        let view = observed.view().ok_or("no manager of the swarm answers")?;
        let now = |part: &Part| match fingerprint_of(view, *part) {
            Some(is) => Ok((*part, is.clone())),
            None if *part == Part::UnlockKey => {
                Err("autolock is off, so there is no unlock key; `autolock: true` in the file locks managers".into())
            }
            None => Err(format!("no manager gives the swarm's {part}")),
        };
        let parts = parts.iter().map(now).collect::<Result<_, String>>()?;
        Ok(Self { spec, parts, settings: SwarmSettings::default(), root: None, authorities: Vec::new(), stored })
    }

    /// The parts that are still what they were.
    fn left(&self, view: &ClusterView) -> BTreeMap<Part, String> {
        let is_old = |(part, was): &(&Part, &String)| fingerprint_of(view, **part) == Some(*was);
        self.parts.iter().filter(is_old).map(|(part, was)| (*part, was.clone())).collect()
    }

    /// The certificate of the root that is given, where it is the one to come.
    fn given(&self, replace: &BTreeMap<Part, String>) -> Option<&GivenRoot> {
        self.root.as_ref().filter(|_| replace.contains_key(&Part::Root))
    }

    fn steps(&self, view: &ClusterView, host: &HostName) -> Vec<Step> {
        let mut steps = Vec::new();
        let replace = self.left(view);
        let root = self.given(&replace).cloned();
        let mut settings = view.cluster.lacks(&self.settings);
        if let Some(root) = root.as_ref().filter(|_| !self.authorities.is_empty()) {
            let authority = |ca: &ExternalCa| ExternalCa { ca_cert: Some(root.certificate.trim().to_owned()), ..ca.clone() };
            settings.external_ca = Some(self.authorities.iter().map(authority).collect());
        }
        let change = SwarmChange { settings, replace, root, ..SwarmChange::default() };
        let replaced = StepId::new("swarm/replace");
        if change != SwarmChange::default() {
            let new = |part: &Part| match &change.root {
                Some(root) if *part == Part::Root => format!("the {part} of digest {}", root_digest(&root.certificate)),
                _ => format!("a new {part}"),
            };
            let parts = change.replace.iter().map(|(part, was)| (format!("{part} {was}"), new(part)));
            let set = change.settings.entries();
            let had = view.cluster.settings.entries();
            let of = |key: &str| had.iter().find(|(k, _)| *k == key).map_or("not set", |(_, v)| v.as_str()).to_owned();
            let set = set.iter().map(|(key, value)| (format!("{key}: {}", of(key)), format!("{key}: {value}")));
            let (before, after): (Vec<String>, Vec<String>) = parts.chain(set).unzip();
            steps.push(Step {
                id: replaced.clone(),
                host: Some(host.clone()),
                action: Action::UpdateSwarm(step::UpdateSwarm { change: change.clone() }),
                before: before.join(", "),
                after: after.join(", "),
                needs: Vec::new(),
                expect: None,
                because: "it was asked for".into(),
                risk: Risk::None,
            });
        }
        let stored = (self.stored)();
        let stored = stored.is_some() && stored == view.unlock_key;
        if self.parts.contains_key(&Part::UnlockKey) && (change.replace.contains_key(&Part::UnlockKey) || !stored) {
            let file = self.spec.key_place().map_or_else(|| "the key's place".to_owned(), ToString::to_string);
            steps.push(Step {
                id: StepId::new("swarm/store-key"),
                host: Some(host.clone()),
                action: Action::StoreUnlockKey,
                before: "the old key is stored".into(),
                after: format!("in {file}; the old key stays beside it"),
                needs: if steps.is_empty() { Vec::new() } else { vec![replaced] },
                expect: None,
                because: "without the key no manager comes back after a restart of all".into(),
                risk: Risk::None,
            });
        }
        steps
    }

    fn notes(&self, observed: &Observed, view: &ClusterView) -> Vec<String> {
        let mut notes = Vec::new();
        if self.parts.contains_key(&Part::Root) {
            let away: Vec<String> = view.nodes.iter().filter(|n| n.state != NodeState::Ready).map(|n| observed.name_of(n)).collect();
            if !away.is_empty() {
                let (report, they) = if away.len() == 1 { ("does not report", "it is") } else { ("do not report", "they are") };
                notes.push(format!("{} {report}: the new root is in force only when {they} back or removed", away.join(", ")));
            }
            notes.push("join tokens change with the root".into());
            let signing = view.cluster.settings.external_ca.iter().flatten().filter(|_| self.authorities.is_empty());
            let signing: Vec<&str> = signing.map(|authority| authority.url.as_str()).collect();
            if !signing.is_empty() {
                notes.push(format!("{} signed with the old root, and does not sign with the new one", signing.join(", ")));
            }
        }
        if self.parts.keys().any(|p| matches!(p, Part::WorkerToken | Part::ManagerToken)) {
            notes.push("nodes that are in the swarm stay; machines that join by themselves need the new token".into());
        }
        notes
    }
}

/// How far a new root is: how many nodes have a certificate of it, and the names of the others. `None` where no root is being replaced.
///
/// While it is, managers give the new root's key already (moby `daemon/cluster/convert/swarm.go`, swarmkit `ca.IssuerFromAPIRootCA`).
pub fn root_progress(observed: &Observed) -> Option<(usize, Vec<String>)> {
    let view = observed.view().filter(|v| v.cluster.root_rotation_in_progress)?;
    let new = view.cluster.fingerprints.get(&Part::Root)?;
    let (done, late): (Vec<&NodeFacts>, Vec<&NodeFacts>) = view.nodes.iter().partition(|n| n.root == *new);
    Some((done.len(), late.iter().map(|n| observed.name_of(n)).collect()))
}

/// The same in words.
pub fn new_root(done: usize, late: &[String]) -> String {
    let all = done + late.len();
    match late {
        [] => format!("all {all} nodes have a certificate of the new root, and the managers have not ended the old one yet"),
        late => format!("{done} of {all} nodes have a certificate of the new root; not yet: {}", late.join(", ")),
    }
}

impl Intent for Replace<'_> {
    fn next(&self, observed: &Observed, so_far: SoFar) -> Next {
        if let Some(next) = not_now(self.spec, observed, so_far) {
            return next;
        }
        let (Some(view), Some(host)) = (observed.view(), observed.answering_manager()) else {
            return Next::Refused(vec![Refusal::NoSwarm]);
        };
        if self.parts.contains_key(&Part::UnlockKey) && self.spec.key_place().is_none() {
            let why = "the file has no place for it: name one in swarm.unlock_key_file or swarm.unlock_key_command".to_owned();
            return Next::Refused(vec![Refusal::Object { object: Target::Swarm, why }]);
        }
        let steps = self.steps(view, host);
        let replaces_root =
            |s: &Step| matches!(&s.action, Action::UpdateSwarm(step::UpdateSwarm { change }) if change.replace.contains_key(&Part::Root));
        if steps.iter().any(replaces_root)
            && let Some((done, late)) = root_progress(observed)
        {
            let why = format!("its root is being replaced already: {}", new_root(done, &late));
            return Next::Refused(vec![Refusal::Object { object: Target::Swarm, why }]);
        }
        let plan = Plan::of_work(self.spec, observed, steps, self.notes(observed, view));
        if plan.is_empty() { Next::Done(plan) } else { Next::Round(plan) }
    }

    fn verify(&self, observed: &Observed) -> Verdict {
        let mut findings = Vec::new();
        let mut say = |host: Option<&HostName>, message: String| {
            findings.push(Finding { host: host.cloned(), kind: FindingKind::Access, message });
        };
        let mut seen = 0;
        for (host, view) in views(observed) {
            seen += 1;
            for (part, was) in &self.parts {
                if fingerprint_of(view, *part) == Some(was) {
                    say(Some(host), format!("it still gives the old {part}"));
                }
            }
        }
        if seen == 0 {
            say(None, "no manager could be asked".into());
        }
        if self.parts.contains_key(&Part::Root)
            && let Some((done, late)) = root_progress(observed)
        {
            say(None, new_root(done, &late));
        }
        let key = observed.view().and_then(|v| v.unlock_key.as_ref());
        if self.parts.contains_key(&Part::UnlockKey) && key.is_some() && key != (self.stored)().as_ref() {
            say(None, "the stored unlock key is not the swarm's".into());
        }
        let s = if seen == 1 { "" } else { "s" };
        Verdict::of(findings, vec![format!("as {seen} manager{s} say{}", if seen == 1 { "s" } else { "" })])
    }
}
