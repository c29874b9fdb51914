//! What nodes are let in with, asked for by people: a join token, and how long certificates last.

use super::apply::{Apply, ApplyError};
use super::inspect::CERTIFICATE_LIMIT;
use crate::credential::token_root;
use crate::engine::{Body, EngineError, Sealed};
use crate::fleet::{Fleet, FleetRead};
use crate::id::HostName;
use crate::observe::{Certificate, HostState, Observed, certificate_from_pem};
use crate::plan::Refusal;
use crate::secret::Secret;
use crate::spec::Role;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use std::collections::{BTreeMap, BTreeSet};

impl<F: Fleet> Apply<'_, F> {
    /// The token that lets an engine join the file's swarm with this role, with the address of the manager that gave it. It names the root
    /// of the manager's own certificate, or it is an error.
    ///
    /// # Errors
    /// [`ApplyError::Refused`] where there is no swarm with a leader or its manager does not give the token.
    pub async fn join_token(&self, role: Role) -> Result<(Secret, String), ApplyError> {
        let observed = self.observe().await;
        let none = || ApplyError::Refused(vec![Refusal::NoSwarm]);
        let name = observed.answering_manager().ok_or_else(none)?;
        let seen = observed.hosts.get(name).ok_or_else(none)?;
        let failed = |message: String| ApplyError::Refused(vec![Refusal::UnknownState { host: name.clone(), why: message }]);
        let spec = self.spec.host(name).ok_or_else(none)?;
        let actor = self.fleet.actor(spec).await.map_err(|e| failed(e.to_string()))?;
        let said = |e: EngineError| failed(e.to_string());
        let (token, cluster) = tokio::try_join!(actor.engine.join_token(role), actor.engine.cluster()).map_err(said)?;
        if cluster.root_digest.as_deref().is_some_and(|root| token_root(&token) != Some(root)) {
            return Err(failed("its join token names another root certificate than its own: a root was just replaced; ask again".into()));
        }
        let address = seen.node.as_ref().and_then(|n| n.manager.as_ref()).map(|m| m.address.clone()).unwrap_or_default();
        Ok((token, address))
    }

    /// Which secrets hold something else than what these bodies have, by the ids of the secrets: a manager is asked to compare ([`crate::engine::Objects::holds`]
    /// of its engine). It is a call that changes nothing, and still none that a look makes.
    ///
    /// # Errors
    /// [`ApplyError::Refused`] where no manager answers, or one does not compare.
    pub async fn secrets_that_differ(&self, observed: &Observed, secrets: &[(String, Body)]) -> Result<BTreeSet<String>, ApplyError> {
        if secrets.is_empty() {
            return Ok(BTreeSet::new());
        }
        let name = observed.answering_manager().ok_or_else(|| ApplyError::Refused(vec![Refusal::NoSwarm]))?;
        let failed = |message: String| ApplyError::Refused(vec![Refusal::UnknownState { host: name.clone(), why: message }]);
        let spec = self.spec.host(name).ok_or_else(|| ApplyError::Refused(vec![Refusal::NoSwarm]))?;
        let engine = self.fleet.actor(spec).await.map_err(|e| failed(e.to_string()))?.engine;
        let mut differ = BTreeSet::new();
        for (id, body) in secrets {
            let sealed = Sealed::new(body, self.payloads).map_err(|e| failed(e.to_string()))?;
            if !engine.holds(id, &sealed).await.map_err(|e| failed(e.to_string()))? {
                differ.insert(id.clone());
            }
        }
        Ok(differ)
    }

    /// The certificate of every host of the file that is in a swarm, as it lies there.
    pub async fn certificates(&self, observed: &Observed) -> BTreeMap<HostName, Result<Certificate, String>> {
        let fleet: &dyn FleetRead = self.fleet;
        let looks = self.spec.hosts().filter_map(|host| {
            let seen = observed.hosts.get(&host.name)?;
            let root = seen.report.engine.as_ref().map(|e| e.data_root.clone()).map_err(|e| e.message.clone());
            if seen.state == HostState::Standalone {
                return None;
            }
            let look: BoxFuture<'_, _> = Box::pin(async move {
                let read = async {
                    let path = format!("{}/swarm/certificates/swarm-node.crt", root?);
                    let reader = fleet.reader(host).await.map_err(|e| e.message)?;
                    let machine = reader.host.as_ref().ok_or("the host's files cannot be read over this connection")?;
                    let pem = machine.read_file(&path, CERTIFICATE_LIMIT).await.map_err(|e| e.to_string())?;
                    certificate_from_pem(&pem).map_err(|e| format!("{path}: {e}"))
                };
                (host.name.clone(), read.await)
            });
            Some(look)
        });
        let concurrency = self.spec.policy().concurrency;
        stream::iter(looks.collect::<Vec<_>>()).buffer_unordered(concurrency).collect().await
    }
}
