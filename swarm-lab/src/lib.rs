//! Real Docker hosts on one Linux machine. Each has its own network, mount, UTS, IPC and PID namespace, address, host name, sshd
//! with its own host key, and dockerd with its own data.
//!
//! Nothing is kept in memory: a lab is found again by its name, so a run that crashed is cleaned up by [`Lab::find`] and
//! [`Lab::down`]. Needs root on Linux; [`missing`] tells what else.

mod delay;
mod error;
mod fault;
mod files;
mod host;
mod image;
mod lab;
mod machines;
mod packages;
mod process;
mod sandbox;

pub use error::LabError;
pub use host::{LabHost, LabRole};
pub use image::image;
pub use lab::{Lab, LabOptions, missing};
pub use machines::LabMachines;
pub use sandbox::Sandbox;
