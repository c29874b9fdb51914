//! From what the senders and the receivers said to what became of each passage.

use super::{Item, Matrix, Outcome, Pairs, Passage, Protocol, Station, Wanted};
use std::collections::{BTreeMap, BTreeSet};
use swarm_core::id::HostName;

/// Why a size of packets is not known where none of them arrived.
const NO_PACKET: &str = "no packet arrived";

/// What the probe on one host said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// Whether it sees datagrams behind the packet filter, whoever holds their port.
    pub raw: bool,
    /// What it says of each item it was to listen for: `bound`, `busy` or `denied`.
    pub listens: BTreeMap<String, String>,
    /// The number of the sender and the item of everything that arrived, with its size where it has one.
    pub arrived: BTreeSet<(usize, String, usize)>,
    /// What it said of what it sent: to the host of this number, this item.
    pub sent: BTreeMap<(usize, String), String>,
    /// Whether a probe listened here and said what arrived.
    pub listened: bool,
}

impl Heard {
    /// Reads what the listener printed as it began.
    pub fn began(&mut self, output: &str) {
        for line in output.lines() {
            match line.split_once(' ') {
                Some(("raw", "udp")) => self.raw = true,
                Some((word @ ("bound" | "busy" | "denied"), item)) => drop(self.listens.insert(item.to_owned(), word.to_owned())),
                _ => {}
            }
        }
    }

    /// Reads what the sender printed.
    pub fn sent(&mut self, output: &str) {
        for line in output.lines() {
            let mut words = line.splitn(3, ' ');
            if let (Some(Ok(to)), Some(item), Some(said)) = (words.next().map(str::parse::<usize>), words.next(), words.next()) {
                self.sent.insert((to, item.to_owned()), said.to_owned());
            }
        }
    }

    /// Reads what the listener printed at its end; whether it is whole.
    pub fn ended(&mut self, output: &str) -> bool {
        for line in output.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let read = |from: &str, item: &&str, size: &str| Some((from.parse().ok()?, (*item).to_owned(), size.parse().ok()?));
            match words.as_slice() {
                ["end"] => self.listened = true,
                [from, item] => self.arrived.extend(read(from, item, "0")),
                [from, item, size] => self.arrived.extend(read(from, item, size)),
                _ => {}
            }
        }
        self.listened
    }

    fn has(&self, from: usize, item: &str) -> bool {
        self.arrived.iter().any(|(sender, what, _)| *sender == from && what == item)
    }
}

fn not_tested(why: impl Into<String>) -> Outcome {
    Outcome::NotTested { why: why.into() }
}

/// What became of everything that was to be sent. `heard` has what each station's probe said, in the order of the stations.
pub fn judge(wanted: &Wanted, heard: &[Heard], without_probe: BTreeMap<HostName, String>) -> Matrix {
    let mut passages = Vec::new();
    for (f, from) in wanted.stations.iter().enumerate() {
        for (t, to) in wanted.stations.iter().enumerate().filter(|(_, to)| wanted.sends(from, to)) {
            let (Some(sender), Some(receiver)) = (heard.get(f), heard.get(t)) else { continue };
            for (item, address) in wanted.to(to) {
                // Of a port at which no datagram arrives, that is said once.
                if item.protocol == Protocol::Mtu && !receiver.has(f, &Item { protocol: Protocol::Udp, ..item }.to_string()) {
                    continue;
                }
                let outcome = outcome(item, f, sender.sent.get(&(t, item.to_string())), to, receiver);
                let port = (item.protocol != Protocol::Esp).then_some(item.port);
                let (from, to, protocol) = (from.host.clone(), to.host.clone(), item.protocol);
                passages.push(Passage { from, to, address, port, protocol, outcome, one_way: false });
            }
        }
    }
    mark(&mut passages);
    Matrix { passages, without_probe, left_out: wanted.left_out.clone() }
}

/// Says of each passage that fails whether the same the other way passes.
fn mark(passages: &mut [Passage]) {
    let passing: BTreeSet<(HostName, HostName, Protocol, Option<u16>)> =
        passages.iter().filter(|p| p.outcome.passes()).map(|p| (p.to.clone(), p.from.clone(), p.protocol, p.port)).collect();
    for passage in passages {
        let other_way = (passage.from.clone(), passage.to.clone(), passage.protocol, passage.port);
        passage.one_way = passage.outcome.fails() && passing.contains(&other_way);
    }
}

/// What a second try came to, beside the first: what passed once passes, and a try that could not be made says nothing.
fn either(first: Outcome, again: &Outcome) -> Outcome {
    match (first, again) {
        (Outcome::Small { passes, of }, Outcome::Small { passes: more, .. }) => Outcome::Small { passes: passes.max(*more), of },
        (first, again) if first.passes() || matches!(again, Outcome::NotTested { .. }) => first,
        (_, again) => again.clone(),
    }
}

impl Matrix {
    /// Between whom something was lost that may have been lost by chance: lines lose packets, and a host that dozens send to at once may have
    /// no room for them.
    pub fn doubtful(&self) -> Pairs {
        let lost = |outcome: &Outcome| match outcome {
            Outcome::Filtered | Outcome::NotArrived | Outcome::Small { .. } => true,
            Outcome::NotTested { why } => why == NO_PACKET,
            _ => false,
        };
        self.passages.iter().filter(|p| lost(&p.outcome)).map(|p| (p.from.clone(), p.to.clone())).collect()
    }

    /// With the outcome of trying some of it once more.
    #[must_use]
    pub fn and_again(mut self, again: Self) -> Self {
        for passage in again.passages {
            let of_pair = |p: &Passage| p.from == passage.from && p.to == passage.to;
            let same = |p: &Passage| of_pair(p) && p.protocol == passage.protocol && p.port == passage.port;
            if let Some(first) = self.passages.iter_mut().find(|p| same(p)) {
                first.outcome = either(first.outcome.clone(), &passage.outcome);
            } else if let Some(last) = self.passages.iter().rposition(of_pair) {
                self.passages.insert(last + 1, passage);
            }
        }
        mark(&mut self.passages);
        self
    }
}

fn outcome(item: Item, from: usize, said: Option<&String>, to: &Station, receiver: &Heard) -> Outcome {
    let name = item.to_string();
    let Some(said) = said else { return not_tested("the sender could not send it") };
    match said.as_str() {
        "filtered" => return Outcome::Filtered,
        "no-route" => return Outcome::NoRoute,
        "blocked" => return Outcome::Blocked,
        "no-tool" => return not_tested("the sender has no tool for it"),
        _ => {}
    }
    match item.protocol {
        Protocol::Tcp => connection(said, &name, from, to, receiver),
        Protocol::Udp | Protocol::Esp if receiver.has(from, &name) => Outcome::Arrived,
        Protocol::Mtu => size(said, &name, from, receiver),
        _ if said == "denied" => not_tested("the sender is not root"),
        _ if said.starts_with("failed") => not_tested(said.clone()),
        _ if !receiver.listened => not_tested("no probe listened there"),
        Protocol::Udp if receiver.raw => Outcome::NotArrived,
        _ => match receiver.listens.get(&name).map(String::as_str) {
            Some("bound") => Outcome::NotArrived,
            Some("busy") if to.idle => Outcome::InUse,
            Some("busy") => not_tested("the engine there holds the port, and the login is not root"),
            _ => not_tested("the receiver may not listen there"),
        },
    }
}

fn connection(said: &str, name: &str, from: usize, to: &Station, receiver: &Heard) -> Outcome {
    let bound = receiver.listened && receiver.listens.get(name).map(String::as_str) == Some("bound");
    let busy = receiver.listened && receiver.listens.get(name).map(String::as_str) == Some("busy");
    match said {
        "open probe" | "open" if receiver.has(from, name) => Outcome::Open,
        "open probe" if !receiver.listened => not_tested("the probe there did not say what arrived"),
        "open probe" => Outcome::Elsewhere,
        "open" if bound => Outcome::Elsewhere,
        "open" if to.member => Outcome::Open,
        "open" if busy && to.idle => Outcome::InUse,
        "open" if busy => Outcome::Open,
        "open" => not_tested("what listens there is not known"),
        // Something listens, so it was a packet filter that refused.
        "refused" if bound || busy || to.member => Outcome::Refused,
        "refused" => not_tested("nothing listens there yet"),
        other => not_tested(other),
    }
}

/// The largest packet that arrived, beside what the sender's interface sends. Both directions can differ.
fn size(said: &str, name: &str, from: usize, receiver: &Heard) -> Outcome {
    let Some(of) = said.strip_prefix("sent ").and_then(|of| of.parse::<usize>().ok()).filter(|of| *of > 0) else {
        return not_tested("the sender's interface does not say its size of packets");
    };
    let passes = receiver.arrived.iter().filter(|(sender, what, _)| *sender == from && what == name).map(|(_, _, size)| *size).max();
    match passes {
        Some(passes) if passes < of => Outcome::Small { passes, of },
        Some(_) => Outcome::Arrived,
        None => not_tested(NO_PACKET),
    }
}
