//! One operator's work on a stack.

use std::collections::BTreeMap;
use swarm_core::engine::Object;

/// The label that tells which stack an object belongs to.
pub(super) const NAMESPACE: &str = "com.docker.stack.namespace";

/// One operator's work on a stack, and what it saw.
#[derive(Debug)]
pub(crate) struct StackWatch {
    pub(super) stack: String,
    /// The newest version of each object that it read.
    pub(super) read: BTreeMap<String, u64>,
}

impl StackWatch {
    pub(crate) fn new(stack: &str) -> Self {
        Self { stack: stack.to_owned(), read: BTreeMap::new() }
    }

    pub(crate) fn saw(&mut self, objects: &[Object]) {
        for object in objects.iter().filter(|o| o.version() > 0) {
            let version = self.read.entry(object.id().to_owned()).or_default();
            *version = (*version).max(object.version());
        }
    }
}
