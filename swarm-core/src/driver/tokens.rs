//! Join tokens, for as long as a run lasts. Each is asked for once, and again if an engine refuses it.

use crate::engine::{Engine, EngineError};
use crate::id::HostName;
use crate::plan::{Action, Plan};
use crate::secret::Secret;
use crate::spec::Role;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The tokens of one run.
pub(super) struct Tokens {
    /// The roles that the plan joins hosts with: no other token is ever asked for.
    wanted: BTreeSet<Role>,
    kept: Mutex<BTreeMap<(HostName, Role), Secret>>,
}

impl Tokens {
    pub(super) fn new(plan: &Plan) -> Self {
        let role = |action: &Action| match action {
            Action::Join { role, .. } => Some(*role),
            _ => None,
        };
        Self { wanted: plan.steps.iter().filter_map(|s| role(&s.action)).collect(), kept: Mutex::default() }
    }

    /// The token for a role, from a manager. Nobody waits for anybody else's question: a manager that is slow holds up only those who
    /// ask it.
    pub(super) async fn take(&self, via: &HostName, manager: &dyn Engine, role: Role) -> Result<Secret, EngineError> {
        let key = (via.clone(), role);
        if let Some(token) = self.kept().get(&key) {
            return Ok(token.clone());
        }
        let token = manager.join_token(role).await?;
        self.kept().insert(key, token.clone());
        Ok(token)
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
