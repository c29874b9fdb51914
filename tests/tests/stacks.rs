//! Stacks on real engines, beside the docker CLI that deploys the same files.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use swarm_core::engine::{Kind, Object, ObjectsRead, Query};
use swarm_docker::DockerEngine;
use swarm_tests::cli::{self, Ran};
use swarm_tests::composes::generate::{Generator, UNSET};
use swarm_tests::composes::{Clis, known, play, schema};
use swarm_tests::engines;
use swarm_tests::lab::TestLab;

/// What the Compose files take from the environment.
const VARIABLES: &[(&str, &str)] =
    &[("TAG", "1.2"), ("COUNT", "3"), ("YES", "true"), ("PORT", "7070"), ("SECRET_NAME", "custom_b_38"), ("HOST_SET", "from the host")];

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("compose")
}

/// The newest docker CLI that can be had. The one of 20.10 reads several things in another way, so there must be a newer one; where it cannot
/// be fetched, that is written past the test harness.
fn docker_cli() -> Option<PathBuf> {
    let newest = engines::newer().last().map(|dir| dir.join("usr/bin/docker")).filter(|path| path.is_file());
    if newest.is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: Compose files are not compared, for no newer docker CLI could be fetched (see scripts/engines)"
        );
    }
    newest
}

/// `docker …` of the newest CLI inside a host.
fn docker(lab: &TestLab, host: &str, args: &[&str]) -> Result<String, String> {
    let cli = docker_cli().unwrap();
    let mut argv: Vec<String> = vec!["env".into()];
    argv.extend(VARIABLES.iter().map(|(key, value)| format!("{key}={value}")));
    argv.push(cli.to_str().unwrap().to_owned());
    argv.extend(args.iter().map(|a| (*a).to_owned()));
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    lab.host(host).exec(&argv).map_err(|e| e.to_string())
}

fn swarm(args: &[&str]) -> Ran {
    let mut command = cli::command(args);
    command.envs(VARIABLES.iter().copied());
    command.output().unwrap().into()
}

/// Without what is not there, and without what only one swarm has.
fn comparable(value: &Value, names: &BTreeMap<String, String>) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(key, _)| !matches!(key.as_str(), "SecretID" | "ConfigID"));
            let kept = kept.map(|(key, value)| (key.clone(), comparable(value, names)));
            Value::Object(kept.filter(|(_, v)| !v.is_null() && *v != serde_json::json!({}) && *v != serde_json::json!([])).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| comparable(item, names)).collect()),
        // Networks of the nodes themselves have an id that no list has.
        Value::String(text) if text.len() == 25 && text.chars().all(|c| c.is_ascii_alphanumeric()) && !names.contains_key(text) => {
            "an id".into()
        }
        Value::String(text) => Value::String(names.get(text).unwrap_or(text).clone()),
        other => other.clone(),
    }
}

/// Everything of a stack as a swarm has it, by kind and name.
async fn stored(engine: &DockerEngine, stack: &str) -> BTreeMap<String, Value> {
    let networks = engine.list(&Query::all(Kind::Network)).await.unwrap();
    let names: BTreeMap<String, String> = networks.iter().map(|n| (n.id().to_owned(), n.name().to_owned())).collect();
    let mut all = BTreeMap::new();
    for kind in [Kind::Service, Kind::Network, Kind::Secret, Kind::Config] {
        let query = Query::all(kind).with("label", format!("com.docker.stack.namespace={stack}"));
        for object in engine.list(&query).await.unwrap() {
            let spec = match kind {
                Kind::Network => network(&object),
                _ => object.spec(),
            };
            let mut spec = comparable(&spec, &names);
            in_one_order(&mut spec);
            all.insert(format!("{kind} {}", object.name()), spec);
        }
    }
    all
}

/// The docker CLI keeps references by their targets in a Go map and sorts what comes out of it by the name of the secret or config alone
/// (docker/cli `cli/command/service/parse.go`, `cli/compose/convert/service.go`), so those to one object come in any order.
fn in_one_order(spec: &mut Value) {
    for (list, name) in [("Secrets", "SecretName"), ("Configs", "ConfigName")] {
        if let Some(references) = spec.pointer_mut(&format!("/TaskTemplate/ContainerSpec/{list}")).and_then(Value::as_array_mut) {
            let text = |reference: &Value, place: &str| reference.pointer(place).and_then(Value::as_str).unwrap_or_default().to_owned();
            references.sort_by_key(|r| (text(r, &format!("/{name}")), text(r, "/File/Name")));
        }
    }
}

/// What of a network a file decides.
fn network(object: &Object) -> Value {
    let mut kept = serde_json::Map::new();
    for key in ["Name", "Driver", "Internal", "Attachable", "EnableIPv6", "Labels", "IPAM", "Scope", "Ingress"] {
        kept.extend(object.part(&format!("/{key}")).map(|value| (key.to_owned(), value)));
    }
    let mut options = object.part("/Options").unwrap_or(Value::Null);
    if let Some(map) = options.as_object_mut() {
        map.remove("com.docker.network.driver.overlay.vxlanid_list");
    }
    kept.insert("Options".into(), options);
    // Subnets are given out by the engine in turn, unless the file has one.
    if let Some(ipam) = kept.get_mut("IPAM").and_then(Value::as_object_mut)
        && !object.name().contains("named_net")
    {
        ipam.remove("Config");
    }
    Value::Object(kept)
}

/// A host that is a swarm of its own, with the objects that files take from elsewhere.
fn alone(lab: &TestLab, host: &str) -> PathBuf {
    let address = lab.host(host).address.to_string();
    lab.docker(host, &["swarm", "init", "--advertise-addr", &address]);
    // No task is to run: their images are nowhere, and an engine that asks for them without end is slow to answer anything.
    lab.docker(host, &["node", "update", "--availability", "drain", host]);
    lab.docker(host, &["network", "create", "-d", "overlay", "--attachable", "outside_net"]);
    for name in ["outer", "outside"] {
        lab.docker(host, &["network", "create", "-d", "overlay", name]);
        lab.docker(host, &["config", "create", name, files().join("files/one.txt").to_str().unwrap()]);
    }
    lab.docker(host, &["secret", "create", "outside", files().join("files/one.txt").to_str().unwrap()]);
    lab.docker(host, &["secret", "create", "outer", files().join("files/one.txt").to_str().unwrap()]);
    lab.docker(host, &["config", "create", "outside_conf", files().join("files/one.txt").to_str().unwrap()]);
    lab.file(&lab.text(&[(host, "manager", "")]))
}

/// The same files, deployed by the docker CLI and by us on twin swarms: what the swarms have is equal field by field; each finds nothing
/// to do on what the other deployed.
#[tokio::test]
#[ignore = "full"]
async fn compose_files_mean_what_docker_makes_of_them() {
    if docker_cli().is_none() {
        return;
    }
    let lab = TestLab::up(2, 0);
    let (theirs, ours) = (alone(&lab, "m1"), alone(&lab, "m2"));
    let engine = |host: &str| lab.host(host).socket().to_str().unwrap().to_owned();
    let (docker_side, our_side) = (DockerEngine::local(&engine("m1")).await.unwrap(), DockerEngine::local(&engine("m2")).await.unwrap());
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(files()).unwrap().map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "yml")).collect();
    names.sort();
    let only = std::env::var("ONLY").unwrap_or_default();
    let (mut wrong, mut refused): (Vec<String>, u32) = (Vec::new(), 0);
    // Some more are generated: what the docker CLI lets through is judged by an engine.
    let dir = tempfile::tempdir().unwrap();
    swarm_tests::lab::sh(&["cp", "-r", files().join("files").to_str().unwrap(), dir.path().to_str().unwrap()]);
    let schema = schema::of(&docker_cli().unwrap());
    let mut generator = Generator::new(&schema, 49);
    for number in 50..66 {
        // An engine looks a minute for a driver of secrets that it does not have; older versions lack most keys.
        let fits = |text: &str| !text.contains("vault") && !text.contains("version:");
        let made = std::iter::repeat_with(|| generator.file(false)).find(|made| fits(&made.tree.file())).unwrap();
        // Each stack has objects of its own.
        let mut text = made.tree.file().replace("own-", &format!("own-{number}-"));
        for (name, value) in made.variables.iter().rev() {
            let unset = value == UNSET;
            // Both read the same environment; what they do with variables is compared elsewhere.
            text = text.replace(&format!("${{{name}}}"), value).replace(&format!("${{{name}:?must be set}}"), value);
            text = if unset { text } else { text.replace(&format!("${name}"), value) };
        }
        let path = dir.path().join(format!("{number}-generated.yml"));
        std::fs::write(&path, text).unwrap();
        names.push(path);
    }
    for path in names.iter().filter(|p| p.file_stem().unwrap().to_str().unwrap().starts_with(&only)) {
        let file = path.file_stem().unwrap().to_str().unwrap();
        let path = path.to_str().unwrap();
        let stack = format!("s{}", &file[..2]);
        if let Err(error) = docker(&lab, "m1", &["stack", "deploy", "--detach=true", "--resolve-image", "never", "-c", path, &stack]) {
            if !file.ends_with("generated") {
                wrong.push(format!("{file}: docker refuses it: {error}"));
            }
            // What an engine refuses it refuses us as well.
            let deploy = ["stack", "deploy", "-f", ours.to_str().unwrap(), "-c", path, &stack, "--detach", "--resolve-image", "never"];
            let ran = swarm(&deploy);
            if ran.code == 0 {
                wrong.push(format!("{file}: docker refuses it, and ours does not: {error}"));
            }
            refused += 1;
            continue;
        }
        let deploy = ["stack", "deploy", "-f", ours.to_str().unwrap(), "-c", path, &stack, "--detach", "--resolve-image", "never"];
        let ran = swarm(&deploy);
        if ran.code != 0 {
            wrong.push(format!("{file}: ours gives {}: {}{}", ran.code, ran.out, ran.err));
            continue;
        }
        let (by_docker, by_us) = (stored(&docker_side, &stack).await, stored(&our_side, &stack).await);
        for key in by_docker.keys().chain(by_us.keys().filter(|k| !by_docker.contains_key(*k))) {
            let (a, b) = (by_docker.get(key), by_us.get(key));
            if a != b {
                let show = |v: Option<&Value>| v.map_or("not there".to_owned(), |v| serde_json::to_string(v).unwrap());
                wrong.push(format!("{file}: {key}\n    docker: {}\n    ours:   {}", show(a), show(b)));
            }
        }
        let diff = swarm(&["stack", "diff", "-f", theirs.to_str().unwrap(), "-c", path, &stack]);
        if diff.code != 0 {
            wrong.push(format!("{file}: after docker ours would change something ({}):\n{}{}", diff.code, diff.out, diff.err));
        }
        docker(&lab, "m2", &["stack", "deploy", "--detach=true", "--resolve-image", "never", "-c", path, &stack]).unwrap();
        if stored(&our_side, &stack).await != by_us {
            wrong.push(format!("{file}: docker changes what we deployed"));
        }
    }
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
    assert!(refused < 12, "{refused} are refused by an engine");
    let listed = docker(&lab, "m2", &["stack", "ls"]).unwrap();
    assert!(!only.is_empty() || listed.contains("s01") && listed.contains("s47"), "{listed}");
}

/// Files made from the docker CLI's own schema, every key in every form at least twice, read by it and by us: what each would send is equal,
/// and what one refuses the other refuses. `COMPOSE_CASES` makes it more.
#[test]
fn generated_files_mean_what_docker_makes_of_them() {
    if docker_cli().is_none() {
        return;
    }
    let cases = std::env::var("COMPOSE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(600);
    for (seed, cases, each) in [(1, cases, 1), (2, cases / 2, 2), (3, cases / 6, 3)] {
        let dir = tempfile::tempdir().unwrap();
        let newest = docker_cli().unwrap();
        let clis = Clis { newest: &newest, older: None };
        let report = play(&clis, dir.path(), seed, cases, each, &known);
        assert!(report.differ.is_empty(), "{} of {cases} differ\n{}", report.differ.len(), report.differ.join("\n"));
        assert!(report.unset.is_empty() || each > 1, "never set twice: {}", report.unset.join(" "));
        // Half of the files have nothing odd; were many of them refused, little would be compared.
        assert!(
            report.refusals.len() as u32 * 6 < cases,
            "{} of {cases} files are refused\n{}",
            report.refusals.len(),
            report.refusals.join("\n")
        );
        assert!(report.same * 3 > cases && report.refused > 0, "{} of {cases} are the same", report.same);
    }
}

/// Files of version 3.9, which the docker CLI of 20.10 reads too: what it sends is what the newest one and ours send, but for `extra_hosts`, where it
/// knows neither `NAME=ADDRESS` nor brackets.
#[test]
fn files_of_an_older_version_mean_what_the_docker_cli_of_20_10_makes_of_them() {
    let (Some(newest), older) = (docker_cli(), Path::new("/usr/bin/docker")) else { return };
    let version = std::process::Command::new(older).arg("--version").output().unwrap();
    if !String::from_utf8_lossy(&version.stdout).contains("version 20.10.") {
        let _ = writeln!(std::io::stderr(), "SKIPPED: the docker CLI of this machine is not of 20.10");
        return;
    }
    let cases = std::env::var("COMPOSE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    let dir = tempfile::tempdir().unwrap();
    let report = play(&Clis { newest: &newest, older: Some(older) }, dir.path(), 5, cases, 1, &known);
    assert!(report.differ.is_empty(), "{}", report.differ.join("\n"));
    let unlike: Vec<&str> =
        report.unlike.iter().flat_map(|why| why.lines()).filter(|line| !line.contains(".ContainerSpec.Hosts: ")).collect();
    assert!(unlike.is_empty(), "the docker CLI of 20.10 sends otherwise: {}", unlike.join("\n"));
    assert!(report.alike * 2 > cases && report.newer * 10 < cases, "{} of {cases} alike, {} refused", report.alike, report.newer);
}

/// Two and three files over one another, as the docker CLI lays them.
#[tokio::test]
async fn files_are_merged_as_docker_merges_them() {
    if docker_cli().is_none() {
        return;
    }
    let lab = TestLab::up(2, 0);
    alone(&lab, "m1");
    let ours = alone(&lab, "m2");
    let connect = |host: &str| lab.host(host).socket().to_str().unwrap().to_owned();
    let (docker_side, our_side) = (DockerEngine::local(&connect("m1")).await.unwrap(), DockerEngine::local(&connect("m2")).await.unwrap());
    let file = |name: &str| files().join("merged").join(name).to_str().unwrap().to_owned();
    let mut wrong = Vec::new();
    for (stack, names) in [("ab", vec!["a.yml", "b.yml"]), ("abc", vec!["a.yml", "b.yml", "c.yml"]), ("ac", vec!["a.yml", "c.yml"])] {
        let list: Vec<String> = names.iter().flat_map(|name| ["-c".to_owned(), file(name)]).collect();
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        docker(&lab, "m1", &[&["stack", "deploy", "--detach=true", "--resolve-image", "never"], list.as_slice(), &[stack]].concat())
            .unwrap();
        let ran = swarm(
            &[&["stack", "deploy", "-f", ours.to_str().unwrap(), "--detach", "--resolve-image", "never"], list.as_slice(), &[stack]]
                .concat(),
        );
        assert_eq!(ran.code, 0, "{ran:?}");
        let (by_docker, by_us) = (stored(&docker_side, stack).await, stored(&our_side, stack).await);
        for (key, value) in &by_docker {
            if by_us.get(key) != Some(value) {
                wrong.push(format!("{stack}: {key}\n    docker: {value}\n    ours:   {:?}", by_us.get(key).map(Value::to_string)));
            }
        }
        assert_eq!(by_docker.keys().collect::<Vec<_>>(), by_us.keys().collect::<Vec<_>>());
        for host in ["m1", "m2"] {
            docker(&lab, host, &["stack", "rm", "--detach=true", stack]).unwrap();
        }
        swarm_tests::lab::eventually("the stacks are gone", std::time::Duration::from_secs(30), || {
            ["m1", "m2"].iter().all(|host| {
                docker(&lab, host, &["network", "ls", "--filter", &format!("label=com.docker.stack.namespace={stack}"), "-q"])
                    .unwrap()
                    .trim()
                    .is_empty()
            })
        })
        .await;
    }
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
}

/// What docker refuses is refused, before anything is changed, with the place and the fix.
#[tokio::test]
async fn what_docker_refuses_is_refused() {
    if docker_cli().is_none() {
        return;
    }
    let lab = TestLab::up(2, 0);
    alone(&lab, "m1");
    let ours = alone(&lab, "m2");
    let engine = DockerEngine::local(lab.host("m2").socket().to_str().unwrap()).await.unwrap();
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(files().join("refused")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        count += 1;
        let path = path.to_str().unwrap();
        if docker(&lab, "m1", &["stack", "deploy", "--detach=true", "--resolve-image", "never", "-c", path, "bad"]).is_ok() {
            wrong.push(format!("{name}: docker takes it"));
        }
        let ran = swarm(&["stack", "deploy", "-f", ours.to_str().unwrap(), "-c", path, "bad", "--detach", "--resolve-image", "never"]);
        if ran.code != 1 {
            wrong.push(format!("{name}: ours takes it: {ran:?}"));
        }
        // A refusal by the swarm names the object; one by the file the line.
        if !(ran.err.contains(".yml:") || ran.err.contains("refused:")) || !ran.err.contains("; ") {
            wrong.push(format!("{name}: no place or no fix: {}", ran.err));
        }
    }
    assert!(stored(&engine, "bad").await.is_empty());
    assert!(count >= 40, "{count}");
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
}

/// Labels of a secret and a config that are there follow the file, and then neither program has anything to do.
#[tokio::test]
async fn labels_of_secrets_and_configs_follow_the_file() {
    if docker_cli().is_none() {
        return;
    }
    let lab = TestLab::up(1, 0);
    let file = alone(&lab, "m1");
    let dir = lab.lab.dir.join("labels");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("data"), "content\n").unwrap();
    let compose = dir.join("app.yml");
    let text = |team: &str| {
        format!(
            "version: '3.8'\nservices:\n  web: {{ image: busybox, deploy: {{ replicas: 0 }}, secrets: [key], configs: [conf] }}\n\
             secrets:\n  key: {{ file: ./data, labels: {{ {team} }} }}\nconfigs:\n  conf: {{ file: ./data, labels: {{ {team} }} }}\n"
        )
    };
    let (path, cluster) = (compose.to_str().unwrap(), file.to_str().unwrap());
    let ours = || swarm(&["stack", "deploy", "-f", cluster, "-c", path, "app", "--resolve-image", "never"]);
    let labels = |kind: &str, name: &str| lab.docker("m1", &[kind, "inspect", "-f", "{{json .Spec.Labels}} {{.Version.Index}}", name]);
    for (team, shown) in [("team: a", "\"team\":\"a\""), ("team: b", "\"team\":\"b\""), ("", "{\"com.docker.stack.namespace\":\"app\"}")] {
        std::fs::write(&compose, text(team)).unwrap();
        let deployed = ours();
        assert_eq!(deployed.code, 0, "{deployed:?}");
        for (kind, name) in [("secret", "app_key"), ("config", "app_conf")] {
            assert!(labels(kind, name).contains(shown), "{}", labels(kind, name));
        }
        let before = (labels("secret", "app_key"), labels("config", "app_conf"));
        let again = ours();
        assert!(again.code == 0 && (labels("secret", "app_key"), labels("config", "app_conf")) == before, "{again:?}");
        docker(&lab, "m1", &["stack", "deploy", "--resolve-image", "never", "-c", path, "app"]).unwrap();
        let after_docker = labels("secret", "app_key");
        assert_eq!(after_docker.split(' ').next(), before.0.split(' ').next());
    }
}
