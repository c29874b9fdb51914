//! Every advice, followed: in the world that causes it, its text is in what the tool says; done as it says, the trouble is gone, there is one
//! swarm, and no member was lost.

use std::collections::BTreeSet;
use std::time::Duration;
use swarm_core::advice::Advice;
use swarm_core::driver::NoProgress;
use swarm_core::engine::{Engine, Force};
use swarm_core::id::NodeId;
use swarm_core::nodes::RemoveNodes;
use swarm_core::plan::{PlanOptions, render_text};
use swarm_core::recover::Recover;
use swarm_core::report::Ending;
use swarm_core::{Apply, ApplyError, ClusterSpec};
use swarm_sim::{Incident, World};
use swarm_tests::sim::{Drawer, THREE, cluster, one_more, spec};

/// What a run of the tool says, whether it refuses, leaves hosts out, or fails, and whether all is well.
async fn said(world: &World, wanted: &ClusterSpec, keys: &Drawer, options: PlanOptions) -> (String, bool) {
    let fleet = world.fleet("me");
    let apply = Apply::new(wanted, &fleet).keys(keys).progress(&NoProgress).options(options);
    match apply.plan().await {
        Err(error @ ApplyError::Refused(_)) => (error.to_string(), false),
        Err(error) => panic!("{error}"),
        Ok((plan, observed)) => {
            let report = apply.run(&plan, &observed).await;
            (format!("{}{report:?}", render_text(&plan)), report.ending == Ending::Converged)
        }
    }
}

/// The advice is given, then followed, and the next runs arrive with every host a member of one swarm.
async fn works(
    world: &World,
    wanted: &ClusterSpec,
    advice: Advice,
    forced: &[&str],
    after: Option<&ClusterSpec>,
    follow: impl AsyncFnOnce(&World),
) {
    let keys = Drawer::default();
    let (text, well) = said(world, wanted, &keys, PlanOptions::default()).await;
    assert!(!well && text.contains(&advice.to_string()), "{advice:?} is not in:\n{text}");
    follow(world).await;
    let mut last = String::new();
    for _ in 0..4 {
        let options = PlanOptions { force_leave: forced.iter().map(|h| (*h).into()).collect(), ..PlanOptions::default() };
        let (text, well) = said(world, after.unwrap_or(wanted), &keys, options).await;
        if well {
            assert_eq!(world.differs_from(after.unwrap_or(wanted)), Vec::<String>::new(), "{advice:?}");
            return;
        }
        last = text;
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    panic!("{advice:?} was followed, and:\n{last}");
}

/// `swarm node rm --dead NODE`.
async fn remove_dead(world: &World, node: &NodeId) {
    let (wanted, fleet) = (spec(THREE), world.fleet("me"));
    let remove = RemoveNodes { spec: &wanted, hosts: Vec::new(), dead: Vec::new(), entries: vec![node.to_string()] };
    let apply = Apply::new(&wanted, &fleet);
    let (plan, observed) = apply.plan_for(&remove).await.unwrap();
    let report = apply.run_for(&remove, &plan, &observed).await;
    assert_eq!(report.ending, Ending::Converged, "{report:?}");
}

/// The id of a host's node.
async fn node(world: &World, host: &str) -> swarm_core::id::NodeId {
    let nodes = engine(world, "m1").nodes().await.unwrap();
    nodes.into_iter().find(|n| n.hostname == host).unwrap().id
}

fn engine(world: &World, host: &str) -> std::sync::Arc<dyn Engine> {
    world.fleet("someone").engine(host)
}

async fn three(world: &World) -> ClusterSpec {
    cluster(world, THREE).await
}

async fn try_out(advice: &Advice) {
    let world = World::of(&spec(THREE), 5);
    let none = async |_: &World| {};
    match advice {
        Advice::ForceLeave { host } => {
            let wanted = one_more(&world).await;
            world.cause(&Incident::JoinsForeign(host.clone()));
            works(&world, &wanted, advice.clone(), &[host.as_str()], None, none).await;
        }
        Advice::KeepAManager { .. } => {
            cluster(
                &world,
                &format!(
                    "{}  w1: {{ address: 10.0.0.4, role: worker }}\n",
                    "name: c\nhosts:\n  m1: { address: 10.0.0.1, role: manager }\n"
                ),
            )
            .await;
            let replaced = spec("name: c\nhosts:\n  m2: { address: 10.0.0.2, role: manager }\n  w1: { address: 10.0.0.4, role: worker }\n");
            let kept = spec(
                "name: c\nhosts:\n  m1: { address: 10.0.0.1, role: manager }\n  m2: { address: 10.0.0.2, role: manager }\n  w1: { address: 10.0.0.4, role: worker }\n",
            );
            works(&world, &replaced, advice.clone(), &[], Some(&kept), none).await;
        }
        Advice::InitOn { host } => {
            let others = ["m2", "m3"];
            others.iter().for_each(|h| assert!(world.cause(&Incident::PowerCut((*h).into()))));
            let wanted = spec(THREE);
            let alone = async |world: &World| {
                let options = PlanOptions { init_on: Some(host.clone()), ..PlanOptions::default() };
                let (text, _) = said(world, &wanted, &Drawer::default(), options).await;
                assert_eq!(engine(world, host.as_str()).nodes().await.unwrap().len(), 3, "{text}");
                assert!(text.contains("m2, m3 cannot be asked") && text.contains("there may be a second swarm"), "{text}");
                others.iter().for_each(|h| assert!(world.cause(&Incident::PowerOn((*h).into()))));
            };
            works(&world, &wanted, advice.clone(), &[], None, alone).await;
        }
        Advice::Unlock { hosts, .. } => {
            let wanted = three(&world).await;
            world.cause(&Incident::AutolockOn);
            for host in hosts {
                world.cause(&Incident::Reboot(host.clone()));
            }
            let key = world.unlock_key("m1").unwrap();
            let unlock = async |world: &World| {
                for host in hosts {
                    engine(world, host.as_str()).unlock(&key).await.unwrap();
                }
                // A swarm that someone locked stays a finding until its key has a place: here it is unlocked for good.
                world.cause(&Incident::AutolockOff);
            };
            works(&world, &wanted, advice.clone(), &[], None, unlock).await;
        }
        Advice::BringBack { hosts } => {
            for host in hosts {
                world.cause(&Incident::PowerCut(host.clone()));
            }
            let back = async |world: &World| hosts.iter().for_each(|h| assert!(world.cause(&Incident::PowerOn(h.clone()))));
            works(&world, &spec(THREE), advice.clone(), &[], None, back).await;
        }
        Advice::RemoveManager { .. } => {
            three(&world).await;
            let gone = node(&world, "m3").await;
            world.cause(&Incident::PowerCut("m3".into()));
            tokio::time::sleep(Duration::from_secs(30)).await;
            // m3 is given up and out of the file, and w1 is to take its place.
            let text = THREE
                .replace("  m3: { address: 10.0.0.3, role: manager }\n", "")
                .replace("w1: { address: 10.0.0.4, role: worker", "w1: { address: 10.0.0.4, role: manager");
            let remove = async |world: &World| remove_dead(world, &gone).await;
            works(&world, &spec(&text), Advice::RemoveManager { node: node(&world, "m3").await }, &[], None, remove).await;
        }
        Advice::RemoveEntry { .. } => {
            let wanted = one_more(&world).await;
            let gone = node(&world, "w1").await;
            world.cause(&Incident::PowerCut("w1".into()));
            tokio::time::sleep(Duration::from_secs(30)).await;
            world.cause(&Incident::RootRotated);
            let remove = async |world: &World| {
                remove_dead(world, &gone).await;
                world.cause(&Incident::PowerOn("w1".into()));
            };
            works(&world, &wanted, Advice::RemoveEntry { node: node(&world, "w1").await }, &[], None, remove).await;
        }
        Advice::WaitForLeader => {
            let wanted = three(&world).await;
            for host in ["m1", "m2", "m3"] {
                world.cause(&Incident::Isolated(host.into()));
            }
            tokio::time::sleep(Duration::from_secs(30)).await;
            let wait = async |world: &World| {
                world.heal();
                tokio::time::sleep(Duration::from_secs(30)).await;
            };
            works(&world, &wanted, advice.clone(), &[], None, wait).await;
        }
        Advice::ForceNewCluster { host } => {
            let wanted = three(&world).await;
            for lost in ["m2", "m3"] {
                engine(&world, lost).leave(Force::Yes).await.unwrap();
            }
            tokio::time::sleep(Duration::from_secs(30)).await;
            let force = async |world: &World| {
                let (wanted, fleet) = (spec(THREE), world.fleet("me"));
                let recover = Recover { spec: &wanted, host: host.clone(), fenced: BTreeSet::new(), seen: Default::default() };
                let apply = Apply::new(&wanted, &fleet);
                let (plan, observed) = apply.plan_for(&recover).await.unwrap();
                assert_eq!(apply.run_for(&recover, &plan, &observed).await.ending, Ending::Converged);
            };
            let keys = Drawer::default();
            let (text, _) = said(&world, &wanted, &keys, PlanOptions::default()).await;
            assert!(text.contains(&advice.to_string()), "{text}");
            force(&world).await;
            tokio::time::sleep(Duration::from_secs(30)).await;
            // The others join it again, and all is as the file says.
            let (text, well) = said(&world, &wanted, &keys, PlanOptions::default()).await;
            assert!(well, "{text}");
        }
        Advice::DestroyByForce => {
            let wanted = three(&world).await;
            for lost in ["m2", "m3"] {
                engine(&world, lost).leave(Force::Yes).await.unwrap();
            }
            tokio::time::sleep(Duration::from_secs(30)).await;
            let destroy = async |world: &World| {
                let (wanted, fleet) = (spec(THREE), world.fleet("me"));
                let apply = Apply::new(&wanted, &fleet);
                let (plan, observed) = apply.plan_destroy(Force::Yes).await.unwrap();
                assert_eq!(apply.run(&plan, &observed).await.ending, Ending::Converged);
            };
            works(&world, &wanted, advice.clone(), &[], None, destroy).await;
        }
        Advice::RestartEngine { host } => {
            let wanted = three(&world).await;
            world.cause(&Incident::Isolated(host.clone()));
            tokio::time::sleep(Duration::from_secs(40)).await;
            let restart = async |world: &World| {
                world.heal();
                world.cause(&Incident::Reboot(host.clone()));
            };
            works(&world, &wanted, advice.clone(), &[], None, restart).await;
        }
        Advice::NewEngineId { host } => {
            let wanted = spec(THREE);
            world.cause(&Incident::EngineCopied(host.clone(), "m1".into()));
            let renew = async |world: &World| assert!(world.cause(&Incident::EngineIdNew(host.clone())));
            works(&world, &wanted, advice.clone(), &[], None, renew).await;
        }
        Advice::FreeDisk { host } => {
            cluster(&world, &THREE.replace(&format!("  {host}: {{ address: 10.0.0.3, role: manager }}\n"), "")).await;
            world.cause(&Incident::DiskFull(host.clone()));
            let free = async |world: &World| assert!(world.cause(&Incident::DiskFree(host.clone())));
            works(&world, &spec(THREE), advice.clone(), &[], None, free).await;
        }
        Advice::OpenPort { host } => {
            let closed = host.clone().unwrap_or("m1".into());
            let wanted = match host {
                Some(host) => {
                    cluster(&world, &THREE.replace(&format!("  {host}: {{ address: 10.0.0.3, role: manager }}\n"), "")).await;
                    spec(THREE)
                }
                None => one_more(&world).await,
            };
            for manager in if host.is_some() { vec![closed] } else { vec!["m1".into(), "m2".into(), "m3".into()] } {
                world.cause(&Incident::PortClosed(manager));
            }
            let open = async |world: &World| {
                for host in world.hosts() {
                    world.cause(&Incident::PortFree(host));
                }
                tokio::time::sleep(Duration::from_secs(30)).await;
            };
            works(&world, &wanted, advice.clone(), &[], None, open).await;
        }
        Advice::ReadUnlockKey | Advice::NameAKeyFile => {
            let wanted = three(&world).await;
            world.cause(&Incident::AutolockOn);
            let with = spec(&format!("{THREE}swarm: {{ autolock: true, unlock_key_file: /nowhere }}\n"));
            let read = async |world: &World| {
                let key = engine(world, "m1").unlock_key().await.unwrap().unwrap();
                assert_eq!(key.fingerprint(), world.unlock_key("m1").unwrap().fingerprint());
            };
            works(&world, &wanted, advice.clone(), &[], Some(&with), read).await;
        }
        Advice::MakeTheSwarm => {
            let (wanted, fleet) = (spec(THREE), world.fleet("me"));
            let intent = swarm_workload::Remove { spec: &wanted, stack: "app" };
            let asked = async || Apply::new(&wanted, &fleet).plan_for(&intent).await.err().map_or(String::new(), |e| e.to_string());
            assert!(asked().await.contains(&advice.to_string()));
            three(&world).await;
            assert!(!asked().await.contains(&advice.to_string()));
        }
        // It changes nothing: the engine's own report is what it says.
        Advice::LookAtEngine { host } => {
            three(&world).await;
            assert!(engine(&world, host.as_str()).info().await.is_ok());
        }
    }
}

#[test]
fn every_advice_works_when_it_is_followed() {
    let all = [
        Advice::ForceLeave { host: "w2".into() },
        Advice::KeepAManager { managers: vec!["10.0.0.1:2377".into()] },
        Advice::InitOn { host: "m1".into() },
        Advice::Unlock { hosts: vec!["m1".into(), "m2".into(), "m3".into()], key_file: None },
        Advice::BringBack { hosts: vec!["m3".into()] },
        Advice::RemoveManager { node: "x".into() },
        Advice::RemoveEntry { node: "x".into() },
        Advice::WaitForLeader,
        Advice::ForceNewCluster { host: "m1".into() },
        Advice::DestroyByForce,
        Advice::RestartEngine { host: "w1".into() },
        Advice::NewEngineId { host: "m2".into() },
        Advice::FreeDisk { host: "m3".into() },
        Advice::OpenPort { host: Some("m3".into()) },
        Advice::OpenPort { host: None },
        Advice::ReadUnlockKey,
        Advice::NameAKeyFile,
        Advice::MakeTheSwarm,
        Advice::LookAtEngine { host: "w1".into() },
    ];
    for advice in all {
        swarm_sim::run(try_out(&advice));
    }
}
