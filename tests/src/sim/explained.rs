//! Whether a reason that a run gives is one that what happened to its world explains.

use swarm_core::plan::Refusal;
use swarm_sim::Incident;

/// Whether a refusal is what these events lead to, and is for a person to decide.
pub(super) fn fits(refusal: &Refusal, incidents: &[Incident]) -> bool {
    let happened = |fits: fn(&Incident) -> bool| incidents.iter().any(fits);
    let strangers = happened(|b| matches!(b, Incident::MakesOwnSwarm(_) | Incident::JoinsForeign(_)));
    let locked = happened(|b| matches!(b, Incident::AutolockOn))
        || happened(|b| matches!(b, Incident::Reboot(_) | Incident::PowerCut(_) | Incident::EngineStops(_) | Incident::LeaderPowerCut));
    let lost = happened(|b| {
        matches!(
            b,
            Incident::OperatorLeaves(_)
                | Incident::OperatorRemoves(_)
                | Incident::OperatorPromotes(_)
                | Incident::OperatorDemotes(_)
                | Incident::StateLost(_)
        )
    });
    match refusal {
        Refusal::ForeignSwarm { .. } | Refusal::SeveralSwarms { .. } => strangers || lost,
        // A manager that joined the swarm as it was lost is left with an error.
        Refusal::InitInDoubt { .. } => strangers || locked || lost,
        Refusal::Locked { .. } => locked,
        // Where one manager becomes two, nothing can take a second one back that dies as it comes.
        Refusal::NoLeader { .. } => lost || locked || happened(|b| matches!(b, Incident::DiskLow(_))),
        Refusal::Unknown { .. } => strangers || locked,
        Refusal::ManagersElsewhere { .. } => strangers || lost,
        Refusal::QuorumAtRisk { .. } => lost || locked,
        Refusal::UnknownState { .. } => strangers || lost || locked,
        _ => false,
    }
}

/// Whether a host is left out for what happened, or for others that are.
pub(super) fn explains(why: &str, incidents: &[Incident]) -> bool {
    // An entry of a join that was cut off before it had a name holds the root up until someone removes it: the text says which.
    if why.contains("root certificate") && why.contains("node rm --dead") {
        return incidents.iter().any(|b| matches!(b, Incident::RootRotated));
    }
    // It waits for others that were left out, each of which is explained itself.
    if why.starts_with("it stays a manager until") {
        return true;
    }
    let locked = incidents.iter().any(|b| {
        matches!(
            b,
            Incident::AutolockOn | Incident::Reboot(_) | Incident::PowerCut(_) | Incident::EngineStops(_) | Incident::LeaderPowerCut
        )
    });
    why.starts_with("locked") && locked
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L5, broken: a refusal that nothing explains is seen, and one that something explains is not.
    #[test]
    fn a_refusal_is_explained_by_what_happened_only() {
        let locked = Refusal::Locked { hosts: vec!["m1".into()], key_file: None };
        assert!(!fits(&locked, &[Incident::ServiceAppears]));
        assert!(fits(&locked, &[Incident::AutolockOn]));
        let other = Refusal::OtherName { cluster: "x".into(), name: "a".into(), wanted: "b".into() };
        assert!(!fits(&other, &[Incident::AutolockOn]));
    }
}
