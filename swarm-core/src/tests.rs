//! What the planner and the verifier make of many drawn clusters, written down in `tests/data/plans.txt`: a change of any decision shows there, and
//! in review. `BLESS=1 cargo test -p swarm-core` writes the file again.
#![allow(clippy::disallowed_methods, reason = "a test that keeps a file")]

mod intents;
mod lints;
mod rare;
mod steps;

use crate::addr::InterfaceAddress;
use crate::engine::Force;
use crate::id::{ClusterId, HostName, NodeId, StepId};
use crate::observe::{Fact, LocalState, NodeState, Observation, Observed, RemoteManager, merge};
use crate::plan::{PlanOptions, Planned, build, build_destroy, lint, render_text};
use crate::spec::{Availability, ClusterSpec, Node, Role, Value, read};
use crate::testkit::{Is, address, map, node, text, world};
use crate::verify::{verify, verify_key};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

const WORLDS: u64 = 250;
/// Further ones, of which only a sum is kept.
const SUMMED: Range<u64> = WORLDS..WORLDS + 4000;
/// Texts of which one sum is kept.
const BLOCK: usize = 25;

/// Numbers that depend on a seed and on nothing else (Knuth's multiplier).
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize].clone()
    }
}

fn plain(value: Value) -> Node {
    Node { value, at: None }
}

/// A file of these hosts, and what it says in short.
fn file(draw: &mut Draw, names: &[&str]) -> (ClusterSpec, String) {
    let mut said = String::new();
    let mut hosts = Vec::new();
    for name in names {
        let usual = if name.starts_with('m') { "manager" } else { "worker" };
        let role = if draw.one_in(6) { draw.of(&["manager", "worker", "none"]) } else { usual };
        let role = if *name == "m1" { "manager" } else { role };
        let mut keys = vec![("address", text(&address(name))), ("role", text(role))];
        let _ = write!(said, " {name}={role}");
        let mut add = |keys: &mut Vec<(&str, Node)>, key: &'static str, value: String| {
            let _ = write!(said, ",{key}={value}");
            keys.push((key, text(&value)));
        };
        if role != "none" {
            if draw.one_in(5) {
                add(&mut keys, "availability", draw.of(&["active", "pause", "drain"]).to_owned());
            }
            if draw.one_in(6) {
                let ip = address(name);
                let selector = draw.of(&["eth0", "eth9", "10.0.0.0/8", "10.7.7.7", ip.as_str()]).to_owned();
                let plain = selector.parse::<std::net::IpAddr>().is_ok();
                add(&mut keys, "advertise", selector);
                if plain && draw.one_in(2) {
                    keys.push(("nat", self::plain(Value::Bool(true))));
                }
            }
            if draw.one_in(8) {
                add(&mut keys, "data_path", draw.of(&["eth0", "eth9", "10.7.7.7"]).to_owned());
            }
            if draw.one_in(4) {
                let _ = write!(said, ",labels");
                keys.push(("labels", map(vec![("rack", text(draw.of(&["a", "b"]))), ("old", plain(Value::Null))])));
            }
        }
        hosts.push((*name, map(keys)));
    }
    let mut swarm = Vec::new();
    if draw.one_in(4) {
        swarm.push(("task_history_limit", plain(Value::Int(draw.of(&[5, 7])))));
    }
    if draw.one_in(8) {
        swarm.push(("data_path_port", plain(Value::Int(4790))));
    }
    if draw.one_in(3) {
        swarm.push(("autolock", plain(Value::Bool(draw.one_in(2)))));
        swarm.push(("unlock_key_file", text("/keys/c")));
    }
    let rotates = draw.one_in(6);
    let policy = map(if rotates { vec![("rotate_tokens", text("after_apply"))] } else { Vec::new() });
    let _ = write!(said, " {rotates} {:?}", swarm.iter().map(|(key, node)| (key, &node.value)).collect::<Vec<_>>());
    (read(&map(vec![("name", text("c")), ("swarm", map(swarm)), ("policy", policy), ("hosts", map(hosts))])).unwrap().spec, said)
}

/// What happened to a look at such hosts besides.
fn trouble(draw: &mut Draw, look: &mut Observation, said: &mut String) {
    let mut say = |what: &str| {
        let _ = write!(said, " {what}");
    };
    for (name, report) in &mut look.hosts {
        if let Ok(engine) = &mut report.engine {
            if draw.one_in(20) {
                engine.live_restore = true;
                say(&format!("{name}:live-restore"));
            }
            if draw.one_in(20) {
                engine.rootless = true;
                say(&format!("{name}:rootless"));
            }
            if draw.one_in(8) {
                engine.running_containers = 3;
                say(&format!("{name}:containers"));
            }
            if engine.swarm.control_available && draw.one_in(10) {
                // It answers and names no swarm: its raft log is empty.
                engine.swarm.cluster = None;
                report.view = Fact::Unknown("no leader".into());
                say(&format!("{name}:mute"));
            }
            if draw.one_in(15) {
                engine.swarm.reported = LocalState::Error;
                engine.swarm.control_available = false;
                engine.swarm.error = Some(draw.of(&["no space left on device", "certificate has expired", "manager stopped"]).into());
                say(&format!("{name}:error"));
            }
            if draw.one_in(6) {
                let node = NodeId::new(draw.of(&["node-m1", "node-other"]));
                engine.swarm.remotes = vec![RemoteManager { node, address: draw.of(&["10.0.1.1:2377", "10.9.9.9:2377"]).into() }];
                say(&format!("{name}:remote"));
            }
        }
        match draw.below(14) {
            12 => {
                if let Fact::Known(machine, _) = &mut report.machine {
                    machine.addresses = Vec::new();
                    machine.disk_free = Some(256 << 20);
                }
            }
            0 => report.machine = Fact::NotAsked,
            1 => report.machine = Fact::Unknown("no answer".into()),
            2 => {
                if let Fact::Known(machine, _) = &mut report.machine {
                    machine.disk_free = Some(1 << 20);
                    say(&format!("{name}:disk"));
                }
            }
            3 => {
                if let Fact::Known(machine, _) = &mut report.machine {
                    machine.addresses = vec![InterfaceAddress { interface: "eth9".into(), address: "10.7.7.7".parse().unwrap() }];
                    say(&format!("{name}:moved"));
                }
            }
            _ => {}
        }
    }
    // Every manager says the same of the swarm.
    let drawn = draw.0;
    for report in look.hosts.values_mut() {
        let Fact::Known(view, _) = &mut report.view else { continue };
        let mut draw = Draw(drawn);
        for node in &mut view.nodes {
            if draw.one_in(6) {
                node.availability = draw.of(&[Availability::Drain, Availability::Pause]);
            }
            if draw.one_in(5) {
                node.labels = [("rack".to_owned(), draw.of(&["a", "b"]).to_owned()), ("old".to_owned(), "1".to_owned())].into();
            }
            if draw.one_in(10) {
                node.state = draw.of(&[NodeState::Down, NodeState::Unknown]);
            }
            if draw.one_in(12) {
                node.address = "10.9.9.9".into();
            }
            if draw.one_in(12) {
                node.role = if node.role == Role::Manager { Role::Worker } else { Role::Manager };
            }
        }
        if draw.one_in(4) {
            let mut stranger = node("x1", draw.of(&[Role::Manager, Role::Worker]), draw.of(&[NodeState::Down, NodeState::Ready]), false);
            if draw.one_in(2) {
                stranger.hostname = String::new();
            }
            view.nodes.push(stranger);
        }
        if draw.one_in(6) {
            // An entry that a host had before it came in again.
            let mut old = node("w1", Role::Worker, NodeState::Down, false);
            old.id = NodeId::new("node-old");
            view.nodes.push(old);
        }
        view.cluster.root_rotation_in_progress = draw.one_in(10);
        if draw.one_in(6) {
            view.cluster.labels.clear();
        }
        if draw.one_in(4) {
            view.cluster.settings.autolock = Some(true);
            view.unlock_key = draw.of(&[Some("key-1"), Some("key-2"), None]).map(str::to_owned);
        }
        if draw.one_in(6) {
            view.cluster.settings.dispatcher_heartbeat = Some(Duration::from_secs(9));
        }
        view.services = draw.below(3) as usize;
        if draw.one_in(12) {
            view.cluster.id = ClusterId::new("another");
        }
    }
}

fn written(planned: &Planned, out: &mut String) {
    match planned {
        Planned::Refused(refusals) => refusals.iter().for_each(|r| {
            let _ = writeln!(out, "    refused: {r}");
        }),
        Planned::Plan(plan) => {
            // As people see it, and what that does not show.
            for line in render_text(plan).lines().filter(|line| !line.is_empty()) {
                let _ = writeln!(out, "    {line}");
            }
            for s in &plan.steps {
                let needs: Vec<&str> = s.needs.iter().map(StepId::as_str).collect();
                let _ = writeln!(out, "    {} <- {needs:?} {:?} {:?}", s.id, s.expect, s.action);
            }
        }
    }
}

/// What is decided is decided in the same way from a look that was kept as a document.
fn read_again(observed: &Observed) -> Observed {
    let kept = serde_json::to_value(observed).unwrap();
    let read: Observed = serde_json::from_value(kept.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), kept);
    read
}

/// A drawn file and a look at its hosts, and what they are in words.
fn drawn(seed: u64) -> (ClusterSpec, Observation, String) {
    let (spec, look, out, ..) = drawn_with(&mut Draw(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 77), seed);
    (spec, look, out)
}

fn drawn_with(draw: &mut Draw, seed: u64) -> (ClusterSpec, Observation, String, &'static [&'static str]) {
    let names: &'static [&'static str] = &["m1", "m2", "m3", "w1", "w2"][..1 + draw.below(5) as usize];
    let grown = draw.one_in(4);
    let hosts: Vec<(&str, Is)> = names
        .iter()
        .map(|name| {
            let usual = match (grown, name.starts_with('m')) {
                (true, _) => Is::Alone,
                (_, true) => Is::Manager,
                (_, false) => Is::Worker,
            };
            let all = [Is::Alone, Is::Manager, Is::LostManager, Is::Worker, Is::Removed, Is::Foreign, Is::Gone, Is::Joining, Is::Locked];
            (*name, if draw.one_in(3) { draw.of(&all) } else { usual })
        })
        .collect();
    let (spec, said) = file(draw, names);
    let mut out = format!("{seed}: {hosts:?}\n  file:{said}\n  besides:");
    let mut look = world(&hosts);
    trouble(draw, &mut look, &mut out);
    (spec, look, out, names)
}

fn one(seed: u64, seen: &mut BTreeSet<String>) -> String {
    let mut draw = Draw(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 77);
    let (spec, look, mut out, names) = drawn_with(&mut draw, seed);
    let some = |draw: &mut Draw, many: u64| -> Option<HostName> { draw.one_in(many).then(|| HostName::new(draw.of(names))) };
    let options = PlanOptions {
        force_leave: some(&mut draw, 4).into_iter().collect(),
        prune: draw.one_in(6),
        limit: some(&mut draw, 8).map(|host| [host].into()),
        init_on: some(&mut draw, 8),
        stored_key: draw.one_in(3).then(|| "key-1".to_owned()),
        no_key_place: draw.one_in(8).then(|| "no folder".to_owned()),
    };
    let _ = writeln!(out, "\n  {options:?}");
    let observed = read_again(&merge(&spec, &look, &BTreeSet::new()));
    let planned = build(&spec, &observed, &options);
    if let Planned::Plan(plan) = &planned {
        assert_eq!(lint(plan, &spec, &observed, &options.force_leave), [], "{out}{plan:#?}");
        assert!(plan.fingerprint.len() == 64 && seen.insert(plan.fingerprint.clone()), "{out}");
    }
    written(&planned, &mut out);
    let verdict = verify(&spec, &observed, options.limit.as_ref());
    for finding in verdict.findings.iter().chain(&verify_key(&spec, &observed, options.stored_key.as_deref())) {
        let _ = writeln!(out, "  verify: {:?} {:?} {}", finding.host, finding.kind, finding.message);
    }
    verdict.notes.iter().for_each(|note| {
        let _ = writeln!(out, "  verify notes: {note}");
    });
    let (ending, by_force) = (build_destroy(&spec, &observed, Force::No), build_destroy(&spec, &observed, Force::Yes));
    let _ = writeln!(out, "  destroy:");
    written(&ending, &mut out);
    if by_force != ending {
        let _ = writeln!(out, "  destroy by force:");
        written(&by_force, &mut out);
    }
    out
}

/// Holds a text against the one that is kept; `BLESS` writes it.
fn is_written(name: &str, now: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, now).unwrap();
    }
    let then = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = then.lines().zip(now.lines()).position(|(a, b)| a != b);
    let at = differs.unwrap_or_else(|| then.lines().count().min(now.lines().count()));
    let line = |text: &str| text.lines().nth(at).unwrap_or("nothing").to_owned();
    assert!(then == now, "line {}: now\n{}\nwritten down is\n{}\nBLESS=1 writes the file again", at + 1, line(now), line(&then));
}

/// The same for many more texts, of which sums are kept: of so many that a rare decision is among them. `SHOW=SEED` ends the test with one text, to
/// be compared with that of another commit.
fn is_summed(name: &str, seeds: Range<u64>, text: impl Fn(u64) -> String) {
    if let Some(seed) = std::env::var("SHOW").ok().and_then(|seed| seed.parse().ok()) {
        panic!("{}", text(seed));
    }
    let all: Vec<u64> = seeds.collect();
    let mut sums = String::new();
    for block in all.chunks(BLOCK) {
        let mut hash = hmac_sha256::Hash::new();
        block.iter().for_each(|seed| hash.update(text(*seed)));
        let sum: String = hash.finalize()[..6].iter().map(|b| format!("{b:02x}")).collect();
        let _ = writeln!(sums, "{}: {sum}", block[0]);
    }
    is_written(name, &sums);
}

/// What is seen in a look besides what is decided from it.
fn seen_in(observed: &Observed) -> String {
    let hosts: Vec<String> = observed.hosts.iter().map(|(name, host)| format!("{name} {:?} {:?}", host.state, host.node)).collect();
    format!("{:?}\n{}\n{:?}\n", observed.cluster, hosts.join("\n"), observed.basis())
}

#[test]
fn the_decisions_about_many_more_clusters_are_the_same() {
    is_summed("plans.sums", SUMMED, |seed| {
        let (spec, look, _) = drawn(seed);
        one(seed, &mut BTreeSet::new()) + &seen_in(&merge(&spec, &look, &BTreeSet::new()))
    });
}

#[test]
fn the_decisions_about_many_clusters_are_as_written_down() {
    // Two worlds that differ have different fingerprints.
    let mut seen = BTreeSet::new();
    is_written("plans.txt", &(0..WORLDS).map(|seed| one(seed, &mut seen)).collect::<String>());
}
