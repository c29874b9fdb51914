//! Hosts and engines in memory: a Docker Swarm without machines, with virtual time and faults on demand.
//!
//! A [`World`] has hosts; each has an engine that follows the documented rules of moby and swarmkit, the source of each rule named
//! where it is. A [`SimFleet`] is what [`swarm_core::Apply`] works on, as it would on real connections. The same seed gives the same
//! world, call by call, and [`World::story`] tells what happened.
//!
//! ```
//! # fn spec() -> swarm_core::ClusterSpec {
//! #     swarm_file::parse("name: c\nhosts:\n  m1: { address: 10.0.0.1, role: manager }\n  w1: { address: 10.0.0.2, role: worker }\n", &|_| None).unwrap().spec
//! # }
//! use swarm_core::Apply;
//! use swarm_core::report::Ending;
//! use swarm_sim::{Incident, World};
//!
//! let spec = spec();
//! let ending = swarm_sim::run(async {
//!     let world = World::of(&spec, 1);
//!     let fleet = world.fleet("me");
//!     let apply = Apply::new(&spec, &fleet);
//!     let (plan, observed) = apply.plan().await.unwrap();
//!     apply.run(&plan, &observed).await.ending
//! });
//! assert_eq!(ending, Ending::Converged);
//! ```

mod certificate;
mod cloud;
pub mod conformance;
mod describe;
mod engine;
mod fault;
mod fleet;
mod invariant;
mod objects;
mod trace;
mod world;

pub use cloud::{Account, Latency, Shown};
pub use describe::Description;
pub use fault::{CallFault, CallKind, CrashPoint, FaultRule};
pub use fleet::SimFleet;
pub use invariant::{Purpose, Violation};
pub use world::{HostOptions, ImageKind, Incident, Program, World};

/// Runs a future on one thread, with a clock that stands still while anything can be done and jumps to the next thing when nothing
/// can: minutes of a simulated cluster take milliseconds.
///
/// # Panics
/// Where tokio cannot make a runtime, which does not happen for one without I/O.
#[allow(clippy::expect_used, reason = "a runtime of one thread and a clock takes nothing from the system that could be missing")]
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O").block_on(future)
}
