//! Backups: taken from a manager that is stopped, whole or not at all, and put back onto fresh hosts.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use swarm_backup::{Backup, Backups, LogEnd, Manifest, Restore, STATE, log_end};
use swarm_core::engine::Payloads;
use swarm_core::family::Families;
use swarm_core::recover::Recover;
use swarm_core::secret::Secret;
use swarm_core::{Apply, ApplyError, ClusterSpec};
use swarm_sim::{Incident, Program, Purpose, World};
use swarm_tests::cli::{self, Ran};
use swarm_tests::lab::{TestLab, converge, eventually};
use swarm_tests::sim::stories::POINTS;
use swarm_tests::sim::{Drawer, THREE, Tool, cut_off, cut_off_and_again, no_violations, spec};

/// A pair of keys for these tests alone.
const AGE_KEY: &str = "AGE-SECRET-KEY-1WN7MJ56A5MLJP2P4EDFGNU5M9QKC7VNYMK7ES96Q3SKZ23KXZQ8QKXFND3";
const AGE_RECIPIENT: &str = "age1svld4u3qp8d3sajy2q77xxm3sf6nfc32hgq4kmx6m7u2p3jxz32s8nfe72";
const VALUE: &str = "a-value-that-is-nowhere-else";

fn run(args: &[&str]) -> Ran {
    cli::run(args)
}

fn managers(lab: &TestLab, of: &str) -> usize {
    lab.nodes(of).iter().filter(|n| n.contains(" manager Ready")).count()
}

/// Something of every kind that a backup has to keep.
fn furnish(lab: &TestLab) {
    let m1 = lab.host("m1");
    m1.exec(&["sh", "-c", &format!("printf %s {VALUE} | docker secret create app-key -")]).unwrap();
    m1.exec(&["sh", "-c", "echo colour=blue | docker config create app-colour -"]).unwrap();
    m1.exec(&["docker", "network", "create", "-d", "overlay", "app-net"]).unwrap();
}

fn names(lab: &TestLab, at: &str, kind: &str) -> Vec<String> {
    let mut names: Vec<String> = lab.docker(at, &[kind, "ls", "--format", "{{.Name}}"]).lines().map(str::to_owned).collect();
    names.sort();
    names
}

fn no_copy_is_left(lab: &TestLab) {
    for host in ["m1", "m2", "m3"] {
        assert!(lab.host(host).exec(&["ls", "-d", "/var/lib/docker/.swarm-backup"]).is_err(), "{host} still has a copy");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "full"]
async fn a_swarm_is_backed_up_and_put_back_onto_fresh_hosts() {
    let lab = TestLab::up(3, 1);
    let text = lab.text(&lab.all(""));
    converge(&text).await;
    furnish(&lab);
    // What is wrong elsewhere is no reason to have no backup.
    lab.host("w1").stop_engine();
    let file = lab.file(&text);
    let file = file.to_str().unwrap();
    let to = lab.lab.dir.join("first.swarm-backup");
    let backup = to.to_str().unwrap();
    let shown = run(&["backup", "-f", file, "-o", backup, "--dry-run"]);
    assert!(shown.code == 2 && shown.out.contains("copy-state") && !to.exists(), "{shown:?}");
    let taken = run(&["backup", "-f", file, "-o", backup, "--yes"]);
    assert!(taken.code == 0 && taken.out.contains("4 nodes") && taken.out.contains("1 secrets"), "{taken:?}");
    assert!(!taken.out.contains("m1/copy-state"), "the leader was stopped: {taken:?}");
    assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(managers(&lab, "m1"), 3);
    lab.host("w1").start_engine().unwrap();
    no_copy_is_left(&lab);
    // It is not overwritten, and nothing is stopped before that is known.
    let again = run(&["backup", "-f", file, "-o", backup, "--yes"]);
    assert!(again.code == 1 && again.err.contains("not overwritten"), "{again:?}");
    let checked = run(&["backup", "verify", backup]);
    assert!(checked.code == 0 && checked.out.contains("has the same nodes"), "{checked:?}");
    // One that tries a backup and is killed leaves no engine behind, and the state was in that engine's memory alone.
    let engines = || swarm_tests::lab::sh(&["sh", "-c", "pgrep -f -- '--data-root /run/stat[e]' || true"]).lines().count();
    let mut tries = cli::command(&["backup", "verify", backup]).stdout(Stdio::null()).spawn().unwrap();
    eventually("an engine is tried", Duration::from_secs(30), || engines() > 0).await;
    tries.kill().unwrap();
    tries.wait().unwrap();
    eventually("nothing is left of it", Duration::from_secs(30), || engines() == 0).await;
    let bare = run(&["backup", "verify", backup, "--checksums-only"]);
    assert!(bare.code == 0 && bare.out.contains("no engine was started with it"), "{bare:?}");
    let damaged = lab.lab.dir.join("damaged");
    let mut bytes = std::fs::read(&to).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    let refused = run(&["backup", "verify", damaged.to_str().unwrap()]);
    assert!(refused.code == 1 && refused.err.contains("damaged"), "{refused:?}");
    // For the eyes of some alone.
    let identity = lab.lab.dir.join("identity");
    std::fs::write(&identity, format!("{AGE_KEY}\n")).unwrap();
    let sealed = lab.lab.dir.join("sealed");
    let (sealed, identity) = (sealed.to_str().unwrap(), identity.to_str().unwrap());
    let taken_again = run(&["backup", "-f", file, "-o", sealed, "--yes", "--encrypt-to", AGE_RECIPIENT]);
    assert_eq!(taken_again.code, 0, "{taken_again:?}");
    let closed = run(&["backup", "verify", sealed, "--checksums-only"]);
    assert!(closed.code == 1 && closed.err.contains("it is encrypted"), "{closed:?}");
    let open = run(&["backup", "verify", sealed, "--checksums-only", "--identity", identity]);
    assert!(open.code == 0 && open.out.contains("4 nodes"), "{open:?}");
    let timer = run(&["backup", "-f", file, "--schedule", "daily", "--keep", "7"]);
    assert!(timer.code == 0 && timer.out.contains("OnCalendar=daily") && timer.out.contains("\"--keep\" \"7\""), "{timer:?}");
    // What came after it is lost; and while the swarm is there, nothing is put back.
    let refused = run(&["restore", backup, "-f", file, "--yes"]);
    assert!(refused.code == 1 && refused.err.contains("managers of a swarm"), "{refused:?}");
    let (secrets, configs) = (names(&lab, "m1", "secret"), names(&lab, "m1", "config"));
    lab.docker("m1", &["network", "create", "-d", "overlay", "later"]);
    for host in ["m1", "m2", "m3", "w1"] {
        let host = lab.host(host);
        host.stop_engine();
        host.exec(&["sh", "-c", "rm -rf /var/lib/docker/swarm"]).unwrap();
        host.start_engine().unwrap();
    }
    let restored = run(&["restore", sealed, "--identity", identity, "-f", file, "--yes"]);
    assert_eq!(restored.code, 0, "{restored:?}");
    let at = "m2";
    assert_eq!((names(&lab, at, "secret"), names(&lab, at, "config")), (secrets, configs));
    let kept = names(&lab, at, "network");
    assert!(kept.contains(&"app-net".to_owned()) && !kept.contains(&"later".to_owned()), "{kept:?}");
    assert_eq!((managers(&lab, at), lab.nodes(at).len()), (3, 4), "{:?}", lab.nodes(at));
    assert_eq!(run(&["plan", "-f", file]).code, 0);
    for ran in [&shown, &taken, &checked, &restored] {
        assert!(!format!("{ran:?}").contains(VALUE));
    }
}

/// Where the raft log of a manager ends, from its files.
fn log_end_of(lab: &TestLab, host: &str) -> LogEnd {
    let folder = lab.host(host).data_dir().join("swarm/raft/wal-v3-encrypted");
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let last = files.filter(|path| path.extension().is_some_and(|e| e == "wal")).max().unwrap();
    log_end(&std::fs::read(last).unwrap()).unwrap()
}

/// A backup has a manager's certificate and its peers' addresses. It is tried while that swarm lives: in a network with nothing but loopback, so
/// that no packet arrives at any manager, and the swarm's term and index are as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_tried_beside_its_living_swarm() {
    let lab = TestLab::up(3, 0);
    let text = lab.text(&lab.all(""));
    converge(&text).await;
    let file = lab.file(&text);
    let to = lab.lab.dir.join("tried");
    let backup = to.to_str().unwrap();
    let taken = run(&["backup", "-f", file.to_str().unwrap(), "-o", backup, "--yes"]);
    assert_eq!(taken.code, 0, "{taken:?}");
    let hosts = ["m1", "m2", "m3"];
    // Rules that count and do nothing: whatever comes from outside the swarm, by its sender.
    let inside = |host: &str, argv: &[&str]| lab.host(host).exec(argv).unwrap();
    for host in hosts {
        for peer in hosts.iter().filter(|peer| **peer != host) {
            inside(host, &["iptables", "-w", "-A", "INPUT", "-s", &lab.host(peer).address.to_string(), "-j", "ACCEPT"]);
        }
        inside(host, &["iptables", "-w", "-A", "INPUT", "-i", "lo", "-j", "ACCEPT"]);
        inside(host, &["iptables", "-w", "-A", "INPUT", "-m", "comment", "--comment", "from-elsewhere"]);
    }
    let from_elsewhere = |host: &str| -> u64 {
        let rules = inside(host, &["iptables", "-w", "-nvxL", "INPUT"]);
        let rule = rules.lines().find(|l| l.contains("from-elsewhere")).unwrap();
        rule.split_whitespace().next().unwrap().parse().unwrap()
    };
    // What is counted is seen to be counted.
    let before: Vec<u64> = hosts.iter().map(|h| from_elsewhere(h)).collect();
    let knock = |host: &str| TcpStream::connect((lab.host(host).address, 2377)).is_ok();
    assert!(hosts.iter().all(|h| knock(h)), "managers are reached from here");
    eventually("what comes from here is counted", Duration::from_secs(10), || {
        hosts.iter().zip(&before).all(|(h, before)| from_elsewhere(h) > *before)
    })
    .await;
    let logs = || hosts.map(|h| log_end_of(&lab, h));
    let mut quiet = (logs(), std::time::Instant::now());
    eventually("the swarm has nothing to write down", Duration::from_secs(60), || {
        let now = logs();
        if now != quiet.0 {
            quiet = (now, std::time::Instant::now());
        }
        quiet.1.elapsed() > Duration::from_secs(5)
    })
    .await;
    let counted: Vec<u64> = hosts.iter().map(|h| from_elsewhere(h)).collect();
    let mut tries = cli::command(&["backup", "verify", backup]).stdout(Stdio::piped()).spawn().unwrap();
    let mut links = BTreeSet::new();
    eventually("it was tried", Duration::from_secs(90), || {
        let seen = "for p in $(pgrep -f -- '--data-root /run/stat[e]'); do nsenter -t $p -n ip -o link; done 2>/dev/null || true";
        links.extend(swarm_tests::lab::sh(&["sh", "-c", seen]).lines().filter_map(|l| Some(l.split(": ").nth(1)?.to_owned())));
        tries.try_wait().unwrap().is_some()
    })
    .await;
    let tried = tries.wait_with_output().unwrap();
    assert!(tried.status.success() && String::from_utf8_lossy(&tried.stdout).contains("has the same nodes"), "{tried:?}");
    assert!(links.contains("lo"), "the engine was seen: {links:?}");
    // The engine makes bridges of its own in there; none of them leads out.
    let leads_out = |link: &&String| !["lo", "docker0", "docker_gwbridge"].contains(&link.as_str()) && !link.starts_with("veth");
    assert_eq!(links.iter().find(leads_out), None, "{links:?}");
    assert_eq!(hosts.iter().map(|h| from_elsewhere(h)).collect::<Vec<_>>(), counted, "packets arrived");
    assert_eq!(logs(), quiet.0, "its term and index");
    assert_eq!(managers(&lab, "m1"), 3);
}

/// Waits until a backup has stopped an engine; gives the host.
async fn stopped(lab: &TestLab) -> &'static str {
    let mut found = None;
    eventually("a backup has stopped an engine", Duration::from_secs(60), || {
        found = ["m1", "m2", "m3"].into_iter().find(|h| lab.host(h).exec(&["ls", "/var/lib/docker/.swarm-backup/stopped"]).is_ok());
        found.is_some()
    })
    .await;
    found.unwrap()
}

fn begin(file: &str, to: &Path) -> std::process::Child {
    let mut command = cli::command(&["backup", "-f", file, "-o", to.to_str().unwrap(), "--yes"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_a_backup_stopped_comes_back_whatever_is_killed() {
    let lab = TestLab::up(3, 0);
    let text = lab.text(&lab.all(""));
    converge(&text).await;
    let file = lab.file(&text);
    let file = file.to_str().unwrap();
    // Engines take their time to stop, so that there is something to cut off.
    for host in ["m1", "m2", "m3"] {
        lab.host(host).exec(&["sed", "-i", "2i [ \"$1\" = stop ] && sleep 4", "/etc/init.d/docker"]).unwrap();
    }
    // The program is killed: the script on the host starts the engine all the same.
    let to = lab.lab.dir.join("killed");
    let mut killed = begin(file, &to);
    let host = stopped(&lab).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    eventually("the engine answers again", Duration::from_secs(60), || {
        lab.host(host).exec(&["ls", "/var/lib/docker/.swarm-backup/stopped"]).is_err()
            && managers(&lab, "m1").max(managers(&lab, "m3")) == 3
    })
    .await;
    assert!(!to.exists());
    // The script is killed too: the next backup starts the engine first.
    let mut killed = begin(file, &lab.lab.dir.join("killed-too"));
    let host = stopped(&lab).await;
    lab.host(host).exec(&["sh", "-c", "pkill -KILL -f '[e]xport LC_ALL=C PATH'"]).unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();
    eventually("the engine has stopped", Duration::from_secs(60), || {
        lab.host(host).exec(&["pgrep", "-f", "init.d/docker sto[p]"]).is_err()
    })
    .await;
    assert!(lab.host(host).exec(&["docker", "version"]).is_err(), "{host} still has an engine");
    let good = lab.lab.dir.join("good");
    let taken = run(&["backup", "-f", file, "-o", good.to_str().unwrap(), "--yes"]);
    assert!(taken.code == 0 && taken.out.contains("start-engine"), "{taken:?}");
    assert_eq!(managers(&lab, "m1"), 3);
    no_copy_is_left(&lab);
    assert_eq!(run(&["backup", "verify", good.to_str().unwrap()]).code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_cannot_be_spared_is_stopped_only_when_that_is_accepted() {
    let lab = TestLab::up(1, 0);
    let key = lab.lab.dir.join("key");
    let text = lab.text_with(&lab.all(""), &format!("swarm: {{ autolock: true, unlock_key_file: {} }}", key.display()));
    converge_locked(&lab, &text);
    let file = lab.file(&text);
    let file = file.to_str().unwrap();
    let to = lab.lab.dir.join("one");
    let backup = to.to_str().unwrap();
    let refused = run(&["backup", "-f", file, "-o", backup, "--yes"]);
    assert!(refused.code == 1 && refused.err.contains("1 managers, 1 reachable; 0 of them are left, and 1 are needed"), "{refused:?}");
    // The engine comes back locked, and gets the key that is kept.
    let taken = run(&["backup", "-f", file, "-o", backup, "--yes", "--accept-downtime"]);
    assert!(taken.code == 0 && taken.out.contains("locked: the unlock key opens it"), "{taken:?}");
    assert_eq!(lab.docker("m1", &["info", "--format", "{{.Swarm.LocalNodeState}}"]).trim(), "active");
    let secret = std::fs::read_to_string(&key).unwrap();
    assert!(secret.starts_with("SWMKEY-") && !format!("{taken:?}").contains(secret.trim()));
    // A drill restarts it too, under the same condition.
    let refused = run(&["unlock-key", "drill", "-f", file, "--yes"]);
    assert!(
        refused.code == 1 && refused.err.contains("restarted for a drill") && refused.err.contains("0 of them are left"),
        "{refused:?}"
    );
    let drilled = run(&["unlock-key", "drill", "-f", file, "--yes", "--accept-downtime"]);
    assert!(drilled.code == 0 && drilled.out.contains("the stored key opened it"), "{drilled:?}");
    // A key that is kept nowhere would make it worthless.
    std::fs::rename(&key, lab.lab.dir.join("elsewhere")).unwrap();
    let refused = run(&["backup", "-f", file, "-o", "never", "--yes", "--accept-downtime"]);
    assert!(refused.code == 1 && refused.err.contains("could never be opened"), "{refused:?}");
    std::fs::rename(lab.lab.dir.join("elsewhere"), &key).unwrap();
    // Put back onto the same host, it is opened with the key.
    let host = lab.host("m1");
    host.stop_engine();
    host.exec(&["sh", "-c", "rm -rf /var/lib/docker/swarm"]).unwrap();
    host.start_engine().unwrap();
    let restored = run(&["restore", backup, "-f", file, "--yes"]);
    assert_eq!(restored.code, 0, "{restored:?}");
    assert_eq!(managers(&lab, "m1"), 1);
}

fn converge_locked(lab: &TestLab, text: &str) {
    let file = lab.file(text);
    assert_eq!(run(&["apply", "-f", file.to_str().unwrap(), "--yes"]).code, 0);
}

/// Wherever a backup is cut off, its manager comes back, the majority is never left, and the next one is whole.
#[test]
fn a_backup_may_be_cut_off_anywhere() {
    let mut cuts = 0;
    for point in POINTS {
        for call in 1..30 {
            cuts += u32::from(swarm_sim::run(async {
                let wanted = spec(THREE);
                let world = World::of(&wanted, call);
                world.has_program("swarm-backup", Program::RestartsEngine(Duration::from_secs(4)));
                let keys = Drawer::default();
                assert!(Tool::new(&world, "first", &wanted, &keys).apply().await.converged());
                let back_up = async || {
                    let fleet = world.fleet("me");
                    let intent = Backup { spec: &wanted, from: None, accept_downtime: false, stored_key: None };
                    let apply = Apply::new(&wanted, &fleet).families(Families(&[&Backups]));
                    world.watch("me", &wanted, Purpose::Look, &[]);
                    let (plan, observed) = apply.plan_for(&intent).await.unwrap();
                    let manifest = intent.manifest(&observed, &plan, "now".into()).unwrap();
                    assert_ne!(manifest.host.as_str(), "m1", "the leader is not stopped");
                    assert_eq!((manifest.managers.len(), manifest.names.nodes.len()), (3, 5));
                    world.watch_on("me", Purpose::Apply);
                    world.shown("me", &plan);
                    apply.run_for(&intent, &plan, &observed).await
                };
                cut_off_and_again(&world, &wanted, call, point, back_up).await
            }));
        }
    }
    assert!(cuts > 20, "cut off at {cuts} calls");
}

/// With one manager away, no other can be spared; a tool that takes one all the same is seen by the rules.
#[test]
fn no_manager_is_stopped_while_another_is_away() {
    swarm_sim::run(async {
        let wanted = spec(THREE);
        let world = World::of(&wanted, 3);
        world.has_program("swarm-backup", Program::RestartsEngine(Duration::from_secs(4)));
        let keys = Drawer::default();
        assert!(Tool::new(&world, "first", &wanted, &keys).apply().await.converged());
        world.cause(&Incident::PowerCut("m3".into()));
        tokio::time::sleep(Duration::from_secs(30)).await;
        let fleet = world.fleet("me");
        let apply = Apply::new(&wanted, &fleet).families(Families(&[&Backups]));
        let careful = Backup { spec: &wanted, from: None, accept_downtime: false, stored_key: None };
        let refused = apply.plan_for(&careful).await.unwrap_err().to_string();
        assert!(refused.contains("3 managers, 2 reachable; 1 of them are left, and 2 are needed"), "{refused}");
        let careless = Backup { accept_downtime: true, ..careful };
        world.watch("me", &wanted, Purpose::Look, &[]);
        let (plan, observed) = apply.plan_for(&careless).await.unwrap();
        world.watch_on("me", Purpose::Apply);
        world.shown("me", &plan);
        let report = apply.run_for(&careless, &plan, &observed).await;
        assert_eq!(report.steps[0].outcome, swarm_core::machine::Outcome::Done { changed: true }, "{report:#?}");
        let broken: Vec<&str> = world.violations().iter().map(|v| v.rule).collect();
        assert_eq!(broken, ["I3"], "{}", world.story());
    });
}

/// The packed state of the backup; a simulated host only wants to get something.
struct Packed;

impl Payloads for Packed {
    fn payload(&self, name: &str) -> Result<Secret, String> {
        (name == STATE).then(|| Secret::new("AAAA")).ok_or_else(|| format!("there is no {name}"))
    }
}

/// What a backup of the second manager says of itself, and the number of the copied state.
async fn copied(world: &World, wanted: &ClusterSpec) -> (Manifest, usize) {
    let fleet = world.fleet("first");
    let apply = Apply::new(wanted, &fleet).families(Families(&[&Backups]));
    let intent = Backup { spec: wanted, from: Some("m2".into()), accept_downtime: false, stored_key: None };
    let (plan, observed) = apply.plan_for(&intent).await.unwrap();
    let manifest = intent.manifest(&observed, &plan, "now".into()).unwrap();
    (manifest, world.copy_state("m2").unwrap())
}

/// Puts the state onto the second manager's host.
async fn place(world: &World, wanted: &ClusterSpec, manifest: &Manifest, fenced: &[&str]) {
    let fleet = world.fleet("me");
    let fenced = fenced.iter().map(|f| (*f).to_owned()).collect();
    let restore = Restore { spec: wanted, manifest, host: "m2".into(), fenced, stored_key: None };
    let apply = Apply::new(wanted, &fleet).families(Families(&[&Backups])).payloads(&Packed);
    match apply.plan_for(&restore).await {
        Ok((plan, observed)) => {
            apply.run_for(&restore, &plan, &observed).await;
        }
        Err(ApplyError::Refused(why)) => assert!(format!("{why:?}").contains("managers of a swarm"), "{why:?}\n{}", world.story()),
        Err(error) => panic!("{error}\n{}", world.story()),
    }
}

/// The same, then its manager becomes the only one, and the file is applied: what of it is done already is refused with that reason.
async fn put_back(world: &World, wanted: &ClusterSpec, manifest: &Manifest) -> bool {
    place(world, wanted, manifest, &[]).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let fleet = world.fleet("me");
    let apply = Apply::new(wanted, &fleet);
    let recover = Recover { spec: wanted, host: "m2".into(), fenced: Default::default(), seen: Default::default() };
    match apply.plan_for(&recover).await {
        Ok((plan, observed)) => {
            apply.run_for(&recover, &plan, &observed).await;
        }
        Err(ApplyError::Refused(why)) => assert!(format!("{why:?}").contains("nothing to recover"), "{why:?}\n{}", world.story()),
        Err(error) => panic!("{error}\n{}", world.story()),
    }
    let keys = Drawer::default();
    for _ in 0..3 {
        if Tool::new(world, "after", wanted, &keys).apply().await.converged() {
            return true;
        }
    }
    false
}

/// All managers are lost, and the workers go on. Wherever putting the state back is cut off, the next run ends it, and nothing is lost that
/// the backup had.
#[test]
fn a_restore_may_be_cut_off_anywhere() {
    let mut cuts = 0;
    for point in POINTS {
        for call in 1..40 {
            cuts += u32::from(swarm_sim::run(async {
                let wanted = spec(THREE);
                let world = World::of(&wanted, call);
                let keys = Drawer::default();
                assert!(Tool::new(&world, "first", &wanted, &keys).apply().await.converged());
                world.has_program("swarm-backup", Program::RestartsEngine(Duration::from_secs(4)));
                let (manifest, copy) = copied(&world, &wanted).await;
                world.has_program("swarm-backup", Program::PlacesState(copy, Duration::from_secs(4)));
                for host in ["m1", "m2", "m3"] {
                    world.cause(&Incident::StateLost(host.into()));
                }
                tokio::time::sleep(Duration::from_secs(30)).await;
                let ended = cut_off(&world, call, point, put_back(&world, &wanted, &manifest)).await;
                assert!(ended != Some(false), "call {call}, {point:?}\n{}", world.story());
                tokio::time::sleep(Duration::from_secs(30)).await;
                assert!(put_back(&world, &wanted, &manifest).await, "call {call}, {point:?}\n{}", world.story());
                let fleet = world.fleet("look");
                let observed = Apply::new(&wanted, &fleet).observe().await;
                let view = observed.view().unwrap();
                assert!(view.cluster.id == manifest.swarm && view.nodes.len() == 5, "call {call}, {point:?}: {view:#?}");
                no_violations(&world, call, "putting a backup back");
                ended.is_none()
            }));
        }
    }
    assert!(cuts > 40, "cut off at {cuts} calls");
}

/// A backup is not put beside a manager of its swarm, as far as anyone can know; where the operator says that a manager is gone that is not,
/// the rules see it.
#[test]
fn a_backup_is_not_put_beside_the_swarm_that_it_is_of() {
    swarm_sim::run(async {
        let wanted = spec(THREE);
        let world = World::of(&wanted, 5);
        let keys = Drawer::default();
        assert!(Tool::new(&world, "first", &wanted, &keys).apply().await.converged());
        world.has_program("swarm-backup", Program::RestartsEngine(Duration::from_secs(4)));
        let (manifest, copy) = copied(&world, &wanted).await;
        world.has_program("swarm-backup", Program::PlacesState(copy, Duration::from_secs(4)));
        let refused = async |fenced: &[&str]| {
            let fleet = world.fleet("me");
            let fenced = fenced.iter().map(|f| (*f).to_owned()).collect();
            let restore = Restore { spec: &wanted, manifest: &manifest, host: "m2".into(), fenced, stored_key: None };
            let apply = Apply::new(&wanted, &fleet).families(Families(&[&Backups]));
            apply.plan_for(&restore).await.unwrap_err().to_string()
        };
        let beside = refused(&["m1", "m3"]).await;
        assert!(beside.contains("managers of a swarm"), "{beside}");
        world.cause(&Incident::StateLost("m2".into()));
        world.cause(&Incident::StateLost("m3".into()));
        world.cause(&Incident::OperatorCutOff("m1".into()));
        tokio::time::sleep(Duration::from_secs(30)).await;
        let silent = refused(&[]).await;
        assert!(silent.contains("--fenced m1"), "{silent}");
        no_violations(&world, 5, "refusals");
        // Broken on purpose: m1 is said to be gone, and goes on.
        place(&world, &wanted, &manifest, &["m1"]).await;
        let broken: Vec<&str> = world.violations().iter().map(|v| v.rule).collect();
        assert!(broken.contains(&"I9"), "{broken:?}\n{}", world.story());
    });
}
