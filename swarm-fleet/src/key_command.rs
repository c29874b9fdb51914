//! The unlock key kept by a program: a vault's, a password manager's, one of your own.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use swarm_core::Secret;
use swarm_core::driver::KeyKeeper;
use swarm_core::secret::clean;

/// How long the program may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most that is taken of what it prints.
const MOST: u64 = 4096;

/// Keeps the unlock key by a program, whose last argument says what is wanted:
///
/// - `ready`: whether a key could be stored now, without storing one;
/// - `load`: it prints the key, or nothing where it has none;
/// - `store`: it reads the key from its standard input, and ends well when a power cut does not lose it any more.
///
/// It ends well with exit code 0; anything else is a failure, of which its standard error is shown. It keeps older keys too: a manager that
/// was away while the key changed needs the one before. A call waits for the program, for up to 30 s.
#[derive(Debug, Clone)]
pub struct KeyCommand {
    argv: Vec<String>,
    hidden: Vec<String>,
}

impl KeyCommand {
    /// A program and its first arguments. It does not get the environment variables that are named as hidden.
    pub fn new(argv: &[String], hidden: Vec<String>) -> Self {
        Self { argv: argv.to_vec(), hidden }
    }

    fn run(&self, verb: &str, input: Option<&Secret>) -> Result<Vec<u8>, String> {
        let Some((program, arguments)) = self.argv.split_first() else { return Err("no program is named".into()) };
        let name = format!("`{} {verb}`", self.argv.join(" "));
        let mut command = Command::new(program);
        command.args(arguments).arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for variable in &self.hidden {
            command.env_remove(variable);
        }
        let mut child = command.spawn().map_err(|e| format!("{name} could not be run: {e}"))?;
        // What it writes is read beside what it reads: neither waits for the other.
        let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read its input has its own reasons: how it ends counts.
            let _ = stdin.write_all(input.map_or(&[][..], |key| key.expose().as_bytes()));
        }
        let pid = rustix::process::Pid::from_child(&child);
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || ended.send(child.wait()));
        let status = match end.recv_timeout(PATIENCE) {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => return Err(format!("{name}: {error}")),
            Err(_) => {
                // It was not waited for to its end: the number is still its own.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                return Err(format!("{name} did not end within {} s", PATIENCE.as_secs()));
            }
        };
        // A grandchild may hold the pipes: what has come by now is all.
        let taken = |from: mpsc::Receiver<Vec<u8>>| from.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
        let (out, err) = (taken(out), taken(err));
        if status.success() {
            return Ok(out);
        }
        let mut said = clean(String::from_utf8_lossy(&err).trim(), 300);
        if let Some(key) = input {
            said = said.replace(key.expose(), "***");
        }
        let how = status.code().map_or("a signal".to_owned(), |code| format!("status {code}"));
        Err(if said.is_empty() { format!("{name} ended with {how}") } else { format!("{name} ended with {how}: {said}") })
    }
}

fn drain(from: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(mut from) = from {
            let _ = from.by_ref().take(MOST).read_to_end(&mut all);
            let _ = std::io::copy(&mut from, &mut std::io::sink());
        }
        let _ = sender.send(all);
    });
    receiver
}

impl KeyKeeper for KeyCommand {
    fn load(&self) -> Option<Secret> {
        let printed = String::from_utf8(self.run("load", None).ok()?).ok()?;
        let key = printed.trim();
        (!key.is_empty()).then(|| Secret::new(key))
    }

    fn ready(&self) -> Result<(), String> {
        self.run("ready", None).map(drop)
    }

    fn store(&self, key: &Secret) -> Result<(), String> {
        self.run("store", Some(key))?;
        // A key that cannot be had back is not kept.
        match self.load() {
            Some(kept) if kept.expose() == key.expose() => Ok(()),
            _ => Err(format!("`{} load` does not give back the key that was stored", self.argv.join(" "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeper(dir: &std::path::Path, script: &str) -> KeyCommand {
        // Not run as a program itself: a file that was just written may still be open where another test starts one.
        let program = dir.join("keeper");
        std::fs::write(&program, format!("cd {}\n{script}\n", dir.display())).unwrap();
        let argv = ["/bin/sh", program.to_str().unwrap(), "prod"].map(str::to_owned);
        KeyCommand::new(&argv, vec!["SWARM_TEST_HIDDEN".to_owned()])
    }

    #[test]
    fn a_program_keeps_the_key_and_gives_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let good = keeper(
            dir.path(),
            "case \"$1 $2\" in 'prod ready') exit 0;; 'prod load') cat key 2>/dev/null || true;; 'prod store') cat >key;; *) exit 9;; esac",
        );
        assert!(good.ready().is_ok() && good.load().is_none());
        let key = Secret::new("SWMKEY-1-abc");
        good.store(&key).unwrap();
        assert_eq!(good.load().unwrap().expose(), "SWMKEY-1-abc");
        assert_eq!(good.fingerprint(), Some(key.fingerprint()));
    }

    #[test]
    fn one_that_fails_is_named_with_its_own_words_and_without_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let key = Secret::new("SWMKEY-1-abc");
        let sealed = keeper(dir.path(), "echo the vault is sealed >&2; [ \"$2\" = store ] && cat >&2; exit 3");
        let why = sealed.ready().unwrap_err();
        assert!(why.contains("prod ready` ended with status 3: the vault is sealed"), "{why}");
        let why = sealed.store(&key).unwrap_err();
        assert!(why.contains("the vault is sealed") && !why.contains("1-abc"), "{why}");
        let forgetful = keeper(dir.path(), "cat >/dev/null; exit 0");
        assert!(forgetful.store(&key).unwrap_err().contains("does not give back"));
        let missing = KeyCommand::new(&["/nonexistent/keeper".to_owned()], Vec::new());
        assert!(missing.ready().unwrap_err().contains("could not be run"));
        assert!(KeyCommand::new(&[], Vec::new()).ready().is_err());
    }
}
