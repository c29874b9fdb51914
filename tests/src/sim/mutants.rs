//! A tool that is broken on purpose, one rule at a time: what it hears and what it sends are bent on the way, as a wrong line in it would.

use async_trait::async_trait;
use std::sync::Arc;
use swarm_core::engine::{
    Engine, EngineError, ErrorClass, Force, InitRequest, JoinRequest, Membership, MembershipRead, NodeChange, Objects, ObjectsRead, Stores,
    StoresRead, Streams, StreamsRead, SwarmChange,
};
use swarm_core::fleet::{Actor, Fleet, FleetRead, Reader};
use swarm_core::id::{HostName, NodeId};
use swarm_core::observe::{ClusterFacts, EngineFacts, LocalState, NodeFacts, NodeState, ReachError};
use swarm_core::secret::Secret;
use swarm_core::spec::{HostSpec, Role};
use swarm_sim::SimFleet;

/// A rule, broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say what is wrong")]
pub enum Broken {
    UnreachableIsStandalone,
    WorkersAreStandalone,
    WorkersAreDown,
    EveryLeaveIsForced,
    VersionsAreGuessed,
    LostJoinsAreSentAgain,
    JoinsAreTriedFiveTimes,
    TokensAreQuoted,
    EverybodyGetsTheManagerToken,
    TokensAreAlwaysAskedFor,
    LooksChangeThings,
    RotationIsIgnored,
    LooksNeverEnd,
    UpdatesAreSwallowed,
    HostKeysAreIgnored,
    OneFailureSpoilsAll,
    LabelsAreForgotten,
    ListsLackWorkers,
    EveryManagerIsReached,
    FailedJoinsAreForgotten,
}

/// A fleet with that flaw.
pub struct Mutant {
    /// The honest one.
    pub honest: SimFleet,
    /// What is wrong.
    pub broken: Broken,
}

struct Bent {
    inner: Option<Arc<dyn Engine>>,
    host: HostName,
    broken: Broken,
}

impl Mutant {
    fn bend(&self, host: &HostName, actor: Result<Actor, ReachError>) -> Result<Actor, ReachError> {
        let bent = |inner: Option<Arc<dyn Engine>>| Bent { inner, host: host.clone(), broken: self.broken };
        match (actor, self.broken) {
            (Ok(actor), _) => Ok(Actor { host: actor.host, engine: Arc::new(bent(Some(actor.engine))) }),
            (Err(_), Broken::UnreachableIsStandalone) => Ok(Actor { host: None, engine: Arc::new(bent(None)) }),
            (Err(_), Broken::HostKeysAreIgnored) => {
                Ok(Actor { host: None, engine: Arc::new(bent(Some(self.honest.engine(host.as_str())))) })
            }
            (Err(error), _) => Err(error),
        }
    }
}

#[async_trait]
impl FleetRead for Mutant {
    async fn reader(&self, host: &HostSpec) -> Result<Reader, ReachError> {
        let actor = self.actor(host).await?;
        Ok(Reader { host: actor.host.map(|h| h as _), engine: actor.engine })
    }
}

#[async_trait]
impl Fleet for Mutant {
    async fn actor(&self, host: &HostSpec) -> Result<Actor, ReachError> {
        self.bend(&host.name, self.honest.actor(host).await)
    }
}

impl Bent {
    fn inner(&self) -> Result<&Arc<dyn Engine>, EngineError> {
        let gone = EngineError {
            doing: "connecting",
            class: ErrorClass::Unreachable,
            reason: swarm_core::engine::Reason::Other,
            message: "no answer".into(),
        };
        self.inner.as_ref().ok_or(gone)
    }

    fn seen(&self, mut node: NodeFacts) -> NodeFacts {
        match self.broken {
            Broken::WorkersAreDown if node.manager.is_none() => node.state = NodeState::Down,
            Broken::LabelsAreForgotten => node.labels.clear(),
            Broken::EveryManagerIsReached => {
                if let Some(manager) = &mut node.manager {
                    manager.reachability = swarm_core::observe::Reachability::Reachable;
                }
                node.state = NodeState::Ready;
            }
            Broken::UpdatesAreSwallowed => {
                node.labels.insert("rack".into(), "a".into());
            }
            _ => {}
        }
        node
    }
}

#[async_trait]
impl MembershipRead for Bent {
    async fn info(&self) -> Result<EngineFacts, EngineError> {
        if self.inner.is_none() {
            return Ok(EngineFacts::outside(self.host.as_str().into(), self.host.as_str(), "28.0.0"));
        }
        if self.broken == Broken::LooksChangeThings {
            let _ = self.inner()?.leave(Force::No).await;
        }
        if self.broken == Broken::LooksNeverEnd {
            for _ in 0..6_000 {
                self.inner()?.info().await?;
            }
        }
        let mut facts = self.inner()?.info().await?;
        if self.broken == Broken::WorkersAreStandalone && !facts.swarm.control_available {
            facts.swarm.reported = LocalState::Inactive;
            facts.swarm.node = None;
        }
        Ok(facts)
    }

    async fn cluster(&self) -> Result<ClusterFacts, EngineError> {
        let mut facts = self.inner()?.cluster().await?;
        facts.root_rotation_in_progress &= self.broken != Broken::RotationIsIgnored;
        Ok(facts)
    }

    async fn nodes(&self) -> Result<Vec<NodeFacts>, EngineError> {
        if self.broken == Broken::TokensAreAlwaysAskedFor {
            self.inner()?.join_token(Role::Manager).await?;
        }
        let mut nodes = self.inner()?.nodes().await?;
        nodes.retain(|n| self.broken != Broken::ListsLackWorkers || n.role == Role::Manager);
        nodes.retain(|n| self.broken != Broken::FailedJoinsAreForgotten || !n.hostname.is_empty());
        Ok(nodes.into_iter().map(|n| self.seen(n)).collect())
    }

    async fn node(&self, id: &NodeId) -> Result<NodeFacts, EngineError> {
        Ok(self.seen(self.inner()?.node(id).await?))
    }

    async fn unlock_key(&self) -> Result<Option<Secret>, EngineError> {
        self.inner()?.unlock_key().await
    }

    async fn service_count(&self) -> Result<usize, EngineError> {
        self.inner()?.service_count().await
    }
}

impl ObjectsRead for Bent {}
impl StoresRead for Bent {}
impl Stores for Bent {}
impl StreamsRead for Bent {}
impl Streams for Bent {}
impl Objects for Bent {}

#[async_trait]
impl Membership for Bent {
    async fn init(&self, request: &InitRequest) -> Result<(), EngineError> {
        self.inner()?.init(request).await
    }

    async fn join(&self, request: &JoinRequest, token: &Secret) -> Result<(), EngineError> {
        let inner = self.inner()?;
        if self.broken == Broken::OneFailureSpoilsAll && self.host.as_str().starts_with('w') {
            return Err(EngineError {
                doing: "joining the swarm",
                class: ErrorClass::Refused,
                reason: swarm_core::engine::Reason::Other,
                message: "another host failed".into(),
            });
        }
        let mut answer = inner.join(request, token).await;
        match (&answer, self.broken) {
            (Err(error), Broken::LostJoinsAreSentAgain) if error.class == ErrorClass::Unknown => answer = inner.join(request, token).await,
            (Err(_), Broken::JoinsAreTriedFiveTimes) => {
                for _ in 0..4 {
                    inner.info().await?;
                    answer = inner.join(request, token).await;
                }
            }
            (Err(error), Broken::TokensAreQuoted) => {
                answer = Err(EngineError { message: format!("{}, with {}", error.message, token.expose()), ..error.clone() });
            }
            _ => {}
        }
        answer
    }

    async fn leave(&self, force: Force) -> Result<(), EngineError> {
        self.inner()?.leave(if self.broken == Broken::EveryLeaveIsForced { Force::Yes } else { force }).await
    }

    async fn join_token(&self, role: Role) -> Result<Secret, EngineError> {
        let role = if self.broken == Broken::EverybodyGetsTheManagerToken { Role::Manager } else { role };
        self.inner()?.join_token(role).await
    }

    async fn unlock(&self, key: &Secret) -> Result<(), EngineError> {
        self.inner()?.unlock(key).await
    }

    async fn force_new_cluster(&self, advertise: std::net::IpAddr, listen: &str) -> Result<(), EngineError> {
        self.inner()?.force_new_cluster(advertise, listen).await
    }

    async fn update_swarm(&self, change: &SwarmChange, root_key: Option<Secret>) -> Result<(), EngineError> {
        self.inner()?.update_swarm(change, root_key).await
    }

    async fn update_node(&self, id: &NodeId, version: u64, change: &NodeChange) -> Result<(), EngineError> {
        match self.broken {
            Broken::UpdatesAreSwallowed => Ok(()),
            Broken::VersionsAreGuessed => self.inner()?.update_node(id, version + 1, change).await,
            _ => self.inner()?.update_node(id, version, change).await,
        }
    }

    async fn remove_node(&self, id: &NodeId, force: Force) -> Result<(), EngineError> {
        self.inner()?.remove_node(id, force).await
    }
}
