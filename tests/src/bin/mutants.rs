//! Tries all mutants of a crate: builds them together (`schemata`), finds out which test reaches which, and runs for each mutant the tests that
//! reach it, the cheap ones first, then random schedules in the simulator, until one fails.
//!
//! `mutants LIST TREE PACKAGE [--only TEXT,TEXT…]`: the list of `cargo mutants --list --json`, and a copy of the work tree that may be written to.
//! What survives and is explained in `tests/data/mutants.txt` of the tree, a name without its place and a reason a line, is counted apart.
//! With `--after FILE`, only those that the results of an earlier pass do not call caught.
//! With `--only`, those whose names hold one of the texts, in the order of the texts. Prints what survived; all results go to `LIST.results`, a line each. Exits with 2 where a mutant survived.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::indexing_slicing, reason = "a testing program")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use swarm_tests::schemata::{CHOICE, Merged, Mutant, merge, read};

/// Modules of the stories whose tests under `#[test]` need nothing but the simulator; those on real hosts stand under `#[tokio::test]`.
const SIMULATED: [&str; 20] = [
    "access",
    "accounts",
    "advice",
    "backup",
    "host_lock",
    "made_ready",
    "maintain",
    "nodes",
    "operators",
    "passages",
    "quiet",
    "rebalance",
    "recover",
    "rules",
    "saved",
    "schedules",
    "simulator",
    "stopped",
    "workload_faults",
    "workloads",
];
/// A test that takes longer than this is left out: random schedules stand for it.
const CHEAP: Duration = Duration::from_secs(25);
/// Of the tests that reach a mutant, the cheap ones are run until they took so long together.
const TESTS: Duration = Duration::from_secs(10);
/// Random schedules that a mutant has to survive then, and the minutes that they may take.
const SCHEDULES: [&str; 2] = ["400", "1"];

#[derive(Debug, Clone)]
struct Test {
    program: PathBuf,
    folder: PathBuf,
    name: String,
    took: Duration,
    reaches: BTreeSet<usize>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let path = |at: usize| std::fs::canonicalize(&args[at]).expect("a path");
    let (list, tree, package) = (path(0), path(1), args[2].clone());
    let only = args.iter().position(|a| a == "--only").map(|i| args[i + 1].clone()).unwrap_or_default();
    let mutants = read(&std::fs::read_to_string(&list).expect("a list")).expect("a list of mutants");
    let unbuilt = write_until_it_builds(&tree, &package, &mutants);
    let tests = trace(&tests(&tree), &list.with_extension("trace"));
    let explore = tree_target(&tree).join("debug/explore");
    assert!(schedules_end_well(&explore, "8191"), "random schedules fail without a mutant");
    let reasons = std::fs::read_to_string(tree.join("tests/data/mutants.txt")).unwrap_or_default();
    let explained: BTreeSet<&str> = reasons.lines().filter_map(|line| Some(line.split_once('\t')?.0)).collect();
    let earlier = args.iter().position(|a| a == "--after").map(|i| std::fs::read_to_string(&args[i + 1]).expect("results"));
    let settled: BTreeSet<&str> = earlier
        .iter()
        .flat_map(|all| all.lines())
        .filter(|l| !l.starts_with("survived"))
        .filter_map(|l| Some(l.split_once('\t')?.1))
        .collect();
    let mut wanted: Vec<&Mutant> = Vec::new();
    for text in only.split(',') {
        let more: Vec<&Mutant> =
            mutants.iter().filter(|m| m.name.contains(text) && !settled.contains(m.name.as_str()) && !wanted.contains(m)).collect();
        wanted.extend(more);
    }
    let (next, results) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let began = Instant::now();
    let written = list.with_extension("results");
    std::fs::write(&written, "").expect("the results");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(mutant) = wanted.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let became = if unbuilt.contains(&mutant.id) { "does not build".to_owned() } else { try_one(mutant, &tests, &explore) };
                    let became = match explained.contains(without_place(&mutant.name).as_str()) {
                        true if became.starts_with("survived") => became.replacen("survived", "explained", 1),
                        true => became + ", and is explained",
                        false => became,
                    };
                    let mut results = results.lock().unwrap();
                    let line = format!("{became}\t{}\n", mutant.name);
                    File::options().append(true).open(&written).and_then(|mut f| f.write_all(line.as_bytes())).expect("the results");
                    results.insert(mutant.id, (became.clone(), mutant.name.clone()));
                    if became.starts_with("survived") || results.len() % 100 == 0 {
                        println!(
                            "{} of {} in {:.0} s: {became}: {}",
                            results.len(),
                            wanted.len(),
                            began.elapsed().as_secs_f64(),
                            mutant.name
                        );
                    }
                }
            });
        }
    });
    let results = results.into_inner().unwrap();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (became, _) in results.values() {
        *counts.entry(became.split([':', ',', ' ']).next().unwrap_or_default()).or_default() += 1;
    }
    println!("{counts:?}");
    if counts.keys().any(|became| became.starts_with("survived")) { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

/// The name of a mutant without its line and column, which move.
fn without_place(name: &str) -> String {
    let (place, what) = name.split_once(": ").unwrap_or((name, ""));
    format!("{}: {what}", place.split(':').next().unwrap_or_default())
}

fn tree_target(tree: &Path) -> PathBuf {
    tree.parent().expect("a folder").join("build")
}

fn cargo(tree: &Path, args: &[&str]) -> (bool, String) {
    let out = Command::new("cargo")
        .args(args)
        .args(["--locked", "--message-format=json"])
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", tree_target(tree))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo");
    (out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Writes all mutants into the tree, and takes those out that the compiler refuses, until it refuses none.
fn write_until_it_builds(tree: &Path, package: &str, mutants: &[Mutant]) -> BTreeSet<usize> {
    let files: BTreeSet<&str> = mutants.iter().map(|m| m.file.as_str()).collect();
    let sources: BTreeMap<&str, String> =
        files.iter().map(|file| (*file, std::fs::read_to_string(tree.join(file)).expect("a source file"))).collect();
    assert!(!sources.values().any(|text| text.contains("crate::mutant::on(")), "the tree holds mutants already: copy the work tree again");
    let manifest = tree.join(package).join("Cargo.toml");
    let text = std::fs::read_to_string(&manifest).expect("a manifest").replace("[lints]\nworkspace = true\n", "");
    std::fs::write(&manifest, text).expect("the manifest");
    let root = format!("{package}/src/lib.rs");
    let mut unbuilt = BTreeSet::new();
    loop {
        let mut merged: BTreeMap<&str, Merged> = BTreeMap::new();
        for (file, source) in &sources {
            let here: Vec<&Mutant> = mutants.iter().filter(|m| m.file == *file && !unbuilt.contains(&m.id)).collect();
            merged.insert(file, merge(source, &here).expect("Rust"));
        }
        unbuilt.extend(merged.values().flat_map(|m| m.unplaced.clone()));
        let library = std::fs::read_to_string(tree.join(&root)).expect("a library");
        let library = merged.get(root.as_str()).map_or(sources.get(root.as_str()).cloned().unwrap_or(library), |m| m.text.clone());
        for (file, merged) in &merged {
            // What stays the same is not built again.
            if std::fs::read_to_string(tree.join(file)).expect("a source file") != merged.text {
                std::fs::write(tree.join(file), &merged.text).expect("a source file");
            }
        }
        let library = library.split("\n#[doc(hidden)]\npub mod mutant").next().unwrap_or_default().to_owned();
        std::fs::write(tree.join(&root), format!("{library}{CHOICE}")).expect("the library");
        let (built, messages) = cargo(tree, &["check", "--package", package, "--lib"]);
        if built {
            println!("{} mutants in one build, {} do not build", mutants.len() - unbuilt.len(), unbuilt.len());
            return unbuilt;
        }
        let before = unbuilt.len();
        for (file, bytes, text) in errors(&messages) {
            let ids = merged.get(file.as_str()).map(|m| m.at(&bytes)).unwrap_or_default();
            if ids.is_empty() {
                println!("not at a mutant: {file}: {text}");
            }
            // Where the text is a mutant's own, only that one goes; else all of the place.
            let own: Vec<usize> =
                ids.iter().copied().filter(|id| merged.get(file.as_str()).is_some_and(|m| own(&m.text, *id, &bytes))).collect();
            unbuilt.extend(if own.is_empty() { ids } else { own });
        }
        assert!(unbuilt.len() > before, "the compiler refuses what is no mutant");
        println!("{} do not build", unbuilt.len());
    }
}

/// Whether these bytes lie in the block that is this mutant's.
fn own(text: &str, id: usize, bytes: &std::ops::Range<usize>) -> bool {
    let head = format!("if crate::mutant::on({id}) {{");
    text.find(&head).is_some_and(|start| {
        let end = text[start + head.len()..].find("if crate::mutant::on(").map_or(text.len(), |i| start + head.len() + i);
        start <= bytes.start && bytes.end <= end && !text[start..bytes.start].contains("} else {")
    })
}

fn errors(messages: &str) -> Vec<(String, std::ops::Range<usize>, String)> {
    let mut found = Vec::new();
    for line in messages.lines() {
        let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let message = &line["message"];
        if message["level"] != "error" {
            continue;
        }
        for span in message["spans"].as_array().into_iter().flatten().filter(|s| s["is_primary"] == true) {
            // What a macro made lies where the macro was called.
            let mut span = span;
            while !span["expansion"].is_null() && !span["file_name"].as_str().is_some_and(|f| f.starts_with("swarm-")) {
                span = &span["expansion"]["span"];
            }
            let number = |key: &str| span[key].as_u64().unwrap_or_default() as usize;
            found.push((
                span["file_name"].as_str().unwrap_or_default().to_owned(),
                number("byte_start")..number("byte_end"),
                message["message"].as_str().unwrap_or_default().to_owned(),
            ));
        }
    }
    found
}

/// The stories that need nothing but the simulator.
fn simulated(tree: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for module in SIMULATED {
        let text = std::fs::read_to_string(tree.join(format!("tests/tests/{module}.rs"))).expect("a module of stories");
        for story in text.split("\n#[test]\n").skip(1) {
            let name = story.split_once("fn ").and_then(|(_, rest)| rest.split_once('(')).expect("a test").0;
            names.insert(format!("{module}::{name}"));
        }
    }
    names
}

/// Builds all tests and says which there are.
fn tests(tree: &Path) -> Vec<Test> {
    let (built, messages) = cargo(tree, &["test", "--no-run", "--workspace", "--lib", "--bins", "--test", "all"]);
    assert!(built, "the tests do not build");
    let simulated = simulated(tree);
    let mut tests = Vec::new();
    for line in messages.lines() {
        let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let (Some(program), true) = (line["executable"].as_str(), line["profile"]["test"] == true) else { continue };
        let folder = Path::new(line["manifest_path"].as_str().unwrap_or_default()).parent().expect("a folder").to_owned();
        let out = Command::new(program).args(["--list", "--format", "terse"]).current_dir(&folder).output().expect("a list of tests");
        for name in String::from_utf8_lossy(&out.stdout).lines().filter_map(|l| l.strip_suffix(": test")) {
            if line["target"]["name"] != "all" || simulated.contains(name) {
                let (program, folder) = (PathBuf::from(program), folder.clone());
                tests.push(Test { program, folder, name: name.to_owned(), took: Duration::ZERO, reaches: BTreeSet::new() });
            }
        }
    }
    let (built, _) = cargo(tree, &["build", "--workspace", "--bins"]);
    assert!(built, "the programs do not build");
    tests
}

/// Runs a program within a time and 4 GiB; whether it ended well.
fn ends_well(program: &Path, args: &[&str], folder: &Path, choice: &str, within: Duration) -> bool {
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -v 4194304; exec \"$0\" \"$@\""])
        .arg(program)
        .args(args)
        .current_dir(folder)
        .env("SWARM_MUTANT", choice)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a test");
    let until = Instant::now() + within;
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status.success();
        }
        if Instant::now() >= until {
            child.kill().expect("a child");
            child.wait().expect("a child");
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs each test alone and writes down which mutants' places it reaches; what fails or takes long is left out.
fn trace(tests: &[Test], file: &Path) -> Vec<Test> {
    let (next, traced) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let (next, traced) = (&next, &traced);
            scope.spawn(move || {
                let file = file.with_extension(format!("trace{worker}"));
                while let Some(test) = tests.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let _none = std::fs::remove_file(&file);
                    let began = Instant::now();
                    let choice = format!("trace:{}", file.display());
                    if !ends_well(&test.program, &["--exact", &test.name], &test.folder, &choice, CHEAP) {
                        println!("left out: {}", test.name);
                        continue;
                    }
                    let reached = std::fs::read_to_string(&file).unwrap_or_default();
                    let reaches = reached.lines().filter_map(|l| l.parse().ok()).collect();
                    traced.lock().unwrap().push(Test { took: began.elapsed(), reaches, ..test.clone() });
                }
            });
        }
    });
    let mut traced = traced.into_inner().unwrap();
    traced.sort_by_key(|t| t.took);
    println!("{} tests reach {} mutants", traced.len(), traced.iter().flat_map(|t| &t.reaches).collect::<BTreeSet<_>>().len());
    traced
}

fn schedules_end_well(explore: &Path, choice: &str) -> bool {
    let schedules = ["--seeds", SCHEDULES[0], "--minutes", SCHEDULES[1], "--quiet"];
    ends_well(explore, &schedules, explore.parent().expect("a folder"), choice, Duration::from_secs(90))
}

/// What is done in many schedules is written down: that finds more than any other test, and takes longer.
fn is_schedule(test: &Test) -> bool {
    test.name.starts_with("schedules::")
}

/// The tests of one program that reach a mutant run in one process, and the programs after one another, the cheap ones first.
fn try_one(mutant: &Mutant, tests: &[Test], explore: &Path) -> String {
    let choice = mutant.id.to_string();
    let mut programs: BTreeMap<(bool, &Path), Vec<&Test>> = BTreeMap::new();
    for test in tests.iter().filter(|t| t.reaches.contains(&mutant.id)) {
        let chosen = programs.entry((is_schedule(test), &test.program)).or_default();
        if is_schedule(test) || chosen.iter().map(|t| t.took).sum::<Duration>() < TESTS {
            chosen.push(test);
        }
    }
    let mut programs: Vec<(Duration, Vec<&Test>)> = programs.into_values().map(|p| (p.iter().map(|t| t.took).sum(), p)).collect();
    programs.sort_by_key(|(took, _)| *took);
    for (took, tests) in &programs {
        let names = tests.iter().map(|t| t.name.as_str());
        let args: Vec<&str> = ["--exact", "--test-threads", "2"].into_iter().chain(names).collect();
        if !ends_well(&tests[0].program, &args, &tests[0].folder, &choice, *took * 5 + Duration::from_secs(5)) {
            let program = tests[0].program.file_stem().and_then(|n| n.to_str()).unwrap_or_default();
            return format!("caught: {}", program.rsplit_once('-').map_or(program, |(name, _)| name));
        }
    }
    if !schedules_end_well(explore, &choice) {
        return "caught: random schedules".to_owned();
    }
    match programs.iter().map(|(_, tests)| tests.len()).sum::<usize>() {
        0 => "survived, reached by no test".to_owned(),
        count => format!("survived {count} tests"),
    }
}
