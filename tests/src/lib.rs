//! What the stories share: labs that clean up after themselves, a recording proxy before an engine's socket, and the command line.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test kit: a broken precondition ends the test"
)]

pub mod beds;
pub mod circles;
pub mod cli;
pub mod cloud;
pub mod composes;
pub mod differ;
pub mod engines;
pub mod lab;
pub mod messages;
pub mod openssh;
pub mod proxy;
pub mod schemata;
pub mod sim;
