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

/// The environment variable that names a folder with the engine every lab host gets, instead of this machine's.
pub const ENGINE: &str = "SWARM_TEST_ENGINE";

/// The version of the engine that lab hosts get.
pub fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let path =
            std::env::var_os(ENGINE).filter(|e| !e.is_empty()).map_or("dockerd".into(), |dir| PathBuf::from(dir).join("usr/sbin/dockerd"));
        let said = crate::lab::sh(&[path.to_str().unwrap(), "--version"]);
        said.split_whitespace().nth(2).unwrap().trim_end_matches(',').to_owned()
    })
}
