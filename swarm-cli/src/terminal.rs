//! Questions for secrets on the terminal. Its echo comes back however the question ends: by an answer, an error, Ctrl-C, a signal, a
//! suspension, a panic.

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::sync::{Mutex, Once};
use swarm_core::secret::Secret;
use tokio::signal::unix::{SignalKind, signal};

/// The terminal whose echo is off, and what it was like before.
static QUIET: Mutex<Option<(File, Termios)>> = Mutex::new(None);
static WATCH: Once = Once::new();

fn open() -> Option<File> {
    File::options().read(true).write(true).open("/dev/tty").ok()
}

/// Whether there is a terminal to ask on.
pub(crate) fn is_there() -> bool {
    open().is_some()
}

/// Puts the terminal back; gives it, if its echo was off.
fn restore() -> Option<File> {
    let (terminal, before) = QUIET.lock().ok()?.take()?;
    let _ = tcsetattr(&terminal, OptionalActions::Now, &before);
    Some(terminal)
}

fn silence(terminal: &File) -> Option<()> {
    let before = tcgetattr(terminal).ok()?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent.local_modes.insert(LocalModes::ECHONL);
    let kept = terminal.try_clone().ok()?;
    // It is known how it was before it is changed: a signal in between finds it.
    if let Ok(mut quiet) = QUIET.lock() {
        quiet.get_or_insert((kept, before));
    }
    tcsetattr(terminal, OptionalActions::Now, &silent).ok()
}

struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
    }
}

/// Watches for signals while questions may be asked. One that comes during a question ends the program, with the terminal as it was.
pub(crate) fn watch() {
    WATCH.call_once(|| {
        for (kind, code) in
            [(SignalKind::interrupt(), 130), (SignalKind::terminate(), 143), (SignalKind::hangup(), 129), (SignalKind::quit(), 131)]
        {
            let Ok(mut signals) = signal(kind) else { continue };
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    // Without a question, and without a run that stops in order, a signal ends the program as it always does.
                    let asking = restore().is_some_and(|mut terminal| terminal.write_all(b"\n").is_ok());
                    if asking || !crate::commands::stops_in_order() {
                        std::process::exit(code);
                    }
                }
            });
        }
        // A shell gives its own settings back to a program that goes on after Ctrl-Z.
        if let Ok(mut resumed) = signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw())) {
            tokio::spawn(async move {
                while resumed.recv().await.is_some() {
                    let quiet = QUIET.lock().ok().and_then(|q| q.as_ref().and_then(|(terminal, _)| terminal.try_clone().ok()));
                    if let Some(terminal) = quiet {
                        let _ = silence(&terminal);
                    }
                }
            });
        }
    });
}

/// Asks for a secret.
pub(crate) fn ask(question: &str) -> Option<Secret> {
    let terminal = open()?;
    (&terminal).write_all(crate::output::clean(question).as_bytes()).ok()?;
    (&terminal).write_all(b" ").ok()?;
    let _guard = Guard;
    silence(&terminal)?;
    let mut answer = String::new();
    let read = BufReader::new(&terminal).read_line(&mut answer).ok()?;
    // The end of input is no answer, and no empty one.
    (read > 0).then(|| Secret::new(answer.trim_end_matches(['\r', '\n'])))
}
