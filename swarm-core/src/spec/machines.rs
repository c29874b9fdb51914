//! Who makes machines that are hosts beside those of the file.

use super::fields::{Fields, Reader};
use super::keys::{CONNECTS, HOST_KEYS_FROM, SPREADS};
use ipnet::IpNet;
use serde::Serialize;
use std::path::PathBuf;

/// Who makes machines. What is made are hosts beside those that the file names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Machines {
    /// A program that lists, creates and destroys them (docs/machines.md).
    Exec {
        /// The program and its first arguments. What is wanted comes last: `list`, `create` or `destroy`.
        command: Vec<String>,
    },
    /// Instances of Amazon EC2.
    Aws(Box<Aws>),
    /// Hosts in network namespaces of this machine.
    Lab(LabHosts),
}

/// The names of hosts of which only the number is said, each with whether it is a manager: `m1`, `m2`, …, `w1`, `w2`, …
fn numbered(managers: u16, workers: u16) -> Vec<(String, bool)> {
    let managers = (1..=managers).map(|n| (format!("m{n}"), true));
    managers.chain((1..=workers).map(|n| (format!("w{n}"), false))).collect()
}

/// Hosts of a lab that are wanted (docs/machines.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LabHosts {
    /// How many managers: `m1`, `m2`, …
    pub managers: u16,
    /// How many workers: `w1`, `w2`, …
    pub workers: u16,
    /// Root filesystems without an engine, one host after the other: `bookworm`, `trixie`, `bookworm:systemd`, …; none for hosts that have this
    /// machine's own files and its engine.
    pub images: Vec<String>,
}

impl LabHosts {
    /// The hosts that are wanted: a name, and whether it is a manager.
    pub fn hosts(&self) -> Vec<(String, bool)> {
        numbered(self.managers, self.workers)
    }
}

/// Instances of Amazon EC2 that are wanted (docs/machines.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Aws {
    /// The region, such as `us-west-1`.
    pub region: String,
    /// The instance type, such as `t3.small`.
    pub instance_type: String,
    /// An image: `debian-13`, `debian-12`, `ubuntu-24.04`, `ubuntu-22.04` (the newest of its publisher), or an id (`ami-…`).
    pub image: String,
    /// The login of that image; `None` is what its publisher made.
    pub user: Option<String>,
    /// How many managers: `m1`, `m2`, …
    pub managers: u16,
    /// How many workers: `w1`, `w2`, …
    pub workers: u16,
    /// The private key that logs in; its public half is beside it with `.pub`.
    pub key: PathBuf,
    /// The VPC's id; `None` is the region's default one.
    pub vpc: Option<String>,
    /// Ids of subnets of that VPC; none means all of them.
    pub subnets: Vec<String>,
    /// The id of a security group that is there already and is used as it is; `None` makes one.
    pub security_group: Option<String>,
    /// From where SSH is let in by the group that is made.
    pub ssh_from: Vec<IpNet>,
    /// Ports that the group lets in from everywhere: `(port, whether it is UDP)`.
    pub open: Vec<(u16, bool)>,
    /// Whether SSH goes to an instance's private address.
    pub private: bool,
    /// Whether instances go round the zones; otherwise all are in the first subnet.
    pub spread: bool,
    /// GiB of the root volume; `None` is what the image has.
    pub disk: Option<u16>,
    /// Whether an instance's host keys are taken from its console; otherwise they are checked as those of any host are.
    pub console_keys: bool,
}

impl Aws {
    /// The hosts that are wanted: a name, and whether it is a manager.
    pub fn hosts(&self) -> Vec<(String, bool)> {
        numbered(self.managers, self.workers)
    }
}

/// `80`, `80/tcp` or `53/udp`.
fn port(text: &str) -> Option<(u16, bool)> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let number = number.parse().ok().filter(|n| *n > 0)?;
    match protocol {
        "tcp" => Some((number, false)),
        "udp" => Some((number, true)),
        _ => None,
    }
}

impl Reader {
    pub(super) fn machines(&mut self, cluster: &Fields<'_>) -> Option<Machines> {
        let node = cluster.node("machines")?;
        let machines = self.fields("machines", "machines", node)?;
        let makers = ["exec", "aws", "lab"].map(|maker| machines.node(maker).map(|node| (maker, node)));
        let mut makers = makers.into_iter().flatten();
        let first = makers.next();
        for (other, node) in makers {
            let is = first.map_or("", |(is, _)| is);
            self.error(format!("machines.{other}"), node.at, format!("machines are made by `{is}` already"), "keep one of them");
        }
        match first {
            Some(("exec", exec)) => {
                let exec = self.fields("machines.exec", "exec", exec)?;
                let command: Vec<String> = self.texts(&exec, "command").into_iter().map(|(word, _)| word).collect();
                if command.is_empty() {
                    let at = exec.node("command").and_then(|n| n.at);
                    self.error("machines.exec.command", at, "no program is named", "write for example [./machines, --group, prod]");
                    return None;
                }
                Some(Machines::Exec { command })
            }
            Some(("aws", aws)) => {
                self.fields("machines.aws", "aws", aws).and_then(|fields| self.aws(&fields)).map(Box::new).map(Machines::Aws)
            }
            Some((_, lab)) => {
                let fields = self.fields("machines.lab", "lab", lab)?;
                let [managers, workers] = [("managers", 1), ("workers", 0)].map(|(key, usual)| self.count(&fields, key).unwrap_or(usual));
                let images = self.texts(&fields, "images").into_iter().map(|(text, _)| text).collect();
                Some(Machines::Lab(LabHosts { managers, workers, images }))
            }
            None => {
                self.error("machines", node.at, "it does not say who makes machines", "write `exec`, `aws` or `lab`, or remove the key");
                None
            }
        }
    }

    /// A small number; the range of the table of keys keeps it.
    fn count(&mut self, fields: &Fields<'_>, key: &str) -> Option<u16> {
        self.int(fields, key).and_then(|n| u16::try_from(n).ok())
    }

    fn aws(&mut self, fields: &Fields<'_>) -> Option<Aws> {
        let region = self.text(fields, "region");
        let instance_type = self.text(fields, "type");
        let image = self.text(fields, "image");
        let user = self.text(fields, "user");
        let managers = self.count(fields, "managers").unwrap_or(1);
        let workers = self.count(fields, "workers").unwrap_or(0);
        let key = self.text(fields, "key").map(PathBuf::from);
        let vpc = self.text(fields, "vpc").filter(|vpc| vpc != "default");
        let subnets: Vec<String> = self.texts(fields, "subnets").into_iter().map(|(text, _)| text).collect();
        let security_group = self.text(fields, "security_group");
        let mut ssh_from = Vec::new();
        for (text, at) in self.texts(fields, "ssh_from") {
            match text.parse::<IpNet>() {
                Ok(net) if net.addr() == net.network() => ssh_from.push(net),
                Ok(net) => {
                    let fix = format!("write {}", net.trunc());
                    self.error("machines.aws.ssh_from", at, format!("`{text}` has bits behind its prefix"), fix);
                }
                Err(_) => self.error("machines.aws.ssh_from", at, format!("`{text}` is no network"), "write for example 203.0.113.7/32"),
            }
        }
        let mut open = Vec::new();
        for (text, at) in self.texts(fields, "open") {
            match port(&text) {
                Some(port) => open.push(port),
                None => self.error("machines.aws.open", at, format!("`{text}` is no port"), "write for example 80, 443/tcp or 53/udp"),
            }
        }
        let private = self.word(fields, "connect", CONNECTS) == Some("private");
        let spread = self.word(fields, "spread", SPREADS) != Some("none");
        let disk = self.count(fields, "disk");
        let console_keys = self.word(fields, "host_keys", HOST_KEYS_FROM) != Some("ssh");
        self.groups(fields, security_group.is_some(), ssh_from.is_empty());
        if let Some(image) = image.as_deref().filter(|image| image.starts_with("ami-") && user.is_none()) {
            let at = fields.node("image").and_then(|n| n.at);
            self.error(
                "machines.aws.user",
                at,
                format!("who logs in to {image} is not known"),
                "write `user`, for example admin, ubuntu or ec2-user",
            );
        }
        let (region, instance_type, image, key) = (region?, instance_type?, image?, key?);
        Some(Aws {
            region,
            instance_type,
            image,
            user,
            managers,
            workers,
            key,
            vpc,
            subnets,
            security_group,
            ssh_from,
            open,
            private,
            spread,
            disk,
            console_keys,
        })
    }

    /// A group that is there is used as it is; one that is made lets SSH in from somewhere.
    fn groups(&mut self, fields: &Fields<'_>, given: bool, closed: bool) {
        let of = |key: &str| fields.node(key).and_then(|node| node.at);
        if given {
            for key in ["ssh_from", "open"].into_iter().filter(|key| fields.node(key).is_some()) {
                let why = "with `security_group` that group is used as it is";
                self.error(fields.path_of(key), of(key), why, "open the port in that group, or remove one of the two keys");
            }
        } else if closed && fields.node("ssh_from").is_none() {
            let fix = "write your own address, for example [203.0.113.7/32]";
            self.error("machines.aws.ssh_from", fields.at, "it is not said from where SSH is let in", fix);
        }
    }
}
