//! The flags of `docker service create` and `docker service update`: values for each, and random sets of them for the docker CLI and for us.

use super::client::{Docker, Sent};
use super::{comparable, difference};
use fastrand::Rng;
use serde_json::{Value, json};
use std::path::Path;
use swarm_workload::{FLAGS, Given, On, apply_flags, new_service};

/// A value for each flag that is taken for a new service, or for both.
pub const VALUES: &[(&str, &str)] = &[
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
    ("oom-score-adj", "-5"),
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
pub const FORMS: &[(&str, &str)] = &[
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
    ("credential-spec", "config://conf-a"),
    ("cap-add", "ALL"),
    ("cap-add", "RESET"),
    ("cap-drop", "net_admin"),
    ("cap-drop", "reset"),
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
pub const CHANGES: &[(&str, &str)] = &[
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
pub const BASE: &[(&str, &str)] = &[
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

/// Flags that need others beside them.
pub fn with(flag: &str) -> &'static [(&'static str, &'static str)] {
    match flag {
        "max-concurrent" => &[("mode", "replicated-job"), ("replicas", "4")],
        "health-interval" | "health-timeout" | "health-retries" | "health-start-period" | "health-start-interval" => {
            &[("health-cmd", "true")]
        }
        "log-opt" => &[("log-driver", "json-file")],
        _ => &[],
    }
}

/// Lists whose order is that of the user.
const IN_ORDER: &[&str] = &["Args", "Command", "Test", "Mounts"];

/// What a client sends, with lists in order whose order says nothing, and networks by their names.
fn sorted(key: &str, value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), sorted(k, v))).collect(),
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(|item| sorted("", item)).collect();
            if !IN_ORDER.contains(&key) {
                items.sort_by_key(Value::to_string);
            }
            // What is asked for twice is there once or twice.
            if matches!(key, "Constraints" | "Groups" | "Configs" | "Secrets") {
                items.dedup();
            }
            Value::Array(items)
        }
        Value::String(text) if key == "Target" => json!(text.strip_prefix("id-").unwrap_or(text)),
        other => other.clone(),
    }
}

/// With what engines fill in taken out, as both are equal for an engine.
fn as_sent(spec: &Value) -> Option<Value> {
    let normal = swarm_workload::normal(sorted("", spec), &std::collections::BTreeMap::new());
    comparable("", "", &normal).map(|value| sorted("", &value))
}

/// Random sets of flags.
struct Sets {
    rng: Rng,
}

impl Sets {
    fn value(&mut self, name: &str, odd: bool) -> String {
        let all: Vec<&str> = VALUES.iter().chain(FORMS).chain(CHANGES).filter(|(flag, _)| *flag == name).map(|(_, value)| *value).collect();
        // Values that add something new stand in for those that take away.
        let stem = name.trim_end_matches("-add");
        let also: Vec<&str> = VALUES.iter().chain(FORMS).filter(|(flag, _)| *flag == stem).map(|(_, value)| *value).collect();
        let pool: Vec<&str> = all.into_iter().chain(also).collect();
        let value = pool.get(self.rng.usize(0..pool.len().max(1))).copied().unwrap_or("x");
        if odd { super::generate::mutated(&mut self.rng, value) } else { value.to_owned() }
    }

    fn set(&mut self, on: On, odd: bool) -> Vec<Given> {
        let names: Vec<&str> = FLAGS.iter().filter(|f| f.on == on || f.on == On::Both).map(|f| f.name).collect();
        let count = self.rng.usize(1..7);
        let at = self.rng.usize(0..count);
        let mut given: Vec<Given> = Vec::new();
        for index in 0..count {
            let name = names.get(self.rng.usize(0..names.len())).copied().unwrap();
            let flag = FLAGS.iter().find(|f| f.name == name).unwrap();
            if !flag.many && given.iter().any(|(other, _)| other == name) {
                continue;
            }
            let value = self.value(name, odd && index == at);
            // The same thing twice, or added and removed at once, is for each client as it likes.
            let stem = |name: &str| name.trim_end_matches("-add").trim_end_matches("-rm").to_owned();
            let again = given.iter().any(|(other, same)| other == name && *same == value || stem(other) == stem(name) && other != name);
            if again {
                continue;
            }
            for (other, value) in with(name) {
                if on == On::Create && !given.iter().any(|(there, _)| there == other) {
                    given.push(((*other).to_owned(), (*value).to_owned()));
                }
            }
            if !given.iter().any(|(other, _)| other == name && !flag.many) {
                given.push((name.to_owned(), value));
            }
        }
        given
    }
}

/// What came of many sets.
#[derive(Debug, Default)]
pub struct Played {
    /// Sets that both took and that mean the same.
    pub same: u32,
    /// Sets that both refuse.
    pub refused: u32,
    /// What differs.
    pub differ: Vec<String>,
}

/// Plays sets of flags of a seed: for a new service, and for one that is there.
pub fn play(cli: &Path, dir: &Path, seed: u64, cases: u32) -> Played {
    let docker = Docker::new(cli, dir);
    let mut sets = Sets { rng: Rng::with_seed(seed) };
    let mut played = Played::default();
    let mut base: Option<Value> = None;
    for case in 0..cases {
        let update = base.clone().filter(|_| case % 2 == 1);
        let odd = sets.rng.u32(0..3) == 0;
        let given = sets.set(if update.is_some() { On::Update } else { On::Create }, odd);
        let flags: Vec<String> = given.iter().map(|(name, value)| format!("--{name}={value}")).collect();
        let verb = if update.is_some() { "update" } else { "create" };
        let mut args: Vec<String> = ["service", verb, "--detach", "--no-resolve-image", "--quiet"].map(str::to_owned).into();
        args.extend(flags.clone());
        let theirs = match &update {
            None => {
                args.extend(["--name=web", "busybox:1", "sleep", "9"].map(str::to_owned));
                docker.run("flags", &args, &[], None)
            }
            Some(service) => {
                args.push("web".into());
                docker.run("flags", &args, &[], Some(service))
            }
        };
        let ours = match &update {
            None => new_service("web", "busybox:1", &["sleep".to_owned(), "9".to_owned()], &given),
            Some(service) => {
                // As a step has it: networks by their names.
                let mut spec = service.clone();
                for network in spec.pointer_mut("/TaskTemplate/Networks").and_then(Value::as_array_mut).into_iter().flatten() {
                    let name = network["Target"].as_str().unwrap().trim_start_matches("id-").to_owned();
                    network["Target"] = json!(name);
                }
                apply_flags(&mut spec, &given).map(|()| spec)
            }
        };
        let what = || format!("case {case} of seed {seed}: {verb} {}", flags.join(" "));
        match (theirs, ours) {
            (Err(_), Err(_)) => played.refused += 1,
            (Err(why), _) if why.contains("unknown flag") || why.contains("requires API version") => {}
            (Err(why), Ok(_)) if lax(&why) => {}
            (Err(why), Ok(_)) => played.differ.push(format!("{}\n    laxer: docker refuses it: {}", what(), why.trim())),
            (Ok(_), Err(why)) if strict(&why.join("; ")) => {}
            (Ok(_), Err(why)) => played.differ.push(format!("{}\n    stricter: ours refuses it: {}", what(), why.join("; "))),
            (Ok((sent, _)), Ok(ours)) => {
                let theirs: &Value = Sent::get(&sent, "services web").unwrap();
                let (a, b) = (as_sent(theirs), as_sent(&ours));
                if a == b {
                    played.same += 1;
                } else if !forgotten(update.is_some(), &given) {
                    played.differ.push(format!("{}\n    {}", what(), difference("", a.as_ref(), b.as_ref())));
                }
                if update.is_none() {
                    base = Some(theirs.clone());
                }
            }
        }
    }
    played
}

/// What docker refuses and we take. Objects that are not there are found missing when the plan is made; a network that is not one of the service's is no error.
fn lax(why: &str) -> bool {
    ["no such thing: GET", "config not found", "secret not found", "parse error on line", "invalid field in", "already attached to network"]
        .iter()
        .any(|said| why.contains(said))
}

/// What docker forgets in an update: an interval of health checks at the start, and options of the log driver that the engine has.
fn forgotten(update: bool, given: &[Given]) -> bool {
    let has = |name: &str| given.iter().any(|(flag, _)| flag == name);
    // It refers to a config twice that is asked for twice, and leaves a job's tasks at once as they are.
    let again = given.iter().any(|(_, value)| value.starts_with("config://"));
    update && (again || has("max-concurrent") || has("health-start-interval") || has("log-opt") && !has("log-driver"))
}

/// What we refuse and docker takes: words that an engine refuses, modes without their 0, mounts whose tasks never start, policies of jobs.
fn strict(why: &str) -> bool {
    let words = ["--endpoint-mode", "--restart-condition", "--mode ", "-failure-action", "-order", "--isolation"];
    let said = [
        "write the mode in octal",
        "write a number from 0 to 1",
        "write type=volume",
        "it has no source",
        "a tmpfs has no source",
        "only services of mode replicated-job have it",
        "a job has no updates",
        "without spaces in the key",
        "it does not go with --no-healthcheck",
        "write a domain",
        "write a duration",
        "only services with replicas have it",
    ];
    why.contains(": write ") && words.iter().any(|flag| why.contains(flag)) || said.iter().any(|said| why.contains(said))
}
