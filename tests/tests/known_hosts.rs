//! known_hosts files mean here what they mean to OpenSSH: both judge the same files.

use std::path::Path;
use swarm_lab::LabHost;
use swarm_ssh::{HostKeyVerdict, KnownHosts};
use swarm_tests::lab::{TestLab, sh};

/// What OpenSSH itself makes of a known_hosts file.
fn openssh_verdict(file: &Path, host: &LabHost, key: &Path) -> &'static str {
    let output = std::process::Command::new("ssh")
        .args([
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "GlobalKnownHostsFile=/dev/null",
            "-o",
            "IdentitiesOnly=yes",
            "-F",
            "/dev/null",
        ])
        .args([
            "-o",
            &format!("UserKnownHostsFile={}", file.display()),
            "-i",
            &key.display().to_string(),
            &format!("root@{}", host.address),
            "true",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    match () {
        () if output.status.success() => "ok",
        () if text.contains("revoked") || text.contains("REVOKED") => "revoked",
        () if text.contains("HAS CHANGED") || text.contains("Host key for") && text.contains("has changed") => "changed",
        () if text.contains("No ") && text.contains("host key is known") => "unknown",
        () => panic!("{text}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_hosts_files_mean_what_openssh_takes_them_for() {
    let lab = TestLab::up(1, 0);
    let host = lab.host("m1");
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str, kind: &str| -> String {
        let path = dir.path().join(name);
        sh(&["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", path.to_str().unwrap()]);
        std::fs::read_to_string(path.with_extension("pub")).unwrap().trim().to_owned()
    };
    let ip = host.address.to_string();
    let right: String = std::fs::read_to_string(host.ssh_dir().join("ssh_host_ed25519_key.pub"))
        .unwrap()
        .split_whitespace()
        .take(2)
        .collect::<Vec<_>>()
        .join(" ");
    let (wrong, ecdsa) = (make("wrong", "ed25519"), make("ecdsa", "ecdsa"));
    let prefix = ip.rsplit_once('.').unwrap().0;
    let hashed = {
        let path = dir.path().join("hashed");
        std::fs::write(&path, format!("{ip} {right}\n")).unwrap();
        sh(&["ssh-keygen", "-H", "-f", path.to_str().unwrap()]);
        std::fs::read_to_string(path).unwrap()
    };
    let tab = format!("{ip}\t{}", right.replace(' ', "\t"));
    let cases = [
        format!("{ip} {right}"),
        String::new(),
        format!("{ip} {wrong}"),
        format!("{ip} {ecdsa}"),
        format!("{ip} {wrong}\n{ip} {right}"),
        format!("{ip} {ecdsa}\n{ip} {right}"),
        format!("{ip} {right}\n@revoked {ip} {right}"),
        format!("@revoked {ip} {wrong}\n{ip} {right}"),
        format!("@revoked * {right}"),
        format!("{prefix}.* {right}"),
        format!("{prefix}.?? {right}"),
        format!("*,!{ip} {right}"),
        format!("other,{ip} {right} a comment"),
        tab,
        format!("   {ip} {right}"),
        hashed.clone(),
        hashed.replace(&right, &wrong),
        format!("[{ip}]:22 {right}"),
        format!("[{ip}]:2222 {right}"),
        format!("@cert-authority {ip} {right}"),
        format!("garbage\n{ip}\n{ip} ssh-ed25519 !!!\n{ip} {right}"),
        format!("# {ip} {right}"),
        format!("@unknown {ip} {right}"),
        format!("{ip} {right}\r"),
    ];
    for case in cases {
        let path = dir.path().join("known");
        std::fs::write(&path, format!("{case}\n")).unwrap();
        let mut known = KnownHosts::default();
        known.add(case.as_bytes(), "f");
        let key = base64_decode(right.split(' ').nth(1).unwrap());
        let ours = match known.check(&ip, 22, &key) {
            HostKeyVerdict::Ok => "ok",
            HostKeyVerdict::Unknown => "unknown",
            HostKeyVerdict::Changed { .. } => "changed",
            HostKeyVerdict::Revoked { .. } => "revoked",
        };
        assert_eq!(ours, openssh_verdict(&path, host, &lab.lab.key()), "{case}");
    }
}

fn base64_decode(text: &str) -> Vec<u8> {
    let output = std::process::Command::new("sh").args(["-c", "printf %s \"$0\" | base64 -d", text]).output().unwrap();
    assert!(output.status.success());
    output.stdout
}
