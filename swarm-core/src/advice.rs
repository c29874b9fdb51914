//! What to do about a trouble, typed. Every command line that a message of this project holds is rendered here, so that following
//! each one can be tried by a test.

use crate::id::{HostName, NodeId};
use serde::Serialize;
use std::fmt;

/// One thing a person can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "advice", rename_all = "kebab-case")]
pub enum Advice {
    /// Take a host out of a foreign swarm.
    ForceLeave {
        /// The host.
        host: HostName,
    },
    /// Keep a manager of the swarm in the file until the new ones are in.
    KeepAManager {
        /// The swarm's managers, as its own nodes know them: `ADDRESS:PORT`.
        managers: Vec<String>,
    },
    /// Make the swarm on one manager, though others cannot be asked whether they are in it.
    InitOn {
        /// The manager.
        host: HostName,
    },
    /// Enter the unlock key on locked managers.
    Unlock {
        /// The managers.
        hosts: Vec<HostName>,
        /// Where the file keeps the key.
        key_file: Option<String>,
    },
    /// Start the machines or their engines again.
    BringBack {
        /// The hosts.
        hosts: Vec<HostName>,
    },
    /// Take away a manager that will not come back.
    RemoveManager {
        /// The node.
        node: NodeId,
    },
    /// Take away an entry of the node list.
    RemoveEntry {
        /// The node.
        node: NodeId,
    },
    /// Wait for an election, and run again.
    WaitForLeader,
    /// Make one manager a swarm of its own, which drops the others. The last resort.
    ForceNewCluster {
        /// The manager to keep.
        host: HostName,
    },
    /// End a swarm that cannot be repaired.
    DestroyByForce,
    /// Restart an engine.
    RestartEngine {
        /// The host.
        host: HostName,
    },
    /// Give a copied engine an id of its own.
    NewEngineId {
        /// The host.
        host: HostName,
    },
    /// Free disk space.
    FreeDisk {
        /// The host.
        host: HostName,
    },
    /// Let managers be reached.
    OpenPort {
        /// The host that is not reached; `None` is every manager.
        host: Option<HostName>,
    },
    /// Read the unlock key on a manager and keep it.
    ReadUnlockKey,
    /// Bring the cluster up first.
    MakeTheSwarm,
    /// Name a place for the unlock key in the file.
    NameAKeyFile,
    /// Look at the engine's own report.
    LookAtEngine {
        /// The host.
        host: HostName,
    },
}

fn names(hosts: &[HostName]) -> String {
    hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForceLeave { host } => write!(f, "to take {host} out of it and lose what it runs there, add --force-leave {host}"),
            Self::KeepAManager { managers } => {
                let managers = if managers.is_empty() { "its managers".to_owned() } else { managers.join(", ") };
                write!(f, "keep one of its managers ({managers}) in the file until the new ones are in")
            }
            Self::InitOn { host } => {
                write!(f, "if none of them is in this cluster's swarm, `swarm apply --init-on {host}` makes it without them")
            }
            Self::Unlock { hosts, key_file } => {
                let key = key_file
                    .as_ref()
                    .map_or(" with the key on standard input".to_owned(), |path| format!(", which takes the key in {path}"));
                write!(f, "unlock {} with `swarm unlock`{key}, then run again", names(hosts))
            }
            Self::BringBack { hosts } => write!(f, "bring {} back, then run again", names(hosts)),
            Self::RemoveManager { node } => write!(f, "if it will not come back, take it out with `swarm node rm --dead {node}`"),
            Self::RemoveEntry { node } => write!(f, "remove it with `swarm node rm --dead {node}`"),
            Self::WaitForLeader => f.write_str("wait for an election and run again; nothing proves that the managers are lost"),
            Self::ForceNewCluster { host } => write!(
                f,
                "bring lost managers back; as a last resort `swarm recover {host}` makes it the only manager and drops the others"
            ),
            Self::DestroyByForce => f.write_str("to give this swarm up with all it runs, run `swarm destroy --force`"),
            Self::RestartEngine { host } => write!(f, "restart the engine on {host} (`systemctl restart docker`)"),
            Self::NewEngineId { host } => write!(
                f,
                "on {host}, remove /etc/docker/key.json and /var/lib/docker/engine-id, then restart the engine (`systemctl restart docker`)"
            ),
            Self::FreeDisk { host } => write!(f, "free disk space on {host} below /var/lib/docker, then run again"),
            Self::OpenPort { host: Some(host) } => write!(f, "open 2377/tcp on {host} for the managers, or correct `advertise`"),
            Self::OpenPort { host: None } => f.write_str("open 2377/tcp on the managers"),
            Self::ReadUnlockKey => f.write_str("read the key with `docker swarm unlock-key` on a manager and keep it"),
            Self::MakeTheSwarm => f.write_str("bring it up with `swarm apply` first"),
            Self::NameAKeyFile => {
                f.write_str("set swarm.unlock_key_file and swarm.autolock in the file; the next apply stores the key there")
            }
            Self::LookAtEngine { host } => write!(f, "look at `docker info` on {host}"),
        }
    }
}
