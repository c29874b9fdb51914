//! What an engine answers: JSON of any shape, and error texts.
#![no_main]

use swarm_core::engine::{ErrorClass, classify_answer};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = swarm_docker::read_foreign_answer(data);
    let text = String::from_utf8_lossy(data);
    for status in [400, 404, 409, 500, 503] {
        let (asked, asked_why) = classify_answer(status, &text, false);
        let (changed, changed_why) = classify_answer(status, &text, true);
        assert_eq!(asked_why, changed_why);
        // The same words never make a change less doubtful than a question.
        assert!(asked != ErrorClass::Unknown || changed == ErrorClass::Unknown);
    }
});
