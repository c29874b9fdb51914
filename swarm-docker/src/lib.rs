//! A [`swarm_core::engine::Engine`] over the Docker API, on any byte stream: a socket of this machine, one of a host that is
//! reached over SSH, or a TCP port with mutual TLS.
//!
//! Engines from 20.10 (API 1.41) on; the version is agreed on at the first call and sent with every other. No type of bollard or
//! hyper is part of this crate's interface.

mod client;
mod engine;
mod events;
mod exec;
mod facts;
mod list;
mod logs;
mod objects;
mod pieces;
mod reached;
mod stores;
mod stream;
mod tls;

pub use engine::DockerEngine;
#[doc(hidden)]
pub use facts::read_foreign_answer;
