//! An update that is stopped where it stands, in the simulator and on real engines.

use crate::deploys::Bed;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use swarm_core::engine::{Kind, Query};
use swarm_core::report::Ending;
use swarm_sim::World;
use swarm_tests::lab::eventually;
use swarm_tests::sim::spec;
use swarm_tests::sim::workload::{FILE, carry, deploy, from_every_cut, quiet, ready, service, stack};
use swarm_workload::{DeployOptions, Edit, EditServices, ImageOptions};

/// Tasks that are to run, by their images.
async fn images(world: &World) -> BTreeMap<String, usize> {
    let tasks = world.fleet("onlooker").engine("m1").list(&Query::all(Kind::Task)).await.unwrap();
    let mut counts = BTreeMap::new();
    for task in tasks.iter().filter(|t| t.text("/DesiredState").as_deref() == Some("running")) {
        *counts.entry(task.text("/Spec/ContainerSpec/Image").unwrap().into_owned()).or_default() += 1;
    }
    counts
}

fn count(counts: &BTreeMap<String, usize>, image: &str) -> usize {
    counts.get(image).copied().unwrap_or(0)
}

/// A service of six tasks of which an update has replaced some.
async fn updating(file: &swarm_core::ClusterSpec) -> World {
    let world = ready(file, 21).await;
    let mut web = service("app_web", "web:1", 6);
    web.spec["UpdateConfig"] = json!({ "Parallelism": 1, "Delay": 4_000_000_000u64, "FailureAction": "rollback" });
    assert_eq!(deploy(&world, file, &stack(vec![web]), DeployOptions::default()).await.ending, Ending::Converged);
    let edit = Edit::Flags { given: vec![("image".into(), "web:2".into())], force: false };
    let report = carry(&world, file, &EditServices { detach: true, ..edits(file, edit) }).await.unwrap();
    assert_eq!(report.ending, Ending::Converged, "{report:?}");
    while count(&images(&world).await, "web:2") < 2 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    world
}

fn edits(file: &swarm_core::ClusterSpec, edit: Edit) -> EditServices<'_> {
    let edits = BTreeMap::from([("app_web".to_owned(), edit)]);
    EditServices { spec: file, edits, detach: false, images: ImageOptions::default() }
}

/// Once more task is replaced at most, and then none for an hour; a change of the service goes on with it, a rollback puts back what was before.
#[test]
fn an_update_stops_where_it_stands() {
    for goes_on in [true, false] {
        swarm_sim::run(async {
            let file = spec(FILE);
            let world = updating(&file).await;
            let before = images(&world).await;
            let report = carry(&world, &file, &edits(&file, Edit::StopUpdate)).await.unwrap();
            assert_eq!(report.ending, Ending::Converged, "{report:?}\n{}", world.story());
            tokio::time::sleep(Duration::from_secs(3600)).await;
            let still = images(&world).await;
            assert!(count(&still, "web:2") <= count(&before, "web:2") + 1, "{before:?} {still:?}");
            assert_eq!(count(&still, "web:1") + count(&still, "web:2"), 6, "{still:?}");
            // A change of its scale begins the update once more: one more task is replaced, and no second one.
            let report = carry(&world, &file, &edits(&file, Edit::Scale(7))).await.unwrap();
            assert_eq!(report.ending, Ending::Converged, "{report:?}\n{}", world.story());
            tokio::time::sleep(Duration::from_secs(3600)).await;
            assert!(count(&images(&world).await, "web:1") + 1 >= count(&still, "web:1"));
            let (edit, image) = match goes_on {
                true => (Edit::Flags { given: vec![("update-parallelism".into(), "3".into())], force: false }, "web:2"),
                false => (Edit::Rollback, "web:1"),
            };
            let report = carry(&world, &file, &edits(&file, edit)).await.unwrap();
            assert_eq!(report.ending, Ending::Converged, "{report:?}\n{}", world.story());
            let after = images(&world).await;
            assert_eq!(after.keys().collect::<Vec<_>>(), [image], "{after:?}");
            let live = world.fleet("onlooker").engine("m1").get(Kind::Service, "app_web").await.unwrap();
            assert_eq!(live.spec().pointer("/UpdateConfig/Delay"), Some(&json!(4_000_000_000u64)));
            assert_eq!(live.spec().pointer("/UpdateConfig/FailureAction"), Some(&json!("rollback")));
            assert!(!live.spec().to_string().contains("swarm.update.stopped"));
            quiet(&world);
        });
    }
}

#[test]
fn a_stop_that_is_cut_off_is_finished() {
    let file = spec(FILE);
    from_every_cut(
        &file,
        async || updating(&file).await,
        &edits(&file, Edit::StopUpdate),
        async |world, what| {
            let live = world.fleet("onlooker").engine("m1").get(Kind::Service, "app_web").await.unwrap();
            assert!(live.label("swarm.update.stopped").is_some(), "{what}");
            let before = images(world).await;
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert!(count(&images(world).await, "web:2") <= count(&before, "web:2") + 1, "{what}");
        },
    );
}

#[tokio::test]
async fn an_update_is_stopped_and_goes_on_or_back() {
    let bed = Bed::up(1, 1).await;
    let swarm = |args: &[&str]| bed.swarm_first(&args[..2], &args[2..]);
    let tasks = |image: &str| {
        let wanted = ["-f", "desired-state=running", "-f", "desired-state=ready"];
        let listed = bed.lab.docker("m1", &[&["service", "ps", "web", "--format", "{{.Image}}"], &wanted[..]].concat());
        listed.lines().filter(|line| *line == image).count()
    };
    let never = ["--resolve-image", "never"];
    let create = ["service", "create", "--name", "web", "--replicas", "6", "--endpoint-mode", "dnsrr", "--stop-grace-period", "1s"];
    let policy = ["--update-delay", "3s", "--update-failure-action", "continue", "app:1", "/bin/sleep", "1000"];
    let made = swarm(&[&create[..], &never, &policy].concat());
    assert_eq!(made.code, 0, "{made:?}");
    let none = swarm(&["service", "stop-update", "web"]);
    assert!(none.code == 0 && none.out.contains("no update of it is under way"), "{none:?}");

    let update = async |image: &str| {
        let begun = swarm(&[&["service", "update", "--detach", "--image", image], &never[..], &["web"]].concat());
        assert_eq!(begun.code, 0, "{begun:?}");
        eventually("two tasks are new", Duration::from_secs(30), || tasks(image) >= 2).await;
    };
    let stop = async |old: &str, new: &str| {
        let before = tasks(new);
        let stopped = swarm(&["service", "stop-update", "web"]);
        assert!(stopped.code == 0 && stopped.out.contains("6 tasks have the newest specification"), "{stopped:?}");
        // For three times the policy's delay nothing more happens.
        for _ in 0..18 {
            assert!(tasks(new) <= before + 1 && tasks(old) + tasks(new) == 6, "{before}, now {} and {}", tasks(new), tasks(old));
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let twice = swarm(&["service", "stop-update", "web"]);
        assert!(twice.code == 0 && twice.out.contains("stopped already"), "{twice:?}");
    };
    update("app:2").await;
    stop("app:1", "app:2").await;
    let listed = swarm(&["service", "ls"]);
    assert!(listed.out.contains("web"), "{listed:?}");
    let on = swarm(&["service", "update", "--update-parallelism", "3", "--update-delay", "0s", "web"]);
    assert!(on.code == 0 && tasks("app:2") == 6, "{on:?}");

    // The docker CLI keeps the label and sets another policy: then an update goes on, and can be stopped again.
    update("app:3").await;
    let stopped = swarm(&["service", "stop-update", "web"]);
    assert_eq!(stopped.code, 0, "{stopped:?}");
    bed.lab.docker("m1", &["service", "update", "--detach", "--update-delay", "3s", "web"]);
    stop("app:2", "app:3").await;
    // What it keeps for a rollback may hold what variables hold, and is not shown.
    let shown = bed.swarm_first(&["service", "inspect"], &["--format", "json", "web"]);
    assert!(shown.out.contains("\"swarm.update.stopped\": \"***\"") || shown.out.contains("\"swarm.update.stopped\":\"***\""), "{shown:?}");
    let back = swarm(&["service", "rollback", "web"]);
    assert!(back.code == 0 && tasks("app:2") == 6, "{back:?}");

    // What ends every manager that leads is refused; the docker CLI sends it.
    let deadly = swarm(&["service", "update", "--update-parallelism", "18446744073709551615", "web"]);
    assert!(deadly.code == 1 && deadly.err.contains("Parallelism"), "{deadly:?}");
    bed.write("app.yml", "services:\n  x:\n    image: app:1\n    deploy: { update_config: { parallelism: 9223372036854775808 } }\n");
    let deadly = bed.deploy(&[]);
    assert!(deadly.code != 0 && deadly.err.to_lowercase().contains("parallelism"), "{deadly:?}");
}
