//! A list of revoked keys, and a KRL.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let read = swarm_ssh::foreign::revoked_keys(data);
    // What begins like a KRL and is cut off is never an empty list.
    assert!(!read || !data.starts_with(b"SSHKRL\n\0") || data.len() >= 44, "a KRL without its header");
});
