//! Root filesystems of bare hosts: a release of Debian with sshd and without an engine, made once and kept.

use crate::error::LabError;
use crate::files::make_dir;
use crate::process::{find_program, run};
use std::path::{Path, PathBuf};

/// Where they are kept, by the name of the release.
const IMAGES: &str = "/var/cache/swarm-lab/images";
/// What a bare host has besides the least that Debian is.
const PACKAGES: &str = "--include=openssh-server,iproute2,procps,ca-certificates,sudo";

/// The service managers that a root filesystem may have, and their packages.
const MANAGERS: [(&str, &str); 2] = [("systemd", ",systemd,systemd-sysv,dbus"), ("openrc", ",openrc")];

/// The root filesystem of a release of Debian, for example `bookworm`, or of one with a service manager that starts what it has:
/// `bookworm:systemd`, `bookworm:openrc`. It is made where it is not there, which takes a minute.
///
/// # Errors
/// The name is none of these, `debootstrap` is missing, or it fails.
pub fn image(name: &str) -> Result<PathBuf, LabError> {
    let unknown = || LabError::Suite(name.to_owned());
    let (suite, manager) = name.split_once(':').map_or((name, None), |(suite, manager)| (suite, Some(manager)));
    if suite.is_empty() || !suite.chars().all(|c| c.is_ascii_lowercase()) {
        return Err(unknown());
    }
    let more = match manager {
        None => "",
        Some(manager) => MANAGERS.iter().find(|(m, _)| *m == manager).ok_or_else(unknown)?.1,
    };
    let name = &name.replace(':', "-");
    let path = Path::new(IMAGES).join(name);
    if path.join("etc/os-release").exists() {
        return Ok(path);
    }
    if find_program("debootstrap").is_none() {
        return Err(LabError::Missing(vec!["debootstrap (apt-get install debootstrap)".into()]));
    }
    make_dir(Path::new(IMAGES))?;
    // One at a time: the others find it when it is there.
    let busy = Path::new(IMAGES).join(format!("{name}.lock"));
    let lock = std::fs::File::create(&busy).and_then(|file| file.lock().map(|()| file));
    let _lock = lock.map_err(|source| LabError::File { path: busy, source })?;
    if path.join("etc/os-release").exists() {
        return Ok(path);
    }
    let new = tempfile::Builder::new().prefix(name).tempdir_in(IMAGES).map_err(|source| LabError::File { path: path.clone(), source })?;
    let root = new.path().join("root");
    let mirror = mirrors()?.into_iter().find(|m| !m.contains("security"));
    let mirror =
        mirror.ok_or_else(|| LabError::Missing(vec!["a Debian mirror besides that of security updates in apt's sources".into()]))?;
    run(&["debootstrap", "--variant=minbase", &format!("{PACKAGES}{more}"), suite, &root.display().to_string(), &mirror])?;
    // What the packages that were fetched leave behind is kept by the forwarder.
    run(&["rm", "-rf", &root.join("var/cache/apt/archives").display().to_string()])?;
    make_dir(&root.join("var/cache/apt/archives/partial"))?;
    std::fs::rename(&root, &path).map_err(|source| LabError::File { path: path.clone(), source })?;
    Ok(path)
}

/// The service manager of a root filesystem, by the name that it was made with; empty where it has none.
pub(crate) fn manager_of(image: &Path) -> &'static str {
    let name = image.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    MANAGERS.iter().map(|(manager, _)| *manager).find(|manager| name.ends_with(&format!("-{manager}"))).unwrap_or_default()
}

/// The mirrors that this machine's own apt uses.
pub(crate) fn mirrors() -> Result<Vec<String>, LabError> {
    let listed = || run(&["apt-get", "indextargets", "--format", "$(REPO_URI)", "Origin: Debian"]);
    let mut text = listed()?;
    if text.trim().is_empty() {
        // apt names its mirrors only once it has read their lists.
        run(&["apt-get", "-qq", "update"])?;
        text = listed()?;
    }
    let mut all: Vec<String> = text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    all.sort();
    all.dedup();
    if all.is_empty() { Err(LabError::Missing(vec!["a Debian mirror in apt's sources".into()])) } else { Ok(all) }
}
