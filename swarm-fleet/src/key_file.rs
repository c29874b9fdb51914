//! The unlock key in a file of this machine.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
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
        let old = self.read()?;
        if let Some(old) = old.filter(|old| old.trim() != key.expose()) {
            replace(dir, &self.beside(".previous"), old.trim())?;
        }
        replace(dir, &self.path, key.expose())
    }

    /// The key in the file, if there is one. What others can write, or what a link points to, is no place for a key.
    fn read(&self) -> std::io::Result<Option<String>> {
        let refuse = |why: &str| std::io::Error::other(format!("it {why}"));
        let open = OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits() as i32).open(&self.path);
        let file = match open {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) if std::fs::symlink_metadata(&self.path).is_ok_and(|m| m.is_symlink()) => {
                return Err(refuse(&format!("is a symbolic link; name the file itself ({error})")));
            }
            Err(error) => return Err(error),
        };
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(refuse("is no regular file"));
        }
        let me = rustix::process::geteuid().as_raw();
        if meta.uid() != me && meta.uid() != 0 {
            return Err(refuse("belongs to another user"));
        }
        if meta.mode() & 0o022 != 0 {
            return Err(refuse(&format!("can be written by others (mode {:o}); chmod 600", meta.mode() & 0o777)));
        }
        let mut text = String::new();
        file.take(4096).read_to_string(&mut text)?;
        Ok(Some(text))
    }
}

/// Whether a folder is on a file system that keeps files: the kernel's own (proc, sysfs, cgroup) let root believe so.
fn holds_files(dir: &Path) -> bool {
    const KERNEL: [u64; 4] = [0x9fa0, 0x6265_6572, 0x0027_e0eb, 0x6367_7270];
    rustix::fs::statfs(dir).is_ok_and(|fs| !KERNEL.contains(&(fs.f_type as u64)))
}

/// Puts a key into a file that only its owner can read: whole or not at all, also if the power goes.
fn replace(dir: &Path, path: &Path, key: &str) -> std::io::Result<()> {
    let mut fresh = path.to_owned().into_os_string();
    fresh.push(format!(".new.{}", std::process::id()));
    let fresh = PathBuf::from(fresh);
    let put = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(format!("{key}\n").as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)?;
        File::open(dir)?.sync_all()
    };
    put().inspect_err(|_| {
        // No key is left behind under another name.
        let _ = std::fs::remove_file(&fresh);
    })
}

impl KeyKeeper for KeyFile {
    fn load(&self) -> Option<Secret> {
        let text = self.read().ok().flatten()?;
        Some(Secret::new(text.trim()))
    }

    fn ready(&self) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{} cannot be written: {error}", self.path.display());
        if self.path.is_dir() {
            return Err(format!("{} is a folder; name a file in it", self.path.display()));
        }
        self.read().map_err(failed)?;
        let dir = self.path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // The nearest folder that is there must take a file: the ones below it are made in it. A file without a name is asked for, which
        // nothing but its own descriptor ever shows.
        let there = dir.ancestors().find(|d| d.exists() || d.as_os_str().is_empty()).unwrap_or(Path::new("/"));
        let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
        if !there.is_dir() {
            return Err(format!("{} cannot be written: {} is no folder", self.path.display(), there.display()));
        }
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::open(there, flags, Mode::from_raw_mode(0o600)) {
            Ok(_) => Ok(()),
            // A file system without such files: its rights are all that can be seen.
            Err(Errno::OPNOTSUPP | Errno::ISDIR) if holds_files(there) => {
                rustix::fs::access(there, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).map_err(|e| failed(e.into()))
            }
            Err(error) => Err(failed(error.into())),
        }
    }

    fn store(&self, key: &Secret) -> Result<(), String> {
        self.write(key).map_err(|e| format!("{} was not written: {e}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_key_and_the_one_before_it_are_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let keeper = KeyFile::new(&dir.path().join("new/key"));
        keeper.ready().unwrap();
        assert!(!dir.path().join("new").exists(), "looking writes nothing");
        for key in ["first", "second", "second"] {
            keeper.store(&Secret::new(key)).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(dir.path().join("new").join(name)).unwrap();
        assert_eq!((read("key"), read("key.previous")), ("second\n".into(), "first\n".into()));
        for name in ["key", "key.previous"] {
            assert_eq!(std::fs::metadata(dir.path().join("new").join(name)).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_dir(dir.path().join("new")).unwrap().count(), 2);
    }

    #[test]
    fn a_file_of_others_is_no_place_for_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("open"), "k").unwrap();
        std::fs::set_permissions(at("open"), std::fs::Permissions::from_mode(0o620)).unwrap();
        symlink(at("elsewhere"), at("link")).unwrap();
        for (name, why) in [("open", "written by others"), ("link", "symbolic link")] {
            let keeper = KeyFile::new(&at(name));
            assert!(keeper.ready().unwrap_err().contains(why) && keeper.store(&Secret::new("x")).is_err(), "{name}");
        }
        assert!(!at("elsewhere").exists());
        // The kernel's own file systems keep nothing, whatever they say to root.
        for nowhere in ["/proc/nowhere/key", "/sys/key"] {
            assert!(KeyFile::new(Path::new(nowhere)).ready().unwrap_err().contains("cannot be written"), "{nowhere}");
        }
    }
}
