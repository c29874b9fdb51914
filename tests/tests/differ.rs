//! Random sequences on real engines and in the simulator, side by side. `make explore-real N=…` plays more.

use swarm_tests::differ::{Deed, Part, difference, in_memory, sequence, side_by_side};

/// How many sequences are played with every change, how many in all, and in how many labs at once.
const WITH_EVERY_CHANGE: u64 = 10;
const SEQUENCES: u64 = 40;
const LABS: usize = 4;

fn go_the_same_way(seeds: std::ops::Range<u64>) {
    let differing = side_by_side(seeds, LABS, |_, _, _| {});
    let texts: Vec<String> = differing.iter().map(|(seed, text)| format!("seed {seed}, three times: {text}")).collect();
    assert!(texts.is_empty(), "{}", texts.join("\n"));
}

#[test]
fn engines_and_the_simulator_go_the_same_way() {
    go_the_same_way(0..WITH_EVERY_CHANGE);
}

#[test]
#[ignore = "full"]
fn engines_and_the_simulator_go_the_same_way_in_more_sequences() {
    go_the_same_way(WITH_EVERY_CHANGE..SEQUENCES);
}

/// The comparison can fail: what differs is shown, with both columns.
#[test]
fn two_worlds_that_differ_are_told_apart() {
    let joined = [Deed::Init, Deed::Join(swarm_core::spec::Role::Worker)];
    let left = [Deed::Init, Deed::Leave(Part::Leader, swarm_core::engine::Force::Yes)];
    assert_eq!(difference(&joined, &in_memory(&joined), &in_memory(&joined)), None);
    let text = difference(&joined, &in_memory(&joined), &in_memory(&left)).unwrap();
    assert!(text.starts_with("after step 2") && text.contains("real:") && text.contains("worker ready"), "{text}");
    assert_ne!(sequence(1), sequence(2));
}
