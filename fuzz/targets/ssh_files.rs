//! known_hosts and ssh_config as somebody else wrote them.
#![no_main]

use swarm_ssh::{HostKeyVerdict, KnownHosts, read_foreign_text};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut known = KnownHosts::default();
    known.add(data, "known_hosts");
    let _ = known.algorithms("host.example", 22);
    let nobody = known.check("host.example", 2222, b"no key at all");
    // A key that nobody could have recorded is never accepted.
    assert!(!matches!(nobody, HostKeyVerdict::Ok), "accepted");
    let _ = read_foreign_text(&String::from_utf8_lossy(data), "host.example");
});
