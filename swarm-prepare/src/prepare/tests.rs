use super::content::{Content, Given, chain, configuration, rules};
use super::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use swarm_core::ClusterSpec;
use swarm_core::engine::Payloads;
use swarm_core::family::Family;
use swarm_core::intent::{Converge, Intent, Next, SoFar};
use swarm_core::observe::{Observation, Observed, merge};
use swarm_core::plan::{Action, PlanOptions, Refusal};

fn spec(prepare: &str) -> ClusterSpec {
    let text = format!(
        "name: prod\nprepare: {prepare}\nhosts:\n  m1: {{ address: 10.0.0.1, role: manager }}\n  w1: {{ address: 10.0.0.2, role: worker }}\n"
    );
    swarm_file::parse(&text, &|_| None).unwrap().spec
}

fn bare() -> Ready {
    Ready {
        os: ["debian", "12", "bookworm", "-"].map(str::to_owned),
        packages: "apt".into(),
        services: "systemd".into(),
        config: "none".into(),
        daemon: Ok(serde_json::Map::new()),
        ..Ready::default()
    }
}

fn looked(ready: &Ready) -> Looked {
    ["m1", "w1"].map(|name| (name.into(), Ok(ready.clone()))).into()
}

/// Both hosts as they are promised to be.
fn observed(spec: &ClusterSpec, looked: &Looked) -> Observed {
    let hosts = promised(spec, looked).into_iter().map(|(name, engine)| {
        let report = swarm_core::observe::HostReport::of(Ok(engine));
        (name, report)
    });
    merge(spec, &Observation { hosts: hosts.collect(), ..Observation::default() }, &Default::default())
}

fn verbs(spec: &ClusterSpec, ready: &Ready, options: Options) -> Result<Vec<String>, String> {
    let looked = looked(ready);
    let all = wanted(spec, &looked, &observed(spec, &looked), &Given::default(), options);
    match all.refusals.first() {
        Some(refusal) => Err(refusal.to_string()),
        None => Ok(all.steps.values().next().into_iter().flatten().map(|s| s.action.verb().to_owned()).collect()),
    }
}

#[test]
fn a_bare_host_is_made_ready_before_it_joins() {
    let spec = spec("{ install: distro, daemon: { log-driver: local }, firewall: open, hooks: { before: \"true\", after: sync } }");
    let looked = looked(&bare());
    let observed = observed(&spec, &looked);
    let given = Given::default();
    let options = PlanOptions { no_key_place: None, ..PlanOptions::default() };
    let then = Converge { spec: &spec, options };
    let intent = Prepare { then, spec: &spec, looked: &looked, given: &given, options: Options::default() };
    let Next::Round(plan) = intent.next(&observed, SoFar::default()) else { panic!("a round") };
    let of = |host: &str| plan.steps.iter().filter(|s| s.host == Some(host.into())).map(|s| s.action.verb()).collect::<Vec<_>>();
    let first = ["hook-before", "configure-engine", "install-engine", "open-firewall", "hook-after"];
    assert_eq!(of("m1"), [&first[..], &["init"]].concat());
    assert_eq!(of("w1"), [&first[..], &["join"]].concat());
    let join = plan.steps.iter().find(|s| matches!(s.action, Action::Join(_))).unwrap();
    assert!(join.needs.iter().any(|need| need.as_str() == "m1/open-firewall"), "{join:?}");
    assert_eq!(swarm_core::plan::lint(&plan, &spec, &observed, &Default::default()), []);
    assert_eq!(Preparing.lint(&plan, &observed), []);
    // A join beside what is done on its host is found.
    let mut wrong = plan.clone();
    for step in &mut wrong.steps {
        if matches!(step.action, Action::Join(_)) {
            step.needs.retain(|need| !need.as_str().contains("hook"));
        }
    }
    assert!(Preparing.lint(&wrong, &observed).iter().any(|f| f.what.contains("beside the join")), "{wrong:?}");
    // The next round is about the swarm alone.
    assert!(matches!(intent.next(&observed, SoFar { rounds: 1, ..SoFar::default() }), Next::Round(plan) if plan.steps.len() == 2));
}

#[test]
fn a_login_is_put_into_the_group_once() {
    let spec = spec("{ docker_group: true }");
    let there = Ready { engine: Some("28.5.2".into()), running: true, login: "op".into(), ..bare() };
    let of = |ready: &Ready| verbs(&spec, ready, Options::default());
    assert_eq!(of(&there), Ok(vec!["join-group".to_owned()]));
    assert_eq!(of(&Ready { in_group: true, ..there.clone() }), Ok(Vec::new()));
    assert_eq!(of(&Ready { login: "root".into(), ..there.clone() }), Ok(Vec::new()));
    assert!(of(&Ready { uid: 1000, ..there }).unwrap_err().contains("sudo: true"));
}

#[test]
fn what_is_there_already_is_left_alone() {
    let spec = spec("{ install: distro, version: \"20.10\", daemon: { log-driver: local } }");
    let there = Ready {
        engine: Some("20.10.24+dfsg1".into()),
        running: true,
        daemon: Ok(json!({ "log-driver": "local", "debug": true }).as_object().cloned().unwrap_or_default()),
        ..bare()
    };
    assert_eq!(verbs(&spec, &there, Options::default()), Ok(vec![]));
    let stopped = Ready { running: false, ..there.clone() };
    assert_eq!(verbs(&spec, &stopped, Options::default()), Ok(vec!["start-engine".into()]));
    assert_eq!(promised(&spec, &looked(&stopped)).len(), 2, "it will run, and is in no swarm");
    assert_eq!(promised(&spec, &looked(&Ready { state: true, ..stopped.clone() })).len(), 0);
    let begun = Ready { installing: true, ..stopped };
    assert_eq!(verbs(&spec, &begun, Options::default()), Ok(vec!["install-engine".into()]));
    let other = Ready { daemon: Ok(serde_json::Map::new()), ..there.clone() };
    assert_eq!(verbs(&spec, &other, Options::default()), Ok(vec!["configure-engine".into()]));
    let all = looked(&Ready { engine: Some("26.1.5".into()), ..there });
    let said = wanted(&spec, &all, &observed(&spec, &all), &Given::default(), Options::default());
    assert!(said.steps.is_empty() && said.notes.iter().any(|n| n.contains("engine 26.1.5, and the file says 20.10")), "{said:?}");
    assert_eq!(promised(&spec, &looked(&Ready { state: true, ..bare() })), BTreeMap::new(), "it was in a swarm");
}

#[test]
fn what_cannot_be_done_is_refused_with_its_reason() {
    let distro = spec("{ install: distro }");
    let refused = |spec: &ClusterSpec, ready: Ready| verbs(spec, &ready, Options::default()).unwrap_err();
    assert!(
        refused(&distro, Ready { os: ["flatcar", "4", "-", "-"].map(str::to_owned), ..bare() }).contains("flatcar is replaced as a whole")
    );
    assert!(refused(&distro, Ready { packages: "none".into(), ..bare() }).contains("no package manager"));
    assert!(refused(&distro, Ready { services: "none".into(), ..bare() }).contains("no service manager"));
    assert!(refused(&distro, Ready { uid: 1000, ..bare() }).contains("set `sudo: true`"));
    let daemon = spec("{ daemon: { debug: true } }");
    assert!(refused(&daemon, Ready { daemon: Err("line 1".into()), ..bare() }).contains("cannot be read as JSON"));
    let offline = spec("{ install: offline, bundle: x.tgz }");
    assert!(refused(&offline, bare()).contains("x.tgz was not read"));
    let named = "name: prod\nprepare: { firewall: open }\nhosts:\n  m1: { address: a.example, advertise: eth0, role: manager }\n  w1: { address: 10.0.0.2, role: worker }\n";
    let named = swarm_file::parse(named, &|_| None).unwrap().spec;
    let looked = looked(&bare());
    let all = wanted(&named, &looked, &observed(&named, &looked), &Given::default(), Options::default());
    assert!(matches!(all.refusals.as_slice(), [Refusal::Unfit { host, why }] if host.as_str() == "w1" && why.contains("m1")), "{all:?}");
}

#[test]
fn containers_are_not_restarted_unasked() {
    let spec = spec("{ daemon: { debug: true } }");
    let there = looked(&Ready { engine: Some("28.0".into()), running: true, ..bare() });
    let mut seen = observed(&self::spec("{ install: distro }"), &looked(&bare()));
    for host in seen.hosts.values_mut() {
        host.report.engine.as_mut().unwrap().running_containers = 2;
    }
    let of = |options| wanted(&spec, &there, &seen, &Given::default(), options);
    let refused = of(Options::default());
    assert!(refused.steps.is_empty() && refused.refusals[0].to_string().contains("2 containers run there"), "{refused:?}");
    assert_eq!(of(Options { allow_restart: true, ..Options::default() }).steps.len(), 2);
}

#[test]
fn a_configuration_is_laid_over_what_is_there() {
    let map = |v: Value| v.as_object().cloned().unwrap();
    let there = map(json!({ "debug": true, "log-opts": { "max-size": "1m", "tag": "x" }, "dns": ["10.0.0.1"] }));
    let wanted = map(json!({ "debug": null, "log-opts": { "max-size": "2m" }, "dns": ["10.0.0.2"], "mtu": 1400 }));
    let new = configuration(&there, &wanted);
    assert_eq!(Value::Object(new), json!({ "log-opts": { "max-size": "2m", "tag": "x" }, "dns": ["10.0.0.2"], "mtu": 1400 }));
}

#[test]
fn rules_let_in_what_the_swarm_needs_and_nothing_else() {
    let spec = spec("{ firewall: open }");
    let of = |host: &str, encrypted| rules(&spec, spec.host(&host.into()).unwrap(), encrypted).unwrap();
    assert_eq!(
        of("m1", false).lines().collect::<Vec<_>>(),
        [
            "4 -s 10.0.0.2 -p tcp --dport 2377 -j ACCEPT",
            "4 -s 10.0.0.2 -p tcp --dport 7946 -j ACCEPT",
            "4 -s 10.0.0.2 -p udp --dport 7946 -j ACCEPT",
            "4 -s 10.0.0.2 -p udp --dport 4789 -j ACCEPT"
        ]
    );
    assert!(!of("w1", false).contains("2377") && of("w1", true).contains("-p esp"));
    assert_eq!(chain("prod"), "SWARM-prod");
    assert!(chain(&"a".repeat(63)).len() <= 28 && chain(&"a".repeat(63)) != chain(&("a".repeat(62) + "b")));
}

#[test]
fn a_password_of_a_proxy_is_in_what_is_sent_alone() {
    let spec = spec("{ proxy: { https: \"http://me:hunter2@proxy:3128\", no_proxy: [localhost, 10.0.0.0/8] } }");
    let looked = looked(&Ready { engine: Some("28.0".into()), running: true, ..bare() });
    let all = wanted(&spec, &looked, &observed(&spec, &looked), &Given::default(), Options::default());
    let shown = format!("{all:?}{}", serde_json::to_string(&all.steps).unwrap());
    assert!(shown.contains("configure-engine") && !shown.contains("hunter2"), "{shown}");
    let given = Given::default();
    let content = Content { spec: &spec, looked: &looked, given: &given, encrypted: false };
    let sent = content.payload("prepare/m1/configuration").unwrap();
    let lines: Vec<&str> = sent.expose().lines().collect();
    assert!(
        matches!(lines.as_slice(), ["{}", "swarm-prepare-proxy", digest, "HTTPS_PROXY=http://me:hunter2@proxy:3128", "NO_PROXY=localhost,10.0.0.0/8"] if digest.len() == 64),
        "{lines:?}"
    );
    assert!(content.payload("prepare/m1/else").is_err() && content.payload("prepare/x/rules").is_err());
}

#[test]
fn what_a_host_says_is_read() {
    let text = "hello\nswarm-prepare-begin\nos debian 12 bookworm -\npackages apt\nservices sysv\nengine 20.10.24+dfsg1\nrunning\nstate\nconfig abc\n\
        json eyJkZWJ1ZyI6dHJ1ZX0=\nproxy def\nfirewall SWARM-prod 123\nprepared\nswarm-prepare-end\n";
    let ready = parse_ready(text).unwrap();
    assert_eq!((ready.engine.as_deref(), ready.running, ready.state, ready.prepared), (Some("20.10.24+dfsg1"), true, true, true));
    assert_eq!(parse_ready(&text.replace("-begin\n", "-begin\nuid 1000\n")).unwrap().uid, 1000);
    let op = parse_ready(&text.replace("-begin\n", "-begin\nlogin op\nin-group\n")).unwrap();
    assert_eq!((op.login.as_str(), op.in_group, ready.in_group), ("op", true, false));
    assert_eq!((ready.config.as_str(), ready.daemon.unwrap()["debug"].as_bool()), ("abc", Some(true)));
    assert_eq!((ready.proxy.as_deref(), ready.firewall["SWARM-prod"].as_str()), (Some("def"), "123"));
    assert!(parse_ready("swarm-prepare-begin\nrunning\n").is_err());
    assert!(parse_ready("swarm-prepare-begin\njson e30x\nswarm-prepare-end\n").unwrap().daemon.is_err());
}
