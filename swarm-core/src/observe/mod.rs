//! What is there. A question that failed is not a "no": every fact is known, or unknown with its reason.

mod certificate;
mod classify;
mod fact;
mod facts;
mod health;
mod merge;
mod named;
mod objects;
mod probe;
mod swarms;

pub use certificate::{Certificate, NodeIdentity, certificate_from_pem, date, expiry_from_pem, identity_from_pem, time};
pub use classify::{HostState, address_matches};
pub use fact::{Fact, SeenAt};
pub use facts::{
    ClusterFacts, ClusterView, EngineFacts, HostReport, LocalState, LocalSwarm, MachineFacts, ManagerFacts, NodeFacts, NodeState,
    Observation, Offers, ReachError, ReachErrorKind, Reachability, RemoteManager,
};
pub(crate) use health::{MANAGER_DISK, no_room, unsteady};
pub use health::{cannot_answer, is_unhealthy, survives_without, unhealthy};
pub use merge::{Basis, Contradiction, Observed, ObservedCluster, ObservedHost, merge};
pub use named::{Named, Unnamed};
pub use objects::ObjectFacts;
pub use probe::{PROBE_SCRIPT, parse_probe};

#[cfg(test)]
mod tests_direct;
