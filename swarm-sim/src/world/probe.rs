//! Probes on simulated hosts, which swarm-prepare puts there to find out what arrives: what each says as it begins, what becomes of what it
//! sends, and what it heard. They speak as the real one does (`swarm-probe/probe/main.rs`); a host's login is root.

use super::host::{Host, Local};
use super::paths::Listening;
use super::state::{Ran, State};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;
use swarm_core::id::HostName;

/// What interfaces send, bytes, where nothing else was said.
const MTU: usize = 1500;
/// Sizes of packets that are tried, of those that the real one tries.
const SIZES: [usize; 8] = [1500, 1450, 1400, 1380, 1280, 1000, 576, 256];
/// How long sending takes, and how long where a connection has no answer.
const SENDS: Duration = Duration::from_millis(250);
const WAITS: Duration = Duration::from_millis(1500);

/// What a probe is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ProbeCall<'a> {
    Listen { nonce: &'a str, items: &'a [String] },
    Send { nonce: &'a str, from: &'a str, first: bool, lines: Option<&'a str> },
    Collect { nonce: &'a str },
}

impl<'a> ProbeCall<'a> {
    /// The call of a command line, if it is one.
    pub(crate) fn of(argv: &'a [String]) -> Option<Self> {
        match argv {
            [sh, _, script, _, _, nonce, _, items @ ..] if sh == "sh" && script.contains("swarm-probe") => {
                Some(Self::Listen { nonce, items })
            }
            [program, verb, nonce, from, which, lines @ ..] if program.ends_with("/probe") && verb == "send" => {
                Some(Self::Send { nonce, from, first: which == "first", lines: lines.first().map(String::as_str) })
            }
            [program, verb, _, nonce] if program.ends_with("/probe") && verb == "collect" => Some(Self::Collect { nonce }),
            _ => None,
        }
    }
}

/// Whether an engine holds a port for the node that it is.
fn holds(host: &Host, item: &str) -> bool {
    let manages = matches!(host.local, Local::Active { control: true, .. });
    host.runs() && host.node().is_some() && (item.ends_with("/7946") || (manages && item == "tcp/2377"))
}

impl State {
    /// Whether a packet for an item comes from one host to another.
    fn arrives(&self, from: &HostName, to: &Host, item: &str) -> bool {
        let filtered = self.paths.drops.contains(&(to.name.clone(), item.replace("mtu/", "udp/")));
        let lost = self.cuts.contains(&(from.clone(), to.name.clone())) || filtered || (to.port_closed && item == "tcp/2377");
        to.powered && !lost
    }

    pub(crate) fn probes(&mut self, host: &HostName, call: ProbeCall<'_>, input: &str) -> Ran {
        match call {
            ProbeCall::Listen { nonce, items } => (SENDS, 0, self.probe_listens(host, nonce, items)),
            ProbeCall::Send { nonce, from, first, lines } => {
                let mut said = String::new();
                for line in lines.unwrap_or(input).lines() {
                    let words: Vec<&str> = line.split(' ').collect();
                    if let [to, item, address] = words.as_slice() {
                        let _ = writeln!(said, "{to} {item} {}", self.probe_sends(host, (nonce, first), from, item, address));
                    }
                }
                (if said.contains(" filtered\n") { WAITS } else { SENDS }, 0, said + "end\n")
            }
            ProbeCall::Collect { nonce } => match self.paths.listening.remove(&(nonce.to_owned(), host.clone())) {
                Some(listening) => {
                    let lines: String = listening.arrived.iter().map(|line| format!("{line}\n")).collect();
                    (SENDS, 0, lines + "end\n")
                }
                None => (SENDS, 127, String::new()),
            },
        }
    }

    fn probe_listens(&mut self, name: &HostName, nonce: &str, items: &[String]) -> String {
        let mut listening = Listening::default();
        let mut said = "dir /tmp/swarm-probe.simulated\nraw udp\n".to_owned();
        let Some(host) = self.host(name) else { return said };
        for item in items {
            let busy = holds(host, item) || (host.port_taken && item == "tcp/2377");
            let _ = writeln!(said, "{} {item}", if busy { "busy" } else { "bound" });
            if !busy {
                listening.bound.insert(item.clone());
            }
        }
        self.paths.listening.insert((nonce.to_owned(), name.clone()), listening);
        said + "ready\n"
    }

    /// What becomes of one thing, in the sender's words.
    fn probe_sends(&mut self, host: &HostName, (nonce, first): (&str, bool), from: &str, item: &str, address: &str) -> String {
        let receiver = address.parse::<IpAddr>().ok().and_then(|ip| self.by_address.get(&ip)).and_then(|name| self.hosts.get(name));
        let Some(receiver) = receiver else { return "no-route".to_owned() };
        let (arrives, holds, name) = (self.arrives(host, receiver, item), holds(receiver, item), receiver.name.clone());
        let answers = !self.cuts.contains(&(name.clone(), host.clone()));
        let narrow = self.paths.narrow.get(&name).copied().unwrap_or(MTU);
        let listening = self.paths.listening.get_mut(&(nonce.to_owned(), name));
        let bound = listening.as_ref().is_some_and(|l| l.bound.contains(item));
        let line = format!("{from} {item}");
        let (said, heard) = match item.split_once('/').map_or(item, |(protocol, _)| protocol) {
            "tcp" if !arrives || !answers => ("filtered".to_owned(), None),
            "tcp" if holds => ("open".to_owned(), None),
            "tcp" if bound => ("open probe".to_owned(), Some(line)),
            "tcp" => ("refused".to_owned(), None),
            "mtu" => {
                let size = SIZES.into_iter().find(|size| *size <= narrow).filter(|size| arrives && (!first || *size == MTU));
                (format!("sent {MTU}"), size.map(|size| format!("{line} {size}")))
            }
            _ => ("sent".to_owned(), arrives.then_some(line)),
        };
        if let (Some(listening), Some(line)) = (listening, heard) {
            listening.arrived.insert(line);
        }
        said
    }
}
