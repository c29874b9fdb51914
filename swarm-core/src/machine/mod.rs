//! Carrying a plan out, without doing anything: what happened goes in, what to do now comes out, and time is an argument.
//!
//! ```text
//! loop {
//!     while let Some(effect) = run.poll_effect(now) { perform it, later: run.handle_answer(now, effect.id, answer) }
//!     if run.is_over() { break }
//!     wait for an answer or for run.poll_timeout(), then run.handle_timeout(now)
//! }
//! ```

mod board;
mod families;
mod hears;
mod run;
mod start;

pub use crate::step::{Answer, Ask, Call, Effect, EffectId, Event, MakeTask, Move, Outcome, Reply, Task};
pub use run::Run;
pub use start::Start;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_direct;
