//! Random sequences on real engines and in the simulator, side by side. `make explore-real N=…` plays more.

use swarm_tests::differ::{Deed, Part, difference, in_memory, on_engines, sequence};

/// How many sequences a test run plays.
const SEQUENCES: u64 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engines_and_the_simulator_go_the_same_way() {
    for seed in 0..SEQUENCES {
        let deeds = sequence(seed);
        // A runtime of its own, whose clock jumps.
        let simulated = std::thread::spawn({
            let deeds = deeds.clone();
            move || in_memory(&deeds)
        });
        let simulated = simulated.join().unwrap();
        let Some(first) = difference(&deeds, &on_engines(&deeds).await, &simulated) else { continue };
        // A busy machine can be late by more than the quiet that is waited for; what differs twice differs.
        let again = difference(&deeds, &on_engines(&deeds).await, &simulated);
        assert!(again.is_none(), "seed {seed}, twice: {first}\nand: {}", again.unwrap_or_default());
    }
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
