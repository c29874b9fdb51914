//! One suite of questions for any implementation of [`Engine`]: real engines, the simulated ones of this crate, and your own. Each case
//! pins what Docker's engine answers; an implementation that answers otherwise will meet a tool that draws the wrong conclusion.
//!
//! Implement [`Bed`], which hands out engines and does to their hosts what happens to hosts, and run the parts that it can serve:
//!
//! ```no_run
//! # async fn f(bed: impl swarm_sim::conformance::Bed) {
//! use swarm_sim::conformance::{Cases, Suite};
//! let mut cases = Cases::default();
//! Suite::new(&bed).growing(&mut cases).await;
//! println!("{} cases hold", cases.names().len());
//! # }
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a suite of assertions: a case that does not hold ends it")]

mod managers;
mod simulated;

use async_trait::async_trait;
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use swarm_core::credential::{Part, token_fingerprint, token_root};
use swarm_core::engine::{
    Body, Engine, EngineError, ErrorClass, Force, GivenRoot, InitRequest, JoinRequest, Kind, NoPayloads, NodeChange, Query, Reason, Sealed,
    SwarmChange,
};
use swarm_core::id::NodeId;
use swarm_core::observe::{LocalState, NodeFacts, NodeState, identity_from_pem};
use swarm_core::secret::Secret;
use swarm_core::spec::{Availability, InitSettings, Role, SwarmSettings};
use tokio::time::{Instant, sleep};

pub use simulated::Simulated;

/// Hosts with engines, real or simulated: `m1`, `m2`, … and `w1`, `w2`, ….
#[async_trait]
pub trait Bed: Send + Sync {
    /// The engine of a host, over a new connection.
    async fn engine(&self, host: &str) -> Arc<dyn Engine>;
    /// The host's address.
    fn address(&self, host: &str) -> IpAddr;
    /// Cuts its power.
    async fn kill(&self, host: &str);
    /// Starts it.
    async fn start(&self, host: &str);
    /// Restarts its engine.
    async fn restart(&self, host: &str);
    /// Drops everything between two hosts.
    async fn cut(&self, a: &str, b: &str);
    /// Undoes every cut, loss, full disk and freeze, but not on hosts that are off.
    async fn heal(&self, but: &[&str]);
    /// Stops its engine where it stands.
    async fn freeze(&self, host: &str);
    /// Loses a fifth of the packets of a host, until [`Bed::heal`].
    async fn lose(&self, host: &str);
    /// Restarts its engine and leaves too little room for a raft log on its disk, until [`Bed::heal`].
    async fn fill(&self, host: &str);
    /// Restarts its engine without the state it kept.
    async fn wipe(&self, host: &str);
    /// Lets no one in on 2377.
    async fn close_port(&self, host: &str);
    /// `docker swarm join-token --rotate` for both roles.
    async fn rotate_tokens(&self, manager: &str);
    /// A service that runs on no node: its constraint fits none.
    async fn service(&self, manager: &str);
    /// The node certificate file.
    async fn certificate(&self, host: &str) -> Vec<u8>;
}

/// Counts cases, and says which one failed.
#[derive(Default)]
pub struct Cases(Vec<&'static str>);

impl Cases {
    /// The names of all cases so far.
    pub fn names(&self) -> &[&'static str] {
        &self.0
    }

    fn is(&mut self, name: &'static str, holds: bool, seen: &dyn Debug) {
        assert!(!self.0.contains(&name), "two cases are called {name}");
        assert!(holds, "{name}: {seen:?}");
        self.0.push(name);
    }

    fn no<T: Debug>(&mut self, name: &'static str, answer: Result<T, EngineError>, class: ErrorClass, reason: Reason, text: &str) {
        let fits = matches!(&answer, Err(e) if e.class == class && e.reason == reason && e.message.contains(text));
        self.is(name, fits, &(answer, class, reason, text));
    }

    fn yes<T: Debug>(&mut self, name: &'static str, answer: Result<T, EngineError>) -> T {
        assert!(answer.is_ok(), "{name}: {answer:?}");
        self.0.push(name);
        answer.unwrap()
    }
}

/// Polls until something is so.
async fn until<F: Future<Output = bool>>(what: &str, limit: u64, mut is_so: impl FnMut() -> F) {
    let end = Instant::now() + Duration::from_secs(limit);
    while !is_so().await {
        assert!(Instant::now() < end, "not within {limit} s: {what}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// A plain init.
pub fn init_request(advertise: IpAddr) -> InitRequest {
    InitRequest {
        advertise,
        listen: "0.0.0.0:2377".into(),
        data_path: None,
        availability: Availability::Active,
        settings: SwarmSettings::default(),
        init: InitSettings::default(),
        labels: [("a".to_owned(), "b".to_owned())].into(),
    }
}

/// A plain join.
pub fn join_request(advertise: IpAddr, to: IpAddr) -> JoinRequest {
    let remote = format!("{to}:2377");
    JoinRequest { advertise, listen: "0.0.0.0:2377".into(), data_path: None, availability: Availability::Active, remote }
}

/// What everything here is about, for one bed.
pub struct Suite<'a> {
    bed: &'a dyn Bed,
}

fn role(role: Role) -> NodeChange {
    NodeChange { role: Some(role), ..NodeChange::default() }
}

fn label(key: &str, value: Option<&str>) -> NodeChange {
    NodeChange { labels: [(key.to_owned(), value.map(str::to_owned))].into(), ..NodeChange::default() }
}

fn history(limit: i64) -> SwarmChange {
    SwarmChange { settings: SwarmSettings { task_history_limit: Some(limit), ..SwarmSettings::default() }, ..SwarmChange::default() }
}

fn autolock(on: bool) -> SwarmChange {
    SwarmChange { settings: SwarmSettings { autolock: Some(on), ..SwarmSettings::default() }, ..SwarmChange::default() }
}

const NOT_MANAGER: (ErrorClass, Reason) = (ErrorClass::Conflict, Reason::NotManager);

impl<'a> Suite<'a> {
    /// A suite over a bed that has just been made.
    pub fn new(bed: &'a dyn Bed) -> Self {
        Self { bed }
    }

    fn init(&self, host: &str) -> InitRequest {
        init_request(self.bed.address(host))
    }

    fn join(&self, host: &str, to: &str) -> JoinRequest {
        join_request(self.bed.address(host), self.bed.address(to))
    }

    async fn state(&self, host: &str) -> LocalState {
        self.bed.engine(host).await.info().await.unwrap().swarm.reported
    }

    async fn id(&self, host: &str) -> NodeId {
        self.bed.engine(host).await.info().await.unwrap().swarm.node.unwrap()
    }

    async fn node(&self, by: &str, id: &NodeId) -> NodeFacts {
        self.bed.engine(by).await.node(id).await.unwrap()
    }

    async fn become_swarm(&self, managers: &[&str], workers: &[&str]) {
        let first = self.bed.engine(managers[0]).await;
        first.init(&self.init(managers[0])).await.unwrap();
        for (hosts, role) in [(&managers[1..], Role::Manager), (workers, Role::Worker)] {
            for host in hosts {
                let token = first.join_token(role).await.unwrap();
                self.bed.engine(host).await.join(&self.join(host, managers[0]), &token).await.unwrap();
            }
        }
        until("all are there", 30, || async {
            let nodes = first.nodes().await.unwrap();
            nodes.iter().filter(|n| n.is_reachable_manager()).count() == managers.len()
                && nodes.iter().filter(|n| n.state == NodeState::Ready).count() == managers.len() + workers.len()
        })
        .await;
    }

    async fn update(&self, by: &str, id: &NodeId, change: &NodeChange) -> Result<(), EngineError> {
        let engine = self.bed.engine(by).await;
        // Another change may come in between: the version is read again, as everyone must.
        for _ in 0..20 {
            let version = engine.node(id).await?.version;
            match engine.update_node(id, version, change).await {
                Err(error) if error.reason == Reason::OutOfSequence => sleep(Duration::from_millis(50)).await,
                answer => return answer,
            }
        }
        panic!("the node never stands still");
    }

    /// An engine alone, a swarm of one, its first worker and its second manager. Hosts: `m1`, `m2`, `w1`.
    pub async fn growing(&self, c: &mut Cases) {
        let bed = self.bed;
        let (e1, e2, w1) = (bed.engine("m1").await, bed.engine("m2").await, bed.engine("w1").await);
        let no_node: NodeId = "nosuchnode".into();

        c.is("an engine alone is inactive", e1.info().await.unwrap().swarm.reported == LocalState::Inactive, &"");
        c.is("an engine alone has no node id", e1.info().await.unwrap().swarm.node.is_none(), &"");
        let alone = "not a swarm manager. Use \"docker swarm init\"";
        c.no("nodes of an engine alone", e1.nodes().await, NOT_MANAGER.0, NOT_MANAGER.1, alone);
        c.no("the swarm of an engine alone", e1.cluster().await, NOT_MANAGER.0, NOT_MANAGER.1, alone);
        c.no("a node of an engine alone", e1.node(&no_node).await, NOT_MANAGER.0, NOT_MANAGER.1, alone);
        c.no("the unlock key of an engine alone", e1.unlock_key().await, NOT_MANAGER.0, NOT_MANAGER.1, alone);
        c.no("the services of an engine alone", e1.service_count().await, NOT_MANAGER.0, NOT_MANAGER.1, alone);
        c.no("a token of an engine alone", e1.join_token(Role::Worker).await, NOT_MANAGER.0, NOT_MANAGER.1, alone);
        c.no("a change of the swarm of an engine alone", e1.update_swarm(&history(3), None).await, NOT_MANAGER.0, NOT_MANAGER.1, alone);
        c.no("removing a node of an engine alone", e1.remove_node(&no_node, Force::No).await, NOT_MANAGER.0, NOT_MANAGER.1, alone);
        let nothing = "not part of a swarm";
        c.no("leaving nothing", e1.leave(Force::No).await, ErrorClass::AlreadySo, Reason::NotManager, nothing);
        c.no("leaving nothing by force", e1.leave(Force::Yes).await, ErrorClass::AlreadySo, Reason::NotManager, nothing);
        let garbage = Secret::new("garbage");
        let answer = w1.join(&self.join("w1", "m1"), &garbage).await;
        c.no("joining with garbage", answer, ErrorClass::Refused, Reason::TokenRejected, "invalid join token");
        c.is("an engine that was refused is inactive", self.state("w1").await == LocalState::Inactive, &"");

        c.yes("init", e1.init(&self.init("m1")).await);
        let own = e1.info().await.unwrap().swarm;
        c.is("the first manager is active and in control", own.reported == LocalState::Active && own.control_available, &own);
        let advertised = own.address.as_deref() == Some(bed.address("m1").to_string().as_str());
        c.is("it advertises what it was given", advertised, &own);
        let cluster = c.yes("the swarm object", e1.cluster().await);
        c.is("info names the swarm", own.cluster.as_ref() == Some(&cluster.id), &own);
        c.is("labels of init are there", cluster.labels.get("a").map(String::as_str) == Some("b"), &cluster);
        let settings = &cluster.settings;
        c.is("task history is 5 by default", settings.task_history_limit == Some(5), settings);
        c.is("the heartbeat is 5 s by default", settings.dispatcher_heartbeat == Some(Duration::from_secs(5)), settings);
        c.is("certificates last 2160 h by default", settings.cert_expiry == Some(Duration::from_secs(2160 * 3600)), settings);
        c.is("a snapshot is taken every 10000 entries by default", settings.snapshot_interval == Some(10_000), settings);
        c.is("managers are not locked by default", settings.autolock == Some(false), settings);
        c.is("overlay networks come from 10.0.0.0/8", cluster.init.default_addr_pool == ["10.0.0.0/8".parse().unwrap()], &cluster);
        c.is("they are /24", cluster.init.default_addr_pool_mask_length == Some(24), &cluster);
        c.is("overlay traffic takes port 4789", cluster.init.data_path_port == Some(4789), &cluster);
        let already = "already part of a swarm";
        c.no("init again", e1.init(&self.init("m1")).await, ErrorClass::Conflict, Reason::AlreadyInSwarm, already);
        let tokens = (e1.join_token(Role::Worker).await.unwrap(), e1.join_token(Role::Manager).await.unwrap());
        let parts = |t: &Secret| t.expose().split('-').map(str::to_owned).collect::<Vec<_>>();
        let (worker, manager) = (parts(&tokens.0), parts(&tokens.1));
        c.is("tokens are of version 1 and name one root", worker[..3] == manager[..3] && worker[..2] == ["SWMTKN", "1"], &"");
        c.is("each role has a secret of its own", worker[3] != manager[3], &"");
        let answer = e1.join(&self.join("m1", "m2"), &tokens.0).await;
        c.no("a manager that joins", answer, ErrorClass::Conflict, Reason::AlreadyInSwarm, already);
        let last = "Removing the last manager erases all current state";
        c.no("the last manager leaves", e1.leave(Force::No).await, ErrorClass::Refused, Reason::Quorum, last);
        let id = self.id("m1").await;
        let answer = self.update("m1", &id, &role(Role::Worker)).await;
        c.no("the last manager is demoted", answer, ErrorClass::Refused, Reason::Quorum, "demote the last manager");
        let answer = e1.remove_node(&id, Force::Yes).await;
        c.no("a manager is removed by force", answer, ErrorClass::Conflict, Reason::NodeInUse, "is a member of the raft cluster");
        c.no("a node that is not there", e1.node(&no_node).await, ErrorClass::Conflict, Reason::NotFound, "not found");
        let answer = e1.update_node(&no_node, 1, &role(Role::Manager)).await;
        c.no("a change of a node that is not there", answer, ErrorClass::Conflict, Reason::NotFound, "not found");
        let answer = e1.remove_node(&no_node, Force::No).await;
        c.no("removing a node that is not there", answer, ErrorClass::Conflict, Reason::NotFound, "not found");
        c.is("no unlock key without autolock", e1.unlock_key().await.unwrap().is_none(), &"");
        let answer = e1.unlock(&Secret::new("SWMKEY-1-xx")).await;
        c.no("unlocking what is not locked", answer, ErrorClass::AlreadySo, Reason::Other, "swarm is not locked");
        c.is("there are no services", e1.service_count().await.unwrap() == 0, &"");
        bed.service("m1").await;
        c.is("there is one service", e1.service_count().await.unwrap() == 1, &"");
        self.service_as_stored(c).await;

        c.yes("a worker joins", w1.join(&self.join("w1", "m1"), &tokens.0).await);
        let worker_id = self.id("w1").await;
        until("the worker is ready", 20, || async { self.node("m1", &worker_id).await.state == NodeState::Ready }).await;
        let node = self.node("m1", &worker_id).await;
        c.is("its entry is that of a worker", node.role == Role::Worker && node.manager.is_none(), &node);
        c.is("its entry has its name", node.hostname == w1.info().await.unwrap().hostname && !node.hostname.is_empty(), &node);
        c.is("managers see its address", node.address == bed.address("w1").to_string(), &node);
        let local = w1.info().await.unwrap().swarm;
        c.is("a worker names no cluster and is not in control", local.cluster.is_none() && !local.control_available, &local);
        let worker_word = "Worker nodes can't be used";
        c.no("a worker is asked for nodes", w1.nodes().await, NOT_MANAGER.0, NOT_MANAGER.1, worker_word);
        c.no("a worker is asked for the swarm", w1.cluster().await, NOT_MANAGER.0, NOT_MANAGER.1, worker_word);
        c.no("a worker is asked for a token", w1.join_token(Role::Worker).await, NOT_MANAGER.0, NOT_MANAGER.1, worker_word);
        let answer = w1.join(&self.join("w1", "m1"), &tokens.0).await;
        c.no("a worker joins again", answer, ErrorClass::Conflict, Reason::AlreadyInSwarm, already);
        let identity = identity_from_pem(&bed.certificate("w1").await).unwrap();
        let reported = (identity.cluster == cluster.id, identity.node == worker_id, identity.role == Role::Worker);
        c.is("the worker's certificate names swarm, node and role", reported == (true, true, true), &identity);
        let answer = e1.remove_node(&worker_id, Force::No).await;
        c.no("a node that is up is removed", answer, ErrorClass::Conflict, Reason::NodeInUse, "is not down and can't be removed");

        let before = self.node("m1", &worker_id).await;
        c.yes("a label", e1.update_node(&worker_id, before.version, &label("x", Some("1"))).await);
        let after = self.node("m1", &worker_id).await;
        c.is("a change makes a new version", after.version > before.version, &(&before, &after));
        let same = (after.role, after.availability, after.labels.len()) == (before.role, before.availability, 1);
        c.is("what is not named survives", same, &after);
        let stale = e1.update_node(&worker_id, before.version, &label("x", Some("2"))).await;
        c.no("a change with an old version", stale, ErrorClass::Conflict, Reason::OutOfSequence, "");
        c.yes("a label goes", self.update("m1", &worker_id, &label("x", None)).await);
        c.is("it is gone", self.node("m1", &worker_id).await.labels.is_empty(), &"");
        let drain = NodeChange { availability: Some(Availability::Drain), ..NodeChange::default() };
        c.yes("draining", self.update("m1", &worker_id, &drain).await);
        c.is("a drained node is ready", self.node("m1", &worker_id).await.state == NodeState::Ready, &"");
        c.yes("an option of the swarm", e1.update_swarm(&history(2), None).await);
        c.no("the same option again", e1.update_swarm(&history(2), None).await, ErrorClass::AlreadySo, Reason::Other, "");
        let updated = e1.cluster().await.unwrap();
        let wanted = SwarmSettings { task_history_limit: Some(2), ..cluster.settings.clone() };
        c.is("the other options survive", updated.settings == wanted && updated.labels == cluster.labels, &updated);

        c.yes("a manager joins", e2.join(&self.join("m2", "m1"), &tokens.1).await);
        let second = self.id("m2").await;
        until("the second manager is reachable", 30, || async { self.node("m1", &second).await.is_reachable_manager() }).await;
        let views = (e1.cluster().await.unwrap(), e2.cluster().await.unwrap());
        c.is("both managers name one swarm", views.0.id == views.1.id, &views);
        let nodes = e2.nodes().await.unwrap();
        let leaders = nodes.iter().filter(|n| n.manager.as_ref().is_some_and(|m| m.leader)).count();
        c.is("the second manager lists three nodes and one leader", (nodes.len(), leaders) == (3, 1), &nodes);
        let at = self.node("m1", &second).await.manager.map(|m| m.address);
        c.is("raft knows its address with the port", at == Some(format!("{}:2377", bed.address("m2"))), &at);
        let answer = e2.leave(Force::No).await;
        c.no("one of two managers leaves", answer, ErrorClass::Refused, Reason::Quorum, "participating as a manager");
        c.yes("a demotion is said yes to at once", self.update("m1", &second, &role(Role::Worker)).await);
        until("it is out of raft", 30, || async { self.node("m1", &second).await.manager.is_none() }).await;
        until("its engine is no manager's any more", 30, || async { !e2.info().await.unwrap().swarm.control_available }).await;
        c.is("a demoted manager is a worker that is ready", self.node("m1", &second).await.role == Role::Worker, &"");
        c.yes("a promotion is said yes to at once", self.update("m1", &second, &role(Role::Manager)).await);
        until("it is in raft again", 120, || async { self.node("m1", &second).await.is_reachable_manager() }).await;
        until("its engine is a manager's again", 60, || async { bed.engine("m2").await.info().await.unwrap().swarm.control_available })
            .await;
        c.is("a promoted worker keeps its id", self.id("m2").await == second, &"");

        c.yes("a worker leaves", w1.leave(Force::No).await);
        c.is("it is inactive", self.state("w1").await == LocalState::Inactive, &"");
        c.is("managers still call it ready", self.node("m1", &worker_id).await.state == NodeState::Ready, &"");
        until("it counts as down", 30, || async { self.node("m1", &worker_id).await.state == NodeState::Down }).await;
        c.yes("it comes back", w1.join(&self.join("w1", "m1"), &tokens.0).await);
        let new_id = self.id("w1").await;
        c.is("it has another id", new_id != worker_id, &"");
        c.is("the old entry stays", self.node("m1", &worker_id).await.state == NodeState::Down, &"");
        c.yes("an entry that is down is removed", e1.remove_node(&worker_id, Force::No).await);
        let answer = e1.remove_node(&worker_id, Force::No).await;
        c.no("it is removed again", answer, ErrorClass::Conflict, Reason::NotFound, "not found");
        until("the new one is ready", 20, || async { self.node("m1", &new_id).await.state == NodeState::Ready }).await;
        c.yes("a worker that is up is removed by force", e1.remove_node(&new_id, Force::Yes).await);
        c.is("it still says that it is active", self.state("w1").await == LocalState::Active, &"");
        c.is("no one lists it", e1.nodes().await.unwrap().iter().all(|n| n.id != new_id), &"");
        c.yes("it leaves without force", w1.leave(Force::No).await);
    }

    /// A service is given as it is stored, so that sending it back changes nothing: with the defaults filled in its tasks would be another
    /// template's, and all be replaced (swarmkit `manager/orchestrator`, `IsTaskDirty`).
    async fn service_as_stored(&self, c: &mut Cases) {
        let e1 = self.bed.engine("m1").await;
        let [listed] = &e1.list(&Query::all(Kind::Service)).await.unwrap()[..] else { panic!("there is one service") };
        let got = e1.get(Kind::Service, listed.id()).await.unwrap();
        c.is("a service that is read is the one that is listed", got.spec() == listed.spec(), &(got.spec(), listed.spec()));
        let sealed = Sealed::new(&Body::of(got.spec()), &NoPayloads).unwrap();
        c.yes("what was read is sent back", e1.update(Kind::Service, got.id(), got.version(), &sealed, false).await);
        let after = e1.get(Kind::Service, got.id()).await.unwrap();
        c.is("its version is another, and nothing else", after.version() > got.version() && after.spec() == got.spec(), &after);
        let tasks = e1.list(&Query::all(Kind::Task)).await.unwrap();
        c.is("its task is the same", tasks.len() == 1, &tasks);
    }

    /// Joins that fail, each on a host of its own, all at once. Hosts: `m1`, `m2`, `w1` to `w4`.
    pub async fn failing_joins(&self, c: &mut Cases) {
        let bed = self.bed;
        self.become_swarm(&["m1"], &[]).await;
        let e1 = bed.engine("m1").await;
        let old = e1.join_token(Role::Worker).await.unwrap();
        bed.rotate_tokens("m1").await;
        let token = e1.join_token(Role::Worker).await.unwrap();
        let manager = e1.join_token(Role::Manager).await.unwrap();
        c.is("a rotation makes new tokens", old.expose() != token.expose(), &"");
        let mut parts: Vec<String> = token.expose().split('-').map(str::to_owned).collect();
        // Another root: the digest is a number in base 36, and any other one is another root.
        parts[2] = format!("1{}", "0".repeat(49));
        let foreign = Secret::new(parts.join("-"));
        bed.cut("m1", "w3").await;
        bed.close_port("m2").await;
        let join = async |host: &str, to: &str, token: &Secret| {
            let began = Instant::now();
            let answer = bed.engine(host).await.join(&self.join(host, to), token).await;
            (answer, began.elapsed().as_secs())
        };
        let (rotated, refused, silent, other, dialled) = tokio::join!(
            join("w1", "m1", &old),
            join("w2", "w4", &token),
            join("w3", "m1", &token),
            join("w4", "m1", &foreign),
            join("m2", "m1", &manager),
        );
        let word = "A valid join token is necessary";
        c.no("a join with a rotated token", rotated.0, ErrorClass::Conflict, Reason::TokenRejected, word);
        c.is("it is refused after ten seconds", (8..=14).contains(&rotated.1), &rotated.1);
        c.no("a join where no one listens", refused.0, ErrorClass::Unknown, Reason::RemoteUnreachable, "connection refused");
        c.is("it fails after ten seconds", (8..=14).contains(&refused.1), &refused.1);
        let word = "Timeout was reached before node joined";
        c.no("a join that no one answers", silent.0, ErrorClass::Unknown, Reason::JoinGoesOn, word);
        c.is("the engine answers after twenty seconds", (19..=23).contains(&silent.1), &silent.1);
        let word = "remote CA does not match fingerprint";
        c.no("a join with another root's token", other.0, ErrorClass::Conflict, Reason::ForeignCa, word);
        let word = "could not connect to prospective new cluster member";
        c.no("a manager that is not reached back", dialled.0, ErrorClass::Refused, Reason::DialBack, word);
        for (name, host) in [
            ("refused by token, an engine is inactive", "w1"),
            ("refused by port, an engine is inactive", "w2"),
            ("refused by root, an engine is inactive", "w4"),
            ("not reached back, an engine is inactive", "m2"),
        ] {
            c.is(name, self.state(host).await == LocalState::Inactive, &host);
        }
        let ghost = e1.nodes().await.unwrap().into_iter().find(|n| n.role == Role::Manager && n.manager.is_none());
        c.is("a manager that is not reached back leaves an entry", ghost.is_some(), &ghost);
        let state = self.state("w3").await;
        c.is("a join that goes on is pending, or failed by now", matches!(state, LocalState::Pending | LocalState::Error), &state);
        let w3 = bed.engine("w3").await;
        until("it gives up", 30, || async { self.state("w3").await == LocalState::Error }).await;
        let reported = w3.info().await.unwrap().swarm.error;
        c.is("it says why", reported.as_deref().is_some_and(|t| t.contains("timeout") || t.contains("deadline")), &reported);
        let answer = w3.join(&self.join("w3", "m1"), &token).await;
        c.no("an engine in error joins", answer, ErrorClass::Conflict, Reason::AlreadyInSwarm, "already part of a swarm");
        c.yes("an engine in error leaves without force", w3.leave(Force::No).await);
        c.is("and is inactive", self.state("w3").await == LocalState::Inactive, &"");
        bed.heal(&[]).await;
        c.yes("and joins when the way is free", w3.join(&self.join("w3", "m1"), &token).await);
    }
}
