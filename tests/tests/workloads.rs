//! Workloads in the simulator: stacks that come up, change, fail, and go.

use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use swarm_core::Apply;
use swarm_core::driver::NoProgress;
use swarm_core::engine::{Kind, Payloads, Query};
use swarm_core::intent::{Intent, Scope};
use swarm_core::machine::Outcome;
use swarm_core::observe::{Observed, ReachErrorKind};
use swarm_core::report::Ending;
use swarm_core::secret::Secret;
use swarm_sim::{ImageKind, Incident};
use swarm_tests::sim::spec;
use swarm_tests::sim::workload::{CONTENT, FILE, Seen, apply, carry, deploy, failed, quiet, ready, service, stack};
use swarm_workload::{Deploy, DeployOptions, Edit, EditServices, ImageOptions, MakeService, Remove, StartAfter};

/// For objects managers alone are asked, one of them what is in the swarm, and the answer is that of a look at all hosts; where the file's managers are none,
/// or do not agree, others are asked too.
#[test]
fn objects_are_known_without_a_look_at_workers() {
    let swapped = FILE.replace("role: manager", "role: x").replace("role: worker", "role: manager").replace("role: x", "role: worker");
    for (what, file, trouble, asked) in [
        ("all is well", FILE.to_owned(), None, false),
        ("the first manager is gone", FILE.to_owned(), Some(Incident::PowerCut("m1".into())), false),
        ("the first manager leads another swarm", FILE.to_owned(), Some(Incident::MakesOwnSwarm("m1".into())), false),
        ("roles were swapped in the file", swapped, None, true),
    ] {
        swarm_sim::run(async {
            let world = ready(&spec(FILE), 1).await;
            let (file, fleet) = (spec(&file), world.fleet("me"));
            if let Some(trouble) = &trouble {
                if matches!(trouble, Incident::MakesOwnSwarm(_)) {
                    world.cause(&Incident::OperatorLeaves("m1".into()));
                }
                assert!(world.cause(trouble), "{what}");
                tokio::time::sleep(Duration::from_secs(60)).await;
            }
            let before = world.calls().0;
            let (whole, whole_calls) = (Apply::new(&file, &fleet).observe().await, world.calls().0 - before);
            let before = world.calls().0;
            let (brief, brief_calls) = (Apply::new(&file, &fleet).scope(Scope::Managers).observe().await, world.calls().0 - before);
            let swarm = |observed: &Observed| observed.view().map(|v| (v.cluster.id.clone(), v.nodes.len()));
            assert_eq!(swarm(&brief), swarm(&whole), "{what}\n{}", world.story());
            assert_eq!(format!("{:?}", brief.cluster.live()), format!("{:?}", whole.cluster.live()), "{what}");
            let not_asked =
                |name: &str| brief.hosts[&name.into()].report.engine.as_ref().is_err_and(|e| e.kind == ReachErrorKind::NotAsked);
            assert_eq!(!not_asked(if asked { "m1" } else { "w1" }), asked, "{what}");
            assert!(brief_calls < whole_calls || asked, "{what}: {brief_calls} and {whole_calls} calls");
            assert!(!brief.silent().contains(&"w1".into()), "{what}");
            quiet(&world);
        });
    }
}

#[test]
fn a_stack_comes_up_and_then_nothing_is_to_do() {
    swarm_sim::run(async {
        let file = spec(FILE);
        let world = ready(&file, 1).await;
        let mut web = service("app_web", "web:1", 3);
        web.after.insert("app_db".into(), StartAfter::Started);
        let wanted = stack(vec![web, service("app_db", "db:1", 1)]);
        let report = deploy(&world, &file, &wanted, DeployOptions::default()).await;
        assert_eq!((report.ending, failed(&report)), (Ending::Converged, Vec::new()), "{}", world.story());
        let order: Vec<&str> = report.steps.iter().map(|s| s.id.as_str()).collect();
        let at = |name: &str| order.iter().position(|id| id.contains(name)).unwrap();
        assert!(at("app_default") < at("app_db") && at("app_db") < at("app_web"), "{order:?}");
        let (_, before) = world.calls();
        let again = deploy(&world, &file, &wanted, DeployOptions::default()).await;
        assert_eq!((again.ending, again.steps.len(), world.calls().1), (Ending::Converged, 0, before));
        let removed = carry(&world, &file, &Remove { spec: &file, stack: "app" }).await.unwrap();
        assert_eq!((removed.ending, removed.steps.len()), (Ending::Converged, 5), "{}", world.story());
        // The same name can be deployed at once.
        assert_eq!(deploy(&world, &file, &wanted, DeployOptions::default()).await.ending, Ending::Converged, "{}", world.story());
        quiet(&world);
    });
}

/// The docker CLI removes services and then networks at once: engines list the networks as long as tasks are ending in them.
#[test]
fn a_stack_that_is_still_going_is_deployed_again() {
    swarm_sim::run(async {
        let file = spec(FILE);
        let world = ready(&file, 5).await;
        let wanted = stack(vec![service("app_web", "web:1", 3)]);
        deploy(&world, &file, &wanted, DeployOptions::default()).await;
        let engine = world.fleet("other").engine("m1");
        for kind in [Kind::Service, Kind::Network] {
            for object in engine.list(&Query::all(kind).with("label", "com.docker.stack.namespace=app")).await.unwrap() {
                engine.remove(kind, object.id()).await.unwrap();
            }
        }
        assert_eq!(engine.list(&Query::all(Kind::Network)).await.unwrap().len(), 1, "an engine still lists it");
        let report = deploy(&world, &file, &wanted, DeployOptions::default()).await;
        assert_eq!((report.ending, failed(&report)), (Ending::Converged, Vec::new()), "{}", world.story());
        assert_eq!(report.steps.len(), 2, "{:?}", report.steps);
        quiet(&world);
    });
}

#[test]
fn updates_that_fail_say_what_failed() {
    for (action, ending) in [("pause", Ending::Paused), ("rollback", Ending::RolledBack)] {
        swarm_sim::run(async {
            let file = spec(FILE);
            let world = ready(&file, 2).await;
            world.image("web:bad", ImageKind::Missing);
            deploy(&world, &file, &stack(vec![service("app_web", "web:1", 3)]), DeployOptions::default()).await;
            let mut bad = service("app_web", "web:bad", 3);
            bad.spec["UpdateConfig"] = json!({ "FailureAction": action });
            let report = deploy(&world, &file, &stack(vec![bad]), DeployOptions::default()).await;
            assert_eq!(report.ending, ending, "{}", world.story());
            let said = serde_json::to_string(&report).unwrap();
            assert!(said.contains("No such image: web:bad") && said.contains("app_web."), "{said}");
            quiet(&world);
        });
    }
}

#[test]
fn a_new_service_that_cannot_run_ends_the_wait_with_its_reason() {
    let file = spec(FILE);
    for (image, constraint, reason) in
        [("gone:1", None, "No such image"), ("crash:1", None, "non-zero exit"), ("web:1", Some("node.labels.x==y"), "no suitable node")]
    {
        swarm_sim::run(async {
            let world = ready(&file, 3).await;
            world.image("gone:1", ImageKind::Missing);
            world.image("crash:1", ImageKind::Crashes);
            let mut bad = service("app_bad", image, 2);
            if let Some(constraint) = constraint {
                bad.spec["TaskTemplate"]["Placement"] = json!({ "Constraints": [constraint] });
            }
            let report = deploy(&world, &file, &stack(vec![bad, service("app_good", "web:1", 1)]), DeployOptions::default()).await;
            let bad = report.steps.iter().find(|s| s.id.as_str().contains("app_bad")).unwrap();
            assert!(matches!(&bad.outcome, Outcome::Failed { message } if message.contains(reason)), "{image}: {:?}", bad.outcome);
            assert!(report.steps.iter().find(|s| s.id.as_str().contains("app_good")).unwrap().outcome.is_done());
            quiet(&world);
        });
    }
}

#[test]
fn two_deploys_at_once_and_the_second_stops() {
    swarm_sim::run(async {
        let file = spec(FILE);
        let world = ready(&file, 4).await;
        deploy(&world, &file, &stack(vec![service("app_web", "web:1", 1)]), DeployOptions::default()).await;
        let (mine, theirs) = (stack(vec![service("app_web", "web:2", 1)]), stack(vec![service("app_web", "web:3", 1)]));
        let fleet = world.fleet("me");
        let run = apply(&file, &fleet, &NoProgress);
        let intent = Deploy { spec: &file, stack: &mine, options: DeployOptions::default() };
        let (plan, observed) = run.plan_for(&intent).await.unwrap();
        let other = Deploy { spec: &file, stack: &theirs, options: DeployOptions::default() };
        let their_fleet = world.fleet("other");
        let their_run = apply(&file, &their_fleet, &NoProgress);
        let (their_plan, their_look) = their_run.plan_for(&other).await.unwrap();
        assert_eq!(their_run.run_for(&other, &their_plan, &their_look).await.ending, Ending::Converged);
        let report = run.run_for(&intent, &plan, &observed).await;
        let said = serde_json::to_string(&report).unwrap();
        assert!(report.ending != Ending::Converged && said.contains("plan again"), "{said}");
        quiet(&world);
    });
}

#[test]
fn scale_restart_and_rollback_change_nothing_else() {
    swarm_sim::run(async {
        let file = spec(FILE);
        let world = ready(&file, 5).await;
        let mut first = service("app_web", "web:1", 1);
        first.spec["TaskTemplate"]["ContainerSpec"]["OfANewerEngine"] = json!({ "kept": true });
        deploy(&world, &file, &stack(vec![first.clone()]), DeployOptions::default()).await;
        let engine = world.fleet("onlooker").engine("m1");
        let live = async || engine.get(Kind::Service, "app_web").await.unwrap();
        for (edit, check) in [
            (Edit::Scale(3), "/Spec/Mode/Replicated/Replicas"),
            (Edit::Restart, "/Spec/TaskTemplate/ForceUpdate"),
            (
                Edit::Flags { given: vec![("env-add".into(), "NEW=1".into()), ("label-add".into(), "a/b=c".into())], force: false },
                "/Spec/Labels",
            ),
            (Edit::Flags { given: vec![("env-add".into(), "NEW=1".into())], force: true }, "/Spec/TaskTemplate/ForceUpdate"),
            (Edit::Flags { given: vec![("replicas".into(), "2".into())], force: false }, "/Spec/Mode/Replicated/Replicas"),
            (Edit::Rollback, "/Spec/Mode/Replicated/Replicas"),
        ] {
            let before = live().await;
            let intent = EditServices {
                spec: &file,
                edits: BTreeMap::from([("app_web".to_owned(), edit.clone())]),
                detach: false,
                images: ImageOptions::default(),
            };
            let report = carry(&world, &file, &intent).await.unwrap();
            assert_eq!(report.ending, Ending::Converged, "{edit:?}: {report:?}\n{}", world.story());
            let after = live().await;
            assert!(edit == Edit::Rollback || before.part(check) != after.part(check), "{edit:?}: {after:?}");
            assert_eq!(after.part("/Spec/TaskTemplate/ContainerSpec/OfANewerEngine"), Some(json!({ "kept": true })), "{edit:?}");
        }
        quiet(&world);
    });
}

/// An update that finds no node is rolled back: the engine gives what waited for one a minute to end, and that is waited for.
#[test]
fn a_rollback_out_of_an_update_without_a_place() {
    swarm_sim::run(async {
        let file = spec(FILE);
        let world = ready(&file, 8).await;
        deploy(&world, &file, &stack(vec![service("app_web", "web:1", 2)]), DeployOptions::default()).await;
        let edits = |edit: Edit| EditServices {
            spec: &file,
            edits: BTreeMap::from([("app_web".to_owned(), edit)]),
            detach: false,
            images: ImageOptions::default(),
        };
        let given = vec![("constraint-add".into(), "node.hostname==nowhere".into())];
        let intent = edits(Edit::Flags { given, force: false });
        let report = carry(&world, &file, &intent).await.unwrap();
        assert!(report.ending != Ending::Converged && format!("{report:?}").contains("find no node"), "{report:?}");
        let intent = edits(Edit::Rollback);
        let report = carry(&world, &file, &intent).await.unwrap();
        assert_eq!(report.ending, Ending::Converged, "{report:?}\n{}", world.story());
        quiet(&world);
    });
}

#[test]
fn a_secret_is_rotated_and_the_old_ones_go() {
    swarm_sim::run(async {
        let file = spec(FILE);
        let world = ready(&file, 6).await;
        let wanted = stack(vec![service("app_web", "web:1", 1)]);
        deploy(&world, &file, &wanted, DeployOptions::default()).await;
        let engine = world.fleet("onlooker").engine("m1");
        let mut used = BTreeSet::new();
        for _ in 0..5 {
            let options = DeployOptions { rotate: BTreeSet::from(["app_key".to_owned()]), ..DeployOptions::default() };
            let report = deploy(&world, &file, &wanted, options).await;
            assert_eq!(report.ending, Ending::Converged, "{report:?}\n{}", world.story());
            let live = engine.get(Kind::Service, "app_web").await.unwrap();
            used.insert(live.spec().pointer("/TaskTemplate/ContainerSpec/Secrets/0/SecretName").unwrap().to_string());
        }
        assert_eq!(used.len(), 5, "{used:?}");
        let left = engine.list(&Query::all(Kind::Secret)).await.unwrap();
        assert!(left.len() <= 4, "{} secrets are left", left.len());
        assert_eq!(deploy(&world, &file, &wanted, DeployOptions::default()).await.steps.len(), 0);
        quiet(&world);
    });
}

/// Labels of secrets and configs become those of the file, and nothing else of them changes.
#[test]
fn labels_of_what_is_there_follow_the_file() {
    swarm_sim::run(async {
        let file = spec(FILE);
        let world = ready(&file, 9).await;
        let mut wanted = stack(vec![service("app_web", "web:1", 1)]);
        deploy(&world, &file, &wanted, DeployOptions::default()).await;
        let engine = world.fleet("onlooker").engine("m1");
        for team in ["a", "b"] {
            wanted.secrets[0].spec["Labels"]["team"] = json!(team);
            wanted.configs[0].spec["Labels"]["team"] = json!(team);
            let report = deploy(&world, &file, &wanted, DeployOptions::default()).await;
            assert_eq!((report.ending, report.steps.len()), (Ending::Converged, 2), "{report:?}\n{}", world.story());
        }
        wanted.secrets[0].spec["Labels"].as_object_mut().unwrap().remove("team");
        let intent = Deploy { spec: &file, stack: &wanted, options: DeployOptions::default() };
        let fleet = world.fleet("me");
        let observed = apply(&file, &fleet, &NoProgress).observe_objects(&intent.wants()).await;
        assert!(intent.verify(&observed).findings.iter().any(|f| f.message.contains("its labels differ from the file: team")));
        deploy(&world, &file, &wanted, DeployOptions::default()).await;
        let (secret, config) = (engine.get(Kind::Secret, "app_key").await.unwrap(), engine.get(Kind::Config, "app_conf").await.unwrap());
        assert_eq!((secret.label("team"), config.label("team").as_deref()), (None, Some("b")));
        assert_eq!(config.text("/Spec/Data").as_deref(), Some(CONTENT));
        assert_eq!(deploy(&world, &file, &wanted, DeployOptions::default()).await.steps.len(), 0);
        quiet(&world);
    });
}

/// What a secret holds can be read nowhere, and a manager can be asked whether it is the same.
#[test]
fn a_manager_compares_a_secret_and_changes_nothing() {
    struct Other;
    impl Payloads for Other {
        fn payload(&self, _name: &str) -> Result<Secret, String> {
            Ok(Secret::new("aHVudGVyMw=="))
        }
    }
    swarm_sim::run(async {
        let file = spec(FILE);
        let world = ready(&file, 8).await;
        let wanted = stack(vec![service("app_web", "web:1", 1)]);
        deploy(&world, &file, &wanted, DeployOptions::default()).await;
        let fleet = world.fleet("me");
        let mut intent = Deploy { spec: &file, stack: &wanted, options: DeployOptions::default() };
        for (other, differs) in [(false, 0), (true, 1)] {
            let run = apply(&file, &fleet, &NoProgress);
            let run = if other { run.payloads(&Other) } else { run };
            let observed = run.observe_objects(&intent.wants()).await;
            let comparisons = intent.comparisons(&observed);
            let asked: Vec<_> = comparisons.iter().map(|c| (c.id.clone(), c.body.clone())).collect();
            assert_eq!(asked.len(), 1);
            let versions = |observed: &Observed| format!("{:?}", observed.objects_of(&Query::all(Kind::Secret)).known());
            let differ = run.secrets_that_differ(&observed, &asked).await.unwrap();
            assert_eq!(differ.len(), differs, "{}", world.story());
            assert_eq!(versions(&run.observe_objects(&intent.wants()).await), versions(&observed));
            intent.options.differ = comparisons.into_iter().filter(|c| differ.contains(&c.id)).map(|c| c.secret).collect();
        }
        let report = carry(&world, &file, &intent).await.unwrap();
        assert_eq!((report.ending, report.steps.len()), (Ending::Converged, 2), "{report:?}\n{}", world.story());
        let (plan, _) = apply(&file, &fleet, &NoProgress).plan_for(&intent).await.unwrap();
        assert!(plan.steps.iter().any(|s| s.because.contains("something else than its file")), "{plan:?}");
        quiet(&world);
    });
}

/// No secret's data is in a plan, an event, a report or the story of the calls.
#[test]
fn the_data_of_secrets_is_nowhere() {
    swarm_sim::run(async {
        let file = spec(FILE);
        let world = ready(&file, 7).await;
        let wanted = stack(vec![service("app_web", "web:1", 1)]);
        let (fleet, seen) = (world.fleet("me"), Seen::default());
        let run = apply(&file, &fleet, &seen);
        let intent = Deploy { spec: &file, stack: &wanted, options: DeployOptions::default() };
        let (plan, observed) = run.plan_for(&intent).await.unwrap();
        let report = run.run_for(&intent, &plan, &observed).await;
        assert_eq!(report.ending, Ending::Converged);
        let all = format!("{}{:?}{report:?}{}{}", serde_json::to_string(&plan).unwrap(), plan, seen.0.lock().unwrap(), world.story());
        assert!(!all.contains(CONTENT) && !all.contains("hunter2"));
        // It arrived all the same.
        let configs = fleet.engine("m1").list(&Query::all(Kind::Config)).await.unwrap();
        assert_eq!(configs[0].text("/Spec/Data").as_deref(), Some(CONTENT));
    });
}

#[test]
fn services_wait_for_what_they_depend_on() {
    let file = spec(FILE);
    let once = |image: &str| {
        let mut once = service("app_once", image, 1);
        once.spec["TaskTemplate"]["RestartPolicy"] = json!({ "Condition": "none" });
        once
    };
    let web = |when: StartAfter| {
        let mut web = service("app_web", "web:1", 1);
        web.after.insert("app_once".into(), when);
        web
    };
    swarm_sim::run(async {
        let world = ready(&file, 13).await;
        world.image("once:1", ImageKind::Ends);
        world.image("once:bad", ImageKind::Crashes);
        let good = deploy(&world, &file, &stack(vec![web(StartAfter::Completed), once("once:1")]), DeployOptions::default()).await;
        assert_eq!(good.ending, Ending::Converged, "{good:?}\n{}", world.story());
        carry(&world, &file, &Remove { spec: &file, stack: "app" }).await.unwrap();
        let bad = deploy(&world, &file, &stack(vec![web(StartAfter::Completed), once("once:bad")]), DeployOptions::default()).await;
        let said = failed(&bad);
        assert!(said.iter().any(|(id, why)| id.contains("app_once") && why.contains("does not start it again")), "{said:?}");
        assert!(said.iter().any(|(id, why)| id.contains("app_web") && why.contains("blocked")), "{said:?}");
        quiet(&world);
    });
    // A circle is no order: one of them is begun without the other.
    swarm_sim::run(async {
        let world = ready(&file, 14).await;
        let mut a = service("app_a", "web:1", 1);
        a.after.insert("app_b".into(), StartAfter::Started);
        let mut b = service("app_b", "web:1", 1);
        b.after.insert("app_a".into(), StartAfter::Started);
        let report = deploy(&world, &file, &stack(vec![a, b]), DeployOptions::default()).await;
        assert_eq!(report.ending, Ending::Converged, "{report:?}");
        assert!(report.notes.iter().any(|n| n.contains("in a circle")), "{:?}", report.notes);
    });
}

/// What a rotation leaves goes after the services that are pruned, in one plan.
#[test]
fn pruning_and_rotating_in_one_plan() {
    swarm_sim::run(async {
        let file = spec(FILE);
        let world = ready(&file, 15).await;
        let services = |count: usize| (0..count).map(|n| service(&format!("app_s{n}"), "web:1", 1)).collect();
        deploy(&world, &file, &stack(services(6)), DeployOptions::default()).await;
        for count in [5, 4, 3, 2, 1] {
            let rotate = BTreeSet::from(["app_key".to_owned()]);
            let report =
                deploy(&world, &file, &stack(services(count)), DeployOptions { prune: true, rotate, ..DeployOptions::default() }).await;
            assert_eq!(report.ending, Ending::Converged, "{count}: {report:?}\n{}", world.story());
        }
        quiet(&world);
    });
}

/// Where no node can have a service's tasks, that is said before anything is changed, node by node.
#[test]
fn a_service_without_a_place_is_named_beforehand() {
    swarm_sim::run(async {
        let file = spec(FILE);
        let world = ready(&file, 16).await;
        let mut web = service("app_web", "web:1", 1);
        web.spec["TaskTemplate"]["Placement"] = json!({ "Constraints": ["node.labels.disk == ssd"] });
        let wanted = stack(vec![web]);
        let fleet = world.fleet("me");
        let run = apply(&file, &fleet, &NoProgress);
        let intent = Deploy { spec: &file, stack: &wanted, options: DeployOptions::default() };
        let (plan, _) = run.plan_for(&intent).await.unwrap();
        let note = plan.notes.iter().find(|n| n.contains("no node can have its tasks")).unwrap();
        assert!(["m1", "m2", "m3", "w1"].iter().all(|n| note.contains(&format!("{n}: node.labels.disk is not set"))), "{note}");
    });
}

#[test]
fn a_service_is_made_and_what_it_needs_must_be_there() {
    swarm_sim::run(async {
        let file = spec(FILE);
        let world = ready(&file, 5).await;
        let of = |name: &str, secret: &str| {
            let mut given = vec![("replicas".to_owned(), "2".to_owned())];
            given.extend((!secret.is_empty()).then(|| ("secret".to_owned(), secret.to_owned())));
            let service = swarm_workload::new_service(name, "web:1", &[], &given).unwrap();
            MakeService { spec: &file, service, images: ImageOptions::default(), detach: false }
        };
        let report = carry(&world, &file, &of("one", "")).await.unwrap();
        assert_eq!(report.ending, Ending::Converged, "{report:?}\n{}", world.story());
        let live = world.fleet("onlooker").engine("m1").get(Kind::Service, "one").await.unwrap();
        assert_eq!((live.number("/Spec/Mode/Replicated/Replicas"), live.label("com.docker.stack.namespace")), (Some(2), None));
        let again = carry(&world, &file, &of("one", "")).await.unwrap_err();
        assert!(again.to_string().contains("service update"), "{again}");
        let without = carry(&world, &file, &of("two", "nowhere")).await.unwrap_err();
        assert!(without.to_string().contains("secret nowhere: there is no such object"), "{without}");
        quiet(&world);
    });
}
