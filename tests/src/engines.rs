//! Engines of other versions than this machine's.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Folders with newer engines, the oldest first, for [`swarm_lab::LabHost::use_engine`]. `scripts/engines` fetches them; where it cannot,
/// that is written past the test harness, which would keep it from being seen.
pub fn newer() -> &'static [PathBuf] {
    static FOUND: OnceLock<Vec<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let _ = Command::new(root.join("scripts/engines")).status();
        let engines = root.canonicalize().unwrap().join("target/engines");
        let found: Vec<PathBuf> = ["trixie", "sid"].iter().map(|suite| engines.join(suite)).filter(|e| e.is_dir()).collect();
        if found.is_empty() {
            let _ = writeln!(std::io::stderr(), "SKIPPED: no engine newer than this machine's could be fetched (see scripts/engines)");
        }
        found
    })
}
