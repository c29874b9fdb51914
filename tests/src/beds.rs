//! The beds of the conformance suite: engines in the lab, and engines in memory of the same version.

use crate::lab::TestLab;
use async_trait::async_trait;
use std::net::IpAddr;
use std::sync::Arc;
use swarm_core::engine::Engine;
use swarm_docker::DockerEngine;
use swarm_sim::conformance::{Bed, Simulated};

/// Hosts of a lab.
pub struct Real(pub TestLab);

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

    async fn heal(&self, but: &[&str]) {
        for host in self.0.lab.hosts.iter().filter(|h| !but.contains(&h.name.as_str())) {
            host.heal().unwrap();
        }
    }

    async fn freeze(&self, host: &str) {
        self.0.host(host).freeze().unwrap();
    }

    async fn lose(&self, host: &str) {
        self.0.host(host).lose(20).unwrap();
    }

    async fn fill(&self, host: &str) {
        let host = self.0.host(host);
        host.fill(30_000_000).unwrap();
        host.stop_engine();
        host.start_engine().unwrap();
    }

    async fn wipe(&self, host: &str) {
        let host = self.0.host(host);
        host.stop_engine();
        host.exec(&["sh", "-c", "find /var/lib/docker/swarm -mindepth 1 -delete"]).unwrap();
        host.start_engine().unwrap();
    }

    async fn close_port(&self, host: &str) {
        self.0.host(host).exec(&["iptables", "-w", "-I", "INPUT", "-p", "tcp", "--dport", "2377", "-j", "DROP"]).unwrap();
    }

    async fn rotate_tokens(&self, manager: &str) {
        for role in ["worker", "manager"] {
            self.0.docker(manager, &["swarm", "join-token", "--rotate", "--quiet", role]);
        }
    }

    async fn service(&self, manager: &str) {
        let nowhere = ["--constraint", "node.labels.no==where", "--detach", "--no-resolve-image", "--name", "nowhere"];
        self.0.docker(manager, &[&["service", "create"], &nowhere[..], &["busybox"]].concat());
    }

    async fn certificate(&self, host: &str) -> Vec<u8> {
        std::fs::read(self.0.host(host).data_dir().join("swarm/certificates/swarm-node.crt")).unwrap()
    }
}

/// A world with these hosts, none in a swarm, and engines as they are installed here.
pub fn simulated(hosts: &[&str]) -> Simulated {
    Simulated::new(hosts, crate::engines::version())
}
