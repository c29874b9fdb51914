//! Every "no" has a type, and says what to do.

use super::Target;
use crate::advice::Advice;
use crate::id::{ClusterId, HostName, NodeId};
use crate::observe::{Contradiction, ObservedCluster};
use crate::spec::{ClusterSpec, Role};
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
        /// The manager that could make it without them, where none of them answers and nothing else is in doubt.
        without: Option<HostName>,
    },
    /// A host is in another swarm.
    ForeignSwarm {
        /// The host.
        host: HostName,
        /// The swarm of the file, if it is there.
        ours: Option<ClusterId>,
        /// The swarm it is in, if it is known.
        theirs: Option<ClusterId>,
        /// Its role there.
        role: Role,
        /// Containers that run on it.
        running: u64,
    },
    /// A worker is in a swarm of which no manager is in the file: it may be the one of this file, whose managers were all replaced in it.
    ManagersElsewhere {
        /// The worker.
        host: HostName,
        /// Its swarm, if it is known.
        swarm: Option<ClusterId>,
        /// The managers of that swarm that are not in the file, as the worker's engine knows them: `ADDRESS:PORT`.
        managers: Vec<String>,
        /// The others: hosts of the file that have a manager's address and are in no swarm.
        gone: Vec<HostName>,
        /// Containers that run on it.
        running: u64,
    },
    /// More than one swarm could be the cluster of the file.
    SeveralSwarms {
        /// Each with its managers among the hosts, its nodes and services.
        swarms: Vec<(ClusterId, Vec<HostName>, usize, usize)>,
    },
    /// Work in a swarm is wanted, and there is none.
    NoSwarm,
    /// An object of the swarm stands in the way, or is missing.
    Object {
        /// The object.
        object: Target,
        /// What is wrong with it, and what to do.
        why: String,
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
    /// The managers that answer hear no leader.
    NoLeader {
        /// The managers that say so.
        managers: Vec<(HostName, String)>,
        /// How many managers the swarm has, as far as their engines know.
        members: usize,
        /// Managers that are proven gone, each with the proof.
        gone: Vec<(HostName, String)>,
        /// Whether those are so many that the quorum is proven to be lost.
        lost: bool,
    },
    /// It is not known which swarm the hosts are in.
    Unknown {
        /// The declared managers that are in doubt.
        doubts: Vec<(HostName, String)>,
        /// The swarms that certificates of the hosts name.
        swarms: Vec<ClusterId>,
    },
    /// Managers wait for the unlock key.
    Locked {
        /// The hosts.
        hosts: Vec<HostName>,
        /// Where the file keeps the key.
        key_file: Option<String>,
    },
    /// What hosts say does not fit together.
    Contradiction {
        /// What.
        what: Contradiction,
    },
    /// The swarm would come below its quorum.
    QuorumAtRisk {
        /// The host whose change would do it.
        host: HostName,
        /// The arithmetic.
        numbers: String,
        /// The managers that are not healthy.
        unhealthy: Vec<NodeId>,
    },
    /// Managers are changed only while all others are healthy.
    UnhealthyManager {
        /// The host whose change waits.
        host: HostName,
        /// The manager that is not healthy.
        node: NodeId,
        /// Its host of the file, if it is one.
        of: Option<HostName>,
        /// Its host name and address, as managers list them.
        shown: String,
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
    /// Managers are to be locked, and there is no place for their key.
    NoPlaceForKey {
        /// Why not.
        why: String,
    },
}

impl Refusal {
    /// What to do about it, the best first.
    pub fn advice(&self) -> Vec<Advice> {
        match self {
            Self::InitInDoubt { doubts, without } => {
                let back = Advice::BringBack { hosts: doubts.iter().map(|(host, _)| host.clone()).collect() };
                [back].into_iter().chain(without.clone().map(|host| Advice::InitOn { host })).collect()
            }
            Self::ForeignSwarm { host, .. } => vec![Advice::ForceLeave { host: host.clone() }],
            Self::ManagersElsewhere { host, managers, .. } if managers.is_empty() => vec![Advice::ForceLeave { host: host.clone() }],
            Self::ManagersElsewhere { host, managers, .. } => {
                vec![Advice::KeepAManager { managers: managers.clone() }, Advice::ForceLeave { host: host.clone() }]
            }
            Self::SeveralSwarms { swarms } => {
                swarms.iter().skip(1).flat_map(|s| &s.1).map(|host| Advice::ForceLeave { host: host.clone() }).collect()
            }
            Self::NoLeader { lost: false, .. } => vec![Advice::WaitForLeader],
            Self::NoLeader { managers, .. } => {
                let keep = managers.first().map(|(host, _)| Advice::ForceNewCluster { host: host.clone() });
                keep.into_iter().chain([Advice::DestroyByForce]).collect()
            }
            Self::Unknown { doubts, .. } => vec![Advice::BringBack { hosts: doubts.iter().map(|(host, _)| host.clone()).collect() }],
            Self::Locked { hosts, key_file } => vec![Advice::Unlock { hosts: hosts.clone(), key_file: key_file.clone() }],
            Self::Contradiction { what } => match what {
                Contradiction::SameEngine { hosts: (_, copy), .. } | Contradiction::SameNode { hosts: (_, copy), .. } => {
                    vec![Advice::NewEngineId { host: copy.clone() }]
                }
                Contradiction::SeveralLeaders { .. } => vec![Advice::WaitForLeader],
            },
            Self::UnhealthyManager { node, of, .. } => {
                let back = of.as_ref().map(|host| Advice::BringBack { hosts: vec![host.clone()] });
                back.into_iter().chain([Advice::RemoveManager { node: node.clone() }]).collect()
            }
            Self::UnknownState { host, .. } => vec![Advice::LookAtEngine { host: host.clone() }],
            Self::NoPlaceForKey { .. } => vec![Advice::NameAKeyFile],
            Self::QuorumAtRisk { unhealthy, .. } => unhealthy.iter().map(|node| Advice::RemoveManager { node: node.clone() }).collect(),
            Self::NoSwarm => vec![Advice::MakeTheSwarm],
            Self::OtherName { .. } | Self::Address { .. } | Self::Unfit { .. } | Self::Object { .. } => Vec::new(),
        }
    }
}

fn lines(f: &mut fmt::Formatter<'_>, of: &[(HostName, String)]) -> fmt::Result {
    of.iter().try_for_each(|(host, why)| writeln!(f, "  {host}: {why}"))
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = |c: &Option<ClusterId>| c.as_ref().map_or("an unknown swarm".to_owned(), |c| format!("swarm {c}"));
        let containers = |n: u64| format!("{n} running container{}", if n == 1 { "" } else { "s" });
        match self {
            Self::InitInDoubt { doubts, without } => {
                writeln!(f, "a new swarm would have to be made, and that needs the proof that no declared manager is in one already:")?;
                lines(f, doubts)?;
                let hosts = doubts.iter().map(|(host, _)| host.clone()).collect();
                write!(f, "  {}; or take them out of the file", Advice::BringBack { hosts })?;
                without.iter().try_for_each(|host| write!(f, "; {}", Advice::InitOn { host: host.clone() }))
            }
            Self::ForeignSwarm { host, ours, theirs, role, running } => {
                let here = ours.as_ref().map_or("in no swarm yet".to_owned(), |c| format!("swarm {c}"));
                write!(f, "{host} is a {role} of {} with {}, and this cluster is {here}; ", id(theirs), containers(*running))?;
                Advice::ForceLeave { host: host.clone() }.fmt(f)
            }
            Self::ManagersElsewhere { host, swarm, managers, gone, running } if managers.is_empty() && !gone.is_empty() => {
                let names: Vec<&str> = gone.iter().map(HostName::as_str).collect();
                let (of, names) = (id(swarm), names.join(", "));
                writeln!(f, "{host} is a worker of {of} with {}, whose managers ({names}) are in no swarm any more", containers(*running))?;
                writeln!(
                    f,
                    "  if their state was lost: restore the swarm folder of one of them from a backup, restart its engine, and run again"
                )?;
                write!(f, "  to give that swarm up: {}", Advice::ForceLeave { host: host.clone() })
            }
            Self::ManagersElsewhere { host, swarm, managers, running, .. } => {
                let elsewhere =
                    if managers.is_empty() { "not in this file".to_owned() } else { format!("{}, not in this file", managers.join(", ")) };
                writeln!(f, "{host} is a worker of {} with {}, whose managers are {elsewhere}", id(swarm), containers(*running))?;
                writeln!(f, "  if that is this cluster: {}", Advice::KeepAManager { managers: managers.clone() })?;
                write!(f, "  if it is another one: {}", Advice::ForceLeave { host: host.clone() })
            }
            Self::SeveralSwarms { swarms } => {
                writeln!(f, "the hosts of this file lead more than one swarm, and which one to keep is not for a tool to say:")?;
                for (cluster, managers, nodes, services) in swarms {
                    let names: Vec<&str> = managers.iter().map(HostName::as_str).collect();
                    writeln!(f, "  swarm {cluster}: managers {}, {nodes} nodes, {services} services", names.join(", "))?;
                }
                f.write_str("  for each host of the swarm to give up: ")?;
                Advice::ForceLeave { host: HostName::new("HOST") }.fmt(f)
            }
            Self::OtherName { cluster, name, wanted } => {
                write!(
                    f,
                    "swarm {cluster} belongs to the cluster `{name}`, and this file describes `{wanted}`; use the right file, or change the name in this one"
                )
            }
            Self::NoLeader { managers, members, gone, lost } => {
                let answer = managers.len();
                if *lost {
                    writeln!(f, "quorum lost: of {members} managers {} are proven gone:", gone.len())?;
                    lines(f, gone)?;
                } else {
                    writeln!(f, "no leader is seen by the {answer} of {members} managers that answer, so nothing can be changed:")?;
                }
                lines(f, managers)?;
                let advice: Vec<String> = self.advice().iter().map(ToString::to_string).collect();
                write!(f, "  {}", advice.join("\n  "))
            }
            Self::Unknown { doubts, swarms } => {
                let known: Vec<String> = swarms.iter().map(|s| format!("swarm {s}")).collect();
                let last = if known.is_empty() { String::new() } else { format!(" (hosts were last known to be in {})", known.join(", ")) };
                writeln!(f, "it is not known which swarm these hosts are in{last}:")?;
                lines(f, doubts)?;
                let hosts = doubts.iter().map(|(host, _)| host.clone()).collect();
                write!(f, "  {}", Advice::BringBack { hosts })
            }
            Self::Locked { hosts, key_file } => {
                let s = if hosts.len() == 1 { "is a locked manager" } else { "are locked managers" };
                write!(f, "{} {s}: {}", names(hosts), Advice::Unlock { hosts: hosts.clone(), key_file: key_file.clone() })
            }
            Self::Contradiction { what } => {
                write!(f, "{what}; nothing is changed until this is resolved")?;
                self.advice().iter().try_for_each(|advice| write!(f, "; {advice}"))
            }
            Self::QuorumAtRisk { host, numbers, .. } => {
                write!(f, "changing {host} now would cost the quorum: {numbers}; bring the unreachable managers back first")?;
                self.advice().iter().try_for_each(|advice| write!(f, "; {advice}"))
            }
            Self::UnhealthyManager { host, node, of, shown } => {
                let name = of.as_ref().map_or(format!("manager {node} ({shown})"), |of| format!("manager {of} (node {node}, {shown})"));
                write!(f, "{host}: managers are changed only while all others are healthy, and {name} is not reached")?;
                self.advice().iter().try_for_each(|advice| write!(f, "; {advice}"))
            }
            Self::UnknownState { host, why } => write!(f, "{host}: {why}; {}", Advice::LookAtEngine { host: host.clone() }),
            Self::Address { host, why } => write!(f, "{host}: {why}; set `advertise` for it"),
            Self::NoSwarm => write!(f, "there is no swarm; {}", Advice::MakeTheSwarm),
            Self::Object { object, why } => write!(f, "{object}: {why}"),
            Self::Unfit { host, why } => write!(f, "{host}: {why}"),
            Self::NoPlaceForKey { why } => write!(f, "autolock: {why}; without the key no manager comes back after a restart of all"),
        }
    }
}

/// Why nothing is planned on a cluster that is not one with a leader; nothing for one that is.
pub fn of_cluster(spec: &ClusterSpec, cluster: &ObservedCluster) -> Option<Refusal> {
    match cluster {
        ObservedCluster::None | ObservedCluster::One { .. } => None,
        ObservedCluster::Unknown { doubts, swarms } => Some(Refusal::Unknown { doubts: doubts.clone(), swarms: swarms.clone() }),
        ObservedCluster::NoLeader { managers, members, gone, .. } => {
            Some(Refusal::NoLeader { managers: managers.clone(), members: *members, gone: gone.clone(), lost: cluster.quorum_is_lost() })
        }
        ObservedCluster::Several { swarms } => Some(Refusal::SeveralSwarms { swarms: swarms.clone() }),
        ObservedCluster::OtherName { cluster, name, .. } => {
            Some(Refusal::OtherName { cluster: cluster.clone(), name: name.clone(), wanted: spec.name().to_owned() })
        }
    }
}

fn names(hosts: &[HostName]) -> String {
    hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")
}
