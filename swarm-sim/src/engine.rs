//! The traits of swarm-core on a simulated host.

use crate::fault::CallKind;
use crate::fleet::{Asked, SimHost};
use crate::invariant::Sent;
use crate::world::api::Said;
use crate::world::join::parse_token;
use crate::world::probe::ProbeCall;
use crate::world::state::{Program, REQUEST_TIMEOUT, Ran, State};
use crate::world::words;
use async_trait::async_trait;
use std::net::IpAddr;
use std::time::Duration;
use swarm_core::engine::{
    EngineError, ErrorClass, Force, InitRequest, JoinRequest, Membership, MembershipRead, NodeChange, Reason, SwarmChange,
};
use swarm_core::host::{BoxStream, Command, Host, HostError, HostProbe, Output};
use swarm_core::id::{HostName, NodeId};
use swarm_core::observe::{ClusterFacts, EngineFacts, MachineFacts, NodeFacts, ReachErrorKind};
use swarm_core::secret::Secret;
use swarm_core::spec::Role;

#[async_trait]
impl HostProbe for SimHost {
    fn name(&self) -> &HostName {
        &self.name
    }

    async fn machine(&self) -> Result<MachineFacts, HostError> {
        let look = |state: &State| state.host(&self.name).map(|h| state.machine_facts(h)).ok_or_else(|| "there is no such host".to_owned());
        self.look(CallKind::Machine, "looking at the machine", look).await
    }

    async fn probe(&self, _script: &'static str) -> Result<String, HostError> {
        Err(HostError::Unexpected { host: self.name.clone(), message: "a simulated host has no shell".into() })
    }

    async fn read_file(&self, path: &str, limit: usize) -> Result<Vec<u8>, HostError> {
        let look = |state: &State| {
            let pem = state.host(&self.name).and_then(|h| state.certificate_pem(h));
            match pem.filter(|_| path.ends_with("swarm-node.crt")) {
                Some(pem) if pem.len() <= limit => Ok(pem.into_bytes()),
                Some(_) => Err(format!("{path} is too large")),
                None => Err(format!("{path}: no such file or directory")),
            }
        };
        self.look(CallKind::ReadFile, "reading a file", look).await
    }
}

impl SimHost {
    /// Runs something on the host, which takes its time there.
    async fn ran(&self, sent: Sent<'_>, mut program: impl FnMut(&mut State) -> Ran) -> Result<Output, HostError> {
        let doing = "running a program";
        let ran = self.call(Asked { kind: CallKind::Run, doing, sent }, |state| Said::Now(program(state))).await;
        let (takes, status, printed) = ran.map_err(|error| match error.class {
            ErrorClass::Unknown => HostError::Lost { host: self.name.clone(), doing, message: error.message },
            _ => HostError::Unreachable { message: error.message, retry: true },
        })?;
        tokio::time::sleep(takes).await;
        Ok(Output { status: Some(status), stdout: printed.into_bytes(), stderr: Vec::new() })
    }
}

#[async_trait]
impl Host for SimHost {
    async fn run(&self, command: &Command) -> Result<Output, HostError> {
        if let Some(call) = ProbeCall::of(&command.argv) {
            let input = String::from_utf8_lossy(command.stdin.as_deref().unwrap_or_default()).into_owned();
            return self.ran(Sent::Read(CallKind::Run), |state| state.probes(&self.name, call, &input)).await;
        }
        let found = self.with(|state| state.program(&command.argv));
        let Some((name, program)) = found else {
            let name = command.argv.first().cloned().unwrap_or_default();
            let message = format!("a simulated host has no program {name}");
            return Err(HostError::Unexpected { host: self.name.clone(), message });
        };
        let stops_engine = matches!(program, Program::RestartsEngine(_) | Program::StopsEngine | Program::PlacesState(..));
        let sent = if program == Program::SaysReady { Sent::Read(CallKind::Run) } else { Sent::Run { program: &name, stops_engine } };
        self.ran(sent, |state| state.runs_program(&self.name, program)).await
    }

    async fn open_stream(&self, socket: &str) -> Result<BoxStream, HostError> {
        let message = format!("a simulated host has no socket {socket}");
        Err(HostError::NoSocket { message, kind: ReachErrorKind::Unusable })
    }

    async fn put_file(&self, path: &str, _mode: u32, _content: &[u8]) -> Result<(), HostError> {
        Err(HostError::Unexpected { host: self.name.clone(), message: format!("a simulated host has no place for {path}") })
    }
}

#[async_trait]
impl MembershipRead for SimHost {
    async fn info(&self) -> Result<EngineFacts, EngineError> {
        let began = tokio::time::Instant::now();
        let asked = Asked { kind: CallKind::Info, doing: "asking the engine for its state", sent: Sent::Read(CallKind::Info) };
        let engine = |state: &mut State| {
            let Some(host) = state.host(&self.name).cloned() else { return Said::No(words::not_in_swarm()) };
            match state.engine_facts(&host) {
                // A manager without a leader says so in the end, and still is an engine that answers.
                Said::Wait if began.elapsed() + Duration::from_secs(1) >= REQUEST_TIMEOUT => {
                    Said::Now(state.engine_facts_without_leader(&host))
                }
                said => said,
            }
        };
        let facts = self.call(asked, engine).await?;
        self.with(|state| state.note_info(&self.fleet.operator, &self.name, &facts));
        Ok(facts)
    }

    async fn cluster(&self) -> Result<ClusterFacts, EngineError> {
        let facts = self.read(CallKind::Cluster, "reading the swarm", |state| state.cluster(&self.name)).await?;
        self.with(|state| state.note_cluster(&self.fleet.operator, &self.name, &facts));
        Ok(facts)
    }

    async fn nodes(&self) -> Result<Vec<NodeFacts>, EngineError> {
        let nodes = self.read(CallKind::Nodes, "listing the nodes", |state| state.nodes(&self.name)).await?;
        self.with(|state| state.note_nodes(&self.fleet.operator, &self.name, &nodes));
        Ok(nodes)
    }

    async fn node(&self, id: &NodeId) -> Result<NodeFacts, EngineError> {
        let node = self.read(CallKind::Node, "reading a node", |state| state.node(&self.name, id)).await?;
        self.with(|state| state.note_node(&self.fleet.operator, &node));
        Ok(node)
    }

    async fn unlock_key(&self) -> Result<Option<Secret>, EngineError> {
        self.read(CallKind::UnlockKey, "reading the unlock key", |state| state.unlock_key(&self.name)).await
    }

    async fn service_count(&self) -> Result<usize, EngineError> {
        let count = self.read(CallKind::ServiceCount, "listing the services", |state| state.service_count(&self.name)).await?;
        self.with(|state| state.note_services(&self.fleet.operator, count));
        Ok(count)
    }
}

#[async_trait]
impl Membership for SimHost {
    async fn init(&self, request: &InitRequest) -> Result<(), EngineError> {
        let asked = Asked { kind: CallKind::Init, doing: "making the swarm", sent: Sent::Init };
        self.operate(asked, |state| state.init(&self.name, request)).await
    }

    async fn force_new_cluster(&self, advertise: IpAddr, _listen: &str) -> Result<(), EngineError> {
        let asked = Asked { kind: CallKind::Init, doing: "making it the only manager", sent: Sent::ForceNewCluster };
        self.call(asked, |state| state.force_new_cluster(&self.name, advertise).map_or_else(Said::No, Said::Now)).await
    }

    async fn join(&self, request: &JoinRequest, token: &Secret) -> Result<(), EngineError> {
        let secret = parse_token(token.expose()).map(|(_, secret)| secret);
        let role = self.with(|state| {
            let is = |role: Role| state.swarms.iter().any(|s| Some(s.token(role)) == Some(token.expose().to_owned()));
            // A token that was rotated away is recognised by its first letter, which says what it was made for.
            let was = secret.as_ref().is_some_and(|s| s.starts_with('m'));
            if is(Role::Manager) || was { Role::Manager } else { Role::Worker }
        });
        let asked = Asked { kind: CallKind::Join, doing: "joining the swarm", sent: Sent::Join { role } };
        let begin = |state: &mut State| {
            let id = state.join(&self.name, request, token.expose())?;
            if let Some(watch) = state.watches.by_operator.get_mut(&*self.fleet.operator) {
                watch.took_join(&self.name);
            }
            Ok(id)
        };
        self.operate(asked, begin).await
    }

    async fn leave(&self, force: Force) -> Result<(), EngineError> {
        let asked = Asked { kind: CallKind::Leave, doing: "leaving the swarm", sent: Sent::Leave { force } };
        self.call(asked, |state| state.leave(&self.name, force).map_or_else(Said::No, Said::Now)).await
    }

    async fn join_token(&self, role: Role) -> Result<Secret, EngineError> {
        let asked = Asked { kind: CallKind::JoinToken, doing: "reading the join token", sent: Sent::Token { role } };
        self.call(asked, |state| state.join_token(&self.name, role)).await
    }

    async fn unlock(&self, key: &Secret) -> Result<(), EngineError> {
        let asked = Asked { kind: CallKind::Unlock, doing: "unlocking the swarm", sent: Sent::Unlock };
        self.call(asked, |state| state.unlock(&self.name, key).map_or_else(Said::No, Said::Now)).await
    }

    async fn update_swarm(&self, change: &SwarmChange, _: Option<Secret>) -> Result<(), EngineError> {
        let asked = Asked { kind: CallKind::UpdateSwarm, doing: "changing the swarm", sent: Sent::UpdateSwarm { change } };
        let doing = asked.doing;
        match self.call(asked, |state| state.update_swarm(&self.name, change)).await? {
            true => Ok(()),
            false => {
                let message = "already up to date".into();
                Err(EngineError { doing, class: ErrorClass::AlreadySo, reason: Reason::Other, message })
            }
        }
    }

    async fn update_node(&self, id: &NodeId, version: u64, change: &NodeChange) -> Result<(), EngineError> {
        let asked = Asked { kind: CallKind::UpdateNode, doing: "changing a node", sent: Sent::UpdateNode { id, version, change } };
        self.call(asked, |state| state.update_node(&self.name, id, version, change)).await
    }

    async fn remove_node(&self, id: &NodeId, force: Force) -> Result<(), EngineError> {
        let asked = Asked { kind: CallKind::RemoveNode, doing: "removing a node", sent: Sent::RemoveNode { id, force } };
        self.call(asked, |state| state.remove_node(&self.name, id, force)).await
    }
}
