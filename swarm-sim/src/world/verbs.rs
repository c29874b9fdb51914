//! What can happen to a world: verbs for tests, each at one moment.

use super::World;
use super::host::{Door, EngineState, Host, Local};
use super::options::HostOptions;
use super::swarm::{HostName, NodeId, Service, Swarm};
use crate::fault::FaultRule;
use crate::invariant::{Violation, Watch};
use crate::{CallFault, CallKind, Purpose};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;
use swarm_core::ClusterSpec;
use swarm_core::addr::InterfaceAddress;
use swarm_core::id::DaemonId;
use swarm_core::plan::Plan;
use swarm_core::secret::Secret;
use swarm_core::spec::Role;

/// Something that happens to a host, or two, or a swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incident {
    /// The power goes.
    PowerCut(HostName),
    /// The power comes back.
    PowerOn(HostName),
    /// The host restarts.
    Reboot(HostName),
    /// The engine restarts without the state it kept: it is in no swarm and does not know that it was in one.
    StateLost(HostName),
    /// The engine is stopped.
    EngineStops(HostName),
    /// The engine is started.
    EngineStarts(HostName),
    /// The engine is there and answers nothing.
    EngineFreezes(HostName),
    /// It answers again.
    EngineThaws(HostName),
    /// No one answers the operator.
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
    /// No one reaches the host, and it reaches no one; the operator does.
    Isolated(HostName),
    /// All cuts end.
    Heal,
    /// 2377 lets no one in.
    PortClosed(HostName),
    /// Someone else listens on 2377.
    PortTaken(HostName),
    /// 2377 is free and open again.
    PortFree(HostName),
    /// The disk is full.
    DiskFull(HostName),
    /// The disk has room for a certificate and none for a raft log: a join as a manager fails after the leader has taken the host in.
    DiskLow(HostName),
    /// The disk of a manager fills up, and its raft log cannot grow any more.
    LogFull(HostName),
    /// There is room again.
    DiskFree(HostName),
    /// Every call takes so much longer.
    Slow(HostName, Duration),
    /// A fifth of the packets from and to it are lost, or no more.
    Lossy(HostName, bool),
    /// The clock is off by so many seconds.
    ClockSkew(HostName, i64),
    /// The engine is set up with `live-restore`.
    LiveRestore(HostName, bool),
    /// A host that is in no swarm makes one of its own.
    MakesOwnSwarm(HostName),
    /// A host that is in no swarm joins someone else's.
    JoinsForeign(HostName),
    /// Someone promotes the node of a host.
    OperatorPromotes(HostName),
    /// Someone demotes it.
    OperatorDemotes(HostName),
    /// Someone drains it.
    OperatorDrains(HostName),
    /// Someone labels it.
    OperatorLabels(HostName),
    /// Someone touches its object: its version changes and nothing else.
    OperatorTouches(HostName),
    /// Someone removes it, after it was demoted and by force.
    OperatorRemoves(HostName),
    /// Someone takes the host out of its swarm by force.
    OperatorLeaves(HostName),
    /// Join tokens are rotated.
    TokensRotated,
    /// The root is being replaced.
    RootRotated,
    /// Managers need a key after a restart.
    AutolockOn,
    /// They do not any more.
    AutolockOff,
    /// Someone changes an option of the swarm.
    OptionsChanged,
    /// A service appears that runs on every node.
    ServiceAppears,
    /// The engine of the first host is a copy of the second's: both have one id.
    EngineCopied(HostName, HostName),
    /// The engine gets an id of its own.
    EngineIdNew(HostName),
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
                waking: false,
                stumbled: false,
                log_from: Duration::ZERO,
                mute: None,
                slow: Duration::ZERO,
                lossy: false,
                dials_until: None,
                disk_full: false,
                disk_low: false,
                log_full: None,
                started_on_low: false,
                joined_through: None,
                skew: 0,
                port_taken: false,
                port_closed: false,
                live_restore: options.live_restore,
                installing: Default::default(),
                prepared: false,
            };
            state.hosts.insert(options.name, host);
        });
    }

    /// Gives a host an engine of this version.
    pub fn runs_engine(&self, host: &HostName, version: &str) {
        self.with(|state| {
            if let Some(host) = state.hosts.get_mut(host) {
                host.version = version.to_owned();
            }
        });
    }

    /// Lets something happen. Gives whether it changed anything.
    pub fn cause(&self, what: &Incident) -> bool {
        self.with(|state| {
            let changed = state.cause(what);
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
        self.cause(&Incident::Cut(a.into(), b.into()));
    }

    /// Undoes every cut.
    pub fn heal(&self) {
        self.cause(&Incident::Heal);
    }

    /// Cuts a host's power.
    pub fn kill(&self, host: &str) {
        self.cause(&Incident::PowerCut(host.into()));
    }

    /// Starts it again.
    pub fn start(&self, host: &str) {
        self.cause(&Incident::PowerOn(host.into()));
    }

    /// Restarts it.
    pub fn reboot(&self, host: &str) {
        self.cause(&Incident::Reboot(host.into()));
    }

    /// Makes calls to a host take longer.
    pub fn slow(&self, host: &str, by: Duration) {
        self.cause(&Incident::Slow(host.into(), by));
    }

    /// Fills a host's disk.
    pub fn fill_disk(&self, host: &str) {
        self.cause(&Incident::DiskFull(host.into()));
    }

    /// Sets a host's clock off.
    pub fn clock_skew(&self, host: &str, seconds: i64) {
        self.cause(&Incident::ClockSkew(host.into(), seconds));
    }

    /// Makes one host the only manager of a swarm of its own.
    pub fn foreign_swarm(&self, host: &str) {
        self.cause(&Incident::MakesOwnSwarm(host.into()));
    }

    /// A host's address.
    pub fn address(&self, host: &str) -> Option<IpAddr> {
        self.with(|state| state.host(&host.into()).map(|h| h.address))
    }

    /// The token that joins with a role.
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
                self.cause(&Incident::PowerOn(host.clone()));
            }
            self.cause(&Incident::EngineThaws(host.clone()));
            self.cause(&Incident::EngineStarts(host.clone()));
            self.cause(&Incident::DoorOpens(host.clone()));
            self.cause(&Incident::PortFree(host.clone()));
            self.cause(&Incident::DiskFree(host.clone()));
            self.cause(&Incident::Slow(host.clone(), Duration::ZERO));
            self.cause(&Incident::Lossy(host.clone(), false));
            self.cause(&Incident::ClockSkew(host.clone(), 0));
            self.cause(&Incident::LiveRestore(host, false));
        }
    }

    /// Watches what an operator does from now on, and judges it by the rules.
    pub fn watch(&self, operator: &str, spec: &ClusterSpec, purpose: Purpose, forced: &[&str]) {
        let forced: BTreeSet<HostName> = forced.iter().map(|h| HostName::new(*h)).collect();
        self.with(|state| {
            state.watches.by_operator.insert(operator.to_owned(), Watch::new(spec.clone(), purpose, forced));
        });
    }

    /// The operator accepts that a swarm is made on this manager though others cannot be asked.
    pub fn allow_init_on(&self, operator: &str, host: &str) {
        self.with(|state| {
            if let Some(watch) = state.watches.by_operator.get_mut(operator) {
                watch.init_on = Some(HostName::new(host));
            }
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

    /// Another rule was broken, as someone outside found.
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

    /// How many entries of node lists have no host name.
    pub fn nameless(&self) -> usize {
        self.with(|state| state.swarms.iter().flat_map(|s| s.nodes.values()).filter(|n| n.hostname.is_empty()).count())
    }

    /// Gives every machine a program, known by a word of its command line.
    pub fn has_program(&self, word: &str, program: super::state::Program) {
        self.with(|state| state.programs.insert(word.to_owned(), program));
    }

    /// How many managers cannot answer their leader, because their raft log is empty.
    pub fn mute(&self) -> usize {
        self.with(|state| state.hosts.values().filter(|h| h.is_mute()).count())
    }

    /// When something last happened to the world.
    pub fn disturbed(&self) -> Duration {
        self.with(|state| state.watches.disturbed)
    }

    /// Entries that joins of a host made and that are still in a node list, though the host is another node now.
    pub fn left_behind(&self) -> Vec<NodeId> {
        self.with(|state| {
            let current: BTreeSet<NodeId> = state.hosts.values().filter_map(|h| h.node().map(|(_, n)| n.clone())).collect();
            let listed = |id: &&NodeId| state.swarms.iter().enumerate().any(|(i, s)| s.nodes.contains_key(*id) && state.has_managers(i));
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
