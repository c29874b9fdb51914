//! Compares our reader of Compose files, or our flags of services, with the docker CLI on generated ones, and prints where they differ.
//!
//! `compose_pairs [--seed N] [--cases N] [--flags] [--files N] [--cli PATH] [--older PATH] [--dir FOLDER]`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::indexing_slicing, reason = "a testing program")]

use std::path::PathBuf;
use std::process::ExitCode;
use swarm_tests::composes::{Clis, known, play};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let text = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).cloned();
    let number = |name: &str, default: u64| text(name).map_or(default, |v| v.parse().expect("a number"));
    let cli = text("--cli").map_or_else(
        || swarm_tests::engines::newer().last().map(|dir| dir.join("usr/bin/docker")).expect("a docker CLI; see scripts/engines"),
        PathBuf::from,
    );
    let folder = tempfile::tempdir().unwrap();
    let dir = text("--dir").map_or_else(|| folder.path().to_owned(), PathBuf::from);
    if args.iter().any(|a| a == "--flags") {
        let played = swarm_tests::composes::flags::play(&cli, &dir, number("--seed", 0), number("--cases", 200) as u32);
        played.differ.iter().for_each(|line| println!("{line}"));
        println!("{} the same, {} refused by both, {} differ", played.same, played.refused, played.differ.len());
        return if played.differ.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let older = text("--older").map(PathBuf::from);
    let clis = Clis { newest: &cli, older: older.as_deref() };
    let report = play(&clis, &dir, number("--seed", 0), number("--cases", 200) as u32, number("--files", 1) as usize, &known);
    for line in &report.differ {
        println!("{line}");
    }
    for line in report.refusals.iter().filter(|_| text("--refusals").is_some()) {
        println!("REFUSED {line}");
    }
    if older.is_some() {
        report.unlike.iter().for_each(|line| println!("OLDER {line}"));
        println!("the older one: {} alike, {} otherwise, {} refused", report.alike, report.unlike.len(), report.newer);
    }
    println!("never twice: {}", report.unset.join(" "));
    println!(
        "{} the same, {} refused by both, {} differ, {} places never set twice",
        report.same,
        report.refused,
        report.differ.len(),
        report.unset.len()
    );
    if report.differ.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
