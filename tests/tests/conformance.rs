//! The conformance suite on both beds: real engines in the lab, and the simulator, which must answer as they do.

use async_trait::async_trait;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use swarm_core::engine::Engine;
use swarm_docker::DockerEngine;
use swarm_sim::{Befall, HostOptions, SimFleet, World};
use swarm_tests::conformance::{Bed, Cases, Suite};
use swarm_tests::engines;
use swarm_tests::lab::TestLab;

struct Real(TestLab);

#[async_trait]
impl Bed for Real {
    async fn engine(&self, host: &str) -> Arc<dyn Engine> {
        Arc::new(DockerEngine::local(self.0.host(host).socket().to_str().unwrap()).await.unwrap())
    }

    fn address(&self, host: &str) -> IpAddr {
        self.0.host(host).address
    }

    async fn kill(&self, host: &str) {
        self.0.host(host).kill(true).unwrap();
    }

    async fn start(&self, host: &str) {
        self.0.host(host).start().unwrap();
        self.0.host(host).wait_up().unwrap();
    }

    async fn restart(&self, host: &str) {
        self.0.host(host).stop_engine();
        self.0.host(host).start_engine().unwrap();
    }

    async fn cut(&self, a: &str, b: &str) {
        let (a, b) = (self.0.host(a), self.0.host(b));
        a.cut(b.address).unwrap();
        b.cut(a.address).unwrap();
    }

    async fn heal(&self) {
        for host in &self.0.lab.hosts {
            host.heal().unwrap();
        }
    }

    async fn close_port(&self, host: &str) {
        self.0.host(host).exec(&["iptables", "-w", "-I", "INPUT", "-p", "tcp", "--dport", "2377", "-j", "DROP"]).unwrap();
    }

    async fn rotate_tokens(&self, manager: &str) {
        for role in ["worker", "manager"] {
            self.0.docker(manager, &["swarm", "join-token", "--rotate", "--quiet", role]);
        }
    }

    async fn rotate_root(&self, manager: &str) {
        self.0.docker(manager, &["swarm", "ca", "--rotate", "--detach"]);
    }

    async fn service(&self, manager: &str) {
        let nowhere = ["--constraint", "node.labels.no==where", "--detach", "--no-resolve-image", "--name", "nowhere"];
        self.0.docker(manager, &[&["service", "create"], &nowhere[..], &["busybox"]].concat());
    }

    async fn certificate(&self, host: &str) -> Vec<u8> {
        std::fs::read(self.0.host(host).data_dir().join("swarm/certificates/swarm-node.crt")).unwrap()
    }
}

struct Simulated {
    world: World,
    fleet: SimFleet,
}

impl Simulated {
    fn new(hosts: &[&str]) -> Self {
        let world = World::new(1);
        for (index, host) in hosts.iter().enumerate() {
            world.add_host(HostOptions::new(host, IpAddr::from([10, 0, 0, index as u8 + 1])));
        }
        let fleet = world.fleet("suite");
        Self { world, fleet }
    }
}

#[async_trait]
impl Bed for Simulated {
    async fn engine(&self, host: &str) -> Arc<dyn Engine> {
        self.fleet.engine(host)
    }

    fn address(&self, host: &str) -> IpAddr {
        self.world.address(host).unwrap()
    }

    async fn kill(&self, host: &str) {
        self.world.kill(host);
    }

    async fn start(&self, host: &str) {
        self.world.start(host);
    }

    async fn restart(&self, host: &str) {
        self.world.reboot(host);
    }

    async fn cut(&self, a: &str, b: &str) {
        self.world.cut(a, b);
    }

    async fn heal(&self) {
        self.world.heal();
        for host in self.world.hosts() {
            self.world.befall(&Befall::PortFree(host));
        }
    }

    async fn close_port(&self, host: &str) {
        self.world.befall(&Befall::PortClosed(host.into()));
    }

    async fn rotate_tokens(&self, _manager: &str) {
        assert!(self.world.befall(&Befall::TokensRotated));
    }

    async fn rotate_root(&self, _manager: &str) {
        assert!(self.world.befall(&Befall::RootRotated));
    }

    async fn service(&self, manager: &str) {
        assert!(self.world.service(manager, "nowhere", Some(1), Some(("no", "where"))));
    }

    async fn certificate(&self, host: &str) -> Vec<u8> {
        self.fleet.host(host).read_file("/var/lib/docker/swarm/certificates/swarm-node.crt", 65536).await.unwrap()
    }
}

/// The cases that one part has; the same number on both beds.
const GROWING: usize = 85;
const FAILING: usize = 20;
const QUORUM: usize = 18;
const KEYS: usize = 15;

fn simulated(hosts: &[&str], part: impl AsyncFn(&Suite<'_>, &mut Cases)) -> usize {
    swarm_sim::run(async {
        let bed = Simulated::new(hosts);
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
async fn newer_engines_answer_so_while_a_swarm_grows() {
    for engine in engines::newer() {
        assert_eq!(on(Some(engine), 2, 1, async |s, c| s.growing(c).await).await, GROWING, "{}", engine.display());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_engine_answers_so_to_joins_that_fail() {
    if let Some(engine) = engines::newer().last() {
        assert_eq!(on(Some(engine), 2, 4, async |s, c| s.failing_joins(c).await).await, FAILING);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_engine_answers_so_when_managers_die() {
    if let Some(engine) = engines::newer().last() {
        assert_eq!(on(Some(engine), 3, 2, async |s, c| s.quorum(c).await).await, QUORUM);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_engine_answers_so_about_keys_and_roots() {
    if let Some(engine) = engines::newer().last() {
        assert_eq!(on(Some(engine), 2, 1, async |s, c| s.keys(c).await).await, KEYS);
    }
}
