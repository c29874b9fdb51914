//! Hosts without an engine, and how they get one.

use super::host::{EngineState, Installing};
use super::state::{Event, State};
use super::swarm::HostName;
use std::fmt::Write as _;
use std::time::Duration;

impl State {
    /// What the script of swarm-prepare prints for `look`.
    pub(super) fn says_ready(&self, host: &HostName) -> String {
        let Some(host) = self.host(host) else { return String::new() };
        let mut said = "swarm-prepare-begin\nuid 0\nlogin root\nos debian 12 bookworm -\npackages apt\nservices sysv\n".to_owned();
        if host.engine != EngineState::Missing {
            let _ = writeln!(said, "engine {}", host.version);
        }
        let lines = [
            (host.engine == EngineState::Running, "running"),
            (host.installing != Installing::No, "installing"),
            (host.certificate.is_some(), "state"),
            (host.prepared, "prepared"),
        ];
        lines.iter().filter(|(is, _)| *is).for_each(|(_, line)| {
            let _ = writeln!(said, "{line}");
        });
        said + "config none\nswarm-prepare-end\n"
    }

    /// Begins an installation, or waits for the one that is under way: after how long it ends, and its status.
    pub(super) fn installs(&mut self, name: &HostName, after: Duration, fails_first: bool) -> (Duration, u32) {
        let (now, soon) = (self.now, Duration::from_millis(20));
        let Some(host) = self.hosts.get_mut(name) else { return (soon, 1) };
        let first = !std::mem::replace(&mut host.prepared, true);
        match (host.engine, host.installing) {
            (EngineState::Missing, Installing::Until(end)) => (end.saturating_sub(now) + soon, 0),
            (EngineState::Missing, _) if first && fails_first => {
                host.installing = Installing::Half;
                self.say(name, "an installation of an engine fails, half done");
                (after, 1)
            }
            (EngineState::Missing, _) => {
                host.installing = Installing::Until(now + after);
                self.at(now + after, Event::Installed(name.clone()));
                (after + soon, 0)
            }
            (EngineState::Stopped, _) => {
                self.at(now + after, Event::Starts(name.clone()));
                (after + soon, 0)
            }
            _ => (soon, 0),
        }
    }

    /// The end of an installation. A host that lost its power meanwhile has half of one.
    pub(super) fn is_installed(&mut self, name: &HostName) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        let in_time = host.powered && host.installing == Installing::Until(self.now);
        host.installing = if in_time { Installing::No } else { Installing::Half };
        if in_time {
            host.engine = EngineState::Running;
            host.version = "28.0.0".into();
            self.say(name, "has an engine now");
            self.disturb();
        }
    }
}
