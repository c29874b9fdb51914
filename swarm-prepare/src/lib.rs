//! Preflight: named checks on every host, each with what was seen, why it matters and what to do.
//!
//! [`look`] asks every host with one fixed script that only reads, and [`ports::matrix`] finds out what arrives at it from the others.
//! Everything else is pure: [`check`] judges what was seen.

mod checks;
mod explain;
mod machine;
pub mod ports;
mod preflight;
pub mod prepare;
mod upgrade;

#[cfg(test)]
mod tests;

pub use checks::{CHECKS, Check, Found, Seen, Severity, check};
pub use explain::{KNOWN, Known, explain};
pub use machine::{CHECK_SCRIPT, LOG_SCRIPT, Machine, look, look_at, parse};
pub use preflight::{added, let_go, preflight};
pub use upgrade::{UPGRADE_SCRIPT, UpgradeOf, is_version, upgrade_of};
