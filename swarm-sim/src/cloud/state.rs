//! What there is in an account, and how it ages.

use super::{Form, xml};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Tags as the tool under test has them.
pub(super) const CLUSTER: &str = "swarm.cluster";
pub(super) const HOST: &str = "swarm.host";

/// The most that things take; each is drawn below it.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    /// Until a list has what was made, and until it lacks what is gone.
    pub lists: Duration,
    /// Until an instance runs.
    pub boots: Duration,
    /// From then on until its console has the host keys.
    pub prints: Duration,
    /// From its termination until an instance is out of its group.
    pub lingers: Duration,
    /// How many instances a list has a page.
    pub page: usize,
}

/// An instance, as a test wants to see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its id.
    pub id: String,
    /// Its state, such as `running`.
    pub state: &'static str,
    /// The host key that it really has.
    pub host_key: String,
    /// Its subnet.
    pub subnet: String,
    /// `manager` or `worker`.
    pub role: String,
}

/// A tag, and from when on lists have it.
#[derive(Debug, Clone)]
pub(super) struct Tag {
    pub key: String,
    pub value: String,
    pub from: Duration,
}

#[derive(Debug, Clone)]
pub(super) struct KeyPair {
    pub id: String,
    pub name: String,
    pub public: String,
    pub tags: Vec<Tag>,
    pub shown: Duration,
    pub known: Duration,
    pub gone: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rule {
    pub protocol: String,
    pub port: String,
    /// The element that lists such sources, and the element that names one.
    pub kind: (&'static str, &'static str),
    pub source: String,
    pub description: String,
}

impl Rule {
    /// What makes two rules the same to EC2: a description does not.
    pub(super) fn same(&self, other: &Self) -> bool {
        (&self.protocol, &self.port, self.kind, &self.source) == (&other.protocol, &other.port, other.kind, &other.source)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Group {
    pub id: String,
    pub name: String,
    pub vpc: String,
    pub tags: Vec<Tag>,
    pub rules: BTreeSet<Rule>,
    pub shown: Duration,
    pub known: Duration,
    pub gone: Option<Duration>,
}

#[derive(Debug, Clone)]
pub(super) struct Instance {
    pub id: String,
    pub token: String,
    pub form: Form,
    pub tags: Vec<Tag>,
    pub group: String,
    pub subnet: String,
    pub number: u32,
    pub shown: Duration,
    /// When it was started last, and how long it takes to run.
    pub started: Duration,
    pub boots: Duration,
    pub prints: Duration,
    pub lingers: Duration,
    /// It ends instead of running.
    pub fails: bool,
    pub stopped: Option<Duration>,
    pub died: Option<Duration>,
}

/// How long stopping takes.
const STOPS: Duration = Duration::from_secs(20);

impl Instance {
    pub(super) fn tag(&self, key: &str) -> &str {
        self.tags.iter().rev().find(|tag| tag.key == key).map_or("", |tag| tag.value.as_str())
    }

    pub(super) fn state(&self, now: Duration) -> &'static str {
        match (self.died, self.stopped) {
            (Some(died), _) if now < died + self.lingers => "shutting-down",
            (Some(_), _) => "terminated",
            (None, Some(stopped)) if now < stopped + STOPS => "stopping",
            (None, Some(_)) => "stopped",
            (None, None) if now < self.started + self.boots => "pending",
            (None, None) => "running",
        }
    }

    pub(super) fn host_key(&self) -> String {
        format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{:0>43}", self.number)
    }

    /// What its console has by now: nothing, a part, or everything with the keys between their marks.
    pub(super) fn console(&self, now: Duration) -> String {
        let printed = self.started + self.boots + self.prints;
        if self.state(now) != "running" || now < printed {
            return String::new();
        }
        let begin = "[   9.1] cloud-init: finished\n-----BEGIN SSH HOST KEY KEYS-----\n";
        if now < printed + Duration::from_secs(5) {
            return format!("{begin}ssh-ed25519 AAAAC3Nz");
        }
        format!("{begin}{} root@host\n-----END SSH HOST KEY KEYS-----\nlogin:", self.host_key())
    }

    pub(super) fn xml(&self, now: Duration) -> String {
        let state = self.state(now);
        let addresses = match state {
            "running" => {
                let (high, low) = (self.number / 250, self.number % 250 + 4);
                let public = if self.form.get("NetworkInterface.1.AssociatePublicIpAddress").is_some_and(|v| v == "true") {
                    xml("ipAddress", format!("198.51.{high}.{low}"))
                } else {
                    String::new()
                };
                format!("{}{public}", xml("privateIpAddress", format!("172.31.{high}.{low}")))
            }
            _ => String::new(),
        };
        let reason = if self.fails && self.died.is_some() { "Server.InternalError: Internal error on launch" } else { "" };
        let tags: String = tags(&self.tags, now);
        let zone = xml("placement", xml("availabilityZone", format!("z{}", self.subnet)));
        let inner = format!(
            "{}{}{addresses}{zone}{}{tags}",
            xml("instanceId", &self.id),
            xml("instanceState", xml("name", state)),
            xml("stateReason", xml("message", reason))
        );
        xml("item", xml("instancesSet", xml("item", inner)))
    }
}

/// Tags as lists have them at a time.
pub(super) fn tags(all: &[Tag], now: Duration) -> String {
    let mut shown: BTreeMap<&str, &str> = BTreeMap::new();
    shown.extend(all.iter().filter(|tag| tag.from <= now).map(|tag| (tag.key.as_str(), tag.value.as_str())));
    let items = shown.iter().map(|(key, value)| xml("item", xml("key", key) + &xml("value", value)));
    xml("tagSet", items.collect::<String>())
}

/// Everything in an account.
pub(super) struct State {
    pub rng: Rng,
    pub latency: Latency,
    pub now: Duration,
    pub one_in: u32,
    pub full: u32,
    pub cut: Option<(usize, bool)>,
    pub dead: bool,
    pub calls: Vec<String>,
    pub happened: BTreeMap<&'static str, u64>,
    pub violations: Vec<String>,
    pub number: u32,
    pub keys: Vec<KeyPair>,
    pub groups: Vec<Group>,
    pub instances: Vec<Instance>,
}

/// Whose everything is that was there before.
const OTHERS: &str = "others";

impl State {
    pub(super) fn new(rng: Rng, latency: Latency) -> Self {
        let mut state = Self {
            rng,
            latency,
            now: Duration::ZERO,
            one_in: 0,
            full: 0,
            cut: None,
            dead: false,
            calls: Vec::new(),
            happened: BTreeMap::new(),
            violations: Vec::new(),
            number: 0,
            keys: Vec::new(),
            groups: Vec::new(),
            instances: Vec::new(),
        };
        let tags = vec![Tag { key: CLUSTER.into(), value: OTHERS.into(), from: Duration::ZERO }];
        let group = state.id("sg");
        let rule = |port: &str, kind, source: &str, description: &str| Rule {
            protocol: "tcp".into(),
            port: port.into(),
            kind,
            source: source.into(),
            description: description.into(),
        };
        state.groups.push(Group {
            id: group.clone(),
            name: format!("swarm-{OTHERS}"),
            vpc: "vpc-1".into(),
            tags: tags.clone(),
            rules: [rule("443", ("ipRanges", "cidrIp"), "0.0.0.0/0", "swarm")].into(),
            shown: Duration::ZERO,
            known: Duration::ZERO,
            gone: None,
        });
        let key = state.id("key");
        state.keys.push(KeyPair {
            id: key,
            name: format!("swarm-{OTHERS}"),
            public: "ssh-ed25519 AAAA others".into(),
            tags: tags.clone(),
            shown: Duration::ZERO,
            known: Duration::ZERO,
            gone: None,
        });
        let id = state.id("i");
        let host = Tag { key: HOST.into(), value: "m1".into(), from: Duration::ZERO };
        state.instances.push(Instance {
            id,
            token: "of others".into(),
            form: Form::new(),
            tags: [tags, vec![host]].concat(),
            group,
            subnet: "subnet-1".into(),
            number: state.number,
            shown: Duration::ZERO,
            started: Duration::ZERO,
            boots: Duration::ZERO,
            prints: Duration::ZERO,
            lingers: Duration::ZERO,
            fails: false,
            stopped: None,
            died: None,
        });
        state
    }

    /// A new id of a kind.
    pub(super) fn id(&mut self, kind: &str) -> String {
        self.number += 1;
        format!("{kind}-{:08x}", self.number)
    }

    /// A time below the most.
    pub(super) fn below(&mut self, most: Duration) -> Duration {
        let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.rng.u64(0..=millis))
    }

    /// When lists have what is made now.
    pub(super) fn soon(&mut self) -> Duration {
        let late = self.below(self.latency.lists);
        self.now + late
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    pub(super) fn never(&mut self, what: String) {
        self.violations.push(what);
    }

    /// What ends by itself, ends.
    pub(super) fn age(&mut self) {
        let now = self.now;
        let mut ended = 0;
        for instance in self.instances.iter_mut().filter(|i| i.fails && i.died.is_none() && now >= i.started + i.boots) {
            instance.died = Some(instance.started + instance.boots);
            ended += 1;
        }
        if ended > 0 {
            *self.happened.entry("an instance ends by itself").or_default() += ended;
        }
    }

    fn of<'a>(&'a self, cluster: &'a str) -> impl Iterator<Item = &'a Instance> {
        self.instances.iter().filter(move |i| i.tag(CLUSTER) == cluster && i.died.is_none())
    }

    pub(super) fn living(&self, cluster: &str) -> BTreeMap<String, Shown> {
        let shown = |i: &Instance| Shown {
            id: i.id.clone(),
            state: i.state(self.now),
            host_key: i.host_key(),
            subnet: i.subnet.clone(),
            role: i.tag("swarm.role").to_owned(),
        };
        self.of(cluster).map(|i| (i.tag(HOST).to_owned(), shown(i))).collect()
    }

    pub(super) fn left(&self, cluster: &str) -> Vec<String> {
        let name = format!("swarm-{cluster}");
        let groups = self.groups.iter().filter(|g| g.name == name && g.gone.is_none()).map(|g| g.id.clone());
        let keys = self.keys.iter().filter(|k| k.name == name && k.gone.is_none()).map(|k| k.id.clone());
        groups.chain(keys).chain(self.of(cluster).map(|i| format!("{} {}", i.tag(HOST), i.id))).collect()
    }

    pub(super) fn lets_in(&self, group: &str) -> BTreeSet<String> {
        let found = self.groups.iter().filter(|g| (g.name == group || g.id == group) && g.gone.is_none());
        let said = |g: &Group, r: &Rule| {
            let source = if r.source == g.id { "members" } else { r.source.as_str() };
            format!("{} {} {source}", r.protocol, r.port)
        };
        found.flat_map(|g| g.rules.iter().map(|r| said(g, r)).collect::<Vec<_>>()).collect()
    }

    pub(super) fn of_others(&self) -> String {
        self.groups.first().map(|g| g.id.clone()).unwrap_or_default()
    }

    pub(super) fn by_hand(&mut self, cluster: &str, host: &str, stops: bool) -> bool {
        let now = self.now;
        let found = self.instances.iter_mut().find(|i| i.tag(CLUSTER) == cluster && i.tag(HOST) == host && i.died.is_none());
        let Some(instance) = found else { return false };
        if stops {
            if instance.state(now) != "running" {
                return false;
            }
            instance.stopped = Some(now);
        } else {
            instance.died = Some(now);
        }
        true
    }
}
