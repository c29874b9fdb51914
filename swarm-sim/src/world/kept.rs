//! What a simulated swarm keeps of objects: each as raw JSON, as a real one keeps it, and the tasks of its services.

use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use swarm_core::engine::Kind;
use swarm_core::id::NodeId;

/// What becomes of tasks with an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    /// No node has it, and no registry.
    Missing,
    /// They end with an error soon after they started.
    Crashes,
    /// They end well soon after they started.
    Ends,
    /// They run, as those of which nothing is said.
    Runs,
}

/// An object.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) version: u64,
    pub(super) created: Duration,
    pub(crate) spec: Value,
    pub(super) previous: Option<Value>,
    pub(super) update: Option<(&'static str, String, Duration)>,
}

/// A task.
#[derive(Debug, Clone)]
pub(crate) struct SimTask {
    pub(super) id: String,
    pub(crate) service: String,
    pub(super) slot: u64,
    pub(crate) node: Option<NodeId>,
    pub(super) desired: &'static str,
    pub(crate) state: &'static str,
    pub(super) error: String,
    pub(super) created: Duration,
    pub(super) since: Duration,
    /// The template that it was made from.
    pub(super) template: Value,
}

impl SimTask {
    pub(super) fn is_wanted(&self) -> bool {
        self.desired == "running"
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state, "failed" | "rejected" | "complete" | "shutdown" | "orphaned")
    }

    pub(super) fn end(&mut self, state: &'static str, error: String, now: Duration) {
        (self.state, self.error, self.since, self.desired) = (state, error, now, "shutdown");
    }
}

/// Everything of one swarm.
#[derive(Debug, Clone, Default)]
pub(crate) struct Objects {
    pub(crate) stored: BTreeMap<String, Stored>,
    pub(crate) tasks: Vec<SimTask>,
    /// Networks that were removed, by their ids.
    pub(super) ghosts: Vec<(String, Stored)>,
}
