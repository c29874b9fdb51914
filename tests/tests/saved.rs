//! Plans that were kept, places for keys, tokens and certificates, in the simulator: what a library's caller asks besides a run.

use std::collections::BTreeSet;
use swarm_core::credential::token_root;
use swarm_core::driver::{ApplyError, KeyKeeper};
use swarm_core::id::HostName;
use swarm_core::observe::SeenAt;
use swarm_core::plan::{Action, Plan, PlanOptions, Refusal, Step};
use swarm_core::report::Ending;
use swarm_core::secret::Secret;
use swarm_core::spec::Role;
use swarm_core::step;
use swarm_core::{Apply, ClusterSpec};
use swarm_sim::World;
use swarm_tests::sim::{Drawer, THREE, cluster, one_more, spec};

/// What becomes of a plan that was kept, with a file and options.
async fn rechecked(world: &World, wanted: &ClusterSpec, options: PlanOptions, plan: &Plan) -> Result<(), String> {
    let fleet = world.fleet("me");
    let apply = Apply::new(wanted, &fleet).options(options);
    match apply.recheck(plan, &[]).await {
        Ok(_) => Ok(()),
        Err(ApplyError::Stale(changes)) => Err(format!("stale: {}", changes.join("; "))),
        Err(ApplyError::Lint(found)) => {
            assert!(found.is_sorted_by_key(|f| f.severity), "{found:?}");
            Err(format!("lint: {found:?}"))
        }
        Err(other) => Err(other.to_string()),
    }
}

#[test]
fn a_plan_that_was_kept_is_held_against_what_is_there() {
    swarm_sim::run(async {
        let world = World::of(&spec(THREE), 1);
        let wanted = one_more(&world).await;
        let fleet = world.fleet("me");
        let (plan, _) = Apply::new(&wanted, &fleet).plan().await.unwrap();
        assert!(!plan.is_empty());
        let same = rechecked(&world, &wanted, PlanOptions::default(), &plan).await;
        assert_eq!(same, Ok(()));
        // It is carried out with the options it was made with, whichever of them differs.
        let w1: BTreeSet<HostName> = [HostName::new("w1")].into();
        let others = [
            PlanOptions { force_leave: w1.clone(), ..PlanOptions::default() },
            PlanOptions { limit: Some(w1), ..PlanOptions::default() },
            PlanOptions { init_on: Some("m2".into()), ..PlanOptions::default() },
        ];
        for options in others {
            let other = rechecked(&world, &wanted, options.clone(), &plan).await.unwrap_err();
            assert!(other.starts_with("stale: ") && other.contains("the options"), "{options:?}: {other}");
        }
        // Of another file.
        let another = spec(&THREE.replace("rack: a", "rack: b"));
        let other = rechecked(&world, &another, PlanOptions::default(), &plan).await;
        assert_eq!(other, Err("stale:   the file".into()));
        // One that someone edited: nothing is looked up in what was agreed to.
        let mut edited = plan.clone();
        edited.envelope.0.clear();
        let edited = rechecked(&world, &wanted, PlanOptions::default(), &edited).await.unwrap_err();
        assert!(edited.starts_with("lint: ") && edited.contains("is not in what the plan says it may do"), "{edited}");
        // And what could hurt is said first: two joins as managers at once, which no one agreed to.
        let mut rash = plan.clone();
        let mut second = rash.steps.iter().find(|s| s.action.verb() == "join").unwrap().clone();
        if let Action::Join(step::Join { role, .. }) = &mut second.action {
            *role = Role::Manager;
        }
        let third = Step { id: "m9/join".into(), ..second.clone() };
        second.id = "m8/join".into();
        rash.steps.extend([second, third]);
        let rash = rechecked(&world, &wanted, PlanOptions::default(), &rash).await.unwrap_err();
        let (harm, agreed) = (rash.find("another such change"), rash.find("is not in what the plan says it may do"));
        assert!(harm.is_some() && harm < agreed && rash.contains("Harmful") && rash.contains("Malformed"), "{rash}");
        // And of a world that changed: that is named, and the file is not.
        world.kill("w1");
        let changed = rechecked(&world, &wanted, PlanOptions::default(), &plan).await.unwrap_err();
        assert!(changed.contains("w1") && !changed.contains("the file"), "{changed}");
    });
}

/// A place for a key where nothing can be written.
struct Full;

impl KeyKeeper for Full {
    fn load(&self) -> Option<Secret> {
        None
    }

    fn ready(&self) -> Result<(), String> {
        Err("the folder is not there".into())
    }

    fn store(&self, _: &Secret) -> Result<(), String> {
        self.ready()
    }
}

const LOCKED: &str = "name: c\nhosts:\n  m1: { address: 10.0.0.1, role: manager }\nswarm: { autolock: true, unlock_key_file: /nowhere }\n";

#[test]
fn managers_are_locked_only_where_the_key_can_be_kept() {
    swarm_sim::run(async {
        let wanted = spec(LOCKED);
        let world = World::of(&wanted, 1);
        let fleet = world.fleet("me");
        let refused = |apply: Result<_, ApplyError>| match apply {
            Err(ApplyError::Refused(refusals)) => format!("{refusals:?}"),
            other => format!("{:?}", other.map(|(plan, _): (Plan, _)| plan)),
        };
        let without = refused(Apply::new(&wanted, &fleet).options(PlanOptions::default()).plan().await);
        assert!(without.contains("no place for the unlock key"), "{without}");
        let full = Apply::new(&wanted, &fleet).keys(&Full);
        let said = refused(full.options(PlanOptions { prune: true, ..PlanOptions::default() }).plan().await);
        assert!(said.contains("the folder is not there"), "{said}");
        // Where it is kept, nothing is left to do, also with options that are given afterwards.
        let keys = Drawer::default();
        let apply = Apply::new(&wanted, &fleet).keys(&keys);
        let (plan, observed) = apply.plan().await.unwrap();
        assert_eq!(apply.run(&plan, &observed).await.ending, Ending::Converged);
        let again = Apply::new(&wanted, &fleet).keys(&keys).options(PlanOptions::default()).plan().await.unwrap().0;
        assert!(again.is_empty(), "{again:?}");
        // A key that is kept and is not the swarm's is stored again.
        let other = Drawer::default();
        other.store(&Secret::new("SWMKEY-1-other")).unwrap();
        let stale = Apply::new(&wanted, &fleet).keys(&other).options(PlanOptions::default()).plan().await.unwrap().0;
        assert!(stale.steps.iter().any(|s| s.action.verb() == "store-key"), "{stale:?}");
    });
}

#[test]
fn tokens_and_certificates_are_those_of_the_swarm() {
    swarm_sim::run(async {
        let world = World::of(&spec(THREE), 1);
        let fleet = world.fleet("me");
        let wanted = spec(THREE);
        let none = Apply::new(&wanted, &fleet).join_token(Role::Worker).await;
        assert!(matches!(&none, Err(ApplyError::Refused(why)) if why == &[Refusal::NoSwarm]), "{none:?}");
        let wanted = one_more(&world).await;
        let apply = Apply::new(&wanted, &fleet);
        for role in [Role::Worker, Role::Manager] {
            let (token, address) = apply.join_token(role).await.unwrap();
            assert_eq!((Some(token.expose()), address.as_str()), (world.token("m1", role).as_ref().map(Secret::expose), "10.0.0.1:2377"));
            assert!(token_root(&token).is_some());
        }
        // One host is in no swarm, and has none.
        let observed = apply.observe().await;
        assert_ne!(observed.at, SeenAt::default(), "it says when it was made");
        let found = apply.certificates(&observed).await;
        let names: Vec<&str> = found.keys().map(HostName::as_str).collect();
        assert_eq!(names, ["m1", "m2", "m3", "w1"]);
        for (host, certificate) in &found {
            let of = &certificate.as_ref().unwrap().identity;
            let node = observed.hosts[host].node.as_ref().unwrap();
            assert_eq!((&of.node, of.role), (&node.id, node.role), "{host}");
        }
    });
}

#[test]
fn a_cluster_that_is_as_wished_is_said_to_be_so() {
    swarm_sim::run(async {
        let world = World::of(&spec(THREE), 1);
        let wanted = cluster(&world, THREE).await;
        let fleet = world.fleet("me");
        let apply = Apply::new(&wanted, &fleet);
        let (plan, observed) = apply.plan().await.unwrap();
        let report = apply.run(&plan, &observed).await;
        assert_eq!((report.ending, report.steps.len(), report.blocked.len()), (Ending::Converged, 0, 0));
    });
}
