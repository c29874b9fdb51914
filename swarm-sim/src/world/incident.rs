//! How each thing that happens to a world changes it.

use super::Incident;
use super::host::{Door, EngineState, Host, Local};
use super::state::State;
use super::swarm::{HostName, NodeId, Service};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use swarm_core::addr::InterfaceAddress;
use swarm_core::engine::{InitRequest, NodeChange};
use swarm_core::id::DaemonId;
use swarm_core::observe::NodeState;
use swarm_core::spec::{Availability, InitSettings, Role, SwarmSettings};

impl State {
    fn change(&mut self, host: &HostName, change: impl FnOnce(&mut Host) -> bool) -> bool {
        self.hosts.get_mut(host).is_some_and(change)
    }

    fn ends(&mut self, host: &HostName) {
        // An engine in error that has a certificate is the node of that certificate again when it starts, and then knows the managers of
        // now (moby `daemon/cluster/cluster.go`, Start).
        let certified = self.hosts.get(host).filter(|h| matches!(h.local, Local::Error { .. })).and_then(|h| h.certificate.clone());
        let resumed = certified.and_then(|c| {
            let (swarm, _) = self.swarms.iter().enumerate().rev().find(|(_, s)| s.id == c.cluster && s.nodes.contains_key(&c.node))?;
            Some(Local::Active { swarm, node: c.node, control: false })
        });
        if let (Some(local), Some(h)) = (resumed, self.hosts.get_mut(host)) {
            h.local = local;
            h.joined_through = None;
        }
        let now = self.now;
        if let Some(h) = self.hosts.get_mut(host) {
            h.life += 1;
            h.stumbled = false;
            h.dials_until = None;
            if let (Local::Active { node, control: true, .. }, true) = (&h.local, now < h.log_from) {
                h.mute = Some(node.clone());
            }
            // A join that has no certificate yet is forgotten (moby `daemon/cluster/utils.go`).
            if h.local == Local::Pending || matches!(h.local, Local::Error { .. }) {
                h.local = Local::Inactive;
                h.certificate = None;
            }
        }
    }

    /// The engine starts, and its part in a swarm with it: a manager of a locked swarm waits for the key.
    fn begins(&mut self, host: &HostName) {
        self.notices_its_disk(host);
        let Some(Local::Active { swarm, node, control }) = self.hosts.get(host).map(|h| h.local.clone()) else { return };
        let autolock = self.swarms.get(swarm).is_some_and(|s| s.settings.autolock == Some(true));
        // One that was away or cut off when managers were locked does not ask for a key (seen on engine 20.10).
        let missed = self
            .swarms
            .get(swarm)
            .is_some_and(|s| s.raft.get(&node).and_then(|voter| voter.silent_since).is_some_and(|since| since < s.locked_at));
        let autolock = autolock && !missed;
        self.again(swarm, &node, Some(Duration::from_millis(300)));
        // The agent of one that has no log may find another manager, or only itself.
        let waits = !self.hosts.get(host).is_some_and(Host::is_mute) || self.rng.bool();
        self.change(host, |h| !std::mem::replace(&mut h.waking, waits));
        if control && autolock {
            self.set_local(host, Local::Locked { swarm, node });
        }
    }

    fn notices_its_disk(&mut self, host: &HostName) {
        if let Some(h) = self.hosts.get_mut(host) {
            h.started_on_low = h.disk_low;
        }
    }

    /// With its last manager's state a swarm is gone: one that is made after it is no second one.
    fn forget_swarms_that_are_gone(&mut self) {
        let gone: Vec<usize> = (0..self.swarms.len()).filter(|i| !self.has_managers(*i)).collect();
        self.watches.born.retain(|(swarm, _)| !gone.contains(swarm));
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

    pub(super) fn cause(&mut self, what: &Incident) -> bool {
        match what {
            Incident::PowerCut(host) => {
                let changed = self.change(host, |h| {
                    h.installing.is_cut_off();
                    std::mem::replace(&mut h.powered, false)
                });
                self.ends(host);
                changed
            }
            Incident::PowerOn(host) => {
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
            Incident::Reboot(host) => {
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
            Incident::StateLost(host) => {
                let up = self.change(host, |h| h.powered && h.engine != EngineState::Missing);
                if up {
                    self.ends(host);
                    self.change(host, |h| {
                        h.engine = EngineState::Running;
                        (h.local, h.certificate, h.joined_through) = (Local::Inactive, None, None);
                        true
                    });
                    self.notices_its_disk(host);
                    self.watches.taken_out.insert(host.clone(), self.now);
                    self.forget_swarms_that_are_gone();
                }
                up
            }
            Incident::EngineStops(host) => {
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
            Incident::EngineStarts(host) => {
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
            Incident::EngineFreezes(host) => self.engine(host, EngineState::Running, EngineState::Frozen),
            Incident::EngineThaws(host) => self.engine(host, EngineState::Frozen, EngineState::Running),
            Incident::OperatorCutOff(host) => self.door(host, Door::Silent),
            Incident::SshRefused(host) => self.door(host, Door::Refused),
            Incident::LoginRefused(host) => self.door(host, Door::NoLogin),
            Incident::HostKeyChanges(host) => self.door(host, Door::KeyChanged),
            Incident::SocketForbidden(host) => self.door(host, Door::NoPermission),
            Incident::DoorOpens(host) => self.door(host, Door::Open),
            Incident::OneWayCut(a, b) => a != b && self.cuts.insert((a.clone(), b.clone())),
            Incident::Cut(a, b) => a != b && self.cuts.insert((a.clone(), b.clone())) | self.cuts.insert((b.clone(), a.clone())),
            Incident::Isolated(host) => {
                let others: Vec<HostName> = self.hosts.keys().filter(|h| *h != host).cloned().collect();
                others.into_iter().fold(false, |changed, other| changed | self.cuts.insert((host.clone(), other)))
            }
            Incident::Heal => !std::mem::take(&mut self.cuts).is_empty(),
            Incident::PortClosed(host) => self.change(host, |h| !std::mem::replace(&mut h.port_closed, true)),
            Incident::PortTaken(host) => self.change(host, |h| h.local == Local::Inactive && !std::mem::replace(&mut h.port_taken, true)),
            Incident::PortFree(host) => {
                self.change(host, |h| std::mem::replace(&mut h.port_closed, false) | std::mem::replace(&mut h.port_taken, false))
            }
            Incident::DiskFull(host) => self.change(host, |h| !std::mem::replace(&mut h.disk_full, true)),
            Incident::DiskLow(host) => self.change(host, |h| !std::mem::replace(&mut h.disk_low, true)),
            Incident::LogFull(host) => {
                let now = self.now;
                let stuck = self.change(host, |h| {
                    let manages = matches!(h.local, Local::Active { control: true, .. });
                    manages && h.log_full.replace(now).is_none()
                });
                if stuck {
                    self.change(host, |h| !std::mem::replace(&mut h.disk_low, true));
                    self.disturb();
                }
                stuck
            }
            Incident::DiskFree(host) => self.change(host, |h| {
                h.started_on_low = false;
                h.stumbled |= h.stuck_since().is_some();
                h.log_full.take().is_some() | std::mem::take(&mut h.disk_full) | std::mem::take(&mut h.disk_low)
            }),
            Incident::Slow(host, by) => self.change(host, |h| std::mem::replace(&mut h.slow, *by) != *by),
            Incident::Lossy(host, on) => self.change(host, |h| std::mem::replace(&mut h.lossy, *on) != *on),
            Incident::ClockSkew(host, seconds) => self.change(host, |h| std::mem::replace(&mut h.skew, *seconds) != *seconds),
            Incident::LiveRestore(host, on) => {
                self.change(host, |h| (!on || h.local == Local::Inactive) && std::mem::replace(&mut h.live_restore, *on) != *on)
            }
            Incident::MakesOwnSwarm(host) => self.makes_own_swarm(host),
            Incident::JoinsForeign(host) => self.joins_foreign(host),
            Incident::OperatorPromotes(host) => self.on_node(host, NodeChange { role: Some(Role::Manager), ..NodeChange::default() }),
            Incident::OperatorDemotes(host) => self.on_node(host, NodeChange { role: Some(Role::Worker), ..NodeChange::default() }),
            Incident::OperatorDrains(host) => {
                self.on_node(host, NodeChange { availability: Some(Availability::Drain), ..NodeChange::default() })
            }
            Incident::OperatorLabels(host) => {
                self.watches.relabelled(host);
                let labels = [("someone".to_owned(), Some("else".to_owned())), ("rack".to_owned(), Some("z".to_owned()))].into();
                self.on_node(host, NodeChange { labels, ..NodeChange::default() })
            }
            Incident::OperatorTouches(host) => self.on_node(host, NodeChange::default()),
            Incident::OperatorRemoves(host) => self.somebody_removes(host),
            Incident::OperatorLeaves(host) => {
                let node = self.host(host).and_then(|h| h.node().map(|(s, n)| (s, n.clone())));
                let Some((swarm, node)) = node else { return false };
                // No one who knows what he does takes the majority away.
                let voter = self.swarms.get(swarm).is_some_and(|s| s.raft.contains_key(&node));
                let left = (!voter || self.may_remove(swarm, &node)) && self.leave(host, swarm_core::engine::Force::Yes).is_ok();
                if left {
                    self.watches.taken_out.insert(host.clone(), self.now);
                    self.forget_swarms_that_are_gone();
                }
                left
            }
            Incident::TokensRotated => {
                let tokens = (self.id('w'), self.id('m'));
                self.some_swarm(|state, index| state.swarms.get_mut(index).map(|s| s.tokens = tokens).is_some())
            }
            Incident::RootRotated => self.some_swarm(|state, index| {
                state.swarms.get_mut(index).is_some_and(|s| {
                    // The object's version tells a manager that lags behind from one that knows.
                    s.version += 1;
                    s.rotating_to.is_none() && s.rotating_to.replace(s.root + 1).is_none()
                })
            }),
            Incident::AutolockOn => {
                let key = format!("SWMKEY-1-{}", self.id('k'));
                self.some_swarm(|state, index| {
                    let now = state.now;
                    state.swarms.get_mut(index).is_some_and(|s| {
                        let was = s.settings.autolock.replace(true);
                        s.locked_at = now;
                        s.version += 1;
                        was != Some(true) && s.unlock_key.replace(key).is_none()
                    })
                })
            }
            Incident::AutolockOff => self.some_swarm(|state, index| {
                state.swarms.get_mut(index).is_some_and(|s| {
                    s.unlock_key = None;
                    s.version += 1;
                    s.settings.autolock.replace(false) == Some(true)
                })
            }),
            Incident::OptionsChanged => self.some_swarm(|state, index| {
                let history = Some(i64::from(state.rng.u8(1..9)));
                state.swarms.get_mut(index).is_some_and(|s| {
                    s.version += 1;
                    std::mem::replace(&mut s.settings.task_history_limit, history) != history
                })
            }),
            Incident::ServiceAppears => self.some_swarm(|state, index| {
                let name = state.id('s');
                if let Some(s) = state.swarms.get_mut(index) {
                    s.services.push(Service { name, replicas: None, constraint: None });
                }
                state.replace_tasks(index);
                true
            }),
            Incident::EngineCopied(copy, from) => {
                let daemon = self.host(from).map(|h| h.daemon.clone());
                daemon.is_some_and(|daemon| self.change(copy, |h| std::mem::replace(&mut h.daemon, daemon.clone()) != daemon))
            }
            Incident::EngineIdNew(host) => {
                let daemon = DaemonId::new(format!("daemon-{host}-new"));
                self.change(host, |h| std::mem::replace(&mut h.daemon, daemon.clone()) != daemon)
            }
            Incident::ForcedNewCluster(host) => self.forced_new_cluster(host),
            Incident::LeaderPowerCut => {
                let leader = (0..self.swarms.len()).rev().find_map(|i| self.host_of(i, &self.leads(i)?));
                leader.is_some_and(|host| self.cause(&Incident::PowerCut(host)))
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
        // At once: no one of ours asked for it, so it is no birth of ours.
        self.watches.elsewhere = true;
        self.finish(id);
        self.watches.elsewhere = false;
        self.now = now;
        true
    }

    /// A machine that is in no file, and a swarm on it.
    fn joins_foreign(&mut self, host: &HostName) -> bool {
        let foreigner = HostName::new("someone-elses-manager");
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
            other.daemon = DaemonId::new("daemon-of-someone-else");
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
    pub(super) fn forced_new_cluster(&mut self, host: &HostName) -> bool {
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
