//! Workloads of a swarm: networks, secrets, configs, services, and the stacks they make up.
//!
//! A [`Stack`] is what is wanted, in the engine's own terms. [`Deploy`] and [`Remove`] are intents of swarm-core: they plan from what
//! managers list, their steps are carried out by the same runner as joins and promotions, and a step has ended when the tasks say so.
//!
//! ```text
//!   Compose file ──swarm-compose──▶ Stack ──Deploy──▶ diff ──▶ Plan ──▶ steps ──▶ tasks run ──▶ verify
//! ```

mod addresses;
mod capabilities;
mod deploy;
mod diff;
mod edit;
mod flags;
mod kernel;
mod maintain;
mod moved;
mod names;
mod nodes;
mod normal;
mod place;
mod placement;
mod ports;
mod quiet;
mod rebalance;
mod remove;
mod show;
mod single;
mod spec;
mod steps;
mod stopped;
mod stores;
mod strangers;
mod tasks;
mod there;
mod together;
pub mod typed;
mod units;
mod unplaced;
mod verify;

pub use addresses::{Addresses, addresses};
pub use capabilities::capabilities;
pub use deploy::{Comparison, Deploy, DeployOptions, Resolve};
pub use diff::{Change, differences, without_secrets};
pub use edit::{Edit, EditServices, ImageOptions};
pub use flags::{FLAGS, Flag, Given, On, apply_flags, new_service};
pub use kernel::{KernelNeed, kernel_needs};
pub use maintain::{Maintain, WAS_LABEL};
pub use moved::{MOVED_LABEL, Moved};
pub use names::{image_with_tag, without_digest};
pub use nodes::Emptied;
pub use normal::normal;
pub use ports::{Port, short_ports};
pub use quiet::QuietDrain;
pub use rebalance::Rebalance;
pub use remove::Remove;
pub use single::{MakeObject, MakeService, RemoveObjects};
pub use spec::{ConfigWanted, IMAGE_LABEL, NAMESPACE_LABEL, NetworkWanted, SecretWanted, ServiceWanted, Stack, StartAfter};
pub use steps::Workload;
pub use stores::{services_of_volume, unused_images, unused_volumes};
pub use strangers::EditStrangers;
pub use tasks::{Progress, Standing, TaskTrouble, progress, standing};
pub use together::Together;
pub use units::{bytes, cpus, duration};
