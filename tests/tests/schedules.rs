//! What the tool does in random schedules of the simulator, call by call, written down in `tests/data/schedules.txt`: a change of any decision
//! of a run shows there, and in review. `BLESS=1` writes the file again.

use std::fmt::Write as _;
use std::ops::Range;
use swarm_sim::CrashPoint;
use swarm_tests::sim::random::{WITH_ABSENT, play};
use swarm_tests::sim::stories::STORIES;
use swarm_tests::sim::workload;

/// Seeds that are written down: files whose hosts all stay, and files with hosts that are to be in no swarm.
const WRITTEN: [Range<u64>; 2] = [0..60, WITH_ABSENT..WITH_ABSENT + 30];

/// Calls that change nothing.
const READS: [&str; 10] =
    ["cluster", "connect", "get-object", "info", "join-token", "list-objects", "machine", "node", "nodes", "services"];

/// A story, with calls that change nothing counted where they failed.
fn short(story: &str) -> String {
    let (mut text, mut failed) = (String::new(), 0);
    for line in story.lines() {
        let mut words = line.split_whitespace().skip(3);
        if words.next().is_some_and(|word| READS.contains(&word)) && words.next() == Some("on") {
            failed += 1;
            continue;
        }
        if failed > 0 {
            let _ = writeln!(text, "    {failed} reads failed");
            failed = 0;
        }
        // Tenths of a second: what is asked once more moves everything after it by milliseconds.
        let (at, rest) = line.trim_start().split_once(' ').unwrap_or((line, ""));
        let _ = writeln!(text, "{:.1} {rest}", at.parse::<f64>().unwrap_or_default());
    }
    text
}

#[test]
fn what_is_done_in_many_schedules_is_as_written_down() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/schedules.txt");
    let mut now = String::new();
    for seed in WRITTEN.into_iter().flatten() {
        let played = play(seed, true);
        let _ = writeln!(now, "seed {seed}, {}", if played.arrived { "arrived" } else { "refused" });
        now.push_str(&short(&played.story));
    }
    for story in STORIES {
        for cut in [None, Some((5, CrashPoint::AnswerLost)), Some((20, CrashPoint::AfterAnswer))] {
            let _ = write!(now, "{}, cut off at {cut:?}\n{}", story.name, short(&story.happens(1, cut.as_slice())));
        }
    }
    for seed in 0..25 {
        let _ = write!(now, "deploy {seed}\n{}", short(&workload::play(seed).0));
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &now).unwrap();
    }
    let then = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = then.lines().zip(now.lines()).position(|(a, b)| a != b);
    let at = differs.unwrap_or_else(|| then.lines().count().min(now.lines().count()));
    let around = |text: &str| text.lines().skip(at.saturating_sub(3)).take(6).collect::<Vec<_>>().join("\n");
    assert!(then == now, "line {}: now\n{}\nwritten down is\n{}\nBLESS=1 writes the file again", at + 1, around(&now), around(&then));
}
