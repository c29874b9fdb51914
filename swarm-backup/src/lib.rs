//! Backups of a swarm: the state of one manager, taken while its engine is stopped, in a file that can be checked, and put back onto a fresh
//! host.
//!
//! What is written down of a swarm is on every manager, below `swarm/` in the engine's data: settings, nodes, services, networks, secrets,
//! the keys of its certificate authority. A copy of a running engine's log cannot be trusted, so the engine is stopped by its own service
//! manager, and started again by the very script that stopped it, whatever becomes of the connection or of this program.

mod archive;
mod create;
mod drill;
mod family;
mod fence;
mod raft;
mod restore;
mod scripts;
mod seal;

pub use archive::{Archive, ArchiveError, Manifest, Names};
pub use create::{Backup, Quorum, Resume, Spared, fetch, interrupted};
pub use drill::Drill;
pub use family::{Backups, STATE};
pub use fence::{fences, set_aside};
pub use raft::{LogEnd, log_end, log_ends};
pub use restore::{Restore, State};
pub use seal::{is_sealed, recipients, seal, unseal};
