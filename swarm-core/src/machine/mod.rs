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
mod calls;
mod clear;
mod effect;
mod families;
mod look;
mod promote;
mod run;
mod shown;
mod start;
mod state;
mod task;

pub use effect::{Answer, Call, Effect, EffectId};
pub use run::Run;
pub use start::Start;
pub use state::Outcome;
pub use task::{Ask, Event, MakeTask, Move, Reply, Task};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_direct;
