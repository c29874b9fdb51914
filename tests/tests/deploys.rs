//! Stacks that run: brought up, updated, failing, scaled, removed, on real engines.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;
use swarm_tests::cli::{self, Ran};
use swarm_tests::lab::{TestLab, converge, eventually, sh};

/// An image of a static busybox under some tags, in every host.
pub(crate) fn images(lab: &TestLab, tags: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::create_dir_all(root.join("www")).unwrap();
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for name in ["sh", "httpd", "sleep", "cat", "wget", "nslookup", "printf", "true", "false", "echo", "kill", "trap"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    let (archive, saved) = (dir.path().join("root.tar"), dir.path().join("images.tar"));
    sh(&["tar", "-C", root.to_str().unwrap(), "-cf", archive.to_str().unwrap(), "."]);
    // Through pipes: a bare host sees no file of this machine.
    let docker = |args: &[&str], from: Stdio, to: Stdio| {
        let ran = lab.host("m1").enter().unwrap().arg("docker").args(args).stdin(from).stdout(to).status().unwrap();
        assert!(ran.success(), "{args:?}");
    };
    docker(&["import", "-", tags[0]], std::fs::File::open(&archive).unwrap().into(), Stdio::null());
    for tag in &tags[1..] {
        lab.docker("m1", &["tag", tags[0], tag]);
    }
    docker(&[&["save"], tags].concat(), Stdio::null(), std::fs::File::create(&saved).unwrap().into());
    lab.lab.load(&saved).unwrap();
}

pub(crate) struct Bed {
    pub(crate) lab: TestLab,
    pub(crate) file: PathBuf,
    pub(crate) dir: PathBuf,
}

impl Bed {
    pub(crate) async fn up(managers: usize, workers: usize) -> Self {
        let lab = TestLab::up(managers, workers);
        let text = lab.text(&lab.all(""));
        converge(&text).await;
        images(&lab, &["app:1", "app:2", "app:3"]);
        let file = lab.file(&text);
        let dir = lab.lab.dir.join("app");
        std::fs::create_dir_all(&dir).unwrap();
        Self { lab, file, dir }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.join(name), text).unwrap();
    }

    pub(crate) fn swarm(&self, args: &[&str]) -> Ran {
        let file = self.file.to_str().unwrap();
        let ran = cli::command(args).args(["-f", file]).current_dir(&self.dir).output().unwrap();
        ran.into()
    }

    /// A verb with the cluster's file before its own arguments, which may end with a command.
    pub(crate) fn swarm_first(&self, verb: &[&str], args: &[&str]) -> Ran {
        self.begin_first(verb, args).wait_with_output().unwrap().into()
    }

    /// The same, begun: what it reads and writes is at hand.
    pub(crate) fn begin_first(&self, verb: &[&str], args: &[&str]) -> Child {
        let file = self.file.to_str().unwrap();
        let mut command = cli::command(&[verb, &["-f", file], args].concat());
        let stdin = if args.contains(&"-i") { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).current_dir(&self.dir).spawn().unwrap()
    }

    pub(crate) fn deploy(&self, more: &[&str]) -> Ran {
        self.swarm(&[&["stack", "deploy", "-c", "app.yml", "app", "--resolve-image", "never"], more].concat())
    }

    /// Another file for the cluster.
    pub(crate) fn describe(&self, text: &str) {
        std::fs::write(&self.file, text).unwrap();
    }

    /// Containers of a service on a host.
    fn containers(&self, host: &str, service: &str) -> Vec<String> {
        let filter = format!("label=com.docker.swarm.service.name={service}");
        self.lab.docker(host, &["ps", "-q", "--filter", &filter]).lines().map(str::to_owned).collect()
    }

    pub(crate) fn all_containers(&self, service: &str) -> Vec<(String, String)> {
        let hosts = self.lab.lab.hosts.iter().map(|h| h.name.clone());
        hosts.flat_map(|host| self.containers(&host, service).into_iter().map(move |c| (host.clone(), c))).collect()
    }

    /// The containers of a service once there are so many and none of those that were replaced, which may take their grace to end.
    pub(crate) async fn replaced(&self, service: &str, count: usize, old: &[(String, String)]) -> Vec<(String, String)> {
        let mut new = Vec::new();
        eventually("new tasks and no old one", Duration::from_secs(30), || {
            new = self.all_containers(service);
            new.len() == count && new.iter().all(|c| !old.contains(c))
        })
        .await;
        new
    }
}

const APP: &str = r#"
version: "3.8"
services:
  web:
    image: app:1
    command: /bin/httpd -f -p 80 -h /www
    stop_grace_period: 1s
    environment: { COLOUR: blue }
    configs: [{ source: motd, target: /www/motd }]
    secrets: [key]
    networks: [front]
    depends_on: [once]
    deploy:
      replicas: 3
      endpoint_mode: dnsrr
      update_config: { parallelism: 1, order: start-first, monitor: 1s }
  once:
    image: app:1
    command: [/bin/true]
    deploy: { endpoint_mode: dnsrr, restart_policy: { condition: none } }
networks: { front: { attachable: true } }
configs: { motd: { file: motd } }
secrets: { key: { file: key } }
"#;

/// The life of a stack, in one lab: up, nothing to do, update, a changed config, scale, a failing update, a rolled back one, removal.
#[tokio::test]
async fn the_life_of_a_stack() {
    let bed = Bed::up(1, 2).await;
    bed.write("motd", "hello\n");
    bed.write("key", "s3cret-value\n");
    bed.write("app.yml", APP);
    let up = bed.deploy(&[]);
    assert_eq!(up.code, 0, "{up:?}");
    assert!(!format!("{up:?}").contains("s3cret-value"), "{up:?}");
    let running = bed.all_containers("app_web");
    assert_eq!(running.len(), 3, "{running:?}");
    let (host, container) = &running[0];
    let inside = |path: &str| bed.lab.docker(host, &["exec", container, "/bin/cat", path]);
    assert_eq!((inside("/run/secrets/key").as_str(), inside("/www/motd").as_str()), ("s3cret-value\n", "hello\n"));
    // The one-shot came before the service that depends on it.
    let before = up.err.find("service/app_once/create-service: done").unwrap();
    assert!(before < up.err.find("service/app_web/create-service: started").unwrap(), "{}", up.err);

    let again = bed.deploy(&[]);
    assert!(again.code == 0 && again.out.contains("Nothing to do"), "{again:?}");

    // A start-first update: shown by field, and every task is a new one.
    bed.write("app.yml", &APP.replace("blue", "green"));
    let diff = bed.swarm(&["stack", "diff", "-c", "app.yml", "app"]);
    assert!(diff.code == 2 && diff.out.contains("Env.COLOUR: blue -> green"), "{diff:?}");
    assert!(diff.out.contains("3 tasks are replaced, one at a time, start-first"), "{diff:?}");
    let update = bed.deploy(&[]);
    assert_eq!(update.code, 0, "{update:?}");
    let updated = bed.replaced("app_web", 3, &running).await;

    // A changed config becomes a new one, and the service uses it.
    bed.write("motd", "changed\n");
    let rotated = bed.deploy(&[]);
    assert!(
        rotated.code == 0 && rotated.out.contains("create-config") && rotated.out.contains("a config cannot be changed"),
        "{rotated:?}"
    );
    let running = bed.replaced("app_web", 3, &updated).await;
    for (host, container) in &running {
        assert_eq!(bed.lab.docker(host, &["exec", container, "/bin/cat", "/www/motd"]), "changed\n");
    }
    assert!(bed.deploy(&[]).out.contains("Nothing to do"));

    // What a secret holds cannot be read back: a manager compares it where that is asked for, and changes nothing.
    let differs = |more: &[&str]| bed.swarm(&[&["stack", "diff", "-c", "app.yml", "app", "--resolve-image", "never"], more].concat());
    let versions = || bed.lab.docker("m1", &["secret", "inspect", "app_key", "--format", "{{.Version.Index}} {{.UpdatedAt}}"]);
    let before = versions();
    assert!(differs(&["--compare-secrets"]).code == 0, "{:?}", differs(&["--compare-secrets"]));
    bed.write("key", "n3w-value\n");
    let unseen = differs(&[]);
    assert!(unseen.code == 0 && unseen.err.contains("--compare-secrets asks a manager"), "{unseen:?}");
    let seen = differs(&["--compare-secrets"]);
    assert!(seen.code == 2 && seen.out.contains("it holds something else than its file"), "{seen:?}");
    assert_eq!(versions(), before);
    let replaced = bed.deploy(&["--compare-secrets", "--yes"]);
    assert!(replaced.code == 0 && !format!("{replaced:?}").contains("n3w-value"), "{replaced:?}");
    let (host, container) = &bed.replaced("app_web", 3, &running).await[0];
    assert_eq!(bed.lab.docker(host, &["exec", container, "/bin/cat", "/run/secrets/key"]), "n3w-value\n");
    assert!(bed.deploy(&["--compare-secrets"]).out.contains("Nothing to do"));

    // The same by the cluster's file.
    let stacks = format!("stacks: {{ app: {{ compose: [{}] }} }}", bed.dir.join("app.yml").display());
    let whole = bed.lab.file(&bed.lab.text_with(&bed.lab.all(""), &stacks));
    let by_file = |args: &[&str]| cli::run(&[args, &["-f", whole.to_str().unwrap(), "--compare-secrets"]].concat());
    let same = by_file(&["plan"]);
    assert_eq!(same.code, 0, "{same:?}");
    bed.write("key", "th1rd-value\n");
    let unseen = cli::run(&["plan", "-f", whole.to_str().unwrap()]);
    let seen = by_file(&["plan"]);
    assert!(unseen.code == 0 && seen.code == 2 && seen.out.contains("it holds something else than its file"), "{unseen:?} {seen:?}");
    let before = bed.all_containers("app_web");
    let applied = by_file(&["apply", "--yes"]);
    assert!(applied.code == 0 && !format!("{applied:?}").contains("th1rd-value"), "{applied:?}");
    let (host, container) = &bed.replaced("app_web", 3, &before).await[0];
    assert_eq!(bed.lab.docker(host, &["exec", container, "/bin/cat", "/run/secrets/key"]), "th1rd-value\n");
    assert_eq!(by_file(&["plan"]).code, 0);

    let scaled = bed.swarm(&["service", "scale", "app_web=2"]);
    assert!(scaled.code == 0 && scaled.out.contains("Mode.Replicated.Replicas: 3 -> 2"), "{scaled:?}");
    eventually("two tasks are left", Duration::from_secs(20), || bed.all_containers("app_web").len() == 2).await;

    // An update whose tasks fail: paused, and what failed is named with its node.
    let bad = APP.replace("blue", "green").replace("/bin/httpd -f -p 80 -h /www", "/bin/false");
    bed.write("app.yml", &bad);
    let paused = bed.deploy(&[]);
    assert_eq!(paused.code, 6, "{paused:?}");
    assert!(paused.err.contains("app_web.") && paused.err.contains("non-zero exit"), "{paused:?}");
    let ps = bed.swarm(&["stack", "ps", "app"]);
    assert!(ps.code == 0 && ps.out.contains("non-zero exit"), "{ps:?}");

    // The same with rollback: what was before runs again.
    bed.write("app.yml", &APP.replace("blue", "green"));
    assert_eq!(bed.deploy(&[]).code, 0);
    bed.write("app.yml", &bad.replace("monitor: 1s", "monitor: 1s, failure_action: rollback"));
    let back = bed.deploy(&[]);
    assert_eq!(back.code, 7, "{back:?}");
    assert!(back.err.contains("non-zero exit"), "{back:?}");
    eventually("what was before runs", Duration::from_secs(20), || bed.all_containers("app_web").len() >= 3).await;

    let rm = bed.swarm(&["stack", "rm", "app", "--yes"]);
    assert!(rm.code == 0 && rm.out.contains("stack app is gone"), "{rm:?}");
    assert!(bed.all_containers("app_web").is_empty());
    for (what, left) in [("service", ""), ("secret", ""), ("config", "swarm.journal\n")] {
        assert_eq!(bed.lab.docker("m1", &[what, "ls", "--format", "{{.Name}}"]), left, "{what}");
    }
    // What was done stands in the journal: not what had nothing to do, and not another stack.
    let history = bed.swarm(&["stack", "history", "app"]);
    let lines: Vec<&str> = history.out.lines().collect();
    assert!(history.code == 0 && lines.len() == 9, "{history:?}");
    assert!(lines[1].contains("stack deploy app") && lines[1].contains("create-service") && lines[1].contains("converged"), "{history:?}");
    assert!(history.out.contains("paused") && history.out.contains("rolled-back"), "{history:?}");
    assert!(lines[8].contains("stack rm app"), "{history:?}");
    assert!(bed.swarm(&["stack", "history", "other"]).out.contains("no run about stack other"));
    assert!(!bed.lab.docker("m1", &["network", "ls"]).contains("app_front"));
    // The same name at once.
    bed.write("app.yml", APP);
    assert_eq!(bed.deploy(&[]).code, 0);
}

/// One file, one plan: an empty lab becomes a swarm with an application on it; then there is nothing to do, and what changes is the
/// application alone.
#[tokio::test]
async fn one_apply_brings_the_cluster_and_its_applications_up() {
    let lab = TestLab::up(1, 1);
    images(&lab, &["app:1", "app:2"]);
    let app = |image: &str| {
        format!(
            "services:\n  web:\n    image: {image}\n    command: [/bin/sh, -c, \"echo started; exec /bin/sleep 1000\"]\n    environment: {{ DB_PASSWORD: hunter2 }}\n    stop_grace_period: 1s\n    deploy: {{ mode: global, endpoint_mode: dnsrr, update_config: {{ monitor: 1s }} }}\n"
        )
    };
    let path = lab.lab.dir.join("app.yml");
    std::fs::write(&path, app("app:1")).unwrap();
    let file = lab.file(&lab.text_with(&lab.all(""), "stacks: { shop: { compose: [app.yml] } }"));
    let swarm = |args: &[&str]| cli::run(&[args, &["-f", file.to_str().unwrap()]].concat());
    assert!(swarm(&["validate"]).out.contains("1 stack"));
    let plan = swarm(&["plan"]);
    assert!(plan.code == 2 && plan.out.contains("init") && plan.out.contains("create-service"), "{plan:?}");
    assert_eq!(swarm(&["verify"]).code, 3);
    let up = swarm(&["apply", "--yes"]);
    assert_eq!(up.code, 0, "{up:?}");
    let at = |text: &str| up.err.find(text).unwrap_or_else(|| panic!("{text} is not in {}", up.err));
    assert!(at("w1/join: done") < at("network/shop_default/create-network: started"), "{}", up.err);
    let again = swarm(&["apply", "--yes"]);
    assert!(again.code == 0 && again.out.contains("Nothing to do"), "{again:?}");
    assert_eq!(swarm(&["verify"]).code, 0);
    // One line of each of the two tasks.
    let logs = swarm(&["service", "logs", "shop_web", "--tail", "5"]);
    assert!(logs.code == 0 && logs.out.matches("shop_web | started").count() == 2, "{logs:?}");
    assert_eq!(swarm(&["service", "logs", "shop_web", "--grep", "nothing like it"]).out, "");
    assert_eq!(swarm(&["service", "logs", "nowhere"]).code, 1);

    // Single objects: made, listed, refused while they are used, removed.
    let data = lab.lab.dir.join("data");
    std::fs::write(&data, "top-secret-data").unwrap();
    for kind in ["secret", "config"] {
        let made = swarm(&[kind, "create", "one", data.to_str().unwrap(), "--label", "a=b"]);
        assert!(made.code == 0 && !format!("{made:?}").contains("top-secret-data"), "{made:?}");
        assert_eq!(lab.docker("m1", &[kind, "inspect", "one", "--format", "{{.Spec.Labels.a}}"]).trim(), "b");
        assert!(swarm(&[kind, "create", "one", data.to_str().unwrap()]).err.contains("it is there already"));
        assert!(swarm(&[kind, "ls"]).out.contains("one"));
        let removed = swarm(&[kind, "rm", "one", "--yes"]);
        let left = lab.docker("m1", &[kind, "ls", "--format", "{{.Name}}"]);
        assert_eq!((removed.code, left.trim()), (0, if kind == "config" { "swarm.journal" } else { "" }), "{removed:?}");
    }
    let net = swarm(&["network", "create", "side", "--attachable", "--subnet", "10.77.0.0/24"]);
    assert_eq!(net.code, 0, "{net:?}");
    assert!(lab.docker("m1", &["network", "inspect", "side"]).contains("10.77.0.0/24"));
    assert_eq!(swarm(&["network", "rm", "side", "--yes"]).code, 0);
    let used = swarm(&["network", "rm", "shop_default", "--yes"]);
    assert!(used.code == 1 && used.err.contains("it is used by service shop_web"), "{used:?}");
    let gone = swarm(&["service", "rm", "shop_web", "--yes"]);
    assert!(gone.code == 0 && lab.docker("m1", &["ps", "-q"]).is_empty(), "{gone:?}");
    assert_eq!(swarm(&["verify"]).code, 3);
    assert_eq!(swarm(&["apply", "--yes"]).code, 0);

    std::fs::write(&path, app("app:2")).unwrap();
    let saved = lab.lab.dir.join("plan.json");
    let plan = swarm(&["plan", "-o", saved.to_str().unwrap()]);
    assert!(plan.code == 2 && plan.out.contains("Image: app:1 -> app:2") && !plan.out.contains("join"), "{plan:?}");
    // The environment of services is in the saved plan, which is its owner's alone, and in nothing that is shown.
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&saved).unwrap().permissions()) & 0o777, 0o600);
    assert!(std::fs::read_to_string(&saved).unwrap().contains("hunter2"));
    for format in ["text", "json"] {
        let shown = swarm(&["plan", "--format", format]);
        assert!(shown.code == 2 && !format!("{shown:?}").contains("hunter2"), "{shown:?}");
    }
    let inspected = swarm(&["service", "inspect", "shop_web"]);
    assert!(inspected.code == 0 && inspected.out.contains("DB_PASSWORD=***") && !inspected.out.contains("hunter2"), "{inspected:?}");
    // --limit is about hosts.
    let limited = swarm(&["plan", "--limit", "m1"]);
    assert!(limited.code == 0 && limited.err.contains("stacks of the file are left out"), "{limited:?}");
    // A saved plan is carried out as it is, once.
    let applied = swarm(&["apply", saved.to_str().unwrap(), "--yes"]);
    assert_eq!(applied.code, 0, "{applied:?}");
    let stale = swarm(&["apply", saved.to_str().unwrap(), "--yes"]);
    assert!(stale.code == 1 && stale.err.contains("stale"), "{stale:?}");
    std::fs::write(&path, "services: { web: { imagee: x } }\n").unwrap();
    let wrong = swarm(&["plan"]);
    assert!(wrong.code == 1 && wrong.err.contains("app.yml:1:") && wrong.err.contains("did you mean `image`?"), "{wrong:?}");
}

/// The content of secrets and configs from a variable and from what a program writes: read when it is needed, and shown nowhere.
#[tokio::test]
async fn contents_come_from_variables_and_programs() {
    let bed = Bed::up(1, 0).await;
    bed.write("made", "first page\n");
    let stack = |secret: &str| {
        format!(
            "services:\n  web:\n    image: app:1\n    command: [/bin/sleep, \"1000\"]\n    stop_grace_period: 1s\n    secrets: [key, token]\n    configs: [{{ source: page, target: /www/page }}]\n    deploy: {{ endpoint_mode: dnsrr, update_config: {{ monitor: 1s }} }}\nsecrets:\n  key: {{ command: {secret} }}\n  token: {{ environment: STACK_TOKEN }}\nconfigs: {{ page: {{ command: [cat, made] }} }}\n"
        )
    };
    let inside = |path: &str| {
        let id = bed.lab.docker("m1", &["ps", "-q", "--filter", "label=com.docker.swarm.service.name=app_web"]);
        bed.lab.docker("m1", &["exec", id.lines().next().unwrap(), "/bin/cat", path])
    };
    bed.write("app.yml", &stack("[sh, -c, \"echo ran >> runs; printf s3cr3t-from-a-program\"]"));
    let unset = bed.deploy(&[]);
    assert!(unset.code == 1 && unset.err.contains("secrets.token.environment: the variable STACK_TOKEN is not set"), "{unset:?}");
    std::fs::remove_file(bed.dir.join("runs")).unwrap();
    bed.write("vars", "STACK_TOKEN=t0ken-of-a-variable\n");
    let with = ["--env-file", "vars"];
    let shown = bed.swarm(&[&["stack", "diff", "-c", "app.yml", "app", "--resolve-image", "never"][..], &with].concat());
    let up = bed.deploy(&with);
    assert_eq!((shown.code, up.code), (2, 0), "{shown:?} {up:?}");
    assert!(!format!("{shown:?}{up:?}").contains("s3cr3t") && !format!("{shown:?}{up:?}").contains("t0ken"), "{shown:?} {up:?}");
    assert_eq!(inside("/run/secrets/key"), "s3cr3t-from-a-program");
    assert_eq!((inside("/run/secrets/token").as_str(), inside("/www/page").as_str()), ("t0ken-of-a-variable", "first page\n"));
    assert!(bed.deploy(&with).out.contains("as its files want it"));
    // Looking at the files runs nothing.
    let runs = || std::fs::read_to_string(bed.dir.join("runs")).unwrap_or_default().lines().count();
    let before = runs();
    assert_eq!(
        cli::command(&["stack", "config", "-c", "app.yml", "app", "--env-file", "vars"])
            .current_dir(&bed.dir)
            .output()
            .unwrap()
            .status
            .code(),
        Some(0)
    );
    assert_eq!(runs(), before);
    // What a program writes now is another config.
    bed.write("made", "second page\n");
    let rotated = bed.deploy(&with);
    assert!(rotated.code == 0 && inside("/www/page") == "second page\n", "{rotated:?}");
    // One that fails is named with its last word, and nothing is changed.
    bed.write("app.yml", &stack("[sh, -c, \"printf half; echo no key for this file >&2; exit 4\"]"));
    let failed = bed.deploy(&with);
    assert!(
        failed.code == 1 && failed.err.contains("secrets.key.command: sh: it ended with exit status: 4: no key for this file"),
        "{failed:?}"
    );
    assert!(!format!("{failed:?}").contains("half"), "{failed:?}");
    bed.write("app.yml", &stack("[true]").replace("{ command: [true] }", "{ command: [true], file: made }"));
    let both = bed.deploy(&with);
    assert!(both.code == 1 && both.err.contains("app.yml:") && both.err.contains("its content comes from two places"), "{both:?}");
}

/// A stack that is removed with the docker CLI and deployed again under the same name while its tasks and networks are still going.
#[tokio::test]
async fn a_stack_that_is_still_going_is_deployed_again() {
    let bed = Bed::up(1, 1).await;
    // It does not listen to SIGTERM, so its tasks hold on to the network for the whole grace period.
    bed.write(
        "app.yml",
        "services:\n  web:\n    image: app:1\n    command: [sh, -c, \"trap '' TERM; while :; do sleep 1; done\"]\n    stop_grace_period: 4s\n    deploy: { replicas: 4 }\n    configs: [motd]\nconfigs: { motd: { file: motd } }\n",
    );
    bed.write("motd", "hello");
    let ran = bed.deploy(&[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for pause in [0, 300, 1500, 3000] {
        bed.lab.docker("m1", &["stack", "rm", "app"]);
        // What is tried is another moment of the removal each time.
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let ran = bed.deploy(&[]);
        assert_eq!(ran.code, 0, "{pause} ms after the removal: {ran:?}");
        let again = bed.deploy(&[]);
        assert!(again.code == 0 && again.out.contains("is as its files want it"), "{again:?}");
    }
}

/// Services, networks, secrets and configs in the cluster file itself: one apply makes them with the cluster, under their own names, and stacks
/// refer to them.
#[tokio::test]
async fn a_cluster_file_has_objects_of_its_own() {
    let lab = TestLab::up(1, 1);
    images(&lab, &["app:1", "app:2"]);
    let sleeps = "command: [/bin/sleep, \"1000\"], stop_grace_period: 1s";
    let app = format!(
        "services: {{ web: {{ image: \"app:1\", {sleeps}, networks: [shared], configs: [motd], deploy: {{ endpoint_mode: dnsrr }} }} }}\nnetworks: {{ shared: {{ external: true }} }}\nconfigs: {{ motd: {{ external: true }} }}\n"
    );
    std::fs::write(lab.lab.dir.join("app.yml"), app).unwrap();
    std::fs::write(lab.lab.dir.join("motd"), "hello").unwrap();
    let own = |image: &str, more: &str| {
        format!(
            "stacks: {{ shop: {{ compose: [app.yml] }} }}\nservices:\n  cache:\n    image: \"{image}\"\n    {}\n    environment: {{ PRICE: \"5$$\", WHO: \"${{OWN_WHO:-unset}}\" }}\n    networks: [shared]\n    deploy: {{ endpoint_mode: dnsrr, replicas: 2{more} }}\nnetworks: {{ shared: {{ attachable: true }}, spare: {{}} }}\nsecrets: {{ key: {{ environment: OWN_KEY }} }}\nconfigs: {{ motd: {{ file: motd }} }}\n",
            sleeps.replace(", stop", "\n    stop")
        )
    };
    let file = lab.file(&lab.text_with(&lab.all(""), &own("app:1", "")));
    let swarm = |args: &[&str]| -> Ran {
        let mut command = cli::command(&[args, &["-f", file.to_str().unwrap()]].concat());
        command.env("OWN_KEY", "own-secret-value").output().unwrap().into()
    };
    let checked = swarm(&["validate"]);
    assert!(checked.code == 0 && checked.out.contains("2 stacks"), "{checked:?}");
    let up = swarm(&["apply", "--yes"]);
    assert_eq!(up.code, 0, "{up:?}");
    assert!(!format!("{up:?}").contains("own-secret-value"), "{up:?}");
    let at = |text: &str| up.err.find(text).unwrap_or_else(|| panic!("{text} is not in {}", up.err));
    assert!(at("network/shared/create-network: done") < at("service/shop_web/create-service: started"), "{}", up.err);
    for (kind, name) in [("network", "shared"), ("network", "spare"), ("secret", "key"), ("config", "motd"), ("service", "cache")] {
        assert!(lab.docker("m1", &[kind, "ls", "--format", "{{.Name}}"]).lines().any(|line| line == name), "{kind} {name}");
    }
    let env = lab.docker("m1", &["service", "inspect", "cache", "--format", "{{.Spec.TaskTemplate.ContainerSpec.Env}}"]);
    assert_eq!(env.trim(), "[PRICE=5$ WHO=unset]");
    let again = swarm(&["apply", "--yes"]);
    assert!(again.code == 0 && again.out.contains("Nothing to do"), "{again:?}");
    assert_eq!(swarm(&["verify"]).code, 0);
    // A change of one is one step.
    std::fs::write(&file, lab.text_with(&lab.all(""), &own("app:2", ""))).unwrap();
    let plan = swarm(&["plan"]);
    assert!(plan.code == 2 && plan.out.contains("Image: app:1 -> app:2") && plan.out.contains("1 step."), "{plan:?}");
    assert_eq!(swarm(&["apply", "--yes"]).code, 0);
    // What is wrong is named at its place in the cluster file.
    std::fs::write(&file, lab.text_with(&lab.all(""), &own("app:2", ", replica: 1"))).unwrap();
    let wrong = swarm(&["validate"]);
    assert!(wrong.code == 1 && wrong.err.contains("services.cache.deploy.replica") && wrong.err.contains(".yaml:"), "{wrong:?}");
}
