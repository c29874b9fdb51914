//! Plays random schedules until there have been so many, or until the time is over, and pairs of cuts of every story. Prints each seed
//! that breaks a rule, with its story, and what came to pass how often.
//!
//! `explore [--seeds N] [--minutes M] [--from SEED] [--pairs] [--quiet]`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::indexing_slicing, reason = "a testing program")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use swarm_tests::sim::random;
use swarm_tests::sim::stories::{POINTS, STORIES};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: u64| {
        args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).map_or(default, |v| v.parse().expect("a number"))
    };
    let flag = |name: &str| args.iter().any(|a| a == name);
    let (from, seeds) = (number("--from", 0), number("--seeds", 1_000_000));
    let until = Instant::now() + Duration::from_secs(60 * number("--minutes", 60));
    let quiet = flag("--quiet");
    let next = Arc::new(AtomicU64::new(from));
    let failed = Arc::new(Mutex::new(Vec::new()));
    let happened = Arc::new(Mutex::new(BTreeMap::<String, u64>::new()));
    let began = Instant::now();
    let threads: Vec<_> = (0..std::thread::available_parallelism().map_or(2, usize::from))
        .map(|_| {
            let (next, failed, happened) = (Arc::clone(&next), Arc::clone(&failed), Arc::clone(&happened));
            std::thread::spawn(move || {
                let mut arrived = 0u64;
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= from + seeds || Instant::now() >= until {
                        return arrived;
                    }
                    let played = random::play(seed, false);
                    arrived += u64::from(played.arrived);
                    if !played.violations.is_empty() {
                        println!("seed {seed}: {}", played.violations[0]);
                        if !quiet {
                            println!("{}", random::play(seed, true).story);
                        }
                        failed.lock().unwrap().push(seed);
                    }
                    let mut happened = happened.lock().unwrap();
                    for (kind, times) in played.happened {
                        *happened.entry(kind).or_default() += times;
                    }
                }
            })
        })
        .collect();
    let arrived: u64 = threads.into_iter().map(|t| t.join().unwrap()).sum();
    let played = next.load(Ordering::SeqCst).min(from + seeds) - from;
    for (kind, times) in happened.lock().unwrap().iter() {
        println!("{times:>9}  {kind}");
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{played} schedules in {seconds:.1} s ({:.0} a second), {arrived} arrived, the others were refused", played as f64 / seconds);
    if flag("--pairs") {
        for story in STORIES {
            let calls = story.calls(1);
            let mut pairs = 0u64;
            'all: for first in 1..=calls {
                for second in 1..=calls {
                    for one in POINTS {
                        for two in POINTS {
                            story.cut_off(1, &[(first, one), (second, two)]);
                            pairs += 1;
                        }
                    }
                    if Instant::now() >= until {
                        break 'all;
                    }
                }
            }
            println!("{}: {pairs} pairs of cuts", story.name);
        }
    }
    let failed = failed.lock().unwrap();
    println!("{} broke a rule: {:?}", failed.len(), failed.iter().take(20).collect::<Vec<_>>());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
