//! What the flags of `docker service create` and `docker service update` do, beside what ours do, on one engine.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use swarm_core::engine::{Body, Kind, NoPayloads, Object, Objects, ObjectsRead, Query, Reason, Sealed};
use swarm_docker::DockerEngine;
use swarm_tests::lab::TestLab;
use swarm_workload::{FLAGS, Given, On, apply_flags, differences, new_service};

/// A value for each flag that is taken for a new service, or for both.
const VALUES: &[(&str, &str)] = &[
    ("entrypoint", "sh -c 'echo a b'"),
    ("env", "A=1"),
    ("user", "1000:1000"),
    ("group", "audio"),
    ("workdir", "/tmp"),
    ("hostname", "{{.Service.Name}}"),
    ("tty", "true"),
    ("read-only", "true"),
    ("init", "true"),
    ("isolation", "default"),
    ("stop-signal", "SIGINT"),
    ("stop-grace-period", "1m30s"),
    ("cap-add", "net_admin"),
    ("cap-drop", "ALL"),
    ("credential-spec", "file://gmsa.json"),
    ("sysctl", "net.core.somaxconn=99"),
    ("ulimit", "nofile=100:200"),
    ("label", "a.b/c=d e"),
    ("container-label", "x=y"),
    ("mode", "global"),
    ("replicas", "3"),
    ("max-concurrent", "2"),
    ("replicas-max-per-node", "2"),
    ("constraint", "node.role==worker"),
    ("placement-pref", "spread=node.labels.zone"),
    ("limit-cpu", "0.25"),
    ("limit-memory", "64m"),
    ("limit-pids", "50"),
    ("reserve-cpu", "0.1"),
    ("reserve-memory", "1.5g"),
    ("generic-resource", "gpu=2"),
    ("network", "name=net-a,alias=db,alias=store"),
    ("publish", "published=8080,target=80,mode=host,protocol=udp"),
    ("endpoint-mode", "dnsrr"),
    ("dns", "10.0.0.53"),
    ("dns-option", "timeout:3"),
    ("dns-search", "example.org"),
    ("host", "db:10.0.0.9"),
    ("mount", "type=volume,source=data,target=/data,volume-label=a=b,volume-driver=local,volume-opt=o=size=1g,readonly"),
    ("secret", "source=key-a,target=/run/k,mode=0400,uid=7"),
    ("config", "conf-a"),
    ("health-cmd", "true || exit 1"),
    ("health-interval", "1m"),
    ("health-timeout", "2s"),
    ("health-retries", "4"),
    ("health-start-period", "10s"),
    ("health-start-interval", "3s"),
    ("no-healthcheck", "true"),
    ("restart-condition", "on-failure"),
    ("restart-delay", "7s"),
    ("restart-max-attempts", "3"),
    ("restart-window", "2m"),
    ("update-parallelism", "2"),
    ("update-delay", "10s"),
    ("update-monitor", "8s"),
    ("update-failure-action", "rollback"),
    ("update-max-failure-ratio", "0.25"),
    ("update-order", "start-first"),
    ("rollback-parallelism", "0"),
    ("rollback-delay", "3s"),
    ("rollback-monitor", "9s"),
    ("rollback-failure-action", "continue"),
    ("rollback-max-failure-ratio", "0.5"),
    ("rollback-order", "start-first"),
    ("log-driver", "json-file"),
    ("log-opt", "max-size=1m"),
];

/// A second value of those that have several forms.
const FORMS: &[(&str, &str)] = &[
    ("mode", "replicated-job"),
    ("mode", "global-job"),
    ("network", "net-b"),
    ("publish", "8080:80"),
    ("publish", "5000-5001:6000-6001/udp"),
    ("mount", "type=bind,source=/etc,target=/b,bind-propagation=rslave,ro"),
    ("mount", "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770"),
    ("mount", "source=named,target=/n"),
    ("secret", "key-a"),
    ("config", "source=conf-a,target=/etc/motd"),
    ("generic-resource", "fpga=ID7"),
    ("credential-spec", "registry://cred"),
    ("cap-add", "ALL"),
    ("ulimit", "nproc=30"),
    ("limit-cpu", "2"),
    ("host", "v6:2001:db8::1"),
    ("mount", "type=bind,target=/b"),
    ("mount", "type=volume,source=x,target=/y,tmpfs-size=1m"),
    ("mount", "type=tmpfs,source=x,target=/y"),
    ("mount", "source=x"),
    ("mount", "type=odd,source=x,target=/y"),
    ("publish", "127.0.0.1:80:80"),
    ("publish", "published=80"),
    ("publish", "mode=both,target=80"),
    ("publish", "70000:80"),
    ("update-order", "both"),
    ("update-failure-action", "stop"),
    ("update-max-failure-ratio", "2"),
    ("restart-condition", "always"),
    ("limit-cpu", "many"),
    ("limit-memory", "lots"),
    ("replicas", "-1"),
    ("health-interval", "10"),
    ("secret", "source=key-a,size=1"),
    ("secret", "source=key-a,mode=9"),
    ("secret", "source=key-a,mode=400"),
    ("placement-pref", "node.labels.x"),
    ("ulimit", "nofile=3:2"),
    ("host", "db"),
    ("mode", "some"),
    ("endpoint-mode", "dns"),
    ("stop-grace-period", "500ms"),
    ("tty", "false"),
];

/// For an update of a service that has one of everything: a value for each flag that is taken there only.
const CHANGES: &[(&str, &str)] = &[
    ("image", "busybox:other"),
    ("args", "sleep '1 2'"),
    ("env-add", "A=2"),
    ("env-rm", "B"),
    ("group-add", "video"),
    ("group-rm", "audio"),
    ("sysctl-add", "net.core.somaxconn=7"),
    ("sysctl-rm", "net.core.somaxconn"),
    ("ulimit-add", "nofile=1:2"),
    ("ulimit-rm", "nofile"),
    ("label-add", "team=b"),
    ("label-rm", "team"),
    ("container-label-add", "x=z"),
    ("container-label-rm", "x"),
    ("constraint-add", "node.labels.a==b"),
    ("constraint-rm", "node.labels.no==where"),
    ("placement-pref-add", "spread=node.labels.rack"),
    ("placement-pref-rm", "spread=node.labels.zone"),
    ("generic-resource-add", "fpga=1"),
    ("generic-resource-rm", "gpu"),
    ("network-add", "net-b"),
    ("network-rm", "net-a"),
    ("publish-add", "9090:90"),
    ("publish-rm", "80"),
    ("dns-add", "10.0.0.54"),
    ("dns-rm", "10.0.0.53"),
    ("dns-option-add", "attempts:2"),
    ("dns-option-rm", "timeout:3"),
    ("dns-search-add", "example.net"),
    ("dns-search-rm", "example.org"),
    ("host-add", "cache:10.0.0.8"),
    ("host-rm", "db:10.0.0.9"),
    ("mount-add", "type=volume,source=more,target=/more"),
    ("mount-rm", "/data"),
    ("secret-add", "key-b"),
    ("secret-rm", "key-a"),
    ("config-add", "source=conf-b,target=/b"),
    ("config-rm", "conf-a"),
];

/// What a service that is changed has before.
const BASE: &[(&str, &str)] = &[
    ("env", "A=1"),
    ("env", "B=2"),
    ("group", "audio"),
    ("sysctl", "net.core.somaxconn=99"),
    ("ulimit", "nofile=100:200"),
    ("label", "team=a"),
    ("container-label", "x=y"),
    ("placement-pref", "spread=node.labels.zone"),
    ("generic-resource", "gpu=2"),
    ("network", "net-a"),
    ("publish", "8080:80"),
    ("dns", "10.0.0.53"),
    ("dns-option", "timeout:3"),
    ("dns-search", "example.org"),
    ("host", "db:10.0.0.9"),
    ("mount", "type=volume,source=data,target=/data"),
    ("secret", "key-a"),
    ("config", "conf-a"),
];

/// The docker CLI sorts these lists as it changes them, though their order is the order in which they are asked; ours stay as they are.
const SORTED: &[&str] = &["dns-add", "dns-option-add", "dns-search-add"];

/// Flags that need others beside them.
fn with(flag: &str) -> &'static [(&'static str, &'static str)] {
    match flag {
        "max-concurrent" => &[("mode", "replicated-job"), ("replicas", "4")],
        "health-interval" | "health-timeout" | "health-retries" | "health-start-period" | "health-start-interval" => {
            &[("health-cmd", "true")]
        }
        "log-opt" => &[("log-driver", "json-file")],
        _ => &[],
    }
}

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
        let found = differences(&theirs.spec(), &ours.spec(), &side.names);
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
            let found = differences(&wanted.spec(), &is.spec(), &side.names);
            let found: Vec<String> = found.iter().filter(|c| c.field != "Name").map(ToString::to_string).collect();
            if !found.is_empty() && !SORTED.contains(flag) {
                differing.push(format!("update --{flag} {value}: docker -> ours: {}", found.join("; ")));
            }
            let moved = differences(&before.spec(), &is.spec(), &side.names);
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
