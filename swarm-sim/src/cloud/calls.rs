//! The calls, each by docs.aws.amazon.com/AWSEC2/latest/APIReference, as far as the tool makes them. One that it should not make is noted.

use super::state::{CLUSTER, Group, HOST, Instance, KeyPair, Rule, State, Tag, tags};
use super::{Answer, Form, Refusal, refuse, xml};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeSet;
use std::time::Duration;

const DONE: &str = "<return>true</return>";

/// What a call goes without: nothing is made of it.
const NEEDED: [&str; 9] = [
    "ImageId",
    "InstanceType",
    "MinCount",
    "MaxCount",
    "KeyName",
    "UserData",
    "ClientToken",
    "NetworkInterface.1.SubnetId",
    "NetworkInterface.1.SecurityGroupId.1",
];

fn field<'a>(form: &'a Form, name: &str) -> &'a str {
    form.get(name).map_or("", String::as_str)
}

/// The values of a filter.
fn filter<'a>(form: &'a Form, name: &str) -> Option<BTreeSet<&'a str>> {
    let number = (1..9).find(|n| field(form, &format!("Filter.{n}.Name")) == name)?;
    Some((1..20).map_while(|n| form.get(&format!("Filter.{number}.Value.{n}"))).map(String::as_str).collect())
}

/// The tags that a call gives to what it makes.
fn tagged(form: &Form, from: Duration) -> Vec<Tag> {
    (1..20)
        .map_while(|n| form.get(&format!("TagSpecification.1.Tag.{n}.Key")).map(|key| (n, key)))
        .map(|(n, key)| Tag { key: key.clone(), value: field(form, &format!("TagSpecification.1.Tag.{n}.Value")).to_owned(), from })
        .collect()
}

fn value<'a>(tags: &'a [Tag], key: &str) -> &'a str {
    tags.iter().find(|tag| tag.key == key).map_or("", |tag| tag.value.as_str())
}

impl State {
    /// A call with what goes wrong with it.
    pub(super) fn send(&mut self, form: &Form) -> Option<(u16, String)> {
        let action = field(form, "Action").to_owned();
        self.calls.push(action.clone());
        if self.dead {
            return None;
        }
        if let Some((number, after)) = self.cut
            && self.calls.len() > number
        {
            self.dead = true;
            if after {
                let _ = self.effect(&action, form);
            }
            return None;
        }
        if self.one_in > 0 && self.rng.u32(0..self.one_in) == 0 {
            match self.rng.u32(0..5) {
                0 => {
                    self.count("throttled");
                    return Some(said(Err(Refusal(503, "RequestLimitExceeded", "Request limit exceeded.".into()))));
                }
                1 => {
                    self.count("failed before");
                    return Some(said(Err(Refusal(500, "InternalError", "An internal error has occurred".into()))));
                }
                2 => {
                    self.count("failed after");
                    let _ = self.effect(&action, form);
                    return Some(said(Err(Refusal(500, "InternalError", "An internal error has occurred".into()))));
                }
                3 => {
                    self.count("lost before");
                    return None;
                }
                _ => {
                    self.count("lost after");
                    let _ = self.effect(&action, form);
                    return None;
                }
            }
        }
        Some(said(self.effect(&action, form)))
    }

    fn effect(&mut self, action: &str, form: &Form) -> Answer {
        match action {
            "DescribeInstanceTypes" => Ok("<instanceTypeSet><item><processorInfo><supportedArchitectures><item>x86_64</item>\
                </supportedArchitectures></processorInfo></item></instanceTypeSet>"
                .into()),
            "DescribeImages" => Ok("<imagesSet><item><imageId>ami-1</imageId><creationDate>2026-01-01</creationDate>\
                <rootDeviceName>/dev/xvda</rootDeviceName></item></imagesSet>"
                .into()),
            "DescribeVpcs" => Ok("<vpcSet><item><vpcId>vpc-1</vpcId></item></vpcSet>".into()),
            "DescribeSubnets" => {
                let subnet = |n: u32| {
                    let inner = xml("availabilityZone", format!("zsubnet-{n}")) + &xml("subnetId", format!("subnet-{n}"));
                    xml("item", inner + &xml("vpcId", "vpc-1"))
                };
                Ok(xml("subnetSet", (1..=3).map(subnet).collect::<String>()))
            }
            "DescribeKeyPairs" => {
                let names = filter(form, "key-name").unwrap_or_default();
                let found = self.keys.iter().filter(|k| names.contains(k.name.as_str()) && self.listed(k.shown, k.gone));
                let item = |k: &KeyPair| xml("item", xml("keyPairId", &k.id) + &xml("publicKey", &k.public) + &tags(&k.tags, self.now));
                Ok(xml("keySet", found.map(item).collect::<String>()))
            }
            "ImportKeyPair" => self.import_key(form),
            "DeleteKeyPair" => {
                let name = field(form, "KeyName");
                let late = self.soon();
                let found = self.keys.iter_mut().find(|k| k.name == name && k.gone.is_none());
                let foreign = found.map(|key| {
                    key.gone = Some(late);
                    value(&key.tags, CLUSTER) != name.trim_start_matches("swarm-") || key.public.contains("others")
                });
                if foreign == Some(true) {
                    self.never(format!("the key pair {name} of others was deleted"));
                }
                Ok(DONE.into())
            }
            "DescribeSecurityGroups" => self.groups_listed(form),
            "CreateSecurityGroup" => self.make_group(form),
            "AuthorizeSecurityGroupIngress" | "RevokeSecurityGroupIngress" => self.change_rule(action, form),
            "DeleteSecurityGroup" => self.delete_group(field(form, "GroupId")),
            "RunInstances" => self.run(form),
            "DescribeInstances" => self.instances_listed(form),
            "StartInstances" => {
                let (now, boots) = (self.now, self.below(self.latency.boots));
                let instance = self.instance(form)?;
                match instance.state(now) {
                    "stopped" => {
                        (instance.stopped, instance.started, instance.boots) = (None, now, boots);
                        Ok(DONE.into())
                    }
                    "running" | "pending" => Ok(DONE.into()),
                    state => refuse("IncorrectInstanceState", format!("it is {state}")),
                }
            }
            "TerminateInstances" => {
                let now = self.now;
                let instance = self.instance(form)?;
                if instance.died.is_none() {
                    instance.died = Some(now);
                }
                Ok(DONE.into())
            }
            "CreateTags" => {
                let late = self.soon();
                let (key, value) = (field(form, "Tag.1.Key").to_owned(), field(form, "Tag.1.Value").to_owned());
                let instance = self.instance(form)?;
                let wrong = key == "swarm.host-key" && value != instance.host_key();
                let (id, has) = (instance.id.clone(), instance.host_key());
                instance.tags.push(Tag { key, value: value.clone(), from: late });
                if wrong {
                    self.never(format!("{value} was recorded as the host key of {id}, which has {has}"));
                }
                Ok(DONE.into())
            }
            "GetConsoleOutput" => {
                let now = self.now;
                if field(form, "Latest") == "true" && self.number.is_multiple_of(3) {
                    self.count("a console without its newest output");
                    return refuse("UnsupportedOperation", "This instance type does not support retrieving the latest console logs.");
                }
                let instance = self.instance(form)?;
                Ok(xml("output", STANDARD.encode(instance.console(now))))
            }
            other => {
                self.never(format!("the call {other} is none that is needed"));
                refuse("InvalidAction", other)
            }
        }
    }

    /// Whether lists have something by now, and still.
    fn listed(&self, shown: Duration, gone: Option<Duration>) -> bool {
        self.now >= shown && gone.is_none_or(|gone| self.now < gone)
    }

    /// The instance that a call names. One of others is not for the tool.
    fn instance(&mut self, form: &Form) -> Result<&mut Instance, Refusal> {
        let id = form.get("InstanceId.1").or(form.get("InstanceId")).or(form.get("ResourceId.1")).cloned().unwrap_or_default();
        let action = field(form, "Action");
        if self.instances.first().is_some_and(|others| others.id == id) {
            self.never(format!("{action} of {id}, which belongs to others"));
        }
        let now = self.now;
        match self.instances.iter_mut().find(|i| i.id == id && i.shown <= now) {
            Some(instance) => Ok(instance),
            None => refuse("InvalidInstanceID.NotFound", format!("The instance ID '{id}' does not exist")),
        }
    }

    fn import_key(&mut self, form: &Form) -> Answer {
        let name = field(form, "KeyName").to_owned();
        if self.keys.iter().any(|k| k.name == name && k.gone.is_none()) {
            return refuse("InvalidKeyPair.Duplicate", format!("The keypair '{name}' already exists."));
        }
        let public = STANDARD.decode(field(form, "PublicKeyMaterial")).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some(public) = public else { return refuse("InvalidKey.Format", "Key is not in valid OpenSSH public key format") };
        let (shown, known, id) = (self.soon(), self.soon(), self.id("key"));
        let tags = tagged(form, self.now);
        self.keys.push(KeyPair { id: id.clone(), name, public, tags, shown, known, gone: None });
        Ok(xml("keyPairId", id))
    }

    fn groups_listed(&mut self, form: &Form) -> Answer {
        let (names, vpcs) = (filter(form, "group-name"), filter(form, "vpc-id"));
        let asked = form.get("GroupId.1");
        let found = self.groups.iter().filter(|g| {
            let named = names.as_ref().is_none_or(|names| names.contains(g.name.as_str()));
            let there = vpcs.as_ref().is_none_or(|vpcs| vpcs.contains(g.vpc.as_str()));
            named && there && asked.is_none_or(|id| *id == g.id) && self.listed(g.shown, g.gone)
        });
        let permission = |r: &Rule| {
            let source = xml(r.kind.1, &r.source) + &xml("description", &r.description);
            let ports = if r.port == "-1" { String::new() } else { xml("fromPort", &r.port) + &xml("toPort", &r.port) };
            xml("item", xml("ipProtocol", &r.protocol) + &ports + &xml(r.kind.0, xml("item", source)))
        };
        let item = |g: &Group| {
            let rules = xml("ipPermissions", g.rules.iter().map(permission).collect::<String>());
            xml("item", xml("groupId", &g.id) + &rules + &tags(&g.tags, self.now))
        };
        let items: Vec<String> = found.map(item).collect();
        if let (Some(id), true) = (asked, items.is_empty()) {
            return refuse("InvalidGroup.NotFound", format!("The security group '{id}' does not exist"));
        }
        Ok(xml("securityGroupInfo", items.concat()))
    }

    fn make_group(&mut self, form: &Form) -> Answer {
        let (name, vpc) = (field(form, "GroupName").to_owned(), field(form, "VpcId").to_owned());
        if self.groups.iter().any(|g| g.name == name && g.vpc == vpc && g.gone.is_none()) {
            return refuse("InvalidGroup.Duplicate", format!("The security group '{name}' already exists for VPC '{vpc}'"));
        }
        let (shown, known, id) = (self.soon(), self.soon(), self.id("sg"));
        let tags = tagged(form, self.now);
        self.groups.push(Group { id: id.clone(), name, vpc, tags, rules: BTreeSet::new(), shown, known, gone: None });
        Ok(xml("groupId", id))
    }

    fn change_rule(&mut self, action: &str, form: &Form) -> Answer {
        let id = field(form, "GroupId").to_owned();
        if self.of_others() == id {
            self.never(format!("{action} of {id}, which belongs to others"));
        }
        let now = self.now;
        let Some(group) = self.groups.iter_mut().find(|g| g.id == id && g.gone.is_none() && g.known <= now) else {
            return refuse("InvalidGroup.NotFound", format!("The security group '{id}' does not exist"));
        };
        let of = "IpPermissions.1";
        let kinds = [
            ("Groups.1.GroupId", ("groups", "groupId")),
            ("IpRanges.1.CidrIp", ("ipRanges", "cidrIp")),
            ("Ipv6Ranges.1.CidrIpv6", ("ipv6Ranges", "cidrIpv6")),
        ];
        let found = kinds.into_iter().find_map(|(name, kind)| form.get(&format!("{of}.{name}")).map(|source| (name, kind, source.clone())));
        let Some((name, kind, source)) = found else { return refuse("MissingParameter", "a rule needs a source") };
        let described = format!("{of}.{}.Description", name.rsplit_once('.').map_or(name, |(list, _)| list));
        let rule = Rule {
            protocol: field(form, &format!("{of}.IpProtocol")).to_owned(),
            port: field(form, &format!("{of}.FromPort")).to_owned(),
            kind,
            source,
            description: field(form, &described).to_owned(),
        };
        let there = group.rules.iter().find(|r| r.same(&rule)).cloned();
        match (action, there) {
            ("AuthorizeSecurityGroupIngress", Some(_)) => refuse("InvalidPermission.Duplicate", "the specified rule already exists"),
            ("AuthorizeSecurityGroupIngress", None) => {
                group.rules.insert(rule);
                Ok(DONE.into())
            }
            (_, Some(there)) => {
                group.rules.remove(&there);
                if there.description != "swarm" {
                    self.never(format!("a rule of others was taken from {id}: {there:?}"));
                }
                Ok(DONE.into())
            }
            (_, None) => refuse("InvalidPermission.NotFound", "The specified rule does not exist in this security group."),
        }
    }

    fn delete_group(&mut self, id: &str) -> Answer {
        if self.of_others() == id {
            self.never(format!("{id}, which belongs to others, was to be deleted"));
        }
        let now = self.now;
        if self.instances.iter().any(|i| i.group == id && i.state(now) != "terminated") {
            self.count("a group is in use");
            return refuse("DependencyViolation", format!("resource {id} has a dependent object"));
        }
        let late = self.soon();
        match self.groups.iter_mut().find(|g| g.id == id && g.gone.is_none() && g.known <= now) {
            Some(group) => {
                group.gone = Some(late);
                Ok(DONE.into())
            }
            None => refuse("InvalidGroup.NotFound", format!("The security group '{id}' does not exist")),
        }
    }

    fn run(&mut self, form: &Form) -> Answer {
        let missing: Vec<&str> = NEEDED.into_iter().filter(|name| field(form, name).is_empty()).collect();
        if !missing.is_empty() || field(form, "MinCount") != "1" || field(form, "MaxCount") != "1" {
            self.never(format!("RunInstances without {missing:?}, or not for one"));
        }
        let now = self.now;
        let token = field(form, "ClientToken");
        if let Some(there) = self.instances.iter().find(|i| i.token == token) {
            if there.form != *form {
                let what = format!("The client token of {} does not match the parameters", there.id);
                self.count("a token for something else");
                return refuse("IdempotentParameterMismatch", what);
            }
            if there.died.is_some() {
                let id = there.id.clone();
                self.count("a token whose instance is gone");
                return refuse("IdempotentInstanceTerminated", format!("The instance {id} has been terminated"));
            }
            let same = xml("instancesSet", xml("item", xml("instanceId", &there.id)));
            self.count("a token came again");
            return Ok(same);
        }
        let group = field(form, "NetworkInterface.1.SecurityGroupId.1").to_owned();
        if !self.groups.iter().any(|g| g.id == group && g.gone.is_none() && g.known <= now) {
            self.count("a group that is not known yet");
            return refuse("InvalidGroup.NotFound", format!("The security group '{group}' does not exist"));
        }
        let key = field(form, "KeyName");
        if !self.keys.iter().any(|k| k.name == key && k.gone.is_none() && k.known <= now) {
            self.count("a key pair that is not known yet");
            return refuse("InvalidKeyPair.NotFound", format!("The key pair '{key}' does not exist"));
        }
        if self.full > 0 {
            self.full -= 1;
            self.count("no room");
            return Err(Refusal(500, "InsufficientInstanceCapacity", "We currently do not have sufficient capacity.".into()));
        }
        let given = tagged(form, now);
        let (cluster, host) = (value(&given, CLUSTER).to_owned(), value(&given, HOST).to_owned());
        if let Some(other) = self.living(&cluster).get(&host) {
            let id = other.id.clone();
            self.never(format!("{host} of {cluster} gets a second instance beside {id}"));
        }
        let id = self.id("i");
        let Drawn { shown, boots, prints, lingers } = self.drawn();
        let fails = self.one_in > 0 && self.rng.u32(0..12) == 0;
        self.instances.push(Instance {
            id: id.clone(),
            token: token.to_owned(),
            form: form.clone(),
            tags: given,
            group,
            subnet: field(form, "NetworkInterface.1.SubnetId").to_owned(),
            number: self.number,
            shown,
            started: now,
            boots,
            prints,
            lingers,
            fails,
            stopped: None,
            died: None,
        });
        Ok(xml("instancesSet", xml("item", xml("instanceId", id))))
    }

    fn drawn(&mut self) -> Drawn {
        let of = self.latency;
        Drawn { shown: self.soon(), boots: self.below(of.boots), prints: self.below(of.prints), lingers: self.below(of.lingers) }
    }

    fn instances_listed(&mut self, form: &Form) -> Answer {
        if form.contains_key("InstanceId.1") {
            let now = self.now;
            return self.instance(form).map(|instance| xml("reservationSet", instance.xml(now)));
        }
        let (clusters, states) = (filter(form, &format!("tag:{CLUSTER}")).unwrap_or_default(), filter(form, "instance-state-name"));
        let found: Vec<String> = self
            .instances
            .iter()
            .filter(|i| i.shown <= self.now && clusters.contains(i.tag(CLUSTER)))
            .filter(|i| states.as_ref().is_none_or(|states| states.contains(i.state(self.now))))
            .map(|i| i.xml(self.now))
            .collect();
        let from: usize = field(form, "NextToken").parse().unwrap_or(0);
        let to = from + self.latency.page.max(1);
        let next = if to < found.len() { xml("nextToken", to.to_string()) } else { String::new() };
        if !next.is_empty() {
            self.count("a list in pages");
        }
        let page: String = found.into_iter().skip(from).take(to - from).collect();
        Ok(xml("reservationSet", page) + &next)
    }
}

/// What is drawn for an instance.
struct Drawn {
    shown: Duration,
    boots: Duration,
    prints: Duration,
    lingers: Duration,
}

/// An answer as EC2 writes it.
fn said(answer: Answer) -> (u16, String) {
    match answer {
        Ok(inner) => (200, xml("Response", inner)),
        Err(Refusal(status, code, message)) => {
            let error = xml("Error", xml("Code", code) + &xml("Message", message));
            (status, xml("Response", xml("Errors", error)))
        }
    }
}
