//! The rules of bringing up and running a Docker Swarm: look at every host, plan, carry out, verify from a fresh look.
//!
//! ```text
//!   file ──spec──▶ plan::build ──▶ Plan ──▶ machine::Run ──effects──▶ driver ──▶ Engine, Host
//!                      ▲                        ▲                       │
//!   Observed ◀─merge── Observation ◀── inspect  └───────answers─────────┘        verify ◀── a fresh Observed
//! ```
//!
//! Everything but [`driver`] is pure: no clock, no network, no file. One rule explains most of it: a question that failed is not a
//! "no", and a call that returned is not a result that was verified.
//!
//! The paved path: read a [`ClusterSpec`] (see the crate `swarm-file`), give a [`Fleet`], call [`Apply::plan`] and [`Apply::run`].

pub mod addr;
pub mod advice;
pub mod condition;
pub mod credential;
pub mod driver;
pub mod engine;
pub mod family;
pub mod fleet;
pub mod host;
pub mod id;
pub mod intent;
pub mod machine;
pub mod nodes;
pub mod object;
pub mod observe;
pub mod operators;
pub mod plan;
pub mod quorum;
pub mod recover;
pub mod replace;
pub mod report;
pub mod secret;
pub mod spec;
pub mod step;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod testkit;
#[cfg(test)]
mod tests;
pub mod unlock;
pub mod verify;
pub mod what_if;

pub use driver::{Apply, ApplyError, Stop};
pub use fleet::{Fleet, FleetRead};
pub use secret::Secret;
pub use spec::ClusterSpec;
