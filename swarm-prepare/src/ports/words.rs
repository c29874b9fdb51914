//! The matrix in words.

use super::{Matrix, Outcome, Passage, Protocol};
use std::collections::{BTreeMap, BTreeSet};
use swarm_core::id::HostName;

impl Outcome {
    /// What became of it, as a verb.
    fn words(&self) -> String {
        match self {
            Self::Open => "is open".into(),
            Self::Arrived => "arrives".into(),
            Self::Refused => "is refused".into(),
            Self::Filtered => "is filtered: no answer".into(),
            Self::NoRoute => "has no route, or a packet filter rejects it".into(),
            Self::Blocked => "is blocked by its own packet filter".into(),
            Self::NotArrived => "does not arrive (6 tries)".into(),
            Self::InUse => "is in use by something else".into(),
            Self::Elsewhere => "is answered by something that is not this host".into(),
            Self::Small { passes, of } => format!("of up to {passes} bytes pass, of {of} that the interface takes (MTU {passes} of {of})"),
            Self::NotTested { why } => format!("was not tested: {why}"),
        }
    }
}

/// Names, the first few of them.
fn names(all: &[HostName]) -> String {
    const SHOWN: usize = 5;
    let mut shown: Vec<&str> = all.iter().take(SHOWN).map(HostName::as_str).collect();
    let more = all.len().saturating_sub(SHOWN);
    let rest = format!("{more} more");
    if more > 0 {
        shown.push(&rest);
    }
    shown.join(", ")
}

impl Matrix {
    /// What is wrong at a host, in one sentence for each kind; `None` where nothing of this is. It is the receiver's, but what does not
    /// leave the sender is the sender's.
    pub(crate) fn at(&self, host: &HostName, of: impl Fn(&Passage) -> bool) -> Option<String> {
        let mut groups: BTreeMap<(Protocol, Option<u16>, &Outcome), Vec<&Passage>> = BTreeMap::new();
        for passage in self.passages.iter().filter(|p| of(p)) {
            let own = if passage.outcome == Outcome::Blocked { &passage.from } else { &passage.to };
            if own == host {
                groups.entry((passage.protocol, passage.port, &passage.outcome)).or_default().push(passage);
            }
        }
        let said: Vec<String> = groups
            .into_iter()
            .map(|((protocol, port, outcome), all)| {
                let what = match (protocol, port) {
                    (Protocol::Tcp, Some(port)) => format!("{port}/tcp"),
                    (Protocol::Udp, Some(port)) => format!("{port}/udp"),
                    (Protocol::Esp, _) => "ESP".to_owned(),
                    _ => "packets".to_owned(),
                };
                let outwards = *outcome == Outcome::Blocked;
                let other = |p: &'_ &Passage| if outwards { p.to.clone() } else { p.from.clone() };
                let others: Vec<HostName> = all.iter().map(other).collect();
                let back: Vec<HostName> = all.iter().filter(|p| p.one_way).map(other).collect();
                let one_way = match back.len() {
                    0 => String::new(),
                    n if n == others.len() => ", in this direction only".to_owned(),
                    _ => format!(", in this direction only where the other host is {}", names(&back)),
                };
                format!("{what} {} {} {}{one_way}", if outwards { "to" } else { "from" }, names(&others), outcome.words())
            })
            .collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    /// What could not be found out about a host, and why.
    pub(crate) fn untested(&self, host: &HostName) -> Option<String> {
        if let Some(why) = self.left_out.get(host) {
            return Some(why.clone());
        }
        if let Some(why) = self.without_probe.get(host) {
            let tried = self.passages.iter().any(|p| p.from == *host && !matches!(p.outcome, Outcome::NotTested { .. }));
            let own = if tried { "; only connections from it were tried, with its own tools" } else { "" };
            return Some(format!("{why}{own}"));
        }
        // What is said of a host without a probe is said there.
        self.at(host, |p| matches!(p.outcome, Outcome::NotTested { .. }) && !self.without_probe.contains_key(&p.from))
    }

    /// What does not pass, or passes for smaller packets only, at each host.
    pub fn lines(&self) -> Vec<(HostName, String)> {
        let hosts: BTreeSet<&HostName> = self.passages.iter().flat_map(|p| [&p.from, &p.to]).collect();
        let wrong = |p: &Passage| p.outcome.fails() || matches!(p.outcome, Outcome::Small { .. });
        hosts.into_iter().filter_map(|host| Some((host.clone(), self.at(host, wrong)?))).collect()
    }

    /// One line on the whole, for people; `None` where nothing was tried.
    pub fn summary(&self) -> Option<String> {
        let tried = self.passages.len();
        let count = |is: fn(&Outcome) -> bool| self.passages.iter().filter(|p| is(&p.outcome)).count();
        let (fail, small) = (count(Outcome::fails), count(|o| matches!(o, Outcome::Small { .. })));
        let untested = count(|o| matches!(o, Outcome::NotTested { .. }));
        let mut hosts: Vec<&HostName> = self.passages.iter().map(|p| &p.from).collect();
        hosts.dedup();
        let also: Vec<String> = [(small, "pass for smaller packets only"), (untested, "not tested")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!(", {count} {what}"))
            .collect();
        (tried > 0).then(|| {
            format!(
                "Ports between {} hosts: {} of {tried} ways pass, {fail} do not{}",
                hosts.len(),
                tried - fail - small - untested,
                also.concat()
            )
        })
    }
}
