//! What nodes are let in with: tokens, the root, the unlock key. On real engines, and cut off anywhere in the simulator.

use std::collections::BTreeMap;
use std::time::Duration;
use swarm_backup::{Backups, Drill};
use swarm_core::Apply;
use swarm_core::credential::Part;
use swarm_core::driver::KeyKeeper;
use swarm_core::engine::GivenRoot;
use swarm_core::family::Families;
use swarm_core::replace::Replace;
use swarm_core::report::Ending;
use swarm_core::spec::ExternalCa;
use swarm_core::unlock::Unlock;
use swarm_sim::{Incident, Program, Purpose, World};
use swarm_tests::cli;
use swarm_tests::lab::{TestLab, eventually};
use swarm_tests::sim::stories::POINTS;
use swarm_tests::sim::{Drawer, cut_off, no_violations, spec};

const LOCKED: &str = "name: c\nhosts:
  m1: { address: 10.0.0.1, role: manager }
  m2: { address: 10.0.0.2, role: manager }
  m3: { address: 10.0.0.3, role: manager }
  w1: { address: 10.0.0.4, role: worker }
swarm: { autolock: true, unlock_key_file: /nowhere }\n";

/// A locked cluster whose key is kept.
async fn locked(seed: u64, keys: &Drawer) -> World {
    let wanted = spec(LOCKED);
    let world = World::of(&wanted, seed);
    let fleet = world.fleet("founder");
    let apply = Apply::new(&wanted, &fleet).keys(keys);
    let (plan, observed) = apply.plan().await.unwrap();
    assert_eq!(apply.run(&plan, &observed).await.ending, Ending::Converged);
    world
}

/// Every part is replaced exactly once, wherever the run is cut off; a run after that has nothing to do.
#[test]
fn what_is_replaced_is_replaced_once() {
    // An authority that signs with the root that is given.
    let certificate = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let authority = ExternalCa { protocol: "cfssl".into(), url: "https://ca.example".into(), ca_cert: None, options: BTreeMap::new() };
    let tokens = &[Part::WorkerToken, Part::ManagerToken][..];
    for (parts, given) in [(tokens, false), (&[Part::Root], false), (&[Part::Root], true), (&[Part::UnlockKey], false)] {
        for point in POINTS {
            let mut call = 0;
            loop {
                call += 1;
                let ended = swarm_sim::run(async {
                    let (wanted, keys) = (spec(LOCKED), Drawer::default());
                    let world = locked(call, &keys).await;
                    let stored = || keys.fingerprint();
                    let fleet = world.fleet("me");
                    let observed = Apply::new(&wanted, &fleet).observe().await;
                    let mut replace = Replace::of(&wanted, &observed, parts, &stored).unwrap();
                    if given {
                        replace.root = Some(GivenRoot { certificate: certificate.clone(), key: None });
                        replace.authorities = vec![authority.clone()];
                    }
                    let run = async || {
                        let apply = Apply::new(&wanted, &fleet).keys(&keys);
                        let (plan, observed) = apply.plan_for(&replace).await.unwrap();
                        apply.run_for(&replace, &plan, &observed).await
                    };
                    let ended = cut_off(&world, call, point, run()).await;
                    let report = run().await;
                    assert_eq!(report.ending, Ending::Converged, "{parts:?}, call {call}, {point:?}: {report:#?}");
                    let after = Apply::new(&wanted, &fleet).observe().await;
                    let now: BTreeMap<Part, String> = Replace::of(&wanted, &after, parts, &stored).unwrap().parts;
                    assert!(now.iter().all(|(part, is)| replace.parts.get(part) != Some(is)), "{parts:?}, call {call}");
                    let signs = after.view().unwrap().cluster.settings.external_ca.clone().unwrap_or_default();
                    assert_eq!(signs.iter().any(|ca| ca.url == authority.url && ca.ca_cert.is_some()), given, "{signs:?}, call {call}");
                    let before = world.calls().1;
                    let report = run().await;
                    assert_eq!((report.ending, world.calls().1), (Ending::Converged, before), "{parts:?}, call {call}");
                    let again = Apply::new(&wanted, &fleet).observe().await;
                    assert_eq!(Replace::of(&wanted, &again, parts, &stored).unwrap().parts, now, "it was replaced twice");
                    no_violations(&world, call, "replacing");
                    ended
                });
                if let Some(report) = ended {
                    assert_eq!(report.ending, Ending::Converged, "{report:#?}");
                    break;
                }
            }
            assert!(call > 5, "{parts:?}: cut off at {call} calls");
        }
    }
}

/// Managers that wait for their key get it, wherever the run is cut off; a wrong key changes nothing and says so.
#[test]
fn locked_managers_are_unlocked() {
    let reboot = |world: &World| {
        for host in ["m1", "m2", "m3"] {
            world.cause(&Incident::PowerCut(host.into()));
            world.cause(&Incident::PowerOn(host.into()));
        }
    };
    for point in POINTS {
        for call in 1..14 {
            swarm_sim::run(async {
                let (wanted, keys) = (spec(LOCKED), Drawer::default());
                let world = locked(call, &keys).await;
                reboot(&world);
                tokio::time::sleep(Duration::from_secs(30)).await;
                let fleet = world.fleet("me");
                let unlock = Unlock { spec: &wanted, hosts: Vec::new() };
                let run = async |keys: &Drawer| {
                    let apply = Apply::new(&wanted, &fleet).keys(keys);
                    let (plan, observed) = apply.plan_for(&unlock).await.unwrap();
                    apply.run_for(&unlock, &plan, &observed).await
                };
                let wrong = Drawer::default();
                wrong.store(&swarm_core::secret::Secret::new("SWMKEY-1-wrong")).unwrap();
                let report = run(&wrong).await;
                assert!(report.ending != Ending::Converged && format!("{report:?}").contains("invalid key"), "{report:#?}");
                cut_off(&world, call, point, run(&keys)).await;
                let report = run(&keys).await;
                assert_eq!(report.ending, Ending::Converged, "call {call}, {point:?}: {report:#?}");
                let apply = Apply::new(&wanted, &fleet).keys(&keys);
                let (plan, observed) = apply.plan().await.unwrap();
                assert_eq!(apply.run(&plan, &observed).await.ending, Ending::Converged);
                no_violations(&world, call, "unlocking");
            });
        }
    }
}

/// A token is good for one run only where the file says so.
#[test]
fn tokens_are_replaced_after_a_run_in_which_hosts_joined() {
    swarm_sim::run(async {
        let file = |more: &str, policy: &str| {
            spec(&format!(
                "name: c\nhosts:\n  m1: {{ address: 10.0.0.1, role: manager }}\n  w1: {{ address: 10.0.0.2, role: worker }}\n{more}{policy}"
            ))
        };
        let one_more = "  w2: { address: 10.0.0.3, role: worker }\n";
        let rotates = "policy: { rotate_tokens: after_apply }\n";
        let world = World::of(&file(one_more, ""), 5);
        let fleet = world.fleet("me");
        let run = async |wanted: &swarm_core::ClusterSpec| {
            let apply = Apply::new(wanted, &fleet);
            let (plan, observed) = apply.plan().await.unwrap();
            let report = apply.run(&plan, &observed).await;
            assert_eq!(report.ending, Ending::Converged, "{report:#?}");
            let observed = apply.observe().await;
            let prints = observed.view().unwrap().cluster.fingerprints.clone();
            (report.steps.iter().any(|s| s.id.as_str() == "swarm/rotate-tokens"), prints)
        };
        let (rotated, first) = run(&file("", rotates)).await;
        assert!(rotated);
        let (rotated, same) = run(&file("", rotates)).await;
        assert!(!rotated && same == first, "nothing joined");
        let (rotated, second) = run(&file(one_more, rotates)).await;
        assert!(rotated && [Part::WorkerToken, Part::ManagerToken].iter().all(|p| first[p] != second[p]));
        assert_eq!(first[&Part::Root], second[&Part::Root]);
        no_violations(&world, 5, "tokens for one run");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_the_root_and_the_key_on_real_engines() {
    let lab = TestLab::up(3, 2);
    let key = tempfile::tempdir().unwrap();
    let key_file = key.path().join("key");
    let most: Vec<(&str, &str, &str)> = lab.all("").into_iter().filter(|(name, ..)| *name != "w2").collect();
    let text = format!("{}swarm: {{ autolock: true, unlock_key_file: {} }}\n", lab.text(&most), key_file.display());
    let file = lab.file(&text);
    let swarm = |args: &[&str]| cli::run(&[args, &["-f", file.to_str().unwrap()]].concat());
    let made = swarm(&["apply", "--yes"]);
    assert_eq!(made.code, 0, "{made:?}");

    let failures = swarm(&["plan", "--what-if"]);
    assert!(failures.out.contains("m1 down: quorum kept") && failures.out.contains("m1, m2 down: NO QUORUM"), "{failures:?}");
    let one = swarm(&["plan", "--what-if", "m2,m3=down"]);
    assert!(one.code == 0 && one.out.contains("m2, m3 down: NO QUORUM (1 of 3 managers, 2 needed)"), "{one:?}");

    // The token is the engine's own; after its replacement the old one lets no one in.
    let of_engine = |role: &str| lab.docker("m2", &["swarm", "join-token", "-q", role]).trim().to_owned();
    let shown = swarm(&["token", "show", "worker"]);
    assert_eq!((shown.code, shown.out.trim()), (0, of_engine("worker").as_str()), "{shown:?}");
    let (old, manager) = (of_engine("worker"), of_engine("manager"));
    let planned = swarm(&["token", "rotate", "worker", "--dry-run"]);
    assert!(planned.code == 2 && of_engine("worker") == old, "{planned:?}");
    let rotated = swarm(&["token", "rotate", "worker", "--yes"]);
    assert!(rotated.code == 0 && rotated.out.contains("as 3 managers say"), "{rotated:?}");
    assert!(of_engine("worker") != old && of_engine("manager") == manager);
    assert!(!rotated.out.contains("SWMTKN-1-") && !rotated.err.contains("SWMTKN-1-"), "{rotated:?}");
    let remote = format!("{}:2377", lab.host("m1").address);
    let refused = lab.host("w2").exec(&["docker", "swarm", "join", "--token", &old, &remote]).unwrap_err().to_string();
    assert!(refused.contains("invalid join token") || refused.contains("A valid join token is necessary"), "{refused}");
    let joined = lab.host("w2").exec(&["docker", "swarm", "join", "--token", &of_engine("worker"), &remote]);
    assert!(joined.is_ok(), "{joined:?}");

    // What is collected for someone who helps holds no secret.
    let report = key.path().join("support.json");
    let collected = swarm(&["support", "-o", report.to_str().unwrap()]);
    assert_eq!(collected.code, 0, "{collected:?}");
    let text = std::fs::read_to_string(&report).unwrap();
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&report).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let kept = std::fs::read_to_string(&key_file).unwrap();
    for secret in [of_engine("worker"), of_engine("manager"), kept.trim().to_owned()] {
        let own = secret.rsplit('-').next().unwrap();
        assert!(!text.contains(own), "a secret is in the report");
    }
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(report["hosts"].as_array().unwrap().len() == 4 && report["verify"]["converged"] == true, "{text}");

    // Another root: every node has a certificate of it, valid for as long as was asked for, and what is not there is named.
    lab.host("w2").kill(true).unwrap();
    eventually("w2 is missed", Duration::from_secs(60), || lab.nodes("m1").iter().any(|n| n.starts_with("w2") && n.contains("Down"))).await;
    let late = swarm(&["ca", "rotate", "--cert-expiry", "720h", "--yes"]);
    assert!(late.code == 4 && late.out.contains("w2 does not report") && late.err.contains("not yet: w2"), "{late:?}");
    let progress = swarm(&["ca", "show"]);
    assert!(progress.out.contains("4 of 5 nodes have a certificate of the new root; not yet: w2"), "{progress:?}");
    let twice = swarm(&["ca", "rotate", "--yes"]);
    assert!(twice.code == 1 && twice.err.contains("is being replaced already"), "{twice:?}");
    lab.host("w2").start().unwrap();
    eventually("the new root is in force", Duration::from_secs(90), || swarm(&["ca", "show"]).out.contains("in force on all 5 nodes"))
        .await;
    let certs = swarm(&["certs", "--format", "json"]);
    let certs: serde_json::Value = serde_json::from_str(&certs.out).unwrap();
    let certs = certs["certificates"].as_array().unwrap();
    assert!(certs.len() == 4 && certs.iter().all(|c| c["days"] == 29 || c["days"] == 30), "{certs:?}");
    let file_of = |host: &str| lab.docker(host, &["info", "--format", "{{.Swarm.Cluster.TLSInfo.TrustRoot}}"]);
    assert_eq!(swarm(&["ca", "show", "--pem"]).out.trim(), file_of("m3").trim());

    // The key: another one, stored; the old one is beside it; managers that restart are opened with the new one.
    let before = std::fs::read_to_string(&key_file).unwrap();
    let rotated = swarm(&["unlock-key", "rotate", "--yes"]);
    assert_eq!(rotated.code, 0, "{rotated:?}");
    let after = std::fs::read_to_string(&key_file).unwrap();
    assert!(before != after && std::fs::read_to_string(key.path().join("key.previous")).unwrap() == before);
    assert!(![&before, &after].iter().any(|k| rotated.out.contains(k.trim()) || rotated.err.contains(k.trim())));
    assert_eq!(swarm(&["unlock-key", "check"]).code, 0);

    // A drill: one manager restarts, locked, and the stored key opens it; another key than the swarm's stops nothing.
    let shown = swarm(&["unlock-key", "drill", "--dry-run"]);
    assert!(shown.code == 2 && shown.out.contains("restart-engine") && shown.out.contains("3 managers, 3 reachable"), "{shown:?}");
    std::fs::write(&key_file, &before).unwrap();
    let refused = swarm(&["unlock-key", "drill", "--yes"]);
    assert!(refused.code == 1 && refused.err.contains("would stay locked"), "{refused:?}");
    std::fs::write(&key_file, &after).unwrap();
    let process = || lab.host("m3").exec(&["cat", "/run/docker.pid"]).unwrap();
    let first = process();
    let drilled = swarm(&["unlock-key", "drill", "--on", "m3", "--yes"]);
    assert!(drilled.code == 0 && drilled.out.contains("the stored key opened it"), "{drilled:?}");
    assert!(process() != first && !format!("{drilled:?}").contains(after.trim()), "the engine is another process");
    assert_eq!(lab.docker("m3", &["info", "--format", "{{.Swarm.LocalNodeState}}"]).trim(), "active");
    for host in ["m1", "m2", "m3"] {
        lab.host(host).kill(true).unwrap();
    }
    for host in ["m1", "m2", "m3"] {
        lab.host(host).start().unwrap();
    }
    let locked = swarm(&["plan"]);
    assert!(locked.code == 1 && locked.err.contains("`swarm unlock`"), "{locked:?}");
    let wrong = swarm(&["unlock", "--key-file", key.path().join("key.previous").to_str().unwrap()]);
    assert!(wrong.code == 1 && wrong.err.contains("invalid key"), "{wrong:?}");
    let unlocked = swarm(&["unlock"]);
    assert!(unlocked.code == 0 && unlocked.out.contains("unlocked"), "{unlocked:?}");
    eventually("the swarm is whole", Duration::from_secs(60), || swarm(&["verify"]).code == 0).await;
}

/// Wherever a drill is cut off, a later one ends well: its manager is opened, and the majority is never left.
#[test]
fn a_drill_may_be_cut_off_anywhere() {
    let mut cuts = 0;
    for point in POINTS {
        for call in 1..30 {
            let ended = swarm_sim::run(async {
                let (wanted, keys) = (spec(LOCKED), Drawer::default());
                let world = locked(call, &keys).await;
                world.has_program("swarm-backup", Program::RestartsEngine(Duration::from_secs(4)));
                let fleet = world.fleet("me");
                let drill = Drill { spec: &wanted, on: None, accept_downtime: false, stored_key: keys.fingerprint() };
                let run = async || {
                    let apply = Apply::new(&wanted, &fleet).keys(&keys).families(Families(&[&Backups]));
                    world.watch("me", &wanted, Purpose::Look, &[]);
                    let (plan, observed) = apply.plan_for(&drill).await?;
                    assert_ne!(plan.steps[0].host.as_ref().unwrap().as_str(), "m1", "the leader is not restarted");
                    world.watch_on("me", Purpose::Apply);
                    world.shown("me", &plan);
                    Ok::<_, swarm_core::ApplyError>(apply.run_for(&drill, &plan, &observed).await)
                };
                let ended = cut_off(&world, call, point, run()).await;
                if let Some(report) = &ended {
                    assert_eq!(report.as_ref().unwrap().ending, Ending::Converged, "{report:?}\n{}", world.story());
                    return false;
                }
                // Whoever comes next unlocks what waits for its key, and drills again.
                tokio::time::sleep(Duration::from_secs(40)).await;
                let unlock = Unlock { spec: &wanted, hosts: Vec::new() };
                let apply = Apply::new(&wanted, &fleet).keys(&keys);
                let (plan, observed) = apply.plan_for(&unlock).await.unwrap();
                apply.run_for(&unlock, &plan, &observed).await;
                tokio::time::sleep(Duration::from_secs(20)).await;
                let again = run().await.unwrap();
                assert_eq!(again.ending, Ending::Converged, "cut at {call} {point:?}: {again:?}\n{}", world.story());
                no_violations(&world, call, "drilling");
                true
            });
            cuts += u32::from(ended);
        }
    }
    assert!(cuts > 20, "cut off at {cuts} calls");
}

/// The unlock key is kept by a program: locked after it was asked whether it can, stored before success is reported, and loaded to unlock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_keeps_the_unlock_key() {
    let lab = TestLab::up(1, 0);
    let dir = tempfile::tempdir().unwrap();
    let (program, kept, sealed) = (dir.path().join("keeper"), dir.path().join("kept"), dir.path().join("sealed"));
    let script = format!(
        "#!/bin/sh\nif [ -e {} ]; then echo the vault is sealed >&2; exit 1; fi\ncase $2 in load) cat {k} 2>/dev/null || true;; store) cat >{k};; esac\n",
        sealed.display(),
        k = kept.display()
    );
    // Put in place by another process: a fork of another test may hold open what this one has written, and then it cannot be run.
    let draft = dir.path().join("draft");
    std::fs::write(&draft, script).unwrap();
    swarm_tests::lab::sh(&["install", "-m", "700", draft.to_str().unwrap(), program.to_str().unwrap()]);
    let text = format!("{}swarm: {{ autolock: true, unlock_key_command: [{}, prod] }}\n", lab.text(&lab.all("")), program.display());
    let file = lab.file(&text);
    let swarm = |args: &[&str]| cli::run(&[args, &["-f", file.to_str().unwrap()]].concat());
    std::fs::write(&sealed, "").unwrap();
    let refused = swarm(&["apply", "--yes"]);
    assert!(refused.code == 1 && refused.err.contains("the vault is sealed") && refused.err.contains("keeper prod ready"), "{refused:?}");
    assert!(lab.docker("m1", &["info", "--format", "{{.Swarm.LocalNodeState}}"]).contains("inactive"), "nothing was changed");
    std::fs::remove_file(&sealed).unwrap();
    let made = swarm(&["apply", "--yes"]);
    assert!(made.code == 0 && made.out.contains("keeper prod`"), "{made:?}");
    let key = lab.docker("m1", &["swarm", "unlock-key", "-q"]);
    assert_eq!(std::fs::read_to_string(&kept).unwrap().trim(), key.trim());
    assert!(!made.out.contains(key.trim()) && !made.err.contains(key.trim()));
    assert_eq!(swarm(&["verify"]).code, 0);
    lab.host("m1").kill(true).unwrap();
    lab.host("m1").start().unwrap();
    lab.host("m1").wait_up().unwrap();
    let unlocked = swarm(&["unlock", "--all"]);
    assert_eq!(unlocked.code, 0, "{unlocked:?}");
    assert_eq!(swarm(&["verify"]).code, 0);
    // Another key than the swarm's: said, and the next apply stores the right one.
    std::fs::write(&kept, "SWMKEY-1-other\n").unwrap();
    assert_eq!(swarm(&["verify"]).code, 3);
    assert_eq!(swarm(&["apply", "--yes"]).code, 0);
    assert_eq!(std::fs::read_to_string(&kept).unwrap().trim(), key.trim());
}
