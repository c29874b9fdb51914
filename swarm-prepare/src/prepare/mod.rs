//! Hosts made ready before they join: an engine installed, its configuration laid over, packet filters opened, by steps of a plan like any
//! other.
//!
//! [`look`] asks each host that the file wants something done on; [`Prepare`] is an intent that puts what is left to do there before another
//! intent's steps on that host; [`Preparing`] is the family whose steps these are. Everything on a host is done by one fixed script, which
//! writes down what was there before, so that [`reset`] takes back what was done and nothing else.

mod ahead;
mod content;
mod facts;
mod intent;
mod promise;
mod steps;
#[cfg(test)]
mod tests;
mod work;

pub use ahead::Ahead;
pub use content::{Bundle, Content, Given, WithContent, configuration};
pub use facts::{Looked, Ready, look, parse_ready};
pub use intent::Prepare;
pub use promise::Promised;
pub use steps::{Differences, Options, Wanted, configure, differences, promised, wanted};
pub use work::{Preparing, changes_a_host, opens_firewall, prepares};

/// What is run on a host, with its part as the first argument.
pub const PREPARE_SCRIPT: &str = concat!(include_str!("../common.sh"), swarm_service::shell!(), include_str!("host.sh"));

/// The program that takes back what was done on a host.
pub fn reset() -> Vec<String> {
    argv(["reset"])
}

fn argv<T: Into<String>>(arguments: impl IntoIterator<Item = T>) -> Vec<String> {
    let mut all: Vec<String> = ["sh", "-c", PREPARE_SCRIPT, "sh"].map(str::to_owned).to_vec();
    all.extend(arguments.into_iter().map(Into::into));
    all
}
