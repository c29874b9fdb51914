//! The unlock key in a file of this machine.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use swarm_core::Secret;
use swarm_core::driver::KeyKeeper;

/// Keeps the unlock key in a file that only its owner can read (mode 0600). A key that it replaces stays beside it under the same
/// name with `.previous`: a manager that was down while the key changed needs the old one.
#[derive(Debug, Clone)]
pub struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    /// The file at a path; `~` is the home directory.
    pub fn new(path: &Path) -> Self {
        let path = match (path.strip_prefix("~"), std::env::var_os("HOME")) {
            (Ok(rest), Some(home)) => Path::new(&home).join(rest),
            _ => path.to_owned(),
        };
        Self { path }
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(ending);
        PathBuf::from(name)
    }

    fn write(&self, key: &Secret) -> std::io::Result<()> {
        let dir = self.path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !dir.exists() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let fresh = self.beside(&format!(".new.{}", std::process::id()));
        let put = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
            file.write_all(format!("{}\n", key.expose()).as_bytes())?;
            file.sync_all()?;
            if self.path.is_file() {
                std::fs::copy(&self.path, self.beside(".previous"))?;
            }
            std::fs::rename(&fresh, &self.path)?;
            File::open(dir)?.sync_all()
        };
        put().inspect_err(|_| {
            // No key is left where nobody looks for it.
            let _ = std::fs::remove_file(&fresh);
        })
    }
}

impl KeyKeeper for KeyFile {
    fn fingerprint(&self) -> Option<String> {
        let text = std::fs::read_to_string(&self.path).ok()?;
        Some(Secret::new(text.trim()).fingerprint())
    }

    fn ready(&self) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{} cannot be written: {error}", self.path.display());
        if self.path.is_dir() {
            return Err(format!("{} is a folder; name a file in it", self.path.display()));
        }
        let dir = self.path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // The nearest folder that is there must take a file: the ones below it are made in it. Nothing is written to find out.
        let there = dir.ancestors().find(|d| d.exists() || d.as_os_str().is_empty()).unwrap_or(Path::new("/"));
        let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
        if !there.is_dir() {
            return Err(format!("{} cannot be written: {} is no folder", self.path.display(), there.display()));
        }
        rustix::fs::access(there, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).map_err(|e| failed(e.into()))
    }

    fn store(&self, key: &Secret) -> Result<(), String> {
        self.write(key).map_err(|e| format!("{} was not written: {e}", self.path.display()))
    }
}
