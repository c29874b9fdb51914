//! What engines say, in their own words. The sources are named where a rule is; each text is pinned against a real engine by the
//! conformance suite.

use swarm_core::engine::Kind;
use swarm_core::id::NodeId;

/// An HTTP error answer of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) status: u16,
    pub(crate) text: String,
}

fn words(status: u16, text: impl Into<String>) -> Words {
    Words { status, text: text.into() }
}

// moby `daemon/cluster/errors.go`.

pub(crate) fn not_in_swarm() -> Words {
    words(
        503,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
    )
}

pub(crate) fn worker_asked() -> Words {
    words(
        503,
        "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager.",
    )
}

pub(crate) fn being_prepared() -> Words {
    words(503, "This node is not a swarm manager. Manager is being prepared or has trouble connecting to the cluster.")
}

pub(crate) fn locked() -> Words {
    words(503, "Swarm is encrypted and needs to be unlocked before it can be used. Please use \"docker swarm unlock\" to unlock it.")
}

pub(crate) fn leave_locked() -> Words {
    words(503, "Swarm is encrypted and locked. Please unlock it first or use \"--force\" to ignore this message.")
}

pub(crate) fn already_in() -> Words {
    words(503, "This node is already part of a swarm. Use \"docker swarm leave\" to leave this swarm and join another one.")
}

pub(crate) fn nothing_to_leave() -> Words {
    words(503, "This node is not part of a swarm")
}

pub(crate) fn join_goes_on() -> Words {
    words(
        503,
        "Timeout was reached before node joined. The attempt to join the swarm will continue in the background. Use the \"docker info\" command to see the current swarm status of your node.",
    )
}

pub(crate) fn leave_as_manager(last: bool) -> Words {
    let more = if last {
        "Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message. "
    } else {
        "Removing this node leaves the managers without one of them; demote it first. Use `--force` to ignore this message."
    };
    words(503, format!("You are attempting to leave the swarm on a node that is participating as a manager. {more}"))
}

pub(crate) fn live_restore() -> Words {
    words(500, "--live-restore daemon configuration is incompatible with swarm mode")
}

pub(crate) fn port_taken() -> Words {
    words(500, "failed to listen on remote API address: listen tcp 0.0.0.0:2377: bind: address already in use")
}

pub(crate) fn disk_full() -> Words {
    words(500, "mkdir /var/lib/docker/swarm/state: no space left on device")
}

pub(crate) fn no_room_for_raft() -> Words {
    words(500, "manager stopped: can't initialize raft node: failed to create WAL: no space left on device")
}

/// What an engine says whose manager's log cannot grow, between two starts of that manager.
pub(crate) fn log_cannot_grow() -> Words {
    words(500, "manager stopped: can't initialize raft node: WAL error cannot be repaired: unexpected EOF")
}

/// What a promoted engine says whose first manager is one no more.
pub(crate) fn old_manager_gone(remote: &str) -> String {
    format!("manager stopped: can't initialize raft node: {}", refused(remote).text)
}

pub(crate) fn not_in_raft() -> Words {
    words(404, "rpc error: code = NotFound desc = can't find manager in raft memberlist")
}

// swarmkit `manager/state/raft`, `manager/controlapi`, `ca`.

pub(crate) fn no_leader() -> Words {
    words(
        500,
        "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are online. Make sure more than half of the managers are online.",
    )
}

pub(crate) fn deadline() -> Words {
    words(500, "rpc error: code = DeadlineExceeded desc = context deadline exceeded")
}

pub(crate) fn bad_token() -> Words {
    words(500, "invalid join token")
}

pub(crate) fn token_refused() -> Words {
    words(400, "rpc error: code = InvalidArgument desc = A valid join token is necessary to join this cluster")
}

pub(crate) fn foreign_ca(expected: &str) -> Words {
    words(500, format!("remote CA does not match fingerprint. Expected: {expected}"))
}

pub(crate) fn not_yet_valid() -> Words {
    words(
        500,
        "error while validating Root CA Certificate: x509: certificate has expired or is not yet valid: current time is before the certificate's",
    )
}

pub(crate) fn refused(remote: &str) -> Words {
    words(
        503,
        format!(
            "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing dial tcp {remote}: connect: connection refused\""
        ),
    )
}

pub(crate) fn silent(remote: &str) -> Words {
    words(
        503,
        format!(
            "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing dial tcp {remote}: i/o timeout\""
        ),
    )
}

pub(crate) fn no_dial_back() -> Words {
    words(
        500,
        "can't initialize raft node: rpc error: code = Unknown desc = could not connect to prospective new cluster member using its advertised address: rpc error: code = DeadlineExceeded desc = context deadline exceeded",
    )
}

pub(crate) fn out_of_sequence() -> Words {
    words(500, "rpc error: code = Unknown desc = update out of sequence")
}

pub(crate) fn last_manager() -> Words {
    words(400, "rpc error: code = FailedPrecondition desc = attempting to demote the last manager of the swarm")
}

pub(crate) fn loss_of_quorum() -> Words {
    words(400, "rpc error: code = FailedPrecondition desc = can't remove member from the raft: this would result in a loss of quorum")
}

pub(crate) fn no_such_node(id: &NodeId) -> Words {
    words(404, format!("node {id} not found"))
}

pub(crate) fn member_of_raft(id: &NodeId) -> Words {
    words(
        400,
        format!(
            "rpc error: code = FailedPrecondition desc = node {id} is a cluster manager and is a member of the raft cluster. It must be demoted to worker before removal"
        ),
    )
}

pub(crate) fn not_down(id: &NodeId) -> Words {
    words(400, format!("rpc error: code = FailedPrecondition desc = node {id} is not down and can't be removed"))
}

pub(crate) fn no_authority() -> Words {
    let what = "there must be at least one valid, reachable external CA corresponding to the desired CA certificate";
    words(400, format!("rpc error: code = InvalidArgument desc = {what}"))
}

pub(crate) fn not_locked() -> Words {
    words(409, "swarm is not locked")
}

pub(crate) fn bad_key() -> Words {
    words(400, "invalid key string")
}

pub(crate) fn wrong_key() -> Words {
    words(401, "swarm could not be unlocked: invalid key provided")
}

/// An answer that no one has seen before.
pub(crate) fn odd() -> Words {
    words(500, "something went wrong in a way that is not written down anywhere")
}

// Objects: moby `daemon/cluster`, swarmkit `manager/controlapi`.

pub(crate) fn no_such_object(kind: Kind, id: &str) -> Words {
    words(404, format!("{kind} {id} not found"))
}

/// Of a network that a service is to be in: a refusal, and not a 404 (measured on 20.10).
pub(crate) fn no_such_network(name: &str) -> Words {
    words(500, format!("network {name} not found"))
}

/// Of a network that the swarm has no more, and that an engine still has.
pub(crate) fn network_there(name: &str) -> Words {
    words(409, format!("network with name {name} already exists"))
}

/// Of a secret or a config.
pub(crate) fn only_labels() -> Words {
    words(400, "rpc error: code = InvalidArgument desc = only updates to Labels are allowed")
}

pub(crate) fn no_such_reference(kind: Kind, id: &str) -> Words {
    words(400, format!("rpc error: code = InvalidArgument desc = {kind} not found: {id}"))
}

pub(crate) fn name_taken(kind: Kind, name: &str) -> Words {
    words(409, format!("rpc error: code = AlreadyExists desc = name conflicts with an existing object: {kind} {name} already exists"))
}

pub(crate) fn in_use(kind: Kind, name: &str, user: &str) -> Words {
    words(400, format!("rpc error: code = InvalidArgument desc = {kind} '{name}' is in use by the following service: {user}"))
}

pub(crate) fn network_in_use(id: &str) -> Words {
    words(400, format!("rpc error: code = FailedPrecondition desc = network {id} is in use by task"))
}
