//! The conformance suite on both beds: real engines in the lab, and the simulator, which must answer as they do.

use std::path::Path;
use swarm_sim::conformance::{Cases, Suite};
use swarm_tests::beds::{Real, simulated as bed_of};
use swarm_tests::engines;
use swarm_tests::lab::TestLab;

/// The cases that one part has; the same number on both beds.
const GROWING: usize = 89;
const FAILING: usize = 20;
const QUORUM: usize = 18;
const KEYS: usize = 27;

fn simulated(hosts: &[&str], part: impl AsyncFn(&Suite<'_>, &mut Cases)) -> usize {
    swarm_sim::run(async {
        let bed = bed_of(hosts);
        let mut cases = Cases::default();
        part(&Suite::new(&bed), &mut cases).await;
        cases.names().len()
    })
}

async fn real(managers: usize, workers: usize, part: impl AsyncFn(&Suite<'_>, &mut Cases)) -> usize {
    on(None, managers, workers, part).await
}

/// The same on an engine of another version.
async fn on(engine: Option<&Path>, managers: usize, workers: usize, part: impl AsyncFn(&Suite<'_>, &mut Cases)) -> usize {
    let bed = Real(TestLab::up(managers, workers));
    if let Some(engine) = engine {
        let version = || bed.0.docker("m1", &["version", "--format", "{{.Server.Version}}"]);
        let own = version();
        for host in &bed.0.lab.hosts {
            host.stop_engine();
            host.use_engine(Some(engine)).unwrap();
            host.start_engine().unwrap();
        }
        assert_ne!(version(), own, "another engine answers");
    }
    let mut cases = Cases::default();
    part(&Suite::new(&bed), &mut cases).await;
    cases.names().len()
}

#[test]
fn the_simulator_answers_as_engines_do() {
    assert_eq!(simulated(&["m1", "m2", "w1"], async |s, c| s.growing(c).await), GROWING);
    assert_eq!(simulated(&["m1", "m2", "w1", "w2", "w3", "w4"], async |s, c| s.failing_joins(c).await), FAILING);
    assert_eq!(simulated(&["m1", "m2", "m3", "w1", "w2"], async |s, c| s.quorum(c).await), QUORUM);
    assert_eq!(simulated(&["m1", "m2", "w1"], async |s, c| s.keys(c).await), KEYS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engines_answer_so_while_a_swarm_grows() {
    assert_eq!(real(2, 1, async |s, c| s.growing(c).await).await, GROWING);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engines_answer_so_to_joins_that_fail() {
    assert_eq!(real(2, 4, async |s, c| s.failing_joins(c).await).await, FAILING);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engines_answer_so_when_managers_die() {
    assert_eq!(real(3, 2, async |s, c| s.quorum(c).await).await, QUORUM);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engines_answer_so_about_keys_and_roots() {
    assert_eq!(real(2, 1, async |s, c| s.keys(c).await).await, KEYS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full"]
async fn newer_engines_answer_so_while_a_swarm_grows() {
    for engine in engines::newer() {
        assert_eq!(on(Some(engine), 2, 1, async |s, c| s.growing(c).await).await, GROWING, "{}", engine.display());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full"]
async fn the_newest_engine_answers_so_to_joins_that_fail() {
    if let Some(engine) = engines::newer().last() {
        assert_eq!(on(Some(engine), 2, 4, async |s, c| s.failing_joins(c).await).await, FAILING);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full"]
async fn the_newest_engine_answers_so_when_managers_die() {
    if let Some(engine) = engines::newer().last() {
        assert_eq!(on(Some(engine), 3, 2, async |s, c| s.quorum(c).await).await, QUORUM);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full"]
async fn the_newest_engine_answers_so_about_keys_and_roots() {
    if let Some(engine) = engines::newer().last() {
        assert_eq!(on(Some(engine), 2, 1, async |s, c| s.keys(c).await).await, KEYS);
    }
}
