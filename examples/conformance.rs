//! The questions that the simulated engines are held to, put to engines of one's own: here those of the simulator, behind a bed that counts how
//! often each host is asked. In your product `engine` returns your own implementation.
#![allow(clippy::print_stdout, reason = "a program shows its result")]

use async_trait::async_trait;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use swarm_core::engine::Engine;
use swarm_sim::conformance::{Bed, Cases, Simulated, Suite};

struct Mine {
    hosts: Simulated,
    asked: Mutex<BTreeMap<String, usize>>,
}

#[async_trait]
impl Bed for Mine {
    async fn engine(&self, host: &str) -> Arc<dyn Engine> {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner).entry(host.to_owned()).or_default() += 1;
        self.hosts.engine(host).await
    }

    // What happens to hosts: your test bed does it to its own.
    fn address(&self, host: &str) -> IpAddr {
        self.hosts.address(host)
    }
    async fn kill(&self, host: &str) {
        self.hosts.kill(host).await;
    }
    async fn start(&self, host: &str) {
        self.hosts.start(host).await;
    }
    async fn restart(&self, host: &str) {
        self.hosts.restart(host).await;
    }
    async fn cut(&self, a: &str, b: &str) {
        self.hosts.cut(a, b).await;
    }
    async fn heal(&self, but: &[&str]) {
        self.hosts.heal(but).await;
    }
    async fn freeze(&self, host: &str) {
        self.hosts.freeze(host).await;
    }
    async fn lose(&self, host: &str) {
        self.hosts.lose(host).await;
    }
    async fn fill(&self, host: &str) {
        self.hosts.fill(host).await;
    }
    async fn wipe(&self, host: &str) {
        self.hosts.wipe(host).await;
    }
    async fn close_port(&self, host: &str) {
        self.hosts.close_port(host).await;
    }
    async fn rotate_tokens(&self, manager: &str) {
        self.hosts.rotate_tokens(manager).await;
    }
    async fn service(&self, manager: &str) {
        self.hosts.service(manager).await;
    }
    async fn certificate(&self, host: &str) -> Vec<u8> {
        self.hosts.certificate(host).await
    }
}

fn main() {
    swarm_sim::run(async {
        let bed = Mine { hosts: Simulated::new(&["m1", "m2", "w1"], "28.5.2"), asked: Mutex::default() };
        let mut cases = Cases::default();
        // A case that does not hold ends the program and says what was seen.
        Suite::new(&bed).growing(&mut cases).await;
        let asked = bed.asked.lock().unwrap_or_else(PoisonError::into_inner);
        println!("{} cases hold; engines were asked for: {asked:?}", cases.names().len());
    });
}
