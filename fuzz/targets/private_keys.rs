//! A private key in the PEM of old.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    // Whatever opens has the form of an encrypted key.
    assert!(!swarm_ssh::foreign::private_key(&text, "hunter2") || text.contains("DEK-Info"));
});
