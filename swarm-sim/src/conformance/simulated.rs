//! The simulated engines of this crate as a bed of the suite.

use super::Bed;
use crate::{HostOptions, Incident, SimFleet, World};
use async_trait::async_trait;
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;
use swarm_core::engine::{Body, Engine, Kind, NoPayloads, Sealed};

/// Hosts of a simulated world.
pub struct Simulated {
    /// The world.
    pub world: World,
    fleet: SimFleet,
}

impl Simulated {
    /// A world with these hosts, none in a swarm, and engines of a version.
    pub fn new(hosts: &[&str], version: &str) -> Self {
        let world = World::new(1);
        for (index, host) in hosts.iter().enumerate() {
            let options = HostOptions::new(host, IpAddr::from([10, 0, 0, index as u8 + 1]));
            world.add_host(HostOptions { engine: Some(version.to_owned()), ..options });
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

    async fn heal(&self, but: &[&str]) {
        self.world.heal();
        for host in self.world.hosts().into_iter().filter(|h| !but.contains(&h.as_str())) {
            for undone in [
                Incident::PortFree(host.clone()),
                Incident::DiskFree(host.clone()),
                Incident::Slow(host.clone(), std::time::Duration::ZERO),
                Incident::Lossy(host.clone(), false),
                Incident::EngineThaws(host),
            ] {
                self.world.cause(&undone);
            }
        }
    }

    async fn freeze(&self, host: &str) {
        self.world.cause(&Incident::EngineFreezes(host.into()));
    }

    /// TCP repeats what is lost.
    async fn lose(&self, host: &str) {
        self.world.cause(&Incident::Lossy(host.into(), true));
        self.world.cause(&Incident::Slow(host.into(), std::time::Duration::from_millis(200)));
    }

    async fn fill(&self, host: &str) {
        self.world.reboot(host);
        self.world.cause(&Incident::DiskLow(host.into()));
    }

    async fn wipe(&self, host: &str) {
        self.world.cause(&Incident::StateLost(host.into()));
    }

    async fn close_port(&self, host: &str) {
        self.world.cause(&Incident::PortClosed(host.into()));
    }

    async fn rotate_tokens(&self, _manager: &str) {
        assert!(self.world.cause(&Incident::TokensRotated));
    }

    async fn service(&self, manager: &str) {
        // What `docker service create` sends.
        let spec = json!({
            "Name": "nowhere", "Labels": {}, "Mode": { "Replicated": { "Replicas": 1 } }, "EndpointSpec": { "Mode": "vip" },
            "TaskTemplate": {
                "ContainerSpec": { "Image": "busybox:latest", "DNSConfig": {}, "Init": false, "Isolation": "default" },
                "Placement": { "Constraints": ["node.labels.no==where"] }, "Resources": { "Limits": {}, "Reservations": {} },
                "ForceUpdate": 0, "Runtime": "container",
            },
        });
        let sealed = Sealed::new(&Body::of(spec), &NoPayloads).unwrap();
        self.fleet.engine(manager).create(Kind::Service, &sealed).await.unwrap();
    }

    async fn certificate(&self, host: &str) -> Vec<u8> {
        self.fleet.host(host).read_file("/var/lib/docker/swarm/certificates/swarm-node.crt", 65536).await.unwrap()
    }
}
