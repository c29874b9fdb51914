//! The command line as a user runs it.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// Where the binary is: beside the tests, in the same build.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let found = test.ancestors().skip(1).map(|dir| dir.join("swarm")).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("the swarm binary is not built; run `cargo build -p swarm-cli` first, or test the whole workspace"))
}

/// A program of `examples/`, from the same build.
pub fn example(name: &str) -> PathBuf {
    binary().parent().map(|dir| dir.join("examples").join(name)).unwrap()
}

/// What a run came to.
#[derive(Debug)]
pub struct Ran {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A command that is not run yet.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(args).env_remove("SWARM_FILE").env_remove("SWARM_FORMAT").stdin(Stdio::null());
    command
}

/// Runs to the end.
pub fn run(args: &[&str]) -> Ran {
    command(args).output().unwrap().into()
}

/// Begins, with its output kept.
pub fn begin(args: &[&str]) -> Child {
    command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Whether this is a process of the test alone, whose memory is no other test's; where it is not, one is run, and its failure is this one's.
pub fn is_alone(test: &str) -> bool {
    const ALONE: &str = "SWARM_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let own = std::env::current_exe().unwrap();
    let output = Command::new(own).args(["--exact", test, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    false
}
