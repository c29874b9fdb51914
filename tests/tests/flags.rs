//! What the flags of `docker service create` and `docker service update` do, beside what ours do, on one engine.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use swarm_core::engine::{Body, Kind, NoPayloads, Object, Objects, ObjectsRead, Query, Reason, Resource, Sealed};
use swarm_docker::DockerEngine;
use swarm_tests::composes::flags::{BASE, CHANGES, FORMS, VALUES, play, with};
use swarm_tests::composes::pruned;
use swarm_tests::lab::TestLab;
use swarm_workload::{FLAGS, Given, On, apply_flags, differences, new_service, typed};

/// The docker CLI sorts these lists as it changes them, though their order is the order in which they are asked; ours stay as they are.
const SORTED: &[&str] = &["dns-add", "dns-option-add", "dns-search-add"];
/// The docker CLI takes these in an update and does nothing with them (28.2, seen on engines 26.1 and 28.5); ours does what they say.
const WITHOUT_EFFECT: &[&str] = &["health-start-interval"];

struct Side {
    lab: TestLab,
    engine: DockerEngine,
    names: BTreeMap<String, String>,
    ids: BTreeMap<(Kind, String), String>,
}

impl Side {
    async fn up() -> Self {
        let lab = TestLab::up(1, 0);
        lab.docker("m1", &["swarm", "init", "--advertise-addr", &lab.host("m1").address.to_string()]);
        for network in ["net-a", "net-b"] {
            lab.docker("m1", &["network", "create", "-d", "overlay", network]);
        }
        let engine = DockerEngine::local(lab.host("m1").socket().to_str().unwrap()).await.unwrap();
        let mut ids = BTreeMap::new();
        for (kind, name) in [(Kind::Secret, "key-a"), (Kind::Secret, "key-b"), (Kind::Config, "conf-a"), (Kind::Config, "conf-b")] {
            let spec = json!({ "Name": name, "Data": "eA==" });
            let id = engine.create(kind, &sealed(spec)).await.unwrap();
            ids.insert((kind, name.to_owned()), id);
        }
        let networks = engine.list(&Query::all(Kind::Network)).await.unwrap();
        let names = networks.iter().map(|n| (n.id().to_owned(), n.name().to_owned())).collect();
        Self { lab, engine, names, ids }
    }

    /// The docker CLI's word on a command: what failed, if it did.
    fn docker(&self, args: &[String]) -> Result<(), String> {
        let args: Vec<&str> = ["docker"].into_iter().chain(args.iter().map(String::as_str)).collect();
        self.lab.host("m1").exec(&args).map(|_| ()).map_err(|e| e.to_string())
    }

    /// A service, which is then removed: two cannot have one port.
    async fn taken_away(&self, name: &str) -> Object {
        let service = self.service(name).await;
        self.engine.remove(Kind::Service, service.id()).await.unwrap();
        // What an engine made of it goes through our types, and nothing of it is without one.
        let typed = typed::Service::from_object(&service).unwrap();
        assert_eq!(pruned(&Value::from(&typed.spec)), pruned(&service.spec()), "{name}");
        let said = format!("{:?}", typed.spec);
        assert_eq!(said.matches("other: {").count(), said.matches("other: {}").count(), "{name}: {said}");
        service
    }

    async fn service(&self, name: &str) -> Object {
        self.engine.get(Kind::Service, name).await.unwrap()
    }

    /// A specification with the ids of what it names, as our step sends it.
    fn sent(&self, mut spec: Value) -> Sealed {
        for (kind, list, name_key, id_key) in
            [(Kind::Secret, "Secrets", "SecretName", "SecretID"), (Kind::Config, "Configs", "ConfigName", "ConfigID")]
        {
            let at = format!("/TaskTemplate/ContainerSpec/{list}");
            for entry in spec.pointer_mut(&at).and_then(Value::as_array_mut).into_iter().flatten() {
                let name = entry[name_key].as_str().unwrap().to_owned();
                entry[id_key] = json!(self.ids[&(kind, name)]);
            }
        }
        if let Some(config) = spec.pointer_mut("/TaskTemplate/ContainerSpec/Privileges/CredentialSpec/Config") {
            *config = json!(self.ids[&(Kind::Config, config.as_str().unwrap().to_owned())]);
        }
        sealed(spec)
    }
}

/// Whether this docker CLI, or this engine, is too old for a flag.
fn is_unknown(why: &str) -> bool {
    why.contains("unknown flag") || why.contains("requires API version")
}

fn sealed(spec: Value) -> Sealed {
    Sealed::new(&Body::of(spec), &NoPayloads).unwrap()
}

fn owned(flags: &[(&str, &str)]) -> Vec<Given> {
    flags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn as_arguments(given: &[Given]) -> Vec<String> {
    given.iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

/// No node can have its tasks, so that nothing runs.
const NOWHERE: (&str, &str) = ("constraint", "node.labels.no==where");

/// Random sets of flags, for new services and for ones that are there: what the newest docker CLI would send and what we would is equal, and
/// what one refuses the other refuses. `FLAG_CASES` makes it more.
#[test]
fn sets_of_flags_mean_what_docker_makes_of_them() {
    let Some(cli) = swarm_tests::engines::newer().last().map(|dir| dir.join("usr/bin/docker")).filter(|path| path.is_file()) else {
        return;
    };
    let cases = std::env::var("FLAG_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(600);
    let dir = tempfile::tempdir().unwrap();
    let played = play(&cli, dir.path(), 11, cases);
    assert!(played.differ.is_empty(), "{} of {cases} differ\n{}", played.differ.len(), played.differ.join("\n"));
    assert!(played.same * 3 > cases && played.refused > 0, "{} are the same, {} refused", played.same, played.refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_flag_does_what_it_does_in_the_docker_cli() {
    let side = Side::up().await;
    let valued: BTreeSet<&str> = VALUES.iter().chain(CHANGES).map(|(name, _)| *name).collect();
    let unvalued: Vec<&str> = FLAGS.iter().map(|f| f.name).filter(|name| !valued.contains(name)).collect();
    assert!(unvalued.is_empty(), "these flags are not compared: {unvalued:?}");
    let (mut differing, mut unknown, mut stricter) = (Vec::new(), Vec::new(), Vec::new());
    let (mut compared, mut refused) = (0, 0);
    for (index, (flag, value)) in VALUES.iter().chain(FORMS).enumerate() {
        let given: Vec<Given> = owned(with(flag)).into_iter().chain(owned(&[NOWHERE, (flag, value)])).collect();
        let (theirs, ours) = (format!("theirs-{index}"), format!("ours-{index}"));
        let mut args: Vec<String> =
            ["service", "create", "--detach", "--no-resolve-image", "--quiet", "--name", &theirs].map(str::to_owned).into();
        args.extend(as_arguments(&given));
        args.extend(["busybox:1".to_owned(), "sleep".into(), "9".into()]);
        if let Err(why) = side.docker(&args) {
            // What it refuses we refuse, and nothing is sent.
            match apply_flags(&mut json!({ "Mode": { "Replicated": {} } }), &given) {
                _ if is_unknown(&why) => unknown.push(*flag),
                Err(_) => refused += 1,
                Ok(()) => differing.push(format!("create --{flag} {value}: docker refuses: {why}")),
            }
            continue;
        }
        let theirs = side.taken_away(&theirs).await;
        let spec = match new_service(&ours, "busybox:1", &["sleep".to_owned(), "9".to_owned()], &given) {
            Ok(spec) => spec,
            Err(why) => {
                stricter.push(why.join("; "));
                continue;
            }
        };
        let made = side.engine.create(Kind::Service, &side.sent(spec)).await;
        assert!(made.is_ok(), "{flag} {value}: {made:?}");
        let ours = side.taken_away(&ours).await;
        let found = differences(theirs.spec(), ours.spec(), &side.names);
        let found: Vec<String> = found.iter().filter(|c| c.field != "Name").map(ToString::to_string).collect();
        if !found.is_empty() {
            differing.push(format!("create --{flag} {value}: docker -> ours: {}", found.join("; ")));
        }
        compared += 1;
    }
    let both = VALUES.iter().filter(|(name, _)| FLAGS.iter().any(|f| f.name == *name && f.on == On::Both));
    let updates: Vec<&(&str, &str)> = CHANGES.iter().chain(both).collect();
    for (index, (flag, value)) in updates.iter().enumerate() {
        // Jobs have no update of these.
        if matches!(*flag, "max-concurrent") {
            continue;
        }
        let (theirs, ours) = (format!("theirs-u{index}"), format!("ours-u{index}"));
        let base = |name: &str| {
            let mut args: Vec<String> =
                ["service", "create", "--detach", "--no-resolve-image", "--quiet", "--name", name].map(str::to_owned).into();
            let mut base = owned(BASE);
            base.push((NOWHERE.0.into(), NOWHERE.1.into()));
            // Names that are answered in turn have no ports of the routing mesh.
            base.retain(|(name, _)| !(*flag == "endpoint-mode" && name == "publish"));
            args.extend(as_arguments(&base));
            args.extend(["busybox:1".to_owned(), "sleep".into(), "9".into()]);
            side.docker(&args).unwrap();
        };
        base(&theirs);
        let given: Vec<Given> = owned(with(flag)).into_iter().chain(owned(&[(flag, value)])).collect();
        let mut args: Vec<String> = ["service", "update", "--detach", "--no-resolve-image", "--quiet"].map(str::to_owned).into();
        args.extend(as_arguments(&given));
        args.push(theirs.clone());
        let updated = side.docker(&args);
        let wanted = side.taken_away(&theirs).await;
        if let Err(why) = updated {
            assert!(is_unknown(&why), "{flag} {value}: {why}");
            unknown.push(*flag);
        } else {
            base(&ours);
            let before = side.service(&ours).await;
            let mut spec = before.spec();
            for network in spec.pointer_mut("/TaskTemplate/Networks").and_then(Value::as_array_mut).into_iter().flatten() {
                let name = side.names[network["Target"].as_str().unwrap()].clone();
                network["Target"] = json!(name);
            }
            apply_flags(&mut spec, &given).unwrap();
            // The engine itself changes a service that has just been made: it gives it its ports.
            while let Err(error) =
                side.engine.update(Kind::Service, before.id(), side.service(&ours).await.version(), &side.sent(spec.clone()), false).await
            {
                assert_eq!(error.reason, Reason::OutOfSequence, "{flag} {value}: {error}");
            }
            let is = side.taken_away(&ours).await;
            let found = differences(wanted.spec(), is.spec(), &side.names);
            let found: Vec<String> = found.iter().filter(|c| c.field != "Name").map(ToString::to_string).collect();
            if !found.is_empty() && !SORTED.contains(flag) && !WITHOUT_EFFECT.contains(flag) {
                differing.push(format!("update --{flag} {value}: docker -> ours: {}", found.join("; ")));
            }
            let moved = differences(before.spec(), is.spec(), &side.names);
            if moved.is_empty() && !matches!(*flag, "isolation" | "rollback-parallelism") {
                differing.push(format!("update --{flag} {value} changed nothing"));
            }
            compared += 1;
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    // Tasks of the first two never start; the docker CLI reads a mode without its 0 as a decimal number.
    let refused_by_us = [
        "--mount type=bind,target=/b: it has no source, the path on the host",
        "--mount type=tmpfs,source=x,target=/y: a tmpfs has no source",
        "--secret source=key-a,mode=9: write the mode in octal, with its 0: mode=0400",
        "--secret source=key-a,mode=400: write the mode in octal, with its 0: mode=0400",
    ];
    assert_eq!(stricter, refused_by_us);
    assert!(compared >= 120 && refused >= 15, "{compared} comparisons, {refused} refused, unknown here: {unknown:?}");
}
