//! Mocks of the traits, for unit tests: a host and an engine that answer what a test sets up.
//!
//! For anything about how a swarm behaves, use a real engine: a mock proves only what its author believed.
#![allow(missing_docs, clippy::indexing_slicing, clippy::panic, reason = "most of this is written by mockall")]

use crate::engine::{
    ContainerFacts, EngineError, EventQuery, Exec, ExecRequest, Force, ImageFacts, InitRequest, JoinRequest, Kind, LogLines, LogQuery,
    Membership, MembershipRead, NodeChange, Object, Objects, ObjectsRead, Query, Sealed, Stores, StoresRead, Streams, StreamsRead,
    SwarmChange, SwarmEvents, VolumeFacts,
};
use crate::host::{BoxStream, Command, Host, HostError, HostProbe, Output};
use crate::id::{HostName, NodeId};
use crate::observe::{ClusterFacts, EngineFacts, MachineFacts, NodeFacts};
use crate::secret::Secret;
use crate::spec::Role;
use async_trait::async_trait;

mockall::mock! {
    /// An engine.
    pub Docker {}

    #[async_trait]
    impl MembershipRead for Docker {
        async fn info(&self) -> Result<EngineFacts, EngineError>;
        async fn cluster(&self) -> Result<ClusterFacts, EngineError>;
        async fn nodes(&self) -> Result<Vec<NodeFacts>, EngineError>;
        async fn node(&self, id: &NodeId) -> Result<NodeFacts, EngineError>;
        async fn unlock_key(&self) -> Result<Option<Secret>, EngineError>;
        async fn service_count(&self) -> Result<usize, EngineError>;
    }

    #[async_trait]
    impl Membership for Docker {
        async fn init(&self, request: &InitRequest) -> Result<(), EngineError>;
        async fn join(&self, request: &JoinRequest, token: &Secret) -> Result<(), EngineError>;
        async fn leave(&self, force: Force) -> Result<(), EngineError>;
        async fn join_token(&self, role: Role) -> Result<Secret, EngineError>;
        async fn unlock(&self, key: &Secret) -> Result<(), EngineError>;
        async fn force_new_cluster(&self, advertise: std::net::IpAddr, listen: &str) -> Result<(), EngineError>;
        async fn update_swarm(&self, change: &SwarmChange, root_key: Option<Secret>) -> Result<(), EngineError>;
        async fn update_node(&self, id: &NodeId, version: u64, change: &NodeChange) -> Result<(), EngineError>;
        async fn remove_node(&self, id: &NodeId, force: Force) -> Result<(), EngineError>;
    }

    #[async_trait]
    impl ObjectsRead for Docker {
        async fn list(&self, query: &Query) -> Result<Vec<Object>, EngineError>;
        async fn get(&self, kind: Kind, id: &str) -> Result<Object, EngineError>;
    }

    #[async_trait]
    impl StreamsRead for Docker {
        async fn logs(&self, query: &LogQuery) -> Result<LogLines, EngineError>;
        async fn events(&self, query: &EventQuery) -> Result<SwarmEvents, EngineError>;
    }

    #[async_trait]
    impl StoresRead for Docker {
        async fn volumes(&self) -> Result<Vec<VolumeFacts>, EngineError>;
        async fn images(&self) -> Result<Vec<ImageFacts>, EngineError>;
        async fn containers(&self) -> Result<Vec<ContainerFacts>, EngineError>;
    }

    #[async_trait]
    impl Stores for Docker {
        async fn remove_volume(&self, name: &str) -> Result<(), EngineError>;
        async fn remove_image(&self, reference: &str) -> Result<(), EngineError>;
    }

    #[async_trait]
    impl Streams for Docker {
        async fn exec(&self, request: &ExecRequest) -> Result<Exec, EngineError>;
        async fn exec_resize(&self, id: &str, size: (u16, u16)) -> Result<(), EngineError>;
        async fn exec_code(&self, id: &str) -> Result<Option<i64>, EngineError>;
    }

    #[async_trait]
    impl Objects for Docker {
        async fn create(&self, kind: Kind, body: &Sealed) -> Result<String, EngineError>;
        async fn update(&self, kind: Kind, id: &str, version: u64, body: &Sealed, rollback: bool) -> Result<(), EngineError>;
        async fn remove(&self, kind: Kind, id: &str) -> Result<(), EngineError>;
    }
}

mockall::mock! {
    /// A machine.
    pub Machine {}

    #[async_trait]
    impl HostProbe for Machine {
        fn name(&self) -> &HostName;
        async fn machine(&self) -> Result<MachineFacts, HostError>;
        async fn probe(&self, script: &'static str) -> Result<String, HostError>;
        async fn read_file(&self, path: &str, limit: usize) -> Result<Vec<u8>, HostError>;
    }

    #[async_trait]
    impl Host for Machine {
        async fn run(&self, command: &Command) -> Result<Output, HostError>;
        async fn open_stream(&self, socket: &str) -> Result<BoxStream, HostError>;
        async fn put_file(&self, path: &str, mode: u32, content: &[u8]) -> Result<(), HostError>;
    }
}
