//! What is wanted of EC2, as pure functions: where instances go, which rules a group has, what a console printed.

use crate::answers::{Group, Permission, Subnet};
use crate::query::Call;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use swarm_core::spec::Aws;

/// The description of rules that are ours: others of the group are left alone.
const OURS: &str = "swarm";

/// Who publishes images, what they are called, and who logs in to them: (name, owner, pattern, login). `@` is the architecture.
const IMAGES: &[(&str, &str, &str, &str)] = &[
    // https://wiki.debian.org/Cloud/AmazonEC2Image
    ("debian-13", "136693071363", "debian-13-@-*", "admin"),
    ("debian-12", "136693071363", "debian-12-@-*", "admin"),
    // https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/
    ("ubuntu-24.04", "099720109477", "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-@-server-*", "ubuntu"),
    ("ubuntu-22.04", "099720109477", "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-@-server-*", "ubuntu"),
];

/// The names of images that are known.
pub(crate) fn images() -> Vec<&'static str> {
    IMAGES.iter().map(|(name, ..)| *name).collect()
}

/// How an image is asked for, for an architecture as EC2 names it; `None` where neither a name nor an id is known.
pub(crate) fn image_call(image: &str, arch: &str) -> Option<Call> {
    if image.starts_with("ami-") {
        return Some(Call::new("DescribeImages").with("ImageId.1", image));
    }
    let (_, owner, pattern, _) = IMAGES.iter().find(|(name, ..)| *name == image)?;
    // Both publishers call x86_64 as Debian does.
    let name = pattern.replace('@', if arch == "x86_64" { "amd64" } else { arch });
    let call = Call::new("DescribeImages").with("Owner.1", *owner);
    Some(call.filter("name", &[&name]).filter("state", &["available"]).filter("architecture", &[arch]))
}

/// Who logs in to an image.
pub(crate) fn login(aws: &Aws) -> String {
    let of_image = IMAGES.iter().find(|(name, ..)| *name == aws.image).map(|(.., login)| (*login).to_owned());
    aws.user.clone().or(of_image).unwrap_or_else(|| "root".into())
}

/// The subnets that instances go to: the first of each zone, zones in order; or only the first that is named.
pub(crate) fn places(aws: &Aws, subnets: &[Subnet]) -> Vec<Subnet> {
    if !aws.spread {
        let named = aws.subnets.first().and_then(|id| subnets.iter().find(|s| s.subnet_id == *id));
        return named.or_else(|| subnets.iter().min()).cloned().into_iter().collect();
    }
    let mut zones = BTreeSet::new();
    let mut sorted: Vec<Subnet> = subnets.to_vec();
    sorted.sort();
    sorted.into_iter().filter(|subnet| zones.insert(subnet.availability_zone.clone())).collect()
}

/// The place of a host, by its name alone, so that it is the same whatever else is there: managers go round the zones from the first one on, workers
/// from the last one back.
pub(crate) fn place<'a>(host: &str, manager: bool, places: &'a [Subnet]) -> Option<&'a Subnet> {
    let number = host.trim_start_matches(|c: char| !c.is_ascii_digit()).parse::<usize>().unwrap_or(1).saturating_sub(1);
    let at = number.checked_rem(places.len())?;
    if manager { places.get(at) } else { places.iter().rev().nth(at) }
}

/// What EC2 knows a creation by: the same until the cluster's machines are destroyed, whatever is cut off in between. `generation` counts how many
/// instances that it once stood for are terminated.
pub(crate) fn token(group: &str, key: &str, host: &str, generation: u32) -> String {
    let digest = Sha256::digest(format!("{group} {key} {host} {generation}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One thing that a group lets in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rule {
    /// `tcp`, `udp` or a protocol's number.
    protocol: String,
    /// The port; none where the protocol has none.
    port: Option<u16>,
    /// A network, or the group's own members.
    from: From,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum From {
    Members,
    Network(String),
}

impl Rule {
    /// As a parameter of a call, the `at`th of it.
    fn add(&self, call: Call, at: usize, group: &str) -> Call {
        let of = format!("IpPermissions.{at}");
        let port = self.port.map_or(-1, i32::from);
        let call = call.with(format!("{of}.IpProtocol"), &*self.protocol);
        let call = call.with(format!("{of}.FromPort"), port.to_string()).with(format!("{of}.ToPort"), port.to_string());
        let (kind, name, value) = match &self.from {
            From::Members => ("Groups", "GroupId", group),
            From::Network(net) if net.contains(':') => ("Ipv6Ranges", "CidrIpv6", net.as_str()),
            From::Network(net) => ("IpRanges", "CidrIp", net.as_str()),
        };
        call.with(format!("{of}.{kind}.1.{name}"), value).with(format!("{of}.{kind}.1.Description"), OURS)
    }
}

/// What the cluster's own group lets in, and nothing else. The ports are those of docs.docker.com/engine/swarm/swarm-tutorial, "Open protocols and ports".
pub(crate) fn rules(aws: &Aws, data_path_port: u16, esp: bool) -> BTreeSet<Rule> {
    let rule = |protocol: &str, port: Option<u16>, from: From| Rule { protocol: protocol.into(), port, from };
    let mut rules = BTreeSet::new();
    for (protocol, port) in [("tcp", 2377), ("tcp", 7946), ("udp", 7946), ("udp", data_path_port)] {
        rules.insert(rule(protocol, Some(port), From::Members));
    }
    if esp {
        rules.insert(rule("50", None, From::Members));
    }
    for net in &aws.ssh_from {
        rules.insert(rule("tcp", Some(22), From::Network(net.to_string())));
    }
    for (port, udp) in &aws.open {
        for all in ["0.0.0.0/0", "::/0"] {
            rules.insert(rule(if *udp { "udp" } else { "tcp" }, Some(*port), From::Network(all.into())));
        }
    }
    rules
}

/// The rules that a group has: (ours, all of a form that is known here).
fn has(group: &Group) -> (BTreeSet<Rule>, BTreeSet<Rule>) {
    let (mut ours, mut all) = (BTreeSet::new(), BTreeSet::new());
    let port = |permission: &Permission| match (permission.from_port, permission.to_port) {
        (Some(from), Some(to)) if from == to && from >= 0 => u16::try_from(from).ok().map(Some),
        (None | Some(-1 | 0), None | Some(-1 | 65_535)) => Some(None),
        _ => None,
    };
    for permission in &group.ip_permissions.item {
        let Some(port) = port(permission) else { continue };
        let members = permission.groups.item.iter().filter(|p| p.group_id == group.group_id).map(|p| (From::Members, &p.description));
        let ranges = permission.ip_ranges.item.iter().chain(&permission.ipv6_ranges.item);
        for (from, description) in members.chain(ranges.map(|r| (From::Network(r.cidr_ip.clone()), &r.description))) {
            let rule = Rule { protocol: permission.ip_protocol.clone(), port, from };
            if description == OURS {
                ours.insert(rule.clone());
            }
            all.insert(rule);
        }
    }
    (ours, all)
}

/// The calls that make a group let in what is wanted. Rules that others made stay.
pub(crate) fn rule_calls(wanted: &BTreeSet<Rule>, group: &Group) -> Vec<Call> {
    let (ours, all) = has(group);
    // One rule a call: a rule that is there already fails a whole call, and the others of it would be missing.
    let call = |action, rule: &Rule| rule.add(Call::new(action).with("GroupId", &*group.group_id), 1, &group.group_id);
    let added = wanted.difference(&all).map(|rule| call("AuthorizeSecurityGroupIngress", rule));
    let removed = ours.difference(wanted).map(|rule| call("RevokeSecurityGroupIngress", rule));
    added.chain(removed).collect()
}

/// The SSH host key that cloud-init printed to the console between its two marks: Ed25519, or else ECDSA. Other kinds do not fit into a tag.
/// Only what comes after the last mark counts: an instance that was started again printed it again.
pub(crate) fn console_key(output: &str) -> Option<String> {
    let (_, after) = output.rsplit_once("-----BEGIN SSH HOST KEY KEYS-----")?;
    let (keys, _) = after.split_once("-----END SSH HOST KEY KEYS-----")?;
    let words = |line: &str| {
        // The console may put its own time before a line.
        let mut words = line.split_whitespace().skip_while(|word| !word.starts_with("ssh-") && !word.starts_with("ecdsa-"));
        let (kind, key) = (words.next()?.to_owned(), words.next()?.to_owned());
        let fits = key.starts_with("AAAA") && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
        (fits && kind.len() + key.len() < 256).then_some((kind, key))
    };
    let keys: Vec<(String, String)> = keys.lines().filter_map(words).collect();
    let of = |wanted: &str| keys.iter().find(|(kind, _)| kind == wanted).map(|(kind, key)| format!("{kind} {key}"));
    of("ssh-ed25519").or_else(|| of("ecdsa-sha2-nistp256"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::{Items, Pair, Range};

    fn subnet(zone: &str, id: &str) -> Subnet {
        Subnet { availability_zone: zone.into(), subnet_id: id.into(), vpc_id: "vpc".into() }
    }

    pub(crate) fn aws() -> Aws {
        Aws {
            region: "us-west-1".into(),
            instance_type: "t3.small".into(),
            image: "debian-13".into(),
            user: None,
            managers: 3,
            workers: 3,
            key: "/k".into(),
            vpc: None,
            subnets: vec!["s4".into()],
            security_group: None,
            ssh_from: vec!["203.0.113.7/32".parse().unwrap()],
            open: vec![(80, false)],
            private: false,
            spread: true,
            disk: Some(20),
            console_keys: true,
        }
    }

    #[test]
    fn hosts_go_round_the_zones_and_stay_there() {
        let subnets = [subnet("b", "s1"), subnet("a", "s3"), subnet("a", "s2"), subnet("c", "s4")];
        let all = places(&aws(), &subnets);
        let of = |host: &str, manager| place(host, manager, &all).unwrap().availability_zone.clone();
        assert_eq!(["m1", "m2", "m3", "m4"].map(|host| of(host, true)), ["a", "b", "c", "a"]);
        assert_eq!(["w1", "w2", "w3", "w4"].map(|host| of(host, false)), ["c", "b", "a", "c"]);
        assert_eq!(all[0].subnet_id, "s2");
        let one = places(&Aws { spread: false, ..aws() }, &subnets);
        assert_eq!(one, [subnet("c", "s4")]);
        assert!(place("m1", true, &[]).is_none());
    }

    #[test]
    fn tokens_differ_by_everything_that_they_are_made_of() {
        let tokens = [
            token("sg-1", "key-1", "m1", 0),
            token("sg-2", "key-1", "m1", 0),
            token("sg-1", "key-2", "m1", 0),
            token("sg-1", "key-1", "m2", 0),
            token("sg-1", "key-1", "m1", 1),
        ];
        assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), 5);
        // RunInstances takes at most 64 characters.
        assert!(tokens.iter().all(|t| t.len() == 64) && tokens[0] == token("sg-1", "key-1", "m1", 0));
    }

    #[test]
    fn a_group_gets_what_is_missing_and_loses_what_was_ours() {
        let wanted = rules(&aws(), 4789, true);
        assert_eq!(wanted.len(), 8);
        let range = |cidr: &str, description: &str| Range { cidr_ip: cidr.into(), description: description.into() };
        let permission = |protocol: &str, port, ranges: Vec<Range>, groups: Vec<Pair>| Permission {
            ip_protocol: protocol.into(),
            from_port: port,
            to_port: port,
            groups: Items { item: groups },
            ip_ranges: Items { item: ranges },
            ..Permission::default()
        };
        let members = vec![Pair { group_id: "sg-1".into(), description: OURS.into() }];
        let mut group = Group { group_id: "sg-1".into(), ip_permissions: Items::default(), tag_set: Items::default() };
        assert_eq!(rule_calls(&wanted, &group).len(), 8);
        group.ip_permissions.item = vec![
            // An old address of the operator, one that someone else added, and one that someone else made as we would.
            permission(
                "tcp",
                Some(22),
                vec![range("198.51.100.1/32", OURS), range("192.0.2.1/32", "office"), range("203.0.113.7/32", "me")],
                vec![],
            ),
            permission("tcp", Some(2377), vec![], members.clone()),
            permission("50", None, vec![], members),
            permission("tcp", Some(5432), vec![range("10.0.0.0/8", "")], vec![]),
        ];
        let calls: Vec<String> = rule_calls(&wanted, &group).iter().map(|call| format!("{call:?}")).collect();
        assert_eq!(calls.iter().filter(|c| c.contains("Authorize")).count(), 5, "{calls:#?}");
        let revoked: Vec<&String> = calls.iter().filter(|c| c.contains("Revoke")).collect();
        assert!(revoked.len() == 1 && revoked[0].contains("198.51.100.1/32"), "{revoked:?}");
    }

    #[test]
    fn the_console_says_the_host_key() {
        let printed = "boot\n[   9.1] cloud-init: -----BEGIN SSH HOST KEY KEYS-----\necdsa-sha2-nistp256 AAAAE2= root@a\n\
                       [   9.2] cloud-init: ssh-ed25519 AAAAC3+/= root@a\nssh-rsa AAAAB3 x\n-----END SSH HOST KEY KEYS-----\nlogin:";
        assert_eq!(console_key(printed).as_deref(), Some("ssh-ed25519 AAAAC3+/="));
        assert_eq!(console_key(&printed.replace("ssh-ed25519 AAAAC3+/=", "")).as_deref(), Some("ecdsa-sha2-nistp256 AAAAE2="));
        for none in ["", "ssh-ed25519 AAAA", "-----BEGIN SSH HOST KEY KEYS-----\nssh-ed25519 AAAA", &printed.replace("AAAA", "$(x)")] {
            assert_eq!(console_key(none), None, "{none}");
        }
    }

    #[test]
    fn images_are_asked_for_by_the_architecture() {
        assert!(format!("{:?}", image_call("debian-13", "x86_64").unwrap()).contains("debian-13-amd64-*"));
        assert!(format!("{:?}", image_call("ubuntu-24.04", "arm64").unwrap()).contains("24.04-arm64-server"));
        assert!(format!("{:?}", image_call("ami-1", "arm64").unwrap()).contains("ImageId.1"));
        assert!(image_call("windows", "x86_64").is_none());
        assert_eq!((login(&aws()), images().len()), ("admin".into(), 4));
    }
}
