//! What a host answers: the probe's output, a certificate file, and texts that quote secrets.
#![no_main]

use swarm_core::observe::{identity_from_pem, parse_probe};
use swarm_core::secret::redact;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let _ = parse_probe(&text);
    let _ = identity_from_pem(data);
    let clean = redact(&text);
    assert_eq!(redact(&clean), clean, "what is clean stays as it is");
    assert!(!clean.contains("SWMTKN-1-") && !clean.contains("SWMKEY-1-"));
});
