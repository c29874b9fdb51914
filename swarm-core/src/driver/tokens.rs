//! Join tokens, for as long as a run lasts. Each is asked for once, and again if an engine refuses it.

use crate::credential::token_root;
use crate::engine::{Engine, EngineError, ErrorClass, Reason};
use crate::id::{ClusterId, HostName};
use crate::plan::{Action, Plan};
use crate::secret::Secret;
use crate::spec::Role;
use crate::step;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The tokens of one run.
pub(super) struct Tokens {
    /// The roles that the plan joins hosts with: no other token is ever asked for.
    wanted: BTreeSet<Role>,
    /// The swarm that the plan is about; `None` where it is yet to be made.
    swarm: Option<ClusterId>,
    kept: Mutex<BTreeMap<(HostName, Role), Secret>>,
}

impl Tokens {
    pub(super) fn new(plan: &Plan, swarm: Option<ClusterId>) -> Self {
        let role = |action: &Action| match action {
            Action::Join(step::Join { role, .. }) => Some(*role),
            _ => None,
        };
        Self { wanted: plan.steps.iter().filter_map(|s| role(&s.action)).collect(), swarm, kept: Mutex::default() }
    }

    /// The token for a role, from a manager. No one waits for anyone else's question: a manager that is slow holds up only those who
    /// ask it.
    pub(super) async fn take(&self, via: &HostName, manager: &dyn Engine, role: Role) -> Result<Secret, EngineError> {
        let key = (via.clone(), role);
        if let Some(token) = self.kept().get(&key) {
            return Ok(token.clone());
        }
        // Asked side by side: whoever left the swarm and made another one since the look must not be joined.
        let (token, same) = tokio::join!(manager.join_token(role), self.same_swarm(manager));
        let token = token?;
        // A token names the root that the joining engine will ask for: it is the one that the manager's own certificate is from.
        let root = same?;
        if root.as_deref().is_some_and(|root| token_root(&token) != Some(root)) {
            let message = "the join token names another root certificate than the manager has: the root was just replaced".into();
            let (class, reason) = (ErrorClass::Conflict, Reason::TokenRejected);
            return Err(EngineError { doing: "reading the join token", class, reason, message });
        }
        self.kept().insert(key, token.clone());
        Ok(token)
    }

    /// A manager is in the swarm that was looked at, by its id. Gives the digest of its root, where it was asked for it.
    pub(super) async fn same_swarm(&self, manager: &dyn Engine) -> Result<Option<String>, EngineError> {
        let Some(planned) = &self.swarm else { return Ok(None) };
        let cluster = manager.cluster().await?;
        let is = cluster.id;
        if is == *planned {
            return Ok(cluster.root_digest);
        }
        let message = format!("the manager is in swarm {is} now, and was in swarm {planned} when this was planned: someone made a new one");
        Err(EngineError { doing: "asking which swarm it is", class: ErrorClass::Refused, reason: Reason::Other, message })
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<(HostName, Role), Secret>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks a manager for what joins will need, while something else is asked of it: a round trip less for the joins.
    pub(super) async fn prepare(&self, via: &HostName, manager: &dyn Engine) {
        for role in &self.wanted {
            if self.take(via, manager, *role).await.is_err() {
                return;
            }
        }
    }

    /// An engine did not take this token: it was replaced meanwhile.
    pub(super) fn forget(&self, via: &HostName, role: Role) {
        self.kept().remove(&(via.clone(), role));
    }
}
