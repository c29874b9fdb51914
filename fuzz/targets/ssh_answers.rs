//! What `ssh -G` prints.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some(settings) = swarm_ssh::foreign::ssh_answer(data) {
        assert!(settings <= data.split(|b| *b == b'\n').count(), "more settings than lines");
    }
});
