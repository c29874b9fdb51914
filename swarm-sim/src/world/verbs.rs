//! What can befall a world: verbs for tests, each at one moment.

use super::World;
use super::host::{Door, EngineState, Host, Local};
use super::options::HostOptions;
use super::state::State;
use super::swarm::{HostName, NodeId, Service, Swarm};
use crate::fault::FaultRule;
use crate::invariant::{Violation, Watch};
use crate::{CallFault, CallKind, Purpose};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;
use swarm_core::ClusterSpec;
use swarm_core::addr::InterfaceAddress;
use swarm_core::engine::{InitRequest, NodeChange};
use swarm_core::id::DaemonId;
use swarm_core::observe::NodeState;
use swarm_core::plan::Plan;
use swarm_core::secret::Secret;
use swarm_core::spec::{Availability, InitSettings, Role, SwarmSettings};

/// Something that befalls a host, or two, or a swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Befall {
    /// The power goes.
    PowerCut(HostName),
    /// The power comes back.
    PowerOn(HostName),
    /// The host restarts.
    Reboot(HostName),
    /// The engine is stopped.
    EngineStops(HostName),
    /// The engine is started.
    EngineStarts(HostName),
    /// The engine is there and answers nothing.
    EngineFreezes(HostName),
    /// It answers again.
    EngineThaws(HostName),
    /// Nobody answers the operator.
    OperatorCutOff(HostName),
    /// The operator's connections are refused.
    SshRefused(HostName),
    /// The operator's login is refused.
    LoginRefused(HostName),
    /// The host shows another host key.
    HostKeyChanges(HostName),
    /// The operator may not use the engine's socket.
    SocketForbidden(HostName),
    /// The operator gets in again.
    DoorOpens(HostName),
    /// Packets from the first to the second host are dropped.
    OneWayCut(HostName, HostName),
    /// Packets between two hosts are dropped.
    Cut(HostName, HostName),
    /// Nobody reaches the host, and it reaches nobody; the operator does.
    Isolated(HostName),
    /// All cuts end.
    Heal,
    /// 2377 lets nobody in.
    PortClosed(HostName),
    /// Somebody else listens on 2377.
    PortTaken(HostName),
    /// 2377 is free and open again.
    PortFree(HostName),
    /// The disk is full.
    DiskFull(HostName),
    /// There is room again.
    DiskFree(HostName),
    /// Every call takes so much longer.
    Slow(HostName, Duration),
    /// The clock is off by so many seconds.
    ClockSkew(HostName, i64),
    /// The engine is set up with `live-restore`.
    LiveRestore(HostName, bool),
    /// A host that is in no swarm makes one of its own.
    MakesOwnSwarm(HostName),
    /// A host that is in no swarm joins somebody else's.
    JoinsForeign(HostName),
    /// Somebody promotes the node of a host.
    SomebodyPromotes(HostName),
    /// Somebody demotes it.
    SomebodyDemotes(HostName),
    /// Somebody drains it.
    SomebodyDrains(HostName),
    /// Somebody labels it.
    SomebodyLabels(HostName),
    /// Somebody touches its object: its version changes and nothing else.
    SomebodyTouches(HostName),
    /// Somebody removes it, after it was demoted and by force.
    SomebodyRemoves(HostName),
    /// Somebody takes the host out of its swarm by force.
    SomebodyLeaves(HostName),
    /// Join tokens are rotated.
    TokensRotated,
    /// The root is being replaced.
    RootRotated,
    /// Managers need a key after a restart.
    AutolockOn,
    /// They do not any more.
    AutolockOff,
    /// Somebody changes an option of the swarm.
    OptionsChanged,
    /// A service appears that runs on every node.
    ServiceAppears,
    /// A host becomes a cluster of its own with `--force-new-cluster`.
    ForcedNewCluster(HostName),
    /// The leader loses its power.
    LeaderPowerCut,
}

impl World {
    /// Adds a host.
    pub fn add_host(&self, options: HostOptions) {
        self.with(|state| {
            let mut interfaces = vec![InterfaceAddress { interface: "eth0".into(), address: options.address }];
            interfaces.extend(options.more.into_iter().map(|(interface, address)| InterfaceAddress { interface, address }));
            for interface in &interfaces {
                state.by_address.insert(interface.address, options.name.clone());
            }
            let host = Host {
                name: options.name.clone(),
                hostname: options.hostname,
                address: options.address,
                interfaces,
                daemon: DaemonId::new(format!("daemon-{}", options.name)),
                engine: if options.engine.is_some() { EngineState::Running } else { EngineState::Missing },
                version: options.engine.unwrap_or_default(),
                powered: true,
                door: Door::Open,
                local: Local::Inactive,
                certificate: None,
                life: 0,
                slow: Duration::ZERO,
                disk_full: false,
                skew: 0,
                port_taken: false,
                port_closed: false,
                live_restore: options.live_restore,
            };
            state.hosts.insert(options.name, host);
        });
    }

    /// Lets something happen. Gives whether it changed anything.
    pub fn befall(&self, what: &Befall) -> bool {
        self.with(|state| {
            let changed = state.befall(what);
            if changed {
                state.trace.add(state.now, "world", format!("{what:?}"));
                state.watches.disturbed = state.now;
                state.disturb();
            }
            changed
        })
    }

    /// Drops everything between two hosts.
    pub fn cut(&self, a: &str, b: &str) {
        self.befall(&Befall::Cut(a.into(), b.into()));
    }

    /// Undoes every cut.
    pub fn heal(&self) {
        self.befall(&Befall::Heal);
    }

    /// Cuts a host's power.
    pub fn kill(&self, host: &str) {
        self.befall(&Befall::PowerCut(host.into()));
    }

    /// Starts it again.
    pub fn start(&self, host: &str) {
        self.befall(&Befall::PowerOn(host.into()));
    }

    /// Restarts it.
    pub fn reboot(&self, host: &str) {
        self.befall(&Befall::Reboot(host.into()));
    }

    /// Makes calls to a host take longer.
    pub fn slow(&self, host: &str, by: Duration) {
        self.befall(&Befall::Slow(host.into(), by));
    }

    /// Fills a host's disk.
    pub fn fill_disk(&self, host: &str) {
        self.befall(&Befall::DiskFull(host.into()));
    }

    /// Sets a host's clock off.
    pub fn clock_skew(&self, host: &str, seconds: i64) {
        self.befall(&Befall::ClockSkew(host.into(), seconds));
    }

    /// Makes one host the only manager of a swarm of its own.
    pub fn foreign_swarm(&self, host: &str) {
        self.befall(&Befall::MakesOwnSwarm(host.into()));
    }

    /// The token that joins with a role, and one that is no longer good.
    pub fn token(&self, host: &str, role: Role) -> Option<Secret> {
        self.with(|state| {
            let swarm = state.host(&host.into())?.node().map(|(index, _)| index)?;
            Some(Secret::new(state.swarms.get(swarm)?.token(role)))
        })
    }

    /// The unlock key of a host's swarm, as whoever noted it down when it was made has it.
    pub fn unlock_key(&self, host: &str) -> Option<Secret> {
        self.with(|state| {
            let swarm = match &state.host(&host.into())?.local {
                Local::Active { swarm, .. } | Local::Locked { swarm, .. } => *swarm,
                _ => return None,
            };
            state.swarms.get(swarm)?.unlock_key.clone().map(Secret::new)
        })
    }

    /// Starts a service: on every node, or so many tasks; on nodes with a label, if one is given.
    pub fn service(&self, manager: &str, name: &str, replicas: Option<usize>, constraint: Option<(&str, &str)>) -> bool {
        self.with(|state| {
            let constraint = constraint.map(|(k, v)| (k.to_owned(), v.to_owned()));
            state.add_service(&manager.into(), Service { name: name.into(), replicas, constraint })
        })
    }

    /// The hosts on which a service's tasks are.
    pub fn tasks(&self, service: &str) -> Vec<HostName> {
        self.with(|state| {
            let tasks = state.swarms.iter().enumerate().flat_map(|(i, s)| s.tasks.iter().map(move |t| (i, t)));
            let mut hosts: Vec<HostName> =
                tasks.filter(|(_, t)| t.service == service).filter_map(|(i, t)| state.host_of(i, &t.node)).collect();
            hosts.sort();
            hosts
        })
    }

    /// Lets a fault strike a call.
    pub fn fault(&self, host: Option<&str>, call: CallKind, skip: u32, fault: CallFault) {
        let rule = FaultRule { host: host.map(HostName::new), call: Some(call), skip, times: 1, fault };
        self.with(|state| state.faults.rules.push(rule));
    }

    /// Adds a rule.
    pub fn fault_rule(&self, rule: FaultRule) {
        self.with(|state| state.faults.rules.push(rule));
    }

    /// No call goes wrong any more.
    pub fn no_more_faults(&self) {
        self.with(|state| state.faults.rules.clear());
    }

    /// Which faults struck which calls, and how often.
    pub fn hits(&self) -> BTreeMap<(CallKind, CallFault), u64> {
        self.with(|state| state.faults.hits.clone())
    }

    /// Everything works again: power, engines, doors, links, ports, disks, clocks, calls. What was changed in swarms stays changed.
    pub fn mend(&self) {
        self.no_more_faults();
        self.heal();
        for host in self.hosts() {
            let gone = self.with(|state| state.host(&host).is_some_and(|h| !h.powered));
            if gone {
                self.befall(&Befall::PowerOn(host.clone()));
            }
            self.befall(&Befall::EngineThaws(host.clone()));
            self.befall(&Befall::EngineStarts(host.clone()));
            self.befall(&Befall::DoorOpens(host.clone()));
            self.befall(&Befall::PortFree(host.clone()));
            self.befall(&Befall::DiskFree(host.clone()));
            self.befall(&Befall::Slow(host.clone(), Duration::ZERO));
            self.befall(&Befall::ClockSkew(host.clone(), 0));
            self.befall(&Befall::LiveRestore(host, false));
        }
    }

    /// Watches what an operator does from now on, and judges it by the rules.
    pub fn watch(&self, operator: &str, spec: &ClusterSpec, purpose: Purpose, forced: &[&str]) {
        let forced: BTreeSet<HostName> = forced.iter().map(|h| HostName::new(*h)).collect();
        self.with(|state| {
            state.watches.by_operator.insert(operator.to_owned(), Watch::new(spec.clone(), purpose, forced));
        });
    }

    /// The same run of the operator goes on to something else.
    pub fn watch_on(&self, operator: &str, purpose: Purpose) {
        self.with(|state| {
            if let Some(watch) = state.watches.by_operator.get_mut(operator) {
                watch.purpose = purpose;
            }
        });
    }

    /// The operator was shown this plan, and wants it.
    pub fn shown(&self, operator: &str, plan: &Plan) {
        self.with(|state| state.note_shown(operator, plan));
    }

    /// How many calls the operator made since it is watched, and how many of them change something.
    pub fn watched(&self, operator: &str) -> (u64, u64) {
        self.with(|state| state.watches.by_operator.get(operator).map_or((0, 0), |w| (w.calls, w.mutations)))
    }

    /// The rules that were broken.
    pub fn violations(&self) -> Vec<Violation> {
        self.with(|state| state.watches.violations.clone())
    }

    /// Another rule was broken, as somebody outside found.
    pub fn accuse(&self, rule: &'static str, what: String) {
        self.with(|state| {
            let at = state.now;
            state.trace.add(at, "rules", format!("BREAKS {rule}: {what}"));
            state.watches.violations.push(Violation { rule, at, what });
        });
    }

    /// The truth: everything that is not as a file wants it.
    pub fn differs_from(&self, spec: &ClusterSpec) -> Vec<String> {
        self.with(|state| state.differs_from(spec))
    }

    /// When something last befell the world.
    pub fn disturbed(&self) -> Duration {
        self.with(|state| state.watches.disturbed)
    }

    /// Entries that joins of a host made and that are still in a node list, though the host is another node now.
    pub fn left_behind(&self) -> Vec<NodeId> {
        self.with(|state| {
            let current: BTreeSet<NodeId> = state.hosts.values().filter_map(|h| h.node().map(|(_, n)| n.clone())).collect();
            let listed = |id: &&NodeId| state.swarms.iter().any(|s| s.nodes.contains_key(*id));
            state.watches.made.values().flatten().filter(|id| !current.contains(*id)).filter(listed).cloned().collect()
        })
    }

    /// Every secret there is, for tests that look for them in output.
    pub fn secrets(&self) -> Vec<Secret> {
        self.with(|state| {
            let of = |s: &Swarm| {
                let mut all = vec![s.tokens.0.clone(), s.tokens.1.clone()];
                all.extend(s.unlock_key.clone());
                all
            };
            state.swarms.iter().flat_map(of).map(Secret::new).collect()
        })
    }
}

impl State {
    fn change(&mut self, host: &HostName, change: impl FnOnce(&mut Host) -> bool) -> bool {
        self.hosts.get_mut(host).is_some_and(change)
    }

    fn ends(&mut self, host: &HostName) {
        if let Some(h) = self.hosts.get_mut(host) {
            h.life += 1;
            // A join that has no certificate yet is forgotten (moby `daemon/cluster/utils.go`).
            if h.local == Local::Pending || matches!(h.local, Local::Error { .. }) {
                h.local = Local::Inactive;
                h.certificate = None;
            }
        }
    }

    /// The engine starts, and its part in a swarm with it: a manager of a locked swarm waits for the key.
    fn begins(&mut self, host: &HostName) {
        let Some(Local::Active { swarm, node, control }) = self.hosts.get(host).map(|h| h.local.clone()) else { return };
        let autolock = self.swarms.get(swarm).is_some_and(|s| s.settings.autolock == Some(true));
        self.again(swarm, &node, Some(Duration::from_millis(300)));
        if control && autolock {
            self.set_local(host, Local::Locked { swarm, node });
        }
    }

    fn door(&mut self, host: &HostName, door: Door) -> bool {
        self.change(host, |h| std::mem::replace(&mut h.door, door) != door)
    }

    /// The node of a host in its swarm, if that swarm can change anything.
    fn their_node(&self, host: &HostName) -> Option<(usize, NodeId)> {
        let (swarm, node) = self.host(host)?.node()?;
        self.leads(swarm)?;
        Some((swarm, node.clone()))
    }

    fn on_node(&mut self, host: &HostName, change: NodeChange) -> bool {
        let Some((swarm, id)) = self.their_node(host) else { return false };
        let Some(by) = self.leads(swarm).and_then(|l| self.host_of(swarm, &l)) else { return false };
        let Some(version) = self.swarms.get(swarm).and_then(|s| s.nodes.get(&id)).map(|n| n.version) else { return false };
        matches!(self.update_node(&by, &id, version, &change), super::api::Said::Now(()))
    }

    fn some_swarm(&mut self, change: impl FnOnce(&mut Self, usize) -> bool) -> bool {
        let live = (0..self.swarms.len()).rev().find(|i| self.leads(*i).is_some());
        live.is_some_and(|index| change(self, index))
    }

    fn befall(&mut self, what: &Befall) -> bool {
        match what {
            Befall::PowerCut(host) => {
                let changed = self.change(host, |h| std::mem::replace(&mut h.powered, false));
                self.ends(host);
                changed
            }
            Befall::PowerOn(host) => {
                let changed = self.change(host, |h| !std::mem::replace(&mut h.powered, true));
                if changed {
                    self.change(host, |h| {
                        h.engine = if h.engine == EngineState::Missing { EngineState::Missing } else { EngineState::Running };
                        true
                    });
                    self.begins(host);
                }
                changed
            }
            Befall::Reboot(host) => {
                let up = self.change(host, |h| h.powered && h.engine != EngineState::Missing);
                if up {
                    self.ends(host);
                    self.change(host, |h| {
                        h.engine = EngineState::Running;
                        true
                    });
                    self.begins(host);
                }
                up
            }
            Befall::EngineStops(host) => {
                let changed = self.change(host, |h| {
                    let runs = h.engine == EngineState::Running;
                    if runs {
                        h.engine = EngineState::Stopped;
                    }
                    runs
                });
                if changed {
                    self.ends(host);
                }
                changed
            }
            Befall::EngineStarts(host) => {
                let changed = self.change(host, |h| {
                    let stopped = h.engine == EngineState::Stopped;
                    if stopped {
                        h.engine = EngineState::Running;
                    }
                    stopped
                });
                if changed {
                    self.begins(host);
                }
                changed
            }
            Befall::EngineFreezes(host) => self.engine(host, EngineState::Running, EngineState::Frozen),
            Befall::EngineThaws(host) => self.engine(host, EngineState::Frozen, EngineState::Running),
            Befall::OperatorCutOff(host) => self.door(host, Door::Silent),
            Befall::SshRefused(host) => self.door(host, Door::Refused),
            Befall::LoginRefused(host) => self.door(host, Door::NoLogin),
            Befall::HostKeyChanges(host) => self.door(host, Door::KeyChanged),
            Befall::SocketForbidden(host) => self.door(host, Door::NoPermission),
            Befall::DoorOpens(host) => self.door(host, Door::Open),
            Befall::OneWayCut(a, b) => a != b && self.cuts.insert((a.clone(), b.clone())),
            Befall::Cut(a, b) => a != b && self.cuts.insert((a.clone(), b.clone())) | self.cuts.insert((b.clone(), a.clone())),
            Befall::Isolated(host) => {
                let others: Vec<HostName> = self.hosts.keys().filter(|h| *h != host).cloned().collect();
                others.into_iter().fold(false, |changed, other| changed | self.cuts.insert((host.clone(), other)))
            }
            Befall::Heal => !std::mem::take(&mut self.cuts).is_empty(),
            Befall::PortClosed(host) => self.change(host, |h| !std::mem::replace(&mut h.port_closed, true)),
            Befall::PortTaken(host) => self.change(host, |h| h.local == Local::Inactive && !std::mem::replace(&mut h.port_taken, true)),
            Befall::PortFree(host) => {
                self.change(host, |h| std::mem::replace(&mut h.port_closed, false) | std::mem::replace(&mut h.port_taken, false))
            }
            Befall::DiskFull(host) => self.change(host, |h| !std::mem::replace(&mut h.disk_full, true)),
            Befall::DiskFree(host) => self.change(host, |h| std::mem::replace(&mut h.disk_full, false)),
            Befall::Slow(host, by) => self.change(host, |h| std::mem::replace(&mut h.slow, *by) != *by),
            Befall::ClockSkew(host, seconds) => self.change(host, |h| std::mem::replace(&mut h.skew, *seconds) != *seconds),
            Befall::LiveRestore(host, on) => {
                self.change(host, |h| (!on || h.local == Local::Inactive) && std::mem::replace(&mut h.live_restore, *on) != *on)
            }
            Befall::MakesOwnSwarm(host) => self.makes_own_swarm(host),
            Befall::JoinsForeign(host) => self.joins_foreign(host),
            Befall::SomebodyPromotes(host) => self.on_node(host, NodeChange { role: Some(Role::Manager), ..NodeChange::default() }),
            Befall::SomebodyDemotes(host) => self.on_node(host, NodeChange { role: Some(Role::Worker), ..NodeChange::default() }),
            Befall::SomebodyDrains(host) => {
                self.on_node(host, NodeChange { availability: Some(Availability::Drain), ..NodeChange::default() })
            }
            Befall::SomebodyLabels(host) => {
                let labels = [("somebody".to_owned(), Some("else".to_owned())), ("rack".to_owned(), Some("z".to_owned()))].into();
                self.on_node(host, NodeChange { labels, ..NodeChange::default() })
            }
            Befall::SomebodyTouches(host) => self.on_node(host, NodeChange::default()),
            Befall::SomebodyRemoves(host) => self.somebody_removes(host),
            Befall::SomebodyLeaves(host) => {
                let node = self.host(host).and_then(|h| h.node().map(|(s, n)| (s, n.clone())));
                let Some((swarm, node)) = node else { return false };
                // Nobody who knows what he does takes the majority away.
                let voter = self.swarms.get(swarm).is_some_and(|s| s.raft.contains_key(&node));
                (!voter || self.may_remove(swarm, &node)) && self.leave(host, swarm_core::engine::Force::Yes).is_ok()
            }
            Befall::TokensRotated => {
                let tokens = (self.id('w'), self.id('m'));
                self.some_swarm(|state, index| state.swarms.get_mut(index).map(|s| s.tokens = tokens).is_some())
            }
            Befall::RootRotated => self.some_swarm(|state, index| {
                state.swarms.get_mut(index).is_some_and(|s| s.rotating_to.is_none() && s.rotating_to.replace(s.root + 1).is_none())
            }),
            Befall::AutolockOn => {
                let key = format!("SWMKEY-1-{}", self.id('k'));
                self.some_swarm(|state, index| {
                    state.swarms.get_mut(index).is_some_and(|s| {
                        let was = s.settings.autolock.replace(true);
                        s.version += 1;
                        was != Some(true) && s.unlock_key.replace(key).is_none()
                    })
                })
            }
            Befall::AutolockOff => self.some_swarm(|state, index| {
                state.swarms.get_mut(index).is_some_and(|s| {
                    s.unlock_key = None;
                    s.version += 1;
                    s.settings.autolock.replace(false) == Some(true)
                })
            }),
            Befall::OptionsChanged => self.some_swarm(|state, index| {
                let history = Some(i64::from(state.rng.u8(1..9)));
                state.swarms.get_mut(index).is_some_and(|s| {
                    s.version += 1;
                    std::mem::replace(&mut s.settings.task_history_limit, history) != history
                })
            }),
            Befall::ServiceAppears => self.some_swarm(|state, index| {
                let name = state.id('s');
                if let Some(s) = state.swarms.get_mut(index) {
                    s.services.push(Service { name, replicas: None, constraint: None });
                }
                state.replace_tasks(index);
                true
            }),
            Befall::ForcedNewCluster(host) => self.forced_new_cluster(host),
            Befall::LeaderPowerCut => {
                let leader = (0..self.swarms.len()).rev().find_map(|i| self.host_of(i, &self.leads(i)?));
                leader.is_some_and(|host| self.befall(&Befall::PowerCut(host)))
            }
        }
    }

    fn engine(&mut self, host: &HostName, from: EngineState, to: EngineState) -> bool {
        self.change(host, |h| {
            let fits = h.engine == from;
            if fits {
                h.engine = to;
            }
            fits
        })
    }

    fn makes_own_swarm(&mut self, host: &HostName) -> bool {
        let Some(h) = self.hosts.get(host).filter(|h| h.runs() && h.local == Local::Inactive) else { return false };
        let request = InitRequest {
            advertise: h.address,
            listen: "0.0.0.0:2377".into(),
            data_path: None,
            availability: Availability::Active,
            settings: SwarmSettings::default(),
            init: InitSettings::default(),
            labels: BTreeMap::new(),
        };
        let now = self.now;
        let Ok(id) = self.init(host, &request) else { return false };
        // At once: nobody of ours asked for it, so it is no birth of ours.
        self.watches.elsewhere = true;
        self.finish(id);
        self.watches.elsewhere = false;
        self.now = now;
        true
    }

    /// A machine that is in no file, and a swarm on it.
    fn joins_foreign(&mut self, host: &HostName) -> bool {
        let foreigner = HostName::new("somebody-elses-manager");
        if !self.hosts.get(host).is_some_and(|h| h.runs() && h.local == Local::Inactive) {
            return false;
        }
        if !self.hosts.contains_key(&foreigner) {
            let address = IpAddr::from([192, 0, 2, 1]);
            let Some(mut other) = self.hosts.get(host).cloned() else { return false };
            other.name = foreigner.clone();
            other.hostname = foreigner.to_string();
            other.address = address;
            other.interfaces = vec![InterfaceAddress { interface: "eth0".into(), address }];
            other.daemon = DaemonId::new("daemon-of-somebody-else");
            (other.port_taken, other.port_closed, other.disk_full, other.live_restore, other.skew) = (false, false, false, false, 0);
            self.by_address.insert(address, foreigner.clone());
            self.hosts.insert(foreigner.clone(), other);
            if !self.makes_own_swarm(&foreigner) {
                return false;
            }
        }
        let Some((swarm, _)) = self.host(&foreigner).and_then(|h| h.node().map(|(s, n)| (s, n.clone()))) else { return false };
        let advertise = self.host(host).map_or(IpAddr::from([0, 0, 0, 0]), |h| h.address);
        self.enrol(swarm, host, advertise);
        true
    }

    fn somebody_removes(&mut self, host: &HostName) -> bool {
        let Some((swarm, id)) = self.their_node(host) else { return false };
        let Some(by) = self.leads(swarm).and_then(|l| self.host_of(swarm, &l)) else { return false };
        matches!(self.remove_node(&by, &id, swarm_core::engine::Force::Yes), super::api::Said::Now(()))
    }

    /// `docker swarm init --force-new-cluster`: a copy of the swarm with one manager. The same id, the same tokens; what the others
    /// go on to do in theirs is not in it.
    fn forced_new_cluster(&mut self, host: &HostName) -> bool {
        let Some((swarm, node)) = self.host(host).and_then(|h| h.node().map(|(s, n)| (s, n.clone()))) else { return false };
        let index = self.swarms.len();
        let Some(mut copy) = self.swarms.get(swarm).filter(|s| s.raft.contains_key(&node)).cloned() else { return false };
        copy.raft.retain(|id, _| *id == node);
        copy.leader = Some(node.clone());
        copy.ticking = false;
        for other in copy.nodes.values_mut().filter(|n| n.id != node) {
            other.state = NodeState::Unknown;
        }
        self.swarms.push(copy);
        self.set_local(host, Local::Active { swarm: index, node, control: true });
        true
    }
}
