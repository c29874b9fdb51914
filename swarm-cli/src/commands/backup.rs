//! `swarm backup` and `swarm restore`.

use super::drill::{self, Tried};
use super::recover::bring_back;
use super::work::{How, Session, carry, carry_seen};
use crate::args_common::Format;
use crate::args_swarm::{BackupArgs, BackupCommand, RestoreArgs};
use crate::failure::{self, Failure};
use crate::{output, source};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use swarm_backup::{Archive, Backup, Manifest, Restore, Resume, State, fetch, interrupted, is_sealed, recipients, seal, unseal};
use swarm_core::Apply;
use swarm_core::id::HostName;
use swarm_core::observe::{Observed, time};
use swarm_core::recover::Recover;
use swarm_core::secret::Secret;
use swarm_core::unlock::Unlock;

/// How large a file with an unlock key may be.
const KEY_LIMIT: u64 = 4096;
/// How large an age key file may be.
const IDENTITY_LIMIT: u64 = 64 * 1024;
/// How the files end.
const ENDING: &str = ".swarm-backup";

pub(super) async fn run(args: &BackupArgs, format: Format) -> Result<u8, Failure> {
    let recipients = recipients(&args.encrypt_to).map_err(Failure::Usage)?;
    let session = Session::open(&args.common).await?;
    let spec = &session.spec;
    let from = match &args.from {
        Some(from) => source::named(std::slice::from_ref(from), spec, "HOST")?.into_iter().next(),
        None => None,
    };
    if let Some(when) = &args.schedule {
        output::data(&schedule(args, spec.name(), when)?);
        return Ok(0);
    }
    let observed = start_what_was_left(&session, args.agree.dry_run, "backup", format).await?;
    let taken = time(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()));
    let stamp = compact(&taken);
    let path = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{}-{stamp}{ENDING}", spec.name())));
    // Found out before an engine is stopped.
    let place = if args.agree.dry_run { None } else { Some(Place::make(&path)?) };
    let mut intent = Backup { spec, from, accept_downtime: args.accept_downtime, stored_key: session.keys.fingerprint() };
    // Chosen now, so that it is known of which manager the end is to be verified.
    intent.from = intent.source(&observed).ok().map(|(host, ..)| host.clone()).or(intent.from);
    let how = How {
        dry_run: args.agree.dry_run,
        question: Some("Stop this engine for some seconds and copy its state?".into()),
        must_agree: true,
        yes: args.agree.yes,
        done: "copied, and the engine answers as a manager again".into(),
        ..How::new("backup", format)
    };
    let (code, plan, observed) = carry_seen(&session, &intent, how).await?;
    let Some(place) = place.filter(|_| code == 0) else { return Ok(code) };
    let manifest = intent.manifest(&observed, &plan, taken).ok_or_else(|| Failure::Other("what was copied is not known".into()))?;
    let host = manifest.host.clone();
    let state =
        fetch(spec, &session.fleet, &host, &observed).await.map_err(|why| Failure::Other(format!("the copy stays on {host}: {why}")))?;
    let archive = Archive::new(manifest, state).map_err(|e| Failure::Other(format!("the copy of {host}: {e}")))?;
    let mut file = archive.write().map_err(|e| Failure::Other(e.to_string()))?;
    if !recipients.is_empty() {
        file = seal(&file, &recipients).map_err(Failure::Other)?;
    }
    place.fill(&file)?;
    let removed = forget(&path, spec.name(), args.keep, args.keep_for);
    match format {
        Format::Text => {
            output::data(&format!("{}: {}", path.display(), summary(&archive.manifest, file.len())));
            removed.iter().for_each(|old| output::note(&format!("removed {}", old.display())));
            output::note(&format!(
                "next: `swarm backup verify {}`, and keep it where its readers may have the swarm's secrets",
                path.display()
            ));
        }
        _ => output::json("backup", &json!({ "file": path, "bytes": file.len(), "manifest": archive.manifest, "removed": removed })),
    }
    Ok(0)
}

/// An engine that an earlier backup or drill stopped and did not start again is started first. Gives what there is then.
pub(super) async fn start_what_was_left(session: &Session, dry_run: bool, command: &str, format: Format) -> Result<Observed, Failure> {
    let observe = async || Apply::new(&session.spec, &session.fleet).observe().await;
    let observed = observe().await;
    let hosts = interrupted(&session.spec, &session.fleet, &observed).await;
    if hosts.is_empty() || dry_run {
        return Ok(observed);
    }
    let intent = Resume { spec: &session.spec, hosts };
    let how = How { yes: true, done: "started again".into(), ..How::new(command, format) };
    carry(session, &intent, how).await?;
    Ok(observe().await)
}

/// A file that is written in one go: nothing is there under its name before it is whole.
struct Place {
    path: PathBuf,
    draft: PathBuf,
    file: std::fs::File,
}

impl Place {
    fn make(path: &Path) -> Result<Self, Failure> {
        let failed = |why: String| Failure::Io(path.to_owned(), why);
        if path.symlink_metadata().is_ok() {
            return Err(failed("it is there already and is not overwritten; -o names another".into()));
        }
        let draft = path.with_extension(format!("draft-{}", std::process::id()));
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(|e| failed(e.to_string()))?;
        Ok(Self { path: path.to_owned(), draft, file })
    }

    fn fill(mut self, content: &[u8]) -> Result<(), Failure> {
        let failed = |e: std::io::Error| Failure::Io(self.path.clone(), e.to_string());
        self.file.write_all(content).and_then(|()| self.file.sync_all()).map_err(failed)?;
        // A link fails where the name is taken meanwhile; a rename would overwrite it.
        std::fs::hard_link(&self.draft, &self.path).map_err(failed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.draft);
    }
}

/// Removes older backups of a cluster beside a new one: those with names of our own making, which sort by time.
fn forget(path: &Path, cluster: &str, keep: Option<u32>, keep_for: Option<Duration>) -> Vec<PathBuf> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let stamp = |name: &str| {
        let stamp = name.strip_prefix(cluster)?.strip_prefix('-')?.strip_suffix(ENDING)?;
        let is_time = stamp.len() == 16 && stamp.chars().all(|c| c.is_ascii_digit() || matches!(c, 'T' | 'Z'));
        is_time.then(|| stamp.to_owned())
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut all: Vec<(String, PathBuf)> = entries.filter_map(|e| Some((stamp(e.file_name().to_str()?)?, e.path()))).collect();
    all.sort();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let oldest = keep_for.map(|age| compact(&time(now.saturating_sub(age).as_secs())));
    let count = all.len();
    let goes = |(at, (stamp, path)): (usize, (String, PathBuf))| {
        let newer = count - at - 1;
        let is_old = oldest.as_ref().is_some_and(|oldest| stamp < *oldest);
        let too_many = keep.is_some_and(|keep| newer >= keep as usize);
        (newer > 0 && (is_old || too_many)).then_some(path)
    };
    all.into_iter().enumerate().filter_map(goes).filter(|path| std::fs::remove_file(path).is_ok()).collect()
}

/// A point in time without what file names do not like.
fn compact(time: &str) -> String {
    time.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// A systemd service and its timer.
fn schedule(args: &BackupArgs, cluster: &str, when: &str) -> Result<String, Failure> {
    if when.chars().any(char::is_control) {
        return Err(Failure::Usage("--schedule takes one line".into()));
    }
    let absolute = |path: &Path| std::path::absolute(path).map_err(|e| Failure::Io(path.to_owned(), e.to_string()));
    let program = std::env::current_exe().map_err(|e| Failure::Other(e.to_string()))?;
    let file = absolute(&args.common.file)?;
    let folder = absolute(args.output.as_deref().unwrap_or(Path::new(".")))?;
    let mut line = vec![program.display().to_string(), "backup".into(), "--yes".into(), "-f".into(), file.display().to_string()];
    line.extend(args.from.iter().flat_map(|from| ["--from".to_owned(), from.clone()]));
    line.extend(args.accept_downtime.then(|| "--accept-downtime".to_owned()));
    line.extend(args.encrypt_to.iter().flat_map(|to| ["--encrypt-to".to_owned(), to.clone()]));
    line.extend(args.keep.iter().flat_map(|keep| ["--keep".to_owned(), keep.to_string()]));
    line.extend(args.keep_for.iter().flat_map(|age| ["--keep-for".to_owned(), format!("{}s", age.as_secs())]));
    // Of what systemd reads in a command line: `%` begins a specifier, `$` a variable, and a quoted word is one word.
    let quoted = |word: &String| format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$"));
    let line: Vec<String> = line.iter().map(quoted).collect();
    Ok(format!(
        "# /etc/systemd/system/swarm-backup-{cluster}.service\n[Unit]\nDescription=Backup of swarm {cluster}\n\n[Service]\nType=oneshot\n\
         WorkingDirectory={}\nUMask=0077\nExecStart={}\n\n# /etc/systemd/system/swarm-backup-{cluster}.timer\n[Unit]\n\
         Description=Backups of swarm {cluster}\n\n[Timer]\nOnCalendar={when}\nPersistent=true\n\n[Install]\nWantedBy=timers.target",
        folder.display(),
        line.join(" ")
    ))
}

fn summary(manifest: &Manifest, bytes: usize) -> String {
    let names = &manifest.names;
    format!(
        "swarm {} of cluster {}, {} kB, taken {} from {} ({}, engine {}): {} nodes, {} services, {} networks, {} secrets, {} configs{}",
        manifest.swarm,
        manifest.cluster,
        bytes.div_ceil(1000),
        manifest.taken,
        manifest.host,
        manifest.address,
        manifest.engine,
        names.nodes.len(),
        names.services.len(),
        names.networks.len(),
        names.secrets.len(),
        names.configs.len(),
        if manifest.unlock_key.is_some() { "; locked: the unlock key opens it" } else { "" },
    )
}

fn read(path: &Path, identity: Option<&Path>) -> Result<(Archive, usize), Failure> {
    let mut file = std::fs::read(path).map_err(|e| Failure::Io(path.to_owned(), e.to_string()))?;
    let size = file.len();
    let failed = |why: String| Failure::Other(format!("{}: {why}", path.display()));
    if is_sealed(&file) {
        let identity = identity.ok_or_else(|| failed("it is encrypted; --identity names the age key file that opens it".into()))?;
        file = unseal(&file, &source::read_limited(identity, IDENTITY_LIMIT)?).map_err(failed)?;
    }
    let archive = Archive::read(&file).map_err(|e| failed(e.to_string()))?;
    Ok((archive, size))
}

pub(super) async fn command(command: &BackupCommand, format: Format) -> Result<u8, Failure> {
    let BackupCommand::Verify { file, checksums_only, key_file, identity } = command;
    let (archive, bytes) = read(file, identity.as_deref())?;
    let files = archive.manifest.files.len();
    let key = key_file.as_ref().map(|path| source::read_limited(path, KEY_LIMIT)).transpose()?;
    let key = key.map(|bytes| Secret::new(String::from_utf8_lossy(&bytes).trim()));
    let tried =
        if *checksums_only { Tried::Not("checksums alone were asked for".into()) } else { drill::run(&archive, key.as_ref()).await? };
    let differences = match &tried {
        Tried::Found(found) => drill::differences(&archive.manifest.names, found),
        Tried::Not(_) => Vec::new(),
    };
    match format {
        Format::Text => {
            output::data(&format!("{}: {}", file.display(), summary(&archive.manifest, bytes)));
            output::data(&format!("{files} files of its state are what their checksums say"));
            match &tried {
                Tried::Not(why) => output::data(&format!("no engine was started with it: {why}")),
                Tried::Found(_) if differences.is_empty() => {
                    output::data(
                        "an engine that was started with it, and reached no one, has the same nodes, services, networks, secrets and configs",
                    );
                }
                Tried::Found(_) => differences.iter().for_each(|line| output::data(&output::clean(line))),
            }
        }
        _ => {
            let (started, why) = match &tried {
                Tried::Found(found) => (Some(found), None),
                Tried::Not(why) => (None, Some(why)),
            };
            let report = json!({
                "file": file, "manifest": archive.manifest, "files": files, "found": started, "not_started": why, "differences": differences,
            });
            output::json("backup verify", &report);
        }
    }
    Ok(if differences.is_empty() { 0 } else { failure::NOT_CONVERGED })
}

pub(super) async fn restore(args: &RestoreArgs, format: Format) -> Result<u8, Failure> {
    let (archive, _) = read(&args.backup, args.identity.as_deref())?;
    let manifest = &archive.manifest;
    let session = Session::open(&args.common).await?;
    let spec = &session.spec;
    let named = args.host.clone().unwrap_or_else(|| manifest.host.to_string());
    let host: HostName = source::named(&[named], spec, "HOST")?.into_iter().next().ok_or_else(|| Failure::Usage("name one host".into()))?;
    let fenced: BTreeSet<String> = args.fenced.iter().cloned().collect();
    let intent = Restore { spec, manifest, host: host.clone(), fenced: fenced.clone(), stored_key: session.keys.fingerprint() };
    let state = State::of(&archive);
    let yes = args.agree.yes;
    let how = How {
        dry_run: args.agree.dry_run,
        question: Some(format!("Make {host} a manager of this swarm, as the backup has it?")),
        must_agree: true,
        yes,
        payloads: &state,
        done: format!("{host} has the state of the backup"),
        ..How::new("restore", format)
    };
    let code = carry(&session, &intent, how).await?;
    if code != 0 || args.agree.dry_run {
        return Ok(code);
    }
    if manifest.unlock_key.is_some() {
        let how = How { done: format!("{host} is unlocked"), ..How::new("restore", format) };
        let code = carry(&session, &Unlock { spec, hosts: [host.clone()].into() }, how).await?;
        if code != 0 {
            return Ok(code);
        }
    }
    if manifest.managers.len() > 1 {
        let recover = Recover { spec, host: host.clone(), fenced, seen: BTreeMap::new() };
        let question = Some(format!("Make {host} the only manager?"));
        let how = How { question, must_agree: true, yes, done: format!("{host} leads the swarm"), ..How::new("restore", format) };
        let code = carry(&session, &recover, how).await?;
        if code != 0 {
            return Ok(code);
        }
    }
    bring_back(&session, &args.fenced, yes, "restore", format).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_backups_go_by_count_and_by_age() {
        let dir = std::env::temp_dir().join(format!("swarm-forget-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let days_ago = |days: u64| format!("c-{}{ENDING}", compact(&time((now - Duration::from_secs(days * 86400)).as_secs())));
        let names = || {
            let mut names: Vec<String> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        let others = ["c-mine.swarm-backup", "other-20200101T000000Z.swarm-backup", "c-20200101T000000Z.txt"];
        for name in others.iter().map(ToString::to_string).chain((0..5).map(|d| days_ago(d * 10))) {
            std::fs::write(dir.join(name), "").unwrap();
        }
        let new = dir.join(days_ago(0));
        assert_eq!(forget(&new, "c", None, None), Vec::<PathBuf>::new());
        assert_eq!(forget(&new, "c", Some(4), None), [dir.join(days_ago(40))]);
        assert_eq!(forget(&new, "c", None, Some(Duration::from_secs(25 * 86400))), [dir.join(days_ago(30))]);
        assert_eq!(forget(&new, "c", Some(1), Some(Duration::ZERO)).len(), 2);
        // The newest stays, and so does what has another name.
        let mut left: Vec<String> = others.iter().map(ToString::to_string).chain([days_ago(0)]).collect();
        left.sort();
        assert_eq!(names(), left);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
