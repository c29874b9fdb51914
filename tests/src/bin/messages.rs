//! Writes `docs/messages.md`.
#![allow(clippy::unwrap_used, reason = "a testing program")]

fn main() {
    std::fs::write(swarm_tests::messages::place(), swarm_tests::messages::document()).unwrap();
}
