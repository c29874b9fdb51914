//! Machines at a simulated account of EC2: whoever creates or destroys is cut off at each call, calls fail, lists are late, instances end by
//! themselves or by hand. No host ever has two instances, nothing of others is touched, and when it is over the next run arrives.

use async_trait::async_trait;
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;
use swarm_core::spec::{Aws, Machines};
use swarm_ec2::{Answer, Around, Ec2, Unsent, Wire};
use swarm_sim::{Account, Latency};

const NAME: &str = "shop";
/// How long one call takes.
const TAKES: Duration = Duration::from_millis(120);

/// The way to an account.
struct Line<'a>(&'a Account);

#[async_trait]
impl Wire for Line<'_> {
    fn name(&self) -> &str {
        "the simulated account"
    }

    async fn send(&self, form: &str) -> Result<Answer, Unsent> {
        tokio::time::sleep(TAKES).await;
        match self.0.send(form) {
            Some((status, text)) => Ok(Answer { status, text }),
            // One that is cut off is gone, and does not try again.
            None => Err(Unsent { why: "the connection was closed".into(), later: !self.0.is_cut() }),
        }
    }
}

fn aws(rest: &str) -> Aws {
    // A group that is there already has its own rules.
    let opens = if rest.contains("security_group") { "" } else { "ssh_from: [203.0.113.7/32], open: [80], " };
    let text =
        format!("name: {NAME}\nmachines:\n  aws: {{ region: us-west-1, type: t3.small, image: debian-13, key: /k, {opens}{rest} }}\n");
    let read = swarm_file::parse(&text, &|_| None).unwrap();
    let Some(Machines::Aws(aws)) = read.spec.machines() else { panic!("the file names machines at AWS") };
    aws.as_ref().clone()
}

fn ec2(aws: &Aws) -> Ec2 {
    let public_key = Ok("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMine me@here".to_owned());
    Ec2::new(NAME, aws, Around { data_path_port: 4789, esp: false, identity: PathBuf::from("/k"), public_key })
}

fn slow() -> Latency {
    let seconds = Duration::from_secs;
    Latency { lists: seconds(40), boots: seconds(90), prints: seconds(120), lingers: seconds(60), page: 2 }
}

/// What is there after a creation that ended well, and whether it is what is wanted.
fn right(account: &Account, aws: &Aws, listed: &swarm_machines::Listed) -> Result<(), String> {
    let living = account.living(NAME);
    let wanted: BTreeMap<String, bool> = aws.hosts().into_iter().collect();
    if living.keys().ne(wanted.keys()) {
        return Err(format!("{:?} are there, {:?} are wanted", living.keys(), wanted.keys()));
    }
    let roles = living.iter().all(|(host, shown)| wanted[host] == (shown.role == "manager") && shown.state == "running");
    let keys: BTreeMap<&str, &str> = listed.host_keys.iter().map(|k| (k.host.as_str(), k.key.as_str())).collect();
    let true_keys: BTreeMap<&str, &str> = living.iter().map(|(host, shown)| (host.as_str(), shown.host_key.as_str())).collect();
    if !roles || keys != true_keys || !listed.missing.is_empty() || listed.hosts.len() != living.len() {
        return Err(format!("listed {listed:?} of {living:?}"));
    }
    if aws.security_group.is_none() {
        let lets_in = account.lets_in(&format!("swarm-{NAME}"));
        let of = |rule: &str| rule.to_owned();
        let all: BTreeSet<String> = [
            of("tcp 2377 members"),
            of("tcp 7946 members"),
            of("udp 7946 members"),
            of("udp 4789 members"),
            of("tcp 22 203.0.113.7/32"),
            of("tcp 80 0.0.0.0/0"),
            of("tcp 80 ::/0"),
        ]
        .into();
        if lets_in != all {
            return Err(format!("the group lets in {lets_in:?}"));
        }
    }
    Ok(())
}

/// Creates until it is done, so many times at most. The last run's error is given.
async fn created(ec2: &Ec2, account: &Account, runs: usize) -> Result<(), String> {
    let mut last = Ok(());
    for _ in 0..runs {
        last = ec2.create_over(&Line(account), &|_| {}).await.map_err(|e| e.0);
        if last.is_ok() {
            break;
        }
    }
    last
}

/// A run from nothing and back in which one run is cut off at a call. Gives whether it was cut.
async fn cut(destroys: bool, at: usize, after: bool, seed: u64) -> Result<bool, String> {
    let aws = aws("managers: 2, workers: 1");
    let (ec2, account) = (ec2(&aws), Account::new(seed, slow()));
    let (line, say) = (Line(&account), |_: &str| {});
    if destroys {
        created(&ec2, &account, 1).await?;
    }
    account.cut(at, after);
    let run = match destroys {
        true => ec2.destroy_over(&line, &say).await,
        false => ec2.create_over(&line, &say).await,
    };
    let was_cut = account.is_cut();
    if run.is_ok() == was_cut {
        return Err(format!("it ended {run:?}, cut off: {was_cut}"));
    }
    account.revive();
    if !destroys {
        // Half of them go on, the others want it gone at once.
        if seed.is_multiple_of(2) {
            created(&ec2, &account, 1).await.map_err(|e| format!("the next run: {e}"))?;
            settled(&ec2, &account, &aws).await?;
        }
    }
    ec2.destroy_over(&line, &say).await.map_err(|e| format!("the destruction: {e}"))?;
    let left = account.left(NAME);
    match left.is_empty() && account.violations().is_empty() {
        true => Ok(was_cut),
        false => Err(format!("left {left:?}, {:?}", account.violations())),
    }
}

/// Lists, once lists are as things are.
async fn settled(ec2: &Ec2, account: &Account, aws: &Aws) -> Result<(), String> {
    account.wait(Duration::from_secs(45)).await;
    let listed = ec2.list_over(&Line(account)).await.map_err(|e| e.0)?;
    right(account, aws, &listed)
}

#[test]
fn cut_off_at_each_simulated_call_nothing_is_made_twice_and_nothing_leaks() {
    let (mut cases, mut cuts) = (0, 0);
    for destroys in [false, true] {
        for after in [false, true] {
            for at in 0.. {
                let mut was_cut = false;
                for seed in 0..2 {
                    let seed = seed + 2 * at as u64;
                    let ended = swarm_sim::run(cut(destroys, at, after, seed));
                    was_cut |=
                        ended.unwrap_or_else(|why| panic!("cut at call {at} (destroys {destroys}, after {after}, seed {seed}): {why}"));
                    cases += 1;
                    cuts += usize::from(was_cut);
                }
                // Waits are long, and each look in them is a call: the first hundred have everything in them.
                if !was_cut || at > 100 {
                    break;
                }
            }
        }
    }
    assert!(cuts > 200, "{cuts} of {cases} were cut off");
}

/// Plays one seed: creations and destructions of a cluster that changes, with faults and someone else's hands.
async fn play(seed: u64, happened: &mut BTreeMap<&'static str, u64>) -> Result<(), String> {
    let mut rng = Rng::with_seed(seed);
    let seconds = |rng: &mut Rng, most: u64| Duration::from_secs(rng.u64(0..=most));
    let latency = Latency {
        lists: seconds(&mut rng, 45),
        boots: seconds(&mut rng, 120),
        prints: seconds(&mut rng, 240),
        lingers: seconds(&mut rng, 90),
        page: rng.usize(1..6),
    };
    let account = Account::new(seed, latency);
    let line = Line(&account);
    let mut last = String::new();
    for round in 0..rng.usize(1..4) {
        // Whoever changes the file takes longer than a list.
        account.wait(Duration::from_secs(60)).await;
        let given = if rng.u32(0..4) == 0 { format!(", security_group: {}", account.group_of_others()) } else { String::new() };
        let spread = if rng.bool() { ", spread: zones" } else { "" };
        let private = if rng.bool() { ", connect: private" } else { "" };
        let (managers, workers) = (rng.usize(1..4), rng.usize(0..4));
        let aws = aws(&format!("managers: {managers}, workers: {workers}{given}{spread}{private}"));
        let ec2 = ec2(&aws);
        for _ in 0..rng.usize(0..3) {
            account.goes_wrong(rng.u32(3..12));
            if rng.bool() {
                account.cut(rng.usize(0..60), rng.bool());
            }
            if rng.u32(0..4) == 0 {
                account.full(rng.u32(1..12));
            }
            match rng.u32(0..4) {
                0 => drop(ec2.destroy_over(&line, &|_| {}).await),
                _ => drop(ec2.create_over(&line, &|_| {}).await),
            }
            account.revive();
            let hosts: Vec<String> = account.living(NAME).into_keys().collect();
            if let Some(host) = rng.choice(&hosts).filter(|_| rng.u32(0..3) == 0) {
                let stops = rng.bool();
                if account.by_hand(NAME, host, stops) {
                    *happened.entry(if stops { "stopped by hand" } else { "terminated by hand" }).or_default() += 1;
                }
            }
        }
        account.goes_wrong(0);
        account.full(0);
        // Someone destroys before the file has fewer machines: those that it no longer names are nodes until they are taken out.
        ec2.destroy_over(&line, &|_| {}).await.map_err(|e| format!("round {round}, destroyed: {e}"))?;
        if !account.left(NAME).is_empty() {
            return Err(format!("round {round}: {:?} is left", account.left(NAME)));
        }
        created(&ec2, &account, 2).await.map_err(|e| format!("round {round}, created: {e}"))?;
        settled(&ec2, &account, &aws).await.map_err(|e| format!("round {round}: {e}"))?;
        last = format!("{aws:?}");
        if rng.bool() {
            ec2.destroy_over(&line, &|_| {}).await.map_err(|e| format!("round {round}, destroyed at the end: {e}"))?;
        }
    }
    for (what, times) in account.happened() {
        *happened.entry(what).or_default() += times;
    }
    match account.violations() {
        none if none.is_empty() => Ok(()),
        some => Err(format!("{} ({last})", some.join("; "))),
    }
}

#[test]
fn whatever_happens_to_calls_and_instances_the_next_run_arrives() {
    let mut happened = BTreeMap::new();
    for seed in 0..200 {
        swarm_sim::run(play(seed, &mut happened)).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
    for what in [
        "throttled",
        "failed before",
        "failed after",
        "lost before",
        "lost after",
        "no room",
        "an instance ends by itself",
        "a token came again",
        "a token whose instance is gone",
        "a group is in use",
        "a list in pages",
        "a console without its newest output",
        "a group that is not known yet",
        "a key pair that is not known yet",
        "stopped by hand",
        "terminated by hand",
    ] {
        assert!(happened.get(what).is_some_and(|times| *times > 5), "{what}: {happened:?}");
    }
}

/// A key pair of the cluster's name that someone else imported is used, and outlives the machines.
#[test]
fn a_key_pair_of_someone_else_stays() {
    swarm_sim::run(async {
        let aws = aws("managers: 1, workers: 0");
        let (ec2, account) = (ec2(&aws), Account::new(3, slow()));
        let key = "c3NoLWVkMjU1MTkgQUFBQUMzTnphQzFsWkRJMU5URTVBQUFBSU1pbmUgbWVAaGVyZQ%3D%3D";
        let imported = account.send(&format!("Action=ImportKeyPair&KeyName=swarm-{NAME}&PublicKeyMaterial={key}")).unwrap();
        assert_eq!(imported.0, 200, "{imported:?}");
        account.wait(Duration::from_secs(45)).await;
        ec2.create_over(&Line(&account), &|_| {}).await.unwrap();
        settled(&ec2, &account, &aws).await.unwrap();
        ec2.destroy_over(&Line(&account), &|_| {}).await.unwrap();
        let left = account.left(NAME);
        assert!(left.len() == 1 && left[0].starts_with("key-"), "{left:?}");
        assert_eq!(account.violations(), Vec::<String>::new());
    });
}

/// The account notices what a careless tool would do.
#[test]
fn the_account_says_what_must_never_happen() {
    let account = Account::new(1, Latency { lists: Duration::ZERO, ..slow() });
    let others = account.group_of_others();
    let send = |form: &str| account.send(form).unwrap();
    let id = |text: &str, name: &str| text.split_once(&format!("<{name}>")).unwrap().1.split_once('<').unwrap().0.to_owned();
    swarm_sim::run(async {
        send("Action=ImportKeyPair&KeyName=swarm-shop&PublicKeyMaterial=c3NoLWVkMjU1MTkgQUFBQQ==");
        let group = id(&send("Action=CreateSecurityGroup&GroupName=swarm-shop&VpcId=vpc-1").1, "groupId");
        let run = |token: &str, group: &str| {
            format!(
                "Action=RunInstances&ImageId=a&InstanceType=t&MinCount=1&MaxCount=1&KeyName=swarm-shop&UserData=x&ClientToken={token}\
                 &NetworkInterface.1.SubnetId=s&NetworkInterface.1.SecurityGroupId.1={group}&TagSpecification.1.Tag.1.Key=swarm.cluster\
                 &TagSpecification.1.Tag.1.Value=shop&TagSpecification.1.Tag.2.Key=swarm.host&TagSpecification.1.Tag.2.Value=m1"
            )
        };
        let first = id(&send(&run("one", &group)).1, "instanceId");
        assert_eq!(id(&send(&run("one", &group)).1, "instanceId"), first);
        assert_eq!(account.violations(), Vec::<String>::new());
        let noticed = |form: &str, word: &str| {
            let before = account.violations().len();
            send(form);
            let after = account.violations();
            assert!(after.len() > before && after[before..].iter().any(|v| v.contains(word)), "{form}: {after:?}");
        };
        noticed(&run("two", &group), "a second instance");
        assert!(send(&run("one", &others)).1.contains("IdempotentParameterMismatch"));
        noticed(&format!("Action=CreateTags&ResourceId.1={first}&Tag.1.Key=swarm.host-key&Tag.1.Value=guess"), "host key");
        noticed(&format!("Action=DeleteSecurityGroup&GroupId={others}"), "belongs to others");
        let theirs = id(&send("Action=DescribeInstances&Filter.1.Name=tag:swarm.cluster&Filter.1.Value.1=others").1, "instanceId");
        noticed(&format!("Action=TerminateInstances&InstanceId.1={theirs}"), "belongs to others");
        noticed("Action=DeleteKeyPair&KeyName=swarm-others", "of others");
        let rule = |kind: &str| {
            format!(
                "Action={kind}SecurityGroupIngress&GroupId={group}&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=5432&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/8"
            )
        };
        send(&rule("Authorize"));
        noticed(&rule("Revoke"), "a rule of others");
        noticed("Action=StopInstances&InstanceId.1=i-1", "none that is needed");
        noticed("Action=RunInstances&MinCount=1&MaxCount=3", "not for one");
    });
}
