//! Puts steps into an order in which each follows what it needs. The same steps always give the same order.

use super::Step;
use crate::id::StepId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Sorts by need, then by rank, then by id. A step in a circle is left out: the linter names it.
pub(super) fn sort(steps: Vec<Step>) -> Vec<Step> {
    let ids: BTreeSet<StepId> = steps.iter().map(|s| s.id.clone()).collect();
    let mut waiting: BTreeMap<(u8, StepId), Step> = steps.into_iter().map(|s| ((s.action.kind().rank(), s.id.clone()), s)).collect();
    let mut missing: BTreeMap<StepId, usize> = BTreeMap::new();
    let mut waiters: BTreeMap<StepId, Vec<(u8, StepId)>> = BTreeMap::new();
    let mut ready: BTreeSet<(u8, StepId)> = BTreeSet::new();
    for (key, step) in &waiting {
        let needs: BTreeSet<&StepId> = step.needs.iter().filter(|n| ids.contains(*n)).collect();
        for need in &needs {
            waiters.entry((*need).clone()).or_default().push(key.clone());
        }
        missing.insert(step.id.clone(), needs.len());
        if needs.is_empty() {
            ready.insert(key.clone());
        }
    }
    let mut sorted = Vec::with_capacity(waiting.len());
    while let Some(key) = ready.pop_first() {
        let Some(step) = waiting.remove(&key) else { continue };
        let mut freed: VecDeque<(u8, StepId)> = waiters.remove(&step.id).unwrap_or_default().into();
        sorted.push(step);
        while let Some(waiter) = freed.pop_front() {
            if let Some(left) = missing.get_mut(&waiter.1) {
                *left -= 1;
                if *left == 0 {
                    ready.insert(waiter);
                }
            }
        }
    }
    sorted
}
