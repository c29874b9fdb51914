//! Hosts of inventories, states, an ssh_config.
#![no_main]

use swarm_file::{ImportFrom, import, imported};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    for from in [ImportFrom::Ansible, ImportFrom::Terraform, ImportFrom::SshConfig, ImportFrom::DockerMachine] {
        if let Ok(hosts) = import(from, &text) {
            assert!(!hosts.is_empty());
            assert!(swarm_file::tree(&imported("x", &hosts, 1, Some("eth0"))).is_ok(), "what is written is no YAML");
        }
    }
});
