//! Carries random sequences of calls and faults out on real engines and in the simulator, and prints where they differ.
//!
//! `explore_real [--sequences N] [--from SEED] [--labs L]`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::indexing_slicing, reason = "a testing program")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use swarm_tests::differ::{difference, in_memory, on_engines, sequence};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: u64| {
        args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).map_or(default, |v| v.parse().expect("a number"))
    };
    let (from, sequences, labs) = (number("--from", 0), number("--sequences", 40), number("--labs", 4));
    let (next, differ) = (AtomicU64::new(from), AtomicU64::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..labs {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= from + sequences {
                        return;
                    }
                    let deeds = sequence(seed);
                    let (real, simulated) = (runtime.block_on(on_engines(&deeds)), in_memory(&deeds));
                    match difference(&deeds, &real, &simulated) {
                        Some(text) => {
                            differ.fetch_add(1, Ordering::SeqCst);
                            println!("seed {seed}: {text}");
                        }
                        None => println!("seed {seed}: the same after each of {} steps", deeds.len()),
                    }
                }
            });
        }
    });
    let differ = differ.load(Ordering::SeqCst);
    println!("{sequences} sequences in {:.0} s, {differ} differ", began.elapsed().as_secs_f64());
    if differ == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
