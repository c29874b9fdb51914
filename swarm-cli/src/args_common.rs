//! What many verbs share: the file, the hosts, the format, how a change is agreed to.

use crate::complete::selectors;
use clap::{Args, ValueEnum};
use clap_complete::ArgValueCompleter;
use std::path::PathBuf;

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// One JSON event a line, as they happen (verbs that change something step by step, and `service logs`).
    Jsonl,
}

/// Only some of the hosts.
#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    /// Only these hosts: names, globs (w*), role=worker, role=manager, role=none; comma-separated.
    #[arg(long, value_delimiter = ',', value_name = "HOST,…", add = ArgValueCompleter::new(selectors))]
    pub(crate) limit: Vec<String>,
}

/// The file, and the world that it is about.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The cluster file; - is standard input.
    #[arg(short, long, default_value = "swarm.yaml", value_name = "FILE", env = "SWARM_FILE", hide_env_values = true)]
    pub(crate) file: PathBuf,
    /// Do it in a simulated world that has the file's hosts, all without a swarm, or in the states that HOSTS.yaml gives them. Nothing
    /// real is touched, and nothing of it stays.
    #[arg(long, value_name = "HOSTS.yaml", num_args = 0..=1, require_equals = true)]
    pub(crate) simulate: Option<Option<PathBuf>>,
}

/// What becomes of a run while another one holds the swarm.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Wait for another run that holds the swarm, for so long at most. Without it such a run is named, and nothing is done.
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "1h", value_parser = duration)]
    pub(crate) wait: Option<std::time::Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) limit: LimitArgs,
    /// Whole ids, versions and labels.
    #[arg(long)]
    pub(crate) wide: bool,
    /// Look again every two seconds, until Ctrl-C. On a terminal the picture is drawn over; elsewhere it is printed when it changes.
    #[arg(short = 'w', long)]
    pub(crate) watch: bool,
}

/// How a change is agreed to.
#[derive(Debug, Args)]
pub(crate) struct AgreeArgs {
    /// Show the plan and stop.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    swarm_core::spec::parse_duration(text).ok_or_else(|| "write a number with its unit, such as 30s or 5m".into())
}
