//! Carries random sequences of calls and faults out on real engines and in the simulator, and prints where they differ.
//!
//! `explore_real [--sequences N] [--from SEED] [--labs L]`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::indexing_slicing, reason = "a testing program")]

use std::process::ExitCode;
use std::time::Instant;
use swarm_tests::differ::side_by_side;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: u64| {
        args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).map_or(default, |v| v.parse().expect("a number"))
    };
    let (from, sequences, labs) = (number("--from", 0), number("--sequences", 40), number("--labs", 8));
    let began = Instant::now();
    let differing = side_by_side(from..from + sequences, labs as usize, |seed, steps, text| match text {
        Some(text) => println!("seed {seed}: {text}"),
        None => println!("seed {seed}: the same after each of {steps} steps"),
    });
    println!("{sequences} sequences in {:.0} s, {} differ", began.elapsed().as_secs_f64(), differing.len());
    if differing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
