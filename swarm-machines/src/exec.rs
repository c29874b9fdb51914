//! Machines by a program: a cloud's, a hypervisor's, Terraform's, one of your own.

use crate::{Listed, ProvisionError, Provisioner, Say, parse_list};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use swarm_core::Stop;
use swarm_core::secret::clean;

/// How long the program may take to list machines, and to create or destroy them.
const LISTING: Duration = Duration::from_secs(120);
const MAKING: Duration = Duration::from_secs(60 * 60);
/// The most that is taken of what it prints.
const MOST: u64 = 16 << 20;

/// A program whose last argument says what is wanted: `list`, `create` or `destroy`.
#[derive(Debug, Clone)]
pub struct Exec {
    argv: Vec<String>,
    cluster: String,
    folder: PathBuf,
    hidden: Vec<String>,
}

impl Exec {
    /// A program and its first arguments, started in a folder. It gets the cluster's name as `SWARM_CLUSTER`, and not the environment variables
    /// that are named as hidden.
    pub fn new(argv: &[String], cluster: &str, folder: &Path, hidden: Vec<String>) -> Self {
        Self { argv: argv.to_vec(), cluster: cluster.to_owned(), folder: folder.to_owned(), hidden }
    }

    fn run(&self, verb: &str, patience: Duration, say: Say<'_>, stop: &Stop) -> Result<String, ProvisionError> {
        let name = format!("`{} {verb}`", self.argv.join(" "));
        let failed = |what: String| ProvisionError(format!("{name} {what}"));
        let Some((program, arguments)) = self.argv.split_first() else { return Err(failed("names no program".into())) };
        // A relative path is meant from the folder, and not from where this program was started.
        let program = if program.contains('/') { self.folder.join(program) } else { PathBuf::from(program) };
        let mut command = Command::new(program);
        command.args(arguments).arg(verb).env("SWARM_CLUSTER", &self.cluster).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for variable in &self.hidden {
            command.env_remove(variable);
        }
        let mut child = command.spawn().map_err(|e| failed(format!("could not be run: {e}")))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (printed, print) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let read = out.map(|out| out.take(MOST).read_to_end(&mut text)).transpose();
            printed.send(read.map(|_| text))
        });
        let (line, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let lines = err.into_iter().flat_map(|err| BufReader::new(err).lines()).map_while(Result::ok);
            for text in lines {
                if line.send(text).is_err() {
                    break;
                }
            }
        });
        let pid = rustix::process::Pid::from_child(&child);
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || ended.send(child.wait()));
        let began = std::time::Instant::now();
        let mut last = String::new();
        let mut asked = false;
        let mut hear = |text: String| {
            let text = clean(&text, 300);
            if !text.is_empty() {
                say(&text);
                last = text;
            }
        };
        let status = loop {
            while let Ok(text) = lines.recv_timeout(Duration::from_millis(100)) {
                hear(text);
            }
            match end.try_recv() {
                Ok(Ok(status)) => break status,
                Ok(Err(error)) => return Err(failed(format!("was lost: {error}"))),
                // It is asked to end, once, and waited for: what it does then is its own.
                Err(_) if stop.is_stopped() && !asked => {
                    asked = true;
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
                }
                Err(_) if began.elapsed() > patience => {
                    // It was not waited for to its end: the number is still its own.
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                    return Err(failed(format!("did not end within {} s", patience.as_secs())));
                }
                Err(_) => {}
            }
        };
        while let Ok(text) = lines.recv_timeout(Duration::from_millis(100)) {
            hear(text);
        }
        if !status.success() {
            let how = status.code().map_or("a signal".to_owned(), |code| format!("status {code}"));
            return Err(failed(if last.is_empty() { format!("ended with {how}") } else { format!("ended with {how}: {last}") }));
        }
        // A grandchild may hold the pipe: what it prints is not waited for.
        let text = print.recv_timeout(Duration::from_secs(2)).map_err(|_| failed("ended, and its output did not".into()))?;
        let text = text.map_err(|e| failed(format!("printed what cannot be read: {e}")))?;
        String::from_utf8(text).map_err(|_| failed("printed what is no text".into()))
    }
}

impl Provisioner for Exec {
    fn list(&self) -> Result<Listed, ProvisionError> {
        let printed = self.run("list", LISTING, &|_| {}, &Stop::default())?;
        parse_list(&printed).map_err(|e| ProvisionError(format!("`{} list`: {e}", self.argv.join(" "))))
    }

    fn create(&self, say: Say<'_>, stop: &Stop) -> Result<(), ProvisionError> {
        self.run("create", MAKING, say, stop).map(drop)
    }

    fn destroy(&self, say: Say<'_>, stop: &Stop) -> Result<(), ProvisionError> {
        self.run("destroy", MAKING, say, stop).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn shell(script: &str) -> Exec {
        Exec::new(&["sh".into(), "-c".into(), script.into(), "sh".into()], "prod", Path::new("/"), vec!["HOME".into()])
    }

    #[test]
    fn a_program_is_asked_by_its_last_argument() {
        let exec = shell(r#"test "$1 $SWARM_CLUSTER ${HOME:-none} $PWD" = "list prod none /" && echo '{"missing":["m1"]}'"#);
        assert_eq!(exec.list().unwrap().missing.len(), 1);
        let said = Mutex::new(Vec::new());
        let say = |line: &str| said.lock().unwrap().push(line.to_owned());
        shell("echo one >&2; echo; printf 'two\\033[31m\\n' >&2").create(&say, &Stop::default()).unwrap();
        assert_eq!(*said.lock().unwrap(), ["one", "two [31m"]);
        let failed = shell("echo no quota >&2; exit 7").destroy(&|_| {}, &Stop::default()).unwrap_err().to_string();
        assert!(failed.contains("ended with status 7: no quota"), "{failed}");
        assert!(shell("echo nothing").list().unwrap_err().to_string().contains("list`: what it printed"));
        let stopped = Stop::default();
        stopped.stop();
        let asked =
            shell("trap 'echo going >&2; exit 9' TERM; while :; do sleep 0.1; done").create(&|_| {}, &stopped).unwrap_err().to_string();
        assert!(asked.contains("ended with"), "{asked}");
        let none = Exec::new(&["./nowhere".into()], "x", Path::new("/tmp"), Vec::new());
        assert!(none.list().unwrap_err().to_string().contains("could not be run"));
    }
}
