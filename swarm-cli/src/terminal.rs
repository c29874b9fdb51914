//! Questions for secrets on the terminal. Its echo comes back however the question ends: by an answer, an error, Ctrl-C, a signal, a
//! suspension, a panic.

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::sync::{Mutex, Once};
use swarm_core::secret::Secret;
use tokio::signal::unix::{SignalKind, signal};

/// A question that is on the terminal.
struct Question {
    terminal: File,
    /// What the terminal was like before.
    before: Termios,
    text: String,
}

static QUIET: Mutex<Option<Question>> = Mutex::new(None);
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
    let question = QUIET.lock().ok()?.take()?;
    let _ = tcsetattr(&question.terminal, OptionalActions::Now, &question.before);
    Some(question.terminal)
}

/// The echo is off. A question that was asked before keeps what it knows of the terminal.
fn silence(terminal: &File, question: &str) -> Option<()> {
    let before = tcgetattr(terminal).ok()?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent.local_modes.insert(LocalModes::ECHONL);
    let kept = terminal.try_clone().ok()?;
    // It is known how it was before it is changed: a signal in between finds it.
    if let Ok(mut quiet) = QUIET.lock() {
        quiet.get_or_insert(Question { terminal: kept, before, text: question.to_owned() });
    }
    tcsetattr(terminal, OptionalActions::Now, &silent).ok()
}

/// Puts the terminal back when it is dropped.
pub(crate) struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
    }
}

/// Watches for signals while questions may be asked. One that comes during a question ends the program, with the terminal as it was.
pub(crate) fn watch() {
    WATCH.call_once(|| {
        restore_at_a_panic();
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
        // Ctrl-Z: the shell gets the terminal as it was. A program that catches the signal is not stopped by it, so it stops itself.
        if let Ok(mut suspended) = signal(SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw())) {
            tokio::spawn(async move {
                while suspended.recv().await.is_some() {
                    if let Ok(quiet) = QUIET.lock()
                        && let Some(question) = quiet.as_ref()
                    {
                        let _ = tcsetattr(&question.terminal, OptionalActions::Now, &question.before);
                    }
                    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
                }
            });
        }
        // It goes on: the question is asked once more.
        if let Ok(mut resumed) = signal(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw())) {
            tokio::spawn(async move {
                while resumed.recv().await.is_some() {
                    let asked = |q: &Question| Some((q.terminal.try_clone().ok()?, q.text.clone()));
                    if let Some((mut terminal, text)) = QUIET.lock().ok().and_then(|q| asked(q.as_ref()?)) {
                        let _ = silence(&terminal, &text);
                        let _ = terminal.write_all(text.as_bytes());
                    }
                }
            });
        }
    });
}

/// Rows and columns of the terminal.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(open()?).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Hands every key on as it is typed, until the guard is dropped. The terminal comes back as after a question.
pub(crate) fn raw() -> Option<Guard> {
    let terminal = open()?;
    let before = tcgetattr(&terminal).ok()?;
    let mut raw = before.clone();
    raw.make_raw();
    let kept = terminal.try_clone().ok()?;
    if let Ok(mut quiet) = QUIET.lock() {
        quiet.get_or_insert(Question { terminal: kept, before, text: String::new() });
    }
    let guard = Guard;
    tcsetattr(&terminal, OptionalActions::Now, &raw).ok()?;
    Some(guard)
}

/// A program that panics elsewhere, or without unwinding, drops no guard of a question.
fn restore_at_a_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        restore();
        before(panic);
    }));
}

/// Asks for a secret.
pub(crate) fn ask(question: &str) -> Option<Secret> {
    let terminal = open()?;
    let question = format!("{} ", crate::output::clean(question));
    (&terminal).write_all(question.as_bytes()).ok()?;
    let _guard = Guard;
    silence(&terminal, &question)?;
    let mut answer = String::new();
    let read = BufReader::new(&terminal).read_line(&mut answer).ok()?;
    // The end of input is no answer, and no empty one.
    (read > 0).then(|| Secret::new(answer.trim_end_matches(['\r', '\n'])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const INSIDE: &str = "SWARM_TEST_PANICS";

    /// On a terminal of its own, and as a program of its own: a question is there as another thread panics.
    #[test]
    fn a_panic_gives_the_terminal_back() {
        if std::env::var_os(INSIDE).is_some() {
            let terminal = open().unwrap();
            restore_at_a_panic();
            silence(&terminal, "? ").unwrap();
            let silent = tcgetattr(&terminal).unwrap();
            assert!(!silent.local_modes.contains(LocalModes::ECHO));
            std::thread::spawn(|| panic!("on purpose")).join().unwrap_err();
            std::process::abort();
        }
        let program = std::env::current_exe().unwrap();
        let line = format!("'{}' --exact terminal::tests::a_panic_gives_the_terminal_back; stty -a", program.display());
        let mut script = Command::new("script");
        script.args(["-qfec", &line, "/dev/null"]).env(INSIDE, "1").env("SHELL", "/bin/sh").stdin(std::process::Stdio::null());
        let output = String::from_utf8_lossy(&script.output().unwrap().stdout).into_owned();
        assert!(output.contains(" echo ") && !output.contains("-echo "), "{output}");
    }
}
