//! known_hosts as someone else wrote it.
#![no_main]

use swarm_ssh::{HostKeyVerdict, KnownHosts, Trust};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut known = KnownHosts::default();
    known.add(data, "known_hosts");
    let mut trust = Trust::default();
    (trust.name, trust.port, trust.known) = ("host.example".into(), 2222, known);
    // A key that no one could have recorded is never accepted.
    let mut key = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    key.extend([0xa5; 32]);
    let unrecorded = trust.judge_key(&key);
    let recorded = data.windows(43).any(|w| w == b"paWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaU");
    assert!(recorded || unrecorded != HostKeyVerdict::Ok, "accepted");
});
