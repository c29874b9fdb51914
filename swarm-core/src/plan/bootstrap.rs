//! There is no swarm: which host makes it, and what must be proven before.

use super::build::Builder;
use super::doubts::{disk_too_full, gone_managers};
use super::refusal::Refusal;
use super::{Action, Risk, Step};
use crate::condition::Condition;
use crate::engine::InitRequest;
use crate::id::HostName;
use crate::observe::HostState;
use crate::spec::{Availability, HostSpec, NAME_LABEL, Role, SwarmSettings};
use crate::step;

impl Builder<'_> {
    /// No swarm was found: make one, if nothing speaks against it.
    pub(super) fn bootstrap(&mut self) {
        let mut doubts = Vec::new();
        let mut locked = Vec::new();
        let mut silent = Vec::new();
        let chosen = self.options.init_on.as_ref();
        let unfit = |name: &&HostName| self.spec.host(name).is_none_or(|h| h.role != Role::Manager || h.absent);
        if let Some(host) = chosen.filter(unfit) {
            let why = "it is no manager in the file, so it makes no swarm".into();
            self.refusals.push(Refusal::Unfit { host: host.clone(), why });
        }
        // While a declared manager, or one that was, is not proven to be in no swarm, a swarm that a host is in may be the one of this file.
        let settled = self.spec.hosts().filter(|h| h.role == Role::Manager || h.absent).all(|m| {
            let state = self.observed.hosts.get(&m.name).map(|h| &h.state);
            matches!(state, Some(HostState::Standalone | HostState::ForeignSwarm { .. })) || self.options.force_leave.contains(&m.name)
        });
        for host in self.spec.hosts() {
            let Some(seen) = self.observed.hosts.get(&host.name) else {
                doubts.push((host.name.clone(), "it was not looked at".into()));
                continue;
            };
            let forced = self.options.force_leave.contains(&host.name);
            match (&seen.state, host.role) {
                (HostState::Standalone, _) => {}
                (HostState::ForeignSwarm { .. } | HostState::Broken { .. } | HostState::Joining, _) if forced => {}
                // It may lead the swarm of this file: only what is known to be elsewhere is left alone.
                (HostState::ForeignSwarm { .. }, _) if settled && host.absent => {}
                (HostState::ForeignSwarm { cluster, role: Role::Worker, running, managers }, _) if settled => {
                    let (gone, managers) = gone_managers(self.spec, self.observed, managers);
                    let (host, swarm) = (host.name.clone(), cluster.clone());
                    self.refusals.push(Refusal::ManagersElsewhere { host, swarm, managers, gone, running: *running });
                }
                (HostState::ForeignSwarm { cluster, role, running, .. }, _) if settled => self.refusals.push(Refusal::ForeignSwarm {
                    host: host.name.clone(),
                    ours: None,
                    theirs: cluster.clone(),
                    role: *role,
                    running: *running,
                }),
                (HostState::Locked { .. }, role) if role == Role::Manager || host.absent => locked.push(host.name.clone()),
                (state, Role::Worker) if state.is_silent() && !host.absent => {}
                (state, _) if state.is_silent() && chosen.is_some_and(|name| *name != host.name) => silent.push(host.name.clone()),
                (state, _) => {
                    let detail = state.detail().map_or(String::new(), |d| format!(": {d}"));
                    let perhaps = match state {
                        HostState::ForeignSwarm { .. } => "; it may be the one of this file, of which no manager answers",
                        _ => "",
                    };
                    doubts.push((host.name.clone(), format!("{}{detail}{perhaps}", state.word())));
                }
            }
        }
        // A locked manager is the answer to all doubts: once it is unlocked, the swarm can be asked.
        if !locked.is_empty() {
            self.refusals.push(Refusal::Locked { hosts: locked, key_file: self.key_file() });
        } else if !doubts.is_empty() {
            let all_silent = doubts.iter().all(|(host, _)| self.observed.hosts.get(host).is_some_and(|seen| seen.state.is_silent()));
            let alone = |h: &&HostSpec| self.observed.hosts.get(&h.name).is_some_and(|seen| seen.state == HostState::Standalone);
            let without = if all_silent { self.spec.managers().find(alone).map(|h| h.name.clone()) } else { None };
            self.refusals.push(Refusal::InitInDoubt { doubts, without });
        }
        if !settled && (chosen.is_none() || !self.refusals.is_empty()) {
            return;
        }
        let hosts = self.hosts();
        let makes_it = |h: &HostSpec| h.role == Role::Manager && !h.absent && chosen.is_none_or(|name| *name == h.name);
        let Some((first, first_seen)) = hosts.iter().find(|(h, _)| makes_it(h)).copied() else {
            self.notes.push("there is no swarm yet, and no manager among the chosen hosts could make one".into());
            return;
        };
        let because = if silent.is_empty() {
            "every declared manager was reached and none is in a swarm".to_owned()
        } else {
            let names = silent.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ");
            self.notes.push(format!("{names} cannot be asked: if this cluster's swarm is there, {} makes a second one", first.name));
            format!("it was chosen, though {names} cannot be asked")
        };
        let Some(advertise) = self.address(first, first_seen) else { return };
        let needs = self.leave_first(first, first_seen, None);
        let data_path = self.data_path(first, first_seen);
        let init = self.id(first, "init");
        self.push(Step {
            id: init.clone(),
            host: Some(first.name.clone()),
            action: Action::Init(step::Init {
                request: InitRequest {
                    advertise,
                    listen: first.listen.to_string(),
                    data_path,
                    availability: first.availability.unwrap_or(Availability::Active),
                    settings: SwarmSettings { autolock: None, ..self.spec.settings().clone() },
                    init: self.spec.init().clone(),
                    labels: [(NAME_LABEL.to_owned(), self.spec.name().to_owned())].into(),
                },
            }),
            before: first_seen.state.word().into(),
            after: format!("first manager of {}, at {advertise}", self.spec.name()),
            needs,
            expect: Some(Condition::All(vec![Condition::Ready, Condition::Role(Role::Manager), Condition::Address(advertise)])),
            because,
            risk: if silent.is_empty() { Risk::None } else { Risk::Swarm },
        });
        self.unfit(first, first_seen);
        if let Some(why) = disk_too_full(first, first_seen) {
            self.refusals.push(Refusal::Unfit { host: first.name.clone(), why });
        }
        self.configure_new(first, &init, None);
        for (host, seen) in hosts.iter().filter(|(h, _)| h.name != first.name && !h.absent) {
            self.enter(host, seen, std::slice::from_ref(&init), None, false);
        }
        self.autolock(&first.name, false, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advice::Advice;
    use crate::observe::merge;
    use crate::plan::{Plan, PlanOptions, Planned, build, lint};
    use crate::testkit::{Is, spec, world};
    use std::collections::BTreeSet;

    fn on(host: &str, hosts: &[(&str, Is)]) -> Planned {
        let spec = spec(&["m1", "m2", "m3", "w1"]);
        build(&spec, &merge(&spec, &world(hosts), &BTreeSet::new()), &PlanOptions { init_on: Some(host.into()), ..PlanOptions::default() })
    }

    fn with(second: Is, worker: Is) -> Vec<(&'static str, Is)> {
        vec![("m1", Is::Alone), ("m2", second), ("m3", Is::Alone), ("w1", worker)]
    }

    #[test]
    fn managers_that_cannot_be_asked_are_passed_over_where_the_operator_says_so() {
        let hosts = with(Is::Gone, Is::Alone);
        let spec = spec(&["m1", "m2", "m3", "w1"]);
        let observed = merge(&spec, &world(&hosts), &BTreeSet::new());
        let Planned::Refused(refusals) = build(&spec, &observed, &PlanOptions::default()) else { panic!("it was not refused") };
        let advice = refusals[0].advice();
        assert_eq!(advice, [Advice::BringBack { hosts: vec!["m2".into()] }, Advice::InitOn { host: "m1".into() }]);

        let Planned::Plan(plan) = on("m3", &hosts) else { panic!("it was refused") };
        let steps: Vec<&str> = plan.steps.iter().map(|s| s.id.as_str()).collect();
        assert_eq!(steps, ["m3/init", "m1/join", "w1/join"]);
        assert_eq!((plan.steps[0].risk, plan.blocked[0].host.as_str()), (Risk::Swarm, "m2"));
        assert!(plan.notes.iter().any(|n| n.contains("m2 cannot be asked") && n.contains("m3 makes a second one")), "{:?}", plan.notes);
        assert_eq!(lint(&plan, &spec, &observed, &BTreeSet::new()), []);
        // Without leave to do so, and with leave for another host, the same plan breaks a rule.
        for init_on in [None, Some("m1".into())] {
            let found = lint(&Plan { init_on, ..plan.clone() }, &spec, &observed, &BTreeSet::new());
            assert!(found.iter().any(|f| f.what.contains("while a declared manager may be in one")), "{found:?}");
        }
    }

    /// The leave is for silence: whatever a host says of a swarm is in the way as before.
    #[test]
    fn what_a_host_says_is_not_passed_over() {
        for second in [Is::Joining, Is::Locked, Is::Foreign, Is::Removed] {
            assert!(matches!(on("m1", &with(second, Is::Alone)), Planned::Refused(_)), "{second:?}");
        }
        // A worker of some swarm, while a manager is silent: it may be the one of this file.
        let Planned::Refused(refusals) = on("m1", &with(Is::Gone, Is::Foreign)) else { panic!("it was not refused") };
        assert!(matches!(&refusals[0], Refusal::InitInDoubt { doubts, without: None } if doubts[0].0.as_str() == "w1"), "{refusals:?}");
        assert!(matches!(on("w1", &with(Is::Alone, Is::Alone)), Planned::Refused(_)), "a worker makes no swarm");
        assert!(matches!(on("m2", &with(Is::Gone, Is::Alone)), Planned::Refused(_)), "nor does a host that does not answer");
    }

    #[test]
    fn where_all_answer_it_only_says_which_one_begins() {
        let Planned::Plan(plan) = on("m2", &with(Is::Alone, Is::Alone)) else { panic!("it was refused") };
        assert_eq!((plan.steps[0].id.as_str(), plan.steps[0].risk), ("m2/init", Risk::None));
    }
}
