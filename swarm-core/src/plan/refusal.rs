//! Every "no" has a type, and says what to do.

use crate::id::{ClusterId, HostName};
use crate::spec::Role;
use serde::Serialize;
use std::fmt;

/// Why nothing will be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "refusal", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Refusal {
    /// A swarm would have to be made, and not every declared manager is proven to be in none.
    InitInDoubt {
        /// Each doubt.
        doubts: Vec<(HostName, String)>,
    },
    /// A host is in another swarm.
    ForeignSwarm {
        /// The host.
        host: HostName,
        /// The swarm of the file, if it is there.
        ours: Option<ClusterId>,
        /// The swarm it is in, if it can be told.
        theirs: Option<ClusterId>,
        /// Its role there.
        role: Role,
        /// Containers that run on it.
        running: u64,
    },
    /// More than one swarm could be the cluster of the file.
    SeveralSwarms {
        /// Each with its managers among the hosts, its nodes and services.
        swarms: Vec<(ClusterId, Vec<HostName>, usize, usize)>,
    },
    /// The swarm carries the name of another file.
    OtherName {
        /// The swarm.
        cluster: ClusterId,
        /// The name it carries.
        name: String,
        /// The name in the file.
        wanted: String,
    },
    /// The swarm has no quorum, or no leader.
    NoQuorum {
        /// The managers that say so.
        managers: Vec<(HostName, String)>,
    },
    /// A manager waits for the unlock key.
    Locked {
        /// The host.
        host: HostName,
    },
    /// What hosts say does not fit together.
    Contradiction {
        /// What.
        what: String,
    },
    /// The swarm would come below its quorum.
    QuorumAtRisk {
        /// The host whose change would do it.
        host: HostName,
        /// The arithmetic.
        numbers: String,
    },
    /// A host's swarm state proves nothing.
    UnknownState {
        /// The host.
        host: HostName,
        /// What is in doubt.
        why: String,
    },
    /// An address cannot be settled.
    Address {
        /// The host.
        host: HostName,
        /// Why.
        why: String,
    },
    /// The engine is set up in a way that excludes swarm mode.
    Unfit {
        /// The host.
        host: HostName,
        /// What, and the fix.
        why: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = |c: &Option<ClusterId>| c.as_ref().map_or("an unknown swarm".to_owned(), |c| format!("swarm {c}"));
        match self {
            Self::InitInDoubt { doubts } => {
                writeln!(f, "a new swarm would have to be made, and that needs the proof that no declared manager is in one already:")?;
                for (host, doubt) in doubts {
                    writeln!(f, "  {host}: {doubt}")?;
                }
                f.write_str("  bring these hosts back, or take them out of the file, and run again")
            }
            Self::ForeignSwarm { host, ours, theirs, role, running } => {
                let here = ours.as_ref().map_or("in no swarm yet".to_owned(), |c| format!("swarm {c}"));
                let s = if *running == 1 { "" } else { "s" };
                write!(
                    f,
                    "{host} is a {role} of {} with {running} running container{s}, and this cluster is {here}; to take it out of that swarm and lose what it runs there, say --force-leave {host}",
                    id(theirs)
                )
            }
            Self::SeveralSwarms { swarms } => {
                writeln!(f, "the hosts of this file lead more than one swarm, and which one to keep is not for a tool to say:")?;
                for (cluster, managers, nodes, services) in swarms {
                    let names: Vec<&str> = managers.iter().map(HostName::as_str).collect();
                    writeln!(f, "  swarm {cluster}: managers {}, {nodes} nodes, {services} services", names.join(", "))?;
                }
                f.write_str("  say --force-leave HOST for each host of the swarm to give up")
            }
            Self::OtherName { cluster, name, wanted } => {
                write!(
                    f,
                    "swarm {cluster} belongs to the cluster `{name}`, and this file describes `{wanted}`; use the right file, or change the name in this one"
                )
            }
            Self::NoQuorum { managers } => {
                writeln!(f, "the swarm has no leader, so nothing can be changed and nothing is known of its nodes:")?;
                for (host, why) in managers {
                    writeln!(f, "  {host}: {why}")?;
                }
                f.write_str("  bring back more than half of its managers; `docker swarm init --force-new-cluster` is the last resort and loses the others")
            }
            Self::Locked { host } => {
                write!(f, "{host} is a locked manager: unlock it with `docker swarm unlock` on that host, then run again")
            }
            Self::Contradiction { what } => write!(f, "{what}; nothing is changed until this is resolved"),
            Self::QuorumAtRisk { host, numbers } => {
                write!(f, "changing {host} now would cost the quorum: {numbers}; bring the unreachable managers back first")
            }
            Self::UnknownState { host, why } => write!(f, "{host}: {why}; look at `docker info` there"),
            Self::Address { host, why } => write!(f, "{host}: {why}; set `advertise` for it"),
            Self::Unfit { host, why } => write!(f, "{host}: {why}"),
        }
    }
}
