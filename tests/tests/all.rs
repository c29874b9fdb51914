//! All stories in one binary: they share their build, and the labs of at most a few run at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "these are tests")]

mod access;
mod adopt;
mod advice;
mod architecture;
mod backup;
mod bootstrap;
mod checks;
mod clients;
mod command_line;
mod conformance;
mod console;
mod credentials;
mod deploys;
mod differ;
mod drift;
mod engine;
mod families;
mod faults;
mod hostile;
mod kinds;
mod logins;
mod maintain;
mod messages;
mod nodes;
mod openssh;
mod recover;
mod refusals;
mod rules;
mod safety;
mod simulator;
mod ssh;
mod stacks;
mod versions;
mod workload_faults;
mod workloads;
