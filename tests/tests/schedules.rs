//! What the tool does in random schedules of the simulator, call by call, written down in `tests/data/schedules.txt`: a change of any decision
//! of a run shows there, and in review. `BLESS=1` writes the file again.

use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;
use swarm_core::driver::{Guard, NoProgress, Operator, Taken};
use swarm_core::engine::{Kind, Object, Query};
use swarm_core::operators::Holder;
use swarm_core::report::Report;
use swarm_core::{Apply, Stop};
use swarm_sim::{CallFault, CallKind, CrashPoint, FaultRule};
use swarm_tests::sim::random::{WITH_ABSENT, play};
use swarm_tests::sim::stories::STORIES;
use swarm_tests::sim::workload;

/// Seeds that are written down: files whose hosts all stay, and files with hosts that are to be in no swarm.
const WRITTEN: [Range<u64>; 2] = [0..60, WITH_ABSENT..WITH_ABSENT + 30];

/// Further ones, of which only sums are kept.
const SUMMED: [Range<u64>; 2] = [60..260, WITH_ABSENT + 30..WITH_ABSENT + 130];

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

/// The calls that a lock and a journal are made of.
const LOCKS: [CallKind; 4] = [CallKind::ListObjects, CallKind::CreateObject, CallKind::UpdateObject, CallKind::RemoveObject];

/// A run takes the lock, does nothing for a minute, and ends, while calls fail: what came of it, and what is left. Whatever fails, the run after it
/// gets the lock, at the latest when the first has been quiet for long.
fn locked(rule: FaultRule) -> String {
    let file = swarm_tests::sim::spec(workload::FILE);
    swarm_sim::run(async {
        let world = workload::ready(&file, 1).await;
        let (fleet, began) = (world.fleet("ann"), world.now());
        let by = |run: &str| {
            let holder =
                Holder { who: run.into(), from: "desk".into(), why: "apply".into(), run: run.into(), process: String::new(), since: 1 };
            Operator { holder, wait: Duration::ZERO, is_gone: &|_| false, progress: &NoProgress }
        };
        let (plan, observed) = Apply::new(&file, &fleet).plan().await.unwrap();
        world.fault_rule(rule);
        let calls = world.calls().0;
        let Taken::Held { lock, .. } = Guard::take(&file, &fleet, &observed, &plan, by("ann")).await else {
            panic!("no one else holds it")
        };
        let (without, stop) = (lock.without.clone(), Stop::default());
        let run = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Report::new(&plan, Vec::new(), None, true)
        };
        let (_, left) = lock.during(&plan, &stop, run).await;
        let (calls, took) = (world.calls().0 - calls, world.now() - began);
        world.no_more_faults();
        let there = fleet.engine("m1").list(&Query::all(Kind::Config)).await.unwrap();
        let there: Vec<&str> = there.iter().map(Object::name).filter(|name| name.starts_with("swarm.")).collect();
        let said = format!(
            "without {without:?}, left {left:?}, there {there:?}, {calls} calls, {:.0} s, stopped {}",
            took.as_secs_f64(),
            stop.is_stopped()
        );
        let ben = world.fleet("ben");
        let Taken::Held { lock, .. } = Guard::take(&file, &ben, &observed, &plan, by("ben")).await else {
            panic!("{said}: it is held for ever")
        };
        assert_eq!(lock.without, None, "{said}");
        lock.give_back().await;
        workload::quiet(&world);
        said
    })
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
    for call in LOCKS {
        for fault in CallFault::ALL {
            for (skip, times) in [(0, 1), (1, 1), (0, 2), (0, 9)] {
                let rule = FaultRule { host: None, call: Some(call), skip, times, fault };
                let _ = writeln!(now, "lock, {call}, {fault:?}, {times} after {skip}: {}", locked(rule));
            }
        }
    }
    is_written(&path, &now);
}

/// Holds a text against the one that is kept; `BLESS` writes it.
fn is_written(path: &Path, now: &str) {
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, now).unwrap();
    }
    let then = std::fs::read_to_string(path).unwrap_or_default();
    let differs = then.lines().zip(now.lines()).position(|(a, b)| a != b);
    let at = differs.unwrap_or_else(|| then.lines().count().min(now.lines().count()));
    let around = |text: &str| text.lines().skip(at.saturating_sub(3)).take(6).collect::<Vec<_>>().join("\n");
    assert!(then == now, "line {}: now\n{}\nwritten down is\n{}\nBLESS=1 writes the file again", at + 1, around(now), around(&then));
}

/// The same for many more schedules, of which a sum of ten each is kept. `SHOW=SEED` ends the test with one schedule, to be compared with that of
/// another commit.
#[test]
fn what_is_done_in_many_more_schedules_is_the_same() {
    let shown = std::env::var("SHOW").ok().and_then(|seed| seed.parse::<u64>().ok());
    if let Some(seed) = shown {
        panic!("{}\n{}", play(seed, true).story, workload::play(seed).0);
    }
    let seeds: Vec<u64> = SUMMED.into_iter().flatten().collect();
    let mut sums = String::new();
    for block in seeds.chunks(10) {
        let mut hash = Sha256::new();
        for seed in block {
            hash.update(short(&play(*seed, true).story));
            if seed % 4 == 0 {
                hash.update(short(&workload::play(*seed).0));
            }
        }
        let sum: String = hash.finalize()[..6].iter().map(|b| format!("{b:02x}")).collect();
        let _ = writeln!(sums, "{}: {sum}", block[0]);
    }
    is_written(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data/schedules.sums"), &sums);
}
