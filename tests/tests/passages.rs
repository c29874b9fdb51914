//! The port matrix in simulated worlds: whatever is dropped between hosts, and whatever becomes of the calls to them, what it says is so.

use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use swarm_core::id::HostName;
use swarm_core::{Apply, ClusterSpec};
use swarm_prepare::Machine;
use swarm_prepare::ports::{Matrix, Outcome, Passage, Protocol, matrix, wanted};
use swarm_sim::{CallFault, CallKind, Incident, World};
use swarm_tests::sim::{cluster, many, spec};

const FILE: &str = "name: passages
hosts:
  m1: { address: 10.0.0.1, role: manager }
  m2: { address: 10.0.0.2, role: manager }
  m3: { address: 10.0.0.3, role: manager }
  w1: { address: 10.0.0.4, role: worker }
  w2: { address: 10.0.0.5, role: worker }
";

/// What every machine of the world has: a processor for which this build has a probe.
fn machines(spec: &ClusterSpec) -> BTreeMap<HostName, Result<Machine, String>> {
    let machine = || Machine { arch: Some(std::env::consts::ARCH.to_owned()), ..Machine::default() };
    spec.hosts().map(|h| (h.name.clone(), Ok(machine()))).collect()
}

async fn asked(world: &World, spec: &ClusterSpec) -> Matrix {
    let fleet = world.fleet("check");
    let observed = Apply::new(spec, &fleet).observe().await;
    matrix(spec, &fleet, &machines(spec), &wanted(spec, &observed, false)).await
}

/// What lies between the hosts of a world.
#[derive(Debug, Default)]
struct Drawn {
    cuts: BTreeSet<(String, String)>,
    drops: BTreeSet<(String, String)>,
    narrow: BTreeMap<String, usize>,
}

impl Drawn {
    fn of(rng: &mut Rng, world: &World, names: &[String]) -> Self {
        let mut drawn = Self::default();
        for _ in 0..rng.usize(0..4) {
            let (from, to) = (rng.choice(names).unwrap().clone(), rng.choice(names).unwrap().clone());
            if from != to {
                world.cause(&Incident::OneWayCut(HostName::new(&from), HostName::new(&to)));
                drawn.cuts.insert((from, to));
            }
        }
        for _ in 0..rng.usize(0..3) {
            let (host, item) =
                (rng.choice(names).unwrap().clone(), *rng.choice(&["tcp/7946", "udp/7946", "udp/4789", "tcp/2377"]).unwrap());
            world.drops(&host, item);
            drawn.drops.insert((host, item.to_owned()));
        }
        if rng.bool() {
            let host = rng.choice(names).unwrap().clone();
            world.narrows(&host, 1400);
            drawn.narrow.insert(host, 1400);
        }
        drawn
    }

    /// Whether what a passage is about gets there.
    fn passes(&self, passage: &Passage) -> bool {
        let (from, to) = (passage.from.to_string(), passage.to.to_string());
        let protocol = if passage.protocol == Protocol::Tcp { "tcp" } else { "udp" };
        let item = format!("{protocol}/{}", passage.port.unwrap());
        let comes = !self.cuts.contains(&(from.clone(), to.clone())) && !self.drops.contains(&(to.clone(), item));
        comes && (passage.protocol != Protocol::Tcp || !self.cuts.contains(&(to, from)))
    }

    /// Where what is said of a passage is not so.
    fn contradicts(&self, passage: &Passage) -> bool {
        match &passage.outcome {
            Outcome::NotTested { .. } => false,
            Outcome::Small { passes, of } => (*passes, *of) != (1400, 1500) || !self.narrow.contains_key(passage.to.as_str()),
            outcome if passage.protocol == Protocol::Mtu && outcome.passes() => self.narrow.contains_key(passage.to.as_str()),
            outcome => outcome.passes() != self.passes(passage),
        }
    }
}

/// Asks in many worlds, in every other of which there is a swarm, with calls that fail or without, and judges each answer. Nothing that is said
/// may be wrong.
fn in_worlds(calls_fail: bool, mut judge: impl FnMut(u64, &World, &Matrix)) {
    let spec = spec(FILE);
    let names: Vec<String> = spec.hosts().map(|h| h.name.to_string()).collect();
    for seed in 0..150 {
        let mut rng = Rng::with_seed(seed);
        swarm_sim::run(async {
            let world = World::of(&spec, seed);
            if rng.bool() {
                cluster(&world, FILE).await;
            }
            let drawn = Drawn::of(&mut rng, &world, &names);
            for _ in 0..if calls_fail { rng.usize(1..4) } else { 0 } {
                let fault = *rng.choice(&CallFault::ALL).unwrap();
                world.fault(rng.choice(&names).map(String::as_str), CallKind::Run, rng.u32(0..4), fault);
            }
            let found = asked(&world, &spec).await;
            let wrong: Vec<&Passage> = found.passages.iter().filter(|p| drawn.contradicts(p)).collect();
            assert!(wrong.is_empty(), "seed {seed}: {drawn:?}: {wrong:#?}");
            judge(seed, &world, &found);
        });
    }
}

fn count(found: &Matrix, fits: impl Fn(&Passage) -> bool) -> usize {
    found.passages.iter().filter(|p| fits(p)).count()
}

#[test]
fn what_is_dropped_is_found_and_nothing_else() {
    let (mut failed, mut one_way, mut passed) = (0, 0, 0);
    in_worlds(false, |seed, world, found| {
        let untested = count(found, |p| matches!(p.outcome, Outcome::NotTested { .. }));
        assert!(untested == 0 && found.without_probe.is_empty(), "seed {seed}: everything is tried: {found:#?}");
        failed += count(found, |p| p.outcome.fails());
        one_way += count(found, |p| p.one_way);
        passed += count(found, |p| p.outcome.passes());
        assert_eq!(world.violations(), [], "a look changes nothing");
    });
    assert!(failed > 250 && one_way > 150 && passed > 5_000, "{failed} failed, {one_way} of them one way, {passed} passed");
}

#[test]
fn calls_that_fail_make_nothing_up() {
    let (mut untested, mut said) = (0, 0);
    in_worlds(true, |_, _, found| {
        let without = count(found, |p| matches!(p.outcome, Outcome::NotTested { .. }));
        untested += without;
        said += found.passages.len() - without;
    });
    assert!(untested > 250 && said > 2_500, "{untested} not tested, {said} said");
}

#[test]
fn a_hundred_hosts_are_asked_in_three_calls_each() {
    let spec = spec(&many(100));
    swarm_sim::run(async {
        let world = World::of(&spec, 1);
        let fleet = world.fleet("check");
        let observed = Apply::new(&spec, &fleet).observe().await;
        let (before, began) = (world.calls().0, tokio::time::Instant::now());
        let found = matrix(&spec, &fleet, &machines(&spec), &wanted(&spec, &observed, false)).await;
        let (calls, took) = (world.calls().0 - before, began.elapsed());
        assert!(found.passages.len() > 39_000 && found.passages.iter().all(|p| p.outcome.passes()), "{}", found.passages.len());
        assert_eq!(calls, 300, "listen, send, collect");
        assert!(took.as_secs() < 10, "{took:?}");
    });
}
