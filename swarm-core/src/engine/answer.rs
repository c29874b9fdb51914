//! The table from an engine's error answers to what they mean. The texts are the engine's own (moby `daemon/cluster/errors.go`
//! and swarmkit); where a later look can decide, nothing is decided by a text alone.

use serde::{Deserialize, Serialize};

/// What an error means for what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorClass {
    /// It was so already.
    AlreadySo,
    /// The world is not what it was: look and decide again.
    Conflict,
    /// Not done, and saying it again will not help.
    Refused,
    /// Not done: the engine was not reached, or is not ready.
    Unreachable,
    /// It may have been done.
    Unknown,
}

/// What an error means for what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The engine's answer is not what such an answer is.
    Unreadable,
    /// Nothing more is known.
    Other,
    /// The engine is in a swarm already.
    AlreadyInSwarm,
    /// The engine is in no swarm, or no manager: ask another one.
    NotManager,
    /// The engine becomes a manager: ask again.
    NotReady,
    /// The join goes on behind our back.
    JoinGoesOn,
    /// There is no leader: an election, or a lost quorum.
    NoLeader,
    /// The version was not the newest.
    OutOfSequence,
    /// Only labels of such an object can be changed, and more of it was to be.
    OnlyLabels,
    /// The token is not, or no longer, valid.
    TokenRejected,
    /// The other side's CA is not the token's.
    ForeignCa,
    /// The other side does not reach the joining manager.
    DialBack,
    /// A manager was not reached by the engine.
    RemoteUnreachable,
    /// The engine waits for the unlock key.
    Locked,
    /// It would cost the quorum, or the last manager.
    Quorum,
    /// Another manager is not healthy, and managers are changed only while all others are.
    Unhealthy,
    /// The disk is full.
    NoSpace,
    /// The node is no member of raft.
    NotInRaft,
    /// The node must be demoted, or be down, first.
    NodeInUse,
    /// There is no such object.
    NotFound,
    /// The node was removed from the swarm.
    Removed,
}

/// Judges an error answer. `mutating` says whether the call would have changed something.
pub fn classify_answer(status: u16, message: &str, mutating: bool) -> (ErrorClass, Reason) {
    use ErrorClass::{AlreadySo, Conflict, Refused, Unknown, Unreachable};
    let in_doubt = if mutating { Unknown } else { Unreachable };
    let table: &[(&str, ErrorClass, Reason)] = &[
        // The root cause first: what an engine says around it is the outcome.
        ("no space left on device", in_doubt, Reason::NoSpace),
        ("can't find manager in raft memberlist", Conflict, Reason::NotInRaft),
        ("Timeout was reached before node joined", Unknown, Reason::JoinGoesOn),
        ("already part of a swarm", Conflict, Reason::AlreadyInSwarm),
        ("not part of a swarm", AlreadySo, Reason::NotManager),
        ("Manager is being prepared", Unreachable, Reason::NotReady),
        ("Swarm is encrypted and needs to be unlocked", Refused, Reason::Locked),
        ("encrypted and locked", Refused, Reason::Locked),
        ("swarm is not locked", AlreadySo, Reason::Other),
        ("invalid key provided", Refused, Reason::Locked),
        ("not a swarm manager", Conflict, Reason::NotManager),
        ("certificates have expired", Refused, Reason::Removed),
        ("attempting to leave the swarm on a node that is participating as a manager", Refused, Reason::Quorum),
        ("demote the last manager", Refused, Reason::Quorum),
        ("would result in a loss of quorum", Refused, Reason::Quorum),
        ("is a member of the raft cluster", Conflict, Reason::NodeInUse),
        ("is not down and can't be removed", Conflict, Reason::NodeInUse),
        ("does not have a leader", in_doubt, Reason::NoLeader),
        ("more than half of the managers are online", in_doubt, Reason::NoLeader),
        ("update out of sequence", Conflict, Reason::OutOfSequence),
        ("only updates to Labels are allowed", Refused, Reason::OnlyLabels),
        ("could not connect to prospective new cluster member", Refused, Reason::DialBack),
        ("remote CA does not match fingerprint", Conflict, Reason::ForeignCa),
        ("A valid join token is necessary", Conflict, Reason::TokenRejected),
        ("invalid join token", Refused, Reason::TokenRejected),
        ("was removed from swarm", Refused, Reason::Removed),
        ("incompatible with swarm mode", Refused, Reason::Other),
        ("address already in use", Refused, Reason::Other),
        ("DeadlineExceeded", in_doubt, Reason::NoLeader),
        ("context deadline exceeded", in_doubt, Reason::NoLeader),
        ("code = Unavailable", in_doubt, Reason::RemoteUnreachable),
        ("connection refused", in_doubt, Reason::RemoteUnreachable),
        ("no route to host", in_doubt, Reason::RemoteUnreachable),
        ("transport is closing", in_doubt, Reason::RemoteUnreachable),
    ];
    if let Some((_, class, reason)) = table.iter().find(|(text, _, _)| message.contains(text)) {
        return (*class, *reason);
    }
    // A service is to be in a network that is not there: engines say so with a 500.
    if message.starts_with("network ") && message.trim_end().ends_with(" not found") {
        return (Conflict, Reason::NotFound);
    }
    match status {
        404 => (Conflict, Reason::NotFound),
        409 => (Conflict, Reason::Other),
        400..=499 => (Refused, Reason::Other),
        _ => (if mutating { Unknown } else { Refused }, Reason::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_unknown_text_of_a_change_is_never_a_plain_no(status in 500u16..600, text in "[a-z ]{0,40}") {
            let (class, _) = classify_answer(status, &text, true);
            prop_assert!(matches!(class, ErrorClass::Unknown));
        }
    }

    #[test]
    fn a_network_that_is_not_there_is_a_plain_no() {
        assert_eq!(classify_answer(500, "network app_default not found", true), (ErrorClass::Conflict, Reason::NotFound));
        for other in ["network app_default is odd", "a task was not found"] {
            assert_eq!(classify_answer(500, other, true), (ErrorClass::Unknown, Reason::Other), "{other}");
        }
    }

    #[test]
    fn what_no_text_says_is_read_from_the_status() {
        for (status, class, reason) in [
            (404, ErrorClass::Conflict, Reason::NotFound),
            (409, ErrorClass::Conflict, Reason::Other),
            (400, ErrorClass::Refused, Reason::Other),
            (429, ErrorClass::Refused, Reason::Other),
            (503, ErrorClass::Unknown, Reason::Other),
        ] {
            assert_eq!(classify_answer(status, "odd", true), (class, reason), "{status}");
        }
    }

    #[test]
    fn a_change_that_met_no_leader_is_in_doubt_and_a_question_is_not() {
        let text = "rpc error: code = Unknown desc = The swarm does not have a leader.";
        assert_eq!(classify_answer(500, text, true), (ErrorClass::Unknown, Reason::NoLeader));
        assert_eq!(classify_answer(500, text, false), (ErrorClass::Unreachable, Reason::NoLeader));
    }
}
