//! Creating and destroying. Everything is looked at before anything is made; each call can be made again after it was cut off.

use crate::answers::{
    Console, Group, Groups, Images, InstanceTypes, Instances, Items, KeyPair, KeyPairs, Nothing, Reservation, Subnet, Subnets, Tag, Vpcs,
};
use crate::query::{Call, Refused, Region};
use crate::wanted::{console_key, image_call, images, place, places, rule_calls, rules, token};
use crate::{CLUSTER, Ec2, HOST, HOST_KEY, ROLE, failed};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeSet;
use std::time::Duration;
use swarm_machines::{ProvisionError, Say};
use tokio::time::{Instant, sleep};

/// How long instances may take to run and to print their keys, and to be gone.
const BOOTS: Duration = Duration::from_secs(15 * 60);
const ENDS: Duration = Duration::from_secs(15 * 60);
/// Between two looks.
const AGAIN: Duration = Duration::from_secs(2);
/// How long a list may lack what was just made: EC2 says "eventual consistency" and names no time. A minute was never seen.
const LATE: Duration = Duration::from_secs(60);
/// How often a group or a key pair is made that someone deletes meanwhile.
const TURNS: u32 = 3;
/// How many instances of one name may have been terminated by hand before they are no longer counted.
const GENERATIONS: u32 = 50;

fn said(refused: Refused) -> ProvisionError {
    failed(refused.message)
}

/// What instances are made of.
struct Parts {
    image: String,
    root_device: String,
    vpc: String,
    places: Vec<Subnet>,
    public_key: String,
}

/// Looks at everything that creation needs.
async fn parts(ec2: &Ec2, region: &Region<'_>) -> Result<Parts, ProvisionError> {
    let aws = &ec2.aws;
    let public_key = ec2.around.public_key.clone().map_err(failed)?;
    let call = Call::new("DescribeInstanceTypes").with("InstanceType.1", &*aws.instance_type);
    let types: InstanceTypes = region.call(&call).await.map_err(said)?;
    let of_type = types.instance_type_set.item.into_iter().flat_map(|t| t.processor_info.supported_architectures.item);
    // i386 is listed first for some types.
    let arch = of_type.max_by_key(|arch| (arch == "arm64", arch == "x86_64"));
    let arch = arch.ok_or_else(|| failed(format!("machines.aws.type: {} is no instance type of {}", aws.instance_type, aws.region)))?;
    let call = image_call(&aws.image, &arch).ok_or_else(|| {
        failed(format!("machines.aws.image: `{}` is not known; write one of {}, or ami-…", aws.image, images().join(", ")))
    })?;
    let found: Images = region.call(&call).await.map_err(said)?;
    let newest = found.images_set.item.into_iter().max_by(|a, b| a.creation_date.cmp(&b.creation_date));
    let image = newest.ok_or_else(|| failed(format!("machines.aws.image: {} has no image {} for {arch}", aws.region, aws.image)))?;
    let vpc = match &aws.vpc {
        Some(vpc) => vpc.clone(),
        None => {
            let vpcs: Vpcs = region.call(&Call::new("DescribeVpcs").filter("is-default", &["true"])).await.map_err(said)?;
            let first = vpcs.vpc_set.item.into_iter().next().map(|v| v.vpc_id);
            first.ok_or_else(|| failed(format!("{} has no default VPC; name one with machines.aws.vpc", aws.region)))?
        }
    };
    let subnets: Subnets = region.call(&Call::new("DescribeSubnets").filter("vpc-id", &[&vpc])).await.map_err(said)?;
    let mut subnets = subnets.subnet_set.item;
    for id in &aws.subnets {
        if !subnets.iter().any(|s| s.subnet_id == *id) {
            return Err(failed(format!("machines.aws.subnets: {vpc} has no subnet {id}")));
        }
    }
    subnets.retain(|s| aws.subnets.is_empty() || aws.subnets.contains(&s.subnet_id));
    let places = places(aws, &subnets);
    if places.is_empty() {
        return Err(failed(format!("{vpc} has no subnet")));
    }
    Ok(Parts { image: image.image_id, root_device: image.root_device_name, vpc, places, public_key })
}

/// The two words of a public key that say what it is.
fn key_words(line: &str) -> Vec<&str> {
    line.split_whitespace().take(2).collect()
}

async fn key_pairs(region: &Region<'_>, name: &str) -> Result<Option<KeyPair>, ProvisionError> {
    let call = Call::new("DescribeKeyPairs").filter("key-name", &[name]).with("IncludePublicKey", "true");
    let pairs: KeyPairs = region.call(&call).await.map_err(said)?;
    Ok(pairs.key_set.item.into_iter().next())
}

/// The cluster's key pair, made where it is not there.
async fn key_pair(ec2: &Ec2, region: &Region<'_>, public_key: &str) -> Result<KeyPair, ProvisionError> {
    let name = ec2.name();
    let until = Instant::now() + LATE;
    loop {
        if let Some(pair) = key_pairs(region, &name).await? {
            if !pair.public_key.is_empty() && key_words(&pair.public_key) != key_words(public_key) {
                let why = format!("the key pair {name} has another key than machines.aws.key; instances that are there let in the old one");
                return Err(failed(format!("{why}: name that key, or destroy the machines first")));
            }
            return Ok(pair);
        }
        let call = Call::new("ImportKeyPair").with("KeyName", &*name).with("PublicKeyMaterial", STANDARD.encode(public_key));
        match region.call::<KeyPair>(&call.tags(&["key-pair"], &[(CLUSTER, &ec2.cluster)])).await {
            Ok(pair) => return Ok(pair),
            // It was made a moment ago, perhaps by a call whose answer was lost, and the list is late.
            Err(refused) if refused.is(&["InvalidKeyPair.Duplicate"]) && Instant::now() < until => sleep(AGAIN).await,
            Err(refused) => return Err(said(refused)),
        }
    }
}

async fn groups(ec2: &Ec2, region: &Region<'_>, vpc: Option<&str>) -> Result<Vec<Group>, ProvisionError> {
    let mut call = Call::new("DescribeSecurityGroups").filter("group-name", &[&ec2.name()]);
    if let Some(vpc) = vpc {
        call = call.filter("vpc-id", &[vpc]);
    }
    let groups: Groups = region.call(&call).await.map_err(said)?;
    Ok(groups.security_group_info.item)
}

/// Whether something was made for the cluster.
fn has_tag(ec2: &Ec2, tags: &Items<Tag>) -> bool {
    tags.item.iter().any(|tag| tag.key == CLUSTER && tag.value == ec2.cluster)
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    group_id: String,
}

/// The cluster's security group with its rules; one that the file names is taken as it is. `None` where a list had it still, and it is gone.
async fn group(ec2: &Ec2, region: &Region<'_>, vpc: &str) -> Result<Option<String>, ProvisionError> {
    if let Some(given) = &ec2.aws.security_group {
        let call = Call::new("DescribeSecurityGroups").with("GroupId.1", &**given);
        region.call::<Groups>(&call).await.map_err(said)?;
        return Ok(Some(given.clone()));
    }
    let name = ec2.name();
    let until = Instant::now() + LATE;
    let group = loop {
        if let Some(group) = groups(ec2, region, Some(vpc)).await?.into_iter().next() {
            if !has_tag(ec2, &group.tag_set) {
                return Err(failed(format!("{} is called {name} and lacks the tag {CLUSTER}: it is someone else's", group.group_id)));
            }
            break group;
        }
        let call = Call::new("CreateSecurityGroup").with("GroupName", &*name).with("VpcId", vpc);
        let call = call.with("GroupDescription", format!("Docker Swarm cluster {}", ec2.cluster));
        match region.call::<Created>(&call.tags(&["security-group"], &[(CLUSTER, &ec2.cluster), ("Name", &name)])).await {
            Ok(made) => break Group { group_id: made.group_id, ip_permissions: Items::default(), tag_set: Items::default() },
            Err(refused) if refused.is(&["InvalidGroup.Duplicate"]) && Instant::now() < until => sleep(AGAIN).await,
            Err(refused) => return Err(said(refused)),
        }
    };
    for call in rule_calls(&rules(&ec2.aws, ec2.around.data_path_port, ec2.around.esp), &group) {
        loop {
            match region.call::<Nothing>(&call).await {
                Err(refused) if refused.is(&["InvalidGroup.NotFound", "InvalidGroupId.NotFound"]) => {
                    if Instant::now() > until {
                        return Ok(None);
                    }
                    sleep(AGAIN).await;
                }
                Err(refused) if !refused.is(&["InvalidPermission.Duplicate", "InvalidPermission.NotFound"]) => return Err(said(refused)),
                _ => break,
            }
        }
    }
    Ok(Some(group.group_id))
}

/// What an instance does at its first start: it takes its host's name, and prints its host keys to the console.
fn user_data(host: &str) -> String {
    let text = format!(
        "#cloud-config\nhostname: {host}\npreserve_hostname: false\nmanage_etc_hosts: localhost\nssh_deletekeys: true\nssh:\n  emit_keys_to_console: true\n"
    );
    STANDARD.encode(text)
}

/// Runs one instance. EC2 knows the token again, so that a call whose answer was lost makes no second one. `None` where EC2 does not know the group
/// or the key pair, however long it is asked: a list had them still, and they are gone.
async fn run(
    ec2: &Ec2,
    region: &Region<'_>,
    made: (&Parts, &str, &str),
    host: &str,
    manager: bool,
) -> Result<Option<String>, ProvisionError> {
    let (parts, group, key) = made;
    let aws = &ec2.aws;
    let subnet = place(host, manager, &parts.places).ok_or_else(|| failed("there is no subnet"))?;
    let network = "NetworkInterface.1";
    let mut call = Call::new("RunInstances")
        .with("ImageId", &*parts.image)
        .with("InstanceType", &*aws.instance_type)
        .with("MinCount", "1")
        .with("MaxCount", "1")
        .with("KeyName", ec2.name())
        .with("UserData", user_data(host))
        .with(format!("{network}.DeviceIndex"), "0")
        .with(format!("{network}.SubnetId"), &*subnet.subnet_id)
        .with(format!("{network}.AssociatePublicIpAddress"), if aws.private { "false" } else { "true" })
        .with(format!("{network}.DeleteOnTermination"), "true")
        .with(format!("{network}.SecurityGroupId.1"), group)
        // Tasks have no business with the instance's credentials: version 2 of the metadata service, which a container's packets do not reach.
        .with("MetadataOptions.HttpTokens", "required")
        .with("MetadataOptions.HttpPutResponseHopLimit", "1");
    if let Some(gib) = aws.disk {
        let device = "BlockDeviceMapping.1";
        call = call
            .with(format!("{device}.DeviceName"), &*parts.root_device)
            .with(format!("{device}.Ebs.VolumeSize"), gib.to_string())
            .with(format!("{device}.Ebs.VolumeType"), "gp3")
            .with(format!("{device}.Ebs.DeleteOnTermination"), "true");
    }
    let name = format!("{}-{host}", ec2.cluster);
    let role = if manager { "manager" } else { "worker" };
    let tags = [(CLUSTER, ec2.cluster.as_str()), (HOST, host), (ROLE, role), ("Name", name.as_str())];
    let call = call.tags(&["instance", "volume"], &tags);
    for generation in 0..GENERATIONS {
        let call = call.clone().with("ClientToken", token(group, key, host, generation));
        let mut tries = LATE.as_secs() / AGAIN.as_secs();
        loop {
            match region.call::<Reservation>(&call).await {
                Ok(reservation) => {
                    let id = reservation.instances_set.item.into_iter().next().map(|i| i.instance_id);
                    return id.map(Some).ok_or_else(|| failed(format!("EC2 took {host} and named no instance")));
                }
                // Someone terminated the instance that this token stood for.
                Err(refused) if refused.is(&["IdempotentInstanceTerminated"]) => break,
                // It stood for one that the file wanted otherwise: a list has that one, or it is gone.
                Err(refused) if refused.is(&["IdempotentParameterMismatch"]) => match listed_soon(ec2, region, host).await? {
                    Some(id) => return Ok(Some(id)),
                    None => break,
                },
                // What was made a moment ago is not known everywhere yet.
                Err(refused) if refused.is(&["InvalidGroup.NotFound", "InvalidKeyPair.NotFound"]) => {
                    if tries == 0 {
                        return Ok(None);
                    }
                    tries -= 1;
                    sleep(AGAIN).await;
                }
                Err(refused) => return Err(failed(format!("{host} in {}: {}", subnet.availability_zone, refused.message))),
            }
        }
    }
    Err(failed(format!("{GENERATIONS} instances called {host} were terminated; destroy the machines first")))
}

/// The instance of a host, if a list has one before lists are no longer late.
async fn listed_soon(ec2: &Ec2, region: &Region<'_>, host: &str) -> Result<Option<String>, ProvisionError> {
    let until = Instant::now() + LATE;
    loop {
        let there = ec2.instances(region).await?;
        if let Some(instance) = ec2.by_host(&there)?.get(host) {
            return Ok(Some(instance.instance_id.clone()));
        }
        if Instant::now() > until {
            return Ok(None);
        }
        sleep(AGAIN).await;
    }
}

/// Creates what is missing.
pub(crate) async fn create(ec2: &Ec2, region: &Region<'_>, say: Say<'_>) -> Result<(), ProvisionError> {
    let parts = parts(ec2, region).await?;
    for _ in 0..TURNS {
        let key = key_pair(ec2, region, &parts.public_key).await?;
        if let Some(group) = group(ec2, region, &parts.vpc).await? {
            say(&format!("the security group is {group}, the key pair {}", ec2.name()));
            if let Some(ids) = instances(ec2, region, (&parts, &group, &key.key_pair_id), say).await? {
                return boot(ec2, region, ids, say).await;
            }
        }
        say("the security group or the key pair was deleted in the meantime; it is made again");
    }
    Err(failed(format!("the security group or the key pair of {} keeps being deleted by someone else", ec2.cluster)))
}

/// Runs and starts instances until each host has one. `None` as [`run`] has it.
async fn instances(
    ec2: &Ec2,
    region: &Region<'_>,
    made: (&Parts, &str, &str),
    say: Say<'_>,
) -> Result<Option<BTreeSet<String>>, ProvisionError> {
    let there = ec2.instances(region).await?;
    let by_host = ec2.by_host(&there)?;
    let mut ids = BTreeSet::new();
    for (host, manager) in ec2.aws.hosts() {
        if let Some(instance) = by_host.get(host.as_str()) {
            ids.insert(instance.instance_id.clone());
            if matches!(instance.instance_state.name.as_str(), "stopped" | "stopping") {
                start(region, &instance.instance_id).await?;
                say(&format!("{host}: {} is started", instance.instance_id));
            }
            continue;
        }
        let Some(id) = run(ec2, region, made, &host, manager).await? else { return Ok(None) };
        say(&format!("{host}: {id} is created"));
        ids.insert(id);
    }
    Ok(Some(ids))
}

async fn start(region: &Region<'_>, id: &str) -> Result<(), ProvisionError> {
    let until = Instant::now() + ENDS;
    loop {
        match region.call::<Nothing>(&Call::new("StartInstances").with("InstanceId.1", id)).await {
            Err(refused) if refused.is(&["IncorrectInstanceState", "IncorrectState"]) && Instant::now() < until => sleep(AGAIN).await,
            Err(refused) => return Err(said(refused)),
            Ok(_) => return Ok(()),
        }
    }
}

/// Waits until instances run, have their addresses, and their host keys are known.
async fn boot(ec2: &Ec2, region: &Region<'_>, mut waits: BTreeSet<String>, say: Say<'_>) -> Result<(), ProvisionError> {
    let until = Instant::now() + BOOTS;
    loop {
        let there = ec2.instances(region).await?;
        let mut open = Vec::new();
        for id in waits.clone() {
            let Some(instance) = there.iter().find(|i| i.instance_id == id) else {
                if let Some(why) = ended(region, &id).await? {
                    return Err(failed(format!("{id} ended by itself: {why}")));
                }
                open.push(format!("{id} is not listed yet"));
                continue;
            };
            let host = instance.tag(HOST).unwrap_or(&id);
            match ec2.lacks(instance) {
                None => {
                    say(&format!("{host}: {id} runs"));
                    waits.remove(&id);
                }
                Some(lack) => {
                    let asks = instance.instance_state.name == "running" && ec2.aws.console_keys && instance.tag(HOST_KEY).is_none();
                    if let Some(key) = if asks { console(region, &id).await? } else { None } {
                        let call = Call::new("CreateTags").with("ResourceId.1", &*id).with("Tag.1.Key", HOST_KEY).with("Tag.1.Value", key);
                        region.call::<Nothing>(&call).await.map_err(said)?;
                    }
                    open.push(format!("{host}: {lack}"));
                }
            }
        }
        if waits.is_empty() {
            return Ok(());
        }
        if Instant::now() > until {
            let minutes = BOOTS.as_secs() / 60;
            return Err(failed(format!("not ready within {minutes} minutes: {}", open.join("; "))));
        }
        sleep(AGAIN).await;
    }
}

/// Why an instance that is not listed as living has ended; `None` where that is not so.
async fn ended(region: &Region<'_>, id: &str) -> Result<Option<String>, ProvisionError> {
    let found: Instances = match region.call(&Call::new("DescribeInstances").with("InstanceId.1", id)).await {
        Ok(found) => found,
        Err(refused) if refused.is(&["InvalidInstanceID.NotFound"]) => return Ok(None),
        Err(refused) => return Err(said(refused)),
    };
    let instance = found.reservation_set.item.into_iter().flat_map(|r| r.instances_set.item).next();
    let gone = instance.filter(|i| matches!(i.instance_state.name.as_str(), "shutting-down" | "terminated"));
    Ok(gone.map(|i| if i.state_reason.message.is_empty() { i.instance_state.name } else { i.state_reason.message }))
}

/// The host key that an instance's console printed, if it did by now.
async fn console(region: &Region<'_>, id: &str) -> Result<Option<String>, ProvisionError> {
    let call = Call::new("GetConsoleOutput").with("InstanceId", id);
    // Older kinds of instances have no newest output, only what was kept.
    let output = match region.call::<Console>(&call.clone().with("Latest", "true")).await {
        Err(refused) if refused.is(&["UnsupportedOperation", "InvalidParameterCombination"]) => region.call::<Console>(&call).await,
        other => other,
    };
    let output = output.map_err(said)?.output;
    let joined: String = output.split_whitespace().collect();
    Ok(STANDARD.decode(joined).ok().and_then(|bytes| console_key(&String::from_utf8_lossy(&bytes))))
}

/// Destroys instances, then the group, then the key pair. While EC2 refuses to delete the group, something is in it: lists are late, and it is found.
/// Where no group of ours was deleted, or instances are in another one, nothing says that no more are there: lists have to show nothing for a while.
pub(crate) async fn destroy(ec2: &Ec2, region: &Region<'_>, say: Say<'_>) -> Result<(), ProvisionError> {
    let until = Instant::now() + ENDS;
    let mut asked: BTreeSet<String> = BTreeSet::new();
    let mut quiet = Instant::now() + LATE;
    let (mut proven, mut announced) = (false, false);
    loop {
        let there = ec2.instances(region).await?;
        for instance in &there {
            let id = &instance.instance_id;
            match region.call::<Nothing>(&Call::new("TerminateInstances").with("InstanceId.1", &**id)).await {
                Err(refused) if !refused.is(&["InvalidInstanceID.NotFound"]) => return Err(said(refused)),
                _ => {}
            }
            if asked.insert(id.clone()) {
                say(&format!("{}: {id} is terminated", instance.tag(HOST).unwrap_or("an instance")));
                quiet = Instant::now() + LATE;
            }
        }
        // One that was made before the file named another one goes too; the one that it names stays.
        let of_ours = |group: &Group| has_tag(ec2, &group.tag_set) && ec2.aws.security_group.as_ref() != Some(&group.group_id);
        let left: Vec<Group> = groups(ec2, region, None).await?.into_iter().filter(of_ours).collect();
        let mut open = Vec::new();
        for group in left.into_iter().map(|g| g.group_id).filter(|_| there.is_empty()) {
            match region.call::<Nothing>(&Call::new("DeleteSecurityGroup").with("GroupId", &*group)).await {
                Ok(_) => {
                    say(&format!("{group} is deleted"));
                    proven = ec2.aws.security_group.is_none();
                }
                // It was deleted already, and the list is late.
                Err(refused) if refused.is(&["InvalidGroup.NotFound", "InvalidGroupId.NotFound"]) => {}
                Err(refused) if refused.is(&["DependencyViolation", "InvalidGroup.InUse"]) => open.push(group),
                Err(refused) => return Err(said(refused)),
            }
        }
        if there.is_empty() && open.is_empty() {
            if proven || Instant::now() > quiet {
                break;
            }
            if asked.is_empty() && !announced {
                say(&format!("EC2 lists no machine of this cluster; its lists can be late, so this looks again for {} s", LATE.as_secs()));
                announced = true;
            }
        }
        if Instant::now() > until {
            let minutes = ENDS.as_secs() / 60;
            return Err(failed(format!("after {minutes} minutes something is still in {}", open.join(", "))));
        }
        sleep(AGAIN).await;
    }
    // One that someone else made stays. Where none is listed, the list may be late; where there is none, that is well.
    if key_pairs(region, &ec2.name()).await?.is_none_or(|pair| has_tag(ec2, &pair.tag_set)) {
        region.call::<Nothing>(&Call::new("DeleteKeyPair").with("KeyName", ec2.name())).await.map_err(said)?;
    }
    Ok(())
}
