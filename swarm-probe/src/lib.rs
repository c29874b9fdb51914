//! The probe: a static program of a few hundred kilobytes that is put on a host, says which packets arrive there, and removes itself.
//!
//! It needs no package, no library and no shell on the host. What it is asked and what it says stands at the top of
//! `probe/main.rs`.

use std::io::Read as _;

/// A program for one processor.
#[derive(Clone, Copy)]
pub struct Probe {
    /// It, compressed by gzip.
    pub packed: &'static [u8],
    /// How many bytes it has when it is unpacked, in decimal digits.
    pub size: &'static str,
}

impl Probe {
    /// The program itself.
    ///
    /// # Errors
    /// What was built in is no gzip stream.
    pub fn unpacked(&self) -> std::io::Result<Vec<u8>> {
        let mut whole = Vec::new();
        flate2::read::GzDecoder::new(self.packed).read_to_end(&mut whole)?;
        Ok(whole)
    }
}

/// The probe for a processor as `uname -m` names it; `None` where this build has none: its target was not installed.
///
/// ```
/// assert!(swarm_probe::for_processor("pdp11").is_none());
/// ```
pub fn for_processor(name: &str) -> Option<Probe> {
    macro_rules! built {
        ($name:literal) => {
            Probe {
                packed: include_bytes!(concat!(env!("OUT_DIR"), "/probe-", $name, ".gz")),
                size: include_str!(concat!(env!("OUT_DIR"), "/size-", $name)),
            }
        };
    }
    let probe = match name {
        "x86_64" | "amd64" => built!("x86_64"),
        "aarch64" | "arm64" => built!("aarch64"),
        _ => return None,
    };
    (probe.size != "0").then_some(probe)
}

#[cfg(test)]
mod tests {
    use super::for_processor;
    use std::collections::BTreeSet;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    /// The probe of this machine in a folder of its own.
    fn placed(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("swarm-probe-test-{name}-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let probe = for_processor(std::env::consts::ARCH).expect("a build for this machine has a probe for it");
        let whole = probe.unpacked().unwrap();
        assert_eq!(whole.len().to_string(), probe.size);
        // Written by another process: a file that this one has open for writing cannot be started while it forks.
        let mut put = Command::new("sh").args(["-c", "cat >\"$0\""]).arg(dir.join("probe")).stdin(Stdio::piped()).spawn().unwrap();
        put.stdin.take().unwrap().write_all(&whole).unwrap();
        assert!(put.wait().unwrap().success());
        std::fs::set_permissions(dir.join("probe"), std::fs::Permissions::from_mode(0o700)).unwrap();
        dir
    }

    fn probe(dir: &Path, arguments: &[&str], input: &str) -> String {
        let mut child = Command::new(dir.join("probe")).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }

    #[test]
    fn what_is_sent_to_this_machine_arrives() {
        let dir = placed("arrives");
        let at = dir.to_str().unwrap();
        let began = probe(&dir, &["listen", at, "abc", "60", "tcp/29471", "udp/29472", "udp/29473"], "");
        assert!(["bound tcp/29471", "bound udp/29472", "ready"].iter().all(|line| began.lines().any(|l| l == *line)), "{began}");
        let targets = "0 tcp/29471 127.0.0.1\n0 udp/29472 127.0.0.1\n0 mtu/29473 127.0.0.1\n1 tcp/29474 127.0.0.1\n0 tcp/29471 nonsense\n";
        let sent = probe(&dir, &["send", "abc", "7", "all"], targets);
        let lines: BTreeSet<&str> = sent.lines().collect();
        assert!(lines.contains("0 tcp/29471 open probe") && lines.contains("1 tcp/29474 refused") && lines.contains("end"), "{sent}");
        // Another run's packets are not this one's.
        probe(&dir, &["send", "other", "8", "first", targets], "");
        let arrived = probe(&dir, &["collect", at, "abc"], "");
        let lines: BTreeSet<&str> = arrived.lines().collect();
        assert!(["7 tcp/29471", "7 udp/29472", "7 mtu/29473 1500", "end"].iter().all(|line| lines.contains(line)), "{arrived}");
        assert!(!lines.iter().any(|line| line.starts_with("8 ")), "{arrived}");
        assert!(!dir.exists(), "nothing stays");
    }

    #[test]
    fn a_listener_that_no_one_ends_ends_by_itself() {
        let dir = placed("alone");
        let at = dir.to_str().unwrap();
        let taken = std::net::TcpListener::bind("[::]:0").unwrap();
        let busy = format!("tcp/{}", taken.local_addr().unwrap().port());
        let began = probe(&dir, &["listen", at, "abc", "1", &busy], "");
        assert!(began.lines().any(|line| line == format!("busy {busy}")), "{began}");
        let until = Instant::now() + Duration::from_secs(30);
        while dir.exists() {
            assert!(Instant::now() < until, "its folder is still there");
            std::thread::yield_now();
        }
    }
}
