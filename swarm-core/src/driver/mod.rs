//! The only part that waits: it performs what the machine asks for, with bounded concurrency and one deadline.
//!
//! Everything runs inside the future of the call. Dropping it leaves nothing running here; a change that an engine was asked for
//! goes on in that engine, and the next run sees the outcome.

mod access;
mod apply;
mod asks;
mod carry;
mod gather;
mod inspect;
mod judge;
mod keys;
mod lock;
mod objects;
mod perform;
mod progress;
mod settle;
mod stop;
mod tokens;

pub use apply::{Apply, ApplyError};
pub use inspect::inspect;
pub use keys::{KeyKeeper, NoKeyKeeper};
pub use lock::{Guard, Operator, Taken};
pub use progress::{NoProgress, Progress, ProgressEvent};
pub use settle::settle;
pub use stop::Stop;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_perform;
#[cfg(test)]
mod tests_rounds;
