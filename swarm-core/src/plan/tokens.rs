//! Join tokens that are good for one run only.

use super::{Action, Risk, Step};
use crate::credential::Part;
use crate::engine::SwarmChange;
use crate::id::StepId;
use crate::observe::Observed;
use crate::spec::{ClusterSpec, RotateTokens};
use crate::step;

/// The step that replaces the tokens when every host has joined that this plan lets join, where the file wants that.
pub(super) fn rotation(spec: &ClusterSpec, observed: &Observed, steps: &[Step]) -> Option<Step> {
    let joins = |s: &&Step| matches!(s.action, Action::Join(_));
    if spec.policy().rotate_tokens == RotateTokens::Never || !steps.iter().any(|s| joins(&s)) {
        return None;
    }
    // A manager that stays, or the one that makes the swarm.
    let makes = |s: &&Step| matches!(s.action, Action::Init(_));
    let host = steps.iter().find(makes).and_then(|s| s.host.clone());
    let host = host.or_else(|| observed.answering_manager().cloned())?;
    let known = observed.view().map(|v| &v.cluster.fingerprints);
    // The tokens of a swarm that is yet to be made have no fingerprint: whatever they are, they are replaced.
    let was = |part: Part| (part, known.and_then(|k| k.get(&part)).cloned().unwrap_or_default());
    let change = SwarmChange { replace: [was(Part::WorkerToken), was(Part::ManagerToken)].into(), ..SwarmChange::default() };
    Some(Step {
        id: StepId::new("swarm/rotate-tokens"),
        host: Some(host),
        action: Action::UpdateSwarm(step::UpdateSwarm { change }),
        before: "the join tokens that this run uses".into(),
        after: "new ones".into(),
        needs: steps.iter().filter(joins).map(|s| s.id.clone()).collect(),
        expect: None,
        because: "the file wants tokens to be good for one run only".into(),
        risk: Risk::None,
    })
}
