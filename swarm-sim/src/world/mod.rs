//! The world: hosts, the links between them, and what can happen to them.

pub(crate) mod api;
mod copies;
pub(crate) mod host;
mod incident;
pub(crate) mod join;
mod kept;
mod life;
pub(crate) mod objects;
mod op;
mod options;
mod paths;
pub(crate) mod probe;
mod ready;
mod reconcile;
pub(crate) mod state;
pub(crate) mod swarm;
mod verbs;
pub(crate) mod words;

pub use kept::ImageKind;
pub use options::HostOptions;
pub use state::Program;
pub use verbs::Incident;

use crate::fault::CrashPoint;
use crate::invariant::StackWatch;
use state::State;
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use swarm_core::id::HostName;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A simulated world. Clones are the same world.
///
/// Time is tokio's: run it inside [`crate::run`], whose clock stands still while anything can be done and jumps when nothing can.
/// One seed decides everything that is left to chance.
#[derive(Clone)]
pub struct World {
    shared: Arc<Shared>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

/// What fleets and verbs share.
pub(crate) struct Shared {
    epoch: Instant,
    state: Mutex<State>,
    crashed: Notify,
}

impl Shared {
    /// Works on the state as it is now.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        let now = self.epoch.elapsed();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.advance(now);
        f(&mut state)
    }

    /// Where a tool is to be cut off, it never comes back from here.
    pub(crate) async fn crash(&self, number: u64, point: CrashPoint) {
        if self.with(|state| state.faults.crashes(number, point)) {
            self.crashed.notify_waiters();
            pending::<()>().await;
        }
    }
}

impl World {
    /// A world without hosts.
    pub fn new(seed: u64) -> Self {
        Self { shared: Arc::new(Shared { epoch: Instant::now(), state: Mutex::new(State::new(seed)), crashed: Notify::new() }) }
    }

    /// A world that has the hosts of a cluster file, all without a swarm.
    pub fn of(spec: &swarm_core::ClusterSpec, seed: u64) -> Self {
        let world = Self::new(seed);
        for host in spec.hosts() {
            world.add_host(HostOptions::of(host));
        }
        world
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        self.shared.with(f)
    }

    /// How much simulated time has passed.
    pub fn now(&self) -> Duration {
        self.shared.epoch.elapsed()
    }

    /// Ends when the tool is cut off by [`World::crash_at`].
    pub async fn crashed(&self) {
        loop {
            let notified = self.shared.crashed.notified();
            if self.with(|state| state.faults.crashed) {
                return;
            }
            notified.await;
        }
    }

    /// Cuts the tool off at its call of this number, counted from 1 from now on. Its future must then be dropped.
    pub fn crash_at(&self, call: u64, point: CrashPoint) {
        self.with(|state| {
            state.faults.crash = Some((state.faults.calls + call, point));
            state.faults.crashed = false;
            state.faults.missed = false;
        });
    }

    /// Whether the tool itself dropped the call at which it was to be cut off, so that it never came to that point.
    pub fn crash_missed(&self) -> bool {
        self.with(|state| state.faults.missed)
    }

    /// The tool starts again.
    pub fn recover(&self) {
        self.with(|state| {
            state.faults.crash = None;
            state.faults.crashed = false;
        });
    }

    /// How many calls were made so far, and how many of them change something.
    pub fn calls(&self) -> (u64, u64) {
        self.with(|state| (state.faults.calls, state.faults.mutating))
    }

    /// Writes down what happens from now on; [`World::story`] tells it.
    pub fn record(&self) {
        self.with(|state| state.trace.on = true);
    }

    /// Writes down what someone says, where things are written down.
    pub fn remark(&self, who: &str, what: String) {
        self.with(|state| state.trace.add(state.now, who, what));
    }

    /// What happened, line by line.
    pub fn story(&self) -> String {
        self.with(|state| state.trace.tell())
    }

    /// The packet filter of a host drops what comes in for this, as `udp/4789`, whoever sends it.
    pub fn drops(&self, host: &str, item: &str) {
        self.with(|state| state.paths.drops.insert((HostName::new(host), item.to_owned())));
    }

    /// No packet larger than this reaches a host, bytes.
    pub fn narrows(&self, host: &str, most: usize) {
        self.with(|state| state.paths.narrow.insert(HostName::new(host), most));
    }

    /// What becomes of tasks with an image. Tasks with any other image run.
    pub fn image(&self, name: &str, kind: ImageKind) {
        self.with(|state| state.images.insert(name.to_owned(), kind));
    }

    /// From now on what an operator does to objects is held against the rules for one stack.
    pub fn watch_stack(&self, operator: &str, stack: &str) {
        self.with(|state| state.watches.stacks.insert(operator.to_owned(), StackWatch::new(stack)));
    }

    /// The hosts, by name.
    pub fn hosts(&self) -> Vec<HostName> {
        self.with(|state| state.hosts.keys().cloned().collect())
    }
}
