//! Commands and processes of this machine.

use crate::error::LabError;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Runs a command to its end and gives its standard output.
pub(crate) fn run(argv: &[&str]) -> Result<String, LabError> {
    let failed = |message: String| LabError::Command { command: argv.join(" "), message };
    let (program, arguments) = argv.split_first().ok_or_else(|| failed("no command".into()))?;
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().map_err(|e| failed(e.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(format!("{} {}", output.status, String::from_utf8_lossy(&output.stderr).trim())))
}

/// Starts a program that goes on by itself, and waits for its end in a thread, so that no zombie keeps its name.
pub(crate) fn begin(program: &Path, arguments: &[&str]) -> Result<(), LabError> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let command_line = || format!("{} {}", program.display(), arguments.join(" "));
    let mut child = command.spawn().map_err(|e| LabError::Command { command: command_line(), message: e.to_string() })?;
    std::thread::spawn(move || child.wait());
    Ok(())
}

/// Where a program is, in the places a root shell looks.
pub(crate) fn find_program(name: &str) -> Option<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"]).map(|dir| format!("{dir}/{name}")).find(|p| fs::metadata(p).is_ok())
}

/// Ids of the processes whose command line holds exactly these arguments in this order.
pub(crate) fn find_processes(wanted: &[&str]) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let arguments: Vec<&str> = line.split(|b| *b == 0).filter_map(|a| std::str::from_utf8(a).ok()).collect();
            arguments.windows(wanted.len()).any(|w| w == wanted)
        })
        .collect()
}

/// Ends a process now; one that is gone already is fine.
pub(crate) fn kill_now(pid: i32) {
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

/// Asks a process to end.
pub(crate) fn ask_to_end(pid: i32) {
    let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
}

/// Whether a process has ended: all its threads are gone, and so its sockets are closed. Its command line is no sign of that: the
/// kernel empties it first, and the process may answer for a while yet.
pub(crate) fn has_ended(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    // The name, in parentheses, may hold anything.
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    matches!(state, Some('Z' | 'X')) && threads <= 1
}

/// Waits until processes have ended, at most for a while.
pub(crate) fn wait_ended(pids: &[i32], limit: Duration) -> bool {
    wait_until(limit, || pids.iter().all(|pid| has_ended(*pid)))
}

/// Polls until something is so, at most for a while.
pub(crate) fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + limit;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_ended_once_its_threads_are_gone() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(!has_ended(pid), "it runs");
        kill_now(pid);
        assert!(wait_ended(&[pid], Duration::from_secs(10)), "it is dead, though its parent has not asked");
        child.wait().unwrap();
        assert!(has_ended(pid), "and gone");
    }
}
