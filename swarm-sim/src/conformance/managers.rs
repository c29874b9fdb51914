//! The parts about managers: how many must live, and what they keep.

use super::*;

impl Suite<'_> {
    /// Managers die, and a worker reaches one that does not lead. Hosts: `m1`, `m2`, `m3`, `w1`, `w2`.
    pub async fn quorum(&self, c: &mut Cases) {
        let bed = self.bed;
        self.become_swarm(&["m1", "m2", "m3"], &["w1"]).await;
        let e1 = bed.engine("m1").await;
        let (second, third, worker) = (self.id("m2").await, self.id("m3").await, self.id("w1").await);
        bed.kill("m3").await;
        // Every manager passes on what is the leader's (swarmkit `manager/manager.go`, the raft proxies).
        bed.cut("m1", "w2").await;
        let token = e1.join_token(Role::Worker).await.unwrap();
        let answer = bed.engine("w2").await.join(&self.join("w2", "m2"), &token).await;
        c.yes("a join through another manager, out of the leader's reach", answer);
        let entry = self.node("m1", &self.id("w2").await).await;
        c.is("it is ready", entry.state == NodeState::Ready, &entry);
        bed.cut("m1", "w1").await;
        until("the dead manager is unreachable", 40, || async { !self.node("m1", &third).await.is_reachable_manager() }).await;
        c.is("it is still counted", self.node("m1", &third).await.manager.is_some(), &"");
        let answer = self.update("m1", &second, &role(Role::Worker)).await;
        c.no("a demotion that would cost the quorum", answer, ErrorClass::Refused, Reason::Quorum, "loss of quorum");
        until("the dead manager is down", 40, || async { self.node("m1", &third).await.state == NodeState::Down }).await;
        // The leader does not reach this worker either. It tries the managers it knows by chance, the dead one and the leader too, so it may
        // count as down for a while.
        until("a worker turns to another manager", 120, || async { self.node("m1", &worker).await.state == NodeState::Ready }).await;
        c.is("the engine of a worker that turned to another manager is active", self.state("w1").await == LocalState::Active, &"");
        bed.heal(&[]).await;
        let answer = e1.remove_node(&third, Force::Yes).await;
        c.no("a dead manager is removed", answer, ErrorClass::Conflict, Reason::NodeInUse, "is a member of the raft cluster");
        c.yes("a dead manager is demoted", self.update("m1", &third, &role(Role::Worker)).await);
        until("it is out of raft", 30, || async { self.node("m1", &third).await.manager.is_none() }).await;
        c.yes("then it is removed", e1.remove_node(&third, Force::No).await);

        // Two managers: one dies, and nothing can be changed.
        bed.kill("m2").await;
        until("there is no leader", 60, || async { matches!(e1.nodes().await, Err(e) if e.reason == Reason::NoLeader) }).await;
        let leader = "does not have a leader";
        c.no("nodes without a leader", e1.nodes().await, ErrorClass::Unreachable, Reason::NoLeader, leader);
        c.no("the swarm without a leader", e1.cluster().await, ErrorClass::Unreachable, Reason::NoLeader, leader);
        c.no("a token without a leader", e1.join_token(Role::Worker).await, ErrorClass::Unreachable, Reason::NoLeader, leader);
        let answer = e1.remove_node(&second, Force::No).await;
        c.no("a removal without a leader", answer, ErrorClass::Unknown, Reason::NoLeader, leader);
        let lost = e1.info().await.unwrap().swarm;
        c.is("a manager without a leader is active and in control", lost.reported == LocalState::Active && lost.control_available, &lost);
        c.is("it names no swarm", lost.cluster.is_none(), &lost);
        c.is("a worker without a leader is active", self.state("w1").await == LocalState::Active, &"");
        bed.start("m2").await;
        until("there is a leader again", 90, || async { e1.nodes().await.is_ok() }).await;
        until("both managers are reachable", 60, || async {
            e1.nodes().await.is_ok_and(|nodes| nodes.iter().filter(|n| n.is_reachable_manager()).count() == 2)
        })
        .await;
        until("everybody is ready", 60, || async { e1.nodes().await.is_ok_and(|nodes| nodes.iter().all(|n| n.state == NodeState::Ready)) })
            .await;
        c.is("the quorum came back with its manager", e1.cluster().await.is_ok(), &"");

        // A manager that is forced out keeps its vote.
        c.yes("a manager leaves by force", bed.engine("m2").await.leave(Force::Yes).await);
        until("the other has lost its quorum", 60, || async { matches!(e1.nodes().await, Err(e) if e.reason == Reason::NoLeader) }).await;
        c.is("it has taken the quorum along", self.state("m2").await == LocalState::Inactive, &"");
    }

    /// Keys and roots. Hosts: `m1`, `m2`, `w1`.
    pub async fn keys(&self, c: &mut Cases) {
        let bed = self.bed;
        self.become_swarm(&["m1", "m2"], &["w1"]).await;
        let e1 = bed.engine("m1").await;
        c.yes("autolock on", e1.update_swarm(&autolock(true), None).await);
        let key = e1.unlock_key().await.unwrap();
        c.is("there is an unlock key", key.as_ref().is_some_and(|k| k.expose().starts_with("SWMKEY-1-")), &"");
        let key = key.unwrap();
        until("the other manager has it too", 20, || async {
            matches!(bed.engine("m2").await.unlock_key().await, Ok(Some(k)) if k.fingerprint() == key.fingerprint())
        })
        .await;
        bed.restart("m2").await;
        until("it waits for its key", 20, || async { self.state("m2").await == LocalState::Locked }).await;
        let e2 = bed.engine("m2").await;
        let local = e2.info().await.unwrap().swarm;
        c.is("a locked engine is not in control and names no swarm", !local.control_available && local.cluster.is_none(), &local);
        let locked = "Swarm is encrypted and needs to be unlocked";
        c.no("nodes of a locked engine", e2.nodes().await, ErrorClass::Refused, Reason::Locked, locked);
        c.no("the swarm of a locked engine", e2.cluster().await, ErrorClass::Refused, Reason::Locked, locked);
        c.no("a token of a locked engine", e2.join_token(Role::Worker).await, ErrorClass::Refused, Reason::Locked, locked);
        let already = "already part of a swarm";
        c.no("a locked engine makes a swarm", e2.init(&self.init("m2")).await, ErrorClass::Conflict, Reason::AlreadyInSwarm, already);
        let answer = e2.leave(Force::No).await;
        c.no("a locked engine leaves", answer, ErrorClass::Refused, Reason::Locked, "locked");
        c.no("unlocking with no key", e2.unlock(&Secret::new("no key")).await, ErrorClass::Refused, Reason::Other, "invalid key");
        let wrong = Secret::new(format!("SWMKEY-1-{}", "A".repeat(43)));
        c.no("unlocking with a wrong key", e2.unlock(&wrong).await, ErrorClass::Refused, Reason::Locked, "invalid key provided");
        c.yes("unlocking", e2.unlock(&key).await);
        until("it is a manager again", 40, || async { bed.engine("m2").await.nodes().await.is_ok() }).await;
        let print = key.fingerprint();
        let replace = |part: Part, was: &str| SwarmChange { replace: [(part, was.to_owned())].into(), ..SwarmChange::default() };
        c.yes("another unlock key", e1.update_swarm(&replace(Part::UnlockKey, &print), None).await);
        let now = e1.unlock_key().await.unwrap().map(|k| k.fingerprint());
        c.is("the unlock key is another", now.is_some() && now.as_ref() != Some(&print), &"");
        let again = e1.update_swarm(&replace(Part::UnlockKey, &print), None).await;
        c.is("what was replaced stays", again.is_err_and(|e| e.class == ErrorClass::AlreadySo), &"");
        c.yes("autolock off", e1.update_swarm(&autolock(false), None).await);
        c.is("no unlock key any more", e1.unlock_key().await.unwrap().is_none(), &"");

        let cluster = e1.cluster().await.unwrap();
        let token = e1.join_token(Role::Worker).await.unwrap();
        c.is("a token names the root", token_root(&token) == cluster.root_digest.as_deref(), &cluster);
        let is = |part: Part| cluster.fingerprints.get(&part).cloned().unwrap_or_default();
        c.is("a token is known by its fingerprint", token_fingerprint(token.expose()) == is(Part::WorkerToken), &"");
        c.yes("another worker token", e1.update_swarm(&replace(Part::WorkerToken, &is(Part::WorkerToken)), None).await);
        let after = e1.cluster().await.unwrap().fingerprints;
        c.is("the worker token is another", after[&Part::WorkerToken] != is(Part::WorkerToken), &after);
        c.is("the manager token stays", after[&Part::ManagerToken] == is(Part::ManagerToken), &after);
        c.is("every node is of the root", e1.nodes().await.unwrap().iter().all(|n| n.root == after[&Part::Root]), &after);

        let given = GivenRoot { certificate: include_str!("root.pem").to_owned(), key: None };
        let given = SwarmChange { root: Some(given), ..replace(Part::Root, &is(Part::Root)) };
        let says = "at least one valid, reachable external CA corresponding to the desired CA certificate";
        c.no("a root that no one signs with", e1.update_swarm(&given, None).await, ErrorClass::Refused, Reason::Other, says);

        let before = (e1.join_token(Role::Worker).await.unwrap(), e1.join_token(Role::Manager).await.unwrap());
        c.yes("another root", e1.update_swarm(&replace(Part::Root, &is(Part::Root)), None).await);
        let during = e1.cluster().await.unwrap();
        c.is("the new root's key is named at once", during.fingerprints[&Part::Root] != is(Part::Root), &during);
        until("the root is new", 60, || async {
            let rotates = e1.cluster().await.is_ok_and(|c| c.root_rotation_in_progress);
            let token = e1.join_token(Role::Worker).await;
            !rotates && token.is_ok_and(|t| t.expose() != before.0.expose())
        })
        .await;
        let manager = e1.join_token(Role::Manager).await.unwrap();
        c.is("both tokens are new with the root", manager.expose() != before.1.expose(), &"");
        let (old, new) = (before.1.expose().split('-').nth(2), manager.expose().split('-').nth(2));
        c.is("and name the new root", old != new, &"");
    }
}
