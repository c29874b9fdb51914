//! Puts steps into an order in which each follows what it needs. The same steps always give the same order.

use super::Step;
use crate::id::StepId;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Sorts by need, then by rank, then by id. A step in a circle is left out: the linter names it.
pub(super) fn sort(steps: Vec<Step>) -> Vec<Step> {
    // From here on a step is its place by rank and id. Of two that are alike in both, the last counts.
    let mut waiting: Vec<(u8, Step)> = steps.into_iter().rev().map(|s| (s.action.kind().rank(), s)).collect();
    waiting.sort_by(|(rank, a), (other, b)| (rank, &a.id).cmp(&(other, &b.id)));
    waiting.dedup_by(|(rank, a), (other, b)| (*rank, &a.id) == (*other, &b.id));
    let places: HashMap<&StepId, usize> = waiting.iter().enumerate().map(|(place, (_, s))| (&s.id, place)).collect();
    let mut missing = vec![0_usize; waiting.len()];
    let mut waiters: Vec<Vec<usize>> = vec![Vec::new(); waiting.len()];
    for ((place, (_, step)), missing) in waiting.iter().enumerate().zip(&mut missing) {
        let mut needs: Vec<usize> = step.needs.iter().filter_map(|need| places.get(need).copied()).collect();
        needs.sort_unstable();
        needs.dedup();
        *missing = needs.len();
        for need in needs {
            if let Some(waiters) = waiters.get_mut(need) {
                waiters.push(place);
            }
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> = missing.iter().enumerate().filter(|(_, m)| **m == 0).map(|(p, _)| Reverse(p)).collect();
    let mut waiting: Vec<Option<Step>> = waiting.into_iter().map(|(_, step)| Some(step)).collect();
    let mut sorted = Vec::with_capacity(waiting.len());
    while let Some(Reverse(place)) = ready.pop() {
        sorted.extend(waiting.get_mut(place).and_then(Option::take));
        for waiter in waiters.get_mut(place).map(std::mem::take).unwrap_or_default() {
            if let Some(left) = missing.get_mut(waiter) {
                *left -= 1;
                if *left == 0 {
                    ready.push(Reverse(waiter));
                }
            }
        }
    }
    sorted
}
