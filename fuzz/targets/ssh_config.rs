//! ssh_config as someone else wrote it, read by our own reader.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let found = swarm_ssh::foreign::ssh_config(data, "host.example");
    assert!(found <= data.len(), "more settings than bytes");
});
