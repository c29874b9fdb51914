//! A saved plan: what is a plan can be written and read again as the same plan, and be shown.
#![no_main]

use swarm_core::plan::{Plan, render_text};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(plan) = serde_json::from_slice::<Plan>(data) else { return };
    let text = serde_json::to_vec(&plan).expect("a plan is JSON");
    assert_eq!(serde_json::from_slice::<Plan>(&text).expect("what was written can be read"), plan);
    assert!(!render_text(&plan).is_empty());
    // Carried out step by step, it ends, whatever is in it.
    let start = swarm_core::machine::Start { concurrency: 4, ..Default::default() };
    let mut run = swarm_core::machine::Run::new(&plan, start, &|_| Err("there is no other family".into()));
    let mut now = std::time::Duration::ZERO;
    for _ in 0..200 {
        while run.poll_effect(now).is_some() {}
        match run.poll_timeout() {
            Some(at) if !run.is_over() => now = at.max(now),
            _ => break,
        }
        run.handle_timeout(now);
    }
    run.stop();
    run.abandon();
    assert!(run.is_over());
});
